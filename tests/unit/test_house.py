"""The house rules of checks/: how long things may be, who may import whom, and that no list of checks is kept by hand."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from lab.run_check import CHECKS, ROOT, SERVICES, imports_of

ALL_LINES = 3820  # without locale/: the 3,600 of the first cut, and sentences that stand whole, to be translated
SET_UP_LINES = 510  # of kodeks_setup, its room, and what the products tell for it alone (traces, the far machine)
FILE_LINES = 400
FUNCTION_LINES = 40
LINE_LENGTH = 110
COMPLEXITY = 10

FLOORS = {"contract": 0, "machine": 1, "kodeks": 2, "forwarders": 2, "setup": 3}
"""The rooms of the package and how high each one lies. A program of checks/ lies above them all."""

SOURCES = sorted(path for path in CHECKS.rglob("*.py") if "locale" not in path.parts)


def name_of(file: Path) -> str:
    return file.relative_to(CHECKS).as_posix()


# --- Budgets --------------------------------------------------------------------------------------------------


def long_files(file: Path) -> list[str]:
    lines = len(file.read_text("utf-8").splitlines())
    return [f"{lines} lines"] if lines > FILE_LINES else []


def long_functions(file: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            found += [f"{node.name}: {lines} lines"] if lines > FUNCTION_LINES else []
    return found


def long_lines(file: Path) -> list[str]:
    numbered = enumerate(file.read_text("utf-8").splitlines(), 1)
    return [f"line {number}: {len(line)} characters" for number, line in numbered if len(line) > LINE_LENGTH]


def complex_functions(file: Path) -> list[str]:
    """What ruff's C901 says, by the settings of this test and not those of ruff.toml."""
    setting = f"lint.mccabe.max-complexity={COMPLEXITY}"
    command = [str(Path(sys.executable).with_name("ruff")), "check", "--isolated", "--no-cache", "--output-format", "concise",
               "--select", "C901", "--ignore-noqa", "--config", setting, str(file)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == "", done.stderr
    return re.findall(r"C901 (.*)", done.stdout)


BUDGETS = [long_files, long_functions, long_lines, complex_functions]


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget.__name__)
def test_budgets(budget: Callable[[Path], list[str]]) -> None:
    assert {name_of(file): found for file in SOURCES if (found := budget(file))} == {}


def test_all_of_it_can_be_read() -> None:
    """kodeks_setup is counted apart. The 3,600 lines were measured without it: it monitors nothing, no check imports it, and who
    reads a check need not know it. A product's traces stand in the product's own file."""
    lines = {name_of(file): len(file.read_text("utf-8").splitlines()) for file in SOURCES}
    set_up = {name: number for name, number in lines.items() if name.startswith(("kodeks_setup.py", "kodeks_monitoring/setup/"))}
    assert sum(set_up.values()) <= SET_UP_LINES, set_up
    assert sum(lines.values()) <= ALL_LINES + SET_UP_LINES, lines


TOO_MUCH = [
    # what breaks the budget, by how little, the text of a file
    (long_files, "401 lines", "x = 1\n" * 401),
    (long_functions, "f: 41 lines", "def f() -> None:\n" + "    x = 1\n" * 40),
    (long_lines, "line 1: 111 characters", "x = '" + "y" * 105 + "'\n"),
    (complex_functions, "`f` is too complex (11 > 10)", "def f(x):\n" + "    if x: pass\n" * 10),
]


