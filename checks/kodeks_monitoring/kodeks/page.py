"""The bindings on the license page /admin/lic, as a browser would show them.

Source: 12,000 field captures of the line `</H3></CENTER><BR> Привязка: SenseLock ключ -  [работает] <br>`
(UTF-8, CRLF, upper-case HTML, entities, doubled blanks). What a browser does not show, or strikes out, is not
said of now: a binding there is UNKNOWN.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

from ..contract.language import _
from ..contract.run import Finding
from .texts import judge_binding, one_line, unrecognised

LICENSE_PAGE = "/admin/lic"
CHARSETS = ("utf-8", "windows-1251", "koi8-r")
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

_CHARSET = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9_-]{1,40})""", re.IGNORECASE)
_NOT_SHOWN = re.compile("script|style|title|template|noscript|textarea|iframe|select|del|s|strike")
_BLOCK = re.compile(  # their tags end a line; what is not named here stands within one
    "address|blockquote|body|br|caption|center|d[dlt]|div|fieldset|form|h[1-6r]|head|html|li|[ou]l|p|pre|"
    "section|table|tbody|t[dhr]|tfoot|thead"
)
_OPENS_NOTHING = re.compile("area|base|br|col|embed|hr|img|input|link|meta|option|param|source|track|wbr")
_HIDING_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|line-through")
_HUGE_REFERENCE = re.compile("&#(?:[xX][0-9A-Fa-f]{9,}|[0-9]{9,});?")  # html.unescape makes numbers of them


def decode_page(body: bytes, content_type: str) -> str:
    """The text of a page: by its byte order mark, the charset of the header or <meta>, else UTF-8."""
    for mark, name in MARKS.items():
        if body.startswith(mark):
            return body.decode(name, "replace")
    declared = _CHARSET.search(content_type) or _CHARSET.search(body[:2048].decode("latin-1"))
    charset = declared[1].lower() if declared else ""
    return body.decode(charset if charset in CHARSETS else "utf-8", "replace")


class PageText(HTMLParser):
    """A page as its lines, comments among them; `bindings` is what those say that mention a binding."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.bindings: list[Finding] = []
        self._hidden: list[str] = []  # an element that is not shown, and all that are open in it
        self._pieces: list[str] = []
        self._shown = True
        # What follows a comment without end is a part of it; html.parser would read on behind the next ">".
        unclosed = html.find("<!--", html.rfind("-->") + 1)
        shown, rest = (html, "") if unclosed < 0 else (html[:unclosed], html[unclosed:])
        self.feed(_HUGE_REFERENCE.sub("\ufffd", shown))
        self.close()
        self._end_line(False)
        self.handle_comment(rest)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if _BLOCK.fullmatch(tag):
            self._end_line(True)
        style = _HIDING_STYLE.search((dict(attrs).get("style") or "").lower())
        hides = style or _NOT_SHOWN.fullmatch(tag) or "hidden" in dict(attrs)
        if (hides or self._hidden) and not _OPENS_NOTHING.fullmatch(tag):
            self._hidden.append(tag)

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
        self._judge(one_line(data), False, True)

    def _end_line(self, ended: bool) -> None:
        self._judge(one_line("".join(self._pieces)), self._shown, ended)
        self._pieces, self._shown = [], True

    def _judge(self, text: str, shown: bool, ended: bool) -> None:
        """`shown`: no part of the line is hidden; `ended`: a tag that ends lines follows it."""
        if "привязка:" not in text.casefold():
            return
        known = text.startswith("Привязка:") and shown and ended
        what = _("a binding is hidden, cut off or not where it is known to stand")
        self.bindings.append(judge_binding(text[9:]) if known else unrecognised(what, text))


def refusal_on(html: str) -> str:
    """Why a page shows no binding: "login", "licenses" (all in use), "" for neither (field captures)."""
    text = html.casefold()
    form = re.search(r"""\bid\s*=\s*["']?user\b""", text) and "авторизация" in text
    licenses = "toomanyusers" in text or "максимальное число подключений" in text
    if not (form or licenses or "ошибка авторизации" in text) or PageText(html).bindings:
        return ""  # a page with a binding is the page that was asked for, whatever else it mentions
    return "licenses" if licenses else "login"
