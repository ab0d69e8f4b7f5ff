"""The real NRPE agent on loopback, with the project's own command file.

    with NrpeAgent({"/usr/lib/nagios/plugins": str(plugins), "/etc/nagios/kodeks.ini": str(ini)}) as agent:
        agent.call("kodeks_senselock")

Daemon and check_nrpe are Debian's (nagios-nrpe-server, nagios-nrpe-plugin).
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping

from lab.engine_folders import Folder, folder_of
from lab.engine_process import ENGINE_USER, EngineProcess, free_port, hand_over
from lab.run_check import ROOT, Outcome, run_process

COMMAND_FILE = ROOT / "templates/nagios/nrpe/kodeks.cfg"
CHECK_NRPE = "/usr/lib/nagios/plugins/check_nrpe"

MAIN = """\
log_file={folder}/nrpe.log
pid_file={folder}/nrpe.pid
server_address=127.0.0.1
server_port={port}
nrpe_user={user}
nrpe_group={user}
allowed_hosts=127.0.0.1
dont_blame_nrpe=0
disable_syslog=1
command_timeout=60
connection_timeout=300
{prefix}
include_dir={folder}/nrpe.d/
"""
"""Debian's nrpe.cfg but for the folder, the port and the prefix."""


_COMMAND = re.compile(r"(?m)^command\[(\w+)\]=(.*)$")


def shipped_commands() -> dict[str, str]:
    """The command lines of the shipped file by their names."""
    return dict(_COMMAND.findall(COMMAND_FILE.read_text()))


class NrpeAgent(EngineProcess):
    """One agent. Each "machine" of a test has its own, with its own devices.

    `site` maps paths, and a time limit, as they stand in the command file to those of the test; `commands` are the lines
    that result.
    `prefix` is NRPE's command_prefix, by which every command runs on the emulated devices of its machine.
    """

    def __init__(self, site: Mapping[str, str], prefix: str = "", programs: Folder | None = None) -> None:
        super().__init__("nrpe")
        self.programs = programs or folder_of("nrpe")
        self.port = free_port()
        commands = COMMAND_FILE.read_text()
        for shipped, here in site.items():
            assert shipped in commands, f"{shipped} is not in {COMMAND_FILE.name}"
            commands = commands.replace(shipped, here)
        self.commands = dict(_COMMAND.findall(commands))
        (self.folder / "nrpe.d").mkdir()
        (self.folder / "nrpe.d/kodeks.cfg").write_text(commands)
        settings = {"folder": self.folder, "port": self.port, "user": ENGINE_USER}
        main = MAIN.format(**settings, prefix=f"command_prefix={prefix}" if prefix else "")
        (self.folder / "nrpe.cfg").write_text(main)
        hand_over(self.folder)

    def __enter__(self) -> NrpeAgent:
        self.revive()
        return self

    def revive(self) -> None:
        """Start the agent, for the first time or after `stop`."""
        self.start(self.programs.command("/usr/sbin/nrpe", "-c", self.folder / "nrpe.cfg", "-f"))
        self.await_ready(lambda: self.call().code == 0)

    def freeze(self) -> None:
        """The agent's machine stops in its tracks: connections are taken by the kernel, nothing answers."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self.signal(signal.SIGCONT)

    def call(self, command: str = "", *options: str) -> Outcome:
        """Ask the agent as the monitoring server does; without a command it tells its version."""
        request = ["-c", command] if command else []
        asked = self.programs.command(CHECK_NRPE, "-H", "127.0.0.1", "-p", str(self.port), *options, *request)
        return run_process(asked, patience=70)
