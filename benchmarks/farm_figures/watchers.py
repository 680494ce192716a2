"""What a thousand who watch, and some hundreds who look at the page, cost those who have work."""

from __future__ import annotations

import contextlib
import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.farm_figures.figure import Figure
from benchmarks.farm_figures.load import Client, Sent, connected, cpu_seconds
from tests.services import running
from tests.services.farm import RunningFarm
from tests.services.stub_compiler import Stub
from tinymlaas.contract.messages import CompileOrder, CompileRequested, JobState

_WATCHERS, _PROCESSES, _VIEWERS = 1000, 4, 200
_WATCHED = 100  # unfinished jobs, of which one is being built and tells of it each second
_WINDOWS = 2  # of each kind, in turn
_SECONDS = 12.0
_PACE = 10.0  # cached jobs a second
_SETTLE_SECONDS = 75.0  # until the first questions of so many are answered
_MOST = 1.10


def watchers(farm: RunningFarm, stub: Stub) -> list[Figure]:
    """Return how much slower cached jobs are while they are watched; both measured in turn."""
    alone: list[Sent] = []
    watched: list[Sent] = []
    spent: dict[str, float] = {}
    with connected(farm.amqp_url, farm.names, ["a", "w"]) as client:
        order = stub.order("a", "cached")
        client.submit(order)
        client.await_ended(1)
        jobs = _unfinished(client, stub)
        _window(client, order)  # whatever is paid once, is paid
        for _ in range(_WINDOWS):
            alone += _window(client, order)
            with _crowd(farm, jobs) as crowd:
                before = _cpu(farm, crowd)
                watched += _window(client, order)
                for name, seconds in _cpu(farm, crowd).items():
                    spent[name] = spent.get(name, 0.0) + seconds - before[name]
    share = {name: seconds / (_WINDOWS * _SECONDS) for name, seconds in spent.items()}
    cost = ", ".join(f"{name} {each:.0%}" for name, each in share.items())
    crowd_said = f"{_WATCHERS:,} watchers, {_VIEWERS} pages open, 10 pages/s"
    return [
        Figure(
            "watchers",
            f"cached job, {name}, {crowd_said}, to without",
            at(watched) / at(alone),
            "x",
            most=_MOST,
            beside=f"{at(watched) * 1000:.1f} ms to {at(alone) * 1000:.1f} ms; a core's {cost}",
        )
        for name, at in (("p50", _p50), ("p95", _p95))
    ]


def _p50(sent: list[Sent]) -> float:
    return statistics.median(each.seconds for each in sent)


def _p95(sent: list[Sent]) -> float:
    return statistics.quantiles([each.seconds for each in sent], n=20)[-1]


def _unfinished(client: Client, stub: Stub) -> list[str]:
    """Have jobs that do not end: the first is at work for ten minutes, the others wait for it."""
    ids = [secrets.token_hex(8) for _ in range(_WATCHED)]
    for number, job_id in enumerate(ids):
        does = "work" if number else "print"
        order = stub.order("w", f"watched{number}", does=does, milliseconds="600000")
        client.submit(order, job_id)
        time.sleep(0.05 if number else 3.0)
    return ids


def _window(client: Client, order: CompileOrder) -> list[Sent]:
    """Send cached jobs at a steady pace, and return them as they came back."""
    sent = []
    ended, count = len(client.order_of_ends), round(_SECONDS * _PACE)
    began = time.perf_counter()
    for number in range(count):
        name = secrets.token_hex(8)
        body = CompileRequested(id=name, source="b", data=order).encoded()
        time.sleep(max(0.0, began + number / _PACE - time.perf_counter()))
        sent.append(client.publish(name, body, "a"))
    client.await_ended(ended + count)
    if wrong := {each.state for each in sent} - {JobState.DONE.value}:
        raise AssertionError(f"jobs ended {', '.join(wrong)}")
    return sent


@contextlib.contextmanager
def _crowd(farm: RunningFarm, jobs: list[str]) -> Iterator[list[int]]:
    """Have the crowd there, past its first questions; yield its processes."""
    url = farm.schedulers[0].url
    pages = [f"{url}/", f"{url}/tenants/w", *(f"{url}/jobs/w/{job}" for job in jobs[:3])]
    each = str(_WATCHERS // _PROCESSES)
    wanted = [["watch", each, *jobs]] * _PROCESSES + [["look", str(_VIEWERS), *pages]]
    environment = {**os.environ, **farm.environment}
    command = [sys.executable, "-m", "benchmarks.farm_figures.crowd"]
    processes = [
        subprocess.Popen(
            [*command, *arguments],
            env=environment,
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for arguments in wanted
    ]
    try:
        for process in processes:
            line = process.stdout.readline() if process.stdout else ""
            if line != "ready\n":
                raise AssertionError(f"a crowd did not come about: {line.strip()}")
        time.sleep(_SETTLE_SECONDS)
        yield [process.pid for process in processes]
        if any(process.poll() is not None for process in processes):
            raise AssertionError("some of the crowd have left")
    finally:
        for process in processes:
            process.kill()
            process.wait()
        time.sleep(2.0)  # until the broker has taken leave of them


def _cpu(farm: RunningFarm, crowd: list[int]) -> dict[str, float]:
    found = {"crowd's own": sum(map(cpu_seconds, crowd))}
    for name, pid in (
        ("scheduler", farm.schedulers[0].pid),
        ("rabbitmq", None if running.AMQP_URL else running.rabbitmq().pid),
        ("s3", None if running.S3_ENDPOINT else running.seaweedfs().pid),
    ):
        if pid is not None:
            found[name] = cpu_seconds(pid)
    return found
