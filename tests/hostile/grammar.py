"""Hostile input, drawn from a random.Random: well-formed things with one lie in them, and mangled ones.

Raw bytes find nothing: no parser lets them past its first line. So most inputs here are built like the real ones, from
good and bad records and hostile names, and then cut, spliced and mangled. The functions use choice, random, randrange
and getrandbits alone, so that hypothesis (`st.randoms()`) and atheris (fuzz.FuzzedRandom) can decide in chance's place.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from lab import reports

SAMPLES = Path(__file__).resolve().parents[1] / "lab" / "samples"
KEY = "Senselock SenseIV"
KEY_ID = "0471:485d"
HERE = "kodeks-1.example"


# --- Pieces ---------------------------------------------------------------------------------------------------


def chance(random: Random, probability: float) -> bool:
    """True with this probability."""
    return random.random() < probability


def few(random: Random, most: int) -> int:
    """A number from 0 to `most`, small ones more often."""
    number = 0
    while number < most and chance(random, 0.55):
        number += 1
    return number


def raw(random: Random, most: int = 64) -> bytes:
    """Bytes of no form at all."""
    return bytes(random.getrandbits(8) for _ in range(random.randrange(most + 1)))


CONTROLS = ("\x00", "\x01", "\x07", "\x08", "\t", "\x0b", "\x0c", "\r", "\x1b[31m", "\x1b]0;x\x07", "\x1c", "\x1d", "\x1e", "\x7f", "\x85", "\xa0",
            "\u200b", "\u202e", "\u2028", "\u2029", "\ufeff", "\ufffe", "\U000e0041", "\ud800", "|", "||", "'", '"', "`", "$(x)", "%n",
            "\\", "\\n", "ﷺ", "a\u0300" * 4, "İ", "ß", "K", "😀", "О", "=", ";", ",", ":", "(", ")", "[", "]", "<", ">", "&")  # fmt: skip
LIES = (
    " | keys=1;;1:;0", "OK - everything works", "SENSELOCK OK - fine", "работает", "[работает]", "не работает", "SenseLock ключ -  [работает]",
    "Привязка: SenseLock ключ -  [работает]", "(In-use by you)", "(In-use by: (x) at kodeks-1.example)", "(HUB.21)", "--> Senselock SenseIV (HUB.21)",
    "Status: connected", "Mode: auto   Status: connected", "Vid: 0471   Pid: 485d   Port: 1-2", "plugged, shared", "in use by you", "0471:485d",
    "(0471:485d)", "Port 00: <Port in Use> at Full Speed(12Mbps)", "-connected to kodeks-1.example", "connected ,,1,usb3,1,,Senselock SenseIV,,,,,,,",
    "Senselock SenseIV", "ActiveState=active", "LoadState=loaded", "hs  0000 006 002 00040002 000003 1-1", "\\u0041", "&#1088;", "&amp;", "<!--", "-->",
    "<![CDATA[", "]]>", "<script>", "</script>", "<br>", "</state>", "100", "-1", "nan", "inf", "1e400", "9" * 40,
)  # fmt: skip


def hostile_text(random: Random, forbidden: str = "\n") -> str:
    """A name or a value as an attacker would choose it, without the forbidden characters."""
    pieces = [KEY[:9] if chance(random, 0.1) else ""]
    for _ in range(1 + few(random, 5)):
        kind = random.randrange(4)
        if kind == 0:
            pieces.append(random.choice(CONTROLS))
        elif kind == 1:
            pieces.append(random.choice(LIES))
        elif kind == 2:
            pieces.append(random.choice(("Hub", "Key", "Имя", "x", " ", "  ", "Brio 101", "1-2", "-", "*")))
        else:
            pieces.append(chr(random.choice((0x20, 0x7F, 0x410, 0x2000, 0x1F600)) + random.randrange(90)))
    return "".join(char for char in "".join(pieces) if char not in forbidden)


def encoded(random: Random, text: str) -> bytes:
    """The text in an encoding that a tool or a server may write."""
    encoding = "utf-8" if chance(random, 0.85) else random.choice(("cp1251", "cp866", "utf-16", "utf-16-le", "koi8-r", "latin-1"))
    if encoding == "utf-8":
        return text.encode("utf-8", "surrogatepass")
    return text.encode(encoding, "replace")


TOKENS = tuple(text.encode("utf-8", "surrogatepass") for text in (*CONTROLS, *LIES)) + (
    b"\n", b"\r\n", b"\n\n", b"\xff", b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"\xed\xa0\x80", b"\0" * 16, b"PK\x03\x04", b"\x01\x11\x00\x05",
)  # fmt: skip


def mangled(random: Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """The data after a few accidents: bits, cuts, copies, foreign pieces, lines in another order, repetition."""
    for _ in range(few(random, 6)):
        at = random.randrange(len(data) + 1)
        to = min(len(data), at + random.randrange(60))
        kind = random.randrange(10)
        if kind == 0:
            data = data[:at] + bytes((random.getrandbits(8),)) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[to:]
        elif kind == 2:
            data = data[:to] + data[at:to] + data[to:]
        elif kind in (3, 4):
            data = data[:at] + random.choice(TOKENS) + data[at:]
        elif kind == 5:
            data = data[:at]
        elif kind == 6 and others:
            other = random.choice(others)
            start = random.randrange(len(other) + 1)
            data = data[:at] + other[start : start + random.randrange(400)] + data[to:]
        elif kind == 7:
            lines = data.split(b"\n")
            first, second = random.randrange(len(lines)), random.randrange(len(lines))
            lines[first], lines[second] = lines[second], lines[first]
            data = b"\n".join(lines)
        elif kind == 8:
            data = data[:at] + raw(random, 8) + data[to:]
        elif chance(random, 0.05):
            data = data[:at] + (data[at:to] or b"x") * random.randrange(2000) + data[to:]
    return data


# --- Lists of forwarders --------------------------------------------------------------------------------------


class Listed(NamedTuple):
    """One device of a list. `condition` is one of CONDITIONS."""

    name: str
    usb_id: str
    condition: str


CONDITIONS = ("free", "mine", "theirs", "broken")
"""Offered; attached here; in use by another machine; anything else that is not good."""


class List(NamedTuple):
    """A list as a tool prints it. `tells_ids` is whether it holds vendor and product ids. `sees_users`: whether its
    reader can tell that somebody else uses a device (a server's list judges any user as good)."""

    product: str
    text: str
    tells_ids: bool
    sees_users: bool = True


def redirector_server(random: Random, devices: Sequence[Listed]) -> List:
    """`usbsrv -list`"""
    states = {"free": "plugged, shared", "mine": "in use by 192.0.2.10", "theirs": "in use by 192.0.2.30", "broken": ""}
    blocks = []
    for number, item in enumerate(devices, 1):
        status = states[item.condition] or random.choice(("plugged", "not plugged, shared", "shared", "unknown", "connected"))
        vid, pid = item.usb_id.split(":")
        blocks.append(f" {number}: {item.name}\n    Vid: {vid}   Pid: {pid}   Port: 1-{number}\n    Status: {status}\n\n")
    text = "\n================= USB SERVER OPERATION SUCCESSFUL ===============\nList of local USB devices:\n\n"
    return List("usb-redirector", f"{text}{''.join(blocks)}===================== ======================= ===================\n", True, False)


def redirector_client(random: Random, devices: Sequence[Listed]) -> List:
    """`usbclnt -list`"""
    states = {"free": "available for connection", "mine": "connected", "theirs": "in use by 192.0.2.30", "broken": ""}
    text, number = "\n================== LIST OF REMOTE USB DEVICES ===================\n", 0
    for item in devices:
        lost = item.condition == "broken" and chance(random, 0.3)
        status = states[item.condition] or ("connected" if lost else random.choice(("not available", "disconnected", "busy", "plugged, shared")))
        vid, pid = item.usb_id.split(":")
        text += f"\n   {number + 1}: USB server at 192.0.2.20:32032\n      Mode: auto-connect   Status: {'disconnected' if lost else 'connected'}\n   |\n"
        text += f"   `-   {number + 2}: {item.name}\n           Vid: {vid}   Pid: {pid}   Port: 1-2\n           Mode: auto-connect   Status: {status}\n"
        number += 2
    return List("usb-redirector", f"{text}\n===================== ======================= ===================\n", True)


def gate_windows(random: Random, devices: Sequence[Listed]) -> List:
    """`UsbService64.exe find-remote-devices`, which names the user and not whether that is this machine."""
    lines = []
    for item in devices:
        state = {"broken": "disconnected", "theirs": "connected to 192.0.2.30"}.get(item.condition, f"connected to {os.uname().nodename}")
        if item.condition == "broken" and chance(random, 0.4):
            state = random.choice(("not connected", "", "connecting", "connected", "-connected to"))
        lines.append(f"{item.name}\t-192.0.2.20:56228\t-Crypt: disabled\t-Auth: disabled\t-Compressed: disabled\t-{state}\n")
    return List("usb-network-gate", f"USB Network Gate\n\n{''.join(lines)}", False)


def gate_net(random: Random, devices: Sequence[Listed]) -> List:
    """`eveusbc ls net`"""
    lines = []
    for item in devices:
        word = {"free": "remote", "mine": "connected", "theirs": "remote", "broken": random.choice(("disconnected", "lost", ""))}[item.condition]
        user = "198.51.100.40" if item.condition == "theirs" else ""
        lines.append(f"{word} 192.0.2.20,,56228,usb3,port1,,{item.name},,,,{user},,,\n")
    return List("usb-network-gate", "".join(lines), False)


def virtualhere(random: Random, devices: Sequence[Listed]) -> List:
    """`vhclient -t LIST`; it has no word for a device that is broken, such a one is not there."""
    users = {"free": "", "mine": " (In-use by you)", "theirs": " (In-use by: (operator) at 192.0.2.30)"}
    lines = [f"   --> {item.name} (HUB.{20 + number}){users[item.condition]}\n" for number, item in enumerate(devices) if item.condition != "broken"]
    text = "VirtualHere Client IPC, below are the available devices:\n(Value in brackets = address, * = Auto-Use)\n\nLicense Hub (HUB:7575)\n"
    return List("virtualhere", f"{text}{''.join(lines)}\nAuto-Find currently on\nVirtualHere Client is running as a service\n", False)


def virtualhere_state(random: Random, devices: Sequence[Listed]) -> List:
    """`vhclient -t "GET CLIENT STATE"`"""
    text = '<?xml version="1.0" encoding="UTF-8"?>\n<state>\n'
    for number, item in enumerate(devices):
        lost = item.condition == "broken" and chance(random, 0.5)
        state = {"free": "1", "mine": "3", "theirs": "3", "broken": "1" if lost else random.choice(("0", "2", "4", "", "11"))}[item.condition]
        user = {"mine": "you", "theirs": "elsewhere"}.get(item.condition, "")
        vid, pid = (int(half, 16) for half in item.usb_id.split(":"))
        name = "".join(char for char in item.name if char >= " " and not "\ud800" <= char <= "\udfff" and char not in "\ufffe\uffff")
        text += (
            f'<server><connection connectionId="{number}" state="{random.choice("012") if lost else 3}" serverName="Hub" hostname="hub" license_max_devices="3"/>\n'
            f'<device vendor="x" product={quoteattr(name)} idVendor="{vid}" idProduct="{pid}" address="{number}" state="{state}"'
            f' boundConnectionIp="192.0.2.30" boundClientHostname="{user}" nickname=""/></server>\n'
        )
    return List("virtualhere", f"{text}</state>\n\x01", True)


def digi(random: Random, devices: Sequence[Listed]) -> List:
    """`awusbmanager list`; like VirtualHere without a word for a broken device. A user stands behind the device, its group, or both."""
    users = {"free": "", "mine": " (In-use by you)", "theirs": " (In-use by operator)"}
    lines = []
    for number, item in enumerate(devices):
        if item.condition != "broken":
            user = users[item.condition]
            where = random.choice(("device", "group", "both"))
            lines.append(f"    Group {number} (AW02.{number}){user if where != 'device' else ''}\n")
            lines.append(f"        {item.name} (AW02.11{number:02d}){user if where != 'group' else ''}\n")
    text = " AnywhereUSB Manager version 3.1.38.1 Client ID: c\nBelow are the available devices:\n\n AW02 (127.0.0.1:18574)\n"
    end = "\n* means Autoconnect enabled, + means Autoconnect inherited\nAutofind: enabled   Use All Hub Addresses: disabled\nAutoconnect All: disabled\n"
    return List("digi-anywhereusb", f"{text}{''.join(lines)}{end}", False)


def usbip_port(random: Random, devices: Sequence[Listed]) -> List:
    """`usbip port`"""
    text = "Imported USB devices\n====================\n"
    for number, item in enumerate(devices):
        status = "Port in Use" if item.condition in ("free", "mine") else random.choice(("Port Available", "Port Error", "Port Initializing", "?"))
        text += f"Port {number:02d}: <{status}> at Full Speed(12Mbps)\n       x : {item.name} ({item.usb_id})\n"
        text += f"       3-{number} -> usbip://192.0.2.20:3240/1-2\n           -> remote bus/dev 001/004\n"
    return List("usbip", text, True)


def usbip_remote(random: Random, devices: Sequence[Listed]) -> List:
    """`usbip list -r`; what is not free is not in it."""
    text = "Exportable USB devices\n======================\n - 192.0.2.20\n"
    for number, item in enumerate(devices):
        if item.condition in ("free", "mine"):
            text += f"        1-{number}: x : {item.name} ({item.usb_id})\n           : /sys/devices/usb1/1-{number}\n"
    return List("usbip", text + "\n", True)


def usbipd(random: Random, devices: Sequence[Listed]) -> List:
    """`usbipd state`"""
    entries = []
    for number, item in enumerate(devices, 1):
        broken = random.choice(("unplugged", "not shared", "incompatible")) if item.condition == "broken" else ""
        vid, pid = item.usb_id.upper().split(":")
        entries.append({
            "BusId": None if broken == "unplugged" else "IncompatibleHub" if broken == "incompatible" else f"1-{number}",
            "ClientIPAddress": "192.0.2.10" if item.condition in ("mine", "theirs") else None,
            "Description": item.name,
            "InstanceId": f"USB\\VID_{vid}&PID_{pid}\\5&2A8F8A4&0&1",
            "PersistedGuid": None if broken == "not shared" or (broken and chance(random, 0.5)) else "11111111-2222-4333-8444-555555555555",
        })  # fmt: skip
    return List("usbipd-win", json.dumps({"Devices": entries}, indent=2, ensure_ascii=chance(random, 0.5)), True, False)


FORMS: tuple[Callable[[Random, Sequence[Listed]], List], ...] = (
    redirector_server, redirector_client, gate_windows, gate_net, virtualhere, virtualhere_state, digi, usbip_port, usbip_remote, usbipd,
)  # fmt: skip


def is_another_name(name: str) -> bool:
    """Whether a name cannot be taken for the key's; a list may add stars and blanks to a name."""
    return re.sub(r"\W", "", name).casefold() != re.sub(r"\W", "", KEY).casefold()


def neighbours(random: Random) -> list[Listed]:
    """Devices beside the key, in any condition, whose names would like to be the key."""
    found = []
    for _ in range(few(random, 4)):
        name = hostile_text(random) or "x"
        usb_id = random.choice(("13ba:0017", "0471:485e", "1bc0:485d", "5d48:7104", "ffff:ffff"))
        found.append(Listed(name if is_another_name(name) else f"{name} 2", usb_id, random.choice(CONDITIONS)))
    return found


def list_with(random: Random, condition: str) -> List:
    """A list that holds the key once, in this condition ("absent": not at all), among hostile neighbours."""
    devices = neighbours(random)
    if condition != "absent":
        devices.insert(random.randrange(len(devices) + 1), Listed(KEY, KEY_ID, condition))
    return random.choice(FORMS)(random, devices)


@functools.cache
def samples() -> dict[str, tuple[bytes, ...]]:
    """The captures of each product."""
    products = {"usbclnt": "usb-redirector", "usbsrv": "usb-redirector", "usb-redirector": "usb-redirector", "usb-network-gate": "usb-network-gate",
                "virtualhere": "virtualhere", "usbipd": "usbipd-win", "usbip-": "usbip", "digi": "digi-anywhereusb"}  # fmt: skip
    found: dict[str, tuple[bytes, ...]] = {}
    for path in sorted(SAMPLES.iterdir()):
        product = next((product for start, product in products.items() if path.name.startswith(start)), None)
        if product:
            found[product] = (*found.get(product, ()), path.read_bytes())
    return found


def any_list(random: Random, product: str) -> bytes:
    """What a product's tool might print on its worst day: captures and invented lists, spliced and mangled."""
    if chance(random, 0.03):
        return raw(random, 400)
    if chance(random, 0.5):
        data = random.choice(samples()[product])
    else:
        forms = [form for form in FORMS if form(Random(0), ()).product == product]
        devices = [*neighbours(random), Listed(KEY, KEY_ID, random.choice(CONDITIONS))]
        data = encoded(random, random.choice(forms)(random, devices).text)
    return mangled(random, data, samples()[product])


# --- Pages and reports ----------------------------------------------------------------------------------------

BAD_BINDINGS = (*reports.BAD_BINDINGS, "SenseLock ключ -  []", "SenseLock ключ -  [не работает]", "SenseLock ключ -  [работает", "SenseLock ключ", "",
                "SenseLock ключ -  [работает] [не работает]", "ключ - [работает]", "SenseLock ключ -  работает", "локальная -  [РАБОТАЕТ]")  # fmt: skip


def noise(random: Random) -> str:
    """A piece of a page that shows no binding, whatever words it holds."""
    lie = escape(hostile_text(random, "\n<>&\"'")).replace("ривязка", "")
    good = "Привязка: SenseLock ключ -  [работает]"
    return random.choice((
        f"<p>{lie}</p>", f"<!-- {good} -->", f"<script>document.write('{good}')</script>", f"<style>{good}</style>", f'<img alt="{good}">',
        f"<textarea>{good}</textarea>", f"<title>{good}</title>", f"<a href='{good}'>x</a>", f"<td>работает</td><td>{lie}</td>", "<hr>",
        f"<template>{good}</template>", f"<noscript>{good}</noscript>", f'<input type=hidden value="{good}">', f"<p>Модуль: {lie} - [работает]</p>",
    ))  # fmt: skip


def binding_line(binding: str, random: Random) -> str:
    """A binding as a page shows it."""
    shown = escape(binding) if chance(random, 0.5) else binding
    return random.choice(("<BR> Привязка: {}<BR>\n", "<p>Привязка: {}</p>", "<td>привязка: {}</td>", "<div>\n Привязка:\n {}\n</div>",
                          "<tr><td>Привязка:</td>\n<td>{}</td></tr>", "<dl><dt><b>Привязка:</b><dd>{}</dl>")).format(shown)  # fmt: skip


class Document(NamedTuple):
    """A page or report and the bindings that it shows."""

    data: bytes
    good: int
    bad: int


def page_with(random: Random, good: int, bad: int) -> Document:
    """A licence page that shows so many bindings that work and that do not, among noise."""
    pieces = [binding_line(random.choice(reports.GOOD_BINDINGS), random) for _ in range(good)]
    pieces += [binding_line(random.choice(BAD_BINDINGS), random) for _ in range(bad)]
    for _ in range(few(random, 4)):
        pieces.insert(random.randrange(len(pieces) + 1), noise(random))
    head = '<html><head><meta charset="utf-8"></head><body>'
    return Document(f"{head}{shuffled(random, pieces)}</body></html>".encode("utf-8", "replace"), good, bad)


def shuffled(random: Random, pieces: Sequence[str]) -> str:
    """The pieces in any order."""
    left, done = list(pieces), ""
    while left:
        done += left.pop(random.randrange(len(left)))
    return done


def any_page(random: Random) -> bytes:
    """A page as broken as it can be."""
    if chance(random, 0.03):
        return raw(random, 300)
    pages = [page_with(random, few(random, 2), few(random, 2)).data for _ in range(2)]
    return mangled(random, pages[0], pages)


def decoy(random: Random) -> tuple[str, reports.Fields]:
    """A fact that speaks of SenseLock or of something that works, and is not the record of the key."""
    if chance(random, 0.5):
        return random.choice((*reports.NEIGHBOURS, *reports.DECOYS))
    kind = random.choice(("user", "document", "driver", "module", "log"))
    name = random.choice(("Служба SenseLock", "Банк документов", "Памятка по SenseLock", "SenseLock driver"))
    return kind, (("name", name), ("state", random.choice(("работает", "[работает]", "действует", "ok"))))


FAILING_BINDINGS = reports.BAD_BINDINGS
OTHERS = ("log", "users", "events", "Журнал", "documents", "help", "history", "previous", "queries", "legend", "sessions", "changelog", "Новости", "yesterday")


def elsewhere(random: Random, record: str) -> str:
    """A record that works among things that only bear the key's name, with so much around it that nothing else is near."""
    other = random.choice(OTHERS)
    far = f"<e>{'x' * random.choice((1, 100, 3000))}</e>" * random.choice((0, 1, 3, 10))
    return f"<{other}>{far}<a>{far}{record}</a>{far}</{other}>\n"


def report_with(random: Random, good: int, bad: int) -> Document:
    """A report in one of the invented schemas with so many records that work and that do not."""
    shape = reports.SCHEMAS[random.choice(tuple(reports.SCHEMAS))]
    pieces = [shape.record(random.choice(reports.GOOD_BINDINGS)) for _ in range(good)]
    pieces += [shape.record(random.choice(FAILING_BINDINGS)) for _ in range(bad)]
    pieces += [shape.fact(*decoy(random)) for _ in range(few(random, 5))]
    if chance(random, 0.3):
        pieces.append(elsewhere(random, shape.record(random.choice(reports.GOOD_BINDINGS))))
    encoding = "utf-8" if chance(random, 0.8) else random.choice(("windows-1251", "koi8-r", "utf-16"))
    declared = "utf-16" if encoding == "utf-16" else encoding
    text = f'<?xml version="1.0" encoding="{declared}"?>\n<{shape.root}{shape.attributes}>\n{shuffled(random, pieces)}</{shape.root}>\n'
    return Document(text.encode(encoding, "xmlcharrefreplace"), good, bad)


def any_report(random: Random) -> bytes:
    """A report as broken as it can be; ZIP archives too."""
    if chance(random, 0.03):
        return raw(random, 300)
    data = report_with(random, few(random, 2), few(random, 2)).data
    others = (report_with(random, 1, 0).data, b'<!DOCTYPE a [<!ENTITY s "SenseLock \xd0\xba\xd0\xbb\xd1\x8e\xd1\x87 -  [">]>', b"<!DOCTYPE html>")
    data = mangled(random, data, others)
    if chance(random, 0.15):
        members = [(random.choice((reports.report_name(), "a.xml", "../x.xml", "a.XML", "b.txt", "\x1b.xml")) + "/.xml" * number, [data]) for number in range(1 + few(random, 2))]
        archive = reports.zip_members(members, comment=raw(random, 20) if chance(random, 0.2) else b"")
        data = mangled(random, archive) if chance(random, 0.6) else archive
    return data


# --- Answers, files, arguments --------------------------------------------------------------------------------


def http_answer(random: Random) -> bytes:
    """Bytes that an HTTP server might send, honest or not."""
    body = any_page(random) if chance(random, 0.7) else any_report(random)
    status = random.choice((b"200 OK", b"200 OK", b"200 OK", b"200 OK", b"302 Found", b"307 x", b"401 x", b"403 x", b"503 x", b"500 x", b"100 Continue", b"999"))
    head = [b"HTTP/1." + random.choice((b"1", b"0")) + b" " + status]
    if chance(random, 0.3):
        target = random.choice(("/admin/lic", "//evil.example/", "https://evil.example/", "http:kodeks.example", "\\\\evil.example", "/x", "?", "#", "javascript:x", "@evil.example", hostile_text(random)))
        head.append(b"Location: " + target.encode("utf-8", "replace"))
    if chance(random, 0.4):
        head.append(b"Content-Type: text/html; charset=" + random.choice((b"utf-8", b"windows-1251", b'"x', b"utf-7", b"idna", b"hex")))
    if chance(random, 0.3):
        head.append(b"Set-Cookie: " + hostile_text(random).encode("utf-8", "replace") + random.choice((b"", b"=1", b"=secretsecret; Max-Age=0")))
    if chance(random, 0.2):
        head.append(b"Server: " + hostile_text(random).encode("utf-8", "replace"))
    kind = random.randrange(5)
    if kind == 0:
        head.append(b"Transfer-Encoding: chunked")
        half = random.randrange(len(body) + 1)
        body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part) + b"0\r\n\r\n"
    elif kind < 4:
        head.append(b"Content-Length: %d" % (len(body) + random.choice((0, 0, 0, 0, -1, 1, 1000, -2000))))
    answer = b"\r\n".join([*head, b"", b""]) + body
    return mangled(random, answer) if chance(random, 0.4) else answer


