"""What a plugin says when it ends: a state, one harmless sentence, perfdata, further lines for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from typing import Callable, Iterable

# --- States -----------------------------------------------------------------------------------------

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
STATE_NAMES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_RANK = {OK: 0, WARNING: 1, UNKNOWN: 2, CRITICAL: 3}


def rank(state: int) -> int:
    """How bad a state is: OK, WARNING, UNKNOWN, CRITICAL. An operator must see a proven fault first."""
    return _RANK[state]


def worst(states: Iterable[int]) -> int:
    """The state that outranks the others. Where nothing was judged it is UNKNOWN."""
    return max(states, key=rank, default=UNKNOWN)


class Problem(Exception):
    """The check as a whole can say no more than this one sentence. `state` is an exit code, never OK."""

    def __init__(self, sentence: str, state: int = UNKNOWN) -> None:
        super().__init__(sentence)
        self.state = state if state in (WARNING, CRITICAL) else UNKNOWN


# --- Text from outside ------------------------------------------------------------------------------

_secrets: list[str] = []  # the longest first, since a short one may be a part of it


def keep_secret(text: str) -> None:
    """Register a password that no output of this process may show.

    It is masked as it is, percent-encoded, in base64, and each of them in lower case, as servers and proxies
    repeat what they were sent. A text of one or two characters cannot be masked without wrecking the
    sentence.
    """
    from binascii import b2a_base64
    from urllib.parse import quote

    raw = text.encode("utf-8", "surrogateescape")
    forms = {text, quote(raw, safe=""), b2a_base64(raw, newline=False).decode("ascii").rstrip("=")}
    forms |= {form.lower() for form in forms}
    _secrets.extend(form for form in forms if len(form) > 2 and form not in _secrets)
    _secrets.sort(key=len, reverse=True)


def masked(text: str) -> str:
    """`text` with three asterisks in place of every secret."""
    for secret in _secrets:
        text = text.replace(secret, "***")
    return text


def clean(text: object, limit: int = 300) -> str:
    """`text` as a harmless piece of a line: printable, single blanks, no `|`, at most `limit` characters.

    A server, a USB string or a tool may send line ends, terminal escapes, the separator of perfdata, or
    characters that reorder a line. `str.isprintable` denies them all.
    """
    # Secrets go before anything is cut: nothing recognises half a password. A megabyte is not looked at.
    piece = masked(str(text)[: limit * 20 + 1200]).replace("|", "/")
    piece = "".join(character if character.isprintable() else " " for character in piece)
    piece = " ".join(piece.split())
    return piece if len(piece) <= limit else piece[: limit - 3].rstrip() + "..."


# --- The output -------------------------------------------------------------------------------------

MAX_OUTPUT = 4000  # bytes: Nagios' worker loses bytes beyond a read of 4096 (measured with 4.4.6)
_PERFDATA = re.compile(
    r"(?:[A-Za-z0-9_]+|'[^'=|\x00-\x1f]+')=-?[0-9]+(?:\.[0-9]+)?(?:us|ms|s|%|B|KB|MB|GB|TB|c)?"
    r"(?:;(?:@?[0-9.:~-]+)?){0,2}(?:;-?[0-9.]*){0,2}"
)


def cut(text: str, room: int, encoded: Callable[[str], bytes]) -> bytes:
    """`text` encoded in at most `room` bytes, cut between characters; three dots mark the cut."""
    whole = encoded(text)
    if len(whole) <= room:
        return whole
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(encoded(text[:middle])) <= room - 3 else (low, middle - 1)
    return encoded(text[:low]) + b"..."


class Verdict(NamedTuple):  # the last of this file, so that a cut copy lacks it
    """What a process says when it ends: an exit code, a sentence, perfdata, further lines for people."""

    state: int
    sentence: str
    perfdata: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    def render(self, service: str, encoding: str = "utf-8") -> bytes:
        """The output: `SERVICE STATE - sentence | perfdata`, then the details, at most MAX_OUTPUT bytes.

        Whole detail lines give way first, then the end of the sentence, perfdata never. A character that the
        encoding lacks becomes a backslash escape.
        """

        def encoded(text: str) -> bytes:
            return text.encode(encoding, "backslashreplace")

        pieces = [piece for piece in self.perfdata if _PERFDATA.fullmatch(piece)]
        tail = encoded(" | " + " ".join(pieces) if pieces else "") + b"\n"
        head = f"{service} {STATE_NAMES[self.state]} - {clean(self.sentence, MAX_OUTPUT) or 'no text'}"
        output = cut(head, MAX_OUTPUT - len(tail), encoded) + tail
        last = b"(more lines do not fit)\n"
        for number, detail in enumerate(self.details, 1):
            line = encoded(clean(detail, 1000)) + b"\n"
            room = MAX_OUTPUT - len(output) - (0 if number == len(self.details) else len(last))
            if len(line) > room:
                return output + last
            output += line
        return output
