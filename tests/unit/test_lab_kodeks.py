"""The lab's Kodeks server and reports are what they claim to be: a check tested against them is tested by them."""

from __future__ import annotations

import base64
import gzip
import http.client
import io
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
from lab import kodeks_server, reports
from lab.certificates import write_authority
from lab.faults import Certificate, Fault, PortState
from lab.kodeks_server import PASSWORD, USER, KodeksServer, Kodweb, LicenseManager, Licenses, Refusal

REPORT = "/sysinfo/si_save_request"
BASIC = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
WRONG = {"Authorization": "Basic " + base64.b64encode(b"smartlogin:wrong").decode()}


class Browser:
    """A client with a cookie jar that follows nothing by itself."""

    def __init__(self, server: KodeksServer, headers: dict[str, str] | None = None) -> None:
        self.server, self.headers, self.cookies = server, headers or {}, dict[str, str]()

    def ask(self, path: str, form: dict[str, str] | None = None) -> tuple[http.client.HTTPResponse, bytes]:
        """One request, a POST where there is a form."""
        connection = http.client.HTTPConnection(self.server.host, self.server.port, timeout=10)
        headers = {**self.headers, "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request("POST" if form else "GET", path, urlencode(form) if form else None, headers)
        response = connection.getresponse()
        body = response.read()
        for cookie in response.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.split(";")[0].partition("=")
            self.cookies[name] = value
        connection.close()
        return response, body

    def arrived(self) -> Browser:
        """The same browser once it has its cookies."""
        assert self.ask("/")[0].status == 307
        return self


def converse(port: int, path: str = "/", patience: float = 0.5, host: str = "127.0.0.1") -> tuple[bytes, str]:
    """Ask once over a bare socket: the bytes that came and how it ended (end, reset, refused, still open)."""
    received, deadline = b"", time.monotonic() + patience
    try:
        with socket.create_connection((host, port), patience) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: kodeks.example\r\nConnection: close\r\n\r\n".encode())
            while len(received) < 3_000_000:
                client.settimeout(max(deadline - time.monotonic(), 0.001))
                piece = client.recv(65536)
                if not piece:
                    return received, "end"
                received += piece
    except ConnectionRefusedError:
        return received, "refused"
    except ConnectionResetError:
        return received, "reset"
    except socket.timeout:
        pass
    return received, "still open"


# --- Cookies and logins -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "form"), [("/", None), ("/admin/lic?a=1", None), (REPORT, {"type": "zip"}), ("/users/login.asp", {"user": "x"})]
)
def test_the_first_request_is_sent_back_to_the_same_url_with_cookies(path: str, form: dict[str, str] | None) -> None:
    with KodeksServer() as server:
        browser = Browser(server, BASIC)
        first, body = browser.ask(path, form)
        assert (first.status, first.headers["Location"], body) == (307, path, b"")
        assert first.headers["Server"] == "WWW-Kodeks/6.4"
        assert first.headers["Date"].endswith(" UTC")
        assert set(browser.cookies) == {"Kodeks", "KodeksData"}
        assert browser.ask(path, form)[0].status == 200
        server.forget_sessions()
        assert browser.ask(path, form)[0].status == 307, "a restarted server knows no cookie"
        del browser.cookies["KodeksData"]
        assert browser.ask(path, form)[0].status == 307, "half a jar is no jar"


LOGINS: list[tuple[str, dict[str, Any], dict[str, str], int, str]] = [
    ("right password", {}, BASIC, 200, "Привязка:"),
    ("no password", {}, {}, 401, "401"),
    ("wrong password", {}, WRONG, 401, "401"),
    ("wrong, shown the form", {"refusal": Refusal.LOGIN_PAGE}, WRONG, 200, 'id="user"'),
    ("wrong, shown the word", {"refusal": Refusal.LOGIN_PAGE}, WRONG, 200, "авторизация"),
    ("wrong, shown an error", {"refusal": Refusal.LOGIN_ERROR}, WRONG, 200, "ошибка авторизации"),
    ("Basic not known", {"basic": False}, BASIC, 401, "401"),
    ("no license", {"licenses": Licenses.TOO_MANY_USERS}, BASIC, 200, "toomanyusers"),
    ("no connection", {"licenses": Licenses.MAXIMUM_REACHED}, BASIC, 200, "максимальное число подключений"),
    ("maintenance", {"kodweb": Kodweb.MAINTENANCE}, BASIC, 503, "обслуживания"),
    ("only the monitor lives", {"kodweb": Kodweb.DOWN}, BASIC, 200, "kodweb is not running"),
]


