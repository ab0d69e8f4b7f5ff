"""One look at a forwarder: what is asked, what was found, and its list."""

from __future__ import annotations

import os
import sys
import time
from typing import NamedTuple

from ..contract import deadline
from ..contract.private_files import read_private
from ..contract.run import Finding
from ..contract.verdict import UNKNOWN, Problem, clean
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

    def __init__(self) -> None:
        self.findings: list[tuple[str, Finding]] = []
        self.listing: Listing | None = None
        self.running: int | None = None  # processes that were asked for
        self.seconds: float | None = None

    def found(self, part: str, state: int, sentence: str) -> None:
        """Add a finding."""
        self.findings.append((part, Finding(state, clean(sentence, 400))))

    def answered(self, since: float) -> None:
        """An answer came that was awaited since then (time.monotonic())."""
        self.seconds = (self.seconds or 0.0) + time.monotonic() - since


def patience() -> float:
    """Seconds for the next answer. Half of what is left stays for the others."""
    return min(ANSWER_LIMIT, deadline.remaining() / 2)


def ask_list(request: Request, facts: Facts) -> None:
    """Run the list command."""
    from ..machine.command import run_command

    product, where = request.product, f"list command {clean(' '.join(request.command), 80)}"
    deadline.doing(f"running {where}")
    started = time.monotonic()
    output = run_command(request.command, patience(), LIST_BYTES)
    if output.failure:
        hint = "; install it here, or name it with --list-command" if "not exist" in output.failure else ""
        hint = "; if its daemon is frozen, --process tells" if "did not end" in output.failure else hint
        raise Problem(f"{where} {output.failure}{hint}")
    facts.answered(started)
    text, code = decode(output.stdout), output.code or 0
    if product.exit_codes:
        unknown = ("answer", Finding(UNKNOWN, f"{where} ended with exit code {code}, which is not known"))
        facts.findings.append(product.exit_codes.get(code, unknown))
    elif request.command[-1] in product.silent and not text.strip() and not code:
        facts.listing = product.silent[request.command[-1]]
    else:
        failed = code < 0 or (code > 0 and product.exit_code_counts)
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        use_list(text, where, f"{where} ended with {how}: " if failed else "", request, facts)


def use_list(text: str, where: str, failure: str, request: Request, facts: Facts) -> None:
    """Read a list. What a tool that has failed says in known words counts, its list does not."""
    lines = [line.rstrip() for line in text.split("\n")]
    failure = failure and failure + clean(first_line(lines), 120)
    assert request.product.read is not None
    try:
        if max(map(len, lines)) > LONGEST_LINE:
            raise Odd(f"a line of more than {LONGEST_LINE} characters")
        reading = request.product.read(lines)
    except Odd as odd:
        evidence = clean(readings(str(odd))[0], 120) or "nothing printable"
        what = f"{where} is no list of {request.product.title} that this check knows: {evidence}"
        raise Problem(failure or what) from None
    if isinstance(reading, Finding):
        facts.found("answer", *reading)
    elif failure:
        raise Problem(failure)
    else:
        facts.listing = reading


def read_captured(request: Request, facts: Facts) -> None:
    """A list from a file or from standard input. What an old file says may have been true once."""
    path = request.list_file
    if path == "-":
        deadline.doing("reading the list from standard input")
        if hasattr(os, "set_blocking"):  # the writer may have made the pipe one that does not wait
            os.set_blocking(0, True)
        use_list(decode(sys.stdin.buffer.read(LIST_BYTES)), "the captured list", "", request, facts)
    elif path:
        text = read_private(path, "--list-output", LIST_BYTES, private=False)
        age = (time.time() - os.stat(path).st_mtime) / 60
        if not -1 <= age <= request.list_age:
            old = f"{age:.1f} minutes old" if age > 0 else f"dated {-age:.0f} minutes in the future"
            remedy = "does the job that writes it still run, and are the clocks right?"
            raise Problem(f"list {clean(path, 120)} is {old} (--list-max-age {request.list_age:g}): {remedy}")
        use_list(decode(text.encode("utf-8", "surrogateescape")), "the captured list", "", request, facts)
