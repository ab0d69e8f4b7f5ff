"""The templates as files: made from one source, complete, in Zabbix's conventions; and what they make of a plugin's answer.

The last part runs the script of each master item with the real zabbix_js of both versions.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from forwarder_products import UTN_CODES
from lab import zabbix_template
from lab.run_check import ROOT
from lab.zabbix_lab import run_javascript
from lab.zabbix_machine import EXAMPLE_INI, TEMPLATES, USER_PARAMETERS, user_parameters

RUNBOOKS = ROOT / "templates/runbooks"
WINDOWS_PARAMETERS = TEMPLATES / "userparameter_kodeks_windows.conf"
ALERTS = {
    "KodeksUnreachable",
    "KodeksXmlSensLockStatus",
    "LicmanTcpStatus",
    "MonitoringBroken",
    "SenseLockKeyStatus",
    "SmartXMLfileIsToOld",
    "UsbForwarderLicenseExpiring",
    "UsbForwarderStatus",
}
SCOPES = {"availability", "capacity", "notice", "performance", "security"}  # of Zabbix's template conventions
TEXT = zabbix_template.PASSIVE.read_text(encoding="utf-8")
EXPORT: dict[str, Any] = yaml.safe_load(TEXT)["zabbix_export"]
ACTIVE_EXPORT: dict[str, Any] = yaml.safe_load(zabbix_template.ACTIVE.read_text(encoding="utf-8"))["zabbix_export"]
TEMPLATE = EXPORT["templates"][0]
ITEMS = {item["key"]: item for item in TEMPLATE["items"]}
TRIGGERS = {trigger["name"]: trigger for trigger in EXPORT["triggers"]}
MACROS = {macro["macro"]: macro for macro in TEMPLATE["macros"]}
MASTERS = {key: item for key, item in ITEMS.items() if item["type"] != "DEPENDENT"}


# --- One source -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", zabbix_template.made(), ids=lambda path: path.name)
def test_made_files_are_up_to_date(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == zabbix_template.made()[path], "run python3 tests/lab/zabbix_template.py"


def test_both_templates_are_equal_but_for_names_uuids_and_item_type() -> None:
    def neutral(value: Any, name: str) -> Any:
        if isinstance(value, dict):
            return {key: neutral(item, name) for key, item in value.items() if key != "uuid"}
        if isinstance(value, list):
            return [neutral(item, name) for item in value]
        return value.replace(name, "NAME") if isinstance(value, str) else value

    types = [Counter(item["type"] for item in export["templates"][0]["items"]) for export in (EXPORT, ACTIVE_EXPORT)]
    assert types[0]["ZABBIX_PASSIVE"] == types[1]["ZABBIX_ACTIVE"] == len(MASTERS)
    for item in (item for export in (EXPORT, ACTIVE_EXPORT) for item in export["templates"][0]["items"]):
        item["type"] = "DEPENDENT" if item["type"] == "DEPENDENT" else "AGENT"
    passive, active = "Kodeks license key by Zabbix agent", "Kodeks license key by Zabbix agent active"
    assert neutral(ACTIVE_EXPORT, active) == neutral(EXPORT, passive)


def test_uuids_are_version_4_and_used_once() -> None:
    found = [re.findall(r"uuid: ([0-9a-f]{32})\n", path.read_text()) for path in (zabbix_template.PASSIVE, zabbix_template.ACTIVE)]
    group = EXPORT["groups"][0]["uuid"]
    assert [number for uuids in found for number in uuids if uuid.UUID(number).version != 4] == []
    assert {number for number, times in Counter(found[0] + found[1]).items() if times > 1} == {group}


# --- Complete ---------------------------------------------------------------------------------------------------


def test_macros_are_used_and_described() -> None:
    used = set(re.findall(r"\{\$[A-Z._]+\}", TEXT.split("      macros:\n")[0] + TEXT.split("      dashboards:\n")[1]))
    assert used == set(MACROS)
    assert [name for name, macro in MACROS.items() if not macro.get("description")] == []


def test_an_interval_or_threshold_is_a_macro_of_its_own() -> None:
    assert [key for key, item in MASTERS.items() if not re.fullmatch(r"\{\$KODEKS\.[A-Z]+\.INTERVAL\}", item["delay"])] == []


@pytest.mark.parametrize("name", TRIGGERS)
def test_trigger(name: str) -> None:
    """Named after an alert that has a runbook in both languages, with what to do, and a sentence that a recovery rewrites."""
    trigger = TRIGGERS[name]
    tags = {tag["tag"]: tag["value"] for tag in trigger["tags"]}
    assert tags["alert"] in ALERTS
    assert tags["scope"] in SCOPES
    assert trigger["url"] == f"{{$KODEKS.RUNBOOK.URL}}/{{$KODEKS.RUNBOOK.LANGUAGE}}/{tags['alert']}.md"
    for language in ("en", "ru"):
        assert (RUNBOOKS / language / f"{tags['alert']}.md").is_file()
    assert len(trigger["description"]) > 40
    assert re.search(r"\{\?last\(//kodeks\.\w+\.text\)\}", trigger["event_name"]) or "nodata" in trigger["expression"]
    assert {dependency["name"] for dependency in trigger.get("dependencies", ())} <= set(TRIGGERS)


def test_every_alert_has_a_trigger() -> None:
    assert {tag["value"] for trigger in TRIGGERS.values() for tag in trigger["tags"] if tag["tag"] == "alert"} == ALERTS


def test_dependencies_lead_along_the_chain() -> None:
    def above(name: str) -> set[str]:
        names = [dependency["name"] for dependency in TRIGGERS[name].get("dependencies", ())]
        return set(names).union(*(above(parent) for parent in names))  # endless where they go round

    license_over, dead, lost = "USB forwarder: License has expired", "USB forwarder: Does not work", "SenseLock key: Lost"
    assert above(dead) == {license_over}
    assert above(lost) == {license_over, dead}
    for name in ("Kodeks server: Reports no working key", "Kodeks server: State cannot be read"):
        assert above(name) >= {license_over, dead, lost, "License manager: Does not answer"}


def test_items_are_tagged_and_keep_what_they_should() -> None:
    for key, item in ITEMS.items():
        components = [tag["value"] for tag in item["tags"] if tag["tag"] == "component"]
        assert components, key
        assert (components == ["raw"] and item["history"] == "0") == (key in MASTERS), key
    assert {tag["tag"] for tag in TEMPLATE["tags"]} == {"class", "target"}


def test_nothing_in_the_template_is_a_secret() -> None:
    """User and password stay in the ini file on the machine: an item key is shown to everybody who may see the host."""
    for key in MASTERS:
        assert set(re.findall(r"\{\$KODEKS\.([A-Z.]+)\}", key)) <= {
            *("FORWARDER.SECTION", "LICENSE.WARN", "KEY.SECTION", "SERVER.SECTION", "LICMAN.HOST", "LICMAN.PORT")
        }
    assert [name for name, macro in MACROS.items() if macro.get("type") == "SECRET_TEXT"] == []


# --- The agent's side -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [USER_PARAMETERS, WINDOWS_PARAMETERS], ids=lambda path: path.name)
def test_user_parameters(path: Path) -> None:
    """Every key of the template is there, each check ends before the agent's default limit, and reads its ini section."""
    commands = user_parameters(path)
    wanted = {f"{key.split('[')[0]}[*]" for key in MASTERS if key.startswith("kodeks.")}
    assert set(commands) == wanted
    for command in commands.values():
        deadline = re.search(r" -t ([\d.]+) ", f"{command} ")
        assert deadline is not None and float(deadline[1]) + 0.5 <= 3
        assert re.search(r"--extra-opts='?\$1@\S+kodeks\.ini['\"]", command)


