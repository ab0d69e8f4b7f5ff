"""The runbooks are true: two languages alike, links that lead somewhere, a page for every alert, and real output only.

A fenced block `console scene="NAME"` holds commands (`$ ...`) and what they print. Each is run again in the world of
that name (lab.evening's scenes and the ones below) and compared, so that no page can drift from the plugins. The pages
use invented names, the lab has loopback ports; `Machine` translates in both directions. The rest that differs from run
to run, durations and process ids, is made equal on both sides.

A plugin's sentence was changed on purpose: let the pages quote the new one, and read what changed.

    PYTHONPATH=checks:tests .venv/bin/python tests/unit/test_runbooks.py && git diff templates/runbooks docs README*
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import unquote

import pytest
import yaml
from kodeks_monitoring.kodeks.texts import MESSAGES
from lab import catalogue, reports
from lab.catalogue import english_of, forms_of
from lab.engine_process import free_port
from lab.evening import KEY, SCENES, Evening
from lab.faults import PortState
from lab.forwarder_tools import forwarder_daemon, sample
from lab.kodeks_server import PASSWORD, USER, Kodweb, Licenses
from lab.libusb_worlds import libusb_missing
from lab.markdown import Heading, Page, drift, without_sentences
from lab.run_check import CHECKS, PACKAGE, ROOT, command, files_of, run_process
from lab.usbip_server import SenseLockKey, UsbIpServer

TEMPLATES = ROOT / "templates"
RUNBOOKS = TEMPLATES / "runbooks"
LANGUAGES = ("en", "ru")
ALERTS = (
    "KodeksUnreachable",
    "KodeksXmlSensLockStatus",
    "LicmanTcpStatus",
    "MonitoringBroken",
    "SenseLockKeyStatus",
    "SmartXMLfileIsToOld",
    "UsbForwarderLicenseExpiring",
    "UsbForwarderStatus",
)
HEADINGS = {
    "What it means": "Что это значит",
    "What users notice": "Что замечают пользователи",
    "Three questions, in this order": "Три вопроса, именно в таком порядке",
    "What to do": "Что делать",
    "How to prevent it": "Как не допустить повторения",
    "Error codes": "Коды ошибок",
}
QUESTIONS = {
    "en": [
        "1. Where is the key really?",
        "2. Is it forwarded, by what, licensed until when?",
        "3. Does the license manager have it?",
    ],
    "ru": [
        "1. Где ключ на самом деле?",
        "2. Проброшен ли он, чем и до какого числа лицензия?",
        "3. Есть ли он у менеджера лицензий?",
    ],
}
QUOTING_TABLE = ("The line says", "В строке написано")
"""The first heading of a table of such a page whose first column quotes parts of plugin sentences."""


@cache
def page(language: str, alert: str) -> Page:
    """One page."""
    return Page(RUNBOOKS / language / f"{alert}.md")


def pages() -> list[Page]:
    """Every page there is, whatever its name, and the index."""
    return [Page(path) for path in sorted(RUNBOOKS.rglob("*.md"))]


# --- What is quoted ---------------------------------------------------------------------------------------------------


class Quote(NamedTuple):
    """A command on a page and the output that stands below it. On a Russian page the plugins speak Russian."""

    page: str
    language: str
    scene: str
    command: str
    output: str


def language_of(path: Path) -> str:
    """The language of a page, by its name or its folder."""
    return "ru" if path.name.endswith(".ru.md") or path.parent == RUNBOOKS / "ru" else "en"


def quotes_of(source: Page) -> Iterator[Quote]:
    """The commands of a page's scenes; a fence without a scene holds nothing that a test could run."""
    for fence in source.fences:
        scene = re.fullmatch(r'console scene="([^"]+)"', fence.info)
        if scene:
            parts = re.split(r"^\$ ", fence.content, flags=re.MULTILINE)
            assert parts[0] == "" and len(parts) > 1, f"{source}: a scene begins with a command: {fence.content}"
            for part in parts[1:]:
                line, _, output = part.partition("\n")
                yield Quote(str(source), language_of(source.path), scene[1], line, output)


