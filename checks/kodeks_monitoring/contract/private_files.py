"""Small configuration files: the ini of --extra-opts, and files that hold a password."""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager
from typing import BinaryIO, Iterator, Optional, Sequence

from . import deadline
from .language import _
from .verdict import Problem, clean

INI_FOLDERS = ("/etc/monitoring-plugins", "/usr/local/etc/monitoring-plugins", "/etc/nagios",
               "/usr/local/etc/nagios", "/etc/nagios-plugins", "/etc", "/usr/local/etc",
               "/etc/opt/monitoring-plugins", "/usr/local/nagios/etc")  # fmt: skip
INI_NAMES = ("monitoring-plugins.ini", "plugins.ini", "nagios-plugins.ini")
"""Where --extra-opts looks when no file is named (the page "extra-opts" of the Monitoring Plugins)."""

Pairs = list[tuple[str, Optional[str]]]  # keys and values, None for a bare key
LARGEST_INI = 1 << 20
# A FIFO in place of a file must be reported, not waited for.
OPEN_FLAGS: int = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@contextmanager
def opened(path: str, shown: str) -> Iterator[tuple[BinaryIO, os.stat_result]]:
    """A regular file and its status. Every failure is a Problem that begins with `shown`."""
    try:
        with open(os.open(path, OPEN_FLAGS), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Problem(_("{file} is not a regular file", shown))
            yield file, status
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = _(clean(getattr(error, "strerror", None) or error, 80))
        sentence = _("{file} cannot be read: {why}; check the path and its rights", shown, why)
        raise Problem(sentence) from None


def read_private(path: str, purpose: str, limit: int = 4096, private: bool = True) -> str:
    """The text of a small file, which the option `purpose` names. With `private`, one that all users may read
    or write is refused."""
    deadline.doing(_("reading {what}", clean(path, 120)))
    shown = f"{purpose}: {clean(path, 120)}"
    with opened(path, shown) as (file, status):
        if private and os.name == "posix" and status.st_mode & (stat.S_IROTH | stat.S_IWOTH):
            raise Problem(_("{file} holds a password and is open to all users; run chmod o-rwx on it", shown))
        content = file.read(limit + 1)
    if len(content) > limit:
        raise Problem(_("{file} is larger than {limit} bytes", shown, limit))
    return decoded(content)


def decoded(content: bytes) -> str:
    """The text of a file or of a program's output, with "\\n" as line end. PowerShell writes UTF-16. Bytes
    that are not UTF-8 survive as surrogates."""
    utf16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = content.decode("utf-16", "replace") if utf16 else content.decode("utf-8", "surrogateescape")
    return text.lstrip("\ufeff").replace("\r\n", "\n")


def read_extra_opts(wanted: str, default_section: str, secret_keys: Sequence[str] = ()) -> Pairs:
    """The options that `[SECTION][@FILE]` stands for. A missing file or section is a Problem."""
    section, at, path = wanted.partition("@")
    section = section or default_section
    if not path:
        # On Windows that is a folder below C:\, which every user may make.
        places = [f"{folder}/{name}" for name in INI_NAMES for folder in INI_FOLDERS if os.name == "posix"]
        path = os.environ.get("MP_CONFIG_FILE") or next(filter(os.path.exists, places), "")
        if not path:
            if not places:
                raise Problem(_("--extra-opts: no ini file found; name one with @FILE"))
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


def parse_ini(text: str, section: str) -> Pairs | None:
    """Keys and values of every section of that name, in order, repeated keys kept. None = no such section.

    The form of the Monitoring Plugins: `key=value` or a bare `key`; # or ; begins a line of comment."""
    found, inside = False, False
    options: Pairs = []
    # str.splitlines() also ends a line at U+0085, U+2028 and others, and would part a password there.
    for line in re.split("[\r\n]", text):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            inside = re.sub(r"\]\s*[#;].*", "]", line).strip("[] \t") == section
            found = found or inside
        elif inside:
            key, equals, value = line.partition("=")
            options.append((key.strip().lstrip("-"), value.strip() if equals else None))
    return options if found else None
