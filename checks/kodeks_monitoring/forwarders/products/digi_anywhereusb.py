"""Digi AnywhereUSB: `awusbmanager list`, `awusbmanager-headless list`."""

from __future__ import annotations

import re
from typing import Sequence

from .. import listing as states
from ..listing import CUT, OFFERED, TWO_WAYS, Device, Finding, Listing, Odd, odd_device, split_user
from ..product import Product

_START = r" ?AnywhereUSB Manager version .*\nBelow are the available devices:"
_HUB_OR_GROUP = r" \S.* \(\S+:[0-9]+\)|[ *+]   \S.* \(\S+\.[0-9]+\)"
_DEVICE = r"[ *+] {7}(.*) \(([^()\s]+\.[0-9]+)\)"


def read(lines: Sequence[str]) -> Listing:
    """Hub, group and device, told by their indents (instructions for a test in a cluster; a web service)."""
    lines = [line for line in lines if line]
    ends = [at for at, line in enumerate(lines) if line.startswith("* means Autoconnect enabled")]
    if not re.fullmatch(_START, "\n".join(lines[:2])):
        raise Odd(states.first_line(lines))
    if len(ends) != 1 or not re.fullmatch(r"Autoconnect All: (?:en|dis)abled", lines[-1]):
        raise CUT
    devices = []
    group, user = OFFERED, ""
    for line in lines[2 : ends[0]]:
        told, state, by = split_user(line)
        match = re.fullmatch(_DEVICE, told)
        if match:
            devices.append(_in_group(group, user, Device(match[1], "", state, by, match[2])))
        elif re.fullmatch(_HUB_OR_GROUP, told):
            group, user = state, by
        else:
            devices.append(odd_device(line))
            group, user = TWO_WAYS, ""
    return Listing(tuple(devices))


def _in_group(group: Finding, user: str, device: Device) -> Device:
    """A client connects to a group (vendor's manual): who uses the group uses all that is in it."""
    if device.state == OFFERED and group == states.USED:
        return device._replace(state=group, user=user)
    if TWO_WAYS in (group, device.state):
        return device._replace(state=TWO_WAYS, user="")
    if OFFERED not in (group, device.state) and (group, user) != (device.state, device.user):
        return device._replace(state=states.unknown_state("used by one, its group by another"), user="")
    return device


PRODUCT = Product(
    "Digi AnywhereUSB", port=18574, read=read, processes=("awusbmanager", "awusbmanager-headless"),
    sources={("client", "posix"): "awusbmanager-headless list", ("client", "nt"): "awusbmanager list"},
)  # fmt: skip
