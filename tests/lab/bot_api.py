#!/usr/bin/env python3
"""A Telegram Bot API on loopback: it refuses what the real one refuses, in the same words, and remembers the rest.

    with BotApi() as bot:
        bot.add_chat(-1001000000001, topics=[7])
        ...                                     # software under test posts to bot.url with bot.token
        assert [message.text for message in bot.messages] == ["FIRING KodeksXmlSensLockStatus"]

or from a shell, one JSON line a request on standard output:

    python3 bot_api.py --port 8081 --chat=-1001000000001:7,9 --rate-limits

Served: getMe, sendMessage, editMessageText, deleteMessage. The rules and their sources:

* answers, error words, `parameters`: the public Bot API documentation and the open-source server behind it
  (tdlib/telegram-bot-api, Client.cpp); HTML mode and UTF-16 lengths: TDLib, MessageEntity.cpp (`parse_html`);
* topics: `message thread not found` and `TOPIC_CLOSED`, as published bots report them;
* limits (one message a second in a chat, 20 a minute in a group): the Bots FAQ. The real limits are not published
  exactly and allow short bursts; this model does not.

What else can go wrong between a bot and Telegram is scripted, one `Answer` a request: `too_many_requests`, `refuse`,
`page` (a proxy's HTML), `slow`, `hang_up`. A request in absolute form (`POST http://host/...`), as an HTTP client
sends it to a proxy, is served too, and its record says for which host it was: so the same object stands in for the
proxy. `ApiRequest` is the log, `Message` what people see in the chat.
"""

from __future__ import annotations

import argparse
import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

TOKEN = "123456789:LAB-token_abcdefghijklmnopqrstuvwxy"  # has a real token's form; no bot owns it
LONGEST_TEXT = 4096  # UTF-16 code units, after the markup has been taken out
GROUP_WINDOW, GROUP_LIMIT = 60.0, 20
CHAT_WINDOW = 1.0
TAGS = frozenset(
    ("a", "b", "strong", "i", "em", "s", "strike", "del", "u", "ins", "span", "pre", "code", "blockquote")
    + ("tg-spoiler", "tg-emoji")
)
NAMED_CHARACTERS = {"lt": "<", "gt": ">", "amp": "&", "quot": '"'}
NOT_MODIFIED = (
    "message is not modified: specified new message content and reply markup are exactly the same"
    " as a current content and reply markup of the message"
)


# --- Telegram's HTML mode ---------------------------------------------------------------------------------------


class BadEntities(ValueError):
    """Markup that Telegram refuses; the text is what follows "can't parse entities: " in its answer."""


def parse_html(source: str) -> str:
    """The text that people see, or BadEntities: Telegram's HTML mode, as strict as TDLib's `parse_html`.

    Every `<` must begin a tag that Telegram knows; tags must nest and close; of the named characters only lt, gt, amp
    and quot exist, anything else after `&` is taken literally.
    """
    text: list[str] = []
    open_tags: list[str] = []
    position = 0
    while position < len(source):
        character = source[position]
        if character == "&":
            decoded, position = _decode_character(source, position)
            text.append(decoded)
        elif character != "<":
            text.append(character)
            position += 1
        elif source.startswith("</", position):
            position = _close_tag(source, position, open_tags)
        else:
            position = _open_tag(source, position, open_tags)
    if open_tags:
        raise BadEntities(f'Can\'t find end tag corresponding to start tag "{open_tags[-1]}"')
    return "".join(text)


