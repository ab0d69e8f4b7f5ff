"""What is right, told without a line of the checks' code: the contract of the output, and when OK may be said.

The oracle of a good state asks for less than the check does: it says which inputs CANNOT mean a working key. So a
check that is stricter passes, and one that says OK without a reason in its input does not.
"""

from __future__ import annotations

import html
import json
import math
import os
import re
import struct
import unicodedata
import xml.etree.ElementTree as ElementTree
import xml.sax
import xml.sax.xmlreader
import zlib
from collections.abc import Iterator

STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
OK = 0
LIMIT = 4000


# --- The contract of the output (Monitoring Plugins Development Guidelines) ------------------------------------


def number_at(text: str, at: int) -> int:
    """The end of the decimal number that starts at `at`, or `at` where none does."""
    start = at
    if text[at : at + 1] == "-":
        at += 1
    digits = at
    while text[at : at + 1] in tuple("0123456789"):
        at += 1
    if at == digits:
        return start
    if text[at : at + 1] == "." and text[at + 1 : at + 2] in tuple("0123456789"):
        at += 1
        while text[at : at + 1] in tuple("0123456789"):
            at += 1
    return at


def is_number(text: str) -> bool:
    """Whether a text is a decimal number and nothing else."""
    return bool(text) and number_at(text, 0) == len(text)


def is_range(text: str) -> bool:
    """Whether a text is a range as the guidelines define it; the empty one is allowed in perfdata."""
    text = text[1:] if text[:1] == "@" else text
    start, colon, end = text.partition(":")
    if not colon:
        return not start or is_number(start)
    return (not start or start == "~" or is_number(start)) and (not end or is_number(end))


def perfdata_breaches(text: str) -> list[str]:
    """What is wrong with a perfdata text: `'label'=value[UOM];[warn];[crit];[min];[max]`, one blank between two."""
    found = []
    labels: list[str] = []
    for item in text.split(" "):
        label, equals, rest = item.partition("=")
        if not equals or not re.fullmatch(r"[a-z_]+", label):
            found.append(f"perfdata label in {item!r}")
            continue
        labels.append(label)
        value, *limits = rest.split(";")
        end = number_at(value, 0)
        if not end or value[end:] not in ("", "s", "ms", "us", "%", "B", "KB", "MB", "GB", "TB", "c"):
            found.append(f"perfdata value in {item!r}")
        if len(limits) > 4 or not all(map(is_range, limits[:2])) or not all(not limit or is_number(limit) for limit in limits[2:]):
            found.append(f"perfdata limits in {item!r}")
    if len(set(labels)) < len(labels):
        found.append(f"perfdata names a label twice: {text!r}")
    return found


