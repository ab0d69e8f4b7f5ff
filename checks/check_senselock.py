#!/usr/bin/env python3
"""Is the SenseLock key on this machine's USB bus, can it be used, and does a forwarder bring it here?

libusb lists the devices: it needs no permission and opens none. What it cannot say comes from the kernel
(machine/usb.py), which is asked first: behind a frozen forwarder even listing can hang.
"""

import os
import sys

try:
    sys.path.append(os.path.dirname(os.path.realpath(__file__)))  # python3 -I and -P leave it out
    from kodeks_monitoring.contract import deadline

    deadline.start("SENSELOCK", __name__)
except Exception as error:  # noqa: BLE001  whatever a failed copy left: no traceback, no exit code 1
    reason = ascii(str(error))[1:-1]
    print("SENSELOCK UNKNOWN - the check cannot start (%s): copy the whole checks folder again" % reason)
    raise SystemExit(3) from None

import argparse
from typing import Any, Iterator, NamedTuple, Optional, Sequence

import nagiosplugin
from kodeks_monitoring.contract.language import _, ngettext
from kodeks_monitoring.contract.options import Options, proper_text, threshold, usb_id
from kodeks_monitoring.contract.run import Finding, Number, Part, Says, judge, run
from kodeks_monitoring.contract.verdict import CRITICAL, OK, UNKNOWN, Problem, clean
from kodeks_monitoring.machine import usb

VENDOR = "1bc0:"  # it makes other tokens, too


class Device(NamedTuple):
    """One USB device as far as it can be known without opening it.

    `name` is its place on the bus ("1-4.3"). `serial` is None where it cannot be read or was not asked for,
    "" where the device has none (no document says whether real keys have one). `obstacle` is why it cannot be
    used, with the remedy; `missing_node` is the path of its device node where that is missing."""
    usb_id: str
    name: str
    model: str
    serial: Optional[str]
    location: usb.Location
    obstacle: str = ""
    missing_node: str = ""

    def __str__(self) -> str:
        return _("{usb_id} at {place}, {location}", self.usb_id, self.name, self.location)

    def describe(self) -> str:
        """One line for -v."""
        known = _("serial {serial}", self.serial)
        serial = {None: _("serial unknown"), "": _("no serial")}.get(self.serial, known)
        device = f"{self.usb_id} {self.model}"
        return _("{device} at {place}: {serial}, {location}",
                 device, self.name, serial, self.location)  # fmt: skip


class UsbBus(nagiosplugin.Resource):
    """The USB bus of this machine, looked at once and judged by what the operator asks of it.

    `present` is False where not even a root hub is visible; `ports` are those of the kernel's USB/IP client.
    """

    def __init__(self, values: argparse.Namespace) -> None:
        self.values = values
        self.wanted = values.usb_id or list(usb.KEYS)
        self.present = False
        self.devices: Sequence[Device] = ()
        self.keys: Sequence[Device] = ()
        self.ports: Sequence[usb.VhciPort] = ()

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        self.look()
        yield nagiosplugin.Metric("keys", len(self.keys))
        yield nagiosplugin.Metric("forwarded", sum(key.location.kind == "forwarded" for key in self.keys))
        for finding in [judge_count(self), *judge_use(self), *judge_serials(self.values.serial, self.keys)]:
            yield nagiosplugin.Metric("key", finding)
        if self.values.location:
            yield nagiosplugin.Metric("location", judge_location(self.values.location, self.keys))

    def look(self) -> None:
        """List the bus through libusb, the kernel first: where a device is stuck, listing would hang."""
        deadline.doing(_("asking whether the USB devices answer"))
        obstacles = usb.obstacles()
        self.ports = usb.vhci_ports() or ()
        stuck = [name for name in sorted(obstacles) if obstacles[name] == usb.STUCK]
        refuse_to_hang([self.device(usb.usb_id_of(name), name) for name in stuck], self.wanted)
        items = list_devices()
        self.present = bool(items)
        found = {}
        for item in sorted(items, key=lambda item: (item.bus, item.port_numbers or ())):
            if item.port_numbers:  # a root hub has none
                name = f"{item.bus}-{'.'.join(map(str, item.port_numbers))}"
                found[name] = f"{item.idVendor:04x}:{item.idProduct:04x}"
        strings = ("serial", "product") if self.values.verbose else ("serial",) if self.values.serial else ()
        self.devices = [self.device(usb_id, name, obstacles.get(name, ""), strings)
                        for name, usb_id in found.items()]  # fmt: skip
        self.keys = [device for device in self.devices if device.usb_id in self.wanted]

    def device(self, usb_id: str, name: str, obstacle: str = "", strings: Sequence[str] = ()) -> Device:
        """The device with what sysfs knows of it. Each of the strings may have to be waited for."""
        model = usb.KEYS.get(usb_id, _("unnamed device"))
        if not os.path.isdir(f"{usb.USB_DEVICES}/{name}"):  # no sysfs on this system, or unplugged by now
            return Device(usb_id, name, model, None, usb.Location("unknown"))
        serial = read_string(name, "serial") if "serial" in strings else None
        model = ("product" in strings and read_string(name, "product")) or model
        where = usb.location_of(name, self.ports)
        return Device(usb_id, name, model, serial, where, obstacle, usb.missing_node(name))


