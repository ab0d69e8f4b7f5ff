"""README and docs/ are true and short: two languages alike, pictures up to date, tables as the checks and products are.

What stands between `<!-- generated: NAME -->` and `<!-- end -->` is made from checks/. A check or a product was added or changed:

    PYTHONPATH=checks:tests .venv/bin/python tests/unit/test_readme.py && git diff README* docs
"""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pictures
import pytest
from kodeks_monitoring.forwarders.product import Product, load_product, product_names
from lab.markdown import Page, drift
from lab.run_check import CHECKS, ROOT, SERVICES

PAGES = {"en": Page(ROOT / "README.md"), "ru": Page(ROOT / "README.ru.md")}
INSTALL = {"en": Page(ROOT / "docs/install.md"), "ru": Page(ROOT / "docs/install.ru.md")}
DOCS = {
    check: {"en": Page(ROOT / f"docs/{check}.md"), "ru": Page(ROOT / f"docs/{check}.ru.md")}
    for check in (f"check_{name}" for name in SERVICES)
    if (ROOT / f"docs/{check}.md").exists()
}
"""A page a check. A new check may have none yet."""
WINDOWS = {"en": Page(ROOT / "templates/windows/README.md"), "ru": Page(ROOT / "templates/windows/README.ru.md")}
ZABBIX = {
    name: {"en": Page(ROOT / f"templates/zabbix/{name}.md"), "ru": Page(ROOT / f"templates/zabbix/{name}.ru.md")}
    for name in ("README", "README-telegram")
}
PROSE_IN_CYRILLIC = {"en": (0.0, 0.05), "ru": (0.6, 1.0)}

# --- Two languages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pages", [PAGES, INSTALL, WINDOWS, *DOCS.values()], ids=["README", "install", "windows", *DOCS])
def test_both_languages_are_alike(pages: dict[str, Page]) -> None:
    assert drift(pages["en"], pages["ru"]) == []


@pytest.mark.parametrize("pages", ZABBIX.values(), ids=ZABBIX)
def test_the_zabbix_pages_are_alike(pages: dict[str, Page]) -> None:
    """But for blocks that show what people read, which is Russian there."""
    assert [found for found in drift(pages["en"], pages["ru"]) if not found.startswith("code blocks")] == []
    blocks = [[fence.content for fence in page.fences] for page in pages.values()]
    assert len(blocks[0]) == len(blocks[1])
    assert [one for one, other in zip(*blocks) if one != other and not re.search("[а-я]", other)] == []


def test_each_leads_to_the_other_at_its_top() -> None:
    assert PAGES["en"].text.split("\n")[2] == "[По-русски](README.ru.md)"
    assert PAGES["ru"].text.split("\n")[2] == "[In English](README.md)"


@pytest.mark.parametrize("language", PAGES)
def test_each_is_in_its_language_and_short(language: str) -> None:
    page, (least, most) = PAGES[language], PROSE_IN_CYRILLIC[language]
    prose = re.sub(r"(?s)^```.*?^```|`[^`]*`|\]\([^)]*\)|<!-- gen.*?<!-- end", "", page.text, flags=re.MULTILINE)
    cyrillic = len(re.findall("[А-Яа-яЁё]", prose)) / len(re.findall(r"[^\W\d_]", prose))
    assert least <= cyrillic <= most
    assert len(page.text.splitlines()) <= 150


@pytest.mark.parametrize("engine", ["nagios", "icinga2"])
def test_the_short_page_of_an_engine_has_the_same_commands(engine: str) -> None:
    """tests/packaging/test_readme_walk.py follows those of the English page. Each leads to the other at its top."""
    english, russian = (Page(ROOT / "templates" / engine / name) for name in ("README.md", "README.ru.md"))
    commands = [[fence.content for fence in page.fences if fence.info == "sh"] for page in (english, russian)]
    assert commands[0] and commands[0] == commands[1]
    assert (english.links[0], russian.links[0]) == ("README.ru.md", "README.md")


