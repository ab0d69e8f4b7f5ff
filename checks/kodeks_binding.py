"""What a Kodeks server says of its key: the text of its binding, its errors, its license page.

Pure: text in, a Statement out; nothing raises for odd text, and only "[работает]" behind a known kind of binding is good.
Sources: the binding line of the license page /admin/lic ("Привязка: SenseLock ключ - [работает]"), its texts and the
login pages are field captures of 65 to 90 installations; the protection errors are the vendor's documentation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import plugin_runtime as runtime

if TYPE_CHECKING:
    from typing import Iterator, Sequence

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
    `notes` are lines for -v, `candidates` those for -vv. `wrong_date`: the report's name tells a date that cannot be.
    """

    statement: Statement
    age: float | None = None
    size: int | None = None
    notes: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()
    wrong_date: bool = False


class Unreachable(Exception):
    """The server cannot be reached or does not answer as itself; --unreachable says which state that is.

    `late`: because the time was over, for which -t may name a state of its own.
    """

    def __init__(self, sentence: str, late: bool = False) -> None:
        super().__init__(sentence)
        self.late = late


# --- The binding text -----------------------------------------------------------------------------------------

WORKS = "работает"

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

# Compiled when they are looked for: a key that works needs none of them.
PROTECTION_ERROR = r"(?:ошибка защиты|protection error)\D{0,12}([0-9]{1,6})"
# Other forms of the same, of which only a number of four digits is surely one of the protection's.
_ERROR_NUMBER = r"\b(?:ошибка|код|error|err|code)\b[^0-9.,;]{0,40}([0-9]{4})(?![0-9])"
_NUMBER_ALONE = r"\[?\s*(?:(?:код|code)\W{0,3})?([0-9]{1,6})\s*\]?"
_LICENSE_MANAGER = (
    r"(?:license manager configured at|менеджер лицензий настроен на) (\[[0-9a-f:.]{2,45}\]|[\w.-]{1,253}):([0-9]{1,5})(?![0-9])"
)
BINDING = re.compile(r"(.{1,300}?) - (\[.*|ошибка защиты.*)", re.IGNORECASE)


def set_of(words: str) -> frozenset[str]:
    """A set of words, written as a text."""
    return frozenset(words.split())


def one_line(text: str) -> str:
    """The text with every run of blanks, line ends and no-break spaces made one blank."""
    return " ".join(text.split())


def error_code(text: str, alone: bool = False) -> int:
    """The documented protection error that a text names, 0 for none. `alone`: a text that is nothing but a number counts."""
    folded = text.casefold()
    only = re.fullmatch(_NUMBER_ALONE, folded.strip()) if alone else None
    numbers = [*re.findall(PROTECTION_ERROR, folded), *re.findall(_ERROR_NUMBER, folded), *([only[1]] if only else [])]
    codes = (SAME_ERROR.get(int(number), int(number)) for number in numbers)
    return next((code for code in codes if code in PROTECTION_ERRORS), 0)


def advice_for(text: str, number_alone: str = "") -> str:
    """What a failing text means and what to do first, "" for a text that is not known.

    `number_alone` is a text that names an error even if it is nothing but a number.
    """
    folded = text.casefold()
    code = error_code(text) or error_code(number_alone, alone=True)
    if code:
        return PROTECTION_ERRORS[code]
    return next((advice for phrase, advice in FAILURES if phrase in folded), "")


def license_manager_in(text: str) -> str:
    """The license manager's "HOST:PORT" where the text names one, "" otherwise."""
    match = re.search(_LICENSE_MANAGER, one_line(text), re.IGNORECASE)
    return f"{match[1]}:{match[2]}" if match and 1 <= int(match[2]) <= 65535 else ""


def failing(text: str, place: str = "", number_alone: str = "") -> Statement:
    """The statement of a text that reports a failure; `number_alone` as in advice_for()."""
    text = plain(text)  # the server may have escaped it twice
    advice = advice_for(text, number_alone) or "an error that is not documented; look at the license page of the server"
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
    domain = re.fullmatch(r"домен к (\S{1,253})", kind)
    return f"binding to the domain {runtime.clean(domain[1], 60)} works, no key is used" if domain else ""


# Latin letters that look like those of the word, and words of the same meaning that no server is known to say.
_LOOK_ALIKE = str.maketrans("apetoc", "аретос")
_OTHER_WORKS = set_of("works working ok ок active enabled valid yes true да активен исправен работоспособен")