@pytest.mark.parametrize(("budget", "said", "text"), TOO_MUCH, ids=[row[0].__name__ for row in TOO_MUCH])
def test_a_breach_is_seen(budget: Callable[[Path], list[str]], said: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text(text)
    assert budget(file) == [said]


def test_ruff_holds_the_same_budgets() -> None:
    settings = dict(re.findall(r"(?m)^(max-line-length|max-complexity) = (\d+)$", (ROOT / "ruff.toml").read_text("utf-8")))
    assert settings == {"max-line-length": str(LINE_LENGTH), "max-complexity": str(COMPLEXITY)}


# --- Imports go down ------------------------------------------------------------------------------------------


def room_of(module: str) -> str:
    """The room that a module of the package is in; "" for the package's own first file."""
    return [*module.split("."), ""][1]


def imports_up(room: str, modules: list[str]) -> list[str]:
    """Those of the modules that a file in `room` may not import; room "" is a program's own folder."""
    ours = [module for module in modules if module.partition(".")[0] == "kodeks_monitoring"]
    floor = FLOORS.get(room, 9)
    return [module for module in ours if (above := room_of(module)) in FLOORS and above != room and FLOORS[above] >= floor]


@pytest.mark.parametrize("file", SOURCES, ids=name_of)
def test_imports_go_down(file: Path) -> None:
    imported = sorted(set(imports_of(file)))
    place = file.relative_to(CHECKS).parts
    room = place[1] if len(place) > 2 else ""
    assert room in FLOORS or len(place) == 1 or place[1] == "__init__.py", f"{room} is a new room: give it a floor"
    assert imports_up(room, imported) == []
    programs = {path.stem for path in CHECKS.glob("*.py")} - {file.stem}
    assert {module.partition(".")[0] for module in imported} & programs == set(), "a program is no library"


@pytest.mark.parametrize(
    ("room", "module", "allowed"),
    [
        ("", "kodeks_monitoring.forwarders.judge", True),
        ("", "kodeks_monitoring", True),
        ("kodeks", "kodeks_monitoring.machine.tcp", True),
        ("kodeks", "kodeks_monitoring.kodeks.page", True),
        ("kodeks", "kodeks_monitoring.PROJECT", True),
        ("contract", "os.path", True),
        ("kodeks", "kodeks_monitoring.forwarders.judge", False),
        ("forwarders", "kodeks_monitoring.kodeks", False),
        ("contract", "kodeks_monitoring.machine.tcp", False),
        ("machine", "kodeks_monitoring.forwarders", False),
    ],
)
def test_the_rule_of_imports(room: str, module: str, allowed: bool) -> None:
    assert (imports_up(room, [module]) == []) == allowed


def test_relative_imports_are_told_by_their_full_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.run_check.CHECKS", tmp_path)
    file = tmp_path / "kodeks_monitoring/kodeks/page.py"
    file.parent.mkdir(parents=True)
    file.write_text(textwrap.dedent("""\
        from .. import PROJECT
        from ..contract.verdict import OK
        from .texts import CODES
        def late():
            import_library("usb.core")
    """))
    assert [*imports_of(file)] == [
        "kodeks_monitoring", "kodeks_monitoring.PROJECT",
        "kodeks_monitoring.contract.verdict", "kodeks_monitoring.contract.verdict.OK",
        "kodeks_monitoring.kodeks.texts", "kodeks_monitoring.kodeks.texts.CODES",
        "usb.core",
    ]  # fmt: skip


# --- No list of checks is kept by hand ------------------------------------------------------------------------

DERIVED = [
    *ROOT.glob("setup.*"), ROOT / "pyproject.toml", ROOT / "ruff.toml", *(ROOT / "packaging").glob("*.*"),
    *(ROOT / "packaging/debian" / name for name in ("install", "links", "manpages", "rules")),
    *(CHECKS / "kodeks_monitoring/contract").glob("*.py"),
    ROOT / "tests/lab/run_check.py", ROOT / "tests/packaging/conftest.py", Path(__file__),
]  # fmt: skip
"""What must know every check, and finds it by a glob."""


@pytest.mark.parametrize("file", [path for path in DERIVED if path.exists()], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_check_is_named_where_a_glob_finds_it(file: Path) -> None:
    text = file.read_text("utf-8")
    assert [name for name in SERVICES if re.search(rf"\bcheck_{name}\b", text)] == []


@pytest.mark.parametrize("name", SERVICES)
def test_the_service_word_is_the_files_name(name: str) -> None:
    text = (CHECKS / f"check_{name}.py").read_text("utf-8")
    assert f'print("{SERVICES[name]} UNKNOWN - ' in text
    assert f'deadline.start("{SERVICES[name]}", __name__)' in text
