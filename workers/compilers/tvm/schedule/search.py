"""Chooses the tiling with the lowest cost among those worth trying."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import combinations
from math import prod

from workers.compilers.tvm.schedule.cost import cost
from workers.compilers.tvm.schedule.machine import Machine
from workers.compilers.tvm.schedule.nest import Nest
from workers.compilers.tvm.schedule.profile import Profile, profile
from workers.compilers.tvm.schedule.terms import Axis
from workers.compilers.tvm.schedule.tiling import (
    GuardMap,
    Tiling,
    map_guards,
    segments_of,
)

_SIZES = (1, 2, 3, 4, 5, 6, 8, 12, 16)
_STEPS = (1, 2, 4)
_MAX_UPDATES = 128
_MAX_UNROLLED = 16
_MAX_FIXED = 2
_FINALISTS = 6


def best_tiling(nest: Nest, machine: Machine) -> Tiling:
    """Return the cheapest tiling of `nest` for `machine`.

    Steps of the innermost loop only save loop overhead, so they are tried on the best few.
    """
    known = profile(nest, map_guards(nest), machine)
    limit = machine.float_registers if known.on_fpu else machine.int_registers
    ranked = _ranked(known, _candidates(known, limit), machine)[:_FINALISTS]
    stepped = (replace(t, step=n) for t in ranked for n in _steps(nest, t))
    return _ranked(known, (t for t in stepped if _updates(t) <= _MAX_UPDATES), machine)[0]


def _ranked(known: Profile, tilings: Iterable[Tiling], machine: Machine) -> list[Tiling]:
    """Return `tilings`, the cheapest first; of equals the earlier."""
    priced = [(cost(known, tiling, machine), tiling) for tiling in tilings]
    return [tiling for _, tiling in sorted(priced, key=lambda pair: pair[0])]


def _candidates(known: Profile, limit: int) -> Iterator[Tiling]:
    nest, guards = known.nest, known.guards
    for unrolled in _unrollings(nest):
        for tile in _tiles(guards, limit):
            for fixed in _border_styles(nest, Tiling(tile, unrolled), guards):
                tiling = Tiling(tile, unrolled, fixed_borders=fixed)
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
        if all(guards.by_axis[axis] for axis in pair):
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
    """Yield the steps of the innermost loop; one that a guard depends on takes single steps."""
    looped = tiling.looped(nest)
    if not looped:
        yield 1
        return
    inner = looped[-1]
    guarded = any(inner.var in guard.variables for guard in nest.guards)
    yield from (n for n in _STEPS if n == 1 or (not guarded and inner.extent % n == 0))


def _border_styles(nest: Nest, tiling: Tiling, guards: GuardMap) -> Iterator[bool]:
    """Yield whether to give border tiles code of their own, in which guards are decided.

    That needs the reduction axes of those guards unrolled; the other style needs them looped.
    """
    guarded = [(axis, n) for axis, n in tiling.tile if guards.by_axis[axis]]
    if not guarded:
        yield False
        return
    (axis, size), unrolled = guarded[0], {a.var for a in tiling.unrolled}
    on_axis = guards.by_axis[axis]
    if all(guard.variables - {axis.var} <= unrolled for guard in on_axis):
        fixed = Tiling(tiling.tile, tiling.unrolled, fixed_borders=True)
        pieces = segments_of(axis, size, fixed, guards)
        if sum(not piece.free for piece in pieces) <= _MAX_FIXED:
            yield True
    if not any(guard.variables & unrolled for guard in on_axis):
        yield False
