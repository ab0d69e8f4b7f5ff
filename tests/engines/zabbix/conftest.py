"""Fixtures for the Zabbix suites: a Bot API a test, one running Zabbix a version for the suites that can share it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.bot_api import BotApi
from lab.zabbix_lab import VERSIONS, ZabbixLab


@pytest.fixture
def bot() -> Iterator[BotApi]:
    """A Bot API that knows no chat yet."""
    with BotApi() as service:
        yield service


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whoever asks for `zabbix_version` runs on every version; those on one version share a worker of pytest-xdist."""
    if "zabbix_version" in metafunc.fixturenames:
        marked = [pytest.param(version, marks=pytest.mark.xdist_group(f"zabbix-{version}")) for version in VERSIONS]
        metafunc.parametrize("zabbix_version", marked, scope="module")


@pytest.fixture(scope="module")
def zabbix(zabbix_version: str) -> Iterator[ZabbixLab]:
    """A running Zabbix without templates, hosts and media types, shared by a module's tests."""
    with ZabbixLab(zabbix_version) as lab:
        yield lab
