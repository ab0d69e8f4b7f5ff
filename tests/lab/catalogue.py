"""The catalogue of Russian sentences: what the code says, what the .po holds, and the compiled .mo beside it.

A sentence was added or changed: this brings it into the .po, where it has no msgstr or one that is marked fuzzy.
Translate it, run this again, and it is compiled.

    PYTHONPATH=checks:tests .venv/bin/python tests/lab/catalogue.py && git diff checks/kodeks_monitoring/locale
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from lab.run_check import CHECKS

LOCALE = CHECKS / "kodeks_monitoring/locale"
PO = LOCALE / "ru/LC_MESSAGES/kodeks_monitoring.po"
MO = PO.with_suffix(".mo")
KEYWORDS = {"_": None, "N_": None, "ngettext": (1, 2)}

LATIN = """
SenseLock USB IP UDP HTTP HTTPS TLS XML ZIP SQLite UTF Python Windows USBGuard PrivateDevices libusb libusb_init systemctl systemd
sysinfo dmesg vhci_hcd usbipd win usbsrvd generic seh utn
Linux ini dev bus usb proc python exe dll linkml password checks
pip install chmod o rwx kill CONT usbip detach port attach list state utnm root
HOST PATH USER DATE SECONDS STATE CODE VID PID YYYY MM DD FILE perpetual ok zip source xml hidepid critical name a b x
"""
NAMES = set(LATIN.split())
"""Latin words of Russian sentences: products, protocols, files, commands to type, options' values. Any other is an English word."""


class Russian(Catalog):
    """A catalogue whose header holds what gettext needs, and nothing that differs from run to run."""

    def __init__(self) -> None:
        super().__init__(locale="ru", domain="kodeks_monitoring", header_comment="# Russian sentences of monitoring-plugins-kodeks.", fuzzy=False)

    mime_headers = property(
        lambda self: [("Language", "ru"), ("Plural-Forms", self.plural_forms), ("Content-Type", "text/plain; charset=utf-8")]
    )


def extracted(folder: Path = CHECKS) -> Catalog:
    """The messages of the code, with the files that say them. A line's number would change with every edit."""
    catalogue = Catalog(domain="kodeks_monitoring")
    with contextlib.redirect_stderr(io.StringIO()):  # it warns of values that are f-strings: they are no messages
        found = sorted(extract_from_dir(str(folder), [("**.py", "python")], keywords=KEYWORDS), key=lambda entry: (entry[0], entry[1]))
    for file, _line, message, _comments, _context in found:
        locations: Any = [(file, None)]
        catalogue.add(message, locations=locations)
    return catalogue


def stored() -> Catalog:
    """The Russian catalogue."""
    catalogue = Russian()
    with PO.open("rb") as file:
        for message in messages_of(read_po(file, locale="ru", domain="kodeks_monitoring", abort_invalid=True)):
            catalogue[message.id] = message
    return catalogue


def messages_of(catalogue: Catalog) -> Iterator[Any]:
    """The messages of a catalogue without its header."""
    return (message for message in catalogue if message.id)


def forms_of(message: Any) -> tuple[str, ...]:
    """The translation of a message, in all its forms."""
    return message.string if isinstance(message.string, tuple) else (message.string,)


def english_of(message: Any) -> tuple[str, ...]:
    """The English of a message, in both its forms."""
    return message.id if isinstance(message.id, tuple) else (message.id,)


def written(catalogue: Catalog) -> bytes:
    """A catalogue as its .po."""
    output = io.BytesIO()
    write_po(output, catalogue, width=110, include_lineno=False, ignore_obsolete=True)
    return output.getvalue()


def compiled(catalogue: Catalog) -> bytes:
    """A catalogue as its .mo."""
    output = io.BytesIO()
    write_mo(output, catalogue)
    return output.getvalue()


def main() -> None:
    """Bring the .po up to date with the code, and compile it."""
    catalogue = stored()
    catalogue.update(extracted(), update_header_comment=False)
    PO.write_bytes(written(catalogue))
    MO.write_bytes(compiled(stored()))


if __name__ == "__main__":
    main()
