"""The real Nagios Core 4 on a lab's hosts, with the project's own object files and Debian's own nagios.cfg.

    with NagiosCore(sink, hosts, plugins) as nagios:
        nagios.wait_all_ok()

What differs from an operator's Debian: paths, minutes that last `unit` seconds,
and the site's own part (contact, host template, addresses). Everything else is /etc/nagios4 as the package ships it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import TracebackType

from lab.engine_folders import Folder, folder_of
from lab.engine_process import ENGINE_USER, EngineProcess, await_true, hand_over, open_folder
from lab.notify_sink import NotificationSink
from lab.put import put
from lab.run_check import ROOT

TEMPLATES = ROOT / "templates/nagios"
BINARY = "/usr/sbin/nagios4"
STOCK = "/etc/nagios4/nagios.cfg"

SITE = """\
define command {{
    command_name    site-host-alive
    command_line    /usr/lib/nagios/plugins/check_dummy 0
}}
define host {{
    name                    site-host
    check_command           site-host-alive
    check_interval          5
    max_check_attempts      2
    check_period            24x7
    notification_period     24x7
    notification_interval   0
    contacts                oncall
    register                0
}}
define command {{
    command_name    site-notify-service
    command_line    /usr/bin/python3 {folder}/notify_sink.py {url}
}}
define contact {{
    contact_name                    oncall
    service_notification_period     24x7
    host_notification_period        24x7
    service_notification_options    w,u,c,r,f,s
    host_notification_options       d,u,r,f,s
    service_notification_commands   site-notify-service
    host_notification_commands      site-notify-service
}}
"""
"""The part that is the site's own: a host template, a contact, and how that is told."""


def stock(programs: Folder) -> str:
    """The main file as the package ships it."""
    return programs.path(STOCK).read_text("utf-8")


def verified(programs: Folder, main: Path, *options: str) -> None:
    """Let Nagios check a configuration; AssertionError if it finds an error or warns."""
    done = subprocess.run(programs.command(BINARY, "-v", *options, main), capture_output=True, text=True, check=False)
    clean = done.returncode == 0 and "Total Warnings: 0" in done.stdout and "Total Errors:   0" in done.stdout
    assert clean, f"{BINARY} -v exits {done.returncode}:\n{done.stdout}{done.stderr}"


Directives = Mapping[str, str]


@dataclass(frozen=True)
class Resolved:
    """Objects with their templates and hostgroups resolved. A dependency is (host, service, dependent host and service)."""

    hosts: Mapping[str, Directives]
    services: Mapping[tuple[str, str], Directives]
    dependencies: frozenset[tuple[str, str, str, str]]

    def service(self, host: str, name: str) -> Directives:
        """One service's directives."""
        return self.services[host, name]

    def names(self, host: str) -> list[str]:
        """The services of a host."""
        return [name for owner, name in self.services if owner == host]

    def delay(self, host: str, name: str) -> tuple[float, float]:
        """Minutes from a fault to the hard state: at the earliest, and at the latest; the check's own time not counted."""
        directives = self.service(host, name)
        tries, interval, retry = (float(directives[key]) for key in ("max_check_attempts", "check_interval", "retry_interval"))
        return (tries - 1) * retry, interval + (tries - 1) * retry


def resolved(programs: Folder, main: Path) -> Resolved:
    """The objects of a configuration as Nagios itself resolves them, from its precache file."""
    verified(programs, main, "-p")
    target = re.search(r"(?m)^precached_object_file=(.*)$", main.read_text())
    assert target
    hosts, services, dependencies = {}, {}, set()
    for kind, body in re.findall(r"(?m)^define (\w+) \{\n(.*?)\n\t\}", Path(target[1]).read_text(), re.S):
        row = dict(line.strip().split("\t", 1) for line in body.splitlines() if "\t" in line.strip())
        if kind == "host":
            hosts[row["host_name"]] = row
        elif kind == "service":
            services[row["host_name"], row["service_description"]] = row
        elif kind == "servicedependency":
            keys = ("host_name", "service_description", "dependent_host_name", "dependent_service_description")
            dependencies.add((row[keys[0]], row[keys[1]], row[keys[2]], row[keys[3]]))
    return Resolved(hosts, services, frozenset(dependencies))


@dataclass(frozen=True)
class NagiosHost:
    """A host as an operator writes it: a copy of host-example.cfg with other values.

    `settings` are the custom variables (_KODEKS_LICENSE_EXPIRES and the like) and other directives. `more` is
    text behind it, such as a dependency that crosses hosts.
    """

    name: str
    layout: str
    address: str = "127.0.0.1"
    settings: Mapping[str, str] = field(default_factory=dict)
    more: str = ""

    def definition(self) -> str:
        """The text of the example with this host's values in the lines marked CHANGE."""
        text = (TEMPLATES / "host-example.cfg").read_text()
        text = replaced(text, "use", f"{self.layout},site-host")
        text = replaced(text, "host_name", self.name)
        text = replaced(text, "address", self.address)
        text = re.sub(r"(?m)^    _KODEKS_LICENSE_EXPIRES.*\n", "", text)
        rows = "".join(f"    {name}  {value}\n" for name, value in self.settings.items())
        return text.replace("\n}\n", f"\n{rows}}}\n", 1) + self.more


