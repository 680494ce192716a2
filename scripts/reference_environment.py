"""The page of environment variables, from the tables of the pages that explain them."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
FARM, USER = "farm.md#variables", "compile.md#environment"
HEAD = f"""\
# Environment variables

All that tinymlaas reads, in the order of the alphabet; [of everybody](../{USER}) and
[of a farm's processes](../{FARM}) in the order of use. A process names everything that is wrong
with its environment when it starts, and ends with status 2.

| variable | read by | meaning |
| --- | --- | --- |
"""
_NAME = re.compile(r"`([A-Z][A-Z0-9_]*(?:<[A-Z]+>)?)`")
_LINK = re.compile(r"\]\((?!https?:|#)([^)]*)\)")


def page() -> str:
    """Return the page; a variable in both tables has the farm's words, which are the closer."""
    rows = {}
    for names, meaning, default in _table(USER):
        otherwise = "" if default in ("none", "not set", "") else f" Default: {default}."
        for name in names:
            rows[name] = f"everybody | {meaning}.{otherwise}"
    for names, reader, meaning in _table(FARM):
        for name in names:
            before = "everybody, " if name in rows and reader != "all" else ""
            rows[name] = f"{before}{reader} | {meaning}"
    return HEAD + "".join(f"| `{name}` | {rows[name]} |\n" for name in sorted(rows))


def _table(place: str) -> list[tuple[list[str], str, str]]:
    """Return the rows of the first table below a heading: names, second and third column."""
    file, _, heading = place.partition("#")
    section = re.split(rf"^## {heading.title()}$", (DOCS / file).read_text(), flags=re.MULTILINE)[1]
    section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
    found = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 3 and (names := _NAME.findall(cells[0])):
            second, third = (_LINK.sub(r"](../\1)", cell) for cell in cells[1:])
            found.append((names, second, third))
    return found
