"""Shows a weakness of Icinga 2.13: what a satellite kept while its line was cut may be thrown away by the master.

    PYTHONPATH=checks:tests .venv/bin/python -m satellite.late_results [--hosts 1000] [--minute 60] [--cuts 6]

Cuts the line again and again for 20 seconds and prints for each cut how many results were measured until the replay was over,
and how many of them never reached the master. Some are always lost: those measured while the log is replayed
(Icinga/icinga2#10030). Now and then all are: a live message that slips out between the connection and the replay is newer
than the whole log, and the master ignores what is older than the last message (JsonRpcConnection::MessageHandler).
"""

from __future__ import annotations

import argparse
import sys
import time

from satellite.world import Customer, SatelliteWorld

ZONE = "site-042"
CUT_SECONDS = 20


def main() -> int:
    """Play it and print what came of it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--hosts", type=int, default=1000)
    options.add_argument("--minute", type=int, default=60, help="seconds that a minute of the templates lasts")
    options.add_argument("--cuts", type=int, default=6)
    given = options.parse_args()
    with SatelliteWorld({ZONE: Customer(given.hosts, given.minute)}, given.minute) as world:
        world.calm(400)
        for number in range(1, given.cuts + 1):
            world.cut(ZONE)
            time.sleep(CUT_SECONDS)
            back = time.time()
            replayed = world.restore(ZONE)
            print(f"cut {number}: {replayed - back:.0f} s until the satellite had connected and replayed its log", flush=True)
            time.sleep(8)
        world.settle(180)
        for number, (measured, lost) in enumerate(world.lost_in_outages(), 1):
            print(f"cut {number}: {measured} results measured, {lost} never arrived")
        print(world.differences() or "outside the cuts every result arrived once and in order")
    return 1 if world.differences() else 0


if __name__ == "__main__":
    sys.exit(main())
