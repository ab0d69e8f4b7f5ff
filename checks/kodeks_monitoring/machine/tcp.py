"""A TCP connection within a time limit, and what the operating system says when there is none."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

from ..contract.language import _
from ..contract.verdict import clean


class NoConnection(Exception):
    """A TCP connection that did not come about. The text says why in a few words.

    `late`: because the time was over. `unresolved`: the name has no address, so nobody was asked."""

    def __init__(self, why: str, late: bool, unresolved: bool = False) -> None:
        super().__init__(why)
        self.late, self.unresolved = late, unresolved


def connect(host: str, port: int, until: float) -> socket.socket:
    """A TCP connection before `until` (time.monotonic()) to the first address of the host that accepts.

    Raises NoConnection. The addresses share the time, so that a dead IPv6 address does not use it all up."""
    addresses = _addresses(host, port, until)
    failures: list[OSError] = []
    for address in addresses:
        share = (until - time.monotonic()) / (len(addresses) - len(failures))
        try:
            return socket.create_connection(address, max(0.01, share))
        except OSError as error:
            failures.append(error)
    raise NoConnection(why_of(failures[0]), late=any(map(is_late, failures)))


def _addresses(host: str, port: int, until: float) -> list[Any]:
    """The addresses of a host. The resolver knows no limit: when time is over it is left in its thread."""
    found: list[Any] = []

    def look_up() -> None:
        try:
            found.extend(entry[4][:2] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.append(error)

    resolver = threading.Thread(target=look_up, daemon=True)
    resolver.start()
    resolver.join(max(0.01, until - time.monotonic()))
    if not found:
        raise NoConnection(_("the name server does not answer"), late=True, unresolved=True)
    if isinstance(found[0], Exception):
        raise NoConnection(why_of(found[0]), late=False, unresolved=True)
    return found


def is_late(error: BaseException) -> bool:
    """Whether an error says that time is over. Before Python 3.10 a socket has its own class for it."""
    return isinstance(error, (TimeoutError, socket.timeout))


def why_of(error: BaseException) -> str:
    """An error of the operating system in a few words, the common ones in ours on every system."""
    if is_late(error):
        return _("no answer in time")
    if isinstance(error, ConnectionRefusedError):
        return _("connection refused")
    if isinstance(error, ConnectionResetError):
        return _("connection reset")
    return _(clean(getattr(error, "strerror", None) or error, 100))
