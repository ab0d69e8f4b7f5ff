"""The lists of USB forwarders, as their tools print them and as a USB/IP server sends them.

Pure: text or bytes in, a Listing out. The commands, their states and their messages are read as public captures show
them (blog posts, vendors' manuals, tests of public wrappers); a line that no capture shows makes the list
unrecognised, never good.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import plugin_runtime as runtime
from forwarder_facts import (
    ATTACHED,
    CRITICAL,
    DISCONNECTED,
    NOT_LISTED_WHEN_USED,
    OFFERED,
    UNAVAILABLE,
    UNKNOWN,
    UNREACHABLE,
    UNSHARED,
    UNTOLD,
    USED,
    USED_SOMEWHERE,
    Device,
    Finding,
    Listing,
    Unrecognised,
    first_line,
    readings,
)

if TYPE_CHECKING:
    from typing import Any, Callable, Mapping, Sequence, Union

    Reading = Union[Listing, Finding, Unrecognised]  # a Finding: the tool printed no list but told, in known words, why

# --- Text to values -------------------------------------------------------------------------------------------
#
# Lines are split at "\n" alone: str.splitlines() also splits at characters that a device's name may contain, and a
# name could then add lines of its own. For the same reason a line is told by its place, and a list by its end.

LONGEST_LINE = 4000


class Odd(Exception):
    """Text that no capture explains, with the evidence. It does not leave read_list()."""


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


# --- The products' lists --------------------------------------------------------------------------------------

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


_IDS = r"[\s|]*Vid: ([0-9A-Fa-f]{4})   Pid: ([0-9A-Fa-f]{4})(?:   (?:Port|Serial):(?: (.*))?)?"
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
_GATE_WINDOWS = rf"([^\t]*)\t-([^\t]+)\t-{_SWITCHES}\t-(disconnected|connected to \S+)"
_GATE_LOCAL = r"local ([^,]+), [^']*?\bvid 0x([0-9a-f]{4}), pid 0x([0-9a-f]{4}), [^']*product '(.*)', manuf\. .*"


def read_usb_network_gate(lines: Sequence[str]) -> Reading:
    """`UsbService64.exe show-remote-devices` and `find-remote-devices`, `eveusbc ls net`, `shared` or `local` (tests of a
    public plug-in).

    `connected to ADDRESS` is seen in find-remote-devices alone, which shows what a server offers to everybody: the
    address is the user's, and that may be any machine. The exit codes of these tools are unreliable, a line with
    `Error:` is what tells (vendor manual).
    """
    devices = []
    for line in filter(None, lines):
        if "\t" in line:  # the Windows tool's, whatever the name in it looks like: it can be one of the lines below
            devices.append(_gate_windows_device(line))
            continue
        if line == "USB Network Gate" or re.match(r"plugged [^,]+, ", line):
            continue
        if re.match(r"\s*Error:", line):
            return Finding(UNKNOWN, f"the tool reports an error: {runtime.clean(line, 120)}")
        devices.append(_gate_device(line))
    if not devices:
        raise Odd("a title, but neither a device nor a message")
    side = "server" if any(re.match(r"(?:shared|local) [^\t]*$", line) for line in lines) else "client"
    return Listing(tuple(devices), side)


def _gate_windows_device(line: str) -> Device:
    match = re.fullmatch(_GATE_WINDOWS, line)
    if not match:
        raise Odd(line)
    user = match[3][len("connected to ") :] if match[3] != "disconnected" else ""
    return Device(match[1].strip(), "", USED_SOMEWHERE if user else DISCONNECTED, user, match[2])


def _gate_device(line: str) -> Device:
    match = re.fullmatch(_GATE_LOCAL, line)
    if match:
        state = "plugged in, but whether it is shared only eveusbc ls shared tells"
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
        told = ((item[1], int(item[2]) if item[2][0] != "u" else None) for item in licenses if item)
        return Listing(licenses=tuple(told), only_licenses=True)
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


# Bytes that are not UTF-8, which forwarder_facts.decode() keeps as surrogates, have a place in XML only as characters of
# private use, which nothing else uses.
_BYTES = {0xDC00 + byte: 0x10FE00 + byte for byte in range(0x80, 0x100)}
_BYTES_BACK = {character: surrogate for surrogate, character in _BYTES.items()}


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
        if foreign:
            attributes = {key: value.translate(_BYTES_BACK) for key, value in attributes.items()}
        if path[1:] == ["server"]:
            server.clear()
        elif path[1:] == ["server", "connection"]:
            server.update(attributes)
            name = readings(attributes.get("serverName", ""))[0]
            if attributes["state"] != "3":
                lost.append(name)
            told = re.fullmatch(r"[0-9]{1,6}", attributes.get("license_max_devices", ""))
            licenses.append((name, int(told[0]) if told else UNTOLD))
        elif path[1:] == ["server", "device"]:
            devices.append(_virtualhere_bound(attributes, server))

    def no_doctype(*arguments: object) -> None:
        raise Odd("XML with a document type definition")

    foreign = text != text.encode("utf-8", "replace").decode()
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = start
    parser.EndElementHandler = lambda name: path.pop()
    parser.StartDoctypeDeclHandler = no_doctype
    try:
        parser.Parse((text.translate(_BYTES) if foreign else text).encode("utf-8", "replace"), True)
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
    # Nothing in a client's name may look like another name. An address of IPv6 has colons.
    host = re.sub(r"[\s():,]", "_", attributes.get("boundClientHostname", ""))
    users = [host, re.sub(r"[\s(),]", "_", attributes.get("boundConnectionIp", ""))]
    place = f"{server.get('hostname', '')}.{attributes.get('address', '')}"
    name = attributes.get("nickname") or attributes["product"]
    return Device(name, f"{vendor:04x}:{product:04x}", state, " ".join(users).strip() if state == USED else "", place)


def read_digi(lines: Sequence[str]) -> Listing:
    """`awusbmanager list` and `awusbmanager-headless list`. Hub, group and device are told by their indent.

    A client connects to a group, not to a device (vendor's manual): who uses the group uses all that is in it.
    """
    start = position(lines, r" ?AnywhereUSB Manager version .*", "")
    start = position(lines, r"Below are the available devices:", lines[start], start)
    end = position(lines, r"\* means Autoconnect enabled.*", CUT, start)
    last = position(lines, r"Autoconnect All: (?:en|dis)abled", CUT, end)
    if "".join(lines[last + 1 :]):
        raise Odd("text behind the end of the list")
    devices = []
    group, odd_group = "", False  # who uses the group, and whether its line can be read in two ways
    for line in filter(None, lines[start + 1 : end]):
        above = re.fullmatch(r" \S.* \(\S+:[0-9]+\)|[ *+]   \S.* \(\S+\.[0-9]+\)(?: \(In-use by (.+)\))?", line)
        if above:
            group = above[1] or ""
            odd_group = line.count("(In-use by") > bool(group)
            continue
        (match,) = record([line], 0, r"[ *+] {7}(.*) \(([^()\s]+\.[0-9]+)\)(?: \(In-use by (.+)\))?")
        user = match[3] or ("" if group == "you" else group)
        state = ATTACHED if user == "you" else USED if user else OFFERED
        if odd_group or line.count("(In-use by") > bool(match[3]):
            state = _TWO_WAYS
        elif group and user not in ("", group):
            state = "used by one and its group by another"
        devices.append(Device(match[1], "", state, user if state == USED else "", match[2]))
    return Listing(tuple(devices))


ATTACH_IT = "attach the key with usbip attach"


_NOT_OFFERED = (UNKNOWN, f"is not offered, and {NOT_LISTED_WHEN_USED}: run this check where the key is attached")


def read_usbip(lines: Sequence[str]) -> Reading:
    """`usbip port` (what this machine has attached) and `usbip list -r HOST` (what a server offers).

    What they say of themselves stands before a list (no file of names), or in its place (kernel source tools/usb/usbip).
    """
    lines = [line for line in lines if line and not line.startswith("libusbip: error: ")]
    if lines and all(line.startswith("usbip: ") for line in lines):
        return _usbip_message(lines)
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
        return Listing(tuple(devices), absent=(CRITICAL, "is not attached here"), remedy=ATTACH_IT)
    for line in body:
        if re.match(r" - \S+$| +: ", line):
            continue
        (match,) = record([line], 0, r" {4,}([0-9][0-9.-]*): (.*) \(([0-9a-f]{4}:[0-9a-f]{4})\)")
        devices.append(Device(match[2], match[3], OFFERED, "", match[1]))
    return Listing(tuple(devices), absent=_NOT_OFFERED)


_USBIP_NO_MATTER = r"usbip: (?:info: using port [0-9]+ \(.*\)|error: failed to open \S+\.ids)"
_USBIP_ERRORS = (
    # Its word for a refused connection; any other is about the name.
    (r"could not connect to \S+: System error", CRITICAL,
     "forwarder does not answer (it says: {}): does it run there, and does a firewall let this machine in?"),
    (r"could not connect to \S+: .+", UNKNOWN, "the forwarder cannot be asked (it says: {}): is its name right?"),
    (r"open vhci_driver(?: \(is vhci_hcd loaded\?\))?", UNKNOWN,
     "what is attached here cannot be told (it says: {}): run modprobe vhci_hcd, then usbip attach"),
    (r".*", UNKNOWN, "the tool reports an error: {}"),
)  # fmt: skip


def _usbip_message(lines: Sequence[str]) -> Reading:
    told = [line for line in lines if not re.fullmatch(_USBIP_NO_MATTER, line)] or lines
    _, _, message = told[0].partition("usbip: error: ")
    for pattern, state, sentence in _USBIP_ERRORS:
        if message and re.fullmatch(pattern, message) and told is not lines:
            return Finding(state, sentence.format(runtime.clean(message, 120)))
    if len(told) > 1 or not re.fullmatch(r"usbip: info: no exportable devices found on \S+", told[0]):
        raise Odd(told[0])
    return Listing(absent=_NOT_OFFERED)


def read_usbipd_win(lines: Sequence[str]) -> Listing:
    """`usbipd state`: attached = ClientIPAddress, shared = PersistedGuid, plugged = BusId (its documentation).

    A bus id is `BUS-PORT`, both from 1, or the word `IncompatibleHub`, for a device behind a hub of another driver (its
    source; issues 947 and 1183 are dongles behind a dongle server's manager): its server offers such a device to nobody.
    """
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
    if bus is not None and not re.fullmatch(r"[1-9][0-9]{0,4}-[1-9][0-9]{0,4}", bus):
        state = UNREACHABLE if bus == "IncompatibleHub" and not client else unknown_state(f"BusId {bus}")
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

# --- USB/IP on the wire ---------------------------------------------------------------------------------------

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
