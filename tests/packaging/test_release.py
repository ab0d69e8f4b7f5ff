"""The version stands in one place, and whatever else names it, names the same one."""

from __future__ import annotations

import email.utils
import re

from lab.run_check import CHECKS, ROOT, VERSION


def test_both_changelogs_begin_with_this_version_and_one_date() -> None:
    newest = re.search(r"^## (\S+) - (\d{4}-\d\d-\d\d)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    debian = (ROOT / "packaging/debian/changelog").read_text("utf-8")
    packaged = re.match(r"[a-z-]+ \((\S+)\) ", debian)
    signed = re.search(r"^ -- .*>  (.*)$", debian, re.M)
    assert newest and packaged and signed
    assert newest[1] == packaged[1] == VERSION
    assert newest[2] == f"{email.utils.parsedate_to_datetime(signed[1]):%Y-%m-%d}"


def test_no_other_file_holds_the_version() -> None:
    """A version that somebody must remember to change is one that somebody forgets. Libraries have versions of their own."""
    files = [*CHECKS.rglob("*.py"), *ROOT.glob("*.py"), *ROOT.glob("*.cfg"), *ROOT.glob("*.toml"), *(ROOT / "packaging").rglob("*.*"), *ROOT.glob("*.md")]
    named = re.compile(rf"(?<![\d.]){re.escape(VERSION)}(?![\d.])")
    holding = {str(file.relative_to(ROOT)) for file in files if file.is_file() and "__pycache__" not in file.parts and named.search(file.read_text("utf-8"))}
    assert holding <= {"checks/kodeks_monitoring/__init__.py", "CHANGELOG.md"}
    assert "checks/kodeks_monitoring/__init__.py" in holding
