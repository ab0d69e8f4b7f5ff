"""Man pages and shell completion, made from the option parsers: they render without complaint and miss no option."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.run_check import ROOT, SERVICES


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manual")
    subprocess.run([sys.executable, ROOT / "packaging/manual.py", folder], check=True, cwd="/", env={**os.environ, "SOURCE_DATE_EPOCH": "1764000000", "TZ": "Pacific/Kiritimati"})
    return folder


def options_of(check: str) -> set[str]:
    return {name for action in importlib.import_module(check).options()._actions for name in action.option_strings}


def test_the_man_page_renders_and_names_every_option(check: str, generated: Path) -> None:
    page = generated / f"{check}.1"
    lines = subprocess.run(["groff", "-Kutf8", "-man", "-Tutf8", "-ww", "-z", page], capture_output=True, text=True, check=True)
    assert lines.stderr == ""
    shown = subprocess.run(["man", "-l", page], capture_output=True, text=True, check=True, env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8"})
    assert shown.stderr == ""
    assert re.search(rf"^NAME\n +{check} +‐|^NAME\n +{check} +-", shown.stdout, re.M)
    for heading in ("SYNOPSIS", "DESCRIPTION", "EVERY CHECK", "EXAMPLES", "EXIT STATUS"):
        assert f"\n{heading}\n" in shown.stdout
    assert set(re.findall(r"(?<![\w-])(--?[a-zA-Z][\w-]*)", shown.stdout)) >= options_of(check)


def test_the_examples_of_the_man_page_can_be_copied(check: str, generated: Path) -> None:
    shown = subprocess.run(["man", "-l", generated / f"{check}.1"], capture_output=True, text=True, check=True, env={**os.environ, "MANWIDTH": "200", "LC_ALL": "C.UTF-8"})
    lines = [line.strip() for line in shown.stdout.splitlines()]
    for example in importlib.import_module(check).options().epilog.splitlines()[1:]:
        assert example.strip() in lines


def completed(file: Path, *words: str) -> set[str]:
    """What bash offers for the last of these words, with the completion file loaded as bash-completion loads it."""
    script = (
        '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        'complete -p "${1##*/}" >/dev/null || exit 9; function=$(complete -p "${1##*/}" | sed "s/.*-F \\([^ ]*\\).*/\\1/"); '
        '"$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "--norc", "-c", script, "bash", file, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return set(done.stdout.split())


def test_completion_offers_every_option(check: str, generated: Path) -> None:
    file = generated / "completions" / check
    options = options_of(check)
    assert completed(file, check, "-") == options
    assert completed(file, f"/usr/lib/nagios/plugins/{check}", "-v", "--") == {name for name in options if name.startswith("--")}


def choices() -> Iterator[tuple[str, str, frozenset[str]]]:
    for check in (f"check_{name}" for name in SERVICES):
        for action in importlib.import_module(check).options()._actions:
            if action.choices:
                yield check, action.option_strings[-1], frozenset(map(str, action.choices))


def test_completion_offers_the_words_an_option_takes(generated: Path) -> None:
    found = list(choices())
    assert {option for _, option, _ in found} >= {"--location"}
    for check, option, words in found:
        assert completed(generated / "completions" / check, check, option, "") == words, option
        first = min(words)
        assert first in completed(generated / "completions" / check, check, option, first[:2])


def test_the_pages_do_not_change_from_day_to_day(generated: Path, check: str) -> None:
    assert '"2025\\-11\\-24"' in (generated / f"{check}.1").read_text().splitlines()[0]
