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

    begin = runtime.begin
except ImportError:
    print("USB_REDIRECTOR UNKNOWN - plugin_runtime.py is missing beside this check: copy the whole checks folder")
    raise SystemExit(3) from None
except (SyntaxError, ValueError, NameError, AttributeError):  # cut by a failed copy; a zero byte is a ValueError
    print("USB_REDIRECTOR UNKNOWN - plugin_runtime.py beside this check is incomplete: copy the whole checks folder again")
    raise SystemExit(3) from None

begin("USB_REDIRECTOR", __name__)

if TYPE_CHECKING:
    import datetime
    import socket
    from typing import Any, BinaryIO, Callable, Iterable, Iterator, Mapping, Sequence, Union

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
    unlimited). `absent` is how to judge a device that is not in the list, and what to say of it.
    """

    devices: tuple[Device, ...] = ()
    side: str = "client"
    lost: tuple[str, ...] = ()
    licenses: tuple[tuple[str, int | None], ...] = ()
    absent: tuple[int, str] = (CRITICAL, "is not offered by the forwarder")


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


class LogMemory(NamedTuple):
    """What is remembered of a log between two runs: how far it was read, and the last line that matched.

    `mark` are the bytes before `offset`: a log that was rotated, cut or replaced does not have them there any more.
    `seen` is when the match was read, in seconds since the epoch.
    """

    inode: int
    offset: int
    mark: bytes
    match: str = ""
    seen: float = 0.0


if TYPE_CHECKING:
    Reading = Union[Listing, Finding, Unrecognised]  # a Finding: the tool printed no list but told, in known words, why

# --- The products ---------------------------------------------------------------------------------------------


class Source(NamedTuple):
    """Where a product is watched on one side: its list command, or, where that is not known, a process or service."""

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
            ("server", "posix"): Source("usbsrv -list"),
            ("server", "nt"): Source("usbrdrsh.exe -list-devices"),
            ("client", "posix"): Source("usbclnt -list"),
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
        "USB over Network", True, None, "",
        {("server", "posix"): Source(process="ftusbnetd"), ("server", "nt"): Source(service="ftnlsv3")},
    ),
    "virtualhere": Product(
        "VirtualHere", True, 7575, "virtualhere",
        {
            ("client", "posix"): Source("vhclientx86_64 -t LIST"),
            ("client", "nt"): Source("vhui64.exe -t LIST"),
            ("server", "posix"): Source(service="virtualhere"),
            ("server", "nt"): Source(process="vhusbdwin64.exe"),
        },
    ),
    "distkontrol": Product(
        "DistKontrolUSB", False, 6565, "virtualhere",
        {("client", "posix"): Source("dkclientx86_64 -t LIST"), ("client", "nt"): Source(service="dkclient")},
    ),
    "usbip": Product("USB/IP", False, 3240, "usbip", {}),
    "usbipd-win": Product("usbipd-win", False, 3240, "usbipd-win", {("server", "nt"): Source("usbipd state")}),
    "digi-anywhereusb": Product(
        "Digi AnywhereUSB", False, 18574, "digi-anywhereusb",
        {("client", "posix"): Source("awusbmanager-headless list"), ("client", "nt"): Source("awusbmanager list")},
    ),
    "seh-utn": Product("SEH UTN", False, None, "exit code", {}),
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


class Odd(Exception):
    """Text that no capture explains, with the evidence. It does not leave read_list()."""


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
    lines = [line.rstrip() for line in text.split("\n")]
    try:
        if not text.strip():
            raise Odd("no output at all")
        if text.lstrip()[0] not in "<{" and max(map(len, lines)) > LONGEST_LINE:
            raise Odd(f"a line of more than {LONGEST_LINE} characters")
        return READERS[reader](lines)
    except Odd as odd:
        return Unrecognised(str(odd))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return Unrecognised(f"{first_line(text)} ({type(error).__name__})")


def first_line(text: str) -> str:
    """The first line that says something: the evidence for an answer nobody understands."""
    return next((line for line in text.split("\n") if line.strip()), "no output at all")


def record(lines: Sequence[str], at: int, *patterns: str) -> Sequence[re.Match[str]]:
    """Consecutive lines, each as its pattern has it; one that does not fit or is missing makes the record odd."""
    found = [match for match in map(re.fullmatch, patterns, lines[at : at + len(patterns)]) if match]
    if len(found) < len(patterns):
        raise Odd(lines[at])
    return found


def position(lines: Sequence[str], pattern: str, missing: str, start: int = 0) -> int:
    """Where the first line stands that fits; none is odd."""
    for at in range(start, len(lines)):
        if re.fullmatch(pattern, lines[at]):
            return at
    raise Odd(missing or first_line("\n".join(lines)))


def unknown_state(word: str) -> str:
    """A state that no capture shows. Quoted, a list's own word never equals one of the states above."""
    return f"'{word}'"


CUT = "its closing line is missing: it is cut"


def read_usb_redirector(lines: Sequence[str]) -> Reading:
    """`usbsrv -list`, `usbclnt -list` (captures of 2017 and 2023). Both ask the one daemon, usbsrvd (vendor's installer).

    A number names one entry of a list.
    """
    start = position(lines, r"={5,} [A-Z ]+ ={5,}|\*{5,} ERROR \*{5,}", "")
    title = lines[start].strip("=* ")
    if title == "ERROR":
        message = first_line("\n".join(lines[start + 1 :])).strip()
        if message.startswith("Cannot connect to USB Redirector daemon"):
            return Finding(CRITICAL, "forwarder's daemon is not running: start usbsrvd")
        return Finding(UNKNOWN, f"the tool reports an error: {runtime.clean(message, 120)}")
    end = position(lines, r"={5,} ={5,} ={5,}", CUT, start + 1)
    if "".join(lines[end + 1 :]):
        raise Odd("text behind the end of the list")
    body = [line for line in lines[start + 1 : end] if line.strip(" |\t")]
    if title == "USB SERVER OPERATION SUCCESSFUL":
        return _redirector_server(body)
    if title in ("USB CLIENT OPERATION SUCCESSFUL", "LIST OF REMOTE USB DEVICES"):
        return _redirector_client(body)
    raise Odd(lines[start])


_IDS = r"[\s|]*Vid: ([0-9A-Fa-f]{4})   Pid: ([0-9A-Fa-f]{4})(?:   (?:Port|Serial): (.*))?"
_MODE = r"[\s|]*Mode: \S+   Status: (.+)"
_SERVER_STATES = {"plugged": UNSHARED, "plugged, shared": OFFERED, "not plugged, shared": UNAVAILABLE}
_CLIENT_STATES = {
    "connected": ATTACHED,
    "available for connection": OFFERED,
    "not available": UNAVAILABLE,
    "disconnected": DISCONNECTED,
}


def _redirector_server(body: Sequence[str]) -> Listing:
    if body[:1] != ["List of local USB devices:"]:
        raise Odd(body[0] if body else "the line 'List of local USB devices:' is missing")
    devices: dict[str, Device] = {}
    for at in range(1, len(body), 3):
        head, ids, status = record(body, at, r" {1,4}([0-9]+): (.*)", _IDS, r" +Status: (.+)")
        if head[1] in devices:
            raise Odd(head[0])
        devices[head[1]] = _redirector_device(head[2], ids, status[1], _SERVER_STATES)
    return Listing(tuple(devices.values()), "server")


