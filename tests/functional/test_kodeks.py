"""check_kodeks_xml as a process, against a Kodeks server and stored reports; every first line byte for byte.

Only the time that a run took is not compared: `time=` and its number read `time=T` here.
"""

from __future__ import annotations

import base64
import dataclasses
import itertools
import os
import re
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lab import reports
from lab.certificates import write_authority
from lab.faults import Certificate, Fault, Port, PortState
from lab.kodeks_server import PASSWORD, USER, KodeksServer, Kodweb, LicenseManager, Licenses, Refusal
from lab.run_check import PUNCTUAL, Outcome, command, run_check, run_process

CHECK_KEY = "check where the key is plugged in and its forwarder first"
NOT_FOUND = f'server reports: Device "SenseLock" not found: the server does not see its key; {CHECK_KEY}'
NO_RECORD = f"the report has no record of a SenseLock key: the server did not detect it when the report was made; {CHECK_KEY}"
LOGIN = ("-l", USER)
ENV = {"KODEKS_PASSWORD": PASSWORD}
PAGE = "/admin/lic"
REPORT = "/sysinfo/si_save_request"
SOURCES = {"page": PAGE, "zip": REPORT, "xml": REPORT}


def line_of(outcome: Outcome) -> str:
    """The first line without the service word, and with the time taken out."""
    line = re.sub(r"\btime=[0-9.]+s", "time=T", outcome.line)
    assert line.startswith("KODEKS_XML ")
    return line[len("KODEKS_XML ") :]


def ask(server: KodeksServer, *arguments: str, env: dict[str, str] | None = None) -> Outcome:
    """Run the check against a server, logged in as its one user; the limit is short, the machine may be slow."""
    return run_check("kodeks_xml", "-H", server.host, "-p", str(server.port), *LOGIN, *arguments, env=ENV if env is None else env)


# --- The licence page -------------------------------------------------------------------------------------------------

def small(*bindings: str, schema: str = "text", **options: Any) -> bytes:
    """A small report with these bindings."""
    return b"".join(reports.report(schema, size=30_000, bindings=bindings, **options))


BINDINGS = [
    ("works", reports.WORKS, 0, "OK - SenseLock key works (binding of /admin/lic) | time=T working=1"),
    ("local", reports.WORKS_LOCAL, 0, "OK - binding to the machine works, no key is used (binding of /admin/lic) | time=T working=1"),
    ("domain", "домен к KODEKS - [работает]", 0,
     "OK - binding to the domain KODEKS works, no key is used (binding of /admin/lic) | time=T working=1"),
    ("not found", reports.NOT_FOUND, 2, f"CRITICAL - {NOT_FOUND} | time=T working=0"),
    ("user limit", reports.USER_LIMIT, 2,
     "CRITICAL - server reports: User limit exceeded (1) (license manager configured at 10.0.0.8:8888): the license manager has no free user "
     "license; check at the license manager who uses the key | time=T working=0"),
    ("key limit", reports.KEY_LIMIT, 2,
     "CRITICAL - server reports: Менеджер лицензий не авторизовал ключ, key limit exceeded (менеджер лицензий настроен на 10.0.0.8:8888): "
     "the license manager refuses the key, its limit is exceeded; check there which servers use the key | time=T working=0"),
    ("not available", reports.NOT_AVAILABLE, 2,
     "CRITICAL - server reports: Key is not available (license manager configured at 10.0.0.8:8888): the license manager does not offer the "
     "key; check that the key is plugged in there | time=T working=0"),
    ("unreadable", reports.NO_BINDING, 2,
     "CRITICAL - server reports: Невозможно получить привязку: the server cannot read its binding; check that the key or the domain it is "
     "bound to is reachable | time=T working=0"),
    ("older form", reports.NOT_CONNECTED, 2,
     "CRITICAL - server reports: Ошибка защиты 4111 Not connected: no key for this registration file (not plugged in, a wrong key, or no "
     f"license manager found); {CHECK_KEY} | time=T working=0"),
    ("does not work", "SenseLock ключ - [не работает]", 2,
     f"CRITICAL - server reports: не работает: the protection does not work; {CHECK_KEY} | time=T working=0"),
    ("new error", "SenseLock ключ - [Quota]", 2,
     "CRITICAL - server reports: Quota: an error that is not documented; look at the license page of the server | time=T working=0"),
    ("unknown kind", "Guardant ключ - [работает]", 3, "UNKNOWN - a binding of an unknown kind works: 'Guardant ключ - [работает]'; look at the page in a browser | time=T"),
    ("empty", "", 3, "UNKNOWN - the binding is empty: ''; look at the page in a browser | time=T"),
    ("hostile", "SenseLock ключ - [x | working=1\x1b[31m\u202eработает\r\nOK - fine]", 2,
     "CRITICAL - server reports: [x / working=1 [31m работает OK - fine]: an error that is not documented; look at the license page of the "
     "server | time=T working=0"),
]  # fmt: skip


@pytest.fixture(scope="module")
def kodeks() -> Any:
    """One server for the tests that only change its state."""
    with KodeksServer() as server:
        yield server


@pytest.mark.parametrize(("binding", "code", "line"), [row[1:] for row in BINDINGS], ids=[row[0] for row in BINDINGS])
def test_bindings(binding: str, code: int, line: str, kodeks: KodeksServer) -> None:
    kodeks.set(binding=binding)
    outcome = ask(kodeks, "--source", "page")
    assert (outcome.code, line_of(outcome)) == (code, line)


GOOD = "<BR>Привязка: SenseLock ключ - [работает]<BR>"
PAGES = [
    ("two that disagree", f"{GOOD}Привязка: SenseLock ключ - [Device &quot;SenseLock&quot; not found]<BR>", 2,
     f"CRITICAL - {NOT_FOUND} (one of 2 bindings, which disagree) | time=T working=0"),
    ("cut off", GOOD[:-4], 3, "UNKNOWN - the page is cut off at its binding: 'Привязка: SenseLock ключ - [работает]'; look at the page in a browser | time=T"),
    ("commented out", f"<!-- {GOOD} -->", 3, "UNKNOWN - no binding line from {url}/admin/lic: wrong page, or the user lacks the right to see it"),
    ("in a script", f"<SCRIPT>x = '{GOOD}'</SCRIPT>", 3,
     "UNKNOWN - no binding line from {url}/admin/lic: wrong page, or the user lacks the right to see it"),
    ("in an attribute", f'<INPUT VALUE="{GOOD}">', 3,
     "UNKNOWN - no binding line from {url}/admin/lic: wrong page, or the user lacks the right to see it"),
    ("side module without license", "<P>Ошибка защиты 4103</P>", 3,
     "UNKNOWN - no binding line from {url}/admin/lic: wrong page, or the user lacks the right to see it"),
    ("empty page", "", 3, "UNKNOWN - no binding line from {url}/admin/lic: wrong page, or the user lacks the right to see it"),
    ("words of a refusal beside it", f"Максимальное число подключений: 10, авторизация <P id='user'>{GOOD}", 0,
     "OK - SenseLock key works (binding of /admin/lic) | time=T working=1"),
]  # fmt: skip


@pytest.mark.parametrize(("page", "code", "line"), [row[1:] for row in PAGES], ids=[row[0] for row in PAGES])
def test_pages(page: str, code: int, line: str, kodeks: KodeksServer) -> None:
    kodeks.set(page=page)
    outcome = ask(kodeks, "--source", "page")
    kodeks.set(page=None)
    assert (outcome.code, line_of(outcome)) == (code, line.format(url=kodeks.url))


# --- The report of a live server --------------------------------------------------------------------------------------

