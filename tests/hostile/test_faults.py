"""A broken world, row by row: each fault is real, and each row says the state and the words that tell this fault from others.
Whole sentences are asserted where they belong, in tests/functional.

What tests/functional tries already is not here again: the server's answers (silent, dripping, endless, cut, reset, 401 to 503, login pages, certificates, IPv6,
proxies), the usual ZIP files, libusb's absence and the list tools.

Every run also keeps the contract (Outcome.breaches) and ends within its limit plus half a second. Half a second is for
a machine with a free processor; on a busy one it grows with the load that the kernel reports for each processor, eight
times at most.
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from lab import reports
from lab.faults import Certificate, Connection, Fault
from lab.forwarder_tools import ForwarderTools, forwarder_daemon, sample
from lab.kodeks_server import PASSWORD, USER, KodeksServer
from lab.own_mounts import own_mounts
from lab.raw_server import Answer, page, server_that
from lab.run_check import SERVICES, Outcome, command, open_checks, run_process
from lab.usb_bus import AS_NOBODY, UsbBus

PAGE = "/admin/lic"
GOOD = "<BR>Привязка: SenseLock ключ - [работает]<BR>".encode()
WORKS_ON_PAGE = "OK - SenseLock key works (binding of /admin/lic)"


def overrun_allowed() -> float:
    """Seconds by which a run may exceed its limit on this machine, see above."""
    return 0.5 * min(8.0, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def tried(check: str, *arguments: str, limit: float = 10, around: Iterable[str] = (), **more: Any) -> tuple[int, str]:
    """Run a check with -t `limit` behind the command prefix `around`: exit code, and first line without the service."""
    outcome = run_process([*around, *command(check, *arguments, "-t", str(limit))], **more)
    return judged(check, outcome, limit)


def judged(check: str, outcome: Outcome, limit: float) -> tuple[int, str]:
    """What an outcome says, without perfdata, once it has kept the contract and its limit."""
    assert outcome.breaches() == []
    assert outcome.seconds < limit + overrun_allowed(), f"{outcome.seconds:.2f} s: {outcome.text}"
    service, said = outcome.line.partition(" | ")[0].split(" ", 1)
    assert service == SERVICES[check]
    return outcome.code, said


def limited(**limits: int) -> list[str]:
    """A command prefix that sets resource limits, `limited(nofile=8)`."""
    return ["prlimit", *(f"--{name}={value}" for name, value in limits.items())]


# --- Servers ------------------------------------------------------------------------------------------------------


def interim_without_end(connection: Connection, request: bytes) -> None:
    while True:
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 500)


def line_without_end(connection: Connection, request: bytes) -> None:
    while True:
        connection.send(b"x" * 65536)


def trailers_without_end(connection: Connection, request: bytes) -> None:
    connection.send(page(b"%x\r\n" % len(GOOD) + GOOD + b"\r\n0\r\n", "Transfer-Encoding: chunked"))
    while True:
        connection.send(b"a: b\r\n" * 5000)


def chunks_of_one_byte(body: bytes) -> bytes:
    return b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"


def handshake_by_the_byte(connection: Connection, request: bytes) -> None:
    connection.send(b"\x16\x03\x03\x10\x00\x02")
    while True:
        connection.send(b"\0")
        connection.pause(0.05)


LATE, BROKEN, NO_HTTP = "timed out after 1.2 s while ", "before the end of its answer", "does not answer in HTTP"
ANSWERS: list[tuple[str, Answer, tuple[str, ...], float, int, str]] = [
    # id, answer, arguments, limit, exit code, words of the sentence
    ("interim answers without end", interim_without_end, (), 1.2, 3, LATE),
    ("chunks of one byte", page(chunks_of_one_byte(GOOD + b" " * 50_000), "Transfer-Encoding: chunked"), (), 10, 0, WORKS_ON_PAGE),
    ("a page of less-than signs", page(b"<" * 400_000 + GOOD), (), 10, 0, WORKS_ON_PAGE),
    ("a page of zero bytes", page(b"\0" * 5000 + GOOD + b"\0"), (), 10, 0, WORKS_ON_PAGE),
    ("a line of a gigabyte", line_without_end, (), 10, 3, BROKEN),
    ("headers without end", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000, (), 10, 3, BROKEN),
    ("two lengths", page(GOOD, "Content-Length: 5", "Content-Length: 9"), (), 10, 3, "no binding line from "),
    ("negative length", page(GOOD, "Content-Length: -1"), (), 10, 0, WORKS_ON_PAGE),  # as long as the connection, then
    ("negative chunk", page(b"-5\r\n" + GOOD, "Transfer-Encoding: chunked"), (), 10, 3, BROKEN),
    ("trailers without end", trailers_without_end, (), 1.2, 3, LATE),
    ("HTTP/2", b"HTTP/2 200\r\n\r\n" + GOOD, (), 10, 3, NO_HTTP),
    ("a TLS handshake by the byte", handshake_by_the_byte, ("-S", "--insecure"), 1.2, 3, "no TLS connection to 127.0.0.1"),
    ("TLS that is none", b"\x15\x03\x03\x00\x02\x02\x28", ("-S",), 10, 3, "the server speaks TLS and refuses (SSLV3_ALERT_HANDSHAKE_FAILURE)"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "arguments", "limit", "code", "words"), [pytest.param(*row[1:], id=row[0]) for row in ANSWERS])
def test_answers(answer: Answer, arguments: tuple[str, ...], limit: float, code: int, words: str) -> None:
    with server_that(answer) as port:
        state, said = tried("kodeks_xml", "-H", "127.0.0.1", "-p", str(port), "--source", "page", *arguments, limit=limit)
    assert state == code and words in said, said


def test_one_byte_a_second() -> None:
    with KodeksServer(faults={PAGE: Fault.DRIP_BODY}, pace=1.0, report_needs_login=False) as server:
        where = ("-H", server.host, "-p", str(server.port), "-l", USER, "--source", "page")
        state, said = tried("kodeks_xml", *where, limit=2.3, env={"KODEKS_PASSWORD": PASSWORD})
    assert state == 3 and f"{server.url}/admin/lic" in said, said


@pytest.mark.parametrize("certificate", [Certificate.WRONG_NAME, Certificate.SELF_SIGNED], ids=lambda kind: kind.value)
def test_insecure_is_a_choice(certificate: Certificate) -> None:
    with KodeksServer(certificate=certificate) as server:
        there = ("-H", server.host, "-p", str(server.port), "-S", "-l", USER, "--source", "page")
        refused = tried("kodeks_xml", *there, env={"KODEKS_PASSWORD": PASSWORD})
        assert refused[0] == 3 and "--insecure would not verify it" in refused[1]
        assert server.requests == [], "nothing is sent to a server that is not the right one"
        assert tried("kodeks_xml", *there, "--insecure", env={"KODEKS_PASSWORD": PASSWORD}) == (0, WORKS_ON_PAGE)


def test_authorities_that_are_not_there_trust_nobody() -> None:
    with KodeksServer(certificate=Certificate.TRUSTED) as server:
        there = ("-H", server.host, "-p", str(server.port), "-S", "--source", "page")
        assert tried("kodeks_xml", *there, env={"SSL_CERT_FILE": "/nonexistent/authorities"}) == (
            3, "UNKNOWN - no TLS connection to 127.0.0.1: its certificate is not accepted (unable to get local issuer certificate); --insecure would not verify it")  # fmt: skip


REDIRECTS = [
    # id, Location ({there} is another server, {here} the right one), the origin that the sentence names
    ("user and password in it", "http://smartlogin:{password}@{there}/", "{there}"),
    ("the same host behind a user", "http://{here}@{there}/", "{there}"),
    ("another host as the path", "//{there}/", "{there}"),
    ("a backslash", "http://{here}\\@{there}/", ""),
    ("another scheme", "HTTPS://{here}/", "https://{here}"),
    ("a script", "javascript:alert(1)", ""),
    ("a file", "file:///etc/passwd", ""),
    ("control characters", "http://{there}\x01\x1b[2J|x=1/", ""),
]


@pytest.mark.parametrize(("location", "origin"), [pytest.param(*row[1:], id=row[0]) for row in REDIRECTS])
def test_a_redirect_takes_no_credentials_along(location: str, origin: str) -> None:
    with KodeksServer() as stranger, KodeksServer(faults={PAGE: Fault.ELSEWHERE}) as server:
        names = {"there": f"127.0.0.1:{stranger.port}", "here": f"127.0.0.1:{server.port}", "password": PASSWORD}
        server.set(elsewhere=location.format(**names))
        where = ("-H", server.host, "-p", str(server.port), "-l", USER, "--source", "page")
        state, said = tried("kodeks_xml", *where, env={"KODEKS_PASSWORD": PASSWORD})
        assert (state, stranger.requests) == (3, [])
    assert f"{server.url}{PAGE} " in said and "redirect" in said and origin.format(**names) in said and PASSWORD not in said, said


def test_a_login_form_that_sends_the_password_on() -> None:
    """307 on the login form would send user and password again, to wherever it says."""
    with KodeksServer() as stranger, KodeksServer(basic=False, faults={"POST /users/login.asp": Fault.ELSEWHERE}) as server:
        server.set(elsewhere=f"{stranger.url}/users/login.asp")
        state, said = tried("kodeks_xml", "-H", server.host, "-p", str(server.port), "-l", USER, "--source", "page", env={"KODEKS_PASSWORD": PASSWORD})
        assert state == 3 and f"/users/login.asp redirects to {stranger.url}: not followed" in said, said
        assert stranger.requests == []


def test_a_name_server_that_never_answers(tmp_path: Path) -> None:
    """A real resolver asks a real name server, which takes every question and answers none."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        address = f"127.{os.getpid() >> 16 & 255}.{os.getpid() >> 8 & 255}.{os.getpid() & 255 or 1}"
        silent.bind((address, 53))
        (tmp_path / "resolv.conf").write_text(f"nameserver {address}\n")
        (tmp_path / "nsswitch.conf").write_text("hosts: dns\n")
        mounts = "".join(f"mount --bind {tmp_path}/{name} /etc/{name} && " for name in ("resolv.conf", "nsswitch.conf"))
        around = [*own_mounts(mounts + 'exec "$@"'), "sh"]
        state, said = tried("kodeks_xml", "-H", "kodeks.example", limit=1.2, around=around)
        assert state == 3 and "kodeks.example" in said and "the name server does not answer" in said, said
        words = ("--product", "usbip", "-H", "forwarder.example", "--device", "0471:485d")
        state, said = tried("usb_redirector", *words, limit=1.2, around=around)
        assert state == 3 and "forwarder.example" in said and "the name server does not answer" in said, said


