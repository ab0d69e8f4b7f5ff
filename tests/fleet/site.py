"""A customer's site in a real Zabbix: a proxy with SQLite that speaks to the server, and many hosts behind it.

    with ZabbixLab("7.0", server_options=SERVER_OPTIONS) as lab:
        names = add_hosts(lab, {"usual": Pace(1000)}, proxy="site-1")
        with SiteProxy(lab, "site-1", server_port) as proxy: ...

Hosts are made once by the API and then copied in the database: a thousand by `host.create` take minutes (the template
has 22 items and 20 triggers), as the README for distributors says.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field

from lab.engine_process import EngineProcess, answers
from lab.run_check import ROOT
from lab.zabbix_lab import AS_USER, PROXY, UID, ZabbixLab, zabbix_port

TEMPLATE = ROOT / "templates/zabbix/kodeks_license_key_agent_active/template_kodeks_license_key_agent_active.yaml"
TEMPLATE_NAME = "Kodeks license key by Zabbix agent active"
GROUP = "Kodeks"

SERVER_OPTIONS = ("CacheSize=128M", "HistoryCacheSize=16M", "HistoryIndexCacheSize=4M", "ValueCacheSize=64M", "TrendCacheSize=16M") + (
    "StartTrappers=5", "StartDBSyncers=4", "CacheUpdateFrequency=2")  # fmt: skip
"""What 1,000 hosts need beyond the lab's small server: Zabbix's own defaults for the processes, larger caches."""

COPIES = 100000
"""Copy number 1 of a row with the id 57 gets the id 10000157: the number, COPIES more, before the old id."""

_ITEMS = "select itemid from items where hostid = {host}"
_TRIGGERS = f"select triggerid from functions where itemid in ({_ITEMS})"
_TABLES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("hosts", "hostid = {host}", ("hostid",)),
    ("host_rtdata", "hostid = {host}", ("hostid",)),
    ("host_hgset", "hostid = {host}", ("hostid",)),
    ("hosts_groups", "hostid = {host}", ("hostgroupid", "hostid")),
    ("hosts_templates", "hostid = {host}", ("hosttemplateid", "hostid")),
    ("hostmacro", "hostid = {host}", ("hostmacroid", "hostid")),
    ("items", "hostid = {host}", ("itemid", "hostid", "master_itemid")),
    ("item_rtdata", f"itemid in ({_ITEMS})", ("itemid",)),
    ("item_rtname", f"itemid in ({_ITEMS})", ("itemid",)),
    ("item_preproc", f"itemid in ({_ITEMS})", ("item_preprocid", "itemid")),
    ("item_tag", f"itemid in ({_ITEMS})", ("itemtagid", "itemid")),
    ("triggers", f"triggerid in ({_TRIGGERS})", ("triggerid",)),
    ("functions", f"itemid in ({_ITEMS})", ("functionid", "itemid", "triggerid")),
    ("trigger_tag", f"triggerid in ({_TRIGGERS})", ("triggertagid", "triggerid")),
    ("trigger_depends", f"triggerid_down in ({_TRIGGERS})", ("triggerdepid", "triggerid_down", "triggerid_up")),
)
"""Tables that make a host of Zabbix 7.0, which of their rows are its own, and which columns hold ids of its own.

Value maps stay the template's. Left out, since nothing is measured by it: graphs. An agent in active mode needs no interface.
"""


@dataclass(frozen=True)
class Pace:
    """So many hosts that are asked equally often. `macros` differ from the template's."""

    count: int
    macros: Mapping[str, str] = field(default_factory=dict)


def add_hosts(lab: ZabbixLab, paces: Mapping[str, Pace], proxy: str) -> dict[str, list[str]]:
    """Import the template and create hosts behind an active proxy of this name; returns the names for each pace."""
    lab.import_file(TEMPLATE)
    proxy_id = lab.api("proxy.create", {"name": proxy, "operating_mode": 0})["proxyids"][0]
    template = lab.api("template.get", {"filter": {"host": TEMPLATE_NAME}, "output": ["templateid"]})
    group = lab.host_group(GROUP)
    names: dict[str, list[str]] = {}
    made: list[tuple[int, str, int, int]] = []
    first = 1
    for title, pace in paces.items():
        last = first + pace.count - 1
        names[title] = [f"kodeks-{number:04}" for number in range(first, last + 1)]
        host = {
            "host": names[title][0],
            "groups": [{"groupid": group}],
            "templates": template,
            "macros": [{"macro": macro, "value": value} for macro, value in pace.macros.items()],
            "monitored_by": 1,
            "proxyid": proxy_id,
        }
        made.append((int(lab.api("host.create", host)["hostids"][0]), names[title][0], first + 1, last))
        first = last + 1
    for row in made:  # only now: beside a thousand hosts of the template the API takes minutes for one more
        lab.sql(_copies(lab, *row))
    lab.sql("analyze")
    return names