def _redirector_client(body: Sequence[str]) -> Listing:
    devices: list[Device] = []
    lost: list[str] = []
    numbers: list[str] = []
    at, connected = body[:1].count("List of USB servers and devices:"), False
    while at < len(body):
        if re.match(r" {1,4}[0-9]+: USB server at ", body[at]):
            head, status = record(body, at, r" +([0-9]+): USB server at (\S+)", _MODE)
            connected = status[1] == "connected"
            lost += [] if connected else [head[2]]
            at += 2
        else:
            head, ids, status = record(body, at, r" +[|`]- +([0-9]+): (.*)", _IDS, _MODE)
            devices.append(_redirector_device(head[2], ids, status[1] if connected else "disconnected", _CLIENT_STATES))
            at += 3
        if head[1] in numbers:
            raise Odd(head[0])
        numbers.append(head[1])
    return Listing(tuple(devices), "client", tuple(lost))


def _redirector_device(name: str, ids: re.Match[str], status: str, states: Mapping[str, str]) -> Device:
    user = status[len("in use by ") :].strip() if status.startswith("in use by ") else ""
    state = USED if user else states.get(status, unknown_state(status))
    return Device(name.strip(), f"{ids[1]}:{ids[2]}".lower(), state, user, (ids[3] or "").strip())


_SWITCHES = r"Crypt: (?:en|dis)abled\t-Auth: (?:en|dis)abled\t-Compressed: (?:en|dis)abled[^\t]*"
_GATE_WINDOWS = rf"([^\t]*)\t-([^\t]+)\t-{_SWITCHES}\t-(disconnected|connected to [^\t]+)"
_GATE_LOCAL = r"local ([^,]+), [^']*?\bvid 0x([0-9a-f]{4}), pid 0x([0-9a-f]{4}), [^']*product '(.*)', manuf\. .*"


def read_usb_network_gate(lines: Sequence[str]) -> Reading:
    """`UsbService64.exe show-remote-devices` and `eveusbc ls net`, `shared` or `local` (tests of a public plug-in).

    The exit codes of these tools are unreliable, a line with `Error:` is what tells (vendor manual).
    """
    devices = []
    for line in filter(None, lines):
        if line == "USB Network Gate" or re.match(r"plugged [^,]+, ", line):
            continue
        if re.match(r"\s*Error:", line) and "\t" not in line:  # with tabs it is a device of that name
            return Finding(UNKNOWN, f"the tool reports an error: {runtime.clean(line, 120)}")
        devices.append(_gate_device(line))
    if not devices:
        raise Odd("a title, but neither a device nor a message")
    side = "server" if any(re.match(r"shared |local ", line) for line in lines) else "client"
    return Listing(tuple(devices), side)


def _gate_device(line: str) -> Device:
    match = re.fullmatch(_GATE_WINDOWS, line)
    if match:
        return Device(match[1].strip(), "", DISCONNECTED if match[3] == "disconnected" else ATTACHED, "", match[2])
    match = re.fullmatch(_GATE_LOCAL, line)
    if match:
        state = "plugged in, and this list does not tell whether it is shared"
        return Device(match[4], f"{match[2]}:{match[3]}", state, "", match[1])
    word, _, rest = line.partition(" ")
    fields = rest.split(",")
    # Nothing quotes a comma within a name; then the number of the fields is wrong and the line is not understood.
    if len(fields) != 14 or word not in ("remote", "connected", "disconnected", "shared"):
        raise Odd(line)
    place = fields[4] if word == "shared" else f"{fields[0]}:{fields[2]}"
    user = fields[10] if word in ("remote", "shared") else ""
    state = {"connected": ATTACHED, "disconnected": DISCONNECTED}.get(word, USED if user else OFFERED)
    return Device(fields[6].strip(), "", state, user, place)


_VIRTUALHERE_FAILURES = {
    "An existing client is not running.": "the forwarder's client is not running",
    "IPC client, server response open failed": "the forwarder's client cannot be reached: does it run, and may this user ask it?",
    "No response from IPC server": "the forwarder's client does not answer: is it frozen?",
}
_TWO_WAYS = "told by a line that can be read in two ways"


def read_virtualhere(lines: Sequence[str]) -> Reading:
    """`-t LIST`, `-t "GET CLIENT STATE"` and `-t "LIST LICENSES"` of VirtualHere and of its OEM editions."""
    text = "\n".join(lines).strip(" \n\x01")
    lines = text.split("\n")
    if lines[0] in _VIRTUALHERE_FAILURES:
        return Finding(CRITICAL, f"{_VIRTUALHERE_FAILURES[lines[0]]} (it says: {lines[0]})")
    if re.fullmatch(r"(?:\S+ \S+ ERROR ?: ?)?You need to purchase a license for your Server.*", lines[0]):
        return Finding(CRITICAL, f"the server has no license (it says: {runtime.clean(lines[0], 120)})")
    if text.startswith("<"):
        return _virtualhere_state(text)
    licenses = [re.fullmatch(r"(.+),s/n=[^,]*,\s*([0-9]{1,6}|unlimited) devices?", line) for line in lines]
    if None not in licenses:
        return Listing(licenses=tuple((item[1], int(item[2]) if item[2][0] != "u" else None) for item in licenses if item))
    return _virtualhere_list(lines)


def _virtualhere_list(lines: Sequence[str]) -> Listing:
    start = position(lines, r".* Client IPC, below are the available devices:", lines[0])
    if not re.fullmatch(r"\S.* Client (?:is|not) running as a service", lines[-1]):
        raise Odd(CUT)
    devices = []
    hub = None
    for line in filter(None, lines[start + 1 : -1]):
        if re.fullmatch(r"\(Value in brackets = address.*|[A-Z][A-Za-z -]{1,40} currently (?:on|off)", line):
            continue
        if re.fullmatch(r"\S.* \([^()\s]+:[0-9]+\)", line):
            hub = line
        elif hub:
            devices.append(_virtualhere_device(line))
        else:
            raise Odd(line)
    return Listing(tuple(devices))


def _virtualhere_device(line: str) -> Device:
    user = r"( \(In-use by you\)| \(In-use by: \(.*\) at (\S+)\))?"
    (match,) = record([line], 0, rf"[\s*]*--> ?\*? ?(.*?) ?\*?\(([^()\s]+\.[0-9]+)\){user}")
    state = ATTACHED if match[3] == " (In-use by you)" else USED if match[4] else OFFERED
    # A name, or a user's name, that looks like the words behind it.
    state = _TWO_WAYS if line.count("(In-use by") > (state != OFFERED) else state
    return Device(match[1].strip(), "", state, match[4] or "", match[2])


