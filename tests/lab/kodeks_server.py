#!/usr/bin/env python3
"""A Kodeks server on loopback, as field captures show it over HTTP, and a license manager's port beside it.

In a test:

    with KodeksServer(binding=reports.NOT_FOUND) as server:
        run_check("kodeks_xml", "-H", server.host, "-p", str(server.port), ...)
        server.set(binding=reports.WORKS)

By hand or for a demonstration that is played scene by scene, with the state read again whenever the file changes:

    echo '{"binding": "SenseLock ключ -  [работает]"}' > state.json
    python3 tests/lab/kodeks_server.py --port 8080 --license-manager 8888 --state state.json

The keys of the file are the fields of `ServerState`, and `license_manager` (open, refused, filtered). It prints
`LISTENING HOST PORT` once it accepts connections and `STATE` whenever a changed file has taken effect; a file that
cannot be used changes nothing and is named on stderr. SIGTERM and SIGINT end it.

From field captures and the manual: the 307 that sets cookies, Basic and form login, the words of a failed login, the
licence page's line, the headers of the report, the metrics. Invented, for want of a source: everything else on the
pages, the names in /sysmon/metrics, what a successful form login answers, the inside of the report.
"""

from __future__ import annotations

import argparse
import base64
import html
import http.client
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from enum import Enum
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import reports
from lab.faults import HTML, Certificate, Connection, Fault, Headers, Port, PortState, Reply, deliver, distorted

USER, PASSWORD = "smartlogin", "invented-Пароль:1"
"""The one account of a server that was given none; the password holds what clients get wrong: Cyrillic and a colon."""


# --- The state --------------------------------------------------------------------------------------------------------


class Kodweb(str, Enum):
    """The server program behind the Node monitor that takes every request first."""

    RUNNING = "running"
    MAINTENANCE = "maintenance"  # 503
    DOWN = "down"  # the monitor answers in its place, with status 200
    ABSENT = "absent"  # the same with status 404


class Refusal(str, Enum):
    """How a page that needs a login meets a request without one, or with a wrong one."""

    CHALLENGE = "challenge"  # 401
    LOGIN_PAGE = "login page"  # status 200: the form, which has id="user" and the word авторизация
    LOGIN_ERROR = "login error"  # status 200: "ошибка авторизации"


class Licenses(str, Enum):
    """Whether a user who may log in still finds a free license."""

    FREE = "free"
    TOO_MANY_USERS = "toomanyusers"
    MAXIMUM_REACHED = "максимальное число подключений"


METRICS = (
    "# Sysinfo metrics\n# Path /docs\n"
    'kserver_main_page{service="kodweb",path="/docs"} 0\n'
    'kserver_product_control{service="kodweb",path="/docs"} 0\n'
    "# End\n"
)
METRICS_NO_VOLUME = METRICS.replace('path="/docs"} 0', 'path="/docs",status="no required volume DB: 7475.db6, 7476.db6"} 1', 1)


@dataclass(frozen=True)
class ServerState:
    """Everything a test can say about a server.

    binding             the text after "Привязка:" on the licence page and in the report (plain text)
    page                the whole licence page instead (HTML)
    kodweb, refusal, licenses   see their classes
    basic, form         which of the two logins the server knows
    users               login -> password
    report_needs_login  whether the report asks for a login as /admin does
    report_schema, report_size, report_place, report_encoding   see reports.report()
    report_bindings     the records of the report where they are not just `binding`; () for none
    report              the bytes sent as the report instead, or the path of a file of them
    report_delay        seconds the server takes to make a report
    made                when the report was made (server's local time); None: now
    clock_offset        seconds by which the server's clock is ahead
    metrics             the text of /sysinfo/metrics
    faults              "/path" -> the page goes wrong, once cookies and login are in order; "POST /path" -> only then;
                        "*" -> everything goes wrong from the first byte
    pace                seconds between two dripped bytes
    elsewhere           where Fault.ELSEWHERE leads
    certificate         what is shown to TLS clients; NONE is plain HTTP
    port                open, refused or filtered
    """

    binding: str = reports.WORKS
    page: str | None = None
    kodweb: Kodweb = Kodweb.RUNNING
    refusal: Refusal = Refusal.CHALLENGE
    licenses: Licenses = Licenses.FREE
    basic: bool = True
    form: bool = True
    users: Mapping[str, str] = field(default_factory=lambda: {USER: PASSWORD})
    report_needs_login: bool = True
    report_schema: str = "text"
    report_size: int = 200_000
    report_place: str = "middle"
    report_encoding: str = "utf-8"
    report_bindings: Sequence[str] | None = None
    report: bytes | Path | None = None
    report_delay: float = 0.0
    made: datetime | None = None
    clock_offset: float = 0.0
    metrics: str = METRICS
    faults: Mapping[str, Fault] = field(default_factory=dict)
    pace: float = 1.0
    elsewhere: str = "http://elsewhere.example/"
    certificate: Certificate = Certificate.NONE
    port: PortState = PortState.OPEN

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> ServerState:
        """Read a state file's object; ValueError for a name or a value that does not exist."""
        unknown = set(facts) - {known.name for known in fields(cls)}
        if unknown:
            raise ValueError(f"unknown names {sorted(unknown)}")
        readers: dict[str, Callable[[Any], Any]] = {
            "kodweb": Kodweb,
            "refusal": Refusal,
            "licenses": Licenses,
            "certificate": Certificate,
            "port": PortState,
            "page": str,
            "report": Path,
            "report_bindings": list,
            "made": datetime.fromisoformat,
            "faults": lambda faults: {path: Fault(name) for path, name in faults.items()},
        }
        try:
            read = {
                name: readers.get(name, type(getattr(cls(), name)))(value) for name, value in facts.items() if value is not None
            }
        except (AttributeError, TypeError) as error:
            raise ValueError(str(error)) from error
        return cls(**read)


