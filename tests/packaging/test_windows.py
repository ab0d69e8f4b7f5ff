"""Windows, as far as it can be tried without Windows.

The real thing was not run. Three stand-ins: the type checker with the standard library as Windows has it, this
machine's Python disguised as Windows (lab/faked_windows.py), and the code pages of Russian Windows.
"""

from __future__ import annotations

import configparser
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from lab.engine_process import await_true
from lab.faked_windows import POSIX_MODULES
from lab.run_check import CHECKS, ROOT, SERVICES, Outcome, imports_of, run_check, run_process

DISGUISE = str(ROOT / "tests/lab/faked_windows.py")
MODULES = sorted(path.relative_to(CHECKS).as_posix() for path in CHECKS.rglob("*.py"))
# Behind hasattr(signal, "setitimer") and hasattr(os, "killpg"), which the type checker does not connect with them.
GUARDED = {'Module has no attribute "ITIMER_REAL"', 'Module has no attribute "SIGKILL"; maybe "SIGILL"?'}


def as_windows(program: Path, *arguments: str, env: dict[str, str] | None = None, stdin: bytes | None = None) -> Outcome:
    """Run a program in disguise."""
    return run_process([sys.executable, DISGUISE, str(program), *arguments], env=env, stdin=stdin)


def judged(outcome: Outcome) -> tuple[int, str]:
    assert outcome.breaches() == [], outcome.text + outcome.stderr.decode()
    return outcome.code, outcome.text


# --- Nothing that only POSIX has ------------------------------------------------------------------------------


