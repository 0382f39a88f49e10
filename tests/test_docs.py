"""README and the pages of docs/ can be read in an editor and reviewed by the line: short lines and paragraphs, tables of short cells."""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
COLUMNS = 160
PARAGRAPH = 8
"""Lines, at most."""

_ITEM = re.compile(r"\s*([-*]|\d+\.) ")
_CELLS = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"(`+).*\1")


def lines(page: Path) -> Iterator[tuple[int, str, str]]:
    """The number, kind and text of each line."""
    in_code = False
    for number, text in enumerate(page.read_text().splitlines(), 1):
        fence = text.lstrip().startswith("```")
        in_code ^= fence
        if fence or in_code:
            yield number, "code", text
        elif text.startswith("|"):
            yield number, "table", text
        else:
            yield number, "text" if text.strip() and not text.startswith("#") else "between", text


def paragraphs(page: Path) -> Iterator[list[int]]:
    """The numbers of the lines of each paragraph or item of a list."""
    item = 0

    def belongs(line: tuple[int, str, str]) -> tuple[str, int]:
        nonlocal item
        item += bool(_ITEM.match(line[2]))
        return line[1], item

    for (kind, _), group in groupby(lines(page), belongs):
        if kind == "text":
            yield [number for number, _, _ in group]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_are_short(page: Path) -> None:
    """A table's row is one line whatever its length; its cells are short, but for messages that are quoted whole."""
    long = [number for number, kind, text in lines(page) if kind != "table" and len(text) > COLUMNS]
    for number, kind, text in lines(page):
        cells = map(str.strip, _CELLS.split(text.strip("|"))) if kind == "table" else ()
        if any(len(cell) > COLUMNS and not _CODE.fullmatch(cell) for cell in cells):
            long.append(number)
    assert not long, f"{page.name}: break lines, or put cells of tables into paragraphs: {long}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tests_that_show_a_promise_are_there(page: Path) -> None:
    named = set(re.findall(r"tests/[\w/]+\.py", page.read_text()))
    assert [name for name in sorted(named) if not (REPOSITORY / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paragraphs_are_short(page: Path) -> None:
    long = [numbers[0] for numbers in paragraphs(page) if len(numbers) > PARAGRAPH]
    assert not long, f"{page.name}: divide the paragraphs of more than {PARAGRAPH} lines that begin at {long}"
