"""check_usb_redirector as a process: fake tools, a real USB/IP server, real processes, ports and logs."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from lab.forwarder_tools import (
    ForwarderTools,
    forwarder_daemon,
    refused_port,
    sample,
    silent_port,
    talking_port,
    unreachable_port,
)
from lab.run_check import PUNCTUAL, Outcome, command, run_check, run_process
from lab.usb_bus import UsbBus, VhciPort
from lab.usbip_server import SenseLockKey, UsbIpServer

OK, WARNING, CRITICAL, UNKNOWN = range(4)
KEY = "0471:485d"
DATED = ("--license-expires", "perpetual")
TERM = "license of USB Redirector is perpetual; "


def said(outcome: Outcome) -> tuple[int, str]:
    """Exit code and output, with the one number that no run repeats made equal."""
    return outcome.code, re.sub(r"time=[0-9.]+s", "time=Ts", outcome.text)


def expect(state: int, text: str) -> tuple[int, str]:
    """What a run must say: one line of it, behind the service and the state."""
    return state, f"USB_REDIRECTOR {('OK', 'WARNING', 'CRITICAL', 'UNKNOWN')[state]} - {text}\n"


def redirector(*arguments: str, **more: Any) -> tuple[int, str]:
    """A run about USB Redirector whose license is no matter."""
    return said(run_check("usb_redirector", "--product", "usb-redirector", *DATED, *arguments, **more))


# --- The license's dates --------------------------------------------------------------------------------------


def in_days(days: int) -> str:
    """A date as an operator writes it, seen from today."""
    return (datetime.date.today() + datetime.timedelta(days=days)).isoformat()


@pytest.mark.parametrize(
    ("days", "arguments", "state", "text"),
    [
        pytest.param(20, ["-w", "-5:", "-c", "-1:"], OK, "ends in 20 days ({date})", id="a range that begins with a dash"),
        pytest.param(0, ["-w", "-5:-1", "-c", "-9:"], WARNING, "ends today ({date}): renew it now", id="and one that ends with it"),
        pytest.param(200, [], OK, "ends in 200 days ({date})", id="all well"),
        pytest.param(30, [], OK, "ends in 30 days ({date})", id="30 days are not fewer than 30"),
        pytest.param(29, [], WARNING, "ends in 29 days ({date}): renew it now", id="29 days"),
        pytest.param(7, [], WARNING, "ends in 7 days ({date}): renew it now", id="7 days"),
        pytest.param(6, [], CRITICAL, "ends in 6 days ({date}): renew it now", id="6 days"),
        pytest.param(0, [], CRITICAL, "ends today ({date}): renew it now", id="today"),
        pytest.param(-1, [], CRITICAL, "expired 1 day ago ({date}): renew it, then reconnect the key", id="yesterday"),
        pytest.param(20, ["-w", "14:", "-c", "3:"], OK, "ends in 20 days ({date})", id="other ranges"),
        pytest.param(-5, ["-w", "~:", "-c", "~:"], CRITICAL, "expired 5 days ago ({date}): renew it, then reconnect the key",
                     id="no range excuses an expired one"),
    ],
)  # fmt: skip
def test_license(days: int, arguments: list[str], state: int, text: str) -> None:
    date = in_days(days)
    warning, critical = (arguments[1], arguments[3]) if arguments else ("30:", "7:")
    outcome = run_check("usb_redirector", "--product", "usb-redirector", "--no-list", "--license-expires", date, *arguments)
    numbers = f"license_days={days};{warning};{critical}"
    assert said(outcome) == expect(state, f"license of USB Redirector {text.format(date=date)} | {numbers}")


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Etc/GMT-14", "Europe/Moscow"])
def test_the_day_is_the_machines_own(zone: str) -> None:
    outcome = run_check("usb_redirector", "--product", "generic", "--license-expires", in_days(-3), "-vv", env={"TZ": zone})
    today = run_process(["date", "+%F"], env={"TZ": zone}).text.strip()
    left = (datetime.date.fromisoformat(in_days(-3)) - datetime.date.fromisoformat(today)).days
    assert f"expired {-left} day" in outcome.line


@pytest.mark.parametrize("date", ["2026-02-30", "2027-02-29", "01.02.2027", "２０２７-01-31", "1999-12-31", "", "soon"])
def test_no_date_is_a_usage_error(date: str) -> None:
    outcome = run_check("usb_redirector", "--product", "generic", f"--license-expires={date}")
    assert outcome.code == UNKNOWN
    assert outcome.line.startswith("USB_REDIRECTOR UNKNOWN - argument --license-expires: '")


HELP = "; check_usb_redirector --help lists the options"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param("", "--product is missing; check_usb_redirector --help lists the products", id="nothing"),
        pytest.param("--product generic", "nothing to judge: the forwarder has no default on this system, name a --process, "
                     "a --service, -H or a list", id="asked for nothing"),
        pytest.param("--product usbip --no-list", "nothing to judge: USB/IP has no default on this system, name a --process, "
                     "a --service, -H or a list", id="asked for nothing of usbip"),
        pytest.param("--product generic --device x", f"the list of the forwarder has no publicly known form: use --process, --service or -H{HELP}",
                     id="a list nobody can read"),
        pytest.param("--product usb-over-network --list-command x", "the list of USB over Network has no publicly known form: "
                     f"use --process, --service or -H{HELP}", id="a list nobody has seen"),
        pytest.param("--product usbipd-win --device x", "--device needs a list, and usbipd-win has no usual list command here: give --list-command",
                     id="no tool on this system"),
        pytest.param("--product virtualhere -p 7575", f"-p needs -H{HELP}", id="port alone"),
        pytest.param("--product generic -H x", f"-H needs -p: no usual port of the forwarder is known{HELP}", id="host alone"),
        pytest.param("--product virtualhere --list-command a --list-output b", f"--list-command and --list-output exclude each other{HELP}", id="two lists"),
        pytest.param("--product virtualhere --no-list --device a", f"--no-list contradicts the other options{HELP}", id="no list, but a device"),
        pytest.param("--product virtualhere --list-max-age 5", f"--list-max-age needs --list-output FILE{HELP}", id="age of nothing"),
        pytest.param("--product virtualhere --utn-code 1=ok", f"--utn-code belongs to --product seh-utn{HELP}", id="code of another product"),
        pytest.param("--product seh-utn --list-command x --device a", f"seh-utn is judged by the exit code of its tool alone{HELP}", id="exit codes name no device"),
        pytest.param("--product seh-utn --list-command 'sh -c \"exit 0\"'", "seh-utn needs a list command that asks for the key's state, "
                     f"for example 'utnm -c \"state 192.0.2.20 5\"'{HELP}", id="a command that asks nothing"),
        pytest.param("--product usbip --side server --device 0471:485d", "--product usbip --side server is asked over the network: give -H, "
                     f"for example -H 127.0.0.1{HELP}", id="the server's side of usbip"),
        *(pytest.param(f"--product {product} --side {side} --license-expires perpetual", f"--side {side}: {title} has no default for that side on this system, "
                       "name a --process, a --service, -H or a list, or give --no-list to judge the license alone", id=f"{product} has no {side} here")
          for product, side, title in (("usb-over-network", "client", "USB over Network"), ("distkontrol", "server", "DistKontrolUSB"),
                                       ("digi-anywhereusb", "server", "Digi AnywhereUSB"), ("generic", "client", "the forwarder"))),
        pytest.param("--product usb-over-network --side client", "--side client: USB over Network has no default for that side on this system, "
                     "name a --process, a --service, -H or a list, or give --no-list to judge the license alone", id="nor without a license"),
        pytest.param("--product usbip --device 471:485d", f"argument --device: '471:485d' is no USB id; write VID:PID, for example 0471:485d, or name=471:485d if it is a name{HELP}",
                     id="three digits"),
        pytest.param("--product generic --process /usr/bin/usbsrvd", f"argument --process: '/usr/bin/usbsrvd' is a path; write the name of the "
                     f"process alone{HELP}", id="a path as process"),
        pytest.param("--product generic --process ' usbsrvd'", f"argument --process: 'usbsrvd' has blanks around it{HELP}", id="blanks around a process"),
        pytest.param("--product generic --license-expires '2027-01-31 '", f"argument --license-expires: '2027-01-31' has blanks around it{HELP}",
                     id="blanks around a date"),
        pytest.param("--product generic --log x", f"--log and --log-pattern belong together{HELP}", id="log without pattern"),
        pytest.param("--product generic --log x --log-pattern (", f"argument --log-pattern: '(' is no regular expression "
                     f"(missing ), unterminated subpattern at position 0){HELP}", id="no regular expression"),
        pytest.param("--product virtualhere --list-command ''", "--list-command is empty", id="empty command"),
        pytest.param("--product virtualhere --list-command '\"a'", "--list-command cannot be read: No closing quotation", id="open quotation"),
        pytest.param("--product generic --service=-Hevil", f"argument --service: '-Hevil' is no service name{HELP}", id="an option as service"),
        pytest.param("--product generic --process ''", f"argument --process: empty{HELP}", id="empty process"),
        pytest.param("--product generic -H 'a b' -p 1", f"argument -H/--hostname: 'a b' is no host name or address{HELP}", id="no host"),
    ],
)  # fmt: skip
def test_usage_errors(arguments: str, text: str) -> None:
    assert said(run_check("usb_redirector", *shlex.split(arguments))) == expect(UNKNOWN, text)


def test_a_side_without_a_default_where_nothing_hangs_on_it() -> None:
    side = ("--product", "usb-over-network", "--side", "client", *DATED)
    assert said(run_check("usb_redirector", *side, "--no-list")) == expect(OK, "license of USB over Network is perpetual")
    with forwarder_daemon("pytest-side"):
        text = "license of USB over Network is perpetual; process pytest-side is running | processes=1;;;0"
        assert said(run_check("usb_redirector", *side, "--process", "pytest-side")) == expect(OK, text)


def test_a_license_is_needed_where_the_product_is_sold() -> None:
    for product, title in (("usb-redirector", "USB Redirector"), ("usb-network-gate", "USB Network Gate"), ("virtualhere", "VirtualHere")):
        outcome = run_check("usb_redirector", "--product", product, "--process", "pytest-needs-a-name")
        assert outcome.text == (
            "USB_REDIRECTOR CRITICAL - process pytest-needs-a-name is not running: start it; "
            f"license term of {title} unknown: give --license-expires YYYY-MM-DD or perpetual | processes=0;;;0\n"
        )


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
                     "list command {tool} ended with exit code 3: ================= USB SERVER OPERATION SUCCESSFUL =============== | time=Ts;;;0",
                     id="a good list, a bad end"),
        pytest.param(lambda t: t.dies("tool", SHARED), UNKNOWN,
                     "list command {tool} ended with signal 11: ================= USB SERVER OPERATION SUCCESSFUL =============== | time=Ts;;;0", id="dies"),
        pytest.param(lambda t: t.prints("tool", b""), UNKNOWN,
                     "list command {tool} is no list of USB Redirector that this check knows: no output at all | time=Ts;;;0", id="silent"),
        pytest.param(lambda t: t.prints("tool", b"\x1b[31mred|\r\n\x00"), UNKNOWN,
                     "list command {tool} is no list of USB Redirector that this check knows: [31mred/ | time=Ts;;;0", id="escapes"),
        pytest.param(lambda t: t.complains("tool", b"usbsrv: permission denied\n"), UNKNOWN,
                     "list command {tool} ended with exit code 1: usbsrv: permission denied | time=Ts;;;0", id="complains"),
        pytest.param(lambda t: t.hangs("tool", SHARED, stubborn=True), UNKNOWN,
                     "list command {tool} did not end within 1.# s; if its daemon is frozen, --process tells", id="hangs"),
        pytest.param(lambda t: t.floods("tool"), UNKNOWN, "list command {tool} printed more than 1048576 bytes", id="floods"),
        pytest.param(lambda t: t.missing("tool"), UNKNOWN,
                     "list command {tool} does not exist; install it here, or name it with --list-command", id="missing"),
        pytest.param(lambda t: t.not_executable("tool"), UNKNOWN, "list command {tool} may not be executed", id="not executable"),
        pytest.param(lambda t: t.not_a_program("tool"), UNKNOWN, "list command {tool} cannot be started (Exec format error)", id="no program"),
    ],
)  # fmt: skip
def test_list_command(make: Callable[[ForwarderTools], Path], state: int, text: str, tmp_path: Path) -> None:
    with ForwarderTools(tmp_path) as tools:
        tool = make(tools)
        outcome = run_check("usb_redirector", "--product", "usb-redirector", *DATED, "--list-command", f"'{tool}'", "--device", KEY, "-t", "1.8")
        code, line = said(outcome)
        line = re.sub(r"within 1\.\d+ s", "within 1.# s", line)
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
        outcome = run_check("usb_redirector", "--product", "usb-redirector", "--license-expires", date, "--list-command", hanging,
                            "-H", "127.0.0.1", "-p", str(port), "--process", "pytest-no-such", "-t", "1.5")  # fmt: skip
    assert outcome.code == CRITICAL
    assert outcome.line.startswith(
        f"USB_REDIRECTOR CRITICAL - license of USB Redirector expired 3 days ago ({date}): renew it, then reconnect the key; "
        "process pytest-no-such is not running: start it; list command "
    )
    assert "does not answer" not in outcome.line, "the port got its share of the time"


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
    crashed = f"list command {shown(tool)} ended with signal 11: remote 198.51.100.24,,56228,usb3,port1,,Stream Deck Plus,,,,198.51.100.40,,, | time=Ts;;;0"
    assert said(outcome) == expect(UNKNOWN, crashed)


@pytest.mark.parametrize(
    ("code", "arguments", "state", "text"),
    [
        (0, [], OK, "the dongle server answers for the key"),
        (24, [], CRITICAL, "the key is not available at the dongle server"),
        (25, [], UNKNOWN, "the key is in use, and the tool does not say by whom: --utn-code 25=ok if this is by design"),
        (25, ["--utn-code", "25=ok"], OK, "the dongle server's tool ended with exit code 25"),
        (26, [], CRITICAL, "the key is not found at the dongle server: is it plugged in?"),
        (41, [], CRITICAL, "the connection to the dongle server fails: is it on, and reachable from here?"),
        (44, [], UNKNOWN, "this user may not ask the dongle server"),
        (7, [], UNKNOWN, "list command {tool} ended with exit code 7, which is not known"),
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


def make_fifo(path: Path) -> object:
    """A FIFO in the place of a file."""
    os.mkfifo(path)
    return path


def test_captured_list(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(SHARED)
    good = expect(OK, TERM + f"key {KEY} is offered by the forwarder | devices=1;;;0")
    assert redirector("--list-output", str(path), "--device", KEY) == good
    assert redirector("--list-output", "-", "--device", KEY, stdin=SHARED) == good
    assert redirector("--list-output", str(path), "--list-max-age", "5", "--device", KEY) == good


@pytest.mark.parametrize(
    ("age", "arguments", "text"),
    [
        pytest.param(30, [], None, id="half an hour"),
        pytest.param(180, [], "is 180 minutes old, more than --list-max-age 60: does the job that writes it still run?", id="too old"),
        pytest.param(60.2, [], "is 61 minutes old, more than --list-max-age 60: does the job that writes it still run?", id="hardly too old"),
        pytest.param(5.2, ["--list-max-age", "4.5"], "is 5 minutes old, more than --list-max-age 4.5: does the job that writes it still run?",
                     id="half minutes"),
        pytest.param(180, ["--list-max-age", "5"], "is 180 minutes old, more than --list-max-age 5: does the job that writes it still run?",
                     id="older than the operator allows"),
        pytest.param(180, ["--list-max-age", "240"], None, id="not older than the operator allows"),
        pytest.param(-0.5, [], None, id="a clock half a minute ahead"),
        pytest.param(-43200, ["--list-max-age", "5"], "is dated 43200 minutes in the future: check the clocks of this machine and of the one "
                     "that writes it", id="in the future"),
    ],
)  # fmt: skip
def test_the_age_of_a_captured_list(age: float, arguments: list[str], text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(SHARED)
    then = time.time() - age * 60
    os.utime(path, (then, then))
    good = expect(OK, TERM + f"key {KEY} is offered by the forwarder | devices=1;;;0")
    bad = expect(UNKNOWN, f"list {path} {text}")
    assert redirector("--list-output", str(path), "--device", KEY, *arguments) == (bad if text else good)


def test_a_key_that_its_machine_does_not_use() -> None:
    arguments = ("--list-output", "-", "--device", KEY, "--client", "10.0.0.1")
    text = f"key {KEY} is offered, but not used by 10.0.0.1: attach it there | devices=0;;;0"
    assert redirector(*arguments, stdin=SHARED) == expect(CRITICAL, text)
    used = sample("usbsrv-list-key-in-use-constructed.txt").replace(b"192.0.2.10", b"kodeks at 10.0.0.1")
    text = TERM + f"key {KEY} is in use by kodeks at 10.0.0.1 | devices=1;;;0"
    assert redirector(*arguments, stdin=used) == expect(OK, text)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        pytest.param(lambda p: None, "--list-output: {p} cannot be read: No such file or directory; check the path and its rights", id="missing"),
        pytest.param(lambda p: p.mkdir(), "--list-output: {p} cannot be read: Is a directory", id="directory"),
        pytest.param(lambda p: os.mkfifo(p), "--list-output: {p} is not a regular file", id="FIFO"),
        pytest.param(lambda p: p.write_bytes(b""), "the captured list is no list of USB Redirector that this check knows: no output at all", id="empty"),
        pytest.param(lambda p: p.write_bytes(b"x" * (2 << 20)), "--list-output: {p} is larger than 1048576 bytes", id="huge"),
        pytest.param(lambda p: p.write_bytes(SHARED[:-30]), "the captured list is no list of USB Redirector that this check knows: "
                     "its closing line is missing: it is cut", id="cut"),
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


def test_no_standard_input() -> None:
    text = "the captured list is no list of USB Redirector that this check knows: no output at all"
    assert redirector("--list-output", "-") == expect(UNKNOWN, text)


def test_a_standard_input_that_does_not_wait() -> None:
    """As Node.js and asyncio make their pipes; the list comes late and in two pieces."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    words = command("usb_redirector", "--product", "usb-redirector", *DATED, "--list-output", "-")
    listing = sample("usbclnt-list-key-connected-constructed.txt")
    with subprocess.Popen(words, stdin=reader, stdout=subprocess.PIPE) as running:
        for piece in (listing[:100], listing[100:]):
            time.sleep(0.3)
            os.write(writer, piece)
        os.close(writer)
        os.close(reader)
        assert running.communicate()[0].decode() == expect(OK, f"{TERM}1 of 1 devices offered or attached | devices=1;;;0")[1]


