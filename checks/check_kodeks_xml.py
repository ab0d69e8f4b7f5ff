#!/usr/bin/env python3
"""Does the Kodeks server itself report that its SenseLock key works?

The last link of the chain that keeps a Kodeks/Techexpert server licensed. Facts and where they come from:

* the binding line of the licence page /admin/lic ("Привязка: SenseLock ключ - [работает]"), its texts, the login
  pages, the 307 that sets cookies, the refusals: field captures of 65 to 90 installations;
* `POST /sysinfo/si_save_request` with type=zip or type=xml makes the sysinfo report; KodeksXmlSensLockStatus alarms
  when the report has no record of a working SenseLock system; the protection errors: the SMART project's manual;
* the element names of that report are not public. Its record is recognised by its words, what was read is said, and
  only the words that are known to mean "works" are OK.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import re
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

try:
    import plugin_runtime as runtime

    begin = runtime.begin
except ImportError:
    print("KODEKS_XML UNKNOWN - plugin_runtime.py is missing beside this check: copy the whole checks folder")
    raise SystemExit(3) from None
except (SyntaxError, ValueError, NameError, AttributeError):  # cut by a failed copy; a zero byte is a ValueError
    print("KODEKS_XML UNKNOWN - plugin_runtime.py beside this check is incomplete: copy the whole checks folder again")
    raise SystemExit(3) from None

begin("KODEKS_XML", __name__)

if TYPE_CHECKING:
    import http.client
    import pyexpat
    import socket
    from typing import Any, BinaryIO, Callable, Iterable, Iterator, Sequence

import nagiosplugin

# --- Value objects --------------------------------------------------------------------------------------------

OK, CRITICAL, UNKNOWN = runtime.OK, runtime.CRITICAL, runtime.UNKNOWN


class Statement(NamedTuple):
    """What one text of the server says about its key.

    `state` is an exit code. `sentence` says it in full; `text` is the server's own text. `license_manager` is
    "HOST:PORT" where the text names it. `place` is where the text stood ("element state of the report").
    """

    state: int
    sentence: str
    text: str
    license_manager: str = ""
    place: str = ""


class Reading(NamedTuple):
    """What a source gave: the statement that decides, and what is known about the source.

    `age` is hours since the report was made, None where nothing tells; `size` is bytes of XML, None for a page;
    `notes` are lines for -v, `candidates` those for -vv.
    """

    statement: Statement
    age: float | None = None
    size: int | None = None
    notes: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()


# --- Pure parsers: the binding text ---------------------------------------------------------------------------

WORKS = "работает"
SENSELOCK = re.compile("senselock", re.IGNORECASE | re.ASCII)

CHECK_KEY = "check where the key is plugged in and its forwarder first"
UNREADABLE_BINDING = "невозможно получить привязку"

# The texts of failing bindings in field captures, in lower case; then what each means and what to do first.
FAILURES = (
    ('device "senselock" not found', f"the server does not see its key; {CHECK_KEY}"),
    ("user limit exceeded", "the license manager has no free user license; check at the license manager who uses the key"),
    ("key limit exceeded", "the license manager refuses the key, its limit is exceeded; check there which servers use the key"),
    ("не авторизовал ключ", "the license manager refuses the key; check the key at the license manager"),
    ("key is not available", "the license manager does not offer the key; check that the key is plugged in there"),
    (UNREADABLE_BINDING, "the server cannot read its binding; check that the key or the domain it is bound to is reachable"),
    ("не работает", f"the protection does not work; {CHECK_KEY}"),
    ("not connected", "the server is not connected to its key; check the key, then the license manager"),
)  # fmt: skip

# Protection errors of the vendor's documentation: meaning and first remedy. Some have two or three numbers.
PROTECTION_ERRORS = {
    5: "wrong license; check the registration file",
    6: "wrong public key; check the registration file",
    50: "not registered on this computer; check whether the machine or its hardware was changed",
    51: "the key's number does not match the registration file; check that the right key is plugged in",
    665: "no access to the protection driver; check that the SenseLock driver is installed and running",
    4111: f"no key for this registration file (not plugged in, a wrong key, or no license manager found); {CHECK_KEY}",
    4112: "an unknown service answers at the license manager's address; check host and port in linkml.ini",
    4113: "the license manager has no such key, or its version differs; check the key at the license manager",
    4116: "the broadcast search on UDP 5555 found no license manager; write its host and port into linkml.ini",
    4117: "the license manager has the key on its blacklist; ask the vendor",
    4118: "wrong proxy login or password; check linkml.ini",
    2007: "no right to this database; check the registration file",
    2008: "user limit exceeded; check who is connected",
    2010: "no license in the registration file; check that the current registration file is installed",
    2020: "other update number; check that the registration file belongs to the installed update",
    2021: "the license term is over or has not begun; renew the registration file and check the clock",
}
SAME_ERROR = {4107: 50, 4103: 2007, 4106: 2008, 4100: 2010, 4109: 2010, 4101: 2020, 4110: 2021}

_PROTECTION_ERROR = re.compile(r"ошибка защиты\D{0,5}([0-9]{1,6})")
_LICENSE_MANAGER = re.compile(
    r"(?:license manager configured at|менеджер лицензий настроен на) (\[[0-9a-f:.]{2,45}\]|[\w.-]{1,253}):([0-9]{1,5})(?![0-9])",
    re.IGNORECASE,
)
_BINDING = re.compile(r"(.{1,300}?) - (\[.*|ошибка защиты.*)", re.IGNORECASE)


def set_of(words: str) -> frozenset[str]:
    """A set of words, written as a text."""
    return frozenset(words.split())


def one_line(text: str) -> str:
    """The text with every run of blanks, line ends and no-break spaces made one blank."""
    return " ".join(text.split())


def advice_for(text: str) -> str:
    """What a failing text means and what to do first, "" for a text that is not known."""
    folded = text.casefold()
    for number in _PROTECTION_ERROR.findall(folded):
        code = int(number)
        if SAME_ERROR.get(code, code) in PROTECTION_ERRORS:
            return PROTECTION_ERRORS[SAME_ERROR.get(code, code)]
    return next((advice for phrase, advice in FAILURES if phrase in folded), "")


def license_manager_in(text: str) -> str:
    """The license manager's "HOST:PORT" where the text names one, "" otherwise."""
    match = _LICENSE_MANAGER.search(one_line(text))
    return f"{match[1]}:{match[2]}" if match and 1 <= int(match[2]) <= 65535 else ""


