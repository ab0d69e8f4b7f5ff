"""What a Kodeks server says, from plain text: binding sentences, codes and remedies, pages, pins, ages."""

from __future__ import annotations

import argparse
import time
from datetime import datetime, timedelta
from typing import NamedTuple

import pytest
from kodeks_monitoring.contract.verdict import CRITICAL, OK, UNKNOWN
from kodeks_monitoring.kodeks import record, report
from kodeks_monitoring.kodeks.page import PageText, decode_page, refusal_on
from kodeks_monitoring.kodeks.texts import MESSAGES, judge_binding, remedy_for, whole_sentence

# --- The vendor's messages --------------------------------------------------------------------------------------------

AT = "(license manager configured at 192.0.2.11:8888)"


class Message(NamedTuple):
    """A code of the vendor's table of errors, its message, and words that only its own remedy has."""

    code: int
    text: str
    remedy: str


TABLE = [
    Message(5, "Неверная лицензия", "wrong license"),
    Message(6, "Неверный открытый ключ", "wrong public key"),
    Message(50, "Программа не зарегистрирована на данном компьютере", "not registered on this computer"),
    Message(51, "Ошибка доступа к электронному ключу", "the key's number does not match"),
    Message(665, "Нет доступа к драйверу", "no access to the protection driver"),
    Message(4111, "Not connected", "no key for this registration file"),
    Message(4112, f"Response code not supported by LM {AT}", "an unknown service answers"),
    Message(4113, f"Ключ не обнаружен {AT}", "the license manager has no such key"),
    Message(4116, "Could not acquire license manager address", "UDP 5555"),
    Message(4117, f"License manager says key 4111 (4111) blacklisted {AT}", "blacklist"),
    Message(4118, f"Wrong proxy login or password {AT}", "check linkml.ini"),
    Message(2007, "Нет прав на использование данной копии БД", "no right to this database"),
    Message(2008, "Количество пользователей превысило максимальное", "user limit exceeded"),
    Message(2021, "Истек срок действия (прошла дата) использования лицензии, записанной в регистрационном файле", "the license term is over"),
]
FORMS = {
    "number in parentheses": "SenseLock ключ - Ошибка защиты ({code}) - {text}",
    "number in parentheses, no dash": "SenseLock ключ -  Ошибка защиты ({code}) {text}",
    "number": "SenseLock ключ - Ошибка защиты {code} {text}",
    "number and dash": "SenseLock ключ - Ошибка защиты {code} - {text}",
    "number in brackets": "SenseLock ключ -  [Ошибка защиты {code} {text}]",
    "brackets": "SenseLock ключ -  [{text}]",
    "the text alone": "SenseLock ключ - {text}",
    "the other spelling": "SensLock ключ -  [{text}]",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row.code))
def test_each_message_leads_to_its_own_remedy(row: Message, form: str) -> None:
    text = form.format(code=row.code, text=row.text)
    for spelt in (text, text.replace("Истек", "Истёк"), text.upper()):
        statement = judge_binding(spelt)
        assert statement.state == CRITICAL
        assert [other.code for other in TABLE if other.remedy in statement.sentence.replace(spelt, "")] == [row.code], statement.sentence


OTHERS = [
    ("SenseLock ключ - Ошибка защиты 5.0 12 OpenDriver", "no access to the protection driver"),
    ("SenseLock ключ -  [Ошибка защиты (5.0 12 OpenDriver)]", "no access to the protection driver"),
    ("SenseLock ключ -  [5.0 12 OpenDriver]", "no access to the protection driver"),
    ("SenseLock ключ - Ошибка защиты (1) - Нет доступа к драйверу", "no access to the protection driver"),
    *((f"SenseLock ключ - Ошибка защиты {code}", remedy) for code, remedy in (
        (4107, "not registered on this computer"), (4103, "no right to this database"), (4106, "user limit exceeded"), (4100, "no license in"),
        (4109, "no license in"), (2010, "no license in"), (4101, "other update number"), (2020, "other update number"), (4110, "the license term is over"))),
    ("SenseLock ключ -  [4111]", "no key for this registration file"),
    ("SenseLock ключ -  [Device «SenseLock» not found]", "the server does not see its key"),
    ("SenseLock ключ -  [User limit exceeded (1)]", "the license manager has no free user license"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "remedy"), OTHERS, ids=[text for text, _ in OTHERS])
