#!/usr/bin/env python3
"""Is the USB forwarder alive, does it offer the key, and how long is its license valid?

The middle link of the chain that keeps a Kodeks/Techexpert server licensed. Facts and where they come from:

* no forwarder tells the end of its license by command line, log, registry or API (manuals, public wrappers), so the
  operator gives the date; a term that nobody gave is unknown, never good;
* the list commands, their states and their messages are read as public captures show them (blog posts, vendors'
  manuals, tests of public wrappers); a line that no capture shows makes the list unrecognised, never good;
* USB/IP is asked over the wire (Linux kernel document usbip_protocol.rst) and in the kernel's vhci status. A device
  in use is not in the list of its server, so absence from that list alone proves nothing;
* a frozen forwarder leaves its key listed by the kernel (measured with vhci_hcd on Linux 6.1), so the server itself
  is asked; nothing here ever opens a device;
* an open port proves neither a license nor a key.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

try:
    import plugin_runtime as runtime
except ImportError:
    print("USB_REDIRECTOR UNKNOWN - plugin_runtime.py is missing beside this check: copy the whole checks folder")
    raise SystemExit(3) from None

runtime.begin("USB_REDIRECTOR", __name__)

if TYPE_CHECKING:
    import datetime
    import socket
    from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence, Union

import nagiosplugin

OK, WARNING, CRITICAL, UNKNOWN = runtime.OK, runtime.WARNING, runtime.CRITICAL, runtime.UNKNOWN

# --- Value objects --------------------------------------------------------------------------------------------

# States of a listed device. The first three are good ones; USED depends on who uses it.
ATTACHED = "attached here"
OFFERED = "offered"
USED = "in use"
UNSHARED = "plugged in, but not shared"
UNAVAILABLE = "not available"
DISCONNECTED = "disconnected"


class Device(NamedTuple):
    """One device in a forwarder's list.

    `usb_id` is "vid:pid" in lower case, "" where the list names none. `state` is one of the states above or, for a
    word that no capture shows, that word. `user` is who uses it ("192.0.2.10"), `place` its address in the list.
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
    unlimited). `absent` is how to judge a device that is not in the list, and what to say of it.
    """

    devices: tuple[Device, ...] = ()
    side: str = "client"
    lost: tuple[str, ...] = ()
    licenses: tuple[tuple[str, int | None], ...] = ()
    absent: tuple[int, str] = (CRITICAL, "is not offered by the forwarder")


class Report(NamedTuple):
    """The tool printed no list but told, in words that are documented, why."""

    state: int
    sentence: str


class Unrecognised(NamedTuple):
    """Not a list that any capture shows; `evidence` is the first line that does not fit, or what is missing."""

    evidence: str


class Finding(NamedTuple):
    """One judged part of the forwarder and the sentence for it."""

    state: int
    sentence: str


class Term(NamedTuple):
    """The term of a license as the operator knows it; `ends` is its last valid day, None = it never ends."""

    ends: datetime.date | None


class Process(NamedTuple):
    """One process as psutil sees it; `status` is psutil's word, for example "running" or "stopped"."""

    pid: int
    status: str


class LogMemory(NamedTuple):
    """What is remembered of a log between two runs: how far it was read, and the last line that matched.

    `mark` are the bytes before `offset`: a log that was rotated, cut or replaced does not have them there any more.
    `seen` is when the match was read, in seconds since the epoch; 0 = no match.
    """

    inode: int
    offset: int
    mark: bytes
    match: str = ""
    seen: float = 0.0


if TYPE_CHECKING:
    Reading = Union[Listing, Report, Unrecognised]

# --- The products ---------------------------------------------------------------------------------------------


class Source(NamedTuple):
    """Where a product can be watched on one side: its list command, else its process, else its service."""

    command: str = ""
    process: str = ""
    service: str = ""


class Product(NamedTuple):
    """What is publicly known of a forwarder. `reader` reads its list ("" = its form is not known); `sides` maps (side,
    os.name) to its source, the usual side first."""

    title: str
    needs_license: bool
    port: int | None
    reader: str
    sides: Mapping[tuple[str, str], Source]


PRODUCTS = {
    "usb-redirector": Product(
        "USB Redirector", True, 32032, "usb-redirector",
        {
            ("server", "posix"): Source("usbsrv -list", "usbsrvd"),
            ("server", "nt"): Source("usbrdrsh.exe -list-devices", "", "usbredirectorsrv"),
            ("client", "posix"): Source("usbclnt -list", "usbclntd"),
            ("client", "nt"): Source("usbrdrltsh.exe -list"),
        },
    ),
    "usb-network-gate": Product(
        "USB Network Gate", True, None, "usb-network-gate",
        {
            ("server", "posix"): Source("eveusbc ls shared"),
            ("client", "posix"): Source("eveusbc ls net"),
            ("client", "nt"): Source("UsbService64.exe show-remote-devices"),
        },
    ),
    "usb-over-network": Product(
        "USB over Network", True, 33000, "",
        {("server", "posix"): Source("", "ftusbnetd"), ("server", "nt"): Source("", "", "ftnlsv3")},
    ),
    "virtualhere": Product(
        "VirtualHere", True, 7575, "virtualhere",
        {
            ("client", "posix"): Source("vhclientx86_64 -t LIST"),
            ("client", "nt"): Source("vhui64.exe -t LIST"),
            ("server", "posix"): Source("", "", "virtualhere"),
            ("server", "nt"): Source("", "vhusbdwin64.exe"),
        },
    ),
    "distkontrol": Product(
        "DistKontrolUSB", False, 6565, "virtualhere",
        {("client", "posix"): Source("dkclientx86_64 -t LIST"), ("client", "nt"): Source("", "", "dkclient")},
    ),
    "usbip": Product("USB/IP", False, 3240, "usbip", {}),
    "usbipd-win": Product("usbipd-win", False, 3240, "usbipd-win", {("server", "nt"): Source("usbipd state")}),
    "digi-anywhereusb": Product(
        "Digi AnywhereUSB", False, 18574, "digi-anywhereusb",
        {("client", "posix"): Source("awusbmanager-headless list"), ("client", "nt"): Source("awusbmanager list")},
    ),
    "seh-utn": Product("SEH UTN", False, None, "", {}),
    "generic": Product("the forwarder", False, None, "", {}),
}  # fmt: skip
"""Names, ports, commands and services: vendors' manuals and public wrappers. Appliances and free software are sold
without a term, so they need none; a term that is given is judged for every product."""

UTN_CODES = {
    0: Finding(OK, "the dongle server answers for the key"),
    24: Finding(CRITICAL, "the key is not available at the dongle server"),
    25: Finding(UNKNOWN, "the key is in use, and the tool does not say by whom: --utn-code 25=ok if this is by design"),
    26: Finding(CRITICAL, "the key is not found at the dongle server: is it plugged in?"),
    40: Finding(CRITICAL, "the connection to the dongle server fails"),
    41: Finding(CRITICAL, "the connection to the dongle server fails"),
    42: Finding(CRITICAL, "the connection to the dongle server fails"),
    43: Finding(UNKNOWN, "the name of the dongle server cannot be resolved"),
    44: Finding(UNKNOWN, "this user may not ask the dongle server"),
}
"""Exit codes of `utnm` (vendor manual). An older manual has other numbers; --utn-code replaces single ones."""

# --- Pure parsers: text to values -----------------------------------------------------------------------------
#
# Lines are split at "\n" alone: str.splitlines() also splits at characters that a device's name may contain, and a
# name could then add lines of its own. For the same reason a line is told by its place, and a list by its end.


LONGEST_LINE = 4000


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


def read_list(reader: str, text: str) -> Reading:
    """The list of a product. Text that no capture explains is Unrecognised; nothing raises."""
    if not text.strip():
        return Unrecognised("no output at all")
    if text.lstrip()[0] not in "<{" and max(map(len, text.split("\n"))) > LONGEST_LINE:
        return Unrecognised(f"a line of more than {LONGEST_LINE} characters")
    return READERS[reader](text)


