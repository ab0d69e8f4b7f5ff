"""The evening on a real Zabbix 6.0 and 7.0, real agents and plugins, to the message in the chat.

Incidents are played side by side on machines of their own, in the templates' own order of intervals but in seconds
instead of minutes. What is asserted is what people read: exactly the messages listed, nothing else, from the first
sample until well after the last recovery.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from lab import reports, zabbix_template
from lab.bot_api import BotApi
from lab.faults import Fault, PortState
from lab.zabbix_lab import ZabbixLab
from lab.zabbix_machine import TEMPLATES, ZabbixMachine

CHAT = -1001000000001
PASSIVE, ACTIVE = "Kodeks license key by Zabbix agent", "Kodeks license key by Zabbix agent active"
# Seconds between samples; by default 20, 60, 300. What fails in one moment is told in the order of the intervals: the second
# sample of the forwarder must be there before that of the key, which leaves KEY - 2 * FORWARDER seconds to a busy machine,
# and that of the key before the third of Kodeks, which leaves 2 * SERVER - 2 * KEY.
FORWARDER, KEY, SERVER = 1, 5, 8
MACROS = {
    "TUNE.FORWARDER.INTERVAL": f"{FORWARDER}s",
    "TUNE.KEY.INTERVAL": f"{KEY}s",
    "TUNE.LICMAN.INTERVAL": f"{KEY}s",
    "TUNE.SERVER.INTERVAL": f"{SERVER}s",
    "TUNE.AGENT.NODATA": "15s",
    "TUNE.SERVER.NODATA": "25s",
    "TUNE.FORWARDER.GOOD": "45",
    "TUNE.KEY.GOOD": "9",
    "TUNE.LICMAN.GOOD": "9",
    "TUNE.UNOFFERED.BAD": "8",
    "TUNE.UNREADABLE.BAD": "3",
}
OK, CRITICAL, UNKNOWN, NOT_WATCHED, NOT_RUN = "0", "2", "3", "4", "10"
LATEST = 120  # seconds until a message counts as missing


# --- What people read -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """One message: "FIRING SenseLockKeyStatus", the sentence below, the severity; and when it came (time.monotonic)."""

    headline: str
    sentence: str
    severity: str
    at: float


class Chat:
    """What the Bot API holds of one machine's messages, in order."""

    def __init__(self, bot: BotApi, host: str) -> None:
        self._bot, self._host = bot, host
        self._seen: dict[int, float] = {}

    def told(self) -> list[Told]:
        """All messages about the machine so far."""
        found = []
        for message in self._bot.messages:
            lines = message.text.split("\n")
            if lines[1] == self._host:
                severity = next(line.partition(": ")[2] for line in lines if line.startswith("Severity: "))
                at = self._seen.setdefault(message.message_id, time.monotonic())
                found.append(Told(lines[0], lines[2], severity, at))
        return found


# --- One machine, and what happens to it ------------------------------------------------------------------------


@dataclass
class Stage:
    """A machine that is watched. `delays` are the seconds from what happened to each message, story by story."""

    lab: ZabbixLab
    machine: ZabbixMachine
    host: str
    chat: Chat
    expected: int = 0
    delays: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    story: str = ""
    began: float = 0.0

    def now(self, *acts: Callable[[], object]) -> None:
        """Something happens; the delay of the next messages counts from here."""
        for act in acts:
            act()
        self.began = time.monotonic()

    def play(self, scene: str) -> None:
        """The next scene begins."""
        self.now(lambda: self.machine.play(scene))

    def message(self, headline: str) -> None:
        """Wait for the next message, which must be this one."""
        self.expected += 1
        count = self.expected
        told = self.lab.wait_for(
            f"{self.machine.name}: {headline}", lambda: len(self.chat.told()) >= count and self.chat.told(), LATEST
        )
        assert told and told[count - 1].headline == headline, told
        self.delays.setdefault(self.story, []).append((headline, round(told[count - 1].at - self.began, 1)))

    def value(self, key: str) -> str | None:
        """The latest value of an item, None before the first."""
        latest = self.lab.latest(self.host, f"kodeks.{key}")
        return latest.value if latest else None

    def state(self, link: str, *states: str) -> None:
        """Wait until a link of the chain has one of these states."""
        self.lab.wait_for(f"{self.machine.name} {link} is {states}", lambda: self.value(f"{link}.state") in states, LATEST)

    def quiet(self) -> None:
        """Let time pass in which nothing may be told. A bad sample was there before: with two more of the slowest link, what
        is not told by then will not be told any more. The test compares all messages in the end."""
        time.sleep(2 * SERVER + 2)

    def well(self) -> None:
        """Wait until every link is well."""
        for link in ("forwarder", "key", "licman", "server"):
            self.state(link, OK, NOT_WATCHED)


