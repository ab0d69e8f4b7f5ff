"""How a plugin begins and ends: its deadline, signals, uncaught errors, and the one write of its line.

nagiosplugin's time limit is an exception from SIGALRM: `except Exception` swallows it, and C code that does
not return never sees it. Here a thread writes the line itself and ends the process; behind it SIGALRM, for a
runaway regular expression stops threads, not signals (measured with a mutex, a busy loop, a pattern).
"""

from __future__ import annotations

import _thread
import atexit
import contextlib
import os
import re
import signal
import sys
import time
from typing import Any, NoReturn, Sequence

from .. import PROJECT
from . import language
from .language import _
from .verdict import CRITICAL, UNKNOWN, WARNING, Verdict, verdict_on, worst

DEFAULT_LIMIT = 10.0  # seconds
ALARM_STATES = {"warning": WARNING, "critical": CRITICAL, "unknown": UNKNOWN, "1": 1, "2": 2, "3": 3}


class _Plugin:
    """This process as a plugin. There is one."""
    service = ""  # "" = the process is not taken over
    started = time.monotonic()
    limit = DEFAULT_LIMIT
    state_when_late = UNKNOWN
    waiting_for = ""
    part = ""
    stdout_closed = False
    speaking = _thread.allocate_lock()  # whoever writes the line keeps it: there is only one line


_plugin = _Plugin()
children: set[Any] = set()  # programs (subprocess.Popen) that must not be left behind


def _seconds_left() -> float:
    return _plugin.started + _plugin.limit - time.monotonic()


def doing(what: str) -> None:
    """Say what the check is about to wait for; a timeout names it ("timed out after 10 s while ...")."""
    _plugin.waiting_for = what


def remaining() -> float:
    """Seconds that a socket or a child may take, so that the check, not the watchdog, tells what happened."""
    return max(0.01, _seconds_left() - min(0.3, _plugin.limit * 0.1))


def set_part(part: str) -> None:
    """From now on a line about a failure carries the perfdata `<part>_state`: the check has begun to ask."""
    _plugin.part = part


def set_limit(limit: float, state: int | None) -> None:
    """Set the seconds that this process may take, and the exit code of a timeout, None = UNKNOWN."""
    _plugin.limit, _plugin.state_when_late = limit, UNKNOWN if state is None else state
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, max(_seconds_left(), 0) + 0.1)


def parse_limit(text: str) -> tuple[float, int | None] | None:
    """`SECONDS[:STATE]`: seconds up to a day, and the exit code of a timeout, None where it is not named.

    None = the text has another form."""
    form = r"([0-9]{1,5}(?:\.[0-9]{1,6})?)(?::(warning|critical|unknown|[123]))?"
    found = re.fullmatch(form, text.lower())
    if not found or not 0 < float(found[1]) <= 86400:
        return None
    return float(found[1]), ALARM_STATES[found[2]] if found[2] else None


def limit_in(arguments: Sequence[str]) -> tuple[float, int | None]:
    """The limit as the bare arguments have it, before any parser exists. Of nonsense the parser will tell."""
    values = re.findall(r"(?m)^(?:--timeout|-t)[=\n]?(.+)", "\n".join(arguments))
    return ([limit for limit in map(parse_limit, values) if limit] or [(DEFAULT_LIMIT, None)])[-1]


def _watch() -> None:
    while (left := _seconds_left()) > 0:
        time.sleep(min(left, 0.1))  # the options may shorten the limit
    _expire()


def _expire(*signal_and_frame: object) -> NoReturn:
    state = _plugin.state_when_late
    if not _plugin.speaking.acquire(False):
        time.sleep(0.1)  # the line is being written; a reader that never reads must not hold us
        os._exit(state)
    limit, doing = f"{_plugin.limit:g}", _plugin.waiting_for
    sentence = _("timed out after {limit} s while {doing}", limit, doing)
    try:  # the line first: a child may be in uninterruptible sleep
        _write(_rendered(Verdict(state, sentence)))
        for child in list(children):
            kill(child)
    finally:
        os._exit(state)