@pytest.mark.parametrize(("state", "headers", "status", "words"), [row[1:] for row in LOGINS], ids=[row[0] for row in LOGINS])
def test_what_stands_before_the_license_page(state: dict[str, Any], headers: dict[str, str], status: int, words: str) -> None:
    with KodeksServer() as server:
        browser = Browser(server, headers).arrived()
        server.set(**state)
        response, body = browser.ask("/admin/lic")
        assert (response.status, words in body.decode("utf-8")) == (status, True), body
        assert ("Привязка:" in body.decode("utf-8")) == (words == "Привязка:")
        assert (response.headers["Server"] is None) == (server.state.kodweb is Kodweb.DOWN)


FORMS: list[tuple[str, dict[str, Any], dict[str, str], int]] = [
    ("right", {}, {"user": USER, "pass": PASSWORD, "path": "/admin/lic"}, 302),
    ("wrong password", {}, {"user": USER, "pass": "wrong", "path": "/"}, 200),
    ("empty password", {}, {"user": USER, "pass": ""}, 200),
    ("unknown user", {}, {"user": "admin", "pass": PASSWORD}, 200),
    ("the form is off", {"form": False}, {"user": USER, "pass": PASSWORD}, 200),
    ("no license", {"licenses": Licenses.TOO_MANY_USERS}, {"user": USER, "pass": PASSWORD}, 200),
]


@pytest.mark.parametrize(("state", "form", "status"), [row[1:] for row in FORMS], ids=[row[0] for row in FORMS])
def test_the_login_form_gives_its_cookie_to_the_right_password_only(
    state: dict[str, Any], form: dict[str, str], status: int
) -> None:
    with KodeksServer(**state) as server:
        browser = Browser(server).arrived()
        response, _ = browser.ask("/users/login.asp", form)
        assert (response.status, "Auth" in browser.cookies) == (status, status == 302)
        assert browser.ask("/admin/lic")[0].status == (200 if status == 302 else 401)
        if status == 302:
            assert response.headers["Location"] == "/admin/lic"
            assert base64.b64decode(browser.cookies["Auth"]).decode() == f"{USER}:{PASSWORD}"


def test_the_server_remembers_who_sent_a_password() -> None:
    with KodeksServer() as server:
        browser = Browser(server).arrived()
        browser.ask("/users/login.asp", {"user": USER, "pass": PASSWORD, "path": "/"})
        browser.ask("/admin/lic")
        Browser(server, BASIC).arrived()
        assert [request.carries_credentials for request in server.requests] == [False, True, True, True]
        assert server.requests[3].basic == (USER, PASSWORD)
        assert [request.form["user"] for request in server.logins()] == [USER]


@pytest.mark.parametrize(("needed", "status"), [(True, 401), (False, 200)])
def test_whether_the_report_needs_a_login_is_a_choice(needed: bool, status: int) -> None:
    with KodeksServer(report_needs_login=needed) as server:
        assert Browser(server).arrived().ask(REPORT, {"type": "zip"})[0].status == status


# --- Pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("binding", [*reports.GOOD_BINDINGS, *reports.BAD_BINDINGS])
def test_the_license_page_shows_the_binding_line(binding: str) -> None:
    with KodeksServer(binding=binding) as server:
        response, body = Browser(server, BASIC).arrived().ask("/admin/lic")
        line = binding.replace('"', "&quot;")
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert f"</H3></CENTER><BR> Привязка:  {line} <br>\r\n".encode() in body
        assert body.count(b"\n") == body.count(b"\r\n")


