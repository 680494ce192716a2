"""Cuts an axis into runs of tiles, so that padding is tested outside the inner loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workers.compilers.tvm.schedule.nest import Guard


@dataclass(frozen=True)
class Segment:
    """`count` tiles of `size` points, the first at `start`, each `stride` after the last.

    In a `free` segment no guard on the axis can fail. In one that is not, either the tile
    stands at a known place (`count` is 1) or it is one point (`size` is 1).
    """

    start: int
    count: int
    stride: int
    size: int
    free: bool


def free_range(var: Any, extent: int, guards: Sequence[Guard], extents: dict[Any, int]) -> range:
    """Return the values of `var` at which none of `guards` fails, whatever the other variables.

    Each guard is affine, so the values are consecutive.
    """
    low, high = 0, extent
    for guard in guards:
        form = guard.affine
        slope, least = form.coefs[var], form.without(var).least(extents)
        if slope > 0:
            low = max(low, -(least // slope))
        else:
            high = min(high, least // -slope + 1)
    return range(low, high) if low < high else range(0)


def cut(extent: int, size: int, free: range, *, fixed_borders: bool) -> list[Segment]:
    """Return segments that cover 0 … `extent` - 1 once, in any order.

    With `fixed_borders` tiles start at multiples of `size` and those that are not free are
    segments of their own; otherwise the borders are single points.
    """
    if fixed_borders:
        return _fixed(extent, size, free)
    segments = _runs(free.start, len(free), size)
    left, right = (free.start, extent - free.stop) if free else (extent, 0)
    if left == right == 1:
        return [Segment(0, 2, extent - 1, 1, free=False), *segments]
    borders = [(0, left), (free.stop, right)]
    return [Segment(at, n, 1, 1, free=False) for at, n in borders if n] + segments


def _runs(start: int, length: int, size: int) -> list[Segment]:
    full, rest = divmod(length, size)
    segments = [Segment(start, full, size, size, free=True)] if full else []
    if rest:
        segments.append(Segment(start + full * size, 1, rest, rest, free=True))
    return segments


def _fixed(extent: int, size: int, free: range) -> list[Segment]:
    segments: list[Segment] = []
    for start in range(0, extent, size):
        width = min(size, extent - start)
        is_free = start in free and start + width - 1 in free
        last = segments[-1] if segments else None
        if is_free and last is not None and last.free and last.size == width:
            segments[-1] = Segment(last.start, last.count + 1, size, size, free=True)
        else:
            segments.append(Segment(start, 1, width, width, free=is_free))
    return segments
