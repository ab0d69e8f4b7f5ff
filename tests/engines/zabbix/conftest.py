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


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In each module first everything on one version, then everything on the next. pytest's own order, by the indices of
    all parameters, comes back to a version that it has left, and so plays the evening on it again."""
    first = {item.path: number for number, item in reversed(list(enumerate(items)))}

    def place(item: pytest.Item) -> tuple[int, int]:
        callspec = getattr(item, "callspec", None)
        version = callspec.params.get("zabbix_version") if callspec else None
        return first[item.path], VERSIONS.index(version) if version in VERSIONS else -1

    items.sort(key=place)


@pytest.fixture(scope="module")
def zabbix(zabbix_version: str) -> Iterator[ZabbixLab]:
    """A running Zabbix without templates, hosts and media types, shared by a module's tests."""
    with ZabbixLab(zabbix_version) as lab:
        yield lab
