"""What the kernel reports about USB devices. Nothing here opens a device.

A device behind a frozen forwarder stays listed, but opening it hangs, beyond the reach of SIGKILL (measured with
vhci_hcd on Linux 6.1). Everything here comes from sysfs, where two kinds of attributes exist (kernel source,
drivers/usb/core/sysfs.c): `idVendor`, `busnum`, `authorized` and others answer at once; `serial`, `product` and
`bConfigurationValue` wait for the device's lock, which a program that waits for the device holds.

A device has a name, its place on the bus: "1-4.3" is port 3 of the hub in port 4 of bus 1.
"""

from __future__ import annotations

import os
import re
import threading
import time
from typing import NamedTuple, Optional, Sequence

from kodeks_monitoring.contract.verdict import clean

USB_DEVICES = "/sys/bus/usb/devices"
VHCI = "/sys/devices/platform/vhci_hcd.0"
VHCI_NOTES = "/var/run/vhci_hcd"
DEVICE_NODES = "/dev/bus/usb"
LOCK_LIMIT = 1.0
"""Seconds for which a healthy device may be locked: as long as one control transfer may take."""


def read_attribute(path: str) -> Optional[str]:
    """A small kernel file as text without its final line end. None = absent, unreadable, or gone meanwhile."""
    try:
        with open(path, "rb") as file:
            return file.read(65536).decode("utf-8", "replace").rstrip("\n")
    except OSError:
        return None


def read_attributes_within(paths: Sequence[str], seconds: float) -> dict[str, Optional[str]]:
    """read_attribute for several files at once; a file that has not answered after `seconds` is left out.

    For the attributes that wait for the device's lock. A thread that waits there ends with its process (measured).
    """
    answers: dict[str, Optional[str]] = {}

    def read(path: str) -> None:
        answers[path] = read_attribute(path)

    threads = [threading.Thread(target=read, args=(path,), daemon=True) for path in paths]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(answers)


# --- Devices --------------------------------------------------------------------------------------------------


def device_names() -> list[str]:
    """The devices on this machine's buses, without root hubs and interfaces. [] also where there is no USB at all."""
    try:
        return [name for name in os.listdir(USB_DEVICES) if name[:1].isdigit() and ":" not in name]
    except OSError:
        return []


def ids_of(name: str) -> tuple[int, int]:
    """Vendor and product id of a device; (0, 0), which is no device's, where they cannot be read."""
    texts = [read_attribute(f"{USB_DEVICES}/{name}/{attribute}") or "" for attribute in ("idVendor", "idProduct")]
    vendor, product = (int(text, 16) if re.fullmatch("[0-9a-f]{4}", text) else 0 for text in texts)
    return (vendor, product) if vendor else (0, 0)


def missing_node(name: str) -> str:
    """The path of the device's node if it does not exist; "" if it does, or where its number cannot be read.

    In a container and in a service with PrivateDevices=, /sys is the host's and /dev is not.
    """
    numbers = [read_attribute(f"{USB_DEVICES}/{name}/{attribute}") or "" for attribute in ("busnum", "devnum")]
    if not all(re.fullmatch("[0-9]{1,3}", number) for number in numbers):
        return ""
    path = "/".join([DEVICE_NODES, *(number.zfill(3) for number in numbers)])
    return "" if os.path.exists(path) else path


# --- Can a listed device be used? -----------------------------------------------------------------------------


def read_configurations(names: Sequence[str], seconds: float = LOCK_LIMIT) -> dict[str, Optional[str]]:
    """`bConfigurationValue` of each device, None where it has none. A device that is stuck is left out.

    Stuck: a program waits inside the kernel for the device, which does not answer, and holds its lock. libusb reads
    every device's `uevent`, which on Linux 6.1 waits for that lock uninterruptibly: neither a watchdog nor SIGKILL
    ends such a process (measured). So ask this before libusb. A device that was unplugged meanwhile is not stuck.
    """
    paths = {name: f"{USB_DEVICES}/{name}/bConfigurationValue" for name in names}
    paths = {name: path for name, path in paths.items() if os.path.exists(path)}
    answers = read_attributes_within(list(paths.values()), seconds)
    gone = [name for name in names if not os.path.isdir(f"{USB_DEVICES}/{name}")]
    return {name: answers.get(paths.get(name, "")) for name in names
            if name not in paths or paths[name] in answers or name in gone}  # fmt: skip


def why_unusable(authorized: Sequence[str], configuration: Optional[str]) -> str:
    """Why the kernel lets no program use a device, with the remedy; "" if nothing speaks against it.

    `authorized` are the values of this attribute of the device and of its interfaces: 0 means that no driver and no
    program may use it (kernel: Documentation/usb/authorization.rst). `configuration` is `bConfigurationValue`, which is
    empty while the device has no configuration (drivers/usb/core/sysfs.c); None = there is no such attribute.
    """
    if "0" in authorized:
        return "the kernel has not authorized it (USBGuard, or the desktop's USB protection): allow it there"
    if configuration == "":
        return "it has no configuration (too little power or bandwidth?): plug or attach it again, and see dmesg"
    return ""


def read_authorized(name: str) -> list[str]:
    """The attribute `authorized` of a device and of its interfaces, as far as it is readable."""
    folder = f"{USB_DEVICES}/{name}"
    try:
        interfaces = [entry for entry in os.listdir(folder) if entry.startswith(f"{name}:")]
    except OSError:
        interfaces = []
    values = [read_attribute(f"{folder}/{entry}/authorized") for entry in (".", *interfaces)]
    return [value for value in values if value is not None]


