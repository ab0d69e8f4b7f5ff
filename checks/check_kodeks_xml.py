#!/usr/bin/env python3
"""Does the Kodeks server itself report that its SenseLock key works?

The last link of the chain that keeps a Kodeks/Techexpert server licensed. Facts and their sources:

* the binding line of the license page /admin/lic ("Привязка: SenseLock ключ - [работает]") is proven by
  12,000 field captures: kodeks/page.py reads it, kodeks/texts.py has its texts and what to do about each;
* `POST /sysinfo/si_save_request` with type=zip or type=xml makes the sysinfo report (the SMART project's
  manual). Its schema is not public: kodeks/report.py reads it, kodeks/record.py judges a pinned record;
* the first request without a cookie is answered by a 307 that sets cookies (captures): kodeks/server.py.
"""

import os
import sys

try:
    if sys.version_info < (3, 9):
        raise ImportError("Python 3.9 or newer is needed, this is %d.%d" % sys.version_info[:2])
    sys.path.append(os.path.dirname(os.path.realpath(__file__)))  # python3 -I and -P leave it out
    from kodeks_monitoring.contract import deadline

    deadline.start("KODEKS_XML", __name__)
except Exception as error:  # noqa: BLE001  whatever a failed copy left: no traceback, no exit code 1
    reason = ascii(str(error)).strip("'\"")
    print("KODEKS_XML UNKNOWN - the check cannot start (%s): copy the whole checks folder again" % reason)
    raise SystemExit(3) from None

import argparse
import re
import time
from typing import Any, Callable, Iterator, Optional

import nagiosplugin
from kodeks_monitoring.contract.options import (
    Options,
    alarm_state,
    bad_value,
    host_name,
    proper_text,
    tcp_port,
    threshold,
)
from kodeks_monitoring.contract.private_files import read_private
from kodeks_monitoring.contract.run import STATES, Finding, Number, Part, judge, perfdata, run
from kodeks_monitoring.contract.verdict import CRITICAL, OK, UNKNOWN, Problem, clean
from kodeks_monitoring.kodeks import record, report
from kodeks_monitoring.kodeks.texts import WORKS, Reading, Statement, license_manager_in, worst_of
from kodeks_monitoring.machine import tcp

LICENSE_PAGE = "/admin/lic"
REPORT_PAGE = "/sysinfo/si_save_request"
CLOCK_TOLERANCE = 0.1  # hours by which a report may come from the future: its name counts minutes
OLDEST_LIVE_REPORT = 26  # hours between the clocks of two places on earth

# --- The collector: the only I/O --------------------------------------------------------------------


def read_page(server: Any) -> Reading:
    """The bindings on the license page."""
    from kodeks_monitoring.kodeks.page import parse_license_page

    answer = server.page("GET", LICENSE_PAGE)
    statements = parse_license_page(answer.text())
    if not statements:
        raise answer.not_kodeks("no binding line")
    statement = worst_of(statements)
    hints = {OK: f" (binding of {LICENSE_PAGE})", UNKNOWN: "; look at the page in a browser"}
    notes = (f"source: {answer.url}", *(f"binding: {found.text}" for found in statements))
    statement = statement._replace(sentence=statement.sentence + hints.get(statement.state, ""))
    return Reading(statement, notes=notes)


