"""What the checks cost, in one table: whole processes, interleaved, against the bare interpreter, their import floor and peers.

    .venv/bin/python -m benchmark              (in tests/) start-up, reports of 20 and 200 MB, many runs
    .venv/bin/python -m benchmark --rounds 60 --sizes 20 200 2000 --many 500

The machines are noisy: every round runs every command once, so that noise falls on all alike; only ratios travel.
The interpreter is Debian's with Debian's libraries, as operators have it. Peak memory is VmHWM of the process itself:
getrusage() would tell that of its parent before exec(), so each command is started by the small program `time`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import reports
from lab.forwarder_tools import sample
from lab.kodeks_server import PASSWORD, USER, KodeksServer
from lab.run_check import CHECKS
from lab.usb_bus import UsbBus

PYTHON = "/usr/bin/python3"
PLUGINS = "/usr/lib/nagios/plugins"
HELLO = (
    "import argparse, nagiosplugin as n\n"
    "class R(n.Resource):\n  def probe(self): return n.Metric('x', 1)\n"
    "argparse.ArgumentParser().parse_args([])\n"
    "n.Check(R(), n.ScalarContext('x', '0:2', '0:3')).main(0, 10)\n"
)
BARE_EXPAT = (
    "import sys\nfrom xml.parsers import expat\n"
    "parser = expat.ParserCreate()\nparser.ParseFile(open(sys.argv[1], 'rb'))\n"
)
ITERPARSE = (
    "import sys\nfrom xml.etree.ElementTree import iterparse\n"
    "for _, element in iterparse(sys.argv[1]): element.clear()\n"
)
LXML = "import sys\nfrom lxml.etree import iterparse\nfor _, element in iterparse(sys.argv[1]): element.clear()\n"


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
        """Run it once and note what it cost."""
        with tempfile.NamedTemporaryFile("r") as note:
            argv = ["/usr/bin/time", "-f", "%M", "-o", note.name, *self.argv]
            before, started = os.times(), time.perf_counter()
            subprocess.run(argv, env={**os.environ, **self.env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
            self.wall.append(time.perf_counter() - started)
            after = os.times()
            self.cpu.append(after.children_user - before.children_user + after.children_system - before.children_system)
            self.peak = max(self.peak, int(note.read().split()[-1]))


def measure(commands: Sequence[Command], rounds: int) -> None:
    """Run all commands `rounds` times in turn."""
    for number in range(rounds + 1):
        for command in commands:
            command.run()
            if number == 0:  # warms the caches, counts for nothing
                command.wall.clear()
                command.cpu.clear()


def table(commands: Sequence[Command]) -> None:
    """Print one row a command: medians, the ratio to its floor, the least time, CPU, memory."""
    by_name = {command.name: command for command in commands}
    print(f"{'':44} {'median':>9} {'least':>9} {'CPU':>9} {'peak':>8}  ratio of medians (of least) to its floor")
    for command in commands:
        wall, least = statistics.median(command.wall), min(command.wall)
        row = f"{command.name:44} {wall * 1e3:7.1f}ms {least * 1e3:7.1f}ms {statistics.median(command.cpu) * 1e3:7.1f}ms {command.peak / 1024:5.1f}MiB"
        floor = by_name.get(command.floor)
        if floor:
            ratio, ratio_of_least = wall / statistics.median(floor.wall), least / min(floor.wall)
            row += f"  {ratio:.2f} ({ratio_of_least:.2f}) x {floor.name}"
        print(row)
    print()


def python(text: str, *arguments: str) -> list[str]:
    """An interpreter that runs a few lines."""
    return [PYTHON, "-c", text, *arguments]


def check(name: str, *arguments: str) -> list[str]:
    """A check as an engine runs it."""
    return [PYTHON, str(CHECKS / f"check_{name}.py"), *arguments]


def start_up(rounds: int, folder: Path) -> None:
    """Start-up of each check on its OK path beside the floors and the peers."""
    listing, password = folder / "list.txt", folder / "password"
    listing.write_bytes(sample("usbclnt-list-key-connected-constructed.txt"))
    password.write_text(PASSWORD, encoding="utf-8")
    password.chmod(0o600)
    floors = [
        Command("python3 -c pass", python("pass")),
        Command("floor: nagiosplugin", python("import argparse, nagiosplugin")),
        Command("floor: + usb.core", python("import argparse, nagiosplugin, usb.core")),
        Command("floor: + usb.core, libusb1", python("import argparse, nagiosplugin, usb.core, usb.backend.libusb1")),
        Command("floor: + http.client", python("import argparse, nagiosplugin, http.client")),
        Command("floor: + psutil", python("import argparse, nagiosplugin, psutil")),
        Command("hello world in nagiosplugin", python(HELLO)),
    ]
    with UsbBus() as bus, KodeksServer() as server:
        bus.add_key()
        kodeks = ["-H", server.host, "-p", str(server.port), "-l", USER, "--password-file", str(password)]
        redirector = ["--product", "usb-redirector", "--license-expires", "perpetual"]
        ours = [
            Command("check_senselock", check("senselock"), bus.env(), "floor: + usb.core"),
            Command("check_usb_redirector, captured list",
                    check("usb_redirector", *redirector, "--device", "0471:485d", "--list-output", str(listing)), {}, "floor: nagiosplugin"),
            Command("check_usb_redirector, process", check("usb_redirector", *redirector, "--process", "python3", "--no-list"), {}, "floor: + psutil"),
            Command("check_kodeks_xml, page", check("kodeks_xml", *kodeks, "--source", "page"), {}, "floor: + http.client"),
            Command("check_kodeks_xml, ZIP of the server", check("kodeks_xml", *kodeks), {}, "floor: + http.client"),
        ]  # fmt: skip
        venv = Path(sys.executable).parent
        peers = [
            Command("C check_tcp", [f"{PLUGINS}/check_tcp", "-H", server.host, "-p", str(server.port)]),
            Command("C check_http", [f"{PLUGINS}/check_http", "-H", server.host, "-p", str(server.port)]),
            Command("C check_procs", [f"{PLUGINS}/check_procs"]),
            Command("lsusb", ["lsusb"], bus.env()),
            Command("check_systemd (Python)", [str(venv / "check_systemd"), "--no-startup-time"]),
            Command("check_patroni (Python)", [str(venv / "check_patroni"), "-e", f"http://127.0.0.1:{server.port}", "node_is_alive"]),
        ]
        commands = [*floors, *ours, *peers]
        absent = [command.argv[0] for command in commands if "/" in command.argv[0] and not Path(command.argv[0]).exists()]
        if absent:
            sys.exit(f"not installed: {', '.join(absent)}; sh tests/run.sh installs the packages, pip the Python peers")
        measure(commands, rounds)
    print("Start-up, whole processes")
    table(commands)


def big_reports(rounds: int, sizes: Sequence[int], folder: Path) -> None:
    """Reports of any size against the parsers they could be read with."""
    for size in sizes:
        xml, packed = folder / "report.xml", folder / "report.zip"
        with xml.open("wb") as file:
            file.writelines(reports.report(size=size * 1_000_000))
        packed.write_bytes(reports.zip_report(reports.report(size=size * 1_000_000)))
        limit = ["--max-size", str(size + 1), "-t", "600"]
        commands = [
            Command("bare expat, no handlers", python(BARE_EXPAT, str(xml))),
            Command("ElementTree.iterparse", python(ITERPARSE, str(xml)), {}, "bare expat, no handlers"),
            Command("lxml.iterparse", [sys.executable, "-c", LXML, str(xml)], {}, "bare expat, no handlers"),
            Command("check_kodeks_xml --file report.xml", check("kodeks_xml", "--file", str(xml), *limit), {}, "bare expat, no handlers"),
            Command("check_kodeks_xml --file report.zip", check("kodeks_xml", "--file", str(packed), *limit), {}, "bare expat, no handlers"),
        ]
        measure(commands, max(1, rounds // 10) if size < 1000 else 1)
        print(f"A report of {size} MB ({packed.stat().st_size // 1000} kB as a ZIP)")
        table(commands)


def many(runs: int, folder: Path) -> None:
    """Runs one after the other on all cores: checks a second, and CPU seconds a check."""
    password = folder / "password"
    with UsbBus() as bus, KodeksServer() as server:
        bus.add_key()
        kodeks = ["-H", server.host, "-p", str(server.port), "-l", USER, "--password-file", str(password), "--source", "page"]
        redirector = ["--product", "usb-redirector", "--license-expires", "perpetual", "--list-output", str(folder / "list.txt")]
        rows = [
            ("check_senselock", check("senselock"), bus.env()),
            ("check_usb_redirector", check("usb_redirector", *redirector), {}),
            ("check_kodeks_xml, page", check("kodeks_xml", *kodeks), {}),
            ("hello world in nagiosplugin", python(HELLO), {}),
            ("C check_tcp", [f"{PLUGINS}/check_tcp", "-H", server.host, "-p", str(server.port)], {}),
        ]
        print(f"{runs} runs of each, {os.cpu_count()} at a time")
        for name, argv, env in rows:
            before, started = os.times(), time.perf_counter()
            running: list[subprocess.Popen[bytes]] = []
            for _ in range(runs):
                if len(running) >= (os.cpu_count() or 1):
                    running.pop(0).wait()
                running.append(
                    subprocess.Popen(argv, env={**os.environ, **env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                )
            for child in running:
                child.wait()
            wall, after = time.perf_counter() - started, os.times()
            cpu = after.children_user - before.children_user + after.children_system - before.children_system
            print(f"{name:44} {runs / wall:7.1f} checks/s   {cpu / runs * 1e3:6.1f} ms CPU each")


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(prog="benchmark", description=__doc__.split("\n")[0])
    options.add_argument("--rounds", type=int, default=40, help="runs of each command")
    options.add_argument("--sizes", type=int, nargs="*", default=[20, 200], help="report sizes in MB")
    options.add_argument("--many", type=int, default=500, help="runs of each check in the last table")
    values = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark.") as folder:
        start_up(values.rounds, Path(folder))
        big_reports(values.rounds, values.sizes, Path(folder))
        many(values.many, Path(folder))


if __name__ == "__main__":
    main()
