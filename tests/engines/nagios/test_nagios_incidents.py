"""Nagios 4 and NRPE as Debian ships them, with the project's files, real plugins and license chains that break.

Every incident is played at the same time on hosts of its own; a test waits for its one and compares the messages that
the contact got: exactly these, in this order, and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from lab.incidents import HOSTS, INCIDENTS, Incident, Stage, Theatre
from lab.kodeks_machine import KodeksMachine, plugin_folder
from lab.nagios_lab import NagiosCore, NagiosHost
from lab.notify_sink import NotificationSink
from lab.nrpe_lab import NrpeAgent

pytestmark = pytest.mark.xdist_group("engines")

UNIT = int(os.environ.get("KODEKS_LAB_UNIT", "2"))
"""Seconds that a minute of the templates lasts here."""

LAYOUTS = {
    "forwarded": "kodeks-forwarded-key",
    "local": "kodeks-local-key",
    "license manager": "kodeks-license-manager-key",
    "license manager's": "license-manager-local-key",
    "no agent": "kodeks-no-agent",
}
ACROSS_HOSTS = """
define servicedependency {
    host_name                       licman
    service_description             SenseLockKeyStatus
    dependent_host_name             kodeks-of-licman
    dependent_service_description   KodeksXmlSensLockStatus
    notification_failure_criteria   c
}
"""
"""The dependency that host-example.cfg shows for a license manager on another machine."""


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    """Nagios, an agent for each machine, and all incidents under way."""
    with ExitStack() as stack:
        sink = stack.enter_context(NotificationSink())
        machines = {name: stack.enter_context(KodeksMachine(name, key)) for name, key in HOSTS.items()}
        hosts = [nagios_host(machine, stack) for machine in machines.values()]
        server_plugins = stack.enter_context(plugin_folder())
        nagios = stack.enter_context(NagiosCore(sink, hosts, server_plugins, UNIT))
        nagios.wait_all_ok()
        theatre = Theatre({name: Stage(name, machine, nagios, sink, UNIT) for name, machine in machines.items()})
        stack.callback(theatre.close)
        yield theatre


def nagios_host(machine: KodeksMachine, stack: ExitStack) -> NagiosHost:
    """The host definition of a machine, and the agent that it needs."""
    settings = {"_KODEKS_GRACE": str(15 * UNIT)}
    if machine.key == "no agent":
        settings["_KODEKS_INI"] = str(machine.ini)
    else:
        site = {"/usr/lib/nagios/plugins": machine.plugins, "/etc/nagios/kodeks.ini": machine.ini}
        machine.agent = stack.enter_context(NrpeAgent(site, machine.nrpe_prefix))
        settings["_KODEKS_NRPE_PORT"] = str(machine.agent.port)
    more = ACROSS_HOSTS if machine.name == "licman" else ""
    return NagiosHost(machine.name, LAYOUTS[machine.key], settings=settings, more=more)


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.title)
def test_messages(theatre: Theatre, incident: Incident) -> None:
    theatre.judge(incident)