def failing(text: str, place: str = "") -> Statement:
    """The statement of a text that reports a failure."""
    advice = advice_for(text) or "an error that is not documented; look at the license page of the server"
    said = runtime.clean(text, 300)
    return Statement(CRITICAL, f"server reports: {said}: {advice}", said, license_manager_in(text), place)


def unrecognised(what: str, text: str, place: str = "") -> Statement:
    """The statement of a text whose meaning is not known."""
    said = runtime.clean(text, 200)
    return Statement(UNKNOWN, f"{what}: '{said}'", said, license_manager_in(text), place)


def works_by(kind: str) -> str:
    """The sentence for a binding of this kind that works, "" for a kind that is not known."""
    if re.fullmatch("senselock ключ", kind, re.IGNORECASE | re.ASCII):
        return "SenseLock key works"
    if kind == "локальная":
        return "binding to the machine works, no key is used"
    domain = re.fullmatch("домен к (.+)", kind)
    return f"binding to the domain {runtime.clean(domain[1], 60)} works, no key is used" if domain else ""


def judge_binding(text: str, place: str = "") -> Statement:
    """What the text after "Привязка:" says, plain text without entities. Only "[работает]" behind a known kind is good."""
    text = one_line(text)
    match = _BINDING.fullmatch(text)
    if not match:
        if advice_for(text):
            return failing(text, place)
        return unrecognised("the binding is not recognised" if text else "the binding is empty", text, place)
    kind, state = match[1], match[2]
    if state == f"[{WORKS}]" and works_by(kind):
        return Statement(OK, works_by(kind), runtime.clean(text, 300), "", place)
    if state == f"[{WORKS}]":
        return unrecognised("a binding of an unknown kind works", text, place)
    inside = state[1:-1]
    if state[0] != "[" or (state[-1] != "]" and advice_for(state)):
        return failing(state, place)
    if state[-1] != "]" or not inside.strip():
        return unrecognised("the state of the binding is missing or cut off", text, place)
    if re.sub(r"[\W_]", "", inside).casefold() == WORKS:
        return unrecognised("the state of the binding is not written as it is known", text, place)
    return failing(state if "[" in inside or "]" in inside else inside, place)


def worst_of(statements: Sequence[Statement]) -> Statement:
    """The statement that decides: CRITICAL before UNKNOWN before OK. Bindings that disagree are never OK."""
    state = runtime.worst(statement.state for statement in statements)
    decisive = next(statement for statement in statements if statement.state == state)
    if state != OK and any(statement.state == OK for statement in statements):
        return decisive._replace(sentence=f"{decisive.sentence} (one of {len(statements)} bindings, which disagree)")
    return decisive


# --- Pure parsers: the licence page ---------------------------------------------------------------------------

# What these hold is not shown as text, or not as text of the page.
_HIDDEN = set_of("script style textarea title template noscript iframe noframes noembed xmp plaintext")
_INLINE = set_of("a abbr b big code em font i label mark nobr q s samp small span strike strong sub sup tt u var wbr")
_TAG_NAME = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
_QUOTE_OR_END = re.compile(r"""[>"']""")
_ENTITY = re.compile(r"&#?\w")


def page_lines(html: str) -> Iterator[tuple[str, bool]]:
    """The lines a browser would show: plain text, and whether anything that ends a line came after it.

    Comments, scripts, attributes and the like show nothing; a comment, tag or script that is never closed hides the
    rest of the page, as in a browser.
    """
    line, position = "", 0
    while 0 <= position < len(html):
        start = html.find("<", position)
        line += html[position : start if start >= 0 else len(html)]
        if start < 0:
            break
        tag = _TAG_NAME.match(html, start)
        if not tag:
            closes = {"<!--": "-->", "<!": ">", "<?": ">", "</": ">"}
            opening = next((opening for opening in closes if html.startswith(opening, start)), "")
            line += "" if opening else "<"
            position = _behind(html, closes[opening], start + len(opening)) if opening else start + 1
            continue
        name = tag[2].lower()
        position = _end_of_tag(html, tag.end())
        if name in _HIDDEN and not tag[1] and position > 0:
            end = re.compile(f"</{name}(?=[\\s/>])", re.IGNORECASE).search(html, position)
            position = _end_of_tag(html, end.end()) if end else -1
        elif name not in _INLINE and position > 0:
            yield line, True
            line = ""
    yield line, False


def _behind(html: str, closing: str, position: int) -> int:
    """The position behind the next `closing`, -1 where there is none."""
    found = html.find(closing, position)
    return found + len(closing) if found >= 0 else -1


def _end_of_tag(html: str, position: int) -> int:
    """The position behind the ">" of a tag, one found outside quotes; -1 where the tag is never closed."""
    while position >= 0:
        found = _QUOTE_OR_END.search(html, position)
        if not found:
            return -1
        if found[0] == ">":
            return found.end()
        position = _behind(html, found[0], found.end())
    return -1


