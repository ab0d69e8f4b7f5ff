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
    import gzip
    from typing import BinaryIO, Iterator, Union

    Readable = Union[BinaryIO, gzip.GzipFile]

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

    `mark` are the bytes before `offset` and `head` the first ones: a log that was rotated, cut or replaced does not have
    both there any more. `seen` is when the match was read, in seconds since the epoch; `unfinished`: its line had no end
    yet, so the next run reads it again.
    """

    inode: int
    offset: int
    mark: bytes
    match: str = ""
    seen: float = 0.0
    head: bytes = b""
    unfinished: bool = False


NOTHING_REMEMBERED = -1  # the inode in a memory that was lost


class News(NamedTuple):
    """What no run has read yet. UTF-16 has become UTF-8; `tail` is the end of the text that may still grow.

    `memory` is where to go on, `missed` what could not be read ("" = nothing). `continued`: the text begins where the
    last look stopped; `more`: the log goes on behind it.
    """

    text: bytes
    tail: bytes
    memory: LogMemory
    missed: str
    continued: bool
    more: bool = False


# --- Pure parsers ---------------------------------------------------------------------------------------------

LOG_BYTES = 16 << 20  # of a log in one run
LOG_PORTION = 1 << 18  # is read and searched at once; then the clock is looked at
LOG_FIRST_LOOK = 1 << 20  # of a log never seen before
LOG_TAIL = 1 << 16  # a last line of more bytes is not waited for
LOG_UNPACKED = 64 << 20  # of a log that the rotation has packed
LOG_MARK = 256
# A pattern such as "\\w+ x" needs time that grows with the square of the line's length, and Python's regular expressions
# let neither a signal nor the watchdog in between two attempts of one search: a long line is searched in pieces. They
# overlap, so that only a match longer than that is not found; "$" may match at a piece's end.
LOG_PIECE = 4096
LOG_OVERLAP = 1024


def matching_line(data: bytes, pattern: re.Pattern[str]) -> str:
    """The last line that the pattern finds, in any reading of its bytes; "" = no line."""
    wide = b"\0" in data
    for line in reversed(data.split(b"\n")):
        for reading in widths(line) if wide else (line,):
            reading = reading.rstrip(b"\r")
            for start, piece in pieces(reading) if len(reading) > LOG_PIECE else ((0, reading),):
                for text in meanings(piece) if piece else ():
                    if pattern.search(text, start):
                        return text.strip()[:1000] or "(an empty line)"
    return ""


def widths(line: bytes) -> Iterator[bytes]:
    """What a line can be where zero bytes are about: UTF-16 without a byte order mark, which its writer does not write
    again after the log was copied and cut, or text with stray zeros. Half of the line's end may be on its other side."""
    yield as_utf8(line[line[:1] == b"\0" :], "utf-16-le")
    yield as_utf8(line[: len(line) - len(line) % 2], "utf-16-be")
    yield line.replace(b"\0", b"")


def meanings(piece: bytes) -> tuple[str, ...]:
    """A line's text: UTF-8, or else a Russian code page, or still UTF-8, in which one character is broken."""
    found = readings(piece.decode("utf-8", "surrogateescape"))
    return found if len(found) == 1 else (*found, piece.decode("utf-8", "replace"))


def pieces(line: bytes) -> Iterator[tuple[int, bytes]]:
    """A long line in overlapping pieces, none of which begins or ends within a character of UTF-8, and from where to
    search each: behind the first character of a later one, for there "^" must not match."""
    for at in range(0, len(line) - LOG_OVERLAP, LOG_PIECE - LOG_OVERLAP):
        yield min(at, 1), line[character(line, at) : character(line, at + LOG_PIECE)]


def character(line: bytes, at: int) -> int:
    """Where the character of UTF-8 begins to which a byte belongs; the byte's own place where the text is not UTF-8."""
    starts = (place for place in range(at, max(at - 4, -1), -1) if not 0x80 <= line[place] < 0xC0)
    return next(starts, at) if at < len(line) else at


