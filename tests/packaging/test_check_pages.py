"""Somebody who has installed the checks follows the quick start of a check's page: its commands, in the folder that it names.

What the lines say is held by tests/unit/test_runbooks.py; here they are run where a reader runs them, with the libraries that
the page installs.
"""

from __future__ import annotations

import re

import pytest
from lab.kodeks_server import PASSWORD
from lab.machine_to_set_up import MachineToSetUp
from lab.markdown import Page
from lab.run_check import CHECKS, ROOT, SERVICES

pytestmark = pytest.mark.xdist_group("seen-everywhere")  # as in test_readme_walk.py
EDITOR = f"printf '#!/bin/sh\\necho {PASSWORD} >$1\\n' >/usr/local/bin/editor && chmod 755 /usr/local/bin/editor"
NAMED = ("/usr/lib/nagios/plugins/kodeks", "/usr/local/lib/kodeks")


@pytest.mark.parametrize("check", SERVICES)
def test_the_quick_start(check: str) -> None:
    page = Page(ROOT / f"docs/check_{check}.md")
    (quick,) = re.findall(r"(?ms)^## Quick start\n(.*?)^## ", page.text)
    (needed,) = re.findall("`apt install ([^`]+)`", quick)
    commands = re.findall(r"(?m)^(?:\$ )?(\./check.*|install .*|editor .*)\n(?:[A-Z_]+ ([A-Z]+) - )?", quick)
    assert len(commands) >= 2
    with MachineToSetUp(["nrpe"]) as machine:
        machine.usb_redirector()
        port = machine.kodeks()
        others = {"python3-usb", "python3-psutil", "python3-nagiosplugin", "libusb-1.0-0"} - {*needed.split()}
        machine.machine.run("sh", "-c", f"{EDITOR}; dpkg --purge --force-depends {' '.join(others)} >&2")
        for folder in NAMED:
            assert folder in quick
            machine.machine.run("sh", "-c", f"mkdir -p {folder} && cp -r {CHECKS}/. {folder}/")
            for line, state in commands:
                typed = line.replace("kodeks.example", "127.0.0.1").replace("8080", str(port)).replace("2027-06-11", "perpetual")
                outcome = machine.machine.try_run("sh", "-c", f"cd {folder} && {typed}", env=machine.env)
                said = outcome.text.split(" ")[1] if state else ""
                assert (said, outcome.stderr) == (state, b""), f"{line}\n{outcome.text}{outcome.stderr!r}"