# --- The request ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """One request as the server received it."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""

    @property
    def path(self) -> str:
        """The target without its query."""
        return unquote(urlsplit(self.target).path)

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form, empty ones included."""
        return {name: values[0] for name, values in parse_qs(self.body.decode("utf-8", "replace"), True).items()}

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies the client sent back."""
        try:
            return {name: morsel.value for name, morsel in SimpleCookie(self.header("Cookie")).items()}
        except CookieError:
            return {}

    @property
    def basic(self) -> tuple[str, str] | None:
        """Login and password of an Authorization header."""
        scheme, _, code = self.header("Authorization").partition(" ")
        return _login_and_password(code) if scheme.lower() == "basic" else None

    @property
    def carries_credentials(self) -> bool:
        """Whether a password came with the request: in a header, a cookie or a form."""
        return self.basic is not None or "Auth" in self.cookies or "pass" in self.form

    def header(self, name: str) -> str:
        """The first header of that name, "" where there is none."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), "")


def read_request(connection: Connection) -> Request | None:
    """Read the next request; None when the client has no more, ValueError for what is not HTTP/1."""
    line = connection.reader.readline(65537)
    if not line.strip():
        return None
    words = line.decode("latin-1").split()
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise ValueError(f"not a request line: {line[:100]!r}")
    try:
        headers = http.client.parse_headers(connection.reader)
    except http.client.HTTPException as error:
        raise ValueError(str(error)) from error
    body = connection.reader.read(max(int(headers.get("Content-Length") or 0), 0))
    return Request(words[0], words[1], tuple(headers.items()), body)


def _login_and_password(code: str) -> tuple[str, str] | None:
    """What Basic authentication and the cookie `Auth` hold: base64(login:password)."""
    try:
        login, colon, password = base64.b64decode(code, validate=True).decode("utf-8").partition(":")
    except ValueError:
        return None
    return (login, password) if colon else None


# --- The pages --------------------------------------------------------------------------------------------------------


def html_page(title: str, body: str) -> bytes:
    """A page in the server's hand: UTF-8, CRLF, upper-case HTML."""
    text = f"<HTML>\n<HEAD><TITLE>{title}</TITLE></HEAD>\n<BODY>\n{body}\n</BODY>\n</HTML>\n"
    return text.replace("\n", "\r\n").encode("utf-8")


def license_page(binding: str) -> bytes:
    """/admin/lic: the binding line between two marks that field captures agree on."""
    line = f"</H3></CENTER><BR> Привязка:  {html.escape(binding)} <br>"
    products = "<TABLE><TR><TD>Банк документов</TD><TD>лицензия действует до 31.12.2027</TD></TR></TABLE>"
    return html_page("Лицензия", f"<CENTER><H3>Регистрационный номер &quot;00_000000&quot;&nbsp;\n{line}\n{products}")


