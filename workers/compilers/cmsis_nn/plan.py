"""Static memory plan: every buffer's place in the arena, by liveness.

Best fit: of all gaps a buffer fits into at every moment it lives, the one that leaves least. The
order in which buffers are placed decides the result, so several orders are tried and the
smallest arena wins; all of it is deterministic.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

_SHUFFLES = 200
_WORK = 1_000_000  # comparisons of two buffers: what large models may take in planning


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
    """Return what the busiest step takes at least: no plan can be smaller.

    All offsets are multiples of the smallest alignment, so every buffer but the topmost takes
    its size rounded up to that.
    """
    unit = min((buffer.alignment for buffer in buffers), default=1)
    return max((_taken(buffers, t, unit) for t in {b.first for b in buffers}), default=0)


def _taken(buffers: Sequence[Buffer], moment: int, unit: int) -> int:
    sizes = [b.size for b in buffers if b.first <= moment <= b.last]
    slack = [-size % unit for size in sizes]
    return sum(sizes) + sum(slack) - max(slack)


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
    for _ in range(min(_SHUFFLES, _WORK // max(1, len(buffers) ** 2))):
        order = list(start)
        for _ in range(max(1, len(order) // 6)):
            i, j = random.randrange(len(order)), random.randrange(len(order))
            order[i], order[j] = order[j], order[i]
        yield order


def _place(buffers: Sequence[Buffer], order: Iterable[int]) -> Plan:
    offsets = [0] * len(buffers)
    placed: list[tuple[int, int, int, int]] = []  # (offset, end, first, last), sorted
    size = 0
    for number in order:
        new = buffers[number]
        offset = _best_gap(placed, new)
        insort(placed, (offset, offset + new.size, new.first, new.last))
        offsets[number] = offset
        size = max(size, offset + new.size)
    return Plan(tuple(offsets), size)


def _best_gap(placed: Iterable[tuple[int, int, int, int]], new: Buffer) -> int:
    wanted, alignment, first_needed, last_needed = new.size, new.alignment, new.first, new.last
    least, best = -1, -1
    end = 0
    for low, high, first, last in placed:
        if first > last_needed or first_needed > last:
            continue
        if low - end >= wanted and (least < 0 or low - end < least):
            start = -(-end // alignment) * alignment
            if start + wanted <= low:
                least, best = low - end, start
        end = max(end, high)
    return best if best >= 0 else -(-end // alignment) * alignment
