"""Where a key stands in a TOML file; tomllib keeps no positions."""

from __future__ import annotations

import tomllib
from typing import Any

KeyPath = tuple[str | int, ...]


def line_index(text: str) -> dict[KeyPath, int]:
    """Return the line, counted from 1, of every key and table header of valid TOML.

    A path is the keys and array positions from the top: ``("memory", 0, "length")``.

    TOML is a list of statements, each of which is TOML by itself. So a statement is the shortest
    run of lines that parses, and what it parses to names the key, whatever way it is written.
    """
    lines = text.replace("\r\n", "\n").split("\n")
    index: dict[KeyPath, int] = {}
    table: KeyPath = ()
    start = 0
    while start < len(lines):
        end = start + 1
        while (statement := _parse(lines[start:end])) is None and end < len(lines):
            end += 1
        if statement:
            if lines[start].lstrip().startswith("["):
                table = _header(statement, index)
                for depth in range(1, len(table) + 1):
                    index.setdefault(table[:depth], start + 1)
            else:
                _enter(statement, table, start + 1, index)
        start = end
    return index


def line_of(path: KeyPath, index: dict[KeyPath, int]) -> int:
    """Return the line of `path`, else of the nearest thing around it, else 1."""
    while path:
        if path in index:
            return index[path]
        path = path[:-1]
    return 1


def _parse(lines: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None


def _header(statement: dict[str, Any], index: dict[KeyPath, int]) -> KeyPath:
    """Return the path a ``[table]`` or ``[[array]]`` header opens.

    Below an array of tables a header means its latest element.
    """
    path: KeyPath = ()
    value: Any = statement
    while isinstance(value, dict) and value:
        ((key, value),) = value.items()
        path = (*path, key)
        elements = sum(1 for known in index if known[:-1] == path and isinstance(known[-1], int))
        if isinstance(value, list):
            path = (*path, elements)
            value = value[0]
        elif elements:
            path = (*path, elements - 1)
    return path


def _enter(value: Any, path: KeyPath, line: int, index: dict[KeyPath, int]) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        index.setdefault((*path, key), line)
        if isinstance(inner, dict | list):
            _enter(inner, (*path, key), line, index)