def utf16_length(text: str) -> int:
    """Length as Telegram counts it: UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _decode_character(source: str, start: int) -> tuple[str, int]:
    """The character that `&...;` stands for and the position behind it; a literal `&` when it stands for none."""
    end = start + 1
    if source.startswith("#", end):
        base, allowed = (16, "0123456789abcdefABCDEF") if source.startswith("x", end + 1) else (10, "0123456789")
        end += 2 if base == 16 else 1
        digits = end
        while end < len(source) and source[end] in allowed:
            end += 1
        code = int(source[digits:end] or "0", base)
        if not 0 < code < 0x10FFFF or end - start >= 10:
            return "&", start + 1
        decoded = chr(code)
    else:
        while end < len(source) and source[end].isascii() and source[end].isalpha():
            end += 1
        named = NAMED_CHARACTERS.get(source[start + 1 : end])
        if named is None:
            return "&", start + 1
        decoded = named
    return decoded, end + 1 if source.startswith(";", end) else end


def _open_tag(source: str, start: int, open_tags: list[str]) -> int:
    """Read a start tag, put it on the stack and return the position behind it."""
    end = _until(source, start + 1, lambda c: c.isspace() or c == ">")
    if end == len(source):
        raise BadEntities(f"Unclosed start tag at byte offset {_offset(source, start)}")
    tag = source[start + 1 : end].lower()
    if tag not in TAGS:
        raise BadEntities(f'Unsupported start tag "{tag}" at byte offset {_offset(source, start)}')
    attributes: dict[str, str] = {}
    while True:
        end = _until(source, end, lambda c: not c.isspace())
        if source.startswith(">", end):
            break
        name, value, end = _attribute(source, end, tag, start)
        attributes[name] = value
    if tag == "span" and attributes.get("class") != "tg-spoiler":
        raise BadEntities(f'Tag "span" must have class "tg-spoiler" at byte offset {_offset(source, start)}')
    open_tags.append(tag)
    return end + 1


def _attribute(source: str, start: int, tag: str, tag_start: int) -> tuple[str, str, int]:
    """One attribute: its name, its value and the position behind it."""
    where = _offset(source, tag_start)
    end = _until(source, start, lambda c: c.isspace() or c in "=>")
    name = source[start:end]
    if not name:
        raise BadEntities(
            f"Unclosed start tag at byte offset {where}" if end == len(source)
            else f'Empty attribute name in the tag "{tag}" at byte offset {where}'
        )
    end = _until(source, end, lambda c: not c.isspace())
    if not source.startswith("=", end):
        if tag == "blockquote" and name == "expandable":
            return name, "", end
        raise BadEntities(f'Expected equal sign in declaration of an attribute of the tag "{tag}" at byte offset {where}')
    end = _until(source, end + 1, lambda c: not c.isspace())
    if end == len(source):
        raise BadEntities(f'Unclosed start tag "{tag}" at byte offset {where}')
    quote = source[end]
    if quote in "'\"":
        close = source.find(quote, end + 1)
        if close < 0 or close + 1 == len(source):
            raise BadEntities(f"Unclosed start tag at byte offset {where}")
        return name, source[end + 1 : close], close + 1
    close = _until(source, end, lambda c: not (c.isascii() and (c.isalnum() or c in ".-")))
    if close == len(source) or not (source[close].isspace() or source[close] == ">"):
        raise BadEntities(f"Unexpected end of name token at byte offset {_offset(source, end)}")
    return name, source[end:close].lower(), close


def _close_tag(source: str, start: int, open_tags: list[str]) -> int:
    """Read an end tag, take its partner from the stack and return the position behind it."""
    if not open_tags:
        raise BadEntities(f"Unexpected end tag at byte offset {_offset(source, start)}")
    name_end = _until(source, start + 2, lambda c: c.isspace() or c == ">")
    end = _until(source, name_end, lambda c: not c.isspace())
    if not source.startswith(">", end):
        raise BadEntities(f"Unclosed end tag at byte offset {_offset(source, start)}")
    found, expected = source[start + 2 : name_end].lower(), open_tags.pop()
    if found and found != expected:
        raise BadEntities(
            f'Unmatched end tag at byte offset {_offset(source, start)}, expected "</{expected}>", found "</{found}>"'
        )
    return end + 1


def _until(source: str, position: int, stop: Callable[[str], bool]) -> int:
    while position < len(source) and not stop(source[position]):
        position += 1
    return position


def _offset(source: str, position: int) -> int:
    return len(source[:position].encode("utf-8", "surrogatepass"))


# --- What the tests see -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Message:
    """A message as it stands in the chat: `text` without markup, `source` with it."""

    chat_id: int
    message_id: int
    text: str
    source: str
    thread: int | None = None
    reply_to: int | None = None
    silent: bool = False
    edits: int = 0
    deleted: bool = False


@dataclass(frozen=True)
class ApiRequest:
    """One request and how it was answered. `host` is set when the client took this server for a proxy."""

    time: float
    method: str
    parameters: Mapping[str, Any]
    code: int
    description: str
    message_id: int | None
    host: str
    path: str


@dataclass(frozen=True)
class Answer:
    """What happens to one request instead of the ordinary service.

    `body` None lets the request be served as usual. `delay` seconds pass first. `close` ends the connection without
    an answer, after the request has been served when `body` is None and `lost` is not set.
    """

    code: int = 200
    body: bytes | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    close: bool = False
    lost: bool = False


def refuse(code: int, description: str, **parameters: int) -> Answer:
    """An error in the Bot API's own form; `parameters` such as migrate_to_chat_id."""
    document: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    if parameters:
        document["parameters"] = parameters
    headers = {"Retry-After": str(parameters["retry_after"])} if "retry_after" in parameters else {}
    return Answer(code, json.dumps(document).encode(), headers=headers)


