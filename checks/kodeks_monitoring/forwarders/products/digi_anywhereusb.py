"""Digi AnywhereUSB: `awusbmanager list`, `awusbmanager-headless list`."""

import re

from ..product import OFFERED, TWO_WAYS, Device, Lines, Listing, Product, Reading, odd_device, split_user

_START = r" ?AnywhereUSB Manager version .*\nBelow are the available devices:"
_HUB_OR_GROUP = r" \S.* \((\S+:[0-9]+)\)|[ *+]   \S.* \(\S+\.[0-9]+\)"
_DEVICE = r"[ *+] {7}(.*) \(([^()\s]+\.[0-9]+)\)"


def read(lines: Lines) -> Reading:
    """Hub, group and device, told by their indents (instructions for a test in a cluster; a web service)."""
    lines = [line for line in lines if line]
    ends = [at for at, line in enumerate(lines) if line.startswith("* means Autoconnect enabled")]
    whole = re.fullmatch(_START + r"\n(.*\n)*Autoconnect All: (?:en|dis)abled", "\n".join(lines))
    if not whole or len(ends) != 1:
        return None
    devices: list[Device] = []
    hub = ""
    group = free = (OFFERED, "")
    for line in lines[2 : ends[0]]:
        told, state, user = split_user(line)
        match = re.fullmatch(_DEVICE, told)
        if match:  # a client connects to a group (vendor's manual): who uses it uses all that is in it
            own = (state, user)
            known = own if group in (free, own) else group if own == free else (TWO_WAYS, "")
            devices.append(Device(match[1], "", *known, match[2], server=hub))
            continue
        group = (state, user)
        found = re.fullmatch(_HUB_OR_GROUP, told)
        hub = found[1] or hub if found else ""
        if not found:
            devices.append(odd_device(line))
            group = (TWO_WAYS, "")
    return Listing(tuple(devices))


PRODUCT = Product(
    "Digi AnywhereUSB", port=18574, read=read,
    sources={("client", "posix"): "awusbmanager-headless list", ("client", "nt"): "awusbmanager list"},
    traces={"process:awusbmanager(?:-headless|.exe)?": "client"},
)  # fmt: skip
