"""Where a key hangs, told from names alone."""

from __future__ import annotations

import check_senselock as check
import pytest
from plugin_runtime import VhciPort

PORTS = [VhciPort(0, "3-1", "10.0.0.5:3240"), VhciPort(1, "3-2", "[2001:db8::5]:3240"), VhciPort(2, "3-3")]
UNKNOWN_DRIVER = " (controller driver not readable)"


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
        pytest.param("/platform/soc@0/xhci-hcd.1.auto", "xhci-hcd", "1-2", "local", id="system on a chip"),
        pytest.param("/platform/soc/3f980000.usb", "dwc2", "1-1.2", "local", id="single-board computer"),
        pytest.param("/platform/vhci_hcd.0", "vhci_hcd", "3-1", "forwarded over USB/IP, vhci_hcd port 0 from 10.0.0.5", id="USB/IP"),
        pytest.param("/platform/vhci_hcd.0", "vhci_hcd", "3-2", "forwarded over USB/IP, vhci_hcd port 1 from [2001:db8::5]", id="USB/IP over IPv6"),
        pytest.param("/platform/vhci_hcd.0", "vhci_hcd", "3-3", "forwarded over USB/IP, vhci_hcd port 2", id="USB/IP, no note"),
        pytest.param("/platform/vhci_hcd.0", "vhci_hcd", "3-9", "forwarded over USB/IP, vhci_hcd port unknown", id="USB/IP, no port"),
        pytest.param("/platform/eveusb_vhci_hcd.0", "eveusb_vhci_hcd_6", "5-1",
                     "forwarded over USB Network Gate (driver eveusb_vhci_hcd_6)", id="USB Network Gate"),
        pytest.param("/platform/x", "tusb-vhci-driver0", "5-1", "forwarded over USB Redirector (driver tusb-vhci-driver0)", id="USB Redirector"),
        pytest.param("/platform/x", "vhci_hcd_other", "5-1", "location unknown (controller driver vhci_hcd_other)", id="not the kernel's vhci"),
        pytest.param("/platform/usbip", "xhci", "5-1", "location unknown (controller driver xhci)", id="platform alone is not enough"),
        pytest.param("/virtual/pci0/x", "xhci_hcd", "5-1", "location unknown (controller driver xhci_hcd)", id="pci further down"),
        pytest.param("", "", "5-1", "location unknown" + UNKNOWN_DRIVER, id="nothing readable"),
        pytest.param("/platform/x", "evil|\ndriver", "5-1", "location unknown (controller driver evil/ driver)", id="hostile name"),
    ],
)  # fmt: skip
def test_locate(controller: str, driver: str, device: str, expected: str) -> None:
    assert str(check.locate(controller, driver, device, PORTS)) == expected
