"""Stand-ins for what a USB forwarder leaves on a machine: its tool, its daemon and its TCP port.

    with ForwarderTools(tmp_path) as tools, forwarder_daemon("usbsrvd") as daemon, silent_port() as port:
        tool = tools.prints("usbsrv", sample("usbsrv-list-key-shared-constructed.txt"))
        run_check("usb_redirector", "--product", "usb-redirector", "--list-command", str(tool), ...)

Tools are small shell scripts, daemons are real processes under a chosen name, ports are real sockets on loopback.
None of them outlives its context.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import psutil

from lab.put import put

SAMPLES = Path(__file__).with_name("samples")
LOOPBACK = "127.0.0.1"


def sample(name: str) -> bytes:
    """A recorded output of a forwarder's tool; samples/README.md names the source of each."""
    return (SAMPLES / name).read_bytes()


class ForwarderTools:
    """A directory of fake forwarder tools, well-behaved and not. Every method returns the tool's path."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()

    def __enter__(self) -> ForwarderTools:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end_survivors()

    def prints(self, name: str, output: bytes, *, code: int = 0, stderr: bytes = b"", delay: float = 0) -> Path:
        """Prints `output` byte for byte, `stderr` before it, and exits with `code`, after `delay` seconds."""
        wait = f"sleep {delay}" if delay else ":"
        return self._script(name, wait, self._cat(name, stderr, 2), self._cat(name, output), f"exit {code}")

    def hangs(self, name: str, output: bytes = b"", *, stubborn: bool = False) -> Path:
        """Prints `output` and never ends; `stubborn` ignores the polite signals, so that only SIGKILL helps."""
        trap = "trap '' TERM INT HUP" if stubborn else ":"
        return self._script(name, trap, self._cat(name, output), "while :; do sleep 600; done")

    def dribbles(self, name: str) -> Path:
        """Prints a byte every tenth of a second for ever: a reader that waits for silence waits for ever."""
        return self._script(name, "while :; do printf .; sleep 0.1; done")

    def leaves_a_child(self, name: str, output: bytes, *, own_session: bool = False) -> Path:
        """Prints `output` and exits 0, but a child of its own keeps its stdout and stderr open.

        With `own_session` the child is in another process group, out of reach of a kill of the tool's group.
        """
        return self._script(name, self._cat(name, output), f"{'setsid ' if own_session else ''}sleep 600 &", "exit 0")

    def floods(self, name: str, size: int = 1 << 30) -> Path:
        """Prints `size` bytes of lines, a gigabyte unless told."""
        return self._script(name, f"yes ' 1: Senselock SenseIV' | head -c {size}", "exit 0")

    def dies(self, name: str, output: bytes = b"", number: int = signal.SIGSEGV) -> Path:
        """Prints `output` and ends by a signal, without an exit code."""
        return self._script(name, "ulimit -c 0", self._cat(name, output), f"kill -{int(number)} $$", "sleep 600")

    def complains(self, name: str, stderr: bytes, *, code: int = 1) -> Path:
        """Writes to standard error only."""
        return self.prints(name, b"", code=code, stderr=stderr)

    def not_executable(self, name: str) -> Path:
        """Is there, but not executable (errno 13)."""
        tool = self.prints(name, b"never printed\n")
        tool.chmod(0o644)
        return tool

    def not_a_program(self, name: str) -> Path:
        """Is executable, but nothing the kernel can run (errno 8)."""
        tool = self.directory / name
        tool.write_bytes(b"\x00\x01\x02 not a program")
        tool.chmod(0o755)
        return tool

    def missing(self, name: str) -> Path:
        """Is not there (errno 2)."""
        return self.directory / name

    def calls(self, name: str) -> list[list[str]]:
        """The arguments of every call of a tool so far."""
        log = self.directory / f"{name}.calls"
        if not log.exists():
            return []
        return [call.split("\0")[1:-1] for call in log.read_text().split("\x01")[1:]]

    def survivors(self) -> list[int]:
        """The processes that tools of this directory have left behind and that still run.

        One that has been killed may need a moment until it has ended.
        """
        deadline = time.monotonic() + 2
        while (found := self.running()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def running(self) -> list[int]:
        """The processes of the tools of this directory, children included."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                # Tools change into this directory first: a mark that children inherit and that no other process bears.
                if process.cwd() == str(self.directory) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found

    def end_survivors(self) -> None:
        """End them; called by the context manager."""
        for pid in self.running():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _cat(self, name: str, output: bytes, descriptor: int = 1) -> str:
        if not output:
            return ":"
        content = put(self.directory / f"{name}.{descriptor}", output)
        return f"cat {shlex.quote(str(content))} >&{descriptor}"

    def _script(self, name: str, *lines: str) -> Path:
        log = shlex.quote(str(self.directory / f"{name}.calls"))
        record = f"{{ printf '\\1\\0'; [ $# = 0 ] || printf '%s\\0' \"$@\"; }} >> {log}"
        start = ["#!/bin/sh", f"cd {shlex.quote(str(self.directory))} || exit 99", record]
        return put(self.directory / name, "".join(f"{line}\n" for line in [*start, *lines]), 0o755)


