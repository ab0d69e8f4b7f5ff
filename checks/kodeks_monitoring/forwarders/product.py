"""What is publicly known of a forwarder, one module of products/ each; its license and list as findings.

A state that is not known is never good, and several devices with one name must agree. A device's name may
contain what looks like a line, so lines end at "\\n" alone, and a list is known by its end.
"""

from __future__ import annotations

import datetime
import importlib
import os
import re
from typing import Callable, Mapping, NamedTuple, Sequence, Union

from ..contract.language import N_, _, ngettext
from ..contract.run import Finding, Range, judge
from ..contract.verdict import CRITICAL, OK, UNKNOWN, clean  # for the products, too
from . import products

PERPETUAL = datetime.date.max  # the last day of a license that never ends
LONGEST_NAME = 500  # characters of a device's name, its place included

# The state of a device: how to judge it, and the words behind its name. {user} is who uses it.
OFFERED = Finding(OK, N_("is offered by the forwarder"))
ATTACHED = Finding(OK, N_("is attached here"))
SERVED = Finding(OK, N_("is in use by {user}"))  # in a server's list
USED = Finding(CRITICAL, N_("is in use by another machine ({user}): release it there"))
USED_SOMEWHERE = Finding(
    UNKNOWN, N_("is connected to {user}, and the list does not tell which machine that is"))
UNSHARED = Finding(CRITICAL, N_("is plugged in, but not shared: share it"))
UNAVAILABLE = Finding(
    CRITICAL, N_("is not available: is it plugged in at the forwarder, and the license valid?"))
DISCONNECTED = Finding(CRITICAL, N_("is disconnected from its server: check the server, then reconnect it"))
GHOST = Finding(CRITICAL, N_("is attached over a dead connection: run usbip detach, then attach it again"))
NOT_UNDERSTOOD = Finding(UNKNOWN, N_("is not understood"))  # the name is the whole text, about any device


def unknown_state(word: str) -> Finding:
    """The state of a device in a word that no capture shows."""
    return Finding(UNKNOWN, _(ODD_STATE, word))


ODD_STATE = N_("is in a state that this check does not know ({word}): ask the forwarder itself")
TWO_WAYS = Finding(UNKNOWN, N_("is in a line that can be read in two ways: ask the forwarder itself"))


class Device(NamedTuple):
    """One device: `usb_id` is "vid:pid" in lower case, "" where the list names none; `place` its address;
    `devid` the bus and device number at a USB/IP server, as in machine.usb.VhciPort; `server` is "HOST:PORT"
    of the machine that it comes from, "" where the list names none."""
    name: str
    usb_id: str
    state: Finding
    user: str = ""
    place: str = ""
    devid: int = 0
    server: str = ""


class Listing(NamedTuple):
    """A list that was read: its devices, what it means that one is absent, and what to do about that."""
    devices: tuple[Device, ...] = ()
    absent: Finding = Finding(CRITICAL, N_("is not offered by the forwarder"))
    remedy: str = N_("is the key plugged in at the forwarder, and shared?")


Lines = Sequence[str]
Reading = Union[Listing, Finding, None]


class Product(NamedTuple):
    """How a forwarder is watched.

    `sources` by side and os.name, the usual side first, is what is asked if nothing else is named: its list
    command, or "process:NAME", "service:NAME". `read` reads the lines of its list: a Listing, or a Finding if
    the tool says in known words why there is none, or None if this is no whole list; without `read` nobody
    has published one. `exit_codes` are those of a tool that answers by them alone: (part, Finding). A tool
    whose `exit_code_counts` is False ends with any code. `traces` are more names by which kodeks_setup finds
    it, "process:PATTERN", "service:NAME", "program:FILE", with the side that each one proves, "" = either."""
    title: str
    needs_license: bool = False
    port: int = 0
    sources: Mapping[tuple[str, str], str] = {}
    read: Callable[[Lines], Reading] | None = None
    exit_codes: Mapping[int, tuple[str, Finding]] = {}
    exit_code_counts: bool = True
    traces: Mapping[str, str] = {}


