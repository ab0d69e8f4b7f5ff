"""What happens to license chains, and which messages an engine must send about it: no more and no fewer.

Each incident is played on hosts of its own, so one engine plays all of them side by side. An incident moves its machines
from scene to scene and waits for what the engine makes of it; how long that may take is told in the templates' minutes,
which last `unit` seconds in a lab.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from typing import Protocol

from lab import reports
from lab.engine_folders import Folder
from lab.engine_process import AS_ENGINE, SYSTEM_PATH, await_true
from lab.faults import PortState
from lab.kodeks_machine import KodeksMachine
from lab.notify_sink import Notification, NotificationSink
from lab.run_check import run_process

OK, CRITICAL, UNKNOWN = 0, 2, 3
COMPLAINS, UNREACHABLE = "KodeksXmlSensLockStatus", "KodeksUnreachable"
PATIENCE = 120
"""Seconds that a busy test machine may take on top. Icinga sends a check to its agent and then puts off the next one until the
command's time limit and 30 s are over (lib/icinga/checkable-check.cpp, ExecuteCheck). An answer that has come before that, as
that of check_tcp may, brings the usual interval too early: the next check is 90 s away."""


class Status(Protocol):
    """What both engines tell of a service."""

    @property
    def state(self) -> int: ...
    @property
    def hard(self) -> bool: ...
    @property
    def checked(self) -> bool: ...
    @property
    def output(self) -> str: ...
    @property
    def perfdata(self) -> Container[str]: ...
    @property
    def last_check(self) -> float: ...


class Engine(Protocol):
    """What an incident needs of an engine; `programs` is the folder that it runs in."""

    programs: Folder

    def services(self, host: str) -> Mapping[str, Status]:
        """All services of a host by name."""

    def set_license(self, host: str, ends: date) -> None:
        """The administrator enters the last day of the forwarder's license, where this engine keeps it."""

    def check_now(self, host: str, service: str) -> None:
        """Check a service at once, whatever its schedule."""

    def retire(self, host: str) -> None:
        """Check a host no more: its incident is over."""

    def history(self, host: str) -> str:
        """What the engine's log says about a host."""


@dataclass
class Stage:
    """One host of an incident: its machine, and what the engine says about it."""

    host: str
    machine: KodeksMachine
    engine: Engine
    sink: NotificationSink
    unit: float
    peers: Mapping[str, Stage] = field(default_factory=dict)
    heard: float = 0.0
    happened: float = 0.0

    def play(self, scene: str) -> None:
        """Move the machine into a scene."""
        self.something_happens()
        self.machine.play(scene)
        if self.machine.forwarded:
            self.engine.set_license(self.host, self.machine.evening.license_ends())

    def message(self, text: str, minutes: float) -> Notification:
        """Wait for the next such message of this host, on a busy machine somewhat longer than the templates promise."""
        try:
            heard = self.sink.wait(self.host, text, minutes * self.unit + PATIENCE, self.heard)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.engine.services(self.host)}\n{self.engine.history(self.host)}") from None
        self.heard = heard.received
        page = heard.notes_url.rpartition("/")[2]
        assert page == f"{heard.service}.md", heard
        seconds = heard.received - self.happened
        print(f"{self.host}: {text} after {seconds:.1f} s, with minutes of {self.unit:g} s (templates: at most {minutes} min)")
        return heard

    def something_happens(self) -> None:
        """Times of messages count from here."""
        self.happened = time.monotonic()

    def state(self, service: str, state: int, minutes: float, *, hard: bool = True) -> None:
        """Wait until a service has a state, and with `hard` until its tries are used up."""

        def reached() -> bool:
            now = self.engine.services(self.host)[service]
            return now.checked and now.state == state and (now.hard or not hard)

        what = f"{self.host} {service} has state {state}"
        try:
            await_true(what, reached, minutes * self.unit + PATIENCE, pause=0.2)
        except AssertionError as error:
            now = self.engine.services(self.host)
            raise AssertionError(f"{error}; it is {now[service]}; messages: {self.messages}") from None

    def kodeks_gives_up(self, service: str = COMPLAINS) -> None:
        """Wait until an alarm of Kodeks itself has used up its tries, the first of them right now."""
        self.engine.check_now(self.host, service)
        self.state(service, CRITICAL, 19)

    def kodeks_is_late(self, service: str = COMPLAINS) -> None:
        """An earlier link is back, but Kodeks needs a while: wait until it has been asked once more, and in vain."""
        since = time.time()

        def asked() -> bool:
            return self.engine.services(self.host)[service].last_check > since

        await_true(f"{self.host} {service} is checked again", asked, 7 * self.unit + PATIENCE, pause=0.2)
        late = self.engine.services(self.host)[service]
        assert late.state == CRITICAL and late.hard, late

    def all_well(self) -> None:
        """Look at every link at once, until all are OK, and two minutes more: nothing may be said now."""
        links = [name for name in self.engine.services(self.host) if not name.startswith("Before ")]
        for link in links:
            self.engine.check_now(self.host, link)
        for link in links:
            self.state(link, OK, 20)
        self.pause(2)

    def pause(self, minutes: float) -> None:
        """Let time pass."""
        time.sleep(minutes * self.unit)

    @property
    def messages(self) -> list[str]:
        """What has been said about this host, as teams call it."""
        return [str(item) for item in self.sink.of(self.host)]


