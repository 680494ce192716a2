"""How a job leaves: its plan is dropped, its end recorded and published, then it is let go."""

from __future__ import annotations

from collections import Counter

from scheduler.actions import Actions
from scheduler.admission import Admission
from scheduler.effects import Ack, Effect, Finish, Key
from scheduler.ends import conclusion, end_event
from scheduler.jobs import Job, Step
from scheduler.lately import Lately
from scheduler.meter import Meter
from scheduler.ports import Clock
from scheduler.trail import Trail
from scheduler.turns import Turns
from tinymlaas.contract.messages import JobEnded, JobState
from tinymlaas.contract.report import CompileResult


class Ending:
    """Ends `jobs`; what has to be done in the world is appended to `effects`."""

    def __init__(
        self,
        jobs: dict[Key, Job],
        effects: list[Effect],
        clock: Clock,
        turns: Turns,
        actions: Actions,
        meter: Meter,
        trail: Trail,
        count: Counter[JobState],
        lately: Lately,
    ) -> None:
        """Share the core's parts; `count` is of ended jobs by state, `lately` has the last."""
        self._jobs = jobs
        self._effects = effects
        self._clock = clock
        self._turns = turns
        self._actions = actions
        self._meter = meter
        self._trail = trail
        self._count = count
        self._lately = lately

    def conclude(self, job: Job) -> None:
        """End a job all of whose candidates have an outcome."""
        assert job.plan is not None  # noqa: S101 - for the type checker: it has candidates
        state, result = conclusion(job.plan)
        self.end(job, state, result.reasons, result)

    def end(
        self,
        job: Job,
        state: JobState,
        reasons: tuple[str, ...],
        result: CompileResult | None = None,
    ) -> None:
        """End a job as `state` says, unless the store has another end of it."""
        log = job.plan.last_words if job.plan and state is JobState.QUARANTINED else None
        self.finish(job, end_event(job, state, reasons, result, self._clock.utc(), log), log)

    def finish(self, job: Job, event: JobEnded, log: bytes | None = None) -> None:
        """Have `event` recorded as the end of `job`."""
        stage = job.before_end = job.state
        if stage is not JobState.QUEUED:
            self.staged(job, stage)
        job.since = self._clock.seconds()
        self._turns.withdraw(job)
        self.drop_plan(job)
        job.step = Step.ENDING
        self._trail.ending(job, event)
        self._lately.ending(job.key, event.data)
        self._effects.append(Finish(job.key, event, job.replies, log))

    def staged(self, job: Job, stage: str) -> None:
        """Note how long `job` was in a stage, which is over now."""
        now = self._clock.seconds()
        self._meter.staged(stage, now - job.since)
        job.since = now

    def drop_plan(self, job: Job) -> None:
        """Forget what a job needs; what nobody else wants is given up."""
        self._turns.answered(job.key)
        if job.plan is not None:
            self._actions.leave(job, sorted(job.plan.wants))
            job.plan = None
            self._turns.dropped(job)

    def finished(self, key: Key, state: JobState, admission: Admission) -> None:
        """Let go of a job whose record is kept and published; `state` is what the record says.

        One that has begun anew meanwhile, as its request was delivered again, finds its record.
        """
        job = self._jobs.get(key)
        if job is None or job.step is not Step.ENDING:
            return
        del self._jobs[key]
        if job.order:
            admission.release(job.tenant, job.order)
        self._count[state] += 1
        self._trail.finished(job, state)
        seconds = self._clock.seconds() - job.received
        self.staged(job, "publishing")
        self._meter.ended(job.tenant, state, seconds)
        self._lately.ended(key, state, self._clock.utc(), seconds)
        for token in job.tokens:
            self._effects.append(Ack(token))
