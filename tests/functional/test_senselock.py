"""check_senselock as a process, through the real libusb, on USB buses of the test's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Callable

import pytest
from lab.libusb_worlds import libusb_missing, libusb_refuses, libusb_too_old
from lab.run_check import run_check
from lab.usb_bus import UsbBus

Plug = Callable[[UsbBus], object]


def nothing(bus: UsbBus) -> None:
    """An ordinary machine without a key: mouse, memory stick, hub."""
    bus.add_mouse()
    bus.add_storage()
    bus.add_hub()


def key(**options: object) -> Plug:
    """Plug in one key with these options of UsbBus.add_key."""
    return lambda bus: bus.add_key(**options)  # type: ignore[arg-type]


def both(*plugs: Plug) -> Plug:
    """One after the other."""
    return lambda bus: [plug(bus) for plug in plugs]


LOCAL = key(port="1-2")
FORWARDED = key(where="usbip", remote="10.0.0.5 3240 1-1")
ELITE5 = key(port="1-3", usb_id="1bc0:0051", serial="9700000000001234", product="Elite5")
LONG = "97" * 60

ROWS = [
    # id, bus, arguments, exit code, stdout
    ("one local key", LOCAL, [], 0, "OK - 1 SenseLock key: 0471:485d at 1-2, local | keys=1;;1:;0 forwarded=0;;;0"),
    ("behind a hub", both(nothing, key(port="1-3.4")), [], 0, "OK - 1 SenseLock key: 0471:485d at 1-3.4, local | keys=1;;1:;0 forwarded=0;;;0"),
    ("on a system on a chip", key(where="soc"), [], 0, "OK - 1 SenseLock key: 0471:485d at 2-1, local | keys=1;;1:;0 forwarded=0;;;0"),
    ("over USB/IP, server noted", FORWARDED, [], 0,
     "OK - 1 SenseLock key: 0471:485d at 2-1, forwarded over USB/IP, vhci_hcd port 0 from 10.0.0.5 | keys=1;;1:;0 forwarded=1;;;0"),
    ("over USB/IP, another port", key(where="usbip", remote="forwarder.example 3241 1-1"), [], 0,
     "OK - 1 SenseLock key: 0471:485d at 2-1, forwarded over USB/IP, vhci_hcd port 0 from forwarder.example:3241 | keys=1;;1:;0 forwarded=1;;;0"),
    ("over USB/IP, server not noted", key(where="usbip"), [], 0,
     "OK - 1 SenseLock key: 0471:485d at 2-1, forwarded over USB/IP, vhci_hcd port 0 | keys=1;;1:;0 forwarded=1;;;0"),
    ("over USB Network Gate", key(where="usb-network-gate"), [], 0,
     "OK - 1 SenseLock key: 0471:485d at 2-1, forwarded over USB Network Gate (driver eveusb_vhci_hcd) | keys=1;;1:;0 forwarded=1;;;0"),
    ("over USB Redirector", key(where="usb-redirector"), [], 0,
     "OK - 1 SenseLock key: 0471:485d at 2-1, forwarded over USB Redirector (driver tusb-vhci-driver) | keys=1;;1:;0 forwarded=1;;;0"),
    ("controller nobody knows", key(where="unknown"), [], 0,
     "OK - 1 SenseLock key: 0471:485d at 2-1, location unknown (controller driver acme_hcd) | keys=1;;1:;0 forwarded=0;;;0"),
    ("no key", nothing, [], 2, "CRITICAL - no SenseLock key among 3 USB devices | keys=0;;1:;0 forwarded=0;;;0"),
    ("no device at all", lambda bus: None, [], 2, "CRITICAL - no SenseLock key among 0 USB devices | keys=0;;1:;0 forwarded=0;;;0"),
    ("root hubs are no devices", both(nothing, lambda bus: bus.load_vhci(8)), [], 2,
     "CRITICAL - no SenseLock key among 3 USB devices | keys=0;;1:;0 forwarded=0;;;0"),
    ("a relative of the vendor", key(port="1-5", usb_id="1bc0:8101"), [], 2,
     "CRITICAL - no SenseLock key among 1 USB device, but 1bc0:8101 of the same vendor at 1-5: if that is the key, give its --usb-id "
     "| keys=0;;1:;0 forwarded=0;;;0"),
    ("the relative is the key", key(port="1-5", usb_id="1bc0:8101"), ["--usb-id", "1BC0:8101"], 0,
     "OK - 1 SenseLock key: 1bc0:8101 at 1-5, local | keys=1;;1:;0 forwarded=0;;;0"),
    ("--usb-id replaces the table", LOCAL, ["--usb-id", "1bc0:8101"], 2,
     "CRITICAL - no SenseLock key among 1 USB device (looked for: 1bc0:8101), but 0471:485d is one by usb.ids, at 1-2: if that is the key, "
     "give its --usb-id | keys=0;;1:;0 forwarded=0;;;0"),
    ("two ids wanted, neither here", nothing, ["--usb-id", "1bc0:8101", "--usb-id", "1bc0:0051"], 2,
     "CRITICAL - no SenseLock key among 3 USB devices (looked for: 1bc0:0051, 1bc0:8101) | keys=0;;1:;0 forwarded=0;;;0"),
    ("a number that is forbidden", LOCAL, ["-c", "@1:2"], 2,
     "CRITICAL - 1 SenseLock key: 0471:485d at 1-2, local, inside the forbidden range @1:2 | keys=1;;@1:2;0 forwarded=0;;;0"),
    ("two keys wanted, one here", LOCAL, ["-c", "2:"], 2,
     "CRITICAL - 1 SenseLock key: 0471:485d at 1-2, local, outside the range 2: | keys=1;;2:;0 forwarded=0;;;0"),
    ("warning range", LOCAL, ["-w", "2:"], 1,
     "WARNING - 1 SenseLock key: 0471:485d at 1-2, local, outside the range 2: | keys=1;2:;1:;0 forwarded=0;;;0"),
    ("two of the same id", both(LOCAL, key(port="1-1")), ["-c", "2:2"], 0,
     "OK - 2 SenseLock keys: 0471:485d at 1-1, local; 0471:485d at 1-2, local | keys=2;;2:2;0 forwarded=0;;;0"),
    ("five keys", both(*[key(port=f"1-{port}") for port in (1, 2, 3, 4, 10)]), [], 0,
     "OK - 5 SenseLock keys: 0471:485d at 1-1, local; 0471:485d at 1-2, local; 0471:485d at 1-3, local and 2 more | keys=5;;1:;0 forwarded=0;;;0"),
    ("no key wanted", nothing, ["-c", "0:0"], 0, "OK - no SenseLock key among 3 USB devices | keys=0;;0;0 forwarded=0;;;0"),
    ("the right serial", ELITE5, ["--serial", "9700000000001234"], 0, "OK - 1 SenseLock key: 1bc0:0051 at 1-3, local | keys=1;;1:;0 forwarded=0;;;0"),
    ("another serial", ELITE5, ["--serial", "970000000000123"], 2,
     "CRITICAL - the key with serial 970000000000123 is not here (found: 9700000000001234); plug or attach it, or correct --serial | keys=1;;1:;0 forwarded=0;;;0"),
    ("a key without serial", LOCAL, ["--serial", "97"], 2,
     "CRITICAL - the key with serial 97 is not here (found: a key without serial); plug or attach it, or correct --serial | keys=1;;1:;0 forwarded=0;;;0"),
    ("serials that differ in their last character", key(port="1-2", serial=LONG + "A"), ["--serial", LONG + "B"], 2,
     f"CRITICAL - the key with serial {LONG}B is not here (found: {LONG}A); plug or attach it, or correct --serial | keys=1;;1:;0 forwarded=0;;;0"),
    ("a serial as the check would cut it", key(port="1-2", serial=LONG + "A"), ["--serial", LONG[:77] + "..."], 2,
     f"CRITICAL - the key with serial {LONG[:77]}... is not here (found: {LONG}A); plug or attach it, or correct --serial | keys=1;;1:;0 forwarded=0;;;0"),
    ("a long serial", key(port="1-2", serial=LONG + "A"), ["--serial", f" {LONG}A "], 0,
     "OK - 1 SenseLock key: 0471:485d at 1-2, local | keys=1;;1:;0 forwarded=0;;;0"),
    ("serial wanted, no key", nothing, ["--serial", "97"], 2,
     "CRITICAL - no SenseLock key among 3 USB devices; the key with serial 97 is not here (found: no key at all); plug or attach it, or correct --serial | keys=0;;1:;0 forwarded=0;;;0"),
    ("empty serial wanted", LOCAL, ["--serial", " "], 3, "UNKNOWN - --serial is empty; write the serial as check_senselock -v prints it"),
    ("hostile serial", key(serial=b"9\xff | keys=9\n\x1b[2J\xe2\x80\xae9", port="1-2"), ["-v"], 0,
     "OK - 1 SenseLock key: 0471:485d at 1-2, local | keys=1;;1:;0 forwarded=0;;;0\n"
     "key 0471:485d Senselock SenseIV at 1-2: serial 9\ufffd / keys=9 [2J 9, local"),
    ("must be local and is", LOCAL, ["--location", "local"], 0, "OK - 1 SenseLock key: 0471:485d at 1-2, local | keys=1;;1:;0 forwarded=0;;;0"),
    ("must be local, is forwarded", key(where="usbip"), ["--location", "local"], 2,
     "CRITICAL - key not where it should be (local): 0471:485d at 2-1, forwarded over USB/IP, vhci_hcd port 0; move it back, or change --location | keys=1;;1:;0 forwarded=1;;;0"),
    ("must be forwarded, one is local", both(LOCAL, key(where="usbip")), ["--location", "forwarded"], 2,
     "CRITICAL - key not where it should be (forwarded): 0471:485d at 1-2, local; move it back, or change --location | keys=2;;1:;0 forwarded=1;;;0"),
    ("must be local, cannot be told", key(where="driverless"), ["--location", "local"], 3,
     "UNKNOWN - cannot tell whether the key is local: 0471:485d at 2-1, location unknown (controller driver not readable); see where it is plugged in, "
     "and leave --location out | keys=1;;1:;0 forwarded=0;;;0"),
    ("must be local, none here", nothing, ["--location", "local"], 2,
     "CRITICAL - no SenseLock key among 3 USB devices | keys=0;;1:;0 forwarded=0;;;0"),
    ("-v, a line a key", both(LOCAL, ELITE5, nothing), ["-v"], 0,
     "OK - 2 SenseLock keys: 0471:485d at 1-2, local; 1bc0:0051 at 1-3, local | keys=2;;1:;0 forwarded=0;;;0\n"
     "key 0471:485d Senselock SenseIV at 1-2: no serial, local\n"
     "key 1bc0:0051 Elite5 at 1-3: serial 9700000000001234, local"),
    ("-vv, every device", both(LOCAL, nothing), ["-vv"], 0,
     "OK - 1 SenseLock key: 0471:485d at 1-2, local | keys=1;;1:;0 forwarded=0;;;0\n"
     "key 0471:485d Senselock SenseIV at 1-2: no serial, local\n"
     "device 046d:c077 USB Optical Mouse at 1-1: no serial, local\n"
     "device 0781:5567 Cruzer Blade at 1-3: serial 4C530001, local\n"
     "device 05e3:0608 USB2.0 Hub at 1-4: no serial, local"),
]  # fmt: skip


@pytest.mark.parametrize(("plug", "arguments", "code", "expected"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_row(plug: Plug, arguments: list[str], code: int, expected: str) -> None:
    with UsbBus() as bus:
        plug(bus)
        outcome = run_check("senselock", *arguments, env=bus.env(), python=[*bus.with_run(), sys.executable])
        assert (outcome.code, outcome.text) == (code, f"SENSELOCK {expected}\n")
        assert bus.opened_nodes() == [], "a device was opened"


@pytest.mark.parametrize("present", [True, False], ids=["USB without a controller", "no /sys/bus/usb"])
def test_no_usb_bus(present: bool) -> None:
    with UsbBus((), present=present) as bus:
        outcome = run_check("senselock", env=bus.env())
        assert (outcome.code, outcome.text) == (
            2,
            "SENSELOCK CRITICAL - no SenseLock key: no USB bus is visible here (a container, or a machine without a USB "
            "controller) | keys=0;;1:;0 forwarded=0;;;0\n",
        )


def test_a_key_pulled_out_is_gone_at_the_next_run() -> None:
    with UsbBus() as bus:
        name = bus.add_key()
        assert run_check("senselock", env=bus.env()).code == 0
        bus.remove(name)
        assert run_check("senselock", env=bus.env()).code == 2


def test_a_key_of_a_frozen_forwarder_is_counted_without_waiting_for_it() -> None:
    with UsbBus() as bus:
        name = bus.add_key(where="usbip", serial="97", node="absent")
        for attribute in ("serial", "product", "manufacturer"):
            bus.hang_attribute(name, attribute)
        outcome = run_check("senselock", env=bus.env())
        assert (outcome.code, outcome.line) == (
            0,
            "SENSELOCK OK - 1 SenseLock key: 0471:485d at 2-1, forwarded over USB/IP, vhci_hcd port 0 | keys=1;;1:;0 forwarded=1;;;0",
        )
        assert outcome.seconds < 1
        outcome = run_check("senselock", "--serial", "97", env=bus.env())
        assert (outcome.code, outcome.line) == (
            3,
            "SENSELOCK UNKNOWN - cannot tell whether the key with serial 97 is here: no readable serial at 2-1; see whether its forwarder hangs, or leave --serial out | keys=1;;1:;0 forwarded=1;;;0",
        )
        assert outcome.seconds < 4


@pytest.mark.parametrize("limit", ["0.5", "1"])
def test_a_stuck_key_is_told_within_a_short_limit(limit: str) -> None:
    with UsbBus() as bus:
        name = bus.add_key(where="usbip", node="absent")
        bus.hang_attribute(name, "bConfigurationValue")
        outcome = run_check("senselock", "-t", limit, env=bus.env())
        assert (outcome.code, outcome.text) == (
            2,
            "SENSELOCK CRITICAL - the key is listed but does not answer the program that uses it: 0471:485d at 2-1, forwarded over USB/IP, "
            "vhci_hcd port 0; see whether the forwarder hangs\n",
        )


@pytest.mark.parametrize(
    "env",
    [
        pytest.param({"LC_ALL": "C"}, id="LC_ALL=C"),
        pytest.param({"PYTHONIOENCODING": "cp1252:strict", "PYTHONUTF8": "0"}, id="cp1252"),
        pytest.param({"PYTHONIOENCODING": "utf-16"}, id="an encoding engines cannot read"),
        pytest.param({"PYTHONIOENCODING": "ascii", "LIBUSB_DEBUG": "4", "PYTHONWARNINGS": "always"}, id="noise on stderr"),
    ],
)
def test_consoles(env: dict[str, str]) -> None:
    with UsbBus() as bus:
        bus.add_key(port="1-2", product="Ключ «SenseLock»")
        outcome = run_check("senselock", "-v", env={**bus.env(), **env})
        shown = "Ключ «SenseLock»" if env.get("PYTHONIOENCODING", "utf-16") == "utf-16" else None
        line = "SENSELOCK OK - 1 SenseLock key: 0471:485d at 1-2, local | keys=1;;1:;0 forwarded=0;;;0"
        assert (outcome.code, outcome.line) == (0, line)
        if shown:
            assert outcome.text == f"{line}\nkey 0471:485d {shown} at 1-2: no serial, local\n"
        else:
            assert outcome.stdout.isascii() or b"\xab" in outcome.stdout
            assert "\\u041a\\u043b\\u044e\\u0447" in outcome.text


def test_an_ordinary_user_sees_the_same(tmp_path: Path) -> None:
    with UsbBus() as bus:
        bus.add_key(port="1-2", node="unreadable")
        assert os.geteuid() == 0, "this row gives up root's rights, so it needs them"
        outcome = run_check(
            "senselock", env=bus.env(), python=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3"]
        )
        assert (outcome.code, outcome.line) == (
            0,
            "SENSELOCK OK - 1 SenseLock key: 0471:485d at 1-2, local | keys=1;;1:;0 forwarded=0;;;0",
        )


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        pytest.param(libusb_missing, "libusb 1.0 is missing or too old: install the package libusb-1.0-0 (Windows: libusb-1.0.dll beside python.exe)",
                     id="libusb missing"),
        pytest.param(libusb_too_old, "libusb 1.0 is missing or too old: install the package libusb-1.0-0 (Windows: libusb-1.0.dll beside python.exe)",
                     id="libusb too old"),
        pytest.param(libusb_refuses, "libusb 1.0 cannot start (libusb_init failed): check /dev/bus/usb and the rights of this user",
                     id="libusb does not start"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("python", [sys.executable, "/usr/bin/python3"], ids=["pyusb of PyPI", "pyusb of Debian"])
def test_without_a_usable_libusb(world: Callable[[Path], dict[str, str]], expected: str, python: str, tmp_path: Path) -> None:
    with UsbBus() as bus:
        bus.add_key()
        outcome = run_check("senselock", env=bus.env(world(tmp_path)), python=python)
        assert (outcome.code, outcome.text) == (3, f"SENSELOCK UNKNOWN - {expected}\n")


def test_libusb_does_not_start_where_there_is_no_usb(tmp_path: Path) -> None:
    with UsbBus(present=False) as bus:
        outcome = run_check("senselock", env=bus.env(libusb_refuses(tmp_path)))
        assert (outcome.code, outcome.line.split(":")[0]) == (2, "SENSELOCK CRITICAL - no SenseLock key")


def test_pyusb_missing(tmp_path: Path) -> None:
    (tmp_path / "usb.py").write_text("raise ModuleNotFoundError('no', name='usb')")
    outcome = run_check("senselock", env={"PYTHONPATH": str(tmp_path)})
    assert (outcome.code, outcome.text) == (
        3,
        "SENSELOCK UNKNOWN - the Python library pyusb is missing: install the package python3-usb, or run pip install pyusb\n",
    )


def test_pyusb_that_cannot_be_loaded(tmp_path: Path) -> None:
    """As where too little memory is allowed: pyusb is there, and what it needs does not load."""
    (tmp_path / "usb.py").write_text("raise ImportError('libffi.so.8: failed to map segment from shared object', name='_ctypes')")
    outcome = run_check("senselock", env={"PYTHONPATH": str(tmp_path)})
    assert (outcome.code, outcome.text) == (
        3, "SENSELOCK UNKNOWN - the Python library pyusb cannot be loaded: libffi.so.8: failed to map segment from shared object\n")  # fmt: skip
