"""The Telegram media type: its script as a table through the real zabbix_js, then the whole of it on real servers.

Every row of the table says what Zabbix hands over, what happens at Telegram's side, and then exactly: the exit code,
everything printed (the result that Zabbix keeps, the log lines), and every request that the Bot API received.
Parameters that a row does not name stay literal macros, as Zabbix 6.0 leaves what it cannot fill.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given as for_any
from hypothesis import settings
from hypothesis import strategies as st
from lab.bot_api import LONGEST_TEXT, TOKEN, Answer, BotApi, Message, hang_up, page, refuse, slow, too_many_requests, utf16_length
from lab.media_type import TELEGRAM_SCRIPT, TELEGRAM_YAML, MediaType
from lab.zabbix_lab import LatestValue, ZabbixLab, run_javascript

MEDIA_TYPE = MediaType.read()
CHAT, MOVED_TO = -1001000000001, -1001000000002
TO = str(CHAT)
TAG = f"__telegram_{TO}"
RUNBOOK = "https://runbooks.example/key-lost?lang=en&v=2"
LINK = '<a href="https://runbooks.example/key-lost?lang=en&amp;v=2">What to do</a>'
LINK_RU = LINK.replace("What to do", "Развёрнутое описание аварии")
LOST, FOUND = "no SenseLock key among 7 USB devices", "one SenseLock key is attached"
ALERT_TAG = {"tag": "alert", "value": "KodeksXmlSensLockStatus"}


def tags(*more: str) -> str:
    """The event's tags as {EVENT.TAGSJSON} gives them: the alert's name and what earlier runs wrote down."""
    return json.dumps([ALERT_TAG, *({"tag": TAG, "value": value} for value in more)])


PROBLEM = {
    "To": TO,
    "Subject": f"srv-01: {LOST}",
    "Message": LOST,
    "EventSource": "0",
    "EventValue": "1",
    "EventUpdate": "0",
    "EventId": "41",
    "EventName": LOST,
    "EventTags": tags(),
    "EventDate": "2026.11.23",
    "EventTime": "20:08:00",
    "Duration": "2s",
    "Host": "srv-01",
    "Severity": "4",
    "SeverityName": "High",
    "RunbookUrl": RUNBOOK,
    "TriggerName": "Kodeks: no key",
}
RECOVERY = {
    **PROBLEM,
    "Message": FOUND,
    "EventValue": "0",
    "EventTags": tags(f"{TO}/101"),
    "RecoveryId": "57",
    "RecoveryDate": "2026.11.23",
    "RecoveryTime": "22:08:03",
    "Duration": "2h 0m 3s",
}
UPDATE = {
    **PROBLEM,
    "Message": "Ann Admin: acknowledged and commented\r\nlooking at it\r\n",
    "UpdateAction": "acknowledged and commented",
    "EventUpdate": "1",
    "EventTags": tags(f"{TO}/101"),
    "Duration": "12m 5s",
}
FIRING_TEXT = f"<b>FIRING</b> <code>KodeksXmlSensLockStatus</code>\nsrv-01\n{LOST}\nSeverity: High\nSince: 2026-11-23 20:08:00\n{LINK}"
FACTS = "Severity: High\nSince: 2026-11-23 20:08:00"
OVER = f"{FACTS}\nResolved: 2026-11-23 22:08:03\nDuration: 2h 0m 3s\n{LINK}"
RESOLVED_TEXT = f"<b>RESOLVED</b> <code>KodeksXmlSensLockStatus</code>\nsrv-01\n{FOUND}\n{OVER}"
RESOLVED_ALONE_TEXT = f"<b>RESOLVED</b> <code>KodeksXmlSensLockStatus</code>\nsrv-01\n{FOUND}\nProblem: {LOST}\n{OVER}"
UPDATE_TEXT = (
    "<b>UPDATE</b> <code>KodeksXmlSensLockStatus</code>\nsrv-01\nAnn Admin: acknowledged and commented\nlooking at it\n"
    f"{FACTS}\nDuration: 12m 5s\n{LINK}"
)


RUSSIAN_TAGS = json.dumps([ALERT_TAG, {"tag": "language", "value": "ru"}])
FIRING_RU = (
    f"<b>FIRING</b> <code>KodeksXmlSensLockStatus</code>\nsrv-01\n{LOST}\nВажность: высокая\nНачало: 23.11.2026 20:08:00\n{LINK_RU}"
)


# --- what a row expects -------------------------------------------------------------------------------------------


def message(text: str = FIRING_TEXT, **changes: object) -> dict[str, Any]:
    """A sendMessage request; a change to None takes the parameter out."""
    wanted = {
        "method": "sendMessage",
        "chat_id": TO,
        "text": text,
        "parse_mode": "HTML",
        "link_preview_options": {"is_disabled": True},
        "disable_notification": False,
        **changes,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def reply(text: str = RESOLVED_TEXT, to: int = 101, **changes: object) -> dict[str, Any]:
    """A sendMessage request that answers message `to`."""
    return message(text, reply_parameters={"message_id": to, "allow_sending_without_reply": True}, **changes)


def edit(text: str) -> dict[str, Any]:
    """An editMessageText request for message 101."""
    return message(text, method="editMessageText", message_id=101, disable_notification=None)


def keeps(value: str = f"{TO}/101", *warnings: str, tag: str = TAG) -> str:
    """What zabbix_js prints when the script returns this tag, after these log lines."""
    return "".join(map(warning, warnings)) + f'\n{{"tags":{{"{tag}":"{value}"}}}}\n'


def keeps_nothing(*warnings: str) -> str:
    """The same without a tag: the first message is known already, or there will be none to answer."""
    return "".join(map(warning, warnings)) + '\n{"tags":{}}\n'


def warning(text: str) -> str:
    return f"zabbix_js [0]: Warning: [Telegram (Kodeks)] {text}\n"


def api_error(data: str) -> Answer:
    """An error of the Zabbix API."""
    return Answer(body=json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "Invalid params.", "data": data}}).encode())


def fails(error: str, *warnings: str) -> str:
    """What zabbix_js prints when the script throws this error."""
    lines = "".join(map(warning, [*warnings, f"not sent: {error}"]))
    return f"{lines}zabbix_js [0]: error executing script:\ncannot execute script: {error}\n"


@dataclass(frozen=True)
class Case:
    """One row: what differs from PROBLEM, what happens at Telegram, what comes of it."""

    name: str
    given: dict[str, str]
    sent: Sequence[dict[str, Any]] = field(default_factory=lambda: [message()])
    printed: str = keeps()
    exit: int = 0
    codes: Sequence[int] = (200,)
    answers: Sequence[Answer] = ()
    before: Callable[[BotApi], object] = lambda bot: None
    timeout: int = 60


def earlier(bot: BotApi) -> None:
    bot.put_message(CHAT)


def earlier_deleted(bot: BotApi) -> None:
    bot.delete_message(CHAT, bot.put_message(CHAT))


def earlier_then_moved(bot: BotApi) -> None:
    bot.put_message(CHAT)
    bot.migrate(CHAT, MOVED_TO)


def moved_then_earlier(bot: BotApi) -> None:
    bot.migrate(CHAT, MOVED_TO)
    bot.put_message(MOVED_TO)


TOPIC = f"{TO}:7"
NO_TOPIC = f"the topic of {TOPIC} does not take messages (Bad Request: message thread not found): sent without topic"
BAD_GATEWAY = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body></html>"
SECRET = TOKEN.partition(":")[2]
ECHO = (  # a proxy's page that repeats the URL, in every way that pages do
    f"<p>/bot{TOKEN}/sendMessage {TOKEN.replace(':', '%3a')} {TOKEN.replace(':', '%253A')} {SECRET} "
    f"{SECRET.replace('-', '%2D').replace('_', '%5f')} {SECRET.replace('-', '&#45;').replace('_', '&#x5F;')}</p>"
)
MASKED = "<p>/bot<secret>/sendMessage <secret> <secret> <secret> <secret> <secret></p>"
HOSTILE = "<srv-01> & \"x\" </b><a href='javascript:1'>"
HOSTILE_HTML = "&lt;srv-01&gt; &amp; &quot;x&quot; &lt;/b&gt;&lt;a href='javascript:1'&gt;"
NOTHING = "*UNKNOWN*"
KODEKS_TAGS = json.dumps([ALERT_TAG, {"tag": "target", "value": "kodeks"}])
OWN_LINK = '<a href="https://wiki.example/books/en/KodeksXmlSensLockStatus.md">What to do</a>'
OWN_ALERT = {  # the first question of the digest: which alert am I?
    "jsonrpc": "2.0",
    "id": 1,
    "method": "alert.get",
    "params": {
        "eventids": ["41"],
        "filter": {"status": [0, 3]},
        "sortorder": "ASC",
        "limit": 1000,
        "output": ["sendto", "alertid", "clock", "eventid", "p_eventid", "acknowledgeid"],
        "search": {"sendto": TO},
        "startSearch": True,
        "sortfield": "alertid",
    },
}

CASES = [
    # The form teams know.
    Case("problem", {}),
    Case("problem in Russian", {"Language": "ru", "Duration": "1d 2h 5m 3s"}, [
        message(
            f"<b>FIRING</b> <code>KodeksXmlSensLockStatus</code>\nsrv-01\n{LOST}\nВажность: высокая\nНачало: 23.11.2026 20:08:00\n"
            f"Длилось: 1 д 2 ч 5 мин 3 с\n{LINK_RU}"
        )
    ]),
    Case("problem that is told late says how long it lasts", {"Duration": "5m 0s"}, [
        message(FIRING_TEXT.replace(LINK, f"Duration: 5m 0s\n{LINK}"))
    ]),
    Case("recovery answers the first message", RECOVERY, [reply()], keeps_nothing(), before=earlier),
    Case("recovery in Russian", {**RECOVERY, "Language": "RU"}, [
        reply(
            f"<b>RESOLVED</b> <code>KodeksXmlSensLockStatus</code>\nsrv-01\n{FOUND}\nВажность: высокая\nНачало: 23.11.2026 20:08:00\n"
            f"Устранено: 23.11.2026 22:08:03\nДлилось: 2 ч 0 мин 3 с\n{LINK_RU}"
        )
    ], keeps_nothing(), before=earlier),
    Case("recovery with the failure's sentence says that it is over", {**RECOVERY, "Message": LOST}, [
        reply(RESOLVED_TEXT.replace(FOUND, f"No longer: {LOST}"))
    ], keeps_nothing(), before=earlier),
    Case("the same in Russian", {**RECOVERY, "Message": LOST, "Language": "ru", "EventTags": tags()}, [
        message(
            f"<b>RESOLVED</b> <code>KodeksXmlSensLockStatus</code>\nsrv-01\nБольше не так: {LOST}\nВажность: высокая\n"
            f"Начало: 23.11.2026 20:08:00\nУстранено: 23.11.2026 22:08:03\nДлилось: 2 ч 0 мин 3 с\n{LINK_RU}"
        )
    ], keeps_nothing()),
    Case("a trigger whose event name does not change says itself what is well now", {
        **RECOVERY, "Message": LOST, "EventTags": json.dumps([ALERT_TAG, {"tag": "resolved", "value": FOUND}, {"tag": TAG, "value": f"{TO}/101"}])
    }, [reply()], keeps_nothing(), before=earlier),
    Case("the template's language is the message's", {"EventTags": RUSSIAN_TAGS}, [message(FIRING_RU)]),
    Case("a language that is set comes before the template's", {"EventTags": RUSSIAN_TAGS, "Language": "en"}),
    Case("another template's tag of this name means nothing", {
        "EventTags": json.dumps([ALERT_TAG, {"tag": "language", "value": "toString"}])
    }),
    Case("update in Russian", {**UPDATE, "Language": "ru"}, [
        reply(
            "<b>ИЗМЕНЕНИЕ</b> <code>KodeksXmlSensLockStatus</code>\nsrv-01\nAnn Admin: подтверждено, комментарий\nlooking at it\n"
            f"Важность: высокая\nНачало: 23.11.2026 20:08:00\nДлилось: 12 мин 5 с\n{LINK_RU}"
        )
    ], keeps_nothing(), before=earlier),
    *(Case(f"update in Russian: {action}", {**UPDATE, "Language": "ru", "Message": f"Ann: {action}", "UpdateAction": action}, [
        reply(
            f"<b>ИЗМЕНЕНИЕ</b> <code>KodeksXmlSensLockStatus</code>\nsrv-01\nAnn: {russian}\n"
            f"Важность: высокая\nНачало: 23.11.2026 20:08:00\nДлилось: 12 мин 5 с\n{LINK_RU}"
        )
    ], keeps_nothing(), before=earlier) for action, russian in (
        ("changed severity from High to Disaster and commented", "изменена важность, комментарий"),
        ("unacknowledged, suppressed until 2026-11-24 08:00:00 and closed", "подтверждение снято, подавлено, закрыто"),
        ("sang and unsuppressed", "sang, подавление снято"),
    )),
    Case("recovery without a first message names the problem", {**RECOVERY, "EventTags": tags()}, [
        message(RESOLVED_ALONE_TEXT)
    ], keeps_nothing()),
    Case("recovery whose first message was deleted", RECOVERY, [reply()], keeps_nothing(), before=earlier_deleted),
    Case("update answers the first message", UPDATE, [reply(UPDATE_TEXT)], keeps_nothing(), before=earlier),
    Case("update without a first message becomes the one to answer", {**UPDATE, "EventTags": tags()}, [
        message(UPDATE_TEXT.replace("looking at it\n", f"looking at it\nProblem: {LOST}\n"))
    ]),
    Case("problem told again, by an escalation, answers the first", {"EventTags": tags(f"{TO}/101")}, [
        reply(FIRING_TEXT)
    ], keeps_nothing(), before=earlier),
    Case("trigger without alert tag: its name is the headline", {"EventTags": "[]", "EventName": "Disk is full",
                                                                "Message": "Disk is full", "TriggerName": "Disk is full"}, [
        message(f"<b>FIRING</b> <code>Disk is full</code>\nsrv-01\n{FACTS}\n{LINK}")
    ]),
    # Follow-ups by parameter.
    Case("new: no answer, no change", {**RECOVERY, "FollowUp": "new"}, [message(RESOLVED_ALONE_TEXT)], keeps_nothing(),
         before=earlier),
    Case("edit: recovery", {**RECOVERY, "FollowUp": "edit"}, [edit(RESOLVED_ALONE_TEXT)], keeps_nothing(), before=earlier),
    Case("edit: an update leaves the message one about a problem", {**UPDATE, "FollowUp": "edit"}, [
        edit(UPDATE_TEXT.replace("UPDATE", "FIRING").replace("srv-01\n", f"srv-01\n{LOST}\n"))
    ], keeps_nothing(), before=earlier),
    Case("edit: the first message was deleted", {**RECOVERY, "FollowUp": "edit"}, [
        edit(RESOLVED_ALONE_TEXT), message(RESOLVED_ALONE_TEXT)
    ], keeps_nothing(), codes=(400, 200), before=earlier_deleted),
    Case("edit: the message reads so already", {**RECOVERY, "FollowUp": "edit"}, [edit(RESOLVED_ALONE_TEXT)], keeps_nothing(),
         codes=(400,), before=lambda bot: bot.put_message(CHAT, RESOLVED_ALONE_TEXT)),
    Case("edit: a digest is answered, not changed", {**RECOVERY, "FollowUp": "edit", "EventTags": tags(f"{TO}/101/900/1795472650")}, [
        reply()
    ], keeps_nothing(), before=earlier),
    Case("an unknown word for FollowUp and Language", {**RECOVERY, "FollowUp": "thread", "Language": "fr"}, [reply()],
         keeps_nothing(
             "parameter Language is none of en, ru: taking en", "parameter FollowUp is none of reply, edit, new: taking reply"
         ), before=earlier),
    # Silence by severity.
    Case("information arrives without a sound", {"Severity": "1", "SeverityName": "Information"}, [
        message(FIRING_TEXT.replace("High", "Information"), disable_notification=True)
    ]),
    Case("so does what the parameter names", {"SilentSeverities": "3, 4"}, [message(disable_notification=True)]),
    Case("none: everything sounds", {"Severity": "0", "SilentSeverities": "none"}),
    Case("a list that is none", {"SilentSeverities": "quiet please", "Severity": "1"}, [message(disable_notification=True)],
         keeps(f"{TO}/101", 'parameter SilentSeverities is no list of numbers 0 to 5 and not "none": taking 0,1')),
    # Hostile and missing text.
    Case("markup in every text", {"Host": HOSTILE, "Message": HOSTILE, "EventName": HOSTILE, "SeverityName": HOSTILE,
                                  "EventTags": json.dumps([{"tag": "alert", "value": HOSTILE}])}, [
        message(
            f"<b>FIRING</b> <code>{HOSTILE_HTML}</code>\n{HOSTILE_HTML}\nSeverity: {HOSTILE_HTML}\n"
            f"Since: 2026-11-23 20:08:00\n{LINK}"
        )
    ]),
    Case("entities are told as they were written", {"Message": "a &lt;b&gt; &amp;amp; &#60;"}, [
        message(FIRING_TEXT.replace(LOST, "a &amp;lt;b&amp;gt; &amp;amp;amp; &amp;#60;"))
    ]),
    Case("control characters and \\r\\n", {"Message": "a\x00b\x1bc\r\nd\re"}, [message(FIRING_TEXT.replace(LOST, "a b c\nd\ne"))]),
    Case("a runbook that is no web address is no link", {"RunbookUrl": "javascript:alert(1)"}, [
        message(FIRING_TEXT.replace(LINK, "What to do: javascript:alert(1)"))
    ]),
    Case("an address with a macro that is not set is left out", {"RunbookUrl": "{$KODEKS.RUNBOOKS}/key-lost"}, [
        message(FIRING_TEXT.replace(f"\n{LINK}", ""))
    ]),
    Case("a quote cannot leave the link", {"RunbookUrl": 'https://x.example/"><b>'}, [
        message(FIRING_TEXT.replace(LINK, '<a href="https://x.example/&quot;&gt;&lt;b&gt;">What to do</a>'))
    ]),
    Case("all that 6.0 can leave unfilled", dict.fromkeys(
        ("Host", "SeverityName", "Severity", "EventDate", "EventTime", "Duration", "RunbookUrl", "EventTags", "TriggerName"), "{X.Y}"
    ), [message(f"<b>FIRING</b> <code>{LOST}</code>")],),
    Case("all that 7.0 can leave unknown", dict.fromkeys(
        ("Host", "SeverityName", "Severity", "EventDate", "EventTime", "Duration", "RunbookUrl", "EventTags", "TriggerName"), NOTHING
    ), [message(f"<b>FIRING</b> <code>{LOST}</code>")]),
    Case("a sentence that could not be made: the event's name", {"Message": NOTHING}),
    Case("nor that: the alert's name alone", {"Message": NOTHING, "EventName": NOTHING}, [
        message(FIRING_TEXT.replace(f"{LOST}\n", ""))
    ]),
    Case("tags that are no JSON", {"EventTags": "[{"}, [message(FIRING_TEXT.replace("KodeksXmlSensLockStatus", "Kodeks: no key"))],
         keeps(f"{TO}/101", "the event's tags cannot be read: [{")),
    Case("tags that are no list", {"EventTags": '{"tag": "alert"}'}, [message(FIRING_TEXT.replace("KodeksXmlSensLockStatus", "Kodeks: no key"))],
         keeps(f"{TO}/101", 'the event\'s tags cannot be read: {"tag": "alert"}')),
    # The runbook of this project's own triggers: the page of the alert, in the language of the message.
    Case("this project's runbook", {"RunbookUrl": "", "Runbooks": "https://wiki.example/books/", "EventTags": KODEKS_TAGS}, [
        message(FIRING_TEXT.replace(LINK, OWN_LINK))
    ]),
    Case("the same in Russian", {"RunbookUrl": "{TRIGGER.URL}", "Runbooks": "https://wiki.example/books", "EventTags": KODEKS_TAGS,
                                 "Language": "ru"}, [
        message(
            f"<b>FIRING</b> <code>KodeksXmlSensLockStatus</code>\nsrv-01\n{LOST}\nВажность: высокая\nНачало: 23.11.2026 20:08:00\n"
            + OWN_LINK.replace("/en/", "/ru/").replace("What to do", "Развёрнутое описание аварии")
        )
    ]),
    Case("another team's trigger has no page there", {"RunbookUrl": "", "Runbooks": "https://wiki.example/books"}, [
        message(FIRING_TEXT.replace(f"\n{LINK}", ""))
    ]),
    Case("no address of runbooks: no link", {"RunbookUrl": "", "EventTags": KODEKS_TAGS}, [
        message(FIRING_TEXT.replace(f"\n{LINK}", ""))
    ]),
    Case("a trigger's own address comes first", {"Runbooks": "https://wiki.example/books", "EventTags": KODEKS_TAGS}),
    # What is no alarm.
    Case("a canceled escalation is no alarm", {"Message": f"NOTE: Escalation canceled: trigger disabled.\n{LOST}",
                                               "EventTags": tags(f"{TO}/101"), "FollowUp": "edit"}, [
        reply(
            f"<b>CANCELED</b> <code>KodeksXmlSensLockStatus</code>\nsrv-01\nNOTE: Escalation canceled: trigger disabled.\n{LOST}\n{FACTS}\n{LINK}"
        )
    ], keeps_nothing(), before=earlier),
    Case("a canceled escalation in Russian", {"Message": f"NOTE: Escalation cancelled: trigger \"x\" disabled.\n{LOST}", "Language": "ru"}, [
        message(
            "<b>ОТМЕНА</b> <code>KodeksXmlSensLockStatus</code>\nsrv-01\nZabbix больше не сообщит об этой проблеме: отключены триггер, элемент "
            f"данных, узел сети или действие. Проблема не устранена.\n{LOST}\nВажность: высокая\nНачало: 23.11.2026 20:08:00\n{LINK_RU}"
        )
    ]),
    # Topics.
    Case("a topic", {"To": TOPIC}, [message(message_thread_id=7)], keeps(tag=f"{TAG}:7")),
    Case("a topic that was deleted", {"To": TOPIC}, [message(message_thread_id=7), message()], keeps(f"{TO}/101", NO_TOPIC, tag=f"{TAG}:7"),
         codes=(400, 200), before=lambda bot: bot.delete_topic(CHAT, 7)),
    Case("a topic that was closed", {"To": TOPIC}, [message(message_thread_id=7), message()],
         keeps(f"{TO}/101", NO_TOPIC.replace("message thread not found", "TOPIC_CLOSED"), tag=f"{TAG}:7"),
         codes=(400, 200), before=lambda bot: bot.close_topic(CHAT, 7)),
    # Recipients and tokens that are wrong.
    Case("no such chat", {"To": "-100999"}, [message(chat_id="-100999")], fails("Telegram answers 400: Bad Request: chat not found"),
         1, (400,)),
    Case("a recipient that is no chat", {"To": "ann@kodeks.example"}, [], fails(
        'the recipient "ann@kodeks.example" is no chat: give its number or @name, and :N for a topic'
    ), 1, ()),
    Case("the bot was blocked", {}, [message()], fails("Telegram answers 403: Forbidden: bot was blocked by the user"), 1, (403,),
         before=lambda bot: bot.forbid(CHAT)),
    Case("no token set, or the Test window", {"BotToken": "{$TELEGRAM.TOKEN}"}, [], fails(
        'no token: {$TELEGRAM.TOKEN} is not filled in. Add it as a global macro, type "Secret text". In the Test window, which fills in '
        "no macro, write the token itself into BotToken"
    ), 1, ()),
    *(Case(f"a token from a vault that gives none, {version}", {"BotToken": text}, [], fails(
        'no token: the global macro {$TELEGRAM.TOKEN} has the type "Vault secret", and the vault does not give it: choose the type '
        '"Secret text"'
    ), 1, ()) for version, text in (("6.0", "******"), ("7.0", NOTHING))),
    Case("an empty token", {"BotToken": " "}, [], fails("no token: the global macro {$TELEGRAM.TOKEN} is empty"), 1, ()),
    Case("something else in the token's place is not printed", {"BotToken": "hunter2 hunter2"}, [], fails(
        "the token in {$TELEGRAM.TOKEN} has not the form that BotFather gives, 123456:ABC-def"
    ), 1, ()),
    Case("a token that Telegram does not know", {"BotToken": "987654321:another-token"}, [message()],
         fails("Telegram answers 401: Unauthorized"), 1, (401,)),
    # A group that moved.
    Case("the group became a supergroup", {}, [message(), message(chat_id=str(MOVED_TO))], keeps(
        f"{MOVED_TO}/101", f'the group {TO} became the supergroup {MOVED_TO}: change the user\'s media "Send to"'
    ), codes=(400, 200), before=lambda bot: bot.migrate(CHAT, MOVED_TO)),
    Case("it did so since the problem: numbers of old messages mean others now", RECOVERY,
         [reply(), message(RESOLVED_TEXT, chat_id=str(MOVED_TO))], keeps_nothing(
             f'the group {TO} became the supergroup {MOVED_TO}: change the user\'s media "Send to"'
         ), codes=(400, 200), before=earlier_then_moved),
    Case("it had done so before the problem: the answer goes to the new group", {**RECOVERY, "EventTags": tags(f"{MOVED_TO}/101")},
         [reply(chat_id=str(MOVED_TO))], keeps_nothing(), before=moved_then_earlier),
    # Telegram's limits.
    Case("wait as long as Telegram asks", {}, [message()] * 2, codes=(429, 200), answers=[too_many_requests(1)]),
    Case("not longer than the script may run", {}, [message()],
         fails("Telegram answers 429: Too Many Requests: retry after 56"), 1, (429,), answers=[too_many_requests(56)]),
    Case("more limits than Zabbix gives request objects", {}, [message()] * 12, codes=(*[429] * 11, 200),
         answers=[Answer(429, b'{"ok": false, "parameters": {"retry_after": 0.05}}')] * 11),
    # Telegram refuses what it should not: plainer.
    Case("markup refused: plain text", {"Host": HOSTILE}, [
        message(FIRING_TEXT.replace("srv-01", HOSTILE_HTML)),
        message(re.sub("</?(b|code)>", "", FIRING_TEXT).replace(LINK, "What to do").replace("srv-01", HOSTILE), parse_mode=None),
    ], keeps(f"{TO}/101", "Telegram does not take the markup (Bad Request: can't parse entities: so it goes): sent as plain text"),
         codes=(400, 200), answers=[refuse(400, "Bad Request: can't parse entities: so it goes")]),
    Case("an old Bot API that insists on the first message", RECOVERY, [reply(), message(RESOLVED_TEXT)], keeps_nothing(),
         codes=(400, 200), answers=[refuse(400, "Bad Request: message to be replied not found")], before=earlier_deleted),
    # The way to Telegram.
    Case("a proxy's page, once", {}, [message()] * 2, codes=(502, 200), answers=[page(502, BAD_GATEWAY)]),
    Case("a proxy's page, as it is", {}, [message()] * 3, fails(
        "HTTP 502, not an answer of Telegram: <html> <head><title>502 Bad Gateway</title></head> <body>nginx</body></html>"
    ), 1, (502,) * 3, answers=[page(502, BAD_GATEWAY)] * 3),
    Case("a long page is shortened", {}, [message()], fails(f"HTTP 200, not an answer of Telegram: {'ж' * 197}..."), 1,
         answers=[page(200, "ж" * 5000)]),
    Case("a page that repeats the URL does not tell the token", {}, [message()],
         fails(f"HTTP 403, not an answer of Telegram: {MASKED}"), 1, (403,), answers=[page(403, ECHO)]),
    Case("nor does a Bot API that repeats it", {}, [message()], fails(f"Telegram answers 400: {MASKED}"), 1, (400,),
         answers=[refuse(400, ECHO)]),
    Case("an empty answer", {}, [message()], fails("HTTP 200, not an answer of Telegram: "), 1, answers=[page(200, "")]),
    Case("JSON of somebody else", {}, [message()], fails('HTTP 200, not an answer of Telegram: {"status": "up"}'), 1,
         answers=[Answer(body=b'{"status": "up"}')]),
    Case("the connection breaks once", {}, [message()] * 2, codes=(0, 200), answers=[hang_up()]),
    Case("the connection breaks again and again", {}, [message()] * 3,
         fails("cannot get URL: Server returned nothing (no headers, no data)."), 1, (0,) * 3, answers=[hang_up()] * 3),
    Case("the answer is lost: told twice rather than never", {}, [message()] * 2, keeps(f"{TO}/102"), codes=(0, 200),
         answers=[hang_up(delivered=True)]),
    Case("a slow answer", {}, answers=[slow(0.5)]),
    Case("no answer within the script's time", {}, [message()],
         fails("no answer within the time of the script (RangeError: execution timeout)"), 1, (200,), answers=[slow(1.6)], timeout=1),
    Case("an HTTP proxy", {"BotUrl": "http://api.telegram.example", "HttpProxy": "proxy"}),
    Case("a proxy's password stays secret", {"BotUrl": "http://api.telegram.example", "HttpProxy": "proxy with password"},
         [message()], fails("HTTP 407, not an answer of Telegram: who is ann:<secret> or ann:<secret>?"), 1, (407,),
         answers=[page(407, "who is ann:pass:w@rd or ann:pass:w%40rd?")]),
    # Other events than triggers'.
    Case("discovery", {**PROBLEM, "EventSource": "1", "EventValue": "0", "Subject": "Discovery: 192.0.2.7 is UP",
                       "Message": "Rule: offices\r\nDNS name: {DISCOVERY.DEVICE.DNS}\r\nUptime: *UNKNOWN*\r\n"}, [
        message("<b>Discovery: 192.0.2.7 is UP</b>\nRule: offices")
    ], keeps_nothing()),
    # Storms: without the Zabbix API every message goes by itself.
    Case("a Zabbix API that does not answer does not stop an alarm",
         {"ZabbixUrl": "http://127.0.0.1:1", "ZabbixToken": "abcdef0123456789"},
         printed=keeps(f"{TO}/101", "no digest, each message by itself: cannot get URL: Couldn't connect to server.")),
    Case("nor does an address that is no Zabbix", {"ZabbixUrl": "bot", "ZabbixToken": "abcdef0123456789"},
         [OWN_ALERT, message()],
         keeps(f"{TO}/101", "no digest, each message by itself: HTTP 200, not an answer of the Zabbix API: <h1><secret></h1>"),
         codes=(200, 200), answers=[page(200, "<h1>abcdef0123456789</h1>")]),
    *(Case(f"nor does a Zabbix API that refuses the token: {first}", {"ZabbixUrl": "bot", "ZabbixToken": "abcdef0123456789"},
           [OWN_ALERT, {**OWN_ALERT, "auth": "abcdef0123456789"}, message()],
           keeps(f"{TO}/101", f"no digest, each message by itself: the Zabbix API answers: {first}"),
           codes=(200, 200, 200), answers=[api_error(first), api_error(second)])
      for first, second in (
          ("Not authorised.", "Not authorised."),  # before 6.4
          ("API token expired.", 'Invalid parameter "/": unexpected parameter "auth".'),  # 7.2 and newer
          ("Not authorized.", 'Invalid parameter "/": unexpected parameter "auth".'),  # a proxy drops the header
      )),
]


LIBCURL = {
    "(?:Failed to connect to .* after [0-9]+ ms: )?(?:Could not|Couldn't) connect to server": "Couldn't connect to server",
    "Empty reply from server": "Server returned nothing (no headers, no data)",
}
"""What newer versions of libcurl say, and what Debian 12's says."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_table(case: Case, zabbix_version: str, bot: BotApi) -> None:
    bot.add_chat(CHAT, topics=[7])
    bot.add_chat(MOVED_TO)
    case.before(bot)
    bot.script(*case.answers)
    proxies = {"proxy": bot.url, "proxy with password": bot.url.replace("//", "//ann:pass:w%40rd@")}
    given = {**MEDIA_TYPE.parameters, "BotToken": TOKEN, "BotUrl": bot.url, **PROBLEM, **case.given}
    given["ZabbixUrl"] = given["ZabbixUrl"].replace("bot", bot.url)
    given["HttpProxy"] = proxies.get(given["HttpProxy"], given["HttpProxy"])

    code, printed = run_javascript(zabbix_version, MEDIA_TYPE.script, given, case.timeout)

    for pattern, words in LIBCURL.items():
        printed = re.sub(pattern, words, printed)
    assert printed == case.printed
    assert code == case.exit
    if case.timeout < 60:
        bot.wait_for_messages(1, 5)  # the request is recorded only when the late answer is ready
    received = [{"method": request.method, **request.parameters} for request in bot.requests]
    assert received == list(case.sent)
    assert [request.code for request in bot.requests] == list(case.codes)
    through_proxy = {"api.telegram.example"} if "HttpProxy" in case.given else {""}
    assert {request.host for request in bot.requests} <= through_proxy
    assert SECRET not in printed and "hunter2" not in printed and "pass:w" not in printed


