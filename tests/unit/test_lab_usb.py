"""The lab's USB side is what other tests rely on: real programs take the sandbox and the server for real."""

from __future__ import annotations

import fnmatch
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from lab.forwarder_tools import SAMPLES, ForwarderTools, forwarder_daemon, sample
from lab.run_check import Outcome, run_process
from lab.usb_bus import CONTROLLERS, UsbBus, VhciPort
from lab.usbip_server import UsbIpServer, UsbIpServerProcess

KEY = "0471:485d"

ENUMERATE = """
import usb.core
for d in usb.core.find(find_all=True):
    if d.port_numbers:
        print("%04x:%04x %d-%s" % (d.idVendor, d.idProduct, d.bus, ".".join(map(str, d.port_numbers))))
"""

OPEN = "import usb.core; usb.core.find(idVendor=0x0471).is_kernel_driver_active(0)"


@pytest.fixture
def bus() -> Iterator[UsbBus]:
    with UsbBus() as sandbox:
        yield sandbox


def on(bus: UsbBus, *command: str, prefix: list[str] | None = None) -> Outcome:
    """Run a program on the sandbox's bus."""
    return run_process([*(prefix or []), *command], env=bus.env(), patience=30)


def lines(outcome: Outcome) -> list[str]:
    assert outcome.code == 0, outcome
    assert outcome.stderr.strip() in (b"", b"unable to initialize usb spec")  # lsusb, where udev has no hardware database
    return outcome.text.splitlines()


# --- The bus ------------------------------------------------------------------------------------------------------


def test_real_programs_list_a_key_on_every_kind_of_controller(bus: UsbBus) -> None:
    names = [bus.add_key(where) for where in CONTROLLERS]
    names.append(bus.add_key(port=f"{bus.add_hub(port='1-4')}.3"))
    wanted = sorted(f"{KEY} {name}" for name in names)
    assert sorted(line for line in lines(on(bus, sys.executable, "-c", ENUMERATE)) if line.startswith(KEY)) == wanted
    assert "\n".join(lines(on(bus, "lsusb"))).count(f"ID {KEY}") == len(names)
    drivers = set(re.findall(r"Class=root_hub, Driver=([^/]*)/", "\n".join(lines(on(bus, "lsusb", "-t")))))
    assert drivers == {controller.driver or "" for controller in CONTROLLERS.values()}
    assert bus.opened_nodes() == []


def test_what_hangs_behind_a_hub_goes_with_it(bus: UsbBus) -> None:
    bus.add_hub(port="1-4")
    bus.add_key(port="1-4.1")
    bus.add_key(port="1-2")
    bus.remove("1-4")
    assert lines(on(bus, sys.executable, "-c", ENUMERATE)) == [f"{KEY} 1-2"]


def test_a_key_without_authorization_has_no_configuration_and_no_interface(bus: UsbBus) -> None:
    bus.deauthorize(bus.add_key(port="1-2"))
    show = "cd /sys/bus/usb/devices; cat 1-2/authorized 1-2/bConfigurationValue; ls -d 1-2:1.0 2>/dev/null | wc -l"
    assert lines(on(bus, "sh", "-c", show)) == ["0", "0"]


def test_an_attribute_that_hangs(bus: UsbBus) -> None:
    bus.add_key(port="1-2", serial="1")
    bus.hang_attribute("1-2", "serial")
    assert on(bus, "timeout", "0.3", "cat", "/sys/bus/usb/devices/1-2/serial").code == 124


@pytest.mark.parametrize(("node", "code"), [("present", 1), ("frozen", -signal.SIGKILL)])
def test_an_opened_node_is_noticed(bus: UsbBus, node: str, code: int) -> None:
    bus.add_mouse()
    bus.add_key(port="1-2", node=node)
    assert on(bus, "timeout", "-s", "KILL", "1", sys.executable, "-c", OPEN).code == code
    assert bus.opened_nodes() == ["1-2"]


# --- vhci_hcd and the USB/IP server ---------------------------------------------------------------------------------