# --- Reports ------------------------------------------------------------------------------------------------------


def small(binding: str = reports.WORKS, **options: Any) -> bytes:
    """A small report."""
    return b"".join(reports.report("text", size=30_000, bindings=(binding,), **options))


def xml(inside: str) -> bytes:
    """A report that says that the key works, and something else before."""
    return f'<?xml version="1.0"?><r>{inside}<binding>{reports.WORKS}</binding></r>'.encode()


DECLARES, TOO_LARGE = "the report declares or misses entities", "the report is too deep, or its elements or names too large"
NO_CODEC, INVALID = "encoding", "no well-formed XML: not well-formed (invalid token): line "
WORKS, PIN, CUT = "SenseLock key works", "pin what holds its state (--record /", "no well-formed XML: unclosed CDATA section: line "
REPORTS: list[tuple[str, bytes, int, str]] = [
    # id, the file, exit code, words of the sentence
    ("billion laughs", reports.billion_laughs(), 3, DECLARES),
    ("quadratic blowup", reports.quadratic_blowup(), 3, DECLARES),
    ("external entity, file", reports.external_entity("file:///etc/passwd"), 3, DECLARES),
    ("external entity, server", reports.external_entity("{stranger}/x"), 3, DECLARES),
    ("external DTD is not fetched", reports.external_dtd("{stranger}/x"), 0, WORKS),
    ("entity of an external DTD", reports.external_dtd("{stranger}/x").replace("работает".encode(), b"&state;"), 3, DECLARES),
    ("200,000 deep", b"".join(reports.deep(200_000)), 3, TOO_LARGE),
    ("200,000 deep in a ZIP", reports.zip_report(reports.deep(200_000)), 3, TOO_LARGE),
    ("80,000 attributes", xml("<a " + " ".join(f"a{number}='x'" for number in range(80_000)) + "/>"), 0, WORKS),
    ("100,000 namespaces", xml("".join(f'<a xmlns:n{number}="u{number}"/>' for number in range(100_000))), 3, TOO_LARGE),
    ("an attribute of 900 KB full of beginnings", xml("<a b='" + "SenseLock - [" * 70_000 + "'/>"), 3, PIN),
    ("a text of 900 KB full of beginnings", xml("<a>" + "SenseLock ключ - [" * 40_000 + "</a>"), 3, PIN),
    ("a mention at the end of a long text", f"<r><a>{'y' * 90_000} SenseLock</a></r>".encode(), 3, PIN),
    ("a comment without end", xml("<!--" + "x" * 2_000_000), 3, TOO_LARGE),
    ("an instruction without end", xml("<?x " + "y" * 2_000_000), 3, TOO_LARGE),
    ("a CDATA section without end", xml("<![CDATA[" + "x" * 2_000_000), 3, CUT),
    ("declared UTF-8, is windows-1251", small(encoding="windows-1251", declared="utf-8"), 3, INVALID),
    ("declared windows-1251, is UTF-8", small(declared="windows-1251"), 3, INVALID),
    ("declared UTF-16, is UTF-8", small(declared="utf-16"), 3, "encoding specified in XML declaration is incorrect"),
    ("declared ISO-8859-1, is UTF-8", small(declared="iso-8859-1"), 3, PIN),
    ("an encoding nobody knows", small(declared="nonsense"), 3, NO_CODEC),
    ("a codec that is no encoding", small(declared="zlib"), 3, NO_CODEC),
    ("UTF-7", small(declared="utf-7"), 3, NO_CODEC),
    ("a zero byte before it", b"\0" + small(), 3, INVALID),
    ("a sector of zero bytes in it", b"".join(reports.overwritten([small()], 15_000)), 3, INVALID),
    ("a sector of zero bytes behind it", small() + bytes(512), 3, INVALID),
    ("a byte order mark twice", b"\xef\xbb\xbf" * 2 + small(), 3, INVALID),
    ("1,000 ZIP members with path names", reports.zip_members([(f"../../etc/{number}.xml", [b""]) for number in range(1000)]), 3, "it has 1000 of them"),
    ("a report under a path name", reports.zip_members([("/etc/../../C:\\x|\x1b\n.xml", [small()])], made=datetime(1980, 1, 1)), 0, WORKS),
    ("ten ZIPs one in the other", reports.zip_of_zip(reports.zip_of_zip(reports.zip_of_zip(reports.zip_report([small()])))), 3, "is no sysinfo report: neither XML nor ZIP"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "code", "words"), [pytest.param(*row[1:], id=row[0]) for row in REPORTS])
