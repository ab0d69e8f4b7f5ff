"""The templates on real servers with several history syncers, fed by recorded lines of the checks.

An agent prints for each host what stands in three files, so a story moves many hosts at once and knows which answer Zabbix
got when. What is asserted are the problems that came of it, all of them. Each story is played on twenty hosts: what
depends on the order in which syncers work shows on some of them only.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
from lab import zabbix_template
from lab.engine_process import open_folder
from lab.put import put
from lab.zabbix_lab import ZabbixLab
from lab.zabbix_machine import TEMPLATES

TEMPLATE = "Kodeks license key by Zabbix agent"
HOSTS = 20
PATIENCE = 120  # seconds for what a busy machine does late
SERVER = 6  # seconds between two questions to Kodeks; everything of the forwarder is over in half of that
MACROS = {
    "TUNE.FORWARDER.INTERVAL": "1s",
    "TUNE.FORWARDER.GOOD": "2",
    "TUNE.KEY.INTERVAL": "5s",
    "TUNE.SERVER.INTERVAL": f"{SERVER}s",
    "TUNE.SERVER.NODATA": "10m",
}
DEAD, KODEKS = "USB forwarder: Does not work", "Kodeks server: State cannot be read"
NOT_RUN = "USB forwarder: Check does not run"
WELL = {
    "forwarder": "USB_REDIRECTOR OK - well | license_days=200;30: license_state=0 process_state=0 answer_state=0 device_state=0",
    "key": "SENSELOCK OK - well | keys=1 forwarded=1 key_state=0 location_state=0",
    "server": "KODEKS_XML OK - well | time=0.02s working=1 key_state=0",
}
WRONG_HOST = {"forwarder": "USB_REDIRECTOR CRITICAL - no such host | license_days=200 license_state=0 process_state=0 answer_state=2"}
WRONG_PASSWORD = {"server": "KODEKS_XML UNKNOWN - login refused | time=0.02s key_state=3"}
BROKEN_SETUPS: tuple[Mapping[str, str | None], ...] = (
    {
        "forwarder": "USB_REDIRECTOR UNKNOWN - cannot read the ini file",
        "key": "SENSELOCK UNKNOWN - cannot read the ini file",
        "server": "KODEKS_XML UNKNOWN - cannot read the ini file",
    },
    dict.fromkeys(WELL, "python3: can't open file '/usr/local/lib/kodeks/check.py': [Errno 2] No such file or directory"),
    dict.fromkeys(WELL, None),  # no file: the agent's command prints its own error
)
"""No check can run, in three ways."""


class Chain:
    """Hosts with the template on one Zabbix, and the lines that their checks print."""

    def __init__(self, version: str) -> None:
        self.folder = open_folder("recorded.")
        keys = [f"UserParameter=kodeks.{link}[*],cat {self.folder}/$1.{link}" for link in WELL]
        options = ["StartDBSyncers=4", "StartPollers=6", "StartPreprocessors=3"]
        self.lab = ZabbixLab(version, user_parameters=keys, server_options=options, agent_options=["StartAgents=6"])
        self.items: dict[str, str] = {}  # host id to the id of its item kodeks.server.state

    def __enter__(self) -> Chain:
        self.lab.start()
        self.lab.import_file(zabbix_template.PASSIVE)
        self.triggers: dict[str, str] = {}
        return self

    def __exit__(self, *error: object) -> None:
        self.lab.stop()
        rmtree(self.folder, ignore_errors=True)

    def print(self, host: str, lines: Mapping[str, str | None]) -> None:
        """From now on the checks of a host print these lines; None: there is no file."""
        for link, line in lines.items():
            file = self._file(host, link)
            if line is None:
                file.unlink(missing_ok=True)
            else:
                put(file, f"{line}\n")

    def _file(self, host: str, link: str) -> Path:
        return self.folder / f"{host}.{link}"

    def add(self, host: str, lines: Mapping[str, str]) -> str:
        """A new host whose checks print these lines from its first moment on; its id."""
        self.print(host, lines)
        sections = {f"{link}.SECTION": host for link in ("FORWARDER", "KEY", "SERVER")}
        macros = {f"{{$KODEKS.{name}}}": value for name, value in {**MACROS, **sections}.items()}
        number = self.lab.add_host(host, templates=[TEMPLATE], macros=macros)
        item = self.lab.api("item.get", {"hostids": number, "filter": {"key_": "kodeks.server.state"}, "output": ["itemid"]})
        self.items[number] = item[0]["itemid"]
        self.triggers |= {
            trigger["triggerid"]: trigger["description"]
            for trigger in self.lab.api("trigger.get", {"hostids": number, "output": ["description"]})
        }
        return number

    def answers(self, hosts: Iterable[str], since: float) -> dict[str, list[tuple[float, int]]]:
        """What Zabbix got of the hosts' Kodeks after a time: host id to its answers, oldest first: when, state."""
        by_item = {self.items[host]: host for host in hosts}
        wanted = {"itemids": list(by_item), "history": 3, "time_from": int(since), "output": "extend"}
        found: dict[str, list[tuple[float, int]]] = {host: [] for host in by_item.values()}
        for row in self.lab.api("history.get", wanted):
            when = int(row["clock"]) + int(row["ns"]) / 1e9
            if when > since:
                found[by_item[row["itemid"]]].append((when, int(row["value"])))
        return {host: sorted(rows) for host, rows in found.items()}

    def events(self, hosts: Iterable[str], since: float) -> list[tuple[float, str, str]]:
        """All events of these hosts since a time: when, FIRING or RESOLVED, trigger."""
        wanted = {"hostids": list(hosts), "time_from": int(since), "sortfield": ["clock", "eventid"], "output": "extend"}
        found: list[dict[str, Any]] = self.lab.api("event.get", wanted)
        return [
            (int(row["clock"]) + int(row["ns"]) / 1e9, "FIRING" if row["value"] == "1" else "RESOLVED", self.triggers[row["objectid"]])
            for row in found
        ]

    def all_have(self, hosts: Mapping[str, str], count: int, state: int, since: float) -> None:
        """Wait until Kodeks' link of every host has had a state so often in a row."""

        def reached() -> bool:
            rows = [[value for _, value in answers] for answers in self.answers(hosts.values(), since).values()]
            return all(len(states) >= count and states[-count:] == [state] * count for states in rows)

        self.lab.wait_for(f"{count} answers with state {state}", reached, PATIENCE, pause=0.3)

    def told(self, hosts: Mapping[str, str], since: float) -> Counter[tuple[str, str]]:
        """How often each problem began and ended."""
        return Counter((kind, name) for _, kind, name in self.events(hosts.values(), since))


