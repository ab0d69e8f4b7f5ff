"""The record of the key in a sysinfo report: the one that --record pins, or whatever mentions the key.

The schema is not public. Known are the server's own binding sentence (12,000 captures of the license page)
and what SMART's alert KodeksXmlSensLockStatus means: the report has no record of a working SenseLock system.
So a report without a pin is OK only in the server's own sentence; what anything else means is not guessed.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Union, cast

from ..contract.language import N_, _, ngettext
from ..contract.options import bad_value
from ..contract.run import Finding
from ..contract.verdict import CRITICAL, OK, UNKNOWN, clean
from .texts import CHECK_KEY, WORKS, failing, one_line, whole_sentence, works_by, worst_of

KEY = re.compile(r"sense?[\W_]?lock", re.IGNORECASE)  # the authors spell it SenseLock and SensLock
LONGEST = 1000  # characters of a value that may be a sentence
OPEN_ELEMENT = 5000  # characters that an open element counts besides its own
MAX_LISTED = 40  # candidates; different values of a pin
MAX_PATHS = 400  # of an outline
NO_RECORD = N_("the server did not detect it when the report was made; {check_key}")


def shortened(text: str) -> str:
    """A text so far. One too long to be a sentence: its beginning, the key if it mentions it, its end."""
    if len(text) <= LONGEST + 50:
        return text
    return " ".join([f"{text[:LONGEST]}...", *KEY.findall(text)[:1], text[-16:]])


def with_place(finding: Finding, path: str) -> Finding:
    """A finding with the record's path in its sentence."""
    sentence = _("{sentence} (record {path})", finding.sentence, clean(path, 200))
    return finding._replace(sentence=sentence)


class Pin(NamedTuple):
    """The place that --record names: the elements from the root, and an attribute or "".

    An element is its name, and its number among its like, or an attribute and the value that it must have."""
    steps: tuple[tuple[str, int, str, str], ...]
    attribute: str
    path: str


_STEP = r"""/([^/@\[\]\s]+)(?:\[(?:([1-9][0-9]{0,8})|@([^/@\[\]\s=]+)=("[^"]*"|'[^']*'|[^\]"']*))\])?"""


def parse_pin(path: str) -> Pin:
    """The place `/a/b[2]/c[@name='x']/@state`, a value of --record. A shell may have taken the quotes."""
    found = re.fullmatch(rf"((?:{_STEP})+?)(?:/@([^/@\[\]\s]+))?", path) if len(path) <= 2000 else None
    if not found:
        raise bad_value(path, _("is no path; write it as -vv prints it, /a/b[2]/@x or /a/b[@name='x']/@x"))
    steps = [(name, int(number or 1), attribute, value.strip("\"'"))
             for name, number, attribute, value in re.findall(_STEP, found[1])]  # fmt: skip
    return Pin(tuple(steps), found[6] or "", path)


class PinnedRecord:
    """The values of a pinned record: its attribute, or the text of an element that holds no others."""
    parser = take = cast(Any, None)  # of texts, it hears only those of the record
    lines: Any = list  # it has none

    def __init__(self, pin: Pin, working: str = WORKS) -> None:
        self.working = one_line(working)  # by the operator's word
        self.values: dict[str, None] = {}  # each once; a step with an attribute may match several elements
        self.parent_found = False
        self._pin, self._names = pin, (*(step[0] for step in pin.steps), "")
        self._numbers = [0] * len(self._names)
        self._depth = self._matched = 0  # open elements; how many of them are the first steps of the pin
        self._text = ""

    def held(self) -> int:
        """How many characters are held for the elements that are open."""
        return self._depth * OPEN_ELEMENT

    def start(self, name: str, attributes: dict[str, str]) -> None:  # a million times a report
        depth = self._depth
        self._depth = depth + 1
        if depth == self._matched:
            if name == self._names[depth]:
                self._match(depth, attributes)
            elif not self._names[depth]:
                self._text = shortened(f"{self._text} <{name}>")  # its text is not all that it says

    def _match(self, depth: int, attributes: dict[str, str]) -> None:
        name, number, attribute, value = self._pin.steps[depth]
        last = len(self._pin.steps) - 1
        self._numbers[depth] += 1
        if attributes.get(attribute) == value if attribute else self._numbers[depth] == number:
            self._matched += 1
            self._numbers[depth + 1] = 0
            self.parent_found |= depth == last - 1
            if depth == last and self._pin.attribute in attributes:
                self._keep(attributes[self._pin.attribute])
            elif depth == last and not self._pin.attribute:
                self._text, self.parser.CharacterDataHandler = "", self._take

    def _take(self, text: str) -> None:
        if self._depth == self._matched:
            self._text = shortened(self._text + text)

    def end(self, name: str) -> None:
        self._depth -= 1
        if self._depth < self._matched:
            if self.parser.CharacterDataHandler:
                self._keep(self._text)
                self.parser.CharacterDataHandler = None
            self._matched = self._depth

    def _keep(self, value: str) -> None:
        if len(self.values) < MAX_LISTED:  # so many different values are never all good
            self.values[one_line(shortened(value))] = None

    def finding(self) -> Finding:
        """What the record says: good, or else a failure, since the operator said where the state is."""
        if self.values:
            return with_place(worst_of([self._judged(value) for value in self.values]), self._pin.path)
        path = clean(self._pin.path, 200)
        if self.parent_found:
            why = _(NO_RECORD, _(CHECK_KEY))
            return Finding(CRITICAL, _("the report has no record {path}: {why}", path, why))
        return Finding(UNKNOWN, _("the report has no record {path} and nothing that could hold it: "
                                  "its form has changed; see --outline, then pin it anew", path))  # fmt: skip

    def _judged(self, value: str) -> Finding:
        if value in (WORKS, self.working):
            return Finding(OK, works_by("SenseLock ключ"))
        return whole_sentence(value) or failing(value or _("nothing"))


