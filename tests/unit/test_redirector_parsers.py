"""check_usb_redirector's pure parts: the list of every forwarder as captured, cut, forged and mangled; the judgement of
license, devices, processes and services; its options' values."""

from __future__ import annotations

import argparse
import datetime
import json
import ntpath
import re
import sys
import types
from typing import Any

import check_usb_redirector as check
import nagiosplugin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kodeks_monitoring.contract import options as contract_options
from kodeks_monitoring.contract.private_files import decoded
from kodeks_monitoring.contract.verdict import Problem
from kodeks_monitoring.forwarders import ask
from kodeks_monitoring.forwarders import product as judge
from kodeks_monitoring.forwarders.ask import Facts, use_list
from kodeks_monitoring.forwarders.product import (
    ATTACHED,
    DISCONNECTED,
    GHOST,
    NOT_UNDERSTOOD,
    OFFERED,
    PERPETUAL,
    SERVED,
    TWO_WAYS,
    UNAVAILABLE,
    UNSHARED,
    USED,
    USED_SOMEWHERE,
    Device,
    Finding,
    Listing,
    load_product,
    product_names,
    unknown_state,
)
from kodeks_monitoring.forwarders.products.usbip import NOT_ATTACHED, NOT_OFFERED, OFFERED_OR_USED, read_devlist
from lab.forwarder_tools import SAMPLES, sample

OK, WARNING, CRITICAL, UNKNOWN = range(4)
KEY = "0471:485d"
SENSE_NAME, IDS_NAME = "Senselock SenseIV", "Philips (or NXP) : Senselock SenseIV v2.x"


def read(product: str, output: bytes | str) -> Listing | Finding | str:
    """A tool's output as the check reads it: a list, what the tool says instead, or why it is no list."""
    facts = Facts(load_product(product), argparse.Namespace())
    try:
        use_list(facts, decoded(output if isinstance(output, bytes) else output.encode()), "it")
    except Problem as problem:
        return str(problem).partition(" that this check knows: ")[2]
    return facts.listing or facts.findings[0][1]


def devices(reading: Listing | Finding | str) -> tuple[Device, ...]:
    assert isinstance(reading, Listing), reading
    return tuple(device._replace(server="") for device in reading.devices)  # test_the_far_machine tests the servers


# --- Every capture --------------------------------------------------------------------------------------------

READERS = [name for name in product_names() if load_product(name).read]
OF_SAMPLES = {"usbclnt": "usb-redirector", "usbsrv": "usb-redirector", "usbrdrsh": "usb-redirector", "usb-redirector": "usb-redirector",
              "usb-network-gate": "usb-network-gate", "virtualhere": "virtualhere", "distkontrol": "distkontrol", "usbipd": "usbipd-win",
              "usbip-": "usbip", "digi": "digi-anywhereusb"}  # fmt: skip
NO_LISTS = {"README.md", "vhci-status.txt"}  # the kernel's status file is machine/usb.py's

JLINK = Device("J-Link", "1366:0101", UNAVAILABLE, "", "000269402504")
CAMERA = Device("ILCE-7M4 - USB Mass Storage Device", "054c:0da5", OFFERED, "", "D06EC06EDCCF")
KEYBOARD = Device("Generic USB K/B Composite USB Device", "13ba:0017", UNSHARED, "", "2-2")
SENSE = Device(SENSE_NAME, KEY, OFFERED, "", "1-2")
HUB_SENSE = Device(SENSE_NAME, "", OFFERED, "", "LICENSEHUB.21")
DELL = Device("Dell KB216 Wired Keyboard", "", ATTACHED, "", "AW02-050314.1101")
GATE = "usbng-server-a.example.test:56228"
LIST_COMMAND = Finding(UNKNOWN, "this is the output of usbipd list, which does not tell who uses a device: give the output of usbipd state")


def client(word: str) -> Finding:
    """The client's own words that it failed."""
    return Finding(CRITICAL, f"the forwarder's client does not answer, is it running? It says: {word}")