@dataclass(frozen=True)
class Incident:
    """One story. `hosts` maps the hosts it needs to where their key comes from (see KodeksMachine); `expected` are the
    messages a host, in order. The first host is the one the story is told about."""

    title: str
    hosts: Mapping[str, str]
    act: Callable[[Stage], None]
    expected: Mapping[str, Sequence[str]]


def evening(stage: Stage) -> None:
    """The evening: the license runs out, and everything behind it breaks in turn."""
    stage.play("20 days left")
    stage.message("WARNING UsbForwarderLicenseExpiring", 1)
    stage.play("license expired")
    fired = stage.message("FIRING UsbForwarderLicenseExpiring", 1)
    assert "license_state=2" in fired.perfdata and "license_days=-1;" in fired.perfdata, fired
    stage.play("key dropped")
    stage.state("SenseLockKeyStatus", CRITICAL, 1, hard=False)
    stage.play("Kodeks lost")
    stage.kodeks_gives_up()
    for service in ("UsbForwarderStatus", "SenseLockKeyStatus"):
        stage.state(service, CRITICAL, 0)
    stage.play("frozen")  # the license is renewed by now
    stage.message("RESOLVED UsbForwarderLicenseExpiring", 1)
    stage.pause(3)
    stage.play("recovered")
    stage.all_well()


def frozen_forwarder(stage: Stage) -> None:
    """The forwarder hangs. The key stays listed, so only the forwarder's own check sees it."""
    stage.play("frozen")
    stage.message("FIRING UsbForwarderStatus", 3)
    stage.kodeks_gives_up()
    stage.play("recovered")
    stage.message("RESOLVED UsbForwarderStatus", 1)
    stage.all_well()


def frozen_forwarder_hangs_kodeks(stage: Stage) -> None:
    """The forwarder hangs, and Kodeks with it. The forwarder is restarted, and Kodeks hangs on for a while."""
    stage.machine.hang_kodeks()
    stage.play("frozen")
    stage.message("FIRING UsbForwarderStatus", 3)
    stage.kodeks_gives_up(UNREACHABLE)
    stage.play("recovered")
    stage.message("RESOLVED UsbForwarderStatus", 1)
    stage.kodeks_is_late(UNREACHABLE)
    stage.machine.release_kodeks()
    stage.all_well()


def forwarded_key_pulled(stage: Stage) -> None:
    """Somebody pulls the key out of the forwarder's machine: the forwarder is well and says that it has no key."""
    stage.play("key pulled")
    stage.message("FIRING UsbForwarderStatus", 3)
    stage.state("SenseLockKeyStatus", CRITICAL, 5)
    stage.play("all well")
    stage.message("RESOLVED UsbForwarderStatus", 1)
    stage.all_well()