def plain(text: str) -> str:
    """HTML text without its entities, on one line."""
    if _ENTITY.search(text):
        import html

        text = html.unescape(text)
    return one_line(text)


def parse_license_page(html: str, place: str = "") -> list[Statement]:
    """What every binding line of the licence page says, none for a page without one. Text of the page, not bytes."""
    statements = []
    for raw, ended in page_lines(html):
        line = plain(raw)
        before, colon, text = line.partition("ривязка:")
        if not colon:
            continue
        if before not in ("П", "п"):
            statements.append(unrecognised("a binding stands where none is known to stand", line, place))
        elif not ended:
            statements.append(unrecognised("the page is cut off at its binding", line, place))
        else:
            statements.append(judge_binding(text, place))
    return statements


def refusal_on(html: str) -> str:
    """Why a page shows no binding: "login", "licenses" (all in use), "" where neither is said (field captures)."""
    folded = html.casefold()
    login = re.search(r"""\bid\s*=\s*["']?user\b""", folded) and "авторизация" in folded
    licenses = "toomanyusers" in folded or "максимальное число подключений" in folded
    if not (login or licenses or "ошибка авторизации" in folded) or parse_license_page(html):
        return ""  # a page with a binding is the page that was asked for, whatever else it mentions
    return "licenses" if licenses else "login"


# --- Pure parsers: the report's record ------------------------------------------------------------------------
#
# Nobody outside the vendor knows how a report names the record of the key, so it is told by its words alone:
# * a text that is a binding sentence ("SenseLock ключ - [работает]"), or that says a failure of SenseLock;
# * an element that is named after the key (its tag, or a label such as name="SenseLock ключ") and tells a state.
# What only looks like it is a mention: never OK, and shown by -vv so that the operator can pin it with --record.

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
_FAILING = re.compile(
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
    return CRITICAL if advice_for(text) or _FAILING.search(text.casefold()) else UNKNOWN


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
    match = _BINDING.fullmatch(text)
    if match and (works_by(match[1]) or SENSELOCK.search(match[1])):
        return judge_binding(text, place)
    folded = text.casefold()
    if UNREADABLE_BINDING in folded or (SENSELOCK.search(text) and _PROTECTION_ERROR.search(folded)):
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


# --- Pure parsers: HTTP ---------------------------------------------------------------------------------------

CHARSETS = set_of("utf-8 utf8 windows-1251 cp1251 koi8-r cp866 ibm866 iso-8859-5 iso-8859-1 us-ascii")
_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9_-]{1,40})""", re.IGNORECASE)
_URL = re.compile(r"(?:(https?):)?//([^/?#\\]*)([^#]*)(?:#.*)?", re.IGNORECASE | re.DOTALL)


def decode_page(body: bytes, content_type: str) -> str:
    """The text of a page: the charset of the header, else of the page's <meta>, else UTF-8."""
    declared = _CHARSET.search(content_type) or _CHARSET.search(body[:2048].decode("latin-1"))
    charset = declared[1].lower() if declared else "utf-8"
    return body.decode(charset if charset in CHARSETS else "utf-8", "replace")


def origin_of(scheme: str, authority: str) -> str:
    """`scheme://host:port` in lower case, the default port written out, so that two can be compared."""
    authority = authority.lower()
    if not re.search(r":[0-9]+$", authority):
        authority = authority.rstrip(":") + (":443" if scheme.lower() == "https" else ":80")
    return f"{scheme.lower()}://{authority}"


def redirect_target(location: str, origin: str, path: str) -> tuple[str, str]:
    """Where a Location header leads, as (origin, path), seen from the page `path` of `origin`."""
    location = "".join(char if "!" <= char <= "~" else f"%{ord(char) & 255:02X}" for char in location.strip())
    url = _URL.fullmatch(location)
    if url:
        target = url[3] if url[3].startswith("/") else "/" + url[3]
        return origin_of(url[1] or origin.partition(":")[0], url[2]), target
    if re.match("[A-Za-z][A-Za-z0-9+.-]*:", location):
        return location, ""
    location = location.partition("#")[0]
    if location.startswith("/"):
        return origin, location
    base = path.partition("?")[0]
    return origin, base + location if location[:1] in ("", "?") else base[: base.rindex("/") + 1] + location


def cookie_in(header: str) -> tuple[str, str] | None:
    """Name and value of a Set-Cookie header; the value is "" for a cookie that shall be forgotten."""
    pair, _, attributes = header.partition(";")
    name, equals, value = pair.partition("=")
    if not equals or not re.fullmatch(r"[!-~]{1,200}", name.strip()) or re.search(r"[^ -~\x80-\xff]", value):
        return None
    forget = re.search(r"max-age\s*=\s*(?:0|-[0-9]+)\s*(?:;|$)", attributes, re.IGNORECASE)
    return name.strip(), "" if forget else value.strip()


def percent_encoded(text: str) -> str:
    """A form field's value: every byte but ASCII letters and digits as %XX."""
    return "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape")
    )


# --- The collector: the only I/O ------------------------------------------------------------------------------

LICENSE_PAGE = "/admin/lic"
LOGIN_PAGE = "/users/login.asp"
MAX_PAGE = 2 << 20
MAX_HEAD = 1 << 16
MAX_REDIRECTS = 5


class Unreachable(Exception):
    """The server cannot be reached or does not answer as itself; --unreachable says which state that is.

    `late`: because the time was over, for which -t may name a state of its own.
    """

    def __init__(self, sentence: str, late: bool = False) -> None:
        super().__init__(sentence)
        self.late = late