def test_virtualhere_by_its_xml_and_its_licenses() -> None:
    def run(name: str, *arguments: str) -> tuple[int, str]:
        return said(run_check("usb_redirector", "--product", "virtualhere", "--list-output", "-", *arguments, stdin=sample(name)))

    bound = "virtualhere-client-state-key-bound-constructed.xml"
    assert run(bound, *DATED, "--device", KEY) == expect(
        CRITICAL, f"key {KEY} is in use by another machine (kodeks 192.0.2.10): release it there | devices=0;;;0"
    )
    for client in ("kodeks", "192.0.2.10"):
        text = f"license of VirtualHere is perpetual; key {KEY} is in use by kodeks 192.0.2.10 | devices=1;;;0"
        assert run(bound, *DATED, "--device", KEY, "--client", client) == expect(OK, text)
    unlicensed = "license term of VirtualHere unknown: give --license-expires YYYY-MM-DD or perpetual"
    assert run("virtualhere-licenses-constructed.txt") == expect(UNKNOWN, unlicensed)
    licensed = sample("virtualhere-licenses-constructed.txt").split(b"\n")[0]
    outcome = run_check("usb_redirector", "--product", "virtualhere", "--list-output", "-", stdin=licensed)
    assert said(outcome) == expect(OK, "license of VirtualHere is there (devices it may serve: License Hub unlimited); the forwarder answers")


