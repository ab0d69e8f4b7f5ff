"""One look at a forwarder: its list, its TCP port, its processes and services."""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING, Iterable, Mapping

from ..contract import deadline
from ..contract.language import _
from ..contract.options import as_text
from ..contract.private_files import decoded, read_private
from ..contract.verdict import WARNING, Problem, clean
from .product import CRITICAL, OK, UNKNOWN, Finding, Listing, Product, first_line, readings

if TYPE_CHECKING:
    import socket

LIST_BYTES = 1 << 20
LONGEST_LINE = 4000  # characters
FIRST_PID_NAMESPACE = "pid:[4026531836]"  # kernel: include/linux/proc_ns.h; a container has another one


class Facts:
    """What one look at a product found, of the parts process, answer and device. `values` are the options."""

    def __init__(self, product: Product, values: argparse.Namespace) -> None:
        self.product, self.values = product, values
        self.findings: list[tuple[str, Finding]] = []
        self.listing: Listing | None = None
        self.running: int | None = None  # processes that were asked for

    def found(self, part: str, state: int, sentence: str) -> None:
        """Add a finding."""
        self.findings.append((part, Finding(state, clean(sentence, 400))))


def patience() -> float:
    """Seconds for one answer of a tool, server or service. Half of what is left stays for the others."""
    return min(5.0, deadline.remaining() / 2)


def ask_list(facts: Facts) -> None:
    """Run the list command."""
    from ..machine.command import run_command

    command, product = facts.values.list_command, facts.product
    where = _("list command {command}", clean(" ".join(command), 80))
    deadline.doing(_("running {what}", where))
    output = run_command(command, patience(), LIST_BYTES)
    if output.failure:
        raise Problem(_("{command} {failure}; is it installed here, and does its daemon answer?",
                        where, output.failure))  # fmt: skip
    code = output.code or 0
    ended = _("{command} ended with exit code {code}", where, code)
    if code < 0:
        ended = _("{command} ended with signal {number}", where, -code)
    if product.exit_codes:
        unknown = Finding(UNKNOWN, _("{ended}, which is not known: judge it by --utn-code", ended))
        known = {**product.exit_codes, **dict(facts.values.utn_code)}
        part, finding = known.get(code, ("answer", unknown))
        facts.found(part, finding.state, _(finding.sentence))
        facts.found("answer", OK, "")
    else:
        failed = code < 0 or (code > 0 and product.exit_code_counts)
        use_list(facts, decoded(output.stdout), where, ended if failed else "")


def read_captured(facts: Facts) -> None:
    """A list from a file. What an old one says may have been true once."""
    path, limit = facts.values.list_output, facts.values.list_max_age
    text = read_private(path, "--list-output", LIST_BYTES, private=False)
    age = (time.time() - os.stat(path).st_mtime) / 60
    if not -1 <= age <= limit:
        minutes = f"{age:.1f}"
        raise Problem(_("list {file} is {minutes} minutes old (--list-max-age {limit}): does the job that "
                        "writes it still run, and are the clocks right?", clean(path, 120), minutes, limit))
    use_list(facts, text, _("the captured list"))


def use_list(facts: Facts, text: str, where: str, failure: str = "") -> None:
    """Read a list. What a tool that has failed says in known words counts, its list does not."""
    lines = [line.rstrip() for line in text.split("\n")]
    read = facts.product.read
    reading = read(lines) if read and max(map(len, lines)) <= LONGEST_LINE else None
    if isinstance(reading, Finding):
        facts.found("answer", *reading)
    elif reading and not failure:
        facts.listing = reading
    else:
        title, line = facts.product.title, clean(readings(first_line(lines))[0], 120)
        what = failure or _("{list} is no whole list of {title} that this check knows", where, title)
        raise Problem(f"{what}: " + (line or _("nothing printable")))


def ask_port(facts: Facts) -> None:
    """Whether a TCP port takes connections: all that can be asked where no protocol is public."""
    host, port = facts.values.hostname, facts.values.port
    open_connection(host, port, time.monotonic() + patience()).close()
    what = _("port open at {host}:{port} (which proves neither license nor key)", host, port)
    facts.found("answer", OK, what)


def open_connection(host: str, port: int, until: float) -> socket.socket:
    """A connection to the forwarder before `until` (time.monotonic())."""
    from ..machine.tcp import NoConnection, connect

    deadline.doing(_("connecting to {host} port {port}", host, port))
    try:
        return connect(host, port, until)
    except NoConnection as error:
        what = _("forwarder does not answer at {host}:{port} ({why}): does it run there, "
                 "and does a firewall let this machine in?", host, port, error)  # fmt: skip
        raise Problem(what, UNKNOWN if error.unresolved else CRITICAL) from None