def coding_of(start: bytes) -> str:
    """The UTF-16 that a file's first bytes announce, "" = none."""
    return {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(start[:2], "")


def as_utf8(data: bytes, coding: str) -> bytes:
    """The data without a byte order mark, UTF-16 as UTF-8, everything else as it is."""
    text = data.decode(coding, "replace").encode("utf-8", "replace") if coding else data
    return text[3:] if text[:3] == b"\xef\xbb\xbf" else text


def whole_lines(data: bytes, coding: str) -> int:
    """How many bytes of the data are lines with an end. In UTF-16 an end is two bytes at an even place."""
    end = "\n".encode(coding or "ascii")
    at = data.rfind(end)
    while at > 0 and at % len(end):
        at = data.rfind(end, 0, at + 1)
    return at + len(end) if at >= 0 else 0


def dump_memory(memory: LogMemory) -> str:
    """The text of a state file."""
    import json

    numbers = (1, memory.inode, memory.offset, memory.mark.hex(), memory.match, memory.seen)
    return json.dumps([*numbers, memory.head.hex(), memory.unfinished])


def load_memory(text: str) -> LogMemory | None:
    """What a state file holds; None = not what dump_memory writes."""
    import json

    try:
        version, inode, offset, mark, match, seen, head, unfinished = json.loads(text)
        marks = bytes.fromhex(mark), bytes.fromhex(head)
        memory = LogMemory(int(inode), int(offset), marks[0], str(match), float(seen), marks[1], bool(unfinished))
    except (ValueError, TypeError, RecursionError, OverflowError):
        return None
    return memory if version == 1 and memory.offset >= max(map(len, marks)) and memory.seen >= 0 else None


# --- Reading on -----------------------------------------------------------------------------------------------


SIMPLER = "raise -t, or give a simpler --log-pattern"
TOO_SLOW = f"was rotated, and there was no time to search all of it: {SIMPLER}"
UNFINISHED = f"is not yet searched to its end, there the next run goes on: {SIMPLER}"
TOO_MUCH = "grew faster than it is read: its older new lines were not searched"
LOST = "was rotated or cut before its end was read: the lines in between were not searched"


def unread(log: Log, old: LogMemory | None, now: float) -> News:
    """What no run has read yet, at most a portion. Raises OSError."""
    with open_regular(log.path) as file:
        status = os.fstat(file.fileno())
        coding = coding_of(file.read(2))
        size, start, rest, missed, continued = status.st_size, 0, b"", "", False
        if old is None:
            # Lines that were written longer ago than a match is held are no alarm. The others may be as old: see watch().
            start = size if now - status.st_mtime > log.hold else max(0, size - LOG_FIRST_LOOK)
        elif is_log(file, status, old) and not (status.st_ino != old.inode and moved_away(log.path, old)):
            start, continued = old.offset, True
        elif old.inode != NOTHING_REMEMBERED:
            rest, missed = rest_of_rotated(log.path, status, old)
        if size - start > LOG_BYTES:
            start, missed = size - LOG_BYTES, TOO_MUCH
        start += start % 2 if coding else 0
        file.seek(start)
        data = file.read(max(0, min(size - start, LOG_PORTION)))
        more, whole = start + len(data) < size, whole_lines(data, coding)
        if more and not whole:  # a line of more than a portion
            data += file.read(size - start - len(data))
            more, whole = False, whole_lines(data, coding)
        # The last line may still be growing: it is read again, unless it has no end at all.
        whole = whole or (len(data) if len(data) > LOG_TAIL else 0)
        data = data[:whole] if more else data
        end = start + whole
        file.seek(max(0, end - LOG_MARK))
        mark = file.read(min(LOG_MARK, end))
        file.seek(0)
        memory = LogMemory(status.st_ino, end, mark, head=file.read(min(LOG_MARK, end)))
    text = as_utf8(data, coding)
    return News(rest + b"\n" + text if rest else text, as_utf8(data[whole:], coding), memory, missed, continued, more)


def is_log(file: BinaryIO, status: os.stat_result, old: LogMemory) -> bool:
    """Whether an open file is the log that was read up to old.offset."""
    if status.st_size < old.offset:  # asked first: no file can be read at the offset that a broken state file may name
        return False
    return has_marks(file, old) if old.mark else status.st_ino == old.inode


def has_marks(file: Readable, old: LogMemory) -> bool:
    """Whether an open file has the remembered bytes at their places."""
    file.seek(0)
    if file.read(len(old.head)) != old.head:
        return False
    file.seek(old.offset - len(old.mark))
    return file.read(len(old.mark)) == old.mark


def rest_of_rotated(path: str, here: os.stat_result, old: LogMemory) -> tuple[bytes, str]:
    """The unread end of the log under the name that the rotation gave it, and what could not be read ("" = nothing)."""
    younger: list[str] = []
    for name in rotated_names(path):
        try:
            with open_regular(name) as file:
                status = os.fstat(file.fileno())
                if os.path.samestat(status, here):
                    continue
                rest = rest_of_packed(file, old) if name.endswith(".gz") else rest_of_plain(file, status, old)
                if rest is not None:
                    # Between it and today's log there may be others, as whole as they were written.
                    again = family(name) in map(family, younger)
                    return rest[:LOG_BYTES], TOO_MUCH if len(rest) > LOG_BYTES else LOST if again else ""
        except (OSError, runtime.Problem):
            continue  # not ours to read, or no file: then it is not the log either
        younger.append(name)
    return b"", LOST


def moved_away(path: str, old: LogMemory) -> bool:
    """Whether the very file that was read stands beside the log. Logs often begin alike: this one is then new."""
    for name in rotated_names(path):
        try:
            with open_regular(name) as file:
                status = os.fstat(file.fileno())
                if status.st_ino == old.inode and is_log(file, status, old):
                    return True
        except (OSError, runtime.Problem):
            continue
    return False


def rest_of_plain(file: BinaryIO, status: os.stat_result, old: LogMemory) -> bytes | None:
    """What a file holds behind the remembered place, None = it is not the log."""
    return read_on(file, old) if is_log(file, status, old) else None


def rest_of_packed(file: BinaryIO, old: LogMemory) -> bytes | None:
    """The same for a file that gzip has packed."""
    import gzip
    import zlib

    if not old.mark or old.offset > LOG_UNPACKED:
        return None
    try:
        unpacked = gzip.GzipFile(fileobj=file)
        return read_on(unpacked, old) if has_marks(unpacked, old) else None
    except (EOFError, zlib.error, OSError):
        return None  # cut, or no gzip


def read_on(file: Readable, old: LogMemory) -> bytes:
    """The text behind the remembered place, at most a byte more than LOG_BYTES."""
    file.seek(0)
    coding = coding_of(file.read(2))
    start = old.offset + (old.offset % 2 if coding else 0)
    file.seek(start)
    return as_utf8(file.read(LOG_BYTES + 1), coding)


def rotated_names(path: str) -> list[str]:
    """Files whose names begin like the log's, beside it, beside what a link points to, and one folder below; the
    youngest first, at most 50."""
    found: dict[str, float] = {}
    for place in dict.fromkeys((os.path.abspath(path), os.path.realpath(path))):
        folder, base = os.path.split(place)
        stem = re.split("[0-9.]", base, maxsplit=1)[0].rstrip("-_")  # of "tusb.log" and of "tusb-20261124.log"
        for where in (folder, *sorted(entry.path for entry in entries_of(folder) if entry.is_dir(follow_symlinks=False))[:50]):
            for entry in entries_of(where):
                if entry.name.startswith(stem) and entry.is_file(follow_symlinks=False):
                    found[entry.path] = entry.stat(follow_symlinks=False).st_mtime
    return sorted(found, key=found.__getitem__, reverse=True)[:50]


def entries_of(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing where it may be entered, but not listed."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def family(name: str) -> str:
    """A rotated log's name without what the rotation counts up, and whether packed or not."""
    return re.sub("[0-9]+", "#", os.path.basename(name).removesuffix(".gz"))


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
    # A relative folder would be another one in each working directory: XDG's is to be ignored (XDG Base Directory
    # Specification), and "~" is what stays of a user without a home, in a container for example.
    homes = (os.environ.get("XDG_STATE_HOME", ""), os.path.expanduser("~/.local/state"))
    folders = [os.path.join(home, "check_usb_redirector") for home in homes if os.path.isabs(home)][:1]
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    problems = []
    for folder in (*folders, f"/var/tmp/check_usb_redirector-{user}"):
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
            return load_memory(file.read(1 << 16).decode("utf-8", "replace")) or LogMemory(NOTHING_REMEMBERED, 0, b"")
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

DAY = 86400.0


def matched(shown: str, log: Log, memory: LogMemory | None, line: str, now: float) -> list[Finding]:
    """The alarm for a line that was just found, or for one that is held."""
    if memory is None or not (line or (memory.match and now - memory.seen < log.hold)):
        return []
    when = "" if line else f" ({(now - memory.seen) / 60:.0f} minutes ago)"
    return [Finding(CRITICAL, f"log {shown} has a matching line{when}: {runtime.clean(memory.match, 200)}")]


def searched(news: News, old: LogMemory | None, pattern: re.Pattern[str], now: float) -> tuple[str, LogMemory, str]:
    """The last new line that matches ("" = none), what to remember, and what there was no time for ("" = nothing)."""
    text, known = news.text, False
    if old and old.unfinished and news.continued:
        # The last line of the last run is read again: the same words are no news, however long the line stays unfinished.
        begun, _, others = text.partition(b"\n")
        known = matching_line(begun, pattern) == old.match
        text = others if known else text
    line, end, longest, slow = "", len(text), 0.0, ""
    while end and not (line or slow):  # the end of a rotated log may be long
        started = time.monotonic()
        start = text.rfind(b"\n", 0, max(0, end - LOG_PORTION)) + 1
        line, end = matching_line(text[start:end], pattern), start
        longest = max(longest, time.monotonic() - started)
        slow = TOO_SLOW if end and late(longest) else ""
    if line:
        return line, news.memory._replace(match=line, seen=now, unfinished=matching_line(news.tail, pattern) == line), ""
    if old:  # a clock that was set back holds a match no longer
        still = known and news.memory.offset == old.offset
        return "", news.memory._replace(match=old.match, seen=min(old.seen, now), unfinished=still), slow
    return "", news.memory, slow


def late(portion: float) -> bool:
    """Whether there is no time for another portion that takes so many seconds, and to remember how far it went."""
    return runtime.remaining(0.15) <= 0.1 + 2 * portion


FRESH, STALE, UNTOLD = "fresh", "stale", "not told"


def age_at_first_look(line: str, hold: float, now: float) -> str:
    """Whether a line of a log that was never read before is news, as far as the time in it tells.

    That the log was written a moment ago tells nothing of this line: it may be years old. The time's zone is not known,
    so that near the limit nothing is certain.
    """
    age = now - time_in(line, now)
    return FRESH if -DAY < age < hold else STALE if age >= hold + DAY else UNTOLD


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def time_in(line: str, now: float) -> float:
    """The first date with a time of day in a line, as seconds since the epoch, NaN without any: 2026-11-24 19:03 with any
    signs between, 24.11.2026 19:03, and syslog's Nov 24 19:03:11, which leaves out the year. 11/24/2026 may be either."""
    year, month, day = "(?P<year>20[0-9][0-9])", "(?P<month>0[1-9]|1[0-2])", "(?P<day>0[1-9]|[12][0-9]|3[01]|[1-9])"
    clock = "(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])"
    forms = (
        rf"(?<![0-9]){year}[-./]{month}[-./]{day}[T_ ,]+{clock}",
        rf"(?<![0-9]){day}\.{month}\.{year}[ ,]+{clock}",
        rf"\b(?P<name>{'|'.join(MONTHS)}) +{day} +{clock}",
    )
    found = [match for match in (re.search(form, line, re.ASCII) for form in forms) if match]
    if not found:
        return float("nan")
    parts = min(found, key=lambda match: match.start()).groupdict()
    number = MONTHS.index(parts["name"]) + 1 if "name" in parts else int(parts["month"])
    rest = (number, int(parts["day"]), int(parts["hour"]), int(parts["minute"]), 0, 0, 0, -1)
    this_year = time.localtime(now)[0]
    try:
        if "year" in parts:
            return time.mktime((int(parts["year"]), *rest))
        then = time.mktime((this_year, *rest))
        return then if then < now + DAY else time.mktime((this_year - 1, *rest))
    except (OverflowError, ValueError):
        return float("nan")


# Stands last, so that a file which a failed copy has cut has none.
def watch(log: Log) -> list[Finding]:
    """What the new lines since the last run say, and what kept the check from reading or remembering them."""
    shown, now = runtime.clean(log.path, 120), time.time()
    runtime.doing(f"reading the log {shown}")
    try:
        state_file = state_file_of(log)
        old = memory = read_memory(state_file)
    except (OSError, ValueError) as error:  # a zero byte, or a name that the locale cannot write, is a ValueError
        raise runtime.Problem(f"log {shown} cannot be read: {runtime.why_of(error)}") from None
    line, missed, longest, more = "", "", 0.0, True
    while more:
        begun = time.monotonic()
        try:
            news = unread(log, memory, now)
        except (OSError, ValueError, runtime.Problem) as error:
            problem = isinstance(error, runtime.Problem)
            sentence = str(error) if problem else f"log {shown} cannot be read: {runtime.why_of(error)}"
            # What was remembered is true all the same; the rotation may take the log away for a moment.
            return [*matched(shown, log, memory, line, now), Finding(UNKNOWN, sentence)]
        runtime.doing(f"searching the log {shown}")
        found, memory, slow = searched(news, memory, log.pattern, now)
        line, missed, more = found or line, missed or news.missed or slow, news.more
        longest = max(longest, time.monotonic() - begun)
        if more and late(longest):
            missed, more = missed or UNFINISHED, False
    assert memory is not None
    findings = []
    if line and old is None and (doubt := age_at_first_look(line, log.hold, now)) != FRESH:
        # Known, should its end come, but not held.
        memory, line = memory._replace(seen=0.0), ""
        if doubt == UNTOLD:
            what = f"at the first look, log {shown} has a matching line that does not tell its age"
            remedy = "if it is news, act on it; from now on new lines alarm"
            findings.append(Finding(UNKNOWN, f"{what}: {runtime.clean(memory.match, 200)}; {remedy}"))
    try:
        write_memory(state_file, memory)
    except OSError as error:
        place = runtime.clean(state_file, 160)
        sentence = f"how far log {shown} was read cannot be remembered in {place}: {runtime.why_of(error)}"
        sentence += "; give a --state-dir that can be written"
        findings.append(Finding(UNKNOWN, sentence))
    findings += matched(shown, log, memory, line, now)
    if missed:
        findings.append(Finding(UNKNOWN, f"log {shown} {missed}"))
    return findings or [Finding(OK, f"no new matching line in log {shown}")]
