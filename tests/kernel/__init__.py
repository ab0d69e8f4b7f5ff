"""The whole chain on a real Linux kernel: Debian in QEMU, the real vhci_hcd, the real usbip tools, the real plugins."""