def read_usb_redirector(text: str) -> Reading:
    """`usbsrv -list`, `usbclnt -list` (captures of 2017 and 2023)."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if re.fullmatch(r"\*{5,} ERROR \*{5,}\s*", line):
            return _redirector_error(lines[index + 1 :])
        header = re.fullmatch(r"={5,} ([A-Z ]+) ={5,}\s*", line)
        if header:
            break
    else:
        return Unrecognised(first_line(text))
    end = next((at for at in range(index + 1, len(lines)) if re.fullmatch(r"={5,} ={5,} ={5,}\s*", lines[at])), None)
    if end is None:
        return Unrecognised("the closing line is missing: the list is cut")
    if "".join(lines[end + 1 :]).strip():
        return Unrecognised("text behind the end of the list")
    body = [line.rstrip() for line in lines[index + 1 : end] if line.strip(" |\t\r")]
    if header[1] == "USB SERVER OPERATION SUCCESSFUL":
        return _redirector_server(body)
    if header[1] in ("USB CLIENT OPERATION SUCCESSFUL", "LIST OF REMOTE USB DEVICES"):
        return _redirector_client(body)
    return Unrecognised(header[0])


def _redirector_error(lines: Sequence[str]) -> Report:
    message = next((line.strip() for line in lines if line.strip()), "no message")
    if message.startswith("Cannot connect to USB Redirector daemon"):
        return Report(CRITICAL, "forwarder's daemon is not running: start usbsrvd (on a client usbclntd)")
    return Report(UNKNOWN, f"the tool reports an error: {runtime.clean(message, 120)}")


_IDS = r"[\s|]*Vid: ([0-9A-Fa-f]{4})   Pid: ([0-9A-Fa-f]{4})(?:   (?:Port|Serial): (.*))?"
_SERVER_STATES = {"plugged": UNSHARED, "plugged, shared": OFFERED, "not plugged, shared": UNAVAILABLE}
_CLIENT_STATES = {
    "connected": ATTACHED,
    "available for connection": OFFERED,
    "not available": UNAVAILABLE,
    "disconnected": DISCONNECTED,
}


def _redirector_server(body: Sequence[str]) -> Reading:
    if not body or body[0] != "List of local USB devices:":
        return Unrecognised(body[0] if body else "the line 'List of local USB devices:' is missing")
    devices: dict[str, Device] = {}
    for at in range(1, len(body), 3):
        head = re.fullmatch(r" {1,4}([0-9]+): (.*)", body[at])
        ids = re.fullmatch(_IDS, body[at + 1]) if at + 1 < len(body) else None
        status = re.fullmatch(r" +Status: (.+)", body[at + 2]) if at + 2 < len(body) else None
        if not head or not ids or not status or head[1] in devices:
            return Unrecognised(body[at])
        devices[head[1]] = _redirector_device(head[2], ids, _SERVER_STATES, status[1])
    return Listing(tuple(devices.values()), "server")


def _redirector_client(body: Sequence[str]) -> Reading:
    devices: dict[str, Device] = {}
    servers: dict[str, str] = {}
    lost: list[str] = []
    at = 1 if body and body[0] == "List of USB servers and devices:" else 0
    while at < len(body):
        mode = r"[\s|]*Mode: \S+   Status: (.+)"
        head = re.fullmatch(r" {1,4}([0-9]+): USB server at (\S+)", body[at])
        status = re.fullmatch(mode, body[at + 1]) if at + 1 < len(body) else None
        if head and status and head[1] not in servers and head[1] not in devices:
            servers[head[1]] = status[1]
            lost += [head[2]] if status[1] != "connected" else []
            at += 2
            continue
        head = re.fullmatch(r" +[|`]- +([0-9]+): (.*)", body[at])
        ids = re.fullmatch(_IDS, body[at + 1]) if at + 1 < len(body) else None
        status = re.fullmatch(mode, body[at + 2]) if at + 2 < len(body) else None
        if not head or not ids or not status or not servers or head[1] in servers or head[1] in devices:
            return Unrecognised(body[at])
        word = status[1] if list(servers.values())[-1] == "connected" else "disconnected"
        devices[head[1]] = _redirector_device(head[2], ids, _CLIENT_STATES, word)
        at += 3
    return Listing(tuple(devices.values()), "client", tuple(lost))


def _redirector_device(name: str, ids: re.Match[str], states: Mapping[str, str], status: str) -> Device:
    user = re.fullmatch(r"in use by (.+)", status)
    state = USED if user else states.get(status, status)
    return Device(name.strip(), f"{ids[1]}:{ids[2]}".lower(), state, user[1].strip() if user else "", (ids[3] or "").strip())


def read_usb_network_gate(text: str) -> Reading:
    """`UsbService64.exe show-remote-devices` and `eveusbc ls net`, `shared` or `local` (tests of a public plug-in).

    The exit codes of these tools are unreliable, a line with `Error:` is what tells (vendor manual).
    """
    devices = []
    for line in filter(str.strip, text.split("\n")):
        if line.strip() == "USB Network Gate" or re.match(r"plugged [^,]+, ", line):
            continue
        if re.match(r"\s*Error:", line):
            return Report(UNKNOWN, f"the tool reports an error: {runtime.clean(line, 120)}")
        device = _gate_windows(line) or _gate_fields(line) or _gate_local(line)
        if device is None:
            return Unrecognised(line)
        devices.append(device)
    if not devices:
        return Unrecognised("a title, but neither a device nor a message")
    side = "server" if any(re.match(r"shared |local ", line) for line in text.split("\n")) else "client"
    return Listing(tuple(devices), side)


def _gate_windows(line: str) -> Device | None:
    switch = r"(?:enabled|disabled)[^\t]*"
    match = re.fullmatch(
        rf"([^\t]*)\t-([^\t]+)\t-Crypt: {switch}\t-Auth: {switch}\t-Compressed: {switch}\t-(disconnected|connected to ([^\t]+))",
        line.rstrip(),
    )
    return Device(match[1].strip(), "", ATTACHED if match[4] else DISCONNECTED, "", match[2]) if match else None


def _gate_fields(line: str) -> Device | None:
    word, _, rest = line.partition(" ")
    fields = rest.rstrip().split(",")
    # Nothing quotes a comma within a name; then the number of the fields is wrong and the line is not understood.
    if len(fields) != 14 or word not in ("remote", "connected", "disconnected", "shared"):
        return None
    place = fields[4] if word == "shared" else f"{fields[0]}:{fields[2]}"
    user = fields[10] if word in ("remote", "shared") else ""
    state = {"connected": ATTACHED, "disconnected": DISCONNECTED}.get(word, USED if user else OFFERED)
    return Device(fields[6].strip(), "", state, user, place)


def _gate_local(line: str) -> Device | None:
    match = re.match(r"local ([^,]+), [^']*?\bvid 0x([0-9a-f]{4}), pid 0x([0-9a-f]{4}), [^']*product '(.*)', manuf\. ", line)
    state = "plugged in, and this list does not tell whether it is shared"
    return Device(match[4], f"{match[2]}:{match[3]}", state, "", match[1]) if match else None


_VIRTUALHERE_FAILURES = {
    "An existing client is not running.": "the forwarder's client is not running",
    "IPC client, server response open failed": "the forwarder's client cannot be reached: does it run, and may this user ask it?",
    "No response from IPC server": "the forwarder's client does not answer: is it frozen?",
}


def read_virtualhere(text: str) -> Reading:
    """`-t LIST`, `-t "GET CLIENT STATE"` and `-t "LIST LICENSES"` of VirtualHere and of its OEM editions."""
    stripped = text.strip().rstrip("\x01").strip()
    for words, meaning in _VIRTUALHERE_FAILURES.items():
        if stripped.split("\n")[0].strip() == words:
            return Report(CRITICAL, f"{meaning} (it says: {words})")
    if stripped.startswith("<"):
        return _virtualhere_state(stripped)
    lines = [line.rstrip() for line in stripped.split("\n")]
    if re.fullmatch(r"(?:\S+ \S+ ERROR ?: ?)?You need to purchase a license for your Server.*", lines[0]):
        return Report(CRITICAL, f"the server has no license (it says: {runtime.clean(lines[0], 120)})")
    if all(re.fullmatch(r".+,s/n=[^,]*,\s*([0-9]{1,6}|unlimited) devices?", line) for line in lines):
        return Listing(licenses=tuple(_virtualhere_license(line) for line in lines))
    return _virtualhere_list(lines)


def _virtualhere_license(line: str) -> tuple[str, int | None]:
    name, _, capacity = line.rpartition(",")
    number = capacity.split()[0]
    return name.rpartition(",s/n=")[0], None if number == "unlimited" else int(number)


def _virtualhere_list(lines: Sequence[str]) -> Reading:
    start = next((at for at, line in enumerate(lines) if line.endswith(" Client IPC, below are the available devices:")), None)
    if start is None:
        return Unrecognised(lines[0])
    if not re.fullmatch(r"\S.* Client (?:is|not) running as a service", lines[-1]):
        return Unrecognised("the closing line is missing: the list is cut")
    devices, hub = [], ""
    for line in filter(None, lines[start + 1 : -1]):
        if line.startswith("(Value in brackets = address") or re.fullmatch(r"[A-Z][A-Za-z -]{1,40} currently (?:on|off)", line):
            continue
        device = _virtualhere_device(line)
        if device and hub:
            devices.append(device)
        elif re.fullmatch(r"\S.* \([^()\s]+:[0-9]+\)", line):
            hub = line
        else:
            return Unrecognised(line)
    return Listing(tuple(devices))


def _virtualhere_device(line: str) -> Device | None:
    user = r"( \(In-use by you\)| \(In-use by: \(.*\) at (\S+)\))?"
    match = re.fullmatch(rf"[\s*]*--> ?\*? ?(.*?) ?\*?\(([^()\s]+\.[0-9]+)\){user}", line)
    if match is None:
        return None
    # The shortest name is tried first; a name that itself looks like an address and a user is not to be trusted.
    state = ATTACHED if match[3] == " (In-use by you)" else USED if match[4] else OFFERED
    if line.count("(In-use by") > 1 or (state == OFFERED and "(In-use by" in line):
        state = "told by a line that can be read in two ways"
    return Device(match[1].strip(), "", state, match[4] or "", match[2])


def _virtualhere_state(text: str) -> Reading:
    """States add up (the vendor's forum): a connection 1 connected + 2 logged in, a device 1 connected + 2 bound."""
    from xml.parsers import expat

    devices: list[Device] = []
    lost: list[str] = []
    licenses: list[tuple[str, int | None]] = []
    path: list[str] = []
    server: dict[str, str] = {}

    def start(name: str, attributes: dict[str, str]) -> None:
        path.append(name)
        if path[0] != "state" or len(path) > 16:
            raise ValueError("another document")
        if path == ["state", "server"]:
            server.clear()
        elif path == ["state", "server", "connection"]:
            server.update(attributes)
            if attributes["state"] != "3":
                lost.append(attributes.get("serverName", ""))
            if re.fullmatch(r"[0-9]{1,6}", attributes.get("license_max_devices", "")):
                licenses.append((attributes.get("serverName", ""), int(attributes["license_max_devices"])))
        elif path == ["state", "server", "device"]:
            devices.append(_virtualhere_bound(attributes, server))

    def no_doctype(*arguments: object) -> None:
        raise ValueError("a document type definition")

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: path.pop()
    parser.StartDoctypeDeclHandler = no_doctype
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except (expat.ExpatError, ValueError, KeyError, RecursionError) as error:
        return Unrecognised(f"XML that does not fit: {error}")
    return Listing(tuple(devices), "client", tuple(lost), tuple(licenses))


def _virtualhere_bound(attributes: Mapping[str, str], server: Mapping[str, str]) -> Device:
    """A device element. KeyError or ValueError = it lacks what decides."""
    vendor, product = (int(attributes[key]) for key in ("idVendor", "idProduct"))
    if not 0 <= vendor <= 0xFFFF or not 0 <= product <= 0xFFFF:
        raise ValueError("an id out of range")
    usb_id = f"{vendor:04x}:{product:04x}"
    name = attributes.get("nickname") or attributes["product"]
    place = f"{server.get('hostname', '')}.{attributes.get('address', '')}"
    names = (attributes.get("boundClientHostname"), attributes.get("boundConnectionIp"))
    state = {"0": UNAVAILABLE, "1": OFFERED, "3": USED}.get(attributes["state"], f"state {attributes['state']}")
    if server["state"] != "3":
        state = DISCONNECTED
    return Device(name, usb_id, state, " ".join(filter(None, names)) if state == USED else "", place)


def read_digi(text: str) -> Reading:
    """`awusbmanager list` and `awusbmanager-headless list`. Hub, group and device are told by their indent."""
    lines = [line.rstrip() for line in text.split("\n")]
    start = next((at for at, line in enumerate(lines) if line == "Below are the available devices:"), None)
    end = next((at for at, line in enumerate(lines) if line.startswith("* means Autoconnect enabled")), None)
    if start is None or not re.match(r" ?AnywhereUSB Manager version ", lines[0] or lines[min(1, len(lines) - 1)]):
        return Unrecognised(first_line(text))
    if end is None or end < start:
        return Unrecognised("the closing lines are missing: the list is cut")
    devices = []
    for line in filter(None, lines[start + 1 : end]):
        if re.fullmatch(r" \S.* \(\S+:[0-9]+\)|[ *+]   \S.* \(\S+\.[0-9]+\)(?: \(In-use by .+\))?", line):
            continue
        match = re.fullmatch(r"[ *+] {7}(.*) \(([^()\s]+\.[0-9]+)\)(?: \(In-use by (.+)\))?", line)
        if match is None:
            return Unrecognised(line)
        user = match[3] or ""
        state = ATTACHED if user == "you" else USED if user else OFFERED
        if "(In-use by" in match[1]:
            state = "told by a line that can be read in two ways"
        devices.append(Device(match[1], "", state, "" if user == "you" else user, match[2]))
    return Listing(tuple(devices))


def read_usbip(text: str) -> Reading:
    """`usbip port` (what this machine has attached) and `usbip list -r HOST` (what a server offers)."""
    lines = [line.rstrip() for line in text.split("\n") if line.strip() and not line.startswith("libusbip: error: ")]
    titles = [at for at, line in enumerate(lines) if line in ("Imported USB devices", "Exportable USB devices")]
    if len(titles) != 1 or lines[titles[0] + 1 : titles[0] + 2] != ["=" * len(lines[titles[0]])]:
        return Unrecognised(first_line(text))
    body = lines[titles[0] + 2 :]
    return _usbip_attached(body) if lines[titles[0]].startswith("Imported") else _usbip_offered(body)


def _usbip_attached(body: Sequence[str]) -> Reading:
    devices = []
    for at in range(0, len(body), 4):
        port = re.fullmatch(r"Port ([0-9]{2,4}): <(.+)> at .+", body[at])
        product = re.fullmatch(r" {7}(.*) \(([0-9a-f]{4}:[0-9a-f]{4})\)", body[at + 1]) if at + 1 < len(body) else None
        arrow = re.fullmatch(r" {1,10}\S+ -> .+", body[at + 2]) if at + 2 < len(body) else None
        if not port or not product or not arrow or not re.match(r" +-> remote bus/dev ", "".join(body[at + 3 : at + 4])):
            return Unrecognised(body[at])
        state = ATTACHED if port[2] == "Port in Use" else port[2]
        devices.append(Device(product[1].strip(), product[2], state, "", f"port {port[1]}"))
    return Listing(tuple(devices), absent=(CRITICAL, "is not attached here"))


NOT_LISTED_WHEN_USED = "a device in use by another machine is not in that list"


def _usbip_offered(body: Sequence[str]) -> Reading:
    devices = []
    for line in body:
        match = re.fullmatch(r" {4,}([0-9][0-9.-]*): (.*) \(([0-9a-f]{4}:[0-9a-f]{4})\)", line)
        if match:
            devices.append(Device(match[2], match[3], OFFERED, "", match[1]))
        elif not re.match(r" - \S+$| +: ", line):
            return Unrecognised(line)
    return Listing(tuple(devices), absent=(UNKNOWN, f"is not offered, and {NOT_LISTED_WHEN_USED}"))


def read_usbipd_win(text: str) -> Reading:
    """`usbipd state`: attached = ClientIPAddress, shared = PersistedGuid, plugged = BusId (its documentation)."""
    import json

    try:
        entries = json.loads(text)["Devices"]
        devices = tuple(map(_usbipd_device, entries if isinstance(entries, list) else [None]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return Unrecognised(f"JSON that does not fit ({type(error).__name__}): {first_line(text)}")
    return Listing(devices, "server")


def _usbipd_device(entry: Any) -> Device:
    bus, client, guid = entry["BusId"], entry["ClientIPAddress"], entry["PersistedGuid"]
    if not all(item is None or (isinstance(item, str) and item) for item in (bus, client, guid)):
        raise TypeError("neither null nor text")
    match = re.match(r"USB\\VID_([0-9A-Fa-f]{4})&PID_([0-9A-Fa-f]{4})(?:\\|$)", entry["InstanceId"])
    state = UNAVAILABLE if bus is None else USED if client else OFFERED if guid else UNSHARED
    if bus is None and client:
        state = "attached and unplugged at once"
    usb_id = f"{match[1]}:{match[2]}".lower() if match else ""
    return Device(str(entry["Description"]), usb_id, state, client or "", bus or "")


READERS: dict[str, Callable[[str], Reading]] = {
    "usb-redirector": read_usb_redirector,
    "usb-network-gate": read_usb_network_gate,
    "virtualhere": read_virtualhere,
    "digi-anywhereusb": read_digi,
    "usbip": read_usbip,
    "usbipd-win": read_usbipd_win,
}


def first_line(text: str) -> str:
    """The first line that says something: the evidence for an answer nobody understands."""
    return next((line for line in text.split("\n") if line.strip()), "no output at all")


# --- Pure parsers: USB/IP on the wire -------------------------------------------------------------------------

DEVLIST_REQUEST = bytes.fromhex("0111800500000000")
MAX_EXPORTED = 1024


def read_devlist(read: Callable[[int], bytes]) -> Reading:
    """The answer to OP_REQ_DEVLIST, taken from `read(exactly so many bytes)` (kernel document usbip_protocol.rst).

    Version 1.1.1, big endian: header (version, code, status), the number of devices, each 0x138 bytes and 4 bytes an
    interface. What `read` raises is the caller's.
    """
    header = read(8)
    if header[:4] != b"\x01\x11\x00\x05":
        return Unrecognised(f"it begins with the bytes {header.hex()}")
    if header[4:] != bytes(4):
        return Report(CRITICAL, f"the server refuses to list its devices (status {int.from_bytes(header[4:], 'big')})")
    number = int.from_bytes(read(4), "big")
    if number > MAX_EXPORTED:
        return Unrecognised(f"it announces {number} devices")
    devices = []
    for _ in range(number):
        record = read(0x138)
        busid = record[256:288].partition(b"\0")[0].decode("utf-8", "surrogateescape")
        devices.append(Device("", f"{record[300:302].hex()}:{record[302:304].hex()}", OFFERED, "", busid))
        read(4 * record[0x137])
    return Listing(tuple(devices))


# --- Pure parsers: a service ----------------------------------------------------------------------------------


def judge_systemd(name: str, text: str) -> Finding:
    """`systemctl show` of one unit (its manual page: LoadState, ActiveState, SubState, Result, FreezerState)."""
    values = dict(line.split("=", 1) for line in text.split("\n") if "=" in line)
    load, active, sub = values.get("LoadState", ""), values.get("ActiveState", ""), values.get("SubState", "")
    if not load or not active:
        return Finding(UNKNOWN, f"systemd does not tell the state of service {name}: {runtime.clean(first_line(text), 120)}")
    if load == "not-found":
        return Finding(UNKNOWN, f"there is no service {name} on this machine: check --service")
    if values.get("FreezerState", "running") not in ("running", "thawed"):
        return Finding(CRITICAL, f"service {name} is frozen: run systemctl thaw {name}")
    shown = runtime.clean(f"{active}, {sub}" if sub else active, 60)
    if active in ("active", "reloading") and load == "loaded":
        if sub == "exited":
            return Finding(UNKNOWN, f"service {name} is active without a process (exited): name its --process")
        return Finding(OK, f"service {name} is running")
    if active == "activating" and sub != "auto-restart" and load == "loaded":
        return Finding(WARNING, f"service {name} is starting ({shown})")
    result = values.get("Result", "success")
    reason = f", {runtime.clean(result, 40)}" if result != "success" else ""
    return Finding(CRITICAL, f"service {name} is not running ({shown}{reason}): start it and read its journal")


def judge_windows_service(name: str, status: str | None) -> Finding:
    """A Windows service by psutil's word for its status; None = there is no such service."""
    if status is None:
        return Finding(UNKNOWN, f"there is no service {name} on this machine: check --service")
    if status == "running":
        return Finding(OK, f"service {name} is running")
    state = WARNING if status in ("start_pending", "continue_pending") else CRITICAL
    return Finding(state, f"service {name} is not running ({runtime.clean(status, 40)}): start it")


# --- The judgement: facts to findings -------------------------------------------------------------------------


def days(number: int) -> str:
    """`1 day`, `20 days`."""
    return f"{number} day" if number == 1 else f"{number} days"


def judge_license(
    title: str,
    term: Term | None,
    licenses: Sequence[tuple[str, int | None]],
    today: datetime.date,
    warning: nagiosplugin.Range | None,
    critical: nagiosplugin.Range | None,
) -> Finding:
    """The license by the operator's date and by what the forwarder told of it. Its last day counts as valid."""
    without = [server for server, capacity in licenses if capacity == 0]
    if without:
        return Finding(CRITICAL, f"license of {title}: none on {runtime.clean(without[0], 60)}, buy or renew it")
    if term is None:
        # An unlicensed VirtualHere server serves one device, so only a larger number proves a license (vendor's site).
        if licenses and all(capacity is None or capacity > 1 for _, capacity in licenses):
            shown = ", ".join(f"{runtime.clean(server, 60)} {capacity or 'unlimited'}" for server, capacity in licenses[:3])
            return Finding(OK, f"license of {title} is there (devices it may serve: {shown})")
        return Finding(UNKNOWN, f"license term of {title} unknown: give --license-expires YYYY-MM-DD or perpetual")
    if term.ends is None:
        return Finding(OK, f"license of {title} is perpetual")
    if today.year < 2020:
        return Finding(UNKNOWN, f"this machine's clock says {today}: license of {title} until {term.ends} cannot be judged")
    left = (term.ends - today).days
    if left < 0:
        return Finding(CRITICAL, f"license of {title} expired {days(-left)} ago ({term.ends}): renew it, then reconnect the key")
    ends = f"license of {title} ends {'today' if left == 0 else 'in ' + days(left)} ({term.ends})"
    state = runtime.judge(left, warning, critical)
    return Finding(int(state), ends if state == nagiosplugin.Ok else f"{ends}: renew it now")


class Wanted(NamedTuple):
    """A device that must be there: by `usb_id`, else by the name or place that the list shows."""

    usb_id: str
    name: str

    def __str__(self) -> str:
        return f"key {self.usb_id or runtime.clean(self.name, 80)}"

    def matches(self, device: Device) -> bool:
        """Whole names only, case and blanks aside: one name may be part of another."""
        if self.usb_id:
            return device.usb_id == self.usb_id
        return plain(self.name) in {plain(text) for text in (*readings(device.name), device.place)}


def plain(text: str) -> str:
    """A name without what people write differently: case and runs of blanks."""
    return " ".join(text.split()).casefold()


def judge_device(wanted: Wanted, listing: Listing, clients: Sequence[str]) -> Finding:
    """A device that the operator named. Several that bear the name must agree, otherwise nothing is proven."""
    if listing.licenses and not listing.devices:
        return Finding(UNKNOWN, f"{wanted}: the list command lists licenses, not devices")
    found = [judge_state(str(wanted), device, listing.side, clients) for device in listing.devices if wanted.matches(device)]
    if found and all(item.state == OK for item in found):
        return found[0]
    if any(item.state == OK for item in found):
        shown = "; ".join(runtime.clean(device, 80) for device in listing.devices if wanted.matches(device))
        return Finding(UNKNOWN, f"{wanted}: {len(found)} devices match and not all are good, name one by its place ({shown})")
    if found:
        return max(found, key=lambda item: item.state == CRITICAL)
    if wanted.usb_id and any(not device.usb_id for device in listing.devices):
        names = ", ".join(runtime.clean(readings(device.name)[0] or device.place, 60) for device in listing.devices[:5])
        return Finding(UNKNOWN, f"{wanted}: this list does not tell VID:PID, give the name instead (listed: {names})")
    state, phrase = listing.absent
    lost = f"; not connected to {runtime.clean(', '.join(listing.lost), 120)}" if listing.lost else ""
    return Finding(state, f"{wanted} {phrase} (devices listed: {len(listing.devices)}{lost})")


def judge_state(name: str, device: Device, side: str, clients: Sequence[str]) -> Finding:
    """One device of a list. `clients` are the machines that may use it; () = any, which only a server's list allows."""
    user = runtime.clean(device.user, 80)
    if device.state == USED:
        names = {plain(part) for part in re.split(r"[\s():,]+", device.user) if part} | {plain(device.user)}
        if (side == "server" and not clients) or any(plain(client) in names for client in clients):
            return Finding(OK, f"{name} is in use by {user or 'a client'}")
        return Finding(CRITICAL, f"{name} is in use by another machine ({user or 'not named'}): release it there")
    sentences = {
        ATTACHED: Finding(OK, f"{name} is attached here"),
        OFFERED: Finding(OK, f"{name} is offered by the forwarder"),
        UNSHARED: Finding(CRITICAL, f"{name} is plugged in, but not shared: share it"),
        UNAVAILABLE: Finding(CRITICAL, f"{name} is not available: is it plugged in at the forwarder, and the license valid?"),
        DISCONNECTED: Finding(CRITICAL, f"{name} is disconnected from its server: check the server, then reconnect it"),
    }
    unknown = Finding(UNKNOWN, f"{name} is in a state that this check does not know: {runtime.clean(device.state, 100)}")
    return sentences.get(device.state, unknown)


def good_devices(listing: Listing, clients: Sequence[str]) -> int:
    """How many devices are offered, attached, or in use by who may use them."""
    return sum(judge_state("", device, listing.side, clients).state == OK for device in listing.devices)


def judge_list(listing: Listing, clients: Sequence[str]) -> Finding:
    """The list where no device is named: a forwarder without anything to forward is broken, too."""
    good = good_devices(listing, clients)
    if good or (listing.licenses and not listing.devices):
        return Finding(OK, f"{good} of {len(listing.devices)} devices offered or attached" if good else "the forwarder answers")
    state, _ = listing.absent
    lost = f", not connected to {runtime.clean(', '.join(listing.lost), 120)}" if listing.lost else ""
    unless = f"; {NOT_LISTED_WHEN_USED}: name the key with --device" if state == UNKNOWN else ""
    return Finding(state, f"no device is offered or attached (devices listed: {len(listing.devices)}{lost}){unless}")


def same_program(name: str, wanted: str, windows: bool) -> bool:
    """Whether a process's name is the wanted one. Windows knows no case, and its .exe may be left out."""
    if not windows:
        return name == wanted
    return name.lower().removesuffix(".exe") == wanted.lower().removesuffix(".exe")


DEAD = ("zombie", "dead")


def judge_process(name: str, found: Sequence[Process], blind: bool) -> Finding:
    """The processes of one name. A dead one that nobody buried does not count; `blind` = others' are hidden."""
    alive = [process for process in found if process.status not in DEAD]
    stopped = [process for process in alive if process.status in ("stopped", "tracing-stop")]
    shown = runtime.clean(name, 80)
    if stopped:
        pid = stopped[0].pid
        return Finding(CRITICAL, f"process {shown} is stopped (frozen, pid {pid}): run kill -CONT {pid}, or restart it")
    if alive:
        return Finding(OK, f"process {shown} is running")
    if blind:
        return Finding(UNKNOWN, f"process {shown}: this user may not see it (/proc is mounted with hidepid)")
    return Finding(CRITICAL, f"process {shown} is not running: start it")


# --- The log: pure part ---------------------------------------------------------------------------------------


def matching_line(data: bytes, pattern: re.Pattern[str]) -> str | None:
    """The last line that the pattern finds, in any reading of its bytes. None = no line."""
    # Windows programs may log in UTF-16; without its zero bytes the ASCII part of it is readable.
    for line in reversed(data.replace(b"\0", b"").split(b"\n")):
        for start in range(0, len(line), LOG_LINE):
            piece = line[start : start + LOG_LINE].rstrip(b"\r")
            for text in readings(piece.decode("utf-8", "surrogateescape")):
                if pattern.search(text):
                    return text
    return None


def dump_memory(memory: LogMemory) -> str:
    """The text of a state file."""
    import json

    return json.dumps([1, memory.inode, memory.offset, memory.mark.hex(), memory.match, memory.seen])


def load_memory(text: str) -> LogMemory | None:
    """What a state file holds; None = not what dump_memory writes."""
    import json

    try:
        version, inode, offset, mark, match, seen = json.loads(text)
        if version != 1 or not isinstance(match, str) or offset < 0:
            return None
        return LogMemory(int(inode), int(offset), bytes.fromhex(mark), match, float(seen))
    except (ValueError, TypeError, RecursionError, OverflowError):
        return None


# --- The collector: the only I/O ------------------------------------------------------------------------------

ANSWER_LIMIT = 5.0  # seconds for one answer of a tool, a server or a service manager
LIST_BYTES = 1 << 20
LOG_BYTES = 16 << 20  # of a log in one run
LOG_FIRST_LOOK = 1 << 20  # of a log never seen before
LOG_LINE = 1 << 16
LOG_MARK = 256


class LogRequest(NamedTuple):
    """The log to watch. A match stays an alarm for `hold` seconds, or the soft states of an engine would lose it."""

    path: str
    pattern: re.Pattern[str]
    hold: float
    state_dir: str


class Request(NamedTuple):
    """What the operator asks, defaults filled in. What is empty is not judged."""

    product: Product
    command: tuple[str, ...]
    list_file: str
    list_age: float | None
    usbip: bool
    host: str
    port: int
    processes: tuple[str, ...]
    services: tuple[str, ...]
    utn_codes: Mapping[int, Finding]
    log: LogRequest | None


class Facts(NamedTuple):
    """What one run found. `findings` were judged on the spot: a tool that fails, a server that is silent."""

    listing: Listing | None
    findings: tuple[Finding, ...]
    processes: tuple[tuple[str, tuple[Process, ...]], ...]
    blind: bool
    seconds: float | None


class Waiting:
    """The time that is left, divided among the waits still to come: one that hangs leaves the others their share."""

    def __init__(self, waits: int) -> None:
        self.waits = waits
        self.spent: float | None = None

    def share(self) -> float:
        """Seconds for the next wait."""
        share = runtime.remaining() / max(1, self.waits)
        self.waits -= 1
        return min(share, ANSWER_LIMIT)

    def answered(self, since: float) -> None:
        """An answer came that was awaited since then (time.monotonic())."""
        self.spent = (self.spent or 0.0) + time.monotonic() - since


class NoAnswer(Exception):
    """A server cannot be reached or does not say what it should; the text completes "H:P does not answer (...)"."""

    def __init__(self, reason: str, state: int = CRITICAL) -> None:
        super().__init__(reason)
        self.state = state


def collect(request: Request) -> Facts:
    """Look at everything that was asked for. What goes wrong with one part is a finding and stops no other."""
    probes_port = bool(request.host) and not request.usbip
    waiting = Waiting(bool(request.command) + probes_port + len(request.services))
    listing, findings = look_at_list(request, waiting)
    if probes_port:
        findings.append(ask_port(request.host, request.port, waiting))
    findings += [ask_service(name, waiting) for name in request.services]
    processes: tuple[tuple[str, tuple[Process, ...]], ...] = ()
    try:
        processes = look_for_processes(request.processes) if request.processes else ()
    except runtime.Problem as problem:  # psutil is missing
        findings.append(Finding(problem.state, str(problem)))
    findings += watch_log(request.log, time.time()) if request.log else []
    blind = sys.platform.startswith("linux") and not os.path.exists("/proc/1")
    return Facts(listing, tuple(findings), processes, blind, waiting.spent)


def look_at_list(request: Request, waiting: Waiting) -> tuple[Listing | None, list[Finding]]:
    """The forwarder's list from where the request says: USB/IP itself, a captured file, or the product's tool."""
    if request.usbip:
        return look_at_usbip(request, waiting)
    if not request.command and not request.list_file:
        return None, []
    answer = read_captured(request) if request.list_file else run_list_command(request, waiting)
    return (answer, []) if isinstance(answer, Listing) else (None, [answer])


def run_list_command(request: Request, waiting: Waiting) -> Listing | Finding:
    """The list that the product's tool prints."""
    shown = runtime.clean(" ".join(request.command), 80)
    runtime.doing(f"running {shown}")
    started = time.monotonic()
    output = runtime.run_command(request.command, waiting.share(), LIST_BYTES)
    if output.failure:
        hint = "; if its daemon is frozen, --process tells" if output.failure.startswith("did not end") else ""
        hint = "; install it here, or name it with --list-command" if output.failure == "does not exist" else hint
        return Finding(UNKNOWN, f"list command {shown} {output.failure}{hint}")
    waiting.answered(started)
    code = output.code if output.code is not None else -1
    if request.utn_codes:
        unknown = Finding(UNKNOWN, f"list command {shown} ended with exit code {code}, which is not known")
        return request.utn_codes.get(code, unknown)
    text = decode(output.stdout)
    reading = read_list(request.product.reader, text)
    if code != 0 and not isinstance(reading, Report) and request.product.reader != "usb-network-gate":
        how = f"exit code {code}" if code > 0 else f"signal {-code}"
        return Finding(UNKNOWN, f"list command {shown} ended with {how}: {runtime.clean(first_line(text), 120)}")
    return understood(reading, f"list command {shown}", request.product)


def read_captured(request: Request) -> Listing | Finding:
    """A list that somebody else wrote to a file or to standard input."""
    path = request.list_file
    try:
        if path == "-":
            runtime.doing("reading the list from standard input")
            with open(0, "rb", closefd=False) as stdin:
                output = stdin.read(LIST_BYTES + 1)
            if len(output) > LIST_BYTES:
                return Finding(UNKNOWN, f"the list on standard input is larger than {LIST_BYTES} bytes")
        else:
            output = runtime.read_private(path, "--list-output", LIST_BYTES, private=False).encode("utf-8", "surrogateescape")
            age = time.time() - os.stat(path).st_mtime
            if request.list_age is not None and age > request.list_age * 60:
                shown = runtime.clean(path, 120)
                return Finding(UNKNOWN, f"list {shown} is {age / 60:.0f} minutes old: does the job that writes it still run?")
    except runtime.Problem as problem:
        return Finding(problem.state, str(problem))
    except OSError as error:
        return Finding(UNKNOWN, f"the list cannot be read: {runtime.clean(error.strerror, 80)}")
    return understood(read_list(request.product.reader, decode(output)), "the captured list", request.product)


def understood(reading: Reading, where: str, product: Product) -> Listing | Finding:
    """A reading as the list it is, or as the finding that there is none."""
    if isinstance(reading, Report):
        return Finding(reading.state, reading.sentence)
    if isinstance(reading, Unrecognised):
        evidence = runtime.clean(readings(reading.evidence)[0], 120)
        return Finding(UNKNOWN, f"{where} is no list of {product.title} that this check knows: {evidence}")
    return reading


# USB/IP: the kernel's view of this machine, and the wire.


def look_at_usbip(request: Request, waiting: Waiting) -> tuple[Listing | None, list[Finding]]:
    """What is attached here, and what the server offers: the one that is named, else those of the attached devices.

    Without a name these servers are asked because a frozen one leaves its device listed here.
    """
    runtime.doing("reading the vhci status")
    ports = runtime.vhci_ports()
    attached = tuple(map(attached_device, ports or ()))
    servers = [(request.host, request.port)] if request.host else servers_of(ports or ())
    if not servers:
        if ports is None:
            return None, [no_usbip_client()]
        return Listing(attached, absent=(CRITICAL, "is not attached here")), []
    waiting.waits += len(servers)
    offered: list[Device] = []
    findings: list[Finding] = []
    for host, port in servers:
        answer = ask_devlist(host, port, waiting)
        if isinstance(answer, Listing):
            offered += answer.devices
        else:
            findings.append(answer)
    if findings and attached:
        ids = ", ".join(device.usb_id or device.place for device in attached[:3])
        more = f"; {ids} is still listed here, as a frozen forwarder leaves it"
        findings[0] = findings[0]._replace(sentence=findings[0].sentence + more)
    if ports is None:
        absent = (UNKNOWN, f"is not offered, and {NOT_LISTED_WHEN_USED}: run this check where the key is attached")
        return (None if findings else Listing(tuple(offered), absent=absent)), findings
    absent = (CRITICAL, "is neither offered by the forwarder nor attached here" if not findings else "is not attached here")
    return Listing((*attached, *offered), absent=absent), findings


def attached_device(port: runtime.VhciPort) -> Device:
    """The device on a used port, by its world-readable attributes: reading these waits for nothing."""
    folder = f"{runtime.USB_DEVICES}/{port.busid}"
    vendor, product = (runtime.read_attribute(f"{folder}/{name}") for name in ("idVendor", "idProduct"))
    usb_id = f"{vendor}:{product}".lower() if vendor and product else ""
    return Device("", usb_id, ATTACHED, "", f"{port.busid}, vhci_hcd port {port.number}")


def servers_of(ports: Iterable[runtime.VhciPort]) -> list[tuple[str, int]]:
    """The servers that `usbip attach` noted for the used ports, each once."""
    found: dict[tuple[str, int], None] = {}
    for port in ports:
        host, _, number = port.server.rpartition(":")
        if host and re.fullmatch(r"[0-9]{1,5}", number) and 0 < int(number) < 65536:
            found[host, int(number)] = None
    return list(found)


def no_usbip_client() -> Finding:
    """Why there is no vhci status here."""
    if os.path.exists(runtime.VHCI):
        return Finding(UNKNOWN, f"the status of {runtime.VHCI} cannot be read")
    if not sys.platform.startswith("linux"):
        return Finding(UNKNOWN, "what USB/IP has attached can only be read on Linux: give the server with -H")
    return Finding(CRITICAL, "nothing is attached here: vhci_hcd is not loaded, run modprobe vhci_hcd, then usbip attach")


def ask_devlist(host: str, port: int, waiting: Waiting) -> Listing | Finding:
    """The devices that a USB/IP server offers."""
    place = at(host, port)
    runtime.doing(f"asking {place} for its USB/IP devices")
    started = time.monotonic()
    deadline = started + waiting.share()
    try:
        with connect(host, port, deadline) as connection:
            connection.sendall(DEVLIST_REQUEST)
            reading = read_devlist(lambda size: receive(connection, size, deadline))
    except NoAnswer as error:
        return Finding(error.state, f"forwarder does not answer at {place} ({error})")
    except OSError as error:
        return Finding(CRITICAL, f"forwarder does not answer at {place} ({why(error)})")
    waiting.answered(started)
    if isinstance(reading, Report):
        return Finding(reading.state, f"forwarder at {place}: {reading.sentence}")
    if isinstance(reading, Unrecognised):
        return Finding(UNKNOWN, f"{place} is no USB/IP server of version 1.1.1: {reading.evidence}")
    return reading


def ask_port(host: str, port: int, waiting: Waiting) -> Finding:
    """Whether a TCP port takes connections, which is all that can be asked of a forwarder without a public protocol."""
    place = at(host, port)
    runtime.doing(f"connecting to {place}")
    started = time.monotonic()
    try:
        connect(host, port, started + waiting.share()).close()
    except NoAnswer as error:
        return Finding(error.state, f"forwarder does not answer at {place} ({error})")
    waiting.answered(started)
    return Finding(OK, f"port open at {place} (which proves neither license nor key)")


def connect(host: str, port: int, deadline: float) -> socket.socket:
    """A TCP connection before the deadline (time.monotonic()), by the first address that takes it."""
    import socket

    reason = "no address"
    for family, kind, protocol, _, address in resolve(host, port, deadline):
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            connection.connect(address)
            return connection
        except OSError as error:
            connection.close()
            reason = why(error)
    raise NoAnswer(reason)


def resolve(host: str, port: int, deadline: float) -> Sequence[Any]:
    """The addresses of a host. The system's resolver knows no limit of ours, so it is left behind in a thread."""
    import _thread
    import socket

    answers: list[Any] = []
    done = _thread.allocate_lock()
    done.acquire()

    def look_up() -> None:
        try:
            answers.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.append(error)
        done.release()

    _thread.start_new_thread(look_up, ())
    if not done.acquire(True, max(0.01, deadline - time.monotonic())):
        raise NoAnswer("its name is not resolved in time", UNKNOWN)
    if isinstance(answers[0], Exception):
        raise NoAnswer(f"its name cannot be resolved: {why(answers[0])}", UNKNOWN)
    return list(answers[0])


def receive(connection: socket.socket, size: int, deadline: float) -> bytes:
    """Exactly `size` bytes before the deadline, whatever the pace they come at."""
    import socket

    data = b""
    while len(data) < size:
        left = deadline - time.monotonic()
        if left <= 0:
            raise NoAnswer("its answer does not end in time")
        connection.settimeout(left)
        try:
            piece = connection.recv(size - len(data))
        except socket.timeout:
            silent = "it takes the connection and says nothing: frozen?"
            raise NoAnswer("its answer does not end in time" if data else silent) from None
        if not piece:
            raise NoAnswer("it closes the connection without a whole answer")
        data += piece
    return data


def at(host: str, port: int) -> str:
    """HOST:PORT for people; an IPv6 address in brackets."""
    shown = runtime.clean(host, 100)
    return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"


def why(error: BaseException) -> str:
    """The reason of a failed connection in the system's words."""
    if isinstance(error, OSError) and not error.strerror:
        return "no answer in time"
    return runtime.clean(getattr(error, "strerror", None) or error, 80)


# Services and processes.


def ask_service(name: str, waiting: Waiting) -> Finding:
    """The service manager's word on one service."""
    runtime.doing(f"asking for the service {name}")
    if os.name == "nt":
        finding = ask_windows(name)
    else:
        properties = "LoadState,ActiveState,SubState,Result,FreezerState"
        output = runtime.run_command(["systemctl", "show", "-p", properties, "--", name], waiting.share(), 1 << 16)
        if output.failure or output.code:
            reason = output.failure or runtime.clean(first_line(decode(output.stdout)), 100)
            return Finding(UNKNOWN, f"service {name}: systemctl {reason}; without systemd name its --process")
        finding = judge_systemd(name, decode(output.stdout))
    if finding.state == OK and name.casefold() == "ftnlsv3":
        return Finding(OK, f"{finding.sentence} (it only supervises: that alone does not prove that the forwarder works)")
    return finding


def ask_windows(name: str) -> Finding:
    """psutil's word on a Windows service."""
    try:
        psutil = runtime.import_library("psutil")
        status: str | None = psutil.win_service_get(name).status()
    except runtime.Problem as problem:
        return Finding(problem.state, str(problem))
    except psutil.NoSuchProcess:
        status = None
    except (psutil.Error, OSError) as error:
        return Finding(UNKNOWN, f"service {name} cannot be asked: {runtime.clean(error, 100)}")
    return judge_windows_service(name, status)


def look_for_processes(names: Iterable[str]) -> tuple[tuple[str, tuple[Process, ...]], ...]:
    """The processes of each name. psutil completes a name that the kernel cut at 15 characters; a process that gave
    itself another name is told by its program."""
    psutil = runtime.import_library("psutil")
    runtime.doing("listing the processes")
    found: dict[str, list[Process]] = {name: [] for name in names}
    windows = os.name == "nt"
    for process in psutil.process_iter(["name", "exe", "status"]):
        known = {process.info["name"] or "", os.path.basename(process.info["exe"] or "")}
        for name, processes in found.items():
            if any(same_program(candidate, name, windows) for candidate in known):
                processes.append(Process(process.pid, process.info["status"] or ""))
    return tuple((name, tuple(processes)) for name, processes in found.items())


# The log.


def watch_log(request: LogRequest, now: float) -> list[Finding]:
    """New lines since the last run. What cannot be read or remembered is a finding: a silent log must not look good."""
    shown = runtime.clean(request.path, 120)
    runtime.doing(f"reading the log {shown}")
    findings = []
    try:
        state_file = os.path.join(state_folder(request.state_dir), state_name(request))
        old = read_memory(state_file)
        data, inode, offset, mark, gap = unread(request, old, now)
    except runtime.Problem as problem:
        return [Finding(problem.state, str(problem))]
    except OSError as error:
        return [Finding(UNKNOWN, f"log {shown} cannot be read: {runtime.clean(error.strerror or error, 80)}")]
    runtime.doing(f"searching the log {shown}")
    line = matching_line(data, request.pattern)
    match, seen = (line, now) if line is not None else (old.match, min(old.seen, now)) if old else ("", 0.0)
    try:
        write_memory(state_file, LogMemory(inode, offset, mark, match[:1000], seen))
    except OSError as error:
        reason = runtime.clean(error.strerror or error, 80)
        findings.append(Finding(UNKNOWN, f"how far log {shown} was read cannot be remembered in {state_file}: {reason}"))
    if line is not None or (match and now - seen < request.hold):
        when = "" if line is not None else f" {(now - seen) / 60:.0f} minutes ago"
        findings.append(Finding(CRITICAL, f"log {shown} has a matching line{when}: {runtime.clean(match, 200)}"))
    elif gap:
        findings.append(Finding(UNKNOWN, f"log {shown}: {gap}"))
    return findings or [Finding(OK, f"no new matching line in log {shown}")]


def unread(request: LogRequest, old: LogMemory | None, now: float) -> tuple[bytes, int, int, bytes, str]:
    """What no run has read yet: (its bytes, the log's inode, where to go on, the mark before that, what was missed)."""
    with open_regular(request.path) as log:
        status = os.fstat(log.fileno())
        size, start, rest = status.st_size, 0, b""
        if old is None:
            # Lines that were written longer ago than a match is held would not be an alarm any more.
            start = size if now - status.st_mtime > request.hold else max(0, size - LOG_FIRST_LOOK)
        elif continues(log, status, old):
            start = old.offset
        else:
            rest = rest_of_rotated(request.path, old)
        gap = f"it grew by more than {LOG_BYTES} bytes since the last run, and the first of them were not read"
        gap = gap if size - start > LOG_BYTES else ""
        start = max(start, size - LOG_BYTES)
        log.seek(start)
        data = log.read(size - start)
        # The last line may still be growing: it is read again, unless it has no end at all.
        end = data.rfind(b"\n") + 1 or (len(data) if len(data) > LOG_LINE else 0)
        log.seek(max(0, start + end - LOG_MARK))
        mark = log.read(min(LOG_MARK, start + end))
    return rest + b"\n" + data, status.st_ino, start + end, mark, gap


def continues(log: Any, status: os.stat_result, old: LogMemory) -> bool:
    """Whether an open file is the log that was read up to old.offset."""
    if status.st_size < old.offset:
        return False
    if not old.mark:
        return status.st_ino == old.inode
    log.seek(max(0, old.offset - len(old.mark)))
    return bool(log.read(len(old.mark)) == old.mark)


def rest_of_rotated(path: str, old: LogMemory) -> bytes:
    """The unread end of the log under the name that the rotation gave it, b"" where it is gone or packed."""
    folder, base = os.path.split(os.path.abspath(path))
    for name in sorted(name for name in os.listdir(folder) if name.startswith(base) and name != base)[:50]:
        try:
            with open_regular(os.path.join(folder, name)) as log:
                if continues(log, os.fstat(log.fileno()), old):
                    log.seek(old.offset)
                    return bytes(log.read(LOG_BYTES))
        except (OSError, runtime.Problem):
            continue  # not ours to read, or no file: then it is not the log either
    return b""


def open_regular(path: str) -> Any:
    """A regular file for reading; a FIFO or a directory is a Problem, not a wait."""
    import stat

    file = open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise runtime.Problem(f"log {runtime.clean(path, 120)} is not a regular file")
    return file


def state_folder(wanted: str) -> str:
    """Where this user's state files live: --state-dir, else the XDG state folder, else a private one in /var/tmp."""
    if wanted:
        return wanted
    user = str(os.geteuid()) if hasattr(os, "geteuid") else "user"
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    problems = []
    for folder in (os.path.join(home, "check_usb_redirector"), f"/var/tmp/check_usb_redirector-{user}"):
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            status = os.lstat(folder)
            if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or os.path.islink(folder)):
                problems.append(f"{folder} belongs to somebody else")
            elif os.access(folder, os.W_OK):
                return folder
            else:
                problems.append(f"{folder} is not writable")
        except OSError as error:
            problems.append(f"{folder}: {error.strerror}")
    raise runtime.Problem(f"no place to remember how far the log was read ({'; '.join(problems)}): give --state-dir")


def state_name(request: LogRequest) -> str:
    """One state file for each log and pattern, readable by name, told apart by a checksum."""
    import zlib

    path = os.path.abspath(request.path)
    checksum = zlib.crc32(f"{path}\0{request.pattern.pattern}".encode("utf-8", "surrogateescape"))
    return f"log-{re.sub('[^A-Za-z0-9.]', '_', path)[-60:]}-{checksum:08x}.json"


def read_memory(path: str) -> LogMemory | None:
    """The memory of the last run; None = there is none or it is no such file. Only a file of this user is believed."""
    try:
        file = open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)), "rb")  # noqa: SIM115
    except FileNotFoundError:
        return None
    except OSError as error:
        raise runtime.Problem(f"state file {runtime.clean(path, 160)} cannot be read: {error.strerror}") from None
    with file:
        if hasattr(os, "geteuid") and os.fstat(file.fileno()).st_uid != os.geteuid():
            raise runtime.Problem(f"state file {runtime.clean(path, 160)} belongs to somebody else: remove it")
        try:
            return load_memory(file.read(1 << 16).decode("utf-8", "replace"))
        except OSError as error:
            raise runtime.Problem(f"state file {runtime.clean(path, 160)} cannot be read: {error.strerror}") from None


