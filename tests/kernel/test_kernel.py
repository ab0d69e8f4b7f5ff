"""One evening on a real kernel: a key comes, is forwarded, expires, is renewed, drops, freezes. What do the plugins say?

Everything in the guest is Debian's: kernel with vhci_hcd, usbip tools, Python, libusb and the three libraries. The
forwarder runs outside, on the loopback of the test machine, which the guest reaches as 192.0.2.10. The table below is
played once, from top to bottom, in one boot; each look at the machine is then a test of its own. The plugins run as
the user "nagios", as an engine's agent does, unless a look says otherwise.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from lab.run_check import CHECKS

from kernel.guest import Ran
from kernel.stage import SERIAL, USE_THE_KEY, Stage

pytestmark = pytest.mark.xdist_group("kernel")  # one worker, one boot

SENSELOCK = ("python3", "/checks/check_senselock.py")
# The forwarder as seen from the machine that Kodeks runs on: once with its address, once without.
HERE = ("python3", "/checks/check_usb_redirector.py", "--product", "usbip", "--device", "1bc0:0051")
REDIRECTOR = (*HERE, "-H", "{host}", "-p", "{port}")
USBIP = ("usbip", "--tcp-port", "{port}")
TIME_LIMIT = 10  # seconds, the default of the plugins' -t


@dataclass(frozen=True)
class Look:
    """One command in the guest and what it must say.

    `{host}` and `{port}` stand for the forwarder's address, `#` for a measured time. `exit` None means that it must
    still run after `limit` seconds, and `state` how SIGKILL leaves it. `opened` are the USB device nodes it may open.
    """

    name: str
    command: tuple[str, ...]
    exit: int | None
    stdout: str
    stderr: str = ""
    user: str | None = "nagios"
    limit: float = 2 * TIME_LIMIT
    state: str | None = None
    opened: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scene:
    """What happens, and the looks taken then."""

    name: str
    happens: Callable[[Stage], None]
    looks: tuple[Look, ...]


FORWARDED = "1bc0:0051 at 3-1, forwarded over USB/IP, vhci_hcd port 0"
NO_KEY = "SENSELOCK CRITICAL - no SenseLock key among 0 USB devices | keys=0;;1:;0 forwarded=0;;;0 key_state=2\n"
FORWARDED_KEY = f"SENSELOCK OK - 1 SenseLock key: {FORWARDED} | keys=1;;1:;0 forwarded=1;;;0 key_state=0\n"
UNUSABLE_KEY = f"SENSELOCK CRITICAL - the key is listed but cannot be used: {FORWARDED}: # | keys=1;;1:;0 forwarded=1;;;0 key_state=2\n"
NOT_AUTHORIZED = ("the kernel has not authorized it (/sys/bus/usb/devices/#/authorized is 0): allow it in USBGuard or in the desktop's USB"
                  " protection, or write 1 there")  # fmt: skip
NOT_CONFIGURED = "it has no configuration (no power, no bandwidth?): plug or attach it again, and see dmesg"
TWO_PORTS = ("vhci_hcd ports 0 and 1 hold the same key, 1-4 of {host}:{port}: all but one are dead, and a program that opens a dead one hangs;"
             " run usbip detach -p for each of them, then attach the key once")  # fmt: skip
ATTRIBUTES = ("sh", "-c", "cd /sys/bus/usb/devices/3-1 && cat authorized bConfigurationValue && ls -d 3-1:* 2>/dev/null")
# What a program that uses the key does first: it claims the interface.
CLAIM = ("python3", "-c", "import usb.core, usb.util\ntry: usb.util.claim_interface(usb.core.find(idVendor=0x1bc0), 0)\n"
         "except usb.core.USBError as error: print(error)\nelse: print('claimed')")  # fmt: skip
USE_THE_DEAD_ONE = ("python3", "-c", USE_THE_KEY.replace("idVendor=0x1bc0", "idVendor=0x1bc0, address=4"))
OFFERED = "USB_REDIRECTOR OK - key 1bc0:0051 is offered by the forwarder | devices=1;;;0 time=#s;;;0 answer_state=0 device_state=0\n"
ATTACHED = "USB_REDIRECTOR OK - key 1bc0:0051 is attached here | devices=1;;;0 time=#s;;;0 answer_state=0 device_state=0\n"
NOT_ATTACHED = "USB_REDIRECTOR CRITICAL - key 1bc0:0051 is not attached here (devices listed: 0): run usbip attach | devices=0;;;0 time=#s;;;0 answer_state=0 device_state=2\n"
SILENT = (
    "USB_REDIRECTOR CRITICAL - forwarder does not answer at {host}:{port} (it takes the connection and says nothing: frozen?);"
    " still listed here: 1bc0:0051 | devices=1;;;0 time=#s;;;0 answer_state=2 device_state=0\n"
)
SILENT_AND_USED = SILENT.replace(
    " | devices=1;;;0 time=#s;;;0 answer_state=2 device_state=0", "; key 1bc0:0051 is attached here, but cannot be used: it does not answer the program that uses it:"
    " see whether the forwarder hangs | devices=0;;;0 time=#s;;;0 answer_state=2 device_state=2")  # fmt: skip
# Only root may read which server a key comes from, so nobody else can ask that server whether it still answers.
NOT_ASKED = (
    "USB_REDIRECTOR UNKNOWN - who serves 3-1 is not noted here: give it with -H"
    " | devices=1;;;0 time=#s;;;0 answer_state=3 device_state=0\n"
)
HELD_TWICE = (
    "USB_REDIRECTOR CRITICAL - key 1bc0:0051 is attached over a dead connection: run usbip detach, then attach it again"
    " | devices=0;;;0 time=#s;;;0 answer_state=0 device_state=2\n"
)
USING_PORT = 'usbip: info: using port {port} ("{port}")\n'

EVENING = (
    Scene("no-usb-bus", Stage.wait_for_network, (
        Look("senselock", SENSELOCK, 2, "SENSELOCK CRITICAL - no SenseLock key: no USB bus is visible here"
             " (a container, or a machine without a USB controller) | keys=0;;1:;0 forwarded=0;;;0 key_state=2\n"),
        Look("redirector", HERE, 2, "USB_REDIRECTOR CRITICAL - nothing that is attached here can be read: load vhci_hcd and attach,"
             " or ask a server with -H | answer_state=2\n"),
    )),
    Scene("no-key", Stage.load_usb, (
        # Eighteen root hubs, and none of them counts as a device.
        Look("root-hubs", ("sh", "-c", "ls -d /sys/bus/usb/devices/usb* | wc -l"), 0, "18\n"),
        Look("senselock", SENSELOCK, 2, NO_KEY),
        Look("redirector", REDIRECTOR, 0, OFFERED),
        Look("redirector-here", HERE, 2, NOT_ATTACHED),
    )),
    Scene("local-key-not-allowed", Stage.plug_local_key_that_is_not_allowed, (
        Look("kernel", ("cat", "/sys/bus/usb/devices/1-1/authorized", "/sys/bus/usb/devices/1-1/bConfigurationValue"), 0, "0\n"),
        Look("senselock", SENSELOCK, 2, "SENSELOCK CRITICAL - the key is listed but cannot be used: 0471:485d at 1-1, local: "
             f"{NOT_AUTHORIZED.replace('#', '1-1')} | keys=1;;1:;0 forwarded=0;;;0 key_state=2\n"),
    )),
    Scene("local-key", Stage.allow_local_key, (
        Look("senselock", (*SENSELOCK, "--location", "local", "-v"), 0,
             "SENSELOCK OK - 1 SenseLock key: 0471:485d at 1-1, local | keys=1;;1:;0 forwarded=0;;;0 key_state=0 location_state=0\n"
             "key 0471:485d Senselock SenseIV at 1-1: no serial, local\n"),
        Look("senselock-wants-forwarded", (*SENSELOCK, "--location", "forwarded"), 2,
             "SENSELOCK CRITICAL - key not where it should be (forwarded): 0471:485d at 1-1, local; move it back, or change --location"
             " | keys=1;;1:;0 forwarded=0;;;0 key_state=0 location_state=2\n"),
        # The proof that the watch on opened devices sees one: this reads the key's device node.
        Look("the-watch-sees-an-open", ("head", "-c", "2", "/dev/bus/usb/001/002"), 0, "\x12\x01", user=None, opened=("001/002",)),
    )),
    Scene("local-and-forwarded-key", Stage.attach, (
        Look("senselock", (*SENSELOCK, "-w", "2:2"), 0,
             f"SENSELOCK OK - 2 SenseLock keys: 0471:485d at 1-1, local; {FORWARDED} | keys=2;2:2;1:;0 forwarded=1;;;0 key_state=0\n"),
    )),
    Scene("forwarded-key", Stage.leave_only_the_forwarded_key, (
        Look("senselock", (*SENSELOCK, "--location", "forwarded", "--serial", SERIAL), 0, FORWARDED_KEY.replace("\n", " location_state=0\n")),
        Look("senselock-wants-local", (*SENSELOCK, "--location", "local"), 2,
             f"SENSELOCK CRITICAL - key not where it should be (local): {FORWARDED}; move it back, or change --location"
             " | keys=1;;1:;0 forwarded=1;;;0 key_state=0 location_state=2\n"),
        # usbip notes the server's address in a file that only root may read.
        Look("senselock-as-root", (*SENSELOCK, "-v"), 0,
             f"SENSELOCK OK - 1 SenseLock key: {FORWARDED} from {{host}}:{{port}} | keys=1;;1:;0 forwarded=1;;;0 key_state=0\n"
             f"key 1bc0:0051 Elite5 at 3-1: serial {SERIAL}, forwarded over USB/IP, vhci_hcd port 0 from {{host}}:{{port}}\n",
             user=None),
        Look("redirector", (*REDIRECTOR, "-v"), 0, ATTACHED + "ok: key 1bc0:0051 is attached here\n"
             "device 1bc0:0051 at 3-1 is attached here\n"),
        Look("redirector-here", HERE, 3, NOT_ASKED),
        Look("redirector-here-as-root", HERE, 0, ATTACHED, user=None),
        Look("redirector-by-its-tool", (*HERE, "--list-command", "usbip port"), 0, ATTACHED, user=None),
    )),
    Scene("license-over", Stage.expire, (
        Look("senselock", SENSELOCK, 2, NO_KEY),
        Look("redirector", REDIRECTOR, 2, "USB_REDIRECTOR CRITICAL - key 1bc0:0051 is not attached here (devices listed: 0): run usbip attach"
             " | devices=0;;;0 time=#s;;;0 answer_state=0 device_state=2\n"),
        Look("attach-again", (*USBIP, "attach", "-r", "{host}", "-b", "1-4"), 1, "",
             USING_PORT + "usbip: error: Attach Request for 1-4 failed - Request Failed\n\n", user=None),
        Look("senselock-after-the-refusal", (*SENSELOCK, "-v"), 2, NO_KEY, user=None),
    )),
    Scene("renewed", Stage.renew, (
        Look("senselock", SENSELOCK, 0, FORWARDED_KEY),
        Look("redirector", REDIRECTOR, 0, ATTACHED),
    )),
    Scene("connection-cut", Stage.drop, (
        Look("senselock", SENSELOCK, 2, NO_KEY),
        # The forwarder is well and offers the key again; that this machine has lost it is the finding of the other two.
        Look("redirector", REDIRECTOR, 0, OFFERED),
        Look("redirector-here", HERE, 2, NOT_ATTACHED),
    )),
    Scene("attached-again", Stage.attach, (
        Look("senselock", SENSELOCK, 0, FORWARDED_KEY),
    )),
    Scene("forbidden", Stage.forbid_forwarded_key, (
        Look("kernel", ATTRIBUTES, 1, "0\n"),
        Look("no-program-can-use-it", CLAIM, 0, "[Errno 2] Entity not found\n", user=None, opened=("003/004",)),
        Look("senselock", SENSELOCK, 2, UNUSABLE_KEY.replace("#", NOT_AUTHORIZED.replace("#", "3-1"))),
        Look("redirector", REDIRECTOR, 2, "USB_REDIRECTOR CRITICAL - key 1bc0:0051 is attached here, but cannot be used: "
             f"{NOT_AUTHORIZED.replace('#', '3-1')} | devices=0;;;0 time=#s;;;0 answer_state=0 device_state=2\n"),
    )),
    Scene("its-interface-forbidden", Stage.forbid_its_interface, (
        Look("kernel", ATTRIBUTES, 0, "1\n1\n3-1:1.0\n"),
        Look("no-program-can-use-it", CLAIM, 0, "[Errno 19] No such device (it may have been disconnected)\n", user=None, opened=("003/004",)),
        Look("senselock", SENSELOCK, 2, UNUSABLE_KEY.replace("#", NOT_AUTHORIZED.replace("#", "3-1:1.0"))),
    )),
    Scene("not-configured", Stage.take_its_configuration, (
        Look("kernel", ATTRIBUTES, 1, "1\n"),
        Look("no-program-can-use-it", CLAIM, 0, "[Errno 2] Entity not found\n", user=None, opened=("003/004",)),
        Look("senselock", SENSELOCK, 2, UNUSABLE_KEY.replace("#", NOT_CONFIGURED)),
    )),
    Scene("allowed-and-configured", Stage.configure_it, (
        Look("a-program-can-use-it", CLAIM, 0, "claimed\n", user=None, opened=("003/004",)),
        Look("senselock", SENSELOCK, 0, FORWARDED_KEY),
    )),
    Scene("server-lost-and-back", Stage.lose_the_server, (
        Look("senselock", SENSELOCK, 0, FORWARDED_KEY),
        Look("redirector-here-as-root", HERE, 2, "USB_REDIRECTOR CRITICAL - key 1bc0:0051 is attached over a dead connection:"
             " run usbip detach, then attach it again | devices=0;;;0 time=#s;;;0 answer_state=0 device_state=2\n", user=None),
    )),
    Scene("attached-twice", Stage.attach_twice, (
        Look("senselock-as-root", SENSELOCK, 2, f"SENSELOCK CRITICAL - {TWO_PORTS} | keys=2;;1:;0 forwarded=2;;;0 key_state=2\n", user=None),
        # Which server and key a port holds is noted for root alone.
        Look("senselock", SENSELOCK, 3, "SENSELOCK UNKNOWN - cannot tell whether vhci_hcd ports 0 and 1 hold the same key: only root may read"
             " /var/run/vhci_hcd; see usbip port as root, or let this user read it | keys=2;;1:;0 forwarded=2;;;0 key_state=3\n"),
        Look("redirector-here-as-root", HERE, 2, HELD_TWICE, user=None),
        Look("redirector-by-its-tool", (*HERE, "--list-command", "usbip port"), 2, HELD_TWICE, user=None),
        Look("a-program-that-opens-the-dead-one-hangs", USE_THE_DEAD_ONE, None, "", user=None, limit=8, state="D", opened=("003/004",)),
    )),
    Scene("attached-once", Stage.detach_both, (
        Look("senselock", SENSELOCK, 0, FORWARDED_KEY),
    )),
    Scene("frozen", Stage.freeze, (
        # The kernel still lists the key, strings included.
        Look("kernel", ("cat", "/sys/bus/usb/devices/3-1/serial"), 0, f"{SERIAL}\n"),
        Look("senselock", (*SENSELOCK, "--serial", SERIAL), 0, FORWARDED_KEY),
        # As root it could open the key, and must not.
        Look("senselock-as-root", SENSELOCK, 0, FORWARDED_KEY.replace("port 0", "port 0 from {host}:{port}"), user=None),
        Look("redirector", REDIRECTOR, 2, SILENT),
        Look("redirector-here", HERE, 3, NOT_ASKED),
        Look("redirector-here-as-root", (*HERE, "-t", "6"), 2, SILENT, user=None),
        Look("usbip-list-hangs", (*USBIP, "list", "-r", "{host}"), None, "", USING_PORT, limit=3, state="gone"),
    )),
    Scene("frozen-and-used", Stage.use_the_key, (
        # The program holds the key's lock in the kernel, so its strings cannot be read any more. libusb reads more than
        # that, uninterruptibly: a check that lists the bus through it now does not even die from SIGKILL.
        Look("kernel", ("cat", "/sys/bus/usb/devices/3-1/serial"), None, "", limit=2, state="gone"),
        Look("senselock", SENSELOCK, 2, "SENSELOCK CRITICAL - the key is listed but does not answer the program that uses it: "
             f"{FORWARDED}; see whether the forwarder hangs | key_state=2\n"),
        Look("redirector", (*REDIRECTOR, "-t", "6"), 2, SILENT_AND_USED),
        Look("redirector-by-its-tool", (*HERE, "-t", "6", "--list-command", "usbip port"), 3,
             "USB_REDIRECTOR UNKNOWN - list command usbip port did not end within # s; is it installed here, and does its daemon answer? | answer_state=3\n"),
    )),
    Scene("thawed", Stage.thaw, (
        Look("senselock", (*SENSELOCK, "--serial", SERIAL), 0, FORWARDED_KEY),
        Look("redirector", REDIRECTOR, 0, ATTACHED),
    )),
)  # fmt: skip


@dataclass
class Played:
    """What the evening gave: each look's outcome, and why it ended early if it did."""

    words: dict[str, str] = field(default_factory=dict)
    outcomes: dict[tuple[str, str], Ran] = field(default_factory=dict)
    failure: str = ""
    report: str = ""


