"""check_usb_redirector as a process: fake tools, a real USB/IP server, real processes and ports."""

from __future__ import annotations

import datetime
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
import zipapp
from pathlib import Path
from typing import Any, Callable

import pytest
from lab.forwarder_tools import (
    SAMPLES,
    ForwarderTools,
    forwarder_daemon,
    refused_port,
    sample,
    silent_port,
    talking_port,
    unreachable_port,
)
from lab.own_mounts import own_mounts
from lab.run_check import CHECKS, PUNCTUAL, Outcome, command, open_checks, run_check, run_process
from lab.usb_bus import AS_NOBODY, UsbBus, VhciPort
from lab.usbip_server import SenseLockKey, UsbIpServer

OK, WARNING, CRITICAL, UNKNOWN = range(4)
SHORT = "1.5"  # seconds: a limit that is to be reached
KEY = "0471:485d"
DATED = ("--license-expires", "perpetual")
TERM = "license of USB Redirector is perpetual; "


def said(outcome: Outcome) -> tuple[int, str]:
    """Exit code and output without the states of the parts (test_states tests these), with the one number that no run
    repeats made equal. Where the tests themselves run in a container, that is no news."""
    text = re.sub(r"(?: \|)?(?: [a-z]+_state=[0-3])+$", "", outcome.text, flags=re.MULTILINE)
    text = re.sub(r" \(processes visible here: [0-9]+, a container\?\)", "", text)
    return outcome.code, re.sub(r"time=[0-9.]+s", "time=Ts", text)


def expect(state: int, text: str) -> tuple[int, str]:
    """What a run must say: one line of it, behind the service and the state."""
    return state, f"USB_REDIRECTOR {('OK', 'WARNING', 'CRITICAL', 'UNKNOWN')[state]} - {text}\n"


def redirector(*arguments: str, **more: Any) -> tuple[int, str]:
    """A run about USB Redirector whose license is no matter."""
    return said(run_check("usb_redirector", "--product", "usb-redirector", *DATED, *arguments, **more))