def control_characters(text: str) -> list[str]:
    """The characters of a text that could move a cursor, end a line or turn its direction."""
    return sorted({char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn")})


def output_breaches(stdout: bytes, code: int, service: str, encoding: str = "utf-8") -> list[str]:
    """Every breach of the contract in what a check printed."""
    found = []
    if code not in range(4):
        found.append(f"exit code {code}")
    if not 0 < len(stdout) <= LIMIT:
        found.append(f"{len(stdout)} bytes")
    try:
        text = stdout.decode(encoding)
    except UnicodeDecodeError as error:
        return [*found, f"the output is no {encoding}: {error}"]
    if not text.endswith("\n"):
        found.append("the last line does not end")
    line, *details = text.removesuffix("\n").split("\n")
    for shown in (line, *details):
        if control_characters(shown):
            found.append(f"control characters {control_characters(shown)!r} in {shown!r}")
    sentence, bar, perfdata = line.partition(" | ")
    if "|" in sentence or "|" in perfdata or any("|" in detail for detail in details):
        found.append(f"a stray | in {text!r}")
    if bar:
        found += perfdata_breaches(perfdata)
    state = STATES[code] if code in range(4) else "?"
    if not sentence.startswith(f"{service} {state} - ") or not sentence.removeprefix(f"{service} {state} - ").strip():
        found.append(f"the first line is {line!r} with exit code {code}")
    return found


# --- Numbers against ranges -----------------------------------------------------------------------------------


def inside(text: str, value: float) -> bool:
    """Whether `value` raises no alarm for the range `text` (guidelines, "Threshold and Ranges")."""
    inverted = text.startswith("@")
    start, colon, end = text.removeprefix("@").partition(":")
    if not colon:
        start, end = "0", start
    low = -math.inf if start == "~" else float(start or 0)
    high = float(end) if end else math.inf
    return (low <= value <= high) != inverted


# --- The key as the server sees it ----------------------------------------------------------------------------

WORKS = "работает"
SAYS_WORKS = re.compile(r"(?<![\w-])(?<!не )(?<!не)работает(?!\w)")
CONTEXT = re.compile("sense[ _-]?lock|ривязк|локальная|домен", re.IGNORECASE)
# What a failing binding says in field captures.
FAILURES = ('device "senselock" not found', "user limit exceeded", "key limit exceeded", "не авторизовал ключ",
            "key is not available", "невозможно получить привязку", "не работает", "ошибка защиты")  # fmt: skip


def collapsed(text: str) -> str:
    """The text with every run of blanks made one."""
    return " ".join(text.split())


def decodings(data: bytes) -> Iterator[str]:
    """The text of some bytes in every encoding that a Kodeks server or a Windows tool may write."""
    for encoding in ("utf-8", "cp1251", "koi8-r", "cp866", "iso8859-5", "utf-16-le", "utf-16-be", "latin-1"):
        yield data.decode(encoding, "replace")


def page_may_be_good(text: str) -> bool:
    """Whether a page shows, anywhere at all, a binding that works. A tag that is not closed goes on to the next one's end."""
    good = r"ривязка:? ?(?:senselock ключ|локальная|домен к .+?) - \[ ?работает ?\]"
    readings = (collapsed(html.unescape(re.sub(tag, "", text))) for tag in ("<[^<>]*>", "<[^>]*>"))
    return any(re.search(good, shown, re.IGNORECASE) for shown in readings)


def may_say_works(text: str) -> bool:
    """Whether the word for "works" stands anywhere in a text once markup and entities are gone."""
    bare = re.sub(r"<!\[CDATA\[|\]\]>|<[^<>]*>", "", text)
    return any(SAYS_WORKS.search(shown) or WORKS in shown.replace("не ", "") for shown in map(html.unescape, (text, bare)))


class _Strings(xml.sax.ContentHandler):
    """Collects every text of a document, read without namespaces."""

    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def startElement(self, name: str, attrs: xml.sax.xmlreader.AttributesImpl) -> None:
        self.found += [name, *attrs.getNames(), *(attrs.getValue(key) for key in attrs.getNames())]

    def characters(self, content: str) -> None:
        self.found.append(content)


def strings_of(data: bytes) -> list[str] | None:
    """Every text of an XML document: tags, attributes, text between tags; None where it is not well-formed XML."""
    found: list[str] = []
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError):
        # A colon in a wrong place breaks the rules of namespaces, but not those of XML.
        handler = _Strings(found)
        try:
            xml.sax.parseString(data, handler)
        except (xml.sax.SAXException, ValueError, LookupError):
            return None
        return found
    for element in root.iter():
        found += [element.tag, *element.attrib, *element.attrib.values(), element.text or "", element.tail or ""]
    return found


def answer_may_be_good(answer: bytes) -> bool:
    """Whether an HTTP answer says anywhere, in one piece or in chunks, that something works. Archives are not opened."""
    # Chunks may cut a word: the lines with their sizes are taken out. UTF-16 needs the right one of two beginnings.
    joined = re.sub(rb"\r?\n?[ \t]*[0-9A-Fa-f]+[ \t]*(?:;[^\r\n]*)?\r?\n", b"", answer)
    body = re.split(rb"\r?\n\r?\n", answer, maxsplit=1)[-1]
    texts = (text for data in (answer, answer[1:], body, joined, joined[1:]) for text in decodings(data))
    return b"PK" in answer or any(map(may_say_works, texts))


def report_breaches(data: bytes) -> list[str]:
    """Why this report cannot mean a working key."""
    found = []
    strings = strings_of(data)
    if strings is None:
        return ["not well-formed"]
    wide = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
    text = data.decode(wide.get(data[:2], "latin-1"), "replace")
    if "<!ENTITY" in re.sub(r"<!\[CDATA\[.*?\]\]>|<!--.*?-->|<\?.*?\?>", "", text, flags=re.DOTALL):
        found.append("declares entities")
    whole = collapsed(" ".join(strings))
    # Text that is only marked up inside a text (a page in a CDATA section) may hold entities of its own.
    shown = collapsed(html.unescape(re.sub(r"<[^<>]*>", "", whole)))
    if not SAYS_WORKS.search(shown):
        found.append(f"does not say {WORKS}")
    if not CONTEXT.search(shown):
        found.append("names no key and no binding")
    for text in map(collapsed, strings):
        if len(text) > 1000:
            continue  # longer than a record may be, whatever it says
        match = re.fullmatch(r"(?:Привязка: ?)?(?:SenseLock ключ|локальная|домен к [^-]+) - (?:\[([^\[\]]*)\]|Ошибка защиты.*)", text)
        if match and match[1] != WORKS and any(failure in text.casefold() for failure in FAILURES):
            found.append(f"says {text!r}")
    return found


def archive_breaches(data: bytes) -> list[str]:
    """Why no member of this ZIP can mean a working key. Members are told by their local headers, not by the directory."""
    sizes = {struct.unpack_from("<I", data, at.start() + 20)[0] for at in re.finditer(rb"PK\x01\x02", data[:-24])}
    found: list[str] = []
    for at in re.finditer(rb"PK\x03\x04", data[:-30]):
        body = data[at.start() + 30 + sum(struct.unpack_from("<2H", data, at.start() + 26)) :]
        try:
            unpacked = [zlib.decompressobj(-15).decompress(body, 1 << 24)]
        except zlib.error:
            unpacked = []
        breaches = [report_breaches(member) + record_breaches(member) for member in (*unpacked, *(body[:size] for size in sizes))]
        if not all(breaches):
            return []
        found += [text for texts in breaches for text in texts]
    return found or ["no member"]


# What only bears the key's name, by the beginnings of words: people, texts, what was, other machines, software.
NOT_THE_KEY = re.compile(
    r"\b(?:user|пользоват|log(?:s|ging)?\b|журнал|event|событ|message|сообщ|docs?\b|document|документ|quer|запрос|help|example|пример|hosts|volume|"
    r"том(?:а|ы|ов)?\b|баз[аыу]?\b|previous|old\b|histor|expected|default|предыд|истори|ожида|servic|служб|driver|драйвер|process\b|process?es|"
    r"процесс|daemon|демон(?:ы|ов)?\b|install(?:ed|s)\b|legend|легенд|enum\b|possible|возможн|demo\b|trial\b|cache|yesterday|before\b|"
    r"вчера|news\b|новост|changelog|ticket|search|поиск|session|сеанс|codes\b)"
)
SENTENCE = re.compile(r"(?:[Пп]ривязка: ?)?(?:senselock ключ|локальная|домен к [^\s]+) - \[ ?работает ?\]", re.IGNORECASE)
REFUTED = re.compile(r"извлеч[её]н|unplugged|disconnected|не найден|не работа|отсутств|not found|not available|exceeded|ошибка защиты [0-9]|\bдемо\b|\bdemo\b")
# What bears the name of a customer, a machine or a product, which may hold any word; and the first of several in a title.
NAMED_BY_PEOPLE = re.compile(
    r"(?:server|host|computer|machine|client|customer|organi[sz]ation|company|licen[sc]e|registration|product|report|sysinfo|installation|"
    r"сервер|хост|компьютер|машина|клиент|заказчик|организация|компания|лицензия|регистрация|продукт|отч[её]т|установка)"
)
SEVERAL = re.compile(r"[,;/&]|\bи\b|\band\b")
NUMBERS_OF_ERRORS = ("4107", "4111", "4112", "4113", "4116", "4117", "4118")


def words_of(*names: str) -> str:
    """The words of some names, parted by blanks, in lower case."""
    parted = (re.sub(r"(?<=[a-zа-яё])(?=[A-ZА-ЯЁ])", " ", name.rpartition("}")[2].rpartition(":")[2]) for name in names)
    return re.sub(r"[\W_]+", " ", " ".join(parted)).lower()


def texts_around(element: ElementTree.Element, own: str) -> Iterator[str]:
    """For each child the text in the middle of which it stands: all of a small element's `own`, of a large one what is next to it."""
    if not own.strip() or len(ElementTree.tostring(element, "unicode")) < 8000:
        yield from (own for _ in element)
        return
    before = element.text or ""
    for child in element:
        yield before + (child.tail or "")
        before = child.tail or ""


def record_breaches(data: bytes) -> list[str]:
    """Why no record in this report can mean a working key: each of its good words is a part of a text, or of another thing."""
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError):
        return []  # what is not well-formed is told by report_breaches(); a colon in a wrong place is no matter here
    good, refuted = False, ""
    waiting: list[tuple[ElementTree.Element, bool, bool, bool]] = [(root, False, False, False)]
    while waiting:
        element, other, mixed, ours = waiting.pop()
        whole = collapsed(" ".join(element.itertext())) if len(element) < 200 else ""
        own = "".join([element.text or "", *(child.tail or "" for child in element)])
        named = [*element.attrib.items(), *((child.tag, child.text or "") for child in list(element)[:1] if not len(child))]
        kinds = [value for key, value in named if words_of(key).split()[-1:] in (["name"], ["title"], ["type"], ["kind"], ["id"])]
        if element is not root:
            titles = [] if NAMED_BY_PEOPLE.fullmatch(words_of(element.tag)) else [SEVERAL.split(kind, maxsplit=1)[0] for kind in kinds]
            other = other or any(NOT_THE_KEY.search(words_of(name)) for name in (element.tag, *titles))
        short = [element.tag, *(kind for kind in kinds if len(kind) < 30 and not other)]
        ours = ours or any(word in name.lower() for name in short for word in ("senselock", "binding", "привязка"))
        texts = [*((key, collapsed(value)) for key, value in element.attrib.items()), ("", whole if own.strip() else "")]
        for key, text in texts:
            shown = collapsed(html.unescape(re.sub(r"<[^<>]*>", " ", text)))
            is_state = text in (WORKS, f"[{WORKS}]") or bool(SENTENCE.fullmatch(text)) or ("<" in text and bool(SENTENCE.search(shown)))
            good = good or (is_state and not mixed and not (other or NOT_THE_KEY.search(words_of(key))))
            about = words_of(key) + words_of(element.tag)
            absent = text.casefold() in ("0", "no", "false", "нет") and re.search("found|present|connected|найден|наличие", about)
            if len(text) > 1000:
                continue  # longer than a record may be, whatever it says
            if ours and (absent or REFUTED.search(text.casefold()) or (text in NUMBERS_OF_ERRORS and re.search("err|code|ошиб|код", about))):
                refuted = text
        waiting += ((child, other, mixed or bool(text.strip()), ours) for child, text in zip(element, texts_around(element, own)))
    found = [] if good else ["no whole text that says it works outside of other things"]
    return [*found, f"the key's record says {refuted!r}"] if refuted else found