def test_metrics_of_the_server_and_of_its_monitor() -> None:
    with KodeksServer(metrics=kodeks_server.METRICS_NO_VOLUME) as server:
        browser = Browser(server, BASIC).arrived()
        lines = browser.ask("/sysinfo/metrics")[1].decode().splitlines()
        assert lines[2] == (
            'kserver_main_page{service="kodweb",path="/docs",status="no required volume DB: 7475.db6, 7476.db6"} 1'
        )
        response, body = browser.ask("/sysmon/metrics")
        assert (response.status, response.headers["Server"], 14_000 < len(body) < 18_000) == (200, None, True)
        assert Browser(server).ask("/sysmon/metrics")[0].status == 401


# --- The report over HTTP ---------------------------------------------------------------------------------------------


def test_the_zip_report_opens_and_parses() -> None:
    with KodeksServer(made=reports.MADE, binding=reports.NOT_FOUND) as server:
        response, body = Browser(server, BASIC).arrived().ask(REPORT, {"type": "zip"})
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == 'attachment; filename="report_000000_20261123_2008.zip"'
    assert response.headers["Transfer-Encoding"] == "chunked"
    archive = zipfile.ZipFile(io.BytesIO(body))
    assert (archive.namelist(), archive.testzip()) == (["report_000000_20261123_2008.xml"], None)
    root = ElementTree.fromstring(archive.read("report_000000_20261123_2008.xml"))
    assert root.findtext("protection/binding") == reports.NOT_FOUND


def test_a_given_report_is_sent_as_it_is(tmp_path: Path) -> None:
    stored = tmp_path / "report.zip"
    stored.write_bytes(b"PK...")
    with KodeksServer(report=stored, report_needs_login=False) as server:
        browser = Browser(server).arrived()
        assert browser.ask(REPORT, {"type": "zip"})[1] == b"PK..."
        server.set(report=b"")
        assert browser.ask(REPORT, {"type": "xml"})[1] == b""


# --- Reports ----------------------------------------------------------------------------------------------------------


def records(document: bytes, path: str) -> list[str]:
    """What stands at a schema's path, read by another parser than the check's."""
    steps = [step for step in path.split("/")[1:] if not step.startswith("@")]
    attribute = path.rpartition("/@")[2] if "/@" in path else ""
    found = ElementTree.fromstring(document).findall("/".join(f"{{*}}{step}" for step in steps))
    return [(element.get(attribute) if attribute else element.text) or "" for element in found]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("binding", [reports.WORKS, reports.NOT_FOUND])
@pytest.mark.parametrize("schema", reports.SCHEMAS)
def test_every_schema_holds_the_record_at_its_path(schema: str, binding: str, encoding: str) -> None:
    document = b"".join(reports.report(schema, size=60_000, bindings=[binding], encoding=encoding))
    assert len(document) == 60_000
    state = reports.subject_and_state(binding)[1]
    assert [text for text in records(document, reports.SCHEMAS[schema].path) if state in text] != []
    empty = b"".join(reports.report(schema, size=60_000, bindings=[], encoding=encoding))
    assert "SenseLock" not in empty.decode(encoding) and binding not in empty.decode(encoding)


