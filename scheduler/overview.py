"""Who waits, told to whoever asks."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from itertools import islice

from scheduler.core import Core
from scheduler.jobs import Job, Step
from scheduler.sending import SOURCE
from scheduler.standing import progress_of, short_wait
from scheduler.wanted import Pool
from tinymlaas.contract.messages import JobState
from tinymlaas.contract.queue_messages import (
    FarmView,
    JobLine,
    PoolQueue,
    QueueAsked,
    QueueTold,
    TenantQueue,
)


def overview(core: Core, of: str | None = None, most: int = 0, name: str = "") -> FarmView:
    """Return the unfinished jobs by tenant, or of one alone, and the pools, all in alphabetical
    order; `most` jobs one by one, and as many that have ended. `name` is this scheduler's.

    Takes time in proportion to the jobs that are planned, a few thousand at most: how many there
    are in all is counted once a second, whoever asks.
    """
    jobs: dict[str, dict[JobState, int]] = {}
    for (tenant, state), now in core.census.lately().items():
        if of in {None, tenant}:
            jobs.setdefault(tenant, {})[state] = now.number
    return FarmView(
        tenants=tuple(TenantQueue(tenant=each, jobs=jobs[each]) for each in sorted(jobs)),
        pools=tuple(_pools(core)),
        scheduler=name,
        jobs=tuple(_line(core, job) for job in _first(core, of, most)),
        ended=tuple(core.lately.lines(most, of)),
    )


def _pools(core: Core) -> Iterator[PoolQueue]:
    for name, now in sorted(core.pools_now().items()):
        pool = core.actions.pool(name)
        yield PoolQueue(
            pool=name,
            workers=now.workers,
            busy=now.busy,
            sent=now.running,
            waiting=now.waiting,
            seconds=pool.average,
            oldest_seconds=_oldest(core, pool),
        )


def _oldest(core: Core, pool: Pool) -> float | None:
    """Return the age of the oldest job that waits for the pool."""
    waiting = map(core.census.get, pool.groups)
    received = min((job.received for job in waiting if job is not None), default=None)
    return None if received is None else max(0.0, core.census.seconds() - received)


def _first(core: Core, of: str | None, most: int) -> list[Job]:
    """Return the first `most` jobs: what is being built, what is planned, then what waits."""
    planned = (job for job in core.census.at_work() if of in {None, job.tenant})
    found = heapq.nsmallest(most, planned, key=_rank)
    return [*found, *islice(core.census.waiting(of), most - len(found))]


def _rank(job: Job) -> tuple[bool, bool, float]:
    progress = job.plan.progress if job.plan else None
    return progress is None, job.step is not Step.BUILDING, job.received


def _line(core: Core, job: Job) -> JobLine:
    name, board = _asked(job)
    progress = progress_of(job)
    told = ("candidate", "stage", "percent", "candidates_done", "candidates_total")
    return JobLine(
        tenant=job.tenant,
        job_id=job.job_id,
        state=job.state,
        name=name,
        board=board,
        seconds=max(0.0, core.census.seconds() - job.received),
        waits_for=short_wait(job, core.actions),
        **{each: progress[each] for each in told if each in progress},
    )


def _asked(job: Job) -> tuple[str, str | None]:
    """Return what the module is called, and its board."""
    if job.plan is not None:
        order = job.plan.order
        return order.name, order.board or (order.device.name if order.device else None)
    asked = json.loads(job.order or b"{}")  # our own words: defaults are left out
    return asked.get("name", "model"), asked.get("board") or asked.get("device", {}).get("name")


def answer(
    core: Core, asked: QueueAsked, tenant: str | None = None, name: str = ""
) -> tuple[str, bytes]:
    """Return the queue that `asked` names, and what goes there: to a tenant nothing of others."""
    found = overview(core, tenant or asked.data.tenant, asked.data.jobs, name)
    told = QueueTold(id=asked.id, source=SOURCE, traceparent=asked.traceparent, data=found)
    return asked.data.reply, told.encoded()
