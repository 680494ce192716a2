"""The commands for jobs on a farm: submit, status, watch, cancel, fetch, replay, queue."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tinymlaas import render, render_jobs
from tinymlaas.cli_arguments import (
    BoardOption,
    BudgetOption,
    CalibrationOption,
    CompilerOption,
    DataOption,
    FirstOption,
    Int8Option,
    JsonOption,
    KeyOption,
    MaxErrorOption,
    MaxFlashOption,
    MaxInstructionsOption,
    MaxRamOption,
    MinAccuracyOption,
    ModelPath,
    ObjectiveOption,
    OutputOption,
    SetOption,
    ShapeOption,
)
from tinymlaas.cli_options import Output, parse_options, parse_race, parse_seconds, parse_shapes
from tinymlaas.cli_watch import shown
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.job_status import JobStatus, Submitted
from tinymlaas.contract.messages import JobState
from tinymlaas.inputs import parse_moment, read_input

if TYPE_CHECKING:
    from tinymlaas.client import Client

_PATIENCE_SECONDS = 10.0
_OURS = (JobState.FAILED, JobState.QUARANTINED)

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The job's id.")]
TenantOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Whose job; default: $TINYMLAAS_TENANT.")
]

AllOption = Annotated[bool, typer.Option("--all", help="Of all tenants: for operators.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for command in (submit, status, watch, cancel, fetch, replay, queue):
        app.command()(command)


def submit(
    model: ModelPath,
    board: BoardOption,
    compiler: CompilerOption = "auto",
    objective: ObjectiveOption = "latency",
    shape: ShapeOption = None,
    option: SetOption = None,
    int8: Int8Option = False,
    calibration: CalibrationOption = None,
    max_flash: MaxFlashOption = None,
    max_ram: MaxRamOption = None,
    max_instructions: MaxInstructionsOption = None,
    max_error: MaxErrorOption = None,
    min_accuracy: MinAccuracyOption = None,
    data: DataOption = None,
    budget: BudgetOption = None,
    first: FirstOption = False,
    name: Annotated[
        str | None, typer.Option(help="Prefix of the module's symbols; default: the file's name.")
    ] = None,
    priority: Annotated[
        int, typer.Option(min=0, max=9, help="9 goes first among your own jobs.")
    ] = 4,
    deadline: Annotated[
        str | None, typer.Option(metavar="30m", help="Fail if not done by then, or by a time.")
    ] = None,
    tenant: TenantOption = None,
    job_id: Annotated[
        str | None, typer.Option("--job-id", help="An id of your own: sent twice, it is one job.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow it to its end, as watch.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Have a farm compile a model for a board; print the job's id at once."""
    heaviest, race = parse_race(
        objective, max_flash, max_ram, max_instructions, max_error, min_accuracy
    )
    if min_accuracy is not None and data is None:
        raise UsageError("--min-accuracy needs labelled samples: give --data FILE.npz")
    if data is not None:
        _check_labelled(data)
    own = board.endswith(".toml")
    wish = {
        "device": _profile(board) if own else None,
        "compiler": compiler,
        "objective": heaviest,
        "race": race,
        "first": first,
        "budget": parse_seconds("--budget", budget),
        "shapes": parse_shapes(shape or ()),
        "options": parse_options(option or ()),
        "calibration": calibration,
        "quantised_only": int8,
        "data": data,
        "name": name,
        "priority": priority,
        "deadline": parse_moment(deadline, "--deadline") if deadline else None,
    }
    output = _output(as_json)
    trace = _trace_of_environment()
    with _client(tenant) as client:
        job = client.submit(model, None if own else board, job_id=job_id, traceparent=trace, **wish)
        if wait:
            _follow(output, client, job.id, quiet=as_json)
            return
        if as_json:
            output.json(Submitted(job_id=job.id, tenant=client.tenant))
            return
        output.line(f"job         {job.id}")
        output.notices((f"'tinymlaas watch {job.id}' follows it",))


def _trace_of_environment() -> str | None:
    """Return the trace we are started in; what cannot be read is passed over, as W3C has it."""
    from tinymlaas.client.tracing import sound

    said = os.environ.get("TRACEPARENT")
    return said if sound(said) else None


def _check_labelled(data: Path) -> None:
    """Refuse here what else is refused only once something has been built to judge by it."""
    from tinymlaas.contract.messages import MAX_FILE_BYTES
    from workers.samples import check_labelled

    check_labelled(read_input(data, "data", MAX_FILE_BYTES), data.name)


