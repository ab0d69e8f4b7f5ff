"""The templates in Russian on real servers: one template to Zabbix, in other words, and messages that are Russian as a whole.

The checks' lines are recorded, as in test_recorded_lines.py. The media type's language is not set: the template's counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest
from lab import zabbix_template
from lab.bot_api import BotApi, Message
from lab.engine_process import open_folder
from lab.media_type import TELEGRAM_YAML, MediaType
from lab.put import put
from lab.zabbix_lab import ZabbixLab

TEMPLATE = "Kodeks license key by Zabbix agent"
HOST, INSTALLATION = "srv-01", "Офис на Невском"
CHAT = -1001000000001
LATEST = 120  # seconds until a message counts as missing
ENABLED, DISABLED = 0, 1
MACROS = {
    "FORWARDER.SECTION": "",
    "LICMAN.HOST": "",
    "TUNE.FORWARDER.INTERVAL": "1s",
    "TUNE.KEY.INTERVAL": "1s",
    "TUNE.LICMAN.INTERVAL": "1s",
    "TUNE.SERVER.INTERVAL": "1s",
    "TUNE.AGENT.NODATA": "15s",
    "TUNE.SERVER.NODATA": "25s",
}
WELL = {
    "key": "SENSELOCK OK - 1 ключ SenseLock: 0471:485d на 1-1 | keys=1 forwarded=1 key_state=0",
    "server": "KODEKS_XML OK - ключ SenseLock работает | working=1 key_state=0",
}
LOST = "SENSELOCK CRITICAL - ключа SenseLock нет: на шине 3 USB-устройства | keys=0 forwarded=0 key_state=2"
# The first broken link, and the forwarder's sentence.
ENGLISH_WORDS = "every link is well or not watched", "not watched"
RUSSIAN_WORDS = "все звенья исправны или не отслеживаются", "не отслеживается"
LINK = '<a href="https://wiki.example/books/ru/{}.md">Развёрнутое описание аварии</a>'


class Office:
    """A Zabbix that speaks Russian, one host whose checks print what `print` says, and the chat.

    The item "first broken link" begins when every link has its first sentence. The server's value cache does not see a value that is
    written while it looks for an item's first one (src/libs/zbxcachevalue/valuecache.c: the cache is unlocked meanwhile), and an
    unchanged sentence is written again after an hour only; with samples every second and a busy machine that was seen once.
    """

    def __init__(self, version: str, bot: BotApi) -> None:
        self.bot, self.folder = bot, open_folder("russian.")
        keys = [f"UserParameter=kodeks.{link}[*],cat {self.folder}/{link}" for link in ("forwarder", *WELL)]
        # An agent that was gone is asked again every few seconds, not once a minute.
        self.lab = ZabbixLab(version, user_parameters=keys, server_options=["UnreachableDelay=3", "UnavailableDelay=3"])

    def __enter__(self) -> Office:
        self.lab.start()
        for file in (TELEGRAM_YAML, zabbix_template.PASSIVE):
            self.lab.import_file(file)
        self.bot.add_chat(CHAT)
        self.lab.set_macro("{$TELEGRAM.TOKEN}", self.bot.token, secret=True)
        self.lab.set_macro("{$TELEGRAM.URL}", self.bot.url)
        self.lab.set_macro("{$KODEKS.RUNBOOK.URL}", "https://wiki.example/books")
        self.user = self.lab.notify(MediaType.read().name, [str(CHAT)])
        self.print(**WELL)
        macros = {f"{{$KODEKS.{name}}}": value for name, value in MACROS.items()}
        (first,) = self.lab.api("item.get", {"filter": {"key_": "kodeks.first"}, "templated": True, "output": ["itemid"]})
        self.lab.api("item.update", {"itemid": first["itemid"], "status": DISABLED})
        self.host = self.lab.add_host(HOST, visible_name=INSTALLATION, templates=[TEMPLATE], macros=macros)
        texts = [f"kodeks.{link}.text" for link in ("forwarder", "key", "licman", "server")]
        self.lab.wait_for("every link's first sentence", lambda: all(self.value(key) for key in texts), LATEST)
        self.lab.api("item.update", {"itemid": first["itemid"], "status": ENABLED})
        return self

    def __exit__(self, *error: object) -> None:
        self.lab.stop()
        rmtree(self.folder, ignore_errors=True)

    def print(self, **lines: str) -> None:
        """From now on checks print these lines."""
        for link, line in lines.items():
            put(self.folder / link, f"{line}\n")

    def value(self, key: str) -> str:
        """The latest value of an item, "" before the first."""
        latest = self.lab.latest(self.host, key)
        return latest.value if latest else ""

    def names(self) -> dict[str, dict[str, str]]:
        """The host's items, triggers and macros: id to name or value."""
        items = self.lab.api("item.get", {"hostids": self.host, "output": ["name"]})
        triggers = self.lab.api("trigger.get", {"hostids": self.host, "output": ["description"]})
        macros = self.lab.api("usermacro.get", {"hostids": self.host, "output": ["macro", "value"]})
        return {
            "items": {row["itemid"]: row["name"] for row in items},
            "triggers": {row["triggerid"]: row["description"] for row in triggers},
            "macros": {row["macro"]: row["value"] for row in macros},
        }

    def await_words(self, first: str, forwarder: str) -> None:
        """Wait until the host's values are in these words."""
        wanted = {"kodeks.first": first, "kodeks.forwarder.text": forwarder}
        self.lab.wait_for(first, lambda: all(self.value(key) == text for key, text in wanted.items()), LATEST)

    def names_after(self, file: Path, first: str, forwarder: str) -> dict[str, dict[str, str]]:
        """The names after this import. The server takes it over later: only its words on the host tell that it has."""
        self.lab.import_file(file)
        self.await_words(first, forwarder)
        return self.names()

    def message(self, count: int) -> Message:
        """The message of this number, as soon as it is there and the last one."""
        try:
            messages = self.bot.wait_for_messages(count, LATEST)
        except TimeoutError as error:
            alerts = self.lab.api("alert.get", {"output": ["status", "error", "subject"]})
            values = {key: self.value(key) for key in ("kodeks.key.state", "kodeks.server.state", "kodeks.first")}
            raise AssertionError(f"{error}; problems: {self.lab.problems()}; alerts: {alerts}; values: {values}") from None
        assert len(messages) == count, [message.text for message in messages]
        return messages[-1]


