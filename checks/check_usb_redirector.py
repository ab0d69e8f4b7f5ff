#!/usr/bin/env python3
"""Is the USB forwarder alive, does it offer the key, and how long is its license valid?

The middle link of the chain that keeps a Kodeks/Techexpert server licensed. Facts and where they come from:

* no forwarder tells the end of its license by command line, log, registry or API (manuals, public wrappers), so the
  operator gives the date; a term that nobody gave is unknown, never good;
* forwarder_products says how each product is watched, forwarder_lists reads their lists as public captures show them,
  forwarder_facts judges what was found, forwarder_log watches a log; a list that is not recognised is never good;
* USB/IP is asked over the wire (Linux kernel document usbip_protocol.rst) and in the kernel's vhci status. A device
  in use is not in the list of its server, so absence from that list alone proves nothing;
* a frozen forwarder leaves its key listed by the kernel (measured with vhci_hcd on Linux 6.1), so the server itself
  is asked; nothing here ever opens a device;
* an open port proves neither a license nor a key.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

try:
    import plugin_runtime as runtime

    begin = runtime.begin
except ImportError:
    print("USB_REDIRECTOR UNKNOWN - plugin_runtime.py is missing beside this check: copy the whole checks folder")
    raise SystemExit(3) from None
except OSError:
    print("USB_REDIRECTOR UNKNOWN - plugin_runtime.py beside this check cannot be read by this user: run chmod a+r on it")
    raise SystemExit(3) from None
except EOFError:
    print("USB_REDIRECTOR UNKNOWN - the folder __pycache__ beside this check is damaged: remove it")
    raise SystemExit(3) from None
except (SyntaxError, ValueError, NameError, AttributeError):  # cut by a failed copy; a zero byte is a ValueError
    print("USB_REDIRECTOR UNKNOWN - plugin_runtime.py beside this check is incomplete: copy the whole checks folder again")
    raise SystemExit(3) from None

begin("USB_REDIRECTOR", __name__)

import nagiosplugin
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
    Term,
    Unrecognised,
    Wanted,
    capacity,
    decode,
    first_line,
    good_devices,
    judge_device,
    judge_license,
    judge_list,
    judge_process,
    judge_systemd,
    judge_windows_service,
    readings,
    same_program,
)
from forwarder_products import PRODUCTS, UTN_CODES, Product, Source

if TYPE_CHECKING:
    import socket
    from typing import Any, Callable, Iterable, Iterator, Mapping, Sequence

# --- The collector: the only I/O ------------------------------------------------------------------------------
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
            with open(0, "rb", closefd=False) as stdin:
                output = stdin.read(LIST_BYTES + 1)
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
        raise runtime.Problem(f"list {shown} is {age:.0f} minutes old, {limit}: does the job that writes it still run?")
    return text.encode("utf-8", "surrogateescape")


# USB/IP: the kernel's view of this machine, and the wire.


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
            ids = ", ".join(device.usb_id or device.place for device in attached[:3])
            listed = f"; {ids} is still listed here" if ids and problem.state == CRITICAL else ""
            frozen = ", as a frozen forwarder leaves it" if listed and FROZEN in str(problem) else ""
            facts.found(problem.state, f"{problem}{listed}{frozen}")
    if ports is None:
        absent = (UNKNOWN, f"is not offered, and {NOT_LISTED_WHEN_USED}: run this check where the key is attached")
        facts.listing = None if silent else Listing(tuple(offered), absent=absent)
    else:
        offers = servers and not silent
        absent = (CRITICAL, "is neither offered by the forwarder nor attached here" if offers else "is not attached here")
        facts.listing = Listing((*attached, *offered), absent=absent)


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
        raise runtime.Problem(f"{place} is no USB/IP server of version 1.1.1: {reading.evidence}")
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
            raise runtime.Problem(f"forwarder does not answer at {at(host, port)} ({error})", CRITICAL) from None
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


# Processes and services.


def look_for_processes(request: Request, facts: Facts, waiting: Waiting) -> None:
    """The processes of each name. psutil completes a name that the kernel cut at 15 characters."""
    if not request.processes:
        return
    psutil = runtime.import_library("psutil")
    runtime.doing("listing the processes")
    linux = sys.platform.startswith("linux")
    if linux and not os.path.exists("/proc/self"):
        raise runtime.Problem("--process cannot be judged: there is no /proc here, and in it the processes")
    facts.processes = {name: [] for name in request.processes}
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
            called = full_name(process)
            names = [name for name in facts.processes if same_program(called, name, os.name == "nt")]
            found = Process(pid, process.status()) if names else None
        except psutil.AccessDenied:
            hidden = hidden or linux  # mounted with hidepid=1
            continue
        except psutil.Error:
            continue  # it has ended meanwhile
        if found:
            # This check and what has started it (a shell with the name in its command line, an engine) prove nothing.
            own = [os.getpid(), *(parent.pid for parent in psutil.Process().parents())] if own is None else own
            for name in names if pid not in own else ():
                facts.processes[name].append(found)
    if hidden and not all(facts.processes.values()):
        facts.processes = {}
        raise runtime.Problem("--process cannot be judged: this user may not see all processes (/proc is mounted with hidepid)")


def full_name(process: Any) -> str:
    """A process's name. The kernel keeps 15 bytes of it; psutil completes what is cut between two characters."""
    called: str = process.name()
    raw = os.fsencode(called) if os.name == "posix" else b""
    if len(raw) != 15 or called.isascii():
        return called
    program = os.path.basename((process.cmdline() or [""])[0])
    return program if os.fsencode(program).startswith(raw) else called


