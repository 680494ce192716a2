"""Which workers a pool has, as their heartbeats say."""

from __future__ import annotations

from dataclasses import dataclass

from tinymlaas.contract.pool_messages import WorkerStanding

_DOUBTFUL = 2 / 3  # of the silence after which a worker is gone: two heartbeats have not come


@dataclass(slots=True)
class Seen:
    """What is known of a worker: when it was heard, what it does, and since when it says so.

    `told` is whether it has been told since to give that up.
    """

    seen: float
    action: str | None
    task: str
    since: float
    told: bool = False


class WorkersSeen:
    """The live workers of one pool."""

    def __init__(self, worker_seconds: float) -> None:
        """Forget workers not heard for `worker_seconds`."""
        self._limit = worker_seconds
        self._workers: dict[str, Seen] = {}

    def heard(self, standing: WorkerStanding, now: float) -> None:
        """Take a heartbeat."""
        if standing.leaving:
            self._workers.pop(standing.worker, None)
            return
        known, task = self._workers.get(standing.worker), standing.task_id or ""
        since = known.since if known is not None and known.task == task else now
        self._workers[standing.worker] = Seen(now, standing.action, task, since)

    def forget_silent(self, now: float) -> list[tuple[str, str | None]]:
        """Drop workers that are silent for too long and return each with the action it was at.

        What they did goes to others by itself.
        """
        silent = [(n, w.action) for n, w in self._workers.items() if now - w.seen > self._limit]
        for name, _ in silent:
            del self._workers[name]
        return silent

    def doubtful(self, now: float) -> bool:
        """Return whether one has been silent for so long that it may turn out to be gone."""
        return any(now - worker.seen > _DOUBTFUL * self._limit for worker in self._workers.values())

    def last_word(self, worker: str) -> float | None:
        """Return when `worker` was last heard, None if it is not known any more."""
        known = self._workers.get(worker)
        return known.seen if known is not None else None

    def count(self) -> int:
        """Return how many live."""
        return len(self._workers)

    def idle(self) -> int:
        """Return how many live and do nothing."""
        return sum(worker.action is None for worker in self._workers.values())

    def task_of(self, action: str) -> str | None:
        """Return the task by which one says it does `action`, or None if nobody does."""
        return next((w.task for w in self._workers.values() if w.action == action), None)

    def busy(self) -> list[Seen]:
        """Return those that are at something."""
        return [worker for worker in self._workers.values() if worker.action is not None]

    def finished(self, worker: str, action: str) -> None:
        """Note the end of a task, which its worker's next heartbeat will only repeat."""
        known = self._workers.get(worker)
        if known is not None and known.action == action:
            known.action = None
