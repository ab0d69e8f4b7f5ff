"""The options of a check: argparse with the contract's exit codes, an ini file, values that checks share.

A value that makes no sense is a usage error, which means UNKNOWN: a threshold that nobody meant never alarms.
"""

from __future__ import annotations

import argparse
import os
import re
from typing import NoReturn, Sequence

import nagiosplugin

from .. import PROJECT, __version__
from . import deadline, language
from .language import N_, _
from .private_files import read_extra_opts
from .verdict import MAX_OUTPUT, UNKNOWN, Problem, clean, cut, keep_secret

_NUMBER = r"-?[0-9]{1,15}(?:\.[0-9]{1,4})?"
_RANGE = rf"@?(?:(?:~|{_NUMBER})?:)?(?:{_NUMBER})?"


def bad_value(text: str, problem: str) -> argparse.ArgumentTypeError:
    """The error for an option's value: the value, then the problem. Blanks around it no quotation shows."""
    blanks = _("has blanks around it") if text != text.strip() and text.strip() else ""
    return argparse.ArgumentTypeError(f"'{clean(text, 60)}' {blanks or problem}")


def threshold(text: str) -> nagiosplugin.Range:
    """A range `[@][start:][end]`."""
    if not text or text == "@" or not re.fullmatch(_RANGE, text):
        raise bad_value(text, _("is no range; write [@][start:][end], for example 1: or 30:365"))
    try:
        return nagiosplugin.Range(text)
    except ValueError:
        raise bad_value(text, _("is a range with its start above its end")) from None


def time_limit(text: str) -> tuple[float, int | None]:
    """`SECONDS[:STATE]` of -t: seconds (decimals allowed, at most a day) and the exit code of a timeout."""
    limit = deadline.parse_limit(text)
    if limit is None:
        raise bad_value(text, _("is no time limit; write SECONDS[:STATE], for example 10:critical"))
    return limit


def tcp_port(text: str) -> int:
    """A TCP port, 1 to 65535."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise bad_value(text, _("is no port; write a number from 1 to 65535"))
    return int(text)


def usb_id(text: str) -> str:
    """`VID:PID`, two hexadecimal numbers of four digits as lsusb prints them. A vendor alone names no key."""
    if not re.fullmatch(r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}", text):
        raise bad_value(text, _("is no USB id; write VID:PID, for example 0471:485d"))
    return text.lower()


def host_name(text: str) -> str:
    """A host name or address as the resolver takes it: IPv6 without brackets, a Cyrillic name in IDNA."""
    bare = text[1:-1] if text[:1] == "[" and text[-1:] == "]" else text
    if re.fullmatch(r"(?=.*:.*:)[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9_.-]+)?", bare):
        return bare
    try:
        name = bare if bare.isascii() else bare.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    if not re.fullmatch(r"(?=.{1,253}$)[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?", name):
        if "@" in text:  # what stands before it may be a password
            raise argparse.ArgumentTypeError(_("an @ is in no host name; a user has an option of its own"))
        if re.fullmatch(r"[^:/]+:[0-9]+", text):
            raise bad_value(text, _("is no host name or address; the port goes to -p"))
        raise bad_value(text, _("is no host name or address"))
    return name


def proper_text(text: str) -> str:
    """Text that says something."""
    if not text.strip():
        raise argparse.ArgumentTypeError(_("it is empty"))
    return text


def as_text(word: str) -> str:
    """A word of the command line as the text that was meant: engines write UTF-8, whatever their locale.

    What is not UTF-8 stays as Python took it: text in the locale's own encoding, or surrogates for bytes."""
    try:
        return os.fsencode(word).decode("utf-8") if os.name == "posix" else word
    except UnicodeError:
        return word


OF_ARGPARSE = {
    "expected one argument": N_("expected one argument"),
    # argparse repeats what is written behind an option that takes no value: `-vPsecret`.
    "ignored explicit argument .*": N_("it takes no value"),
    "invalid int value: '(.*)'": N_("invalid int value: '{value}'"),
    "invalid choice: '(.*)' \\(choose from (.*)\\)":
        N_("invalid choice: '{value}' (choose from {choices})"),
    "not allowed with argument (.*)": N_("not allowed with argument {other}"),
}  # fmt: skip
"""Patterns of argparse's own errors, and what is said instead."""