def devlist_answer(random: Random) -> bytes:
    """Bytes that a USB/IP server might send to OP_REQ_DEVLIST."""
    devices = []
    for number in range(few(random, 3)):
        ids = bytes.fromhex(random.choice((KEY_ID, "13ba:0017")).replace(":", ""))
        busid = (f"1-{number}" if chance(random, 0.7) else hostile_text(random)).encode("utf-8", "surrogatepass")[:31]
        interfaces = random.choice((0, 1, 1, 2, 255))
        head = b"/sys/devices/x".ljust(256, b"\0") + busid.ljust(32, b"\0") + bytes(12) + ids + bytes(7) + bytes((interfaces,))
        devices.append(head + bytes(4 * interfaces))
    count = len(devices) if chance(random, 0.8) else random.choice((0, 1, 1024, 1025, 0xFFFFFFFF))
    answer = bytes.fromhex("0111000500000000") + count.to_bytes(4, "big") + b"".join(devices)
    return mangled(random, answer) if chance(random, 0.6) else answer


def vhci_status(random: Random) -> bytes:
    """The kernel's vhci status file, or what stands in its place."""
    lines = ["hub port sta spd dev      sockfd local_busid"]
    for number in range(few(random, 6)):
        state = random.choice(("004", "004", "005", "006", "006", "006", "007", "06"))
        lines.append(f"{random.choice(('hs', 'hs', 'ss', 'ss', 'ss', 'xx'))}  {number:04d} {state} 002 00040002 000003 {random.choice(('1-1', '3-1.2', '0-0', '1-1', 'x'))}")
    data = "\n".join([*lines, ""]).encode()
    return mangled(random, data) if chance(random, 0.5) else data


