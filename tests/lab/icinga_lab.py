"""The real Icinga 2 on a lab's hosts: a master with the project's own files, and an agent that it sends its checks to.

    with IcingaMaster(sink, ports, plugins) as icinga, IcingaAgent(AGENTS[0], ports, plugins) as agent:
        icinga.await_agent(agent)
        icinga.add_hosts(hosts)
        icinga.reload()
        icinga.wait_all_ok()

The site's own part is what an operator writes too: constants, endpoints and zones, a user, a notification command, the
hosts. Daemons, ITL and the cluster's certificates are Debian's icinga2.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import trustme

from lab.engine_folders import Folder, folder_of
from lab.engine_process import ENGINE_USER, SYSTEM_PATH, EngineProcess, await_true, free_port, hand_over
from lab.notify_sink import MACROS, NotificationSink
from lab.run_check import ROOT

TEMPLATES = ROOT / "templates/icinga2"
BINARY = "/usr/sbin/icinga2"
MASTER = "master.example"
AGENTS = ("agent1.example", "agent2.example")
"""The first serves all machines that keep their agent, the second the one that loses it."""
API_USER, API_PASSWORD = "lab", "invented"

CONSTANTS = """\
const PluginDir = "/usr/lib/nagios/plugins"
const NodeName = "{name}"
const ZoneName = NodeName
const TicketSalt = ""
const KodeksPluginDir = "{plugins}"
const KodeksMinute = {unit}s
object Endpoint "{master}" {{ }}
object Zone "{master}" {{ endpoints = [ "{master}" ] }}
object Zone "global-templates" {{ global = true }}
include <itl>
include <plugins>
object CheckerComponent "checker" {{ }}
object FileLogger "log" {{ severity = "information"; path = "{folder}/log/icinga2.log" }}
object ApiListener "api" {{ bind_host = "127.0.0.1"; bind_port = "{own_port}"; accept_commands = true; accept_config = true }}
"""

# The master connects to its agents, so it has them at once after a reload. If both sides connect, each sync of
# the second connection and the cut of the first one lose checks and results (lib/remote/apilistener.cpp).
AGENT_ZONE = """\
object Endpoint "{agent}" {{ host = "127.0.0.1"; port = "{port}" }}
object Zone "{agent}" {{ endpoints = [ "{agent}" ]; parent = "{master}" }}
"""

API_ACCESS = f'object ApiUser "{API_USER}" {{ password = "{API_PASSWORD}"; permissions = [ "*" ] }}\n'

SITE = """\
object User "oncall" {{ states = [ OK, Warning, Critical, Unknown ]; types = [ Problem, Recovery ] }}
object NotificationCommand "site-notify-service" {{
  command = [ "/usr/bin/python3", "{script}", "{url}" ]
  env = {{ {macros} }}
}}
template Host "site-host" {{ check_command = "passive"; enable_active_checks = false; max_check_attempts = 1 }}
"""
"""The part that is the site's own: a contact, how that is told, a host template."""

ICINGA_MACROS = {
    "NOTIFICATIONTYPE": "$notification.type$",
    "HOSTNAME": "$host.name$",
    "SERVICEDESC": "$service.name$",
    "SERVICESTATE": "$service.state$",
    "SERVICEOUTPUT": "$service.output$",
    "LONGSERVICEOUTPUT": "",
    "SERVICEPERFDATA": "$service.perfdata$",
    "SERVICENOTESURL": "$service.notes_url$",
}
assert set(ICINGA_MACROS) == set(MACROS)


def write_site(file: Path, script: Path, sink: NotificationSink) -> None:
    """The site's own objects, and the program that its notification command runs."""
    script.write_text((ROOT / "tests/lab/notify_sink.py").read_text())
    macros = "; ".join(f'NAGIOS_{name} = "{macro}"' for name, macro in ICINGA_MACROS.items())
    file.write_text(SITE.format(script=script, url=sink.url, macros=macros))


@cache
def _authority() -> trustme.CA:
    return trustme.CA(organization_name="Icinga of the lab")


