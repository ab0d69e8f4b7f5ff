"""The sysinfo report of a Kodeks server, XML or ZIP, read as a stream: what it says of the key, how old and large it is.

The whole report is read, since one that is cut off proves nothing, in the same memory whatever its size.
Source: KodeksXmlSensLockStatus alarms when the report has no record of a working SenseLock system (the SMART project's
manual). The element names are not public; kodeks_record tells the record by its words.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import plugin_runtime as runtime
from kodeks_binding import CRITICAL, UNKNOWN, WORKS, Reading, Statement, unrecognised
from kodeks_record import (
    SENSELOCK,
    TELLING_WORDS,
    Candidate,
    Element,
    Findings,
    Pin,
    candidates_in,
    is_telling,
    judge_pinned,
    path_of,
)

if TYPE_CHECKING:
    import pyexpat
    from typing import BinaryIO, Iterable, Iterator, Sequence

# --- Streamed through expat -----------------------------------------------------------------------------------
#
# Handlers in Python would more than double the time, so they are attached only around those blocks whose bytes hold
# one of the words that a record must contain.
# A record is REACH bytes at most, and handlers are on at least a block (longer than REACH) before and after each such
# word; so what is found depends neither on the place of the block borders nor on where handlers were off.

BLOCK = 1 << 14
REACH = 1 << 13
MAX_TAG = 1 << 20
MAX_GROWTH = 60_000
MAX_DEPTH = 5_000
CUT_OFF = frozenset((3, 5, 6, 20))  # expat: no element found, unclosed token, partial character, unclosed CDATA section
_DECLARATION = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml[^>]{1,200}\?>")
_DECLARED = re.compile(rb"""(?:\xef\xbb\xbf)?<\?xml[^>]{1,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
TOO_DEEP = "the report is nested too deep or has too many different names to be one"


def words_to_find(beginning: bytes) -> tuple[bytes, ...]:
    """The bytes of which a block must hold one to be looked at, in the report's encoding; () = look at every block.

    Every text that a record is told by contains SenseLock (looked for apart, in any case) or one of these words. A
    character reference, a comment or a section in between may hide a word; so they count as words.
    """
    declared = _DECLARED.match(beginning)
    encoding = declared[1].decode("ascii") if declared else "utf-8"
    try:
        ordinary = bytes(range(1, 128)).decode(encoding) == "".join(map(chr, range(1, 128)))
        words = tuple(word.encode(encoding) for word in TELLING_WORDS)
    except (LookupError, UnicodeError):
        return ()  # ASCII and the like may say them by character references only; and expat tells what it cannot read
    if not ordinary or beginning[:1] in (b"\xff", b"\xfe", b"\0") or beginning[1:2] == b"\0":
        return ()
    return (*words, b"&#", b"<!", b"<?")


class ReportParser:
    """Reads one report block by block and collects what it says of the key.

    `exact` keeps handlers attached everywhere, so that the paths are complete; `pin` is the record to be read.
    """

    def __init__(self, pin: Pin | None = None, exact: bool = False) -> None:
        import pyexpat

        self.findings = Findings()
        self.size, self.root = 0, ""
        self.pinned: str | None = None
        self._pin, self._matched = pin, 0
        self._pinned_element: Element | None = None
        self._exact, self._near = exact or pin is not None, False
        self._stack = [Element("", {})]
        self._expat = pyexpat
        self._parser = pyexpat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.SkippedEntityHandler = self._skipped

    def read(self, blocks: Iterable[bytes]) -> None:
        """Read the whole report. One that is cut off, broken, or no report at all is a Problem."""
        words: tuple[bytes, ...] | None = None
        held, tail = b"", b""
        before = (False, False)  # whether the two blocks before the held one hold a word
        held_hit = pending = False
        allocated = sys.getallocatedblocks()
        first = True  # handlers are on for the first block, to see the root
        for block in itertools.chain(blocks, (b"",)):
            searched = tail + block
            if words is None:
                words, declaration = words_to_find(block), _DECLARATION.match(block)
                searched = block[declaration.end() :] if declaration else block
            hit = self._holds_a_word(searched, words)
            tail = block[-32:]
            if held:
                self._attach(first or any(before) or held_hit or hit or (pending and self._near))
                pending, first = self._feed(held), False
                if sys.getallocatedblocks() - allocated > MAX_GROWTH:
                    raise runtime.Problem(TOO_DEEP)
            before, held, held_hit = (before[1], held_hit), block, hit
        self._feed(b"", True)

    def _holds_a_word(self, block: bytes, words: tuple[bytes, ...]) -> bool:
        # One byte is found ten times faster than two, and the last one of most words is rare: this halves the search.
        return not words or b"senselock" in block.lower() or any(word[-1:] in block and word in block for word in words)

    def _feed(self, block: bytes, last: bool = False) -> bool:
        """Give expat a block; True when it waits for the rest of a tag that is already longer than a record reaches."""
        self.size += len(block)
        try:
            self._parser.Parse(block, last)
        except self._expat.ExpatError as error:
            raise self._broken(error) from None
        except (LookupError, ValueError, TypeError) as error:  # an encoding that Python or expat does not know
            why = runtime.clean(error, 100)
            raise runtime.Problem(f"the report cannot be read in the encoding that it declares: {why}") from None
        waiting = self.size - self._parser.CurrentByteIndex
        if waiting > MAX_TAG:
            raise runtime.Problem(f"the report has a tag or a comment of more than {MAX_TAG >> 20} MB: that is no sysinfo report")
        return waiting > REACH

    def _broken(self, error: pyexpat.ExpatError) -> runtime.Problem:
        if error.code in CUT_OFF:
            return runtime.Problem(f"the report is cut off after {self.size} bytes: it was not sent or stored to its end")
        why = runtime.clean(self._expat.ErrorString(error.code), 80)
        return runtime.Problem(f"the report is no well-formed XML: {why}, line {error.lineno}, column {error.offset + 1}")

    def _attach(self, near: bool) -> None:
        """Switch the handlers for the next block."""
        if self._near and not near:
            for depth in range(1, len(self._stack)):
                self._outgrow(self._stack[depth], self._stack[1:depth])
            if not self._exact:
                del self._stack[1:]
        self._near = near
        watching = near or self._exact
        self._parser.StartElementHandler = self._start if watching else None
        self._parser.EndElementHandler = self._end if watching else None
        self._parser.CharacterDataHandler = self._text if near or self._pinned_element else None

    # Handlers

    def _doctype(self, name: str, system: str | None, public: str | None, has_internal_subset: int) -> None:
        if has_internal_subset:
            raise runtime.Problem("the report declares entities or attributes of its own, which no sysinfo report does: not read")

    def _skipped(self, name: str, is_parameter: bool) -> None:
        raise runtime.Problem(f"the report refers to an entity that it does not hold ({runtime.clean(name, 40)}): not read")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        parent = self._stack[-1]
        parent.tail = ""
        number = 1
        if self._exact:
            number = parent.counts[name] = parent.counts.get(name, 0) + 1
        self.root = self.root or name
        element = Element(name, attributes, self._parser.CurrentByteIndex if self._near else -1, number)
        if self._pin and self._matched == len(self._stack) - 1 < len(self._pin.steps):
            self._match(element)
        self._stack.append(element)
        if len(self._stack) > MAX_DEPTH:
            raise runtime.Problem(TOO_DEEP)

    def _text(self, text: str) -> None:
        element = self._stack[-1]
        if element is self._pinned_element and len(self.pinned or "") <= REACH:
            self.pinned = (self.pinned or "") + text
        if element.start >= 0 and self._parser.CurrentByteIndex - element.start > REACH:
            self._outgrow(element, self._stack[1:-1])
        if element.start < 0:
            text = element.tail + text
            element.tail = text[-16:]
            if SENSELOCK.search(text):
                element.tail = ""
                self._mention(text, self._stack[1:])
        elif element.texts:
            element.texts[-1] += text
        else:
            element.texts.append(text)

    def _end(self, name: str) -> None:
        if len(self._stack) == 1:  # it started before the handlers were attached
            self._stack[0].tail = ""
            return
        element = self._stack.pop()
        parent = self._stack[-1]
        parent.tail = ""
        self._matched = min(self._matched, len(self._stack) - 1)
        if element is self._pinned_element:
            self._pinned_element = None
        elif parent is self._pinned_element:
            self.pinned = (self.pinned or "") + " "
        if element.start < 0:
            return
        here = self._parser.CurrentByteIndex
        if here - element.start > REACH:
            self._outgrow(element, self._stack[1:])
        elif parent.start >= 0 and here - parent.start <= REACH:
            parent.children.append(element)
            parent.texts.append("")
        else:
            self._outgrow(parent, self._stack[1:-1])
            self._judge(element, self._stack[1:])

    # What the handlers find

    def _match(self, element: Element) -> None:
        assert self._pin is not None
        if (element.name, element.number) != self._pin.steps[self._matched]:
            return
        self._matched += 1
        if self._matched == len(self._pin.steps):
            if self._pin.attribute:
                self.pinned = element.attributes.get(self._pin.attribute)
            else:
                self.pinned, self._pinned_element = "", element
                self._parser.CharacterDataHandler = self._text

    def _judge(self, tree: Element, above: Sequence[Element]) -> None:
        """Look for the key in a part of the report that has ended; `above` leads to it from the root."""
        if is_telling(tree):
            for candidate in candidates_in(tree, path_of(above)):
                self.findings.add(candidate)

    def _outgrow(self, element: Element, above: Sequence[Element]) -> None:
        """An element has become larger than a record: its attributes and its children stand alone from now on."""
        if element.start < 0:
            return
        alone = Element(element.name, element.attributes, element.start, element.number)
        children, texts = element.children, element.texts
        element.start, element.children, element.texts = -1, [], []
        element.tail = texts[-1][-16:] if texts else ""
        self._judge(alone, above)
        for child in children:
            self._judge(child, [*above, element])
        for text in texts:
            self._mention(text, [*above, element])

    def _mention(self, text: str, where: Sequence[Element]) -> None:
        """The key may be named in the text of an element that is larger than a record."""
        found = SENSELOCK.search(text)
        if found:
            shown = text[max(0, found.start() - 40) : found.end() + 40]
            statement = unrecognised("no state", shown)
            self.findings.add(Candidate(statement, False, self._parser.CurrentByteIndex, path_of(where)))


# --- XML or ZIP -----------------------------------------------------------------------------------------------

PIECE = 1 << 16  # of a file, or of what a ZIP holds: each call of zipfile costs
MAX_DIRECTORY = 1 << 17
DEFLATED_OR_STORED = (0, 8)


def regrouped(pieces: Iterable[bytes], max_size: int) -> Iterator[bytes]:
    """The same bytes in blocks of BLOCK bytes; more than `max_size` of them are a Problem."""
    held, size = b"", 0
    for piece in pieces:
        size += len(piece)
        if size > max_size:
            raise runtime.Problem(f"the report is larger than {max_size >> 20} MB: --max-size allows more")
        held = held + piece if held else piece
        whole = len(held) // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            yield held[start : start + BLOCK]
        held = held[whole:]
    if held:
        yield held


def form_of(beginning: bytes) -> str:
    """What a file is by its first bytes: "zip", "xml", or "" with any other."""
    if beginning.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    start = beginning.lstrip(b"\xef\xbb\xbf \t\r\n\xff\xfe\0")[:9].lower()
    return "xml" if start[:1] == b"<" and start[:5] != b"<html" and start != b"<!doctype" else ""


def not_a_report(beginning: bytes, name: str) -> runtime.Problem:
    """The sentence for bytes that are no report; the beginnings of what may stand in its place are well known."""
    known = ((b"SQLite format 3\0", "an SQLite database"), (b"\x1f\x8b", "a gzip file"), (b"7z\xbc\xaf", "a 7-Zip file"),
             (b"Rar!", "a RAR file"), (b"%PDF", "a PDF file"), (b"<", "an HTML page"))  # fmt: skip
    what = next((what for start, what in known if beginning.lstrip().startswith(start)), "neither XML nor ZIP")
    return runtime.Problem(f"{name} is {what if beginning else 'empty'}, no sysinfo report")


def made_at(name: str) -> float | None:
    """When a report was made by its name, `report_<reg>_YYYYMMDD_HHMM`, in the server's local time. None = not told."""
    found = re.search(r"report_(?:.{1,100}?_)?([0-9]{4})([0-9]{2})([0-9]{2})_([0-9]{2})([0-9]{2})(?![0-9])", base_name(name))
    return local_time([int(number) for number in found.groups()]) if found else None


def base_name(path: str) -> str:
    """The last part of a path, whichever system wrote it."""
    return re.split(r"[/\\]", path)[-1]


def local_time(numbers: Sequence[int]) -> float | None:
    """Year, month, day, hour, minute as seconds since 1970; None where the calendar has no such day."""
    import datetime

    year, month, day, hour, minute = numbers
    try:
        return datetime.datetime(year, month, day, hour, minute).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


class BoundedFile:
    """A seekable file for zipfile that refuses to read a directory of thousands of members into memory at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Like the file's own read, for amounts that reading a member needs."""
        data = self._file.read(MAX_DIRECTORY + 1 if size < 0 or size > MAX_DIRECTORY else size)
        if len(data) > MAX_DIRECTORY:
            raise runtime.Problem("the ZIP has too many members to be a sysinfo report")
        return data


def open_zip(file: BinaryIO, name: str, max_size: int) -> tuple[Iterator[bytes], str, float | None]:
    """The XML in a ZIP as it unpacks, its name and its time. Anything but one XML document is a Problem."""
    import struct
    import zipfile
    import zlib

    broken = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OSError, RuntimeError, LookupError,
              OverflowError)  # fmt: skip

    def unpack() -> Iterator[bytes]:
        try:
            with archive.open(member) as opened:
                while piece := opened.read(PIECE):
                    yield piece
        except broken as error:
            raise damaged(error) from None

    def damaged(error: BaseException) -> runtime.Problem:
        return runtime.Problem(f"{name} is a damaged or cut ZIP: {runtime.clean(error, 100) or type(error).__name__}")

    try:
        archive = zipfile.ZipFile(BoundedFile(file))
        members = [item for item in archive.infolist() if not item.is_dir()]
    except broken as error:
        raise damaged(error) from None
    documents = [item for item in members if item.filename.lower().endswith(".xml")] or (members if len(members) == 1 else [])
    shown = ", ".join(runtime.clean(item.filename, 60) for item in members[:5]) + (", ..." if len(members) > 5 else "")
    if len(documents) != 1:
        what = f"{len(documents)} XML documents" if documents else "no XML document"
        raise runtime.Problem(f"{name} is a ZIP with {what}: {shown or 'it is empty'}")
    member = documents[0]
    if member.flag_bits & 1:
        raise runtime.Problem(f"{name} is an encrypted ZIP: {shown}")
    if member.compress_type not in DEFLATED_OR_STORED:
        raise runtime.Problem(f"{name} is a ZIP compressed by a method that is not read here ({member.compress_type}): {shown}")
    if member.file_size > max_size:
        raise runtime.Problem(f"the report is larger than {max_size >> 20} MB: --max-size allows more")
    time_of_member = local_time(member.date_time[:5]) if member.date_time[0] > 1980 else None
    return unpack(), member.filename, time_of_member


