"""A job's changes as they come: live on a terminal, else a line each, or a JSON object each."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tinymlaas import render, render_jobs
from tinymlaas.cli_options import Output
from tinymlaas.contract.job_status import JobStatus


def shown(changes: Iterable[JobStatus], output: Output, *, quiet: bool) -> Iterator[JobStatus]:
    """Yield `changes` as they come, showing each; if `quiet` nothing is written on stdout."""
    console = render.console(stderr=True)
    if output.as_json:
        return iter(changes) if quiet else _json(changes)
    if console.is_terminal and not console.is_dumb_terminal:
        return _live(changes)
    return _lines(changes)


def _json(changes: Iterable[JobStatus]) -> Iterator[JobStatus]:
    for status in changes:
        sys.stdout.write(json.dumps(json.loads(status.model_dump_json())) + "\n")
        sys.stdout.flush()
        yield status


def _lines(changes: Iterable[JobStatus]) -> Iterator[JobStatus]:
    console = render.console(stderr=True)
    before = ""
    for status in changes:
        line = render_jobs.change(status)
        if line != before and not status.final:
            console.print(line, soft_wrap=True)
        before = line
        yield status


def _live(changes: Iterable[JobStatus]) -> Iterator[JobStatus]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[what]}", style="cyan", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=render.console(stderr=True), transient=True) as bar:
        task = bar.add_task("asking", total=None, what="")
        for status in changes:
            state, _, what = render_jobs.change(status).partition(": ")
            completed, total = _share(status)
            bar.update(task, description=state, what=what, total=total, completed=completed)
            yield status


def _share(status: JobStatus) -> tuple[int, int | None]:
    """Return how much is done of what: of the candidates, or of the only one; None if unknown.

    Several are built in turn or at once, each with its own percent, so these go up and down.
    """
    if (status.candidates_total or 0) > 1:
        return status.candidates_done or 0, status.candidates_total
    return status.percent or 0, None if status.percent is None else 100
