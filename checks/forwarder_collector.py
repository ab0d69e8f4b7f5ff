"""One look at a USB forwarder: its list, what USB/IP has attached, its port, processes, services and log.

The only I/O of check_usb_redirector. Facts and where they come from:

* USB/IP is asked over the wire (Linux kernel document usbip_protocol.rst) and in the kernel's vhci status. A device
  in use is not in the list of its server, so absence from that list alone proves nothing;
* a frozen forwarder leaves its key listed by the kernel (measured with vhci_hcd on Linux 6.1), so the server itself
  is asked; nothing here ever opens a device;
* an open port proves neither a license nor a key.
"""

from __future__ import annotations

import os
import re
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

import plugin_runtime as runtime
from forwarder_facts import (
    ATTACHED,
    CRITICAL,
    DEAD,
    NOT_LISTED_WHEN_USED,
    OK,
    UNKNOWN,
    Device,
    Finding,
    Listing,
    Process,
    Unrecognised,
    decode,
    first_line,
    judge_systemd,
    judge_windows_service,
    readings,
    same_program,
)

if TYPE_CHECKING:
    import socket
    from typing import Any, Iterable, Mapping

    from forwarder_products import Product

# --- What is asked, and what was found ------------------------------------------------------------------------
#
# Each step looks at one part if the request asks for it. What keeps it from an answer is a runtime.Problem, which
# becomes a finding and stops no other step.

ANSWER_LIMIT = 5.0  # seconds for one answer of a tool, a server or a service manager
LIST_BYTES = 1 << 20
LIST_AGE = 60.0  # minutes after which a captured list tells nothing any more, where the operator gives no other number


class Request(NamedTuple):
    """What the operator asks, defaults filled in. What is empty is not judged.

    A match in the log stays an alarm for `log_hold` seconds: the soft states of an engine would lose a single one.
    """

    product: Product
    command: tuple[str, ...]
    list_file: str
    list_age: float
    usbip: bool
    side: str
    host: str
    port: int
    processes: tuple[str, ...]
    services: tuple[str, ...]
    utn_codes: Mapping[int, Finding]
    log: str
    log_pattern: re.Pattern[str]
    log_hold: float
    state_dir: str


class Facts:
    """What one look at the forwarder found. `findings` were judged where they were seen, a silent server for example.

    `seconds` is how long the answers took, None without any.
    """

    def __init__(self) -> None:
        self.listing: Listing | None = None
        self.findings: list[Finding] = []
        self.processes: dict[str, list[Process]] = {}
        self.seconds: float | None = None

    def found(self, state: int, sentence: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(state, sentence))

    def answered(self, since: float) -> None:
        """An answer came that was awaited since then (time.monotonic())."""
        self.seconds = (self.seconds or 0.0) + time.monotonic() - since


class Waiting:
    """The time that is left, divided among the waits still to come: one that hangs leaves the others their share."""

    def __init__(self, waits: int) -> None:
        self.waits = waits

    def share(self) -> float:
        """Seconds for the next wait."""
        share = runtime.remaining() / max(1, self.waits)
        self.waits -= 1
        return min(share, ANSWER_LIMIT)


def collect(request: Request) -> Facts:
    """Look at everything that was asked for."""
    facts = Facts()
    waiting = Waiting(bool(request.command) + bool(request.host) + len(request.services))
    # The processes first: that costs nothing, and a frozen daemon must be named although its tool uses up all the time.
    for step in (look_for_processes, look_at_list, look_at_usbip, ask_port, ask_services, watch_log):
        try:
            step(request, facts, waiting)
        except runtime.Problem as problem:
            facts.found(problem.state, str(problem))
    return facts


# --- A list that a tool prints, or that somebody captured -----------------------------------------------------


