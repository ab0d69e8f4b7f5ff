"""Makes the pictures of the README again: docs/chain.svg, docs/chain.ru.svg and docs/telegram.png.

    PYTHONPATH=checks:tests .venv/bin/python tests/pictures.py [chain] [telegram]

The chain is drawn here, once for both languages. The Telegram messages are what the product really says: the sentences
of check_usb_redirector in two scenes of the evening, put into the trigger's own event name, told by the media type's
script under zabbix_js to a Bot API on loopback, which refuses what Telegram would refuse. Only the bubbles around them
are drawn, by Debian's package chromium. The picture carries the words of its messages (PNG, iTXt), so that a test can
tell whether the product still says them. docs/zabbix-dashboard*.png are photographs of a 7.0 frontend, made by hand.
"""

from __future__ import annotations

import html
import json
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from lab import zabbix_template
from lab.bot_api import TOKEN, Answer, BotApi, Message
from lab.evening import KEY, Evening
from lab.media_type import MediaType
from lab.run_check import ROOT, command, run_process
from lab.zabbix_lab import run_javascript

DOCS = ROOT / "docs"
LANGUAGES = ("en", "ru")


# --- The chain --------------------------------------------------------------------------------------------------------


def chain_file(language: str) -> Path:
    """Where the chain in a language is kept."""
    return DOCS / ("chain.svg" if language == "en" else f"chain.{language}.svg")


class Place(NamedTuple):
    """A link of the chain: where it stands, its words in each language, who watches it, and its state in the example."""

    x: int
    y: int
    width: int
    name: tuple[str, str]
    detail: tuple[str, str]
    watch: str
    state: str = ""


CHAIN = (
    Place(20, 62, 158, ("SenseLock key", "ключ SenseLock"), ("in some USB port", "в каком-то порту USB"), ""),
    Place(222, 62, 180, ("USB forwarder", "программа проброса"), ("its license: expired", "лицензия истекла"), "check_usb_redirector", "first"),
    Place(446, 62, 158, ("machine", "машина"), ("its USB bus", "её шина USB"), "check_senselock", "later"),
    Place(648, 62, 164, ("Kodeks server", "сервер «Кодекс»"), ("reports on its key", "сообщает о ключе"), "check_kodeks_xml", "later"),
    Place(222, 174, 180, ("license manager", "менеджер лицензий"), ("in place of a forwarder", "вместо проброса"), "TCP 8888"),
)  # fmt: skip
CAPTIONS = {
    "first": (("first broken link:", "the only alert"), ("первое сломанное звено:", "оповещение только о нём")),
    "later": (("broken because of it:", "stays quiet"), ("сломано из-за него:", "молчит")),
    "watch": (("watches this link",), ("следит за звеном",)),
}
TITLE = (
    "The chain that brings the license key to Kodeks; the forwarder's license is the first broken link",
    "Цепочка, по которой ключ попадает к «Кодексу»; первое сломанное звено: лицензия программы проброса",
)
HEIGHT = 66
STYLE = """\
    svg { color-scheme: light dark; }
    text { font-family: "Segoe UI", Helvetica, Arial, "DejaVu Sans", sans-serif; fill: #1f2328; text-anchor: middle; font-size: 12px; }
    .panel { fill: #f6f8fa; stroke: #d0d7de; }
    .box { fill: #ffffff; stroke: #57606a; stroke-width: 1.5; }
    .name { font-size: 14px; font-weight: 600; }
    .watch rect { fill: #ddf4ff; stroke: #54aeff; }
    .watch text { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 11.5px; }
    .arrow { stroke: #57606a; stroke-width: 2; fill: none; }
    .or { stroke-dasharray: 5 4; }
    .tip { fill: #57606a; stroke: none; }
    .first { fill: #ffebe9; stroke: #cf222e; stroke-width: 3; }
    .later { stroke: #9a6700; stroke-dasharray: 5 4; }
    .bad { fill: #cf222e; font-weight: 600; }
    .quiet { fill: #9a6700; }
    .legend { text-anchor: start; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .panel { fill: #161b22; stroke: #30363d; }
      .box { fill: #21262d; stroke: #8b949e; }
      .watch rect { fill: #10263e; stroke: #316dca; }
      .arrow { stroke: #8b949e; }
      .tip { fill: #8b949e; }
      .first { fill: #3c1618; stroke: #f85149; }
      .later { stroke: #d29922; }
      .bad { fill: #ff7b72; }
      .quiet { fill: #d29922; }
    }"""
"""Every word stands on a panel of the picture's own, so it can be read whichever theme the page around it has."""