# --- The incidents ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Incident:
    """A story and every message of it: headline, a part of the sentence, severity. The first two words of a headline that
    come twice are told apart by the severity; messages that one moment brings may come in either order."""

    title: str
    act: Callable[[Stage], None]
    messages: Sequence[tuple[str, str, str]]


LICENSE = "UsbForwarderLicenseExpiring"
EXPIRED = "USB forwarder: license of USB Redirector expired 1 day ago"
RENEWED = "USB forwarder: license of USB Redirector ends in 365 days"
NO_KEY, FOUND = "no SenseLock key among", "1 SenseLock key: 0471:485d at"
LOST = 'Kodeks server: server reports: Device "SenseLock" not found'
WORKS = "Kodeks server: SenseLock key works"


def evening(stage: Stage) -> None:
    """The evening as it was: each link breaks after the one before it was told."""
    stage.play("20 days left")
    stage.message(f"FIRING {LICENSE}")
    stage.play("license expired")
    stage.message(f"FIRING {LICENSE}")
    stage.play("key dropped")
    stage.state("key", CRITICAL)
    stage.play("Kodeks lost")
    stage.state("server", CRITICAL)
    stage.quiet()
    stage.play("frozen")
    stage.state("forwarder", CRITICAL)
    stage.quiet()
    stage.play("recovered")
    stage.message(f"RESOLVED {LICENSE}")
    stage.message(f"RESOLVED {LICENSE}")


def all_at_once(stage: Stage) -> None:
    """License, key and Kodeks fail in one moment; then they come back one by one, each later than the one before."""
    stage.play("Kodeks lost")
    stage.message(f"FIRING {LICENSE}")
    stage.quiet()
    stage.play("key pulled")  # the license is renewed, the key is still missing
    stage.state("forwarder", "7")
    stage.quiet()
    stage.play("Kodeks unwell")  # the key is back, Kodeks still complains
    stage.state("key", OK)
    stage.quiet()
    stage.play("all well")
    stage.message(f"RESOLVED {LICENSE}")


def forwarder_back_without_kodeks(stage: Stage) -> None:
    """Kodeks hangs behind a frozen forwarder, which is restarted and well; Kodeks hangs on for a while, then it does not find
    its key: after a while that is told by itself."""
    stage.now(lambda: stage.machine.world.kodeks.set(faults={"*": Fault.SILENT}))
    stage.play("frozen")
    stage.message("FIRING UsbForwarderStatus")
    stage.state("server", UNKNOWN)
    stage.quiet()
    stage.play("Kodeks unwell")
    stage.state("forwarder", OK)
    time.sleep(SERVER + 4)  # one more sample of Kodeks, in vain
    assert stage.value("server.state") == UNKNOWN
    stage.machine.world.kodeks.set(faults={})
    stage.message("RESOLVED UsbForwarderStatus")
    stage.message("FIRING KodeksXmlSensLockStatus")
    stage.play("all well")
    stage.message("RESOLVED KodeksXmlSensLockStatus")


def key_pulled(stage: Stage) -> None:
    """Somebody pulls the key out; the forwarder is well, and says that it has no key."""
    stage.play("key pulled")
    stage.message("FIRING SenseLockKeyStatus")
    stage.state("server", CRITICAL)
    stage.quiet()
    stage.play("all well")
    stage.message("RESOLVED SenseLockKeyStatus")


def license_manager_down(stage: Stage) -> None:
    """The license manager stops, and Kodeks says that it gets no key from it."""
    stage.now(stage.machine.world.license_manager_down)
    stage.message("FIRING LicmanTcpStatus")
    stage.state("server", CRITICAL)
    stage.quiet()
    stage.now(stage.machine.world.license_manager_up)
    stage.message("RESOLVED LicmanTcpStatus")


def kodeks_down(stage: Stage) -> None:
    """The Kodeks server is stopped: nothing is known about its key, and nothing is said about it."""
    stage.now(lambda: stage.machine.world.kodeks.set(port=PortState.REFUSED))
    stage.message("FIRING KodeksUnreachable")
    stage.quiet()
    stage.now(lambda: stage.machine.world.kodeks.set(port=PortState.OPEN))
    stage.message("RESOLVED KodeksUnreachable")


