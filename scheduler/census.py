"""The unfinished jobs, counted and looked up, for whoever asks; nothing is decided here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from scheduler.effects import Key
from scheduler.jobs import Job, Step, state_at
from scheduler.meter import JobsNow
from scheduler.ports import Clock
from scheduler.turns import Turns
from tinymlaas.contract.messages import JobState

_COUNT_SECONDS = 0.9  # less than between two ticks


class Census:
    """Looks at `jobs`, which are in the order in which their requests came."""

    def __init__(self, jobs: Mapping[Key, Job], turns: Turns, clock: Clock) -> None:
        """Share the core's parts."""
        self._jobs = jobs
        self._turns = turns
        self._clock = clock
        self._counted: dict[tuple[str, JobState], JobsNow] = {}
        self._counted_at = float("-inf")

    def states(self) -> Counter[JobState]:
        """Return how many unfinished jobs are in each state."""
        return Counter(job.state for job in self._jobs.values())

    def now(self) -> dict[tuple[str, JobState], JobsNow]:
        """Return how many unfinished jobs each tenant has in each state, and how old they are.

        There may be 50,000, so a job costs a look at two fields; the first of those that are alike
        is the oldest of them.
        """
        alike: dict[tuple[str, Step, JobState | None], list[float]] = {}
        for job in self._jobs.values():
            kind = job.tenant, job.step, job.before_end
            if kind in alike:
                alike[kind][0] += 1
            else:
                alike[kind] = [1, job.received]
        now, found = self._clock.seconds(), dict[tuple[str, JobState], JobsNow]()
        for (tenant, step, before), (number, received) in alike.items():
            state = state_at(step, before)
            others, oldest = found.get((tenant, state), (0, 0.0))
            found[tenant, state] = JobsNow(others + int(number), max(oldest, now - received))
        return found

    def lately(self) -> dict[tuple[str, JobState], JobsNow]:
        """Return what `now` was within the last second: it is counted no oftener."""
        now = self._clock.seconds()
        if now - self._counted_at >= _COUNT_SECONDS:
            self._counted_at, self._counted = now, self.now()
        return self._counted

    def get(self, key: Key) -> Job | None:
        """Return an unfinished job."""
        return self._jobs.get(key)

    def at_work(self) -> list[Job]:
        """Return the jobs that are planned: a few thousand at most."""
        return self._turns.jobs()

    def waiting(self, of: str | None = None) -> Iterator[Job]:
        """Yield jobs that are not planned, of all tenants as they came, or of one as they go."""
        if of is not None:
            yield from map(self._jobs.__getitem__, self._turns.queue.waiting(of))
            return
        yield from (job for job in self._jobs.values() if job.plan is None)

    def seconds(self) -> float:
        """Return the time as jobs are stamped with it."""
        return self._clock.seconds()
