"""Python interpreters as a fresh machine has them: the standard library and nothing else.

    python = BarePython("3.9")
    run_process(python.command(dist, "/mnt/check_senselock", "-V"))

tests/lab/python_setup.sh unpacks them. A program runs in the interpreter's own root folder as the user nobody, with
an empty environment, isolated (-I); the folder under test is mounted read-only at /mnt. Needs root.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab.own_mounts import own_mounts

INTERPRETERS = Path("/var/cache/monitoring-plugins-kodeks/python")
NOBODY = "65534:65534"

_ENTER = (
    'mount --bind "$2" "$1/mnt" && mount -o remount,bind,ro "$1/mnt" && root=$1 && shift 2 && '
    'exec env -i /usr/sbin/chroot --userspec=' + NOBODY + ' --groups= "$root" /usr/bin/python3 -I "$@"'
)


@dataclass(frozen=True)
class BarePython:
    """The newest build of one minor version that a Debian or Ubuntu release has."""

    version: str

    @property
    def root(self) -> Path:
        """The interpreter's root folder."""
        return INTERPRETERS / self.version

    def command(self, folder: Path, *arguments: str) -> list[str]:
        """The command line that runs this Python with `folder` at /mnt. AssertionError if it is not unpacked."""
        assert (self.root / "usr/bin/python3").is_symlink(), f"no Python {self.version}: run sh tests/lab/python_setup.sh as root"
        return [*own_mounts(_ENTER), "sh", str(self.root), str(folder), *arguments]
