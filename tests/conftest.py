"""`--quick` leaves out every test that needs more than a virtual environment, and says so in its last line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from lab.needs import needs_of

TESTS = Path(__file__).resolve().parent
_left: Counter[str] = Counter()  # tests left out by what they need; a worker of pytest-xdist counts those that it has collected


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option of tests/quick.sh."""
    parser.addoption("--quick", action="store_true", help="only tests that need no root, no Debian package and no engine")


def needs(item: pytest.Item) -> list[str]:
    """What a test needs."""
    if not isinstance(item, pytest.Function):
        return []
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    made_by = [definition.func for definitions in fixtures for definition in definitions if isinstance(definition.func, FunctionType)]
    values = item.callspec.params if hasattr(item, "callspec") else {}
    function = item.function
    return needs_of(function, values, made_by) if isinstance(function, FunctionType) else []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs more."""
    if not config.getoption("--quick"):
        return
    found = {item: needs(item) for item in items}
    for wanted in found.values():
        if wanted:
            _left[" and ".join(wanted)] += 1
    config.hook.pytest_deselected(items=[item for item in items if found[item]])
    items[:] = [item for item in items if not found[item]]
    if hasattr(config, "workeroutput"):
        config.workeroutput["left"] = dict(_left)


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