def captured(product: str, listing: bytes, *arguments: str, **more: Any) -> Outcome:
    """A run about a product whose license is no matter, with this output of its tool in a file."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(listing)
        file.flush()
        return run_check("usb_redirector", "--product", product, *DATED, "--list-output", file.name, *arguments, **more)


# --- The states of the parts ----------------------------------------------------------------------------------
#
# Templates tell by them which part of the forwarder is ill; no sentence is read by a program.


@pytest.mark.parametrize(
    ("arguments", "listing", "states"),
    [
        pytest.param("--product usb-redirector --license-expires perpetual --list-output {} --device 0471:485d", "usbsrv-list-key-shared-constructed.txt",
                     "license_state=0 answer_state=0 device_state=0", id="all well"),
        pytest.param("--product usb-redirector --license-expires 2020-01-01 --list-output {} --device 0471:485d", "usbsrv-list-key-shared-constructed.txt",
                     "license_state=2 answer_state=0 device_state=0", id="license expired"),
        pytest.param("--product usb-redirector --list-output {} --device 0471:485d", "usbsrv-list-key-shared-constructed.txt",
                     "license_state=3 answer_state=0 device_state=0", id="nobody gave its term"),
        pytest.param("--product usb-redirector --license-expires perpetual --list-output {} --device 0471:485d", "usbsrv-list-key-unplugged-constructed.txt",
                     "license_state=0 answer_state=0 device_state=2", id="key not offered"),
        pytest.param("--product usb-redirector --license-expires perpetual --list-output {}", "usbsrv-list-empty-constructed.txt",
                     "license_state=0 answer_state=0 device_state=2", id="no device offered"),
        pytest.param("--product usb-redirector --license-expires perpetual --list-output {} --device 0471:485d --device x", "usbsrv-list-key-unplugged-constructed.txt",
                     "license_state=0 answer_state=0 device_state=2", id="two devices"),
        pytest.param("--product usb-redirector --license-expires perpetual --list-output {} --device 0471:485d", "usb-redirector-daemon-down.txt",
                     "license_state=0 answer_state=2", id="the daemon does not answer"),
        pytest.param("--product usb-redirector --license-expires perpetual --list-output {} --device 0471:485d", "virtualhere-list.txt",
                     "license_state=0 answer_state=3", id="no list"),
        pytest.param("--product digi-anywhereusb --list-output {} --device x --process pytest-none", "digi-awusbmanager-list.txt",
                     "process_state=2 answer_state=0 device_state=2", id="a process"),
        pytest.param("--product generic --process pytest-none", "README.md", "process_state=2", id="a process alone"),
        pytest.param("--product usb-network-gate --license-expires perpetual --no-list", "README.md", "license_state=0", id="a license alone"),
        pytest.param("--product virtualhere --license-expires perpetual --list-command /nowhere", "README.md", "license_state=0 answer_state=3", id="no tool"),
    ],
)  # fmt: skip
def test_states(arguments: str, listing: str, states: str, tmp_path: Path) -> None:
    file = shutil.copy(SAMPLES / listing, tmp_path)  # a Windows machine of the lab sees this folder, and not the sources
    outcome = run_check("usb_redirector", *shlex.split(arguments.format(file)), "--list-max-age", "99999999")
    assert re.findall(r"[a-z]+_state=[0-3]", outcome.line) == states.split()


def test_states_where_the_check_did_not_run() -> None:
    for words in ((), ("--product", "virtualhere", "-p", "1")):
        outcome = run_check("usb_redirector", *words)
        assert (outcome.code, " | " in outcome.line) == (UNKNOWN, False)


# --- The license's dates --------------------------------------------------------------------------------------


def in_days(days: int) -> str:
    """A date as an operator writes it, seen from today."""
    return (datetime.date.today() + datetime.timedelta(days=days)).isoformat()


@pytest.mark.parametrize(
    ("days", "warning", "critical", "state", "text"),
    [
        pytest.param(200, "", "", OK, "ends in 200 days ({date})", id="all well"),
        pytest.param(30, "", "", OK, "ends in 30 days ({date})", id="30 days are not fewer than 30"),
        pytest.param(29, "", "", WARNING, "ends in 29 days ({date}): renew it now", id="29 days"),
        pytest.param(7, "", "", WARNING, "ends in 7 days ({date}): renew it now", id="7 days"),
        pytest.param(6, "", "", CRITICAL, "ends in 6 days ({date}): renew it now", id="6 days"),
        pytest.param(0, "", "", CRITICAL, "ends today ({date}): renew it now", id="today"),
        pytest.param(-1, "", "", CRITICAL, "expired 1 day ago ({date}): renew it, then reconnect the key", id="yesterday"),
        pytest.param(20, "14:", "3:", OK, "ends in 20 days ({date})", id="other ranges"),
        pytest.param(20, "-5:", "-1:", OK, "ends in 20 days ({date})", id="a range that begins with a dash"),
        pytest.param(-5, "~:", "~:", CRITICAL, "expired 5 days ago ({date}): renew it, then reconnect the key", id="no range excuses an expired one"),
    ],
)  # fmt: skip
def test_license(days: int, warning: str, critical: str, state: int, text: str) -> None:
    date = in_days(days)
    ranges = [f"--warning={warning}", f"--critical={critical}"] if warning else []
    outcome = run_check("usb_redirector", "--product", "usb-redirector", "--no-list", "--license-expires", date, *ranges)
    numbers = f"license_days={days};{warning or '30:'};{critical or '7:'}"
    assert said(outcome) == expect(state, f"license of USB Redirector {text.format(date=date)} | {numbers}")


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Etc/GMT-14", "Europe/Moscow"])
def test_the_day_is_the_machines_own(zone: str) -> None:
    outcome = run_check("usb_redirector", "--product", "generic", "--license-expires", in_days(-3), "-vv", env={"TZ": zone})
    today = run_process(["date", "+%F"], env={"TZ": zone}).text.strip()
    left = (datetime.date.fromisoformat(in_days(-3)) - datetime.date.fromisoformat(today)).days
    assert f"expired {-left} day" in outcome.line


@pytest.mark.parametrize("date", ["2026-02-30", "2027-02-29", "29.02.2027", "２０２７-01-31", "1999-12-31", "", "soon"])
def test_no_date_is_a_usage_error(date: str) -> None:
    outcome = run_check("usb_redirector", "--product", "generic", f"--license-expires={date}")
    assert outcome.code == UNKNOWN
    assert outcome.line.startswith("USB_REDIRECTOR UNKNOWN - argument --license-expires: '")


HELP = "; check_usb_redirector --help lists the options"
DEFAULT = "has no default here, name a --list-command, a --process, a --service or -H, or give --no-list"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param("", "--product is missing; check_usb_redirector --help lists the options", id="nothing"),
        pytest.param("--product generic", f"nothing to judge: the forwarder {DEFAULT}", id="asked for nothing"),
        pytest.param("--product usbip --no-list", "nothing to judge: --no-list needs --license-expires, --process, --service or -H", id="asked for nothing of usbip"),
        pytest.param("--product generic --device x", f"the list of the forwarder has no publicly known form: use --process, --service or -H{HELP}",
                     id="a list nobody can read"),
        pytest.param("--product usb-over-network --list-command x", "the list of USB over Network has no publicly known form: "
                     f"use --process, --service or -H{HELP}", id="a list nobody has seen"),
        pytest.param("--product usbipd-win --side client --device x", f"nothing to judge: usbipd-win {DEFAULT}", id="no tool of this side"),
        pytest.param("--product virtualhere --side server --device x", f"nothing to judge: VirtualHere {DEFAULT}", id="a device in no list"),
        pytest.param("--product virtualhere -p 7575", f"-p needs -H{HELP}", id="port alone"),
        pytest.param("--product generic -H x", f"-H and -p belong together, no usual port of the forwarder is known{HELP}", id="host alone"),
        pytest.param("--product virtualhere --list-command a --list-output b", f"argument --list-output: not allowed with argument --list-command{HELP}", id="two lists"),
        pytest.param("--product virtualhere --list-command a --no-list", f"argument --no-list: not allowed with argument --list-command{HELP}", id="a list and none"),
        pytest.param("--product virtualhere --no-list --device a", f"--no-list contradicts --device{HELP}", id="no list, but a device"),
        *(pytest.param(f"--product seh-utn {words}", f"seh-utn is judged by its exit code, --list-command 'utnm -c \"state 192.0.2.20 5\"'{HELP}", id=name)
          for words, name in (("--list-command 'x state' --device a", "exit codes name no device"), ("--list-output x", "a list of exit codes"),
                              ("--list-command 'sh -c \"exit 0\"'", "a command that asks nothing"))),
        pytest.param("--product usbip --side server --device 0471:485d", "nothing that is attached here can be read: load vhci_hcd and attach, "
                     "or ask a server with -H | answer_state=3", id="the server's side of usbip"),
        *(pytest.param(f"--product {product} --side {side} {license}", f"nothing to judge: {title} {DEFAULT}", id=f"{product} has no {side} here {license}")
          for product, side, title in (("usb-over-network", "client", "USB over Network"), ("distkontrol", "server", "DistKontrolUSB"),
                                       ("digi-anywhereusb", "server", "Digi AnywhereUSB"), ("generic", "client", "the forwarder"))
          for license in ("", "--license-expires perpetual")),
        pytest.param("--product generic --license-expires '2027-01-31 '", f"argument --license-expires: '2027-01-31' has blanks around it{HELP}",
                     id="blanks around a date"),
        pytest.param("--product virtualhere --list-command ''", f"argument --list-command: '' names no command{HELP}", id="empty command"),
        pytest.param("--product virtualhere --list-command '\"a'", f"argument --list-command: '\"a' cannot be read: No closing quotation{HELP}", id="open quotation"),
        pytest.param("--product generic --process ''", f"argument --process: it is empty{HELP}", id="empty process"),
        pytest.param("--product generic --process /usr/bin/usbsrvd", f"--process is a name, without a folder{HELP}", id="a process with its folder"),
        pytest.param("--product generic -H 'a b' -p 1", f"argument -H/--hostname: 'a b' is no host name or address{HELP}", id="no host"),
    ],
)  # fmt: skip
def test_usage_errors(arguments: str, text: str) -> None:
    outcome = run_check("usb_redirector", *shlex.split(arguments))
    assert (outcome.code, outcome.text) == expect(UNKNOWN, text)


def test_a_side_without_a_default_where_nothing_hangs_on_it() -> None:
    side = ("--product", "usb-over-network", "--side", "client", *DATED)
    assert said(run_check("usb_redirector", *side, "--no-list")) == expect(OK, "license of USB over Network is perpetual")
    with forwarder_daemon("pytest-side"):
        text = "license of USB over Network is perpetual; process pytest-side is running | processes=1;;;0"
        assert said(run_check("usb_redirector", *side, "--process", "pytest-side")) == expect(OK, text)


def test_a_license_is_needed_where_the_product_is_sold() -> None:
    for product, title in (("usb-redirector", "USB Redirector"), ("usb-network-gate", "USB Network Gate"), ("virtualhere", "VirtualHere")):
        outcome = run_check("usb_redirector", "--product", product, "--process", "pytest-needs-a-name")
        unknown = f"license term of {title} unknown: give --license-expires DATE or perpetual"
        assert said(outcome) == expect(CRITICAL, f"process pytest-needs-a-name is not running: start it; {unknown} | processes=0;;;0")


# --- List tools -----------------------------------------------------------------------------------------------

SHARED = sample("usbsrv-list-key-shared-constructed.txt")
GONE = sample("usbclnt-list-key-not-available-constructed.txt")


@pytest.mark.parametrize(
    ("make", "state", "text"),
    [
        pytest.param(lambda t: t.prints("tool", SHARED), OK, TERM + f"key {KEY} is offered by the forwarder | devices=1;;;0 time=Ts;;;0", id="offered"),
        pytest.param(lambda t: t.prints("tool", GONE), CRITICAL,
                     f"key {KEY} is not available: is it plugged in at the forwarder, and the license valid? | devices=0;;;0 time=Ts;;;0", id="gone"),
        pytest.param(lambda t: t.prints("tool", sample("usb-redirector-daemon-down.txt"), code=1), CRITICAL,
                     "forwarder's daemon is not running: start usbsrvd | time=Ts;;;0", id="daemon down"),
        pytest.param(lambda t: t.prints("tool", SHARED, stderr=b"warning: old kernel\n"), OK,
                     TERM + f"key {KEY} is offered by the forwarder | devices=1;;;0 time=Ts;;;0", id="a warning before the list"),
        pytest.param(lambda t: t.leaves_a_child("tool", SHARED), OK,
                     TERM + f"key {KEY} is offered by the forwarder | devices=1;;;0 time=Ts;;;0", id="a grandchild keeps stdout"),
        pytest.param(lambda t: t.prints("tool", SHARED, code=3), UNKNOWN,
                     "list command {tool} ended with exit code 3: ================= USB SERVER OPERATION SUCCESSFUL ===============",
                     id="a good list, a bad end"),
        pytest.param(lambda t: t.dies("tool", SHARED), UNKNOWN,
                     "list command {tool} ended with signal 11: ================= USB SERVER OPERATION SUCCESSFUL ===============", id="dies"),
        pytest.param(lambda t: t.prints("tool", b""), UNKNOWN,
                     "list command {tool} is no whole list of USB Redirector that this check knows: no output at all", id="silent"),
        pytest.param(lambda t: t.prints("tool", b"\x1b[31mred|\r\n\x00"), UNKNOWN,
                     "list command {tool} is no whole list of USB Redirector that this check knows: [31mred/", id="escapes"),
        pytest.param(lambda t: t.complains("tool", b"usbsrv: permission denied\n"), UNKNOWN,
                     "list command {tool} ended with exit code 1: usbsrv: permission denied", id="complains"),
        pytest.param(lambda t: t.hangs("tool", SHARED, stubborn=True), UNKNOWN,
                     "list command {tool} did not end within # s; is it installed here, and does its daemon answer?", id="hangs"),
        pytest.param(lambda t: t.floods("tool"), UNKNOWN, "list command {tool} printed more than 1048576 bytes; is it installed here, and does its daemon answer?", id="floods"),
        pytest.param(lambda t: t.missing("tool"), UNKNOWN,
                     "list command {tool} does not exist; is it installed here, and does its daemon answer?", id="missing"),
        pytest.param(lambda t: t.not_executable("tool"), UNKNOWN, "list command {tool} may not be executed; is it installed here, and does its daemon answer?", id="not executable"),
        pytest.param(lambda t: t.not_a_program("tool"), UNKNOWN, "list command {tool} cannot be started (Exec format error); is it installed here, and does its daemon answer?", id="no program"),
    ],
)  # fmt: skip
def test_list_command(make: Callable[[ForwarderTools], Path], state: int, text: str, tmp_path: Path) -> None:
    with ForwarderTools(tmp_path) as tools:
        tool = make(tools)
        outcome = run_check("usb_redirector", "--product", "usb-redirector", *DATED, "--list-command", f"'{tool}'", "--device", KEY, "-t", "1.8")
        code, line = said(outcome)
        line = re.sub(r"within [0-9.]+ s", "within # s", line)
        assert (code, line) == expect(state, text.replace("{tool}", shown(tool)))
        assert tools.survivors() == []
        assert outcome.seconds < 1.8 + PUNCTUAL


def shown(tool: Path) -> str:
    """A tool's path as the check prints it."""
    return str(tool) if len(str(tool)) <= 80 else str(tool)[:77] + "..."


