"""One property a parser: an input is drawn from the grammar, read in this process, and the answer held against the oracle.

A property raises AssertionError with the input in it; whatever else a parser raises is a failure, too. It returns
whether the answer was a good one, so that a campaign shows that good answers were reached at all.
"""

from __future__ import annotations

import argparse
import datetime
import math
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, NoReturn

import check_kodeks_xml as kodeks
import check_senselock as senselock
import check_usb_redirector as redirector
import forwarder_facts
import forwarder_lists
import forwarder_log
import kodeks_binding
import kodeks_http
import kodeks_record
import kodeks_report
import nagiosplugin
import plugin_runtime as runtime
from lab import reports

from hostile import grammar, oracle
from hostile.grammar import KEY, KEY_ID, chance

OK = 0


def wanted_key(random: Random, tells_ids: bool, tells_name: bool = True) -> tuple[str, forwarder_facts.Wanted]:
    """The key by its id where the list tells ids, else by its name."""
    text = KEY_ID if tells_ids and (chance(random, 0.5) or not tells_name) else KEY
    return text, redirector.wanted_device(text)


# --- Lists ----------------------------------------------------------------------------------------------------


def a_list_of(product: str) -> Callable[[Random], bool]:
    """Any output of a product's tool: OK only if it shows the key near a good state."""

    def any_list(random: Random) -> bool:
        data = grammar.any_list(random, product)
        reading = forwarder_lists.read_list(product, forwarder_facts.decode(data))
        if isinstance(reading, forwarder_facts.Finding):
            assert reading.state != OK, (data, reading)
            return False
        if isinstance(reading, forwarder_facts.Unrecognised):
            return False
        text, wanted = wanted_key(random, True)
        finding = forwarder_facts.judge_device(wanted, reading, ())
        assert finding.state != OK or oracle.list_may_be_good(product, data, text), (data, text, finding)
        term = forwarder_facts.judge_license("x", None, reading.licenses, None, None)
        assert term.state != OK or re.search(rb"unlimited|[2-9]|1[0-9]", data.replace(b"\0", b"")), (data, term)
        forwarder_facts.judge_list(reading, ())
        return finding.state == OK

    return any_list


def forged_list(random: Random) -> bool:
    """The key is absent, broken or used by another machine: no neighbour's name makes that good."""
    condition = random.choice(("absent", "theirs", "broken"))
    made = grammar.list_with(random, condition)
    if condition == "theirs" and not made.sees_users:
        return False  # a server's list shows any user as good
    text, wanted = wanted_key(random, made.tells_ids)
    data = made.text.encode("utf-8", "surrogatepass") if made.product == "usbipd-win" else grammar.encoded(random, made.text)
    reading = forwarder_lists.read_list(made.product, forwarder_facts.decode(data))
    if isinstance(reading, forwarder_facts.Listing):
        finding = forwarder_facts.judge_device(wanted, reading, ())
        assert finding.state != OK, (condition, text, made.text, finding)
    return False


def honest_list(random: Random) -> bool:
    """The key is there and good, its neighbours have ordinary names: OK. Shows that the others are not OK for a reason."""
    devices = [grammar.Listed(f"Device {number}", "13ba:0017", "free") for number in range(grammar.few(random, 4))]
    devices.insert(random.randrange(len(devices) + 1), grammar.Listed(KEY, KEY_ID, random.choice(("free", "mine"))))
    devices = [item._replace(condition="free") if item.condition == "mine" else item for item in devices]
    made = random.choice(grammar.FORMS)(random, devices)
    reading = forwarder_lists.read_list(made.product, forwarder_facts.decode(made.text.encode()))
    _, wanted = wanted_key(random, made.tells_ids, made.product != "usbip")  # usbip's own names begin with the vendor's
    assert isinstance(reading, forwarder_facts.Listing), (made.text, reading)
    finding = forwarder_facts.judge_device(wanted, reading, ())
    assert finding.state == OK, (made.text, finding)
    return True


# --- Pages and reports ----------------------------------------------------------------------------------------


def page(random: Random) -> bool:
    """Any page: OK only if it shows a binding that works."""
    data = grammar.any_page(random)
    text = kodeks_http.decode_page(data, random.choice(("", "text/html", "text/html; charset=windows-1251", "x; charset=\x00")))
    kodeks_binding.refusal_on(text)
    statements = kodeks_binding.parse_license_page(text)
    good = bool(statements) and kodeks_binding.worst_of(statements).state == OK
    assert not good or oracle.page_may_be_good(text), data
    return good


