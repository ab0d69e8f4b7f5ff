"""A Kodeks machine as a monitoring engine meets it: plugins, an ini, an emulated USB bus, a forwarder, a Kodeks server.

    with KodeksMachine("kodeks1") as machine:
        machine.play("license expired")

The world is `lab.evening`; this adds what an operator installs on the machine by templates/nagios/README.md: the
plugin folder and kodeks.ini, made from the shipped example with the values of this machine.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Protocol

import psutil

from lab import reports
from lab.engine_folders import Folder
from lab.engine_process import ENGINE_UID, await_true, open_folder
from lab.evening import SCENES, Evening
from lab.faults import Fault, PortState
from lab.forwarder_tools import talking_port
from lab.kodeks_server import PASSWORD, USER
from lab.put import put
from lab.run_check import CHECKS, ROOT

EXAMPLE_INI = ROOT / "templates/nagios/nrpe/kodeks.ini.example"
HANGING = "3"
"""Time limit of the checks that are made to hang, in seconds: minutes are shorter in a lab, so waits are too."""
STANDARD_PLUGINS = Path("/usr/lib/nagios/plugins")


class Agent(Protocol):
    """The engine's agent on a machine, as far as it can die."""

    def stop(self) -> None:
        """It is killed."""

    def revive(self) -> None:
        """It is started again."""


def install_plugins(folder: Path, programs: Folder | None) -> None:
    """A plugin folder as templates/nagios/README.md has it: the standard plugins, and checks/ as `kodeks`, compiled by the
    Python of an engine's folder or by this one."""
    shutil.copytree(CHECKS, folder / "kodeks", ignore=shutil.ignore_patterns("__pycache__"))
    compiling = ["-m", "compileall", "-q", str(folder / "kodeks")]
    subprocess.run(programs.command("/usr/bin/python3", *compiling) if programs else [sys.executable, *compiling], check=True)
    for name in ("check_tcp", "check_nrpe"):
        (folder / name).symlink_to(STANDARD_PLUGINS / name)


def options_text(options: Iterable[tuple[str, str | None]]) -> str:
    """Options as an ini has them; None is an option without a value."""
    return "".join(key + (f" = {value}" if value is not None else "") + "\n" for key, value in options)


@contextmanager
def plugin_folder(programs: Folder) -> Iterator[Path]:
    """The plugin folder of a monitoring server."""
    folder = open_folder("plugins.")
    try:
        install_plugins(folder, programs)
        yield folder
    finally:
        shutil.rmtree(folder)


