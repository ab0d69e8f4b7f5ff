"""A Windows machine for the tables of tests/functional, and one for all else here: each on a worker, beside whatever else runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.windows import WindowsMachine

HERE = Path(__file__).resolve().parent


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All that shares a machine shares a worker."""
    for item in items:
        if HERE in item.path.parents:
            tables = item.path.stem in ("test_tables", "test_versions")
            item.add_marker(pytest.mark.xdist_group("wine-tables" if tables else "wine"))


@pytest.fixture(scope="session")
def windows() -> Iterator[WindowsMachine]:
    """The machine, without libusb."""
    with WindowsMachine() as machine:
        yield machine


@pytest.fixture
def new_windows() -> Iterator[WindowsMachine]:
    """A machine on which nothing has been installed or started."""
    with WindowsMachine() as machine:
        yield machine
