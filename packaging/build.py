"""Builds what is handed to operators, byte for byte the same wherever and whenever it is built.

    python3 packaging/build.py                 dist/check_*, the one-file builds
    python3 packaging/build.py python          wheel and source distribution
    python3 packaging/build.py debian          Debian package
    python3 packaging/build.py all

Which checks there are and which libraries each one needs is read from checks/: nothing here names a check.

A one-file build is a zip application of the standard library's zipapp kind: the check, the package that the
checks share and the pure Python libraries that the check imports, each with its license, in a file that
python3 (3.9 or newer) runs as it is. It holds sources, not compiled code: that is bound to one minor
version of Python, and a one-file build is bound to none.

The tools of packaging/tools.txt are needed. Where this Python lacks one of them, the build makes a virtual
environment for them (.venv/packaging) and goes on there. The Debian package needs debhelper and dh-python
too. Every time stamp is the date of the newest entry in debian/changelog, or SOURCE_DATE_EPOCH. Wheel,
source distribution and Debian package are compressed, so they are the same only with the same zlib and xz;
the one-file builds always.
"""

from __future__ import annotations

import argparse
import ast
import email.utils
import gzip
import importlib.metadata
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
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKS = ROOT / "checks"
PACKAGE = CHECKS / "kodeks_monitoring"
TOOLS = ROOT / "packaging/tools.txt"
CHANGELOG = ROOT / "packaging/debian/changelog"
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")
"""What lies in the folders that are shipped and is no part of them."""


class BuildError(Exception):
    """The build cannot go on; the text says why and what to do."""


# --- Version, time and tools ----------------------------------------------------------------------


