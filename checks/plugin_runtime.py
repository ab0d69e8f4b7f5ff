"""The contract between a check and the engine that runs it, in one place.

A monitoring engine (Nagios, Icinga, NRPE, the Zabbix agent) sees two things of a plugin: the first line it
prints and its exit code. This module owns both. nagiosplugin supplies Resource, Context, Range, Metric, Summary
and the form of perfdata; what it leaves open is closed here, once for all checks:

* every way out ends with exit 0..3 and one first line on stdout, in one write of at most 4000 bytes: the Nagios
  core worker loses bytes beyond a 4096 byte read (measured with Nagios 4.4.6);
* CRITICAL outranks UNKNOWN outranks WARNING outranks OK, and every problem is named, the worst first;
* a watchdog ends the process on time, whatever C code, `except` or a slow import does;
* text from outside can add neither a line nor a `|` nor a control character, and a password never shows.

The story from top to bottom: states; text from outside; the output; how a process ends; the watchdog; child
processes; thresholds and perfdata; options; the run.
Sources: Monitoring Plugins Development Guidelines (exit codes, ranges, perfdata, -h and -V exit 3), the
Monitoring Plugins' "extra-opts" page (ini files), monitoring-plugins issue 1890 (`-t SECONDS[:STATE]`).
"""

from __future__ import annotations

import _thread
import argparse
import atexit
import gc
import math
import os
import re
import signal
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import socket
    import subprocess
    from types import FrameType, TracebackType
    from typing import Any, Callable, Iterable, NoReturn, Sequence

    import nagiosplugin

__version__ = "1.0.0"

PROJECT = "monitoring-plugins-kodeks"

# --- States ---------------------------------------------------------------------------------------------------

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
STATE_NAMES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_RANK = {OK: 0, WARNING: 1, UNKNOWN: 2, CRITICAL: 3}


def worst(states: Iterable[int]) -> int:
    """The state that outranks the others: CRITICAL, then UNKNOWN, WARNING, OK. Nothing judged is UNKNOWN.

    nagiosplugin ranks UNKNOWN above CRITICAL; an operator must see the proven fault first.
    """
    return max(states, key=_RANK.__getitem__, default=UNKNOWN)


class Problem(Exception):
    """The check as a whole cannot say more than this one sentence. `state` is an exit code, never OK."""

    def __init__(self, sentence: str, state: int = UNKNOWN) -> None:
        super().__init__(sentence)
        self.state = state if state in (WARNING, CRITICAL) else UNKNOWN


# --- Text from outside ----------------------------------------------------------------------------------------

_secrets: list[str] = []  # the longest first, since a short one may be a part of it


def clean(text: object, limit: int = 300) -> str:
    """`text` as one harmless piece of a line: printable characters, single blanks, no `|`, at most `limit` characters.

    Whatever a server, a USB string, a tool or a log says may carry line ends, terminal escapes, the perfdata
    separator, or characters that reorder a line; all of that is what `str.isprintable` denies.
    """
    # Far more than the limit is never looked at: the text may be a megabyte of blanks. Secrets go before anything is
    # cut, for half a password is one that nothing recognises any more.
    piece = _printable(_without_secrets(str(text)[: limit * 20 + 1200])[: limit * 20 + 200])
    return piece if len(piece) <= limit else piece[: limit - 3].rstrip() + "..."


def _printable(text: str) -> str:
    text = "".join(character if character.isprintable() else " " for character in text.replace("|", "/"))
    return " ".join(text.split())


def keep_secret(text: str) -> None:
    """Register a password (or a text made from one) that must not appear in any output of this process.

    It is recognised as it is, and in whatever way servers, proxies and pages escape what they were sent. One or two
    characters cannot be hidden without wrecking the sentence, and are no password anybody could recognise there.
    """
    _secrets.extend(spelling for spelling in _spellings(text) - set(_secrets) if len(spelling) > 2)
    _secrets.sort(key=len, reverse=True)
    if text.strip():
        _compared.setdefault(text.strip())


def _spellings(text: str) -> set[str]:
    """A secret without escapes: as it is, in lower case as names of hosts are, with a wrong encoding, as clean() leaves it."""
    found = {text, text.rstrip("="), text.translate({43: "-", 47: "_"})}  # base64 without padding, and the one of URLs
    for codec in ("utf-8", "cp1251"):
        try:
            data = text.encode(codec, "surrogateescape")
        except UnicodeError:
            continue
        found |= {data.decode("latin-1"), data.decode("cp1251", "replace")}  # headers, pages wrongly decoded
    found |= {spelling.lower() for spelling in found}
    return found | {_printable(spelling) for spelling in found}


# Which characters are escaped differs: encodeURIComponent keeps !'()*, Python's quote keeps /, forms write + for a blank.
# So a text is compared with the secrets after its escapes are undone, in bytes, and each byte remembers where it came from.
_ENCODINGS = ("utf-8", "cp1251", "latin-1")
_compared: dict[str, set[bytes] | None] = {}  # a secret without blanks around it, and its bytes once they were needed
_ESCAPES = ("%", "\\", "&", "+")
_ESCAPE = (  # a percent sign may be escaped again, and an ampersand
    r"(?:%(?:25)*|\\)u(?P<high>d[89ab][0-9a-f]{2})(?:%(?:25)*|\\)u(?P<low>d[c-f][0-9a-f]{2})|"
    r"(?:%(?:25)*|\\)u(?P<number>[0-9a-f]{4})|(?:%(?:25)*|\\x)(?P<byte>[0-9a-f]{2})|"
    r"&(?:amp;)*(?:\#x0{0,9}(?P<reference>[0-9a-f]{1,6})|\#0{0,9}(?P<decimal>[0-9]{1,7})|(?P<name>amp|lt|gt|quot|apos));"
)
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
# What clean(), forms and the base64 of URLs write for one another counts as the same; a backslash only escapes.
_ALIKE = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ+-_|\t\n\v\f\r", b"abcdefghijklmnopqrstuvwxyz  //     ")


