"""The scheduler as a state machine: messages and answers in, effects out. No I/O, no clock.

A job goes through `Step`s: its files are kept, it waits for its turn, the store is asked what is
known (`Look`), the model is prepared by a worker where that is needed, its candidates' outcomes
are looked up (`LookUp`), what is missing is built, and the end is recorded (`Finish`). Only then is
its request acknowledged: whoever takes over after us begins again with what is unacknowledged,
finds in the store what was finished, and does the rest.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from scheduler import planning
from scheduler.actions import SOURCE, Action, Actions
from scheduler.admission import Admission, NotAdmitted, Policy, refusal, reply_queue
from scheduler.choice import conclude
from scheduler.effects import (
    Ack,
    Announce,
    DeadLetter,
    Effect,
    Finish,
    Keep,
    Key,
    Look,
    LookUp,
    Refuse,
)
from scheduler.fair import FairQueue
from scheduler.jobs import Job, Plan, Step
from scheduler.planning import Boards, Need
from scheduler.ports import Clock, Delivery, Facts, Token
from scheduler.standing import standing_of
from tinymlaas.contract.digest import digest_of, sha256
from tinymlaas.contract.errors import Rejection
from tinymlaas.contract.jobs import Inspection, Outcome
from tinymlaas.contract.messages import (
    CompileOrder,
    CompileRequested,
    JobChanged,
    JobEnd,
    JobEnded,
    JobName,
    JobStanding,
    JobState,
)
from tinymlaas.contract.pool_messages import (
    PREPARE_POOL,
    BuildTask,
    TaskEnd,
    TaskStanding,
    TaskStatus,
    WorkerStanding,
)
from tinymlaas.contract.report import CandidateReport, CandidateStatus, CompileResult, ResultStatus
from tinymlaas.contract.wire import MalformedMessage, parse

K = TypeVar("K", bound=Hashable)

_EARLY_CANCELS = 10_000
_STALE_DEADLINES = 1000
_ENDS = {
    ResultStatus.DONE: JobState.DONE,
    ResultStatus.FAILED: JobState.FAILED,
    ResultStatus.REJECTED: JobState.REJECTED,
}


class Core:
    """Everything the scheduler decides. All methods are called by one thread; see `drain`."""

    def __init__(self, policy: Policy, clock: Clock, boards: Boards, pools: Sequence[str]) -> None:
        """Plan for `pools`: nothing is planned before each of them has said what it is."""
        self._policy = policy
        self._clock = clock
        self._boards = boards
        self._expected = tuple(pools)
        self._effects: list[Effect] = []
        self._admission = Admission(policy)
        self._jobs: dict[Key, Job] = {}
        self._queue: FairQueue[Key] = FairQueue(policy.weight)
        self._looking: set[Key] = set()
        self._planned: Counter[tuple[str, int]] = Counter()
        self._planned_by: Counter[str] = Counter()
        self._deadlines: list[tuple[float, Key]] = []
        self._cancelled_early: OrderedDict[Key, None] = OrderedDict()
        self.actions = Actions(policy, self._effects, self._service)
        self.ended: Counter[JobState] = Counter()
        self.events: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._jobs)

    def drain(self) -> list[Effect]:
        """Return what is to be done now, in this order, and forget it."""
        self._plan_more()
        self.actions.pump(self._clock.seconds())
        effects, self._effects[:] = [*self._effects], []
        return effects

    # Requests

    def request(self, delivery: Delivery) -> None:
        """Take a compile request; the same one delivered again changes nothing."""
        try:
            message = parse(delivery.body, CompileRequested)
        except MalformedMessage as error:
            self._refuse(delivery, error.reasons)
            return
        order = message.data.by_reference()
        encoded = order.model_dump_json(exclude_defaults=True).encode()
        mark = bytes.fromhex(sha256(encoded))[:16]
        known = self._jobs.get((order.tenant, message.id))
        if known is not None and known.mark != mark:
            self._refuse(delivery, (f"job {message.id} is another order, not finished yet",))
        elif known is not None:
            known.delivered(delivery.token)
        else:
            self._new(self._job(delivery, message, order, encoded, mark), message)

    def _refuse(self, delivery: Delivery, reasons: tuple[str, ...]) -> None:
        self.events["refused"] += 1
        found = refusal(delivery.body, delivery.reply_to, reasons)
        if found is None:
            self._do(DeadLetter(delivery.token, "; ".join(reasons)))
        else:
            self._do(Refuse(delivery.token, *found))

    def _job(
        self,
        delivery: Delivery,
        message: CompileRequested,
        order: CompileOrder,
        encoded: bytes,
        mark: bytes,
    ) -> Job:
        now = self._clock.seconds()
        return Job(
            tenant=order.tenant,
            job_id=message.id,
            order=encoded,
            mark=mark,
            priority=order.priority,
            tokens=(delivery.token,),
            received=now,
            deadline=None if order.deadline is None else now + self._left(order.deadline),
            reply=order.reply or reply_queue(delivery.reply_to),
            traceparent=message.traceparent,
            tracestate=message.tracestate,
        )

    def _left(self, deadline: datetime) -> float:
        return (deadline - self._clock.utc()).total_seconds()

    def _new(self, job: Job, message: CompileRequested) -> None:
        self._jobs[job.key] = job
        self.events["accepted"] += 1
        try:
            self._admission.admit(job.tenant, job.order)
        except NotAdmitted as error:
            self._admission_failed(job, error)
            return
        if job.key in self._cancelled_early:
            del self._cancelled_early[job.key]
            self._end(job, JobState.CANCELLED, ("cancelled before it was begun",))
            return
        if job.deadline is not None:
            heapq.heappush(self._deadlines, (job.deadline, job.key))
        inline = [p.content() for p in message.data.payloads() if p.inline is not None]
        if inline:
            self._do(Keep(job.key, tuple(inline)))
        else:
            self._wait(job)

    def _admission_failed(self, job: Job, error: NotAdmitted) -> None:
        self._end(job, JobState.REJECTED, error.reasons)
        job.order = b""  # it was never counted in

    def kept(self, key: Key) -> None:
        """Have a request planned in its turn, now that the store has its files."""
        job = self._at(key, Step.KEEPING)
        if job is not None:
            self._wait(job)

    def _wait(self, job: Job) -> None:
        job.step = Step.WAITING
        self._queue.push(job.tenant, job.priority, job.key)

    # Planning

    def missing_pools(self) -> list[str]:
        """Return the pools that have not yet said what they are; nothing is planned until then."""
        return [name for name in self._expected if self._described(name) is None]

    def _described(self, name: str) -> object | None:
        workers = self.actions.pool(name).workers
        return workers.description or (workers.service if name == PREPARE_POOL else None)

    def _service(self) -> str:
        for pool in self.actions.pools.values():
            if pool.workers.service is not None:
                return pool.workers.service
        return "unknown"

    def _plan_more(self) -> None:
        if not len(self._queue) or self.missing_pools():
            return
        while len(self._looking) < self._policy.planning:
            key = self._queue.pop(self._may_plan)
            if key is None:
                return
            job = self._jobs[key]
            job.step = Step.LOOKING
            job.plan = Plan(CompileOrder.model_validate_json(job.order))
            self._count(job, 1)
            self._looking.add(key)
            self._do(Look(key, job.plan.order))

    def _may_plan(self, tenant: str, priority: int) -> bool:
        own = self._planned_by[tenant]
        room = self._planned_by.total() < self._policy.planned if own else True
        return room and self._planned[tenant, priority] < self._policy.lookahead

    def _count(self, job: Job, change: int) -> None:
        _add(self._planned, (job.tenant, job.priority), change)
        _add(self._planned_by, job.tenant, change)

    def looked(self, key: Key, facts: Facts) -> None:
        """Take what the store knows of a job."""
        job = self._at(key, Step.LOOKING)
        if job is None or job.plan is None:
            return
        if facts.record is not None:
            self._finish(job, facts.record)
        elif facts.missing:
            listed = ", ".join(facts.missing)
            self._end(job, JobState.REJECTED, (f"not in the store: {listed}; upload it first",))
        elif job.plan.order.calibration is not None:
            self._prepare(job, planning.quantising(job.plan.order, self._service()))
        elif facts.inspection is None:
            self._prepare(job, planning.inspecting(job.plan.order, None, self._service()))
        else:
            self._candidates(job, facts.inspection)

    def _prepare(self, job: Job, need: Need) -> None:
        self._step(job, Step.PREPARING)
        self._plan_of(job).wants = {need.action}
        self.actions.want(job, [need])
        self._announce(job)

    def _candidates(self, job: Job, inspection: Inspection) -> None:
        plan, service = self._plan_of(job), self._service()
        described = [
            pool.workers.description
            for pool in self.actions.pools.values()
            if pool.workers.description is not None
        ]
        try:
            steps = planning.building(plan.order, inspection, described, self._boards, service)
        except Rejection as error:
            self._end(job, JobState.REJECTED, error.reasons)
            return
        plan.reports = [step if isinstance(step, CandidateReport) else None for step in steps]
        plan.needs = {s.action: s for s in steps if isinstance(s, Need)}
        plan.places = {s.action: i for i, s in enumerate(steps) if isinstance(s, Need)}
        if plan.places:
            self._step(job, Step.LOOKING_UP)
            self._looking.add(job.key)
            self._do(LookUp(job.key, tuple(plan.places)))
        else:
            self._conclude(job)

    def found(self, key: Key, outcomes: Mapping[str, Outcome]) -> None:
        """Take the outcomes the store has; what it has not is built."""
        job = self._at(key, Step.LOOKING_UP)
        if job is None:
            return
        plan = self._plan_of(job)
        for action, outcome in outcomes.items():
            report = outcome.report.model_copy(update={"cached": True})
            plan.reports[plan.places[action]] = report
            self.events["hit"] += 1
        needs = [need for action, need in plan.needs.items() if action not in outcomes]
        plan.needs = {}
        if not needs:
            self._conclude(job)
            return
        self._step(job, Step.BUILDING)
        plan.wants = {need.action for need in needs}
        self.actions.want(job, needs)
        self._announce(job)

    # Workers

    def heard(self, standing: WorkerStanding) -> None:
        """Take a worker's heartbeat."""
        self.actions.heard(standing, self._clock.seconds())

    def progressed(self, standing: TaskStanding) -> None:
        """Take a running task's progress; all jobs that want it are told."""
        now = self._clock.seconds()
        action = self.actions.progressed(standing.action, standing.task_id, now)
        for job in list(action.waiters.values()) if action else ():
            self._plan_of(job).progress = standing
            self._announce(job)

    def task_ended(self, end: TaskEnd) -> None:
        """Take the end of a task for all jobs that want its action."""
        action = self.actions.ended(end, self._clock.seconds())
        if action is None:
            self.events["retried" if end.status is TaskStatus.RETRY else "unwanted"] += 1
            return
        self.events[end.status] += 1
        for job in list(action.waiters.values()):
            self._plan_of(job).wants.discard(end.action)
            if end.status is TaskStatus.STALE:
                self._replan(job)
            elif isinstance(action.need.work, BuildTask):
                self._built(job, action, end)
            else:
                self._prepared(job, end)

    def _replan(self, job: Job) -> None:
        """Plan anew: the farm's version has changed, so the same order makes other actions now."""
        job.replans += 1
        if job.replans > self._policy.replans:
            reason = "workers of several versions answer: try again when the farm is updated"
            self._end(job, JobState.FAILED, (reason,))
            return
        self._drop_plan(job)
        self._wait(job)

    def _prepared(self, job: Job, end: TaskEnd) -> None:
        plan = self._plan_of(job)
        plan.log = end.log
        if end.status is TaskStatus.QUARANTINED:
            self._end(job, JobState.QUARANTINED, end.reasons)
        elif end.refused:
            self._end(job, JobState.REJECTED, end.reasons)
        elif end.quantisation is not None:
            digest, service = end.quantisation.model_digest, self._service()
            self._prepare(job, planning.inspecting(plan.order, digest, service))
        elif end.inspection is not None:
            self._candidates(job, end.inspection)
        else:
            self._end(job, JobState.FAILED, end.reasons or ("the model could not be prepared",))

    def _built(self, job: Job, action: Action, end: TaskEnd) -> None:
        plan = self._plan_of(job)
        if end.status is TaskStatus.QUARANTINED:
            plan.quarantined += end.reasons
        if end.log is not None and end.status is not TaskStatus.DONE:
            plan.log = end.log
        plan.reports[plan.places[end.action]] = _report(action, end)
        if not plan.wants:
            self._conclude(job)

    # Ends

    def cancel(self, name: JobName, token: Token) -> None:
        """Take a cancel; its message is acknowledged with the job's end."""
        key = (name.tenant, name.job_id)
        job = self._jobs.get(key)
        if job is None:  # the cancel may overtake its request
            self._cancelled_early[key] = None
            while len(self._cancelled_early) > _EARLY_CANCELS:
                self._cancelled_early.popitem(last=False)
            self._do(Ack(token))
            return
        job.tokens = (*job.tokens, token)
        if job.step is not Step.ENDING:
            self._end(job, JobState.CANCELLED, ("cancelled",))

    def tick(self) -> None:
        """Look at the clock, about every second: deadlines, retries, silent workers."""
        now = self._clock.seconds()
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, key = heapq.heappop(self._deadlines)
            job = self._jobs.get(key)
            if job is not None and job.deadline == deadline and job.step is not Step.ENDING:
                self._end(job, JobState.FAILED, (f"its deadline passed while it was {job.state}",))
        if len(self._deadlines) > 2 * len(self._jobs) + _STALE_DEADLINES:
            kept = (d for d in self._deadlines if d[1] in self._jobs)
            self._deadlines = sorted(kept)
        self.actions.tick(now)

    def _conclude(self, job: Job) -> None:
        plan = self._plan_of(job)
        reports = [report for report in plan.reports if report is not None]
        result = conclude(reports, plan.order.objective)
        state = _ENDS[result.status]
        if result.chosen is not None:
            module = reports[result.chosen].module_digest
            path = f"modules/{module}/module.zip" if module else None
            result = result.model_copy(update={"module": path})
        elif plan.quarantined:
            state = JobState.QUARANTINED
        self._end(job, state, result.reasons, result)

    def _end(
        self,
        job: Job,
        state: JobState,
        reasons: tuple[str, ...],
        result: CompileResult | None = None,
    ) -> None:
        order = job.plan.order if job.plan else None
        end = JobEnd(
            tenant=job.tenant,
            job_id=job.job_id,
            state=state,
            reasons=reasons,
            result=result,
            board=(order.board or (order.device.name if order.device else None)) if order else None,
            log=job.plan.log if job.plan else None,
        )
        event = JobEnded(
            id=digest_of([job.tenant, job.job_id, "end"])[:32],
            source=SOURCE,
            time=self._clock.utc(),
            traceparent=job.traceparent,
            tracestate=job.tracestate,
            data=end,
        )
        self._finish(job, event)

    def _finish(self, job: Job, event: JobEnded) -> None:
        self._queue.discard(job.tenant, job.priority, job.key)
        self._drop_plan(job)
        job.step, job.ended = Step.ENDING, event.data.state
        self._do(Finish(job.key, event, job.reply))

    def _drop_plan(self, job: Job) -> None:
        self._looking.discard(job.key)
        if job.plan is not None:
            self.actions.leave(job, sorted(job.plan.wants))
            job.plan = None
            self._count(job, -1)

    def finished(self, key: Key, state: JobState) -> None:
        """Let go of a job whose record is kept and published; `state` is what the record says."""
        job = self._jobs.pop(key, None)
        if job is None:
            return
        if job.order:
            self._admission.release(job.tenant, job.order)
        self.ended[state] += 1
        for token in job.tokens:
            self._do(Ack(token))

    # Standings

    def status(self, name: JobName) -> None:
        """Answer how a job stands; state None for one that is not here (see the store)."""
        job = self._jobs.get((name.tenant, name.job_id))
        if name.reply is not None:
            standing = (
                JobStanding(tenant=name.tenant, job_id=name.job_id, state=None)
                if job is None
                else standing_of(job, self._queue, self.actions, self.missing_pools())
            )
            self._do(Announce(self._changed(standing, job), name.reply))

    def _announce(self, job: Job) -> None:
        progress = job.plan.progress if job.plan else None
        standing = JobStanding(
            tenant=job.tenant,
            job_id=job.job_id,
            state=job.state,
            stage=progress.stage if progress else None,
            percent=progress.percent if progress else None,
            line=progress.line if progress else None,
        )
        self._do(Announce(self._changed(standing, job)))

    def _changed(self, standing: JobStanding, job: Job | None) -> JobChanged:
        self.events["announced"] += 1
        return JobChanged(
            id=f"{standing.job_id}-{self.events['announced']}",
            source=SOURCE,
            time=self._clock.utc(),
            traceparent=job.traceparent if job else None,
            data=standing,
        )

    # Small things

    def acknowledge(self, token: Token) -> None:
        """Have a message acknowledged."""
        self._do(Ack(token))

    def set_aside(self, token: Token, reasons: tuple[str, ...]) -> None:
        """Have a message kept aside."""
        self._do(DeadLetter(token, "; ".join(reasons)))

    def states(self) -> Counter[JobState]:
        """Return how many unfinished jobs are in each state."""
        return Counter(job.state for job in self._jobs.values())

    def _at(self, key: Key, step: Step) -> Job | None:
        """Return the job if it is at `step`; it may have ended while the answer was under way."""
        job = self._jobs.get(key)
        if job is None or job.step is not step:
            return None
        self._looking.discard(key)
        return job

    def _plan_of(self, job: Job) -> Plan:
        assert job.plan is not None  # noqa: S101 - for the type checker: the step says so
        return job.plan

    def _step(self, job: Job, step: Step) -> None:
        job.step = step
        self._looking.discard(job.key)

    def _do(self, effect: Effect) -> None:
        self._effects.append(effect)


def _add(counter: Counter[K], key: K, change: int) -> None:
    counter[key] += change
    if not counter[key]:
        del counter[key]


def _report(action: Action, end: TaskEnd) -> CandidateReport:
    """Return the candidate's report, or make one of a task that gave none."""
    if end.outcome is not None:
        return end.outcome.report.model_copy(update={"cached": end.cached})
    work = action.need.work
    assert isinstance(work, BuildTask)  # noqa: S101 - for the type checker: the caller has asked
    reasons: Iterable[str] = end.reasons or ("the worker gave no outcome",)
    return CandidateReport(
        compiler=work.job.compiler,
        kernels=work.job.task.kernels,
        options=work.job.task.options,
        status=CandidateStatus.FAILED,
        reasons=tuple(reasons),
        action_digest=work.job.action_digest,
    )
