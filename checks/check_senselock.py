#!/usr/bin/env python3
"""Is the SenseLock key on this machine's USB bus, where does it hang, and does a forwarder bring it here?

The first link of the chain that keeps a Kodeks/Techexpert server licensed. Facts and where they come from:

* a SenseLock key is told by vendor AND product id (usb.ids; the vendor alone also makes other tokens);
* libusb lists devices without opening them and without permissions; a fresh process lists afresh (measured);
* a forwarded key hangs on a virtual controller, which its driver's name tells: `vhci_hcd` is USB/IP (VirtualHere's
  Linux client uses it too), `eveusb_vhci_hcd` is USB Network Gate, `tusb-vhci-driver` is USB Redirector. A key that
  a hypervisor passes through looks like one in a local port;
* a device on a virtual controller must never be opened: behind a frozen forwarder that hangs for ever (measured).
  Strings therefore come from sysfs alone, and nothing is opened anywhere;
* once a program (Kodeks itself) waits for such a key, even listing the bus through libusb hangs, beyond the reach of
  SIGKILL (measured on Linux 6.1). The kernel is asked first whether a device is in that state.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING, NamedTuple

try:
    if getattr(sys.flags, "safe_path", sys.flags.isolated):  # PYTHONSAFEPATH, -P and -I leave out this file's own folder
        sys.path[:0] = {os.path.dirname(os.path.realpath(__file__))} - set(sys.path)
    import plugin_runtime as runtime

    begin = runtime.begin
except ImportError:
    print("SENSELOCK UNKNOWN - plugin_runtime.py is missing beside this check: copy the whole checks folder")
    raise SystemExit(3) from None
except OSError:
    print("SENSELOCK UNKNOWN - plugin_runtime.py beside this check cannot be read by this user: run chmod a+r on it")
    raise SystemExit(3) from None
except EOFError:
    print("SENSELOCK UNKNOWN - the folder __pycache__ beside this check is damaged: remove it")
    raise SystemExit(3) from None
except (SyntaxError, ValueError, NameError, AttributeError):  # cut by a failed copy; a zero byte is a ValueError
    print("SENSELOCK UNKNOWN - plugin_runtime.py beside this check is incomplete: copy the whole checks folder again")
    raise SystemExit(3) from None
except MemoryError:
    print("SENSELOCK UNKNOWN - out of memory while starting")
    raise SystemExit(3) from None

begin("SENSELOCK", __name__)

if TYPE_CHECKING:
    from typing import Any, Iterable, Iterator, Sequence

import nagiosplugin

# --- Value objects --------------------------------------------------------------------------------------------

KEYS = {
    (0x0471, 0x485D): "SenseIV v2.x",
    (0x1BC0, 0x0013): "Elitee-e",
    (0x1BC0, 0x0014): "Elite4",
    (0x1BC0, 0x0020): "iToken",
    (0x1BC0, 0x0021): "Mikey",
    (0x1BC0, 0x0051): "Elite5",
    (0x1BC0, 0x0055): "Elite5 v3.x",
    (0x1BC0, 0x485D): "EliteIV",
}
"""SenseLock keys by (vendor, product), from usb.ids. --usb-id replaces the table."""

SENSELOCK_VENDOR = 0x1BC0
ROOT_HUB_VENDOR = 0x1D6B  # "Linux Foundation": the kernel's own root hubs, no devices


class Location(NamedTuple):
    """Where a device hangs. `kind` is "local", "forwarded" or "unknown"; `by` completes "forwarded over ..."."""

    kind: str
    by: str = ""

    def __str__(self) -> str:
        return {"local": "local", "forwarded": f"forwarded over {self.by}"}.get(self.kind, f"location unknown{self.by}")


class Device(NamedTuple):
    """One USB device as far as it can be known without opening it.

    `name` is its place on the bus ("1-4.3"). `serial` is None where it cannot be read or was not asked for, "" where
    the device has none (whether real keys carry one is not documented).
    """

    vendor: int
    product: int
    name: str
    model: str
    serial: str | None
    location: Location

    @property
    def usb_id(self) -> str:
        """VID:PID as lsusb prints it."""
        return f"{self.vendor:04x}:{self.product:04x}"

    def __str__(self) -> str:
        return f"{self.usb_id} at {self.name}, {self.location}"

    def describe(self) -> str:
        """One line for -v: everything known about the device."""
        serial = "serial unknown" if self.serial is None else f"serial {self.serial}" if self.serial else "no serial"
        return f"{self.usb_id} {self.model} at {self.name}: {serial}, {self.location}"


class Bus(NamedTuple):
    """What one look at the USB bus found. `present` is False where not even a root hub is visible; `wanted` are the ids
    of the operator, () = the built-in table."""

    present: bool
    devices: tuple[Device, ...]
    keys: tuple[Device, ...]
    wanted: tuple[tuple[int, int], ...] = ()

    @property
    def forwarded(self) -> int:
        """How many keys are known to be forwarded."""
        return sum(key.location.kind == "forwarded" for key in self.keys)


# --- Pure parsers ---------------------------------------------------------------------------------------------

_FORWARDERS = (
    ("vhci_hcd", "USB/IP"),
    ("eveusb_vhci_hcd", "USB Network Gate"),
    ("tusb-vhci-driver", "USB Redirector"),
)
# Controllers on a system on a chip are platform devices like the virtual ones; these are hardware by name.
_PLATFORM_HARDWARE = ("dwc2", "dwc3", "xhci-hcd", "ehci-platform", "ohci-platform", "musb-hdrc", "ci_hdrc", "xhci-mtk",
                      "xhci-hcd-tegra", "tegra-xusb", "tegra-ehci", "orion-ehci", "bcm2835-usb", "xenos-ehci")  # fmt: skip


def forwarder_of(driver: str) -> str:
    """The forwarder whose virtual controller this driver runs ("USB/IP"), "" for any other driver.

    The vendors' modules carry version suffixes ("eveusb_vhci_hcd_2"), the kernel's does not.
    """
    for name, forwarder in _FORWARDERS:
        if driver == name or (name != "vhci_hcd" and driver.startswith(name)):
            return forwarder
    return ""


def locate(controller: str, driver: str, device: str, ports: Sequence[runtime.VhciPort]) -> Location:
    """Where a device hangs, from its controller's path below /sys/devices, the controller's driver, and vhci's ports.

    Only names that are known decide; everything else is "unknown", with the name as evidence.
    """
    forwarder = forwarder_of(driver)
    if forwarder == "USB/IP":
        port = next((port for port in ports if port.busid == device), None)
        if port is None:
            return Location("forwarded", "USB/IP, vhci_hcd port unknown")
        server = f" from {_without_default_port(port.server)}" if port.server else ""
        return Location("forwarded", f"USB/IP, vhci_hcd port {port.number}{server}")
    if forwarder:
        return Location("forwarded", f"{forwarder} (driver {runtime.clean(driver, 40)})")
    parts = controller.strip("/").split("/")
    # A PCI bus may stand behind a bridge of the platform (Raspberry Pi 4) or of a hypervisor (Hyper-V).
    on_pci = any(re.fullmatch("pci[0-9a-f]{4,}:[0-9a-f]{2}", part) for part in parts)
    if on_pci or (driver in _PLATFORM_HARDWARE and parts[0] in ("platform", "soc", "soc@0")):
        return Location("local")
    return Location("unknown", f" (controller driver {runtime.clean(driver, 40) or 'not readable'})")


def _without_default_port(server: str) -> str:
    host, _, port = server.rpartition(":")
    return host if port == "3240" else server


def counted(number: int, thing: str) -> str:
    """`1 USB device`, `7 USB devices`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


