"""What the kernel's names and files mean: where a device is plugged in, whether it can be used, who holds it twice."""

from __future__ import annotations

import pytest
from kodeks_monitoring.machine import usb
from kodeks_monitoring.machine.usb import VhciPort

PORTS = [VhciPort(0, "3-1", 0x10002, "10.0.0.5:3240", "1-1"), VhciPort(1, "3-2", 0x10002, "[2001:db8::5]:3240", "1-1"), VhciPort(2, "3-3")]
PLATFORM = "/platform/soc/3f980000.usb"
# `lsusb -t` and the kernel's source name these drivers of controllers on boards.
BOARDS = {
    "dwc_otg": "Raspberry Pi 0 to 3", "dwc2": "Raspberry Pi with a mainline kernel", "xhci-hcd": "Rockchip, Amlogic, Raspberry Pi 5",
    "ehci-platform": "Allwinner", "ohci-platform": "Allwinner, full speed", "musb-hdrc": "BeagleBone", "ci_hdrc": "i.MX",
    "xhci-mtk": "MediaTek", "tegra-xusb": "Jetson", "exynos-ehci": "Odroid", "orion-ehci": "Kirkwood", "xhci-renesas-hcd": "R-Car",
}  # fmt: skip


@pytest.mark.parametrize(
    ("controller", "driver", "device", "expected"),
    [
        pytest.param("/pci0000:00/0000:00:14.0", "xhci_hcd", "1-2", "local", id="PCI"),
        pytest.param("/pci0000:00/0000:00:1d.0", "ehci-pci", "1-2", "local", id="PCI, USB 2"),
        pytest.param("/pci0001:00/0001:00:00.0", "some_new_hcd", "1-2", "local", id="PCI, new driver"),
        pytest.param("/platform/scb/fd500000.pcie/pci0000:00/0000:00:00.0/0000:01:00.0", "xhci_hcd", "1-2", "local", id="PCI behind the platform"),
        pytest.param("/LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00/47505500-0001/pci0001:00/0001:00:02.0", "xhci_hcd", "1-2", "local",
                     id="PCI behind a hypervisor"),
        pytest.param("/virtual/pci0000/0000:00:14.0", "xhci_hcd", "1-2", "location unknown (controller driver xhci_hcd)", id="no PCI bus"),
        *(pytest.param(PLATFORM, driver, "1-1.2", "local", id=board) for driver, board in BOARDS.items()),
        pytest.param("/soc/20980000.usb", "dwc_otg", "1-1.2", "local", id="a board with an old device tree"),
        pytest.param("/platform/vhci_hcd.0", "vhci_hcd", "3-1", "forwarded over USB/IP, vhci_hcd port 0 from 10.0.0.5", id="USB/IP"),
        pytest.param("/platform/vhci_hcd.0", "vhci_hcd", "3-2", "forwarded over USB/IP, vhci_hcd port 1 from [2001:db8::5]", id="USB/IP over IPv6"),
        pytest.param("/platform/vhci_hcd.0", "vhci_hcd", "3-3", "forwarded over USB/IP, vhci_hcd port 2", id="USB/IP, no note"),
        pytest.param("/platform/vhci_hcd.0", "vhci_hcd", "3-9", "forwarded over USB/IP, vhci_hcd port unknown", id="USB/IP, no port"),
        pytest.param("/platform/eveusb_vhci_hcd.0", "eveusb_vhci_hcd_6", "5-1",
                     "forwarded over USB Network Gate (driver eveusb_vhci_hcd_6)", id="USB Network Gate"),
        pytest.param("/platform/x", "tusb-vhci-driver0", "5-1", "forwarded over USB Redirector (driver tusb-vhci-driver0)", id="USB Redirector"),
        pytest.param("/platform/x", "vhci_hcd_other", "5-1", "location unknown (controller driver vhci_hcd_other)", id="not the kernel's vhci"),
        pytest.param("/platform/dwc_otg_hcd", "dwc_otg_hcd", "5-1", "location unknown (controller driver dwc_otg_hcd)", id="a longer name than a board's"),
        pytest.param("/platform/usbip", "xhci", "5-1", "location unknown (controller driver xhci)", id="platform alone is not enough"),
        pytest.param("", "", "5-1", "location unknown (controller driver not readable)", id="nothing readable"),
        pytest.param("/platform/x", "evil|\ndriver", "5-1", "location unknown (controller driver evil/ driver)", id="hostile name"),
    ],
)  # fmt: skip
def test_locate(controller: str, driver: str, device: str, expected: str) -> None:
    assert str(usb.locate(controller, driver, device, PORTS)) == expected


@pytest.mark.parametrize(
    ("authorized", "configuration", "reason"),
    [
        pytest.param({"d": "1", "i": "1"}, "1", "", id="usable"),
        pytest.param({}, None, "", id="a kernel without these attributes"),
        pytest.param({"d": "1"}, "2", "", id="another configuration"),
        pytest.param({"d": "0"}, "", "the kernel has not authorized it (d is 0)", id="not authorized"),
        pytest.param({"d": "0"}, "1", "the kernel has not authorized it (d is 0)", id="not authorized, configured"),
        pytest.param({"d": "1", "i": "0"}, "1", "the kernel has not authorized it (i is 0)", id="interface not authorized"),
        pytest.param({"d": "1"}, "", "it has no configuration (no power, no bandwidth?)", id="not configured"),
    ],
)
def test_why_unusable(authorized: dict[str, str], configuration: str | None, reason: str) -> None:
    assert usb.why_unusable(authorized, configuration).partition(": ")[0] == reason


@pytest.mark.parametrize(
    ("notes", "ports"),
    [
        pytest.param([("a:3240", "1-1"), ("a:3240", "1-1")], [0, 1], id="twice"),
        pytest.param([("a:3240", "1-1"), ("a:3240", "1-2"), ("a:3240", "1-1")], [0, 2], id="twice, and another device"),
        pytest.param([("a:3240", "1-1"), ("a:3241", "1-1")], [], id="two servers of one host"),
        pytest.param([("", ""), ("", "")], [], id="no notes"),
    ],
)
def test_ghosts(notes: list[tuple[str, str]], ports: list[int]) -> None:
    held = [VhciPort(number, f"3-{number + 1}", 0x10002, *note) for number, note in enumerate(notes)]
    assert [port.number for port in usb.ghosts(held)] == ports


HEAD = "hub port sta spd dev      sockfd local_busid\n"
USED = "hs  0000 006 002 00040002 000003 1-1\n"  # 006 is VDEV_ST_USED


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        pytest.param(HEAD + USED + "hs  0001 004 000 00000000 000000 0-0\n", [VhciPort(0, "1-1", 0x40002)], id="one used, one free"),
        pytest.param(HEAD + USED + "ss  0045 006 005 00010003 000004 4-1\n", [VhciPort(0, "1-1", 0x40002), VhciPort(45, "4-1", 0x10003)], id="both hubs"),
        pytest.param(HEAD, [], id="no ports"),
        pytest.param(HEAD + USED + "hs  0001 broken\n", None, id="a line of another form"),
        pytest.param("", None, id="empty"),
        pytest.param("prt sta spd bus dev socket\n", None, id="another head"),
    ],
)
def test_vhci_status(text: str, ports: list[VhciPort] | None) -> None:
    assert usb.parse_vhci_status(text) == ports
