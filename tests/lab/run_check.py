"""Runs a check as a user would: as a process of its own, with its real exit code and the bytes it really printed.

Every run is held against the part of the contract that no single expectation states: nothing on stderr, and what
lab/guidelines.py allows on stdout.
"""

from __future__ import annotations

import ast
import atexit
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Iterator, Mapping, Sequence

from lab.guidelines import output_breaches

ROOT = Path(__file__).resolve().parents[2]
CHECKS = ROOT / "checks"
PACKAGE = CHECKS / "kodeks_monitoring"
SERVICES = {path.stem.removeprefix("check_"): path.stem.removeprefix("check_").upper() for path in sorted(CHECKS.glob("check_*.py"))}
"""The checks, by their names in these tests, and the service word that begins each one's line: the file's name in capitals."""

_VERSION = re.search(r'^__version__ = "(.+)"$', (PACKAGE / "__init__.py").read_text("utf-8"), re.MULTILINE)
assert _VERSION is not None
VERSION = _VERSION[1]
PUNCTUAL = 1.5  # seconds past its limit that a run may take on two busy cores; on a quiet machine it is below 0.1


@dataclass(frozen=True)
class Outcome:
    """What an engine sees of one run, and what it does not: stderr and the time it took."""

    code: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def text(self) -> str:
        """stdout as text."""
        return self.stdout.decode("utf-8", "backslashreplace")

    @property
    def line(self) -> str:
        """The first line, which carries the verdict."""
        return self.text.split("\n", 1)[0]

    def breaches(self) -> list[str]:
        """Every breach of the contract that this run committed."""
        stderr = [f"stderr {self.stderr[:200]!r}"] if self.stderr else []
        return [*stderr, *output_breaches(self.stdout, self.code)]


RUSSIAN = ("--language=ru", "--nix")
"""Arguments after which every check, wherever it is installed, says russian_line()."""


def russian_line(check: str) -> str:
    """The output of a check, by its full name, for the arguments RUSSIAN."""
    return f"{SERVICES[check.removeprefix('check_')]} UNKNOWN - неизвестный параметр --nix; список параметров: {check} --help\n"


def imports_of(file: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, by its full name: of `from a import b` both `a` and `a.b`, and
    what it names in import_library("...")."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = file.relative_to(CHECKS).parent.parts[: 1 - node.level or None] if node.level else ()
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and "import_library" in ast.unparse(node.func):
            (argument, *_) = node.args
            assert isinstance(argument, ast.Constant), "a library is named literally, so that the build can know it"
            yield str(argument.value)


def files_of(check: str) -> list[Path]:
    """The file of a check and those of the package that it imports, by itself or through another of them."""
    files = [CHECKS / f"check_{check}.py"]
    for file in files:  # it grows meanwhile
        for name in imports_of(file):
            path = CHECKS / name.replace(".", "/")
            files += [found for found in (path.with_suffix(".py"), path / "__init__.py") if found.exists() and found not in files]
    return files


@cache
def open_checks() -> Path:
    """A copy of the checks, with the templates beside them, that every user may read: a clone is often in /root, where an
    ordinary user may not go."""
    folder = Path(tempfile.mkdtemp(prefix="checks."))
    folder.chmod(0o755)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copytree(ROOT / "templates", folder / "templates")
    return Path(shutil.copytree(CHECKS, folder / "checks", ignore=shutil.ignore_patterns("__pycache__")))


def command(check: str, *arguments: str, python: str | Sequence[str] = sys.executable, checks: Path = CHECKS) -> list[str]:
    """The command line of a check: `command("senselock", "-v")`."""
    interpreter = [python] if isinstance(python, str) else list(python)
    return [*interpreter, str(checks / f"check_{check}.py"), *arguments]


def run_check(
    check: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    python: str | Sequence[str] = sys.executable,
    checks: Path = CHECKS,
    stdin: bytes | None = None,
    cwd: Path | None = None,
    patience: float = 60,
) -> Outcome:
    """Run `check_<check>` and return its outcome; a breach of the contract fails the test at once.

    `env` is merged into the environment; a value of "" removes the variable.
    """
    outcome = run_process(
        command(check, *arguments, python=python, checks=checks), env=env, stdin=stdin, cwd=cwd, patience=patience
    )
    breaches = outcome.breaches()
    assert not breaches, f"{check} {arguments}: {breaches}\n{outcome.text[:2000]}"
    return outcome


def run_process(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    cwd: Path | None = None,
    patience: float = 60,
) -> Outcome:
    """Run any command line and return its outcome, unjudged."""
    environment = {key: value for key, value in {**os.environ, **(env or {})}.items() if value}
    started = time.monotonic()
    done = subprocess.run(
        list(argv),
        env=environment,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        cwd=cwd,
        timeout=patience,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - started)