def test_an_expired_license_outranks_a_tool_that_hangs(tmp_path: Path) -> None:
    date = in_days(-3)
    with ForwarderTools(tmp_path) as tools, silent_port() as port:
        hanging = str(tools.hangs("t"))
        code, text = said(run_check("usb_redirector", "--product", "usb-redirector", "--license-expires", date, "--list-command", hanging,
                                    "-H", "127.0.0.1", "-p", str(port), "--process", "pytest-no-such", "-t", "1.5"))  # fmt: skip
    assert code == CRITICAL
    assert text.startswith(
        f"USB_REDIRECTOR CRITICAL - license of USB Redirector expired 3 days ago ({date}): renew it, then reconnect the key; "
        "process pytest-no-such is not running: start it; list command "
    )
    assert "does not answer" not in text, "the port got its share of the time"


@pytest.mark.parametrize(
    ("product", "tool", "arguments"),
    [
        ("usb-redirector", "usbsrv", ["-list"]),
        ("usb-redirector --side client", "usbclnt", ["-list"]),
        ("usb-network-gate", "eveusbc", ["ls", "shared"]),
        ("usb-network-gate --side client", "eveusbc", ["ls", "net"]),
        ("virtualhere", "vhclientx86_64", ["-t", "LIST"]),
        ("distkontrol", "dkclientx86_64", ["-t", "LIST"]),
        ("digi-anywhereusb", "awusbmanager-headless", ["list"]),
    ],
)
def test_the_products_own_command(product: str, tool: str, arguments: list[str], tmp_path: Path) -> None:
    with ForwarderTools(tmp_path) as tools:
        tools.prints(tool, b"x\n")
        outcome = run_check("usb_redirector", "--product", *product.split(), *DATED, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
        assert tools.calls(tool) == [arguments]
        assert outcome.line.split(" | ")[0].endswith("that this check knows: x")


def test_no_shell_reads_the_command(tmp_path: Path) -> None:
    with ForwarderTools(tmp_path) as tools:
        tool = tools.prints("tool", SHARED)
        redirector("--list-command", f"'{tool}' $HOME `id` ';' touch {tmp_path}/made > {tmp_path}/made")
        assert tools.calls("tool") == [["$HOME", "`id`", ";", "touch", f"{tmp_path}/made", ">", f"{tmp_path}/made"]]
        assert not (tmp_path / "made").exists()


def test_exit_codes_of_network_gate_do_not_count(tmp_path: Path) -> None:
    with ForwarderTools(tmp_path) as tools:
        tool = tools.prints("tool", sample("usb-network-gate-ls-net.txt"), code=9)
        outcome = run_check("usb_redirector", "--product", "usb-network-gate", *DATED, "--list-command", str(tool), "--device", "Brio 101")
        assert said(outcome) == expect(OK, "license of USB Network Gate is perpetual; key Brio 101 is attached here | devices=1;;;0 time=Ts;;;0")
        tool = tools.dies("tool", sample("usb-network-gate-ls-net.txt"))
        outcome = run_check("usb_redirector", "--product", "usb-network-gate", *DATED, "--list-command", f"'{tool}'", "--device", "Brio 101")
    crashed = f"list command {shown(tool)} ended with signal 11: remote 198.51.100.24,,56228,usb3,port1,,Stream Deck Plus,,,,198.51.100.40,,,"
    assert said(outcome) == expect(UNKNOWN, crashed)


@pytest.mark.parametrize(
    ("code", "arguments", "state", "text"),
    [
        (0, [], OK, "the dongle server answers for the key"),
        (24, [], CRITICAL, "the key is not available at the dongle server"),
        (25, [], UNKNOWN, "the key is in use, and nobody knows by whom: --utn-code 25=ok if this is by design"),
        (25, ["--utn-code", "25=ok"], OK, "the dongle server's tool ended with exit code 25"),
        (26, [], CRITICAL, "the key is not found at the dongle server: is it plugged in?"),
        (41, [], CRITICAL, "the connection to the dongle server fails: is it on, and reachable from here?"),
        (44, [], UNKNOWN, "this user may not ask the dongle server"),
        (23, [], OK, "the key is plugged in"),
        (23, ["--utn-code", "23=warning"], WARNING, "the dongle server's tool ended with exit code 23"),
        (101, [], CRITICAL, "the connection to the dongle server fails: is it on, and reachable from here?"),
        (7, [], UNKNOWN, "list command {tool} ended with exit code 7, which is not known: judge it by --utn-code"),
        (7, ["--utn-code", "7=critical"], CRITICAL, "the dongle server's tool ended with exit code 7"),
    ],
)
def test_dongle_server(code: int, arguments: list[str], state: int, text: str, tmp_path: Path) -> None:
    with ForwarderTools(tmp_path) as tools:
        tool = tools.prints("utnm", b"whatever\n", code=code)
        outcome = run_check("usb_redirector", "--product", "seh-utn", "--list-command", f"{tool} -c 'state 192.0.2.20 5'", *arguments)
        assert tools.calls("utnm") == [["-c", "state 192.0.2.20 5"]]
    command_shown = f"{tool} -c state 192.0.2.20 5"[:77].rstrip() + "..."
    text = text.replace("{tool}", command_shown)
    assert said(outcome) == expect(state, f"{text} | time=Ts;;;0")


# --- Captured lists -------------------------------------------------------------------------------------------


def test_captured_list(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(SHARED)
    good = expect(OK, TERM + f"key {KEY} is offered by the forwarder | devices=1;;;0 time=Ts;;;0")
    assert redirector("--list-output", str(path), "--device", KEY) == good
    assert redirector("--list-output", str(path), "--list-max-age", "5", "--device", KEY) == good


@pytest.mark.parametrize(
    ("age", "arguments", "text"),
    [
        pytest.param(30, [], None, id="half an hour"),
        pytest.param(180, [], "is 180.0 minutes old (--list-max-age 60): {remedy}", id="too old"),
        pytest.param(60.2, [], "is 60.2 minutes old (--list-max-age 60): {remedy}", id="hardly too old"),
        pytest.param(180, ["--list-max-age", "5"], "is 180.0 minutes old (--list-max-age 5): {remedy}",
                     id="older than the operator allows"),
        pytest.param(180, ["--list-max-age", "240"], None, id="not older than the operator allows"),
        pytest.param(-0.5, [], None, id="a clock half a minute ahead"),
        pytest.param(-43200, ["--list-max-age", "5"], "is -43200.0 minutes old (--list-max-age 5): {remedy}", id="in the future"),
    ],
)  # fmt: skip
def test_the_age_of_a_captured_list(age: float, arguments: list[str], text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(SHARED)
    then = time.time() - age * 60
    os.utime(path, (then, then))
    good = expect(OK, TERM + f"key {KEY} is offered by the forwarder | devices=1;;;0 time=Ts;;;0")
    remedy = "does the job that writes it still run, and are the clocks right?"
    bad = expect(UNKNOWN, f"list {path} {text.format(remedy=remedy)}" if text else "")
    assert redirector("--list-output", str(path), "--device", KEY, *arguments) == (bad if text else good)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        pytest.param(lambda p: None, "--list-output: {p} cannot be read: No such file or directory; check the path and its rights", id="missing"),
        pytest.param(lambda p: p.mkdir(), "--list-output: {p} cannot be read: Is a directory", id="directory"),
        pytest.param(lambda p: os.mkfifo(p), "--list-output: {p} is not a regular file", id="FIFO"),
        pytest.param(lambda p: p.write_bytes(b""), "the captured list is no whole list of USB Redirector that this check knows: no output at all", id="empty"),
        pytest.param(lambda p: p.write_bytes(b"x" * (2 << 20)), "--list-output: {p} is larger than 1048576 bytes", id="huge"),
        pytest.param(lambda p: p.write_bytes(SHARED[:-30]), "the captured list is no whole list of USB Redirector that this check knows: "
                     "================= USB SERVER OPERATION SUCCESSFUL ===============", id="cut"),
    ],
)  # fmt: skip
def test_captured_list_that_cannot_be_read(make: Callable[[Path], object], text: str, tmp_path: Path) -> None:
    path = tmp_path / "l"
    make(path)
    code, line = redirector("--list-output", str(path), "--device", KEY)
    if path.is_dir():
        assert code == UNKNOWN and f"--list-output: {path} " in line
    else:
        assert (code, line) == expect(UNKNOWN, text.replace("{p}", str(path)))


@pytest.mark.parametrize(
    ("product", "listing", "devices", "named", "text"),
    [
        ("usb-redirector", SHARED.replace(b"plugged, shared", b"plugged, shared, in use by 192.0.2.10"), 2, "Senselock SenseIV",
         "is in a state that this check does not know (plugged, shared, in use by 192.0.2.10): ask the forwarder itself"),
        ("usb-network-gate", sample("usb-network-gate-find-remote-devices.txt"), 1, "Stream Deck Plus",
         "is connected to 198.51.100.40, and the list does not tell which machine that is"),
    ],
)  # fmt: skip
def test_a_state_that_nobody_knows_is_unknown_with_a_device_and_without(product: str, listing: bytes, devices: int, named: str, text: str) -> None:
    numbers = "devices=0;;;0 time=Ts;;;0"
    assert said(captured(product, listing, "--device", named)) == expect(UNKNOWN, f"key {named} {text} | {numbers}")
    none = f"no device is known to be offered or attached (devices listed: {devices}): is the key plugged in at the forwarder, and shared?"
    assert said(captured(product, listing)) == expect(UNKNOWN, f"{none} | {numbers}")


def test_everything_in_the_list_is_shown_with_v() -> None:
    outcome = captured("usb-redirector", sample("usbclnt-list-2023-full.txt"), "-v")
    assert said(outcome)[1] == (
        "USB_REDIRECTOR OK - license of USB Redirector is perpetual; 1 of 2 devices offered or attached | devices=1;;;0 time=Ts;;;0\n"
        "ok: license of USB Redirector is perpetual\n"
        "ok: 1 of 2 devices offered or attached\n"
        "device 054c:0da5 ILCE-7M4 - USB Mass Storage Device at D06EC06EDCCF is not available: is it plugged in at the forwarder, and the license valid?\n"
        "device 054c:0336 Sony USB Device at 2-4 is offered by the forwarder\n"
    )


@pytest.mark.parametrize(
    ("product", "name", "device", "state", "text"),
    [
        pytest.param("distkontrol", "distkontrol-list-users.txt", "USB 03", OK, "key USB 03 is attached here", id="own, beside others' users"),
        pytest.param("distkontrol", "distkontrol-list-users.txt", "USB 05", CRITICAL,
                     "key USB 05 is in use by another machine (o.belova (o.belova) at 192.0.2.148 (WRK-114)): release it there", id="another's, named"),
        pytest.param("virtualhere", "virtualhere-list-users.txt", "Token A", CRITICAL,
                     "key Token A is in use by another machine (Anna Weber at 192.0.2.48): release it there", id="a display name"),
        pytest.param("virtualhere", "virtualhere-list-older-client.txt", "Senselock SenseIV", OK, "key Senselock SenseIV is attached here", id="an older client"),
        pytest.param("digi-anywhereusb", "digi-awusbmanager-list-users.txt", "Senselock SenseIV", OK, "key Senselock SenseIV is attached here", id="Digi, own"),
        pytest.param("digi-anywhereusb", "digi-awusbmanager-list-users.txt", "AW24-000107.1503", CRITICAL,
                     "key AW24-000107.1503 is in use by another machine (hvf at 192.0.2.135): release it there", id="Digi, another's"),
        pytest.param("usb-redirector", "usbrdrsh-list-devices-no-servers-constructed.txt", KEY, OK, f"key {KEY} is offered by the forwarder", id="Windows, local"),
        pytest.param("usb-redirector", "usbrdrsh-list-devices-constructed.txt", "0529:0620", OK, "key 0529:0620 is attached here", id="Windows, remote"),
        pytest.param("usbip", "usbip-list-remote-deep.txt", KEY, OK, f"key {KEY} is offered by the forwarder", id="a deep bus id"),
        pytest.param("usbip", "usbip-list-remote-deep.txt", "12-11.4.1.3", OK, "key 12-11.4.1.3 is offered by the forwarder", id="a deeper one"),
        pytest.param("usbip", "usbip-win2-list-remote.txt", KEY, OK, f"key {KEY} is offered by the forwarder", id="a centred one"),
        pytest.param("usbip", "usbip-win2-port-0977.txt", KEY, OK, f"key {KEY} is attached here", id="usbip-win2"),
        pytest.param("usbip", "usbip-win2-port-0981.txt", KEY, UNKNOWN,
                     f"key {KEY}: this list does not tell VID:PID of every device, give --device otherwise (devices listed: 1; Philips (or NXP) : Senselock SenseIV v2.x at port 01)", id="usbip-win2 without ids"),
        pytest.param("usbip", "usbip-win-port.txt", KEY, OK, f"key {KEY} is attached here", id="usbip-win"),
        pytest.param("usbip", "usbip-win2-list-of-usbipd-win.txt", KEY, UNKNOWN, f"key {KEY} is shared by usbipd-win, which also lists what others use: "
                     "run this check where the key is attached", id="usbipd-win in a list"),
        pytest.param("usbip", "usbip-port-twice-constructed.txt", KEY, CRITICAL,
                     f"key {KEY} is attached over a dead connection: run usbip detach, then attach it again", id="a ghost in a list"),
        pytest.param("usbipd-win", "usbipd-list.txt", KEY, UNKNOWN,
                     "this is the output of usbipd list, which does not tell who uses a device: give the output of usbipd state", id="the wrong command"),
    ],
)  # fmt: skip
def test_lists_as_the_tools_print_them(product: str, name: str, device: str, state: int, text: str) -> None:
    code, line = said(captured(product, sample(name), "--device", device))
    assert (code, re.sub(r"license of [A-Za-z/ -]+ is perpetual; | \| .*", "", line)) == expect(state, text)


NEW_PRODUCT = """
from ..product import OFFERED, Device, Listing, Product

PRODUCT = Product("Acme Port", port=4711, read=lambda lines: Listing(tuple(Device(line, "", OFFERED) for line in lines if line)))
"""


@pytest.mark.parametrize("packed", [False, True], ids=["a folder", "a zip application"])
def test_a_new_product_is_one_file(packed: bool, tmp_path: Path) -> None:
    checks = tmp_path / "checks"
    shutil.copytree(CHECKS, checks, ignore=shutil.ignore_patterns("__pycache__"))
    (checks / "kodeks_monitoring/forwarders/products/acme_port.py").write_text(NEW_PRODUCT)
    program = [str(checks / "check_usb_redirector.py")]
    if packed:
        zipapp.create_archive(checks, tmp_path / "check.pyz", main="check_usb_redirector:main")
        program = [str(tmp_path / "check.pyz")]
    outcome = run_process([sys.executable, *program, "--product", "acme-port", "--list-command", "echo Key", "--device", "Key"])
    assert said(outcome) == expect(OK, "key Key is offered by the forwarder | devices=1;;;0 time=Ts;;;0")
    assert "acme-port" in run_process([sys.executable, *program, "--help"]).text


# --- USB/IP ---------------------------------------------------------------------------------------------------


def usbip(server: UsbIpServer, *arguments: str) -> tuple[int, str]:
    """A run that asks this server, on a machine without a USB/IP client."""
    return said(run_check("usb_redirector", "--product", "usbip", "-H", server.host, "-p", str(server.port), *arguments))


HERE = "run this check where the key is attached"
ELSEWHERE = f"key {KEY} is not offered, and a device in use by another machine is not in that list"


def test_the_server_of_usbip() -> None:
    with UsbIpServer([SenseLockKey(), SenseLockKey("1bc0:0051", busid="1-7")]) as server:
        offered = expect(OK, f"key {KEY} is offered by the forwarder | devices=2;;;0 time=Ts;;;0")
        assert usbip(server, "--device", KEY) == offered
        assert usbip(server) == expect(OK, "2 of 2 devices offered or attached | devices=2;;;0 time=Ts;;;0")
        server.occupy("1-2")
        assert usbip(server, "--device", KEY) == expect(UNKNOWN, f"{ELSEWHERE} (devices listed: 1; 1bc0:0051 at 1-7): {HERE} | devices=1;;;0 time=Ts;;;0")
        server.expire()
        assert usbip(server, "--device", KEY) == expect(UNKNOWN, f"{ELSEWHERE} (devices listed: 0): {HERE} | devices=0;;;0 time=Ts;;;0")
        server.release("1-2")
        server.renew()
        assert usbip(server, "--device", KEY) == offered
        assert set(server.requests) == {"devlist"}, "the check only looks"
        server.requests.clear()
        place = f"{server.host}:{server.port}"
        assert usbip(server, "--no-list") == expect(OK, f"port open at {place} (which proves neither license nor key) | time=Ts;;;0")
        assert server.requests == [], "and not even that where no list is wanted"
        server.freeze()
        place = f"{server.host}:{server.port}"
        frozen = expect(CRITICAL, f"forwarder does not answer at {place} (it takes the connection and says nothing: frozen?) | time=Ts;;;0")
        assert usbip(server, "--device", KEY, "-t", SHORT) == frozen


def test_the_real_tool_where_no_device_is_offered() -> None:
    def run(port: int, *arguments: str) -> tuple[int, str]:
        return said(run_check("usb_redirector", "--product", "usbip", "--list-command", f"usbip --tcp-port {port} list -r 127.0.0.1", *arguments))

    with UsbIpServer([]) as server:
        assert run(server.port, "--device", KEY) == expect(UNKNOWN, f"{ELSEWHERE} (devices listed: 0): {HERE} | devices=0;;;0 time=Ts;;;0")
        assert run(server.port) == expect(UNKNOWN, f"no device is known to be offered or attached (devices listed: 0): {HERE} | devices=0;;;0 time=Ts;;;0")
    with refused_port() as port:
        refused = f"the tool reports an error: could not connect to 127.0.0.1:{port}: System error | time=Ts;;;0"
        assert run(port, "--device", KEY) == expect(CRITICAL, refused)


DEVLIST = bytes.fromhex("0111000500000000")


@pytest.mark.parametrize(
    ("options", "state", "text"),
    [
        pytest.param({"raw_reply": b""}, CRITICAL, "forwarder does not answer at {place} (it closes the connection without a whole answer)", id="hangs up"),
        pytest.param({"raw_reply": DEVLIST + b"\0\0\0\1" + b"x" * 99}, CRITICAL,
                     "forwarder does not answer at {place} (it closes the connection without a whole answer)", id="cut"),
        pytest.param({"trickle": 0.2}, CRITICAL, "forwarder does not answer at {place} (it takes the connection and says nothing: frozen?)", id="drips"),
        pytest.param({"raw_reply": b"HTTP/1.1 400 Bad Request\r\n\r\n"}, UNKNOWN,
                     "{place} is no USB/IP server of version 1.1.1, check -p: it begins with the bytes 485454502f312e31", id="http"),
        pytest.param({"raw_reply": DEVLIST + b"\xff" * 4}, UNKNOWN, "forwarder at {place} announces 4294967295 devices: is it a USB/IP server?", id="too many"),
        pytest.param({"raw_reply": DEVLIST[:7] + b"\x01"}, CRITICAL, "forwarder at {place} refuses to list its devices", id="refuses"),
    ],
)  # fmt: skip
def test_a_server_that_answers_otherwise(options: dict[str, Any], state: int, text: str) -> None:
    with UsbIpServer(**options) as server:
        assert usbip(server, "--device", KEY, "-t", SHORT) == expect(state, text.replace("{place}", f"{server.host}:{server.port}") + " | time=Ts;;;0")


def attached(bus: UsbBus, *arguments: str) -> tuple[int, str]:
    """A run on a machine whose USB bus and /run are the sandbox's."""
    outcome = run_process([*bus.with_run(), *command("usb_redirector", "--product", "usbip", *arguments)], env=bus.env())
    assert outcome.breaches() == []
    return said(outcome)


def test_the_client_of_usbip() -> None:
    missing = "nothing that is attached here can be read: load vhci_hcd and attach, or ask a server with -H"
    with UsbBus() as bus:
        assert attached(bus, "--device", KEY) == expect(CRITICAL, missing)
        bus.load_vhci(8)
        gone = expect(CRITICAL, f"key {KEY} is not attached here (devices listed: 0): run usbip attach | devices=0;;;0 time=Ts;;;0")
        assert attached(bus, "--device", KEY) == gone
        with UsbIpServer() as server:
            there = ("-H", server.host, "-p", str(server.port), "--device", KEY)
            here = expect(OK, f"key {KEY} is attached here | devices=1;;;0 time=Ts;;;0")
            assert attached(bus, *there) == expect(OK, f"key {KEY} is offered by the forwarder | devices=1;;;0 time=Ts;;;0")
            name = bus.add_key(where="usbip", remote=f"{server.host} {server.port} 1-2")
            server.occupy("1-2")
            assert attached(bus, *there) == here
            assert attached(bus, "--device", KEY) == here
            assert attached(bus, "--device", name) == expect(OK, f"key {name} is attached here | devices=1;;;0 time=Ts;;;0")
            nameless = f"key SenseIV: this list does not tell the name of every device, give --device otherwise (devices listed: 1; {KEY} at {name})"
            assert attached(bus, "--device", "SenseIV") == expect(UNKNOWN, f"{nameless} | devices=1;;;0 time=Ts;;;0")
            assert attached(bus, *there, "--side", "server") == expect(UNKNOWN, f"{ELSEWHERE} (devices listed: 0): {HERE} | devices=0;;;0 time=Ts;;;0")
            assert attached(bus, "--device", "1bc0:0051") == expect(
                CRITICAL, f"key 1bc0:0051 is not attached here (devices listed: 1; {KEY} at {name}): run usbip attach | devices=1;;;0 time=Ts;;;0"
            )
            server.freeze()
            silent = f"forwarder does not answer at {server.host}:{server.port} (it takes the connection and says nothing: frozen?)"
            frozen = expect(CRITICAL, f"{silent}; still listed here: {KEY} | devices=1;;;0 time=Ts;;;0")
            assert attached(bus, "--device", KEY, "-t", "1") == frozen
            with UsbIpServer([]) as other:  # naming a server that is well does not hide that the key's own is frozen
                well = ("-H", other.host, "-p", str(other.port), "--device", KEY)
                frozen = expect(CRITICAL, f"{silent}; still listed here: {KEY} | devices=1;;;0 time=Ts;;;0")
                assert attached(bus, *well, "-t", "2") == frozen
            server.thaw()
            server.expire()
            bus.remove(name)
            lost = f"key {KEY} is not attached here (devices listed: 0): run usbip attach | devices=0;;;0 time=Ts;;;0"
            assert attached(bus, *there) == expect(CRITICAL, lost)
        # usbipd gone: what is attached goes on, for the kernel alone carries it, but nothing can be attached again.
        name = bus.add_key(where="usbip", remote=f"{server.host} {server.port} 1-2")
        refused = f"forwarder does not answer at {server.host}:{server.port} (connection refused): does it run there, and does a firewall let this machine in?; still listed here: {KEY}"
        assert attached(bus, "--device", KEY) == expect(CRITICAL, f"{refused} | devices=1;;;0 time=Ts;;;0")
        bus.remove(name)
        with UsbIpServer([]) as server:  # the kernel says that a port is in use, but the bus has no such device
            bus.vhci_port(0, VhciPort(6, 2, 0x10004, 3, "9-9"), f"{server.host} {server.port} 1-2")
            lost = "no device is known to be offered or attached (devices listed: 1): run usbip attach | devices=0;;;0 time=Ts;;;0"
            assert attached(bus) == expect(CRITICAL, lost)
            lost = f"key {KEY}: this list does not tell VID:PID of every device, give --device otherwise (devices listed: 1; at 9-9)"
            assert attached(bus, "--device", KEY) == expect(UNKNOWN, f"{lost} | devices=0;;;0 time=Ts;;;0")
            bus.vhci_port(0, VhciPort())
        name = bus.add_key(where="usbip")
        nobody = f"who serves {name} is not noted here: give it with -H"
        assert attached(bus, "--device", KEY) == expect(UNKNOWN, f"{nobody} | devices=1;;;0 time=Ts;;;0")
        assert bus.opened_nodes() == []


def record(busid: str, path: str, usb_id: str = KEY) -> bytes:
    """One device of a server's list, written from the kernel's document."""
    head = path.encode().ljust(256, b"\0") + busid.encode().ljust(32, b"\0") + bytes(12)
    return head + bytes.fromhex(usb_id.replace(":", "")) + bytes(7) + b"\1" + bytes(4)


WINDOWS = "USB\\VID_0471&PID_485D\\7&3A2774D3&0&1"
SHARED_OR_USED = "is shared by usbipd-win, which also lists what others use: run this check where the key is attached"


def test_usbipd_win_lists_what_others_hold() -> None:
    answer = DEVLIST + b"\0\0\0\1" + record("1-2", WINDOWS)
    with UsbIpServer(raw_reply=answer) as server, UsbBus() as bus:
        there = ("-H", server.host, "-p", str(server.port))
        unknown = f"key {KEY} {SHARED_OR_USED} | devices=0;;;0 time=Ts;;;0"
        assert usbip(server, "--device", KEY) == expect(UNKNOWN, unknown)
        none = f"no device is known to be offered or attached (devices listed: 1): {HERE} | devices=0;;;0 time=Ts;;;0"
        assert usbip(server) == expect(UNKNOWN, none)
        bus.load_vhci(8)
        assert attached(bus, *there, "--device", KEY) == expect(UNKNOWN, unknown), "nothing is attached here"
        for remote in (f"{server.host} {server.port} 1-2", None):  # with a note of usbip attach, and as an ordinary user sees it
            name = bus.add_key(where="usbip", remote=remote)
            assert attached(bus, *there, "--device", KEY) == expect(OK, f"key {KEY} is attached here | devices=1;;;0 time=Ts;;;0"), remote
            bus.remove(name)


def test_a_ghost_is_not_good() -> None:
    """A server of Linux that offers what this machine's port holds has lost the connection; so it is with two ports that
    hold one device."""
    with UsbBus() as bus, UsbIpServer([SenseLockKey(), SenseLockKey(busid="1-7")]) as server:
        bus.load_vhci(8)
        remote = f"{server.host} {server.port} 1-2"
        name = bus.add_key(where="usbip", remote=remote)
        dead = "is attached over a dead connection: run usbip detach, then attach it again"
        ghost = expect(CRITICAL, f"key {name} {dead} | devices=1;;;0 time=Ts;;;0")
        assert attached(bus, "--device", name) == ghost
        assert attached(bus, "--device", name, "-H", server.host, "-p", str(server.port)) == ghost
        assert attached(bus, "--device", KEY)[0] != OK, "the other key there does not save this one"
        server.occupy("1-2")
        assert attached(bus, "--device", name) == expect(OK, f"key {name} is attached here | devices=2;;;0 time=Ts;;;0")
        bus.add_key(where="usbip", remote=remote)
        twice = f"key {KEY} {dead}"
        server.occupy("1-7")
        assert attached(bus, "--device", KEY) == expect(CRITICAL, f"{twice} | devices=0;;;0 time=Ts;;;0")


def test_a_ghost_without_a_note_is_not_good() -> None:
    """An ordinary user may not read what `usbip attach` noted: bus and device number at the server tell the device."""
    with UsbBus() as bus, UsbIpServer() as server:
        bus.load_vhci(8)
        bus.add_key(where="usbip")
        there = ("-H", server.host, "-p", str(server.port))
        dead = f"key {KEY} is attached over a dead connection: run usbip detach, then attach it again"
        assert attached(bus, "--device", KEY, *there) == expect(CRITICAL, f"{dead} | devices=0;;;0 time=Ts;;;0")
        server.occupy("1-2")
        assert attached(bus, "--device", KEY, *there) == expect(OK, f"key {KEY} is attached here | devices=1;;;0 time=Ts;;;0")


def test_an_attached_key_that_the_kernel_blocks() -> None:
    with UsbBus() as bus, UsbIpServer() as server:
        bus.load_vhci(8)
        name = bus.add_key(where="usbip", remote=f"{server.host} {server.port} 1-2")
        server.occupy("1-2")
        bus.deauthorize(name)
        code, line = attached(bus, "--device", KEY)
    assert code == CRITICAL
    assert f"key {KEY} is attached here, but cannot be used: the kernel has not authorized it" in line


def test_a_silent_server_holds_only_what_came_from_it() -> None:
    """A port without a note may be any server's, so it counts for the one that is silent."""
    with UsbBus() as bus, UsbIpServer() as ill, UsbIpServer([SenseLockKey("1bc0:0051", busid="1-7")]) as well:
        bus.load_vhci(8)
        bus.add_key(where="usbip", remote=f"{ill.host} {ill.port} 1-2")
        bus.add_key(where="usbip", usb_id="1bc0:0051", remote=f"{well.host} {well.port} 1-7")
        well.occupy("1-7")
        ill.freeze()
        silent = f"forwarder does not answer at {ill.host}:{ill.port} (it takes the connection and says nothing: frozen?)"
        frozen = f"{silent}; still listed here: {KEY} | devices=2;;;0 time=Ts;;;0"
        assert attached(bus, "--device", "1bc0:0051", "-t", "2") == expect(CRITICAL, frozen)
        bus.add_key(where="usbip", usb_id="1bc0:0055")
        both = f"{silent}; still listed here: {KEY}, 1bc0:0055 | devices=3;;;0 time=Ts;;;0"
        there = ("-H", ill.host, "-p", str(ill.port))
        assert attached(bus, *there, "--device", "1bc0:0051", "-t", "2") == expect(CRITICAL, both)


# --- Ports ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("open_port", "state", "text"),
    [
        (silent_port, OK, TERM + "port open at {place} (which proves neither license nor key) | time=Ts;;;0"),
        (talking_port, OK, TERM + "port open at {place} (which proves neither license nor key) | time=Ts;;;0"),
        (refused_port, CRITICAL, "forwarder does not answer at {place} (connection refused): does it run there, and does a firewall let this machine in?"),
        (unreachable_port, CRITICAL, "forwarder does not answer at {place} (no answer in time): does it run there, and does a firewall let this machine in?"),
    ],
)
def test_port(open_port: Any, state: int, text: str) -> None:
    with open_port() as port:
        expected = expect(state, text.replace("{place}", f"127.0.0.1:{port}"))
        assert redirector("-H", "127.0.0.1", "-p", str(port), "-t", SHORT) == expected


