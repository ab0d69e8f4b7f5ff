#!/usr/bin/env python3
"""Is the USB forwarder alive, does it offer the key, and how long is its license valid?

The middle link of the chain that keeps a Kodeks/Techexpert server licensed. No forwarder tells the end of its
license by command line, log, registry or API (manuals, public wrappers), so the operator gives the date; a
term that nobody gave is unknown, never good. kodeks_monitoring/forwarders knows and asks the products.
"""

import os
import sys

try:
    if sys.version_info < (3, 9):
        raise ImportError("Python 3.9 or newer is needed, this is %d.%d" % sys.version_info[:2])
    sys.path.append(os.path.dirname(os.path.realpath(__file__)))  # python3 -I and -P leave it out
    from kodeks_monitoring.contract import deadline

    deadline.start("USB_REDIRECTOR", __name__)
except Exception as error:  # noqa: BLE001  whatever a failed copy left: no traceback, no exit code 1
    reason = ascii(str(error)).strip("'\"")
    print("USB_REDIRECTOR UNKNOWN - the check cannot start (%s): copy the whole checks folder again" % reason)
    raise SystemExit(3) from None

import argparse
import datetime
import importlib
import re
from typing import Iterator

import nagiosplugin
from kodeks_monitoring.contract.options import Options, bad_value, host_name, proper_text, tcp_port, threshold
from kodeks_monitoring.contract.run import Finding, Number, Part, run
from kodeks_monitoring.contract.verdict import OK, STATE_NAMES, Problem, clean
from kodeks_monitoring.forwarders import judge
from kodeks_monitoring.forwarders.ask import Facts, Request
from kodeks_monitoring.forwarders.product import Product, load_product, product_names

LIST_AGE = 60.0  # minutes after which a captured list tells nothing any more

# --- The probe --------------------------------------------------------------------------------------


class Forwarder(nagiosplugin.Resource):
    """The forwarder as this machine sees it, looked at once, with what the operator asks of it."""

    def __init__(self, request: Request, values: argparse.Namespace) -> None:
        here = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
        self.request, self.values, self.facts = request, values, Facts()
        self.machines = judge.Machines(values.client or "", here)

    def look(self) -> None:
        """Ask for everything. What keeps one part from an answer stops no other."""
        request, facts = self.request, self.facts
        steps = (  # the processes first: a frozen daemon must be named although its tool uses up all the time
            (request.processes, "process", "process", "look_for_processes"),
            (request.list_file, "answer", "ask", "read_captured"),
            (request.command, "answer", "ask", "ask_list"),
            (request.usbip, "answer", "attached", "look_at_usbip"),
            (request.host and not request.usbip, "answer", "port", "ask_port"),
            (request.services, "process", "process", "ask_services"),
        )
        for wanted, part, module, step in steps:
            try:
                if wanted:
                    asking = importlib.import_module(f"kodeks_monitoring.forwarders.{module}")
                    getattr(asking, step)(request, facts)
            except Problem as problem:
                facts.found(part, problem.state, str(problem))

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        self.look()
        facts, product, values = self.facts, self.request.product, self.values
        ends, today = values.license_expires, datetime.date.today()
        if ends or product.needs_license:
            finding = judge.judge_license(product.title, ends, today, values.warning, values.critical)
            yield nagiosplugin.Metric("license", finding)
            left = (ends - today).days if ends and ends != judge.PERPETUAL else None
            yield nagiosplugin.Metric("license_days", left)
        yield nagiosplugin.Metric("processes", facts.running)
        yield from self.findings("process")
        if facts.listing:
            yield nagiosplugin.Metric("devices", judge.good_devices(facts.listing, self.machines))
        yield nagiosplugin.Metric("time", facts.seconds)
        yield from self.findings("answer")
        yield from self.findings("device")

    def findings(self, part: str) -> Iterator[nagiosplugin.Metric]:
        """What was found of one part. Where a list or an exit code came, the forwarder has answered."""
        listing, devices = self.facts.listing, self.values.device
        found = [finding for name, finding in self.facts.findings if name == part]
        if part == "answer" and (listing or "device" in dict(self.facts.findings)):
            found.append(Finding(OK, ""))
        if part == "device" and listing:
            found += [judge.judge_device(wanted, listing, self.machines) for wanted in devices]
            found += [] if devices else [judge.judge_list(listing, self.machines)]
        yield from (nagiosplugin.Metric(part, finding) for finding in found)


class Spoken(nagiosplugin.Summary):
    """What the check says when all is well, and the lines of -v: every finding, and what the list holds."""

    def __init__(self, forwarder: Forwarder) -> None:
        self.facts = forwarder.facts

    def ok(self, results: nagiosplugin.Results) -> str:
        return "; ".join(dict.fromkeys(result.hint for result in results if result.hint))

    def verbose(self, results: nagiosplugin.Results) -> "list[str]":
        lines = [f"{result.state.text}: {result.hint}" for result in results if result.hint]
        if self.facts.listing:
            lines += [f"device {judge.show(device)}" for device in self.facts.listing.devices]
            lines += [f"not connected to {server}" for server in self.facts.listing.lost]
        return lines


