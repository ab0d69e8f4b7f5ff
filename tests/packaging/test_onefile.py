"""The one-file builds: what is in them, that they are the same on every machine, and that a bare Python runs them."""

from __future__ import annotations

import os
import re
import socket
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.bare_python import BarePython
from lab.reports import WORKS, report
from lab.run_check import (
    CHECKS,
    PACKAGE,
    ROOT,
    RUSSIAN,
    SERVICES,
    VERSION,
    Outcome,
    files_of,
    imports_of,
    run_process,
    russian_line,
)
from lab.usb_bus import UsbBus

pytestmark = pytest.mark.xdist_group("packaging-onefile")

DEBIAN_PYTHON = "/usr/bin/python3"
DISTRIBUTIONS = {"nagiosplugin": "nagiosplugin", "usb": "pyusb", "psutil": "psutil"}


def service_of(check: str) -> str:
    """The word that a check's line begins with, by the check's full name."""
    return SERVICES[check.removeprefix("check_")]


def judged(outcome: Outcome) -> tuple[int, str]:
    """Exit code and text of a run that kept the contract."""
    assert outcome.breaches() == [], outcome.text
    return outcome.code, outcome.text


# --- What is in them ------------------------------------------------------------------------------------------


def members(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_they_hold_the_sources_as_they_are(dist: Path, check: str) -> None:
    found = members(dist / check)
    package = [path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    ours = {path.relative_to(CHECKS).as_posix(): path for path in (CHECKS / f"{check}.py", *package)} | {"LICENSE": ROOT / "LICENSE"}
    libraries = {name for name in found if name.partition("/")[0] in DISTRIBUTIONS or ".dist-info/" in name}
    assert found.keys() - libraries == {"__main__.py", *ours}
    for name, file in ours.items():
        assert found[name] == file.read_bytes()
    assert {name for name in libraries if not name.endswith((".py", "LICENSE", "LICENSE.txt", "METADATA", "WHEEL", "top_level.txt"))} == set()


def test_they_hold_the_libraries_that_the_check_imports_but_psutil(dist: Path, check: str) -> None:
    imported = {name.partition(".")[0] for file in files_of(check.removeprefix("check_")) for name in imports_of(file)}
    ours = {"kodeks_monitoring", *(file.stem for file in CHECKS.glob("*.py"))}
    wanted = imported - set(sys.stdlib_module_names) - ours - {"psutil"}
    found = members(dist / check)
    assert {name.partition("/")[0] for name in found if name.count("/") == 1 and name.endswith("/__init__.py")} - ours == wanted
    for library in wanted:
        license_texts = [text for name, text in found.items() if re.match(rf"{DISTRIBUTIONS[library]}-[0-9.]+\.dist-info/(licenses/)?LICENSE", name)]
        assert len(license_texts) == 1
        assert b"copyright" in license_texts[0].lower()


def test_built_elsewhere_and_by_another_user_they_are_the_same_bytes(dist: Path, tmp_path: Path, build: Callable[..., Path]) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "dist").mkdir()
    elsewhere = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "HOME": str(tmp_path / "home"), "PYTHONHASHSEED": "7"}
    again = build(tmp_path / "dist", env=elsewhere, umask=0o077)
    assert {file.name: file.read_bytes() for file in again.iterdir()} == {file.name: file.read_bytes() for file in dist.iterdir()}
    assert {stat.S_IMODE(file.stat().st_mode) for file in again.iterdir()} == {0o755}


# --- On bare interpreters -------------------------------------------------------------------------------------

NO_USB = "no SenseLock key: no USB bus is visible here (a container, or a machine without a USB controller)"
RUNS = [
    pytest.param("check_senselock", ["-c", "0:"], (0, f"SENSELOCK OK - {NO_USB} | keys=0;;;0 forwarded=0;;;0 key_state=0\n"), id="senselock: pyusb and libusb work"),
    pytest.param("check_senselock", [], (2, f"SENSELOCK CRITICAL - {NO_USB} | keys=0;;1:;0 forwarded=0;;;0 key_state=2\n"), id="senselock: no key"),
    pytest.param("check_senselock", ["--crit", "1"],
                 (3, "SENSELOCK UNKNOWN - unknown option --crit; check_senselock --help lists the options\n"), id="senselock: wrong option"),
    pytest.param("check_kodeks_xml", ["-w", "5:1", "--file", "/x"],
                 (3, "KODEKS_XML UNKNOWN - argument -w/--warning: '5:1' is a range with its start above its end; check_kodeks_xml --help lists the options\n"),
                 id="kodeks_xml: wrong range"),
    pytest.param("check_usb_redirector", ["--product", "generic", "--license-expires", "perpetual"],
                 (0, "USB_REDIRECTOR OK - license of the forwarder is perpetual | license_state=0\n"), id="usb_redirector: license"),
    *(pytest.param(f"check_{name}", RUSSIAN, (3, russian_line(f"check_{name}")), id=f"{name}: Russian") for name in SERVICES),
]  # fmt: skip
SUPPORTED = ["3.9", "3.10", "3.11", "3.12", "3.13"]


