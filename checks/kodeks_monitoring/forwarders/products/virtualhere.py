"""VirtualHere: the client's `-t LIST`."""

from __future__ import annotations

import re
from typing import Sequence

from ..listing import CRITICAL, CUT, Device, Finding, Listing, Odd, first_line, odd_device, split_user
from ..product import Product

_FAILURES = {
    "An existing client is not running.": "is not running",
    "IPC client, server response open failed": "cannot be reached: does it run, and may this user ask it?",
    "No response from IPC server": "does not answer: is it frozen?",
}
_NO_DEVICE = r"\(Value in brackets = .*|\S.* \([^()\s]+:[0-9]+\)|[A-Z][A-Za-z -]{1,40} currently (?:on|off)"
_DEVICE = r"[\s*]*--> ?\*? ?(.*?) ?\*?\(([^()\s]+\.[0-9]+)\)"


def read(lines: Sequence[str]) -> Listing | Finding:
    """READMEs of virtualhere/docker and others; an older client lacks "Client" in the first and last line."""
    says = first_line(lines)
    if says in _FAILURES:
        return Finding(CRITICAL, f"the forwarder's client {_FAILURES[says]} (it says: {says})")
    body = [line for line in lines if line.strip("\x01 ")]
    while body and not re.fullmatch(r".* IPC, below are the available devices:", body[0]):
        body.pop(0)
    if not body or not re.fullmatch(r"\S.* (?:is|not) running as a service", body[-1]):
        raise CUT if body else Odd(says)
    return Listing(tuple(_read_device(line) for line in body[1:-1] if not re.fullmatch(_NO_DEVICE, line)))


def _read_device(line: str) -> Device:
    told, state, user = split_user(line)
    match = re.fullmatch(_DEVICE, told)
    return Device(match[1].strip(), "", state, user, match[2]) if match else odd_device(line)


# On Windows the client prints nothing to a redirected output (vendor's manual): no default there.
PRODUCT = Product(
    "VirtualHere", needs_license=True, port=7575, read=read, services=("virtualhere",),
    processes=("vhclientx86_64", "vhui64.exe", "vhusbdwin64.exe"),
    sources={("client", "posix"): "vhclientx86_64 -t LIST", ("client", "nt"): "process:vhui64.exe",
             ("server", "posix"): "service:virtualhere", ("server", "nt"): "process:vhusbdwin64.exe"},
)  # fmt: skip
