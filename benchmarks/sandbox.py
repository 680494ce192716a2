"""What the sandbox and its zygote cost a warm job, beside the bare call.

    python benchmarks/sandbox.py [--rounds N] [--json]

Each row is one function, called in turn in four ways within the same run: in this process (`bare`),
in a fork of a warm process without any wall (`fork`, as --unsafe-no-sandbox does), and in the
sandbox; beside them what the same job takes where bubblewrap and Python are started for each. The
figures are medians; `adds` is the sandbox less the bare call, which must be 60 ms at most.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from workers import sandbox
from workers.models.summary import Inspected, inspect
from workers.sandbox import Settings, Step, bubblewrap
from workers.sandbox.inside import nothing

MODELS = Path(__file__).resolve().parents[2] / "shared" / "models" / "mlperf-tiny"
MOST_MS = 60.0
_COLD_ROUNDS = 5


@dataclass(frozen=True)
class Row:
    """Medians in milliseconds of one job."""

    job: str
    bare: float
    fork: float
    sandbox: float
    cold: float

    @property
    def adds(self) -> float:
        """What the sandbox adds to the bare call."""
        return self.sandbox - self.bare


@dataclass(frozen=True)
class Job:
    """A function by name, its arguments, and the type of what it returns."""

    title: str
    function: Callable[..., Any]
    arguments: Sequence[Any]
    returns: Any
    preload: tuple[str, ...] = ()

    def contained(self, settings: Settings) -> None:
        """Run it once, as `settings` say."""
        sandbox.configure(settings)
        where = f"{self.function.__module__}:{self.function.__name__}"
        sandbox.call(
            where,
            *self.arguments,
            returns=self.returns,
            step=Step.COMPILE,
            what=self.title,
            log=Path(os.devnull),
            preload=self.preload,
        )

    def cold(self) -> None:
        """Start bubblewrap and Python, import what the job needs, and do no more."""
        modules = ", ".join((self.function.__module__, *self.preload))
        program = [sys.executable, "-c", f"import {modules}"]
        subprocess.run(bubblewrap.command(program, ()), check=True, capture_output=True)


def main() -> int:
    """Measure, show, and return 1 where the sandbox adds more than it may."""
    parser = argparse.ArgumentParser(description="what the sandbox costs a warm job")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = [_measured(job, asked.rounds) for job in _jobs()]
    if asked.json:
        print(json.dumps([asdict(row) | {"adds": row.adds} for row in rows]))
    else:
        _show(rows)
    return int(any(row.adds > MOST_MS for row in rows))


def _jobs() -> list[Job]:
    jobs = [Job("nothing", nothing, (), None), Job("nothing (tvm)", nothing, (), None, ("tvm",))]
    for path in sorted(MODELS.glob("*int8*.tflite"))[:2]:
        arguments = (path.read_bytes(), path.name)
        jobs.append(Job(f"inspect {path.stem[:24]}", inspect, arguments, Inspected))
    return jobs


def _measured(job: Job, rounds: int) -> Row:
    """Call in turn, so that what else the machine does hits all alike."""
    walled, unwalled = Settings(), Settings(unsafe=True)
    times: dict[str, list[float]] = {"bare": [], "fork": [], "sandbox": []}
    # Blocks of one kind, as a change of settings ends the zygotes; the first call warms them.
    for settings, name in ((unwalled, "fork"), (walled, "sandbox")):
        job.contained(settings)
        for _ in range(rounds):
            times["bare"].append(_timed(lambda: job.function(*job.arguments)))
            times[name].append(_timed(lambda settings=settings: job.contained(settings)))
    cold = [_timed(job.cold) for _ in range(_COLD_ROUNDS)]
    medians = {name: statistics.median(values) for name, values in times.items()}
    return Row(job.title, cold=statistics.median(cold), **medians)


def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def _show(rows: Sequence[Row]) -> None:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    table = Table(title=f"Medians in ms (load {load})", title_justify="left")
    table.add_column("job")
    for name in ("bare call", "fork", "sandbox", "adds", "bwrap + python a job"):
        table.add_column(name, justify="right")
    for row in rows:
        style = "red" if row.adds > MOST_MS else None
        figures = (row.bare, row.fork, row.sandbox, row.adds, row.cold)
        table.add_row(row.job, *(f"{each:.1f}" for each in figures), style=style)
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
