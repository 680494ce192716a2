"""A job's builds: what the store has of them is taken, the rest is wanted from the pools."""

from __future__ import annotations

from collections.abc import Mapping

from scheduler.ends import report_of
from scheduler.jobs import Job, Step, plan_of
from scheduler.parts import Parts
from scheduler.wanted import Action
from tinymlaas.contract.jobs import Outcome
from tinymlaas.contract.pool_messages import TaskEnd, TaskStatus


class Builds:
    """From outcomes to the end of the job whose candidates they are."""

    def __init__(self, parts: Parts) -> None:
        """Share `parts`."""
        self._parts = parts
        self.hits = 0

    def found(self, job: Job, outcomes: Mapping[str, Outcome]) -> None:
        """Take the outcomes the store has; what it has not is built.

        The answer may be to what was asked before the job was delivered again.
        """
        plan = plan_of(job)
        for action, place in plan.places.items():
            if action in outcomes:
                place.take(outcomes[action].report.model_copy(update={"cached": True}))
                self.hits += 1
                self._parts.meter.hit()
        needs = plan.open()
        if not needs:
            self._parts.ending.conclude(job)
            return
        self._parts.want(job, Step.BUILDING, needs)
        for need in needs:  # jobs that want the same share its description: it is large
            if (wanted := self._parts.actions.get(need.action)) is not None:
                plan.places[need.action].need = wanted.need

    def ended(self, job: Job, action: Action, end: TaskEnd) -> None:
        """Take the end of a build that `job` wants."""
        plan = plan_of(job)
        if end.status is TaskStatus.QUARANTINED:
            plan.quarantined += end.reasons
        if end.log is not None and end.status is not TaskStatus.DONE:
            plan.log = end.log
        plan.places[end.action].take(report_of(action, end))
        if not plan.wants:
            self._parts.ending.conclude(job)