def _unescaped(text: str, codec: str, by_script: bool = False) -> tuple[bytes, list[tuple[int, int]]]:
    """A text without its escapes, as bytes that can be compared, and for each byte where in the text it stands.

    `by_script`: %E9 is a character and not a byte, as JavaScript's escape() writes it.
    """
    found: list[bytes] = []
    places: list[tuple[int, int]] = []

    def take(piece: str, start: int, end: int, byte: str = "") -> None:
        try:
            data = bytes.fromhex(byte) or piece.encode(codec, "surrogateescape")
        except UnicodeError:
            data = b"\0"
        data = data.translate(_ALIKE, b"\\")
        found.append(data)
        places.extend([(start, end)] * len(data))

    behind = 0
    for escape in (*re.finditer(_ESCAPE, text, re.IGNORECASE), None):
        start, end = escape.span() if escape else (len(text), len(text))
        for place in range(behind, start):
            take(text[place], place, place + 1)
        behind = end
        if not escape:
            break
        kind, told = str(escape.lastgroup), escape[str(escape.lastgroup)]
        if kind == "byte":
            take(chr(int(told, 16)), start, end, "" if by_script else told)
        elif kind == "low":
            take(bytes.fromhex(escape["high"] + told).decode("utf-16-be", "replace"), start, end)
        elif kind == "name":
            take(_NAMED[told.lower()], start, end)
        else:
            number = int(told, 10 if kind == "decimal" else 16)
            take(chr(number) if number < 0x110000 else "\0", start, end)
    return b"".join(found), places


def _escaped_secrets(text: str) -> list[tuple[int, int]]:
    """Where in a text secrets stand that are escaped, in whole or in part."""
    hidden: list[tuple[int, int]] = []
    wanted_bytes: set[bytes] = set()
    for secret, spelt in _compared.items():
        if spelt is None:  # a zero stands for what the encoding lacks
            spelt = {data for data, _ in (_unescaped(secret, codec) for codec in _ENCODINGS) if data and b"\0" not in data}
            _compared[secret] = spelt
        wanted_bytes |= spelt
    for data, places in (*(_unescaped(text, codec) for codec in _ENCODINGS), _unescaped(text, "utf-8", True)):
        for wanted in wanted_bytes:
            at = data.find(wanted)
            while at >= 0:
                start, end = places[at][0], places[at + len(wanted) - 1][1]
                if end - start > 2:
                    hidden.append((start, end))
                at = data.find(wanted, at + len(wanted))
    return sorted(hidden)


def _without_secrets(text: str) -> str:
    # The escaped ones first: of two secrets one may be a part of the other.
    if _compared and any(mark in text for mark in _ESCAPES):
        shown, behind = "", 0
        for start, end in _escaped_secrets(text):
            shown += (text[behind:start] + "***") if start >= behind else ""
            behind = max(behind, end)
        text = shown + text[behind:]
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text


# --- The output -----------------------------------------------------------------------------------------------

MAX_OUTPUT = 4000  # bytes, line ends included
_PERFDATA = re.compile(
    r"(?:[A-Za-z0-9_]+|'[^'=|\x00-\x1f]+')=-?[0-9]+(?:\.[0-9]+)?(?:us|ms|s|%|B|KB|MB|GB|TB|c)?"
    r"(?:;(?:@?[0-9.:~-]+)?){0,2}(?:;-?[0-9.]*){0,2}"
)


class Verdict(NamedTuple):
    """What a process says when it ends: an exit code, a sentence, perfdata pieces, further lines for people."""

    state: int
    sentence: str
    perfdata: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    def render(self, service: str, encoding: str = "utf-8") -> bytes:
        """The whole output: `SERVICE STATE - sentence | perfdata`, then the details, at most MAX_OUTPUT bytes.

        The sentence gives way before the perfdata does, and whole detail lines give way before both; text is cut
        at a character boundary. A character the encoding lacks is written as a backslash escape.
        """

        def encoded(text: str) -> bytes:
            return text.encode(encoding, "backslashreplace")

        pieces = [piece for piece in self.perfdata if _PERFDATA.fullmatch(piece)]
        tail = encoded(" | " + " ".join(pieces) if pieces else "") + b"\n"
        head = f"{service} {STATE_NAMES[self.state]} - {clean(_without_secrets(self.sentence), MAX_OUTPUT) or 'no text'}"
        line = _cut(head, MAX_OUTPUT - len(tail), encoded) + tail
        for detail in self.details:
            more = encoded(clean(_without_secrets(detail), 1000)) + b"\n"
            if len(line) + len(more) > MAX_OUTPUT:
                last = b"(more lines do not fit)\n"
                return line + last if len(line) + len(last) <= MAX_OUTPUT else line
            line += more
        return line


def _cut(text: str, room: int, encoded: Callable[[str], bytes]) -> bytes:
    """`text` encoded in at most `room` bytes, cut between characters, the cut marked by three dots."""
    whole = encoded(text)
    if len(whole) <= room:
        return whole
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(encoded(text[:middle])) <= room - 3 else (low, middle - 1)
    return encoded(text[:low]) + b"..."


# --- How a process ends ---------------------------------------------------------------------------------------


class _Process:
    """The running plugin: its name in output, its deadline, its children. There is one a process."""

    def __init__(self) -> None:
        self.service = "PLUGIN"
        self.started = time.monotonic()
        self.limit = 10.0
        self.limit_state = UNKNOWN
        self.doing = "starting"
        self.armed = False
        self.stdout_closed = False
        self.children: set[subprocess.Popen[bytes]] = set()
        self.starting = False  # a child, which exists before it is among the children: nothing may end the process then
        self.postponed: Callable[[], None] | None = None  # what came meanwhile
        self.speaking = _thread.allocate_lock()  # held for ever by whoever writes the line: there is only one
        self.limit_changed = _thread.allocate_lock()
        self.limit_changed.acquire()


