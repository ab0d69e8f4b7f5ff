"""Machines on which libusb is missing, refuses to work or is too old.

    run_check("senselock", env=libusb_missing(tmp_path))
    run_check("senselock", env=bus.env(libusb_refuses(tmp_path)))

Every function compiles a small library into the given directory (gcc) and returns the environment variables that
put a program into that world. Programs are real, and so is libusb where there is one.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("libusb_faults.c")


def libusb_missing(directory: Path) -> dict[str, str]:
    """libusb is not installed: loading it fails, and neither ldconfig nor a compiler is there to search for it."""
    return {"LD_PRELOAD": str(compiled("LIBUSB_MISSING", directory / "libusb-missing.so"))}


def libusb_refuses(directory: Path) -> dict[str, str]:
    """The real libusb loads, and its libusb_init() fails as it does where a service may not use netlink sockets."""
    return {"LD_PRELOAD": str(compiled("LIBUSB_REFUSES", directory / "libusb-refuses.so"))}


def libusb_too_old(directory: Path) -> dict[str, str]:
    """A libusb-1.0.so.0 loads that lacks nearly all functions."""
    library = compiled("LIBUSB_TOO_OLD", directory / "libusb-1.0.so.0")
    return {"LD_LIBRARY_PATH": str(library.parent)}


def compiled(world: str, library: Path) -> Path:
    """Compile one world of libusb_faults.c; CalledProcessError when that fails."""
    if not library.exists():
        command = ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", f"-D{world}", "-o", str(library), str(SOURCE)]
        subprocess.run(command, check=True, timeout=60)
    return library
