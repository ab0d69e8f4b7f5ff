"""check_kodeks_xml as a process, against a Kodeks server on loopback and stored reports: first lines byte for byte.

Only the time that a run took is not compared: `time=` and its number read `time=T` here.
"""

from __future__ import annotations

import base64
import os
import re
import ssl
import subprocess
import time
import zipfile
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Sequence

import pytest
from lab import reports
from lab.certificates import leaf, write_authority
from lab.faults import Certificate, Connection, Fault, Port, PortState
from lab.kodeks_server import PASSWORD, USER, KodeksServer, Kodweb, Licenses, Refusal
from lab.run_check import PUNCTUAL, Outcome, command, run_check, run_process

PAGE = "/admin/lic"
REPORT = "/sysinfo/si_save_request"
LOGIN = ("-l", USER)
ENV = {"KODEKS_PASSWORD": PASSWORD}
CHECK_KEY = "check where the key is plugged in and its forwarder first"
CHECK_SERVER = "check that the server runs, then -H, -p and the firewalls"
NOT_FOUND = f'server reports: Device "SenseLock" not found: the server does not see its key; {CHECK_KEY}'
NO_RECORD = f"the server did not detect it when the report was made; {CHECK_KEY}"
NO_MENTION = f"the report has no record of a SenseLock key: {NO_RECORD}; one that names it otherwise must be pinned (--record)"
WORKS = "SenseLock key works"
PAGE_WORKS = f"OK - {WORKS} (binding of /admin/lic) | time=T working=1 key_state=0"
BROWSER = "look at the page in a browser"


def said(outcome: Outcome) -> str:
    """The first line without the service word, and with the time taken out."""
    return re.sub(r"\btime=[0-9.]+s", "time=T", outcome.line).removeprefix("KODEKS_XML ")


def ask(server: KodeksServer, *arguments: str, env: dict[str, str] | None = None) -> Outcome:
    """Run the check against a server, logged in as its one user."""
    address = ("-H", server.host, "-p", str(server.port))
    return run_check("kodeks_xml", *address, *LOGIN, *arguments, env=ENV if env is None else env)


def read(xml: str | bytes, folder: Path, *arguments: str, name: str = "x.xml") -> Outcome:
    """Run the check on a stored report."""
    (folder / name).write_bytes(xml if isinstance(xml, bytes) else xml.encode())
    return run_check("kodeks_xml", "--file", str(folder / name), *arguments)


@pytest.fixture(scope="module")
def kodeks() -> Iterator[KodeksServer]:
    """One server for the tests that only change its state."""
    with KodeksServer() as server:
        yield server


# --- The license page -------------------------------------------------------------------------------------------------


class Binding(NamedTuple):
    """A binding as the page shows it, and the line of the check."""

    name: str
    text: str
    line: str


FAILS = "| time=T working=0 key_state=2"
BINDINGS = [
    Binding("works", reports.WORKS, PAGE_WORKS),
    Binding("the other spelling", "SensLock ключ -  [работает]", PAGE_WORKS),
    Binding("local", reports.WORKS_LOCAL, PAGE_WORKS.replace(WORKS, "binding to the machine works, no key is used")),
    Binding("domain", "домен к KODEKS - [работает]", PAGE_WORKS.replace(WORKS, "binding to the domain KODEKS works, no key is used")),
    Binding("not found", reports.NOT_FOUND, f"CRITICAL - {NOT_FOUND} {FAILS}"),
    Binding("user limit", reports.USER_LIMIT,
            "CRITICAL - server reports: User limit exceeded (1) (license manager configured at 10.0.0.8:8888): the license manager has no free "
            f"user license; check at the license manager who uses the key {FAILS}"),
    Binding("key limit", reports.KEY_LIMIT,
            "CRITICAL - server reports: Менеджер лицензий не авторизовал ключ, key limit exceeded (менеджер лицензий настроен на 10.0.0.8:8888): "
            f"the license manager refuses the key, its limit is exceeded; check there which servers use the key {FAILS}"),
    Binding("not available", reports.NOT_AVAILABLE,
            "CRITICAL - server reports: Key is not available (license manager configured at 10.0.0.8:8888): the license manager does not offer "
            f"the key; check that the key is plugged in there {FAILS}"),
    Binding("unreadable", reports.NO_BINDING,
            "CRITICAL - server reports: Невозможно получить привязку: the server cannot read its binding; check that the key or the domain it is "
            f"bound to is reachable {FAILS}"),
    Binding("older form", reports.NOT_CONNECTED,
            "CRITICAL - server reports: Ошибка защиты 4111 Not connected: no key for this registration file (not plugged in, a wrong key, or no "
            f"license manager found); {CHECK_KEY} {FAILS}"),
    Binding("not documented", "SenseLock ключ - [Quota]",
            f"CRITICAL - server reports: Quota: an error that is not documented; look at the license page of the server {FAILS}"),
    Binding("unknown kind", "Guardant ключ - [работает]",
            f"UNKNOWN - the binding is not recognised: 'Guardant ключ - [работает]'; {BROWSER} | time=T key_state=3"),
    Binding("empty", "", f"UNKNOWN - the binding is not recognised: ''; {BROWSER} | time=T key_state=3"),
    Binding("hostile", "SenseLock ключ - [x | working=1\x1b[31m\u202eкод\r\nOK - fine]",
            "CRITICAL - server reports: [x / working=1 [31m код OK - fine]: an error that is not documented; look at the license page of the "
            f"server {FAILS}"),
]  # fmt: skip


@pytest.mark.parametrize("row", BINDINGS, ids=lambda row: row.name)
def test_bindings(row: Binding, kodeks: KodeksServer) -> None:
    kodeks.set(binding=row.text, page=None)
    assert said(ask(kodeks)) == row.line


GOOD = "<BR>Привязка: SenseLock ключ - [работает]<BR>"
HIDDEN = f"UNKNOWN - a binding is hidden, cut off or not where it is known to stand: '{{}}'; {BROWSER} | time=T key_state=3"
NO_LINE = "UNKNOWN - no binding line from {url}/admin/lic: wrong page, or the user lacks the right to see it | key_state=3"
PAGES = [
    Binding("two that disagree", f"{GOOD}Привязка: SenseLock ключ - [Device &quot;SenseLock&quot; not found]<BR>",
            f"CRITICAL - {NOT_FOUND} {FAILS}"),
    Binding("cut off", GOOD[:-4], HIDDEN.format("Привязка: SenseLock ключ - [работает]")),
    Binding("in a comment", f"<!-- {GOOD} -->", HIDDEN.format(GOOD)),
    Binding("in an attribute", f'<INPUT VALUE="{GOOD}">', NO_LINE),
    Binding("side module without license", "<P>Ошибка защиты 4103</P>", NO_LINE),
    Binding("words of a refusal beside it", f"Максимальное число подключений: 10, авторизация <P id='user'>{GOOD}", PAGE_WORKS),
]  # fmt: skip


@pytest.mark.parametrize("row", PAGES, ids=lambda row: row.name)
def test_pages(row: Binding, kodeks: KodeksServer) -> None:
    kodeks.set(page=row.text)
    assert said(ask(kodeks)) == row.line.replace("{url}", kodeks.url)


def scripted(*answers: bytes) -> Callable[[Connection], None]:
    """A server that gives these answers, one a request, and the last one for ever."""
    left = list(answers)

    def serve(connection: Connection) -> None:
        connection.socket.settimeout(0.1)
        with suppress(OSError):  # a form comes behind its headers
            while connection.socket.recv(65536):
                pass
        connection.send(left.pop(0) if len(left) > 1 else left[0])

    return serve