def test_a_name_without_address() -> None:
    code, line = redirector("-H", "forwarder.invalid", "-t", "5")
    assert code == UNKNOWN
    assert re.match(r"USB_REDIRECTOR UNKNOWN - forwarder does not answer at forwarder\.invalid:32032 \(", line)


# --- Processes and services -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["usbsrvd", "usb forwarder)", "awusbmanager-headless"])
def test_process(name: str) -> None:
    def run() -> tuple[int, str]:
        return said(run_check("usb_redirector", "--product", "generic", "--process", name))

    gone = expect(CRITICAL, f"process {name} is not running: start it | processes=0;;;0")
    assert run() == gone
    with forwarder_daemon(name) as daemon:
        assert run() == expect(OK, f"process {name} is running | processes=1;;;0")
        daemon.freeze()
        frozen = f"process {name} is frozen: run kill -CONT {daemon.pid}, or restart it | processes=1;;;0"
        assert run() == expect(CRITICAL, frozen)
        daemon.thaw()
        assert run()[0] == OK
        daemon.become_a_zombie()
        assert run() == gone


def test_a_process_is_told_by_its_name_alone() -> None:
    with forwarder_daemon("less", argv0="usbsrvd"), forwarder_daemon("usbsrvd2"), forwarder_daemon("awusbmanager-headed"):
        for name in ("usbsrvd", "awusbmanager-headless", "awusbmanager-he", "USBSRVD2", "usbsrv"):
            outcome = run_check("usb_redirector", "--product", "generic", "--process", name)
            assert said(outcome) == expect(CRITICAL, f"process {name} is not running: start it | processes=0;;;0")