CONNECTION = '<connection serverName="{0}" hostname="{0}" state="{1}" license_max_devices="{2}"/>'
FREE = '<device idVendor="1137" idProduct="18525" product="Key" address="21" state="1"/>'
UNTOLD = "license term of VirtualHere unknown: give --license-expires YYYY-MM-DD or perpetual"


@pytest.mark.parametrize(
    ("servers", "arguments", "state", "text"),
    [
        pytest.param([CONNECTION.format("Hub", 1, 8)], [], CRITICAL,
                     "no device is offered or attached (devices listed: 0, not connected to Hub): is the forwarder on, and reachable from here? | devices=0;;;0", id="not connected"),
        pytest.param([CONNECTION.format("Hub", 3, 8)], [], CRITICAL,
                     "no device is offered or attached (devices listed: 0): is the key plugged in at the forwarder, and shared? | devices=0;;;0", id="no device"),
        pytest.param([CONNECTION.format("Hub", 3, 8)], ["--device", KEY], CRITICAL,
                     f"key {KEY} is not offered by the forwarder (devices listed: 0): is the key plugged in at the forwarder, and shared? | devices=0;;;0", id="the key is unplugged"),
        pytest.param([CONNECTION.format("Hub", 1, 8)], ["--device", KEY], CRITICAL,
                     f"key {KEY} is not offered by the forwarder (devices listed: 0; not connected to Hub): is the forwarder on, and reachable from here? | devices=0;;;0", id="the key's server is lost"),
        pytest.param([CONNECTION.format("Hub", 3, 8) + FREE], ["--device", KEY], OK,
                     f"license of VirtualHere is there (devices it may serve: Hub 8); key {KEY} is offered by the forwarder | devices=1;;;0", id="all well"),
        pytest.param([CONNECTION.format("A", 3, 8), CONNECTION.format("B", 3, "") + FREE], ["--device", KEY], UNKNOWN, f"{UNTOLD} | devices=1;;;0",
                     id="the license of one server proves nothing of another"),
    ],
)  # fmt: skip
def test_virtualheres_state(servers: list[str], arguments: list[str], state: int, text: str) -> None:
    xml = f"<state>{''.join(f'<server>{server}</server>' for server in servers)}</state>\n".encode()
    outcome = run_check("usb_redirector", "--product", "virtualhere", "--list-output", "-", *arguments, stdin=xml)
    assert said(outcome) == expect(state, text)


@pytest.mark.parametrize(
    ("product", "list_output", "devices", "named", "text"),
    [
        ("usb-redirector", SHARED.replace(b"plugged, shared", b"plugged, shared, in use by 192.0.2.10"), 2, "Senselock SenseIV",
         "{} is in a state that this check does not know ('plugged, shared, in use by 192.0.2.10'): see what the forwarder itself says of it"),
        ("usb-network-gate", sample("usb-network-gate-ls-local.txt"), 1, "Brio 101",
         "{} is in a state that this check does not know (plugged in, but whether it is shared only eveusbc ls shared tells): see what the forwarder itself says of it"),
        ("usb-network-gate", sample("usb-network-gate-find-remote-devices.txt"), 1, "Stream Deck Plus",
         "{} is connected to 198.51.100.40, and the list does not tell whether that is this machine: if it is, give --client 198.51.100.40"),
    ],
)  # fmt: skip
def test_a_state_that_nobody_knows_is_unknown_with_a_device_and_without(product: str, list_output: bytes, devices: int, named: str, text: str) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        return said(run_check("usb_redirector", "--product", product, *DATED, "--list-output", "-", *arguments, stdin=list_output))

    assert run("--device", named) == expect(UNKNOWN, f"{text.format(f'key {named}')} | devices=0;;;0")
    none = f"no device is known to be offered or attached (devices listed: {devices}): {text.format(named)} | devices=0;;;0"
    assert run() == expect(UNKNOWN, none)


NO_DEVICES = b"License Hub,s/n=1,unlimited devices\nHub,s/n=2,0 devices\n"


@pytest.mark.parametrize(
    ("product", "list_output", "arguments", "state", "text"),
    [
        ("distkontrol", NO_DEVICES, [], CRITICAL, "license of DistKontrolUSB: none on Hub, buy or renew it"),
        ("distkontrol", NO_DEVICES, DATED, CRITICAL, "license of DistKontrolUSB: none on Hub, buy or renew it"),
        ("virtualhere", NO_DEVICES, [], CRITICAL, "license of VirtualHere: none on Hub, buy or renew it"),
        ("distkontrol", NO_DEVICES.replace(b",0 ", b",1 "), [], OK, "the forwarder answers"),
        ("distkontrol", sample("virtualhere-client-state-key-bound-constructed.xml").replace(b'max_devices="1"', b'max_devices="0"'), ["--client", "192.0.2.10"],
         CRITICAL, "license of DistKontrolUSB: none on License Hub, buy or renew it | devices=1;;;0"),
        ("distkontrol", sample("virtualhere-client-state-key-bound-constructed.xml"), ["--client", "192.0.2.10"],
         OK, "1 of 1 devices offered or attached | devices=1;;;0"),
        ("distkontrol", sample("virtualhere-client-state-key-bound-constructed.xml").replace(b'license_max_devices="1"', b""), ["--client", "192.0.2.10"],
         OK, "1 of 1 devices offered or attached | devices=1;;;0"),
        ("distkontrol", sample("virtualhere-list-key-available-constructed.txt"), [], OK, "1 of 1 devices offered or attached | devices=1;;;0"),
    ],
)  # fmt: skip
def test_a_license_for_no_device(product: str, list_output: bytes, arguments: list[str], state: int, text: str) -> None:
    outcome = run_check("usb_redirector", "--product", product, "--list-output", "-", *arguments, stdin=list_output)
    assert said(outcome) == expect(state, text)


