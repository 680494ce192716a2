"""Chooses the tiling with the lowest cost among those worth trying."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import prod

from workers.compilers.tvm.schedule.cost import Profile, cost, profile
from workers.compilers.tvm.schedule.machine import Machine
from workers.compilers.tvm.schedule.nest import Nest
from workers.compilers.tvm.schedule.terms import Axis
from workers.compilers.tvm.schedule.tiling import (
    GuardMap,
    Tiling,
    clamped_by,
    map_guards,
    segments_of,
)

_SIZES = (1, 2, 3, 4, 5, 6, 8, 12, 16)
_STEPS = (1, 2, 4)
_MAX_UPDATES = 128
_MAX_UNROLLED = 16
_MAX_FIXED = 2


def best_tiling(nest: Nest, machine: Machine) -> Tiling:
    """Return the cheapest tiling of `nest` for `machine`."""
    guards = map_guards(nest)
    known = profile(nest, guards, machine)
    best, lowest = Tiling(), cost(known, Tiling(), machine)
    for tiling in _candidates(known, machine):
        price = cost(known, tiling, machine)
        if price < lowest:
            best, lowest = tiling, price
    return best


def _candidates(known: Profile, machine: Machine) -> Iterator[Tiling]:
    nest, guards = known.nest, known.guards
    limit = max(machine.float_registers if known.is_float else 0, machine.int_registers)
    for unrolled in _unrollings(nest):
        for tile in _tiles(guards, limit):
            base = Tiling(tile, unrolled)
            for step in _steps(nest, base):
                for fixed in _border_styles(nest, base, guards):
                    tiling = Tiling(tile, unrolled, step, fixed_borders=fixed)
                    if _updates(tiling) <= _MAX_UPDATES:
                        yield tiling


def _updates(tiling: Tiling) -> int:
    return (
        prod(size for _, size in tiling.tile)
        * prod(axis.extent for axis in tiling.unrolled)
        * tiling.step
    )


def _tiles(guards: GuardMap, limit: int) -> Iterator[tuple[tuple[Axis, int], ...]]:
    yield ()
    for axis in guards.tileable:
        yield from (((axis, n),) for n in _SIZES if 1 < n <= min(axis.extent, limit))
    for pair in combinations(guards.tileable, 2):
        if all(guards.by_axis[axis.var] for axis in pair):
            continue  # at most one guarded axis: borders of both would multiply the code
        a, b = pair
        for n in _SIZES:
            for m in _SIZES:
                if 1 < n <= a.extent and 1 < m <= b.extent and n * m <= limit:
                    yield ((a, n), (b, m))


def _unrollings(nest: Nest) -> Iterator[tuple[Axis, ...]]:
    """Yield the sets of short reduction axes to unroll."""
    yield ()
    short = [axis for axis in nest.reduce if axis.extent <= _MAX_UNROLLED]
    for count in (1, 2):
        for axes in combinations(short, count):
            if prod(axis.extent for axis in axes) <= _MAX_UNROLLED:
                yield axes


def _steps(nest: Nest, tiling: Tiling) -> Iterator[int]:
    """Yield the steps of the innermost loop; one whose bounds a guard moves takes single steps."""
    looped = tiling.looped(nest)
    if not looped:
        yield 1
        return
    inner = looped[-1]
    guarded = any(clamped_by(guard, nest, looped) is inner.var for guard in nest.guards)
    yield from (n for n in _STEPS if n == 1 or (not guarded and inner.extent % n == 0))


def _border_styles(nest: Nest, tiling: Tiling, guards: GuardMap) -> Iterator[bool]:
    """Yield whether to give border tiles code of their own, in which guards are decided.

    That needs the reduction axes of those guards unrolled; the other style needs them looped.
    """
    guarded = [(axis, n) for axis, n in tiling.tile if guards.by_axis[axis.var]]
    if not guarded:
        yield False
        return
    (axis, size), unrolled = guarded[0], {a.var for a in tiling.unrolled}
    on_axis = guards.by_axis[axis.var]
    if all(guard.variables - {axis.var} <= unrolled for guard in on_axis):
        fixed = Tiling(tiling.tile, tiling.unrolled, fixed_borders=True)
        pieces = segments_of(axis, size, fixed, guards)
        if sum(not piece.free for piece in pieces) <= _MAX_FIXED:
            yield True
    if all(clamped_by(guard, nest, tiling.looped(nest)) is not None for guard in on_axis):
        yield False