def chain(language: str) -> str:
    """The picture of the chain as SVG."""
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 832 288" width="832" height="288" role="img" aria-labelledby="title">',
            f'  <title id="title">{TITLE[LANGUAGES.index(language)]}</title>',
            f"  <style>\n{STYLE}\n  </style>",
            '  <rect class="panel" x="1" y="1" width="830" height="286" rx="8"/>',
            *_arrows(),
            *(line for place in CHAIN for line in _place(place, LANGUAGES.index(language))),
            *_legend(LANGUAGES.index(language)),
            "</svg>\n",
        ]
    )


def _place(place: Place, language: int) -> Iterator[str]:
    middle = place.x + place.width // 2
    bad = ' class="bad"' if place.state == "first" else ""
    yield f'  <rect class="box {place.state}" x="{place.x}" y="{place.y}" width="{place.width}" height="{HEIGHT}" rx="6"/>'
    yield f'  <text class="name" x="{middle}" y="{place.y + 28}">{place.name[language]}</text>'
    yield f'  <text{bad} x="{middle}" y="{place.y + 50}">{place.detail[language]}</text>'
    if place.state:
        color = {"first": "bad", "later": "quiet"}[place.state]
        for number, line in enumerate(CAPTIONS[place.state][language]):
            yield f'  <text class="{color}" x="{middle}" y="{place.y - 28 + 16 * number}">{line}</text>'
    if place.watch:
        yield from _watch(middle, place.y + HEIGHT + 6, place.watch)


def _watch(middle: int, y: int, words: str) -> Iterator[str]:
    width = 8 * len(words) + 12
    yield f'  <g class="watch"><rect x="{middle - width // 2}" y="{y}" width="{width}" height="22" rx="11"/>'
    yield f'    <text x="{middle}" y="{y + 15}">{words}</text></g>'


def _arrows() -> Iterator[str]:
    row = CHAIN[0].y + HEIGHT // 2
    for left, right in zip(CHAIN[:3], CHAIN[1:4]):
        yield _arrow(f"M{left.x + left.width} {row} H{right.x - 9}", right.x, row)
    key, kodeks, manager = CHAIN[0], CHAIN[3], CHAIN[4]
    low = manager.y + HEIGHT // 2
    yield _arrow(f"M{key.x + key.width // 2} {key.y + HEIGHT} V{low} H{manager.x - 9}", manager.x, low, " or")
    side = kodeks.x - 26
    yield _arrow(f"M{manager.x + manager.width} {low} H{side} V{row + 20} H{kodeks.x - 9}", kodeks.x, row + 20, " or")


def _arrow(path: str, x: int, y: int, kind: str = "") -> str:
    return f'  <path class="arrow{kind}" d="{path}"/><path class="tip" d="M{x - 1} {y} l-10 -5 v10 z"/>'


def _legend(language: int) -> Iterator[str]:
    yield '  <g class="watch"><rect x="648" y="234" width="34" height="18" rx="9"/></g>'
    yield f'  <text class="legend" x="690" y="247">{CAPTIONS["watch"][language][0]}</text>'


def draw_chain() -> None:
    """Write docs/chain*.svg."""
    for language in LANGUAGES:
        chain_file(language).write_text(chain(language), encoding="utf-8")


# --- The Telegram messages --------------------------------------------------------------------------------------------

PICTURE = DOCS / "telegram.png"
TRIGGER = "1bee90affab14108b73e37d74f2cb07a"  # the license has expired; a trigger has one uuid in all languages
CHAT = -1001000000001
WIKI = "https://wiki.kodeks.example/runbooks"
ZABBIX_TOKEN = "0123456789abcdef" * 4  # nobody's
STORM = {  # the machine with the keys lost its power, and with it the license manager that runs there
    "UsbForwarderStatus": [f"kodeks{number:02}" for number in range(2, 10)],
    "LicmanTcpStatus": [f"kodeks{number}" for number in range(10, 13)],
}


