"""How many instructions a run takes, against its import floor: the cost that the clock of a busy machine cannot tell.

Counted by valgrind with the addresses and the hash seed fixed, on one machine and one interpreter for both numbers of a
ratio. Four runs of each differ by less than 0.13 % (README.md), so a bound is the measured ratio and 3 %: what exceeds it
has become slower, what falls below it by more than 10 % deserves a lower bound.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from lab import reports
from lab.forwarder_tools import sample
from lab.kodeks_server import PASSWORD, USER, KodeksServer
from lab.run_check import CHECKS
from lab.usb_bus import UsbBus

pytestmark = pytest.mark.xdist_group("instructions")

PYTHON = "/usr/bin/python3"
VALGRIND = ("setarch", "-R", "valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
ENV = {**{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}, "PYTHONHASHSEED": "0"}
EXPAT = "import sys\nfrom xml.parsers import expat\nexpat.ParserCreate().ParseFile(open(sys.argv[1], 'rb'))\n"
LASTING = ("-t", "300")  # under valgrind everything takes fifty times as long


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checks with their modules compiled, as after root's first run, a report of 2 MB, a fresh list, and a password."""
    made = tmp_path_factory.mktemp("instructions")
    shutil.copytree(CHECKS, made / "checks", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([PYTHON, "-m", "compileall", "-q", str(made / "checks")], env=ENV, check=True)
    (made / "list.txt").write_bytes(sample("usbclnt-list-key-connected-constructed.txt"))
    (made / "report.xml").write_bytes(b"".join(reports.report(size=2_000_000)))
    (made / "report.zip").write_bytes(reports.zip_report(reports.report(size=2_000_000)))
    (made / "password").write_text(PASSWORD, encoding="utf-8")
    (made / "password").chmod(0o600)
    return made


@pytest.fixture(scope="module")
def kodeks() -> Iterator[KodeksServer]:
    with KodeksServer() as server:
        yield server


def instructions(argv: Sequence[str], env: dict[str, str] | None = None) -> int:
    """The instructions of a run that ends with 0."""
    done = subprocess.run([*VALGRIND, *argv], env={**ENV, **(env or {})}, capture_output=True, text=True, check=False)
    counted = re.search(r"I +refs: +([0-9,]+)", done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert counted, done.stderr
    return int(counted[1].replace(",", ""))


def hold(run: int, floor: int, measured: float) -> None:
    """Compare a run with its floor; `measured` is the ratio on the day the bound was set."""
    ratio = run / floor
    assert 0.9 * measured < ratio < 1.03 * measured, f"{run} instructions, {ratio:.3f} x the floor of {floor}"


def importing(modules: str) -> list[str]:
    """An interpreter that only imports."""
    return [PYTHON, "-c", f"import argparse, {modules}"]


def test_the_key(folder: Path) -> None:
    with UsbBus() as bus:
        bus.add_key()
        floor = instructions(importing("nagiosplugin, usb.core, usb.backend.libusb1"), bus.env())
        hold(instructions([PYTHON, str(folder / "checks/check_senselock.py"), *LASTING], bus.env()), floor, 1.17)


def test_the_forwarder(folder: Path) -> None:
    check = [PYTHON, str(folder / "checks/check_usb_redirector.py"), "--product", "usb-redirector", "--license-expires", "perpetual"]
    run = instructions([*check, "--device", "0471:485d", "--list-output", str(folder / "list.txt"), *LASTING])
    hold(run, instructions(importing("nagiosplugin")), 1.28)


def test_the_page(folder: Path, kodeks: KodeksServer) -> None:
    login = ["-l", USER, "--password-file", str(folder / "password")]
    check = [PYTHON, str(folder / "checks/check_kodeks_xml.py"), "-H", kodeks.host, "-p", str(kodeks.port), *login]
    hold(instructions([*check, "--source", "page", *LASTING]), instructions(importing("nagiosplugin, http.client")), 1.07)


@pytest.mark.parametrize(("name", "measured"), [("report.xml", 2.46), ("report.zip", 2.67)], ids=["XML", "ZIP"])
def test_a_report(name: str, measured: float, folder: Path) -> None:
    floor = instructions([PYTHON, "-c", EXPAT, str(folder / "report.xml")])
    run = instructions([PYTHON, str(folder / "checks/check_kodeks_xml.py"), "--file", str(folder / name), *LASTING])
    hold(run, floor, measured)