LOGIN_FORM = html_page(
    "Вход",
    '<FORM ACTION="/users/login.asp" METHOD="POST"><H3>Авторизация</H3>\n<P>Требуется авторизация</P>\n'
    '<INPUT id="user" NAME="user"><INPUT TYPE="PASSWORD" NAME="pass"><INPUT TYPE="HIDDEN" NAME="path"></FORM>',
)
LOGIN_ERROR = html_page("Вход", "<P>Ошибка авторизации (ошибка авторизации)</P>")
MAINTENANCE = html_page("Режим обслуживания", "<P>Сервер находится в режиме обслуживания</P>")
MONITOR = b"<!doctype html><html><head><title>System monitor</title></head><body>kodweb is not running</body></html>\n"
SYSMON_METRICS = "".join(
    f'sysmon_invented_{number:03d}{{host="kodeks.example",service="kodweb"}} {number % 7}\n' for number in range(270)
)


def licenses_page(licenses: Licenses) -> bytes:
    """What a user sees for whom no license is left."""
    if licenses is Licenses.TOO_MANY_USERS:
        return html_page("Вход", '<SCRIPT>location.replace("/users/toomanyusers.asp")</SCRIPT>')
    return html_page("Вход", "<P>Достигнуто максимальное число подключений</P>")


# --- One visit --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Visit:
    """The way of one request through the server: obstacles first, then the page it asks for.

    `sessions` are the session cookies the server has given out; the visit may add one.
    """

    state: ServerState
    request: Request
    sessions: set[str]

    def obstacle(self) -> Reply | None:
        """The answer of whatever stands before the page: monitor, maintenance, cookies, login, licenses."""
        if self.request.method not in ("GET", "POST"):
            return self._html(405, html_page("405", "405"))
        if self.request.path.startswith("/sysmon"):
            return None if self._user() else self._node(401, b"", ("WWW-Authenticate", 'Basic realm="sysmon"'))
        if self.state.kodweb is Kodweb.DOWN:
            return self._node(200, MONITOR)
        if self.state.kodweb is Kodweb.ABSENT:
            return self._node(404, f"Cannot {self.request.method} {self.request.path}".encode(), HTML)
        if self.state.kodweb is Kodweb.MAINTENANCE:
            return self._html(503, MAINTENANCE)
        if self.request.cookies.get("Kodeks") not in self.sessions or "KodeksData" not in self.request.cookies:
            return self._same_url_with_cookies()
        if self._needs_login() and not self._user():
            return self._refusal()
        if self._needs_login() and self.state.licenses is not Licenses.FREE:
            return self._html(200, licenses_page(self.state.licenses))
        return None

    def page(self) -> Reply:
        """The page, for a visitor whom nothing stopped."""
        pages: dict[str, Callable[[], Reply]] = {
            "/": lambda: self._html(200, html_page("Техэксперт", "<P>Техэксперт</P>")),
            "/docs": lambda: self._html(200, html_page("Техэксперт", "<P>Документы</P>")),
            "/admin": lambda: self._html(200, html_page("Администрирование", '<A HREF="/admin/lic">Лицензия</A>')),
            "/admin/lic": self._license_page,
            "/users/login.asp": self._login,
            "/sysinfo/si_save_request": self._report,
            "/sysinfo/metrics": lambda: self._text(self.state.metrics),
            "/sysmon/metrics": lambda: self._node(200, SYSMON_METRICS.encode(), ("Content-Type", "text/plain")),
        }
        if self.request.path.startswith("/sysmon/") and self.request.path not in pages:
            return self._node(200, MONITOR)
        return pages.get(self.request.path, lambda: self._html(404, html_page("404", "404")))()

    # Cookies and login

    def _same_url_with_cookies(self) -> Reply:
        session = f"{len(self.sessions) + 1:08x}"
        self.sessions.add(session)
        cookies = (("Set-Cookie", f"Kodeks={session}; path=/"), ("Set-Cookie", "KodeksData=invented; path=/"))
        return Reply(307, (*self._kodeks_headers(), ("Location", self.request.target), *cookies))

    def _needs_login(self) -> bool:
        path = self.request.path
        if path.startswith("/sysinfo/si_save_request"):
            return self.state.report_needs_login
        return path.startswith(("/admin", "/sysinfo"))

    def _user(self) -> str | None:
        """Who asks, when the login and the password are right."""
        by_header = self.request.basic if self.state.basic else None
        by_cookie = _login_and_password(self.request.cookies.get("Auth", "")) if self.state.form else None
        for login, password in filter(None, (by_header, by_cookie)):
            if self.state.users.get(login) == password:
                return login
        return None

    def _refusal(self) -> Reply:
        if self.state.refusal is Refusal.CHALLENGE:
            challenge = ("WWW-Authenticate", 'Basic realm="Kodeks"')
            return Reply(401, (*self._kodeks_headers(), challenge, HTML), [html_page("401", "401")])
        return self._html(200, LOGIN_FORM if self.state.refusal is Refusal.LOGIN_PAGE else LOGIN_ERROR)

    def _login(self) -> Reply:
        """The login form: the form itself, a wrong password, no license left, or a cookie and the way to `path`."""
        if self.request.method == "GET":
            return self._html(200, LOGIN_FORM)
        given = self.request.form
        login, password = given.get("user", ""), given.get("pass", "")
        if not self.state.form or self.state.users.get(login) != password:
            return self._html(200, LOGIN_ERROR if self.state.refusal is Refusal.LOGIN_ERROR else LOGIN_FORM)
        if self.state.licenses is not Licenses.FREE:
            return self._html(200, licenses_page(self.state.licenses))
        code = base64.b64encode(f"{login}:{password}".encode()).decode()
        location = ("Location", given.get("path") or "/docs")
        return Reply(302, (*self._kodeks_headers(), location, ("Set-Cookie", f"Auth={code}; path=/")))

    # Pages

    def _license_page(self) -> Reply:
        whole = self.state.page
        return self._html(200, license_page(self.state.binding) if whole is None else whole.encode("utf-8"))

    def _report(self) -> Reply:
        """The sysinfo report in the form that field `type` asks for, made while the client waits."""
        wanted = self.request.form.get("type")
        if self.request.method != "POST" or wanted not in ("zip", "xml"):
            return self._html(200, html_page("Сведения о системе", '<FORM METHOD="POST"><INPUT NAME="type"></FORM>'))
        made = self.state.made or datetime.now() + timedelta(seconds=self.state.clock_offset)
        if wanted == "xml":
            media = ("Content-Type", f"text/xml; charset={self.state.report_encoding}")
            return Reply(200, (*self._kodeks_headers(), media), self._report_xml(made), True, self.state.report_delay)
        name = reports.report_name(made, "zip")
        attachment = ("Content-Disposition", f'attachment; filename="{name}"')
        media = ("Content-Type", "application/octet-stream")
        archive = pieces(self._report_zip(made))
        return Reply(200, (*self._kodeks_headers(), media, attachment), archive, True, self.state.report_delay)

    def _report_xml(self, made: datetime) -> Iterable[bytes]:
        state = self.state
        if state.report is not None:
            return pieces(self._given_report(state.report))
        bindings = (state.binding,) if state.report_bindings is None else state.report_bindings
        return reports.report(
            state.report_schema,
            size=state.report_size,
            place=state.report_place,
            bindings=bindings,
            encoding=state.report_encoding,
            made=made,
        )

    def _report_zip(self, made: datetime) -> bytes:
        if self.state.report is not None:
            return self._given_report(self.state.report)
        return reports.zip_report(self._report_xml(made), made=made)

    def _given_report(self, given: bytes | Path) -> bytes:
        return given if isinstance(given, bytes) else given.read_bytes()

    # Replies

    def _kodeks_headers(self) -> Headers:
        now = datetime.now(timezone.utc) + timedelta(seconds=self.state.clock_offset)
        return (("Server", "WWW-Kodeks/6.4"), ("Date", format_datetime(now, usegmt=True).replace("GMT", "UTC")))

    def _html(self, status: int, body: bytes) -> Reply:
        return Reply(status, (*self._kodeks_headers(), HTML), [body])

    def _text(self, text: str) -> Reply:
        return Reply(200, (*self._kodeks_headers(), ("Content-Type", "text/plain; charset=utf-8")), [text.encode()])

    def _node(self, status: int, body: bytes, *headers: tuple[str, str]) -> Reply:
        """An answer of the monitor in front of the server, which does not call itself WWW-Kodeks."""
        return Reply(status, (("X-Powered-By", "Express"), *headers), [body])