def sentences(language: str) -> dict[str, str]:
    """What check_usb_redirector says in the scenes that are told: the text between the state and the perfdata."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="pictures.") as folder, Evening(Path(folder), daemon="usbsrvd") as evening:
        env = {**evening.env, "PATH": f"{evening.folder}:/usr/sbin:/usr/bin:/sbin:/bin"}
        for scene in ("license expired", "recovered"):
            evening.play(scene)
            options = ["--product", "usb-redirector", "--side", "client", "--device", KEY, "--language", language]
            outcome = run_process(command("usb_redirector", *options, "--license-expires", evening.license_ends().isoformat()), env=env)
            found[scene] = outcome.line.partition(" - ")[2].partition(" | ")[0]
    return found


class Chat:
    """A chat in one language, into which the media type's script writes as Zabbix 7.0 would run it."""

    def __init__(self, language: str, said: dict[str, str]) -> None:
        self.language, self._media = language, MediaType.read()
        path = zabbix_template.PASSIVE if language == "en" else zabbix_template.RUSSIAN[zabbix_template.PASSIVE]
        export = yaml.safe_load(path.read_text("utf-8"))["zabbix_export"]
        self._trigger = next(trigger for trigger in export["triggers"] if trigger["uuid"] == TRIGGER)
        self._tags = [dict(tag) for tag in (*export["templates"][0]["tags"], *self._trigger["tags"])]
        with BotApi() as bot:
            bot.add_chat(CHAT)
            self._bot = bot
            self._tell_the_license(said)
            self._tell_the_storm()
            self.messages = bot.messages

    def _tell_the_license(self, said: dict[str, str]) -> None:
        problem = self._event(said["license expired"])
        kept = self._run({**problem, "Duration": "3s"})
        self._tags += [{"tag": tag, "value": value} for tag, value in json.loads(kept)["tags"].items()]
        over = {"EventValue": "0", "RecoveryId": "57", "RecoveryDate": self._day(), "RecoveryTime": "08:12:04", "Duration": "8h 11m 34s"}
        self._run({**problem, **self._event(said["recovered"]), "EventName": problem["EventName"], **over})

    def _event(self, sentence: str) -> dict[str, str]:
        """The parameters that are not the same in every event, as Zabbix fills them in for this trigger."""
        name = re.sub(r"\{\?last\(//kodeks\.forwarder\.text\)\}", sentence.replace("\\", r"\\"), self._trigger["event_name"])
        return {
            "Subject": f"kodeks01: {name}", "Message": name, "EventName": name, "EventSource": "0", "EventValue": "1", "EventUpdate": "0",
            "EventId": "41", "EventTags": json.dumps(self._tags), "EventDate": self._day(), "EventTime": "00:00:30", "Host": "kodeks01",
            "Severity": "4", "SeverityName": self._trigger["priority"].capitalize(), "Runbooks": WIKI, "TriggerName": self._trigger["name"],
        }  # fmt: skip

    @staticmethod
    def _day() -> str:
        return f"{date.today():%Y.%m.%d}"

    def _tell_the_storm(self) -> None:
        """The script asks the Zabbix API what waits for the chat; the answers are these, in the order of its questions."""
        events: list[dict[str, Any]] = []
        for alert, hosts in STORM.items():
            for host in hosts:
                tags = [{"tag": "alert", "value": alert}]
                events.append({"eventid": str(100 + len(events)), "name": alert, "severity": "4", "tags": tags, "hosts": [{"name": host}]})
        waiting = [
            {"sendto": str(CHAT), "alertid": str(900 + number), "clock": "0", "eventid": event["eventid"], "p_eventid": "0", "acknowledgeid": "0"}
            for number, event in enumerate(events)
        ]
        nothing: list[dict[str, str]] = []
        # Which alert am I? What was told already? What waits? And once more after the pause in which a storm gathers.
        answers: list[Sequence[dict[str, Any]]] = [waiting[:1], nothing, waiting, nothing, waiting, events]
        self._bot.script(*(Answer(body=json.dumps({"jsonrpc": "2.0", "id": 1, "result": answer}).encode()) for answer in answers))
        self._run({**self._event(""), "EventId": "100", "ZabbixUrl": self._bot.url, "ZabbixToken": ZABBIX_TOKEN})

    def _run(self, event: dict[str, str]) -> str:
        given = {**self._media.parameters, "BotToken": TOKEN, "BotUrl": self._bot.url, "To": str(CHAT), **event}
        code, printed = run_javascript("7.0", self._media.script, given)
        assert code == 0 and "Warning" not in printed, printed
        return printed.strip()


def chats() -> list[Chat]:
    """The same three messages in every language."""
    return [Chat(language, sentences(language)) for language in LANGUAGES]


def words(found: Sequence[Chat]) -> str:
    """All messages as text, without the dates, which are those of the day on which the picture is made."""
    texts = [f"{chat.language} {'reply to ' if message.reply_to else ''}{message.text}" for chat in found for message in chat.messages]
    return re.sub(r"\d{4}-\d\d-\d\d|\d\d\.\d\d\.\d{4}", "DATE", "\n\n".join(texts))


# --- Their picture ----------------------------------------------------------------------------------------------------