@pytest.mark.parametrize(
    ("arguments", "state", "text"),
    [
        pytest.param([], UNKNOWN, "key Stream Deck Plus is connected to 198.51.100.40, and the list does not tell whether that is this machine: "
                     "if it is, give --client 198.51.100.40 | devices=0;;;0", id="by whom is not known"),
        pytest.param(["--client", "198.51.100.40"], OK, "license of USB Network Gate is perpetual; key Stream Deck Plus is in use by 198.51.100.40 "
                     "| devices=1;;;0", id="by the right machine"),
        pytest.param(["--client", "10.9.9.9"], CRITICAL, "key Stream Deck Plus is in use by another machine (198.51.100.40): release it there "
                     "| devices=0;;;0", id="by another"),
    ],
)  # fmt: skip
def test_network_gate_says_who_is_connected(arguments: list[str], state: int, text: str) -> None:
    outcome = run_check("usb_redirector", "--product", "usb-network-gate", *DATED, "--list-output", "-", "--device", "Stream Deck Plus", *arguments,
                        stdin=sample("usb-network-gate-find-remote-devices.txt"))  # fmt: skip
    assert said(outcome) == expect(state, text)


def test_everything_in_the_list_is_shown_with_v() -> None:
    outcome = run_check("usb_redirector", "--product", "usb-redirector", *DATED, "--list-output", "-", "-v",
                        stdin=sample("usbclnt-list-2023-full.txt"))  # fmt: skip
    assert outcome.text == (
        "USB_REDIRECTOR OK - license of USB Redirector is perpetual; 1 of 2 devices offered or attached | devices=1;;;0\n"
        "ok: license of USB Redirector is perpetual\n"
        "ok: 1 of 2 devices offered or attached\n"
        "device 054c:0da5 ILCE-7M4 - USB Mass Storage Device at D06EC06EDCCF: not available\n"
        "device 054c:0336 Sony USB Device at 2-4: offered\n"
        "not connected to 10.147.17.207:32032\n"
        "not connected to 192.168.10.2:32032\n"
    )


# --- USB/IP ---------------------------------------------------------------------------------------------------


def usbip(server: UsbIpServer, *arguments: str) -> tuple[int, str]:
    """A run that asks this server, on a machine without a USB/IP client."""
    return said(run_check("usb_redirector", "--product", "usbip", "-H", server.host, "-p", str(server.port), *arguments))


ELSEWHERE = f"key {KEY} is not offered, and a device in use by another machine is not in that list: run this check where the key is attached"


def test_the_server_of_usbip() -> None:
    with UsbIpServer([SenseLockKey(), SenseLockKey("1bc0:0051", busid="1-7")]) as server:
        offered = expect(OK, f"key {KEY} is offered by the forwarder | devices=2;;;0 time=Ts;;;0")
        assert usbip(server, "--device", KEY) == offered
        assert usbip(server) == expect(OK, "2 of 2 devices offered or attached | devices=2;;;0 time=Ts;;;0")
        server.occupy("1-2")
        assert usbip(server, "--device", KEY) == expect(UNKNOWN, f"{ELSEWHERE} (devices listed: 1) | devices=1;;;0 time=Ts;;;0")
        server.expire()
        assert usbip(server, "--device", KEY) == expect(UNKNOWN, f"{ELSEWHERE} (devices listed: 0) | devices=0;;;0 time=Ts;;;0")
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
        frozen = expect(CRITICAL, f"forwarder does not answer at {place} (it takes the connection and says nothing: frozen?)")
        assert usbip(server, "--device", KEY, "-t", "1") == frozen


def test_the_real_tool_where_no_device_is_offered() -> None:
    def run(port: int, *arguments: str) -> tuple[int, str]:
        return said(run_check("usb_redirector", "--product", "usbip", "--list-command", f"usbip --tcp-port {port} list -r 127.0.0.1", *arguments))

    with UsbIpServer([]) as server:
        assert run(server.port, "--device", KEY) == expect(UNKNOWN, f"{ELSEWHERE} (devices listed: 0) | devices=0;;;0 time=Ts;;;0")
        assert run(server.port) == expect(UNKNOWN, "no device is offered or attached (devices listed: 0); a device in use by another machine is not in that list: "
                                          "name the key with --device | devices=0;;;0 time=Ts;;;0")  # fmt: skip
    with refused_port() as port:
        refused = (f"forwarder does not answer (it says: could not connect to 127.0.0.1:{port}: System error): does it run there, "
                   "and does a firewall let this machine in? | time=Ts;;;0")  # fmt: skip
        assert run(port, "--device", KEY) == expect(CRITICAL, refused)


DEVLIST = bytes.fromhex("0111000500000000")


@pytest.mark.parametrize(
    ("options", "state", "text"),
    [
        pytest.param({"raw_reply": b""}, CRITICAL, "forwarder does not answer at {place} (it closes the connection without a whole answer)", id="hangs up"),
        pytest.param({"raw_reply": DEVLIST + b"\0\0\0\1" + b"x" * 99}, CRITICAL,
                     "forwarder does not answer at {place} (it closes the connection without a whole answer)", id="cut"),
        pytest.param({"trickle": 0.2}, CRITICAL, "forwarder does not answer at {place} (its answer does not end in time)", id="drips"),
        pytest.param({"raw_reply": b"HTTP/1.1 400 Bad Request\r\n\r\n"}, UNKNOWN,
                     "{place} is no USB/IP server of version 1.1.1, check -p: it begins with the bytes 485454502f312e31", id="http"),
        pytest.param({"raw_reply": DEVLIST + b"\xff" * 4}, UNKNOWN, "{place} is no USB/IP server of version 1.1.1, check -p: it announces 4294967295 devices", id="too many"),
        pytest.param({"raw_reply": DEVLIST[:7] + b"\x01"}, CRITICAL, "forwarder at {place}: the server refuses to list its devices (status 1)", id="refuses"),
    ],
)  # fmt: skip
def test_a_server_that_answers_otherwise(options: dict[str, Any], state: int, text: str) -> None:
    with UsbIpServer(**options) as server:
        assert usbip(server, "--device", KEY, "-t", "1.2") == expect(state, text.replace("{place}", f"{server.host}:{server.port}"))


def attached(bus: UsbBus, *arguments: str) -> tuple[int, str]:
    """A run on a machine whose USB bus and /run are the sandbox's."""
    outcome = run_process([*bus.with_run(), *command("usb_redirector", "--product", "usbip", *arguments)], env=bus.env())
    assert outcome.breaches() == []
    return said(outcome)


def test_the_client_of_usbip() -> None:
    missing = "nothing is attached here: vhci_hcd is not loaded, run modprobe vhci_hcd and usbip attach (a server is asked with -H)"
    with UsbBus() as bus:
        assert attached(bus, "--device", KEY) == expect(CRITICAL, missing)
        bus.load_vhci(8)
        gone = expect(CRITICAL, f"key {KEY} is not attached here (devices listed: 0): attach the key with usbip attach | devices=0;;;0")
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
            nameless = f"key SenseIV: this list does not tell names, give VID:PID or the place instead (listed: {KEY})"
            assert attached(bus, "--device", "SenseIV") == expect(UNKNOWN, f"{nameless} | devices=1;;;0 time=Ts;;;0")
            assert attached(bus, *there, "--side", "server") == expect(UNKNOWN, f"{ELSEWHERE} (devices listed: 0) | devices=0;;;0 time=Ts;;;0")
            assert attached(bus, "--device", "1bc0:0051") == expect(
                CRITICAL, "key 1bc0:0051 is neither offered by the forwarder nor attached here (devices listed: 1): is the key plugged in and shared at the forwarder, or attached to another machine? | devices=1;;;0 time=Ts;;;0"
            )
            server.freeze()
            silent = f"forwarder does not answer at {server.host}:{server.port} (it takes the connection and says nothing: frozen?)"
            frozen = expect(CRITICAL, f"{silent}; {KEY} is still listed here, as a frozen forwarder leaves it | devices=1;;;0")
            assert attached(bus, "--device", KEY, "-t", "1") == frozen
            with UsbIpServer([]) as other:  # naming a server that is well does not hide that the key's own is frozen
                well = ("-H", other.host, "-p", str(other.port), "--device", KEY)
                frozen = expect(CRITICAL, f"{silent}; {KEY} is still listed here, as a frozen forwarder leaves it | devices=1;;;0 time=Ts;;;0")
                assert attached(bus, *well, "-t", "2") == frozen
            server.thaw()
            server.expire()
            bus.remove(name)
            lost = f"key {KEY} is neither offered by the forwarder nor attached here (devices listed: 0): is the key plugged in and shared at the forwarder, or attached to another machine? | devices=0;;;0 time=Ts;;;0"
            assert attached(bus, *there) == expect(CRITICAL, lost)
        # usbipd gone: what is attached goes on, for the kernel alone carries it, but nothing can be attached again.
        name = bus.add_key(where="usbip", remote=f"{server.host} {server.port} 1-2")
        refused = f"forwarder does not answer at {server.host}:{server.port} (connection refused): does it run there, and does a firewall let this machine in?; {KEY} is still listed here"
        assert attached(bus, "--device", KEY) == expect(CRITICAL, f"{refused} | devices=1;;;0")
        bus.remove(name)
        with UsbIpServer([]) as server:  # the kernel says that a port is in use, but the bus has no such device
            bus.vhci_port(0, VhciPort(6, 2, 0x10004, 3, "9-9"), f"{server.host} {server.port} 1-2")
            ghost = ("no device is known to be offered or attached (devices listed: 1): 9-9, vhci_hcd port 0 is in a state that this check does not know (attached, "
                     "but not on this machine's USB bus): see what the forwarder itself says of it | devices=0;;;0 time=Ts;;;0")  # fmt: skip
            assert attached(bus) == expect(UNKNOWN, ghost)
            ghost = f"key {KEY}: what is attached cannot be told, this machine's USB bus does not show all of it | devices=0;;;0 time=Ts;;;0"
            assert attached(bus, "--device", KEY) == expect(UNKNOWN, ghost)
            bus.vhci_port(0, VhciPort())
        bus.add_key(where="usbip")
        nobody = "who serves vhci_hcd port 2 is not noted here, so nobody was asked whether the forwarder still answers: give it with -H"
        assert attached(bus, "--device", KEY) == expect(UNKNOWN, f"{nobody} | devices=1;;;0")
        assert bus.opened_nodes() == []