def test_the_short_page_of_nagios_says_the_same() -> None:
    """It has two of the English page's tables: services with tries and minutes, and what is seen when NRPE says nothing."""

    def marks(page: Page, number: int) -> list[list[str]]:
        return [re.findall("^[A-Z]\\w+|`[^`]+`|[0-9]+(?:-[0-9]+)?", " ".join([row[0], *row[2:]])) for row in page.tables[number][1:]]

    english, russian = (Page(ROOT / "templates/nagios" / name) for name in ("README.md", "README.ru.md"))
    assert marks(english, 0) == marks(russian, 0)
    assert marks(english, -1) == marks(russian, -1)


A = "# A\n\n[x](README.ru.md)\n\n## B\n\n```sh\nls\n```\n\n| `-w` | c |\n|---|---|\n| 1 | 2 |\n"


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("## B", "### B", "levels of headings"),
        ("## B", "B", "levels of headings"),
        ("ls\n", "ls -l\n", "code blocks"),
        ("```sh", "```", "code blocks"),
        ("| 1 | 2 |\n", "", "rows and columns of tables"),
        ("| `-w` | c |\n|---|---|\n| 1 | 2 |", "| `-w` |\n|---|\n| 1 |", "rows and columns of tables"),
        ("`-w`", "`-c`", "words quoted in tables"),
        ("README.ru.md", "SECURITY.md", "links"),
        ("[x](README.ru.md)", "x", "links"),
    ],
)
def test_drift_is_seen(old: str, new: str, what: str, tmp_path: Path) -> None:
    assert old in A
    left, right = tmp_path / "left.md", tmp_path / "right.md"
    left.write_text(A, "utf-8")
    right.write_text(A.replace(old, new), "utf-8")
    assert drift(Page(left), Page(right))[0].startswith(f"{what}: ")
    right.write_text(A.replace("README.ru.md", "README.md").replace("# A", "# А"), "utf-8")
    assert drift(Page(left), Page(right)) == []


# --- The table of the checks ------------------------------------------------------------------------------------------

HEADS: dict[str, dict[str, tuple[str, ...]]] = {
    "options": {"en": ("option", "meaning"), "ru": ("параметр", "что значит")},
    "checks": {"en": ("check", "what it does"), "ru": ("проверка", "что делает")},
    "forwarders": {
        "en": ("`--product`", "forwarder", "asked if nothing else is named", "date needed", "how well proven"),
        "ru": ("`--product`", "программа проброса", "что спрашивают, если не указано другое", "нужна дата", "чем подтверждено"),
    },
}
RUSSIAN = {
    "check_senselock": "Считает ключи SenseLock на шине USB этой машины и говорит, вставлены они в неё или проброшены.",
    "check_usb_redirector": "Следит за программой проброса USB: её лицензия, список устройств, процесс, служба и порт.",
    "check_kodeks_xml": "Спрашивает сервер «Кодекс»/«Техэксперт» или сохранённый отчёт sysinfo, работает ли ключ SenseLock.",
}
"""What the checks say of themselves in English. A check that is not here speaks English in the Russian table, too."""


