"""The lab's USB side is what it claims to be: real programs take the sandbox, the server and the stand-ins for real."""

from __future__ import annotations

import fnmatch
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
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
from lab.libusb_worlds import libusb_missing, libusb_refuses, libusb_too_old
from lab.run_check import Outcome, run_process
from lab.usb_bus import AS_NOBODY, CONTROLLERS, UsbBus, VhciPort
from lab.usbip_server import SenseLockKey, UsbIpServer, UsbIpServerProcess

PYTHONS = ["/usr/bin/python3", sys.executable]  # Debian's pyusb 1.2 and the newest one
KEY = "0471:485d"

ENUMERATE = """
import usb.core
for d in usb.core.find(find_all=True):
    if d.idVendor != 0x1d6b:
        print("%04x:%04x %d-%s" % (d.idVendor, d.idProduct, d.bus, ".".join(map(str, d.port_numbers))))
"""

LOAD = """
import ctypes, ctypes.util, usb.core, usb.backend.libusb1 as libusb1
try:
    count = len(list(usb.core.find(find_all=True)))
except usb.core.NoBackendError:
    count = "no backend"
lib = libusb1._lib
print(ctypes.util.find_library("usb-1.0"), lib is not None, hasattr(lib, "libusb_get_device_list"), count)
"""

OPEN = """
import sys, usb.core
try:
    usb.core.find(idVendor=0x0471).get_active_configuration()
except usb.core.USBError as error:
    print(error.errno)
"""


@pytest.fixture
def bus() -> Iterator[UsbBus]:
    with UsbBus() as sandbox:
        yield sandbox


def on(bus: UsbBus, *command: str, prefix: list[str] | None = None) -> Outcome:
    """Run a program on the sandbox's bus."""
    return run_process([*(prefix or []), *command], env=bus.env(), patience=30)


def lines(outcome: Outcome) -> list[str]:
    assert outcome.code == 0, outcome
    assert outcome.stderr == b""
    return outcome.text.splitlines()


# --- The bus ------------------------------------------------------------------------------------------------------


def furnish(bus: UsbBus) -> None:
    """A key on every kind of controller, one behind a hub, and things that are no keys."""
    for where in CONTROLLERS:
        bus.add_key(where)
    bus.add_mouse()
    bus.add_storage()
    bus.add_key(port=f"{bus.add_hub(port='1-4')}.3", usb_id="1bc0:0051")


FURNISHED = [
    "046d:c077 1-2", "0471:485d 1-1", "0471:485d 2-1", "0471:485d 3-1", "0471:485d 4-1", "0471:485d 6-1", "0471:485d 7-1",
    "0471:485d 8-1", "0471:485d 9-1", "05e3:0608 1-4", "0781:5567 1-3", "1bc0:0051 1-4.3",
]  # fmt: skip


@pytest.mark.parametrize("python", PYTHONS)
def test_pyusb_lists_everything_and_opens_nothing(bus: UsbBus, python: str) -> None:
    furnish(bus)
    assert sorted(lines(on(bus, python, "-c", ENUMERATE))) == FURNISHED
    assert bus.opened_nodes() == []


def test_lsusb_lists_the_same(bus: UsbBus) -> None:
    furnish(bus)
    ids = re.findall(r"ID (?!1d6b)(\S+)", "\n".join(lines(on(bus, "lsusb"))))
    assert sorted(ids) == sorted(line.split()[0] for line in FURNISHED)


def test_lsusb_shows_each_driver(bus: UsbBus) -> None:
    for where in CONTROLLERS:
        bus.add_key(where)
    drivers = set(re.findall(r"Class=root_hub, Driver=([^/]*)/", "\n".join(lines(on(bus, "lsusb", "-t")))))
    assert drivers == {controller.driver or "" for controller in CONTROLLERS.values()}


def test_usbip_takes_keys_on_vhci_for_imported(bus: UsbBus) -> None:
    bus.add_key("local", "1-2")
    bus.add_key("usbip", "2-1")
    assert re.findall(r"busid (\S+) \((\S+)\)", "\n".join(lines(on(bus, "usbip", "list", "-l")))) == [("1-2", KEY)]


def test_debians_vhci_brings_sixteen_root_hubs(bus: UsbBus) -> None:
    bus.load_vhci()
    assert len(lines(on(bus, "lsusb"))) == 17
    assert lines(on(bus, sys.executable, "-c", ENUMERATE)) == []