def connect(host: str, port: int, limit: float) -> socket.socket:
    """A TCP connection within `limit` seconds in all."""
    runtime.doing(f"connecting to {host} port {port}")
    try:
        return runtime.connect(host, port, time.monotonic() + limit)
    except runtime.NoConnection as error:
        if not error.unresolved:
            raise Unreachable(f"no connection to {host} port {port}: {error}", error.late) from None
        how = "was not resolved in time" if error.late else "cannot be resolved"
        raise Unreachable(f"the name {host} {how}: {error}", error.late) from None


def secured(raw: socket.socket, host: str, insecure: bool) -> socket.socket:
    """The connection with TLS on it. The certificate is verified unless the operator chose not to."""
    import ssl

    runtime.doing(f"agreeing on TLS with {host}")
    try:
        context = ssl.create_default_context()
    except OSError as error:  # the environment names a file for certificates or keys that cannot be opened
        raise runtime.Problem(f"TLS cannot be set up: {runtime.why_of(error)}; see SSL_CERT_FILE, SSLKEYLOGFILE") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    raw.settimeout(runtime.remaining())
    try:
        return context.wrap_socket(raw, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        reasons = {10: "it has expired", 18: "it is self-signed", 19: "its authority is self-signed and not known here",
                   20: "its authority is not known here", 62: "it is not for this name",
                   64: "it is not for this address"}  # fmt: skip
        why = reasons.get(error.verify_code, runtime.clean(error.verify_message, 100))
        raise Unreachable(f"the TLS certificate of {host} is not accepted: {why}; --insecure would not verify it") from None
    except ssl.SSLError as error:
        if runtime.is_late(error):  # before Python 3.10 both
            raise Unreachable(f"no TLS connection to {host}: no answer in time", late=True) from None
        why = runtime.clean(error.reason or error, 80)
        raise Unreachable(f"no TLS connection to {host}: {why}; check whether the port speaks HTTPS") from None
    except OSError as error:
        raise Unreachable(f"no TLS connection to {host}: {runtime.why_of(error)}", runtime.is_late(error)) from None


def load_http(tls: bool) -> None:
    """Load http.client. Without HTTPS it need not load ssl, which costs a fifth of a run: None in sys.modules stands
    for a module that cannot be imported, and http.client does without (importlib's documentation)."""
    spared = not tls and "ssl" not in sys.modules
    if spared:
        sys.modules["ssl"] = None  # type: ignore[assignment]
    try:
        import http.client  # noqa: F401
    finally:
        if spared:
            del sys.modules["ssl"]


class Wire(io.RawIOBase):
    """An open connection as http.client wants a socket; every wait on it ends when the time of the whole check does.

    A time limit of the socket alone would start anew with each byte of a server that drips.
    """

    def __init__(self, opened: socket.socket, url: str) -> None:
        self._socket, self._url = opened, url
        self.received = 0
        self.ended = False

    def sendall(self, data: bytes) -> None:
        """Send all of `data`."""
        self._socket.settimeout(runtime.remaining())
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._broken(error) from None

    def makefile(self, mode: str) -> BinaryIO:
        """What http.client reads from."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes; 0 once the server has closed the connection."""
        left = runtime.remaining()
        self._socket.settimeout(left)
        try:
            if left <= 0.01:
                raise TimeoutError
            count = self._socket.recv_into(buffer)
        except OSError as error:
            raise self._broken(error) from None
        self.received += count
        self.ended = not count
        return count

    def _broken(self, error: OSError) -> Unreachable:
        if not runtime.is_late(error):
            return Unreachable(f"{self._url} broke off after {self.received} bytes: {runtime.why_of(error)}")
        if self.received:
            return Unreachable(f"{self._url} answers too slowly: {self.received} bytes when the time was over", late=True)
        return Unreachable(f"{self._url} accepted the connection and did not answer in time", late=True)

    def close(self) -> None:
        """Nothing: http.client closes what it thinks a socket before it reads from its file. See end()."""

    def end(self) -> None:
        """End the connection."""
        self._socket.close()


class Answer:
    """An HTTP answer: its head, and the body that follows on the wire."""

    def __init__(self, connection: http.client.HTTPConnection, wire: Wire, url: str) -> None:
        import http.client as protocol

        self.url, self._wire = url, wire
        try:
            self._response = connection.getresponse()
        except protocol.RemoteDisconnected:
            raise Unreachable(f"{url} closed the connection without an answer") from None
        except protocol.LineTooLong:
            raise Unreachable(f"{url} sent a line without end") from None
        except (protocol.BadStatusLine, protocol.UnknownProtocol):
            raise Unreachable(f"{url} does not answer in HTTP: check -p, and -S for HTTPS") from None
        except protocol.HTTPException:  # more than 100 headers
            raise Unreachable(f"{url} sends headers without end") from None
        if wire.ended:
            raise Unreachable(f"{url} closed the connection in mid-answer")
        self.status = self._response.status
        self._first: bytes | None = None
        self._page: str | None = None
        self._rest = self._body()

    def headers(self, name: str) -> list[str]:
        """The values of every header of this name."""
        return [str(value) for value in self._response.headers.get_all(name, [])]

    def header(self, name: str) -> str:
        """The first header of this name, "" where there is none."""
        return next(iter(self.headers(name)), "")

    def pieces(self) -> Iterator[bytes]:
        """The body as it comes. A body that ends before its announced end is Unreachable, never a shorter body."""
        if self._first:
            yield self._first
        self._first = b""
        yield from self._rest

    def beginning(self) -> bytes:
        """The first piece of the body, which pieces() will give again."""
        if self._first is None:
            self._first = next(self._rest, b"")
        return self._first

    def text(self) -> str:
        """The whole body as a page, as often as it is asked for; a page of more than 2 MB is a Problem."""
        if self._page is None:
            body = bytearray()
            for piece in self.pieces():
                body += piece
                if len(body) > MAX_PAGE:
                    raise runtime.Problem(f"{self.url} sends a page of more than {MAX_PAGE >> 20} MB: that is no page of Kodeks")
            self._page = decode_page(bytes(body), self.header("content-type"))
        return self._page

    def is_page(self) -> bool:
        """Whether the body is an HTML page and not a report."""
        if self._page is not None:
            return True
        page = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)
        named = "html" in self.header("content-type").lower() and not self.beginning().startswith(b"PK\x03\x04")
        return named or bool(page.match(self.beginning()))

    def refusal(self) -> str:
        """Why a page shows nothing, "" for a page that says no reason and for a report."""
        if "toomanyusers" in self.url.lower():
            return "licenses"
        return refusal_on(self.text()) if self.is_page() else ""

    def _body(self) -> Iterator[bytes]:
        encoding = self.header("content-encoding").lower()
        if encoding not in ("", "identity"):
            raise runtime.Problem(f"{self.url} sends a body encoded as {runtime.clean(encoding, 40)}, which was not asked for")
        lengths = set(self.headers("content-length"))
        if len(lengths) > 1 or not all(re.fullmatch("[0-9]{1,15}", length) for length in lengths):
            raise Unreachable(f"{self.url} announces a length that is no number")
        yield from self._whole(int(lengths.pop()) if lengths and not self._response.chunked else None)

    def _whole(self, size: int | None) -> Iterator[bytes]:
        import http.client as protocol

        got = 0
        try:
            while piece := self._response.read1(65536):
                got += len(piece)
                yield piece
        except protocol.HTTPException:
            raise Unreachable(f"{self.url} closed the connection in mid-answer or sent a broken chunk") from None
        if size is not None and got < size:  # http.client says nothing of it
            raise Unreachable(f"{self.url} closed the connection in mid-answer: {got} of {size} bytes")


