"""The forms of a job's model: a worker inspects it as given, and quantises it where asked.

Both at once, and then the quantised one is inspected too. A model that cannot be quantised races
as it is; the one candidate that stands for the lacking form says why.
"""

from __future__ import annotations

from collections.abc import Callable

from scheduler import planning
from scheduler.forms import lacking
from scheduler.jobs import Job, Step, plan_of
from scheduler.parts import Parts
from scheduler.wanted import Action
from tinymlaas.contract.jobs import Inspection
from tinymlaas.contract.messages import JobState
from tinymlaas.contract.pool_messages import (
    PREPARE_POOL,
    InspectTask,
    QuantiseTask,
    TaskEnd,
    TaskStatus,
)


class Preparing:
    """Has models prepared; `ready` is called with a job whose forms are all known."""

    def __init__(self, parts: Parts, ready: Callable[[Job], None]) -> None:
        """Share `parts`."""
        self._parts = parts
        self._ready = ready

    def begin(self, job: Job, inspection: Inspection | None) -> None:
        """Begin with a job whose model's `inspection` the store has, or has not."""
        plan, service = plan_of(job), self._parts.pools.service(PREPARE_POOL)
        needs = []
        if plan.order.float_races and inspection is None:
            needs.append(planning.inspecting(plan.order, None, service))
        if plan.order.float_races:
            plan.given = inspection
        if plan.order.calibration is not None:
            needs.append(planning.quantising(plan.order, service))
        if needs:
            self._parts.want(job, Step.PREPARING, needs)
        else:
            self._ready(job)

    def ended(self, job: Job, action: Action, end: TaskEnd) -> None:
        """Take the end of a task of inspecting or quantising that `job` wants."""
        plan, work = plan_of(job), action.need.work
        if isinstance(work, QuantiseTask):
            self._quantised(job, end)
        elif isinstance(work, InspectTask) and work.model.digest == plan.order.model.digest:
            plan.given = end.inspection
            if end.inspection is None:
                self._give_up(job, end)
        else:
            plan.quantised = end.inspection
            if end.inspection is None:
                self._go_without(job, end)
        if job.step is Step.PREPARING and not plan.wants:
            self._ready(job)

    def _quantised(self, job: Job, end: TaskEnd) -> None:
        plan = plan_of(job)
        if end.quantisation is not None:
            about = {"model": plan.order.model.filename, "cached": end.cached}
            plan.quantisation = end.quantisation.report.model_copy(update=about)
            service = self._parts.pools.service(PREPARE_POOL)
            digest = end.quantisation.model_digest
            need = planning.inspecting(plan.order, digest, service)
            self._parts.want(job, Step.PREPARING, [need])
        elif end.refused and not end.unsupported:  # the samples are of no use: the user's mistake
            self._give_up(job, end)
        else:
            self._go_without(job, end)

    def _go_without(self, job: Job, end: TaskEnd) -> None:
        """Have the model race as it was given, with the reason why there is no other form."""
        plan = plan_of(job)
        if not plan.order.float_races:
            self._give_up(job, end)
            return
        plan.log = end.log
        if end.status is TaskStatus.QUARANTINED:
            plan.quarantined += end.reasons
        plan.quantisation = None
        plan.lacking = lacking(end.refused, end.reasons or ("the worker gave no outcome",))

    def _give_up(self, job: Job, end: TaskEnd) -> None:
        plan_of(job).log = end.log
        if end.status is TaskStatus.QUARANTINED:
            state = JobState.QUARANTINED
        else:
            state = JobState.REJECTED if end.refused else JobState.FAILED
        reasons = end.reasons or ("the model could not be prepared",)
        self._parts.ending.end(job, state, reasons)
