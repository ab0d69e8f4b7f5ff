"""The sysinfo report of a Kodeks server, XML or ZIP: read as a stream, in the same memory whatever its size.

The whole report is read: one that is cut off proves nothing. A real one has 20 MB, its ZIP 256 to 282 KB.
Its name `report_<reg>_YYYYMMDD_HHMM` and that it may be SQLite since 2023 are the SMART project's words.
"""

from __future__ import annotations

import io
import os
import re
import stat
import time
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from ..contract import deadline
from ..contract.private_files import OPEN_FLAGS
from ..contract.verdict import Problem, clean
from .page import decode_page

if TYPE_CHECKING:
    from typing import Iterator

    from .record import Walk

BLOCK = 1 << 16
LEAST = 1000  # bytes of a report that a server sends; a real one has thousands of times as many
MAX_TAG = 1 << 20
MAX_NAMES = 1 << 20  # characters in the names of elements and attributes: expat keeps them all
MAX_ZIP = 8 << 20
CUT_OFF = (3, 5, 6, 20)  # expat: no element found, unclosed token, partial character, unclosed CDATA section


class NoReport(Problem):
    """What was read is no sysinfo report."""


class Report(NamedTuple):
    """What is known of a report that was read: its name for people, bytes of XML, hours of age, notes for -v.

    `dated`: its name tells the age. `age` is None if nothing tells it.
    """

    shown: str
    size: int
    age: float | None
    dated: bool
    notes: tuple[str, ...]


def read(
    blocks: Iterator[bytes], name: str, walk: Walk, max_size: int, made: float | None = None
) -> Report:
    """Lead a walk through a report, ZIP or XML by its first bytes; `made` is the time of its file."""
    shown, names = clean(base_name(name), 100) or "the answer", [name]
    beginning, blocks = begun(blocks)
    if beginning.startswith(b"PK"):
        member, blocks = open_zip(blocks, shown)
        beginning, blocks = begun(blocks)
        names.append(member)
        shown = f"{clean(base_name(member), 60)} in {shown}"
    refuse_other_forms(beginning, shown)
    deadline.doing(f"reading {shown}")
    size = parse(blocks, walk, max_size)
    age, dated, note = age_of(names, made)
    return Report(shown, size, age, dated, (f"report: {shown}, {size} bytes", note))


