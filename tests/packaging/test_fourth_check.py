"""A check is added by one file: builds, packages and the tests of every check take it up, and nothing else is changed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from lab.run_check import ROOT, SERVICES, Outcome, run_process
from lab.tree import copy_of_the_tree

pytestmark = pytest.mark.xdist_group("packaging-debian")

CHECK = "check_apples"
LINE = "APPLES OK - 3 apples in the basket | apples=3;;1:;0 basket_state=0\n"
CHECKED_ALIKE = ["tests/functional/test_contract.py", "tests/hostile/test_half_copied.py", "tests/unit/test_house.py",
                 "tests/packaging/test_help.py"]  # fmt: skip
"""The tests that find the checks by a glob; the copy's own are run there."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this project with one file more."""
    folder = copy_of_the_tree(tmp_path_factory.mktemp("fourth") / "tree")
    folder.parent.chmod(0o755)
    shutil.copy(ROOT / "tests/lab/fourth_check.py", folder / "checks" / f"{CHECK}.py")
    return folder


@pytest.fixture(scope="module")
def dist(tree: Path) -> Path:
    """Everything that is built from it."""
    done = subprocess.run([sys.executable, tree / "packaging/build.py", "all"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return tree / "dist"


def said(outcome: Outcome) -> tuple[int, str]:
    assert outcome.breaches() == [], outcome.text
    return outcome.code, outcome.text


def test_the_one_file_builds_have_it(dist: Path) -> None:
    assert {path.name for path in dist.glob("check_*")} == {CHECK, *(f"check_{name}" for name in SERVICES)}
    assert said(run_process(["/usr/bin/python3", "-IS", str(dist / CHECK)])) == (0, LINE)
    with zipfile.ZipFile(dist / CHECK) as archive:
        held = {name.partition("/")[0] for name in archive.namelist()}
    assert "nagiosplugin" in held and "usb" not in held, "it imports no USB"


def test_the_wheel_installs_its_command(dist: Path, tmp_path: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--prefix", str(tmp_path), str(wheel)]
    subprocess.run(pip, check=True)
    (site,) = tmp_path.glob("lib/python3*/site-packages")
    assert said(run_process([str(tmp_path / "bin" / CHECK)], env={"PYTHONPATH": str(site)})) == (0, LINE)


def test_the_debian_package_has_its_places(dist: Path) -> None:
    (package,) = dist.glob("*.deb")
    listed = subprocess.run(["dpkg-deb", "--contents", package], capture_output=True, text=True, check=True).stdout
    share, plugins = "/usr/share/monitoring-plugins-kodeks/checks", "/usr/lib/nagios/plugins"
    for place in (f"{share}/{CHECK}.py", f"{plugins}/{CHECK}", f"{plugins}/kodeks/{CHECK}.py",
                  f"/usr/share/man/man1/{CHECK}.1.gz", f"/usr/share/bash-completion/completions/{CHECK}"):  # fmt: skip
        assert re.search(rf" \.{re.escape(place)}(?: -> .*)?$", listed, re.MULTILINE), place


@pytest.mark.parametrize("tests", CHECKED_ALIKE)
def test_the_tests_of_every_check_try_it_too(tests: str, tree: Path) -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-k", "apples", tests]
    done = subprocess.run(words, cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    passed = re.search(r"^(\d+) passed", done.stdout.splitlines()[-1])
    assert passed and int(passed[1]) >= 2, done.stdout[-4000:]


def test_the_type_checker_and_ruff_agree(tree: Path) -> None:
    """The example is as strict as the others, so that it can be copied."""
    tools = Path(sys.executable).parent
    for words in (["ruff", "check", "--no-cache", f"checks/{CHECK}.py"], ["mypy", "--cache-dir", "/dev/null", f"checks/{CHECK}.py"]):
        done = subprocess.run([tools / words[0], *words[1:]], cwd=tree, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
