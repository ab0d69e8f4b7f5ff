"""What the checks cost, in tables: whole processes, interleaved, against the bare interpreter, their import floor and peers.

    .venv/bin/python -m benchmark              (in tests/) start-up, reports of 20 and 200 MB, many runs: ten minutes
    .venv/bin/python -m benchmark --rounds 60 --sizes 20 200 500 --many 500
    .venv/bin/python -m benchmark --sizes --many 0     start-up alone

The machines are noisy: every round runs every command once, so that noise falls on all alike; only ratios travel. Every
command must end with exit code 0. The interpreter is Debian's with Debian's libraries, as operators have it, and the modules
of the checks are compiled, as they are after root's first run.
"""

from __future__ import annotations

import argparse
import http.server
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import reports
from lab.forwarder_tools import forwarder_daemon, sample
from lab.kodeks_server import PASSWORD, USER, KodeksServer
from lab.nrpe_lab import CHECK_NRPE, NrpeAgent
from lab.run_check import CHECKS, ROOT
from lab.usb_bus import UsbBus

from benchmark.measuring import BARE_EXPAT, ENV, PINNED, PYTHON, Command, check, importing, measure, python

PLUGINS = "/usr/lib/nagios/plugins"
PEERS = ROOT / ".venv/peers"
UNCACHED = {"PYTHONDONTWRITEBYTECODE": "1"}

DAEMON = "usbsrvd-cost"  # a process of our own: the check counts neither itself nor its parents
HELLO = (
    "import argparse, nagiosplugin as n\n"
    "class R(n.Resource):\n  def probe(self): return n.Metric('x', 1)\n"
    "argparse.ArgumentParser().parse_args([])\n"
    "n.Check(R(), n.ScalarContext('x', '0:2', '0:3')).main(0, 10)\n"
)
# What Linuxfabrik's check "uptime" imports. PyPI and Debian have the library, not the plugins, so this is their floor.
LINUXFABRIK = "import argparse, sys, lib.args, lib.base, lib.cache, lib.human, lib.time, psutil"
# The usual ways to read a large document element by element: what has been read is dropped.
ELEMENT_TREE = (
    "import sys\nfrom xml.etree.ElementTree import iterparse\n"
    "events = iterparse(sys.argv[1], ('start', 'end'))\n_, root = next(events)\n"
    "for event, element in events:\n  if event == 'end': root.clear()\n"
)
LXML = (
    "import sys\nfrom lxml.etree import iterparse\n"
    "for _, element in iterparse(sys.argv[1]):\n"
    "  element.clear()\n"
    "  while element.getprevious() is not None: del element.getparent()[0]\n"
)


# --- Tables and commands -------------------------------------------------------------------------------------


def table(title: str, commands: Sequence[Command]) -> None:
    """Print one row a command: medians, the least time, CPU, memory, the ratios to its floor."""
    by_name = {command.name: command for command in commands}
    print(f"\n{title}\n")
    print("| | median ms | least ms | CPU ms | peak MiB | x its floor: median, least, CPU |\n|---|---|---|---|---|---|")
    for command in commands:
        numbers, ratio, floor = command.costs(), "", by_name.get(command.floor)
        if floor:
            ratios = (f"{mine / its:.2f}" for mine, its in zip(numbers, floor.costs()))
            ratio = f"{', '.join(ratios)} x {floor.name}"
        shown = " | ".join(f"{number * 1e3:.1f}" for number in numbers)
        print(f"| {command.name} | {shown} | {command.peak / 1024:.1f} | {ratio} |", flush=True)


def elsewhere(argv: Sequence[str], folder: Path) -> list[str]:
    """The same check from another folder."""
    return [word.replace(str(CHECKS), str(folder)) for word in argv]


# --- What the commands ask ------------------------------------------------------------------------------------


class _Alive(http.server.BaseHTTPRequestHandler):
    """Patroni's REST API as far as node_is_alive asks it: 200."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def patroni() -> Iterator[str]:
    """The address of something that answers as a living Patroni."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Alive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


UNITS = (
    "  UNIT                 LOAD   ACTIVE SUB     DESCRIPTION\n"
    "  cron.service         loaded active running Regular background program processing daemon\n"
    "  dbus.service         loaded active running D-Bus System Message Bus\n"
    "\n"
    "LOAD   = Reflects whether the unit definition was properly loaded.\n"
    "ACTIVE = The high-level unit activation state, i.e. generalization of SUB.\n"
    "SUB    = The low-level unit activation state, values depend on unit type.\n"
    "2 loaded units listed.\n"
)


