"""What must hold of the farm, in figures, on a RabbitMQ and an S3 server of its own.

    python benchmarks/farm.py [--only NAME]... [--json] [--seed N]

Every time stands beside a yardstick of the same run, for the machine's own speed is in it too. The
status is 1 if a target is missed. All of it takes about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import secrets
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # what tests and benchmarks share

from benchmarks.farm_figures import cold, crowd, memory, must_hold, overhead, watchers
from benchmarks.farm_figures.figure import Figure, table
from tests.integration.farm.desk import Desk
from tests.services.farm import RunningFarm, farm
from tests.services.stub_compiler import Stub, install
from workers import guardian

_POLICY = "waiting = 20000\n"


@contextlib.contextmanager
def _farm(workers: int, *pools: str, token: str = "") -> Iterator[tuple[RunningFarm, Stub]]:
    with guardian.scratch("farm") as folder:
        stub = install(folder / "stub")
        (folder / "policy.toml").write_text(_POLICY)
        with farm(
            folder / "farm",
            pools or [stub.name],
            compilers=[stub.folder],
            workers=workers,
            TINYMLAAS_POLICY=str(folder / "policy.toml"),
            TINYMLAAS_LOG_LEVEL="WARNING",
            TINYMLAAS_STATUS_TOKEN=token,
        ) as running:
            yield running, stub


def _at_a_desk(measure: Callable[[Desk, Stub], list[Figure]]) -> list[Figure]:
    with _farm(must_hold.WORKERS) as (running, stub):
        desk = Desk(running)
        try:
            return measure(desk, stub)
        finally:
            desk.close()


def _overhead() -> list[Figure]:
    with _farm(1) as (running, stub):
        return overhead.overhead(running, stub)


def _cold() -> list[Figure]:
    with _farm(1, cold.COMPILER) as (running, _):
        return cold.cold(running)


def _takeover() -> list[Figure]:
    with _farm(must_hold.WORKERS) as (running, stub):
        return must_hold.takeover(running, stub)


def _memory() -> list[Figure]:
    with _farm(2) as (running, stub):
        return memory.waiting(running, stub)


def _watchers() -> list[Figure]:
    with _farm(1, token=crowd.TOKEN) as (running, stub):
        return watchers.watchers(running, stub)


def _measures(seed: int) -> dict[str, Callable[[], list[Figure]]]:
    return {
        "overhead": _overhead,
        "cold": _cold,
        "fair": lambda: _at_a_desk(must_hold.fair),
        "merge": lambda: _at_a_desk(must_hold.merge),
        "cancel": lambda: _at_a_desk(must_hold.cancel),
        "malformed": lambda: _at_a_desk(must_hold.malformed),
        "takeover": _takeover,
        "memory": _memory,
        "watchers": _watchers,
        "chaos": lambda: must_hold.lost(seed),
    }


def main() -> int:
    """Measure and print; return the process's status."""
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # servers are stopped on purpose
    seed = secrets.randbelow(10**6)
    known = _measures(seed)
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--only",
        action="append",
        choices=known,
        metavar="NAME",
        help="of these: " + ", ".join(known),
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--seed", type=int, default=seed, help="of chaos")
    asked = parser.parse_args()
    figures: list[Figure] = []
    for name in asked.only or known:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        with contextlib.redirect_stdout(sys.stderr):
            figures += _measures(asked.seed)[name]()
    if asked.json:
        facts = [dataclasses.asdict(figure) | {"met": figure.met} for figure in figures]
        print(json.dumps({"figures": facts}, indent=2))
    else:
        print(table(figures))
    return 0 if all(figure.met for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
