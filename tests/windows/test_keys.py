"""Keys on Windows: what libusb lists there, and what nobody can tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from lab.windows import WindowsMachine, compiled


@pytest.fixture(scope="module", autouse=True)
def libusb(windows: WindowsMachine) -> Iterator[None]:
    """A libusb that lists what a row wants. It ends the process that opens a device."""
    with windows.libusb(compiled("libusb.c", "-shared")):
        yield


class Row(NamedTuple):
    """A bus, the arguments, the exit code and the output."""

    name: str
    bus: str
    arguments: list[str]
    code: int
    text: str


LOCAL, FORWARDED = "1:8086:a36d 1-4:0471:485d", "1:8086:a36d 7:0000:0000 7-1:0471:485d"  # libusb sees no difference
UNKNOWN_PLACE = "see where it is plugged in, and leave --location out"
ROWS = [
    Row("local", LOCAL, [], 0, "OK - 1 SenseLock key: 0471:485d at 1-4, location unknown | keys=1;;1:;0 forwarded=0;;;0 key_state=0"),
    Row("behind a virtual controller", FORWARDED, [], 0,
        "OK - 1 SenseLock key: 0471:485d at 7-1, location unknown | keys=1;;1:;0 forwarded=0;;;0 key_state=0"),
    Row("must be local", FORWARDED, ["--location", "local"], 3,
        f"UNKNOWN - cannot tell whether the key is local: 0471:485d at 7-1, location unknown; {UNKNOWN_PLACE} "
        "| keys=1;;1:;0 forwarded=0;;;0 key_state=0 location_state=3"),
    Row("must be forwarded", LOCAL, ["--location", "forwarded"], 3,
        f"UNKNOWN - cannot tell whether the key is forwarded: 0471:485d at 1-4, location unknown; {UNKNOWN_PLACE} "
        "| keys=1;;1:;0 forwarded=0;;;0 key_state=0 location_state=3"),
    Row("a serial", LOCAL, ["--serial", "9700000000001234"], 3,
        "UNKNOWN - cannot tell whether the key with serial 9700000000001234 is here: no readable serial at 1-4; see whether its forwarder hangs, "
        "or leave --serial out | keys=1;;1:;0 forwarded=0;;;0 key_state=3"),
    Row("details", "1:8086:a36d 1-2.3:1bc0:0055 1-5:046d:c31c", ["-vv"], 0,
        "OK - 1 SenseLock key: 1bc0:0055 at 1-2.3, location unknown | keys=1;;1:;0 forwarded=0;;;0 key_state=0\n"
        "key 1bc0:0055 Elite5 v3.x at 1-2.3: serial unknown, location unknown\n"
        "device 046d:c31c unnamed device at 1-5: serial unknown, location unknown"),
    Row("two of two", f"{LOCAL} 1-5:0471:485d", ["-c", "2:"], 0,
        "OK - 2 SenseLock keys: 0471:485d at 1-4, location unknown; 0471:485d at 1-5, location unknown | keys=2;;2:;0 forwarded=0;;;0 key_state=0"),
    Row("none", "1:8086:a36d 1-5:046d:c31c", [], 2, "CRITICAL - no SenseLock key among 1 USB device | keys=0;;1:;0 forwarded=0;;;0 key_state=2"),
    Row("no bus", "", [], 2, "CRITICAL - no SenseLock key: no USB bus is visible here (a container, or a machine without a USB controller) "
        "| keys=0;;1:;0 forwarded=0;;;0 key_state=2"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_keys(row: Row, windows: WindowsMachine) -> None:
    outcome = windows.run_check("senselock", *row.arguments, env={"KODEKS_LAB_USB": row.bus})
    assert (outcome.code, outcome.text) == (row.code, f"SENSELOCK {row.text}\n")
