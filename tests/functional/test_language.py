"""Russian as an engine sees it: how the language is chosen, and from which installation it is spoken.

What the sentences are is in tests/unit/test_language.py; the Russian pages quote whole lines (tests/unit/test_runbooks.py).
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.run_check import CHECKS, SERVICES, run_check, run_process

CATALOGUE = "kodeks_monitoring/locale/ru/LC_MESSAGES/kodeks_monitoring.mo"
LICENSE = ("--product", "generic", "--license-expires", "perpetual")
ENGLISH = "USB_REDIRECTOR OK - license of the forwarder is perpetual | license_state=0\n"
RUSSIAN = "USB_REDIRECTOR OK - лицензия на программу проброса (generic) бессрочная | license_state=0\n"


@pytest.fixture(params=SERVICES)
def check(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- How it is chosen -------------------------------------------------------------------------------------------------


def test_by_the_option() -> None:
    assert run_check("usb_redirector", *LICENSE, "--language", "ru").text == RUSSIAN


@pytest.mark.parametrize(
    ("lines", "arguments", "variable", "text"),
    [
        pytest.param("language = ru", (), "", RUSSIAN, id="the ini's key"),
        pytest.param("language=RU", (), "", RUSSIAN, id="in capitals"),
        pytest.param("language = ru", ("--language=en",), "", ENGLISH, id="an option outweighs the ini"),
        pytest.param("language = en", (), "ru", ENGLISH, id="the ini outweighs the variable"),
        pytest.param("verbose", (), "ru", RUSSIAN, id="the variable"),
        pytest.param("verbose", (), "", ENGLISH, id="nothing"),
    ],
)
def test_by_ini_and_variable(lines: str, arguments: tuple[str, ...], variable: str, text: str, tmp_path: Path) -> None:
    ini = tmp_path / "kodeks.ini"
    ini.write_text(f"[site]\n{lines}\n", encoding="utf-8")
    outcome = run_check("usb_redirector", f"--extra-opts=site@{ini}", *LICENSE, *arguments, env={"KODEKS_LANGUAGE": variable})
    assert outcome.line + "\n" == text


WRONG_OPTIONS = [
    # arguments, the Russian sentence
    (["--nix"], "неизвестный параметр --nix"),
    (["-t"], "параметр -t/--timeout: нужно одно значение"),
    (["-t", "0"], "параметр -t/--timeout: '0' — не предел времени; пишите SECONDS[:STATE], например 10:critical"),
    (["-w", "5:1"], "параметр -w/--warning: '5:1' — диапазон, начало которого больше конца"),
    (["-w", " 5"], "параметр -w/--warning: '5' — значение с пробелами по краям"),
    (["stray"], "значение без параметра"),
    (["-w", "--"], "'--' — не значение"),
]


@pytest.mark.parametrize(("arguments", "sentence"), WRONG_OPTIONS, ids=str)
def test_a_wrong_option_is_told_in_russian(check: str, arguments: list[str], sentence: str) -> None:
    outcome = run_check(check, *arguments, env={"KODEKS_LANGUAGE": "ru"})
    assert (outcome.code, outcome.text) == (3, f"{SERVICES[check]} UNKNOWN - {sentence}; список параметров: check_{check} --help\n")


def test_a_wrong_choice_is_told_in_russian() -> None:
    outcome = run_check("kodeks_xml", "--language=ru", "--source", "pdf")
    assert outcome.line.startswith("KODEKS_XML UNKNOWN - параметр --source: 'pdf' не подходит (выберите из ")


def test_an_option_that_the_ini_does_not_know_is_told_in_its_language(check: str, tmp_path: Path) -> None:
    ini = tmp_path / "kodeks.ini"
    ini.write_text("[site]\nnix = 1\nlanguage = ru\n")
    outcome = run_check(check, f"--extra-opts=site@{ini}")
    sentence = f"неизвестный параметр 'nix' в секции ini-файла для --extra-opts; список параметров: check_{check} --help"
    assert outcome.text == f"{SERVICES[check]} UNKNOWN - {sentence}\n"


@pytest.mark.parametrize(("arguments", "variable"), [(["--language=rus"], ""), ([], "rus"), ([], "ru_RU.UTF-8")], ids=str)
def test_a_language_that_nobody_speaks_is_seen(check: str, arguments: list[str], variable: str) -> None:
    outcome = run_check(check, *arguments, env={"KODEKS_LANGUAGE": variable})
    assert outcome.code == 3
    assert outcome.line.startswith(f"{SERVICES[check]} UNKNOWN - argument --language: invalid choice: '")


LOCALES = ["C", "POSIX", "C.UTF-8", "ru_RU.UTF-8", "ru_RU.CP1251", "nonsense"]


@pytest.mark.parametrize("locale", LOCALES)
def test_no_locale_chooses_it_or_changes_a_byte(locale: str) -> None:
    env = {"LC_ALL": locale, "LANG": locale, "LANGUAGE": "ru:de", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert run_check("usb_redirector", *LICENSE, env=env).stdout == ENGLISH.encode()
    assert run_check("usb_redirector", *LICENSE, "--language=ru", env=env).stdout == RUSSIAN.encode()
    assert run_check("usb_redirector", *LICENSE, env={**env, "KODEKS_LANGUAGE": "ru"}).stdout == RUSSIAN.encode()


@pytest.mark.parametrize("encoding", ["cp1251", "cp866"])
def test_windows_reads_utf8(encoding: str) -> None:
    """A pipe, which is what an engine reads on Windows, too, gets UTF-8 whatever the console's code page is."""
    assert run_check("usb_redirector", *LICENSE, "--language=ru", env={"PYTHONIOENCODING": encoding}).stdout == RUSSIAN.encode()


