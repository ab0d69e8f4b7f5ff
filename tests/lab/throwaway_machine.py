"""A Debian machine with engines, copy on write: packages are really installed, daemons really run, nothing of it stays.

    with ThrowawayMachine() as machine:
        machine.run("apt-get", "install", "-y", "/tmp/some.deb")
        machine.left_behind()

An overlay of an engine's folder (lab.engine_folders) in a mount and process namespace of its own (Linux overlayfs,
unshare(1)), so tests that run meanwhile do not see it. This machine's temporary folder and the project are there under
their own names, the network is this machine's. Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Mapping

from lab.engine_folders import Folder, folder_of
from lab.engine_process import SYSTEM_PATH, open_folder
from lab.own_mounts import own_mounts
from lab.run_check import ROOT, Outcome, run_process

# The first process of the namespace reads until its input is closed; with it everything in the namespace ends.
_MAKE = """\
set -e
cd "$0"
mount -t tmpfs -o mode=755 throwaway .
cd "$0"
mkdir upper work root
mount -t overlay -o "lowerdir=$1,upperdir=upper,workdir=work" overlay root
mount -t proc proc root/proc
mount --rbind /dev root/dev
mount --rbind /sys root/sys
mount -t tmpfs -o mode=755 run root/run
mount --bind "$2" "root$2"
[ -e "root$3" ] || { mkdir -p "root$3"; mount --bind "$3" "root$3"; }
echo made
exec cat
"""


class ThrowawayMachine:
    """The copy. Use it as a context manager."""

    def __init__(self, original: Folder | None = None) -> None:
        self.original = original or folder_of("machine")
        self.folder = open_folder("throwaway.")
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ThrowawayMachine:
        places = [str(self.folder), str(self.original.root), tempfile.gettempdir(), str(ROOT)]
        self.process = subprocess.Popen(
            [*own_mounts(_MAKE, "--pid", "--fork", "--kill-child"), *places], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        if said != b"made\n":
            said += self.process.stdout.read()
            self._end()
            raise AssertionError(f"no overlay of {self.original.root} (root is needed): {said.decode(errors='replace')}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        process, self.process = self.process, None
        assert process is not None and process.stdin is not None
        process.stdin.close()
        process.wait(30)
        shutil.rmtree(self.folder)

    def command(self, *argv: str) -> list[str]:
        """The command line that runs `argv` on the machine."""
        return [*self._enter(), "chroot", str(self.folder / "root"), *argv]

    def _enter(self) -> list[str]:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        # Its root, too: the tests themselves may run in a chroot.
        return ["nsenter", f"--target={children[0]}", "--root", "--mount", "--pid"]

    def try_run(self, *argv: str, env: Mapping[str, str] | None = None, patience: float = 120) -> Outcome:
        """Run a command on the machine and return its outcome, unjudged."""
        return run_process(self.command(*argv), env={"PATH": SYSTEM_PATH, **(env or {})}, patience=patience)

    def run(self, *argv: str, env: Mapping[str, str] | None = None, patience: float = 120) -> str:
        """Run a command that must succeed; what it printed on stdout."""
        outcome = self.try_run(*argv, env=env, patience=patience)
        assert outcome.code == 0, f"{argv} ended with {outcome.code}:\n{outcome.text[-3000:]}\n{outcome.stderr.decode()[-3000:]}"
        return outcome.text

    def without_systemd(self) -> None:
        """`systemctl` does nothing from now on: who needs a service starts it by hand."""
        self.run("sh", "-c", "echo '#!/bin/sh' >/usr/local/bin/systemctl && chmod 755 /usr/local/bin/systemctl")

    def left_behind(self) -> set[str]:
        """Every path that is on the machine and not in the folder that it is a copy of, deletions not counted."""
        found = run_process([*self._enter(), "find", str(self.folder / "upper"), "-mindepth", "1", "!", "-type", "c", "-printf", "/%P\\n"])
        assert found.code == 0, found.stderr
        own = [path for path in found.text.splitlines() if not ROOT.is_relative_to(path)]
        return {path for path in own if not os.path.lexists(self.original.path(path))}
