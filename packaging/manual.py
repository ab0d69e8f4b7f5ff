"""Man pages and bash completion of the checks and of kodeks_setup, made from their option parsers.

    python3 packaging/manual.py FOLDER      writes FOLDER/check_*.1 and FOLDER/completions/check_*, ...

argparse-manpage writes the pages, shtab the completion; build.py puts both into the Debian package. Nothing
that is generated is kept in the repository: nothing can disagree with --help.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from pathlib import Path

import shtab
from argparse_manpage.manpage import Manpage  # type: ignore[import-untyped]

CHECKS = Path(__file__).resolve().parents[1] / "checks"
sys.path.insert(0, str(CHECKS))

import kodeks_monitoring  # noqa: E402

EXIT_STATUS = r"""The first line of the output begins with the state in words; the exit status is its number.
.TP
.B 0
OK
.TP
.B 1
WARNING
.TP
.B 2
CRITICAL
.TP
.B 3
UNKNOWN: the check could not tell, an option is wrong, or
.B \-h
or
.B \-V
was given
"""

SEE_ALSO = r"""Templates for Nagios, NRPE, Icinga 2 and Zabbix, and a page for every alert:
.I /usr/share/monitoring\-plugins\-kodeks/templates
"""


def parser_of(check: str) -> argparse.ArgumentParser:
    """The option parser of a check."""
    parser = importlib.import_module(check).options()
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def man_page(check: str) -> str:
    """The man page of a check, in roff."""
    parser = parser_of(check)
    what = (parser.description or "").partition(". ")[0].rstrip(".")
    examples = (parser.epilog or "").partition("examples:\n")[2].strip("\n")
    parser.epilog = None
    for action in parser._actions:
        if "--help" in action.option_strings:
            # argparse-manpage leaves out the option that is called exactly --help.
            action.option_strings = ["-h, --help"]
    page = Manpage(parser, {
        "description": what[:1].lower() + what[1:],
        "project_name": kodeks_monitoring.PROJECT,
        "version": kodeks_monitoring.__version__,
        "manual_title": "Monitoring plugins for Kodeks",
        "date": time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))),
    })  # fmt: skip
    page.add_section("examples", "=", f".nf\n{roff(examples)}\n.fi\n")
    page.add_section("exit status", "=", EXIT_STATUS)
    page.add_section("see also", "=", SEE_ALSO)
    return str(page)


def roff(text: str) -> str:
    """Text as roff prints it unchanged: backslashes and hyphens kept, no line taken for a request."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\n".join(f"\\&{line}" if line[:1] in ".'" else line for line in text.splitlines())


def completion(check: str) -> str:
    """The completion of a check for bash: its options, their choices, and files where an option takes one."""
    parser = parser_of(check)
    for action in parser._actions:
        if action.metavar in ("FILE", "PATH"):
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return str(shtab.complete(parser, "bash"))


def main() -> None:
    folder = Path(sys.argv[1])
    (folder / "completions").mkdir(parents=True, exist_ok=True)
    for check in sorted(path.stem for path in CHECKS.glob("*.py")):
        (folder / f"{check}.1").write_text(man_page(check), encoding="utf-8")
        (folder / "completions" / check).write_text(completion(check), encoding="utf-8")


if __name__ == "__main__":
    main()
