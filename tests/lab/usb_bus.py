"""A USB bus of the test's own: a sandbox of /sys and /dev for programs that use the real libusb.

    with UsbBus() as bus:
        bus.add_key(port="1-2")
        run_check("senselock", env=bus.env())

The program under test runs under umockdev's preload library (Debian package umockdev, https://github.com/martinpitt/umockdev),
which sends its accesses to /sys and /dev into the sandbox. libusb, lsusb, usbip and pyusb are the real ones.
The test's own process is not affected and may change the bus while the program runs.

Layout and attribute names are those of the Linux kernel (Documentation/ABI/testing/sysfs-bus-usb, drivers/usb/usbip/
vhci_sysfs.c). The driver names of the forwarders are from their public sources and packages; the device paths of
USB Network Gate and USB Redirector are invented, only their driver names are known.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import struct
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from lab.own_mounts import own_mounts
from lab.put import put
from lab.usbip_server import SenseLockKey

PRELOAD = "libumockdev-preload.so.0"
USB_MAJOR = 189
HUB_CLASS = 9

# Debian builds vhci_hcd with 8 controllers of 15 high-speed and 15 super-speed ports.
VHCI_PORTS_A_HUB = 15
VHCI_FREE, VHCI_USED = 4, 6  # VDEV_ST_NULL and VDEV_ST_USED of the kernel's enum usbip_device_status


@dataclass(frozen=True)
class ControllerKind:
    """A kind of host controller as sysfs shows it; `{n}` in the path is the number of the controller."""

    path: str
    subsystem: str
    driver: str | None
    product: str
    super_speed_hub: bool = False


CONTROLLERS = {
    "local": ControllerKind("pci0000:00/0000:00:{n:02x}.0", "pci", "xhci_hcd", "xHCI Host Controller"),
    "soc": ControllerKind(
        "platform/soc@0/a{n}f8800.usb/a{n}00000.usb/xhci-hcd.{n}.auto", "platform", "xhci-hcd", "xHCI Host Controller"
    ),
    "soc-dwc2": ControllerKind("platform/soc/3f98{n}000.usb", "platform", "dwc2", "DWC OTG Controller"),
    "raspberry-pi": ControllerKind("platform/soc/2098{n}000.usb", "platform", "dwc_otg", "DWC OTG Controller"),
    "usbip": ControllerKind(
        "platform/vhci_hcd.{n}", "platform", "vhci_hcd", "USB/IP Virtual Host Controller", super_speed_hub=True
    ),
    "usb-network-gate": ControllerKind("platform/eveusb_vhci_hcd.{n}", "platform", "eveusb_vhci_hcd", "Virtual Host Controller"),
    "usb-redirector": ControllerKind("platform/tusb-vhci-driver.{n}", "platform", "tusb-vhci-driver", "Virtual Host Controller"),
    "unknown": ControllerKind("platform/acme_hcd.{n}", "platform", "acme_hcd", "Acme Host Controller"),
    "driverless": ControllerKind("platform/nameless.{n}", "platform", None, "Host Controller"),
}
FIRST_NUMBER = {"local": 0x14, "soc": 6}  # where the numbering of real controllers starts


@dataclass(frozen=True)
class Descriptors:
    """What the `descriptors` attribute and the device node hold: device and configuration descriptor."""

    device: bytes
    configuration: bytes

    @classmethod
    def of(cls, usb_id: str, device_class: int, interface: tuple[int, int, int], usb_version: int, serial: bool) -> Descriptors:
        """A device with one interface and one interrupt endpoint, with two or three strings."""
        vendor, model = (int(part, 16) for part in usb_id.split(":"))
        device = struct.pack(
            "<BBHBBBBHHHBBBB",
            *(18, 1, usb_version, device_class, 0, 0, 64, vendor, model, 0x0100, 1, 2, 3 if serial else 0, 1),
        )
        body = struct.pack("<BBBBBBBBB", 9, 4, 0, 0, 1, *interface, 0) + struct.pack("<BBBBHB", 7, 5, 0x81, 3, 8, 10)
        return cls(device, struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), 1, 1, 0, 0xA0, 50) + body)


@dataclass(frozen=True)
class UsbDevice:
    """A device as it will show up in sysfs. A string that is None is not there; `children` is a hub's number of ports."""

    descriptors: Descriptors
    strings: Mapping[str, str | bytes | None]
    speed: str = "480"
    children: int = 0
    node: str = "present"

    def attributes(self, bus: int, number: int) -> dict[str, str]:
        """The attributes that the kernel derives from the descriptors, in its formats (drivers/usb/core/sysfs.c)."""
        version, device_class, subclass, protocol, packet, vendor, model, release = struct.unpack(
            "<HBBBBHHH", self.descriptors.device[2:14]
        )
        return {
            "authorized": "1",
            "bConfigurationValue": "1",
            "bDeviceClass": f"{device_class:02x}",
            "bDeviceProtocol": f"{protocol:02x}",
            "bDeviceSubClass": f"{subclass:02x}",
            "bMaxPacketSize0": str(packet),
            "bMaxPower": f"{2 * self.descriptors.configuration[8]}mA",
            "bNumConfigurations": "1",
            "bNumInterfaces": " 1",
            "bcdDevice": f"{release:04x}",
            "bmAttributes": f"{self.descriptors.configuration[7]:02x}",
            "busnum": str(bus),
            "configuration": "",
            "dev": f"{USB_MAJOR}:{minor(bus, number)}",
            "devnum": str(number),
            "idProduct": f"{model:04x}",
            "idVendor": f"{vendor:04x}",
            "maxchild": str(self.children),
            "rx_lanes": "1",
            "speed": self.speed,
            "tx_lanes": "1",
            "version": f"{version >> 8:2x}.{version & 0xFF:02x}",
        }