# --- The ports of the kernel's USB/IP client ------------------------------------------------------------------


class VhciPort(NamedTuple):
    """A port of the kernel's USB/IP client that holds a device.

    `number` as `usbip port` prints it; `busid` is the device's name on this machine ("3-1"); `server` ("HOST:PORT")
    and `remote` (the device's name there) as `usbip attach` noted them, "" where it did not or only root may read it.
    """

    number: int
    busid: str
    server: str = ""
    remote: str = ""


def parse_vhci_status(text: str) -> Optional[list[VhciPort]]:
    """The used ports in a vhci_hcd `status` file. None = this is no such file.

    Lines are `hub port sta spd dev sockfd local_busid`; state 006 = in use (kernel: VDEV_ST_USED).
    """
    lines = text.splitlines()
    if not lines or lines[0].split()[:3] != ["hub", "port", "sta"]:
        return None
    ports = []
    for line in lines[1:]:
        match = re.fullmatch(r"(?:hs|ss) +([0-9]{1,6}) ([0-9]{3}) \S+ \S+ \S+ ([0-9.-]{1,40}) *", line)
        if not match:
            return None
        if match[2] == "006":
            ports.append(VhciPort(int(match[1]), match[3]))
    return ports


def vhci_ports() -> Optional[list[VhciPort]]:
    """The used ports of this machine's USB/IP client. None = it has none (vhci_hcd not loaded) or it is unreadable."""
    ports: list[VhciPort] = []
    # The ports of the first controller are in "status", those of the others in "status.1", "status.2", ...
    for suffix in ("", *(f".{number}" for number in range(1, 64))):
        status = read_attribute(f"{VHCI}/status{suffix}")
        if status is None:
            return ports if suffix else None
        used = parse_vhci_status(status)
        if used is None:
            return None
        ports += [port._replace(**_note(port.number)) for port in used]
    return ports


def _note(port: int) -> dict[str, str]:
    """What `usbip attach` noted about this port, `HOST PORT BUSID`. The note is stale once the port is free."""
    words = (read_attribute(f"{VHCI_NOTES}/port{port}") or "").split()
    if len(words) != 3:
        return {}
    return {"server": f"{clean(words[0], 100)}:{clean(words[1], 10)}", "remote": clean(words[2], 40)}


def ghosts(ports: Sequence[VhciPort]) -> list[VhciPort]:
    """The ports that hold one and the same device of one server: only the newest works, opening another hangs.

    After a network cut that this machine has not noticed, the server offers the device again, and it is attached a
    second time. Which port is the dead one is not visible.
    """
    places = [(port.server, port.remote) for port in ports]
    return [port for port in ports if port.remote and places.count((port.server, port.remote)) > 1]


# --- Where a device is plugged in -----------------------------------------------------------------------------


class Location(NamedTuple):
    """Where a device is plugged in. `kind` is "local", "forwarded" or "unknown"; `by` names the forwarder, or the
    evidence for an unknown place."""

    kind: str
    by: str = ""

    def __str__(self) -> str:
        return {"local": "local", "forwarded": f"forwarded over {self.by}"}.get(self.kind, f"location unknown{self.by}")


_FORWARDERS = {"vhci_hcd": "USB/IP", "eveusb_vhci_hcd": "USB Network Gate", "tusb-vhci-driver": "USB Redirector"}
_HARDWARE = ("dwc_otg", "dwc2", "xhci-hcd", "ehci-platform", "ohci-platform", "musb-hdrc", "ci_hdrc", "xhci-mtk",
             "tegra-xusb", "tegra-ehci", "orion-ehci")  # fmt: skip


def locate(controller: str, driver: str, name: str, ports: Sequence[VhciPort]) -> Location:
    """Where a device is plugged in, from its controller's path below /sys/devices, its driver, and vhci_hcd's ports.

    Only names that are known decide; with any other the place is unknown. A key that a hypervisor passes through
    looks like one in a local port.
    """
    for prefix, forwarder in _FORWARDERS.items():
        # The vendors' modules have version suffixes ("eveusb_vhci_hcd_2"), the kernel's does not.
        if driver == prefix or (prefix != "vhci_hcd" and driver.startswith(prefix)):
            by = _vhci_port_of(name, ports) if prefix == "vhci_hcd" else f"(driver {clean(driver, 40)})"
            return Location("forwarded", f"{forwarder}{',' if prefix == 'vhci_hcd' else ''} {by}")
    # A PCI bus may be behind a bridge of the platform (Raspberry Pi 4) or of a hypervisor (Hyper-V).
    if driver in _HARDWARE or re.search("/pci[0-9a-f]{4,}:[0-9a-f]{2}/", f"{controller}/"):
        return Location("local")
    return Location("unknown", f" (controller driver {clean(driver, 40) or 'not readable'})")


def _vhci_port_of(name: str, ports: Sequence[VhciPort]) -> str:
    port = next((port for port in ports if port.busid == name), None)
    if port is None:
        return "vhci_hcd port unknown"
    host, _, number = port.server.rpartition(":")
    server = host if number == "3240" else port.server
    return f"vhci_hcd port {port.number} from {server}" if server else f"vhci_hcd port {port.number}"


def location_of(name: str, ports: Sequence[VhciPort]) -> Location:
    """Where this device is plugged in, by the driver of the controller of its bus."""
    controller = os.path.dirname(os.path.realpath(f"{USB_DEVICES}/usb{name.partition('-')[0]}"))
    link = f"{controller}/driver"
    driver = os.path.basename(os.path.realpath(link)) if os.path.islink(link) else ""
    return locate(controller[len("/sys/devices") :], driver, name, ports)
