"""The templates as files: made from one source, complete, in Zabbix's conventions; and what they make of a plugin's answer.

The last part runs the script of each master item with the real zabbix_js of both versions.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab import zabbix_template
from lab.media_type import TELEGRAM_YAML
from lab.run_check import ROOT, VERSION
from lab.zabbix_lab import VERSIONS, run_javascript
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
MASTERS = {key: item for key, item in ITEMS.items() if item["type"] == "ZABBIX_PASSIVE"}
CALCULATED = {key: item for key, item in ITEMS.items() if item["type"] == "CALCULATED"}
RUSSIAN_EXPORT: dict[str, Any] = yaml.safe_load(zabbix_template.RUSSIAN[zabbix_template.PASSIVE].read_text(encoding="utf-8"))["zabbix_export"]
STATES = {int(mapping["value"]): mapping["newvalue"] for valuemap in TEMPLATE["valuemaps"] if valuemap["name"] == "Kodeks link state"
          for mapping in valuemap["mappings"]}  # fmt: skip
EXPRESSIONS = {name: f"{trigger['expression']} {trigger.get('recovery_expression', '')}" for name, trigger in TRIGGERS.items()}
CALL = re.compile(r'(\w+)\(/[^/]+/([\w.]+),("?)([^,)"]+)\3(?:,"(\w+)","([^"]*)")?\)=(\S+?)(?=[ )]|$)')


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
        item["type"] = item["type"] if item["type"] in ("DEPENDENT", "CALCULATED") else "AGENT"
    passive, active = "Kodeks license key by Zabbix agent", "Kodeks license key by Zabbix agent active"
    assert neutral(ACTIVE_EXPORT, active) == neutral(EXPORT, passive)


def test_uuids_are_version_4_and_used_once() -> None:
    """The templates in Russian have those of the English ones: see below."""
    found = [re.findall(r"uuid: ([0-9a-f]{32})\n", path.read_text()) for path in (zabbix_template.PASSIVE, zabbix_template.ACTIVE)]
    group = EXPORT["groups"][0]["uuid"]
    assert [number for uuids in found for number in uuids if uuid.UUID(number).version != 4] == []
    assert {number for number, times in Counter(found[0] + found[1]).items() if times > 1} == {group}


# --- Both languages ---------------------------------------------------------------------------------------------


SCRIPTS = ("/parameters", "/params")
_QUOTED = re.compile("""'[^']*'|"[^"]*\"""")


def differences(english: Any, russian: Any, place: str = "") -> Iterator[tuple[str, str, str]]:
    """Where two exports differ: the place without numbers of lists, both texts. Another form of the export is an error."""
    assert type(english) is type(russian), place
    if isinstance(english, dict):
        assert list(english) == list(russian), place
        for key in english:
            yield from differences(english[key], russian[key], f"{place}/{key}")
    elif isinstance(english, list):
        assert len(english) == len(russian), place
        for one, other in zip(english, russian):
            yield from differences(one, other, place)
    elif english != russian:
        yield place, english, russian


@pytest.mark.parametrize("path", zabbix_template.RUSSIAN, ids=lambda path: path.name)
def test_languages_differ_in_words_only(path: Path) -> None:
    """Keys, expressions, macros, uuids and the technical name are the same: to Zabbix it is one template."""
    exports = [yaml.safe_load(file.read_text(encoding="utf-8"))["zabbix_export"] for file in (path, zabbix_template.RUSSIAN[path])]
    found = list(differences(*exports))
    assert {place.rpartition("/")[2] for place, _, _ in found} == {
        *("name", "description", "event_name", "newvalue", "error_handler_params", "value", "parameters", "params")
    }
    assert {place for place, _, _ in found if place.endswith("/value")} == {"/templates/tags/value", "/triggers/tags/value"}
    for place, english, russian in found:
        assert re.search("[а-я]", russian) or (english, russian) == ("en", "ru"), place
        if place.endswith(SCRIPTS):  # a script: what stands between quotes may differ, on the lines that do
            for one, other in zip(english.split("\n"), russian.split("\n")):
                assert one == other or _QUOTED.sub("", one) == _QUOTED.sub("", other), one
        else:
            assert set(re.findall(r"\{[^{}]+\}", russian)) <= set(re.findall(r"\{[^{}]+\}", english)), place


def test_the_catalogue_has_what_the_templates_say_and_nothing_else() -> None:
    texts = [path.read_text(encoding="utf-8") for path in zabbix_template.RUSSIAN]
    for english in zabbix_template.catalogue():
        quoted = "'" + english.replace("'", "''") + "'"
        assert any(quoted in text or f'"{english}"' in text for text in texts), english