# --- The collector: the only I/O ------------------------------------------------------------------------------


LOCK_LIMIT = 1.0  # seconds for which a healthy device may be locked, see runtime.read_attributes_within


def lock_limit() -> float:
    """How long to wait for a lock: with a short -t the check must still say which device is stuck."""
    return min(LOCK_LIMIT, runtime.remaining() / 2)


def look_at_bus(wanted: Iterable[tuple[int, int]], strings: Sequence[str]) -> Bus:
    """List the USB bus through libusb and complete each device from sysfs. A missing library is a Problem.

    `strings` are the attributes to read, "product" and "serial": not more than needed, for reading them can wait for
    a device that hangs.
    """
    table = frozenset(wanted)
    _refuse_to_hang(table)
    items = _list_devices()
    found = [(item.idVendor, item.idProduct, _name(item)) for item in items if item.idVendor != ROOT_HUB_VENDOR]
    found.sort(key=lambda item: _place(item[2]))
    ports = (runtime.vhci_ports() or []) if found else []
    devices = tuple(_complete(vendor, product, name, ports, strings) for vendor, product, name in found)
    keys = tuple(item for item in devices if (item.vendor, item.product) in table)
    return Bus(bool(items), devices, keys, () if table == KEYS.keys() else tuple(sorted(table)))


