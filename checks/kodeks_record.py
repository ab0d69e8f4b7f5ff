"""Where a sysinfo report tells the state of the key: its record is recognised by its words.

Pure: a small part of the report in, candidates out. Nobody outside the vendor knows how a report names the record of
the key, so it is told by its words alone:

* a text that is a binding sentence ("SenseLock ключ - [работает]"), or that says a failure of SenseLock;
* an element that is named after the key (its tag, or a label such as name="SenseLock ключ") and tells a state.

What only looks like it is a mention: never OK, and shown by -vv so that the operator can pin it with --record.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import plugin_runtime as runtime
from kodeks_binding import (
    BINDING,
    CHECK_KEY,
    CRITICAL,
    OK,
    PROTECTION_ERROR,
    UNKNOWN,
    UNREADABLE_BINDING,
    WORKS,
    Statement,
    advice_for,
    failing,
    judge_binding,
    one_line,
    parse_license_page,
    set_of,
    unrecognised,
    works_by,
    worst_of,
)

if TYPE_CHECKING:
    from typing import Iterable, Iterator, Sequence

# --- Words ----------------------------------------------------------------------------------------------------

SENSELOCK = re.compile("senselock", re.IGNORECASE | re.ASCII)
STATE_NAMES = set_of("state status result value val text работа состояние статус результат значение")
_STRICT_STATE_NAMES = set_of("state status состояние статус")
LABEL_NAMES = ("name", "title", "label", "caption", "subject", "key", "param", "parameter", "device", "module", "component",
               "system", "type", "kind", "id", "имя", "название", "наименование", "параметр", "ключ", "устройство", "модуль",
               "система", "тип", "вид")  # fmt: skip
_BINDING_WORDS = set_of("binding protection привязка защита")
_SUBJECT_WORDS = set_of(
    "senselock key usb device dongle protection system state status binding hardware ключ ключа ключи защита защиты система "
    "системы состояние статус привязка устройство аппаратный электронный"
)
# Elements that are a thing of their own by the name they bear; the state of a <server key="SenseLock"> is the server's.
_THING_WORDS = set_of(
    "item param parameter property prop field entry record row section module component element node line tr p "
    "параметр запись строка раздел модуль компонент свойство поле"
)
# A user, a document or a driver may bear the key's name; what is said of them is not said of the key.
_BEARERS = set_of(
    "user users login account owner author document doc log history пользователь пользователи логин автор документ журнал"
)
_SOFTWARE = set_of("driver service process software program package драйвер служба сервис процесс программа")
# Every text that says something of the key holds one of these; words_to_find() looks for their bytes. ASCII only: "K" is
# also the lower case of the Kelvin sign, which those bytes are not.
TELLING_WORDS = ("ривязк", "локальная", "домен")
TELLING = re.compile("|".join(("senselock", *TELLING_WORDS)), re.IGNORECASE | re.ASCII)
_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-zа-яё])(?=[A-ZА-ЯЁ])")
_CLAUSE = re.compile(r"(?:^|[.;:!])\s*")
_FAILING = (
    r"не (?:работа|найден|обнаруж|подключ|доступ|авториз|отвеча|удал)|недоступ|отсутств|отключ|запрещ|просроч|ист[её]к|"
    r"ошибка|сбой|невозможно|not (?:found|available|connect|work|respond|detect|present)|unavailable|exceeded|expired|"
    r"\bfail|(?<!no )\berror\b|\bmissing\b|\blost\b|\babsent\b|\bdenied\b"
)


def words_in(name: str) -> list[str]:
    """The words of a name in lower case: `k:SenseLockState`, `senselock_state` and `SenseLock state` have the same."""
    name = SENSELOCK.sub(" senselock ", name[:200].rpartition(":")[2])
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", name))]


def names_the_key(text: str) -> bool:
    """Whether a text is a name of the SenseLock key or of its state, and nothing else."""
    return len(text) <= 100 and bool(SENSELOCK.search(text)) and _SUBJECT_WORDS.issuperset(words_in(text))


def tells_state(name: str, names: frozenset[str] = STATE_NAMES) -> bool:
    """Whether a name is one for the state of something, and of nothing in particular but the key: `key_state`, `value`."""
    found = words_in(name)
    return not names.isdisjoint(found) and (STATE_NAMES | _SUBJECT_WORDS).issuperset(found)


def mentions(names: Iterable[str], words: frozenset[str]) -> bool:
    """Whether one of the names holds one of the words."""
    return any(not words.isdisjoint(words_in(name)) for name in names)


def state_in(text: str) -> int | None:
    """What a text says where a state is expected: OK, CRITICAL, UNKNOWN for words that are not known, None for no text."""
    text = one_line(text)
    if text in (WORKS, f"[{WORKS}]"):
        return OK
    if not text:
        return None
    return CRITICAL if advice_for(text) or re.search(_FAILING, text.casefold()) else UNKNOWN


def statement_in(text: str, place: str = "") -> Statement | None:
    """What a text says of the key by itself; None for a text that says nothing of it, or only mentions it."""
    if not TELLING.search(text):
        return None
    if "<" in text and "ривязка:" in text:
        statements = parse_license_page(text, place)
        return worst_of(statements) if statements else None
    text = one_line(text)
    if text[1:].startswith("ривязка:"):
        return judge_binding(text.partition(":")[2], place)
    match = BINDING.fullmatch(text)
    if match and (works_by(match[1]) or SENSELOCK.search(match[1])):
        return judge_binding(text, place)
    folded = text.casefold()
    if UNREADABLE_BINDING in folded or (SENSELOCK.search(text) and re.search(PROTECTION_ERROR, folded)):
        return failing(text, place)
    for clause in _CLAUSE.finditer(text[:500]) if SENSELOCK.search(text) else ():
        state = state_in(_behind_the_name(text[clause.end() : clause.end() + 500]))
        if state == CRITICAL:
            return failing(text, place)
        if state == OK:
            return unrecognised("the state of the key is not written as it is known", text, place)
    return None


def _behind_the_name(text: str) -> str:
    """What follows the key's name at the start of a text, "" where the text does not start with it."""
    end, named = 0, False
    for word in _WORD.finditer(text):
        if word[0].lower() not in _SUBJECT_WORDS:
            break
        end, named = word.end(), named or word[0].lower() == "senselock"
    return text[end:].strip(" \"'«»:=,-") if named else ""