LATIN = {  # names of things, which stay in Latin letters
    *("SenseLock", "Zabbix", "USB", "TCP", "sysinfo", "OK", "WARNING", "CRITICAL", "UNKNOWN", "Timeout", "Include", "agent", "ini", "kodeks.ini"),
    *("check_usb_redirector", "check_senselock", "check_kodeks_xml", "license-expires", "location", "file", "source", "zip"),
    *("userparameter_kodeks_linux.conf", "monitoring-plugins-kodeks", "templates", "zabbix", "README.ru.md"),
}


def test_no_english_word_in_a_russian_text() -> None:
    export = RUSSIAN_EXPORT
    for place, _, russian in differences(yaml.safe_load(TEXT)["zabbix_export"], export):
        if not place.endswith(SCRIPTS) and russian != "ru":
            words = re.findall(r"[A-Za-z][A-Za-z_.-]*[A-Za-z]", re.sub(r"\{[^{}]+\}", "", russian))
            assert set(words) <= LATIN, place
    words_of_items = [text for item in export["templates"][0]["items"] for text in (item["name"], item.get("description", "ж"))]
    words_of_triggers = [text for trigger in export["triggers"] for text in (trigger["name"], trigger["event_name"], trigger["description"])]
    widgets = [widget["name"] for board in export["templates"][0]["dashboards"] for page in board["pages"] for widget in page["widgets"]]
    for text in [*words_of_items, *words_of_triggers, *widgets, *(macro["description"] for macro in export["templates"][0]["macros"])]:
        assert re.search("[а-я]", text), text


def test_every_file_names_its_version() -> None:
    media = yaml.safe_load(TELEGRAM_YAML.read_text(encoding="utf-8"))["zabbix_export"]["media_types"][0]["description"]
    for text in (TEMPLATE["description"], RUSSIAN_EXPORT["templates"][0]["description"], media):
        assert re.findall(r"\d+\.\d+\.\d+", text) == [VERSION]


# --- Complete ---------------------------------------------------------------------------------------------------


def test_macros_are_used_and_described() -> None:
    used = set(re.findall(r"\{\$[A-Z._]+\}", TEXT.split("      macros:\n")[0] + TEXT.split("      dashboards:\n")[1]))
    assert used == set(MACROS)
    assert not any("RUNBOOK" in name for name in MACROS), "what is set for all hosts must be a global macro: an import resets a template's"
    assert [name for name, macro in MACROS.items() if not macro.get("description")] == []


def test_what_people_set_comes_first_and_the_rest_says_leave_it() -> None:
    """The page sorts macros by name. Behind TUNE is what keeps the links in order."""
    kept = [name for name in sorted(MACROS) if name.startswith("{$KODEKS.TUNE.")]
    assert sorted(MACROS)[-len(kept) :] == kept
    assert [name for name, macro in MACROS.items() if macro["description"].startswith("Leave it. ")] == kept


def test_the_dashboard_names_the_first_broken_link() -> None:
    """A tile a link with its color and the time of its value, the first broken one in words, and no graph of state codes."""
    (board,) = TEMPLATE["dashboards"]
    (page,) = board["pages"]
    tiles = {}
    for widget in page["widgets"]:
        item = next((field["value"]["key"] for field in widget["fields"] if field["name"] == "itemid"), "")
        tiles[item or widget["name"]] = [(field["name"], field["value"]) for field in widget["fields"]]
    for link in ("forwarder", "key", "licman", "server"):
        shown = tiles[f"kodeks.{link}.state"]
        assert ("show", "3") in shown and ("thresholds.color.0", "59DB8F") in shown  # time; green
    assert ("show", "3") in tiles["kodeks.first"]
    graphs = [graph["item"]["key"] for drawing in EXPORT["graphs"] for graph in drawing["graph_items"]]
    assert not any(key.endswith(".state") for key in graphs)


def test_an_interval_or_threshold_is_a_macro_of_its_own() -> None:
    assert [key for key, item in MASTERS.items() if not re.fullmatch(r"\{\$KODEKS\.TUNE\.[A-Z]+\.INTERVAL\}", item["delay"])] == []