def write_certificates(folder: Path, name: str) -> None:
    """What `icinga2 pki` leaves in a node's certs folder: the authority's certificate, the node's own, its key."""
    certificate = _authority().issue_cert(name, common_name=name)
    _authority().cert_pem.write_to_path(str(folder / "ca.crt"))
    certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / f"{name}.crt"))


def identity() -> list[str]:
    """Options that make a daemon run as the engine's user."""
    return [f"-DRunAsUser={ENGINE_USER}", f"-DRunAsGroup={ENGINE_USER}"]


@dataclass(frozen=True)
class IcingaHost:
    """A host as an operator writes it: `kodeks` becomes vars.kodeks."""

    name: str
    kodeks: Mapping[str, Any]
    variables: Mapping[str, Any] | None = None

    def definition(self) -> str:
        """The object, as host.conf.example shows it."""
        rows = {"kodeks": self.kodeks, **(self.variables or {})}
        text = "".join(f"  vars.{name} = {literal(value)}\n" for name, value in rows.items())
        return f'object Host "{self.name}" {{\n  import "site-host"\n  address = "127.0.0.1"\n{text}}}\n'


def literal(value: Any) -> str:
    """A value in Icinga's configuration language."""
    if isinstance(value, Mapping):
        return "{ " + "".join(f"{name} = {literal(item)}; " for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[ " + ", ".join(literal(item) for item in value) + " ]"
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class ServiceStatus:
    """A service as the API has it. `state` is 0..3, `hard` whether its tries are used up."""

    state: int
    hard: bool
    attempt: int
    checked: bool
    output: str
    perfdata: tuple[str, ...]
    last_check: float


def cluster_ports() -> dict[str, int]:
    """Where each node of the cluster listens."""
    return {name: free_port() for name in (MASTER, *AGENTS)}


class IcingaNode(EngineProcess):
    """A daemon with its folder, whose layout is that of /etc/icinga2 and /var/lib/icinga2 in one; what it runs on is written by others."""

    def __init__(self, name: str, port: int, programs: Folder | None = None) -> None:
        super().__init__(name)
        self.port = port
        self.programs = programs or folder_of("icinga2")
        for part in ("data/certs", "data/api", "log", "cache", "spool", "run", "zones.d", "conf.d"):
            (self.folder / part).mkdir(parents=True)

    def history(self, host: str) -> str:
        """What icinga2.log says about a host."""
        return "\n".join(line for line in self.log.splitlines() if f"{host}!" in line and "HttpServer" not in line)

    @property
    def options(self) -> list[str]:
        """Options that make every command of icinga2 work in this node's folder, as the engine's user."""
        folders = {
            "DataDir": "data",
            "LogDir": "log",
            "CacheDir": "cache",
            "SpoolDir": "spool",
            "InitRunDir": "run",
            "PidPath": "run/icinga2.pid",
            "ConfigDir": "",
            "ZonesDir": "zones.d",
        }
        return [*identity(), *(f"-D{name}={self.folder / part}" for name, part in folders.items())]

    def command(self, *more: str) -> list[str]:
        """The command line of the daemon."""
        return self.programs.command(BINARY, "daemon", "-c", self.folder / "icinga2.conf", *self.options, *more)

    def cli(self, *words: str) -> str:
        """Run another command of icinga2, such as `pki ticket`, and return what it says; AssertionError if it fails."""
        hand_over(self.folder)
        environment = {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"}
        asked = self.programs.command(BINARY, *words, *self.options)
        done = subprocess.run(asked, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, f"icinga2 {' '.join(words)} exits {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def verify(self) -> str:
        """What `icinga2 daemon -C` says; AssertionError if it finds an error or warns."""
        said = self.cli("daemon", "-c", str(self.folder / "icinga2.conf"), "-C")
        # A rule for a link that no host of this test has is no fault; the API is the lab's own (2.16 gives advice about it).
        allowed = ("does not match anywhere", "warning/ApiListener")
        warnings = [line for line in said.splitlines() if "warning/" in line and not any(text in line for text in allowed)]
        assert not warnings, f"icinga2 -C warns:\n{said}"
        return said

    @property
    def log(self) -> str:
        """icinga2.log."""
        file = self.folder / "log/icinga2.log"
        return file.read_text(errors="replace") if file.exists() else ""

    # ---- the API

    def _api(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask the API, again and again while a reload changes the process behind it."""
        deadline = time.monotonic() + 30
        while True:
            try:
                return self._ask(method, path, body)
            except urllib.error.HTTPError:
                raise
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        headers = {**self._headers(), "X-HTTP-Method-Override": method}
        url = f"https://127.0.0.1:{self.port}/v1/{path}"
        request = urllib.request.Request(url, json.dumps(body or {}).encode(), headers, method="POST")
        https = urllib.request.HTTPSHandler(context=self._trust())
        with urllib.request.build_opener(urllib.request.ProxyHandler({}), https).open(request, timeout=10) as reply:
            return json.load(reply)["results"]

    def _trust(self) -> ssl.SSLContext:
        trust = ssl.create_default_context(cafile=str(self.folder / "data/certs/ca.crt"))
        trust.check_hostname = False
        return trust

    def _headers(self) -> dict[str, str]:
        code = base64.b64encode(f"{API_USER}:{API_PASSWORD}".encode()).decode()
        return {"Authorization": f"Basic {code}", "Accept": "application/json"}

    def _program_start(self) -> float:
        status = self._api("GET", "status/IcingaApplication")[0]["status"]["icingaapplication"]["app"]
        return float(status["program_start"])

    def is_connected(self, endpoint: str) -> bool:
        """Whether an endpoint has a connection to this node."""
        return bool(self._api("GET", f"objects/endpoints/{endpoint}")[0]["attrs"]["connected"])

    def check_all_now(self, condition: str) -> int:
        """Check every service of which this filter of the API is true at once, whatever its schedule; returns their number."""
        return len(self._api("POST", "actions/reschedule-check", {"type": "Service", "filter": condition, "force": True}))

    def open_events(self, kinds: Sequence[str], condition: str) -> http.client.HTTPSConnection:
        """Ask for these events, as they happen, as far as this filter is true of them; the answer's lines are JSON."""
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=None, context=self._trust())
        body = {"queue": f"lab-{os.urandom(4).hex()}", "types": list(kinds), "filter": condition}
        connection.request("POST", "/v1/events", json.dumps(body), self._headers())
        return connection


class LabNode(IcingaNode):
    """A node with a configuration of the lab's own, as small as can be, and a certificate of the lab's authority."""

    def __init__(self, name: str, ports: Mapping[str, int], plugins: Path, unit: int = 1, programs: Folder | None = None) -> None:
        super().__init__(name, ports[name], programs)
        write_certificates(self.folder / "data/certs", name)
        settings = {"name": name, "master": MASTER, "folder": self.folder, "plugins": plugins, "unit": unit}
        main = CONSTANTS.format(**settings, own_port=self.port)
        for agent in AGENTS if name == MASTER else (name,):
            main += AGENT_ZONE.format(agent=agent, port=ports[agent], master=MASTER)
        (self.folder / "icinga2.conf").write_text(main + f'include_recursive "{self.folder}/conf.d"\n')


class IcingaAgent(LabNode):
    """The agent on the Kodeks machines: it runs what the master asks for, by command definitions that the master sends it."""

    def __init__(self, name: str, ports: Mapping[str, int], plugins: Path, programs: Folder | None = None) -> None:
        super().__init__(name, ports, plugins, programs=programs)

    def __enter__(self) -> IcingaAgent:
        self.revive()
        return self

    def revive(self) -> None:
        """Start the agent, for the first time or after `stop`."""
        hand_over(self.folder)
        self.start(self.command())


class IcingaMaster(LabNode):
    """The monitoring server. `unit` is how many seconds a minute of the templates lasts."""

    def __init__(
        self, sink: NotificationSink, ports: Mapping[str, int], plugins: Path, unit: int = 1, programs: Folder | None = None
    ) -> None:
        super().__init__(MASTER, ports, plugins, unit, programs)
        self.hosts: tuple[IcingaHost, ...] = ()
        for file in sorted(TEMPLATES.glob("kodeks-*.conf")):
            zone = "global-templates" if file.name == "kodeks-commands.conf" else MASTER
            (self.folder / "zones.d" / zone).mkdir(exist_ok=True)
            (self.folder / "zones.d" / zone / file.name).write_text(file.read_text())
        write_site(self.folder / "conf.d/site.conf", self.folder / "notify_sink.py", sink)
        (self.folder / "conf.d/features.conf").write_text('object NotificationComponent "notification" { }\n' + API_ACCESS)

    def add_hosts(self, hosts: Sequence[IcingaHost]) -> None:
        """Write the hosts' files; `reload` makes a running Icinga read them."""
        self.hosts += tuple(hosts)
        for host in hosts:
            (self.folder / f"zones.d/{MASTER}/host-{host.name}.conf").write_text(host.definition())

    def __enter__(self) -> IcingaMaster:
        self.verify()
        self.start(self.command())
        self.await_ready(lambda: self._program_start() > 0)
        return self

    def reload(self) -> None:
        """Let Icinga read its files again, as `systemctl reload icinga2` does; its agents are back afterwards, too.

        A check that it sends to an agent while it is still syncing with it is dropped without a word and sent again 30
        seconds after the check's limit (SyncSendMessage in lib/remote/apilistener.cpp, ExecuteCheck in
        lib/icinga/checkable-check.cpp, 2.13.6 and 2.14.6).
        """
        starts, agents = self._starts(), [name for name in AGENTS if self.is_connected(name)]
        umbrella = int((self.folder / "run/icinga2.pid").read_text())
        os.kill(umbrella, signal.SIGHUP)
        await_true("icinga2 is back after its reload", lambda: len(self._starts()) > len(starts), 30)
        await_true("its agents are back", lambda: all(f"Finished syncing endpoint '{name}'" in self._starts()[-1] for name in agents), 30)

    def _starts(self) -> list[str]:
        """What the log says from each start of the process to the next."""
        return self.log.split("'api' started.")[1:]

    def await_agent(self, agent: IcingaAgent) -> None:
        """Wait until a new agent has the command definitions: it takes them over and restarts itself."""
        await_true("the agent has taken over the commands", lambda: "are equal to production" in agent.console, 30)
        await_true("the agent is connected", lambda: self.is_connected(agent.name), 30)

    def set_license(self, host: str, ends: date) -> None:
        """Set the date in the services of a host, as the API or the Director does; an edited file needs a reload."""
        body = {
            "filter": f'host.name == "{host}" && match("UsbForwarder*", service.name)',
            "attrs": {"vars.usb_redirector_license_expires": ends.isoformat()},
        }
        self._api("POST", "objects/services", body)

    def retire(self, host: str) -> None:
        """Check a host's services no more."""
        body = {"filter": f'host.name == "{host}"', "attrs": {"enable_active_checks": False}}
        self._api("POST", "objects/services", body)

    def check_now(self, host: str, service: str) -> None:
        """Check a service at once, whatever its schedule."""
        name = urllib.parse.quote(f"{host}!{service}", safe="")
        self._api("POST", f"actions/reschedule-check?service={name}", {"force": True})

    def services(self, host: str) -> dict[str, ServiceStatus]:
        """All services of a host by their name."""
        found = {}
        for item in self._api("GET", "objects/services", {"filter": f'host.name == "{host}"'}):
            row = item["attrs"]
            result = row["last_check_result"]
            found[row["name"]] = ServiceStatus(
                int(row["state"]),
                row["state_type"] == 1,
                int(row["check_attempt"]),
                result is not None,
                result["output"] if result else "",
                tuple(result["performance_data"] or ()) if result else (),
                float(row["last_check"]),
            )
        return found

    def wait_state(self, host: str, service: str, state: int, seconds: float, *, hard: bool = True) -> ServiceStatus:
        """Wait until a service has a state; `hard=False` takes the first soft one."""

        def reached() -> bool:
            now = self.services(host)[service]
            return now.checked and now.state == state and (now.hard or not hard)

        await_true(f"{host} {service} has state {state}, it has {self.services(host)[service]}", reached, seconds)
        return self.services(host)[service]

    def wait_all_ok(self, seconds: float = 60) -> None:
        """Wait until every service of every host has been checked and is OK. Icinga spreads first checks: here it does not."""
        self.check_all_now("true")
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
