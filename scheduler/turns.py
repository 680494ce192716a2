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
        self._planned: Counter[tuple[str, int]] = Counter()
        self._by_tenant: Counter[str] = Counter()

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
        own = self._by_tenant[tenant]
        room = self._by_tenant.total() < self._policy.planned if own else True
        return room and self._planned[tenant, priority] < self._policy.lookahead

    def planned(self, job: Job, change: int) -> None:
        """Count `job` among the planned (1), or no more (-1)."""
        _add(self._planned, (job.tenant, job.priority), change)
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
        return not (len(self.queue) or self._asking or self._planned or self._by_tenant)


def _add(counter: Counter[K], key: K, change: int) -> None:
    counter[key] += change
    if not counter[key]:
        del counter[key]