class Element:
    """An open element. `near`: it, or one that it stands in or beside, mentions the key."""

    def __init__(self, name: str, attributes: dict[str, str], number: int, near: bool) -> None:
        self.name, self.attributes, self.number, self.near = name, attributes, number, near
        self.children: dict[str, int] = {}
        self.text = ""

    def step(self, suffix: str) -> str:
        """It as a step of a path: by an attribute that names it and is not the path's end, or by number."""
        for key, value in self.attributes.items():
            names = len(value) < 61 and (key == "name" or KEY.search(value)) and suffix != f"/@{key}"
            if names and re.fullmatch(r"[\w.,:;()+-]+(?: [\w.,:;()+-]+)*", value):
                return f"{self.name}[@{key}='{value}']"
        return self.name if self.number == 1 else f"{self.name}[{self.number}]"


class Mentions:
    """What in a report mentions the key or is a binding sentence, and what is beside it, maybe its state."""

    def __init__(self) -> None:
        self.parser: Any = None
        self.count = 0  # elements that mention the key
        self.good: Finding | None = None  # one that says nothing but a good binding sentence
        self.failing: Finding | None = None
        self.candidates: list[tuple[int, str, str]] = []  # rank, path, value
        self._open = [Element("", {}, 1, False)]

    def held(self) -> int:
        """How many characters are held for the elements that are open."""
        return sum(OPEN_ELEMENT + len(element.children) + sum(map(len, element.attributes.values()))
                   for element in self._open)  # fmt: skip

    def start(self, name: str, attributes: dict[str, str]) -> None:
        above = self._open[-1]
        number = above.children[name] = above.children.get(name, 0) + 1
        near = above.near or any(map(KEY.search, (name, *attributes, *attributes.values())))
        self._open.append(Element(name, attributes, number, near))

    def take(self, text: str) -> None:
        element = self._open[-1]
        element.text = shortened(element.text + text)

    def end(self, name: str) -> None:
        element = self._open[-1]
        said = {**{f"/@{key}": value for key, value in element.attributes.items()}, "": element.text}
        if element.near or any("lock" in value.lower() or " -" in value for value in said.values()):
            values = {suffix: line for suffix, value in said.items() if (line := one_line(value))}
            self._judge(element, values)
        self._open.pop()

    def _judge(self, element: Element, values: dict[str, str]) -> None:
        mentions = any(map(KEY.search, (element.name, *element.attributes, *values.values())))
        self.count += mentions
        self._open[-2].near |= mentions
        for suffix, value in values.items():
            if element.children and not suffix:
                continue  # the text is not all that the element says
            path = "/".join([*(above.step("") for above in self._open[:-1]), element.step(suffix)]) + suffix
            sentence = whole_sentence(value)
            if sentence and sentence.state != OK:
                self.failing = self.failing or with_place(sentence, path)
            elif sentence and mentions and len(values) == 1 and not element.children:
                self.good = with_place(sentence, path)
            if (sentence or element.near or mentions) and len(self.candidates) < MAX_LISTED:
                rank = 0 if value == WORKS or sentence else 2 if KEY.fullmatch(value) else 1
                self.candidates.append((rank, path, value))

    def lines(self) -> list[str]:
        """The candidates, each as the option that pins it; what is likely a state comes first."""
        found = sorted(self.candidates, key=lambda candidate: candidate[0])
        return [_("--record {path}, now '{value}'", clean(path, 400), clean(value, 80))
                for rank, path, value in found]  # fmt: skip

    def finding(self) -> Finding:
        """What the report says of the key."""
        told = self.failing or (self.good if self.count == 1 else None)
        if told:
            return told
        if not self.count:
            return Finding(CRITICAL, _(
                "the report has no record of a SenseLock key: {why}; "
                "one that names it otherwise must be pinned (--record)", _(NO_RECORD, _(CHECK_KEY))))
        option = next(iter(self.lines()), _("see --outline"))
        return Finding(UNKNOWN, _(
            "the report mentions the key, but not in the server's own sentence alone: "
            "pin what holds its state ({option}); -vv lists {number}", option, len(self.candidates)))


class Outline(Mentions):
    """The paths of a report's elements and the names of their attributes, without any value."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: dict[str, dict[str, None]] = {}  # to the names of attributes

    def start(self, name: str, attributes: dict[str, str]) -> None:
        super().start(name, attributes)
        path = "/".join(element.name for element in self._open)
        if path in self.paths or len(self.paths) < MAX_PATHS:
            self.paths.setdefault(path, {}).update(dict.fromkeys(attributes))

    def finding(self) -> Finding:
        """How much the outline lists."""
        return Finding(UNKNOWN, ngettext(
            "outline: {n} kind of element, no values", "outline: {n} kinds of elements, no values",
            len(self.paths)))  # fmt: skip

    def lines(self) -> list[str]:
        """One line an element: `/report/section/param @name @value`."""
        return [" @".join([path, *names]) for path, names in self.paths.items()]


Walk = Union[PinnedRecord, Mentions]
"""What expat leads through a report: start(), end() and take() hear of elements and texts."""