LIVE = [
    ("ZIP", "zip", {}, 0, "OK - SenseLock key works (element binding of the report) | age=A time=T size=200000B working=1"),
    ("XML", "xml", {}, 0, "OK - SenseLock key works (element binding of the report) | age=0 time=T size=200000B working=1"),
    ("key lost", "zip", {"binding": reports.NOT_FOUND}, 2,
     f"CRITICAL - {NOT_FOUND} (element binding of the report) | age=A time=T size=200000B working=0"),
    ("no record", "xml", {"report_bindings": ()}, 2, f"CRITICAL - {NO_RECORD} | age=0 time=T size=200000B working=0"),
    ("attribute", "zip", {"report_schema": "attribute"}, 0,
     "OK - SenseLock key works (attribute Binding of element License of the report) | age=A time=T size=200000B working=1"),
    ("cp1251", "xml", {"report_encoding": "windows-1251"}, 0,
     "OK - SenseLock key works (element binding of the report) | age=0 time=T size=200000B working=1"),
    ("no login needed", "zip", {"report_needs_login": False}, 0,
     "OK - SenseLock key works (element binding of the report) | age=A time=T size=200000B working=1"),
    ("SQLite inside", "zip", {"report": reports.zip_of_sqlite()}, 3,
     "UNKNOWN - report_000000_20261123_2008.db in {name} is an SQLite database, no sysinfo report"),
    ("XML where ZIP was asked for", "zip", {"report": b"<a>SenseLock \xd0\xba\xd0\xbb\xd1\x8e\xd1\x87 - [x]</a>"}, 2,
     "CRITICAL - server reports: x: an error that is not documented; look at the license page of the server (element a of the report) "
     "| age=A time=T size={size}B working=0"),
    ("HTML", "xml", {"report": b"<html><body>SenseLock</body></html>"}, 3,
     "UNKNOWN - no report from {url}" + REPORT + ": wrong page, or the user lacks the right to see it"),
    ("XHTML", "xml", {"report": b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'/>"}, 3,
     "UNKNOWN - the answer is an HTML page, no sysinfo report"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "state", "code", "line"), [row[1:] for row in LIVE], ids=[row[0] for row in LIVE])
def test_live_reports(form: str, state: dict[str, Any], code: int, line: str) -> None:
    made = datetime.now().replace(second=0, microsecond=0)
    with KodeksServer(**state, made=made) as server:
        outcome = ask(server, "--source", form)
    said = re.sub(r"\bage=0(\.0[0-9])?(?= .*size)", "age=A", line_of(outcome)) if form == "zip" else line_of(outcome)
    assert (outcome.code, said) == (code, line.format(url=server.url, name=reports.report_name(made, "zip"), size=len(state.get("report", b""))))


def test_a_report_of_real_size() -> None:
    with KodeksServer(report_size=20_000_000, report_place="end") as server:
        outcome = ask(server, "-v", "--source", "xml")
    assert (outcome.code, line_of(outcome)) == (
        0, "OK - SenseLock key works (element binding of the report) | age=0 time=T size=20000000B working=1")  # fmt: skip
    assert outcome.text.splitlines()[1:] == [
        f"source: {server.url}{REPORT}", "report: the answer, 20000000 bytes", "age: made for this request"]  # fmt: skip


# --- Cookies, logins, refusals ----------------------------------------------------------------------------------------

NO_LICENSE = "UNKNOWN - the server has no free user license, so {url}{path} cannot be read: the state of the key is unknown; end a session there"
REFUSED = "UNKNOWN - login refused for user smartlogin at {url}{path}: check --password-file and the user's rights"
WRONG_USERS = {"users": {USER: "another"}}
REFUSALS = [
    ("wrong password, challenge", WRONG_USERS, 3, REFUSED),
    ("wrong password, login page", {**WRONG_USERS, "refusal": Refusal.LOGIN_PAGE}, 3, REFUSED),
    ("wrong password, login error", {**WRONG_USERS, "refusal": Refusal.LOGIN_ERROR}, 3, REFUSED),
    ("too many users", {"licenses": Licenses.TOO_MANY_USERS}, 3, NO_LICENSE),
    ("maximum reached", {"licenses": Licenses.MAXIMUM_REACHED}, 3, NO_LICENSE),
    ("too many users, form", {"licenses": Licenses.TOO_MANY_USERS, "basic": False, "refusal": Refusal.LOGIN_PAGE}, 3,
     NO_LICENSE.replace("{path}", "/users/login.asp")),
    ("maintenance", {"kodweb": Kodweb.MAINTENANCE}, 3,
     "UNKNOWN - the server is in maintenance mode (HTTP 503 from {url}{path}): the state of the key is unknown; end it there if nobody is updating"),
    ("only the monitor in front", {"kodweb": Kodweb.DOWN}, 3,
     "UNKNOWN - {what} from {url}{path}: Express answers in place of Kodeks, which may be down"),
    ("no page of the monitor's", {"kodweb": Kodweb.ABSENT}, 3,
     "UNKNOWN - HTTP 404 from {url}{path}: Express answers in place of Kodeks, which may be down"),
]  # fmt: skip


@pytest.mark.parametrize("source", ["page", "zip"])
@pytest.mark.parametrize(("state", "code", "line"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_refusals(source: str, state: dict[str, Any], code: int, line: str) -> None:
    with KodeksServer(**state) as server:
        outcome = ask(server, "--source", source)
    what = "no binding line" if source == "page" else "no report"
    assert (outcome.code, line_of(outcome)) == (code, line.format(url=server.url, path=SOURCES[source], what=what))
    assert PASSWORD not in outcome.text


@pytest.mark.parametrize(
    ("source", "state", "requests"),
    [
        ("page", {}, ["GET /admin/lic", "GET /admin/lic"]),
        ("zip", {}, ["GET " + REPORT, "POST " + REPORT]),
        ("page", {"basic": False, "refusal": Refusal.LOGIN_PAGE}, ["GET " + PAGE, "GET " + PAGE, "POST /users/login.asp", "GET " + PAGE]),
        ("page", {"basic": False}, ["GET " + PAGE, "GET " + PAGE, "POST /users/login.asp", "GET " + PAGE]),
        ("xml", {"basic": False, "refusal": Refusal.LOGIN_ERROR}, ["GET " + REPORT, "POST " + REPORT, "POST /users/login.asp", "POST " + REPORT]),
    ],
    ids=["page, Basic", "report, Basic", "page, login form", "page, login form behind a 401", "report, login form"],
)  # fmt: skip
def test_the_way_through_cookies_and_login(source: str, state: dict[str, Any], requests: list[str]) -> None:
    with KodeksServer(**state) as server:
        outcome = ask(server, "--source", source)
    assert outcome.code == 0, outcome.text
    assert [f"{request.method} {request.target}" for request in server.requests] == requests
    assert [request.form for request in server.requests if request.path == REPORT and request.method == "POST"] == [
        {"type": source} for request in requests if request == "POST " + REPORT]  # fmt: skip


def scripted(*answers: bytes) -> Callable[[Any], None]:
    """A server that gives these answers, one a request, and then the last one for ever."""
    left = list(answers)

    def serve(connection: Any) -> None:
        connection.socket.recv(65536)
        connection.send(left.pop(0) if len(left) > 1 else left[0])

    return serve


KODEKS = b"Server: WWW-Kodeks/6.4\r\n"
LOGIN_FORM = b"HTTP/1.1 200 OK\r\n" + KODEKS + b"Content-Type: text/html\r\n\r\n" + '<INPUT id="user"> Авторизация'.encode()
TOO_MANY = b"HTTP/1.1 302 Found\r\n" + KODEKS + b"Location: /docs/TooManyUsers.asp\r\n\r\n"
DATED = b"HTTP/1.1 302 Found\r\n" + KODEKS + b"Location: /files/report_00_000000_20261101_1800.xml\r\n\r\n"


def document(body: bytes, content_type: str = "text/html") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + KODEKS + f"Content-Type: {content_type}\r\n\r\n".encode() + body


PAGE_1251 = "<HTML><BR> Привязка: {} <br></HTML>"
SCRIPTS: list[tuple[str, str, tuple[bytes, ...], int, str]] = [
    # id, source, answers, exit code, line
    ("no license, told by the login form's redirect", "page", (LOGIN_FORM, TOO_MANY), 3, NO_LICENSE.replace("{path}", "/users/login.asp")),
    ("no license, told by a redirect", "page", (TOO_MANY,), 3, NO_LICENSE.replace("{path}", PAGE)),
    *((f"works, {content_type}, {encoding}", "page", (document(PAGE_1251.format(reports.WORKS).encode(encoding), content_type),), 0,
       "OK - SenseLock key works (binding of /admin/lic) | time=T working=1")
      for content_type, encoding in (("text/html", "cp1251"), ("text/html; charset=utf-8", "cp1251"), ("text/html; charset=win-1251", "cp1251"),
                                     ("text/html", "utf-16"), ("text/html; charset=utf-16", "utf-16-le"))),
    ("not found, windows-1251 that is not declared", "page", (document(PAGE_1251.format(reports.NOT_FOUND).encode("cp1251")),), 2,
     f"CRITICAL - {NOT_FOUND} | time=T working=0"),
    ("login page in windows-1251", "page", (document('<INPUT id="user"> Авторизация'.encode("cp1251")),), 3, REFUSED.replace("{path}", PAGE)),
    *((f"no report but {kind}", "xml", (document(body, content_type),), 3, f"UNKNOWN - the answer {sentence}; the server says '{said}': ask it again, then look at the server")
      for kind, body, content_type, sentence, said in (
          ("a text", "Ошибка создания отчета".encode(), "text/plain", "is neither XML nor ZIP, no sysinfo report", "Ошибка создания отчета"),
          ("a text in windows-1251", "Ошибка\r\nсоздания | отчета".encode("cp1251"), "text/plain", "is neither XML nor ZIP, no sysinfo report", "Ошибка создания / отчета"),
          ("JSON", b'{"error":"busy"}', "application/json", "is neither XML nor ZIP, no sysinfo report", '{"error":"busy"}'),
          ("a long word", b"x" * 900, "text/plain", "is neither XML nor ZIP, no sysinfo report", "x" * 147 + "..."),
          ("small XML", "<message>Отчёт формируется</message>".encode(), "text/xml",
           "is too small for a sysinfo report (52 bytes): check what makes or stores it", "Отчёт формируется"))),
    *((f"no report but {kind}", "xml", (document(body, "text/plain"),), 3, f"UNKNOWN - the answer {sentence}")
      for kind, body, sentence in (("bytes", b"\1\2abc", "is neither XML nor ZIP, no sysinfo report"), ("a long text", b"abc " * 300, "is neither XML nor ZIP, no sysinfo report"),
                                   ("an error", b"<error>busy</error>", "is an error message, no sysinfo report: busy"), ("nothing", b"", "is empty, no sysinfo report"))),
    ("400", "page", (b"HTTP/1.1 400 Bad Request\r\n\r\n",), 3, "UNKNOWN - HTTP 400 from {url}/admin/lic: the request was not understood; check -p, and -S for HTTPS"),
    ("a report behind a redirect that tells its date", "xml", (DATED, DATED, document(small(reports.WORKS), "text/xml")), 3,
     "UNKNOWN - the server sent a report of H hours ago instead of a new one: check its clock, and what answers at -p | age=A time=T size={size}B"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "answers", "code", "line"), [row[1:] for row in SCRIPTS], ids=[row[0] for row in SCRIPTS])
def test_scripted_answers(source: str, answers: tuple[bytes, ...], code: int, line: str) -> None:
    port = Port(scripted(*answers))
    port.become(PortState.OPEN)
    try:
        outcome = run_check("kodeks_xml", "-H", "127.0.0.1", "-p", str(port.number), *LOGIN, "--source", source, env=ENV)
    finally:
        port.shut()
    said = re.sub(r"\bage=[0-9.]+", "age=A", re.sub(r"[0-9.]+ hours ago", "H hours ago", line_of(outcome)))
    expected = line.replace("{url}", f"http://127.0.0.1:{port.number}").replace("{size}", str(len(small(reports.WORKS))))
    assert (outcome.code, said) == (code, expected)


def test_without_login() -> None:
    with KodeksServer() as server:
        plain = run_check("kodeks_xml", "-H", server.host, "-p", str(server.port), "--source", "page", env=ENV)
        server.set(faults={PAGE: Fault.FORBIDDEN})
        forbidden = ask(server, "--source", "page")
    assert line_of(plain) == f"UNKNOWN - {server.url}/admin/lic asks for a login: give -l USER and --password-file"
    assert line_of(forbidden) == f"UNKNOWN - user smartlogin may not read {server.url}/admin/lic (HTTP 403): check the user's rights"
    assert not any(request.carries_credentials for request in server.requests[:2])


@pytest.mark.parametrize("source", ["page", "zip"])
def test_the_login_follows_no_redirect_elsewhere(source: str) -> None:
    with KodeksServer() as stranger, KodeksServer() as server:
        for elsewhere in (stranger.url, f"http://localhost:{server.port}", server.url.replace("http:", "https:")):
            server.set(faults={SOURCES[source]: Fault.ELSEWHERE}, elsewhere=elsewhere + "/admin/lic")
            outcome = ask(server, "--source", source)
            assert (outcome.code, line_of(outcome)) == (
                3,
                f"UNKNOWN - {server.url}{SOURCES[source]} redirects to {elsewhere}: not followed, the login stays here; check -H, -p and -S",
            )
        assert stranger.requests == []


# --- Faults of the network and of HTTP --------------------------------------------------------------------------------

SHORT = ("-t", "1.5")
FAULTS = {
    # fault: sentence on the page, sentence on the XML report; "" for the same
    Fault.SILENT: ("accepted the connection and did not answer in time; raise -t, or look what keeps the server busy", ""),
    Fault.EMPTY: ("closed the connection without an answer; look at the server, and at what stands in between", ""),
    Fault.RESET: ("broke off after {bytes} bytes: connection reset; look at the server, and at what stands in between", ""),
    Fault.GARBAGE: ("does not answer in HTTP: check -p, and -S for HTTPS", ""),
    Fault.DRIP_HEADERS: ("answers too slowly: {bytes} bytes when the time was over; raise -t, or look what keeps the server busy", ""),
    Fault.DRIP_BODY: ("answers too slowly: {bytes} bytes when the time was over; raise -t, or look what keeps the server busy", ""),
    Fault.LENGTH_TOO_LONG: ("closed the connection in mid-answer: {bytes} of {bytes} bytes; look at the server, and at what stands in between", ""),
    Fault.CUT_CHUNK: ("closed the connection in mid-answer or sent a broken chunk; look at the server, and at what stands in between", ""),
    Fault.BAD_CHUNK: ("closed the connection in mid-answer or sent a broken chunk; look at the server, and at what stands in between", ""),
    Fault.NO_LAST_CHUNK: ("closed the connection in mid-answer or sent a broken chunk; look at the server, and at what stands in between", ""),
    Fault.HUGE_HEADER: ("sent a line without end; look at the server, and at what stands in between", ""),
    Fault.SERVER_ERROR: ("fails with HTTP 500: something answers, the Kodeks server does not; check that the server runs, then -p and the firewalls", ""),
}
REFUSING_FAULTS = {
    # not a matter of reachability: UNKNOWN whatever --unreachable says
    Fault.GZIP: "{url}{path} sends a body encoded as gzip, which was not asked for: switch that off in the proxy before the server",
    Fault.ENDLESS_307: "{url} redirects without end: more than 5 times; check -p and -S",
    Fault.UNAUTHORIZED: "login refused for user smartlogin at {url}{path}: check --password-file and the user's rights",
    Fault.NOT_FOUND: "HTTP 404 from {url}{path}: is this a Kodeks server? Check -H and -p",
    Fault.UNAVAILABLE: "the server is in maintenance mode (HTTP 503 from {url}{path}): the state of the key is unknown; end it there if nobody is updating",
}


@pytest.mark.parametrize("source", ["page", "xml"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.value)
def test_faults(fault: Fault, source: str) -> None:
    expected = FAULTS[fault][0]
    method = "GET" if source == "page" else "POST"
    with KodeksServer(faults={f"{method} {SOURCES[source]}": fault}, pace=0.1) as server:
        slow = fault in (Fault.SILENT, Fault.DRIP_HEADERS, Fault.DRIP_BODY)
        outcome = ask(server, "--source", source, "--unreachable", "warning", *(SHORT if slow else ()))
    said = line_of(outcome).replace(f"{server.url}{SOURCES[source]} ", "")
    pattern = re.escape(f"WARNING - {expected}").replace(re.escape("{bytes}"), "[0-9]+")
    assert re.fullmatch(pattern, said), said
    assert outcome.code == 1
    assert not slow or outcome.seconds < 1.5 + PUNCTUAL


@pytest.mark.parametrize("source", ["page", "xml"])
@pytest.mark.parametrize("fault", REFUSING_FAULTS, ids=lambda fault: fault.value)
def test_refusing_faults(fault: Fault, source: str) -> None:
    method = "GET" if source == "page" else "POST"
    with KodeksServer(faults={f"{method} {SOURCES[source]}": fault}) as server:
        outcome = ask(server, "--source", source, "--unreachable", "critical")
    expected = REFUSING_FAULTS[fault].format(url=server.url, path=SOURCES[source])
    assert (outcome.code, line_of(outcome)) == (3, f"UNKNOWN - {expected}")


CUT_OR_ENDLESS = [
    ("page", Fault.LENGTH_TOO_SHORT, "UNKNOWN - the page is cut off at its binding: 'Привязка: Sen'; look at the page in a browser | time=T"),
    ("page", Fault.ENDLESS_BODY, "UNKNOWN - {url}/admin/lic sends a page of more than 2 MB: that is no page of Kodeks"),
    ("xml", Fault.LENGTH_TOO_SHORT, "UNKNOWN - the report is cut off after 100000 bytes: send or store it again, to its end"),
    ("xml", Fault.ENDLESS_BODY, "UNKNOWN - the report is larger than 20 MB: --max-size allows more"),
    ("zip", Fault.LENGTH_TOO_SHORT, "UNKNOWN - {name} is a damaged or cut ZIP: File is not a zip file; send or store it again"),
    ("zip", Fault.ENDLESS_BODY, "UNKNOWN - {name} is a ZIP of more than 1 MB: --max-size allows more"),
]


@pytest.mark.parametrize(("source", "fault", "line"), CUT_OR_ENDLESS)
def test_answers_that_are_too_short_or_too_long(source: str, fault: Fault, line: str) -> None:
    made = datetime(2026, 11, 23, 20, 8)
    with KodeksServer(faults={f"{'GET' if source == 'page' else 'POST'} {SOURCES[source]}": fault}, made=made) as server:
        outcome = ask(server, "--source", source, "--max-size", "20")
    assert (outcome.code, line_of(outcome)) == (3, line.format(url=server.url, name=reports.report_name(made, "zip")))


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.DRIP_HEADERS])
def test_a_late_answer_has_the_state_of_its_option(fault: Fault) -> None:
    with KodeksServer(faults={"*": fault}, pace=0.1) as server:
        for options, code in ((("--unreachable", "warning"), 1), (("-t", "1.5:critical", "--unreachable", "warning"), 2)):
            outcome = ask(server, "--source", "page", "-t", "1.5", *options)
            assert outcome.code == code
            assert outcome.seconds < 1.5 + PUNCTUAL


PORTS = [
    (PortState.REFUSED, "no connection to 127.0.0.1 port {port}: connection refused; check that the server runs, then -p and the firewalls"),
    (PortState.FILTERED, "no connection to 127.0.0.1 port {port}: no answer in time; check that the server runs, then -p and the firewalls"),
]


@pytest.mark.parametrize(("port", "line"), PORTS, ids=[port.value for port, _ in PORTS])
def test_ports(port: PortState, line: str) -> None:
    with KodeksServer(port=port) as server:
        outcome = ask(server, "--source", "page", "--unreachable", "critical", *SHORT)
    assert (outcome.code, line_of(outcome)) == (2, "CRITICAL - " + line.format(port=server.port))
    assert outcome.seconds < 1.5 + PUNCTUAL


def test_a_name_that_does_not_exist() -> None:
    outcome = run_check("kodeks_xml", "-H", "kodeks.invalid", "--source", "page", "--unreachable", "2", "-t", "5")
    assert outcome.code == 2
    assert re.fullmatch(r"CRITICAL - the name kodeks\.invalid (cannot be resolved: .+|was not resolved in time: .+)", line_of(outcome))


def test_a_name_server_that_never_answers(tmp_path: Path) -> None:
    """getaddrinfo() cannot be interrupted; here it takes a minute."""
    (tmp_path / "sitecustomize.py").write_text("import socket, time\nsocket.getaddrinfo = lambda *a, **k: time.sleep(60)\n")
    env = {**ENV, "PYTHONPATH": str(tmp_path)}
    outcome = run_check("kodeks_xml", "-H", "kodeks.example", "--unreachable", "1", "-t", "1.5", env=env)
    assert (outcome.code, line_of(outcome)) == (
        1, "WARNING - the name kodeks.example was not resolved in time: the name server does not answer; check -H and the name servers")  # fmt: skip
    assert outcome.seconds < 1.5 + PUNCTUAL


def test_ipv6_and_proxies() -> None:
    proxies = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"), "http://127.0.0.1:9/")
    with KodeksServer(host="::1") as server:
        for host in ("::1", "[::1]"):
            outcome = run_check("kodeks_xml", "-H", host, "-p", str(server.port), "--source", "page", *LOGIN, env={**ENV, **proxies})
            assert (outcome.code, line_of(outcome)) == (0, "OK - SenseLock key works (binding of /admin/lic) | time=T working=1")
    assert {request.header("Host") for request in server.requests} == {f"[::1]:{server.port}"}


# --- TLS --------------------------------------------------------------------------------------------------------------

CERTIFICATES = [
    (Certificate.TRUSTED, (), 0, "OK - SenseLock key works (binding of /admin/lic) | time=T working=1"),
    (Certificate.EXPIRED, (), 2,
     "CRITICAL - the TLS certificate of 127.0.0.1 is not accepted: it has expired; --insecure would not verify it"),
    (Certificate.SELF_SIGNED, (), 2,
     "CRITICAL - the TLS certificate of 127.0.0.1 is not accepted: it is self-signed; --insecure would not verify it"),
    (Certificate.WRONG_NAME, (), 2,
     "CRITICAL - the TLS certificate of 127.0.0.1 is not accepted: it is not for this address; --insecure would not verify it"),
    (Certificate.EXPIRED, ("--insecure",), 0, "OK - SenseLock key works (binding of /admin/lic) | time=T working=1"),
    (Certificate.NONE, (), 2, "CRITICAL - no TLS connection to 127.0.0.1: WRONG_VERSION_NUMBER; check whether the port speaks HTTPS"),
]  # fmt: skip


@pytest.mark.parametrize(("certificate", "options", "code", "line"), CERTIFICATES)
def test_certificates(certificate: Certificate, options: Sequence[str], code: int, line: str, tmp_path: Path) -> None:
    authority = write_authority(tmp_path / "authority.pem")
    with KodeksServer(certificate=certificate) as server:
        env = {**ENV, "SSL_CERT_FILE": str(authority)}
        outcome = ask(server, "--source", "page", "-S", "--unreachable", "critical", *options, env=env)
    assert (outcome.code, line_of(outcome)) == (code, line)
    assert code == 0 or not server.requests


def test_an_authority_that_is_not_known() -> None:
    with KodeksServer(certificate=Certificate.TRUSTED) as server:
        outcome = ask(server, "--source", "page", "-S", env={**ENV, "SSL_CERT_FILE": "/dev/null"})
    assert (outcome.code, line_of(outcome)) == (
        3, "UNKNOWN - the TLS certificate of 127.0.0.1 is not accepted: its authority is not known here; --insecure would not verify it")  # fmt: skip


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.DRIP_BODY])
def test_a_slow_server_behind_tls(fault: Fault) -> None:
    with KodeksServer(certificate=Certificate.TRUSTED, faults={"*" if fault is Fault.SILENT else PAGE: fault}, pace=0.1) as server:
        outcome = ask(server, "--source", "page", "-S", "--insecure", *SHORT)
    expected = "no TLS connection to 127.0.0.1: no answer in time" if fault is Fault.SILENT else "answers too slowly"
    assert outcome.code == 3
    assert expected in outcome.line
    assert outcome.seconds < 1.5 + PUNCTUAL


