"""Builds what is handed to operators, byte for byte the same wherever and whenever it is built.

    python3 packaging/build.py                 dist/check_senselock and the other one-file builds
    python3 packaging/build.py python          wheel and source distribution
    python3 packaging/build.py debian          Debian package
    python3 packaging/build.py all

A one-file build is a zip application of the standard library's zipapp kind: the check and its modules and the pure
Python libraries of vendored.txt, each with its license, in a file that python3 (3.9 or newer) runs as it is. It holds
sources, not compiled code: that is bound to one minor version of Python, and a one-file build is bound to none.

Needs pip (all), the PyPI packages build, setuptools and wheel (python), argparse-manpage and shtab (debian), and the
Debian packages debhelper and dh-python (debian); tests/requirements.txt and tests/packages.txt name them too.
Every time stamp is the date of the newest entry in debian/changelog, or SOURCE_DATE_EPOCH. Wheel, source distribution
and Debian package are compressed, so they are the same only with the same zlib and xz; the one-file builds always.
"""

from __future__ import annotations

import argparse
import email.utils
import gzip
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKS = ROOT / "checks"
CHANGELOG = ROOT / "packaging/debian/changelog"

LIBRARIES = {
    "check_senselock": ("nagiosplugin", "pyusb"),
    "check_kodeks_xml": ("nagiosplugin",),
    "check_usb_redirector": ("nagiosplugin",),
}
"""The checks, and what each one-file build holds. psutil is compiled and stays the distribution's own."""

MODULES = {
    "check_senselock": ("plugin_runtime",),
    "check_kodeks_xml": ("plugin_runtime", "kodeks_binding", "kodeks_record", "kodeks_http", "kodeks_report"),
    "check_usb_redirector": (
        "plugin_runtime", "forwarder_facts", "forwarder_products", "forwarder_collector", "forwarder_lists", "forwarder_log",
    ),
}  # fmt: skip
"""The files of checks/ that each check imports."""


class BuildError(Exception):
    """The build cannot go on; the text says why and what to do."""


# --- Version and time -----------------------------------------------------------------------------------------


def version() -> str:
    """The version, from the one place that has it."""
    found = re.search(r'^__version__ = "(.+)"$', (CHECKS / "plugin_runtime.py").read_text(), re.M)
    if not found:
        raise BuildError("checks/plugin_runtime.py has no __version__")
    return found[1]


def source_date() -> int:
    """The one time stamp of everything built, in seconds since 1970: the release's, not the build's."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    signed = re.search(r"^ -- .*>  (.*)$", CHANGELOG.read_text(), re.M)
    if not signed:
        raise BuildError(f"{CHANGELOG} has no signed entry")
    return int(email.utils.parsedate_to_datetime(signed[1]).timestamp())


def run(command: Sequence[str | Path], folder: Path, **environment: str) -> None:
    """Run a build tool in silence; what it said is told when it fails."""
    env = {**os.environ, "SOURCE_DATE_EPOCH": str(source_date()), **environment}
    done = subprocess.run(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        words = " ".join(map(str, command))
        raise BuildError(f"{words} ended with {done.returncode}:\n{done.stdout.decode(errors='replace')[-3000:]}")


# --- One-file builds ------------------------------------------------------------------------------------------

FIRST_LINE = b"#!/usr/bin/env python3\n"
# Runs on any Python 3, so that an old one answers with a sentence: a SyntaxError would exit 1, which means WARNING.
# As __main__ the check takes the process over, whatever the file has been renamed to.
START = """\
import sys

if sys.version_info < (3, 9):
    print("{service} UNKNOWN - Python 3.9 or newer is needed, this is %d.%d" % sys.version_info[:2])
    sys.exit(3)

import runpy