CAPTURES: dict[str, tuple[Device, ...] | Finding | str] = {
    "usbclnt-list-2017.txt": (JLINK,),
    "usbclnt-list-2023.txt": (CAMERA,),
    "usbclnt-list-2023-full.txt": (CAMERA._replace(state=UNAVAILABLE), Device("Sony USB Device", "054c:0336", OFFERED, "", "2-4")),
    "usbclnt-list-key-available-constructed.txt": (SENSE,),
    "usbclnt-list-key-connected-constructed.txt": (SENSE._replace(state=ATTACHED),),
    "usbclnt-list-key-not-available-constructed.txt": (SENSE._replace(state=UNAVAILABLE),),
    "usbclnt-list-key-server-disconnected-constructed.txt": (),
    "usb-redirector-daemon-down.txt": Finding(CRITICAL, "forwarder's daemon is not running: start usbsrvd"),
    "usbsrv-list.txt": (KEYBOARD,),
    "usbsrv-list-two-devices.txt": (KEYBOARD, Device("WindowsCE CASIO.", "07cf:3303", UNSHARED, "", "1-1")),
    "usbsrv-list-empty-constructed.txt": (),
    "usbsrv-list-key-plugged-constructed.txt": (KEYBOARD, SENSE._replace(state=UNSHARED)),
    "usbsrv-list-key-shared-constructed.txt": (KEYBOARD, SENSE),
    "usbsrv-list-key-unplugged-constructed.txt": (KEYBOARD, SENSE._replace(state=UNAVAILABLE)),
    "usbsrv-list-key-in-use-constructed.txt": (KEYBOARD, SENSE._replace(state=SERVED, user="192.0.2.10")),
    "usbrdrsh-list-devices-constructed.txt": (SENSE._replace(place="2-1"), Device("Token", "0529:0620", ATTACHED, "", "77")),
    "usbrdrsh-list-devices-no-servers-constructed.txt": (SENSE._replace(place="2-1"),),
    "usb-network-gate-show-remote-devices.txt": (
        Device("Unknown", "", DISCONNECTED, "", GATE), Device("Unknown", "", DISCONNECTED, "", "198.51.100.24:40353"),
    ),
    "usb-network-gate-find-remote-devices.txt": (Device("Stream Deck Plus", "", USED_SOMEWHERE, "198.51.100.40", GATE),),
    "usb-network-gate-key-connected-constructed.txt": (Device(SENSE_NAME, "", USED_SOMEWHERE, "192.0.2.10", "192.0.2.20:56228"),),
    "usb-network-gate-key-disconnected-constructed.txt": (Device(SENSE_NAME, "", DISCONNECTED, "", "192.0.2.20:56228"),),
    "usb-network-gate-ls-net.txt": (
        Device("Stream Deck Plus", "", USED, "198.51.100.40", "198.51.100.24:56228"), Device("Brio 101", "", ATTACHED, "", "198.51.100.24:60222"),
    ),
    "usb-network-gate-ls-shared.txt": (Device("Stream Deck Plus", "", OFFERED, "", "3-1"),),
    "usb-network-gate-error-constructed.txt": Finding(UNKNOWN, "the tool reports an error: Error: the service is not available"),
    "usb-network-gate-show-usb-list.txt": "USB Network Gate",
    "virtualhere-list.txt": (
        Device("Portable SSD T5", "", OFFERED, "", "SERVER.82"), Device("Token JC", "", USED, "(michael) at 192.168.0.21", "SERVER.73"),
        Device("AURA Custom Human interface", "", OFFERED, "", "SERVER.111"),
    ),
    "virtualhere-list-own-use.txt": (Device("TTL232R-3V3", "", ATTACHED, "", "BeagleBone.11"),),
    "virtualhere-list-odd-names.txt": tuple(
        Device(name, "", OFFERED, "", f"5e55fefe2c80.{number}")
        for name, number in (("SteelSeries Arctis 7 Bootloader", 1324), ("USB Receiver", 12), ("CRCA102*AF1", 1323), ("Gaming Keyboard G910", 14), ("0x0a2b", 19))
    ),
    "virtualhere-list-older-client.txt": (
        Device(SENSE_NAME, "", ATTACHED, "", "attic.114"), Device("eLicenser", "", OFFERED, "", "NAS.1134"), Device("WIBU-BOX/U", "", OFFERED, "", "NAS.1144"),
    ),
    "virtualhere-list-users.txt": (
        Device(SENSE_NAME, "", ATTACHED, "", "192.0.2.20.114"), Device("Token A", "", USED, "Anna Weber at 192.0.2.48", "192.0.2.20.115"),
        Device("Token B", "", USED, "b.koch (b.koch) at 192.0.2.49 (WS-114)", "192.0.2.20.116"),
        Device("Token C", "", USED, "(root) at 192.0.2.50", "192.0.2.20.117"),
    ),
    "distkontrol-list-users.txt": (
        Device("USB 03", "", ATTACHED, "", "OFFICE-HUB-Gr-1.3"), Device("USB 05", "", USED, "o.belova (o.belova) at 192.0.2.148 (WRK-114)", "OFFICE-HUB-Gr-1.5"),
        Device("USB 06", "", USED, "СИСТЕМА на 192.0.2.179 (WRK-406)", "OFFICE-HUB-Gr-1.6"), Device("USB 07", "", OFFERED, "", "OFFICE-HUB-Gr-1.7"),
    ),
    "virtualhere-list-no-hub.txt": (),
    "virtualhere-list-empty-constructed.txt": (),
    "virtualhere-list-key-available-constructed.txt": (HUB_SENSE,),
    "virtualhere-list-key-own-use-constructed.txt": (HUB_SENSE._replace(state=ATTACHED),),
    "virtualhere-list-key-other-use-constructed.txt": (HUB_SENSE._replace(state=USED, user="(operator) at 192.0.2.30"),),
    "virtualhere-failure-no-client.txt": client("An existing client is not running."),
    "virtualhere-failure-no-response.txt": client("No response from IPC server"),
    "virtualhere-failure-response-open-failed.txt": client("IPC client, server response open failed"),
    "usbip-port.txt": (Device("unknown vendor : unknown product", "2fe3:0100", ATTACHED, "", "port 00"),),
    "usbip-port-key.txt": (Device(IDS_NAME, KEY, ATTACHED, "", "port 00"),),
    "usbip-port-none-constructed.txt": (),
    "usbip-port-twice-constructed.txt": (Device(IDS_NAME, KEY, GHOST, "", "port 00"), Device(IDS_NAME, KEY, GHOST, "", "port 01")),
    "usbip-win-port.txt": (Device(IDS_NAME, KEY, ATTACHED, "", "port 00"),),
    "usbip-win2-port-0977.txt": (Device(IDS_NAME, KEY, ATTACHED, "", "port 03"), Device("Widget", "5678:ef01", ATTACHED, "", "port 04")),
    "usbip-win2-port-0981.txt": (Device(IDS_NAME, "", ATTACHED, "", "port 01"),),
    "usbip-list-remote-key.txt": (Device(IDS_NAME, KEY, OFFERED, "", "1-2"),),
    "usbip-list-remote-deep.txt": (
        Device(IDS_NAME, KEY, OFFERED, "", "3-12.4.1"), Device("unknown vendor : unknown product", "2fe3:0100", OFFERED, "", "12-11.4.1.3"),
    ),
    "usbip-win2-list-remote.txt": (Device("Realtek : unknown product", "0bda:1100", OFFERED, "", "2-6-5"), Device(IDS_NAME, KEY, OFFERED, "", "1-1")),
    "usbip-win2-list-of-usbipd-win.txt": (Device(IDS_NAME, KEY, OFFERED_OR_USED, "", "9-1"),),
    "usbip-list-remote-of-usbip-win.txt": (Device(IDS_NAME, KEY, OFFERED_OR_USED, "", "1-249"),),
    "usbip-list-remote-none.txt": (),
    "usbip-list-remote-refused.txt": Finding(
        CRITICAL, "the tool reports an error: could not connect to 127.0.0.1:3240: System error"
    ),
    "usbip-list-remote-no-name.txt": Finding(
        UNKNOWN, "the tool reports an error: could not connect to forwarder.invalid:3240: Name or service not known"
    ),
    "usbip-port-no-module.txt": Finding(UNKNOWN, "the tool reports an error: open vhci_driver"),
    "usbip-port-no-library.txt": Finding(UNKNOWN, "the tool reports an error: open vhci_driver (is vhci_hcd loaded?)"),
    "usbipd-state.json": (
        Device("Microsoft USB IntelliMouse Optical", "045e:0039", UNSHARED, "", "8-4"), Device("USB-SERIAL CH340 (COM8)", "1a86:7523", UNAVAILABLE),
        Device("USB-Enhanced-SERIAL CH343 (COM19)", "1a86:55d3", SERVED, "172.22.176.1", "16-1"),
    ),
    "usbipd-state-key-attached-constructed.json": (SENSE._replace(state=SERVED, user="192.0.2.10"),),
    "usbipd-state-key-not-shared-constructed.json": (SENSE._replace(state=UNSHARED),),
    "usbipd-state-key-shared-constructed.json": (SENSE,),
    "usbipd-state-key-unplugged-constructed.json": (SENSE._replace(state=UNAVAILABLE, place=""),),
    "usbipd-list.txt": LIST_COMMAND,
    "usbipd-list-incompatible-hub.txt": LIST_COMMAND,
    "digi-awusbmanager-list.txt": (DELL,),
    "digi-awusbmanager-list-not-connected.txt": (DELL._replace(state=OFFERED),),
    "digi-awusbmanager-list-users.txt": (
        Device("0x01a2", "", OFFERED, "", "AW24-000107.1115"), Device("Kit V1.1", "", OFFERED, "", "AW24-000107.1116"),
        Device("Kit V1.1", "", USED, "hvf at 192.0.2.135", "AW24-000107.1503"), Device(SENSE_NAME, "", ATTACHED, "", "AW24-000107.1706"),
    ),
}  # fmt: skip


def product_of(name: str) -> str:
    """The product that prints a sample, by its file name."""
    return next(product for start, product in OF_SAMPLES.items() if name.startswith(start))


def read_sample(name: str, raw: bytes | None = None) -> tuple[Device, ...] | Finding | str:
    reading = read(product_of(name), sample(name) if raw is None else raw)
    return devices(reading) if isinstance(reading, Listing) else reading


def test_every_sample_has_an_expectation_and_a_source() -> None:
    names = {path.name for path in SAMPLES.iterdir()}
    assert names - NO_LISTS == set(CAPTURES)
    listed = re.findall(r"`([a-z0-9*-]+\.(?:txt|json))`", (SAMPLES / "README.md").read_text("utf-8"))
    patterns = [re.compile(re.escape(name).replace(r"\*", ".*")) for name in listed]
    assert [name for name in names - {"README.md"} if not any(pattern.fullmatch(name) for pattern in patterns)] == []


@pytest.mark.parametrize("name", CAPTURES)
def test_a_capture_is_read(name: str) -> None:
    assert read_sample(name) == CAPTURES[name]


