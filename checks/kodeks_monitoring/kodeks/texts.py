"""The sentences in which a Kodeks server reports its binding and its protection errors: meaning and remedy.

A new text is a new row of KINDS or MESSAGES. Pure: text in, a Statement out; nothing raises for odd text.
Sources: the binding line of the page /admin/lic ("Привязка: SenseLock ключ - [работает]") in 12,000 field
captures; the vendor's table of protection errors, with its codes and whole messages.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ..contract.verdict import CRITICAL, OK, UNKNOWN, clean, worst

if TYPE_CHECKING:
    from typing import Sequence

# --- Value objects ----------------------------------------------------------------------------------


class Statement(NamedTuple):
    """What a server says of its key: an exit code, a sentence that says it in full, the server's own text."""

    state: int
    sentence: str
    text: str = ""


class Reading(NamedTuple):
    """What a source gave: the statement that decides, and what is known about the source.

    `age` is hours since the report was made, None if nothing tells it; `size` is bytes of XML, None for a
    page; `notes` are lines for -v, `candidates` those for -vv.
    """

    statement: Statement
    age: float | None = None
    size: int | None = None
    notes: tuple[str, ...] = ()
    candidates: tuple[str, ...] = ()


# --- The tables -------------------------------------------------------------------------------------

WORKS = "работает"

KINDS = (
    # the kind of a binding in lower case; the sentence if it works
    ("senselock ключ", "SenseLock key works"),
    ("локальная", "binding to the machine works, no key is used"),
    (r"домен к (\S{1,253})", "binding to the domain {} works, no key is used"),
)
CHECK_KEY = "check where the key is plugged in and its forwarder first"

MESSAGES: tuple[tuple[tuple[int, ...], str, str], ...] = (
    # the error's numbers; words of its message as folded() writes them, "" = not known; meaning and remedy
    ((), "device senselock not found", f"the server does not see its key; {CHECK_KEY}"),
    ((), "user limit exceeded",
     "the license manager has no free user license; check at the license manager who uses the key"),
    ((), "key limit exceeded",
     "the license manager refuses the key, its limit is exceeded; check there which servers use the key"),
    ((), "не авторизовал ключ", "the license manager refuses the key; check the key at the license manager"),
    ((), "key is not available",
     "the license manager does not offer the key; check that the key is plugged in there"),
    ((), "невозможно получить привязку",
     "the server cannot read its binding; check that the key or the domain it is bound to is reachable"),
    ((5,), "неверная лицензия", "wrong license; check the registration file"),
    ((6,), "неверный открытый ключ", "wrong public key; check the registration file"),
    ((50, 4107), "не зарегистрирована на данном компьютере",
     "not registered on this computer; check whether the machine or its hardware was changed"),
    ((51,), "ошибка доступа к электронному ключу",
     "the key's number does not match the registration file; check that the right key is plugged in"),
    ((665,), "нет доступа к драйверу",
     "no access to the protection driver; check that the SenseLock driver is installed and running"),
    ((4111,), "not connected",
     "no key for this registration file (not plugged in, a wrong key, or no license manager found); "
     f"{CHECK_KEY}"),
    ((4112,), "response code not supported by lm",
     "an unknown service answers at the license manager's address; check host and port in linkml.ini"),
    ((4113,), "ключ не обнаружен",
     "the license manager has no such key, or its version differs; check the key at the license manager"),
    ((4116,), "could not acquire license manager address",
     "the broadcast search on UDP 5555 found no license manager; write its host and port into linkml.ini"),
    ((4117,), "blacklisted", "the license manager has the key on its blacklist; ask the vendor"),
    ((4118,), "wrong proxy login or password", "wrong proxy login or password; check linkml.ini"),
    ((2007, 4103), "нет прав на использование данной копии бд",
     "no right to this database; check the registration file"),
    ((2008, 4106), "количество пользователей превысило максимальное",
     "user limit exceeded; check who is connected"),
    ((2010, 4100, 4109), "",
     "no license in the registration file; check that the current registration file is installed"),
    ((2020, 4101), "",
     "other update number; check that the registration file belongs to the installed update"),
    ((2021, 4110), "истек срок действия",
     "the license term is over or has not begun; renew the registration file and check the clock"),
    ((), "не работает", f"the protection does not work; {CHECK_KEY}"),  # SMART's alert says it of the key
)  # fmt: skip

BINDING = re.compile(r"(.{1,300}?) - (\[.*|ошибка защиты.*)", re.IGNORECASE)
_DRIVER_ERROR = r"(?:^|ошибка защиты\W{0,3})\W?5\.0\s"  # 665 as "5.0 <number> <operation>": 5.0 is a version
_ERROR_NUMBER = r"ошибка защиты\D{0,12}([0-9]{1,6})"
_LICENSE_MANAGER = (
    r"(?:license manager configured at|менеджер лицензий настроен на) "
    r"(\[[0-9a-f:.]{2,45}\]|[\w.-]{1,253}):([0-9]{1,5})(?![0-9])"
)


