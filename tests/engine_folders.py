"""Makes the folders of tests/engines.txt that are missing: run as root, safe to repeat.

    python3 tests/engine_folders.py            those of tests/run.sh
    python3 tests/engine_folders.py newest     that of tests/newest.sh; it is made anew when it is older than a week
    python3 tests/engine_folders.py versions   makes nothing and says what is in them; with "newest" in that one

mmdebstrap installs the packages of a folder's release, checked with Debian's own keys, from the mirror that this
machine's apt uses. Nothing is installed on this machine. A folder is made once and kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab.engine_folders import ENGINE_USERS, EVERY_FOLDER, NEWEST, PLACE, Folder, rows

WEEK = 7 * 86400  # seconds
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
BESIDE = "+"

# Users get their numbers before a package makes them with others, and PostgreSQL makes no database of its own.
PREPARE = "\n".join(
    [
        'mkdir -p "$1/etc/postgresql-common"',
        'echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"',
        *(
            f'echo "{name}:x:{number}:{number}::/var/lib/{name}:/bin/sh" >>"$1/etc/passwd"; echo "{name}:x:{number}:" >>"$1/etc/group"'
            for name, number in ENGINE_USERS.items()
        ),
        'echo "127.0.0.1 localhost" >"$1/etc/hosts"',
    ]
)
UNPACK = 'cd "$1" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq download {package} && dpkg-deb -x {package}_*.deb . && rm {package}_*.deb'


class CannotMake(RuntimeError):
    """A folder could not be made; the text says which one and why."""


def mirror() -> str:
    """The Debian mirror that apt uses on this machine."""
    ask = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)", "Created-By: Packages"]
    lines = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [fields[3] for fields in map(str.split, lines) if len(fields) == 4 and fields[:2] == ["Debian", "main"] and "-" not in fields[2]]
    if not found:
        raise CannotMake("apt knows no Debian mirror: run apt-get update")
    return found[0]


def proxy() -> list[str]:
    """Options of mmdebstrap that hand on the proxies which this machine's apt uses."""
    lines = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [f"--aptopt={line.rstrip(';')}" for line in lines if line.startswith(("Acquire::http::Proxy", "Acquire::https::Proxy"))]


def told(folder: Folder) -> str:
    """A folder and the engines in it, in words."""
    engines = ", ".join(f"{row.engine} {row.version}" for row in folder.rows if row.version != "-")
    return f"{folder.name} ({engines})"


def make(folder: Folder, source: str) -> str:
    """Make a folder anew and return what is in it, in words."""
    (release,) = {row.release for row in folder.rows} - {EVERY_FOLDER}
    packages = [package for row in folder.rows for package in row.packages]
    new = folder.root.with_suffix(".new")
    remove(new)
    beside = [UNPACK.format(package=name.removeprefix(BESIDE)) for name in packages if name.startswith(BESIDE)]
    options = [
        f"--include={','.join(name for name in packages if not name.startswith(BESIDE))}",
        f"--essential-hook={PREPARE}",
        *(f"--customize-hook={hook}" for hook in beside),
        "--dpkgopt=force-unsafe-io",
        *proxy(),
        # A mirror may lag behind; what changes daily expires weekly.
        *(["--aptopt=Acquire::Check-Valid-Until \"false\""] if release not in ("bookworm", "trixie") else []),
    ]
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=apt", *options, release, str(new), f"deb [signed-by={KEYS}] {source} {release} main"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        remove(new)
        last = "\n".join((done.stdout + done.stderr).splitlines()[-8:])
        raise CannotMake(f"{told(folder)} is missing and cannot be made from Debian's {release} at {source}:\n{last}")
    found = versions(folder, new)
    shutil.rmtree(new / "var/lib/apt/lists", ignore_errors=True)
    (new / folder.stamp.name).write_text(repr(folder.rows), "utf-8")
    remove(folder.root)
    new.rename(folder.root)
    return found


def versions(folder: Folder, root: Path) -> str:
    """What is in a folder, in words; CannotMake if a version is another than the list says."""
    engines = [f"{row.engine} {checked_version(root, row.packages[0], row.version, folder)}" for row in folder.rows if row.version != "-"]
    return f"{folder.name}: {', '.join(engines)}, python {checked_version(root, 'python3', '3', folder)}"


def checked_version(root: Path, package: str, beginning: str, folder: Folder) -> str:
    """The version of an installed package, without epoch; CannotMake if it is another than the list says."""
    show = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${Version}", package]
    version = subprocess.run(show, capture_output=True, text=True, check=True).stdout.rpartition(":")[2]
    if not version.startswith(f"{beginning}."):
        raise CannotMake(f"{folder.name}: {package} is {version} there today, tests/engines.txt says {beginning}")
    return version


def remove(root: Path) -> None:
    """Remove a folder; CannotMake if something is still mounted in it."""
    if any(line.split()[4].startswith(f"{root}/") for line in Path("/proc/self/mountinfo").read_text().splitlines()):
        raise CannotMake(f"something is mounted below {root}: unmount it")
    shutil.rmtree(root, ignore_errors=True)


def wanted(names: Sequence[str]) -> list[Folder]:
    """The folders with these names, or without a name all that tests/run.sh needs."""
    listed = list(dict.fromkeys(row.folder for row in rows() if row.folder != EVERY_FOLDER))
    return [Folder(name) for name in listed if (name in names if names else name != NEWEST)]


def is_old(folder: Folder) -> bool:
    """Whether a folder was made more than a week ago."""
    return time.time() - folder.stamp.stat().st_mtime > WEEK


def main() -> int:
    """Make what is missing; exit 1 with a sentence for each folder that cannot be made."""
    if sys.argv[1:2] == ["versions"]:
        print("\n".join(versions(folder, folder.root) for folder in wanted(sys.argv[2:])))
        return 0
    missing = [folder for folder in wanted(sys.argv[1:]) if not folder.is_complete() or (folder.name == NEWEST and is_old(folder))]
    if not missing:
        return 0
    if os.geteuid() != 0:
        print(f"missing below {PLACE}: {', '.join(map(told, missing))}. They are made by root.", file=sys.stderr)
        return 1
    PLACE.mkdir(parents=True, exist_ok=True)
    print("making engine folders:", ", ".join(map(told, missing)), flush=True)
    failures = 0
    try:
        source = mirror()
    except (CannotMake, subprocess.CalledProcessError) as error:
        print(error, file=sys.stderr)
        return 1
    with ThreadPoolExecutor(2) as pool:
        for folder, future in [(folder, pool.submit(make, folder, source)) for folder in missing]:
            try:
                print(future.result(), flush=True)
            except (CannotMake, OSError, subprocess.CalledProcessError) as error:
                failures += 1
                print(f"{folder.name}: {error}" if not isinstance(error, CannotMake) else error, file=sys.stderr, flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