def begun(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes, at least LEAST if there are so many, and all blocks with these."""
    first = b""
    while len(first) < LEAST and (block := next(blocks, b"")):
        first += block
    return first, (block for part in ((first,), blocks) for block in part)


# --- Files and other forms --------------------------------------------------------------------------


@contextmanager
def stored(path: str) -> Iterator[tuple[Iterator[bytes], str, float | None]]:
    """The blocks of a file, its name and its time; "-" is standard input."""
    shown = "standard input" if path == "-" else clean(path, 150)
    deadline.doing(f"reading {shown}")
    try:
        descriptor = 0 if path == "-" else os.open(path, OPEN_FLAGS)
        status = os.fstat(descriptor)
        is_file = stat.S_ISREG(status.st_mode)
        if not is_file and (path != "-" or stat.S_ISDIR(status.st_mode)):
            raise Problem(f"{shown} is not a regular file")
        with open(descriptor, "rb") as file:
            name = shown if path == "-" else path
            yield iter(lambda: file.read(BLOCK), b""), name, status.st_mtime if is_file else None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = clean(getattr(error, "strerror", None) or error, 100)
        raise Problem(f"{shown} cannot be read: {why}; check --file and its rights") from None


def open_zip(blocks: Iterator[bytes], shown: str) -> tuple[str, Iterator[bytes]]:
    """Name and bytes of the one XML document in a ZIP; if there is none, of the largest member."""
    import zipfile

    packed = io.BytesIO()
    for block in blocks:
        packed.write(block)
        if packed.tell() > MAX_ZIP:
            raise NoReport(f"{shown} is a ZIP of more than {MAX_ZIP >> 20} MB, which no sysinfo report is")

    def damaged(error: Exception) -> Problem:
        why = clean(error, 100) or type(error).__name__
        return Problem(f"{shown} is a damaged, cut or encrypted ZIP: {why}; send or store it again")

    def unpacked() -> Iterator[bytes]:
        try:
            with archive.open(members[0]) as opened:
                yield from iter(lambda: opened.read(BLOCK), b"")
        except Exception as error:  # noqa: BLE001  zipfile raises eight kinds for a file that is not whole
            raise damaged(error) from None

    try:
        archive = zipfile.ZipFile(packed)
    except Exception as error:  # noqa: BLE001  the same
        raise damaged(error) from None
    members = [item for item in archive.infolist()  # macOS adds files that begin with ._
               if not item.is_dir() and not base_name(item.filename).startswith("._")]  # fmt: skip
    members.sort(key=lambda item: (not item.filename.lower().endswith(".xml"), -item.file_size))
    documents = [clean(item.filename, 60) for item in members if item.filename.lower().endswith(".xml")]
    if len(documents) > 1 or not members:
        listed = f": {', '.join(documents[:5])}" if documents else ""
        raise NoReport(f"{shown} is a ZIP with {len(documents)} XML documents{listed}")
    return members[0].filename, unpacked()


def refuse_other_forms(beginning: bytes, shown: str) -> None:
    """Raise NoReport for a file that is not XML by its first bytes."""
    if beginning.startswith(b"SQLite format 3\0"):
        form = "in a form that this check does not read (SQLite)"
        raise NoReport(f"{shown}: the report is there, {form}: ask for --source xml, or read the page")
    if is_html(beginning):
        raise NoReport(f"{shown} is an HTML page, no sysinfo report")
    start = beginning.translate(None, b"\xef\xbb\xbf\xff\xfe\0").lstrip()  # UTF-8 and UTF-16 alike
    if not start.startswith(b"<"):
        raise NoReport(f"{shown} is {'neither XML nor ZIP' if start else 'empty'}, no sysinfo report")


def is_html(beginning: bytes) -> bool:
    """Whether a file is a web page by its first bytes."""
    page = rb"(?i)(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!doctype\s+html|<html)\b"
    return bool(re.match(page, beginning))


def first_words(beginning: bytes) -> str:
    """The first words of an answer that is no report, as a part of a sentence; "" if they are no text."""
    text = decode_page(beginning[:LEAST], "")
    words = "" if re.search(r"[\x00-\x08\x0e-\x1f]", text) else clean(re.sub(r"<[^<>]*>", " ", text), 80)
    return f"; the server says '{words}': ask it again, then look at the server" if words else ""


# --- XML --------------------------------------------------------------------------------------------


def parse(blocks: Iterator[bytes], walk: Walk, max_size: int) -> int:
    """Lead a walk through an XML document; its size. A broken or hostile document is a Problem."""
    import pyexpat

    names: dict[str, str] = {}
    parser = pyexpat.ParserCreate(None, None, names)
    parser.buffer_text = True
    walk.attach(parser)
    parser.EntityDeclHandler = parser.AttlistDeclHandler = parser.SkippedEntityHandler = refuse_entities
    size = seen = 0
    try:
        for block in blocks:
            size += len(block)
            parser.Parse(block, False)
            walk.after_block()
            if size > max_size:
                raise Problem(f"the report is larger than {max_size >> 20} MB: --max-size allows more")
            too_many = len(names) > seen and sum(map(len, filter(None, names))) > MAX_NAMES
            if too_many or size - parser.CurrentByteIndex > MAX_TAG:
                raise Problem("the report has tags too long or names too many to be one: check what makes it")
            seen = len(names)
        parser.Parse(b"", True)
    except pyexpat.ExpatError as error:
        if error.code in CUT_OFF:
            what = f"the report is cut off after {size} bytes"
            raise Problem(f"{what}: send or store it again, to its end") from None
        why = f"{clean(pyexpat.ErrorString(error.code), 80)}, line {error.lineno}, column {error.offset + 1}"
        raise Problem(f"the report is no well-formed XML: {why}") from None
    except (LookupError, ValueError, TypeError) as error:  # an encoding that Python or expat does not know
        raise Problem(f"the report declares an encoding that cannot be read: {clean(error, 100)}") from None
    return size


def refuse_entities(*declaration: object) -> None:
    """An entity that is declared or missing, an attribute with a default: it is not said in the report."""
    raise Problem("the report declares or misses entities, which no sysinfo report does: not read")


# --- The age ----------------------------------------------------------------------------------------


def base_name(path: str) -> str:
    """The last part of a path, whichever system wrote it."""
    return re.split(r"[/\\]", path)[-1]


def age_of(names: list[str], made: float | None) -> tuple[float | None, bool, str]:
    """Hours since a report was made, whether a name tells it, and the note for -v.

    The documented name counts, in the server's local time; of two names the older one. A date that no
    calendar has makes the age unknown. Without such a name the file's time counts.
    """
    form = r"report_.*?([0-9]{8}_[0-9]{4})(?:[0-9]{2})?(?:\.\w+)?"
    found = [match[1] for name in names if (match := re.fullmatch(form, base_name(name), re.IGNORECASE))]
    try:
        times = [datetime.strptime(date, "%Y%m%d_%H%M").timestamp() for date in found]
    except (ValueError, OverflowError, OSError):
        return None, False, "age: its name has a date that no calendar has"
    made = min(times, default=made)
    note = "by its name" if times else "by the time of its file" if made is not None else "not known"
    return None if made is None else round((time.time() - made) / 3600, 2), bool(times), f"age: {note}"
