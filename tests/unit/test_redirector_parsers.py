"""check_usb_redirector's pure parts: the list of every forwarder as captured, cut, forged and mangled; the license's
dates; the judgement of devices, processes and services; the memory of a log."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import types
from typing import Any

import check_usb_redirector as check
import forwarder_collector
import forwarder_facts
import forwarder_lists
import forwarder_log
import forwarder_products
import nagiosplugin
import plugin_runtime as runtime
import pytest
from forwarder_facts import (
    ATTACHED,
    DISCONNECTED,
    OFFERED,
    UNAVAILABLE,
    UNREACHABLE,
    UNSHARED,
    UNTOLD,
    USED,
    USED_SOMEWHERE,
    Device,
    Finding,
    Listing,
    Process,
    Term,
    Unrecognised,
    Wanted,
)
from forwarder_log import LogMemory
from hypothesis import given, settings
from hypothesis import strategies as st
from lab.forwarder_tools import SAMPLES, sample

OK, WARNING, CRITICAL, UNKNOWN = range(4)
KEY = "0471:485d"


def read(reader: str, output: bytes | str) -> Any:
    """A tool's output through the whole reading."""
    return forwarder_lists.read_list(reader, forwarder_facts.decode(output if isinstance(output, bytes) else output.encode()))


# --- Every capture --------------------------------------------------------------------------------------------

JLINK = Device("J-Link", "1366:0101", UNAVAILABLE, "", "000269402504")
CAMERA = Device("ILCE-7M4 - USB Mass Storage Device", "054c:0da5", OFFERED, "", "D06EC06EDCCF")
KEYBOARD = Device("Generic USB K/B Composite USB Device", "13ba:0017", UNSHARED, "", "2-2")
SENSE = Device("Senselock SenseIV", KEY, OFFERED, "", "1-2")
VH_SENSE = Device("Senselock SenseIV", "", OFFERED, "", "LICENSEHUB.21")
XML_SENSE = Device("Senselock SenseIV", KEY, OFFERED, "", "licensehub.21")
DIGI = Device("Dell KB216 Wired Keyboard", "", ATTACHED, "", "AW02-050314.1101")
GATE = "usbng-server-a.example.test:56228"
HUB = (("License Hub", 1),)
DAEMON_DOWN = Finding(CRITICAL, "forwarder's daemon is not running: start usbsrvd")
NOT_HERE = (CRITICAL, "is not attached here")
NOT_OFFERED = (UNKNOWN, "is not offered, and a device in use by another machine is not in that list: run this check where the key is attached")
LOCAL_ONLY = "plugged in, but whether it is shared only eveusbc ls shared tells"

CAPTURES = {
    "usbclnt-list-2017.txt": Listing((JLINK,)),
    "usbclnt-list-2023.txt": Listing((CAMERA,), lost=("10.147.17.207:32032",)),
    "usbclnt-list-2023-full.txt": Listing(
        (CAMERA._replace(state=UNAVAILABLE), Device("Sony USB Device", "054c:0336", OFFERED, "", "2-4")),
        lost=("10.147.17.207:32032", "192.168.10.2:32032"),
    ),
    "usbclnt-list-key-available-constructed.txt": Listing((SENSE,)),
    "usbclnt-list-key-connected-constructed.txt": Listing((SENSE._replace(state=ATTACHED),)),
    "usbclnt-list-key-not-available-constructed.txt": Listing((SENSE._replace(state=UNAVAILABLE),)),
    "usbclnt-list-key-server-disconnected-constructed.txt": Listing(lost=("192.0.2.20:32032",)),
    "usb-redirector-daemon-down.txt": DAEMON_DOWN,
    "usbsrv-list.txt": Listing((KEYBOARD,), "server"),
    "usbsrv-list-two-devices.txt": Listing(
        (KEYBOARD, Device("WindowsCE CASIO.", "07cf:3303", UNSHARED, "", "1-1")), "server"
    ),
    "usbsrv-list-empty-constructed.txt": Listing((), "server"),
    "usbsrv-list-key-plugged-constructed.txt": Listing((KEYBOARD, SENSE._replace(state=UNSHARED)), "server"),
    "usbsrv-list-key-shared-constructed.txt": Listing((KEYBOARD, SENSE), "server"),
    "usbsrv-list-key-unplugged-constructed.txt": Listing((KEYBOARD, SENSE._replace(state=UNAVAILABLE)), "server"),
    "usbsrv-list-key-in-use-constructed.txt": Listing((KEYBOARD, SENSE._replace(state=USED, user="192.0.2.10")), "server"),
    "usb-network-gate-show-remote-devices.txt": Listing(
        (Device("Unknown", "", DISCONNECTED, "", GATE), Device("Unknown", "", DISCONNECTED, "", "198.51.100.24:40353"))
    ),
    "usb-network-gate-find-remote-devices.txt": Listing((Device("Stream Deck Plus", "", USED_SOMEWHERE, "198.51.100.40", GATE),)),
    "usb-network-gate-key-connected-constructed.txt": Listing(
        (Device(SENSE.name, "", USED_SOMEWHERE, "192.0.2.10", "192.0.2.20:56228"),)
    ),
    "usb-network-gate-key-disconnected-constructed.txt": Listing(
        (Device(SENSE.name, "", DISCONNECTED, "", "192.0.2.20:56228"),)
    ),
    "usb-network-gate-ls-local.txt": Listing((Device("Brio 101", "046d:094d", LOCAL_ONLY, "", "32-2.2.1"),), "server"),
    "usb-network-gate-ls-net.txt": Listing(
        (
            Device("Stream Deck Plus", "", USED, "198.51.100.40", "198.51.100.24:56228"),
            Device("Brio 101", "", ATTACHED, "", "198.51.100.24:60222"),
        )
    ),
    "usb-network-gate-ls-shared.txt": Listing((Device("Stream Deck Plus", "", OFFERED, "", "3-1"),), "server"),
    "usb-network-gate-error-constructed.txt": Finding(
        UNKNOWN, "the tool reports an error: Error: the service is not available"
    ),
    "usb-network-gate-show-usb-list.txt": Unrecognised("RootHub#1"),
    "virtualhere-list.txt": Listing(
        (
            Device("Portable SSD T5", "", OFFERED, "", "SERVER.82"),
            Device("Token JC", "", USED, "192.168.0.21", "SERVER.73"),
            Device("AURA Custom Human interface", "", OFFERED, "", "SERVER.111"),
        )
    ),
    "virtualhere-list-own-use.txt": Listing((Device("TTL232R-3V3", "", ATTACHED, "", "BeagleBone.11"),)),
    "virtualhere-list-odd-names.txt": Listing(
        tuple(
            Device(name, "", OFFERED, "", f"5e55fefe2c80.{number}")
            for name, number in (
                ("SteelSeries Arctis 7 Bootloader", 1324), ("USB Receiver", 12), ("CRCA102*AF1", 1323),
                ("Gaming Keyboard G910", 14), ("0x0a2b", 19),
            )
        )
    ),  # fmt: skip
    "virtualhere-list-empty-constructed.txt": Listing(),
    "virtualhere-list-key-available-constructed.txt": Listing((VH_SENSE,)),
    "virtualhere-list-key-own-use-constructed.txt": Listing((VH_SENSE._replace(state=ATTACHED),)),
    "virtualhere-list-key-other-use-constructed.txt": Listing((VH_SENSE._replace(state=USED, user="192.0.2.30"),)),
    "virtualhere-failure-no-client.txt": Finding(
        CRITICAL, "the forwarder's client is not running (it says: An existing client is not running.)"
    ),
    "virtualhere-failure-no-response.txt": Finding(
        CRITICAL, "the forwarder's client does not answer: is it frozen? (it says: No response from IPC server)"
    ),
    "virtualhere-failure-response-open-failed.txt": Finding(
        CRITICAL,
        "the forwarder's client cannot be reached: does it run, and may this user ask it?"
        " (it says: IPC client, server response open failed)",
    ),
    "virtualhere-server-log.txt": Finding(
        CRITICAL,
        "the server has no license (it says: 2025-08-03 13:52:25 ERROR :You need to purchase a license for your Server (xx:7576))",
    ),
    "virtualhere-licenses-constructed.txt": Listing(
        licenses=(("License Hub", None), ("Trial Hub", 1)), only_licenses=True
    ),
    "virtualhere-client-state-key-free-constructed.xml": Listing((XML_SENSE,), licenses=HUB),
    "virtualhere-client-state-key-bound-constructed.xml": Listing(
        (XML_SENSE._replace(state=USED, user="kodeks 192.0.2.10"),), licenses=HUB
    ),
    "virtualhere-client-state-key-gone-constructed.xml": Listing((XML_SENSE._replace(state=UNAVAILABLE),), licenses=HUB),
    "virtualhere-client-state-key-not-logged-in-constructed.xml": Listing(
        (XML_SENSE._replace(state=DISCONNECTED),), lost=("License Hub",), licenses=HUB
    ),
    "usbip-port.txt": Listing((Device("unknown vendor : unknown product", "2fe3:0100", ATTACHED, "", "port 00"),), absent=NOT_HERE, remedy=forwarder_lists.ATTACH_IT),
    "usbip-port-key.txt": Listing(
        (Device("Philips (or NXP) : Senselock SenseIV v2.x", KEY, ATTACHED, "", "port 00"),), absent=NOT_HERE, remedy=forwarder_lists.ATTACH_IT
    ),
    "usbip-port-none-constructed.txt": Listing(absent=NOT_HERE, remedy=forwarder_lists.ATTACH_IT),
    "usbip-list-remote-key.txt": Listing(
        (Device("Philips (or NXP) : Senselock SenseIV v2.x", KEY, OFFERED, "", "1-2"),), absent=NOT_OFFERED
    ),
    "usbip-list-remote-none.txt": Listing(absent=NOT_OFFERED),
    "usbip-list-remote-refused.txt": Finding(
        CRITICAL, "forwarder does not answer (it says: could not connect to 127.0.0.1:3240: System error): "
        "does it run there, and does a firewall let this machine in?"
    ),
    "usbip-list-remote-no-name.txt": Finding(
        UNKNOWN, "the forwarder cannot be asked (it says: could not connect to forwarder.invalid:3240: Name or service not known): is its name right?"
    ),
    "usbip-port-no-module.txt": Finding(
        UNKNOWN, "what is attached here cannot be told (it says: open vhci_driver): run modprobe vhci_hcd, then usbip attach"
    ),
    "usbipd-state.json": Listing(
        (
            Device("Microsoft USB IntelliMouse Optical", "045e:0039", UNSHARED, "", "8-4"),
            Device("USB-SERIAL CH340 (COM8)", "1a86:7523", UNAVAILABLE),
            Device("USB-Enhanced-SERIAL CH343 (COM19)", "1a86:55d3", USED, "172.22.176.1", "16-1"),
        ),
        "server",
    ),
    "usbipd-state-key-attached-constructed.json": Listing((SENSE._replace(state=USED, user="192.0.2.10"),), "server"),
    "usbipd-state-key-not-shared-constructed.json": Listing((SENSE._replace(state=UNSHARED),), "server"),
    "usbipd-state-key-shared-constructed.json": Listing((SENSE,), "server"),
    "usbipd-state-key-unplugged-constructed.json": Listing((SENSE._replace(state=UNAVAILABLE, place=""),), "server"),
    "digi-awusbmanager-list.txt": Listing((DIGI,)),
    "digi-awusbmanager-list-not-connected.txt": Listing((DIGI._replace(state=OFFERED),)),
}
NO_LISTS = {"README.md", "vhci-status.txt"}  # the kernel's status file is plugin_runtime's


