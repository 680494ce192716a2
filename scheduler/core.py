"""The scheduler as a state machine: messages and answers in, effects out. No I/O, no clock.

A job goes through `Step`s: its files are kept, it waits for its turn, the store is asked what is
known (`Look`), the model is prepared by a worker where that is needed, its candidates' outcomes
are looked up (`LookUp`), what is missing is built, and the end is recorded (`Finish`). Only then is
its request acknowledged: whoever takes over after us begins again with what is unacknowledged,
finds in the store what was finished, and does the rest.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence

from scheduler import planning
from scheduler.actions import Action, Actions
from scheduler.admission import Admission, NotAdmitted, Policy, refusal
from scheduler.announcing import Announcing
from scheduler.deadlines import Deadlines
from scheduler.effects import (
    Ack,
    DeadLetter,
    Effect,
    Finish,
    Keep,
    Key,
    Look,
    LookUp,
    Refuse,
)
from scheduler.ends import conclusion, end_event, report_of
from scheduler.jobs import Job, Plan, Step
from scheduler.planning import Boards, Need
from scheduler.ports import Clock, Delivery, Facts, Token
from scheduler.requests import read_request
from scheduler.turns import Turns
from tinymlaas.contract.errors import Rejection
from tinymlaas.contract.jobs import Inspection, Outcome
from tinymlaas.contract.messages import (
    CompileOrder,
    JobEnded,
    JobName,
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
from tinymlaas.contract.report import CandidateReport, CompileResult
from tinymlaas.contract.wire import MalformedMessage

_EARLY_CANCELS = 10_000


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
        self._deadlines = Deadlines(self._jobs)
        self._turns = Turns(policy)
        self._cancelled_early: OrderedDict[Key, None] = OrderedDict()
        self.actions = Actions(policy, self._effects, self._service)
        self._announcing = Announcing(self._effects, clock)
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
            job, files = read_request(delivery, self._clock)
        except MalformedMessage as error:
            self._refuse(delivery, error.reasons)
            return
        known = self._jobs.get(job.key)
        if known is not None and known.mark != job.mark:
            self._refuse(delivery, (f"job {job.job_id} is another order, not finished yet",))
        elif known is not None:
            known.delivered(delivery.token)
        else:
            self._new(job, files)

    def _refuse(self, delivery: Delivery, reasons: tuple[str, ...]) -> None:
        self.events["refused"] += 1
        found = refusal(delivery.body, delivery.reply_to, reasons)
        if found is None:
            self._do(DeadLetter(delivery.token, "; ".join(reasons)))
        else:
            self._do(Refuse(delivery.token, *found))

    def _new(self, job: Job, files: tuple[bytes, ...]) -> None:
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
            self._deadlines.add(job.deadline, job.key)
        if files:
            self._do(Keep(job.key, files))
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
        self._turns.wait(job)

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
        if not len(self._turns.queue) or self.missing_pools():
            return
        while (key := self._turns.next()) is not None:
            job = self._jobs[key]
            job.step = Step.LOOKING
            job.plan = Plan(CompileOrder.model_validate_json(job.order))
            self._turns.planned(job, 1)
            self._turns.asking(key)
            self._do(Look(key, job.plan.order))

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
        self._announcing.changed(job)

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
            self._turns.asking(job.key)
            self._do(LookUp(job.key, tuple(plan.places)))
        else:
            self._conclude(job)

    def recorded(self, key: Key, record: JobEnded) -> None:
        """Take the record of a job that has ended already: its request was delivered again."""
        job = self._at(key, Step.LOOKING_UP)
        if job is not None:
            self._finish(job, record)

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
        self._announcing.changed(job)

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
            self._announcing.changed(job)

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
        plan.reports[plan.places[end.action]] = report_of(action, end)
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
        for deadline, key in self._deadlines.due(now):
            job = self._jobs.get(key)
            if job is not None and job.deadline == deadline and job.step is not Step.ENDING:
                self._end(job, JobState.FAILED, (f"its deadline passed while it was {job.state}",))
        self.actions.tick(now)

    def _conclude(self, job: Job) -> None:
        state, result = conclusion(self._plan_of(job))
        self._end(job, state, result.reasons, result)

    def _end(
        self,
        job: Job,
        state: JobState,
        reasons: tuple[str, ...],
        result: CompileResult | None = None,
    ) -> None:
        self._finish(job, end_event(job, state, reasons, result, self._clock.utc()))

    def _finish(self, job: Job, event: JobEnded) -> None:
        self._turns.withdraw(job)
        self._drop_plan(job)
        job.step, job.ended = Step.ENDING, event.data.state
        self._do(Finish(job.key, event, job.reply))

    def _drop_plan(self, job: Job) -> None:
        self._turns.answered(job.key)
        if job.plan is not None:
            self.actions.leave(job, sorted(job.plan.wants))
            job.plan = None
            self._turns.planned(job, -1)

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

    def status(self, name: JobName) -> None:
        """Answer how a job stands; state None for one that is not here (see the store)."""
        job = self._jobs.get((name.tenant, name.job_id))
        missing = self.missing_pools()
        self._announcing.answer(name, job, self._turns.queue, self.actions, missing)

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
        self._turns.answered(key)
        return job

    def _plan_of(self, job: Job) -> Plan:
        assert job.plan is not None  # noqa: S101 - for the type checker: the step says so
        return job.plan

    def _step(self, job: Job, step: Step) -> None:
        job.step = step
        self._turns.answered(job.key)

    def _do(self, effect: Effect) -> None:
        self._effects.append(effect)
