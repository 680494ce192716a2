"""Tasks that were given back because their workers never came to an end, until they are judged."""

from __future__ import annotations

import math
from collections.abc import Collection

from scheduler.deaths import Death, DeathToll, at_work, cause, enough, guilty
from scheduler.wanted import Action, Pool
from tinymlaas.contract.pool_messages import TaskEnd, TaskStanding, TaskStatus

_MOST_PAUSE = 20.0  # times as long as a worker may be silent
_WATCH = 2.0  # so long, too: for those that died in its first half are known by its end
_LATE_SECONDS = 1.0  # may a word be that was said before a death and comes after what followed


class Suspects:
    """Holds them for as long as their workers have the time to be heard of.

    A verdict that cannot be taken back waits for more: until we have listened for a while, and for
    whoever else has been silent for so long that it may have died too.
    """

    def __init__(self, seconds: float) -> None:
        """Take workers for dead that are silent for `seconds`."""
        self._seconds = seconds
        self._toll = DeathToll()
        self._held: dict[str, Action] = {}
        self._sent_again: dict[str, Action] = {}  # of those that have deaths
        self._heard = -math.inf  # when anybody was heard of last
        self._listening = 0.0  # since when, without a gap

    def heard(self, worker: str, now: float) -> None:
        """Note that a worker lives, so that it has died of nothing."""
        if now - self._heard > self._seconds:
            self._listening = now
        self._heard = now
        self._toll.lives(worker)
        for action in self._sent_again.values():
            action.died.pop(worker, None)
        for action in self._held.values():
            if now - (action.suspected or 0.0) > _LATE_SECONDS:
                action.begun.pop(worker, None)

    def left(self, worker: str) -> None:
        """Note that a worker has ended in good order: its silence is no death."""
        for action in self._held.values():
            action.begun.pop(worker, None)

    def died(self, worker: str, action: str | None, now: float) -> None:
        """Note that a worker has fallen silent, at `action` or idle."""
        self._toll.add(Death(worker, action, now))

    def add(self, action: Action, now: float) -> None:
        """Hold a task that its worker has given back."""
        action.deliveries += action.patience
        action.suspected = now
        action.suspicions += 1
        self._held[action.need.action] = action

    def forget(self, digest: str) -> None:
        """Forget an action."""
        self._held.pop(digest, None)
        self._sent_again.pop(digest, None)

    def due(self, pools: Collection[Pool]) -> list[Action]:
        """Return what has been held for long enough; of `pools` we know all workers.

        As long as nobody at all is heard of, it may be we who hear nothing, and no time passes.
        """
        now = self._heard
        clear = not any(pool.workers.doubtful(now) for pool in pools)
        known = {pool.name: pool for pool in pools}
        found = []
        for action in self._held.values():
            held = now - (action.suspected or 0.0) - self._pause(action)
            if held <= 0.0:
                continue
            harmless = not enough(self._died(action, known[action.need.pool]))
            watched = now - self._listening >= _WATCH * self._seconds
            if harmless or (watched and (clear or held > _WATCH * self._seconds)):
                found.append(action)
        return found

    def _pause(self, action: Action) -> float:
        """Return how long to hold it: the longer, the more workers it has seen die."""
        times = 2.0 ** (action.suspicions - 1) if action.died else 1.0
        return self._seconds * min(times, _MOST_PAUSE)

    def _died(self, action: Action, pool: Pool) -> dict[str, TaskStanding]:
        """Return the last words of all that have died at `action`, by their names.

        Whoever was at work on it and has not been heard of since it was given back is dead.
        """
        since = (action.suspected or 0.0) + _LATE_SECONDS
        return action.died | {
            worker: standing
            for worker, standing in action.begun.items()
            if (pool.workers.last_word(worker) or 0.0) <= since and at_work(standing)
        }

    def judge(self, action: Action, pool: Pool, now: float) -> TaskEnd | None:
        """Return the end of an action that kills its workers, None for one to be sent again."""
        action.died = self._died(action, pool)
        for each in self._held.values():
            self._toll.blame(each.need.action, {*each.begun, *each.died})
        others = self._toll.others(action.need.action, self._held, now)
        action.suspected, action.begun = None, {}
        self.forget(action.need.action)
        if not guilty(len(action.died), action.suspicions, others):
            if action.died:
                self._sent_again[action.need.action] = action
            return None
        self._toll.explained(action.need.action)
        return TaskEnd(
            task_id=action.task_id,
            action=action.need.action,
            pool=action.need.pool,
            worker=[*action.died][-1] if action.died else "unknown",
            status=TaskStatus.QUARANTINED,
            reasons=(cause(action.died.values(), action.deliveries, others),),
        )