def systemd_answer(random: Random) -> bytes:
    """What `systemctl show` might print."""
    lines = []
    values = {"LoadState": ("loaded", "not-found", "masked", "error", ""), "ActiveState": ("active", "reloading", "inactive", "failed", "activating", "deactivating", ""),
              "SubState": ("running", "exited", "dead", "auto-restart", "start-pre", ""), "Result": ("success", "exit-code", "timeout", ""),
              "FreezerState": ("running", "frozen", "freezing", "")}  # fmt: skip
    for key, choices in values.items():
        for _ in range(1 + (few(random, 1) if chance(random, 0.1) else 0)):
            if chance(random, 0.92):
                lines.append(f"{key}={random.choice(choices[: 1 if chance(random, 0.6) else None]) if chance(random, 0.95) else hostile_text(random)}")
    return mangled(random, "\n".join([*lines, ""]).encode("utf-8", "surrogatepass")) if chance(random, 0.5) else "\n".join([*lines, ""]).encode("utf-8", "surrogatepass")


def ini(random: Random) -> bytes:
    """An ini file as --extra-opts reads it."""
    lines = [random.choice(("[check_kodeks_xml]", "[check_usb_redirector]", "[check_senselock]", "[x]", "\ufeff[x]", ""))]
    for _ in range(few(random, 8)):
        option = random.choice(OPTIONS)
        lines.append(random.choice((
            "[check_kodeks_xml]", "[check_usb_redirector]", "[check_senselock]", "[ x ]", f"{option.lstrip('-')}={value(random, '')}", option, f"password={hostile_text(random)}",
            "# remark", "; remark", hostile_text(random), "=", "[", "extra-opts=@/dev/null", "verbose",
        )))  # fmt: skip
    return mangled(random, "\n".join(lines).encode("utf-8", "surrogatepass"))