@pytest.mark.parametrize("name", TRIGGERS)
def test_trigger(name: str) -> None:
    """Named after an alert that has a runbook in both languages, with what to do, and a sentence that a recovery rewrites. Its
    link is made by whoever sends the message, from one global macro: a path in a repository leads nowhere."""
    trigger = TRIGGERS[name]
    tags = {tag["tag"]: tag["value"] for tag in trigger["tags"]}
    assert tags["alert"] in ALERTS
    assert tags["scope"] in SCOPES
    assert "url" not in trigger
    assert trigger["manual_close"] == "YES"
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


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_trigger_looks_at_one_item_of_an_answer(name: str) -> None:
    """The items of one answer get their values one by one. A trigger that looks at two of them is judged in between, by the
    new value of one and the old value of the other."""
    masters = [ITEMS[key]["master_item"]["key"] for key in {call[1] for call in CALL.findall(EXPRESSIONS[name])}]
    assert masters and len(masters) == len(set(masters))


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_count_of_samples_needs_that_many(name: str) -> None:
    """A count of #3 that must be 0 is true with two values, or with none; one that must be 3 is not."""
    expression = EXPRESSIONS[name]
    calls = CALL.findall(expression)
    assert len(calls) == len(re.findall(r"\w+\(/", expression))
    for function, item, quote, period, operator, pattern, wanted in calls:
        if function == "nodata":
            assert (period[0], wanted) == ("{", "1")
            continue
        assert (function, period) == ("count", f"#{wanted}"), expression
        # In quotes Zabbix fills in a macro behind the #; without quotes it takes only a number there.
        assert bool(quote) == period.startswith("#{$"), expression
        if operator == "regexp":
            assert pattern.startswith("^") and pattern.endswith("$") and item.endswith(".state")
            assert [state for state in STATES if re.search(pattern, str(state))] != []


def test_the_macros_of_samples_are_numbers() -> None:
    assert [name for name, macro in MACROS.items() if re.search(r"\.(BAD|GOOD)\}$", name) and not macro["value"].isdigit()] == []


def test_every_state_is_in_the_value_map() -> None:
    assert sorted(STATES) == list(range(11))
    told = {answer.state for answer in ANSWERS}
    assert told == set(STATES), "each state in the table of answers below"


def test_items_are_tagged_and_keep_what_they_should() -> None:
    for key, item in ITEMS.items():
        components = [tag["value"] for tag in item["tags"] if tag["tag"] == "component"]
        assert components, key
        assert (components == ["raw"] and item["history"] == "0") == (key in MASTERS), key
    assert {tag["tag"] for tag in TEMPLATE["tags"]} == {"class", "language", "target"}


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
    macros: tuple[tuple[str, str], ...] = ()


F, K, S, L = "kodeks.forwarder", "kodeks.key", "kodeks.server", "net.tcp.service"
NOT_RUN = ITEMS['kodeks.key["{$KODEKS.KEY.SECTION}"]']["preprocessing"][0]["error_handler_params"]
NOT_TRIED = ITEMS['net.tcp.service[tcp,"{$KODEKS.LICMAN.HOST}","{$KODEKS.LICMAN.PORT}"]']["preprocessing"][0]["error_handler_params"]
TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1, in <module>\nKeyError: "SENSELOCK OK - "\n'
MANAGER = (("{$KODEKS.LICMAN.HOST}", "192.0.2.11"),)
NO_FORWARDER, NO_KEY = (("{$KODEKS.FORWARDER.SECTION}", ""),), (("{$KODEKS.KEY.SECTION}", ""),)


def garbage(id: str, value: str, text: str) -> Answer:
    """What is not exactly one line of the check."""
    return Answer(id, K, value, 10, f"no answer of the check, but: {text}")


def line(id: str, link: str, word: str, numbers: str, state: int) -> Answer:
    """A line of the check with made-up words that say the contrary of what its state and its numbers say."""
    service = {F: "USB_REDIRECTOR", K: "SENSELOCK", S: "KODEKS_XML"}[link]
    text = "license expired, no key, timed out, refused" if word == "OK" else "all is well, key works"
    pieces = [piece.partition("=") for piece in numbers.split()]
    perf = tuple((label, float(re.match(r"-?[\d.]+", value)[0])) for label, _, value in pieces)  # type: ignore[index]
    return Answer(id, link, f"{service} {word} - {text}" + (f" | {numbers}" if numbers else ""), state, text, perf)