def _virtualhere_state(text: str) -> Listing:
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
            raise Odd("XML of another form")
        if path[1:] == ["server"]:
            server.clear()
        elif path[1:] == ["server", "connection"]:
            server.update(attributes)
            if attributes["state"] != "3":
                lost.append(attributes.get("serverName", ""))
            if re.fullmatch(r"[0-9]{1,6}", attributes.get("license_max_devices", "")):
                licenses.append((attributes.get("serverName", ""), int(attributes["license_max_devices"])))
        elif path[1:] == ["server", "device"]:
            devices.append(_virtualhere_bound(attributes, server))

    def no_doctype(*arguments: object) -> None:
        raise Odd("XML with a document type definition")

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: path.pop()
    parser.StartDoctypeDeclHandler = no_doctype
    try:
        parser.Parse(text.encode("utf-8", "replace"), True)
    except expat.ExpatError as error:
        raise Odd(f"XML that breaks off or does not fit: {error}") from None
    return Listing(tuple(devices), "client", tuple(lost), tuple(licenses))


def _virtualhere_bound(attributes: Mapping[str, str], server: Mapping[str, str]) -> Device:
    """A device element; ids are decimal."""
    vendor, product = (int(attributes[key]) for key in ("idVendor", "idProduct"))
    if not 0 <= vendor <= 0xFFFF or not 0 <= product <= 0xFFFF:
        raise Odd("a device's id out of range")
    state = {"0": UNAVAILABLE, "1": OFFERED, "3": USED}.get(attributes["state"], unknown_state(attributes["state"]))
    state = state if server["state"] == "3" else DISCONNECTED
    users = [re.sub(r"[\s():,]", "_", attributes.get(key, "")) for key in ("boundClientHostname", "boundConnectionIp")]
    place = f"{server.get('hostname', '')}.{attributes.get('address', '')}"
    name = attributes.get("nickname") or attributes["product"]
    return Device(name, f"{vendor:04x}:{product:04x}", state, " ".join(users).strip() if state == USED else "", place)


def read_digi(lines: Sequence[str]) -> Listing:
    """`awusbmanager list` and `awusbmanager-headless list`. Hub, group and device are told by their indent."""
    start = position(lines, r" ?AnywhereUSB Manager version .*", "")
    start = position(lines, r"Below are the available devices:", lines[start], start)
    end = position(lines, r"\* means Autoconnect enabled.*", CUT, start)
    position(lines, r"Autoconnect All: (?:en|dis)abled", CUT, end)
    devices = []
    for line in filter(None, lines[start + 1 : end]):
        if re.fullmatch(r" \S.* \(\S+:[0-9]+\)|[ *+]   \S.* \(\S+\.[0-9]+\)(?: \(In-use by .+\))?", line):
            continue
        (match,) = record([line], 0, r"[ *+] {7}(.*) \(([^()\s]+\.[0-9]+)\)(?: \(In-use by (.+)\))?")
        user = match[3] or ""
        state = ATTACHED if user == "you" else USED if user else OFFERED
        state = _TWO_WAYS if line.count("(In-use by") > (state != OFFERED) else state
        devices.append(Device(match[1], "", state, user if state == USED else "", match[2]))
    return Listing(tuple(devices))


NOT_LISTED_WHEN_USED = "a device in use by another machine is not in that list"


def read_usbip(lines: Sequence[str]) -> Listing:
    """`usbip port` (what this machine has attached) and `usbip list -r HOST` (what a server offers)."""
    lines = [line for line in lines if line and not line.startswith("libusbip: error: ")]
    start = position(lines, r"(?:Imported|Exportable) USB devices", "")
    record(lines, start, r".*", "=" * len(lines[start]))
    body = lines[start + 2 :]
    devices = []
    if lines[start].startswith("Imported"):
        for at in range(0, len(body), 4):
            port, product, _, _ = record(
                body, at, r"Port ([0-9]{2,4}): <(.+)> at .+", r" {7}(.*) \(([0-9a-f]{4}:[0-9a-f]{4})\)",
                r" {1,10}\S+ -> .+", r" +-> remote bus/dev .+",
            )  # fmt: skip
            state = ATTACHED if port[2] == "Port in Use" else unknown_state(port[2])
            devices.append(Device(product[1].strip(), product[2], state, "", f"port {port[1]}"))
        return Listing(tuple(devices), absent=(CRITICAL, "is not attached here"))
    for line in body:
        if re.match(r" - \S+$| +: ", line):
            continue
        (match,) = record([line], 0, r" {4,}([0-9][0-9.-]*): (.*) \(([0-9a-f]{4}:[0-9a-f]{4})\)")
        devices.append(Device(match[2], match[3], OFFERED, "", match[1]))
    return Listing(tuple(devices), absent=(UNKNOWN, f"is not offered, and {NOT_LISTED_WHEN_USED}"))


def read_usbipd_win(lines: Sequence[str]) -> Listing:
    """`usbipd state`: attached = ClientIPAddress, shared = PersistedGuid, plugged = BusId (its documentation)."""
    import json

    entries = json.loads("\n".join(lines))["Devices"]
    if not isinstance(entries, list):
        raise Odd("JSON of another form")
    return Listing(tuple(map(_usbipd_device, entries)), "server")


def _usbipd_device(entry: Any) -> Device:
    bus, client, guid = entry["BusId"], entry["ClientIPAddress"], entry["PersistedGuid"]
    if not all(item is None or (isinstance(item, str) and item) for item in (bus, client, guid)):
        raise Odd("JSON of another form: neither null nor text")
    match = re.match(r"USB\\VID_([0-9A-Fa-f]{4})&PID_([0-9A-Fa-f]{4})(?:\\|$)", entry["InstanceId"])
    state = UNAVAILABLE if bus is None else USED if client else OFFERED if guid else UNSHARED
    state = "attached and unplugged at once" if bus is None and client else state
    return Device(str(entry["Description"]), f"{match[1]}:{match[2]}".lower() if match else "", state, client or "", bus or "")


READERS: dict[str, Callable[[Sequence[str]], Reading]] = {
    "usb-redirector": read_usb_redirector,
    "usb-network-gate": read_usb_network_gate,
    "virtualhere": read_virtualhere,
    "digi-anywhereusb": read_digi,
    "usbip": read_usbip,
    "usbipd-win": read_usbipd_win,
}


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
        return Finding(CRITICAL, f"the server refuses to list its devices (status {int.from_bytes(header[4:], 'big')})")
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


# --- The judgement: facts to findings -------------------------------------------------------------------------


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
    if load == "not-found":
        return Finding(UNKNOWN, f"there is no service {name} on this machine: check --service")
    if values.get("FreezerState", "running") != "running":
        return Finding(CRITICAL, f"service {name} is frozen: run systemctl thaw {name}")
    if load == "loaded" and active in ("active", "reloading"):
        if sub == "exited":
            return Finding(UNKNOWN, f"service {name} is active without a process (exited): name its --process")
        return Finding(OK, f"service {name} is running")
    if load == "loaded" and active == "activating" and sub != "auto-restart":
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


def days(number: int) -> str:
    """`1 day`, `20 days`."""
    return f"{number} day" if number == 1 else f"{number} days"


