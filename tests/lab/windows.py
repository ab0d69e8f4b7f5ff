"""A Windows machine under Wine, and an agent on it that starts command lines as NSClient++ and the Zabbix agents do.

    with WindowsMachine() as windows:
        windows.run_check("senselock", "-v")                       # CPython 3.11 for Windows
        windows.start('cmd /c "C:\\tools\\x.bat"', way="zabbix")   # any command line

Wine is in the folder "windows" of tests/engines.txt; tests/windows_folder.py installs CPython there. A machine is a copy of
that installation which shares its files by hard links. Drive Z: is the folder's root, with this machine's temporary folder
in its place, so a path below it is the same on both sides while a program's current drive is Z:. Needs root.

Traps of Wine, no faults of a check: a Unix file as standard handle kills Python, so all goes through the agent's pipes; and
psutil's Process.name() wants a call that Wine 8 lacks, so psutil is given another one (NAMES_OF_PROCESSES there).
"""

from __future__ import annotations

import atexit
import itertools
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import TracebackType

from lab.engine_folders import Folder, MissingSoftware
from lab.run_check import CHECKS, ROOT, Outcome

FOLDER = Folder("windows")
PINS = (ROOT / "packaging/vendored.txt").read_text("utf-8") + (ROOT / "tests/windows.txt").read_text("utf-8")
PREFIX, LOCALES, LOCALE = "/srv/windows/prefix", "/srv/windows/locales", "ru_RU.UTF-8"
INSTALLED = FOLDER.root / "srv/windows/made-from"
PROGRAM_FILES = "drive_c/Program Files"
VERSIONS = ("3.9", "3.11", "3.13")
USUAL = "3.11"
LIBUSB = FOLDER.root / "srv/windows/libusb-1.0.dll"  # the real one
SOURCES = ROOT / "tests/windows"  # of what is compiled for it
NUMBERS = itertools.count(1)  # of the machines of this process
STARTED_NOTHING = (b"9009", b"error 1359")
"""What Wine's cmd, with "is not recognized", and the agent say if CreateProcess fails: each seen once in thousands of starts of a
program that is there. No check has run then, so the command line is given once more."""
OWN_FILES = re.compile(r".*\.reg|\.update-timestamp")  # what Wine writes to in its place

def environment(prefix: str) -> dict[str, str]:
    """The variables of a program of Wine: a Russian Windows, no .NET, no browser, no messages."""
    return {"WINEPREFIX": prefix, "WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree=;mshtml=", "LOCPATH": LOCALES, "LC_ALL": LOCALE}


def made_from() -> str:
    """What the installation depends on, in one text."""
    return PINS + (ROOT / "tests/windows_folder.py").read_text("utf-8")


def is_installed() -> bool:
    """Whether CPython is there, from the pins as they are today."""
    return FOLDER.is_complete() and INSTALLED.is_file() and INSTALLED.read_text("utf-8") == made_from()


