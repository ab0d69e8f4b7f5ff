"""What was found of a forwarder, as findings. Pure: no clock, no machine.

A state that is not known is never good, and several devices with one name must agree.
"""

from __future__ import annotations

import datetime
import re
from typing import TYPE_CHECKING, NamedTuple, Sequence

from ..contract.run import Finding, judge
from ..contract.verdict import CRITICAL, OK, UNKNOWN, WARNING, clean
from . import listing as states
from .listing import NOT_UNDERSTOOD, Device, Listing, first_line, plain, readings

if TYPE_CHECKING:
    from ..contract.run import Range

PERPETUAL = datetime.date.max  # the last day of a license that never ends
LONGEST_NAME = 130  # a USB string has at most 126 characters, and what is shown must be enough to give it


def judge_license(
    title: str, ends: datetime.date | None, today: datetime.date, warning: Range, critical: Range
) -> Finding:
    """The license by its last valid day; None = nobody gave it."""
    if ends is None:
        remedy = "give --license-expires YYYY-MM-DD or perpetual"
        return Finding(UNKNOWN, f"license term of {title} unknown: {remedy}")
    if ends == PERPETUAL:
        return Finding(OK, f"license of {title} is perpetual")
    if today.year < 2020:
        what = f"license of {title} until {ends} cannot be judged, set the clock"
        return Finding(UNKNOWN, f"this machine's clock says {today}: {what}")
    left = (ends - today).days
    days = f"{abs(left)} day{'' if abs(left) == 1 else 's'}"
    if left < 0:
        expired = f"license of {title} expired {days} ago ({ends})"
        return Finding(CRITICAL, f"{expired}: renew it, then reconnect the key")
    state = judge(left, warning, critical)
    sentence = f"license of {title} ends {f'in {days}' if left else 'today'} ({ends})"
    return Finding(state, f"{sentence}: renew it now" if state else sentence)


# --- Devices ----------------------------------------------------------------------------------------


class Wanted(NamedTuple):
    """A device that must be there: by `usb_id`, else by the name or place that the list shows."""

    usb_id: str
    name: str

    def __str__(self) -> str:
        return f"key {self.usb_id or clean(readings(self.name)[0], 80)}"

    def matches(self, device: Device) -> bool:
        """By its id, or by a whole name as the list or as this check shows it, case and blanks aside."""
        if self.usb_id or device.state == NOT_UNDERSTOOD:
            return device.usb_id == self.usb_id != ""
        texts = (*readings(device.name), device.place, device.place.partition(", ")[0])
        names = {plain(text) for name in texts for text in (name, clean(name, 4 * LONGEST_NAME))} - {""}
        return any(plain(text) in names for text in readings(self.name))

    def may_be(self, device: Device) -> bool:
        """Whether lines that are not understood mention it."""
        return all(plain(word) in plain(device.name) for word in (self.usb_id or self.name).split(":"))


class Machines(NamedTuple):
    """The machine that must use the device ("" = any, in a client's list this one), and this one's name."""

    client: str
    here: str

    def use(self, device: Device) -> bool:
        """Whether that machine uses the device, by any word for its user (`USER at MACHINE`: by the last)."""
        told = re.split(r"(?i) (?:at|на) ", device.user)[-1]  # some editions speak Russian
        words = [device.user, *re.split(r"[\s,()]+", told)]
        with_port = r"^\[(.+)\](?::[0-9]{1,5})?$|^([^:]+):[0-9]{1,5}$"
        words += [re.sub(with_port, r"\1\2", word) for word in words]
        return plain(self.client or self.here) in {plain(word) for word in words} - {""}


def judge_state(name: str, device: Device, machines: Machines) -> Finding:
    """One device of a list."""
    user, client = clean(device.user, 80), clean(machines.client, 80)
    if device.state in (states.SERVED, states.USED, states.USED_SOMEWHERE):
        if (device.state == states.SERVED and not client) or machines.use(device):
            return Finding(OK, f"{name} is in use by {user or 'a client'}")
        if device.state == states.USED_SOMEWHERE and not client:
            what = f"{name} is connected to {user}, and the list does not tell whether that is this machine"
            return Finding(UNKNOWN, f"{what}: if it is, give --client {user}")
        what = f"{name} is in use by another machine ({user or 'not named'})"
        return Finding(CRITICAL, f"{what}: release it there")
    if client and device.state == states.OFFERED:
        return Finding(CRITICAL, f"{name} is offered, but not used by {client}: attach it there")
    if client and device.state == states.ATTACHED and plain(machines.here) != plain(machines.client):
        what = f"{name} is attached here, and whether this machine is {client} cannot be told"
        return Finding(UNKNOWN, f"{what}: leave --client out")
    if device.state == NOT_UNDERSTOOD:
        return Finding(UNKNOWN, f"this is not understood: {name}")
    return Finding(device.state.state, f"{name} {clean(device.state.sentence)}")


