"""What is publicly known of a forwarder, one module of products/ each (vendors' manuals, public wrappers)."""

from __future__ import annotations

import importlib
import os
from typing import Callable, Mapping, NamedTuple, Sequence

from . import products
from .listing import Finding, Listing


class Product(NamedTuple):
    """How a forwarder is watched.

    `sources` by side and os.name, the usual side first, is what is asked if nothing else is named: its list
    command, or "process:NAME", "service:NAME". `read` reads the lines of its list: a Listing, or a Finding if
    the tool says in known words why there is none; None = nobody has published a list. `exit_codes` are those
    of a tool that answers by them alone: (part, Finding). A tool whose `exit_code_counts` is False ends with
    any code. `silent` is what it means that a command with this last word prints nothing.
    """

    title: str
    needs_license: bool = False
    port: int = 0
    sources: Mapping[tuple[str, str], str] = {}
    read: Callable[[Sequence[str]], Listing | Finding] | None = None
    exit_codes: Mapping[int, tuple[str, Finding]] = {}
    exit_code_counts: bool = True
    silent: Mapping[str, Listing] = {}
    processes: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


def product_names() -> tuple[str, ...]:
    """The products that can be chosen: the modules in the folder, also inside a zip file."""
    (folder,) = products.__path__
    if os.path.isdir(folder):  # pkgutil would import inspect, which takes as long as all the rest
        modules = [name[:-3] for name in os.listdir(folder) if name.endswith(".py") and name != "__init__.py"]
    else:
        import pkgutil

        modules = [module.name for module in pkgutil.iter_modules([folder])]
    return tuple(sorted(module.replace("_", "-") for module in modules))


def load_product(name: str) -> Product:
    """The product of this name; no other is imported."""
    product: Product = importlib.import_module(f"{products.__name__}.{name.replace('-', '_')}").PRODUCT
    return product
