#!/usr/bin/env python3
"""Is the USB forwarder alive, does it offer the key, and how long is its license valid?

No forwarder tells the end of its license by command line, log, registry or API (manuals, public wrappers), so
the operator gives the date; a term that nobody gave is unknown, never good.
"""

import os
import sys

try:
    sys.path.append(os.path.dirname(os.path.realpath(__file__)))  # python3 -I and -P leave it out
    from kodeks_monitoring.contract import deadline

    deadline.start("USB_REDIRECTOR", __name__)
except Exception as error:  # noqa: BLE001  whatever a failed copy left: no traceback, no exit code 1
    reason = ascii(str(error))[1:-1]
    print("USB_REDIRECTOR UNKNOWN - the check cannot start (%s): copy the whole checks folder again" % reason)
    raise SystemExit(3) from None

import argparse
import datetime
import re
import time
from typing import Iterator, Optional

import nagiosplugin
from kodeks_monitoring.contract.language import _
from kodeks_monitoring.contract.options import Options, bad_value, host_name, proper_text, tcp_port, threshold
from kodeks_monitoring.contract.run import Finding, Number, Part, Results, Says, run
from kodeks_monitoring.contract.verdict import OK, STATE_NAMES, Problem, verdict_on
from kodeks_monitoring.forwarders import ask
from kodeks_monitoring.forwarders import product as forwarder


def look_at_usbip(facts: ask.Facts) -> None:
    """What is attached here by USB/IP, and its server. Most runs need none of this."""
    from kodeks_monitoring.forwarders import attached

    attached.look_at_usbip(facts)


class Forwarder(nagiosplugin.Resource):
    """The forwarder as this machine sees it, looked at once."""

    def __init__(self, facts: ask.Facts) -> None:
        self.facts = facts
        self.seconds: Optional[float] = None  # that answers took

    def look(self) -> None:
        """Ask for everything. What keeps one part from an answer stops no other."""
        facts, values = self.facts, self.facts.values
        steps = (  # the processes first: a frozen daemon must be named although its tool uses up all the time
            (values.process, "process", ask.look_for_processes),
            (values.list_output, "answer", ask.read_captured),
            (values.list_command, "answer", ask.ask_list),
            (values.usbip, "answer", look_at_usbip),
            (values.hostname and not values.usbip, "answer", ask.ask_port),
            (values.service, "process", ask.ask_services),
        )
        deadline.doing(_("asking the forwarder"))
        for wanted, part, step in steps:
            started = time.monotonic()
            try:
                if wanted:
                    step(facts)
                    if part == "answer":
                        self.seconds = (self.seconds or 0.0) + time.monotonic() - started
            except (Problem, ImportError, OSError) as problem:
                verdict = verdict_on(problem, None, _("asking the forwarder"))
                facts.found(part, verdict.state, verdict.sentence)
        listing = facts.listing
        if listing:  # whoever gave one has answered
            judged = [forwarder.judge_device(device, listing) for device in values.device]
            judged = judged or [forwarder.judge_list(listing)]
            facts.findings += [("answer", Finding(OK, "")), *(("device", finding) for finding in judged)]

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        self.look()
        facts, title, values = self.facts, self.facts.product.title, self.facts.values
        ends, today = values.license_expires, datetime.date.today()
        if ends or facts.product.needs_license:
            finding = forwarder.judge_license(title, ends, today, values.warning, values.critical)
            yield nagiosplugin.Metric("license", finding)
            if ends and ends != forwarder.PERPETUAL:
                yield nagiosplugin.Metric("license_days", (ends - today).days)
        yield nagiosplugin.Metric("processes", facts.running)
        if facts.listing:
            yield nagiosplugin.Metric("devices", forwarder.good_devices(facts.listing))
        yield nagiosplugin.Metric("time", self.seconds)
        for part in ("process", "answer", "device"):
            yield from (nagiosplugin.Metric(part, what) for name, what in facts.findings if name == part)


def details(results: Results, facts: ask.Facts) -> "list[str]":
    """The lines of -v: every finding, and what the list holds."""
    lines = [f"{result.state.text}: {result.hint}" for result in results if result.hint]
    devices = facts.listing.devices if facts.listing else ()
    return lines + [_("device {device}", forwarder.judge_state(device).sentence) for device in devices]


def license_term(text: str) -> datetime.date:
    """`YYYY-MM-DD` or `DD.MM.YYYY`, the last day of the license, or `perpetual`."""
    if text.lower() == "perpetual":
        return forwarder.PERPETUAL
    day = re.sub(r"(..)\.(..)\.(....)", r"\3-\2-\1", text)
    try:
        return datetime.date.fromisoformat(day if re.fullmatch("20[0-9]{2}(-[0-9]{2}){2}", day) else "")
    except ValueError:
        what = _("is no date from 2000 to 2099; write YYYY-MM-DD, DD.MM.YYYY or perpetual")
        raise bad_value(text, what) from None


def utn_code(text: str) -> "tuple[int, tuple[str, Finding]]":
    """`CODE=STATE`: how to judge an exit code of utnm."""
    code, equals, state = text.partition("=")
    if not re.fullmatch("[0-9]{1,3}", code) or state.upper() not in STATE_NAMES:
        raise bad_value(text, _("is not CODE=STATE; write for example 25=ok"))
    sentence = _("the dongle server's tool ended with exit code {code}", int(code))
    return int(code), ("device", Finding(STATE_NAMES.index(state.upper()), sentence))