def reader_of(name: str) -> str:
    """The reader for a sample, by its file name."""
    starts = {
        "usbclnt": "usb-redirector", "usbsrv": "usb-redirector", "usb-redirector": "usb-redirector",
        "usb-network-gate": "usb-network-gate", "virtualhere": "virtualhere", "usbipd": "usbipd-win", "usbip-": "usbip",
        "digi": "digi-anywhereusb",
    }  # fmt: skip
    return next(reader for start, reader in starts.items() if name.startswith(start))


def test_every_sample_has_an_expectation() -> None:
    assert {path.name for path in SAMPLES.iterdir()} - NO_LISTS == set(CAPTURES)


@pytest.mark.parametrize("name", CAPTURES)
def test_a_capture_is_read(name: str) -> None:
    assert read(reader_of(name), sample(name)) == CAPTURES[name]


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
    assert read(reader_of(name), change(sample(name))) == CAPTURES[name]


def good(reading: Any) -> list[str]:
    """The devices that a reading gives as good ones to whoever asks for them."""
    if not isinstance(reading, Listing):
        return []
    return [device.name for device in reading.devices if forwarder_facts.judge_state("", device, reading.side, ()).state == OK]


# The tools that end their lists with a line of its own; a list of the others can only be cut between two devices.
CLOSED = [name for name in CAPTURES if name.startswith(("usbclnt", "usbsrv", "virtualhere-list", "virtualhere-client", "usbipd", "digi"))]


@pytest.mark.parametrize("name", CLOSED)
def test_a_list_cut_anywhere_shows_nothing_good(name: str) -> None:
    raw = sample(name).rstrip(b"\n\x01")
    for length in range(0, len(raw) - 20, 3):  # the last bytes are no more than the end of a line of dashes or words
        assert good(read(reader_of(name), raw[:length])) == [], length


@pytest.mark.parametrize("name", ["usb-network-gate-find-remote-devices.txt", "usb-network-gate-ls-net.txt", "usbip-port-key.txt"])
def test_an_open_list_that_is_cut_shows_no_more_than_the_whole(name: str) -> None:
    raw = sample(name)
    for length in range(len(raw)):
        assert set(good(read(reader_of(name), raw[:length]))) <= set(good(CAPTURES[name])), length


@pytest.mark.parametrize("reader", forwarder_lists.READERS)
@pytest.mark.parametrize("name", CAPTURES)
def test_no_list_is_taken_for_another_products(reader: str, name: str) -> None:
    if reader != reader_of(name):
        assert isinstance(read(reader, sample(name)), Unrecognised)


@pytest.mark.parametrize("reader", forwarder_lists.READERS)
@pytest.mark.parametrize(
    "output",
    [b"", b"\n\n", b"\0", b"\xff\xfe", b"\xff\xfe\x00", b"\xfe\xff\xd8\x00", b"oops", b"<", b"{", b"[]", b"{}", b"null", b"1e999",
     b"[" * 100_000, b'{"Devices":' * 20_000, b"<state>" * 100_000, b"=" * 1_000_000, b"\n" * 1_000_000, b"\xd1" * 9999,
     b'{"Devices": 1}', b'{"Devices": [1]}', b'{"Devices": [{}]}', b'{"Devices": null}', b'{"Devices": "abc"}',
     b'{"Devices": [' + b"9" * 5000 + b"]}", b"<state/>x", b"<!DOCTYPE state><state/>"],
    ids=lambda output: repr(output[:24]),
)  # fmt: skip
def test_nonsense_is_unrecognised_with_evidence(reader: str, output: bytes) -> None:
    reading = read(reader, output)
    assert isinstance(reading, Unrecognised)
    assert reading.evidence


