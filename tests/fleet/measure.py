"""The full measurement, at the template's own intervals: about a quarter of an hour; two cores and 1 GB suffice.

    PYTHONPATH=checks:tests .venv/bin/python -m fleet.measure [--hosts 1000] [--lost 200] [--cut 120] [--only-cut]

1,000 hosts; 200 lose their key within ten seconds; then 200 more, and the proxy is cut off for two minutes; then all
keys come back. Prints what it measures as it goes, and at the end what the books say; exit code 1 when they do not balance.

A tenth of the hosts alarms after 90 seconds without values ({$KODEKS.TUNE.AGENT.NODATA}): a cut of two minutes must not
alarm for them, since nodata() of Zabbix 5.4 and newer waits for a proxy that is away.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from fleet import books
from fleet.agents import LOST, WELL
from fleet.site import Pace
from fleet.world import FleetWorld, Usage

IMPATIENT = {"{$KODEKS.TUNE.AGENT.NODATA}": "90s"}


class Story:
    """The measurement; `differences` is what the books said against it."""

    def __init__(self, world: FleetWorld, lost: int) -> None:
        self.world, self.lost = world, lost
        self.begun = time.time()
        self.differences: list[str] = []

    def say(self, text: str) -> None:
        """A line of the report."""
        print(f"{time.time() - self.begun:6.1f} s  {text}", flush=True)

    def steady(self, seconds: float) -> None:
        """What the fleet costs while nothing happens."""
        before, samples = Usage.now(), self.world.fleet.samples
        time.sleep(seconds)
        self.say(f"steady: {(self.world.fleet.samples - samples) / seconds:.0f} plugin outputs/s; {Usage.now().since(before)}")

    def lose(self, hosts: list[str], already: int, cut: float = 0) -> None:
        """These hosts lose their keys within ten seconds, and with `cut` the line breaks then."""
        world, before, messages = self.world, Usage.now(), len(self.world.bot.messages)
        self.say(f"{len(hosts)} keys are lost within 10 s" + (f", then the proxy is cut off for {cut:g} s" if cut else ""))
        begun = time.time()
        world.fleet.play(LOST, hosts, within=10)
        if cut:
            world.cut_off(cut)
            begun = world.cut_to
            self.say(f"cut over; problems known before or during it: {world.problems_during_cut - already}; values held back follow")
        for count in (1, len(hosts) // 2, len(hosts)):
            reached = world.problems_reach(already + count, 400)
            self.say(f"{count} problems {reached - begun:.1f} s after {'the line is back' if cut else 'the first key is lost'}")
        told = world.told("FIRING", already + len(hosts), 400)
        times = [
            request.time + time.time() - time.monotonic()
            for request in world.bot.requests
            if request.method == "sendMessage" and request.code == 200
        ][messages:]
        spread = ", ".join(f"{moment - begun:.1f}" for moment in times)
        self.say(f"all told {told - begun:.1f} s after it, in {len(times)} messages, at seconds {spread}")
        measured = books.problem_times(world.lab)
        waits = sorted(measured[host] - world.fleet.agents[host].lost_at for host in hosts)
        self.say(f"key lost -> deciding value measured: median {waits[len(waits) // 2]:.0f} s, worst {waits[-1]:.0f} s")
        self.say(Usage.now().since(before))

    def recover(self, hosts: list[str]) -> None:
        """All keys are back."""
        world, begun, messages = self.world, time.time(), len(self.world.bot.messages)
        world.fleet.play(WELL, hosts)
        done = world.wait("all problems over", lambda: books.resolved_count(world.lab) >= len(hosts), 600)
        told = world.told("RESOLVED", len(hosts), 300)
        self.say(f"keys back: {len(hosts)} problems over after {done - begun:.1f} s, told after {told - begun:.1f} s"
                 f" in {len(world.bot.messages) - messages} messages")  # fmt: skip

    def balance(self, hosts: list[str], resolved: list[str]) -> None:
        """Nothing lost, nothing doubled?"""
        world = self.world
        world.settle(60)
        self.differences = books.values(world.lab, world.fleet) + books.problems(world.lab, hosts, resolved=resolved)
        told, expected = books.told(world.bot), {"FIRING": len(hosts), "RESOLVED": len(resolved)}
        if told != Counter(expected):
            self.differences.append(f"the chat tells {dict(told)} instead of {expected}")
        if books.notifications(world.lab) != {"sent": len(hosts) + len(resolved)}:
            self.differences.append(f"notifications: {dict(books.notifications(world.lab))}")
        self.differences += world.fleet.failures()[:5]
        self.say(f"{world.fleet.samples} plugin outputs, {books.stored_count(world.lab)} states stored, answers lost in the cut: {world.fleet.link.answers_lost}")
        self.say("the books balance" if not self.differences else f"DIFFERENCES: {self.differences}")


def main() -> int:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--hosts", type=int, default=1000)
    options.add_argument("--lost", type=int, default=200, help="keys lost at once, twice; at most 45 %% of the hosts")
    options.add_argument("--cut", type=float, default=120, help="seconds")
    options.add_argument("--only-cut", action="store_true", help="neither the first loss nor the recovery: four minutes")
    given = options.parse_args()
    impatient = given.hosts // 10
    paces = {"usual": Pace(given.hosts - impatient), "impatient": Pace(impatient, IMPATIENT)}
    with FleetWorld(paces, start_within=30) as world:
        story = Story(world, given.lost)
        world.calm(240)
        story.say(f"{given.hosts} hosts have values; {world.lab.sql('select count(*) from items where hostid > 100000')} items")
        first, second = world.names["usual"][: given.lost], world.names["usual"][given.lost : 2 * given.lost]
        if given.only_cut:
            story.lose(second, already=0, cut=given.cut)
            story.balance(second, resolved=[])
        else:
            story.steady(60)
            story.lose(first, already=0)
            story.lose(second, already=given.lost, cut=given.cut)
            story.recover(first + second)
            story.balance(first + second, resolved=first + second)
    return 1 if story.differences else 0


if __name__ == "__main__":
    sys.exit(main())
