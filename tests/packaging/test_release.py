"""The version stands in one place, and whatever else names it, names the same one."""

from __future__ import annotations

import email.utils
import re

from lab.run_check import CHECKS, ROOT

VERSION = re.search(r'^__version__ = "(.+)"$', (CHECKS / "plugin_runtime.py").read_text("utf-8"), re.M)


def test_both_changelogs_begin_with_this_version_and_one_date() -> None:
    assert VERSION
    newest = re.search(r"^## (\S+) - (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    debian = (ROOT / "packaging/debian/changelog").read_text("utf-8")
    packaged = re.match(r"[a-z-]+ \((\S+)\) ", debian)
    signed = re.search(r"^ -- .*>  (.*)$", debian, re.M)
    assert newest and packaged and signed
    assert newest[1] == packaged[1] == VERSION[1]
    assert newest[2] == f"{email.utils.parsedate_to_datetime(signed[1]):%Y-%m-%d}"


def test_no_other_file_holds_the_version() -> None:
    """A version that somebody must remember to change is one that somebody forgets. Libraries have versions of their own."""
    assert VERSION
    files = [*CHECKS.glob("*.py"), *ROOT.glob("*.cfg"), *ROOT.glob("*.toml"), *(ROOT / "packaging").rglob("*.*"), *ROOT.glob("*.md")]
    named = re.compile(rf"(?<![\d.]){re.escape(VERSION[1])}(?![\d.])")
    holding = {str(file.relative_to(ROOT)) for file in files if file.is_file() and "__pycache__" not in file.parts and named.search(file.read_text("utf-8"))}
    assert holding <= {"checks/plugin_runtime.py", "CHANGELOG.md"}
    assert "checks/plugin_runtime.py" in holding