def _refuse_to_hang(table: frozenset[tuple[int, int]]) -> None:
    """A Problem, before libusb is asked, when a program waits inside the kernel for a device that does not answer.

    That program holds the device's lock. libusb reads every device's `uevent`, which on Linux 6.1 waits for the lock
    uninterruptibly: no watchdog and no SIGKILL ends such a process. `bConfigurationValue` waits for the same lock, but
    a thread that waits there ends with its process. Ids and location are readable without the lock.
    """
    try:
        names = [name for name in os.listdir(runtime.USB_DEVICES) if name[:1].isdigit() and ":" not in name]
    except OSError:
        return  # another system, or no USB here
    runtime.doing("asking whether the USB devices answer")
    attributes = [f"{runtime.USB_DEVICES}/{name}/bConfigurationValue" for name in names]
    attributes = [attribute for attribute in attributes if os.path.exists(attribute)]
    answers = runtime.read_attributes_within(attributes, lock_limit())
    silent = [attribute.split("/")[-2] for attribute in attributes if attribute not in answers]
    stuck = [name for name in silent if os.path.isdir(f"{runtime.USB_DEVICES}/{name}")]  # not just unplugged
    if not stuck:
        return
    ports = runtime.vhci_ports() or []
    devices = [_complete(*_ids(name), name, ports, ()) for name in sorted(stuck, key=_place)]
    keys = [device for device in devices if (device.vendor, device.product) in table]
    if keys:
        sentence = f"the key is listed but does not answer the program that uses it: {listed(keys)}"
        raise runtime.Problem(f"{sentence}; see whether the forwarder hangs", runtime.CRITICAL)
    raise runtime.Problem(f"the USB bus cannot be listed: a device does not answer the program that uses it: {listed(devices)}")


def _ids(name: str) -> tuple[int, int]:
    """Vendor and product from sysfs, 0 for what is no number: such a device is no key."""
    texts = [runtime.read_attribute(f"{runtime.USB_DEVICES}/{name}/{attribute}") or "" for attribute in ("idVendor", "idProduct")]
    vendor, product = (int(text, 16) if re.fullmatch("[0-9a-f]{4}", text) else 0 for text in texts)
    return vendor, product


def _list_devices() -> list[Any]:
    core = runtime.import_library("usb.core")
    libusb1 = runtime.import_library("usb.backend.libusb1")
    runtime.doing("loading libusb")
    backend = None
    if sys.platform.startswith("linux"):
        # The name is stable, and pyusb's own search starts ldconfig or gcc.
        backend = libusb1.get_backend(find_library=lambda name: "libusb-1.0.so.0")
    backend = backend or libusb1.get_backend()
    if backend is None:
        # pyusb answers None for every failure. What it loaded tells them apart: nothing, a library without the function
        # that names ports (libusb before 1.0.16), or one whose start failed.
        if not hasattr(libusb1._lib, "libusb_get_port_numbers"):
            raise runtime.Problem(
                "libusb 1.0 is missing or too old: install the package libusb-1.0-0 (Windows: libusb-1.0.dll beside python.exe)"
            )
        if _no_usb_here():
            return []
        raise runtime.Problem("libusb 1.0 cannot start (libusb_init failed): check /dev/bus/usb and the rights of this user")
    runtime.doing("listing the USB devices")
    try:
        return list(core.find(find_all=True, backend=backend))
    except core.USBError as error:
        raise runtime.Problem(f"the USB devices cannot be listed: {runtime.clean(error, 120)}") from None


def _no_usb_here() -> bool:
    return sys.platform.startswith("linux") and not os.path.isdir(runtime.USB_DEVICES)


def _name(device: Any) -> str:
    """The kernel's name of the device: bus and ports, "usb1" for a root hub."""
    ports = device.port_numbers
    return f"{device.bus}-{'.'.join(map(str, ports))}" if ports else f"usb{device.bus}"


def _place(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in name.replace("usb", "").replace("-", ".").split(".") if number.isdigit())


def _complete(vendor: int, product: int, name: str, ports: Sequence[runtime.VhciPort], strings: Sequence[str]) -> Device:
    folder = f"{runtime.USB_DEVICES}/{name}"
    model, serial = KEYS.get((vendor, product), "unnamed device"), None
    if not os.path.isdir(folder):  # no sysfs on this system, or unplugged since it was listed
        return Device(vendor, product, name, model, serial, Location("unknown"))
    controller = os.path.dirname(os.path.realpath(f"{runtime.USB_DEVICES}/usb{name.partition('-')[0]}"))
    link = f"{controller}/driver"
    driver = os.path.basename(os.path.realpath(link)) if os.path.islink(link) else ""
    location = locate(controller[len("/sys/devices") :], driver, name, ports)
    if "serial" in strings:
        serial = _string(folder, "serial")
    if "product" in strings:
        model = _string(folder, "product") or model
    return Device(vendor, product, name, model, serial, location)


