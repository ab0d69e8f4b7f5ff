"""The README is true and short: two languages alike, its pictures up to date, its table of the checks as the checks are."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pictures
import pytest
from lab.markdown import Page, drift
from lab.run_check import CHECKS, ROOT

ENGLISH, RUSSIAN = Page(ROOT / "README.md"), Page(ROOT / "README.ru.md")
CHECK_NAMES = ("check_senselock", "check_usb_redirector", "check_kodeks_xml")

# --- Two languages ----------------------------------------------------------------------------------------------------


def test_both_languages_are_alike() -> None:
    assert drift(ENGLISH, RUSSIAN) == []


def test_each_leads_to_the_other_at_its_top() -> None:
    assert ENGLISH.text.split("\n")[2] == "[По-русски](README.ru.md)"
    assert RUSSIAN.text.split("\n")[2] == "[In English](README.md)"


@pytest.mark.parametrize(("page", "least", "most"), [(ENGLISH, 0.0, 0.05), (RUSSIAN, 0.6, 1.0)], ids=["en", "ru"])
def test_each_is_in_its_language_and_short(page: Page, least: float, most: float) -> None:
    prose = re.sub(r"(?s)^```.*?^```|`[^`]*`|\]\([^)]*\)", "", page.text, flags=re.MULTILINE)
    cyrillic = len(re.findall("[А-Яа-яЁё]", prose)) / len(re.findall(r"[^\W\d_]", prose))
    assert least <= cyrillic <= most
    assert len(page.text.splitlines()) < 250


A = "# A\n\n[x](README.ru.md)\n\n## B\n\n```sh\nls\n```\n\n| `-w` | c |\n|---|---|\n| 1 | 2 |\n"


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("## B", "### B", "levels of headings"),
        ("## B", "B", "levels of headings"),
        ("ls\n", "ls -l\n", "code blocks"),
        ("```sh", "```", "code blocks"),
        ("| 1 | 2 |\n", "", "rows and columns of tables"),
        ("| `-w` | c |\n|---|---|\n| 1 | 2 |", "| `-w` |\n|---|\n| 1 |", "rows and columns of tables"),
        ("`-w`", "`-c`", "words quoted in tables"),
        ("README.ru.md", "SECURITY.md", "links"),
        ("[x](README.ru.md)", "x", "links"),
    ],
)
def test_drift_is_seen(old: str, new: str, what: str, tmp_path: Path) -> None:
    assert old in A
    left, right = tmp_path / "left.md", tmp_path / "right.md"
    left.write_text(A, "utf-8")
    right.write_text(A.replace(old, new), "utf-8")
    assert drift(Page(left), Page(right))[0].startswith(f"{what}: ")
    right.write_text(A.replace("README.ru.md", "README.md").replace("# A", "# А"), "utf-8")
    assert drift(Page(left), Page(right)) == []


# --- The checks -------------------------------------------------------------------------------------------------------


def parser_of(check: str) -> argparse.ArgumentParser:
    """The option parser of a check."""
    parser = importlib.import_module(check).options()
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def column(check: str) -> dict[str, str]:
    """What the table of the checks says about one of them, by the first cell of the row."""
    (table,) = [table for table in ENGLISH.tables if table[0][1:] == list(CHECK_NAMES)]
    place = table[0].index(check)
    return {row[0]: row[place] for row in table[1:]}


@pytest.mark.parametrize("check", CHECK_NAMES)
def test_the_table_names_options_that_the_check_has(check: str) -> None:
    options = {name for action in parser_of(check)._actions for name in action.option_strings}
    named = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", " ".join(re.findall("`([^`]+)`", " ".join(column(check).values())))))
    assert len(named) >= 4
    assert named - options == set()


@pytest.mark.parametrize("check", CHECK_NAMES)
def test_the_table_tells_the_true_thresholds(check: str) -> None:
    shown = dict(re.findall(r"`(-[wc]) ([^`]+)`", " ".join(column(check).values())))
    defaults = {action.option_strings[0]: action.default for action in parser_of(check)._actions if action.option_strings[0] in ("-w", "-c")}
    assert shown == {name: default for name, default in defaults.items() if default is not None}


@pytest.mark.parametrize("check", CHECK_NAMES)
def test_what_every_check_knows(check: str) -> None:
    sentence = re.search(r"`-t SECONDS\[:STATE\]`, default (\d+)\), know `([^`]+)`", ENGLISH.text)
    assert sentence
    (timeout,) = [action for action in parser_of(check)._actions if "--timeout" in action.option_strings]
    assert f"({sentence[1]}:" in str(timeout.help)
    (every,) = [group for group in parser_of(check)._action_groups if group.title == "every check"]
    names = {name for action in every._group_actions for name in action.option_strings}
    assert set(sentence[2].split()) <= names
    assert len(sentence[2].split()) == len(every._group_actions)


def test_every_check_has_its_column() -> None:
    assert sorted(CHECK_NAMES) == sorted(path.stem for path in CHECKS.glob("check_*.py"))


# --- The picture of the chain -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", pictures.LANGUAGES)
def test_the_chain_is_drawn_by_its_program(language: str) -> None:
    made = pictures.chain(language)
    assert pictures.chain_file(language).read_text("utf-8") == made, "run: PYTHONPATH=checks:tests .venv/bin/python tests/pictures.py chain"
    assert {place.watch for place in pictures.CHAIN if place.watch.startswith("check_")} == set(CHECK_NAMES)