# --- What a text means ------------------------------------------------------------------------------


def one_line(text: str) -> str:
    """The text with every run of blanks, line ends and no-break spaces made one blank."""
    return " ".join(text.split())


def folded(text: str) -> str:
    """The text as MESSAGES has it: lower case, no quotes, е for ё, the key's name in one spelling."""
    return re.sub('["«»]', "", one_line(text).casefold().replace("ё", "е").replace("senslock", "senselock"))


def remedy_for(text: str) -> str:
    """What a failing text means and what to do first, "" for a text that is not known.

    The number of an error decides, then the words. A number without "Ошибка защиты" counts only if the text
    is nothing else.
    """
    text = folded(text)
    alone = re.fullmatch(r"\W*([0-9]{1,6})\W*", text)
    numbers = [int(number) for number in re.findall(_ERROR_NUMBER, text)] + ([int(alone[1])] if alone else [])
    if re.search(_DRIVER_ERROR, text):
        numbers = [665]
    by_number = (remedy for number in numbers for codes, _, remedy in MESSAGES if number in codes)
    by_words = (remedy for _, words, remedy in MESSAGES if words and words in text)
    return next(by_number, "") or next(by_words, "")


def license_manager_in(text: str) -> tuple[str, int] | None:
    """Host and port of the license manager, if the text names them. An IPv6 address has no brackets."""
    match = re.search(_LICENSE_MANAGER, one_line(text), re.IGNORECASE)
    return (match[1].strip("[]"), int(match[2])) if match and 1 <= int(match[2]) <= 65535 else None


def works_by(kind: str) -> str:
    """The sentence for a binding of this kind that works, "" for a kind that is not known."""
    kind = re.sub("(?i)senslock", "SenseLock", kind)
    found = ((re.fullmatch(pattern, kind, re.IGNORECASE), sentence) for pattern, sentence in KINDS)
    return next((sentence.format(*(clean(word, 60) for word in match.groups()))
                 for match, sentence in found if match), "")  # fmt: skip


def failing(text: str) -> Statement:
    """The statement of a text that reports a failure."""
    remedy = remedy_for(text) or "an error that is not documented; look at the license page of the server"
    return Statement(CRITICAL, f"server reports: {clean(text)}: {remedy}", clean(text))


def unrecognised(what: str, text: str) -> Statement:
    """The statement of a text whose meaning is not known."""
    return Statement(UNKNOWN, f"{what}: '{clean(text, 200)}'", clean(text, 200))


def judge_binding(text: str) -> Statement:
    """What the text after "Привязка:" says. Only "[работает]" behind a known kind is good."""
    text = one_line(text)
    match = BINDING.fullmatch(text)
    if not match:
        what = "the binding is not recognised" if text else "the binding is empty"
        return failing(text) if remedy_for(text) else unrecognised(what, text)
    kind, state = match[1], match[2]
    if state == f"[{WORKS}]":
        what = "a binding of an unknown kind works"
        return Statement(OK, works_by(kind), clean(text)) if works_by(kind) else unrecognised(what, text)
    inside = state[1:-1] if re.fullmatch(r"\[[^\[\]]*\]", state) else state
    if remedy_for(inside) or state[0] != "[":
        return failing(inside)
    if state[-1] != "]" or not inside.strip():
        return unrecognised("the state of the binding is missing or cut off", text)
    if WORKS in state.casefold():
        return unrecognised("the state of the binding is not written as it is known", text)
    return failing(inside)


def whole_sentence(text: str) -> Statement | None:
    """The statement of a text that is a binding sentence and nothing else: a good one, or a known failure."""
    text = re.sub("^Привязка: ?", "", one_line(text))
    match = BINDING.fullmatch(text)
    if not match or not works_by(match[1]):
        return None
    statement = judge_binding(text)
    known = statement.state == OK or (statement.state == CRITICAL and remedy_for(match[2].strip("[]")))
    return statement if known else None


def worst_of(statements: Sequence[Statement]) -> Statement:
    """The statement that decides: CRITICAL before UNKNOWN before OK. Bindings that disagree are never OK."""
    state = worst(statement.state for statement in statements)
    decisive = next(statement for statement in statements if statement.state == state)
    if any(statement.state != state for statement in statements):
        note = f"(one of {len(statements)} bindings, which disagree)"
        return decisive._replace(sentence=f"{decisive.sentence} {note}")
    return decisive