def test_the_type_checker_finds_no_posix_call(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--platform", "win32", "--cache-dir", tmp_path, "--no-error-summary", str(CHECKS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    found = {re.sub(r"^.*error: |  \[[\w-]+\]$", "", line) for line in done.stdout.splitlines() if "Module has no attribute" in line}
    assert found == GUARDED


@pytest.mark.parametrize("module", MODULES)
def test_no_posix_module_is_imported_anywhere(module: str) -> None:
    assert set(imports_of(CHECKS / module)) & set(POSIX_MODULES) == set()


def test_every_module_can_be_imported(tmp_path: Path) -> None:
    names = [module.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for module in MODULES]
    program = tmp_path / "program.py"
    program.write_text(f"import importlib, sys\nsys.path.insert(0, {str(CHECKS)!r})\nfor name in {names}:\n    importlib.import_module(name)\n    print(name)\n")
    outcome = as_windows(program)
    assert (outcome.code, outcome.text.split(), outcome.stderr) == (0, names, b"")


def test_the_disguise_holds(tmp_path: Path) -> None:
    """Without this, the tests here could all pass on plain Linux."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys\n"
        "assert (os.name, sys.platform) == ('nt', 'win32')\n"
        "assert not any(hasattr(os, name) for name in ('killpg', 'fork', 'setsid', 'geteuid', 'O_NONBLOCK'))\n"
        "assert not any(hasattr(signal, name) for name in ('SIGALRM', 'SIGKILL', 'setitimer'))\n"
        "try:\n    import fcntl\nexcept ImportError:\n    print('disguised')\n"
    )
    assert as_windows(program).text == "disguised\n"


# --- The contract without POSIX -------------------------------------------------------------------------------


def test_version_and_help(check: str) -> None:
    for option in ("-V", "-h"):
        usual = run_process([sys.executable, str(CHECKS / f"{check}.py"), option])
        outcome = as_windows(CHECKS / f"{check}.py", option)
        assert (outcome.code, outcome.stdout, outcome.stderr) == (3, usual.stdout, b"")


WAITS = {
    "a library that does not load": "import time\ntime.sleep(30)",
    "a busy loop": "while True:\n    pass",
    "an except that swallows all": "import time\nwhile True:\n    try:\n        time.sleep(30)\n    except BaseException:\n        pass",
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_the_deadline_holds_without_an_alarm_signal(check: str, wait: str, tmp_path: Path) -> None:
    (tmp_path / "nagiosplugin.py").write_text(wait)
    outcome = as_windows(CHECKS / f"{check}.py", "-t", "0.6:critical", env={"PYTHONPATH": str(tmp_path)})
    service = SERVICES[check.removeprefix("check_")]
    assert judged(outcome) == (2, f"{service} CRITICAL - timed out after 0.6 s while starting\n")
    assert outcome.seconds < 0.6 + 0.9  # the disguise itself takes a moment


def running(tmp_path: Path, lines: str) -> Outcome:
    """What a small program in disguise says that uses the package of the checks."""
    program = tmp_path / "program.py"
    program.write_text(
        f"import sys\nsys.path.insert(0, {str(CHECKS)!r})\n"
        "from kodeks_monitoring.contract import deadline, private_files\nfrom kodeks_monitoring.machine import command\n" + lines
    )
    return as_windows(program)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["sleep", "30"], "(b'', None, 'did not end within 0.3 s')"),
        (["yes"], "None, 'printed more than 100 bytes')"),
        (["echo", "hello"], "(b'hello\\n', 0, '')"),
        (["no-such-program"], "(b'', None, 'does not exist')"),
        (["sh", "-c", "exit 7"], "(b'', 7, '')"),
    ],
    ids=["hangs", "floods", "ends", "absent", "fails"],
)
def test_child_processes_without_process_groups(command: list[str], said: str, tmp_path: Path) -> None:
    outcome = running(tmp_path, f"print(tuple(command.run_command({command!r}, 0.3, 100)))")
    assert (outcome.code, outcome.stderr) == (0, b"")
    assert outcome.text.strip().endswith(said)
    assert outcome.seconds < 2


def test_the_deadline_ends_a_hanging_child_too(tmp_path: Path) -> None:
    outcome = running(
        tmp_path,
        "sys.argv[1:] = ['-t', '0.5']\n"
        "deadline.start('TRIAL', '__main__')\n"
        f"child = ['sh', '-c', 'echo $$ > {tmp_path}/pid; exec sleep 30']\n"
        "import subprocess\n"
        "deadline.children.add(subprocess.Popen(child))\n"
        "import time\ntime.sleep(30)\n",
    )
    assert judged(outcome) == (3, "TRIAL UNKNOWN - timed out after 0.5 s while starting\n")
    child = Path("/proc", (tmp_path / "pid").read_text().strip())
    await_true("the child has ended", lambda: not child.exists(), 5)


def test_a_password_file_is_read(tmp_path: Path) -> None:
    """Windows has no rights of others in st_mode to refuse a file by; it must not be refused for them."""
    secret = tmp_path / "password"
    secret.write_text("hunter22\n")
    secret.chmod(0o666)
    outcome = running(tmp_path, f"print(repr(private_files.read_private({str(secret)!r}, '--password-file')))")
    assert (outcome.code, outcome.text) == (0, "'hunter22\\n'\n")


def test_a_check_runs_to_its_verdict(tmp_path: Path) -> None:
    outcome = as_windows(CHECKS / "check_usb_redirector.py", "--product", "generic", "--license-expires", "perpetual")
    usual = run_check("usb_redirector", "--product", "generic", "--license-expires", "perpetual")
    assert judged(outcome) == (usual.code, usual.text)
    assert outcome.code == 0


# --- Code pages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp866", "cp1251", "cp437", "utf-16", "utf-8"])
def test_an_engine_gets_utf_8_whatever_the_code_page(encoding: str, tmp_path: Path) -> None:
    ini = tmp_path / "kodeks.ini"
    ini.write_text("[other]\n")
    outcome = as_windows(CHECKS / "check_usb_redirector.py", "--extra-opts", f"Ключ №5 — ☂@{ini}", env={"PYTHONIOENCODING": encoding})
    expected = f"USB_REDIRECTOR UNKNOWN - --extra-opts: no section [Ключ №5 — ☂] in {ini}\n"
    assert (outcome.code, outcome.stderr, outcome.stdout.decode()) == (3, b"", expected)


# --- The examples ---------------------------------------------------------------------------------------------

TEMPLATES = ROOT / "templates"


def words_of(command: str) -> list[str]:
    """A command line as a Windows program gets it; none of ours needs an escaped quote."""
    return [word.replace('"', "") for word in re.findall(r'(?:"[^"]*"|[^\s"])+', command)]


def nsclient_commands() -> dict[str, str]:
    ini = configparser.ConfigParser(delimiters="=", comment_prefixes=";", interpolation=None)
    ini.read(TEMPLATES / "windows/nsclient.ini", "utf-8")
    return dict(ini["/settings/external scripts/scripts"])


def nrpe_commands() -> dict[str, str]:
    return dict(re.findall(r"^command\[(\w+)\]=(.*)$", (TEMPLATES / "nagios/nrpe/kodeks.cfg").read_text(), re.M))


def user_parameters(system: str) -> dict[str, str]:
    text = (TEMPLATES / f"zabbix/userparameter_kodeks_{system}.conf").read_text()
    return dict(re.findall(r"^UserParameter=([^,]+),(.*)$", text, re.M))


def check_and_options(words: list[str]) -> tuple[str, list[str]]:
    """The check a command line runs and its options, paths left out: the same on every system."""
    at = next(index for index, word in enumerate(words) if re.search(r"check_\w+(\.py)?$", word))
    options = [re.sub(r"@.*kodeks\.ini$", "@kodeks.ini", word) for word in words[at + 1 :]]
    return re.split(r"[/\\]", words[at])[-1], options


def ini_as_told(folder: str) -> str:
    """The kodeks.ini that templates/windows/README.md names for an agent, without the line that it says to delete."""
    readme = (TEMPLATES / "windows/README.md").read_text()
    example = TEMPLATES / folder / "kodeks.ini.example"
    assert f"`templates/{folder}/{example.name}`" in readme
    deleted = re.search(r"In both delete the line `(\w+)`", readme)
    assert deleted is not None
    text, count = re.subn(rf"(?m)^{deleted[1]} = .*\n", "", example.read_text())
    assert count == 1
    return text.replace("license-expires = CHANGE", "license-expires = perpetual")


@pytest.mark.parametrize("folder", ["nagios/nrpe", "zabbix"])
def test_the_ini_asks_nothing_that_windows_cannot_tell(folder: str) -> None:
    """What the README calls UNKNOWN there would be UNKNOWN for ever."""
    unknown = re.search(r"(`--\w+`(?: and `--\w+`)*) are UNKNOWN there", (TEMPLATES / "windows/README.md").read_text())
    assert unknown is not None
    options = set(re.findall(r"--(\w+)", unknown[1]))
    assert options == {"serial", "location"}
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string(ini_as_told(folder))
    assert [option for section in ini.sections() for option in ini.options(section) if option in options] == []


def accepted(check: str, options: list[str], folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check takes these options with the kodeks.ini that templates/windows/README.md names for this agent."""
    example = TEMPLATES / folder / "kodeks.ini.example"
    text = ini_as_told(folder)
    monkeypatch.setattr("kodeks_monitoring.contract.private_files.read_private", lambda *_, **__: text)
    importlib.import_module(check.removesuffix(".py")).options().parse([word.replace("@kodeks.ini", f"@{example}") for word in options])


def test_nsclient_has_the_commands_of_nrpe() -> None:
    windows, linux = nsclient_commands(), nrpe_commands()
    assert windows.keys() == linux.keys()
    for name in windows.keys() - {"kodeks_license_manager"}:  # there is no check_tcp there
        assert check_and_options(words_of(windows[name])) == check_and_options(shlex.split(linux[name])), name


@pytest.mark.parametrize("name", sorted(nsclient_commands()))
def test_the_check_accepts_what_nsclient_gives_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    words = words_of(nsclient_commands()[name])
    assert words[:1] == ["C:/Program Files/Python311/python.exe"]
    assert words[1].startswith("C:/Program Files/kodeks/")
    accepted(*check_and_options(words), "nagios/nrpe", monkeypatch)


@pytest.mark.parametrize("key", sorted(user_parameters("windows")))
def test_the_windows_agent_runs_what_the_linux_agent_runs(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Both agents run `cmd /C "COMMAND"` (Zabbix: zbxexec/execute.c, zbxcmd_windows.go), and cmd takes that outer pair off.
    words = words_of(user_parameters("windows")[key])
    assert words[0] == r"C:\Program Files\Python311\python.exe", "a pair of quotes too many"
    assert words[1:3] == ["-X", "utf8"], "Zabbix wants UTF-8"
    assert words[3].startswith("C:\\Program Files\\kodeks\\")
    check, options = check_and_options(words)
    assert (check, options) == check_and_options(shlex.split(user_parameters("linux")[key]))
    accepted(check, [word.replace("$1", check.removesuffix(".py")).replace("$2", "30") for word in options], "zabbix", monkeypatch)