@pytest.fixture(scope="module")
def chain(zabbix_version: str) -> Iterator[Chain]:
    with Chain(zabbix_version) as playing:
        yield playing


@pytest.fixture(scope="module")
def hosts(chain: Chain) -> dict[str, str]:
    """Host names and their ids, every link well and sampled."""
    made = {f"host{number}": chain.add(f"host{number}", WELL) for number in range(HOSTS)}
    chain.all_have(made, 2, 0, 0)
    return made


def once_each(name: str) -> Counter[tuple[str, str]]:
    return Counter({("FIRING", name): HOSTS, ("RESOLVED", name): HOSTS})


def test_what_is_corrected_before_it_could_be_told_is_not_told(chain: Chain, hosts: dict[str, str]) -> None:
    """The forwarder's host name and Kodeks' password are wrong; the forwarder is told. Both are corrected right after an answer
    of Kodeks, so that the forwarder's problem is over before the next one, which is good and is all that is looked at since."""
    began = time.time()
    for name in hosts:
        chain.print(name, {**WRONG_HOST, **WRONG_PASSWORD})
    chain.all_have(hosts, 3, 3, began)
    chain.lab.wait_for("every forwarder told", lambda: chain.told(hosts, began) == {("FIRING", DEAD): HOSTS}, PATIENCE)
    now, waiting = time.time(), set(hosts)
    while waiting:
        answered = chain.answers(hosts.values(), now)
        for name in [name for name in waiting if answered[hosts[name]]]:
            chain.print(name, WELL)
            waiting.remove(name)
    chain.all_have(hosts, 2, 0, began)
    chain.lab.wait_for("every forwarder over", lambda: chain.lab.problems() == [], PATIENCE)
    time.sleep(2 * SERVER)
    assert chain.told(hosts, began) == once_each(DEAD)
    in_order = 0
    for number in hosts.values():
        over = next(when for when, kind, _ in chain.events([number], began) if kind == "RESOLVED")
        in_order += over < next(when for when, state in chain.answers([number], began)[number] if state == 0)
    assert in_order >= HOSTS / 2, "the forwarder's problem was not over before the next answer of Kodeks"


