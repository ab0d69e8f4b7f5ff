"""What a test refers to says how it is run: beside which others, and whether `--quick` leaves it out and counts it in its last line."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from lab.needs import is_seen_everywhere, needs_of

TESTS = Path(__file__).resolve().parent
for name in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):  # engines set them for no check
    os.environ.pop(name, None)  # the first would hide what a program forgets to flush, the second costs each start some time
_left: Counter[str] = Counter()  # tests left out by what they need; a worker of pytest-xdist counts those that it has collected


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option of tests/quick.sh."""
    parser.addoption("--quick", action="store_true", help="only tests that need no root, no Debian package and no engine")


def parts_of(item: pytest.Item) -> tuple[FunctionType, dict[str, Any], list[FunctionType]] | None:
    """A test's function, the values that it is run with, the functions of its fixtures."""
    if not isinstance(item, pytest.Function) or not isinstance(item.function, FunctionType):
        return None
    fixtures = [fixture.func for fixtures in item._fixtureinfo.name2fixturedefs.values() for fixture in fixtures]
    values = dict(item.callspec.params) if hasattr(item, "callspec") else {}
    return item.function, values, [function for function in fixtures if isinstance(function, FunctionType)]


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that disturb each other share a worker; `--quick` leaves out what needs more."""
    known = {item: parts for item in items if (parts := parts_of(item))}
    for item, parts in known.items():
        if is_seen_everywhere(*parts) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group("seen-everywhere"))
    if not config.getoption("--quick"):
        return
    needed = {item: needs for item, parts in known.items() if (needs := needs_of(*parts))}
    for needs in needed.values():
        _left[" and ".join(needs)] += 1
    config.hook.pytest_deselected(items=list(needed))
    items[:] = [item for item in items if item not in needed]
    if hasattr(config, "workeroutput"):
        config.workeroutput["left"] = dict(_left)


@pytest.hookimpl(optionalhook=True)  # it is one of pytest-xdist
def pytest_testnodedown(node: Any, error: object) -> None:
    """Every worker of pytest-xdist has left out the same tests."""
    _left.clear()
    _left.update(getattr(node, "workeroutput", {}).get("left", {}))


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last line."""
    if config.getoption("--quick") and not hasattr(config, "workerinput"):
        count, needed = sum(_left.values()), sorted({need for needs in _left for need in needs.split(" and ")})
        parts = [f"{count} tests that need {', '.join(needed)}"] if count else []
        parts += [f"all of tests/{{{','.join(others)}}}"] if (others := other_folders(config.args)) else []
        print(f"left to the full run (sh tests/run.sh): {' and '.join(parts) or 'nothing'}", flush=True)


def other_folders(arguments: list[str]) -> list[str]:
    """The folders of tests/ that these arguments of pytest do not reach."""
    given = [Path(argument.partition("::")[0]).resolve() for argument in arguments]
    folders = sorted({path.relative_to(TESTS).parts[0] for path in TESTS.glob("*/**/test_*.py")})
    return [name for name in folders if not any(TESTS / name in (path, *path.parents) or path in TESTS.parents or path == TESTS for path in given)]
