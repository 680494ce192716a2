"""What the core has counted of it: durations and events, as they happen."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tinymlaas.contract.messages import JobState
from tinymlaas.contract.pool_messages import TaskEnd


class Meter(Protocol):
    """Takes notes; called by the core's thread, so no method may wait for anything."""

    def waited(self, tenant: str, seconds: float) -> None:
        """Note how long a job has waited for its turn."""
        ...

    def merged(self, tenant: str) -> None:
        """Note that a job joins an action that another wants already."""
        ...

    def hit(self) -> None:
        """Note that a candidate's outcome was in the store."""
        ...

    def task_ended(self, end: TaskEnd) -> None:
        """Note the end of a task, whether or not anybody still wants it."""
        ...

    def ended(self, tenant: str, state: JobState, seconds: float) -> None:
        """Note the end of a job, recorded and published, and how long all of it took."""
        ...


class Unmetered:
    """`Meter` that notes nothing."""

    def waited(self, tenant: str, seconds: float) -> None:
        """See `Meter.waited`."""

    def merged(self, tenant: str) -> None:
        """See `Meter.merged`."""

    def hit(self) -> None:
        """See `Meter.hit`."""

    def task_ended(self, end: TaskEnd) -> None:
        """See `Meter.task_ended`."""

    def ended(self, tenant: str, state: JobState, seconds: float) -> None:
        """See `Meter.ended`."""


class PoolNow(NamedTuple):
    """A pool at this moment: its live workers and how many are busy, actions waiting and out."""

    workers: int
    busy: int
    waiting: int
    running: int
