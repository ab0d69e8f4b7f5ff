"""The record of the key in a sysinfo report: the one that --record pins, or whatever mentions the key.

The schema of the report is not public. Known are the server's own binding sentence (12,000 captures of the
license page) and the definition of SMART's alert KodeksXmlSensLockStatus: it alarms if the report has no
record of a working SenseLock system. So a report without a pin is OK only in the server's own sentence; what
any other element or attribute means is not guessed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ..contract.verdict import CRITICAL, OK, UNKNOWN, Problem, clean
from .texts import CHECK_KEY, WORKS, Statement, failing, one_line, whole_sentence, works_by, worst_of

if TYPE_CHECKING:
    import pyexpat
    from typing import Callable

KEY = re.compile(r"sense?[\W_]?lock", re.IGNORECASE)  # the authors spell it SenseLock and SensLock
LONGEST = 1000  # characters of a value that may be a sentence
MAX_DEPTH = 200
MAX_HELD = 1 << 20  # characters in the attributes of open elements, and names of their children
MAX_LISTED = 40  # candidates; different values of a pin
MAX_PATHS = 400  # of an outline
NO_RECORD = f"the server did not detect it when the report was made; {CHECK_KEY}"


class Walk:
    """What expat leads through a report: start() and end() hear of elements, `texts` gets pieces of text.

    held() tells how many elements are open and how much is held for them, statement() what the report says,
    lines() what -vv lists.
    """

    start: Callable[[str, dict[str, str]], None]
    end: Callable[[str], None]
    held: Callable[[], tuple[int, int]]
    statement: Callable[[], Statement]
    lines: Callable[[], list[str]]

    def __init__(self) -> None:
        self.texts: list[str] = []

    def attach(self, parser: pyexpat.XMLParserType) -> None:
        """Hear of what a parser finds."""
        parser.StartElementHandler, parser.EndElementHandler = self.start, self.end
        parser.CharacterDataHandler = self.texts.append

    def after_block(self) -> None:
        """After every 64 KB: hold little. A Problem if a report is deeper or has larger elements than any."""
        depth, held = self.held()
        if depth > MAX_DEPTH or held > MAX_HELD:
            raise Problem("the report is nested too deep or its elements are too large: check what makes it")
        text = "".join(self.texts)
        self.texts[:] = [text] if len(text) < MAX_HELD // 16 else [shortened(text), text[-16:]]


def shortened(text: str) -> str:
    """A text that is too long to be a sentence: its beginning, a mark, and the key if it mentions the key."""
    return text if len(text) <= LONGEST else " ".join([f"{text[:LONGEST]}...", *KEY.findall(text)[:1], ""])


def with_place(statement: Statement, path: str) -> Statement:
    """A statement with the record's path in its sentence."""
    return statement._replace(sentence=f"{statement.sentence} (record {clean(path, 200)})")


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


class PinnedRecord(Walk):
    """The values of a pinned record: its attribute, or the text of an element that holds no others.

    start() is called a million times a report, and an ending element costs least where a list counts it.
    """

    def __init__(self, pin: Pin, working: str = WORKS) -> None:
        super().__init__()
        self.working = one_line(working)  # by the operator's word
        self.values: dict[str, None] = {}  # each once; a step with an attribute may match several elements
        self.parent_found = self.holds_elements = False
        self._pin, self._names = pin, (*(step.name for step in pin.steps), "")
        self._numbers = [0] * len(self._names)
        self._begun, self._ended = 0, list[str]()
        self._matched = 0  # how many of the elements that are open are the first steps of the pin

    def attach(self, parser: pyexpat.XMLParserType) -> None:
        self._parser = parser
        parser.StartElementHandler, parser.EndElementHandler = self.start, self._ended.append

    def start(self, name: str, attributes: dict[str, str]) -> None:
        depth = self._begun - len(self._ended)
        self._begun += 1
        if depth < self._matched:
            self._leave(depth)
        if depth == self._matched and name == self._names[depth]:
            self._match(depth, attributes)
        elif depth == len(self._names) - 1 == self._matched:
            self.holds_elements = not self._pin.attribute

    def _match(self, depth: int, attributes: dict[str, str]) -> None:
        step, last = self._pin.steps[depth], len(self._pin.steps) - 1
        self._numbers[depth] += 1
        named = bool(step.attribute) and attributes.get(step.attribute) == step.value
        if named or (not step.attribute and self._numbers[depth] == step.number):
            self._matched += 1
            self._numbers[depth + 1] = 0
            self.parent_found = self.parent_found or depth == last - 1
            if depth == last and self._pin.attribute in attributes:
                self._keep(attributes[self._pin.attribute])
            elif depth == last and not self._pin.attribute:
                self._parser.CharacterDataHandler = self._take

    def _take(self, text: str) -> None:
        if self._begun - len(self._ended) == len(self._pin.steps):
            self.texts.append(text)

    def _leave(self, depth: int = 0) -> None:
        if self._matched == len(self._pin.steps) and not self._pin.attribute:
            self._keep("".join(self.texts))
            self.texts.clear()
            self._parser.CharacterDataHandler = None
        self._matched = depth

    def held(self) -> tuple[int, int]:
        self._begun -= len(self._ended)
        self._ended.clear()
        return self._begun, 0

    def _keep(self, value: str) -> None:
        if len(self.values) < MAX_LISTED:  # so many different values are never all good
            self.values[one_line(shortened(value))] = None

    def statement(self) -> Statement:
        self._leave()
        path = clean(self._pin.path, 200)
        if self.holds_elements:
            what = f"the record {path} holds elements"
            return Statement(UNKNOWN, f"{what}: pin the one that holds the state, see --outline and -vv")
        if not self.values and self.parent_found:
            return Statement(CRITICAL, f"the report has no record {path}: {NO_RECORD}")
        if not self.values:
            what = f"the report has no record {path} and nothing that could hold it"
            return Statement(UNKNOWN, f"{what}: its form has changed; see --outline, then pin it anew")
        return with_place(worst_of([self._judged(value) for value in self.values]), self._pin.path)

    def lines(self) -> list[str]:
        return []

    def _judged(self, value: str) -> Statement:
        """A value is good, or else a failure: the operator said where the state is."""
        if not value:
            return Statement(CRITICAL, f"the pinned record is empty; {CHECK_KEY}")
        if value in (WORKS, self.working):
            return Statement(OK, works_by("SenseLock ключ"), clean(value))
        return whole_sentence(value) or failing(value)