LONGEST_STRING = 300  # a USB string has 126 characters: whole, for two serials may differ in the last one


def _string(folder: str, attribute: str) -> str | None:
    runtime.doing(f"reading the {attribute} of the USB device at {os.path.basename(folder)}")
    if not os.path.exists(f"{folder}/{attribute}"):
        return ""  # the device has no such string
    path = f"{folder}/{attribute}"
    text = runtime.read_attributes_within([path], lock_limit()).get(path)
    return None if text is None else runtime.clean(text, LONGEST_STRING)


class UsbBus(nagiosplugin.Resource):
    """The bus of this machine, looked at once, with what the operator asks of it."""

    def __init__(
        self, wanted: Iterable[tuple[int, int]], serials: Sequence[str], location: str | None, strings: Sequence[str]
    ) -> None:
        self.wanted, self.serials, self.location, self.strings = tuple(wanted), serials, location, strings
        self.bus = Bus(False, (), ())

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        self.bus = look_at_bus(self.wanted, self.strings)
        yield nagiosplugin.Metric("keys", self.bus, context="keys")
        yield nagiosplugin.Metric("forwarded", self.bus.forwarded, context="forwarded")
        for serial in dict.fromkeys(self.serials):
            yield nagiosplugin.Metric("serial", (serial, self.bus.keys), context="serial")
        if self.location:
            yield nagiosplugin.Metric("location", (self.location, self.bus.keys), context="location")


# --- The judgement --------------------------------------------------------------------------------------------


class KeyCount(nagiosplugin.Context):
    """The number of keys against the operator's ranges; perfdata `keys`."""

    def __init__(self, warning: nagiosplugin.Range | None, critical: nagiosplugin.Range) -> None:
        super().__init__("keys")
        self.warning, self.critical = warning, critical

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        bus: Bus = metric.value
        state = runtime.judge(len(bus.keys), self.warning, self.critical)
        if state == nagiosplugin.Ok:
            return nagiosplugin.Result(state, metric=metric)
        if bus.keys:
            broken = self.critical if state == nagiosplugin.Critical else self.warning
            where = f"inside the forbidden range {broken}" if broken and broken.invert else f"outside the range {broken}"
            return nagiosplugin.Result(state, f"{tally(bus)}, {where}", metric)
        return nagiosplugin.Result(state, absence(bus), metric)

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        return runtime.perfdata("keys", len(metric.value.keys), "", self.warning, self.critical, 0)


class Forwarded(nagiosplugin.Context):
    """How many keys are forwarded: only perfdata, --location judges it."""

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        return runtime.perfdata("forwarded", metric.value, minimum=0)


class RequiredSerial(nagiosplugin.Context):
    """--serial: a key of that serial must be here. A serial that cannot be read is Unknown, not absent."""

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        serial, keys = metric.value
        if any(key.serial == serial for key in keys):
            return nagiosplugin.Result(nagiosplugin.Ok, metric=metric)
        shown = runtime.clean(serial, LONGEST_STRING)
        unreadable = [key for key in keys if key.serial is None]
        if unreadable:
            where = ", ".join(key.name for key in unreadable)
            sentence = f"cannot tell whether the key with serial {shown} is here: no readable serial at {where}"
            sentence += "; see whether its forwarder hangs, or leave --serial out"
            return nagiosplugin.Result(nagiosplugin.Unknown, sentence, metric)
        others = ", ".join(key.serial or "a key without serial" for key in keys) or "no key at all"
        sentence = f"the key with serial {shown} is not here (found: {others}); plug or attach it, or correct --serial"
        return nagiosplugin.Result(nagiosplugin.Critical, sentence, metric)


class RequiredLocation(nagiosplugin.Context):
    """--location: every key that is here must be local, or forwarded. No key here is the key count's business."""

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        wanted, keys = metric.value
        wrong = [key for key in keys if key.location.kind not in (wanted, "unknown")]
        unknown = [key for key in keys if key.location.kind == "unknown"]
        if wrong:
            sentence = f"key not where it should be ({wanted}): {listed(wrong)}; move it back, or change --location"
            return nagiosplugin.Result(nagiosplugin.Critical, sentence, metric)
        if unknown:
            remedy = "see where it is plugged in, and leave --location out"
            sentence = f"cannot tell whether the key is {wanted}: {listed(unknown)}; {remedy}"
            return nagiosplugin.Result(nagiosplugin.Unknown, sentence, metric)
        return nagiosplugin.Result(nagiosplugin.Ok, metric=metric)


