"""The hostile properties of every parser: a fixed slice in CI, drawn twice.

Hypothesis decides over few examples and shrinks what fails; a plain seed gives many. The numbers are fixed, so a run
tells the same tomorrow; python -m hostile.campaign runs any number with any seed.
"""

from __future__ import annotations

import os
import zipfile
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lab import reports

from hostile import campaign, oracle
from hostile.properties import PROPERTIES

SLICE = settings(
    max_examples=25, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)  # fmt: skip
SEEDED = 500
NEVER_GOOD = {"forged list"}  # all its keys are broken, absent or somebody else's


@pytest.mark.parametrize("name", PROPERTIES)
def test_many_examples(name: str) -> None:
    tally = campaign.run(name, 5, range(SEEDED))
    assert tally.failures == ()
    assert tally.examples == SEEDED
    # A property that never sees a good answer proves nothing about good answers.
    assert (tally.good > 0) == (name not in NEVER_GOOD)


@pytest.mark.parametrize("name", PROPERTIES)
def test_examples_that_shrink(name: str) -> None:
    @SLICE
    @given(st.randoms(use_true_random=False))
    def holds(random: Random) -> None:
        PROPERTIES[name](random)

    holds()


# --- The oracle itself: it must be able to say no -------------------------------------------------------------


@pytest.mark.parametrize(
    ("stdout", "code", "breach"),
    [
        (b"X OK - fine | a=1s;;1:;0\nmore\n", 0, ""),
        (b"X OK - fine\n", 0, ""),
        (b"X OK - fine\n", 2, "the first line is"),
        (b"Y OK - fine\n", 0, "the first line is"),
        (b"X OK - \n", 0, "the first line is"),
        (b"X OK - fine", 0, "the last line does not end"),
        (b"X OK - f\x1bine\n", 0, "control characters"),
        ("X OK - f\u202eine\n".encode(), 0, "control characters"),
        (b"X OK - f\xffine\n", 0, "the output is no utf-8"),
        (b"X OK - fine | a=1 | b=2\n", 0, "a stray |"),
        (b"X OK - fine\nmore | a=1\n", 0, "a stray |"),
        (b"X OK - fine | a=nan\n", 0, "perfdata value"),
        (b"X OK - fine | a=1;1;2;3;4;5\n", 0, "perfdata limits"),
        (b"X OK - fine | a=1 a=2\n", 0, "perfdata names a label twice"),
        (b"X OK - fine | a b=1\n", 0, "perfdata label"),
        (b"X OK - " + b"x" * 4000 + b"\n", 0, "4008 bytes"),
        (b"X CRITICAL - no\n", 9, "exit code 9"),
    ],
)
def test_the_oracle_of_output(stdout: bytes, code: int, breach: str) -> None:
    found = oracle.output_breaches(stdout, code, "X")
    assert any(item.startswith(breach) for item in found) if breach else found == []


GOOD_REPORT = "<r><b>SenseLock ключ -  [работает]</b></r>"


@pytest.mark.parametrize(
    ("document", "breach"),
    [
        (GOOD_REPORT, ""),
        ('<r><p name="SenseLock ключ" value="работает"/></r>', ""),
        (GOOD_REPORT[:-1], "not well-formed"),
        ('<!DOCTYPE r [<!ENTITY a "x">]>' + GOOD_REPORT, "declares entities"),
        ('<!DOCTYPE r [<!ENTITY a "x">]><r/>'.encode("utf-16"), "declares entities"),
        (GOOD_REPORT.replace("<b>", f"<b>{b'<!ENTITY a>'.decode('utf-16-le', 'replace')}</b><b>").encode("utf-16"), ""),
        ('<?x [<!ENTITY a "x">]?>' + GOOD_REPORT, ""),
        ("<r><b>SenseLock ключ -  [не работает]</b></r>", "does not say работает"),
        ("<r><b>Модуль -  [работает]</b></r>", "names no key and no binding"),
        ('<r><b>SenseLock ключ - [Device "SenseLock" not found]</b><c>локальная -  [работает]</c></r>', "says 'SenseLock"),
        (f'<r><b>SenseLock ключ - [Device "SenseLock" not found{" x" * 9000}]</b><c>локальная -  [работает]</c></r>', ""),
    ],
)
def test_the_oracle_of_reports(document: str | bytes, breach: str) -> None:
    found = oracle.report_breaches(document if isinstance(document, bytes) else document.encode())
    assert any(item.startswith(breach) for item in found) if breach else found == []