def local_key_pulled(stage: Stage) -> None:
    """The key is pulled out of the Kodeks machine itself; when it is back, Kodeks takes its time to see it."""
    stage.play("key pulled")
    stage.message("FIRING SenseLockKeyStatus", 5)
    stage.kodeks_gives_up()
    stage.play("all well")
    stage.machine.set_kodeks(reports.NOT_FOUND)
    stage.message("RESOLVED SenseLockKeyStatus", 1)
    stage.kodeks_is_late()
    stage.play("all well")
    stage.all_well()


def license_manager_down(stage: Stage) -> None:
    """The license manager stops; Kodeks says that it gets no key from it."""
    stage.something_happens()
    stage.machine.license_manager(PortState.REFUSED)
    stage.message("FIRING LicmanTcpStatus", 3)
    stage.kodeks_gives_up()
    stage.something_happens()
    stage.machine.license_manager(PortState.OPEN)
    stage.message("RESOLVED LicmanTcpStatus", 1)
    stage.all_well()


def license_managers_key_pulled(stage: Stage) -> None:
    """The key is pulled out of the license manager's machine; another machine's Kodeks loses it, and finds it again later."""
    client = stage.peers["kodeks-of-licman"]
    stage.play("key pulled")
    client.machine.set_kodeks(reports.NOT_AVAILABLE)
    stage.message("FIRING SenseLockKeyStatus", 5)
    client.kodeks_gives_up()
    stage.play("all well")
    stage.message("RESOLVED SenseLockKeyStatus", 1)
    client.kodeks_is_late()
    client.machine.set_kodeks(reports.WORKS)
    client.all_well()


def license_managers_forwarder_frozen(stage: Stage) -> None:
    """The same, but the license manager's key is forwarded, and the forwarder hangs: the key stays listed."""
    client = stage.peers["kodeks-of-licman-far"]
    stage.play("frozen")
    client.machine.set_kodeks(reports.NOT_AVAILABLE)
    stage.message("FIRING UsbForwarderStatus", 3)
    client.kodeks_gives_up()
    assert stage.engine.services(stage.host)["SenseLockKeyStatus"].state == OK
    stage.play("recovered")
    stage.message("RESOLVED UsbForwarderStatus", 1)
    client.kodeks_is_late()
    client.machine.set_kodeks(reports.WORKS)
    client.all_well()


def kodeks_down(stage: Stage) -> None:
    """The Kodeks server is stopped: nothing is known about its key, and nothing is said about it."""
    stage.something_happens()
    stage.machine.kodeks_port(PortState.REFUSED)
    stage.message("FIRING KodeksUnreachable", 13)
    stage.something_happens()
    stage.machine.kodeks_port(PortState.OPEN)
    stage.message("RESOLVED KodeksUnreachable", 5)
    stage.all_well()


def kodeks_unwell(stage: Stage) -> None:
    """Every link that is watched is well but the last: only Kodeks complains."""
    stage.play("Kodeks unwell")
    stage.message("FIRING KodeksXmlSensLockStatus", 19)
    stage.play("all well")
    stage.message("RESOLVED KodeksXmlSensLockStatus", 5)
    stage.all_well()


def report_too_old(stage: Stage) -> None:
    """Nobody brings a report any more."""
    stage.something_happens()
    stage.machine.bring_report(51)
    stage.engine.check_now(stage.host, "SmartXMLfileIsToOld")
    stage.state("SmartXMLfileIsToOld", CRITICAL, 1, hard=False)
    stage.engine.check_now(stage.host, "SmartXMLfileIsToOld")
    stage.message("FIRING SmartXMLfileIsToOld", 9)  # its third try comes by its own retry_interval of 7.5 minutes
    assert stage.engine.services(stage.host)["KodeksXmlSensLockStatus"].state == OK
    stage.something_happens()
    stage.machine.bring_report(0)
    stage.engine.check_now(stage.host, "SmartXMLfileIsToOld")
    stage.message("RESOLVED SmartXMLfileIsToOld", 1)
    stage.all_well()


