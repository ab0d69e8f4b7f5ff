"""A folder of checks that was copied in part, or to a Python that is too old: one sentence that says what to do, exit 3.

The forms are tried on what the check itself imports first (the deadline), on what it imports last (run), and on the package.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.bare_python import BarePython
from lab.engine_process import open_folder
from lab.run_check import CHECKS, SERVICES, Outcome, command, run_process
from lab.usb_bus import AS_NOBODY

PACKAGE = "kodeks_monitoring"
FIRST, SECOND, LAST = (f"{PACKAGE}/contract/{name}.py" for name in ("deadline", "verdict", "run"))
COPY = "copy the whole checks folder again"


def removed(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def cut(path: Path) -> None:
    text = path.read_bytes()
    path.write_bytes(text[: text.index(b"\ndef ") + 30])


def shortened(path: Path) -> None:
    """Whole statements are missing: Python does not notice."""
    text = path.read_bytes()
    path.write_bytes(text[: max(text.rindex(b"\ndef "), text.rfind(b"\nclass "))])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def closed(path: Path) -> None:
    path.chmod(0)


FORMS: list[tuple[str, str, Callable[[Path], None], str]] = [
    # what is wrong, with which file or folder, how, what the sentence must name besides what to do
    ("only the check was copied", PACKAGE, removed, PACKAGE),
    ("a folder is missing", f"{PACKAGE}/contract", removed, f"{PACKAGE}.contract"),
    ("the first module is missing", FIRST, removed, "deadline"),
    ("the last module is missing", LAST, removed, "run"),
    ("the first module is cut", FIRST, cut, ""),
    ("the last module is cut", LAST, cut, ""),
    ("the first module is cut between functions", FIRST, shortened, ""),
    ("the second module is cut between functions", SECOND, shortened, ""),
    ("the first module is empty", FIRST, emptied, ""),
    ("the last module is empty", LAST, emptied, ""),
    ("the user may not read the package", PACKAGE, closed, ""),
    ("the user may not read a module", LAST, closed, "contract/run.py"),
]


@pytest.fixture
def copied() -> Iterator[Path]:
    """A copy of the checks that any user may read; pytest's own folder is closed to others."""
    folder = open_folder("half-copied.")
    yield Path(shutil.copytree(CHECKS, folder / "checks", ignore=shutil.ignore_patterns("__pycache__")))
    shutil.rmtree(folder)


def as_nobody(check: str, checks: Path, *arguments: str) -> Outcome:
    """A run as a monitoring user: root reads what nobody may."""
    return run_process(command(check, *arguments, python=[*AS_NOBODY, "/usr/bin/python3"], checks=checks))


@pytest.mark.parametrize("check", SERVICES)
@pytest.mark.parametrize(("path", "spoil", "named"), [pytest.param(*row[1:], id=row[0]) for row in FORMS])
def test_one_sentence(check: str, path: str, spoil: Callable[[Path], None], named: str, copied: Path) -> None:
    assert as_nobody(check, copied, "-V").code == 3
    spoil(copied / path)
    outcome = as_nobody(check, copied)
    assert (outcome.code, outcome.breaches()) == (3, [])
    assert outcome.text.startswith(f"{SERVICES[check]} UNKNOWN - ") and outcome.text.count("\n") == 1
    assert named in outcome.text
    assert COPY in outcome.text or (spoil is closed and "check its rights" in outcome.text)


@pytest.mark.parametrize("check", SERVICES)
def test_a_python_that_is_too_old(check: str) -> None:
    outcome = run_process(BarePython("3.6").command(CHECKS, f"/mnt/check_{check}.py"))
    assert (outcome.code, outcome.breaches()) == (3, [])
    assert outcome.text.startswith(f"{SERVICES[check]} UNKNOWN - the check cannot start (Python 3.9 or newer is needed, this is 3.6)")