def judge_license(
    title: str,
    term: Term | None,
    licenses: Sequence[tuple[str, int | None]],
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
    left = term.left()
    if left is None:
        return Finding(OK, f"license of {title} is perpetual")
    if term.today.year < 2020:
        return Finding(UNKNOWN, f"this machine's clock says {term.today}: license of {title} until {term.ends} cannot be judged")
    if left < 0:
        return Finding(CRITICAL, f"license of {title} expired {days(-left)} ago ({term.ends}): renew it, then reconnect the key")
    ends = f"license of {title} ends {f'in {days(left)}' if left else 'today'} ({term.ends})"
    state = int(runtime.judge(left, warning, critical))
    return Finding(state, f"{ends}: renew it now" if state else ends)


class Wanted(NamedTuple):
    """A device that must be there: by `usb_id`, else by the name or place that the list shows."""

    usb_id: str
    name: str

    def __str__(self) -> str:
        return f"key {self.usb_id or runtime.clean(readings(self.name)[0], 80)}"

    def matches(self, device: Device) -> bool:
        """Whole names only, case and blanks aside: one name may be part of another."""
        if self.usb_id:
            return device.usb_id == self.usb_id
        names = {plain(text) for text in (*readings(device.name), device.place)}
        return any(plain(text) in names for text in readings(self.name))


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
    """One device of a list. `clients` are the machines that may use it; () = any in a server's list, this one in a
    client's."""
    user = runtime.clean(device.user, 80)
    if device.state == USED:
        names = {plain(part) for part in (device.user, *re.split(r"[\s():,]+", device.user))}
        here = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
        if (side == "server" and not clients) or any(plain(client) in names - {""} for client in clients or (here,)):
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


# --- The log: pure part ---------------------------------------------------------------------------------------

LOG_BYTES = 16 << 20  # of a log in one run
LOG_FIRST_LOOK = 1 << 20  # of a log never seen before
LOG_LINE = 1 << 16
LOG_MARK = 256


def matching_line(data: bytes, pattern: re.Pattern[str]) -> str:
    """The last line that the pattern finds, in any reading of its bytes; "" = no line."""
    # Windows programs may log in UTF-16; without its zero bytes the ASCII part of it is readable.
    for line in reversed(data.replace(b"\0", b"").split(b"\n")):
        for start in range(0, len(line), LOG_LINE):
            piece = line[start : start + LOG_LINE].rstrip(b"\r")
            for text in readings(piece.decode("utf-8", "surrogateescape")):
                if pattern.search(text):
                    return text.strip()[:1000] or "(an empty line)"
    return ""


def dump_memory(memory: LogMemory) -> str:
    """The text of a state file."""
    import json

    return json.dumps([1, memory.inode, memory.offset, memory.mark.hex(), memory.match, memory.seen])


def load_memory(text: str) -> LogMemory | None:
    """What a state file holds; None = not what dump_memory writes."""
    import json

    try:
        version, inode, offset, mark, match, seen = json.loads(text)
        memory = LogMemory(int(inode), int(offset), bytes.fromhex(mark), str(match), float(seen))
    except (ValueError, TypeError, RecursionError, OverflowError):
        return None
    return memory if version == 1 and memory.offset >= len(memory.mark) and memory.seen >= 0 else None


# --- The collector: the only I/O ------------------------------------------------------------------------------
#
# Each step looks at one part if the request asks for it. What keeps it from an answer is a runtime.Problem, which
# becomes a finding and stops no other step.

ANSWER_LIMIT = 5.0  # seconds for one answer of a tool, a server or a service manager
LIST_BYTES = 1 << 20


class Request(NamedTuple):
    """What the operator asks, defaults filled in. What is empty is not judged.

    A match in the log stays an alarm for `log_hold` seconds: the soft states of an engine would lose a single one.
    """

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
    log: str
    log_pattern: re.Pattern[str]
    log_hold: float
    state_dir: str


class Facts:
    """What one look at the forwarder found. `findings` were judged where they were seen, a silent server for example.

    `seconds` is how long the answers took, None without any.
    """

    def __init__(self) -> None:
        self.listing: Listing | None = None
        self.findings: list[Finding] = []
        self.processes: dict[str, list[Process]] = {}
        self.seconds: float | None = None

    def found(self, state: int, sentence: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(state, sentence))

    def answered(self, since: float) -> None:
        """An answer came that was awaited since then (time.monotonic())."""
        self.seconds = (self.seconds or 0.0) + time.monotonic() - since


class Waiting:
    """The time that is left, divided among the waits still to come: one that hangs leaves the others their share."""

    def __init__(self, waits: int) -> None:
        self.waits = waits

    def share(self) -> float:
        """Seconds for the next wait."""
        share = runtime.remaining() / max(1, self.waits)
        self.waits -= 1
        return min(share, ANSWER_LIMIT)


def collect(request: Request) -> Facts:
    """Look at everything that was asked for."""
    facts = Facts()
    waiting = Waiting(bool(request.command) + bool(request.host) + len(request.services))
    # The processes first: that costs nothing, and a frozen daemon must be named although its tool uses up all the time.
    for step in (look_for_processes, look_at_list, look_at_usbip, ask_port, ask_services, watch_log):
        try:
            step(request, facts, waiting)
        except runtime.Problem as problem:
            facts.found(problem.state, str(problem))
    return facts


def look_at_list(request: Request, facts: Facts, waiting: Waiting) -> None:
    """The list that the product's tool prints, or that somebody captured."""
    if request.list_file:
        where = "the captured list"
        reading = read_list(request.product.reader, decode(captured(request.list_file, request.list_age)))
    elif request.command:
        where = f"list command {runtime.clean(' '.join(request.command), 80)}"
        runtime.doing(f"running {where}")
        started = time.monotonic()
        output = runtime.run_command(request.command, waiting.share(), LIST_BYTES)
        if output.failure:
            hint = "; install it here, or name it with --list-command" if output.failure == "does not exist" else ""
            if output.failure.startswith("did not end") and not request.processes:
                hint = "; if its daemon is frozen, --process tells"
            raise runtime.Problem(f"{where} {output.failure}{hint}")
        facts.answered(started)
        code = output.code or 0
        if request.utn_codes:
            unknown = Finding(UNKNOWN, f"{where} ended with exit code {code}, which is not known")
            facts.findings.append(request.utn_codes.get(code, unknown))
            return
        reading = read_list(request.product.reader, decode(output.stdout))
        if code and not isinstance(reading, Finding) and request.product.reader != "usb-network-gate":
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            raise runtime.Problem(f"{where} ended with {how}: {runtime.clean(first_line(decode(output.stdout)), 120)}")
    else:
        return
    if isinstance(reading, Listing):
        facts.listing = reading
    elif isinstance(reading, Finding):
        facts.findings.append(reading)
    else:
        evidence = runtime.clean(readings(reading.evidence)[0], 120)
        facts.found(UNKNOWN, f"{where} is no list of {request.product.title} that this check knows: {evidence}")


def captured(path: str, max_age: float | None) -> bytes:
    """A list from a file, or from standard input. A file that is older than `max_age` minutes is a Problem."""
    shown = runtime.clean(path, 120)
    try:
        if path == "-":
            runtime.doing("reading the list from standard input")
            with open(0, "rb", closefd=False) as stdin:
                output = stdin.read(LIST_BYTES + 1)
            if len(output) > LIST_BYTES:
                raise runtime.Problem(f"the list on standard input is larger than {LIST_BYTES} bytes")
            return output
        text = runtime.read_private(path, "--list-output", LIST_BYTES, private=False)
        age = (time.time() - os.stat(path).st_mtime) / 60
    except OSError as error:
        raise runtime.Problem(f"list {shown} cannot be read: {runtime.why_of(error)}") from None
    if max_age is not None and age > max_age:
        raise runtime.Problem(f"list {shown} is {age:.0f} minutes old: does the job that writes it still run?")
    return text.encode("utf-8", "surrogateescape")


# USB/IP: the kernel's view of this machine, and the wire.


def look_at_usbip(request: Request, facts: Facts, waiting: Waiting) -> None:
    """What is attached here, and what the servers offer: the one that is named, and those of the attached devices.

    These are asked because a frozen one leaves its device listed here.
    """
    if not request.usbip:
        return
    runtime.doing("reading the vhci status")
    ports = runtime.vhci_ports()
    if ports is None and not request.host:
        raise no_usbip_client()
    attached = tuple(map(attached_device, ports or ()))
    servers = servers_of(ports or (), request, facts)
    waiting.waits += len(servers) - bool(request.host)
    offered: list[Device] = []
    silent = 0
    for host, port in servers:
        try:
            offered += ask_devlist(host, port, facts, waiting).devices
        except runtime.Problem as problem:
            silent += 1
            ids = ", ".join(device.usb_id or device.place for device in attached[:3])
            listed = f"; {ids} is still listed here" if ids and problem.state == CRITICAL else ""
            frozen = ", as a frozen forwarder leaves it" if listed and FROZEN in str(problem) else ""
            facts.found(problem.state, f"{problem}{listed}{frozen}")
    if ports is None:
        absent = (UNKNOWN, f"is not offered, and {NOT_LISTED_WHEN_USED}: run this check where the key is attached")
        facts.listing = None if silent else Listing(tuple(offered), absent=absent)
    else:
        offers = servers and not silent
        absent = (CRITICAL, "is neither offered by the forwarder nor attached here" if offers else "is not attached here")
        facts.listing = Listing((*attached, *offered), absent=absent)


def attached_device(port: runtime.VhciPort) -> Device:
    """The device on a used port, by its world-readable attributes: reading these waits for nothing."""
    folder = f"{runtime.USB_DEVICES}/{port.busid}"
    vendor, product = (runtime.read_attribute(f"{folder}/{name}") for name in ("idVendor", "idProduct"))
    usb_id = f"{vendor}:{product}".lower() if vendor and product else ""
    return Device("", usb_id, ATTACHED, "", f"{port.busid}, vhci_hcd port {port.number}")


def servers_of(ports: Iterable[runtime.VhciPort], request: Request, facts: Facts) -> list[tuple[str, int]]:
    """The server that is named and those that `usbip attach` noted for the used ports, each once.

    A port without a note is a finding, unless the operator has named the server.
    """
    found = {(request.host, request.port): None} if request.host else {}
    for port in ports:
        host, _, number = port.server.rpartition(":")
        if host and re.fullmatch(r"[0-9]{1,5}", number) and 0 < int(number) < 65536:
            found[host, int(number)] = None
        elif not request.host:
            noted = "is not noted here" if hasattr(os, "geteuid") and os.geteuid() == 0 else "is noted for root alone"
            facts.found(UNKNOWN, f"who serves vhci_hcd port {port.number} {noted}, so nobody was asked whether the forwarder "
                        "still answers: give it with -H")  # fmt: skip
    return list(found)


def no_usbip_client() -> runtime.Problem:
    """Why there is no vhci status here."""
    if os.path.exists(runtime.VHCI):
        return runtime.Problem(f"the status of {runtime.VHCI} cannot be read")
    if not sys.platform.startswith("linux"):
        return runtime.Problem("what USB/IP has attached can only be read on Linux: give the server with -H")
    sentence = "nothing is attached here: vhci_hcd is not loaded, run modprobe vhci_hcd and usbip attach"
    return runtime.Problem(f"{sentence} (a server is asked with -H)", CRITICAL)


def ask_devlist(host: str, port: int, facts: Facts, waiting: Waiting) -> Listing:
    """The devices that a USB/IP server offers; anything else is a Problem."""
    place = at(host, port)
    runtime.doing(f"asking {place} for its USB/IP devices")
    started = time.monotonic()
    deadline = started + waiting.share()
    with connect(host, port, deadline) as connection:
        try:
            connection.sendall(DEVLIST_REQUEST)
            reading = read_devlist(Answer(connection, deadline).read)
        except OSError as error:
            raise runtime.Problem(f"forwarder does not answer at {place} ({runtime.why_of(error)})", CRITICAL) from None
    if isinstance(reading, Unrecognised):
        raise runtime.Problem(f"{place} is no USB/IP server of version 1.1.1: {reading.evidence}")
    if isinstance(reading, Finding):
        raise runtime.Problem(f"forwarder at {place}: {reading.sentence}", reading.state)
    facts.answered(started)
    return reading


def ask_port(request: Request, facts: Facts, waiting: Waiting) -> None:
    """Whether a TCP port takes connections, which is all that can be asked of a forwarder without a public protocol."""
    if not request.host or request.usbip:
        return
    place = at(request.host, request.port)
    runtime.doing(f"connecting to {place}")
    started = time.monotonic()
    connect(request.host, request.port, started + waiting.share()).close()
    facts.answered(started)
    facts.found(OK, f"port open at {place} (which proves neither license nor key)")


def connect(host: str, port: int, deadline: float) -> socket.socket:
    """A connection to the forwarder before the deadline (time.monotonic())."""
    try:
        return runtime.connect(host, port, deadline)
    except runtime.NoConnection as error:
        if not error.unresolved:
            raise runtime.Problem(f"forwarder does not answer at {at(host, port)} ({error})", CRITICAL) from None
        how = "is not resolved in time" if error.late else "cannot be resolved"
        raise runtime.Problem(f"the name {runtime.clean(host, 100)} {how}: {error}") from None


FROZEN = "it takes the connection and says nothing: frozen?"


class Answer:
    """What a server sends before the deadline (time.monotonic()), whatever the pace it comes at."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection, self.deadline, self.begun = connection, deadline, False

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes. Raises OSError with the reason."""
        import socket

        data = b""
        while len(data) < size:
            self.connection.settimeout(max(0.01, self.deadline - time.monotonic()))
            try:
                piece = self.connection.recv(size - len(data))
            except socket.timeout:
                piece = None
            if piece is None or time.monotonic() > self.deadline:
                raise OSError(0, "its answer does not end in time" if self.begun else FROZEN)
            if not piece:
                raise OSError(0, "it closes the connection without a whole answer")
            data, self.begun = data + piece, True
        return data


def at(host: str, port: int) -> str:
    """HOST:PORT for people; an IPv6 address in brackets."""
    shown = runtime.clean(host, 100)
    return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"


# Processes and services.


def look_for_processes(request: Request, facts: Facts, waiting: Waiting) -> None:
    """The processes of each name. psutil completes a name that the kernel cut at 15 characters."""
    if not request.processes:
        return
    psutil = runtime.import_library("psutil")
    runtime.doing("listing the processes")
    facts.processes = {name: [] for name in request.processes}
    for pid in psutil.pids():
        # The kernel's own word first: asking psutil for every process costs ten times as much.
        start = runtime.read_attribute(f"/proc/{pid}/comm")
        if start is not None and not any(name.startswith(start) for name in facts.processes):
            continue
        try:
            process = psutil.Process(pid)
            called, status = process.name(), process.status()
        except psutil.Error:
            continue  # it has ended meanwhile
        for name, processes in facts.processes.items():
            if same_program(called, name, os.name == "nt"):
                processes.append(Process(pid, status))
    if sys.platform.startswith("linux") and not os.path.exists("/proc/1") and not all(facts.processes.values()):
        facts.processes = {}
        raise runtime.Problem("--process cannot be judged: this user may not see all processes (/proc is mounted with hidepid)")


def ask_services(request: Request, facts: Facts, waiting: Waiting) -> None:
    """The service manager's word on each service."""
    for name in request.services:
        runtime.doing(f"asking for the service {name}")
        finding = ask_windows(name) if os.name == "nt" else ask_systemd(name, waiting.share())
        if finding.state == OK and name.casefold() == "ftnlsv3":
            finding = Finding(OK, f"{finding.sentence} (it only supervises: that alone does not prove that the forwarder works)")
        facts.findings.append(finding)


def ask_systemd(name: str, limit: float) -> Finding:
    """systemd's word on a unit."""
    command = ["systemctl", "show", "-p", "LoadState,ActiveState,SubState,Result,FreezerState", "--", name]
    output = runtime.run_command(command, limit, 1 << 16)
    if output.failure or output.code:
        reason = output.failure or f"says: {runtime.clean(first_line(decode(output.stdout)), 100)}"
        raise runtime.Problem(f"service {name}: systemctl {reason}; without systemd name its --process")
    return judge_systemd(name, decode(output.stdout))


def ask_windows(name: str) -> Finding:
    """psutil's word on a Windows service."""
    psutil = runtime.import_library("psutil")
    try:
        return judge_windows_service(name, psutil.win_service_get(name).status())
    except psutil.NoSuchProcess:
        return judge_windows_service(name, None)
    except (psutil.Error, OSError) as error:
        raise runtime.Problem(f"service {name} cannot be asked: {runtime.clean(error, 100)}") from None


# The log.


def watch_log(request: Request, facts: Facts, waiting: Waiting) -> None:
    """New lines since the last run. What cannot be read or remembered is a finding: a silent log must not look good."""
    if not request.log:
        return
    shown, now = runtime.clean(request.log, 120), time.time()
    runtime.doing(f"reading the log {shown}")
    try:
        state_file = state_file_of(request)
        old = read_memory(state_file)
        data, memory, missed = unread(request, old, now)
    except OSError as error:
        raise runtime.Problem(f"log {shown} cannot be read: {runtime.why_of(error)}") from None
    runtime.doing(f"searching the log {shown}")
    line = matching_line(data, request.log_pattern)
    if line:
        memory = memory._replace(match=line, seen=now)
    elif old:
        memory = memory._replace(match=old.match, seen=min(old.seen, now))  # a clock that was set back holds it no longer
    try:
        write_memory(state_file, memory)
    except OSError as error:
        place = runtime.clean(state_file, 160)
        facts.found(UNKNOWN, f"how far log {shown} was read cannot be remembered in {place}: {runtime.why_of(error)}")
    if line or (memory.match and now - memory.seen < request.log_hold):
        when = "" if line else f" ({(now - memory.seen) / 60:.0f} minutes ago)"
        facts.found(CRITICAL, f"log {shown} has a matching line{when}: {runtime.clean(memory.match, 200)}")
    elif missed:
        facts.found(UNKNOWN, f"log {shown} {missed}")
    else:
        facts.found(OK, f"no new matching line in log {shown}")


def unread(request: Request, old: LogMemory | None, now: float) -> tuple[bytes, LogMemory, str]:
    """What no run has read yet, where to go on, and what was missed ("" = nothing). Raises OSError."""
    with open_regular(request.log) as log:
        status = os.fstat(log.fileno())
        size, start, rest, missed = status.st_size, 0, b"", ""
        if old is None:
            # Lines that were written longer ago than a match is held would not be an alarm any more.
            start = size if now - status.st_mtime > request.log_hold else max(0, size - LOG_FIRST_LOOK)
        elif continues(log, status, old):
            start = old.offset
        else:
            rest = rest_of_rotated(request.log, old)
        if size - start > LOG_BYTES:
            start, missed = size - LOG_BYTES, "grew faster than it is read: its older new lines were not searched"
        log.seek(start)
        data = log.read(size - start)
        # The last line may still be growing: it is read again, unless it has no end at all.
        end = start + (data.rfind(b"\n") + 1 or (len(data) if len(data) > LOG_LINE else 0))
        log.seek(max(0, end - LOG_MARK))
        return rest + b"\n" + data, LogMemory(status.st_ino, end, log.read(min(LOG_MARK, end))), missed


def continues(log: BinaryIO, status: os.stat_result, old: LogMemory) -> bool:
    """Whether an open file is the log that was read up to old.offset."""
    if status.st_size < old.offset:  # asked first: no file can be read at the offset that a broken state file may name
        return False
    log.seek(old.offset - len(old.mark))
    return log.read(len(old.mark)) == old.mark if old.mark else status.st_ino == old.inode


def rest_of_rotated(path: str, old: LogMemory) -> bytes:
    """The unread end of the log under the name that the rotation gave it, b"" where it is gone or packed."""
    folder, base = os.path.split(os.path.abspath(path))
    try:
        names = sorted(name for name in os.listdir(folder) if name.startswith(base) and name != base)
    except OSError:  # a folder that may be entered, but not listed
        names = []
    for name in names[:50]:
        try:
            with open_regular(os.path.join(folder, name)) as log:
                if continues(log, os.fstat(log.fileno()), old):
                    log.seek(old.offset)
                    return log.read(LOG_BYTES)
        except (OSError, runtime.Problem):
            continue  # not ours to read, or no file: then it is not the log either
    return b""


def open_regular(path: str, further_flags: int = 0) -> BinaryIO:
    """A regular file for reading; a FIFO or a directory is a Problem, not a wait. Raises OSError."""
    import stat

    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | further_flags
    file = open(os.open(path, flags), "rb")  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise runtime.Problem(f"{runtime.clean(path, 160)} is not a regular file")
    return file


def state_file_of(request: Request) -> str:
    """The state file for this log and pattern, in --state-dir, the XDG state folder, or a private one in /var/tmp.

    Its name is readable; a checksum tells two logs or patterns apart.
    """
    import zlib

    path = os.path.abspath(request.log)
    checksum = zlib.crc32(f"{path}\0{request.log_pattern.pattern}".encode("utf-8", "surrogateescape"))
    name = f"log-{re.sub('[^A-Za-z0-9.]', '_', path)[-60:]}-{checksum:08x}.json"
    if request.state_dir:
        return os.path.join(request.state_dir, name)
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    user = os.geteuid() if hasattr(os, "geteuid") else "user"
    problems = []
    for folder in (os.path.join(home, "check_usb_redirector"), f"/var/tmp/check_usb_redirector-{user}"):
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
        except OSError as error:
            problems.append(f"{folder}: {runtime.why_of(error)}")
            continue
        if os.path.islink(folder) or (hasattr(os, "geteuid") and os.lstat(folder).st_uid != os.geteuid()):
            problems.append(f"{folder} belongs to somebody else")
        elif os.access(folder, os.W_OK):
            return os.path.join(folder, name)
        else:
            problems.append(f"{folder} is not writable")
    raise runtime.Problem(f"no place to remember how far the log was read ({'; '.join(problems)}): give --state-dir")


def read_memory(path: str) -> LogMemory | None:
    """The memory of the last run, None = this is the first. Only a file of this user is believed; a broken one
    remembers nothing, so that the whole log is read again."""
    shown = runtime.clean(path, 160)
    try:
        with open_regular(path, getattr(os, "O_NOFOLLOW", 0)) as file:
            if hasattr(os, "geteuid") and os.fstat(file.fileno()).st_uid != os.geteuid():
                raise runtime.Problem(f"state file {shown} belongs to somebody else: remove it")
            return load_memory(file.read(1 << 16).decode("utf-8", "replace")) or LogMemory(-1, 0, b"")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise runtime.Problem(f"state file {shown} cannot be read: {runtime.why_of(error)}") from None


def write_memory(path: str, memory: LogMemory) -> None:
    """Replace the state file in one step; a half-written one is never seen. Raises OSError."""
    scratch = f"{path}.{os.getpid()}"
    try:
        with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600), "wb") as file:
            file.write(dump_memory(memory).encode("ascii"))
        os.replace(scratch, path)
    except OSError:
        if os.path.lexists(scratch):
            os.unlink(scratch)
        raise