# --- The license manager ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (PortState.OPEN, "; the license manager at {address} answers"),
        (PortState.REFUSED, "; the license manager at {address} does not answer (connection refused)"),
        (PortState.FILTERED, "; the license manager at {address} does not answer (no answer in time)"),
    ],
)
def test_the_license_manager_is_asked_on_demand(state: PortState, said: str, kodeks: KodeksServer) -> None:
    sentence = ("CRITICAL - server reports: Key is not available (license manager configured at {address}): the license manager does not offer "
                "the key; check that the key is plugged in there")  # fmt: skip
    with LicenseManager(state) as manager:
        kodeks.set(binding=f"SenseLock ключ - [Key is not available (license manager configured at {manager.address})]")
        probed = ask(kodeks, "--source", "page", "--probe-license-manager", "-t", "2")
        silent = ask(kodeks, "--source", "page")
    assert (probed.code, line_of(probed)) == (2, (sentence + said).format(address=manager.address) + " | time=T working=0")
    assert (silent.code, line_of(silent)) == (2, sentence.format(address=manager.address) + " | time=T working=0")


def test_a_license_manager_whose_name_is_not_known(kodeks: KodeksServer) -> None:
    kodeks.set(binding="SenseLock ключ - [Key is not available (license manager configured at lm.invalid:8888)]")
    said = line_of(ask(kodeks, "--source", "page", "--probe-license-manager"))
    assert re.search(r"plugged in there; the license manager at lm\.invalid:8888 cannot be asked, its name is not resolved here \([^()]+\) \| time=T", said)


