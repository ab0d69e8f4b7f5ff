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
from kodeks_binding import CHECK_KEY, CRITICAL, UNKNOWN, WORKS, Reading, Statement, unrecognised
from kodeks_record import (
    LABEL_REACH,
    SENSELOCK,
    TELLING_WORDS,
    Candidate,
    Element,
    Findings,
    Pin,
    candidates_in,
    early_labels,
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
# What a record stands in counts, however large it is. So where handlers are off the depth is counted in the bytes, and
# of an element that stays open over the whole next block the beginning is read: its tag and its first children name it.

BLOCK = 1 << 14
REACH = 1 << 13
LEAST = 1000  # bytes; a report is thousands of times as large
INLINE = 16  # characters before and behind an element in a large one that tell whether it stands in the middle of a text
MAX_TAG = 1 << 20
MAX_GROWTH = 60_000
MAX_DEPTH = 5_000
MAX_STAYING = 8  # elements that begin in one block and stay open; more are for the handlers
CUT_OFF = frozenset((3, 5, 6, 20))  # expat: no element found, unclosed token, partial character, unclosed CDATA section
_DECLARATION = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml[^>]{1,200}\?>")
_DECLARED = re.compile(rb"""(?:\xef\xbb\xbf)?<\?xml[^>]{1,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
TOO_DEEP = "the report is nested too deep or has too many different names to be one"
MAX_OPEN = 1 << 20  # characters in the tags of all elements that are open
MAX_MEMORY = 14 << 20  # bytes that a report may take; expat keeps every name, seen by a handler or not
LOOK_AT_MEMORY = 64  # blocks
TOO_LONG = "the report has tags or names too long to be one: check what makes or stores it"


_WHOLE_TAG = rb"""<(?:[^"'>]|"[^"]*"|'[^']*')*>"""
_MARKS = bytes(byte for byte in range(256) if byte not in b"<>!?#")
_STARTS = bytes(byte for byte in range(256) if byte not in b"<\x01\x02")


def whole_tags(data: bytes) -> tuple[bytes, bytes]:
    """A part of a report up to the tag that it cuts, and the rest."""
    last = data.rfind(b"<")
    if last < 0:
        return data, b""
    tag = data[last:]
    cut = b">" not in tag or ((b'"' in tag or b"'" in tag) and not re.match(_WHOLE_TAG, tag))
    return (data[:last], tag) if cut else (data, b"")


def nesting(tags: bytes) -> tuple[int, int] | None:
    """How many elements that were open before end in a part of a report, and how many that begin in it stay open.

    The part holds neither a cut tag nor a comment, a section or a stray ">". None where this cannot be told.
    """
    rest = tags.replace(b"</", b"\1").replace(b"/>", b"\2").translate(None, _STARTS)
    for _ in range(100):
        shorter = rest.replace(b"<\2", b"").replace(b"<\1", b"")
        if len(shorter) == len(rest):
            break
        rest = shorter
    ended, open_still = rest.count(b"\1"), rest.count(b"<")
    return (ended, open_still) if rest == b"\1" * ended + b"<" * open_still else None


def ends_soon(tags: bytes, count: int) -> bool:
    """Whether so many elements that were open before end in a part of a report. Most do so in its first lines."""
    depth = 0
    for mark in tags[:1024].replace(b"</", b"\1").replace(b"/>", b"\2").translate(None, _STARTS):
        depth += 1 if mark == 60 else -1
        if depth == -count:
            return True
    ended = nesting(tags)
    return ended is not None and ended[0] >= count


class Part:
    """The tags of one block. `deeper`: how much deeper the report is nested behind them, at most.

    It is less by the number of empty tags; these are counted where it matters, for counting them costs.
    `is_plain`: they show it by themselves. A stray ">", a comment, a section or a reference is for expat alone.
    """

    __slots__ = ("cut_tag", "deeper", "is_plain", "tags")

    def __init__(self, block: bytes, cut_tag: bytes) -> None:
        self.tags, self.cut_tag = whole_tags(cut_tag + block)
        marks = self.tags.translate(None, _MARKS)
        beginnings = len(marks) // 2
        self.is_plain = len(self.cut_tag) < REACH // 2
        if not self.is_plain:
            self.cut_tag = b"<"  # its length is for expat to judge
        if marks != b"<>" * beginnings:
            marks = marks.translate(None, b"!?#")
            beginnings = len(marks) // 2
            hidden = any(mark in self.tags for mark in (b"<!", b"<?", b"&#"))
            self.is_plain = self.is_plain and not hidden and marks == b"<>" * beginnings
        self.deeper = beginnings - 2 * self.tags.count(b"</")


def open_tags(tags: bytes, count: int) -> list[int] | None:
    """Where the outermost elements stand that begin in a part of a report and stay open behind it; None if it is broken."""
    opened: list[int] = []
    start = 0
    while start < len(tags):
        end = tags.find(b"<", start + 1024)
        end = end if end >= 0 else len(tags)
        counted = nesting(tags[start:end])
        if not counted:
            return None
        del opened[max(0, len(opened) - counted[0]) :]
        opened += [start] * counted[1]
        start = end
    places: list[int] = []
    for start in sorted(set(opened[:count])):
        end = tags.find(b"<", start + 1024)
        inside: list[int] = []
        for tag in re.finditer(rb"<[^>]*>", tags[start : end if end >= 0 else len(tags)]):
            if tag[0].startswith(b"</"):
                inside = inside[:-1]
            elif not tag[0].endswith(b"/>"):
                inside.append(start + tag.start())
        places += inside[: opened[:count].count(start)]
    return places


def beginning_of(data: bytes, encoding: str) -> Element | None:
    """The element that these bytes of a report begin with: its tag, and its labels, which stand in its first children."""
    import pyexpat

    parser = pyexpat.ParserCreate(encoding)
    opened: list[Element] = []

    def started(name: str, attributes: dict[str, str]) -> None:
        opened.append(Element(name, attributes, parser.CurrentByteIndex))

    def spoke(text: str) -> None:
        if len(opened) == 2:
            opened[1].texts.append(text)

    def ended(name: str) -> None:
        if len(opened) > 1:
            child = opened.pop()
            if len(opened) < 3 and parser.CurrentByteIndex <= REACH:
                opened[-1].children.append(child)

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = started, ended, spoke
    try:
        for start in range(0, REACH * 2, 1024):
            parser.Parse(data[start : start + 1024], False)
            last = (opened[1:2] or opened[0].children[-1:] or opened)[0]
            if parser.CurrentByteIndex > REACH or last.start > LABEL_REACH:
                break
    except (pyexpat.ExpatError, IndexError):
        return None
    element = Element(opened[0].name, opened[0].attributes)
    element.labels = early_labels(opened[0])
    return element


_UTF8_MISSPELT = re.compile("utf_?8", re.IGNORECASE)


def declared_encoding(beginning: bytes) -> str:
    """The encoding that a report declares; "" for none, and for what is no name of one."""
    declared = _DECLARED.match(beginning)
    return declared[1].decode("ascii") if declared else ""


def encoding_of(beginning: bytes) -> str:
    """The encoding in which a report is written by its declaration; utf8, a frequent misspelling, is UTF-8."""
    name = declared_encoding(beginning)
    return "utf-8" if not name or _UTF8_MISSPELT.fullmatch(name) else name


def words_to_find(beginning: bytes) -> tuple[bytes, ...]:
    """The bytes of which a block must hold one to be looked at, in the report's encoding; () = look at every block.

    Every text that a record is told by contains SenseLock (looked for apart, in any case) or one of these words. Where a
    character reference, a comment or a section in between may hide a word, Part.is_plain tells it.
    """
    encoding = encoding_of(beginning)
    try:
        ordinary = bytes(range(1, 128)).decode(encoding) == "".join(map(chr, range(1, 128)))
        words = tuple(word.encode(encoding) for word in TELLING_WORDS)
    except (LookupError, UnicodeError):
        return ()  # ASCII and the like may say them by character references only; and expat tells what it cannot read
    if not ordinary or beginning[:1] in (b"\xff", b"\xfe", b"\0") or beginning[1:2] == b"\0":
        return ()
    return words


def memory_held() -> int:
    """The bytes of memory that this process holds; 0 where the system does not tell it."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        with open("/proc/self/statm", "rb", buffering=0) as file:
            return int(file.read(200).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


class ReportParser:
    """Reads one report block by block and collects what it says of the key.

    `exact` keeps handlers attached everywhere, so that the paths are complete; `pin` is the record to be read.
    """

    def __init__(self, pin: Pin | None = None, exact: bool = False) -> None:
        import pyexpat

        self.findings = Findings()
        self.size, self.root = 0, ""
        self.pinned: str | None = None
        self.said = ""  # the first words of the report
        self.pinned_elements = self.pinned_text = False  # whether the pinned record holds elements, and text beside them
        self._pin, self._matched = pin, 0
        self._pinned_element: Element | None = None
        self._exact, self._near = exact or pin is not None, False
        self._stack = [Element("", {})]
        self._open = 0  # characters in the tags of the elements in it
        self._passed = 0  # elements that are open and began where no handler was on
        self._waiting: list[Candidate] = []  # found in a large element: the text that follows decides
        self._in_section = False
        self._encoding = "utf-8"
        self._expat = pyexpat
        self._parse_as(None)

    def _parse_as(self, encoding: str | None) -> None:
        self._parser = self._expat.ParserCreate(encoding)
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.SkippedEntityHandler = self._skipped
        self._parser.StartCdataSectionHandler = self._section_starts
        self._parser.EndCdataSectionHandler = self._section_ends

    def read(self, blocks: Iterable[bytes]) -> None:
        """Read the whole report. One that is cut off, broken, or no report at all is a Problem."""
        words: tuple[bytes, ...] | None = None
        held, tail = b"", b""
        part = Part(b"", b"")
        before = (False, False)  # whether the two blocks before the held one are to be looked at
        held_hit = pending = False
        allocated, taken, number = sys.getallocatedblocks(), memory_held(), 0
        first = True  # handlers are on for the first block, to see the root
        for block in itertools.chain(blocks, (b"",)):
            searched = new = tail + block
            if words is None:
                words, declaration = words_to_find(block), _DECLARATION.match(block)
                self._encoding = encoding_of(block)
                if _UTF8_MISSPELT.fullmatch(declared_encoding(block)):  # which expat does not know
                    self._parse_as("utf-8")
                searched = new = block[declaration.end() :] if declaration else block
            else:
                new = block
            following = Part(new, part.cut_tag)
            hit = not following.is_plain or self._holds_a_word(searched, words)
            if held:
                held_hit = held_hit or self._in_section or pending
                if not (self._exact or first or any(before) or held_hit or hit):
                    held_hit = self._pass_over(part, following)
                self._attach(first or any(before) or held_hit or hit or (self._exact and not self._pin))
                pending, first = self._feed(held), False
                number += 1
                if sys.getallocatedblocks() - allocated > MAX_GROWTH:
                    raise runtime.Problem(TOO_DEEP)
                if number % LOOK_AT_MEMORY == 0 and memory_held() - taken > MAX_MEMORY:
                    raise runtime.Problem(TOO_LONG)
            before, held, held_hit, part, tail = (before[1], held_hit), block, hit, following, block[-32:]
        self._feed(b"", True)
        self._release(False)

    def _holds_a_word(self, block: bytes, words: tuple[bytes, ...]) -> bool:
        if not words or b"&#" in block[:33]:
            return True
        lower = block.lower()
        if b"sense" in lower and any(word in lower for word in (b"senselock", b"sense_lock", b"sense-lock", b"sense lock")):
            return True
        # One byte is found ten times faster than two, and the last one of most words is rare: this halves the search.
        return any(word in block for word in words if word[-1:] in block)

    def _pass_over(self, part: Part, following: Part) -> bool:
        """Keep count of what is open behind a block without handlers; True, and no change, if it needs them after all."""
        staying: list[Element] = []
        # Where nothing but the root is known, a number that is too high shows: so many elements cannot end.
        for exactly in (False, True)[len(self._stack) > 2 :]:
            known, passed = self._open_behind(part, exactly)
            if known < 0 or not passed or not following.tags or ends_soon(following.tags, passed):
                break
        else:
            ended = nesting(following.tags)
            places = open_tags(part.tags, passed - ended[0]) if ended and passed - ended[0] <= MAX_STAYING else None
            for place in places or ():
                element = beginning_of(part.tags[place:] + following.tags, self._encoding)
                staying += [element] if element else []
            if not ended or len(staying) != passed - ended[0]:
                return True
        if known < 0:
            return True
        self._attach(False)  # what is open and known is judged before it is forgotten
        self._stack[known + 1 :] = staying
        self._passed = passed - len(staying)
        self._open = 0
        for element in self._stack:
            self._keep_open(element)
        return False

    def _open_behind(self, part: Part, exactly: bool) -> tuple[int, int]:
        """How many of the elements that are known, and how many others, are open behind a part; (-1, 0) = not told."""
        known, passed = len(self._stack) - 1, self._passed
        deeper = part.deeper - (part.tags.count(b"/>") if exactly else 0)
        if passed + deeper >= 0 and known < 10:
            for element in self._stack[2:]:
                if f"</{element.name}".encode(self._encoding, "ignore") in part.tags:
                    break
            else:
                return known, passed + deeper
        counted = nesting(part.tags)
        if not counted:
            return -1, 0
        ended = max(0, counted[0] - passed)
        return max(0, known - ended), max(0, passed - counted[0]) + counted[1]

    def _feed(self, block: bytes, last: bool = False) -> bool:
        """Give expat a block; True when it waits for the rest of a tag that is already longer than a record reaches."""
        self.size += len(block)
        try:
            self._parser.Parse(block, last)
        except self._expat.ExpatError as error:
            raise self._broken(error) from None
        except (LookupError, ValueError, TypeError) as error:  # an encoding that Python or expat does not know
            why = runtime.clean(error, 100)
            what = f"the report cannot be read in the encoding that it declares: {why}"
            raise runtime.Problem(f"{what}; check what makes or stores it") from None
        waiting = self.size - self._parser.CurrentByteIndex
        if waiting > MAX_TAG:
            raise runtime.Problem(f"the report has a tag or a comment of more than {MAX_TAG >> 20} MB: that is no sysinfo report")
        return waiting > REACH

    def _broken(self, error: pyexpat.ExpatError) -> runtime.Problem:
        if error.code in CUT_OFF:
            return runtime.Problem(f"the report is cut off after {self.size} bytes: send or store it again, to its end")
        why = runtime.clean(self._expat.ErrorString(error.code), 80)
        return runtime.Problem(f"the report is no well-formed XML: {why}, line {error.lineno}, column {error.offset + 1}")

    def _attach(self, near: bool) -> None:
        """Switch the handlers for the next block."""
        if self._near and not near:
            self._release(False)
            for depth in range(1, len(self._stack)):
                self._outgrow(self._stack[depth], self._stack[1:depth])
                self._release(False)
                self._stack[depth].before = ""
        if near and self._passed:
            if self._passed > MAX_DEPTH:
                raise runtime.Problem(TOO_DEEP)
            self._stack += [Element("", {}) for _ in range(self._passed)]
            self._passed = 0
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

    def _section_starts(self) -> None:
        self._in_section = True

    def _section_ends(self) -> None:
        self._in_section = False

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if self._waiting:
            self._release(False)
        parent = self._stack[-1]
        if self._pinned_element:
            self._pin_text(" ")
            self.pinned_elements = True
        number = 1
        if self._exact:
            number = parent.counts[name] = parent.counts.get(name, 0) + 1
        self.root = self.root or name
        element = Element(name, attributes, self._parser.CurrentByteIndex if self._near else -1, number)
        before = parent.before if parent.start < 0 else "".join(parent.texts[-1:])[-INLINE:]
        element.inline = bool(before.strip())
        parent.tail = parent.before = ""
        if self._pin and self._matched == len(self._stack) - 1 < len(self._pin.steps):
            self._match(element)
        self._stack.append(element)
        if len(self._stack) > MAX_DEPTH:
            raise runtime.Problem(TOO_DEEP)
        self._keep_open(element)

    def _keep_open(self, element: Element) -> None:
        self._open += element.size
        if self._open > MAX_OPEN:
            raise runtime.Problem(TOO_LONG)

    def _text(self, text: str) -> None:
        element = self._stack[-1]
        if self.size <= BLOCK and len(self.said) < REACH:
            self.said += text + " "
        if self._pinned_element:
            self._pin_text(text)
            self.pinned_text = self.pinned_text or (element is self._pinned_element and not text.isspace())
        if element.start >= 0 and self._parser.CurrentByteIndex - element.start > REACH:
            self._outgrow(element, self._stack[1:-1])
        if self._waiting and not text.isspace():
            self._release(True)
        if element.start < 0:
            element.before = (element.before + text)[-INLINE:]
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
        if len(self._stack) == 1:  # cannot be, unless nesting() was misled
            return
        if self._waiting:
            self._release(False)
        element = self._stack.pop()
        self._open -= element.size
        parent = self._stack[-1]
        parent.tail = parent.before = ""
        self._matched = min(self._matched, len(self._stack) - 1)
        if element is self._pinned_element:
            self._pinned_element = None
        elif self._pinned_element:
            self._pin_text(" ")
        here = self._parser.CurrentByteIndex
        if element.start < 0 or here - element.start > REACH:
            self._outgrow(element, self._stack[1:])
            self._release(False)
            self._outgrow(parent, self._stack[1:-1])
            self._release(False)
            parent.tail = parent.before = ""
        elif parent.start >= 0 and here - parent.start <= REACH:
            if not parent.texts:
                parent.texts.append("")
            parent.children.append(element)
            parent.texts.append("")
        else:
            self._outgrow(parent, self._stack[1:-1])
            self._release(False)
            self._waiting += self._candidates(element, self._stack[1:])
            parent.tail = parent.before = ""

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

    def _pin_text(self, text: str) -> None:
        # Any number of elements may stand in it: between two of them one blank is enough.
        if len(self.pinned or "") <= REACH and not (text == " " and (self.pinned or "").endswith(" ")):
            self.pinned = (self.pinned or "") + text

    def _candidates(self, tree: Element, around: Sequence[Element]) -> Iterable[Candidate]:
        """What a part of the report that has ended says of the key; `around` leads to it from the root."""
        return candidates_in(tree, around) if is_telling(tree) else ()

    def _release(self, in_a_text: bool) -> None:
        """Take what waits for the text behind it: a state in the middle of a text is not surely one."""
        for candidate in self._waiting:
            self.findings.add(candidate._replace(sure=candidate.sure and not in_a_text))
        self._waiting.clear()

    def _outgrow(self, element: Element, around: Sequence[Element]) -> None:
        """An element has become larger than a record: its attributes and its children stand alone from now on."""
        if element.start < 0:
            return
        element.labels = early_labels(element)
        alone = Element(element.name, element.attributes, element.start, element.number)
        alone.labels, alone.inline = element.labels, element.inline
        children, texts = element.children, element.texts
        element.start, element.children, element.texts = -1, [], []
        element.tail = texts[-1][-16:] if texts else ""
        element.before = texts[-1][-INLINE:] if texts else ""
        for candidate in self._candidates(alone, around):
            self.findings.add(candidate)
        for child, behind in zip(children, texts[1:]):
            self._release(False)
            self._waiting += self._candidates(child, [*around, element])
            if behind and not behind.isspace():
                self._release(True)
        for text in texts:
            self._mention(text, [*around, element])

    def _mention(self, text: str, where: Sequence[Element]) -> None:
        """The key may be named in the text of an element that is larger than a record."""
        found = SENSELOCK.search(text)
        if found:
            # Nothing of what stands around the word: it may be the half of a secret, which nothing recognises any more.
            statement = unrecognised("no state", found[0])
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
    start = beginning.lstrip(b"\xef\xbb\xbf \t\r\n\xff\xfe\0")[:100].lower()
    return "xml" if start[:1] == b"<" and not re.match(rb"<html|<!doctype\s+html", start) else ""


def not_a_report(beginning: bytes, name: str) -> runtime.Problem:
    """The sentence for bytes that are no report; the beginnings of what may stand in its place are well known."""
    known = ((b"SQLite format 3\0", "an SQLite database"), (b"\x1f\x8b", "a gzip file"), (b"7z\xbc\xaf", "a 7-Zip file"),
             (b"Rar!", "a RAR file"), (b"%PDF", "a PDF file"), (b"<", "an HTML page"))  # fmt: skip
    what = next((what for start, what in known if beginning.lstrip().startswith(start)), "neither XML nor ZIP")
    return runtime.Problem(f"{name} is {what if beginning else 'empty'}, no sysinfo report")


IMPOSSIBLE = -1.0


_TOLD_AS_DOCUMENTED = r"report[_-](?:.{0,100}[_-])?([0-9]{4})([0-9]{2})([0-9]{2})[_-]([0-9]{4,})"
# The same otherwise: 2026-11-01_18-00, 20261101T180000, 01.11.2026; without a time it is a day.
_TIME_OF_DAY = r"(?:[T_ .-]{0,2}([0-9]{2})[-_.:]?([0-9]{2})(?:[-_.:]?[0-9]{2})?)?(?![0-9])"
_TOLD_OTHERWISE = (
    rf"(?<![0-9])(20[0-9]{{2}})[-_.]?([01][0-9])[-_.]?([0-3][0-9]){_TIME_OF_DAY}|"
    rf"(?<![0-9])([0-3][0-9])[-_.]([01][0-9])[-_.](20[0-9]{{2}}){_TIME_OF_DAY}"
)
_DAY = 86400


def made_at(name: str, stored: float | None = None) -> float | None:
    """When a report was made by its name, `report_<reg>_YYYYMMDD_HHMM`, in the server's local time. None = not told.

    IMPOSSIBLE is a date that no calendar has: the name is not what it seems, and the file's time is none instead. Of
    several dates the last one counts, since a registration number may look like one. Where the name tells a day
    alone, the report was made when it was `stored` if that was on this day, else at its beginning.
    """
    name = base_name(name)
    found = re.search(_TOLD_AS_DOCUMENTED, name, re.IGNORECASE)
    if found:
        if len(found[4]) not in (4, 6):
            return IMPOSSIBLE
        made = local_time([int(number) for number in (*found.groups()[:3], found[4][:2], found[4][2:4])])
        return IMPOSSIBLE if made is None else made
    told = None
    for found in re.finditer(_TOLD_OTHERWISE, name, re.IGNORECASE):
        year, month, day, hour, minute = found.groups()[:5] if found[1] else (found[8], found[7], found[6], *found.groups()[8:])
        made = local_time([int(number) for number in (year, month, day, hour or 0, minute or 0)])
        if made is not None and hour is None and stored is not None and made <= stored < made + _DAY:
            made = stored
        told = made if made is not None else told
    return told


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
        why = runtime.clean(error, 100) or type(error).__name__
        return runtime.Problem(f"{name} is a damaged or cut ZIP: {why}; send or store it again")

    try:
        archive = zipfile.ZipFile(BoundedFile(file))
        members = [item for item in archive.infolist() if not item.is_dir()]
    except broken as error:
        raise damaged(error) from None
    members = [item for item in members if not base_name(item.filename).startswith("._")] or members  # macOS adds these
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
    refuse_other_xml(parser, shown)
    told = [told for told in (made_at(name, time.time() if made is None else made) for name in names) if told is not None]
    source = "told by its name" if told else "told by the time of its file" if made is not None else "not known"
    made = min(told, default=made)  # of two dates the older one, and IMPOSSIBLE before any
    wrong_date = made == IMPOSSIBLE
    if wrong_date:
        made, source = None, "its name tells a date that cannot be"
    age = None if made is None else round((time.time() - made) / 3600, 2)
    notes = (f"report: {shown}, {parser.size} bytes", f"age: {source}")
    return Reading(statement_of(parser, wanted), age, parser.size, notes, parser.findings.lines(), wrong_date)


def refuse_other_xml(parser: ReportParser, shown: str) -> None:
    """Say what XML is that is no report: an error message must not look like a report without a record."""
    root = parser.root.rpartition(":")[2].lower()
    if root == "html":
        raise not_a_report(b"<", shown)
    if parser.findings.count or parser.pinned is not None:
        return
    if root in ("error", "errors", "exception", "fault", "envelope", "problem"):
        said = runtime.clean(" ".join(parser.said.split()), 200)
        raise runtime.Problem(f"{shown} is an error message, no sysinfo report: {said or 'it says nothing'}")
    if root in ("svg", "rss", "feed", "urlset", "plist"):
        raise runtime.Problem(f"{shown} is {root.upper()}, no sysinfo report")
    if parser.size < LEAST:
        raise runtime.Problem(f"{shown} is too small for a sysinfo report ({parser.size} bytes): check what makes or stores it")


def begun(pieces: Iterable[bytes], max_size: int) -> tuple[bytes, Iterable[bytes]]:
    """The first block, and all blocks with the first."""
    blocks = regrouped(pieces, max_size)
    first = next(blocks, b"")
    return first, itertools.chain((first,), blocks)


LOOK_ANEW = f"{CHECK_KEY}, and with -vv whether the record has another place now"


def statement_of(parser: ReportParser, wanted: Wanted) -> Statement:
    """What the report says: by the pinned record, or by all that was found."""
    if not wanted.pin:
        return parser.findings.verdict()
    path = runtime.clean(wanted.pin.path, 200)
    if parser.pinned is None:
        count = parser.findings.count
        places = f"{count} other places" if count > 1 else "another place"
        others = f", but SenseLock stands at {places}: see -vv, then pin the record anew" if count else f": {LOOK_ANEW}"
        return Statement(CRITICAL, f"the report has no record {path}{others}", "")
    if parser.pinned_elements and not parser.pinned_text:
        return Statement(UNKNOWN, f"the record {path} holds elements and no text: see -vv, then pin the one with the state", "")
    if len(parser.pinned) > REACH:
        return Statement(UNKNOWN, f"the record {path} is too long to be a state: see -vv, then pin another", "")
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
        raise runtime.Problem(f"{shown} cannot be read: {runtime.why_of(error)}; check --file and its rights") from None
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