ANSWERS = [
    # Any check: one line of it, first of all.
    line("well", K, "OK", "keys=1;;1:;0 forwarded=0;;;0 key_state=0", 0),
    line("warns", K, "WARNING", "keys=1;2: key_state=1", 1),
    line("no numbers at all", K, "OK", "", 0),
    Answer("Windows line ends and details", K, "SENSELOCK OK - a | keys=1\r\nkey a: no serial, local\r\n", 0, "a", (("keys", 1),)),
    Answer("Cyrillic", K, "SENSELOCK OK - ключ «Ж» | keys=1", 0, "ключ «Ж»", (("keys", 1),)),
    Answer("numbers that are none", K, "SENSELOCK OK - a | keys=nan;;1: forwarded=U =5 a b=1", 0, "a", (("b", 1),)),
    garbage("blanks", " \n\t\n", "nothing"),
    garbage("no plugin", "Segmentation fault", "Segmentation fault"),
    garbage("traceback that quotes the word", TRACEBACK,
            'Traceback (most recent call last): File "x.py", line 1, in <module> KeyError: "SENSELOCK OK - "'),
    garbage("noise before the line", "warning: clock\nSENSELOCK OK - a | keys=1", "warning: clock SENSELOCK OK - a | keys=1"),
    garbage("two verdicts", "SENSELOCK OK - a | keys=1\nSENSELOCK CRITICAL - b | keys=0",
            "SENSELOCK OK - a | keys=1 SENSELOCK CRITICAL - b | keys=0"),
    garbage("another check's line", "KODEKS_XML OK - a | working=1", "KODEKS_XML OK - a | working=1"),
    garbage("an unknown state", "SENSELOCK FINE - 1 key | key_state=0", "SENSELOCK FINE - 1 key | key_state=0"),
    garbage("a state without text", "SENSELOCK OK - ", "SENSELOCK OK -"),
    garbage("a second bar", "SENSELOCK OK - a | keys=1 | x=2", "SENSELOCK OK - a | keys=1 | x=2"),
    garbage("very long", "x" * 5000, "x" * 500),
    # Did it run at all?
    line("the key could not be read", K, "UNKNOWN", "key_state=3", 3),
    line("the set-up is wrong: no state of a part", K, "UNKNOWN", "", 10),
    line("the set-up of the forwarder's check", F, "UNKNOWN", "", 10),
    line("the set-up of Kodeks' check", S, "UNKNOWN", "", 10),
    line("numbers, but no state of a part", S, "UNKNOWN", "time=0.1s", 10),
    line("a part that could not be read, beside numbers", S, "UNKNOWN", "age=30.0 time=0.1s key_state=3", 3),
    line("Kodeks refuses", S, "UNKNOWN", "key_state=3", 3),
    line("the forwarder's list is not understood", F, "UNKNOWN", "license_days=200;30: license_state=0 device_state=3", 3),
    Answer("agent could not run it", K, NOT_RUN, 10, NOT_RUN.removeprefix("(agent) ")),
    # Not watched.
    Answer("key not watched", K, "SENSELOCK OK - a | keys=1", 4, "not watched", macros=NO_KEY),
    Answer("key not watched, agent without plugin", K, NOT_RUN, 4, "not watched", macros=NO_KEY),
    Answer("no forwarder here", F, "USB_REDIRECTOR UNKNOWN - no section", 4, "not watched", macros=NO_FORWARDER),
    # The key.
    line("key lost", K, "CRITICAL", "keys=0;;1:;0 forwarded=0;;;0 key_state=2", 2),
    line("key in the wrong place", K, "CRITICAL", "keys=1;;1:;0 key_state=0 location_state=2", 6),
    line("key in the wrong place, and one too few for the warning", K, "CRITICAL", "keys=1;2: key_state=1 location_state=2", 6),
    line("wrong key, in the wrong place too", K, "CRITICAL", "keys=1 key_state=2 location_state=2", 2),
    line("key in its place, but blocked", K, "CRITICAL", "keys=1 key_state=2 location_state=0", 2),
    # The forwarder: license, process, answer, device.
    line("license over", F, "CRITICAL", "license_days=-1;30: license_state=2 process_state=0 answer_state=0 device_state=0", 5),
    line("license over, key gone", F, "CRITICAL", "license_days=-1;30: license_state=2 device_state=2", 5),
    line("license over, forwarder down", F, "CRITICAL", "license_days=-1;30: license_state=2 process_state=2 answer_state=2", 5),
    line("no license at all, without a date", F, "CRITICAL", "devices=0 license_state=2 device_state=2", 5),
    line("forwarder dead", F, "CRITICAL", "license_days=200 license_state=0 process_state=2 device_state=2", 2),
    line("forwarder does not answer", F, "CRITICAL", "license_state=1 process_state=0 answer_state=2 device_state=2", 2),
    line("the time limit is critical", F, "CRITICAL", "answer_state=2", 2),
    line("key not offered", F, "CRITICAL", "license_days=200;30: devices=0;;;0 license_state=0 process_state=0 answer_state=0 device_state=2", 7),
    line("key not offered, license warns", F, "CRITICAL", "license_days=20;30: license_state=1 answer_state=0 device_state=2", 7),
    line("key not offered, its license cannot be told", F, "CRITICAL", "license_state=3 device_state=2", 7),
    line("license warns", F, "WARNING", "license_days=20;30: license_state=1 device_state=0", 1),
    # Kodeks.
    line("Kodeks without key", S, "CRITICAL", "time=0.006s working=0 key_state=2", 2),
    line("Kodeks well", S, "OK", "time=0.006s working=1 key_state=0", 0),
    line("report within its time", S, "OK", "age=47.9 working=1 key_state=0", 0),
    line("report too old by the macro", S, "OK", "age=48.1 working=1 key_state=0", 8),
    line("report too old by the ini's range", S, "CRITICAL", "age=30;:24;:26 working=1 key_state=0 age_state=2", 8),
    line("report almost too old by the ini's range", S, "WARNING", "age=25;:24;:26 working=1 key_state=0 age_state=1", 8),
    line("no key in an old report", S, "CRITICAL", "age=50;:24;:26 working=0 key_state=2 age_state=2", 2),
    line("unreachable made critical", S, "CRITICAL", "key_state=2", 9),
    line("unreachable made a warning", S, "WARNING", "key_state=1", 9),
    # The license manager.
    Answer("license manager answers", L, "1", 0, "answers at 192.0.2.11:8888", macros=MANAGER),
    Answer("license manager silent", L, "0", 2, "does not answer at 192.0.2.11:8888", macros=MANAGER),
    Answer("license manager's port is nonsense", L, NOT_TRIED, 10, NOT_TRIED.removeprefix("(agent) "), macros=MANAGER),
    Answer("no license manager", L, "0", 4, "not watched"),
]  # fmt: skip