@pytest.mark.parametrize("name", CAPTURES)
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda raw: raw.replace(b"\n", b"\r\n"), id="line ends of Windows"),
        pytest.param(lambda raw: b"\xef\xbb\xbf" + raw, id="byte order mark"),
        pytest.param(lambda raw: raw.decode().replace("\n", "\r\n").encode("utf-16"), id="PowerShell's UTF-16"),
        pytest.param(lambda raw: raw.rstrip(b"\n"), id="no line end at the end"),
    ],
)
def test_a_capture_in_another_dress_is_the_same(name: str, change: Any) -> None:
    assert read_sample(name, change(sample(name))) == CAPTURES[name]


@pytest.mark.parametrize(
    ("name", "servers"),
    [
        pytest.param("usbclnt-list-key-connected-constructed.txt", ["192.0.2.20:32032"], id="USB Redirector"),
        pytest.param("usbclnt-list-2023-full.txt", ["10.147.17.8:32032"] * 2, id="USB Redirector, of several"),
        pytest.param("usbsrv-list-two-devices.txt", ["", ""], id="USB Redirector's server"),
        pytest.param("virtualhere-list-key-own-use-constructed.txt", ["LICENSEHUB:7575"], id="VirtualHere"),
        pytest.param("digi-awusbmanager-list.txt", ["127.0.0.1:18574"], id="Digi"),
        pytest.param("usb-network-gate-key-connected-constructed.txt", ["192.0.2.20:56228"], id="USB Network Gate"),
        pytest.param("usb-network-gate-ls-shared.txt", [""], id="USB Network Gate's server"),
        pytest.param("usbip-port-key.txt", [""], id="USB/IP, where the kernel knows"),
    ],
)
def test_the_far_machine(name: str, servers: list[str]) -> None:
    reading = read(product_of(name), sample(name))
    assert isinstance(reading, Listing)
    assert [device.server for device in reading.devices] == servers


LOST = "not connected to {}, is the forwarder on, and reachable from here?"


@pytest.mark.parametrize(
    ("name", "remedy", "absent"),
    [
        pytest.param("usbclnt-list-2023.txt", LOST.format("10.147.17.207:32032"), Listing().absent, id="one server away"),
        pytest.param("usbclnt-list-2023-full.txt", LOST.format("10.147.17.207:32032, 192.168.10.2:32032"), Listing().absent, id="two"),
        pytest.param("usbsrv-list.txt", Listing().remedy, Listing().absent, id="a server has none"),
        pytest.param("usbip-port.txt", NOT_ATTACHED.remedy, NOT_ATTACHED.absent, id="what is not attached is missing"),
        pytest.param("usbip-list-remote-none.txt", NOT_OFFERED.remedy, NOT_OFFERED.absent, id="what is not offered may be in use"),
        pytest.param("usbip-list-remote-deep.txt", NOT_OFFERED.remedy, NOT_OFFERED.absent, id="also beside others"),
    ],
)
def test_what_a_list_means_for_a_device_that_is_not_in_it(name: str, remedy: str, absent: Finding) -> None:
    reading = read(product_of(name), sample(name))
    assert isinstance(reading, Listing)
    assert (reading.remedy, reading.absent) == (remedy, absent)


def good(reading: tuple[Device, ...] | Finding | str) -> set[str]:
    """The devices that a reading gives as good ones to whoever asks for them."""
    if isinstance(reading, (Finding, str)):
        return set()
    return {device.name for device in reading if judge.judge_state(device).state == OK}


# The tools that end their lists with a line of its own; a list of the others can only be cut between two devices.
CLOSED = [name for name in CAPTURES if name.startswith(("usbclnt", "usbsrv", "usbrdrsh", "virtualhere-list", "distkontrol", "usbipd-state", "digi"))]


@pytest.mark.parametrize("name", CLOSED)
def test_a_list_cut_anywhere_shows_nothing_good(name: str) -> None:
    raw = sample(name).rstrip(b"\n\x01")
    for length in range(0, len(raw) - 20, 3):  # the last bytes are no more than the end of a line of dashes or words
        assert good(read_sample(name, raw[:length])) == set(), length


@pytest.mark.parametrize("name", ["usb-network-gate-find-remote-devices.txt", "usb-network-gate-ls-net.txt", "usbip-port-key.txt", "usbip-list-remote-deep.txt"])
def test_an_open_list_that_is_cut_shows_no_more_than_the_whole(name: str) -> None:
    raw, whole = sample(name), CAPTURES[name]
    for length in range(len(raw)):
        assert good(read_sample(name, raw[:length])) <= good(whole), length


@pytest.mark.parametrize("product", READERS)
@pytest.mark.parametrize("name", CAPTURES)
def test_no_list_is_taken_for_another_products(product: str, name: str) -> None:
    if {product, product_of(name)} not in ({product}, {"virtualhere", "distkontrol"}):
        assert isinstance(read(product, sample(name)), str)


@pytest.mark.parametrize("product", READERS)
@pytest.mark.parametrize(
    "output",
    [b"", b"\n\n", b"\0", b"\xff\xfe", b"\xff\xfe\x00", b"\xfe\xff\xd8\x00", b"oops", b"<", b"{", b"[]", b"{}", b"null", b"1e999",
     b"[" * 3000, b'{"Devices":' * 300, b"=" * 1_000_000, b"\n" * 1_000_000, b"\xd1" * 9999, b'{"Devices": 1}', b'{"Devices": [1]}',
     b'{"Devices": [{}]}', b'{"Devices": null}', b'{"Devices": "abc"}', b'{"Devices": [' + b"9" * 3000 + b"]}"],
    ids=lambda output: repr(output[:24]),
)  # fmt: skip
def test_nonsense_is_no_list_and_the_evidence_is_told(product: str, output: bytes) -> None:
    reading = read(product, output)
    assert isinstance(reading, str)
    assert reading