def too_many_requests(retry_after: int) -> Answer:
    """429 with the seconds to wait."""
    return refuse(429, f"Too Many Requests: retry after {retry_after}", retry_after=retry_after)


def page(code: int, html: str) -> Answer:
    """An HTML page, as a proxy or a portal in between answers."""
    return Answer(code, html.encode(), content_type="text/html; charset=utf-8")


def slow(seconds: float) -> Answer:
    """Served as usual, but only after a while."""
    return Answer(delay=seconds)


def hang_up(delivered: bool = False) -> Answer:
    """The connection ends without an answer; `delivered`: the message had arrived in the chat all the same."""
    return Answer(close=True, lost=not delivered)


# --- The service ------------------------------------------------------------------------------------------------


class Refused(Exception):
    """The service's own refusal: HTTP code, description and `parameters` of the answer."""

    def __init__(self, code: int, description: str, **parameters: int) -> None:
        super().__init__(description)
        self.answer = refuse(code, description, **parameters)
        self.code, self.description = code, description


@dataclass
class Chat:
    """A chat the bot knows. Positive ids are people, negative ids groups, -100... supergroups."""

    chat_id: int
    topics: set[int] = field(default_factory=set)
    closed_topics: set[int] = field(default_factory=set)
    forbidden: str = ""
    migrated_to: int | None = None
    messages: dict[int, Message] = field(default_factory=dict)
    sent_at: deque[float] = field(default_factory=deque)

    def retry_after(self, now: float) -> int:
        """Seconds until the limits admit one more message; 0: now. Counts this message when they do."""
        while self.sent_at and now - self.sent_at[0] > GROUP_WINDOW:
            self.sent_at.popleft()
        wait = 0.0
        if self.sent_at and now - self.sent_at[-1] < CHAT_WINDOW:
            wait = CHAT_WINDOW - (now - self.sent_at[-1])
        if self.chat_id < 0 and len(self.sent_at) >= GROUP_LIMIT:
            wait = max(wait, GROUP_WINDOW - (now - self.sent_at[-GROUP_LIMIT]))
        if wait <= 0:
            self.sent_at.append(now)
        return math.ceil(wait)


