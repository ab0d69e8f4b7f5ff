"""A real Zabbix on loopback: zabbix_server, zabbix_agentd, PostgreSQL and the PHP API, as child processes of the test.

    with BotApi() as bot, ZabbixLab("7.0", user_parameters=["UserParameter=answer,echo 42"]) as lab:
        lab.import_file(ROOT / "templates/zabbix/media_telegram.yaml")
        lab.set_macro("{$TELEGRAM.TOKEN}", bot.token, secret=True)
        lab.notify("Telegram (Kodeks)", ["-1001000000001:7"])        # an action for every problem, recovery, update
        host = lab.add_host("srv-01", templates=["Kodeks license key by Zabbix agent"], macros={"{$KODEKS.INTERVAL}": "1s"})
        lab.wait_for("the first value", lambda: lab.latest(host, "kodeks.state"))

The versions of tests/engines.txt, such as "6.0" and "7.0", behave alike here:
`api` hides the differences of the login, `import_file` those of the import rules. Everything lives in one folder under
the system's temporary folder, listens on 127.0.0.1 or a Unix socket and ends with the context. The processes run as
user zabbix, because PostgreSQL refuses root; so files that the agent shall read must be readable for that user
(`share` copies them to a place that is). Should the test die, the kernel ends them (`setpriv --pdeathsig`).

The database is filled without the official templates, icons and media types ("lean"): a bring-up takes seconds.
Defaults that matter are those of Debian's packages: agent Timeout 3 s, server Timeout 4 s.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from lab.engine_folders import ENGINE_USERS, folder_of, versions_of
from lab.engine_process import answers, open_folder

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = versions_of("zabbix")
USER = "zabbix"
UID = ENGINE_USERS[USER]
AS_USER = ("--reuid", USER, "--regid", USER, "--init-groups")
"""Options of setpriv that give up root."""
SERVER, PROXY, AGENT = "/usr/sbin/zabbix_server", "/usr/sbin/zabbix_proxy", "/usr/sbin/zabbix_agentd"
ADMINISTRATOR, ADMINISTRATOR_PASSWORD = "Admin", "zabbix"  # what the database schema of Zabbix creates
EVERY_SEVERITY = 63

# Tables of data.sql that a server and its API cannot do without; the rest is official templates and media types.
NEEDED_TABLES = frozenset(
    ("role", "role_rule", "users", "usrgrp", "users_groups", "hstgrp", "config", "settings", "module", "graph_theme", "regexps")
    + ("expressions", "globalmacro", "config_autoreg_tls", "ids", "dbversion", "ha_node", "userdirectory", "permission")
    + ("proxy_group",)
)

T = TypeVar("T")


class ApiError(RuntimeError):
    """The Zabbix API refused a call; the text is its own."""


def run_javascript(
    version: str, script: str | Path, value: str | Mapping[str, str], timeout: int = 60
) -> tuple[int, str]:
    """Run a script (its text, or a file) with zabbix_js, the server's engine: (exit code, everything printed, log lines
    included).

    The script finds `value` in its variable of this name; a webhook's parameters, given as a mapping, as JSON. `timeout`
    is that of the media type, 1..60 seconds. Process ids in the output read 0.
    """
    programs = folder_of("zabbix", version)
    folder = open_folder("zabbix-js.")
    try:
        text = script.read_text(encoding="utf-8") if isinstance(script, Path) else script
        (folder / "script.js").write_text(text, encoding="utf-8")
        handed = value if isinstance(value, str) else json.dumps(dict(value), ensure_ascii=False)
        (folder / "value").write_text(handed, encoding="utf-8")
        done = subprocess.run(
            programs.command("/usr/bin/zabbix_js", "-s", folder / "script.js", "-i", folder / "value", "-t", str(timeout), "-l", "3"),
            capture_output=True,
            timeout=timeout + 10,
            check=False,
        )
    finally:
        shutil.rmtree(folder)
    printed = (done.stdout + done.stderr).decode("utf-8", "backslashreplace")
    return done.returncode, re.sub(r"(?m)^zabbix_js \[\d+\]: ", "zabbix_js [0]: ", printed)


def zabbix_port() -> int:
    """A free TCP port that Zabbix accepts: its ListenPort ends at 32767, below the range that the kernel gives out."""
    while True:
        port = random.randrange(20000, 32767)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@dataclass(frozen=True)
class LatestValue:
    """An item as the frontend's "Latest data" shows it; `state` 1 means not supported, for the reason in `error`."""

    value: str
    clock: int
    state: int
    error: str