# --- The record -----------------------------------------------------------------------------------------------


class Element:
    """An element of the report. `start` is its first byte, -1 once it is larger than a record can be."""

    __slots__ = ("attributes", "children", "counts", "name", "number", "start", "tail", "texts")

    def __init__(self, name: str, attributes: dict[str, str], start: int = -1, number: int = 1) -> None:
        self.name, self.attributes, self.start, self.number = name, attributes, start, number
        self.texts: list[str] = []
        self.children: list[Element] = []
        self.counts: dict[str, int] = {}
        self.tail = ""

    def text(self) -> str:
        """Its own text on one line, without that of its children."""
        return one_line(" ".join(self.texts))

    def strings(self) -> Iterator[tuple[str, str]]:
        """Every text that it holds itself: attributes by name, then text between the tags with "" as its name."""
        yield from self.attributes.items()
        yield from (("", text) for text in self.texts if not text.isspace() and text)

    def step(self) -> str:
        """Its part of a path, with its number among siblings of the same name from the second on."""
        return f"/{self.name}[{self.number}]" if self.number > 1 else f"/{self.name}"

    def place(self, attribute: str = "") -> str:
        """Where a text of it stands, for the sentence."""
        name = f"element {runtime.clean(self.name, 40)} of the report"
        return f"attribute {runtime.clean(attribute, 40)} of {name}" if attribute else name

    def mentions_the_key(self) -> bool:
        """Whether SenseLock stands in its tag, in the name of an attribute, or in one of its texts."""
        return any(SENSELOCK.search(text) for text in (self.name, *self.attributes, *self.attributes.values(), *self.texts))


