"""What a story plays on: servers, machines and lines that are brought up together and end together."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self


class World(ABC):
    """Everything running; a context manager. `_start` puts on the stack what must end, also where it comes only half way."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @abstractmethod
    def _start(self) -> None:
        """Bring everything up."""

    @abstractmethod
    def state(self) -> str:
        """Where things stand, for a failure."""

    def wait(self, what: str, probe: Callable[[], bool], timeout: float, pause: float = 0.25) -> float:
        """Wait for something and return when it was so; AssertionError with where things stand."""
        deadline = time.time() + timeout
        while not probe():
            assert time.time() < deadline, f"not within {timeout:g} s: {what}; {self.state()}"
            time.sleep(pause)
        return time.time()
