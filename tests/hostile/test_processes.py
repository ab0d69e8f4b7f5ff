"""Hostile texts through every way into every check, as whole processes: no word of them becomes a state, a line or perfdata.

Each text is a bad key, a bad binding or no list at all, so that OK would be a lie. The independent oracle of the output
(lab/guidelines.py) judges what is printed; -vvv shows all that a check would show.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Callable, NamedTuple

import pytest
from lab.raw_server import page, server_that
from lab.run_check import SERVICES, command, run_process
from lab.usb_bus import UsbBus

LIMIT = 6.0  # seconds, -t of each run
GRACE = 3.0  # seconds for starting Python beside other tests

TEXTS: dict[str, bytes] = {
    "a verdict of its own": b"OK - fine | keys=9\nSENSELOCK OK - fine\nKODEKS_XML OK - fine | working=1\n",
    "perfdata": b" | key_state=0 'a b'=1;2;3;4 =nan",
    "control characters": b"\x01\x07\b\t\x0b\f\r\x1b[31m\x1b]0;x\x07\x1c\x1e\x7f\xc2\x85",
    "zero bytes": bytes(50),
    "characters that reorder a line": "\u202e\u2028\u2029\u200b\ufeff\ufffe\U000e0041".encode(),
    "no UTF-8": b"\xff\xfe\xed\xa0\x80\xc3(\xa0\xa1",
    "very long": b"x" * 300_000,
    "markup": b"<!-- ]]> &#0; &amp;#1088; <script> %n $(x) `x` '\"",
    "half a good word": "не работает] работает - [не".encode(),
    "nothing": b"",
}


class Ready(NamedTuple):
    """A run that gets the text somehow."""

    check: str
    arguments: list[str]
    env: dict[str, str] = {}


Way = Callable[[bytes, Path], AbstractContextManager[Ready]]


@contextmanager
def serial_of_the_key(text: bytes, folder: Path) -> Iterator[Ready]:
    with UsbBus() as bus:
        bus.add_key(serial=text, product=text)
        yield Ready("senselock", ["--serial", "97"], bus.env())


@contextmanager
def binding_of_the_page(text: bytes, folder: Path) -> Iterator[Ready]:
    body = "<BR>Привязка: SenseLock ключ - [не ".encode() + text.replace(b"]", b"") + b"]<BR>"
    with server_that(page(body)) as port:
        yield Ready("kodeks_xml", ["-H", "127.0.0.1", "-p", str(port)])


@contextmanager
def page_without_a_binding(text: bytes, folder: Path) -> Iterator[Ready]:
    with server_that(page(text)) as port:
        yield Ready("kodeks_xml", ["-H", "127.0.0.1", "-p", str(port)])


@contextmanager
def bare_answer(text: bytes, folder: Path) -> Iterator[Ready]:
    with server_that(text or b"\n") as port:
        yield Ready("kodeks_xml", ["-H", "127.0.0.1", "-p", str(port)])


@contextmanager
def redirect(text: bytes, folder: Path) -> Iterator[Ready]:
    with server_that(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1" + text + b"\r\n\r\n") as port:
        yield Ready("kodeks_xml", ["-H", "127.0.0.1", "-p", str(port)])


@contextmanager
def pinned_record(text: bytes, folder: Path) -> Iterator[Ready]:
    (folder / "report").write_bytes(b"<r><SenseLock>not " + text + b"</SenseLock></r>")
    yield Ready("kodeks_xml", ["--file", str(folder / "report"), "--record", "/r/SenseLock"])


@contextmanager
def report(text: bytes, folder: Path) -> Iterator[Ready]:
    (folder / "report").write_bytes(text)
    yield Ready("kodeks_xml", ["--file", str(folder / "report")])


@contextmanager
def name_in_a_list(text: bytes, folder: Path) -> Iterator[Ready]:
    devices = b"List of local USB devices:\n\n 1: " + text + b"\n    Vid: 13ba   Pid: 0017   Port: 2-2\n    Status: plugged\n\n"
    (folder / "list").write_bytes(devices)
    words = ["--product", "usb-redirector", "--license-expires", "perpetual", "--device", "0471:485d", "--list-output", str(folder / "list")]
    yield Ready("usb_redirector", words)


@contextmanager
def whole_list(text: bytes, folder: Path) -> Iterator[Ready]:
    (folder / "list").write_bytes(text)
    words = ["--product", "virtualhere", "--license-expires", "perpetual", "--device", "Senselock SenseIV", "--list-output", str(folder / "list")]
    yield Ready("usb_redirector", words)


@contextmanager
def usbip_server(text: bytes, folder: Path) -> Iterator[Ready]:
    with server_that(b"\x01\x11\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01" + text) as port:
        yield Ready("usb_redirector", ["--product", "usbip", "-H", "127.0.0.1", "-p", str(port), "--device", "0471:485d"])


def ini_of(check: str) -> Way:
    @contextmanager
    def ini(text: bytes, folder: Path) -> Iterator[Ready]:
        (folder / "a.ini").write_bytes(b"[x]\n" + text + b" = " + text + b"\nwarning = " + text + b"\n")
        yield Ready(check, [f"--extra-opts=x@{folder}/a.ini"])

    return ini


def arguments_of(check: str) -> Way:
    @contextmanager
    def arguments(text: bytes, folder: Path) -> Iterator[Ready]:
        word = text.replace(b"\0", b"")[:100_000].decode("utf-8", "surrogateescape")  # no argument may hold a zero byte or be longer
        yield Ready(check, [word, f"--{word}", f"--warning={word}", "--extra-opts", word])

    return arguments


WAYS: dict[str, Way] = {
    **{way.__name__: way for way in (serial_of_the_key, binding_of_the_page, page_without_a_binding, bare_answer, redirect, pinned_record, report,
                                     name_in_a_list, whole_list, usbip_server)},
    **{f"ini of {check}": ini_of(check) for check in SERVICES},
    **{f"arguments of {check}": arguments_of(check) for check in SERVICES},
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_no_text_becomes_a_verdict(way: Way, text: bytes, tmp_path: Path) -> None:
    with way(text, tmp_path) as ready:
        argv = command(ready.check, *ready.arguments, "-vvv", "-t", f"{LIMIT:g}")
        outcome = run_process(argv, env={"HOME": str(tmp_path), **ready.env}, cwd=tmp_path)
    assert outcome.breaches() == [], outcome.text[:2000]
    assert outcome.line.startswith(f"{SERVICES[ready.check]} ")
    assert outcome.code != 0, outcome.text
    assert outcome.seconds < LIMIT + GRACE
