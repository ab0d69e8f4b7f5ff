"""Plugins that cost a thousandth of a second and say what the real ones said: what a fleet of simulated machines runs.

    with Recorded() as machines:
        machines.add("kodeks-0001", FORWARDED)   # its plugin folder: machines.plugins("kodeks-0001")
        machines.play(LOST, ["kodeks-0001"])

A thousand hosts with three Python plugins a minute and 60 ms each would need more than three cores. So each check was run
once for each kind of machine and each scene, on the lab's own machine, with the options that the service definitions
give it; from then on a shell script prints its output and ends with its exit code. Whatever is not a plugin stays real:
who starts it, when, with which arguments and what is made of it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from lab.engine_process import open_folder
from lab.kodeks_machine import KodeksMachine
from lab.run_check import Outcome, run_check

FORWARDED, LOCAL = "forwarded", "local"
"""Where the key of a machine is: brought by a forwarder, or in a port of the machine."""
WELL, LOST = "all well", "key pulled"
"""Scenes of the evening that machines play."""
FIRST_LINK = {FORWARDED: "UsbForwarderStatus", LOCAL: "SenseLockKeyStatus"}
"""The first broken link of a machine whose key is lost: a forwarder without its key says so itself."""


def outcomes(kind: str) -> Mapping[tuple[str, str], Outcome]:
    """What the real checks say of a machine: scene and check; "license" is check_usb_redirector that judges the date alone."""
    found: dict[tuple[str, str], Outcome] = {}
    with KodeksMachine("recorded", kind) as machine:
        world = machine.evening
        product = ("--product", "usb-redirector", "--license-expires")
        for scene in (WELL, LOST):
            machine.play(scene)
            runs: dict[str, tuple[str, ...]] = {
                "senselock": ("--location", kind),
                "kodeks_xml": tuple(world.arguments("kodeks_xml")),
            }
            if kind == FORWARDED:
                runs["usb_redirector"] = (*world.arguments("usb_redirector"), "-w", "0:", "-c", "0:")
                runs["license"] = (*product, world.license_ends().isoformat(), "--no-list", "-w", "30:", "-c", "0:")
            for name, arguments in runs.items():
                check = "usb_redirector" if name == "license" else name
                found[scene, name] = run_check(check, *arguments, env=world.env)
    return found


def script(outcome: Outcome) -> str:
    """Shell that prints an outcome and ends with its exit code."""
    return f"printf '%s' {shlex.quote(outcome.text)}\nexit {outcome.code}\n"


class Recorded:
    """The machines' plugin folders. A folder is a link to that of the machine's kind and scene, so a scene changes at once.

    `said` has what the real checks printed: by kind, then by scene and check.
    """

    def __init__(self) -> None:
        self.folder = open_folder("recorded.")
        self.kinds: dict[str, str] = {}
        self.said: dict[str, Mapping[tuple[str, str], Outcome]] = {}

    def __enter__(self) -> Recorded:
        for kind in (FORWARDED, LOCAL):
            said = self.said[kind] = outcomes(kind)
            for scene in (WELL, LOST):
                scripts = {name: script(outcome) for (told, name), outcome in said.items() if told == scene}
                if kind == FORWARDED:
                    only_date = f'case " $* " in *" --no-list "*)\n{scripts.pop("license")};; esac\n'
                    scripts["usb_redirector"] = only_date + scripts["usb_redirector"]
                self._write(self._scene(kind, scene), scripts)
        (self.folder / "machines").mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        shutil.rmtree(self.folder)

    def _scene(self, kind: str, scene: str) -> Path:
        return self.folder / f"{kind}-{scene.replace(' ', '-')}"

    def _write(self, folder: Path, scripts: Mapping[str, str]) -> None:
        folder.mkdir()
        for name, text in scripts.items():
            plugin = folder / f"check_{name}.py"
            plugin.write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
            plugin.chmod(0o755)

    def plugins(self, machine: str) -> Path:
        """The plugin folder of a machine."""
        return self.folder / "machines" / machine

    def add(self, machine: str, kind: str) -> None:
        """A machine more, and all is well with it."""
        self.kinds[machine] = kind
        self._enter(machine, WELL)

    def _enter(self, machine: str, scene: str) -> None:
        new = self.folder / "new"
        new.symlink_to(self._scene(self.kinds[machine], scene))
        os.replace(new, self.plugins(machine))  # a check that starts right now sees the old folder or the new one

    def play(self, scene: str, machines: Sequence[str], within: float = 0.0) -> None:
        """Bring these machines into a scene, evenly within so many seconds; returns when all are in it."""
        begun = time.monotonic()
        for number, machine in enumerate(machines):
            time.sleep(max(0.0, begun + within * number / len(machines) - time.monotonic()))
            self._enter(machine, scene)

    def firing(self, machines: Iterable[str]) -> list[str]:
        """Which link of each of these must speak when its key is lost: "HOST SERVICE"."""
        return [f"{machine} {FIRST_LINK[self.kinds[machine]]}" for machine in machines]
