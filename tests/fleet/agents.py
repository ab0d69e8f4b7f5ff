"""Simulated Zabbix agents in active mode: one of them is what a customer's Kodeks machine shows of itself.

    fleet = Fleet(hosts, proxy_port)
    fleet.start(within=10)                       # each agent asks for its checks, runs them, sends what they say
    fleet.lose_keys(fleet.hosts[:200], within=10)

The protocol is that of agent 7.0 (Zabbix manual, "Zabbix agent 2 protocol", active checks): a connection a message, a
session and a growing id in every value, values kept until the server or proxy has confirmed them, at most 5 seconds
old when they are sent (BufferSend). What is asked, and how often, comes from the proxy and so from the template.

What an agent answers was printed by the real checks (`plugin_lines`); only figures that differ from machine to machine
are varied. Each agent keeps a ledger of every value it has measured, to be compared with what the server has stored.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import struct
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.evening import Evening
from lab.run_check import run_check

from fleet.link import Link, LoopThread

BUFFER_SEND = 5.0  # seconds, an agent's default
VERSION = {"version": "7.0.9", "variant": 1}
REFRESH = 2.0  # seconds between questions for checks while there are none
WELL, LOST = "all well", "key pulled"
"""Scenes of the evening that agents play."""

CHECKS_BY_KEY = {"kodeks.forwarder": "usb_redirector", "kodeks.key": "senselock", "kodeks.server": "kodeks_xml"}
LICENSE_MANAGER = "net.tcp.service"  # an item of the agent itself; no license manager is watched on these hosts
STATES = {
    WELL: {"kodeks.forwarder": 0, "kodeks.key": 0, "kodeks.server": 0, LICENSE_MANAGER: 4},
    LOST: {"kodeks.forwarder": 7, "kodeks.key": 2, "kodeks.server": 2, LICENSE_MANAGER: 4},
}
"""What the template makes of each answer (its value map): 0 OK, 2 CRITICAL, 4 not watched, 7 key not offered."""


def plugin_lines() -> dict[str, dict[str, str]]:
    """What the real checks print in each scene: scene, item key without parameters, output."""
    lines: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder, Evening(Path(folder)) as evening:
        for scene in (WELL, LOST):
            evening.play(scene)
            lines[scene] = {
                key: run_check(check, *evening.arguments(check), env=evening.env).text.rstrip("\n")
                for key, check in CHECKS_BY_KEY.items()
            }
            lines[scene][LICENSE_MANAGER] = "0"
    return lines


def varied(line: str, chance: random.Random) -> str:
    """The line as another machine would print it, as far as perfdata goes: another license date, another time to answer."""
    line = re.sub(r"\blicense_days=\d+", f"license_days={chance.randint(40, 700)}", line)
    return re.sub(r"\btime=[\d.]+s", f"time={chance.uniform(0.02, 0.9):.3f}s", line)


@dataclass(frozen=True)
class Check:
    """One check that the proxy wants from an agent: item, its key without parameters, seconds between two values."""

    item_id: int
    key: str
    delay: float


@dataclass(frozen=True)
class Sample:
    """One value as it was measured: seconds, nanoseconds, item key without parameters, the state it stands for."""

    clock: int
    ns: int
    key: str
    state: int


def seconds(delay: object) -> float:
    """An interval as a proxy writes it: 30, "30" or "30s", "1m"."""
    number, unit = re.fullmatch(r"(\d+)([smh]?)", str(delay)).groups()  # type: ignore[union-attr]  # else this is no Zabbix
    return float(number) * {"": 1, "s": 1, "m": 60, "h": 3600}[unit]


def frame(document: Mapping[str, Any]) -> bytes:
    """A message of the Zabbix protocol."""
    body = json.dumps(document, ensure_ascii=False).encode()
    return b"ZBXD\x01" + struct.pack("<II", len(body), 0) + body


async def ask(port: int, document: Mapping[str, Any]) -> dict[str, Any]:
    """Send a request to a port of 127.0.0.1 and return the answer; OSError or ValueError without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(frame(document))
        await writer.drain()
        raw = await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()
    if not raw.startswith(b"ZBXD"):
        raise ValueError(f"no answer of Zabbix: {raw[:100]!r}")
    answer: dict[str, Any] = json.loads(raw[13:])
    return answer