def end(verdict: Verdict) -> NoReturn:
    """Write the verdict and end the process at once.

    A verdict that nobody could read is not a good one: if stdout is closed or full, OK and WARNING leave as
    UNKNOWN. os._exit() is used because the interpreter's shutdown may print to stderr, and a stuck thread of
    a C library could hold it up."""
    output = _rendered(verdict)  # before the lock: what it raises must still be told
    end_with(verdict.state, output)


def end_with(state: int, output: bytes) -> NoReturn:
    """Like end(), with an output that is rendered already."""
    _plugin.speaking.acquire()
    for child in list(children):
        kill(child)
    os._exit(state if _write(output) else worst((state, UNKNOWN)))


def _rendered(verdict: Verdict) -> bytes:
    if _plugin.part and not verdict.perfdata:
        verdict = verdict._replace(perfdata=(f"{_plugin.part}_state={verdict.state}",))
    return verdict.render(_plugin.service, output_encoding())


def output_encoding() -> str:
    """UTF-8, which engines require in whatever locale they start a check; a terminal keeps its own."""
    # Not sys.stdout.encoding: Windows' console has a code page for whoever writes bytes to it.
    return os.device_encoding(1) or "utf-8"


def _write(output: bytes) -> bool:
    try:
        while output and not _plugin.stdout_closed:
            output = output[os.write(1, output) :]
    except OSError:
        return False
    return not output


def _ended_by_signal(number: int, frame: object) -> None:
    if _plugin.speaking.locked():
        return  # the verdict is being written already
    sentence = _("ended by a signal while {doing}", _plugin.waiting_for)
    if number == signal.SIGINT:
        sentence = _("interrupted while {doing}", _plugin.waiting_for)
    end(Verdict(UNKNOWN, sentence))


def kill(child: Any) -> None:
    """End a program with its process group. One in uninterruptible sleep is not waited for."""
    with contextlib.suppress(OSError):  # it has ended
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    children.discard(child)


def take_over(service: str) -> None:
    """Make this process a plugin that is called `service` ("SENSELOCK") in its line."""
    if _plugin.service:
        return
    _plugin.service = service
    language.choose(sys.argv[1:])
    doing(_("starting"))
    # Occupy closed descriptors 0 to 2, so that no socket gets stdout's number, and silence stderr.
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        _plugin.stdout_closed |= null == 1
    os.dup2(null, 2)
    sys.excepthook = lambda kind, error, trace: end(verdict_on(error, trace, _plugin.waiting_for))
    # A file cut by a failed copy ends without a word, and exit 0 would mean OK.
    silent = _("ended without a verdict: the file is incomplete; install {project} again", PROJECT)
    atexit.register(end, Verdict(UNKNOWN, silent))
    set_limit(*limit_in(sys.argv[1:]))
    try:
        _thread.start_new_thread(_watch, ())
    except RuntimeError:
        end(Verdict(UNKNOWN, _("no thread can be started: raise the limits of processes and memory")))
    actions: dict[str, Any] = dict.fromkeys(("SIGTERM", "SIGINT", "SIGHUP"), _ended_by_signal)
    # An engine may ignore SIGCHLD; the kernel then forgets exit codes, and Python takes each for a 0.
    actions.update(SIGALRM=_expire, SIGCHLD=signal.SIG_DFL)
    for name in actions.keys() & set(dir(signal)):  # Windows has but the first two
        signal.signal(getattr(signal, name), actions[name])


def start(service: str, module: str) -> None:  # the last of this file, so that a cut copy lacks it
    """The first call of a check: from here on its deadline runs and every failure becomes a line.

    `module` is the caller's __name__. The process is taken over only if the check is the program itself (run
    as a file, by its console script, or from a zip application): importing a check as a library changes
    nothing."""
    program = os.path.basename(sys.argv[0] if sys.argv else "")
    if module == "__main__" or os.path.normcase(os.path.splitext(program)[0]) == module:
        take_over(service)