def look_at_list(request: Request, facts: Facts, waiting: Waiting) -> None:
    """The list that the product's tool prints, or that somebody captured."""
    if not (request.list_file or request.command):
        return
    from forwarder_lists import read_list

    if request.list_file:
        where = "the captured list"
        reading = read_list(request.product.reader, decode(captured(request.list_file, request.list_age)))
    else:
        where = f"list command {runtime.clean(' '.join(request.command), 80)}"
        runtime.doing(f"running {where}")
        started = time.monotonic()
        output = runtime.run_command(request.command, waiting.share(), LIST_BYTES)
        if output.failure:
            hint = "; install it here, or name it with --list-command" if output.failure == "does not exist" else ""
            if output.failure.startswith("did not end") and not request.processes:
                hint = "; if its daemon is frozen, --process tells"
            raise runtime.Problem(f"{where} {output.failure}{hint}")
        facts.answered(started)
        code = output.code or 0
        if request.utn_codes:
            unknown = Finding(UNKNOWN, f"{where} ended with exit code {code}, which is not known")
            facts.findings.append(request.utn_codes.get(code, unknown))
            return
        reading = read_list(request.product.reader, decode(output.stdout))
        # What USB Network Gate's exit codes are worth is told in its reader; a signal is a crash for every tool.
        if code and not isinstance(reading, Finding) and (code < 0 or request.product.reader != "usb-network-gate"):
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            raise runtime.Problem(f"{where} ended with {how}: {runtime.clean(first_line(decode(output.stdout)), 120)}")
    if isinstance(reading, Listing):
        facts.listing = reading
    elif isinstance(reading, Finding):
        facts.findings.append(reading)
    else:
        evidence = runtime.clean(readings(reading.evidence)[0], 120)
        facts.found(UNKNOWN, f"{where} is no list of {request.product.title} that this check knows: {evidence}")


def captured(path: str, max_age: float) -> bytes:
    """A list from a file, or from standard input. A file that is older than `max_age` minutes, or dated in the future,
    is a Problem: what it says may have been true once."""
    shown = runtime.clean(path, 120)
    try:
        if path == "-":
            runtime.doing("reading the list from standard input")
            output = standard_input(LIST_BYTES + 1)
            if len(output) > LIST_BYTES:
                raise runtime.Problem(f"the list on standard input is larger than {LIST_BYTES} bytes")
            return output
        text = runtime.read_private(path, "--list-output", LIST_BYTES, private=False)
        age = (time.time() - os.stat(path).st_mtime) / 60
    except OSError as error:
        raise runtime.Problem(f"list {shown} cannot be read: {runtime.why_of(error)}") from None
    if age < -1:
        clocks = "check the clocks of this machine and of the one that writes it"
        raise runtime.Problem(f"list {shown} is dated {-age:.0f} minutes in the future: {clocks}")
    if age > max_age:
        limit = f"more than --list-max-age {max_age:g}"
        told = max(round(age), int(max_age) + 1)  # 60.2 minutes are not "60 minutes, more than 60"
        raise runtime.Problem(f"list {shown} is {told} minutes old, {limit}: does the job that writes it still run?")
    return text.encode("utf-8", "surrogateescape")


def standard_input(most: int) -> bytes:
    """All of it, at most so many bytes, also from a pipe that its writer has made one that does not wait. Raises OSError."""
    data = b""
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        while len(data) < most:
            piece = stdin.read(most - len(data))
            if piece is None:
                import select

                select.select([stdin], [], [])
            elif not piece:
                break
            else:
                data += piece
    return data


# --- USB/IP: the kernel's view of this machine, and the wire --------------------------------------------------


def look_at_usbip(request: Request, facts: Facts, waiting: Waiting) -> None:
    """What is attached here, and what the servers offer: the one that is named, and those of the attached devices.

    These are asked because a frozen one leaves its device listed here.
    """
    if not request.usbip:
        return
    runtime.doing("reading the vhci status")
    ports = None if request.side == "server" else runtime.vhci_ports()
    if ports is None and not request.host:
        raise no_usbip_client()
    attached = tuple(map(attached_device, ports or ()))
    servers = servers_of(ports or (), request, facts)
    waiting.waits += len(servers) - bool(request.host)
    offered: list[Device] = []
    silent = 0
    for host, port in servers:
        try:
            offered += ask_devlist(host, port, facts, waiting).devices
        except runtime.Problem as problem:
            silent += 1
            # Another server's devices are none of its business; a port without a note may be its own.
            own = [item for item, used in zip(attached, ports or ()) if used.server in ("", f"{host}:{port}")][:3]
            ids = f"{', '.join(item.usb_id or item.place for item in own)} {'is' if len(own) == 1 else 'are'}"
            listed = f"; {ids} still listed here" if own and problem.state == CRITICAL else ""
            frozen = ", as a frozen forwarder leaves it" if listed and FROZEN in str(problem) else ""
            facts.found(problem.state, f"{problem}{listed}{frozen}")
    if ports is None:
        absent = (UNKNOWN, f"is not offered, and {NOT_LISTED_WHEN_USED}: run this check where the key is attached")
        facts.listing = None if silent else Listing(tuple(offered), absent=absent)
    else:
        offers = servers and not silent
        absent = (CRITICAL, "is neither offered by the forwarder nor attached here" if offers else "is not attached here")
        elsewhere = "is the key plugged in and shared at the forwarder, or attached to another machine?"
        remedy = elsewhere if offers else "attach the key with usbip attach"
        facts.listing = Listing((*attached, *offered), absent=absent, remedy=remedy)