class ZabbixLab:
    """One running Zabbix; a context manager.

    `agent_timeout`, `server_timeout`: the Timeout settings, seconds. `user_parameters`: configuration lines, or paths
    of files whose contents the agent shall include. `agent_environment` is added to the environment of the agent and
    so of every command it runs (PATH, LD_PRELOAD for an emulated USB bus). `agent_hostname` is what the agent calls
    itself in active checks. `server_options`, `agent_options`: further configuration lines. `marks` holds the seconds
    that each step of the bring-up took.
    """

    def __init__(
        self,
        version: str = "6.0",
        *,
        agent_timeout: int = 3,
        server_timeout: int = 4,
        agent_hostname: str = "lab-host",
        user_parameters: Sequence[str | Path] = (),
        agent_environment: Mapping[str, str] | None = None,
        agent_options: Sequence[str] = (),
        server_options: Sequence[str] = (),
    ) -> None:
        self.programs = folder_of("zabbix", version)
        self.version = version
        self.agent_timeout, self.server_timeout = agent_timeout, server_timeout
        self.agent_hostname = agent_hostname
        self.user_parameters = list(user_parameters)
        self.agent_environment = dict(agent_environment or {})
        self.agent_options, self.server_options = list(agent_options), list(server_options)
        self.marks: dict[str, float] = {}
        self.server_port = self.agent_port = self.web_port = 0
        self.folder = Path()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._session = ""

    # -- life

    def __enter__(self) -> ZabbixLab:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Bring everything up: returns when the server accepts values, the agent answers and the API is logged in."""
        self.folder = open_folder(f"zabbix-{self.version}-lab.")
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        begun = time.monotonic()

        def mark(step: str) -> None:
            self.marks[step] = round(time.monotonic() - begun, 2)

        for name in ("log", "socket", "agent.d", "shared"):
            (self.folder / name).mkdir()
        _give_to_user(self.folder)
        self.server_port, self.agent_port, self.web_port = zabbix_port(), zabbix_port(), zabbix_port()
        self._start_database()
        mark("database up")
        self._load_schema()
        mark("schema loaded")
        self._start_server()
        self.start_agent()
        self._start_frontend()
        self.wait_for("the API", lambda: answers(self.web_port))
        self._session = str(self.api("user.login", {"username": ADMINISTRATOR, "password": ADMINISTRATOR_PASSWORD}))
        mark("API logged in")
        self.wait_for("the server's port", lambda: answers(self.server_port), timeout=60)
        mark("server up")

    def stop(self) -> None:
        """End every process by its id, the server before what it needs, and remove the folder."""
        for name in ("server", "agent", "php", "database"):
            self._end(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        """Start a process of the lab; its output goes to log/NAME.log."""
        fatal = "INT" if name == "database" else "TERM"
        as_user = ("setpriv", "--pdeathsig", fatal, *AS_USER)
        with open(self.folder / f"log/{name}.log", "ab") as log:
            self._processes[name] = subprocess.Popen(
                self.programs.command(*as_user, *command, env=environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=_environment(self.folder),
                start_new_session=True,
            )

    def _end(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        process.send_signal(signal.SIGINT if name == "database" else how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(process.pid, signal.SIGKILL)  # what is left of the group this process led
        except ProcessLookupError:
            pass
        process.wait()

    def log(self, name: str) -> str:
        """What a process printed: "server", "agent", "php" or "database"."""
        return (self.folder / f"log/{name}.log").read_text(encoding="utf-8", errors="replace")

    def wait_for(self, what: str, probe: Callable[[], T], timeout: float = 30, pause: float = 0.1) -> T:
        """Call `probe` until what it returns is true, and return that. AssertionError names `what` after `timeout`
        seconds, or the process of the lab that ended meanwhile."""
        deadline = time.monotonic() + timeout
        while True:
            for name, process in self._processes.items():
                assert process.poll() is None, f"{name} ended with {process.returncode}:\n{self.log(name)[-3000:]}"
            found = probe()
            if found:
                return found
            assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
            time.sleep(pause)

    # -- the parts

    def _start_database(self) -> None:
        """A cluster of our own: Unix socket only, no durability."""
        programs = self._postgresql()
        self._run(
            [programs / "initdb", "-D", self.folder / "pg", "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        )
        quick = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "shared_buffers=64MB"]
        settings = [word for setting in [*quick, "max_connections=60"] for word in ("-c", setting)]
        self._spawn("database", [programs / "postgres", "-D", self.folder / "pg", "-k", self.folder / "socket", *settings])
        ready = self.programs.command(programs / "pg_isready", "-q", "-h", self.folder / "socket", "-d", "postgres")
        self.wait_for("PostgreSQL", lambda: subprocess.run(ready, check=False).returncode == 0, pause=0.05)
        self.sql("create database zabbix", database="postgres")

    def _postgresql(self) -> Path:
        """PostgreSQL's folder of programs."""
        (found,) = self.programs.path("/usr/lib/postgresql").glob("*/bin")
        return "/" / found.relative_to(self.programs.root)

    def _load_schema(self) -> None:
        for name in ("schema.sql", "data.sql"):
            file = self.programs.path("/usr/share/zabbix-server-pgsql") / name
            packed = file.with_name(f"{name}.gz")
            script = gzip.decompress(packed.read_bytes()).decode() if packed.exists() else file.read_text(encoding="utf-8")
            self.sql(_lean(script) if name == "data.sql" else script)

    def sql(self, script: str, database: str = "zabbix") -> str:
        """Run SQL in the database and return what psql prints, fields separated by |."""
        command: list[str | Path] = ["psql", "-h", self.folder / "socket", "-U", USER, "-d", database, "-XAtq", "-v", "ON_ERROR_STOP=1"]
        if database == "zabbix":
            command.append("-1")
        done = subprocess.run(
            self.programs.command(*command),
            input=script.encode(),
            capture_output=True,
            env=_environment(self.folder),
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"psql: {done.stderr.decode(errors='replace')[-1000:]}")
        return done.stdout.decode().strip()

    def _run(self, command: Sequence[str | Path]) -> None:
        program = self.programs.command("setpriv", *AS_USER, *command)
        subprocess.run(program, check=True, env=_environment(self.folder), stdout=subprocess.DEVNULL)

    def _start_server(self) -> None:
        modern = self.version != "6.0"
        few = {"Pollers": 2, "PollersUnreachable": 1, "Trappers": 2, "Pingers": 0, "Discoverers": 0, "HTTPPollers": 0}
        few |= {"Preprocessors": 1, "LLDProcessors": 1, "Escalators": 1, "Alerters": 2, "Timers": 1, "DBSyncers": 1}
        few |= {"HistoryPollers": 1, "ReportWriters": 0}
        if modern:
            few |= {"AgentPollers": 1, "SNMPPollers": 0, "HTTPAgentPollers": 0, "BrowserPollers": 0, "ODBCPollers": 0}
        lines = [
            f"ListenIP=127.0.0.1\nListenPort={self.server_port}\nLogType=console\nDebugLevel=3",
            f"PidFile={self.folder}/server.pid\nSocketDir={self.folder}/socket",
            f"DBHost={self.folder}/socket\nDBName=zabbix\nDBUser={USER}",
            f"Timeout={self.server_timeout}\nCacheUpdateFrequency=1\nHousekeepingFrequency=0",
            "CacheSize=16M\nHistoryCacheSize=4M\nHistoryIndexCacheSize=1M\nTrendCacheSize=1M\nValueCacheSize=4M",
            *(f"Start{name}={count}" for name, count in few.items()),
            *self.server_options,
        ]
        configuration = self.folder / "server.conf"
        configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._spawn("server", [SERVER, "-f", "-c", configuration])

    def _start_frontend(self) -> None:
        """A copy of the frontend, because Debian's has the path of its one configuration file in the code."""
        site = self.folder / "frontend"
        shutil.copytree(self.programs.path("/usr/share/zabbix"), site, symlinks=True, ignore=shutil.ignore_patterns("locale", "COPYING"))
        reader = site / "include/classes/core/CConfigFile.php"
        text = reader.read_text(encoding="utf-8")
        assert "'/etc/zabbix/zabbix.conf.php'" in text, "this frontend reads its configuration from somewhere else"
        reader.write_text(text.replace("'/etc/zabbix/zabbix.conf.php'", "__DIR__.'/../../../zabbix.conf.php'"), encoding="utf-8")
        (site / "zabbix.conf.php").write_text(_frontend_configuration(self.folder / "socket", self.server_port), encoding="utf-8")
        settings = ["memory_limit=256M", "post_max_size=16M", "max_execution_time=300", "max_input_time=300", "date.timezone=UTC"]
        options = [word for setting in [*settings, "opcache.enable_cli=1"] for word in ("-d", setting)]
        self._spawn("php", ["php", *options, "-S", f"127.0.0.1:{self.web_port}", "-t", site])

    # -- the agent

    def start_agent(self) -> None:
        """Start the agent with `user_parameters`, `agent_environment` and `agent_options` as they are now."""
        for number, source in enumerate(self.user_parameters):
            text = source.read_text(encoding="utf-8") if isinstance(source, Path) else source + "\n"
            (self.folder / f"agent.d/{number:02}.conf").write_text(text, encoding="utf-8")
        lines = [
            f"ListenIP=127.0.0.1\nListenPort={self.agent_port}\nLogType=console\nPidFile={self.folder}/agent.pid",
            f"Server=127.0.0.1\nServerActive=127.0.0.1:{self.server_port}\nHostname={self.agent_hostname}",
            f"Timeout={self.agent_timeout}\nStartAgents=3\nInclude={self.folder}/agent.d/*.conf",
            "RefreshActiveChecks=60" if self.version == "6.0" else "RefreshActiveChecks=1",
            *self.agent_options,
        ]
        configuration = self.folder / "agent.conf"
        configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._spawn("agent", [AGENT, "-f", "-c", configuration], self.agent_environment)
        self.wait_for("the agent's port", lambda: answers(self.agent_port))

    def stop_agent(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the agent; SIGKILL: as a crash ends it."""
        self._end("agent", how)

    def restart_agent(self) -> None:
        """Start the agent anew, so that changed settings count."""
        self.stop_agent()
        for old in (self.folder / "agent.d").iterdir():
            old.unlink()
        self.start_agent()

    def ask_agent(self, key: str) -> str:
        """What the agent answers to a passive check, as zabbix_get prints it (an error begins ZBX_NOTSUPPORTED)."""
        command = self.programs.command("/usr/bin/zabbix_get", "-s", "127.0.0.1", "-p", str(self.agent_port), "-k", key)
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.rstrip("\n")

    def share(self, source: Path) -> Path:
        """Copy a file or folder to where the agent's user can read it; returns the copy."""
        copy = self.folder / "shared" / source.name
        if source.is_dir():
            shutil.copytree(source, copy, dirs_exist_ok=True)
        else:
            shutil.copy(source, copy)
        return copy

    # -- the API

    def api(self, method: str, parameters: object = ()) -> Any:
        """Call the JSON-RPC API and return its result; ApiError with the API's own words."""
        call: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        headers = {"Content-Type": "application/json-rpc"}
        if method not in ("apiinfo.version", "user.login"):  # these two must come without a session
            if self.version == "6.0":
                call["auth"] = self._session  # the header is understood since 6.4
            else:
                headers["Authorization"] = f"Bearer {self._session}"
        request = urllib.request.Request(f"{self.frontend_url}/api_jsonrpc.php", json.dumps(call).encode(), headers)
        with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310 (loopback)
            answer = json.load(response)
        if "error" in answer:
            raise ApiError(f"{method}: {answer['error']['message']} {answer['error']['data']}")
        return answer["result"]

    @property
    def frontend_url(self) -> str:
        """Address of the frontend: log in as ADMINISTRATOR with ADMINISTRATOR_PASSWORD."""
        return f"http://127.0.0.1:{self.web_port}"

    def create_api_token(self, user: str | None = None) -> str:
        """A new API token of a user (its id; None: the administrator), as an operator makes one for a webhook."""
        owner = {} if user is None else {"userid": user}
        token = self.api("token.create", [{"name": f"lab {user}", **owner}])["tokenids"]
        return str(self.api("token.generate", token)[0]["token"])

    def import_file(self, path: Path) -> None:
        """Import an exported YAML file with everything created, updated and deleted as the frontend would by default."""
        change = {"createMissing": True, "updateExisting": True}
        replace = {**change, "deleteMissing": True}
        rules: dict[str, object] = dict.fromkeys(("items", "triggers", "valueMaps", "discoveryRules", "graphs"), replace)
        rules |= {"httptests": replace, "templateDashboards": replace, "templates": change, "mediaTypes": change}
        rules["templateLinkage"] = {"createMissing": True, "deleteMissing": True}
        groups = ("groups",) if self.version == "6.0" else ("template_groups", "host_groups")
        rules |= dict.fromkeys(groups, change)
        source = path.read_text(encoding="utf-8")
        self.api("configuration.import", {"format": "yaml", "source": source, "rules": rules})

    def set_macro(self, macro: str, value: str, *, host: str | None = None, secret: bool = False) -> None:
        """Set a user macro, global or of a host (its id); `secret` makes it "Secret text"."""
        fields = {"macro": macro, "value": value, "type": int(secret)}
        if host is None:
            found = self.api("usermacro.get", {"globalmacro": True, "output": ["globalmacroid"], "filter": {"macro": macro}})
            if found:
                self.api("usermacro.updateglobal", {"globalmacroid": found[0]["globalmacroid"], **fields})
            else:
                self.api("usermacro.createglobal", fields)
            return
        found = self.api("usermacro.get", {"hostids": host, "output": ["hostmacroid"], "filter": {"macro": macro}})
        if found:
            self.api("usermacro.update", {"hostmacroid": found[0]["hostmacroid"], **fields})
        else:
            self.api("usermacro.create", {"hostid": host, **fields})

    def add_host(
        self,
        name: str,
        *,
        visible_name: str = "",
        templates: Sequence[str] = (),
        macros: Mapping[str, str] | None = None,
        group: str = "Lab",
        port: int | None = None,
    ) -> str:
        """Create a host with an agent interface and return its id. `templates` by name; `port` another than the agent's."""
        wanted = self.api("template.get", {"filter": {"host": list(templates)}, "output": ["templateid"]}) if templates else []
        if len(wanted) != len(templates):
            raise ValueError(f"not every template of {templates} is imported")
        interface = {"type": 1, "main": 1, "useip": 1, "ip": "127.0.0.1", "dns": "", "port": str(port or self.agent_port)}
        host = {
            "host": name,
            "name": visible_name or name,
            "groups": [{"groupid": self.host_group(group)}],
            "templates": wanted,
            "interfaces": [interface],
            "macros": [{"macro": macro, "value": value} for macro, value in (macros or {}).items()],
        }
        return str(self.api("host.create", host)["hostids"][0])

    def host_group(self, name: str) -> str:
        """The id of a host group, created when it is missing."""
        found = self.api("hostgroup.get", {"filter": {"name": name}, "output": ["groupid"]})
        return str(found[0]["groupid"] if found else self.api("hostgroup.create", {"name": name})["groupids"][0])

    def add_trapper_item(self, host: str, key: str, *, value_type: int = 3) -> str:
        """Create an item that `send` can feed; `value_type` as in the API: 0 float, 3 unsigned, 4 text."""
        item = {"hostid": host, "name": key, "key_": key, "type": 2, "value_type": value_type}
        return str(self.api("item.create", item)["itemids"][0])

    def sync(self, timeout: float = 30) -> None:
        """Return when the server works with everything configured so far: it knows an item made after all that."""
        name = "lab-sync"
        found = self.api("host.get", {"filter": {"host": name}, "output": ["hostid"]})
        host = str(found[0]["hostid"]) if found else self.add_host(name, group="Lab sync")
        key = f"sync.{time.monotonic_ns()}"
        self.add_trapper_item(host, key)
        self.send(name, {key: 1}, timeout)

    def send(self, host_name: str, values: Mapping[str, object], timeout: float = 30) -> None:
        """Send values to trapper items by zabbix_sender, again and again until the server knows the items.

        A trigger made a moment ago may not be known yet: `sync` first."""
        self.send_all([(host_name, key, value) for key, value in values.items()], timeout)

    def send_all(self, values: Sequence[tuple[str, str, object]], timeout: float = 30) -> None:
        """The same for many hosts at once: (host name, key, value)."""
        lines = "".join(f"{_quoted(host)} {_quoted(key)} {_quoted(str(value))}\n" for host, key, value in values)
        command = self.programs.command("/usr/bin/zabbix_sender", "-z", "127.0.0.1", "-p", str(self.server_port), "-i", "-")

        def accepted() -> bool:
            done = subprocess.run(command, input=lines.encode(), capture_output=True, timeout=30, check=False)
            return done.returncode == 0

        self.wait_for(f"the server accepting {values[:3]}", accepted, timeout, pause=0.5)

    def latest(self, host: str, key: str) -> LatestValue | None:
        """The latest value of an item of a host (its id); None when there is none yet and no error either."""
        fields = ["lastvalue", "lastclock", "state", "error"]
        found = self.api("item.get", {"hostids": host, "filter": {"key_": key}, "output": fields})
        if not found:
            raise ValueError(f"host {host} has no item {key}")
        item = LatestValue(found[0]["lastvalue"], int(found[0]["lastclock"]), int(found[0]["state"]), found[0]["error"])
        return item if item.clock or item.state else None

    def problems(self) -> list[str]:
        """Names of the problems open now, oldest first."""
        found = self.api("problem.get", {"output": ["name"], "sortfield": "eventid"})
        return [str(problem["name"]) for problem in found]

    def notify(
        self,
        media_type: str,
        send_to: Sequence[str],
        *,
        group: str = "Lab",
        severities: int = EVERY_SEVERITY,
        step_seconds: int = 3600,
    ) -> str:
        """Create a user on call with this media, one for every address, and an action that uses it for all that happens
        to the hosts of a group: problems (at once), recoveries and updates, with the media type's message templates.
        Once a group. Returns the user's id.

        The user has the "User role", may read this group's hosts and shares a group with the administrator, whose name he
        would else not see in updates. He is not the API's user: Zabbix tells nobody about an update that he made himself.
        """
        found = self.api("mediatype.get", {"filter": {"name": media_type}, "output": ["mediatypeid"]})
        if not found:
            raise ValueError(f"no media type {media_type!r} is imported")
        media = found[0]["mediatypeid"]
        rights = {"rights" if self.version == "6.0" else "hostgroup_rights": [{"id": self.host_group(group), "permission": 2}]}
        readers = self.api("usergroup.create", {"name": f"Readers of {group}", **rights})["usrgrpids"][0]
        colleagues = self.api("usergroup.get", {"filter": {"name": "Zabbix administrators"}, "output": ["usrgrpid"]})
        roles = self.api("role.get", {"filter": {"name": "User role"}, "output": ["roleid"]})
        always = {"mediatypeid": media, "active": 0, "severity": severities, "period": "1-7,00:00-24:00"}
        on_call = {
            "username": f"on-call {group}",
            "passwd": secrets.token_urlsafe(24),
            "roleid": roles[0]["roleid"],
            "usrgrps": [{"usrgrpid": readers}, *colleagues],
            "medias": [{**always, "sendto": address} for address in send_to],
        }
        user = str(self.api("user.create", on_call)["userids"][0])
        message = {"default_msg": 1, "mediatypeid": media}
        first = {"operationtype": 0, "esc_step_from": 1, "esc_step_to": 1, "esc_period": "0"}
        action = {
            "name": f"{group}: {media_type}",
            "eventsource": 0,
            "status": 0,
            "esc_period": f"{step_seconds}s",
            "filter": {"evaltype": 0, "conditions": [{"conditiontype": 0, "operator": 0, "value": self.host_group(group)}]},
            "operations": [{**first, "opmessage": message, "opmessage_usr": [{"userid": user}]}],
            "recovery_operations": [{"operationtype": 11, "opmessage": {"default_msg": 1}}],
            "update_operations": [{"operationtype": 12, "opmessage": {"default_msg": 1}}],
        }
        self.api("action.create", action)
        return user

    def alerts(self) -> list[dict[str, str]]:
        """The notifications so far, oldest first: subject, sendto, status ("1" sent, "2" failed), retries, error."""
        fields = ["subject", "message", "sendto", "status", "retries", "error"]
        found: list[dict[str, str]] = self.api("alert.get", {"output": fields, "sortfield": "alertid"})
        return found


# --- details ----------------------------------------------------------------------------------------------------


def _give_to_user(folder: Path) -> None:
    for path in (folder, *folder.iterdir()):
        os.chown(path, UID, UID)


def _environment(home: Path) -> dict[str, str]:
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(home), "TZ": "UTC"}