def ask_services(request: Request, facts: Facts, waiting: Waiting) -> None:
    """The service manager's word on each service."""
    for name in request.services:
        runtime.doing(f"asking for the service {name}")
        finding = ask_windows(name) if os.name == "nt" else ask_systemd(name, waiting.share())
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


def watch_log(request: Request, facts: Facts, waiting: Waiting) -> None:
    """New lines of the log since the last run."""
    if request.log:
        from forwarder_log import Log, watch

        facts.findings += watch(Log(request.log, request.log_pattern, request.log_hold, request.state_dir))


# --- The contexts: facts to results ---------------------------------------------------------------------------


class Part(nagiosplugin.Context):
    """One part of the forwarder, judged by one of the functions above; the hint of its result is the sentence."""

    states = (nagiosplugin.Ok, nagiosplugin.Warn, nagiosplugin.Critical, nagiosplugin.Unknown)

    def __init__(self, name: str, judge: Callable[[Any], Finding]) -> None:
        super().__init__(name)
        self.judge = judge

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        finding = self.judge(metric.value)
        return nagiosplugin.Result(self.states[finding.state], finding.sentence, metric)


class Number(nagiosplugin.Context):
    """A number for graphers that nothing judges."""

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        return runtime.perfdata(self.name, metric.value, "s" if self.name == "time" else "", minimum=0)


class DaysLeft(nagiosplugin.Context):
    """The days left of the license; the ranges by which judge_license() judged them are shown with the number."""

    def __init__(self, warning: nagiosplugin.Range, critical: nagiosplugin.Range) -> None:
        super().__init__("license_days")
        self.warning, self.critical = warning, critical

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        return runtime.perfdata(self.name, metric.value, "", self.warning, self.critical)


class Forwarder(nagiosplugin.Resource):
    """The forwarder as this machine sees it, looked at once, with what the operator asks of it."""

    def __init__(self, request: Request, term: Term | None, devices: Sequence[Wanted], clients: Sequence[str]) -> None:
        self.request, self.term, self.devices, self.clients = request, term, devices, clients
        self.facts = Facts()

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        self.facts = facts = collect(self.request)
        listing = facts.listing
        if self.term or self.request.product.needs_license:
            yield nagiosplugin.Metric("license", listing.licenses if listing else ())
            yield nagiosplugin.Metric("license_days", self.term.left() if self.term else None)
        for item in facts.processes.items():
            yield nagiosplugin.Metric("process", item)
        for finding in facts.findings:
            yield nagiosplugin.Metric("finding", finding)
        if listing:
            for wanted in self.devices or (None,):
                yield nagiosplugin.Metric("device", (wanted, listing))
        if facts.processes:
            running = sum(process.status not in DEAD for found in facts.processes.values() for process in found)
            yield nagiosplugin.Metric("processes", running)
        if listing and not listing.only_licenses:
            yield nagiosplugin.Metric("devices", good_devices(listing, self.clients))
        yield nagiosplugin.Metric("time", facts.seconds)


