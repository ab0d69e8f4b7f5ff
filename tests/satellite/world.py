"""The whole: a master, a line and a satellite for each site, the machines. The test and the measurement play on it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass

from fleet.link import LoopThread, Relay
from fleet.world import Usage
from lab.icinga_lab import IcingaHost
from lab.kodeks_machine import KodeksMachine
from lab.notify_sink import NotificationSink
from lab.world import World

from satellite import books
from satellite.books import Ledger, Result
from satellite.cluster import SATELLITE_SERVICE, Agent, FleetNode, Master, Satellite, Site
from satellite.recorded import FORWARDED, LOCAL, Recorded


@dataclass(frozen=True)
class Customer:
    """So many hosts in a zone; how many seconds a minute of the templates lasts there; whether there is one host more, which
    has an agent and the real plugins."""

    hosts: int
    minute: int
    agent: bool = False


def definition(name: str, kind: str, plugins: str) -> IcingaHost:
    """A machine as host.conf.example shows it, but without an agent: the satellite runs the checks."""
    kodeks: dict[str, object] = {
        "key": {"location": kind},
        "server": {"port": 80, "logname": "smartlogin", "password_file": "/etc/icinga2/kodeks.password"},
        "notification": {"command": "site-notify-service", "users": ["oncall"]},
    }
    if kind == FORWARDED:
        kodeks["forwarder"] = {
            "product": "usb-redirector",
            "license_expires": "perpetual",
            "side": "client",
            "device": "0471:485d",
            "process": "usbsrvd",
            "hostname": "192.0.2.20",
        }
    return IcingaHost(name, kodeks, {"kodeks_plugin_dir": plugins})


class SatelliteWorld(World):
    """Everything running; a context manager. `customers` by zone; `names` are their hosts, every second key forwarded.

    Nobody is told anything until `calm`, which returns once every service of every host has been checked and is OK; the books
    begin there. `minute`: of the master, which watches the satellites.
    """

    def __init__(self, customers: Mapping[str, Customer], minute: int) -> None:
        super().__init__()
        self.customers, self.minute = customers, minute
        self.names = {zone: [f"{zone}-kodeks-{n:04}" for n in range(1, row.hosts + 1)] for zone, row in customers.items()}
        self.lines: dict[str, Relay] = {}
        self.satellites: dict[str, Satellite] = {}
        self.real: dict[str, KodeksMachine] = {}
        self.ledgers: dict[str, Ledger] = {}
        self.outages: list[tuple[float, float]] = []
        self._broken: dict[str, float] = {}
        self.begun = self.horizon = 0.0

    def _start(self) -> None:
        self.sink = self._stack.enter_context(NotificationSink())
        self._loop = LoopThread()
        self._stack.callback(self._loop.close)
        self.machines, self.master = Recorded(), Master(self.sink, self.minute)
        self._enter_together(self.machines, self.master)  # certificates take seconds
        sites = [Site(zone, row.minute) for zone, row in self.customers.items()]
        for site in sites:
            for number, name in enumerate(self.names[site.zone]):
                self.machines.add(name, FORWARDED if number % 2 else LOCAL)
            hosts = [definition(name, self.machines.kinds[name], str(self.machines.plugins(name))) for name in self.names[site.zone]]
            self.master.add_site(site, hosts)
            if self.customers[site.zone].agent:
                machine = self.real[site.zone] = self._stack.enter_context(KodeksMachine(f"{site.zone}-kodeks-real", LOCAL, self.master.programs))
                kodeks = {"agent": site.agent, "key": True, "notification": {"command": "site-notify-service", "users": ["oncall"]}}
                self.master.add_agent(site, IcingaHost(machine.name, kodeks, {"kodeks_plugin_dir": str(machine.emulated)}))
        self.master.verify()
        self.master.launch()
        self.master.tell(False)  # of satellites and agents that are not there yet; `calm` ends it
        for site in sites:
            line = self.lines[site.zone] = Relay(self.master.port)
            self._loop.do(line.start())
            self._stack.callback(self.cut, site.zone)
            self.satellites[site.zone] = Satellite(site, self.master, line.port)
        self._enter_together(*self.satellites.values())
        for satellite in self.satellites.values():
            satellite.await_hosts()
        self._agents = [Agent(self.satellites[zone], self.master) for zone in self.real]
        self._enter_together(*self._agents)

    def _enter_together(self, *managers: AbstractContextManager[object]) -> None:
        for manager in managers:
            self._stack.push(manager)
        with ThreadPoolExecutor() as pool:
            for entering in [pool.submit(manager.__enter__) for manager in managers]:
                entering.result()

    def _listen(self) -> None:
        self.ledgers["master"] = self._stack.enter_context(Ledger(self.master, self.customers))
        for zone, satellite in self.satellites.items():
            self.ledgers[zone] = self._stack.enter_context(Ledger(satellite, [zone]))
        self.begun = time.time()  # from here on every book has every result

    def calm(self, timeout: float, at_once: bool = False) -> None:
        """Wait until the master has all services, checked and OK; `at_once` does not leave the first checks to the schedule,
        and so the later ones do not spread over the minute as they should."""
        for satellite in self.satellites.values() if at_once else ():
            satellite.check_all_now("true")
        for agent in self._agents:
            agent.await_commands()
        for zone, machine in self.real.items():
            self.satellites[zone].check_all_now(f'host.name == "{machine.name}"')
        self.master.check_all_now(f'service.name == "{SATELLITE_SERVICE}"')
        self.wait("every service checked and OK", lambda: not self.master.unwell(), timeout, 1.0)
        assert not self.sink.received, f"told while nobody was to be told: {self.sink.received}"
        self.master.tell(True)
        self._listen()

    def told(self, word: str, count: int, timeout: float) -> float:
        """Wait until so many messages about hosts of customers have come."""
        return self.wait(f"{count} {word}", lambda: self.heard(word) >= count, timeout)

    def heard(self, word: str) -> int:
        """Messages about customers' hosts, satellites not counted."""
        return sum(books.count(self.sink, word, f"{zone}-") for zone in self.customers)

    def cut(self, zone: str) -> None:
        """Break the line of a customer: connections are reset and refused."""
        self._broken.setdefault(zone, time.time())
        self._loop.do(self.lines[zone].cut())

    def silence(self, zone: str) -> None:
        """Break the line of a customer so that nobody is told: what is sent is lost."""
        self._broken[zone] = time.time()
        self._loop.do(self.lines[zone].die())

    def restore(self, zone: str) -> float:
        """The line is back; returns when the satellite has told everything it kept."""
        satellite, before = self.satellites[zone], self.satellites[zone].replays
        self._loop.do(self.lines[zone].restore())
        replayed = self.wait(f"{satellite.name} has replayed its log", lambda: satellite.replays > before, 60, 0.1)
        self.outages.append((self._broken.pop(zone) - 2.0, replayed + 2.0))
        return replayed

    def settle(self, timeout: float) -> None:
        """Close the books: wait until everything from before this moment is in them."""
        self.horizon = time.time()
        for zone, satellite in self.satellites.items():
            satellite.check_all_now(f'host.name == "{self.names[zone][0]}"')

        def arrived() -> bool:
            return all(
                any(result.ended > self.horizon and result.service.startswith(f"{zone}-") for result in self.ledgers[node].results[-5000:])
                for zone in self.customers
                for node in ("master", zone)
            )

        self.wait("results from after the end in every book", arrived, timeout)
        time.sleep(2.0)  # events come in bursts

    def differences(self) -> list[str]:
        """What the master's book of results has against those of the satellites, but for what `lost_in_outages` counts."""
        missing = [result for result in self._missing() if not any(begun <= result.ended <= ended for begun, ended in self.outages)]
        words = [f"{len(missing)} results missing, for example {missing[0]}"] if missing else []
        doubled = Counter(map(str, self._book("master"))) - Counter(str(r) for zone in self.customers for r in self._book(zone))
        words += [f"{doubled.total()} results too many, for example {next(iter(doubled))}"] if doubled else []
        return words + books.disorder(self.ledgers["master"])

    def lost_in_outages(self) -> list[tuple[int, int]]:
        """For each outage, how many results were measured from the break to the end of the replay, and how many never arrived."""
        missing, taken = self._missing(), [result for zone in self.customers for result in self._book(zone)]
        return [
            (sum(begun <= result.ended <= ended for result in taken), sum(begun <= result.ended <= ended for result in missing))
            for begun, ended in self.outages
        ]

    def _missing(self) -> list[Result]:
        arrived = set(self._book("master"))
        return [result for zone in self.customers for result in self._book(zone) if result not in arrived]

    def _book(self, node: str) -> list[Result]:
        return [result for result in self.ledgers[node].results if self.begun <= result.ended <= self.horizon]

    def usage(self) -> Usage:
        """CPU and memory of each daemon, and CPU of what each starts."""
        cpu: dict[str, float] = {}
        memory: dict[str, float] = {}
        nodes: dict[str, tuple[FleetNode, str]] = {"master": (self.master, "messages")}
        nodes.update({zone: (satellite, "checks") for zone, satellite in self.satellites.items()})
        for title, (node, work) in nodes.items():
            cpu[title], memory[title], cpu[f"{title}'s {work}"] = node.usage()
            memory[f"{title}'s {work}"] = 0.0
        return Usage(time.time(), cpu, memory)

    def state(self) -> str:
        """Where things stand, for a failure."""
        words = {word: self.heard(word) for word in ("FIRING", "RESOLVED", "WARNING")}
        kept = {name: len(ledger.results) for name, ledger in self.ledgers.items()}
        logs = "\n".join(f"{node.name}: {node.console[-600:]}" for node in (self.master, *self.satellites.values()))
        return f"messages {words}, results {kept}, not OK: {self.master.unwell()[:5]}\n{logs}"