# What may stand in parentheses behind a good word: the address that failing texts bear, a number; but nothing of these.
_TAKEN_BACK = r"\bне\b|\bнет\b|\bбез\b|ошиб|сбо[йя]|отказ|недоступ|отсутств|отключ|просроч|ист[её]к|превыш|\bдемо|" \
              r"\bno[tn]?\b|error|fail|exceed|expired|\blost|missing|denied|unavail|invalid|limit|\bdemo|trial"  # fmt: skip


def means_works(state: str) -> bool:
    """Whether a state may mean that the key works, though it is not written as it is known."""
    behind = re.search(r"(?:\s*\([^()]*\))+$", state)
    if behind and not re.search(_TAKEN_BACK, behind[0].casefold()):
        state = state[: behind.start()]
    word = re.sub(r"[\W_]", "", state).casefold()
    return word in _OTHER_WORKS or word.translate(_LOOK_ALIKE) == WORKS


def judge_binding(text: str, place: str = "") -> Statement:
    """What the text after "Привязка:" says, plain text without entities. Only "[работает]" behind a known kind is good."""
    text = one_line(text)
    match = BINDING.fullmatch(text)
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
    if means_works(inside) and not advice_for(inside, inside):
        return unrecognised("the state of the binding is not written as it is known", text, place)
    return failing(state if "[" in inside or "]" in inside else inside, place, inside)


def worst_of(statements: Sequence[Statement]) -> Statement:
    """The statement that decides: CRITICAL before UNKNOWN before OK. Bindings that disagree are never OK."""
    state = runtime.worst(statement.state for statement in statements)
    decisive = next(statement for statement in statements if statement.state == state)
    if state != OK and any(statement.state == OK for statement in statements):
        return decisive._replace(sentence=f"{decisive.sentence} (one of {len(statements)} bindings, which disagree)")
    return decisive


# --- The license page -----------------------------------------------------------------------------------------

# What these hold is not shown as text, or not as text of the page.
_HIDDEN = set_of("script style textarea title template noscript iframe noframes noembed xmp plaintext")
_INLINE = set_of("a abbr b big code em font i label mark nobr q s samp small span strike strong sub sup tt u var wbr")
# What stands in these, or in an element hidden by an attribute, is not said of now.
_NOT_SHOWN = set_of("option select del s strike")
_VOID = set_of("area base br col embed hr img input link meta param source track wbr")
# Elements that need no end tag, and whose beginning ends them (HTML, "Optional tags"). What is a matter of doubt stays.
_CELLS = set_of("td th tr tbody thead tfoot")
_ENDED_BY = {
    "td": _CELLS, "th": _CELLS, "tr": _CELLS - {"td", "th"}, "tbody": set_of("tbody thead tfoot"), "thead": set_of("tbody tfoot"),
    "li": set_of("li"), "dt": set_of("dt dd"), "dd": set_of("dt dd"), "option": set_of("option optgroup"),
    "p": set_of("p li dt dd div center blockquote pre hr ul ol dl h1 h2 h3 h4 h5 h6"),
}  # fmt: skip
_TAG_NAME = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)")
_SIGN = re.compile(r"([^>=]*)([>=])")
_VALUE = re.compile(r"""\s*(["']|[^\s>"'][^\s>]*|)""")
_ENTITY = re.compile(r"&#?\w")
_LONG_REFERENCE = r"&#(?:x[0-9a-f]{9,}|[0-9]{9,});?"


class Line(NamedTuple):
    """A line that a browser would show. `ended`: something that ends a line came behind it; `shown`: no part is hidden."""

    text: str
    ended: bool
    shown: bool


def page_lines(html: str) -> Iterator[Line]:
    """The lines of a page.

    Comments, scripts, attributes and the like show nothing; a comment, tag or script that is never closed hides the
    rest of the page, as in a browser.
    """
    line, shown, position = "", True, 0
    hiding: list[str] = []  # open elements that hide or strike out what they hold
    while 0 <= position < len(html):
        start = html.find("<", position)
        text = html[position : start if start >= 0 else len(html)]
        line += text
        shown = shown and not (hiding and text.strip())
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
            yield Line(line, True, shown)
            line, shown = "", True
        if tag[1]:
            _close(hiding, name)
        elif hiding and position > 0:
            _end_others(hiding, name)
        if not tag[1] and position > 0 and name not in _VOID and len(hiding) < 1000 and (
            name in _NOT_SHOWN or hiding or hides(html[tag.end() : position])
        ):  # fmt: skip
            hiding.append(name)
    yield Line(line, False, shown)


