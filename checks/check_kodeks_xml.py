#!/usr/bin/env python3
"""Does the Kodeks server itself report that its SenseLock key works?

The last link of the chain that keeps a Kodeks/Techexpert server licensed. Facts and where they come from:

* the binding line of the licence page /admin/lic ("Привязка: SenseLock ключ - [работает]"), its texts, the login
  pages, the 307 that sets cookies, the refusals: field captures of 65 to 90 installations;
* `POST /sysinfo/si_save_request` with type=zip or type=xml makes the sysinfo report; KodeksXmlSensLockStatus alarms
  when the report has no record of a working SenseLock system; the protection errors: the SMART project's manual;
* the element names of that report are not public. Its record is recognised by its words, what was read is said, and
  only the words that are known to mean "works" are OK.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple

try:
    import plugin_runtime as runtime
except ImportError:
    print("KODEKS_XML UNKNOWN - plugin_runtime.py is missing beside this check: copy the whole checks folder")
    raise SystemExit(3) from None

runtime.begin("KODEKS_XML", __name__)

if TYPE_CHECKING:
    import socket
    from typing import BinaryIO, Callable, Iterable, Iterator, Sequence

import nagiosplugin

# --- Value objects --------------------------------------------------------------------------------------------

OK, CRITICAL, UNKNOWN = runtime.OK, runtime.CRITICAL, runtime.UNKNOWN


class Statement(NamedTuple):
    """What one text of the server says about its key.

    `state` is an exit code. `sentence` says it in full; `text` is the server's own text. `license_manager` is
    "HOST:PORT" where the text names it. `place` is where the text stood ("element state of the report").
    """

    state: int
    sentence: str
    text: str
    license_manager: str = ""
    place: str = ""


class Reading(NamedTuple):
    """What a source gave: the statement that decides, and what is known about the source.

    `age` is hours since the report was made, None where nothing tells; `size` is bytes of XML, None for a page;
    `notes` are lines for -v, `candidates` those for -vv.
    """

    statement: Statement
    age: float | None = None
    size: int | None = None
    notes: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()


# --- Pure parsers: the binding text ---------------------------------------------------------------------------

WORKS = "работает"
SENSELOCK = re.compile("senselock", re.IGNORECASE | re.ASCII)

# The texts of failing bindings in field captures, in lower case; then what each means and what to do first.
FAILURES = (
    ('device "senselock" not found', "the server does not see its key; check where the key is plugged in and its forwarder first"),
    ("user limit exceeded", "the license manager has no free user license; check at the license manager who uses the key"),
    ("key limit exceeded", "the license manager refuses the key, its limit is exceeded; check there which servers use the key"),
    ("не авторизовал ключ", "the license manager refuses the key; check the key at the license manager"),
    ("key is not available", "the license manager does not offer the key; check that the key is plugged in there"),
    ("невозможно получить привязку", "the server cannot read its binding; check that the key or the domain it is bound to is reachable"),
    ("не работает", "the protection does not work; check where the key is plugged in and its forwarder first"),
    ("not connected", "the server is not connected to its key; check the key, then the license manager"),
)  # fmt: skip

# Protection errors of the vendor's documentation: meaning and first remedy. Some have two or three numbers.
PROTECTION_ERRORS = {
    5: "wrong license; check the registration file",
    6: "wrong public key; check the registration file",
    50: "not registered on this computer; check whether the machine or its hardware was changed",
    51: "the key's number does not match the registration file; check that the right key is plugged in",
    665: "no access to the protection driver; check that the SenseLock driver is installed and running",
    4111: "no key for this registration file (not plugged in, a wrong key, or no license manager found); "
    "check where the key is plugged in and its forwarder first",
    4112: "an unknown service answers at the license manager's address; check host and port in linkml.ini",
    4113: "the license manager has no such key, or its version differs; check the key at the license manager",
    4116: "the broadcast search on UDP 5555 found no license manager; write its host and port into linkml.ini",
    4117: "the license manager has the key on its blacklist; ask the vendor",
    4118: "wrong proxy login or password; check linkml.ini",
    2007: "no right to this database; check the registration file",
    2008: "user limit exceeded; check who is connected",
    2010: "no license in the registration file; check that the current registration file is installed",
    2020: "other update number; check that the registration file belongs to the installed update",
    2021: "the license term is over or has not begun; renew the registration file and check the clock",
}
SAME_ERROR = {4107: 50, 4103: 2007, 4106: 2008, 4100: 2010, 4109: 2010, 4101: 2020, 4110: 2021}

_PROTECTION_ERROR = re.compile(r"ошибка защиты\D{0,5}([0-9]{1,6})")
_LICENSE_MANAGER = re.compile(
    r"(?:license manager configured at|менеджер лицензий настроен на) (\[[0-9a-f:.]{2,45}\]|[\w.-]{1,253}):([0-9]{1,5})(?![0-9])",
    re.IGNORECASE,
)
_BINDING = re.compile(r"(.{1,300}?) - (\[.*|ошибка защиты.*)", re.IGNORECASE)


def one_line(text: str) -> str:
    """The text with every run of blanks, line ends and no-break spaces made one blank."""
    return " ".join(text.split())


def advice_for(text: str) -> str:
    """What a failing text means and what to do first, "" for a text that is not known."""
    folded = text.casefold()
    for number in _PROTECTION_ERROR.findall(folded):
        code = int(number)
        if SAME_ERROR.get(code, code) in PROTECTION_ERRORS:
            return PROTECTION_ERRORS[SAME_ERROR.get(code, code)]
    return next((advice for phrase, advice in FAILURES if phrase in folded), "")


def license_manager_in(text: str) -> str:
    """The license manager's "HOST:PORT" where the text names one, "" otherwise."""
    match = _LICENSE_MANAGER.search(one_line(text))
    return f"{match[1]}:{match[2]}" if match and 1 <= int(match[2]) <= 65535 else ""