def run_script(answer: Answer, zabbix: str, template: Any) -> dict[str, Any]:
    """What the script of the answer's master item makes of it."""
    master = next(item for item in template["items"] if item["key"].split("[")[0] == answer.link)
    script = master["preprocessing"][1]["parameters"][0]
    for name, value in {**{name: macro.get("value", "") for name, macro in MACROS.items()}, **dict(answer.macros)}.items():
        script = script.replace(name, value)
    code, printed = run_javascript(zabbix, script, answer.value)
    assert code == 0, printed
    found: dict[str, Any] = json.loads(printed)
    return found


@pytest.mark.parametrize("zabbix", VERSIONS)
@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.id)
def test_answer(answer: Answer, zabbix: str) -> None:
    wanted: dict[str, object] = {"state": answer.state, "text": answer.text}
    if answer.link != L:
        wanted |= {"perf": dict(answer.perf)}
    assert run_script(answer, zabbix, TEMPLATE) == wanted


OWN_WORDS = {  # of the scripts themselves
    "not watched": "не отслеживается",
    "no answer of the check, but: nothing": "вместо ответа проверки: ничего",
    "no answer of the check, but: ": "вместо ответа проверки: ",
    "answers at ": "отвечает по адресу ",
    "does not answer at ": "не отвечает по адресу ",
}


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.id)
def test_answer_in_russian(answer: Answer) -> None:
    """The same state and numbers; the script's own words are Russian, those of the check stay as it said them."""
    text = next((answer.text.replace(own, russian, 1) for own, russian in OWN_WORDS.items() if answer.text.startswith(own)), answer.text)
    found = run_script(answer, "7.0", RUSSIAN_EXPORT["templates"][0])
    assert (found["state"], found["text"], found.get("perf", {})) == (answer.state, text, dict(answer.perf))


def test_no_script_looks_for_words_of_a_sentence() -> None:
    """Its regular expressions hold the form of a line and of its numbers, no word but the agent's mark, which this template
    writes itself."""
    for key, item in MASTERS.items():
        script = re.sub(r"(?m)^ *//.*$", "", item["preprocessing"][1]["parameters"][0])
        words = re.findall(r"[A-Za-z]{3,}", " ".join(re.findall(r"(?<![\w)] )/(?! )((?:\\.|\[[^\]]*\]|[^/\n])+)/[gim]*(?=[.,)])", script)))
        assert "agent" in words and set(words) <= {"agent", "state"}, key