def hides(attributes: str) -> bool:
    """Whether the attributes of a tag hide what it holds."""
    folded = attributes.lower()
    if "hidden" not in folded and "none" not in folded:
        return False
    bare = re.sub(r"""=\s*(?:"[^"]*"|'[^']*')""", "=", folded)
    styles = re.findall(r"""(?<![\w-])style\s*=\s*("[^"]*"|'[^']*'|[^\s>]*)""", folded)
    return bool(re.search(r"(?<![=\w-])hidden(?![\w-])", bare)) or any(
        re.search(r"display\s*:\s*none|visibility\s*:\s*hidden", style) for style in styles
    )


def _close(opened: list[str], name: str) -> None:
    """An end tag closes its element and all that was left open in it; one without a beginning closes nothing."""
    if name in opened:
        del opened[len(opened) - 1 - opened[::-1].index(name) :]


def _end_others(opened: list[str], name: str) -> None:
    """A beginning tag ends what needs no end tag: the innermost element, or the cell and row in the innermost table."""
    for place in range(len(opened) - 1, max(-1, len(opened) - 10), -1):
        if name in _ENDED_BY.get(opened[place], ()):
            del opened[place:]
        elif name not in _CELLS or opened[place] == "table":
            return


def _behind(html: str, closing: str, position: int) -> int:
    """The position behind the next `closing`, -1 where there is none."""
    found = html.find(closing, position)
    return found + len(closing) if found >= 0 else -1


def _end_of_tag(html: str, position: int) -> int:
    """The position behind the ">" of a tag, -1 where the tag is never closed. Quotes count where a value begins."""
    named = False  # whether a name stands before the next "=", which begins a name otherwise
    while position >= 0:
        found = _SIGN.match(html, position)
        if not found:
            return -1
        position = found.end()
        if found[2] == ">":
            return position
        named = named or bool(found[1].strip(" \t\r\n\f/"))
        if named:
            value = _VALUE.match(html, position)
            assert value  # it may be empty
            position = _behind(html, value[1], value.end()) if value[1] in ("'", '"') else value.end()
        named = not named
    return -1


def plain(text: str) -> str:
    """HTML text without its entities, on one line."""
    if _ENTITY.search(text):
        import html

        # html.unescape makes a number of all digits: of thousands that is an error, of a million it takes seconds.
        text = html.unescape(re.sub(_LONG_REFERENCE, _short_reference, text, flags=re.IGNORECASE))
    return one_line(text)


def _short_reference(found: re.Match[str]) -> str:
    """A character reference without needless zeros; the replacement character for a number that no character has."""
    digits = found[0][2:].rstrip(";")
    kind = digits[0] if digits[0] in "xX" else ""
    digits = digits.lstrip("xX").lstrip("0") or "0"
    return f"&#{kind}{digits};" if len(digits) < 9 else "\ufffd"


def parse_license_page(html: str, place: str = "") -> list[Statement]:
    """What every binding line of the license page says, none for a page without one. Text of the page, not bytes."""
    statements: list[Statement] = []
    heading: Line | None = None  # a line that is nothing but "Привязка:", as in the cell before its text
    for raw in page_lines(html):
        line = plain(raw.text)
        if heading and line and "ривязка" not in line.lower() and BINDING.fullmatch(line):
            if heading.text.endswith(":"):
                statements.pop()  # it is not empty
            line = f"Привязка: {line}"
            raw = raw._replace(shown=raw.shown and heading.shown)
        heading = raw._replace(text=line) if line in ("Привязка:", "Привязка") else heading if not line else None
        found = re.search("ривязка:", line, re.IGNORECASE)
        if not found:
            continue
        before, text = line[: found.start()], line[found.end() :]
        # The page doubles its blanks anyway: those inside the brackets say nothing.
        statement = judge_binding(re.sub(r"(?<=- \[) | (?=\]$)", "", text), place)
        if before not in ("П", "п") or not raw.shown or (statement.state == OK and found[0] != "ривязка:"):
            statements.append(unrecognised("a binding stands where none is known to stand", line, place))
        elif not raw.ended:
            statements.append(unrecognised("the page is cut off at its binding", line, place))
        else:
            statements.append(statement)
    return statements


def refusal_on(html: str) -> str:
    """Why a page shows no binding: "login", "licenses" (all in use), "" where neither is said (field captures)."""
    folded = html.casefold()
    login = re.search(r"""\bid\s*=\s*["']?user\b""", folded) and "авторизация" in folded
    licenses = "toomanyusers" in folded or "максимальное число подключений" in folded
    if not (login or licenses or "ошибка авторизации" in folded) or parse_license_page(html):
        return ""  # a page with a binding is the page that was asked for, whatever else it mentions
    return "licenses" if licenses else "login"
