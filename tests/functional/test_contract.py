"""The contract every check keeps, tried on all of them alike: the ways in (file, copy, symlink, command), the ways out
(help, bad options, signals, closed and full outputs, missing or slow libraries) and the deadline."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

import pytest
from lab.forwarder_tools import ForwarderTools
from lab.run_check import CHECKS, PUNCTUAL, ROOT, SERVICES, command, run_check, run_process

# What a check must be told so that it waits for nothing and needs nothing of this machine; nothing, where none is named.
QUICK_ARGUMENTS = {
    "senselock": ("-c", "0:"),
    "kodeks_xml": ("--file", "/nonexistent/report.xml"),
    "usb_redirector": ("--product", "usb-redirector", "--list-output", "/nonexistent/list.txt", "--license-expires", "perpetual"),
}
QUICK = {check: QUICK_ARGUMENTS.get(check, ()) for check in SERVICES}
DEBIAN_PYTHON = "/usr/bin/python3"


@pytest.fixture(params=SERVICES)
def check(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(["--crtical", "0"], "unknown option --crtical", id="misspelt option"),
        pytest.param(["--verb"], "unknown option --verb", id="abbreviated option"),
        pytest.param(["--password", "-geheim22"], "unknown option --password", id="nor one with a dash in front"),
        pytest.param(["-Phunter22"], "unknown option -P", id="nor one behind a letter"),
        pytest.param(["--password:hunter22"], "unknown option --password", id="nor one behind a colon"),
        pytest.param(["--password", "hunter22"], "unknown option --password", id="a password as argument is not repeated"),
        pytest.param(["stray"], "an argument without an option", id="positional argument"),
        pytest.param(["-t"], "argument -t/--timeout: expected one argument", id="option without value"),
        pytest.param(["-t", "0"], "argument -t/--timeout: '0' is no time limit; write SECONDS[:STATE], for example 10:critical",
                     id="limit of zero"),
        pytest.param(["-t", "nan"], "argument -t/--timeout: 'nan' is no time limit; write SECONDS[:STATE], for example 10:critical",
                     id="limit not a number"),
        pytest.param(["-t", "5:ok"], "argument -t/--timeout: '5:ok' is no time limit; write SECONDS[:STATE], for example 10:critical",
                     id="a timeout is never OK"),
        pytest.param(["-t", "٣"], "argument -t/--timeout: '٣' is no time limit; write SECONDS[:STATE], for example 10:critical",
                     id="digits of another script"),
        pytest.param(["--extra-opts=none@/nonexistent.ini"],
                     "--extra-opts: /nonexistent.ini cannot be read: No such file or directory; check the path and its rights", id="ini file missing"),
    ],
)  # fmt: skip
def test_usage_errors_are_unknown_with_a_sentence(check: str, arguments: list[str], expected: str) -> None:
    outcome = run_check(check, *arguments)
    ending = "" if expected.startswith("--extra-opts") else f"; check_{check} --help lists the options"
    assert (outcome.code, outcome.text) == (3, f"{SERVICES[check]} UNKNOWN - {expected}{ending}\n")


def test_a_password_behind_two_letters_is_not_repeated(check: str) -> None:
    """Newer versions of argparse read -v and -P hunter22, older ones -v with a value."""
    outcome = run_check(check, "-vPhunter22")
    sentence = outcome.text.partition(";")[0].removeprefix(f"{SERVICES[check]} UNKNOWN - ")
    assert (outcome.code, sentence in ("unknown option -P", "argument -v/--verbose: it takes no value")) == (3, True), outcome.text


@pytest.mark.parametrize("value", ["", "@", "5:1", "nan", "1e3", "10:abc", "0x10", "--", "1;2", "٣:", "9" * 400, "1:2:3", " 5"])
@pytest.mark.parametrize("option", ["-w", "-c"])
def test_a_threshold_that_is_no_range_is_a_usage_error(check: str, option: str, value: str) -> None:
    outcome = run_check(check, f"{option}={value}")
    assert outcome.code == 3
    expected = "'--' is no value" if value == "--" else f"argument {option}/"
    assert outcome.text.startswith(f"{SERVICES[check]} UNKNOWN - {expected}")


@pytest.mark.parametrize("option", ["-h", "--help", "-V", "--version"])
def test_help_and_version_exit_3_and_fit(check: str, option: str) -> None:
    outcome = run_process(command(check, option))
    assert (outcome.code, outcome.stderr) == (3, b"")
    assert f"check_{check}" in outcome.line
    assert len(outcome.stdout) < 4000, "the help must not be cut"


def with_arguments(check: str, *further: str) -> list[str]:
    return command(check, *QUICK[check], *further)


def test_closed_stdout_is_never_ok(check: str) -> None:
    outcome = run_process(["sh", "-c", '"$@" >&-', "sh", *with_arguments(check)])
    assert (outcome.code, outcome.stdout, outcome.stderr) == (3, b"", b"")


def test_full_stdout_is_never_ok(check: str) -> None:
    outcome = run_process(["sh", "-c", '"$@" >/dev/full', "sh", *with_arguments(check)])
    assert (outcome.code, outcome.stdout, outcome.stderr) == (3, b"", b"")


def test_a_reader_that_has_gone_is_never_ok(check: str) -> None:
    outcome = run_process(["bash", "-c", '"$@" | true; exit ${PIPESTATUS[0]}', "bash", *with_arguments(check)])
    assert outcome.stderr == b""
    assert outcome.code in (1, 2, 3)


def test_closed_stdin_and_stderr_do_no_harm(check: str) -> None:
    usual = run_check(check, *QUICK[check])
    outcome = run_process(["sh", "-c", '"$@" <&- 2>&-', "sh", *with_arguments(check)])
    assert (outcome.code, outcome.stdout) == (usual.code, usual.stdout)


def libraries(folder: Path, module: str, text: str) -> dict[str, str]:
    """An environment in which `module` is this text instead of the library."""
    (folder / f"{module}.py").write_text(text)
    return {"PYTHONPATH": str(folder)}


def test_missing_nagiosplugin_is_a_sentence(check: str, tmp_path: Path) -> None:
    env = libraries(tmp_path, "nagiosplugin", "raise ModuleNotFoundError('No module', name='nagiosplugin')")
    outcome = run_check(check, env=env)
    assert (outcome.code, outcome.text) == (
        3,
        f"{SERVICES[check]} UNKNOWN - the Python library nagiosplugin is missing: "
        "install the package python3-nagiosplugin, or run pip install nagiosplugin\n",
    )


def test_broken_nagiosplugin_is_a_sentence(check: str, tmp_path: Path) -> None:
    outcome = run_check(check, env=libraries(tmp_path, "nagiosplugin", "def broken("))
    assert outcome.code == 3
    assert outcome.text.startswith(f"{SERVICES[check]} UNKNOWN - internal error while starting: SyntaxError: ")


@pytest.mark.parametrize(
    ("wait", "why"),
    [
        pytest.param("import time\ntime.sleep(30)", "a library that does not load", id="slow import"),
        pytest.param("while True:\n    pass", "a busy loop", id="busy loop"),
        pytest.param("import time\nwhile True:\n    try:\n        time.sleep(30)\n    except BaseException:\n        pass",
                     "an except that swallows all", id="swallowed"),
        pytest.param("import re\nre.match('(a+)+$', 'a' * 60 + 'b')", "a regular expression without end", id="catastrophic regex"),
        pytest.param("import ctypes\nlibc = ctypes.CDLL(None)\nb = ctypes.create_string_buffer(64)\n"
                     "libc.pthread_mutex_init(b, None)\nlibc.pthread_mutex_lock(b)\nlibc.pthread_mutex_lock(b)",
                     "C code that does not return", id="stuck C code"),
    ],
)  # fmt: skip
def test_the_deadline_holds_whatever_hangs(check: str, wait: str, why: str, tmp_path: Path) -> None:
    outcome = run_check(check, "-t", "0.7:critical", env=libraries(tmp_path, "nagiosplugin", wait))
    assert (outcome.code, outcome.text) == (2, f"{SERVICES[check]} CRITICAL - timed out after 0.7 s while starting\n"), why
    assert outcome.seconds < 0.7 + PUNCTUAL


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_signals_leave_a_line_and_exit_3(check: str, name: str, tmp_path: Path) -> None:
    # Short sleeps: a signal that comes between two instructions, just before one long sleep, is seen only at its end.
    env = libraries(tmp_path, "nagiosplugin", f"open({str(tmp_path / 'up')!r}, 'w')\nimport time\nfor _ in range(600): time.sleep(0.05)")
    child = subprocess.Popen(
        command(check), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **env}, start_new_session=True
    )
    wait_until((tmp_path / "up").exists)
    child.send_signal(getattr(signal, name))
    stdout, stderr = child.communicate(timeout=10)
    assert (child.returncode, stderr) == (3, b"")
    word = "interrupted" if name == "SIGINT" else "ended by a signal"
    assert stdout.decode() == f"{SERVICES[check]} UNKNOWN - {word} while starting\n"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_signals_leave_no_list_command_behind(name: str, tmp_path: Path) -> None:
    with ForwarderTools(tmp_path) as tools:
        tool = tools.hangs("tool")
        words = ("--product", "usb-redirector", "--license-expires", "perpetual", "--list-command", f"'{tool}'")
        child = subprocess.Popen(command("usb_redirector", *words), stdout=subprocess.PIPE, start_new_session=True)
        wait_until(lambda: bool(tools.running()))
        # The check, its watchdog and what reads the tool: before that the check does not know yet that the tool runs.
        wait_until(lambda: len(os.listdir(f"/proc/{child.pid}/task")) == 3)
        child.send_signal(getattr(signal, name))
        stdout, _ = child.communicate(timeout=10)
        assert child.returncode == 3
        word = "interrupted" if name == "SIGINT" else "ended by a signal"
        assert stdout.decode().startswith(f"USB_REDIRECTOR UNKNOWN - {word} while running list command ")
        assert stdout.endswith(b" | answer_state=3\n")
        assert tools.survivors() == []


@pytest.mark.parametrize("encoding", ["ascii", "cp1251", "koi8-r", "cp866", "utf-16"])
def test_an_engine_reads_utf_8_whatever_the_locale(encoding: str) -> None:
    words = ("--product", "generic", "--license-expires", "perpetual", "--process", "журнал-которого-нет")
    outcome = run_check("usb_redirector", *words, env={"PYTHONIOENCODING": encoding})
    assert (outcome.code, "process журнал-которого-нет is not running" in outcome.line) == (2, True), outcome.line


def test_a_terminal_keeps_its_own_encoding() -> None:
    words = command("usb_redirector", "--product", "generic", "--license-expires", "perpetual", "--process", "журнал")
    master, slave = os.openpty()
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-8"}
    child = subprocess.Popen(words, stdout=slave, stderr=slave, env={**os.environ, **ascii_only})
    os.close(slave)
    printed = b""
    while b"\n" not in printed:
        printed += os.read(master, 4096)
    os.close(master)
    assert child.wait(10) == 2
    assert "process журнал is not running".encode("ascii", "backslashreplace") in printed


def wait_until(condition: Callable[[], bool], patience: float = 10) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "the child did not come up"
        time.sleep(0.01)


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(CHECKS, folder / "плагины <copy> | 1", ignore=shutil.ignore_patterns("__pycache__")))


def test_every_way_in_says_the_same(check: str, tmp_path: Path) -> None:
    usual = run_check(check, *QUICK[check])
    ways = {
        "a copied folder": command(check, *QUICK[check], checks=copied(tmp_path)),
        "a symlink in the plugin directory": [sys.executable, str(tmp_path / "check_link"), *QUICK[check]],
        "an executable file": [str(tmp_path / "check_link"), *QUICK[check]],
        "another working directory": command(check, *QUICK[check]),
        "without its folder on the path": ["env", "PYTHONSAFEPATH=1", *command(check, *QUICK[check])],
        "isolated (-I)": command(check, *QUICK[check], python=[DEBIAN_PYTHON, "-I"]),
        "isolated, by a symlink": [DEBIAN_PYTHON, "-I", str(tmp_path / "check_link"), *QUICK[check]],
    }
    (tmp_path / "check_link").symlink_to(CHECKS / f"check_{check}.py")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # the first line of a check says `env python3`
    for way, argv in ways.items():
        outcome = run_process(argv, cwd=tmp_path, env={"PATH": path})
        assert (outcome.code, outcome.stdout, outcome.stderr) == (usual.code, usual.stdout, b""), way


def test_debians_own_packages_suffice(check: str) -> None:
    usual = run_check(check, *QUICK[check])
    debian = run_check(check, *QUICK[check], python=[DEBIAN_PYTHON, "-E", "-s"])
    assert (debian.code, debian.stdout) == (usual.code, usual.stdout)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands that pip installs; the sources are copied first, so that the tree stays clean."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    source.mkdir()
    shutil.copytree(CHECKS, source / "checks", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--prefix", str(folder / "prefix"), str(source)],
        check=True,
    )  # fmt: skip
    return folder / "prefix"


def test_the_installed_command_says_the_same(check: str, installed: Path) -> None:
    site = next(installed.glob("lib/python3*/site-packages"))
    usual = run_check(check, *QUICK[check])
    outcome = run_process([str(installed / "bin" / f"check_{check}"), *QUICK[check]], env={"PYTHONPATH": str(site)})
    assert (outcome.code, outcome.stdout, outcome.stderr) == (usual.code, usual.stdout, b"")


def test_the_installed_command_is_on_time_too(check: str, installed: Path, tmp_path: Path) -> None:
    site = next(installed.glob("lib/python3*/site-packages"))
    (tmp_path / "nagiosplugin.py").write_text("import time\ntime.sleep(30)")
    outcome = run_process(
        [str(installed / "bin" / f"check_{check}"), "-t", "0.7"], env={"PYTHONPATH": f"{tmp_path}:{site}"}
    )
    assert (outcome.code, outcome.text) == (3, f"{SERVICES[check]} UNKNOWN - timed out after 0.7 s while starting\n")


INI = """
# comment
[check_{check}]
timeout = 7:critical
verbose
[nonsense]
no-such-key = hunter22
[colon]
password: hunter22
[blank]
password hunter22
[retry]
t = 0
[loop]
extra-opts = loop
"""


@pytest.mark.parametrize(
    ("section", "code", "expected"),
    [
        pytest.param("@{ini}", None, None, id="default section"),
        pytest.param("check_{check}@{ini}", None, None, id="named section"),
        pytest.param("nonsense@{ini}", 3, "unknown option 'no-such-key' in the ini section for --extra-opts", id="value of unknown key unseen"),
        *(pytest.param(f"{section}@{{ini}}", 3, "unknown option 'password' in the ini section for --extra-opts", id=f"password and {section} unseen")
          for section in ("colon", "blank")),
        pytest.param("loop@{ini}", 3, "unknown option 'extra-opts' in the ini section for --extra-opts", id="no nesting"),
        pytest.param("absent@{ini}", 3, "--extra-opts: no section [absent] in {ini}", id="section missing"),
        pytest.param("retry@{ini}", 3, "argument -t/--timeout: '0' is no time limit; write SECONDS[:STATE], for example 10:critical", id="bad value"),
    ],
)  # fmt: skip
def test_extra_opts(check: str, section: str, code: int | None, expected: str | None, tmp_path: Path) -> None:
    ini = tmp_path / "plugins.ini"
    ini.write_text(INI.format(check=check))
    ini.chmod(0o600)
    usual = run_check(check, *QUICK[check], "-v", "-t", "7:critical")
    outcome = run_check(check, f"--extra-opts={section.format(check=check, ini=ini)}", *QUICK[check])
    if expected is None:
        assert (outcome.code, outcome.stdout) == (usual.code, usual.stdout)
    else:
        ending = "" if expected.startswith("--extra-opts") else f"; check_{check} --help lists the options"
        assert (outcome.code, outcome.text) == (code, f"{SERVICES[check]} UNKNOWN - {expected.format(ini=ini)}{ending}\n")