def ask_scripted(*answers: bytes, arguments: Sequence[str] = ()) -> tuple[Outcome, str]:
    """The outcome of asking such a server, and its URL."""
    port = Port(scripted(*answers))
    port.become(PortState.OPEN)
    try:
        return run_check("kodeks_xml", "-H", "127.0.0.1", "-p", str(port.number), *LOGIN, *arguments, env=ENV), f"http://127.0.0.1:{port.number}"
    finally:
        port.shut()


def document(body: bytes, content_type: str = "text/html") -> bytes:
    """An answer of Kodeks with a body."""
    return f"HTTP/1.1 200 OK\r\nServer: WWW-Kodeks/6.4\r\nContent-Type: {content_type}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/html; charset=windows-1251", GOOD.encode("cp1251")),
        ("text/html", b'<meta charset="windows-1251">' + GOOD.encode("cp1251")),
        ("text/html", GOOD.encode("utf-16")),
        ("text/html; charset=idna", GOOD.encode()),
        ("text/plain", b"\xef\xbb\xbf" + GOOD.encode()),
        ("text/html", GOOD.encode() + b"\xff"),
    ],
    ids=["header", "meta", "UTF-16", "a charset of hosts", "mark", "a stray byte"],
)
def test_page_encodings(content_type: str, body: bytes) -> None:
    assert said(ask_scripted(document(body, content_type))[0]) == PAGE_WORKS


# --- Cookies, logins, refusals ----------------------------------------------------------------------------------------

NO_LICENSE = "UNKNOWN - the server has no free user license to read {url}{path}: end a session there"
REFUSED = "UNKNOWN - login refused for user smartlogin at {url}{path}: check the password and the user's rights"
WRONG_USERS = {"users": {USER: "another"}}


class Refused(NamedTuple):
    """A state of the server and the line; {what} is what is missing."""

    name: str
    state: dict[str, Any]
    line: str


REFUSALS = [
    Refused("wrong password, challenge", WRONG_USERS, REFUSED),
    Refused("wrong password, login page", {**WRONG_USERS, "refusal": Refusal.LOGIN_PAGE}, REFUSED),
    Refused("wrong password, login error", {**WRONG_USERS, "refusal": Refusal.LOGIN_ERROR}, REFUSED),
    Refused("too many users", {"licenses": Licenses.TOO_MANY_USERS}, NO_LICENSE),
    Refused("maximum reached", {"licenses": Licenses.MAXIMUM_REACHED}, NO_LICENSE),
    Refused("too many users, form", {"licenses": Licenses.TOO_MANY_USERS, "basic": False, "refusal": Refusal.LOGIN_PAGE},
            NO_LICENSE.replace("{path}", "/users/login.asp")),
    Refused("maintenance", {"kodweb": Kodweb.MAINTENANCE},
            "UNKNOWN - the server is in maintenance mode (HTTP 503 from {url}{path}): end it there if nobody is updating"),
    Refused("only the monitor in front", {"kodweb": Kodweb.DOWN}, "UNKNOWN - {what} from {url}{path}: another program answers in place of Kodeks, which may be down"),
    Refused("no page of the monitor's", {"kodweb": Kodweb.ABSENT}, "UNKNOWN - HTTP 404 from {url}{path}: another program answers in place of Kodeks, which may be down"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "path", "what"), [("page", PAGE, "no binding line"), ("zip", REPORT, "no report")])
@pytest.mark.parametrize("row", REFUSALS, ids=lambda row: row.name)
def test_refusals(row: Refused, source: str, path: str, what: str) -> None:
    with KodeksServer(**row.state) as server:
        outcome = ask(server, "--source", source)
    assert said(outcome) == row.line.format(url=server.url, path=path, what=what) + " | key_state=3"
    assert PASSWORD not in outcome.text


def test_without_login(kodeks: KodeksServer) -> None:
    with KodeksServer() as server:
        plain = run_check("kodeks_xml", "-H", server.host, "-p", str(server.port), env=ENV)
        server.set(faults={PAGE: Fault.FORBIDDEN})
        forbidden = ask(server)
    assert said(plain) == f"UNKNOWN - {server.url}/admin/lic asks for a login: give -l USER and --password-file | key_state=3"
    assert said(forbidden) == f"UNKNOWN - user smartlogin may not read {server.url}/admin/lic (HTTP 403): check the user's rights | key_state=3"
    assert not any(request.carries_credentials for request in server.requests[:2])


ROUNDS = [
    ("page, Basic", "page", {}, ["GET " + PAGE] * 2),
    ("report, Basic", "zip", {}, ["GET " + REPORT, "POST " + REPORT]),
    ("page, form", "page", {"basic": False, "refusal": Refusal.LOGIN_PAGE}, ["GET " + PAGE, "GET " + PAGE, "POST /users/login.asp", "GET " + PAGE]),
    ("page, form behind a 401", "page", {"basic": False}, ["GET " + PAGE, "GET " + PAGE, "POST /users/login.asp", "GET " + PAGE]),
    ("report, form", "xml", {"basic": False, "refusal": Refusal.LOGIN_ERROR}, ["GET " + REPORT, "POST " + REPORT, "POST /users/login.asp", "POST " + REPORT]),
]  # fmt: skip


@pytest.mark.parametrize(("source", "state", "requests"), [row[1:] for row in ROUNDS], ids=[row[0] for row in ROUNDS])
def test_a_run_is_one_session(source: str, state: dict[str, Any], requests: list[str]) -> None:
    with KodeksServer(**state) as server:
        outcome = ask(server, "--source", source)
    assert outcome.code == 0, outcome.text
    assert [f"{request.method} {request.target}" for request in server.requests] == requests
    assert len({request.cookies["Kodeks"] for request in server.requests[1:]}) == 1
    forms = [request.form for request in server.requests if request.path == REPORT and request.method == "POST"]
    assert forms == [{"type": source}] * requests.count("POST " + REPORT)


def test_cookies_are_kept_replaced_and_forgotten() -> None:
    received: list[bytes] = []
    again = b"HTTP/1.1 307 x\r\nLocation: /admin/lic\r\n%s\r\n\r\n"
    answers = [
        again % b"Set-Cookie: a=1; path=/\r\nSet-Cookie: b=2",
        again % b"Set-Cookie: a=3; HttpOnly\r\nSet-Cookie: evil\x01=x",
        document(GOOD.encode()),
    ]

    def serve(connection: Connection) -> None:
        received.append(connection.socket.recv(65536))
        connection.send(answers[len(received) - 1])

    port = Port(serve)
    port.become(PortState.OPEN)
    assert run_check("kodeks_xml", "-H", "127.0.0.1", "-p", str(port.number)).code == 0
    port.shut()
    assert [re.findall(rb"Cookie: (.*)\r\n", request) for request in received] == [[], [b"a=1; b=2"], [b"a=3; b=2"]]


@pytest.mark.parametrize(("source", "path"), [("page", PAGE), ("zip", REPORT)])
def test_the_login_follows_no_redirect_elsewhere(source: str, path: str) -> None:
    with KodeksServer() as stranger, KodeksServer() as server:
        for elsewhere in (stranger.url, f"http://localhost:{server.port}", server.url.replace("http:", "https:"), "http://user:pw@elsewhere.example"):
            server.set(faults={path: Fault.ELSEWHERE}, elsewhere=elsewhere + "/admin/lic")
            origin = elsewhere.replace("user:pw@", "")
            assert said(ask(server, "--source", source)) == (
                f"UNKNOWN - {server.url}{path} redirects to {origin}: not followed, the login stays here; check -H, -p and -S | key_state=3")
        assert stranger.requests == []


