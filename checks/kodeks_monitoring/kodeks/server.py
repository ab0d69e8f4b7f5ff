"""A Kodeks server as a client of HTTP sees it: cookies, redirects, the login, refusals.

Sources: the login pages, the 307 that sets cookies, the refusals and the Node monitor that answers in front of
Kodeks are field captures of 65 to 90 installations; the rest is RFC 9110. A run is one session with one login,
and cookies and login go to nobody else.
"""

from __future__ import annotations

import http.client
import re
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode, urljoin, urlsplit

from .. import __version__
from ..contract import deadline
from ..contract.verdict import Problem, clean, keep_secret
from ..machine import tcp
from .page import decode_page, refusal_on

if TYPE_CHECKING:
    import socket
    from typing import Iterator

LOGIN_PAGE = "/users/login.asp"
MAX_PAGE = 2 << 20
MAX_REDIRECTS = 5
CHECK_SERVER = "check that the server runs, then -p and the firewalls"
CHECK_WAY = "look at the server, and at what stands in between"

CERTIFICATE_FAULTS = {
    10: "it has expired", 18: "it is self-signed", 19: "its authority is self-signed and not known here",
    20: "its authority is not known here", 62: "it is not for this name", 64: "it is not for this address",
}  # fmt: skip
TLS_REFUSALS = (
    # a part of OpenSSL's name of the alert; the remedy
    ("UNRECOGNIZED_NAME", "it does not know this name: give -H the name for which it is set up"),
    ("VERSION", "it wants another version of TLS: enable TLS 1.2 or newer there"),
    ("CERT", "it wants a client certificate, which this check does not have: let this machine in without one"),
    ("UNKNOWN_CA", "it wants a client certificate, which this check does not have: let this machine in without one"),
    ("", "look there whether it wants a client certificate, another version of TLS or other ciphers"),
)


class Unreachable(Exception):
    """The server cannot be reached or does not answer as itself.

    `late`: because the time was over. `why` there is no connection in a few words, "" if there was one.
    """

    def __init__(self, sentence: str, late: bool = False, why: str = "") -> None:
        super().__init__(sentence)
        self.late, self.why = late, why


# --- The connection ---------------------------------------------------------------------------------


def connected(host: str, port: int, seconds: float) -> socket.socket:
    """A TCP connection within some seconds."""
    deadline.doing(f"connecting to {host} port {port}")
    try:
        return tcp.connect(host, port, time.monotonic() + seconds)
    except tcp.NoConnection as error:
        sentence = f"no connection to {host} port {port}: {error}; {CHECK_SERVER}"
        if error.unresolved:
            how = "was not resolved in time" if error.late else "cannot be resolved"
            sentence = f"the name {host} {how}: {error}; check -H and the name servers"
        raise Unreachable(sentence, error.late, str(error)) from None