def honest_page(random: Random) -> bool:
    """A page as a server would send it: every failing binding counts, hidden ones do not, disagreement is not OK."""
    made = grammar.page_with(random, grammar.few(random, 2), grammar.few(random, 2))
    statements = kodeks_binding.parse_license_page(kodeks_http.decode_page(made.data, "text/html"))
    assert len(statements) == made.good + made.bad, (made, statements)
    good = bool(statements) and kodeks_binding.worst_of(statements).state == OK
    assert good == (made.good > 0 and made.bad == 0), (made, statements)
    return good


def read_report(data: bytes, random: Random) -> kodeks_binding.Reading | None:
    """What a report says; None where it is refused. The pieces come as a socket might deliver them."""
    size = random.choice((1, 7, 100, 16384, 16384)) if len(data) < 3000 else 16384
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    try:
        return kodeks_report.read_report(pieces, "report.xml", kodeks_report.Wanted(None, kodeks_binding.WORKS, chance(random, 0.3), 4 << 20))
    except runtime.Problem as problem:
        assert problem.state != OK, (data, problem)
        return None


def report(random: Random) -> bool:
    """Any report: OK only for a well-formed one that says that something of SenseLock or a binding works, and nothing else."""
    data = grammar.any_report(random)
    reading = read_report(data, random)
    if reading is None or reading.statement.state != OK:
        return False
    breaches = oracle.archive_breaches(data) if data.startswith(b"PK") else oracle.report_breaches(data) + oracle.record_breaches(data)
    assert not breaches, (breaches, data)
    return True


def block_borders(random: Random) -> bool:
    """Any report, stretched: what is said depends neither on the borders of blocks nor on where handlers are off."""
    lines = grammar.any_report(random).split(b"\n")
    data = b"\n".join(line + random.choice((b"", b"", b"x" * 20, b" " * 90, b"y" * 400, b"<z/>" * 150)) for line in lines).lstrip()
    reach = random.choice((120, 200, 400, 800))
    block = reach + 33 + random.choice((0, 1, 7, 400))  # a word may begin at the end of one block and be told in the next
    if data.startswith(b"PK") or len(data) > 60_000:
        return False  # how much memory a large one takes does depend on handlers, and so does which refusal comes first
    originals = {name: vars(kodeks_report)[name] for name in ("BLOCK", "REACH", "words_to_find")}
    said: list[kodeks_binding.Statement | None] = []
    try:
        vars(kodeks_report)["REACH"] = reach
        for vars(kodeks_report)["BLOCK"], vars(kodeks_report)["words_to_find"] in ((block, originals["words_to_find"]), (1 << 20, lambda beginning: ())):
            try:
                said.append(kodeks_report.read_report([data], "report.xml", kodeks_report.Wanted()).statement)
            except runtime.Problem:
                said.append(None)
    finally:
        vars(kodeks_report).update(originals)
    assert said[0] == said[1], (reach, block, said, data)
    return said[0] is not None and said[0].state == OK


def archive(random: Random) -> bool:
    """A ZIP of known members: OK only if it holds one report, which says so, and its directory is right."""
    names = (reports.report_name(), "a/b.XML", "../x.xml", "x.xml", "x.xml ", "x.db", "sysinfo", "\x1b|.xml", "отчёт.xml")
    members = [(random.choice(names), grammar.report_with(random, grammar.few(random, 1), grammar.few(random, 1))) for _ in range(1 + grammar.few(random, 2))]
    data = reports.zip_members([(name, [made.data]) for name, made in dict(members).items()], streamed=chance(random, 0.3))
    lie = random.choice((reports.zip_encrypted, reports.zip_wrong_crc, reports.zip_unknown_method)) if len(dict(members)) == 1 and chance(random, 0.3) else None
    reading = read_report(lie(data) if lie else data, random)
    good = reading is not None and reading.statement.state == OK
    read = [made for name, made in dict(members).items() if name.lower().endswith(".xml") or len(dict(members)) == 1]
    assert not good or (lie is None and len(read) == 1 and read[0].good and not read[0].bad), (members, lie, reading)
    cut = read_report(data[: random.randrange(len(data) - 1)], random)
    assert cut is None or cut.statement.state != OK, (members, cut)
    return good


