"""Which metrics a PromQL expression names, and by which labels it selects them.

A reader of tokens, not of grammar: an identifier is a metric unless it is called (a function), a
keyword, or stands in the list of labels of `by`, `on` and the like.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

_TOKEN = re.compile(
    r'(?P<string>"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\')'
    r"|(?P<range>\[[^\]]*\])"
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:[a-z]+)?)"
    r"|(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)"
    r"|(?P<other>=~|!~|!=|>=|<=|==|[-+*/%^(){},=<>@])"
    r"|(?P<space>\s+)"
)
_OF_LABELS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_KEYWORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan"} | _OF_LABELS


def tokens(expr: str) -> list[tuple[str, str]]:
    """Return kind and text of each token; raises ValueError for what is none."""
    found, at = [], 0
    while at < len(expr):
        match = _TOKEN.match(expr, at)
        if match is None:
            raise ValueError(f"no PromQL: {expr[at : at + 20]!r} in {expr!r}")
        if match.lastgroup != "space":
            found.append((match.lastgroup or "", match[0]))
        at = match.end()
    return found


def selectors(expr: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric that `expr` names, with the labels by which it is selected."""
    found = [*tokens(expr), ("end", "")]
    at = 0
    while at < len(found):
        kind, text = found[at]
        at += 1
        if text in _OF_LABELS and found[at][1] == "(":
            at = _closing(found, at, ")")
        elif kind == "name" and text.lower() not in _KEYWORDS and found[at][1] != "(":
            labels: set[str] = set()
            # A function may have its labels before its arguments: sum by (x) (y).
            if found[at][1] in _OF_LABELS and text in {"sum", "avg", "max", "min", "count"}:
                continue
            if found[at][1] == "{":
                end = _closing(found, at, "}")
                inside = found[at:end]
                labels = {
                    name
                    for (kind, name), (_, after) in pairwise(inside)
                    if kind == "name" and after in {"=", "=~", "!=", "!~"}
                }
                at = end
            yield text, labels


def _closing(found: list[tuple[str, str]], at: int, bracket: str) -> int:
    while found[at][1] != bracket:
        at += 1
    return at + 1


def names(expr: str) -> set[str]:
    """Return the metrics that `expr` names."""
    return {name for name, _ in selectors(expr)}
