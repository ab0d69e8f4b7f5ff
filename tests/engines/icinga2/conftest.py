"""The versions of Icinga that its suites run on."""

from __future__ import annotations

import pytest
from lab.engine_folders import Folder, folder_of, versions_of


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whoever asks for `icinga_version` runs on every version; those on one version share a worker of pytest-xdist."""
    if "icinga_version" in metafunc.fixturenames:
        versions = versions_of("icinga2")
        marked = [pytest.param(version, marks=pytest.mark.xdist_group(f"icinga2-{version}")) for version in versions]
        metafunc.parametrize("icinga_version", marked, scope="module")


@pytest.fixture(scope="module")
def programs(icinga_version: str) -> Folder:
    """Where this version of Icinga is installed."""
    return folder_of("icinga2", icinga_version)
