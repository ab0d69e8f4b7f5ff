"""The forwarder's processes and services on this machine, by psutil and systemd."""

from __future__ import annotations

import os
import sys
from typing import Any

from ..contract import deadline
from ..contract.options import as_text
from ..contract.run import Finding, import_library
from ..contract.verdict import CRITICAL, OK, WARNING, Problem, clean
from ..machine.usb import read_attribute
from .ask import Facts, Request, patience
from .judge import DEAD, Process, judge_process, judge_systemd
from .listing import decode, first_line

FIRST_PID_NAMESPACE = "pid:[4026531836]"  # kernel: include/linux/proc_ns.h; a container has another one


def look_for_processes(request: Request, facts: Facts) -> None:
    """The processes of each name."""
    psutil = import_library("psutil")
    deadline.doing("listing the processes")
    linux = sys.platform.startswith("linux")
    if linux and not os.path.exists("/proc/self"):
        raise Problem("--process cannot be judged: there is no /proc here, and in it the processes")
    found: dict[str, list[Process]] = {name: [] for name in request.processes}
    hidden = linux and not os.path.exists("/proc/1")  # mounted with hidepid=2
    pids = psutil.pids()
    for pid in set(pids) - {os.getpid(), os.getppid()}:
        # The kernel's word first, cut after 15 bytes: to ask psutil for every process costs ten times more.
        start = (read_attribute(f"/proc/{pid}/comm") or "").rstrip("\ufffd")
        if start and not any(name.startswith(start) for name in found):
            continue
        try:
            process = psutil.Process(pid)
            names = {plain_program(name) for name in names_of(process)}
            for name in found:
                found[name] += [Process(pid, process.status())] if plain_program(name) in names else []
        except psutil.AccessDenied:
            hidden = hidden or linux  # mounted with hidepid=1
        except psutil.Error:
            pass  # it has ended meanwhile
    if hidden and not all(found.values()):
        why = "this user may not see all processes (/proc is mounted with hidepid)"
        raise Problem(f"--process cannot be judged: {why}")
    container = linux and os.readlink("/proc/self/ns/pid") != FIRST_PID_NAMESPACE
    for name, processes in found.items():
        finding = judge_process(clean(name, 80), processes, len(pids) if container else 0)
        facts.findings.append(("process", finding))
    facts.running = sum(process.status not in DEAD for processes in found.values() for process in processes)


def names_of(process: Any) -> list[str]:
    """What a process may be called. The kernel keeps 15 bytes of its name: a longer one is a word of its
    command line, the first of a program, a later one of a script."""
    name: str = process.name()
    raw = os.fsencode(name)
    words = map(os.path.basename, process.cmdline()) if len(raw) >= 15 else ()
    return [as_text(word) for word in words if os.fsencode(word).startswith(raw[:15])] or [as_text(name)]


def plain_program(name: str) -> str:
    """The name of a program as it is compared: Windows knows no case, and its .exe may be left out."""
    return name if os.name == "posix" else name.lower().removesuffix(".exe")


def ask_services(request: Request, facts: Facts) -> None:
    """The service manager's word on each service."""
    for name in request.services:
        deadline.doing(f"asking for the service {name}")
        try:
            finding = ask_windows(name) if os.name == "nt" else ask_systemd(name)
        except Problem as problem:  # the others are asked all the same
            finding = Finding(problem.state, str(problem))
        if finding.state == OK and name.lower() == "ftnlsv3":
            what = "it only supervises: that alone does not prove that the forwarder works"
            finding = Finding(OK, f"{finding.sentence} ({what})")
        facts.findings.append(("process", finding))


def ask_systemd(name: str) -> Finding:
    """systemd's word on a unit."""
    from ..machine.command import run_command

    command = ["systemctl", "show", "-p", "LoadState,ActiveState,SubState,Result,FreezerState", "--", name]
    output = run_command(command, patience(), 1 << 16)
    text = decode(output.stdout)
    if output.failure or output.code:
        reason = output.failure or f"says: {clean(first_line(text.split(chr(10))), 100)}"
        raise Problem(f"service {name}: systemctl {reason}; without systemd name its --process")
    return judge_systemd(name, text)


def ask_windows(name: str) -> Finding:
    """psutil's word on a Windows service."""
    psutil = import_library("psutil")
    try:
        status = psutil.win_service_get(name).status()
    except psutil.NoSuchProcess:
        raise Problem(f"there is no service {name} on this machine: check --service") from None
    except (psutil.Error, OSError) as error:
        raise Problem(f"service {name} cannot be asked: {clean(error, 100)}") from None
    if status == "running":
        return Finding(OK, f"service {name} is running")
    state = WARNING if status in ("start_pending", "continue_pending") else CRITICAL
    return Finding(state, f"service {name} is not running ({clean(status, 40)}): start it")