def test_other_forms(text: str, remedy: str) -> None:
    statement = judge_binding(text)
    assert statement.state == CRITICAL and f": {remedy}" in statement.sentence, statement.sentence


@pytest.mark.parametrize("text", ["", "Объём 5: Access is denied", "ошибка 5 тома 7475.db6", "книга 4111", "Ошибка защиты 99999"])
def test_texts_without_a_remedy(text: str) -> None:
    assert remedy_for(text) == ""


def test_a_new_binding_text_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    row: tuple[tuple[int, ...], str, str] = ((4119,), "ключ занят", "the key is in use elsewhere; ask there")
    monkeypatch.setattr("kodeks_monitoring.kodeks.texts.MESSAGES", (*MESSAGES, row))
    for text in ("SenseLock ключ -  [Ключ занят]", "SenseLock ключ - Ошибка защиты 4119"):
        assert judge_binding(text).sentence.endswith(": the key is in use elsewhere; ask there")


BINDINGS = [
    ("SenseLock ключ -  [работает]", OK), ("SENSELOCK ключ - [работает]", OK), ("SensLock ключ - [работает]", OK), ("локальная - [работает]", OK),
    ("домен к KODEKS - [работает]", OK), ("SenseLock\u00a0ключ\r\n -  [работает] ", OK),
    ("SenseLock ключ - [не работает]", CRITICAL), ("SenseLock ключ - [Работает]", UNKNOWN), ("SenseLock ключ - [работает нормально]", UNKNOWN),
    ("SenseLock ключ - [работает", UNKNOWN), ("SenseLock ключ - []", UNKNOWN), ("SenseLock ключ - [работает] [не найден]", UNKNOWN),
    ("SenseLock ключ - работает", UNKNOWN), ("SenseLock ключ", UNKNOWN), ("работает", UNKNOWN), ("Guardant ключ - [работает]", UNKNOWN),
    ("не SenseLock ключ - [работает]", UNKNOWN), ("SenseLock ключ - [работает] в 2025 году", UNKNOWN), ("домен к - [работает]", UNKNOWN),
    ("SenseLock ключ - [works]", CRITICAL), ("SenseLock ключ - [Device &quot;SenseLock&quot; not found", UNKNOWN),
]  # fmt: skip


@pytest.mark.parametrize(("text", "state"), BINDINGS, ids=[text or "nothing" for text, _ in BINDINGS])
def test_only_the_known_sentence_is_good(text: str, state: int) -> None:
    assert judge_binding(text).state == state


WHOLE = [
    ("SenseLock ключ -  [работает]", OK), ("Привязка: SenseLock ключ - [работает]", OK), ("локальная - [работает]", OK),
    ('SenseLock ключ - [Device "SenseLock" not found]', CRITICAL), ("SenseLock ключ - Ошибка защиты 4111 Not connected", CRITICAL),
    ("SenseLock ключ - [Quota]", None), ("Ошибка защиты 4103", None), ("работает", None), ("SenseLock", None), ("вчера SenseLock ключ - [работает]", None),
    ("SenseLock ключ - [работает].", None), ("Обмен документами - [работает]", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "state"), WHOLE, ids=[text for text, _ in WHOLE])
def test_what_is_a_whole_known_sentence(text: str, state: int | None) -> None:
    statement = whole_sentence(text)
    assert (statement.state if statement else None) == state


# --- The page ---------------------------------------------------------------------------------------------------------

