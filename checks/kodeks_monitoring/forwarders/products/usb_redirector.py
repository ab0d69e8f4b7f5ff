"""USB Redirector (SimplyCore): `usbsrv -list`, `usbclnt -list`, `usbrdrsh.exe -list-devices`."""

import re

from ...contract.language import _
from .. import product as states
from ..product import CRITICAL, UNKNOWN, Device, Finding, Lines, Listing, Product, Reading, fits

_TITLE = r"={5,} ([A-Z ]+) ={5,}|\*{5,} ERROR \*{5,}"
_END = r"={5,} ={5,} ={5,}"
_LOCAL = r"USB SERVER OPERATION SUCCESSFUL|LIST OF LOCAL USB DEVICES"
_REMOTE = r"USB CLIENT OPERATION SUCCESSFUL|LIST OF REMOTE USB DEVICES"
_NO_DEVICE = r"List of [A-Za-z ]+:| *<no [a-z]+>"
_HEAD = r" {1,4}([|`]- +)?[0-9]+: (.*)"
_IDS = r"[\s|]*Vid: ([0-9A-Fa-f]{4})   Pid: ([0-9A-Fa-f]{4})(?:   (?:Port|Serial):(?: (.*))?)?"
_STATUS = r"[\s|]*(Mode: \S+   )?Status: (?:(in use by )?(.+))"
_STATES = {
    (False, "plugged"): states.UNSHARED, (False, "plugged, shared"): states.OFFERED,
    (False, "not plugged, shared"): states.UNAVAILABLE, (True, "connected"): states.ATTACHED,
    (True, "available for connection"): states.OFFERED, (True, "not available"): states.UNAVAILABLE,
    (True, "disconnected"): states.DISCONNECTED,
}  # fmt: skip


def read(lines: Lines) -> Reading:
    """A list of local devices, of remote ones, or both (captures; wrappers of the Windows tool)."""
    body = [line for line in lines if line.strip(" |\t")]
    while body and not re.fullmatch(_TITLE, body[0]):
        body.pop(0)
    if body and "* ERROR *" in body[0]:
        says = states.first_line(body[1:]).strip()
        if says.startswith("Cannot connect to USB Redirector daemon"):
            return Finding(CRITICAL, _("forwarder's daemon is not running: start usbsrvd"))
        return Finding(UNKNOWN, _("the tool reports an error: {error}", says))
    if not body or not re.fullmatch(_END, body[-1]):
        return None
    devices: list[Device] = []
    lost: list[str] = []
    for title, *section in states.blocks(body, _TITLE):
        if not re.search(f"{_LOCAL}|{_REMOTE}", title):
            return None
        section = [line for line in section if not re.fullmatch(f"{_END}|{_NO_DEVICE}", line)]
        _read_section(section, bool(re.search(_REMOTE, title)), devices, lost)
    remedy = _("not connected to {servers}, is the forwarder on, and reachable from here?", ", ".join(lost))
    return Listing(tuple(devices), remedy=remedy if lost else Listing().remedy)


def _read_section(body: Lines, remote: bool, devices: list[Device], lost: list[str]) -> None:
    connected, far = not remote, ""
    for block in states.blocks(body, _HEAD):
        server = fits(block, r" +[0-9]+: USB server at (\S+)", _STATUS) if remote else []
        if server:
            connected, far = server[1][3] == "connected", server[0][1]
            lost += [] if connected else [far]
            continue
        device = _read_device(block, remote)
        if device.state == states.NOT_UNDERSTOOD:
            connected = not remote  # it may be a server
        elif not connected:
            state = states.unknown_state(_("its server is not known to be connected"))
            device = device._replace(state=state)
        devices.append(device._replace(server=far))


def _read_device(block: Lines, remote: bool) -> Device:
    found = fits(block, _HEAD, _IDS, _STATUS)
    if not found or {remote} != {bool(found[0][1]), bool(found[2][1])}:
        return states.odd_device(*block)
    head, ids, (_mode, used, status) = found[0], found[1], found[2].groups()
    state = _STATES.get((remote, status), states.unknown_state(status))
    state = state if not used else states.USED if remote else states.SERVED
    usb_id, place = f"{ids[1]}:{ids[2]}".lower(), (ids[3] or "").strip()
    return Device(head[2].strip(), usb_id, state, status if used else "", place)


# The Linux tools name the daemon usbsrvd in their error; the service is in wrappers of the Windows tool.
PRODUCT = Product(
    "USB Redirector", needs_license=True, port=32032, read=read,
    sources={("server", "posix"): "usbsrv -list", ("server", "nt"): "usbrdrsh.exe -list-devices",
             ("client", "posix"): "usbclnt -list", ("client", "nt"): "usbrdrltsh.exe -list"},
    traces={"process:usbsrvd": "", "service:usbredirectorsrv": ""},
)  # fmt: skip