def pieces(data: bytes, size: int = 16_384) -> Iterable[bytes]:
    """`data` in pieces, as a server sends it that copies from a buffer."""
    return (data[start : start + size] for start in range(0, len(data), size))


# --- The server -------------------------------------------------------------------------------------------------------


class KodeksServer:
    """A Kodeks server on a loopback port, from `with` to the end of its block.

    `changes` are fields of ServerState; `set()` changes them while it runs. `requests` lists what has been received,
    in order. `host` "::1" makes an IPv6 server.
    """

    def __init__(self, state: ServerState | None = None, host: str = "127.0.0.1", number: int = 0, **changes: Any) -> None:
        self.state = replace(state or ServerState(), **changes)
        self.requests: list[Request] = []
        self._sessions: set[str] = set()
        self._lock = threading.Lock()
        self._port = Port(self._serve, host, number)

    def __enter__(self) -> KodeksServer:
        self._port.become(self.state.port)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._port.shut()

    @property
    def host(self) -> str:
        """The address it listens on."""
        return self._port.host

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return self._port.number

    @property
    def url(self) -> str:
        """The root of the server, without a slash at the end."""
        scheme = "http" if self.state.certificate is Certificate.NONE else "https"
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def set(self, state: ServerState | None = None, **changes: Any) -> None:
        """Change the state; requests that arrive from now on meet the new one."""
        self.state = replace(state or self.state, **changes)
        self._port.become(self.state.port)

    def forget_sessions(self) -> None:
        """Do what a restart does: no cookie is known any more."""
        self._sessions.clear()

    def logins(self) -> list[Request]:
        """The requests that used the login form."""
        return [request for request in self.requests if request.path == "/users/login.asp"]

    # One connection

    def _serve(self, connection: Connection) -> None:
        state = self.state
        if state.faults.get("*") is Fault.SILENT:
            connection.pause()  # before TLS, before the request is read
        if state.certificate is not Certificate.NONE:
            from lab.certificates import server_context  # plain HTTP works without the package this needs

            connection.secure(server_context(state.certificate))
        while self._serve_one(connection):
            pass

    def _serve_one(self, connection: Connection) -> bool:
        try:
            request = read_request(connection)
        except ValueError:
            deliver(connection, Reply(400))
            return False
        if request is None:
            return False
        with self._lock:
            self.requests.append(request)
        state = self.state
        fault = state.faults.get("*")
        visit = Visit(state, request, self._sessions)
        reply = visit.obstacle()
        if reply is None:
            reply = visit.page()
            fault = fault or state.faults.get(f"{request.method} {request.path}") or state.faults.get(request.path)
        if fault:
            reply = distorted(reply, fault, request.target, state.elsewhere)
        return deliver(connection, reply, fault, state.pace) and request.header("Connection").lower() != "close"


