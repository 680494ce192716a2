"""Parts the commands share: option parsing, output as text or JSON, the progress display."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from math import isfinite

from rich.console import Console, RenderableType
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from tinymlaas.contract.base import Model
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.progress import Progress, Silent
from tinymlaas.contract.race import Limits, Race
from tinymlaas.contract.report import CandidateStatus, Objective

_LONGEST_SHOWN = 80
_ENDED_SHOWN = 10  # lines of what has ended; with those that run they fit on 24 lines
_BAD_ENDS = (CandidateStatus.REJECTED, CandidateStatus.FAILED, CandidateStatus.SKIPPED)
_MOST_WEIGHT = 1000
_MOST_BYTES = 1 << 40
_MOST_INSTRUCTIONS = 1 << 60
_MOST_DIGITS = 12  # of a dimension; whether so large a one is acceptable, inspecting says


def parse_shapes(options: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Parse ``name=1,49,10,1`` options; the last ``=`` divides, since names may hold one.

    Raises:
        UsageError: an option has no name, a dimension is no positive integer, or a name is twice.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for option in options:
        name, equals, dims = option.rpartition("=")
        parts = [part.strip() for part in dims.split(",")]
        shown = option if len(option) <= _LONGEST_SHOWN else f"{option[:_LONGEST_SHOWN]}…"
        if not equals or not name or not all(map(_is_dimension, parts)):
            raise UsageError(f"--shape {shown}: write NAME=D,D,… as in input=1,49,10,1")
        if name in shapes:
            raise UsageError(f"--shape {shown}: {name} is given twice")
        shapes[name] = tuple(int(part) for part in parts)
        if 0 in shapes[name]:
            raise UsageError(f"--shape {shown}: a dimension must be positive")
    return shapes


def parse_options(options: Iterable[str]) -> dict[str, str]:
    """Parse ``name=value`` options of a compiler.

    Raises:
        UsageError: one has no name or no value, or a name is twice.
    """
    parsed: dict[str, str] = {}
    for option in options:
        name, _, value = option.partition("=")
        shown = option if len(option) <= _LONGEST_SHOWN else f"{option[:_LONGEST_SHOWN]}…"
        if not name or not value:
            raise UsageError(f"--option {shown}: write NAME=VALUE as in dead-channels=off")
        if name in parsed:
            raise UsageError(f"--option {shown}: {name} is given twice")
        parsed[name] = value
    return parsed


def parse_objective(text: str) -> tuple[Objective, dict[Objective, float]]:
    """Parse ``ram`` or ``latency=2,ram=1``; return the heaviest objective, and the weights if any.

    Raises:
        UsageError: an objective is unknown or twice, or a weight is not from above 0 to 1000.
    """
    if "=" not in text:
        return _objective(text, text), {}
    weights: dict[Objective, float] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        objective = _objective(name.strip(), text)
        if objective in weights:
            raise UsageError(f"--objective {text}: {objective} is given twice")
        try:
            weights[objective] = float(number)
        except ValueError:
            weights[objective] = 0.0
        if not 0 < weights[objective] <= _MOST_WEIGHT:
            raise UsageError(
                f"--objective {text}: the weight of {objective} must be a number above 0, up to "
                f"{_MOST_WEIGHT}"
            )
    return max(weights, key=lambda each: weights[each]), weights


def parse_race(
    objective: str,
    max_flash: str | None,
    max_ram: str | None,
    max_instructions: int | None,
    max_error: float | None,
    min_accuracy: float | None = None,
) -> tuple[Objective, Race]:
    """Return the heaviest objective and the race that the options ask for.

    Raises:
        UsageError: see `parse_objective` and `parse_bytes`; or the error is no finite number.
    """
    heaviest, weights = parse_objective(objective)
    if max_error is not None and not isfinite(max_error):
        raise UsageError(f"--max-error {max_error}: write a share of the range, as in 0.01")
    if max_instructions is not None and max_instructions > _MOST_INSTRUCTIONS:
        raise UsageError(f"--max-instructions: nothing takes more than {_MOST_INSTRUCTIONS:,}")
    limits = Limits(
        flash_bytes=parse_bytes("--max-flash", max_flash),
        ram_bytes=parse_bytes("--max-ram", max_ram),
        instructions=max_instructions,
        error=max_error,
        accuracy=min_accuracy,
    )
    return heaviest, Race(weights=weights, limits=limits)


def _objective(name: str, text: str) -> Objective:
    if name not in set(Objective):
        known = ", ".join(Objective)
        raise UsageError(f"--objective {text}: write {known}, or weights as in latency=2,ram=1")
    return Objective(name)


_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}


def parse_bytes(option: str, text: str | None) -> int | None:
    """Parse a size such as ``65536``, ``64k`` (of 1024) or ``1.5M``.

    Raises:
        UsageError: it is none.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([kKmM]?)(?:i?[bB])?", text.strip())
    if found is None:
        raise UsageError(f"{option} {text}: write bytes as in 65536, 64k or 1.5M")
    number = int(float(found[1]) * _UNITS[found[2].lower()])
    if number > _MOST_BYTES:
        raise UsageError(f"{option} {text}: no board has more than {_MOST_BYTES:,} bytes")
    return number


