"""What is asked of each forwarder on Windows if nothing else is named, with stand-ins that behave as documented."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from kodeks_monitoring.forwarders.product import load_product, product_names
from lab.engine_process import await_true
from lab.forwarder_tools import sample
from lab.windows import WindowsMachine


class List(NamedTuple):
    """A product, the program that prints its list, its arguments, what it prints, and the check's words for a device of it."""

    product: str
    program: str
    arguments: list[str]
    listing: str
    device: str
    code: int
    said: str


LISTS = [
    List("usb-redirector --side server", "usbrdrsh", ["-list-devices"], "usbrdrsh-list-devices-no-servers-constructed.txt", "0471:485d", 0,
         "key 0471:485d is offered by the forwarder"),
    List("usb-redirector", "usbrdrsh", ["-list-devices"], "usbrdrsh-list-devices-constructed.txt", "0529:0620", 0, "key 0529:0620 is attached here"),
    List("usb-redirector --side client", "usbrdrltsh", ["-list"], "usbclnt-list-key-connected-constructed.txt", "0471:485d", 0,
         "key 0471:485d is attached here"),
    List("usb-network-gate", "UsbService64", ["show-remote-devices"], "usb-network-gate-show-remote-devices.txt", "usbng-server-a.example.test:56228", 2,
         "key usbng-server-a.example.test:56228 is disconnected from its server"),
    List("usbipd-win", "usbipd", ["state"], "usbipd-state-key-attached-constructed.json", "0471:485d", 0, "key 0471:485d is in use by "),
    List("digi-anywhereusb", "awusbmanager", ["list"], "digi-awusbmanager-list-users.txt", "Senselock SenseIV", 0, "key Senselock SenseIV is attached here"),
]  # fmt: skip
PROCESSES = {"virtualhere": "vhui64", "virtualhere --side client": "vhui64", "virtualhere --side server": "vhusbdwin64"}
SERVICES = {"distkontrol": "dkclient", "usb-over-network": "ftnlsv3"}
DATED = ("--license-expires", "perpetual")
PATH = {"Path": r"C:\windows\system32;C:\forwarders"}


def said(windows: WindowsMachine, product: str, *arguments: str) -> tuple[int, str]:
    """Exit code and line of a run with the stand-ins on the path, without the license and perfdata."""
    outcome = windows.run_check("usb_redirector", "--product", *product.split(), *DATED, *arguments, env=PATH)
    return outcome.code, outcome.line.partition(" | ")[0].partition(" is perpetual; ")[2] or outcome.line


def test_every_default_of_windows_is_tried() -> None:
    defaults = {(name, source) for name in product_names() for (side, system), source in load_product(name).sources.items() if system == "nt"}
    tried = {(row.product.split()[0], " ".join([f"{row.program}{'' if row.program in ('usbipd', 'awusbmanager') else '.exe'}", *row.arguments])) for row in LISTS}
    tried |= {(product.split()[0], f"process:{program}.exe") for product, program in PROCESSES.items()}
    tried |= {(product, f"service:{name}") for product, name in SERVICES.items()}
    assert tried == defaults


@pytest.mark.parametrize("row", LISTS, ids=lambda row: row.product)
def test_a_list(row: List, windows: WindowsMachine) -> None:
    windows.stand_in(row.program, sample(row.listing))
    code, line = said(windows, row.product, "--device", row.device)
    assert (code, row.said in line) == (row.code, True), line
    assert windows.arguments_of(row.program) == row.arguments


@pytest.mark.parametrize(("product", "program"), PROCESSES.items())
def test_a_process(product: str, program: str, windows: WindowsMachine) -> None:
    path = windows.stand_in(program, sleeps=True)
    if not windows.is_running(f"{program}.exe"):
        assert said(windows, product) == (2, said(windows, product)[1]) and "is not running: start it" in said(windows, product)[1]
        windows.start(path)
        await_true("it runs", lambda: windows.is_running(f"{program}.exe"), 10)
    assert said(windows, product) == (0, f"process {program}.exe is running")


@pytest.mark.parametrize(("product", "name"), SERVICES.items())
def test_a_service(product: str, name: str, windows: WindowsMachine) -> None:
    assert said(windows, product)[0] == 3, "it is not installed"
    program = windows.stand_in(f"{name}-program")
    windows.run(f'sc create {name} binPath= "{program} --service {name}"')
    code, line = said(windows, product)
    assert (code, f"service {name} is not running (inactive, stopped)" in line) == (2, True)
    windows.run(f"sc start {name}")
    code, line = said(windows, product)
    assert (code, line.startswith(f"service {name} is running")) == (0, True), line


@pytest.mark.parametrize("words", ["vhui64.exe -t LIST -r {}", "dkcl64.exe -t LIST -r={}"])
def test_a_client_that_answers_into_a_file(words: str, windows: WindowsMachine) -> None:
    """VirtualHere's client prints nothing into a pipe (vendor's manual): a job writes its answer, and the check reads that."""
    program = words.partition(".")[0]
    listing = sample("virtualhere-list-key-own-use-constructed.txt")
    windows.stand_in(f"{program}-list", listing)
    answer = rf"C:\forwarders\{program}-answer.txt"
    command = words.format(answer).replace(f"{program}.exe", rf"C:\forwarders\{program}-list.exe")
    assert windows.run(command).stdout == b""
    product = "virtualhere" if program == "vhui64" else "distkontrol"
    assert said(windows, product, "--list-output", answer, "--device", "Senselock SenseIV") == (0, "key Senselock SenseIV is attached here")
    code, line = said(windows, product, "--list-command", command, "--device", "Senselock SenseIV")
    assert (code, "is no whole list of " in line) == (3, True), "what it prints itself is no list"
