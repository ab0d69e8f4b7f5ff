#!/usr/bin/env python3
"""Does the Kodeks server itself report that its SenseLock key works?

The binding line of the license page /admin/lic is proven by 12,000 field captures (kodeks/page.py, texts.py).
`POST /sysinfo/si_save_request` with type=zip or type=xml makes the sysinfo report (the SMART project's
manual); its schema is not public: kodeks/report.py reads it, kodeks/record.py judges what it says.
"""

import os
import sys

try:
    sys.path.append(os.path.dirname(os.path.realpath(__file__)))  # python3 -I and -P leave it out
    from kodeks_monitoring.contract import deadline

    deadline.start("KODEKS_XML", __name__)
except Exception as error:  # noqa: BLE001  whatever a failed copy left: no traceback, no exit code 1
    reason = ascii(str(error))[1:-1]
    print("KODEKS_XML UNKNOWN - the check cannot start (%s): copy the whole checks folder again" % reason)
    raise SystemExit(3) from None

import argparse
import re
import time
from typing import Iterator

import nagiosplugin
from kodeks_monitoring.contract import options as kind
from kodeks_monitoring.contract.language import _, ngettext
from kodeks_monitoring.contract.private_files import read_private
from kodeks_monitoring.contract.run import STATES, Finding, Number, Part, Says, judge, run
from kodeks_monitoring.contract.verdict import CRITICAL, OK, UNKNOWN, Problem
from kodeks_monitoring.kodeks import page, record, report
from kodeks_monitoring.kodeks.server import Server, Unreachable
from kodeks_monitoring.kodeks.texts import WORKS, Reading, worst_of

REPORT_PAGE = "/sysinfo/si_save_request"


def read_page(server: Server) -> Reading:
    """The bindings on the license page."""
    answer = server.page("GET", page.LICENSE_PAGE)
    bindings = page.PageText(answer.text).bindings
    if not bindings:
        raise answer.not_kodeks(_("no binding line"))
    state, sentence = worst_of(bindings)
    hints = {OK: _(" (binding of {page})", page.LICENSE_PAGE), UNKNOWN: _("; look at the page in a browser")}
    lines = tuple(_("binding: {sentence}", binding.sentence) for binding in bindings)
    return Reading(Finding(state, sentence + hints.get(state, "")), lines=lines)


def read_live_report(server: Server, values: argparse.Namespace) -> Reading:
    """A report that the server makes now. If its name does not tell the age, it is as old as the request."""
    server.fetch("GET", REPORT_PAGE, follow=())  # for the cookies: the first request is answered by a 307
    answer = server.page("POST", REPORT_PAGE, f"type={values.source}")
    if not re.search("(?i)octet-stream|xml", answer.headers.get("content-type", "")):  # as documented
        raise answer.not_kodeks(_("no report"))
    name = re.search('filename="?([^";]{1,300})', answer.headers.get("content-disposition", ""))
    reading = report.read(answer.pieces(), name[1] if name else "", values.walk, time.time())
    if (reading.size or 0) < 1000:  # a real one has 20 MB
        raise Problem(ngettext("the server sent {n} byte of XML, no sysinfo report: look at the server",
                               "the server sent {n} bytes of XML, no sysinfo report: look at the server",
                               reading.size or 0))  # fmt: skip
    if reading.finding.state == OK and abs(reading.age or 0) > 26:  # hours between two clocks on earth
        what = _("the server sent a report of {hours} hours ago instead of a new one: "
                 "check its clock, and what answers at -p", f"{reading.age:.1f}")  # fmt: skip
        return reading._replace(finding=Finding(UNKNOWN, what))
    return reading


class KodeksKey(nagiosplugin.Resource):
    """The key as the server sees it, read once from a page or a report."""

    def __init__(self, values: argparse.Namespace) -> None:
        self.values = values
        self.server = server_of(values) if values.hostname else None
        self.reading = Reading(Finding(UNKNOWN, _("nothing was read")))

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        started = time.monotonic()
        self.reading = self.read()
        yield nagiosplugin.Metric("key", self.reading.finding)
        yield nagiosplugin.Metric("age", self.reading.age)
        yield nagiosplugin.Metric("time", round(time.monotonic() - started, 3))
        yield nagiosplugin.Metric("size", self.reading.size)
        yield nagiosplugin.Metric("working", {OK: 1, CRITICAL: 0}.get(self.reading.finding.state))

    def read(self) -> Reading:
        """What the source says that the options name."""
        values = self.values
        if not self.server:
            with report.stored(values.file) as (blocks, made):
                return report.read(blocks, values.file, values.walk, made)
        try:
            page_is_read = values.source in (None, "page")
            return read_page(self.server) if page_is_read else read_live_report(self.server, values)
        except Unreachable as problem:
            sentence, late = problem.args
            raise Problem(sentence, values.late if late else values.unreachable) from None


class ReportAge(Number, Part):
    """The report's age in hours: judged, and a number with its ranges."""

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        hours = metric.value
        state = UNKNOWN if hours is None or hours < 0 else judge(hours, *self.ranges)
        sentence = _("the report is {hours} hours old: check that its upload or export still runs", hours)
        if state == UNKNOWN:
            why = _("no date in its name")
            if hours is not None:
                why = _("dated {hours} hours in the future", -hours)
            sentence = _("the age of the report is not known ({why}): check its name, and the clocks", why)
        return nagiosplugin.Result(STATES[state], sentence, metric)


