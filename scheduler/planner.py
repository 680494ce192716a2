"""From a job whose turn it is to its candidates: asks the store and waits for pools."""

from __future__ import annotations

from collections.abc import Callable

from scheduler import planning
from scheduler.effects import Key, Look, LookUp
from scheduler.history import core_of
from scheduler.jobs import Job, Place, Plan, Step, plan_of
from scheduler.parts import Parts
from scheduler.planning import Boards, Need, candidate_of
from scheduler.ports import Facts
from scheduler.preparing import Preparing
from scheduler.requests import same_order
from tinymlaas.contract.errors import Rejection
from tinymlaas.contract.messages import CompileOrder, JobState


class Planner:
    """Plans jobs in their turn; `preparing` has their models' forms made for it."""

    def __init__(
        self,
        parts: Parts,
        boards: Boards,
        pool_seconds: float,
        disown: Callable[[Job, str], None],
    ) -> None:
        """Share `parts`; missing pools are waited for `pool_seconds`.

        `disown` is called with a job whose id was another order's.
        """
        self._parts = parts
        self._boards = boards
        self._pool_seconds = pool_seconds
        self._disown = disown
        self._held: dict[Key, None] = {}
        self.preparing = Preparing(parts, self._prepared)

    def go_on(self) -> None:
        """Plan as many jobs as may be planned now, and those whose pools have come or stay away."""
        parts = self._parts
        for held in parts.at_hand.each([*self._held]):
            waiting = parts.jobs.get(held)
            if waiting is None or waiting.step is not Step.HELD:
                del self._held[held]
            elif not self._must_wait(waiting):
                del self._held[held]
                self._candidates(waiting)
        while (key := parts.turns.next()) is not None:
            with parts.at_hand.dealing(key):
                self._ask(parts.jobs[key])

    def _ask(self, job: Job) -> None:
        parts = self._parts
        job.step = Step.LOOKING
        job.since = parts.clock.seconds()
        if not job.replans:
            parts.meter.waited(job.tenant, job.since - job.received)
        job.plan = Plan(CompileOrder.model_validate_json(job.order))
        parts.turns.planned(job)
        parts.turns.asking(job.key)
        if (own := parts.trail.planning(job)) is not None:
            job.traceparent, job.tracestate = own, None
        parts.effects.append(Look(job.key, job.plan.order))

    def park(self) -> None:
        """Look which planned jobs wait for workers only that are not there."""
        for job in self._parts.turns.jobs():
            self._parts.park(job)

    def looked(self, job: Job, facts: Facts) -> None:
        """Take what the store knows of a job."""
        ending = self._parts.ending
        if facts.record is not None and not same_order(job, facts.record):
            self._disown(job, f"job {job.job_id} was another order, which has ended")
        elif facts.record is not None:
            ending.finish(job, facts.record)
        elif facts.missing:
            reason = f"not in the store: {', '.join(facts.missing)}; upload it first"
            ending.end(job, JobState.REJECTED, (reason,))
        else:
            self.preparing.begin(job, facts.inspection)

    def _prepared(self, job: Job) -> None:
        """Go on with a job whose model is known, as soon as the pools are that it needs."""
        self._parts.step(job, Step.HELD)
        if self._must_wait(job):
            self._held[job.key] = None
            self._parts.park(job)
            self._parts.announcing.changed(job)
        else:
            self._candidates(job)

    def _must_wait(self, job: Job) -> bool:
        """Wait for a pool that is named; of all pools, some may be away for good."""
        compiler, pools = plan_of(job).order.compiler, self._parts.pools
        missing = pools.needed(compiler)
        if not missing:
            return False
        if compiler != planning.AUTO:
            return True
        return pools.waited(self._parts.clock.seconds()) < self._pool_seconds

    def _candidates(self, job: Job) -> None:
        parts, plan = self._parts, plan_of(job)
        away = parts.pools.needed(plan.order.compiler)
        try:
            plan.table = self._table(plan, away)
        except Rejection as error:
            state = JobState.FAILED if away else JobState.REJECTED
            parts.ending.end(job, state, error.reasons)
            return
        plan.places = {each.need.action: each for each in plan.table if each.need is not None}
        if plan.places:
            parts.step(job, Step.LOOKING_UP)
            parts.turns.asking(job.key)
            core = core_of(candidate_of(plan.open()[0]).task.target) if plan.hurry.any else None
            judged = plan.order.data is not None
            actions = {each.action: each.pool for each in plan.open()}
            parts.effects.append(LookUp(job.key, actions, core, judged))
        else:
            parts.ending.conclude(job)

    def _table(self, plan: Plan, away: list[str]) -> list[Place]:
        """Return the candidates of all forms, and what stands for those that there cannot be."""
        pools = self._parts.pools
        described = pools.described()
        if away and not described:
            raise Rejection(*(planning.away(name).reasons[0] for name in away))
        table = []
        for form in plan.take_forms():
            of = (form.inspection.summary, form.quantisation)
            facts = (plan.order, form.inspection, described, self._boards, pools.service)
            for step in planning.building(*facts):
                if isinstance(step, Need):
                    table.append(Place(*of, step))
                else:
                    table.append(Place(*of))
                    table[-1].take(step)
        if plan.lacking is not None:
            table.append(Place(report=plan.lacking))
        return table + [Place(report=planning.away(name)) for name in away]

    def replan(self, job: Job, most: int) -> None:
        """Plan anew, `most` times: with the farm's version the names of actions have changed."""
        job.replans += 1
        if job.replans > most:
            reason = "workers of several versions answer: try again when the farm is updated"
            self._parts.ending.end(job, JobState.FAILED, (reason,))
            return
        self._parts.ending.drop_plan(job)
        job.step = Step.WAITING
        self._parts.turns.wait(job)