# --- The key in a forwarder's list ----------------------------------------------------------------------------


def plain(text: str) -> str:
    """A name without case and blanks, as a line of output can show it."""
    return collapsed("".join(char if char.isprintable() else " " for char in text.replace("|", "/"))).casefold()


def names_here() -> tuple[str, ...]:
    """How a list may call this machine."""
    return (os.uname().nodename.casefold(), "you")


def _lines_around(lines: list[str], wanted: str) -> Iterator[tuple[str, str]]:
    """Each line that bears the wanted id or name, and the lines around it as one text."""
    for at, line in enumerate(lines):
        if plain(wanted) in plain(line):
            yield line, "\n".join(lines[max(0, at - 2) : at + 3])


def list_may_be_good(product: str, data: bytes, wanted: str) -> bool:
    """Whether a list shows, in any reading of its bytes, the wanted device near a good state of this product."""
    texts = [data.decode("utf-8", "surrogateescape"), *decodings(data)]
    return any(_text_may_be_good(product, text.replace("\r\n", "\n").lstrip("\ufeff"), wanted) for text in texts)


def _text_may_be_good(product: str, text: str, wanted: str) -> bool:
    if product == "usbipd-win":
        return _usbipd_may_be_good(text, wanted)
    if product == "virtualhere" and text.lstrip("\n \x01").startswith("<"):
        return _client_state_may_be_good(text.strip("\n \x01"), wanted)
    lines = [line for line in text.split("\n") if line.strip(" |\t")]
    if product == "usb-redirector":
        if ":" in wanted:
            vendor, model = wanted.split(":")
            wanted = f"vid: {vendor} pid: {model}"
        good = r"Status: (connected|available for connection|plugged, shared|in use by )"
        return any(re.search(good, around) for _, around in _lines_around(lines, wanted))
    if product == "usb-network-gate":
        return any(re.search(rf"-connected to (?:{re.escape(os.uname().nodename)})\b|^connected |^remote |^shared ", line, re.IGNORECASE) for line, _ in _lines_around(lines, wanted))
    if product in ("virtualhere", "digi-anywhereusb"):
        here = "|".join(map(re.escape, names_here()))

        def ours(line: str) -> bool:
            return "in-use by" not in line.casefold() or bool(re.search(rf"in-use by:?.*\b(?:{here})\b", line.casefold()))

        # What is in a group is used by who uses the group: the last line above that is indented less.
        return any(
            ours(line) and (product == "virtualhere" or not (above := [item for item in lines[:at] if item[1:8].strip()]) or ours(above[-1]))
            for at, line in enumerate(lines) if plain(wanted) in plain(line)
        )  # fmt: skip
    if product == "usbip":
        return any("<Port in Use>" in around or re.match(r"\s+[0-9][0-9.-]*: ", line) for line, around in _lines_around(lines, wanted))
    raise AssertionError(product)