class Wanted(NamedTuple):
    """What the operator asks of a report: the pinned record and the value that works, exact paths, the size limit."""

    pin: Pin | None = None
    works: str = WORKS
    exact: bool = False
    max_size: int = 512 << 20


def read_report(
    pieces: Iterable[bytes], name: str, wanted: Wanted, file: BinaryIO | None = None, made: float | None = None
) -> Reading:
    """Read a report, ZIP or XML by its first bytes. `file` is where the pieces come from, if a ZIP may seek in it."""
    shown = runtime.clean(base_name(name), 100) or "the answer"
    names = [name]
    beginning, blocks = begun(pieces, wanted.max_size)
    if form_of(beginning) == "zip":
        file = file or held_in_memory(blocks, shown, wanted.max_size)
        unpacked, member, time_of_member = open_zip(file, shown, wanted.max_size)
        beginning, blocks = begun(unpacked, wanted.max_size)
        names.append(member)
        made = time_of_member or made
        shown = f"{runtime.clean(base_name(member), 60)} in {shown}"
    if form_of(beginning) != "xml":
        raise not_a_report(beginning, shown)
    runtime.doing(f"reading {shown}")
    parser = ReportParser(wanted.pin, wanted.exact)
    parser.read(blocks)
    if parser.root.lower() == "html":
        raise not_a_report(b"<", shown)
    told = next((told for told in map(made_at, names) if told is not None), None)
    source = "told by its name" if told is not None else "told by the time of its file" if made is not None else "not known"
    made = made if told is None else told
    age = None if made is None else round((time.time() - made) / 3600, 2)
    notes = (f"report: {shown}, {parser.size} bytes", f"age: {source}")
    return Reading(statement_of(parser, wanted), age, parser.size, notes, parser.findings.lines())


