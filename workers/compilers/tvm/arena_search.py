"""Looks for an arena of a given size by depth-first search, where greedy placement wastes some."""

from __future__ import annotations

from collections.abc import Sequence

from workers.compilers.tvm.plan import Lifetime, Plan, align, place

_MAX_BUFFERS = 400
_MAX_TRIES = 20_000  # placements tried for one size: some tenths of a second
_STEPS = 4


def pack(buffers: Sequence[Lifetime], alignment: int = 16) -> Plan:
    """Return the smallest plan found: greedy first, then a search for sizes between its own and
    the least possible, the largest sum of buffers alive in one step.

    Deterministic. Offsets and overlaps are as `plan.place` says.
    """
    best = place(buffers, alignment)
    least = _least(buffers, alignment)
    if len(buffers) > _MAX_BUFFERS:
        return best
    for step in range(_STEPS):
        size = align(least + (best.size - least) * step // _STEPS, alignment)
        if size >= best.size:
            break
        found = _Search(buffers, alignment, size).run()
        if found is not None:
            return found
    return best


def _least(buffers: Sequence[Lifetime], alignment: int) -> int:
    starts = {buffer.first for buffer in buffers}
    return max(
        (
            sum(align(b.nbytes, alignment) for b in buffers if b.first <= step <= b.last)
            for step in starts
        ),
        default=0,
    )


class _Search:
    """Places buffers in the order of their first steps, going back when one has no room."""

    def __init__(self, buffers: Sequence[Lifetime], alignment: int, size: int) -> None:
        self._buffers = buffers
        self._alignment = alignment
        self._size = size
        self._offsets = [0] * len(buffers)
        self._tries = 0
        used = (i for i, buffer in enumerate(buffers) if buffer.nbytes)
        self._order = sorted(used, key=lambda i: (buffers[i].first, -buffers[i].nbytes, i))

    def run(self) -> Plan | None:
        """Return a plan of at most the size given, or None if none was found."""
        if not self._place(0):
            return None
        return Plan(tuple(self._offsets), self._size)

    def _place(self, depth: int) -> bool:
        if depth == len(self._order):
            return True
        index = self._order[depth]
        buffer = self._buffers[index]
        busy = [
            (self._offsets[i], self._offsets[i] + self._buffers[i].nbytes)
            for i in self._order[:depth]
            if self._buffers[i].overlaps(buffer)
        ]
        for offset in self._candidates(busy, buffer.nbytes):
            self._tries += 1
            if self._tries > _MAX_TRIES:
                return False
            self._offsets[index] = offset
            if self._place(depth + 1):
                return True
        return False

    def _candidates(self, busy: Sequence[tuple[int, int]], nbytes: int) -> list[int]:
        """Return the free offsets that touch an end of the arena or another buffer, low ones
        first: any plan can be pushed together until every buffer lies at one of them.
        """
        touching = {0, self._size - nbytes}
        for start, stop in busy:
            touching |= {align(stop, self._alignment), start - nbytes}
        down = {offset // self._alignment * self._alignment for offset in touching}
        return sorted(
            offset
            for offset in down
            if 0 <= offset <= self._size - nbytes
            and all(offset + nbytes <= start or stop <= offset for start, stop in busy)
        )
