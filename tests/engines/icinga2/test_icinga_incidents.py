"""Icinga 2 as Debian ships it, a master and an agent, with the project's files, real plugins and chains that break.

Every incident is played at the same time on hosts of its own; a test waits for its one and compares the messages that
the contact got: exactly these, in this order, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from lab.engine_folders import Folder
from lab.engine_process import await_true
from lab.icinga_lab import AGENTS, IcingaAgent, IcingaHost, IcingaMaster, ServiceStatus, cluster_ports
from lab.incidents import HANGS, HOSTS, INCIDENTS, RUSSIAN, SERVED, WORDY, Incident, Stage, Theatre
from lab.kodeks_machine import HANGING, KodeksMachine, plugin_folder
from lab.kodeks_server import USER
from lab.notify_sink import NotificationSink

UNIT = int(os.environ.get("KODEKS_LAB_UNIT", "2"))
"""Seconds that a minute of the templates lasts here."""


class Site(NamedTuple):
    """A master with all its hosts, and the incidents that are under way on them."""

    icinga: IcingaMaster
    theatre: Theatre


@pytest.fixture(scope="module")
def site(programs: Folder) -> Iterator[Site]:
    """Icinga, its agents, and all incidents under way."""
    with ExitStack() as stack:
        sink = stack.enter_context(NotificationSink())
        machines = {name: stack.enter_context(KodeksMachine(name, key, programs)) for name, key in HOSTS.items()}
        ports, plugins = cluster_ports(), stack.enter_context(plugin_folder(programs)) / "kodeks"
        icinga = stack.enter_context(IcingaMaster(sink, ports, plugins, UNIT, programs))
        agents = [stack.enter_context(IcingaAgent(name, ports, plugins, programs)) for name in AGENTS]
        machines["silent"].agent = agents[1]
        for agent in agents:
            icinga.await_agent(agent)
        icinga.add_hosts([icinga_host(machine) for machine in machines.values()])
        icinga.verify()
        icinga.reload()
        icinga.wait_all_ok()
        theatre = Theatre({name: Stage(name, machine, icinga, sink, UNIT) for name, machine in machines.items()})
        stack.callback(theatre.close)
        yield Site(icinga, theatre)


def icinga_host(machine: KodeksMachine) -> IcingaHost:
    """The host definition of a machine, as host.conf.example shows it."""
    kodeks: dict[str, Any] = {"notification": {"command": "site-notify-service", "users": ["oncall"]}}
    if machine.key != "no agent":
        kodeks["agent"] = AGENTS[1 if machine.agent else 0]
    if machine.forwarded:
        kodeks["key"] = {"location": "forwarded"}
        kodeks["forwarder"] = {
            "product": "usb-redirector",
            "side": "client",
            "license_expires": machine.evening.license_ends().isoformat(),
            "device": "0471:485d",
            "process": machine.evening.daemon_name,
            "list_command": f"{machine.evening.list_tool} -list",
            "hostname": "127.0.0.1",
            "port": machine.forwarder_port,
            "timeout": HANGING,
        }
    if machine.key == "license manager's":
        kodeks["key"] = {"timeout": HANGING}
    if machine.key == "local":
        kodeks["key"] = {"extra_opts": f"@{machine.ini}"} if machine.name == WORDY else True
    if machine.key == "license manager":
        address, _, port = machine.evening.license_manager.address.rpartition(":")
        kodeks["license_manager"] = {"address": address, "port": int(port)}
    if machine.key == "stored report":
        kodeks["report"] = {"file": str(machine.report)}
    if machine.key not in ("license manager's", "license manager's, forwarded", "stored report"):
        server = {"port": machine.evening.kodeks.port, "logname": USER}
        kodeks["server"] = {**server, "password_file": str(machine.password_file)}
        if machine.name == HANGS:
            kodeks["server"]["timeout"] = HANGING
    for manager, client in SERVED.items():
        if machine.name == client:
            kodeks["key_host"] = manager
    language = {"kodeks_language": "ru"} if machine.name == RUSSIAN else {}
    return IcingaHost(machine.name, kodeks, {"kodeks_plugin_dir": str(machine.emulated), **language})


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.title)
def test_messages(site: Site, incident: Incident) -> None:
    site.theatre.judge(incident)


@pytest.mark.parametrize(("service", "words"), [("SenseLockKeyStatus", "ключ"), ("UsbForwarderLicenseExpiring", "лицензия на программу проброса")])
def test_a_host_speaks_russian(service: str, words: str, site: Site) -> None:
    """In each scene of its evening: on the agent, and on the master, which judges the license."""
    assert words in site.icinga.services(RUSSIAN)[service].output


def test_a_long_answer_arrives_whole(site: Site) -> None:
    """4000 bytes through the agent and the master, in the pieces that Icinga makes of it: text and perfdata."""
    own = site.theatre.plugin_output("senselock")
    assert 3900 < len(own) <= 4000
    first, _, rest = own.decode().partition("\n")
    text, _, perfdata = first.partition(" | ")

    def status() -> ServiceStatus:
        return site.icinga.services(WORDY)["SenseLockKeyStatus"]

    site.icinga.check_now(WORDY, "SenseLockKeyStatus")
    await_true("Icinga has the long output", lambda: len(status().output) > 3000, 20)
    assert status().output.splitlines() == [f"{text} ", *rest.rstrip("\n").split("\n")]
    assert " ".join(status().perfdata) == perfdata