@given(product=st.sampled_from(READERS), output=st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_bytes_make_a_reader_raise(product: str, output: bytes) -> None:
    assert isinstance(read(product, output), (Listing, Finding, str))


@given(name=st.sampled_from(sorted(CAPTURES)), data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_change_of_a_capture_makes_a_reader_raise(name: str, data: st.DataObject) -> None:
    raw = sample(name)
    at = data.draw(st.integers(0, len(raw)))
    mangled = raw[:at] + data.draw(st.binary(max_size=12)) + raw[at + data.draw(st.integers(0, 12)) :]
    assert isinstance(read_sample(name, mangled), (tuple, Finding, str))


# --- Names that want to be more than names, and lines that nobody understands ----------------------------------

LOCAL_LIST = sample("usbsrv-list-key-plugged-constructed.txt").decode()
REMOTE_LIST = sample("usbclnt-list-key-not-available-constructed.txt").decode()
VIRTUALHERE = sample("virtualhere-list-key-other-use-constructed.txt").decode()
DIGI_LIST = sample("digi-awusbmanager-list-not-connected.txt").decode()
GATE_LIST = sample("usb-network-gate-key-disconnected-constructed.txt").decode()
REMOTE_USBIP = sample("usbip-list-remote-key.txt").decode()
PORTS_USBIP = sample("usbip-port-key.txt").decode()
FORGED = "x\n    Vid: 0471   Pid: 485d   Port: 9-9\n    Status: plugged, shared"


@pytest.mark.parametrize(
    ("product", "text", "old", "new", "state"),
    [
        # usb-redirector
        pytest.param("usb-redirector", LOCAL_LIST, SENSE_NAME, "Status: plugged, shared", UNSHARED, id="a name that is a status"),
        pytest.param("usb-redirector", LOCAL_LIST, "Port: 1-2", "Serial: 1-2   Status: plugged, shared", UNSHARED, id="a serial that is a status"),
        pytest.param("usb-redirector", LOCAL_LIST, SENSE_NAME, "Vid: 1111   Pid: 2222", UNSHARED, id="a name that is an id"),
        pytest.param("usb-redirector", LOCAL_LIST, SENSE_NAME, "a\u2028b\x85c\x0bd\x1ce", UNSHARED, id="line ends of others"),
        pytest.param("usb-redirector", LOCAL_LIST, SENSE_NAME, "a\rb", UNSHARED, id="a bare carriage return"),
        pytest.param("usb-redirector", LOCAL_LIST, SENSE_NAME, "x\n    Status: plugged, shared", NOT_UNDERSTOOD, id="a name of two lines"),
        pytest.param("usb-redirector", LOCAL_LIST, SENSE_NAME, FORGED, NOT_UNDERSTOOD, id="a name that ends its device"),
        pytest.param("usb-redirector", LOCAL_LIST, SENSE_NAME, f"{FORGED}\n========= ========= =========\n", NOT_UNDERSTOOD, id="a name that ends the list"),
        pytest.param("usb-redirector", LOCAL_LIST, "Port: 1-2\n    Status: plugged", "Port: 1-2\n    Status: connected", unknown_state("connected"), id="another list's status"),
        pytest.param("usb-redirector", LOCAL_LIST, "Port: 1-2", "Port:", UNSHARED, id="an empty port"),
        pytest.param("usb-redirector", LOCAL_LIST, "Port: 1-2", "Port:1-2", NOT_UNDERSTOOD, id="a port without a blank"),
        pytest.param("usb-redirector", LOCAL_LIST, "Status: plugged\n\n=", "Status: plugged\n    Note: x\n\n=", NOT_UNDERSTOOD, id="a line that nobody knows"),
        pytest.param("usb-redirector", REMOTE_LIST, SENSE_NAME, "Mode: auto-connect   Status: connected", UNAVAILABLE, id="a remote name that is a status"),
        pytest.param("usb-redirector", REMOTE_LIST, "Status: not available", "Status: connected to nothing", unknown_state("connected to nothing"), id="an unknown status"),
        pytest.param("usb-redirector", REMOTE_LIST, "Status: not available", "Status: is attached here", unknown_state("is attached here"), id="our own words"),
        pytest.param("usb-redirector", REMOTE_LIST, "Status: not available", "Status: in use by another client", USED, id="used by another"),
        pytest.param("usb-redirector", REMOTE_LIST, "Port: 1-2", "Serial: ", UNAVAILABLE, id="an empty serial"),
        pytest.param("usb-redirector", REMOTE_LIST, "Status: not available", "Status: available for connection ", OFFERED, id="a blank behind the status"),
        pytest.param("usb-redirector", REMOTE_LIST.replace("not available", "connected"), "Status: connected\n  ", "State: connected\n  ", unknown_state("its server is not known to be connected"), id="a server in a strange line"),
        # virtualhere
        pytest.param("virtualhere", VIRTUALHERE, SENSE_NAME, "X (LICENSEHUB.9) (In-use by you)", TWO_WAYS, id="a name with a user"),
        pytest.param("virtualhere", VIRTUALHERE, "(operator)", "(x) at 1.1.1.1) (HUB.9) (In-use by: (y)", TWO_WAYS, id="a user with a user"),
        pytest.param("virtualhere", VIRTUALHERE, SENSE_NAME, "--> X", USED, id="a name with an arrow"),
        pytest.param("virtualhere", VIRTUALHERE, SENSE_NAME, "X (COM3) (HUB.9)", USED, id="a name with an address"),
        pytest.param("virtualhere", VIRTUALHERE, "In-use by: (operator) at 192.0.2.30", "In-use by:YOU", USED, id="by:YOU is not by you"),
        pytest.param("virtualhere", VIRTUALHERE, "In-use by: (operator) at 192.0.2.30", "In-use by somebody", USED, id="no colon"),
        pytest.param("virtualhere", VIRTUALHERE, " (In-use by: (operator) at 192.0.2.30)", " (Borrowed)", NOT_UNDERSTOOD, id="a state that nobody knows"),
        # digi-anywhereusb
        pytest.param("digi-anywhereusb", DIGI_LIST, "Dell KB216", "X (AW02.1) (In-use by you)", TWO_WAYS, id="Digi: a name with a user"),
        pytest.param("digi-anywhereusb", DIGI_LIST, "        Dell", "     Dell", NOT_UNDERSTOOD, id="Digi: another indent"),
        pytest.param("digi-anywhereusb", DIGI_LIST, "Autoconnect All: disabled", "Autoconnect All: disabled\nx", None, id="Digi: text behind the list"),
        # usb-network-gate
        pytest.param("usb-network-gate", GATE_LIST, SENSE_NAME, "X\t-connected to me", None, id="a tab within a name"),
        pytest.param("usb-network-gate", GATE_LIST, SENSE_NAME, "connected ,,1,usb3,1,,Senselock SenseIV,,,,,,,x", DISCONNECTED, id="a name that is the other tool's line"),
        pytest.param("usb-network-gate", GATE_LIST, SENSE_NAME, "Error: X", DISCONNECTED, id="a name that is an error"),
        pytest.param("usb-network-gate", GATE_LIST, "-disconnected", "-connected to x to me", None, id="a user of several words"),
        pytest.param("usb-network-gate", "remote 192.0.2.1,,1,usb3,port1,,A,,,,,,,\nX", "A,", "A,B,", None, id="a comma within a name"),
        # usbip
        pytest.param("usbip", PORTS_USBIP, "<Port in Use>", "<Port Error>", unknown_state("Port Error"), id="a port in an error"),
        pytest.param("usbip", PORTS_USBIP, "<Port in Use>", "device disconnected", unknown_state("device disconnected"), id="a port of usbip-win2 in another state"),
        pytest.param("usbip", PORTS_USBIP, "           -> remote", "           remote", NOT_UNDERSTOOD, id="a row that nobody knows"),
        pytest.param("usbip", PORTS_USBIP, "-> usbip://192.0.2.20:3240/1-2", "-> unknown host, remote port and remote busid", ATTACHED, id="not root"),
        pytest.param("usbip", REMOTE_USBIP, "           : /sys", "           /sys", NOT_UNDERSTOOD, id="a path without its colon"),
        pytest.param("usbip", REMOTE_USBIP, ": /sys", ": USB\\", OFFERED_OR_USED, id="a path of Windows"),
    ],
)  # fmt: skip
def test_a_hostile_name_or_a_strange_line_is_never_good(product: str, text: str, old: str, new: str, state: Finding | None) -> None:
    assert old in text
    reading = read(product, text.replace(old, new))
    assert isinstance(reading, str) if state is None else devices(reading)[-1].state == state


@pytest.mark.parametrize(
    ("group", "device", "state", "user"),
    [
        pytest.param("", "", OFFERED, "", id="free"),
        pytest.param(" (In-use by you)", " (In-use by you)", ATTACHED, "", id="both ours"),
        pytest.param("", " (In-use by you)", ATTACHED, "", id="no word on the group"),
        pytest.param(" (In-use by you)", "", ATTACHED, "", id="the group is ours, no word on the device"),
        pytest.param(" (In-use by:x at 192.0.2.77)", "", USED, "x at 192.0.2.77", id="the group is another's, no word on the device"),
        pytest.param(" (In-use by:x at 192.0.2.77)", " (In-use by:x at 192.0.2.77)", USED, "x at 192.0.2.77", id="both another's"),
        pytest.param(" (In-use by:x at 192.0.2.77)", " (In-use by you)", TWO_WAYS, "", id="only the device is ours"),
        pytest.param(" (In-use by you)", " (In-use by:x at 192.0.2.77)", TWO_WAYS, "", id="only the group is ours"),
        pytest.param(" (In-use by:x) (AW02-050314.1)", "", TWO_WAYS, "", id="a group with a name like a user"),
        pytest.param(" (In-use by:x) (AW02-050314.1) (In-use by you)", "", TWO_WAYS, "", id="a group with a name like another user"),
    ],
)  # fmt: skip
def test_digi_groups(group: str, device: str, state: Finding, user: str) -> None:
    text = DIGI_LIST.replace("Group 1 (AW02-050314.1)", f"Group 1 (AW02-050314.1){group}").replace(".1101)", f".1101){device}")
    text = text.replace("    Group 2 (AW02-050314.2)\n", "    Group 2 (AW02-050314.2)\n        Key (AW02-050314.2101)\n")
    assert devices(read("digi-anywhereusb", text)) == (DELL._replace(state=state, user=user), Device("Key", "", OFFERED, "", "AW02-050314.2101"))


CYRILLIC = "Ключ Гранд-Смета"


@pytest.mark.parametrize("encoding", ["utf-8", "cp1251", "cp866", "utf-16"])
def test_a_name_is_found_in_every_code_page(encoding: str) -> None:
    raw = VIRTUALHERE.replace(SENSE_NAME, CYRILLIC).replace(" (In-use by: (operator) at 192.0.2.30)", "").encode(encoding)
    listing = read("virtualhere", raw)
    assert isinstance(listing, Listing)
    assert judge.judge_device(CYRILLIC.upper(), listing) == Finding(OK, f"key {CYRILLIC.upper()} is offered by the forwarder")


ENTRY = {"BusId": "1-2", "ClientIPAddress": None, "Description": "x", "InstanceId": "USB\\VID_0471&PID_485D\\1", "PersistedGuid": "g"}


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, OFFERED),
        ({"BusId": None, "ClientIPAddress": "192.0.2.1"}, UNAVAILABLE),
        ({"ClientIPAddress": "192.0.2.1", "PersistedGuid": None}, SERVED),
        ({"BusId": 12}, None),
        ({"BusId": "65535-1"}, OFFERED),
        ({"BusId": "IncompatibleHub"}, unknown_state("BusId IncompatibleHub")),
        ({"BusId": "IncompatibleHub", "ClientIPAddress": "192.0.2.1"}, unknown_state("BusId IncompatibleHub")),
        ({"BusId": "0-0"}, unknown_state("BusId 0-0")),
        ({"BusId": "1-2\n"}, unknown_state("BusId 1-2\n")),
        ({"InstanceId": None}, None),
        ({"ClientWslInstance": "Ubuntu"}, OFFERED),
    ],
)
def test_usbipd_states(change: dict[str, Any], state: Finding | None) -> None:
    reading = read("usbipd-win", json.dumps({"Devices": [{**ENTRY, **change}]}))
    assert isinstance(reading, str) if state is None else devices(reading)[0].state == state


