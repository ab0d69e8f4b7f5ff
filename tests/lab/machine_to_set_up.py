"""A machine on which somebody runs kodeks_setup: a key on an emulated bus, forwarders, Kodeks, and the engines' agents.

    with MachineToSetUp() as machine:
        machine.runs("usbsrvd")
        port = machine.kodeks()
        outcome = machine.set_up("--write", "--license-expires", "perpetual")

It is a throw-away copy of the Debian machine with the engines, in a process namespace of its own: what other tests run is not
seen, and what is written into /etc ends with it. Its `folder` has the same name in there, and is in PATH. The network is
this machine's.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import termios
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType

import psutil

from lab.engine_process import answers, await_true, free_port, open_folder
from lab.forwarder_tools import ForwarderTools, sample, silent_port
from lab.kodeks_server import PASSWORD
from lab.put import put
from lab.run_check import ROOT, Outcome, open_checks
from lab.throwaway_machine import ThrowawayMachine
from lab.usb_bus import UsbBus

ENGINES = {
    "zabbix-agent": "/etc/zabbix/zabbix_agentd.conf",
    "zabbix-agent2": "/etc/zabbix/zabbix_agent2.conf",
    "nrpe": "/etc/nagios/nrpe.cfg",
    "icinga2": "/etc/icinga2/icinga2.conf",
}
"""The engines of the copy, and the file that each one is known by."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SERVER = f"""\
#!/usr/bin/python3
import socket, sys
sys.path.insert(0, "{ROOT}/tests")
from lab import kodeks_server
if "{{asks}}":
    kept = socket.create_connection(("{{asks}}", 8888))
if {{to_all}}:
    kodeks_server.Visit._needs_login = lambda visit: False