def _copies(lab: ZabbixLab, host: int, name: str, first: int, last: int) -> str:
    """SQL that copies a host to those with the numbers `first` to `last`."""
    script = []
    for table, rows, own in _TABLES:
        listed = lab.sql(f"select column_name from information_schema.columns where table_schema = 'public' and table_name = '{table}'")
        columns = listed.split()
        assert set(own) <= set(columns), f"{table} of this version of Zabbix has other columns: {columns}"
        copied = ", ".join(_copied(column, column in own, name) for column in columns)
        numbers = f"generate_series({COPIES + first}, {COPIES + last}) as n"
        script.append(f"insert into {table} ({', '.join(columns)}) select {copied} from {table}, {numbers} where {rows.format(host=host)};")
    return "\n".join(script)


def _copied(column: str, own_id: bool, name: str) -> str:
    """A column of the copy, as an SQL expression."""
    if own_id:
        return f"(n::text || {column})::bigint"
    if column in ("expression", "recovery_expression"):  # they name functions as {ID}
        return f"regexp_replace({column}, '\\{{(\\d+)\\}}', '{{' || n || '\\1}}', 'g')"
    if column in ("host", "name", "name_upper"):
        number = f"lpad((n - {COPIES})::text, 4, '0')"
        return f"replace(replace({column}, '{name}', 'kodeks-' || {number}), '{name.upper()}', 'KODEKS-' || {number})"
    return column


class SiteProxy:
    """zabbix_proxy in active mode with SQLite; agents find it on `port`. Stop it before the server: one of 7.0 whose
    server is gone hangs for a while."""

    def __init__(self, lab: ZabbixLab, name: str, server_port: int) -> None:
        self.lab, self.name, self.server_port = lab, name, server_port
        self.port = zabbix_port()
        self._process = EngineProcess(f"zabbix-proxy-{name}")

    def __enter__(self) -> SiteProxy:
        data = self._process.folder / "data"
        data.mkdir()
        shutil.chown(data, UID, UID)
        configuration = self._process.folder / "proxy.conf"
        # The lines that matter are those of templates/zabbix/README-fleet.md; a second instead of 10 between questions for
        # the configuration spares the tests a wait.
        configuration.write_text(
            f"ProxyMode=0\nServer=127.0.0.1:{self.server_port}\nHostname={self.name}\nListenIP=127.0.0.1\nListenPort={self.port}\n"
            f"DBName={data}/proxy.sqlite\nProxyOfflineBuffer=24\nProxyBufferMode=hybrid\nProxyMemoryBufferSize=16M\n"
            f"ProxyConfigFrequency=1\nDataSenderFrequency=1\nCacheSize=64M\nHistoryCacheSize=16M\nHistoryIndexCacheSize=4M\n"
            f"StartPollers=1\nStartPollersUnreachable=1\nStartPingers=0\nStartDiscoverers=0\nStartHTTPPollers=0\nStartAgentPollers=0\n"
            f"StartSNMPPollers=0\nStartHTTPAgentPollers=0\nStartBrowserPollers=0\nStartODBCPollers=0\nStartPreprocessors=2\n"
            f"LogType=console\nPidFile={data}/proxy.pid\nSocketDir={data}\n",
            encoding="utf-8",
        )
        program = ("setpriv", "--pdeathsig", "TERM", *AS_USER, PROXY, "-f", "-c", configuration)
        self._process.start(self.lab.programs.command(*program))
        self._process.await_ready(lambda: answers(self.port), 60)
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.__exit__(None, None, None)

    @property
    def log(self) -> str:
        """What the proxy printed."""
        return self._process.console