def read_string(name: str, attribute: str) -> Optional[str]:
    """A string of the device; "" where it has no such string, None where it cannot be read."""
    deadline.doing(_("reading {what}", f"{usb.USB_DEVICES}/{name}/{attribute}"))
    path = f"{usb.USB_DEVICES}/{name}/{attribute}"
    if not os.path.exists(path):
        return ""
    text = usb.read_attributes_within([path]).get(path)
    return None if text is None else clean(text)


def refuse_to_hang(stuck: Sequence[Device], wanted: Sequence[str]) -> None:
    """A Problem where a device is stuck (see usb.obstacles)."""
    keys = [device for device in stuck if device.usb_id in wanted]
    if keys:
        raise Problem(_("the key is listed but does not answer the program that uses it: {keys}; "
                        "see whether the forwarder hangs", listed(keys)), CRITICAL)  # fmt: skip
    if stuck:
        raise Problem(_("the USB bus cannot be listed: a device does not answer the program that uses it: "
                        "{devices}; unplug or detach it", listed(stuck)))  # fmt: skip


def list_devices() -> list[Any]:
    """pyusb's devices. A libusb that is missing, too old or does not start is a Problem."""
    deadline.doing(_("loading libusb"))
    from usb import core  # type: ignore[import-untyped]
    from usb.backend import libusb1  # type: ignore[import-untyped]

    # pyusb's own search starts ldconfig or gcc on Linux; on Windows it does not look beside python.exe.
    library = "libusb-1.0.dll" if os.name == "nt" else "libusb-1.0.so.0"
    backend = libusb1.get_backend(find_library=lambda name: library) or libusb1.get_backend()
    if backend is None:
        # pyusb answers None for every failure. What it loaded tells which: nothing, a library without
        # the function that names ports (libusb before 1.0.16), or one that does not start.
        if not hasattr(libusb1._lib, "libusb_get_port_numbers"):
            raise Problem(_("libusb 1.0 is missing or too old: install the package libusb-1.0-0 "
                            "(Windows: libusb-1.0.dll beside python.exe)"))  # fmt: skip
        if usb.ON_LINUX and not os.path.isdir(usb.USB_DEVICES):
            return []
        raise Problem(_("libusb 1.0 cannot start (libusb_init failed): "
                        "check the rights of this user (Linux: and /dev/bus/usb)"))  # fmt: skip
    deadline.doing(_("listing the USB devices"))
    try:
        return list(core.find(find_all=True, backend=backend))
    except core.USBError as error:
        raise Problem(_("the USB devices cannot be listed: {why}", clean(error, 120))) from None


def judge_count(bus: UsbBus) -> Finding:
    """The number of keys against the operator's ranges."""
    values = bus.values
    state = judge(len(bus.keys), values.warning, values.critical)
    if state == OK or not bus.keys:
        return Finding(state, tally(bus))
    broken = values.critical if state == CRITICAL else values.warning
    if broken.invert:
        return Finding(state, _("{keys}, inside the forbidden range {range}", tally(bus), broken))
    return Finding(state, _("{keys}, outside the range {range}", tally(bus), broken))


def judge_use(bus: UsbBus) -> Iterator[Finding]:
    """Keys that the kernel lists but that cannot be used, and a key on two ports."""
    for key in bus.keys:
        if key.obstacle:
            why = _(key.obstacle)
            yield Finding(CRITICAL, _("the key is listed but cannot be used: {key}: {why}", key, why))
    names = {key.name for key in bus.keys}
    dead = [port for port in usb.ghosts(bus.ports) if port.busid in names]
    for server, remote in dict.fromkeys((port.server, port.remote) for port in dead):
        numbers = [str(port.number) for port in dead if (port.server, port.remote) == (server, remote)]
        yield Finding(CRITICAL, _(
            "vhci_hcd ports {ports} hold the same key, {remote} of {server}: all but one are dead, "
            "and a program that opens a dead one hangs; "
            "run usbip detach -p for each of them, then attach the key once",
            _(" and ").join(numbers), remote, server))  # fmt: skip
    doubtful = [str(port.number) for port in usb.possible_ghosts(bus.ports) if port.busid in names]
    if len(doubtful) > 1:
        yield Finding(UNKNOWN, _(
            "cannot tell whether vhci_hcd ports {ports} hold the same key: only root may read {folder}; "
            "see usbip port as root, or let this user read it", _(" and ").join(doubtful), usb.VHCI_NOTES))


