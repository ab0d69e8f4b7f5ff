"""What came of the checks: results as each node saw them, messages as the contact got them, compared with what must be.

Differences are words; an empty list means that nothing was lost, doubled or invented.
"""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple

from fleet.books import compare
from lab.icinga_lab import IcingaNode
from lab.notify_sink import Notification, NotificationSink


class Result(NamedTuple):
    """A result of a check: the service, when the check ended (epoch seconds), 0..3."""

    service: str
    ended: float
    state: int

    def __str__(self) -> str:
        return f"{self.service}|{self.ended:.6f}|{self.state}"


class Ledger:
    """Every result that a node has made its own, by itself or from a satellite, in this order; read from its API as it happens."""

    def __init__(self, node: IcingaNode, zones: Iterable[str]) -> None:
        self.results: list[Result] = []
        condition = " || ".join(f'match("{zone}-*", event.host)' for zone in zones)
        # "Before ..." run no plugin: half of all results, and told by the rest.
        condition = f'({condition}) && !match("Before *", event.service)'
        self._connection = node.open_events(["CheckResult"], condition)
        self._socket = self._connection.sock  # an answer without an end takes it from the connection
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200, self._answer.read(1000)
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Ledger:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Read no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._connection.close()

    def _read(self) -> None:
        try:
            for line in self._answer:
                event = json.loads(line)
                result = event["check_result"]
                self.results.append(Result(f"{event['host']}!{event['service']}", result["execution_end"], int(result["state"])))
        except (OSError, ValueError):
            pass  # the node or this test ended


def disorder(ledger: Ledger) -> list[str]:
    """Results that came after a newer one of the same service."""
    newest: dict[str, float] = {}
    late = []
    for result in ledger.results:
        if result.ended < newest.get(result.service, 0.0):
            late.append(result)
        newest[result.service] = max(result.ended, newest.get(result.service, 0.0))
    return [f"{len(late)} results came late, for example {late[0]}"] if late else []


def _words(items: Iterable[Notification]) -> Counter[str]:
    return Counter(f"{item.host} {item}" for item in items)


def told(heard: Iterable[Notification], firing: Iterable[str], resolved: Iterable[str] = ()) -> list[str]:
    """One FIRING for each of these ("HOST SERVICE"), one RESOLVED for each of those, and not a word more to anybody?"""
    wanted: Counter[str] = Counter()
    for word, places in (("FIRING", firing), ("RESOLVED", resolved)):
        for place in places:
            host, _, service = place.partition(" ")
            wanted[f"{host} {word} {service}"] += 1
    return compare("messages", wanted, _words(heard))


def count(sink: NotificationSink, word: str, prefix: str = "") -> int:
    """How many messages of this word came so far, about hosts whose names begin so."""
    return sum(item.word == word and item.host.startswith(prefix) for item in list(sink.received))