def version() -> str:
    """The version, from the one place that has it."""
    found = re.search(r'^__version__ = "(.+)"$', (PACKAGE / "__init__.py").read_text("utf-8"), re.M)
    if not found:
        raise BuildError("checks/kodeks_monitoring/__init__.py has no __version__")
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
    done = subprocess.run(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        words, said = " ".join(map(str, command)), done.stdout.decode(errors="replace")
        raise BuildError(f"{words} ended with {done.returncode}:\n{said[-3000:]}")


def missing_tools() -> list[str]:
    """The Python packages of tools.txt that this interpreter does not have."""
    missing = []
    for name in TOOLS.read_text("utf-8").split():
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return missing


def go_on_with_tools() -> None:
    """Start this program again in a virtual environment with the tools; the first build makes it."""
    folder = ROOT / ".venv/packaging"
    python = folder / "bin/python"
    if Path(sys.prefix) == folder:
        raise BuildError(f"{folder} lacks {', '.join(missing_tools())}: delete it, and it is made anew")
    if not python.exists():
        run([sys.executable, "-m", "venv", folder], ROOT)
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", TOOLS], ROOT)
    os.execv(python, [str(python), *sys.argv])


# --- One-file builds ------------------------------------------------------------------------------

FIRST_LINE = b"#!/usr/bin/env python3\n"
# As __main__ the check takes the process over, whatever the file has been renamed to.
START = """\
import runpy

runpy.run_module("{check}", run_name="__main__", alter_sys=True)
"""


def build_one_files(output: Path) -> list[Path]:
    """dist/check_*: one executable file a check."""
    with tempfile.TemporaryDirectory() as folder:
        wheels = download_libraries(Path(folder))
        return [build_one_file(check, wheels, output) for check in sorted(CHECKS.glob("check_*.py"))]


def download_libraries(folder: Path) -> list[Path]:
    """The wheels of vendored.txt, their hashes compared. psutil is compiled: it stays the system's own."""
    options = ("--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "-d", folder)
    run([sys.executable, "-m", "pip", "download", *options, "-r", ROOT / "packaging/vendored.txt"], folder)
    return sorted(folder.glob("*.whl"))


def build_one_file(check: Path, wheels: Iterable[Path], output: Path) -> Path:
    """One zip application. Nothing in it depends on the machine: order, time stamps and rights are fixed, and
    its members are stored, because compressed bytes differ from one zlib to the next."""
    members = {
        "__main__.py": START.format(check=check.stem).encode(),
        check.name: check.read_bytes(),
        "LICENSE": (ROOT / "LICENSE").read_bytes(),
    }
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            members[path.relative_to(CHECKS).as_posix()] = path.read_bytes()
    imported = libraries_of(check)
    for wheel in wheels:
        files = dict(wheel_members(wheel))
        if imported & {name.partition("/")[0] for name in files}:
            members.update(files)
    content = io.BytesIO(FIRST_LINE)
    content.seek(0, io.SEEK_END)
    with zipfile.ZipFile(content, "a") as archive:
        for name in sorted(members):
            member = zipfile.ZipInfo(name, time.gmtime(source_date())[:6])
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, members[name])
    target = output / check.stem
    target.write_bytes(content.getvalue())
    target.chmod(0o755)
    return target


def libraries_of(check: Path) -> set[str]:
    """The top-level modules that a check imports, itself or through the package, whoever made them."""
    files = [check]
    imported = set()
    for file in files:  # it grows meanwhile
        for name in imports_of(file):
            imported.add(name.partition(".")[0])
            path = CHECKS / name.replace(".", "/")
            found = [path.with_suffix(".py"), path / "__init__.py"]
            files += [other for other in found if other.exists() and other not in files]
    return imported


def imports_of(file: Path) -> Iterator[str]:
    """The full names of the modules that a file imports, by a statement or by import_library("...")."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            folder = file.parents[node.level - 1].relative_to(CHECKS).parts if node.level else ()
            module = ".".join([*folder, *filter(None, [node.module])])
            yield from (module, *(f"{module}.{alias.name}" for alias in node.names))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_library"):
            yield str(ast.literal_eval(node.args[0]))


def wheel_members(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """The files of a wheel: modules, license, metadata. Not RECORD, which describes an installation."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.endswith((".dist-info/RECORD", "/")):
                yield name, archive.read(name)


# --- Wheel and source distribution ----------------------------------------------------------------


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
        shutil.copytree(ROOT / name, target / name, ignore=NOT_SHIPPED)
    for file in (*ROOT.glob("setup.*"), ROOT / "pyproject.toml", ROOT / "LICENSE", *ROOT.glob("*.md")):
        shutil.copy(file, target)
    for path in target.rglob("*"):
        executable = path.is_dir() or path.read_bytes()[:2] == b"#!"
        path.chmod(0o755 if executable else 0o644)
        os.utime(path, (source_date(), source_date()))


def fixed_tar(archive: bytes) -> bytes:
    """A .tar.gz with its members in order, owned by root, dated by the release, unlike setuptools' own."""
    packed, plain = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as source, tarfile.open(fileobj=plain, mode="w") as target:
        for member in sorted(source.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = source_date(), 0, 0, "", ""
            member.pax_headers = {}
            target.addfile(member, source.extractfile(member) if member.isfile() else None)
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=source_date()) as stream:
        stream.write(plain.getvalue())
    return packed.getvalue()


# --- Debian package -------------------------------------------------------------------------------


def build_debian(output: Path) -> list[Path]:
    """The Debian package, by debhelper, from a copy with man pages and completion made in advance."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, f"monitoring-plugins-kodeks-{version()}")
        copy_source(source)
        shutil.copytree(ROOT / "packaging/debian", source / "debian")
        run([sys.executable, ROOT / "packaging/manual.py", source / "generated"], source)
        run(["dpkg-buildpackage", "--build=all", "--no-sign"], source)
        return [Path(shutil.copy(file, output)) for file in Path(folder).glob("*.deb")]


# --- The command ----------------------------------------------------------------------------------

TARGETS = {"onefile": build_one_files, "python": build_python, "debian": build_debian}


def main() -> int:
    parser = argparse.ArgumentParser(description="Builds what is handed to operators.")
    parser.add_argument("target", nargs="*", choices=[*TARGETS, "all"], default="onefile", help="(onefile)")
    parser.add_argument("--output", metavar="FOLDER", type=Path, default=ROOT / "dist", help="(dist)")
    values = parser.parse_args()
    wanted = [values.target] if isinstance(values.target, str) else values.target
    os.umask(0o022)
    values.output.mkdir(parents=True, exist_ok=True)
    try:
        if missing_tools():
            go_on_with_tools()
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