def write_memory(path: str, memory: LogMemory) -> None:
    """Replace the state file in one step; a half-written one is never seen. Raises OSError."""
    scratch = f"{path}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    try:
        with open(os.open(scratch, flags, 0o600), "wb") as file:
            file.write(dump_memory(memory).encode("ascii"))
        os.replace(scratch, path)
    except OSError:
        try:
            os.unlink(scratch)
        except OSError:
            pass  # it was never made
        raise


# --- The contexts: findings to results ------------------------------------------------------------------------

_STATES = (nagiosplugin.Ok, nagiosplugin.Warn, nagiosplugin.Critical, nagiosplugin.Unknown)


def result(finding: Finding, metric: nagiosplugin.Metric) -> nagiosplugin.Result:
    """A finding in nagiosplugin's form; its hint is the sentence, also of a good one."""
    return nagiosplugin.Result(_STATES[finding.state], finding.sentence, metric)


class License(nagiosplugin.Context):
    """The license against the operator's ranges on the days left; perfdata `license_days`."""

    def __init__(self, title: str, term: Term | None, warning: nagiosplugin.Range, critical: nagiosplugin.Range) -> None:
        super().__init__("license")
        self.title, self.term, self.warning, self.critical = title, term, warning, critical

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        today, licenses = metric.value
        return result(judge_license(self.title, self.term, licenses, today, self.warning, self.critical), metric)

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        today, _ = metric.value
        left = (self.term.ends - today).days if self.term and self.term.ends else None
        return runtime.perfdata("license_days", left, "", self.warning, self.critical)