# --- The sentence ---------------------------------------------------------------------------------------------


class Spoken(nagiosplugin.Summary):
    """What the check says when all is well, and the lines of -v: every finding, and everything that the list holds."""

    def __init__(self, forwarder: Forwarder) -> None:
        self.forwarder = forwarder

    def ok(self, results: nagiosplugin.Results) -> str:
        return "; ".join(dict.fromkeys(item.hint for item in results.results if item.hint))

    def verbose(self, results: nagiosplugin.Results) -> list[str]:
        facts = self.forwarder.facts
        lines = [f"{item.state.text}: {item.hint}" for item in results.results if item.hint]
        lines += [f"process {name}: pid {item.pid}, {item.status}" for name, found in facts.processes.items() for item in found]
        if facts.listing:
            lines += [f"device {device}" for device in facts.listing.devices]
            lines += [f"not connected to {server}" for server in facts.listing.lost]
            lines += [f"license of {server}: {capacity(number)}" for server, number in facts.listing.licenses]
        return lines


# --- Options and main -----------------------------------------------------------------------------------------


bad = runtime.bad_value


def words(text: str) -> str:
    """Text that says something."""
    if not text.strip():
        raise argparse.ArgumentTypeError("empty")
    return text


def license_term(text: str) -> Term:
    """`YYYY-MM-DD`, the last day of the license, or `perpetual`."""
    import datetime

    today = datetime.date.today()
    if text.lower() == "perpetual":
        return Term(None, today)
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise bad(text, "is no date; write YYYY-MM-DD or perpetual")
    if not 2000 <= int(text[:4]) <= 2099:
        raise bad(text, "is not between 2000 and 2099; write perpetual if the license never ends")
    try:
        return Term(datetime.date.fromisoformat(text), today)
    except ValueError:
        raise bad(text, "is not in the calendar") from None


def wanted_device(text: str) -> Wanted:
    """`VID:PID`, or else a name or place as the forwarder's list shows it."""
    is_id = re.fullmatch(r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}", text)
    if not is_id and re.fullmatch(r"\s*(?:0x)?[0-9A-Fa-f]{0,8}\s*:\s*(?:0x)?[0-9A-Fa-f]{0,8}\s*|[0-9A-Fa-f]{4}", text):
        raise bad(text, "is no USB id; write VID:PID, for example 0471:485d")
    return Wanted(text.lower(), "") if is_id else Wanted("", words(text))


def host_name(text: str) -> str:
    """A host name or address, an IPv6 address with or without brackets."""
    host = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    if not re.fullmatch(r"[^\s/@\[\]\x00-\x1f-][^\s/@\[\]\x00-\x1f]{0,252}", host):
        raise bad(text, "is no host name or address")
    return host


def service_name(text: str) -> str:
    """A service's name; nothing that systemctl could take for an option."""
    if not re.fullmatch(r"[A-Za-z0-9@_.:\\][A-Za-z0-9@_.:\\ -]{0,200}", text):
        raise bad(text, "is no service name")
    return text


def process_name(text: str) -> str:
    """The name of a program's file; neither its path nor its command line is what the kernel calls a process."""
    if "/" in words(text):
        raise bad(text, "is a path; write the name of the process alone")
    if text != text.strip():
        raise bad(text, "")
    return text


def seconds(text: str) -> float:
    """A time in minutes, at most a year, as seconds."""
    if not re.fullmatch(r"[0-9]{1,6}(?:\.[0-9]{1,3})?", text) or float(text) > 527040:
        raise bad(text, "is no number of minutes")
    return float(text) * 60


def regex(text: str) -> re.Pattern[str]:
    """A Python regular expression; the empty one would match every line."""
    try:
        return re.compile(words(text))
    except (re.error, RecursionError, OverflowError) as error:
        raise bad(text, f"is no regular expression ({error})") from None


def utn_code(text: str) -> tuple[int, Finding]:
    """`CODE=STATE`: how to judge an exit code of utnm."""
    code, _, name = text.partition("=")
    if not re.fullmatch(r"[0-9]{1,3}", code) or name.upper() not in runtime.STATE_NAMES:
        raise bad(text, "is not CODE=STATE; write for example 25=ok")
    state = runtime.STATE_NAMES.index(name.upper())
    return int(code), Finding(state, f"the dongle server's tool ended with exit code {int(code)}")


