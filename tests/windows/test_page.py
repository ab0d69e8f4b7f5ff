"""Somebody follows templates/windows/README.md: every command of that page, word for word, in an unpacked archive of the project.

What this machine has no program for is left out (OTHERS); the editor is the test. `icacls` of Wine does nothing and says so by no
word: it shows that the command is understood, not that the folder is closed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.forwarder_tools import sample
from lab.markdown import Page
from lab.run_check import ROOT
from lab.windows import LIBUSB, WindowsMachine, compiled

PAGE = Page(ROOT / "templates/windows/README.md")
OTHERS = ("net ", '"C:\\Program Files\\Python311\\python.exe" -m pip ')
"""How lines begin that need the agents' services or a package index."""
ARCHIVE = "Users/Public/kodeks"
KEY = {"KODEKS_LAB_USB": "1:8086:a36d 1-4:0471:485d"}


def blocks(heading: str) -> list[list[str]]:
    """The code blocks below a heading, as lines."""
    (section,) = re.findall(rf"(?ms)^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE.text)
    return [block.splitlines() for block in re.findall(r"(?ms)^```bat\n(.*?)^```$", section)]


class Newcomer:
    """Who follows the page. pip has been run; both agents' folders are there, as their installers leave them."""

    def __init__(self, windows: WindowsMachine) -> None:
        self.windows = windows
        shutil.rmtree(windows.checks)
        for name in ("checks", "templates"):
            shutil.copytree(ROOT / name, windows.disk / ARCHIVE / name, ignore=shutil.ignore_patterns("__pycache__"))
        package = windows.programs / "Python311/Lib/site-packages/libusb_package"
        package.mkdir()
        shutil.copy(compiled("libusb.c", "-shared"), package / LIBUSB.name)
        self.agent = windows.programs / "Zabbix Agent 2"
        (self.agent / "zabbix_agent2.d/plugins.d").mkdir(parents=True)
        (self.agent / "zabbix_agent2.conf").write_text("Include=.\\zabbix_agent2.d\\plugins.d\\*.conf\n")
        windows.stand_in("usbrdrltsh", sample("usbclnt-list-key-connected-constructed.txt"))

    def follows(self, block: list[str]) -> str:
        """The lines of a block; what the last one printed. Only a check may answer with another code than 0."""
        said = ""
        for line in block:
            if not line.startswith((*OTHERS, "notepad ")):
                path = r"C:\forwarders;C:\windows\system32;C:\windows"
                folder = "C:\\" + ARCHIVE.replace("/", "\\")
                outcome = self.windows.run(line, "zabbix", {**KEY, "PATH": path}, folder, patience=120)
                assert outcome.code == 0 or "kodeks_setup" in line, f"{line}\n{outcome.text}\n{outcome.stderr!r}"
                said = outcome.text
        return said

    @property
    def ini(self) -> Path:
        """The file of the checks."""
        return self.windows.disk / "ProgramData/kodeks/kodeks.ini"

    def asks(self, parameter: str) -> str:
        """The first line of what the agent's file runs for the key."""
        text = (self.agent / "zabbix_agent2.d/userparameter_kodeks_windows.conf").read_text("utf-8")
        (command,) = re.findall(rf"(?m)^UserParameter={parameter}\[\*\],(.*)$", text)
        outcome = self.windows.run(command.replace("$1", "check_senselock").replace("$2", "30"), "zabbix", KEY)
        return outcome.line


@pytest.fixture
def newcomer(new_windows: WindowsMachine) -> Iterator[Newcomer]:
    """On a machine with nothing of this project, after the page's first chapter."""
    who = Newcomer(new_windows)
    (block,) = blocks("Install")
    assert who.follows(block).startswith("SENSELOCK OK - 1 SenseLock key")
    yield who


def test_no_block_is_left_out() -> None:
    walked = [*blocks("Install"), *blocks("Zabbix agent and Zabbix agent 2"), *blocks("NSClient++ (Nagios, Icinga)"), *blocks("Upgrade")]
    assert len(walked) == len(PAGE.fences) == 5


def test_zabbix_by_kodeks_setup(newcomer: Newcomer) -> None:
    quick, _by_hand = blocks("Zabbix agent and Zabbix agent 2")
    newcomer.follows(quick)
    assert "product = usb-redirector" in newcomer.ini.read_text("utf-8")
    assert (newcomer.agent / "zabbix_agent2.conf").read_text("utf-8").endswith("zabbix_agent2.d\\*.conf\n")
    assert newcomer.asks("kodeks.key").startswith("SENSELOCK OK - ")
    (upgrade,) = blocks("Upgrade")
    newcomer.follows(upgrade)
    assert newcomer.asks("kodeks.key").startswith("SENSELOCK OK - ")


def test_by_hand(newcomer: Newcomer) -> None:
    """The editor deletes the line that the page says to delete."""
    _quick, by_hand = blocks("Zabbix agent and Zabbix agent 2")
    (nsclient,) = blocks("NSClient++ (Nagios, Icinga)")
    for block in (nsclient, by_hand):
        newcomer.follows(block)
        newcomer.ini.write_text(re.sub(r"(?m)^location = .*\n", "", newcomer.ini.read_text("utf-8")), "utf-8")
    assert newcomer.asks("kodeks.key").startswith("SENSELOCK OK - ")