_process = _Process()


def doing(what: str) -> None:
    """Say what the check is about to wait for; a timeout names it ("timed out after 10 s while ...")."""
    _process.doing = what


def remaining(reserve: float = 0.3) -> float:
    """Seconds that a socket or a child may still take so that the check, not the watchdog, tells what happened."""
    left = _process.started + _process.limit - time.monotonic()
    return max(0.01, left - min(reserve, _process.limit * 0.1))


def end(verdict: Verdict) -> NoReturn:
    """Write the verdict and end the process at once.

    A verdict that nobody could read is not a good one: if stdout is closed or full, OK and WARNING leave as
    UNKNOWN. os._exit is used because interpreter shutdown may print to stderr, and because a stuck thread of a
    C library could hold it up.
    """
    output = verdict.render(_process.service, _stdout_encoding())  # before the lock: what it raises must still be told
    _process.speaking.acquire()
    _end(verdict.state, output)


def _end(state: int, output: bytes) -> NoReturn:
    _kill_children()
    if not _write(output):
        state = worst((state, UNKNOWN))
    os._exit(state)


def _write(output: bytes) -> bool:
    if _process.stdout_closed:
        return False
    try:
        while output:
            output = output[os.write(1, output) :]
    except OSError:
        return False
    return True


def _stdout_encoding() -> str:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        # A line for an engine must be readable as ASCII, so UTF-16 and its like will not do. No byte of another character
        # may look like ASCII either: a `|` in Japanese, the escape before it. Some encodings have but names of hosts.
        others = [character.encode(encoding, "backslashreplace") for character in "Жé\u4e02\u30bd\u529f"]
        harmless = all(min(data) >= 0x80 or data[:1] == b"\\" for data in others)
        return encoding if "A|~\\\n".encode(encoding) == b"A|~\\\n" and harmless else "utf-8"
    except (LookupError, ValueError):
        return "utf-8"


def _take_over(service: str) -> None:
    if _process.armed:
        return
    _process.armed, _process.service = True, service
    gc.disable()  # the imports of a short process leave nothing to collect, and looking costs 3 of 40 ms
    _spare_unused_parts()
    _fill_standard_descriptors()
    sys.excepthook = _uncaught
    atexit.register(_fell_silent)
    _process.limit, _process.limit_state = _limit_in(sys.argv[1:])
    _thread.start_new_thread(_watch, ())
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGALRM"):
        number = getattr(signal, name, None)  # Windows has but the first two
        if number is not None:
            signal.signal(number, _alarmed if name == "SIGALRM" else _ended_by_signal)
    if hasattr(signal, "SIGCHLD"):
        # An engine may have left it ignored; the kernel then forgets exit codes, and Python takes each for a 0.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _set_alarm()


def _spare_unused_parts() -> None:
    """Keep nagiosplugin from importing what no check uses: its Cookie and LogTail, and its Runtime, which this module
    replaces. With them come tempfile, random, json and more: 5 of the 40 ms of a run (measured with 1.3.2 and 1.4.0).
    """
    module = type(sys)
    for name in ("cookie", "logtail", "runtime"):
        empty = module(f"nagiosplugin.{name}")
        empty.__dict__["__getattr__"] = lambda attribute: None  # whatever the package wants to re-export
        sys.modules.setdefault(empty.__name__, empty)


def _fill_standard_descriptors() -> None:
    """Occupy closed descriptors 0..2, so that no socket lands on stdout's number, and silence stderr for good."""
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        _process.stdout_closed = _process.stdout_closed or null == 1
        null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 2)
    os.close(null)


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """sys.excepthook: the sentence for everything that nothing else has caught, a missing library first of all."""
    end(_verdict_of(error, trace))


def _fell_silent() -> None:
    """The program ran to its end without a word, as a file cut by a failed copy does: exit 0 would mean OK."""
    end(Verdict(UNKNOWN, f"ended without a verdict: the file is incomplete; install {PROJECT} again"))


def _verdict_of(error: BaseException, trace: TracebackType | None) -> Verdict:
    if isinstance(error, Problem):
        return Verdict(error.state, str(error))
    if isinstance(error, ImportError) and (error.name or "").split(".")[0] in _PACKAGES:
        return Verdict(UNKNOWN, missing_library((error.name or "").split(".")[0]))
    if isinstance(error, MemoryError):
        return Verdict(UNKNOWN, f"out of memory while {_process.doing}")
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return Verdict(UNKNOWN, f"no thread can be started while {_process.doing}: raise the limits of processes and memory")
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    part = _damaged_part(error, trace)
    if part and isinstance(error, ModuleNotFoundError):
        return Verdict(UNKNOWN, f"{part}.py is missing beside this check: copy the whole checks folder")
    if part:
        return Verdict(UNKNOWN, f"{part}.py beside this check is incomplete: copy the whole checks folder again")
    if trace and trace.tb_frame.f_code.co_filename.startswith("<frozen importlib"):
        compiled = trace.tb_frame.f_locals.get("bytecode_path")
        if isinstance(error, OSError) and error.filename:
            return Verdict(UNKNOWN, f"{clean(error.filename, 160)} cannot be read by this user: run chmod a+r on it")
        if isinstance(error, (EOFError, ValueError, TypeError)) and compiled:
            return Verdict(UNKNOWN, f"{clean(compiled, 160)} is damaged: remove it")
    where = f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else ""
    what = f"{type(error).__name__}: {clean(error, 200)}"
    return Verdict(UNKNOWN, f"internal error while {_process.doing}: {what}{where}; please report it to {PROJECT}")


