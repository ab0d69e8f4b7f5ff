"""Network services that fail on purpose: a TCP port with a will of its own, and the ways in which an answer goes wrong.

`Port` accepts, refuses or ignores connections and can change its mind while clients are there. `deliver()` sends an
HTTP answer as it should be sent, or as one of the `Fault`s would have it. Stand-ins for HTTP services are built on it.
"""

from __future__ import annotations

import gzip
import http.client
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum
from typing import BinaryIO

Headers = tuple[tuple[str, str], ...]


# --- The port ---------------------------------------------------------------------------------------------------------


class PortState(str, Enum):
    """How a TCP port meets a client: the connection opens, is refused, or the client's SYN stays unanswered."""

    OPEN = "open"
    REFUSED = "refused"
    FILTERED = "filtered"


class Certificate(str, Enum):
    """What a server shows; NONE is plain HTTP. All but SELF_SIGNED come from the lab's own authority."""

    NONE = "none"
    TRUSTED = "trusted"
    SELF_SIGNED = "self-signed"
    EXPIRED = "expired"
    WRONG_NAME = "wrong name"


class Connection:
    """One accepted connection; its methods raise OSError once the client or the port is gone."""

    def __init__(self, accepted: socket.socket, closing: threading.Event) -> None:
        self.socket = accepted
        self.reader: BinaryIO = accepted.makefile("rb")
        self._closing = closing

    def secure(self, context: ssl.SSLContext) -> None:
        """Do the server's part of a TLS handshake; everything after it is encrypted."""
        self.reader.close()
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.reader = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self.socket.sendall(data)

    def pause(self, seconds: float | None = None) -> None:
        """Do nothing for some seconds, or until the port is shut."""
        if self._closing.wait(seconds):
            raise ConnectionAbortedError("the port was shut")

    def reset(self) -> None:
        """End the connection with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def interrupt(self) -> None:
        """Wake the thread that serves this connection from whatever it waits for."""
        with suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """End the connection; a second call does nothing."""
        with suppress(OSError):
            self.reader.close()
        with suppress(OSError):
            self.socket.close()


class Port:
    """A TCP port that stays ours from the first moment to `shut()`, whatever state it is in.

    `serve` gets each accepted connection in a thread of its own and may raise OSError. Port number 0 lets the kernel
    choose; `number` says what it chose. A port is born REFUSED.
    """

    def __init__(self, serve: Callable[[Connection], None], host: str = "127.0.0.1", number: int = 0) -> None:
        self.host = host
        self.state = PortState.REFUSED
        self._serve = serve
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._connections: set[Connection] = set()
        self._fillers: list[socket.socket] = []
        self._listener: socket.socket | None = None
        # Bound and never listening: connections are refused, and nobody else is given the number meanwhile.
        self._guard = self._bound(number)
        self.number: int = self._guard.getsockname()[1]

    def _bound(self, number: int) -> socket.socket:
        bound = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((self.host, number))
        return bound

    def become(self, state: PortState) -> None:
        """Meet the next client in this way; connections that exist go on."""
        if state is self.state:
            return
        self._stop_listening()
        self.state = state
        if state is not PortState.REFUSED:
            self._listener = self._bound(self.number)
            self._listener.listen(128 if state is PortState.OPEN else 0)
        if state is PortState.OPEN:
            self._in_thread(self._accept, self._listener)
        if state is PortState.FILTERED:
            self._fill()

    def _fill(self) -> None:
        """Let connections that nobody accepts fill the queue: Linux then drops every further SYN, as a firewall would."""
        for _ in range(2):
            filler = socket.socket(self._guard.family)
            filler.setblocking(False)
            filler.connect_ex((self.host, self.number))
            self._fillers.append(filler)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            self._in_thread(self._attend, Connection(accepted, self._closing))

    def _attend(self, connection: Connection) -> None:
        self._connections.add(connection)
        try:
            if not self._closing.is_set():
                self._serve(connection)
        except OSError:
            pass  # the client went away, or the port was shut
        finally:
            connection.close()
            self._connections.discard(connection)

    def _in_thread(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        with self._lock:
            thread.start()
            self._threads = [known for known in self._threads if known.is_alive()] + [thread]

    def _stop_listening(self) -> None:
        if self._listener:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # close() alone would not wake accept()
            self._listener.close()
        for filler in self._fillers:
            filler.close()
        self._listener, self._fillers = None, []

    def shut(self) -> None:
        """Refuse from now on, end every connection, wait for their threads and give the number back."""
        self._closing.set()
        self._stop_listening()
        for connection in list(self._connections):
            connection.interrupt()
        while self._threads:  # the thread that accepts may start one more before it ends
            self._threads.pop().join(5)
        self._guard.close()


# --- Answers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reply:
    """One HTTP answer, sent after `delay` seconds; a `chunked` body goes piece by piece as it is made, any other whole."""

    status: int = 200
    headers: Headers = ()
    body: Iterable[bytes] = ()
    chunked: bool = False
    delay: float = 0.0

    def head(self, *framing: tuple[str, str]) -> bytes:
        """The status line and the headers, with `framing` headers at their end."""
        reason = http.client.responses.get(self.status, "")
        lines = [f"HTTP/1.1 {self.status} {reason}", *(f"{name}: {value}" for name, value in self.headers + framing)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")


class Fault(str, Enum):
    """A way in which an answer goes wrong."""

    SILENT = "silent"  # the connection opens, nothing ever comes
    EMPTY = "empty reply"
    RESET = "reset"  # RST in the middle of the body
    GARBAGE = "garbage"  # another protocol
    DRIP_HEADERS = "drip headers"  # one byte a second
    DRIP_BODY = "drip body"
    ENDLESS_BODY = "endless body"
    LENGTH_TOO_LONG = "length too long"  # announces more than it sends
    LENGTH_TOO_SHORT = "length too short"
    CUT_CHUNK = "cut chunk"  # ends inside a chunk
    BAD_CHUNK = "bad chunk"  # a chunk size that is not a number
    NO_LAST_CHUNK = "no last chunk"  # every chunk arrives, the end does not
    HUGE_HEADER = "huge header"
    GZIP = "gzip"  # Content-Encoding that nobody asked for
    ENDLESS_307 = "endless 307"  # to the same URL, cookies or not
    ENDLESS_REDIRECT = "endless redirect"  # to a new URL every time
    ELSEWHERE = "redirect elsewhere"  # 307, so a POST would be sent again, password and all
    UNAUTHORIZED = "401"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    SERVER_ERROR = "500"
    UNAVAILABLE = "503"


HTML = ("Content-Type", "text/html; charset=utf-8")


def distorted(reply: Reply, fault: Fault, target: str, elsewhere: str) -> Reply:
    """The answer to `target` that a fault puts in place of `reply`; the same reply where the fault is in its bytes."""
    kept = tuple((name, value) for name, value in reply.headers if name in ("Server", "Date"))
    if fault.value.isdigit():
        challenge = (("WWW-Authenticate", 'Basic realm="Kodeks"'),) if fault is Fault.UNAUTHORIZED else ()
        return Reply(int(fault.value), (*kept, *challenge, HTML), [f"<H1>{fault.value}</H1>\r\n".encode()])
    if fault is Fault.ENDLESS_307:
        return Reply(307, (*kept, ("Location", target), ("Set-Cookie", "Kodeks=again; path=/")))
    if fault is Fault.ENDLESS_REDIRECT:
        path, _, hop = target.partition("?hop=")
        return Reply(302, (*kept, ("Location", f"{path}?hop={int(hop or 0) + 1}")))
    if fault is Fault.ELSEWHERE:
        return Reply(307, (*kept, ("Location", elsewhere)))
    if fault is Fault.HUGE_HEADER:
        return replace(reply, headers=(*reply.headers, ("X-Filler", "x" * 1_000_000)))
    if fault is Fault.GZIP:
        encoded = gzip.compress(b"".join(reply.body), mtime=0)
        return replace(reply, headers=(*reply.headers, ("Content-Encoding", "gzip")), body=[encoded])
    return reply


def deliver(connection: Connection, reply: Reply, fault: Fault | None = None, pace: float = 1.0) -> bool:
    """Send an answer, with a fault in its bytes or without; True when the connection can carry another.

    `pace` is the time in seconds between two dripped bytes. OSError when the client is gone.
    """
    connection.pause(reply.delay)
    if fault in BROKEN_DELIVERIES:
        BROKEN_DELIVERIES[fault](connection, reply, pace)
        return False
    if reply.chunked:
        connection.send(reply.head(CHUNKED))
        for piece in reply.body:
            connection.send(chunk(piece) if piece else b"")
        connection.send(chunk(b""))
    else:
        body = b"".join(reply.body)
        connection.send(reply.head(("Content-Length", str(len(body)))) + body)
    return True


CHUNKED = ("Transfer-Encoding", "chunked")


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of the chunked transfer coding (RFC 9112, 7.1); empty data is the last chunk."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _silent(connection: Connection, _reply: Reply, _pace: float) -> None:
    connection.pause()


def _empty(_connection: Connection, _reply: Reply, _pace: float) -> None:
    return


def _reset(connection: Connection, reply: Reply, _pace: float) -> None:
    body = b"".join(reply.body)
    connection.send(reply.head(("Content-Length", str(len(body) + 1))) + body[: len(body) // 2])
    connection.pause(0.05)  # the first half shall arrive before the reset makes the client forget it
    connection.reset()


def _garbage(connection: Connection, _reply: Reply, _pace: float) -> None:
    connection.send(b"SSH-2.0-OpenSSH_9.2\r\n" + bytes(range(256)) * 4 + b"\r\n")


def _drip(connection: Connection, data: bytes, pace: float) -> None:
    for byte in data:
        connection.send(bytes([byte]))
        connection.pause(pace)


def _drip_headers(connection: Connection, reply: Reply, pace: float) -> None:
    body = b"".join(reply.body)
    _drip(connection, reply.head(("Content-Length", str(len(body)))) + body, pace)


def _drip_body(connection: Connection, reply: Reply, pace: float) -> None:
    body = b"".join(reply.body)
    connection.send(reply.head(("Content-Length", str(len(body)))))
    _drip(connection, body, pace)


def _endless_body(connection: Connection, reply: Reply, _pace: float) -> None:
    connection.send(reply.head(CHUNKED))
    for piece in _endless(reply.body):
        connection.send(chunk(piece))


def _endless(body: Iterable[bytes]) -> Iterator[bytes]:
    """The body up to its last 20 bytes, which would close it, and then blanks for ever."""
    whole = b"".join(body)
    yield whole[:-20] or b" "
    while True:
        yield b" " * 65536


def _length_too_long(connection: Connection, reply: Reply, _pace: float) -> None:
    body = b"".join(reply.body)
    connection.send(reply.head(("Content-Length", str(len(body) + 1000))) + body)


def _length_too_short(connection: Connection, reply: Reply, _pace: float) -> None:
    body = b"".join(reply.body)
    connection.send(reply.head(("Content-Length", str(len(body) // 2))) + body)


def _cut_chunk(connection: Connection, reply: Reply, _pace: float) -> None:
    body = b"".join(reply.body)
    half = len(body) // 2
    connection.send(reply.head(CHUNKED) + chunk(body[:half] or b" ") + b"10000\r\n" + body[half:][:100])


def _bad_chunk(connection: Connection, reply: Reply, _pace: float) -> None:
    connection.send(reply.head(CHUNKED) + b"many\r\n" + b"".join(reply.body) + b"\r\n0\r\n\r\n")


def _no_last_chunk(connection: Connection, reply: Reply, _pace: float) -> None:
    connection.send(reply.head(CHUNKED) + chunk(b"".join(reply.body) or b" "))


BROKEN_DELIVERIES: dict[Fault | None, Callable[[Connection, Reply, float], None]] = {
    Fault.SILENT: _silent,
    Fault.EMPTY: _empty,
    Fault.RESET: _reset,
    Fault.GARBAGE: _garbage,
    Fault.DRIP_HEADERS: _drip_headers,
    Fault.DRIP_BODY: _drip_body,
    Fault.ENDLESS_BODY: _endless_body,
    Fault.LENGTH_TOO_LONG: _length_too_long,
    Fault.LENGTH_TOO_SHORT: _length_too_short,
    Fault.CUT_CHUNK: _cut_chunk,
    Fault.BAD_CHUNK: _bad_chunk,
    Fault.NO_LAST_CHUNK: _no_last_chunk,
}
"""The faults that are in the bytes; each leaves the connection useless, and the port closes it."""
