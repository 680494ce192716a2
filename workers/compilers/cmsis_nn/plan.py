"""Static memory plan: every buffer's place in the arena, by liveness.

Best fit: of all gaps a buffer fits into at every moment it lives, the one that leaves least. The
order in which buffers are placed decides the result, so several orders are tried and the
smallest arena wins; all of it is deterministic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

_SHUFFLES = 200


@dataclass(frozen=True)
class Buffer:
    """`size` bytes needed from step `first` to step `last`, both included, at this alignment."""

    size: int
    first: int
    last: int
    alignment: int = 4


@dataclass(frozen=True)
class Plan:
    """Offset of each buffer, in the order given, and the arena's size in bytes."""

    offsets: tuple[int, ...]
    size: int


def plan(buffers: Sequence[Buffer]) -> Plan:
    """Return the smallest plan found for `buffers`."""
    best: Plan | None = None
    bound = lower_bound(buffers)
    for order in _orders(buffers):
        found = _place(buffers, order)
        if best is None or found.size < best.size:
            best = found
        if best.size <= bound:
            break
    return best or Plan((), 0)


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """Return the bytes that live at once at the busiest step: no plan can be smaller."""
    moments = {buffer.first for buffer in buffers}
    return max((sum(b.size for b in buffers if b.first <= t <= b.last) for t in moments), default=0)


def _orders(buffers: Sequence[Buffer]) -> Iterable[list[int]]:
    numbers = range(len(buffers))
    keys: tuple[Callable[[int], tuple[int, ...]], ...] = (
        lambda n: (-buffers[n].size, buffers[n].first, n),
        lambda n: (-buffers[n].size * (buffers[n].last - buffers[n].first + 1), n),
        lambda n: (buffers[n].first - buffers[n].last, -buffers[n].size, n),
        lambda n: (buffers[n].first, -buffers[n].size, n),
    )
    for key in keys:
        yield sorted(numbers, key=key)
    random = Random(0)  # noqa: S311 - the same orders every time, nothing secret
    start = sorted(numbers, key=keys[0])
    for _ in range(_SHUFFLES):
        order = list(start)
        for _ in range(max(1, len(order) // 6)):
            i, j = random.randrange(len(order)), random.randrange(len(order))
            order[i], order[j] = order[j], order[i]
        yield order


def _place(buffers: Sequence[Buffer], order: Iterable[int]) -> Plan:
    offsets = [0] * len(buffers)
    placed: list[int] = []
    for number in order:
        offsets[number] = _best_gap(buffers, offsets, placed, buffers[number])
        placed.append(number)
    size = max((o + b.size for o, b in zip(offsets, buffers, strict=True)), default=0)
    return Plan(tuple(offsets), size)


def _best_gap(
    buffers: Sequence[Buffer], offsets: Sequence[int], placed: Iterable[int], new: Buffer
) -> int:
    taken = sorted(
        (offsets[n], offsets[n] + buffers[n].size)
        for n in placed
        if buffers[n].first <= new.last and new.first <= buffers[n].last
    )
    best: tuple[int, int] | None = None  # (waste, offset)
    end = 0
    for low, high in taken:
        start = -(-end // new.alignment) * new.alignment
        if start + new.size <= low and (best is None or low - end < best[0]):
            best = (low - end, start)
        end = max(end, high)
    return best[1] if best else -(-end // new.alignment) * new.alignment
