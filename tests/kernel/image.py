"""What the guest is made of: Debian packages and the checks. Nothing else of the test machine goes in.

apt resolves and fetches the packages against an empty package list, so the guest holds what Debian installs for
`python3-nagiosplugin python3-usb python3-psutil` and not a file more: the promise that these suffice is part of the
test. From the kernel package come the kernel and the few modules of the play. The result is one initrd, kept in
`build/kernel`; the checks and the agent are added to it fresh at every start.

Needs apt with current package lists, dpkg-deb, tar, cpio, depmod and unxz, but neither root nor an installed kernel.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "build" / "kernel"
INSIDE = Path(__file__).resolve().parent / "inside"

PACKAGES = ("busybox-static", "libc-bin", "python3", "python3-nagiosplugin", "python3-usb", "python3-psutil", "usbip", "usbutils")
KERNEL_PACKAGE = "linux-image-amd64"
# Folders of modules the play needs: the USB core and its controllers, USB/IP, and a network card.
MODULE_FOLDERS = ("drivers/usb/common", "drivers/usb/core", "drivers/usb/host", "drivers/usb/usbip", "drivers/net/ethernet/intel/e1000")
LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/lib/x86_64-linux-gnu/gconv")
# The users of a monitored machine: the engine's agent runs the plugins as "nagios", without rights of its own.
USERS = "root:x:0:0::/root:/bin/sh\nnagios:x:100:100::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
GROUPS = "root:x:0:\nnagios:x:100:\nnogroup:x:65534:\n"


class CannotBuild(RuntimeError):
    """The guest cannot be made on this machine; the text says what is missing. Never a reason to skip."""


@dataclass(frozen=True)
class Image:
    """A guest ready to boot: the kernel file, the initrd without the checks, the kernel's version."""

    kernel: Path
    base: Path
    version: str


def prepare() -> Image:
    """Fetch and build the guest, or reuse the one of an earlier run when the packages' versions are the same."""
    for tool in ("apt-get", "apt-cache", "dpkg-deb", "tar", "cpio", "depmod", "unxz"):
        if not shutil.which(tool):
            raise CannotBuild(f"{tool} is not installed; tests/packages.txt names the packages")
    with locked_cache():
        version = kernel_version()
        plan = resolve()
        recipe = Path(__file__).read_text()
        stamp = hashlib.sha256("\n".join([recipe, version, *plan]).encode()).hexdigest()
        image = Image(CACHE / "vmlinuz", CACHE / "base.cpio", version)
        if not (CACHE / "stamp").is_file() or (CACHE / "stamp").read_text() != stamp:
            (CACHE / "stamp").unlink(missing_ok=True)
            build(image, plan)
            (CACHE / "stamp").write_text(stamp)
    return image