def number_text(random: Random) -> str:
    """A number as people and attackers write it."""
    return random.choice(("0", "1", "7", "30", "-1", "0.5", "10", "1e3", "nan", "inf", "-inf", "٣", "0x10", "1_0", "+1", " 1", "1 ", "1.", ".5", "9" * 30, "-0", "00", "1,5", ""))


def range_text(random: Random) -> str:
    """A threshold, right or wrong."""
    form = random.choice(("{0}", "{0}:", ":{0}", "{0}:{1}", "@{0}:{1}", "~:{0}", "@{0}", "@~:{0}", "{0}::{1}", "@@{0}", "~{0}", "{0}:~", "{2}", "{0}{2}"))
    return form.format(number_text(random), number_text(random), hostile_text(random) if "2" in form else "")


def time_limit_text(random: Random) -> str:
    """A value of -t, right or wrong."""
    if chance(random, 0.1):
        return hostile_text(random)
    return number_text(random) + random.choice(("", ":", ":critical", ":OK", ":ok", ":0", ":2", ":WARNING", "::", ":unknown ", ":ｃritical"))


OPTIONS = ("-v", "-vv", "-vvv", "-t", "--timeout", "--extra-opts", "-H", "--hostname", "-p", "--port", "-S", "--insecure", "-l", "--password-file", "--source", "--unreachable",
           "--probe-license-manager", "--file", "-w", "-c", "--warning", "--critical", "--record", "--working", "--max-size", "--usb-id", "--serial", "--location", "--product",
           "--side", "--license-expires", "--device", "--client", "--list-command", "--list-output", "--list-max-age", "--no-list", "--utn-code", "--process", "--service",
           "--log", "--log-pattern", "--log-hold", "--state-dir", "--crit", "--password", "--", "-", "-x", "--verbose", "-vH")  # fmt: skip