NOT_ON_THE_BUS = "attached, but not on this machine's USB bus"


def attached_device(port: runtime.VhciPort) -> Device:
    """The device on a used port, by its world-readable attributes: reading these waits for nothing."""
    folder = f"{runtime.USB_DEVICES}/{port.busid}"
    vendor, product = (runtime.read_attribute(f"{folder}/{name}") for name in ("idVendor", "idProduct"))
    usb_id = f"{vendor}:{product}".lower() if vendor and product else ""
    return Device("", usb_id, ATTACHED if usb_id else NOT_ON_THE_BUS, "", f"{port.busid}, vhci_hcd port {port.number}")


def servers_of(ports: Iterable[runtime.VhciPort], request: Request, facts: Facts) -> list[tuple[str, int]]:
    """The server that is named and those that `usbip attach` noted for the used ports, each once.

    A port without a note is a finding, unless the operator has named the server.
    """
    found = {(request.host, request.port): None} if request.host else {}
    for port in ports:
        host, _, number = port.server.rpartition(":")
        if host and re.fullmatch(r"[0-9]{1,5}", number) and 0 < int(number) < 65536:
            found[host, int(number)] = None
        elif not request.host:
            noted = "is not noted here" if hasattr(os, "geteuid") and os.geteuid() == 0 else "is noted for root alone"
            facts.found(UNKNOWN, f"who serves vhci_hcd port {port.number} {noted}, so nobody was asked whether the forwarder "
                        "still answers: give it with -H")  # fmt: skip
    return list(found)


def no_usbip_client() -> runtime.Problem:
    """Why there is no vhci status here."""
    if os.path.exists(runtime.VHCI):
        unknown = runtime.read_attribute(f"{runtime.VHCI}/status") is not None
        why = "has a form that this check does not know" if unknown else "cannot be read"
        return runtime.Problem(f"the status of {runtime.VHCI} {why}")
    if not sys.platform.startswith("linux"):
        return runtime.Problem("what USB/IP has attached can only be read on Linux: give the server with -H")
    sentence = "nothing is attached here: vhci_hcd is not loaded, run modprobe vhci_hcd and usbip attach"
    return runtime.Problem(f"{sentence} (a server is asked with -H)", CRITICAL)


def ask_devlist(host: str, port: int, facts: Facts, waiting: Waiting) -> Listing:
    """The devices that a USB/IP server offers; anything else is a Problem."""
    from forwarder_lists import DEVLIST_REQUEST, read_devlist

    place = at(host, port)
    runtime.doing(f"asking {place} for its USB/IP devices")
    started = time.monotonic()
    deadline = started + waiting.share()
    with connect(host, port, deadline) as connection:
        try:
            connection.sendall(DEVLIST_REQUEST)
            reading = read_devlist(Answer(connection, deadline).read)
        except OSError as error:
            raise runtime.Problem(f"forwarder does not answer at {place} ({runtime.why_of(error)})", CRITICAL) from None
    if isinstance(reading, Unrecognised):
        raise runtime.Problem(f"{place} is no USB/IP server of version 1.1.1, check -p: {reading.evidence}")
    if isinstance(reading, Finding):
        raise runtime.Problem(f"forwarder at {place}: {reading.sentence}", reading.state)
    facts.answered(started)
    return reading