class Aspect(NamedTuple):
    """One text of a named thing: what it is about ("state", "" for the thing itself), what it says and where."""

    about: str
    text: str
    path: str
    place: str


class Candidate(NamedTuple):
    """A text of the report that is about the key, or may be. `sure`: it is the key's record and not just a mention.

    `position` is the first byte of its element, `path` the place as --record takes it.
    """

    statement: Statement
    sure: bool
    position: int
    path: str


def path_of(elements: Iterable[Element]) -> str:
    """The path to the last of these elements, which lead down from the root."""
    return "".join(element.step() for element in elements)


def is_row(element: Element) -> bool:
    """Whether an element is a row of two cells, name and value: `<row><c>SenseLock ключ</c><c>работает</c></row>`."""
    cells = element.children
    return (
        len(cells) == 2 and cells[0].name == cells[1].name and not element.attributes
        and not any(cell.attributes or cell.children for cell in cells)
    )  # fmt: skip


def labels_of(element: Element) -> list[str]:
    """The names that an element bears in attributes or children (`<param name="SenseLock ключ"/>`), the best first."""
    if is_row(element):
        return [element.children[0].text()]
    texts = list(element.attributes.items())
    seen: dict[str, str] = {}
    for child in element.children:
        if not child.children:
            # Several names in a row name nothing: which state belongs to which of them would be a guess.
            seen[child.name] = "" if child.name in seen else child.text()
    texts += seen.items()
    found = {(words_in(name) or [""])[-1]: value for name, value in texts if value}
    return [found[name] for name in LABEL_NAMES if name in found]


def aspects_of(thing: Element, labels: Sequence[str], path: str) -> Iterator[Aspect]:
    """What a named thing says: its attributes, its text, and those of its children that are texts or name-value pairs."""
    for name, text in thing.strings():
        if text not in labels:
            yield Aspect(name, text, f"{path}/@{name}" if name else path, thing.place(name))
    if is_row(thing):
        value = thing.children[1]
        yield Aspect("", value.text(), path + value.step(), value.place())
        return
    for child in thing.children:
        below, label = path + child.step(), next(iter(labels_of(child)), "")
        if not child.children and not child.attributes and child.text() not in labels:
            yield Aspect(child.name, child.text(), below, child.place())
            continue
        for name, text in child.strings():
            if text != label and text not in labels:
                about = label if label and tells_state(name or child.name) else name or child.name
                yield Aspect(about, text, f"{below}/@{name}" if name else below, child.place(name))
        for value in child.children:
            if label and not value.children and tells_state(value.name):
                yield Aspect(label, value.text(), below + value.step(), value.place())


def record_of(element: Element, path: str, above: Sequence[str]) -> Candidate | None:
    """The record of the key, if the element is named after it and tells a state. `above` are the names of its parent."""
    labels = labels_of(element)
    aspects = list(aspects_of(element, labels, path))
    by_tag = names_the_key(element.name)
    if by_tag or any(map(names_the_key, labels)):
        # "SenseLock" as one of several names, or as a detail of another thing, does not make a state that of the key.
        thing = by_tag or (_THING_WORDS | _SUBJECT_WORDS).issuperset(words_in(element.name))
        sure = thing and all(_SUBJECT_WORDS.issuperset(words_in(label)) for label in labels)
        return _record_from(aspects, sure and not mentions((*labels, *above), _BEARERS | _SOFTWARE), element.start)
    kind = next((text for text in map(one_line, (*labels, *(aspect.text for aspect in aspects))) if works_by(text)), "")
    if kind and mentions((element.name, *labels, *above), _BINDING_WORDS):
        return _binding_from(kind, aspects, element.start)
    named = [Aspect("", text, f"{path}/@{name}", element.place(name))
             for name, text in element.attributes.items() if names_the_key(name)]  # fmt: skip
    return _record_from(named, not mentions((element.name, *above), _BEARERS | _SOFTWARE), element.start)


