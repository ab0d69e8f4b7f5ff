"""The record of the key in a sysinfo report: the one that --record pins, or whatever mentions the key.

The schema of the report is not public. Known are the server's own binding sentence (12,000 captures of the
license page) and the definition of SMART's alert KodeksXmlSensLockStatus: it alarms if the report has no
record of a working SenseLock system. So a report without a pin is OK only in the server's own sentence; what
any other element or attribute means is not guessed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..contract.verdict import CRITICAL, OK, UNKNOWN, Problem, clean
from .texts import CHECK_KEY, WORKS, Statement, failing, one_line, whole_sentence, works_by, worst_of

KEY = re.compile(r"sense?[\W_]?lock", re.IGNORECASE)  # the authors spell it SenseLock and SensLock
LONGEST = 1000  # characters of a value that may be a sentence
MAX_DEPTH = 200
MAX_HELD = 1 << 20  # characters in the attributes of open elements, and names of their children
MAX_LISTED = 40  # candidates, and different values of a pin
MAX_PATHS = 400  # of an outline
NO_RECORD = f"the server did not detect it when the report was made; {CHECK_KEY}"


class Listener:
    """What the events of a report are told to. `texts` gets the pieces of text since the last tag."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """The innermost element ends."""

    def held(self) -> tuple[int, int]:
        """Called every 64 KB: keep the texts short; how many elements are open, and what is held for them."""
        raise NotImplementedError

    def after_block(self) -> None:
        """Raise a Problem if a report is nested deeper or has larger elements than any report."""
        depth, held = self.held()
        if depth > MAX_DEPTH or held > MAX_HELD:
            raise Problem("the report is nested too deep or its elements are too large: check what makes it")


# --- The pinned record ------------------------------------------------------------------------------


class Step(NamedTuple):
    """An element of a path: the `number`-th of its name, or each whose `attribute` has this value."""

    name: str
    number: int
    attribute: str
    value: str


class Pin(NamedTuple):
    """The place that --record names: the elements from the root, and an attribute or ""."""

    steps: tuple[Step, ...]
    attribute: str
    path: str


_STEP = r"""/([^/@\[\]\s]+)(?:\[(?:([1-9][0-9]{0,8})|@([^/@\[\]\s=]+)=("[^"]*"|'[^']*'|[^\]"']*))\])?"""


def parse_pin(path: str) -> Pin | None:
    """`/a/b[2]/c[@name='x']/@state`; a shell may have taken the quotes. None = the text is no such path."""
    found = re.fullmatch(rf"((?:{_STEP})+?)(?:/@([^/@\[\]\s]+))?", path) if len(path) <= 2000 else None
    if not found:
        return None
    steps = [Step(name, int(number or 1), attribute, value.strip("\"'"))
             for name, number, attribute, value in re.findall(_STEP, found[1])]  # fmt: skip
    return Pin(tuple(steps), found[6] or "", path)


class PinnedRecord(Listener):
    """The values of a pinned record: its attribute, or the text of an element that holds no others."""

    def __init__(self, pin: Pin) -> None:
        super().__init__()
        self.values: dict[str, None] = {}  # each once; a step with an attribute may match several elements
        self.parent_found = self.holds_elements = False
        self._pin, self._counts = pin, [0] * len(pin.steps)
        self._depth = self._matched = 0  # elements that are open, and how many of them are steps of the pin

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._depth == self._matched:
            self._match(name, attributes)
        self._depth += 1

    def _match(self, name: str, attributes: dict[str, str]) -> None:
        place, steps = self._matched, self._pin.steps
        if place == len(steps):
            self.holds_elements = self.holds_elements or not self._pin.attribute
        elif name == steps[place].name:
            self._counts[place] += 1
            _, number, attribute, value = steps[place]
            if attributes.get(attribute) == value if attribute else self._counts[place] == number:
                self._matched += 1
                self._counts[place + 1 :] = [0] * (len(steps) - place - 1)
                self.parent_found = self.parent_found or place == len(steps) - 2
                self.texts.clear()
                if self._matched == len(steps) and self._pin.attribute in attributes:
                    self._keep(attributes[self._pin.attribute])

    def end(self, name: str) -> None:
        if self._depth == self._matched:
            if self._matched == len(self._pin.steps) and not self._pin.attribute:
                self._keep("".join(self.texts))
            self._matched -= 1
        self._depth -= 1

    def _keep(self, value: str) -> None:
        if len(self.values) < MAX_LISTED:  # so many different values are never all good
            self.values[shortened(one_line(value))] = None

    def held(self) -> tuple[int, int]:
        inside = self._matched == len(self._pin.steps)
        self.texts[:] = [shortened("".join(self.texts))] if inside else []
        return self._depth, 0

    def statement(self, working: str) -> Statement:
        """What the record says. `working` is the text that works by the operator's word, besides the known."""
        path = clean(self._pin.path, 200)
        if self.holds_elements:
            what = f"the record {path} holds elements"
            return Statement(UNKNOWN, f"{what}: pin the one that holds the state, see --outline and -vv")
        if not self.values and self.parent_found:
            return Statement(CRITICAL, f"the report has no record {path}: {NO_RECORD}")
        if not self.values:
            what = f"the report has no record {path} and nothing that could hold it"
            return Statement(UNKNOWN, f"{what}: its form has changed; see --outline, then pin it anew")
        return worst_of([judge_pinned(value, working) for value in self.values])


def judge_pinned(value: str, working: str) -> Statement:
    """The statement of a pinned value: good, or a failure, for the operator said where the state is."""
    sentence = whole_sentence(value)
    if value and value in (WORKS, one_line(working)):
        return Statement(OK, works_by("SenseLock ключ"), clean(value))
    if not value:
        return Statement(CRITICAL, f"the pinned record is empty; {CHECK_KEY}")
    return sentence or failing(value)


def shortened(text: str) -> str:
    """A text that is no whole sentence any more if it was too long to be one."""
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


# --- A report without a pin -------------------------------------------------------------------------


def step_of(name: str, attributes: dict[str, str], number: int, but: str = "") -> str:
    """An element as a step of a path: by the attribute that names it, which is not `but`, or by its number."""
    for key in [*(key for key, value in attributes.items() if KEY.search(value)), "name"]:
        value = attributes.get(key, "")
        if key != but and re.fullmatch(r"[\w.,:;()+-]+(?: [\w.,:;()+-]+)*", value[:61]) and len(value) < 61:
            return f"{name}[@{key}='{value}']"
    return name if number == 1 else f"{name}[{number}]"


class Mentions(Listener):
    """What in a report mentions the key or is a binding sentence, and values beside it that may be a state.

    An element that mentions the key is good if it says nothing but a good binding sentence.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0  # elements that mention the key
        self.good: Statement | None = None
        self.failing: Statement | None = None
        self.place = ""  # of the failing one, else of the good one
        self.candidates: list[tuple[str, str]] = []  # path and value
        self._open: list[tuple[str, dict[str, str], dict[str, int], int]] = [("", {}, {}, 1)]
        self._silent: set[str] = set()  # names that do not mention the key
        self._kept: dict[int, str] = {}  # the texts of elements that are looked at, by their depth
        self._near = MAX_DEPTH  # elements from this depth on are beside or in one that mentions the key

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self.texts:
            self._take_text()
        children = self._open[-1][2]
        number = children[name] = children.get(name, 0) + 1
        self._open.append((name, attributes, {}, number))
        if attributes or name not in self._silent:
            if not KEY.search(name):
                self._silent.add(name)
            for word in (name, *attributes):
                if KEY.search(word):
                    self._notice(word)
            for value in attributes.values():
                if may_tell(value):
                    self._notice(value)

    def _notice(self, words: str) -> None:
        """Look at the innermost element when it ends, because of some words in it."""
        depth = len(self._open)
        self._kept.setdefault(depth, "")
        if KEY.search(words) and len(self.candidates) < MAX_LISTED:
            self._near = min(self._near, depth)

    def _take_text(self) -> None:
        text = "".join(self.texts)
        self.texts.clear()
        if may_tell(text):
            self._notice(text)
        depth = len(self._open)
        if depth in self._kept or depth >= self._near:
            self._kept[depth] = shortened(self._kept.get(depth, "") + text)

    def end(self, name: str) -> None:
        if self.texts:
            self._take_text()
        if self._kept or len(self._open) >= self._near - 1:
            self._judge(*self._open[-1])
        self._open.pop()

    def _judge(self, name: str, attributes: dict[str, str], children: dict[str, int], number: int) -> None:
        depth = len(self._open)
        if depth < self._near or len(self.candidates) >= MAX_LISTED:
            self._near = MAX_DEPTH
        said = {**{f"/@{key}": value for key, value in attributes.items()}, "": self._kept.pop(depth, "")}
        values = {suffix: one_line(value) for suffix, value in said.items() if value.strip()}
        mentions = any(KEY.search(words) for words in (name, *attributes, *values.values()))
        self.count += mentions
        for suffix, value in values.items():
            sentence = whole_sentence(value) if suffix or not children else None
            if sentence and sentence.state != OK and not self.failing:
                self.failing, self.place = sentence, self._path(suffix)
            elif sentence and mentions and len(values) == 1 and not children and not self.failing:
                self.good, self.place = sentence, self._path(suffix)
            if (sentence or mentions or depth >= self._near) and len(self.candidates) < MAX_LISTED:
                self.candidates.append((self._path(suffix), value))

    def _path(self, suffix: str) -> str:
        *above, (name, attributes, _, number) = self._open[1:]
        steps = [step_of(name, attributes, number) for name, attributes, _, number in above]
        return "/".join(["", *steps, step_of(name, attributes, number, suffix[2:])]) + suffix

    def held(self) -> tuple[int, int]:
        text = "".join(self.texts)
        if len(text) > MAX_HELD // 16:  # enough shows whether it mentions the key, and that it is long
            self.texts[:] = ["... ", *KEY.findall(text)[:1], text[-16:]]
        return len(self._open), sum(len(children) + sum(map(len, attributes.values()))
                                    for _, attributes, children, _ in self._open)  # fmt: skip

    def options(self) -> list[str]:
        """The candidates, each as the option that pins it."""
        return [f"--record {clean(path, 400)}, now '{clean(value, 80)}'" for path, value in self.candidates]

    def statement(self) -> Statement:
        """What the report says of the key without a pin."""
        if self.failing:
            return self.failing
        if self.count == 1 and self.good:
            return self.good
        if not self.count:
            what = f"the report has no record of a SenseLock key: {NO_RECORD}"
            return Statement(CRITICAL, f"{what}; a report that names the key otherwise must be pinned (--record)")
        ranks = [0 if value == WORKS or whole_sentence(value) else 2 if KEY.search(value) else 1
                 for _, value in self.candidates]  # fmt: skip
        option = self.options()[ranks.index(min(ranks))] if ranks else "see --outline"
        what = "the report mentions the key, but not in the server's own sentence alone"
        return Statement(UNKNOWN, f"{what}: pin what holds its state ({option}); -vv lists {len(ranks)}")


def may_tell(text: str) -> bool:
    """Whether a text may mention the key or be a binding sentence; quick, for most texts of a report do not."""
    return "lock" in text.lower() or ("[" in text and " -" in text)


# --- The outline ------------------------------------------------------------------------------------


class Outline(Listener):
    """The paths of a report's elements and the names of their attributes, without any value."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: dict[str, dict[str, None]] = {}  # by the path of an element
        self._open = [""]

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._open.append(f"{self._open[-1]}/{name}")
        if self._open[-1] in self.attributes or len(self.attributes) < MAX_PATHS:
            self.attributes.setdefault(self._open[-1], {}).update(dict.fromkeys(attributes))

    def end(self, name: str) -> None:
        self._open.pop()

    def held(self) -> tuple[int, int]:
        self.texts.clear()
        return len(self._open), sum(map(len, self._open))

    def lines(self) -> tuple[str, ...]:
        """One line an element: `/report/section/param @name @value`."""
        return tuple(" @".join([path, *names]) for path, names in self.attributes.items())
