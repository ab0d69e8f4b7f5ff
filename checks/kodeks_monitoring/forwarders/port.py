"""The forwarder's TCP port."""

from __future__ import annotations

import socket
import time

from ..contract import deadline
from ..contract.verdict import CRITICAL, OK, Problem, clean
from ..machine.tcp import NoConnection, connect
from .ask import Facts, Request, patience


def ask_port(request: Request, facts: Facts) -> None:
    """Whether a TCP port takes connections: all that can be asked where no protocol is public."""
    started = time.monotonic()
    open_connection(request.host, request.port, started + patience()).close()
    facts.answered(started)
    place = at(request.host, request.port)
    facts.found("answer", OK, f"port open at {place} (which proves neither license nor key)")


def open_connection(host: str, port: int, until: float) -> socket.socket:
    """A connection to the forwarder before `until` (time.monotonic())."""
    deadline.doing(f"connecting to {at(host, port)}")
    try:
        return connect(host, port, until)
    except NoConnection as error:
        if error.unresolved:
            how = "is not resolved in time" if error.late else "cannot be resolved"
            raise Problem(f"the name {clean(host, 100)} {how}: {error}") from None
        what = f"forwarder does not answer at {at(host, port)} ({error})"
        remedy = "does it run there, and does a firewall let this machine in?"
        raise Problem(f"{what}: {remedy}", CRITICAL) from None


def at(host: str, port: int) -> str:
    """HOST:PORT for people; an IPv6 address in brackets."""
    return f"[{clean(host, 100)}]:{port}" if ":" in host else f"{clean(host, 100)}:{port}"