UNAVAILABLE = [
    ("Server: nginx/1.22", "WARNING - {url}/admin/lic fails with HTTP 503: something answers, the Kodeks server does not; " + CHECK_SERVER + " | key_state=1"),
    ("Server: WWW-Kodeks/6.4", "UNKNOWN - the server is in maintenance mode (HTTP 503 from {url}/admin/lic): "
     "end it there if nobody is updating | key_state=3"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "line"), UNAVAILABLE, ids=["a proxy", "Kodeks"])
def test_only_kodeks_is_in_maintenance(header: str, line: str) -> None:
    answer = f"HTTP/1.1 503 x\r\n{header}\r\nContent-Length: 0\r\n\r\n".encode()
    outcome, url = ask_scripted(answer, arguments=["--unreachable", "warning"])
    assert said(outcome) == line.format(url=url)


# --- Faults of the network and of HTTP --------------------------------------------------------------------------------

NO_ANSWER = "{at} accepted the connection and did not answer in time; raise -t, or look what keeps the server busy"
EARLY = ("{at} closed the connection before the end of its answer, or does not answer in HTTP; "
         "look at the server, at what stands in between, and at -p and -S")
FAULTS = {
    Fault.SILENT: NO_ANSWER,
    Fault.EMPTY: EARLY,
    Fault.RESET: EARLY,
    Fault.GARBAGE: EARLY,
    Fault.DRIP_HEADERS: "timed out after 1.5 s while waiting for {at}",
    Fault.DRIP_BODY: "timed out after 1.5 s while reading {at}",
    Fault.LENGTH_TOO_LONG: EARLY,
    Fault.CUT_CHUNK: EARLY,
    Fault.BAD_CHUNK: EARLY,
    Fault.NO_LAST_CHUNK: EARLY,
    Fault.HUGE_HEADER: EARLY,
    Fault.SERVER_ERROR: f"{{at}} fails with HTTP 500: something answers, the Kodeks server does not; {CHECK_SERVER}",
}
REFUSING_FAULTS = {  # not a matter of reachability: UNKNOWN whatever --unreachable says
    Fault.ENDLESS_307: "{url} redirects without end: more than 5 times; check -p and -S",
    Fault.UNAUTHORIZED: "login refused for user smartlogin at {at}: check the password and the user's rights",
    Fault.NOT_FOUND: "HTTP 404 from {at}: wrong page, or the user lacks the right to see it",
}
SLOW = {Fault.SILENT, Fault.DRIP_HEADERS, Fault.DRIP_BODY}


@pytest.mark.parametrize(("source", "request_line", "path"), [("page", "GET " + PAGE, PAGE), ("xml", "POST " + REPORT, REPORT)])
@pytest.mark.parametrize("fault", [*FAULTS, *REFUSING_FAULTS], ids=lambda fault: fault.value)
def test_faults(fault: Fault, source: str, request_line: str, path: str) -> None:
    with KodeksServer(faults={request_line: fault}, pace=0.1) as server:
        outcome = ask(server, "--source", source, "--unreachable", "warning", "-t", "1.5" if fault in SLOW else "10")
    sentence = {**FAULTS, **REFUSING_FAULTS}[fault].format(at=server.url + path, url=server.url)
    expected = f"WARNING - {sentence} | key_state=1" if fault in FAULTS else f"UNKNOWN - {sentence} | key_state=3"
    assert said(outcome).replace("reading the answer", f"reading {server.url}{path}") == expected
    assert fault not in SLOW or outcome.seconds < 1.5 + PUNCTUAL


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.DRIP_HEADERS])
def test_the_state_of_the_time_limit_outranks_that_of_unreachable(fault: Fault) -> None:
    with KodeksServer(faults={"*": fault}, pace=0.1) as server:
        assert ask(server, "-t", "1.5", "--unreachable", "warning").code == 1
        assert ask(server, "-t", "1.5:critical", "--unreachable", "warning").code == 2


CUT_OR_ENDLESS = [
    ("page", Fault.LENGTH_TOO_SHORT, HIDDEN.format("Привязка: Sen")),
    ("page", Fault.ENDLESS_BODY, "UNKNOWN - {url}/admin/lic sends more than 2 MB: that is no page of Kodeks | key_state=3"),
    ("xml", Fault.LENGTH_TOO_SHORT, "UNKNOWN - the report is cut off or no well-formed XML: {why}; send or store it again | key_state=3"),
    ("xml", Fault.ENDLESS_BODY, "UNKNOWN - the report is larger than 512 MB, which none is | key_state=3"),
    ("zip", Fault.ENDLESS_BODY, "UNKNOWN - {name} is a ZIP of more than 8 MB, which no sysinfo report is | key_state=3"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "fault", "line"), CUT_OR_ENDLESS)
def test_answers_that_are_too_short_or_too_long(source: str, fault: Fault, line: str) -> None:
    made = datetime(2026, 11, 23, 20, 8)
    request_line = "GET " + PAGE if source == "page" else "POST " + REPORT
    with KodeksServer(faults={request_line: fault}, made=made) as server:
        outcome = ask(server, "--source", source, "-t", "60")
    assert re.sub("XML: .*;", "XML: {why};", said(outcome)) == line.replace("{url}", server.url).replace("{name}", reports.report_name(made, "zip"))


@pytest.mark.parametrize(
    ("state", "why"), [(PortState.REFUSED, "connection refused"), (PortState.FILTERED, "no answer in time")], ids=["refused", "filtered"]
)
def test_ports(state: PortState, why: str) -> None:
    with KodeksServer(port=state) as server:
        outcome = ask(server, "--unreachable", "critical", "-t", "1.5")
    assert said(outcome) == f"CRITICAL - no connection to 127.0.0.1 port {server.port}: {why}; {CHECK_SERVER} | key_state=2"
    assert outcome.seconds < 1.5 + PUNCTUAL


def test_names_that_do_not_resolve(tmp_path: Path) -> None:
    """getaddrinfo() cannot be interrupted; where it takes a minute, the check does not wait for it."""
    missing = run_check("kodeks_xml", "-H", "kodeks.invalid", "--unreachable", "2", "-t", "5")
    assert said(missing).startswith("CRITICAL - no connection to kodeks.invalid port 80: ") and said(missing).endswith(f"; {CHECK_SERVER} | key_state=2")
    (tmp_path / "sitecustomize.py").write_text("import socket, time\nsocket.getaddrinfo = lambda *a, **k: time.sleep(60)\n")
    silent = run_check("kodeks_xml", "-H", "kodeks.example", "--unreachable", "1", "-t", "1.5", env={"PYTHONPATH": str(tmp_path)})
    assert said(silent) == (
        f"WARNING - no connection to kodeks.example port 80: the name server does not answer; {CHECK_SERVER} | key_state=1")


def test_ipv6_and_no_proxy() -> None:
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"), "http://127.0.0.1:9/")
    with KodeksServer(host="::1") as server:
        for host in ("::1", "[::1]"):
            assert said(run_check("kodeks_xml", "-H", host, "-p", str(server.port), *LOGIN, env={**ENV, **proxies})) == PAGE_WORKS
    assert {request.header("Host") for request in server.requests} == {f"[::1]:{server.port}"}


