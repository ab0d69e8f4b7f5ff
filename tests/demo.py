"""The evening, replayed: each scene with what the three checks really say about it, and at the end what broke first.

The USB bus is emulated (the real libusb reads it), the Kodeks server and the forwarder are stand-ins from tests/lab;
the checks are the product itself, run as an engine runs them.
"""

from __future__ import annotations

import argparse
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

WORDS = {
    "en": {
        "evening": "The evening, scene by scene. The lines are what the checks print, the numbers their exit codes.\n",
        "scene": "Scene {number}: {title}",
        "exit": "exit",
        "nothing": "No check reported anything: the demo itself is broken.",
        "first": "What broke first",
        "spoke": "  check_{check} spoke first, in scene {number} ({title}):",
        "noticed": "  check_{check} noticed only in scene {number}, when the users did.",
        "known": "  It could have been known {days} days before, and at the default threshold 30 days before.",
        **{name: scene.title for name, scene in SCENES.items()},
    },
    "ru": {
        "evening": "Тот вечер, сцена за сценой. Строки печатают сами проверки, числа — их коды завершения.\n",
        "scene": "Сцена {number}: {title}",
        "exit": "код",
        "nothing": "Ни одна проверка ничего не сообщила: сломана сама демонстрация.",
        "first": "Что сломалось первым",
        "spoke": "  Первой заговорила check_{check}, в сцене {number} ({title}):",
        "noticed": "  check_{check} заметила это только в сцене {number}, вместе с пользователями.",
        "known": "  Узнать об этом можно было за {days} дней, а с обычным порогом — за 30 дней.",
        "all well": "всё хорошо",
        "20 days left": "лицензии на программу проброса осталось 20 дней",
        "license expired": "лицензия вчера истекла, соединение ещё держится",
        "key dropped": "программа проброса бросает ключ",
        "Kodeks lost": "«Кодекс» замечает, что ключа нет",
        "frozen": "лицензию продлили, но программа проброса зависла: ключ виден и мёртв",
        "recovered": "программу проброса перезапустили: снова всё хорошо",
    },
}
"""What the demonstration itself says, and the titles of the scenes."""


def main() -> int:
    """Play all scenes; exit 1 if a check broke the contract on the way."""
    parser = argparse.ArgumentParser(description="The evening, replayed.")
    parser.add_argument("--language", choices=WORDS, default="en", help="in which the checks speak (en)")
    language = parser.parse_args().language
    words = WORDS[language]
    print(words["evening"])
    firsts: list[tuple[str, str, Outcome]] = []
    breaches: list[str] = []
    with tempfile.TemporaryDirectory(prefix="evening.") as folder, Evening(Path(folder), daemon="usbsrvd") as evening:
        for number, name in enumerate(THE_EVENING, 1):
            evening.play(name)
            print(bold(words["scene"].format(number=number, title=words[name])))
            for check in CHAIN:
                outcome = run_process([*evening.command(check), f"--language={language}"], env=evening.env)
                breaches += outcome.breaches()
                if outcome.code and check not in [link for link, _, _ in firsts]:
                    firsts.append((check, name, outcome))
                print(shown(outcome, words))
            print()
    tell_what_broke_first(firsts, words)
    for breach in breaches:
        print(f"the contract was broken: {breach}")
    return 1 if breaches else 0


def shown(outcome: Outcome, words: dict[str, str]) -> str:
    """The exit code in the state's colour and the line, folded for a terminal."""
    line = textwrap.fill(outcome.line, 110, initial_indent=f"  {words['exit']} {outcome.code}  ", subsequent_indent=" " * 10)
    return line.replace(STATES[outcome.code], colored(STATES[outcome.code], outcome.code), 1)


def tell_what_broke_first(firsts: list[tuple[str, str, Outcome]], words: dict[str, str]) -> None:
    """The moral, computed from what the checks said: which link spoke up first, and how long before the users."""
    if not firsts:
        print(words["nothing"])
        return
    check, scene, outcome = firsts[0]
    print(bold(words["first"]))
    print(words["spoke"].format(check=check, number=THE_EVENING.index(scene) + 1, title=words[scene]))
    print(shown(outcome, words))
    last, last_scene, _ = firsts[-1]
    print(words["noticed"].format(check=last, number=THE_EVENING.index(last_scene) + 1))
    print(words["known"].format(days=SCENES[scene].license_days))


def bold(text: str) -> str:
    """Emphasis where the output is a terminal."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


def colored(text: str, state: int) -> str:
    """The colour of a state where the output is a terminal."""
    return f"\033[{COLORS[state]}m{text}\033[0m" if sys.stdout.isatty() else text


if __name__ == "__main__":
    sys.exit(main())