# --- The contexts: facts to results ---------------------------------------------------------------------------


class Part(nagiosplugin.Context):
    """One part of the forwarder, judged by one of the functions above; the hint of its result is the sentence."""

    states = (nagiosplugin.Ok, nagiosplugin.Warn, nagiosplugin.Critical, nagiosplugin.Unknown)

    def __init__(self, name: str, judge: Callable[[Any], Finding]) -> None:
        super().__init__(name)
        self.judge = judge

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        finding = self.judge(metric.value)
        return nagiosplugin.Result(self.states[finding.state], finding.sentence, metric)


class Number(nagiosplugin.Context):
    """A number for graphers that nothing judges."""

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        return runtime.perfdata(self.name, metric.value, "s" if self.name == "time" else "", minimum=0)


class DaysLeft(nagiosplugin.Context):
    """The days left of the license; the ranges by which judge_license() judged them are shown with the number."""

    def __init__(self, warning: nagiosplugin.Range, critical: nagiosplugin.Range) -> None:
        super().__init__("license_days")
        self.warning, self.critical = warning, critical

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        return runtime.perfdata(self.name, metric.value, "", self.warning, self.critical)


class Forwarder(nagiosplugin.Resource):
    """The forwarder as this machine sees it, looked at once, with what the operator asks of it."""

    def __init__(self, request: Request, term: Term | None, devices: Sequence[Wanted], clients: Sequence[str]) -> None:
        self.request, self.term, self.devices, self.clients = request, term, devices, clients
        self.facts = Facts()

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        self.facts = facts = collect(self.request)
        listing = facts.listing
        if self.term or self.request.product.needs_license:
            yield nagiosplugin.Metric("license", listing.licenses if listing else ())
            yield nagiosplugin.Metric("license_days", self.term.left() if self.term else None)
        for item in facts.processes.items():
            yield nagiosplugin.Metric("process", item)
        for finding in facts.findings:
            yield nagiosplugin.Metric("finding", finding)
        if listing:
            for wanted in self.devices or (None,):
                yield nagiosplugin.Metric("device", (wanted, listing))
        if facts.processes:
            running = sum(process.status not in DEAD for found in facts.processes.values() for process in found)
            yield nagiosplugin.Metric("processes", running)
        if listing and (listing.devices or not listing.licenses):
            yield nagiosplugin.Metric("devices", good_devices(listing, self.clients))
        yield nagiosplugin.Metric("time", facts.seconds)


