"""What Nagios makes of answers: one bad sample of each link, and one answer of Kodeks for two services.

The shipped files on Nagios 4.4.6 and on 4.5, which checks masters ahead of time. Minutes have 60 seconds here, so nothing
is checked but what a test asks for; the agents are fakes that say what a test wants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from lab.engine_folders import folder_of, versions_of
from lab.engine_process import await_true
from lab.nagios_lab import FakeAgents, NagiosCore, NagiosHost, resolved
from lab.notify_sink import NotificationSink

pytestmark = pytest.mark.xdist_group("nagios")

OK, CRITICAL, UNKNOWN = 0, 2, 3
DATE = "UsbForwarderLicenseExpiring"
"""A master with one try: its date does not flap, so one sample speaks."""
TWO_TRIES = "two-tries"
OWN_ROUND = "own-round"
XML, UNREACHABLE = "KodeksXmlSensLockStatus", "KodeksUnreachable"
BAD = {
    # what the agent says when a service is to be CRITICAL; KodeksUnreachable is when the state cannot be read
    UNREACHABLE: (UNKNOWN, "KODEKS_XML UNKNOWN - no answer | key_state=3"),
    XML: (CRITICAL, "KODEKS_XML CRITICAL - no key | working=0 key_state=2"),
}
ELSE = (CRITICAL, "LINK CRITICAL - broken")

LAYOUTS = ("kodeks-forwarded-key", "kodeks-local-key", "kodeks-license-manager-key", "license-manager-forwarded-key", "kodeks-stored-report")

TWO_TRIES_SERVICE = f"""
define service {{
    use                 kodeks-senselock-key
    host_name           {TWO_TRIES}
    max_check_attempts  2
}}
define service {{
    use                 kodeks-usb-forwarder
    host_name           {TWO_TRIES}
    max_check_attempts  2
}}
"""
"""The tries of version 1.0.0."""

OWN_ROUND_SERVICE = f"""
define service {{
    use                     kodeks-unreachable
    host_name               {OWN_ROUND}
    freshness_threshold     5
}}
define service {{
    use                     kodeks-xml-senslock-status
    host_name               {OWN_ROUND}
    active_checks_enabled   0
}}
"""
"""KodeksUnreachable gets no result from its neighbour."""


class Pair(NamedTuple):
    """A link and one that depends on it, on a host of their own; `port` is that of its agent."""

    host: str
    port: int
    master: str
    dependent: str


class Site(NamedTuple):
    """A running Nagios and its fake agents; `commands` has what each service asks its agent for."""

    nagios: NagiosCore
    agents: FakeAgents
    sink: NotificationSink
    pairs: list[Pair]
    commands: Mapping[tuple[str, str], str]

    def ask(self, host: str, service: str) -> None:
        """Check a service now; KodeksUnreachable comes with its neighbour's result."""
        self.nagios.check_now(host, XML if service == UNREACHABLE else service)

    def say(self, pair: Pair, service: str, *, bad: bool) -> None:
        """From now on this link of a pair is broken, or well."""
        code, line = BAD.get(service, ELSE) if bad else (OK, "LINK OK | key_state=0")
        self.agents.answer(pair.port, self.commands[pair.host, service], code, line)


def host(name: str, layout: str, port: int, more: str = "") -> NagiosHost:
    """A host whose agent is at this port."""
    return NagiosHost(name, layout, settings={"_KODEKS_NRPE_PORT": str(port)}, more=more)


def dependencies() -> list[tuple[str, str, str]]:
    """Layout, master, dependent: every dependency that the shipped files have within a host."""
    with NotificationSink() as sink, FakeAgents() as agents:
        nagios = NagiosCore(sink, [host(layout, layout, 1) for layout in LAYOUTS], agents.folder)
        found = resolved(nagios.programs, nagios.folder / "nagios.cfg")
        nagios.__exit__(None, None, None)
    rows = sorted((owner, master, dependent) for owner, master, other, dependent in found.dependencies if owner == other)
    return [row for row in rows if row[1] != DATE]


@pytest.fixture(scope="module", params=versions_of("nagios"))
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    """Nagios with a host for each dependency, everything checked and OK."""
    with ExitStack() as stack:
        sink = stack.enter_context(NotificationSink())
        agents = stack.enter_context(FakeAgents())
        pairs = [
            Pair(f"{layout}-{number}", number, master, dependent)
            for number, (layout, master, dependent) in enumerate(dependencies(), start=1)
        ]
        hosts = [host(pair.host, pair.host.rpartition("-")[0], pair.port) for pair in pairs]
        hosts.append(host(TWO_TRIES, "kodeks-forwarded-key", 100, TWO_TRIES_SERVICE))
        hosts.append(host("answers", "kodeks-local-key", 101))
        hosts.append(host(OWN_ROUND, "kodeks-host", 102, OWN_ROUND_SERVICE))
        nagios = stack.enter_context(NagiosCore(sink, hosts, agents.folder, 60, folder_of("nagios", request.param)))
        nagios.check_now(OWN_ROUND, XML)
        nagios.wait_all_ok()
        objects = resolved(nagios.programs, nagios.folder / "nagios.cfg")
        commands = {
            key: found[1] for key, service in objects.services.items() if (found := re.search(r"(?:!| -c )(\w+)$", service["check_command"]))
        }
        yield Site(nagios, agents, sink, pairs, commands)