@pytest.fixture(scope="module")
def evening() -> Iterator[Played]:
    """Play the table once. An accident ends the play; the looks taken before it keep their outcome."""
    played = Played()
    started = time.monotonic()
    try:
        with Stage(CHECKS) as stage:
            played.words = stage.words
            played.report = f"boot {stage.guest.boot_seconds:.1f} s ({stage.guest.hello})"
            for scene in EVENING:
                scene.happens(stage)
                for look in scene.looks:
                    played.outcomes[scene.name, look.name] = stage.look(look.command, look.user, look.limit)
    except Exception as error:  # noqa: BLE001  whatever it is, every look that is missing fails with it
        played.failure = f"{type(error).__name__}: {error}"
    print(f"{played.report}, whole evening {time.monotonic() - started:.1f} s")
    yield played


@pytest.mark.parametrize(
    ("scene", "look"),
    [pytest.param(scene.name, look, id=f"{scene.name}-{look.name}") for scene in EVENING for look in scene.looks],
)
def test_look(evening: Played, scene: str, look: Look) -> None:
    ran = evening.outcomes.get((scene, look.name))
    assert ran, f"the evening did not come to this: {evening.failure}"
    wanted = tuple(text.format(**evening.words) for text in (look.stdout, look.stderr))
    assert (ran.exit, measured(ran.stdout), ran.stderr) == (look.exit, *wanted)
    assert (ran.state, ran.opened) == (look.state, look.opened)
    if look.exit is not None:
        assert ran.seconds < TIME_LIMIT


def measured(text: str) -> str:
    """The text with `#` in place of a measured time."""
    return re.sub(r"(\btime=|within )[0-9.]+( ?s)\b", r"\1#\2", text)