# --- The sentence ---------------------------------------------------------------------------------------------


class Spoken(nagiosplugin.Summary):
    """What the check says when all is well, and the lines of -v: every finding, and everything that the list holds."""

    def __init__(self, forwarder: Forwarder) -> None:
        self.forwarder = forwarder

    def ok(self, results: nagiosplugin.Results) -> str:
        return "; ".join(dict.fromkeys(item.hint for item in results.results if item.hint))

    def verbose(self, results: nagiosplugin.Results) -> list[str]:
        facts = self.forwarder.facts
        lines = [f"{item.state.text}: {item.hint}" for item in results.results if item.hint]
        lines += [f"process {name}: pid {item.pid}, {item.status}" for name, found in facts.processes.items() for item in found]
        if facts.listing:
            lines += [f"device {device}" for device in facts.listing.devices]
            lines += [f"not connected to {server}" for server in facts.listing.lost]
            lines += [f"license of {server}: {number or 'unlimited'} devices" for server, number in facts.listing.licenses]
        return lines


# --- Options and main -----------------------------------------------------------------------------------------


def bad(text: str, problem: str) -> argparse.ArgumentTypeError:
    """The error for an option's value, which is quoted before the problem."""
    return argparse.ArgumentTypeError(f"'{runtime.clean(text, 60)}' {problem}")