def look_for_processes(facts: Facts) -> None:
    """The processes of each name."""
    import psutil

    from ..machine.usb import ON_LINUX, read_attribute

    deadline.doing(_("listing the processes"))
    found: dict[str, dict[int, str]] = {os.path.normcase(name): {} for name in facts.values.process}
    pids = psutil.pids() if not ON_LINUX or os.path.exists("/proc/self") else []
    hidden = ""
    if ON_LINUX and read_attribute("/proc/1/comm") is None:
        hidden = _("--process cannot be judged: /proc does not show this user all processes (hidepid?)")
    for pid in set(pids) - {os.getpid(), os.getppid()}:
        # The kernel's word first, cut after 15 bytes: to ask psutil for every process costs ten times more.
        start = (ON_LINUX and read_attribute(f"/proc/{pid}/comm") or "").rstrip("\ufffd")
        if start and not any(name.startswith(start) for name in found):
            continue
        try:
            process = psutil.Process(pid)
            name, status = process.name(), process.status()
            # Windows lets an ordinary user read names, but not command lines.
            words = process.cmdline() if os.name == "posix" and len(os.fsencode(name)) >= 15 else ()
            for called in names_of(name, words) & found.keys() if status not in ("zombie", "dead") else ():
                found[called][pid] = status
        except psutil.Error:
            pass  # it has ended meanwhile, or may not be seen
        except OSError as error:
            hidden = _("--process cannot be judged: a process cannot be read: {why}", error.strerror)
    if hidden and not all(found.values()):
        raise Problem(hidden)
    container = ON_LINUX and os.readlink("/proc/self/ns/pid") != FIRST_PID_NAMESPACE
    for name, statuses in found.items():
        facts.found("process", *judge_process(name, statuses, len(pids) if container else 0))
    facts.running = sum(map(len, found.values()))


def names_of(name: str, words: Iterable[str]) -> set[str]:
    """What a process may be called. Linux keeps 15 bytes of its name: a longer one is a word of its command
    line, the first of a program, a later one of a script."""
    raw = os.fsencode(name)
    whole = [path for path in map(os.path.basename, words) if os.fsencode(path).startswith(raw[:15])]
    return {os.path.normcase(as_text(text)) for text in whole or [name]}


def judge_process(name: str, statuses: Mapping[int, str], visible: int) -> Finding:
    """The living processes of one name, psutil's status by pid; `visible` is how many a container shows."""
    for pid, status in statuses.items():
        if status in ("stopped", "tracing-stop"):
            what = _("process {name} is frozen: run kill -CONT {pid}, or restart it", name, pid)
            if os.name == "nt":
                what = _("process {name} is frozen: resume process {pid}, or restart it", name, pid)
            return Finding(CRITICAL, what)
    if statuses:
        return Finding(OK, _("process {name} is running", name))
    container = _(" (processes visible here: {number}, a container?)", visible) if visible else ""
    return Finding(CRITICAL, _("process {name} is not running{container}: start it", name, container))


def ask_services(facts: Facts) -> None:
    """The service manager's word on each service."""
    ask = ask_windows if os.name == "nt" else ask_systemd
    for name in facts.values.service:
        deadline.doing(_("asking for the service {name}", name))
        facts.found("process", *ask(name))


def ask_systemd(name: str) -> Finding:
    """A unit, by systemd."""
    from ..machine.command import run_command

    output = run_command(["systemctl", "show", "-p", "ActiveState,SubState", "--", name], patience(), 1 << 16)
    lines = decoded(output.stdout).split("\n")
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    if output.failure or output.code or len(lines) != 3 or values.keys() != {"ActiveState", "SubState"}:
        reason = output.failure or _("says: {line}", first_line(lines))
        what = _("service {name}: systemctl {reason}; without systemd name its --process", name, reason)
        return Finding(UNKNOWN, what)
    return judge_service(name, values["ActiveState"], values["SubState"])


def ask_windows(name: str) -> Finding:
    """A service of Windows, by psutil. Its words become those of systemd."""
    import psutil

    try:
        status = psutil.win_service_get(name).status()  # type: ignore[attr-defined,unused-ignore]
    except (psutil.Error, OSError) as error:
        return Finding(UNKNOWN, _("service {name} cannot be asked: {why}", name, error))
    words = {"running": "active", "start_pending": "activating"}
    return judge_service(name, words.get(status, "inactive"), status)


def judge_service(name: str, active: str, sub: str) -> Finding:
    """A service by systemd's words (systemctl's manual page names them)."""
    if (active, sub) == ("active", "running"):
        supervises = _(" (it only supervises: that alone does not prove that the forwarder works)")
        what = _("service {name} is running", name)
        return Finding(OK, what + supervises if name.lower() == "ftnlsv3" else what)
    if active in ("activating", "reloading") and sub != "auto-restart":  # that one crashes again and again
        return Finding(WARNING, _("service {name} is starting ({active}, {sub})", name, active, sub))
    if active == "active":  # a one-shot service that has done its work, a socket, a timer
        what = _("service {name} is active without a process ({sub}): name its --process", name, sub)
        return Finding(UNKNOWN, what)
    return Finding(CRITICAL, _("service {name} is not running ({active}, {sub}): "
                               "start it, or check --service", name, active, sub))  # fmt: skip