@pytest.mark.parametrize("name", ["python3", "sh"])
def test_a_container_shows_few_processes_and_the_check_is_none_of_them(name: str, tmp_path: Path) -> None:
    """In a PID namespace of its own there is nothing but the check and the shell that has started it."""
    words = command("usb_redirector", "--product", "generic", "--process", name, python="/usr/bin/python3")
    program = tmp_path / "python3"
    shutil.copy(Path("/usr/bin/python3").resolve(), program)
    words[0] = str(program)
    outcome = run_process([*own_mounts('mount -t proc proc /proc && "$@"; exit $?', "--pid", "--fork"), "sh", *words])
    assert outcome.text == (f"USB_REDIRECTOR CRITICAL - process {name} is not running (processes visible here: 2, a container?): "
                            "start it | processes=0;;;0 process_state=2\n")  # fmt: skip


@pytest.mark.parametrize("interpreter", ["/bin/sh", "/bin/sh -e"])
def test_a_long_name_behind_another_first_word(interpreter: str) -> None:
    """The kernel's name of it is awusbmanager-he, and its command line begins with the interpreter."""
    with forwarder_daemon("awusbmanager-headless", script=f"#!{interpreter}\nsleep 60\n:\n"):
        for name, expected in {
            "awusbmanager-headless": expect(OK, "process awusbmanager-headless is running | processes=1;;;0"),
            "awusbmanager-headed": expect(CRITICAL, "process awusbmanager-headed is not running: start it | processes=0;;;0"),
        }.items():
            assert said(run_check("usb_redirector", "--product", "generic", "--process", name)) == expected


