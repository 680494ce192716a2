"""One line of the table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """What was measured: `value` in `unit`, and what it may be at most (`most`) or must be at
    least (`least`), None where it only shows something; `beside` is the yardstick of the same run.
    """

    name: str
    what: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None
    beside: str = ""

    @property
    def met(self) -> bool:
        """Whether it is as it must be."""
        above = self.least is not None and self.value < self.least
        return not above and not (self.most is not None and self.value > self.most)

    @property
    def target(self) -> str:
        """The bound, for a person."""
        if self.most is not None:
            return f"≤ {self.most:g}"
        return f"≥ {self.least:g}" if self.least is not None else ""


def table(figures: list[Figure]) -> str:
    """Return the figures for a person, one a line."""
    head = ("", "what", "measured", "target", "beside")
    rows = [head] + [
        (
            " " if figure.most is None and figure.least is None else "✓" if figure.met else "✗",
            f"{figure.name}: {figure.what}",
            f"{figure.value:,.{_digits(figure.value)}f} {figure.unit}".strip(),
            figure.target,
            figure.beside,
        )
        for figure in figures
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head) - 1)]
    lines = (
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)), row[-1]]
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _digits(value: float) -> int:
    return 0 if value == int(value) or abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