def test_a_silent_server_holds_only_what_came_from_it() -> None:
    """A port without a note may be any server's, so it counts for the one that is silent."""
    with UsbBus() as bus, UsbIpServer() as ill, UsbIpServer([SenseLockKey("1bc0:0051", busid="1-7")]) as well:
        bus.load_vhci(8)
        bus.add_key(where="usbip", remote=f"{ill.host} {ill.port} 1-2")
        bus.add_key(where="usbip", usb_id="1bc0:0051", remote=f"{well.host} {well.port} 1-7")
        ill.freeze()
        silent = f"forwarder does not answer at {ill.host}:{ill.port} (it takes the connection and says nothing: frozen?)"
        frozen = f"{silent}; {KEY} is still listed here, as a frozen forwarder leaves it | devices=3;;;0 time=Ts;;;0"
        assert attached(bus, "--device", "1bc0:0051", "-t", "2") == expect(CRITICAL, frozen)
        bus.add_key(where="usbip", usb_id="1bc0:0055")
        both = f"{silent}; {KEY}, 1bc0:0055 are still listed here, as a frozen forwarder leaves it | devices=4;;;0 time=Ts;;;0"
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
        assert redirector("-H", "127.0.0.1", "-p", str(port), "-t", "1") == expected


def test_a_name_without_address() -> None:
    code, line = redirector("-H", "forwarder.invalid", "-t", "5")
    assert code == UNKNOWN
    assert re.match(r"USB_REDIRECTOR UNKNOWN - the name forwarder\.invalid (cannot be resolved: |is not resolved in time)", line)


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
        frozen = f"process {name} is stopped (frozen, pid {daemon.pid}): run kill -CONT {daemon.pid}, or restart it | processes=1;;;0"
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
def test_a_check_does_not_see_itself(name: str, tmp_path: Path) -> None:
    """In a world of its own there is nothing but the check and the shell that has started it."""
    words = command("usb_redirector", "--product", "generic", "--process", name, python="/usr/bin/python3")
    program = tmp_path / "python3"
    shutil.copy(Path("/usr/bin/python3").resolve(), program)
    words[0] = str(program)
    outcome = run_process(["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", '"$@"; exit $?', "sh", *words])
    code, text = said(outcome)
    what = f"process {name} was found only as this check or what has started it (pid #), which proves nothing"
    assert (code, re.sub("pid [0-9]+", "pid #", text)) == expect(UNKNOWN, f"{what}: name the forwarder's own process")


