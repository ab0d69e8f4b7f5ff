"""The Bot API stand-in against what the real one is documented to do: a webhook tested against a mild one is untested."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from lab.bot_api import (
    GROUP_LIMIT,
    LONGEST_TEXT,
    TOKEN,
    BadEntities,
    BotApi,
    Chat,
    hang_up,
    page,
    parse_html,
    too_many_requests,
    utf16_length,
)

GROUP = -1001000000001


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("<b>bold</b> <i>it</i>", "bold it"),
        ("<B>upper</B>", "upper"),
        ("<b>closed by nothing</>", "closed by nothing"),
        ('<a href="https://x.example/?a=1&amp;b=2">link</a>', "link"),
        ("<a href=x.example>token</a>", "token"),
        ("<span class='tg-spoiler'>s</span>", "s"),
        ("<blockquote expandable>q</blockquote>", "q"),
        ("&lt;b&gt; &amp; &quot;", '<b> & "'),
        ("&lt without semicolon", "< without semicolon"),
        ("&nbsp; &apos; & &unknown;", "&nbsp; &apos; & &unknown;"),
        ("&#65;&#x42;&#0;", "AB&#0;"),
        ("a > b", "a > b"),
        ("", ""),
    ],
)
def test_markup_that_telegram_takes(source: str, text: str) -> None:
    assert parse_html(source) == text


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("<srv-01>", 'Unsupported start tag "srv-01" at byte offset 0'),
        ("жж <h1>x</h1>", 'Unsupported start tag "h1" at byte offset 5'),
        ("a < b > c", 'Unsupported start tag "" at byte offset 2'),
        ("a < b", 'Unsupported start tag "" at byte offset 2'),
        ("a <b", "Unclosed start tag at byte offset 2"),
        ("<b>x", 'Can\'t find end tag corresponding to start tag "b"'),
        ("<b>x</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'),
        ("x</b>", "Unexpected end tag at byte offset 1"),
        ("<b>x</b", "Unclosed end tag at byte offset 4"),
        ("<a href>x</a>", 'Expected equal sign in declaration of an attribute of the tag "a" at byte offset 0'),
        ('<a href="x>y</a>', "Unclosed start tag at byte offset 0"),
        ("<a href=x/y>z</a>", "Unexpected end of name token at byte offset 8"),
        ("<span>x</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
        ("<!-- c -->", 'Unsupported start tag "!--" at byte offset 0'),
        ("<br/>", 'Unsupported start tag "br/" at byte offset 0'),
    ],
)
def test_markup_that_telegram_refuses(source: str, complaint: str) -> None:
    with pytest.raises(BadEntities) as refused:
        parse_html(source)
    assert str(refused.value) == complaint


def test_length_counts_utf16_code_units() -> None:
    assert (utf16_length("aж"), utf16_length("😀"), utf16_length("")) == (2, 2, 0)


def call(bot: BotApi, method: str, token: str = TOKEN, **parameters: Any) -> tuple[int, dict[str, Any]]:
    """One request as a bot makes it: (HTTP code, the answer)."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{bot.url}/bot{token}/{method}", json.dumps(parameters).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.parametrize(
    ("parameters", "code", "description"),
    [
        ({"text": "x"}, 400, "Bad Request: chat_id is empty"),
        ({"chat_id": 7, "text": "x"}, 400, "Bad Request: chat not found"),
        ({"chat_id": GROUP}, 400, "Bad Request: message text is empty"),
        ({"chat_id": GROUP, "text": " \n"}, 400, "Bad Request: message text is empty"),
        ({"chat_id": GROUP, "text": "<b></b>", "parse_mode": "HTML"}, 400, "Bad Request: message text is empty"),
        ({"chat_id": GROUP, "text": "x" * (LONGEST_TEXT + 1)}, 400, "Bad Request: message is too long"),
        ({"chat_id": GROUP, "text": "😀" * 2049}, 400, "Bad Request: message is too long"),
        ({"chat_id": GROUP, "text": "\ud83d"}, 400, "Bad Request: strings must be encoded in UTF-8"),
        (
            {"chat_id": GROUP, "text": "<x>", "parse_mode": "HTML"},
            400,
            'Bad Request: can\'t parse entities: Unsupported start tag "x" at byte offset 0',
        ),
        ({"chat_id": GROUP, "text": "x", "message_thread_id": 8}, 400, "Bad Request: message thread not found"),
        ({"chat_id": GROUP, "text": "x", "reply_parameters": {"message_id": 5}}, 400, "Bad Request: message to be replied not found"),
        ({"chat_id": GROUP, "text": "x", "reply_to_message_id": 5}, 400, "Bad Request: message to be replied not found"),
    ],
)
def test_what_a_message_is_refused_for(parameters: dict[str, Any], code: int, description: str, bot: BotApi) -> None:
    bot.add_chat(GROUP, topics=[7])
    assert call(bot, "sendMessage", **parameters) == (code, {"ok": False, "error_code": code, "description": description})
    assert bot.messages == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"text": "x" * LONGEST_TEXT},
        {"text": "<b>" + "x" * LONGEST_TEXT + "</b>", "parse_mode": "HTML"},
        {"text": "&amp;" * LONGEST_TEXT, "parse_mode": "HTML"},
        {"text": "x", "message_thread_id": 7},
        {"text": "x", "reply_parameters": {"message_id": 5, "allow_sending_without_reply": True}},
        {"text": "x", "reply_to_message_id": 5, "allow_sending_without_reply": True},
    ],
    ids=["longest", "longest with markup", "longest of entities", "topic", "reply to nothing", "old reply to nothing"],
)
def test_what_is_taken(parameters: dict[str, Any], bot: BotApi) -> None:
    bot.add_chat(GROUP, topics=[7])
    code, answer = call(bot, "sendMessage", chat_id=GROUP, **parameters)
    assert (code, answer["ok"], answer["result"]["message_id"]) == (200, True, 101)
    assert [message.reply_to for message in bot.messages] == [None]


