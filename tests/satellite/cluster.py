"""A master and satellites as templates/icinga2/README-fleet.md sets them up: its commands and its configuration are run as they stand.

    with Master(sink) as master:
        site = Site("site-042", minute=60)
        master.add_site(site, hosts)
        master.launch()
        with Satellite(site, master, line_port) as satellite: ...

Both start from Debian's /etc/icinga2. What differs from the README: a node lives in a folder of its own and on loopback, so
folders, addresses and ports are replaced; a minute of the templates may be shorter; the API has a user for the lab.
"""

from __future__ import annotations

import re
import shlex
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass

import psutil
from lab.engine_process import await_true, free_port, hand_over
from lab.icinga_lab import API_ACCESS, MASTER, TEMPLATES, IcingaHost, IcingaNode, write_site
from lab.markdown import Page
from lab.notify_sink import NotificationSink

README = Page(TEMPLATES / "README-fleet.md")
EXAMPLE = "site-042"
"""The README's site; another one has another number."""
SATELLITE_SERVICE = "SatelliteStatus"


def block(beginning: str) -> str:
    """The one code block of the README whose first line begins so, without that line."""
    [found] = [fence.content for fence in README.fences if fence.content.startswith(beginning)]
    return found.partition("\n")[2]


def node_commands(beginning: str) -> list[list[str]]:
    """The commands of icinga2 in a block of shell commands, as words."""
    lines = block(beginning).replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("icinga2 ")]


@dataclass(frozen=True)
class Site:
    """A customer. `minute` is how many seconds a minute of the templates lasts on its satellite."""

    zone: str
    minute: int

    @property
    def endpoint(self) -> str:
        """Its satellite."""
        return f"icinga.{self.zone}.example"

    @property
    def agent(self) -> str:
        """The endpoint of its machine that has an agent."""
        return f"kodeks1.{self.zone}.example"


