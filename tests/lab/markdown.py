"""A Markdown file as its reader meets it: headings, links, tables, fenced blocks. Read by a Markdown parser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

from lab.run_check import ROOT


class Heading(NamedTuple):
    """A heading: 1 to 6, and its text."""

    level: int
    text: str


class Page:
    """A Markdown file, read by a Markdown parser."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text("utf-8")
        self._tokens = MarkdownIt("commonmark").enable("table").parse(self.text)

    def __repr__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def headings(self) -> list[Heading]:
        """The headings in their order."""
        pairs = zip(self._tokens, self._tokens[1:])
        return [Heading(int(start.tag[1]), inline.content) for start, inline in pairs if start.type == "heading_open"]

    @property
    def anchors(self) -> set[str]:
        """What a link may name behind "#", as GitHub and GitLab make it of a heading."""
        return {re.sub(r"[^\w\- ]", "", heading.text.lower()).replace(" ", "-") for heading in self.headings}

    @property
    def links(self) -> list[str]:
        """The targets of links and images."""
        children = [child for token in self._tokens for child in token.children or ()]
        targets = [child.attrGet("href") or child.attrGet("src") for child in children]
        return [str(target) for target in targets if target]

    @property
    def fences(self) -> list[Token]:
        """The fenced blocks."""
        return [token for token in self._tokens if token.type in ("fence", "code_block")]

    @property
    def tables(self) -> list[list[list[str]]]:
        """The tables as rows of cells, the head first, cells in Markdown."""
        tables: list[list[list[str]]] = []
        for token, inside in zip(self._tokens, self._tokens[1:]):
            if token.type == "table_open":
                tables.append([])
            elif token.type == "tr_open":
                tables[-1].append([])
            elif token.type in ("th_open", "td_open"):
                tables[-1][-1].append(inside.content)
        return tables

    @property
    def cells(self) -> list[str]:
        """The cells of all tables in their order, in Markdown."""
        return [cell for table in self.tables for row in table for cell in row]


# --- A page and its twin in another language --------------------------------------------------------------------------


QUOTING_TABLE = ("The line says", "the line says", "В строке написано", "в строке")
"""The first heading of a table whose first column quotes parts of plugin sentences."""


def drift(left: Page, right: Page) -> list[str]:
    """Where a page and its translation are not alike: headings, code blocks, tables, links and the words between `...`.

    Languages show in names of files (README.ru.md, chain.ru.svg), in folders (runbooks/ru), in the anchors that
    headings make and in the sentences of plugins; these differences are none.
    """
    pairs = {
        "levels of headings": ([heading.level for heading in page.headings] for page in (left, right)),
        "code blocks": ([without_sentences(fence) for fence in page.fences] for page in (left, right)),
        "rows and columns of tables": ([[len(row) for row in table] for table in page.tables] for page in (left, right)),
        "words quoted in tables": ([*map(_words_quoted, page.tables)] for page in (left, right)),
        "links": ([_without_language(link) for link in page.links] for page in (left, right)),
    }
    return [f"{what}: {one} and {other}" for what, (one, other) in pairs.items() if one != other]


def without_sentences(fence: Token) -> tuple[str, str]:
    """A fenced block, its plugins' lines without their sentences; what follows such a line is its -v."""
    lines: list[str] = []
    for line in fence.content.splitlines():
        told = re.match(r"([A-Z_]+ (?:OK|WARNING|CRITICAL|UNKNOWN) - )[^|]*(.*)", line)
        if told:
            lines.append("".join(told.groups()))
        else:
            in_verbose = lines and re.match(r"[A-Z_]+ [A-Z]+ - |-v$", lines[-1]) and line and not line.startswith("$ ")
            lines.append("-v" if in_verbose else line)
    return fence.info, "\n".join(lines)


def _words_quoted(table: list[list[str]]) -> list[int | list[str]]:
    """The words between `...` of each cell; only how many, where they are those of a sentence."""
    found: list[int | list[str]] = []
    for row in table:
        for column, cell in enumerate(row):
            words = re.findall("`([^`]+)`", cell)
            found.append(len(words) if table[0][0] in QUOTING_TABLE and not column else words)
    return found


def _without_language(link: str) -> str:
    """A link as the English page has it: `../runbooks/ru/X.md#заголовок` leads to `../runbooks/en/X.md`."""
    return re.sub(r"(^|/)ru/", r"\1en/", link.partition("#")[0]).replace(".ru.", ".")