LINE = "Привязка: SenseLock ключ - [работает]"
PAGES = [
    ("capture", f"</H3></CENTER><BR> {LINE.replace(' - ', ' -  ')} <br>\r\n<TABLE>", [OK]),
    ("entities", "<BR>Привязка:&nbsp;SenseLock &#1082;люч - &#91;работает&#x5d;<BR>", [OK]),
    ("bold letters", "<BR>Привязка: <B>SenseLock</B> ключ - [<FONT COLOR=red>рабо</FONT>тает]<BR>", [OK]),
    ("an unknown tag", "<BR>Привязка: SenseLock ключ - [работает]<x-y>, но не сейчас</x-y><BR>", [UNKNOWN]),
    ("a word before it", f"<P>Прежняя {LINE}<BR>", [UNKNOWN]),
    ("capitals", "<BR>ПРИВЯЗКА: SenseLock ключ - [работает]<BR>", [UNKNOWN]),
    ("a comment in it", "<BR>Привязка: SenseLock ключ - [<!-- не -->работает]<BR>", [OK]),
    ("in a comment", f"<!--<BR>{LINE}<BR>-->", [UNKNOWN]),
    ("in a comment without end", f"<!-- > <BR>{LINE}<BR>", [UNKNOWN]),
    ("behind a comment", f"<!-- > --><BR>{LINE}<BR>", [OK]),
    ("in a comment beside a good one", f"<BR>{LINE}<BR><!--<BR>{LINE}<BR>-->", [OK, UNKNOWN]),
    ("in a script", f"<SCRIPT>x = '<BR>{LINE}<BR>'</SCRIPT>", [UNKNOWN]),
    ("in a section", f"<![CDATA[<BR>{LINE}<BR>]]>", []),
    *((f"in {tag.split()[0]}", f"<{tag}><BR>{LINE}<BR></{tag.split()[0]}>", [UNKNOWN]) for tag in (
        "s", "del", "strike", "style", "textarea", "template", "noscript", "iframe", "title", "select", "div hidden", "p style='DISPLAY : none'",
        "b style=visibility:hidden", "span style='text-decoration: line-through'")),
    ("behind a hidden element", f"<div hidden><p>x</div><BR>{LINE}<BR>", [OK]),
    ("behind much that HTML need not close", "<TR><TD>x" * 2000 + f"<SELECT>{'<OPTION>x' * 2000}</SELECT><BR>{LINE}<BR>", [OK]),
    ("in a hidden element that HTML does not close", f"<div hidden/><BR>{LINE}<BR>", [UNKNOWN]),
    ("partly struck out", "<BR>Привязка: SenseLock ключ - <s>[не найден]</s> [работает]<BR>", [UNKNOWN]),
    ("an attribute named otherwise", f"<div data-hidden='x' title='display:none'><BR>{LINE}<BR></div>", [OK]),
    ("cut off", f"<BR>{LINE}", [UNKNOWN]),
    ("cut off in a tag", f"<BR>{LINE}<BR", [UNKNOWN]),
    ("in an attribute", f'<INPUT VALUE="<BR>{LINE}<BR>">', []),
    ("a huge reference", f"&#{'9' * 5000};<BR>{LINE}<BR>", [OK]),
    ("nothing", "", []),
]  # fmt: skip


@pytest.mark.parametrize(("html", "states"), [row[1:] for row in PAGES], ids=[row[0] for row in PAGES])
def test_pages(html: str, states: list[int]) -> None:
    assert [statement.state for statement in PageText(html).bindings] == states


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_page_that_is_cut_anywhere_is_never_good(cut: int) -> None:
    html = f"<HTML><BR> {LINE} <br>"
    assert OK not in [statement.state for statement in PageText(html[:-cut]).bindings]


def test_a_page_of_nothing_but_hidden_elements() -> None:
    assert [finding.state for finding in PageText("<s>" * 5000 + LINE + "<br>").bindings] == [UNKNOWN]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (LINE.encode(), ""),
        (LINE.encode("koi8-r"), "text/html; charset='KOI8-R'"),
        (b"<meta charset=windows-1251>" + LINE.encode("cp1251"), "text/html"),
        (LINE.encode("utf-16"), ""),
        (b"\xef\xbb\xbf" + LINE.encode(), "text/html; charset=windows-1251"),
        (LINE.encode() + b"\xd0", "text/html; charset=utf-8"),
        (LINE.encode(), "text/html; charset=punycode"),
    ],
)
def test_decoding(body: bytes, content_type: str) -> None:
    assert LINE in decode_page(body, content_type)


@pytest.mark.parametrize(
    ("html", "reason"),
    [
        ("<INPUT id=user> Требуется АВТОРИЗАЦИЯ", "login"), ("<P>Ошибка авторизации", "login"), ("<P>авторизация", ""), ("<INPUT id=user>", ""),
        ('<SCRIPT>location="/users/toomanyusers.asp"</SCRIPT>', "licenses"), ("Достигнуто максимальное число подключений", "licenses"),
        (f"<INPUT id=user> авторизация <BR>{LINE}<BR>", ""), ("", ""),
    ],
)  # fmt: skip
def test_refusals(html: str, reason: str) -> None:
    assert refusal_on(html) == reason