@pytest.mark.parametrize("version", SUPPORTED)
@pytest.mark.parametrize(("check", "arguments", "expected"), RUNS)
def test_a_bare_python_runs_them(version: str, check: str, arguments: list[str], expected: tuple[int, str], dist: Path) -> None:
    outcome = run_process(BarePython(version).command(dist, f"/mnt/{check}", *arguments))
    assert judged(outcome) == expected


@pytest.mark.parametrize("version", SUPPORTED)
def test_psutil_is_asked_for_by_a_sentence(version: str, dist: Path) -> None:
    outcome = run_process(BarePython(version).command(dist, "/mnt/check_usb_redirector", "--product", "generic", "--process", "usbsrvd"))
    assert judged(outcome)[0] == 3
    sentence = "the Python library psutil is missing: install the package python3-psutil, or run pip install psutil"
    assert outcome.line.partition(" | ")[0] == f"USB_REDIRECTOR UNKNOWN - {sentence}"


@pytest.mark.parametrize("version", SUPPORTED)
def test_a_bare_python_reads_a_report(version: str, dist: Path) -> None:
    (dist / "report.xml").write_bytes(b"".join(report(size=20_000, bindings=[WORKS])))
    outcome = run_process(BarePython(version).command(dist, "/mnt/check_kodeks_xml", "--file", "/mnt/report.xml"))
    assert judged(outcome)[0] == 0, outcome.text
    assert outcome.text.startswith("KODEKS_XML OK - ")


@pytest.mark.parametrize("version", SUPPORTED)
def test_a_bare_python_prints_version_and_help(version: str, check: str, dist: Path) -> None:
    shown = run_process(BarePython(version).command(dist, f"/mnt/{check}", "-V"))
    assert (shown.code, shown.text, shown.stderr) == (3, f"{check} {VERSION} (monitoring-plugins-kodeks)\n", b"")
    helped = run_process(BarePython(version).command(dist, f"/mnt/{check}", "-h"))
    assert (helped.code, helped.line, helped.stderr) == (3, f"usage: {check} [options]", b"")
    assert "\nexamples:\n" in helped.text


def test_a_python_that_is_too_old_is_a_sentence(check: str, dist: Path) -> None:
    outcome = run_process(BarePython("3.6").command(dist, f"/mnt/{check}"))
    sentence = "the check cannot start (Python 3.9 or newer is needed, this is 3.6): copy the whole checks folder again"
    assert judged(outcome) == (3, f"{service_of(check)} UNKNOWN - {sentence}\n")


# --- As it is used --------------------------------------------------------------------------------------------

AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]


def test_it_runs_as_a_command_of_nobody_without_environment(check: str, dist: Path) -> None:
    outcome = run_process([*AS_NOBODY, "env", "-i", str(dist / check), "--extra-opts=x@/dev/null/none"], cwd=dist)
    sentence = "--extra-opts: /dev/null/none cannot be read: Not a directory; check the path and its rights"
    assert judged(outcome) == (3, f"{service_of(check)} UNKNOWN - {sentence}\n")


def test_the_distributions_psutil_is_used(dist: Path) -> None:
    arguments = ["--product", "generic", "--process", "no-such-process-runs-here"]
    outcome = run_process(["env", "-i", DEBIAN_PYTHON, "-I", str(dist / "check_usb_redirector"), *arguments])
    assert judged(outcome)[0] == 2, outcome.text
    assert "no-such-process-runs-here" in outcome.line


def test_the_pyusb_inside_finds_a_key(dist: Path) -> None:
    with UsbBus() as bus:
        bus.add_key(port="1-2")
        # -S: the distribution's own pyusb is out of reach.
        outcome = run_process([DEBIAN_PYTHON, "-IS", str(dist / "check_senselock")], env=bus.env())
    assert judged(outcome)[0] == 0, outcome.text
    assert outcome.text.startswith("SENSELOCK OK - 1 SenseLock key: ")


def slowed(file: Path, target: Path) -> Path:
    """A copy under another name in which nagiosplugin does not load."""
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            copy.writestr(name, "import time\ntime.sleep(30)" if name == "nagiosplugin/__init__.py" else source.read(name))
    return target


def test_the_deadline_runs_from_the_first_line_under_any_name(check: str, dist: Path, tmp_path: Path) -> None:
    renamed = slowed(dist / check, tmp_path / "kodeks-check-1.0.pyz")
    outcome = run_process([DEBIAN_PYTHON, "-I", str(renamed), "-t", "0.5:critical"])
    assert judged(outcome) == (2, f"{service_of(check)} CRITICAL - timed out after 0.5 s while starting\n")
    assert outcome.seconds < 1.5


def test_a_server_that_never_answers_ends_in_time(dist: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        outcome = run_process([DEBIAN_PYTHON, "-IS", str(dist / "check_kodeks_xml"), "-H", "127.0.0.1", "-p", port, "-t", "1"])
    assert judged(outcome)[0] == 3
    assert outcome.seconds < 2


def test_through_a_symlink_in_the_plugin_directory(check: str, dist: Path, tmp_path: Path) -> None:
    (tmp_path / "plugin").symlink_to(dist / check)
    direct = run_process([str(dist / check), "--extra-opts=x@/dev/null/none"], env={"PATH": os.defpath})
    linked = run_process([str(tmp_path / "plugin"), "--extra-opts=x@/dev/null/none"], env={"PATH": os.defpath})
    assert judged(linked) == judged(direct)