# --- length -------------------------------------------------------------------------------------------------------

FRAME = utf16_length("FIRING KodeksXmlSensLockStatus\nsrv-01\n" + f"\n{FACTS}\nWhat to do")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x" * (LONGEST_TEXT - FRAME), "x" * (LONGEST_TEXT - FRAME)),
        ("x" * (LONGEST_TEXT - FRAME + 1), "x" * (LONGEST_TEXT - FRAME - 6) + " [cut]"),
        ("&" * 9000, "&" * (LONGEST_TEXT - FRAME - 6) + " [cut]"),
        ("😀" * 9000, "😀" * ((LONGEST_TEXT - FRAME - 6) // 2) + " [cut]"),
        ("x" + "😀" * 9000, "x" + "😀" * ((LONGEST_TEXT - FRAME - 7) // 2) + " [cut]"),
        ("<b>" * 9000, ("<b>" * 9000)[: LONGEST_TEXT - FRAME - 6] + " [cut]"),
    ],
    ids=["fits exactly", "one too long", "entities", "pairs", "pairs at odd places", "markup"],
)
@pytest.mark.parametrize("escaped", [False, True], ids=["UTF-8", "JSON escapes"])
def test_a_long_text_is_cut_where_nothing_breaks(text: str, kept: str, escaped: bool, zabbix_version: str, bot: BotApi) -> None:
    bot.add_chat(CHAT)
    given = {**MEDIA_TYPE.parameters, **PROBLEM, "BotToken": TOKEN, "BotUrl": bot.url, "Message": text}
    code, printed = run_javascript(zabbix_version, MEDIA_TYPE.script, json.dumps(given, ensure_ascii=escaped))
    assert (code, printed) == (0, keeps())
    expected = f"FIRING KodeksXmlSensLockStatus\nsrv-01\n{kept}\n{FACTS}\nWhat to do"
    assert [message.text for message in bot.messages] == [expected]
    assert [request.code for request in bot.requests] == [200]


# --- the event's name -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "ru"])
def test_the_event_name_is_told_word_for_word(language: str, zabbix_version: str, bot: BotApi) -> None:
    """Whatever language a template has: the script translates its own labels and nothing else."""
    bot.add_chat(CHAT)
    name = "USB forwarder: no answer of the check, but: nothing; forwarder: not watched"
    given = {**MEDIA_TYPE.parameters, **PROBLEM, "BotToken": TOKEN, "BotUrl": bot.url, "Message": name, "EventName": name, "Language": language}
    code, printed = run_javascript(zabbix_version, MEDIA_TYPE.script, given)
    assert (code, printed) == (0, keeps())
    assert [message.text.splitlines()[2] for message in bot.messages] == [name]


@settings(max_examples=60, deadline=None)
@for_any(
    sentence=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300),
    host=st.text(st.sampled_from("<>&\"'/;#xabi =*{}$😀ж\n\r\t\x00\ud83d"), max_size=40),
)
def test_no_text_is_refused(sentence: str, host: str) -> None:
    with BotApi() as bot:
        bot.add_chat(CHAT)
        given = {**MEDIA_TYPE.parameters, **PROBLEM, "BotToken": TOKEN, "BotUrl": bot.url, "Message": sentence, "Host": host}
        code, printed = run_javascript("7.0", MEDIA_TYPE.script, json.dumps(given))
        assert (code, printed) == (0, keeps())
        assert [request.code for request in bot.requests] == [200]


# --- the file ------------------------------------------------------------------------------------------------------


def test_the_yaml_holds_the_readable_script() -> None:
    assert MEDIA_TYPE.script == TELEGRAM_SCRIPT.read_text(encoding="utf-8"), "run: python3 tests/lab/media_type.py"


def test_the_script_waits_less_than_the_media_type_lets_it() -> None:
    assert MEDIA_TYPE.timeout_seconds == 60
    assert "BUDGET = 55000," in MEDIA_TYPE.script


def test_every_parameter_is_read_and_every_one_read_is_given() -> None:
    read = set(re.findall(r"\bgiven\.(\w+)", MEDIA_TYPE.script))
    assert read == set(MEDIA_TYPE.parameters)


def test_no_secret_is_in_the_file() -> None:
    secrets = {name: value for name, value in MEDIA_TYPE.parameters.items() if name.endswith("Token")}
    assert secrets == {"BotToken": "{$TELEGRAM.TOKEN}", "ZabbixToken": "{$TELEGRAM.ZABBIX.TOKEN}"}
    assert TOKEN not in TELEGRAM_YAML.read_text(encoding="utf-8")


# --- on real servers -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def telegram(zabbix: ZabbixLab) -> Iterator[BotApi]:
    """The media type imported into a running Zabbix and set up as its description says."""
    with BotApi() as service:
        zabbix.import_file(TELEGRAM_YAML)
        zabbix.set_macro("{$TELEGRAM.TOKEN}", service.token, secret=True)
        zabbix.set_macro("{$TELEGRAM.URL}", service.url)
        yield service


def add_watched_host(zabbix: ZabbixLab, name: str, group: str, visible_name: str = "") -> str:
    """A host whose state and sentence the test sends; the trigger's event name is the sentence, then and at recovery."""
    host = zabbix.add_host(name, visible_name=visible_name, group=group)
    zabbix.add_trapper_item(host, "state")
    zabbix.add_trapper_item(host, "text", value_type=4)
    trigger = {
        "description": "Kodeks: no key",
        "event_name": "{?last(//text)}",
        "expression": f"last(/{name}/state)=2",
        "priority": 4,
        "url": "https://runbooks.example/key-lost",
        "tags": [{"tag": "alert", "value": "KodeksXmlSensLockStatus"}],
    }
    zabbix.api("trigger.create", trigger)
    return host


def report(zabbix: ZabbixLab, host_name: str, state: int, text: str) -> None:
    """What a check would have brought: the sentence first, then the state that the trigger looks at."""
    zabbix.send(host_name, {"text": text})
    host = zabbix.api("host.get", {"filter": {"host": host_name}, "output": ["hostid"]})[0]["hostid"]
    zabbix.wait_for("the sentence stored", lambda: (zabbix.latest(host, "text") or LatestValue("", 0, 0, "")).value == text)
    zabbix.send(host_name, {"state": state})


def shape(message: Message) -> str:
    """The text with times and durations taken out."""
    return re.sub(r"\b(\d+[dhms] ?)+\b", "DURATION", re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", message.text))


def test_one_evening_on_a_real_server(zabbix: ZabbixLab, telegram: BotApi) -> None:
    telegram.add_chat(CHAT, topics=[7])
    zabbix.notify(MEDIA_TYPE.name, [TOPIC], group="Evening")
    add_watched_host(zabbix, "srv-01", "Evening", "Офис <srv-01> & Co")
    zabbix.sync()
    report(zabbix, "srv-01", 0, "one SenseLock key is attached")

    report(zabbix, "srv-01", 2, "no SenseLock key among <7> USB devices 😀")
    (first,) = telegram.wait_for_messages(1)
    host, frame = "Офис <srv-01> & Co", "Severity: High\nSince: TIME"
    assert shape(first) == (
        f"FIRING KodeksXmlSensLockStatus\n{host}\nno SenseLock key among <7> USB devices 😀\n{frame}\nWhat to do"
    )
    assert (first.thread, first.silent) == (7, False)

    problem = zabbix.api("problem.get", {"output": ["eventid"], "selectTags": "extend"})[0]
    zabbix.wait_for(
        "the first message's number kept as a tag",
        lambda: f"{CHAT}/{first.message_id}" in str(zabbix.api("event.get", {"eventids": problem["eventid"], "selectTags": "extend"})),
    )
    zabbix.api("event.acknowledge", {"eventids": [problem["eventid"]], "action": 6, "message": "looking at it"})
    _, update = telegram.wait_for_messages(2)
    assert shape(update) == (
        f"UPDATE KodeksXmlSensLockStatus\n{host}\nZabbix Administrator (Admin): acknowledged and commented\nlooking at it\n"
        f"{frame}\nWhat to do"
    )

    report(zabbix, "srv-01", 0, "the key is back: 1 SenseLock key")
    _, _, last = telegram.wait_for_messages(3)
    assert shape(last) == (
        f"RESOLVED KodeksXmlSensLockStatus\n{host}\nthe key is back: 1 SenseLock key\n{frame}\nResolved: TIME\nDuration: DURATION\nWhat to do"
    )
    assert [message.reply_to for message in telegram.messages] == [None, first.message_id, first.message_id]
    assert [request.code for request in telegram.requests] == [200] * 3
    zabbix.wait_for("all marked as sent", lambda: [alert["status"] for alert in zabbix.alerts()] == ["1"] * 3)
    assert SECRET not in zabbix.log("server")


def test_an_outage_of_telegram_loses_nothing_and_tells_no_secret(zabbix: ZabbixLab, telegram: BotApi) -> None:
    telegram.clear()
    telegram.add_chat(MOVED_TO)
    telegram.forbid(MOVED_TO)
    zabbix.notify(MEDIA_TYPE.name, [str(MOVED_TO)], group="Outage")
    media = zabbix.api("mediatype.get", {"filter": {"name": MEDIA_TYPE.name}, "output": "extend"})[0]
    assert (media["maxattempts"], media["attempt_interval"], media["maxsessions"]) == ("100", "1m", "1")
    zabbix.api("mediatype.update", {"mediatypeid": media["mediatypeid"], "attempt_interval": "1s"})
    add_watched_host(zabbix, "srv-02", "Outage")
    zabbix.sync()
    report(zabbix, "srv-02", 2, LOST)

    def failing() -> list[dict[str, str]]:
        return [alert for alert in zabbix.alerts() if alert["sendto"] == str(MOVED_TO) and int(alert["retries"]) >= 3]

    (alert,) = zabbix.wait_for("three attempts", failing)
    assert (alert["status"], alert["error"]) == ("0", "Telegram answers 403: Forbidden: bot was blocked by the user")
    telegram.forbid(MOVED_TO, "")
    (message,) = telegram.wait_for_messages(1)
    assert message.text.startswith(f"FIRING KodeksXmlSensLockStatus\nsrv-02\n{LOST}\n")
    assert "Telegram answers 403" in zabbix.log("server") and SECRET not in zabbix.log("server")


def test_a_storm_is_a_digest(zabbix: ZabbixLab, telegram: BotApi) -> None:
    telegram.clear()
    chat, names = CHAT - 7, [f"storm-{number:02}" for number in range(8)]
    telegram.add_chat(chat)
    on_call = zabbix.notify(MEDIA_TYPE.name, [str(chat)], group="Storm")
    zabbix.set_macro("{$ZABBIX.URL}", zabbix.frontend_url)
    zabbix.set_macro("{$TELEGRAM.ZABBIX.TOKEN}", zabbix.create_api_token(on_call), secret=True)
    for name in names:
        add_watched_host(zabbix, name, "Storm")
    zabbix.sync()
    zabbix.send_all([(name, "text", LOST) for name in names])

    def told(count: int) -> bool:
        mine = [alert for alert in zabbix.alerts() if alert["sendto"] == str(chat)]
        return [alert["status"] for alert in mine] == ["1"] * count

    for state, kind, alerts in ((2, "FIRING", len(names)), (0, "RESOLVED", 2 * len(names))):
        telegram.clear()
        zabbix.send_all([(name, "state", state) for name in names])
        zabbix.wait_for(f"every {kind} told", lambda: told(alerts), timeout=180)  # noqa: B023 (called at once)
        messages = telegram.messages
        assert len(messages) <= 3, [message.text for message in messages]
        assert f" {kind}" in messages[0].text.splitlines()[0] and messages[0].text.startswith("DIGEST: ")
        everything = "\n".join(message.text for message in messages)
        assert [name for name in names if everything.count(name) != 1] == []
    assert SECRET not in zabbix.log("server")