# --- The options ------------------------------------------------------------------------------------


def license_term(text: str) -> datetime.date:
    """`YYYY-MM-DD`, the last day of the license, or `perpetual`."""
    if text.lower() == "perpetual":
        return judge.PERPETUAL
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise bad_value(text, "is no date; write YYYY-MM-DD or perpetual")
    if not 2000 <= int(text[:4]) <= 2099:
        raise bad_value(text, "is not between 2000 and 2099; write perpetual if the license never ends")
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise bad_value(text, "is not in the calendar") from None


def wanted_device(text: str) -> judge.Wanted:
    """`VID:PID`, or a name or place as the forwarder's list has it; behind `name=` it may look like an id."""
    text = proper_text(text)
    if text.startswith("name="):
        return judge.Wanted("", proper_text(text[len("name=") :]))
    if re.fullmatch(r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}", text):
        return judge.Wanted(text.lower(), "")
    if re.fullmatch(r"\s*(?:0x)?[0-9A-Fa-f]{0,8}\s*:\s*(?:0x)?[0-9A-Fa-f]{0,8}\s*|[0-9A-Fa-f]{4}", text):
        as_name = f"name={clean(text, 60)} if it is a name"
        raise bad_value(text, f"is no USB id; write VID:PID, for example 0471:485d, or {as_name}")
    return judge.Wanted("", text)


def service_name(text: str) -> str:
    """A service's name; nothing that systemctl could take for an option."""
    if not re.fullmatch(r"[A-Za-z0-9@_.:\\][A-Za-z0-9@_.:\\ -]{0,200}", text):
        raise bad_value(text, "is no service name")
    return text


def process_name(text: str) -> str:
    """The name of a program's file; neither its path nor its command line is a process's name."""
    text = proper_text(text)
    if "/" in text or text != text.strip():
        raise bad_value(text, "is a path; write the name of the process alone")
    return text


def minutes(text: str) -> float:
    """A time in minutes, at most a year."""
    if not re.fullmatch(r"[0-9]{1,6}(?:\.[0-9]{1,3})?", text) or float(text) > 527040:
        raise bad_value(text, "is no number of minutes")
    return float(text)


def utn_code(text: str) -> "tuple[int, tuple[str, Finding]]":
    """`CODE=STATE`: how to judge an exit code of utnm."""
    code, _, name = text.partition("=")
    if not re.fullmatch(r"[0-9]{1,3}", code) or name.upper() not in STATE_NAMES:
        raise bad_value(text, "is not CODE=STATE; write for example 25=ok")
    sentence = f"the dongle server's tool ended with exit code {int(code)}"
    return int(code), ("device", Finding(STATE_NAMES.index(name.upper()), sentence))


def split_command(text: str, windows: bool) -> "tuple[str, ...]":
    """A command line as its words, without a shell. On Windows a backslash is part of a path."""
    import shlex

    try:
        parts = shlex.split(text, posix=not windows)
    except ValueError as error:
        raise Problem(f"--list-command cannot be read: {error}") from None
    parts = [part[1:-1] if windows and re.fullmatch(r"(['\"]).*\1", part) else part for part in parts]
    if not parts or not parts[0]:
        raise Problem("--list-command is empty")
    return tuple(parts)


def options() -> Options:
    """The options of this check, the common ones included."""
    parser = Options(
        "check_usb_redirector",
        "Watches a USB forwarder: its license, its list of devices, its process, service and port.\n"
        "If neither of these is named, the product's own list command is asked.",
        "  check_usb_redirector --product usb-redirector --license-expires 2027-01-31 --device 0471:485d\n"
        "  check_usb_redirector --product virtualhere --license-expires perpetual --device 'Token JC'\n"
        "  check_usb_redirector --product usbip -H 10.0.0.5 --device 0471:485d\n",
    )
    add = parser.add_argument_group("the forwarder").add_argument
    names = product_names()
    add("--product", metavar="NAME", choices=names, help=", ".join(names))
    add("--side", choices=("server", "client"), help="whose list, process or service is the default")
    add = parser.add_argument_group("its license").add_argument
    add("--license-expires", metavar="DATE", type=license_term, help="last day YYYY-MM-DD, or perpetual")
    add("-w", "--warning", metavar="RANGE", type=threshold, default="30:",
        help="warn if the days left are outside RANGE (30:)")
    add("-c", "--critical", metavar="RANGE", type=threshold, default="7:",
        help="alarm if the days left are outside RANGE (7:)")
    add = parser.add_argument_group("its list").add_argument
    add("--device", metavar="VID:PID|NAME", type=wanted_device, action="append", default=[],
        help="must be offered or attached; repeatable")
    add("--client", metavar="HOST", type=proper_text,
        help="the machine that must use the device, as the list names it")
    add("--list-command", metavar="CMD", help="ask this command (no shell)")
    add("--list-output", metavar="FILE", type=proper_text, help="read a captured list, - = standard input")
    add("--list-max-age", metavar="MINUTES", type=minutes, help="a captured list must be younger (60)")
    add("--no-list", action="store_true", help="do not ask the product's list command")
    add("--utn-code", metavar="CODE=STATE", type=utn_code, action="append", default=[],
        help="seh-utn: how to judge an exit code; repeatable")
    add = parser.add_argument_group("its machine").add_argument
    add("-H", "--hostname", metavar="HOST", type=host_name,
        help="must answer (usbip: is asked for its devices)")
    add("-p", "--port", metavar="PORT", type=tcp_port, help="its TCP port (the product's)")
    add("--process", metavar="NAME", type=process_name, action="append", default=[],
        help="must run here; repeatable")
    add("--service", metavar="NAME", type=service_name, action="append", default=[],
        help="must run here; repeatable")
    return parser