@pytest.mark.parametrize("machine", [{"present": False}, {"controllers": ()}], ids=["no bus", "no controller"])
def test_no_usb_at_all(machine: dict[str, Any]) -> None:
    with UsbBus(**machine) as bus:
        assert on(bus, "lsusb").stdout == b""
        for python in PYTHONS:
            assert lines(on(bus, python, "-c", ENUMERATE)) == []


def test_unplugging_while_a_program_runs(bus: UsbBus) -> None:
    """What hangs behind the hub goes with it; a fresh listing knows, and so does a program that looks again itself."""
    bus.add_hub(port="1-4")
    bus.add_key(port="1-4.1")
    bus.add_key(port="1-2")
    look = "import os, sys\nfor _ in sys.stdin: print(sorted(os.listdir('/sys/bus/usb/devices')), flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", look], env={**os.environ, **bus.env()}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdin and program.stdout
        program.stdin.write("\n")
        program.stdin.flush()
        assert "'1-4.1'" in program.stdout.readline()
        node = bus.node("1-4.1")
        bus.remove("1-4")
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "['1-0:1.0', '1-2', '1-2:1.0', 'usb1']\n"
        program.communicate("")
    assert not node.exists()
    assert lines(on(bus, sys.executable, "-c", ENUMERATE)) == [f"{KEY} 1-2"]


@pytest.mark.parametrize("text", ["9700000000001234", b"\xff\xfe\x00", "a|b;c", "two\nlines", "\x1b[2J", ""])
def test_strings_reach_sysfs_as_they_are(bus: UsbBus, text: str | bytes) -> None:
    bus.add_key(port="1-2", serial=text)
    wanted = (text if isinstance(text, bytes) else text.encode()) + b"\n"
    assert on(bus, "cat", "/sys/bus/usb/devices/1-2/serial").stdout == wanted


def test_a_key_without_a_serial_has_no_such_attribute(bus: UsbBus) -> None:
    bus.add_key(port="1-2")
    assert on(bus, "cat", "/sys/bus/usb/devices/1-2/serial").code == 1


def test_an_attribute_that_hangs(bus: UsbBus) -> None:
    bus.add_key(port="1-2", serial="1")
    bus.hang_attribute("1-2", "serial")
    assert on(bus, "timeout", "0.3", "cat", "/sys/bus/usb/devices/1-2/serial").code == 124


def test_opening_a_node_is_seen_and_punished(bus: UsbBus) -> None:
    bus.add_mouse()
    bus.add_key(port="1-2")
    outcome = on(bus, sys.executable, "-c", OPEN)
    assert (outcome.code, bus.opened_nodes()) == (1, ["1-2"])
    assert b"libumockdev-preload" in outcome.stderr


def test_opening_a_frozen_device_hangs(bus: UsbBus) -> None:
    bus.add_key(port="1-2", node="frozen")
    assert lines(on(bus, sys.executable, "-c", ENUMERATE)) == [f"{KEY} 1-2"]
    assert bus.opened_nodes() == []
    assert on(bus, "timeout", "-s", "KILL", "0.5", sys.executable, "-c", OPEN).code == -signal.SIGKILL
    assert bus.opened_nodes() == ["1-2"]


@pytest.mark.parametrize(("node", "errno"), [("absent", 19), ("unreadable", 13)])
@pytest.mark.parametrize("python", PYTHONS)
def test_nodes_that_cannot_be_opened(bus: UsbBus, python: str, node: str, errno: int) -> None:
    """libusb makes "no such device" of a node that is absent."""
    bus.add_key(port="1-2", node=node)
    assert lines(on(bus, python, "-c", OPEN, prefix=AS_NOBODY)) == [str(errno)]
    assert bus.opened_nodes() == []


@pytest.mark.parametrize(
    ("where", "port", "complaint"),
    [("local", "1-2", "taken"), ("usbip", "1-3", "bus 1 is local"), ("local", "1-3.1", "1-3")],
    ids=["port taken", "wrong controller", "no hub there"],
)
def test_impossible_places(bus: UsbBus, where: str, port: str, complaint: str) -> None:
    bus.add_key(port="1-2")
    with pytest.raises((ValueError, FileNotFoundError), match=complaint):
        bus.add_key(where, port)


# --- vhci_hcd -----------------------------------------------------------------------------------------------------


def test_usbip_port_names_the_server(bus: UsbBus) -> None:
    bus.add_key("usbip", "3-1", remote="192.0.2.20 3240 1-2")
    assert on(bus, "usbip", "port", prefix=bus.with_run()).stdout == sample("usbip-port-key.txt")


