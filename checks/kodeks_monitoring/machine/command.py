"""A program that a check runs: without a shell, for a limited time and output, and never left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from typing import Any, NamedTuple, Sequence

from ..contract import deadline
from ..contract.language import N_, _
from ..contract.verdict import clean


class CommandOutput(NamedTuple):
    """How a program ended and what it printed, on stdout and stderr together.

    `failure` is "" when it ended by itself within its limits, else a phrase that completes "COMMAND ...", for
    example "does not exist" or "did not end within 5 s". `code` is its exit code; negative = the signal that
    ended it; None = it was never started or had to be killed."""
    stdout: bytes
    code: int | None
    failure: str = ""


def run_command(command: Sequence[str], limit: float, max_bytes: int = 1 << 20) -> CommandOutput:
    """Run a program for at most `limit` seconds and `max_bytes` bytes of output.

    It has a process group of its own and is killed with it. A grandchild that keeps the output open takes the
    whole limit, and what the program itself has printed counts."""
    limit = min(limit, deadline.remaining())
    until = time.monotonic() + limit
    _leave_none_behind()
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
        known = {"FileNotFoundError": N_("does not exist"), "PermissionError": N_("may not be executed")}
        why = _("cannot be started ({why})", _(clean(getattr(error, "strerror", None) or error, 80)))
        return CommandOutput(b"", None, _(known.get(type(error).__name__, why)))
    deadline.children.add(child)
    output = _read(child, max_bytes, until)
    code = None
    if len(output) <= max_bytes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = child.wait(max(0.02, until - time.monotonic()))
    deadline.kill(child)
    if len(output) > max_bytes:
        return CommandOutput(output[:max_bytes], None, _("printed more than {limit} bytes", max_bytes))
    late = _("did not end within {limit} s", f"{limit:.3g}")
    return CommandOutput(output, code, "" if code is not None else late)


def _leave_none_behind() -> None:
    """Windows has no process groups. A job object, whose only handle goes with this process, ends what this
    starts, grandchildren included (Microsoft: JOBOBJECT_BASIC_LIMIT_INFORMATION, KILL_ON_JOB_CLOSE)."""
    if sys.platform == "win32":
        import ctypes

        kernel32 = ctypes.windll.kernel32
        job = kernel32.CreateJobObjectW(None, None)
        limits = bytes(17) + b"\x20" + bytes(126)  # the flag 0x2000 in the extended form (9) of 64 bit
        kernel32.SetInformationJobObject(job, 9, limits, len(limits))
        kernel32.AssignProcessToJobObject(job, ctypes.c_void_p(-1))  # this process


def _read(child: subprocess.Popen[bytes], max_bytes: int, until: float) -> bytes:
    """The output up to its end, to one piece over the limit, or to a moment (time.monotonic())."""
    output = bytearray()
    stdout: Any = child.stdout

    def read() -> None:
        with contextlib.suppress(OSError, ValueError):  # what has been read is what there is
            while len(output) <= max_bytes and (piece := os.read(stdout.fileno(), 65536)):
                output.extend(piece)

    reader = threading.Thread(target=read, daemon=True)  # select() knows no pipes on Windows
    reader.start()
    reader.join(max(0.0, until - time.monotonic()))
    return bytes(output)