def honest_report(random: Random) -> bool:
    """A whole report: no record of a failure may be overlooked, no decoy may count; cut anywhere, it is never OK."""
    made = grammar.report_with(random, grammar.few(random, 2), grammar.few(random, 2))
    reading = read_report(made.data, random)
    if reading is None:
        assert not made.good and not made.bad and len(made.data) < 1000, made
        return False
    good = reading.statement.state == OK
    assert not good or (made.good and not made.bad), (made, reading)
    cut = made.data[: random.randrange(max(1, len(made.data.rstrip(b"\n\0")) - 2))]
    shorter = read_report(cut, random)
    assert shorter is None or shorter.statement.state != OK, (cut, shorter)
    return good


def pinned_report(random: Random) -> bool:
    """A report read at one pinned place: OK only if that place exists and says so."""
    made = grammar.report_with(random, grammar.few(random, 1), grammar.few(random, 1))
    data = grammar.mangled(random, made.data) if chance(random, 0.5) else made.data
    pin = kodeks_record.parse_pin(random.choice(("/sysinfo/protection/binding", "/Report/License/@Binding", "/server/protection/SenseLock/state",
                                          "/sysinfo/binding[2]", "/sysinfo/page", "/table/row[2]/c[2]", "/configuration/section[2]/param/@value")))  # fmt: skip
    assert pin is not None
    try:
        reading = kodeks_report.read_report([data], "report.xml", kodeks_report.Wanted(pin))
    except runtime.Problem as problem:
        assert problem.state != OK
        return False
    good = reading.statement.state == OK
    assert not good or (not oracle.report_breaches(data) or made.bad), (data, pin, reading)
    assert not good or made.good or data != made.data, (data, pin, reading)
    return good


def pin_text(random: Random) -> bool:
    """Any path for --record: refused, or it names at least one element and is what was written."""
    text = "".join(random.choice(("/", "a", "b[2]", "@c", "[", "]", "[0]", " ", "к:отчёт", grammar.hostile_text(random), "/a/b")) for _ in range(grammar.few(random, 8)))
    pin = kodeks_record.parse_pin(text)
    assert pin is None or (pin.steps and pin.path == text and text.startswith("/") and all(number > 0 for _, number in pin.steps)), text
    return pin is not None


# --- HTTP -----------------------------------------------------------------------------------------------------


