"""The bindings on the license page /admin/lic, as a browser would show them.

Source: 12,000 field captures of the line `</H3></CENTER><BR> Привязка: SenseLock ключ -  [работает] <br>`
(UTF-8, CRLF, upper-case HTML, entities, doubled blanks). What a browser does not show, or strikes out, is not
said of now: a binding there is UNKNOWN.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, NamedTuple

from ..contract.verdict import Problem
from .texts import BINDING, judge_binding, one_line, unrecognised

if TYPE_CHECKING:
    from typing import Sequence

    from .texts import Statement

CHARSETS = ("utf-8", "windows-1251", "cp1251", "koi8-r", "utf-16")  # not all that Python knows
MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))

_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9_-]{1,40})""", re.IGNORECASE)
_NOT_SHOWN = re.compile("script|style|title|template|noscript|textarea|iframe|select|del|s|strike")
_BLOCK = re.compile(  # their tags end a line; what is not named here stands within one
    "address|blockquote|body|br|caption|center|d[dlt]|div|fieldset|form|h[1-6r]|head|html|li|[ou]l|p|pre|section|"
    "table|tbody|t[dhr]|tfoot|thead"
)
_OPENS_NOTHING = re.compile("area|base|br|col|embed|hr|img|input|link|meta|option|param|source|track|wbr")
_HIDING_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|line-through")
_HUGE_REFERENCE = re.compile("&#(?:[xX][0-9A-Fa-f]{9,}|[0-9]{9,});?")  # html.unescape makes numbers of them
MAX_OPEN = 1000  # elements in one that is not shown


def decode_page(body: bytes, content_type: str) -> str:
    """The text of a page: by its byte order mark, the charset of the header or <meta>, UTF-8, windows-1251.

    The first of these that shows the word of a binding is right; if none does, the first without loss.
    """
    for mark, name in MARKS:
        if body.startswith(mark):
            return body.decode(name, "replace")
    declared = _CHARSET.search(content_type) or _CHARSET.search(body[:2048].decode("latin-1"))
    first = declared[1].lower() if declared and declared[1].lower() in CHARSETS else "utf-8"
    texts = [body.decode(charset, "replace") for charset in (first, "utf-8", "cp1251")]
    by_word = (text for text in texts if "ривязка" in text)
    return next(by_word, None) or next((text for text in texts if "\ufffd" not in text), texts[0])


class Line(NamedTuple):
    """A line of a page. `shown`: no part of it is hidden; `ended`: a tag that ends lines follows it."""

    text: str
    shown: bool
    ended: bool


class PageText(HTMLParser):
    """The lines of a page that hold text, comments among them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.lines: list[Line] = []
        self._hidden: list[str] = []  # an element that is not shown, and all that are open in it
        self._pieces: list[str] = []
        self._shown = True
        # What follows a comment without end is a part of it; html.parser would read on behind the next ">".
        unclosed = html.find("<!--", html.rfind("-->") + 1)
        shown, rest = (html, "") if unclosed < 0 else (html[:unclosed], html[unclosed:])
        try:
            self.feed(_HUGE_REFERENCE.sub("\ufffd", shown))
            self.close()
        except AssertionError:  # an unknown section `<![X[`, before Python 3.13.6
            raise Problem("the license page is no HTML; look at it in a browser") from None
        self._end_line(False)
        self.handle_comment(rest)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if _BLOCK.fullmatch(tag):
            self._end_line(True)
        hides = _NOT_SHOWN.fullmatch(tag) or any(
            name == "hidden" or (name == "style" and _HIDING_STYLE.search((value or "").lower()))
            for name, value in attrs
        )
        if (hides or self._hidden) and not _OPENS_NOTHING.fullmatch(tag):
            self._hidden.append(tag)
        if len(self._hidden) > MAX_OPEN:
            raise Problem("the license page is nested too deep to be one; look at it in a browser")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)  # HTML knows no `<div/>`: it is open

    def handle_endtag(self, tag: str) -> None:
        """An end tag ends its element and all that was left open in it; one without a beginning ends none."""
        if tag in self._hidden:
            del self._hidden[len(self._hidden) - 1 - self._hidden[::-1].index(tag) :]
        if _BLOCK.fullmatch(tag):
            self._end_line(True)

    def handle_data(self, data: str) -> None:
        self._pieces.append(data)
        self._shown = self._shown and not (self._hidden and data.strip())

    def handle_comment(self, data: str) -> None:
        """A comment is a line of its own, wherever it stands: it shows nothing."""
        if data.strip():
            self.lines.append(Line(one_line(data), False, True))

    def _end_line(self, ended: bool) -> None:
        text = one_line("".join(self._pieces))
        if text:
            self.lines.append(Line(text, self._shown, ended))
        self._pieces, self._shown = [], True


def parse_license_page(html: str) -> list[Statement]:
    """What every binding on the license page says; an empty list for a page without one."""
    lines = PageText(html).lines
    return [found for index in range(len(lines)) for found in _statements_at(lines[index : index + 2])]


def _statements_at(lines: Sequence[Line]) -> list[Statement]:
    """The statement of the first line, or none. The text of a bare heading follows in the next cell."""
    line = lines[0]
    if line.text in ("Привязка:", "Привязка") and len(lines) > 1 and BINDING.fullmatch(lines[1].text):
        line = Line(f"Привязка: {lines[1].text}", line.shown and lines[1].shown, lines[1].ended)
    if "привязка:" not in line.text.casefold():
        return []
    if not line.text.startswith("Привязка:") or not line.shown:
        return [unrecognised("a binding stands where none is known to stand", line.text)]
    if not line.ended:
        return [unrecognised("the page is cut off at its binding", line.text)]
    return [judge_binding(line.text[len("Привязка:") :])]


def refusal_on(html: str) -> str:
    """Why a page shows no binding: "login", "licenses" (all in use), "" for neither (field captures)."""
    text = html.casefold()
    form = re.search(r"""\bid\s*=\s*["']?user\b""", text) and "авторизация" in text
    licenses = "toomanyusers" in text or "максимальное число подключений" in text
    if not (form or licenses or "ошибка авторизации" in text) or parse_license_page(html):
        return ""  # a page with a binding is the page that was asked for, whatever else it mentions
    return "licenses" if licenses else "login"
