"""What the Linux kernel reports about USB devices, from sysfs. Nothing here opens a device.

A device behind a frozen forwarder stays listed, but opening it hangs, beyond the reach of SIGKILL (measured
with vhci_hcd on Linux 6.1). `serial`, `product` and `bConfigurationValue` wait for the device's lock, held
by a program that waits for the device (kernel source, drivers/usb/core/sysfs.c); others answer at once.
A device's name is its place on the bus: "1-4.3" is port 3 of the hub in port 4 of bus 1.
"""

from __future__ import annotations

import glob
import os
import re
import sys
import threading
import time
from typing import Mapping, NamedTuple, Sequence

from ..contract import deadline
from ..contract.language import N_, _
from ..contract.verdict import clean

KEYS = {
    "0471:485d": "SenseIV v2.x",
    "1bc0:0013": "Elitee-e",
    "1bc0:0014": "Elite4",
    "1bc0:0020": "iToken",
    "1bc0:0021": "Mikey",
    "1bc0:0051": "Elite5",
    "1bc0:0055": "Elite5 v3.x",
    "1bc0:485d": "EliteIV",
}
"""SenseLock keys by VID:PID (usb.ids). The vendor alone is not enough: it makes other tokens, too."""

ON_LINUX = sys.platform.startswith("linux")
SYSFS = "/sys" if ON_LINUX else "<no sysfs>"  # no name on Windows, where C:\\sys could be anybody's folder
USB_DEVICES = f"{SYSFS}/bus/usb/devices"
DEVICE_NODES = "/dev/bus/usb"
VHCI = f"{SYSFS}/devices/platform/vhci_hcd.0"
VHCI_NOTES = "/var/run/vhci_hcd"
LOCK_LIMIT = 1.0  # seconds for which a healthy device may be locked
STUCK = N_("it does not answer the program that uses it: see whether the forwarder hangs")


def read_attribute(path: str) -> str | None:
    """A small kernel file as text without its final line end. None = absent, unreadable, or gone by now."""
    try:
        with open(path, "rb") as file:
            return file.read(65536).decode("utf-8", "replace").rstrip("\n")
    except OSError:
        return None


def read_attributes_within(paths: Sequence[str]) -> dict[str, str | None]:
    """read_attribute for several files at once; one that has not answered after LOCK_LIMIT is left out.

    For attributes that wait for a device's lock: a thread that waits there ends with its process (measured).
    """
    answers: dict[str, str | None] = {}

    def read(path: str) -> None:
        answers[path] = read_attribute(path)

    threads = [threading.Thread(target=read, args=(path,), daemon=True) for path in paths]
    # With a short -t the check must still name the device that is stuck.
    until = time.monotonic() + min(LOCK_LIMIT, deadline.remaining() / 2)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return dict(answers)


def device_names() -> list[str]:
    """The devices that the kernel lists, without root hubs and interfaces."""
    names = map(os.path.basename, glob.glob(f"{USB_DEVICES}/[0-9]*"))
    return sorted(name for name in names if ":" not in name)


def usb_id_of(name: str) -> str:
    """VID:PID of a device as lsusb prints it; "" where it cannot be read."""
    folder = f"{USB_DEVICES}/{name}"
    usb_id = f"{read_attribute(f'{folder}/idVendor')}:{read_attribute(f'{folder}/idProduct')}"
    return usb_id if re.fullmatch("[0-9a-f]{4}:[0-9a-f]{4}", usb_id) else ""


def missing_node(name: str) -> str:
    """The path of the device's node if it is missing; "" if it is there, or if its number cannot be read.

    A container and a service with PrivateDevices= have the host's /sys and a /dev of their own."""
    bus, number = (read_attribute(f"{USB_DEVICES}/{name}/{attribute}") for attribute in ("busnum", "devnum"))
    path = f"{DEVICE_NODES}/{(bus or '').zfill(3)}/{(number or '').zfill(3)}"
    return clean(path, 60) if bus and number and not os.path.exists(path) else ""


