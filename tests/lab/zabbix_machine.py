"""A Kodeks machine as Zabbix meets it: a Zabbix agent with the plugins, the shipped UserParameter file and kodeks.ini.

    with ZabbixLab("7.0") as lab, ZabbixMachine(lab, "kodeks1") as machine:
        host = lab.add_host("kodeks1", templates=[...], port=machine.port)
        machine.play("license expired")

The world is `lab.evening`; this adds what an operator installs by templates/zabbix/README.md. Only the paths in the
UserParameter file and the values marked CHANGE in the ini file are replaced. Each machine has an agent of its own.
"""

from __future__ import annotations

import configparser
import io
import re
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from lab.engine_process import SYSTEM_PATH, EngineProcess, answers, open_folder
from lab.evening import Evening
from lab.forwarder_tools import talking_port
from lab.kodeks_server import PASSWORD, USER
from lab.put import put
from lab.run_check import CHECKS, ROOT
from lab.zabbix_lab import AGENT, AS_USER, UID, ZabbixLab, zabbix_port

TEMPLATES = ROOT / "templates/zabbix"
EXAMPLE_INI = TEMPLATES / "kodeks.ini.example"
USER_PARAMETERS = TEMPLATES / "userparameter_kodeks_linux.conf"
PLUGINS_HERE, INI_HERE = "/usr/local/lib/kodeks/", "/etc/zabbix/kodeks.ini"


class ZabbixMachine:
    """One machine, its agent on `port`. `active`: the agent also asks the server for active checks, under its `name`."""

    def __init__(self, lab: ZabbixLab, name: str, active: bool = False) -> None:
        self.lab, self.name, self.active = lab, name, active
        self.folder = open_folder(f"{name}.")
        self.ini = self.folder / "kodeks.ini"
        self.plugins = self.folder / "plugins"
        self.port = zabbix_port()
        self.world = Evening(self.folder / "world", owner=UID)
        self._stack = ExitStack()
        self._agent: EngineProcess | None = None

    def __enter__(self) -> ZabbixMachine:
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._stack.enter_context(self.world)
        # A port that nobody accepts on, as the world has one, takes no more than a handful of probes.
        self.forwarder_port = self._stack.enter_context(talking_port())
        shutil.copytree(CHECKS, self.plugins, ignore=shutil.ignore_patterns("__pycache__"))
        compiling = ("/usr/bin/python3", "-m", "compileall", "-q", self.plugins)  # the agent's user cannot
        subprocess.run(self.lab.programs.command(*compiling), check=True)
        self.play("all well")
        (self.folder / "run").mkdir()
        (self.folder / "run").chmod(0o777)
        self._stack.callback(self.stop_agent)
        self.start_agent()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    # ---- what happens to it

    def play(self, scene: str) -> None:
        """Bring the machine into a scene of the evening."""
        self.world.play(scene)
        self._write_ini()

    def start_agent(self) -> None:
        """Start the agent with the shipped UserParameter file; returns when it answers."""
        parameters = USER_PARAMETERS.read_text(encoding="utf-8")
        parameters = parameters.replace(PLUGINS_HERE, f"{self.plugins}/").replace(INI_HERE, str(self.ini))
        (self.folder / "userparameter.conf").write_text(parameters, encoding="utf-8")
        active = f"ServerActive=127.0.0.1:{self.lab.server_port}\n" if self.active else ""
        configuration = self.folder / "agent.conf"
        configuration.write_text(
            f"ListenIP=127.0.0.1\nListenPort={self.port}\nServer=127.0.0.1\n{active}Hostname={self.name}\nLogType=console\n"
            f"PidFile={self.folder}/run/agent.pid\nStartAgents=3\nBufferSend=1\nInclude={self.folder}/userparameter.conf\n",
            encoding="utf-8",
        )
        self._agent = EngineProcess(f"zabbix-agent-{self.name}")
        agent = ("setpriv", "--pdeathsig", "TERM", *AS_USER, AGENT, "-f", "-c", configuration)
        self._agent.start(self.lab.programs.command(*agent, env=self.world.env))
        self._agent.await_ready(lambda: answers(self.port))

    def stop_agent(self) -> None:
        """The agent and whatever it runs are killed."""
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.signal(signal.SIGKILL)
            agent.__exit__(None, None, None)

    def ask_agent_2(self, key: str) -> str:
        """What `zabbix_agent2 -t` prints for a key with this machine's UserParameter file."""
        configuration = self.folder / "agent2.conf"
        configuration.write_text(
            f"Server=127.0.0.1\nHostname={self.name}\nLogType=console\nInclude={self.folder}/userparameter.conf\n"
            f"PidFile={self.folder}/run/2.pid\nControlSocket={self.folder}/run/2.sock\nPluginSocket={self.folder}/run/plugin.sock\n",
            encoding="utf-8",
        )
        command = self.lab.programs.command("/usr/sbin/zabbix_agent2", "-c", configuration, "-t", key, env=self.world.env)
        environment = {"PATH": SYSTEM_PATH, "LC_ALL": "C.UTF-8"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout

    def remove_ini(self) -> None:
        """Somebody deletes the ini file; the next scene brings it back."""
        self.ini.unlink()

    def remove_plugin(self, name: str) -> None:
        """Somebody deletes a plugin."""
        (self.plugins / name).rename(self.folder / name)

    def replace_plugin(self, name: str, script: str) -> None:
        """In a plugin's place stands something else, in Python."""
        self.remove_plugin(name)
        self.rewrite_plugin(name, script)

    def rewrite_plugin(self, name: str, script: str) -> None:
        """It stands something else there again."""
        put(self.plugins / name, f"{script}\n")

    def restore_plugin(self, name: str) -> None:
        """It is back."""
        (self.folder / name).replace(self.plugins / name)

    # ---- what an operator installs

    def _write_ini(self) -> None:
        """The shipped example with this machine's values."""
        world = self.world
        ini = configparser.RawConfigParser()
        ini.read_string(EXAMPLE_INI.read_text(encoding="utf-8"))
        values = {
            "check_usb_redirector": {
                "license-expires": world.license_ends().isoformat(),
                "list-command": f"{world.list_tool} -list",
                "process": world.daemon_name,
                "hostname": "127.0.0.1",
                "port": str(self.forwarder_port),
            },
            "check_kodeks_xml": {"port": str(world.kodeks.port), "logname": USER, "password": PASSWORD},
        }
        for section, rows in values.items():
            # Where the lab's own tools are; all else an operator must find in the example.
            assert rows.keys() - ini[section].keys() <= {"list-command", "port"}, "the lab watches more than the example"
            for key, value in rows.items():
                ini.set(section, key, value)
        text = io.StringIO()
        ini.write(text)
        put(self.ini, text.getvalue(), 0o640, self.world.owner)


def user_parameters(path: Path) -> dict[str, str]:
    """Key to command line of each UserParameter in a file."""
    found = re.findall(r"(?m)^UserParameter=([^,]+),(.*)$", path.read_text(encoding="utf-8"))
    return dict(found)