def flap(stage: Stage) -> None:
    """Key, forwarder and Kodeks each have one bad sample."""
    stage.play("key pulled")
    stage.state("key", CRITICAL)
    stage.play("all well")
    stage.well()
    stage.now(lambda: stage.machine.world.kodeks.set(binding=reports.NOT_FOUND))
    stage.state("server", CRITICAL)
    stage.play("all well")


def plugin_missing(stage: Stage) -> None:
    """One plugin is deleted: the state of its link is not known, and the links behind it keep their own."""
    stage.now(lambda: stage.machine.remove_plugin("check_senselock.py"))
    stage.message("FIRING MonitoringBroken")
    stage.quiet()
    stage.now(lambda: stage.machine.restore_plugin("check_senselock.py"))
    stage.message("RESOLVED MonitoringBroken")


def plugin_prints_garbage(stage: Stage) -> None:
    """In a plugin's place stands something that prints an error, then nothing, then hangs over the agent's limit."""
    stage.now(lambda: stage.machine.replace_plugin("check_kodeks_xml.py", "print('SENSELOCK OK - all is well')"))
    stage.message("FIRING MonitoringBroken")
    stage.now(lambda: stage.machine.rewrite_plugin("check_kodeks_xml.py", "pass"))
    stage.lab.wait_for("the empty answer", lambda: (stage.value("server.text") or "").endswith("but: nothing"))
    stage.now(lambda: stage.machine.rewrite_plugin("check_kodeks_xml.py", "import time; time.sleep(5)"))
    stage.lab.wait_for("the agent's limit", lambda: (stage.value("server.text") or "").startswith("the agent did not run"))
    stage.now(lambda: stage.machine.restore_plugin("check_kodeks_xml.py"))
    stage.message("RESOLVED MonitoringBroken")


def ini_missing(stage: Stage) -> None:
    """Somebody deletes the ini file: no check runs, which is one message about the first of them."""
    stage.now(stage.machine.remove_ini)
    stage.message("FIRING MonitoringBroken")
    for link in ("forwarder", "key", "server"):
        stage.state(link, NOT_RUN)
    stage.quiet()
    stage.quiet()  # until the slowest link has had as many samples as alarm
    stage.play("all well")
    stage.message("RESOLVED MonitoringBroken")


def agent_killed(stage: Stage) -> None:
    """The agent dies: one message for all the links that nobody watches any more."""
    stage.now(stage.machine.stop_agent)
    stage.message("FIRING MonitoringBroken")
    stage.now(stage.machine.start_agent)
    stage.message("RESOLVED MonitoringBroken")


def pair(alert: str, problem: str, over: str, severity: str) -> list[tuple[str, str, str]]:
    """The two messages of one incident."""
    return [(f"FIRING {alert}", problem, severity), (f"RESOLVED {alert}", over, severity)]


EVENING = Incident(
    "the evening",
    evening,
    [
        (f"FIRING {LICENSE}", "USB forwarder: license of USB Redirector ends in 20 days", "Warning"),
        (f"FIRING {LICENSE}", EXPIRED, "High"),
        (f"RESOLVED {LICENSE}", RENEWED, "High"),
        (f"RESOLVED {LICENSE}", RENEWED, "Warning"),
    ],
)
ALL_AT_ONCE = Incident(
    "all at once", all_at_once, pair(LICENSE, EXPIRED, "USB forwarder: license of USB Redirector ends in 200 days", "High")
)
BACK_WITHOUT_KODEKS = Incident(
    "the forwarder is back, Kodeks is not",
    forwarder_back_without_kodeks,
    [
        *pair("UsbForwarderStatus", "USB forwarder: process usbsrvd-", "USB forwarder: license of USB Redirector ends in", "High"),
        *pair("KodeksXmlSensLockStatus", LOST, WORKS, "High"),
    ],
)
KEY_PULLED = Incident("key pulled", key_pulled, pair("SenseLockKeyStatus", NO_KEY, FOUND, "High"))
LICMAN_DOWN = Incident(
    "license manager down",
    license_manager_down,
    pair("LicmanTcpStatus", "License manager: does not answer at 127.0.0.1:", "License manager: answers at 127.0.0.1:", "High"),
)
KODEKS_DOWN = Incident("Kodeks down", kodeks_down, pair("KodeksUnreachable", "refused", WORKS, "Average"))
FLAP = Incident("one bad sample", flap, [])
MISSING = Incident(
    "plugin missing", plugin_missing, pair("MonitoringBroken", "SenseLock key: no answer of the check, but: ", FOUND, "Warning")
)
GARBAGE = Incident(
    "plugin prints garbage",
    plugin_prints_garbage,
    pair("MonitoringBroken", "Kodeks server: no answer of the check, but: SENSELOCK OK - all is well", WORKS, "Warning"),
)
INI_MISSING = Incident(
    "ini file missing", ini_missing, pair("MonitoringBroken", "kodeks.ini", "USB forwarder: license of USB Redirector ends in", "Warning")
)
AGENT_KILLED = Incident(
    "agent killed",
    agent_killed,
    pair("MonitoringBroken", "Kodeks: no data from the Zabbix agent for 15s", "Kodeks: the Zabbix agent reports again", "Average"),
)