def description_of(check: Path) -> str:
    """The first line of what a check says of itself with -h, below its usage."""
    done = subprocess.run([sys.executable, check, "-h"], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    return done.stdout.split("\n")[2]


def rows_of_checks(language: str, folder: Path = CHECKS) -> list[tuple[str, ...]]:
    """A row for each check that lies in the folder."""
    rows: list[tuple[str, ...]] = []
    for path in sorted(folder.glob("check_*.py")):
        page = Path("docs", f"{path.stem}.ru.md" if language == "ru" else f"{path.stem}.md")
        shown = f"[{path.stem}]({page})" if (ROOT / page).exists() else path.stem
        english = description_of(path)
        rows.append((shown, RUSSIAN.get(path.stem, english) if language == "ru" else english))
    return rows


# --- The table of the forwarders --------------------------------------------------------------------------------------

WORDS: dict[object, dict[str, str]] = {  # of what is derived from a product
    "process": {"en": "process", "ru": "процесс"}, "service": {"en": "service", "ru": "служба"},
    "exit code": {"en": "nothing: give `--list-command`, it is judged by its exit code",
                  "ru": "ничего: задайте `--list-command`, решает её код завершения"},
    "any other": {"en": "any other", "ru": "любая другая"},
    "attached": {"en": "what is attached here, and its server", "ru": "что подключено здесь, и сервер, который это отдаёт"},
    "nothing": {"en": "nothing: name a process, a service or a port", "ru": "ничего: укажите процесс, службу или порт"},
    True: {"en": "yes", "ru": "да"}, False: {"en": "no", "ru": "нет"},
    "see": {"en": "see its file", "ru": "см. её файл"},
}  # fmt: skip


def asked_of(product: Product, language: str) -> str:
    """What a product is asked if nothing else is named, on every side and system."""
    found = []
    for source in dict.fromkeys(product.sources.values()):
        kind, colon, name = source.partition(":")
        found.append(f"{WORDS[kind][language]} `{name}`" if colon else f"`{source}`")
    if found:
        return ", ".join(found)
    return WORDS["exit code" if product.exit_codes else "attached" if product.read else "nothing"][language]


def rows_of_forwarders(language: str) -> list[tuple[str, ...]]:
    """A row for each product. The last cell is written by hand and kept."""
    by_hand = {row[0]: row[-1] for table in PAGES[language].tables if table[0][0] == "`--product`" for row in table[1:]}
    rows: list[tuple[str, ...]] = []
    for name in product_names():
        product = load_product(name)
        title = WORDS["any other"][language] if product.title == "the forwarder" else product.title
        proven = by_hand.get(f"`{name}`", WORDS["see"][language])
        rows.append((f"`{name}`", title, asked_of(product, language), WORDS[product.needs_license][language], proven))
    return rows


# --- The options of a check -------------------------------------------------------------------------------------------


def parser_of(check: str) -> argparse.ArgumentParser:
    """The option parser of a check."""
    parser = importlib.import_module(check).options()
    assert isinstance(parser, argparse.ArgumentParser)
    return parser


def rows_of_options(check: str, language: str) -> list[tuple[str, ...]]:
    """A row for each option of a check: in English in the words of its -h, in Russian in words written by hand and kept."""
    (options,) = [table for table in DOCS[check][language].tables if table[0] == [*HEADS["options"][language]]]
    by_hand = {option: meaning for option, meaning in options[1:] if language == "ru"}
    rows: list[tuple[str, ...]] = []
    for group in parser_of(check)._action_groups:
        for action in group._group_actions:
            value = action.metavar or (action.choices and "{" + ",".join(action.choices) + "}") or ""
            shown = ", ".join(f"`{f'{name} {value}'.strip()}`" for name in action.option_strings)
            meaning = by_hand.get(shown, str(action.help)) if action.help != ", ".join(action.choices or ()) else action.help
            rows.append((shown.replace("|", r"\|"), meaning.replace("|", r"\|")))
    return rows


@pytest.mark.parametrize("check", DOCS)
def test_a_page_has_the_perfdata_of_the_table_of_all(check: str) -> None:
    (table,) = [table for table in Page(ROOT / "templates/nagios/README.md").tables if table[0] == ["check", "label", "meaning"]]
    owner, labels = "", []
    for name, label, _ in table[1:]:
        owner = name or owner
        labels += re.findall("`([^`]+)`", label) if owner == check else []
    (own,) = [table for table in DOCS[check]["en"].tables if table[0][0] == "label"]
    assert [row[0].strip("`") for row in own[1:]] == labels


@pytest.mark.parametrize("check", DOCS)
def test_a_russian_page_explains_every_option_in_russian(check: str) -> None:
    names = ", ".join(product_names())
    assert [row for row in rows_of_options(check, "ru") if not re.search("[а-я]{3}", row[1]) and row[1] != names] == []


@pytest.mark.parametrize("check", DOCS)
def test_a_page_tells_the_true_thresholds(check: str) -> None:
    (states,) = [table for table in DOCS[check]["en"].tables if table[0][0] == "state"]
    shown = dict(re.findall(r"`(-[wc]) ([^`]+)`", str(states)))
    defaults = {action.option_strings[0]: action.default for action in parser_of(check)._actions if action.option_strings[0] in ("-w", "-c")}
    assert shown == {name: default for name, default in defaults.items() if default is not None}


# --- What is generated ------------------------------------------------------------------------------------------------


def table(name: str, language: str, rows: list[tuple[str, ...]]) -> str:
    """A table as Markdown."""
    head = HEADS[name][language]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ("---",) * len(head), *rows))


