"""USB/IP: `usbip port` and `usbip list -r` of Linux, usbip-win and usbip-win2, and a server's own answer."""

import re
from typing import Callable

from ...contract.language import N_, _
from ...contract.verdict import Problem
from .. import product as states
from ..product import CRITICAL, UNKNOWN, Device, Finding, Lines, Listing, Product, Reading, blocks, fits

OFFERED_OR_USED = Finding(UNKNOWN, N_(
    "is shared by usbipd-win, which also lists what others use: run this check where the key is attached"))
NOT_ATTACHED = Listing(absent=Finding(CRITICAL, N_("is not attached here")), remedy=N_("run usbip attach"))
NOT_OFFERED = Listing(remedy=N_("run this check where the key is attached"), absent=Finding(
    UNKNOWN, N_("is not offered, and a device in use by another machine is not in that list")))  # fmt: skip
_NO_MATTER = r"libusbip: .*|usbip: (?:info: using port [0-9]+ \(.*\)|error: failed to open \S+\.ids)"
_NAME = r"(.*?)(?: \(([0-9a-f]{4}:[0-9a-f]{4})\))?"
_PORT = r"Port ([0-9]{2,4}): <?([A-Za-z][A-Za-z ]*?)>?(?: at .+)?"
_EXPORTED = rf" +([0-9][0-9.-]*) *: {_NAME}"


def read(lines: Lines) -> Reading:
    """What this machine has attached, or what a server offers (source of the tools; captures). What the Linux
    tool says of itself stands before a list or in its place."""
    lines = [line for line in lines if line and not re.fullmatch(_NO_MATTER, line)]
    says = states.first_line(lines)
    if says.startswith("usbip: error: "):
        refused = re.match("usbip: error: could not connect to .*: System error$", says)
        return Finding(CRITICAL if refused else UNKNOWN, _("the tool reports an error: {error}", says[14:]))
    if len(lines) == 1 and re.fullmatch(r"usbip: info: no exportable devices found on \S+", says):
        return NOT_OFFERED
    if lines[1:2] != ["=" * len(says)] or says not in ("Imported USB devices", "Exportable USB devices"):
        return None
    if says == "Imported USB devices":
        return NOT_ATTACHED._replace(devices=_read_ports(lines[2:]))
    devices = []
    for block in blocks([line for line in lines[2:] if not re.fullmatch(r" - \S+", line)], _EXPORTED):
        found = fits(block, _EXPORTED, *[r" +: (.+)"] * max(1, len(block) - 1))
        device = states.odd_device(*block)
        if found and found[0][3]:
            device = Device(found[0][2], found[0][3], state_of(found[1][1]), "", found[0][1])
        devices.append(device)
    return NOT_OFFERED._replace(devices=tuple(devices))


def _read_ports(lines: Lines) -> "tuple[Device, ...]":
    devices: list[Device] = []
    remotes: list[str] = []
    for block in blocks(lines, _PORT):
        found = fits(block, _PORT, f" {{7,9}}{_NAME}", *[r" +(?:\S+ )?-> \S.*"] * max(1, len(block) - 2))
        device = states.odd_device(*block)
        if found:
            port, name = found[:2]
            in_use = port[2].lower() in ("port in use", "device in use")
            state = states.ATTACHED if in_use else states.unknown_state(port[2])
            device = Device(name[1].strip(), name[2] or "", state, "", _("port {number}", port[1]))
        devices.append(device)
        remotes += re.findall(r"-> (usbip://\S+)", "\n".join(block[2:]))[:1] or [f"unknown {len(remotes)}"]
    return tuple(device._replace(state=states.GHOST) if remotes.count(remote) > 1 else device
                 for device, remote in zip(devices, remotes))  # fmt: skip


def state_of(path: str) -> Finding:
    """What it means that a server lists a device with this path: on Linux (/sys/...) it leaves out what is in
    use, usbipd-win (USB\\...) does not (their sources)."""
    return states.OFFERED if path.startswith("/") else OFFERED_OR_USED


DEVLIST_REQUEST = bytes.fromhex("0111800500000000")


def read_devlist(take: Callable[[int], bytes], server: str) -> "list[Device]":
    """A server's answer to OP_REQ_DEVLIST, from `take(exactly so many bytes)` (kernel: usbip_protocol.rst).

    Version 1.1.1, big endian: header (version, code, status), the number of devices, each 0x138 bytes and 4
    bytes an interface. Any other answer is a Problem."""
    header = take(8)
    if header[:4] != b"\x01\x11\x00\x05":
        raise Problem(_("{server} is no USB/IP server of version 1.1.1, check -p: "
                        "it begins with the bytes {bytes}", server, header.hex()))  # fmt: skip
    if any(header[4:]):
        raise Problem(_("forwarder at {server} refuses to list its devices", server), CRITICAL)
    number = int.from_bytes(take(4), "big")
    if number > 1024:
        what = _("forwarder at {server} announces {number} devices: is it a USB/IP server?", server, number)
        raise Problem(what)
    devices = []
    for _number in range(number):
        record = take(0x138)
        texts = (text.partition(b"\0")[0] for text in (record[:256], record[256:288]))
        path, busid = (text.decode("utf-8", "replace") for text in texts)
        usb_id = f"{record[300:302].hex()}:{record[302:304].hex()}"
        devid = int.from_bytes(record[290:292] + record[294:296], "big")
        devices.append(Device("", usb_id, state_of(path), "", busid, devid))
        take(4 * record[0x137])
    return devices


PRODUCT = Product("USB/IP", port=3240, read=read, traces={"process:usbipd": "server"})