@pytest.mark.parametrize("name", ["форвардер", "служба-usb", "я" * 40, "xпересылка"])
def test_a_process_with_a_russian_name(name: str) -> None:
    with forwarder_daemon(name):
        outcome = run_check("usb_redirector", "--product", "generic", "--process", name)
        assert said(outcome) == expect(OK, f"process {name} is running | processes=1;;;0")
        outcome = run_check("usb_redirector", "--product", "generic", "--process", name[:-1])
        assert said(outcome) == expect(CRITICAL, f"process {name[:-1]} is not running: start it | processes=0;;;0")


def test_names_in_russian_and_a_locale_of_ascii() -> None:
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8"}
    with forwarder_daemon("проброс"):
        outcome = run_check("usb_redirector", "--product", "generic", "--process", "проброс", env=env)
        assert said(outcome) == expect(OK, "process проброс is running | processes=1;;;0")
    listing = sample("virtualhere-list-key-other-use-constructed.txt").replace(b"Senselock SenseIV", "Ключ".encode())
    code, text = said(captured("virtualhere", listing, "--device", "Ключ", env=env))
    assert (code, "key Ключ is in use by " in text) == (CRITICAL, True), text


@pytest.mark.parametrize("mount", ["mount -o remount,hidepid=1 /proc", "mount -o remount,hidepid=2 /proc", "mount -t tmpfs none /proc"])
def test_a_process_that_cannot_be_seen(mount: str) -> None:
    with forwarder_daemon("usbsrvd"):
        python = [*AS_NOBODY, "/usr/bin/python3"]
        words = command("usb_redirector", "--product", "generic", "--process", "usbsrvd", python=python, checks=open_checks())
        outcome = run_process([*own_mounts(f'mount -t proc proc /proc && {mount} && exec "$@"'), "sh", *words])
        assert said(outcome) == expect(UNKNOWN, "--process cannot be judged: /proc does not show this user all processes (hidepid?)")


