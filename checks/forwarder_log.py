"""A forwarder's log: what is new in it since the last run, and whether a line of it matches.

What cannot be read or remembered is a finding: a silent log must not look good. A match stays an alarm for a while, for
the soft states of an engine would lose a single one.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple

import plugin_runtime as runtime
from forwarder_facts import CRITICAL, OK, UNKNOWN, Finding, readings

if TYPE_CHECKING:
    from typing import BinaryIO

# --- Value objects --------------------------------------------------------------------------------------------


class Log(NamedTuple):
    """The log to be watched, for how many seconds a match is held, and where to remember how far it was read ("" = the
    user's own place)."""

    path: str
    pattern: re.Pattern[str]
    hold: float
    state_dir: str


class LogMemory(NamedTuple):
    """What is remembered of a log between two runs: how far it was read, and the last line that matched.

    `mark` are the bytes before `offset`: a log that was rotated, cut or replaced does not have them there any more.
    `seen` is when the match was read, in seconds since the epoch.
    """

    inode: int
    offset: int
    mark: bytes
    match: str = ""
    seen: float = 0.0


# --- Pure parsers ---------------------------------------------------------------------------------------------

LOG_BYTES = 16 << 20  # of a log in one run
LOG_FIRST_LOOK = 1 << 20  # of a log never seen before
LOG_LINE = 1 << 16
LOG_MARK = 256


def matching_line(data: bytes, pattern: re.Pattern[str]) -> str:
    """The last line that the pattern finds, in any reading of its bytes; "" = no line."""
    # Windows programs may log in UTF-16; without its zero bytes the ASCII part of it is readable.
    for line in reversed(data.replace(b"\0", b"").split(b"\n")):
        for start in range(0, len(line), LOG_LINE):
            piece = line[start : start + LOG_LINE].rstrip(b"\r")
            for text in readings(piece.decode("utf-8", "surrogateescape")):
                if pattern.search(text):
                    return text.strip()[:1000] or "(an empty line)"
    return ""


def dump_memory(memory: LogMemory) -> str:
    """The text of a state file."""
    import json

    return json.dumps([1, memory.inode, memory.offset, memory.mark.hex(), memory.match, memory.seen])


def load_memory(text: str) -> LogMemory | None:
    """What a state file holds; None = not what dump_memory writes."""
    import json

    try:
        version, inode, offset, mark, match, seen = json.loads(text)
        memory = LogMemory(int(inode), int(offset), bytes.fromhex(mark), str(match), float(seen))
    except (ValueError, TypeError, RecursionError, OverflowError):
        return None
    return memory if version == 1 and memory.offset >= len(memory.mark) and memory.seen >= 0 else None


# --- Reading on -----------------------------------------------------------------------------------------------


def unread(log: Log, old: LogMemory | None, now: float) -> tuple[bytes, LogMemory, str]:
    """What no run has read yet, where to go on, and what was missed ("" = nothing). Raises OSError."""
    with open_regular(log.path) as file:
        status = os.fstat(file.fileno())
        size, start, rest, missed = status.st_size, 0, b"", ""
        if old is None:
            # Lines that were written longer ago than a match is held would not be an alarm any more.
            start = size if now - status.st_mtime > log.hold else max(0, size - LOG_FIRST_LOOK)
        elif continues(file, status, old):
            start = old.offset
        else:
            rest = rest_of_rotated(log.path, old)
        if size - start > LOG_BYTES:
            start, missed = size - LOG_BYTES, "grew faster than it is read: its older new lines were not searched"
        file.seek(start)
        data = file.read(size - start)
        # The last line may still be growing: it is read again, unless it has no end at all.
        end = start + (data.rfind(b"\n") + 1 or (len(data) if len(data) > LOG_LINE else 0))
        file.seek(max(0, end - LOG_MARK))
        return rest + b"\n" + data, LogMemory(status.st_ino, end, file.read(min(LOG_MARK, end))), missed


def continues(file: BinaryIO, status: os.stat_result, old: LogMemory) -> bool:
    """Whether an open file is the log that was read up to old.offset."""
    if status.st_size < old.offset:  # asked first: no file can be read at the offset that a broken state file may name
        return False
    file.seek(old.offset - len(old.mark))
    return file.read(len(old.mark)) == old.mark if old.mark else status.st_ino == old.inode


def rest_of_rotated(path: str, old: LogMemory) -> bytes:
    """The unread end of the log under the name that the rotation gave it, b"" where it is gone or packed."""
    folder, base = os.path.split(os.path.abspath(path))
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith(base) and name != base)
    except OSError:  # a folder that may be entered, but not listed
        names = []
    for name in names[:50]:
        try:
            with open_regular(os.path.join(folder, name)) as file:
                if continues(file, os.fstat(file.fileno()), old):
                    file.seek(old.offset)
                    return file.read(LOG_BYTES)
        except (OSError, runtime.Problem):
            continue  # not ours to read, or no file: then it is not the log either
    return b""


