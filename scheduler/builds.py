"""A job's builds: what the store has of them is taken, the rest is wanted from the pools.

A job that is in a hurry ends with the first candidate that may win, or when its time is up. The
time counts from when the first of its builds is begun, as far as this scheduler knows: one that
takes over begins to count anew, but takes what is finished first.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from scheduler import planning
from scheduler.deadlines import Deadlines
from scheduler.effects import Key, RememberRace
from scheduler.ends import report_of
from scheduler.history import core_of, promise, record_of
from scheduler.jobs import Job, Place, Plan, Step, plan_of
from scheduler.parts import Parts
from scheduler.planning import Need, candidate_of
from scheduler.wanted import Action
from tinymlaas.contract.history import RaceRecord
from tinymlaas.contract.jobs import Outcome
from tinymlaas.contract.messages import JobState
from tinymlaas.contract.pool_messages import JudgeTask, TaskEnd, TaskStatus
from tinymlaas.contract.report import CandidateReport, CandidateStatus


class Builds:
    """From outcomes to the end of the job whose candidates they are."""

    def __init__(self, parts: Parts) -> None:
        """Share `parts`."""
        self._parts = parts
        self._times = Deadlines(parts.jobs)
        self._unbegun: dict[Key, None] = {}  # jobs with a budget that nobody has begun to build for
        self.hits = 0

    def found(
        self, job: Job, outcomes: Mapping[str, Outcome], races: Sequence[RaceRecord] = ()
    ) -> None:
        """Take the outcomes the store has; what it has not is built, guided by past `races`.

        The answer may be to what was asked before the job was delivered again.
        """
        plan, judges = plan_of(job), list[Need]()
        self._parts.trail.planned(job)
        for action, place in plan.places.items():
            if action in outcomes:
                cached = outcomes[action].report.model_copy(update={"cached": True})
                if place.need is not None:
                    self._parts.trail.found(job, place.need, cached)
                judges += self._came(plan, place, cached)
                self.hits += 1
                self._parts.meter.hit()
        needs = plan.open()
        if not needs and not judges:
            self._parts.ending.conclude(job)
        elif self._over(job):
            self._stop(job)
        else:
            self._build(job, _ordered(needs, plan, races), judges)

    def _came(self, plan: Plan, place: Place, report: CandidateReport) -> list[Need]:
        """Take what came of a candidate; return what is to judge it first, if that is wanted."""
        module, verified = report.module_digest, report.status is CandidateStatus.VERIFIED
        if plan.order.data is None or module is None or not verified:
            place.take(report)
            return []
        place.built = report
        service = self._parts.pools.service(report.compiler)
        need = planning.judging(plan.order, module, report.compiler, service)
        plan.judging = plan.judging or {}
        plan.judging.setdefault(need.action, []).append(place)
        return [need]

    def _over(self, job: Job) -> bool:
        """Return whether the job need not wait for the rest of its candidates."""
        if job.until is not None and self._parts.clock.seconds() >= job.until:
            return True
        plan = plan_of(job)
        return any(map(plan.hurry.enough, plan.reports()))

    def _build(self, job: Job, needs: Sequence[Need], judges: Sequence[Need]) -> None:
        plan = plan_of(job)
        if needs:  # one string for all jobs of a board: there are many
            plan.core = sys.intern(core_of(candidate_of(needs[0]).task.target))
        self._parts.want(job, Step.BUILDING, [*judges, *needs])
        for need in needs:  # jobs that want the same share its description: it is large
            if (wanted := self._parts.actions.get(need.action)) is not None:
                plan.places[need.action].need = wanted.need
        if plan.order.budget is not None and job.until is None:
            self._unbegun[job.key] = None
            self._look(job)

    def begun(self, job: Job) -> None:
        """Note that some worker is at one of the builds of `job`: its budget counts from now."""
        if job.step is Step.BUILDING and job.key in self._unbegun:
            del self._unbegun[job.key]
            job.until = self._parts.clock.seconds() + (plan_of(job).order.budget or 0.0)
            self._times.add(job.until, job.key)

    def _look(self, job: Job) -> None:
        found = map(self._parts.actions.get, plan_of(job).wants)
        if any(action is not None and action.begun for action in found):
            self.begun(job)

    def tick(self) -> None:
        """Look at the clock: whose time is up, and what was begun without our being told."""
        jobs, at_hand = self._parts.jobs, self._parts.at_hand
        for key in at_hand.each([*self._unbegun]):
            job = jobs.get(key)
            if job is None or job.step is not Step.BUILDING:
                del self._unbegun[key]
            else:
                self._look(job)
        for until, key in self._times.due(self._parts.clock.seconds()):
            job = jobs.get(key)
            if job is not None and job.until == until and job.step is Step.BUILDING:
                with at_hand.dealing(key):
                    self._stop(job)

    def ended(self, job: Job, action: Action, end: TaskEnd) -> None:
        """Take the end of a build, or of judging one, that `job` wants."""
        plan = plan_of(job)
        self.begun(job)
        if end.status is TaskStatus.QUARANTINED:
            plan.quarantined += end.reasons
        if end.log is not None and end.status is not TaskStatus.DONE:
            plan.log = end.log
        if isinstance(action.need.work, JudgeTask):
            if end.refused:  # the samples are of no use: the user's mistake
                self._parts.ending.end(job, JobState.REJECTED, end.reasons)
                return
            _judged(plan, end)
        else:
            judges = self._came(plan, plan.places[end.action], report_of(action, end))
            if judges:
                self._parts.want(job, Step.BUILDING, judges)
        if not plan.wants:
            self._conclude(job)
        elif self._over(job):
            self._stop(job)

    def _stop(self, job: Job) -> None:
        """End a job with what is there; what nobody else wants of the rest is given up."""
        plan = plan_of(job)
        done = plan.reports()
        for place in plan.table:
            if (need := place.need) is None:
                continue
            action = self._parts.actions.get(need.action)
            begun = place.built is not None or (action is not None and bool(action.begun))
            place.take(plan.hurry.skipped(candidate_of(need), begun, done))
        self._conclude(job)

    def _conclude(self, job: Job) -> None:
        plan = plan_of(job)
        raced = [(p.summary, p.report) for p in plan.table if p.summary and p.report]
        record = record_of(raced)
        if record is not None and plan.core:  # else nothing was built
            self._parts.effects.append(RememberRace(plan.core, record))
        self._parts.ending.conclude(job)


def _judged(plan: Plan, end: TaskEnd) -> None:
    """Take the accuracy of candidates; a module that breaks on a sample has failed."""
    failed = {
        "status": CandidateStatus.FAILED,
        "reasons": end.reasons or ("the worker gave no accuracy",),
    }
    found = failed if end.accuracy is None else {"accuracy": end.accuracy}
    for place in (plan.judging or {}).pop(end.action, []):
        if place.built is not None:
            place.take(place.built.model_copy(update=found))


def _ordered(needs: list[Need], plan: Plan, races: Sequence[RaceRecord]) -> list[Need]:
    """Return `needs`, the most promising first where not all of them may be built."""
    if not plan.hurry.any:
        return needs
    weights = plan.order.race.of(plan.order.objective)
    return [needs[i] for i in promise([candidate_of(need) for need in needs], races, weights)]