# --- The license manager ----------------------------------------------------------------------------------------------


class LicenseManager:
    """The TCP port of a license manager (8888 in the field): open, refused or filtered, and it never says a word.

    Its protocol is not public, so nothing here pretends to speak it: a probe can learn that the port opens, no more.
    """

    def __init__(self, state: PortState = PortState.OPEN, host: str = "127.0.0.1", number: int = 0) -> None:
        self._first = state
        self._port = Port(lambda connection: connection.pause(), host, number)

    def __enter__(self) -> LicenseManager:
        self._port.become(self._first)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._port.shut()

    @property
    def address(self) -> str:
        """HOST:PORT as a binding text names it."""
        return f"{self._port.host}:{self._port.number}"

    @property
    def port(self) -> int:
        """The TCP port."""
        return self._port.number

    def set(self, state: PortState) -> None:
        """Meet the next client in this way."""
        self._port.become(state)


# --- By hand ----------------------------------------------------------------------------------------------------------


def read_state(path: Path | None) -> tuple[ServerState, PortState]:
    """The states of the server and of the license manager; OSError or ValueError for a file that cannot be used."""
    facts = json.loads(path.read_text("utf-8")) if path else {}
    if not isinstance(facts, dict):
        raise ValueError("not a JSON object")
    manager = PortState(facts.pop("license_manager", PortState.OPEN))
    return ServerState.from_json(facts), manager


def play(server: KodeksServer, manager: LicenseManager, path: Path | None, seen: bytes, ended: threading.Event) -> None:
    """Follow the state file, whose content at the start was `seen`, until `ended`."""
    while not ended.wait(0.2):
        if not path or not path.exists() or path.read_bytes() == seen:
            continue
        seen = path.read_bytes()
        try:
            state, port = read_state(path)
        except (OSError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr, flush=True)
            continue
        server.set(state)
        manager.set(port)
        print("STATE", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server in the foreground until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description="A Kodeks server on loopback for tests and demonstrations.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="TCP port (default: the kernel chooses)")
    parser.add_argument("--license-manager", type=int, default=0, metavar="PORT", help="TCP port of the license manager")
    parser.add_argument("--state", type=Path, help="JSON file with fields of ServerState, read again when it changes")
    options = parser.parse_args(arguments)
    seen = options.state.read_bytes() if options.state and options.state.exists() else b""
    try:
        state, port = read_state(options.state)
    except (OSError, ValueError) as error:
        parser.error(f"{options.state}: {error}")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with (
        KodeksServer(state, options.host, options.port) as server,
        LicenseManager(port, options.host, options.license_manager) as manager,
    ):
        print(f"LISTENING {server.host} {server.port}", flush=True)
        play(server, manager, options.state, seen, ended)
    return 0


if __name__ == "__main__":
    sys.exit(main())