def open_regular(path: str, further_flags: int = 0) -> BinaryIO:
    """A regular file for reading; a FIFO or a directory is a Problem, not a wait. Raises OSError."""
    import stat

    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | further_flags
    file = open(os.open(path, flags), "rb")  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise runtime.Problem(f"{runtime.clean(path, 160)} is not a regular file")
    return file


# --- The memory -----------------------------------------------------------------------------------------------


def state_file_of(log: Log) -> str:
    """The state file for this log and pattern, in --state-dir, the XDG state folder, or a private one in /var/tmp.

    Its name is readable; a checksum tells two logs or patterns apart.
    """
    import zlib

    path = os.path.abspath(log.path)
    checksum = zlib.crc32(f"{path}\0{log.pattern.pattern}".encode("utf-8", "surrogateescape"))
    name = f"log-{re.sub('[^A-Za-z0-9.]', '_', path)[-60:]}-{checksum:08x}.json"
    if log.state_dir:
        return os.path.join(log.state_dir, name)
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    problems = []
    for folder in (os.path.join(home, "check_usb_redirector"), f"/var/tmp/check_usb_redirector-{user}"):
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
        except OSError as error:
            problems.append(f"{folder}: {runtime.why_of(error)}")
            continue
        if os.path.islink(folder) or (hasattr(os, "geteuid") and os.lstat(folder).st_uid != os.geteuid()):
            problems.append(f"{folder} belongs to somebody else")
        elif os.access(folder, os.W_OK):
            return os.path.join(folder, name)
        else:
            problems.append(f"{folder} is not writable")
    raise runtime.Problem(f"no place to remember how far the log was read ({'; '.join(problems)}): give --state-dir")


def read_memory(path: str) -> LogMemory | None:
    """The memory of the last run, None = this is the first. Only a file of this user is believed; a broken one
    remembers nothing, so that the whole log is read again."""
    shown = runtime.clean(path, 160)
    try:
        with open_regular(path, getattr(os, "O_NOFOLLOW", 0)) as file:
            if hasattr(os, "geteuid") and os.fstat(file.fileno()).st_uid != os.geteuid():
                raise runtime.Problem(f"state file {shown} belongs to somebody else: remove it")
            return load_memory(file.read(1 << 16).decode("utf-8", "replace")) or LogMemory(-1, 0, b"")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise runtime.Problem(f"state file {shown} cannot be read: {runtime.why_of(error)}") from None


def write_memory(path: str, memory: LogMemory) -> None:
    """Replace the state file in one step; a half-written one is never seen. Raises OSError."""
    scratch = f"{path}.{os.getpid()}"
    try:
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600), "wb") as file:
            file.write(dump_memory(memory).encode("ascii"))
        os.replace(scratch, path)
    except OSError:
        if os.path.lexists(scratch):
            os.unlink(scratch)
        raise


# --- One look -------------------------------------------------------------------------------------------------


def watch(log: Log) -> list[Finding]:
    """What the new lines since the last run say, and what kept the check from reading or remembering them."""
    shown, now = runtime.clean(log.path, 120), time.time()
    runtime.doing(f"reading the log {shown}")
    try:
        state_file = state_file_of(log)
        old = read_memory(state_file)
        data, memory, missed = unread(log, old, now)
    except OSError as error:
        raise runtime.Problem(f"log {shown} cannot be read: {runtime.why_of(error)}") from None
    runtime.doing(f"searching the log {shown}")
    line = matching_line(data, log.pattern)
    if line:
        memory = memory._replace(match=line, seen=now)
    elif old:
        memory = memory._replace(match=old.match, seen=min(old.seen, now))  # a clock that was set back holds it no longer
    findings = []
    try:
        write_memory(state_file, memory)
    except OSError as error:
        place = runtime.clean(state_file, 160)
        sentence = f"how far log {shown} was read cannot be remembered in {place}: {runtime.why_of(error)}"
        findings.append(Finding(UNKNOWN, sentence))
    if line or (memory.match and now - memory.seen < log.hold):
        when = "" if line else f" ({(now - memory.seen) / 60:.0f} minutes ago)"
        findings.append(Finding(CRITICAL, f"log {shown} has a matching line{when}: {runtime.clean(memory.match, 200)}"))
    elif missed:
        findings.append(Finding(UNKNOWN, f"log {shown} {missed}"))
    else:
        findings.append(Finding(OK, f"no new matching line in log {shown}"))
    return findings