@pytest.mark.parametrize("key", ENTRY)
def test_usbipd_without_what_decides(key: str) -> None:
    assert isinstance(read("usbipd-win", json.dumps({"Devices": [{name: value for name, value in ENTRY.items() if name != key}]})), str)


def test_half_a_character_in_json_harms_nothing() -> None:
    listing = read("usbipd-win", json.dumps({"Devices": [{**ENTRY, "Description": "\ud800x\udcff"}]}))
    assert isinstance(listing, Listing)
    assert judge.judge_device("y", listing).state == CRITICAL
    assert judge.judge_state(listing.devices[0]).sentence


NO_NAMES = "usbip: error: failed to open /usr/share/hwdata//usb.ids\n"
NONE = "usbip: info: no exportable devices found on 192.0.2.20\n"
HANGS_UP = "Exported Device List Request failed - Request Completed Successfully"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(NO_NAMES + NONE, NOT_OFFERED, id="no names, no devices"),
        pytest.param(NONE + NO_NAMES, NOT_OFFERED, id="in another order"),
        pytest.param(NO_NAMES + "usbip: error: open vhci_driver\n", Finding(UNKNOWN, "the tool reports an error: open vhci_driver"), id="no names, no module"),
        pytest.param(f"usbip: error: {HANGS_UP}\n\nusbip: error: failed\n", Finding(UNKNOWN, f"the tool reports an error: {HANGS_UP}"), id="hangs up"),
        pytest.param("usbip: error: Failed | \x1b[31m\n", Finding(UNKNOWN, "the tool reports an error: Failed / [31m"), id="escapes"),
        pytest.param(NO_NAMES, NO_NAMES.strip(), id="no more than no names"),
        pytest.param("usbip: info: hello\n", "usbip: info: hello", id="another information"),
        pytest.param(NONE + NONE, NONE.strip(), id="words behind the end"),
        pytest.param(NONE + "x\n", NONE.strip(), id="a line of somebody else"),
        pytest.param(NONE.replace("192.0.2.20", "a b"), "usbip: info: no exportable devices found on a b", id="no host"),
        pytest.param(NO_NAMES + REMOTE_USBIP, read("usbip", REMOTE_USBIP), id="before a list"),
        pytest.param(NONE + REMOTE_USBIP, NONE.strip(), id="before a list, but of none"),
        pytest.param("libusbip: error: fopen\n" + PORTS_USBIP, read("usbip", PORTS_USBIP), id="its library's"),
        pytest.param(PORTS_USBIP + PORTS_USBIP, None, id="two lists"),
    ],
)  # fmt: skip
def test_what_usbip_says_of_itself(text: str, expected: object) -> None:
    reading = read("usbip", text)
    if expected is None:
        assert good(devices(reading)) == set()
    else:
        assert reading == expected


# --- USB/IP on the wire ---------------------------------------------------------------------------------------


def wire(*usb_ids: str, interfaces: int = 1, number: int | None = None, path: str = "/sys/devices/x") -> bytes:
    """An answer to OP_REQ_DEVLIST, written from the kernel's document."""
    answer = bytes.fromhex("0111000500000000") + (len(usb_ids) if number is None else number).to_bytes(4, "big")
    for index, usb_id in enumerate(usb_ids):
        answer += path.encode().ljust(256, b"\0") + f"1-{index + 1}".encode().ljust(32, b"\0") + bytes(12)
        answer += bytes.fromhex(usb_id.replace(":", "")) + bytes(7) + bytes([interfaces]) + bytes(4 * interfaces)
    return answer