_PART = "(?:kodeks|forwarder)_[a-z]+"  # the files of this folder that are neither a check nor this one


def _damaged_part(error: BaseException, innermost: TracebackType | None) -> str:
    """The part of a check that a failed copy has left out or cut and that is to blame for the error, "" for none."""
    blamed = ""
    if isinstance(error, ImportError):  # not there, or without a name that is asked of it
        blamed = error.name or ""
    elif isinstance(error, SyntaxError) and error.filename:
        blamed = error.filename
    elif innermost and isinstance(error, NameError):  # what it names would stand further down
        blamed = innermost.tb_frame.f_code.co_filename
    elif innermost and isinstance(error, (SyntaxError, ValueError)) and "null bytes" in str(error):
        import linecache  # the error does not name the file; the line that imports it does

        line = linecache.getline(innermost.tb_frame.f_code.co_filename, innermost.tb_lineno)
        blamed = line.partition("from ")[2].partition(" ")[0]
    name = os.path.basename(blamed).partition(".")[0]
    return name if re.fullmatch(_PART, name) else ""


_PACKAGES = {
    "nagiosplugin": ("python3-nagiosplugin", "nagiosplugin"),
    "usb": ("python3-usb", "pyusb"),
    "psutil": ("python3-psutil", "psutil"),
}


def missing_library(module: str) -> str:
    """The sentence for a Python library that is not installed: what is missing and the two ways to get it."""
    debian, pip = _PACKAGES[module]
    return f"the Python library {pip} is missing: install the package {debian}, or run pip install {pip}"


# --- The watchdog ---------------------------------------------------------------------------------------------
#
# nagiosplugin's timeout is SIGALRM raising an ordinary exception: `except Exception` swallows it, a C call that
# does not return never sees it. A thread that writes the line itself and ends the process has neither fault.
# Only C code that keeps the interpreter lock stops the thread; Python's regular expressions are such code, but every
# few thousand steps of one attempt they run signal handlers, so SIGALRM follows a moment later with the same line. Many
# short attempts in one search run none: who searches with an operator's pattern does so in small pieces.


def _watch() -> None:
    while True:
        left = _process.started + _process.limit - time.monotonic()
        if left <= 0:
            _expire()
        _process.limit_changed.acquire(True, min(left, _thread.TIMEOUT_MAX))


def _set_alarm() -> None:
    if hasattr(signal, "setitimer"):
        left = _process.started + _process.limit - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(left, 0) + 0.1)


def _expire() -> NoReturn:
    if not _process.speaking.acquire(False):
        time.sleep(0.1)  # the line is being written; a reader that never reads must not hold us
        os._exit(_process.limit_state)
    verdict = Verdict(_process.limit_state, f"timed out after {_process.limit:g} s while {_process.doing}")
    # The line first: killing children could wait for a process in uninterruptible sleep.
    try:
        _write(verdict.render(_process.service, _stdout_encoding()))
        for _ in range(20):
            if not _process.starting:
                break
            time.sleep(0.01)
        _kill_children()
    finally:
        os._exit(_process.limit_state)


def _alarmed(number: int, frame: FrameType | None) -> None:
    if _process.starting:
        _process.postponed = _expire
    else:
        _expire()


def _ended_by_signal(number: int, frame: FrameType | None) -> None:
    if _process.starting:
        _process.postponed = lambda: _ended_by_signal(number, None)
    elif _process.speaking.acquire(False):  # otherwise the verdict is being written already
        name = "interrupted" if number == signal.SIGINT else "ended by a signal"
        verdict = Verdict(UNKNOWN, f"{name} while {_process.doing}")
        _end(UNKNOWN, verdict.render(_process.service, _stdout_encoding()))


def _set_limit(limit: float, state: int) -> None:
    """A limit read from the options replaces the one guessed from the bare arguments."""
    _process.limit, _process.limit_state = limit, state
    if _process.armed:
        _set_alarm()
        if _process.limit_changed.locked():
            _process.limit_changed.release()


def _limit_in(arguments: Sequence[str]) -> tuple[float, int]:
    """The limit as the bare arguments have it, before any parser exists; nonsense falls back to the default."""
    limit = (10.0, UNKNOWN)
    for index, argument in enumerate(arguments):
        value = None
        if argument in ("-t", "--timeout"):
            value = arguments[index + 1] if index + 1 < len(arguments) else None
        elif argument.startswith("--timeout="):
            value = argument[len("--timeout=") :]
        elif argument.startswith("-t"):
            value = argument[2:].lstrip("=")
        if value is not None:
            try:
                limit = time_limit(value)
            except argparse.ArgumentTypeError:
                pass  # the parser will tell
    return limit


# --- Child processes ------------------------------------------------------------------------------------------


class CommandOutput(NamedTuple):
    """How a command ended and what it printed.

    `failure` is "" when the command ended by itself within its limits; otherwise a phrase that completes
    "COMMAND ...", for example "does not exist" or "did not end within 5 s". `code` is its exit code; negative =
    the signal that ended it; None = it was never started or had to be killed.
    """

    stdout: bytes
    code: int | None
    failure: str = ""


