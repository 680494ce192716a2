"""What the core has counted of it: durations and events, as they happen."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from tinymlaas.contract.messages import JobState
from tinymlaas.contract.pool_messages import PREPARE_POOL, TaskEnd


class Meter(Protocol):
    """Takes notes; called by the core's thread, so no method may wait for anything."""

    def accepted(self, tenant: str) -> None:
        """Note that a request is a new job."""
        ...

    def refused(self) -> None:
        """Note that a message is no request, or its job's id another order's."""
        ...

    def waited(self, tenant: str, seconds: float) -> None:
        """Note how long a job has waited for its turn."""
        ...

    def staged(self, stage: str, seconds: float) -> None:
        """Note how long a job was in a stage: ``planning``, ``compiling`` or ``publishing``."""
        ...

    def merged(self, tenant: str) -> None:
        """Note that a job joins an action that another wants already."""
        ...

    def hit(self) -> None:
        """Note that a candidate's outcome was in the store."""
        ...

    def task_ended(self, end: TaskEnd, kind: str) -> None:
        """Note the end of a task, whether or not anybody still wants it; `kind` is of its work."""
        ...

    def ended(self, tenant: str, state: JobState, seconds: float) -> None:
        """Note the end of a job, recorded and published, and how long all of it took."""
        ...


class Unmetered:
    """`Meter` that notes nothing."""

    def accepted(self, tenant: str) -> None:
        """See `Meter.accepted`."""

    def refused(self) -> None:
        """See `Meter.refused`."""

    def staged(self, stage: str, seconds: float) -> None:
        """See `Meter.staged`."""

    def waited(self, tenant: str, seconds: float) -> None:
        """See `Meter.waited`."""

    def merged(self, tenant: str) -> None:
        """See `Meter.merged`."""

    def hit(self) -> None:
        """See `Meter.hit`."""

    def task_ended(self, end: TaskEnd, kind: str) -> None:
        """See `Meter.task_ended`."""

    def ended(self, tenant: str, state: JobState, seconds: float) -> None:
        """See `Meter.ended`."""


def kind_of(end: TaskEnd) -> str:
    """Return the kind of work that a task nobody wants any more was, as far as its end says."""
    if end.pool == PREPARE_POOL:
        return "quantise" if end.quantisation is not None else "inspect"
    return "judge" if end.accuracy is not None else "build"


class PoolNow(NamedTuple):
    """A pool at this moment: its live workers and how many are busy, actions waiting and out, and
    how long the oldest that no worker has begun has been wanted, in seconds.
    """

    workers: int
    busy: int
    waiting: int
    running: int
    oldest: float


class JobsNow(NamedTuple):
    """Unfinished jobs of a tenant in a state: how many, and the age of the oldest in seconds."""

    number: int
    oldest: float
