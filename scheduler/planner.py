"""From a job whose turn it is to what it needs: asks the store, then wants work, or concludes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scheduler import planning
from scheduler.actions import Actions
from scheduler.announcing import Announcing
from scheduler.at_hand import AtHand
from scheduler.effects import Effect, Key, Look, LookUp
from scheduler.ending import Ending
from scheduler.jobs import Job, Plan, Step
from scheduler.meter import Meter
from scheduler.planning import Boards, Need
from scheduler.pools_known import PoolsKnown
from scheduler.ports import Clock, Facts
from scheduler.requests import same_order
from scheduler.turns import Turns
from tinymlaas.contract.errors import Rejection
from tinymlaas.contract.jobs import Inspection, Outcome
from tinymlaas.contract.messages import CompileOrder, JobState
from tinymlaas.contract.pool_messages import PREPARE_POOL
from tinymlaas.contract.report import CandidateReport


class Planner:
    """Plans `jobs`; what the store is to be asked is appended to `effects`."""

    def __init__(
        self,
        jobs: dict[Key, Job],
        effects: list[Effect],
        clock: Clock,
        boards: Boards,
        turns: Turns,
        actions: Actions,
        pools: PoolsKnown,
        announcing: Announcing,
        ending: Ending,
        meter: Meter,
        pool_seconds: float,
        at_hand: AtHand,
    ) -> None:
        """Share the core's parts; missing pools are waited for `pool_seconds`."""
        self._jobs = jobs
        self._effects = effects
        self._clock = clock
        self._boards = boards
        self._turns = turns
        self._actions = actions
        self._pools = pools
        self._announcing = announcing
        self._ending = ending
        self._meter = meter
        self._pool_seconds = pool_seconds
        self._at_hand = at_hand
        self._held: dict[Key, Inspection] = {}
        self.disown: Callable[[Job, str], None] = lambda job, reason: None
        self.hits = 0

    def go_on(self) -> None:
        """Plan as many jobs as may be planned now, and those whose pools have come or stay away."""
        for held in self._at_hand.each([*self._held]):
            waiting, inspection = self._jobs.get(held), self._held[held]
            if waiting is None or waiting.step is not Step.HELD:
                del self._held[held]
            elif not self._must_wait(waiting):
                del self._held[held]
                self._candidates(waiting, inspection)
        while (key := self._turns.next()) is not None:
            with self._at_hand.dealing(key):
                self._ask(self._jobs[key])

    def _ask(self, job: Job) -> None:
        job.step = Step.LOOKING
        if not job.replans:
            self._meter.waited(job.tenant, self._clock.seconds() - job.received)
        job.plan = Plan(CompileOrder.model_validate_json(job.order))
        self._turns.planned(job)
        self._turns.asking(job.key)
        self._effects.append(Look(job.key, job.plan.order))

    def park(self) -> None:
        """Look which planned jobs wait for workers only that are not there."""
        for job in self._turns.jobs():
            self._park(job)

    def _park(self, job: Job) -> None:
        wants = _plan(job).wants
        away = bool(wants) and all(map(self._actions.without_workers, wants))
        self._turns.park(job, away or job.step is Step.HELD)

    def looked(self, job: Job, facts: Facts) -> None:
        """Take what the store knows of a job."""
        order = _plan(job).order
        if facts.record is not None and not same_order(job, facts.record):
            self.disown(job, f"job {job.job_id} was another order, which has ended")
        elif facts.record is not None:
            self._ending.finish(job, facts.record)
        elif facts.missing:
            reason = f"not in the store: {', '.join(facts.missing)}; upload it first"
            self._ending.end(job, JobState.REJECTED, (reason,))
        elif order.calibration is not None:
            self.prepare(job, planning.quantising(order, self._pools.service(PREPARE_POOL)))
        elif facts.inspection is None:
            self.inspect(job, None)
        else:
            self.inspected(job, facts.inspection)

    def inspect(self, job: Job, quantised: str | None) -> None:
        """Have the job's model inspected, or its quantised form, of that digest."""
        service = self._pools.service(PREPARE_POOL)
        self.prepare(job, planning.inspecting(_plan(job).order, quantised, service))

    def prepare(self, job: Job, need: Need) -> None:
        """Have a job wait for what must be done before it has candidates."""
        self._step(job, Step.PREPARING)
        _plan(job).wants = {need.action}
        self._actions.want(job, [need])
        self._park(job)
        self._announcing.changed(job)

    def inspected(self, job: Job, inspection: Inspection) -> None:
        """Go on with a job whose model is known, as soon as the pools are that it needs."""
        self._step(job, Step.HELD)
        if self._must_wait(job):
            self._held[job.key] = inspection
            self._park(job)
            self._announcing.changed(job)
        else:
            self._candidates(job, inspection)

    def _must_wait(self, job: Job) -> bool:
        """Wait for a pool that is named; of all pools, some may be away for good."""
        compiler = _plan(job).order.compiler
        missing = self._pools.needed(compiler)
        if not missing:
            return False
        if compiler != "auto":
            return True
        return self._pools.waited(self._clock.seconds()) < self._pool_seconds

    def _candidates(self, job: Job, inspection: Inspection) -> None:
        plan = _plan(job)
        away = self._pools.needed(plan.order.compiler)
        described = self._pools.described()
        try:
            if away and not described:
                raise Rejection(*(planning.away(name).reasons[0] for name in away))
            steps = planning.building(
                plan.order, inspection, described, self._boards, self._pools.service
            )
        except Rejection as error:
            state = JobState.FAILED if away else JobState.REJECTED
            self._ending.end(job, state, error.reasons)
            return
        steps += [planning.away(name) for name in away]
        plan.reports = [step if isinstance(step, CandidateReport) else None for step in steps]
        plan.needs = {s.action: s for s in steps if isinstance(s, Need)}
        plan.places = {s.action: i for i, s in enumerate(steps) if isinstance(s, Need)}
        if plan.places:
            self._step(job, Step.LOOKING_UP)
            self._turns.asking(job.key)
            self._effects.append(LookUp(job.key, tuple(plan.places)))
        else:
            self._ending.conclude(job)

    def found(self, job: Job, outcomes: Mapping[str, Outcome]) -> None:
        """Take the outcomes the store has; what it has not is built.

        The answer may be to what was asked before the job was delivered again.
        """
        plan = _plan(job)
        for action in plan.places.keys() & outcomes.keys():
            outcome = outcomes[action]
            report = outcome.report.model_copy(update={"cached": True})
            plan.reports[plan.places[action]] = report
            self.hits += 1
            self._meter.hit()
        needs = [need for action, need in plan.needs.items() if action not in outcomes]
        plan.needs = {}
        if not needs:
            self._ending.conclude(job)
            return
        self._step(job, Step.BUILDING)
        plan.wants = {need.action for need in needs}
        self._actions.want(job, needs)
        self._park(job)
        self._announcing.changed(job)

    def replan(self, job: Job, most: int) -> None:
        """Plan anew, `most` times: with the farm's version the names of actions have changed."""
        job.replans += 1
        if job.replans > most:
            reason = "workers of several versions answer: try again when the farm is updated"
            self._ending.end(job, JobState.FAILED, (reason,))
            return
        self._ending.drop_plan(job)
        job.step = Step.WAITING
        self._turns.wait(job)

    def _step(self, job: Job, step: Step) -> None:
        job.step = step
        self._turns.answered(job.key)


def _plan(job: Job) -> Plan:
    assert job.plan is not None  # noqa: S101 - for the type checker: the step says so
    return job.plan
