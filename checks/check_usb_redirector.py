#!/usr/bin/env python3
"""Is the USB forwarder alive, does it offer the key, and how long is its license valid?

The middle link of the chain that keeps a Kodeks/Techexpert server licensed. Facts and where they come from:

* no forwarder tells the end of its license by command line, log, registry or API (manuals, public wrappers), so the
  operator gives the date; a term that nobody gave is unknown, never good;
* forwarder_products says how each product is watched; forwarder_collector looks at it, with forwarder_lists, which reads
  the lists as public captures show them, and forwarder_log; forwarder_facts judges what was found. What is not
  recognised is never good.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING

try:
    if getattr(sys.flags, "safe_path", sys.flags.isolated):  # PYTHONSAFEPATH, -P and -I leave out this file's own folder
        sys.path[:0] = {os.path.dirname(os.path.realpath(__file__))} - set(sys.path)
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
except MemoryError:
    print("USB_REDIRECTOR UNKNOWN - out of memory while starting")
    raise SystemExit(3) from None

begin("USB_REDIRECTOR", __name__)

import nagiosplugin
from forwarder_collector import LIST_AGE, Facts, Request, collect
from forwarder_facts import (
    DEAD,
    Finding,
    Term,
    Wanted,
    capacity,
    good_devices,
    judge_device,
    judge_license,
    judge_list,
    judge_process,
)
from forwarder_products import PRODUCTS, UTN_CODES, Product, Source

if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, Sequence

# --- The contexts: facts to results ---------------------------------------------------------------------------


class Part(nagiosplugin.Context):
    """One part of the forwarder, judged by one of the functions of forwarder_facts; the hint of its result is the sentence."""

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
        licenses = listing.licenses if listing else ()
        # A license for no device is a fact of the list, whether the product needs a term or not.
        if self.term or self.request.product.needs_license or any(number == 0 for _, number in licenses):
            yield nagiosplugin.Metric("license", licenses)
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
    """`VID:PID`, or else a name or place as the forwarder's list shows it; behind `name=` it may look like an id."""
    text = runtime.as_text(text)
    if text.startswith("name="):
        return Wanted("", words(text[len("name=") :]))
    is_id = re.fullmatch(r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}", text)
    if not is_id and re.fullmatch(r"\s*(?:0x)?[0-9A-Fa-f]{0,8}\s*:\s*(?:0x)?[0-9A-Fa-f]{0,8}\s*|[0-9A-Fa-f]{4}", text):
        as_name = f", or name={runtime.clean(text, 60)} if it is a name"
        raise bad(text, f"is no USB id; write VID:PID, for example 0471:485d{as_name}")
    return Wanted(text.lower(), "") if is_id else Wanted("", words(text))


def host_name(text: str) -> str:
    """A host name or address, an IPv6 address with or without brackets."""
    host = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    if not re.fullmatch(r"[^\s/@\[\]\x00-\x1f-][^\s/@\[\]\x00-\x1f]{0,252}", host):
        raise bad(text, "is no host name or address")
    return host


def client_name(text: str) -> str:
    """A machine as the forwarder's list names it."""
    return words(runtime.proper_text(text))


def service_name(text: str) -> str:
    """A service's name; nothing that systemctl could take for an option."""
    if not re.fullmatch(r"[A-Za-z0-9@_.:\\][A-Za-z0-9@_.:\\ -]{0,200}", text):
        raise bad(text, "is no service name")
    return text


def process_name(text: str) -> str:
    """The name of a program's file; neither its path nor its command line is what the kernel calls a process."""
    text = runtime.proper_text(text)
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
    """A Python regular expression; the empty one would match every line, and one that is no text none."""
    text = runtime.proper_text(text)
    try:
        return re.compile(words(text))
    except (re.error, RecursionError, OverflowError, Warning) as error:  # a warning where PYTHONWARNINGS makes it an error
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
    add("--client", metavar="HOST", type=client_name, help="the machine that must use the device, as the list names it")
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
    usbip = values.product == "usbip" and bool(by_default or (values.hostname and not own_list and not values.no_list))
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
    if values.side and by_default and not usbip and source == Source():
        unless = "name a --process, a --service, -H or a list, or give --no-list to judge the license alone"
        raise runtime.Problem(f"--side {values.side}: {product.title} has no default for that side on this system, {unless}")
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