def words(text: str) -> str:
    """Text that says something."""
    if not text.strip():
        raise argparse.ArgumentTypeError("empty")
    return text


def license_term(text: str) -> Term:
    """`YYYY-MM-DD`, the last day of the license, or `perpetual`."""
    import datetime

    today = datetime.date.today()
    if text.lower() == "perpetual":
        return Term(None, today)
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise bad(text, "is no date; write YYYY-MM-DD or perpetual")
    if not 2000 <= int(text[:4]) <= 2099:
        raise bad(text, "is not between 2000 and 2099; write perpetual if the license never ends")
    try:
        return Term(datetime.date.fromisoformat(text), today)
    except ValueError:
        raise bad(text, "is not in the calendar") from None


def wanted_device(text: str) -> Wanted:
    """`VID:PID`, or else a name or place as the forwarder's list shows it."""
    is_id = re.fullmatch(r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}", text)
    return Wanted(text.lower(), "") if is_id else Wanted("", words(text))


def host_name(text: str) -> str:
    """A host name or address, an IPv6 address with or without brackets."""
    host = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    if not re.fullmatch(r"[^\s/@\[\]\x00-\x1f-][^\s/@\[\]\x00-\x1f]{0,252}", host):
        raise bad(text, "is no host name or address")
    return host


def service_name(text: str) -> str:
    """A service's name; nothing that systemctl could take for an option."""
    if not re.fullmatch(r"[A-Za-z0-9@_.:\\][A-Za-z0-9@_.:\\ -]{0,200}", text):
        raise bad(text, "is no service name")
    return text


def seconds(text: str) -> float:
    """A time in minutes, at most a year, as seconds."""
    if not re.fullmatch(r"[0-9]{1,6}(?:\.[0-9]{1,3})?", text) or float(text) > 527040:
        raise bad(text, "is no number of minutes")
    return float(text) * 60


def regex(text: str) -> re.Pattern[str]:
    """A Python regular expression; the empty one would match every line."""
    try:
        return re.compile(words(text))
    except (re.error, RecursionError, OverflowError) as error:
        raise bad(text, f"is no regular expression ({error})") from None