def test_tokens_and_methods(bot: BotApi) -> None:
    assert call(bot, "getMe")[1]["result"]["id"] == 123456789
    assert call(bot, "getMe", token="1:wrong") == (401, {"ok": False, "error_code": 401, "description": "Unauthorized"})
    assert call(bot, "getMe", token="wrong") == (404, {"ok": False, "error_code": 404, "description": "Not Found"})
    assert call(bot, "getTea")[1]["description"] == "Not Found: method not found"


def test_a_message_is_changed_answered_and_deleted(bot: BotApi) -> None:
    bot.add_chat(GROUP)
    assert call(bot, "sendMessage", chat_id=str(GROUP), text="one")[0] == 200
    same = call(bot, "editMessageText", chat_id=GROUP, message_id=101, text="one")
    assert same[1]["description"].startswith("Bad Request: message is not modified: ")
    assert call(bot, "editMessageText", chat_id=GROUP, message_id=101, text="two")[0] == 200
    assert call(bot, "sendMessage", chat_id=GROUP, text="three", reply_parameters={"message_id": "101"})[1]["result"][
        "reply_to_message"
    ]["message_id"] == 101
    bot.delete_message(GROUP, 101)
    assert call(bot, "editMessageText", chat_id=GROUP, message_id=101, text="x")[1]["description"] == "Bad Request: message to edit not found"
    assert call(bot, "deleteMessage", chat_id=GROUP, message_id=101)[1]["description"] == "Bad Request: message to delete not found"
    assert [(message.text, message.edits, message.deleted) for message in bot.messages] == [("two", 1, True), ("three", 0, False)]


def test_what_happens_to_a_chat(bot: BotApi) -> None:
    bot.add_chat(GROUP, topics=[7])
    bot.close_topic(GROUP, 7)
    assert call(bot, "sendMessage", chat_id=GROUP, text="x", message_thread_id=7)[1]["description"] == "Bad Request: TOPIC_CLOSED"
    bot.forbid(GROUP)
    assert call(bot, "sendMessage", chat_id=GROUP, text="x")[0] == 403
    bot.migrate(GROUP, GROUP - 1)
    code, answer = call(bot, "sendMessage", chat_id=GROUP, text="x")
    assert (code, answer["parameters"]) == (400, {"migrate_to_chat_id": GROUP - 1})
    assert call(bot, "sendMessage", chat_id=GROUP - 1, text="x")[0] == 200


def test_scripted_answers_come_once_and_in_order(bot: BotApi) -> None:
    bot.add_chat(GROUP)
    bot.script(too_many_requests(5), hang_up(), hang_up(delivered=True))
    assert call(bot, "sendMessage", chat_id=GROUP, text="x")[1]["parameters"] == {"retry_after": 5}
    for delivered in (0, 1):
        with pytest.raises(OSError, match="."):
            call(bot, "sendMessage", chat_id=GROUP, text="x")
        assert len(bot.messages) == delivered
    bot.script(page(502, "<html>"))
    with pytest.raises(json.JSONDecodeError):
        call(bot, "getMe")
    assert call(bot, "getMe")[0] == 200


def test_the_limits_of_a_group_and_of_a_person() -> None:
    group, person = Chat(GROUP), Chat(77)
    times = [second * 1.5 for second in range(GROUP_LIMIT)]
    assert [group.retry_after(now) for now in times] == [0] * GROUP_LIMIT
    assert group.retry_after(times[-1] + 0.4) == 32  # the 21st within a minute waits for the first to be a minute old
    assert group.retry_after(times[0] + 60) == 0
    assert [person.retry_after(now) for now in (*times, times[-1] + 0.4, times[-1] + 1)] == [0] * GROUP_LIMIT + [1, 0]


def test_the_limits_over_http() -> None:
    with BotApi(rate_limits=True) as bot:
        bot.add_chat(77)
        answers = [call(bot, "sendMessage", chat_id=77, text="x") for _ in range(2)]
        assert [code for code, _ in answers] == [200, 429]
        assert answers[1][1]["parameters"] == {"retry_after": 1}
        assert len(bot.messages) == 1
