"""A Kodeks server as a client of HTTP sees it: pages, redirects, cookies, the login, and why it refuses.

Sources: the login pages, the 307 that sets cookies and the refusals are field captures of 65 to 90 installations; the
rest is RFC 9110. Cookies and the login go to nobody else, and every wait ends when the time of the whole check does.
"""

from __future__ import annotations

import io
import re
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import plugin_runtime as runtime
from kodeks_binding import UNKNOWN, Reading, Unreachable, parse_license_page, refusal_on, set_of, worst_of

if TYPE_CHECKING:
    import http.client
    import socket
    from typing import Any, BinaryIO, Iterator, Sequence

# --- Pure parsers ---------------------------------------------------------------------------------------------

CHARSETS = set_of("utf-8 utf8 windows-1251 cp1251 koi8-r cp866 ibm866 iso-8859-5 iso-8859-1 us-ascii")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9_-]{1,40})""", re.IGNORECASE)
_URL = r"(?is)(?:(https?):)?//([^/?#\\]*)([^#]*)(?:#.*)?"


def decode_page(body: bytes, content_type: str) -> str:
    """The text of a page: by its byte order mark, else the charset of the header, else of the page's <meta>, else UTF-8.

    Bytes that are no UTF-8 where no other charset is declared are windows-1251, the one that Russian servers write.
    """
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        return body.decode("utf-16", "replace")
    in_header = _CHARSET.search(content_type)
    declared = in_header or _CHARSET.search(body[:2048].decode("latin-1"))
    charset = declared[1].lower() if declared else "utf-8"
    if charset.startswith("utf-16") and in_header and b"\0" in body:
        return body.decode("utf-16-be" if charset.endswith("be") else "utf-16-le", "replace")
    if re.fullmatch(r"(?:x-)?(?:win|windows|cp)?[-_]?1251", charset):
        charset = "cp1251"
    if charset in CHARSETS and charset not in ("utf-8", "utf8"):
        return body.decode(charset, "replace")
    text = body.decode("utf-8", "replace")
    # A stray byte in a page of UTF-8 leaves the rest readable; of windows-1251 nearly nothing is UTF-8.
    lost = text.count("\ufffd")
    return body.decode("cp1251", "replace") if lost and lost > len(re.findall("[А-яЁё]", text)) else text


def origin_of(scheme: str, authority: str) -> str:
    """`scheme://host:port` in lower case, the default port written out, so that two can be compared."""
    authority = authority.lower()
    if not re.search(r":[0-9]+$", authority):
        authority = authority.rstrip(":") + (":443" if scheme.lower() == "https" else ":80")
    return f"{scheme.lower()}://{authority}"


def redirect_target(location: str, origin: str, path: str) -> tuple[str, str]:
    """Where a Location header leads, as (origin, path), seen from the page `path` of `origin`."""
    location = "".join(char if "!" <= char <= "~" else f"%{ord(char) & 255:02X}" for char in location.strip())
    url = re.fullmatch(_URL, location)
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


def percent_decoded(text: str) -> str:
    """A text without percent escapes, in UTF-8 where it is that."""
    if "%" not in text:
        return text
    data = re.sub(rb"%([0-9A-Fa-f]{2})", lambda code: bytes([int(code[1], 16)]), text.encode("utf-8", "surrogateescape"))
    return data.decode("utf-8", "replace")


OUR_WORDS = set_of("attribute connected critical elements license maintenance protection registration reports senselock unknown")
CHECK_SERVER = "check that the server runs, then -p and the firewalls"
MORE_TIME = "raise -t, or look what keeps the server busy"
CHECK_WAY = "look at the server, and at what stands in between"

# --- The connection -------------------------------------------------------------------------------------------


def connect(host: str, port: int, limit: float) -> socket.socket:
    """A TCP connection within `limit` seconds in all."""
    runtime.doing(f"connecting to {host} port {port}")
    try:
        return runtime.connect(host, port, time.monotonic() + limit)
    except runtime.NoConnection as error:
        if not error.unresolved:
            raise Unreachable(f"no connection to {host} port {port}: {error}; {CHECK_SERVER}", error.late) from None
        how = "was not resolved in time" if error.late else "cannot be resolved"
        raise Unreachable(f"the name {host} {how}: {error}; check -H and the name servers", error.late) from None


def secured(raw: socket.socket, host: str, insecure: bool) -> socket.socket:
    """The connection with TLS on it. The certificate is verified unless the operator chose not to."""
    import ssl

    runtime.doing(f"agreeing on TLS with {host}")
    try:
        context = ssl.create_default_context()
    except OSError as error:  # the environment names a file for certificates or keys that cannot be opened
        raise runtime.Problem(f"TLS cannot be set up: {runtime.why_of(error)}; see SSL_CERT_FILE, SSLKEYLOGFILE") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    raw.settimeout(runtime.remaining())
    try:
        return context.wrap_socket(raw, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        reasons = {10: "it has expired", 18: "it is self-signed", 19: "its authority is self-signed and not known here",
                   20: "its authority is not known here", 62: "it is not for this name",
                   64: "it is not for this address"}  # fmt: skip
        why = reasons.get(error.verify_code, runtime.clean(error.verify_message, 100))
        raise Unreachable(f"the TLS certificate of {host} is not accepted: {why}; --insecure would not verify it") from None
    except ssl.SSLError as error:
        if runtime.is_late(error):  # before Python 3.10 both
            raise Unreachable(f"no TLS connection to {host}: no answer in time", late=True) from None
        why = runtime.clean(error.reason or error, 80)
        raise Unreachable(f"no TLS connection to {host}: {why}; check whether the port speaks HTTPS") from None
    except OSError as error:
        raise Unreachable(f"no TLS connection to {host}: {runtime.why_of(error)}", runtime.is_late(error)) from None


def load_http(tls: bool) -> None:
    """Load http.client. Without HTTPS it need not load ssl, which costs a fifth of a run: None in sys.modules stands
    for a module that cannot be imported, and http.client does without (importlib's documentation)."""
    spared = not tls and "ssl" not in sys.modules
    if spared:
        sys.modules["ssl"] = None  # type: ignore[assignment]
    try:
        import http.client  # noqa: F401
    finally:
        if spared:
            del sys.modules["ssl"]


class Wire(io.RawIOBase):
    """An open connection as http.client wants a socket; every wait on it ends when the time of the whole check does.

    A time limit of the socket alone would start anew with each byte of a server that drips.
    """

    def __init__(self, opened: socket.socket, url: str) -> None:
        self._socket, self._url = opened, url
        self.received = 0
        self.ended = False

    def sendall(self, data: bytes) -> None:
        """Send all of `data`."""
        self._socket.settimeout(runtime.remaining())
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._broken(error) from None

    def makefile(self, mode: str) -> BinaryIO:
        """What http.client reads from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes; 0 once the server has closed the connection."""
        left = runtime.remaining()
        self._socket.settimeout(left)
        try:
            if left <= 0.01:
                raise TimeoutError
            count = self._socket.recv_into(buffer)
        except OSError as error:
            raise self._broken(error) from None
        self.received += count
        self.ended = not count
        return count

    def _broken(self, error: OSError) -> Unreachable:
        if not runtime.is_late(error):
            return Unreachable(f"{self._url} broke off after {self.received} bytes: {runtime.why_of(error)}; {CHECK_WAY}")
        if self.received:
            slow = f"{self._url} answers too slowly: {self.received} bytes when the time was over"
        else:
            slow = f"{self._url} accepted the connection and did not answer in time"
        return Unreachable(f"{slow}; {MORE_TIME}", late=True)

    def close(self) -> None:
        """Nothing: http.client closes what it thinks a socket before it reads from its file. See end()."""

    def end(self) -> None:
        """End the connection."""
        self._socket.close()


# --- The server -----------------------------------------------------------------------------------------------

LICENSE_PAGE = "/admin/lic"
LOGIN_PAGE = "/users/login.asp"
MAX_PAGE = 2 << 20
MAX_REDIRECTS = 5


class Answer:
    """An HTTP answer: its head, and the body that follows on the wire."""

    def __init__(self, connection: http.client.HTTPConnection, wire: Wire, url: str, path: str = "") -> None:
        import http.client as protocol

        self.url, self.path, self._wire = url, path, wire  # the URL is for people: it may be cut
        try:
            self._response = connection.getresponse()
        except protocol.RemoteDisconnected:
            raise Unreachable(f"{url} closed the connection without an answer; {CHECK_WAY}") from None
        except protocol.LineTooLong:
            raise Unreachable(f"{url} sent a line without end; {CHECK_WAY}") from None
        except (protocol.BadStatusLine, protocol.UnknownProtocol):
            raise Unreachable(f"{url} does not answer in HTTP: check -p, and -S for HTTPS") from None
        except protocol.HTTPException:  # more than 100 headers
            raise Unreachable(f"{url} sends headers without end; {CHECK_WAY}") from None
        if wire.ended:
            raise Unreachable(f"{url} closed the connection in mid-answer; {CHECK_WAY}")
        self.status = self._response.status
        self._first: bytes | None = None
        self._page: str | None = None
        self._rest = self._body()

    def headers(self, name: str) -> list[str]:
        """The values of every header of this name."""
        return [str(value) for value in self._response.headers.get_all(name, [])]

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

    def is_page(self) -> bool:
        """Whether the body is an HTML page and not a report."""
        if self._page is not None:
            return True
        page = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
        named = "html" in self.header("content-type").lower() and not self.beginning().startswith(b"PK\x03\x04")
        return named or bool(page.match(self.beginning()))

    def refusal(self) -> str:
        """Why a page shows nothing, "" for a page that says no reason and for a report."""
        if "toomanyusers" in (self.path or self.url).lower():
            return "licenses"
        return refusal_on(self.text()) if self.is_page() else ""

    def leads_to_no_license(self) -> bool:
        """Whether this is a redirect to the page of a server that is out of licenses."""
        return 300 <= self.status < 400 and "toomanyusers" in self.header("location").lower()

    def _body(self) -> Iterator[bytes]:
        encoding = self.header("content-encoding").lower()
        if encoding not in ("", "identity"):
            what = f"{self.url} sends a body encoded as {runtime.clean(encoding, 40)}, which was not asked for"
            raise runtime.Problem(f"{what}: switch that off in the proxy before the server")
        lengths = set(self.headers("content-length"))
        if len(lengths) > 1 or not all(re.fullmatch("[0-9]{1,15}", length) for length in lengths):
            raise Unreachable(f"{self.url} announces a length that is no number; {CHECK_WAY}")
        yield from self._whole(int(lengths.pop()) if lengths and not self._response.chunked else None)

    def _whole(self, size: int | None) -> Iterator[bytes]:
        import http.client as protocol

        got = 0
        try:
            while piece := self._response.read1(65536):
                got += len(piece)
                yield piece
        except protocol.HTTPException:
            raise Unreachable(f"{self.url} closed the connection in mid-answer or sent a broken chunk; {CHECK_WAY}") from None
        if size is not None and got < size:  # http.client says nothing of it
            raise Unreachable(f"{self.url} closed the connection in mid-answer: {got} of {size} bytes; {CHECK_WAY}")


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
        return answer.status == 401 or answer.refusal() == "login"

    def _log_in(self, path: str) -> None:
        assert self.login is not None
        answer = self.fetch("POST", LOGIN_PAGE, self.login.form(path), follow=(307, 308))
        if answer.refusal() == "licenses" or answer.leads_to_no_license():
            raise no_free_license(answer.url)

    def fetch(self, method: str, path: str, form: bytes = b"", follow: Sequence[int] = (301, 302, 303, 307, 308)) -> Answer:
        """The answer to a request after the redirects in `follow`; 307 and 308 keep the method and the body."""
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._exchange(method, path, form)
            location = answer.header("location")
            if answer.status not in follow or not location:
                return answer
            if answer.leads_to_no_license():
                raise no_free_license(answer.url)
            origin, path = redirect_target(location, self.origin, path)
            if origin != self.origin:
                there = f"{answer.url} redirects to {runtime.clean(origin, 100)}"
                raise runtime.Problem(f"{there}: not followed, the login stays here; check -H, -p and -S")
            if answer.status not in (307, 308):
                method, form = "GET", b""
        raise runtime.Problem(f"{self.url} redirects without end: more than {MAX_REDIRECTS} times; check -p and -S")

    def _exchange(self, method: str, path: str, form: bytes) -> Answer:
        if self._wire:
            self._wire.end()
        opened = connect(self.host, self.port, runtime.remaining())
        if self.tls:
            opened = secured(opened, self.host, self.insecure)
        url = f"{self.url}{runtime.clean(path, 100)}"
        runtime.doing(f"waiting for {url}")
        self._wire = Wire(opened, url)
        answer = Answer(self._ask(self._wire, method, path, form), self._wire, url, path)
        self._keep_cookies(answer)
        runtime.doing(f"reading {url}")
        return answer

    def _ask(self, wire: Wire, method: str, path: str, form: bytes) -> http.client.HTTPConnection:
        load_http(self.tls)
        import http.client as protocol

        headers = {"Host": self.authority, "User-Agent": f"check_kodeks_xml/{runtime.__version__}", "Accept": "*/*",
                   "Accept-Encoding": "identity", "Connection": "close"}  # fmt: skip
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if self.login:
            headers["Authorization"] = self.login.basic()
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = protocol.HTTPConnection(self.host, self.port)
        connection.sock = wire
        connection.request(method, path, form if method == "POST" else None, headers)
        return connection

    def _keep_cookies(self, answer: Answer) -> None:
        for header in answer.headers("set-cookie"):
            cookie = cookie_in(header)
            if cookie and cookie[1] and len(self._cookies) < 50:
                self._cookies[cookie[0]] = cookie[1]
                # A session may stand for a password; a short value is none, and a word of our sentences would blot them out.
                # A server reads it without its quotes and percents, and repeats that.
                for value in (cookie[1], cookie[1].strip('"'), percent_decoded(cookie[1].strip('"'))):
                    is_word = len(value) < 8 or value.lower() in OUR_WORDS
                    runtime.keep_secret("" if is_word else value)
            elif cookie and not cookie[1]:
                self._cookies.pop(cookie[0], None)


def no_free_license(url: str) -> runtime.Problem:
    """All licenses for users are in use, the monitoring user's too."""
    what = f"the server has no free user license, so {url} cannot be read"
    return runtime.Problem(f"{what}: the state of the key is unknown; end a session there")


def refuse(answer: Answer, login: Login | None) -> None:
    """Say why an answer is not what was asked for, if it is a refusal; field captures and RFC 9110."""
    said = answer.refusal()
    if said == "licenses":
        raise no_free_license(answer.url)
    if answer.status == 401 or said == "login":
        if login is None:
            raise runtime.Problem(f"{answer.url} asks for a login: give -l USER and --password-file")
        user = runtime.clean(login.user, 60)
        raise runtime.Problem(f"login refused for user {user} at {answer.url}: check --password-file and the user's rights")
    if answer.status == 403:
        who = f"user {runtime.clean(login.user, 60)}" if login else "a visitor without login"
        raise runtime.Problem(f"{who} may not read {answer.url} (HTTP 403): check the user's rights")
    sender = answer.header("server")
    if answer.status == 503 and (not sender or "kodeks" in sender.lower()):
        what = f"the server is in maintenance mode (HTTP 503 from {answer.url})"
        raise runtime.Problem(f"{what}: the state of the key is unknown; end it there if nobody is updating")
    if answer.status == 503:
        what = f"{answer.url} fails with HTTP 503: {runtime.clean(sender, 60)} answers"
        raise Unreachable(f"{what}, the Kodeks server behind it does not; {CHECK_SERVER}")
    if answer.status >= 500:
        what = f"{answer.url} fails with HTTP {answer.status}: something answers"
        raise Unreachable(f"{what}, the Kodeks server does not; {CHECK_SERVER}")
    if answer.status == 400:
        raise runtime.Problem(f"HTTP 400 from {answer.url}: the request was not understood; check -p, and -S for HTTPS")
    if answer.status != 200 and not_from_kodeks(answer):
        raise not_kodeks(answer, f"HTTP {answer.status}")
    if answer.status != 200:
        raise runtime.Problem(f"HTTP {answer.status} from {answer.url}: is this a Kodeks server? Check -H and -p")


def not_from_kodeks(answer: Answer) -> str:
    """The program that sent an answer, where it tells its name and is not Kodeks; "" otherwise."""
    sender = answer.header("server") or answer.header("x-powered-by")
    return "" if "kodeks" in sender.lower() else runtime.clean(sender, 60)


def not_kodeks(answer: Answer, what: str) -> Exception:
    """The failure of a page that is not what was asked for, by who sent it."""
    if "kodeks" in answer.header("server").lower():
        return runtime.Problem(f"{what} from {answer.url}: wrong page, or the user lacks the right to see it")
    name = not_from_kodeks(answer) or "an unnamed server"
    return Unreachable(f"{what} from {answer.url}: {name} answers in place of Kodeks, which may be down")


def read_license_page(server: Server) -> Reading:
    """The license page's binding lines."""
    answer = server.page("GET", LICENSE_PAGE)
    refuse(answer, server.login)
    statements = parse_license_page(answer.text(), f"binding of {LICENSE_PAGE}")
    if not statements:
        raise not_kodeks(answer, "no binding line")
    notes = tuple(f"binding: {statement.text}" for statement in statements)
    statement = worst_of(statements)
    if statement.state == UNKNOWN:
        statement = statement._replace(sentence=f"{statement.sentence}; look at the page in a browser")
    return Reading(statement, notes=(f"source: {answer.url}", *notes))