@dataclass(frozen=True)
class Stage:
    """What the checks and their peers ask: a bus with a key, a Kodeks server, a forwarder's list, a Patroni, a systemctl, an NRPE agent."""

    folder: Path
    bus: UsbBus
    server: KodeksServer
    patroni: str
    nrpe: int

    def kodeks(self, *further: str) -> list[str]:
        """check_kodeks_xml with its login."""
        password = str(self.folder / "password")
        return check(
            "kodeks_xml", "-H", self.server.host, "-p", str(self.server.port), "-l", USER, "--password-file", password, *further
        )

    def redirector(self, *further: str) -> list[str]:
        """check_usb_redirector of a product with a license that lasts."""
        return check("usb_redirector", "--product", "usb-redirector", "--license-expires", "perpetual", *further)

    def listed(self) -> list[str]:
        """check_usb_redirector that reads a captured list."""
        return self.redirector("--device", "0471:485d", "--list-output", str(self.folder / "list.txt"))

    def peers(self) -> list[Command]:
        """Other people's checks on their OK path."""
        host, port = self.server.host, str(self.server.port)
        path = {"PATH": f"{self.folder}:{os.environ['PATH']}"}
        return [
            Command("check_tcp (C)", [f"{PLUGINS}/check_tcp", "-H", host, "-p", port]),
            Command("check_http (C)", [f"{PLUGINS}/check_http", "-H", "127.0.0.1", "-p", self.patroni.rpartition(":")[2]]),
            # All that a Nagios server does for a check that NRPE runs elsewhere: TLS, a question, an answer.
            Command("check_nrpe (C)", [CHECK_NRPE, "-H", "127.0.0.1", "-p", str(self.nrpe)]),
            Command("check_procs (C)", [f"{PLUGINS}/check_procs"]),
            Command("lsusb (C)", ["lsusb"], self.bus.env()),
            Command("check_systemd (Python)", [str(PEERS / "bin/check_systemd"), "-n"], path),
            Command("check_patroni (Python)", [str(PEERS / "bin/check_patroni"), "-e", self.patroni, "node_is_alive"]),
            Command("Linuxfabrik uptime, imports alone (Python)", [str(PEERS / "bin/python"), "-c", LINUXFABRIK]),
        ]


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """Set everything up that is asked."""
    (folder / "list.txt").write_bytes(sample("usbclnt-list-key-connected-constructed.txt"))
    (folder / "password").write_text(PASSWORD, encoding="utf-8")
    (folder / "password").chmod(0o600)
    (folder / "units.txt").write_text(UNITS, encoding="utf-8")
    systemctl = folder / "systemctl"
    systemctl.write_text(f"#!/bin/sh\nexec cat {folder}/units.txt\n", encoding="utf-8")
    systemctl.chmod(0o755)
    with UsbBus() as bus, KodeksServer() as server, patroni() as address, NrpeAgent({}) as agent:
        bus.add_key()
        yield Stage(folder, bus, server, address, agent.port)


def install_peers() -> None:
    """The Python peers in an environment of their own, made at the first run."""
    wanted = Path(__file__).with_name("requirements.txt")
    done = PEERS / "requirements.txt"
    if not done.exists() or done.read_text("utf-8") != wanted.read_text("utf-8"):
        subprocess.run([PYTHON, "-m", "venv", str(PEERS)], check=True)
        subprocess.run([str(PEERS / "bin/pip"), "install", "--quiet", "-r", str(wanted)], check=True)
        done.write_text(wanted.read_text("utf-8"), encoding="utf-8")
    missing = [program for program in ("/usr/bin/time", f"{PLUGINS}/check_tcp") if not Path(program).exists()]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}; sh tests/run.sh installs the packages")


# --- The tables -----------------------------------------------------------------------------------------------


def start_up(rounds: int, folder: Path) -> None:
    """Start-up of each check on its OK path beside the floors and the peers."""
    with stage(folder) as scene, forwarder_daemon(DAEMON):
        bus = scene.bus.env()
        floors = [
            Command("python3 -c pass", python("pass")),
            Command("floor: nagiosplugin", importing("")),
            # Under the emulated bus, as the check runs: the libraries that emulate it take time to load.
            Command("floor: + usb.core", importing("usb.core"), bus),
            Command("floor: + usb.core, its libusb1", importing("usb.core, usb.backend.libusb1"), bus),
            Command("floor: + http.client", importing("http.client")),
            Command("floor: + psutil", importing("psutil")),
            Command("hello world in nagiosplugin", python(HELLO), {}, "floor: nagiosplugin"),
        ]
        process, page = scene.redirector("--process", DAEMON, "--no-list"), scene.kodeks("--source", "page")
        # A folder that the monitoring user may not write, and where root has not run them.
        sources = Path(shutil.copytree(CHECKS, folder / "sources", ignore=shutil.ignore_patterns("__pycache__")))
        ours = [
            Command("check_senselock", check("senselock"), bus, "floor: + usb.core, its libusb1"),
            Command("check_usb_redirector, captured list", scene.listed(), {}, "floor: nagiosplugin"),
            Command("check_usb_redirector, process", process, {}, "floor: + psutil"),
            Command("check_kodeks_xml, page", page, {}, "floor: + http.client"),
            Command("check_kodeks_xml, ZIP of the server", scene.kodeks("--source", "zip", *PINNED), {}, "floor: + http.client"),
            Command("check_usb_redirector, not compiled", elsewhere(scene.listed(), sources), UNCACHED, "floor: nagiosplugin"),
            Command("check_kodeks_xml, page, not compiled", elsewhere(page, sources), UNCACHED, "floor: + http.client"),
        ]
        commands = [*floors, *ours, *scene.peers()]
        measure(commands, rounds)
    table("Start-up, whole processes", commands)


