"""One look at a forwarder: its list and its port. attached.py asks USB/IP, process.py looks for processes."""

from __future__ import annotations

import os
import socket
import sys
import time
from typing import NamedTuple

from ..contract import deadline
from ..contract.private_files import read_private
from ..contract.run import Finding
from ..contract.verdict import CRITICAL, OK, UNKNOWN, Problem, clean
from ..machine.command import run_command
from ..machine.tcp import NoConnection, connect
from .listing import Listing, Odd, decode, first_line, readings
from .product import Product

ANSWER_LIMIT = 5.0  # seconds for one answer of a tool, a server or a service manager
LIST_BYTES = 1 << 20
LONGEST_LINE = 4000  # characters


class Request(NamedTuple):
    """What the operator asks, defaults filled in. What is empty is not judged; `list_age` in minutes."""

    product: Product
    command: tuple[str, ...]
    list_file: str
    list_age: float
    usbip: bool
    side: str
    host: str
    port: int
    processes: tuple[str, ...]
    services: tuple[str, ...]


class Facts:
    """What one look found: findings about the parts process, answer and device; seconds that answers took."""

    def __init__(self, request: Request) -> None:
        self.findings: list[tuple[str, Finding]] = []
        self.listing: Listing | None = None
        self.running: int | None = None  # processes that were asked for
        self.seconds: float | None = None
        self.waits = bool(request.command) + bool(request.host) + len(request.services)

    def found(self, part: str, state: int, sentence: str) -> None:
        """Add a finding."""
        self.findings.append((part, Finding(state, clean(sentence, 400))))

    def answered(self, since: float) -> None:
        """An answer came that was awaited since then (time.monotonic())."""
        self.seconds = (self.seconds or 0.0) + time.monotonic() - since

    def share(self) -> float:
        """Seconds for the next wait: what is left is divided among the waits to come."""
        self.waits -= 1
        return min(deadline.remaining() / max(1, self.waits + 1), ANSWER_LIMIT)


# --- A list that a tool prints, or that somebody captured -------------------------------------------


def ask_list(request: Request, facts: Facts) -> None:
    """Run the list command."""
    if not request.command:
        return
    product, where = request.product, f"list command {clean(' '.join(request.command), 80)}"
    deadline.doing(f"running {where}")
    started = time.monotonic()
    output = run_command(request.command, facts.share(), LIST_BYTES)
    if output.failure:
        hint = ""
        if output.failure == "does not exist":
            hint = "; install it here, or name it with --list-command"
        elif output.failure.startswith("did not end") and not request.processes:
            hint = "; if its daemon is frozen, --process tells"
        raise Problem(f"{where} {output.failure}{hint}")
    facts.answered(started)
    text, code = decode(output.stdout), output.code or 0
    if product.exit_codes:
        unknown = ("answer", Finding(UNKNOWN, f"{where} ended with exit code {code}, which is not known"))
        facts.findings.append(product.exit_codes.get(code, unknown))
    elif request.command[-1] in product.silent and not text.strip() and not code:
        facts.listing = product.silent[request.command[-1]]
    else:
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        failure = f"{where} ended with {how}: {clean(first_line(text.split(chr(10))), 120)}"
        failed = code < 0 or (code > 0 and product.exit_code_counts)
        use_list(text, where, failure if failed else "", request, facts)


def use_list(text: str, where: str, failure: str, request: Request, facts: Facts) -> None:
    """Read a list. What a tool that has failed says in known words counts, its list does not."""
    lines = [line.rstrip() for line in text.split("\n")]
    assert request.product.read is not None
    try:
        if max(map(len, lines)) > LONGEST_LINE:
            raise Odd(f"a line of more than {LONGEST_LINE} characters")
        reading = request.product.read(lines)
    except Odd as odd:
        what = f"{where} is no list of {request.product.title} that this check knows"
        evidence = clean(readings(str(odd))[0], 120) or "nothing printable"
        raise Problem(failure or f"{what}: {evidence}") from None
    if isinstance(reading, Finding):
        facts.found("answer", *reading)
    elif failure:
        raise Problem(failure)
    else:
        facts.listing = reading


def read_captured(request: Request, facts: Facts) -> None:
    """A list from a file or from standard input. What an old file says may have been true once."""
    path, shown = request.list_file, clean(request.list_file, 120)
    if path == "-":
        deadline.doing("reading the list from standard input")
        if hasattr(os, "set_blocking"):  # the writer may have made the pipe one that does not wait
            os.set_blocking(0, True)
        output = sys.stdin.buffer.read(LIST_BYTES + 1)
        if len(output) > LIST_BYTES:
            raise Problem(f"the list on standard input is larger than {LIST_BYTES} bytes")
    elif path:
        text = read_private(path, "--list-output", LIST_BYTES, private=False)
        output = text.encode("utf-8", "surrogateescape")
        age = (time.time() - os.stat(path).st_mtime) / 60
        if age < -1:
            clocks = "check the clocks of this machine and of the one that writes it"
            raise Problem(f"list {shown} is dated {-age:.0f} minutes in the future: {clocks}")
        if age > request.list_age:
            old = max(round(age), int(request.list_age) + 1)  # 60.2 is not "60, more than 60"
            limit = f"more than --list-max-age {request.list_age:g}: does the job that writes it still run?"
            raise Problem(f"list {shown} is {old} minutes old, {limit}")
    if path:
        use_list(decode(output), "the captured list", "", request, facts)


# --- A port -----------------------------------------------------------------------------------------


def ask_port(request: Request, facts: Facts) -> None:
    """Whether a TCP port takes connections: all that can be asked where no protocol is public."""
    if request.host and not request.usbip:
        place = at(request.host, request.port)
        deadline.doing(f"connecting to {place}")
        started = time.monotonic()
        open_connection(request.host, request.port, started + facts.share()).close()
        facts.answered(started)
        facts.found("answer", OK, f"port open at {place} (which proves neither license nor key)")


def open_connection(host: str, port: int, until: float) -> socket.socket:
    """A connection to the forwarder before `until` (time.monotonic())."""
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
