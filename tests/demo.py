"""The evening, replayed: each scene with what the three checks really say about it, and at the end what broke first.

The USB bus is emulated (the real libusb reads it), the Kodeks server and the forwarder are stand-ins from tests/lab;
the checks are the product itself, run as an engine runs them.
"""

from __future__ import annotations

import sys
import tempfile
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from lab.evening import SCENES, THE_EVENING, Evening
from lab.guidelines import STATES
from lab.run_check import Outcome, run_process

CHAIN = ("senselock", "usb_redirector", "kodeks_xml")
COLORS = {0: "32", 1: "33", 2: "31", 3: "35"}


def main() -> int:
    """Play all scenes; exit 1 if a check broke the contract on the way."""
    print("The evening, scene by scene. The lines are what the checks print, the numbers their exit codes.\n")
    firsts: list[tuple[str, str, Outcome]] = []
    breaches: list[str] = []
    with tempfile.TemporaryDirectory(prefix="evening.") as folder, Evening(Path(folder), daemon="usbsrvd") as evening:
        for number, name in enumerate(THE_EVENING, 1):
            evening.play(name)
            print(f"{bold(f'Scene {number}: {SCENES[name].title}')}")
            for check in CHAIN:
                outcome = run_process(evening.command(check), env=evening.env)
                breaches += outcome.breaches()
                if outcome.code and check not in [link for link, _, _ in firsts]:
                    firsts.append((check, name, outcome))
                print(shown(outcome))
            print()
    tell_what_broke_first(firsts)
    for breach in breaches:
        print(f"the contract was broken: {breach}")
    return 1 if breaches else 0


def shown(outcome: Outcome) -> str:
    """The exit code in the state's colour and the line, folded for a terminal."""
    line = textwrap.fill(outcome.line, 110, initial_indent=f"  exit {outcome.code}  ", subsequent_indent=" " * 10)
    return line.replace(STATES[outcome.code], colored(STATES[outcome.code], outcome.code), 1)


def tell_what_broke_first(firsts: list[tuple[str, str, Outcome]]) -> None:
    """The moral, computed from what the checks said: which link spoke up first, and how long before the users."""
    if not firsts:
        print("No check reported anything: the demo itself is broken.")
        return
    check, scene, outcome = firsts[0]
    print(bold("What broke first"))
    print(f"  check_{check} spoke first, in scene {THE_EVENING.index(scene) + 1} ({SCENES[scene].title}):")
    print(shown(outcome))
    last, last_scene, _ = firsts[-1]
    print(f"  check_{last} noticed only in scene {THE_EVENING.index(last_scene) + 1}, when the users did.")
    print(f"  It could have been known {SCENES[scene].license_days} days before, and at the default threshold 30 days before.")


def bold(text: str) -> str:
    """Emphasis where the output is a terminal."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


def colored(text: str, state: int) -> str:
    """The colour of a state where the output is a terminal."""
    return f"\033[{COLORS[state]}m{text}\033[0m" if sys.stdout.isatty() else text


if __name__ == "__main__":
    sys.exit(main())
