"""Tasks that were given back because their workers never came to an end, until they are judged."""

from __future__ import annotations

from scheduler.deaths import DEATHS, Death, DeathToll, at_work, cause, guilty
from scheduler.wanted import Action
from scheduler.workers_seen import WorkersSeen
from tinymlaas.contract.pool_messages import TaskEnd, TaskStatus


class Suspects:
    """Holds them for as long as their workers have the time to be heard of."""

    def __init__(self, seconds: float) -> None:
        """Hold each for `seconds`."""
        self._seconds = seconds
        self._toll = DeathToll()
        self._held: dict[str, Action] = {}

    def died(self, worker: str, action: str | None, now: float) -> None:
        """Note that a worker has fallen silent, at `action` or idle."""
        self._toll.add(Death(worker, action, now))

    def add(self, action: Action, now: float) -> None:
        """Hold a task that its worker has given back."""
        action.deliveries += 1 if action.suspect else DEATHS
        action.suspected = now
        action.suspicions += 1
        self._held[action.need.action] = action

    def forget(self, digest: str) -> None:
        """Hold an action no longer."""
        self._held.pop(digest, None)

    def due(self, now: float) -> list[Action]:
        """Return what has been held for long enough."""
        return [a for a in self._held.values() if now - (a.suspected or 0.0) > self._seconds]

    def judge(self, action: Action, workers: WorkersSeen, now: float) -> TaskEnd | None:
        """Return the end of an action that has killed its workers, None for one to be sent again.

        Whoever was at work on it and has not been heard of since it was given back has died at it.
        """
        since = action.suspected or 0.0
        action.died += [
            standing
            for worker, standing in action.begun.items()
            if (workers.last_word(worker) or 0.0) <= since and at_work(standing)
        ]
        action.suspected, action.begun = None, {}
        self.forget(action.need.action)
        needed = self._toll.needed(action.need.action, now)
        if not guilty(len(action.died), action.suspicions, needed):
            return None
        return TaskEnd(
            task_id=action.task_id,
            action=action.need.action,
            pool=action.need.pool,
            worker=action.died[-1].worker if action.died else "unknown",
            status=TaskStatus.QUARANTINED,
            reasons=(cause(action.died, action.deliveries),),
        )