class Bytes:
    """Bytes as a connection hands them out; the end of them is the end of the connection."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, size: int) -> bytes:
        piece, self.data = self.data[:size], self.data[size:]
        if len(piece) < size:
            raise EOFError
        return piece


@pytest.mark.parametrize("interfaces", [0, 1, 2, 255])
def test_the_exported_devices(interfaces: int) -> None:
    reading = read_devlist(Bytes(wire(KEY, "1bc0:0051", interfaces=interfaces)).take, "S")
    assert reading == [Device("", KEY, OFFERED, "", "1-1"), Device("", "1bc0:0051", OFFERED, "", "1-2")]


@pytest.mark.parametrize(
    ("path", "state"),
    [
        ("/sys/devices/pci0000:00/0000:00:14.0/usb1/1-1", OFFERED),
        ("/renode/virtual/1-1", OFFERED),
        ("USB\\VID_0471&PID_485D\\7&3A2774D3&0&1", OFFERED_OR_USED),
        ("\\\\?\\usb#vid_0471&pid_485d", OFFERED_OR_USED),
        ("", OFFERED_OR_USED),
    ],
)
def test_the_path_tells_the_server(path: str, state: Finding) -> None:
    assert read_devlist(Bytes(wire(KEY, path=path)).take, "S")[0].state == state


def test_nothing_exported() -> None:
    assert read_devlist(Bytes(wire()).take, "S") == []


def test_an_answer_cut_anywhere_is_no_list() -> None:
    whole = wire(KEY, KEY)
    for length in range(len(whole)):
        with pytest.raises(EOFError):
            read_devlist(Bytes(whole[:length]).take, "S")


OTHER = "S is no USB/IP server of version 1.1.1, check -p: "


@pytest.mark.parametrize(
    ("answer", "state", "sentence"),
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", UNKNOWN, OTHER + "it begins with the bytes 485454502f312e31", id="http"),
        pytest.param(bytes.fromhex("0100000500000000") + bytes(4), UNKNOWN, OTHER + "it begins with the bytes 0100000500000000", id="version 1.0.0"),
        pytest.param(bytes.fromhex("0111000300000000") + bytes(4), UNKNOWN, OTHER + "it begins with the bytes 0111000300000000", id="another reply"),
        pytest.param(bytes.fromhex("0111000500000001"), CRITICAL, "forwarder at S refuses to list its devices", id="refused"),
        pytest.param(wire(number=1025), UNKNOWN, "forwarder at S announces 1025 devices: is it a USB/IP server?", id="too many"),
        pytest.param(wire(number=0xFFFFFFFF), UNKNOWN, "forwarder at S announces 4294967295 devices: is it a USB/IP server?", id="four billion"),
    ],
)  # fmt: skip
def test_an_answer_of_another_kind(answer: bytes, state: int, sentence: str) -> None:
    with pytest.raises(Problem) as caught:
        read_devlist(Bytes(answer).take, "S")
    assert (caught.value.state, str(caught.value)) == (state, sentence)


# --- The license ----------------------------------------------------------------------------------------------

TODAY = datetime.date(2026, 11, 23)


@pytest.mark.parametrize(
    ("ends", "today", "warning", "critical", "state", "sentence"),
    [
        ("2027-11-23", TODAY, "30:", "7:", OK, "license of X ends in 365 days (2027-11-23)"),
        ("2026-12-23", TODAY, "30:", "7:", OK, "license of X ends in 30 days (2026-12-23)"),
        ("2026-12-22", TODAY, "30:", "7:", WARNING, "license of X ends in 29 days (2026-12-22): renew it now"),
        ("2026-11-30", TODAY, "30:", "7:", WARNING, "license of X ends in 7 days (2026-11-30): renew it now"),
        ("2026-11-24", TODAY, "30:", "7:", CRITICAL, "license of X ends in 1 day (2026-11-24): renew it now"),
        ("2026-11-23", TODAY, "30:", "7:", CRITICAL, "license of X ends today (2026-11-23): renew it now"),
        ("2026-11-23", TODAY, "0:", "0:", OK, "license of X ends today (2026-11-23)"),
        ("2026-11-22", TODAY, "30:", "7:", CRITICAL, "license of X expired 1 day ago (2026-11-22): renew it, then reconnect the key"),
        ("2000-01-01", TODAY, "30:", "7:", CRITICAL, "license of X expired 9823 days ago (2000-01-01): renew it, then reconnect the key"),
        *(("2026-11-22", TODAY, warning, critical, CRITICAL, "license of X expired 1 day ago (2026-11-22): renew it, then reconnect the key")
          for warning, critical in (("~:", "~:"), ("0:", "0:"), ("@0:0", "@1:1"), ("~:-1", "~:-1"), ("5", "5"))),
        ("2028-03-01", datetime.date(2028, 2, 28), "30:", "7:", CRITICAL, "license of X ends in 2 days (2028-03-01): renew it now"),
        ("2026-11-30", datetime.date(2019, 1, 1), "30:", "7:", UNKNOWN,
         "license of X cannot be judged: the clock here says 2019-01-01, set it"),
        ("", TODAY, "30:", "7:", UNKNOWN, "license term of X unknown: give --license-expires DATE or perpetual"),
        ("perpetual", TODAY, "30:", "7:", OK, "license of X is perpetual"),
    ],
)  # fmt: skip
def test_the_license(ends: str, today: datetime.date, warning: str, critical: str, state: int, sentence: str) -> None:
    term = check.license_term(ends) if ends else None
    finding = judge.judge_license("X", term, today, nagiosplugin.Range(warning), nagiosplugin.Range(critical))
    assert finding == Finding(state, sentence)


@pytest.mark.parametrize(
    ("text", "day"),
    [("2027-01-31", "2027-01-31"), ("2028-02-29", "2028-02-29"), ("2099-12-31", "2099-12-31"), ("31.12.2026", "2026-12-31"),
     ("01.02.2027", "2027-02-01"), ("29.02.2028", "2028-02-29")],
)  # fmt: skip
def test_a_term(text: str, day: str) -> None:
    assert str(check.license_term(text)) == day


@pytest.mark.parametrize("text", ["perpetual", "PERPETUAL"])
def test_no_end(text: str) -> None:
    assert check.license_term(text) == PERPETUAL


@pytest.mark.parametrize(
    "text",
    ["", " ", "2026-02-30", "2027-02-29", "2026-13-01", "2026-00-10", "2026-1-1", "26-01-01", "2027/01/31", "20270131",
     "29.02.2027", "1.2.2027", "01.02.27", "31.12.2026 ", "31.12.20261", "12031.12.2026", "2031.12.2026", "31.12.1999", "31/12/2026",
     "01.2027.02", "31.12-2026", "2027.12.31", "３１.12.2026", "\n1.12.2026",
     "2027-01-31 ", "2027-01-31\n", "２０２７-01-31", "٢٠٢٧-01-31", "-2027-01-31", "1999-12-31", "2100-01-01", "9999-12-31", "2027-W01-1",
     "2027-01-31T00:00:00", "never", "perpetually", "0"],
)  # fmt: skip
def test_no_term(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        check.license_term(text)


# --- Devices --------------------------------------------------------------------------------------------------

BY_ANOTHER = "k is in use by another machine ({}): release it there"


@pytest.mark.parametrize(
    ("listed", "user", "state", "sentence"),
    [
        (ATTACHED, "", OK, "k is attached here"),
        (OFFERED, "", OK, "k is offered by the forwarder"),
        (SERVED, "192.0.2.10", OK, "k is in use by 192.0.2.10"),
        (SERVED, "", OK, "k is in use by somebody"),
        (USED, "", CRITICAL, BY_ANOTHER.format("somebody")),
        (USED, "x at 10.0.0.9 (THIS-MACHINE)", CRITICAL, BY_ANOTHER.format("x at 10.0.0.9 (THIS-MACHINE)")),
        (USED_SOMEWHERE, "192.0.2.10", UNKNOWN, "k is connected to 192.0.2.10, and the list does not tell which machine that is"),
        (UNSHARED, "", CRITICAL, "k is plugged in, but not shared: share it"),
        (UNAVAILABLE, "", CRITICAL, "k is not available: is it plugged in at the forwarder, and the license valid?"),
        (DISCONNECTED, "", CRITICAL, "k is disconnected from its server: check the server, then reconnect it"),
        (GHOST, "", CRITICAL, "k is attached over a dead connection: run usbip detach, then attach it again"),
        (OFFERED_OR_USED, "", UNKNOWN, "k is shared by usbipd-win, which also lists what others use: run this check where the key is attached"),
        (NOT_UNDERSTOOD, "", UNKNOWN, "k is not understood"),
        (unknown_state("of wax\n|"), "", UNKNOWN, "k is in a state that this check does not know (of wax /): ask the forwarder itself"),
    ],
)  # fmt: skip
def test_a_device_in_a_state(listed: Finding, user: str, state: int, sentence: str) -> None:
    assert judge.judge_state(SENSE._replace(state=listed, user=user), "k") == Finding(state, sentence)


TOKEN = Device("Token JC", "", OFFERED, "", "SERVER.73")
ATTACHED_HERE = Device("", KEY, ATTACHED, "", "2-1")
PIPED = SENSE._replace(name="Senselock | SenseIV")
TWO_KEYS = (SENSE, SENSE._replace(state=UNAVAILABLE, place="1-3"))
ODD = Device("--> Token X (Borrowed)", "", NOT_UNDERSTOOD)
LONG = "T" * 126
NOT_OFFERED_THERE = "is the key plugged in at the forwarder, and shared?"


SENSE_SHOWN = f"{KEY} {SENSE_NAME} at 1-2"
MAY_BE = "may be what this check does not understand: --> Token X (Borrowed)"


def absent(key: str, listed: str) -> str:
    """What is said of a key that no device of the list is."""
    return f"key {key} is not offered by the forwarder (devices listed: {listed}): {NOT_OFFERED_THERE}"


@pytest.mark.parametrize(
    ("wanted", "listing", "state", "sentence"),
    [
        (KEY, Listing((SENSE,)), OK, f"key {KEY} is offered by the forwarder"),
        ("0471:485D ", Listing((SENSE,)), OK, "key 0471:485D is offered by the forwarder"),
        ("senselock  SENSEIV", Listing((SENSE,)), OK, "key senselock SENSEIV is offered by the forwarder"),
        ("1-2", Listing((SENSE,)), OK, "key 1-2 is offered by the forwarder"),
        ("2-1", Listing((ATTACHED_HERE,)), OK, "key 2-1 is attached here"),
        ("Senselock", Listing((SENSE,)), CRITICAL, absent("Senselock", f"1; {SENSE_SHOWN}")),
        (SENSE_NAME, Listing(), CRITICAL, absent(SENSE_NAME, "0")),
        ("1bc0:0051", Listing((SENSE,)), CRITICAL, absent("1bc0:0051", f"1; {SENSE_SHOWN}")),
        ("471:485d", Listing((SENSE,)), CRITICAL, absent("471:485d", f"1; {SENSE_SHOWN}")),
        (KEY, Listing(remedy="go"), CRITICAL, f"key {KEY} is not offered by the forwarder (devices listed: 0): go"),
        (KEY, NOT_OFFERED, UNKNOWN, f"key {KEY} is not offered, and a device in use by another machine is not in that list (devices listed: 0): "
         "run this check where the key is attached"),
        (KEY, Listing((TOKEN,)), UNKNOWN, f"key {KEY}: this list does not tell VID:PID of every device, give --device otherwise "
         "(devices listed: 1; Token JC at SERVER.73)"),
        (KEY, Listing((SENSE._replace(usb_id="1111:2222"), TOKEN)), UNKNOWN, f"key {KEY}: this list does not tell VID:PID of every device, "
         f"give --device otherwise (devices listed: 2; 1111:2222 {SENSE_NAME} at 1-2; Token JC at SERVER.73)"),
        (SENSE_NAME, Listing((ATTACHED_HERE,)), UNKNOWN, f"key {SENSE_NAME}: this list does not tell the name of every device, "
         f"give --device otherwise (devices listed: 1; {KEY} at 2-1)"),
        (KEY, Listing((SENSE, SENSE._replace(state=ATTACHED))), OK, f"key {KEY} is offered by the forwarder"),
        (KEY, Listing(TWO_KEYS), UNKNOWN, f"key {KEY}: not all devices that match are good, name one by its place "
         f"(devices listed: 2; {SENSE_SHOWN}; {KEY} {SENSE_NAME} at 1-3)"),
        ("1-2", Listing(TWO_KEYS), OK, "key 1-2 is offered by the forwarder"),
        ("1-3", Listing(TWO_KEYS), CRITICAL, "key 1-3 is not available: is it plugged in at the forwarder, and the license valid?"),
        (KEY, Listing((SENSE._replace(state=unknown_state("wax")), SENSE._replace(state=UNAVAILABLE))), CRITICAL,
         f"key {KEY} is not available: is it plugged in at the forwarder, and the license valid?"),
        # lines that are not understood: the device that they may be about is unknown, no other is
        (SENSE_NAME, Listing((SENSE, ODD)), OK, f"key {SENSE_NAME} is offered by the forwarder"),
        (KEY, Listing((SENSE, ODD)), OK, f"key {KEY} is offered by the forwarder"),
        (SENSE_NAME, Listing((SENSE._replace(state=UNAVAILABLE), ODD)), CRITICAL,
         f"key {SENSE_NAME} is not available: is it plugged in at the forwarder, and the license valid?"),
        ("Token X", Listing((SENSE, ODD)), UNKNOWN, f"key Token X {MAY_BE}"),
        ("Token Y", Listing((SENSE, ODD)), UNKNOWN, f"key Token Y {MAY_BE}"),
        (SENSE_NAME, Listing((SENSE, ODD._replace(name="x SENSELOCK SenseIV y"))), UNKNOWN,
         f"key {SENSE_NAME} may be what this check does not understand: x SENSELOCK SenseIV y"),
        (KEY, Listing((SENSE, ODD._replace(name="Vid: 0471 Pid: 485D"))), UNKNOWN, f"key {KEY} may be what this check does not understand: Vid: 0471 Pid: 485D"),
        # names as the list has them and as this check shows them
        ("Senselock / SenseIV", Listing((PIPED,)), OK, "key Senselock / SenseIV is offered by the forwarder"),
        ("Senselock | SenseIV", Listing((PIPED,)), OK, "key Senselock / SenseIV is offered by the forwarder"),
        (SENSE_NAME, Listing((SENSE._replace(name="Senselock\x1bSenseIV"),)), OK, f"key {SENSE_NAME} is offered by the forwarder"),
        ("x", Listing((TOKEN._replace(name=LONG),)), CRITICAL, absent("x", f"1; {LONG} at SERVER.73")),
        (LONG, Listing((TOKEN._replace(name=LONG),)), OK, f"key {'T' * 77}... is offered by the forwarder"),
    ],
)  # fmt: skip
def test_a_device_that_is_wanted(wanted: str, listing: Listing, state: int, sentence: str) -> None:
    assert judge.judge_device(wanted, listing) == Finding(state, sentence)


NONE_GOOD = "no device is known to be offered or attached (devices listed: {}): {}"


@pytest.mark.parametrize(
    ("listing", "state", "sentence"),
    [
        (Listing((SENSE, TOKEN)), OK, "2 of 2 devices offered or attached"),
        (Listing(TWO_KEYS), OK, "1 of 2 devices offered or attached"),
        (Listing((SENSE, ODD)), OK, "1 of 2 devices offered or attached"),
        (Listing(), CRITICAL, NONE_GOOD.format(0, NOT_OFFERED_THERE)),
        (Listing((KEYBOARD,), remedy="go"), CRITICAL, NONE_GOOD.format(1, "go")),
        (Listing((SENSE._replace(state=USED, user="192.0.2.10"),)), CRITICAL, NONE_GOOD.format(1, NOT_OFFERED_THERE)),
        (NOT_OFFERED, UNKNOWN, NONE_GOOD.format(0, "run this check where the key is attached")),
        (Listing((KEYBOARD, ODD)), UNKNOWN, NONE_GOOD.format(2, NOT_OFFERED_THERE)),
        (Listing((Device("", "", unknown_state("wax")),)), UNKNOWN, NONE_GOOD.format(1, NOT_OFFERED_THERE)),
    ],
)  # fmt: skip
def test_a_list_where_no_device_is_wanted(listing: Listing, state: int, sentence: str) -> None:
    assert judge.judge_list(listing) == Finding(state, sentence)


@pytest.mark.parametrize(
    ("device", "name"),
    [(SENSE, SENSE_SHOWN), (TOKEN, "Token JC at SERVER.73"), (ATTACHED_HERE, f"{KEY} at 2-1"), (Device("", "", OFFERED), "a device without a name")],
)
def test_what_a_device_is_called(device: Device, name: str) -> None:
    assert judge.name_of(device) == name


# --- Processes and services -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "visible", "state", "sentence"),
    [
        ({}, 0, CRITICAL, "process usbsrvd is not running: start it"),
        ({}, 5, CRITICAL, "process usbsrvd is not running (processes visible here: 5, a container?): start it"),
        ({7: "sleeping"}, 5, OK, "process usbsrvd is running"),
        ({7: "disk-sleep"}, 0, OK, "process usbsrvd is running"),
        ({7: "running", 8: "stopped"}, 0, CRITICAL, "process usbsrvd is frozen: run kill -CONT 8, or restart it"),
        ({9: "tracing-stop"}, 0, CRITICAL, "process usbsrvd is frozen: run kill -CONT 9, or restart it"),
    ],
)  # fmt: skip
def test_processes(statuses: dict[int, str], visible: int, state: int, sentence: str) -> None:
    assert ask.judge_process("usbsrvd", statuses, visible) == Finding(state, sentence)


@pytest.mark.parametrize(
    ("name", "words", "called"),
    [
        ("usbsrvd", [], {"usbsrvd"}),
        ("awusbmanager-he", ["/usr/bin/awusbmanager-headless"], {"awusbmanager-headless"}),
        ("awusbmanager-he", ["/bin/sh", "/opt/awusbmanager-headless"], {"awusbmanager-headless"}),
        ("awusbmanager-he", ["otherwise"], {"awusbmanager-he"}),
        ("awusbmanager-headless", ["/usr/bin/awusbmanager-headless"], {"awusbmanager-headless"}),
    ],
)
def test_a_name_that_the_kernel_cuts(name: str, words: list[str], called: set[str]) -> None:
    assert ask.names_of(name, words) == called


def test_windows_knows_no_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.path.normcase", ntpath.normcase)
    assert ask.names_of("VHUI64.EXE", []) == {"vhui64.exe"}


@pytest.mark.parametrize(
    ("active", "sub", "state", "sentence"),
    [
        ("active", "running", OK, "service u is running"),
        *(("active", sub, UNKNOWN, f"service u is active without a process ({sub}): name its --process")
          for sub in ("exited", "listening", "waiting", "failed", "dead", "plugged", "reload")),
        ("activating", "start", WARNING, "service u is starting (activating, start)"),
        ("activating", "auto-restart", CRITICAL, "service u is not running (activating, auto-restart): start it, or check --service"),
        ("reloading", "reload-notify", WARNING, "service u is starting (reloading, reload-notify)"),
        *((active, sub, CRITICAL, f"service u is not running ({active}, {sub}): start it, or check --service")
          for active, sub in (("inactive", "dead"), ("failed", "failed"), ("deactivating", "stop-sigterm"), ("maintenance", "running"), ("", ""))),
    ],
)  # fmt: skip
def test_a_service(active: str, sub: str, state: int, sentence: str) -> None:
    assert ask.judge_service("u", active, sub) == Finding(state, sentence)


class RecordedServices:
    """psutil as far as Windows services go, with recorded answers; no Windows was asked."""

    class Error(Exception):
        pass

    def __init__(self, status: str | Exception) -> None:
        self.answer = status

    def win_service_get(self, name: str) -> types.SimpleNamespace:
        if isinstance(self.answer, Exception):
            raise self.answer
        return types.SimpleNamespace(status=lambda: self.answer)


@pytest.mark.parametrize(
    ("answer", "state", "sentence"),
    [
        ("running", OK, "service usbipd is running"),
        ("stopped", CRITICAL, "service usbipd is not running (inactive, stopped): start it, or check --service"),
        ("start_pending", WARNING, "service usbipd is starting (activating, start_pending)"),
        ("?", CRITICAL, "service usbipd is not running (inactive, ?): start it, or check --service"),
        (RecordedServices.Error("denied"), UNKNOWN, "service usbipd cannot be asked: denied"),
        (OSError(5, "Access is denied"), UNKNOWN, "service usbipd cannot be asked: [Errno 5] Access is denied"),
    ],
)
def test_windows_services(answer: str | Exception, state: int, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", RecordedServices(answer))
    assert ask.ask_windows("usbipd") == Finding(state, sentence)


# --- Options and products -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "windows", "words"),
    [
        ("usbsrv -list", False, ("usbsrv", "-list")),
        ("utnm -c 'state 192.0.2.20 5'", False, ("utnm", "-c", "state 192.0.2.20 5")),
        ("a; rm -rf $HOME `b` | c > d", False, ("a;", "rm", "-rf", "$HOME", "`b`", "|", "c", ">", "d")),
        (r'"C:\Program Files\USB\UsbService64.exe" show-remote-devices', True, (r"C:\Program Files\USB\UsbService64.exe", "show-remote-devices")),
        (r"C:\vh\vhui64.exe -t LIST", True, (r"C:\vh\vhui64.exe", "-t", "LIST")),
        (r"""C:\x\y.exe --opt="a b" "C:\dir\" 'c d'""", True, (r"C:\x\y.exe", "--opt=a b", "C:\\dir\\", "'c", "d'")),
    ],
)
def test_a_command_is_words_without_a_shell(text: str, windows: bool, words: tuple[str, ...]) -> None:
    assert tuple(check.split_command(text, windows)) == words


