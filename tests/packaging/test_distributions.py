"""Wheel and source distribution: complete, and the same bytes from every machine with these versions of the tools."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.run_check import CHECKS, ROOT, RUSSIAN, SERVICES, run_process, russian_line
from lab.tree import copy_of_the_tree

pytestmark = pytest.mark.xdist_group("packaging-debian")

FILES = {
    file.relative_to(CHECKS).as_posix(): file
    for file in CHECKS.rglob("*")
    if file.is_file() and not {"__pycache__", ".mypy_cache"} & set(file.parts)
}
"""Everything that an installation is: programs, package, translations."""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory, build: Callable[..., Path]) -> Path:
    return build(tmp_path_factory.mktemp("python"), "python")


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def test_the_wheel_holds_every_file_and_a_command_a_program(packages: Path) -> None:
    with zipfile.ZipFile(only(packages, "*-py3-none-any.whl")) as wheel:
        names = wheel.namelist()
        assert {name for name in names if ".dist-info/" not in name} == FILES.keys()
        for name, file in FILES.items():
            assert wheel.read(name) == file.read_bytes()
        (entry_points,) = (name for name in names if name.endswith("/entry_points.txt"))
        commands = {line.split(" ")[0] for line in wheel.read(entry_points).decode().splitlines() if " = " in line}
        assert commands == {file.stem for file in CHECKS.glob("*.py")} >= {f"check_{name}" for name in SERVICES}
        assert any(name.endswith("LICENSE") for name in names)


def test_the_source_distribution_holds_what_it_is_built_from(packages: Path) -> None:
    with tarfile.open(only(packages, "*.tar.gz")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert {(member.uid, member.gid, member.uname, member.gname) for member in archive} == {(0, 0, "", "")}
        assert len({member.mtime for member in archive}) == 1
    assert names >= {"setup.cfg", "setup.py", "pyproject.toml", "LICENSE", "README.md", *(f"checks/{name}" for name in FILES)}


def test_built_elsewhere_they_are_the_same_bytes(packages: Path, tmp_path: Path, build: Callable[..., Path]) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "dist").mkdir()
    elsewhere = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "HOME": str(tmp_path / "home"), "PYTHONHASHSEED": "7"}
    again = build(tmp_path / "dist", "python", env=elsewhere, umask=0o077)
    assert {file.name: file.read_bytes() for file in again.iterdir()} == {file.name: file.read_bytes() for file in packages.iterdir()}


def test_the_wheel_installs_the_commands(packages: Path, tmp_path: Path, check: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--prefix", str(tmp_path)]
    subprocess.run([*pip, str(only(packages, "*.whl"))], check=True)
    site = only(tmp_path, "lib/python3*/site-packages")
    outcome = run_process([str(tmp_path / "bin" / check), "-V"], env={"PYTHONPATH": str(site)})
    assert (outcome.code, outcome.stderr) == (3, b"")
    assert outcome.text.startswith(f"{check} ")
    assert run_process([str(tmp_path / "bin" / check), *RUSSIAN], env={"PYTHONPATH": str(site)}).text == russian_line(check)


def test_a_python_without_the_tools_makes_an_environment_for_them(tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path / "tree")
    done = subprocess.run(["/usr/bin/python3", "-I", tree / "packaging/build.py"], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tree / ".venv/packaging/bin/shtab").exists()
    assert {file.name for file in (tree / "dist").iterdir()} == {f"check_{name}" for name in SERVICES}


def test_nothing_newer_than_python_3_9_is_used() -> None:
    """What the runs on a real 3.9 do not reach: every name and every piece of syntax, by vermin's tables."""
    done = subprocess.run(
        [Path(sys.executable).with_name("vermin"), "--target=3.9-", "--no-tips", "--no-config-file", "--violations", CHECKS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Minimum required versions: 3." in done.stdout
