"""What came of the agents' values, read from the server's database and the chat, and compared with what was sent.

Each function returns differences in words; an empty list means that nothing was lost, doubled or invented.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

from lab.bot_api import BotApi
from lab.zabbix_lab import ZabbixLab

from fleet.agents import LICENSE_MANAGER, Fleet

STATE_ITEMS = {
    "kodeks.forwarder": "kodeks.forwarder.state",
    "kodeks.key": "kodeks.key.state",
    "kodeks.server": "kodeks.server.state",
    LICENSE_MANAGER: "kodeks.licman.state",
}
"""The dependent item that must hold one value for every value of the item that the agent sends."""

KEY_LOST = "SenseLockKeyStatus"
"""The alert of a lost key: tag `alert` of the template's trigger."""

_DIGEST = re.compile(r"DIGEST: (.+)")


def compare(what: str, wanted: Counter[str], found: Counter[str]) -> list[str]:
    """What is missing and what is too many, in words."""
    lost, doubled = wanted - found, found - wanted
    words = [f"{count} {what} missing, for example {next(iter(lost))}" for count in [lost.total()] if count]
    return words + [f"{count} {what} too many, for example {next(iter(doubled))}" for count in [doubled.total()] if count]


def values(lab: ZabbixLab, fleet: Fleet) -> list[str]:
    """Every value measured by any agent, its time to the nanosecond and the state the template made of it: stored once?"""
    wanted = Counter(
        f"{agent.name}|{STATE_ITEMS[sample.key]}|{sample.clock}|{sample.ns}|{sample.state}"
        for agent in fleet.agents.values()
        for sample in agent.ledger
    )
    keys = ", ".join(f"'{key}'" for key in STATE_ITEMS.values())
    stored = lab.sql(
        "select h.host, i.key_, y.clock, y.ns, y.value from history_uint y join items i using (itemid)"
        f" join hosts h using (hostid) where i.key_ in ({keys})"
    )
    return compare("values", wanted, Counter(stored.splitlines()))


def stored_count(lab: ZabbixLab) -> int:
    """How many values of those the server has stored."""
    keys = ", ".join(f"'{key}'" for key in STATE_ITEMS.values())
    return int(lab.sql(f"select count(*) from history_uint join items using (itemid) where key_ in ({keys})"))


_EVENTS = """
with found as (
    select distinct e.eventid, e.clock, e.value, h.host, e.objectid from events e
    join functions f on f.triggerid = e.objectid join items i on i.itemid = f.itemid join hosts h on h.hostid = i.hostid
    where e.source = 0 and e.object = 0
)
"""


def problem_count(lab: ZabbixLab) -> int:
    """Problems since the beginning, of any kind."""
    return int(lab.sql("select count(*) from events where source = 0 and object = 0 and value = 1"))


def resolved_count(lab: ZabbixLab) -> int:
    """Problems that are over."""
    return int(lab.sql("select count(*) from events where source = 0 and object = 0 and value = 0"))


def problems(lab: ZabbixLab, hosts: Iterable[str], resolved: Collection[str] = ()) -> list[str]:
    """One problem, of the lost key, for each of these hosts and for no other; one end of it for those resolved."""
    found = lab.sql(
        _EVENTS + "select host, found.value, tag.value from found"
        " left join trigger_tag tag on tag.triggerid = found.objectid and tag.tag = 'alert'"
    )
    wanted = Counter(f"{host}|1|{KEY_LOST}" for host in hosts) + Counter(f"{host}|0|{KEY_LOST}" for host in resolved)
    return compare("events", wanted, Counter(found.splitlines()))


def problem_times(lab: ZabbixLab) -> dict[str, int]:
    """Host to the time, epoch seconds, that the server gives its (last) problem: when the deciding value was measured."""
    found = lab.sql(_EVENTS + "select host, max(clock) from found where value = 1 group by host")
    return {host: int(clock) for host, _, clock in (line.partition("|") for line in found.splitlines())}


def told(bot: BotApi) -> Counter[str]:
    """How many problems and ends of problems the chat tells: FIRING, RESOLVED, UPDATE, singly and in digests."""
    counts: Counter[str] = Counter()
    for message in bot.messages:
        headline = message.text.split("\n", 1)[0]
        digest = _DIGEST.fullmatch(headline)
        if digest is None:
            counts[headline.split(" ")[0]] += 1
            continue
        for count, kind in re.findall(r"(\d+) ([A-Z]+)", digest[1]):
            counts[kind] += int(count)
    return counts


def notifications(lab: ZabbixLab) -> Counter[str]:
    """Zabbix's own list of notifications by status: waiting, sent or failed."""
    rows = lab.sql("select status, count(*) from alerts where alerttype = 0 group by status")
    names = {"0": "waiting", "1": "sent", "2": "failed", "3": "waiting"}
    counts: Counter[str] = Counter()
    for status, _, count in (line.partition("|") for line in rows.splitlines()):
        counts[names[status]] += int(count)
    return counts