class Processes(nagiosplugin.Context):
    """The processes of one name."""

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        name, found, blind = metric.value
        return result(judge_process(name, found, blind), metric)


class RequiredDevice(nagiosplugin.Context):
    """--device: it must be offered, attached, or in use by who may use it."""

    def __init__(self, clients: Sequence[str]) -> None:
        super().__init__("device")
        self.clients = clients

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        wanted, listing = metric.value
        finding = judge_device(wanted, listing, self.clients) if wanted else judge_list(listing, self.clients)
        return result(finding, metric)


class Judged(nagiosplugin.Context):
    """A finding that was judged where it was seen."""

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        return result(metric.value, metric)


class Number(nagiosplugin.Context):
    """A number for graphers that nothing judges."""

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        return runtime.perfdata(metric.name, metric.value, "s" if metric.name == "time" else "", minimum=0)


class Forwarder(nagiosplugin.Resource):
    """The forwarder as this machine sees it, looked at once."""

    def __init__(self, request: Request, judges_license: bool, devices: Sequence[Wanted], clients: Sequence[str]) -> None:
        self.request, self.judges_license, self.devices, self.clients = request, judges_license, devices, clients
        self.facts = Facts(None, (), (), False, None)

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        self.facts = facts = collect(self.request)
        listing = facts.listing
        if self.judges_license:
            import datetime

            licenses = listing.licenses if listing else ()
            yield nagiosplugin.Metric("license_days", (datetime.date.today(), licenses), context="license")
        for name, found in facts.processes:
            yield nagiosplugin.Metric("process", (name, found, facts.blind), context="process")
        for finding in facts.findings:
            yield nagiosplugin.Metric("finding", finding, context="finding")
        if listing:
            for wanted in self.devices or (None,):
                yield nagiosplugin.Metric("device", (wanted, listing), context="device")
        if self.request.processes:
            running = sum(process.status not in DEAD for _, found in facts.processes for process in found)
            yield nagiosplugin.Metric("processes", running, context="number")
        if listing and (listing.devices or not listing.licenses):
            yield nagiosplugin.Metric("devices", good_devices(listing, self.clients), context="number")
        if facts.seconds is not None:
            yield nagiosplugin.Metric("time", facts.seconds, "s", context="number")


