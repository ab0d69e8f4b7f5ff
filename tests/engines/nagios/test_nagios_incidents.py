"""Nagios 4 and NRPE as Debian ships them, with the project's files, real plugins and license chains that break.

Every incident is played at the same time on hosts of its own; a test waits for its one and compares the messages that
the contact got: exactly these, in this order, and nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import pytest
from lab.engine_folders import folder_of
from lab.engine_process import AS_ENGINE, SYSTEM_PATH
from lab.incidents import HANGS, HOSTS, INCIDENTS, SERVED, WORDY, Incident, Stage, Theatre
from lab.kodeks_machine import HANGING, KodeksMachine, plugin_folder
from lab.nagios_lab import TEMPLATES, NagiosCore, NagiosHost
from lab.notify_sink import NotificationSink
from lab.nrpe_lab import NrpeAgent, shipped_commands
from lab.run_check import run_process

pytestmark = pytest.mark.xdist_group("nagios")

UNIT = int(os.environ.get("KODEKS_LAB_UNIT", "2"))
"""Seconds that a minute of the templates lasts here."""

LAYOUTS = {
    "forwarded": "kodeks-forwarded-key",
    "local": "kodeks-local-key",
    "license manager": "kodeks-license-manager-key",
    "license manager's": "license-manager-local-key",
    "license manager's, forwarded": "license-manager-forwarded-key",
    "no agent": "kodeks-no-agent",
    "stored report": "kodeks-stored-report",
}
EXAMPLE = (TEMPLATES / "host-example.cfg").read_text()


def across_hosts(machine: KodeksMachine) -> str:
    """The dependency that host-example.cfg shows for a license manager on another machine, with these names and links."""
    shown: list[str] = re.findall(r"(?m)^# define servicedependency \{\n(?:#     .*\n)+# \}\n", EXAMPLE)
    links: list[str] = re.findall(r"(?m)^# +service_description +(\S+)$", EXAMPLE)
    assert len(shown) == 1 and len(links) == 2, "host-example.cfg has another form"
    text = shown[0].replace("# ", "").replace("licman1", machine.name).replace("kodeks2,kodeks3", SERVED[machine.name])
    return "\n" + (text.replace(links[0], links[1]) if machine.forwarded else text)


class Site(NamedTuple):
    """A monitoring server with all its hosts, and the incidents that are under way on them."""

    nagios: NagiosCore
    agents: dict[str, NrpeAgent]
    theatre: Theatre


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Nagios, an agent for each machine, and all incidents under way."""
    with ExitStack() as stack:
        sink = stack.enter_context(NotificationSink())
        machines = {name: stack.enter_context(KodeksMachine(name, key, folder_of("nrpe"))) for name, key in HOSTS.items()}
        agents = {name: stack.enter_context(nrpe_agent(machine)) for name, machine in machines.items()}
        hosts = [nagios_host(machine, agents[name].port) for name, machine in machines.items()]
        server_plugins = stack.enter_context(plugin_folder(folder_of("nagios")))
        nagios = stack.enter_context(NagiosCore(sink, hosts, server_plugins, UNIT))
        nagios.wait_all_ok()
        theatre = Theatre({name: Stage(name, machine, nagios, sink, UNIT) for name, machine in machines.items()})
        stack.callback(theatre.close)
        yield Site(nagios, agents, theatre)


def nrpe_agent(machine: KodeksMachine) -> NrpeAgent:
    """The agent of a machine, with the shipped commands."""
    site = {"/usr/lib/nagios/plugins": str(machine.plugins), "/etc/nagios/kodeks.ini": str(machine.ini)}
    if machine.name == HANGS:
        site[" -t 20"] = f" -t {HANGING}"
    agent = NrpeAgent(site, machine.nrpe_prefix)
    machine.agent = agent
    return agent


def nagios_host(machine: KodeksMachine, port: int) -> NagiosHost:
    """The host definition of a machine."""
    settings = {"_KODEKS_GRACE": str(15 * UNIT), "_KODEKS_NRPE_PORT": str(port)}
    if machine.key == "no agent":
        settings["_KODEKS_INI"] = str(machine.ini)
    if machine.name in SERVED:
        settings["_KODEKS_DEPENDENTS"] = SERVED[machine.name]
    more = across_hosts(machine) if machine.name in SERVED else ""
    return NagiosHost(machine.name, LAYOUTS[machine.key], settings=settings, more=more)


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.title)
def test_messages(site: Site, incident: Incident) -> None:
    site.theatre.judge(incident)


def test_a_long_answer_arrives_whole(site: Site) -> None:
    """4000 bytes through NRPE and Nagios. Nagios itself writes a colon for each semicolon of the first line's text."""
    own = site.theatre.plugin_output("senselock")
    assert 3900 < len(own) <= 4000
    assert site.agents[WORDY].call("kodeks_senselock").stdout == own
    site.nagios.check_now(WORDY, "SenseLockKeyStatus")
    first, _, rest = own.decode().partition("\n")
    text, _, perfdata = first.partition(" | ")
    status = site.nagios.wait_output(WORDY, "SenseLockKeyStatus", rest.rstrip("\n"), 20)
    assert status.output == text.replace(";", ":")
    assert status.perfdata == perfdata


@pytest.mark.parametrize("command", sorted(set(shipped_commands()) - {"kodeks_senselock"}))
def test_a_short_answer_arrives_whole_also_from_old_agents(site: Site, command: str) -> None:
    """The same bytes as from the plugin itself, in the packets of today and in the 1024 bytes of NRPE 2."""
    machine = site.theatre.stages[WORDY].machine
    line = site.agents[WORDY].commands[command]
    agent = site.agents[WORDY].programs
    own = run_process(agent.command(*AS_ENGINE, "sh", "-c", f"{machine.nrpe_prefix} {line}"), env={"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"})
    assert 20 < len(own.stdout) < 1000 and own.stdout.count(b"\n") == 1
    for packets in ([], ["-2"]):
        answer = site.agents[WORDY].call(command, *packets)
        assert answer.code == own.code
        assert without_times(answer.stdout) == without_times(own.stdout)


def without_times(output: bytes) -> bytes:
    """An answer without the seconds that it took."""
    return re.sub(rb"\d+\.\d+", b"#", output)


def test_the_readme_has_every_label_of_perfdata(site: Site) -> None:
    """What Nagios has taken over from all hosts, each of which has another layout or is told about another fault."""
    for incident in INCIDENTS:
        site.theatre.judge(incident)
    heard = " ".join(status.perfdata for host in HOSTS for status in site.nagios.services(host).values())
    table = (TEMPLATES / "README.md").read_text().partition("\n## Perfdata\n")[2].partition("\n## ")[0]
    described = set(re.findall(r"(?m)^\|[^|]*\| `(\w+)`", table))
    assert described == set(re.findall(r"(?<!\S)'?(\w+)'?=[^\s=]", heard))


def test_an_agent_that_hangs_is_unknown(site: Site) -> None:
    """The time limit of check_nrpe, as kodeks_nrpe has it but shorter: the agent's silence says nothing about the key."""
    agent = site.agents["deadline"]
    agent.freeze()
    try:
        answer = agent.call("kodeks_senselock", "-u", "-t", "2:UNKNOWN")
    finally:
        agent.thaw()
    assert answer.code == 3, answer