def obstacles(names: Sequence[str] | None = None) -> dict[str, str]:
    """Why a device that the kernel lists cannot be used, with the remedy, by its name; None = every device.

    STUCK: a program waits inside the kernel for the device and holds its lock, so `bConfigurationValue` does
    not answer in time. libusb would wait for that lock, too, beyond the reach of SIGKILL (measured)."""
    names = device_names() if names is None else names
    paths = {name: f"{USB_DEVICES}/{name}/bConfigurationValue" for name in names}
    answers = read_attributes_within(list(paths.values()))
    found = {}
    for name, path in paths.items():
        stuck = path not in answers and os.path.exists(path)  # still there: it was not unplugged meanwhile
        files = [f"{USB_DEVICES}/{name}/authorized", *glob.glob(f"{USB_DEVICES}/{name}:*/authorized")]
        authorized = {file: read_attribute(file) for file in files}
        found[name] = STUCK if stuck else why_unusable(authorized, answers.get(path))
    return {name: why for name, why in found.items() if why}


def why_unusable(authorized: Mapping[str, str | None], configuration: str | None) -> str:
    """Why the kernel lets no program use a device, with the remedy; "" if nothing speaks against it.

    `authorized` maps the path of this attribute of device and interfaces to its value: 0 forbids every use
    (kernel: Documentation/usb/authorization.rst). `configuration` is `bConfigurationValue`: empty while the
    device has none (drivers/usb/core/sysfs.c)."""
    forbidden = next((path for path, value in authorized.items() if value == "0"), "")
    if forbidden:
        return _("the kernel has not authorized it ({file} is 0): allow it in USBGuard or in the "
                 "desktop's USB protection, or write 1 there", forbidden)  # fmt: skip
    if configuration == "":
        return _("it has no configuration (no power, no bandwidth?): plug or attach it again, and see dmesg")
    return ""


class VhciPort(NamedTuple):
    """A port of the kernel's USB/IP client that holds a device.

    `number` as `usbip port` prints it; `busid` is the device's name on this machine ("3-1"); `devid` is its
    bus and device number at the server (bus << 16 | device). `server` ("HOST:PORT") and `remote` (its name
    there) as `usbip attach` noted them for root, "" without a note."""
    number: int
    busid: str
    devid: int = 0
    server: str = ""
    remote: str = ""

    def __str__(self) -> str:
        server = self.server.removesuffix(":3240")
        port = _("vhci_hcd port {number}", self.number)
        return _("{port} from {server}", port, server) if server else port


def parse_vhci_status(text: str) -> list[VhciPort] | None:
    """The used ports in a vhci_hcd `status` file. None = this is no such file.

    Lines are `hub port sta spd dev sockfd local_busid`; state 006 = in use (kernel: VDEV_ST_USED)."""
    lines = text.splitlines()
    if not lines or lines[0].split()[:3] != ["hub", "port", "sta"]:
        return None
    form = re.compile(r"(?:hs|ss) +([0-9]{1,6}) ([0-9]{3}) \S+ ([0-9a-f]{8}) \S+ ([0-9.-]{1,40}) *")
    ports = []
    for line in lines[1:]:
        match = form.fullmatch(line)
        if not match:
            return None
        if match[2] == "006":
            ports.append(VhciPort(int(match[1]), match[4], int(match[3], 16)))
    return ports


def vhci_ports() -> list[VhciPort] | None:
    """The used ports of this machine's USB/IP client. None = vhci_hcd is not loaded or cannot be read."""
    ports: list[VhciPort] = []
    # The ports of the first controller are in "status", those of the others in "status.1", "status.2", ...
    for suffix in ("", *(f".{number}" for number in range(1, 64))):
        status = read_attribute(f"{VHCI}/status{suffix}")
        if status is None:
            return ports if suffix else None
        used = parse_vhci_status(status)
        if used is None:
            return None
        ports += map(_with_note, used)
    return ports


