"""The language in which a check speaks: English, or that of a catalogue in locale/ (gettext).

In a function write `_("port open at {host}:{port}", host, port)`, `ngettext("{n} day", "{n} days", days)`.
At module level, before the language is known, mark a text, N_("..."), and speak it later, _(TEXT).
"""

from __future__ import annotations

import os
import re
from typing import Any, Sequence

LANGUAGES = ("en", "ru")
_catalogue: Any = None  # None = English


def choose(arguments: Sequence[str]) -> None:
    """Speak the language that the bare arguments name, else KODEKS_LANGUAGE. Of nonsense the parser tells.

    The locale does not count: engines start a check in any. A missing or broken catalogue means English."""
    global _catalogue
    named = re.findall(r"(?m)^--language[=\n](.*)", "\n".join(arguments))
    wanted = (named or [os.environ.get("KODEKS_LANGUAGE", "")])[-1].lower()
    _catalogue = None
    if wanted in LANGUAGES[1:]:
        import gettext
        import io

        folder = os.path.join(os.path.dirname(os.path.dirname(__file__)), "locale", wanted, "LC_MESSAGES")
        try:  # the loader reads it also inside a zip file
            loader: Any = __spec__.loader
            content = loader.get_data(os.path.join(folder, "kodeks_monitoring.mo"))
            _catalogue = gettext.GNUTranslations(io.BytesIO(content))
        except Exception:  # noqa: BLE001  what is no catalogue raises what it likes
            return


def _(text: str, *values: object) -> str:
    """The text in the chosen language, with the values for its {names}, in the order of the English."""
    return _filled(text, _catalogue.gettext(text) if _catalogue and text else text, values)


def ngettext(one: str, many: str, n: int, *values: object) -> str:
    """Like _, in the form that goes with the number {n}."""
    text = one if n == 1 else many
    return _filled("{n}" + many, _catalogue.ngettext(one, many, n) if _catalogue else text, (n, *values))


def N_(text: str) -> str:
    """A text that is spoken later."""
    return text


def _filled(english: str, text: str, values: Sequence[object]) -> str:
    named = dict(zip(dict.fromkeys(re.findall(r"\{(\w+)\}", english)), values))
    return re.sub(r"\{(\w+)\}", lambda found: str(named.get(found[1], found[0])), text)


SYSTEM = (
    N_("Permission denied"), N_("No such file or directory"), N_("No route to host"),
    N_("Network is unreachable"), N_("Name or service not known"), N_("Is a directory"),
)  # fmt: skip
"""Frequent words of the operating system, which are spoken as they come."""
