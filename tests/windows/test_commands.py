"""Every command of templates/windows and of the UserParameter file for Windows, word for word, as the agents start it."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.engine_process import await_true
from lab.forwarder_tools import sample, silent_port
from lab.kodeks_server import PASSWORD, USER, KodeksServer
from lab.reports import WORKS, report
from lab.run_check import CHECKS, ROOT, Outcome
from lab.windows import VERSIONS, WindowsMachine, compiled, quoted

TEMPLATES = ROOT / "templates"
WAYS = ["direct", "zabbix"]
KEY = {"KODEKS_LAB_USB": "1:8086:a36d 1-4:0471:485d"}


def nsclient_commands() -> dict[str, str]:
    """The commands of nsclient.ini, by name."""
    ini = configparser.ConfigParser(delimiters="=", comment_prefixes=";", interpolation=None)
    ini.read(TEMPLATES / "windows/nsclient.ini", "utf-8")
    return dict(ini["/settings/external scripts/scripts"])


def user_parameters(system: str = "windows") -> dict[str, str]:
    """The commands of the UserParameter file, by the key without its parameters."""
    text = (TEMPLATES / f"zabbix/userparameter_kodeks_{system}.conf").read_text("utf-8")
    return dict(re.findall(r"^UserParameter=([^,]+)\[\*\],(.*)$", text, re.MULTILINE))


def ini_of(folder: str, changes: dict[str, str]) -> str:
    """The kodeks.ini that templates/windows/README.md names for an agent, with the lines deleted that it says to delete and an
    operator's own values."""
    text = (TEMPLATES / folder / "kodeks.ini.example").read_text("utf-8")
    readme = (TEMPLATES / "windows/README.md").read_text("utf-8")
    (deleted,) = set(re.findall(r"delete the line `(\w+)`", readme))
    for key, value in {deleted: "", **changes}.items():
        text, count = re.subn(rf"(?m)^{key} = .*\n", f"{key} = {value}\n" if value else "", text)
        assert count, key
    return text


@pytest.fixture(scope="module")
def chain(windows: WindowsMachine) -> Iterator[dict[str, str]]:
    """A machine whose whole chain is well: key, forwarder, license manager, Kodeks. The values for its ini."""
    windows.stand_in("usbrdrltsh", sample("usbclnt-list-key-connected-constructed.txt"))
    windows.start(windows.stand_in("forwarder", sleeps=True))
    await_true("the forwarder runs", lambda: windows.is_running("forwarder.exe"), 20)
    library = windows.libusb(compiled("libusb.c", "-shared"))
    with KodeksServer(binding=WORKS) as kodeks, silent_port() as manager, library:
        yield {"process": "forwarder.exe", "license-expires": "perpetual", "password": PASSWORD, "logname": USER,
               "hostname": "127.0.0.1", "port": str(kodeks.port), "manager": str(manager)}  # fmt: skip


def put_ini(windows: WindowsMachine, folder: str, values: dict[str, str]) -> None:
    """C:\\ProgramData\\kodeks\\kodeks.ini for an agent. Only the ports of loopback are added to it."""
    changes = {name: value for name, value in values.items() if name != "manager"}
    text = ini_of(folder, changes)
    text = re.sub(r"(?m)^(\[license_manager\]\n(?:.*\n)*?port = ).*", rf"\g<1>{values['manager']}", text)
    text = text.replace("[check_usb_redirector]\n", f"[check_usb_redirector]\nport = {values['manager']}\n")
    target = windows.disk / "ProgramData/kodeks"
    target.mkdir(parents=True, exist_ok=True)
    (target / "kodeks.ini").write_text(text, "utf-8")


def run(windows: WindowsMachine, command: str, way: str) -> Outcome:
    """A command line as it stands in a file, with the stand-ins on the agent's path."""
    outcome = windows.run(command, way, {**KEY, "Path": r"C:\windows\system32;C:\forwarders"})
    assert outcome.breaches() == [], outcome.text + outcome.stderr.decode()
    return outcome


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", sorted(nsclient_commands()))
def test_what_nsclient_runs(name: str, way: str, windows: WindowsMachine, chain: dict[str, str], tmp_path: Path) -> None:
    put_ini(windows, "nagios/nrpe", chain)
    if name == "kodeks_report_age":  # only with a stored report
        (tmp_path / "report.xml").write_bytes(b"".join(report(size=20_000, bindings=[WORKS])))
        (windows.disk / "ProgramData/kodeks/kodeks.ini").write_text(f"[check_kodeks_xml]\nfile = Z:{tmp_path}/report.xml\n", "utf-8")
    assert run(windows, nsclient_commands()[name], way).code == 0