def one_sample(stage: Stage) -> None:
    """Each link fails once and is well at the next look."""
    stage.play("key pulled")
    stage.state("UsbForwarderStatus", CRITICAL, 1, hard=False)
    stage.state("SenseLockKeyStatus", CRITICAL, 1, hard=False)
    stage.play("all well")
    stage.all_well()
    stage.machine.set_kodeks(reports.NOT_FOUND)
    stage.state("KodeksXmlSensLockStatus", CRITICAL, 5, hard=False)
    stage.play("all well")
    stage.all_well()


def plugin_missing(stage: Stage) -> None:
    """One plugin is deleted; then the whole folder."""
    for name in ("check_senselock.py", ""):
        stage.something_happens()
        stage.machine.remove_plugin(name)
        fired = stage.message("FIRING MonitoringBroken", 9)
        assert fired.state == "UNKNOWN" and "SenseLockKeyStatus" in fired.output, fired
        stage.pause(2)
        stage.something_happens()
        stage.machine.restore_plugin(name)
        stage.message("RESOLVED MonitoringBroken", 4)
        stage.all_well()


def agent_killed(stage: Stage) -> None:
    """Somebody kills the agent; nothing is known of the machine any more."""
    agent = stage.machine.agent
    assert agent is not None
    stage.something_happens()
    agent.stop()
    assert stage.message("FIRING MonitoringBroken", 9).state == "UNKNOWN"
    stage.pause(5)
    stage.something_happens()
    agent.revive()
    stage.message("RESOLVED MonitoringBroken", 4)
    stage.all_well()


def over_the_deadline(stage: Stage) -> None:
    """A plugin hangs in a system call until its own deadline ends it."""
    stage.something_happens()
    stage.machine.hang_key()
    stage.message("FIRING MonitoringBroken", 9)
    key = stage.engine.services(stage.host)["SenseLockKeyStatus"]
    assert key.state == UNKNOWN and "key_state=3" in key.perfdata, key
    stage.something_happens()
    stage.machine.release_key()
    stage.message("RESOLVED MonitoringBroken", 4)
    stage.all_well()


def fired_and_resolved(*services: str) -> list[str]:
    """The messages of alarms that come one after the other."""
    return [f"{word} {service}" for service in services for word in ("FIRING", "RESOLVED")]


LICENSE = "UsbForwarderLicenseExpiring"
INCIDENTS = [
    Incident("the evening", {"evening": "forwarded"}, evening,
             {"evening": [f"WARNING {LICENSE}", f"FIRING {LICENSE}", f"RESOLVED {LICENSE}"]}),
    Incident("frozen forwarder", {"frozen": "forwarded"}, frozen_forwarder,
             {"frozen": fired_and_resolved("UsbForwarderStatus")}),
    Incident("frozen forwarder, Kodeks hangs", {"frozen-hangs": "forwarded"}, frozen_forwarder_hangs_kodeks,
             {"frozen-hangs": fired_and_resolved("UsbForwarderStatus")}),
    Incident("forwarded key pulled", {"pulled-far": "forwarded"}, forwarded_key_pulled,
             {"pulled-far": fired_and_resolved("UsbForwarderStatus")}),
    Incident("local key pulled", {"pulled-here": "local"}, local_key_pulled,
             {"pulled-here": fired_and_resolved("SenseLockKeyStatus")}),
    Incident("license manager down", {"licman-client": "license manager"}, license_manager_down,
             {"licman-client": fired_and_resolved("LicmanTcpStatus")}),
    Incident("license manager's key pulled", {"licman": "license manager's", "kodeks-of-licman": "license manager"},
             license_managers_key_pulled,
             {"licman": fired_and_resolved("SenseLockKeyStatus"), "kodeks-of-licman": []}),
    Incident("license manager's forwarder frozen",
             {"licman-far": "license manager's, forwarded", "kodeks-of-licman-far": "license manager"},
             license_managers_forwarder_frozen,
             {"licman-far": fired_and_resolved("UsbForwarderStatus"), "kodeks-of-licman-far": []}),
    Incident("Kodeks down", {"down": "local"}, kodeks_down, {"down": fired_and_resolved("KodeksUnreachable")}),
    Incident("only Kodeks complains", {"unwell": "no agent"}, kodeks_unwell,
             {"unwell": fired_and_resolved("KodeksXmlSensLockStatus")}),
    Incident("no fresh report", {"closed": "stored report"}, report_too_old,
             {"closed": fired_and_resolved("SmartXMLfileIsToOld")}),
    Incident("one bad sample each", {"flap": "forwarded"}, one_sample, {"flap": []}),
    Incident("plugins missing", {"missing": "local"}, plugin_missing,
             {"missing": fired_and_resolved("MonitoringBroken", "MonitoringBroken")}),
    Incident("agent killed", {"silent": "local"}, agent_killed, {"silent": fired_and_resolved("MonitoringBroken")}),
    Incident("plugin over its deadline", {"deadline": "license manager's"}, over_the_deadline,
             {"deadline": fired_and_resolved("MonitoringBroken")}),
]  # fmt: skip