class KodeksMachine:
    """One machine. `key` says where the key is and what watches it:

    forwarded           in another machine, a USB forwarder brings it here
    local               in a port of this machine
    license manager     at a license manager on another machine
    license manager's   in a port of this machine, which runs the license manager and no Kodeks
    license manager's, forwarded    the same, but a USB forwarder brings it here
    no agent            nobody knows: this machine can only be asked over the network
    stored report       in a closed network, from which somebody brings a report to this machine

    `programs` is the folder of the engine whose Python runs the checks.
    """

    def __init__(self, name: str, key: str = "forwarded", programs: Folder | None = None) -> None:
        self._programs = programs
        self.name, self.key = name, key
        self.agent: Agent | None = None  # whoever starts an agent for this machine alone puts it here
        self.folder = open_folder(f"{name}.")
        self.plugins = self.folder / "plugins"
        self.ini = self.folder / "kodeks.ini"
        self.password_file = self.folder / "password"
        self.report = self.folder / "report.zip"
        self.evening = Evening(self.folder / "world", owner=ENGINE_UID)
        self.wordy = False  # whether the key check lists every device (-vv)
        self._stack = ExitStack()
        self._local_key = ""

    def __enter__(self) -> KodeksMachine:
        self._stack.callback(shutil.rmtree, self.folder)
        self._stack.enter_context(self.evening)
        self._stack.callback(self._await_last_plugin)
        # A port that answers for hours: the one of the evening never accepts, and its queue is full after 17 checks.
        self.forwarder_port = self._stack.enter_context(talking_port())
        install_plugins(self.plugins, self._programs)
        self._write_wrappers()
        self._give(self.password_file, f"{PASSWORD}\n")
        self.bring_report(0)
        self.play("all well")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def forwarded(self) -> bool:
        """Whether a USB forwarder brings the key to this machine."""
        return self.key in ("forwarded", "license manager's, forwarded")

    @property
    def nrpe_prefix(self) -> str:
        """NRPE's command_prefix that runs every plugin on this machine's emulated USB bus."""
        return " ".join(["/usr/bin/env", *(f"{name}={value}" for name, value in self.evening.env.items())])

    @property
    def emulated(self) -> Path:
        """A plugin folder for an agent that serves several machines: each check on this machine's USB bus."""
        return self.folder / "emulated"

    # ---- what happens to it

    def play(self, scene: str) -> None:
        """Bring the machine into a scene of the evening."""
        if self.forwarded:
            self.evening.play(scene)
        else:
            self._play_local(SCENES[scene].key and self.key in ("local", "license manager's"))
            self.set_kodeks(SCENES[scene].kodeks)
        self._write_ini()

    def bring_report(self, hours: float) -> None:
        """Somebody brings a report that was made so many hours ago."""
        made = datetime.now() - timedelta(hours=hours)
        self._give(self.report, reports.zip_report(reports.report(made=made), made=made))
        os.utime(self.report, (made.timestamp(), made.timestamp()))

    def hang_key(self) -> None:
        """Whoever lists the USB bus waits in the kernel for the key, for ever."""
        self.evening.bus.hang_attribute(self._local_key, "descriptors")

    def release_key(self) -> None:
        """The key answers again; to the kernel it is a new one, and at no time there is none."""
        hanging, self._local_key = self._local_key, self.evening.bus.add_key()
        self.evening.bus.remove(hanging)

    def set_kodeks(self, binding: str) -> None:
        """Let only Kodeks change its mind about the key."""
        self.evening.kodeks.set(binding=binding)

    def kodeks_port(self, state: PortState) -> None:
        """The Kodeks server goes down (refused) or comes back (open)."""
        self.evening.kodeks.set(port=state)

    def hang_kodeks(self) -> None:
        """The Kodeks server takes connections and answers none of them."""
        self.evening.kodeks.set(faults={"*": Fault.SILENT})

    def release_kodeks(self) -> None:
        """It answers again."""
        self.evening.kodeks.set(faults={})

    def license_manager(self, state: PortState) -> None:
        """The license manager goes down or comes back, and Kodeks says so."""
        manager = self.evening.license_manager
        manager.set(state)
        up = state is PortState.OPEN
        lost = reports.NOT_AVAILABLE.replace(reports.LICENSE_MANAGER, manager.address)
        self.set_kodeks(reports.WORKS if up else lost)

    def remove_plugin(self, name: str) -> None:
        """Somebody deletes a plugin, or with "" the whole folder."""
        for folder in (self.plugins / "kodeks", self.emulated):
            shutil.move(str(folder / name) if name else str(folder), str(folder.with_suffix(".removed")))

    def restore_plugin(self, name: str) -> None:
        """It is back."""
        for folder in (self.plugins / "kodeks", self.emulated):
            shutil.move(str(folder.with_suffix(".removed")), str(folder / name) if name else str(folder))

    # ---- what an operator installs

    def _play_local(self, present: bool) -> None:
        if self.evening.scene != "key pulled":
            self.evening.play("key pulled")  # nothing is forwarded to this machine
        if present and not self._local_key:
            self._local_key = self.evening.bus.add_key()
        elif not present and self._local_key:
            self.evening.bus.remove(self._local_key)
            self._local_key = ""

    def _await_last_plugin(self) -> None:
        """An engine that has ended may leave a plugin behind that still runs on this machine's USB bus."""
        bus = str(self.evening.bus.root)

        def all_ended() -> bool:
            environments = (process.info["environ"] or {} for process in psutil.process_iter(["environ"]))
            return all(environment.get("UMOCKDEV_DIR") != bus for environment in environments)

        await_true(f"the last plugin of {self.name} has ended", all_ended, 30)

    def _write_wrappers(self) -> None:
        self.emulated.mkdir()
        variables = " ".join(f"{name}={value}" for name, value in self.evening.env.items())
        for check in sorted(CHECKS.glob("check_*.py")):
            wrapper = self.emulated / check.name
            wrapper.write_text(f'#!/bin/sh\nexec env {variables} {self.plugins}/kodeks/{check.name} "$@"\n')
            wrapper.chmod(0o755)

    def _write_ini(self) -> None:
        """The shipped example with this machine's values."""
        world = self.evening
        ini = configparser.RawConfigParser(allow_no_value=True)
        ini.read_string(EXAMPLE_INI.read_text())
        manager_host, manager_port = world.license_manager.address.rsplit(":", 1)
        values: dict[str, dict[str, str | None]] = {
            "check_senselock": {"location": "forwarded" if self.forwarded else "local"},
            "check_usb_redirector": {
                "list-command": f"{world.list_tool} -list",
                "hostname": "127.0.0.1",
                "port": str(self.forwarder_port),
                "process": world.daemon_name,
                "timeout": HANGING,
            },
            "license": {"license-expires": world.license_ends().isoformat()},
            "license_manager": {"hostname": manager_host, "port": manager_port},
            "check_kodeks_xml": {"port": str(world.kodeks.port), "logname": USER, "password": PASSWORD},
        }
        if self.key == "no agent":  # the file lies on the monitoring server, with a section named like the host
            ini.add_section(self.name)
            values[self.name] = {**dict(ini.items("check_kodeks_xml")), **values["check_kodeks_xml"]}
            del values[self.name]["hostname"]
        if self.key == "license manager's":
            values["check_senselock"]["timeout"] = HANGING
        if self.wordy:  # -vv: two names of the same option
            values["check_senselock"] |= {"v": None, "verbose": None}
        if self.key == "stored report":
            ini.remove_section("check_kodeks_xml")
            ini.add_section("check_kodeks_xml")
            values["check_kodeks_xml"] = {"file": str(self.report)}
        for section, rows in values.items():
            for key, value in rows.items():
                ini.set(section, key, value)
        self._give(self.ini, "".join(f"[{name}]\n{options_text(ini.items(name))}" for name in ini.sections()))

    def _give(self, path: Path, content: bytes | str) -> None:
        """Write a file that only the checks' user may read."""
        put(path, content, 0o640, ENGINE_UID)