def _profile(board: str) -> object:
    from tinymlaas.boards import catalog

    return catalog.get(board)


def status(job: JobArgument, tenant: TenantOption = None, as_json: JsonOption = False) -> None:
    """Show how a job stands: why it waits and how long, or how it ended."""
    output = _output(as_json)
    with _client(tenant) as client:
        found = client.status(job)
    if as_json:
        output.json(found)
        return
    for line in render_jobs.standing(found):
        output.line(line)
    if found.final:
        _show_end(output, found)


def watch(
    job: JobArgument,
    tenant: TenantOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line for each change.")
    ] = False,
) -> None:
    """Follow a job to its end; the exit status is that of `compile`."""
    output = _output(as_json)
    with _client(tenant) as client:
        _follow(output, client, job, quiet=False)


def cancel(job: JobArgument, tenant: TenantOption = None, as_json: JsonOption = False) -> None:
    """Have a job ended that is no longer wanted."""
    output = _output(as_json)
    with _client(tenant) as client:
        found = client.cancel(job)
    if as_json:
        output.json(found)
    else:
        output.line(f"job         {found.job_id}")
        output.line(f"status      {found.status}")
    if found.status is not JobState.CANCELLED:
        output.reasons("error", (f"job {job} had ended already: it is {found.status}",))
        raise typer.Exit(2)


def fetch(
    job: JobArgument,
    directory: OutputOption = Path(),
    key: KeyOption = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a finished job's module and its provenance, both verified, into a folder."""
    output = _output(as_json)
    with _client(tenant) as client:
        found = client.fetch(job, directory, key)
    if as_json:
        output.json(found)
        return
    for line in render_jobs.fetched(found):
        output.line(line)


def replay(job: JobArgument, tenant: TenantOption = None, as_json: JsonOption = False) -> None:
    """Send the order of an ended job, or of a dead letter, again as a new job."""
    output = _output(as_json)
    with _client(tenant) as client:
        new = client.replay(job)
        if as_json:
            output.json(Submitted(job_id=new.id, tenant=client.tenant, replays=job))
            return
    output.line(f"job         {new.id}")
    output.line(f"replays     {job}")


def queue(everybody: AllOption = False, as_json: JsonOption = False) -> None:
    """Show what waits, by tenant and pool."""
    output = _output(as_json)
    with _client(None) as client:
        report = client.queue(everybody=everybody)
    if as_json:
        output.json(report)
        return
    render.show(render.console(), render_jobs.queue(report))
    if not report.scheduler:
        output.notices(("no scheduler answers: start one ('python -m scheduler')",))


def _follow(output: Output, client: Client, job: str, *, quiet: bool) -> None:
    """Show a job's changes up to its end, then that, and leave with its exit status."""
    last = list(shown(client.watch(job), output, quiet=quiet))[-1]
    if quiet:
        output.json(last)
    elif not output.as_json:
        for line in render_jobs.standing(last):
            output.line(line)
        _show_end(output, last)
    if last.status is not JobState.DONE:
        if output.as_json:
            output.reasons(str(last.status), last.reasons)
        raise typer.Exit(1 if last.status in _OURS else 2)


def _show_end(output: Output, found: JobStatus) -> None:
    for line in render.quantisation(found.quantisation) if found.quantisation else ():
        output.line(line)
    render.show(render.console(), render_jobs.result(found))
    for line in render_jobs.ending(found):
        output.line(line)
    if found.status is JobState.DONE:
        output.notices((f"'tinymlaas fetch {found.job_id} -o DIR' gets the module",))
    else:
        said = tuple(reason for reason in found.reasons if reason != found.status)
        output.reasons(str(found.status), said)  # "cancelled" is said once, by the line above


def _output(as_json: bool) -> Output:
    return Output(render.console(), render.console(stderr=True), as_json)


def _client(tenant: str | None) -> Client:
    """Return a client of the environment's farm. What its connections have to say only a person
    who looks for a fault wants to read: the errors say enough.
    """
    from tinymlaas.client import Client

    if not os.environ.get("TINYMLAAS_DEBUG"):
        for name in ("broker", "pika", "tinymlaas.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return Client(tenant=tenant, patience=_PATIENCE_SECONDS)
