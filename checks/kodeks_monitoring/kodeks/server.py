"""A Kodeks server as a client of HTTP sees it: cookies, redirects, the login, refusals.

Sources: field captures of 65 to 90 installations (login pages, the 307 that sets cookies, refusals), and
RFC 9110. A run is one session, and its cookies and login go to nobody else.
"""

from __future__ import annotations

import base64
import http.client
import re
import socket
import time
from contextlib import suppress
from functools import cached_property
from typing import Iterator
from urllib.parse import SplitResult, quote, urlencode, urljoin, urlsplit

from .. import PROJECT
from ..contract import deadline
from ..contract.language import N_, _
from ..contract.verdict import Problem, clean, keep_secret
from ..machine import tcp
from .page import decode_page, refusal_on

LOGIN_PAGE = "/users/login.asp"
MAX_PAGE = 2 << 20
MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
CHECK_SERVER = N_("check that the server runs, then -H, -p and the firewalls")


class Unreachable(Exception):
    """The server cannot be reached or does not answer as itself: a sentence, and whether time was over."""


def connected(url: SplitResult, insecure: bool) -> socket.socket:
    """A connection to the server of a URL. With TLS its certificate is verified unless `insecure`."""
    host, port = str(url.hostname), url.port or (443 if url.scheme == "https" else 80)
    deadline.doing(_("connecting to {host} port {port}", host, port))
    try:
        opened = tcp.connect(host, port, time.monotonic() + deadline.remaining())
    except tcp.NoConnection as error:
        what = _("no connection to {host} port {port}: {why}; {check_server}",
                 host, port, error, _(CHECK_SERVER))  # fmt: skip
        raise Unreachable(what, error.late) from None
    if url.scheme != "https":
        return opened
    import ssl

    context = ssl.create_default_context()
    if insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opened.settimeout(deadline.remaining())
    try:
        return context.wrap_socket(opened, server_hostname=host)
    except OSError as error:
        what = _("no TLS connection to {host}: {why}", host, why_of(error))
        raise Unreachable(what, tcp.is_late(error)) from None


def why_of(error: OSError) -> str:
    """Why a connection broke off. An alert of TLS is a refusal of somebody who speaks TLS."""
    reason = clean(getattr(error, "reason", None) or "", 60)
    if reason == "CERTIFICATE_VERIFY_FAILED":
        why = clean(getattr(error, "verify_message", ""), 100)
        return _("its certificate is not accepted ({why}); --insecure would not verify it", why)
    if "ALERT" in reason or reason.startswith("TLSV1") or reason == "UNSUPPORTED_PROTOCOL":
        return _("the server speaks TLS and refuses ({reason}): look there whether it wants a client "
                 "certificate, another name (-H) or another version of TLS", reason)  # fmt: skip
    speaks = _("{reason}; check whether the port speaks HTTPS", reason)
    return speaks if reason else tcp.why_of(error)


def broken(url: str, error: Exception) -> Unreachable:
    """What an answer means that did not come, or not whole."""
    if tcp.is_late(error):
        return Unreachable(_("{url} accepted the connection and did not answer in time; "
                             "raise -t, or look what keeps the server busy", url), True)  # fmt: skip
    if isinstance(error, OSError) and getattr(error, "reason", None):
        return Unreachable(_("{url} broke off: {why}", url, why_of(error)), False)
    return Unreachable(_(
        "{url} closed the connection before the end of its answer, or does not answer in HTTP; "
        "look at the server, at what stands in between, and at -p and -S", url), False)  # fmt: skip