def split_command(text: str, windows: bool) -> tuple[str, ...]:
    """A command line as its words, without a shell. On Windows a backslash is part of a path."""
    import shlex

    try:
        parts = shlex.split(text, posix=not windows)
    except ValueError as error:
        raise runtime.Problem(f"--list-command cannot be read: {error}") from None
    if windows:
        parts = [part[1:-1] if len(part) > 1 and part[0] == part[-1] and part[0] in "\"'" else part for part in parts]
    if not parts or not parts[0]:
        raise runtime.Problem("--list-command is empty")
    return tuple(parts)


def options() -> runtime.Options:
    """The options of this check, the common ones included."""
    parser = runtime.Options(
        "check_usb_redirector",
        "Watches a USB forwarder: its license, its list of devices, its process, service, port and log.\n"
        "If neither of these is named, the product's own list command is asked.",
        "  check_usb_redirector --product usb-redirector --license-expires 2027-01-31 --device 0471:485d\n"
        "  check_usb_redirector --product virtualhere --license-expires perpetual --device 'Token JC'\n"
        "  check_usb_redirector --product usbip -H 10.0.0.5 --device 0471:485d\n",
    )
    add = parser.add_argument_group("the forwarder").add_argument
    add("--product", metavar="NAME", choices=tuple(PRODUCTS), help=", ".join(PRODUCTS))
    add("--side", choices=("server", "client"), help="whose list, process or service is the default")
    add = parser.add_argument_group("its license").add_argument
    add("--license-expires", metavar="DATE", type=license_term, help="last day YYYY-MM-DD, or perpetual")
    add("-w", "--warning", metavar="RANGE", type=runtime.threshold, default="30:",
        help="warn if the days left are outside RANGE (30:)")
    add("-c", "--critical", metavar="RANGE", type=runtime.threshold, default="7:",
        help="alarm if the days left are outside RANGE (7:)")
    add = parser.add_argument_group("its list").add_argument
    add("--device", metavar="VID:PID|NAME", type=wanted_device, action="append", default=[],
        help="must be offered or attached; repeatable")
    add("--client", metavar="HOST", type=words, help="the machine that must use the device, as the list names it")
    add("--list-command", metavar="CMD", help="ask this command (no shell)")
    add("--list-output", metavar="FILE", type=words, help="read a captured list, - = standard input")
    add("--list-max-age", metavar="MINUTES", type=seconds, help="a captured list must be younger (60)")
    add("--no-list", action="store_true", help="do not ask the product's list command")
    add("--utn-code", metavar="CODE=STATE", type=utn_code, action="append", default=[],
        help="seh-utn: how to judge an exit code; repeatable")
    add = parser.add_argument_group("its machine").add_argument
    add("-H", "--hostname", metavar="HOST", type=host_name, help="must answer (usbip: is asked for its devices)")
    add("-p", "--port", metavar="PORT", type=runtime.tcp_port, help="its TCP port (the product's)")
    add("--process", metavar="NAME", type=process_name, action="append", default=[], help="must run here; repeatable")
    add("--service", metavar="NAME", type=service_name, action="append", default=[], help="must run here; repeatable")
    add = parser.add_argument_group("its log").add_argument
    add("--log", metavar="FILE", type=words, help="alarm on new lines that match")
    add("--log-pattern", metavar="REGEX", type=regex, help="what to look for")
    add("--log-hold", metavar="MINUTES", type=seconds, default="60", help="how long a match stays an alarm (60)")
    add("--state-dir", metavar="DIR", type=words, help="where to remember how far the log was read")
    return parser