def test_reports(data: bytes, code: int, words: str, tmp_path: Path) -> None:
    """In 160 MB of address space, of which Python itself takes 40: no report is held in memory."""
    path = tmp_path / "stored.bin"
    with KodeksServer() as stranger:
        path.write_bytes(data.replace(b"{stranger}", stranger.url.encode()))
        state, said = tried("kodeks_xml", "--file", str(path), around=limited(**{"as": 160 << 20}))
        assert state == code and words in said, said
        assert stranger.requests == []


@pytest.mark.parametrize("form", ["XML", "ZIP"])
def test_cut_at_every_percent(form: str, tmp_path: Path) -> None:
    """A large report that broke off."""
    whole = b"".join(reports.report(size=3_000_000, place="start"))
    whole = whole if form == "XML" else reports.zip_report([whole])
    path = tmp_path / "cut.bin"
    for percent in range(1, 100, 14):
        cut = len(whole) * percent // 100
        path.write_bytes(whole[:cut])
        state, said = tried("kodeks_xml", "--file", str(path))
        assert state == 3 and ("is cut off" if form == "XML" else "is no whole ZIP") in said, f"{percent} %: {said}"
    path.write_bytes(whole)
    assert tried("kodeks_xml", "--file", str(path))[0] == 0


# --- The USB bus --------------------------------------------------------------------------------------------------