class Login(NamedTuple):
    """A user of the server and the password."""

    user: str
    password: str

    def basic(self) -> str:
        """The value of an Authorization header."""
        import binascii

        code = binascii.b2a_base64(f"{self.user}:{self.password}".encode("utf-8", "surrogateescape"), newline=False)
        return "Basic " + code.decode("ascii")

    def form(self, path: str) -> bytes:
        """The body of the login form; the server leads to `path` after it."""
        return f"user={percent_encoded(self.user)}&pass={percent_encoded(self.password)}&path={percent_encoded(path)}".encode()

    def keep_secret(self) -> None:
        """Register the password in every form in which a server could send it back."""
        import binascii

        raw = self.password.encode("utf-8", "surrogateescape")
        for text in (self.password, percent_encoded(self.password), self.basic().split()[1],
                     binascii.b2a_base64(raw, newline=False).decode("ascii")):  # fmt: skip
            runtime.keep_secret(text)


class Server:
    """One Kodeks server, seen by a client that keeps cookies and tells them and its login to nobody else."""

    def __init__(self, host: str, port: int, tls: bool = False, insecure: bool = False, login: Login | None = None) -> None:
        self.host, self.port, self.tls, self.insecure, self.login = host, port, tls, insecure, login
        authority = f"[{host}]" if ":" in host else host
        if port != (443 if tls else 80):
            authority += f":{port}"
        self.authority = authority
        self.url = f"{'https' if tls else 'http'}://{authority}"
        self.origin = origin_of("https" if tls else "http", authority)
        self._cookies: dict[str, str] = {}
        self._wire: Wire | None = None

    def page(self, method: str, path: str, form: bytes = b"") -> Answer:
        """The answer to a request, with the login form filled in once where the server asks for it."""
        answer = self.fetch(method, path, form)
        if self.login and self._asks_for_login(answer):
            self._log_in(path)
            answer = self.fetch(method, path, form)
        return answer

    def _asks_for_login(self, answer: Answer) -> bool:
        return answer.status == 401 or answer.refusal() == "login"

    def _log_in(self, path: str) -> None:
        assert self.login is not None
        answer = self.fetch("POST", LOGIN_PAGE, self.login.form(path), follow=(307, 308))
        if answer.refusal() == "licenses":
            raise no_free_license(answer.url)

    def fetch(self, method: str, path: str, form: bytes = b"", follow: Sequence[int] = (301, 302, 303, 307, 308)) -> Answer:
        """The answer to a request after the redirects in `follow`; 307 and 308 keep the method and the body."""
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._exchange(method, path, form)
            location = answer.header("location")
            if answer.status not in follow or not location:
                return answer
            origin, path = redirect_target(location, self.origin, path)
            if origin != self.origin:
                there = f"{answer.url} redirects to {runtime.clean(origin, 100)}"
                raise runtime.Problem(f"{there}: not followed, the login stays here; check -H, -p and -S")
            if answer.status not in (307, 308):
                method, form = "GET", b""
        raise runtime.Problem(f"{self.url} redirects without end: more than {MAX_REDIRECTS} times")

    def _exchange(self, method: str, path: str, form: bytes) -> Answer:
        if self._wire:
            self._wire.end()
        opened = connect(self.host, self.port, runtime.remaining())
        if self.tls:
            opened = secured(opened, self.host, self.insecure)
        url = f"{self.url}{runtime.clean(path, 100)}"
        runtime.doing(f"waiting for {url}")
        self._wire = Wire(opened, url)
        answer = Answer(self._ask(self._wire, method, path, form), self._wire, url)
        self._keep_cookies(answer)
        runtime.doing(f"reading {url}")
        return answer

    def _ask(self, wire: Wire, method: str, path: str, form: bytes) -> http.client.HTTPConnection:
        load_http(self.tls)
        import http.client as protocol

        headers = {"Host": self.authority, "User-Agent": f"check_kodeks_xml/{runtime.__version__}", "Accept": "*/*",
                   "Accept-Encoding": "identity", "Connection": "close"}  # fmt: skip
        if self._cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        if self.login:
            headers["Authorization"] = self.login.basic()
        if method == "POST":
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = protocol.HTTPConnection(self.host, self.port)
        connection.sock = wire
        connection.request(method, path, form if method == "POST" else None, headers)
        return connection

    def _keep_cookies(self, answer: Answer) -> None:
        for header in answer.headers("set-cookie"):
            cookie = cookie_in(header)
            if cookie and cookie[1] and len(self._cookies) < 50:
                self._cookies[cookie[0]] = cookie[1]
                # A session may stand for a password; a short value is none, and may be an ordinary word.
                runtime.keep_secret(cookie[1] if len(cookie[1]) >= 8 else "")
            elif cookie and not cookie[1]:
                self._cookies.pop(cookie[0], None)