# --- Pins, outlines, ages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "steps", "attribute"),
    [
        ("/a", [("a", 1, "", "")], ""),
        ("/a/b[2]/@c", [("a", 1, "", ""), ("b", 2, "", "")], "c"),
        ("/к:отчёт/п[@имя='Sense/Lock [1]']", [("к:отчёт", 1, "", ""), ("п", 1, "имя", "Sense/Lock [1]")], ""),
        ('/a[@n="it\'s"]/@v', [("a", 1, "n", "it's")], "v"),
        ("/a[@n=SenseLock ключ]/@v", [("a", 1, "n", "SenseLock ключ")], "v"),
    ],
)
def test_pins(path: str, steps: list[tuple[object, ...]], attribute: str) -> None:
    pin = record.parse_pin(path)
    assert (list(pin.steps), pin.attribute, pin.path) == (steps, attribute, path)


@pytest.mark.parametrize("path", ["", "/", "a/b", "/a//b", "/a/@", "/@a", "/a[0]", "/a[-1]", "/a[@b]", "/a[b]/c", "/a b", "/a/@b/c", "/a[1", "/" + "a" * 2001])
def test_what_is_no_pin(path: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is no path"):
        record.parse_pin(path)


def walked(xml: str, walk: record.Walk) -> record.Walk:
    """Lead a walk through a report, byte by byte: block borders change nothing."""
    report.read((bytes([byte]) for byte in xml.encode()), "x.xml", walk)
    return walk


NESTED = "<r><a><b>1</b></a><a><b>2</b><b>3</b><c><b>4</b></c></a><b>5</b> x <a k='v'><b>6</b></a></r>"


@pytest.mark.parametrize(
    ("path", "values"),
    [("/r/a/b", ["1"]), ("/r/a[2]/b", ["2"]), ("/r/a[2]/b[2]", ["3"]), ("/r/a[2]/c/b", ["4"]), ("/r/b", ["5"]), ("/r/a[@k='v']/b", ["6"]),
     ("/r/a[3]/@k", ["v"]), ("/r/a[4]/b", []), ("/r/b/b", []), ("/r/a[2]/c/b/@x", [])],
)  # fmt: skip
def test_which_record_a_pin_means(path: str, values: list[str]) -> None:
    pin = record.parse_pin(path)
    walk = record.PinnedRecord(pin)
    walked(NESTED, walk)
    assert list(walk.values) == values


def test_every_candidate_can_be_pinned() -> None:
    xml = "<r><s name='Защита'><i/><i><SenseLock a='1'><x>2</x><x>3</x></SenseLock></i><p n='SensLock' v='4'/></s><p><n>Sense_Lock</n><v>5</v></p></r>"
    mentions = record.Mentions()
    walked(xml, mentions)
    assert [value for _, _, value in mentions.candidates] == ["2", "3", "1", "SensLock", "4", "Защита", "Sense_Lock", "5"]
    for _, path, value in mentions.candidates:
        walk = record.PinnedRecord(record.parse_pin(path))
        walked(xml, walk)
        assert list(walk.values) == [value], path


@pytest.mark.parametrize(
    ("shown", "hours"),
    [
        ("report_00_000000_{earlier:%Y%m%d_%H%M}.zip", 9),
        ("report_1_20201231_{now:%Y%m%d_%H%M%S}.xml", 0),
        ("report_1_{now:%Y%m%d_%H%M}.xml (report_1_{earlier:%Y%m%d_%H%M}.zip)", 9),
        ("report_1_{earlier:%Y%m%d_%H%M}.xml (report_1_{now:%Y%m%d_%H%M}.zip)", 9),
        ("sysinfo_2026-11-01.xml", 5),
        ("report_1_20261101.xml", 5),
        ("report_1_20261301_1200.xml", None),
        ("report_1_00000000_0000.xml", None),
    ],
)
def test_ages(shown: str, hours: float | None) -> None:
    now = datetime.now()  # here, not in the table: each worker of a run makes the table anew, in another minute perhaps
    age = report.age_of(shown.format(now=now, earlier=now - timedelta(hours=9)), time.time() - 5 * 3600)
    assert (age if age is None else round(age)) == hours


def test_an_unknown_age() -> None:
    assert report.age_of("the answer", None) is None