@pytest.fixture(scope="module")
def office(zabbix_version: str) -> Iterator[Office]:
    with BotApi() as bot, Office(zabbix_version, bot) as made:
        yield made


def shape(message: Message) -> str:
    """The message as it was sent, without times and durations."""
    text = re.sub(r"\d\d\.\d\d\.\d{4} \d\d:\d\d:\d\d", "ВРЕМЯ", message.source)
    return re.sub(r"(?m)^Длилось: .*$", "Длилось: СКОЛЬКО", text)


def test_either_language_takes_the_place_of_the_other(office: Office) -> None:
    """Whoever imports the other file has the same template in other words: items with their history, triggers, links to hosts
    and what was set there stay. There is no second template that one could link by mistake."""
    lab, russian_file = office.lab, zabbix_template.RUSSIAN[zabbix_template.PASSIVE]
    office.await_words(*ENGLISH_WORDS)
    english, russian = office.names(), office.names_after(russian_file, *RUSSIAN_WORDS)
    assert [set(names) for names in russian.values()] == [set(names) for names in english.values()]
    assert russian["macros"] == english["macros"]
    assert all(re.search("[а-я]", name) for kind in ("items", "triggers") for name in russian[kind].values())
    found = lab.api("template.get", {"output": ["host", "name"], "selectDashboards": ["name"], "selectValueMaps": ["name"]})
    assert [(row["host"], row["name"], row["dashboards"][0]["name"]) for row in found] == [
        (TEMPLATE, "Лицензионный ключ «Кодекс», Zabbix-агент", "Лицензионный ключ «Кодекс»")
    ]
    assert office.names_after(zabbix_template.PASSIVE, *ENGLISH_WORDS) == english
    assert office.names_after(russian_file, *RUSSIAN_WORDS) == russian