# --- TLS --------------------------------------------------------------------------------------------------------------

NOT_ACCEPTED = "CRITICAL - no TLS connection to 127.0.0.1: its certificate is not accepted ({}); --insecure would not verify it | key_state=2"
CERTIFICATES = [
    (Certificate.TRUSTED, (), PAGE_WORKS),
    (Certificate.EXPIRED, (), NOT_ACCEPTED.format("certificate has expired")),
    (Certificate.SELF_SIGNED, (), NOT_ACCEPTED.format("self-signed certificate")),
    (Certificate.WRONG_NAME, (), NOT_ACCEPTED.format("IP address mismatch, certificate is not valid for '127.0.0.1'.")),
    (Certificate.EXPIRED, ("--insecure",), PAGE_WORKS),
    (Certificate.NONE, (), "CRITICAL - no TLS connection to 127.0.0.1: WRONG_VERSION_NUMBER; check whether the port speaks HTTPS | key_state=2"),
]


@pytest.mark.parametrize(("certificate", "options", "line"), CERTIFICATES)
def test_certificates(certificate: Certificate, options: Sequence[str], line: str, tmp_path: Path) -> None:
    authority = write_authority(tmp_path / "authority.pem")
    with KodeksServer(certificate=certificate) as server:
        outcome = ask(server, "-S", "--unreachable", "critical", *options, env={**ENV, "SSL_CERT_FILE": str(authority)})
    assert said(outcome) == line
    assert outcome.code == 0 or not server.requests


def client_certificate(context: ssl.SSLContext) -> None:
    """TLS 1.2 refuses in the handshake, TLS 1.3 in place of the answer."""
    context.verify_mode = ssl.CERT_REQUIRED


def client_certificate_of_old(context: ssl.SSLContext) -> None:
    context.verify_mode, context.maximum_version = ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_2


def unknown_name(context: ssl.SSLContext) -> None:
    context.sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME


ALERTS = [
    (client_certificate, "127.0.0.1"),
    (client_certificate_of_old, "127.0.0.1"),
    (unknown_name, "localhost"),
    (b"\x15\x03\x01\x00\x02\x02\x46", "127.0.0.1"),  # protocol_version
    (b"\x15\x03\x01\x00\x02\x02\x28", "127.0.0.1"),  # handshake_failure
]


