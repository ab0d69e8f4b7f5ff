"""Invented sysinfo reports: XML of any size, and the ZIP archives they travel in.

The element names of a real Kodeks sysinfo report are not public; its manual describes the contents in words only: the
state of SenseLock, database volumes, licence terms, users, versions. So this module does not imitate one schema. It
writes the same facts in ten differently shaped schemas (SCHEMAS), and a check that reads all of them was fitted to none.
Every name, number and address in here is invented; the binding texts are those of published field captures.

`report()` streams: any size, exact to the byte, a few kilobytes of memory. Everything is deterministic.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from xml.sax.saxutils import escape, quoteattr

MADE = datetime(2026, 11, 23, 20, 8)
"""When the reports were made, unless a caller says otherwise (server's local time, as in a report's file name)."""

# What a licence page shows after "Привязка:", from published field logs (doubled blanks are theirs, the address is not).
LICENSE_MANAGER = "10.0.0.8:8888"
WORKS = "SenseLock ключ -  [работает]"
WORKS_LOCAL = "локальная -  [работает]"
NOT_FOUND = 'SenseLock ключ -  [Device "SenseLock" not found]'
USER_LIMIT = f"SenseLock ключ -  [User limit exceeded (1) (license manager configured at {LICENSE_MANAGER})]"
KEY_LIMIT = (
    "SenseLock ключ -  [Менеджер лицензий не авторизовал ключ, key limit exceeded"
    f" (менеджер лицензий настроен на {LICENSE_MANAGER})]"
)
NOT_AVAILABLE = f"SenseLock ключ -  [Key is not available (license manager configured at {LICENSE_MANAGER})]"
NO_BINDING = "домен к KODEKS -  [Невозможно получить привязку]"
# The older form without brackets, from the vendor's documentation of the protection errors.
NOT_CONNECTED = "SenseLock ключ - Ошибка защиты 4111 Not connected"

GOOD_BINDINGS = (WORKS, WORKS_LOCAL)
BAD_BINDINGS = (NOT_FOUND, USER_LIMIT, KEY_LIMIT, NOT_AVAILABLE, NO_BINDING, NOT_CONNECTED)

Fields = Sequence[tuple[str, str]]
"""One fact of a report, name and value in the order they are written."""


# --- Schemas: how a fact and the record of the key are written -------------------------------------------------------


def as_elements(kind: str, fields: Fields) -> str:
    """`<volume><name>7475.db6</name></volume>`"""
    return f"<{kind}>" + "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields) + f"</{kind}>\n"


def as_attributes(kind: str, fields: Fields) -> str:
    """`<volume name="7475.db6"/>`"""
    return f"<{kind} " + " ".join(f"{name}={quoteattr(value)}" for name, value in fields) + "/>\n"


def as_pairs(kind: str, fields: Fields) -> str:
    """`<item><name>volume name</name><value>7475.db6</value></item>`"""
    pairs = (f"<item><name>{kind} {name}</name><value>{escape(value)}</value></item>" for name, value in fields)
    return "<group>" + "".join(pairs) + "</group>\n"


def as_params(kind: str, fields: Fields) -> str:
    """`<section name="volume"><param name="name" value="7475.db6"/></section>`"""
    params = (f'<param name="{name}" value={quoteattr(value)}/>' for name, value in fields)
    return f'<section name="{kind}">' + "".join(params) + "</section>\n"


def as_rows(kind: str, fields: Fields) -> str:
    """`<row><c>volume</c><c>7475.db6</c></row>`: the name of a column is known by its place only."""
    return f"<row><c>{kind}</c>" + "".join(f"<c>{escape(value)}</c>" for _, value in fields) + "</row>\n"


def subject_and_state(binding: str) -> tuple[str, str]:
    """Split a binding text as a schema with separate fields would: `("SenseLock ключ", "работает")`."""
    subject, _, state = binding.partition(" - ")
    return subject.strip(), re.sub(r"^\[(.*)\]$", r"\1", state.strip(), flags=re.DOTALL)


def tagged_record(binding: str) -> str:
    """The element is named after the protection and its child holds nothing but the state."""
    subject, state = subject_and_state(binding)
    tag = "SenseLock" if "SenseLock" in subject else "Binding"
    return f"<protection><{tag}><subject>{escape(subject)}</subject><state>{escape(state)}</state></{tag}></protection>\n"


def split_record(binding: str) -> str:
    """One text in three CDATA sections and a bare piece, cut inside words: a parser delivers it in pieces."""
    third = len(binding) // 3
    first, second, last = binding[:third], binding[third : 2 * third], binding[2 * third :]
    return f"<binding><![CDATA[{first}]]><![CDATA[{second}]]>{escape(last)}<![CDATA[]]></binding>\n"


def spelled_record(binding: str) -> str:
    """Every character that is not a plain letter, digit or blank is a named entity or a character reference."""
    named = {'"': "&quot;", "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;"}
    plain = re.compile("[A-Za-z0-9 ]")
    spelled = "".join(char if plain.match(char) else named.get(char, f"&#{ord(char)};") for char in binding)
    return f"<binding>{spelled}</binding>\n"


def parameter_record(binding: str) -> str:
    """`<param name="SenseLock ключ" value="работает"/>`: subject and state in two attributes of one element."""
    subject, state = subject_and_state(binding)
    return f'<section name="protection"><param name={quoteattr(subject)} value={quoteattr(state)}/></section>\n'


@dataclass(frozen=True)
class Schema:
    """One invented shape of a report: the root element, how facts are written and how the record of the key is.

    `fact(kind, fields)` and `record(binding)` return XML text that ends in a newline; `path` is the place of the
    record as element names from the root (`@name` for an attribute), for options that pin it.
    """

    root: str
    fact: Callable[[str, Fields], str]
    record: Callable[[str], str]
    path: str
    attributes: str = ""


SCHEMAS = {
    "text": Schema(
        "sysinfo",
        as_elements,
        lambda binding: f"<protection><binding>{escape(binding)}</binding></protection>\n",
        "sysinfo/protection/binding",
    ),
    "attribute": Schema(
        "Report", as_attributes, lambda binding: f"<License Binding={quoteattr(binding)}/>\n", "Report/License/@Binding"
    ),
    "pairs": Schema(
        "info",
        as_pairs,
        lambda binding: f"<group><item><name>Привязка</name><value>{escape(binding)}</value></item></group>\n",
        "info/group/item/value",
    ),
    "tag": Schema("server", as_elements, tagged_record, "server/protection/SenseLock/state"),
    "param": Schema("configuration", as_params, parameter_record, "configuration/section/param/@value"),
    "cdata": Schema(
        "sysinfo",
        as_elements,
        lambda binding: f"<page><![CDATA[</H3></CENTER><BR> Привязка: {binding} <br>]]></page>\n",
        "sysinfo/page",
    ),
    "split": Schema("sysinfo", as_attributes, split_record, "sysinfo/binding"),
    "spelled": Schema("sysinfo", as_elements, spelled_record, "sysinfo/binding"),
    "rows": Schema(
        "table",
        as_rows,
        lambda binding: f"<row><c>Привязка</c><c>{escape(binding)}</c></row>\n",
        "table/row/c",
    ),
    "russian": Schema(
        "к:отчёт",
        as_params,
        lambda binding: f"<к:защита><к:привязка>{escape(binding)}</к:привязка></к:защита>\n",
        "отчёт/защита/привязка",
        attributes=' xmlns:к="urn:example:kodeks"',
    ),
}
"""Every shape by its name."""


# --- Facts: what a report says besides the key ------------------------------------------------------------------------

NEIGHBOURS: Sequence[tuple[str, Fields]] = (
    ("module", (("name", "Банк документов"), ("state", "работает"))),
    ("module", (("name", "Обмен документами"), ("state", "Ошибка защиты 4103"))),
    ("module", (("name", "Поиск по ключевым словам"), ("state", "[работает]"))),
    ("service", (("name", "Менеджер лицензий"), ("state", "работает"))),
)
"""Facts that stand next to the record and are not about it; side modules without a licence do show error 4103."""

# Names that mention the key without saying how it is: a user, a document, a driver.
DECOYS: Sequence[tuple[str, Fields]] = (
    ("user", (("login", "senselock"), ("name", "Служба SenseLock"), ("state", "работает"))),
    ("document", (("name", "Памятка: что делать, когда ключ SenseLock не найден"), ("state", "действует"))),
    ("driver", (("name", "SenseLock EliteIV driver"), ("version", "2.3.1.0"))),
)


NUMBER = "@NUMBER@"
"""Stands for eight digits that differ from block to block, so that no two blocks of a report are alike."""

TITLES = ("Нормы, правила, стандарты", "Строительство", "Экология", "Охрана труда", "Электроэнергетика", "Нефть и газ")
NAMES = ("Иванова А. П.", "Петров С. И.", "Сидорова Е. Н.", "Кузнецов Д. В.", "Смирнова О. Л.")


def ordinary_facts() -> Iterator[tuple[str, Fields]]:
    """About a hundred facts of the kinds the manual lists: volumes, licence terms, users, versions, modules."""
    for number, title in enumerate(TITLES * 6):
        volume = f"{7400 + number}.db6"
        yield "volume", (("name", volume), ("title", title), ("documents", NUMBER), ("errors", "0"), ("state", "ok"))
        term = f"31.12.20{27 + number % 5}"
        yield "license", (("database", volume), ("term", term), ("users", str(5 + number % 50)), ("update", "112"))
    for number, name in enumerate(NAMES * 4):
        yield "user", (("login", f"user{number:03d}"), ("name", name), ("group", "readers"), ("visits", "17"))
    yield "version", (("program", "kodweb"), ("number", "6.4.5.127"), ("date", "23.11.2026"))
    yield from NEIGHBOURS


def fact_text(schema: Schema, facts: Iterable[tuple[str, Fields]]) -> str:
    """The XML text of several facts in a schema."""
    return "".join(schema.fact(kind, fields) for kind, fields in facts)


# --- The report -------------------------------------------------------------------------------------------------------

PLACES = {"start": 0.0, "middle": 0.5, "end": 1.0}
"""Where the record stands, as a share of the facts that come before it."""


def report(
    schema: str = "text",
    *,
    size: int = 200_000,
    place: str = "middle",
    bindings: Sequence[str] = (WORKS,),
    encoding: str = "utf-8",
    byte_order_mark: bool | None = None,
    declared: str | None = None,
    neighbours: bool = True,
    decoys: bool = False,
    made: datetime = MADE,
) -> Iterator[bytes]:
    """Stream a well-formed report of exactly `size` bytes, or of its least size where that is more.

    `bindings` are the texts of the records that stand at `place`, none for a report without a record. `declared` is
    the encoding the XML declaration claims (default: the true one), `byte_order_mark` defaults to UTF-16 only.
    `neighbours` puts the states of other modules right beside the record, `decoys` facts that name the key but are
    not its record. A UTF-16 report has an even size, so an odd `size` falls short by one.
    """
    shape = SCHEMAS[schema]
    codec, mark = _codec(encoding, byte_order_mark)
    around = fact_text(shape, NEIGHBOURS if neighbours else ()) + fact_text(shape, DECOYS if decoys else ())
    record = around + "".join(shape.record(binding) + around for binding in bindings)
    head = mark + codec(_head(shape, declared or encoding, made))
    middle, tail = codec(record), codec(f"</{shape.root}>\n")
    block = fact_text(shape, ordinary_facts())
    room = size - len(head) - len(middle) - len(tail)
    blocks = max(room, 0) // len(codec(block))
    before = round(blocks * PLACES[place])

    yield head
    yield from (codec(block.replace(NUMBER, _digits(number))) for number in range(before))
    yield middle
    yield from (codec(block.replace(NUMBER, _digits(number))) for number in range(before, blocks))
    yield codec("\n") * ((room - blocks * len(codec(block))) // len(codec("\n")))
    yield tail


def _codec(encoding: str, byte_order_mark: bool | None) -> tuple[Callable[[str], bytes], bytes]:
    """The encoder of a report's text and the bytes in front of it; what an encoding lacks is written as `&#N;`."""
    wide = encoding.lower() == "utf-16"
    name = "utf-16-le" if wide else encoding
    marked = wide if byte_order_mark is None else byte_order_mark
    return lambda text: text.encode(name, "xmlcharrefreplace"), "\ufeff".encode(name) if marked else b""


