"""The engines' files of kodeks_setup: what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from kodeks_monitoring.contract.private_files import parse_ini
from lab.run_check import PACKAGE, ROOT

ENGINES = sorted((PACKAGE / "setup/engines").iterdir())
TEMPLATES = ROOT / "templates"


def facts(path: Path) -> dict[str, str]:
    found = parse_ini(path.read_text("utf-8").partition("[other side]")[0], "engine")
    assert found is not None
    return {key: value or "" for key, value in found}


def other_side(path: Path) -> str:
    return path.read_text("utf-8").partition("[other side]\n")[2]


@pytest.mark.parametrize("path", ENGINES, ids=lambda path: path.stem)
def test_an_engine_names_its_places(path: Path) -> None:
    engine = facts(path)
    assert {"name", "config", "user", "ini", "folder"} <= engine.keys()
    assert other_side(path).strip()
    assert ("template" in engine) == ("restart" in engine)
    if "template" in engine:
        text = (TEMPLATES / engine["template"]).read_text("utf-8")
        assert engine["ini"] in text and engine["folder"] in text


@pytest.mark.parametrize("path", [path for path in ENGINES if path.name.startswith("zabbix")], ids=lambda path: path.stem)
def test_zabbix_has_these_macros(path: Path) -> None:
    (template,) = re.findall(r"templates/\S+\.yaml", other_side(path))
    known = set(re.findall(r"macro: '(\{\$[A-Z.]+\})'", (ROOT / template).read_text("utf-8")))
    assert (ROOT / template).with_suffix(".ru.yaml").exists()
    assert set(re.findall(r"\{\$[A-Z.]+\}", other_side(path))) <= known
