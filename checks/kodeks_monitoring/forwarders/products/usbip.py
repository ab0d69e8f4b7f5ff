"""USB/IP: `usbip port` and `usbip list -r` of Linux, usbip-win and usbip-win2, and a server's own answer."""

from __future__ import annotations

import re
from typing import Callable, Sequence

from ...contract.verdict import Problem
from .. import listing as states
from ..listing import ATTACHED, CRITICAL, UNKNOWN, Device, Finding, Listing, Odd, blocks, first_line, fits
from ..product import Product

OFFERED_OR_USED = Finding(UNKNOWN, "is shared by a server that also lists what others use (usbipd-win): "
                          "run this check where the key is attached, or read usbipd state there")  # fmt: skip
NOT_OFFERED = Listing(remedy="", absent=Finding(
    UNKNOWN, "is not offered, and a device in use by another machine is not in that list: "
    "run this check where the key is attached"))  # fmt: skip
NOT_ATTACHED = Listing(
    absent=Finding(CRITICAL, "is not attached here"), remedy="attach the key with usbip attach"
)
_NO_MATTER = r"libusbip: .*|usbip: (?:info: using port [0-9]+ \(.*\)|error: failed to open \S+\.ids)"
_NAME = r"(.*?)(?: \(([0-9a-f]{4}:[0-9a-f]{4})\))?"
_PORT = r"Port ([0-9]{2,4}): <?([A-Za-z][A-Za-z ]*?)>?(?: at .+)?"
_EXPORTED = rf" +([0-9][0-9.-]*) *: {_NAME}"


def read(lines: Sequence[str]) -> Listing | Finding:
    """What this machine has attached, or what a server offers (source of the tools; captures). What the Linux
    tool says of itself stands before a list or in its place."""
    lines = [line for line in lines if line and not re.fullmatch(_NO_MATTER, line)]
    says = first_line(lines)
    if says.startswith("usbip: error: could not connect to ") and says.endswith(": System error"):
        remedy = "does it run there, and does a firewall let this machine in?"
        return Finding(CRITICAL, f"forwarder does not answer (it says: {says[14:]}): {remedy}")
    if says.startswith("usbip: error: "):
        return Finding(UNKNOWN, f"the tool reports an error: {says[14:]}")
    if len(lines) == 1 and re.fullmatch(r"usbip: info: no exportable devices found on \S+", says):
        return NOT_OFFERED
    if lines[1:2] != ["=" * len(says)] or says not in ("Imported USB devices", "Exportable USB devices"):
        raise Odd(says)
    if says == "Imported USB devices":
        return NOT_ATTACHED._replace(devices=_read_ports(lines[2:]))
    body = [line for line in lines[2:] if not re.fullmatch(r" - \S+", line)]
    return NOT_OFFERED._replace(devices=tuple(map(_read_exported, blocks(body, _EXPORTED))))


def _read_ports(lines: Sequence[str]) -> tuple[Device, ...]:
    devices: list[Device] = []
    remotes: list[str] = []
    for block in blocks(lines, _PORT):
        found = fits(block, _PORT, f" {{7,9}}{_NAME}", *[r" +(?:\S+ )?-> \S.*"] * max(1, len(block) - 2))
        devices.append(_port_device(*found[:2]) if found else states.odd_device(*block))
        remotes += re.findall(r"-> (usbip://\S+)", "\n".join(block[2:]))[:1] or [f"unknown {len(remotes)}"]
    return tuple(device._replace(state=states.GHOST) if remotes.count(remote) > 1 else device
                 for device, remote in zip(devices, remotes))  # fmt: skip


def _port_device(port: re.Match[str], name: re.Match[str]) -> Device:
    in_use = port[2].lower() in ("port in use", "device in use")
    state = ATTACHED if in_use else states.unknown_state(port[2])
    return Device(name[1].strip(), name[2] or "", state, "", f"port {port[1]}")


def _read_exported(block: Sequence[str]) -> Device:
    found = fits(block, _EXPORTED, *[r" +: (.+)"] * max(1, len(block) - 1))
    if not found or not found[0][3]:
        return states.odd_device(*block)
    return Device(found[0][2], found[0][3], state_of(found[1][1]), "", found[0][1])


def state_of(path: str) -> Finding:
    """What it means that a server lists a device with this path: on Linux (/sys/...) it leaves out what is in
    use, usbipd-win (USB\\...) does not (their sources)."""
    return states.OFFERED if path.startswith("/") else OFFERED_OR_USED


DEVLIST_REQUEST = bytes.fromhex("0111800500000000")
HEADER_SIZE = 8  # bytes of an answer, the first that are taken
MAX_EXPORTED = 1024


def read_devlist(take: Callable[[int], bytes], server: str) -> list[Device]:
    """A server's answer to OP_REQ_DEVLIST, from `take(exactly so many bytes)` (kernel: usbip_protocol.rst).

    Version 1.1.1, big endian: header (version, code, status), the number of devices, each 0x138 bytes and 4
    bytes an interface. Any other answer is a Problem.
    """
    other = f"{server} is no USB/IP server of version 1.1.1, check -p: it"
    header = take(HEADER_SIZE)
    if header[:4] != b"\x01\x11\x00\x05":
        raise Problem(f"{other} begins with the bytes {header.hex()}")
    if any(header[4:]):
        status = int.from_bytes(header[4:], "big")
        refuses = f"the server refuses to list its devices (status {status})"
        raise Problem(f"forwarder at {server}: {refuses}", CRITICAL)
    number = int.from_bytes(take(4), "big")
    if number > MAX_EXPORTED:
        raise Problem(f"{other} announces {number} devices")
    devices = []
    for _ in range(number):
        record = take(0x138)
        path, busid = (text.partition(b"\0")[0] for text in (record[:256], record[256:288]))
        usb_id = f"{record[300:302].hex()}:{record[302:304].hex()}"
        state = state_of(path.decode("utf-8", "replace"))
        devices.append(Device("", usb_id, state, "", busid.decode("utf-8", "replace")))
        take(4 * record[0x137])
    return devices


# usbip-win2 prints nothing if nothing is attached (its source, a capture).
PRODUCT = Product("USB/IP", port=3240, read=read, silent={"port": NOT_ATTACHED}, processes=("usbipd",))
