"""The life of a check on nagiosplugin: options, probe, judgement, sentence; contexts that checks share."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Callable, NamedTuple, NoReturn, Optional, Sequence

import nagiosplugin

from . import deadline
from .language import _
from .options import Options
from .verdict import CRITICAL, OK, RANKED, UNKNOWN, WARNING, Verdict, worst

Range = Optional[nagiosplugin.Range]
Results = nagiosplugin.Results
STATES = (nagiosplugin.Ok, nagiosplugin.Warn, nagiosplugin.Critical, nagiosplugin.Unknown)  # by exit code


class Finding(NamedTuple):
    """One judged thing: an exit code and the sentence for it."""
    state: int
    sentence: str


class Part(nagiosplugin.Context):
    """A part of what is checked. Its metrics are Findings; the worst is perfdata, `<name>_state` 0 to 3."""

    def evaluate(self, metric: nagiosplugin.Metric, resource: nagiosplugin.Resource) -> nagiosplugin.Result:
        return nagiosplugin.Result(STATES[metric.value.state], metric.value.sentence, metric)


class Number(nagiosplugin.Context):
    """A number for graphs, in plain decimal notation; its ranges are shown with it. It judges nothing."""

    def __init__(self, name: str, uom: str = "", warning: Range = None, critical: Range = None,
                 minimum: int | None = None) -> None:  # fmt: skip
        super().__init__(name)
        self.uom, self.ranges, self.minimum = uom, (warning, critical), minimum

    def performance(self, metric: nagiosplugin.Metric,
                    resource: nagiosplugin.Resource) -> nagiosplugin.Performance | None:  # fmt: skip
        value = metric.value
        if value is None or not math.isfinite(value):
            return None
        number = str(value) if isinstance(value, int) else f"{value:.6f}".rstrip("0").rstrip(".")
        return nagiosplugin.Performance(self.name, number, self.uom, *self.ranges, self.minimum)


class Says(nagiosplugin.Summary):
    """What a check says when all is well, and the lines of -v: two functions of the results."""

    def __init__(self, ok: Callable[[Results], str], verbose: Callable[[Results], Sequence[str]]) -> None:
        self._ok, self._verbose = ok, verbose

    def ok(self, results: Results) -> str:
        return self._ok(results)

    def verbose(self, results: Results) -> list[str]:
        return list(self._verbose(results))


def judge(value: float | None, warning: Range, critical: Range) -> int:
    """The exit code of a number against two ranges, None = no limit. A missing number and NaN are UNKNOWN."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if critical is not None and not critical.match(value):
        return CRITICAL
    return OK if warning is None or warning.match(value) else WARNING


def run(service: str, options: Options, build: Callable[[argparse.Namespace], nagiosplugin.Check],
        part: str) -> NoReturn:  # fmt: skip
    """Read the options, make the check of them (`build`), run it, speak and end.

    `part` is the check's main part. A run that fails after its options were read says so in perfdata,
    `<part>_state`; without it the check did not come to ask anything."""
    deadline.take_over(service)
    deadline.doing(_("reading the options"))
    values = options.parse(sys.argv[1:])
    deadline.set_limit(*values.timeout)
    check = build(values)
    deadline.set_part(part)
    check()
    deadline.end(verdict_of(check, values.verbose))


def verdict_of(check: nagiosplugin.Check, verbose: int) -> Verdict:
    """What a check says that has run: every problem, the worst first, or that all is well."""
    results = list(check.results.results)  # in the order of the metrics; the iterator sorts by state
    state = worst(int(result.state) for result in results)
    problems = sorted(results, key=lambda item: -RANKED.index(int(item.state)))
    hints = dict.fromkeys(item.hint or _("no reason given") for item in problems if int(item.state) != OK)
    sentence = "; ".join(hints) or (check.summary.ok(check.results) if results else _("nothing was judged"))
    details = check.summary.verbose(check.results) if verbose else ()
    # Not check.perfdata, which is sorted by label: the order of the metrics puts the main number first.
    numbers = (result.metric.performance() for result in results if result.metric is not None)
    pieces = [str(number) for number in numbers if number is not None]
    parts: dict[str, list[int]] = {}
    for result in results:
        if isinstance(result.context, Part):
            parts.setdefault(result.context.name, []).append(int(result.state))
    pieces += [f"{name}_state={worst(states)}" for name, states in parts.items()]
    return Verdict(state, sentence, tuple(pieces), tuple(details or ()))
