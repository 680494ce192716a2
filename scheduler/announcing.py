"""How jobs stand, told to whoever watches or asks."""

from __future__ import annotations

from scheduler.actions import Actions
from scheduler.effects import Announce, Effect, Key
from scheduler.fair import FairQueue
from scheduler.jobs import Job
from scheduler.pools_known import PoolsKnown
from scheduler.ports import Clock
from scheduler.sending import SOURCE
from scheduler.standing import details_of, progress_of, standing_of
from tinymlaas.contract.messages import JobChanged, JobName, JobStanding


class Announcing:
    """Appends announcements to `effects`."""

    def __init__(self, effects: list[Effect], clock: Clock) -> None:
        """Append to `effects`, with times of `clock`."""
        self._effects = effects
        self._clock = clock
        self.count = 0

    def changed(self, job: Job) -> None:
        """Tell those who watch `job` its state and progress."""
        standing = JobStanding(
            tenant=job.tenant, job_id=job.job_id, state=job.state, **progress_of(job)
        )
        self._tell(standing, job, None)

    def answer(
        self,
        name: JobName,
        job: Job | None,
        queue: FairQueue[Key],
        actions: Actions,
        known: PoolsKnown,
    ) -> None:
        """Tell who asked; state None for a job that is not here (then see the store)."""
        if name.reply is None:
            return
        standing = JobStanding(tenant=name.tenant, job_id=name.job_id, state=None)
        if job is not None:
            standing = standing_of(job, queue, actions, known)
        if job is not None and name.details and job.order:
            details = details_of(job, actions, self._clock.seconds())
            standing = standing.model_copy(update={"details": details})
        self._tell(standing, job, name.reply)

    def _tell(self, standing: JobStanding, job: Job | None, reply: str | None) -> None:
        self.count += 1
        event = JobChanged(
            id=f"{standing.job_id}-{self._clock.seconds():.6f}-{self.count}",
            source=SOURCE,
            time=self._clock.utc(),
            traceparent=job.traceparent if job else None,
            data=standing,
        )
        self._effects.append(Announce(event, reply))