@pytest.mark.parametrize(("change", "host"), ALERTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_server_that_speaks_tls_and_refuses(change: Callable[[ssl.SSLContext], None] | bytes, host: str) -> None:
    def serve(connection: Connection) -> None:
        if isinstance(change, bytes):
            connection.socket.recv(65536)
            connection.send(change)
            return
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf(Certificate.TRUSTED).configure_cert(context)
        change(context)
        connection.secure(context)
        connection.socket.recv(65536)

    port = Port(serve)
    port.become(PortState.OPEN)
    address = ("-H", host, "-p", str(port.number))
    outcome = run_check("kodeks_xml", *address, "-S", "--insecure", "--unreachable", "critical", "-t", "5")
    port.shut()
    assert outcome.code == 2
    # TLS 1.3: where the alert comes behind our request, the kernel may drop it with the connection.
    lost = change is client_certificate and "closed the connection before the end" in outcome.line
    remedy = "): look there whether it wants a client certificate, another name (-H) or another version of TLS | key_state=2"
    assert lost or ("the server speaks TLS and refuses (" in outcome.line and outcome.line.endswith(remedy)), outcome.line


# --- Stored reports ---------------------------------------------------------------------------------------------------


def small(*bindings: str, schema: str = "text", **options: Any) -> bytes:
    """A small report with these bindings."""
    return b"".join(reports.report(schema, size=30_000, bindings=bindings, **options))


def packed(*members: tuple[str, bytes], **options: Any) -> bytes:
    """A ZIP with these members."""
    return reports.zip_members([(name, [data]) for name, data in members], **options)


GOOD_REPORT = small(reports.WORKS)
SIZE = len(GOOD_REPORT)
REPORT_WORKS = f"OK - {WORKS} (record /sysinfo/protection/binding) | age=0 time=T size={SIZE}B working=1 key_state=0"
UNPACKED = "report_000000_20261123_2008.xml"
SQLITE = "the report is there, in a form that this check does not read (SQLite): ask for --source xml, or read the page"


NO_REPORT = "UNKNOWN - {name} is no sysinfo report: neither XML nor ZIP, or a web page | key_state=3"
BROKEN = "UNKNOWN - the report is cut off or no well-formed XML: {why}; send or store it again | key_state=3"
TOO_LARGE = "UNKNOWN - the report is too deep, or its elements or names too large: look at it | key_state=3"
BAD_ZIP = "UNKNOWN - {name} is no whole ZIP with one XML document: {why}; send it again | key_state=3"


class Stored(NamedTuple):
    """The bytes of a file, and the line; {name} is the file's name."""

    name: str
    data: bytes
    line: str


FILES = [
    Stored("XML", GOOD_REPORT, REPORT_WORKS),
    Stored("ZIP", packed(("sysinfo.xml", GOOD_REPORT)), REPORT_WORKS),
    Stored("ZIP, sizes behind the data", packed(("a/b/SYSINFO.XML", GOOD_REPORT), streamed=True), REPORT_WORKS),
    Stored("ZIP, not compressed", packed(("sysinfo.xml", GOOD_REPORT), compression=zipfile.ZIP_STORED), REPORT_WORKS),
    Stored("ZIP with one member of another name", packed(("sysinfo", GOOD_REPORT)), REPORT_WORKS),
    Stored("ZIP with more than XML", packed(("a.db", b"SQLite format 3\0" + bytes(90_000)), ("sysinfo.xml", GOOD_REPORT)), REPORT_WORKS),
    Stored("UTF-16", small(reports.WORKS, encoding="utf-16"), REPORT_WORKS),
    Stored("key lost", small(reports.NOT_FOUND), f"CRITICAL - {NOT_FOUND} (record /sysinfo/protection/binding) | age=0 time=T size={SIZE}B working=0 key_state=2"),
    Stored("no record", small(), f"CRITICAL - {NO_MENTION} | age=0 time=T size={SIZE}B working=0 key_state=2"),
    Stored("SQLite", b"SQLite format 3\0" + bytes(5000), f"UNKNOWN - {{name}}: {SQLITE} | key_state=3"),
    Stored("SQLite in a ZIP", reports.zip_of_sqlite(), f"UNKNOWN - report_000000_20261123_2008.db ({{name}}): {SQLITE} | key_state=3"),
    Stored("SQLite in a ZIP beside a note", packed(("a.txt", b"x"), ("b.db", b"SQLite format 3\0" + bytes(90))), f"UNKNOWN - b.db ({{name}}): {SQLITE} | key_state=3"),
    Stored("empty", b"", NO_REPORT),
    Stored("text", b"SenseLock works", NO_REPORT),
    Stored("HTML", b"\r\n<!DOCTYPE HTML><HTML>", NO_REPORT),
    Stored("XHTML", b"<?xml version='1.0'?>\n<html xmlns='x'/>", NO_REPORT),
    Stored("an unknown encoding", GOOD_REPORT.replace(b"utf-8", b"utf-9", 1), BROKEN.replace("{why}", "unknown encoding: utf-9")),
    Stored("cut XML", GOOD_REPORT[:-20], BROKEN.replace("{why}", f"no element found: line {len(GOOD_REPORT[:-20].splitlines()) + 1}, column 0")),
    Stored("more behind the end", GOOD_REPORT + b"<x/>",
           BROKEN.replace("{why}", f"junk after document element: line {len(GOOD_REPORT.splitlines()) + 1}, column 0")),
    Stored("entity", reports.entity_record(), "UNKNOWN - the report declares or misses entities, which no sysinfo report does: not read | key_state=3"),
    Stored("deep", b"".join(reports.deep(200_000)), TOO_LARGE),
    Stored("huge attribute", b"".join(reports.huge_attribute(3 << 20)),
           TOO_LARGE),
    Stored("many names", b"<r>" + b"".join(b"<n%d/>" % number for number in range(200_000)) + b"</r>",
           TOO_LARGE),
    Stored("ZIP bomb", reports.zip_bomb(600 << 20), "UNKNOWN - the report is larger than 512 MB, which none is | key_state=3"),
    Stored("wrong checksum", reports.zip_wrong_crc(reports.zip_report([GOOD_REPORT])),
           BAD_ZIP.replace("{why}", f"Bad CRC-32 for file '{UNPACKED}'")),
    Stored("cut ZIP", reports.zip_report([GOOD_REPORT])[:-30],
           BAD_ZIP.replace("{why}", "File is not a zip file")),
    Stored("ZIP in a ZIP", reports.zip_of_zip(reports.zip_report([GOOD_REPORT])),
           NO_REPORT.replace("{name}", "report_000000_20261123_2008.zip ({name})")),
    Stored("two XML documents", packed(("b.xml", GOOD_REPORT), ("a|\x1b.xml", b"<a/>")), BAD_ZIP.replace("{why}", "it has 2 of them")),
    Stored("empty ZIP", packed(), BAD_ZIP.replace("{why}", "it has 0 of them")),
]  # fmt: skip


@pytest.mark.parametrize("row", FILES, ids=lambda row: row.name)
def test_stored_reports(row: Stored, tmp_path: Path) -> None:
    (tmp_path / "stored.bin").write_bytes(row.data)
    outcome = run_check("kodeks_xml", "--file", str(tmp_path / "stored.bin"), "-t", "60")
    assert said(outcome) == row.line.format(name="stored.bin")


def test_paths_that_are_no_reports(tmp_path: Path) -> None:
    (tmp_path / "folder.xml").mkdir()
    os.mkfifo(tmp_path / "fifo.xml")
    cannot = "cannot be read: No such file or directory; check the path and its rights"
    for path, sentence in ((tmp_path / "no.xml", cannot), (tmp_path / "a|b\n.xml", cannot), (tmp_path / "folder.xml", "cannot be read: Is a directory; check the path and its rights"),
                           (tmp_path / "fifo.xml", "is not a regular file"), (Path("/dev/zero"), "is not a regular file"),
                           (Path("/proc/self/mem"), "cannot be read: Input/output error; check the path and its rights")):  # fmt: skip
        shown = " ".join(str(path).replace("|", "/").split())
        assert said(run_check("kodeks_xml", "--file", str(path), "-t", "3")) == f"UNKNOWN - {shown} {sentence} | key_state=3"


# --- The record without a pin -----------------------------------------------------------------------------------------

MENTIONS = "UNKNOWN - the report mentions the key, but not in the server's own sentence alone: pin what holds its state ({}); -vv lists {}"


class Record(NamedTuple):
    """A whole report, how it is read, and the line without its numbers."""

    name: str
    xml: str
    arguments: list[str]
    line: str


def works_at(path: str) -> str:
    return f"OK - {WORKS} (record {path})"


RECORDS = [
    Record("the one sentence, a text", "<r><b>SenseLock ключ -  [работает]</b></r>", [], works_at("/r/b")),
    Record("the one sentence, an attribute", "<r><b x='Привязка: SenseLock ключ - [работает]'/></r>", [], works_at("/r/b/@x")),
    Record("the other spelling", "<r><b>SensLock ключ -  [работает]</b></r>", [], works_at("/r/b")),
    Record("in CDATA and references", "<r><b><![CDATA[Sense]]>Lock &#1082;люч - <![CDATA[[работает]]]></b></r>", [], works_at("/r/b")),
    Record("a failure", "<r><b>SenseLock ключ - [Device &quot;SenseLock&quot; not found]</b></r>", [], f"CRITICAL - {NOT_FOUND} (record /r/b)"),
    Record("a failure among other mentions", "<r><k n='SenseLock'/><b>локальная - [Невозможно получить привязку]</b></r>", [],
           "CRITICAL - server reports: Невозможно получить привязку: the server cannot read its binding; check that the key or the domain it is bound "
           "to is reachable (record /r/b)"),
    Record("two sentences", "<r><b>SenseLock ключ - [работает]</b><b>SenseLock ключ - [работает]</b></r>", [],
           MENTIONS.format("--record /r/b, now 'SenseLock ключ - [работает]'", 2)),
    Record("a sentence that is not alone", "<r><b day='вчера'>SenseLock ключ - [работает]</b></r>", [],
           MENTIONS.format("--record /r/b, now 'SenseLock ключ - [работает]'", 2)),
    Record("a sentence that goes on", "<r><b>SenseLock ключ - [<i>не</i>работает]</b></r>", [],
           MENTIONS.format("see --outline", 0)),
    Record("a sentence behind much", f"<r><b>{'x ' * 50_000}SenseLock ключ - [работает]</b></r>", [],
           MENTIONS.format("--record /r/b, now '" + "x " * 38 + "x...'", 1)),
    Record("a sentence before much", f"<r><b>SenseLock ключ - [работает]{' ' * 150_000}нет</b></r>", [],
           MENTIONS.format("--record /r/b, now 'SenseLock ключ - [работает] ... SenseLock нет'", 1)),
    Record("an attribute that names it", "<incident><item name='SenseLock' state='работает'/></incident>", [],
           MENTIONS.format("--record /incident/item[@name='SenseLock']/@state, now 'работает'", 2)),
    Record("the same in the other spelling", "<incident><item name='SensLock' state='работает'/></incident>", [],
           MENTIONS.format("--record /incident/item[@name='SensLock']/@state, now 'работает'", 2)),
    Record("an element that names it", "<r><x/><SenseLock><subject>SenseLock ключ</subject><state>работает</state></SenseLock></r>", [],
           MENTIONS.format("--record /r/SenseLock/state, now 'работает'", 2)),
    Record("a pair", "<r><i><n>a</n></i><i><n>SenseLock</n><v>1</v></i></r>", [], MENTIONS.format("--record /r/i[2]/v, now '1'", 2)),
    Record("an error of the key alone", "<r><SenseLock error='4111'/></r>", [], MENTIONS.format("--record /r/SenseLock/@error, now '4111'", 1)),
    Record("local, no mention", "<r><b>локальная - [работает]</b></r>", [], f"CRITICAL - {NO_MENTION}"),
    Record("a side module", "<r><m>Ошибка защиты 4103 (Не найден продукт)</m></r>", [], f"CRITICAL - {NO_MENTION}"),
    # Pinned
    Record("pinned by number", "<r><p value='1'/><p value='2'/></r>", ["--record", "/r/p[2]/@value", "--working", "2"], works_at("/r/p[2]/@value")),
    Record("pinned by name", "<r><p name='a' value='0'/><p name='SenseLock' value='работает'/></r>", ["--record", "/r/p[@name='SenseLock']/@value"],
           works_at("/r/p[@name='SenseLock']/@value")),
    Record("pinned as a shell passes it", "<r><p name='SenseLock ключ' value='работает'/></r>", ["--record", "/r/p[@name=SenseLock ключ]/@value"],
           works_at("/r/p[@name=SenseLock ключ]/@value")),
    Record("pinned, a sentence", "<r><b>Привязка: SenseLock ключ - [работает]</b><b/></r>", ["--record", "/r/b"], works_at("/r/b")),
    Record("pinned, another value", "<r><b>неисправен</b></r>", ["--record", "/r/b"],
           "CRITICAL - server reports: неисправен: an error that is not documented; look at the license page of the server (record /r/b)"),
    Record("pinned, a code", "<r><b c='4116'/></r>", ["--record", "/r/b/@c"],
           "CRITICAL - server reports: 4116: the broadcast search on UDP 5555 found no license manager; write its host and port into linkml.ini (record /r/b/@c)"),
    Record("pinned, empty", "<r><b/></r>", ["--record", "/r/b"], "CRITICAL - server reports: nothing: an error that is not documented; look at the license page of the server (record /r/b)"),
    Record("pinned, a value before much", f"<r><b>работает{' ' * 150_000}нет</b></r>", ["--record", "/r/b"],
           "CRITICAL - server reports: работает ... нет: an error that is not documented; look at the license page of the server (record /r/b)"),
    Record("pinned, holds elements", "<r><b>работает<i/></b></r>", ["--record", "/r/b"],
           "CRITICAL - server reports: работает <i>: an error that is not documented; look at the license page of the server (record /r/b)"),
    Record("pinned, several that disagree", "<r><p name='K' v='1'/><p name='K' v='0'/></r>", ["--record", "/r/p[@name='K']/@v", "--working", "1"],
           "CRITICAL - server reports: 0: an error that is not documented; look at the license page of the server (record /r/p[@name='K']/@v)"),
    Record("pinned, missing", "<r><p name='a' v='1'/></r>", ["--record", "/r/p[@name='K']/@v"],
           f"CRITICAL - the report has no record /r/p[@name='K']/@v: {NO_RECORD}"),
    Record("pinned, its attribute missing", "<r><p name='K'/></r>", ["--record", "/r/p[@name='K']/@v"],
           f"CRITICAL - the report has no record /r/p[@name='K']/@v: {NO_RECORD}"),
    Record("pinned, its parent missing", "<r><q/></r>", ["--record", "/r/s/p/@v"],
           "UNKNOWN - the report has no record /r/s/p/@v and nothing that could hold it: its form has changed; see --outline, then pin it anew"),
    Record("pinned, another root", "<q v='работает'/>", ["--record", "/r/@v"],
           "UNKNOWN - the report has no record /r/@v and nothing that could hold it: its form has changed; see --outline, then pin it anew"),
]  # fmt: skip


@pytest.mark.parametrize("row", RECORDS, ids=lambda row: row.name)
def test_records(row: Record, tmp_path: Path) -> None:
    outcome = read(row.xml, tmp_path, *row.arguments)
    state = {"OK": 0, "CRITICAL": 2, "UNKNOWN": 3}[row.line.split()[0]]
    working = {0: " working=1", 2: " working=0", 3: ""}[state]
    assert said(outcome) == f"{row.line} | age=0 time=T size={len(row.xml.encode())}B{working} key_state={state}"


SURROUNDINGS = [f"{stem}{number}" for stem in ("узел", "snapshot", "incident", "n", "предыдущий", "эталон", "node", "т") for number in range(10)]


@pytest.mark.parametrize("form", ["<{0}><item name='SenseLock' state='работает'/></{0}>", "<{0} name='SenseLock'><state>работает</state></{0}>",
                                  "<item {0}='SenseLock' state='работает'/>", "<i><n>SenseLock</n><{0}>работает</{0}></i>"])  # fmt: skip
def test_no_surroundings_make_a_record_good(form: str) -> None:
    """Names that no table knows, around a record that says 'works': only a pin makes it good, and the pin that is offered does."""
    from kodeks_monitoring.kodeks import record, report

    for name in SURROUNDINGS:
        xml = f"<r><x/>{form.format(name)}</r>".encode()
        mentions = record.Mentions()
        report.read(iter([xml]), "x.xml", mentions)
        finding = mentions.finding()
        assert finding.state == 3 and "now 'работает'" in finding.sentence, finding
        pin = record.parse_pin(re.findall(r"\(--record (.*), now", finding.sentence)[0])
        pinned = record.PinnedRecord(pin)
        report.read(iter([xml]), "x.xml", pinned)
        assert pinned.finding().state == 0, pin.path


def test_candidates_and_outline(tmp_path: Path) -> None:
    xml = "<r><m n='1'><SenseLock_state>1</SenseLock_state></m><m><t>SenseLock EliteIV</t><b>локальная - [работает]</b></m></r>"
    assert read(xml, tmp_path, "-vv").text.splitlines()[1:] == [
        f"report: x.xml, {len(xml.encode())} bytes", "--record /r/m[2]/b, now 'локальная - [работает]'", "--record /r/m/SenseLock_state, now '1'",
        "--record /r/m/@n, now '1'", "--record /r/m[2]/t, now 'SenseLock EliteIV'"]  # fmt: skip
    outline = read(xml, tmp_path, "--outline")
    assert said(outline) == f"UNKNOWN - outline: 5 kinds of elements, no values | age=0 time=T size={len(xml.encode())}B key_state=3"
    assert outline.text.splitlines()[2:] == ["/r", "/r/m @n", "/r/m/SenseLock_state", "/r/m/t", "/r/m/b"]
    large = "<r>" + "".join(f"<element_{number} attribute='secret'/>" for number in range(2000)) + "</r>"
    outcome = read(large, tmp_path, "--outline")
    assert len(outcome.stdout) <= 4000 and b"secret" not in outcome.stdout and outcome.text.endswith(" @attribute\n")


def test_every_schema_is_read(tmp_path: Path) -> None:
    """The same facts in ten shapes that nobody has agreed on: never OK without the one sentence, never OK for a failure."""
    codes = {schema: read(small(reports.WORKS, schema=schema), tmp_path).code for schema in reports.SCHEMAS}
    assert {schema for schema, code in codes.items() if code == 0} == {"text", "attribute", "pairs", "split", "spelled", "rows", "russian"}
    assert {code for code in codes.values() if code} == {3}
    for schema in reports.SCHEMAS:
        assert read(small(reports.NOT_FOUND, schema=schema, decoys=True), tmp_path).code in (2, 3)


# --- The age, and the report of a live server -------------------------------------------------------------------------

OLD = "the report is {} hours old: check that its upload or export still runs"


class Aged(NamedTuple):
    """A file's name ({} is the date), hours ago by its name and by its time, options, the line up to the time."""

    name: str
    file: str
    by_name: float
    by_time: float
    arguments: list[str]
    line: str


RANGES = ["-w", ":26", "-c", ":50"]
AGES = [
    Aged("fresh", "report_1_{}.xml", 1, 0, RANGES, f"{works_at('/sysinfo/protection/binding')} | age=1;26;50 key_state=0 age_state=0"),
    Aged("old", "report_1_{}.xml", 30, 0, RANGES, f"WARNING - {OLD.format('30.0X')} | age=30;26;50 key_state=0 age_state=1"),
    Aged("too old", "REPORT_1_{}59.XML", 60, 0, RANGES, f"CRITICAL - {OLD.format('60.0X')} | age=60;26;50 key_state=0 age_state=2"),
    Aged("old, not judged", "report_1_{}.xml", 60, 0, [], f"{works_at('/sysinfo/protection/binding')} | age=60 key_state=0"),
    Aged("just too old", "report_1_{}.xml", 26.02, 0, ["-w", ":26"], f"WARNING - {OLD.format('26.0X')} | age=26;26 key_state=0 age_state=1"),
    Aged("inside a range", "report_1_{}.xml", 3, 0, ["-c", "@0:5"], f"CRITICAL - {OLD.format('3.0X')} | age=3;;@5 key_state=0 age_state=2"),
    Aged("from tomorrow", "report_1_{}.xml", -24, 0, ["-w", ":26"],
         "UNKNOWN - the age of the report is not known (dated 24.0X hours in the future): check its name, and the clocks | age=-24;26 key_state=0 age_state=3"),
    Aged("a minute ahead", "report_1_{}.xml", -0.05, 0, ["-w", ":26"], f"{works_at('/sysinfo/protection/binding')} | age=0;26 key_state=0 age_state=0"),
    Aged("by the file's time", "other.xml", 0, 40, ["-w", ":26"], f"WARNING - {OLD.format('40.0X')} | age=40;26 key_state=0 age_state=1"),
    Aged("the name outranks the time", "report_1_{}.xml", 2, 40, ["-w", ":26"], f"{works_at('/sysinfo/protection/binding')} | age=2;26 key_state=0 age_state=0"),
    Aged("a number like a date", "report_00_20201231_{}.xml", 1, 0, ["-c", ":50"], f"{works_at('/sysinfo/protection/binding')} | age=1;;50 key_state=0 age_state=0"),
    Aged("a day that no calendar has", "report_00_000000_20260230_1200.xml", 0, 0, RANGES,
         "UNKNOWN - the age of the report is not known (no date in its name): check its name, and the clocks "
         "| key_state=0 age_state=3"),
]  # fmt: skip


@pytest.mark.parametrize("row", AGES, ids=lambda row: row.name)
def test_ages(row: Aged, tmp_path: Path) -> None:
    path = tmp_path / row.file.format(f"{datetime.now() - timedelta(hours=row.by_name):%Y%m%d_%H%M}")
    path.write_bytes(GOOD_REPORT)
    os.utime(path, (time.time() - row.by_time * 3600,) * 2)
    line = re.sub(r" time=.* key_state", " key_state", said(run_check("kodeks_xml", "--file", str(path), *row.arguments)))
    line = re.sub(r"([0-9]\.0)[0-9]* hours", r"\1X hours", re.sub(r"23\.9[89]", "24.0", line))  # the name tells minutes
    assert re.sub(r"age=(-?[0-9.]+)", lambda age: f"age={round(float(age[1]))}", line) == row.line


def test_of_two_names_the_older_one_counts_and_a_lost_key_comes_first(tmp_path: Path) -> None:
    old, new = (f"report_1_{datetime.now() - timedelta(hours=hours):%Y%m%d_%H%M}" for hours in (60, 1))
    for outer, inner in ((old, new), (new, old)):
        outcome = read(packed((f"{inner}.xml", small(reports.NOT_FOUND))), tmp_path, "-w", ":26", name=f"{outer}.zip")
        line = re.sub(r"([0-9]\.0)[0-9]* hours", r"\1X hours", said(outcome))
        assert line.startswith(f"CRITICAL - {NOT_FOUND} (record /sysinfo/protection/binding); {OLD.format('60.0X')} | age=60")


LIVE = [
    ("now", 0, works_at("/sysinfo/protection/binding"), " working=1 key_state=0"),
    ("another time zone", 25, works_at("/sysinfo/protection/binding"), " working=1 key_state=0"),
    ("an old one", 171, "UNKNOWN - the server sent a report of 171.0 hours ago instead of a new one: check its clock, and what answers at -p", " key_state=3"),
    ("from the future", -915, "UNKNOWN - the server sent a report of -915.0 hours ago instead of a new one: check its clock, and what answers at -p", " key_state=3"),
]


@pytest.mark.parametrize(("hours", "line", "states"), [row[1:] for row in LIVE], ids=[row[0] for row in LIVE])
def test_the_report_of_a_live_server(hours: float, line: str, states: str) -> None:
    with KodeksServer(made=datetime.now() - timedelta(hours=hours)) as server:
        outcome = ask(server, "--source", "zip")
    assert re.sub(r" age=[-0-9.]+", " age=A", said(outcome)) == f"{line} | age=A time=T size=200000B{states}"


def test_a_live_report_of_real_size() -> None:
    with KodeksServer(report_size=20_000_000, report_place="end") as server:
        outcome = ask(server, "-v", "--source", "xml", "--record", "/sysinfo/protection/binding")
    assert said(outcome) == f"{works_at('/sysinfo/protection/binding')} | age=0 time=T size=20000000B working=1 key_state=0"
    assert outcome.text.splitlines()[1:] == ["report: the answer, 20000000 bytes"]


NO_REPORTS = [
    ("a text", "Ошибка создания отчета".encode(), NO_REPORT.replace("{name}", "the answer")),
    ("small XML", "<message>Отчёт формируется</message>".encode(),
     "UNKNOWN - the server sent 52 bytes of XML, no sysinfo report: look at the server | key_state=3"),
    ("nothing", b"", NO_REPORT.replace("{name}", "the answer")),
]  # fmt: skip


@pytest.mark.parametrize(("body", "line"), [row[1:] for row in NO_REPORTS], ids=[row[0] for row in NO_REPORTS])
def test_answers_that_are_no_report(body: bytes, line: str) -> None:
    assert said(ask_scripted(document(body, "text/xml"), arguments=["--source", "xml"])[0]) == line


# --- Options, secrets, output -----------------------------------------------------------------------------------------

USAGE = [
    ([], "give either -H HOST or --file PATH"),
    (["-H", "a", "--file", "b"], "give either -H HOST or --file PATH"),
    (["--file", ""], "argument --file: it is empty"),
    (["--file", "x", "--source", "zip"], "-p, -S, -l, --password-file and --source are for a server, not for --file"),
    (["-H", "a", "--insecure"], "--insecure without -S"),
    (["-H", "a", "--password-file", "/dev/null"], "a password without -l USER"),
    (["-H", "a", "-w", "5"], "-w, -c, --record and --outline are for a report: add --source zip, or give --file"),
    (["-H", "a", "--source", "page", "--record", "/a"], "-w, -c, --record and --outline are for a report: add --source zip, or give --file"),
    (["--file", "x", "--working", "1"], "--working is for --record"),
    (["--file", "x", "--record", "/a", "--working", " "], "argument --working: it is empty"),
    (["-H", "a", "-l", "u", "--password-file", ""], "argument --password-file: it is empty"),
    (["-H", "a", "-l", "x:geheim99"], "-l is a login without a colon; the password goes to --password-file"),
    (["-H", "a", "--unreachable", "ok"], "argument --unreachable: invalid choice: 'ok' (choose from "),  # Python's words
    (["--file", "x", "--record", "a/b"], "argument --record: 'a/b' is no path; write it as -vv prints it, /a/b[2]/@x or /a/b[@name='x']/@x"),
]


@pytest.mark.parametrize(("arguments", "sentence"), USAGE, ids=[" ".join(row[0])[:40] or "nothing" for row in USAGE])
def test_usage_errors(arguments: list[str], sentence: str) -> None:
    line = said(run_check("kodeks_xml", *arguments))
    ending = "; check_kodeks_xml --help lists the options"
    whole = line == f"UNKNOWN - {sentence}{ending}"
    assert whole or (sentence.endswith("(choose from ") and line.startswith(f"UNKNOWN - {sentence}") and line.endswith(ending)), line


def test_a_login_without_a_password() -> None:
    outcome = run_check("kodeks_xml", "-H", "kodeks.example", "-l", "x", env={"KODEKS_PASSWORD": ""})
    assert said(outcome) == "UNKNOWN - -l without a password in UTF-8: use --password-file (first line), a key password in the ini section, or KODEKS_PASSWORD"


def password_file(folder: Path, mode: int) -> list[str]:
    (folder / "password").write_bytes(b"\xef\xbb\xbf" + PASSWORD.encode() + b"\r\nsecond line\n")
    (folder / "password").chmod(mode)
    return ["--password-file", str(folder / "password")]


def ini_section(folder: Path, mode: int) -> list[str]:
    (folder / "kodeks.ini").write_text(f"[server]\nlogname = {USER}\npassword = {PASSWORD}\n")
    (folder / "kodeks.ini").chmod(mode)
    return [f"--extra-opts=server@{folder}/kodeks.ini"]


@pytest.mark.parametrize("write", [password_file, ini_section])
def test_where_a_password_may_stand(write: Callable[[Path, int], list[str]], tmp_path: Path, kodeks: KodeksServer) -> None:
    kodeks.set(page=None, binding=reports.WORKS)
    none = {"KODEKS_PASSWORD": "wrong"}
    assert ask(kodeks, *write(tmp_path, 0o640), env=none).code == 0
    refused = ask(kodeks, *write(tmp_path, 0o644), env=none)
    assert refused.code == 3 and "holds a password and is open to all users; run chmod o-rwx on it" in refused.line
    assert PASSWORD not in refused.text


def test_a_server_that_repeats_the_password_does_not_make_us_print_it() -> None:
    code = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    with KodeksServer(binding=f"SenseLock ключ - [no {PASSWORD} {code}]") as server:
        outcome = ask(server, "-vvv")
        server.set(binding="SenseLock ключ - [no 00000002]")
        second = ask(server, "-vvv")
        assert server.requests[-1].cookies["Kodeks"] == "00000002"
    assert said(outcome).startswith("CRITICAL - server reports: no *** ***==: an error that is not documented")
    assert PASSWORD not in outcome.text and code not in outcome.text and "00000002" not in second.text


def test_no_password_in_the_process_list_or_in_files(tmp_path: Path) -> None:
    with KodeksServer(faults={"*": Fault.SILENT}) as server:
        arguments = ["-H", server.host, "-p", str(server.port), "-l", USER, *password_file(tmp_path, 0o600), "-t", "1"]
        child = subprocess.Popen(command("kodeks_xml", *arguments), stdout=subprocess.PIPE, cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)})
        time.sleep(0.4)
        seen = Path(f"/proc/{child.pid}/cmdline").read_bytes()
        child.communicate(timeout=10)
    assert PASSWORD.encode() not in seen and b"check_kodeks_xml" in seen
    assert sorted(path.name for path in tmp_path.iterdir()) == ["password"]


