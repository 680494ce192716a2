"""A tiling of a nest, and what is known about each of its segments."""

from __future__ import annotations

from dataclasses import dataclass

from workers.compilers.tvm.schedule.nest import Guard, Nest
from workers.compilers.tvm.schedule.segments import Segment, cut, free_range
from workers.compilers.tvm.schedule.terms import Axis


@dataclass(frozen=True)
class Tiling:
    """How a nest is run.

    `tile` holds the spatial axes of which several points are computed at once, with the number
    of points; `unrolled` are reduction axes without a loop, innermost; `step` points of the
    innermost looped reduction axis are done in one iteration. Tiles of the guarded axis are cut
    as `segments.cut` does with `fixed_borders`.
    """

    tile: tuple[tuple[Axis, int], ...] = ()
    unrolled: tuple[Axis, ...] = ()
    step: int = 1
    fixed_borders: bool = False

    def looped(self, nest: Nest) -> tuple[Axis, ...]:
        """Return the reduction axes that have a loop, outermost first."""
        return tuple(axis for axis in nest.reduce if axis not in self.unrolled)


@dataclass(frozen=True)
class GuardMap:
    """Which guards belong to which spatial axis, and which axes may be tiled at all."""

    by_axis: dict[Axis, tuple[Guard, ...]]
    tileable: tuple[Axis, ...]
    free: dict[Axis, range]


def map_guards(nest: Nest) -> GuardMap:
    """Return the guards of `nest` by spatial axis.

    An axis may be tiled if every guard on it is affine and has no other spatial axis in it.
    """
    by_axis: dict[Axis, tuple[Guard, ...]] = {}
    tileable: list[Axis] = []
    free: dict[Axis, range] = {}
    reduced = {axis.var for axis in nest.reduce}
    for axis in nest.spatial:
        guards = tuple(g for g in nest.guards if axis.var in g.variables)
        by_axis[axis] = guards
        if all(g.form is not None and g.variables <= {axis.var} | reduced for g in guards):
            tileable.append(axis)
            free[axis] = free_range(axis.var, axis.extent, guards, nest.extents)
    return GuardMap(by_axis, tuple(tileable), free)


def segments_of(axis: Axis, size: int, tiling: Tiling, guards: GuardMap) -> list[Segment]:
    """Return the segments of a tiled `axis`."""
    fixed = tiling.fixed_borders and bool(guards.by_axis[axis])
    return cut(axis.extent, size, guards.free[axis], fixed_borders=fixed)


def clamps(guard: Guard, axis: Axis, nest: Nest) -> bool:
    """Return whether bounds of a loop over `axis` can stand for `guard`.

    Of the reduction axes only `axis` may be in it, and with a slope of ±1: a quotient in the
    bounds would end up in indices, and FlattenBuffer gets some of those wrong.
    """
    if guard.form is None or abs(guard.form.coefs.get(axis.var, 0)) != 1:
        return False
    return not any(other.var in guard.variables for other in nest.reduce if other is not axis)