def no_free_license(url: str) -> runtime.Problem:
    """All licenses for users are in use, the monitoring user's too."""
    return runtime.Problem(f"the server has no free user license, so {url} cannot be read: the state of the key is unknown")


def refuse(answer: Answer, login: Login | None) -> None:
    """Say why an answer is not what was asked for, if it is a refusal; field captures and RFC 9110."""
    said = answer.refusal()
    if said == "licenses":
        raise no_free_license(answer.url)
    if answer.status == 401 or said == "login":
        if login is None:
            raise runtime.Problem(f"{answer.url} asks for a login: give -l USER and --password-file")
        user = runtime.clean(login.user, 60)
        raise runtime.Problem(f"login refused for user {user} at {answer.url}: check --password-file and the user's rights")
    if answer.status == 403:
        who = f"user {runtime.clean(login.user, 60)}" if login else "a visitor without login"
        raise runtime.Problem(f"{who} may not read {answer.url} (HTTP 403): check the user's rights")
    if answer.status == 503:
        raise runtime.Problem(f"the server is in maintenance mode (HTTP 503 from {answer.url}): the state of the key is unknown")
    if answer.status >= 500:
        raise Unreachable(f"{answer.url} fails with HTTP {answer.status}: something answers, the Kodeks server does not")
    if answer.status != 200:
        raise runtime.Problem(f"HTTP {answer.status} from {answer.url}: is this a Kodeks server?")


def not_kodeks(answer: Answer, what: str) -> Exception:
    """The failure of a page that is not what was asked for, by who sent it."""
    sender = answer.header("server")
    if "kodeks" in sender.lower():
        return runtime.Problem(f"{what} from {answer.url}: wrong page, or the user lacks the right to see it")
    name = runtime.clean(sender or answer.header("x-powered-by"), 60) or "an unnamed server"
    return Unreachable(f"{what} from {answer.url}: {name} answers in place of Kodeks, which may be down")


def read_license_page(server: Server) -> Reading:
    """The licence page's binding lines."""
    answer = server.page("GET", LICENSE_PAGE)
    refuse(answer, server.login)
    statements = parse_license_page(answer.text(), f"binding of {LICENSE_PAGE}")
    if not statements:
        raise not_kodeks(answer, "no binding line")
    notes = tuple(f"binding: {statement.text}" for statement in statements)
    return Reading(worst_of(statements), notes=(f"source: {answer.url}", *notes))


# --- Reading a report: streamed through expat -----------------------------------------------------------------
#
# The whole report is read, since one that is cut off proves nothing. Handlers in Python would more than double the
# time, so they are attached only around those blocks whose bytes hold one of the words that a record must contain.
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
        return not words or b"senselock" in block.lower() or any(word in block for word in words)

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


# --- The collector: reports -----------------------------------------------------------------------------------

REPORT_PAGE = "/sysinfo/si_save_request"
CLOCK_TOLERANCE = 0.1  # hours by which a report may come from the future: its name counts minutes, and clocks differ
MAX_DIRECTORY = 1 << 17
DEFLATED_OR_STORED = (0, 8)


def regrouped(pieces: Iterable[bytes], max_size: int) -> Iterator[bytes]:
    """The same bytes in blocks of BLOCK bytes; more than `max_size` of them are a Problem."""
    held, size = bytearray(), 0
    for piece in pieces:
        size += len(piece)
        if size > max_size:
            raise runtime.Problem(f"the report is larger than {max_size >> 20} MB: --max-size allows more")
        if not held and len(piece) == BLOCK:
            yield piece
            continue
        held += piece
        while len(held) >= BLOCK:
            yield bytes(held[:BLOCK])
            del held[:BLOCK]
    if held:
        yield bytes(held)


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
                while piece := opened.read(BLOCK):
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


def read_live_report(server: Server, form: str, wanted: Wanted) -> Reading:
    """Have the server make a report and read it. Without a name that tells otherwise, it is as old as the request."""
    server.fetch("GET", REPORT_PAGE, follow=())  # only for the cookies: a first request is answered by 307, never by a report
    answer = server.page("POST", REPORT_PAGE, f"type={form}".encode())
    refuse(answer, server.login)
    if answer.is_page():
        raise not_kodeks(answer, "no report")
    disposition = answer.header("content-disposition")
    name = re.search(r"""filename\s*=\s*["']?([^"';]+)""", disposition, re.IGNORECASE)
    reading = read_report(answer.pieces(), name[1] if name else "", wanted)
    if reading.age is None:
        reading = reading._replace(age=0.0, notes=(*reading.notes[:1], "age: made for this request"))
    return reading._replace(notes=(f"source: {answer.url}", *reading.notes))


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
    """What a file holds, in pieces of a block."""
    while True:
        try:
            piece = file.read(BLOCK)
        except OSError as error:
            raise runtime.Problem(f"{shown} cannot be read: {runtime.why_of(error)}") from None
        if piece:
            yield piece
        elif piece is None:  # standard input that does not wait, and has nothing yet
            time.sleep(0.01)
        else:
            return