class Options(argparse.ArgumentParser):
    """The options of a check: those that every plugin has, and those that the check adds.

    A bad option is UNKNOWN with a sentence (argparse: exit 2, and nothing on stdout). No option may be
    abbreviated. `secret_keys` are keys that an ini section may set and the command line may not."""

    def __init__(self, prog: str, description: str, examples: str, secret_keys: Sequence[str] = ()) -> None:
        super().__init__(
            prog=prog, usage=f"{prog} [options]", description=description, epilog="examples:\n" + examples,
            allow_abbrev=False, add_help=False,
            # A fixed width: help must not depend on the terminal in which it is read.
            formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=110),
        )  # fmt: skip
        self.secret_keys = tuple(secret_keys)
        common = self.add_argument_group("every check")
        common.add_argument("-h", "--help", action="store_true", help="print this help, exit 3")
        common.add_argument("-V", "--version", action="store_true", help="print the version, exit 3")
        common.add_argument("-v", "--verbose", action="count", default=0, help="more lines; up to -vvv")
        common.add_argument("-t", "--timeout", metavar="SECONDS[:STATE]", type=time_limit, default="10",
                            help="give up after SECONDS with STATE (10:unknown)")
        common.add_argument("--extra-opts", metavar="[SECTION][@FILE]", action="append", nargs="?",
                            help="read options from an ini file")
        common.add_argument("--language", choices=language.LANGUAGES, type=str.lower,
                            help="the sentences' language; or $KODEKS_LANGUAGE (en)")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The values of the arguments; `secrets` has what only an ini may set. A usage error is a Problem."""
        if not {"-h", "--help"}.isdisjoint(arguments):  # who asks for help gets it, whatever else is wrong
            self.exit(message=self.format_help())
        plain, sections = split_extra_opts(arguments)
        from_ini, secrets = self._read(sections, plain)
        by_default = f"--language={os.environ.get('KODEKS_LANGUAGE') or 'en'}"
        words = [as_text(word) for word in (by_default, *from_ini, *plain)]
        if any(re.search("[\ud800-\udfff]", word) for word in words):  # it would match nothing, for ever
            self.error(_("an option is not UTF-8; save the ini file, or the command's, as UTF-8"))
        if any(re.fullmatch(r"--|-\w--|-[^=]*=--", word) for word in words):
            self.error(_("'--' is no value"))  # argparse would make an empty list of it
        values, rest = self.parse_known_args(words)
        if values.help:
            self.exit(message=self.format_help())
        if values.version:
            self.exit(message=f"{self.prog} {__version__} ({PROJECT})\n")
        if rest:
            # What follows an unknown option is not repeated: it may be a password that begins with a dash.
            names = [_option_name(word) for word in rest if word.startswith("-")]
            self.error(_("unknown option {name}", names[0]) if names else _("an argument without an option"))
        values.secrets = secrets
        return values

    def _read(self, sections: Sequence[str], plain: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The words that ini sections stand for, and the secrets in them. `plain` are the other words."""
        words: list[str] = []
        secrets: dict[str, str] = {}
        known = {name for action in self._actions for name in action.option_strings} - {"--extra-opts"}
        lines = [line for name in sections for line in read_extra_opts(name, self.prog, self.secret_keys)]
        language.choose([*(f"--{key}={value}" for key, value in lines), *plain])
        for key, value in lines:
            option = f"-{key}" if len(key) == 1 else f"--{key}"
            if key in self.secret_keys:
                keep_secret(value or "")
                secrets[key] = value or ""
            elif option in known:
                words.append(option if value is None else f"{option}={value}")
            else:
                name = _option_name(key)
                self.error(_("unknown option '{name}' in the ini section for --extra-opts", name))
        return words, secrets

    def error(self, message: str) -> NoReturn:
        found = re.fullmatch("(?s)argument ([^:]+): (.*)", message)  # from argparse
        if found:
            known = ((re.fullmatch(f"(?s){form}", found[2]), text) for form, text in OF_ARGPARSE.items())
            what = next((_(text, *match.groups()) for match, text in known if match), found[2])
            message = _("argument {name}: {what}", found[1], what)
        raise Problem(_("{what}; {program} --help lists the options", message, self.prog))

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """-h and -V: the text, cut at the contract's size, and exit 3."""
        encoding = deadline.output_encoding()
        output = cut(message or "", MAX_OUTPUT, lambda text: text.encode(encoding, "replace"))
        deadline.end_with(UNKNOWN, output)


def _option_name(text: str) -> str:
    """The part of a word that can be an option's name: `-P` of `-Psecret`, `key` of `key: secret`."""
    found = re.match(r"-(?!-)\w?|-*[\w-]*", text)
    return clean(found[0] if found else "", 40)


def split_extra_opts(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the values of --extra-opts from the other arguments. A value may follow as a word of its own."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--extra-opts", action="append", nargs="?", const="", default=[])
    known, plain = parser.parse_known_args(arguments)
    return plain, known.extra_opts