NO_KEY = "CRITICAL - no SenseLock key among 1 USB device"
ONE_KEY = "OK - 1 SenseLock key: 0471:485d at 1-2, local"


@pytest.mark.parametrize(
    ("attribute", "content", "code", "line"),
    [
        ("descriptors", b"", 2, NO_KEY),
        ("descriptors", b"\x12\x01", 2, NO_KEY),
        ("descriptors", b"\xff" * 70_000, 2, NO_KEY),
        ("busnum", b"-1\n", 2, NO_KEY),
        ("devnum", b"x", 2, NO_KEY),
        ("idVendor", b"\xff|zz", 0, ONE_KEY),
        ("speed", b"\xff", 0, ONE_KEY),
        ("product", b"\0" * 5000, 0, ONE_KEY),
        ("product", b"SENSELOCK OK - 9 keys | keys=9\r\n" * 3000, 0, ONE_KEY),
        ("manufacturer", b"\x1b]0;x\x07" * 1000, 0, ONE_KEY),
    ],
    ids=lambda value: value[:8].decode("latin-1").encode("unicode_escape").decode() if isinstance(value, bytes) else None,
)
def test_garbage_from_a_device(attribute: str, content: bytes, code: int, line: str) -> None:
    with UsbBus() as bus:
        file = bus.device(bus.add_key(port="1-2", serial="97")) / attribute
        bus.add_mouse()
        file.unlink(missing_ok=True)
        file.write_bytes(content)
        assert tried("senselock", "-vv", env=bus.env()) == (code, line)
        assert bus.opened_nodes() == []


