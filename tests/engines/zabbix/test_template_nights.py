"""The template's triggers through many nights, with the shipped intervals: each with other phases, delays and gaps.

The model is lab.zabbix_triggers. Seeds are fixed, so a failure comes again; they are told in the message.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pytest
import yaml
from lab import zabbix_template
from lab.zabbix_triggers import LONGEST_DELAY, Check, Server, play, read_triggers

MACROS = {
    macro["macro"]: str(macro.get("value", ""))
    for macro in yaml.safe_load(zabbix_template.PASSIVE.read_text())["zabbix_export"]["templates"][0]["macros"]
}
TRIGGERS = read_triggers(zabbix_template.PASSIVE, MACROS)
LICENSE, DEAD, UNOFFERED = "USB forwarder: License has expired", "USB forwarder: Does not work", "USB forwarder: Does not offer the key"
LOST, LICMAN, KODEKS = "SenseLock key: Lost", "License manager: Does not answer", "Kodeks server: Reports no working key"
UNREACHABLE = "Kodeks server: State cannot be read"
NOT_RUN = {
    "forwarder": "USB forwarder: Check does not run",
    "key": "SenseLock key: Check does not run",
    "licman": "License manager: Check does not run",
    "server": "Kodeks server: Check does not run",
}
LINKS = ("forwarder", "key", "licman", "server")
MINUTE, HOUR = 60.0, 3600.0
SECONDS = {"s": 1, "m": 60}
INTERVALS = {
    link: float(text[:-1]) * SECONDS[text[-1]]
    for link in ("FORWARDER", "KEY", "LICMAN", "SERVER")
    for text in [MACROS[f"{{$KODEKS.TUNE.{link}.INTERVAL}}"]]
}
Course = Callable[[float], int]  # the state of a link at a moment


def well(moment: float) -> int:
    return 0


def long(moment: float) -> float:
    """Days of license left."""
    return 200


def broken(state: int, begin: float, end: float) -> Course:
    """OK, then this state from `begin` to `end`, then OK."""
    return lambda moment: state if begin <= moment < end else 0


def checks(forwarder: Course, key: Course, licman: Course, server: Course, days: Callable[[float], float]) -> list[Check]:
    """The four master items and what their dependent items make of the answer."""
    return [
        Check(INTERVALS["FORWARDER"], lambda now: {"kodeks.forwarder.state": forwarder(now), "kodeks.forwarder.license.days": days(now)}),
        Check(INTERVALS["KEY"], lambda now: {"kodeks.key.state": key(now)}),
        Check(INTERVALS["LICMAN"], lambda now: {"kodeks.licman.state": licman(now)}),
        Check(INTERVALS["SERVER"], lambda now: {"kodeks.server.state": server(now)}),
    ]


def night(
    seed: int,
    *,
    forwarder: Course = well,
    key: Course = well,
    licman: Course = well,
    server: Course = well,
    days: Callable[[float], float] = long,
    until: float = 4 * HOUR,
) -> Server:
    return play(TRIGGERS, checks(forwarder, key, licman, server, days), until, random.Random(seed))


def told(server: Server) -> list[tuple[str, str]]:
    return [(kind, name) for _, kind, name in server.messages]


# --- One incident, one FIRING and one RESOLVED --------------------------------------------------------------------


@dataclass(frozen=True)
class Incident:
    """The first link that breaks, the states of the links, and the slowest allowed first message, seconds."""

    id: str
    first: str
    forwarder: int = 0
    key: int = 0
    licman: int = 0
    server: int = 0
    slowest: float = 40


INCIDENTS = [
    Incident("license expired", LICENSE, forwarder=5, key=2, server=2, slowest=40),
    Incident("forwarder dead", DEAD, forwarder=2, key=2, server=2, slowest=40),
    Incident("forwarder dead, Kodeks hangs", DEAD, forwarder=2, server=3, slowest=40),
    Incident("license expired, Kodeks hangs", LICENSE, forwarder=5, key=2, server=3, slowest=40),
    Incident("key pulled out of the forwarder's machine", LOST, forwarder=7, key=2, server=2, slowest=120),
    Incident("key pulled out of the forwarder's machine, Kodeks does not notice", LOST, forwarder=7, key=2, slowest=120),
    Incident("key pulled out of this machine", LOST, key=2, server=2, slowest=120),
    Incident("key pulled out of this machine, Kodeks hangs", LOST, key=2, server=3, slowest=120),
    Incident("license manager down", LICMAN, licman=2, server=2, slowest=120),
    Incident("license manager down, Kodeks hangs", LICMAN, licman=2, server=9, slowest=120),
    Incident("only Kodeks", KODEKS, server=2, slowest=900),
    Incident("Kodeks down", UNREACHABLE, server=3, slowest=900),
    # Faults of the set-up: an ini file that is missing or closed, a library that is missing, UserParameters that are not there.
    Incident("no check runs", NOT_RUN["forwarder"], forwarder=10, key=10, server=10, slowest=100),
    Incident("no check runs and the license manager's port cannot be tried", NOT_RUN["forwarder"], 10, 10, 10, 10, slowest=100),
    Incident("no check of the key and of Kodeks runs", NOT_RUN["key"], key=10, server=10, slowest=300),
    Incident("the check of the license manager does not run", NOT_RUN["licman"], licman=10, slowest=300),
    Incident("the check of Kodeks does not run", NOT_RUN["server"], server=10, slowest=900),
]


@pytest.mark.parametrize("incident", INCIDENTS, ids=lambda incident: incident.id)
def test_one_firing_and_one_resolved(incident: Incident) -> None:
    """The links behind the first follow at once or up to half an hour later; they come back at once or up to ten minutes
    later, which the GOOD macros allow. A fault of the set-up begins and ends for all checks at once."""
    slowest = 0.0
    for seed in range(60):
        chance = random.Random(seed)
        at_once = seed % 3 == 0 or incident.first in NOT_RUN.values()
        begin, end = HOUR + chance.uniform(0, 300), 2.5 * HOUR + chance.uniform(0, 300)
        begins, ends = [begin], [end]
        for _ in range(2):
            begins.append(begins[-1] + (0 if at_once else chance.uniform(0, 15 * MINUTE)))
            ends.append(ends[-1] + (0 if at_once else chance.uniform(0, 4 * MINUTE)))

        def days(now: float, expired: bool = incident.forwarder == 5, begin: float = begin, end: float = end) -> float:
            return -1 if expired and begin <= now < end else 200

        server = night(
            seed,
            forwarder=broken(incident.forwarder, begins[0], ends[0]),
            licman=broken(incident.licman, begins[0], ends[0]),
            key=broken(incident.key, begins[0] if incident.forwarder == 7 else begins[1], ends[0] if incident.forwarder == 7 else ends[1]),
            server=broken(incident.server, begin if incident.first in (KODEKS, UNREACHABLE, NOT_RUN["server"]) else begins[2], ends[2]),
            days=days,
        )
        assert told(server) == [("FIRING", incident.first), ("RESOLVED", incident.first)], f"seed {seed}"
        first = begins[1] if incident.first.startswith("SenseLock key: ") and incident.forwarder == 0 else begin
        slowest = max(slowest, server.messages[0][0] - first)
        recovered = ends[2] if incident.server else ends[1]
        assert server.messages[1][0] - recovered < INTERVALS["SERVER"] + 10, f"seed {seed}"
    assert slowest < incident.slowest + 5


def test_the_key_does_not_overtake_the_forwarder() -> None:
    """The narrowest case: both fail together, the forwarder right after it was looked at and the key right before, so
    that their second bad samples are a moment apart and the delays decide which is known first."""
    for seed in range(100):
        bad = broken(2, HOUR, 2 * HOUR)
        forwarder, key, *others = checks(bad, bad, well, well, long)
        placed = [replace(forwarder, phase=-0.05), replace(key, phase=0.05), *others]
        server = play(TRIGGERS, placed, 2.5 * HOUR, random.Random(seed))
        assert told(server) == [("FIRING", DEAD), ("RESOLVED", DEAD)], f"seed {seed}"


def test_kodeks_does_not_overtake_the_key() -> None:
    """The same between key and Kodeks, for operators who ask Kodeks half as often as the key."""
    for seed in range(100):
        bad = broken(2, HOUR, 2 * HOUR)
        forwarder, key, licman, server = checks(well, bad, well, bad, long)
        placed = [forwarder, replace(key, phase=-0.05), licman, replace(server, interval=2 * key.interval, phase=0.05)]
        assert told(play(TRIGGERS, placed, 2.5 * HOUR, random.Random(seed))) == [("FIRING", LOST), ("RESOLVED", LOST)], f"seed {seed}"


def test_what_fails_while_the_line_is_down_is_told_once() -> None:
    """A proxy is cut off for up to half an hour, and a link fails meanwhile. The values come late, and by the older ones of
    another link nothing is taken back."""
    for seed in range(100):
        chance = random.Random(3000 + seed)
        cut = HOUR, HOUR + chance.uniform(2 * MINUTE, 30 * MINUTE)
        begin = chance.uniform(cut[0], cut[1] - 2 * MINUTE)
        link, state, first = chance.choice([("forwarder", 2, DEAD), ("key", 2, LOST), ("licman", 2, LICMAN)])
        courses = {name: broken(state, begin, 2 * HOUR) if name == link else well for name in LINKS}
        night = play(TRIGGERS, checks(**courses, days=long), 3 * HOUR, chance, cut)
        assert told(night) == [("FIRING", first), ("RESOLVED", first)], f"seed {seed}"


def test_bad_samples_in_no_row_are_not_told() -> None:
    """Every link, all night, has single bad samples, never two in a row; Kodeks has two in a row as well."""
    for seed in range(40):
        chance = random.Random(1000 + seed)

        def flapping(bad: int, row: int, chance: random.Random = chance) -> Course:
            run = [0]

            def state(moment: float) -> int:
                run[0] = run[0] + 1 if moment > 0 and run[0] < row and chance.random() < 0.3 else 0
                return bad if run[0] else 0

            return state

        server = night(
            seed,
            forwarder=flapping(chance.choice((2, 3, 5, 7)), 1),
            key=flapping(chance.choice((2, 3, 6)), 1),
            licman=flapping(2, 1),
            server=flapping(chance.choice((2, 3)), 2),
        )
        assert told(server) == [], f"seed {seed}"


# --- Several causes, one after the other --------------------------------------------------------------------------


def test_what_is_corrected_before_it_could_be_told_is_not_told() -> None:
    """The forwarder's host name and Kodeks' password are wrong. The forwarder is told, and Kodeks, behind it, not. The host name
    is corrected, and that problem ends by itself; the password is corrected before Kodeks is asked again, so that the next
    answer is the first that Kodeks' own triggers look at since: it is good, so nothing is told."""
    ended_between = 0
    for seed in range(250):
        chance = random.Random(seed)
        forwarder, key, licman, server = checks(broken(2, HOUR, 2 * HOUR), well, well, well, long)
        phase = chance.uniform(0, server.interval)
        alone = int(MACROS["{$KODEKS.TUNE.FORWARDER.GOOD}"]) * INTERVALS["FORWARDER"]  # s until the forwarder's problem ends by itself
        # Kodeks is asked last while its password is wrong right before that problem ends, and then when it is right.
        asked = phase + server.interval * ((2 * HOUR + alone + 2 * INTERVALS["FORWARDER"] - phase) // server.interval)
        kodeks = checks(well, well, well, broken(3, HOUR, asked + 1), long)[3]
        night = play(TRIGGERS, [forwarder, key, licman, replace(kodeks, phase=phase)], 4 * HOUR, chance)
        ended = [time for time, kind, _ in night.messages if kind == "RESOLVED"]
        if asked + LONGEST_DELAY < ended[0] < asked + server.interval:
            ended_between += 1
            assert told(night) == [("FIRING", DEAD), ("RESOLVED", DEAD)], f"seed {seed}"
    assert ended_between > 50


def test_a_new_host_alarms_after_as_many_samples_as_any_other() -> None:
    """A host that is bad from its first sample on: each link's first problem comes with that sample of its row that its macro
    names, and not with an earlier one."""
    rows = [
        (DEAD, "forwarder", 2, "TUNE.FORWARDER.BAD"), (LICENSE, "forwarder", 5, "TUNE.FORWARDER.BAD"), (UNOFFERED, "forwarder", 7, "TUNE.UNOFFERED.BAD"),
        (NOT_RUN["forwarder"], "forwarder", 10, "TUNE.UNREADABLE.BAD"), ("USB forwarder: State cannot be read", "forwarder", 3, "TUNE.UNREADABLE.BAD"),
        ("USB forwarder: Warns", "forwarder", 1, "TUNE.UNREADABLE.BAD"), (LOST, "key", 2, "TUNE.KEY.BAD"),
        ("SenseLock key: Not where it should be", "key", 6, "TUNE.KEY.BAD"), ("SenseLock key: Warns", "key", 1, "TUNE.KEY.BAD"),
        ("SenseLock key: State cannot be read", "key", 3, "TUNE.UNREADABLE.BAD"), (NOT_RUN["key"], "key", 10, "TUNE.UNREADABLE.BAD"),
        (LICMAN, "licman", 2, "TUNE.LICMAN.BAD"), (NOT_RUN["licman"], "licman", 10, "TUNE.UNREADABLE.BAD"),
        (KODEKS, "server", 2, "TUNE.SERVER.BAD"), (UNREACHABLE, "server", 3, "TUNE.SERVER.BAD"), (UNREACHABLE, "server", 9, "TUNE.SERVER.BAD"),
        (NOT_RUN["server"], "server", 10, "TUNE.SERVER.BAD"), ("Kodeks server: Report is too old", "server", 8, "TUNE.SERVER.BAD"),
    ]  # fmt: skip
    for name, link, state, macro in rows:
        samples: list[float] = []

        def always(now: float, samples: list[float] = samples, state: int = state) -> int:
            samples.append(now)
            return state

        courses = {other: always if other == link else well for other in LINKS}
        server = play(TRIGGERS, checks(**courses, days=long), HOUR, random.Random(7), before=0)
        assert told(server) == [("FIRING", name)], name
        needed = samples[int(MACROS[f"{{$KODEKS.{macro}}}"]) - 1]
        assert needed <= server.messages[0][0] <= needed + LONGEST_DELAY, name


# --- Never silent, never stuck ------------------------------------------------------------------------------------

NEVER_GOOD: list[tuple[str, tuple[int, ...]]] = [
    ("forwarder", (2, 3, 5, 7)),
    ("forwarder", (2, 3, 5, 7, 10)),
    ("key", (2, 3, 10)),
    ("key", (3, 6, 10)),  # 2 and 6 in turns: a key that comes and goes, told each time
    ("licman", (2, 10)),
    ("server", (2, 3, 9)),
    ("server", (2, 3, 9, 10)),
    ("server", (8,)),  # a working key in an old report
]
@pytest.mark.parametrize(("link", "states"), NEVER_GOOD, ids=[f"{link} {states}" for link, states in NEVER_GOOD])
def test_a_link_that_is_never_good_is_told_and_everything_ends(link: str, states: tuple[int, ...]) -> None:
    """For an hour every sample of one link is bad, in any mixture of its bad states, while the others are well or come and
    go; then all is well, and within the next hour everything that was told ends."""
    for seed in range(60):
        chance = random.Random(2000 + seed)
        wild = {other: chance.random() < 0.3 for other in LINKS if other != link}
        usual = chance.sample(states, chance.randint(1, len(states)))

        def course(
            name: str, chance: random.Random = chance, wild: Mapping[str, bool] = wild, usual: Sequence[int] = usual
        ) -> Course:
            def state(moment: float) -> int:
                if not HOUR <= moment < 2 * HOUR:
                    return 0
                if name == link:
                    return chance.choice(usual)
                return chance.choice((0, 0, 2, 3 if name != "licman" else 10)) if wild[name] else 0

            return state

        server = night(seed, **{name: course(name) for name in LINKS}, until=3 * HOUR)
        share = open_share(server, 1.4 * HOUR, 2 * HOUR)
        assert share > (0.5 if any(wild.values()) else 0.8), f"seed {seed}: something was open {share:.0%} of the time; {told(server)}"
        assert server.open == set(), f"seed {seed}"
        alone = [name for kind, name in told(server) if kind == "FIRING" and not any(wild.values())]
        assert len(alone) <= 5, f"seed {seed}: {alone}"


def open_share(server: Server, begin: float, end: float) -> float:
    """The part of a time in which at least one problem was open."""
    open_now: set[str] = set()
    before, total = begin, 0.0
    for time, kind, name in [*server.messages, (end, "", "")]:
        moment = min(max(time, begin), end)
        total += moment - before if open_now else 0
        before = moment
        if kind == "FIRING":
            open_now.add(name)
        else:
            open_now.discard(name)
    return total / (end - begin)


@pytest.mark.parametrize("left", [20, 5])
def test_the_license_warns_once_and_until_it_is_renewed(left: int) -> None:
    """Day by day: 40 days left, then `left`, then over, then renewed."""
    for seed in range(20):
        steps = [(HOUR, 40), (2 * HOUR, left), (3 * HOUR, -1), (5 * HOUR, 365)]

        def days(now: float, steps: list[tuple[float, int]] = steps) -> float:
            return next((number for end, number in steps if now < end), 365)

        def forwarder(now: float) -> int:
            return 5 if days(now) < 0 else 1 if days(now) < 30 else 0

        server = night(seed, forwarder=forwarder, days=days, until=6 * HOUR)
        warning = f"USB forwarder: License ends in less than {{$KODEKS.LICENSE.{'CRIT' if left < 7 else 'WARN'}}} days"
        assert told(server)[:2] == [("FIRING", warning), ("FIRING", LICENSE)], f"seed {seed}"
        assert sorted(told(server)[2:]) == sorted([("RESOLVED", LICENSE), ("RESOLVED", warning)]), f"seed {seed}"
