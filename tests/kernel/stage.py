"""What can happen to the key on the evening: the machine in the guest, the forwarder outside, a key in a local port."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from lab.usbip_server import SenseLockKey, UsbIpServerProcess

from kernel.guest import OUTSIDE, Guest, Ran
from kernel.usbredir_key import LocalKey

DEVICES = "/sys/bus/usb/devices"
# The kernel's names: the first port of the PCI controller, the first two of the USB/IP controller.
LOCAL, FORWARDED, TWICE = (f"{DEVICES}/{name}" for name in ("1-1", "3-1", "3-2"))
BUSID = "1-4"
SERIAL = "9700000000001234"
# Reads the key's serial number as any program that uses a key would: it opens the device and asks it.
USE_THE_KEY = "import usb.core; usb.core.find(idVendor=0x1bc0).serial_number"


class Stage:
    """The guest with everything around it, as a context manager. The methods are what happens, in the order of a play.

    Each waits until the guest's kernel shows the outcome and raises a GuestError when it does not come.
    """

    def __init__(self, checks: Path) -> None:
        self._things = ExitStack()
        try:
            self.forwarder = self._things.enter_context(UsbIpServerProcess(f"1bc0:0051:{SERIAL}:{BUSID}:Elite5"))
            self.guest = self._things.enter_context(Guest(checks))
        except BaseException:
            self._things.close()
            raise
        self._local: LocalKey | None = None

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.pull_local_key()
        self._things.close()

    @property
    def words(self) -> dict[str, str]:
        """What differs from run to run in a command or its output: where the forwarder listens."""
        return {"host": OUTSIDE, "port": str(self.forwarder.port)}

    def wait_for_network(self) -> None:
        """The network card needs a moment after the boot; USB is not loaded yet."""
        self.guest.until("grep -q 1 /sys/class/net/eth0/carrier")

    def load_usb(self) -> None:
        """The controllers appear, the PCI one and those of USB/IP; no device is attached."""
        self.guest.must("modprobe", "-a", "xhci-pci", "vhci-hcd")
        self.guest.until(f"[ -e {DEVICES}/usb3 ]")

    def plug_local_key_that_is_not_allowed(self) -> None:
        """As with USBGuard: the kernel authorizes no device that is plugged in now. This one has no serial number."""
        self.guest.must("sh", "-c", f"echo 0 > {DEVICES}/usb1/authorized_default")
        self._local = LocalKey(self.guest.key_socket, SenseLockKey("0471:485d")).__enter__()
        self.guest.until(f"[ -e {LOCAL}/authorized ]")

    def allow_local_key(self) -> None:
        """Somebody allows it."""
        self.guest.must("sh", "-c", f"echo 1 > {LOCAL}/authorized")
        self.guest.until(f"[ -e {LOCAL}/1-1:1.0 ]")

    def pull_local_key(self) -> None:
        """It is pulled out again, if it is in."""
        if self._local:
            self._local.__exit__(None, None, None)
            self._local = None

    def leave_only_the_forwarded_key(self) -> None:
        """The local key is pulled out and the kernel has noticed."""
        self.pull_local_key()
        self.guest.until(f"! [ -e {LOCAL} ]")

    def attach(self) -> None:
        """The real usbip attaches the forwarder's key."""
        self._attach(FORWARDED)

    def _attach(self, place: str) -> None:
        self.guest.must("usbip", "--tcp-port", self.words["port"], "attach", "-r", OUTSIDE, "-b", BUSID)
        self.guest.until(f"[ -e {place}:1.0 ]")

    def expire(self) -> None:
        """The forwarder's licence is over: it drops the key."""
        self.forwarder.expire()
        self._wait_until_dropped()

    def renew(self) -> None:
        """The licence is renewed and the key attached again."""
        self.forwarder.renew()
        self.attach()

    def drop(self) -> None:
        """The connection breaks; the forwarder is well and offers the key again."""
        self.forwarder.drop()
        self._wait_until_dropped()

    def _wait_until_dropped(self) -> None:
        self.guest.until(f"! [ -e {FORWARDED} ]")
        self.guest.until("grep -q ' 0000 004 ' /sys/devices/platform/vhci_hcd.0/status")

    def forbid_forwarded_key(self) -> None:
        """Somebody takes the authorization of the forwarded key away."""
        self.guest.must("sh", "-c", f"echo 0 > {FORWARDED}/authorized")

    def forbid_its_interface(self) -> None:
        """The key is allowed again, its interface is not."""
        self.guest.must("sh", "-c", f"echo 1 > {FORWARDED}/authorized && echo 0 > {FORWARDED}/3-1:1.0/authorized")

    def take_its_configuration(self) -> None:
        """Device and interface are allowed, but the device has no configuration."""
        self.guest.must("sh", "-c", f"echo 1 > {FORWARDED}/3-1:1.0/authorized && echo 0 > {FORWARDED}/bConfigurationValue")

    def configure_it(self) -> None:
        """The key has its configuration again."""
        self.guest.must("sh", "-c", f"echo 1 > {FORWARDED}/bConfigurationValue")
        self.guest.until(f"[ -e {FORWARDED}/3-1:1.0 ]")

    def lose_the_server(self) -> None:
        """The network is cut and comes back. The forwarder offers the key again, and the port still holds it."""
        self.forwarder.lose()

    def attach_twice(self) -> None:
        """The key is attached once more, to another port."""
        self._attach(TWICE)

    def detach_both(self) -> None:
        """The remedy: both ports are freed, and the key is attached once.

        `usbip detach` itself waits for the program that hangs (seen); the file that it writes to does not.
        """
        self.guest.must("sh", "-c", "echo 0 > /sys/devices/platform/vhci_hcd.0/detach")
        self.guest.until("! grep -qs '^State:.D' /proc/[0-9]*/status")
        self.guest.must("usbip", "detach", "-p", "1")
        self.guest.until(f"! [ -e {FORWARDED} ] && ! [ -e {TWICE} ]")
        self.attach()

    def freeze(self) -> None:
        """The forwarder's process is stopped. Its connections stay up and nothing comes any more."""
        self.forwarder.freeze()

    def use_the_key(self) -> None:
        """A program, as Kodeks itself would, asks the frozen key something and never comes back."""
        self.guest.must("sh", "-c", f"python3 -c '{USE_THE_KEY}' >/dev/null 2>&1 &")
        # Not "some process is in state D", which others are for a moment: the program holds the key's lock.
        self.guest.until(f"! timeout -s KILL 1 cat {FORWARDED}/serial >/dev/null 2>&1")

    def thaw(self) -> None:
        """The forwarder goes on; whoever waited for the key gets its answer."""
        self.forwarder.thaw()
        self.guest.until("! grep -qs '^State:.D' /proc/[0-9]*/status")

    def look(self, command: tuple[str, ...], user: str | None, limit: float) -> Ran:
        """Run a command of the table with this evening's addresses."""
        return self.guest.run([word.format(**self.words) for word in command], user, limit)