def failing(text: str, place: str = "") -> Statement:
    """The statement of a text that reports a failure."""
    advice = advice_for(text) or "an error that is not documented; look at the license page of the server"
    said = runtime.clean(text, 300)
    return Statement(CRITICAL, f"server reports: {said}: {advice}", said, license_manager_in(text), place)


def unrecognised(what: str, text: str, place: str = "") -> Statement:
    """The statement of a text whose meaning is not known."""
    said = runtime.clean(text, 200)
    return Statement(UNKNOWN, f"{what}: '{said}'", said, license_manager_in(text), place)


def works_by(kind: str) -> str:
    """The sentence for a binding of this kind that works, "" for a kind that is not known."""
    if re.fullmatch("senselock ключ", kind, re.IGNORECASE | re.ASCII):
        return "SenseLock key works"
    if kind == "локальная":
        return "binding to the machine works, no key is used"
    domain = re.fullmatch("домен к (.+)", kind)
    return f"binding to the domain {runtime.clean(domain[1], 60)} works, no key is used" if domain else ""


def judge_binding(text: str, place: str = "") -> Statement:
    """What the text after "Привязка:" says, plain text without entities. Only "[работает]" behind a known kind is good."""
    text = one_line(text)
    match = _BINDING.fullmatch(text)
    if not match:
        if advice_for(text):
            return failing(text, place)
        return unrecognised("the binding is not recognised" if text else "the binding is empty", text, place)
    kind, state = match[1], match[2]
    said = runtime.clean(text, 300)
    if state == f"[{WORKS}]":
        sentence = works_by(kind)
        return Statement(OK, sentence, said, "", place) if sentence else unrecognised(
            "a binding of an unknown kind works", text, place)  # fmt: skip
    inside = state[1:-1]
    if state[0] != "[" or (state[-1] != "]" and advice_for(state)):
        return failing(state, place)
    if state[-1] != "]" or not inside.strip():
        return unrecognised("the state of the binding is missing or cut off", text, place)
    if inside.strip(" []").casefold() == WORKS:
        return unrecognised("the state of the binding is not written as it is known", text, place)
    return failing(state if "[" in inside or "]" in inside else inside, place)


def worst_of(statements: Sequence[Statement]) -> Statement:
    """The statement that decides: CRITICAL before UNKNOWN before OK. Bindings that disagree are never OK."""
    state = runtime.worst(statement.state for statement in statements)
    decisive = next(statement for statement in statements if statement.state == state)
    if state != OK and any(statement.state == OK for statement in statements):
        return decisive._replace(sentence=f"{decisive.sentence} (one of {len(statements)} bindings, which disagree)")
    return decisive


# --- Pure parsers: the licence page ---------------------------------------------------------------------------

# What these hold is not shown as text, or not as text of the page.
_HIDDEN = frozenset("script style textarea title template noscript iframe noframes noembed xmp plaintext".split())
_INLINE = frozenset("a abbr b big code em font i label mark nobr q s samp small span strike strong sub sup tt u var wbr".split())
_TAG_NAME = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
_QUOTE_OR_END = re.compile(r"""[>"']""")
_ENTITY = re.compile(r"&#?\w")


def page_lines(html: str) -> Iterator[tuple[str, bool]]:
    """The lines a browser would show: plain text, and whether anything that ends a line came after it.

    Comments, scripts, attributes and the like show nothing; a comment, tag or script that is never closed hides the
    rest of the page, as in a browser.
    """
    line, position, hidden = "", 0, ""
    while position < len(html):
        start = html.find("<", position)
        text = html[position : start if start >= 0 else len(html)]
        line += "" if hidden else text
        if start < 0:
            break
        if html.startswith("<!--", start):
            end = html.find("-->", start + 4)
            position = end + 3 if end >= 0 else len(html)
            continue
        tag = _TAG_NAME.match(html, start)
        if not tag:
            position = start + 1
            if html.startswith(("<!", "<?", "</"), start):
                position = html.find(">", start) + 1 or len(html)
            elif not hidden:
                line += "<"
            continue
        name, closing = tag[2].lower(), bool(tag[1])
        position = _end_of_tag(html, tag.end())
        if hidden:
            hidden = "" if closing and name == hidden else hidden
        elif name in _HIDDEN and not closing:
            hidden = name
        elif name not in _INLINE and position <= len(html):
            yield line, True
            line = ""
    yield line, False