def test_what_the_template_passes_to_the_agent_is_allowed() -> None:
    """UnsafeUserParameters=0 refuses these characters."""
    for name in ("FORWARDER.SECTION", "KEY.SECTION", "SERVER.SECTION", "LICENSE.WARN"):
        assert not set(MACROS[f"{{$KODEKS.{name}}}"].get("value", "")) & set("\\'\"`*?[]{}~$!&;()<>|#@\n")


def test_the_ini_file_has_the_sections_that_the_template_asks_for() -> None:
    sections = re.findall(r"(?m)^\[(\w+)\]$", EXAMPLE_INI.read_text(encoding="utf-8"))
    assert sorted(sections) == sorted(MACROS[f"{{$KODEKS.{link}.SECTION}}"]["value"] for link in ("FORWARDER", "KEY", "SERVER"))


# --- From the agent's answer to the items -----------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What came from the agent for a link, and what the items get. `macros` replaces defaults of the template."""

    id: str
    link: str
    value: str
    state: int
    text: str
    perf: tuple[tuple[str, float], ...] = ()
    ran: int | None = 1
    macros: tuple[tuple[str, str], ...] = ()


F, K, S, L = "kodeks.forwarder", "kodeks.key", "kodeks.server", "net.tcp.service"
EXPIRED = "license of USB Redirector expired 1 day ago (2026-11-22): renew it, then reconnect the key"
NOT_OFFERED = "key 0471:485d is not available: is it plugged in at the forwarder, and the license valid?"
MISPLACED = "key not where it should be (forwarded): 0471:485d at 1-2, local; move it back, or change --location"
NOT_RUN = ITEMS['kodeks.key["{$KODEKS.KEY.SECTION}"]']["preprocessing"][0]["error_handler_params"]
TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\nKeyError: "SENSELOCK OK - "\n'
MANAGER = (("{$KODEKS.LICMAN.HOST}", "192.0.2.11"),)
ANSWERS = [
    Answer("key there", K, "SENSELOCK OK - 1 SenseLock key: 0471:485d at 2-1, local | keys=1;;1:;0 forwarded=0;;;0\n", 0,
           "1 SenseLock key: 0471:485d at 2-1, local", (("keys", 1), ("forwarded", 0))),
    Answer("key lost", K, "SENSELOCK CRITICAL - no SenseLock key among 7 USB devices | keys=0;;1:;0 forwarded=0;;;0", 2,
           "no SenseLock key among 7 USB devices", (("keys", 0), ("forwarded", 0))),
    Answer("key in the wrong place", K, f"SENSELOCK CRITICAL - {MISPLACED} | keys=1;;1:;0", 6, MISPLACED, (("keys", 1),)),
    Answer("wrong key, in the wrong place too", K, f"SENSELOCK CRITICAL - the key with serial 1 is not here; {MISPLACED} | keys=1", 2,
           f"the key with serial 1 is not here; {MISPLACED}", (("keys", 1),)),
    Answer("key warns", K, "SENSELOCK WARNING - 1 SenseLock key: a, outside the range 2: | keys=1;2:", 1,
           "1 SenseLock key: a, outside the range 2:", (("keys", 1),)),
    Answer("key unknown", K, "SENSELOCK UNKNOWN - timed out after 2.5 s while listing the USB devices\n", 3,
           "timed out after 2.5 s while listing the USB devices"),
    Answer("Windows line ends and details", K, "SENSELOCK OK - 1 SenseLock key: a | keys=1\r\nkey a: no serial, local\r\n", 0,
           "1 SenseLock key: a", (("keys", 1),)),
    Answer("Cyrillic", K, "SENSELOCK OK - 1 SenseLock key: ключ «Ж» | keys=1", 0, "1 SenseLock key: ключ «Ж»", (("keys", 1),)),
    Answer("blanks", K, " \n\t\n", 3, "no answer of the check, but: nothing", ran=0),
    Answer("garbage", K, "Segmentation fault", 3, "no answer of the check, but: Segmentation fault", ran=0),
    Answer("traceback that quotes the word", K, TRACEBACK, 3,
           'no answer of the check, but: Traceback (most recent call last): File "x.py", line 1, in <module> KeyError: "SENSELOCK OK - "', ran=0),
    Answer("noise before the line", K, "warning: clock\nSENSELOCK OK - 1 SenseLock key: a | keys=1", 3,
           "no answer of the check, but: warning: clock SENSELOCK OK - 1 SenseLock key: a | keys=1", ran=0),
    Answer("two verdicts", K, "SENSELOCK OK - a | keys=1\nSENSELOCK CRITICAL - b | keys=0", 3,
           "no answer of the check, but: SENSELOCK OK - a | keys=1 SENSELOCK CRITICAL - b | keys=0", ran=0),
    Answer("another check's line", K, "KODEKS_XML OK - SenseLock key works | working=1", 3,
           "no answer of the check, but: KODEKS_XML OK - SenseLock key works | working=1", ran=0),
    Answer("an unknown state", K, "SENSELOCK FINE - 1 key | keys=1", 3, "no answer of the check, but: SENSELOCK FINE - 1 key | keys=1", ran=0),
    Answer("a state without text", K, "SENSELOCK OK - ", 3, "no answer of the check, but: SENSELOCK OK -", ran=0),
    Answer("a second bar", K, "SENSELOCK OK - a | keys=1 | x=2", 3, "no answer of the check, but: SENSELOCK OK - a | keys=1 | x=2", ran=0),
    Answer("very long garbage", K, "x" * 5000, 3, "no answer of the check, but: " + "x" * 500, ran=0),
    Answer("no numbers at all", K, "SENSELOCK OK - 1 SenseLock key: a", 0, "1 SenseLock key: a"),
    Answer("numbers that are none", K, "SENSELOCK OK - a | keys=nan;;1: forwarded=U =5 a b=1", 0, "a", (("b", 1),)),
    Answer("agent could not run it", K, NOT_RUN, 3, NOT_RUN.removeprefix("(agent) "), ran=0),
    Answer("key not watched", K, "SENSELOCK OK - a | keys=1", 4, "not watched", macros=(("{$KODEKS.KEY.SECTION}", ""),)),
    Answer("key not watched, agent without plugin", K, NOT_RUN, 4, "not watched", macros=(("{$KODEKS.KEY.SECTION}", ""),)),
    Answer("forwarder well", F, "USB_REDIRECTOR OK - license of USB Redirector ends in 200 days (2027-06-11) | license_days=200;30: time=0.008s;;;0", 0,
           "license of USB Redirector ends in 200 days (2027-06-11)", (("license_days", 200), ("time", 0.008))),
    Answer("license expired", F, f"USB_REDIRECTOR CRITICAL - {EXPIRED} | license_days=-1;30: processes=1;;;0", 5, EXPIRED,
           (("license_days", -1), ("processes", 1))),
    Answer("license expired, key gone", F, f"USB_REDIRECTOR CRITICAL - {EXPIRED}; {NOT_OFFERED} | license_days=-1;30:", 5,
           f"{EXPIRED}; {NOT_OFFERED}", (("license_days", -1),)),
    Answer("no license at all", F, "USB_REDIRECTOR CRITICAL - license of VirtualHere: none on hub, buy or renew it | devices=0", 5,
           "license of VirtualHere: none on hub, buy or renew it", (("devices", 0),)),
    Answer("forwarder dead", F, f"USB_REDIRECTOR CRITICAL - process usbclntd is not running: start it; {NOT_OFFERED} | license_days=200", 2,
           f"process usbclntd is not running: start it; {NOT_OFFERED}", (("license_days", 200),)),
    Answer("key not offered", F, f"USB_REDIRECTOR CRITICAL - {NOT_OFFERED} | license_days=200;30: devices=0;;;0", 7, NOT_OFFERED,
           (("license_days", 200), ("devices", 0))),
    Answer("nothing offered", F, "USB_REDIRECTOR CRITICAL - no device is offered or attached (devices listed: 0): is the key plugged in at the forwarder, and shared? | devices=0", 7,
           "no device is offered or attached (devices listed: 0): is the key plugged in at the forwarder, and shared?", (("devices", 0),)),
    Answer("key not at the dongle server", F, f"USB_REDIRECTOR CRITICAL - {UTN_CODES[26].sentence}", 7, UTN_CODES[26].sentence),
    Answer("key not available at the dongle server", F, f"USB_REDIRECTOR CRITICAL - {UTN_CODES[24].sentence} | time=0.1s", 7, UTN_CODES[24].sentence,
           (("time", 0.1),)),
    *(Answer(f"no dongle server, code {code}", F, f"USB_REDIRECTOR CRITICAL - {UTN_CODES[code].sentence}", 2, UTN_CODES[code].sentence)
      for code in (40, 41, 42)),
    Answer("20 days left", F, "USB_REDIRECTOR WARNING - license of USB Redirector ends in 20 days (2026-12-13): renew it now | license_days=20", 1,
           "license of USB Redirector ends in 20 days (2026-12-13): renew it now", (("license_days", 20),)),
    Answer("no forwarder here", F, "USB_REDIRECTOR UNKNOWN - --extra-opts: no section [] in x", 4, "not watched",
           macros=(("{$KODEKS.FORWARDER.SECTION}", ""),)),
    Answer("Kodeks well", S, "KODEKS_XML OK - SenseLock key works (binding of /admin/lic) | time=0.006s working=1", 0,
           "SenseLock key works (binding of /admin/lic)", (("time", 0.006), ("working", 1))),
    Answer("Kodeks without key", S, 'KODEKS_XML CRITICAL - server reports: Device "SenseLock" not found: x | time=0.006s working=0', 2,
           'server reports: Device "SenseLock" not found: x', (("time", 0.006), ("working", 0))),
    Answer("Kodeks refuses", S, "KODEKS_XML UNKNOWN - connection to http://127.0.0.1:80 refused", 3, "connection to http://127.0.0.1:80 refused"),
    Answer("report too old by its own ranges", S, "KODEKS_XML CRITICAL - the report is 50.0 hours old, outside the range 48 | age=50 working=1", 8,
           "the report is 50.0 hours old, outside the range 48", (("age", 50), ("working", 1))),
    Answer("unreachable made critical", S, "KODEKS_XML CRITICAL - connection to http://127.0.0.1:80 refused", 9,
           "connection to http://127.0.0.1:80 refused"),
    Answer("license manager answers", L, "1", 0, "answers at 192.0.2.11:8888", ran=None, macros=MANAGER),
    Answer("license manager silent", L, "0", 2, "does not answer at 192.0.2.11:8888", ran=None, macros=MANAGER),
    Answer("license manager's port is nonsense", L, NOT_RUN, 3, NOT_RUN.removeprefix("(agent) "), ran=None, macros=MANAGER),
    Answer("no license manager", L, "0", 4, "not watched", ran=None),
]  # fmt: skip


@pytest.mark.parametrize("zabbix", ["6.0", "7.0"])
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.id)
def test_answer(answer: Answer, zabbix: str) -> None:
    master = next(item for key, item in MASTERS.items() if key.split("[")[0] == answer.link)
    script = master["preprocessing"][1]["parameters"][0]
    for name, value in {**{name: macro.get("value", "") for name, macro in MACROS.items()}, **dict(answer.macros)}.items():
        script = script.replace(name, value)
    code, printed = run_javascript(zabbix, script, answer.value)
    wanted: dict[str, object] = {"state": answer.state, "text": answer.text}
    if answer.ran is not None:
        wanted |= {"ran": answer.ran, "perf": dict(answer.perf)}
    assert code == 0, printed
    assert json.loads(printed) == wanted
