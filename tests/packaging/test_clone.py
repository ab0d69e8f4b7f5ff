"""A clone works whatever the git of whoever makes it is set to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from lab.run_check import SERVICES, command, run_process
from lab.tree import copy_of_the_tree

GIT = ["git", "-c", "user.name=clone", "-c", "user.email=clone@example.invalid", "-c", "safe.directory=*"]


def git(folder: Path, *words: str) -> str:
    done = subprocess.run([*GIT, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """These files, committed."""
    folder = copy_of_the_tree(tmp_path_factory.mktemp("repository") / "tree")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "all")
    return folder


def test_a_clone_that_would_make_windows_line_ends_has_those_of_linux(repository: Path, tmp_path: Path) -> None:
    git(tmp_path, "-c", "core.autocrlf=true", "clone", "--quiet", str(repository), "clone")
    clone = tmp_path / "clone"
    ends = [line.split()[1] for line in git(clone, "ls-files", "--eol").splitlines()]
    assert set(ends) <= {"w/lf", "w/-text", "w/none"}, "a text file with a carriage return, or with some"
    for path in git(clone, "ls-files", "-z").split("\0"):
        assert not path or (clone / path).is_dir() or (clone / path).read_bytes() == (repository / path).read_bytes(), path
    for check in SERVICES:
        (program, *_) = command(check, checks=clone / "checks")[1:]
        outcome = run_process(["env", "-i", "PATH=/usr/bin", program, "-V"])
        assert (outcome.code, outcome.text.split(" ")[0], outcome.stderr) == (3, f"check_{check}", b"")


def test_without_the_attributes_it_has_not(repository: Path, tmp_path: Path) -> None:
    """The test above can fail."""
    git(tmp_path, "clone", "--quiet", str(repository), "bare")
    git(tmp_path / "bare", "rm", "--quiet", ".gitattributes")
    git(tmp_path / "bare", "commit", "--quiet", "--message", "no attributes")
    git(tmp_path, "-c", "core.autocrlf=true", "clone", "--quiet", str(tmp_path / "bare"), "clone")
    program = tmp_path / "clone/checks" / f"check_{next(iter(SERVICES))}.py"
    assert run_process(["env", "-i", "PATH=/usr/bin", str(program), "-V"]).code == 127
