"""VirtualHere: the client's `-t LIST`."""

import re

from ...contract.language import _
from .. import product as states
from ..product import CRITICAL, Device, Finding, Lines, Listing, Product, Reading

_FAILURES = ("An existing client is not running.", "IPC client, server response open failed",
             "No response from IPC server")  # fmt: skip
_HUB = r"\S.* \(([^()\s]+:[0-9]+)\)"
_NO_DEVICE = r"\(Value in brackets = .*|[A-Z][A-Za-z -]{1,40} currently (?:on|off)"
_DEVICE = r"[\s*]*--> ?\*? ?(.*?) ?\*?\(([^()\s]+\.[0-9]+)\)"


def read(lines: Lines) -> Reading:
    """READMEs of virtualhere/docker and others; an older client lacks "Client" in the first and last line."""
    says = states.first_line(lines)
    if says in _FAILURES:
        what = _("the forwarder's client does not answer, is it running? It says: {line}", says)
        return Finding(CRITICAL, what)
    body = [line for line in lines if line.strip("\x01 ")]
    while body and not re.fullmatch(r".* IPC, below are the available devices:", body[0]):
        body.pop(0)
    if not body or not re.fullmatch(r"\S.* (?:is|not) running as a service", body[-1]):
        return None
    devices: list[Device] = []
    hub = ""
    for line in body[1:-1]:
        told, state, user = states.split_user(line)
        match = re.fullmatch(_DEVICE, told)
        if match:
            devices.append(Device(match[1].strip(), "", state, user, match[2], server=hub))
        elif found := re.fullmatch(_HUB, line):
            hub = found[1]
        elif not re.fullmatch(_NO_DEVICE, line):
            devices.append(states.odd_device(line))
    return Listing(tuple(devices))


# Its server is called vhusbd and the name of an architecture (vendor's downloads).
# On Windows the client prints nothing to a redirected output (vendor's manual): no default there.
PRODUCT = Product(
    "VirtualHere", needs_license=True, port=7575, read=read,
    sources={("client", "posix"): "vhclientx86_64 -t LIST", ("client", "nt"): "process:vhui64.exe",
             ("server", "posix"): "service:virtualhere", ("server", "nt"): "process:vhusbdwin64.exe"},
    traces={"process:vhclient[a-z0-9_]*": "client", "process:vhusbd[a-z0-9_]*": "server"},
)  # fmt: skip
