"""The oracle of the output and of ranges, which shares no code with the checks: it can say no, and the checks agree with it."""

from __future__ import annotations

import argparse
import itertools
import math

import nagiosplugin
import pytest
from kodeks_monitoring.contract.options import threshold
from kodeks_monitoring.contract.run import Number, judge
from kodeks_monitoring.contract.verdict import Verdict
from lab import guidelines

OUTPUTS = [
    # what is printed, exit code, the breach
    (b"X OK - fine | a=1s;;1:;0\nmore\n", 0, ""),
    (b"X OK - fine\n", 0, ""),
    (b"X CRITICAL - no | a=1 key_state=2\n", 2, ""),
    (b"X OK - fine\n", 2, "the first line is"),
    (b"OK - fine\n", 0, "the first line is"),
    (b"X OK - \n", 0, "the first line is"),
    (b"X OK - fine", 0, "the last line does not end"),
    (b"X OK - f\x1bine\n", 0, "control characters"),
    ("X OK - f\u202eine\n".encode(), 0, "control characters"),
    (b"X OK - f\xffine\n", 0, "the output is no UTF-8"),
    (b"X OK - fine | a=1 | b=2\n", 0, "a stray |"),
    (b"X OK - fine\nmore | a=1\n", 0, "a stray |"),
    (b"X OK - fine | a=nan\n", 0, "perfdata value"),
    (b"X OK - fine | a=1e3\n", 0, "perfdata value"),
    (b"X OK - fine | a=1;1;2;3;4;5\n", 0, "perfdata limits"),
    (b"X OK - fine | a=1 a=2\n", 0, "perfdata names a label twice"),
    (b"X OK - fine | a b=1\n", 0, "perfdata label"),
    (b"X OK - fine | key_state=4\n", 0, "no exit code"),
    (b"X OK - " + b"x" * 4000 + b"\n", 0, "4008 bytes"),
    (b"", 3, "0 bytes"),
    (b"X CRITICAL - no\n", 9, "exit code 9"),
]


@pytest.mark.parametrize(("stdout", "code", "breach"), OUTPUTS)
def test_the_oracle_of_output(stdout: bytes, code: int, breach: str) -> None:
    found = guidelines.output_breaches(stdout, code)
    assert any(item.startswith(breach) for item in found) if breach else found == []


STARTS = ("", "~:", ":", "0:", "-3:", "2.5:", "10:", "@", "@~:", "@2:", "@-1.5:", "@0:")
ENDS = ("", "0", "5", "-2", "10", "7.25", "~", "x", "1e3", "nan", "1;2", " 1", "٣", "5:", "-")
VALUES = (-10.0, -3.0, -1.5, -0.001, 0.0, 1.0, 2.0, 2.5, 5.0, 7.25, 7.3, 10.0, 1e6)


@pytest.mark.parametrize("text", [start + end for start, end in itertools.product(STARTS, ENDS)])
def test_a_range_is_taken_and_judged_as_the_guidelines_say(text: str) -> None:
    """What is no range is refused, and so is one that no number can be in, and no range at all."""
    try:
        read = threshold(text)
    except argparse.ArgumentTypeError:
        low, high = guidelines.bounds(text) if guidelines.is_range(text) else (1, 0)
        assert low > high or text in ("", "@")
        return
    assert guidelines.is_range(text)
    for value in VALUES:
        good = guidelines.inside(text, value)
        assert (judge(value, None, read), judge(value, read, None)) == ((0, 0) if good else (2, 1)), value
    assert judge(math.nan, read, read) == judge(None, read, read) == 3


NUMBERS = (0, 7, -3, 10**30, 0.0, -0.0, 0.1, 1 / 3, 1e-9, 1e21, -2.5e-7, math.nan, math.inf, -math.inf, None)


@pytest.mark.parametrize("value", NUMBERS, ids=str)
def test_perfdata_is_a_plain_number_or_nothing(value: float | None) -> None:
    number = Number("a", "s", nagiosplugin.Range("@-1.5:20"), nagiosplugin.Range("~:3"), 0)
    written = number.performance(nagiosplugin.Metric("a", value, context="a"), nagiosplugin.Resource())
    line = Verdict(0, "x", () if written is None else (str(written),)).render("X")
    assert guidelines.output_breaches(line, 0) == []
    assert (b" | a=" in line) == (value is not None and math.isfinite(value)), "the contract drops no piece in silence"