def test_two_processes_and_a_product_without_a_list() -> None:
    with forwarder_daemon("ftusbnetd"):
        for side in ((), ("--side", "server")):
            outcome = run_check("usb_redirector", "--product", "usb-over-network", *side, *DATED)
            assert said(outcome) == expect(OK, "license of USB over Network is perpetual; process ftusbnetd is running | processes=1;;;0")
        outcome = run_check("usb_redirector", "--product", "generic", "--process", "ftusbnetd", "--process", "pytest-none")
        assert said(outcome) == expect(CRITICAL, "process pytest-none is not running: start it | processes=1;;;0")


def systemctl(text: str, **more: Any) -> Callable[[ForwarderTools], Path]:
    """A systemctl that says this."""
    return lambda tools: tools.prints("systemctl", text.encode(), **more)


STATES = "ActiveState={}\nSubState={}\n"


@pytest.mark.parametrize(
    ("make", "state", "text"),
    [
        pytest.param(systemctl(STATES.format("active", "running")), OK, "service ftnlsv3 is running (it only supervises: that alone does not prove that the forwarder works)", id="running"),
        pytest.param(systemctl(STATES.format("inactive", "dead")), CRITICAL, "service ftnlsv3 is not running (inactive, dead): start it, or check --service", id="not found"),
        pytest.param(systemctl(2 * STATES.format("active", "running")), UNKNOWN, "service ftnlsv3: systemctl says: ActiveState=active; without systemd name its --process", id="two units"),
        pytest.param(systemctl("System has not been booted with systemd as init system (PID 1). Can't operate.\n", code=1), UNKNOWN,
                     "service ftnlsv3: systemctl says: System has not been booted with systemd as init system (PID 1). Can't operate.; "
                     "without systemd name its --process", id="no systemd"),
        pytest.param(lambda tools: tools.hangs("systemctl"), UNKNOWN,
                     "service ftnlsv3: systemctl did not end within # s; without systemd name its --process", id="hangs"),
    ],
)  # fmt: skip
def test_service(make: Callable[[ForwarderTools], Path], state: int, text: str, tmp_path: Path) -> None:
    with ForwarderTools(tmp_path) as tools:
        make(tools)
        path = f"{tmp_path}:{os.environ['PATH']}"
        code, line = said(run_check("usb_redirector", "--product", "generic", "--service", "ftnlsv3", "-t", "1", env={"PATH": path}))
        assert (code, re.sub(r"within [0-9.]+ s", "within # s", line)) == expect(state, text)
        assert tools.calls("systemctl") == [["show", "-p", "ActiveState,SubState", "--", "ftnlsv3"]]


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_service_that_cannot_be_asked_hides_no_other(names: tuple[str, str], tmp_path: Path) -> None:
    tool = tmp_path / "systemctl"
    tool.write_text("#!/bin/sh\n[ $5 = a ] && echo no bus && exit 1\nprintf 'ActiveState=failed\\nSubState=failed\\n'\n")
    tool.chmod(0o755)
    words = [word for name in names for word in ("--service", name)]
    outcome = run_check("usb_redirector", "--product", "generic", *words, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert said(outcome) == expect(CRITICAL, "service b is not running (failed, failed): start it, or check --service; "
                                   "service a: systemctl says: no bus; without systemd name its --process")  # fmt: skip