def test_a_device_that_vanishes_between_listing_and_reading() -> None:
    """The first key's string keeps the check waiting while the second key is pulled out."""
    with UsbBus() as bus:
        first, second = bus.add_key(port="1-1", serial="97"), bus.add_key(port="1-2")
        bus.hang_attribute(first, "serial")
        pulled = threading.Timer(0.6, bus.remove, (second,))
        pulled.start()
        said = tried("senselock", "--serial", "97", "--location", "local", limit=5, env=bus.env())
        pulled.join()
    assert said == (
        3, "UNKNOWN - cannot tell whether the key with serial 97 is here: no readable serial at 1-1, 1-2; see whether its forwarder hangs, or leave --serial out; cannot tell whether the key is local: "
        "0471:485d at 1-2, location unknown; see where it is plugged in, and leave --location out")  # fmt: skip


# --- Tools, processes, limits of the machine ----------------------------------------------------------------------

IGNORING_CHILDREN = [sys.executable, "-c", "import os, signal, sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nos.execvp(sys.argv[1], sys.argv[1:])"]
BLOCKING_SIGNALS = [sys.executable, "-c", "import os, signal, sys\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nos.execvp(sys.argv[1], sys.argv[1:])"]
DATED = ("--license-expires", "perpetual")


def test_an_engine_that_ignores_its_children_hides_no_exit_code(tmp_path: Path) -> None:
    """With SIGCHLD ignored the kernel keeps no exit codes; 24 from the dongle server's tool must not become 0."""
    with ForwarderTools(tmp_path) as tools:
        tool = f"{tools.prints('utnm', b'', code=24)} -c 'state 192.0.2.20 5'"
        said = tried("usb_redirector", "--product", "seh-utn", *DATED, "--list-command", tool, around=IGNORING_CHILDREN)
    assert said == (2, "CRITICAL - the key is not available at the dongle server")


def test_an_engine_that_blocks_every_signal(tmp_path: Path) -> None:
    with ForwarderTools(tmp_path) as tools:
        tool = str(tools.hangs("tool", stubborn=True))
        state, said = tried("usb_redirector", "--product", "virtualhere", *DATED, "--list-command", "tool", limit=1, around=BLOCKING_SIGNALS,
                            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})  # fmt: skip
        assert Path(tool).exists() and tools.survivors() == []
    assert state == 3 and "list command tool did not end within " in said, said


def test_a_grandchild_in_a_session_of_its_own_keeps_the_output(tmp_path: Path) -> None:
    """A daemon that a tool starts is out of reach of a kill; it must not hold the check, nor hide the list."""
    with ForwarderTools(tmp_path) as tools:
        tool = str(tools.leaves_a_child("tool", sample("usbsrv-list-key-shared-constructed.txt"), own_session=True))
        state, said = tried("usb_redirector", "--product", "usb-redirector", *DATED, "--list-command", f"'{tool}'", "--device", "0471:485d", limit=3)
    assert (state, said) == (
        0, "OK - license of USB Redirector is perpetual; key 0471:485d is offered by the forwarder")  # fmt: skip


@pytest.mark.parametrize("what", ["dribbles", "floods stderr"])
def test_tools_that_never_stop_talking(what: str, tmp_path: Path) -> None:
    with ForwarderTools(tmp_path) as tools:
        if what == "dribbles":
            tools.dribbles("tool")
        else:
            tools._script("tool", "yes x >&2")
        state, said = tried("usb_redirector", "--product", "virtualhere", *DATED, "--list-command", "tool", limit=1.5,
                            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})  # fmt: skip
        assert tools.survivors() == []
    ending = "did not end within " if what == "dribbles" else "printed more than 1048576 bytes"
    assert state == 3 and f"list command tool {ending}" in said, said