@pytest.mark.parametrize("text", ["", "  ", "'", '"a', "''", "\\"])
def test_no_command(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        check.split_command(text, False)


@pytest.mark.parametrize(
    ("parse", "text", "problem"),
    [
        (check.license_term, "2026-11-25 ", "has blanks around it"),
        (check.license_term, "2026-11-25x", "is no date from 2000 to 2099; write YYYY-MM-DD, DD.MM.YYYY or perpetual"),
        (check.split_command, '"a', "cannot be read: No closing quotation"),
        (check.split_command, "''", "names no command"),
        (check.utn_code, "25=fine", "is not CODE=STATE; write for example 25=ok"),
        *((contract_options.host_name, text, "is no host name or address") for text in ("-oProxyCommand=x", "a b", "a/b", "[::1")),
    ],
)  # fmt: skip
def test_a_value_and_what_is_wrong_with_it(parse: Any, text: str, problem: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        parse(text)
    assert str(caught.value) == f"'{text.strip()}' {problem}"


@pytest.mark.parametrize("name", product_names())
def test_the_products_are_sound(name: str) -> None:
    product = load_product(name)
    assert not (product.read and product.exit_codes)
    for (side, system), source in product.sources.items():
        assert side in ("server", "client") and system in ("posix", "nt")
        kind, colon, named = source.partition(":")
        assert (kind in ("process", "service") and named) if colon else product.read
    for part, finding in product.exit_codes.values():
        assert part in ("answer", "device") and finding.state in range(4) and finding.sentence


def test_the_names_of_the_products_are_those_of_version_1() -> None:
    """An ini file of version 1.0.0 goes on naming its product."""
    assert set(product_names()) >= {"usb-redirector", "usb-network-gate", "usb-over-network", "virtualhere", "distkontrol", "usbip", "usbipd-win",
                                    "digi-anywhereusb", "seh-utn", "generic"}  # fmt: skip