def secured(raw: socket.socket, host: str, insecure: bool) -> socket.socket:
    """The connection with TLS on it. The certificate is verified unless the operator chose not to."""
    import ssl

    deadline.doing(f"agreeing on TLS with {host}")
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    raw.settimeout(deadline.remaining())
    try:
        return context.wrap_socket(raw, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        why = CERTIFICATE_FAULTS.get(error.verify_code, clean(error.verify_message, 100))
        what = f"the TLS certificate of {host} is not accepted: {why}"
        raise Unreachable(f"{what}; --insecure would not verify it") from None
    except OSError as error:
        raise Unreachable(f"no TLS connection to {host}: {_tls_fault(error)}", tcp.is_late(error)) from None


def _tls_fault(error: OSError) -> str:
    """Why there is no TLS: the peer refuses with an alert (RFC 8446, 6), or speaks something else."""
    reason = str(getattr(error, "reason", None) or "")
    if "ALERT" in reason or reason.startswith("TLSV1") or reason == "UNSUPPORTED_PROTOCOL":
        remedy = next(remedy for part, remedy in TLS_REFUSALS if part in reason.replace("PROTOCOL", "VERSION"))
        return f"the server speaks TLS and refuses ({clean(reason, 60)}): {remedy}"
    return f"{clean(reason, 60)}; check whether the port speaks HTTPS" if reason else tcp.why_of(error)


# --- An answer --------------------------------------------------------------------------------------


class Answer:
    """An HTTP answer: its status and headers, and its body as it comes."""

    def __init__(self, response: http.client.HTTPResponse, opened: socket.socket, url: str) -> None:
        self.url, self.status, self._response, self._socket = url, response.status, response, opened
        self._page: str | None = None
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            what = f"{url} sends a compressed body, which was not asked for"
            raise Problem(f"{what}: switch that off in the proxy before the server")

    def header(self, name: str) -> str:
        """The first header of this name, "" if there is none."""
        return str(self._response.headers.get(name, ""))

    def cookies(self) -> list[str]:
        """What the server asks to send back, `name=value` each."""
        return [str(line).partition(";")[0].strip() for line in self._response.headers.get_all("set-cookie", [])]

    def pieces(self) -> Iterator[bytes]:
        """The body. One that ends before its announced end is Unreachable, never a shorter body."""
        deadline.doing(f"reading {self.url}")
        try:
            self._socket.settimeout(deadline.remaining())
            while piece := self._response.read(65536):
                yield piece
                self._socket.settimeout(deadline.remaining())
        except (OSError, http.client.HTTPException) as error:
            raise broken(self.url, error) from None
        if self._response.length:
            raise Unreachable(f"{self.url} closed the connection in mid-answer; {CHECK_WAY}")

    def text(self) -> str:
        """The whole body as a page, as often as it is asked for."""
        if self._page is None:
            body = bytearray()
            for piece in self.pieces():
                body += piece
                if len(body) > MAX_PAGE:
                    raise Problem(f"{self.url} sends a page of more than {MAX_PAGE >> 20} MB: that is no page of Kodeks")
            self._page = decode_page(bytes(body), self.header("content-type"))
        return self._page

    def is_page(self) -> bool:
        """Whether the body is an HTML page and not a report."""
        return "html" in self.header("content-type").lower() or self._page is not None

    def refusal(self) -> str:
        """Why a page does not show what was asked for: "login", "licenses", "" for neither and for a report."""
        if "toomanyusers" in f"{self.url} {self.header('location')}".lower():
            return "licenses"
        return refusal_on(self.text()) if self.is_page() else ""


def broken(url: str, error: Exception) -> Unreachable:
    """What an answer that did not come whole means."""
    if isinstance(error, OSError) and tcp.is_late(error):
        return Unreachable(f"{url} did not answer in time; raise -t, or look what keeps the server busy", late=True)
    if isinstance(error, http.client.RemoteDisconnected):
        return Unreachable(f"{url} closed the connection without an answer; {CHECK_WAY}")
    if isinstance(error, OSError):
        return Unreachable(f"{url} broke off: {_tls_fault(error)}; {CHECK_WAY}")
    if isinstance(error, (http.client.BadStatusLine, http.client.UnknownProtocol)):
        return Unreachable(f"{url} does not answer in HTTP: check -p, and -S for HTTPS")
    return Unreachable(f"{url} closed the connection in mid-answer or sent what is not HTTP; {CHECK_WAY}")


# --- The server -------------------------------------------------------------------------------------


class Login(NamedTuple):
    """A user of the server and the password."""

    user: str
    password: str


class Server:
    """One Kodeks server and the session of this run."""

    def __init__(self, url: str, insecure: bool = False, login: Login | None = None) -> None:
        self.url, self._insecure, self._login = url, insecure, login
        self._cookies: dict[str, str] = {}
        if login:
            keep_secret(login.password)
            keep_secret(f"{login.user}:{login.password}")

    def page(self, method: str, path: str, form: str = "") -> Answer:
        """The answer to a request, or why it is refused. The login form is filled in where it is shown."""
        answer = self.fetch(method, path, form)
        if self._login and (answer.status == 401 or answer.refusal() == "login"):
            fields = {"user": self._login.user, "pass": self._login.password, "path": path}
            logged_in = self.fetch("POST", LOGIN_PAGE, urlencode(fields, errors="surrogateescape"), follow=(307, 308))
            answer = logged_in if logged_in.refusal() == "licenses" else self.fetch(method, path, form)
        self._refuse(answer)
        return answer

    def fetch(
        self, method: str, path: str, form: str = "", follow: tuple[int, ...] = (301, 302, 303, 307, 308)
    ) -> Answer:
        """The answer to a request after redirects; 307 and 308 keep the method and the form."""
        url = self.url + path
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._exchange(method, url, form)
            if answer.status not in follow or not answer.header("location") or answer.refusal():
                return answer
            url = self._target(answer, url)
            method, form = (method, form) if answer.status in (307, 308) else ("GET", "")
        raise Problem(f"{self.url} redirects without end: more than {MAX_REDIRECTS} times; check -p and -S")

    def _target(self, answer: Answer, url: str) -> str:
        """Where a redirect leads, if that is this server."""
        location = quote(answer.header("location"), safe="!#$%&'()*+,/:;=?@[]~", encoding="latin-1")
        try:
            target = urlsplit(urljoin(url, location))
            here, there = ((part.scheme, part.hostname, part.port or {"https": 443}.get(part.scheme, 80))
                           for part in (urlsplit(self.url), target))  # fmt: skip
        except ValueError:
            raise Problem(f"{answer.url} redirects to an address that is none; check -p and -S") from None
        if here != there:
            origin = clean(f"{target.scheme}://{target.netloc.rpartition('@')[2]}", 100)
            what = f"{answer.url} redirects to {origin}"
            raise Problem(f"{what}: not followed, the login stays here; check -H, -p and -S")
        return target._replace(fragment="").geturl()

    def _exchange(self, method: str, url: str, form: str) -> Answer:
        parts, shown = urlsplit(url), clean(url.partition("?")[0], 150)
        host, tls = str(parts.hostname), parts.scheme == "https"
        opened = connected(host, parts.port or (443 if tls else 80), deadline.remaining())
        if tls:
            opened = secured(opened, host, self._insecure)
        headers = {"Host": parts.netloc, "User-Agent": f"check_kodeks_xml/{__version__}", "Connection": "close"}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if self._login:
            import base64

            pair = f"{self._login.user}:{self._login.password}".encode("utf-8", "surrogateescape")
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode('ascii')}"
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = http.client.HTTPConnection(host)
        connection.sock = opened
        deadline.doing(f"waiting for {shown}")
        opened.settimeout(deadline.remaining())
        try:
            connection.request(method, parts._replace(scheme="", netloc="").geturl(), form or None, headers)
            answer = Answer(connection.getresponse(), opened, shown)
        except (OSError, http.client.HTTPException) as error:
            raise broken(shown, error) from None
        self._keep(answer.cookies())
        return answer

    def _keep(self, cookies: list[str]) -> None:
        for cookie in cookies:
            name, _, value = cookie.partition("=")
            if re.fullmatch("[!-~]{1,200}=[ -~]{0,4000}", cookie) and len(self._cookies) < 50:
                self._cookies[name] = value
                if len(value) >= 8 and re.search("[0-9]", value):  # a session may stand for a password
                    keep_secret(value)

    def _refuse(self, answer: Answer) -> None:
        """Raise what an answer means that is a refusal (field captures, RFC 9110)."""
        url, kodeks, reason = answer.url, "kodeks" in answer.header("server").lower(), answer.refusal()
        user = f"user {clean(self._login.user, 60)}" if self._login else "a visitor without login"
        if reason == "licenses":
            what = f"the server has no free user license, so {url} cannot be read"
            raise Problem(f"{what}: the state of the key is unknown; end a session there")
        if (answer.status == 401 or reason == "login") and not self._login:
            raise Problem(f"{url} asks for a login: give -l USER and --password-file")
        if answer.status == 401 or reason == "login":
            raise Problem(f"login refused for {user} at {url}: check --password-file and the user's rights")
        if answer.status == 403:
            raise Problem(f"{user} may not read {url} (HTTP 403): check the user's rights")
        if answer.status == 503 and (kodeks or not answer.header("server")):
            what = f"the server is in maintenance mode (HTTP 503 from {url})"
            raise Problem(f"{what}: the state of the key is unknown; end it there if nobody is updating")
        if answer.status >= 500:
            what = f"{url} fails with HTTP {answer.status}: something answers, the Kodeks server does not"
            raise Unreachable(f"{what}; {CHECK_SERVER}")
        if answer.status != 200:
            raise self.not_kodeks(answer, f"HTTP {answer.status}")

    def not_kodeks(self, answer: Answer, what: str) -> Exception:
        """The failure of an answer that is not what was asked for, by who sent it."""
        if "kodeks" in answer.header("server").lower():
            return Problem(f"{what} from {answer.url}: wrong page, or the user lacks the right to see it")
        return Unreachable(f"{what} from {answer.url}: another program answers in place of Kodeks, which may be down")