def _head(shape: Schema, declared: str, made: datetime) -> str:
    """The declaration, the root element and the date of making, which every schema writes in its own way."""
    date = shape.fact("report", (("made", f"{made:%d.%m.%Y %H:%M}"), ("number", "00_000000")))
    return f'<?xml version="1.0" encoding="{declared}"?>\n<{shape.root}{shape.attributes}>\n{date}'


def _digits(number: int) -> str:
    """Eight digits that look unordered; the same for the same block."""
    return f"{number * 48_271 % 99_999_989:08d}"


# --- Broken and hostile documents -------------------------------------------------------------------------------------


def overwritten(chunks: Iterable[bytes], offset: int, junk: bytes = bytes(512)) -> Iterator[bytes]:
    """The same document with `junk` over the bytes at `offset`: a disk sector of zeros by default."""
    position = 0
    for chunk in chunks:
        start = max(offset - position, 0)
        skipped = max(position - offset, 0)
        piece = junk[skipped : skipped + max(len(chunk) - start, 0)]
        yield chunk[:start] + piece + chunk[start + len(piece) :]
        position += len(chunk)


def deep(depth: int, binding: str = WORKS) -> Iterator[bytes]:
    """A record below `depth` nested elements; well formed."""
    yield b'<?xml version="1.0" encoding="utf-8"?>\n'
    yield b"<level>" * depth
    yield f"<binding>{escape(binding)}</binding>".encode()
    yield b"</level>" * depth


