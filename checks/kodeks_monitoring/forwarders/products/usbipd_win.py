"""usbipd-win: `usbipd state`."""

import json
import re
from typing import Any

from ...contract.language import _
from .. import product as states
from ..product import UNKNOWN, Device, Finding, Lines, Listing, Product, Reading, unknown_state


def read(lines: Lines) -> Reading:
    """JSON: attached = ClientIPAddress, shared = PersistedGuid, plugged = BusId (its documentation)."""
    if any(re.fullmatch(r"BUSID +(?:VID:PID +)?DEVICE +STATE", line) for line in lines):
        return Finding(UNKNOWN, _("this is the output of usbipd list, which does not tell who uses a device: "
                                  "give the output of usbipd state"))  # fmt: skip
    try:
        return Listing(tuple([_read_device(**entry) for entry in json.loads("\n".join(lines))["Devices"]]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _read_device(
    BusId: Any, ClientIPAddress: Any, Description: str, InstanceId: str, PersistedGuid: Any, **rest: object
) -> Device:
    """A bus id is `BUS-PORT`, or IncompatibleHub where nobody can have it (its source; its issue 947)."""
    ids = re.match(r"USB\\VID_([0-9A-Fa-f]{4})&PID_([0-9A-Fa-f]{4})(?:\\|$)", InstanceId)
    shared = states.OFFERED if PersistedGuid else states.UNSHARED
    state = states.SERVED if ClientIPAddress else shared
    if BusId is None:
        state = states.UNAVAILABLE
    elif not re.fullmatch(r"[1-9][0-9]{0,4}-[1-9][0-9]{0,4}", BusId):
        state = unknown_state(f"BusId {BusId}")
    usb_id = f"{ids[1]}:{ids[2]}".lower() if ids else ""
    return Device(str(Description), usb_id, state, str(ClientIPAddress or ""), BusId or "")


PRODUCT = Product(
    "usbipd-win", port=3240, read=read, sources={("server", "nt"): "usbipd state"},
    traces={"service:usbipd": "server"},
)  # fmt: skip