def test_a_report_is_deterministic_and_streams_in_constant_memory() -> None:
    assert b"".join(reports.report()) == b"".join(reports.report())
    tracemalloc.start()
    length = sum(map(len, reports.report(size=50_000_000)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (length, peak < 1_000_000) == (50_000_000, True), peak


# --- Faults -----------------------------------------------------------------------------------------------------------

SIZE = len(kodeks_server.MONITOR)
FAULTS: dict[Fault, tuple[bytes, bytes, str]] = {
    Fault.SILENT: (b"", b"", "still open"),
    Fault.EMPTY: (b"", b"", "end"),
    Fault.RESET: (b"HTTP/1.1 200 OK\r\n", b"<!doctype html>", "reset"),
    Fault.GARBAGE: (b"SSH-2.0-", b"", "end"),
    Fault.DRIP_HEADERS: (b"HTT", b"", "still open"),
    Fault.DRIP_BODY: (b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n<!d", "still open"),
    Fault.ENDLESS_BODY: (b"HTTP/1.1 200 OK\r\n", b" " * 60_000, "still open"),
    Fault.LENGTH_TOO_LONG: (b"HTTP/1.1 200 OK\r\n", f"Content-Length: {SIZE + 1000}\r\n".encode(), "end"),
    Fault.LENGTH_TOO_SHORT: (b"HTTP/1.1 200 OK\r\n", f"Content-Length: {SIZE // 2}\r\n".encode(), "end"),
    Fault.CUT_CHUNK: (b"HTTP/1.1 200 OK\r\n", b"\r\n10000\r\n", "end"),
    Fault.BAD_CHUNK: (b"HTTP/1.1 200 OK\r\n", b"\r\nmany\r\n", "end"),
    Fault.NO_LAST_CHUNK: (b"HTTP/1.1 200 OK\r\n", b"</html>\n\r\n", "end"),
    Fault.HUGE_HEADER: (b"HTTP/1.1 200 OK\r\n", b"x" * 1_000_000, "end"),
    Fault.GZIP: (b"HTTP/1.1 200 OK\r\n", b"Content-Encoding: gzip\r\n", "end"),
    Fault.ENDLESS_307: (b"HTTP/1.1 307 ", b"\r\nLocation: /x\r\n", "end"),
    Fault.ENDLESS_REDIRECT: (b"HTTP/1.1 302 ", b"\r\nLocation: /x?hop=1\r\n", "end"),
    Fault.ELSEWHERE: (b"HTTP/1.1 307 ", b"\r\nLocation: http://elsewhere.example/\r\n", "end"),
    Fault.UNAUTHORIZED: (b"HTTP/1.1 401 ", b'\r\nWWW-Authenticate: Basic realm="Kodeks"\r\n', "end"),
    Fault.FORBIDDEN: (b"HTTP/1.1 403 ", b"403", "end"),
    Fault.NOT_FOUND: (b"HTTP/1.1 404 ", b"404", "end"),
    Fault.SERVER_ERROR: (b"HTTP/1.1 500 ", b"500", "end"),
    Fault.UNAVAILABLE: (b"HTTP/1.1 503 ", b"503", "end"),
}


def test_every_fault_has_its_row() -> None:
    assert set(FAULTS) == set(Fault)


@pytest.mark.parametrize(("fault", "start", "within", "ending"), [(fault, *row) for fault, row in FAULTS.items()])
def test_a_fault_looks_like_this_on_the_wire(fault: Fault, start: bytes, within: bytes, ending: str) -> None:
    with KodeksServer(kodweb=Kodweb.DOWN, faults={"*": fault}, pace=0.02) as server:
        received, how = converse(server.port, "/x")
        assert (received[: len(start)], within in received, how) == (start, True, ending), received[:300]
        server.set(faults={})
        assert converse(server.port, "/x")[0].endswith(kodeks_server.MONITOR), "the server recovers"


def test_a_faulty_page_is_reached_before_it_fails() -> None:
    with KodeksServer(faults={"/admin/lic": Fault.SERVER_ERROR, f"POST {REPORT}": Fault.GZIP}) as server:
        assert Browser(server).arrived().ask("/admin/lic")[0].status == 401
        browser = Browser(server, BASIC).arrived()
        assert browser.ask("/admin/lic")[0].status == 500
        assert browser.ask(REPORT)[0].headers["Content-Encoding"] is None
        assert gzip.decompress(browser.ask(REPORT, {"type": "zip"})[1])[:2] == b"PK"


# --- TLS, IPv6, ports -------------------------------------------------------------------------------------------------

# Verification results of OpenSSL (x509_vfy.h): 10 expired, 18 self-signed, 64 address mismatch; 0 is all right.
CERTIFICATES = {Certificate.TRUSTED: 0, Certificate.EXPIRED: 10, Certificate.SELF_SIGNED: 18, Certificate.WRONG_NAME: 64}


@pytest.mark.parametrize(("certificate", "code"), CERTIFICATES.items())
def test_certificates_fail_for_the_reason_in_their_name(certificate: Certificate, code: int, tmp_path: Path) -> None:
    context = ssl.create_default_context(cafile=write_authority(tmp_path / "authority.pem"))
    found = 0
    with KodeksServer(certificate=certificate) as server:
        assert server.url == f"https://127.0.0.1:{server.port}"
        client = http.client.HTTPSConnection(server.host, server.port, timeout=5, context=context)
        try:
            client.request("GET", "/")
            assert client.getresponse().status == 307
        except ssl.SSLCertVerificationError as error:
            found = error.verify_code
        client.close()
    assert found == code


def test_a_port_changes_its_mind_and_keeps_its_number() -> None:
    with KodeksServer(port=PortState.REFUSED) as server:
        seen = []
        for state in (PortState.REFUSED, PortState.OPEN, PortState.FILTERED, PortState.OPEN, PortState.REFUSED):
            server.set(port=state)
            seen.append(converse(server.port)[1])
    assert seen == ["refused", "end", "still open", "end", "refused"]
    assert converse(server.port)[1] == "refused", "nothing is left behind"


@pytest.mark.parametrize("state", PortState)
def test_a_license_manager_is_a_port_and_no_more(state: PortState) -> None:
    with LicenseManager(state) as manager:
        host, _, port = manager.address.partition(":")
        try:
            with socket.create_connection((host, int(port)), 0.3) as client:
                client.settimeout(0.1)
                with pytest.raises(socket.timeout):
                    client.recv(1)
                found = PortState.OPEN
        except ConnectionRefusedError:
            found = PortState.REFUSED
        except socket.timeout:
            found = PortState.FILTERED
    assert found is state


def test_ending_the_server_ends_every_connection_and_thread() -> None:
    before = {*threading.enumerate()}  # one of an earlier test may be ending
    with KodeksServer(faults={"*": Fault.SILENT}) as server:
        clients = [socket.create_connection((server.host, server.port), 5) for _ in range(5)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert {*threading.enumerate()} - before == set()
    for client in clients:
        with client, suppress(ConnectionResetError):
            assert client.recv(1) == b""


# --- State files and the command line ---------------------------------------------------------------------------------


def test_a_state_file_says_what_keywords_say() -> None:
    facts = {
        "binding": reports.NOT_FOUND,
        "kodweb": "maintenance",
        "licenses": "toomanyusers",
        "refusal": "login page",
        "certificate": "wrong name",
        "port": "filtered",
        "made": "2026-11-23T20:08",
        "report": "/tmp/report.zip",
        "faults": {"*": "drip body"},
    }
    assert kodeks_server.ServerState.from_json(facts) == kodeks_server.ServerState(
        binding=reports.NOT_FOUND,
        kodweb=Kodweb.MAINTENANCE,
        licenses=Licenses.TOO_MANY_USERS,
        refusal=Refusal.LOGIN_PAGE,
        certificate=Certificate.WRONG_NAME,
        port=PortState.FILTERED,
        made=datetime(2026, 11, 23, 20, 8),
        report=Path("/tmp/report.zip"),
        faults={"*": Fault.DRIP_BODY},
    )


@pytest.mark.parametrize(
    "facts", [{"bnding": "x"}, {"kodweb": "dead"}, {"faults": {"/": "rude"}}, {"faults": []}, {"made": "today"}, {"report": 5}]
)
def test_a_state_file_with_a_mistake_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        kodeks_server.ServerState.from_json(facts)


def test_by_hand_the_server_plays_scene_by_scene(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text(json.dumps({"users": {"u": "p"}}), "utf-8")
    command = [sys.executable, kodeks_server.__file__, "--state", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout and process.stderr
        word, host, port = process.stdout.readline().split()
        assert (word, converse(int(port))[0][:12]) == ("LISTENING", b"HTTP/1.1 307")
        state.write_text("{", "utf-8")
        assert str(state) in process.stderr.readline()
        state.write_text(json.dumps({"kodweb": "down", "license_manager": "refused"}), "utf-8")
        assert process.stdout.readline() == "STATE\n"
        assert converse(int(port))[0].endswith(kodeks_server.MONITOR)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    assert converse(int(port), host=host)[1] == "refused"