@dataclass
class Agent:
    """One machine. `scene` is what happens to it; `ledger` every value it measured; `refusals` what went wrong in
    sending (values are kept and sent again)."""

    name: str
    port: int
    scene: str = WELL
    lost_at: float = 0.0
    ledger: list[Sample] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    stopping: bool = False
    lines: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.name)
        self._session = f"{self._chance.getrandbits(128):032x}"
        self._buffer: list[dict[str, Any]] = []
        self._next_id = 1
        self._sent_at = 0.0

    @property
    def waiting(self) -> int:
        """Values measured and not yet confirmed."""
        return len(self._buffer)

    async def run(self, delay: float) -> None:
        """Live, from `delay` seconds from now until `stopping`; what is in the buffer then is still sent."""
        await asyncio.sleep(delay)
        due = dict.fromkeys(await self._fetch_checks(), time.time())
        while not self.stopping:
            now = time.time()
            for check, moment in due.items():
                if moment <= now:
                    self._measure(check)
                    due[check] = moment + check.delay
            if now - self._sent_at >= BUFFER_SEND:
                await self._send()
            wake = min(*due.values(), self._sent_at + BUFFER_SEND if self._buffer else now + 1.0, now + 1.0)
            await asyncio.sleep(max(0.05, wake - time.time()))
        while self._buffer:
            await self._send()
            await asyncio.sleep(1.0 if self._buffer else 0)

    async def _fetch_checks(self) -> list[Check]:
        """The checks of this host, once the proxy knows them."""
        question = {"request": "active checks", "host": self.name, **VERSION}
        while True:
            try:
                answer = await ask(self.port, question)
            except (OSError, ValueError) as error:
                self.refusals.append(str(error))
                answer = {}
            if answer.get("data"):
                return [Check(check["itemid"], check["key"].partition("[")[0], seconds(check["delay"])) for check in answer["data"]]
            await asyncio.sleep(REFRESH)

    def _measure(self, check: Check) -> None:
        clock, ns = divmod(time.time_ns(), 1_000_000_000)
        scene = self.scene
        value = varied(self.lines[scene][check.key], self._chance)
        self._buffer.append({"itemid": check.item_id, "value": value, "id": self._next_id, "clock": clock, "ns": ns})
        self._next_id += 1
        self.ledger.append(Sample(clock, ns, check.key, STATES[scene][check.key]))

    async def _send(self) -> None:
        """Send the buffer; what is confirmed leaves it."""
        batch = list(self._buffer)
        self._sent_at = time.time()
        if not batch:
            return
        message = {"request": "agent data", "session": self._session, "host": self.name, **VERSION, "data": batch}
        try:
            answer = await ask(self.port, message)
        except (OSError, ValueError) as error:
            self.refusals.append(str(error))
            return
        if answer.get("response") != "success" or f"failed: 0; total: {len(batch)};" not in str(answer.get("info")):
            self.refusals.append(str(answer))
            return
        del self._buffer[: len(batch)]


class Fleet:
    """All agents, and the line behind their proxy, in one event loop of a thread of its own."""

    def __init__(self, server_port: int) -> None:
        self.agents: dict[str, Agent] = {}
        self._running: list[Future[None]] = []
        self._thread = LoopThread()
        self.link = self._thread.do(self._make_link(server_port))

    async def _make_link(self, server_port: int) -> Link:
        link = Link(server_port)
        await link.start()
        return link

    def start(self, hosts: Sequence[str], proxy_port: int, within: float) -> None:
        """Start an agent for each host, evenly within so many seconds."""
        lines = plugin_lines()
        for number, host in enumerate(hosts):
            agent = self.agents[host] = Agent(host, proxy_port, lines=lines)
            work = agent.run(within * number / len(hosts))
            self._running.append(asyncio.run_coroutine_threadsafe(work, self._thread.loop))

    def failures(self) -> list[str]:
        """Agents that died, which a simulated one must not; and what refused values, which no test wants."""
        ended = [running.exception() for running in self._running if running.done() and not running.cancelled()]
        return [repr(error) for error in ended if error] + [word for agent in self.agents.values() for word in agent.refusals]

    @property
    def samples(self) -> int:
        """Values measured so far by all agents."""
        return sum(len(agent.ledger) for agent in self.agents.values())

    def play(self, scene: str, hosts: Sequence[str], within: float = 0.0) -> None:
        """Change the scene of these hosts, evenly within so many seconds; returns when it has changed everywhere."""
        begun = time.time()
        for number, host in enumerate(hosts):
            time.sleep(max(0.0, begun + within * number / len(hosts) - time.time()))
            self.agents[host].scene = scene
            self.agents[host].lost_at = time.time() if scene == LOST else 0.0

    def cut_line(self) -> None:
        """Cut the proxy off from the server; see `fleet.link`."""
        self._thread.do(self.link.cut())

    def restore_line(self) -> None:
        """The proxy reaches the server again."""
        self._thread.do(self.link.restore())

    def stop_measuring(self) -> None:
        """No agent measures any more; returns when every value has been confirmed."""
        for agent in self.agents.values():
            agent.stopping = True
        for running in self._running:
            running.result(60)

    def close(self) -> None:
        """End the agents and the line."""
        for running in self._running:
            running.cancel()
        self._thread.do(self.link.stop())
        self._thread.close()
