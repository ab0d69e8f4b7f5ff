"""The tests of tests/functional, loaded once more under other names, so that another suite can run them on another machine."""

from __future__ import annotations

import importlib.util
import sys
from types import FunctionType, ModuleType

from lab.run_check import ROOT


def table(name: str) -> ModuleType:
    """A module of tests/functional. What is changed in it stays there."""
    spec = importlib.util.spec_from_file_location(f"table_{name}", ROOT / f"tests/functional/test_{name}.py")
    assert spec and spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update(PUNCTUAL=10, SHORT="4")  # seconds: Wine takes its time to start a program
    return module


TABLES = {name: table(name) for name in ("contract", "kodeks", "senselock", "usb_redirector")}
TESTS = {
    f"test_{name}_{function.removeprefix('test_')}": thing
    for name, module in TABLES.items()
    for function, thing in vars(module).items()
    if function.startswith("test_") and isinstance(thing, FunctionType)
}
"""By the module's name and their own: test_kodeks_bindings."""