def read_live_report(server: Any, values: argparse.Namespace) -> Reading:
    """A report that the server makes now. If its name does not tell the age, it is as old as the request."""
    server.fetch("GET", REPORT_PAGE, follow=())  # for the cookies: the first request is answered by a 307
    answer = server.page("POST", REPORT_PAGE, f"type={values.source}")
    name = re.search('filename="?([^";]{1,300})', answer.header("content-disposition"))
    beginning, blocks = report.begun(answer.pieces())
    if answer.is_page or report.is_html(beginning):
        raise answer.not_kodeks("no report")
    try:
        found, reading = read_report(values, blocks, name[1] if name else "")
        if found.size < report.LEAST and reading.statement[::2] == (CRITICAL, ""):
            raise report.NoReport(f"{found.shown} is too small for a sysinfo report ({found.size} bytes)")
    except report.NoReport as problem:
        raise Problem(f"{problem}{report.first_words(beginning)}") from None
    notes = (f"source: {answer.url}", *reading.notes)
    if not found.dated or found.age is None:
        return reading._replace(age=0.0, notes=(*notes[:2], "age: made for this request"))
    if reading.statement.state == OK and abs(found.age) > OLDEST_LIVE_REPORT:
        what = f"the server sent a report of {found.age:.1f} hours ago instead of a new one"
        statement = Statement(UNKNOWN, f"{what}: check its clock, and what answers at -p")
        reading = reading._replace(statement=statement)
    return reading._replace(notes=notes)


def read_stored_report(values: argparse.Namespace) -> Reading:
    """A report in a file."""
    with report.stored(values.file) as (blocks, name, made):
        return read_report(values, blocks, name, made)[1]


def read_report(
    values: argparse.Namespace, blocks: Iterator[bytes], name: str, made: Optional[float] = None
) -> tuple[report.Report, Reading]:
    """What is known of a report, and what it says of the key."""
    walk: record.Walk = record.Outline() if values.outline else record.Mentions()
    if values.record:
        walk = record.PinnedRecord(values.record, values.working or WORKS)
    found = report.read(blocks, name, walk, values.max_size << 20, made)
    return found, Reading(walk.statement(), found.age, found.size, found.notes, tuple(walk.lines()))


def license_manager_answer(text: str) -> str:
    """Whether the license manager's port that a text names opens. It tells nothing of the key behind it."""
    address = license_manager_in(text)
    if not address:
        return ""
    manager = f"the license manager at {address[0]}:{address[1]}"
    deadline.doing(f"connecting to {manager}")
    try:
        tcp.connect(*address, time.monotonic() + min(3.0, deadline.remaining())).close()
        return f"; {manager} answers"
    except tcp.NoConnection as problem:
        return f"; {manager} does not answer ({problem})"


class KodeksKey(nagiosplugin.Resource):
    """The key as the server sees it, read once from a page or a report."""

    def __init__(self, read: Callable[[], Reading], values: argparse.Namespace) -> None:
        self.read, self.values = read, values
        self.reading = Reading(Statement(UNKNOWN, "nothing was read"))

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        started = time.monotonic()
        self.reading = reading = self.read()
        seconds = round(time.monotonic() - started, 3)
        state, sentence, text = reading.statement
        if self.values.probe_license_manager:
            sentence += license_manager_answer(text)
        yield nagiosplugin.Metric("key", Finding(state, sentence))
        yield nagiosplugin.Metric("age", reading.age)
        yield nagiosplugin.Metric("time", seconds)
        yield nagiosplugin.Metric("size", reading.size)
        yield nagiosplugin.Metric("working", {OK: 1, CRITICAL: 0}.get(state))


# --- The judgement ----------------------------------------------------------------------------------


def judge_age(hours: Optional[float], warning: Any, critical: Any) -> Finding:
    """The report's age against two ranges, of which at least one is given."""
    if hours is None:
        what = "the age of the report is not known: its name has no date, or one that cannot be"
        return Finding(UNKNOWN, f"{what}; keep the name that the server gave it")
    if hours < -CLOCK_TOLERANCE:
        what = f"the report is dated {-hours:.1f} hours in the future"
        return Finding(UNKNOWN, f"{what}: check the clocks and time zones of both machines")
    state = judge(max(hours, 0), warning, critical)
    broken = critical if state == CRITICAL else warning
    if state == OK:
        return Finding(OK, "")
    shown = f"{hours:.2f}" if broken.match(round(hours, 1)) else f"{hours:.1f}"  # a number that breaks it
    what = f"the report is {shown} hours old, {'inside' if broken.invert else 'outside'} the range {broken}"
    return Finding(state, f"{what}: check that its upload or export still runs")


