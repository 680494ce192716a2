"""How an unfinished job stands, in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scheduler.actions import Actions
from scheduler.effects import Key
from scheduler.fair import FairQueue
from scheduler.jobs import Job, Place, Plan, Step
from scheduler.planning import candidate_of
from scheduler.pools_known import PoolsKnown
from scheduler.wanted import Pool
from tinymlaas.contract.messages import (
    CandidateStanding,
    CompileOrder,
    JobDetails,
    JobStanding,
)
from tinymlaas.contract.report import candidate_name, name_of


def standing_of(
    job: Job, queue: FairQueue[Key], actions: Actions, known: PoolsKnown
) -> JobStanding:
    """Return the standing of `job`; takes time in proportion to the tenant's waiting jobs."""
    plan = job.plan
    position: int | None = None
    waits: list[str] = []
    estimate: float | None = None
    if job.step is Step.KEEPING:
        waits.append("the store, which is taking its files")
    elif job.step is Step.ENDING:
        waits.append("the store, which is taking its result")
    elif job.step is Step.WAITING:
        position = next((i for i, key in enumerate(queue.waiting(job.tenant)) if key == job.key), 0)
        waits.append(f"its turn; {_ahead(position)}")
    elif plan is not None and job.step is Step.HELD:
        needed = known.needed(plan.order.compiler)
        waits += [f"pool {name}, of which no worker has started yet" for name in needed]
    elif plan is not None and plan.wants:
        names = {a.need.pool for digest in plan.wants if (a := actions.get(digest))}
        pools = [actions.pool(name) for name in sorted(names)]
        position = max(actions.waiting_before(job, pool) for pool in pools) if pools else None
        waits += [_what(job, pool, actions) for pool in pools]
        estimates = [_seconds(job, pool, actions) for pool in pools]
        guesses = [each for each in estimates if each is not None]
        estimate = max(guesses) if len(guesses) == len(estimates) and guesses else None
    progress = progress_of(job)
    return JobStanding(
        tenant=job.tenant,
        job_id=job.job_id,
        state=job.state,
        position=position,
        waits_for=tuple(waits),
        estimate_seconds=estimate,
        **progress,
    )


def details_of(job: Job, actions: Actions, now: float) -> JobDetails:
    """Return what who looks at one job wants to know besides."""
    plan = job.plan
    order = plan.order if plan else CompileOrder.model_validate_json(job.order)
    told = plan.progress if plan else None
    return JobDetails(
        order=order.model_copy(update={"reply": None}),
        seconds=max(0.0, now - job.received),
        candidates=tuple(_candidates(plan, actions)) if plan else (),
        tail=told.tail if told and plan and told.action in plan.wants else None,
    )


def _candidates(plan: Plan, actions: Actions) -> Iterator[CandidateStanding]:
    judging = {id(each) for places in (plan.judging or {}).values() for each in places}
    for place in plan.table:
        report = place.report
        if report is not None:
            yield CandidateStanding(name=name_of(report), status=report.status)
        elif place.need is not None:
            action = actions.get(place.need.action)
            running = id(place) in judging or (action is not None and bool(action.begun))
            yield CandidateStanding(name=_name(place), running=running)


def short_wait(job: Job, actions: Actions) -> str:
    """Return in a few words what `job` waits for; no queue is looked through."""
    plan = job.plan
    if job.step in {Step.KEEPING, Step.ENDING, Step.LOOKING, Step.LOOKING_UP}:
        return "the store"
    if job.step is Step.WAITING or plan is None:
        return "its turn"
    if job.step is Step.HELD:
        return "a pool's first worker"
    names = {a.need.pool for digest in plan.wants if (a := actions.get(digest))}
    return f"pool {', '.join(sorted(names))}" if names else ""


def progress_of(job: Job) -> dict[str, Any]:
    """Return what a standing says of the work that is being done for `job` now."""
    plan = job.plan
    if plan is None:
        return {}
    found: dict[str, Any] = {}
    if job.step is Step.BUILDING:
        found["candidates_done"] = sum(each.report is not None for each in plan.places.values())
        found["candidates_total"] = len(plan.places)
    if (told := plan.progress) is not None and told.action in plan.wants:
        found |= {"pool": told.pool, "candidate": _candidate(plan, told.action)}
        found |= {"stage": told.stage, "percent": told.percent, "line": told.line}
    return found


def _candidate(plan: Plan, action: str) -> str | None:
    """Return what the result's table will call the candidate that is built or judged."""
    judged = (plan.judging or {}).get(action, [])
    place = judged[0] if judged else plan.places.get(action)
    return None if place is None or place.need is None else _name(place)


def _name(place: Place) -> str:
    assert place.need is not None  # noqa: S101 - for the type checker: the caller has asked
    job = candidate_of(place.need)
    quantised = place.quantisation is not None
    return candidate_name(job.compiler, job.task.kernels, job.task.options, quantised=quantised)


def _ahead(count: int) -> str:
    if not count:
        return "it is the tenant's next"
    return f"{count:,} job{'s' * (count > 1)} of the tenant before it"


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
        return f"pool {pool.name}, which finds out whether this kills its workers"
    if not workers:
        return f"pool {pool.name}, which has no workers now"
    if running:
        return f"pool {pool.name}, which is at it"
    busy = "whose worker is" if workers == 1 else f"whose {workers} workers are"
    tenants = pool.queue.tenants()
    turns = f", {tenants} tenants take turns" if tenants > 1 else ""
    ahead = _ahead(actions.waiting_before(job, pool))
    return f"pool {pool.name}, {busy} busy; {ahead}{turns}"


def _seconds(job: Job, pool: Pool, actions: Actions) -> float | None:
    workers = pool.workers.count()
    if not workers or pool.average is None:
        return None
    before = 0
    if not _running(job, pool, actions):
        before = (actions.waiting_before(job, pool) + 1) * max(1, pool.queue.tenants())
    return round(pool.average * (1 + before / workers), 1)
