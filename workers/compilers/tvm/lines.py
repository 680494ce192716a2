"""What the lines of a kernel do to memory, and what follows from it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Access:
    """One element of a buffer: the buffer's name and the C text of the index."""

    buffer: str
    index: str


@dataclass(frozen=True)
class Line:
    """One line of C. `target` is the buffer it declares or stores to (`store` the element), `loads`
    the elements it reads; `times` is how often it runs at most, None if that is not known.
    """

    text: str
    target: str | None = None
    store: Access | None = None
    loads: frozenset[Access] = frozenset()
    times: int | None = 1

    @property
    def reads(self) -> frozenset[str]:
        """Names of the buffers the line reads."""
        return frozenset(load.buffer for load in self.loads)


def live(lines: Sequence[Line], results: Collection[str]) -> list[Line]:
    """Return the lines without stores to buffers that nothing reads and that are no `results`.

    Fused functions compute all results of a group, also those the model has no use for.
    """
    kept = list(lines)
    while True:
        needed = set(results).union(*(line.reads for line in kept))
        fewer = [line for line in kept if line.target is None or line.target in needed]
        if len(fewer) == len(kept):
            return kept
        kept = fewer


def may_share(lines: Sequence[Line], source: str, result: str, elements: int) -> bool:
    """Return whether `result` may lie where `source` lies, both of `elements` elements of one type.

    That is so if an element of `source` is read only by a line that then stores the element of
    `result` with the same index, if `result` is never read, and if no element of it is stored
    twice: the stores, which reach all elements, then run `elements` times in all.
    """
    stores = 0
    for line in lines:
        if any(load.buffer == result for load in line.loads):
            return False
        loaded = {load.index for load in line.loads if load.buffer == source}
        if line.store is not None and line.store.buffer == result:
            if line.times is None or loaded - {line.store.index}:
                return False
            stores += line.times
        elif loaded or line.target in (source, result):
            return False
    return stores == elements