def _record_from(aspects: Sequence[Aspect], sure: bool, position: int) -> Candidate | None:
    """The state that a thing's aspects tell: a failure anywhere first, then what stands where a state is expected."""
    judged = [(state_in(aspect.text), aspect) for aspect in aspects]
    telling = [(state, aspect) for state, aspect in judged if not aspect.about or tells_state(aspect.about)]
    bad = [aspect for state, aspect in judged if state == CRITICAL]
    good = [aspect for state, aspect in telling if state == OK]
    # Beside a good state a version or a number is no second state; what is called a state is one.
    odd = [aspect for state, aspect in telling if state not in (OK, CRITICAL) and (
        not good or tells_state(aspect.about, _STRICT_STATE_NAMES))]  # fmt: skip
    guesses = [aspect for state, aspect in judged if state == OK]
    if not bad + odd + guesses:
        return None
    found = (bad or odd or good or guesses)[0]
    if bad:
        statement = failing(found.text, found.place)
    elif odd:
        what = f"the state of the SenseLock record is {'not known' if found.text.strip() else 'empty'}"
        statement = unrecognised(what, found.text, found.place)
    else:
        statement = Statement(OK, works_by("SenseLock ключ"), WORKS, "", found.place)
    return Candidate(statement, sure and bool(bad or odd or good), position, found.path)


def _binding_from(kind: str, aspects: Sequence[Aspect], position: int) -> Candidate | None:
    """A binding whose kind and state stand in two places: `<Binding><subject>локальная</subject><state>...`."""
    state = next((item for item in aspects if tells_state(item.about)), None)
    if not state:
        return None
    text = one_line(state.text)
    statement = judge_binding(f"{kind} - {text if text.startswith('[') else f'[{text}]'}", state.place)
    return Candidate(statement, True, position, state.path)


def is_telling(tree: Element) -> bool:
    """Whether any text in a part of the report can be about the key; most parts hold none that can."""
    waiting = [tree]
    for element in waiting:
        if any(map(TELLING.search, (element.name, *element.attributes, *element.attributes.values(), *element.texts))):
            return True
        waiting += element.children
    return False


def candidates_in(tree: Element, prefix: str) -> Iterator[Candidate]:
    """Everything in a small part of the report that is about the key, or may be. `prefix` is the path to the tree."""
    waiting: list[tuple[Element, str, Sequence[str]]] = [(tree, prefix + tree.step(), ())]
    while waiting:
        element, path, above = waiting.pop()
        nothing = True
        for name, text in element.strings():
            statement = statement_in(text, element.place(name))
            if statement:
                nothing = False
                sure = not mentions((element.name, name, *above), _BEARERS)
                yield Candidate(statement, sure, element.start, f"{path}/@{name}" if name else path)
        record = record_of(element, path, above)
        if record:
            yield record
        elif nothing and element.mentions_the_key():
            yield mention(element, path)
        names = (element.name, *labels_of(element))
        waiting += [(child, path + child.step(), names) for child in reversed(element.children)]


def mention(element: Element, path: str) -> Candidate:
    """A place that names SenseLock and tells nothing of it."""
    text = next((text for _, text in element.strings() if SENSELOCK.search(text)), f"<{element.name}>")
    return Candidate(unrecognised("no state", text, element.place()), False, element.start, path)


# --- All of them together -------------------------------------------------------------------------------------