def generated(page: Page, language: str) -> str:
    """A page with its tables made anew."""
    text, check = page.text, page.path.name.partition(".")[0]
    if check in DOCS:
        tables = {"options": rows_of_options(check, language)}
    else:
        tables = {"checks": rows_of_checks(language), "forwarders": rows_of_forwarders(language)}
    for name, rows in tables.items():
        between = rf"(?s)(<!-- generated: {name} -->\n).*?(<!-- end -->)"
        text, number = re.subn(between, lambda found, name=name, rows=rows: found[1] + table(name, language, rows) + found[2], text)  # type: ignore[misc]
        assert number == 1, f"{name}: no place for its table"
    return text


WITH_TABLES = [(page, language) for pages in (PAGES, *DOCS.values()) for language, page in pages.items()]


@pytest.mark.parametrize(("page", "language"), WITH_TABLES, ids=str)
def test_the_tables_are_as_the_checks_are(page: Page, language: str) -> None:
    assert generated(page, language) == page.text, "run: PYTHONPATH=checks:tests .venv/bin/python tests/unit/test_readme.py"


@pytest.mark.parametrize("language", PAGES)
def test_a_fourth_check_has_its_row(language: str, tmp_path: Path) -> None:
    folder = tmp_path / "checks"
    shutil.copytree(CHECKS, folder)
    shutil.copy(ROOT / "tests/lab/fourth_check.py", folder / "check_apples.py")
    rows = rows_of_checks(language, folder)
    assert sorted({*rows} - {*rows_of_checks(language)}) == [("check_apples", "Checks that there are enough apples in the basket.")]
    assert len(rows) == len(SERVICES) + 1


def test_what_every_check_knows() -> None:
    sentence = re.search(r"`-t SECONDS\[:STATE\]`, default (\d+)\)(?s:.*?)All know `([^`]+)`", PAGES["en"].text)
    assert sentence
    for name in SERVICES:
        (every,) = [group for group in parser_of(f"check_{name}")._action_groups if group.title == "every check"]
        (timeout,) = [action for action in every._group_actions if "--timeout" in action.option_strings]
        assert f"({sentence[1]}:" in str(timeout.help)
        assert set(sentence[2].split()) <= {name for action in every._group_actions for name in action.option_strings}
        assert len(sentence[2].split()) == len(every._group_actions)


def test_the_layouts_name_every_check() -> None:
    (layouts,) = [table for table in PAGES["en"].tables if table[0][0].startswith("How the key comes")]
    assert set(re.findall(r"\bcheck_\w+", str(layouts))) - {"check_tcp"} == {f"check_{name}" for name in SERVICES}


# --- The picture of the chain -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", pictures.LANGUAGES)
def test_the_chain_is_drawn_by_its_program(language: str) -> None:
    made = pictures.chain(language)
    assert pictures.chain_file(language).read_text("utf-8") == made, "run: PYTHONPATH=checks:tests .venv/bin/python tests/pictures.py chain"
    assert {place.watch for place in pictures.CHAIN if place.watch.startswith("check_")} == {f"check_{name}" for name in SERVICES}


if __name__ == "__main__":
    for each, its_language in WITH_TABLES:
        each.path.write_text(generated(each, its_language), "utf-8")
