"""What can be known of a USB forwarder, and what it means: devices, license, processes, services.

Pure: facts in, findings out. A state, a list or a name that is not known is never good; several devices that bear the
wanted name must agree.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

import plugin_runtime as runtime

if TYPE_CHECKING:
    import datetime
    from typing import Sequence

    import nagiosplugin

OK, WARNING, CRITICAL, UNKNOWN = runtime.OK, runtime.WARNING, runtime.CRITICAL, runtime.UNKNOWN

# --- Value objects --------------------------------------------------------------------------------------------

# States of a listed device. The first three are good ones; USED depends on who uses it.
ATTACHED = "attached here"
OFFERED = "offered"
USED = "in use"
USED_SOMEWHERE = "in use, here or elsewhere,"  # the list names the user, but not whether that is this machine
UNSHARED = "plugged in, but not shared"
UNAVAILABLE = "not available"
DISCONNECTED = "disconnected"
UNREACHABLE = "on a hub that cannot be shared"


class Device(NamedTuple):
    """One device in a forwarder's list.

    `usb_id` is "vid:pid" in lower case, "" where the list names none. `state` is one of the states above or what keeps
    the list from telling one. `user` is who uses it ("192.0.2.10"), `place` its address in the list.
    """

    name: str
    usb_id: str
    state: str
    user: str = ""
    place: str = ""

    def __str__(self) -> str:
        words = [self.usb_id, readings(self.name)[0], f"at {self.place}" if self.place else ""]
        by = f" by {self.user}" if self.user else ""
        return f"{' '.join(filter(None, words)) or 'a device without a name'}: {self.state}{by}"


class Listing(NamedTuple):
    """A recognised list. `side` tells whose view it is: the server's that shares, or the client's that attaches.

    `lost` are servers that the client is not connected to. `licenses` are (server, devices it may serve, None =
    unlimited, UNTOLD = not told); `only_licenses`: the list is one of licenses and says nothing of devices. `absent` is
    how to judge a device that is not in the list, and what to say of it; `remedy` is what to do about it, "" = is said.
    """

    devices: tuple[Device, ...] = ()
    side: str = "client"
    lost: tuple[str, ...] = ()
    licenses: tuple[tuple[str, int | None], ...] = ()
    absent: tuple[int, str] = (CRITICAL, "is not offered by the forwarder")
    only_licenses: bool = False
    remedy: str = "is the key plugged in at the forwarder, and shared?"

    def what_to_do(self) -> str:
        """The end of a sentence about a device that is missing."""
        remedy = "is the forwarder on, and reachable from here?" if self.lost else self.remedy
        return f": {remedy}" if self.absent[0] == CRITICAL and remedy else ""


UNTOLD = -1  # the number of devices that a server's license allows, where the server did not tell it


class Unrecognised(NamedTuple):
    """Not a list that any capture shows; `evidence` is the first line that does not fit, or what is missing."""

    evidence: str


class Finding(NamedTuple):
    """One judged part of the forwarder and the sentence for it."""

    state: int
    sentence: str


class Term(NamedTuple):
    """The term of a license as the operator knows it: its last valid day (None = it never ends), seen from today."""

    ends: datetime.date | None
    today: datetime.date

    def left(self) -> int | None:
        """Days left; 0 on the last valid day, negative behind it."""
        return None if self.ends is None else (self.ends - self.today).days


class Process(NamedTuple):
    """One process as psutil sees it; `status` is psutil's word, for example "running" or "stopped"."""

    pid: int
    status: str


LONGEST_NAME = 130  # characters of a name that are shown: a USB string has 126, and what is shown must be enough to give it


class Wanted(NamedTuple):
    """A device that must be there: by `usb_id`, else by the name or place that the list shows."""

    usb_id: str
    name: str

    def __str__(self) -> str:
        return f"key {self.usb_id or runtime.clean(readings(self.name)[0], 80)}"

    def matches(self, device: Device) -> bool:
        """Whole names only, case and blanks aside: one name may be part of another. What this check shows is a name, too."""
        if self.usb_id:
            return device.usb_id == self.usb_id
        texts = (*readings(device.name), device.place, device.place.partition(", ")[0])
        names = {plain(text) for name in texts for text in (name, runtime.clean(name, 4 * LONGEST_NAME))} - {""}
        return any(plain(text) in names for text in readings(self.name))


# --- Text from tools ------------------------------------------------------------------------------------------