# --- A report without a pin -------------------------------------------------------------------------


def step_of(name: str, attributes: dict[str, str], number: int, but: str = "") -> str:
    """An element as a step of a path: by the attribute that names it, unless it is `but`, or by number."""
    for key in [*(key for key, value in attributes.items() if KEY.search(value)), "name"]:
        value = attributes.get(key, "")
        if key != but and len(value) < 61 and re.fullmatch(r"[\w.,:;()+-]+(?: [\w.,:;()+-]+)*", value):
            return f"{name}[@{key}='{value}']"
    return name if number == 1 else f"{name}[{number}]"


def may_tell(text: str) -> bool:
    """Whether a text may mention the key or be a binding sentence. Quick: most texts of a report do not."""
    return "lock" in text.lower() or ("[" in text and " -" in text)


class Mentions(Walk):
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
        self._open: list[tuple[str, dict[str, str], dict[str, int], int]] = [("", {}, {}, 1)]  # see start()
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
            for words in (name, *attributes, *attributes.values()):
                if words not in self._silent and may_tell(words):
                    self._notice(words)
            if not may_tell(name):
                self._silent.add(name)

    def _notice(self, words: str) -> None:
        """Look at the innermost element when it ends, because of some words in it."""
        depth = len(self._open)
        self._kept.setdefault(depth, "")
        if KEY.search(words) and len(self.candidates) < MAX_LISTED:
            self._near = min(self._near, depth)

    def _take_text(self) -> None:
        text, depth = "".join(self.texts), len(self._open)
        self.texts.clear()
        if may_tell(text):
            self._notice(text)
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
            if children and not suffix:
                continue  # the text is not all that the element says
            sentence = whole_sentence(value)
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
        return len(self._open), sum(sum(map(len, attributes.values())) + len(children)
                                    for _, attributes, children, _ in self._open)  # fmt: skip

    def lines(self) -> list[str]:
        """The candidates, each as the option that pins it."""
        return [f"--record {clean(path, 400)}, now '{clean(value, 80)}'" for path, value in self.candidates]

    def statement(self) -> Statement:
        if self.failing:
            return with_place(self.failing, self.place)
        if self.count == 1 and self.good:
            return with_place(self.good, self.place)
        if not self.count:
            what = f"the report has no record of a SenseLock key: {NO_RECORD}"
            hint = "a report that names the key otherwise must be pinned (--record)"
            return Statement(CRITICAL, f"{what}; {hint}")
        ranks = [0 if value == WORKS or whole_sentence(value) else 2 if KEY.search(value) else 1
                 for _, value in self.candidates]  # fmt: skip
        option = self.lines()[ranks.index(min(ranks))] if ranks else "see --outline"
        what = "the report mentions the key, but not in the server's own sentence alone"
        return Statement(UNKNOWN, f"{what}: pin what holds its state ({option}); -vv lists {len(ranks)}")


class Outline(Walk):
    """The paths of a report's elements and the names of their attributes, without any value."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: dict[str, dict[str, None]] = {}  # by the path of an element
        self._open = [""]

    def start(self, name: str, attributes: dict[str, str]) -> None:
        path = f"{self._open[-1]}/{name}"
        self._open.append(path)
        if path in self.attributes or len(self.attributes) < MAX_PATHS:
            self.attributes.setdefault(path, {}).update(dict.fromkeys(attributes))

    def end(self, name: str) -> None:
        self._open.pop()

    def held(self) -> tuple[int, int]:
        return len(self._open), sum(map(len, self._open))

    def statement(self) -> Statement:
        return Statement(UNKNOWN, f"outline: {len(self.attributes)} kinds of elements, no values")

    def lines(self) -> list[str]:
        """One line an element: `/report/section/param @name @value`."""
        return [" @".join([path, *names]) for path, names in self.attributes.items()]