SECTIONS = {"kodeks.forwarder": "check_usb_redirector", "kodeks.key": "check_senselock", "kodeks.server": "check_kodeks_xml"}


@pytest.mark.parametrize("key", sorted(user_parameters()))
def test_what_the_zabbix_agents_run(key: str, windows: WindowsMachine, chain: dict[str, str]) -> None:
    """Both agents run `cmd /C "COMMAND"` (zbxexec/execute.c, zbxcmd_windows.go), with the parameters of the item in it."""
    put_ini(windows, "zabbix", chain)
    for section, code in ((SECTIONS[key], 0), ("нет", 3)):
        outcome = run(windows, user_parameters()[key].replace("$1", section).replace("$2", "30"), "zabbix")
        assert outcome.code == code, outcome.text
    assert outcome.line.endswith(r"UNKNOWN - --extra-opts: no section [нет] in C:\ProgramData\kodeks\kodeks.ini")


@pytest.mark.parametrize("folder", ["nagios/nrpe", "zabbix"])
def test_the_ini_asks_nothing_that_windows_cannot_tell(folder: str) -> None:
    """What the README calls UNKNOWN there would be UNKNOWN for ever."""
    unknown = re.search(r"(`--\w+`(?: and `--\w+`)*) are UNKNOWN there", (TEMPLATES / "windows/README.md").read_text("utf-8"))
    assert unknown is not None
    options = set(re.findall(r"--(\w+)", unknown[1]))
    assert options == {"serial", "location"}
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string(ini_of(folder, {}))
    assert [option for section in ini.sections() for option in ini.options(section) if option in options] == []


# --- The same as on Linux -------------------------------------------------------------------------------------


def words_of(command: str) -> list[str]:
    """A command line as a Windows program gets it; none of ours needs an escaped quote."""
    return [word.replace('"', "") for word in re.findall(r'(?:"[^"]*"|[^\s"])+', command)]


def check_and_options(words: list[str]) -> tuple[str, list[str]]:
    """The check a command line runs and its options, paths left out: the same on every system."""
    at = next(index for index, word in enumerate(words) if re.search(r"check_\w+(\.py)?$", word))
    options = [re.sub(r"@.*kodeks\.ini$", "@kodeks.ini", word) for word in words[at + 1 :]]
    return re.split(r"[/\\]", words[at])[-1], options


def test_nsclient_has_the_commands_of_nrpe() -> None:
    nrpe = dict(re.findall(r"^command\[(\w+)\]=(.*)$", (TEMPLATES / "nagios/nrpe/kodeks.cfg").read_text("utf-8"), re.MULTILINE))
    windows = nsclient_commands()
    assert windows.keys() == nrpe.keys()
    for name in windows.keys() - {"kodeks_license_manager"}:  # there is no check_tcp there
        assert check_and_options(words_of(windows[name])) == check_and_options(shlex.split(nrpe[name])), name


def test_the_windows_agent_has_the_commands_of_the_linux_agent() -> None:
    windows, linux = user_parameters(), user_parameters("linux")
    for key in windows.keys() | linux.keys():
        assert check_and_options(words_of(windows[key])) == check_and_options(shlex.split(linux[key])), key


# --- Nothing that only POSIX has ------------------------------------------------------------------------------

MODULES = [path.relative_to(CHECKS).with_suffix("").as_posix().removesuffix("/__init__").replace("/", ".") for path in sorted(CHECKS.rglob("*.py"))]
# Behind hasattr(signal, "setitimer") and hasattr(os, "killpg"), which the type checker does not connect with them.
GUARDED = {'Module has no attribute "ITIMER_REAL"', 'Module has no attribute "SIGKILL"; maybe "SIGILL"?'}


def test_the_type_checker_finds_no_posix_call(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--platform", "win32", "--cache-dir", str(tmp_path), "--no-error-summary", str(CHECKS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    found = {re.sub(r"^.*error: |  \[[\w-]+\]$", "", line) for line in done.stdout.splitlines()}
    assert found == GUARDED


@pytest.mark.parametrize("version", VERSIONS)
def test_every_module_can_be_imported(version: str, windows: WindowsMachine) -> None:
    program = f"import importlib, sys; sys.path.insert(0, r'C:\\Program Files\\kodeks'); print(len([importlib.import_module(name) for name in {MODULES}]))"
    outcome = windows.run(quoted(windows.python(version), "-c", program))
    assert (outcome.text.strip(), outcome.stderr) == (str(len(MODULES)), b"")