def _end_of_tag(html: str, position: int) -> int:
    """The position behind the ">" of a tag, one found outside quotes; past the end where the tag is never closed."""
    while True:
        found = _QUOTE_OR_END.search(html, position)
        if not found:
            return len(html) + 1
        if found[0] == ">":
            return found.end()
        position = html.find(found[0], found.end()) + 1
        if not position:
            return len(html) + 1


def plain(text: str) -> str:
    """HTML text without its entities, on one line."""
    if _ENTITY.search(text):
        import html

        text = html.unescape(text)
    return one_line(text)


def parse_license_page(html: str, place: str = "") -> list[Statement]:
    """What every binding line of the licence page says, none for a page without one. Text of the page, not bytes."""
    statements = []
    for raw, ended in page_lines(html):
        line = plain(raw)
        before, colon, text = line.partition("ривязка:")
        if not colon:
            continue
        if before not in ("П", "п"):
            statements.append(unrecognised("a binding stands where none is known to stand", line, place))
        elif not ended:
            statements.append(unrecognised("the page is cut off at its binding", line, place))
        else:
            statements.append(judge_binding(text, place))
    return statements


def refusal_on(html: str) -> str:
    """Why a page shows nothing: "login" or "licenses" (all in use), "" where neither is said (field captures)."""
    folded = html.casefold()
    if "toomanyusers" in folded or "максимальное число подключений" in folded:
        return "licenses"
    login_form = re.search(r"""\bid\s*=\s*["']?user\b""", folded) and "авторизация" in folded
    return "login" if login_form or "ошибка авторизации" in folded else ""


# --- Pure parsers: HTTP ---------------------------------------------------------------------------------------

CHARSETS = frozenset("utf-8 utf8 windows-1251 cp1251 koi8-r cp866 ibm866 iso-8859-5 iso-8859-1 us-ascii".split())
_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9_-]{1,40})""", re.IGNORECASE)
_URL = re.compile(r"(?:(https?):)?//([^/?#\\]*)([^#]*)(?:#.*)?", re.IGNORECASE | re.DOTALL)


def decode_page(body: bytes, content_type: str) -> str:
    """The text of a page: the charset of the header, else of the page's <meta>, else UTF-8."""
    declared = _CHARSET.search(content_type) or _CHARSET.search(body[:2048].decode("latin-1"))
    charset = declared[1].lower() if declared else "utf-8"
    return body.decode(charset if charset in CHARSETS else "utf-8", "replace")


def origin_of(scheme: str, authority: str) -> str:
    """`scheme://host:port` in lower case, the default port written out, so that two can be compared."""
    authority = authority.lower()
    if not re.search(r":[0-9]+$", authority):
        authority = authority.rstrip(":") + (":443" if scheme.lower() == "https" else ":80")
    return f"{scheme.lower()}://{authority}"


def redirect_target(location: str, origin: str, path: str) -> tuple[str, str]:
    """Where a Location header leads, as (origin, path), seen from the page `path` of `origin`."""
    location = "".join(char if "!" <= char <= "~" else f"%{ord(char) & 255:02X}" for char in location.strip())
    url = _URL.fullmatch(location)
    if url:
        target = url[3] if url[3].startswith("/") else "/" + url[3]
        return origin_of(url[1] or origin.partition(":")[0], url[2]), target
    if re.match("[A-Za-z][A-Za-z0-9+.-]*:", location):
        return location, ""
    location = location.partition("#")[0]
    if location.startswith("/"):
        return origin, location
    base = path.partition("?")[0]
    return origin, base + location if location[:1] in ("", "?") else base[: base.rindex("/") + 1] + location


def cookie_in(header: str) -> tuple[str, str] | None:
    """Name and value of a Set-Cookie header; the value is "" for a cookie that shall be forgotten."""
    pair, _, attributes = header.partition(";")
    name, equals, value = pair.partition("=")
    if not equals or not re.fullmatch(r"[!-~]{1,200}", name.strip()) or re.search(r"[^ -~\x80-\xff]", value):
        return None
    forget = re.search(r"max-age\s*=\s*(?:0|-[0-9]+)\s*(?:;|$)", attributes, re.IGNORECASE)
    return name.strip(), "" if forget else value.strip()


def percent_encoded(text: str) -> str:
    """A form field's value: every byte but ASCII letters and digits as %XX."""
    return "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape")
    )


# --- The collector: the only I/O ------------------------------------------------------------------------------

LICENSE_PAGE = "/admin/lic"
LOGIN_PAGE = "/users/login.asp"
MAX_PAGE = 2 << 20
MAX_HEAD = 1 << 16
MAX_REDIRECTS = 5