class Findings:
    """What the whole report says of the key: the first candidate of each weight, and some of them for -vv."""

    def __init__(self) -> None:
        self.count = 0
        self.listed: list[Candidate] = []
        self._first: dict[tuple[int, bool], Candidate] = {}

    def add(self, candidate: Candidate) -> None:
        """Take one more candidate into account."""
        self.count += 1
        if len(self.listed) < 40:
            self.listed.append(candidate)
        weight = candidate.statement.state, candidate.sure
        if weight not in self._first or candidate.position < self._first[weight].position:
            self._first[weight] = candidate

    def verdict(self) -> Statement:
        """The statement of the report. Only records count as OK, and only when nothing contradicts them."""
        bad, good, odd = (self._first.get((state, True)) for state in (CRITICAL, OK, UNKNOWN))
        doubtful = self._first.get((CRITICAL, False))
        if bad or (doubtful and not good):
            return _with_place((bad or doubtful).statement)  # type: ignore[union-attr]
        if doubtful and good:
            sentence = f"the report contradicts itself: the key works by {good.statement.place}, but {doubtful.statement.place} "
            sentence += f"says '{doubtful.statement.text}': see -vv, then pin the record with --record"
            return good.statement._replace(state=UNKNOWN, sentence=sentence)
        if odd:
            advice = "" if good else ": see -vv; if it means that the key works, give --record and --working"
            return _with_place(odd.statement, advice)
        if good:
            return good.statement
        guess = self._first.get((OK, False))
        if guess:
            sentence = f"'{WORKS}' stands beside SenseLock, but not surely as the key's state: see -vv, then pin it with --record"
            return _with_place(guess.statement._replace(state=UNKNOWN, sentence=sentence))
        if self.count:
            sentence = "the report mentions SenseLock, but tells no state of it that is known: see -vv, then pin it with --record"
            return Statement(UNKNOWN, sentence, "")
        sentence = "the report has no record of a SenseLock key: the server did not detect it when the report was made"
        return Statement(CRITICAL, f"{sentence}; {CHECK_KEY}", "")

    def lines(self) -> tuple[str, ...]:
        """The candidates for -vv, in the order of the report."""
        names = {OK: "works", CRITICAL: "fails", UNKNOWN: "not known"}
        shown = sorted(self.listed, key=lambda candidate: candidate.position)
        more = (f"and {self.count - len(shown)} more",) if self.count > len(shown) else ()
        return (*(f"{'record' if item.sure else 'mention'} {item.path}: {names[item.statement.state]}: {item.statement.text}"
                  for item in shown), *more)  # fmt: skip


def _with_place(statement: Statement, advice: str = "") -> Statement:
    return statement._replace(sentence=f"{statement.sentence} ({statement.place}){advice}")


# --- A record that the operator pins --------------------------------------------------------------------------


class Pin(NamedTuple):
    """The place that --record names: the elements from the root with their numbers, and an attribute or ""."""

    steps: tuple[tuple[str, int], ...]
    attribute: str
    path: str


def parse_pin(path: str) -> Pin | None:
    """`/a/b[2]/@c` as -vv prints it. None = this is no such path."""
    if not re.fullmatch(r"(?:/[^/@\[\]\s]+(?:\[[1-9][0-9]{0,8}\])?)+(?:/@[^/@\[\]\s]+)?", path) or len(path) > 2000:
        return None
    elements, _, attribute = path.partition("/@")
    steps = (re.fullmatch(r"([^\[]+)(?:\[([0-9]+)\])?", step) for step in elements[1:].split("/"))
    return Pin(tuple((step[1], int(step[2] or 1)) for step in steps if step), attribute, path)


def judge_pinned(text: str, works: str, path: str) -> Statement:
    """The statement of the value that --record names: it works when it says so in the words known or given."""
    place = f"record {runtime.clean(path, 200)}"
    text = one_line(text)
    binding = statement_in(text, place)
    if text == one_line(works) or (works == WORKS and state_in(text) == OK) or (binding and binding.state == OK):
        return Statement(OK, binding.sentence if binding and binding.state == OK else works_by("SenseLock ключ"), text, "", place)
    return _with_place(failing(text, place) if text else unrecognised("the pinned record is empty", text, place))
