"""Whole processes measured: time on the wall, CPU time and peak memory, interleaved so that noise falls on all alike.

Wall and CPU are those of the process alone (wait4). Peak memory is its largest resident set, read in runs of their own:
the kernel counts the memory of the starting process in, so there each command is started by the small program `time`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.run_check import CHECKS

PYTHON = "/usr/bin/python3"
"""Debian's, with Debian's libraries, as operators have it."""
ENV = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
BARE_EXPAT = "import sys\nfrom xml.parsers import expat\nparser = expat.ParserCreate()\nparser.ParseFile(open(sys.argv[1], 'rb'))\n"
PINNED = ("--record", "/sysinfo/protection/binding")
"""The pin of the key's record in the reports of lab/reports.py."""


@dataclass
class Command:
    """A command line and what its runs cost: seconds on the wall, seconds of CPU, the largest resident set in KiB."""

    name: str
    argv: Sequence[str]
    env: dict[str, str] = field(default_factory=dict)
    floor: str = ""
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    peak: int = 0

    def run(self) -> None:
        """Run it once and note what it cost. It must end well, so that no number is the cost of a failure."""
        started = time.perf_counter()
        child = subprocess.Popen(self.argv, env={**ENV, **self.env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
        self.wall.append(time.perf_counter() - started)
        self.cpu.append(usage.ru_utime + usage.ru_stime)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said = subprocess.run(self.argv, env={**ENV, **self.env}, capture_output=True, text=True, check=False)
            sys.exit(f"{self.name} ended with {child.returncode}: {' '.join(self.argv)}\n{said.stdout}{said.stderr}")

    def costs(self) -> tuple[float, float, float]:
        """Median and least time on the wall, median of the CPU time, in seconds."""
        return statistics.median(self.wall), min(self.wall), statistics.median(self.cpu)

    def weigh(self) -> None:
        """Run it once and note the memory it took."""
        with tempfile.NamedTemporaryFile("r") as note:
            argv = ["/usr/bin/time", "-f", "%M", "-o", note.name, *self.argv]
            subprocess.run(argv, env={**ENV, **self.env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            self.peak = max(self.peak, int(note.read().split()[-1]))


def measure(commands: Sequence[Command], rounds: int) -> None:
    """Run all commands in turn: once for their memory, which warms the caches, then `rounds` times for their time."""
    for command in commands:
        command.weigh()
    for _ in range(rounds):
        for command in commands:
            command.run()


def python(text: str, *arguments: str) -> list[str]:
    """An interpreter that runs a few lines."""
    return [PYTHON, "-c", text, *arguments]


def importing(modules: str) -> list[str]:
    """An interpreter that imports what a check of this kind needs, and nothing else: the floor of its start-up."""
    return python(f"import argparse, nagiosplugin{modules and ', '}{modules}")


def check(name: str, *arguments: str, folder: Path = CHECKS) -> list[str]:
    """A check as an engine runs it."""
    return [PYTHON, str(folder / f"check_{name}.py"), *arguments]