def parse_seconds(option: str, text: str | None) -> float | None:
    """Parse a time such as ``30``, ``30s``, ``1.5m`` or ``2h``; return seconds.

    Raises:
        UsageError: it is none, or nothing.
    """
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?([smh]?)", text.strip())
    seconds = float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if seconds <= 0:
        raise UsageError(f"{option} {text}: write a time as in 30s or 2m")
    return seconds


def _is_dimension(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS


class _Count:
    """How many of the candidates have ended."""

    def __init__(self) -> None:
        self._expected: set[str] = set()
        self._ended: set[str] = set()
        self._lock = threading.Lock()  # candidates are built on several threads

    def expect(self, names: Iterable[str]) -> None:
        self._expected.update(names)

    def end(self, who: str) -> bool:
        """Count `who`; return whether it is a candidate."""
        with self._lock:
            if who in self._expected:
                self._ended.add(who)
            return who in self._expected

    def __str__(self) -> str:
        return f"{len(self._ended)} of {len(self._expected)}"


class _Spinner(SpinnerColumn):
    """Turns as long as a stage runs, then shows how it ended."""

    def render(self, task: Task) -> RenderableType:
        return Text(task.fields["mark"]) if task.finished else super().render(task)


class _Spinners:
    """Shows the current stage of each candidate on its own line, with the time it has taken.

    What has ended stays, its clock stopped, as long as there is room for it.
    """

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}
        self._ended: list[TaskID] = []
        self._count = _Count()
        self._header: TaskID | None = None

    def expect(self, names: Iterable[str]) -> None:
        self._count.expect(names)
        if self._header is None:
            self._header = self._bar.add_task("", total=None, what="", mark="")
        self._head()

    def stage(self, who: str, what: str) -> None:
        if who not in self._tasks:
            self._tasks[who] = self._bar.add_task(who, total=None, what=what, mark="")
        self._bar.update(self._tasks[who], what=what)

    def end(self, who: str, how: str) -> None:
        self.stage(who, how)
        row = self._tasks.pop(who)
        mark = "✗" if how.partition(",")[0] in _BAD_ENDS else "✓"
        self._bar.update(row, total=1, completed=1, mark=mark)
        if self._count.end(who):
            self._head()
        self._ended.append(row)
        for old in self._ended[:-_ENDED_SHOWN]:
            self._bar.update(old, visible=False)

    def _head(self) -> None:
        if self._header is not None:
            self._bar.update(self._header, description=f"{self._count} candidates")


class _Lines:
    """One plain line a stage, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._count = _Count()

    def expect(self, names: Iterable[str]) -> None:
        self._count.expect(names)

    def stage(self, who: str, what: str) -> None:
        self._console.print(f"{who}: {what}", soft_wrap=True)

    def end(self, who: str, how: str) -> None:
        counted = f" ({self._count})" if self._count.end(who) else ""
        self.stage(who, f"{how}{counted}")


class Output:
    """Where results and messages go: with JSON wanted, stdout carries that object alone."""

    def __init__(self, out: Console, err: Console, as_json: bool) -> None:
        """Print results on `out` (or as JSON on stdout), all messages on `err`."""
        self._out = out
        self._err = err
        self.as_json = as_json

    @contextlib.contextmanager
    def progress(self) -> Iterator[Progress]:
        """Yield a progress display on stderr: live on a terminal, else a line a stage."""
        if not self._err.is_terminal or self._err.is_dumb_terminal:
            yield Silent() if self.as_json else _Lines(self._err)
            return
        columns = (
            _Spinner(),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[what]}", style="cyan", markup=False),
            TimeElapsedColumn(),
        )
        with Bar(*columns, console=self._err, transient=True) as bar:
            yield _Spinners(bar)

    def line(self, text: str) -> None:
        """Print `text` as it is, on one line however narrow the terminal."""
        self._out.print(text, soft_wrap=True)

    def notices(self, notices: Iterable[str]) -> None:
        """Print remarks a person should see, on stderr."""
        for notice in notices:
            self._err.print(f"note: {notice}", soft_wrap=True)

    def reasons(self, kind: str, reasons: Iterable[str]) -> None:
        """Print one line a reason on stderr."""
        for reason in reasons:
            self._err.print(f"{kind}: {reason}", soft_wrap=True)

    def json(self, value: Model) -> None:
        """Print `value` as one JSON object on stdout, in ASCII whatever its encoding is."""
        sys.stdout.write(json.dumps(json.loads(value.model_dump_json()), indent=2) + "\n")
        sys.stdout.flush()
