"""What a Kodeks server's texts say of its key: binding lines, pages, HTTP, and the record in a report of unknown schema."""

from __future__ import annotations

import gc
import random
import re
import socket
import threading
from contextlib import suppress
from datetime import datetime
from typing import Iterator, cast

import check_kodeks_xml as check
import kodeks_binding
import kodeks_http
import kodeks_record
import kodeks_report
import plugin_runtime as runtime
import pytest
from lab import reports

OK, CRITICAL, UNKNOWN = runtime.OK, runtime.CRITICAL, runtime.UNKNOWN
CHECK_KEY = "check where the key is plugged in and its forwarder first"
NO_KEY = f"no key for this registration file (not plugged in, a wrong key, or no license manager found); {CHECK_KEY}"


# --- The binding text -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "state", "sentence"),
    [
        pytest.param(reports.WORKS, OK, "SenseLock key works", id="works"),
        pytest.param("SenseLock ключ - [работает]", OK, "SenseLock key works", id="single blanks"),
        pytest.param("\r\n SENSELOCK\tключ\u00a0- \n [работает] ", OK, "SenseLock key works", id="any blanks"),
        pytest.param(reports.WORKS_LOCAL, OK, "binding to the machine works, no key is used", id="local"),
        pytest.param("домен к KODEKS - [работает]", OK, "binding to the domain KODEKS works, no key is used", id="domain"),
        pytest.param("домен к KODEKS-B.EXAMPLE - [работает]", OK, "binding to the domain KODEKS-B.EXAMPLE works, no key is used", id="domain with dashes"),
        pytest.param("домен к CORP (ключ не найден) - [работает]", UNKNOWN,
                     "a binding of an unknown kind works: 'домен к CORP (ключ не найден) - [работает]'", id="more than a domain"),
        pytest.param(reports.NOT_FOUND, CRITICAL, f'server reports: Device "SenseLock" not found: the server does not see its key; {CHECK_KEY}', id="not found"),
        pytest.param(reports.USER_LIMIT, CRITICAL,
                     "server reports: User limit exceeded (1) (license manager configured at 10.0.0.8:8888): the license manager has no free user "
                     "license; check at the license manager who uses the key", id="user limit"),
        pytest.param(reports.KEY_LIMIT, CRITICAL,
                     "server reports: Менеджер лицензий не авторизовал ключ, key limit exceeded (менеджер лицензий настроен на 10.0.0.8:8888): "
                     "the license manager refuses the key, its limit is exceeded; check there which servers use the key", id="key limit"),
        pytest.param(reports.NOT_AVAILABLE, CRITICAL,
                     "server reports: Key is not available (license manager configured at 10.0.0.8:8888): the license manager does not offer "
                     "the key; check that the key is plugged in there", id="not available"),
        pytest.param(reports.NO_BINDING, CRITICAL,
                     "server reports: Невозможно получить привязку: the server cannot read its binding; check that the key or the domain "
                     "it is bound to is reachable", id="no binding"),
        pytest.param(reports.NOT_CONNECTED, CRITICAL,
                     "server reports: Ошибка защиты 4111 Not connected: no key for this registration file (not plugged in, a wrong key, "
                     f"or no license manager found); {CHECK_KEY}", id="older form"),
        pytest.param("SenseLock ключ - [не работает]", CRITICAL, f"server reports: не работает: the protection does not work; {CHECK_KEY}", id="does not work"),
        pytest.param("SenseLock ключ - [работает с ошибками]", CRITICAL,
                     "server reports: работает с ошибками: an error that is not documented; look at the license page of the server", id="works with errors"),
        pytest.param("SenseLock ключ - [что-то новое]", CRITICAL,
                     "server reports: что-то новое: an error that is not documented; look at the license page of the server", id="new text"),
        pytest.param('SenseLock ключ - [работает] [Device "SenseLock" not found]', CRITICAL,
                     f'server reports: [работает] [Device "SenseLock" not found]: the server does not see its key; {CHECK_KEY}', id="two states"),
        pytest.param('SenseLock ключ - [Device "SenseLock" not found] [работает]', CRITICAL,
                     f'server reports: [Device "SenseLock" not found] [работает]: the server does not see its key; {CHECK_KEY}', id="two states, good one last"),
        pytest.param("SenseLock ключ - [работает] ошибка защиты 4111", CRITICAL,
                     "server reports: [работает] ошибка защиты 4111: no key for this registration file (not plugged in, a wrong key, "
                     f"or no license manager found); {CHECK_KEY}", id="an error behind the state"),
        pytest.param("SenseLock ключ - не работает", CRITICAL,
                     f"server reports: SenseLock ключ - не работает: the protection does not work; {CHECK_KEY}", id="failure without brackets"),
        pytest.param("Ключ Guardant - [Ошибка защиты 4113]", CRITICAL,
                     "server reports: Ошибка защиты 4113: the license manager has no such key, or its version differs; check the key at the "
                     "license manager", id="unknown kind fails"),
        pytest.param("SenseLock ключ - [работает", UNKNOWN, "the state of the binding is missing or cut off: 'SenseLock ключ - [работает'", id="bracket open"),
        pytest.param("SenseLock ключ - [работает] и", UNKNOWN, "the state of the binding is missing or cut off: 'SenseLock ключ - [работает] и'", id="more text"),
        pytest.param("SenseLock ключ - []", UNKNOWN, "the state of the binding is missing or cut off: 'SenseLock ключ - []'", id="empty brackets"),
        pytest.param("SenseLock ключ - [", UNKNOWN, "the state of the binding is missing or cut off: 'SenseLock ключ - ['", id="one bracket"),
        pytest.param("SenseLock ключ - [ ]", UNKNOWN, "the state of the binding is missing or cut off: 'SenseLock ключ - [ ]'", id="blank brackets"),
        pytest.param("SenseLock ключ -", UNKNOWN, "the binding is not recognised: 'SenseLock ключ -'", id="no state"),
        pytest.param("", UNKNOWN, "the binding is empty: ''", id="empty"),
        pytest.param("SenseLock ключ - работает", UNKNOWN, "the binding is not recognised: 'SenseLock ключ - работает'", id="no brackets"),
        pytest.param("[работает]", UNKNOWN, "the binding is not recognised: '[работает]'", id="no kind"),
        pytest.param("SenseLock ключ-[работает]", UNKNOWN, "the binding is not recognised: 'SenseLock ключ-[работает]'", id="no blanks"),
        pytest.param("SenseLock ключ – [работает]", UNKNOWN, "the binding is not recognised: 'SenseLock ключ – [работает]'", id="another dash"),
        pytest.param("SenseLock ключ - [Работает]", UNKNOWN,
                     "the state of the binding is not written as it is known: 'SenseLock ключ - [Работает]'", id="capital"),
        pytest.param("SenseLock ключ - [ работает ]", UNKNOWN,
                     "the state of the binding is not written as it is known: 'SenseLock ключ - [ работает ]'", id="blanks in the brackets"),
        *(pytest.param(f"SenseLock ключ - [{state}]", UNKNOWN, f"the state of the binding is not written as it is known: 'SenseLock ключ - [{state}]'", id=f"[{state}]")
          for state in ("работает (менеджер лицензий настроен на 10.0.0.5:8888)", "работает (license manager configured at 10.0.0.5:8888)", "работает (1)", "работает(1)",
                        "работает (1) (license manager configured at 10.0.0.5:8888)", "работает (сетевой ключ)", "OK (1)")),
        *(pytest.param(f"SenseLock ключ - [{state}]", CRITICAL, None, id=f"[{state}]")
          for state in ("работает (ошибка защиты 4111)", "работает (ключ не найден)", "работает (4111) нет", "работает (key is not available)", "работает (нет)",
                        "работает (демо-режим)", "не работает (1)", "работает (user limit exceeded)", "(1)", "работает (1")),
        pytest.param("SenseLock ключ - [[работает]]", UNKNOWN,
                     "the state of the binding is not written as it is known: 'SenseLock ключ - [[работает]]'", id="double brackets"),
        pytest.param("SenseLock ключ - [работает\u200b]", UNKNOWN,
                     "the state of the binding is not written as it is known: 'SenseLock ключ - [работает ]'", id="invisible character"),
        pytest.param("SenseLock ключ 2 - [работает]", UNKNOWN, "a binding of an unknown kind works: 'SenseLock ключ 2 - [работает]'", id="unknown kind"),
        pytest.param("Локальная - [работает]", UNKNOWN, "a binding of an unknown kind works: 'Локальная - [работает]'", id="local, capital"),
        *(pytest.param(f"SenseLock ключ - [{word}]", UNKNOWN,
                       f"the state of the binding is not written as it is known: 'SenseLock ключ - [{word}]'", id=f"[{word}]")
          for word in ("works", "Working", "OK", "active", "Активен", "рaботaeт", "работает!")),
        *(pytest.param(f"SenseLock ключ - [{text}]", CRITICAL, f"server reports: {text}: {meaning}", id=f"[{text}]")
          for text, meaning in (
              ("Ошибка защиты (код 4111)", NO_KEY), ("4111", NO_KEY), ("код 4111", NO_KEY), ("Protection error 4111", NO_KEY), ("Ошибка 4111", NO_KEY),
              ("Ошибка защиты. Код ошибки: 4111", NO_KEY), ("Ошибка защиты (не подключен ключ) 4111", NO_KEY), ("код защиты 4111", NO_KEY),
              ("error code 4111", NO_KEY), ("Ошибка защиты № 5", "wrong license; check the registration file"),
              ("Ошибка 5", "an error that is not documented; look at the license page of the server"),
              ("Ошибка 41110", "an error that is not documented; look at the license page of the server"))),
        pytest.param("SenseLock ключ - [Device &quot;SenseLock&quot; not found]", CRITICAL,
                     f'server reports: Device "SenseLock" not found: the server does not see its key; {CHECK_KEY}', id="escaped twice"),
        pytest.param(f"SenseLock ключ - [&#{'1' * 4400};]", CRITICAL,
                     "server reports: \ufffd: an error that is not documented; look at the license page of the server", id="a reference of 4400 digits"),
        pytest.param("x" * 1_000_000, UNKNOWN, f"the binding is not recognised: '{'x' * 197}...'", id="a megabyte"),
        pytest.param("- [" * 300_000, UNKNOWN, None, id="a megabyte of separators"),
    ],
)  # fmt: skip
def test_judge_binding(text: str, state: int, sentence: str | None) -> None:
    statement = kodeks_binding.judge_binding(text)
    assert statement.state == state
    assert sentence is None or statement.sentence == sentence


@pytest.mark.parametrize("number", [5, 6, 50, 51, 665, 4111, 4112, 4113, 4116, 4117, 4118, 2007, 2008, 2010, 2020, 2021])
def test_every_documented_error_has_its_own_advice(number: int) -> None:
    advice = kodeks_binding.advice_for(f"Ошибка защиты {number} text")
    meaning, remedy = advice.split("; ")
    assert meaning, remedy
    assert [code for code, other in kodeks_binding.PROTECTION_ERRORS.items() if other == advice] == [number]


@pytest.mark.parametrize(
    ("number", "same"), [(4107, 50), (4103, 2007), (4106, 2008), (4100, 2010), (4109, 2010), (4101, 2020), (4110, 2021)]
)
def test_errors_with_two_numbers(number: int, same: int) -> None:
    assert kodeks_binding.advice_for(f"ошибка защиты: {number}") == kodeks_binding.PROTECTION_ERRORS[same]


def test_an_unknown_error_has_no_advice() -> None:
    assert kodeks_binding.advice_for("Ошибка защиты 4999") == ""
    assert kodeks_binding.advice_for("Ошибка защиты 41110") == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(reports.USER_LIMIT, "10.0.0.8:8888", id="English"),
        pytest.param(reports.KEY_LIMIT, "10.0.0.8:8888", id="Russian"),
        pytest.param("(License manager configured  at lm.kodeks.example:8889)", "lm.kodeks.example:8889", id="a name"),
        pytest.param("(license manager configured at [2001:db8::8]:8888)", "[2001:db8::8]:8888", id="IPv6"),
        pytest.param("(license manager configured at 10.0.0.8)", "", id="no port"),
        pytest.param("(license manager configured at 10.0.0.8:0)", "", id="port 0"),
        pytest.param("(license manager configured at 10.0.0.8:65536)", "", id="port too large"),
        pytest.param("(license manager configured at 10.0.0.8:888888)", "", id="port too long"),
        pytest.param("(license manager configured at a b:8888)", "", id="a blank in the name"),
        pytest.param("(license manager configured at http://x:80)", "", id="a URL"),
        pytest.param("10.0.0.8:8888", "", id="an address alone"),
    ],
)
def test_license_manager_in(text: str, expected: str) -> None:
    assert kodeks_binding.license_manager_in(text) == expected


# --- The licence page -------------------------------------------------------------------------------------------------

