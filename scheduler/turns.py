"""Whose job is planned next, and how many are planned at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import TypeVar

from scheduler.admission import Policy
from scheduler.effects import Key
from scheduler.fair import FairQueue
from scheduler.jobs import Job

K = TypeVar("K", bound=Hashable)


class Turns:
    """The queue before planning. Planned jobs take memory, so few of each tenant are."""

    def __init__(self, policy: Policy) -> None:
        """Begin with nobody waiting."""
        self._policy = policy
        self.queue: FairQueue[Key] = FairQueue(policy.weight)
        self._asking: set[Key] = set()
        self._planned: dict[Key, Job] = {}
        self._by_level: Counter[tuple[str, int]] = Counter()
        self._by_tenant: Counter[str] = Counter()
        self._parked: dict[Key, Job] = {}
        self._parked_by_tenant: Counter[str] = Counter()

    def wait(self, job: Job) -> None:
        """Have `job` wait for its turn."""
        self.queue.push(job.tenant, job.priority, job.key)

    def withdraw(self, job: Job) -> None:
        """Have `job` wait no more."""
        self.queue.discard(job.tenant, job.priority, job.key)

    def next(self) -> Key | None:
        """Return whose turn it is, if one more may be planned now."""
        if not len(self.queue) or len(self._asking) >= self._policy.planning:
            return None
        return self.queue.pop(self._may)

    def _may(self, tenant: str, priority: int) -> bool:
        most = self._policy.planned
        total = len(self._planned)
        room = total < most if self._by_tenant[tenant] else total < 2 * most
        return room and self._by_level[tenant, priority] < self._policy.lookahead

    def planned(self, job: Job) -> None:
        """Count `job` among the planned."""
        self._planned[job.key] = job
        self._count(job, 1)

    def dropped(self, job: Job) -> None:
        """Count `job` among the planned no more."""
        if self._parked.pop(job.key, None) is not None:
            _add(self._parked_by_tenant, job.tenant, -1)
        elif self._planned.pop(job.key, None) is not None:
            self._count(job, -1)

    def park(self, job: Job, away: bool) -> None:
        """Have a planned `job` keep no place from others while all it waits for is `away`.

        There is room for as many such jobs as for others, for one tenant's for a quarter of that.
        """
        most = self._policy.planned
        if away and job.key in self._planned:
            if len(self._parked) < most and self._parked_by_tenant[job.tenant] < most // 4:
                self._count(self._planned.pop(job.key), -1)
                self._parked[job.key] = job
                _add(self._parked_by_tenant, job.tenant, 1)
        elif not away and job.key in self._parked:
            self.dropped(job)
            self.planned(job)

    def jobs(self) -> list[Job]:
        """Return all jobs that are planned."""
        return [*self._planned.values(), *self._parked.values()]

    def _count(self, job: Job, change: int) -> None:
        _add(self._by_level, (job.tenant, job.priority), change)
        _add(self._by_tenant, job.tenant, change)

    def asking(self, key: Key) -> None:
        """Note that the store is being asked for a job."""
        self._asking.add(key)

    def answered(self, key: Key) -> None:
        """Note that the store is asked no more."""
        self._asking.discard(key)

    def asks(self) -> bool:
        """Return whether the store is being asked for any job."""
        return bool(self._asking)

    def idle(self) -> bool:
        """Return whether nothing waits or is planned."""
        return not (len(self.queue) or self._asking or self._planned or self._parked) and not (
            self._by_level or self._by_tenant or self._parked_by_tenant
        )


def _add(counter: Counter[K], key: K, change: int) -> None:
    counter[key] += change
    if not counter[key]:
        del counter[key]