# --- The sentence ---------------------------------------------------------------------------------------------


class Spoken(nagiosplugin.Summary):
    """What the check says when all is well, and the lines of -v: everything that the list holds."""

    def __init__(self, forwarder: Forwarder) -> None:
        self.forwarder = forwarder

    def ok(self, results: nagiosplugin.Results) -> str:
        return "; ".join(dict.fromkeys(item.hint for item in results.results if item.hint))

    def verbose(self, results: nagiosplugin.Results) -> list[str]:
        facts = self.forwarder.facts
        lines = [f"{item.state.text}: {item.hint}" for item in results.results if item.hint]
        for name, found in facts.processes:
            lines += [f"process {name}: pid {process.pid}, {process.status}" for process in found]
        if facts.listing:
            lines += [f"device {device}" for device in facts.listing.devices]
            lines += [f"not connected to {server}" for server in facts.listing.lost]
            lines += [f"license of {server}: {number or 'unlimited'} devices" for server, number in facts.listing.licenses]
        return lines


# --- Options and main -----------------------------------------------------------------------------------------


def license_term(text: str) -> Term:
    """`YYYY-MM-DD`, the last day of the license, or `perpetual`."""
    import datetime

    if text.lower() == "perpetual":
        return Term(None)
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 40)}' is no date; write YYYY-MM-DD or perpetual")
    if not 2000 <= int(text[:4]) <= 2099:
        raise argparse.ArgumentTypeError(f"the year of '{text}' is not between 2000 and 2099; write perpetual if it never ends")
    try:
        return Term(datetime.date(int(text[:4]), int(text[5:7]), int(text[8:])))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not in the calendar") from None