@contextmanager
def locked_cache() -> Iterator[None]:
    """One builder at a time."""
    (CACHE / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def call(argv: Sequence[str | Path], cwd: Path | None = None) -> str:
    """Run a tool and return its stdout; its failure is a CannotBuild with its own words."""
    done = subprocess.run([str(word) for word in argv], cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotBuild(f"{' '.join(map(str, argv))}: exit {done.returncode}: {done.stderr[-1000:]}")
    return done.stdout


# --- Which packages -------------------------------------------------------------------------------------------


def kernel_version() -> str:
    """The version Debian's kernel metapackage stands for, such as 6.1.0-56-amd64."""
    found = re.search(r"Depends: linux-image-(\d\S+)", call(["apt-cache", "depends", KERNEL_PACKAGE]))
    if not found:
        raise CannotBuild(f"apt does not know {KERNEL_PACKAGE}; run apt-get update (the guest is Debian on amd64)")
    return found[1]


def apt_install() -> list[str]:
    """The apt command that sees an empty machine and works in the cache, so it needs no root and touches nothing."""
    (CACHE / "status").touch()
    options = (f"Dir::State::status={CACHE}/status", f"Dir::Cache::archives={CACHE}/archives/", "Debug::NoLocking=1")
    command = ["apt-get", "-qq", "--no-install-recommends"]
    for option in options:
        command += ["-o", option]
    return [*command, "install"]


def resolve() -> list[str]:
    """`NAME VERSION` of every package of the guest, as apt resolves them for an empty machine."""
    simulated = call([*apt_install(), "--simulate", *PACKAGES])
    plan = [f"{name} {version}" for name, version in re.findall(r"^Inst (\S+) \((\S+)", simulated, re.M)]
    if not plan:
        raise CannotBuild("apt resolves no packages; run apt-get update")
    return sorted(plan)


# --- Building -------------------------------------------------------------------------------------------------


def build(image: Image, plan: Sequence[str]) -> None:
    """Download, unpack and pack the guest."""
    archives = CACHE / "archives"
    for old in archives.glob("*.deb"):
        old.unlink()
    call([*apt_install(), "--yes", "--download-only", *PACKAGES])
    debs = sorted(archives.glob("*.deb"))
    if len(debs) != len(plan):
        raise CannotBuild(f"apt fetched {len(debs)} packages of {len(plan)}")
    call(["apt-get", "-qq", "download", f"linux-image-{image.version}"], cwd=archives)
    kernel_deb = next(archives.glob("linux-image-*.deb"))
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root = Path(folder) / "root"
        lay_out(root)
        for deb in debs:
            unpack(deb, root, [f"--exclude=./{path}" for path in LEFT_OUT])
        modules = f"./*lib/modules/{image.version}"  # Debian 13: /usr/lib
        unpack(kernel_deb, root, ["--wildcards", f"./boot/vmlinuz-{image.version}", *(f"{modules}/kernel/{path}" for path in MODULE_FOLDERS),
                                  f"{modules}/modules.order", f"{modules}/modules.builtin", f"{modules}/modules.builtin.modinfo"])
        if packed := sorted(root.rglob("*.ko.xz")):  # Debian 13; busybox loads no packed modules
            call(["unxz", *packed])
        shutil.move(root / "boot" / f"vmlinuz-{image.version}", image.kernel)
        call(["depmod", "-b", root, image.version])
        link_busybox(root)
        compile_python(root)
        pack(root, image.base)


def lay_out(root: Path) -> None:
    """The folders and links a Debian system has before its first package: /usr merged, places to mount."""
    for path in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "proc", "sys", "dev", "tmp", "run", "var", "root"):
        (root / path).mkdir(parents=True)
    for link in ("bin", "sbin", "lib", "lib64"):
        (root / link).symlink_to(f"usr/{link}")
    (root / "var" / "run").symlink_to("../run")
    (root / "tmp").chmod(0o1777)
    (root / "etc" / "passwd").write_text(USERS)
    (root / "etc" / "group").write_text(GROUPS)


def unpack(deb: Path, root: Path, arguments: Sequence[str]) -> None:
    """Unpack a package's files into `root`; no script of the package runs."""
    tar = ["tar", "-x", "-C", str(root), "--keep-directory-symlink", "--no-same-owner", *arguments]
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE) as stream:
        done = subprocess.run(tar, stdin=stream.stdout, capture_output=True, text=True, check=False)
    if stream.returncode or done.returncode:
        raise CannotBuild(f"cannot unpack {deb.name}: {done.stderr[-500:]}")


def link_busybox(root: Path) -> None:
    """A link for every applet of the static busybox that no Debian package supplies."""
    for applet in call([root / "usr/bin/busybox", "--list"]).split():
        if not any((root / "usr" / folder / applet).exists() for folder in ("bin", "sbin")):
            (root / "usr/bin" / applet).symlink_to("busybox")


def compile_python(root: Path) -> None:
    """Byte code for the guest's Python by the guest's Python: what a package's own script does on a real machine."""
    loader = root / "usr/lib64/ld-linux-x86-64.so.2"
    python = [loader, "--library-path", root / "usr/lib/x86_64-linux-gnu", root / "usr/bin/python3", "-I", "-S"]
    folders = sorted(root.glob("usr/lib/python3*"))
    # The exit code counts test files with wrong syntax on purpose; what matters shows when the guest boots.
    subprocess.run(
        [str(word) for word in [*python, "-m", "compileall", "-q", "-s", root, "-p", "/", "--invalidation-mode", "unchecked-hash", *folders]],
        env={"PYTHONHOME": str(root / "usr"), "PATH": os.defpath},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )


def pack(folder: Path, archive: Path) -> None:
    """Pack a folder as an initrd (cpio, newc), every file owned by root."""
    names = "\n".join(str(path.relative_to(folder)) for path in sorted(folder.rglob("*"))) + "\n"
    with open(archive, "wb") as target:
        subprocess.run(["cpio", "--create", "--format=newc", "--owner=0:0", "--quiet"],
                       input=names.encode(), stdout=target, cwd=folder, check=True)


# --- The checks -----------------------------------------------------------------------------------------------


def initrd(image: Image, checks: Path, target: Path) -> None:
    """Write the initrd of this run: the guest, then a second archive with the agent and the checks as they are now."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = Path(folder)
        shutil.copy(INSIDE / "init", fresh / "init")
        (fresh / "init").chmod(0o755)
        shutil.copy(INSIDE / "agent.py", fresh / "agent.py")
        shutil.copytree(checks, fresh / "checks", ignore=shutil.ignore_patterns("__pycache__"))
        pack(fresh, fresh.parent / "fresh.cpio")
        with open(target, "wb") as whole:
            for part in (image.base, fresh.parent / "fresh.cpio"):
                with open(part, "rb") as source_file:
                    shutil.copyfileobj(source_file, whole)