class KodeksKey(nagiosplugin.Resource):
    """The key as the server sees it, read once from a page or a report."""

    def __init__(self, read: Callable[[], Reading], unreachable: int, late: int, probe_license_manager: bool) -> None:
        self.read, self.unreachable, self.late, self.probe_license_manager = read, unreachable, late, probe_license_manager
        self.reading = Reading(Statement(UNKNOWN, "nothing was read", ""))

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        started = time.monotonic()
        try:
            self.reading = self.read()
        except Unreachable as problem:
            raise runtime.Problem(str(problem), self.late if problem.late else self.unreachable) from None
        seconds = round(time.monotonic() - started, 3)
        if self.probe_license_manager and self.reading.statement.license_manager:
            self._probe(self.reading.statement)
        yield nagiosplugin.Metric("age", self.reading.age, context="age")
        yield nagiosplugin.Metric("time", seconds, context="time")
        yield nagiosplugin.Metric("size", self.reading.size, context="size")
        yield nagiosplugin.Metric("working", self.reading.statement, context="working")

    def _probe(self, statement: Statement) -> None:
        """Add to the sentence whether the license manager's port opens. That says nothing of the key behind it."""
        host, _, port = statement.license_manager.rpartition(":")
        left = runtime.remaining()
        try:
            connect(host.strip("[]"), int(port), min(3.0, left)).close()
            said = "answers"
        except Unreachable as problem:
            said = f"does not answer ({str(problem).rpartition(': ')[2]})" if left > 0.5 else "was not asked, no time was left"
        sentence = f"{statement.sentence}; the license manager at {statement.license_manager} {said}"
        self.reading = self.reading._replace(statement=statement._replace(sentence=sentence))


# --- The judgement --------------------------------------------------------------------------------------------


class KeyState(nagiosplugin.Context):
    """The statement of the server; perfdata `working` is 1 or 0 where a state was read."""

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        states = {OK: nagiosplugin.Ok, CRITICAL: nagiosplugin.Critical}
        statement: Statement = metric.value
        return nagiosplugin.Result(states.get(statement.state, nagiosplugin.Unknown), statement.sentence, metric)

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        working = {OK: 1, CRITICAL: 0}.get(metric.value.state)
        return runtime.perfdata("working", working)


class Measured(nagiosplugin.Context):
    """A number for graphs that nothing judges."""

    def __init__(self, name: str, uom: str) -> None:
        super().__init__(name)
        self.uom = uom

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        return runtime.perfdata(metric.name, metric.value, self.uom)


class ReportAge(nagiosplugin.Context):
    """The report's age in hours against the operator's ranges; without ranges it is only perfdata."""

    def __init__(self, warning: nagiosplugin.Range | None, critical: nagiosplugin.Range | None) -> None:
        super().__init__("age")
        self.warning, self.critical = warning, critical

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        age: float | None = metric.value
        if self.warning is None and self.critical is None:
            return nagiosplugin.Result(nagiosplugin.Ok, metric=metric)
        if age is None:
            return nagiosplugin.Result(nagiosplugin.Unknown, "the age of the report is not known: its name tells no date", metric)
        if age < -CLOCK_TOLERANCE:
            sentence = f"the report is dated {-age:.1f} hours in the future: check the clocks and time zones of both machines"
            return nagiosplugin.Result(nagiosplugin.Unknown, sentence, metric)
        state = runtime.judge(max(age, 0), self.warning, self.critical)
        broken = self.critical if state == nagiosplugin.Critical else self.warning
        return nagiosplugin.Result(state, f"the report is {age:.1f} hours old, outside the range {broken}", metric)

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        return runtime.perfdata("age", metric.value, "", self.warning, self.critical)


# --- The sentence ---------------------------------------------------------------------------------------------


class Spoken(nagiosplugin.Summary):
    """What the check says when all is well, and the lines of -v and -vv."""

    def __init__(self, resource: KodeksKey, verbose: int) -> None:
        self.resource, self.verbosity = resource, verbose

    def ok(self, results: nagiosplugin.Results) -> str:
        statement = self.resource.reading.statement
        return f"{statement.sentence} ({statement.place})"

    def verbose(self, results: nagiosplugin.Results) -> list[str]:
        reading = self.resource.reading
        return [*reading.notes, *(reading.candidates if self.verbosity > 1 else ())]


# --- Options and main -----------------------------------------------------------------------------------------


def host_name(text: str) -> str:
    """A host name or address as the resolver and the Host header take it; IPv6 with or without brackets."""
    import socket

    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    address = re.fullmatch(r"([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(?:%[A-Za-z0-9_.-]+)?", bare)
    try:
        if address:
            socket.inet_pton(socket.AF_INET6, address[1])
            return bare
        ascii_name = text if text.isascii() else text.encode("idna").decode("ascii")
    except (OSError, UnicodeError):
        ascii_name = ""
    if not re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?", ascii_name):
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 60)}' is no host name or address")
    return ascii_name


def user_name(text: str) -> str:
    """A login; a colon would end it inside the Authorization header."""
    if not re.fullmatch(r"[^\x00-\x1f\x7f:]{1,200}", text):
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 60)}' is no login")
    return text