def run_command(command: Sequence[str], limit: float, max_bytes: int = 1 << 20) -> CommandOutput:
    """Run a program without a shell, for at most `limit` seconds and `max_bytes` bytes of stdout and stderr.

    It gets its own process group and is killed with it, also when a grandchild keeps the output open after the
    command itself has ended.
    """
    import subprocess

    limit = min(limit, remaining())
    _process.starting = True
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        _process.children.add(child)
    except FileNotFoundError:
        return CommandOutput(b"", None, "does not exist")
    except PermissionError:
        return CommandOutput(b"", None, "may not be executed")
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in an argument
        return CommandOutput(b"", None, f"cannot be started ({clean(getattr(error, 'strerror', None) or error, 80)})")
    finally:
        _process.starting = False
        if _process.postponed:
            _process.postponed()
    reading = _Reading(child, max_bytes)
    deadline = time.monotonic() + limit
    behind = False
    while not reading.ends_within(min(0.05, max(0.0, deadline - time.monotonic()))):
        ended = child.poll() is not None
        behind = ended and reading.is_behind()
        if time.monotonic() >= deadline or (ended and not behind):
            break
    overfull = len(reading.output) > max_bytes
    code = None if overfull or (behind and not reading.ends_within(0)) else _wait_for(child, deadline)
    _kill(child)
    _process.children.discard(child)
    if overfull:
        return CommandOutput(bytes(reading.output[:max_bytes]), None, f"printed more than {max_bytes} bytes")
    if code is None:
        return CommandOutput(bytes(reading.output), None, f"did not end within {limit:.3g} s")
    return CommandOutput(bytes(reading.output), code)


class _Reading:
    """A thread that reads a child's output until its end or one byte over the limit. Works on Windows too."""

    def __init__(self, child: subprocess.Popen[bytes], max_bytes: int) -> None:
        self.output = bytearray()
        self._finished = _thread.allocate_lock()
        self._finished.acquire()
        assert child.stdout is not None
        self._child = child  # its output must stay open while it is read
        self._descriptor, self._max_bytes = child.stdout.fileno(), max_bytes
        _thread.start_new_thread(self._read, ())

    def ends_within(self, seconds: float) -> bool:
        """Wait so long for the end; whether it has come."""
        ended = self._finished.acquire(True, seconds)
        if ended:
            self._finished.release()
        return ended

    def is_behind(self) -> bool:
        """Whether there is more to read than has been read, as on a machine where the thread gets no time.

        An output without a writer can be read to its end; one that a grandchild keeps open has nothing to read.
        """
        if self.ends_within(0.2):
            return False
        import select

        poll = getattr(select, "poll", None)  # Windows has none
        if poll is None:
            return False
        waiting = poll()
        waiting.register(self._descriptor)
        return bool(waiting.poll(0))

    def _read(self) -> None:
        try:
            while len(self.output) <= self._max_bytes:
                piece = os.read(self._descriptor, 65536)
                if not piece:
                    break
                self.output += piece
        except OSError:
            pass  # what has been read is what there is
        self._finished.release()