def huge_attribute(length: int, binding: str = WORKS) -> Iterator[bytes]:
    """A well-formed report with one attribute of `length` bytes, which a parser holds in memory as one string."""
    yield b'<?xml version="1.0" encoding="utf-8"?>\n<sysinfo><blob value="'
    yield from (b"x" * min(65536, length - done) for done in range(0, length, 65536))
    yield f'"/><binding>{escape(binding)}</binding></sysinfo>'.encode()


def with_doctype(doctype: str, binding_xml: str) -> bytes:
    """A small report with `<!DOCTYPE sysinfo [doctype]>` and `binding_xml` as the text of its record."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE sysinfo [{doctype}]>\n'
        f"<sysinfo><protection><binding>{binding_xml}</binding></protection></sysinfo>\n"
    ).encode()


def billion_laughs(levels: int = 9) -> bytes:
    """Entities of entities: 10 ** `levels` words once expanded."""
    entities = ['<!ENTITY e0 "работает ">']
    entities += [f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, levels + 1)]
    return with_doctype("".join(entities), f"SenseLock ключ -  [&e{levels};]")


def quadratic_blowup(length: int = 50_000, times: int = 50_000) -> bytes:
    """One long entity used often: `length` * `times` bytes once expanded."""
    return with_doctype(f'<!ENTITY long "{"x" * length}">', "&long;" * times)


def entity_record(state: str = "работает") -> bytes:
    """The state of the key comes from an internal entity: legal XML that no report has a reason to use."""
    return with_doctype(f'<!ENTITY state "{state}">', "SenseLock ключ -  [&state;]")


def external_entity(uri: str) -> bytes:
    """The state of the key comes from another document, `file:///...` or `http://...`, which must never be read."""
    return with_doctype(f'<!ENTITY state SYSTEM "{uri}">', "SenseLock ключ -  [&state;]")


def external_dtd(uri: str) -> bytes:
    """The document type stands in another document; the record itself works."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE sysinfo SYSTEM "{uri}">\n'
        f"<sysinfo><binding>{WORKS}</binding></sysinfo>\n"
    ).encode()


