"""check_senselock as a process, through the real libusb, on USB buses of the test's own."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Callable, NamedTuple

import pytest
from lab.libusb_worlds import libusb_missing, libusb_refuses, libusb_too_old
from lab.run_check import open_checks, run_check
from lab.usb_bus import AS_NOBODY, UsbBus

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


def with_attribute(name: str, attribute: str, text: str) -> Plug:
    """An attribute of a device that is plugged in already holds this text."""
    return lambda bus: bus.write_attribute(name, attribute, text)


def without_nodes(bus: UsbBus) -> None:
    """/dev/bus/usb is missing as a whole."""
    shutil.rmtree(bus.root / "dev/bus")


LOCAL = key(port="1-2")
FORWARDED = key(where="usbip", remote="10.0.0.5 3240 1-1")
ELITE5 = key(port="1-3", usb_id="1bc0:0051", serial="9700000000001234", product="Elite5")
LONG = "97" * 60

AT_1_2 = "0471:485d at 1-2, local"
OVER_USBIP = "0471:485d at 2-1, forwarded over USB/IP, vhci_hcd port 0"
GHOST = (
    "vhci_hcd ports 0 and 1 hold the same key, 1-1 of 10.0.0.5:3240: all but one are dead, and a program that opens a dead one hangs; "
    "run usbip detach -p for each of them, then attach the key once"
)
NOT_AUTHORIZED = "allow it in USBGuard or in the desktop's USB protection, or write 1 there"


class Row(NamedTuple):
    """A bus, how the check is called, and what it says. `numbers` are the perfdata `keys forwarded key_state [location_state]`."""

    name: str
    bus: Plug
    arguments: list[str]
    state: str
    sentence: str
    numbers: tuple[int, ...]
    details: tuple[str, ...] = ()


ROWS = [
    # What is counted
    Row("one local key", LOCAL, [], "OK", f"1 SenseLock key: {AT_1_2}", (1, 0, 0)),
    Row("behind a hub", both(nothing, key(port="1-3.4")), [], "OK", "1 SenseLock key: 0471:485d at 1-3.4, local", (1, 0, 0)),
    Row("no key", nothing, [], "CRITICAL", "no SenseLock key among 3 USB devices", (0, 0, 2)),
    Row("no device at all", lambda bus: None, [], "CRITICAL", "no SenseLock key among 0 USB devices", (0, 0, 2)),
    Row("root hubs are no devices", both(nothing, lambda bus: bus.load_vhci(8)), [], "CRITICAL", "no SenseLock key among 3 USB devices", (0, 0, 2)),
    Row("a relative of the vendor", key(port="1-5", usb_id="1bc0:8101"), [], "CRITICAL",
        "no SenseLock key among 1 USB device, but 1bc0:8101 at 1-5 may be one: if it is, give its --usb-id", (0, 0, 2)),
    Row("the relative is the key", key(port="1-5", usb_id="1bc0:8101"), ["--usb-id", "1BC0:8101"], "OK", "1 SenseLock key: 1bc0:8101 at 1-5, local", (1, 0, 0)),
    Row("--usb-id replaces the table", LOCAL, ["--usb-id", "1bc0:8101"], "CRITICAL",
        "no SenseLock key among 1 USB device (looked for: 1bc0:8101), but 0471:485d at 1-2 may be one: if it is, give its --usb-id", (0, 0, 2)),
    Row("two ids wanted, neither here", nothing, ["--usb-id", "1bc0:8101", "--usb-id", "1bc0:0051"], "CRITICAL",
        "no SenseLock key among 3 USB devices (looked for: 1bc0:0051, 1bc0:8101)", (0, 0, 2)),
    Row("two of the same id", both(LOCAL, key(port="1-1")), [], "OK", f"2 SenseLock keys: 0471:485d at 1-1, local; {AT_1_2}", (2, 0, 0)),
    Row("five keys", both(*[key(port=f"1-{port}") for port in (1, 2, 3, 4, 10)]), [], "OK",
        f"5 SenseLock keys: 0471:485d at 1-1, local; {AT_1_2}; 0471:485d at 1-3, local and 2 more", (5, 0, 0)),
    # Where it is plugged in
    Row("over USB/IP, server noted", FORWARDED, [], "OK", f"1 SenseLock key: {OVER_USBIP} from 10.0.0.5", (1, 1, 0)),
    Row("over USB/IP, another port", key(where="usbip", remote="forwarder.example 3241 1-1"), [], "OK",
        f"1 SenseLock key: {OVER_USBIP} from forwarder.example:3241", (1, 1, 0)),
    Row("over USB/IP, server not noted", key(where="usbip"), [], "OK", f"1 SenseLock key: {OVER_USBIP}", (1, 1, 0)),
    Row("over USB Network Gate", key(where="usb-network-gate"), [], "OK",
        "1 SenseLock key: 0471:485d at 2-1, forwarded over USB Network Gate (driver eveusb_vhci_hcd)", (1, 1, 0)),
    Row("over USB Redirector", key(where="usb-redirector"), [], "OK",
        "1 SenseLock key: 0471:485d at 2-1, forwarded over USB Redirector (driver tusb-vhci-driver)", (1, 1, 0)),
    Row("controller nobody knows", key(where="unknown"), [], "OK", "1 SenseLock key: 0471:485d at 2-1, location unknown (controller driver acme_hcd)", (1, 0, 0)),
    Row("must be local and is", LOCAL, ["--location", "local"], "OK", f"1 SenseLock key: {AT_1_2}", (1, 0, 0, 0)),
    Row("on a system on a chip", key(where="soc"), ["--location", "local"], "OK", "1 SenseLock key: 0471:485d at 2-1, local", (1, 0, 0, 0)),
    Row("on a Raspberry Pi", key(where="raspberry-pi"), ["--location", "local"], "OK", "1 SenseLock key: 0471:485d at 2-1, local", (1, 0, 0, 0)),
    Row("must be local, is forwarded", key(where="usbip"), ["--location", "local"], "CRITICAL",
        f"key not where it should be (local): {OVER_USBIP}; move it back, or change --location", (1, 1, 0, 2)),
    Row("must be forwarded, one is local", both(LOCAL, key(where="usbip")), ["--location", "forwarded"], "CRITICAL",
        f"key not where it should be (forwarded): {AT_1_2}; move it back, or change --location", (2, 1, 0, 2)),
    Row("must be local, place unknown", key(where="driverless"), ["--location", "local"], "UNKNOWN",
        "cannot tell whether the key is local: 0471:485d at 2-1, location unknown (controller driver not readable); see where it is plugged in, "
        "and leave --location out", (1, 0, 0, 3)),
    Row("must be local, none here", nothing, ["--location", "local"], "CRITICAL", "no SenseLock key among 3 USB devices", (0, 0, 2, 0)),
    # Can it be used?
    Row("not authorized", both(LOCAL, lambda bus: bus.deauthorize("1-2")), [], "CRITICAL",
        f"the key is listed but cannot be used: {AT_1_2}: the kernel has not authorized it (/sys/bus/usb/devices/1-2/authorized is 0): {NOT_AUTHORIZED}", (1, 0, 2)),
    Row("not authorized, configured all the same", both(LOCAL, with_attribute("1-2", "authorized", "0\n")), [], "CRITICAL",
        f"the key is listed but cannot be used: {AT_1_2}: the kernel has not authorized it (/sys/bus/usb/devices/1-2/authorized is 0): {NOT_AUTHORIZED}", (1, 0, 2)),
    Row("its interface is not authorized", both(LOCAL, with_attribute("1-2", "1-2:1.0/authorized", "0\n")), [], "CRITICAL",
        f"the key is listed but cannot be used: {AT_1_2}: the kernel has not authorized it (/sys/bus/usb/devices/1-2:1.0/authorized is 0): {NOT_AUTHORIZED}", (1, 0, 2)),
    Row("not configured", both(LOCAL, with_attribute("1-2", "bConfigurationValue", "")), [], "CRITICAL",
        f"the key is listed but cannot be used: {AT_1_2}: it has no configuration (no power, no bandwidth?): plug or attach it again, and see dmesg", (1, 0, 2)),
    Row("forwarded and not authorized", both(FORWARDED, lambda bus: bus.deauthorize("2-1")), ["--location", "forwarded"], "CRITICAL",
        f"the key is listed but cannot be used: {OVER_USBIP} from 10.0.0.5: the kernel has not authorized it (/sys/bus/usb/devices/2-1/authorized is 0): "
        f"{NOT_AUTHORIZED}", (1, 1, 2, 0)),
    Row("forwarded and not configured", both(FORWARDED, with_attribute("2-1", "bConfigurationValue", "")), [], "CRITICAL",
        f"the key is listed but cannot be used: {OVER_USBIP} from 10.0.0.5: it has no configuration (no power, no bandwidth?): plug or attach it again, "
        "and see dmesg", (1, 1, 2)),
    Row("one of two cannot be used", both(LOCAL, ELITE5, lambda bus: bus.deauthorize("1-2")), [], "CRITICAL",
        f"the key is listed but cannot be used: {AT_1_2}: the kernel has not authorized it (/sys/bus/usb/devices/1-2/authorized is 0): {NOT_AUTHORIZED}", (2, 0, 2)),
    Row("a mouse cannot be used", both(LOCAL, lambda bus: bus.add_mouse(port="1-3"), lambda bus: bus.deauthorize("1-3")), [], "OK", f"1 SenseLock key: {AT_1_2}", (1, 0, 0)),
    Row("one key on two ports", both(FORWARDED, FORWARDED), [], "CRITICAL", GHOST, (2, 2, 2)),
    Row("two keys of one server", both(FORWARDED, key(where="usbip", remote="10.0.0.5 3240 1-2")), ["-c", "2:2"], "OK",
        f"2 SenseLock keys: {OVER_USBIP} from 10.0.0.5; 0471:485d at 2-2, forwarded over USB/IP, vhci_hcd port 1 from 10.0.0.5", (2, 2, 0)),
    Row("the same place at two servers", both(FORWARDED, key(where="usbip", remote="10.0.0.6 3240 1-1")), ["-c", "2:2"], "OK",
        f"2 SenseLock keys: {OVER_USBIP} from 10.0.0.5; 0471:485d at 2-2, forwarded over USB/IP, vhci_hcd port 1 from 10.0.0.6", (2, 2, 0)),
    Row("no device node", key(port="1-2", node="absent"), [], "OK",
        f"1 SenseLock key: {AT_1_2} (missing here: /dev/bus/usb/001/002; a container, or PrivateDevices=?)", (1, 0, 0)),
    Row("no device nodes at all", both(LOCAL, without_nodes), [], "OK",
        f"1 SenseLock key: {AT_1_2} (missing here: /dev/bus/usb/001/002; a container, or PrivateDevices=?)", (1, 0, 0)),
    # Ranges
    Row("a number that is forbidden", LOCAL, ["-c", "@1:2"], "CRITICAL", f"1 SenseLock key: {AT_1_2}, inside the forbidden range @1:2", (1, 0, 2)),
    Row("two keys wanted, one here", LOCAL, ["-c", "2:"], "CRITICAL", f"1 SenseLock key: {AT_1_2}, outside the range 2:", (1, 0, 2)),
    Row("warning range", LOCAL, ["-w", "2:"], "WARNING", f"1 SenseLock key: {AT_1_2}, outside the range 2:", (1, 0, 1)),
    Row("no key wanted", nothing, ["-c", "0:0"], "OK", "no SenseLock key among 3 USB devices", (0, 0, 0)),
    # --serial
    Row("the right serial", ELITE5, ["--serial", "9700000000001234"], "OK", "1 SenseLock key: 1bc0:0051 at 1-3, local", (1, 0, 0)),
    Row("another serial", ELITE5, ["--serial", "970000000000123"], "CRITICAL",
        "the key with serial 970000000000123 is not here (found: 9700000000001234); plug or attach it, or correct --serial", (1, 0, 2)),
    Row("a key without serial", LOCAL, ["--serial", "97"], "CRITICAL",
        "the key with serial 97 is not here (found: a key without serial); plug or attach it, or correct --serial", (1, 0, 2)),
    Row("serials that differ in their last character", key(port="1-2", serial=LONG + "A"), ["--serial", LONG + "B"], "CRITICAL",
        f"the key with serial {LONG}B is not here (found: {LONG}A); plug or attach it, or correct --serial", (1, 0, 2)),
    Row("a serial as the check would cut it", key(port="1-2", serial=LONG + "A"), ["--serial", LONG[:77] + "..."], "CRITICAL",
        f"the key with serial {LONG[:77]}... is not here (found: {LONG}A); plug or attach it, or correct --serial", (1, 0, 2)),
    Row("a long serial", key(port="1-2", serial=LONG + "A"), ["--serial", f" {LONG}A "], "OK", f"1 SenseLock key: {AT_1_2}", (1, 0, 0)),
    Row("serial wanted, no key", nothing, ["--serial", "97"], "CRITICAL",
        "no SenseLock key among 3 USB devices; the key with serial 97 is not here (found: no key at all); plug or attach it, or correct --serial", (0, 0, 2)),
    Row("empty serial wanted", LOCAL, ["--serial", " "], "UNKNOWN", "argument --serial: it is empty; check_senselock --help lists the options", ()),
    # -v
    Row("hostile serial", key(serial=b"9\xff | keys=9\n\x1b[2J\xe2\x80\xae9", port="1-2"), ["-v"], "OK", f"1 SenseLock key: {AT_1_2}", (1, 0, 0),
        ("key 0471:485d Senselock SenseIV at 1-2: serial 9\ufffd / keys=9 [2J 9, local",)),
    Row("-v, a line a key", both(LOCAL, ELITE5, nothing), ["-v"], "OK", f"2 SenseLock keys: {AT_1_2}; 1bc0:0051 at 1-3, local", (2, 0, 0),
        ("key 0471:485d Senselock SenseIV at 1-2: no serial, local", "key 1bc0:0051 Elite5 at 1-3: serial 9700000000001234, local")),
    Row("-vv, every device", both(LOCAL, nothing), ["-vv"], "OK", f"1 SenseLock key: {AT_1_2}", (1, 0, 0),
        ("key 0471:485d Senselock SenseIV at 1-2: no serial, local",
         "device 046d:c077 USB Optical Mouse at 1-1: no serial, local",
         "device 0781:5567 Cruzer Blade at 1-3: serial 4C530001, local",
         "device 05e3:0608 USB2.0 Hub at 1-4: no serial, local")),
]  # fmt: skip

NUMBERS = ("keys", "forwarded", "key_state", "location_state")


def numbers(line: str) -> tuple[int, ...]:
    """The perfdata of a line, whose labels must be those of NUMBERS in that order."""
    pieces = line.partition(" | ")[2].split()
    assert [piece.partition("=")[0] for piece in pieces] == list(NUMBERS[: len(pieces)])
    return tuple(int(piece.partition("=")[2].partition(";")[0]) for piece in pieces)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_row(row: Row) -> None:
    with UsbBus() as bus:
        row.bus(bus)
        outcome = run_check("senselock", *row.arguments, env=bus.env(), python=[*bus.with_run(), sys.executable])
        line, *details = outcome.text.splitlines()
        assert line.partition(" | ")[0] == f"SENSELOCK {row.state} - {row.sentence}"
        assert numbers(line) == row.numbers
        assert tuple(details) == row.details
        assert bus.opened_nodes() == [], "a device was opened"


def test_the_ranges_are_in_the_perfdata() -> None:
    with UsbBus() as bus:
        bus.add_key()
        assert run_check("senselock", "-w", "1:2", "-c", "@0", env=bus.env()).line.partition(" | ")[2] == "keys=1;1:2;@0;0 forwarded=0;;;0 key_state=0"


@pytest.mark.parametrize("present", [True, False], ids=["USB without a controller", "no /sys/bus/usb"])
def test_no_usb_bus(present: bool) -> None:
    with UsbBus((), present=present) as bus:
        outcome = run_check("senselock", env=bus.env())
        assert (outcome.code, outcome.text) == (
            2,
            "SENSELOCK CRITICAL - no SenseLock key: no USB bus is visible here (a container, or a machine without a USB "
            "controller) | keys=0;;1:;0 forwarded=0;;;0 key_state=2\n",
        )


def test_a_key_pulled_out_is_gone_at_the_next_run() -> None:
    with UsbBus() as bus:
        name = bus.add_key()
        assert run_check("senselock", env=bus.env()).code == 0
        bus.remove(name)
        assert run_check("senselock", env=bus.env()).code == 2


def test_a_key_of_a_frozen_forwarder_is_counted_without_waiting_for_it() -> None:
    with UsbBus() as bus:
        name = bus.add_key(where="usbip", serial="97", node="frozen")
        for attribute in ("serial", "product", "manufacturer"):
            bus.hang_attribute(name, attribute)
        outcome = run_check("senselock", env=bus.env())
        assert (outcome.code, outcome.line.partition(" | ")[0]) == (0, f"SENSELOCK OK - 1 SenseLock key: {OVER_USBIP}")
        assert outcome.seconds < 1
        outcome = run_check("senselock", "--serial", "97", env=bus.env())
        sentence = "cannot tell whether the key with serial 97 is here: no readable serial at 2-1; see whether its forwarder hangs, or leave --serial out"
        assert (outcome.code, outcome.line) == (3, f"SENSELOCK UNKNOWN - {sentence} | keys=1;;1:;0 forwarded=1;;;0 key_state=3")
        assert outcome.seconds < 4


@pytest.mark.parametrize("limit", ["0.5", "1", "10"])
def test_a_stuck_key_is_named_within_the_limit(limit: str) -> None:
    with UsbBus() as bus:
        name = bus.add_key(where="usbip")
        bus.hang_attribute(name, "bConfigurationValue")
        outcome = run_check("senselock", "-t", limit, env=bus.env())
        sentence = f"the key is listed but does not answer the program that uses it: {OVER_USBIP}; see whether the forwarder hangs"
        assert (outcome.code, outcome.text) == (2, f"SENSELOCK CRITICAL - {sentence} | key_state=2\n")
        assert outcome.seconds < 3


def test_a_stuck_device_that_is_no_key() -> None:
    with UsbBus() as bus:
        bus.add_key(port="1-2")
        bus.hang_attribute(bus.add_storage(port="1-3"), "bConfigurationValue")
        outcome = run_check("senselock", env=bus.env())
        sentence = "the USB bus cannot be listed: a device does not answer the program that uses it: 0781:5567 at 1-3, local; unplug or detach it"
        assert (outcome.code, outcome.text) == (3, f"SENSELOCK UNKNOWN - {sentence} | key_state=3\n")


@pytest.mark.parametrize(
    ("env", "shown"),
    [
        pytest.param({"LC_ALL": "C"}, "Ключ", id="LC_ALL=C"),
        pytest.param({"LANG": "ru_RU.CP1251", "PYTHONIOENCODING": "cp1251", "PYTHONUTF8": "0"}, "Ключ", id="cp1251"),
        pytest.param({"PYTHONIOENCODING": "utf-16"}, "Ключ", id="an encoding engines cannot read"),
        pytest.param({"PYTHONIOENCODING": "ascii", "LIBUSB_DEBUG": "4", "PYTHONWARNINGS": "always"}, "Ключ", id="noise on stderr"),
    ],
)
def test_consoles(env: dict[str, str], shown: str) -> None:
    with UsbBus() as bus:
        bus.add_key(port="1-2", product="Ключ")
        outcome = run_check("senselock", "-v", env={**bus.env(), **env})
        assert (outcome.code, outcome.text.splitlines()[1]) == (0, f"key 0471:485d {shown} at 1-2: no serial, local")


def test_an_ordinary_user_sees_the_same() -> None:
    with UsbBus() as bus:
        bus.add_key(port="1-2", node="unreadable")
        assert os.geteuid() == 0, "this test gives up root's rights, so it needs them"
        outcome = run_check("senselock", env=bus.env(), python=[*AS_NOBODY, "/usr/bin/python3"], checks=open_checks())
        assert (outcome.code, outcome.line.partition(" | ")[0]) == (0, f"SENSELOCK OK - 1 SenseLock key: {AT_1_2}")


def test_an_ordinary_user_cannot_tell_a_ghost() -> None:
    """/var/run/vhci_hcd belongs to root, mode 700 (kernel: tools/usb/usbip/src/usbip_attach.c; seen in tests/kernel)."""
    with UsbBus() as bus:
        both(FORWARDED, key(where="usbip", remote="10.0.0.6 3240 1-1"))(bus)
        (bus.root / "run/vhci_hcd").chmod(0o700)
        python = [*bus.with_run(), *AS_NOBODY, "/usr/bin/python3"]
        outcome = run_check("senselock", env=bus.env(), python=python, checks=open_checks())
        sentence = "cannot tell whether vhci_hcd ports 0 and 1 hold the same key: only root may read /var/run/vhci_hcd"
        assert outcome.line.partition(" | ")[0] == f"SENSELOCK UNKNOWN - {sentence}; see usbip port as root, or let this user read it"


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        pytest.param(libusb_missing, "libusb 1.0 is missing or too old: install the package libusb-1.0-0 (Windows: libusb-1.0.dll beside python.exe)",
                     id="libusb missing"),
        pytest.param(libusb_too_old, "libusb 1.0 is missing or too old: install the package libusb-1.0-0 (Windows: libusb-1.0.dll beside python.exe)",
                     id="libusb too old"),
        pytest.param(libusb_refuses, "libusb 1.0 cannot start (libusb_init failed): check the rights of this user (Linux: and /dev/bus/usb)",
                     id="libusb does not start"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("python", [sys.executable, "/usr/bin/python3"], ids=["pyusb of PyPI", "pyusb of Debian"])
def test_without_a_usable_libusb(world: Callable[[Path], dict[str, str]], expected: str, python: str, tmp_path: Path) -> None:
    with UsbBus() as bus:
        bus.add_key()
        outcome = run_check("senselock", env=bus.env(world(tmp_path)), python=python)
        assert (outcome.code, outcome.text) == (3, f"SENSELOCK UNKNOWN - {expected} | key_state=3\n")


def test_libusb_does_not_start_where_there_is_no_usb(tmp_path: Path) -> None:
    with UsbBus(present=False) as bus:
        outcome = run_check("senselock", env=bus.env(libusb_refuses(tmp_path)))
        assert (outcome.code, outcome.line.split(":")[0]) == (2, "SENSELOCK CRITICAL - no SenseLock key")


def test_pyusb_missing(tmp_path: Path) -> None:
    (tmp_path / "usb.py").write_text("raise ModuleNotFoundError('no', name='usb')")
    outcome = run_check("senselock", env={"PYTHONPATH": str(tmp_path)})
    sentence = "the Python library pyusb is missing: install the package python3-usb, or run pip install pyusb"
    assert (outcome.code, outcome.text) == (3, f"SENSELOCK UNKNOWN - {sentence} | key_state=3\n")
