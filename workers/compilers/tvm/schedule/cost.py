"""Counts the instructions of a tiling by the loads, operations and loops it needs.

The counts are those of straightforward code for an in-order core: one instruction for a load
with a constant offset, one for a multiply-add, one to move each pointer on, two to close a loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir import Call

from workers.compilers.tvm.schedule.machine import Machine
from workers.compilers.tvm.schedule.nest import Nest
from workers.compilers.tvm.schedule.segments import Segment
from workers.compilers.tvm.schedule.terms import Axis, Expr, Linear, analyzer, loads, offset
from workers.compilers.tvm.schedule.tiling import GuardMap, Tiling, segments_of

CODE_PRICE = 200
"""Executed instructions that one instruction less of code is worth."""

_CALL = 40
_SETUP = 8
_OUTER_LOOP = 6
_CLOSE_LOOP = 2


@dataclass(frozen=True)
class _Access:
    form: Linear | None
    itemsize: int
    is_float: bool


@dataclass(frozen=True)
class Profile:
    """What `cost` needs of a nest, gathered once."""

    nest: Nest
    guards: GuardMap
    operands: tuple[_Access, ...]
    operation: int
    result_loads: tuple[_Access, ...]
    result_work: int
    is_float: bool


def profile(nest: Nest, guards: GuardMap, machine: Machine) -> Profile:
    """Return the profile of `nest` on `machine`."""
    is_float = str(nest.acc.ty.dtype).startswith("float")
    simplify = analyzer((*nest.spatial, *nest.reduce)).simplify
    return Profile(
        nest,
        guards,
        operands=_accesses(nest.update, simplify),
        operation=_work(nest.update, machine, is_float=is_float),
        result_loads=_accesses(nest.result, simplify),
        result_work=_work(nest.result, machine, is_float=is_float) + 1,
        is_float=is_float,
    )


def _accesses(expr: Expr, simplify: Any) -> tuple[_Access, ...]:
    found: list[_Access] = []
    for load in loads(expr):
        dtype = str(load.source.ty.dtype)
        size = max(1, int("".join(filter(str.isdigit, dtype)) or 8) // 8)
        form = offset(load.source, load.indices, simplify)
        found.append(_Access(form, size, dtype.startswith("float")))
    return tuple(found)


def _work(expr: Expr, machine: Machine, *, is_float: bool) -> int:
    """Return the instructions of `expr` without loads; a product and a sum are one."""
    count = {"mul": 0, "add": 0, "other": 0}

    def visit(node: Any) -> None:
        if isinstance(node, tirx.Mul):
            count["mul"] += 1
        elif isinstance(node, tirx.Add | tirx.Sub):
            count["add"] += 1
        elif isinstance(node, tirx.Max | tirx.Min | tirx.Select):
            count["other"] += 4
        elif isinstance(node, Call | tirx.Div):
            count["other"] += _CALL

    values = tvm_ffi.structural_map(expr, (tirx.Cast, lambda cast: cast.value))
    tvm_ffi.structural_walk(_without_indices(values), (tvm_ffi.core.Object, visit))
    arithmetic = max(count["mul"], count["add"])
    if is_float and not machine.float_registers:
        return (arithmetic + count["other"]) * machine.float_cost
    return arithmetic * (machine.float_cost if is_float else 1) + count["other"]


def _without_indices(expr: Expr) -> Expr:
    from tvm.ir import TensorLoad

    def load(node: Any) -> Any:
        return tirx.BufferLoad(node.source, [tirx.const(0, "int32") for _ in node.indices])

    return tvm_ffi.structural_map(expr, (TensorLoad, load))


def cost(known: Profile, tiling: Tiling, machine: Machine) -> float:
    """Return the estimated price of `tiling`: instructions executed, and code at `CODE_PRICE`.

    Infinite if the tile's accumulators and operands do not fit the registers.
    """
    pieces = [segments_of(axis, size, tiling, known.guards) for axis, size in tiling.tile]
    around = prod(a.extent for a in known.nest.spatial if a not in {t for t, _ in tiling.tile})
    executed, code = 0.0, 0.0
    for choice in product(*pieces):
        body = _Body(known, tiling, machine, choice)
        if not body.fits:
            return float("inf")
        runs = around * prod(segment.count for segment in choice)
        executed += runs * body.executed
        code += body.code
    return executed + CODE_PRICE * code


class _Body:
    """The code of one combination of segments."""

    def __init__(
        self, known: Profile, tiling: Tiling, machine: Machine, segments: Sequence[Segment]
    ) -> None:
        nest = known.nest
        sizes = [segment.size for segment in segments]
        results = prod(sizes)
        looped = tiling.looped(nest)
        spans = {axis.var: n for (axis, _), n in zip(tiling.tile, sizes, strict=True)}
        spans |= {axis.var: axis.extent for axis in tiling.unrolled}
        if looped:
            spans[looped[-1].var] = tiling.step
        counts = [_distinct(access, spans) for access in known.operands]
        pointers = sum(_windows(a, spans, machine) for a in known.operands)
        updates = results * prod(a.extent for a in tiling.unrolled) * tiling.step
        share = _share(known, tiling, segments)
        once = sum(counts) + updates * known.operation
        close = (_CLOSE_LOOP + pointers) if looped else 0
        inner = prod(axis.extent for axis in looped) // tiling.step
        outer = sum(prod(a.extent for a in looped[:n]) for n in range(1, len(looped)))
        tail = results * known.result_work
        tail += sum(_distinct(access, spans) for access in known.result_loads)
        self.code = once + close + results + tail + _OUTER_LOOP * len(looped)
        self.executed = share * inner * (once + close) + outer * (_OUTER_LOOP + pointers)
        self.executed += results + tail + _SETUP + pointers
        self.fits = _fits(known, machine, results, counts, pointers, tiling.step)


def _fits(
    known: Profile, machine: Machine, results: int, counts: list[int], pointers: int, step: int
) -> bool:
    # the values of all operands but the most numerous stay, that one streams through
    live = (sum(counts) - max(counts, default=0)) // step + (1 if counts else 0)
    if known.is_float and machine.float_registers:
        return results + live <= machine.float_registers
    return results == 1 or results + live + pointers + 1 <= machine.int_registers


def _offsets(access: _Access, spans: dict[Any, int]) -> Iterable[int]:
    assert access.form is not None
    values = {0}
    for var, extent in spans.items():
        coef = access.form.coefs.get(var, 0)
        if coef:
            values = {value + coef * i for value in values for i in range(extent)}
    return values


def _distinct(access: _Access, spans: dict[Any, int]) -> int:
    """Return how many different elements one execution of the body loads."""
    if access.form is None:
        return prod(spans.values())
    return len(set(_offsets(access, spans)))


def _windows(access: _Access, spans: dict[Any, int], machine: Machine) -> int:
    """Return the pointers an access needs: one for each range that constant offsets reach."""
    if access.form is None:
        return 1
    on_fpu = access.is_float and machine.float_registers
    reach = (machine.float_reach if on_fpu else machine.int_reach) // access.itemsize
    count, end = 0, None
    for value in sorted(_offsets(access, spans)):
        if end is None or value >= end:
            count, end = count + 1, value + reach
    return count


def _share(known: Profile, tiling: Tiling, segments: Sequence[Segment]) -> float:
    """Return the part of the updates that the guards on tiled axes let through."""
    share = 1.0
    for (axis, _), segment in zip(tiling.tile, segments, strict=True):
        if not segment.free:
            share *= _guarded_share(known, axis, segment)
    return share


def _guarded_share(known: Profile, axis: Axis, segment: Segment) -> float:
    guards = known.guards.by_axis[axis.var]
    extents = known.nest.extents
    inner = sorted({v for g in guards for v in g.variables} - {axis.var}, key=lambda v: v.name)
    points = [
        segment.start + tile * segment.stride + i
        for tile in range(segment.count)
        for i in range(segment.size)
    ]
    passed = total = 0
    for values in product(points[:8], *(range(extents[v]) for v in inner)):
        at = dict(zip([axis.var, *inner], values, strict=True))
        total += 1
        passed += all(_holds(g.form, at) for g in guards)
    return passed / max(total, 1)


def _holds(form: Linear | None, at: dict[Any, int]) -> bool:
    assert form is not None
    return form.const + sum(coef * at[var] for var, coef in form.coefs.items()) >= 0