def decode(output: bytes) -> str:
    """A tool's output as text. Bytes that are not UTF-8 survive as surrogates, see readings().

    PowerShell writes captured output as UTF-16 with a byte order mark.
    """
    if output[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return output.decode("utf-16", "replace").replace("\r\n", "\n")
    return output.decode("utf-8", "surrogateescape").lstrip("\ufeff").replace("\r\n", "\n")


def readings(name: str) -> tuple[str, ...]:
    """What a name can mean: itself, or, where its bytes are no UTF-8, the same bytes in the code pages of Windows
    and of its console in Russian."""
    try:
        raw = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # JSON can write half of a character
        return (name,)
    if raw == name.encode("utf-8", "replace"):
        return (name,)
    return tuple(raw.decode(encoding, "replace") for encoding in ("cp1251", "cp866"))


def first_line(text: str) -> str:
    """The first line that says something: the evidence for an answer nobody understands."""
    return next((line for line in text.split("\n") if line.strip()), "no output at all")


def plain(text: str) -> str:
    """A name without what people write differently: case and runs of blanks."""
    return " ".join(text.split()).casefold()


# --- The license ----------------------------------------------------------------------------------------------


def days(number: int) -> str:
    """`1 day`, `20 days`."""
    return f"{number} day" if number == 1 else f"{number} days"


def capacity(number: int | None) -> str:
    """How many devices a license allows."""
    return "unlimited devices" if number is None else "not told" if number == UNTOLD else f"{number} devices"


def judge_license(
    title: str,
    term: Term | None,
    licenses: Sequence[tuple[str, int | None]],
    warning: nagiosplugin.Range | None,
    critical: nagiosplugin.Range | None,
) -> Finding:
    """The license by the operator's date and by what the forwarder told of it. Its last day counts as valid."""
    without = [server for server, number in licenses if number == 0]
    if without:
        return Finding(CRITICAL, f"license of {title}: none on {runtime.clean(without[0], 60)}, buy or renew it")
    if term is None:
        # An unlicensed VirtualHere server serves one device, so only a larger number proves a license (vendor's site).
        if licenses and all(number is None or number > 1 for _, number in licenses):
            shown = ", ".join(f"{runtime.clean(server, 60)} {number or 'unlimited'}" for server, number in licenses[:3])
            return Finding(OK, f"license of {title} is there (devices it may serve: {shown})")
        return Finding(UNKNOWN, f"license term of {title} unknown: give --license-expires YYYY-MM-DD or perpetual")
    left = term.left()
    if left is None:
        return Finding(OK, f"license of {title} is perpetual")
    if term.today.year < 2020:
        judged = f"license of {title} until {term.ends} cannot be judged"
        return Finding(UNKNOWN, f"this machine's clock says {term.today}: {judged}, set the clock")
    if left < 0:
        return Finding(CRITICAL, f"license of {title} expired {days(-left)} ago ({term.ends}): renew it, then reconnect the key")
    ends = f"license of {title} ends {f'in {days(left)}' if left else 'today'} ({term.ends})"
    state = int(runtime.judge(left, warning, critical))
    return Finding(state, f"{ends}: renew it now" if state else ends)


# --- Devices --------------------------------------------------------------------------------------------------

NOT_LISTED_WHEN_USED = "a device in use by another machine is not in that list"


def judge_device(wanted: Wanted, listing: Listing, clients: Sequence[str]) -> Finding:
    """A device that the operator named. Several that bear the name must agree, otherwise nothing is proven."""
    if listing.only_licenses:
        return Finding(UNKNOWN, f"{wanted}: the list command lists licenses, not devices")
    found = [judge_state(str(wanted), device, listing.side, clients) for device in listing.devices if wanted.matches(device)]
    if found and all(item.state == OK for item in found):
        return found[0]
    if any(item.state == OK for item in found):
        shown = "; ".join(runtime.clean(device, 2 * LONGEST_NAME) for device in listing.devices if wanted.matches(device))
        return Finding(UNKNOWN, f"{wanted}: {len(found)} devices match and not all are good, name one by its place ({shown})")
    if found:
        return max(found, key=lambda item: item.state == CRITICAL)
    names = (readings(device.name)[0] or device.usb_id or device.place for device in listing.devices[:5])
    shown = ", ".join(runtime.clean(name, LONGEST_NAME) for name in names)
    if wanted.usb_id and any(not device.usb_id for device in listing.devices):
        if not any(device.name for device in listing.devices):
            return Finding(UNKNOWN, f"{wanted}: what is attached cannot be told, this machine's USB bus does not show all of it")
        return Finding(UNKNOWN, f"{wanted}: this list does not tell VID:PID, give the name instead (listed: {shown})")
    if wanted.name and listing.devices and not any(device.name for device in listing.devices):
        return Finding(UNKNOWN, f"{wanted}: this list does not tell names, give VID:PID or the place instead (listed: {shown})")
    state, phrase = listing.absent
    lost = f"; not connected to {runtime.clean(', '.join(listing.lost), 120)}" if listing.lost else ""
    named = f": {shown}" if wanted.name and shown else ""
    return Finding(state, f"{wanted} {phrase} (devices listed: {len(listing.devices)}{named}{lost}){listing.what_to_do()}")


def machines(user: str) -> set[str]:
    """How a list names the machine that uses a device: all it says, each word, an address without its port. In
    `USER at MACHINE` only what stands behind names a machine."""
    words: list[str] = []
    for word in re.split(r"[\s,]+", user.rpartition(" at ")[2]):
        match = re.fullmatch(r"\(?([^()]+)\)?|([^()]+)\(([^()]+)\)", word)  # any other bracket is a part of a name
        words += filter(None, match.groups()) if match else [word]
    with_port = (re.fullmatch(r"\[(.+)\](?::[0-9]{1,5})?|([^:]+):[0-9]{1,5}", word) for word in words)
    return {plain(text) for text in (user, *words, *(match[1] or match[2] for match in with_port if match))} - {""}


def judge_state(name: str, device: Device, side: str, clients: Sequence[str]) -> Finding:
    """One device of a list. `clients` are the machines of which one must use it; () = it may be free, or in use by any
    machine in a server's list and by this one in a client's."""
    user = runtime.clean(device.user, 80)
    wanted = runtime.clean(", ".join(clients), 80)
    here = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    if device.state in (USED, USED_SOMEWHERE):
        names = machines(device.user)
        if (side == "server" and not clients) or any(plain(client) in names for client in clients or (here,)):
            return Finding(OK, f"{name} is in use by {user or 'a client'}")
        if device.state == USED_SOMEWHERE and not clients:
            what = f"{name} is connected to {user}, and the list does not tell whether that is this machine"
            return Finding(UNKNOWN, f"{what}: if it is, give --client {user}")
        return Finding(CRITICAL, f"{name} is in use by another machine ({user or 'not named'}): release it there")
    if clients and device.state == OFFERED:
        return Finding(CRITICAL, f"{name} is offered, but not used by {wanted}: attach it there")
    if clients and device.state == ATTACHED and plain(here) not in map(plain, clients):
        what = f"{name} is attached here, and whether this machine is {wanted} cannot be told"
        return Finding(UNKNOWN, f"{what}: leave --client out")
    sentences = {
        ATTACHED: Finding(OK, f"{name} is attached here"),
        OFFERED: Finding(OK, f"{name} is offered by the forwarder"),
        UNSHARED: Finding(CRITICAL, f"{name} is plugged in, but not shared: share it"),
        UNAVAILABLE: Finding(CRITICAL, f"{name} is not available: is it plugged in at the forwarder, and the license valid?"),
        DISCONNECTED: Finding(CRITICAL, f"{name} is disconnected from its server: check the server, then reconnect it"),
        UNREACHABLE: Finding(CRITICAL, f"{name} is {UNREACHABLE}: plug it into a port of another hub"),
    }
    what = f"{name} is in a state that this check does not know ({runtime.clean(device.state, 100)})"
    return sentences.get(device.state, Finding(UNKNOWN, f"{what}: see what the forwarder itself says of it"))


def good_devices(listing: Listing, clients: Sequence[str]) -> int:
    """How many devices are offered, attached, or in use by who may use them."""
    return sum(judge_state("", device, listing.side, clients).state == OK for device in listing.devices)


def judge_list(listing: Listing, clients: Sequence[str]) -> Finding:
    """The list where no device is named: a forwarder without anything to forward is broken, too."""
    good = good_devices(listing, clients)
    if good or listing.only_licenses:
        return Finding(OK, f"{good} of {len(listing.devices)} devices offered or attached" if good else "the forwarder answers")
    state, _ = listing.absent
    lost = f", not connected to {runtime.clean(', '.join(listing.lost), 120)}" if listing.lost else ""
    for device in listing.devices:
        name = runtime.clean(readings(device.name)[0] or device.usb_id or device.place, LONGEST_NAME) or "a device without a name"
        finding = judge_state(name, device, listing.side, clients)
        if finding.state == UNKNOWN:  # it may be the key, and well
            number = f"devices listed: {len(listing.devices)}{lost}"
            return Finding(UNKNOWN, f"no device is known to be offered or attached ({number}): {finding.sentence}")
    unless = f"; {NOT_LISTED_WHEN_USED}: name the key with --device" if state == UNKNOWN else ""
    sentence = f"no device is offered or attached (devices listed: {len(listing.devices)}{lost})"
    return Finding(state, f"{sentence}{unless}{listing.what_to_do()}")


# --- Processes and services -----------------------------------------------------------------------------------


def same_program(name: str, wanted: str, windows: bool) -> bool:
    """Whether a process's name is the wanted one. Windows knows no case, and its .exe may be left out."""
    if not windows:
        return name == wanted
    return name.lower().removesuffix(".exe") == wanted.lower().removesuffix(".exe")


DEAD = ("zombie", "dead")


def judge_process(name: str, found: Sequence[Process]) -> Finding:
    """The processes of one name. A dead one that nobody buried does not count."""
    alive = [process for process in found if process.status not in DEAD]
    stopped = [process.pid for process in alive if process.status in ("stopped", "tracing-stop")]
    shown = runtime.clean(name, 80)
    if stopped:
        remedy = f"run kill -CONT {stopped[0]}, or restart it"
        return Finding(CRITICAL, f"process {shown} is stopped (frozen, pid {stopped[0]}): {remedy}")
    if alive:
        return Finding(OK, f"process {shown} is running")
    return Finding(CRITICAL, f"process {shown} is not running: start it")


def judge_systemd(name: str, text: str) -> Finding:
    """`systemctl show` of one unit (its manual page: LoadState, ActiveState, SubState, Result, FreezerState)."""
    lines = {line for line in text.split("\n") if "=" in line}
    values = dict(line.split("=", 1) for line in lines)
    if len(values) < len(lines):
        shown = runtime.clean(", ".join(sorted(lines)), 160)
        return Finding(UNKNOWN, f"systemd contradicts itself about service {name}: {shown}")
    load, active, sub = (values.get(key, "") for key in ("LoadState", "ActiveState", "SubState"))
    shown = runtime.clean(", ".join(filter(None, (active, sub, values.get("Result", "").replace("success", "")))), 80)
    if not (load and active and sub):
        return Finding(UNKNOWN, f"systemd does not tell the state of service {name}: {runtime.clean(first_line(text), 120)}")
    sub_shown = runtime.clean(sub, 40)
    running = active in ("active", "reloading") and (sub == "running" or (active == "reloading" and sub.startswith("reload")))
    # The unit's file may be edited, masked or removed while its process runs on: then this is the state of the process.
    if load == "masked" and not running:
        return Finding(CRITICAL, f"service {name} is masked ({shown}): run systemctl unmask {name}, then start it")
    if load == "not-found" and not running:
        return Finding(UNKNOWN, f"there is no service {name} on this machine: check --service")
    if values.get("FreezerState", "running") != "running":
        return Finding(CRITICAL, f"service {name} is frozen: run systemctl thaw {name}")
    if running and load != "loaded":
        told = f"its LoadState is {runtime.clean(load, 40)}"
        return Finding(WARNING, f"service {name} is running, but {told} and it will not start again: run systemctl status {name}")
    if running:
        return Finding(OK, f"service {name} is running")
    if active in ("active", "reloading"):
        # "exited" is a one-shot service that has done its work; a socket is "listening", a timer "waiting".
        return Finding(UNKNOWN, f"service {name} is active without a process ({sub_shown}): name its --process")
    if load == "loaded" and active == "activating" and not sub.startswith("auto-restart"):
        return Finding(WARNING, f"service {name} is starting ({shown})")
    return Finding(CRITICAL, f"service {name} is not running ({shown}): start it and read its journal")


def judge_windows_service(name: str, status: str | None) -> Finding:
    """A Windows service by psutil's word for its status; None = there is no such service."""
    if status is None:
        return Finding(UNKNOWN, f"there is no service {name} on this machine: check --service")
    if status == "running":
        return Finding(OK, f"service {name} is running")
    state = WARNING if status in ("start_pending", "continue_pending") else CRITICAL
    return Finding(state, f"service {name} is not running ({runtime.clean(status, 40)}): start it")
