"""Small configuration files: the ini of --extra-opts, and files that hold a password."""

from __future__ import annotations

import os
import re
import stat
from typing import Sequence

from . import deadline
from .language import _
from .verdict import Problem, clean

INI_FOLDERS = ("/etc/monitoring-plugins", "/usr/local/etc/monitoring-plugins", "/etc/nagios",
               "/usr/local/etc/nagios", "/etc/nagios-plugins", "/etc", "/usr/local/etc",
               "/etc/opt/monitoring-plugins", "/usr/local/nagios/etc")  # fmt: skip
INI_NAMES = ("monitoring-plugins.ini", "plugins.ini", "nagios-plugins.ini")
"""Where --extra-opts looks when no file is named (the page "extra-opts" of the Monitoring Plugins)."""

LARGEST_INI = 1 << 20
# A FIFO in place of a file must be reported, not waited for.
OPEN_FLAGS: int = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def read_private(path: str, purpose: str, limit: int = 4096, private: bool = True) -> str:
    """The text of a small file. With `private`, a file that all users may read or write is refused.

    `purpose` is the option that named it. Bytes that are not UTF-8 survive as surrogates. Every failure is a
    Problem that names the file and the remedy."""
    deadline.doing(_("reading {what}", clean(path, 120)))
    shown = f"{purpose}: {clean(path, 120)}"
    try:
        with open(os.open(path, OPEN_FLAGS), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise Problem(_("{file} is not a regular file", shown))
            if private and os.name == "posix" and mode & (stat.S_IROTH | stat.S_IWOTH):
                what = _("{file} holds a password and is open to all users; run chmod o-rwx on it", shown)
                raise Problem(what)
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = _(clean(getattr(error, "strerror", None) or error, 80))
        sentence = _("{file} cannot be read: {why}; check the path and its rights", shown, why)
        raise Problem(sentence) from None
    if len(content) > limit:
        raise Problem(_("{file} is larger than {limit} bytes", shown, limit))
    return content.decode("utf-8", "surrogateescape")


def read_extra_opts(
    wanted: str, default_section: str, secret_keys: Sequence[str] = ()
) -> list[tuple[str, str | None]]:
    """The options that `[SECTION][@FILE]` stands for. A missing file or section is a Problem."""
    section, at, path = wanted.partition("@")
    section = section or default_section
    if not path:
        places = [f"{folder}/{name}" for name in INI_NAMES for folder in INI_FOLDERS]
        path = os.environ.get("MP_CONFIG_FILE") or next(filter(os.path.exists, places), "")
        if not path:
            raise Problem(_("--extra-opts: no ini file found; looked for {file} and the like; "
                            "name one with @FILE", places[0]))  # fmt: skip
    options = parse_ini(read_private(path, "--extra-opts", LARGEST_INI, private=False), section)
    if options is None:
        shown = clean(section, 60)
        raise Problem(_("--extra-opts: no section [{section}] in {file}", shown, clean(path, 120)))
    # A line without "=", as `password: secret`, is no option, but a password all the same.
    if any(re.split(r"[^\w-]", key)[0] in secret_keys for key, value in options):
        read_private(path, "--extra-opts", LARGEST_INI, private=True)
    return options


def parse_ini(text: str, section: str) -> list[tuple[str, str | None]] | None:
    """Keys and values of every section of that name, in order, repeated keys kept. None = no such section.

    The form of the Monitoring Plugins: `key=value` or a bare `key`; # or ; begins a line of comment."""
    found, inside = False, False
    options: list[tuple[str, str | None]] = []
    # str.splitlines() also ends a line at U+0085, U+2028 and others, and would part a password there.
    for line in re.split("[\r\n]", text):
        line = line.strip().lstrip("\ufeff")
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            inside = re.sub(r"\]\s*[#;].*", "]", line).strip("[] \t") == section
            found = found or inside
        elif inside:
            key, equals, value = line.partition("=")
            options.append((key.strip().lstrip("-"), value.strip() if equals else None))
    return options if found else None
