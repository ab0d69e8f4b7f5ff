"""The Russian of the checks: the catalogue holds what the code says, and nothing else; it is Russian; it cannot do harm.

tests/lab/catalogue.py brings the catalogue up to date.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kodeks_monitoring.contract import language
from kodeks_monitoring.contract.language import _, ngettext
from kodeks_monitoring.contract.verdict import MAX_OUTPUT, OK, Verdict
from lab import catalogue
from lab.catalogue import NAMES, english_of, forms_of
from lab.run_check import CHECKS

RUSSIAN = list(catalogue.messages_of(catalogue.stored()))
HOW = "run: PYTHONPATH=checks:tests .venv/bin/python tests/lab/catalogue.py"


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"\{\w*\}", text))


@pytest.fixture
def russian() -> Iterator[None]:
    language.choose(["--language=ru"])
    yield
    language.choose(["--language=en"])


# --- The catalogue ----------------------------------------------------------------------------------------------------


def test_every_message_is_in_the_catalogue_and_every_entry_is_said() -> None:
    assert {message.id for message in RUSSIAN} == {message.id for message in catalogue.messages_of(catalogue.extracted())}, HOW


def test_every_message_is_translated() -> None:
    assert [message.id for message in RUSSIAN if message.fuzzy or not all(forms_of(message))] == []
    assert {len(forms_of(message)) for message in RUSSIAN if message.pluralizable} == {3}


def test_the_catalogue_is_written_by_its_program() -> None:
    assert catalogue.written(catalogue.stored()).decode() == catalogue.PO.read_text("utf-8"), HOW


def test_the_compiled_catalogue_is_that_of_the_source() -> None:
    assert catalogue.compiled(catalogue.stored()) == catalogue.MO.read_bytes(), HOW


@pytest.mark.parametrize("message", RUSSIAN, ids=lambda message: str(message.id)[:60])
def test_a_translation(message: Any) -> None:
    english = english_of(message)
    for form in forms_of(message):
        assert placeholders(form) == placeholders(english[-1])
        assert {"{}", "{0}"}.isdisjoint(placeholders(form))
        options = set(re.findall(r"(?<![\w-])--?[a-z-]+\b", " ".join(english)))
        assert set(re.findall(r"(?<![\w-])--?[a-z-]+\b", form)) - {"--location"} <= options
        words = re.findall(r"[A-Za-z_]+", re.sub(r"\{\w+\}|--[a-z-]+|/[\w./-]+|KODEKS_[A-Z]+|(?<!\w)-\w+", " ", form))
        assert [word for word in words if len(word) > 1 and word not in NAMES] == []
        assert (form[0].isspace(), form[-1].isspace()) == (english[-1][0].isspace(), english[-1][-1].isspace())


def test_no_name_is_kept_that_no_sentence_needs() -> None:
    said = " ".join(form for message in RUSSIAN for form in forms_of(message))
    assert sorted(name for name in NAMES if not re.search(rf"(?<![A-Za-z_]){name}(?![A-Za-z_])", said)) == []


# --- The code ---------------------------------------------------------------------------------------------------------


def calls(name: str) -> Iterator[tuple[str, ast.Call]]:
    for file in sorted(CHECKS.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
                yield f"{file.name}:{node.lineno}", node


def test_a_text_is_one_literal_or_one_that_was_marked() -> None:
    """A choice between two texts, a sum or an f-string cannot be extracted."""
    odd = [place for name in ("_", "N_") for place, call in calls(name) if isinstance(call.args[0], (ast.IfExp, ast.BinOp, ast.JoinedStr))]
    assert odd == []


def test_every_literal_is_extracted() -> None:
    """babel does not look into f-strings before Python 3.12."""
    literals = {call.args[0].value for name in ("_", "N_") for _place, call in calls(name) if isinstance(call.args[0], ast.Constant)}
    assert literals - {message.id for message in RUSSIAN} == set()


def test_a_template_gets_as_many_values_as_it_has_names() -> None:
    for place, call in calls("_"):
        if isinstance(call.args[0], ast.Constant) and not any(isinstance(value, ast.Starred) for value in call.args):
            names = set(re.findall(r"\{\w+\}", str(call.args[0].value)))
            assert (place, len(call.args) - 1) == (place, len(names))
    for place, call in calls("ngettext"):
        one, many = (set(re.findall(r"\{\w+\}", ast.literal_eval(text))) for text in call.args[:2])
        assert (place, one) == (place, many)
        assert (place, len(call.args) - 3) == (place, len(many - {"{n}"}))


def test_nobody_uses_the_name_for_something_else() -> None:
    """`for _ in ...` makes it a local variable: the next sentence of that function would be a call of a number."""
    names = [f"{file.name}:{node.lineno}" for file in sorted(CHECKS.rglob("*.py")) for node in ast.walk(ast.parse(file.read_text("utf-8")))
             if isinstance(node, ast.Name) and node.id == "_" and not isinstance(node.ctx, ast.Load)]  # fmt: skip
    assert names == []


def sentences_that_are_not_spoken() -> Iterator[str]:
    """Texts given to what ends as a sentence, by their places."""
    for name, at in (("Problem", 0), ("Finding", 1), ("bad_value", 1), ("ArgumentTypeError", 0)):
        for file in sorted(CHECKS.rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                called = isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name
                if called and len(node.args) > at and isinstance(node.args[at], (ast.Constant, ast.JoinedStr)):  # type: ignore[attr-defined]
                    argument = node.args[at]  # type: ignore[attr-defined]
                    pieces = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
                    text = "".join(str(piece.value) for piece in pieces if isinstance(piece, ast.Constant))
                    if re.search("[a-z]{3}", text):
                        yield f"{file.name}:{node.lineno}: {text}"  # type: ignore[attr-defined]


def test_every_sentence_is_spoken() -> None:
    assert [*sentences_that_are_not_spoken()] == []


# --- How it speaks ----------------------------------------------------------------------------------------------------

DAYS = ((1, "1 день"), (2, "2 дня"), (4, "4 дня"), (5, "5 дней"), (11, "11 дней"), (14, "14 дней"), (21, "21 день"), (22, "22 дня"), (111, "111 дней"))


@pytest.mark.parametrize(("days", "shown"), DAYS)
def test_numbers_have_their_forms(days: int, shown: str, russian: None) -> None:
    said = ngettext("license of {title} ends in {n} day ({date})", "license of {title} ends in {n} days ({date})", days, "VirtualHere", "2027-01-31")
    assert said == f"лицензия на программу проброса VirtualHere закончится через {shown} (2027-01-31)"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_english_has_two_forms(number: int) -> None:
    said = ngettext("{n} SenseLock key: {keys}", "{n} SenseLock keys: {keys}", number, "x")
    assert said == f"{number} SenseLock key{'' if number == 1 else 's'}: x"


def test_a_value_is_not_read_as_a_template(russian: None) -> None:
    assert _("{device} {state}", "{state}", "{device}") == "{state} {device}"


def test_what_is_not_in_the_catalogue_stays(russian: None) -> None:
    assert (_(""), _("Device SenseLock not found"), _("{odd}")) == ("", "Device SenseLock not found", "{odd}")


CHOICES = [
    # arguments, KODEKS_LANGUAGE, whether it is Russian
    ([], None, False),
    ([], "ru", True),
    ([], "RU", True),
    ([], "", False),
    ([], "en", False),
    ([], "ru_RU.UTF-8", False),
    ([], "../ru", False),
    (["--language", "ru"], None, True),
    (["-v", "--language=ru", "-w", "1:"], None, True),
    (["--language=en"], "ru", False),
    (["--language=ru", "--language=en"], None, False),
    (["--language"], "ru", True),
    (["--serial", "--language"], None, False),
    (["--device", "a --language=ru"], None, False),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "variable", "is_russian"), CHOICES, ids=str)
def test_choice(arguments: list[str], variable: str | None, is_russian: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KODEKS_LANGUAGE", variable or "")
    if variable is None:
        monkeypatch.delenv("KODEKS_LANGUAGE")
    monkeypatch.setenv("LANG", "ru_RU.UTF-8")
    monkeypatch.setenv("LANGUAGE", "ru")
    try:
        language.choose(arguments)
        assert _("no answer in time") == ("ответ не пришёл вовремя" if is_russian else "no answer in time")
    finally:
        language.choose(["--language=en"])


@pytest.mark.parametrize("room", range(1, 12))
def test_a_russian_line_is_cut_between_characters(room: int) -> None:
    numbers = ("x" * (3000 + room),)  # Russian letters have two bytes: each room is odd or even
    output = Verdict(OK, "ключ не работает, " * 400, numbers).render("SENSELOCK")
    assert len(output) in (MAX_OUTPUT, MAX_OUTPUT - 1)
    assert output.decode("utf-8").partition(" | ")[0].endswith("...")


@pytest.mark.parametrize("encoding", ["cp1251", "cp866", "ascii"])
def test_a_terminal_of_another_code_page(encoding: str) -> None:
    output = Verdict(OK, "ключ работает").render("SENSELOCK", encoding)
    assert output == "SENSELOCK OK - ключ работает\n".encode(encoding, "backslashreplace")


def test_a_sample_of_each_file_is_found(tmp_path: Path) -> None:
    """The extraction itself: a text in _, in N_ and in ngettext."""
    (tmp_path / "a.py").write_text('X = N_("a {b}")\ndef f():\n    return _("c " "d", 1), ngettext("one", "many", 2)\n')
    assert [message.id for message in catalogue.messages_of(catalogue.extracted(tmp_path))] == ["a {b}", "c d", ("one", "many")]