# --- ZIP archives -----------------------------------------------------------------------------------------------------


def report_name(made: datetime = MADE, suffix: str = "xml", number: str = "000000") -> str:
    """The file name of a report, `report_<reg>_YYYYMMDD_HHMM.<suffix>` as the manual gives it."""
    return f"report_{number}_{made:%Y%m%d_%H%M}.{suffix}"


def zip_members(
    members: Iterable[tuple[str, Iterable[bytes]]],
    *,
    made: datetime = MADE,
    streamed: bool = False,
    compression: int = zipfile.ZIP_DEFLATED,
    comment: bytes = b"",
) -> bytes:
    """An archive of any members, names taken as they are; memory for the compressed bytes only.

    `streamed` writes it as a server does that does not know the sizes beforehand: with data descriptors.
    """
    target = _Pipe() if streamed else io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        archive.comment = comment
        for name, chunks in members:
            info = zipfile.ZipInfo(name, made.timetuple()[:6])
            info.filename = name  # the constructor cuts at a NUL byte and turns the separators of the machine
            info.compress_type = compression
            with archive.open(info, "w", force_zip64=False) as member:
                for chunk in chunks:
                    member.write(chunk)
    return target.getvalue()


class _Pipe(io.BytesIO):
    """A target that cannot seek, like a socket."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation("seek")

    def tell(self) -> int:
        raise io.UnsupportedOperation("tell")


def zip_report(chunks: Iterable[bytes], *, made: datetime = MADE, streamed: bool = False) -> bytes:
    """An archive with one member named like a report."""
    return zip_members([(report_name(made), chunks)], made=made, streamed=streamed)


def zip_bomb(size: int, binding: str = WORKS) -> bytes:
    """A well-formed report of `size` blanks around a record, about a thousandth of that when compressed."""
    return zip_report(_blanks(size, binding))


def _blanks(size: int, binding: str) -> Iterator[bytes]:
    yield f'<?xml version="1.0" encoding="utf-8"?>\n<sysinfo><binding>{escape(binding)}</binding>'.encode()
    blanks = b" " * 65536
    yield from (blanks[: size - done] for done in range(0, size, 65536))
    yield b"</sysinfo>"


def zip_of_zip(inner: bytes) -> bytes:
    """An archive whose only member is an archive."""
    return zip_members([(report_name(suffix="zip"), [inner])])


def zip_of_sqlite() -> bytes:
    """An archive whose only member is an empty SQLite database (one page, as "Database File Format" of SQLite has it)."""
    sizes = (4096, 1, 1, 0, 64, 32, 32)
    counters = (1, 1, 0, 0, 0, 4, 0, 0, 1, 0, 0, 0, 1, 3_040_001)
    header = struct.pack(">16sH6B12I20x2I", b"SQLite format 3", *sizes, *counters)
    leaf = struct.pack(">BHHHB", 0x0D, 0, 0, 4096, 0)
    page = header + leaf
    return zip_members([(report_name(suffix="db"), [page + bytes(4096 - len(page))])])


def zip_wrong_crc(archive: bytes) -> bytes:
    """The same single-member archive with a checksum that does not fit its bytes."""
    return _patched(archive, 14, 16, "<I", lambda crc: crc ^ 0xFFFFFFFF)


def _patched(archive: bytes, local: int, central: int, form: str, change: Callable[[int], int]) -> bytes:
    """Change one field in the local header (offset `local`) and in the central directory (offset `central`)."""
    patched = bytearray(archive)
    for offset in (local, archive.rindex(b"PK\x01\x02") + central):
        (old,) = struct.unpack_from(form, archive, offset)
        struct.pack_into(form, patched, offset, change(old))
    return bytes(patched)
