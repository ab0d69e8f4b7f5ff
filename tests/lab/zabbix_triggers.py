"""The triggers of a Zabbix template as a model: thousands of nights in seconds, with the shipped intervals.

A real server plays a story in real time, so it can play a few, and only with short intervals. What decides whether the
first broken link is told first is the order in which samples arrive; so here every item has its own phase, and every
sample its own delay. The model reads the expressions from the YAML and keeps to what the server does (documentation of
6.0, "Trigger dependencies", "Triggers"): a trigger is looked at when one of its items has a new value, those it depends
on first; it changes neither way while one of those has a problem; with a recovery expression a problem ends when the
first expression is false and the second is true. The dependent items of one answer get their values one by one, in any
order, and with several history syncers triggers are looked at in between (seen with 6.0 and 7.0). test_evening.py and
test_recorded_lines.py hold the same stories against real servers.

When a line was down, a proxy's values arrive late. The server takes one value of each item in a round and judges by each as
of its own time (seen with 7.0; `tests/fleet` plays it for real).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import CodeType

import yaml

LONGEST_DELAY = 3.0  # seconds from the beginning of a check to its value at the server: the agent's limit
KEPT = 64  # samples of an item that any expression may ask for

_CALL = re.compile(r"(count|nodata)\(/[^/]+/([\w.]+),\"?([^),\"]+)\"?(?:,\"(\w+)\",\"([^\"]*)\")?\)")


@dataclass(frozen=True)
class Trigger:
    """One trigger: its expressions as code over `count` and `nodata`, and the names of those it depends on."""

    name: str
    problem: CodeType
    recovery: CodeType | None
    items: frozenset[str]
    above: tuple[str, ...]


def read_triggers(template: Path, macros: Mapping[str, str]) -> list[Trigger]:
    """The triggers of a template, those that others depend on first. Only the functions that _CALL names are known."""
    export = yaml.safe_load(template.read_text(encoding="utf-8"))["zabbix_export"]

    def compiled(expression: str) -> CodeType:
        for name, value in macros.items():
            expression = expression.replace(name, value)
        python = _CALL.sub(lambda call: f"{call[1]}({', '.join(repr(part) for part in call.groups()[1:] if part is not None)})", expression)
        assert re.fullmatch(r"(?:(?:count|nodata)\((?:'[^']*'(?:, )?)+\)=\d+|and|or|[() ])+", python), expression
        return compile(re.sub(r"\)=(\d)", r")==\1", python), template.name, "eval")

    left = {}
    for trigger in export["triggers"]:
        recovery = trigger.get("recovery_expression")
        text = f"{trigger['expression']} {recovery or ''}"
        left[trigger["name"]] = Trigger(
            trigger["name"],
            compiled(trigger["expression"]),
            compiled(recovery) if recovery else None,
            frozenset(call[1] for call in _CALL.findall(text)),
            tuple(dependency["name"] for dependency in trigger.get("dependencies", ())),
        )
    ordered: list[Trigger] = []
    while left:
        ready = [trigger for trigger in left.values() if not set(trigger.above) & set(left)]
        ordered += ready
        for trigger in ready:
            del left[trigger.name]
    return ordered


class Server:
    """What the server keeps: the latest values of each item (newest first), and each trigger's state."""

    def __init__(self, triggers: Sequence[Trigger]) -> None:
        self.triggers = triggers
        self.messages: list[tuple[float, str, str]] = []  # (time, FIRING or RESOLVED, trigger)
        self.open: set[str] = set()
        self._values: dict[str, list[tuple[float, float]]] = {}  # (time, value)
        self._by_item: dict[str, list[Trigger]] = {}
        self._functions: dict[str, object] = {"count": self._count, "nodata": lambda *_: 0}  # the agent is alive in these nights

    def receive(self, time: float, values: Mapping[str, float]) -> None:
        """New values, each of another item, that are looked at together. `time` is theirs: late ones are older than what is
        known already."""
        self._now = time
        for item, value in values.items():
            kept = self._values.setdefault(item, [])
            kept.insert(0, (time, value))
            del kept[KEPT:]
        for trigger in self.triggers:
            if not trigger.items.isdisjoint(values):
                self._look_at(trigger, time)

    def _look_at(self, trigger: Trigger, time: float) -> None:
        if any(name in self.open for name in trigger.above):
            return
        problem = bool(eval(trigger.problem, self._functions))  # noqa: S307 (made above from the template's own text)
        if trigger.name not in self.open:
            if problem:
                self.open.add(trigger.name)
                self.messages.append((time, "FIRING", trigger.name))
        elif not problem and (trigger.recovery is None or eval(trigger.recovery, self._functions)):  # noqa: S307
            self.open.remove(trigger.name)
            self.messages.append((time, "RESOLVED", trigger.name))

    def _count(self, item: str, period: str, operator: str, pattern: str) -> int:
        assert period.startswith("#"), period
        known = (value for time, value in self._values.get(item, ()) if time <= self._now)
        return sum(_matches(value, operator, pattern) for value in islice(known, int(period[1:])))


_RESULTS: dict[tuple[float, str, str], bool] = {}


def _matches(value: float, operator: str, pattern: str) -> bool:
    known = _RESULTS.get((value, operator, pattern))
    if known is None:
        compare: dict[str, Callable[[], bool]] = {
            "eq": lambda: value == float(pattern),
            "ne": lambda: value != float(pattern),
            "lt": lambda: value < float(pattern),
            "gt": lambda: value > float(pattern),
            "ge": lambda: value >= float(pattern),
            "regexp": lambda: bool(re.search(pattern, f"{value:g}")),
        }
        known = _RESULTS[value, operator, pattern] = compare[operator]()
    return known


@dataclass(frozen=True)
class Check:
    """What the agent is asked for every `interval` seconds, and what it answers at a moment: item to value. `phase` is the
    second of the first question after 0, None for any."""

    interval: float
    answer: Callable[[float], Mapping[str, float]]
    phase: float | None = None


def play(
    triggers: Sequence[Trigger],
    checks: Iterable[Check],
    until: float,
    chance: random.Random,
    cut: tuple[float, float] | None = None,
    before: int = 40,
) -> Server:
    """A night of `until` seconds. The server has watched for `before` samples of each check before it begins at second 0. From
    the first to the second of `cut` the line to the proxy is down."""
    arrivals = []
    for number, check in enumerate(checks):
        moment = -before * check.interval + (chance.uniform(0, check.interval) if check.phase is None else check.phase)
        waiting = 0
        while moment < until:
            time = moment + chance.uniform(0, LONGEST_DELAY)
            late = cut is not None and cut[0] <= time < cut[1]
            waiting += late
            arrivals.append((cut[1] if cut and late else time, waiting if late else 0, number, time, check.answer(moment)))
            moment += check.interval
    server = Server(triggers)
    for _, _, _, time, values in sorted(arrivals, key=lambda arrival: arrival[:3]):
        for item in chance.sample(sorted(values), len(values)):
            server.receive(time, {item: values[item]})
    return server
