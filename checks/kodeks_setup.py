#!/usr/bin/env python3
"""What of the chain is on this machine? Tells it, writes the ini that watches it, and runs the checks.

kodeks_monitoring/setup/found.py looks; here the ini is made, written if --write is given, and tried.
"""

import os
import sys

try:
    sys.path.append(os.path.dirname(os.path.realpath(__file__)))  # python3 -I and -P leave it out
    from kodeks_monitoring.contract import deadline

    deadline.start("KODEKS_SETUP", __name__)
except Exception as error:  # noqa: BLE001  whatever a failed copy left: no traceback, no exit code 1
    reason = ascii(str(error))[1:-1]
    print("KODEKS_SETUP UNKNOWN - it cannot start (%s): copy the whole checks folder again" % reason)
    raise SystemExit(3) from None

import difflib
import glob
import re
import shutil
import socket
from typing import Iterator, Optional

from kodeks_monitoring.contract import options as kind
from kodeks_monitoring.contract.language import _
from kodeks_monitoring.contract.private_files import LARGEST_INI, decoded, parse_ini, read_private
from kodeks_monitoring.contract.verdict import UNKNOWN, Problem, clean, keep_secret, worst
from kodeks_monitoring.kodeks.page import LICENSE_PAGE
from kodeks_monitoring.machine.command import run_command
from kodeks_monitoring.setup import found as machine
from kodeks_monitoring.setup.found import CHANGE, FORWARDER, KEY, KODEKS, MANAGER, Found

OWN_FOLDER = os.path.dirname(os.path.realpath(__file__))
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
ANSWERS = ("license-expires", "logname", "password", "password-file", "language")
TEMPLATES = os.path.join(os.path.dirname(OWN_FOLDER), "templates")


def say(text: str, indent: str = "") -> None:
    """A line for people."""
    print(indent + clean(text, 1000), flush=True)


# --- The ini ----------------------------------------------------------------------------------------------


def sections_of(found: "list[Found]", answers: "dict[str, str]", apart: bool) -> "dict[str, dict[str, str]]":
    """The ini; an answer that is missing is CHANGE. `apart`: the license stands in a section of its own."""
    made: dict[str, dict[str, str]] = {}
    keys, forwarders, managers, servers = (
        [item for item in found if item.section == name] for name in (KEY, FORWARDER, MANAGER, KODEKS)
    )
    if keys or (servers and not managers):
        same = len({str(key.options) for key in keys}) == 1
        made[KEY] = {"critical": f"{max(1, len(keys))}:", **(keys[0].options if same else {})}
    for item in forwarders[:1]:
        made[FORWARDER] = {key: answers.get(key, value) for key, value in item.options.items()}
        if apart:
            made["license"] = {key: made[FORWARDER].pop(key) for key in ("product", "license-expires")}
    if servers and managers:
        made[MANAGER] = managers[0].options
    for number, item in enumerate(servers):
        options = {key: answers.get(key, value) for key, value in item.options.items()}
        if "password" in options and "password-file" in answers:
            del options["password"]
            options["password-file"] = answers["password-file"]
        made[f"{KODEKS}.{options['port']}" if number else KODEKS] = options
    for name in made.keys() - {MANAGER} if "language" in answers else ():
        made[name] = {**made[name], "language": answers["language"]}  # not every engine passes a variable on
    made["found"] = {f"{item.section} {item.name}": item.signs or item.name for item in found}
    return made


def text_of(sections: "dict[str, dict[str, str]]") -> str:
    """The ini as text. A value that would not be read back as it is becomes CHANGE."""
    lines = ["# Written by kodeks_setup: replace CHANGE. [found] is what was here then; no check reads it."]
    for name, values in sections.items():
        lines += ["", f"[{name}]"]
        for key, value in values.items():
            proper = value and value.isprintable() and value == value.strip()
            lines.append(f"{key} = {value if proper else CHANGE}")
    return "\n".join(lines) + "\n"


def read_old(path: str) -> str:
    """A file that is there, "" if it is not. What it has as a password is hidden from now on."""
    if os.path.islink(path):
        raise Problem(_("{path} is a symbolic link: it is neither read nor written", path))
    text = read_private(path, "kodeks_setup", LARGEST_INI, private=False) if os.path.exists(path) else ""
    for password in re.findall(r"(?m)^\s*password\s*[=:]\s*(.+?)\s*$", text):
        keep_secret(password)
    return text


def answers_in(text: str) -> "dict[str, str]":
    """What an ini answers that cannot be found out."""
    lines = [line for name in (KEY, "license", FORWARDER, KODEKS) for line in parse_ini(text, name) or ()]
    return {key: value for key, value in lines if key in ANSWERS and value and value != CHANGE}