@dataclass(frozen=True)
class Machine:
    """A machine and what happens to it, one incident after the other. `macros` are its host's, on top of MACROS."""

    name: str
    template: str
    incidents: Sequence[Incident]
    macros: Sequence[tuple[str, str]] = ()


MACHINES = [  # each has about two and a half minutes to play
    Machine("evening", PASSIVE, [EVENING, KODEKS_DOWN]),
    Machine("licman", PASSIVE, [LICMAN_DOWN, BACK_WITHOUT_KODEKS]),
    # A machine whose key no forwarder brings and that has no license manager, watched by an active agent.
    Machine("local", ACTIVE, [FLAP, KEY_PULLED, MISSING], [("FORWARDER.SECTION", ""), ("LICMAN.HOST", "")]),
    Machine("broken", PASSIVE, [GARBAGE, INI_MISSING]),
    Machine("silent", PASSIVE, [AGENT_KILLED]),
    Machine("together", PASSIVE, [ALL_AT_ONCE, KEY_PULLED]),
]
STORIES = [(machine, incident) for machine in MACHINES for incident in machine.incidents]


# --- All of it at once ------------------------------------------------------------------------------------------


class Theatre:
    """One Zabbix, its machines, and the incidents as they are played."""

    def __init__(self, version: str) -> None:
        self.stages: dict[str, Stage] = {}
        self._stack = ExitStack()
        self._played: dict[tuple[str, str], Future[list[Told]]] = {}
        self._version = version

    def __enter__(self) -> Theatre:
        bot = self._stack.enter_context(BotApi())
        bot.add_chat(CHAT)
        # A check that hangs up to its limit must not hold up those of other machines.
        lab = self._stack.enter_context(ZabbixLab(self._version, server_options=["StartPollers=8"]))
        for file in (TEMPLATES / "media_telegram.yaml", zabbix_template.PASSIVE, zabbix_template.ACTIVE):
            lab.import_file(file)
        lab.set_macro("{$TELEGRAM.TOKEN}", bot.token, secret=True)
        lab.set_macro("{$TELEGRAM.URL}", bot.url)
        lab.notify("Telegram (Kodeks)", [str(CHAT)])
        for machine in MACHINES:
            self.stages[machine.name] = self._build(machine, lab, bot)
        pool = self._stack.enter_context(ThreadPoolExecutor(len(MACHINES)))
        for machine in MACHINES:
            futures = {(machine.name, incident.title): Future[list[Told]]() for incident in machine.incidents}
            self._played |= futures
            pool.submit(self._perform, machine, list(futures.values()))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _build(self, machine: Machine, lab: ZabbixLab, bot: BotApi) -> Stage:
        active = machine.template == ACTIVE
        stands = ZabbixMachine(lab, machine.name, active)
        self._stack.enter_context(stands)
        manager, port = stands.world.license_manager.address.rsplit(":", 1)
        macros = {**MACROS, "LICMAN.HOST": manager, "LICMAN.PORT": port, **dict(machine.macros)}
        host = lab.add_host(
            machine.name,
            templates=[machine.template],
            port=stands.port,
            macros={f"{{$KODEKS.{name}}}": value for name, value in macros.items()},
        )
        stage = Stage(lab, stands, host, Chat(bot, machine.name))
        while active and stage.value("key.state") is None:
            # 6.0's agent asks what it has to check when it starts, and not again for a minute. The server must know by then.
            # A few seconds must do: nodata() alarms for a host whose first values take too long.
            stands.stop_agent()
            stands.start_agent()
            time.sleep(3)
        return stage

    def _perform(self, machine: Machine, results: Sequence[Future[list[Told]]]) -> None:
        stage = self.stages[machine.name]
        error: BaseException | None = None
        for incident, result in zip(machine.incidents, results):
            if error is None:
                before, stage.story = len(stage.chat.told()), incident.title
                try:
                    stage.well()
                    incident.act(stage)
                    stage.well()
                    stage.quiet()
                except BaseException as raised:  # noqa: BLE001 (handed to the test that asks for this incident)
                    error = raised
            if error is None:
                result.set_result(stage.chat.told()[before:])
            else:
                result.set_exception(error)

    def told(self, machine: str, incident: str) -> list[Told]:
        """The messages of an incident once it is over; what went wrong in it, or before it, is raised."""
        return self._played[machine, incident].result()


