"""Panels and dashboards as data: what is asked, in what unit, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Show(StrEnum):
    """How a panel shows its numbers."""

    LINES = "lines"
    STACK = "stack"
    NUMBER = "number"
    TABLE = "table"


@dataclass(frozen=True)
class Query:
    """PromQL, and what its series are called (Grafana's template of labels)."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel. `key` is its name in code, unique among all dashboards; `about` says what it
    shows. `unit` is Grafana's id of one. From `warn` on it is orange, from `bad` on red; with
    `low` set it is so from there downwards. `width` is of 24 columns.
    """

    key: str
    title: str
    about: str
    queries: tuple[Query, ...]
    unit: str = "short"
    show: Show = Show.LINES
    warn: float | None = None
    bad: float | None = None
    low: bool = False
    width: int = 8
    least: float | None = 0.0

    @property
    def height(self) -> int:
        """Rows of the grid."""
        return 4 if self.show is Show.NUMBER else 8


@dataclass(frozen=True)
class Row:
    """A titled row of panels."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice of the reader's: the values of `label` of `metric`; `several` allows more or all."""

    name: str
    title: str
    metric: str
    label: str
    several: bool = False


@dataclass(frozen=True)
class Board:
    """One dashboard; its `uid` is part of links and never changes."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()

    def panels(self) -> Iterator[tuple[int, Panel]]:
        """Yield the panels with the numbers that Grafana and links know them by."""
        yield from enumerate((panel for row in self.rows for panel in row.panels), 1)


@dataclass(frozen=True)
class Book:
    """All dashboards."""

    boards: tuple[Board, ...]

    def panel(self, key: str) -> tuple[str, int]:
        """Return dashboard and number of the panel called `key`. Raises KeyError."""
        for board in self.boards:
            for number, panel in board.panels():
                if panel.key == key:
                    return board.uid, number
        raise KeyError(key)


def quantiles(histogram: str, where: str, by: str = "", title: str = "") -> tuple[Query, ...]:
    """Return median and 95th percentile of `histogram`, for each value of the label `by`."""
    labels = f"{by}, le" if by else "le"
    rate = f"sum by ({labels}) (rate({histogram}_bucket{where}[$__rate_interval]))"
    name = f"{{{{{by}}}}} " if by else title
    return tuple(
        Query(f"histogram_quantile({share}, {rate})", f"{name}{called}")
        for share, called in ((0.5, "median"), (0.95, "95 %"))
    )


def rate(counter: str, where: str, by: str, legend: str = "") -> Query:
    """Return how often `counter` counts, per second, by the labels `by`."""
    expr = f"sum by ({by}) (rate({counter}{where}[$__rate_interval]))"
    return Query(expr, legend or " ".join(f"{{{{{each.strip()}}}}}" for each in by.split(",")))
