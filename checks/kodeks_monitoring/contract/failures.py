"""A failure that nobody foresaw, as a verdict: what is missing or broken, and what to do."""

from __future__ import annotations

import os
from types import TracebackType

from .. import PROJECT
from .verdict import UNKNOWN, Problem, Verdict, clean

LIBRARIES = {
    "nagiosplugin": ("python3-nagiosplugin", "nagiosplugin"),
    "usb": ("python3-usb", "pyusb"),
    "psutil": ("python3-psutil", "psutil"),
}
"""The libraries that are not Python's own, by module: Debian's package and PyPI's."""


def verdict_on(error: BaseException, trace: TracebackType | None, waiting_for: str) -> Verdict:
    """The verdict on an exception that reached the top. `waiting_for` is what the check was doing."""
    if isinstance(error, Problem):
        return Verdict(error.state, str(error))
    return Verdict(UNKNOWN, _sentence_for(error, trace, waiting_for))


def _sentence_for(error: BaseException, trace: TracebackType | None, waiting_for: str) -> str:
    module = (error.name or "").split(".")[0] if isinstance(error, ImportError) else ""
    if module in LIBRARIES and isinstance(error, ModuleNotFoundError):
        debian, pip = LIBRARIES[module]
        return f"the Python library {pip} is missing: install the package {debian}, or run pip install {pip}"
    if module == "kodeks_monitoring" or (isinstance(error, SyntaxError) and "kodeks_" in str(error.filename)):
        return f"the check is incomplete ({clean(error, 200)}): copy the whole checks folder again"
    if isinstance(error, MemoryError):
        return f"out of memory while {waiting_for}"
    if isinstance(error, OSError) and error.filename:
        return f"{clean(error.filename, 160)} cannot be read: {clean(error.strerror, 100)}; check its rights"
    where = ""
    while trace is not None:
        where = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
        trace = trace.tb_next
    what = f"{type(error).__name__}: {clean(error, 200)}"
    return f"internal error while {waiting_for}: {what}{where}; please report it to {PROJECT}"