def minor(bus: int, number: int) -> int:
    """The minor number of a device node: 128 for each bus."""
    return (bus - 1) * 128 + number - 1


@dataclass(frozen=True)
class VhciPort:
    """One line of vhci_hcd's `status` file."""

    state: int = VHCI_FREE
    speed: int = 0
    devid: int = 0
    sockfd: int = 0
    local_busid: str = "0-0"


@dataclass
class RootHub:
    """A bus: where it hangs and which device numbers and ports are taken."""

    kind: str
    controller: int
    path: Path
    super_speed: bool = False
    next_device: int = 2
    ports: set[int] = field(default_factory=set)


class UsbBus:
    """The sandbox. Starts with one PCI controller, bus 1, and no devices.

    `controllers` lists the kinds to start with (see CONTROLLERS); an empty tuple is a machine whose kernel knows USB
    but has no controller, `present=False` one without /sys/bus/usb at all, as in a container or a small VM.

    The methods that add a device return its name in sysfs, such as `1-2` or behind a hub `1-4.3`. They take
    `where`, a kind of CONTROLLERS, and `port`, that name; a bus that does not exist yet is made. Without `port` the
    first free port of the first bus of that kind is taken. ValueError for a port that is taken or on another kind.
    """

    def __init__(self, controllers: tuple[str, ...] = ("local",), *, present: bool = True) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="usb-bus."))
        self.root.chmod(0o777)  # umockdev puts a socket here on behalf of the program, which may be another user
        self.sys = self.root / "sys"
        self._nodes = self.root / "dev/bus/usb"
        self._buses: dict[int, RootHub] = {}
        self._vhci: dict[int, VhciPort] = {}
        self._node_names: dict[str, str] = {}
        for directory in ("sys/bus", "sys/class", "sys/devices", "dev", "run"):
            (self.root / directory).mkdir(parents=True)
        self._resources = ExitStack()
        self._opens = self._resources.enter_context(closing(OpenWatch()))
        if present:
            (self.sys / "bus/usb/devices").mkdir(parents=True)
            self._nodes.mkdir(parents=True)
        for kind in controllers if present else ():
            self.add_controller(kind)

    def __enter__(self) -> UsbBus:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Remove the sandbox; called by the context manager."""
        self._resources.close()
        # A program that an engine has left running makes sockets here (umockdev): it must not find the folder any more.
        shutil.rmtree(self.root.rename(f"{self.root}.closed"))

    # ---- running a program on this bus

    def env(self, *others: Mapping[str, str]) -> dict[str, str]:
        """The variables that put a program on this bus, merged with `others` (see lab.libusb_worlds)."""
        preloads = [other["LD_PRELOAD"] for other in others if "LD_PRELOAD" in other]
        merged = {name: value for other in others for name, value in other.items()}
        return {**merged, "UMOCKDEV_DIR": str(self.root), "LD_PRELOAD": ":".join([*preloads, PRELOAD])}

    def with_run(self) -> list[str]:
        """A command prefix under which /run (and so /var/run/vhci_hcd) and /sys are the sandbox's for the kernel too.

        umockdev redirects neither /run nor the C library's scandir(), which `usbip port` uses, so the program gets a
        mount namespace of its own. That needs root, or a kernel that lets users make namespaces.
        """
        root = [] if os.geteuid() == 0 else ["--map-root-user"]
        script = 'mount --bind "$0/run" /run && mount --bind "$0/sys" /sys && exec "$@"'
        return [*own_mounts(script, *root), str(self.root)]

    def opened_nodes(self) -> list[str]:
        """The devices whose node in /dev/bus/usb any program has opened so far, by name, in order, once each.

        The kernel tells (inotify), so it holds for every program and thread. A node that is absent or unreadable
        cannot be opened and is not listed. There is no device behind a node that is `present`: umockdev ends the
        program that opens it with exit code 1 and a sentence on stderr.
        """
        names = (self._node_names[node] for node in self._opens.files() if node in self._node_names)
        return list(dict.fromkeys(names))

    # ---- building the bus

    def add_controller(self, kind: str = "local", bus: int | None = None) -> int:
        """Add a host controller and return the number of its (first) bus. vhci_hcd brings two buses, as in the kernel."""
        model = CONTROLLERS[kind]
        number = len({hub.controller for hub in self._buses.values() if hub.kind == kind})
        path = self.sys / "devices" / model.path.format(n=number + FIRST_NUMBER.get(kind, 0))
        path.mkdir(parents=True)
        for parent in path.relative_to(self.sys / "devices").parents[:-1]:
            (self.sys / "devices" / parent / "uevent").touch()  # what makes a directory a device for libudev
        self._enter_bus(path, model.subsystem, [f"DRIVER={model.driver}"] if model.driver else [], model.driver)
        first = bus or max(self._buses, default=0) + 1
        self._add_root_hub(RootHub(kind, number, path / f"usb{first}"), first, model)
        if model.super_speed_hub:
            self._add_root_hub(RootHub(kind, number, path / f"usb{first + 1}", super_speed=True), first + 1, model)
        if kind == "usbip":
            self._write_vhci_status()
        return first

    def load_vhci(self, controllers: int = 8) -> None:
        """Load vhci_hcd as Debian builds it: 8 controllers, 16 root hubs that are no devices."""
        for _ in range(controllers):
            self.add_controller("usbip")

    def add_key(
        self,
        where: str = "local",
        port: str | None = None,
        usb_id: str = "0471:485d",
        serial: str | bytes | None = None,
        product: str | bytes = "Senselock SenseIV",
        *,
        node: str = "present",
        remote: str | None = None,
    ) -> str:
        """Plug in a SenseLock key.

        `serial` and `product` go to sysfs as they are, bytes included. `node` is `present`, `absent`, `unreadable`
        (mode 0: stops everybody but root) or `frozen` (a program that opens it hangs for ever and only SIGKILL ends
        it, nearly what a frozen forwarder does, where not even that helps). `remote`, only with where="usbip", is the
        record that `usbip attach` leaves in /var/run/vhci_hcd: `HOST PORT BUSID`; the port is in use with or without it.
        """
        key = SenseLockKey(usb_id, "0" if serial is not None else None)
        descriptors = Descriptors(key.device_descriptor, key.configuration_descriptor)
        strings = {"manufacturer": "Senselock", "product": product, "serial": serial}
        name = self._plug(where, port, UsbDevice(descriptors, strings, speed="12", node=node))
        if where == "usbip":
            self._use_vhci_port(name, remote)
        return name

    def add_device(
        self,
        usb_id: str,
        product: str,
        where: str = "local",
        port: str | None = None,
        *,
        serial: str | None = None,
        interface: tuple[int, int, int] = (0xFF, 0, 0),
        node: str = "present",
    ) -> str:
        """Plug in any other device; `interface` is its class, subclass and protocol."""
        descriptors = Descriptors.of(usb_id, 0, interface, 0x0200, serial is not None)
        strings = {"manufacturer": "Acme", "product": product, "serial": serial}
        name = self._plug(where, port, UsbDevice(descriptors, strings, node=node))
        if where == "usbip":
            self._use_vhci_port(name, None)
        return name

    def add_mouse(self, where: str = "local", port: str | None = None) -> str:
        """Plug in a mouse."""
        return self.add_device("046d:c077", "USB Optical Mouse", where, port, interface=(3, 1, 2))

    def add_storage(self, where: str = "local", port: str | None = None) -> str:
        """Plug in a memory stick."""
        return self.add_device("0781:5567", "Cruzer Blade", where, port, serial="4C530001", interface=(8, 6, 0x50))

    def add_hub(self, where: str = "local", port: str | None = None) -> str:
        """Plug in an external hub of four ports; `port="1-4.3"` is then its third."""
        descriptors = Descriptors.of("05e3:0608", HUB_CLASS, (HUB_CLASS, 0, 0), 0x0200, False)
        return self._plug(where, port, UsbDevice(descriptors, {"product": "USB2.0 Hub"}, children=4))

    def remove(self, name: str) -> None:
        """Unplug a device, and what hangs behind it, while programs run."""
        directory = (self.sys / "bus/usb/devices" / name).resolve(strict=True)
        for entry in sorted((self.sys / "bus/usb/devices").iterdir()):
            if directory in [entry.resolve(), *entry.resolve().parents]:
                entry.unlink()
                self._drop_node(entry.name)
        shutil.rmtree(directory)
        for number, port in list(self._vhci.items()):
            if port.local_busid == name:
                self.vhci_port(number, VhciPort())

    def device(self, name: str) -> Path:
        """The directory of a device in the sandbox, for a test that wants to change an attribute by hand."""
        return (self.sys / "bus/usb/devices" / name).resolve(strict=True)

    def node(self, name: str) -> Path:
        """The device node in the sandbox, which may be absent."""
        bus, device = (int((self.device(name) / attribute).read_text()) for attribute in ("busnum", "devnum"))
        return self._nodes / f"{bus:03d}/{device:03d}"

    def write_attribute(self, name: str, attribute: str, text: str) -> None:
        """Let an attribute of a device (`authorized`), or of its interface (`1-2:1.0/authorized`), hold this text."""
        (self.device(name) / attribute).write_text(text)

    def deauthorize(self, name: str) -> None:
        """What `echo 0 > authorized` leaves: no configuration, and so no interface (seen in tests/kernel)."""
        self.write_attribute(name, "authorized", "0\n")
        self.write_attribute(name, "bConfigurationValue", "")
        interface = f"{name}:1.0"
        (self.sys / "bus/usb/devices" / interface).unlink()
        shutil.rmtree(self.device(name) / interface)

    def hang_attribute(self, name: str, attribute: str) -> None:
        """Make every read of an attribute block for ever.

        The kernel's `serial`, `product` and `manufacturer` wait for the lock of the device, and an operation that
        hangs on a frozen forwarder holds it (drivers/usb/core/sysfs.c).
        """
        path = self.device(name) / attribute
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        writer = os.open(path, os.O_RDWR)  # who never writes: open() succeeds, read() waits
        self._resources.callback(os.close, writer)

    def vhci_port(self, number: int, port: VhciPort, remote: str | None = None) -> None:
        """Write a line of vhci_hcd's status, and with `remote` the record `HOST PORT BUSID` that usbip keeps.

        Without `remote` an old record stays, as it does on a real machine whose forwarder dropped the key.
        """
        self._vhci[number] = port
        self._write_vhci_status()
        if remote is not None:
            records = self.root / "run/vhci_hcd"
            records.mkdir(exist_ok=True)
            (records / f"port{number}").write_text(f"{remote}\n")

    # ---- sysfs

    def _plug(self, where: str, port: str | None, device: UsbDevice) -> str:
        name = port or self._free_port(where)
        bus = int(name.partition("-")[0])
        if bus not in self._buses:
            self.add_controller(where, bus)
        hub = self._buses[bus]
        if hub.kind != where:
            raise ValueError(f"bus {bus} is {hub.kind}, not {where}")
        parent, dot, _ = name.rpartition(".")
        directory = (self.device(parent) if dot else hub.path) / name
        if directory.exists():
            raise ValueError(f"port {name} is taken")
        if not dot:
            hub.ports.add(int(name.partition("-")[2]))
        self._add_usb_device(directory, bus, hub.next_device, device)
        hub.next_device += 1
        return name

    def _free_port(self, where: str) -> str:
        buses = [bus for bus, hub in self._buses.items() if hub.kind == where and not hub.super_speed]
        bus = buses[0] if buses else self.add_controller(where)
        port = next(number for number in range(1, 256) if number not in self._buses[bus].ports)
        return f"{bus}-{port}"

    def _add_root_hub(self, hub: RootHub, bus: int, model: ControllerKind) -> None:
        if bus in self._buses:
            raise ValueError(f"bus {bus} exists")
        self._buses[bus] = hub
        usb_id, version, speed = ("1d6b:0003", 0x0300, "5000") if hub.super_speed else ("1d6b:0002", 0x0200, "480")
        descriptors = Descriptors.of(usb_id, HUB_CLASS, (HUB_CLASS, 0, 0), version, True)
        strings = {
            "manufacturer": f"Linux 6.1.0 {model.driver or 'hcd'}",
            "product": model.product,
            "serial": hub.path.parent.name,
        }
        self._add_usb_device(hub.path, bus, 1, UsbDevice(descriptors, strings, speed, children=8))

    def _add_usb_device(self, directory: Path, bus: int, number: int, device: UsbDevice) -> None:
        directory.mkdir()
        attributes = device.attributes(bus, number)
        for attribute, value in {**attributes, **device.strings}.items():
            if value is not None:
                line = value if isinstance(value, bytes) else value.encode()
                (directory / attribute).write_bytes(line + b"\n")
        (directory / "descriptors").write_bytes(device.descriptors.device + device.descriptors.configuration)
        vendor, model = (int(attributes[attribute], 16) for attribute in ("idVendor", "idProduct"))
        product = f"PRODUCT={vendor:x}/{model:x}/100"

        # The place on the bus comes last: whoever finds the device there finds it complete.
        self._add_interface(directory, bus, device.descriptors, product)
        self._add_node(directory.name, f"{bus:03d}", f"{number:03d}", device)
        self._enter_bus(
            directory,
            "usb",
            [
                f"MAJOR={USB_MAJOR}",
                f"MINOR={minor(bus, number)}",
                f"DEVNAME=bus/usb/{bus:03d}/{number:03d}",
                "DEVTYPE=usb_device",
                "DRIVER=usb",
                product,
                f"BUSNUM={bus:03d}",
                f"DEVNUM={number:03d}",
            ],
            "usb",
        )

    def _add_interface(self, device: Path, bus: int, descriptors: Descriptors, product: str) -> None:
        name = f"{bus}-0" if device.name.startswith("usb") else device.name
        directory = device / f"{name}:1.0"
        directory.mkdir()
        interface = dict(zip(("Class", "SubClass", "Protocol"), descriptors.configuration[14:17]))
        for field_name, value in interface.items():
            (directory / f"bInterface{field_name}").write_text(f"{value:02x}\n")
        for field_name in ("bInterfaceNumber", "bNumEndpoints"):
            (directory / field_name).write_text("00\n")
        (directory / "bAlternateSetting").write_text(" 0\n")
        (directory / "authorized").write_text("1\n")
        self._enter_bus(directory, "usb", ["DEVTYPE=usb_interface", product], None)

    def _add_node(self, name: str, bus: str, number: str, device: UsbDevice) -> None:
        node = device.node
        if node not in ("present", "absent", "unreadable", "frozen"):
            raise ValueError(f"node={node!r}")
        directory = self._nodes / bus
        directory.mkdir(exist_ok=True)
        self._opens.watch(directory)
        self._node_names[f"{bus}/{number}"] = name
        if node == "absent":
            return
        made = self.root / "dev/new-node"
        made.write_bytes(device.descriptors.device + device.descriptors.configuration)
        made.chmod(0 if node == "unreadable" else 0o664)
        made.rename(directory / number)  # moved in, so that making it is not an opening of it
        if node in ("unreadable", "frozen"):
            self._add_silent_device(f"{bus}/{number}")

    def _add_silent_device(self, node: str) -> None:
        """Let umockdev find a device behind the node, one that never answers (umockdev asks it through a socket)."""
        address = self.root / "ioctl/dev/bus/usb" / node
        address.parent.mkdir(parents=True, exist_ok=True)
        listener = self._resources.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(str(address))
        address.chmod(0o777)
        listener.listen()

    def _drop_node(self, name: str) -> None:
        for node, owner in self._node_names.items():
            if owner == name:
                (self._nodes / node).unlink(missing_ok=True)

    def _enter_bus(self, directory: Path, subsystem: str, uevent: list[str], driver: str | None) -> None:
        """Give a device its uevent, its subsystem, its driver and its place in /sys/bus/SUBSYSTEM/devices."""
        (directory / "uevent").write_text("".join(f"{line}\n" for line in uevent))
        home = self.sys / "bus" / subsystem
        (home / "devices").mkdir(parents=True, exist_ok=True)
        (directory / "subsystem").symlink_to(os.path.relpath(home, directory))
        if driver is not None:
            (home / "drivers" / driver).mkdir(parents=True, exist_ok=True)
            (directory / "driver").symlink_to(os.path.relpath(home / "drivers" / driver, directory))
        (home / "devices" / directory.name).symlink_to(os.path.relpath(directory, home / "devices"))

    # ---- vhci_hcd

    def _use_vhci_port(self, name: str, remote: str | None) -> None:
        bus, _, port = name.partition("-")
        hub = self._buses[int(bus)]
        offset = VHCI_PORTS_A_HUB if hub.super_speed else 0
        number = hub.controller * 2 * VHCI_PORTS_A_HUB + offset + int(port.partition(".")[0]) - 1
        self.vhci_port(number, VhciPort(VHCI_USED, 2, 0x00010004, 3 + len(self._vhci), name), remote)

    def _write_vhci_status(self) -> None:
        """vhci_hcd.0 holds the lines of all controllers: `status`, `status.1` and so on, and their number in `nports`."""
        controllers = len({hub.controller for hub in self._buses.values() if hub.kind == "usbip"})
        home = self.sys / "devices/platform/vhci_hcd.0"
        ports = 2 * VHCI_PORTS_A_HUB
        (home / "nports").write_text(f"{ports * controllers}\n")
        for control in ("attach", "detach"):
            (home / control).touch()
        for controller in range(controllers):
            lines = ["hub port sta spd dev      sockfd local_busid"]
            for number in range(controller * ports, (controller + 1) * ports):
                port = self._vhci.get(number, VhciPort())
                speed = "hs" if number % ports < VHCI_PORTS_A_HUB else "ss"
                numbers = f"{number:04d} {port.state:03d} {port.speed:03d} {port.devid:08x} {port.sockfd:06d}"
                lines.append(f"{speed}  {numbers} {port.local_busid}")
            target = home / (f"status.{controller}" if controller else "status")
            put(target, "".join(f"{line}\n" for line in lines))


# setpriv (util-linux) gives up root for the program under test; a test run that is not root needs no prefix.
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []


class OpenWatch:
    """Which files of watched directories were opened, by whomever, as the kernel's inotify(7) reports it."""

    IN_OPEN, IN_ISDIR, IN_Q_OVERFLOW = 0x20, 0x40000000, 0x4000
    IN_NONBLOCK = os.O_NONBLOCK
    HEADER = struct.Struct("iIII")

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._queue = self._checked(self._libc.inotify_init1(self.IN_NONBLOCK | os.O_CLOEXEC))
        self._directories: dict[int, str] = {}
        self._files: list[str] = []

    def watch(self, directory: Path) -> None:
        """Watch one more directory; a second call for the same one changes nothing."""
        watch = self._checked(self._libc.inotify_add_watch(self._queue, os.fsencode(directory), self.IN_OPEN))
        self._directories[watch] = directory.name

    def files(self) -> list[str]:
        """DIRECTORY/FILE of every opening since the watch began, in order. RuntimeError when the kernel lost some."""
        while True:
            try:
                data = os.read(self._queue, 65536)
            except BlockingIOError:
                return list(self._files)
            while data:
                watch, mask, _cookie, length = self.HEADER.unpack_from(data)
                name = data[self.HEADER.size : self.HEADER.size + length].rstrip(b"\0").decode()
                data = data[self.HEADER.size + length :]
                if mask & self.IN_Q_OVERFLOW:
                    raise RuntimeError("inotify lost events")
                if mask & self.IN_OPEN and not mask & self.IN_ISDIR:
                    self._files.append(f"{self._directories[watch]}/{name}")

    def close(self) -> None:
        """End the watch."""
        os.close(self._queue)

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result
