"""Whether a task kills its workers, or workers die anyway.

A worker that dies says nothing, and the system tells nobody who has sent a SIGKILL or whose memory
was too much. (A compiler that crashes by itself takes only its own process along: its worker lives
and tells. What is judged here is a whole worker, or its machine, that is gone.) The task's message
comes again with a higher count, but so it does when a connection is lost or the broker restarts. So
a worker that is given a task for the third time does not try it: it gives it back
(`TaskStatus.SUSPECT`), and the task is judged here, by what is heard of its earlier workers and of
all others.

- A worker that is heard of again has lost its connection only: no death, or one no longer. Nor
  has one died that has said it leaves.
- A worker that stays silent has died at the task, if it has said that the work itself has begun:
  as long as it only starts, the task has had no chance to harm it.
- `DEATHS` of these, and the task is quarantined, with what was last heard of it, if nothing else
  has died. Workers that died idle or at other tasks show that somebody or something else kills:
  each such thing demands one death more. Several deaths at one other task are one thing, as it may
  be their cause, and those at tasks that are suspects or were quarantined are none.
- The others that count are those since `_BEFORE_SECONDS` before its own first death. That a worker
  has died is known only once it has been silent for long, so judgement is passed late
  (`scheduler.suspects`), and the later the more deaths there were.
- A task that was given back `_SUSPICIONS` times is quarantined whatever else has died.

So where workers die at random a task is innocent until these times are over, or it has seen nine
deaths over some twenty minutes. That is evidence, not proof: an innocent job may be quarantined
if both workers that had it, and no others, are killed from outside, which nobody can tell from its
own doing, or all nine. Its order is kept, to be sent again.

A task that is not quarantined is sent again. What is counted is counted in memory: a scheduler
that takes over begins anew and watches for a while before it judges, which costs some more workers.
"""

from __future__ import annotations

from collections.abc import Collection, Sized
from dataclasses import dataclass, replace

from tinymlaas.contract.pool_messages import TaskStanding, WorkerStanding

DEATHS = 2
_BEFORE_SECONDS = 300.0
_SUSPICIONS = 8  # then it is the task, whatever is heard of the workers
_REMEMBERED = 1000  # deaths
STARTING, UNKNOWN = "starting", "at an unknown stage"


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that fell silent, and the action it was at; None if it was idle."""

    worker: str
    action: str | None
    at: float


class DeathToll:
    """The deaths of late, of all pools."""

    def __init__(self) -> None:
        """Begin with none."""
        self._dead: dict[str, Death] = {}  # by worker, in the order of time

    def add(self, death: Death) -> None:
        """Count a death."""
        self._dead[death.worker] = death
        while len(self._dead) > _REMEMBERED:
            del self._dead[next(iter(self._dead))]

    def lives(self, worker: str) -> None:
        """Take back the death of a worker that was only out of reach."""
        self._dead.pop(worker, None)

    def blame(self, action: str, workers: Collection[str]) -> None:
        """Note what these workers were at, whose last heartbeat may have been of another time."""
        for name in workers:
            if (known := self._dead.get(name)) is not None:
                self._dead[name] = replace(known, action=action)

    def explained(self, action: str) -> None:
        """Take back the deaths at an action that was found to be their cause."""
        self._dead = {name: each for name, each in self._dead.items() if each.action != action}

    def others(self, action: str, suspects: Collection[str], now: float) -> int:
        """Return how many other things died in the times of `action`; `suspects` do not count."""
        own = (each.at for each in self._dead.values() if each.action == action)
        since = min(own, default=now) - _BEFORE_SECONDS
        others = {each.action or each.worker for each in self._dead.values() if each.at >= since}
        return len(others - {action, *suspects})


def as_begun(standing: WorkerStanding) -> TaskStanding:
    """Return what a heartbeat says of its task."""
    return TaskStanding(
        task_id=standing.task_id or "0" * 32,
        action=standing.action or "",
        pool=standing.pool,
        worker=standing.worker,
        attempt=1,
        stage=UNKNOWN,
    )


def at_work(standing: TaskStanding) -> bool:
    """Return whether the worker has said that it had begun more than to start."""
    return standing.stage not in {STARTING, UNKNOWN}


def enough(died: Sized) -> bool:
    """Return whether these deaths are proof where nothing else dies."""
    return len(died) >= DEATHS


def guilty(deaths: int, suspicions: int, others: int) -> bool:
    """Return whether a task with these deaths, given back that often, is to be quarantined."""
    return deaths >= DEATHS + others or suspicions >= _SUSPICIONS


def cause(died: Collection[TaskStanding], deliveries: int, others: int) -> str:
    """Return in one line what is known of a task that was quarantined."""
    if not died:
        return f"it was delivered {deliveries} times and never came to an end"
    told = (f"{each.worker} while {each.stage}{_line(each)}" for each in died)
    beside = f"at {others} other things too" if others else "at nothing else"
    return (
        f"it killed its worker {len(died)} times: {'; '.join(told)}; "
        f"workers died {beside} in these times"
    )


def _line(standing: TaskStanding) -> str:
    return f" ({standing.line})" if standing.line else ""


def last_words(died: Collection[TaskStanding]) -> bytes | None:
    """Return the ends of the logs of a task's workers, as far as these were heard."""
    parts = [
        f"== {each.worker}, attempt {each.attempt}, {each.stage}: the log's end, as last heard\n"
        f"{each.tail or each.line}\n"
        for each in died
        if each.tail or each.line
    ]
    return "\n".join(parts).encode() if parts else None
