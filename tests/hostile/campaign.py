"""Any number of hostile examples on several processes: counts, seeds, distinct failures, the slowest example.

    python -m hostile.campaign --examples 200000 --seed 1 --processes 2
    python -m hostile.campaign --runs 5000 --seed 1 --processes 2
    python -m hostile.campaign --property report --seed 1 --example 17

Example number n of a property is drawn from Random("SEED NAME n"), so that every one can be repeated by itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Iterable
from random import Random
from typing import NamedTuple


class Failure(NamedTuple):
    """One way of failing: where, the first example that showed it, and how often."""

    where: str
    example: int
    message: str
    times: int = 1


class Tally(NamedTuple):
    """What became of some examples. `slowest` is CPU seconds and the example's number."""

    name: str
    examples: int
    good: int
    seconds: float
    slowest: tuple[float, int]
    failures: tuple[Failure, ...]

    def line(self) -> str:
        """One line of the table."""
        worst = f"{self.slowest[0] * 1000:.1f} ms at {self.slowest[1]}"
        return f"{self.name:22} {self.examples:8} examples {self.good:8} good {self.seconds:8.1f} s  slowest {worst:22} failures {len(self.failures)}"


TOO_SLOW = 2.0  # CPU seconds for one example in this process


def run(name: str, seed: int, numbers: Iterable[int]) -> Tally:
    """Run some examples of a property, or of the whole processes ("process"). A failure never ends the run."""
    from hostile import processes
    from hostile.properties import PROPERTIES

    proof = processes.example if name == "process" else PROPERTIES[name]
    failures: dict[str, Failure] = {}
    examples = good = 0
    slowest = (0.0, -1)
    started = time.process_time()
    for number in numbers:
        begun = time.thread_time()
        try:
            good += bool(proof(Random(f"{seed} {name} {number}")))
        except Exception as error:  # noqa: BLE001 - whatever a parser raises is a finding
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{type(error).__name__} at {frame.filename.rpartition('/')[2]}:{frame.lineno}"
            known = failures.get(where)
            failures[where] = known._replace(times=known.times + 1) if known else Failure(where, number, f"{error}"[:3000])
        examples += 1
        slowest = max(slowest, (time.thread_time() - begun, number))
    if slowest[0] > TOO_SLOW:
        failures["slow"] = Failure("slow", slowest[1], f"{slowest[0]:.1f} s")
    return Tally(name, examples, good, time.process_time() - started, slowest, tuple(failures.values()))


def _run(work: tuple[str, int, range]) -> Tally:
    return run(*work)


def _end_quietly() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which prints what was done so far
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def merged(tallies: Iterable[Tally]) -> dict[str, Tally]:
    """The tallies of each property as one."""
    found: dict[str, Tally] = {}
    for tally in tallies:
        old = found.get(tally.name)
        if old:
            failures = {failure.where: failure for failure in old.failures}
            for failure in tally.failures:
                known = failures.get(failure.where)
                failures[failure.where] = known._replace(times=known.times + failure.times) if known else failure
            tally = Tally(tally.name, old.examples + tally.examples, old.good + tally.good, old.seconds + tally.seconds,
                          max(old.slowest, tally.slowest), tuple(failures.values()))  # fmt: skip
        found[tally.name] = tally
    return found


def main() -> int:
    """The command line."""
    from hostile.properties import PROPERTIES

    parser = argparse.ArgumentParser(prog="hostile.campaign")
    parser.add_argument("--examples", type=int, default=0, help="of each property")
    parser.add_argument("--runs", type=int, default=0, help="whole processes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--property", action="append", choices=(*PROPERTIES, "process"))
    parser.add_argument("--example", type=int, help="run this one alone and show what it raises")
    values = parser.parse_args()
    if values.example is not None:
        tally = run(values.property[0], values.seed, [values.example])
        print(tally.line(), *(failure.message for failure in tally.failures), sep="\n")
        return bool(tally.failures)
    step = 5000
    names = values.property or list(PROPERTIES)
    work = [(name, values.seed, range(start, min(start + step, values.examples))) for start in range(0, values.examples, step) for name in names]
    work += [("process", values.seed, range(start, min(start + 50, values.runs))) for start in range(0, values.runs, 50)]
    done: list[Tally] = []
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell lets its background jobs ignore SIGINT
        signal.signal(number, signal.default_int_handler)
    with multiprocessing.get_context("fork").Pool(values.processes, _end_quietly) as pool:
        try:
            for tally in pool.imap_unordered(_run, work):
                done.append(tally)
                for failure in tally.failures:
                    print(f"FAILURE {tally.name} seed {values.seed} example {failure.example}: {failure.where} (x{failure.times}): {failure.message}", flush=True)
        except KeyboardInterrupt:
            print("interrupted: what follows is what was really run")
    tallies = merged(done).values()
    print(*(tally.line() for tally in tallies), sep="\n")
    print(f"seed {values.seed}: {sum(tally.examples for tally in tallies)} examples, {sum(len(tally.failures) for tally in tallies)} distinct failures")
    return any(tally.failures for tally in tallies)


if __name__ == "__main__":
    sys.exit(main())
