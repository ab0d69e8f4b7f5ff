"""Which tests need more than a virtual environment: root, a Debian package, a program that Python does not bring.

Nobody marks a test. What a test function refers to says it: its helpers, its fixtures, the constants in their code and
the values that it is run with are walked through, and what turns up there of the tables below is what the test needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FunctionType, ModuleType
from typing import Any

LAB_MODULES = {
    "lab.usb_bus": "umockdev",
    "lab.evening": "umockdev",
    "lab.kodeks_machine": "umockdev",
    "lab.libusb_worlds": "a compiler",
    "lab.throwaway_machine": "root",
    "lab.machine_to_set_up": "root",
    "lab.bare_python": "root",
    "lab.own_mounts": "root",
    "lab.engine_folders": "an engine",
    "lab.windows": "Wine",
}
"""A class or function of such a module that is used is what the test needs."""

WORDS = {
    r"/usr/bin/python3\b.*": "Debian's Python packages",
    r"(setpriv|unshare|chroot|nsenter)\b.*": "root",
    r"(gcc|faketime|valgrind|lsusb|man|lintian|/usr/bin/time)": "a Debian package",
    r"libfaketime\S*": "a Debian package",
    r"(usbip )?--tcp-port\b.*": "a Debian package",
}
"""A string that is such a command, or the beginning of its line, is what the test needs."""

OF_THE_WHOLE_MACHINE = {("lab.forwarder_tools", "forwarder_daemon")}
"""What all processes of this machine see: two tests that use one of these must not run at once."""

_WORDS = [(re.compile(pattern, re.DOTALL), need) for pattern, need in WORDS.items()]


def needs_of(function: FunctionType, values: Mapping[str, Any], fixtures: Iterable[FunctionType]) -> list[str]:
    """What a test needs, in words, without repetition; an empty list for one that needs nothing."""
    needs = set()
    for thing in _reached(function, values, fixtures):
        if isinstance(thing, str):
            needs |= {need for pattern, need in _WORDS if pattern.fullmatch(thing)}
        elif _is_of_a_lab_module(thing):
            needs.add(LAB_MODULES[thing.__module__])
    return sorted(needs)


def is_seen_everywhere(function: FunctionType, values: Mapping[str, Any], fixtures: Iterable[FunctionType]) -> bool:
    """Whether a test does what all processes of this machine see, so that it must not run beside another such test."""
    reached = _reached(function, values, fixtures)
    return any(isinstance(thing, FunctionType) and (thing.__module__, thing.__qualname__) in OF_THE_WHOLE_MACHINE for thing in reached)


def _is_of_a_lab_module(thing: Any) -> bool:
    return isinstance(thing, (FunctionType, type)) and thing.__module__ in LAB_MODULES


def _reached(function: FunctionType, values: Mapping[str, Any], fixtures: Iterable[FunctionType]) -> Iterator[Any]:
    """The function, and all that it, its values and its fixtures refer to, each once. What a lab module needs is known, so
    nobody goes into it."""
    things: list[Any] = [function, *fixtures, *values.values()]
    seen: set[int] = set()
    while things:
        thing = things.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        yield thing
        if isinstance(thing, (list, tuple, set, frozenset)):
            things += thing
        elif isinstance(thing, dict):
            things += [*thing.keys(), *thing.values()]
        elif _is_of_a_lab_module(thing):
            pass
        elif isinstance(thing, FunctionType):
            things += _referred(thing)
        elif isinstance(thing, type):
            things += [part for part in vars(thing).values() if isinstance(part, FunctionType)] if _is_ours(thing) else []
        elif _is_ours(type(thing)) and hasattr(thing, "__dict__"):
            things += vars(thing).values()


def _referred(function: FunctionType) -> list[Any]:
    """What a function of the tests refers to: constants and globals of its code, values of its closure."""
    if not _is_ours(function):
        return []
    found: list[Any] = [cell.cell_contents for cell in function.__closure__ or () if _is_set(cell)]
    found += [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    codes = [function.__code__]
    for code in codes:  # it grows meanwhile
        found += [constant for constant in code.co_consts if not isinstance(constant, CodeType)]
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
        for name in code.co_names:
            thing = function.__globals__.get(name)
            if isinstance(thing, ModuleType) and thing.__name__ in LAB_MODULES:
                found += [vars(thing).get(attribute) for attribute in code.co_names]
            elif not isinstance(thing, ModuleType):
                found.append(thing)
    return found


def _is_set(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _is_ours(thing: Any) -> bool:
    """Whether a function or class is a test's or the lab's own: what a library does is its own affair."""
    module = str(getattr(thing, "__module__", ""))
    return module.startswith(("lab.", "tests.", "hostile")) or module.rpartition(".")[2].startswith(("test_", "conftest"))
