"""A Windows machine of each worker's own: it comes up in a second, and no test sees what runs elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.windows import WindowsMachine


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