def _usbipd_may_be_good(text: str, wanted: str) -> bool:
    try:
        entries = json.loads("\n".join(line.rstrip() for line in text.split("\n")))["Devices"]
        shown = [(str(entry["Description"]), str(entry["InstanceId"]), entry) for entry in entries]
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    vendor, _, model = wanted.upper().partition(":")
    return any(
        (plain(wanted) == plain(name) or f"VID_{vendor}&PID_{model}" in place.upper())
        and str(entry.get("BusId")).replace("-", "", 1).isdecimal() and (entry.get("PersistedGuid") or entry.get("ClientIPAddress"))
        for name, place, entry in shown
    )  # fmt: skip


def _client_state_may_be_good(text: str, wanted: str) -> bool:
    # Without colons, which the rules of namespaces forbid in places where XML itself does not.
    text = "\n".join(line.rstrip() for line in text.split("\n")).strip("\n\x01 ").replace(":", "_").encode("utf-8", "replace").decode()
    try:
        root = ElementTree.fromstring(re.sub(r"^<\?xml.*?\?>", "", text))
    except (ElementTree.ParseError, ValueError, LookupError):
        return False
    for server in root.iter("server"):
        if any(item.get("state") == "3" for item in server.iter("connection")):
            for device in server.iter("device"):
                usb_id = ":".join(f"{int(device.get(key, '0')):04x}" for key in ("idVendor", "idProduct"))
                names = map(plain, (device.get("nickname", ""), device.get("product", "")))
                users = plain(f"{device.get('boundClientHostname')} {device.get('boundConnectionIp')}")
                good = device.get("state") == "1" or any(name in users for name in names_here())
                if good and (wanted == usb_id or plain(wanted) in names):
                    return True
    return False