def split_command(text: str, windows: bool = os.name == "nt") -> "list[str]":
    """A command line as its words, without a shell. On Windows only double quotes are special."""
    import shlex

    parser = shlex.shlex(text, posix=True)
    parser.whitespace_split, parser.commenters = True, ""
    if windows:
        parser.escape, parser.quotes = "", '"'
    try:
        words = list(parser)
    except ValueError as error:
        raise bad_value(text, _("cannot be read: {why}", error)) from None
    if not words or not words[0]:
        raise bad_value(text, _("names no command"))
    return words


def options() -> Options:
    """The options of this check, the common ones included."""
    parser = Options(
        "check_usb_redirector",
        "Watches a USB forwarder: its license, its list of devices, its process, service and port.\n"
        "If neither of these is named, the product's own list command is asked.",
        "  check_usb_redirector --product usb-redirector --license-expires 2027-01-31 --device 0471:485d\n"
        "  check_usb_redirector --product usbip -H 10.0.0.5 --device 0471:485d\n",
    )
    add = parser.add_argument_group("the forwarder").add_argument
    names = forwarder.product_names()
    add("--product", metavar="NAME", choices=names, help=", ".join(names))
    add("--side", choices=("server", "client"), help="server: the key is plugged in here; client: it is not")
    add("-H", "--hostname", metavar="HOST", type=host_name, help="it must answer (usbip: with its devices)")
    add("-p", "--port", metavar="PORT", type=tcp_port, help="TCP port of HOST (the product's)")
    for option in ("--process", "--service"):
        add(option, metavar="NAME", type=proper_text, action="append", help="must run here; repeatable")
    add = parser.add_argument_group("its license").add_argument
    add("--license-expires", metavar="DATE", type=license_term, help="YYYY-MM-DD, DD.MM.YYYY or perpetual")
    add("-w", "--warning", metavar="RANGE", type=threshold, default="30:", help="RANGE of days left (30:)")
    add("-c", "--critical", metavar="RANGE", type=threshold, default="7:", help="RANGE of days left (7:)")
    group = parser.add_argument_group("its list")
    add = group.add_mutually_exclusive_group().add_argument
    add("--list-command", metavar="CMD", type=split_command, help="ask this command (no shell)")
    add("--list-output", metavar="FILE", type=proper_text, help="read a captured list")
    add("--no-list", action="store_true", help="do not ask the product's list command")
    add = group.add_argument
    add("--list-max-age", metavar="MINUTES", type=int, default=60, help="FILE must be younger (60)")
    add("--device", metavar="VID:PID|NAME", type=proper_text, action="append", default=[],
        help="the key, as the list names it: must be offered or attached; repeatable")
    add("--utn-code", metavar="CODE=STATE", type=utn_code, action="append", default=[],
        help="seh-utn: how to judge an exit code; repeatable")
    return parser


def refuse(values: argparse.Namespace, product: forwarder.Product) -> None:
    """Combinations that judge nothing, or not what was meant, are usage errors."""
    by_code, command = product.exit_codes, " ".join(values.list_command or ())
    wrong = {
        _("-H and -p belong together, no usual port of {title} is known", product.title):
            values.hostname and not (values.port or product.port),
        _("--process is a name, without a folder"): any(map(os.path.dirname, values.process or ())),
        _("-p needs -H"): values.port and not values.hostname,
        _("--no-list contradicts --device"): values.no_list and values.device,
        _("the list of {title} has no publicly known form: use --process, --service or -H", product.title):
            (command or values.list_output or values.device) and not (product.read or by_code),
        _("seh-utn is judged by its exit code, --list-command 'utnm -c \"state 192.0.2.20 5\"'"):
            by_code and (values.list_output or values.device or (command and "state" not in command)),
    }  # fmt: skip
    for sentence, is_wrong in wrong.items():
        if is_wrong:
            options().error(sentence)


def fill_in(values: argparse.Namespace, product: forwarder.Product) -> None:
    """Name what is asked by default. Asked for nothing is a usage error."""
    values.port = values.port or product.port
    named = values.hostname or values.process or values.service
    may_ask = not (values.list_command or values.list_output or values.no_list)
    by_default = may_ask and (values.device or not named)
    values.usbip = values.product == "usbip" and may_ask and (by_default or values.hostname)
    sides = [side for side, system in product.sources if system == os.name and values.side in (None, side)]
    source = product.sources[sides[0], os.name] if sides and by_default else ""
    kind, colon, name = source.partition(":")
    if name and not values.device:
        setattr(values, kind, [name])
    elif source and not name:
        values.list_command = source.split()
    elif by_default and not values.usbip and (values.device or values.side or not values.license_expires):
        raise Problem(_("nothing to judge: {title} has no default here, name a --list-command, "
                        "a --process, a --service or -H, or give --no-list", product.title))  # fmt: skip
    elif values.no_list and not (named or values.license_expires):
        raise Problem(_("nothing to judge: --no-list needs --license-expires, --process, --service or -H"))


def build(values: argparse.Namespace) -> nagiosplugin.Check:
    """The check as nagiosplugin runs it."""
    if values.product is None:
        options().error(_("--product is missing"))
    product = forwarder.load_product(values.product)
    refuse(values, product)
    fill_in(values, product)
    facts = ask.Facts(product, values)
    return nagiosplugin.Check(
        Forwarder(facts), Number("license_days", warning=values.warning, critical=values.critical),
        *(Number(name, minimum=0) for name in ("processes", "devices")), Number("time", "s", minimum=0),
        *map(Part, ("license", "process", "answer", "device")),
        Says(lambda results: "; ".join(dict.fromkeys(filter(None, (result.hint for result in results)))),
             lambda results: details(results, facts)),
    )  # fmt: skip


def main() -> None:
    """The console script."""
    run("USB_REDIRECTOR", options(), build, part="answer")


if __name__ == "__main__":
    main()
