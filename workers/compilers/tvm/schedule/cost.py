"""Counts the instructions of a tiling by the loads, operations and loops it needs.

The counts are those of straightforward code for an in-order core: one instruction for a load
with a constant offset, one for a multiply-add, one to move each pointer on, two to close a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import prod

from workers.compilers.tvm.schedule.machine import Machine
from workers.compilers.tvm.schedule.profile import Access, Profile
from workers.compilers.tvm.schedule.terms import Axis
from workers.compilers.tvm.schedule.tiling import Tiling, segments_of

_SETUP = 8
_OUTER_LOOP = 6
_CLOSE_LOOP = 2


def cost(known: Profile, tiling: Tiling, machine: Machine) -> float:
    """Return the estimated price of `tiling`: instructions executed, and the code at its price.

    Infinite if the tile's accumulators and operands do not fit the registers.
    """
    pieces = [segments_of(axis, size, tiling, known.guards) for axis, size in tiling.tile]
    tiled = {axis for axis, _ in tiling.tile}
    around = prod(axis.extent for axis in known.nest.spatial if axis not in tiled)
    executed = code = 0.0
    bodies: dict[tuple[int, ...], _Body] = {}
    for choice in product(*pieces):
        sizes = tuple(segment.size for segment in choice)
        if sizes not in bodies:
            bodies[sizes] = _Body(known, tiling, machine, sizes)
        body = bodies[sizes]
        if not body.fits:
            return float("inf")
        runs = around * prod(segment.count for segment in choice)
        tile = zip(tiling.tile, choice, strict=True)
        share = prod(known.share(axis, segment) for (axis, _), segment in tile)
        executed += runs * (body.once + share * body.repeated)
        code += body.code
    return executed + machine.code_price * code


class _Body:
    """The code for one tile: what runs `once` a tile, what is `repeated` by its loops."""

    def __init__(
        self, known: Profile, tiling: Tiling, machine: Machine, sizes: Sequence[int]
    ) -> None:
        looped = tiling.looped(known.nest)
        results = prod(sizes)
        spans = _spans(known, tiling, sizes, looped)
        counts = [_distinct(access, spans) for access in known.operands]
        pointers = sum(_pointers(access, spans, machine) for access in known.operands)
        updates = results * prod(axis.extent for axis in tiling.unrolled) * tiling.step
        inside = sum(counts) + updates * known.operation
        close = _CLOSE_LOOP + pointers if looped else 0
        inner = prod(axis.extent for axis in looped) // tiling.step
        outer = sum(prod(a.extent for a in looped[:n]) for n in range(1, len(looped)))
        tail = results * known.result_work
        tail += sum(_distinct(access, spans) for access in known.result_loads)
        self.code = inside + close + results + tail + _OUTER_LOOP * len(looped)
        self.repeated = inner * (inside + close)
        self.once = outer * (_OUTER_LOOP + pointers) + results + tail + _SETUP + pointers
        # the values of all operands but the most numerous stay, that one streams through
        live = (sum(counts) - max(counts, default=0)) // tiling.step + (1 if counts else 0)
        if known.on_fpu:
            self.fits = results + live <= machine.float_registers
        else:
            self.fits = results == 1 or results + live + pointers + 1 <= machine.int_registers


def _spans(
    known: Profile, tiling: Tiling, sizes: Sequence[int], looped: Sequence[Axis]
) -> tuple[int, ...]:
    """Return how many values of each axis one execution of the innermost body covers."""
    covered = {axis: size for (axis, _), size in zip(tiling.tile, sizes, strict=True)}
    covered |= {axis: axis.extent for axis in tiling.unrolled}
    if looped:
        covered[looped[-1]] = tiling.step
    return tuple(covered.get(axis, 1) for axis in known.axes)


def _distinct(access: Access, spans: tuple[int, ...]) -> int:
    """Return how many different elements one execution of the body loads."""
    return prod(spans) if access.coefs is None else len(_offsets(access.coefs, spans))


def _pointers(access: Access, spans: tuple[int, ...], machine: Machine) -> int:
    """Return the pointers an access needs: one for each range that constant offsets reach."""
    if access.coefs is None:
        return 1
    reach = (machine.float_reach if access.on_fpu else machine.int_reach) // access.itemsize
    count, end = 0, None
    for value in _offsets(access.coefs, spans):
        if end is None or value >= end:
            count, end = count + 1, value + reach
    return count


@lru_cache(maxsize=4096)
def _offsets(coefs: tuple[int, ...], spans: tuple[int, ...]) -> tuple[int, ...]:
    """Return the distinct offsets in increasing order."""
    values = {0}
    for coef, span in zip(coefs, spans, strict=True):
        if coef and span > 1:
            values = {value + coef * i for value in values for i in range(span)}
    return tuple(sorted(values))
