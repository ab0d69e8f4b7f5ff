"""One thousand hosts behind two satellites: 200 keys are lost within ten seconds, half of them while a line is cut.

The short run of what `satellite.measure` measures at length. Nothing here is a figure of speed: what is asserted is that
every lost key is told once, naming the first broken link, and once more when it is back; that nobody else is told about;
and that the master has every result of the satellites.

The 200 stand at a site whose minute lasts 3 seconds, that the run ends in time, the 800 others at one with whole minutes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from lab.engine_process import await_true

from satellite import books
from satellite.cluster import SATELLITE_SERVICE
from satellite.recorded import FIRST_LINK, LOST, WELL
from satellite.world import Customer, SatelliteWorld

pytestmark = pytest.mark.xdist_group("satellite")  # one worker, one world

UNLUCKY, CALM = "site-042", "site-007"
LOSERS, OTHERS = 200, 800
MINUTE = 3
BRIEF = 20
"""So many keys are lost and found again while the line is cut."""


class Told(NamedTuple):
    """What the contact had been told at a moment, told wrongly, and what was broken there, as the master and the satellite saw it."""

    differences: list[str]
    on_master: list[str]
    on_satellite: list[str]


class Story(NamedTuple):
    """The world after its story, and what was seen on the way."""

    world: SatelliteWorld
    live: Told
    cut: Told
    late: Told


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """The story, played once; the tests look at what is left."""
    with SatelliteWorld({UNLUCKY: Customer(LOSERS, MINUTE), CALM: Customer(OTHERS, 60)}, MINUTE) as world:
        world.calm(120)
        satellite, names = world.satellites[UNLUCKY], world.names[UNLUCKY]
        first, second = names[: LOSERS // 2], names[LOSERS // 2 :]
        brief = second[:BRIEF]
        dark = [f"{satellite.name} {SATELLITE_SERVICE}"]

        def look(firing: list[str], resolved: list[str]) -> Told:
            return Told(books.told(world.sink, firing, resolved), world.master.broken(), satellite.broken())

        world.machines.play(LOST, first, 5)
        world.told("FIRING", len(first), 90)
        live = look(world.machines.firing(first), [])

        world.cut(UNLUCKY)
        world.machines.play(LOST, second, 5)
        lost = set(world.machines.firing(second))
        await_true("the satellite knows it all", lambda: lost <= set(satellite.broken()), 90, 0.5)
        world.machines.play(WELL, brief)
        again = set(world.machines.firing(brief))
        await_true("the satellite knows of the found ones", lambda: not again & set(satellite.broken()), 60, 0.5)
        await_true("the master misses its satellite", lambda: f"{satellite.name} {SATELLITE_SERVICE}" in world.master.broken(), 60, 0.5)
        world.wait("that is told", lambda: books.count(world.sink, "FIRING", satellite.name) > 0, 30)
        cut = look(world.machines.firing(first) + dark, [])

        world.restore(UNLUCKY)
        world.told("FIRING", LOSERS, 120)
        world.told("RESOLVED", BRIEF, 60)
        world.wait("the line's own", lambda: books.count(world.sink, "RESOLVED", satellite.name) > 0, 60)
        still = [name for name in names if name not in brief]
        condition = f'host.zone == "{UNLUCKY}" && service.name == "KodeksXmlSensLockStatus"'
        kodeks = {f"{name} KodeksXmlSensLockStatus" for name in still}
        for _ in range(3):  # the last link has used up its tries as well
            satellite.check_all_now(condition)
            time.sleep(MINUTE)
        world.wait("Kodeks gives up everywhere", lambda: kodeks <= set(world.master.broken()), 60)
        late = look(world.machines.firing(names) + dark, world.machines.firing(brief) + dark)

        world.machines.play(WELL, still)
        world.told("RESOLVED", LOSERS, 120)
        world.wait("all is well", lambda: not world.master.broken(), 60)
        world.settle(60)
        yield Story(world, live, cut, late)


def test_every_lost_key_is_told_once_by_its_first_link(story: Story) -> None:
    assert story.live.differences == []
    assert {place.split(" ")[1] for place in story.world.machines.firing(story.world.names[UNLUCKY])} == set(FIRST_LINK.values())


def test_while_the_line_is_cut_only_the_line_is_told(story: Story) -> None:
    assert story.cut.differences == []
    assert len(set(story.cut.on_satellite) - set(story.cut.on_master)) > LOSERS / 4, "the cut held nothing back"


def test_what_the_cut_held_back_is_told_late_and_once(story: Story) -> None:
    """Those that were found again meanwhile too. By now every link behind the first is broken as well, and says nothing."""
    assert story.late.differences == []
    broken = {place.split(" ")[1] for place in story.late.on_master}
    assert broken == {"UsbForwarderStatus", "SenseLockKeyStatus", "KodeksXmlSensLockStatus"}


def test_every_key_that_is_back_is_told_once(story: Story) -> None:
    places = [*story.world.machines.firing(story.world.names[UNLUCKY]), f"{story.world.satellites[UNLUCKY].name} {SATELLITE_SERVICE}"]
    assert books.told(story.world.sink, places, places) == []


def test_the_first_line_of_the_check_arrives(story: Story) -> None:
    outputs = {item.service: item.output for item in story.world.sink.received if item.word == "FIRING"}
    assert outputs["UsbForwarderStatus"].startswith("USB_REDIRECTOR CRITICAL - key 0471:485d is not available"), outputs
    assert outputs["SenseLockKeyStatus"].startswith("SENSELOCK CRITICAL - no SenseLock key among "), outputs


def test_the_master_has_every_result_once_and_in_order(story: Story) -> None:
    """But for a few of the seconds in which the line broke or came back: those Icinga loses."""
    taken = len(story.world.ledgers["master"].results)
    assert taken > 5 * (LOSERS + OTHERS)
    assert story.world.differences() == []
    assert story.world.lost_in_gaps() < taken / 20
    assert story.world.satellites[UNLUCKY].replays > 1
