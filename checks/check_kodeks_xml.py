#!/usr/bin/env python3
"""Does the Kodeks server itself report that its SenseLock key works?

The last link of the chain that keeps a Kodeks/Techexpert server licensed. Facts and where they come from:
* the binding line of the license page /admin/lic ("Привязка: SenseLock ключ - [работает]"): kodeks_binding says what
  its texts and errors mean, kodeks_http reads the page;
* `POST /sysinfo/si_save_request` with type=zip or type=xml makes the sysinfo report (the SMART project's manual):
  kodeks_report reads it, kodeks_record recognises its record by its words, for its element names are not public.

What was read is said, and only the words that are known to mean "works" are OK.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from typing import TYPE_CHECKING

try:
    if getattr(sys.flags, "safe_path", sys.flags.isolated):  # PYTHONSAFEPATH, -P and -I leave out this file's own folder
        sys.path[:0] = {os.path.dirname(os.path.realpath(__file__))} - set(sys.path)
    import plugin_runtime as runtime

    begin = runtime.begin
except ImportError:
    print("KODEKS_XML UNKNOWN - plugin_runtime.py is missing beside this check: copy the whole checks folder")
    raise SystemExit(3) from None
except OSError:
    print("KODEKS_XML UNKNOWN - plugin_runtime.py beside this check cannot be read by this user: run chmod a+r on it")
    raise SystemExit(3) from None
except EOFError:
    print("KODEKS_XML UNKNOWN - the folder __pycache__ beside this check is damaged: remove it")
    raise SystemExit(3) from None
except (SyntaxError, ValueError, NameError, AttributeError):  # cut by a failed copy; a zero byte is a ValueError
    print("KODEKS_XML UNKNOWN - plugin_runtime.py beside this check is incomplete: copy the whole checks folder again")
    raise SystemExit(3) from None
except MemoryError:
    print("KODEKS_XML UNKNOWN - out of memory while starting")
    raise SystemExit(3) from None

begin("KODEKS_XML", __name__)

import nagiosplugin
from kodeks_binding import CRITICAL, OK, UNKNOWN, WORKS, Reading, Statement, Unreachable

if TYPE_CHECKING:
    from typing import Callable, Iterator

    from kodeks_http import Answer, Login, Server
    from kodeks_record import Pin
    from kodeks_report import Wanted

# --- The collector: the only I/O ------------------------------------------------------------------------------
#
# What speaks HTTP and what reads a report is imported by the runs that do it.

REPORT_PAGE = "/sysinfo/si_save_request"


def read_live_report(server: Server, form: str, wanted: Wanted) -> Reading:
    """Have the server make a report and read it. Without a name that tells otherwise, it is as old as the request."""
    from kodeks_http import not_kodeks, refuse
    from kodeks_report import LEAST, read_report

    server.fetch("GET", REPORT_PAGE, follow=())  # only for the cookies: a first request is answered by 307, never by a report
    answer = server.page("POST", REPORT_PAGE, f"type={form}".encode())
    refuse(answer, server.login)
    if answer.is_page():
        raise not_kodeks(answer, "no report")
    beginning = bytearray()

    def heard() -> Iterator[bytes]:
        for piece in answer.pieces():
            if len(beginning) < LEAST:
                beginning.extend(piece)
            yield piece

    try:
        reading = read_report(heard(), name_of(answer), wanted)
    except runtime.Problem as problem:
        said = words_of(bytes(beginning)) if len(beginning) < LEAST else ""
        if not said or said in str(problem):
            raise
        raise runtime.Problem(f"{problem}; the server says '{said}': ask it again, then look at the server") from None
    if reading.age is None and not reading.wrong_date:
        reading = reading._replace(age=0.0, notes=(*reading.notes[:1], "age: made for this request"))
    elif reading.statement.state == OK and abs(reading.age or 0) > 1:
        reading = reading._replace(statement=old_answer(reading.statement, reading.age or 0))
    return reading._replace(notes=(f"source: {answer.url}", *reading.notes))


def words_of(body: bytes) -> str:
    """The words of a short answer that is no report: a message, JSON, small XML. "" for what is no text."""
    from kodeks_http import decode_page

    text = decode_page(body, "")
    if re.search(r"[\x00-\x08\x0e-\x1f\ufffd]", text):
        return ""
    return runtime.clean(re.sub(r"<[^<>]*>", " ", text), 150)


def name_of(answer: Answer) -> str:
    """The name under which a report came: of two that it has, the one that tells the older date; "" for none.

    RFC 6266 knows two forms in Content-Disposition. Behind a redirect the address may tell the name.
    """
    from kodeks_http import percent_decoded
    from kodeks_report import made_at

    told = r"""filename[*0-9]*\s*=\s*(?:[\w-]*'[\w-]*'(?=[^'"\s;]))?("[^"]*"|'[^']*'|[^";]*)"""
    names = [name.strip("\"' ") for name in re.findall(told, answer.header("content-disposition"), re.IGNORECASE)]
    dated = [(made, name) for name in (*names, answer.path) if (made := made_at(percent_decoded(name))) is not None]
    return percent_decoded(min(dated)[1] if dated else next(iter(names), ""))


MOST_ZONES_APART = 26  # hours between the clocks of two places on earth


def old_answer(statement: Statement, age: float) -> Statement:
    """What a report says that should have been made just now and was not by its name, which is the server's local time."""
    if abs(age) <= MOST_ZONES_APART:
        when = f"made {age:.1f} hours ago" if age > 0 else f"made {-age:.1f} hours in the future"
        return statement._replace(sentence=f"{statement.sentence}, {when} by its name: check clocks and time zones")
    what = f"of {age:.1f} hours ago instead of a new one" if age > 0 else f"that is dated {-age:.1f} hours in the future"
    sentence = f"the server sent a report {what}: check its clock, and what answers at -p"
    return statement._replace(state=UNKNOWN, sentence=sentence)


class KodeksKey(nagiosplugin.Resource):
    """The key as the server sees it, read once from a page or a report."""

    def __init__(self, read: Callable[[], Reading], unreachable: int, late: int, probe_license_manager: bool) -> None:
        self.read, self.unreachable, self.late, self.probe_license_manager = read, unreachable, late, probe_license_manager
        self.reading = Reading(Statement(UNKNOWN, "nothing was read", ""))

    def probe(self) -> Iterator[nagiosplugin.Metric]:
        started = time.monotonic()
        try:
            self.reading = self.read()
        except Unreachable as problem:
            raise runtime.Problem(str(problem), self.late if problem.late else self.unreachable) from None
        seconds = round(time.monotonic() - started, 3)
        if self.probe_license_manager and self.reading.statement.license_manager:
            self._probe(self.reading.statement)
        yield nagiosplugin.Metric("age", self.reading.age, context="age")
        yield nagiosplugin.Metric("time", seconds, context="time")
        yield nagiosplugin.Metric("size", self.reading.size, context="size")
        yield nagiosplugin.Metric("working", self.reading.statement, context="working")

    def _probe(self, statement: Statement) -> None:
        """Add to the sentence whether the license manager's port opens. That says nothing of the key behind it."""
        from kodeks_http import connect

        host, _, port = statement.license_manager.rpartition(":")
        left = runtime.remaining()
        try:
            connect(host.strip("[]"), int(port), min(3.0, left)).close()
            said = "answers"
        except Unreachable as problem:
            why = str(problem).partition(";")[0].rpartition(": ")[2]
            said = f"does not answer ({why})" if left > 0.5 else "was not asked, no time was left"
            if str(problem).startswith("the name "):
                said = f"cannot be asked, its name is not resolved here ({why})"
        sentence = f"{statement.sentence}; the license manager at {statement.license_manager} {said}"
        self.reading = self.reading._replace(statement=statement._replace(sentence=sentence))


# --- The judgement --------------------------------------------------------------------------------------------


class KeyState(nagiosplugin.Context):
    """The statement of the server; perfdata `working` is 1 or 0 where a state was read."""

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        states = {OK: nagiosplugin.Ok, CRITICAL: nagiosplugin.Critical}
        statement: Statement = metric.value
        return nagiosplugin.Result(states.get(statement.state, nagiosplugin.Unknown), statement.sentence, metric)

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        working = {OK: 1, CRITICAL: 0}.get(metric.value.state)
        return runtime.perfdata("working", working)


class Measured(nagiosplugin.Context):
    """A number for graphs that nothing judges."""

    def __init__(self, name: str, uom: str) -> None:
        super().__init__(name)
        self.uom = uom

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        return runtime.perfdata(metric.name, metric.value, self.uom)


CLOCK_TOLERANCE = 0.1  # hours by which a report may come from the future: its name counts minutes, and clocks differ


class ReportAge(nagiosplugin.Context):
    """The report's age in hours against the operator's ranges; without ranges it is only perfdata."""

    def __init__(self, warning: nagiosplugin.Range | None, critical: nagiosplugin.Range | None) -> None:
        super().__init__("age")
        self.warning, self.critical = warning, critical

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        age: float | None = metric.value
        if self.warning is None and self.critical is None:
            return nagiosplugin.Result(nagiosplugin.Ok, metric=metric)
        if age is None:
            what = "a date that cannot be" if isinstance(resource, KodeksKey) and resource.reading.wrong_date else "no date"
            sentence = f"the age of the report is not known: its name tells {what}; keep the name that the server gave it"
            return nagiosplugin.Result(nagiosplugin.Unknown, sentence, metric)
        if age < -CLOCK_TOLERANCE:
            sentence = f"the report is dated {-age:.1f} hours in the future: check the clocks and time zones of both machines"
            return nagiosplugin.Result(nagiosplugin.Unknown, sentence, metric)
        state = runtime.judge(max(age, 0), self.warning, self.critical)
        broken = self.critical if state == nagiosplugin.Critical else self.warning
        if state == nagiosplugin.Ok or broken is None:
            return nagiosplugin.Result(state, metric=metric)
        # Rounded so far that the number still breaks the range.
        shown = f"{age:.2f}" if broken.match(round(age, 1)) else f"{age:.1f}"
        side = "inside" if broken.invert else "outside"
        sentence = f"the report is {shown} hours old, {side} the range {broken}: check that its upload or export still runs"
        return nagiosplugin.Result(state, sentence, metric)

    def performance(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:
        return runtime.perfdata("age", metric.value, "", self.warning, self.critical)


# --- The sentence ---------------------------------------------------------------------------------------------


class Spoken(nagiosplugin.Summary):
    """What the check says when all is well, and the lines of -v and -vv."""

    def __init__(self, resource: KodeksKey, verbose: int) -> None:
        self.resource, self.verbosity = resource, verbose

    def ok(self, results: nagiosplugin.Results) -> str:
        statement = self.resource.reading.statement
        return f"{statement.sentence} ({statement.place})"

    def verbose(self, results: nagiosplugin.Results) -> list[str]:
        reading = self.resource.reading
        return [*reading.notes, *(reading.candidates if self.verbosity > 1 else ())]


# --- Options and main -----------------------------------------------------------------------------------------


def host_name(text: str) -> str:
    """A host name or address as the resolver and the Host header take it; IPv6 with or without brackets."""
    import socket

    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    address = re.fullmatch(r"([0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)(?:%[A-Za-z0-9_.-]+)?", bare)
    try:
        if address:
            socket.inet_pton(socket.AF_INET6, address[1])
            return bare
        ascii_name = text if text.isascii() else text.encode("idna").decode("ascii")
    except (OSError, UnicodeError):
        ascii_name = ""
    if not re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?", ascii_name):
        hint = "; the port goes to -p" if re.fullmatch(r"[^:/]+:[0-9]+", text) else "" if text else ": it is empty"
        if "@" in text:  # what stands before it may be a password
            text, hint = f"...{text[text.rindex('@') :]}", "; the user goes to -l, the password to --password-file"
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 60)}' is no host name or address{hint}")
    return ascii_name


def user_name(text: str) -> str:
    """A login; a colon would end it inside the Authorization header."""
    if not re.fullmatch(r"[^\x00-\x1f\x7f:]{1,200}", text):
        name, colon, _ = text.partition(":")  # what stands behind it may be the password
        hint = ": it holds a colon; the password goes to --password-file" if colon else ""
        raise argparse.ArgumentTypeError(f"'{runtime.clean(name, 60)}{':...' if colon else ''}' is no login{hint}")
    return text


def options() -> runtime.Options:
    """The options of this check, the common ones included."""
    parser = runtime.Options(
        "check_kodeks_xml",
        "Asks a Kodeks/Techexpert server, or a stored sysinfo report, whether the SenseLock key works.",
        "  check_kodeks_xml -H kodeks.example --source page -l smartlogin --password-file /etc/kodeks.pw\n"
        "  check_kodeks_xml -H 192.0.2.10 -p 7070 -l smartlogin --extra-opts=kodeks -t 60:critical\n"
        "  check_kodeks_xml --file /srv/reports/report.zip -w :26 -c :50\n",
        secret_keys=("password",),
    )
    server = parser.add_argument_group("the server")
    server.add_argument("-H", "--hostname", metavar="HOST", type=host_name, help="name or address of the Kodeks server")
    server.add_argument("-p", "--port", metavar="PORT", type=runtime.tcp_port, help="its port (80, with -S 443)")
    server.add_argument("-S", "--ssl", action="store_true", help="speak HTTPS and verify the certificate")
    server.add_argument("--insecure", action="store_true", help="with -S: do not verify the certificate")
    server.add_argument("-l", "--logname", metavar="USER", type=user_name, help="log in as USER (not an administrator)")
    server.add_argument("--password-file", metavar="FILE",
                        help="the password is FILE's first line; or key password in an ini section, or $KODEKS_PASSWORD")
    server.add_argument("--source", choices=("zip", "xml", "page"),
                        help="zip, xml: have the server make its sysinfo report; page: read the binding line of /admin/lic, "
                             "which is quick and the best known (zip)")
    server.add_argument("--unreachable", metavar="STATE", type=runtime.alarm_state, default="unknown",
                        help="state if the server cannot be reached: refused, timeout, DNS, reset, TLS, HTTP 5xx but not "
                             "503, something else in its place (unknown)")
    server.add_argument("--probe-license-manager", action="store_true",
                        help="when the server blames a license manager: connect to the address it names, say whether it answers")
    report = parser.add_argument_group("the report")
    report.add_argument("--file", metavar="PATH", help="read a stored report, ZIP or XML; - is standard input")
    report.add_argument("-w", "--warning", metavar="RANGE", type=runtime.threshold,
                        help="warn if its age in hours is outside RANGE")
    report.add_argument("-c", "--critical", metavar="RANGE", type=runtime.threshold,
                        help="alarm if its age in hours is outside RANGE")
    report.add_argument("--record", metavar="PATH", type=record_path,
                        help="judge only this value, a path as -vv prints it: /a/b[2]/@state")
    report.add_argument("--working", metavar="TEXT", help=f"the value of --record that means the key works ({WORKS})")
    report.add_argument("--max-size", metavar="MB", type=megabytes, default="512", help="refuse a larger report, unpacked (512)")
    return parser


def record_path(text: str) -> Pin:
    """The path of a record for --record."""
    from kodeks_record import parse_pin

    pin = parse_pin(text)
    if pin is None:
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 60)}' is no path; write it as -vv prints it, /a/b[2]/@state")
    return pin


def megabytes(text: str) -> int:
    """A size limit in MB, 1 to 100000."""
    if not re.fullmatch("[0-9]{1,6}", text) or not 1 <= int(text) <= 100_000:
        raise argparse.ArgumentTypeError(f"'{runtime.clean(text, 60)}' is no size; write a number of MB from 1 to 100000")
    return int(text)


def login_from(values: argparse.Namespace) -> Login | None:
    """The login of -l with its password: file, ini section, environment, in this order."""
    from kodeks_http import Login

    if values.logname is None:
        return None
    if values.password_file:
        password = password_in(runtime.read_private(values.password_file, "--password-file"), values.password_file)
    else:
        password = values.secrets.get("password") or os.environ.get("KODEKS_PASSWORD", "")
    if not password:
        raise runtime.Problem("-l without a password: use --password-file, a key password in the ini section, or KODEKS_PASSWORD")
    login = Login(values.logname, password)
    login.keep_secret()
    return login


def password_in(text: str, path: str) -> str:
    """The first line of a password file; what an editor may have made of it is told, never sent."""
    shown = f"--password-file: {runtime.clean(path, 120)}"
    if "\0" in text or text.startswith(("\udcff\udcfe", "\udcfe\udcff")):
        raise runtime.Problem(f"{shown} is not UTF-8 but UTF-16: save it as UTF-8")
    password = text.lstrip("\ufeff").partition("\n")[0].rstrip("\r")
    if not password:
        raise runtime.Problem(f"{shown} has no password in its first line: write it there")
    return password


def contradiction_in(values: argparse.Namespace) -> str:
    """What is wrong with options that are right each by itself, "" for nothing."""
    page = values.source == "page"
    about_report = any(option is not None for option in (values.warning, values.critical, values.record))
    about_server = any((values.port, values.ssl, values.logname, values.password_file, values.source))
    wrong = {
        "give either -H HOST or --file PATH": (values.hostname is None) == (values.file is None),
        "--file is empty": values.file == "",
        "--password-file is empty": values.password_file == "",
        "-p, -S, -l, --password-file and --source are for a server, not for --file": values.file is not None and about_server,
        "--insecure without -S": values.insecure and not values.ssl,
        "a password without -l USER": (values.password_file or values.secrets) and not values.logname,
        "-w, -c and --record are for a report, not for --source page": page and about_report,
        "--working is for --record": values.working is not None and values.record is None,
        "--working is empty": values.working is not None and not values.working.strip(),
    }
    return next((text for text, is_so in wrong.items() if is_so), "")


def source_of(values: argparse.Namespace) -> Callable[[], Reading]:
    """What reads the state of the key, as the options want it."""
    if values.file is not None:
        from kodeks_report import read_stored_report

        return lambda: read_stored_report(values.file, wanted_of(values))
    from kodeks_http import Server, read_license_page

    port = values.port or (443 if values.ssl else 80)
    server = Server(values.hostname, port, values.ssl, values.insecure, login_from(values))
    if values.source == "page":
        return lambda: read_license_page(server)
    return lambda: read_live_report(server, values.source or "zip", wanted_of(values))


def wanted_of(values: argparse.Namespace) -> Wanted:
    """What the options ask of a report."""
    from kodeks_report import Wanted

    return Wanted(values.record, values.working or WORKS, values.verbose > 1, values.max_size << 20)


def build(values: argparse.Namespace) -> nagiosplugin.Check:
    """The check as nagiosplugin runs it."""
    wrong = contradiction_in(values)
    if wrong:
        raise runtime.Problem(f"{wrong}; check_kodeks_xml --help lists the options")
    # A state named with -t is meant for every time limit, also for those that the check notices itself.
    late = values.unreachable if values.timeout[1] == UNKNOWN else values.timeout[1]
    key = KodeksKey(source_of(values), values.unreachable, late, values.probe_license_manager)
    age = ReportAge(values.warning, values.critical)
    numbers = Measured("time", "s"), Measured("size", "B")
    return nagiosplugin.Check(key, age, *numbers, KeyState("working"), Spoken(key, values.verbose))


def main() -> None:
    """The console script."""
    runtime.run("KODEKS_XML", options(), build)


if __name__ == "__main__":
    main()