def utn_code(text: str) -> tuple[int, Finding]:
    """`CODE=STATE`: how to judge an exit code of utnm."""
    code, _, name = text.partition("=")
    if not re.fullmatch(r"[0-9]{1,3}", code) or name.upper() not in runtime.STATE_NAMES:
        raise bad(text, "is not CODE=STATE; write for example 25=ok")
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
        "If neither of these is named, the product's own list command is asked.",
        "  check_usb_redirector --product usb-redirector --license-expires 2027-01-31 --device 0471:485d\n"
        "  check_usb_redirector --product virtualhere --license-expires perpetual --device 'Token JC'\n"
        "  check_usb_redirector --product usbip -H 10.0.0.5 --device 0471:485d\n",
    )
    add = parser.add_argument_group("the forwarder").add_argument
    add("--product", metavar="NAME", choices=tuple(PRODUCTS), help=", ".join(PRODUCTS))
    add("--side", choices=("server", "client"), help="whose list, process or service is the default")
    add = parser.add_argument_group("its license").add_argument
    add("--license-expires", metavar="DATE", type=license_term, help="last day YYYY-MM-DD, or perpetual")
    add("-w", "--warning", metavar="RANGE", type=runtime.threshold, default="30:",
        help="warn if the days left are outside RANGE (30:)")
    add("-c", "--critical", metavar="RANGE", type=runtime.threshold, default="7:",
        help="alarm if the days left are outside RANGE (7:)")
    add = parser.add_argument_group("its list").add_argument
    add("--device", metavar="VID:PID|NAME", type=wanted_device, action="append", default=[],
        help="must be offered or attached; repeatable")
    add("--client", metavar="HOST", type=words, help="the machine that must use the device, as the list names it")
    add("--list-command", metavar="CMD", help="ask this command (no shell)")
    add("--list-output", metavar="FILE", type=words, help="read a captured list, - = standard input")
    add("--list-max-age", metavar="MINUTES", type=seconds, help="a captured list must be younger")
    add("--no-list", action="store_true", help="do not ask the product's list command")
    add("--utn-code", metavar="CODE=STATE", type=utn_code, action="append", default=[],
        help="seh-utn: how to judge an exit code; repeatable")
    add = parser.add_argument_group("its machine").add_argument
    add("-H", "--hostname", metavar="HOST", type=host_name, help="must answer (usbip: is asked for its devices)")
    add("-p", "--port", metavar="PORT", type=runtime.tcp_port, help="its TCP port (the product's)")
    add("--process", metavar="NAME", type=words, action="append", default=[], help="must run here; repeatable")
    add("--service", metavar="NAME", type=service_name, action="append", default=[], help="must run here; repeatable")
    add = parser.add_argument_group("its log").add_argument
    add("--log", metavar="FILE", type=words, help="alarm on new lines that match")
    add("--log-pattern", metavar="REGEX", type=regex, help="what to look for")
    add("--log-hold", metavar="MINUTES", type=seconds, default="60", help="how long a match stays an alarm (60)")
    add("--state-dir", metavar="DIR", type=words, help="where to remember how far the log was read")
    return parser


def refuse(values: argparse.Namespace) -> None:
    """Combinations that judge nothing, or not what was meant, are usage errors."""
    title, reader, port = PRODUCTS[values.product].title, PRODUCTS[values.product].reader, PRODUCTS[values.product].port
    listed = values.list_command is not None or values.list_output or values.device
    wrong = {
        "-p needs -H": values.port and not values.hostname,
        f"-H needs -p: no usual port of {title} is known": values.hostname and not (values.port or port),
        "--list-command and --list-output exclude each other": values.list_command is not None and values.list_output,
        "--no-list contradicts the other options": values.no_list and listed,
        "--list-max-age needs --list-output FILE": values.list_max_age is not None and values.list_output in (None, "-"),
        f"the list of {title} has no publicly known form: use --process, --service or -H": listed and not reader,
        "seh-utn is judged by the exit code of its tool alone": reader == "exit code" and (values.list_output or values.device),
        "--utn-code belongs to --product seh-utn": values.utn_code and reader != "exit code",
        "--log and --log-pattern belong together": bool(values.log) != bool(values.log_pattern),
    }
    for sentence, is_wrong in wrong.items():
        if is_wrong:
            raise runtime.Problem(f"{sentence}; check_usb_redirector --help lists the options")


def default_source(product: Product, side: str | None) -> Source:
    """Where a product is watched if nothing else is named, on this system and on the side that was asked for."""
    fitting = (item for (name, system), item in product.sides.items() if system == os.name and side in (None, name))
    return next(fitting, Source())


def request_of(values: argparse.Namespace) -> Request:
    """The request with the product's defaults; asked for nothing is a usage error."""
    product = PRODUCTS[values.product]
    own_list = values.list_command is not None or values.list_output
    nothing_named = not any((own_list, values.hostname, values.process, values.service, values.log, values.no_list))
    by_default = not own_list and (nothing_named or values.device)
    usbip = values.product == "usbip" and bool(by_default or (values.hostname and not own_list))
    source = default_source(product, values.side) if by_default and not usbip else Source()
    command = source.command if values.list_command is None else values.list_command
    request = Request(
        product,
        split_command(command, os.name == "nt") if command or values.list_command is not None else (),
        values.list_output or "",
        None if values.list_max_age is None else values.list_max_age / 60,
        usbip,
        values.hostname or "",
        values.port or product.port or 0,
        tuple(dict.fromkeys(values.process or ([source.process] if source.process and not command else []))),
        tuple(dict.fromkeys(values.service or ([source.service] if source.service and not command else []))),
        {**UTN_CODES, **dict(values.utn_code)} if values.product == "seh-utn" else {},
        values.log or "",
        values.log_pattern or re.compile(""),
        values.log_hold,
        values.state_dir or "",
    )
    if values.device and not (request.command or request.list_file or usbip):
        raise runtime.Problem(f"--device needs a list, and {product.title} has no usual list command here: give --list-command")
    judged = (request.command, request.list_file, usbip, request.host, request.processes, request.services, request.log)
    if not any((*judged, values.license_expires)):
        raise runtime.Problem(
            f"nothing to judge: {product.title} has no default on this system, name a --process, a --service, -H or a list"
        )
    return request


def build(values: argparse.Namespace) -> nagiosplugin.Check:
    """The check as nagiosplugin runs it."""
    if values.product is None:
        raise runtime.Problem("--product is missing; check_usb_redirector --help lists the products")
    refuse(values)
    request, title, term = request_of(values), PRODUCTS[values.product].title, values.license_expires
    clients = (values.client,) if values.client else ()
    forwarder = Forwarder(request, term, values.device, clients)
    return nagiosplugin.Check(
        forwarder,
        Part("license", lambda licenses: judge_license(title, term, licenses, values.warning, values.critical)),
        Part("process", lambda item: judge_process(*item)),
        Part("finding", lambda finding: finding),
        Part("device", lambda item: judge_device(item[0], item[1], clients) if item[0] else judge_list(item[1], clients)),
        DaysLeft(values.warning, values.critical),
        Number("processes"),
        Number("devices"),
        Number("time"),
        Spoken(forwarder),
    )


def main() -> None:
    """The console script."""
    runtime.run("USB_REDIRECTOR", options(), build)


if __name__ == "__main__":
    main()