def wanted_device(text: str) -> Wanted:
    """`VID:PID`, or else a name or place as the forwarder's list shows it."""
    if re.fullmatch(r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}", text):
        return Wanted(text.lower(), "")
    return Wanted("", words(text))


def words(text: str) -> str:
    """Text that says something."""
    if not text.strip():
        raise argparse.ArgumentTypeError("empty")
    return text


def host_name(text: str) -> str:
    """A host name or address, an IPv6 address with or without brackets."""
    host = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    if not re.fullmatch(r"[^\s/@\[\]\x00-\x1f-][^\s/@\[\]\x00-\x1f]{0,252}", host):
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 60)}' is no host name or address")
    return host


def service_name(text: str) -> str:
    """A service's name; nothing that systemctl could take for an option."""
    if not re.fullmatch(r"[A-Za-z0-9@_.:\\][A-Za-z0-9@_.:\\ -]{0,200}", text):
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 60)}' is no service name")
    return text


def minutes(text: str) -> float:
    """A time in minutes, at most a year."""
    if not re.fullmatch(r"[0-9]{1,6}(?:\.[0-9]{1,3})?", text) or float(text) > 527040:
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 40)}' is no number of minutes")
    return float(text)


def regex(text: str) -> re.Pattern[str]:
    """A Python regular expression; the empty one would match every line."""
    try:
        return re.compile(words(text))
    except (re.error, RecursionError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 60)}' is no regular expression ({error})") from None


