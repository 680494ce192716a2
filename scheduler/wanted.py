"""What is wanted: one action for all jobs that want the same, and a queue for each pool."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from scheduler.admission import Policy
from scheduler.deaths import DEATHS, enough
from scheduler.effects import Key
from scheduler.fair import FairQueue
from scheduler.jobs import Job
from scheduler.planning import Need
from scheduler.workers_seen import WorkersSeen
from tinymlaas.contract.pool_messages import TaskStanding

_SMOOTHING = 0.2  # of the average of a pool's task seconds


@dataclass(slots=True, eq=False)
class Action:
    """One piece of work and the jobs that want it. `sent` is None while it waits.

    `begun` is what was last heard of each worker that has begun this sending of it, `died` that
    of workers that died at it; `suspected` says since when it is being judged. `patience` is how
    often this sending is delivered before it is given back untried. `idle_since` is since when it
    has been wanted, or wanted again, without that a worker has begun it.
    """

    need: Need
    waiters: dict[Key, Job] = field(default_factory=dict)
    task_id: str = ""
    sent: float | None = None
    seen: float = 0.0
    tries: int = 0
    retry_at: float | None = None
    killed: bool = False
    begun: dict[str, TaskStanding] = field(default_factory=dict)
    died: dict[str, TaskStanding] = field(default_factory=dict)
    suspected: float | None = None
    suspicions: int = 0
    deliveries: int = 0
    patience: int = DEATHS
    unseen: int = 0
    idle_since: float | None = None

    @property
    def suspect(self) -> bool:
        """Whether as many workers have died at it as are usually proof."""
        return enough(self.died)

    def idle(self, now: float) -> float:
        """Return the seconds that no worker has been at it, as far as it was asked: see `begun`."""
        if self.begun:
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = now
        return 0.0 if self.idle_since is None else now - self.idle_since


class Pool:
    """The queue of one pool: groups of a job's actions, and how many are out."""

    def __init__(self, name: str, policy: Policy) -> None:
        """Begin empty."""
        self.name = name
        self.workers = WorkersSeen(policy.worker_seconds)
        self.queue: FairQueue[Key] = FairQueue(policy.weight)
        self.groups: dict[Key, list[str]] = {}
        self.ready: deque[str] = deque()  # the rest of a group that is being sent
        self.out: set[str] = set()
        self.average: float | None = None

    def took(self, seconds: float) -> None:
        """Learn how long a task took."""
        before = seconds if self.average is None else self.average
        self.average = before + _SMOOTHING * (seconds - before)
