"""Reads the project's Markdown: tables, sections, code blocks, links."""

import re
from collections.abc import Iterator
from pathlib import Path

from tools.process import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = ROOT / "README.md"
DOCS = ROOT / "docs"

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"(?<!\\)\|")

type Table = list[dict[str, str]]


def read(path: Path) -> str:
    """A page's text."""
    return path.read_text("utf-8")


def section(path: Path, title: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    text = read(path)
    match = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert match is not None, f"{path.name} has no heading {title!r}"
    level = len(match[1])
    end = re.compile(rf"^#{{1,{level}}} ", re.MULTILINE).search(_unfenced(text), match.end())
    return text[match.end() : end.start() if end else None]


def tables(text: str) -> Iterator[Table]:
    """The tables of a text: rows as objects by column title."""
    for block in re.findall(r"(?:^\|.*\|$\n?)+", _unfenced(text), re.MULTILINE):
        rows = [_CELL.split(line) for line in _padded(block)]
        titles = [title.strip() for title in rows[0]]
        yield [dict(zip(titles, (cell.strip() for cell in row), strict=True)) for row in rows[2:]]


def _padded(block: str) -> list[str]:
    """The lines with their outer bars cut off in such a way that empty last cells stay."""
    return [line.strip().removeprefix("|").removesuffix("|") for line in block.splitlines()]


def table(text: str, *titles: str) -> Table:
    """All rows of the tables that have these columns."""
    return [row for rows in tables(text) if rows for row in rows if set(titles) <= row.keys()]


def words(cell: str) -> list[str]:
    """The words in backticks of a cell."""
    return re.findall(r"`([^`]+)`", cell)


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks in a language."""
    return [body for name, body in _FENCE.findall(text) if name == language]


def links(text: str) -> list[str]:
    """The targets of all links."""
    return _LINK.findall(_unfenced(text))


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings."""
    titles = _HEADING.findall(_unfenced(read(path)))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _unfenced(text: str) -> str:
    """The text with code blocks blanked out; every character keeps its place."""
    return _FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