def replaced(text: str, directive: str, value: str) -> str:
    """`text` with the first line of a directive set to another value; AssertionError if there is none."""
    changed, count = re.subn(rf"(?m)^(    {directive} +).*$", rf"\g<1>{value}", text, count=1)
    assert count == 1, f"no directive {directive}"
    return changed


@dataclass(frozen=True)
class ServiceStatus:
    """A service as Nagios' status.dat has it. `state` is 0..3, `hard` whether its tries are used up."""

    state: int
    hard: bool
    attempt: int
    checked: bool
    output: str
    long_output: str
    perfdata: str
    last_check: int


def unescaped(text: str) -> str:
    """Long output as it was before Nagios wrote it into a single line of status.dat."""
    return re.sub(r"\\(.)", lambda escape: "\n" if escape[1] == "n" else escape[1], text)


class FakeAgents:
    """A plugin folder whose `check_nrpe` answers what a test has written: for each agent (its port) and command a line and an
    exit code. It writes down every call."""

    _PROGRAM = """\
#!/bin/sh
# The shipped files call it with -H ADDRESS -p PORT ... -c COMMAND.
port=$4
for word; do command=$word; done
echo "$port $command" >> "${0%/*}/calls"
code=0 line="agent OK | key_state=0"
[ ! -e "${0%/*}/$port.$command" ] || { read -r code; IFS= read -r line; } < "${0%/*}/$port.$command"
printf '%s\\n' "$line"
exit "$code"
"""

    def __init__(self) -> None:
        self.folder = open_folder("fake-agents.")
        program = self.folder / "check_nrpe"
        program.write_text(self._PROGRAM)
        program.chmod(0o755)
        (self.folder / "calls").touch()
        (self.folder / "calls").chmod(0o666)

    def __enter__(self) -> FakeAgents:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self.folder)

    def answer(self, port: int, command: str, code: int, line: str) -> None:
        """From now on the agent at this port says so to this command."""
        put(self.folder / f"{port}.{command}", f"{code}\n{line}\n")

    def calls(self, port: int) -> list[str]:
        """The commands that this agent has been asked for."""
        rows = [line.split() for line in (self.folder / "calls").read_text().splitlines()]
        return [row[1] for row in rows if row[0] == str(port)]