def value(random: Random, option: str) -> str:
    """A value for an option: often one that it takes, sometimes nonsense. Hosts are loopback addresses or no names."""
    if option in ("-H", "--hostname"):
        return random.choice(("127.0.0.1", "::1", "[::1]", "localhost", "", "a b", "-x", "x\x01y", "127.0.0.1/x", "[", "a|b c"))
    if option == "--list-command":
        return random.choice(("true", "false", "/nonexistent/tool", "", "'", "cat /dev/null", "echo x", "/", "."))
    if option in ("--state-dir", "--log", "--file", "--list-output", "--password-file"):
        return random.choice(("", "/dev/null", "/", "/nonexistent", "/proc/self/cmdline", ".", "a|b", "x\x01", "-", "@"))
    if option in ("--extra-opts",):
        return random.choice(("", "@", "@/dev/null", "x@/nonexistent", "@/", "x"))
    if option in ("-w", "-c", "--warning", "--critical"):
        return range_text(random)
    if option in ("-t", "--timeout"):
        return random.choice(("5", "5:critical", "9.5:warning", "0", "-1", "5:ok", "", "nan"))
    good = {
        "-p": ("80", "0", "65536", "1"), "--port": ("9", "-9"), "--source": ("page", "zip", "xml", "x"), "--unreachable": ("critical", "ok", "3"), "--max-size": ("1", "0", "9" * 9),
        "--usb-id": (KEY_ID, "0471", "0471:485D", "zzzz:zzzz"), "--location": ("local", "forwarded", ""), "--product": (*samples(), "generic", "seh-utn", "usb-over-network", "distkontrol"),
        "--side": ("server", "client"), "--license-expires": ("perpetual", "2031-01-31", "2031-02-31", "1999-01-01", "20310131"), "--device": (KEY_ID, KEY, ""),
        "--utn-code": ("0=ok", "25=ok", "x=ok", "1=2"), "--log-pattern": ("x", "(", "(a+)+$", "(?i)error", ""), "--log-hold": ("5", "nan", "1e9"), "--record": ("/a/b", "/a[2]/@b", "a", "//"),
        "--service": ("-x", "ssh.service", "a b", "ftnlsv3"), "--process": ("python3", "x", ""), "--password": ("secret",), "--extra-opts": ("@",),
    }.get(option)  # fmt: skip
    if good and chance(random, 0.8):
        return random.choice(good)
    return hostile_text(random) or "x"


def arguments(random: Random) -> list[str]:
    """An argument list: options with values, values without options, options without values."""
    found: list[str] = []
    for _ in range(few(random, 7)):
        option = random.choice(OPTIONS)
        kind = random.randrange(6)
        if kind < 3:
            found += [option, value(random, option)]
        elif kind == 3:
            found.append(f"{option}={value(random, option)}")
        elif kind == 4:
            found.append(option)
        else:
            found.append(value(random, option))
    return [text.replace("\0", "") for text in found]