class FakeConnection:
    """A connection that has said everything it will say."""

    def __init__(self, said: bytes, piece: int) -> None:
        self.said, self.piece = said, piece

    def settimeout(self, seconds: float) -> None:
        assert seconds >= 0

    def sendall(self, data: bytes) -> None:
        if data.startswith((b"type=", b"user=")):
            return  # a form, sent behind its head
        head = data.partition(b"\r\n\r\n")[0]
        assert head.count(b"\r") == head.count(b"\n") == head.count(b"\r\n"), data
        assert b"Host: kodeks.example\r\n" in data, data

    def recv(self, size: int) -> bytes:
        taken, self.said = self.said[: min(size, self.piece)], self.said[min(size, self.piece) :]
        return taken

    def recv_into(self, buffer: bytearray | memoryview, size: int = 0) -> int:
        taken = self.recv(size or len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        pass


def http(random: Random) -> bool:
    """Any answers of a server to the whole conversation about the page or the report: OK only if one of them says so."""
    answers = [grammar.http_answer(random) for _ in range(2)]
    said: list[bytes] = []

    def connect(host: str, port: int, *limits: object) -> Any:
        assert (host, port) == ("kodeks.example", 80)
        said.append(random.choice(answers))
        return FakeConnection(said[-1], random.choice((1, 10, 65536)) if len(said[-1]) < 2000 else 65536)

    login = kodeks_http.Login("user", "pass%0d") if chance(random, 0.5) else None
    server = kodeks_http.Server("kodeks.example", 80, login=login)
    originals = kodeks_http.connect, runtime.connect, runtime.keep_secret
    runtime._process.started = time.monotonic()
    vars(kodeks_http)["connect"] = vars(runtime)["connect"] = connect
    vars(runtime)["keep_secret"] = lambda text: None
    try:
        reading = kodeks_http.read_license_page(server) if chance(random, 0.6) else kodeks.read_live_report(server, "xml", kodeks_report.Wanted())
    except (runtime.Problem, kodeks_binding.Unreachable) as problem:
        assert getattr(problem, "state", 3) != OK
        return False
    finally:
        vars(kodeks_http)["connect"], vars(runtime)["connect"], vars(runtime)["keep_secret"] = originals
    good = reading.statement.state == OK
    if good:
        assert oracle.answer_may_be_good(said[-1]), said
    return good


def redirect(random: Random) -> bool:
    """Any Location: it stays with this server only if a browser would stay there too, or it is refused."""
    from urllib.parse import urljoin, urlsplit

    pieces = ("/", "//", "http:", "https:", "HTTP://", "kodeks.example", "evil.example", ":80", ":", "@", "?", "#", "..", "\\", "%2f", "a", " ", "\t", "http://kodeks.example/", "кодекс")
    location = "".join(random.choice(pieces) if chance(random, 0.9) else grammar.hostile_text(random) for _ in range(1 + grammar.few(random, 7)))
    origin, path = kodeks_http.redirect_target(location, "http://kodeks.example:80", "/admin/lic?a=1")
    if origin != "http://kodeks.example:80":
        return False
    assert path.startswith("/") and not re.search(r"[\s\x00-\x1f\x7f-\U0010ffff]", path), (location, path)
    try:
        there = urlsplit(urljoin("http://kodeks.example/admin/lic", location.strip().replace("\\", "/")))
        host = there.hostname
    except ValueError:
        return False
    return host == "kodeks.example"


def cookie(random: Random) -> bool:
    """Any Set-Cookie: what is sent back can neither end the header's line nor add a cookie."""
    header = "".join(random.choice(("a", "=", ";", " ", "Max-Age=0", "path=/", '"', ",", "é", grammar.hostile_text(random))) for _ in range(1 + grammar.few(random, 6)))
    found = kodeks_http.cookie_in(header.encode("utf-8", "replace").decode("latin-1"))
    if found:
        assert not re.search(r"[\x00-\x1f\x7f;]", "=".join(found)) and found[0], (header, found)
        "=".join(found).encode("latin-1")
    return bool(found)


def report_name(random: Random) -> bool:
    """Any name of a report: a time that the calendar has, none, or one that cannot be."""
    pieces = ("report_", "000000_", "20261123", "_2008", "20260230", "00000000", "_9999", ".xml", "/", "\\", "٢", grammar.hostile_text(random))
    name = "report_000000_20261123_2008.xml" if chance(random, 0.3) else "".join(random.choice(pieces) for _ in range(1 + grammar.few(random, 7)))
    name = grammar.mangled(random, name.encode("utf-8", "replace")).decode("utf-8", "replace")
    made = kodeks_report.made_at(name)
    assert made in (None, kodeks_report.IMPOSSIBLE) or datetime.datetime.fromtimestamp(made or 0).year < 10000
    return made not in (None, kodeks_report.IMPOSSIBLE)


def host_text(random: Random) -> bool:
    """Any text as a host: refused, or nothing in it could end a header's line or be an option."""
    text = random.choice(("[::1]", "kodeks.example", "кодекс.рф", "::1%eth0", "1.2.3.4", "-x", "a" * 300, "")) if chance(random, 0.5) else grammar.hostile_text(random)
    accepted = 0
    for parse in (kodeks.host_name, redirector.host_name):
        try:
            host = parse(text)
        except argparse.ArgumentTypeError:
            continue
        accepted += 1
        assert host and not re.search(r"[\s/@\x00-\x1f]", host) and not host.startswith("-"), (text, host)
    return accepted == 2


# --- USB/IP, systemd, the kernel ------------------------------------------------------------------------------


def devlist(random: Random) -> bool:
    """Any answer of a USB/IP server: devices only if their ids are in it; reading stops at the end."""
    data = grammar.devlist_answer(random)
    left = data

    def read(size: int) -> bytes:
        nonlocal left
        if size > len(left):
            raise OSError(0, "end")
        taken, left = left[:size], left[size:]
        return taken

    try:
        reading = forwarder_lists.read_devlist(read)
    except OSError:
        return False
    if not isinstance(reading, forwarder_facts.Listing):
        return False
    finding = forwarder_facts.judge_device(forwarder_facts.Wanted(KEY_ID, ""), reading, ())
    assert finding.state != OK or bytes.fromhex(KEY_ID.replace(":", "")) in data, data
    return finding.state == OK


def vhci(random: Random) -> bool:
    """Any vhci status: a used port only where a line of the kernel's form says 006."""
    data = grammar.vhci_status(random)
    ports = runtime.parse_vhci_status(data.decode("utf-8", "replace"))
    if ports:
        assert data.decode("utf-8", "replace").split()[:3] == ["hub", "port", "sta"], data
        for port in ports:
            assert re.search(rf"[hs]s\s+0*{port.number} 006 .*{re.escape(port.busid)}".encode(), data), (data, port)
            assert not re.search(r"[^0-9.-]", port.busid), port
            senselock.locate("/platform/vhci_hcd.0", "vhci_hcd", port.busid, ports)
    return bool(ports)


def location(random: Random) -> bool:
    """Any controller path and driver: local only for a path of hardware, forwarded only for a known driver."""
    driver = random.choice(("vhci_hcd", "eveusb_vhci_hcd_2", "tusb-vhci-driver", "xhci_hcd", "dwc2", "", "vhci_hcd2", grammar.hostile_text(random)))
    path = random.choice(("/pci0000:00/0000:00:14.0", "/platform/vhci_hcd.0", "/platform/soc/x", "", "/", "/virtual/x", grammar.hostile_text(random)))
    found = senselock.locate(path, driver, "1-1", ())
    if found.kind == "local":
        assert driver != "vhci_hcd" and not driver.startswith(("eveusb_vhci_hcd", "tusb-vhci-driver")) and path.strip("/").split("/")[0].startswith(("pci", "platform", "soc")), (path, driver)
    if found.kind == "forwarded":
        assert "vhci" in driver, (path, driver)
    return found.kind == "local"


def systemd(random: Random) -> bool:
    """Any answer of systemd: OK only for a loaded and active unit that is neither frozen nor without a process."""
    data = grammar.systemd_answer(random)
    text = forwarder_facts.decode(data)
    finding = forwarder_facts.judge_systemd("x.service", text)
    if finding.state == OK:
        lines = set(re.split("\n", text.replace("\0", "") if data[:2] in (b"\xff\xfe", b"\xfe\xff") else text))
        assert "LoadState=loaded" in lines and {"ActiveState=active", "ActiveState=reloading"} & lines, data
        assert not {"FreezerState=frozen", "SubState=exited", "LoadState=not-found", "ActiveState=failed", "ActiveState=inactive"} & lines, data
    return finding.state == OK


def windows_service(random: Random) -> bool:
    """Any word of psutil for a service: OK for "running" alone."""
    status = random.choice(("running", "stopped", "paused", "start_pending", None, "", "Running", "running ", grammar.hostile_text(random)))
    finding = forwarder_facts.judge_windows_service("x", status)
    assert (finding.state == OK) == (status == "running"), (status, finding)
    return finding.state == OK


def processes(random: Random) -> bool:
    """Any processes of one name: OK only if one is alive and none is stopped."""
    words = ("running", "sleeping", "disk-sleep", "idle", "stopped", "tracing-stop", "zombie", "dead", "", grammar.hostile_text(random))
    found = [forwarder_facts.Process(random.getrandbits(22), random.choice(words)) for _ in range(grammar.few(random, 4))]
    finding = forwarder_facts.judge_process(grammar.hostile_text(random), found)
    states = {process.status for process in found}
    assert (finding.state == OK) == (bool(states - {"zombie", "dead"}) and not states & {"stopped", "tracing-stop"}), (found, finding)
    return finding.state == OK


# --- Logs and their memory ------------------------------------------------------------------------------------


def log(random: Random) -> bool:
    """Any log: the pattern's line is found wherever it stands, and never where it does not."""
    lines = [grammar.hostile_text(random).encode("utf-8", "surrogatepass") if chance(random, 0.5) else grammar.raw(random, 30).replace(b"\n", b"") for _ in range(grammar.few(random, 6))]
    lines = [line for line in lines if b"FAULT" not in line.replace(b"\0", b"")]
    pattern = re.compile("FAULT")
    assert forwarder_log.matching_line(b"\n".join(lines), pattern) == "", lines
    lines.insert(random.randrange(len(lines) + 1), random.choice((b"FAULT", "сбой FAULT".encode("cp1251"), "x FAULT y".encode("utf-16-le"), b"\xff FAULT\r")))
    assert "FAULT" in forwarder_log.matching_line(b"\n".join(lines), pattern), lines
    return True


def watched_log(random: Random) -> bool:
    """A log that is written, rotated, copied and cut between looks: a look reads every line that is still there and that
    no look has read, and no line twice that was whole when it was read."""
    with tempfile.TemporaryDirectory(prefix="kodeks-log-") as folder:
        path, rotated = f"{folder}/a.log", f"{folder}/a.log.1"
        log = forwarder_log.Log(path, re.compile("x"), 3600, folder)
        now, number, was_rotated, done = time.time(), 0, False, set[bytes]()
        memory: forwarder_log.LogMemory | None = None
        current = old = b""
        for _ in range(2 + grammar.few(random, 9)):
            kind = random.randrange(6)
            if kind < 3:
                number += 1
                new = random.choice((b"\n", b"started\n", b"FAULT <%d>\n" % number, b"part ", b"FAULT <%d>" % number, b"x" * 300, b"\r\n", b"\xff\0\n"))
                current += b"" if new in current + old else new
            elif kind == 3 and not was_rotated:
                if os.path.exists(path) and chance(random, 0.6):
                    os.replace(path, rotated)
                    was_rotated, old, current = True, current, random.choice((b"", b"started\n"))  # logs may begin alike
                elif memory and memory.offset:  # a copy is known by what was read of it
                    was_rotated, old, current = True, current, b"copied %d\n" % number
            else:
                for name, data in ((rotated, old), (path, current)):
                    with open(name, "r+b" if os.path.exists(name) else "wb") as file:
                        file.write(data)
                        file.truncate()
                there = set(re.findall(rb"FAULT <\d+>", (old if was_rotated and memory else b"") + b"\n" + current))
                news = forwarder_log.unread(log, memory and forwarder_log.load_memory(forwarder_log.dump_memory(memory)), now)
                read, memory = news.text, news.memory
                shown = (old, current, read, memory)
                assert there - done <= set(re.findall(rb"FAULT <\d+>", read)), shown
                assert not done & set(re.findall(rb"FAULT <\d+>", read)) and not news.missed, shown
                done |= set(re.findall(rb"FAULT <\d+>", read[: read.rfind(b"\n") + 1]))
                was_rotated = False
        return bool(done)


def log_memory(random: Random) -> bool:
    """Any state file: what was written is read again; anything else is a memory in order or none."""
    memory = forwarder_log.LogMemory(random.getrandbits(40), 256 + random.getrandbits(40), grammar.raw(random, 200), grammar.hostile_text(random), random.getrandbits(31) / 7)
    text = forwarder_log.dump_memory(memory)
    assert forwarder_log.load_memory(text) == memory, memory
    broken = grammar.mangled(random, text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    found = forwarder_log.load_memory(broken)
    assert found is None or (found.offset >= len(found.mark) and found.seen >= 0), (broken, found)
    return found is not None


# --- The runtime ----------------------------------------------------------------------------------------------


def cleaned(random: Random) -> bool:
    """Any text, as one piece of a line: printable, no `|`, no longer than allowed."""
    text = "".join(grammar.hostile_text(random, "") for _ in range(1 + grammar.few(random, 3))) * (random.randrange(300) if chance(random, 0.02) else 1)
    limit = random.choice((4, 60, 300))
    piece = runtime.clean(text, limit)
    assert len(piece) <= limit and "|" not in piece and not oracle.control_characters(piece), (text, piece)
    assert piece == piece.strip() and "  " not in piece, (text, piece)
    return bool(piece)


def secret(random: Random) -> bool:
    """Any password, each of its characters escaped in any way or not at all: nothing of it is left in a line."""
    password = "".join(random.choice("abcXYZ019!*'()/&=+ \"<>-_.~#;:|яЖё😀é") for _ in range(4 + grammar.few(random, 20))).strip()
    if len(password) < 4:
        return False
    often = random.random()

    def escaped(character: str) -> str:
        if chance(random, often):
            return character
        data = character.encode()
        digits = "%02X" if chance(random, 0.5) else "%02x"
        wide = character.encode("utf-16-be").hex()
        return random.choice((
            "".join("%" + digits % byte for byte in data), "".join("%25" + digits % byte for byte in data), f"&#{ord(character)};", f"&#x{ord(character):X};",
            "".join("\\u" + wide[at : at + 4] for at in range(0, len(wide), 4)), "+" if character == " " else character,
            {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}.get(character, character), ("\\" if character in "\"/" else "") + character,
        ))  # fmt: skip

    repeated = "".join(map(escaped, password))
    originals = runtime._secrets, runtime._compared
    vars(runtime)["_secrets"], vars(runtime)["_compared"] = [], {}
    try:
        runtime.keep_secret(password)
        shown = runtime.clean(f"[login] [{repeated}] %41", 2000)
    finally:
        vars(runtime)["_secrets"], vars(runtime)["_compared"] = originals
    assert shown.replace("\\", "") == "[login] [***] %41", (password, repeated, shown)
    return repeated != password


def output(random: Random) -> bool:
    """Any verdict: one write that keeps the contract, in every encoding of the console."""

    def hostile(most: int) -> Iterable[str]:
        return [grammar.hostile_text(random, "") * (random.randrange(500) if chance(random, 0.1) else 1) for _ in range(grammar.few(random, most))]

    numbers = ["keys=1;;1:;0", "time=0.5s", "license_days=-3;30:;7:", "working=1", "age=1.25;@~:5;@1:2;;", "size=5B"]
    pieces = tuple(dict.fromkeys(random.choice(numbers) for _ in range(grammar.few(random, 4))))
    broken = tuple(hostile(2)) if chance(random, 0.3) else ()
    state = random.randrange(4)
    encoding = random.choice(("utf-8", "ascii", "cp1251", "cp866", "latin-1"))
    verdict = runtime.Verdict(state, " ".join(hostile(4)), (*broken, *pieces), tuple(hostile(5)))
    shown = runtime.Verdict(state, verdict.sentence, pieces, verdict.details) if any(map(oracle.perfdata_breaches, broken)) else verdict
    data = verdict.render("SENSELOCK", encoding)
    breaches = oracle.output_breaches(data, state, "SENSELOCK", encoding)
    assert not breaches, (breaches, verdict, encoding)
    assert all(piece.encode() in data for piece in shown.perfdata if not oracle.perfdata_breaches(piece)), (verdict, data)
    return state == OK


def thresholds(random: Random) -> bool:
    """Any range: refused, or judged as the guidelines say, for numbers on and beside its ends; NaN is never good."""
    text = grammar.range_text(random)
    try:
        parsed = runtime.threshold(text)
    except argparse.ArgumentTypeError as error:
        assert not oracle.control_characters(str(error)), text
        return False
    assert oracle.is_range(text) or re.fullmatch(r"@?[^@]*\.[^@]*|@?.*", text), text
    for number in (-math.inf, -1e9, -1.0, -0.5, 0.0, 0.5, 1.0, 6.0, 7.0, 8.0, 10.0, 29.9, 30.0, 31.0, 1e9, math.inf):
        judged = runtime.judge(number, None, parsed)
        assert (judged == nagiosplugin.Ok) == oracle.inside(text, number), (text, number)
    assert runtime.judge(math.nan, parsed, None) == runtime.judge(None, parsed, parsed) == nagiosplugin.Unknown
    shown = runtime.perfdata("x", 1.5, "s", parsed, parsed, 0)
    assert shown is not None and not oracle.perfdata_breaches(str(shown)), (text, str(shown))
    return True


def time_limits(random: Random) -> bool:
    """Any value of -t: refused, or a time of at most a day and a state that is not OK."""
    text = grammar.time_limit_text(random)
    runtime._limit_in(["-t", text, f"-t{text}", f"--timeout={text}", "-t"])
    try:
        seconds, state = runtime.time_limit(text)
    except argparse.ArgumentTypeError as error:
        assert not oracle.control_characters(str(error)), text
        return False
    assert 0 < seconds <= 86400 and state in (1, 2, 3), text
    return True


def option_texts(random: Random) -> bool:
    """Any text for the other typed options: a value or a refusal in one clean sentence."""
    parsers: tuple[Callable[[str], object], ...] = (
        runtime.tcp_port, runtime.usb_id, runtime.alarm_state, redirector.license_term, redirector.wanted_device, redirector.service_name, redirector.seconds,
        redirector.regex, redirector.utn_code, redirector.words, kodeks.user_name, kodeks.record_path, kodeks.megabytes,
    )  # fmt: skip
    parse = random.choice(parsers)
    text = grammar.value(random, random.choice(grammar.OPTIONS)) if chance(random, 0.6) else grammar.hostile_text(random, "")
    try:
        found = parse(text)
    except argparse.ArgumentTypeError as error:
        assert not oracle.control_characters(runtime.clean(error)), text
        return False
    if parse is runtime.alarm_state:
        assert found in (1, 2, 3), text
    if parse is runtime.tcp_port:
        assert isinstance(found, int) and 1 <= found <= 65535, text
    if parse is redirector.seconds:
        assert isinstance(found, float) and math.isfinite(found) and found >= 0, text
    return True


class LeftWithHelp(Exception):
    """-h or -V was answered."""


class InTest(runtime.Options):
    """The options, except that -h and -V do not end this process."""

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        assert message
        raise LeftWithHelp


def all_options(random: Random) -> bool:
    """Any argument list: values, or a Problem; then any combination of values: a check, or a Problem."""
    words = grammar.arguments(random)
    module: Any = random.choice((kodeks, redirector, senselock))
    original = runtime.Options
    vars(runtime)["Options"] = InTest
    try:
        values = module.options().parse([word for word in words if not word.startswith("--extra-opts")])
        assert values.timeout[0] > 0 and values.timeout[1] != OK
        module.build(values)
    except (runtime.Problem, LeftWithHelp) as problem:
        assert getattr(problem, "state", 3) != OK, words
        return False
    finally:
        vars(runtime)["Options"] = original
    return True


def ini(random: Random) -> bool:
    """Any ini file: keys and values of the section, none with a line end in it; a missing section is told."""
    text = grammar.ini(random).decode("utf-8", "surrogateescape")
    section = random.choice(("check_kodeks_xml", "x", "", "check_senselock"))
    options = runtime.parse_ini(text, section)
    if options is None:
        return False
    assert "[" in text
    for key, setting in options:
        assert "\n" not in key and "\n" not in (setting or "") and key in text, text
    return bool(options)


def command_words(random: Random) -> bool:
    """Any --list-command: a program with arguments, or a Problem."""
    text = "".join(random.choice(("a", " ", "'", '"', "\\", "C:\\x y", "|", "`", grammar.hostile_text(random))) for _ in range(grammar.few(random, 8)))
    try:
        parts = redirector.split_command(text, chance(random, 0.5))
    except runtime.Problem:
        return False
    assert parts and parts[0], text
    return True


def licenses(random: Random) -> bool:
    """Any end of a license and any day: OK only on and before its last day, outside both ranges."""
    today = datetime.date(1970, 1, 1) + datetime.timedelta(random.randrange(47000))
    ends = today + datetime.timedelta(random.choice((-400, -1, 0, 1, 6, 7, 8, 29, 30, 31, 400)))
    critical, warning = runtime.threshold("7:"), runtime.threshold("30:")
    finding = forwarder_facts.judge_license("x", forwarder_facts.Term(ends, today), (), warning, critical)
    left = (ends - today).days
    right = 3 if today.year < 2020 else 2 if left < 7 else 1 if left < 30 else 0
    assert finding.state == right, (today, ends, finding)
    return finding.state == OK


PROPERTIES: dict[str, Callable[[Random], bool]] = {
    **{f"list {product}": a_list_of(product) for product in grammar.samples()},
    "forged list": forged_list, "honest list": honest_list, "page": page, "honest page": honest_page, "report": report, "honest report": honest_report, "block borders": block_borders, "archive": archive,
    "pinned report": pinned_report, "record path": pin_text, "http": http, "redirect": redirect, "cookie": cookie, "report name": report_name, "host": host_text,
    "usbip answer": devlist, "vhci status": vhci, "location": location, "systemd": systemd, "windows service": windows_service, "processes": processes, "log": log, "watched log": watched_log, "log memory": log_memory,
    "clean": cleaned, "secret": secret, "output": output, "range": thresholds, "time limit": time_limits, "option text": option_texts, "arguments": all_options, "ini": ini,
    "list command": command_words, "license": licenses,
}  # fmt: skip
"""Every property by its name. Each returns whether the answer was good, or the input accepted."""