class ReportAge(Part):
    """The report's age in hours: judged, and a number with its ranges."""

    def __init__(self, warning: Any, critical: Any) -> None:
        super().__init__("age")
        self.ranges = warning, critical

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        finding = judge_age(metric.value, *self.ranges)
        return nagiosplugin.Result(STATES[finding.state], finding.sentence, metric)

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> Any:
        return perfdata("age", metric.value, "", *self.ranges)


# --- The sentence -----------------------------------------------------------------------------------


class WhatTheServerSays(nagiosplugin.Summary):
    """What the check says when all is well, and the lines of -v and -vv."""

    def __init__(self, key: KodeksKey, verbose: int) -> None:
        self.key, self.verbosity = key, verbose

    def ok(self, results: nagiosplugin.Results) -> str:
        return self.key.reading.statement.sentence

    def verbose(self, results: nagiosplugin.Results) -> list[str]:
        reading = self.key.reading
        return [*reading.notes, *(reading.candidates if self.verbosity > 1 else ())]


# --- Options and main -------------------------------------------------------------------------------


def options() -> Options:
    """The options of this check, the common ones included."""
    parser = Options(
        "check_kodeks_xml",
        "Asks a Kodeks/Techexpert server, or a stored sysinfo report, whether the SenseLock key works.",
        "  check_kodeks_xml -H kodeks.example -l smartlogin --password-file /etc/kodeks.pw\n"
        "  check_kodeks_xml -H 192.0.2.10 -p 7070 -l smartlogin --extra-opts=kodeks -t 60:critical\n"
        "  check_kodeks_xml --file report.zip --record \"/r/p[@name='SenseLock']/@value\" -w :26 -c :50\n",
        secret_keys=("password",),
    )
    server = parser.add_argument_group("the server").add_argument
    server("-H", "--hostname", metavar="HOST", type=host_name, help="name or address of the Kodeks server")
    server("-p", "--port", metavar="PORT", type=tcp_port, help="its port (80, with -S 443)")
    server("-S", "--ssl", action="store_true", help="speak HTTPS and verify the certificate")
    server("--insecure", action="store_true", help="with -S: do not verify the certificate")
    server("-l", "--logname", metavar="USER", type=proper_text, help="log in as USER (not an administrator)")
    server("--password-file", metavar="FILE",
           help="the password is FILE's first line; or key password in an ini section, or $KODEKS_PASSWORD")
    server("--source", choices=("page", "zip", "xml"),
           help="page: read the binding line of /admin/lic, which is quick and the best known; "
                "zip, xml: have the server make its sysinfo report (page)")
    server("--unreachable", metavar="STATE", type=alarm_state, default="unknown",
           help="state if the server cannot be reached: refused, timeout, DNS, reset, TLS, HTTP 5xx but not "
                "503, something else in its place (unknown)")
    server("--probe-license-manager", action="store_true",
           help="when the server blames a license manager: say whether the port that it names opens")
    stored = parser.add_argument_group("the report").add_argument
    stored("--file", metavar="PATH", help="read a stored report, ZIP or XML; - is standard input")
    stored("-w", "--warning", metavar="RANGE", type=threshold,
           help="warn if its age in hours is outside RANGE")
    stored("-c", "--critical", metavar="RANGE", type=threshold,
           help="alarm if its age in hours is outside RANGE")
    stored("--record", metavar="PATH", type=record_path,
           help="judge only this value: /a/b[2]/@state, /a/p[@name='SenseLock']/@value, as -vv prints it")
    stored("--working", metavar="TEXT", type=proper_text,
           help=f"the value of --record that means the key works, besides '{WORKS}'")
    stored("--outline", action="store_true", help="list the report's elements and attributes without values")
    stored("--max-size", metavar="MB", type=megabytes, default="512",
           help="refuse a larger report, unpacked (512)")
    return parser


def record_path(text: str) -> record.Pin:
    """The path of a record for --record."""
    pin = record.parse_pin(text)
    if pin is None:
        raise bad_value(text, "is no path; write it as -vv prints it, /a/b[2]/@x or /a/b[@name='x']/@x")
    return pin