def judge_device(wanted: Wanted, listing: Listing, machines: Machines) -> Finding:
    """A device that the operator named."""
    devices, found = listing.devices, [device for device in listing.devices if wanted.matches(device)]
    findings = [judge_state(str(wanted), device, machines) for device in found]
    good = [finding for finding in findings if finding.state == OK]
    if findings and not good:
        return max(findings, key=lambda finding: finding.state == CRITICAL)
    if len(good) < len(findings):
        shown = "; ".join(clean(show(device), 2 * LONGEST_NAME) for device in found)
        what = f"{wanted}: {len(found)} devices match and not all are good"
        return Finding(UNKNOWN, f"{what}, name one by its place ({shown})")
    odd = [device for device in devices if device.state == NOT_UNDERSTOOD]
    odd = [device for device in odd if wanted.may_be(device)] if good else odd
    if odd:
        return Finding(UNKNOWN, f"{wanted} may be what this check does not understand: {_name(odd[0])}")
    if good:
        return good[0]
    names = ", ".join(map(_name, devices[:5]))
    what = "VID:PID, give the name" if wanted.usb_id and not all(device.usb_id for device in devices) else ""
    if wanted.name and devices and not any(device.name for device in devices):
        what = "names, give VID:PID or the place"
    if what:
        return Finding(UNKNOWN, f"{wanted}: this list does not tell {what} instead (listed: {names})")
    named = f": {names}" if wanted.name and names else ""
    return _absent(f"{wanted} {listing.absent.sentence}", f"{named}; ", listing)


def judge_list(listing: Listing, machines: Machines) -> Finding:
    """The list where no device is named: a forwarder without anything to forward is broken, too."""
    findings = [judge_state(_name(device), device, machines) for device in listing.devices]
    good = [finding for finding in findings if finding.state == OK]
    if good:
        return Finding(OK, f"{len(good)} of {len(findings)} devices offered or attached")
    unknown = next((finding for finding in findings if finding.state == UNKNOWN), None)
    if unknown:  # it may be the key, and well
        what = f"no device is known to be offered or attached (devices listed: {len(findings)})"
        return Finding(UNKNOWN, f"{what}: {unknown.sentence}")
    return _absent("no device is offered or attached", ", ", listing)


def _absent(what: str, comma: str, listing: Listing) -> Finding:
    lost = f"not connected to {clean(', '.join(listing.lost), 120)}" if listing.lost else ""
    remedy = f": {listing.remedy}" if listing.remedy else ""
    number = f"(devices listed: {len(listing.devices)}{comma if lost else comma[:-2]}{lost})"
    return Finding(listing.absent.state, f"{what} {number}{remedy}")


def good_devices(listing: Listing, machines: Machines) -> int:
    """How many devices are offered, attached, or in use by who may use them."""
    return sum(judge_state("", device, machines).state == OK for device in listing.devices)


def show(device: Device) -> str:
    """All that a list tells of a device."""
    place, user = device.place and f"at {device.place}", device.user and f"by {device.user}"
    words = (device.usb_id, readings(device.name)[0], place, device.state.sentence, user)
    return " ".join(filter(None, words))


def _name(device: Device) -> str:
    name = readings(device.name)[0] or device.usb_id or device.place
    return clean(name, LONGEST_NAME) or "a device without a name"


# --- Processes and services -------------------------------------------------------------------------

DEAD = ("zombie", "dead")


class Process(NamedTuple):
    """A process; `status` in psutil's words, for example "running" or "stopped"."""

    pid: int
    status: str


def judge_process(name: str, found: Sequence[Process], visible: int) -> Finding:
    """The processes of one name. `visible`: how many a container shows in all, 0 where none is hidden."""
    alive = [process for process in found if process.status not in DEAD]
    stopped = [process.pid for process in alive if process.status in ("stopped", "tracing-stop")]
    if stopped:
        remedy = f"run kill -CONT {stopped[0]}, or restart it"
        return Finding(CRITICAL, f"process {name} is stopped (frozen, pid {stopped[0]}): {remedy}")
    if alive:
        return Finding(OK, f"process {name} is running")
    number = "1 process is" if visible == 1 else f"{visible} processes are"
    container = f" (only {number} visible here: a container?)" if visible else ""
    return Finding(CRITICAL, f"process {name} is not running{container}: start it")


def judge_systemd(name: str, text: str) -> Finding:
    """`systemctl show` of one unit (its manual page names the states)."""
    values = dict(line.split("=", 1) for line in text.split("\n") if "=" in line)
    load, active, sub = (clean(values.get(key, ""), 40) for key in ("LoadState", "ActiveState", "SubState"))
    shown = ", ".join(filter(None, (active, sub, clean(values.get("Result", "").replace("success", ""), 40))))
    if not (load and active and sub):
        says = clean(first_line(text.split("\n")), 120)
        return Finding(UNKNOWN, f"systemd does not tell the state of service {name}: {says}")
    if values.get("FreezerState", "running") != "running":
        return Finding(CRITICAL, f"service {name} is frozen: run systemctl thaw {name}")
    if (active, sub) == ("active", "running") or (active == "reloading" and sub.startswith("reload")):
        why = f"its LoadState is {load} and it will not start again: run systemctl status {name}"
        running = f"service {name} is running"
        return Finding(OK, running) if load == "loaded" else Finding(WARNING, f"{running}, but {why}")
    if load == "not-found":
        return Finding(UNKNOWN, f"there is no service {name} on this machine: check --service")
    if active in ("active", "reloading"):  # a one-shot service that has done its work, a socket, a timer
        return Finding(UNKNOWN, f"service {name} is active without a process ({sub}): name its --process")
    if (load, active) == ("loaded", "activating") and not sub.startswith("auto-restart"):
        return Finding(WARNING, f"service {name} is starting ({shown})")
    unmask = f"masked ({shown}): run systemctl unmask {name}, then start it"
    start = f"not running ({shown}): start it and read its journal"
    return Finding(CRITICAL, f"service {name} is {unmask if load == 'masked' else start}")
