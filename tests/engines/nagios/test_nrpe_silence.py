"""What NRPE makes of a plugin that ends without a word, and what the README's table says about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from lab.engine_folders import folder_of
from lab.engine_process import AS_ENGINE, SYSTEM_PATH
from lab.kodeks_machine import plugin_folder
from lab.nagios_lab import TEMPLATES
from lab.nrpe_lab import NrpeAgent
from lab.run_check import run_process

pytestmark = pytest.mark.xdist_group("nagios")

CHECK = "kodeks/check_senselock.py"


class Site(NamedTuple):
    """An agent and its plugin folder."""

    plugins: Path
    agent: NrpeAgent


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """An agent with a plugin folder that tests may damage."""
    with plugin_folder(folder_of("nrpe")) as plugins, NrpeAgent({"/usr/lib/nagios/plugins": str(plugins)}) as agent:
        yield Site(plugins, agent)


def remove(plugin: Path) -> None:
    """The file is gone."""
    plugin.unlink()


def windows_lines(plugin: Path) -> None:
    """A copy by way of Windows."""
    plugin.write_bytes(plugin.read_bytes().replace(b"\n", b"\r\n"))


def not_executable(plugin: Path) -> None:
    """A copy that lost its mode."""
    plugin.chmod(0o644)


def killed(plugin: Path) -> None:
    """The kernel ends it before it has said anything."""
    plugin.write_text("#!/bin/sh\nkill -9 $$\n")


def too_new(plugin: Path) -> None:
    """Its Python does not know a form that it uses."""
    plugin.write_text("#!/usr/bin/env python3\nprint 'a form of another Python'\n")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "not found": remove,
    r"python3\r": windows_lines,
    "Permission denied": not_executable,
    "Killed": killed,
    "SyntaxError": too_new,
}
"""By the words that the README's table has for them."""


@pytest.mark.parametrize("words", DAMAGES)
def test_a_plugin_without_a_word_is_unknown_and_in_the_table(site: Site, words: str) -> None:
    """The table says what the shell or Python says when people run the plugin by hand, and the exit code."""
    plugin = site.plugins / CHECK
    before, mode = plugin.read_bytes(), plugin.stat().st_mode
    DAMAGES[words](plugin)
    try:
        answer = site.agent.call("kodeks_senselock")
        by_hand = run_process(site.agent.programs.command(*AS_ENGINE, "sh", "-c", f"{plugin}; echo $?"), env={"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"})
    finally:
        plugin.unlink(missing_ok=True)
        plugin.write_bytes(before)
        plugin.chmod(mode)
    assert (answer.code, answer.text) == (3, "NRPE: Unable to read output\n")
    assert f"\n| `{words}`, {by_hand.text.strip()} |" in (TEMPLATES / "README.md").read_text()
    assert words in by_hand.stderr.decode()