class NagiosCore(EngineProcess):
    """The engine. `unit` is how many seconds a minute of the templates lasts; `programs` is where it is installed."""

    def __init__(
        self, sink: NotificationSink, hosts: Sequence[NagiosHost], plugins: Path, unit: int = 1, programs: Folder | None = None
    ) -> None:
        super().__init__("nagios")
        self.programs = programs or folder_of("nagios")
        self.version = self.programs.version_of("nagios")
        self.hosts = tuple(hosts)
        for name in ("rw", "tmp", "spool", "archives", "conf.d"):
            (self.folder / name).mkdir()
        for file in sorted(TEMPLATES.glob("kodeks-*.cfg")):
            (self.folder / "conf.d" / file.name).write_text(file.read_text())
        script = self.folder / "notify_sink.py"
        script.write_text((ROOT / "tests/lab/notify_sink.py").read_text())
        (self.folder / "conf.d/site.cfg").write_text(SITE.format(folder=self.folder, url=sink.url))
        (self.folder / "resource.cfg").write_text(f"$USER1$={plugins}\n")
        (self.folder / "nagios.cfg").write_text(self._main(unit))
        for host in hosts:
            self.write_host(host)
        hand_over(self.folder)

    def _main(self, unit: int) -> str:
        """Debian's nagios.cfg with the lab's paths, and without the example hosts of the package."""
        folder = self.folder
        lab = {
            "log_file": folder / "nagios.log",
            "resource_file": folder / "resource.cfg",
            "object_cache_file": folder / "objects.cache",
            "precached_object_file": folder / "objects.precache",
            "status_file": folder / "status.dat",
            "status_update_interval": 1,
            "nagios_user": ENGINE_USER,
            "nagios_group": ENGINE_USER,
            "command_file": folder / "rw/nagios.cmd",
            "query_socket": folder / "rw/nagios.qh",
            "lock_file": folder / "nagios.lock",
            "temp_file": folder / "nagios.tmp",
            "temp_path": folder / "tmp",
            "check_result_path": folder / "spool",
            "log_archive_path": folder / "archives",
            "log_rotation_method": "n",
            "state_retention_file": folder / "retention.dat",
            "debug_file": folder / "nagios.debug",
            "use_syslog": 0,
            "check_for_updates": 0,
            "enable_environment_macros": 1,
            "allow_empty_hostgroup_assignment": 1,  # what the README asks for
            # Time runs faster here: minutes are `unit` seconds, no check waits for its turn, none is taken from a cache.
            "interval_length": unit,
            "service_inter_check_delay_method": "n",
            "host_inter_check_delay_method": "n",
            "cached_service_check_horizon": 0,
            "service_freshness_check_interval": 1,
            "additional_freshness_latency": 0,
            "cached_host_check_horizon": 0,
        }
        lines = []
        for line in stock(self.programs).splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#") and key not in lab and not value.endswith(("localhost.cfg", "/conf.d")):
                lines.append(line)
        lines += [f"{key}={value}" for key, value in lab.items()]
        return "\n".join([*lines, f"cfg_dir={folder}/conf.d", ""])

    def write_host(self, host: NagiosHost) -> None:
        """Write a host's file, or write it anew; `reload` makes a running Nagios read it."""
        (self.folder / f"conf.d/host-{host.name}.cfg").write_text(host.definition())

    def __enter__(self) -> NagiosCore:
        verified(self.programs, self.folder / "nagios.cfg")
        # Kodeks is not asked around its nightly restart (kodeks-outside-restart): here it is always about noon.
        noon = time.gmtime().tm_hour - 12
        self.start(self.programs.command(BINARY, self.folder / "nagios.cfg"), {"TZ": f"LAB{noon:+d}"})
        self.await_ready(lambda: (self.folder / "status.dat").exists() and self._takes_commands())
        return self

    def _takes_commands(self) -> bool:
        """Whether a process of Nagios reads the command file already; the file is there before it."""
        try:
            os.close(self._open_command_file())
        except OSError:
            return False
        return True

    def _open_command_file(self) -> int:
        """Without a reader the open fails at once instead of hanging."""
        return os.open(self.folder / "rw/nagios.cmd", os.O_WRONLY | os.O_NONBLOCK)

    def reload(self) -> None:
        """Let Nagios read its files again, as `systemctl reload nagios4` does."""
        before = self.log.count("Nagios 4.")
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)
        self.await_ready(lambda: self.log.count("Nagios 4.") > before)

    @property
    def log(self) -> str:
        """nagios.log."""
        file = self.folder / "nagios.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def history(self, host: str) -> str:
        """What nagios.log says about a host."""
        return "\n".join(line for line in self.log.splitlines() if f";{host};" in line or f": {host};" in line)

    def command(self, line: str) -> None:
        """Give Nagios an external command."""
        pipe = self._open_command_file()
        try:
            os.write(pipe, f"[{int(time.time())}] {line}\n".encode())
        finally:
            os.close(pipe)

    def set_license(self, host: str, ends: date) -> None:
        """Nothing to do: the date stands in the machine's kodeks.ini."""

    def retire(self, host: str) -> None:
        """Check a host's services no more."""
        self.command(f"DISABLE_HOST_SVC_CHECKS;{host}")

    def check_now(self, host: str, service: str) -> None:
        """Check a service at once, whatever its schedule."""
        self.command(f"SCHEDULE_FORCED_SVC_CHECK;{host};{service};{int(time.time())}")

    def services(self, host: str) -> dict[str, ServiceStatus]:
        """All services of a host by their description."""
        text = (self.folder / "status.dat").read_text(errors="surrogateescape")
        found = {}
        for body in re.findall(r"(?m)^servicestatus \{\n(.*?)\n\t?\}", text, re.S):
            row = dict(line.strip().split("=", 1) for line in body.splitlines() if "=" in line)
            if row["host_name"] == host:
                found[row["service_description"]] = ServiceStatus(
                    int(row["current_state"]),
                    row["state_type"] == "1",
                    int(row["current_attempt"]),
                    row["has_been_checked"] == "1",
                    row["plugin_output"],
                    unescaped(row["long_plugin_output"]),
                    row["performance_data"],
                    int(row["last_check"]),
                )
        return found

    def wait_state(self, host: str, service: str, state: int, seconds: float, *, hard: bool = True) -> ServiceStatus:
        """Wait until a service has a state; `hard=False` takes the first soft one."""

        def reached() -> bool:
            now = self.services(host)[service]
            return now.checked and now.state == state and (now.hard or not hard)

        await_true(f"{host} {service} has state {state}, it has {self.services(host)[service]}", reached, seconds)
        return self.services(host)[service]

    def wait_output(self, host: str, service: str, long_output: str, seconds: float) -> ServiceStatus:
        """Wait until a service has this long output."""

        def reached() -> bool:
            return self.services(host)[service].long_output == long_output

        await_true(f"{host} {service} has the long output", reached, seconds)
        return self.services(host)[service]

    def wait_all_ok(self, seconds: float = 60) -> None:
        """Wait until every service of every host has been checked and is OK."""
        deadline = time.monotonic() + seconds
        while problems := self._problems():
            assert time.monotonic() < deadline, f"not OK after {seconds:g} s:\n" + "\n".join(problems)
            time.sleep(0.2)

    def _problems(self) -> list[str]:
        return [
            f"{host.name} {name}: {status.output or 'not checked yet'}"
            for host in self.hosts
            for name, status in self.services(host.name).items()
            if status.state != 0 or not status.checked
        ]