class BotApi:
    """The service; a context manager. Thread-safe: the tests may look while requests come in.

    `token` is the one accepted, `rate_limits` turns the limits on. Unknown chats answer "chat not found": name them
    with add_chat. `port` 0 takes a free one.
    """

    def __init__(self, token: str = TOKEN, *, rate_limits: bool = False, port: int = 0) -> None:
        self.token, self.rate_limits = token, rate_limits
        self.requests: list[ApiRequest] = []
        self.on_request: Callable[[ApiRequest], None] | None = None
        self._chats: dict[int, Chat] = {}
        self._answers: deque[Answer] = deque()
        self._next_id = 101
        self._changed = threading.Condition(threading.RLock())
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_for(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self) -> BotApi:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Address of the service, without a slash at the end; also the address of the proxy it stands in for."""
        return f"http://127.0.0.1:{self.port}"

    # -- stage directions

    def add_chat(self, chat_id: int, topics: Iterable[int] = ()) -> None:
        """Let the bot know a chat, and the topics it has."""
        with self._changed:
            self._chats[chat_id] = Chat(chat_id, set(topics))

    def script(self, *answers: Answer) -> None:
        """Answer the next requests so, one each, in this order."""
        with self._changed:
            self._answers.extend(answers)

    def put_message(self, chat_id: int, text: str = "earlier", thread: int | None = None) -> int:
        """Put a message into a chat, as if it had been sent earlier, and return its number."""
        with self._changed:
            message = Message(chat_id, self._next_id, text, text, thread)
            self._next_id += 1
            self._chats[chat_id].messages[message.message_id] = message
            return message.message_id

    def delete_message(self, chat_id: int, message_id: int) -> None:
        """Somebody deletes a message."""
        with self._changed:
            messages = self._chats[chat_id].messages
            messages[message_id] = replace(messages[message_id], deleted=True)

    def delete_topic(self, chat_id: int, thread: int) -> None:
        """Somebody deletes a topic."""
        with self._changed:
            self._chats[chat_id].topics.discard(thread)

    def close_topic(self, chat_id: int, thread: int) -> None:
        """Somebody closes a topic: a bot that is no administrator cannot write there."""
        with self._changed:
            self._chats[chat_id].closed_topics.add(thread)

    def forbid(self, chat_id: int, description: str = "Forbidden: bot was blocked by the user") -> None:
        """From now on the chat answers 403; "" lets the bot in again."""
        with self._changed:
            self._chats[chat_id].forbidden = description

    def migrate(self, chat_id: int, new_id: int) -> None:
        """The group becomes a supergroup with a new id."""
        with self._changed:
            self._chats[chat_id].migrated_to = new_id
            self._chats.setdefault(new_id, Chat(new_id))

    # -- what came of it

    @property
    def messages(self) -> list[Message]:
        """Every message that is or was in a chat, oldest first, as edited last."""
        with self._changed:
            found = [message for chat in self._chats.values() for message in chat.messages.values()]
        return sorted(found, key=lambda message: message.message_id)

    def wait_for_messages(self, count: int, timeout: float = 30) -> list[Message]:
        """The messages, once there are at least `count`; TimeoutError names those that came."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.messages) >= count, timeout):
                raise TimeoutError(f"{len(self.messages)} of {count} messages: {[m.text for m in self.messages]}")
            return self.messages

    def clear(self) -> None:
        """Forget messages, requests and scripted answers; chats and message numbers stay."""
        with self._changed:
            self.requests.clear()
            self._answers.clear()
            for chat in self._chats.values():
                chat.messages.clear()
                chat.sent_at.clear()

    # -- serving

    def _next_answer(self) -> Answer:
        with self._changed:
            return self._answers.popleft() if self._answers else Answer()

    def _serve(self, method: str, token: str, raw: bytes, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The result of one request; Refused otherwise."""
        with self._changed:
            if not token.partition(":")[0].isdigit():
                raise Refused(404, "Not Found")
            if token != self.token:
                raise Refused(401, "Unauthorized")
            _demand_utf8(raw, parameters)
            known = {"getme": self._get_me, "sendmessage": self._send, "editmessagetext": self._edit, "deletemessage": self._delete}
            if method.lower() not in known:
                raise Refused(404, "Not Found: method not found")
            return known[method.lower()](parameters)

    def _get_me(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {"id": int(self.token.partition(":")[0]), "is_bot": True, "first_name": "Lab", "username": "lab_bot"}

    def _send(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        chat = self._chat(parameters)
        text, source = _text(parameters)
        thread = _integer(parameters.get("message_thread_id"))
        if thread is not None and thread not in chat.topics:
            raise Refused(400, "Bad Request: message thread not found")
        if thread in chat.closed_topics:
            raise Refused(400, "Bad Request: TOPIC_CLOSED")
        reply_to = self._replied_message(chat, parameters)
        self._admit(chat)
        message = Message(
            chat.chat_id, self._next_id, text, source, thread, reply_to, parameters.get("disable_notification") is True
        )
        self._next_id += 1
        chat.messages[message.message_id] = message
        return _as_result(message)

    def _edit(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        chat = self._chat(parameters)
        text, source = _text(parameters)
        before = chat.messages.get(_integer(parameters.get("message_id")) or 0)
        if before is None or before.deleted:
            raise Refused(400, "Bad Request: message to edit not found")
        if before.source == source:
            raise Refused(400, "Bad Request: " + NOT_MODIFIED)
        self._admit(chat)
        message = replace(before, text=text, source=source, edits=before.edits + 1)
        chat.messages[message.message_id] = message
        return _as_result(message)

    def _delete(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        chat = self._chat(parameters)
        message_id = _integer(parameters.get("message_id")) or 0
        if message_id not in chat.messages or chat.messages[message_id].deleted:
            raise Refused(400, "Bad Request: message to delete not found")
        self.delete_message(chat.chat_id, message_id)
        return {}

    def _chat(self, parameters: Mapping[str, Any]) -> Chat:
        wanted = parameters.get("chat_id")
        if wanted in (None, ""):
            raise Refused(400, "Bad Request: chat_id is empty")
        chat = self._chats.get(_integer(wanted) or 0)
        if chat is None:
            raise Refused(400, "Bad Request: chat not found")
        if chat.migrated_to is not None:
            raise Refused(
                400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=chat.migrated_to
            )
        if chat.forbidden:
            raise Refused(403, chat.forbidden)
        return chat

    def _admit(self, chat: Chat) -> None:
        wait = chat.retry_after(time.monotonic()) if self.rate_limits else 0
        if wait:
            raise Refused(429, f"Too Many Requests: retry after {wait}", retry_after=wait)

    @staticmethod
    def _replied_message(chat: Chat, parameters: Mapping[str, Any]) -> int | None:
        """The message this one replies to; None when it replies to none or when that one is gone and may be."""
        modern = parameters.get("reply_parameters")
        wish = modern if isinstance(modern, dict) else parameters
        wanted = _integer(wish.get("message_id") if isinstance(modern, dict) else wish.get("reply_to_message_id"))
        if wanted is None:
            return None
        if wanted in chat.messages and not chat.messages[wanted].deleted:
            return wanted
        if wish.get("allow_sending_without_reply") is True:
            return None
        raise Refused(400, "Bad Request: message to be replied not found")

    def _record(self, request: ApiRequest) -> None:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        if self.on_request is not None:
            self.on_request(request)


def _demand_utf8(raw: bytes, parameters: Mapping[str, Any]) -> None:
    """Half a surrogate pair or a broken sequence is no text (the words for a lone surrogate are this model's)."""
    try:
        raw.decode("utf-8")
        json.dumps(dict(parameters), ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise Refused(400, "Bad Request: strings must be encoded in UTF-8") from None


def _text(parameters: Mapping[str, Any]) -> tuple[str, str]:
    """What people will see and what was sent; Refused for markup, length or emptiness."""
    source = parameters.get("text")
    if not isinstance(source, str) or not source:
        raise Refused(400, "Bad Request: message text is empty")
    mode = str(parameters.get("parse_mode") or "").lower()
    if mode not in ("", "html"):
        raise NotImplementedError(f"parse_mode {mode!r} is not modelled")
    try:
        text = (parse_html(source) if mode == "html" else source).strip()
    except BadEntities as error:
        raise Refused(400, f"Bad Request: can't parse entities: {error}") from None
    if not text:
        raise Refused(400, "Bad Request: message text is empty")
    if utf16_length(text) > LONGEST_TEXT:
        raise Refused(400, "Bad Request: message is too long")
    return text, source


def _integer(value: object) -> int | None:
    """Numbers arrive as numbers or as text; the Bot API takes both."""
    try:
        return int(str(value))
    except ValueError:
        return None


def _as_result(message: Message) -> dict[str, Any]:
    kind = "private" if message.chat_id > 0 else "supergroup" if str(message.chat_id).startswith("-100") else "group"
    result: dict[str, Any] = {
        "message_id": message.message_id,
        "date": int(time.time()),
        "chat": {"id": message.chat_id, "type": kind},
        "text": message.text,
    }
    if message.thread is not None:
        result.update(message_thread_id=message.thread, is_topic_message=True)
    if message.reply_to is not None:
        result["reply_to_message"] = {"message_id": message.reply_to, "chat": {"id": message.chat_id, "type": kind}}
    return result


def _handler_for(bot: BotApi) -> type[BaseHTTPRequestHandler]:
    """The HTTP side: reads a request, lets `bot` serve it or does what was scripted, answers, records."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # noqa: N802 (the name is given by http.server)
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            address = urlsplit(self.path)
            parts = unquote(address.path).lstrip("/").split("/")
            token = parts[0][3:] if parts[0].startswith("bot") else ""
            method = parts[-1] if len(parts) > 1 else ""
            parameters = _parameters(raw, self.headers.get("Content-Type") or "", address.query)
            script = bot._next_answer()
            time.sleep(script.delay)
            answer, description, message_id = self.outcome(script, method, token, raw, parameters)
            bot._record(
                ApiRequest(
                    time.monotonic(), method, parameters, 0 if script.close else answer.code, description, message_id,
                    address.netloc, self.path,
                )
            )
            if script.close:
                self.close_connection = True
                return
            self.reply(answer)

        do_GET = do_POST

        def outcome(
            self, script: Answer, method: str, token: str, raw: bytes, parameters: Mapping[str, Any]
        ) -> tuple[Answer, str, int | None]:
            if script.lost:
                return script, "connection closed", None
            if script.body is not None:
                return script, script.body.decode("utf-8", "replace"), None
            try:
                result = bot._serve(method, token, raw, parameters)
            except Refused as refused:
                return refused.answer, refused.description, None
            document = {"ok": True, "result": result or True}
            return Answer(body=json.dumps(document).encode()), "", result.get("message_id")

        def reply(self, answer: Answer) -> None:
            """Answer; a client that has given up meanwhile is no error of ours."""
            body = answer.body or b""
            self.send_response(answer.code)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            try:
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                self.close_connection = True

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (given by http.server)
            """Silent: the record says more."""

    return Handler


def _parameters(raw: bytes, content_type: str, query: str) -> dict[str, Any]:
    """Parameters from the query string and a JSON or form body; an unreadable body gives none."""
    found: dict[str, Any] = dict(parse_qsl(query))
    text = raw.decode("utf-8", "surrogateescape")
    if content_type.startswith("application/x-www-form-urlencoded"):
        found.update(parse_qsl(text))
    elif text:
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if isinstance(document, dict):
            found.update(document)
    return found


def main() -> int:
    """Serve until interrupted; one JSON line a request."""
    parser = argparse.ArgumentParser(description="A Telegram Bot API on loopback, for trying a bot without Telegram.")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--token", default=TOKEN)
    parser.add_argument("--chat", action="append", default=[], metavar="ID[:TOPIC,TOPIC]", help="a chat the bot knows; --chat=-100...")
    parser.add_argument("--rate-limits", action="store_true", help="one message a second in a chat, 20 a minute in a group")
    options = parser.parse_args()
    with BotApi(options.token, rate_limits=options.rate_limits, port=options.port) as bot:
        for chat in options.chat:
            chat_id, _, topics = chat.partition(":")
            bot.add_chat(int(chat_id), [int(topic) for topic in topics.split(",") if topic])
        bot.on_request = lambda request: print(
            json.dumps(
                {"method": request.method, "parameters": request.parameters, "code": request.code, "description": request.description},
                ensure_ascii=False,
            ),
            flush=True,
        )
        print(f"LISTENING {bot.url} token {bot.token}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
