"""The guest: a Debian machine under QEMU's software emulation, and the line over which the host plays with it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from kernel import image

# The network of the guest (RFC 5737 addresses). QEMU's user networking hands connections to OUTSIDE to the loopback
# of the test machine, so a server there looks to the guest like a server on another machine.
OUTSIDE = "192.0.2.10"
_ADDRESS = "192.0.2.15/24"
_LIFETIME = 600  # seconds after which the machine is switched off, whatever happened to the test
_BOOT = 180  # 5 on a quiet machine


class GuestError(RuntimeError):
    """The guest did not do what every scene relies on; the text carries the end of its console."""


@dataclass(frozen=True)
class Ran:
    """One command in the guest.

    `exit` is None when it was still running at its limit; `state` then is its process state after SIGKILL. `opened`
    names the USB device nodes opened meanwhile, such as "003/002".
    """

    argv: tuple[str, ...]
    exit: int | None
    stdout: str
    stderr: str
    seconds: float
    state: str | None
    opened: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """For a record that another process reads with `Ran.from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Ran:
        """The inverse of `as_json`."""
        return cls(**{**fields, "argv": tuple(fields["argv"]), "opened": tuple(fields["opened"])})


class Guest:
    """One boot, as a context manager. `key_socket` is where a device for the guest's own USB controller connects.

    `boot_seconds` is the time from the start of QEMU to the agent's first line. Everything it needs lies in a folder
    of its own and goes away with it.
    """

    def __init__(self, checks: Path) -> None:
        qemu = shutil.which("qemu-system-x86_64")
        if not qemu:
            raise GuestError("qemu-system-x86_64 is not installed; tests/packages.txt names the packages")
        built = image.prepare()
        self._folder = tempfile.TemporaryDirectory(prefix="guest.")
        folder = Path(self._folder.name)
        self.key_socket = folder / "key"
        self._console = folder / "console"
        image.initrd(built, checks, folder / "initrd")
        started = time.monotonic()
        with open(folder / "qemu", "w") as complaints:
            self._qemu = subprocess.Popen(
                ["timeout", "--kill-after=5", str(_LIFETIME), qemu, *self._machine(built, folder)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=complaints,
            )  # fmt: skip
        try:
            self._line = self._connect(folder / "control", started + 10)
            self._answers = self._line.makefile("r", encoding="ascii")
            self.hello = self._answer(_BOOT)
        except BaseException:
            self.close()
            raise
        self.boot_seconds = time.monotonic() - started

    def _machine(self, built: image.Image, folder: Path) -> list[str]:
        """QEMU's arguments: a PC with two serial lines, a network card and a USB 3 controller with a place for a key."""
        # clocksource=hpet: on a busy test machine the guest's kernel may take its TSC for one of 1.0 instead of 2.6 GHz ("PIT
        # calibration deviates from HPET", one boot in nine); its clock then ran 2.6 times too fast, and checks met their limits.
        return [
            *("-M", "pc", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "512"),
            *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
            *("-kernel", str(built.kernel), "-initrd", str(folder / "initrd")),
            *("-append", f"console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off clocksource=hpet nokaslr address={_ADDRESS}"),
            *("-serial", f"file:{self._console}", "-serial", f"unix:{folder / 'control'},server=on,wait=off"),
            *("-netdev", f"user,id=net,net={_ADDRESS},host={OUTSIDE},dns=192.0.2.3,dhcpstart=192.0.2.16"),
            *("-device", "e1000,netdev=net,romfile="),
            *("-device", "qemu-xhci,id=usb"),
            *("-chardev", f"socket,id=key,path={self.key_socket},server=on,wait=off", "-device", "usb-redir,chardev=key,bus=usb.0"),
        ]

    def _connect(self, path: Path, deadline: float) -> socket.socket:
        while True:
            line = socket.socket(socket.AF_UNIX)
            try:
                line.connect(str(path))
                return line
            except OSError as error:
                line.close()
                if self._qemu.poll() is not None or time.monotonic() > deadline:
                    raise GuestError(f"QEMU does not start: {self._evidence()}") from error
                time.sleep(0.05)

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Switch the machine off and remove its folder."""
        self._qemu.terminate()  # `timeout` passes it on to QEMU
        self._qemu.wait()
        self._folder.cleanup()

    def run(self, argv: Sequence[str], user: str | None = None, limit: float = 30) -> Ran:
        """Run a command in the guest as `user` (None: root) for at most `limit` seconds of its clock."""
        request = {"argv": list(argv), "user": user, "limit": limit}
        self._line.sendall(json.dumps(request).encode("ascii") + b"\n")
        answer = self._answer(limit + 15)
        if "error" in answer:
            raise GuestError(f"{list(argv)}: {answer['error']}")
        return Ran.from_json({"argv": argv, **answer})

    def must(self, *argv: str, limit: float = 30) -> str:
        """Run a command of the play itself as root and return its stdout; its failure is a GuestError."""
        ran = self.run(argv, limit=limit)
        if ran.exit != 0:
            raise GuestError(f"{ran}\n{self._evidence()}")
        return ran.stdout

    def until(self, condition: str, limit: float = 20) -> float:
        """Wait until a shell condition holds; the seconds it took. A GuestError when it does not come true."""
        ran = self.run(["sh", "-c", f"until {condition}; do sleep 0.1; done"], limit=limit)
        if ran.exit != 0:
            raise GuestError(f"in {limit:g} s it did not come true: {condition}\n{self._evidence()}")
        return ran.seconds

    def _answer(self, limit: float) -> dict[str, Any]:
        self._line.settimeout(limit)
        try:
            text = self._answers.readline()
            answer = json.loads(text)
        except (OSError, ValueError) as error:
            raise GuestError(f"the guest does not answer ({error}): {self._evidence()}") from error
        assert isinstance(answer, dict)
        return answer

    def _evidence(self) -> str:
        texts = [path.read_text(errors="replace")[-3000:] for path in (Path(self._folder.name) / "qemu", self._console) if path.exists()]
        return "\n".join(texts)