GOOD_LINE = "Привязка: SenseLock ключ -  [работает]"
BAD_LINE = "Привязка: SenseLock ключ - [Device &quot;SenseLock&quot; not found]"
GOOD_TEXT = "SenseLock ключ - [работает]"


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        pytest.param(f"<H3>x</H3></CENTER><BR> {GOOD_LINE} <br>", [(OK, GOOD_TEXT)], id="as captured"),
        pytest.param(f"<BR>{BAD_LINE}<br>", [(CRITICAL, 'Device "SenseLock" not found')], id="as captured, failing"),
        pytest.param(f"{GOOD_LINE}<P>", [(OK, GOOD_TEXT)], id="at the very start"),
        pytest.param(f"<BR>{GOOD_LINE}</TD>", [(OK, GOOD_TEXT)], id="a cell ends it"),
        pytest.param("<BR><B>Привязка:</B> SenseLock&nbsp;ключ - <I>[работает]</I><br/>", [(OK, GOOD_TEXT)], id="bold and italic"),
        pytest.param("<BR>&#1055;ривязка: SenseLock ключ - &#91;работает&#x5d;<br>", [(OK, GOOD_TEXT)], id="numeric entities"),
        pytest.param("<BR>привязка: локальная - [работает]<br>", [(OK, "локальная - [работает]")], id="small letter"),
        pytest.param("<BR>Привязка: SenseLock ключ - [работает<!-- x -->]<br>", [(OK, GOOD_TEXT)], id="a comment inside"),
        pytest.param(f"<BR>{GOOD_LINE}<br><BR>{BAD_LINE}<br>", [(OK, GOOD_TEXT), (CRITICAL, 'Device "SenseLock" not found')], id="two lines"),
        pytest.param(f"<BR>{GOOD_LINE}", [(UNKNOWN, "Привязка: SenseLock ключ - [работает]")], id="cut off behind it"),
        pytest.param(f"<BR>{GOOD_LINE}<b", [(UNKNOWN, "Привязка: SenseLock ключ - [работает]")], id="cut off in the next tag"),
        pytest.param(f"<BR>{GOOD_LINE}</b>", [(UNKNOWN, "Привязка: SenseLock ключ - [работает]")], id="an inline tag ends no line"),
        pytest.param("<BR>Привязка: SenseLock ключ - [работает<br>]", [(UNKNOWN, "SenseLock ключ - [работает")], id="broken inside"),
        *(pytest.param(heading + GOOD_TEXT + end, [(OK, GOOD_TEXT)], id=f"behind {heading}")
          for heading, end in (
              ("<BR>Привязка:<br>", "<br>"), ("<tr><td>Привязка:</td>\r\n<td>", "</td></tr>"), ("<TR><TD>Привязка<TD>", "<TR>"), ("<dl><dt>Привязка:<dd>", "</dl>"),
              ("<td><b>Привязка:</b></td><td></td><td>&nbsp;</td><td>", "</td>"), ("<th>Привязка&#58;</th><td>", "</td>"))),
        pytest.param(f"<td>Привязка:</td><td>{reports.NOT_FOUND}</td>", [(CRITICAL, 'Device "SenseLock" not found')], id="behind a heading, failing"),
        pytest.param(f"<td>Привязка</td><td>{reports.NOT_CONNECTED}</td>", [(CRITICAL, "Ошибка защиты 4111 Not connected")], id="behind a heading, older form"),
        pytest.param(f"<td>Привязка:</td><td>{GOOD_TEXT}", [(UNKNOWN, f"Привязка: {GOOD_TEXT}")], id="behind a heading, cut off"),
        *(pytest.param(f"<td>Привязка:</td><td>{text}</td><td>{GOOD_TEXT}</td>", [(UNKNOWN, "")], id=f"behind a heading, {text}")
          for text in ("Пользователей: 20", "Ошибка защиты 4103", "x", "работает", "SenseLock ключ")),
        pytest.param(f"<td>Привязка</td><td>Пользователей: 20</td><td>{GOOD_TEXT}</td>", [], id="behind a heading, something else"),
        pytest.param(f"<h3>Привязка</h3><BR>{GOOD_LINE}<br>", [(OK, GOOD_TEXT)], id="a heading before the line"),
        pytest.param(f"<h3>Привязка:</h3><BR>{GOOD_LINE}<br>", [(UNKNOWN, ""), (OK, GOOD_TEXT)], id="an empty one before the line"),
        *(pytest.param(page, [(UNKNOWN, f"Привязка: {GOOD_TEXT}")], id=f"hidden: {page}")
          for page in (f"<p hidden>Привязка:</p><p>{GOOD_TEXT}</p>", f"<p>Привязка</p><p hidden>{GOOD_TEXT}</p>", f"<td>Привязка:</td><td><s>{GOOD_TEXT}</s></td>")),
        pytest.param(f"<p>Привязка:<p hidden>{GOOD_TEXT}</p><p>{reports.NOT_FOUND}<p>", [(UNKNOWN, f"Привязка: {GOOD_TEXT}")], id="a hidden one comes first"),
        *(pytest.param(f"<td>{heading}</td><td>{GOOD_TEXT}</td>", [], id=f"no heading: {heading}") for heading in ("ПРИВЯЗКА", "Новая Привязка", "Привязка -", "привязка")),
        pytest.param(f"<td>привязка:</td><td>{GOOD_TEXT}</td>", [(UNKNOWN, "")], id="a small letter before a cell"),
        *(pytest.param(f"{before}{GOOD_LINE}{after}<br>", [(UNKNOWN, f"{GOOD_LINE}".replace("  ", " "))], id=f"not shown: {before}")
          for before, after in (
              ("<div style='display:none'>", "</div>"), ('<P STYLE="color:red; Display : None">', "</P>"), ("<div hidden>", "</div>"),
              ("<div class=x hidden=''><p>", "</p></div>"), ("<div style=visibility:hidden>", "</div>"), ("<select><option>", "</option></select>"),
              ("<del>", "</del>"), ("<s>", "</s>"), ("<STRIKE>", "</STRIKE>"), ("<div hidden><div>x</div>", "</div>"))),
        *(pytest.param(f"{before}<br>{GOOD_LINE}<br>", [(OK, GOOD_TEXT)], id=f"shown behind: {before}")
          for before in ("<input type=hidden value=x>", "<select><OPTION>a<OPTION>b</select>", "<div hidden><p>x</div>", "<s>x</s>", "<img hidden>",
                         "<p aria-hidden=true title='hidden display:none'>", "</del>", "<a style='color:red' href='?display:none'>x</a>")),
        # Elements without end tags are ended by the next one, as in a browser.
        *(pytest.param(f"{before}{GOOD_LINE}{after}", [(OK, GOOD_TEXT)], id=f"ended: {before}")
          for before, after in (
              ('<p style="display:none">x<p>', "<p>"), ("<P HIDDEN>x<DIV>", "</DIV>"), ("<p hidden>x<CENTER>", "<br>"), ("<p hidden>x<hr>", "<br>"),
              ('<table><tr style="display:none"><td>a<tr><td>', "<tr>"), ("<table><tr><td hidden>a<td>", "</td>"), ("<tr><td hidden>a<TR><TH>", "</TR>"),
              ("<tr hidden><td><p>a<b>b<tr><td>", "</td>"), ("<tr hidden><td><table><tr><td>a</table><tr><td>", "<tr>"), ("<ul><li hidden>x<li>", "<li>"),
              ("<ul><li hidden><p>x<li>", "<li>"), ("<dl><dt hidden>a<dd>", "<dt>"), ("<dl><dd hidden>a<dt>", "<dd>"), ("<tbody hidden><tr><td>a<tbody><tr><td>", "<tr>"))),
        *(pytest.param(f"{before}{GOOD_LINE}{after}<br>", [(UNKNOWN, f"{GOOD_LINE}".replace("  ", " "))], id=f"not ended: {before}")
          for before, after in (
              ("<tr hidden><td>a<td>", ""), ("<tr hidden><td><table><tr><td>a<tr><td>", ""), ("<ul><li hidden><ul><li>a<li>", ""), ("<div hidden>a<p>b<p>", "</p>"),
              ("<div hidden><table><tr><td>a<tr><td>", ""), ("<p hidden><b hidden>x<p>", ""), ("<p hidden>x<br><b>", "</b>"), ("<select><option>a<option>", ""),
              ("<li hidden><s>x<li>", ""), ("<p hidden><table><tr><td><p>", ""))),
        # A quote counts only where a value begins.
        *(pytest.param(f"<td {attributes}>{GOOD_LINE}</td>", [(OK, GOOD_TEXT)], id=attributes)
          for attributes in ("title=Д'Артаньян", 'title=15"', "a='>' b=c'd", "title = \">'\" x='\"'", "nowrap' x", "x=a='b", "=x", "a= b'", "/ x = 'y>'/")),
        *(pytest.param(f"<input {attributes}<BR>{GOOD_LINE}<br>'>\">", [], id=f"in an attribute: {attributes}")
          for attributes in ("value='", 'value="', "value =\n'", "a=b value='", "x value = \"", "==\"", "a=\"'\" b='", "a='b'c='")),
        pytest.param("<BR>ПРИВЯЗКА: SENSELOCK КЛЮЧ - [НЕ РАБОТАЕТ]<BR>", [(CRITICAL, "НЕ РАБОТАЕТ")], id="in capitals, failing"),
        pytest.param("<BR>ПРИВЯЗКА: SenseLock ключ - [работает]<BR>", [(UNKNOWN, "ПРИВЯЗКА: SenseLock ключ - [работает]")], id="in capitals"),
        pytest.param(f"<BR>Новая {GOOD_LINE}<br>", [(UNKNOWN, f"Новая {GOOD_LINE}".replace("  ", " "))], id="in the middle of a line"),
        pytest.param(f"<!-- <BR>{GOOD_LINE}<br> -->", [], id="in a comment"),
        pytest.param(f"<!-- <BR>{GOOD_LINE}<br>", [], id="in a comment that never ends"),
        pytest.param(f"<SCRIPT>'<BR>{GOOD_LINE}<br>'</SCRIPT>", [], id="in a script"),
        pytest.param(f"<script>a = '</scrip>' <BR>{GOOD_LINE}<br>", [], id="in a script that never ends"),
        pytest.param(f"<script>a = '<!--'</script><BR>{GOOD_LINE}<br>", [(OK, GOOD_TEXT)], id="behind a script with a comment mark"),
        pytest.param(f"<style>{GOOD_LINE}<br></style>", [], id="in a style"),
        pytest.param(f"<title>{GOOD_LINE}</title><br>", [], id="in the title"),
        pytest.param(f"<textarea><br>{GOOD_LINE}<br></TEXTAREA>", [], id="in a text field"),
        pytest.param(f'<input value="<BR>{GOOD_LINE}<br>">', [], id="in an attribute"),
        pytest.param(f"<input value='><BR>{GOOD_LINE}<br>'>", [], id="in an attribute that holds >"),
        pytest.param(f'<input value="><BR>{GOOD_LINE}<br>', [], id="in an attribute that never ends"),
        pytest.param(f"<!DOCTYPE {GOOD_LINE}><br>", [], id="in the document type"),
        pytest.param(f"<?php {GOOD_LINE} ?><br>", [], id="in an instruction"),
        pytest.param("<BR>Привязка: SenseLock ключ - &lt;[работает]<br>", [(UNKNOWN, "SenseLock ключ - <[работает]")], id="an entity is text"),
        pytest.param("<BR>Привязка: SenseLock ключ - &amp;#91;работает]<br>", [(UNKNOWN, "SenseLock ключ - &#91;работает]")], id="decoded once"),
        *(pytest.param(f"<BR>&#{zeros};ривязка: SenseLock ключ - [работает]<br>", [(OK, GOOD_TEXT)], id=f"a reference of {len(zeros)} characters")
          for zeros in ("1055", "0000000001055", "x0000000041f", "X000000000041F", "0" * 5000 + "1055")),
        *(pytest.param(f"<BR>Привязка: &#{digits}<br>", [(UNKNOWN, shown)], id=f"a reference of {len(digits)} digits")
          for digits, shown in (("1" * 4400, "\ufffd"), ("1" * 1_900_000 + ";", "\ufffd"), ("x" + "f" * 1_900_000, "\ufffd"), ("1114112;", "\ufffd"),
                                ("0" * 4400 + ";x", "\ufffdx"), ("999999999;", "\ufffd"))),
        *(pytest.param(f"<BR>Привязка: SenseLock ключ -  {state}<br>", [(OK, GOOD_TEXT)], id=f"blanks in the brackets: {state}")
          for state in ("[ работает ]", "[работает ]", "[ \n работает]", "[&nbsp;<b>работает</b>&nbsp;]")),
        pytest.param("<BR>Привязка: SenseLock ключ - [ не работает ]<br>", [(CRITICAL, "не работает")], id="blanks in the brackets, failing"),
        pytest.param("<BR>Привязка: SenseLock ключ - [ ]<br>", [(UNKNOWN, "SenseLock ключ - []")], id="blanks and nothing else"),
        pytest.param("<BR>Привязка: SenseLock ключ - [ работает<br>", [(UNKNOWN, "SenseLock ключ - [работает")], id="blanks, cut off"),
        pytest.param("<BR>5 < 6 Банк - [работает]<br>", [], id="no binding"),
        pytest.param("", [], id="empty"),
        pytest.param("<" * 300_000, [], id="many brackets"),
        pytest.param("<a '" * 100_000, [], id="many quotes"),
        pytest.param("<!--" * 100_000, [], id="many comments"),
        pytest.param("<tr hidden>" + "<b>" * 2000 + "<td>" * 300_000, [], id="many cells in a hidden row"),
        pytest.param("<td " + "=" * 500_000, [], id="many signs in a tag"),
        pytest.param("<script>" * 50_000, [], id="many scripts"),
        pytest.param("</" * 100_000, [], id="many ends"),
    ],
)  # fmt: skip
def test_parse_license_page(page: str, expected: list[tuple[int, str]]) -> None:
    assert [(item.state, item.text) for item in kodeks_binding.parse_license_page(page)] == expected


