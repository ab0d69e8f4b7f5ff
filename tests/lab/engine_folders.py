"""The engines' programs: each in a folder that holds a small Debian of the release which has that version.

    folder = folder_of("icinga2", "2.14")
    subprocess.run(folder.command("/usr/sbin/icinga2", "--version"))

tests/engines.txt lists the folders and tests/engine_folders.py makes them. A program starts in its folder (chroot) with
this machine's /proc, /sys, /dev and temporary folder, in a mount namespace that ends with it. The process that a caller
starts becomes the program itself: signals, exit code and process group are those of a program started without all this.
Needs root.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab.own_mounts import own_mounts

LIST = Path(__file__).resolve().parents[1] / "engines.txt"
PLACE = Path("/var/cache/monitoring-plugins-kodeks/engines")
NEWEST = "newest"
"""The folder of Debian's testing release, whose engines are used instead of all others if KODEKS_ENGINES has this value."""
EVERY_FOLDER = "*"
ENGINE_USERS = {"nagios": 941, "zabbix": 942}
"""The users whom engines give up root for, and their numbers: the same in every folder, and none of this machine's users."""

# /tmp is in there by its own name.
_ENTER = """\
root=$1 temporary=$2; shift 2
for place in /proc /sys /dev; do mount --rbind "$place" "$root$place" || exit 125; done
mkdir -p "$root$temporary" && mount --bind "$temporary" "$root$temporary" || exit 125
exec chroot "$root" "$@"
"""


class MissingSoftware(RuntimeError):
    """A program or folder that a test needs is not on this machine; the text says how it gets there."""


@dataclass(frozen=True)
class Row:
    """A row of tests/engines.txt."""

    folder: str
    release: str
    engine: str
    version: str
    packages: tuple[str, ...]


@cache
def rows() -> tuple[Row, ...]:
    """The rows of tests/engines.txt."""
    lines = (line.split() for line in LIST.read_text("utf-8").splitlines() if line and not line.startswith("#"))
    return tuple(Row(folder, release, engine, version, tuple(packages)) for folder, release, engine, version, *packages in lines)


@dataclass(frozen=True)
class Folder:
    """A folder by its name in tests/engines.txt."""

    name: str

    @property
    def root(self) -> Path:
        """Where it lies."""
        return PLACE / self.name

    @property
    def rows(self) -> tuple[Row, ...]:
        """What goes into it."""
        return tuple(row for row in rows() if row.folder in (self.name, EVERY_FOLDER))

    @property
    def stamp(self) -> Path:
        """A file that stands in a folder which is complete; it holds the rows that the folder was made from."""
        return self.root / "made-from"

    def is_complete(self) -> bool:
        """Whether the folder was made, and from the rows as they are today."""
        return self.stamp.is_file() and self.stamp.read_text("utf-8") == repr(self.rows)

    def path(self, name: str) -> Path:
        """Where a file of the folder ("/etc/passwd") lies on this machine. MissingSoftware if the folder has not been made."""
        self._must_be_complete()
        return self.root / name.lstrip("/")

    def version_of(self, engine: str) -> str:
        """The version of an engine in it, as tests/engines.txt has it."""
        (found,) = (row.version for row in self.rows if row.engine == engine)
        return found

    def command(self, *argv: str | Path, env: Mapping[str, str] | None = None) -> list[str]:
        """The command line that runs a program in the folder, with `env` added to the environment of this program only.
        MissingSoftware if the folder has not been made."""
        self._must_be_complete()
        variables = ["/usr/bin/env", *(f"{name}={value}" for name, value in env.items())] if env else []
        return [*own_mounts(_ENTER), "sh", str(self.root), tempfile.gettempdir(), *variables, *map(str, argv)]

    def _must_be_complete(self) -> None:
        if not self.is_complete():
            engines = ", ".join(f"{row.engine} {row.version}" for row in self.rows if row.version != "-")
            raise MissingSoftware(f"{engines} are missing ({self.root}): run as root  sh tests/run.sh")


def in_use() -> tuple[Row, ...]:
    """The rows of the engines that tests run on: all but the newest, or only those."""
    newest = os.environ.get("KODEKS_ENGINES") == NEWEST
    return tuple(row for row in rows() if (row.folder == NEWEST) == newest and row.folder != EVERY_FOLDER)


def versions_of(engine: str) -> tuple[str, ...]:
    """The versions of an engine that its suite runs on, as tests/engines.txt has them."""
    return tuple(row.version for row in in_use() if row.engine == engine)


def folder_of(engine: str, version: str = "") -> Folder:
    """The folder of an engine, of the first version if none is named. ValueError for one that is not in the list."""
    found = [row for row in in_use() if row.engine == engine and version in ("", row.version)]
    if not found:
        raise ValueError(f"{engine} {version} is not among {versions_of(engine)} of {LIST.name}")
    return Folder(found[0].folder)