def refuse(values: argparse.Namespace, product: Product) -> None:
    """Combinations that judge nothing, or not what was meant, are usage errors."""
    title, host, by_code = product.title, values.hostname, bool(product.exit_codes)
    command, file = values.list_command, values.list_output
    listed = command is not None or file or values.device
    wrong = {
        "-p needs -H": values.port and not host,
        f"-H needs -p: no usual port of {title} is known": host and not (values.port or product.port),
        "--list-command and --list-output exclude each other": command is not None and file,
        "--no-list contradicts the other options": values.no_list and listed,
        "--list-max-age needs --list-output FILE": values.list_max_age is not None and file in (None, "-"),
        f"the list of {title} has no publicly known form: use --process, --service or -H":
            listed and not (product.read or by_code),
        "seh-utn is judged by the exit code of its tool alone": by_code and (file or values.device),
        "--utn-code belongs to --product seh-utn": values.utn_code and not by_code,
        "--product usbip --side server is asked over the network: give -H, for example -H 127.0.0.1":
            (values.product, values.side) == ("usbip", "server")
            and not (host or command is not None or file or values.no_list),
        "seh-utn needs a list command that asks for the key's state, "
        "for example 'utnm -c \"state 192.0.2.20 5\"'":
            by_code and command is not None and "state" not in command,
    }  # fmt: skip
    for sentence, is_wrong in wrong.items():
        if is_wrong:
            raise Problem(f"{sentence}; check_usb_redirector --help lists the options")


def request_of(values: argparse.Namespace, product: Product) -> Request:
    """The request with the product's defaults; asked for nothing is a usage error."""
    own_list = values.list_command is not None or values.list_output
    nothing_named = not any((own_list, values.hostname, values.process, values.service, values.no_list))
    by_default = not own_list and (nothing_named or values.device)
    on_the_wire = values.hostname and not own_list and not values.no_list
    usbip = values.product == "usbip" and bool(by_default or on_the_wire)
    sources = [text for (side, system), text in product.sources.items()
               if system == os.name and values.side in (None, side)]  # fmt: skip
    source = sources[0] if sources and by_default else ""
    kind, _, name = source.partition(":")
    command = values.list_command if values.list_command is not None else "" if name else source
    request = Request(
        product._replace(exit_codes={**product.exit_codes, **dict(values.utn_code)}),
        split_command(command, os.name == "nt") if command or values.list_command is not None else (),
        values.list_output or "",
        LIST_AGE if values.list_max_age is None else values.list_max_age,
        usbip,
        values.side or "",
        values.hostname or "",
        values.port or product.port,
        tuple(dict.fromkeys(values.process or ([name] if kind == "process" else []))),
        tuple(dict.fromkeys(values.service or ([name] if kind == "service" else []))),
    )
    if values.device and not (request.command or request.list_file or usbip):
        what = f"--device needs a list, and {product.title} has no usual list command here"
        raise Problem(f"{what}: give --list-command")
    name_one = "name a --process, a --service, -H or a list"
    no_default = f"{product.title} has no default"
    if values.side and by_default and not usbip and not source:
        unless = f"{name_one}, or give --no-list to judge the license alone"
        raise Problem(f"--side {values.side}: {no_default} for that side on this system, {unless}")
    judged = (request.command, request.list_file, usbip, request.host, request.processes, request.services)
    if not any((*judged, values.license_expires)):
        raise Problem(f"nothing to judge: {no_default} on this system, {name_one}")
    return request


def build(values: argparse.Namespace) -> nagiosplugin.Check:
    """The check as nagiosplugin runs it."""
    if values.product is None:
        raise Problem("--product is missing; check_usb_redirector --help lists the products")
    product = load_product(values.product)
    refuse(values, product)
    forwarder = Forwarder(request_of(values, product), values)
    return nagiosplugin.Check(
        forwarder, Number("license_days", warning=values.warning, critical=values.critical),
        *(Number(name, minimum=0) for name in ("processes", "devices")), Number("time", "s", minimum=0),
        *map(Part, ("license", "process", "answer", "device")), Spoken(forwarder),
    )  # fmt: skip


def main() -> None:
    """The console script."""
    run("USB_REDIRECTOR", options(), build, part="answer")


if __name__ == "__main__":
    main()
