"""USB Network Gate (Electronic Team): `UsbService64.exe show-remote-devices`, `eveusbc ls`."""

import re

from ...contract.language import _
from .. import product as states
from ..product import UNKNOWN, Device, Finding, Lines, Listing, Product, Reading, odd_device

_SWITCHES = r"Crypt: (?:en|dis)abled\t-Auth: (?:en|dis)abled\t-Compressed: (?:en|dis)abled[^\t]*"
_WINDOWS = rf"([^\t]*)\t-([^\t]+)\t-{_SWITCHES}\t-(?:disconnected|connected to (\S+))"
_STATES = {"connected": states.ATTACHED, "disconnected": states.DISCONNECTED}


def read(lines: Lines) -> Reading:
    """`show-remote-devices`, `find-remote-devices`, `ls net`, `ls shared` (a plug-in's tests; `ls`: Mac)."""
    errors = [line for line in lines if re.match(r"\s*Error:[^\t]*$", line)]
    if errors:
        return Finding(UNKNOWN, _("the tool reports an error: {error}", errors[0].strip()))
    devices = tuple(_read_device(line) for line in lines if line and line != "USB Network Gate")
    if all(device.state == states.NOT_UNDERSTOOD for device in devices):
        return None
    return Listing(devices)


def _read_device(line: str) -> Device:
    match = re.fullmatch(_WINDOWS, line)
    if match:  # it lists what a server offers to everybody: the user may be any machine
        state = states.USED_SOMEWHERE if match[3] else states.DISCONNECTED
        return Device(match[1].strip(), "", state, match[3] or "", match[2], server=match[2])
    word, blank, rest = line.partition(" ")
    fields = rest.split(",")  # nothing quotes a comma within a name: it makes one field too many
    if "\t" in line or len(fields) != 14 or word not in ("remote", "shared", *_STATES):
        return odd_device(line)
    user = "" if word in _STATES else fields[10]
    used = states.SERVED if word == "shared" else states.USED
    place = fields[4] if word == "shared" else f"{fields[0]}:{fields[2]}"
    state = _STATES.get(word, used if user else states.OFFERED)
    return Device(fields[6].strip(), "", state, user, place, server="" if word == "shared" else place)


# Exit codes are unreliable, a line with "Error:" is what tells (vendor's manual).
PRODUCT = Product(
    "USB Network Gate", needs_license=True, read=read, exit_code_counts=False,
    sources={("server", "posix"): "eveusbc ls shared", ("client", "posix"): "eveusbc ls net",
             ("client", "nt"): "UsbService64.exe show-remote-devices"},
)  # fmt: skip
