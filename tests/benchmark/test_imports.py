"""What a run imports, as a table: the cost that can be counted without a clock.

Of the modules on the watch list each path may load exactly those named; the whole number of modules may not grow past
the bound. Counted under Debian's interpreter and libraries, which CI installs.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from lab import reports
from lab.forwarder_tools import forwarder_daemon, sample
from lab.kodeks_server import PASSWORD, USER, KodeksServer
from lab.run_check import CHECKS, run_process
from lab.usb_bus import UsbBus

WATCHED = {
    "ctypes", "dataclasses", "html", "http.client", "inspect", "json", "lzma", "psutil", "pyexpat", "random", "shlex", "socket",
    "ssl", "subprocess", "tempfile", "urllib.request", "usb.core", "xml.etree.ElementTree", "zipfile",
}  # fmt: skip

# Runs the check as a program and writes down what is loaded at the moment it ends itself.
RECORDER = """
import os, runpy, sys
note, sys.argv = sys.argv[1], sys.argv[2:]
leave = os._exit
def record(code):
    with open(note, "w") as file:
        file.write("\\n".join(sys.modules))
    leave(code)
os._exit = record
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def loaded(tmp_path: Path, check: str, *arguments: str, env: dict[str, str] | None = None, code: int = 0) -> set[str]:
    """The modules that a run has loaded when it ends."""
    note = tmp_path / "modules.txt"
    argv = ["/usr/bin/python3", "-c", RECORDER, str(note), str(CHECKS / f"check_{check}.py"), *arguments]
    outcome = run_process(argv, env=env)
    assert outcome.code == code, outcome.text
    return set(note.read_text().split())


def hold(modules: set[str], expected: set[str], bound: int) -> None:
    """Compare with the table."""
    assert modules & WATCHED == expected
    assert len(modules) <= bound, f"{len(modules)} modules"


@pytest.mark.parametrize("check", ["senselock", "kodeks_xml", "usb_redirector"])
def test_help_loads_no_library(check: str, tmp_path: Path) -> None:
    modules = loaded(tmp_path, check, "-h", code=3)
    hold(modules, modules & {"shlex"}, 110)


def test_the_key(tmp_path: Path) -> None:
    with UsbBus() as bus:
        bus.add_key()
        # pyusb loads ctypes.util, which loads all the rest.
        expected = {"ctypes", "lzma", "random", "subprocess", "tempfile", "usb.core"}
        hold(loaded(tmp_path, "senselock", env=bus.env()), expected, 160)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["--list-output", "{list}"], set(), id="captured list"),
        pytest.param(["--list-command", "cat {list}"], {"subprocess"}, id="list command"),
        pytest.param(["--no-list", "--process", "{process}"], {"lzma", "psutil", "socket", "subprocess"}, id="process"),
    ],
)
def test_the_forwarder(arguments: list[str], expected: set[str], tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    listing.write_bytes(sample("usbclnt-list-key-connected-constructed.txt"))
    with forwarder_daemon("usbsrvd-imports"):
        filled = [argument.format(list=listing, process="usbsrvd-imports") for argument in arguments]
        modules = loaded(tmp_path, "usb_redirector", "--product", "usb-redirector", "--license-expires", "perpetual", *filled)
    hold(modules - {"shlex"}, expected, 160)


@pytest.mark.parametrize(
    ("source", "further"),
    [
        pytest.param("page", set(), id="page"),
        pytest.param("xml", {"pyexpat"}, id="XML"),
        pytest.param("zip", {"pyexpat", "zipfile"}, id="ZIP"),
    ],
)
def test_the_kodeks_server(source: str, further: set[str], tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD, encoding="utf-8")
    password.chmod(0o600)
    with KodeksServer() as server:
        arguments = ["-H", server.host, "-p", str(server.port), "-l", USER, "--password-file", str(password), "--source", source]
        modules = loaded(tmp_path, "kodeks_xml", *arguments)
    assert modules & WATCHED >= {"http.client", "socket"} | further
    assert not modules & (WATCHED - {"http.client", "socket", "html", "random"} - further - ({"lzma"} if source == "zip" else set()))


@pytest.mark.parametrize(
    ("name", "expected"),
    [pytest.param("report.xml", {"pyexpat"}, id="stored XML"), pytest.param("report.zip", {"pyexpat", "zipfile"}, id="stored ZIP")],
)
def test_a_stored_report_needs_no_network(name: str, expected: set[str], tmp_path: Path) -> None:
    path = tmp_path / name
    xml = b"".join(reports.report())
    path.write_bytes(xml if name.endswith("xml") else reports.zip_report([xml]))
    modules = loaded(tmp_path, "kodeks_xml", "--file", str(path))
    assert modules & {"http.client", "ssl", "socket", "pyexpat", "zipfile"} == expected
