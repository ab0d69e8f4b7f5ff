"""A Kodeks server as a client of HTTP sees it: cookies, redirects, the login, refusals.

Sources: the login pages, the 307 that sets cookies, the refusals and the Node monitor that answers in front
of Kodeks are field captures of 65 to 90 installations; the rest is RFC 9110. A run is one session, and its
cookies and login go to nobody else.
"""

from __future__ import annotations

import base64
import http.client
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING
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
REDIRECTS = (301, 302, 303, 307, 308)
CHECK_SERVER = "check that the server runs, then -p and the firewalls"
CHECK_WAY = "look at the server, and at what stands in between"
CERTIFICATE_FAULTS = {
    10: "it has expired", 18: "it is self-signed", 19: "its authority is self-signed and not known here",
    20: "its authority is not known here", 62: "it is not for this name", 64: "it is not for this address",
}  # fmt: skip
TLS_REFUSALS = (
    # what OpenSSL's name of an alert (RFC 8446, 6.2) contains; the remedy
    ("UNRECOGNIZED_NAME", "it does not know this name: give -H the name for which it is set up"),
    ("PROTOCOL", "it wants another version of TLS: enable TLS 1.2 or newer there"),
    ("CERT|UNKNOWN_CA", "it wants a client certificate, which this check lacks: let this machine in without"),
    ("", "look there whether it wants a client certificate, another version of TLS or other ciphers"),
)


class Unreachable(Exception):
    """The server cannot be reached or does not answer as itself. `late`: because the time was over."""

    def __init__(self, sentence: str, late: bool = False) -> None:
        super().__init__(sentence)
        self.late = late


# --- The connection ---------------------------------------------------------------------------------


def connected(host: str, port: int) -> socket.socket:
    """A TCP connection."""
    deadline.doing(f"connecting to {host} port {port}")
    try:
        return tcp.connect(host, port, time.monotonic() + deadline.remaining())
    except tcp.NoConnection as error:
        sentence = f"no connection to {host} port {port}: {error}; {CHECK_SERVER}"
        if error.unresolved:
            how = "was not resolved in time" if error.late else "cannot be resolved"
            sentence = f"the name {host} {how}: {error}; check -H and the name servers"
        raise Unreachable(sentence, error.late) from None


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
        raise Unreachable(f"no TLS connection to {host}: {why_of(error)}", tcp.is_late(error)) from None


def why_of(error: OSError) -> str:
    """Why a connection broke off. An alert of TLS is a refusal of somebody who speaks TLS."""
    reason = str(getattr(error, "reason", None) or "")
    if "ALERT" in reason or reason.startswith("TLSV1") or reason == "UNSUPPORTED_PROTOCOL":
        remedy = next(remedy for part, remedy in TLS_REFUSALS if re.search(part, reason))
        return f"the server speaks TLS and refuses ({clean(reason, 60)}): {remedy}"
    return f"{clean(reason, 60)}; check whether the port speaks HTTPS" if reason else tcp.why_of(error)


def broken(url: str, error: Exception) -> Unreachable:
    """What an answer means that did not come, or not whole."""
    if isinstance(error, http.client.RemoteDisconnected):
        return Unreachable(f"{url} closed the connection without an answer; {CHECK_WAY}")
    if isinstance(error, OSError) and tcp.is_late(error):
        what = f"{url} accepted the connection and did not answer in time"
        return Unreachable(f"{what}; raise -t, or look what keeps the server busy", late=True)
    if isinstance(error, OSError):
        hint = ", and whether it wants a client certificate" if url.startswith("https") else ""
        return Unreachable(f"{url} broke off: {why_of(error)}; {CHECK_WAY}{hint}")
    if isinstance(error, (http.client.BadStatusLine, http.client.UnknownProtocol)):
        return Unreachable(f"{url} does not answer in HTTP: check -p, and -S for HTTPS")
    return Unreachable(f"{url} closed the connection in mid-answer or sent what is not HTTP; {CHECK_WAY}")


# --- An answer --------------------------------------------------------------------------------------


class Answer:
    """An HTTP answer: its status and headers, and its body as it comes. `url` is what was asked for."""

    def __init__(self, response: http.client.HTTPResponse, opened: socket.socket, url: str) -> None:
        self.url, self.status, self.headers, self._page = url, response.status, response.headers, ""
        self._response, self._socket = response, opened
        self.is_page = "html" in self.header("content-type").lower()
        self.from_kodeks = "kodeks" in self.header("server").lower()

    def header(self, name: str) -> str:
        """The first header of this name, "" if there is none."""
        return str(self.headers.get(name, ""))

    def pieces(self) -> Iterator[bytes]:
        """The body. One that ends before its announced end is Unreachable, never a shorter body."""
        deadline.doing(f"reading {self.url}")
        piece = b"?"
        while piece:
            try:
                self._socket.settimeout(deadline.remaining())
                piece = self._response.read(65536)
            except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: a chunk of -5
                raise broken(self.url, error) from None
            yield piece
        if self._response.length:
            raise broken(self.url, http.client.IncompleteRead(b""))

    def text(self) -> str:
        """The whole body as a page, as often as it is asked for."""
        body = bytearray()
        for piece in () if self._page else self.pieces():
            body += piece
            if len(body) > MAX_PAGE:
                what = f"{self.url} sends a page of more than {MAX_PAGE >> 20} MB"
                raise Problem(f"{what}: that is no page of Kodeks")
        self._page = self._page or decode_page(bytes(body), self.header("content-type"))
        return self._page

    def refusal(self) -> str:
        """Why a page does not show what was asked for: "login", "licenses", "" for neither."""
        if "toomanyusers" in f"{self.url} {self.header('location')}".lower():
            return "licenses"
        return "login" if self.status == 401 else refusal_on(self.text()) if self.is_page else ""

    def not_kodeks(self, what: str) -> Exception:
        """The failure of an answer that is not what was asked for, by who sent it."""
        if self.from_kodeks:
            return Problem(f"{what} from {self.url}: wrong page, or the user lacks the right to see it")
        what = f"{what} from {self.url}"
        return Unreachable(f"{what}: another program answers in place of Kodeks, which may be down")