@pytest.fixture(scope="module")
def theatre(zabbix_version: str) -> Iterator[Theatre]:
    with Theatre(zabbix_version) as playing:
        yield playing


@pytest.mark.parametrize(("machine", "incident"), STORIES, ids=[f"{machine.name}: {incident.title}" for machine, incident in STORIES])
def test_messages(theatre: Theatre, machine: Machine, incident: Incident) -> None:
    told = theatre.told(machine.name, incident.title)
    found = [(message.headline, message.severity) for message in told]
    wanted = [(headline, severity) for headline, _, severity in incident.messages]
    assert sorted(found) == sorted(wanted), told
    assert [headline for headline, _ in found] == [headline for headline, _ in wanted]
    for headline, part, severity in incident.messages:
        assert any(part in message.sentence for message in told if (message.headline, message.severity) == (headline, severity)), told


def test_nothing_else_was_told_and_nothing_is_unsupported(theatre: Theatre) -> None:
    """After everything: no message without a story, no open problem, no item that failed, no trigger that cannot decide."""
    for machine in MACHINES:
        stories = [theatre.told(machine.name, incident.title) for incident in machine.incidents]
        assert theatre.stages[machine.name].chat.told() == [message for story in stories for message in story]
    stage = next(iter(theatre.stages.values()))
    lab = stage.lab
    assert lab.problems() == []
    hosts = [other.host for other in theatre.stages.values()]
    assert lab.api("item.get", {"hostids": hosts, "filter": {"state": 1}, "output": ["key_", "error"]}) == []
    assert lab.api("trigger.get", {"hostids": hosts, "filter": {"state": 1}, "output": ["description", "error"]}) == []


def test_agent_2_reads_the_same_file(theatre: Theatre) -> None:
    """zabbix_agent2 as Debian has it, with the configuration of zabbix_agentd: one line of each plugin."""
    machine = theatre.stages["evening"].machine
    for key, service in (
        ('kodeks.forwarder["check_usb_redirector","30"]', "USB_REDIRECTOR"),
        ('kodeks.key["check_senselock"]', "SENSELOCK"),
        ('kodeks.server["check_kodeks_xml"]', "KODEKS_XML"),
    ):
        assert re.match(rf"{re.escape(key)}\s+\[s\|{service} (OK|WARNING|CRITICAL) - ", machine.ask_agent_2(key))


def test_importing_again_changes_nothing(theatre: Theatre) -> None:
    lab = next(iter(theatre.stages.values())).lab
    fields = {"output": ["description", "expression", "recovery_expression", "uuid"], "sortfield": "triggerid", "templated": True}
    before = lab.api("trigger.get", fields)
    lab.import_file(zabbix_template.PASSIVE)
    lab.import_file(zabbix_template.ACTIVE)
    assert lab.api("trigger.get", fields) == before
    assert len(before) == 2 * len(re.findall(r"(?m)^      event_name: ", zabbix_template.PASSIVE.read_text(encoding="utf-8")))


def test_report_of_delays(theatre: Theatre, record_property: Callable[[str, object], None]) -> None:
    """Seconds from a fault to its message, for the README (pytest -rP shows them). Nothing is asserted about time but
    that each was measured: LATEST bounds them all."""
    for machine, incident in STORIES:
        theatre.told(machine.name, incident.title)
    for name, stage in theatre.stages.items():
        record_property(name, stage.delays)
        for story, delays in stage.delays.items():
            print(f"{name}: {story}: {', '.join(f'{headline} {seconds} s' for headline, seconds in delays)}")
        assert stage.delays
