"""A fixed slice of hostile whole processes; python -m hostile.campaign --runs N runs any number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lab.run_check import run_check

from hostile import campaign

SEED, A_TEST, TESTS = 7, 10, 8


@pytest.mark.parametrize("slice_of", range(TESTS))
def test_whole_processes(slice_of: int) -> None:
    tally = campaign.run("process", SEED, range(slice_of * A_TEST, (slice_of + 1) * A_TEST))
    assert tally.failures == ()
    assert tally.examples == A_TEST


# --- What the campaigns found --------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [pytest.param(10**400, id="no machine's number"), pytest.param(2**62, id="beyond any file")])
def test_a_state_file_names_an_impossible_offset(tmp_path: Path, offset: int) -> None:
    (tmp_path / "a.log").write_text("started\nfault\n")
    arguments = ["--product", "generic", "--log", str(tmp_path / "a.log"), "--log-pattern", "fault", "--state-dir", str(tmp_path)]
    assert run_check("usb_redirector", *arguments).code == 3  # the first look cannot tell how old the line is
    (state_file,) = tmp_path.glob("log-*.json")
    state_file.write_text(json.dumps([1, 1, offset, "", "", 0.0]))
    outcome = run_check("usb_redirector", *arguments)
    assert (outcome.code, outcome.line) == (2, f"USB_REDIRECTOR CRITICAL - log {tmp_path}/a.log has a matching line: fault")