@pytest.mark.parametrize("locale", ["ru_RU.CP1251", "ru_RU.KOI8-R", "C"])
def test_engines_get_utf8_in_every_locale(locale: str, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text("<r><b>SenseLock ключ - [не работает]</b></r>")
    path, locales = tmp_path / "x.xml", {"LANG": locale, "LC_ALL": locale, "PYTHONIOENCODING": "cp1251", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    outcome = run_check("kodeks_xml", "--file", str(path), env=locales)
    assert outcome.stdout.startswith(f"KODEKS_XML CRITICAL - server reports: не работает: the protection does not work; {CHECK_KEY} (record /r/b)".encode())


# --- Memory -----------------------------------------------------------------------------------------------------------


def peak_of(chunks: Iterator[bytes], folder: Path, *arguments: str) -> tuple[Outcome, int]:
    """A run on a stored report, and the most memory that it held, in KB."""
    (folder / "sitecustomize.py").write_text(
        "import os, re\nusual = os._exit\n"
        "def peak(code):\n"
        f"    status = open('/proc/self/status').read()\n    open({str(folder / 'peak')!r}, 'w').write(re.search(r'VmHWM:\\s+(\\d+)', status)[1])\n"
        "    usual(code)\nos._exit = peak\n"
    )
    with open(folder / "x.xml", "wb") as file:
        file.writelines(chunks)
    outcome = run_check("kodeks_xml", "--file", str(folder / "x.xml"), "-t", "60", *arguments, env={"PYTHONPATH": str(folder)})
    return outcome, int((folder / "peak").read_text())


@pytest.mark.parametrize("arguments", [[], ["--record", "/sysinfo/protection/binding"], ["--outline"]], ids=["mentions", "pinned", "outline"])
def test_memory_does_not_grow_with_the_report(arguments: list[str], tmp_path: Path) -> None:
    runs = [peak_of(reports.report(size=size), tmp_path, *arguments) for size in (100_000, 40_000_000)]
    assert runs[1][1] - runs[0][1] < 2000, f"{runs} KB"


RECORD = "<r><SenseLock>SenseLock ключ - [работает]</SenseLock>".encode()
HOSTILE = [
    ("attributes of open elements", b'<a b="' + b"y" * 700_000 + b'">', 60, b"</a>"),
    ("many open elements", b'<a b="' + b"y" * 20_000 + b'">', 2000, b"</a>"),
    ("long different names", b"<n%d" + b"x" * 100_000 + b"/>", 400, b""),
    ("different names of attributes", b"<n n%d" + b"x" * 4000 + b'="1"/>', 10_000, b""),
    ("texts without end", b"y" * 100_000, 600, b""),
]


@pytest.mark.parametrize("arguments", [[], ["--record", "/r/SenseLock"]], ids=["mentions", "pinned"])
@pytest.mark.parametrize(("pattern", "count", "end"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_memory_is_bounded_by_bytes(pattern: bytes, count: int, end: bytes, arguments: list[str], tmp_path: Path) -> None:
    """What a report makes expat and us keep is bounded, however few elements it has; what is too large is UNKNOWN."""
    chunks = iter([RECORD, *(pattern.replace(b"%d", b"%d" % number) for number in range(count)), end * count, b"</r>"])
    outcome, peak = peak_of(chunks, tmp_path, *arguments)
    assert peak < 45_000, f"{peak} KB"
    assert outcome.code == (0 if pattern.startswith(b"y") or (arguments and b"y" * 99 in pattern and outcome.code == 0) else 3), outcome.text


def test_the_lab_has_no_fault_that_is_not_tried() -> None:
    tried = {*FAULTS, *REFUSING_FAULTS, *(fault for _, fault, _ in CUT_OR_ENDLESS), Fault.ELSEWHERE, Fault.FORBIDDEN}
    assert set(Fault) - tried == {Fault.ENDLESS_REDIRECT, Fault.GZIP, Fault.UNAVAILABLE}
    for fault in set(Fault) - tried:
        with KodeksServer(faults={PAGE: fault}) as server:
            assert ask(server).code == 3


def test_help_and_version() -> None:
    asked = run_process(command("kodeks_xml", "--no-such-option", "--help"))
    assert asked.code == 3 and b"--record PATH" in asked.stdout
