"""A few tables of tests/functional on the oldest and the newest CPython for Windows that are here; test_tables.py has the rest."""

from __future__ import annotations

from functools import partial

import pytest
from lab.functional_tables import TABLES, TESTS
from lab.windows import USUAL, VERSIONS, WindowsMachine

NAMES = ("kodeks_a_server_that_speaks_tls_and_refuses", "kodeks_ports", "kodeks_ipv6_and_no_proxy", "kodeks_without_login",
         "kodeks_a_live_report_of_real_size", "usb_redirector_captured_list", "usb_redirector_port",
         "contract_broken_nagiosplugin_is_a_sentence")  # fmt: skip
globals().update({f"test_{name}": TESTS[f"test_{name}"] for name in NAMES})
kodeks, check = TABLES["kodeks"].kodeks, TABLES["contract"].check  # fixtures


@pytest.fixture(autouse=True, params=[version for version in VERSIONS if version != USUAL])
def swapped(request: pytest.FixtureRequest, windows: WindowsMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """lab.run_check starts the checks of the Windows machine, in another interpreter."""
    monkeypatch.setattr("lab.run_check.run_process", partial(windows.run_process, version=str(request.param)))
