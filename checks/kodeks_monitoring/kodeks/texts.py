"""The sentences in which a Kodeks server reports its binding and its protection errors: meaning and remedy.

A new text is a new row of KINDS or MESSAGES. Nothing here raises for odd text. Sources: the binding line of
the page /admin/lic in 12,000 field captures; the vendor's table of protection errors with whole messages.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Sequence

from ..contract.language import N_, _
from ..contract.run import Finding
from ..contract.verdict import CRITICAL, OK, RANKED, UNKNOWN, clean


class Reading(NamedTuple):
    """What a source gave: the finding that decides, hours since the report was made (None if nothing tells
    it), bytes of XML (None for a page), lines for people."""
    finding: Finding
    age: float | None = None
    size: int | None = None
    lines: tuple[str, ...] = ()


WORKS = "работает"

KINDS = (
    # the kind of a binding in lower case; the sentence if it works
    ("senselock ключ", N_("SenseLock key works")),
    ("локальная", N_("binding to the machine works, no key is used")),
    (r"домен к (\S{1,253})", N_("binding to the domain {domain} works, no key is used")),
)
CHECK_KEY = N_("check where the key is plugged in and its forwarder first")

MESSAGES: tuple[tuple[tuple[int, ...], str, str], ...] = (
    # the error's numbers; words of its message as folded() writes them, "" = not known; meaning and remedy
    ((), "device senselock not found", N_("the server does not see its key; {check_key}")),
    ((), "user limit exceeded",
     N_("the license manager has no free user license; check at the license manager who uses the key")),
    ((), "key limit exceeded",
     N_("the license manager refuses the key, its limit is exceeded; check there which servers use the key")),
    ((), "не авторизовал ключ",
     N_("the license manager refuses the key; check the key at the license manager")),
    ((), "key is not available",
     N_("the license manager does not offer the key; check that the key is plugged in there")),
    ((), "невозможно получить привязку",
     N_("the server cannot read its binding; check that the key or the domain it is bound to is reachable")),
    ((5,), "неверная лицензия", N_("wrong license; check the registration file")),
    ((6,), "неверный открытый ключ", N_("wrong public key; check the registration file")),
    ((50, 4107), "не зарегистрирована на данном компьютере",
     N_("not registered on this computer; check whether the machine or its hardware was changed")),
    ((51,), "ошибка доступа к электронному ключу",
     N_("the key's number does not match the registration file; check that the right key is plugged in")),
    ((665,), "нет доступа к драйверу",
     N_("no access to the protection driver; check that the SenseLock driver is installed and running")),
    ((4111,), "not connected",
     N_("no key for this registration file (not plugged in, a wrong key, or no license manager found); "
        "{check_key}")),
    ((4112,), "response code not supported by lm",
     N_("an unknown service answers at the license manager's address; check host and port in linkml.ini")),
    ((4113,), "ключ не обнаружен",
     N_("the license manager has no such key, or its version differs; check the key at the license manager")),
    ((4116,), "could not acquire license manager address",
     N_("the broadcast search on UDP 5555 found no license manager; "
        "write its host and port into linkml.ini")),
    ((4117,), "blacklisted", N_("the license manager has the key on its blacklist; ask the vendor")),
    ((4118,), "wrong proxy login or password", N_("wrong proxy login or password; check linkml.ini")),
    ((2007, 4103), "нет прав на использование данной копии бд",
     N_("no right to this database; check the registration file")),
    ((2008, 4106), "количество пользователей превысило максимальное",
     N_("user limit exceeded; check who is connected")),
    ((2010, 4100, 4109), "",
     N_("no license in the registration file; check that the current registration file is installed")),
    ((2020, 4101), "",
     N_("other update number; check that the registration file belongs to the installed update")),
    ((2021, 4110), "истек срок действия",
     N_("the license term is over or has not begun; renew the registration file and check the clock")),
    ((), "не работает", N_("the protection does not work; {check_key}")),  # SMART's alert says it of the key
)  # fmt: skip

NOT_DOCUMENTED = N_("an error that is not documented; look at the license page of the server")
BINDING = re.compile(r"(.{1,300}?) - (\[.*|ошибка защиты.*)", re.IGNORECASE)
_DRIVER_ERROR = r"(?:^|ошибка защиты\W{0,3})\W?5\.0\s"  # 665 as "5.0 <number> <operation>": 5.0 is a version
_ERROR_NUMBER = r"ошибка защиты\D{0,12}([0-9]{1,6})"


def one_line(text: str) -> str:
    """The text with every run of blanks, line ends and no-break spaces made one blank."""
    return " ".join(text.split())


def remedy_for(text: str) -> str:
    """What a failing text means and what to do first, "" for a text that is not known.

    The number of an error decides, then the words. A number without "Ошибка защиты" counts only if the text
    is nothing else."""
    text = one_line(text).casefold().replace("ё", "е").replace("senslock", "senselock")
    text = re.sub('["«»]', "", text)
    numbers = re.findall(_ERROR_NUMBER, text) or re.findall(r"^\W*([0-9]{1,6})\W*$", text)
    if re.search(_DRIVER_ERROR, text):
        numbers = [665]
    by_number = (row[2] for number in map(int, numbers) for row in MESSAGES if number in row[0])
    by_words = (remedy for codes, words, remedy in MESSAGES if words and words in text)
    return _(next(by_number, "") or next(by_words, ""), _(CHECK_KEY))


def works_by(kind: str) -> str:
    """The sentence for a binding of this kind that works, "" for a kind that is not known."""
    kind = re.sub("(?i)senslock", "SenseLock", kind)
    found = ((re.fullmatch(pattern, kind, re.IGNORECASE), sentence) for pattern, sentence in KINDS)
    return next((_(sentence, *match.groups()) for match, sentence in found if match), "")


def failing(text: str) -> Finding:
    """The finding for a text that reports a failure."""
    meaning = remedy_for(text) or _(NOT_DOCUMENTED)
    return Finding(CRITICAL, _("server reports: {text}: {meaning}", clean(text), meaning))


def unrecognised(what: str, text: str) -> Finding:
    """The finding for a text whose meaning is not known."""
    return Finding(UNKNOWN, f"{what}: '{clean(text, 200)}'")


def judge_binding(text: str) -> Finding:
    """What the text after "Привязка:" says. Only "[работает]" behind a known kind is good."""
    text = one_line(text)
    match = BINDING.fullmatch(text)
    kind, state = match.groups() if match else ("", text)
    if state == f"[{WORKS}]" and works_by(kind):
        return Finding(OK, works_by(kind))
    inside = state[1:-1] if re.fullmatch(r"\[[^\[\]]*\]", state) else state
    told = state[-1:] == "]" and inside.strip() and WORKS not in state.casefold()
    if remedy_for(inside) or (match and (told or state[0] != "[")):
        return failing(inside)
    return unrecognised(_("the binding is not recognised"), text)


def whole_sentence(text: str) -> Finding | None:
    """The finding for a text that is a binding sentence and nothing else: a good one, or a known failure."""
    text = re.sub("^Привязка: ?", "", one_line(text))
    match = BINDING.fullmatch(text)
    finding = judge_binding(text)
    known = finding.state == OK or (finding.state == CRITICAL and match and remedy_for(match[2]))
    return finding if match and works_by(match[1]) and known else None


def worst_of(findings: Sequence[Finding]) -> Finding:
    """The finding that decides: CRITICAL before UNKNOWN before OK."""
    return max(findings, key=lambda finding: RANKED.index(finding.state))