def utn_code(text: str) -> tuple[int, Finding]:
    """`CODE=STATE`: how to judge an exit code of utnm."""
    code, _, name = text.partition("=")
    if not re.fullmatch(r"[0-9]{1,3}", code) or name.upper() not in runtime.STATE_NAMES:
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 40)}' is not CODE=STATE; write for example 25=ok")
    state = runtime.STATE_NAMES.index(name.upper())
    return int(code), Finding(state, f"the dongle server's tool ended with exit code {int(code)}")


def split_command(text: str, windows: bool) -> tuple[str, ...]:
    """A command line as its words, without a shell. On Windows a backslash is part of a path."""
    import shlex

    try:
        parts = shlex.split(text, posix=not windows)
    except ValueError as error:
        raise runtime.Problem(f"--list-command cannot be read: {error}") from None
    if windows:
        parts = [part[1:-1] if len(part) > 1 and part[0] == part[-1] and part[0] in "\"'" else part for part in parts]
    if not parts or not parts[0]:
        raise runtime.Problem("--list-command is empty")
    return tuple(parts)


def options() -> runtime.Options:
    """The options of this check, the common ones included."""
    parser = runtime.Options(
        "check_usb_redirector",
        "Watches a USB forwarder: its license, its list of devices, its process, service, port and log.\n"
        "Without another source the product's own list command is asked.",
        "  check_usb_redirector --product usb-redirector --license-expires 2027-01-31 --device 0471:485d\n"
        "  check_usb_redirector --product virtualhere --license-expires perpetual --device 'Token JC'\n"
        "  check_usb_redirector --product usbip -H 10.0.0.5 --device 0471:485d\n",
    )
    group = parser.add_argument_group("the forwarder")
    group.add_argument("--product", metavar="NAME", choices=tuple(PRODUCTS), help=", ".join(PRODUCTS))
    group.add_argument("--side", choices=("server", "client"), help="whose list, process and service are the default")
    group = parser.add_argument_group("its license")
    group.add_argument("--license-expires", metavar="DATE", type=license_term, help="last day YYYY-MM-DD, or perpetual")
    group.add_argument("-w", "--warning", metavar="RANGE", type=runtime.threshold, default="30:",
                       help="warn if the days left are outside RANGE (30:)")
    group.add_argument("-c", "--critical", metavar="RANGE", type=runtime.threshold, default="7:",
                       help="alarm if the days left are outside RANGE (7:)")
    group = parser.add_argument_group("its list")
    group.add_argument("--device", metavar="VID:PID|NAME", type=wanted_device, action="append", default=[],
                       help="must be offered or attached; repeatable")
    group.add_argument("--client", metavar="HOST", type=words, help="the machine that must use the device, as the list names it")
    group.add_argument("--list-command", metavar="CMD", help="ask this command (no shell)")
    group.add_argument("--list-output", metavar="FILE", type=words, help="read a captured list, - = standard input")
    group.add_argument("--list-max-age", metavar="MINUTES", type=minutes, help="a captured list must be younger")
    group.add_argument("--no-list", action="store_true", help="do not ask the product's list command")
    group.add_argument("--utn-code", metavar="CODE=STATE", type=utn_code, action="append", default=[],
                       help="seh-utn: how to judge an exit code; repeatable")
    group = parser.add_argument_group("the machine it runs on")
    group.add_argument("-H", "--hostname", metavar="HOST", type=host_name, help="must answer (usbip: is asked for its devices)")
    group.add_argument("-p", "--port", metavar="PORT", type=runtime.tcp_port, help="its TCP port (the product's)")
    group.add_argument("--process", metavar="NAME", type=words, action="append", default=[], help="must run; repeatable")
    group.add_argument("--service", metavar="NAME", type=service_name, action="append", default=[], help="must run; repeatable")
    group = parser.add_argument_group("its log")
    group.add_argument("--log", metavar="FILE", type=words, help="alarm on new lines that match")
    group.add_argument("--log-pattern", metavar="REGEX", type=regex, help="what to look for")
    group.add_argument("--log-hold", metavar="MINUTES", type=minutes, default="60", help="how long a match stays an alarm (60)")
    group.add_argument("--state-dir", metavar="DIR", type=words, help="where to remember how far the log was read")
    return parser