@pytest.mark.parametrize("binding", [*reports.GOOD_BINDINGS, *reports.BAD_BINDINGS])
def test_the_page_says_what_the_binding_says(binding: str) -> None:
    from lab.kodeks_server import license_page

    statements = kodeks_binding.parse_license_page(license_page(binding).decode())
    assert statements == [kodeks_binding.judge_binding(binding)]


def test_a_page_cut_anywhere_is_never_ok_before_its_line_has_ended() -> None:
    page = f"<HTML>\r\n<BR> {GOOD_LINE} <br>\r\n"
    end = page.index("<br>") + len("<br>")
    for length in range(end):
        assert all(item.state != OK for item in kodeks_binding.parse_license_page(page[:length])), page[:length]
    assert [item.state for item in kodeks_binding.parse_license_page(page[:end])] == [OK]


@pytest.mark.parametrize(
    ("states", "state", "note"),
    [([OK, OK], OK, False), ([OK, UNKNOWN], UNKNOWN, True), ([UNKNOWN, CRITICAL, OK], CRITICAL, True), ([CRITICAL, CRITICAL], CRITICAL, False)],
)
def test_worst_of(states: list[int], state: int, note: bool) -> None:
    worst = kodeks_binding.worst_of([kodeks_binding.Statement(item, str(item), "") for item in states])
    assert worst.state == state
    assert worst.sentence == f"{state} (one of {len(states)} bindings, which disagree)" if note else str(state)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        pytest.param('<INPUT id="user"> Авторизация', "login", id="login form"),
        pytest.param("<input ID = user><p>авторизация", "login", id="login form, other spelling"),
        pytest.param("<P>Ошибка Авторизации", "login", id="login error"),
        pytest.param('<script>location="/users/TooManyUsers.asp"', "licenses", id="too many users"),
        pytest.param("<P>Достигнуто максимальное число подключений", "licenses", id="maximum reached"),
        pytest.param("<p>авторизация прошла", "", id="the word alone"),
        pytest.param('<INPUT id="user">', "", id="the field alone"),
        pytest.param('<INPUT id="user2"> авторизация', "", id="another field"),
        pytest.param(f"Максимальное число подключений: 10<BR>{GOOD_LINE}<BR>", "", id="a page with its binding"),
        pytest.param("", "", id="empty"),
    ],
)
def test_refusal_on(page: str, expected: str) -> None:
    assert kodeks_binding.refusal_on(page) == expected


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        pytest.param("работает".encode(), "", "работает", id="UTF-8 if nothing is said"),
        pytest.param("работает".encode("cp1251"), "text/html; charset=windows-1251", "работает", id="header"),
        pytest.param("работает".encode("koi8-r"), "text/html; CHARSET=\"KOI8-R\"", "работает", id="header, quoted"),
        pytest.param('<META charset="cp1251">работает'.encode("cp1251"), "text/html", '<META charset="cp1251">работает', id="meta"),
        pytest.param("работает".encode("cp1251"), "text/html", "работает", id="not declared and no UTF-8: windows-1251"),
        *(pytest.param("Привязка: ёж".encode("cp1251"), f"text/html; charset={name}", "Привязка: ёж", id=name)
          for name in ("win-1251", "x-cp1251", "windows1251", "cp-1251", "CP1251", "1251", "utf-8", "UTF8", "unknown")),
        pytest.param("Имя \xff, Привязка".encode().replace("\xff".encode(), b"\xd0"), "", "Имя �, Привязка", id="a stray byte in UTF-8"),
        pytest.param("Привязка".encode("cp1251"), "text/html; charset=koi8-r", "Привязка".encode("cp1251").decode("koi8-r"), id="another charset is believed"),
        pytest.param("Привязка".encode("utf-16"), "text/html", "Привязка", id="UTF-16 by its mark"),
        pytest.param("\ufeffПривязка".encode("utf-16-be"), "text/html; charset=utf-8", "Привязка", id="UTF-16 by its mark, big end first"),
        pytest.param("Привязка: x".encode("utf-16-le"), "text/html; charset=utf-16", "Привязка: x", id="UTF-16 by its header"),
        pytest.param("Привязка: x".encode("utf-16-be"), "text/html; charset=UTF-16BE", "Привязка: x", id="UTF-16 by its header, big end first"),
        pytest.param("Привязка".encode(), "text/html; charset=utf-16", "Привязка", id="a header that says UTF-16 and is wrong"),
        pytest.param('<meta charset="utf-16">Привязка'.encode(), "", '<meta charset="utf-16">Привязка', id="a page of UTF-8 that says UTF-16"),
        pytest.param("Привязка".encode()[:-1], "", "Привязк�", id="a character cut off"),
        pytest.param(b"abc", "text/html; charset=utf-7", "abc", id="a charset that is not known"),
        pytest.param(b"abc", "text/html; charset=rot13", "abc", id="a charset that is no charset"),
    ],
)  # fmt: skip
def test_decode_page(body: bytes, content_type: str, expected: str) -> None:
    assert kodeks_http.decode_page(body, content_type) == expected


# --- HTTP -------------------------------------------------------------------------------------------------------------

HERE = "http://kodeks.example:80"


@pytest.mark.parametrize(
    ("location", "origin", "path"),
    [
        pytest.param("/admin/lic", HERE, "/admin/lic", id="a path"),
        pytest.param("http://kodeks.example/admin/lic?a=1", HERE, "/admin/lic?a=1", id="the same host"),
        pytest.param("HTTP://KODEKS.example:80/x", HERE, "/x", id="the same host, written otherwise"),
        pytest.param("//kodeks.example/x", HERE, "/x", id="without scheme"),
        pytest.param("http://kodeks.example", HERE, "/", id="without path"),
        pytest.param("http://kodeks.example?x", HERE, "/?x", id="only a query"),
        pytest.param("lic2", HERE, "/admin/lic2", id="a neighbour"),
        pytest.param("?x=1", HERE, "/admin/lic?x=1", id="another query"),
        pytest.param("/x#y", HERE, "/x", id="a fragment"),
        pytest.param("http://other.example/x", "http://other.example:80", "/x", id="another host"),
        pytest.param("//other.example/x", "http://other.example:80", "/x", id="another host without scheme"),
        pytest.param("https://kodeks.example/x", "https://kodeks.example:443", "/x", id="another scheme"),
        pytest.param("http://kodeks.example:8080/x", "http://kodeks.example:8080", "/x", id="another port"),
        pytest.param("http://kodeks.example@other.example/x", "http://kodeks.example@other.example:80", "/x", id="a login in front"),
        pytest.param("http://kodeks.example:80@other.example/", "http://kodeks.example:80@other.example:80", "/", id="a login with a port"),
        pytest.param("http://other.example\\@kodeks.example/", "http://other.example:80", "/\\@kodeks.example/", id="a backslash"),
        pytest.param("/\\other.example/x", HERE, "/\\other.example/x", id="a backslash stays here"),
        pytest.param("ftp://kodeks.example/x", "ftp://kodeks.example/x", "", id="another protocol"),
        pytest.param("javascript:alert(1)", "javascript:alert(1)", "", id="no address"),
        pytest.param("/x y\x01\xd1", HERE, "/x%20y%01%D1", id="characters that no request line may hold"),
        pytest.param("http://[2001:db8::1]:8080/x", "http://[2001:db8::1]:8080", "/x", id="IPv6"),
        pytest.param("http://[2001:db8::1]/x", "http://[2001:db8::1]:80", "/x", id="IPv6, default port"),
    ],
)
def test_redirect_target(location: str, origin: str, path: str) -> None:
    assert kodeks_http.redirect_target(location, HERE, "/admin/lic?old") == (origin, path)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("Kodeks=00000001; path=/", ("Kodeks", "00000001"), id="as captured"),
        pytest.param(" a = b=c ; HttpOnly", ("a", "b=c"), id="blanks and ="),
        pytest.param("a=", ("a", ""), id="empty: forget"),
        pytest.param("a=b; Max-Age=0", ("a", ""), id="expired: forget"),
        pytest.param("a=b; max-age=60", ("a", "b"), id="not expired"),
        pytest.param("a", None, id="no value"),
        pytest.param("=b", None, id="no name"),
        pytest.param("a b=c", None, id="a blank in the name"),
        pytest.param("a=b\x01c", None, id="a control character"),
        pytest.param("", None, id="empty"),
    ],
)
def test_cookie_in(header: str, expected: tuple[str, str] | None) -> None:
    assert kodeks_http.cookie_in(header) == expected


def test_percent_encoded() -> None:
    assert kodeks_http.percent_encoded("aZ9 &=+/%Я\udcff") == "aZ9%20%26%3D%2B%2F%25%D0%AF%FF"


HEAD = b"HTTP/1.1 200 OK\r\n"


