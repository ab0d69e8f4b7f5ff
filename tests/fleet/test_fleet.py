"""One thousand hosts behind one proxy: 200 keys are lost within ten seconds, and the line breaks in the middle of it.

The short run of what `fleet.measure` measures at length. Nothing here is a figure of speed: what is asserted is that
every value arrives once, that every lost key is one problem and told once, and that nobody else is told about.

The 200 are asked every 3, 9 and 27 seconds instead of the template's 20, 60 and 300, that the run ends in time; the
800 others as the template says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fleet import books
from fleet.agents import LOST
from fleet.site import Pace
from fleet.world import FleetWorld

pytestmark = pytest.mark.xdist_group("fleet")  # one worker, one world

BRISK = {"{$KODEKS.TUNE.FORWARDER.INTERVAL}": "3s", "{$KODEKS.TUNE.KEY.INTERVAL}": "9s", "{$KODEKS.TUNE.SERVER.INTERVAL}": "27s"}
LOSERS, OTHERS = 200, 800
CUT_SECONDS = 20  # more than two intervals of the key


@pytest.fixture(scope="module")
def world() -> Iterator[FleetWorld]:
    """The story, played once; the tests look at what is left."""
    with FleetWorld({"losers": Pace(LOSERS, BRISK), "others": Pace(OTHERS)}, start_within=5) as world:
        world.calm(120)
        with ThreadPoolExecutor(1) as pool:
            losing = pool.submit(world.fleet.play, LOST, world.names["losers"], 10)
            time.sleep(3)
            world.cut_off(CUT_SECONDS)
            losing.result()
        world.problems_reach(LOSERS, 120)
        world.told("FIRING", LOSERS, 180)
        world.settle(60)
        yield world


def test_every_value_is_stored_once(world: FleetWorld) -> None:
    assert world.fleet.samples > 4 * (LOSERS + OTHERS)
    assert books.values(world.lab, world.fleet) == []


def test_every_lost_key_is_one_problem_and_nothing_else_is(world: FleetWorld) -> None:
    assert books.problems(world.lab, world.names["losers"]) == []


def test_each_problem_is_told_once(world: FleetWorld) -> None:
    assert books.told(world.bot) == {"FIRING": LOSERS}
    assert books.notifications(world.lab) == {"sent": LOSERS}


def test_a_storm_is_a_handful_of_messages(world: FleetWorld) -> None:
    assert len(world.bot.messages) <= 20, [message.text.splitlines()[0] for message in world.bot.messages]


def test_the_cut_swallowed_an_answer_and_held_values_back(world: FleetWorld) -> None:
    """Else this run has proven nothing about the cut."""
    assert world.fleet.link.answers_lost == 1
    assert world.problems_during_cut < LOSERS
    measured = books.problem_times(world.lab)
    late = [host for host, clock in measured.items() if world.cut_from <= clock <= world.cut_to]
    assert len(late) > LOSERS / 8, f"only {len(late)} keys were missed during the cut"


def test_every_agent_was_served(world: FleetWorld) -> None:
    assert world.fleet.failures() == []