# --- The sentence ---------------------------------------------------------------------------------------------


def listed(keys: Sequence[Device]) -> str:
    """The keys in one phrase; beyond three only their number, the details are in -v."""
    rest = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return "; ".join(map(str, keys[:3])) + rest


def tally(bus: Bus) -> str:
    """How many keys there are, and where."""
    return f"{counted(len(bus.keys), 'SenseLock key')}: {listed(bus.keys)}" if bus.keys else absence(bus)


def absence(bus: Bus) -> str:
    """Why there may be no key: no bus at all, or a bus without it, and what came closest."""
    if not bus.present:
        return "no SenseLock key: no USB bus is visible here (a container, or a machine without a USB controller)"
    sentence = f"no SenseLock key among {counted(len(bus.devices), 'USB device')}"
    if bus.wanted:
        sentence += f" (looked for: {', '.join(f'{vendor:04x}:{product:04x}' for vendor, product in bus.wanted[:5])})"
    known = [item for item in bus.devices if (item.vendor, item.product) in KEYS]
    relatives = [item for item in bus.devices if item.vendor == SENSELOCK_VENDOR]
    if known:
        sentence += f", but {known[0].usb_id} is one by usb.ids, at {known[0].name}: if that is the key, give its --usb-id"
    elif relatives:
        closest = relatives[0]
        sentence += f", but {closest.usb_id} of the same vendor at {closest.name}: if that is the key, give its --usb-id"
    return sentence


class Spoken(nagiosplugin.Summary):
    """What the check says when all is well, and the lines of -v (the keys) and -vv (every device)."""

    def __init__(self, resource: UsbBus, verbose: int) -> None:
        self.resource, self.verbosity = resource, verbose

    def ok(self, results: nagiosplugin.Results) -> str:
        return tally(self.resource.bus)

    def verbose(self, results: nagiosplugin.Results) -> list[str]:
        bus = self.resource.bus
        lines = [f"key {key.describe()}" for key in bus.keys]
        if self.verbosity > 1:
            lines += [f"device {item.describe()}" for item in bus.devices if item not in bus.keys]
        return lines


# --- Options and main -----------------------------------------------------------------------------------------


def options() -> runtime.Options:
    """The options of this check, the common ones included."""
    parser = runtime.Options(
        "check_senselock",
        "Counts the SenseLock keys on this machine's USB bus and tells whether they are local or forwarded.",
        "  check_senselock\n"
        "  check_senselock -c 2: --location forwarded\n"
        "  check_senselock --usb-id 1bc0:8101 --serial 9700000000001234 -vv\n",
    )
    group = parser.add_argument_group("the key")
    group.add_argument("-w", "--warning", metavar="RANGE", type=runtime.threshold,
                       help="warn if the number of keys is outside RANGE")
    group.add_argument("-c", "--critical", metavar="RANGE", type=runtime.threshold, default="1:",
                       help="alarm if the number of keys is outside RANGE (1:)")
    group.add_argument("--usb-id", metavar="VID:PID", type=runtime.usb_id, action="append",
                       help="count these devices instead of the built-in table of SenseLock keys; repeatable")
    group.add_argument("--serial", metavar="TEXT", action="append", default=[],
                       help="the key with this serial must be here; repeatable")
    group.add_argument("--location", choices=("local", "forwarded"), help="where every key must hang")
    return parser


def build(values: argparse.Namespace) -> nagiosplugin.Check:
    """The check as nagiosplugin runs it."""
    if any(not serial.strip() for serial in values.serial):
        raise runtime.Problem("--serial is empty; write the serial as check_senselock -v prints it")
    serials = [runtime.clean(serial, LONGEST_STRING) for serial in values.serial]
    strings = ("serial", "product") if values.verbose else ("serial",) if serials else ()
    bus = UsbBus(values.usb_id or KEYS, serials, values.location, strings)
    return nagiosplugin.Check(
        bus,
        KeyCount(values.warning, values.critical),
        Forwarded("forwarded"),
        RequiredSerial("serial"),
        RequiredLocation("location"),
        Spoken(bus, values.verbose),
    )


def main() -> None:
    """The console script."""
    runtime.run("SENSELOCK", options(), build)


if __name__ == "__main__":
    main()