# --- The server -------------------------------------------------------------------------------------


class Server:
    """One Kodeks server, and the session that this run has with it. `login` is a user and the password."""

    def __init__(self, url: str, insecure: bool = False, login: tuple[str, str] | None = None) -> None:
        self.url, self._insecure, self._login = url, insecure, login
        self._cookies: dict[str, str] = {}
        self._basic = ":".join(login or ())
        for secret in (self._basic, *(login or ())[1:]):
            keep_secret(secret)

    def page(self, method: str, path: str, form: str = "") -> Answer:
        """The answer to a request, or why it is refused. The login form is filled in once if it is shown."""
        answer = self.fetch(method, path, form)
        if self._login and answer.refusal() == "login":
            fields = {"user": self._login[0], "pass": self._login[1], "path": path}
            body = urlencode(fields, errors="surrogateescape")
            answer = self.fetch("POST", LOGIN_PAGE, body, follow=(307, 308))
            if answer.refusal() != "licenses":
                answer = self.fetch(method, path, form)
        self._refuse(answer)
        return answer

    def fetch(self, method: str, path: str, form: str = "", follow: tuple[int, ...] = REDIRECTS) -> Answer:
        """The answer to a request after redirects; 307 and 308 keep the method and the form."""
        url = shown = self.url + path
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._exchange(method, url, form, shown)
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

    def _exchange(self, method: str, url: str, form: str, shown: str) -> Answer:
        parts = urlsplit(url)
        host, tls = str(parts.hostname), parts.scheme == "https"
        opened = connected(host, parts.port or (443 if tls else 80))
        if tls:
            opened = secured(opened, host, self._insecure)
        agent = f"check_kodeks_xml/{__version__}"
        headers = {"Host": parts.netloc, "User-Agent": agent, "Accept": "*/*", "Connection": "close"}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if self._login:
            basic = base64.b64encode(self._basic.encode("utf-8", "surrogateescape")).decode("ascii")
            headers["Authorization"] = f"Basic {basic}"
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        target = parts._replace(scheme="", netloc="").geturl()
        connection = http.client.HTTPConnection(host)
        connection.sock = opened
        deadline.doing(f"waiting for {shown}")
        opened.settimeout(deadline.remaining())
        try:
            with suppress(OSError):  # who refuses has answered before
                connection.request(method, target, form or None, headers)
            answer = Answer(connection.getresponse(), opened, shown)
        except (OSError, http.client.HTTPException) as error:
            raise broken(shown, error) from None
        for cookie in map(str, answer.headers.get_all("set-cookie", [])):
            found = re.match("([!-:<-~]{1,200}?)=([ -:<-~]{0,4000})", cookie)
            if found and len(self._cookies) < 50:
                self._cookies[found[1]] = found[2].strip()
                if re.fullmatch("(?=.*[0-9]).{8,}", found[2]):  # a session is as good as a password
                    keep_secret(found[2])
        return answer

    def _refuse(self, answer: Answer) -> None:
        """Raise what an answer means that is a refusal (field captures, RFC 9110)."""
        url, reason = answer.url, answer.refusal()
        user = f"user {clean(self._login[0], 60)}" if self._login else "a visitor without login"
        unknown = "the state of the key is unknown"
        if reason == "licenses":
            what = f"the server has no free user license, so {url} cannot be read"
            raise Problem(f"{what}: {unknown}; end a session there")
        if reason == "login" and not self._login:
            raise Problem(f"{url} asks for a login: give -l USER and --password-file")
        if reason == "login":
            raise Problem(f"login refused for {user} at {url}: check --password-file and the user's rights")
        if answer.status == 403:
            raise Problem(f"{user} may not read {url} (HTTP 403): check the user's rights")
        if answer.status == 503 and (answer.from_kodeks or not answer.header("server")):
            what = f"the server is in maintenance mode (HTTP 503 from {url})"
            raise Problem(f"{what}: {unknown}; end it there if nobody is updating")
        if answer.status >= 500:
            what = f"{url} fails with HTTP {answer.status}: something answers, the Kodeks server does not"
            raise Unreachable(f"{what}; {CHECK_SERVER}")
        if answer.status != 200:
            raise answer.not_kodeks(f"HTTP {answer.status}")