class Unreachable(Exception):
    """The server cannot be reached or does not answer as itself; --unreachable says which state that is."""


class TooSlow(Exception):
    """The time for a connection is over."""


def resolve(host: str, port: int) -> Sequence[tuple[int, int, int, str, tuple[object, ...]]]:
    """The addresses of a host. Looking a name up cannot be interrupted, so a thread does it and may be left behind."""
    import _thread
    import socket

    answer: list[Sequence[tuple[int, int, int, str, tuple[object, ...]]] | Exception] = []
    answered = _thread.allocate_lock()
    answered.acquire()

    def look_up() -> None:
        try:
            answer.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.append(error)
        answered.release()

    runtime.doing(f"looking up the address of {host}")
    _thread.start_new_thread(look_up, ())
    if not answered.acquire(True, runtime.remaining()):
        raise Unreachable(f"the name {host} was not resolved in time: the name server does not answer")
    found = answer[0]
    if isinstance(found, Exception):
        why = runtime.clean(getattr(found, "strerror", None) or found, 80)
        raise Unreachable(f"the name {host} cannot be resolved: {why}")
    return found


def connect(host: str, port: int, limit: float) -> socket.socket:
    """A TCP connection to the first of the host's addresses that accepts, within `limit` seconds in all."""
    import socket

    deadline = time.monotonic() + limit
    addresses = resolve(host, port)
    failure = ""
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        runtime.doing(f"connecting to {host} port {port}")
        opened = socket.socket(family, kind, protocol)
        opened.settimeout(max(0.01, (deadline - time.monotonic()) / (len(addresses) - index)))
        try:
            opened.connect(address)
            return opened
        except OSError as error:
            failure = failure or why_of(error)
            opened.close()
    raise Unreachable(f"no connection to {host} port {port}: {failure}")


def why_of(error: OSError) -> str:
    """An operating system's error in a few words that do not depend on its language."""
    import socket

    known = ((ConnectionRefusedError, "connection refused"), (ConnectionResetError, "connection reset"),
             (socket.timeout, "no answer in time"), (BrokenPipeError, "connection closed"))  # fmt: skip
    return next((text for kind, text in known if isinstance(error, kind)), runtime.clean(error.strerror or error, 100))


