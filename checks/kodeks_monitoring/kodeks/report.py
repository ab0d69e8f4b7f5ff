"""The sysinfo report of a Kodeks server, XML or ZIP: read as a stream, in the same memory whatever its size.

The whole report is read: one that is cut off proves nothing. The SMART project documents its sizes (20 MB,
as ZIP 256 to 282 KB), its name `report_<reg>_YYYYMMDD_HHMM`, and that since 2023 it may be SQLite.
"""

from __future__ import annotations

import io
import re
import time
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, islice
from typing import Iterator

from ..contract import deadline
from ..contract.language import _
from ..contract.private_files import opened
from ..contract.verdict import Problem, clean
from .record import Walk
from .texts import Reading

BLOCK = 1 << 16
MAX_SIZE = 512 << 20
MAX_TAG = 1 << 20
MAX_NAMES = 1 << 20  # characters in the names of elements and attributes: expat keeps them all
MAX_HELD = 1 << 20  # characters that a walk holds of the elements that are open
MAX_ZIP = 8 << 20
PATH = re.compile(r"(?s).*[/\\]")  # whichever system wrote it
HTML = re.compile(rb"(?i)(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!doctype\s+html|<html)\b")


def read(blocks: Iterator[bytes], name: str, walk: Walk, made: float | None = None) -> Reading:
    """Lead a walk through a report, ZIP or XML by its first bytes; `made` is its time if no name tells it."""
    shown, first = clean(PATH.sub("", name), 100) or _("the answer"), next(blocks, b"")
    if first.startswith(b"PK"):
        blocks = unpacked(chain((first,), blocks), shown)
        shown = f"{clean(next(blocks).decode(), 60)} ({shown})"
        first = next(blocks, b"")
    if first.startswith(b"SQLite format 3\0"):
        raise Problem(_("{file}: the report is there, in a form that this check does not read (SQLite): "
                        "ask for --source xml, or read the page", shown))  # fmt: skip
    start = first.translate(None, b"\xef\xbb\xbf\xff\xfe\0").lstrip()  # of UTF-8 or UTF-16
    if HTML.match(first) or not start.startswith(b"<"):
        raise Problem(_("{file} is no sysinfo report: neither XML nor ZIP, or a web page", shown))
    deadline.doing(_("reading {what}", shown))
    size = parse(chain((first,), blocks), walk)
    lines = _("report: {file}, {size} bytes", shown, size), *walk.lines()
    return Reading(walk.finding(), age_of(shown, made), size, lines)


@contextmanager
def stored(path: str) -> Iterator[tuple[Iterator[bytes], float]]:
    """The blocks of a file, and its time."""
    shown = clean(path, 150)
    deadline.doing(_("reading {what}", shown))
    with opened(path, shown) as (file, status):
        yield iter(lambda: file.read(BLOCK), b""), status.st_mtime


def unpacked(blocks: Iterator[bytes], shown: str) -> Iterator[bytes]:
    """The name of the one XML document in a ZIP, or else of the largest member, and then its blocks."""
    import zipfile

    packed = b"".join(islice(blocks, MAX_ZIP // BLOCK + 1))
    if len(packed) > MAX_ZIP:
        limit = MAX_ZIP >> 20
        raise Problem(_("{file} is a ZIP of more than {limit} MB, which no sysinfo report is",
                        shown, limit))  # fmt: skip
    try:
        archive = zipfile.ZipFile(io.BytesIO(packed))
        members = sorted(archive.infolist(), key=lambda member: member.file_size)
        documents = [member for member in members if member.filename.lower().endswith(".xml")]
        if len(documents) > 1 or not members:
            raise ValueError(_("it has {number} of them", len(documents)))
        member = (documents or members)[-1]
        yield PATH.sub("", member.filename).encode()
        with archive.open(member) as opened:
            yield from iter(lambda: opened.read(BLOCK), b"")
    except Exception as error:  # noqa: BLE001  zipfile raises eight kinds for a file that is not whole
        why = clean(error, 100) or type(error).__name__
        what = _("{file} is no whole ZIP with one XML document: {why}; send it again", shown, why)
        raise Problem(what) from None


def parse(blocks: Iterator[bytes], walk: Walk) -> int:
    """Lead a walk through an XML document; its size. A broken or hostile document is a Problem."""
    import pyexpat

    def refuse(*declaration: object) -> None:  # what an entity or a default value says is not in the report
        raise Problem(_("the report declares or misses entities, which no sysinfo report does: not read"))

    names: dict[str, str] = {}
    walk.parser = parser = pyexpat.ParserCreate(None, None, names)
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = walk.start, walk.end
    parser.CharacterDataHandler = walk.take
    parser.EntityDeclHandler = parser.AttlistDeclHandler = parser.SkippedEntityHandler = refuse
    size = 0
    try:
        for block in blocks:
            size += len(block)
            parser.Parse(block, False)
            if size > MAX_SIZE:
                raise Problem(_("the report is larger than {limit} MB, which none is", MAX_SIZE >> 20))
            names_are_many = sum(map(len, filter(None, names))) > MAX_NAMES
            if names_are_many or size - parser.CurrentByteIndex > MAX_TAG or walk.held() > MAX_HELD:
                raise Problem(_("the report is too deep, or its elements or names too large: look at it"))
        parser.Parse(b"", True)
    except (pyexpat.ExpatError, LookupError, ValueError, TypeError) as error:  # the others: its encoding
        what = _("the report is cut off or no well-formed XML: {why}; send or store it again", clean(error))
        raise Problem(what) from None
    return size


def age_of(shown: str, made: float | None) -> float | None:
    """Hours since the report `NAME` or `MEMBER (NAME)` was made; None if nothing tells it.

    The documented name counts, in the server's local time; of two names the older one. A date that no
    calendar has makes the age unknown. Without such a name `made` counts. Six minutes ahead count as none."""
    found = re.findall(r"(?i)report_\S*?([0-9]{8}_[0-9]{4})(?:[0-9]{2})?(?:\.\w+)?(?= \(|\)?$)", shown)
    try:
        made = min((datetime.strptime(date, "%Y%m%d_%H%M").timestamp() for date in found), default=made)
    except (ValueError, OverflowError, OSError):
        return None
    hours = None if made is None else round((time.time() - made) / 3600, 2)
    return 0.0 if hours is not None and -0.1 <= hours <= 0 else hours