WHOLE, SAYS = "no whole text", "the key's record says"


@pytest.mark.parametrize(
    ("document", "breach"),
    [
        (GOOD_REPORT, ""),
        ("<r><s name='Защита'><p name='SenseLock' value='работает'/></s></r>", ""),
        ("<r><page><![CDATA[<BR>Привязка: SenseLock ключ - [работает]<br>]]></page></r>", ""),
        ("<r><user>SenseLock не найден</user><b>SenseLock ключ - [работает]</b></r>", ""),
        ("<r><SenseLock><b>не</b> работает</SenseLock></r>", WHOLE),
        ("<r><SenseLock>работает<i> — нет</i></SenseLock></r>", WHOLE),
        ("<r><log><a><b>SenseLock ключ - [работает]</b></a></log></r>", WHOLE),
        ("<r><s><title>Службы</title><p name='SenseLock' value='работает'/></s></r>", WHOLE),
        ("<r><legend><SenseLock>работает</SenseLock></legend></r>", WHOLE),
        ("<r><sessions><b>SenseLock ключ - [работает]</b></sessions></r>", WHOLE),
        ("<r><SenseLock state='работает'><note>ключ извлечён</note></SenseLock></r>", SAYS),
        ("<r><server name='Служба 1С'><b>SenseLock ключ - [работает]</b></server></r>", ""),
        ("<r><s title='Лицензии и службы'><SenseLock>работает</SenseLock></s></r>", ""),
        ("<r><s title='Службы и лицензии'><SenseLock>работает</SenseLock></s></r>", WHOLE),
        ("<r><server_log name='x'><b>SenseLock ключ - [работает]</b></server_log></r>", WHOLE),
        ("<r><b previous='SenseLock ключ - [работает]'/></r>", WHOLE),
        ("<r><SenseLock state='работает' error='4111'/></r>", SAYS),
        ("<r><SenseLock state='работает'><a><found>0</found></a></SenseLock></r>", SAYS),
        ("<r><SenseLock state='работает'><a><b>Ключ не найден</b></a></SenseLock></r>", SAYS),
    ],
)
def test_the_oracle_of_records(document: str, breach: str) -> None:
    found = oracle.record_breaches(document.encode())
    assert any(item.startswith(breach) for item in found) if breach else found == []


@pytest.mark.parametrize(
    ("archive", "good"),
    [
        (reports.zip_report([GOOD_REPORT.encode()]), True),
        (reports.zip_report([GOOD_REPORT.encode()], streamed=True), True),
        (reports.zip_members([("a.xml", [GOOD_REPORT.encode()])], compression=zipfile.ZIP_STORED), True),
        (reports.zip_report([GOOD_REPORT.replace("-  [", "-  [не ").encode()]), False),
        (reports.zip_members([("SenseLock ключ -  [работает].xml", [b"<a/>"])]), False),
        (reports.zip_report([GOOD_REPORT.encode()])[:60], False),
        (reports.zip_members([]), False),
    ],
)
def test_the_oracle_of_archives(archive: bytes, good: bool) -> None:
    assert (oracle.archive_breaches(archive) == []) == good