class ForwarderDaemon:
    """A running process that psutil, ps and pgrep know by a forwarder's name."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def await_command_line(self) -> None:
        """Wait until the kernel shows the command line, which is a moment after exec() has succeeded."""
        while not Path(f"/proc/{self.pid}/cmdline").read_bytes():
            time.sleep(0.001)

    def freeze(self) -> None:
        """Stop it: there, but it does nothing any more (state T)."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def become_a_zombie(self) -> None:
        """It is dead, but still listed under its name (state Z)."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def end(self) -> None:
        """It is gone, and so is what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


@contextmanager
def forwarder_daemon(name: str, argv0: str | None = None, script: str = "") -> Iterator[ForwarderDaemon]:
    """Run a process called `name`.

    The kernel names a process after the file it executes, so this is a copy of sleep(1) under that name; the kernel
    keeps 15 characters, psutil completes a longer name from the command line. `argv0` is what the command line says
    instead: with name="less", argv0="usbsrvd" a reader of command lines is fooled and a reader of names is not.
    A `script` with its interpreter in the first line, which must not end, takes the place of the copy.
    """
    with tempfile.TemporaryDirectory(prefix="forwarder.") as directory:
        program = Path(directory) / name
        shutil.copy("/bin/sleep", program)
        if script:
            program.write_text(script)  # the copy's mode stays
        command = [argv0 or str(program), "600"]
        # The own working directory keeps it apart from ForwarderTools.survivors(), whatever the test's is.
        process = subprocess.Popen(command, executable=program, cwd=directory, stdin=subprocess.DEVNULL, start_new_session=True)
        daemon = ForwarderDaemon(process)
        try:
            daemon.await_command_line()
            yield daemon
        finally:
            daemon.end()


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that takes connections (the kernel does, from the backlog) and never says a word."""
    with socket.create_server((LOOPBACK, 0), backlog=16) as listener:
        yield listener.getsockname()[1]


@contextmanager
def talking_port(greeting: bytes = b"") -> Iterator[int]:
    """A port that takes connections, sends `greeting` and closes them."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    connection.sendall(greeting)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            thread.join(timeout=5)


@contextmanager
def refused_port() -> Iterator[int]:
    """A port that refuses connections: bound, so that nobody else gets it, but not listening."""
    with socket.socket() as reserved:
        reserved.bind((LOOPBACK, 0))
        yield reserved.getsockname()[1]


@contextmanager
def unreachable_port() -> Iterator[int]:
    """A port whose connections time out, as behind a firewall that drops packets: its backlog is full."""
    with socket.socket() as listener, socket.socket() as first:
        listener.bind((LOOPBACK, 0))
        listener.listen(0)
        first.connect(listener.getsockname())  # a backlog of 0 holds one connection; Linux drops the next SYN
        yield listener.getsockname()[1]