def options() -> runtime.Options:
    """The options of this check, the common ones included."""
    parser = runtime.Options(
        "check_kodeks_xml",
        "Asks a Kodeks/Techexpert server, or a stored sysinfo report, whether the SenseLock key works.",
        "  check_kodeks_xml -H kodeks.example --source page -l smartlogin --password-file /etc/kodeks.pw\n"
        "  check_kodeks_xml -H 192.0.2.10 -p 7070 -l smartlogin --extra-opts=kodeks -t 60:critical\n"
        "  check_kodeks_xml --file /srv/reports/report.zip -w :26 -c :50\n",
        secret_keys=("password",),
    )
    server = parser.add_argument_group("the server")
    server.add_argument("-H", "--hostname", metavar="HOST", type=host_name, help="name or address of the Kodeks server")
    server.add_argument("-p", "--port", metavar="PORT", type=runtime.tcp_port, help="its port (80, with -S 443)")
    server.add_argument("-S", "--ssl", action="store_true", help="speak HTTPS and verify the certificate")
    server.add_argument("--insecure", action="store_true", help="with -S: do not verify the certificate")
    server.add_argument("-l", "--logname", metavar="USER", type=user_name, help="log in as USER (not an administrator)")
    server.add_argument("--password-file", metavar="FILE",
                        help="the password is FILE's first line; or key password in an ini section, or $KODEKS_PASSWORD")
    server.add_argument("--source", choices=("zip", "xml", "page"),
                        help="zip, xml: have the server make its sysinfo report; page: read the binding line of /admin/lic, "
                             "which is quick and the best known (zip)")
    server.add_argument("--unreachable", metavar="STATE", type=runtime.alarm_state, default="unknown",
                        help="state if the server cannot be reached: refused, timeout, DNS, reset, TLS, HTTP 5xx but not "
                             "503, something else in its place (unknown)")
    server.add_argument("--probe-license-manager", action="store_true",
                        help="when the server blames a license manager: connect to the address it names, say whether it answers")
    report = parser.add_argument_group("the report")
    report.add_argument("--file", metavar="PATH", help="read a stored report, ZIP or XML; - is standard input")
    report.add_argument("-w", "--warning", metavar="RANGE", type=runtime.threshold,
                        help="warn if its age in hours is outside RANGE")
    report.add_argument("-c", "--critical", metavar="RANGE", type=runtime.threshold,
                        help="alarm if its age in hours is outside RANGE")
    report.add_argument("--record", metavar="PATH", type=record_path,
                        help="judge only this value, a path as -vv prints it: /a/b[2]/@state")
    report.add_argument("--working", metavar="TEXT", help=f"the value of --record that means the key works ({WORKS})")
    report.add_argument("--max-size", metavar="MB", type=megabytes, default="512", help="refuse a larger report, unpacked (512)")
    return parser


def record_path(text: str) -> Pin:
    """The path of a record for --record."""
    pin = parse_pin(text)
    if pin is None:
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 60)}' is no path; write it as -vv prints it, /a/b[2]/@state")
    return pin


def megabytes(text: str) -> int:
    """A size limit in MB, 1 to 100000."""
    if not re.fullmatch("[0-9]{1,6}", text) or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 60)}' is no size; write a number of MB from 1 to 100000")
    return int(text)


def login_from(values: argparse.Namespace) -> Login | None:
    """The login of -l with its password: file, ini section, environment, in this order."""
    if values.logname is None:
        return None
    if values.password_file:
        password = runtime.read_private(values.password_file, "--password-file").partition("\n")[0].rstrip("\r")
    else:
        password = values.secrets.get("password") or os.environ.get("KODEKS_PASSWORD", "")
    if not password:
        raise runtime.Problem("-l without a password: use --password-file, a key password in the ini section, or KODEKS_PASSWORD")
    login = Login(values.logname, password)
    login.keep_secret()
    return login


def contradiction_in(values: argparse.Namespace) -> str:
    """What is wrong with options that are right each by itself, "" for nothing."""
    page = values.source == "page"
    about_report = any(option is not None for option in (values.warning, values.critical, values.record))
    about_server = any((values.port, values.ssl, values.logname, values.password_file, values.source))
    wrong = {
        "give either -H HOST or --file PATH": (values.hostname is None) == (values.file is None),
        "--file is empty": values.file == "",
        "-p, -S, -l, --password-file and --source are for a server, not for --file": values.file is not None and about_server,
        "--insecure without -S": values.insecure and not values.ssl,
        "a password without -l USER": (values.password_file or values.secrets) and not values.logname,
        "-w, -c and --record are for a report, not for --source page": page and about_report,
        "--working is for --record": values.working is not None and values.record is None,
        "--working is empty": values.working is not None and not values.working.strip(),
    }
    return next((text for text, is_so in wrong.items() if is_so), "")


def source_of(values: argparse.Namespace) -> Callable[[], Reading]:
    """What reads the state of the key, as the options want it."""
    wanted = Wanted(values.record, values.working or WORKS, values.verbose > 1, values.max_size << 20)
    if values.file is not None:
        return lambda: read_stored_report(values.file, wanted)
    port = values.port or (443 if values.ssl else 80)
    server = Server(values.hostname, port, values.ssl, values.insecure, login_from(values))
    if values.source == "page":
        return lambda: read_license_page(server)
    return lambda: read_live_report(server, values.source or "zip", wanted)


def build(values: argparse.Namespace) -> nagiosplugin.Check:
    """The check as nagiosplugin runs it."""
    wrong = contradiction_in(values)
    if wrong:
        raise runtime.Problem(f"{wrong}; check_kodeks_xml --help lists the options")
    # A state named with -t is meant for every time limit, also for those that the check notices itself.
    late = values.unreachable if values.timeout[1] == UNKNOWN else values.timeout[1]
    key = KodeksKey(source_of(values), values.unreachable, late, values.probe_license_manager)
    age = ReportAge(values.warning, values.critical)
    numbers = Measured("time", "s"), Measured("size", "B")
    return nagiosplugin.Check(key, age, *numbers, KeyState("working"), Spoken(key, values.verbose))


def main() -> None:
    """The console script."""
    runtime.run("KODEKS_XML", options(), build)


if __name__ == "__main__":
    main()