def options() -> kind.Options:
    """The options of this check, the common ones included."""
    parser = kind.Options(
        "check_kodeks_xml",
        "Asks a Kodeks/Techexpert server, or a stored sysinfo report, whether the SenseLock key works.",
        "  check_kodeks_xml -H kodeks.example -l smartlogin --password-file /etc/kodeks.pw\n"
        "  check_kodeks_xml -H 192.0.2.10 -p 7070 -l smartlogin --extra-opts=kodeks -t 60:critical\n"
        "  check_kodeks_xml --file report.zip --record \"/r/p[@name='SenseLock']/@value\" -w :26 -c :50\n",
        secret_keys=("password",),
    )
    server = parser.add_argument_group("the server").add_argument
    server("-H", "--hostname", metavar="HOST", type=kind.host_name, help="name or address of the server")
    server("-p", "--port", metavar="PORT", type=kind.tcp_port, help="its port (80, with -S 443)")
    server("-S", "--ssl", action="store_true", help="speak HTTPS and verify the certificate")
    server("--insecure", action="store_true", help="with -S: do not verify the certificate")
    server("-l", "--logname", metavar="USER", type=kind.proper_text, help="log in as USER, no administrator")
    server("--password-file", metavar="FILE", type=kind.proper_text,
           help="the password is FILE's first line; or key password in an ini section, or $KODEKS_PASSWORD")
    server("--source", choices=("page", "zip", "xml"),
           help="page: read the binding line of /admin/lic; zip, xml: have it make its sysinfo report (page)")
    server("--unreachable", metavar="STATE", type=str.lower, default="unknown",
           choices=deadline.ALARM_STATES,
           help="state if the server cannot be reached, fails, or something else answers there (unknown)")
    stored = parser.add_argument_group("the report").add_argument
    stored("--file", metavar="PATH", type=kind.proper_text, help="read a stored report, ZIP or XML")
    stored("-w", "--warning", metavar="RANGE", type=kind.threshold, help="RANGE of a report's age in hours")
    stored("-c", "--critical", metavar="RANGE", type=kind.threshold, help="RANGE of a report's age in hours")
    stored("--record", metavar="PATH", type=record.parse_pin,
           help="judge only this value: /a/b[2]/@state, /a/p[@name='SenseLock']/@value, as -vv prints it")
    stored("--working", metavar="TEXT", type=kind.proper_text,
           help=f"the value of --record that means the key works, besides '{WORKS}'")
    stored("--outline", action="store_true", help="list the report's elements and attributes without values")
    return parser


def password_of(values: argparse.Namespace) -> str:
    """The password of -l: from the file, the ini section or the environment, in this order."""
    password = str(values.secrets.get("password") or os.environ.get("KODEKS_PASSWORD", ""))
    if values.password_file:
        password = read_private(values.password_file, "--password-file").partition("\n")[0]
    if not re.fullmatch("[^\0\ud800-\udfff]+", password):
        raise Problem(_("-l without a password in UTF-8: use --password-file (first line), "
                        "a key password in the ini section, or KODEKS_PASSWORD"))  # fmt: skip
    return password


def refuse_contradictions(values: argparse.Namespace) -> None:
    """A Problem for options that are right each by itself, and wrong together."""
    about_report = any((values.warning, values.critical, values.record, values.outline))
    about_server = any((values.port, values.ssl, values.logname, values.password_file, values.source))
    wrong = {
        _("give either -H HOST or --file PATH"): (values.hostname is None) == (values.file is None),
        _("-l is a login without a colon; the password goes to --password-file"):
            ":" in (values.logname or ""),
        _("-p, -S, -l, --password-file and --source are for a server, not for --file"):
            values.file and about_server,
        _("--insecure without -S"): values.insecure and not values.ssl,
        _("a password without -l USER"): (values.password_file or values.secrets) and not values.logname,
        _("-w, -c, --record and --outline are for a report: add --source zip, or give --file"):
            about_report and not values.file and values.source in (None, "page"),
        _("--working is for --record"): values.working is not None and values.record is None,
    }  # fmt: skip
    for sentence, is_so in wrong.items():
        if is_so:
            options().error(sentence)


def server_of(values: argparse.Namespace) -> Server:
    """The server that the options name."""
    host = f"[{values.hostname}]" if ":" in values.hostname else values.hostname
    scheme, usual = ("https", 443) if values.ssl else ("http", 80)
    port = "" if values.port in (None, usual) else f":{values.port}"
    login = (values.logname, password_of(values)) if values.logname else None
    return Server(f"{scheme}://{host}{port}", values.insecure, login)


def build(values: argparse.Namespace) -> nagiosplugin.Check:
    """The check as nagiosplugin runs it."""
    refuse_contradictions(values)
    seconds, state = values.timeout
    values.unreachable = deadline.ALARM_STATES[values.unreachable]
    values.late = values.unreachable if state is None else state
    deadline.set_limit(seconds, values.late)
    values.walk = record.Outline() if values.outline else record.Mentions()
    if values.record:
        values.walk = record.PinnedRecord(values.record, values.working or WORKS)
    key = KodeksKey(values)
    ranges = values.warning, values.critical
    values.verbose = values.verbose or values.outline
    age = Number("age") if ranges == (None, None) else ReportAge("age", "", *ranges)
    says = Says(lambda results: key.reading.finding.sentence, lambda results: key.reading.lines)
    numbers = Number("time", "s"), Number("size", "B"), Number("working")
    return nagiosplugin.Check(key, Part("key"), age, *numbers, says)


def main() -> None:
    """The console script."""
    run("KODEKS_XML", options(), build, part="key")


if __name__ == "__main__":
    main()
