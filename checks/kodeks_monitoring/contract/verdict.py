"""What a plugin says when it ends: a state, one harmless sentence, perfdata, further lines for people."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Callable, Iterable, NamedTuple

from .. import PROJECT
from .language import _

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
STATE_NAMES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
RANKED = (OK, WARNING, UNKNOWN, CRITICAL)  # by how bad they are: an operator must see a proven fault first
PLAIN = str.maketrans("—«»", "-\"\"")  # Russian sentences on a console: code page 866 has none of these
MAX_OUTPUT = 4000  # bytes: Nagios' worker loses bytes beyond a read of 4096 (measured with 4.4.6)

_secrets: list[str] = []  # the longest first, since a short one may be a part of it


def worst(states: Iterable[int]) -> int:
    """The state that outranks the others. Where nothing was judged it is UNKNOWN."""
    return max(states, key=RANKED.index, default=UNKNOWN)


class Problem(Exception):
    """The check as a whole can say no more than this one sentence. `state` is an exit code, never OK."""

    def __init__(self, sentence: str, state: int = UNKNOWN) -> None:
        super().__init__(sentence)
        self.state = state if state in (WARNING, CRITICAL) else UNKNOWN


def keep_secret(text: str) -> None:
    """Register a password that no output of this process may show.

    It is masked as it is, percent-encoded, in base64, and each of them in lower case, as servers and proxies
    repeat what they were sent. A text of one or two characters is left alone: that would wreck the sentence.
    """
    from binascii import b2a_base64
    from urllib.parse import quote

    raw = text.encode("utf-8", "surrogateescape")
    forms = {text, quote(raw, safe=""), b2a_base64(raw, newline=False).decode("ascii").rstrip("=")}
    forms |= {form.lower() for form in forms}
    _secrets.extend(form for form in forms if len(form) > 2 and form not in _secrets)
    _secrets.sort(key=len, reverse=True)


def clean(text: object, limit: int = 300) -> str:
    """`text` as a harmless piece of a line: printable, single blanks, no `|`, at most `limit` characters.

    A server, a USB string or a tool may send line ends, terminal escapes, the separator of perfdata, or
    characters that reorder a line. `str.isprintable` denies them all."""
    piece = str(text)[: limit * 20 + 1200]  # a megabyte of blanks is not looked at
    for secret in _secrets:  # before anything is cut: nothing recognises half a password
        piece = piece.replace(secret, "***")
    piece = "".join(character if character.isprintable() else " " for character in piece.replace("|", "/"))
    piece = " ".join(piece.split())
    return piece if len(piece) <= limit else piece[: limit - 3].rstrip() + "..."


def cut(text: str, room: int, encoded: Callable[[str], bytes]) -> bytes:
    """`text` encoded in at most `room` bytes, cut between characters; three dots mark the cut."""
    if len(encoded(text)) <= room:
        return encoded(text)
    while len(encoded(text)) > room - 3:
        text = text[: -max(1, (len(encoded(text)) - room) // 10)]
    return encoded(text) + b"..."


class Verdict(NamedTuple):  # the last of this file, so that a cut copy lacks it
    """What a process says when it ends: an exit code, a sentence, perfdata, further lines for people."""
    state: int
    sentence: str
    perfdata: tuple[str, ...] = ()
    details: tuple[str, ...] = ()

    def render(self, service: str, encoding: str = "utf-8") -> bytes:
        """The output: `SERVICE STATE - sentence | perfdata`, then the details, at most MAX_OUTPUT bytes.

        Whole detail lines give way first, then the end of the sentence, perfdata never. A character that the
        encoding lacks becomes a backslash escape."""

        def encoded(text: str) -> bytes:
            plain = text if encoding.lower() == "utf-8" else text.translate(PLAIN)
            return plain.encode(encoding, "backslashreplace")

        tail = encoded(" | " + " ".join(self.perfdata) if self.perfdata else "") + b"\n"
        sentence = clean(self.sentence, MAX_OUTPUT) or _("no text")
        head = f"{service} {STATE_NAMES[self.state]} - {sentence}"
        output = cut(head, MAX_OUTPUT - len(tail), encoded) + tail
        for detail in self.details:
            line = encoded(clean(detail, 1000)) + b"\n"
            if len(output) + len(line) > MAX_OUTPUT:
                break
            output += line
        return output


LIBRARIES = {"nagiosplugin": "nagiosplugin", "usb": "pyusb", "psutil": "psutil"}  # PyPI's names, by module


def _sentence_for(error: BaseException, trace: TracebackType | None, waiting_for: str) -> str:
    module = (error.name or "").split(".")[0] if isinstance(error, ImportError) else ""
    pip = LIBRARIES.get(module)
    if pip and isinstance(error, ModuleNotFoundError):
        if os.name == "nt":
            return _("the Python library {pip} is missing: run pip install {pip}", pip)
        return _("the Python library {pip} is missing: install the package {debian}, "
                 "or run pip install {pip}", pip, f"python3-{module}")  # fmt: skip
    if module == "kodeks_monitoring" or (isinstance(error, SyntaxError) and "kodeks_" in str(error.filename)):
        return _("the check is incomplete ({why}): copy the whole checks folder again", clean(error, 200))
    if isinstance(error, MemoryError):
        return _("out of memory while {doing}", waiting_for)
    if isinstance(error, OSError) and error.filename:
        return _("{file} cannot be read: {why}; check its rights",
                 clean(error.filename, 160), _(clean(error.strerror, 100)))  # fmt: skip
    where = ""
    while trace is not None:
        where = f" ({os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno})"
        trace = trace.tb_next
    return _("internal error while {doing}: {error}; please report it to {project}", waiting_for,
             f"{type(error).__name__}: {clean(error, 200)}{where}", PROJECT)  # fmt: skip


def verdict_on(error: BaseException, trace: TracebackType | None, waiting_for: str) -> Verdict:
    """The verdict on an exception that reached the top. `waiting_for` is what the check was doing."""
    if isinstance(error, Problem):
        return Verdict(error.state, str(error))
    return Verdict(UNKNOWN, _sentence_for(error, trace, waiting_for))