def test_a_dropped_port_keeps_its_record(bus: UsbBus) -> None:
    bus.add_key("usbip", "3-1", remote="192.0.2.20 3240 1-2")
    bus.remove("3-1")
    assert on(bus, "usbip", "port", prefix=bus.with_run()).stdout == sample("usbip-port-none-constructed.txt")
    assert lines(on(bus, "cat", "/var/run/vhci_hcd/port0", prefix=bus.with_run())) == ["192.0.2.20 3240 1-2"]


def test_the_status_file_has_the_kernels_form(bus: UsbBus) -> None:
    bus.load_vhci(2)
    bus.vhci_port(0, VhciPort(6, 2, 0x00040002, 3, "1-1"))
    bus.vhci_port(45, VhciPort(7))
    recorded = sample("vhci-status.txt").decode().splitlines()
    home = "/sys/devices/platform/vhci_hcd.0"
    assert lines(on(bus, "cat", f"{home}/status"))[:3] == recorded
    assert lines(on(bus, "cat", f"{home}/status.1"))[16] == "ss  0045 007 000 00000000 000000 0-0"
    assert lines(on(bus, "cat", f"{home}/nports")) == ["60"]


def test_the_real_usbip_attaches_a_key_of_the_server(bus: UsbBus) -> None:
    """usbip asks the server for the key and hands the connection to vhci: port 0, its socket, device 1/4, full speed."""
    bus.load_vhci(1)
    with UsbIpServer() as server:
        attach = ["usbip", "--tcp-port", str(server.port), "attach", "-r", server.host, "-b", "1-2"]
        assert on(bus, *attach, prefix=bus.with_run()).code == 0
        assert server.requests == ["import 1-2"]
    assert re.fullmatch(r"0 \d+ 65540 2", (bus.sys / "devices/platform/vhci_hcd.0/attach").read_text())
    assert lines(on(bus, "cat", "/var/run/vhci_hcd/port0", prefix=bus.with_run())) == [f"127.0.0.1 {server.port} 1-2"]


# --- Machines without a usable libusb -----------------------------------------------------------------------------


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("world", "seen"),
    [
        (None, "libusb-1.0.so.0 True True 2"),
        (libusb_missing, "None False False no backend"),
        (libusb_refuses, "libusb-1.0.so.0 True True no backend"),
        (libusb_too_old, "libusb-1.0.so.0 True False no backend"),
    ],
    ids=["sound", "missing", "refuses", "too old"],
)
def test_libusb_worlds(
    bus: UsbBus, tmp_path: Path, python: str, world: Callable[[Path], dict[str, str]] | None, seen: str
) -> None:
    bus.add_key()
    environment = bus.env(world(tmp_path)) if world else bus.env()
    assert lines(run_process([python, "-c", LOAD], env=environment)) == [seen]


# --- The USB/IP server --------------------------------------------------------------------------------------------


def offered(port: int, seconds: int = 20) -> list[tuple[str, str]] | None:
    """What the real usbip lists; None when it gets no answer within so many seconds."""
    outcome = run_process(["timeout", str(seconds), "usbip", "--tcp-port", str(port), "list", "-r", "127.0.0.1"], patience=30)
    if outcome.code == 124:
        return None
    return re.findall(r"^ +(\d+-[\d.]+): .* \((\S+)\)$", outcome.text, re.M)


TWO = [("1-2", KEY), ("1-7", "1bc0:0051")]


def test_usbip_lists_what_the_server_exports() -> None:
    with UsbIpServer([SenseLockKey(), SenseLockKey.parse("1bc0:0051:97:1-7:Elite5: new")]) as server:
        assert offered(server.port) == TWO
        server.occupy("1-2")
        assert offered(server.port) == TWO[1:]
        server.release("1-2")
        server.expire()
        assert offered(server.port) == []
        server.renew()
        assert offered(server.port) == TWO
        server.freeze()
        assert offered(server.port, 1) is None
        server.thaw()
        assert offered(server.port) == TWO
        assert server.requests == ["devlist"] * 6


def test_the_server_as_a_process_obeys_signals() -> None:
    with UsbIpServerProcess(KEY, "1bc0:0051::1-7") as server:
        assert offered(server.port) == TWO
        server.expire()
        assert offered(server.port) == []
        server.renew()
        server.drop()
        assert offered(server.port) == TWO
        server.freeze()
        assert offered(server.port, 1) is None
        server.thaw()
        assert offered(server.port) == TWO
    assert not psutil.pid_exists(server.pid)


