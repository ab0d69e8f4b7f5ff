"""USB Redirector (SimplyCore): `usbsrv -list`, `usbclnt -list`, `usbrdrsh.exe -list-devices`."""

from __future__ import annotations

import re
from typing import Sequence

from .. import listing as states
from ..listing import CRITICAL, CUT, UNKNOWN, Device, Finding, Listing, Odd, blocks, first_line, fits
from ..product import Product

_TITLE = r"={5,} ([A-Z ]+) ={5,}|\*{5,} ERROR \*{5,}"
_END = r"={5,} ={5,} ={5,}"
_LOCAL = r"USB SERVER OPERATION SUCCESSFUL|LIST OF LOCAL USB DEVICES"
_REMOTE = r"USB CLIENT OPERATION SUCCESSFUL|LIST OF REMOTE USB DEVICES"
_NO_DEVICE = r"List of [A-Za-z ]+:| *<no [a-z]+>"
_HEAD = r" {1,4}([|`]- +)?([0-9]+): (.*)"
_IDS = r"[\s|]*Vid: ([0-9A-Fa-f]{4})   Pid: ([0-9A-Fa-f]{4})(?:   (?:Port|Serial):(?: (.*))?)?"
_STATUS = r"[\s|]*(Mode: \S+   )?Status: (.+)"
_STATES = {
    (False, "plugged"): states.UNSHARED, (False, "plugged, shared"): states.OFFERED,
    (False, "not plugged, shared"): states.UNAVAILABLE, (True, "connected"): states.ATTACHED,
    (True, "available for connection"): states.OFFERED, (True, "not available"): states.UNAVAILABLE,
    (True, "disconnected"): states.DISCONNECTED,
}  # fmt: skip


def read(lines: Sequence[str]) -> Listing | Finding:
    """A list of local devices, of remote ones, or both (captures; wrappers of the Windows tool)."""
    body = [line for line in lines if line.strip(" |\t")]
    while body and not re.fullmatch(_TITLE, body[0]):
        body.pop(0)
    if body and "* ERROR *" in body[0]:
        says = first_line(body[1:]).strip()
        if says.startswith("Cannot connect to USB Redirector daemon"):
            return Finding(CRITICAL, "forwarder's daemon is not running: start usbsrvd")
        return Finding(UNKNOWN, f"the tool reports an error: {says}")
    if not body or not re.fullmatch(_END, body[-1]):
        raise CUT if body else Odd(first_line(lines))
    devices: list[Device] = []
    lost: list[str] = []
    for title, *section in blocks(body, _TITLE):
        if not re.search(f"{_LOCAL}|{_REMOTE}", title):
            raise Odd(title)
        if any(re.fullmatch(_END, line) for line in section[:-1]):
            raise Odd("text behind the end of the list")
        section = [line for line in section if not re.fullmatch(f"{_END}|{_NO_DEVICE}", line)]
        _read_section(section, bool(re.search(_REMOTE, title)), devices, lost)
    remedy = "is the forwarder on, and reachable from here?" if lost else Listing().remedy
    return Listing(tuple(devices), tuple(lost), remedy=remedy)


def _read_section(body: Sequence[str], remote: bool, devices: list[Device], lost: list[str]) -> None:
    connection = ""
    numbers = [match[2] for match in (re.fullmatch(_HEAD, line) for line in body) if match]
    if len(set(numbers)) < len(numbers):  # a number names one entry: here a name pretends to be an entry
        raise Odd("two entries with one number")
    for block in blocks(body, _HEAD):
        server = fits(block, r" +[0-9]+: USB server at (\S+)", _STATUS) if remote else []
        if server:
            connection = server[1][2]
            lost += [server[0][1]] if connection != "connected" else []
            continue
        device = _read_device(block, remote)
        if not re.match(r" +[|`]-", block[0]):
            connection = ""  # a server's, which is not understood
        elif connection != "connected" and device.state != states.NOT_UNDERSTOOD:
            unknown = states.unknown_state("that of its server is not understood")
            device = device._replace(state=states.DISCONNECTED if connection else unknown)
        devices.append(device)


def _read_device(block: Sequence[str], remote: bool) -> Device:
    found = fits(block, _HEAD, _IDS, _STATUS)
    if not found or {remote} != {bool(found[0][1]), bool(found[2][1])}:
        return states.odd_device(*block)
    head, ids, status = found
    state = _STATES.get((remote, status[2]), states.unknown_state(status[2]))
    user = status[2][len("in use by ") :] if status[2].startswith("in use by ") else ""
    state = state if not user else states.USED if remote else states.SERVED
    return Device(head[3].strip(), f"{ids[1]}:{ids[2]}".lower(), state, user, (ids[3] or "").strip())


PRODUCT = Product(
    "USB Redirector", needs_license=True, port=32032, read=read,
    processes=("usbsrvd",), services=("usbredirectorsrv",),
    sources={("server", "posix"): "usbsrv -list", ("server", "nt"): "usbrdrsh.exe -list-devices",
             ("client", "posix"): "usbclnt -list", ("client", "nt"): "usbrdrltsh.exe -list"},
)  # fmt: skip
