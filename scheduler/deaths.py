"""Whether a task kills its workers, or workers die anyway.

A worker that dies says nothing. Its task's message comes again with a higher count, but so it does
when a connection is lost or the broker restarts, and nothing can be added to a message that is in
the queue. So a worker that is given a task for the third time does not try it: it gives it back
(`TaskStatus.SUSPECT`), and the task is judged here, by what is heard of its earlier workers.

- A worker that is heard of again has lost its connection only: no death.
- A worker that stays silent has died at the task, if it has said that the work itself has begun:
  as long as it only starts, the task has had no chance to harm it.
- `DEATHS` of these, and the task is quarantined, with what was last heard of it.
- But where workers die at several other things too, two deaths at one task prove nothing: then
  it takes `DEATHS_AMONG_OTHERS`.

A task that is not quarantined is sent again. What is counted is counted in memory: a scheduler
that takes over begins anew, which may cost some more workers but never an innocent job.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tinymlaas.contract.pool_messages import TaskStanding

DEATHS = 2
DEATHS_AMONG_OTHERS = 5
_OTHERS = 3  # deaths at different other things, within
_RECENT_SECONDS = 300.0
_SUSPICIONS = 8  # then it is the task, whatever is heard of the workers
STARTING, UNKNOWN = "starting", "at an unknown stage"


@dataclass(frozen=True, slots=True)
class Death:
    """A worker that fell silent, and the action it was at; None if it was idle."""

    worker: str
    action: str | None
    at: float


class DeathToll:
    """The deaths of late."""

    def __init__(self) -> None:
        """Begin with none."""
        self._recent: deque[Death] = deque(maxlen=1000)

    def add(self, death: Death) -> None:
        """Count a death."""
        self._recent.append(death)

    def needed(self, action: str, now: float) -> int:
        """Return how many deaths at `action` show that it is the cause.

        Several at one other action are one thing, which has its own cause.
        """
        while self._recent and now - self._recent[0].at > _RECENT_SECONDS:
            self._recent.popleft()
        others = {each.action or each.worker for each in self._recent if each.action != action}
        return DEATHS_AMONG_OTHERS if len(others) >= _OTHERS else DEATHS


def at_work(standing: TaskStanding) -> bool:
    """Return whether the worker has said that it had begun more than to start."""
    return standing.stage not in {STARTING, UNKNOWN}


def guilty(deaths: int, suspicions: int, needed: int) -> bool:
    """Return whether a task with these deaths, given back that often, is to be quarantined."""
    return deaths >= needed or suspicions >= _SUSPICIONS


def cause(died: Sequence[TaskStanding], deliveries: int) -> str:
    """Return in one line what is known of a task that was quarantined."""
    if not died:
        return f"it was delivered {deliveries} times and never came to an end"
    told = (f"{each.worker} while {each.stage}{_line(each)}" for each in died)
    return f"it killed its worker {len(died)} times: {'; '.join(told)}"


def _line(standing: TaskStanding) -> str:
    return f" ({standing.line})" if standing.line else ""


def last_words(died: Sequence[TaskStanding]) -> bytes | None:
    """Return the ends of the logs of a task's workers, as far as these were heard."""
    parts = [
        f"== {each.worker}, attempt {each.attempt}, {each.stage}: the log's end, as last heard\n"
        f"{each.tail or each.line}\n"
        for each in died
        if each.tail or each.line
    ]
    return "\n".join(parts).encode() if parts else None
