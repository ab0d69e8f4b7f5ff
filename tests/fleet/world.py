"""The whole: server, API, chat, line, proxy, a thousand agents. `FleetWorld` is what the test and the measurement play on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import psutil
from lab.bot_api import BotApi
from lab.media_type import TELEGRAM_YAML, MediaType
from lab.world import World
from lab.zabbix_lab import ZabbixLab

from fleet import books
from fleet.agents import Fleet
from fleet.site import GROUP, SERVER_OPTIONS, Pace, SiteProxy, add_hosts

CHAT = -1001000000001  # a supergroup: at most 20 messages a minute
WATCHED = ("zabbix_server", "zabbix_proxy", "postgres", "php")


@dataclass(frozen=True)
class Usage:
    """CPU seconds used so far and resident memory, MiB (PSS: shared pages counted once), of each program."""

    at: float
    cpu: Mapping[str, float]
    memory: Mapping[str, float]

    @classmethod
    def now(cls) -> Usage:
        """Of the children of this process."""
        cpu, memory = dict.fromkeys(WATCHED, 0.0), dict.fromkeys(WATCHED, 0.0)
        for process in psutil.Process().children(recursive=True):
            try:
                name = process.name()
                if name in cpu:
                    spent = process.cpu_times()
                    cpu[name] += spent.user + spent.system + spent.children_user * (name == "postgres")
                    memory[name] += process.memory_full_info().pss / 2**20
            except psutil.Error:
                continue  # it ended meanwhile
        return cls(time.time(), cpu, memory)

    def since(self, before: Usage) -> str:
        """What was used between, CPU in percent of one core."""
        wall = self.at - before.at
        parts = [f"{name} {100 * (self.cpu[name] - before.cpu[name]) / wall:.0f} % {self.memory[name]:.0f} MiB" for name in self.cpu]
        return f"over {wall:.0f} s: " + ", ".join(parts)


class FleetWorld(World):
    """Everything running; a context manager. `paces` are the hosts (see `fleet.site.Pace`), `names` theirs by pace.

    Telegram keeps its limits: one message a second, 20 a minute in the group. `calm` returns once every host has values.
    """

    def __init__(self, paces: Mapping[str, Pace], start_within: float) -> None:
        super().__init__()
        self.paces, self.start_within = paces, start_within
        self.cut_from = self.cut_to = 0.0
        self.problems_during_cut = 0

    def _start(self) -> None:
        self.bot = self._stack.enter_context(BotApi(rate_limits=True))
        self.bot.add_chat(CHAT)
        self.lab = self._stack.enter_context(ZabbixLab("7.0", server_options=SERVER_OPTIONS))
        self.lab.stop_agent()  # the agents of this world are our own
        self.lab.import_file(TELEGRAM_YAML)
        self.lab.set_macro("{$TELEGRAM.TOKEN}", self.bot.token, secret=True)
        self.lab.set_macro("{$TELEGRAM.URL}", self.bot.url)
        self.lab.set_macro("{$ZABBIX.URL}", self.lab.frontend_url)
        self.lab.set_macro("{$TELEGRAM.ZABBIX.TOKEN}", self.lab.create_api_token(), secret=True)
        self.lab.notify(MediaType.read().name, [str(CHAT)], group=GROUP)
        self.names = add_hosts(self.lab, self.paces, "site-1")
        self.hosts = [host for names in self.names.values() for host in names]
        self.fleet = Fleet(self.lab.server_port)
        self._stack.callback(self.fleet.close)
        self.proxy = self._stack.enter_context(SiteProxy(self.lab, "site-1", self.fleet.link.port))
        self.fleet.start(self.hosts, self.proxy.port, self.start_within)

    def calm(self, timeout: float) -> None:
        """Wait until every state item of every host has a value."""
        keys = ", ".join(f"'{key}'" for key in books.STATE_ITEMS.values())
        query = f"select count(distinct itemid) from history_uint join items using (itemid) where key_ in ({keys})"
        expected = len(books.STATE_ITEMS) * len(self.hosts)
        self.wait("a value of every item", lambda: int(self.lab.sql(query)) == expected, timeout)

    def cut_off(self, seconds: float) -> None:
        """Cut the proxy off from the server for a while; `cut_from`, `cut_to` and `problems_during_cut` tell of it."""
        self.fleet.cut_line()
        self.cut_from = time.time()
        time.sleep(seconds)
        self.problems_during_cut = books.problem_count(self.lab)
        self.cut_to = time.time()
        self.fleet.restore_line()

    def problems_reach(self, count: int, timeout: float) -> float:
        """Wait until there have been so many problems."""
        return self.wait(f"{count} problems", lambda: books.problem_count(self.lab) >= count, timeout)

    def told(self, kind: str, count: int, timeout: float) -> float:
        """Wait until the chat tells so many and Zabbix has nothing left to send."""

        def done() -> bool:
            return books.told(self.bot)[kind] >= count and not books.notifications(self.lab)["waiting"]

        return self.wait(f"{count} {kind} told", done, timeout)

    def settle(self, timeout: float) -> None:
        """Let the agents stop and everything that is under way arrive."""
        self.fleet.stop_measuring()
        self.wait("every value stored", lambda: books.stored_count(self.lab) >= self.fleet.samples, timeout)

    def state(self) -> str:
        """Where things stand, for a failure."""
        return (
            f"{self.fleet.samples} values measured, {books.stored_count(self.lab)} stored, {books.problem_count(self.lab)} problems,"
            f" chat {dict(books.told(self.bot))} in {len(self.bot.messages)} messages, notifications {dict(books.notifications(self.lab))},"
            f" failures {self.fleet.failures()[-3:]}\nproxy: {self.proxy.log[-800:]}\nserver: {self.lab.log('server')[-800:]}"
        )
