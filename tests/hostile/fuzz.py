"""The atheris target: coverage of the checks decides what the grammar draws next.

    pip install atheris        (3.0 with Python 3.11; not a requirement of CI)
    python -m hostile.fuzz --property report -runs=100000 -seed=1

Arguments other than --property go to libFuzzer. A failure is raised by the property with its input in it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from random import Random
from typing import Any

from lab.run_check import CHECKS


class FuzzedRandom(Random):
    """A Random whose decisions are the bytes that the fuzzer mutates; zeros once they are used up."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self.data, self.at = data, 0

    def _number(self, size: int) -> int:
        taken = self.data[self.at : self.at + size]
        self.at += size
        return int.from_bytes(taken, "little")

    def random(self) -> float:
        # Used-up bytes decide against whatever has a chance, so that every example ends.
        return self._number(2) / 65536 if self.at < len(self.data) else 0.999

    def getrandbits(self, bits: int) -> int:
        return self._number((bits + 7) // 8) & ((1 << bits) - 1)

    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        low, high = (0, start) if stop is None else (start, stop)
        return low + self._number(2 if high - low > 256 else 1) % (high - low)

    def choice(self, seq: Sequence[Any]) -> Any:  # type: ignore[override]
        return seq[self.randrange(len(seq))]


def main() -> None:
    """The command line."""
    atheris: Any = importlib.import_module("atheris")  # not installed in CI, and without types

    arguments = list(sys.argv)
    at = arguments.index("--property") if "--property" in arguments else 0
    name = arguments[at + 1] if at else "report"
    del arguments[at : at + 2 if at else 0]
    with atheris.instrument_imports(include=[path.stem for path in CHECKS.glob("*.py")]):
        from hostile.properties import PROPERTIES

    def one_input(data: bytes) -> None:
        PROPERTIES[name](FuzzedRandom(data))

    atheris.Setup([*arguments, "-max_len=4096", "-len_control=0"], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
