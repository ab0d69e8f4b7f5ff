"""A monitoring engine as an ordinary child process: no service manager, everything in one folder of its own.

The daemons give up root for the user `nagios` of their folder (lab.engine_folders). Needs root.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from lab.engine_folders import ENGINE_USERS

SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of every engine: plugins run with the distribution's python3 and its packages, as operators have them."""


ENGINE_USER = "nagios"
"""The user that engines and their plugins run as, in the engine's folder."""
ENGINE_UID = ENGINE_USERS[ENGINE_USER]
AS_ENGINE = ("setpriv", f"--reuid={ENGINE_USER}", f"--regid={ENGINE_USER}", "--init-groups")
"""What gives up root for that user, in the engine's folder."""


def hand_over(folder: Path) -> None:
    """Give a folder and what is in it to the engine's user."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, ENGINE_UID, ENGINE_UID, follow_symlinks=False)


def open_folder(prefix: str) -> Path:
    """A new folder that the engine's user can enter; pytest's own temporary folders are closed to it."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    return folder


def free_port() -> int:
    """A TCP port of loopback that was free a moment ago, for daemons that want a number in their configuration."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def answers(port: int) -> bool:
    """Whether something accepts connections on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def await_true(what: str, condition: Callable[[], bool], seconds: float, pause: float = 0.05) -> None:
    """Return as soon as `condition` holds; AssertionError naming `what` if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)


class EngineProcess:
    """One daemon and its folder. Use it as a context manager: the folder goes when the daemon has ended."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = open_folder(f"{name}-lab.")
        self._process: subprocess.Popen[bytes] | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    @property
    def console(self) -> str:
        """What the daemon printed so far."""
        file = self.folder / "console.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def start(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Start the daemon in a session of its own."""
        environment = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8", **(env or {})}
        with open(self.folder / "console.log", "ab") as console:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def await_ready(self, condition: Callable[[], bool], seconds: float = 30) -> None:
        """Wait until the daemon is ready; AssertionError with its own words if it ends or takes too long."""

        def ready() -> bool:
            code = None if self._process is None else self._process.poll()
            assert code is None, f"{self.name} ended with {code}:\n{self.console[-3000:]}"
            return condition()

        try:
            await_true(f"{self.name} is ready", ready, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.console[-3000:]}") from None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the daemon and all that it started: its session is one process group to begin with."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def stop(self) -> None:
        """End the daemon and whatever is left of its group."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # nothing was left