@cache
def compiled(source: str, *options: str) -> Path:
    """A program or DLL for Windows, made from a C file of tests/windows by MinGW, in a folder of this process."""
    folder = Path(tempfile.mkdtemp(prefix="windows-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = folder / Path(source).with_suffix(".dll" if "-shared" in options else ".exe")
    shutil.copy(SOURCES / source, target.parent)
    build = ["x86_64-w64-mingw32-gcc", "-Os", "-s", "-Wall", "-Werror", *options, "-o", str(target), str(target.parent / source)]
    done = subprocess.run(FOLDER.command(*build), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def on_one_processor() -> list[str]:
    """The beginning of a command that keeps to one processor, another one in the next worker of pytest-xdist. A program of Wine
    asks its server thousands of things: a check takes half the time if both take turns on one processor."""
    processors = sorted(os.sched_getaffinity(0))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return ["taskset", "-c", str(processors[worker % len(processors)])]


def quoted(*argv: str) -> str:
    """A command line that a Windows program takes apart into these words."""
    return subprocess.list2cmdline(argv)


class WindowsMachine:
    """A machine of its own: nothing that happens on it reaches another one."""

    def __init__(self) -> None:
        if not is_installed():
            raise MissingSoftware(f"CPython for Windows is missing ({INSTALLED.parent}): run as root  sh tests/run.sh")
        self.prefix = f"/srv/windows-{os.getpid()}-{next(NUMBERS)}"
        self.root = FOLDER.path(self.prefix)
        self.disk = self.root / "drive_c"
        self.programs = self.root / PROGRAM_FILES
        self.checks = self.programs / "kodeks"

    def __enter__(self) -> WindowsMachine:
        for left in FOLDER.root.glob("srv/windows-*"):  # by a run that was killed
            if not Path("/proc", left.name.split("-")[1]).exists():
                shutil.rmtree(left)
        shutil.copytree(FOLDER.path(PREFIX), self.root, symlinks=True, copy_function=link_or_copy)
        shutil.copytree(CHECKS, self.checks, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(compiled("agent.c"), self.disk / "agent.exe")
        command = [*on_one_processor(), *FOLDER.command("wine", r"C:\agent.exe", env=environment(self.prefix))]
        # Wine's helpers hold stderr open: nobody waits for its end.
        self._agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        subprocess.run(FOLDER.command("wineserver", "-k", env=environment(self.prefix)), check=False)
        self._agent.kill()
        self._agent.communicate()
        shutil.rmtree(self.root)

    def _ask(self, *fields: str) -> tuple[bytes, bytes, bytes]:
        assert self._agent.stdin and self._agent.stdout
        for field in fields:
            encoded = field.encode()
            self._agent.stdin.write(struct.pack("<I", len(encoded)) + encoded)
        self._agent.stdin.flush()
        return self._take(), self._take(), self._take()

    def _take(self) -> bytes:
        assert self._agent.stdout
        return self._agent.stdout.read(*struct.unpack("<I", self._agent.stdout.read(4)))

    def run(self, line: str, way: str = "direct", env: Mapping[str, str] | None = None, folder: str = "", patience: float = 60) -> Outcome:
        """Run a command line as an agent does (agent.c names the ways) and return its outcome, unjudged."""
        started = time.monotonic()
        variables = "\n".join(f"{name}={value}" for name, value in (env or {}).items())
        folder = folder or "Z:" + tempfile.gettempdir().replace("/", "\\")
        asked = (way, line, folder, variables, str(int(patience * 1000)))
        code, stdout, stderr = self._ask(*asked)
        if code in STARTED_NOTHING:
            code, stdout, stderr = self._ask(*asked)
        assert re.fullmatch(rb"-?[0-9]+", code), f"{line}: {code.decode()}, {stdout!r}, {stderr!r}"
        return Outcome(int(code), stdout, stderr, time.monotonic() - started)

    def start(self, line: str) -> int:
        """Start a command line and go on; its process id."""
        return self.run(line, "start").code

    def stand_in(self, name: str, text: bytes = b"", sleeps: bool = False) -> str:
        """Put a forwarder's program into C:\\forwarders (tool.c says how it behaves); its path."""
        folder = self.disk / "forwarders"
        folder.mkdir(exist_ok=True)
        shutil.copy(compiled("tool.c", "-municode"), folder / f"{name}.exe")
        (folder / f"{name}.txt").write_bytes(text)
        (folder / f"{name}.sleep").write_text("") if sleeps else (folder / f"{name}.sleep").unlink(missing_ok=True)
        return rf"C:\forwarders\{name}.exe"

    def arguments_of(self, name: str) -> list[str]:
        """The arguments that such a program got at last."""
        return (self.disk / f"forwarders/{name}.args").read_text("utf-8-sig").splitlines()

    def is_running(self, name: str) -> bool:
        """Whether a program of this name runs."""
        names = "import psutil; print(*[process.name() for process in psutil.process_iter()])"
        return name in self.run(quoted(self.python(), "-X", "utf8", "-c", names)).text.split()

    @contextmanager
    def libusb(self, library: Path, version: str = USUAL) -> Iterator[None]:
        """A libusb-1.0.dll beside python.exe."""
        beside = self.disk / self.python(version)[3:].replace("\\", "/").replace("python.exe", "libusb-1.0.dll")
        shutil.copy(library, beside)
        yield
        beside.unlink()

    def python(self, version: str = USUAL) -> str:
        """The path of an interpreter."""
        return rf"C:\Program Files\Python{version.replace('.', '')}\python.exe"

    def command(self, check: str, *arguments: str, version: str = USUAL) -> list[str]:
        """The command line of a check, as words."""
        return [self.python(version), rf"C:\Program Files\kodeks\check_{check}.py", *arguments]

    def run_check(self, check: str, *arguments: str, version: str = USUAL, env: Mapping[str, str] | None = None, way: str = "direct") -> Outcome:
        """Run `check_<check>` and return its outcome; a breach of the contract fails the test at once."""
        outcome = self.run(quoted(*self.command(check, *arguments, version=version)), way, env)
        assert not outcome.breaches(), f"{check} {arguments}: {outcome.breaches()}\n{outcome.text[:2000]}"
        return outcome

    def run_process(self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, version: str = USUAL, patience: float = 60, **_: object) -> Outcome:
        """lab.run_check.run_process for a command line of lab.run_check.command: the interpreter and the checks are swapped."""
        program, *arguments = argv[1:]
        assert Path(program).parent == CHECKS, f"no command line of a check: {argv}"
        return self.run(quoted(self.python(version), rf"C:\Program Files\kodeks\{Path(program).name}", *arguments), env=env, patience=patience)


def link_or_copy(source: str, target: str) -> None:
    """Share a file, unless Wine writes to it."""
    shutil.copy2(source, target) if OWN_FILES.fullmatch(Path(source).name) else os.link(source, target)