def judge_serials(wanted: Sequence[str], keys: Sequence[Device]) -> Iterator[Finding]:
    """--serial: a key with each serial must be here. One that cannot be read is UNKNOWN, not absent."""
    unreadable = ", ".join(key.name for key in keys if key.serial is None)
    others = ", ".join(key.serial or _("a key without serial") for key in keys) or _("no key at all")
    missing = {clean(text) for text in wanted} - {key.serial for key in keys}
    for serial in sorted(missing):
        if unreadable:
            yield Finding(UNKNOWN, _(
                "cannot tell whether the key with serial {serial} is here: no readable serial at {places}; "
                "see whether its forwarder hangs, or leave --serial out", serial, unreadable))
        else:
            yield Finding(CRITICAL, _("the key with serial {serial} is not here (found: {others}); "
                                      "plug or attach it, or correct --serial", serial, others))  # fmt: skip


def judge_location(wanted: str, keys: Sequence[Device]) -> Finding:
    """--location: every key that is here must be local, or forwarded."""
    wrong = listed([key for key in keys if key.location.kind not in (wanted, "unknown")])
    if wrong:
        return Finding(CRITICAL, _("key not where it should be ({location}): {keys}; "
                                   "move it back, or change --location", wanted, wrong))  # fmt: skip
    unknown = listed([key for key in keys if key.location.kind == "unknown"])
    if unknown:
        return Finding(UNKNOWN, _("cannot tell whether the key is {location}: {keys}; see where it is "
                                  "plugged in, and leave --location out", wanted, unknown))  # fmt: skip
    return Finding(OK, "")


def listed(devices: Sequence[Device]) -> str:
    """The devices in one phrase; beyond three only their number, the details are in -v."""
    rest = _(" and {number} more", len(devices) - 3) if len(devices) > 3 else ""
    return "; ".join(map(str, devices[:3])) + rest


def tally(bus: UsbBus) -> str:
    """How many keys there are and where, with a remark on a missing device node."""
    if not bus.keys:
        return absence(bus)
    number, keys = len(bus.keys), listed(bus.keys)
    sentence = ngettext("{n} SenseLock key: {keys}", "{n} SenseLock keys: {keys}", number, keys)
    missing = ", ".join(key.missing_node for key in bus.keys if key.missing_node)
    remark = _(" (missing here: {files}; a container, or PrivateDevices=?)", missing) if missing else ""
    return sentence + remark


def absence(bus: UsbBus) -> str:
    """Why there may be no key: no bus at all, or a bus without it, and what comes closest."""
    if not bus.present:
        return _("no SenseLock key: no USB bus is visible here "
                 "(a container, or a machine without a USB controller)")  # fmt: skip
    sentence = ngettext("no SenseLock key among {n} USB device", "no SenseLock key among {n} USB devices",
                        len(bus.devices))  # fmt: skip
    if bus.values.usb_id:
        sentence += _(" (looked for: {usb_ids})", ", ".join(sorted(set(bus.wanted))[:5]))
    closest = [item for item in bus.devices if item.usb_id in usb.KEYS or item.usb_id.startswith(VENDOR)]
    if not closest:
        return sentence
    return _("{no_key}, but {usb_id} at {place} may be one: if it is, give its --usb-id",
             sentence, closest[0].usb_id, closest[0].name)  # fmt: skip


def details(bus: UsbBus) -> list[str]:
    """The lines of -v (the keys) and -vv (every device)."""
    others = [item for item in bus.devices if item not in bus.keys and bus.values.verbose > 1]
    return [*(_("key {key}", key.describe()) for key in bus.keys),
            *(_("device {device}", item.describe()) for item in others)]  # fmt: skip


def options() -> Options:
    """The options of this check, the common ones included."""
    parser = Options(
        "check_senselock",
        "Counts the SenseLock keys on this machine's USB bus and tells whether they are local or forwarded.",
        "  check_senselock\n"
        "  check_senselock -c 2: --location forwarded\n"
        "  check_senselock --usb-id 1bc0:8101 --serial 9700000000001234 -vv\n",
    )
    add = parser.add_argument_group("the key").add_argument
    add("-w", "--warning", metavar="RANGE", type=threshold,
        help="warn if the number of keys is outside RANGE")
    add("-c", "--critical", metavar="RANGE", type=threshold, default="1:",
        help="alarm if the number of keys is outside RANGE (1:)")
    add("--usb-id", metavar="VID:PID", type=usb_id, action="append",
        help="count these devices instead of the built-in table of SenseLock keys; repeatable")
    add("--serial", metavar="TEXT", type=proper_text, action="append", default=[],
        help="the key with this serial must be here; repeatable")
    add("--location", choices=("local", "forwarded"), help="where every key must be plugged in")
    return parser


def build(values: argparse.Namespace) -> nagiosplugin.Check:
    """The check as nagiosplugin runs it."""
    bus = UsbBus(values)
    keys = Number("keys", "", values.warning, values.critical, minimum=0)
    forwarded = Number("forwarded", minimum=0)
    says = Says(lambda results: tally(bus), lambda results: details(bus))
    return nagiosplugin.Check(bus, keys, forwarded, Part("key"), Part("location"), says)


def main() -> None:
    """The console script."""
    run("SENSELOCK", options(), build, part="key")


if __name__ == "__main__":
    main()