def product_names() -> list[str]:
    """The products that can be chosen: the modules in the folder, also inside a zip file."""
    (folder,) = products.__path__
    if not os.path.isdir(folder):
        import pkgutil  # it imports inspect, which takes as long as all the rest

        return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules([folder]))
    names = [name[:-3] for name in os.listdir(folder) if name.endswith(".py") and name != "__init__.py"]
    return sorted(name.replace("_", "-") for name in names)


def load_product(name: str) -> Product:
    """The product of this name; no other is imported."""
    product: Product = importlib.import_module(f"{products.__name__}.{name.replace('-', '_')}").PRODUCT
    return product._replace(title=_(product.title))


def first_line(lines: Lines) -> str:
    """The first line that says something: the evidence for an answer that nobody understands."""
    return next((line for line in lines if line.strip()), _("no output at all"))


def blocks(lines: Lines, head: str) -> list[list[str]]:
    """Lines in groups, each from a line that fits `head`; what stands before the first is a group, too."""
    groups: list[list[str]] = []
    for line in lines:
        if not groups or re.fullmatch(head, line):
            groups.append([])
        groups[-1].append(line)
    return groups


def fits(lines: Lines, *patterns: str) -> list[re.Match[str]]:
    """The matches of lines that fit these patterns, one each; [] if they do not."""
    found = [match for match in map(re.fullmatch, patterns, lines) if match]
    return found if len(found) == len(lines) == len(patterns) else []


def odd_device(*lines: str) -> Device:
    """Lines of a list that are not understood, as a device: they may be about any."""
    return Device(" ".join(" ".join(lines).split()), "", NOT_UNDERSTOOD)


def split_user(line: str) -> tuple[str, Finding, str]:
    """A line without its user, the state of its device, and the user if that is not this machine.

    Captures of VirtualHere, DistKontrolUSB, Digi: `(In-use by you)`, `(In-use by: (LOGIN) at ADDRESS)`,
    `(In-use by:NAME (LOGIN) at ADDRESS (HOST))`, `(In-use by:HOST at ADDRESS)`. A name may look like that."""
    match = re.fullmatch(r"(.*?) \(In-use by([^()]*(?:\([^()]*\)[^()]*)*)\)", line)
    if line.count("(In-use by") > bool(match):
        return match[1] if match else line, TWO_WAYS, ""
    if not match:
        return line, OFFERED, ""
    return (match[1], ATTACHED, "") if match[2] == " you" else (match[1], USED, match[2].lstrip(": "))


def judge_license(title: str, ends: datetime.date | None, today: datetime.date, *ranges: Range) -> Finding:
    """The license by its last valid day; None = nobody gave it."""
    if ends is None:
        what = _("license term of {title} unknown: give --license-expires DATE or perpetual", title)
        return Finding(UNKNOWN, what)
    if ends == PERPETUAL:
        return Finding(OK, _("license of {title} is perpetual", title))
    if today.year < 2020:
        what = _("license of {title} cannot be judged: the clock here says {date}, set it", title, today)
        return Finding(UNKNOWN, what)
    left = (ends - today).days
    if left < 0:
        expired = ngettext(
            "license of {title} expired {n} day ago ({date})",
            "license of {title} expired {n} days ago ({date})", -left, title, ends)  # fmt: skip
        return Finding(CRITICAL, _("{license}: renew it, then reconnect the key", expired))
    sentence = ngettext("license of {title} ends in {n} day ({date})",
                        "license of {title} ends in {n} days ({date})", left, title, ends)  # fmt: skip
    if not left:
        sentence = _("license of {title} ends today ({date})", title, ends)
    state = judge(left, *ranges)
    return Finding(state, _("{license}: renew it now", sentence) if state else sentence)