@pytest.mark.parametrize(
    ("page", "good"),
    [
        ("<p>Привязка: SenseLock ключ -  [работает]</p>", True),
        ("<p>Привязка: <b>локальная</b> - [работает]</p>", True),
        ("<p>Привязка: SenseLock ключ -  [не работает]</p>", False),
        ("<p>Привязка: SenseLock ключ</p><p>Модуль - [работает]</p>", False),
        ('<img alt="Привязка: SenseLock ключ - [работает]">', False),
    ],
)
def test_the_oracle_of_pages(page: str, good: bool) -> None:
    assert oracle.page_may_be_good(page) == good


SHARED = " 2: Senselock SenseIV\n    Vid: 0471   Pid: 485d   Port: 1-2\n    Status: {}\n"


@pytest.mark.parametrize(
    ("product", "text", "wanted", "good"),
    [
        ("usb-redirector", SHARED.format("plugged, shared"), "0471:485d", True),
        ("usb-redirector", SHARED.format("plugged, shared"), "Senselock SenseIV", True),
        ("usb-redirector", SHARED.replace(" Sense", "\x07Sense").format("plugged, shared"), "Senselock SenseIV", True),
        ("usb-redirector", SHARED.replace(" Sense", "|Sense").format("plugged, shared"), "Senselock SenseIV", False),
        ("usb-redirector", SHARED.format("plugged"), "0471:485d", False),
        ("usb-redirector", SHARED.format("plugged, shared"), "0471:485e", False),
        ("usb-network-gate", f"Key\t-h:1\t-Crypt: disabled\t-connected to {os.uname().nodename}", "Key", True),
        ("usb-network-gate", "Key\t-h:1\t-Crypt: disabled\t-connected to 192.0.2.10", "Key", False),
        ("usb-network-gate", "Key\t-h:1\t-Crypt: disabled\t-disconnected", "Key", False),
        ("virtualhere", "   --> Key (HUB.21)", "Key", True),
        ("virtualhere", "   --> Key (HUB.21) (In-use by: (x) at 192.0.2.30)", "Key", False),
        ("virtualhere", '<state><server><connection state="3"/><device idVendor="1137" idProduct="18525" state="1"/></server></state>', "0471:485d", True),
        ("virtualhere", '<state><server><connection state="1"/><device idVendor="1137" idProduct="18525" state="1"/></server></state>', "0471:485d", False),
        ("digi-anywhereusb", "        Key (AW.1101) (In-use by you)", "Key", True),
        ("digi-anywhereusb", "        Key (AW.1101) (In-use by x)", "Key", False),
        ("digi-anywhereusb", "    G (AW.1) (In-use by you)\n        Key (AW.1101)", "Key", True),
        ("digi-anywhereusb", "    G (AW.1) (In-use by x)\n        Key (AW.1101)", "Key", False),
        ("digi-anywhereusb", "    G (AW.1) (In-use by x)\n    G (AW.2)\n        Key (AW.2101)", "Key", True),
        ("usbip", "Port 00: <Port in Use> at x\n       x : Key (0471:485d)", "0471:485d", True),
        ("usbip", "Port 00: <Port Error> at x\n       x : Key (0471:485d)", "0471:485d", False),
        ("usbipd-win", '{"Devices": [{"Description": "K", "InstanceId": "USB\\\\VID_0471&PID_485D\\\\1", "BusId": "1-2", "PersistedGuid": "1"}]}', "0471:485d", True),
        ("usbipd-win", '{"Devices": [{"Description": "K", "InstanceId": "USB\\\\VID_0471&PID_485D\\\\1", "BusId": null, "PersistedGuid": "1"}]}', "0471:485d", False),
        ("usbipd-win", '{"Devices": [{"Description": "K", "InstanceId": "USB\\\\VID_0471&PID_485D\\\\1", "BusId": "IncompatibleHub", "PersistedGuid": "1"}]}', "0471:485d", False),
    ],
)
def test_the_oracle_of_lists(product: str, text: str, wanted: str, good: bool) -> None:
    assert oracle.list_may_be_good(product, text.encode(), wanted) == good