def quoting_pages() -> list[Page]:
    """The pages whose quotes are run: those of the runbooks and of docs/, and the project's own first page."""
    return [*pages(), *map(Page, sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md")]))]


QUOTES = [quote for source in quoting_pages() for quote in quotes_of(source)]


# --- The world of the pages -------------------------------------------------------------------------------------------


class Machine:
    """The machine on which the pages' commands are run: the evening's, with the names that the pages use."""

    def __init__(self, evening: Evening) -> None:
        self.evening = evening
        self.env = {**evening.env, "PATH": f"{evening.folder}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "PYTHONPATH": ""}
        self.checks = CHECKS
        self.python = [sys.executable]
        self.prefix: list[str] = []  # what runs a check, where its world needs it
        self.files = {"/etc/kodeks.pw": self._password()}
        self.services = (
            ("kodeks.example", 8080, evening.kodeks.port),
            ("10.0.0.8", 8888, evening.license_manager.port),
            ("192.0.2.20", 32032, evening.forwarder_port),
        )

    def _password(self) -> Path:
        file = self.evening.folder / "kodeks.pw"
        file.touch(mode=0o600)
        file.write_text(PASSWORD, encoding="utf-8")
        return file

    def run(self, shown: str, language: str = "en") -> str:
        """What a command of a page prints in a language, in the names of the pages."""
        words = shlex.split(shown)
        day = words[words.index("--license-expires") + 1] if "--license-expires" in words else ""
        outcome = run_process(self._argv(words, day), env={**self.env, "KODEKS_LANGUAGE": language})
        text = (outcome.stdout + outcome.stderr).decode("utf-8")
        for host, port, real in self.services:
            text = re.sub(rf"127\.0\.0\.1(:| port | and port |, порт ){real}\b", rf"{host}\g<1>{port}", text)
        for shown_path, path in self.files.items():
            text = text.replace(str(path), shown_path)
        return text.replace(self.evening.license_ends().isoformat(), day) if day else text

    def _argv(self, words: Sequence[str], day: str) -> list[str]:
        real = {shown: str(path) for shown, path in self.files.items()}
        for host, port, number in self.services:
            real |= {host: "127.0.0.1", str(port): str(number)}
        if re.fullmatch(r"\d{4}-\d\d-\d\d", day):
            real[day] = self.evening.license_ends().isoformat()
        arguments = [real.get(word, word) for word in words[1:]]
        check = re.fullmatch(r"\./check_(\w+)\.py", words[0])
        if check:
            return [*self.prefix, *command(check[1], *arguments, python=self.python, checks=self.checks)]
        if words[0] == "../check_tcp":
            return ["/usr/lib/nagios/plugins/check_tcp", *arguments]
        assert words[0] in ("usbclnt", "lsusb"), f"no page may quote {words[0]}: nobody runs it here"
        # In one order on every Debian, and without lsusb's complaint where udev has no hardware database.
        return ["sh", "-c", "lsusb 2>/dev/null | sort"] if words == ["lsusb"] else [words[0], *arguments]


def a_check_without_its_package(machine: Machine) -> None:
    machine.checks = machine.evening.folder / "copy"
    machine.checks.mkdir()
    (machine.checks / "check_senselock.py").write_bytes((CHECKS / "check_senselock.py").read_bytes())


def frozen(machine: Machine, stack: ExitStack) -> None:
    """The scene of that name, with the daemon of USB Redirector for Linux by its real name."""
    machine.evening.play("frozen")
    stack.enter_context(forwarder_daemon("usbsrvd")).freeze()


def stored_report(machine: Machine, hours: float, shown: str, bindings: Sequence[str] = (reports.WORKS,), schema: str = "text") -> None:
    """A report that the server made so long ago; `shown` is the day that its name has on the pages."""
    made = datetime.now() - timedelta(hours=hours)
    file = machine.evening.folder / f"report_00_000000_{made:%Y%m%d_%H%M}.zip"
    file.write_bytes(reports.zip_report(reports.report(schema, size=20_000, made=made, bindings=bindings), made=made))
    machine.files[f"/srv/kodeks/report_00_000000_{shown}_0210.zip"] = file


def forwarder_port_closed(machine: Machine, stack: ExitStack) -> None:
    """Nothing listens on the forwarder's port of the machine with the key."""
    machine.services = (*machine.services[:2], ("192.0.2.20", 32032, free_port()))


def ghost(machine: Machine, stack: ExitStack) -> None:
    """A USB/IP server has lost the connection and offers the key again, which this machine has attached since."""
    bus = machine.evening.bus
    machine.evening.play("key pulled")
    bus.load_vhci(1)
    server = stack.enter_context(UsbIpServer([SenseLockKey(busid="1-1.3")]))
    machine.services = (*machine.services[:2], ("192.0.2.20", 3240, server.port))
    machine.prefix = bus.with_run()
    bus.add_key(where="usbip", remote=f"{server.host} {server.port} 1-1.3")


def two_ports(machine: Machine, stack: ExitStack) -> None:
    """The ghost of that scene, and the same key attached once more."""
    ghost(machine, stack)
    machine.evening.bus.add_key(where="usbip", remote=f"127.0.0.1 {machine.services[2][2]} 1-1.3")


def two_ports_unread(machine: Machine, stack: ExitStack) -> None:
    """The same for a user who may not read usbip's notes: whoever plays it, the check runs without root's right to."""
    two_ports(machine, stack)
    notes = machine.evening.bus.root / "run/vhci_hcd"
    notes.chmod(0o600)
    stack.callback(notes.chmod, 0o700)
    machine.prefix = [*machine.prefix, "setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def set_kodeks(**changes: Any) -> Callable[[Machine, ExitStack], None]:
    """A world in which only the Kodeks server has changed."""
    return lambda machine, stack: machine.evening.kodeks.set(**changes)


def set_list(name: str) -> Callable[[Machine, ExitStack], None]:
    """A world in which the forwarder's tool prints another sample."""

    def change(machine: Machine, stack: ExitStack) -> None:
        machine.evening.tools.prints("usbclnt", sample(name))

    return change


WORLDS: dict[str, Callable[[Machine, ExitStack], Any]] = {
    **{name: lambda machine, stack, name=name: machine.evening.play(name) for name in SCENES},  # type: ignore[misc]
    "frozen": frozen,
    "license manager down": lambda machine, stack: machine.evening.license_manager_down(),
    "forwarder's daemon down": set_list("usb-redirector-daemon-down.txt"),
    "forwarder's server away": set_list("usbclnt-list-key-server-disconnected-constructed.txt"),
    "forwarder's port closed": forwarder_port_closed,
    "Kodeks down": set_kodeks(port=PortState.REFUSED),
    "something else answers": set_kodeks(kodweb=Kodweb.DOWN),
    "maintenance": set_kodeks(kodweb=Kodweb.MAINTENANCE),
    "login refused": set_kodeks(users={USER: "another password"}),
    "no free user license": set_kodeks(licenses=Licenses.TOO_MANY_USERS),
    "key in a local port": lambda machine, stack: (machine.evening.play("key pulled"), machine.evening.bus.add_key(where="local")),
    "key dead behind a frozen forwarder": lambda machine, stack: machine.evening.bus.hang_attribute("2-1", "bConfigurationValue"),
    "key blocked": lambda machine, stack: machine.evening.bus.deauthorize("2-1"),
    "ghost": ghost,
    "two ports": two_ports,
    "two ports, notes unread": two_ports_unread,
    "USB over Network": lambda machine, stack: stack.enter_context(forwarder_daemon("ftusbnetd")),
    "half a copy": lambda machine, stack: a_check_without_its_package(machine),
    "library missing": lambda machine, stack: machine.python.append("-S"),
    "report 54 hours old": lambda machine, stack: stored_report(machine, 54, "20261121"),
    "report 6 hours old": lambda machine, stack: stored_report(machine, 6, "20261123"),
    "report without the key": lambda machine, stack: stored_report(machine, 6, "20261124", bindings=()),
    "report to be pinned": lambda machine, stack: stored_report(machine, 6, "20261122", schema="param"),
    "password file open to all": lambda machine, stack: machine.files["/etc/kodeks.pw"].chmod(0o644),
    "libusb missing": lambda machine, stack: machine.env.update(machine.evening.bus.env(libusb_missing(machine.evening.folder))),
}
"""What is done to a world in which all is well."""


class World:
    """A world, from `with` to the end of its block."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder

    def __enter__(self) -> Machine:
        self._stack = ExitStack()
        machine = Machine(self._stack.enter_context(Evening(self.folder / "evening")))
        WORLDS[self.name](machine, self._stack)
        return machine

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()


VOLATILE = (
    (r"time=[0-9.]+s", "time=0.012s"),
    (r"[0-9.]+ second response time", "0.001 second response time"),
    (r"(within|за) [0-9.]+ (s|с)\b", r"\1 5 \2"),
    (r"age=([0-9]+)(?:\.[0-9]+)?", r"age=\1.01"),
    (r"is ([0-9]+)\.[0-9]+ hours old", r"is \1.0 hours old"),
    (r"отчёту ([0-9]+)\.[0-9]+ ч", r"отчёту \1.0 ч"),
    (r"(pid|-CONT) [0-9]+", r"\1 812"),
    (r"processes=[1-9][0-9]*", "processes=1"),  # counts those of other tests, too
)
"""What differs from run to run, and what the pages show in its place."""


def comparable(output: str) -> str:
    """The output as a page shows it."""
    for pattern, shown in VOLATILE:
        output = re.sub(pattern, shown, output)
    return output.strip("\n")


@pytest.mark.parametrize("scene", sorted({quote.scene for quote in QUOTES}))
def test_quoted_output_is_real(scene: str, tmp_path: Path) -> None:
    quotes = [quote for quote in QUOTES if quote.scene == scene]
    with World(scene, tmp_path) as machine:
        printed = {asked: machine.run(*asked) for asked in {(quote.command, quote.language) for quote in quotes}}
    for quote in quotes:
        now = printed[quote.command, quote.language]
        assert comparable(now) == comparable(quote.output), f"{quote.page}\n$ {quote.command}\n{now}"


@pytest.mark.parametrize("source", quoting_pages(), ids=repr)
def test_a_plugin_line_stands_in_a_scene_or_nowhere(source: Page) -> None:
    line = re.compile(r"(?:SENSELOCK|KODEKS_XML|USB_REDIRECTOR) (?:OK|WARNING|CRITICAL|UNKNOWN)")
    tested = sum(len(line.findall(quote.output)) for quote in quotes_of(source))
    assert len(line.findall(source.text)) == tested
    assert all(fence.info for fence in source.fences), "a fenced block says what it is"


@pytest.mark.parametrize("alert", ALERTS)
def test_every_page_shows_the_line_of_its_alert(alert: str) -> None:
    bad = re.compile(r"^(?:[A-Z_]+ (?:WARNING|CRITICAL|UNKNOWN) - |connect to address )", re.MULTILINE)
    assert any(bad.search(quote.output) for quote in quotes_of(page("en", alert)))


def test_the_table_of_perfdata_names_what_the_scenes_show() -> None:
    """The table is in templates/nagios/README.md, and may name labels that no scene needs."""
    (table,) = [table for table in Page(TEMPLATES / "nagios/README.md").tables if table[0] == ["check", "label", "meaning"]]
    named: dict[str, set[str]] = {}
    service = ""
    for check, label, _ in table[1:]:
        service = check.partition("_")[2].upper() or service
        named.setdefault(service, set()).update(re.findall("`([^`]+)`", label))
    shown: dict[str, set[str]] = {service: set() for service in SERVICES}
    for quote in QUOTES:
        service, _, rest = quote.output.partition("\n")[0].partition(" ")
        if service in shown:
            shown[service].update(re.findall(r"([a-z_]+)=", rest.partition(" | ")[2]))
    assert {service: labels - named[service] for service, labels in shown.items()} == {service: set() for service in SERVICES}
    assert all(len(labels) >= 3 for labels in shown.values())


VALUES = {"USB", "Redirector", "tusb", "vhci", "driver", "Senselock", "SenseIV", "Optical", "Mouse", "nagiosplugin", "usbclnt", "vhclientx", "LIST"}
VALUES |= {"kodeks", "example", "smartlogin", "forwarded", "over", "Network", "ftusbnetd"}
"""What is told in the scenes and is no word of a sentence: products, drivers, names of devices, hosts and users, values of options."""


def english_words(output: str) -> list[str]:
    """Latin words of a plugin's lines that are neither quoted nor options, paths, what a server said, names or values."""
    sentences = re.sub(r"^[A-Z_]+ [A-Z]+ - |^(?:ok|warning|critical|unknown): | \| .*$", "", output, flags=re.MULTILINE)
    sentences = re.sub(r"'[^']*'|сообщает: [^А-Яа-яЁё]*|(?<!\w)--?[a-z-]+|(?:https?:)?/[\w./@:-]+|\b[0-9a-f]{4}:[0-9a-f]{4}\b", " ", sentences)
    return [word for word in re.findall("[A-Za-z_]{2,}", sentences) if word not in catalogue.NAMES | VALUES]


def test_a_russian_line_is_russian() -> None:
    lines = [quote.output for quote in QUOTES if quote.language == "ru" and re.match("|".join(SERVICES), quote.output)]
    assert len(lines) > 50
    # What a check says before it could read a catalogue is English.
    assert {line for line in lines if english_words(line) and "the check cannot start" not in line} == set()
    assert english_words("SENSELOCK OK - 1 ключ SenseLock: 0471:485d at 2-1 | keys=1") == ["at"]


def test_a_page_that_lies_is_caught(tmp_path: Path) -> None:
    """Every number, word and date of a sentence counts."""
    shown = f"./check_usb_redirector.py --product usb-redirector --side client --device {KEY} --license-expires 2030-01-31"
    with World("20 days left", tmp_path) as machine:
        printed = comparable(machine.run(shown))
    assert "ends in 20 days (2030-01-31): renew it now" in printed
    for right, wrong in (("20 days", "21 days"), ("2030-01-31", "2030-01-30"), ("WARNING", "OK"), ("license_days=20", "license_days=2")):
        assert right in printed
        assert comparable(printed.replace(right, wrong)) != printed


# --- Two languages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_for_each_alert_and_no_other(language: str) -> None:
    assert sorted(path.name for path in (RUNBOOKS / language).iterdir()) == [f"{alert}.md" for alert in ALERTS]


@pytest.mark.parametrize("alert", ALERTS)
def test_both_languages_have_the_same_headings(alert: str) -> None:
    english, russian = (page(language, alert).headings for language in LANGUAGES)
    assert [heading.level for heading in english] == [heading.level for heading in russian]
    chapters = [heading.text for heading in english if heading.level == 2]
    assert [HEADINGS[text] for text in chapters] == [heading.text for heading in russian if heading.level == 2]
    assert chapters[:5] == list(HEADINGS)[:5]
    assert english[0] == russian[0] == Heading(1, alert)
    assert [heading.text for heading in english if heading.level == 3] == QUESTIONS["en"]
    assert [heading.text for heading in russian if heading.level == 3] == QUESTIONS["ru"]


@pytest.mark.parametrize("alert", ALERTS)
def test_both_languages_quote_the_same(alert: str) -> None:
    english, russian = ([*map(without_sentences, page(language, alert).fences)] for language in LANGUAGES)
    assert english == russian
    assert len(page("en", alert).tables) == len(page("ru", alert).tables)
    for left, right in zip(page("en", alert).tables, page("ru", alert).tables):
        assert [len(row) for row in left] == [len(row) for row in right]


@pytest.mark.parametrize("alert", ALERTS)
def test_a_page_is_short_and_in_its_language(alert: str) -> None:
    for language in LANGUAGES:
        source = page(language, alert)
        assert len(source.text.splitlines()) <= 130, "a tired administrator reads it"
        prose = re.sub(r"^```.*?^```|`[^`]*`|\]\([^)]*\)", "", source.text, flags=re.MULTILINE | re.DOTALL)
        cyrillic = len(re.findall("[А-Яа-яЁё]", prose)) / len(re.findall(r"[^\W\d_]", prose))
        assert (cyrillic > 0.8) if language == "ru" else (cyrillic < 0.05)
        assert (f"../{LANGUAGES[LANGUAGES.index(language) - 1]}/{alert}.md") in source.links


# --- Sentences and codes of the plugins -------------------------------------------------------------------------------


GUARD = re.compile(r"the check cannot start.*|.*or newer is needed.*|.*--extra-opts.*")
"""What is said before there is a language to say it in, and options' names."""

PLUGINS = {
    "SenseLockKeyStatus": ["senselock"],
    "UsbForwarderStatus": ["usb_redirector"],
    "KodeksUnreachable": ["kodeks_xml"],
    "SmartXMLfileIsToOld": ["kodeks_xml"],
    "MonitoringBroken": ["senselock", "usb_redirector", "kodeks_xml"],
}
"""Whose sentences the tables of a page quote."""


def sentences(plugins: Sequence[str], language: str) -> str:
    """What plugins printed in the scenes of a language, then their sources and those of what they share or choose at run
    time, string literals that are split over lines joined, and what the catalogue says in their place."""
    files = dict.fromkeys(file for plugin in plugins for file in files_of(plugin))
    files |= dict.fromkeys(PACKAGE.glob("forwarders/products/*.py"))
    said = [quote.output for quote in QUOTES if quote.language == language and any(quote.output.startswith(f"{plugin.upper()} ") for plugin in plugins)]
    english = re.sub(r'"\s*\n\s*f?"', "", "\n".join(file.read_text("utf-8") for file in files))
    if language == "ru":
        said += [form for message in catalogue.messages_of(catalogue.stored()) if english_of(message)[0] in english for form in forms_of(message)]
        english = "\n".join(GUARD.findall(english))
    return "\n".join([*said, english])


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("alert", PLUGINS)
def test_tables_quote_words_that_the_plugin_has(alert: str, language: str) -> None:
    tables = [table for table in page(language, alert).tables if table[0][0] in QUOTING_TABLE]
    words = [word for table in tables for row in table[1:] for word in re.findall("`([^`]+)`", row[0])]
    assert len(words) >= 4
    said = sentences(PLUGINS[alert], language)
    assert [word for word in words if word not in said] == []


def test_no_other_page_quotes_sentences_in_a_table() -> None:
    quoting = {source.path.stem for source in pages() if any(table[0][0] in QUOTING_TABLE for table in source.tables)}
    assert quoting == set(PLUGINS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_table_of_error_codes_is_the_plugins(language: str) -> None:
    rows = page(language, "KodeksXmlSensLockStatus").tables[-1][1:]
    shown = [tuple(map(int, re.findall(r"[0-9]+", row[0]))) for row in rows]
    assert sorted(shown) == sorted(codes for codes, _, _ in MESSAGES if codes)


# --- What a plugin prints, and what to do ------------------------------------------------------------------------------


TROUBLES = {"en": Page(RUNBOOKS / "troubleshooting.md"), "ru": Page(RUNBOOKS / "troubleshooting.ru.md")}
SERVICES = ("SENSELOCK", "USB_REDIRECTOR", "KODEKS_XML")
"""The service words in the order of that page's tables."""


def printed(service: str, sentence: str, language: str = "en") -> bool:
    """Whether a check of this service printed the sentence in one of the scenes: test_quoted_output_is_real plays them.

    A quoted sentence begins where a problem's own words begin, and "..." in it (one character) stands for no more than
    a part of them.
    """
    words = "[^;|]+?".join(map(re.escape, sentence.split("…")))
    lines = [quote.output.partition("\n")[0] for quote in QUOTES if quote.language == language]
    return any(re.match(rf"{service} (?:WARNING|CRITICAL|UNKNOWN) - (?:[^|]*[;:] )?{words}", line) for line in lines)


def troubles() -> Iterator[tuple[str, str, str]]:
    """Language, service word and sentence of every row."""
    for language, source in TROUBLES.items():
        for service, table in zip(SERVICES, source.tables):
            for row in table[1:]:
                yield language, service, row[0].strip("`")


@pytest.mark.parametrize(("language", "service", "sentence"), list(troubles()))
def test_a_plugin_really_prints_what_the_table_explains(language: str, service: str, sentence: str) -> None:
    assert printed(service, sentence, language), f"no scene of the runbooks prints: {service} - {sentence}"


@pytest.mark.parametrize(
    ("service", "sentence"),
    [
        ("SENSELOCK", "no SenseLock keys among … USB device"),
        ("SENSELOCK", "SenseLock key among … USB device"),
        ("KODEKS_XML", "no SenseLock key among … USB device"),
        ("USB_REDIRECTOR", "license of … expired … ago (…): buy it, then reconnect the key"),
        ("USB_REDIRECTOR", "license of … is it plugged in at the forwarder"),
        ("KODEKS_XML", "SenseLock key works"),
    ],
    ids=["another word", "from the middle", "another plugin", "another remedy", "across two problems", "of a good line"],
)
def test_a_sentence_that_no_plugin_prints_is_caught(service: str, sentence: str) -> None:
    assert not printed(service, sentence)


def test_the_table_of_sentences_is_the_same_in_both_languages() -> None:
    english, russian = (TROUBLES[language] for language in LANGUAGES)
    assert drift(english, russian) == []
    assert [table[0][0] for table in english.tables] == [*["the line says"] * len(SERVICES), "the engine says"]
    assert 15 <= sum(len(table) - 1 for table in english.tables) <= 45, "the most likely ones"


# --- Links and alerts -------------------------------------------------------------------------------------------------


def documents() -> list[Path]:
    """The Markdown files that a user reads."""
    return [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), *sorted(TEMPLATES.rglob("*.md"))]


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for link in Page(path).links:
        target, _, anchor = unquote(link).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), f"{link}: no such file"
        assert file.is_relative_to(ROOT), f"{link} leaves the project"
        if anchor:
            assert anchor in Page(file).anchors, f"{link}: no such heading"


def configuration(folder: str, pattern: str) -> str:
    """The engine's files as one text."""
    files = sorted((TEMPLATES / folder).rglob(pattern))
    assert files, f"templates/{folder} has no {pattern}"
    return "\n".join(file.read_text("utf-8") for file in files)


ENGINES = (("nagios", "*.cfg"), ("icinga2", "*.conf"))
"""Zabbix' media type makes the address of the tag `alert`: see below."""


@pytest.mark.parametrize(("folder", "pattern"), ENGINES, ids=[folder for folder, _ in ENGINES])
def test_every_engine_names_every_page_and_no_other(folder: str, pattern: str) -> None:
    named = set(re.findall(r"/(\w+)\.md\b", configuration(folder, pattern)))
    assert named == set(ALERTS)


def test_every_nagios_service_has_a_page() -> None:
    services = re.findall(r"^define service \{\n(.*?)^\}", configuration("nagios", "*.cfg"), re.MULTILINE | re.DOTALL)
    described = [service for service in services if "service_description" in service and "register " in service]
    assert len(described) >= len(ALERTS)
    assert all(re.search(r"^\s+notes_url\s+\S+\.md$", service, re.MULTILINE) for service in described)


def test_every_icinga_service_that_speaks_has_a_page() -> None:
    services = re.findall(r'^apply Service "(.*?)" \{\n(.*?)^\}', configuration("icinga2", "*.conf"), re.MULTILINE | re.DOTALL)
    speaking = [(name, body) for name, body in services if 'import "kodeks-before"' not in body]
    assert len(speaking) >= len(ALERTS)
    for name, body in speaking:
        notes = re.search(r'notes_url = \w+ \+ "/(\w+)\.md"', body)
        assert notes and name.startswith(notes[1]), name


def tagged_alerts(node: object) -> Iterator[str]:
    """The values of the tag `alert` anywhere in a Zabbix export."""
    if isinstance(node, dict):
        if node.get("tag") == "alert":
            yield str(node.get("value"))
        for value in node.values():
            yield from tagged_alerts(value)
    elif isinstance(node, list):
        for value in node:
            yield from tagged_alerts(value)


def test_every_alert_of_zabbix_has_a_page() -> None:
    files = sorted((TEMPLATES / "zabbix").rglob("template_*.yaml"))
    alerts = {alert for file in files for alert in tagged_alerts(yaml.safe_load(file.read_text("utf-8")))}
    assert alerts, "no trigger has the tag alert"
    # The reminder before the end of a license has the page of the license.
    assert {re.sub(r"[0-9]+days?$", "", alert) for alert in alerts} == set(ALERTS)


# --- By hand ----------------------------------------------------------------------------------------------------------


def requote(source: Page, folder: Path) -> None:
    """Run the commands of a page and write what they print into it."""
    text = source.text
    for number, quote in enumerate(quotes_of(source)):
        with World(quote.scene, folder / f"{source.path.parent.name}-{source.path.stem}-{number}") as machine:
            printed = comparable(machine.run(quote.command, quote.language))
        assert "internal error" not in printed, printed
        start = f'scene="{quote.scene}"\n'
        old, new = f"$ {quote.command}\n{quote.output.rstrip()}\n", f"$ {quote.command}\n{printed}\n"
        text = re.sub(f"({re.escape(start)}(?:(?!^```).*\n)*?){re.escape(old)}", lambda found, new=new: found[1] + new, text, flags=re.MULTILINE)  # type: ignore[misc]
    source.path.write_text(text, "utf-8")


if __name__ == "__main__":
    import tempfile

    wanted = [Page(Path(name).resolve()) for name in sys.argv[1:]] or quoting_pages()
    with tempfile.TemporaryDirectory() as work:
        for each in wanted:
            requote(each, Path(work))