class ImportedKey:
    """The client's half of an import, as the kernel's vhci_hcd speaks it."""

    def __init__(self, server: UsbIpServer, busid: str) -> None:
        self.socket = socket.create_connection((server.host, server.port), 5)
        self.socket.sendall(struct.pack(">HHI32s", 0x0111, 0x8003, 0, busid.encode()))
        self.status = struct.unpack(">HHI", self.receive(8))[2]
        self.record = self.receive(0x138) if self.status == 0 else b""

    def control_in(self, setup: str, length: int) -> tuple[int, bytes]:
        """Submit a control transfer on endpoint 0 and return its status and data."""
        head = struct.pack(">IIIIIIIIII", 1, 7, 0x00010004, 1, 0, 0, length, 0, 0, 0)
        self.socket.sendall(head + bytes.fromhex(setup))
        command, sequence, *_, status, actual = struct.unpack(">IIIIIiI", self.receive(48)[:28])
        assert (command, sequence) == (3, 7)
        return status, self.receive(actual)

    def receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return data


def test_an_imported_key_answers_as_a_device() -> None:
    with UsbIpServer([SenseLockKey(serial="97")]) as server:
        key = ImportedKey(server, "1-2")
        assert struct.unpack(">HH", key.record[300:304]) == (0x0471, 0x485D)
        status, descriptor = key.control_in("8006000100001200", 18)
        assert (status, len(descriptor), descriptor[8:12].hex()) == (0, 18, "71045d48")
        assert key.control_in("800603030904fe00", 254) == (0, b"\x06\x039\x007\x00")
        assert key.control_in("800609030904fe00", 254) == (-32, b"")
        key.socket.close()


@pytest.mark.parametrize(
    ("busid", "prepare", "status"),
    [
        ("1-2", lambda server: None, 0),
        ("1-3", lambda server: None, 4),
        ("1-2", lambda server: server.occupy("1-2"), 2),
        ("1-2", lambda server: server.expire(), 1),
    ],
    ids=["free", "no such key", "in use", "license expired"],
)
def test_an_import_is_refused_with_usbips_status(busid: str, prepare: Callable[[UsbIpServer], None], status: int) -> None:
    with UsbIpServer() as server:
        prepare(server)
        key = ImportedKey(server, busid)
        assert key.status == status
        key.socket.close()


@pytest.mark.parametrize("end", [UsbIpServer.drop, UsbIpServer.expire, UsbIpServer.close])
def test_an_import_breaks(end: Callable[[UsbIpServer], None]) -> None:
    with UsbIpServer() as server:
        key = ImportedKey(server, "1-2")
        end(server)
        with pytest.raises(ConnectionError):
            key.control_in("8006000100001200", 18)
        key.socket.close()


def test_a_server_that_lies_and_dribbles() -> None:
    with UsbIpServer(raw_reply=b"HTTP/1.1 400 Bad Request\r\n\r\n", trickle=0.001) as server:
        assert offered(server.port) == []
        with socket.create_connection((server.host, server.port), 5) as client:
            client.sendall(bytes.fromhex("0111800500000000"))
            assert client.makefile("rb").read() == server.raw_reply


@pytest.mark.parametrize(
    "make",
    [
        lambda: SenseLockKey("0471"),
        lambda: SenseLockKey(serial="x" * 127),
        lambda: UsbIpServer([SenseLockKey(), SenseLockKey("1bc0:0051")]),
    ],
    ids=["no product id", "serial too long", "one busid twice"],
)
def test_impossible_keys(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError):
        make()


# --- Tools, daemons, ports ----------------------------------------------------------------------------------------

ODD = b"\xff\x00 tab\t| $(id) `id` 'x' \\n %s\r\n no newline"


@pytest.mark.parametrize(
    ("make", "code", "stdout", "stderr"),
    [
        (lambda tools: tools.prints("t", ODD), 0, ODD, b""),
        (lambda tools: tools.prints("t", b"out", code=3, stderr=b"err", delay=0.01), 3, b"out", b"err"),
        (lambda tools: tools.complains("t", b"Error: no\n"), 1, b"", b"Error: no\n"),
        (lambda tools: tools.dies("t", b"half"), -signal.SIGSEGV, b"half", b""),
        (lambda tools: tools.floods("t", 100_000), 0, (b" 1: Senselock SenseIV\n" * 4546)[:100_000], b""),
    ],
    ids=["any bytes", "code and stderr", "stderr only", "dies by a signal", "floods"],
)
def test_tools_that_end(tmp_path: Path, make: Callable[[ForwarderTools], Path], code: int, stdout: bytes, stderr: bytes) -> None:
    with ForwarderTools(tmp_path) as tools:
        done = subprocess.run([make(tools), "-list", "two words"], capture_output=True, check=False, timeout=30)
        assert (done.returncode, done.stdout, done.stderr) == (code, stdout, stderr)
        assert tools.calls("t") == [["-list", "two words"]]
        assert tools.survivors() == []