sys.argv = ["kodeks_server.py", "--port", "{{port}}", "--state", "{{state}}"]
sys.exit(kodeks_server.main())
"""


class MachineToSetUp:
    """The machine. A context manager; `engines` are those of ENGINES whose configuration is there."""

    def __init__(self, engines: Iterable[str] = ("zabbix-agent",)) -> None:
        self.engines = tuple(engines)
        self.key = ""
        self.port = self.far_port = 0
        self._stack = ExitStack()

    def __enter__(self) -> MachineToSetUp:
        self.folder = open_folder("set-up.")
        self._stack.callback(shutil.rmtree, self.folder)
        self.folder.chmod(0o777)  # the tools keep a log of their calls here, whoever runs them
        self.machine = self._stack.enter_context(ThrowawayMachine())
        self.bus = self._stack.enter_context(UsbBus())
        self.tools = self._stack.enter_context(ForwarderTools(self.folder))
        self.machine.run("rm", *(path for name, path in ENGINES.items() if name not in self.engines))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def start(self, *argv: str) -> subprocess.Popen[bytes]:
        """A program that runs there until the machine ends."""
        process = subprocess.Popen(self.machine.command(*argv), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        self._stack.callback(self.end, process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End such a program, and what it has started. The command that entered the machine ends with it and reaps it; orphans
        would have to wait for this machine's first process, and the machine's end for them."""
        while process.poll() is None:  # it may not have started one yet
            with suppress(psutil.NoSuchProcess):
                for started in psutil.Process(process.pid).children(recursive=True):
                    started.kill()
            time.sleep(0.01)

    def runs(self, name: str) -> subprocess.Popen[bytes]:
        """A process of this name."""
        program = self.folder / "running" / name
        program.parent.mkdir(exist_ok=True)
        shutil.copy("/bin/sleep", program)
        process = self.start(str(program), "600")
        looked = ["sh", "-c", 'for link in /proc/[0-9]*/exe; do [ "$(readlink "$link")" != "$0" ] || exit 0; done; exit 1', str(program)]
        await_true(f"{name} runs", lambda: self.machine.try_run(*looked).code == 0, 20)
        return process

    def kodeks(self, name: str = "kodwebd", folder: str = "", asks: str = "", to_all: bool = False, **state: object) -> int:
        """A Kodeks server there, in a process of this name, with a `folder` in a program that lies there; its port, which is
        `port` of the machine, too. `asks`: it has a connection to port 8888 there. `to_all`: no page needs a login."""
        port = self.port = free_port()
        self.kodeks_state(port, **state)
        script = self.folder / "running" / f"{port}" / name
        script.parent.mkdir(parents=True)
        script.write_text(_SERVER.format(port=port, state=self.folder / f"state-{port}.json", asks=asks, to_all=to_all))
        script.chmod(0o755)
        program = [str(script)]
        if folder:
            (self.folder / folder).mkdir(parents=True)
            program.insert(0, str(self.folder / folder / name))
            self.machine.run("sh", "-c", 'cp "$(readlink -f /usr/bin/python3)" "$0"', program[0])
        self.start(*program)
        await_true("Kodeks answers", lambda: answers(port), 20)
        return port

    def kodeks_state(self, port: int, **state: object) -> None:
        """What the Kodeks server at this port says from now on. Nobody listens beside it, unless license_manager is "open"."""
        put(self.folder / f"state-{port}.json", json.dumps({"license_manager": "refused", **state}))

    def usb_redirector(self) -> int:
        """The forwarder of the evening: its driver with the key, its list tool, its daemon, and the far machine; whose port."""
        self.bus.add_controller("usb-redirector")
        self.key = self.bus.add_key(where="usb-redirector")
        port = self._stack.enter_context(silent_port())
        self.far_port = port
        self.lists("connected")
        self.daemon = self.runs("usbsrvd")
        return port

    def lists(self, state: str) -> None:
        """What usbclnt says of the key."""
        text = sample(f"usbclnt-list-key-{state}-constructed.txt")
        self.tools.prints("usbclnt", text.replace(b"192.0.2.20:32032", f"127.0.0.1:{self.far_port}".encode()))

    @property
    def env(self) -> dict[str, str]:
        """What makes a program see the bus, the tools and Kodeks' password."""
        return {**self.bus.env(), "PATH": f"{self.folder}:{PATH}", "KODEKS_PASSWORD": PASSWORD}

    def set_up(
        self, *arguments: str, env: Mapping[str, str] | None = None, user: str = "", limit: str = "", checks: str = ""
    ) -> Outcome:
        """Run kodeks_setup there as root, or as this user, or with a limit of prlimit(1). Nobody sits at a terminal."""
        as_user = ["runuser", "-u", user, "--"] if user else ["prlimit", limit] if limit else []
        variables = {**self.env, **(env or {})}
        words = [f"{key}={value}" for key, value in variables.items() if value]
        program = [*as_user, "env", *words, "/usr/bin/python3", f"{checks or open_checks()}/kodeks_setup.py", *arguments]
        return self.machine.try_run(*program)

    def set_up_at_a_terminal(self, answers: Mapping[str, str], *arguments: str) -> str:
        """Run it as a person does: each question that contains a key of `answers` gets that answer, one for a password when the
        terminal has stopped to show what is typed (what is typed before is thrown away). What the terminal showed."""
        here, there = os.openpty()
        environment = {**self.env, "KODEKS_PASSWORD": ""}
        words = [f"{key}={value}" for key, value in environment.items() if value]
        program = ["env", *words, "/usr/bin/python3", str(open_checks() / "kodeks_setup.py"), *arguments]
        process = subprocess.Popen(self.machine.command(*program), stdin=there, stdout=there, stderr=there, start_new_session=True)
        os.close(there)
        shown, left = "", dict(answers)
        with open(here, "rb", buffering=0) as screen, suppress(OSError):  # EIO: nobody has the other end any more
            until = time.monotonic() + 120
            while time.monotonic() < until:
                if select.select([screen], [], [], 0.05)[0]:
                    shown += screen.read(65536).decode("utf-8", "replace")
                hides = not termios.tcgetattr(here)[3] & termios.ECHO
                for question in [text for text in left if text in shown and hides == ("password" in text)]:
                    os.write(here, f"{left.pop(question)}\n".encode())
        assert process.wait(60) is not None and not left, f"never asked: {left}\n{shown}"
        return shown

    def read(self, path: str) -> str:
        """A file of the machine."""
        return self.machine.run("cat", path)