def refuse(values: argparse.Namespace) -> None:
    """Combinations that judge nothing, or not what was meant, are usage errors."""
    title, reader, port = PRODUCTS[values.product].title, PRODUCTS[values.product].reader, PRODUCTS[values.product].port
    own_list = values.list_command is not None or values.list_output
    listed = own_list or values.device
    wrong = {
        "-p needs -H": values.port and not values.hostname,
        f"-H needs -p: no usual port of {title} is known": values.hostname and not (values.port or port),
        "--list-command and --list-output exclude each other": values.list_command is not None and values.list_output,
        "--no-list contradicts the other options": values.no_list and listed,
        "--list-max-age needs --list-output FILE": values.list_max_age is not None and values.list_output in (None, "-"),
        f"the list of {title} has no publicly known form: use --process, --service or -H": listed and not reader,
        "seh-utn is judged by the exit code of its tool alone": reader == "exit code" and (values.list_output or values.device),
        "--utn-code belongs to --product seh-utn": values.utn_code and reader != "exit code",
        "--log and --log-pattern belong together": bool(values.log) != bool(values.log_pattern),
        "--product usbip --side server is asked over the network: give -H, for example -H 127.0.0.1":
            values.product == "usbip" and values.side == "server" and not (values.hostname or own_list or values.no_list),
        "seh-utn needs a list command that asks for the key's state, for example 'utnm -c \"state 192.0.2.20 5\"'":
            reader == "exit code" and values.list_command is not None and "state" not in values.list_command,
    }
    for sentence, is_wrong in wrong.items():
        if is_wrong:
            raise runtime.Problem(f"{sentence}; check_usb_redirector --help lists the options")


def default_source(product: Product, side: str | None) -> Source:
    """Where a product is watched if nothing else is named, on this system and on the side that was asked for."""
    fitting = (item for (name, system), item in product.sides.items() if system == os.name and side in (None, name))
    return next(fitting, Source())


def request_of(values: argparse.Namespace) -> Request:
    """The request with the product's defaults; asked for nothing is a usage error."""
    product = PRODUCTS[values.product]
    own_list = values.list_command is not None or values.list_output
    nothing_named = not any((own_list, values.hostname, values.process, values.service, values.log, values.no_list))
    by_default = not own_list and (nothing_named or values.device)
    usbip = values.product == "usbip" and bool(by_default or (values.hostname and not own_list))
    source = default_source(product, values.side) if by_default and not usbip else Source()
    command = source.command if values.list_command is None else values.list_command
    request = Request(
        product,
        split_command(command, os.name == "nt") if command or values.list_command is not None else (),
        values.list_output or "",
        LIST_AGE if values.list_max_age is None else values.list_max_age / 60,
        usbip,
        values.side or "",
        values.hostname or "",
        values.port or product.port or 0,
        tuple(dict.fromkeys(values.process or ([source.process] if source.process and not command else []))),
        tuple(dict.fromkeys(values.service or ([source.service] if source.service and not command else []))),
        {**UTN_CODES, **dict(values.utn_code)} if values.product == "seh-utn" else {},
        values.log or "",
        values.log_pattern or re.compile(""),
        values.log_hold,
        values.state_dir or "",
    )
    if values.device and not (request.command or request.list_file or usbip):
        raise runtime.Problem(f"--device needs a list, and {product.title} has no usual list command here: give --list-command")
    judged = (request.command, request.list_file, usbip, request.host, request.processes, request.services, request.log)
    if not any((*judged, values.license_expires)):
        raise runtime.Problem(
            f"nothing to judge: {product.title} has no default on this system, name a --process, a --service, -H or a list"
        )
    return request


def build(values: argparse.Namespace) -> nagiosplugin.Check:
    """The check as nagiosplugin runs it."""
    if values.product is None:
        raise runtime.Problem("--product is missing; check_usb_redirector --help lists the products")
    refuse(values)
    request, title, term = request_of(values), PRODUCTS[values.product].title, values.license_expires
    clients = (values.client,) if values.client else ()
    forwarder = Forwarder(request, term, values.device, clients)
    return nagiosplugin.Check(
        forwarder,
        Part("license", lambda licenses: judge_license(title, term, licenses, values.warning, values.critical)),
        Part("process", lambda item: judge_process(*item)),
        Part("finding", lambda finding: finding),
        Part("device", lambda item: judge_device(item[0], item[1], clients) if item[0] else judge_list(item[1], clients)),
        DaysLeft(values.warning, values.critical),
        Number("processes"),
        Number("devices"),
        Number("time"),
        Spoken(forwarder),
    )


def main() -> None:
    """The console script."""
    runtime.run("USB_REDIRECTOR", options(), build)


if __name__ == "__main__":
    main()