SCRIPTS = {
    "a script": ("#!/bin/sh\nsleep 60\n:\n", ["{program}"]),
    "a script whose interpreter has options": ("#!/bin/sh -e\nsleep 60\n:\n", ["{program}"]),
    "a program that calls itself otherwise": ("", ["otherwise", "60"]),
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_long_name_behind_another_first_word(kind: str, tmp_path: Path) -> None:
    """The kernel's name of it is awusbmanager-he."""
    text, words = SCRIPTS[kind]
    program = tmp_path / "awusbmanager-headless"
    if text:
        program.write_text(text)
    else:
        shutil.copy("/bin/sleep", program)
    program.chmod(0o755)
    running = subprocess.Popen([word.format(program=program) for word in words], executable=program, start_new_session=True)

    def run(name: str, **more: Any) -> tuple[int, str]:
        return said(run_check("usb_redirector", "--product", "generic", "--process", name, **more))

    try:
        while len(Path(f"/proc/{running.pid}/cmdline").read_bytes().split(b"\0")) < 3:
            time.sleep(0.001)
        assert run("awusbmanager-headless") == expect(OK, "process awusbmanager-headless is running | processes=1;;;0")
        assert run("awusbmanager-headed") == expect(CRITICAL, "process awusbmanager-headed is not running: start it | processes=0;;;0")
        if not text:  # only root may know the program's file
            nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3"]
            what = f"process awusbmanager-headless may be pid {running.pid}, whose name the kernel cuts to awusbmanager-he"
            assert run("awusbmanager-headless", python=nobody) == expect(UNKNOWN, f"{what}: if it is, give --process 'awusbmanager-he'")
            assert run("awusbmanager-he", python=nobody) == expect(OK, "process awusbmanager-he is running | processes=1;;;0")
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


LEADERLESS = """
import ctypes, threading, time
open("/proc/self/comm", "w").write("leaderless")
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).syscall({exit}, 0)
"""


def test_a_process_whose_first_thread_has_ended() -> None:
    """The kernel shows it as a zombie while its other threads work."""
    number = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
    running = subprocess.Popen([sys.executable, "-c", LEADERLESS.format(exit=number)])

    def run() -> tuple[int, str]:
        return said(run_check("usb_redirector", "--product", "generic", "--process", "leaderless"))

    try:
        while ") Z " not in Path(f"/proc/{running.pid}/stat").read_text():
            time.sleep(0.01)
        assert run() == expect(OK, "process leaderless is running | processes=1;;;0")
        running.send_signal(signal.SIGSTOP)
        while not any(") T " in stat.read_text() for stat in Path(f"/proc/{running.pid}/task").glob("*/stat")):
            time.sleep(0.01)
        frozen = f"process leaderless is stopped (frozen, pid {running.pid}): run kill -CONT {running.pid}, or restart it | processes=1;;;0"
        assert run() == expect(CRITICAL, frozen)
    finally:
        running.kill()
        running.wait()


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
    listing = sample("virtualhere-client-state-key-bound-constructed.xml").replace(b'nickname=""', 'nickname="Ключ"'.encode())
    words = ("--product", "virtualhere", *DATED, "--list-output", "-", "--device", "Ключ", "--client", "192.0.2.10")
    code, text = said(run_check("usb_redirector", *words, stdin=listing, env=env))
    assert (code, "key Ключ is in use by " in text) == (OK, True), text


@pytest.mark.parametrize(
    ("mount", "text"),
    [
        pytest.param("mount -o remount,hidepid=1 /proc", "this user may not see all processes (/proc is mounted with hidepid)", id="hidepid=1"),
        pytest.param("mount -o remount,hidepid=2 /proc", "this user may not see all processes (/proc is mounted with hidepid)", id="hidepid=2"),
        pytest.param("mount -t tmpfs none /proc", "there is no /proc here, and in it the processes", id="no /proc"),
    ],
)
def test_a_process_that_cannot_be_seen(mount: str, text: str) -> None:
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"
    with forwarder_daemon("usbsrvd"):
        words = command("usb_redirector", "--product", "generic", "--process", "usbsrvd", python="/usr/bin/python3")
        outcome = run_process(["unshare", "-m", "sh", "-c", f'mount -t proc proc /proc && {mount} && exec {nobody} "$@"', "sh", *words])
        assert said(outcome) == expect(UNKNOWN, f"--process cannot be judged: {text}")


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


RUNNING = "Result=success\nLoadState=loaded\nActiveState=active\nSubState=running\nFreezerState=running\n"


@pytest.mark.parametrize(
    ("make", "state", "text"),
    [
        pytest.param(systemctl(RUNNING), OK, "service ftnlsv3 is running (it only supervises: that alone does not prove that the forwarder works)", id="running"),
        pytest.param(systemctl(RUNNING.replace("=running", "=dead").replace("=active", "=inactive")), CRITICAL,
                     "service ftnlsv3 is frozen: run systemctl thaw ftnlsv3", id="a state of the freezer that is not running"),
        pytest.param(systemctl(RUNNING.replace("=loaded", "=not-found").replace("=active", "=inactive")), UNKNOWN,
                     "there is no service ftnlsv3 on this machine: check --service", id="not found"),
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
        assert tools.calls("systemctl") == [["show", "-p", "LoadState,ActiveState,SubState,Result,FreezerState", "--", "ftnlsv3"]]


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_a_service_that_cannot_be_asked_hides_no_other(names: tuple[str, str], tmp_path: Path) -> None:
    tool = tmp_path / "systemctl"
    tool.write_text("#!/bin/sh\n[ $5 = a ] && echo no bus && exit 1\nprintf 'LoadState=loaded\\nActiveState=failed\\nSubState=failed\\n'\n")
    tool.chmod(0o755)
    words = [word for name in names for word in ("--service", name)]
    outcome = run_check("usb_redirector", "--product", "generic", *words, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert said(outcome) == expect(CRITICAL, "service b is not running (failed, failed): start it and read its journal; "
                                   "service a: systemctl says: no bus; without systemd name its --process")  # fmt: skip


# --- The log --------------------------------------------------------------------------------------------------


class WatchedLog:
    """A forwarder's log and the check that watches it."""

    def __init__(self, folder: Path) -> None:
        self.path, self.state = folder / "tusbserver.log", folder / "state"
        self.state.mkdir()

    def add(self, *lines: str) -> None:
        """The forwarder writes."""
        with self.path.open("a") as log:
            log.writelines(f"{line}\n" for line in lines)

    def look(self, *arguments: str, **more: Any) -> tuple[int, str]:
        """One run. Nothing is held: each alarm is one for new lines."""
        words = ("--log", str(self.path), "--log-pattern", "license|denied", "--state-dir", str(self.state), "--log-hold", "0")
        return said(run_check("usb_redirector", "--product", "generic", *words, *arguments, **more))

    def alarm(self, line: str, when: str = "") -> tuple[int, str]:
        return expect(CRITICAL, f"log {self.path} has a matching line{when}: {line}")

    def alarm_and_lost(self, line: str) -> tuple[int, str]:
        return CRITICAL, f"{self.alarm(line)[1].rstrip()}; {self.lost[1].partition(' - ')[2]}"

    @property
    def lost(self) -> tuple[int, str]:
        return expect(UNKNOWN, f"log {self.path} was rotated or cut before its end was read: the lines in between were not searched")

    @property
    def quiet(self) -> tuple[int, str]:
        return expect(OK, f"no new matching line in log {self.path}")


@pytest.fixture
def log(tmp_path: Path) -> WatchedLog:
    watched = WatchedLog(tmp_path)
    watched.add("started")
    return watched


def test_log_new_lines_alarm_once(log: WatchedLog) -> None:
    assert log.look() == log.quiet
    log.add("You need to purchase a license | for\x1b[31m your Server", "fine")
    assert log.look() == log.alarm("You need to purchase a license / for [31m your Server")
    assert log.look() == log.quiet
    log.add("fine again")
    assert log.look() == log.quiet


@pytest.mark.parametrize("encoding", ["utf-8", "cp1251"])
@pytest.mark.parametrize(
    ("from_ini", "saved", "env", "found"),
    [
        pytest.param(False, "utf-8", {"LC_ALL": "C.UTF-8"}, True, id="locale of UTF-8"),
        pytest.param(False, "utf-8", {"LC_ALL": "C", "PYTHONUTF8": "0"}, True, id="locale of ASCII"),
        pytest.param(False, "cp1251", {"LC_ALL": "C.UTF-8"}, False, id="argument in cp1251"),
        pytest.param(True, "utf-8", {"LC_ALL": "C.UTF-8"}, True, id="ini file in UTF-8"),
        pytest.param(True, "utf-8", {"LC_ALL": "C", "PYTHONUTF8": "0"}, True, id="ini file in UTF-8 and a locale of ASCII"),
        pytest.param(True, "cp1251", {"LC_ALL": "C.UTF-8"}, False, id="ini file of Windows"),
        pytest.param(True, "cp866", {"LC_ALL": "C", "PYTHONUTF8": "0"}, False, id="ini file of its console"),
    ],
)  # fmt: skip
def test_log_a_pattern_in_russian(log: WatchedLog, encoding: str, from_ini: bool, saved: str, env: dict[str, str], found: bool) -> None:
    """It finds its line or is refused: one that can find nothing would be OK for ever."""
    lines = f"[russian]\nproduct=generic\nlog={log.path}\nlog-pattern=истекла\nstate-dir={log.state}\n"
    ini = log.path.with_name("a.ini")
    ini.write_bytes(lines.encode(saved))
    words = [line.encode(saved).decode("utf-8", "surrogateescape") for line in lines.splitlines()[1:]]
    words = [f"--extra-opts=russian@{ini}"] if from_ini else [f"--{word}" for word in words]

    def look() -> tuple[int, str]:
        return said(run_check("usb_redirector", *words, env={"PYTHONIOENCODING": "utf-8", **env}))

    if found:
        assert look() == log.quiet
        log.path.write_bytes(log.path.read_bytes() + "Лицензия истекла\n".encode(encoding))
        assert look() == log.alarm("Лицензия истекла")
    else:
        code, text = look()
        assert (code, re.sub(r"\?+", "?", text)) == expect(UNKNOWN, "argument --log-pattern: '?' is not UTF-8; save the ini file, or the command's, as UTF-8; "
                                                            "check_usb_redirector --help lists the options")  # fmt: skip


@pytest.mark.parametrize(
    ("line", "minutes", "state"),
    [
        pytest.param("%Y-%m-%d %H:%M:%S access denied", 1, CRITICAL, id="a minute ago"),
        pytest.param("[%Y/%m/%dT%H:%M] access denied", 30, CRITICAL, id="half an hour ago"),
        pytest.param("%d.%m.%Y %H:%M:%S access denied until 2031-01-01 00:00", 1, CRITICAL, id="Russian, and a second date"),
        pytest.param("%b %d %H:%M:%S box usbsrvd: access denied", 1, CRITICAL, id="syslog"),
        pytest.param("%Y-%m-%d %H:%M:%S access denied", 300, UNKNOWN, id="five hours ago, or another time zone"),
        pytest.param("access denied", 0, UNKNOWN, id="no date"),
        pytest.param("%Y-%m-%d access denied", 0, UNKNOWN, id="no time of day"),
        pytest.param("2026-13-45 12:00 access denied", 0, UNKNOWN, id="no date of the calendar"),
        pytest.param("%Y-%m-%d %H:%M:%S access denied", 3000, OK, id="two days ago"),
        pytest.param("2024-01-01 12:00:00 access denied", 0, OK, id="years ago"),
    ],
)
def test_log_first_look_at_a_log_that_is_written_to(log: WatchedLog, line: str, minutes: int, state: int) -> None:
    """Lines of long ago are no news, though the log was written a moment ago."""
    line = (datetime.datetime.now() - datetime.timedelta(minutes=minutes)).strftime(line)
    log.add(line, "fine")
    doubt = f"at the first look, log {log.path} has a matching line that does not tell its age: {line}; if it is news, act on it; from now on new lines alarm"
    wanted = {CRITICAL: log.alarm(line), UNKNOWN: expect(UNKNOWN, doubt), OK: log.quiet}
    assert log.look("--log-hold", "60") == wanted[state]
    assert log.look("--log-hold", "60") == (log.alarm(line, " (0 minutes ago)") if state == CRITICAL else log.quiet)
    log.add("access denied")
    assert log.look("--log-hold", "60") == log.alarm("access denied")


def test_log_first_look_at_a_line_without_end_and_without_date(log: WatchedLog) -> None:
    with log.path.open("a") as file:
        file.write("access denied")
    assert log.look("--log-hold", "60")[0] == UNKNOWN
    log.add("")
    assert log.look("--log-hold", "60") == log.quiet, "its end is no news"


def test_log_first_look_at_an_old_log(log: WatchedLog) -> None:
    log.add("access denied")
    os.utime(log.path, (0, 0))
    assert log.look("--log-hold", "60") == log.quiet, "what was written long ago is no news"


def test_log_match_is_held(log: WatchedLog) -> None:
    assert log.look("--log-hold", "60") == log.quiet
    log.add("access denied")
    assert log.look("--log-hold", "60") == log.alarm("access denied")
    assert log.look("--log-hold", "60") == log.alarm("access denied", " (0 minutes ago)")
    assert log.look("--log-hold", "60") == log.alarm("access denied", " (0 minutes ago)")
    memory = next(log.state.iterdir())
    fields = json.loads(memory.read_text())
    memory.write_text(json.dumps([*fields[:5], time.time() - 3601, *fields[6:]]))
    assert log.look("--log-hold", "60") == log.quiet
    memory.write_text(json.dumps([*fields[:5], time.time() + 1e6, *fields[6:]]))
    assert log.look("--log-hold", "60") == log.alarm("access denied", " (0 minutes ago)"), "the clock was set back"


def test_log_match_is_held_while_the_log_is_away(log: WatchedLog) -> None:
    """logrotate without `create`, or between its two steps."""
    assert log.look("--log-hold", "60") == log.quiet
    log.add("access denied")
    assert log.look("--log-hold", "60") == log.alarm("access denied")
    log.path.rename(f"{log.path}.1")
    held, gone = log.alarm("access denied", " (0 minutes ago)")[1].rstrip("\n"), f"log {log.path} cannot be read: No such file or directory"
    assert log.look("--log-hold", "60") == (CRITICAL, f"{held}; {gone}\n")
    log.path.mkdir()
    assert log.look("--log-hold", "60") == (CRITICAL, f"{held}; log {log.path} cannot be read: Is a directory\n")
    log.path.rmdir()
    log.add("fine")
    assert log.look("--log-hold", "60") == (CRITICAL, f"{held}\n"), "the rotated one was found"


def test_log_what_is_missed_is_told_beside_a_held_match(log: WatchedLog) -> None:
    assert log.look("--log-hold", "60") == log.quiet
    log.add("access denied")
    assert log.look("--log-hold", "60") == log.alarm("access denied")
    log.path.unlink()
    log.add("other")
    held = log.alarm("access denied", " (0 minutes ago)")
    missed = log.lost[1].partition(" - ")[2]
    assert log.look("--log-hold", "60") == (CRITICAL, f"{held[1].rstrip()}; {missed}")
    assert log.look("--log-hold", "60") == held


def packed(log: WatchedLog) -> None:
    """logrotate with `compress` and without `delaycompress`."""
    log.path.with_suffix(".log.1.gz").write_bytes(gzip.compress(log.path.read_bytes()))
    log.path.unlink()


def packed_and_cut(log: WatchedLog) -> None:
    """The same while gzip still writes."""
    log.path.with_suffix(".log.1.gz").write_bytes(gzip.compress(log.path.read_bytes())[:-12])
    log.path.unlink()


def moved_to(name: str) -> Callable[[WatchedLog], None]:
    """A rotation that gives the log this name."""

    def move(log: WatchedLog) -> None:
        target = log.path.parent / name
        target.parent.mkdir(exist_ok=True)
        log.path.rename(target)

    return move


def copied_and_cut(log: WatchedLog) -> None:
    """logrotate with `copytruncate`."""
    log.path.with_suffix(".log.1").write_bytes(log.path.read_bytes())
    log.path.write_text("")


def rotated_twice(log: WatchedLog) -> None:
    """Two rotations between two runs."""
    moved_to("tusbserver.log.2")(log)
    log.add("fine, but nobody has read it")
    moved_to("tusbserver.log.1")(log)


@pytest.mark.parametrize(
    ("rotate", "found"),
    [
        pytest.param(moved_to("tusbserver.log.1"), True, id="numbered"),
        pytest.param(moved_to("tusbserver.1.log"), True, id="numbered before the extension"),
        pytest.param(moved_to("tusbserver-20261124.log"), True, id="dated before the extension"),
        pytest.param(moved_to("tusbserver.log-20261124"), True, id="dated"),
        pytest.param(moved_to("old/tusbserver.log.1"), True, id="in a folder of old logs"),
        pytest.param(packed, True, id="packed"),
        pytest.param(copied_and_cut, True, id="copied and cut"),
        pytest.param(rotated_twice, True, id="twice"),
        pytest.param(packed_and_cut, False, id="packed half"),
        pytest.param(moved_to("a.tusbserver.log"), False, id="a name nobody expects"),
        pytest.param(lambda log: log.path.unlink(), False, id="removed"),
    ],
)
def test_log_rotated(log: WatchedLog, rotate: Callable[[WatchedLog], object], found: bool) -> None:
    """Unread lines are found under the log's next name, or what was missed is said once."""
    assert log.look() == log.quiet
    log.add("access denied before the rotation")
    rotate(log)
    log.add("new log")
    lost = f"; {log.lost[1].partition(' - ')[2]}" if rotate is rotated_twice else "\n"
    alarm = log.alarm("access denied before the rotation")[1].rstrip("\n") + lost
    assert log.look() == ((CRITICAL, alarm) if found else log.lost)
    assert log.look() == log.quiet


def test_log_rotated_twice_without_a_match(log: WatchedLog) -> None:
    assert log.look() == log.quiet
    rotated_twice(log)
    log.add("new log")
    assert log.look() == log.lost, "the log between the two was read by nobody"
    assert log.look() == log.quiet


def test_log_that_is_a_link_to_a_dated_one(log: WatchedLog) -> None:
    log.path.rename(log.path.parent / "tusb-20261123.txt")
    log.path.symlink_to("tusb-20261123.txt")
    assert log.look() == log.quiet
    log.add("access denied at midnight")
    log.path.unlink()
    log.path.symlink_to("tusb-20261124.txt")
    log.add("new log")
    assert log.look() == log.alarm("access denied at midnight")
    assert log.look() == log.quiet


def test_log_rewritten_in_place(log: WatchedLog) -> None:
    log.path.write_text("heartbeat\n" * 100)
    assert log.look() == log.quiet
    log.path.write_text("denied ok\n" * 5 + "heartbeat\n" * 95)
    assert log.look() == log.alarm_and_lost("denied ok"), "as long as before, and the same at its end"
    log.path.write_text("fine 1234\n" * 5 + "heartbeat\n" * 95)
    assert log.look() == log.lost


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_log_in_utf_16(log: WatchedLog, encoding: str) -> None:
    def write(text: str) -> None:
        with log.path.open("ab") as file:
            file.write(text.encode(encoding))

    log.path.write_bytes(b"")
    write("\ufeffЗапуск службы\r\n")
    words = ("--log", str(log.path), "--log-pattern", "^Лицензия истекла$", "--state-dir", str(log.state), "--log-hold", "0")

    def look() -> tuple[int, str]:
        return said(run_check("usb_redirector", "--product", "generic", *words))

    assert look() == log.quiet
    write("\u0a0a\u0a00\r\n")
    assert look() == log.quiet
    write("Лицензия ист")
    assert look() == log.quiet
    write("екла\r\nдальше\r\n")
    assert look() == log.alarm("Лицензия истекла")
    write("Лицензия истекла\r\n")
    log.path.rename(f"{log.path}.1")
    write("\ufeffновый\r\n")
    assert look() == log.alarm("Лицензия истекла")
    assert look() == log.quiet


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("begin", [pytest.param(b"", id="all of it"), pytest.param(b"start\n", id="behind a line of cmd"), pytest.param(b"\0" * 40, id="behind a hole")])
def test_log_in_utf_16_without_a_mark(log: WatchedLog, encoding: str, begin: bytes) -> None:
    """As it goes on when it was copied and cut; cmd and PowerShell write into one log; a writer keeps its place."""
    words = ("--log", str(log.path), "--log-pattern", "^Лицензия истекла$", "--state-dir", str(log.state), "--log-hold", "0")
    log.path.write_bytes(begin + "Пуск\r\n".encode(encoding))
    for line in ("Лицензия истекла", "Лицензия ещё не истекла", "Лицензия истекла"):
        with log.path.open("ab") as file:
            said(run_check("usb_redirector", "--product", "generic", *words))
            file.write(f"{line}\r\nдальше\n".encode(encoding))
        found = log.quiet if "не" in line else log.alarm(line)
        assert said(run_check("usb_redirector", "--product", "generic", *words)) == found


def test_log_a_character_cut_by_its_writer(log: WatchedLog) -> None:
    words = ("--log", str(log.path), "--log-pattern", "^Лицензия истекла", "--state-dir", str(log.state), "--log-hold", "0")
    assert said(run_check("usb_redirector", "--product", "generic", *words)) == log.quiet
    log.path.write_bytes(log.path.read_bytes() + "Лицензия истекла, к".encode()[:-1] + b"\n")
    assert said(run_check("usb_redirector", "--product", "generic", *words)) == log.alarm("Лицензия истекла, \ufffd")


def test_log_a_last_line_without_end_is_news_once(log: WatchedLog) -> None:
    def an_hour_ago() -> None:
        memory = next(log.state.iterdir())
        fields = json.loads(memory.read_text())
        memory.write_text(json.dumps([*fields[:5], time.time() - 3601, *fields[6:]]))

    assert log.look("--log-hold", "60") == log.quiet
    with log.path.open("a") as file:
        file.write("access denied")
    assert log.look("--log-hold", "60") == log.alarm("access denied")
    assert log.look("--log-hold", "60") == log.alarm("access denied", " (0 minutes ago)")
    an_hour_ago()
    assert log.look("--log-hold", "60") == log.quiet
    log.add("")
    assert log.look("--log-hold", "60") == log.quiet, "its end is no news either"
    log.add("access denied")
    assert log.look("--log-hold", "60") == log.alarm("access denied"), "the same words, but another line"


@pytest.mark.parametrize("last", ["moved", "copied"])
def test_log_rotated_among_many_to_one_that_begins_alike(log: WatchedLog, last: str) -> None:
    """Sixty logs of other days with the same first line; only the unread end of yesterday's is new."""
    for day in range(1, 61):
        other = log.path.with_name(f"tusbserver.log-2026{day:04}")
        other.write_text("started\naccess denied long ago\n")
        os.utime(other, (day, day))
    assert log.look() == log.quiet
    log.add("access denied before the rotation")
    yesterday = log.path.with_name("tusbserver.log-20261123")
    if last == "moved":
        log.path.rename(yesterday)
        log.add("started", "fine")
    else:
        yesterday.write_bytes(log.path.read_bytes())
        log.path.write_text("another beginning\n")
    assert log.look() == log.alarm("access denied before the rotation")
    assert log.look() == log.quiet


def test_log_rotated_and_truncated(log: WatchedLog) -> None:
    log.add("x" * 500)
    assert log.look() == log.quiet
    log.path.write_text("license\n")
    assert log.look() == log.alarm_and_lost("license"), "shorter than what was read"
    log.path.write_text("denied\n" + "y" * 2000 + "\n")
    assert log.look() == log.alarm_and_lost("denied"), "longer, but another text"
    log.path.unlink()
    assert log.look() == expect(UNKNOWN, f"log {log.path} cannot be read: No such file or directory")
    log.path.write_text("license again\n")
    assert log.look() == log.alarm_and_lost("license again")


def test_log_unfinished_and_endless_lines(log: WatchedLog) -> None:
    assert log.look() == log.quiet
    with log.path.open("a") as file:
        file.write("a lic")
    assert log.look() == log.quiet
    with log.path.open("a") as file:
        file.write("ense")
    assert log.look() == log.alarm("a license")
    with log.path.open("a") as file:
        file.write("z" * 300_000)
    assert log.look() == log.alarm("a license" + "z" * 188 + "..."), "its line still grows"
    assert log.look() == log.quiet


def test_log_that_grew_too_fast(log: WatchedLog) -> None:
    assert log.look() == log.quiet
    with log.path.open("a") as file:
        file.write("license\n" + f"{'fine ' * 200}\n" * (17 << 10))
    assert log.look() == expect(UNKNOWN, f"log {log.path} grew faster than it is read: its older new lines were not searched")
    assert log.look() == log.quiet


def test_log_that_takes_longer_than_a_run(log: WatchedLog) -> None:
    """Each run goes on where the last one had to stop, and says so until the end."""
    words = ("--log", str(log.path), "--log-pattern", ".*license.*expired.*", "--state-dir", str(log.state), "--log-hold", "0", "-t", "2")
    assert said(run_check("usb_redirector", "--product", "generic", *words)) == log.quiet
    line = ("работа " * 20 + "license\n").encode("cp1251")
    log.path.write_bytes(log.path.read_bytes() + line * 70_000 + b"the license has expired\n")
    unfinished = expect(UNKNOWN, f"log {log.path} is not yet searched to its end, there the next run goes on: raise -t, or give a simpler --log-pattern")
    said_before = []
    for _ in range(60):
        said_before.append(said(run_check("usb_redirector", "--product", "generic", *words)))
        if said_before[-1] != unfinished:
            break
    assert said_before[-1] == log.alarm("the license has expired")
    assert len(said_before) > 1
    assert said(run_check("usb_redirector", "--product", "generic", *words)) == log.quiet


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        pytest.param(lambda w: (w.path.unlink(), w.path.mkdir()), "log {log} cannot be read: Is a directory", id="directory"),
        pytest.param(lambda w: [w.path.unlink(), make_fifo(w.path)], "{log} is not a regular file", id="FIFO"),
        pytest.param(lambda w: (w.path.unlink(), w.path.symlink_to("/dev/zero")), "{log} is not a regular file", id="endless device"),
        pytest.param(lambda w: w.state.rmdir(), "how far log {log} was read cannot be remembered in {file}: No such file or directory; give a --state-dir that can be written", id="no state folder"),
        pytest.param(lambda w: (w.state.rmdir(), w.state.symlink_to("/dev/full")), "state file {file} cannot be read: Not a directory", id="state is no folder"),
        pytest.param(lambda w: (w.state.rmdir(), w.state.symlink_to("/proc")), "how far log {log} was read cannot be remembered in {file}: "
                     "No such file or directory; give a --state-dir that can be written", id="state folder that takes no file"),
    ],
)  # fmt: skip
def test_log_that_cannot_be_watched(log: WatchedLog, spoil: Callable[[WatchedLog], object], text: str) -> None:
    assert log.look() == log.quiet
    file = next(log.state.iterdir())
    file.unlink()
    spoil(log)
    assert log.look() == expect(UNKNOWN, text.replace("{log}", str(log.path)).replace("{file}", str(file)))


def test_log_state_files_of_others(log: WatchedLog, tmp_path: Path) -> None:
    assert log.look() == log.quiet
    file = next(log.state.iterdir())
    assert file.stat().st_mode & 0o777 == 0o600
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert log.look() == expect(UNKNOWN, f"state file {file} cannot be read: Too many levels of symbolic links")
    file.unlink()
    file.write_text("[garbage")
    log.add("license")
    assert log.look() == log.alarm("license"), "a broken memory reads everything again"


def test_log_state_in_the_users_own_folder(log: WatchedLog, tmp_path: Path) -> None:
    words = ("--product", "generic", "--log", str(log.path), "--log-pattern", "license")
    assert said(run_check("usb_redirector", *words, env={"XDG_STATE_HOME": str(tmp_path / "xdg")})) == log.quiet
    assert [path.name for path in (tmp_path / "xdg").iterdir()] == ["check_usb_redirector"]
    assert (tmp_path / "xdg/check_usb_redirector").stat().st_mode & 0o777 == 0o700
    assert said(run_check("usb_redirector", *words, env={"XDG_STATE_HOME": "", "HOME": str(tmp_path)})) == log.quiet
    assert len(list((tmp_path / ".local/state/check_usb_redirector").iterdir())) == 1


@pytest.mark.parametrize(
    "env",
    [pytest.param([], id="neither home nor name"), pytest.param(["HOME=here"], id="a home that is relative"),
     pytest.param(["XDG_STATE_HOME=here"], id="an XDG folder that is relative")],
)  # fmt: skip
def test_log_state_of_a_user_without_a_home(env: list[str], log: WatchedLog, tmp_path: Path) -> None:
    """One memory, whatever the working directory, and nothing is left there."""
    user = 54321 + len("".join(env))
    kept = Path(f"/var/tmp/check_usb_redirector-{user}")
    program = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "env", "-u", "HOME", "-u", "XDG_STATE_HOME", *env, "/usr/bin/python3", "-B"]
    logs = Path(tempfile.mkdtemp(prefix="kodeks-open-"))
    logs.chmod(0o755)
    path = logs / "a.log"
    path.write_text("started\n")
    words = ("--product", "generic", "--log", str(path), "--log-pattern", "denied", "--log-hold", "0")
    try:
        for number in range(2):
            folder = logs / f"place{number}"
            folder.mkdir()
            folder.chmod(0o777)
            outcome = run_check("usb_redirector", *words, python=program, cwd=folder)
            assert said(outcome) == (expect(CRITICAL, f"log {path} has a matching line: denied") if number else expect(OK, f"no new matching line in log {path}"))
            assert list(folder.iterdir()) == []
            path.write_text("started\ndenied\n")
        assert len(list(kept.iterdir())) == 1
    finally:
        shutil.rmtree(kept, ignore_errors=True)
        shutil.rmtree(logs)


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        pytest.param("a" * 40 + "b", "(a+)+$", id="one attempt without end"),
        pytest.param("a" * 400_000, r"\w+ expired", id="many short attempts"),
    ],
)
def test_log_a_pattern_that_never_ends(log: WatchedLog, line: str, pattern: str) -> None:
    log.add(line)
    outcome = run_check("usb_redirector", "--product", "generic", "--log", str(log.path), "--log-pattern", pattern,
                        "--state-dir", str(log.state), "-t", "1:critical")  # fmt: skip
    assert said(outcome) == expect(CRITICAL, f"timed out after 1 s while searching the log {log.path}")
    assert outcome.seconds < 1 + PUNCTUAL