def secured(raw: socket.socket, host: str, insecure: bool) -> socket.socket:
    """The connection with TLS on it. The certificate is verified unless the operator chose not to."""
    import ssl

    runtime.doing(f"agreeing on TLS with {host}")
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    raw.settimeout(runtime.remaining())
    try:
        return context.wrap_socket(raw, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        reasons = {10: "it has expired", 18: "it is self-signed", 19: "its authority is self-signed and not known here",
                   20: "its authority is not known here", 62: "it is not for this name", 64: "it is not for this address"}  # fmt: skip
        why = reasons.get(error.verify_code, runtime.clean(error.verify_message, 100))
        raise Unreachable(f"the TLS certificate of {host} is not accepted: {why}; --insecure would not verify it") from None
    except ssl.SSLError as error:
        why = runtime.clean(error.reason or error, 80)
        raise Unreachable(f"no TLS connection to {host}: {why}; check whether the port speaks HTTPS") from None
    except OSError as error:
        raise Unreachable(f"no TLS connection to {host}: {why_of(error)}") from None


class Wire:
    """An open connection to read from; every wait on it ends when the time of the whole check does."""

    def __init__(self, opened: socket.socket, url: str) -> None:
        self._socket, self._url = opened, url
        self._unread = b""
        self.received = 0

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self._socket.settimeout(runtime.remaining())
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._broken(error) from None

    def piece(self, most: int = 65536) -> bytes:
        """The next bytes, at most `most` of them; b"" once the server has closed the connection."""
        if not self._unread:
            self._unread = self._receive()
        taken, self._unread = self._unread[:most], self._unread[most:]
        return taken

    def line(self) -> bytes:
        """The next line without its end; Unreachable when it is longer than any head has lines, or never ends."""
        while b"\n" not in self._unread:
            more = self._receive()
            if not more or len(self._unread) > MAX_HEAD:
                cut = "closed the connection in mid-answer" if self.received else "closed the connection without an answer"
                raise Unreachable(f"{self._url} {'sent a line without end' if more else cut}")
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        return line.rstrip(b"\r")

    def _receive(self) -> bytes:
        left = runtime.remaining()
        self._socket.settimeout(left)
        try:
            if left <= 0.01:  # a server that sends a byte now and then must not outlive the limit
                raise TimeoutError
            data = self._socket.recv(65536)
        except OSError as error:
            raise self._broken(error) from None
        self.received += len(data)
        return data

    def _broken(self, error: OSError) -> Unreachable:
        import socket

        if not isinstance(error, (socket.timeout, TimeoutError)):
            return Unreachable(f"{self._url} broke off after {self.received} bytes: {why_of(error)}")
        if self.received:
            return Unreachable(f"{self._url} answers too slowly: {self.received} bytes when the time was over")
        return Unreachable(f"{self._url} accepted the connection and did not answer in time")

    def close(self) -> None:
        """End the connection."""
        self._socket.close()


class Answer:
    """The head of an HTTP/1 answer and the body that follows it on the wire (RFC 9112)."""

    def __init__(self, wire: Wire, url: str) -> None:
        self.url, self._wire = url, wire
        self.status = 100
        while 100 <= self.status < 200:  # interim answers
            self.status, self._headers = self._head()
        self._first: bytes | None = None
        self._page: str | None = None
        self._rest = self._body()

    def _head(self) -> tuple[int, list[tuple[str, str]]]:
        status = re.match(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: |$)", self._wire.line())
        if not status:
            raise Unreachable(f"{self.url} does not answer in HTTP: check -p, and -S for HTTPS")
        headers: list[tuple[str, str]] = []
        size = 0
        while True:
            line = self._wire.line().decode("latin-1")
            size += len(line) + 2
            if size > MAX_HEAD:
                raise Unreachable(f"{self.url} sends headers without end")
            if not line:
                return int(status[1]), headers
            name, _, value = line.partition(":")
            headers.append((name.strip().lower(), value.strip()))

    def headers(self, name: str) -> list[str]:
        """The values of every header of this name (given in lower case)."""
        return [value for known, value in self._headers if known == name]

    def header(self, name: str) -> str:
        """The first header of this name, "" where there is none."""
        return next(iter(self.headers(name)), "")

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes. A body that ends before its announced end is Unreachable, never a shorter body."""
        if self._first:
            yield self._first
        self._first = b""
        yield from self._rest

    def beginning(self) -> bytes:
        """The first piece of the body, which pieces() will give again."""
        if self._first is None:
            self._first = next(self._rest, b"")
        return self._first

    def text(self) -> str:
        """The whole body as a page, as often as it is asked for; a page of more than 2 MB is a Problem."""
        if self._page is None:
            body = bytearray()
            for piece in self.pieces():
                body += piece
                if len(body) > MAX_PAGE:
                    raise runtime.Problem(f"{self.url} sends a page of more than {MAX_PAGE >> 20} MB: that is no page of Kodeks")
            self._page = decode_page(bytes(body), self.header("content-type"))
        return self._page

    def _body(self) -> Iterator[bytes]:
        encoding = self.header("content-encoding").lower()
        if encoding not in ("", "identity"):
            raise runtime.Problem(f"{self.url} sends a body encoded as {runtime.clean(encoding, 40)}, which was not asked for")
        lengths = set(self.headers("content-length"))
        if "chunked" in self.header("transfer-encoding").lower():
            yield from self._chunks()
        elif len(lengths) > 1 or not all(re.fullmatch("[0-9]{1,15}", length) for length in lengths):
            raise Unreachable(f"{self.url} announces a length that is no number")
        elif lengths:
            yield from self._exactly(int(lengths.pop()))
        else:
            while piece := self._wire.piece():
                yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            size = re.fullmatch(rb"\s*([0-9A-Fa-f]{1,12})\s*(?:;.*)?", self._wire.line())
            if not size:
                raise Unreachable(f"{self.url} sends a broken body (chunk size)")
            if not int(size[1], 16):
                break
            yield from self._exactly(int(size[1], 16))
            if self._wire.line():
                raise Unreachable(f"{self.url} sends a broken body (chunk end)")
        for _ in range(100):  # trailers
            if not self._wire.line():
                return
        raise Unreachable(f"{self.url} sends headers without end")

    def _exactly(self, size: int) -> Iterator[bytes]:
        missing = size
        while missing:
            piece = self._wire.piece(min(missing, 65536))
            if not piece:
                raise Unreachable(f"{self.url} closed the connection in mid-answer: {size - missing} of {size} bytes")
            missing -= len(piece)
            yield piece


class Login(NamedTuple):
    """A user of the server and the password."""

    user: str
    password: str

    def basic(self) -> str:
        """The value of an Authorization header."""
        import binascii

        code = binascii.b2a_base64(f"{self.user}:{self.password}".encode("utf-8", "surrogateescape"), newline=False)
        return "Basic " + code.decode("ascii")

    def form(self, path: str) -> bytes:
        """The body of the login form; the server leads to `path` after it."""
        return f"user={percent_encoded(self.user)}&pass={percent_encoded(self.password)}&path={percent_encoded(path)}".encode()

    def keep_secret(self) -> None:
        """Register the password in every form in which a server could send it back."""
        import binascii

        raw = self.password.encode("utf-8", "surrogateescape")
        for text in (self.password, percent_encoded(self.password), self.basic().split()[1],
                     binascii.b2a_base64(raw, newline=False).decode("ascii")):  # fmt: skip
            runtime.keep_secret(text)


class Server:
    """One Kodeks server, seen by a client that keeps cookies and tells them and its login to nobody else."""

    def __init__(self, host: str, port: int, tls: bool = False, insecure: bool = False, login: Login | None = None) -> None:
        self.host, self.port, self.tls, self.insecure, self.login = host, port, tls, insecure, login
        authority = f"[{host}]" if ":" in host else host
        if port != (443 if tls else 80):
            authority += f":{port}"
        self.authority = authority
        self.url = f"{'https' if tls else 'http'}://{authority}"
        self.origin = origin_of("https" if tls else "http", authority)
        self._cookies: dict[str, str] = {}
        self._wire: Wire | None = None

    def page(self, method: str, path: str, form: bytes = b"") -> Answer:
        """The answer to a request, with the login form filled in once where the server asks for it."""
        answer = self.fetch(method, path, form)
        if self.login and self._asks_for_login(answer):
            self._log_in(path)
            answer = self.fetch(method, path, form)
        return answer

    def _asks_for_login(self, answer: Answer) -> bool:
        return answer.status == 401 or (is_page(answer) and refusal_on(answer.text()) == "login")

    def _log_in(self, path: str) -> None:
        assert self.login is not None
        answer = self.fetch("POST", LOGIN_PAGE, self.login.form(path), follow=(307, 308))
        if answer.status == 200 and refusal_on(answer.text()) == "licenses":
            raise no_free_license(answer.url)

    def fetch(self, method: str, path: str, form: bytes = b"", follow: Sequence[int] = (301, 302, 303, 307, 308)) -> Answer:
        """The answer to a request after the redirects in `follow`; 307 and 308 keep the method and the body."""
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._exchange(method, path, form)
            location = answer.header("location")
            if answer.status not in follow or not location:
                return answer
            origin, path = redirect_target(location, self.origin, path)
            if origin != self.origin:
                raise runtime.Problem(
                    f"{answer.url} redirects to {runtime.clean(origin, 100)}: not followed, the login stays here; check -H, -p and -S"
                )
            if answer.status not in (307, 308):
                method, form = "GET", b""
        raise runtime.Problem(f"{self.url} redirects without end: more than {MAX_REDIRECTS} times")

    def _exchange(self, method: str, path: str, form: bytes) -> Answer:
        if self._wire:
            self._wire.close()
        opened = connect(self.host, self.port, runtime.remaining())
        if self.tls:
            opened = secured(opened, self.host, self.insecure)
        url = f"{self.url}{runtime.clean(path, 100)}"
        runtime.doing(f"waiting for {url}")
        self._wire = Wire(opened, url)
        self._wire.send(self._request(method, path, form))
        answer = Answer(self._wire, url)
        self._keep_cookies(answer)
        runtime.doing(f"reading {url}")
        return answer

    def _request(self, method: str, path: str, form: bytes) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.authority}", f"User-Agent: check_kodeks_xml/{runtime.__version__}",
                 "Accept: */*", "Accept-Encoding: identity", "Connection: close"]  # fmt: skip
        if self._cookies:
            lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in self._cookies.items()))
        if self.login:
            lines.append(f"Authorization: {self.login.basic()}")
        if method == "POST":
            lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}"]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + form

    def _keep_cookies(self, answer: Answer) -> None:
        for header in answer.headers("set-cookie"):
            cookie = cookie_in(header)
            if cookie and cookie[1] and len(self._cookies) < 50:
                self._cookies[cookie[0]] = cookie[1]
                # A session may stand for a password; a short value is none, and may be an ordinary word.
                runtime.keep_secret(cookie[1] if len(cookie[1]) >= 8 else "")
            elif cookie and not cookie[1]:
                self._cookies.pop(cookie[0], None)


def is_page(answer: Answer) -> bool:
    """Whether the body is an HTML page and not a report."""
    if "html" in answer.header("content-type").lower():
        return True
    return bool(re.match(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)\b", answer.beginning()[:200], re.IGNORECASE))


def no_free_license(url: str) -> runtime.Problem:
    """All licenses for users are in use, the monitoring user's too."""
    return runtime.Problem(f"the server has no free user license, so {url} cannot be read: the state of the key is unknown")


def refuse(answer: Answer, login: Login | None) -> None:
    """Say why an answer is not what was asked for, if it is a refusal; field captures and RFC 9110."""
    page = answer.text() if is_page(answer) else ""
    said = refusal_on(page)
    if said == "licenses":
        raise no_free_license(answer.url)
    if answer.status == 401 or (said == "login" and not parse_license_page(page)):
        if login is None:
            raise runtime.Problem(f"{answer.url} asks for a login: give -l USER and --password-file")
        user = runtime.clean(login.user, 60)
        raise runtime.Problem(f"login refused for user {user} at {answer.url}: check --password-file and the user's rights")
    if answer.status == 403:
        who = f"user {runtime.clean(login.user, 60)}" if login else "a visitor without login"
        raise runtime.Problem(f"{who} may not read {answer.url} (HTTP 403): check the user's rights")
    if answer.status == 503:
        raise runtime.Problem(f"the server is in maintenance mode (HTTP 503 from {answer.url}): the state of the key is unknown")
    if answer.status >= 500:
        raise Unreachable(f"{answer.url} fails with HTTP {answer.status}: something answers, the Kodeks server does not")
    if answer.status != 200:
        raise runtime.Problem(f"HTTP {answer.status} from {answer.url}: is this a Kodeks server?")


def not_kodeks(answer: Answer, what: str) -> Exception:
    """The failure of a page that is not what was asked for, by who sent it."""
    sender = answer.header("server")
    if "kodeks" in sender.lower():
        return runtime.Problem(f"{what} from {answer.url}: wrong page, or the user lacks the right to see it")
    name = runtime.clean(sender or answer.header("x-powered-by"), 60) or "an unnamed server"
    return Unreachable(f"{what} from {answer.url}: {name} answers in place of Kodeks, which may be down")


def read_license_page(server: Server) -> Reading:
    """The licence page's binding lines."""
    answer = server.page("GET", LICENSE_PAGE)
    refuse(answer, server.login)
    statements = parse_license_page(answer.text(), f"binding of {LICENSE_PAGE}")
    if not statements:
        raise not_kodeks(answer, "no binding line")
    notes = tuple(f"binding: {statement.text}" for statement in statements)
    return Reading(worst_of(statements), notes=(f"read {answer.url}", *notes))


class KodeksKey(nagiosplugin.Resource):
    """The key as the server sees it, read once from a page or a report."""

    def __init__(self, read: Callable[[], Reading], unreachable: int, probe_license_manager: bool) -> None:
        self.read, self.unreachable, self.probe_license_manager = read, unreachable, probe_license_manager
        self.reading = Reading(Statement(UNKNOWN, "nothing was read", ""))

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        started = time.monotonic()
        try:
            self.reading = self.read()
        except Unreachable as problem:
            raise runtime.Problem(str(problem), self.unreachable) from None
        seconds = round(time.monotonic() - started, 3)
        if self.probe_license_manager and self.reading.statement.license_manager:
            self._probe(self.reading.statement)
        yield nagiosplugin.Metric("age", self.reading.age, context="age")
        yield nagiosplugin.Metric("time", seconds, context="time")
        yield nagiosplugin.Metric("size", self.reading.size, context="size")
        yield nagiosplugin.Metric("working", self.reading.statement, context="working")

    def _probe(self, statement: Statement) -> None:
        """Add to the sentence whether the license manager's port opens. That says nothing of the key behind it."""
        host, _, port = statement.license_manager.rpartition(":")
        try:
            connect(host.strip("[]"), int(port), min(3.0, runtime.remaining())).close()
            said = "answers"
        except Unreachable as problem:
            said = f"does not answer ({str(problem).rpartition(': ')[2]})"
        sentence = f"{statement.sentence}; the license manager at {statement.license_manager} {said}"
        self.reading = self.reading._replace(statement=statement._replace(sentence=sentence))


# --- The judgement --------------------------------------------------------------------------------------------


class KeyState(nagiosplugin.Context):
    """The statement of the server; perfdata `working` is 1 or 0 where a state was read."""

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        states = {OK: nagiosplugin.Ok, CRITICAL: nagiosplugin.Critical}
        statement: Statement = metric.value
        return nagiosplugin.Result(states.get(statement.state, nagiosplugin.Unknown), statement.sentence, metric)

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        working = {OK: 1, CRITICAL: 0}.get(metric.value.state)
        return runtime.perfdata("working", working)


class Measured(nagiosplugin.Context):
    """A number for graphs that nothing judges."""

    def __init__(self, name: str, uom: str) -> None:
        super().__init__(name)
        self.uom = uom

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        return runtime.perfdata(metric.name, metric.value, self.uom)


class ReportAge(nagiosplugin.Context):
    """The report's age in hours against the operator's ranges; without ranges it is only perfdata."""

    def __init__(self, warning: nagiosplugin.Range | None, critical: nagiosplugin.Range | None) -> None:
        super().__init__("age")
        self.warning, self.critical = warning, critical

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        age: float | None = metric.value
        if self.warning is None and self.critical is None:
            return nagiosplugin.Result(nagiosplugin.Ok, metric=metric)
        if age is None:
            return nagiosplugin.Result(nagiosplugin.Unknown, "the age of the report is not known: its name tells no date", metric)
        if age < -CLOCK_TOLERANCE:
            sentence = f"the report is dated {-age:.1f} hours in the future: check the clocks and time zones of both machines"
            return nagiosplugin.Result(nagiosplugin.Unknown, sentence, metric)
        state = runtime.judge(max(age, 0), self.warning, self.critical)
        broken = self.critical if state == nagiosplugin.Critical else self.warning
        return nagiosplugin.Result(state, f"the report is {age:.1f} hours old, outside the range {broken}", metric)

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        return runtime.perfdata("age", metric.value, "", self.warning, self.critical)


CLOCK_TOLERANCE = 0.1

# --- The sentence ---------------------------------------------------------------------------------------------


class Spoken(nagiosplugin.Summary):
    """What the check says when all is well, and the lines of -v and -vv."""

    def __init__(self, resource: KodeksKey, verbose: int) -> None:
        self.resource, self.verbosity = resource, verbose

    def ok(self, results: nagiosplugin.Results) -> str:
        statement = self.resource.reading.statement
        return f"{statement.sentence} ({statement.place})"

    def verbose(self, results: nagiosplugin.Results) -> list[str]:
        reading = self.resource.reading
        return [*reading.notes, *(reading.candidates if self.verbosity > 1 else ())]


# --- Options and main -----------------------------------------------------------------------------------------


def host_name(text: str) -> str:
    """A host name or address as the resolver and the Host header take it; IPv6 with or without brackets."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if re.fullmatch(r"[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?", bare) and ":" in bare:
        return bare
    try:
        ascii_name = text.encode("idna").decode("ascii") if not text.isascii() else text
    except UnicodeError:
        ascii_name = ""
    if not re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?", ascii_name):
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 60)}' is no host name or address")
    return ascii_name


def user_name(text: str) -> str:
    """A login; a colon would end it inside the Authorization header."""
    if not re.fullmatch(r"[^\x00-\x1f\x7f:]{1,200}", text):
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 60)}' is no login")
    return text


def options() -> runtime.Options:
    """The options of this check, the common ones included."""
    parser = runtime.Options(
        "check_kodeks_xml",
        "Asks a Kodeks/Techexpert server, or a stored sysinfo report, whether the SenseLock key works.",
        "  check_kodeks_xml -H kodeks.example --source page -l smartlogin --password-file /etc/kodeks.pw\n"
        "  check_kodeks_xml -H 192.0.2.10 -p 7070 -l smartlogin --extra-opts=kodeks -t 60:critical\n"
        "  check_kodeks_xml --file /srv/reports/report.zip -w :26 -c :50\n",
        secret_keys=("password",),
    )
    server = parser.add_argument_group("the server")
    server.add_argument("-H", "--hostname", metavar="HOST", type=host_name, help="name or address of the Kodeks server")
    server.add_argument("-p", "--port", metavar="PORT", type=runtime.tcp_port, help="its port (80, with -S 443)")
    server.add_argument("-S", "--ssl", action="store_true", help="speak HTTPS and verify the certificate")
    server.add_argument("--insecure", action="store_true", help="with -S: do not verify the certificate")
    server.add_argument("-l", "--logname", metavar="USER", type=user_name, help="log in as USER (not an administrator)")
    server.add_argument("--password-file", metavar="FILE",
                        help="the password is FILE's first line; or key password in an ini section, or $KODEKS_PASSWORD")
    server.add_argument("--source", choices=("zip", "xml", "page"), default="zip",
                        help="read the sysinfo report as ZIP or XML, or the binding line of /admin/lic: page (zip)")
    server.add_argument("--unreachable", metavar="STATE", type=runtime.alarm_state, default="unknown",
                        help="state if the server cannot be reached: refused, timeout, DNS, reset, TLS, HTTP 5xx but not "
                             "503, something else in its place (unknown)")
    server.add_argument("--probe-license-manager", action="store_true",
                        help="when the server blames a license manager, connect to the address it names and say whether it answers")
    return parser


def login_from(values: argparse.Namespace) -> Login | None:
    """The login of -l with its password: file, ini section, environment, in this order."""
    if values.logname is None:
        if values.password_file:
            raise runtime.Problem("--password-file without -l USER")
        return None
    if values.password_file:
        password = runtime.read_private(values.password_file, "--password-file").splitlines()[:1]
        password = password[0] if password else ""
    else:
        password = values.secrets.get("password") or os.environ.get("KODEKS_PASSWORD", "")
    if not password:
        raise runtime.Problem("-l without a password: use --password-file, the key password in an ini section, or KODEKS_PASSWORD")
    login = Login(values.logname, password)
    login.keep_secret()
    return login


def build(values: argparse.Namespace) -> nagiosplugin.Check:
    """The check as nagiosplugin runs it."""
    if not values.hostname:
        raise runtime.Problem("give -H HOST or --file PATH; check_kodeks_xml --help lists the options")
    if values.insecure and not values.ssl:
        raise runtime.Problem("--insecure without -S")
    if values.source != "page":
        raise runtime.Problem("--source zip and xml are being written")
    server = Server(values.hostname, values.port or (443 if values.ssl else 80), values.ssl, values.insecure, login_from(values))
    key = KodeksKey(lambda: read_license_page(server), values.unreachable, values.probe_license_manager)
    return nagiosplugin.Check(
        key, ReportAge(None, None), Measured("time", "s"), Measured("size", "B"), KeyState("working"), Spoken(key, values.verbose)
    )


def main() -> None:
    """The console script."""
    runtime.run("KODEKS_XML", options(), build)


if __name__ == "__main__":
    main()
