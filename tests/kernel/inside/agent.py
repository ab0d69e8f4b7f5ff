"""The agent in the guest: runs the commands the host sends and answers one JSON line a command.

A request is one line `{"argv": [...], "user": "nagios", "limit": 20}`, the answer one line with `exit`, `stdout`,
`stderr`, `seconds` by the guest's clock and `opened`, the USB device nodes that somebody opened meanwhile. `exit` is
null for a command that was still running after `limit` seconds; `state` then is its process state a second after
SIGKILL (`D`: it sleeps uninterruptibly, see proc(5); `gone`: it died).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
import tty
from typing import IO, Any

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/tmp"}
NODES = "/dev/bus/usb"
IN_OPEN, IN_ISDIR = 0x20, 0x40000000  # inotify(7)


class NodeWatch:
    """Records which USB device nodes are opened while the block runs, by inotify on their folders."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._events = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._events < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        self._buses: dict[int, str] = {}
        for bus in sorted(os.listdir(NODES)) if os.path.isdir(NODES) else []:
            watch = libc.inotify_add_watch(self._events, f"{NODES}/{bus}".encode(), IN_OPEN)
            if watch < 0:
                raise OSError(ctypes.get_errno(), "inotify_add_watch")
            self._buses[watch] = bus

    def end(self) -> list[str]:
        """Stop watching; the nodes that were opened, such as `003/002`."""
        opened = set()
        try:
            while True:
                events = os.read(self._events, 65536)
                while events:
                    watch, mask, _cookie, length = struct.unpack("iIII", events[:16])
                    name, events = events[16 : 16 + length].rstrip(b"\0").decode(), events[16 + length :]
                    if not mask & IN_ISDIR:
                        opened.add(f"{self._buses[watch]}/{name}")
        except BlockingIOError:
            return sorted(opened)
        finally:
            os.close(self._events)


def run(argv: list[str], user: str | None, limit: float) -> dict[str, Any]:
    """Run one command. Its output goes to files: a pipe would make us wait for children that never end."""
    identity: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
    watch = NodeWatch()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=ENVIRONMENT, start_new_session=True, **identity
        )
        state = None
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            state = kill(process)
        return {
            "exit": process.returncode if state is None else None,
            "stdout": content(out),
            "stderr": content(err),
            "seconds": round(time.monotonic() - started, 3),
            "state": state,
            "opened": watch.end(),
        }


def kill(process: subprocess.Popen[bytes]) -> str:
    """SIGKILL to the whole group; the state in which the process is a second later, `gone` when it died."""
    os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(1)
    except subprocess.TimeoutExpired:
        with open(f"/proc/{process.pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    return "gone"


def content(file: IO[bytes]) -> str:
    """What the command wrote; bytes that are no UTF-8 stay visible as escapes."""
    file.seek(0)
    return file.read(100_000).decode("utf-8", "backslashreplace")


def main() -> None:
    """Serve the host over the serial line until the machine is switched off."""
    line = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
    tty.setraw(line)
    with os.fdopen(line, "rb") as requests:

        def say(answer: dict[str, Any]) -> None:
            data = json.dumps(answer).encode("ascii") + b"\n"
            while data:
                data = data[os.write(line, data) :]

        with open("/proc/uptime") as uptime:
            say({"uptime": float(uptime.read().split()[0]), "kernel": os.uname().release, "python": sys.version.split()[0]})
        for text in requests:
            request = json.loads(text)
            try:
                answer = run(request["argv"], request.get("user"), request["limit"])
            except OSError as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            say(answer)


if __name__ == "__main__":
    main()
