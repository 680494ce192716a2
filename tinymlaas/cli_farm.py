"""The commands `tinymlaas farm up`, `tinymlaas farm declare` and `tinymlaas farm roles`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Annotated

import typer

from tinymlaas import render
from tinymlaas.cli_options import Output

app = typer.Typer(
    help="The farm: run one on this machine, declare its queues.", no_args_is_help=True
)

PoolOption = Annotated[
    list[str] | None,
    typer.Option(
        "--pool", metavar="NAME[=N]", help="A compiler, with N workers; repeatable. All by default."
    ),
]
TenantsOption = Annotated[
    list[str] | None,
    typer.Option("--tenant", metavar="NAME", help="Who may use it; repeatable. Default: default."),
]
DEFAULT_STATE = Path("~/.local/state/tinymlaas/farm")


@app.command("up")
def up(
    private: Annotated[
        bool, typer.Option("--private", help="Start a RabbitMQ and an S3 server of its own.")
    ] = False,
    state: Annotated[
        Path, typer.Option(metavar="DIR", help="Where logs, env and private servers' data go.")
    ] = DEFAULT_STATE,
    pool: PoolOption = None,
    tenant: TenantsOption = None,
) -> None:
    """Run a scheduler and a worker for each compiler until Ctrl-C."""
    from tinymlaas.farm import up as farm

    out = render.console()

    def say(line: str) -> None:
        with contextlib.suppress(OSError):  # whoever read it has gone; the farm has not
            out.print(line, soft_wrap=True)

    tenants = farm.parse_tenants(tenant or ())
    wanted = farm.Wanted(state.expanduser(), private, farm.parse_workers(pool or ()), tenants)
    farm.up(wanted, say)


@app.command("declare")
def declare(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be declared.")
    ] = False,
    pool: Annotated[
        list[str] | None,
        typer.Option("--pool", metavar="NAME", help="Pools; repeatable. All by default."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Create the exchanges and queues that are missing; repeating it is harmless."""
    from tinymlaas.farm import declare as farm

    output = Output(render.console(), render.console(stderr=True), as_json)
    wanted = farm.wanted(pool or ())
    if not dry_run:
        farm.make(wanted)
    if as_json:
        output.json(farm.shown(wanted, declared=not dry_run))
        return
    if dry_run:
        for line in wanted.lines():
            output.line(line)
        return
    output.line(
        f"declared {len(wanted.exchanges)} exchanges, {len(wanted.queues)} queues, "
        f"{len(wanted.bindings)} bindings"
    )


@app.command("roles")
def show_roles(
    pool: Annotated[
        list[str] | None,
        typer.Option("--pool", metavar="NAME", help="Pools; repeatable. All by default."),
    ] = None,
    tenant: TenantsOption = None,
    bucket: Annotated[str, typer.Option(metavar="NAME", help="The bucket.")] = "tinymlaas",
) -> None:
    """Print what each role may do, as JSON: for RabbitMQ, AWS and SeaweedFS."""
    from tinymlaas.farm import declare, up
    from tinymlaas.farm.roles import roles, shown

    names, pools = declare.named(pool or ())
    found = roles(pools, up.parse_tenants(tenant or ()), names)
    typer.echo(json.dumps(shown(found, bucket), indent=2))