def test_one_bad_sample_of_each_link_is_no_message(site: Site) -> None:
    """A link is bad at one look, then the link behind it, and Nagios 4.5 looks at the first one again. The host with two tries
    shows that it does."""
    control = Pair(TWO_TRIES, 100, "UsbForwarderStatus", "SenseLockKeyStatus")
    assert len(site.pairs) == 11
    for at in ("master", "dependent"):
        for pair in (*site.pairs, control):
            service = getattr(pair, at)
            site.say(pair, service, bad=True)
            site.ask(pair.host, service)
        for pair in (*site.pairs, control):
            site.nagios.wait_state(pair.host, getattr(pair, at), CRITICAL, 20, hard=False)
    if site.nagios.version != "4.4":
        site.sink.wait(TWO_TRIES, "FIRING UsbForwarderStatus", 20)
    else:
        assert site.agents.calls(100).count("kodeks_usb_redirector") == 2
    for pair in site.pairs:
        for service in (pair.master, pair.dependent):
            status = site.nagios.services(pair.host)[service]
            assert (status.state, status.hard, status.attempt) == (CRITICAL, False, 1), f"{pair} {service}: {status}"
            site.say(pair, service, bad=False)
            site.ask(pair.host, service)
    for pair in site.pairs:
        for service in (pair.master, pair.dependent):
            site.nagios.wait_state(pair.host, service, OK, 20)
    assert {message.host for message in site.sink.received} <= {TWO_TRIES}, site.sink.received


ANSWERS = [
    # what the agent says, its exit code, what becomes of KodeksXmlSensLockStatus and of KodeksUnreachable
    ("works", OK, "KODEKS_XML OK - works | time=0.1s working=1 key_state=0", OK, OK),
    ("complains", CRITICAL, "KODEKS_XML CRITICAL - no key | time=0.1s working=0 key_state=2", CRITICAL, OK),
    ("cannot be read", UNKNOWN, "KODEKS_XML UNKNOWN - no answer; ask `id` 'a' \"b\" \\ | key_state=3", UNKNOWN, CRITICAL),
    ("wrong option", UNKNOWN, "KODEKS_XML UNKNOWN - no such option: --key_state=3", UNKNOWN, UNKNOWN),
    ("agent silent", UNKNOWN, "CHECK_NRPE STATE UNKNOWN: Socket timeout after 25 seconds.", UNKNOWN, UNKNOWN),
    ("no check_nrpe", 127, "", UNKNOWN, UNKNOWN),
]


@pytest.mark.parametrize(("code", "line", "complains", "unreachable"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_one_answer_of_kodeks_serves_two_services(site: Site, code: int, line: str, complains: int, unreachable: int) -> None:
    site.agents.answer(101, "kodeks_xml", code, line)
    asked = site.agents.calls(101).count("kodeks_xml")
    # A text that no other row has: both services have taken over this answer when they show it.
    site.nagios.check_now("answers", XML)
    text = line.partition(" | ")[0].replace(";", ":") if line else "KODEKS_XML UNKNOWN - the command that asks Kodeks does not run (exit code 127)"

    def told() -> bool:
        found = site.nagios.services("answers")
        return [found[name].output for name in (XML, UNREACHABLE)] == [text, text]

    await_true(f"both services say {text!r}", told, 20)
    found = site.nagios.services("answers")
    assert (found[XML].state, found[UNREACHABLE].state) == (complains, unreachable)
    assert found[XML].perfdata == found[UNREACHABLE].perfdata == line.partition(" | ")[2]
    assert site.agents.calls(101).count("kodeks_xml") == asked + 1


def test_kodeks_unreachable_asks_itself_when_no_result_is_passed_on(site: Site) -> None:
    """The neighbour is not checked: freshness_threshold is 5 s there, and 30 minutes in the shipped files."""
    site.agents.answer(102, "kodeks_xml", UNKNOWN, "KODEKS_XML UNKNOWN - no answer | key_state=3")
    site.nagios.wait_state(OWN_ROUND, UNREACHABLE, CRITICAL, 20, hard=False)
    assert site.nagios.services(OWN_ROUND)[XML].state == OK
