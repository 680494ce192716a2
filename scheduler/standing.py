"""How an unfinished job stands, in numbers and in words."""

from __future__ import annotations

from scheduler.actions import Actions
from scheduler.effects import Key
from scheduler.fair import FairQueue
from scheduler.jobs import Job, Step
from scheduler.pools_known import PoolsKnown
from scheduler.wanted import Pool
from tinymlaas.contract.messages import JobStanding


def standing_of(
    job: Job, queue: FairQueue[Key], actions: Actions, known: PoolsKnown
) -> JobStanding:
    """Return the standing of `job`; takes time in proportion to the tenant's waiting jobs."""
    plan = job.plan
    position: int | None = None
    waits: list[str] = []
    estimate: float | None = None
    if job.step is Step.KEEPING:
        waits.append("its files are being stored")
    elif job.step is Step.WAITING:
        position = next((i for i, key in enumerate(queue.waiting(job.tenant)) if key == job.key), 0)
        waits.append(f"{position} jobs of {job.tenant} that were sent before or come first")
    elif plan is not None and job.step is Step.HELD:
        needed = known.needed(plan.order.compiler)
        waits += [f"pool {name}: no worker of it has started yet" for name in needed]
    elif plan is not None and plan.wants:
        names = {a.need.pool for digest in plan.wants if (a := actions.get(digest))}
        pools = [actions.pool(name) for name in sorted(names)]
        position = max(actions.waiting_before(job, pool) for pool in pools) if pools else None
        waits += [_what(job, pool, actions) for pool in pools]
        estimates = [_seconds(job, pool, actions) for pool in pools]
        guesses = [each for each in estimates if each is not None]
        estimate = max(guesses) if len(guesses) == len(estimates) and guesses else None
    progress = plan.progress if plan else None
    return JobStanding(
        tenant=job.tenant,
        job_id=job.job_id,
        state=job.state,
        position=position,
        waits_for=tuple(waits),
        estimate_seconds=estimate,
        stage=progress.stage if progress else None,
        percent=progress.percent if progress else None,
        line=progress.line if progress else None,
    )


def _running(job: Job, pool: Pool, actions: Actions) -> int:
    wants = job.plan.wants if job.plan else set()
    return sum(
        1 for digest in wants & pool.out if (a := actions.get(digest)) and a.sent is not None
    )


def _what(job: Job, pool: Pool, actions: Actions) -> str:
    workers = pool.workers.count()
    running = _running(job, pool, actions)
    wants = job.plan.wants if job.plan else set()
    judged = [a for d in wants if (a := actions.get(d)) and a.suspected is not None]
    if judged:
        return f"pool {pool.name}: whether its build kills workers is being found out"
    if not workers:
        return f"pool {pool.name}: it has no workers now"
    if running:
        return f"pool {pool.name}: {running} of its builds run"
    before = actions.waiting_before(job, pool)
    return (
        f"pool {pool.name}: all {workers} workers are busy, {before} jobs of {job.tenant} before "
        f"it, {pool.queue.tenants()} tenants take turns"
    )


def _seconds(job: Job, pool: Pool, actions: Actions) -> float | None:
    workers = pool.workers.count()
    if not workers or pool.average is None:
        return None
    before = 0
    if not _running(job, pool, actions):
        before = (actions.waiting_before(job, pool) + 1) * max(1, pool.queue.tenants())
    return round(pool.average * (1 + before / workers), 1)
