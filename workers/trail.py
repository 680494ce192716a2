"""Who follows each task through the worker, for logs and traces."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from tinymlaas.contract.pool_messages import TaskEnd, TaskSent


class Following(Protocol):
    """One delivery of a task."""

    @property
    def traceparent(self) -> str | None:
        """W3C trace context of what is told meanwhile."""
        ...

    def telling(self, end: TaskEnd) -> str | None:
        """Note that the end is known; return the trace context in which it is told, now."""
        ...


class Trail(Protocol):
    """Takes notes; no method may wait for anything."""

    def following(self, message: TaskSent, deliveries: int) -> AbstractContextManager[Following]:
        """Follow a task, delivered for the `deliveries`-th time, within the context."""
        ...


class _AsSent:
    """`Following` that has all told in the trace that the task came in."""

    def __init__(self, message: TaskSent) -> None:
        self.traceparent = message.traceparent

    def telling(self, end: TaskEnd) -> str | None:
        return self.traceparent


class Untrailed:
    """`Trail` that notes nothing."""

    @contextlib.contextmanager
    def following(self, message: TaskSent, deliveries: int) -> Iterator[Following]:
        """See `Trail.following`."""
        yield _AsSent(message)