def _wait_for(child: subprocess.Popen[bytes], deadline: float) -> int | None:
    import subprocess

    try:
        return child.wait(max(0.02, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None


def _kill(child: subprocess.Popen[bytes]) -> None:
    try:
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    except OSError:
        pass  # already gone
    _wait_for(child, time.monotonic() + 0.5)


def _kill_children() -> None:
    for child in list(_process.children):
        _kill(child)


# --- TCP connections ------------------------------------------------------------------------------------------


class NoConnection(Exception):
    """A TCP connection that did not come about. The text says why in a few words.

    `late`: because the time was over. `unresolved`: the name has no address, the machine was not even asked.
    """

    def __init__(self, why: str, late: bool, unresolved: bool = False) -> None:
        super().__init__(why)
        self.late, self.unresolved = late, unresolved


def connect(host: str, port: int, deadline: float) -> socket.socket:
    """A TCP connection before `deadline` (time.monotonic()) to the first of the host's addresses that accepts.

    Raises NoConnection. The addresses share the time, so that a dead IPv6 address does not use it all up.
    """
    import socket

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
    # The system's resolver knows no limit of ours, so it is left behind in a thread when the time is over.
    import socket

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
    """Whether an error says that a time limit is over. Before Python 3.10 a socket has a class of its own for it."""
    import socket

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


# --- Thresholds and perfdata ----------------------------------------------------------------------------------


def judge(
    value: float | None, warning: nagiosplugin.Range | None, critical: nagiosplugin.Range | None
) -> nagiosplugin.ServiceState:
    """The state of a number against two ranges, None = no limit. A missing number and NaN are Unknown, never Ok."""
    import nagiosplugin

    if value is None or math.isnan(value):
        return nagiosplugin.Unknown
    if critical is not None and not critical.match(value):
        return nagiosplugin.Critical
    return nagiosplugin.Ok if warning is None or warning.match(value) else nagiosplugin.Warn


def perfdata(
    label: str,
    value: float | None,
    uom: str = "",
    warning: nagiosplugin.Range | None = None,
    critical: nagiosplugin.Range | None = None,
    minimum: int | None = None,
    maximum: int | None = None,
) -> nagiosplugin.Performance | None:
    """A number for graphers, in plain decimal notation (at most six decimals). No number, no perfdata."""
    import nagiosplugin

    if value is None or not math.isfinite(value):
        return None
    number = str(value) if isinstance(value, int) else f"{value:.6f}".rstrip("0").rstrip(".")
    return nagiosplugin.Performance(label, number, uom, warning, critical, minimum, maximum)


# --- USB devices and the ports they are forwarded to ----------------------------------------------------------
#
# Two checks read them. Everything comes from sysfs, which opens no device: a device behind a frozen forwarder is
# still listed, but opening it hangs in uninterruptible sleep (seen with vhci_hcd on Linux 6.1).

USB_DEVICES = "/sys/bus/usb/devices"
VHCI = "/sys/devices/platform/vhci_hcd.0"
VHCI_STATE = "/var/run/vhci_hcd"


class VhciPort(NamedTuple):
    """A port of the kernel's USB/IP client that holds a device.

    `number` as `usbip port` prints it; `busid` is the device's name on this machine ("3-1"); `server` is
    "HOST:PORT" as the usbip tool noted it, "" where it noted none or only root may read its note.
    """

    number: int
    busid: str
    server: str = ""


def parse_vhci_status(text: str) -> list[VhciPort] | None:
    """The used ports in a vhci_hcd `status` file. None = this is no such file.

    Lines are `hub port sta spd dev sockfd local_busid`; state 006 = in use (kernel: VDEV_ST_USED).
    """
    lines = text.splitlines()
    if not lines or lines[0].split()[:3] != ["hub", "port", "sta"]:
        return None
    ports = []
    for line in lines[1:]:
        match = re.fullmatch(r"(?:hs|ss) +([0-9]{1,6}) ([0-9]{3}) \S+ \S+ \S+ ([0-9.-]{1,40}) *", line)
        if not match:
            return None
        if match[2] == "006":
            ports.append(VhciPort(int(match[1]), match[3]))
    return ports


def vhci_ports() -> list[VhciPort] | None:
    """The used ports of this machine's USB/IP client. None = it has none (vhci_hcd not loaded) or it is unreadable."""
    ports: list[VhciPort] = []
    found = False
    # The first controller's ports stand in "status", those of the further ones in "status.1", "status.2", ...
    for suffix in ("", *(f".{number}" for number in range(1, 64))):
        status = read_attribute(f"{VHCI}/status{suffix}")
        if status is None:
            break
        used = parse_vhci_status(status)
        if used is None:
            return None
        found = True
        ports += [VhciPort(port.number, port.busid, _vhci_server(port.number)) for port in used]
    return ports if found else None


def _vhci_server(port: int) -> str:
    """Who exports the device on this port, by the note of `usbip attach`; it is stale once the port is free."""
    note = (read_attribute(f"{VHCI_STATE}/port{port}") or "").split()
    return f"{clean(note[0], 100)}:{clean(note[1], 10)}" if len(note) == 3 else ""


def read_attribute(path: str) -> str | None:
    """A small kernel file as text without its final line end. None = absent, unreadable, or gone meanwhile."""
    try:
        with open(path, "rb") as file:
            return file.read(65536).decode("utf-8", "replace").rstrip("\n")
    except OSError:
        return None


def read_attributes_within(paths: Sequence[str], seconds: float) -> dict[str, str | None]:
    """read_attribute for several files at once, given up after `seconds` together: what did not answer is left out.

    Attributes such as `serial`, `product` and `bConfigurationValue` wait for the device's lock, which a program that
    waits for a frozen forwarder holds (drivers/usb/core/sysfs.c); that wait would otherwise be ours.
    """
    answers: dict[str, str | None] = {}
    locks = [_thread.allocate_lock() for _ in paths]

    def read(path: str, lock: _thread.LockType) -> None:
        answers[path] = read_attribute(path)
        lock.release()

    for path, lock in zip(paths, locks):
        lock.acquire()
        _thread.start_new_thread(read, (path, lock))
    deadline = time.monotonic() + seconds
    for lock in locks:
        lock.acquire(True, max(0.0, deadline - time.monotonic()))
    return dict(answers)


# --- Options --------------------------------------------------------------------------------------------------

_NUMBER = r"-?[0-9]{1,15}(?:\.[0-9]{1,4})?"
_RANGE = rf"@?(?:(?:~|{_NUMBER})?:)?(?:{_NUMBER})?"


def bad_value(text: str, problem: str) -> argparse.ArgumentTypeError:
    """The error for an option's value, which is quoted before the problem. Blanks around it no quotation shows."""
    blanks = "has blanks around it" if text != text.strip() and text.strip() else ""
    return argparse.ArgumentTypeError(f"'{clean(text, 60)}' {blanks or problem}")


def threshold(text: str) -> nagiosplugin.Range:
    """An option's range `[@][start:][end]`. Nonsense is a usage error: a threshold nobody meant never alarms."""
    import nagiosplugin

    if not text or text == "@" or not re.fullmatch(_RANGE, text):
        raise bad_value(text, "is no range; write [@][start:][end], for example 1: or 30:365")
    try:
        return nagiosplugin.Range(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"range '{clean(text, 60)}' has its start above its end") from None


def time_limit(text: str) -> tuple[float, int]:
    """`SECONDS[:STATE]` of -t: seconds (decimals allowed, at most a day) and the exit code of a timeout."""
    seconds, colon, state = text.partition(":")
    if not re.fullmatch(r"[0-9]{1,5}(?:\.[0-9]{1,6})?", seconds) or not 0 < float(seconds) <= 86400:
        raise bad_value(text, "is no time limit; write SECONDS[:STATE], for example 10:critical")
    return float(seconds), alarm_state(state) if colon else UNKNOWN


def alarm_state(text: str) -> int:
    """The name or exit code of a state that is not OK: warning, critical, unknown, 1, 2, 3."""
    for code in (WARNING, CRITICAL, UNKNOWN):
        if text.upper() in (STATE_NAMES[code], str(code)):
            return code
    raise argparse.ArgumentTypeError(f"'{clean(text, 60)}' is no state; write warning, critical or unknown")


def tcp_port(text: str) -> int:
    """A TCP port, 1 to 65535."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise bad_value(text, "is no port; write a number from 1 to 65535")
    return int(text)


def as_text(word: str) -> str:
    """A word of the command line as the text that was meant: engines write UTF-8, whatever the locale they start a check in.

    What is not UTF-8 stays as Python took it: text in the locale's own encoding, or surrogates in place of bytes.
    """
    if word.isascii() or os.name != "posix":
        return word
    try:
        return os.fsencode(word).decode("utf-8")
    except UnicodeError:  # of an ini file, perhaps: that is text already
        return word


def proper_text(text: str) -> str:
    """Text that is compared with what programs say. With bytes that are not UTF-8 it would never be found there."""
    text = as_text(text)
    if re.search("[\ud800-\udfff]", text):
        raise bad_value(text.encode("ascii", "replace").decode(), "is not UTF-8; save the ini file, or the command's, as UTF-8")
    return text


def usb_id(text: str) -> tuple[int, int]:
    """`VID:PID`, two hexadecimal numbers of four digits as lsusb prints them. A vendor alone names no key."""
    if not re.fullmatch(r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}", text):
        raise bad_value(text, "is no USB id; write VID:PID, for example 0471:485d")
    return int(text[:4], 16), int(text[5:], 16)


class Options(argparse.ArgumentParser):
    """The options of a check: those every plugin has, and those the check adds.

    A bad option is UNKNOWN with a sentence (argparse: exit 2, which means CRITICAL, and nothing on stdout), and an
    option may not be abbreviated: a misspelt `--crit` must never be dropped in silence.
    `secret_keys` are keys that --extra-opts may set and the command line may not.
    """

    def __init__(self, prog: str, description: str, examples: str, secret_keys: Sequence[str] = ()) -> None:
        super().__init__(
            prog=prog,
            usage=f"{prog} [options]",
            description=description,
            epilog="examples:\n" + examples,
            allow_abbrev=False,
            add_help=False,
            formatter_class=_HelpFormat,
        )
        self.secret_keys = tuple(secret_keys)
        # `-w -5:` is a range, as Python 3.14 has it: before, argparse takes what begins with a dash for an option, unless
        # it is a number (`-5`).
        self._negative_number_matcher = re.compile(r"-\.?[0-9]")
        common = self.add_argument_group("every check")
        common.add_argument("-h", "--help", action="store_true", help="print this help, exit 3")
        common.add_argument("-V", "--version", action="store_true", help="print the version, exit 3")
        common.add_argument("-v", "--verbose", action="count", default=0, help="more lines; up to -vvv")
        common.add_argument("-t", "--timeout", metavar="SECONDS[:STATE]", type=time_limit, default="10",
                            help="give up after SECONDS with STATE (10:unknown)")
        common.add_argument("--extra-opts", metavar="[SECTION][@FILE]", action="append", nargs="?",
                            help="read options from an ini file")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Arguments to values; `secrets` holds what only an ini file may set. Usage errors raise Problem.

        Who asks for help gets it, whatever else is wrong.
        """
        if not {"-h", "--help"}.isdisjoint(arguments):
            self.exit(message=self.format_help())
        if not {"-V", "--version"}.isdisjoint(arguments):
            self.exit(message=self._version())
        plain, from_ini = _split_extra_opts(arguments)
        prefix: list[str] = []
        secrets: dict[str, str] = {}
        known = {name for action in self._actions for name in action.option_strings}
        for wanted in from_ini:
            for key, value in read_extra_opts(wanted, self.prog, self.secret_keys):
                if key in self.secret_keys:
                    keep_secret(value or "")
                    secrets[key] = value or ""
                    continue
                option = f"-{key}" if len(key) == 1 else f"--{key}"
                if option not in known or option == "--extra-opts":
                    self.error(f"unknown option '{_name_of_option(key)}' in the ini section for --extra-opts")
                prefix += [option] if value is None else [f"{option}={value}"]
        words = [*prefix, *plain]
        if any(re.fullmatch(r"--|-\w--|-[^=]*=--", word) for word in words):
            self.error("'--' is no value")  # argparse would drop it and leave an empty list as the option's value
        values, rest = self.parse_known_args(words)
        if values.help:
            self.exit(message=self.format_help())
        if values.version:
            self.exit(message=self._version())
        if rest:
            # What stands behind the first unknown option is not repeated: it may be a password that begins with a dash.
            names = [_name_of_option(item) for item in rest if item.startswith("-")]
            self.error(f"unknown option {names[0]}" if names else "an argument without an option")
        values.secrets = secrets
        return values

    def _version(self) -> str:
        return f"{self.prog} {__version__} ({PROJECT})\n"

    def error(self, message: str) -> NoReturn:
        # argparse repeats what is written behind an option that takes no value: `-vPsecret`.
        message = re.sub("ignored explicit argument .*", "it takes no value", message, flags=re.DOTALL)
        raise Problem(f"{message}; {self.prog} --help lists the options")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """-h and -V: the text, cut at the contract's size, and exit 3."""
        encoding = _stdout_encoding()
        output = _cut(message or "", MAX_OUTPUT, lambda text: text.encode(encoding, "backslashreplace"))
        _process.speaking.acquire()
        _end(UNKNOWN, output)


def _name_of_option(text: str) -> str:
    """The part of a word that can be an option's name: `-P` of `-Psecret`, `password` of `password: secret`."""
    found = re.match(r"-(?!-)\w?|-*[\w-]*", text)
    return clean(found[0] if found else "", 40)


class _HelpFormat(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        # A fixed width: help must not depend on the terminal it is read in.
        super().__init__(prog, max_help_position=30, width=110)


INI_FILES = tuple(
    f"{folder}/{name}"
    for name in ("monitoring-plugins.ini", "plugins.ini", "nagios-plugins.ini")
    for folder in ("/etc/monitoring-plugins", "/usr/local/etc/monitoring-plugins", "/etc/nagios", "/usr/local/etc/nagios",
                   "/etc/nagios-plugins", "/etc", "/usr/local/etc", "/etc/opt/monitoring-plugins", "/usr/local/nagios/etc")
)
"""Where --extra-opts looks when no file is named (the "extra-opts" page of the Monitoring Plugins)."""


def _split_extra_opts(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the --extra-opts from the other arguments, which they precede. A value may follow as a word of its own."""
    plain: list[str] = []
    wanted: list[str] = []
    words = iter(range(len(arguments)))
    for index in words:
        word = arguments[index]
        if word.startswith("--extra-opts="):
            wanted.append(word[len("--extra-opts=") :])
        elif word == "--extra-opts":
            follows = index + 1 < len(arguments) and not arguments[index + 1].startswith("-")
            wanted.append(arguments[index + 1] if follows else "")
            if follows:
                next(words)
        else:
            plain.append(word)
    return plain, wanted


def read_extra_opts(wanted: str, default_section: str, secret_keys: Sequence[str] = ()) -> list[tuple[str, str | None]]:
    """The options that `[SECTION][@FILE]` stands for; a missing file or section is a Problem, not an empty list."""
    section, _, path = wanted.partition("@")
    section = section or default_section
    if not path:
        override = os.environ.get("MP_CONFIG_FILE") or os.environ.get("NAGIOS_CONFIG_PATH")
        candidates = [override] if override else list(INI_FILES)
        path = next((name for name in candidates if os.path.exists(name)), "")
        if not path:
            raise Problem(f"--extra-opts: no ini file found; looked for {candidates[0]} and the like; name one with @FILE")
    text = read_private(path, "--extra-opts", limit=1 << 20, private=False)
    options = parse_ini(text, section)
    if options is None:
        raise Problem(f"--extra-opts: no section [{clean(section, 60)}] in {clean(path, 120)}")
    # A line without "=", as `password: secret`, is no option, but a password all the same.
    if any(re.split(r"[^\w-]", key)[0] in secret_keys for key, _ in options):
        read_private(path, "--extra-opts", limit=1 << 20, private=True)
    return options


def parse_ini(text: str, section: str) -> list[tuple[str, str | None]] | None:
    """Keys and values of every section of that name, in order, repeated keys kept. None = there is no such section.

    The form of the Monitoring Plugins: `key=value` or a bare `key`, comments from # or ; at a line's start.
    """
    found, inside = False, False
    options: list[tuple[str, str | None]] = []
    # str.splitlines() also ends a line at U+0085, U+2028 and others, and would part a password there.
    for line in re.split("[\r\n]", text):
        line = line.strip().lstrip("\ufeff")
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            inside = re.sub(r"\]\s*[#;].*", "]", line).strip("[] \t") == section
            found = found or inside
        elif inside:
            key, equals, value = line.partition("=")
            options.append((key.strip().lstrip("-"), value.strip() if equals else None))
    return options if found else None


# Not blocking: a FIFO in a file's place must be told, not waited for.
_OPEN_FLAGS: int = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_private(path: str, purpose: str, limit: int = 4096, private: bool = True) -> str:
    """The text of a small configuration file. A file with a password that others may read or write is refused.

    Bytes that are not UTF-8 survive as surrogates. Every failure is a Problem that names the file and the remedy.
    """
    import stat

    doing(f"reading {clean(path, 120)}")
    shown = f"{purpose}: {clean(path, 120)}"
    try:
        with open(os.open(path, os.O_RDONLY | _OPEN_FLAGS), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise Problem(f"{shown} is not a regular file")
            if private and os.name == "posix" and mode & (stat.S_IROTH | stat.S_IWOTH):
                raise Problem(f"{shown} holds a password and is open to all users; run chmod o-rwx on it")
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:
        why = clean(getattr(error, "strerror", None) or error, 80)
        raise Problem(f"{shown} cannot be read: {why}; check the path and its rights") from None
    if len(content) > limit:
        raise Problem(f"{shown} is larger than {limit} bytes")
    return content.decode("utf-8", "surrogateescape")


# --- The run --------------------------------------------------------------------------------------------------


def run(service: str, options: Options, build: Callable[[argparse.Namespace], nagiosplugin.Check]) -> NoReturn:
    """The life of a check: options, `build` (values to a nagiosplugin.Check), probe and judge, speak, end."""
    _take_over(service)  # any exception from here on ends in _uncaught
    doing("reading the options")
    values = options.parse(sys.argv[1:])
    _set_limit(*values.timeout)
    check = build(values)
    check()
    end(verdict_of(check, values.verbose))


def verdict_of(check: nagiosplugin.Check, verbose: int) -> Verdict:
    """What a check that has run says: every problem with the worst first, or the Summary's sentence when all is well."""
    results = list(check.results.results)
    state = worst(int(result.state) for result in results)
    if state == OK:
        sentence = check.summary.ok(check.results)
    else:
        problems = sorted((item for item in results if int(item.state) != OK), key=lambda item: -_RANK[int(item.state)])
        sentence = "; ".join(dict.fromkeys(str(item) or "no reason given" for item in problems)) or "nothing was judged"
    details = check.summary.verbose(check.results) if verbose else None
    lines = details.splitlines() if isinstance(details, str) else details or ()
    # Not check.perfdata, which is sorted by label: the order of the metrics puts the main number first.
    numbers = (result.metric.performance() for result in results if result.metric is not None)
    return Verdict(state, sentence, tuple(str(number) for number in numbers if number is not None), tuple(lines))


def import_library(module: str) -> Any:
    """Import a third-party library at the moment a run needs it; when it is missing, a Problem says how to get it.

    What it needs itself may fail as well (C libraries, memory): then to install it again would be the wrong advice.
    """
    import importlib

    doing(f"loading the Python library {module}")
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        if (error.name or package).split(".")[0] == package:
            raise Problem(missing_library(package)) from None
        raise Problem(f"the Python library {_PACKAGES[package][1]} cannot be loaded: {clean(error, 150)}") from None


# The check asks for this function first of all. It stands last, so that a file which a failed copy has cut has none.
def begin(service: str, module: str) -> None:
    """The first line of a check: from here on the deadline runs and nothing can escape the contract.

    `module` is the caller's __name__. Only when the check is the program itself (run as a file, by its console
    script, or from a zip application) is the process taken over; importing a check as a library changes nothing.
    """
    program = os.path.basename(sys.argv[0] if sys.argv else "")
    if module == "__main__" or os.path.splitext(program)[0] == module:
        _take_over(service)
