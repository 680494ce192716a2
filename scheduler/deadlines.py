"""When which job must have ended."""

from __future__ import annotations

import heapq
from collections.abc import Container, Iterator, Sized
from typing import Protocol

from scheduler.effects import Key

_STALE = 1000


class _Keys(Sized, Container[Key], Protocol):
    """The jobs there are."""


class Deadlines:
    """A heap of deadlines; those of ended jobs are removed when there are many."""

    def __init__(self, jobs: _Keys) -> None:
        """Know which `jobs` there are still."""
        self._jobs = jobs
        self._heap: list[tuple[float, Key]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, at: float, key: Key) -> None:
        """Have `key` due at `at`."""
        heapq.heappush(self._heap, (at, key))
        if len(self._heap) > 2 * len(self._jobs) + _STALE:
            self._heap = sorted(entry for entry in self._heap if entry[1] in self._jobs)

    def due(self, now: float) -> Iterator[tuple[float, Key]]:
        """Yield what is due, with when it was; the jobs may have ended."""
        while self._heap and self._heap[0][0] <= now:
            yield heapq.heappop(self._heap)
