"""The help of every check: short, in groups, with examples that the check itself accepts."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

WIDTH = 110


@pytest.fixture
def parser(check: str) -> argparse.ArgumentParser:
    made = importlib.import_module(check).options()
    assert isinstance(made, argparse.ArgumentParser)
    return made


def examples(parser: argparse.ArgumentParser) -> list[str]:
    heading, _, text = (parser.epilog or "").partition("\n")
    assert heading == "examples:"
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_there_are_a_few_examples_of_this_check(check: str, parser: argparse.ArgumentParser) -> None:
    found = examples(parser)
    assert 2 <= len(found) <= 4
    assert {line.split()[0] for line in found} == {check}
    assert len(set(found)) == len(found)


def test_the_examples_are_accepted(parser: argparse.ArgumentParser, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sections = re.findall(r"--extra-opts=(\w+)", parser.epilog or "")
    (tmp_path / "plugins.ini").write_text("".join(f"[{section}]\n" for section in sections))
    monkeypatch.setenv("MP_CONFIG_FILE", str(tmp_path / "plugins.ini"))
    for line in examples(parser):
        values = parser.parse(shlex.split(line)[1:])  # type: ignore[attr-defined]
        assert not values.help and not values.version


def test_every_option_is_explained_in_a_group_of_its_own(parser: argparse.ArgumentParser) -> None:
    groups = {group.title: group._group_actions for group in parser._action_groups if group._group_actions}
    assert len(groups) >= 2
    assert "options" not in groups and "optional arguments" not in groups, "argparse's own group is no heading"
    grouped = [action for actions in groups.values() for action in actions]
    assert sorted(map(id, grouped)) == sorted(map(id, parser._actions))
    assert max(map(len, groups.values())) <= 12, "a longer list is read by nobody"
    for action in grouped:
        assert action.help, action.option_strings
        assert any(name.startswith("--") for name in action.option_strings), "every option has a long name"


def test_it_fits_a_terminal(parser: argparse.ArgumentParser) -> None:
    text = parser.format_help()
    assert max(map(len, text.splitlines())) <= WIDTH
    assert len(text.splitlines()) <= 75, "two screens"


def test_defaults_that_are_told_are_the_true_ones(parser: argparse.ArgumentParser) -> None:
    """A default in help text stands in brackets at its end, as argparse has it."""
    for action in parser._actions:
        if isinstance(action.default, str) and action.help:
            assert f"({action.default}" in action.help, f"{action.option_strings}: {action.default!r} is not in {action.help!r}"