def megabytes(text: str) -> int:
    """A size limit in MB, 1 to 100000."""
    if not re.fullmatch("[0-9]{1,6}", text) or not 1 <= int(text) <= 100_000:
        raise bad_value(text, "is no size; write a number of MB from 1 to 100000")
    return int(text)


def password_of(values: argparse.Namespace) -> str:
    """The password of -l: from the file, the ini section or the environment, in this order."""
    if not values.password_file:
        password = values.secrets.get("password") or os.environ.get("KODEKS_PASSWORD", "")
        if not password:
            where = "--password-file, a key password in the ini section, or KODEKS_PASSWORD"
            raise Problem(f"-l without a password: use {where}")
        return str(password)
    text = read_private(values.password_file, "--password-file")
    shown = f"--password-file: {clean(values.password_file, 120)}"
    if "\0" in text or text.startswith(("\udcff\udcfe", "\udcfe\udcff")):
        raise Problem(f"{shown} is not UTF-8 but UTF-16: save it as UTF-8")
    password = text.lstrip("\ufeff").partition("\n")[0].rstrip("\r")
    if not password:
        raise Problem(f"{shown} has no password in its first line: write it there")
    return password


def contradiction_in(values: argparse.Namespace) -> str:
    """What is wrong with options that are right each by itself, "" for nothing."""
    about_report = any((values.warning, values.critical, values.record, values.outline))
    about_server = any((values.port, values.ssl, values.logname, values.password_file, values.source))
    wrong = {
        "give either -H HOST or --file PATH": (values.hostname is None) == (values.file is None),
        "--file is empty": values.file == "",
        "-l is a login without a colon; the password goes to --password-file": ":" in (values.logname or ""),
        "--password-file is empty": values.password_file == "",
        "-p, -S, -l, --password-file and --source are for a server, not for --file":
            values.file and about_server,
        "--insecure without -S": values.insecure and not values.ssl,
        "a password without -l USER": (values.password_file or values.secrets) and not values.logname,
        "-w, -c, --record and --outline are for a report: add --source zip, or give --file":
            about_report and not values.file and values.source in (None, "page"),
        "--working is for --record": values.working is not None and values.record is None,
    }  # fmt: skip
    return next((text for text, is_so in wrong.items() if is_so), "")


def source_of(values: argparse.Namespace) -> Callable[[], Reading]:
    """What reads the state of the key, as the options want it."""
    if values.file is not None:
        return lambda: read_stored_report(values)
    from kodeks_monitoring.kodeks.server import Server, Unreachable

    host = f"[{values.hostname}]" if ":" in values.hostname else values.hostname
    scheme, usual = ("https", 443) if values.ssl else ("http", 80)
    port = "" if values.port in (None, usual) else f":{values.port}"
    login = (values.logname, password_of(values)) if values.logname else None
    server = Server(f"{scheme}://{host}{port}", values.insecure, login)

    def read() -> Reading:
        try:
            return read_live_report(server, values) if values.source in ("zip", "xml") else read_page(server)
        except Unreachable as problem:
            state = deadline.state_when_late() if problem.late else values.unreachable
            raise Problem(str(problem), state) from None

    return read


def build(values: argparse.Namespace) -> nagiosplugin.Check:
    """The check as nagiosplugin runs it."""
    wrong = contradiction_in(values)
    if wrong:
        raise Problem(f"{wrong}; check_kodeks_xml --help lists the options")
    deadline.set_late_state(values.unreachable)
    key = KodeksKey(source_of(values), values)
    ranges = values.warning, values.critical
    if values.outline:
        values.verbose = 2
    age = Number("age") if ranges == (None, None) else ReportAge(*ranges)
    numbers = Number("time", "s"), Number("size", "B"), Number("working")
    return nagiosplugin.Check(key, Part("key"), age, *numbers, WhatTheServerSays(key, values.verbose))


def main() -> None:
    """The console script."""
    run("KODEKS_XML", options(), build, part="key")


if __name__ == "__main__":
    main()