@pytest.mark.parametrize("check", SERVICES)
def test_no_thread_can_be_started(check: str) -> None:
    outcome = run_process([*AS_NOBODY, *limited(nproc=1), *command(check, python="/usr/bin/python3", checks=open_checks())])
    assert judged(check, outcome, 10) == (3, "UNKNOWN - no thread can be started: raise the limits of processes and memory")


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    with ForwarderTools(tmp_path) as tools:
        tool = f"{tools.prints('utnm', b'', code=0)} -c 'state 192.0.2.20 5'"
        words = ("--product", "seh-utn", *DATED, "--list-command", tool)
        state, said = tried("usb_redirector", *words, around=limited(nofile=6))
    assert state == 3 and "cannot be started (Too many open files)" in said, said


# --- Homes and clocks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", SERVICES)
def test_no_home_and_no_path(check: str) -> None:
    quick = {"senselock": ("-c", "0:"), "kodeks_xml": ("--file", "/nonexistent"), "usb_redirector": ("--product", "generic", *DATED)}[check]
    usual = tried(check, *quick)
    assert tried(check, *quick, env={"HOME": "", "PATH": "", "XDG_STATE_HOME": "", "LANG": "x" * 5000, "TZ": "../../etc/shadow"}) == usual


@contextmanager
def clock(folder: Path, offset: str) -> Iterator[tuple[dict[str, str], Path]]:
    """An environment whose wall clock is off by `offset`, and the file that changes it while a program runs."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    file = folder / "clock"
    file.write_text(offset)
    yield {"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}, file


def test_a_clock_that_was_never_set(tmp_path: Path) -> None:
    with clock(tmp_path, "-40y") as (env, _):
        state, said = tried("usb_redirector", "--product", "generic", "--license-expires", "2027-01-31", env=env)
    assert state == 3 and re.search(r"clock.* says (19|200)[0-9-]{8}", said), said


def test_a_clock_that_jumps_back_while_the_check_waits(tmp_path: Path) -> None:
    """An hour back in the middle of a silent answer: the deadline neither moves nor does the time become negative."""
    with KodeksServer(faults={"*": Fault.SILENT}) as server, clock(tmp_path, "+0") as (env, file):
        new = tmp_path / "an hour back"
        new.write_text("-3600")
        jump = threading.Timer(1.5, new.replace, (file,))  # libfaketime ends a program that reads half a file
        jump.start()
        said = tried("kodeks_xml", "-H", server.host, "-p", str(server.port), limit=4.0, env=env)
        jump.join()
    assert said[0] == 3 and "did not answer in time" in said[1], said


def test_a_report_that_a_clock_set_back_puts_into_the_future(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_bytes(small())
    with clock(tmp_path, "-7200") as (env, _):
        state, said = tried("kodeks_xml", "--file", str(tmp_path / "x.xml"), "-w", ":26", env=env)
    assert (state, said) == (
        3, "UNKNOWN - the age of the report is not known (dated 2.0 hours in the future): check its name, and the clocks")  # fmt: skip


# --- Many at once -------------------------------------------------------------------------------------------------


def test_many_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All three checks at once, far more than there are processors: none breaks the contract, none is wrong."""
    number = 60
    limit = 60.0
    with KodeksServer() as server, UsbBus() as bus, forwarder_daemon("usbsrvd"), ForwarderTools(tmp_path) as tools:
        bus.add_key(port="1-2")
        tool = str(tools.prints("tool", sample("usbsrv-list-key-shared-constructed.txt")))
        kinds: list[tuple[str, list[str], dict[str, str], str]] = [
            ("senselock", [], bus.env(), ONE_KEY),
            ("kodeks_xml", ["-H", server.host, "-p", str(server.port), "-l", USER, "--source", "page"], {"KODEKS_PASSWORD": PASSWORD}, WORKS_ON_PAGE),
            ("usb_redirector", ["--product", "usb-redirector", *DATED, "--list-command", f"'{tool}'", "--process", "usbsrvd"], {},
             "OK - license of USB Redirector is perpetual; process usbsrvd is running; 1 of 2 devices offered or attached"),
        ]  # fmt: skip

        def one(index: int) -> tuple[tuple[int, str], str, float]:
            check, arguments, env, expected = kinds[index % 3]
            outcome = run_process(command(check, *arguments, "-t", str(limit)), env=env, patience=120)
            return judged(check, outcome, limit), expected, outcome.seconds

        with ThreadPoolExecutor(number) as pool:
            results = list(pool.map(one, range(number)))
    assert [said for said, _, _ in results] == [(0, expected) for _, expected, _ in results]
    seconds = sorted(took for _, _, took in results)
    with capsys.disabled():
        print(f"\n{number} checks at once: median {statistics.median(seconds):.2f} s, worst {seconds[-1]:.2f} s")