runpy.run_module("{check}", run_name="__main__", alter_sys=True)
"""


def build_one_files(output: Path) -> list[Path]:
    """dist/check_*: one executable file a check."""
    with tempfile.TemporaryDirectory() as folder:
        wheels = download_libraries(Path(folder))
        return [build_one_file(check, wheels, output) for check in LIBRARIES]


def download_libraries(folder: Path) -> dict[str, Path]:
    """The wheels of vendored.txt by the name of their library; pip compares their hashes."""
    run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes",
         "-d", folder, "-r", ROOT / "packaging/vendored.txt"], folder)  # fmt: skip
    return {wheel.name.partition("-")[0]: wheel for wheel in folder.glob("*.whl")}


def build_one_file(check: str, wheels: dict[str, Path], output: Path) -> Path:
    """One zip application. Nothing in it depends on the machine: order, time stamps and rights are fixed, and its
    members are stored, because compressed bytes differ from one zlib to the next."""
    members = {
        "__main__.py": START.format(service=service_of(check), check=check).encode(),
        **{f"{name}.py": (CHECKS / f"{name}.py").read_bytes() for name in (check, *MODULES[check])},
        "LICENSE": (ROOT / "LICENSE").read_bytes(),
    }
    for library in LIBRARIES[check]:
        members.update(wheel_members(wheels[library]))
    content = io.BytesIO(FIRST_LINE)
    content.seek(0, io.SEEK_END)
    with zipfile.ZipFile(content, "a") as archive:
        for name in sorted(members):
            member = zipfile.ZipInfo(name, time.gmtime(source_date())[:6])
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, members[name])
    target = output / check
    target.write_bytes(content.getvalue())
    target.chmod(0o755)
    return target


def service_of(check: str) -> str:
    """The service word a check begins its line with: KODEKS_XML."""
    return check.partition("_")[2].upper()


def wheel_members(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """The files of a wheel: its modules, its license, its metadata. Not RECORD, which describes an installation."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.endswith((".dist-info/RECORD", "/")):
                yield name, archive.read(name)


# --- Wheel and source distribution ----------------------------------------------------------------------------


def build_python(output: Path) -> list[Path]:
    """The wheel and the source distribution, built from a copy: setuptools writes into the tree it builds."""
    with tempfile.TemporaryDirectory() as folder:
        source, built = Path(folder, "source"), Path(folder, "built")
        copy_source(source)
        run([sys.executable, "-m", "build", "--no-isolation", "--outdir", built, source], built.parent)
        for archive in built.glob("*.tar.gz"):
            archive.write_bytes(fixed_tar(archive.read_bytes()))
        return [Path(shutil.copy(file, output)) for file in sorted(built.iterdir())]


def copy_source(target: Path) -> None:
    """A copy of everything that is built from, with equal rights on every machine."""
    target.mkdir()
    for name in ("checks", "templates"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", ".*"))
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", *(file.name for file in ROOT.glob("*.md"))):
        shutil.copy(ROOT / name, target)
    for path in target.rglob("*"):
        executable = path.is_dir() or path.read_bytes()[:2] == b"#!"
        path.chmod(0o755 if executable else 0o644)
        os.utime(path, (source_date(), source_date()))


def fixed_tar(archive: bytes) -> bytes:
    """A .tar.gz with its members in order, owned by root, dated by the release: setuptools cares for none of it."""
    packed, plain = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as source, tarfile.open(fileobj=plain, mode="w") as target:
        for member in sorted(source.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = source_date(), 0, 0, "", ""
            member.pax_headers = {}
            target.addfile(member, source.extractfile(member) if member.isfile() else None)
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=source_date()) as stream:
        stream.write(plain.getvalue())
    return packed.getvalue()


# --- Debian package -------------------------------------------------------------------------------------------


def build_debian(output: Path) -> list[Path]:
    """The Debian package, by debhelper, from a copy with man pages and completion made in advance."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, f"monitoring-plugins-kodeks-{version()}")
        copy_source(source)
        shutil.copytree(ROOT / "packaging/debian", source / "debian")
        run([sys.executable, ROOT / "packaging/manual.py", source / "generated"], source)
        run(["dpkg-buildpackage", "--build=all", "--no-sign"], source)
        return [Path(shutil.copy(file, output)) for file in Path(folder).glob("*.deb")]


# --- The command ----------------------------------------------------------------------------------------------

TARGETS = {"onefile": build_one_files, "python": build_python, "debian": build_debian}


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds the one-file checks, the Python packages and the Debian package.")
    parser.add_argument("target", nargs="*", choices=[*TARGETS, "all"], default="onefile", help="what to build (onefile)")
    parser.add_argument("--output", metavar="FOLDER", type=Path, default=ROOT / "dist", help="where to put it (dist)")
    values = parser.parse_args()
    wanted = [values.target] if isinstance(values.target, str) else values.target
    os.umask(0o022)
    values.output.mkdir(parents=True, exist_ok=True)
    try:
        for name, build in TARGETS.items():
            if name in wanted or "all" in wanted:
                for file in build(values.output):
                    print(file)
    except (BuildError, OSError) as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
