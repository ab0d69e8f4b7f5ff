"""What a forwarder's list says, and the reading of lines.

Lines end at "\\n" alone: str.splitlines() also splits at characters that a device's name may contain, and a
name could add lines of its own. For the same reason a line is told by its place, and a list by its end.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Sequence

from ..contract.run import Finding as Finding  # for the products, too
from ..contract.verdict import CRITICAL as CRITICAL
from ..contract.verdict import OK as OK
from ..contract.verdict import UNKNOWN as UNKNOWN

# The state of a device: how to judge it, and the words behind its name. judge.py looks at who uses it.
OFFERED = Finding(OK, "is offered by the forwarder")
ATTACHED = Finding(OK, "is attached here")
SERVED = Finding(OK, "is in use")  # in a server's list
USED = Finding(CRITICAL, "is in use by another machine")  # in a client's list; its own use is ATTACHED
USED_SOMEWHERE = Finding(UNKNOWN, "is in use, here or elsewhere")
UNSHARED = Finding(CRITICAL, "is plugged in, but not shared: share it")
UNAVAILABLE = Finding(CRITICAL, "is not available: is it plugged in at the forwarder, and the license valid?")
DISCONNECTED = Finding(CRITICAL, "is disconnected from its server: check the server, then reconnect it")
GHOST = Finding(CRITICAL, "is held by two connections, one of them dead: detach both, then attach it again")
NOT_UNDERSTOOD = Finding(UNKNOWN, "is not understood")  # the name is the whole text, about any device


def unknown_state(word: str) -> Finding:
    """The state of a device in a word that no capture shows."""
    what = f"is in a state that this check does not know ({word})"
    return Finding(UNKNOWN, f"{what}: see what the forwarder itself says of it")


TWO_WAYS = unknown_state("its line can be read in two ways")


class Device(NamedTuple):
    """One device: `usb_id` is "vid:pid" in lower case, "" where the list names none; `place` its address."""

    name: str
    usb_id: str
    state: Finding
    user: str = ""
    place: str = ""


class Listing(NamedTuple):
    """A list that was read. `lost` are servers that the client is not connected to; `absent` and `remedy` are
    what it means that a device is not in the list, and what to do about it."""

    devices: tuple[Device, ...] = ()
    lost: tuple[str, ...] = ()
    absent: Finding = Finding(CRITICAL, "is not offered by the forwarder")
    remedy: str = "is the key plugged in at the forwarder, and shared?"


class Odd(Exception):
    """Text that is no list of the product, with the evidence."""


CUT = Odd("its closing line is missing: it is cut")


def decode(output: bytes) -> str:
    """A tool's output. Bytes that are not UTF-8 survive as surrogates. PowerShell writes UTF-16."""
    utf16 = output[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = output.decode("utf-16", "replace") if utf16 else output.decode("utf-8", "surrogateescape")
    return text.lstrip("\ufeff").replace("\r\n", "\n")


def readings(name: str) -> tuple[str, ...]:
    """What a name can mean: itself, or if its bytes are not UTF-8, these in Russian code pages of Windows."""
    if not re.search("[\udc80-\udcff]", name):
        return (name,)
    raw = re.sub("[\ud800-\udc7f\udd00-\udfff]", "?", name).encode("utf-8", "surrogateescape")
    return tuple(raw.decode(encoding, "replace") for encoding in ("cp1251", "cp866"))


def first_line(lines: Sequence[str]) -> str:
    """The first line that says something: the evidence for an answer that nobody understands."""
    return next((line for line in lines if line.strip()), "no output at all")


def plain(text: str) -> str:
    """A name without what people write differently: case and runs of blanks."""
    return " ".join(text.split()).casefold()


def blocks(lines: Sequence[str], head: str) -> list[list[str]]:
    """Lines in groups, each from a line that fits `head`; what stands before the first is a group, too."""
    groups: list[list[str]] = []
    for line in lines:
        if not groups or re.fullmatch(head, line):
            groups.append([])
        groups[-1].append(line)
    return groups


def fits(lines: Sequence[str], *patterns: str) -> list[re.Match[str]]:
    """The matches of lines that fit these patterns, one each; [] if they do not."""
    found = [match for match in map(re.fullmatch, patterns, lines) if match]
    return found if len(found) == len(lines) == len(patterns) else []


def odd_device(*lines: str) -> Device:
    """Lines of a list that are not understood, as a device: they may be about any."""
    return Device(" ".join(" ".join(lines).split()), "", NOT_UNDERSTOOD)


def split_user(line: str) -> tuple[str, Finding, str]:
    """A line without its user, the state of its device, and the user if that is not this machine.

    Captures of VirtualHere, DistKontrolUSB, Digi: `(In-use by you)`, `(In-use by: (LOGIN) at ADDRESS)`,
    `(In-use by:NAME (LOGIN) at ADDRESS (HOST))`, `(In-use by:HOST at ADDRESS)`. A name may look like that.
    """
    match = re.fullmatch(r"(.*?) \(In-use by([^()]*(?:\([^()]*\)[^()]*)*)\)", line)
    if line.count("(In-use by") > bool(match):
        return match[1] if match else line, TWO_WAYS, ""
    if not match or match[2] == " you":
        return (match[1], ATTACHED, "") if match else (line, OFFERED, "")
    if plain(match[2]) == ":you":
        return match[1], unknown_state(f"in use by{match[2]}"), ""
    return match[1], USED, match[2].lstrip(": ")