WORDY = "wordy"
SERVED = {"licman": "kodeks-of-licman", "licman-far": "kodeks-of-licman-far"}
"""A license manager's host, and the host whose Kodeks gets its key from there."""
RUSSIAN = "evening"
"""The host whose checks speak Russian."""
HANGS = "frozen-hangs"
"""The host whose Kodeks takes connections and answers none."""
HOSTS = {WORDY: "local", **{host: key for incident in INCIDENTS for host, key in incident.hosts.items()}}
"""Every host of every incident, and where its key comes from; and one without an incident, whose key check says a lot."""


NASTY = "Ключ «А» $HOME `id` \"q\" 'x' & <b> ~ %41 \\n \\ ^ ! ;"


def talk(machine: KodeksMachine) -> None:
    """Let the key check of a machine fill its 4000 bytes, with characters that shells, engines and terminals love."""
    for number in range(60):
        machine.evening.bus.add_device(f"abcd:{number:04x}", f"{NASTY} {number}")
    machine.wordy = True
    machine.play("all well")


class Theatre:
    """All incidents at once on one engine."""

    def __init__(self, stages: Mapping[str, Stage]) -> None:
        self.stages = stages
        talk(stages[WORDY].machine)
        self._pool = ThreadPoolExecutor(max_workers=len(INCIDENTS))
        self._playing: dict[str, Future[None]] = {}
        for incident in INCIDENTS:
            self._playing[incident.title] = self._pool.submit(self._play, incident)

    def _play(self, incident: Incident) -> None:
        stage = self.stages[next(iter(incident.hosts))]
        stage.peers = {host: self.stages[host] for host in incident.hosts}
        incident.act(stage)
        for host in incident.hosts:
            stage.engine.retire(host)

    def judge(self, incident: Incident) -> None:
        """Wait until an incident is over; AssertionError unless its messages are exactly those expected."""
        self._playing[incident.title].result()
        for host, expected in incident.expected.items():
            stage = self.stages[host]
            assert stage.messages == list(expected), f"{host}: {stage.messages}\n{stage.engine.history(host)}"

    def plugin_output(self, check: str) -> bytes:
        """What a check on the wordy machine prints, run as its agent runs it."""
        stage = self.stages[WORDY]
        plugin, ini = stage.machine.emulated / f"check_{check}.py", stage.machine.ini
        command = stage.engine.programs.command(*AS_ENGINE, plugin, f"--extra-opts=@{ini}")
        return run_process(command, env={"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"}).stdout

    def close(self) -> None:
        """Wait until every incident is over."""
        self._pool.shutdown()