def ask_person(found: "list[Found]", answers: "dict[str, str]") -> None:
    """What nobody can find out, from a person at the terminal. Enter leaves it open."""
    import getpass

    deadline.doing(_("waiting for an answer"))
    unanswered = {key for item in found for key, value in item.options.items() if value == CHANGE}
    questions = {
        "license-expires": _("Last day of the forwarder's license, YYYY-MM-DD, or perpetual:"),
        "logname": _("An account of Kodeks that may read {page}, no administrator:", LICENSE_PAGE),
        "password": _("Its password, which is not shown:"),
    }
    for key in sorted(unanswered & questions.keys() - answers.keys()):
        if key != "password" or ("logname" in answers and "password-file" not in answers):
            say(questions[key])
            answer = getpass.getpass("") if key == "password" else sys.stdin.readline().strip()
            answers.update({key: answer} if answer else {})


# --- Files ------------------------------------------------------------------------------------------------


def put(path: str, text: str, user: str = "") -> None:
    """Write a new file, for all to read, or with `user` for his group alone. One that is there stays, and
    what it says otherwise is shown."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            try:
                print(text, end="", file=file, flush=True)
                if IS_ROOT and user:
                    shutil.chown(file.fileno(), group=user)  # the engines' users have groups of their names
                if os.name == "posix":
                    os.chmod(file.fileno(), 0o640 if user else 0o644)
            except BaseException:
                os.unlink(path)
                raise
        say(_("{path} is written", path))
    except FileExistsError:
        tell_difference(path, text)
    except (OSError, LookupError) as error:
        why = _(clean(getattr(error, "strerror", None) or error, 100))
        raise Problem(_("{path} cannot be written: {why}; run this as root", path, why)) from None


def tell_difference(path: str, text: str) -> None:
    """What a file says otherwise than was found now. Comments do not count."""
    was, now = ([line for line in side.splitlines() if line.strip() and line[0] not in "#;"]
                for side in (read_old(path), text))  # fmt: skip
    lines = [line for line in difflib.ndiff(was, now) if line[0] in "+-"]
    say(_("{path} stays; what it says (-), and what is here now (+):", path) if lines else
        _("{path} says what is here now", path))  # fmt: skip
    for line in lines:
        say(line, "  ")


def folder_of(engine: "dict[str, str]") -> str:
    """Where the checks are that this engine runs: in its usual folder, in the Debian package's, or here."""
    places = [engine["folder"], "/usr/lib/nagios/plugins/kodeks", OWN_FOLDER]
    return next(place for place in places if os.path.isfile(os.path.join(place, f"{KEY}.py")))


def put_commands(engine: "dict[str, str]") -> None:
    """Write the engine's own file. If one defines the same, a second would keep the agent from starting."""
    path = os.path.join(TEMPLATES, engine["template"])
    if not os.path.isfile(path):
        say(_("{path} is not here: copy it from the project to {folder}", path, engine["include"]))
        return
    text = read_private(path, "templates", LARGEST_INI, private=False)
    text = text.replace(engine["folder"], folder_of(engine))
    first = re.findall(r"(?m)^(?:UserParameter=[\w.]+|command\[\w+)", text)[0]
    there = [path for path in sorted(glob.glob(os.path.join(glob.escape(engine["include"]), "*.c*")))
             if os.path.isfile(path) and first in read_old(path)]  # fmt: skip
    put([*there, os.path.join(engine["include"], os.path.basename(path))][0], text)


# --- Checks and people ------------------------------------------------------------------------------------


def run_checks(engine: "dict[str, str]", ini: str) -> "Iterator[int]":
    """Run the checks of the ini as the engine's user, and say their lines; their exit codes."""
    as_user = ["runuser", "-u", engine["user"], "--"] if IS_ROOT else []
    say(_("The checks, as {user}:", engine["user"] if as_user else _("this user")))
    sections = re.findall(r"(?m)^\[(.+)\]$", read_old(ini))
    for section in (name for name in sections if name.partition(".")[0] in (KEY, FORWARDER, KODEKS)):
        path = os.path.join(folder_of(engine), section.partition(".")[0] + ".py")
        python = [sys.executable] if os.name == "nt" or not os.access(path, os.X_OK) else []
        named = [section, "license"] if section == FORWARDER and "license" in sections else [section]
        output = run_command([*as_user, *python, path, *(f"--extra-opts={name}@{ini}" for name in named)], 30)
        line = decoded(output.stdout).partition("\n")[0].partition(" | ")[0]
        say(f"{line} {output.failure}", "  ")
        yield UNKNOWN if output.code is None or output.code not in range(4) else output.code