def test_a_broken_set_up_is_one_message(chain: Chain, hosts: dict[str, str]) -> None:
    began = time.time()
    for number, name in enumerate(hosts):
        chain.print(name, BROKEN_SETUPS[number % len(BROKEN_SETUPS)])
    chain.all_have(hosts, 4, 10, began)
    assert chain.told(hosts, began) == {("FIRING", NOT_RUN): HOSTS}
    for name in hosts:
        chain.print(name, WELL)
    chain.lab.wait_for("everything over", lambda: chain.lab.problems() == [], PATIENCE)
    chain.all_have(hosts, 2, 0, began)
    time.sleep(2 * SERVER)
    assert chain.told(hosts, began) == once_each(NOT_RUN)


def test_a_new_host_alarms_at_the_third_answer(chain: Chain) -> None:
    began = time.time()
    number = chain.add("new", {**WELL, **WRONG_PASSWORD})
    chain.lab.wait_for("Kodeks told", lambda: chain.events([number], began), PATIENCE)
    ((when, kind, name),) = chain.events([number], began)
    assert (kind, name) == ("FIRING", KODEKS)
    assert len([moment for moment, _ in chain.answers([number], 0)[number] if moment <= when]) == 3
    chain.print("new", WELL)
    chain.lab.wait_for("everything over", lambda: chain.lab.problems() == [], PATIENCE)


def test_nothing_is_unsupported(chain: Chain, hosts: dict[str, str]) -> None:
    """Every expression can be evaluated, also where a macro is the number of samples."""
    wanted = {"hostids": list(hosts.values()), "filter": {"state": 1}}
    assert chain.lab.api("item.get", {**wanted, "output": ["key_", "error"]}) == []
    assert chain.lab.api("trigger.get", {**wanted, "output": ["description", "error"]}) == []


def test_the_recipe_for_a_log(chain: Chain) -> None:
    """The item and the trigger that the README shows, with the folder of this test: a line that matches is a problem that names it."""
    lab, folder = chain.lab, chain.folder / "log"
    folder.mkdir(mode=0o755)
    log = folder / "server.log"
    log.write_text("license of an old day: expired\n", encoding="utf-8")
    readme = (TEMPLATES / "README.md").read_text(encoding="utf-8").replace("/var/log/usb-redirector", str(folder))
    key, expression = (re.findall(rf"(?m)^    ({start}.*)$", readme)[0] for start in ("logrt", "nodata"))
    host = lab.add_host(lab.agent_hostname)
    lab.api("item.create", {"hostid": host, "name": "log", "key_": key, "type": 7, "value_type": 2, "delay": "1s"})
    trigger = {"description": "The log complains", "event_name": "{ITEM.VALUE}", "expression": expression.replace("/HOST/", f"/{lab.agent_hostname}/")}
    lab.api("trigger.create", trigger)
    lab.sync()
    lab.restart_agent()  # it asks what it has to watch when it starts

    def seen() -> bool:
        """Lines are written until the agent reads on from the end of the file."""
        with log.open("a", encoding="utf-8") as file:
            file.write("device ready\nlicense of today: expired\n")
        return lab.problems() != []

    lab.wait_for("the line told", seen, PATIENCE, pause=1)
    assert lab.problems() == ["license of today: expired"]