def ask_port(request: Request, facts: Facts, waiting: Waiting) -> None:
    """Whether a TCP port takes connections, which is all that can be asked of a forwarder without a public protocol."""
    if not request.host or request.usbip:
        return
    place = at(request.host, request.port)
    runtime.doing(f"connecting to {place}")
    started = time.monotonic()
    connect(request.host, request.port, started + waiting.share()).close()
    facts.answered(started)
    facts.found(OK, f"port open at {place} (which proves neither license nor key)")


def connect(host: str, port: int, deadline: float) -> socket.socket:
    """A connection to the forwarder before the deadline (time.monotonic())."""
    try:
        return runtime.connect(host, port, deadline)
    except runtime.NoConnection as error:
        if not error.unresolved:
            sentence = f"forwarder does not answer at {at(host, port)} ({error})"
            raise runtime.Problem(f"{sentence}: does it run there, and does a firewall let this machine in?", CRITICAL) from None
        how = "is not resolved in time" if error.late else "cannot be resolved"
        raise runtime.Problem(f"the name {runtime.clean(host, 100)} {how}: {error}") from None


FROZEN = "it takes the connection and says nothing: frozen?"


class Answer:
    """What a server sends before the deadline (time.monotonic()), whatever the pace it comes at."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection, self.deadline, self.begun = connection, deadline, False

    def read(self, size: int) -> bytes:
        """Exactly `size` bytes. Raises OSError with the reason."""
        import socket

        data = b""
        while len(data) < size:
            self.connection.settimeout(max(0.01, self.deadline - time.monotonic()))
            try:
                piece = self.connection.recv(size - len(data))
            except socket.timeout:
                piece = None
            if piece is None or time.monotonic() > self.deadline:
                raise OSError(0, "its answer does not end in time" if self.begun else FROZEN)
            if not piece:
                raise OSError(0, "it closes the connection without a whole answer")
            data, self.begun = data + piece, True
        return data


def at(host: str, port: int) -> str:
    """HOST:PORT for people; an IPv6 address in brackets."""
    shown = runtime.clean(host, 100)
    return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"


# --- Processes and services -----------------------------------------------------------------------------------


def look_for_processes(request: Request, facts: Facts, waiting: Waiting) -> None:
    """The processes of each name. The kernel cuts a name at 15 bytes; what goes on is told by psutil and full_name()."""
    if not request.processes:
        return
    psutil = runtime.import_library("psutil")
    runtime.doing("listing the processes")
    linux = sys.platform.startswith("linux")
    if linux and not os.path.exists("/proc/self"):
        raise runtime.Problem("--process cannot be judged: there is no /proc here, and in it the processes")
    facts.processes = {name: [] for name in request.processes}
    doubtful: dict[str, str] = {}
    hidden = linux and not os.path.exists("/proc/1")  # mounted with hidepid=2
    own: list[int] | None = None
    for pid in psutil.pids():
        # The kernel's own word first: asking psutil for every process costs ten times as much. It is cut after 15 bytes,
        # perhaps within a character.
        start = (runtime.read_attribute(f"/proc/{pid}/comm") or "").rstrip("\ufffd")
        if start and not any(name.startswith(start) for name in facts.processes):
            continue
        try:
            process = psutil.Process(pid)
            called, cut = full_name(process, psutil.Error)
            names = [name for name in facts.processes if same_program(called, name, os.name == "nt")]
            begun = [name for name in facts.processes if cut and name not in names and name.startswith(called)]
            found = Process(pid, status_of(process)) if names or begun else None
        except psutil.AccessDenied:
            hidden = hidden or linux  # mounted with hidepid=1
            continue
        except psutil.Error:
            continue  # it has ended meanwhile
        if not found:
            continue
        # This check and what has started it (a shell with the name in its command line, an engine) prove nothing.
        own = [os.getpid(), *(parent.pid for parent in psutil.Process().parents())] if own is None else own
        for name in names:
            if pid not in own:
                facts.processes[name].append(found)
            else:
                what = f"process {runtime.clean(name, 80)} was found only as this check or what has started it (pid {pid})"
                doubtful[name] = f"{what}, which proves nothing: name the forwarder's own process"
        for name in begun if found.status not in DEAD and pid not in own else ():
            shown = runtime.clean(called, 80)
            what = f"process {runtime.clean(name, 80)} may be pid {pid}, whose name the kernel cuts to {shown}"
            doubtful[name] = f"{what}: if it is, give --process '{shown}'"
    for name, sentence in doubtful.items():
        if not facts.processes[name]:
            del facts.processes[name]
            facts.found(UNKNOWN, sentence)
    if hidden and not all(facts.processes.values()):
        facts.processes = {}
        raise runtime.Problem("--process cannot be judged: this user may not see all processes (/proc is mounted with hidepid)")


def full_name(process: Any, errors: type[Exception]) -> tuple[str, bool]:
    """A process's name, and whether that is the kernel's alone, who may have cut it: he keeps 15 bytes.

    psutil completes it from the first word of the command line. Of a script that word is its interpreter, of a program
    that calls itself otherwise anything: then a further word or the program's file tells.
    """
    called: str = process.name()
    raw = os.fsencode(called) if os.name == "posix" else b""
    if len(raw) != 15:
        return runtime.as_text(called), False
    words: list[str] = process.cmdline()
    try:
        words.append(process.exe())
    except errors:
        pass  # of another user's process only root may know it
    program = next((name for name in map(os.path.basename, words) if os.fsencode(name).startswith(raw)), "")
    if program:
        return runtime.as_text(program), False
    return raw.decode("utf-8", "ignore"), True


def status_of(process: Any) -> str:
    """psutil's word for what a process does. A program whose first thread has ended looks dead: the others tell."""
    status: str = process.status()
    if status in DEAD and sys.platform.startswith("linux"):
        folder = f"/proc/{process.pid}/task"
        try:
            threads = [name for name in os.listdir(folder) if name != str(process.pid)]
        except OSError:
            return status
        states = [(runtime.read_attribute(f"{folder}/{name}/stat") or "").rpartition(") ")[2][:1] for name in threads]
        alive = [state for state in states if state not in ("", "Z", "X")]
        if alive:
            return "stopped" if "T" in alive else "tracing-stop" if "t" in alive else "running"
    return status