def test_a_limit_that_is_over_is_told_in_russian(check: str, tmp_path: Path) -> None:
    (tmp_path / "nagiosplugin.py").write_text("import time\ntime.sleep(30)")
    outcome = run_check(check, "-t", "0.5:critical", "--language", "ru", env={"PYTHONPATH": str(tmp_path)})
    assert outcome.text == f"{SERVICES[check]} CRITICAL - истекло время ожидания (0.5 с): запуск проверки\n"


def test_a_missing_library_is_told_in_russian(check: str, tmp_path: Path) -> None:
    (tmp_path / "nagiosplugin.py").write_text("raise ModuleNotFoundError('No module', name='nagiosplugin')")
    outcome = run_check(check, env={"PYTHONPATH": str(tmp_path), "KODEKS_LANGUAGE": "ru"})
    sentence = "нет библиотеки Python nagiosplugin: установите пакет python3-nagiosplugin или выполните pip install nagiosplugin"
    assert outcome.text == f"{SERVICES[check]} UNKNOWN - {sentence}\n"


def test_the_rest_of_a_line_does_not_depend_on_the_language() -> None:
    arguments = ("--product", "generic", "--license-expires", "2027-01-31", "--process", "nobody-runs-this", "--no-list", "-v")
    english, russian = (run_check("usb_redirector", *arguments, f"--language={name}") for name in ("en", "ru"))
    assert (english.code, english.line.partition(" | ")[2]) == (russian.code, russian.line.partition(" | ")[2])
    assert english.text.count("\n") == russian.text.count("\n")


# --- From where it is spoken ------------------------------------------------------------------------------------------


def copied(folder: Path) -> Path:
    """A copy of the folder checks, as `cp -r` makes it."""
    return Path(shutil.copytree(CHECKS, folder / "checks", ignore=shutil.ignore_patterns("__pycache__")))


def test_from_a_copy_of_the_folder(tmp_path: Path) -> None:
    assert run_check("usb_redirector", *LICENSE, "--language=ru", checks=copied(tmp_path)).text == RUSSIAN


def test_through_a_symlink(tmp_path: Path) -> None:
    link = tmp_path / "check_usb_redirector"
    link.symlink_to(CHECKS / "check_usb_redirector.py")
    assert run_process([sys.executable, "-I", str(link), *LICENSE, "--language=ru"], cwd=tmp_path).text == RUSSIAN


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: list[tuple[str, Callable[[Path], object]]] = [
    ("missing", lambda file: file.unlink()),
    ("folder missing", lambda file: shutil.rmtree(file.parents[2])),
    ("empty", lambda file: file.write_bytes(b"")),
    ("half", lambda file: file.write_bytes(file.read_bytes()[:9000])),
    ("its source", lambda file: file.write_bytes(file.with_suffix(".po").read_bytes())),
    ("a folder", a_folder),
    ("no number", lambda file: file.write_bytes(file.read_bytes().replace(b"nplurals=3; plural=n % 10", b"nplurals=3; plural=x % 10"))),
    ("Latin-1", lambda file: file.write_bytes(file.read_bytes().replace(b"charset=utf-8", b"charset=utf-9"))),
]


@pytest.mark.parametrize("damage", [row[1] for row in DAMAGES], ids=[row[0] for row in DAMAGES])
def test_a_catalogue_that_is_missing_or_broken_means_english(damage: Callable[[Path], object], tmp_path: Path) -> None:
    checks = copied(tmp_path)
    damage(checks / CATALOGUE)
    assert run_check("usb_redirector", *LICENSE, "--language=ru", checks=checks).text == ENGLISH



def test_english_loads_nothing(check: str, tmp_path: Path) -> None:
    """What it costs in time is in tests/benchmark/test_costs.py."""
    hook = tmp_path / "sitecustomize.py"
    seen = tmp_path / "opened"
    hook.write_text(f"import sys\nfile = open({str(seen)!r}, 'a')\nsys.addaudithook(lambda event, args: event == 'open' and print(args[0], file=file, flush=True))\n")
    run_check(check, env={"PYTHONPATH": str(tmp_path)})
    english = seen.read_text()
    run_check(check, "--language=ru", env={"PYTHONPATH": str(tmp_path)})
    assert "/locale/" not in english
    assert CATALOGUE in seen.read_text()
