"""The one-file builds, run by a CPython for Windows that has no library of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from lab.reports import WORKS, report
from lab.run_check import ROOT, VERSION
from lab.windows import LIBUSB, VERSIONS, WindowsMachine, quoted


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The builds."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, ROOT / "packaging/build.py", "--output", folder], check=True, capture_output=True)
    return folder


BARE = "-S"  # no site-packages


@pytest.mark.parametrize("version", VERSIONS)
def test_a_bare_python_runs_them(version: str, windows: WindowsMachine, dist: Path, tmp_path: Path) -> None:
    def line(check: str, *arguments: str) -> tuple[int, str]:
        outcome = windows.run(quoted(windows.python(version), BARE, f"Z:{dist}/{check}", *arguments))
        assert outcome.stderr == b""
        return outcome.code, outcome.line.partition(" | ")[0]

    (tmp_path / "report.xml").write_bytes(b"".join(report(size=20_000, bindings=[WORKS])))
    with windows.libusb(LIBUSB, version):
        assert line("check_senselock")[1].startswith("SENSELOCK CRITICAL - no SenseLock key: no USB bus is visible here")
    assert line("check_kodeks_xml", "--file", str(tmp_path / "report.xml"))[0] == 0
    generic = ("--product", "generic", "--license-expires", "perpetual")
    assert line("check_usb_redirector", *generic) == (0, "USB_REDIRECTOR OK - license of the forwarder is perpetual")
    missing = "USB_REDIRECTOR UNKNOWN - the Python library psutil is missing: run pip install psutil"
    assert line("check_usb_redirector", *generic, "--process", "x.exe") == (3, missing)
    assert line("check_senselock", "-V") == (3, f"check_senselock {VERSION} (monitoring-plugins-kodeks)")
