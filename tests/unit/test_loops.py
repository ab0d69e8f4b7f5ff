"""What the loops rest on: the list of engines, and how a test's needs are read from the test itself."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import FunctionType

import pytest
from lab.engine_folders import EVERY_FOLDER, NEWEST, Folder, Row, rows, versions_of
from lab.evening import Evening
from lab.forwarder_tools import forwarder_daemon
from lab.libusb_worlds import libusb_missing
from lab.needs import is_seen_everywhere, needs_of
from lab.run_check import ROOT
from lab.usb_bus import UsbBus

# --- The list of engines --------------------------------------------------------------------------------------


def test_a_folder_has_one_release_and_every_engine_once() -> None:
    for name in {row.folder for row in rows()} - {EVERY_FOLDER}:
        own = [row for row in rows() if row.folder == name]
        assert len({row.release for row in own}) == 1, name
        assert len({row.engine for row in own}) == len(own), name
        assert all(row.packages for row in own), name


def test_the_newest_engines_are_used_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = {engine: versions_of(engine) for engine in ("nagios", "icinga2", "zabbix")}
    monkeypatch.setenv("KODEKS_ENGINES", NEWEST)
    newest = {engine: versions_of(engine) for engine in usual}
    assert all(len(versions) == 2 for versions in usual.values()) and all(len(versions) == 1 for versions in newest.values())
    assert newest == {engine: (Folder(NEWEST).version_of(engine),) for engine in usual}


def test_a_folder_of_another_list_is_not_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.engine_folders.PLACE", tmp_path)
    folder = Folder("trixie")
    folder.root.mkdir()
    assert not folder.is_complete()
    folder.stamp.write_text(repr(folder.rows))
    assert folder.is_complete()
    folder.stamp.write_text(repr(folder.rows[:-1]))
    assert not folder.is_complete()


def test_the_first_hour_changes_a_sentence_that_is_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    ((old, new, path),) = re.findall(r"(?m)^sed -i 's/([^/]+)/([^/]+)/' (\S+)$", text)
    checks = (ROOT / path).read_text("utf-8")
    assert old in checks or new in checks  # or: somebody is at it


def test_nobody_installs_an_engine_on_this_machine() -> None:
    installed = (ROOT / "tests/packages.txt").read_text("utf-8").split()
    engines = {package.removeprefix("+") for row in rows() if row.folder != EVERY_FOLDER for package in row.packages}
    shared = {"bash-completion", "man-db"}  # for building the packages here, for trying them there
    assert engines & set(installed) == shared


def test_the_list_alone_names_engine_packages() -> None:
    """Of the scripts and labs; the packages' tests and the READMEs name what an operator installs."""
    wanted = {row.packages[0] for row in rows() if row.engine in ("nagios", "nrpe", "icinga2", "zabbix")}
    for path in [*(ROOT / "tests").glob("*.sh"), *(ROOT / "tests").glob("*.py"), *(ROOT / "tests/lab").glob("*.sh")]:
        assert not [name for name in wanted if name in path.read_text("utf-8")], path


def test_no_suite_is_repeated() -> None:
    texts = [*(ROOT / "tests").glob("*.sh"), *(ROOT / "tests").glob("*.txt"), ROOT / "setup.cfg"]
    assert [path.name for path in texts if re.search(r"reruns|rerunfailures|--lf\b|once more", path.read_text("utf-8"))] == []


@pytest.mark.parametrize("script", sorted((ROOT / "tests").glob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_shell(script: Path) -> None:
    assert subprocess.run(["sh", "-n", script], capture_output=True, check=False).stderr == b""


# --- What a test needs ----------------------------------------------------------------------------------------

DEBIANS = ["/usr/bin/python3", "-I"]


class Bench(Row):
    """A class of a test whose method needs something."""

    def sit(self) -> None:
        """It uses the list above."""
        print(DEBIANS)


def needs_nothing() -> None:
    print(Path, ROOT, "usbip")


def uses_a_class() -> None:
    with UsbBus():
        pass


def uses_a_helper() -> None:
    uses_a_class()


def uses_a_nested_function() -> None:
    def inner() -> Evening:
        return Evening(Path("x"))

    inner()


def uses_a_constant() -> None:
    print(DEBIANS)


def uses_a_word() -> None:
    print(["setpriv", "--reuid=65534"])


def uses_a_method() -> None:
    Bench("", "", "", "", ()).sit()


NEEDS: list[tuple[Callable[[], None], dict[str, object], list[FunctionType], list[str]]] = [
    # the test's function, its values, its fixtures, what it needs
    (needs_nothing, {}, [], []),
    (uses_a_class, {}, [], ["umockdev"]),
    (uses_a_helper, {}, [], ["umockdev"]),
    (uses_a_nested_function, {}, [], ["umockdev"]),
    (uses_a_constant, {}, [], ["Debian's Python packages"]),
    (uses_a_word, {}, [], ["root"]),
    (uses_a_method, {}, [], ["Debian's Python packages"]),
    (needs_nothing, {"run": lambda folder: libusb_missing(folder)}, [], ["a compiler"]),
    (needs_nothing, {"row": ("id", {"argv": ["usbip --tcp-port 1 list"]})}, [], ["a Debian package"]),
]


@pytest.mark.parametrize(("function", "values", "fixtures", "needs"), NEEDS)
def test_needs(function: FunctionType, values: dict[str, object], fixtures: list[FunctionType], needs: list[str]) -> None:
    assert needs_of(function, values, fixtures) == needs


def starts_a_daemon() -> None:
    with forwarder_daemon("usbsrvd"):
        pass


def test_two_daemons_of_one_name_are_not_started_at_once() -> None:
    for function, fixtures, seen in ((starts_a_daemon, [], True), (needs_nothing, [starts_a_daemon], True), (uses_a_class, [], False)):
        assert isinstance(function, FunctionType)
        assert is_seen_everywhere(function, {}, [fixture for fixture in fixtures if isinstance(fixture, FunctionType)]) == seen


def test_a_fixture_is_part_of_the_test() -> None:
    for fixture in (uses_a_class, uses_a_helper):
        assert isinstance(fixture, FunctionType) and isinstance(needs_nothing, FunctionType)
        assert needs_of(needs_nothing, {}, [fixture]) == ["umockdev"]
