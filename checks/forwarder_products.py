"""The USB forwarders that are known: how each is watched where nothing else is named.

Names, ports, commands and services: vendors' manuals and public wrappers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from forwarder_facts import CRITICAL, OK, UNKNOWN, Finding

if TYPE_CHECKING:
    from typing import Mapping


class Source(NamedTuple):
    """Where a product is watched on one side: its list command, or, where that is not known, a process or service."""

    command: str = ""
    process: str = ""
    service: str = ""


class Product(NamedTuple):
    """What is publicly known of a forwarder. `reader` reads its list ("" = its form is not known); `sides` maps (side,
    os.name) to its source, the usual side first."""

    title: str
    needs_license: bool
    port: int | None
    reader: str
    sides: Mapping[tuple[str, str], Source]


PRODUCTS = {
    "usb-redirector": Product(
        "USB Redirector", True, 32032, "usb-redirector",
        {
            ("server", "posix"): Source("usbsrv -list"),
            ("server", "nt"): Source("usbrdrsh.exe -list-devices"),
            ("client", "posix"): Source("usbclnt -list"),
            ("client", "nt"): Source("usbrdrltsh.exe -list"),
        },
    ),
    "usb-network-gate": Product(
        "USB Network Gate", True, None, "usb-network-gate",
        {
            ("server", "posix"): Source("eveusbc ls shared"),
            ("client", "posix"): Source("eveusbc ls net"),
            ("client", "nt"): Source("UsbService64.exe show-remote-devices"),
        },
    ),
    "usb-over-network": Product(
        "USB over Network", True, None, "",
        {("server", "posix"): Source(process="ftusbnetd"), ("server", "nt"): Source(service="ftnlsv3")},
    ),
    "virtualhere": Product(
        "VirtualHere", True, 7575, "virtualhere",
        {
            ("client", "posix"): Source("vhclientx86_64 -t LIST"),
            ("client", "nt"): Source("vhui64.exe -t LIST"),
            ("server", "posix"): Source(service="virtualhere"),
            ("server", "nt"): Source(process="vhusbdwin64.exe"),
        },
    ),
    "distkontrol": Product(
        "DistKontrolUSB", False, 6565, "virtualhere",
        {("client", "posix"): Source("dkclientx86_64 -t LIST"), ("client", "nt"): Source(service="dkclient")},
    ),
    "usbip": Product("USB/IP", False, 3240, "usbip", {}),
    "usbipd-win": Product("usbipd-win", False, 3240, "usbipd-win", {("server", "nt"): Source("usbipd state")}),
    "digi-anywhereusb": Product(
        "Digi AnywhereUSB", False, 18574, "digi-anywhereusb",
        {("client", "posix"): Source("awusbmanager-headless list"), ("client", "nt"): Source("awusbmanager list")},
    ),
    "seh-utn": Product("SEH UTN", False, None, "exit code", {}),
    "generic": Product("the forwarder", False, None, "", {}),
}  # fmt: skip
"""Appliances and free software are sold without a term, so they need none; a term that is given is judged for every
product."""

NO_CONNECTION = "the connection to the dongle server fails: is it on, and reachable from here?"
UTN_CODES = {
    0: Finding(OK, "the dongle server answers for the key"),
    24: Finding(CRITICAL, "the key is not available at the dongle server"),
    25: Finding(UNKNOWN, "the key is in use, and the tool does not say by whom: --utn-code 25=ok if this is by design"),
    26: Finding(CRITICAL, "the key is not found at the dongle server: is it plugged in?"),
    40: Finding(CRITICAL, NO_CONNECTION),
    41: Finding(CRITICAL, NO_CONNECTION),
    42: Finding(CRITICAL, NO_CONNECTION),
    43: Finding(UNKNOWN, "the name of the dongle server cannot be resolved"),
    44: Finding(UNKNOWN, "this user may not ask the dongle server"),
}
"""Exit codes of `utnm` (vendor manual). An older manual has other numbers; --utn-code replaces single ones."""