PAGE = """\
<!DOCTYPE html>
<meta charset="utf-8">
<style>
  * { box-sizing: border-box; }
  body { margin: 0; width: 980px; display: flex; font: 14px/1.38 "DejaVu Sans", sans-serif; color: #111; background: #cfe0c3; }
  .chat { width: 490px; padding: 14px 16px; }
  .chat + .chat { border-left: 2px solid #b4cba5; }
  .row { display: flex; align-items: flex-end; margin-bottom: 10px; }
  .face { width: 34px; height: 34px; border-radius: 17px; background: #3390ec; color: #fff; font-weight: bold; text-align: center; line-height: 34px; flex: none; }
  .bubble { margin-left: 8px; padding: 7px 11px 5px; background: #fff; border-radius: 12px 12px 12px 3px; box-shadow: 0 1px 1px #0003; max-width: 414px; }
  .from { color: #2b7cc9; font-weight: bold; font-size: 13px; }
  .quote { margin: 3px 0 4px; padding: 2px 8px; border-left: 3px solid #3390ec; border-radius: 4px; background: #eaf3fc; font-size: 12.5px; }
  .quote div { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; max-width: 370px; }
  .text { white-space: pre-wrap; overflow-wrap: anywhere; }
  .text a { color: #1f74c4; text-decoration: none; }
  .time { color: #8a949c; font-size: 11.5px; text-align: right; }
</style>
"""
BOT = "Kodeks monitoring"
TIMES = ("00:00", "08:12", "09:30")


def page_of(found: Sequence[Chat]) -> str:
    """The chats side by side as a page. A message is shown as it was sent: Telegram's markup is a part of HTML."""
    return PAGE + "".join(f'<div class="chat">{"".join(_bubbles(chat.messages))}</div>' for chat in found)


def _bubbles(messages: Sequence[Message]) -> Iterator[str]:
    first = {message.message_id: message for message in messages}
    for message, clock in zip(messages, TIMES):
        quote = ""
        if message.reply_to is not None:
            quoted = html.escape(" ".join(first[message.reply_to].text.split("\n")))
            quote = f'<div class="quote"><div class="from">{BOT}</div><div>{quoted}</div></div>'
        yield (
            f'<div class="row"><div class="face">K</div><div class="bubble"><div class="from">{BOT}</div>{quote}'
            f'<div class="text">{message.source}</div><div class="time">{clock}</div></div></div>'
        )


def draw_telegram() -> None:
    """Write docs/telegram.png."""
    found = chats()
    with tempfile.TemporaryDirectory(prefix="pictures.") as folder:
        page, shot = Path(folder, "page.html"), Path(folder, "shot.png")
        page.write_text(page_of(found) + "<script>document.title = document.body.scrollHeight</script>", encoding="utf-8")
        told = _chromium(folder, "--dump-dom", page.as_uri())
        height = re.search(r"<title>(\d+)</title>", told)
        assert height, told[-500:]
        _chromium(folder, f"--screenshot={shot}", f"--window-size=980,{height[1]}", page.as_uri())
        PICTURE.write_bytes(with_words(shot.read_bytes(), words(found)))


def _chromium(folder: str, *arguments: str) -> str:
    own = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder}/profile", "--window-size=980,100"]
    done = subprocess.run(["chromium", *own, *arguments], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


# PNG: https://www.w3.org/TR/png-3/#5DataRep (8 bytes, then chunks: length, type, data, CRC), #11iTXt
_SIGNATURE_AND_HEADER = 8 + 4 + 4 + 13 + 4


def with_words(picture: bytes, told: str) -> bytes:
    """A PNG with a text chunk behind its header."""
    chunk = b"iTXt" + b"Description\0" + b"\0\0\0\0" + told.encode("utf-8")
    packed = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return picture[:_SIGNATURE_AND_HEADER] + packed + picture[_SIGNATURE_AND_HEADER:]


def words_in(picture: bytes) -> str:
    """The text that `with_words` put into a PNG."""
    (length,) = struct.unpack_from(">I", picture, _SIGNATURE_AND_HEADER)
    chunk = picture[_SIGNATURE_AND_HEADER + 4 :][: 4 + length]
    start = b"iTXt" + b"Description\0" + b"\0\0\0\0"
    if not chunk.startswith(start):
        raise ValueError("no words behind the picture's header")
    return chunk[len(start) :].decode("utf-8")


def main() -> int:
    """Draw what the arguments name, or everything."""
    drawings = {"chain": draw_chain, "telegram": draw_telegram}
    for name in sys.argv[1:] or drawings:
        drawings[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