@given(reader=st.sampled_from(sorted(forwarder_lists.READERS)), output=st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_no_bytes_make_a_reader_raise(reader: str, output: bytes) -> None:
    assert isinstance(read(reader, output), (Listing, Finding, Unrecognised))


@given(name=st.sampled_from(sorted(CAPTURES)), data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_change_of_a_capture_makes_a_reader_raise(name: str, data: st.DataObject) -> None:
    raw = sample(name)
    at = data.draw(st.integers(0, len(raw)))
    mangled = raw[:at] + data.draw(st.binary(max_size=12)) + raw[at + data.draw(st.integers(0, 12)) :]
    assert isinstance(read(reader_of(name), mangled), (Listing, Finding, Unrecognised))


# --- Names that want to be more than names --------------------------------------------------------------------

SERVER_LIST = sample("usbsrv-list-key-plugged-constructed.txt").decode()
CLIENT_LIST = sample("usbclnt-list-key-not-available-constructed.txt").decode()
VIRTUALHERE = sample("virtualhere-list-key-other-use-constructed.txt").decode()
DIGI_LIST = sample("digi-awusbmanager-list-not-connected.txt").decode()
GATE_LIST = sample("usb-network-gate-key-disconnected-constructed.txt").decode()
STATE_XML = sample("virtualhere-client-state-key-gone-constructed.xml").decode()
TRAP = "Status: plugged, shared"


@pytest.mark.parametrize(
    ("reader", "text", "state"),
    [
        pytest.param("usb-redirector", SERVER_LIST.replace("Senselock SenseIV", TRAP), UNSHARED, id="a name that is a status"),
        pytest.param("usb-redirector", SERVER_LIST.replace("Port: 1-2", f"Serial: 1-2   {TRAP}"), UNSHARED, id="a serial that is a status"),
        pytest.param("usb-redirector", SERVER_LIST.replace("Senselock SenseIV", "Vid: 1111   Pid: 2222"), UNSHARED, id="a name that is an id"),
        pytest.param("usb-redirector", SERVER_LIST.replace("Senselock SenseIV", "a\u2028b\x85c\x0bd\x1ce"), UNSHARED, id="line ends of others"),
        pytest.param("usb-redirector", SERVER_LIST.replace("Senselock SenseIV", "a\rb"), UNSHARED, id="a bare carriage return"),
        pytest.param("usb-redirector", SERVER_LIST.replace("Senselock SenseIV", f"x\n    {TRAP}"), None, id="a name of two lines"),
        pytest.param("usb-redirector", SERVER_LIST.replace("Senselock SenseIV", "x\n    Vid: 0471   Pid: 485d   Port: 9-9\n    " + TRAP),
                     None, id="a name that ends its device"),
        pytest.param("usb-redirector", SERVER_LIST.replace("Senselock SenseIV",
                     "x\n    Vid: 0471   Pid: 485d   Port: 9-9\n    " + TRAP + "\n 1: y"), None, id="a number twice"),
        pytest.param("usb-redirector", SERVER_LIST.replace("Senselock SenseIV",
                     "x\n    Vid: 0471   Pid: 485d   Port: 9-9\n    " + TRAP + "\n" + "=" * 9 + " " + "=" * 9 + " " + "=" * 9 + "\n"),
                     None, id="a name that ends the list"),
        pytest.param("usb-redirector", CLIENT_LIST.replace("Senselock SenseIV", "Mode: auto-connect   Status: connected"), UNAVAILABLE,
                     id="client: a name that is a status"),
        pytest.param("usb-redirector", CLIENT_LIST.replace("Status: not available", "Status: connected to nothing"), "'connected to nothing'",
                     id="a status that nobody knows"),
        pytest.param("usb-redirector", CLIENT_LIST.replace("Status: not available", "Status: attached here"), "'attached here'",
                     id="a status that is our own word"),
        pytest.param("usb-redirector", SERVER_LIST.replace("Port: 1-2\n    Status: plugged", "Port: 1-2\n    Status: connected"), "'connected'",
                     id="a client's status in a server's list"),
        pytest.param("usb-redirector", CLIENT_LIST.replace("Port: 1-2", "Serial: "), UNAVAILABLE, id="an empty serial"),
        pytest.param("usb-redirector", SERVER_LIST.replace("Port: 1-2", "Port:"), UNSHARED, id="an empty port"),
        pytest.param("usb-redirector", SERVER_LIST.replace("Port: 1-2", "Port:1-2"), None, id="a port without a blank"),
        pytest.param("usb-redirector", CLIENT_LIST.replace("Status: not available", "Status: available for connection "), OFFERED,
                     id="a blank behind the status"),
        pytest.param("virtualhere", VIRTUALHERE.replace("Senselock SenseIV", "X (LICENSEHUB.9) (In-use by you)"),
                     "told by a line that can be read in two ways", id="a name with a state"),
        pytest.param("virtualhere", VIRTUALHERE.replace("(operator)", "(x) at 1.1.1.1) (HUB.9) (In-use by: (y)"),
                     "told by a line that can be read in two ways", id="a user with a state"),
        pytest.param("virtualhere", VIRTUALHERE.replace("Senselock SenseIV", "--> X"), USED, id="a name with an arrow"),
        pytest.param("virtualhere", VIRTUALHERE.replace("Senselock SenseIV", "X (In-use by you)\n   --> Y"), None, id="a name of two lines, VirtualHere"),
        pytest.param("virtualhere", VIRTUALHERE.replace("License Hub (LICENSEHUB:7575)\n", ""), None, id="a device without a hub"),
        pytest.param("digi-anywhereusb", DIGI_LIST.replace("Dell KB216", "X (AW02.1) (In-use by you)"),
                     "told by a line that can be read in two ways", id="Digi: a name with a state"),
        pytest.param("usb-network-gate", GATE_LIST.replace("Senselock SenseIV", "X\t-connected to me"), None, id="a tab within a name"),
        pytest.param("usb-network-gate", GATE_LIST.replace("Senselock SenseIV", "connected ,,1,usb3,1,,Senselock SenseIV,,,,,,,x"), DISCONNECTED,
                     id="a name that is the other tool's line"),
        pytest.param("usb-network-gate", GATE_LIST.replace("Senselock SenseIV", "connected ,,1,usb3,1,,Senselock SenseIV,,,,,,,\tx"), None,
                     id="a name with a tab that is the other tool's line"),
        pytest.param("usb-network-gate", GATE_LIST.replace("Senselock SenseIV", "plugged 1-2, X"), DISCONNECTED, id="a name that is a skipped line"),
        pytest.param("usb-network-gate", GATE_LIST.replace("-disconnected", "-connected to x to me"), None, id="a user of several words"),
        pytest.param("usb-network-gate", GATE_LIST.replace("Senselock SenseIV", "Error: X"), DISCONNECTED, id="a name that is an error"),
        pytest.param("usb-network-gate", "remote 192.0.2.1,,1,usb3,port1,,A,B,,,,,,,\n", None, id="a comma within a name"),
        pytest.param("usb-network-gate", "local 1-1, bcdUSB 0x200, vid 0x0471, pid 0x485d, rev 1, product 'vid 0x1111, pid 0x2222, product ',"
                     " manuf. '', serial '', NumConfigurations 1\n", LOCAL_ONLY, id="a name with ids"),
        pytest.param("virtualhere", STATE_XML.replace('product="Senselock SenseIV"', 'product="x&quot; state=&quot;1"'), UNAVAILABLE,
                     id="XML: a name with attributes"),
    ],
)  # fmt: skip
def test_a_hostile_name_changes_no_state(reader: str, text: str, state: str | None) -> None:
    reading = read(reader, text)
    if state is None:
        assert isinstance(reading, Unrecognised)
    else:
        assert reading.devices[-1].state == state


@pytest.mark.parametrize("behind", [DIGI_LIST, "Error: manager is not running\n", "x"])
def test_text_behind_a_list_of_digi(behind: str) -> None:
    assert isinstance(read("digi-anywhereusb", DIGI_LIST + behind), Unrecognised)


@pytest.mark.parametrize("user", ["you", "you)", "in use", ""])
def test_digi_in_use_by_others(user: str) -> None:
    reading = read("digi-anywhereusb", DIGI_LIST.replace(".1101)", f".1101) (In-use by {user})"))
    if user == "":
        assert isinstance(reading, Unrecognised) or good(reading) == []
    else:
        assert (reading.devices[0].state == ATTACHED) == (user == "you")


GROUP_1, DIGI_KEY = "Group 1 (AW02-050314.1)", "Dell KB216 Wired Keyboard (AW02-050314.1101)"


@pytest.mark.parametrize(
    ("group", "device", "state", "user"),
    [
        pytest.param("", "", OFFERED, "", id="free"),
        pytest.param(" (In-use by you)", " (In-use by you)", ATTACHED, "", id="both ours"),
        pytest.param("", " (In-use by you)", ATTACHED, "", id="no word on the group"),
        pytest.param(" (In-use by you)", "", OFFERED, "", id="the group is ours, no word on the device"),
        pytest.param(" (In-use by 192.0.2.77)", "", USED, "192.0.2.77", id="the group is another's, no word on the device"),
        pytest.param(" (In-use by 192.0.2.77)", " (In-use by 192.0.2.77)", USED, "192.0.2.77", id="both another's"),
        pytest.param(" (In-use by 192.0.2.77)", " (In-use by you)", "used by one and its group by another", "", id="the group is another's, the device ours"),
        pytest.param(" (In-use by you)", " (In-use by 192.0.2.77)", "used by one and its group by another", "", id="the group is ours, the device another's"),
        pytest.param(" (In-use by 192.0.2.77) (AW02-050314.1)", "", "told by a line that can be read in two ways", "", id="a group with a name like a user"),
        pytest.param(" (In-use by 192.0.2.77) (AW02-050314.1) (In-use by you)", "", "told by a line that can be read in two ways", "", id="a group with a name like another user"),
    ],
)  # fmt: skip
def test_digi_groups(group: str, device: str, state: str, user: str) -> None:
    other = "    Group 2 (AW02-050314.2)\n"
    assert other in DIGI_LIST
    text = DIGI_LIST.replace(GROUP_1, GROUP_1 + group).replace(DIGI_KEY, DIGI_KEY + device).replace(other, f"{other}        Key (AW02-050314.2101)\n")
    reading = read("digi-anywhereusb", text)
    assert reading.devices == (DIGI._replace(state=state, user=user), Device("Key", "", OFFERED, "", "AW02-050314.2101"))


CYRILLIC = "Ключ Гранд-Смета"


@pytest.mark.parametrize("encoding", ["utf-8", "cp1251", "cp866", "utf-16"])
def test_a_name_is_found_in_every_code_page(encoding: str) -> None:
    raw = VIRTUALHERE.replace("Senselock SenseIV", CYRILLIC).replace(" (In-use by: (operator) at 192.0.2.30)", "").encode(encoding)
    listing = read("virtualhere", raw)
    finding = forwarder_facts.judge_device(Wanted("", CYRILLIC.upper()), listing, ())
    assert finding == Finding(OK, f"key {CYRILLIC.upper()} is offered by the forwarder")


@pytest.mark.parametrize("attribute", ["nickname", "product"])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1251", "cp866", "utf-16"])
def test_a_name_in_xml_is_found_in_every_code_page(encoding: str, attribute: str) -> None:
    text = sample("virtualhere-client-state-key-free-constructed.xml").decode()
    text = re.sub(rf' {attribute}="[^"]*"', f' {attribute}="{CYRILLIC} 2"', text).replace('serverName="License Hub"', 'serverName="Хаб"')
    listing = read("virtualhere", text.encode(encoding))
    assert len(listing.devices) == 1
    assert forwarder_facts.judge_device(Wanted("", f"{CYRILLIC} 2"), listing, ()) == Finding(OK, f"key {CYRILLIC} 2 is offered by the forwarder")
    missing = forwarder_facts.judge_device(Wanted("", "Ключ"), listing, ())
    shown = f"{CYRILLIC} 2" if encoding != "cp866" else f"{CYRILLIC} 2".encode("cp866").decode("cp1251", "replace")
    assert missing.state == CRITICAL and f"(devices listed: 1: {runtime.clean(shown)})" in missing.sentence
    assert listing.licenses == (("Хаб" if encoding != "cp866" else "Хаб".encode("cp866").decode("cp1251"), 1),)


def test_half_a_character_in_json_harms_nothing() -> None:
    entry = {"BusId": "1-1", "ClientIPAddress": None, "Description": "\ud800x", "InstanceId": "", "PersistedGuid": "g"}
    listing = read("usbipd-win", json.dumps({"Devices": [entry]}))
    assert forwarder_facts.judge_device(Wanted("", "y"), listing, ()).state == CRITICAL
    assert forwarder_facts.judge_device(Wanted("", "x"), listing, ()).state == OK, "as the check shows it"
    assert str(listing.devices[0])


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, OFFERED),
        ({"BusId": None, "ClientIPAddress": "192.0.2.1"}, "attached and unplugged at once"),
        ({"ClientIPAddress": "192.0.2.1", "PersistedGuid": None}, USED),
        ({"ClientIPAddress": ""}, None),
        ({"ClientIPAddress": False}, None),
        ({"ClientIPAddress": ["192.0.2.1"]}, None),
        ({"PersistedGuid": 1}, None),
        ({"BusId": 12}, None),
        ({"BusId": "65535-1"}, OFFERED),
        ({"BusId": "IncompatibleHub"}, UNREACHABLE),
        ({"BusId": "IncompatibleHub", "PersistedGuid": None}, UNREACHABLE),
        ({"BusId": "IncompatibleHub", "ClientIPAddress": "192.0.2.1"}, "'BusId IncompatibleHub'"),
        ({"BusId": "0-0"}, "'BusId 0-0'"),
        ({"BusId": "1-2\n"}, "'BusId 1-2\n'"),
        ({"BusId": "unknown"}, "'BusId unknown'"),
        ({"InstanceId": None}, None),
    ],
)
def test_usbipd_states(change: dict[str, Any], state: str | None) -> None:
    entry = {"BusId": "1-2", "ClientIPAddress": None, "Description": "x", "InstanceId": "USB\\VID_0471&PID_485D\\1", "PersistedGuid": "g"}
    reading = read("usbipd-win", json.dumps({"Devices": [{**entry, **change}]}))
    assert isinstance(reading, Unrecognised) if state is None else reading.devices[0].state == state