def _with_note(port: VhciPort) -> VhciPort:
    """The port with the note of `usbip attach`: `HOST PORT BUSID`. The note of a free port is stale."""
    words = (read_attribute(f"{VHCI_NOTES}/port{port.number}") or "").split()
    if len(words) != 3:
        return port
    return port._replace(server=f"{clean(words[0], 100)}:{clean(words[1], 10)}", remote=clean(words[2], 40))


def ghosts(ports: Sequence[VhciPort]) -> list[VhciPort]:
    """The ports that hold one and the same device of one server: all but one are dead, opening those hangs.

    After a network cut that this machine did not notice, the device gets attached to one more port."""
    places = [(port.server, port.remote) for port in ports]
    return [port for port in ports if port.remote and places.count((port.server, port.remote)) > 1]


def possible_ghosts(ports: Sequence[VhciPort]) -> list[VhciPort]:
    """The ports that have one `devid`, and this user may not read whether that is of one server."""
    devids = [port.devid for port in ports]
    readable = os.access(VHCI_NOTES, os.X_OK) or not os.path.isdir(VHCI_NOTES)
    return [] if readable else [port for port in ports if devids.count(port.devid) > 1]


class Location(NamedTuple):
    """Where a device is plugged in. `kind` is "local", "forwarded" or "unknown"; `by` completes its text."""
    kind: str
    by: str = ""

    def __str__(self) -> str:
        texts = {"local": _("local"), "forwarded": _("forwarded over {forwarder}", self.by)}
        return texts.get(self.kind, _("location unknown") + self.by)


_FORWARDERS = {"eveusb_vhci_hcd": "USB Network Gate", "tusb-vhci-driver": "USB Redirector"}
# Controllers on a system on a chip are platform devices, as virtual ones are. These are hardware: drivers of
# the kernel in drivers/usb/{host,dwc2,musb,chipidea}, and dwc_otg of Raspberry Pi (captures of `lsusb -t`).
_HARDWARE = ("xhci-hcd", "xhci-mtk", "xhci-renesas-hcd", "tegra-xusb", "ehci-platform", "ohci-platform",
             "dwc2", "dwc_otg", "musb-hdrc", "ci_hdrc", "exynos-ehci", "exynos-ohci", "orion-ehci",
             "tegra-ehci", "ehci-omap", "atmel-ehci", "at91_ohci")  # fmt: skip


def locate(controller: str, driver: str, name: str, ports: Sequence[VhciPort]) -> Location:
    """Where a device is plugged in: by its controller's path below /sys/devices and driver, and vhci's ports.

    Only names that are known decide. A key that a hypervisor passes through looks like one in a local port.
    """
    if driver == "vhci_hcd":  # also that of VirtualHere's client
        port = next((str(port) for port in ports if port.busid == name), _("vhci_hcd port unknown"))
        return Location("forwarded", f"USB/IP, {port}")
    for prefix, forwarder in _FORWARDERS.items():  # the vendors' modules have suffixes: "eveusb_vhci_hcd_2"
        if driver.startswith(prefix):
            what = _("{forwarder} (driver {driver})", forwarder, clean(driver, 40))
            return Location("forwarded", what)
    # A PCI bus may be behind a bridge of the platform (Raspberry Pi 4) or of a hypervisor (Hyper-V).
    if driver in _HARDWARE or re.search("/pci[0-9a-f]{4,}:[0-9a-f]{2}/", f"/{controller}/"):
        return Location("local")
    shown = clean(driver, 40) or _("not readable")
    return Location("unknown", _(" (controller driver {driver})", shown))


def location_of(name: str, ports: Sequence[VhciPort]) -> Location:
    """Where this device is plugged in, by the driver of its bus's controller."""
    controller = os.path.dirname(os.path.realpath(f"{USB_DEVICES}/usb{name.partition('-')[0]}"))
    link = f"{controller}/driver"
    driver = os.path.basename(os.path.realpath(link)) if os.path.islink(link) else ""
    return locate(controller[len("/sys/devices") :], driver, name, ports)
