"""A long outage in which keys are lost late: each must be one problem and stay one.

    PYTHONPATH=checks:tests .venv/bin/python -m fleet.late_loss [--forwarder 2s] [--key 6s]

Twenty hosts; the line is cut for eight key intervals and the keys are lost after five. Zabbix 7.0 takes one value of each
item in a round, so the forwarder's values, three times as many, are worked through after the key's. If the key's trigger
looked at the forwarder too, each of them would make Zabbix judge it as of that value's older time, when the key was there:
FIRING, RESOLVED, FIRING. test_template_nights.py holds the same on a model in CI.
The exit code is 1 when a problem did not stay a single one.
"""

from __future__ import annotations

import argparse
import sys
import time

from fleet import books
from fleet.agents import LOST, seconds
from fleet.site import Pace
from fleet.world import FleetWorld

HOSTS = 20


def main() -> int:
    """Play it and print what came of it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--forwarder", default="2s", help="interval of the forwarder's check")
    options.add_argument("--key", default="6s", help="interval of the key's check")
    given = options.parse_args()
    intervals = {"{$KODEKS.TUNE.FORWARDER.INTERVAL}": given.forwarder, "{$KODEKS.TUNE.KEY.INTERVAL}": given.key, "{$KODEKS.TUNE.SERVER.INTERVAL}": "10s"}
    key = seconds(given.key)
    with FleetWorld({"hosts": Pace(HOSTS, intervals)}, start_within=2) as world:
        world.calm(90)
        world.fleet.cut_line()
        time.sleep(5 * key)
        world.fleet.play(LOST, world.hosts)
        time.sleep(3 * key)
        world.fleet.restore_line()
        world.problems_reach(HOSTS, 60)
        time.sleep(3 * key)  # what else comes
        world.settle(30)
        differences = books.values(world.lab, world.fleet) + books.problems(world.lab, world.hosts)
        print(f"{HOSTS} keys lost; {books.problem_count(world.lab)} problems, {books.resolved_count(world.lab)} of them resolved")
        print(differences or "one problem for each key")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