@pytest.mark.parametrize("key", ["BusId", "ClientIPAddress", "PersistedGuid", "InstanceId", "Description"])
def test_usbipd_without_what_decides(key: str) -> None:
    entry = json.loads(sample("usbipd-state-key-shared-constructed.json"))
    del entry["Devices"][0][key]
    assert isinstance(read("usbipd-win", json.dumps(entry)), Unrecognised)


@pytest.mark.parametrize(
    ("old", "new", "state"),
    [
        ('address="21" connectionId="1" state="0"', 'state="2"', "'2'"),
        ('address="21" connectionId="1" state="0"', "", None),
        ('connectionId="1" state="3"', 'state="7"', DISCONNECTED),
        ('address="21" connectionId="1" state="0"', 'address="21" state="3"', USED),
        ('idVendor="1137"', 'idVendor="0x471"', None),
        ('idVendor="1137"', 'idVendor="65536"', None),
        ('idVendor="1137"', 'idVendor="-1"', None),
        ("<state>", "<status>", None),
        ("</server>", "", None),
        ("<connection", "<!-- <connection", None),
        ("<state>", "<!DOCTYPE state [<!ENTITY a 'b'>]><state>", None),
    ],
)
def test_virtualheres_xml(old: str, new: str, state: str | None) -> None:
    assert old in STATE_XML
    reading = read("virtualhere", STATE_XML.replace(old, new))
    assert isinstance(reading, Unrecognised) if state is None else reading.devices[0].state == state


def test_virtualheres_xml_with_an_address_of_ipv6() -> None:
    bound = sample("virtualhere-client-state-key-bound-constructed.xml").decode()
    listing = read("virtualhere", bound.replace("192.0.2.10", "2001:db8::10").replace('"kodeks"', '"a b (c):1,d"'))
    assert listing.devices[0].user == "a_b__c__1_d 2001:db8::10"


def test_usbip_port_as_an_ordinary_user_and_in_other_states() -> None:
    text = sample("usbip-port-key.txt").decode()
    alone = text.replace("-> usbip://192.0.2.20:3240/1-2", "-> unknown host, remote port and remote busid")
    noise = "libusbip: error: fopen\nlibusbip: error: read_record\n"
    assert read("usbip", alone.replace("Port 00", noise + "Port 00")) == CAPTURES["usbip-port-key.txt"]
    assert read("usbip", text.replace("<Port in Use>", "<Port Error>")).devices[0].state == "'Port Error'"
    assert isinstance(read("usbip", text + text), Unrecognised)


NO_NAMES = "usbip: error: failed to open /usr/share/hwdata//usb.ids\n"
NONE = "usbip: info: no exportable devices found on 192.0.2.20\n"
NO_MODULE = "usbip: error: open vhci_driver (is vhci_hcd loaded?)\nusbip: error: list imported devices\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(NO_NAMES + NONE, Listing(absent=NOT_OFFERED), id="no names, no devices"),
        pytest.param(NO_NAMES + NO_MODULE, Finding(UNKNOWN, "what is attached here cannot be told (it says: open vhci_driver (is vhci_hcd loaded?)): "
                     "run modprobe vhci_hcd, then usbip attach"), id="no names, no module"),
        pytest.param("usbip: error: Exported Device List Request failed - Request Completed Successfully\n\nusbip: error: failed to get device list from 127.0.0.1\n",
                     Finding(UNKNOWN, "the tool reports an error: Exported Device List Request failed - Request Completed Successfully"), id="hangs up"),
        pytest.param("usbip: error: Failed | \x1b[31m\n", Finding(UNKNOWN, "the tool reports an error: Failed / [31m"), id="escapes"),
        pytest.param(NO_NAMES, Unrecognised(NO_NAMES.strip()), id="no more than no names"),
        pytest.param("usbip: info: hello\n", Unrecognised("usbip: info: hello"), id="another information"),
        pytest.param(NONE + NO_NAMES, Listing(absent=NOT_OFFERED), id="no names, in another order"),
        pytest.param(NONE + NONE, Unrecognised(NONE.strip()), id="words behind the end"),
        pytest.param(NONE + "x\n", Unrecognised(NONE.strip()), id="a line of somebody else"),
        pytest.param(NONE.replace("192.0.2.20", "a b"), Unrecognised("usbip: info: no exportable devices found on a b"), id="no host"),
    ],
)  # fmt: skip
def test_what_usbip_says_of_itself(text: str, expected: object) -> None:
    assert read("usbip", text) == expected


def test_what_usbip_says_before_a_list_changes_nothing() -> None:
    for name in ("usbip-port-key.txt", "usbip-list-remote-key.txt"):
        assert read("usbip", NO_NAMES + sample(name).decode()) == CAPTURES[name]
    assert isinstance(read("usbip", NONE + sample("usbip-list-remote-key.txt").decode() + NONE), Unrecognised)


# --- USB/IP on the wire ---------------------------------------------------------------------------------------


def wire(*devices: str, interfaces: int = 1, number: int | None = None) -> bytes:
    """An answer to OP_REQ_DEVLIST, written from the kernel's document."""
    answer = bytes.fromhex("0111000500000000") + (len(devices) if number is None else number).to_bytes(4, "big")
    for index, usb_id in enumerate(devices):
        answer += b"/sys/devices/x".ljust(256, b"\0") + f"1-{index + 1}".encode().ljust(32, b"\0") + bytes(12)
        answer += bytes.fromhex(usb_id.replace(":", "")) + bytes(7) + bytes([interfaces]) + bytes(4 * interfaces)
    return answer


