"""usbipd-win: `usbipd state`."""

from __future__ import annotations

import json
import re
from typing import Any, Sequence

from .. import listing as states
from ..listing import CRITICAL, UNKNOWN, Device, Finding, Listing, Odd, first_line, unknown_state
from ..product import Product

_UNREACHABLE = Finding(CRITICAL, "is on a hub that cannot be shared: plug it into a port of another hub")


def read(lines: Sequence[str]) -> Listing | Finding:
    """JSON: attached = ClientIPAddress, shared = PersistedGuid, plugged = BusId (its documentation)."""
    if any(re.fullmatch(r"BUSID +(?:VID:PID +)?DEVICE +STATE", line) for line in lines):
        what = "this is the output of usbipd list, which does not tell who uses a device"
        return Finding(UNKNOWN, f"{what}: give the output of usbipd state")
    try:
        return Listing(tuple([_read_device(**entry) for entry in json.loads("\n".join(lines))["Devices"]]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Odd(f"{first_line(lines)} ({type(error).__name__})") from None


def _read_device(
    BusId: Any, ClientIPAddress: Any, Description: str, InstanceId: str, PersistedGuid: Any, **rest: object
) -> Device:
    """A bus id is `BUS-PORT`, or IncompatibleHub for a device that is offered to nobody because its hub has
    another driver (its source; its issues 947 and 1183)."""
    ids = re.match(r"USB\\VID_([0-9A-Fa-f]{4})&PID_([0-9A-Fa-f]{4})(?:\\|$)", InstanceId)
    shared = states.OFFERED if PersistedGuid else states.UNSHARED
    state = states.SERVED if ClientIPAddress else shared
    if BusId is None:
        state = unknown_state("attached and unplugged at once") if ClientIPAddress else states.UNAVAILABLE
    elif not re.fullmatch(r"[1-9][0-9]{0,4}-[1-9][0-9]{0,4}", BusId):
        hub = (BusId, ClientIPAddress) == ("IncompatibleHub", None)
        state = _UNREACHABLE if hub else unknown_state(f"BusId {BusId}")
    usb_id = f"{ids[1]}:{ids[2]}".lower() if ids else ""
    return Device(str(Description), usb_id, state, str(ClientIPAddress or ""), BusId or "")


PRODUCT = Product(
    "usbipd-win", port=3240, read=read, services=("usbipd",), sources={("server", "nt"): "usbipd state"},
)  # fmt: skip