@pytest.mark.parametrize(
    ("make", "survivors"),
    [
        (lambda tools: tools.hangs("t", b"half a line"), 0),
        (lambda tools: tools.hangs("t", b"half a line", stubborn=True), 2),
        (lambda tools: tools.dribbles("t"), 0),
        (lambda tools: tools.leaves_a_child("t", b"done"), 0),
        (lambda tools: tools.leaves_a_child("t", b"done", own_session=True), 1),
    ],
    ids=["hangs", "hangs stubbornly", "dribbles", "leaves a child", "leaves a child in a session of its own"],
)
def test_tools_that_do_not_end(tmp_path: Path, make: Callable[[ForwarderTools], Path], survivors: int) -> None:
    """stdout stays open, whatever the tool itself does; a polite kill of its group ends all but the stubborn ones."""
    with (
        ForwarderTools(tmp_path) as tools,
        subprocess.Popen([make(tools)], stdout=subprocess.PIPE, start_new_session=True) as process,
    ):
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=0.3)
        os.killpg(process.pid, signal.SIGTERM)
        assert eventually(lambda: len(tools.running()), survivors) == survivors
        tools.end_survivors()
        assert eventually(lambda: len(tools.running()), 0) == 0


def eventually(look: Callable[[], int], wanted: int) -> int:
    """What `look` finds: at once when it is what is wanted, otherwise after two seconds, since a signal takes a moment."""
    for _ in range(40):
        if look() == wanted:
            break
        time.sleep(0.05)
    return look()


@pytest.mark.parametrize(
    ("make", "errno"),
    [(ForwarderTools.not_executable, 13), (ForwarderTools.not_a_program, 8), (ForwarderTools.missing, 2)],
    ids=["not executable", "not a program", "missing"],
)
def test_tools_that_do_not_start(tmp_path: Path, make: Callable[[ForwarderTools, str], Path], errno: int) -> None:
    with ForwarderTools(tmp_path) as tools, pytest.raises(OSError) as error:
        subprocess.run([make(tools, "t")], check=False)
    assert error.value.errno == errno


@pytest.mark.parametrize("name", ["usbsrvd", "vhusbdx86_64", "ftusbnetd", "awusbmanager-headless"])
def test_a_daemon_is_known_by_its_name(name: str) -> None:
    with forwarder_daemon(name) as daemon:
        process = psutil.Process(daemon.pid)
        assert process.name() == name
        daemon.freeze()
        assert process.status() == psutil.STATUS_STOPPED
        daemon.thaw()
        daemon.become_a_zombie()
        assert (process.name(), process.status()) == (name[:15], psutil.STATUS_ZOMBIE)
        daemon.end()
        assert not psutil.pid_exists(daemon.pid)


def test_a_decoy_only_mentions_the_name() -> None:
    with forwarder_daemon("less", argv0="usbsrvd") as daemon:
        process = psutil.Process(daemon.pid)
        assert (process.name(), process.cmdline()) == ("less", ["usbsrvd", "600"])


def test_ports() -> None:
    def knock(port: int) -> str:
        try:
            with socket.create_connection(("127.0.0.1", port), 0.3) as connection:
                return connection.recv(100).decode() or "closed"
        except (ConnectionRefusedError, TimeoutError) as error:
            return type(error).__name__

    with silent_port() as silent, talking_port(b"hello") as talking, talking_port() as closing:
        answers = [knock(port) for port in (silent, talking, closing)]
    with refused_port() as refused, unreachable_port() as unreachable:
        answers += [knock(port) for port in (refused, unreachable)]
    assert answers == ["TimeoutError", "hello", "closed", "ConnectionRefusedError", "TimeoutError"]


# --- Samples ------------------------------------------------------------------------------------------------------


def test_every_sample_has_a_source_and_every_source_a_sample() -> None:
    named = re.findall(r"`([^` ]+\.(?:txt|json|xml))`", (SAMPLES / "README.md").read_text().split("|---|")[-1])
    files = sorted(path.name for path in SAMPLES.iterdir() if path.name != "README.md")
    assert [name for name in files if not any(fnmatch.fnmatch(name, pattern) for pattern in named)] == []
    assert [pattern for pattern in named if not fnmatch.filter(files, pattern)] == []