def test_the_active_template_in_russian_is_a_template_of_its_own(office: Office) -> None:
    office.lab.import_file(zabbix_template.RUSSIAN[zabbix_template.ACTIVE])
    found = office.lab.api("template.get", {"output": ["host", "name"], "sortfield": "host"})
    assert [(row["host"], row["name"]) for row in found] == [
        (TEMPLATE, "Лицензионный ключ «Кодекс», Zabbix-агент"),
        (f"{TEMPLATE} active", "Лицензионный ключ «Кодекс», активный Zabbix-агент"),
    ]


def test_an_incident_is_told_in_russian(office: Office) -> None:
    """The one place where the whole text of the messages is asserted."""
    office.print(key=LOST)
    first = office.message(1)
    frame = "Важность: высокая\nНачало: ВРЕМЯ"
    link = LINK.format("SenseLockKeyStatus")
    assert shape(first) == (
        f"<b>FIRING</b> <code>SenseLockKeyStatus</code>\n{INSTALLATION}\n"
        f"Ключ SenseLock: ключа SenseLock нет: на шине 3 USB-устройства; программа проброса: не отслеживается\n{frame}\n{link}"
    )
    office.lab.wait_for("the first broken link", lambda: office.value("kodeks.first").startswith("Ключ SenseLock: ключа SenseLock нет"), LATEST)
    acknowledge(office, "еду")
    assert shape(office.message(2)) == (
        f"<b>ИЗМЕНЕНИЕ</b> <code>SenseLockKeyStatus</code>\n{INSTALLATION}\n"
        f"Zabbix Administrator (Admin): подтверждено, комментарий\nеду\n{frame}\n{link}"
    )
    office.print(**WELL)
    last = office.message(3)
    assert shape(last) == (
        f"<b>RESOLVED</b> <code>SenseLockKeyStatus</code>\n{INSTALLATION}\n"
        "Ключ SenseLock: 1 ключ SenseLock: 0471:485d на 1-1; программа проброса: не отслеживается\n"
        f"{frame}\nУстранено: ВРЕМЯ\nДлилось: СКОЛЬКО\n{link}"
    )
    assert last.reply_to == first.message_id


def acknowledge(office: Office, comment: str) -> None:
    """An operator acknowledges the one open problem, after its message's number was kept."""
    (problem,) = office.lab.api("problem.get", {"output": ["eventid"]})
    wanted = {"eventids": problem["eventid"], "selectTags": "extend"}
    office.lab.wait_for("the message's number", lambda: f"{CHAT}/" in str(office.lab.api("event.get", wanted)))
    office.lab.api("event.acknowledge", {"eventids": [problem["eventid"]], "action": 6, "message": comment})


def test_a_dead_agent_is_told_in_russian(office: Office) -> None:
    office.bot.clear()
    office.lab.stop_agent()
    frame = "Важность: средняя\nНачало: ВРЕМЯ"
    link = LINK.format("MonitoringBroken")
    head = f"<code>MonitoringBroken</code>\n{INSTALLATION}"
    assert shape(office.message(1)) == (
        f"<b>FIRING</b> {head}\nКодекс: нет данных от Zabbix-агента: за лицензионным ключом никто не следит\n{frame}\n{link}"
    )
    office.lab.start_agent()
    assert shape(office.message(2)) == (
        f"<b>RESOLVED</b> {head}\nКодекс: Zabbix-агент снова присылает данные\n{frame}\nУстранено: ВРЕМЯ\nДлилось: СКОЛЬКО\n{link}"
    )


def test_nothing_is_unsupported(office: Office) -> None:
    for kind, name in (("item", "key_"), ("trigger", "description")):
        found = office.lab.api(f"{kind}.get", {"hostids": office.host, "filter": {"state": 1}, "output": [name, "error"]})
        assert found == []