class Bytes:
    """Bytes as a connection hands them out; the end of them is the end of the connection."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, size: int) -> bytes:
        piece, self.data = self.data[:size], self.data[size:]
        if len(piece) < size:
            raise EOFError
        return piece


@pytest.mark.parametrize("interfaces", [0, 1, 2, 255])
def test_the_exported_devices(interfaces: int) -> None:
    reading = forwarder_lists.read_devlist(Bytes(wire(KEY, "1bc0:0051", interfaces=interfaces)).read)
    assert reading == Listing((Device("", KEY, OFFERED, "", "1-1"), Device("", "1bc0:0051", OFFERED, "", "1-2")))


def test_nothing_exported() -> None:
    assert forwarder_lists.read_devlist(Bytes(wire()).read) == Listing()


def test_an_answer_cut_anywhere_is_no_list() -> None:
    whole = wire(KEY, KEY)
    for length in range(len(whole)):
        with pytest.raises(EOFError):
            forwarder_lists.read_devlist(Bytes(whole[:length]).read)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", Unrecognised("it begins with the bytes 485454502f312e31")),
        (bytes.fromhex("0100000500000000") + bytes(4), Unrecognised("it begins with the bytes 0100000500000000")),
        (bytes.fromhex("0111000300000000") + bytes(4), Unrecognised("it begins with the bytes 0111000300000000")),
        (bytes.fromhex("0111800500000000") + bytes(4), Unrecognised("it begins with the bytes 0111800500000000")),
        (bytes.fromhex("0111000500000001"), Finding(CRITICAL, "the server refuses to list its devices (status 1)")),
        (wire(number=1025), Unrecognised("it announces 1025 devices")),
        (wire(number=0xFFFFFFFF), Unrecognised("it announces 4294967295 devices")),
    ],
    ids=["http", "version 1.0.0", "another reply", "the request itself", "refused", "too many", "four billion"],
)
def test_an_answer_of_another_kind(answer: bytes, expected: object) -> None:
    assert forwarder_lists.read_devlist(Bytes(answer).read) == expected


# --- The license ----------------------------------------------------------------------------------------------

TODAY = datetime.date(2026, 11, 23)


def judged(ends: str | None, today: datetime.date = TODAY, warning: str = "30:", critical: str = "7:") -> Finding:
    """The finding on a license that ends then."""
    term = Term(datetime.date.fromisoformat(ends) if ends else None, today)
    return forwarder_facts.judge_license("USB Redirector", term, (), nagiosplugin.Range(warning), nagiosplugin.Range(critical))


@pytest.mark.parametrize(
    ("ends", "state", "sentence"),
    [
        ("2027-11-23", OK, "ends in 365 days (2027-11-23)"),
        ("2026-12-23", OK, "ends in 30 days (2026-12-23)"),
        ("2026-12-22", WARNING, "ends in 29 days (2026-12-22): renew it now"),
        ("2026-12-13", WARNING, "ends in 20 days (2026-12-13): renew it now"),
        ("2026-11-30", WARNING, "ends in 7 days (2026-11-30): renew it now"),
        ("2026-11-29", CRITICAL, "ends in 6 days (2026-11-29): renew it now"),
        ("2026-11-24", CRITICAL, "ends in 1 day (2026-11-24): renew it now"),
        ("2026-11-23", CRITICAL, "ends today (2026-11-23): renew it now"),
        ("2026-11-22", CRITICAL, "expired 1 day ago (2026-11-22): renew it, then reconnect the key"),
        ("2026-11-20", CRITICAL, "expired 3 days ago (2026-11-20): renew it, then reconnect the key"),
        ("2000-01-01", CRITICAL, "expired 9823 days ago (2000-01-01): renew it, then reconnect the key"),
    ],
)
def test_the_days_of_a_license(ends: str, state: int, sentence: str) -> None:
    assert judged(ends) == Finding(state, f"license of USB Redirector {sentence}")


@pytest.mark.parametrize(("warning", "critical"), [("~:", "~:"), ("0:", "0:"), ("@0:0", "@1:1"), ("~:-1", "~:-1"), ("5", "5")])
def test_no_range_makes_an_expired_license_good(warning: str, critical: str) -> None:
    assert judged("2026-11-22", warning=warning, critical=critical).state == CRITICAL


def test_the_last_day_is_valid_if_the_ranges_allow_it() -> None:
    assert judged("2026-11-23", warning="0:", critical="0:") == Finding(OK, "license of USB Redirector ends today (2026-11-23)")


@pytest.mark.parametrize(("ends", "today", "left"), [
    ("2028-02-29", "2028-02-28", 1), ("2028-03-01", "2028-02-28", 2), ("2027-03-01", "2027-02-28", 1), ("2027-01-01", "2026-12-31", 1),
])  # fmt: skip
def test_leap_days_and_new_year(ends: str, today: str, left: int) -> None:
    assert Term(datetime.date.fromisoformat(ends), datetime.date.fromisoformat(today)).left() == left


@pytest.mark.parametrize("year", [1970, 2000, 2019])
def test_a_clock_before_our_time_judges_nothing(year: int) -> None:
    finding = judged("2026-11-30", datetime.date(year, 1, 1))
    assert finding.state == UNKNOWN
    assert f"clock says {year}-01-01" in finding.sentence


def test_a_license_without_end() -> None:
    assert judged(None) == Finding(OK, "license of USB Redirector is perpetual")


@pytest.mark.parametrize(
    ("licenses", "state", "sentence"),
    [
        ((), UNKNOWN, "license term of X unknown: give --license-expires YYYY-MM-DD or perpetual"),
        ((("hub", None),), OK, "license of X is there (devices it may serve: hub unlimited)"),
        ((("hub", None), ("b", 3)), OK, "license of X is there (devices it may serve: hub unlimited, b 3)"),
        ((("hub", 1),), UNKNOWN, "license term of X unknown: give --license-expires YYYY-MM-DD or perpetual"),
        ((("hub", None), ("trial", 1)), UNKNOWN, "license term of X unknown: give --license-expires YYYY-MM-DD or perpetual"),
        ((("hub", 8), ("b", UNTOLD)), UNKNOWN, "license term of X unknown: give --license-expires YYYY-MM-DD or perpetual"),
        ((("hub", 0),), CRITICAL, "license of X: none on hub, buy or renew it"),
    ],
)
def test_a_term_that_nobody_gave(licenses: tuple[tuple[str, int | None], ...], state: int, sentence: str) -> None:
    assert forwarder_facts.judge_license("X", None, licenses, None, None) == Finding(state, sentence)


def test_no_license_outranks_what_the_operator_believes() -> None:
    assert forwarder_facts.judge_license("X", Term(None, TODAY), (("hub", 0),), None, None).state == CRITICAL


@pytest.mark.parametrize("text", ["2027-01-31", "2028-02-29", "perpetual", "PERPETUAL", "2099-12-31"])
def test_a_term(text: str) -> None:
    term = check.license_term(text)
    assert str(term.ends) == text if text[0] == "2" else term.ends is None
    assert term.today == datetime.date.today()


@pytest.mark.parametrize(
    "text",
    ["", " ", "2026-02-30", "2027-02-29", "2026-13-01", "2026-00-10", "2026-1-1", "26-01-01", "01.02.2027", "2027/01/31", "20270131",
     "2027-01-31 ", "2027-01-31\n", "２０２７-01-31", "٢٠٢٧-01-31", "-2027-01-31", "1999-12-31", "2100-01-01", "9999-12-31", "2027-W01-1",
     "2027-01-31T00:00:00", "never", "perpetually", "0"],
)  # fmt: skip
def test_no_term(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        check.license_term(text)


# --- Devices --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "side", "clients", "state", "sentence"),
    [
        (SENSE._replace(state=ATTACHED), "client", (), OK, "k is attached here"),
        (SENSE, "client", (), OK, "k is offered by the forwarder"),
        (SENSE._replace(state=USED, user="192.0.2.10"), "server", (), OK, "k is in use by 192.0.2.10"),
        (SENSE._replace(state=USED, user=""), "server", (), OK, "k is in use by a client"),
        (SENSE._replace(state=USED, user="192.0.2.10"), "server", ("192.0.2.10",), OK, "k is in use by 192.0.2.10"),
        (SENSE._replace(state=USED, user="192.0.2.100"), "server", ("192.0.2.10",), CRITICAL,
         "k is in use by another machine (192.0.2.100): release it there"),
        (SENSE._replace(state=USED, user=""), "server", ("192.0.2.10",), CRITICAL, "k is in use by another machine (not named): release it there"),
        (SENSE._replace(state=USED, user="192.0.2.10"), "client", (), CRITICAL, "k is in use by another machine (192.0.2.10): release it there"),
        (SENSE._replace(state=USED, user="192.0.2.10"), "client", ("192.0.2.10",), OK, "k is in use by 192.0.2.10"),
        (SENSE._replace(state=USED, user="KODEKS 192.0.2.10"), "client", ("kodeks",), OK, "k is in use by KODEKS 192.0.2.10"),
        (SENSE._replace(state=USED, user=""), "client", (), CRITICAL, "k is in use by another machine (not named): release it there"),
        (SENSE._replace(state=USED_SOMEWHERE, user="192.0.2.10"), "client", (), UNKNOWN,
         "k is connected to 192.0.2.10, and the list does not tell whether that is this machine: if it is, give --client 192.0.2.10"),
        (SENSE._replace(state=USED_SOMEWHERE, user="192.0.2.10"), "client", ("192.0.2.10",), OK, "k is in use by 192.0.2.10"),
        (SENSE._replace(state=USED_SOMEWHERE, user="192.0.2.10"), "client", ("192.0.2.1",), CRITICAL,
         "k is in use by another machine (192.0.2.10): release it there"),
        (SENSE._replace(state=USED, user="kodeks at 10.0.0.99"), "server", ("kodeks",), CRITICAL,
         "k is in use by another machine (kodeks at 10.0.0.99): release it there"),
        (SENSE._replace(state=USED, user="(kodeks) at 10.0.0.99:7575"), "server", ("10.0.0.99",), OK, "k is in use by (kodeks) at 10.0.0.99:7575"),
        *((SENSE._replace(state=USED, user=user), "client", ("10.0.0.99",), OK, f"k is in use by {user}")
          for user in ("kodeks (10.0.0.99)", "kodeks(10.0.0.99)", "10.0.0.99(kodeks)", "(10.0.0.99)", "kodeks, 10.0.0.99", "(x) at 10.0.0.99", "kodeks (10.0.0.99:7575)")),
        *((SENSE._replace(state=USED, user=user), "client", ("10.0.0.99",), CRITICAL, f"k is in use by another machine ({user}): release it there")
          for user in ("(x)10.0.0.99", "x(y)10.0.0.99", "x(10.0.0.99", "10.0.0.99 at x", "10.0.0.990", "x/10.0.0.99")),
        (SENSE._replace(state=USED, user="kodeks 2001:db8::a"), "client", ("2001:DB8::A",), OK, "k is in use by kodeks 2001:db8::a"),
        (SENSE._replace(state=USED, user="kodeks 2001:db8::a"), "client", ("2001",), CRITICAL,
         "k is in use by another machine (kodeks 2001:db8::a): release it there"),
        (SENSE._replace(state=USED, user="[2001:db8::a]:7575"), "client", ("2001:db8::a",), OK, "k is in use by [2001:db8::a]:7575"),
        (SENSE, "server", ("10.0.0.1",), CRITICAL, "k is offered, but not used by 10.0.0.1: attach it there"),
        (SENSE._replace(state=ATTACHED), "client", ("10.0.0.1",), UNKNOWN,
         "k is attached here, and whether this machine is 10.0.0.1 cannot be told: leave --client out"),
        (SENSE._replace(state=ATTACHED), "client", (os.uname().nodename,), OK, "k is attached here"),
        (SENSE._replace(state=UNSHARED), "server", (), CRITICAL, "k is plugged in, but not shared: share it"),
        (SENSE._replace(state=UNAVAILABLE), "client", (), CRITICAL, "k is not available: is it plugged in at the forwarder, and the license valid?"),
        (SENSE._replace(state=DISCONNECTED), "client", (), CRITICAL, "k is disconnected from its server: check the server, then reconnect it"),
        (SENSE._replace(state=UNREACHABLE), "server", (), CRITICAL, "k is on a hub that cannot be shared: plug it into a port of another hub"),
        (SENSE._replace(state="of wax\n|"), "client", (), UNKNOWN, "k is in a state that this check does not know (of wax /): see what the forwarder itself says of it"),
    ],
)  # fmt: skip
def test_a_device_in_a_state(device: Device, side: str, clients: tuple[str, ...], state: int, sentence: str) -> None:
    assert forwarder_facts.judge_state("k", device, side, clients) == Finding(state, sentence)


@pytest.mark.parametrize("state", [USED, USED_SOMEWHERE])
def test_in_use_by_this_machine_is_its_own(state: str) -> None:
    device = SENSE._replace(state=state, user=f"{os.uname().nodename} 192.0.2.10")
    assert forwarder_facts.judge_state("k", device, "client", ()).state == OK


TOKEN = Device("Token JC", "", OFFERED, "", "SERVER.73")
ATTACHED_HERE = Device("", KEY, ATTACHED, "", "2-1, vhci_hcd port 0")
PIPED = SENSE._replace(name="Senselock | SenseIV")
TWO_KEYS = (SENSE, SENSE._replace(state=UNAVAILABLE, place="1-3"))


@pytest.mark.parametrize(
    ("wanted", "listing", "state", "sentence"),
    [
        (KEY, Listing((SENSE,)), OK, f"key {KEY} is offered by the forwarder"),
        (KEY.upper(), Listing((SENSE,)), OK, f"key {KEY} is offered by the forwarder"),
        ("senselock  SENSEIV", Listing((SENSE,)), OK, "key senselock SENSEIV is offered by the forwarder"),
        ("1-2", Listing((SENSE,)), OK, "key 1-2 is offered by the forwarder"),
        ("Senselock", Listing((SENSE,)), CRITICAL, "key Senselock is not offered by the forwarder (devices listed: 1: Senselock SenseIV): is the key plugged in at the forwarder, and shared?"),
        ("Senselock SenseIV v2", Listing((SENSE,)), CRITICAL, "key Senselock SenseIV v2 is not offered by the forwarder (devices listed: 1: Senselock SenseIV): is the key plugged in at the forwarder, and shared?"),
        ("1bc0:0051", Listing((SENSE,)), CRITICAL, "key 1bc0:0051 is not offered by the forwarder (devices listed: 1): is the key plugged in at the forwarder, and shared?"),
        (KEY, Listing(lost=("a:1", "b:2")), CRITICAL,
         f"key {KEY} is not offered by the forwarder (devices listed: 0; not connected to a:1, b:2): is the forwarder on, and reachable from here?"),
        (KEY, Listing((TOKEN,)), UNKNOWN, f"key {KEY}: this list does not tell VID:PID, give the name instead (listed: Token JC)"),
        (KEY, Listing((SENSE._replace(usb_id="1111:2222"), TOKEN)), UNKNOWN,
         f"key {KEY}: this list does not tell VID:PID, give the name instead (listed: Senselock SenseIV, Token JC)"),
        (KEY, Listing(absent=(UNKNOWN, "may be elsewhere")), UNKNOWN, f"key {KEY} may be elsewhere (devices listed: 0)"),
        (KEY, Listing((SENSE, SENSE._replace(state=ATTACHED))), OK, f"key {KEY} is offered by the forwarder"),
        (KEY, Listing(TWO_KEYS), UNKNOWN, f"key {KEY}: 2 devices match and not all are good, name one by its place"
         f" ({KEY} Senselock SenseIV at 1-2: offered; {KEY} Senselock SenseIV at 1-3: not available)"),
        ("1-2", Listing(TWO_KEYS), OK, "key 1-2 is offered by the forwarder"),
        ("2-1", Listing((ATTACHED_HERE,)), OK, "key 2-1 is attached here"),
        ("Senselock SenseIV", Listing((ATTACHED_HERE,)), UNKNOWN,
         f"key Senselock SenseIV: this list does not tell names, give VID:PID or the place instead (listed: {KEY})"),
        ("Senselock SenseIV", Listing(), CRITICAL, "key Senselock SenseIV is not offered by the forwarder (devices listed: 0): is the key plugged in at the forwarder, and shared?"),
        (KEY, Listing((ATTACHED_HERE._replace(usb_id="", state="wax"),)), UNKNOWN,
         f"key {KEY}: what is attached cannot be told, this machine's USB bus does not show all of it"),
        ("1-3", Listing(TWO_KEYS), CRITICAL, "key 1-3 is not available: is it plugged in at the forwarder, and the license valid?"),
        (KEY, Listing((SENSE._replace(state="wax"), SENSE._replace(state=UNAVAILABLE))), CRITICAL,
         f"key {KEY} is not available: is it plugged in at the forwarder, and the license valid?"),
        ("Senselock / SenseIV", Listing((PIPED,)), OK, "key Senselock / SenseIV is offered by the forwarder"),
        ("Senselock | SenseIV", Listing((PIPED,)), OK, "key Senselock / SenseIV is offered by the forwarder"),
        ("Senselock SenseIV", Listing((PIPED,)), CRITICAL, "key Senselock SenseIV is not offered by the forwarder (devices listed: 1: Senselock / SenseIV): "
         "is the key plugged in at the forwarder, and shared?"),
        ("Senselock SenseIV", Listing((SENSE._replace(name="Senselock\x1bSenseIV"),)), OK, "key Senselock SenseIV is offered by the forwarder"),
        ("Senselock / SenseIV", Listing((PIPED, SENSE._replace(name="Senselock / SenseIV", state=UNAVAILABLE))), UNKNOWN, "key Senselock / SenseIV: 2 devices match "
         f"and not all are good, name one by its place ({KEY} Senselock / SenseIV at 1-2: offered; {KEY} Senselock / SenseIV at 1-2: not available)"),
        ("x", Listing((TOKEN._replace(name="T" * 126),)), CRITICAL, f"key x is not offered by the forwarder (devices listed: 1: {'T' * 126}): "
         "is the key plugged in at the forwarder, and shared?"),
        (KEY, Listing((TOKEN._replace(name="T" * 126),)), UNKNOWN, f"key {KEY}: this list does not tell VID:PID, give the name instead (listed: {'T' * 126})"),
        ("T" * 126, Listing((TOKEN._replace(name="T" * 126),)), OK, f"key {'T' * 77}... is offered by the forwarder"),
        ("T" * 77 + "...", Listing((TOKEN._replace(name="T" * 126),)), CRITICAL, f"key {'T' * 77}... is not offered by the forwarder (devices listed: 1: {'T' * 126}): "
         "is the key plugged in at the forwarder, and shared?"),
        (KEY, Listing(licenses=(("hub", None),), only_licenses=True), UNKNOWN, f"key {KEY}: the list command lists licenses, not devices"),
        (KEY, Listing(licenses=(("hub", 8),)), CRITICAL, f"key {KEY} is not offered by the forwarder (devices listed: 0): is the key plugged in at the forwarder, and shared?"),
    ],
)  # fmt: skip
def test_a_device_that_is_wanted(wanted: str, listing: Listing, state: int, sentence: str) -> None:
    assert forwarder_facts.judge_device(check.wanted_device(wanted), listing, ()) == Finding(state, sentence)


@pytest.mark.parametrize(
    ("listing", "state", "sentence"),
    [
        (Listing((SENSE, TOKEN)), OK, "2 of 2 devices offered or attached"),
        (Listing(TWO_KEYS), OK, "1 of 2 devices offered or attached"),
        (Listing(), CRITICAL, "no device is offered or attached (devices listed: 0): is the key plugged in at the forwarder, and shared?"),
        (Listing((SENSE._replace(state=UNAVAILABLE),)), CRITICAL, "no device is offered or attached (devices listed: 1): is the key plugged in at the forwarder, and shared?"),
        (Listing((KEYBOARD, SENSE._replace(state="wax")), "server"), UNKNOWN, "no device is known to be offered or attached (devices listed: 2): Senselock SenseIV "
         "is in a state that this check does not know (wax): see what the forwarder itself says of it"),
        (Listing((SENSE._replace(state="wax"), TOKEN)), OK, "1 of 2 devices offered or attached"),
        (Listing((SENSE._replace(state="wax"),), lost=("a:1",)), UNKNOWN, "no device is known to be offered or attached (devices listed: 1, not connected to a:1): "
         "Senselock SenseIV is in a state that this check does not know (wax): see what the forwarder itself says of it"),
        (Listing((Device("", "", "wax"),)), UNKNOWN, "no device is known to be offered or attached (devices listed: 1): a device without a name is in a state "
         "that this check does not know (wax): see what the forwarder itself says of it"),
        (Listing((SENSE._replace(state=USED_SOMEWHERE, user="192.0.2.10"),)), UNKNOWN, "no device is known to be offered or attached (devices listed: 1): "
         "Senselock SenseIV is connected to 192.0.2.10, and the list does not tell whether that is this machine: if it is, give --client 192.0.2.10"),
        (Listing((SENSE._replace(state=USED, user="192.0.2.10"),)), CRITICAL, "no device is offered or attached (devices listed: 1): is the key plugged in at the forwarder, and shared?"),
        (Listing((KEYBOARD,), "server", ("a:1",)), CRITICAL, "no device is offered or attached (devices listed: 1, not connected to a:1): is the forwarder on, and reachable from here?"),
        (Listing(absent=(UNKNOWN, "x")), UNKNOWN, "no device is offered or attached (devices listed: 0);"
         " a device in use by another machine is not in that list: name the key with --device"),
        (Listing(licenses=(("hub", None),), only_licenses=True), OK, "the forwarder answers"),
        (Listing(lost=("Hub",), licenses=(("Hub", 8),)), CRITICAL, "no device is offered or attached (devices listed: 0, not connected to Hub): is the forwarder on, and reachable from here?"),
    ],
)  # fmt: skip
def test_a_list_where_no_device_is_wanted(listing: Listing, state: int, sentence: str) -> None:
    assert forwarder_facts.judge_list(listing, ()) == Finding(state, sentence)


# --- Processes and services -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "state", "sentence"),
    [
        ((), CRITICAL, "process usbsrvd is not running: start it"),
        ((Process(7, "zombie"),), CRITICAL, "process usbsrvd is not running: start it"),
        ((Process(7, "dead"),), CRITICAL, "process usbsrvd is not running: start it"),
        ((Process(7, "sleeping"),), OK, "process usbsrvd is running"),
        ((Process(7, "disk-sleep"),), OK, "process usbsrvd is running"),
        ((Process(7, "running"), Process(8, "zombie")), OK, "process usbsrvd is running"),
        ((Process(7, "running"), Process(8, "stopped")), CRITICAL,
         "process usbsrvd is stopped (frozen, pid 8): run kill -CONT 8, or restart it"),
        ((Process(9, "tracing-stop"),), CRITICAL, "process usbsrvd is stopped (frozen, pid 9): run kill -CONT 9, or restart it"),
    ],
)  # fmt: skip
def test_processes(found: tuple[Process, ...], state: int, sentence: str) -> None:
    assert forwarder_facts.judge_process("usbsrvd", found) == Finding(state, sentence)


@pytest.mark.parametrize(
    ("name", "wanted", "windows", "same"),
    [
        ("usbsrvd", "usbsrvd", False, True), ("usbsrvd2", "usbsrvd", False, False), ("usbsrv", "usbsrvd", False, False),
        ("USBSRVD", "usbsrvd", False, False), ("usbsrvd.exe", "usbsrvd", False, False),
        ("VHUI64.EXE", "vhui64.exe", True, True), ("vhui64.exe", "VHUI64", True, True), ("vhui64", "vhui64.exe", True, True),
        ("vhui64.exe.exe", "vhui64", True, False), ("xvhui64.exe", "vhui64", True, False),
    ],
)  # fmt: skip
def test_names_of_programs(name: str, wanted: str, windows: bool, same: bool) -> None:
    assert forwarder_facts.same_program(name, wanted, windows) is same


def unit(**values: str) -> str:
    """What `systemctl show -p ...` prints."""
    values = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "Result": "success", **values}
    return "".join(f"{key}={value}\n" for key, value in values.items())


@pytest.mark.parametrize(
    ("text", "state", "sentence"),
    [
        (unit(), OK, "service u is running"),
        (unit(FreezerState="running"), OK, "service u is running"),
        (unit(ActiveState="reloading", SubState="reload"), OK, "service u is running"),
        (unit(SubState="exited"), UNKNOWN, "service u is active without a process (exited): name its --process"),
        (unit(FreezerState="frozen"), CRITICAL, "service u is frozen: run systemctl thaw u"),
        (unit(ActiveState="inactive", SubState="dead"), CRITICAL, "service u is not running (inactive, dead): start it and read its journal"),
        (unit(ActiveState="failed", SubState="failed", Result="exit-code"), CRITICAL,
         "service u is not running (failed, failed, exit-code): start it and read its journal"),
        (unit(ActiveState="activating", SubState="start"), WARNING, "service u is starting (activating, start)"),
        (unit(ActiveState="activating", SubState="auto-restart", Result="signal"), CRITICAL,
         "service u is not running (activating, auto-restart, signal): start it and read its journal"),
        (unit(ActiveState="deactivating", SubState="stop-sigterm"), CRITICAL,
         "service u is not running (deactivating, stop-sigterm): start it and read its journal"),
        (unit(LoadState="not-found", ActiveState="inactive", SubState="dead"), UNKNOWN, "there is no service u on this machine: check --service"),
        (unit(LoadState="masked", ActiveState="inactive", SubState="dead"), CRITICAL,
         "service u is masked (inactive, dead): run systemctl unmask u, then start it"),
        *((unit(SubState=sub), UNKNOWN, f"service u is active without a process ({sub}): name its --process")
          for sub in ("listening", "waiting", "failed", "dead", "plugged", "reload")),
        (unit(ActiveState="reloading", SubState="reload-notify"), OK, "service u is running"),
        (unit(ActiveState="reloading", SubState="dead"), UNKNOWN, "service u is active without a process (dead): name its --process"),
        *((unit(LoadState=load), WARNING, f"service u is running, but its LoadState is {load} and it will not start again: run systemctl status u")
          for load in ("bad-setting", "error", "not-found", "masked")),
        (unit(LoadState="masked", FreezerState="frozen"), CRITICAL, "service u is frozen: run systemctl thaw u"),
        (unit(LoadState="error", SubState="exited"), UNKNOWN, "service u is active without a process (exited): name its --process"),
        (unit(LoadState="bad-setting", ActiveState="inactive", SubState="dead"), CRITICAL,
         "service u is not running (inactive, dead): start it and read its journal"),
        (unit(ActiveState="activating", SubState="auto-restart-queued", Result="signal"), CRITICAL,
         "service u is not running (activating, auto-restart-queued, signal): start it and read its journal"),
        (unit(ActiveState="maintenance"), CRITICAL, "service u is not running (maintenance, running): start it and read its journal"),
        ("", UNKNOWN, "systemd does not tell the state of service u: no output at all"),
        ("LoadState=loaded\n", UNKNOWN, "systemd does not tell the state of service u: LoadState=loaded"),
        ("garbage", UNKNOWN, "systemd does not tell the state of service u: garbage"),
        ("LoadState=loaded\nActiveState=failed\nActiveState=active\nSubState=running\n", UNKNOWN,
         "systemd contradicts itself about service u: ActiveState=active, ActiveState=failed, LoadState=loaded, SubState=running"),
        ("LoadState=loaded\nActiveState=active\n", UNKNOWN,
         "systemd does not tell the state of service u: LoadState=loaded"),
    ],
)  # fmt: skip
def test_systemd(text: str, state: int, sentence: str) -> None:
    assert forwarder_facts.judge_systemd("u", text) == Finding(state, sentence)


class RecordedServices:
    """psutil as far as Windows services go, with recorded answers; no Windows was asked."""

    class Error(Exception):
        pass

    class NoSuchProcess(Error):
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
        ("stopped", CRITICAL, "service usbipd is not running (stopped): start it"),
        ("paused", CRITICAL, "service usbipd is not running (paused): start it"),
        ("start_pending", WARNING, "service usbipd is not running (start_pending): start it"),
        ("stop_pending", CRITICAL, "service usbipd is not running (stop_pending): start it"),
        ("?", CRITICAL, "service usbipd is not running (?): start it"),
        (RecordedServices.NoSuchProcess("x"), UNKNOWN, "there is no service usbipd on this machine: check --service"),
        (RecordedServices.Error("denied\n|"), UNKNOWN, "service usbipd cannot be asked: denied /"),
        (OSError(5, "Access is denied"), UNKNOWN, "service usbipd cannot be asked: [Errno 5] Access is denied"),
    ],
)
def test_windows_services(answer: str | Exception, state: int, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "import_library", lambda name: RecordedServices(answer))
    try:
        finding = forwarder_collector.ask_windows("usbipd")
    except runtime.Problem as problem:
        finding = Finding(problem.state, str(problem))
    assert finding == Finding(state, sentence)


# --- Options --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "windows", "words"),
    [
        ("usbsrv -list", False, ("usbsrv", "-list")),
        ("vhclientx86_64 -t 'GET CLIENT STATE'", False, ("vhclientx86_64", "-t", "GET CLIENT STATE")),
        ("a; rm -rf $HOME `b` | c > d", False, ("a;", "rm", "-rf", "$HOME", "`b`", "|", "c", ">", "d")),
        (r'"C:\Program Files\USB\UsbService64.exe" show-remote-devices', True, (r"C:\Program Files\USB\UsbService64.exe", "show-remote-devices")),
        (r"C:\vh\vhui64.exe -t LIST", True, (r"C:\vh\vhui64.exe", "-t", "LIST")),
    ],
)
def test_a_command_is_words_without_a_shell(text: str, windows: bool, words: tuple[str, ...]) -> None:
    assert check.split_command(text, windows) == words


@pytest.mark.parametrize("text", ["", "  ", "'", '"a', "''", "\\"])
def test_no_command(text: str) -> None:
    with pytest.raises(runtime.Problem):
        check.split_command(text, False)


@pytest.mark.parametrize("text", ["10.0.0.5", "forwarder.example", "::1", "[::1]", "fe80::1%eth0", "ключ.example"])
def test_a_host(text: str) -> None:
    assert check.host_name(text) == text.strip("[]")


@pytest.mark.parametrize("text", ["", " ", "-oProxyCommand=x", "a b", "a\nb", "http://a", "a/b", "user@a", "x" * 300, "[::1", "a\0b"])
def test_no_host(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        check.host_name(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        *((text, f"is no USB id; write VID:PID, for example 0471:485d, or name={text} if it is a name")
          for text in ("471:485d", "0471:", ":485d", "0471", "2001", "cafe", "0x0471:0x485d", "0471:485d0", ":", "0471 :")),
        ("name=", "empty"),
        ("0471:485d ", "has blanks around it"),
    ],
)
def test_no_usb_id_is_no_name(text: str, problem: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=re.escape(f"'{text.strip()}' {problem}" if problem != "empty" else problem)):
        check.wanted_device(text)


@pytest.mark.parametrize("text", ["2001", "cafe", "0471:485d", "1-2", "name=x", " x"])
def test_a_name_that_looks_like_something_else(text: str) -> None:
    assert check.wanted_device(f"name={text}") == Wanted("", text)


@pytest.mark.parametrize("text", ["1-2", "1-1.4", "HUB.21", "10.0.0.1:56228", "SenseIV", "47", "04711", "port 00"])
def test_a_name_or_place(text: str) -> None:
    assert check.wanted_device(text) == Wanted("", text)


@pytest.mark.parametrize(
    ("parse", "text", "problem"),
    [
        (check.license_term, "2026-11-25 ", "has blanks around it"),
        (check.license_term, "2026-11-25x", "is no date; write YYYY-MM-DD or perpetual"),
        (runtime.threshold, "30: ", "has blanks around it"),
        (runtime.threshold, "", "is no range; write [@][start:][end], for example 1: or 30:365"),
        (runtime.tcp_port, " 1", "has blanks around it"),
        (runtime.time_limit, "\t5", "has blanks around it"),
        (runtime.usb_id, "0471:485d\n", "has blanks around it"),
        (check.process_name, " usbsrvd", "has blanks around it"),
        (check.process_name, "/usr/bin/usbsrvd", "is a path; write the name of the process alone"),
    ],
)  # fmt: skip
def test_a_value_and_what_is_wrong_with_it(parse: Any, text: str, problem: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        parse(text)
    assert str(caught.value) == f"'{text.strip()}' {problem}"


@pytest.mark.parametrize("text", ["", "-H", "--help", "a;b", "a\nb", "$(a)", "a/b"])
def test_no_service(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        check.service_name(text)


@pytest.mark.parametrize("product", forwarder_products.PRODUCTS)
def test_the_table_of_products_is_sound(product: str) -> None:
    item = forwarder_products.PRODUCTS[product]
    assert item.reader in (*forwarder_lists.READERS, "", "exit code")
    for (side, system), source in item.sides.items():
        assert side in ("server", "client") and system in ("posix", "nt")
        assert source.command or source.process or source.service
        assert not source.command or item.reader in forwarder_lists.READERS


# --- The log --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", ""),
        (b"fine\nfine\n", ""),
        (b"one license\ntwo license\nfine\n", "two license"),
        (b"license without an end", "license without an end"),
        (b"a license\r\n", "a license"),
        ("ключ: license\n".encode("cp1251"), "ключ: license"),
        ("a license\r\n".encode("utf-16-le"), "a license"),
        (b"x" * 200_000 + b" license\n", "x" * 1000),
    ],
)
def test_the_last_matching_line(data: bytes, line: str) -> None:
    assert forwarder_log.matching_line(data, re.compile("license"))[:1000].startswith(line)
    assert bool(forwarder_log.matching_line(data, re.compile("license"))) == bool(line)


@pytest.mark.parametrize(
    ("line", "pattern", "found"),
    [
        pytest.param(b"a" * 4094 + b"ERROR", "ERROR", True, id="across the end of a piece"),
        pytest.param(b"a" * 65534 + b"ERROR", "ERROR", True, id="across 64 KB"),
        pytest.param(b"a" * 3072 + b"ERROR" + b"a" * 9000, "^ERROR", False, id="no line begins at a piece"),
        pytest.param(b"ERROR" + b"a" * 9000, "^ERROR", True, id="a line begins at its first piece"),
        pytest.param(b"a" * 9000 + b"ERROR", "ERROR$", True, id="a line ends at its last piece"),
        pytest.param(("я" * 9000 + "ОШИБКА").encode(), "ОШИБКА", True, id="characters of two bytes"),
        pytest.param(("x" + "я" * 9000 + "ОШИБКА").encode(), "яОШИБКА", True, id="characters of two bytes at odd places"),
        pytest.param(("\U0001f511" * 9000 + "ERROR").encode(), "\U0001f511ERROR", True, id="characters of four bytes"),
        pytest.param(("я" * 9000 + "ОШИБКА").encode("cp1251"), "яОШИБКА", True, id="another code page"),
        pytest.param(b"\x80" * 9000 + b"ERROR", "ERROR", True, id="no character anywhere"),
    ],
)
def test_a_long_line_is_searched_in_pieces(line: bytes, pattern: str, found: bool) -> None:
    assert bool(forwarder_log.matching_line(line, re.compile(pattern))) == found


@pytest.mark.parametrize("size", [4097, 5120, 5121, 7168, 7169, 9000, 65536])
def test_the_pieces_cover_the_line(size: int) -> None:
    line = bytes(32 + number % 90 for number in range(size))
    found = list(forwarder_log.pieces(line))
    assert b"".join([found[0][1], *(piece[1024:] for _, piece in found[1:])]) == line
    assert [start for start, _ in found] == [0] + [1] * (len(found) - 1)


@pytest.mark.parametrize(
    ("data", "coding", "whole"),
    [
        pytest.param(b"", "", 0, id="nothing"),
        pytest.param(b"a\nb", "", 2, id="bytes"),
        pytest.param("a\nb".encode("utf-16-le"), "utf-16-le", 4, id="UTF-16 of Windows"),
        pytest.param("a\nb".encode("utf-16-be"), "utf-16-be", 4, id="the other UTF-16"),
        pytest.param("a\n\u0a0a\u0a00\u000ab".encode("utf-16-le"), "utf-16-le", 10, id="a line end at an odd place is none"),
        pytest.param("\u0a00\u0a01".encode("utf-16-be"), "utf-16-be", 0, id="none at all"),
    ],
)
def test_whole_lines(data: bytes, coding: str, whole: int) -> None:
    assert forwarder_log.whole_lines(data, coding) == whole


@pytest.mark.parametrize("encoding", ["utf-8", "cp1251", "cp866"])
def test_a_pattern_in_russian_finds_every_code_page(encoding: str) -> None:
    assert forwarder_log.matching_line("Лицензия истекла\n".encode(encoding), re.compile("лицензия", re.IGNORECASE)) == "Лицензия истекла"


def test_a_memory_survives_its_file() -> None:
    memory = LogMemory(7, 300, b"\xff\x00abc", "ключ|\n", 12.5, b"\x00\n", True)
    assert forwarder_log.load_memory(forwarder_log.dump_memory(memory)) == memory


@pytest.mark.parametrize(
    "text",
    ["", "{}", "null", "[]", "[1]", "[" * 100_000, '[2, 7, 300, "", "", 0, "", false]', '[1, 7, -1, "", "", 0, "", false]',
     '[1, 7, 1, "6162", "", 0, "", false]', '[1, 7, 1, "", "", 0, "6162", false]', '[1, 7, 9, "zz", "", 0, "", false]',
     '[1, 7, 9, "", "", 0, "zz", false]', '[1, 7, 9, "", "", -1, "", false]', '[1, 7, 9, "", "", NaN, "", false]',
     '[1, 1e999, 9, "", "", 0, "", false]', '[1, null, 9, "", "", 0, "", false]', '[1, 7, 9, "", "", 0, null, false]', '[1, 7, 9, "", "", 0]'],
)  # fmt: skip
def test_a_broken_memory_is_none(text: str) -> None:
    assert forwarder_log.load_memory(text) is None