# --- Stored reports ---------------------------------------------------------------------------------------------------


GOOD_REPORT = small(reports.WORKS)
SIZE = len(GOOD_REPORT)
OK_LINE = f"OK - SenseLock key works (element binding of the report) | age=0 time=T size={SIZE}B working=1"
UNPACKED = "report_000000_20261123_2008.xml"


def packed(*members: tuple[str, bytes], **options: Any) -> bytes:
    """A ZIP with these members."""
    return reports.zip_members([(name, [data]) for name, data in members], **options)


FILES: list[tuple[str, bytes, int, str]] = [
    ("XML", GOOD_REPORT, 0, OK_LINE),
    ("ZIP", packed(("sysinfo.xml", GOOD_REPORT), made=datetime(1980, 1, 1)), 0, OK_LINE),
    ("ZIP, sizes behind the data", packed(("a/b/SYSINFO.XML", GOOD_REPORT), made=datetime(1980, 1, 1), streamed=True), 0, OK_LINE),
    ("ZIP, not compressed", packed(("sysinfo.xml", GOOD_REPORT), made=datetime(1980, 1, 1), compression=zipfile.ZIP_STORED), 0, OK_LINE),
    ("ZIP with one member of another name", packed(("sysinfo", GOOD_REPORT), made=datetime(1980, 1, 1)), 0, OK_LINE),
    ("ZIP of macOS", packed(("__MACOSX/._sysinfo.xml", b"\0\5\x16\7"), ("sysinfo.xml", GOOD_REPORT), ("__MACOSX/._x.txt", b""), made=datetime(1980, 1, 1)), 0, OK_LINE),
    ("ZIP of nothing but a file of macOS", packed(("__MACOSX/._sysinfo.xml", b"\0\5\x16\7")), 3, "UNKNOWN - ._sysinfo.xml in {name} is neither XML nor ZIP, no sysinfo report"),
    ("ZIP with more than XML", packed(("a.txt", b"x"), ("sysinfo.xml", GOOD_REPORT), made=datetime(1980, 1, 1)), 0, OK_LINE),
    ("UTF-16", small(reports.WORKS, encoding="utf-16"), 0, OK_LINE),
    *((f"encoding {name}", GOOD_REPORT.replace(b"utf-8", name.encode(), 1), 0, OK_LINE.replace(str(SIZE), str(SIZE + len(name) - 5)))
      for name in ("UTF8", "utf8", "Utf_8")),
    ("an encoding that nobody knows, of many letters", GOOD_REPORT.replace(b"utf-8", b"utf" + b"9" * 50 + b"-8", 1), 3,
     f"UNKNOWN - the report cannot be read in the encoding that it declares: unknown encoding: utf{'9' * 50}-8; check what makes or stores it"),
    ("encoding UTF8 that is none", '<?xml version="1.0" encoding="UTF8"?>\n<a>Привязка</a>'.encode("cp1251"), 3,
     "UNKNOWN - the report is no well-formed XML: not well-formed (invalid token), line 2, column 4"),
    ("key lost", small(reports.NOT_FOUND), 2, f"CRITICAL - {NOT_FOUND} (element binding of the report) | age=0 time=T size={SIZE}B working=0"),
    ("no record", small(), 2, f"CRITICAL - {NO_RECORD} | age=0 time=T size={SIZE}B working=0"),
    ("only mentions", small(decoys=True), 3,
     "UNKNOWN - the report mentions SenseLock, but tells no state of it that is known: see -vv, then pin it with --record "
     f"| age=0 time=T size={SIZE}B"),
    ("one good, one bad", small(reports.WORKS, reports.NOT_FOUND), 2,
     f"CRITICAL - {NOT_FOUND} (element binding of the report) | age=0 time=T size={SIZE}B working=0"),
    ("empty", b"", 3, "UNKNOWN - {name} is empty, no sysinfo report"),
    ("text", b"SenseLock works", 3, "UNKNOWN - {name} is neither XML nor ZIP, no sysinfo report"),
    ("HTML", b"\r\n<!DOCTYPE HTML><HTML>", 3, "UNKNOWN - {name} is an HTML page, no sysinfo report"),
    ("an error message", "<error>Недостаточно прав</error>".encode(), 3,
     "UNKNOWN - {name} is an error message, no sysinfo report: Недостаточно прав"),
    ("a SOAP fault", b"<s:Envelope xmlns:s='x'><s:Body><s:Fault><a>Server</a><b>|no\n</b></s:Fault></s:Body></s:Envelope>", 3,
     "UNKNOWN - {name} is an error message, no sysinfo report: Server /no"),
    ("an empty error message", b"<Error/>", 3, "UNKNOWN - {name} is an error message, no sysinfo report: it says nothing"),
    ("a picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 3, "UNKNOWN - {name} is SVG, no sysinfo report"),
    ("hardly anything", b"<sysinfo/>", 3, "UNKNOWN - {name} is too small for a sysinfo report (10 bytes): check what makes or stores it"),
    ("little, but a record", "<a>SenseLock ключ - [x]</a>".encode(), 2,
     "CRITICAL - server reports: x: an error that is not documented; look at the license page of the server (element a of the report) "
     "| age=0 time=T size=31B working=0"),
    ("a document type without declaration", b"<!DOCTYPE sysinfo SYSTEM 'x.dtd'>" + GOOD_REPORT.partition(b"?>")[2], 0,
     OK_LINE.replace(str(SIZE), str(SIZE - GOOD_REPORT.index(b"?>") - 2 + 33))),
    ("SQLite", b"SQLite format 3\0" + bytes(5000), 3, "UNKNOWN - {name} is an SQLite database, no sysinfo report"),
    ("gzip", b"\x1f\x8b\x08\x00", 3, "UNKNOWN - {name} is a gzip file, no sysinfo report"),
    ("cut XML", GOOD_REPORT[:-20], 3, f"UNKNOWN - the report is cut off after {SIZE - 20} bytes: send or store it again, to its end"),
    ("more behind the end", GOOD_REPORT + b"<x/>", 3,
     f"UNKNOWN - the report is no well-formed XML: junk after document element, line {len(GOOD_REPORT.splitlines()) + 1}, column 1"),
    ("entity", reports.entity_record(), 3,
     "UNKNOWN - the report declares entities or attributes of its own, which no sysinfo report does: not read"),
    ("deep", b"".join(reports.deep(200_000)), 3, "UNKNOWN - the report is nested too deep or has too many different names to be one"),
    ("huge attribute", b"".join(reports.huge_attribute(3 << 20)), 3,
     "UNKNOWN - the report has a tag or a comment of more than 1 MB: that is no sysinfo report"),
    ("ZIP bomb", reports.zip_bomb(60 << 20), 3, "UNKNOWN - the report is larger than 32 MB: --max-size allows more"),
    ("ZIP that lies about its size", reports.zip_lying_about_size(reports.zip_bomb(60 << 20), 30_000), 3,
     f"UNKNOWN - {{name}} is a damaged or cut ZIP: Bad CRC-32 for file '{UNPACKED}'; send or store it again"),
    ("cut ZIP", reports.zip_report([GOOD_REPORT])[:-30], 3, "UNKNOWN - {name} is a damaged or cut ZIP: File is not a zip file; send or store it again"),
    ("wrong checksum", reports.zip_wrong_crc(reports.zip_report([GOOD_REPORT])), 3,
     f"UNKNOWN - {{name}} is a damaged or cut ZIP: Bad CRC-32 for file '{UNPACKED}'; send or store it again"),
    ("encrypted ZIP", reports.zip_encrypted(reports.zip_report([GOOD_REPORT])), 3, f"UNKNOWN - {{name}} is an encrypted ZIP: {UNPACKED}"),
    ("unknown compression", reports.zip_unknown_method(reports.zip_report([GOOD_REPORT])), 3,
     f"UNKNOWN - {{name}} is a ZIP compressed by a method that is not read here (98): {UNPACKED}"),
    ("LZMA", packed(("a.xml", GOOD_REPORT), compression=zipfile.ZIP_LZMA), 3,
     "UNKNOWN - {name} is a ZIP compressed by a method that is not read here (14): a.xml"),
    ("ZIP in a ZIP", reports.zip_of_zip(reports.zip_report([GOOD_REPORT])), 3,
     "UNKNOWN - report_000000_20261123_2008.zip in {name} is neither XML nor ZIP, no sysinfo report"),
    ("SQLite in a ZIP", reports.zip_of_sqlite(), 3, "UNKNOWN - report_000000_20261123_2008.db in {name} is an SQLite database, no sysinfo report"),
    ("two XML documents", packed(("a.xml", GOOD_REPORT), ("b.xml", GOOD_REPORT)), 3, "UNKNOWN - {name} is a ZIP with 2 XML documents: a.xml, b.xml"),
    ("no XML document", packed(("a.db", b""), ("../b|\x1b.db", b"")), 3, "UNKNOWN - {name} is a ZIP with no XML document: a.db, ../b/ .db"),
    ("empty ZIP", packed(), 3, "UNKNOWN - {name} is a ZIP with no XML document: it is empty"),
    ("empty XML in a ZIP", packed(("../../a.xml", b"")), 3, "UNKNOWN - a.xml in {name} is empty, no sysinfo report"),
    ("many members", packed(*((f"{number}.xml", b"") for number in range(3000))), 3,
     "UNKNOWN - the ZIP has too many members to be a sysinfo report"),
]  # fmt: skip

@pytest.mark.parametrize(("data", "code", "line"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_stored_reports(data: bytes, code: int, line: str, tmp_path: Path) -> None:
    (tmp_path / "stored.bin").write_bytes(data)
    outcome = run_check("kodeks_xml", "--file", str(tmp_path / "stored.bin"), "--max-size", "32")
    assert (outcome.code, line_of(outcome)) == (code, line.format(name="stored.bin"))


@pytest.mark.parametrize("name", ["XML", "ZIP", "ZIP, sizes behind the data", "cut ZIP", "cut XML", "text", "empty"])
def test_the_same_from_standard_input(name: str) -> None:
    data, code, line = next(row[1:] for row in FILES if row[0] == name)
    outcome = run_check("kodeks_xml", "--file", "-", stdin=data)
    assert (outcome.code, line_of(outcome)) == (code, line.format(name="standard input").replace("age=0 ", ""))


def test_standard_input_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(packed(("sysinfo.xml", GOOD_REPORT), made=datetime(1980, 1, 1)))
    outcome = run_process(["sh", "-c", '"$0" "$@" < x', *command("kodeks_xml", "--file", "-")], cwd=tmp_path)
    assert (outcome.code, line_of(outcome)) == (0, OK_LINE)


def test_standard_input_that_says_nothing() -> None:
    child = subprocess.Popen(command("kodeks_xml", "--file", "-", "-t", "0.7:warning"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdin is not None
    with child.stdout, child.stdin:
        assert child.stdout.read() == b"KODEKS_XML WARNING - timed out after 0.7 s while reading standard input\n"
        assert child.wait(10) == 1


def special_files(folder: Path) -> dict[str, tuple[str, str]]:
    """Paths that are no reports: id -> (path, sentence)."""
    (folder / "folder.xml").mkdir()
    os.mkfifo(folder / "fifo.xml")
    return {
        "missing": (str(folder / "no.xml"), "{path} cannot be read: No such file or directory; check --file and its rights"),
        "folder": (str(folder / "folder.xml"), "{path} is not a regular file"),
        "FIFO without a writer": (str(folder / "fifo.xml"), "{path} is not a regular file"),
        "device": ("/dev/zero", "{path} is not a regular file"),
        "odd name": (str(folder / "a|b\n.xml"), "{path} cannot be read: No such file or directory; check --file and its rights"),
        "memory that cannot be read": ("/proc/self/mem", "{path} cannot be read: Input/output error"),
        "empty": ("", "--file is empty; check_kodeks_xml --help lists the options"),
    }


def test_paths_that_are_no_reports(tmp_path: Path) -> None:
    for what, (path, sentence) in special_files(tmp_path).items():
        outcome = run_check("kodeks_xml", "--file", path, "-t", "3")
        shown = " ".join(path.replace("|", "/").split())
        assert (outcome.code, line_of(outcome)) == (3, f"UNKNOWN - {sentence.format(path=shown)}"), what


def in_a_report(xml: str) -> bytes:
    """A report that holds this XML among much else."""
    return GOOD_REPORT.replace(f"<binding>{reports.WORKS}</binding>".encode(), xml.encode())


NOT_SURE = "UNKNOWN - 'работает' stands beside SenseLock, but not surely as the key's state: see -vv, then pin it with --record"
CONTRADICTION = "UNKNOWN - the report contradicts itself: the key works by {}, but {} says '{}': see -vv, then pin the record with --record"
RECORDS = [
    # What an adversary got an OK for.
    ("a word in bold", "<SenseLock><state><b>не</b> работает</state></SenseLock>", 2,
     f"CRITICAL - server reports: не работает: the protection does not work; {CHECK_KEY} (element state of the report)"),
    ("a large log", f"<log>{'<e>x</e>' * 1200}<e>SenseLock ключ - [работает]</e></log>", 3, f"{NOT_SURE} (element e of the report)"),
    ("a message", "<log><entry><message>Привязка: SenseLock ключ - [работает]</message></entry></log>", 3, f"{NOT_SURE} (element message of the report)"),
    ("services", "<services><item name='SenseLock' status='работает'/></services>", 3, f"{NOT_SURE} (attribute status of element item of the report)"),
    ("an error's number", "<SenseLock state='работает' error='4111'/>", 2,
     f"CRITICAL - server reports: 4111: no key for this registration file (not plugged in, a wrong key, or no license manager found); {CHECK_KEY} "
     "(attribute error of element SenseLock of the report)"),
    ("found 0", "<SenseLock><found>0</found><state>работает</state></SenseLock>", 3,
     CONTRADICTION.format("element state of the report", "element found of the report", "found: 0")),
    ("a demo", "<SenseLock state='работает' mode='демо'/>", 3,
     "UNKNOWN - the state of the SenseLock record is not known: 'демо' (attribute mode of element SenseLock of the report): see -vv; if it means that "
     "the key works, give --record and --working"),
    ("an error far below", "<SenseLock state='работает'><details><error>Ключ не найден</error></details></SenseLock>", 3,
     CONTRADICTION.format("attribute state of element SenseLock of the report", "element error of the report", "Ключ не найден")),
    ("a failure behind much else", f"<SenseLock state='работает'>{'<s>сеанс</s>' * 900}<error>Ключ не найден</error></SenseLock>", 3,
     "UNKNOWN - the element of the SenseLock key holds too much to be read as one record: 'SenseLock' (element SenseLock of the report): see -vv; if it "
     "means that the key works, give --record and --working"),
    ("two states of a binding", "<binding><kind>локальная</kind><state>работает</state><status>не работает</status></binding>", 2,
     f"CRITICAL - server reports: не работает: the protection does not work; {CHECK_KEY} (element status of the report)"),
    ("a user's binding", "<user><binding kind='локальная' state='работает'/></user>", 3, f"{NOT_SURE} (attribute state of element binding of the report)"),
    # What must stay good.
    ("a name in a section", "<section name='Защита'><param name='SenseLock' value='работает'/></section>", 0,
     "OK - SenseLock key works (attribute value of element param of the report)"),
    ("no error", "<SenseLock state='работает' error='Ошибка: нет'/>", 0, "OK - SenseLock key works (attribute state of element SenseLock of the report)"),
]  # fmt: skip


@pytest.mark.parametrize("form", ["XML", "ZIP"])
@pytest.mark.parametrize(("xml", "code", "line"), [row[1:] for row in RECORDS], ids=[row[0] for row in RECORDS])
def test_records_of_reports(xml: str, code: int, line: str, form: str, tmp_path: Path) -> None:
    data = in_a_report(xml)
    (tmp_path / "x").write_bytes(data if form == "XML" else packed(("sysinfo.xml", data), made=datetime(1980, 1, 1)))
    outcome = run_check("kodeks_xml", "--file", str(tmp_path / "x"))
    working = {0: " working=1", 2: " working=0"}.get(code, "")
    assert (outcome.code, line_of(outcome)) == (code, f"{line} | age=0 time=T size={len(data)}B{working}")


def test_every_schema_from_a_file(tmp_path: Path) -> None:
    """The same facts in ten shapes that nobody has agreed on."""
    for number, schema in enumerate(reports.SCHEMAS):
        (tmp_path / "x.xml").write_bytes(small(reports.WORKS if number % 2 else reports.USER_LIMIT, schema=schema, decoys=True))
        outcome = run_check("kodeks_xml", "--file", str(tmp_path / "x.xml"))
        assert outcome.code == (0 if number % 2 else 2), (schema, outcome.text)


# --- The age ----------------------------------------------------------------------------------------------------------

AGES = [
    # name of the file, hours ago by its name and by its time, arguments, code, line
    ("fresh", "report_1_{}.xml", 1, 0, ["-w", ":26", "-c", ":50"], 0, "OK - SenseLock key works (element binding of the report) | age=1;26;50"),
    ("old", "report_1_{}.xml", 30, 0, ["-w", ":26", "-c", ":50"], 1,
     "WARNING - the report is 30.0 hours old, outside the range 26: check that its upload or export still runs | age=30;26;50"),
    ("too old", "report_1_{}.xml", 60, 0, ["-w", ":26", "-c", ":50"], 2,
     "CRITICAL - the report is 60.0 hours old, outside the range 50: check that its upload or export still runs | age=60;26;50"),
    ("old, not judged", "report_1_{}.xml", 60, 0, [], 0, "OK - SenseLock key works (element binding of the report) | age=60"),
    ("just too old", "report_1_{}.xml", 26.02, 0, ["-w", ":26"], 1,
     "WARNING - the report is 26.0X hours old, outside the range 26: check that its upload or export still runs | age=26;26"),
    ("inside a range that it should not be in", "report_1_{}.xml", 3, 0, ["-c", "@0:5"], 2,
     "CRITICAL - the report is 3.0 hours old, inside the range @5: check that its upload or export still runs | age=3;;@5"),
    ("from tomorrow", "report_1_{}.xml", -24, 0, ["-w", ":26"], 3,
     "UNKNOWN - the report is dated 24.0 hours in the future: check the clocks and time zones of both machines | age=-24;26"),
    ("a minute ahead", "report_1_{}.xml", -0.05, 0, ["-w", ":26"], 0, "OK - SenseLock key works (element binding of the report) | age=0;26"),
    ("by the file's time", "other.xml", 0, 40, ["-w", ":26"], 1, "WARNING - the report is 40.0 hours old, outside the range 26: check that its upload or export still runs | age=40;26"),
    ("the name outranks the file's time", "report_1_{}.xml", 2, 40, ["-w", ":26"], 0,
     "OK - SenseLock key works (element binding of the report) | age=2;26"),
    ("capitals and seconds", "REPORT_1_{}59.XML", 60, 0, ["-w", ":26", "-c", ":50"], 2,
     "CRITICAL - the report is 60.0 hours old, outside the range 50: check that its upload or export still runs | age=60;26;50"),
    ("a day that no calendar has", "report_00_000000_20260230_1200.xml", 0, 0, ["-w", ":26", "-c", ":50"], 3,
     "UNKNOWN - the age of the report is not known: its name tells a date that cannot be; keep the name that the server gave it |"),
    ("an hour that no day has", "report_00_000000_20261124_2460.xml", 0, 0, ["-c", ":50"], 3,
     "UNKNOWN - the age of the report is not known: its name tells a date that cannot be; keep the name that the server gave it |"),
    ("another form of its date", "sysinfo_00_000000_2026-11-01T18-00.xml", 0, 0, ["-c", ":50"], 2, None),
    ("a day without a time", "report_00_000000_20261101.xml", 0, 0, ["-c", ":50"], 2, None),
    ("a registration number like a date", "report_00_20201231_{}.xml", 1, 0, ["-c", ":50"], 0, "OK - SenseLock key works (element binding of the report) | age=1;;50"),
    ("a date that cannot be, not judged", "report_00_000000_00000000_0000.xml", 0, 0, [], 0, "OK - SenseLock key works (element binding of the report) |"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "by_name", "by_time", "arguments", "code", "line"), [row[1:] for row in AGES], ids=[row[0] for row in AGES])
def test_ages(name: str, by_name: float, by_time: float, arguments: list[str], code: int, line: str | None, tmp_path: Path) -> None:
    now = datetime.now()
    path = tmp_path / name.format(f"{now - timedelta(hours=by_name):%Y%m%d_%H%M}")
    path.write_bytes(GOOD_REPORT)
    os.utime(path, (time.time() - by_time * 3600,) * 2)
    outcome = run_check("kodeks_xml", "--file", str(path), *arguments)
    if line is None:  # a date of the past: its age grows
        made = datetime(2026, 11, 1, 18) if "18" in name else datetime(2026, 11, 1)
        hours = round((now - made).total_seconds() / 3600)
        line = f"CRITICAL - the report is H hours old, outside the range 50: check that its upload or export still runs | age={hours};;50"
    # The name tells minutes: the age is up to a minute more than asked for.
    said = re.sub(r"is 26\.0[0-9] hours", "is 26.0X hours", line_of(outcome))
    said = re.sub(r"is [0-9]{3,}\.[0-9] hours", "is H hours", said)
    said = re.sub(r"age=(-?[0-9.]+)", lambda age: f"age={round(float(age[1]))}", said)
    assert (outcome.code, said) == (code, f"{line} time=T size={SIZE}B working=1")


def test_of_two_names_the_older_one_counts(tmp_path: Path) -> None:
    now = datetime.now()
    old, new = (f"report_1_{now - timedelta(hours=hours):%Y%m%d_%H%M}" for hours in (60, 1))
    for outer, inner in ((old, new), (new, old)):
        path = tmp_path / f"{outer}.zip"
        path.write_bytes(packed((f"{inner}.xml", GOOD_REPORT), made=now))
        outcome = run_check("kodeks_xml", "--file", str(path), "-c", ":50")
        said = re.sub(r"age=60\.[0-9]+", "age=60", line_of(outcome))
        assert (outcome.code, said) == (
            2, "CRITICAL - the report is 60.0 hours old, outside the range 50: check that its upload or export still runs "
            f"| age=60;;50 time=T size={SIZE}B working=1")  # fmt: skip


@pytest.mark.parametrize(
    ("hours", "code", "line"),
    [
        (0.5, 0, "OK - SenseLock key works (element binding of the report)"),
        (7, 0, "OK - SenseLock key works, made 7.0 hours ago by its name: check clocks and time zones (element binding of the report)"),
        (171, 3, "UNKNOWN - the server sent a report of 171.0 hours ago instead of a new one: check its clock, and what answers at -p"),
        (-7.05, 0, "OK - SenseLock key works, made 7.0 hours in the future by its name: check clocks and time zones (element binding of the report)"),
        (-915.05, 3, "UNKNOWN - the server sent a report that is dated 915.0 hours in the future: check its clock, and what answers at -p"),
    ],
)
def test_a_live_report_that_is_old(hours: float, code: int, line: str) -> None:
    with KodeksServer(made=datetime.now() - timedelta(hours=hours)) as server:
        outcome = ask(server, "--source", "zip")
    assert (outcome.code, line_of(outcome).partition(" | ")[0]) == (code, line)


def test_an_age_that_nothing_tells_is_unknown() -> None:
    outcome = run_check("kodeks_xml", "--file", "-", "-c", ":50", stdin=GOOD_REPORT)
    assert (outcome.code, line_of(outcome)) == (
        3, f"UNKNOWN - the age of the report is not known: its name tells no date; keep the name that the server gave it | time=T size={SIZE}B working=1")  # fmt: skip


def test_a_lost_key_outranks_an_old_report(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_bytes(small(reports.NOT_FOUND))
    os.utime(tmp_path / "x.xml", (time.time() - 40 * 3600,) * 2)
    outcome = run_check("kodeks_xml", "--file", str(tmp_path / "x.xml"), "-w", ":26")
    assert (outcome.code, line_of(outcome)) == (
        2, f"CRITICAL - {NOT_FOUND} (element binding of the report); the report is 40.0 hours old, outside the range 26: check that its upload or export still runs "
        f"| age=40;26 time=T size={SIZE}B working=0")  # fmt: skip


def test_the_age_in_a_zip_comes_from_the_member(tmp_path: Path) -> None:
    made = datetime.now() - timedelta(hours=30)
    (tmp_path / "x.zip").write_bytes(packed(("sysinfo.xml", GOOD_REPORT), made=made))
    outcome = run_check("kodeks_xml", "--file", str(tmp_path / "x.zip"), "-w", ":26", "-v")
    assert line_of(outcome).startswith("WARNING - the report is 30.0 hours old, outside the range 26: check that its upload or export still runs | age=30")
    assert outcome.text.splitlines()[1:] == [f"report: sysinfo.xml in x.zip, {SIZE} bytes", "age: told by the time of its file"]


# --- The pinned record, -vv -------------------------------------------------------------------------------------------

UNKNOWN_FORM = "<r><m n='1'><SenseLock_state>1</SenseLock_state></m><m><text>SenseLock EliteIV</text></m></r>"
PINS = [
    ("not pinned", [], 3, "UNKNOWN - the state of the SenseLock record is not known: '1' (element SenseLock_state of the report): see -vv; "
     "if it means that the key works, give --record and --working | age=0 time=T size=93B"),
    ("pinned", ["--record", "/r/m/SenseLock_state", "--working", "1"], 0,
     "OK - SenseLock key works (record /r/m/SenseLock_state) | age=0 time=T size=93B working=1"),
    ("attribute", ["--record", "/r/m/@n", "--working", "1"], 0, "OK - SenseLock key works (record /r/m/@n) | age=0 time=T size=93B working=1"),
    ("another value", ["--record", "/r/m/SenseLock_state", "--working", "0"], 2,
     "CRITICAL - server reports: 1: an error that is not documented; look at the license page of the server (record /r/m/SenseLock_state) "
     "| age=0 time=T size=93B working=0"),
    ("no longer there", ["--record", "/r/m[3]/SenseLock_state"], 2,
     "CRITICAL - the report has no record /r/m[3]/SenseLock_state, but SenseLock stands at 2 other places: see -vv, then pin the record anew | age=0 time=T size=93B working=0"),
    ("holds elements", ["--record", "/r/m[2]"], 3,
     "UNKNOWN - the record /r/m[2] holds elements and no text: see -vv, then pin the one with the state | age=0 time=T size=93B"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "line"), [row[1:] for row in PINS], ids=[row[0] for row in PINS])
def test_pins(arguments: list[str], code: int, line: str, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(UNKNOWN_FORM)
    outcome = run_check("kodeks_xml", "--file", str(tmp_path / "x.xml"), *arguments)
    assert (outcome.code, line_of(outcome)) == (code, line)


# A pinned record is judged by all the text in it, that of the elements in it included.
PINNED_TEXTS = [
    ("<s>работает</s>", [], 0, "OK - SenseLock key works (record /r/s)"),
    ("<s><i>не</i> работает</s>", [], 2,
     f"CRITICAL - server reports: не работает: the protection does not work; {CHECK_KEY} (record /r/s)"),
    ("<s>работает<i> с ошибкой, ключ не найден</i></s>", [], 2,
     "CRITICAL - server reports: работает с ошибкой, ключ не найден: an error that is not documented; look at the license page of the server (record /r/s)"),
    ("<s>исправен <b>не</b></s>", ["--working", "исправен"], 2,
     "CRITICAL - server reports: исправен не: an error that is not documented; look at the license page of the server (record /r/s)"),
    ("<s>исправен <b/></s>", ["--working", "исправен"], 0, "OK - SenseLock key works (record /r/s)"),
    ("<s><a><b>не</b></a><c>работает</c></s>", [], 3,
     "UNKNOWN - the record /r/s holds elements and no text: see -vv, then pin the one with the state"),
    ("<s> </s>", [], 3, "UNKNOWN - the pinned record is empty: '' (record /r/s): see -vv, then pin another"),
    (f"<s>работает{'<i/>' * 5000}</s>", [], 0, "OK - SenseLock key works (record /r/s)"),
]  # fmt: skip


@pytest.mark.parametrize(("xml", "arguments", "code", "line"), PINNED_TEXTS, ids=[row[0][:30] for row in PINNED_TEXTS])
def test_texts_of_a_pinned_record(xml: str, arguments: list[str], code: int, line: str, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(f"<r>{xml}</r>")
    outcome = run_check("kodeks_xml", "--file", str(tmp_path / "x.xml"), "--record", "/r/s", *arguments)
    assert (outcome.code, line_of(outcome).partition(" | ")[0]) == (code, line)


def test_the_candidates_of_vv(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(UNKNOWN_FORM)
    outcome = run_check("kodeks_xml", "--file", str(tmp_path / "x.xml"), "-vv")
    assert outcome.text.splitlines()[1:] == [
        "report: x.xml, 93 bytes",
        "age: told by the time of its file",
        "record /r/m/SenseLock_state: not known: 1",
        "mention /r/m[2]/text: not known: SenseLock EliteIV",
    ]


def test_vv_shows_the_records_before_any_number_of_mentions(tmp_path: Path) -> None:
    mentions = "<text>SenseLock EliteIV</text>" * 100
    (tmp_path / "x.xml").write_text(f"<r>{mentions}<a><SenseLock_state>1</SenseLock_state></a>{mentions}<b><SenseLock_state>2</SenseLock_state></b></r>")
    lines = run_check("kodeks_xml", "--file", str(tmp_path / "x.xml"), "-vv").text.splitlines()
    assert lines[3:6] == ["record /r/a/SenseLock_state: not known: 1", "record /r/b/SenseLock_state: not known: 2",
                          "mention /r/text: not known: SenseLock EliteIV"]  # fmt: skip
    assert (len(lines), lines[-1]) == (44, "and 162 more")


# --- Options, secrets, output -----------------------------------------------------------------------------------------

USAGE = [
    ([], "give either -H HOST or --file PATH"),
    (["-H", "a", "--file", "b"], "give either -H HOST or --file PATH"),
    (["--file", "x", "-S"], "-p, -S, -l, --password-file and --source are for a server, not for --file"),
    (["--file", "x", "--source", "zip"], "-p, -S, -l, --password-file and --source are for a server, not for --file"),
    (["-H", "a", "--insecure"], "--insecure without -S"),
    (["-H", "a", "--password-file", "/dev/null"], "a password without -l USER"),
    (["-H", "a", "--source", "page", "-w", "5"], "-w, -c and --record are for a report, not for --source page"),
    (["-H", "a", "--source", "page", "--record", "/a"], "-w, -c and --record are for a report, not for --source page"),
    (["--file", "x", "--working", "1"], "--working is for --record"),
    (["--file", "x", "--record", "/a", "--working", " "], "--working is empty"),
    (["-H", ""], "argument -H/--hostname: '' is no host name or address: it is empty"),
    (["-H", "kodeks.example:8080"], "argument -H/--hostname: 'kodeks.example:8080' is no host name or address; the port goes to -p"),
    (["-H", "a b"], "argument -H/--hostname: 'a b' is no host name or address"),
    (["-H", "a\r\nX-Y: z"], "argument -H/--hostname: 'a X-Y: z' is no host name or address"),
    (["-H", "a", "-p", "0"], "argument -p/--port: '0' is no port; write a number from 1 to 65535"),
    (["-H", "a", "-l", "x:geheim99"], "argument -l/--logname: 'x:...' is no login: it holds a colon; the password goes to --password-file"),
    (["-H", "u:geheim99@127.0.0.1"], "argument -H/--hostname: '...@127.0.0.1' is no host name or address; the user goes to -l, the password to --password-file"),
    (["-H", "http://u:gehe@im99@a:80/"], "argument -H/--hostname: '...@a:80/' is no host name or address; the user goes to -l, the password to --password-file"),
    (["-H", "a", "-l", "u", "--password-file", ""], "--password-file is empty"),
    (["-H", "a", "--password-file", ""], "--password-file is empty"),
    (["-H", "a", "-l", ""], "argument -l/--logname: '' is no login"),
    (["-H", "a", "--unreachable", "ok"], "argument --unreachable: 'ok' is no state; write warning, critical or unknown"),
    (["-H", "a", "--source", "json"], "argument --source: invalid choice: 'json' (choose from 'zip', 'xml', 'page')"),
    (["--file", "x", "--record", "a/b"], "argument --record: 'a/b' is no path; write it as -vv prints it, /a/b[2]/@state"),
    (["--file", "x", "--max-size", "0"], "argument --max-size: '0' is no size; write a number of MB from 1 to 100000"),
]


@pytest.mark.parametrize(("arguments", "sentence"), USAGE, ids=[" ".join(row[0])[:40] or "nothing" for row in USAGE])
def test_usage_errors(arguments: list[str], sentence: str) -> None:
    outcome = run_check("kodeks_xml", *arguments)
    assert (outcome.code, line_of(outcome)) == (3, f"UNKNOWN - {sentence}; check_kodeks_xml --help lists the options")


def test_a_login_without_a_password() -> None:
    outcome = run_check("kodeks_xml", "-H", "kodeks.example", "-l", "x", env={"KODEKS_PASSWORD": ""})
    assert line_of(outcome) == "UNKNOWN - -l without a password: use --password-file, a key password in the ini section, or KODEKS_PASSWORD"


@pytest.mark.parametrize("words", [["-h", "-p", "x"], ["-V", "--extra-opts=@/nonexistent.ini"], ["--no-such-option", "--help"], ["-p", "--version"]], ids=" ".join)
def test_who_asks_for_help_gets_it(words: list[str]) -> None:
    wanted = "-h" if {"-h", "--help"} & set(words) else "-V"
    asked, usual = (run_process(command("kodeks_xml", *arguments)) for arguments in (words, [wanted]))
    assert (asked.code, asked.stdout, asked.stderr) == (3, usual.stdout, b"") and b"check_kodeks_xml" in usual.stdout


def test_a_password_file_with_a_byte_order_mark(tmp_path: Path, kodeks: KodeksServer) -> None:
    kodeks.set(binding=reports.WORKS)
    (tmp_path / "password").write_bytes(b"\xef\xbb\xbf" + PASSWORD.encode() + b"\r\n")
    (tmp_path / "password").chmod(0o600)
    assert ask(kodeks, "--source", "page", "--password-file", str(tmp_path / "password"), env={}).code == 0


def password_file(folder: Path, mode: int) -> list[str]:
    (folder / "password").write_text(PASSWORD + "\r\nsecond line\n")
    (folder / "password").chmod(mode)
    return ["--password-file", str(folder / "password")]


def ini_section(folder: Path, mode: int) -> list[str]:
    (folder / "kodeks.ini").write_text(f"[server]\nlogname = {USER}\npassword = {PASSWORD}\n")
    (folder / "kodeks.ini").chmod(mode)
    return [f"--extra-opts=server@{folder}/kodeks.ini"]


@pytest.mark.parametrize("write", [password_file, ini_section])
def test_where_a_password_may_stand(write: Callable[[Path, int], list[str]], tmp_path: Path, kodeks: KodeksServer) -> None:
    kodeks.set(binding=reports.WORKS)
    none = {"KODEKS_PASSWORD": "wrong"}
    assert ask(kodeks, "--source", "page", *write(tmp_path, 0o640), env=none).code == 0
    refused = ask(kodeks, "--source", "page", *write(tmp_path, 0o644), env=none)
    assert refused.code == 3
    assert "holds a password and is open to all users; run chmod o-rwx on it" in refused.line
    assert PASSWORD not in refused.text


def test_a_server_that_repeats_the_password_does_not_make_us_print_it() -> None:
    code = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    with KodeksServer(binding=f"SenseLock ключ - [no {PASSWORD} {code}]") as server:
        outcome = ask(server, "--source", "page", "-vvv")
        cookie = server.requests[-1].cookies["KodeksData"]
        server.set(binding=f"SenseLock ключ - [no {cookie}]")
        second = ask(server, "--source", "page", "-vvv")
    assert line_of(outcome) == (
        "CRITICAL - server reports: no *** ***: an error that is not documented; look at the license page of the server | time=T working=0")
    for text in (outcome.text, second.text):
        assert PASSWORD not in text and code not in text and cookie not in text


def test_no_password_in_the_process_list_or_in_files(tmp_path: Path) -> None:
    with KodeksServer(faults={"*": Fault.SILENT}) as server:
        arguments = ["-H", server.host, "-p", str(server.port), "-l", USER, "--password-file", str(tmp_path / "password"), "-t", "1"]
        password_file(tmp_path, 0o600)
        child = subprocess.Popen(command("kodeks_xml", *arguments), stdout=subprocess.PIPE, cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)})
        time.sleep(0.4)
        seen = Path(f"/proc/{child.pid}/cmdline").read_bytes()
        child.communicate(timeout=10)
    assert PASSWORD.encode() not in seen and b"check_kodeks_xml" in seen
    assert sorted(path.name for path in tmp_path.iterdir()) == ["password"]


@pytest.mark.parametrize(
    ("env", "shown"),
    [
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, br"\u043d\u0435 \u0440\u0430\u0431\u043e\u0442\u0430\u0435\u0442"),
        ({"PYTHONIOENCODING": "cp1252"}, br"\u043d\u0435 \u0440\u0430\u0431\u043e\u0442\u0430\u0435\u0442"),
        ({"PYTHONIOENCODING": "cp1251"}, "не работает".encode("cp1251")),
        ({"PYTHONIOENCODING": "utf-16"}, "не работает".encode()),
    ],
    ids=["LC_ALL=C", "cp1252", "cp1251", "utf-16"],
)  # fmt: skip
def test_consoles_without_cyrillic(env: dict[str, str], shown: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_bytes(small("SenseLock ключ - [не работает]"))
    outcome = run_check("kodeks_xml", "--file", str(tmp_path / "x.xml"), env=env)
    assert outcome.code == 2
    expected = b"KODEKS_XML CRITICAL - server reports: " + shown + f": the protection does not work; {CHECK_KEY} (element binding".encode()
    assert outcome.stdout.startswith(expected)


def test_a_name_that_is_no_unicode(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/report_\xff_20261123_2008.xml"
    with open(path, "wb") as file:
        file.write(GOOD_REPORT)
    outcome = run_check("kodeks_xml", "--file", os.fsdecode(path))
    assert outcome.code == 0


def peak_of(document: Iterable[bytes], folder: Path) -> tuple[Outcome, int]:
    """A run on a stored report, and the most memory that it held, in KB."""
    (folder / "sitecustomize.py").write_text(
        "import os, re\nusual = os._exit\n"
        "def peak(code):\n"
        f"    status = open('/proc/self/status').read()\n    open({str(folder / 'peak')!r}, 'w').write(re.search(r'VmHWM:\\s+(\\d+)', status)[1])\n"
        "    usual(code)\nos._exit = peak\n"
    )
    with open(folder / "x.xml", "wb") as file:
        file.writelines(document)
    outcome = run_check("kodeks_xml", "--file", str(folder / "x.xml"), "-t", "30", env={"PYTHONPATH": str(folder)})
    return outcome, int((folder / "peak").read_text())


def test_memory_does_not_grow_with_the_report(tmp_path: Path) -> None:
    """The peak of a 40 MB report is that of a small one."""
    runs = [peak_of(reports.report(size=size), tmp_path) for size in (100_000, 40_000_000)]
    assert [outcome.code for outcome, _ in runs] == [0, 0]
    assert runs[1][1] - runs[0][1] < 2000, f"{runs} KB"


RECORD = "<r><SenseLock>работает</SenseLock>".encode()
TOO_LONG = "UNKNOWN - the report has tags or names too long to be one: check what makes or stores it"


@pytest.mark.parametrize(
    ("begin", "pattern", "count", "end"),
    [
        pytest.param(RECORD, b'<a b="' + b"y" * 700_000 + b'">', 60, b"</a>", id="attributes of open elements"),
        pytest.param(RECORD, b'<a b="' + "я".encode() * 340_000 + b'">', 30, b"</a>", id="attributes of two bytes a letter"),
        pytest.param(RECORD, b'<a b="' + b"y" * 20_000 + b'">', 2000, b"</a>", id="many open elements"),
        pytest.param(b"<r>", b"<SenseLock" + b"x" * 2000 + b' a="' + b"y" * 2000 + b'">', 3000, b"</SenseLock" + b"x" * 2000 + b">", id="long names of open elements"),
        pytest.param(RECORD, b"<n%d" + b"x" * 800 + b"/>", 40_000, b"", id="different names"),
        pytest.param(RECORD, b"<n%d" + b"x" * 100_000 + b"/>", 400, b"", id="long different names"),
        pytest.param(RECORD, b"<n n%d" + b"x" * 4000 + b'="1"/>', 10_000, b"", id="different names of attributes"),
    ],
)
def test_memory_is_bounded_by_bytes(begin: bytes, pattern: bytes, count: int, end: bytes, tmp_path: Path) -> None:
    """What a report makes expat and its handlers keep is bounded, however few elements it has."""
    pieces = (pattern.replace(b"%d", b"%d" % number) for number in range(count))
    outcome, peak = peak_of(itertools.chain((begin,), pieces, (end * count, b"</r>")), tmp_path)
    assert (outcome.code, line_of(outcome)) == (3, TOO_LONG)
    assert peak < 40_000, f"{peak} KB"


def test_long_tags_that_are_read(tmp_path: Path) -> None:
    """Where each is forgotten behind it, a report may have tags as long as one may be."""
    tags = (b'<a b="' + "\U0001f600".encode() * 240_000 + b'"/>' for _ in range(20))
    outcome, peak = peak_of(itertools.chain((RECORD,), tags, (b"</r>",)), tmp_path)
    assert (outcome.code, peak < 40_000) == (0, True), f"{outcome.text}, {peak} KB"


# --- Servers with a will of their own ---------------------------------------------------------------------------------


def raw_server(answers: Sequence[bytes]) -> tuple[socket.socket, threading.Thread, list[bytes]]:
    """A server that gives these bytes to one connection after the other and remembers what it was sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    received: list[bytes] = []

    def serve() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                received.append(connection.recv(65536))
                connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener, thread, received


def page_answer(body: bytes, *headers: str) -> bytes:
    """An answer with a page."""
    lines = ["HTTP/1.1 200 OK", "Server: WWW-Kodeks/6.4", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def test_cookies_are_kept_replaced_and_forgotten() -> None:
    again = b"HTTP/1.1 307 x\r\nLocation: /admin/lic\r\n%s\r\n\r\n"
    answers = [
        again % b"Set-Cookie: a=1; path=/\r\nSet-Cookie: b=2",
        again % b"Set-Cookie: a=3; HttpOnly\r\nSet-Cookie: b=; Max-Age=0\r\nSet-Cookie: evil\x01=x",
        page_answer(GOOD.encode()),
    ]
    listener, thread, received = raw_server(answers)
    with listener:
        outcome = run_check("kodeks_xml", "-H", "127.0.0.1", "-p", str(listener.getsockname()[1]), "--source", "page")
        thread.join(5)
    assert outcome.code == 0, outcome.text
    assert [re.findall(rb"Cookie: (.*)\r\n", request) for request in received] == [[], [b"a=1; b=2"], [b"a=3"]]


UNAVAILABLE = [
    ("Server: nginx/1.22", 1, "WARNING - {url}/admin/lic fails with HTTP 503: nginx/1.22 answers, the Kodeks server behind it does not; "
     "check that the server runs, then -p and the firewalls"),
    ("Server: WWW-Kodeks/6.4", 3, "UNKNOWN - the server is in maintenance mode (HTTP 503 from {url}/admin/lic): the state of the key is unknown; "
     "end it there if nobody is updating"),
    ("X-Powered-By: Express", 3, "UNKNOWN - the server is in maintenance mode (HTTP 503 from {url}/admin/lic): the state of the key is unknown; "
     "end it there if nobody is updating"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "code", "line"), UNAVAILABLE, ids=[row[0] for row in UNAVAILABLE])
def test_only_kodeks_is_in_maintenance(header: str, code: int, line: str) -> None:
    listener, thread, _ = raw_server([f"HTTP/1.1 503 x\r\n{header}\r\nContent-Length: 0\r\n\r\n".encode()])
    with listener:
        port = listener.getsockname()[1]
        outcome = run_check("kodeks_xml", "-H", "127.0.0.1", "-p", str(port), "--source", "page", "--unreachable", "warning")
        thread.join(5)
    assert (outcome.code, line_of(outcome)) == (code, line.format(url=f"http://127.0.0.1:{port}"))


def test_a_cookie_that_is_a_word_of_ours() -> None:
    again = b"HTTP/1.1 307 x\r\nLocation: /admin/lic\r\nSet-Cookie: a=SenseLock; path=/\r\n\r\n"
    listener, thread, _ = raw_server([again, page_answer(GOOD.encode())])
    with listener:
        outcome = run_check("kodeks_xml", "-H", "127.0.0.1", "-p", str(listener.getsockname()[1]), "--source", "page")
        thread.join(5)
    assert (outcome.code, line_of(outcome)) == (0, "OK - SenseLock key works (binding of /admin/lic) | time=T working=1")


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (GOOD.encode("cp1251"), ["Content-Type: text/html; charset=windows-1251"], 0),
        (b'<meta charset="windows-1251">' + GOOD.encode("cp1251"), ["Content-Type: text/html"], 0),
        (GOOD.encode("cp1251"), ["Content-Type: text/html; charset=utf-8"], 0),
        (GOOD.encode("cp1251"), [], 0),
        (GOOD.encode("utf-16"), ["Content-Type: text/html"], 0),
        (b"\xef\xbb\xbf<html>" + GOOD.encode(), [], 0),
        (GOOD.encode(), ["Content-Type: text/plain"], 0),
    ],
    ids=["cp1251 by header", "cp1251 by meta", "cp1251, declared UTF-8", "cp1251, not declared", "UTF-16", "UTF-8 with a mark", "text/plain"],
)  # fmt: skip
def test_page_encodings(body: bytes, headers: list[str], code: int) -> None:
    listener, thread, _ = raw_server([page_answer(body, *headers)])
    with listener:
        outcome = run_check("kodeks_xml", "-H", "127.0.0.1", "-p", str(listener.getsockname()[1]), "--source", "page")
        thread.join(5)
    assert outcome.code == code, outcome.text


def test_the_request_is_what_a_browser_would_send() -> None:
    listener, thread, received = raw_server([page_answer(GOOD.encode())])
    with listener:
        port = listener.getsockname()[1]
        run_check("kodeks_xml", "-H", "127.0.0.1", "-p", str(port), "--source", "page", *LOGIN, env=ENV)
        thread.join(5)
    code = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert re.sub(rb"(check_kodeks_xml/)\S+", rb"\1V", received[0]).decode().split("\r\n") == [
        "GET /admin/lic HTTP/1.1", f"Host: 127.0.0.1:{port}", "User-Agent: check_kodeks_xml/V", "Accept: */*", "Accept-Encoding: identity",
        "Connection: close", f"Authorization: Basic {code}", "", ""]  # fmt: skip


def test_the_lab_has_no_fault_that_is_not_tried() -> None:
    tried = {*FAULTS, *REFUSING_FAULTS, *(fault for _, fault, _ in CUT_OR_ENDLESS), Fault.ELSEWHERE, Fault.FORBIDDEN}
    assert set(Fault) - tried == {Fault.ENDLESS_REDIRECT}
    with KodeksServer(faults={PAGE: Fault.ENDLESS_REDIRECT}) as server:
        assert line_of(ask(server, "--source", "page")) == f"UNKNOWN - {server.url} redirects without end: more than 5 times; check -p and -S"
    assert {field.name for field in dataclasses.fields(server.state)} >= {"faults", "page", "binding"}
