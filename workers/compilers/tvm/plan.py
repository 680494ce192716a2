"""Places buffers in one arena by their lifetimes. Pure: knows nothing of models or TVM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Lifetime:
    """A buffer of `nbytes` needed from step `first` to step `last`, both inclusive."""

    nbytes: int
    first: int
    last: int

    def overlaps(self, other: Lifetime) -> bool:
        """Return whether both buffers are needed in some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """Byte offset of each buffer, in the order given, and the bytes of the whole arena."""

    offsets: tuple[int, ...]
    size: int


_Order = Callable[[Lifetime], tuple[int, ...]]

# No single greedy order is best for every network; the first is the one TFLite Micro uses.
_ORDERS: tuple[_Order, ...] = (
    lambda b: (-b.nbytes, b.first, b.last),
    lambda b: (-b.nbytes * (b.last - b.first + 1), b.first),
    lambda b: (-(b.last - b.first), -b.nbytes, b.first),
    lambda b: (b.first, -b.nbytes, b.last),
)


def place(buffers: Sequence[Lifetime], alignment: int = 16) -> Plan:
    """Return the smallest plan that greedy best fit finds over several orders.

    Buffers whose lifetimes overlap never overlap in the arena; every offset is a multiple of
    `alignment`. Empty buffers are at offset 0.
    """
    plans = [_best_fit(buffers, order, alignment) for order in _ORDERS]
    return min(plans, key=lambda plan: plan.size)


def _best_fit(buffers: Sequence[Lifetime], order: _Order, alignment: int) -> Plan:
    """Place the buffers in `order`, each into the tightest gap among those alive with it."""
    offsets = [0] * len(buffers)
    placed: list[int] = []
    for index in sorted(range(len(buffers)), key=lambda i: (*order(buffers[i]), i)):
        buffer = buffers[index]
        if buffer.nbytes == 0:
            continue
        busy = sorted(
            (offsets[i], offsets[i] + buffers[i].nbytes)
            for i in placed
            if buffers[i].overlaps(buffer)
        )
        offsets[index] = _tightest_gap(busy, buffer.nbytes, alignment)
        placed.append(index)
    size = max((offsets[i] + buffers[i].nbytes for i in placed), default=0)
    return Plan(tuple(offsets), align(size, alignment))


def _tightest_gap(busy: Sequence[tuple[int, int]], nbytes: int, alignment: int) -> int:
    """Return the offset in the smallest gap of `nbytes` between `busy` (sorted), else the end."""
    best: tuple[int, int] | None = None
    end = 0
    for start, stop in busy:
        room = start - end
        if room >= nbytes and (best is None or room < best[0]):
            best = (room, end)
        end = max(end, align(stop, alignment))
    return best[1] if best else end


def align(value: int, alignment: int) -> int:
    """Return the least multiple of `alignment` that is not below `value`."""
    return -(-value // alignment) * alignment
