"""What a plugin may print, told without a line of the checks' code: the oracle behind every run of these tests.

After the Monitoring Plugins Development Guidelines (perfdata, "Threshold and Ranges") and this project's contract: exit code 0
to 3, at most 4000 bytes of UTF-8, a first line `SERVICE STATE - sentence | perfdata`, nothing that moves a cursor.
"""

from __future__ import annotations

import math
import re
import unicodedata

STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
LIMIT = 4000  # bytes
UNITS = ("", "s", "ms", "us", "%", "B", "KB", "MB", "GB", "TB", "c")


def number_at(text: str, at: int) -> int:
    """The end of the decimal number that starts at `at`, or `at` where none does."""
    start = at
    if text[at : at + 1] == "-":
        at += 1
    digits = at
    while text[at : at + 1] in tuple("0123456789"):
        at += 1
    if at == digits:
        return start
    if text[at : at + 1] == "." and text[at + 1 : at + 2] in tuple("0123456789"):
        at += 1
        while text[at : at + 1] in tuple("0123456789"):
            at += 1
    return at


def is_number(text: str) -> bool:
    """Whether a text is a decimal number and nothing else."""
    return bool(text) and number_at(text, 0) == len(text)


def is_range(text: str) -> bool:
    """Whether a text is a range as the guidelines define it; the empty one is allowed in perfdata."""
    text = text[1:] if text[:1] == "@" else text
    start, colon, end = text.partition(":")
    if not colon:
        return not start or is_number(start)
    return (not start or start == "~" or is_number(start)) and (not end or is_number(end))


def bounds(text: str) -> tuple[float, float]:
    """The least and the greatest number of a range."""
    start, colon, end = text.removeprefix("@").partition(":")
    if not colon:
        start, end = "0", start
    return -math.inf if start == "~" else float(start or 0), float(end) if end else math.inf


def inside(text: str, value: float) -> bool:
    """Whether `value` raises no alarm for the range `text`."""
    low, high = bounds(text)
    return (low <= value <= high) != text.startswith("@")


def perfdata_breaches(text: str) -> list[str]:
    """What is wrong with a perfdata text: `label=value[UOM];[warn];[crit];[min];[max]`, one blank between two."""
    found = []
    labels: list[str] = []
    for item in text.split(" "):
        label, equals, rest = item.partition("=")
        if not equals or not re.fullmatch(r"[a-z_]+", label):
            found.append(f"perfdata label in {item!r}")
            continue
        labels.append(label)
        value, *limits = rest.split(";")
        end = number_at(value, 0)
        if not end or value[end:] not in UNITS:
            found.append(f"perfdata value in {item!r}")
        elif label.endswith("_state") and rest not in ("0", "1", "2", "3"):
            found.append(f"no exit code in {item!r}")
        numbers = all(not limit or is_number(limit) for limit in limits[2:])
        if len(limits) > 4 or not all(map(is_range, limits[:2])) or not numbers:
            found.append(f"perfdata limits in {item!r}")
    if len(set(labels)) < len(labels):
        found.append(f"perfdata names a label twice: {text!r}")
    return found


def control_characters(text: str) -> list[str]:
    """The characters of a text that could move a cursor, end a line or turn its direction."""
    return sorted({char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn")})


def output_breaches(stdout: bytes, code: int) -> list[str]:
    """Every breach of the contract in what a check printed."""
    found = [] if code in range(4) else [f"exit code {code}"]
    if not 0 < len(stdout) <= LIMIT:
        found.append(f"{len(stdout)} bytes on stdout")
    try:
        text = stdout.decode("utf-8")
    except UnicodeDecodeError as error:
        return [*found, f"the output is no UTF-8: {error}"]
    if not text.endswith("\n"):
        found.append("the last line does not end")
    line, *details = text.removesuffix("\n").split("\n")
    found += [f"control characters {chars!r} in {shown!r}" for shown in (line, *details) if (chars := control_characters(shown))]
    sentence, bar, perfdata = line.partition(" | ")
    if any("|" in piece for piece in (sentence, perfdata, *details)):
        found.append(f"a stray | in {text!r}")
    if bar:
        found += perfdata_breaches(perfdata)
    state = STATES[code] if code in range(4) else "?"
    if not re.match(rf"[A-Z_]+ {state} - \S", sentence):
        found.append(f"the first line is {line[:200]!r} with exit code {code}")
    return found