def big_reports(rounds: int, sizes: Sequence[int], folder: Path) -> None:
    """Reports of any size against the parsers they could be read with."""
    xml, packed = folder / "report.xml", folder / "report.zip"
    for size in sizes:
        with xml.open("wb") as file:
            file.writelines(reports.report(size=size * 1_000_000))
        packed.write_bytes(reports.zip_report(reports.report(size=size * 1_000_000), made=datetime.now()))
        limit = ["-t", "900", *PINNED]
        expat = "bare expat, no handlers"
        commands = [
            Command("python3 -c pass", python("pass")),
            Command(expat, python(BARE_EXPAT, str(xml))),
            Command("ElementTree.iterparse", python(ELEMENT_TREE, str(xml)), {}, expat),
            Command("lxml.etree.iterparse", [str(PEERS / "bin/python"), "-c", LXML, str(xml)], {}, expat),
            Command("check_kodeks_xml --file report.xml", check("kodeks_xml", "--file", str(xml), *limit), {}, expat),
            Command("check_kodeks_xml --file report.zip", check("kodeks_xml", "--file", str(packed), *limit), {}, expat),
        ]
        runs = max(1, rounds // 4) if size < 100 else 3 if size < 1000 else 1
        if size < 100:
            with stage(folder) as scene, KodeksServer(report=xml) as plain, KodeksServer(report=packed) as zipped:
                for server, form in ((plain, "xml"), (zipped, "zip")):
                    argv = replace(scene, server=server).kodeks("--source", form, *limit)
                    commands.append(Command(f"check_kodeks_xml, the same from a server, {form.upper()}", argv, {}, expat))
                measure(commands, runs)
        else:
            measure(commands, runs)
        table(f"A report of {size} MB, {packed.stat().st_size // 1000} kB as a ZIP; {runs} rounds", commands)


def many(runs: int, folder: Path) -> None:
    """Runs one after the other on all cores: checks a second, and CPU seconds a check."""
    with stage(folder) as scene:
        rows = [
            Command("check_senselock", check("senselock"), scene.bus.env()),
            Command("check_usb_redirector, captured list", scene.listed()),
            Command("check_kodeks_xml, page", scene.kodeks("--source", "page")),
            Command("hello world in nagiosplugin", python(HELLO)),
            *scene.peers(),
        ]
        print(f"\n{runs} runs of each, {os.cpu_count()} at a time\n\n| | checks a second | CPU ms each |\n|---|---|---|")
        for row in rows:
            before, started = os.times(), time.perf_counter()
            running: list[subprocess.Popen[bytes]] = []
            for number in range(runs + 2):
                if running and (number >= runs or len(running) >= (os.cpu_count() or 1)):
                    running.pop(0).wait()
                if number < runs:
                    quiet = subprocess.DEVNULL
                    running.append(subprocess.Popen(row.argv, env={**ENV, **row.env}, stdout=quiet, stderr=quiet))
            for child in running:
                child.wait()
            wall, after = time.perf_counter() - started, os.times()
            cpu = after.children_user - before.children_user + after.children_system - before.children_system
            print(f"| {row.name} | {runs / wall:.1f} | {cpu / runs * 1e3:.1f} |")


def machine() -> str:
    """What the numbers were measured on."""
    model = next(
        (line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "CPU"
    )
    debian = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    version = subprocess.run([PYTHON, "-V"], capture_output=True, text=True, check=True).stdout.strip()
    return f"{date.today()}: {os.cpu_count()} cores of {model}, Linux {platform.release()}, {debian}, {version}"


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(prog="benchmark", description=__doc__.split("\n")[0])
    options.add_argument("--rounds", type=int, default=40, help="runs of each command")
    options.add_argument("--sizes", type=int, nargs="*", default=[20, 200], help="report sizes in MB")
    options.add_argument("--many", type=int, default=500, help="runs of each check in the last table")
    values = options.parse_args()
    install_peers()
    subprocess.run([PYTHON, "-m", "compileall", "-q", str(CHECKS)], env=ENV, check=True)
    print(machine())
    with tempfile.TemporaryDirectory(prefix="benchmark.") as folder:
        if values.rounds:
            start_up(values.rounds, Path(folder))
        big_reports(values.rounds, values.sizes, Path(folder))
        if values.many:
            many(values.many, Path(folder))


if __name__ == "__main__":
    main()
