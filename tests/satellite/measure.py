"""The full measurement, with the templates' own minutes. Each of the three runs takes about eight minutes.

    PYTHONPATH=checks:tests .venv/bin/python -m satellite.measure                    200 keys are lost and come back
    PYTHONPATH=checks:tests .venv/bin/python -m satellite.measure --cut 300          the line is cut meanwhile
    PYTHONPATH=checks:tests .venv/bin/python -m satellite.measure --cut 300 --silent the line dies and nobody is told

1,000 hosts behind one satellite; 200 lose their key within ten seconds. Prints what it measures as it goes, and at the end
what the books say; exit code 1 when they do not balance. Results of an outage may be lost (see `satellite.late_results`);
what must hold even then is that every key that stays lost is told, once.
"""

from __future__ import annotations

import argparse
import sys
import time

from satellite import books
from satellite.cluster import SATELLITE_SERVICE
from satellite.recorded import LOST, WELL
from satellite.world import Customer, SatelliteWorld

ZONE = "site-042"


class Story:
    """The measurement; `differences` is what the books said against it."""

    def __init__(self, world: SatelliteWorld, lost: list[str]) -> None:
        self.world, self.lost = world, lost
        self.begun = time.time()
        self.differences: list[str] = []
        self.line: list[str] = []

    def say(self, text: str) -> None:
        """A line of the report."""
        print(f"{time.time() - self.begun:6.1f} s  {text}", flush=True)

    def steady(self, seconds: float) -> None:
        """What the fleet costs while nothing happens."""
        world = self.world
        before, taken, carried = world.usage(), len(world.ledgers["master"].results), world.lines[ZONE].carried
        time.sleep(seconds)
        results, bytes_ = len(world.ledgers["master"].results) - taken, world.lines[ZONE].carried - carried
        self.say(f"steady: {results / seconds:.0f} results/s, helper services not counted; {bytes_ / 1024 / seconds:.0f} KiB/s on the line")
        self.say(world.usage().since(before))

    def lose(self, cut: float, silent: bool) -> None:
        """The keys are lost within ten seconds; with `cut` the line breaks before it for so many seconds."""
        world, before = self.world, self.world.usage()
        broke = time.time()
        if cut:
            (world.silence if silent else world.cut)(ZONE)
            self.say("the line is " + ("dead, and nobody is told" if silent else "cut"))
        self.say(f"{len(self.lost)} keys are lost within 10 s")
        begun = time.time()
        world.machines.play(LOST, self.lost, within=10)
        if cut:
            self._wait_in_the_dark(broke, begun + cut, silent)
            begun = world.restore(ZONE)
            self.say("the line is back, the log is replayed")
        for count in sorted({1, len(self.lost) // 2, len(self.lost)}):
            told = world.told("FIRING", count, 600)
            self.say(f"{count} told {told - begun:.1f} s after {'the line is back' if cut else 'the first key is lost'}")
        self.say(world.usage().since(before))

    def _wait_in_the_dark(self, broke: float, until: float, silent: bool) -> None:
        world, place = self.world, f"{self.world.satellites[ZONE].name} {SATELLITE_SERVICE}"
        if silent:
            noticed = world.wait("the satellite notices", lambda: not world.satellites[ZONE].is_connected(world.master.name), 200)
            self.say(f"the satellite notices {noticed - broke:.0f} s later; results are kept from now on")
            world.cut(ZONE)
        told = world.wait("told that the site is cut off", lambda: books.count(world.sink, "FIRING", place.split()[0]) > 0, 400)
        self.say(f"{SATELLITE_SERVICE} told {told - broke:.0f} s after the break")
        self.line = [place]
        time.sleep(max(0.0, until - time.time()))
        size = world.satellites[ZONE].replay_log_size() / 2**20
        hard, told_now = len(world.satellites[ZONE].broken()), world.heard("FIRING")
        self.say(f"broken at the site: {hard}, told: {told_now}; the satellite keeps {size:.1f} MiB of results")

    def recover(self) -> None:
        """All keys are back."""
        begun = time.time()
        self.world.machines.play(WELL, self.lost)
        told = self.world.told("RESOLVED", len(self.lost), 300)
        self.say(f"keys back: all {len(self.lost)} told {told - begun:.1f} s later")

    def balance(self) -> None:
        """Nothing lost, nothing doubled?"""
        world = self.world
        world.settle(180)
        places = [*world.machines.firing(self.lost), *self.line]
        self.differences = books.told(world.sink.received, places, places) + world.differences()
        self.say(f"{len(world.ledgers['master'].results)} results on the master; of the outage: (measured, never"
                 f" arrived) {world.lost_in_outages()}")  # fmt: skip
        self.say("the books balance" if not self.differences else f"DIFFERENCES: {self.differences}")


def main() -> int:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--hosts", type=int, default=1000)
    options.add_argument("--lost", type=int, default=200)
    options.add_argument("--minute", type=int, default=60, help="seconds that a minute of the templates lasts")
    options.add_argument("--cut", type=float, default=0, help="seconds from the loss until the line is back")
    options.add_argument("--silent", action="store_true", help="nobody is told that the line is dead")
    given = options.parse_args()
    begun = time.time()
    with SatelliteWorld({ZONE: Customer(given.hosts, given.minute)}, given.minute) as world:
        story = Story(world, world.names[ZONE][: given.lost])
        story.say(f"{given.hosts} hosts, up {time.time() - begun:.0f} s after the beginning, certificates included")
        world.calm(400)
        story.say(f"calm: {len(world.master.services_where('true'))} services checked and OK")
        story.steady(60)
        story.lose(given.cut, given.silent)
        story.recover()
        story.balance()
    return 1 if story.differences else 0


if __name__ == "__main__":
    sys.exit(main())
