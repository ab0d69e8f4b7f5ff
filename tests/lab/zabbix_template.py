#!/usr/bin/env python3
"""What is made from the Zabbix template, so that nobody keeps two copies equal by hand. Run as a program, it writes:

* in the template itself: the script that reads a plugin's line, copied from the first master item into the others, and
  the expressions that a trigger dependency has to repeat;
* the template "by Zabbix agent active": the same but for its name, its uuids and the type of its items;
* both in Russian: the same template to Zabbix, uuids and technical name included, in other words (zabbix_russian.yaml);
* the tables of templates/zabbix/README.md and README.ru.md: macros, items, triggers.

The YAML of "by Zabbix agent" is the source and edited by hand. A test fails when something is not up to date.
"""

from __future__ import annotations

import hashlib
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "templates/zabbix"
PASSIVE = FOLDER / "kodeks_license_key_agent/template_kodeks_license_key_agent.yaml"
ACTIVE = FOLDER / "kodeks_license_key_agent_active/template_kodeks_license_key_agent_active.yaml"
RUSSIAN = {path: path.with_suffix(".ru.yaml") for path in (PASSIVE, ACTIVE)}
READMES = {FOLDER / "README.md": PASSIVE, FOLDER / "README.ru.md": RUSSIAN[PASSIVE]}
"""Each README, and the template that its tables tell."""
TECHNICAL = "Kodeks license key by Zabbix agent"
"""What the technical name of both templates begins with."""
CATALOGUE = Path(__file__).with_name("zabbix_russian.yaml")

_SHARED_SCRIPT = re.compile(r"(?m)^ {18}// --- The same in every master item.*\n(?: {18}.*\n|\n)*")
_DEPENDENCIES = re.compile(r"(?m)^      dependencies:\n(?:        .*\n)+")
_GROUP = re.compile(r"(?s)\A.*?\n  templates:\n")
_TABLE = re.compile(r"(?s)(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)")


def completed(template: str) -> str:
    """The template with every copy inside it renewed."""
    shared = _SHARED_SCRIPT.findall(template)
    template = _SHARED_SCRIPT.sub(lambda match: shared[0], template)
    triggers = {str(trigger["name"]): trigger for trigger in yaml.safe_load(template)["zabbix_export"]["triggers"]}

    def dependencies(match: re.Match[str]) -> str:
        names = re.findall(r"- name: '(.*)'", match[0])
        return "      dependencies:\n" + "".join(_dependency(triggers[name]) for name in names)

    return _DEPENDENCIES.sub(dependencies, template)


def _dependency(trigger: Mapping[str, str]) -> str:
    lines = [f"        - name: {_quoted(trigger['name'])}", f"          expression: {_quoted(trigger['expression'])}"]
    if "recovery_expression" in trigger:
        lines.append(f"          recovery_expression: {_quoted(trigger['recovery_expression'])}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def active(template: str) -> str:
    """The template for active agents. The template group is the same one in every export, and so is its uuid."""
    group = _GROUP.match(template)
    assert group is not None, "no template group above the templates"
    body = template[group.end() :]
    body = body.replace("by Zabbix agent", "by Zabbix agent active").replace("type: ZABBIX_PASSIVE", "type: ZABBIX_ACTIVE")
    return group[0] + re.sub(r"(?<=uuid: )[0-9a-f]{32}", lambda match: _derived(match[0]), body)


def _derived(known: str) -> str:
    """Another uuid, always the same one for the same original, in the form of version 4, which Zabbix demands."""
    return uuid.UUID(bytes=hashlib.sha256(f"{known} active".encode()).digest()[:16], version=4).hex


# --- Russian ----------------------------------------------------------------------------------------------------


def catalogue() -> dict[str, str]:
    """English text of the templates to Russian."""
    found: dict[str, str] = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))
    return found


def russian(template: str, words: Mapping[str, str]) -> str:
    """A template in Russian: every quoted text that the catalogue has as a whole, in YAML, in the scripts (single quotes) and
    in the calculated item (double quotes). Not the technical name: expressions repeat it, so both languages are one template."""
    for english, translation in words.items():
        template = template.replace(_quoted(english), _quoted(translation)).replace(f'"{english}"', f'"{translation}"')
        if english.startswith(TECHNICAL):
            template = re.sub(rf"\b(template|host): '{translation}'", rf"\1: '{english}'", template)
    return template


# --- Tables -----------------------------------------------------------------------------------------------------


_HEADS = {
    "macros": (("Name", "Default", "Description"), ("Имя", "По умолчанию", "Описание")),
    "items": (("Name", "Description", "Type", "Key"), ("Имя", "Описание", "Тип", "Ключ")),
    "triggers": (
        ("Name", "Alert", "Severity", "Depends on", "Description", "Expression"),
        ("Имя", "Оповещение", "Важность", "Зависит от", "Описание", "Выражение"),
    ),
}
_KINDS = {
    "DEPENDENT": ("dependent", "зависимый"), "CALCULATED": ("calculated", "вычисляемый"), "ZABBIX_PASSIVE": ("agent", "агент"),
    "WARNING": ("Warning", "предупреждение"), "AVERAGE": ("Average", "средняя"), "HIGH": ("High", "высокая"),
}  # fmt: skip
"""Headings and words of the tables in English and in Russian."""


def with_tables(readme: str, template: str, language: int) -> str:
    """The README with its tables filled in again. `language`: 0 English, 1 Russian."""
    export = yaml.safe_load(template)["zabbix_export"]
    tables: dict[str, Callable[[Any, int], Iterable[Iterable[str]]]] = {"macros": _macros, "items": _items, "triggers": _triggers}

    def table(match: re.Match[str]) -> str:
        name = match[2]
        return f"{match[1]}\n{_table(_HEADS[name][language], tables[name](export, language))}\n{match[3]}"

    return _TABLE.sub(table, readme)


def _macros(export: Any, _language: int) -> Iterable[Iterable[str]]:
    return ((f"`{macro['macro']}`", f"`{macro['value']}`" if macro.get("value") else "", macro["description"])
            for macro in export["templates"][0]["macros"])  # fmt: skip


def _items(export: Any, language: int) -> Iterable[Iterable[str]]:
    return ((item["name"], item.get("description", ""), _KINDS[item["type"]][language], f"`{item['key']}`")
            for item in export["templates"][0]["items"])  # fmt: skip


def _triggers(export: Any, language: int) -> Iterable[Iterable[str]]:
    template = export["templates"][0]["template"]
    for trigger in export["triggers"]:
        alert = next(tag["value"] for tag in trigger["tags"] if tag["tag"] == "alert")
        above = "<br>".join(dependency["name"] for dependency in trigger.get("dependencies", ()))
        expression = trigger["expression"].replace(f"/{template}/", "//")
        severity = _KINDS[trigger["priority"]][language]
        yield trigger["name"], f"`{alert}`", severity, above, trigger["description"], f"`{expression}`"


def _table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |\n" for line in lines)


# --- Files ------------------------------------------------------------------------------------------------------


def made() -> dict[Path, str]:
    """Every file that is made, with the text it should have."""
    words = catalogue()
    texts = {PASSIVE: completed(PASSIVE.read_text(encoding="utf-8"))}
    texts[ACTIVE] = active(texts[PASSIVE])
    texts |= {path: russian(texts[english], words) for english, path in RUSSIAN.items()}
    return texts | {
        path: with_tables(path.read_text(encoding="utf-8"), texts[source], language)
        for language, (path, source) in enumerate(READMES.items())
    }


def main() -> int:
    """Write what is not up to date."""
    for path, text in made().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(FOLDER)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