def _lean(script: str) -> str:
    """data.sql without the tables that only official content needs; one statement a line, as Zabbix ships it."""
    kept: list[str] = []
    keeping = True
    for line in script.splitlines(keepends=True):
        if line.startswith("INSERT INTO "):
            keeping = line.split(None, 3)[2].strip('"') in NEEDED_TABLES
        elif line.startswith(("START TRANSACTION;", "COMMIT;")):
            continue  # psql -1 makes the transaction
        if keeping:
            kept.append(line)
    return "".join(kept)


def _quoted(text: str) -> str:
    """A field of zabbix_sender's input."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _frontend_configuration(socket_folder: Path, server_port: int) -> str:
    return f"""<?php
$DB = ['TYPE' => 'POSTGRESQL', 'SERVER' => '{socket_folder}', 'PORT' => '0', 'DATABASE' => 'zabbix', 'USER' => '{USER}',
    'PASSWORD' => '', 'SCHEMA' => '', 'ENCRYPTION' => false, 'KEY_FILE' => '', 'CERT_FILE' => '', 'CA_FILE' => '',
    'VERIFY_HOST' => false, 'CIPHER_LIST' => '', 'VAULT' => '', 'VAULT_URL' => '', 'VAULT_PREFIX' => '', 'VAULT_DB_PATH' => '',
    'VAULT_TOKEN' => '', 'DOUBLE_IEEE754' => true];
$ZBX_SERVER = '127.0.0.1';
$ZBX_SERVER_PORT = '{server_port}';
$ZBX_SERVER_NAME = 'lab';
$IMAGE_FORMAT_DEFAULT = IMAGE_FORMAT_PNG;
"""