def readings(name: str) -> list[str]:
    """What a name can mean: itself, or if its bytes are not UTF-8, these in Russian code pages of Windows."""
    if not re.search("[\udc80-\udcff]", name):
        return [name]
    raw = re.sub("[\ud800-\udc7f\udd00-\udfff]", "?", name).encode("utf-8", "surrogateescape")
    return [raw.decode(encoding, "replace") for encoding in ("cp1251", "cp866")]


def plain(text: str) -> str:
    """A name as this check shows it, without what people write differently: case, runs of blanks."""
    return " ".join(clean(text, LONGEST_NAME).split()).casefold()


def name_of(device: Device) -> str:
    """All that a list tells of which device it is."""
    place = device.place and _("at {place}", device.place)
    words = filter(None, (device.usb_id, readings(device.name)[0], place))
    return clean(" ".join(words), LONGEST_NAME) or _("a device without a name")


def judge_state(device: Device, name: str = "") -> Finding:
    """One device of a list, under this name, or under its own."""
    state = _(device.state.sentence).replace("{user}", clean(device.user, 80) or _("somebody"))
    return Finding(device.state.state, _("{device} {state}", name or name_of(device), clean(state)))


def judge_device(wanted: str, listing: Listing) -> Finding:
    """A device that the operator named: by VID:PID, or by its whole name or place."""
    key, devices, word = _("key {key}", clean(wanted, 80)), listing.devices, plain(wanted)
    odd = [device for device in devices if device.state == NOT_UNDERSTOOD]
    called = [map(plain, (device.usb_id, *readings(device.name), device.place)) for device in devices]
    findings = [judge_state(device, key) for device, words in zip(devices, called) if word in words]
    good = [finding for finding in findings if finding.state == OK]
    names = "".join(f"; {name_of(device)}" for device in devices[:5])
    listed = _("(devices listed: {number})", f"{len(devices)}{names}")
    if findings and not good:
        return max(findings, key=lambda finding: finding.state == CRITICAL)
    if len(good) < len(findings):
        what = _("{key}: not all devices that match are good, name one by its place {listed}", key, listed)
        return Finding(UNKNOWN, what)
    if good:  # an odd line may be about the device, too
        odd = [device for device in odd if all(part in plain(device.name) for part in word.split(":"))]
    if odd:
        what = _("{key} may be what this check does not understand: {device}", key, name_of(odd[0]))
        return Finding(UNKNOWN, what)
    if good:
        return good[0]
    by_id = re.fullmatch("[0-9a-f]{4}:[0-9a-f]{4}", word)
    if not all(device.usb_id if by_id else device.name for device in devices):
        what = "VID:PID" if by_id else _("the name")
        what = _("{key}: this list does not tell {what} of every device, give --device otherwise {listed}",
                 key, what, listed)  # fmt: skip
        return Finding(UNKNOWN, what)
    absent = _("{device} {state}", key, _(listing.absent.sentence))
    return Finding(listing.absent.state, f"{absent} {listed}: {_(listing.remedy)}")


def judge_list(listing: Listing) -> Finding:
    """The list where no device is named: a forwarder without anything to forward is broken, too."""
    good, all_devices = good_devices(listing), len(listing.devices)
    if good:
        return Finding(OK, ngettext(
            "{good} of {n} device offered or attached", "{good} of {n} devices offered or attached",
            all_devices, good))  # fmt: skip
    unknown = any(device.state.state == UNKNOWN for device in listing.devices)  # one may be the key, and well
    listed = _("(devices listed: {number})", all_devices)
    what = _("no device is known to be offered or attached {listed}: {remedy}", listed, _(listing.remedy))
    return Finding(UNKNOWN if unknown else listing.absent.state, what)


def good_devices(listing: Listing) -> int:
    """How many devices are offered, attached, or in use by who may use them."""
    return sum(device.state.state == OK for device in listing.devices)
