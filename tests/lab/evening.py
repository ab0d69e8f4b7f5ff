"""The world of the incident, scene by scene: one virtual machine with Kodeks, whose key a forwarder brings.

    with Evening(folder) as evening:
        evening.play("license expired")
        run_check("usb_redirector", *evening.arguments("usb_redirector"), env=evening.env)

The key sits in a far machine's port and is forwarded by USB Redirector. On this machine the forwarder is what a client
has: the daemon `usbsrvd`, the list tool `usbclnt`, a virtual controller with the key; the far machine's port is a port
on loopback. The checks are the real ones; so is libusb. A scene changes this world while engines run; nothing of an
engine's configuration has to change, for the license date stands in an ini file that --extra-opts reads.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from types import TracebackType

from lab import reports
from lab.faults import PortState
from lab.forwarder_tools import ForwarderDaemon, ForwarderTools, forwarder_daemon, sample, silent_port
from lab.kodeks_server import PASSWORD, USER, KodeksServer, LicenseManager
from lab.put import put
from lab.run_check import command
from lab.usb_bus import UsbBus

KEY = "0471:485d"


@dataclass(frozen=True)
class Scene:
    """One state of the world and what is told about it.

    `license_days`: days until the forwarder's license ends. `key`: the forwarder brings the key to this machine.
    `kodeks`: the binding that the server reports. `frozen`: the forwarder's daemon is there but does nothing.
    """

    title: str
    license_days: int = 200
    key: bool = True
    kodeks: str = reports.WORKS
    frozen: bool = False


SCENES = {
    "all well": Scene("all well"),
    "20 days left": Scene("the forwarder's license has 20 days left", 20),
    "license expired": Scene("the license expired yesterday; the connection still stands", -1),
    "key dropped": Scene("the forwarder drops the key", -1, key=False),
    "Kodeks lost": Scene("Kodeks notices that its key is gone", -1, key=False, kodeks=reports.NOT_FOUND),
    "frozen": Scene("license renewed, but the forwarder is frozen: the key is listed and dead", 365, kodeks=reports.NOT_FOUND, frozen=True),
    "recovered": Scene("the forwarder is restarted: all well again", 365),
    # Not part of the evening: the key is pulled out of its port while the forwarder is well.
    "key pulled": Scene("the key is pulled out", key=False, kodeks=reports.NOT_FOUND),
    "Kodeks unwell": Scene("only Kodeks complains", kodeks=reports.NOT_FOUND),
}
"""By name. The evening proper is the first seven, in this order."""

THE_EVENING = tuple(SCENES)[:7]


class Evening:
    """The world. `folder` is filled with what the checks read and run, readable by every user; `today` is the machine's date.

    `owner` is the (number of the) user who runs the checks: the file with the password is his, and closed to others. `daemon` is the
    name of the forwarder's daemon, by default one that only this evening has.
    """

    def __init__(self, folder: Path, owner: int | None = None, daemon: str = "") -> None:
        self.folder = folder
        self.owner = owner
        # Two evenings on one machine must not see each other's daemon.
        self.daemon_name = daemon or f"usbsrvd-{os.urandom(3).hex()}"
        self.scene = "all well"
        self._stack = ExitStack()
        self._key_name = ""
        self._daemon: ForwarderDaemon | None = None

    def __enter__(self) -> Evening:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o777)  # the fake tool keeps a log of its calls here, whoever runs it
        self.bus = self._stack.enter_context(UsbBus())
        self.bus.add_mouse()
        self.bus.add_controller("usb-redirector")
        self.kodeks = self._stack.enter_context(KodeksServer())
        self.license_manager = self._stack.enter_context(LicenseManager())
        self.forwarder_port = self._stack.enter_context(silent_port())
        self.tools = self._stack.enter_context(ForwarderTools(self.folder))
        self._daemon = self._stack.enter_context(forwarder_daemon(self.daemon_name))
        self.play("all well")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._daemon is not None and SCENES[self.scene].frozen:
            self._daemon.thaw()
        self._stack.close()

    @property
    def env(self) -> dict[str, str]:
        """The environment of the checks: the emulated USB bus."""
        return self.bus.env()

    @property
    def ini(self) -> Path:
        """The file for --extra-opts: a section for each check, the password and the license date among them."""
        return self.folder / "kodeks.ini"

    @property
    def list_tool(self) -> Path:
        """The forwarder's tool."""
        return self.folder / "usbclnt"

    def play(self, name: str) -> Scene:
        """Bring the world into the state of a scene; everything is in place when this returns."""
        before, scene = SCENES[self.scene], SCENES[name]
        self._write_ini(scene)
        self._play_forwarder(before, scene)
        if scene.key and not self._key_name:
            self._key_name = self.bus.add_key(where="usb-redirector")
        elif not scene.key and self._key_name:
            self.bus.remove(self._key_name)
            self._key_name = ""
        self.kodeks.set(binding=scene.kodeks.replace(reports.LICENSE_MANAGER, self.license_manager.address))
        self.scene = name
        return scene

    def license_manager_down(self) -> None:
        """The license manager refuses connections, and Kodeks reports that it has no key from it."""
        self.license_manager.set(PortState.REFUSED)
        self.kodeks.set(binding=reports.NOT_AVAILABLE.replace(reports.LICENSE_MANAGER, self.license_manager.address))

    def license_manager_up(self) -> None:
        """It is back."""
        self.license_manager.set(PortState.OPEN)
        self.play(self.scene)

    def arguments(self, check: str) -> list[str]:
        """What an operator writes behind the name of each check."""
        return [f"--extra-opts=@{self.ini}"]

    def command(self, check: str) -> list[str]:
        """The whole command line of a check."""
        return command(check, *self.arguments(check), python=sys.executable)

    def license_ends(self) -> date:
        """The last day of the forwarder's license in this scene."""
        return date.today() + timedelta(days=SCENES[self.scene].license_days)

    def _write_ini(self, scene: Scene) -> None:
        ends = date.today() + timedelta(days=scene.license_days)
        text = (
            f"[check_senselock]\nlocation = forwarded\n"
            f"[check_usb_redirector]\nproduct = usb-redirector\nprocess = {self.daemon_name}\nlist-command = {self.list_tool} -list\ndevice = {KEY}\n"
            f"hostname = 127.0.0.1\nport = {self.forwarder_port}\nlicense-expires = {ends.isoformat()}\n"
            f"[check_kodeks_xml]\nhostname = {self.kodeks.host}\nport = {self.kodeks.port}\n"
            f"logname = {USER}\npassword = {PASSWORD}\n"
        )
        put(self.ini, text, 0o640, self.owner)

    def _play_forwarder(self, before: Scene, scene: Scene) -> None:
        assert self._daemon is not None
        if scene.frozen:
            self.tools.hangs("usbclnt")
            self._daemon.freeze()
            return
        if before.frozen:
            self._daemon.thaw()
        state = "connected" if scene.key else "not-available"
        self.tools.prints("usbclnt", sample(f"usbclnt-list-key-{state}-constructed.txt"))