def ask_services(request: Request, facts: Facts, waiting: Waiting) -> None:
    """The service manager's word on each service."""
    for name in request.services:
        runtime.doing(f"asking for the service {name}")
        try:
            finding = ask_windows(name) if os.name == "nt" else ask_systemd(name, waiting.share())
        except runtime.Problem as problem:  # the others are asked all the same
            finding = Finding(problem.state, str(problem))
        if finding.state == OK and name.casefold() == "ftnlsv3":
            finding = Finding(OK, f"{finding.sentence} (it only supervises: that alone does not prove that the forwarder works)")
        facts.findings.append(finding)


def ask_systemd(name: str, limit: float) -> Finding:
    """systemd's word on a unit."""
    command = ["systemctl", "show", "-p", "LoadState,ActiveState,SubState,Result,FreezerState", "--", name]
    output = runtime.run_command(command, limit, 1 << 16)
    if output.failure or output.code:
        reason = output.failure or f"says: {runtime.clean(first_line(decode(output.stdout)), 100)}"
        raise runtime.Problem(f"service {name}: systemctl {reason}; without systemd name its --process")
    return judge_systemd(name, decode(output.stdout))


def ask_windows(name: str) -> Finding:
    """psutil's word on a Windows service."""
    psutil = runtime.import_library("psutil")
    try:
        return judge_windows_service(name, psutil.win_service_get(name).status())
    except psutil.NoSuchProcess:
        return judge_windows_service(name, None)
    except (psutil.Error, OSError) as error:
        raise runtime.Problem(f"service {name} cannot be asked: {runtime.clean(error, 100)}") from None


# --- The log --------------------------------------------------------------------------------------------------


def watch_log(request: Request, facts: Facts, waiting: Waiting) -> None:
    """New lines of the log since the last run."""
    if request.log:
        from forwarder_log import Log, watch

        facts.findings += watch(Log(request.log, request.log_pattern, request.log_hold, request.state_dir))