def refuse(values: argparse.Namespace) -> None:
    """Combinations that judge nothing or not what was meant are usage errors."""
    product = PRODUCTS[values.product]
    reader = product.reader or ("exit code" if values.product == "seh-utn" else "")
    wrong = {
        "-p needs -H": values.port and not values.hostname,
        f"-H needs -p: no usual port of {product.title} is known": values.hostname and not (values.port or product.port),
        "--list-command and --list-output exclude each other": values.list_command is not None and values.list_output,
        "--no-list contradicts the other options": values.no_list
        and (values.list_command or values.list_output or values.device),
        "--list-max-age needs --list-output FILE": values.list_max_age is not None and values.list_output in (None, "-"),
        f"the list of {product.title} has no publicly known form: use --process, --service or -H": not reader
        and (values.list_command or values.list_output or values.device),
        "seh-utn is judged by the exit code of its tool: no --device, no --list-output": reader == "exit code"
        and (values.list_output or values.device),
        "--utn-code belongs to --product seh-utn": values.utn_code and reader != "exit code",
        "--log and --log-pattern belong together": bool(values.log) != bool(values.log_pattern),
    }
    for sentence, is_wrong in wrong.items():
        if is_wrong:
            raise runtime.Problem(f"{sentence}; check_usb_redirector --help lists the options")


def default_source(product: Product, side: str | None) -> Source:
    """Where a product is watched if nothing else is named, on this system and on the side that was asked for."""
    for (name, system), source in product.sides.items():
        if system == os.name and side in (None, name):
            return source
    return Source()


def request_of(values: argparse.Namespace) -> Request:
    """The request with the product's defaults; asked for nothing is a usage error."""
    product = PRODUCTS[values.product]
    source = default_source(product, values.side)
    named = values.hostname or values.process or values.service or values.log or values.list_command or values.list_output
    wants_list = bool(values.device) or not (named or values.no_list)
    usbip = values.product == "usbip" and not (values.list_command or values.list_output) and (wants_list or bool(values.hostname))
    command = source.command if wants_list and not (usbip or values.list_output) else ""
    command = command if values.list_command is None else values.list_command
    by_default = wants_list and not (command or values.list_output or usbip)
    request = Request(
        product,
        split_command(command, os.name == "nt") if command or values.list_command is not None else (),
        values.list_output or "",
        values.list_max_age,
        usbip,
        values.hostname or "",
        values.port or product.port or 0,
        tuple(dict.fromkeys(values.process or ([source.process] if by_default and source.process else []))),
        tuple(dict.fromkeys(values.service or ([source.service] if by_default and source.service else []))),
        {**UTN_CODES, **dict(values.utn_code)} if values.product == "seh-utn" else {},
        LogRequest(values.log, values.log_pattern, values.log_hold * 60, values.state_dir or "") if values.log else None,
    )
    if values.device and not (request.command or request.list_file or usbip):
        raise runtime.Problem(f"--device needs a list, and {product.title} has no usual list command here: give --list-command")
    judged = (request.command, request.list_file, usbip, request.host, request.processes, request.services, request.log)
    if not any(judged) and not values.license_expires:
        raise runtime.Problem(
            f"nothing to judge: {product.title} has no default on this system, name a --process, a --service, -H or a list"
        )
    return request


def build(values: argparse.Namespace) -> nagiosplugin.Check:
    """The check as nagiosplugin runs it."""
    if values.product is None:
        raise runtime.Problem("--product is missing; check_usb_redirector --help lists the products")
    refuse(values)
    request = request_of(values)
    clients = (values.client,) if values.client else ()
    needs_license = request.product.needs_license or values.license_expires is not None
    forwarder = Forwarder(request, needs_license, values.device, clients)
    return nagiosplugin.Check(
        forwarder,
        License(request.product.title, values.license_expires, values.warning, values.critical),
        RequiredDevice(clients),
        Processes("process"),
        Judged("finding"),
        Number("number"),
        Spoken(forwarder),
    )


def main() -> None:
    """The console script."""
    runtime.run("USB_REDIRECTOR", options(), build)


if __name__ == "__main__":
    main()