def begun(pieces: Iterable[bytes], max_size: int) -> tuple[bytes, Iterable[bytes]]:
    """The first block, and all blocks with the first."""
    blocks = regrouped(pieces, max_size)
    first = next(blocks, b"")
    return first, itertools.chain((first,), blocks)


def statement_of(parser: ReportParser, wanted: Wanted) -> Statement:
    """What the report says: by the pinned record, or by all that was found."""
    if not wanted.pin:
        return parser.findings.verdict()
    path = runtime.clean(wanted.pin.path, 200)
    if parser.pinned is None:
        others = f", but SenseLock stands at {parser.findings.count} other places, see -vv" if parser.findings.count else ""
        return Statement(CRITICAL, f"the report has no record {path}{others}", "")
    if len(parser.pinned) > REACH:
        return Statement(UNKNOWN, f"the record {path} is too long to be a state", "")
    return judge_pinned(parser.pinned, wanted.works, wanted.pin.path)


def held_in_memory(blocks: Iterable[bytes], name: str, max_size: int) -> BinaryIO:
    """A ZIP that cannot be read twice where it comes from, held in memory: as small as the report is when packed."""
    import io

    held = io.BytesIO()
    limit = max(max_size // 80, 1 << 20)
    for block in blocks:
        held.write(block)
        if held.tell() > limit:
            raise runtime.Problem(f"{name} is a ZIP of more than {limit >> 20} MB: --max-size allows more")
    return held


# --- A stored report ------------------------------------------------------------------------------------------


def read_stored_report(path: str, wanted: Wanted) -> Reading:
    """Read a report from a file, "-" for standard input."""
    import stat

    name = "standard input" if path == "-" else path
    shown = runtime.clean(name, 150)
    runtime.doing(f"reading {shown}")
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a FIFO must be told, not waited for
    try:
        descriptor = 0 if path == "-" else os.open(path, flags)
        status = os.fstat(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise runtime.Problem(f"{shown} cannot be read: {runtime.why_of(error)}") from None
    regular = stat.S_ISREG(status.st_mode)
    if not regular and (path != "-" or stat.S_ISDIR(status.st_mode)):
        raise runtime.Problem(f"{shown} is not a regular file")
    with open(descriptor, "rb", buffering=0) as file:
        return read_report(pieces_of(file, shown), name, wanted, file if regular else None, status.st_mtime if regular else None)


def pieces_of(file: BinaryIO, shown: str) -> Iterator[bytes]:
    """What a file holds, piece by piece."""
    while True:
        try:
            piece = file.read(PIECE)
        except OSError as error:
            raise runtime.Problem(f"{shown} cannot be read: {runtime.why_of(error)}") from None
        if piece:
            yield piece
        elif piece is None:  # standard input that does not wait, and has nothing yet
            time.sleep(0.01)
        else:
            return
