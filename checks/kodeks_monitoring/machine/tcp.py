"""A TCP connection within a time limit, and what the operating system says when there is none."""

from __future__ import annotations

import _thread
import socket
import time
from typing import TYPE_CHECKING

from ..contract.verdict import clean

if TYPE_CHECKING:
    from typing import Any


class NoConnection(Exception):
    """A TCP connection that did not come about. The text says why in a few words.

    `late`: because the time was over. `unresolved`: the name has no address, so nobody was asked.
    """

    def __init__(self, why: str, late: bool, unresolved: bool = False) -> None:
        super().__init__(why)
        self.late, self.unresolved = late, unresolved


def connect(host: str, port: int, deadline: float) -> socket.socket:
    """A TCP connection before `deadline` (time.monotonic()) to the first address of the host that accepts.

    Raises NoConnection. The addresses share the time, so that a dead IPv6 address does not use it all up.
    """
    addresses = _addresses(host, port, deadline)
    failures: list[OSError] = []
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        share = (deadline - time.monotonic()) / (len(addresses) - index)
        try:
            connection = socket.socket(family, kind, protocol)
        except OSError as error:  # a machine without IPv6
            failures.append(error)
            continue
        try:
            connection.settimeout(max(0.01, share))
            connection.connect(address)
            return connection
        except OSError as error:
            connection.close()
            failures.append(error)
    raise NoConnection(why_of(failures[0]), late=any(map(is_late, failures)))


def _addresses(host: str, port: int, deadline: float) -> list[Any]:
    """The addresses of a host. The resolver knows no limit: when time is over it is left in its thread."""
    found: list[Any] = []
    answered = _thread.allocate_lock()
    answered.acquire()

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)
        answered.release()

    _thread.start_new_thread(look_up, ())
    if not answered.acquire(True, max(0.01, deadline - time.monotonic())):
        raise NoConnection("the name server does not answer", late=True, unresolved=True)
    if isinstance(found[0], Exception):
        raise NoConnection(why_of(found[0]), late=False, unresolved=True)
    return found


def is_late(error: BaseException) -> bool:
    """Whether an error says that time is over. Before Python 3.10 a socket has its own class for it."""
    return isinstance(error, (TimeoutError, socket.timeout))


def why_of(error: BaseException) -> str:
    """An error of the operating system in a few words, for the common ones in English on every system."""
    if is_late(error):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionResetError):
        return "connection reset"
    return clean(getattr(error, "strerror", None) or error, 100)
