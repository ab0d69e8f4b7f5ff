"""One thousand hosts behind two satellites: 200 keys are lost within ten seconds, half of them while a line is cut.

The short run of what `satellite.measure` measures at length. Nothing here is a figure of speed: what is asserted is that
every lost key is told once, naming the first broken link, and once more when it is back; that nobody else is told about;
and that the master has every result of the satellites, but for those of the outage.

The 200 stand at a site whose minute lasts 3 seconds, that the run ends in time, the 800 others at one with whole minutes.
They are simulated (`satellite.recorded`); a machine more has an agent, which connects to its satellite, and the real plugins.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pytest
from lab.engine_process import await_true
from lab.icinga_lab import literal
from lab.notify_sink import Notification

from satellite import books
from satellite.cluster import SATELLITE_SERVICE, Satellite
from satellite.recorded import FIRST_LINK, FORWARDED, LOCAL, LOST, WELL
from satellite.world import Customer, SatelliteWorld

pytestmark = pytest.mark.xdist_group("satellite")  # one worker, one world

UNLUCKY, CALM = "site-042", "site-007"
LOSERS, OTHERS = 200, 800
MINUTE = 3
BRIEF = 20
"""So many keys are lost and found again while the line is cut."""
REAL = f"{UNLUCKY}-kodeks-real {FIRST_LINK[LOCAL]}"
"""What is told of the machine with an agent and the real plugins."""
DARK = f"icinga.{UNLUCKY}.example {SATELLITE_SERVICE}"
"""What is told of the line."""


class Moment(NamedTuple):
    """What the contact had been told at a moment, and what was broken then, as the master and the satellite saw it."""

    heard: list[Notification]
    on_master: list[str]
    on_satellite: list[str]


class Story(NamedTuple):
    """The world after its story, and what was seen on the way."""

    world: SatelliteWorld
    live: Moment
    cut: Moment
    late: Moment

    @property
    def names(self) -> list[str]:
        """The simulated hosts of the unlucky site: the first half lost their keys on a good line, then come the brief ones."""
        return self.world.names[UNLUCKY]

    @property
    def brief(self) -> list[str]:
        """Those whose key was lost and found again while the line was cut."""
        return self.names[LOSERS // 2 : LOSERS // 2 + BRIEF]

    def firing(self, names: Sequence[str]) -> list[str]:
        """What must be told when these lose their keys."""
        return self.world.machines.firing(names)


def told_of(world: SatelliteWorld, word: str, names: Sequence[str]) -> int:
    """Of how many of these hosts this has been told."""
    return len({item.host for item in list(world.sink.received) if item.word == word} & set(names))


def others(heard: Sequence[Notification], names: Sequence[str]) -> list[Notification]:
    """Messages that are not about these hosts."""
    return [item for item in heard if item.host not in names]


def hurry(satellite: Satellite, places: Sequence[str]) -> None:
    """Let these links ("HOST SERVICE") use up their tries at once, and no link behind them: the order of links is the schedule's."""
    for _ in range(5):  # the tries of Kodeks, the most that a link has
        satellite.check_all_now(f"service.__name in {literal([place.replace(' ', '!') for place in places])}")
        time.sleep(1)


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """The story, played once; the tests look at what is left."""
    with SatelliteWorld({UNLUCKY: Customer(LOSERS, MINUTE, agent=True), CALM: Customer(OTHERS, 60)}, MINUTE) as world:
        world.calm(120, at_once=True)
        satellite, names, real = world.satellites[UNLUCKY], world.names[UNLUCKY], world.real[UNLUCKY]
        first, second = names[: LOSERS // 2], names[LOSERS // 2 :]
        brief = second[:BRIEF]
        real.play(LOST)
        world.machines.play(LOST, first, 5)
        world.told("FIRING", len(first) + 1, 90)
        live = Moment(list(world.sink.received), world.master.broken(), satellite.broken())

        world.cut(UNLUCKY)
        world.machines.play(LOST, second, 5)
        lost, again = world.machines.firing(second), world.machines.firing(brief)
        hurry(satellite, lost)
        await_true("the satellite knows it all", lambda: set(lost) <= set(satellite.broken()), 90, 0.5)
        world.machines.play(WELL, brief)
        await_true("the satellite knows of the found ones", lambda: not set(again) & set(satellite.broken()), 60, 0.5)
        world.wait("the cut is told", lambda: books.count(world.sink, "FIRING", satellite.name) > 0, 30)
        cut = Moment(list(world.sink.received), world.master.broken(), satellite.broken())

        world.restore(UNLUCKY)
        still = [name for name in names if name not in brief]
        world.wait("those that are still lost are told", lambda: told_of(world, "FIRING", still) == len(still), 120)
        world.wait("the line's own", lambda: books.count(world.sink, "RESOLVED", satellite.name) > 0, 60)
        kodeks = [f"{name} KodeksXmlSensLockStatus" for name in still]
        hurry(satellite, kodeks)
        world.wait("Kodeks gives up everywhere", lambda: set(kodeks) <= set(world.master.broken()), 60)
        late = Moment(list(world.sink.received), world.master.broken(), satellite.broken())

        real.play(WELL)
        world.machines.play(WELL, still)
        world.wait("all keys are told to be back", lambda: told_of(world, "RESOLVED", [*still, real.name]) == len(still) + 1, 120)
        hurry(satellite, kodeks)
        world.wait("all is well", lambda: not world.master.broken(), 60)
        world.settle(60)
        yield Story(world, live, cut, late)


def test_every_lost_key_is_told_once_by_its_first_link(story: Story) -> None:
    firing = story.firing(story.names[: LOSERS // 2])
    assert {place.split(" ")[1] for place in firing} == set(FIRST_LINK.values())
    assert books.told(story.live.heard, [REAL, *firing]) == []


def test_while_the_line_is_cut_only_the_line_is_told(story: Story) -> None:
    assert books.told(story.cut.heard, [REAL, DARK, *story.firing(story.names[: LOSERS // 2])]) == []
    held_back = set(story.cut.on_satellite) - set(story.cut.on_master)
    assert len(held_back) > LOSERS / 4, "the cut held nothing back"


def test_keys_that_are_still_lost_when_the_line_is_back_are_told_late_and_once(story: Story) -> None:
    """By now every link behind the first is broken as well, and says nothing."""
    still = [name for name in story.names if name not in story.brief]
    assert books.told(others(story.late.heard, story.brief), [REAL, DARK, *story.firing(still)], [DARK]) == []
    broken = {place.split(" ")[1] for place in story.late.on_master}
    assert broken == {"UsbForwarderStatus", "SenseLockKeyStatus", "KodeksXmlSensLockStatus"}


def test_every_key_that_is_back_is_told_once(story: Story) -> None:
    places = [REAL, DARK, *story.firing([name for name in story.names if name not in story.brief])]
    assert books.told(others(story.world.sink.received, story.brief), places, places) == []


def test_what_was_over_before_the_line_was_back_is_told_whole_or_not_at_all(story: Story) -> None:
    """Icinga may throw the kept results away (see `satellite.late_results`); then nothing is told, but never a half."""
    told = [place for place in story.firing(story.brief) if story.world.sink.of(place.split(" ")[0])]
    heard = [item for item in story.world.sink.received if item.host in story.brief]
    assert books.told(heard, told, told) == []


def test_the_first_line_of_the_check_arrives(story: Story) -> None:
    """The sentence and the perfdata that the real checks have printed."""
    names = story.names[: LOSERS // 2]
    for kind, service, check in ((FORWARDED, FIRST_LINK[FORWARDED], "usb_redirector"), (LOCAL, FIRST_LINK[LOCAL], "senselock")):
        line = story.world.machines.said[kind][LOST, check].text.splitlines()[0]
        text, _, perfdata = line.partition(" | ")
        heard = [item for item in story.live.heard if item.service == service and item.host in names]
        assert heard
        for item in heard:
            assert (item.output.strip(), item.perfdata) == (text, perfdata)


def test_outside_the_outage_the_master_has_every_result_once_and_in_order(story: Story) -> None:
    assert len(story.world.ledgers["master"].results) > 5 * (LOSERS + OTHERS)
    assert story.world.differences() == []
    assert story.world.satellites[UNLUCKY].replays > 1