def received(data: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[int, bytes]:
    """What the check reads when a server sends these bytes, in two pieces cut at an odd place."""
    monkeypatch.setattr(runtime, "remaining", lambda reserve=0.3: 5.0)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        def send() -> None:
            with suppress(BrokenPipeError):  # the reader may end before it has read everything
                theirs.sendall(data[: len(data) // 3])
                theirs.sendall(data[len(data) // 3 :])
                theirs.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        try:
            wire = kodeks_http.Wire(ours, "http://kodeks.example/x")
            connection = kodeks_http.Server("kodeks.example", 80)._ask(wire, "GET", "/x", b"")
            answer = kodeks_http.Answer(connection, wire, "http://kodeks.example/x")
            return answer.status, b"".join(answer.pieces())
        finally:
            ours.close()
            sender.join()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(HEAD + b"Content-Length: 3\r\n\r\nabcdef", (200, b"abc"), id="length"),
        pytest.param(HEAD + b"content-length:3\n\nabc", (200, b"abc"), id="bare line ends"),
        pytest.param(HEAD + b"\r\nabc", (200, b"abc"), id="until the connection ends"),
        pytest.param(b"HTTP/1.0 404\r\n\r\n", (404, b""), id="no reason, no body"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"Content-Length: 1\r\n\r\nx", (200, b"x"), id="100 before it"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", (200, b"abcde"), id="chunks"),
        pytest.param(HEAD + b"Transfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", (200, b"0123456789"), id="trailer"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n1\r\nx\r\n0\r\n\r\n", (200, b"x"), id="chunks win over length"),
        pytest.param(HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", (200, b"ab"), id="the same length twice"),
    ],
)
def test_answers(data: bytes, expected: tuple[int, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    assert received(data, monkeypatch) == expected


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        pytest.param(b"", "closed the connection without an answer; look at the server, and at what stands in between", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: b\r\n", "closed the connection in mid-answer; look at the server, and at what stands in between", id="cut head"),
        pytest.param(b"HTTP/2 200\r\n\r\n", "does not answer in HTTP: check -p, and -S for HTTPS", id="HTTP/2"),
        pytest.param(b"HTTP/1.1 2000 OK\r\n\r\n", "does not answer in HTTP: check -p, and -S for HTTPS", id="status of four digits"),
        pytest.param(b"HTTP/1.1 099 OK\r\n\r\n", "does not answer in HTTP: check -p, and -S for HTTPS", id="status too small"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x46\n", "does not answer in HTTP: check -p, and -S for HTTPS", id="TLS alert"),
        pytest.param(HEAD + b"A: b\r\n" * 20_000 + b"\r\n", "sends headers without end; look at the server, and at what stands in between", id="too many headers"),
        pytest.param(b"HTTP/1.1 200 " + b"x" * 200_000, "sent a line without end; look at the server, and at what stands in between", id="endless line"),
        pytest.param(HEAD + b"Content-Length: 3\r\n\r\nab", "closed the connection in mid-answer: 2 of 3 bytes; look at the server, and at what stands in between", id="cut body"),
        pytest.param(HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "announces a length that is no number; look at the server, and at what stands in between", id="two lengths"),
        pytest.param(HEAD + b"Content-Length: -1\r\n\r\nabcd", "announces a length that is no number; look at the server, and at what stands in between", id="negative length"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nab", "closed the connection in mid-answer or sent a broken chunk; look at the server, and at what stands in between", id="cut chunk"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "closed the connection in mid-answer or sent a broken chunk; look at the server, and at what stands in between", id="no last chunk"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n", "closed the connection in mid-answer or sent a broken chunk; look at the server, and at what stands in between", id="chunk too long"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n", "closed the connection in mid-answer or sent a broken chunk; look at the server, and at what stands in between", id="chunk size no number"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n", "closed the connection in mid-answer or sent a broken chunk; look at the server, and at what stands in between", id="chunk size negative"),
    ],
)  # fmt: skip
def test_broken_answers(data: bytes, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(kodeks_binding.Unreachable) as failure:
        received(data, monkeypatch)
    assert str(failure.value) == f"http://kodeks.example/x {sentence}"


# --- The record -------------------------------------------------------------------------------------------------------


def verdict_on(data: bytes, block: int | None = None, **how: object) -> kodeks_binding.Statement:
    """What a report says; `how` goes to the parser."""
    parser = kodeks_report.ReportParser(**how)  # type: ignore[arg-type]
    parser.read(kodeks_report.regrouped([data], 1 << 40))
    return parser.findings.verdict()


def judged(xml: str) -> tuple[str, str]:
    """The state of a report that holds this XML among other things, and the text that decided."""
    statement = verdict_on(f"<report><other><state>работает</state></other>{xml}</report>".encode())
    return runtime.STATE_NAMES[statement.state], statement.text or statement.sentence.partition(":")[0]


NO_RECORD = ("CRITICAL", "the report has no record of a SenseLock key")
MENTION = ("UNKNOWN", "the report mentions SenseLock, but tells no state of it that is known")


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        # One text that says it all.
        pytest.param("<a>SenseLock ключ - [работает]</a>", ("OK", GOOD_TEXT), id="binding sentence"),
        pytest.param('<a b="SenseLock ключ - [работает]"/>', ("OK", GOOD_TEXT), id="binding sentence in an attribute"),
        pytest.param("<a>Привязка: SenseLock ключ - [работает]</a>", ("OK", GOOD_TEXT), id="with its name"),
        pytest.param("<a>локальная - [работает]</a>", ("OK", "локальная - [работает]"), id="local"),
        pytest.param("<a>Привязка: нечто - [работает]</a>", ("UNKNOWN", "нечто - [работает]"), id="unknown kind"),
        pytest.param("<a>Банк - [работает]</a>", NO_RECORD, id="another module"),
        pytest.param("<a>Банк - [Ошибка защиты 4103]</a>", NO_RECORD, id="another module without license"),
        pytest.param("<a>SenseLock ключ - [работает</a>", ("UNKNOWN", "SenseLock ключ - [работает"), id="cut sentence"),
        pytest.param("<a>SenseLock ключ - [Ошибка 7]</a>", ("CRITICAL", "Ошибка 7"), id="failing sentence"),
        pytest.param('<a>Device "SenseLock" not found</a>', ("CRITICAL", 'Device "SenseLock" not found'), id="device not found"),
        pytest.param("<a>Внимание: ключ SenseLock не найден</a>", ("CRITICAL", "Внимание: ключ SenseLock не найден"), id="a warning"),
        pytest.param("<a>SenseLock: Ошибка защиты 4111</a>", ("CRITICAL", "SenseLock: Ошибка защиты 4111"), id="an error"),
        pytest.param("<a>Невозможно получить привязку</a>", ("CRITICAL", "Невозможно получить привязку"), id="binding unreadable"),
        pytest.param("<a>SenseLock: работает</a>", ("UNKNOWN", "SenseLock: работает"), id="works, not as it is known"),
        pytest.param("<a>Памятка: что делать, если SenseLock не найден</a>", MENTION, id="prose"),
        pytest.param("<a>Служба SenseLock работает</a>", MENTION, id="a service works"),
        pytest.param("<a><![CDATA[<BR> Привязка: SenseLock ключ - [работает] <br>]]></a>", ("OK", GOOD_TEXT), id="a page inside"),
        pytest.param("<a><![CDATA[<!-- <BR> Привязка: SenseLock ключ - [работает] <br> -->]]></a>", MENTION, id="a page inside, commented out"),
        pytest.param("<a><![CDATA[<BR> Привязка: SenseLock ключ - [работает]]]></a>", ("UNKNOWN", "Привязка: SenseLock ключ - [работает]"), id="a page inside, cut"),
        # A text in pieces.
        pytest.param("<a>SenseLock <!-- x -->ключ - [<![CDATA[рабо]]>&#1090;ает]</a>", ("OK", GOOD_TEXT), id="pieces of one text"),
        pytest.param("<a>S&#101;nseLock ключ - [не работает]</a>", ("CRITICAL", "не работает"), id="a word with a reference"),
        pytest.param("<a>SenseLock ключ - [<b/>работает]</a>", ("UNKNOWN", "SenseLock ключ - [ работает]"), id="an element inside cuts the text"),
        pytest.param("<a>Sense<b/>Lock ключ - [работает]</a>", NO_RECORD, id="an element inside the word"),
        pytest.param("<!-- <a>SenseLock ключ - [работает]</a> -->", NO_RECORD, id="a comment"),
        pytest.param("<?x SenseLock ключ - [работает] ?>", NO_RECORD, id="an instruction"),
        # An element that is named after the key.
        pytest.param("<SenseLock>работает</SenseLock>", ("OK", "работает"), id="tag and text"),
        pytest.param("<SenseLock>[работает]</SenseLock>", ("OK", "работает"), id="tag and text in brackets"),
        pytest.param('<SENSELOCK state="работает"/>', ("OK", "работает"), id="tag and attribute"),
        pytest.param("<k:SenseLock xmlns:k='x'><k:state>работает</k:state></k:SenseLock>", ("OK", "работает"), id="with a prefix"),
        pytest.param("<SenseLockState>работает</SenseLockState>", ("OK", "работает"), id="tag with state"),
        pytest.param("<SenseLockDriver>работает</SenseLockDriver>", MENTION, id="tag with driver"),
        pytest.param("<SenseLock><state>работает</state><driver>1.2</driver></SenseLock>", ("OK", "работает"), id="tag and child"),
        pytest.param("<SenseLock><driver>работает</driver></SenseLock>", ("UNKNOWN", "работает"), id="the state of something below it"),
        pytest.param("<SenseLock><x><y><state>работает</state></y></x></SenseLock>", ("UNKNOWN", "работает"), id="far below it"),
        pytest.param("<SenseLock>1</SenseLock>", ("UNKNOWN", "1"), id="a state that is not known"),
        pytest.param("<SenseLock/>", MENTION, id="no state at all"),
        pytest.param("<SenseLock><state/></SenseLock>", ("UNKNOWN", "the state of the SenseLock record is empty"), id="an empty state"),
        pytest.param("<SenseLock><state>не работает</state></SenseLock>", ("CRITICAL", "не работает"), id="fails"),
        pytest.param("<SenseLock><state>работает</state><error>Device not found</error></SenseLock>", ("CRITICAL", "Device not found"), id="works and fails"),
        pytest.param("<SenseLock><state>работает</state><status>полу</status></SenseLock>", ("UNKNOWN", "полу"), id="works and something else"),
        pytest.param("<SenseLock><state>Работает</state></SenseLock>", ("UNKNOWN", "Работает"), id="capital"),
        pytest.param('<x senselock="работает"/>', ("OK", "работает"), id="attribute named after it"),
        pytest.param('<x senselock="1" documents="работает"/>', ("UNKNOWN", "1"), id="attribute beside it"),
        pytest.param('<x senselock_version="2.3" state="работает"/>', MENTION, id="attribute about something else"),
        # An element with a name and a value.
        pytest.param('<param name="SenseLock ключ" value="работает"/>', ("OK", "работает"), id="name and value"),
        pytest.param('<param name="SenseLock ключ" value="Key is not available"/>', ("CRITICAL", "Key is not available"), id="name and failing value"),
        pytest.param("<item><name>Ключ SenseLock</name><value>работает</value></item>", ("OK", "работает"), id="name and value as children"),
        pytest.param("<server><key>SenseLock</key><state>работает</state></server>", ("UNKNOWN", "работает"), id="a server with a key"),
        pytest.param("<server key='SenseLock' state='не работает'/>", ("CRITICAL", "не работает"), id="a server with a key fails"),
        pytest.param("<device name='SenseLock' state='работает' port='2'/>", ("OK", "работает"), id="a device"),
        pytest.param("<row><c>SenseLock</c><c>работает</c></row>", ("OK", "работает"), id="a row"),
        pytest.param("<row><c>Банк</c><c>работает</c><c>SenseLock</c></row>", MENTION, id="a row with the state of something else"),
        pytest.param("<row><c>SenseLock</c><c>Банк</c><c>работает</c></row>", MENTION, id="a longer row"),
        pytest.param("<row><c>работает</c><c>SenseLock</c></row>", MENTION, id="a row the other way round"),
        pytest.param("<module><name>SenseLock</name><state>работает</state></module>", ("OK", "работает"), id="a module of that name"),
        pytest.param("<module><name>Банк</name><state>работает</state><name>SenseLock</name><state/></module>", MENTION, id="a flat list"),
        pytest.param("<module><name>Банк</name><state>работает</state><key>SenseLock</key></module>", ("UNKNOWN", "работает"), id="two names"),
        pytest.param('<section name="SenseLock"><param name="state" value="работает"/></section>', ("OK", "работает"), id="a section"),
        pytest.param('<section name="SenseLock"><item name="Состояние">работает</item><item name="Номер ключа">1</item></section>', ("OK", "работает"), id="a section of texts"),
        pytest.param('<section name="SenseLock"><item name="Состояние">не работает</item></section>', ("CRITICAL", "не работает"), id="a section of texts that fails"),
        pytest.param('<section name="SenseLock"><item name="Служба">работает</item></section>', ("UNKNOWN", "работает"), id="another text in the section"),
        pytest.param("<SenseLock>SenseLock ключ -  [работает]</SenseLock>", ("OK", "SenseLock ключ - [работает]"), id="the whole line under the name"),
        pytest.param("<binding>SenseLock ключ - [работает]</binding><binding>Sens;люч - [Device &quot;SenseLock&quot; not found]</binding>",
                     ("CRITICAL", 'Sens;люч - [Device "SenseLock" not found]'), id="a garbled binding that fails"),
        pytest.param("<SenseLock>SenseLock ключ -  [работает] нет</SenseLock>", ("UNKNOWN", "SenseLock ключ - [работает] нет"), id="more than the line"),
        pytest.param('<section name="SenseLock"><param name="Банк" value="работает"/></section>', ("UNKNOWN", "работает"), id="another thing in the section"),
        pytest.param("<section name='SenseLock'><param><name>state</name><value>работает</value></param></section>", ("OK", "работает"), id="a section with pairs"),
        pytest.param("<section name='SenseLock'><param><name>Банк</name><value>работает</value></param></section>", ("UNKNOWN", "работает"), id="another pair in the section"),
        pytest.param("<ms><module><name>SenseLock</name></module><module><state>работает</state></module></ms>", MENTION, id="the neighbour's state"),
        pytest.param("<ms><module name='SenseLock'/><module name='Банк' state='работает'/></ms>", MENTION, id="the neighbour's attribute"),
        pytest.param("<Binding><subject>локальная</subject><state>работает</state></Binding>", ("OK", "локальная - [работает]"), id="kind and state apart"),
        pytest.param("<db><type>локальная</type><state>работает</state></db>", NO_RECORD, id="a local database"),
        # What bears the name without being the key.
        pytest.param('<user login="senselock" name="Служба SenseLock" state="работает"/>', MENTION, id="a user"),
        pytest.param("<user><name>SenseLock</name><state>работает</state></user>", ("UNKNOWN", "работает"), id="a user of that name"),
        pytest.param("<module name='SenseLock' type='служба' state='работает'/>", ("UNKNOWN", "работает"), id="a service"),
        pytest.param("<driver><module name='SenseLock' state='работает'/></driver>", ("UNKNOWN", "работает"), id="a driver around it"),
        pytest.param("<document><name>SenseLock ключ - [работает]</name></document>", ("UNKNOWN", GOOD_TEXT), id="a document's title"),
        # Several.
        pytest.param("<a>SenseLock ключ - [работает]</a><a>SenseLock ключ - [Key is not available]</a>", ("CRITICAL", "Key is not available"), id="one fails"),
        pytest.param("<a>SenseLock ключ - [работает]</a><SenseLock>1</SenseLock>", ("UNKNOWN", "1"), id="a number beside a good record"),
        pytest.param("<a>SenseLock ключ - [работает]</a><SenseLock><state>1</state></SenseLock>", ("UNKNOWN", "1"), id="an unknown state beside a good record"),
        pytest.param("<a>SenseLock ключ - [работает]</a><a>SenseLock EliteIV</a>", ("OK", GOOD_TEXT), id="a mention beside a good record"),
        pytest.param("<a>SenseLock ключ - [работает]</a><user name='SenseLock' state='отключен'/>", ("UNKNOWN", GOOD_TEXT), id="a doubtful failure beside it"),
        pytest.param("<user name='SenseLock' state='отключен'/>", ("CRITICAL", "отключен"), id="a doubtful failure alone"),
        pytest.param("<SenseLock id='1' state='работает'/><SenseLock id='{2}' state='работает'/>", ("OK", "работает"), id="two that work"),
        pytest.param("<SenseLock id='1' state='работает'/><SenseLock id='2' state='отключен'/>", ("CRITICAL", "отключен"), id="one of two fails"),
        pytest.param("", NO_RECORD, id="nothing"),
    ],
)  # fmt: skip
def test_records(xml: str, expected: tuple[str, str]) -> None:
    assert judged(xml) == expected


FAR = "<e>x</e>" * 6000
"""Longer than a record reaches and than what is looked at around one."""
NOT_SURE = ("UNKNOWN", "работает")
DETAILS = "<version>1.2</version><date>24.11.2026</date><serial>0A12-44</serial><model>EliteIV</model><errors>0</errors><found>1</found><licensee>ООО Ромашка</licensee>"


@pytest.mark.parametrize(
    ("xml", "expected"),
    [
        # A text with elements in it is one text.
        pytest.param("<SenseLock><state><b>не</b> работает</state></SenseLock>", ("CRITICAL", "не работает"), id="a word in bold"),
        pytest.param("<SenseLock><b>не</b> работает</SenseLock>", ("CRITICAL", "не работает"), id="a word in bold, no state"),
        pytest.param("<p name='SenseLock'>работает<i>, ключ отсутствует</i></p>", ("CRITICAL", "работает , ключ отсутствует"), id="more in italics"),
        pytest.param("<SenseLock>работает<i> — нет</i></SenseLock>", ("UNKNOWN", "работает — нет"), id="more in italics, no known words"),
        pytest.param("<p>SenseLock ключ - <b>не</b> [работает]</p>", MENTION, id="a word in bold in a binding"),
        pytest.param("<p>SenseLock ключ - <b>[работает]</b></p>", ("OK", GOOD_TEXT), id="a state in bold"),
        pytest.param("<p><b>не верно:</b>SenseLock ключ - [работает]</p>", ("UNKNOWN", "не верно: SenseLock ключ - [работает]"), id="a binding behind a word"),
        pytest.param("<p>вчера: <b>SenseLock ключ - [работает]</b>.</p>", ("UNKNOWN", "вчера: SenseLock ключ - [работает] ."), id="a binding inside a text"),
        pytest.param(f"<p>{FAR}вчера: <b>SenseLock ключ - [работает]</b></p>", ("UNKNOWN", GOOD_TEXT), id="a binding behind a text in a large element"),
        pytest.param(f"<p>{FAR}<b>SenseLock ключ - [работает]</b> было вчера</p>", ("UNKNOWN", GOOD_TEXT), id="a binding before a text in a large element"),
        pytest.param(f"<p>{FAR}<b>SenseLock ключ - [работает]</b><b/> </p>", ("OK", GOOD_TEXT), id="a binding in a large element"),
        # What stands around it, however far away it begins.
        *(pytest.param(f"<{around}><item name='SenseLock' status='работает'/></{around.split()[0]}>", NOT_SURE, id=around)
          for around in (
              "services", "drivers", "processes", "daemons", "installed", "WinServices", "hosts", "volumes", "Базы", "Службы", "Журналы", "users", "queries",
              "previous", "expected", "eventLog", "пример", "section name='Процессы'", "list title='Службы и драйверы'", "table id='users'")),
        *(pytest.param(f"<{around}><a><e>Привязка: SenseLock ключ - [работает]</e></a></{around.split()[0]}>", ("UNKNOWN", GOOD_TEXT), id=f"binding: {around}")
          for around in ("log", "events", "messages", "Журналы", "Документы", "queries", "help", "history", "users", "section name='Архив'")),
        pytest.param("<services><e>Привязка: SenseLock ключ - [работает]</e></services>", ("OK", GOOD_TEXT), id="a binding among services"),
        pytest.param("<binding current='' previous='SenseLock ключ - [работает]'/>", ("UNKNOWN", GOOD_TEXT), id="an attribute of what was"),
        pytest.param("<table name='users'><rows><row><c>SenseLock</c><c>работает</c></row></rows></table>", NOT_SURE, id="a row two levels below"),
        pytest.param(f"<log>{FAR}<e>SenseLock ключ - [работает]</e></log>", ("UNKNOWN", GOOD_TEXT), id="a large log"),
        pytest.param(f"<log>{FAR}<a>{FAR}<b>{FAR}<e>SenseLock ключ - [работает]</e></b></a></log>", ("UNKNOWN", GOOD_TEXT), id="large elements in a large log"),
        pytest.param(f"<table name='users'><rows>{FAR}<row><c>SenseLock</c><c>работает</c></row></rows></table>", NOT_SURE, id="a row of a large table"),
        pytest.param(f"<s><title>Службы</title>{FAR}<item name='SenseLock' state='работает'/></s>", NOT_SURE, id="a large element with a title"),
        pytest.param(f"<log>{FAR}</log><a>{FAR}<e>SenseLock ключ - [работает]</e></a><log>{FAR}</log>", ("OK", GOOD_TEXT), id="between two logs"),
        pytest.param(f"<log>{FAR}</log><SenseLock state='работает'/><users>{FAR}</users>", ("OK", "работает"), id="behind a log"),
        pytest.param("<section name='Защита'><param name='SenseLock' value='работает'/></section>", ("OK", "работает"), id="an ordinary section"),
        pytest.param(f"<section name='Лицензирование'>{FAR}<param name='SenseLock' value='работает'/>{FAR}</section>", ("OK", "работает"), id="a large section"),
        # What contradicts a good state.
        *(pytest.param(f"<SenseLock {attribute} state='работает'/>", expected, id=attribute)
          for attribute, expected in (
              ("error='4111'", ("CRITICAL", "4111")), ("code='4117'", ("CRITICAL", "4117")), ("error='17'", NOT_SURE), ("errors='3'", NOT_SURE),
              ("ошибка='есть'", NOT_SURE), ("connected='0'", NOT_SURE), ("found='нет'", NOT_SURE), ("count='0'", NOT_SURE), ("наличие='false'", NOT_SURE),
              ("mode='демо'", ("UNKNOWN", "демо")), ("trial='true'", ("UNKNOWN", "true")), ("result='нет ключа'", ("CRITICAL", "нет ключа")),
              ("работа='нет'", ("UNKNOWN", "нет")), ("value='0 ключей'", ("UNKNOWN", "0 ключей")))),
        *(pytest.param(f"<SenseLock {attribute} state='работает'/>", ("OK", "работает"), id=attribute)
          for attribute in (
              "error='0'", "error='нет'", "error='Ошибка: нет'", "errors='отсутствуют'", "errors='no errors'", "code='0'", "code='KD-77'", "trial='нет'", "value='1'",
              "result='OK'", "connected='1'", "note='no failures'", "note='nothing missing'", "hint='если ключ не найден, проверьте порт'", "sessions='0'",
              "version='6.4'", "text='SenseLock EliteIV'", "description='Ключ защиты'")),
        pytest.param("<SenseLock><found>0</found><state>работает</state></SenseLock>", NOT_SURE, id="found 0"),
        pytest.param("<SenseLock><state>работает</state><license>демо-режим</license></SenseLock>", ("UNKNOWN", "демо-режим"), id="a demo license"),
        pytest.param("<section name='SenseLock'><param name='Состояние' value='работает'/><param name='Найдено ключей' value='0'/></section>", NOT_SURE,
                     id="no keys found"),
        pytest.param("<protection type='SenseLock'><state>работает</state><code>4111</code></protection>", ("CRITICAL", "4111"), id="a code"),
        pytest.param("<SenseLock state='работает'/><SenseLock><found>нет</found></SenseLock>", NOT_SURE, id="a second one is not found"),
        pytest.param("<SenseLock state='работает'><details><error>Ключ не найден</error></details></SenseLock>", NOT_SURE, id="an error far below"),
        pytest.param("<SenseLock state='работает'><key><state>не найден</state></key></SenseLock>", NOT_SURE, id="a state far below"),
        pytest.param("<SenseLock><x><y><state>не найден</state></y></x></SenseLock>", ("CRITICAL", "не найден"), id="nothing but a failure far below"),
        pytest.param(f"<SenseLock state='работает'>{FAR}<error>Ключ не найден</error></SenseLock>", ("UNKNOWN", "SenseLock"), id="too large for a record"),
        pytest.param(f"<a>SenseLock ключ - [работает]</a><SenseLock><state>отключен</state>{FAR}</SenseLock>", ("UNKNOWN", "SenseLock"),
                     id="too large for a record, beside a good one"),
        pytest.param("<SenseLock state='работает'>нет</SenseLock>", ("UNKNOWN", "нет"), id="a text beside its state"),
        pytest.param("<SenseLock><driver state='работает'/></SenseLock>", NOT_SURE, id="the state of its driver"),
        pytest.param(f"<SenseLock><state>работает</state>{DETAILS}</SenseLock>", ("OK", "работает"), id="ordinary details"),
        pytest.param(f"<protection><type>SenseLock</type><state>работает</state>{DETAILS}</protection>", ("OK", "работает"), id="ordinary details, a name"),
        pytest.param("<p name='SenseLock' value='работает'/><p name='SenseLock error' value='нет'/>", ("OK", "работает"), id="a name with error, none"),
        pytest.param("<p name='SenseLock' value='работает'/><p name='SenseLock error' value='4111'/>", ("CRITICAL", "4111"), id="a name with error, one"),
        pytest.param("<SenseLock>работает</SenseLock><SenseLockFound>нет</SenseLockFound>", NOT_SURE, id="a tag with found"),
        pytest.param("<p name='SenseLock' value='работает'/><p name='SenseLock кл_ч' value='Key is not available (x)'/>", ("UNKNOWN", "работает"),
                     id="a garbled name with a failure that is documented"),
        pytest.param("<p name='SenseLock' value='работает'/><log><p name='SenseLock кл_ч' value='Key is not available (x)'/></log>", ("OK", "работает"),
                     id="the same in a log"),
        pytest.param("<p name='SenseLock' value='работает'/><p name='SenseLock driver' value='not connected'/>", ("OK", "работает"), id="the driver's state"),
        # Kind and state of a binding in two places.
        pytest.param("<binding><kind>локальная</kind><state>работает</state><status>не работает</status></binding>", ("CRITICAL", "не работает"), id="two states"),
        pytest.param("<binding><kind>локальная</kind><state>работает</state><error>Ключ не найден</error></binding>", ("CRITICAL", "Ключ не найден"), id="an error"),
        pytest.param("<user><binding kind='локальная' state='работает'/></user>", ("UNKNOWN", "локальная - [работает]"), id="a user's binding"),
        pytest.param("<binding kind='домен к CORP' state='работает'/>", ("OK", "домен к CORP - [работает]"), id="a domain"),
        pytest.param("<b>домен к CORP (ключ не найден) - [работает]</b>", ("UNKNOWN", "домен к CORP (ключ не найден) - [работает]"), id="more than a domain"),
        pytest.param("<b>ПРИВЯЗКА: SENSELOCK КЛЮЧ - [НЕ РАБОТАЕТ]</b>", ("CRITICAL", "НЕ РАБОТАЕТ"), id="capitals"),
    ],
)  # fmt: skip
def test_what_contradicts_or_only_bears_the_name(xml: str, expected: tuple[str, str]) -> None:
    data = f"<report><other><state>работает</state></other>{xml}</report>".encode()
    for how in ({}, {"exact": True}):
        statement = verdict_on(data, **how)
        said = statement.text or statement.sentence.partition(":")[0]
        said = re.sub(r"^.* - \[(.*)\]$", r"\1", said) if expected == NOT_SURE else said
        assert (runtime.STATE_NAMES[statement.state], said) == expected, statement.sentence


WELL = "<param name='SenseLock' value='работает'/>"
"""A record that works; what the rows below add to it is of a healthy report, or is not."""


def state_of(xml: str) -> str:
    """The state of a report with this XML in it, whatever else stands there, and with exact paths the same."""
    data = f"<report><other><state>работает</state></other>{xml}</report>".encode()
    states = {verdict_on(data).state, verdict_on(data, exact=True).state}
    assert len(states) == 1, xml
    return runtime.STATE_NAMES[states.pop()]


NAMES_OF_ERRORS = ("SenseLock last error", "SenseLock последняя ошибка", "SenseLock: ошибка ключа", "SenseLock error text", "SenseLock error message")
NAMES_OF_FAILURES = ("SenseLock не найден", "SenseLock not found", "SenseLock недоступен", "SenseLock отсутствует", "SenseLock lost connections", "SenseLock не работает")


@pytest.mark.parametrize(
    ("xml", "state"),
    [
        *((f"{WELL}<param name='{name}' value='{value}'/>", "OK") for name in NAMES_OF_ERRORS for value in ("нет", "", "0")),
        *((f"{WELL}<row><c>{name}</c><c>{value}</c></row>", "OK") for name in NAMES_OF_ERRORS for value in ("нет", "", "0")),
        *((f"{WELL}<param><name>{name}</name><value>{value}</value></param>", state)
          for name in NAMES_OF_FAILURES for value, state in (("нет", "OK"), ("0", "OK"), ("false", "OK"), ("1", "UNKNOWN"), ("да", "UNKNOWN"), ("", "UNKNOWN"))),
        *((f"{WELL}<alert name='{name}'{more}/>", state) for name in ("SenseLock не работает", "SenseLock не найден")
          for more, state in ((" active='0'", "OK"), (" active='1'", "UNKNOWN"), (" state='firing'", "UNKNOWN"), (" seen='0'", "UNKNOWN"), ("", "CRITICAL"),
                              (" time='12:00'", "CRITICAL"), (" active='0' state='firing'", "UNKNOWN"))),
        (f"{WELL}<alert name='SenseLock не работает'>да</alert>", "UNKNOWN"),
        (f"{WELL}<param name='SenseLock last error' value='24.11.2026 12:00'/>", "OK"),
        (f"{WELL}<param name='SenseLock last error time' value='2026-11-24T12:00:05Z'/>", "OK"),
        (f"{WELL}<param name='SenseLock last error time' value='нет'/>", "OK"),
        (f"{WELL}<param name='SenseLock error' value='24.11.2026 12:00'/>", "UNKNOWN"),
        (f"{WELL}<param name='SenseLock last error' value='Not connected'/>", "UNKNOWN"),  # it may be over
        (f"{WELL}<param name='SenseLock last error' value='4111'/>", "UNKNOWN"),
        (f"{WELL}<param name='SenseLock error' value='Not connected'/>", "CRITICAL"),
        (f"{WELL}<row><c>SenseLock last error</c><c>Not connected</c></row>", "UNKNOWN"),
        (f"{WELL}<row><c>SenseLock ошибка</c><c>4111</c></row>", "CRITICAL"),
        (f"{WELL}<tr><td>SenseLock last error</td><td>нет</td><td>24.11.2026</td></tr>", "UNKNOWN"),  # which cell is the value?
        (f"{WELL}<m><name>Банк</name><state>работает</state><name>SenseLock не найден</name><state/></m>", "UNKNOWN"),  # a flat list
        (f"{WELL}<m><name>SenseLock не найден</name><value>нет</value>{FAR}</m>", "UNKNOWN"),  # too large to know its value
        (f"{WELL}<x senselock_not_found='1'/>", "UNKNOWN"),
        (f"{WELL}<x senselock_not_found='0'/>", "OK"),
        (f"{WELL}<SenseLockNotFound>true</SenseLockNotFound>", "UNKNOWN"),
        ("<param name='SenseLock last error' value='Not connected'/>", "CRITICAL"),
        ("<alert name='SenseLock не работает' active='1'/>", "CRITICAL"),
        ("<alert name='SenseLock не работает' active='0'/>", "UNKNOWN"),
        ("<a name='SenseLock: Ошибка защиты 4111'/>", "CRITICAL"),
        ("<status>SenseLock error</status>", "CRITICAL"),
        (f"{WELL}<status>SenseLock error</status>", "UNKNOWN"),
    ],
)  # fmt: skip
def test_the_name_of_a_value_is_no_statement(xml: str, state: str) -> None:
    """Healthy servers list their errors, too; what a name says is affirmed or denied by its value."""
    assert state_of(xml) == state


def test_a_failing_value_is_shown_with_its_name() -> None:
    statement = verdict_on(f"<report>{WELL}<param name='SenseLock lost connections' value='3'/></report>".encode())
    assert statement.sentence == (
        "the report contradicts itself: the key works by attribute value of element param of the report, but element param of the report says "
        "'SenseLock lost connections: 3': see -vv, then pin the record with --record"
    )


@pytest.mark.parametrize(
    ("xml", "state"),
    [
        *((f"<{frame}><SenseLock>работает</SenseLock></{frame.split()[0].split('>')[0]}>", state)
          for frame, state in (
              ("protection state='не работает'", "UNKNOWN"), ("protection state='отключена'", "UNKNOWN"), ("protection><state>Ошибка защиты 4111</state", "UNKNOWN"),
              ("protection error='4111'", "UNKNOWN"), ("Защита состояние='сбой'", "UNKNOWN"), ("protection found='0'", "UNKNOWN"), ("section name='Защита' state='не работает'", "UNKNOWN"),
              ("protection state='работает'", "OK"), ("protection error='0'", "OK"), ("protection><error/", "OK"), ("protection level='3'", "OK"),
              ("protection><state>Ошибка защиты 4103</state", "OK"), ("protection><password>нет</password", "OK"),
              ("protection><module name='Банк' state='не работает'/", "OK"))),
        *((f"<protection{attributes}>{FAR}<SenseLock>работает</SenseLock>{FAR}</protection>", state)
          for attributes, state in ((" state='не работает'", "UNKNOWN"), (" error='4111'", "UNKNOWN"), (" state='работает'", "OK"), ("", "OK"))),
        *((f"{WELL}{beside}", state)
          for beside, state in (
              ("<protection><error>Ошибка защиты 4111 Not connected</error></protection>", "UNKNOWN"), ("<param name='Ошибка защиты' value='4111'/>", "UNKNOWN"),
              ("<protection_error>4111</protection_error>", "UNKNOWN"), ("<row><c>Ошибка защиты</c><c>4111</c></row>", "UNKNOWN"), ("<p name='Защита' value='не работает'/>", "UNKNOWN"),
              ("<protection_error>17</protection_error>", "UNKNOWN"), ("<status>Ошибка защиты 4111</status>", "UNKNOWN"), ("<binding>Sen; - [User limit exceeded]</binding>", "UNKNOWN"),
              ("<protection_error>4103</protection_error>", "OK"), ("<protection_error>0</protection_error>", "OK"), ("<param name='Ошибка защиты' value='нет'/>", "OK"),
              ("<module name='Банк' state='Ошибка защиты 4103'/>", "OK"), ("<log><e>Ошибка защиты 4111</e></log>", "OK"), ("<help>Ошибка защиты 4111 значит: нет ключа</help>", "OK"))),
        ("<protection state='не работает'><SenseLock>не работает</SenseLock></protection>", "CRITICAL"),
    ],
)  # fmt: skip
def test_what_the_protection_says_is_heard(xml: str, state: str) -> None:
    """A key that works in a protection that does not is a contradiction; the modules beside it have errors of their own."""
    assert state_of(xml) == state


@pytest.mark.parametrize(
    ("inside", "state"),
    [
        # Whether it works, is there, is allowed.
        *((f"<{name}>{value}</{name}>", state) for name in ("working", "works", "enabled", "keys", "keyfound", "isFound", "key_present", "keys_count", "ключей")
          for value, state in (("0", "UNKNOWN"), ("false", "UNKNOWN"), ("нет", "UNKNOWN"), ("1", "OK"), ("true", "OK"))),
        *((f"<{name}>{value}</{name}>", state) for name in ("disabled", "blocked", "blacklisted", "removed", "отключен", "errorcount", "errors")
          for value, state in (("1", "UNKNOWN"), ("да", "UNKNOWN"), ("0", "OK"), ("нет", "OK"), ("", "OK"))),
        ("<actual>нет</actual>", "UNKNOWN"), ("<last_disconnected>24.11.2026 12:00</last_disconnected>", "OK"), ("<disconnected>24.11.2026</disconnected>", "UNKNOWN"),
        # Texts about it.
        *((f"<comment>{text}</comment>", "CRITICAL") for text in ("ключ извлечён", "Ключ удален", "ключ вынут", "ключ в чёрном списке", "key removed", "key is disabled")),
        *((f"<comment>{text}</comment>", "OK") for text in ("ключ не отключен", "удалённый сервер", "ключ не в черном списке", "not blacklisted", "ключ можно извлечь")),
        # Of something else it may be meant: not sure, and never CRITICAL beside a good state.
        *((f"<{name}>{text}</{name}>", "UNKNOWN") for name in ("licman", "proxy") for text in ("disabled", "отключен", "not connected", "не работает")),
        # Below it.
        ("<details><mode>демо</mode></details>", "UNKNOWN"), ("<details><mode>сетевой</mode></details>", "OK"), ("<details><a><license>trial</license></a></details>", "UNKNOWN"),
        ("<usb><port><state>disconnected</state></port></usb>", "UNKNOWN"), ("<usb><port><state>connected</state></port></usb>", "OK"),
        ("<details><status>полу</status></details>", "UNKNOWN"), ("<usb><a><status>полу</status></a></usb>", "OK"), ("<driver><state>установлен</state></driver>", "OK"),
        ("<details><a><key><state>полу</state></key></a></details>", "UNKNOWN"), ("<modules><m name='Банк'><state>остановлен</state></m></modules>", "OK"),
        ("<errors><count>0</count></errors>", "OK"), ("<errors><count>2</count></errors>", "UNKNOWN"), ("<keys><count>0</count></keys>", "UNKNOWN"), ("<keys><count>1</count></keys>", "OK"),
        ("<sessions><count>0</count></sessions>", "OK"), ("<a><found>0</found></a>", "UNKNOWN"), ("<details><count>0</count></details>", "UNKNOWN"),
    ],
)  # fmt: skip
def test_what_a_record_says_beside_its_state(inside: str, state: str) -> None:
    assert state_of(f"<SenseLock><state>работает</state>{inside}</SenseLock>") == state


@pytest.mark.parametrize(("value", "state"), [("0", "UNKNOWN"), ("нет", "UNKNOWN"), ("1", "OK")])
def test_the_number_of_keys_in_a_list(value: str, state: str) -> None:
    assert state_of(f"{WELL}<param name='SenseLock keys' value='{value}'/>") == state


@pytest.mark.parametrize(
    ("xml", "state"),
    [
        *((form.format(text), state)
          for form in ("<param name='Привязка:' value='{}'/>", "<param><name>Привязка:</name><value>{}</value></param>", "<tr><td>Привязка:</td><td>{}</td></tr>",
                       "<table><b>Привязка:</b><t>{}</t></table>")
          for text, state in (("SenseLock ключ - [работает]", "OK"), ("локальная -  [работает]", "OK"), ("SenseLock ключ - [Device &quot;SenseLock&quot; not found]", "CRITICAL"),
                              ("SenseLock ключ - []", "UNKNOWN"), ("", "UNKNOWN"), ("работает", "UNKNOWN"))),
        ("<a>Привязка:</a>", "UNKNOWN"), ("<param name='Привязка:'/>", "UNKNOWN"), (f"{WELL}<param name='Привязка:' value=''/>", "UNKNOWN"),
        (f"{WELL}<a>Привязка:</a>", "UNKNOWN"), ("<tr><td>Привязка:</td><td>SenseLock</td><td>работает</td></tr>", "UNKNOWN"),
    ],
)  # fmt: skip
def test_the_name_of_the_binding_with_its_colon(xml: str, state: str) -> None:
    assert state_of(xml) == state


KEY, BOUND, NAMED = "<SenseLock>работает</SenseLock>", "<binding>SenseLock ключ - [работает]</binding>", WELL
BY_PEOPLE = ("server name='ООО Старый город'", "registration><name>ЗАО Архив</name", "license><name>Техэксперт: Базы нормативных документов</name",
             "computer name='BACKUP-SRV'", "server><name>db-log-01</name", "Организация название='ООО Техно-Сервис'", "product title='Помощник пользователя'")  # fmt: skip


@pytest.mark.parametrize(
    ("xml", "state"),
    [
        *((f"<{around}>{record}</{re.split('[ >]', around)[0]}>", "OK") for around in BY_PEOPLE for record in (KEY, BOUND, NAMED)),
        *((f"<{around}>{FAR}{KEY}{FAR}</{re.split('[ >]', around)[0]}>", "OK") for around in BY_PEOPLE),
        *((f"<{around}>{record}</{around.split()[0]}>", state) for around in ("section name='Лицензии и пользователи'", "section title='Ключ, службы, журналы'")
          for record, state in ((KEY, "OK"), (BOUND, "OK"), ("<p name='Привязка' value='SenseLock ключ - [работает]'/>", "OK"), (NAMED, "UNKNOWN"), ("<e>SenseLock ключ - [работает]</e>", "UNKNOWN"))),
        *((f"<{around}>{record}</{around.split()[0]}>", "UNKNOWN") for record in (KEY, BOUND, NAMED)
          for around in ("section name='Журнал событий и ошибок'", "section name='Пользователи'", "list title='Архив'", "old_server name='x'", "server_log", "group name='Пользователи и лицензии'")),
        ("<server name='ООО Сервис' binding='SenseLock ключ - [работает]'/>", "OK"),
    ],
)  # fmt: skip
def test_a_proper_name_may_hold_any_word(xml: str, state: str) -> None:
    assert state_of(xml) == state


@pytest.mark.parametrize("root", ["sysinfo name='ООО Техно-Сервис'", "sysinfo title='Отчёт о системе, сервисах и пользователях'", "sysinfo><name>ЗАО Архив</name"])
def test_the_name_of_the_whole_report_may_hold_any_word(root: str) -> None:
    assert verdict_on(f"<{root}>{KEY}</sysinfo>".encode()).state == OK
    assert verdict_on(f"<{root}>{FAR}{KEY}{FAR}</sysinfo>".encode()).state == OK
    assert verdict_on(f"<log>{KEY}</log>".encode()).state == UNKNOWN  # its tag is no proper name


@pytest.mark.parametrize(
    ("xml", "state"),
    [
        *((f"<SenseLock {names} state='работает'/>", "OK")
          for names in ("type='network'", "type='сетевой'", "type='EliteIV'", "id='key1'", "key='4F2A-77XZ'", "name='Senselock EL-S'", "name='Электронный ключ'", "system='Windows'",
                        "device='/dev/bus/usb/001/004'", "name='12'")),
        *((f"<SenseLock {names} state='работает'/>", "UNKNOWN")
          for names in ("type='служба'", "type='driver'", "type='демо'", "type='эмулятор'", "type='пользователь'", "name='Банк'", "name='Guardant'", "name='Служба SenseLock'", "key='нет'",
                        "device='none'", "key='не найден'", "device='неизвестно'", "type='архивный ключ, архив'")),
        *((f"<{tag} state='работает'/>", "OK") for tag in ("subsystem name='SenseLock'", "item id='12' name='SenseLock' type='string'", "property name='senselock' type='java.lang.String'",
                                                           "param name='SenseLock' type='text'", "param name='Работа ключа SenseLock'", "param name='Работоспособность ключа SenseLock'",
                                                           "param name='Аппаратная защита SenseLock'", "параметр id='A-7' имя='SenseLock'", "item type='string' имя='SenseLock'")),
        *((f"<{tag} state='работает'/>", "UNKNOWN") for tag in ("module name='Банк' key='SenseLock'", "module name='Банк2' key='SenseLock'", "item title='Обмен' module='SenseLock'",
                                                                "module name='SenseLock' type='служба'", "item type='Банк' id='SenseLock'", "server key='SenseLock'")),
    ],
)  # fmt: skip
def test_a_second_name(xml: str, state: str) -> None:
    """An id or a type is no other thing; a name that stands before the key's is."""
    assert state_of(xml) == state


LINES = "Рег. номер: 1\n{}\nПользователей: 20"


@pytest.mark.parametrize(
    ("xml", "state"),
    [
        *((f"<SenseLock><state>работает</state><error>{text}</error></SenseLock>", "OK")
          for text in ("0 (нет ошибки)", "0 - OK", "0: Успешно", "0x0 success", "Операция успешно завершена", "The operation completed successfully.", "0x00000000")),
        *((f"<SenseLock><state>работает</state><error>{text}</error></SenseLock>", "UNKNOWN")
          for text in ("0 - 4111", "0: 17", "0.5", "Операция завершена", "успешно, но 17", "-1")),
        ("<SenseLock><state>работает</state><error>0: ключ не найден</error></SenseLock>", "CRITICAL"),
        *((f"<SenseLock><state>работает</state><text>{text}</text></SenseLock>", state)
          for text, state in (("Ключ подключен", "OK"), ("Ключ SenseLock найден", "OK"), ("ключ 0", "UNKNOWN"), ("Ключ", "UNKNOWN"), ("Ключ подключен вчера", "UNKNOWN"), ("Ключ не подключен", "CRITICAL"))),
        # A text of lines.
        (f"<t>{LINES.format('Привязка: SenseLock ключ -  [работает]')}</t>", "OK"),
        (f"<t>\r\n  {LINES.format('  Привязка: локальная - [работает]')}\r\n</t>", "OK"),
        (f"<t>{LINES.format('Привязка: SenseLock ключ - [не работает]')}</t>", "CRITICAL"),
        (f"<t>{LINES.format('Привязка: SenseLock ключ - [работает')}</t>", "UNKNOWN"),
        (f"<t>{LINES.format('Новая Привязка: SenseLock ключ - [работает]')}</t>", "UNKNOWN"),
        ("<t>Привязка:\n SenseLock ключ -\n [работает]</t>", "OK"),
        ("<t>вчера\nПривязка: SenseLock ключ - [работает]</t>", "UNKNOWN"),
        ("<t>Предыдущий отчёт: 1\nПривязка: SenseLock ключ - [работает]</t>", "UNKNOWN"),
        ("<t>Привязка: SenseLock ключ - [работает]\nСостояние: ключ не найден</t>", "UNKNOWN"),
        ("<t>Привязка: SenseLock ключ - [работает]\nи больше ничего</t>", "UNKNOWN"),
        (f"<log><t>{LINES.format('Привязка: SenseLock ключ - [работает]')}</t></log>", "UNKNOWN"),
        # Escaped twice, and the name in other spellings.
        ("<b>Привязка: SenseLock ключ&amp;nbsp;-&amp;nbsp; [работает]</b>", "OK"), ("<b>SenseLock&amp;#160;ключ - [работает]</b>", "OK"),
        ("<b>SenseLock ключ - [не&amp;nbsp;работает]</b>", "CRITICAL"), ("<b>SenseLock ключ - &amp;#91;работает]</b>", "UNKNOWN"),
        *((form.format(name), state) for name in ("Sense_Lock", "Sense-Lock", "SENSE_LOCK")
          for form, state in (("<{0}>работает</{0}>", "OK"), ("<{0} state='не работает'/>", "CRITICAL"), ("<{0}_driver>работает</{0}_driver>", "UNKNOWN"))),
        *((f"{FAR}<param name='{name}' value='{value}'/>{FAR}", state) for name in ("Sense Lock", "sense-lock ключ") for value, state in (("работает", "OK"), ("не найден", "CRITICAL"))),
        (f"{FAR}<b>Device &quot;Sense Lock&quot; not found</b>{FAR}", "CRITICAL"),
        ("<b>Sense Lock ключ - [работает]</b>", "UNKNOWN"),  # of a binding only the known spelling is good
    ],
)  # fmt: skip
def test_healthy_records_in_other_words(xml: str, state: str) -> None:
    assert state_of(xml) == state


@pytest.mark.parametrize(
    ("xml", "state"),
    [
        *((f"<{around}><item name='SenseLock' state='работает'/></{around}>", "UNKNOWN")
          for around in ("legend", "Легенда", "possible_values", "tasks", "Задачи", "jobs", "threads", "Потоки", "libs", "plugins", "demo", "trial", "cached", "yesterday", "before", "codes")),
        *((f"<{around}>{FAR}<a><item>SenseLock ключ - [работает]</item></a>{FAR}</{around}>", "UNKNOWN")
          for around in ("changelog", "news", "Новости", "tickets", "search", "sessions", "Сеансы", "legend", "enum")),
        ("<section name='Легенда'><item name='SenseLock' state='работает'/></section>", "UNKNOWN"),
        ("<tasks><e>Привязка: SenseLock ключ - [работает]</e></tasks>", "OK"),  # as among services: a binding is told in full
        # What explains words says nothing, be it good or bad; a list of codes may be of those that came.
        ("<enum name='SenseLock state'><value>работает</value><value>не работает</value></enum>", "UNKNOWN"),
        (f"{WELL}<enum name='SenseLock state'><value>работает</value><value>не работает</value></enum>", "OK"),
        (f"{WELL}<legend><a><SenseLock>не работает</SenseLock></a></legend>", "OK"),
        (f"{WELL}<codes><code id='4111'>Ключ SenseLock не найден</code></codes>", "UNKNOWN"),
        (f"{WELL}<section name='Легенда'><SenseLock>не работает</SenseLock></section>", "UNKNOWN"),
        (f"{WELL}<enumerated_keys><SenseLock>не работает</SenseLock></enumerated_keys>", "CRITICAL"),
        (f"{WELL}<param name='Код ошибки защиты' value='4111'/>", "UNKNOWN"),
        ("<enum><a>домен к X - [работает]</a></enum>", "CRITICAL"),  # no record at all
    ],
)  # fmt: skip
def test_lists_of_other_things(xml: str, state: str) -> None:
    assert state_of(xml) == state


@pytest.mark.parametrize("schema", reports.SCHEMAS)
@pytest.mark.parametrize("binding", [*reports.GOOD_BINDINGS, *reports.BAD_BINDINGS])
def test_every_binding_in_every_schema(schema: str, binding: str) -> None:
    statement = verdict_on(b"".join(reports.report(schema, size=40_000, bindings=[binding], decoys=True)))
    assert statement.state == kodeks_binding.judge_binding(binding).state, statement


@pytest.mark.parametrize("schema", reports.SCHEMAS)
def test_no_schema_is_ok_without_a_record(schema: str) -> None:
    assert verdict_on(b"".join(reports.report(schema, size=40_000, bindings=()))).state == CRITICAL
    assert verdict_on(b"".join(reports.report(schema, size=40_000, bindings=(), decoys=True))).state == UNKNOWN


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1251", "koi8-r", "cp866", "iso-8859-5", "utf-16"])
@pytest.mark.parametrize("schema", ["text", "russian"])
def test_encodings(encoding: str, schema: str) -> None:
    for binding, state in ((reports.WORKS, OK), (reports.KEY_LIMIT, CRITICAL)):
        data = b"".join(reports.report(schema, size=60_000, bindings=[binding], encoding=encoding))
        assert verdict_on(data).state == state


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        pytest.param(b"", "the report is cut off after 0 bytes: send or store it again, to its end", id="nothing"),
        pytest.param(b"<a><b></a>", "the report is no well-formed XML: mismatched tag, line 1, column 9", id="mismatched"),
        pytest.param(b"<a/><b/>", "the report is no well-formed XML: junk after document element, line 1, column 5", id="two roots"),
        pytest.param(b"<a>\x00</a>", "the report is no well-formed XML: not well-formed (invalid token), line 1, column 4", id="NUL"),
        pytest.param("<a>работает</a>".encode("cp1251"), "the report is no well-formed XML: not well-formed (invalid token), line 1, column 4", id="not UTF-8"),
        pytest.param(b'<?xml version="1.0" encoding="nonsense"?><a/>',
                     "the report cannot be read in the encoding that it declares: unknown encoding: nonsense; check what makes or stores it", id="unknown encoding"),
        pytest.param(b'<?xml version="1.0" encoding="gb2312"?><a/>',
                     "the report cannot be read in the encoding that it declares: multi-byte encodings are not supported; check what makes or stores it", id="multi-byte encoding"),
        pytest.param(b'<?xml version="1.0" encoding="utf-16"?><a/>',
                     "the report is no well-formed XML: encoding specified in XML declaration is incorrect, line 1, column 31", id="wrong encoding"),
        pytest.param(b"<a>&x;</a>", "the report is no well-formed XML: undefined entity, line 1, column 4", id="entity"),
        pytest.param(reports.entity_record(), "the report declares entities or attributes of its own, which no sysinfo report does: not read", id="own entity"),
        pytest.param(reports.billion_laughs(), "the report declares entities or attributes of its own, which no sysinfo report does: not read", id="laughs"),
        pytest.param(reports.quadratic_blowup(), "the report declares entities or attributes of its own, which no sysinfo report does: not read", id="blowup"),
        pytest.param(reports.external_entity("file:///etc/passwd"),
                     "the report declares entities or attributes of its own, which no sysinfo report does: not read", id="external entity"),
        pytest.param(b'<!DOCTYPE a SYSTEM "x.dtd"><a>SenseLock &x;</a>',
                     "the report refers to an entity that it does not hold (x): not read", id="entity of another document"),
        pytest.param(b"".join(reports.deep(200_000)), kodeks_report.TOO_DEEP, id="deep"),
        pytest.param(b"<a>" + b"".join(b"<n%d/>" % number for number in range(80_000)) + b"</a>", kodeks_report.TOO_DEEP, id="names"),
        pytest.param(b"".join(reports.huge_attribute(3 << 20)), "the report has a tag or a comment of more than 1 MB: that is no sysinfo report", id="attribute"),
    ],
)  # fmt: skip
def test_reports_that_cannot_be_read(data: bytes, sentence: str) -> None:
    gc.collect()  # what earlier tests left would otherwise be collected in between, and hide how much this one takes
    for exact in (False, True):
        with pytest.raises(runtime.Problem) as problem:
            verdict_on(data, exact=exact)
        assert (str(problem.value), problem.value.state) == (sentence, UNKNOWN)


def test_another_document_is_never_read(tmp_path: object) -> None:
    assert verdict_on(reports.external_dtd("file:///nonexistent.dtd")).state == OK


def test_a_report_cut_anywhere_is_never_ok() -> None:
    data = b"".join(reports.report("text", size=100_000, place="start"))
    for percent in range(100):
        with pytest.raises(runtime.Problem):
            verdict_on(data[: len(data) * percent // 100])


def test_a_record_in_a_text_without_end_is_no_record() -> None:
    before = b"".join(reports.huge_text(200_000, before=f"{reports.WORKS} "))
    after = b"".join(reports.huge_text(200_000, after=f" {reports.NOT_FOUND}"))
    assert verdict_on(before).state == verdict_on(after).state == UNKNOWN


def test_many_records_are_told_apart_from_their_number() -> None:
    assert verdict_on(b"".join(reports.many_records(20_000))).state == OK


def documents(count: int) -> Iterator[bytes]:
    """Small documents made of the words that matter, with fillers of all lengths in between."""
    texts = ["SenseLock", "senselock ключ", "SenseLock ключ - [работает]", "работает", "локальная - [работает]", "Привязка: x - [работает]",
             "не работает", "Device 'SenseLock' not found", "filler" * 3, " " * 50, "x" * 200, "y" * 1000, "Sen<![CDATA[seLock]]> ключ",
             "Sense<!-- c -->Lock", "S&#101;nseLock", "домен к X - [работает]", "Sense", "Lock"]  # fmt: skip
    names = ["a", "b", "name", "state", "SenseLock", "value", "user", "binding", "param", "title", "k:SenseLock", "senselock_state"]
    all_texts, harmless = [*texts, "Службы", "Журнал событий"], ["SenseLock", "работает", "SenseLock ключ - [работает]", "filler" * 3, "x" * 200, "y" * 1000]

    def element(chance: random.Random, depth: int = 0) -> str:
        name = chance.choice(names)
        plain = [text for text in texts if "<" not in text]
        attributes = "".join(f' {other}="{chance.choice(plain)}"' for other in chance.sample(names, chance.choice([0, 0, 1, 2])))
        inside = "".join(
            element(chance, depth + 1) if chance.random() < 0.5 and depth < 6 else chance.choice(texts)
            for _ in range(chance.choice([0, 1, 1, 2, 3, 6]))
        )
        return f"<{name}{attributes}>{inside}</{name}>"

    for seed in range(count):
        chance = random.Random(seed)
        texts[:] = all_texts if seed % 3 else harmless  # of all texts together hardly any document is good
        parts = (element(chance) + "z" * chance.choice([0, 10, 100, 500, 3000]) for _ in range(chance.choice([1, 3, 8])))
        yield f"<root>{''.join(parts)}</root>".encode()


def test_the_verdict_depends_neither_on_blocks_nor_on_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of any length, handlers everywhere or only where a word is, exact paths or not: one verdict."""
    usual = kodeks_report.words_to_find
    states = set()
    for number, data in enumerate(documents(124)):
        reach = (40, 64, 200, 700)[number % 4]
        monkeypatch.setattr(kodeks_report, "REACH", reach)
        verdicts = set()
        for block in (reach + 64, reach + 71, reach + 333, 1 << 20):
            monkeypatch.setattr(kodeks_report, "BLOCK", block)
            for words in (usual, lambda beginning: ()):
                monkeypatch.setattr(kodeks_report, "words_to_find", words)
                verdicts |= {verdict_on(data), verdict_on(data, exact=True)}
        assert len(verdicts) == 1, (number, verdicts)
        states.add(verdicts.pop().state)
    assert states == {OK, CRITICAL, UNKNOWN}, "the documents must be of all kinds"


def test_a_key_of_any_size() -> None:
    """Larger than a record it is never good, wherever it ends."""
    for size in range(0, 70_000, 1_499):
        for inside in ("<state>работает</state>", "<error>Ключ не найден</error><state>работает</state>"):
            element = f"<SenseLock>{inside}{'<e>x</e>' * (size // 8)}</SenseLock>"
            for behind in ("", FAR):
                statement = verdict_on(f"<report>{element}{behind}</report>".encode())
                good = len(element.encode()) <= kodeks_report.REACH and "error" not in inside
                assert statement.state == (OK if good else CRITICAL if size < 8000 else UNKNOWN), (size, inside, statement)


def test_handlers_stay_off_where_no_word_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a large report depends on this."""
    started = []
    usual = kodeks_record.Element.__init__

    def counted(self: kodeks_record.Element, *arguments: object) -> None:
        started.append(arguments)
        usual(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(kodeks_record.Element, "__init__", counted)
    data = b"".join(reports.report("text", size=1_000_000, neighbours=False))
    assert verdict_on(data).state == OK
    assert 10 < len(started) < 6 * kodeks_report.BLOCK / len("<a></a>")
    assert data.count(b"</") > 5 * len(started)


# --- The pinned record ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param("/a", ((("a", 1),), ""), id="root"),
        pytest.param("/a/b[2]/@c", ((("a", 1), ("b", 2)), "c"), id="attribute"),
        pytest.param("/к:отчёт/b-1.x", ((("к:отчёт", 1), ("b-1.x", 1)), ""), id="any name"),
        *(pytest.param(path, None, id=path or "empty")
          for path in ("", "/", "a", "/a/", "//a", "/a/@", "/@a", "/a[0]", "/a[x]", "/a/@b/c", "/a b", "/a[1][2]", "/a\n", "/" + "a" * 3000)),
    ],
)  # fmt: skip
def test_parse_pin(path: str, expected: tuple[object, str] | None) -> None:
    pin = kodeks_record.parse_pin(path)
    assert (pin and (pin.steps, pin.attribute)) == expected


PINNED = "<r><m><s>1</s></m><m x='2'><s>работает</s><s> a <t>b</t> c </s><e/></m></r>"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/r/m/s", "1"), ("/r/m[2]/s", "работает"), ("/r/m[2]/s[2]", " a b  c "), ("/r/m[2]/@x", "2"), ("/r/m[2]/e", ""),
        ("/r/m[3]/s", None), ("/r/m/@x", None), ("/m/s", None), ("/r/m[2]/s/t", None), ("/r/m[2]/s[2]/t", "b"), ("/x", None),
    ],
)  # fmt: skip
def test_pinned_values(path: str, expected: str | None) -> None:
    parser = kodeks_report.ReportParser(kodeks_record.parse_pin(path))
    parser.read([PINNED.encode()])
    assert parser.pinned == expected


@pytest.mark.parametrize(
    ("text", "works", "state"),
    [
        ("работает", kodeks_binding.WORKS, OK), (" [работает] ", kodeks_binding.WORKS, OK), ("SenseLock ключ - [работает]", kodeks_binding.WORKS, OK),
        ("1", "1", OK), ("1", kodeks_binding.WORKS, CRITICAL), ("0", "1", CRITICAL), ("работает", "1", UNKNOWN), ("", "1", UNKNOWN),
        (" ", kodeks_binding.WORKS, UNKNOWN), ("не работает", kodeks_binding.WORKS, CRITICAL), ("SenseLock ключ - [работает", kodeks_binding.WORKS, UNKNOWN),
        *((text, kodeks_binding.WORKS, UNKNOWN) for text in ("Работает", "РАБОТАЕТ.", "ok", "true", "active", "works", "да", "Ключ работает", "SenseLock: работает")),
        *((text, kodeks_binding.WORKS, CRITICAL) for text in ("нет", "false", "inactive", "Ключ не работает", "работает с ошибками", "4111", "ok, error 4111")),
        ("SenseLock ключ - [работает]", "ok", OK), ("да", "ok", UNKNOWN), ("нет", "ok", CRITICAL),
    ],
)  # fmt: skip
def test_judge_pinned(text: str, works: str, state: int) -> None:
    assert kodeks_record.judge_pinned(text, works, "/a").state == state


def test_what_a_pinned_text_is_told_to_be() -> None:
    assert kodeks_record.judge_pinned("Ok", "работает", "/a").sentence == (
        "the pinned record is not the text that works, which is 'работает': 'Ok' (record /a): if it means that the key works, give it as --working")  # fmt: skip
    assert kodeks_record.judge_pinned("4111", "работает", "/a").sentence == f"server reports: 4111: {NO_KEY} (record /a)"


def test_every_path_that_is_shown_can_be_pinned() -> None:
    for schema, shape in reports.SCHEMAS.items():
        data = b"".join(reports.report(schema, size=30_000, decoys=True))
        parser = kodeks_report.ReportParser(exact=True)
        parser.read(kodeks_report.regrouped([data], 1 << 30))
        for candidate in parser.findings.listed:
            pinned = kodeks_report.ReportParser(kodeks_record.parse_pin(candidate.path))
            pinned.read(kodeks_report.regrouped([data], 1 << 30))
            assert pinned.pinned is not None, (schema, candidate)
        record = next(item for item in parser.findings.listed if item.sure and item.statement.state == OK)
        assert record.path.replace("/к:", "/").endswith(shape.path.rpartition("/")[2].replace("c", "c[2]" if schema == "rows" else "c"))


# --- Reports as files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("report_000000_20261123_2008.zip", datetime(2026, 11, 23, 20, 8), id="as documented"),
        pytest.param("/srv/x/report_00_000000_20261123_2008.xml", datetime(2026, 11, 23, 20, 8), id="with a path"),
        pytest.param("C:\\x\\report_1_20280229_0000 (2).zip", datetime(2028, 2, 29), id="a copy"),
        pytest.param("/report_1_20261123_2008/other.zip", None, id="a folder's name"),
        pytest.param("REPORT_00_000000_20261101_1200.XML", datetime(2026, 11, 1, 12), id="capitals"),
        pytest.param("report-00-000000-20261123-2008.xml", datetime(2026, 11, 23, 20, 8), id="dashes"),
        pytest.param("report_1_20261123_200859.zip", datetime(2026, 11, 23, 20, 8), id="with seconds"),
        pytest.param("report_1_20260230_2008.zip", kodeks_report.IMPOSSIBLE, id="no such day"),
        pytest.param("report_1_20261123_2460.zip", kodeks_report.IMPOSSIBLE, id="no such hour"),
        pytest.param("report_1_00000000_0000.zip", kodeks_report.IMPOSSIBLE, id="zeros"),
        pytest.param("report_1_20261123_20081.zip", kodeks_report.IMPOSSIBLE, id="too many digits"),
        pytest.param("report_00_20201231_20261124_1800.xml", datetime(2026, 11, 24, 18), id="a registration number like a date"),
        pytest.param("report_00_20201399_20261124_1800.xml", datetime(2026, 11, 24, 18), id="a registration number like no date"),
        *(pytest.param(f"{before}{told}{after}.xml", datetime(2026, 11, 1, 18), id=f"{before}{told}{after}")
          for before in ("report_00_000000_", "sysinfo-", "отчёт ", "")
          for after in ("", " (2)", "_final")
          for told in ("2026-11-01_1800", "20261101T1800", "20261101T180059", "20261101_18_00", "20261101.1800", "2026.11.01-18.00", "2026-11-01 18-00-59",
                       "202611011800", "20261101180059", "01.11.2026_18-00", "01-11-2026 1800")),
        *(pytest.param(f"{before}{told}.xml", datetime(2026, 11, 1), id=f"{before}{told}")
          for before in ("report_00_000000_", "sysinfo_") for told in ("20261101", "2026-11-01", "01.11.2026", "20261101_x1800")),
        pytest.param("sysinfo_20200101_20261101_1800.xml", datetime(2026, 11, 1, 18), id="two dates, the last one counts"),
        *(pytest.param(name, None, id=name)
          for name in ("report_00_000000.xml", "sysinfo_6.4.5.127.xml", "sysinfo_20261399.xml", "sysinfo_19991231.xml", "120261101.xml", "202611011.xml", "x_20260230.xml")),
        pytest.param("backup_1_20261123_2008.zip", datetime(2026, 11, 23, 20, 8), id="another file"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_made_at(name: str, expected: datetime | float | None) -> None:
    assert kodeks_report.made_at(name) == (expected.timestamp() if isinstance(expected, datetime) else expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("report_00_000000_20261101.xml", datetime(2026, 11, 1, 20, 30), id="on this day"),
        pytest.param("report_00_000000_2026-10-31.xml", datetime(2026, 10, 31), id="later than that"),
        pytest.param("report_00_000000_2026-11-02.xml", datetime(2026, 11, 2), id="before that"),
        pytest.param("report_00_000000_20261101_1800.xml", datetime(2026, 11, 1, 18), id="a time that is told"),
    ],
)
def test_a_day_without_a_time_is_told_by_the_file(name: str, expected: datetime) -> None:
    assert kodeks_report.made_at(name, datetime(2026, 11, 1, 20, 30).timestamp()) == expected.timestamp()


class Named:
    """An answer that has a name."""

    def __init__(self, disposition: str, path: str) -> None:
        self.disposition, self.path = disposition, path

    def header(self, name: str) -> str:
        return self.disposition if name == "content-disposition" else ""


@pytest.mark.parametrize(
    ("disposition", "path", "expected"),
    [
        pytest.param('attachment; filename="report_1_20261101_1800.zip"', "/x", "report_1_20261101_1800.zip", id="as documented"),
        pytest.param("attachment; filename*=UTF-8''report_00_000000_20261101_1800.xml", "/x", "report_00_000000_20261101_1800.xml", id="RFC 6266"),
        pytest.param("filename*=utf-8'ru'report%5F1%5f20261101%5F1800.xml", "/x", "report_1_20261101_1800.xml", id="escaped"),
        pytest.param("filename*=UTF-8''%D0%BE%D1%82%D1%87%D1%91%D1%82.xml", "/x", "отчёт.xml", id="Cyrillic"),
        pytest.param("attachment; filename=a.xml; filename*=UTF-8''report_1_20261101_1800.xml", "/x", "report_1_20261101_1800.xml", id="two, one dated"),
        pytest.param("filename=\"report_1_20261124_1800.xml\"; filename*=UTF-8''report_1_20261101_1800.xml", "/x", "report_1_20261101_1800.xml", id="two dates"),
        pytest.param("filename=\"it's report_1_20261101_1800.xml\"", "/x", "it's report_1_20261101_1800.xml", id="a quote in it"),
        pytest.param("filename='report_1_20261101_1800.xml'", "/x", "report_1_20261101_1800.xml", id="other quotes"),
        pytest.param("filename*0=report_1_20261101_1800; filename*1=.xml", "/x", "report_1_20261101_1800", id="in parts"),
        pytest.param("", "/files/report_1_20261101_1800.xml", "/files/report_1_20261101_1800.xml", id="the address"),
        pytest.param("", "/get?file=report_1_20261101_1800.xml", "/get?file=report_1_20261101_1800.xml", id="the query"),
        pytest.param("filename=report_1_20261124_1800.xml", "/files/report_1_20261101_1800.xml", "/files/report_1_20261101_1800.xml", id="an older address"),
        pytest.param("filename=a.xml", "/sysinfo/si_save_request", "a.xml", id="no date"),
        pytest.param("", "/sysinfo/si_save_request", "", id="nothing"),
        pytest.param("attachment; filename=", "/x", "", id="an empty name"),
    ],
)
def test_name_of(disposition: str, path: str, expected: str) -> None:
    assert check.name_of(cast("kodeks_http.Answer", Named(disposition, path))) == expected


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        (b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"), (b"PK", ""), (b"<?xml", "xml"), (b"\xef\xbb\xbf <a>", "xml"), ("<a>".encode("utf-16"), "xml"),
        ("<a>".encode("utf-16-be"), "xml"), (b"<!-- x --><a/>", "xml"), (b"<HTML>", ""), (b"\r\n<!DOCTYPE html>", ""), (b"<!doctype sysinfo><a/>", "xml"), (b"<!DOCTYPE\n HTML PUBLIC", ""), (b"", ""), (b"text", ""), (b"\0" * 99, ""),
    ],
)  # fmt: skip
def test_form_of(beginning: bytes, expected: str) -> None:
    assert kodeks_report.form_of(beginning) == expected


def test_regrouped() -> None:
    pieces = [b"a" * 3, b"", b"b" * kodeks_report.BLOCK, b"c" * (3 * kodeks_report.BLOCK), b"d"]
    blocks = list(kodeks_report.regrouped(pieces, 1 << 20))
    assert b"".join(blocks) == b"".join(pieces)
    assert {len(block) for block in blocks[:-1]} == {kodeks_report.BLOCK}
    with pytest.raises(runtime.Problem, match="the report is larger than 0 MB: --max-size allows more"):
        list(kodeks_report.regrouped(pieces, 4 * kodeks_report.BLOCK))


# --- Options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kodeks.example", "kodeks.example"), ("192.0.2.1", "192.0.2.1"), ("[2001:db8::1]", "2001:db8::1"), ("::1", "::1"), ("fe80::1%eth0", "fe80::1%eth0"),
        ("my_host", "my_host"), ("host.", "host."), ("кодекс.example", "xn--d1acncrv.example"), ("", None), (" ", None), ("a b", None), ("a/b", None),
        ("a\r\nX: y", None), ("kodeks.example:80", None), ("192.0.2.1:80", None), ("http://a", None), ("user@host", None), ("-x", None), (".x", None),
        ("a" * 254, None), ("кодекс/x", None), ("[::1", None), ("::1%a b", None), (":", None), ("a\0b", None), ("a?b", None), ("a#b", None),
    ],
)  # fmt: skip
def test_host_name(text: str, expected: str | None) -> None:
    if expected is not None:
        assert check.host_name(text) == expected
        return
    with pytest.raises(Exception, match="is no host name or address"):
        check.host_name(text)