class FleetNode(IcingaNode):
    """A node that starts as Debian's package leaves it. `minute` as in `Site`."""

    def __init__(self, name: str, minute: int) -> None:
        super().__init__(name, free_port())
        shutil.copytree(self.programs.path("/etc/icinga2"), self.folder, symlinks=True, dirs_exist_ok=True)
        self._minute = minute

    def set_up(self, commands: Sequence[Sequence[str]]) -> None:
        """Run these commands of the README, and add what a lab needs."""
        for words in commands:
            own = ["--listen", f"127.0.0.1,{self.port}"] if words[:2] == ["node", "setup"] else []
            self.cli(*words, *own)
        with (self.folder / "constants.conf").open("a") as constants:
            constants.write(f"const KodeksMinute = {self._minute}s\n")
        (self.folder / "features-enabled/lab.conf").write_text(API_ACCESS)

    def join(self, beginning: str, master: Master, parent: str, port: int, site: Site) -> None:
        """Run the commands of the README's block that begins so, which name a parent, and start the daemon."""

        def ours(word: str) -> str:
            if word == "TICKET":
                return master.ticket(self.name)
            word = word.replace("/var/lib/icinga2", str(self.folder / "data")).replace(EXAMPLE, site.zone)
            return re.sub(rf"{re.escape(parent)},5665$", f"127.0.0.1,{port}", word)

        commands = []
        for words in node_commands(beginning):
            if words[:2] == ["pki", "save-cert"]:
                words = ["127.0.0.1" if word.replace(EXAMPLE, site.zone) == parent else str(port) if word == "5665" else word for word in words]
            commands.append([ours(word) for word in words])
        self.set_up(commands)
        self.launch()

    def launch(self) -> None:
        """Start the daemon."""
        hand_over(self.folder)
        self.start(self.command())
        self.await_ready(lambda: self._program_start() > 0)

    def stop(self) -> None:
        """Kill it: an orderly end takes 15 seconds and more, and nothing that it would still write is wanted."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
        super().stop()

    def services_where(self, condition: str) -> list[str]:
        """Services of which this filter of the API is true, as "HOST SERVICE"."""
        rows = self._api("GET", "objects/services", {"filter": condition, "attrs": ["host_name", "name"]})
        return [f"{row['attrs']['host_name']} {row['attrs']['name']}" for row in rows]

    def broken(self) -> list[str]:
        """Services that are CRITICAL with all their tries used up."""
        return self.services_where("service.state == 2 && service.state_type == 1")

    def unwell(self) -> list[str]:
        """Services that are not OK or have not been checked yet."""
        return self.services_where("service.state != 0 || !service.last_check_result")

    def usage(self) -> tuple[float, float, float]:
        """CPU seconds of the daemon so far, its memory now (MiB, PSS), CPU seconds of the programs that it started and that ended."""
        assert self._process is not None
        own = memory = started = 0.0
        top = psutil.Process(self._process.pid)
        for process in (top, *top.children(recursive=True)):
            try:
                if process.name() != "icinga2":
                    continue  # a plugin: counted when it has ended
                spent = process.cpu_times()
                own += spent.user + spent.system
                memory += process.memory_full_info().pss / 2**20
                if not process.children() or all(child.name() != "icinga2" for child in process.children()):
                    started += spent.children_user + spent.children_system  # the one that starts programs for the daemon
            except psutil.Error:
                continue  # it ended meanwhile
        return own, memory, started


class Master(FleetNode):
    """Your master. Its hosts are only those that watch the satellites."""

    def __init__(self, sink: NotificationSink, minute: int) -> None:
        super().__init__(MASTER, minute)
        self._sink = sink

    def __enter__(self) -> Master:
        self.set_up(node_commands("# on the master"))
        shared = self.folder / "zones.d/kodeks"
        shared.mkdir()
        for file in TEMPLATES.glob("kodeks-*.conf"):
            (shared / file.name).write_text(file.read_text())
        write_site(shared / "contacts.conf", self.folder / "notify_sink.py", self._sink)
        (self.folder / "zones.d/master").mkdir()
        return self

    def add_site(self, site: Site, hosts: Sequence[IcingaHost]) -> None:
        """A customer more, before the master is started."""
        with (self.folder / "zones.conf").open("a") as zones:
            zones.write(block("/* /etc/icinga2/zones.conf of the master").replace(EXAMPLE, site.zone))
        watch = block("/* /etc/icinga2/zones.d/master/").replace(EXAMPLE, site.zone)
        (self.folder / f"zones.d/master/{site.zone}.conf").write_text(watch)
        own = self.folder / "zones.d" / site.zone
        own.mkdir()
        for host in hosts:
            (own / f"{host.name}.conf").write_text(host.definition())

    def add_agent(self, site: Site, host: IcingaHost) -> None:
        """A machine of a customer that has an agent, before the master is started."""
        zones = block("/* /etc/icinga2/zones.d/site-042/kodeks1.conf").replace(EXAMPLE, site.zone)
        (self.folder / f"zones.d/{site.zone}/{host.name}.conf").write_text(zones + host.definition())

    def tell(self, contacts: bool) -> None:
        """Whether notifications go out (Icinga's global switch); what becomes hard meanwhile is told neither then nor later."""
        self._api("POST", "objects/icingaapplications/app", {"attrs": {"enable_notifications": contacts}})

    def ticket(self, name: str) -> str:
        """The ticket with which a node gets its certificate."""
        return self.cli("pki", "ticket", "--cn", name).split()[-1]


class Satellite(FleetNode):
    """A customer's satellite. It reaches the master, which runs, at `line_port`, and nobody connects to it."""

    def __init__(self, site: Site, master: Master, line_port: int) -> None:
        super().__init__(site.endpoint, site.minute)
        self.site, self._master, self._line = site, master, line_port

    def __enter__(self) -> Satellite:
        self.join("# on the satellite", self._master, MASTER, self._line, self.site)
        return self

    def await_hosts(self) -> None:
        """Wait until it has its hosts from the master, for which it restarts itself."""
        await_true(f"{self.name} has taken over its hosts", lambda: "are equal to production" in self.log, 90)
        await_true(f"{self.name} is connected", lambda: self._master.is_connected(self.name), 30)

    @property
    def replays(self) -> int:
        """How often it has told the master what it had kept, each time to the end."""
        return self.log.count("Finished sending replay log for endpoint")

    def replay_log_size(self) -> int:
        """Bytes of results that wait for the master."""
        return sum(file.stat().st_size for file in (self.folder / "data/api/log").glob("*"))


class Agent(FleetNode):
    """The agent on a machine of a customer. It reaches the satellite, which runs, and nobody connects to it."""

    def __init__(self, satellite: Satellite, master: Master) -> None:
        super().__init__(satellite.site.agent, satellite.site.minute)
        self._satellite, self._master = satellite, master

    def __enter__(self) -> Agent:
        self.join("# on the Kodeks machine", self._master, self._satellite.name, self._satellite.port, self._satellite.site)
        return self

    def await_commands(self) -> None:
        """Wait until it has the command definitions, for which it restarts itself."""
        await_true(f"{self.name} has the commands", lambda: "are equal to production" in self.log, 60)
        await_true(f"{self.name} is connected", lambda: self._satellite.is_connected(self.name), 30)