def tell_other_side(engine: "dict[str, str]", ini: str, sections: "dict[str, dict[str, str]]") -> None:
    """What is to do on the monitoring server, to be pasted into a shell: the lines of the engine's file, some
    only for a link that is here ("[section]..."), with this machine's values."""
    import psutil

    values = {f"{name} {key}": text for name in sections for key, text in sections[name].items()}
    key = "license-manager" if MANAGER in sections else "forwarded" if FORWARDER in sections else "local"
    values.update(zip(sections, sections), host=re.sub(r"[^\w.-]", "-", socket.gethostname()), ini=ini)
    values["layout"] = f"{'kodeks' if KODEKS in sections else 'license-manager'}-{key}-key"
    own = [address.address for card in psutil.net_if_addrs().values() for address in card
           if address.family == socket.AF_INET and not address.address.startswith("127.")]  # fmt: skip
    values["address"] = [*own, CHANGE][0]
    say(_("On the monitoring server ({engine}):", engine["name"]))
    for wanted, line in re.findall(r"(?m)^(?:\[(.+?)\])?(.*)$", engine["other side"].rstrip()):
        if not wanted or wanted in sections:
            print(re.sub(r"\{([\w.-]+(?: [\w-]+)?)\}", lambda it: values.get(it[1], ""), line), flush=True)


def options() -> kind.Options:
    """The options of this program, those of every check included."""
    parser = kind.Options(
        "kodeks_setup",
        "Finds what this machine has of the key's chain, writes the ini of the checks and runs them.\n"
        "The exit code is the worst of the checks, 3 if none was run.",
        "  kodeks_setup\n  kodeks_setup --license-expires 2027-01-31 --logname smartlogin --write\n",
    )
    add = parser.add_argument_group("the ini").add_argument
    add("--write", metavar="FILE", nargs="?", const="", help="write ini and engine's file, or FILE alone")
    add("--engine", metavar="NAME", default="", help="for this engine alone, as it is named when it is found")
    add("--license-expires", metavar="DATE", type=kind.proper_text, help="last day YYYY-MM-DD, or perpetual")
    add("--logname", metavar="USER", type=kind.proper_text, help="an account of Kodeks, no administrator")
    add("--password-file", metavar="FILE", type=kind.proper_text, help="its password is FILE's first line")
    parser.set_defaults(timeout="600")
    return parser


def set_up(
    engine: "dict[str, str]", found: "list[Found]", answers: "dict[str, str]", write: Optional[str]
) -> "Iterator[int]":
    """The ini for an engine: tell it, write it if asked to, run the checks of the one that is there."""
    ini = write or engine["ini"]
    if not found and not os.path.exists(ini):
        return
    sections = sections_of(found, answers, "license apart" in engine)
    text = text_of(sections)
    if write is not None:
        put(ini, text, engine["user"])
    elif os.path.exists(ini):
        tell_difference(ini, text)
    else:
        say(_("{path} would be (--write writes it):", ini))
        for line in text.splitlines():
            say(line, "  ")
    if write == "" and engine["include"]:
        put_commands(engine)
        say(_("The agent reads new files when it starts: {command}", engine["restart"]))
    if os.path.exists(ini):
        yield from run_checks(engine, ini)
    tell_other_side(engine, ini, sections)


def main() -> None:
    """The console script."""
    deadline.take_over("KODEKS_SETUP")
    values = options().parse(sys.argv[1:])
    deadline.set_limit(*values.timeout)
    sys.stdout.reconfigure(encoding=deadline.output_encoding(), errors="backslashreplace")  # type: ignore
    os.environ["KODEKS_LANGUAGE"] = values.language  # of the checks, too
    deadline.doing(_("looking at this machine"))
    found, engines = list(machine.look()), list(machine.look_for_engines(values.engine))
    for item in found:
        say(item.sentence)
    for one in engines:
        say(_("Engine {name}, by {path}; its user is {user}", one["name"], one["config"], one["user"]))
    links = {KEY: _("key"), FORWARDER: _("forwarder"), KODEKS: _("Kodeks"), "engine": _("engine")}
    here = [item.section for item in found] + ["engine"] * len(engines)
    say(_("Not found here: {what}", ", ".join(links[link] for link in links if link not in here) or "-"))
    password = os.environ.get("KODEKS_PASSWORD")  # it is no option
    given = {key: getattr(values, key.replace("-", "_"), password) for key in ANSWERS}
    answers = {key: value for key, value in given.items() if value and (key, value) != ("language", "en")}
    none = {"name": "-", "user": "root", "ini": "kodeks.ini", "folder": OWN_FOLDER}
    wanted = (engines[:1] if values.write else engines) or [{**none, "include": "", "other side": ""}]
    for old in [read_old(values.write or one["ini"]) for one in wanted]:
        answers.pop("language" if old else "", None)  # an ini that is there keeps its own
        answers = {**answers_in(old), **answers}
    if sys.stdin.isatty():
        ask_person(found, answers)
    keep_secret(answers.get("password", ""))
    states = [code for one in wanted for code in set_up(one, found, answers, values.write)]
    deadline.end_with(worst(states), b"")


if __name__ == "__main__":
    main()