def test_usbip_port_names_the_server(bus: UsbBus) -> None:
    bus.add_key("usbip", "3-1", remote="192.0.2.20 3240 1-2")
    assert on(bus, "usbip", "port", prefix=bus.with_run()).stdout == sample("usbip-port-key.txt")


def test_the_status_file_has_the_kernels_form(bus: UsbBus) -> None:
    bus.load_vhci(2)
    bus.vhci_port(0, VhciPort(6, 2, 0x00040002, 3, "1-1"))
    recorded = sample("vhci-status.txt").decode().splitlines()
    assert lines(on(bus, "cat", "/sys/devices/platform/vhci_hcd.0/status"))[:3] == recorded


def offered(port: int, seconds: int = 20) -> list[tuple[str, str]] | None:
    """What the real usbip lists; None when it gets no answer within so many seconds."""
    outcome = run_process(["timeout", str(seconds), "usbip", "--tcp-port", str(port), "list", "-r", "127.0.0.1"], patience=30)
    if outcome.code == 124:
        return None
    return re.findall(r"^ +(\d+-[\d.]+): .* \((\S+)\)$", outcome.text, re.M)


def test_the_real_usbip_attaches_a_key_of_the_server(bus: UsbBus) -> None:
    """usbip asks the server for the key and hands the connection to vhci: port 0, its socket, device 1/4, full speed."""
    bus.load_vhci(1)
    with UsbIpServer() as server:
        attach = ["usbip", "--tcp-port", str(server.port), "attach", "-r", server.host, "-b", "1-2"]
        assert on(bus, *attach, prefix=bus.with_run()).code == 0
        assert server.requests == ["import 1-2"]
    assert re.fullmatch(r"0 \d+ 65540 2", (bus.sys / "devices/platform/vhci_hcd.0/attach").read_text())
    assert lines(on(bus, "cat", "/var/run/vhci_hcd/port0", prefix=bus.with_run())) == [f"127.0.0.1 {server.port} 1-2"]


def test_usbip_lists_what_the_server_exports() -> None:
    two = [("1-2", KEY), ("1-7", "1bc0:0051")]
    with UsbIpServerProcess(KEY, "1bc0:0051::1-7") as server:
        assert offered(server.port) == two
        server.expire()
        assert offered(server.port) == []
        server.renew()
        server.drop()
        assert offered(server.port) == two
        server.freeze()
        assert offered(server.port, 1) is None
        server.thaw()
        assert offered(server.port) == two
    assert not psutil.pid_exists(server.pid)


# --- Tools and daemons ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "survivors"),
    [
        (lambda tools: tools.hangs("t", b"half a line"), 0),
        (lambda tools: tools.hangs("t", b"half a line", stubborn=True), 2),
        (lambda tools: tools.leaves_a_child("t", b"done"), 0),
        (lambda tools: tools.leaves_a_child("t", b"done", own_session=True), 1),
    ],
    ids=["hangs", "hangs stubbornly", "leaves a child", "leaves a child in a session of its own"],
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


def test_a_daemon_is_known_by_its_name() -> None:
    with forwarder_daemon("awusbmanager-headless") as daemon:
        process = psutil.Process(daemon.pid)
        assert process.name() == "awusbmanager-headless"
        daemon.freeze()
        assert process.status() == psutil.STATUS_STOPPED
        daemon.thaw()
        daemon.become_a_zombie()
        assert (process.name(), process.status()) == ("awusbmanager-he", psutil.STATUS_ZOMBIE)
        daemon.end()
        assert not psutil.pid_exists(daemon.pid)


def test_every_sample_has_a_source_and_every_source_a_sample() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (SAMPLES / "README.md").read_text(), re.M)
    named = re.findall(r"`([^` ]+\.(?:txt|json|xml))`", "\n".join(rows))
    files = sorted(path.name for path in SAMPLES.iterdir() if path.name != "README.md")
    assert [name for name in files if not any(fnmatch.fnmatch(name, pattern) for pattern in named)] == []
    assert [pattern for pattern in named if not fnmatch.filter(files, pattern)] == []