class Answer:
    """An HTTP answer: its status and headers, and its body as it comes. `url` is what was asked for."""

    def __init__(self, response: http.client.HTTPResponse, opened: socket.socket, url: str) -> None:
        self.url, self.status, self.headers = url, response.status, response.headers
        self._response, self._socket = response, opened
        self.is_page = "html" in self.headers.get("content-type", "").lower()
        self.from_kodeks = "kodeks" in self.headers.get("server", "").lower()

    def pieces(self) -> Iterator[bytes]:
        """The body. One that ends before its announced end is Unreachable, never a shorter body."""
        deadline.doing(_("reading {what}", self.url))
        piece = b"?"
        while piece:
            try:
                self._socket.settimeout(deadline.remaining())
                piece = self._response.read(65536)
            except (OSError, ValueError, http.client.HTTPException) as error:  # ValueError: a chunk of -5
                raise broken(self.url, error) from None
            yield piece
        if self._response.length:
            raise broken(self.url, EOFError())

    @cached_property
    def text(self) -> str:
        """The whole body as a page."""
        body = bytearray()
        for piece in self.pieces():
            body += piece
            if len(body) > MAX_PAGE:
                limit = MAX_PAGE >> 20
                raise Problem(_("{url} sends more than {limit} MB: that is no page of Kodeks",
                                self.url, limit))  # fmt: skip
        return decode_page(bytes(body), self.headers.get("content-type", ""))

    def refusal(self) -> str:
        """Why a page does not show what was asked for: "login", "licenses", "" for neither."""
        if "toomanyusers" in f"{self.url} {self.headers.get('location')}".lower():
            return "licenses"
        return "login" if self.status == 401 else refusal_on(self.text) if self.is_page else ""

    def not_kodeks(self, what: str) -> Exception:
        """The failure of an answer that is not what was asked for (`what` it is), by who sent it."""
        if self.from_kodeks:
            return Problem(_("{what} from {url}: wrong page, or the user lacks the right to see it",
                             what, self.url))  # fmt: skip
        return Unreachable(_("{what} from {url}: another program answers in place of Kodeks, "
                             "which may be down", what, self.url), False)  # fmt: skip


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
        for _number in range(MAX_REDIRECTS + 1):
            answer = self._exchange(method, url, form, shown)
            if answer.status not in follow or not answer.headers.get("location", "") or answer.refusal():
                return answer
            url = self._target(answer, url)
            method, form = (method, form) if answer.status in (307, 308) else ("GET", "")
        raise Problem(_("{url} redirects without end: more than {number} times; check -p and -S",
                        self.url, MAX_REDIRECTS))  # fmt: skip

    def _target(self, answer: Answer, url: str) -> str:
        """Where a redirect leads, if that is this server."""
        location = quote(answer.headers.get("location", ""), safe="!#$%&'()*+,/:;=?@[]~", encoding="latin-1")
        target = _("no address")
        with suppress(ValueError):
            target = urljoin(url, location).partition("#")[0]
        target = re.sub(r"^(?:(http://[^/?]+):80|(https://[^/?]+):443)(?=[/?]|$)", r"\1\2", target)
        if not f"{target}/".lower().startswith(f"{self.url}/".lower()):
            origin = clean(re.sub("//[^/]*@", "//", "/".join(target.split("/")[:3])).lower(), 100)
            raise Problem(_("{url} redirects to {origin}: not followed, the login stays here; "
                            "check -H, -p and -S", answer.url, origin))  # fmt: skip
        return target

    def _exchange(self, method: str, url: str, form: str, shown: str) -> Answer:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(str(parts.hostname))
        opened = connection.sock = connected(parts, self._insecure)
        headers = {"Host": parts.netloc, "User-Agent": PROJECT, "Accept": "*/*", "Connection": "close"}
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if self._login:
            basic = base64.b64encode(self._basic.encode("utf-8", "surrogateescape")).decode("ascii")
            headers["Authorization"] = f"Basic {basic}"
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        deadline.doing(_("waiting for {url}", shown))
        opened.settimeout(deadline.remaining())
        try:
            with suppress(OSError):  # who refuses has answered before
                target = parts._replace(scheme="", netloc="").geturl()
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
        name = clean(self._login[0], 60) if self._login else ""
        user = _("user {name}", name) if self._login else _("a visitor without login")
        if reason == "licenses":
            raise Problem(_("the server has no free user license to read {url}: end a session there", url))
        if reason and not self._login:
            raise Problem(_("{url} asks for a login: give -l USER and --password-file", url))
        if reason:
            raise Problem(_("login refused for user {name} at {url}: "
                            "check the password and the user's rights", name, url))  # fmt: skip
        if answer.status == 403:
            raise Problem(_("{user} may not read {url} (HTTP 403): check the user's rights", user, url))
        if answer.status == 503 and (answer.from_kodeks or not answer.headers.get("server", "")):
            raise Problem(_("the server is in maintenance mode (HTTP 503 from {url}): "
                            "end it there if nobody is updating", url))  # fmt: skip
        if answer.status >= 500:
            what = _("{url} fails with HTTP {status}: something answers, the Kodeks server does not; "
                     "{check_server}", url, answer.status, _(CHECK_SERVER))  # fmt: skip
            raise Unreachable(what, False)
        if answer.status != 200:
            raise answer.not_kodeks(f"HTTP {answer.status}")
