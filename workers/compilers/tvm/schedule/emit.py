"""Writes a tiled nest out as TIR loops: accumulators in local variables, padding as loop bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from tvm import tirx

from workers.compilers.tvm.schedule.nest import Guard, Nest
from workers.compilers.tvm.schedule.segments import Segment
from workers.compilers.tvm.schedule.terms import Axis, Expr, const, substitute
from workers.compilers.tvm.schedule.tiling import (
    GuardMap,
    Tiling,
    clamped_by,
    map_guards,
    segments_of,
)

Statements = list[Any]


def emit(nest: Nest, tiling: Tiling) -> Any:
    """Return the statement that computes `nest` as `tiling` says."""
    guards = map_guards(nest)
    tiled = {axis for axis, _ in tiling.tile}
    outer = [axis for axis in nest.spatial if axis not in tiled]
    place: dict[Any, Expr] = {axis.var: axis.var for axis in outer}
    body = _sequence(_segments(nest, tiling, guards, place, ()))
    for axis in reversed(outer):
        body = _loop(axis.var, const(0, axis.var), const(axis.extent, axis.var), body)
    return body


def _segments(
    nest: Nest,
    tiling: Tiling,
    guards: GuardMap,
    place: dict[Any, Expr],
    chosen: tuple[Segment, ...],
) -> Statements:
    """Return the loops over the tiles of the next tiled axis, and all within them."""
    if len(chosen) == len(tiling.tile):
        return _Body(nest, tiling, guards, place, chosen).statements()
    axis, size = tiling.tile[len(chosen)]
    result: Statements = []
    for segment in segments_of(axis, size, tiling, guards):
        start, count = const(segment.start, axis.var), const(segment.count, axis.var)
        if segment.count == 1:
            here = {**place, axis.var: start}
            result += _segments(nest, tiling, guards, here, (*chosen, segment))
            continue
        tile = Axis.like(f"{axis.var.name}_t", segment.count, axis.var)
        base = tile.var * const(segment.stride, axis.var) + start
        inner = _segments(nest, tiling, guards, {**place, axis.var: base}, (*chosen, segment))
        result.append(_loop(tile.var, const(0, axis.var), count, _sequence(inner)))
    return result


@dataclass(frozen=True)
class _Body:
    """One tile: `place` gives the first point of each spatial axis."""

    nest: Nest
    tiling: Tiling
    guards: GuardMap
    place: dict[Any, Expr]
    segments: tuple[Segment, ...]

    def statements(self) -> Statements:
        nest = self.nest
        points = list(self._points())
        dtype = str(nest.acc.ty.dtype)
        acc = tirx.decl_buffer((len(points),), dtype, name="acc", scope="local")
        cells = [(acc, [tirx.IntImm("int32", n)]) for n in range(len(points))]
        start = [_store(c, substitute(nest.init, p)) for c, p in zip(cells, points, strict=True)]
        end = []
        for cell, point in zip(cells, points, strict=True):
            value = {**point, nest.acc: tirx.BufferLoad(*cell)}
            indices = [substitute(index, point) for index in nest.indices]
            end.append(_store((nest.out, indices), substitute(nest.result, value)))
        return [tirx.AllocBuffer(acc), *start, *self._reduction(cells, points), *end]

    def _points(self) -> Iterator[dict[Any, Expr]]:
        """Yield where each axis stands, for each point of the tile."""
        for steps in product(*(range(segment.size) for segment in self.segments)):
            point = dict(self.place)
            for (axis, _), step in zip(self.tiling.tile, steps, strict=True):
                point[axis.var] = _plus(point[axis.var], step)
            yield point

    def _open_guards(self) -> list[Guard]:
        """Return the guards that this tile has to see to."""
        closed = {
            axis.var
            for (axis, _), segment in zip(self.tiling.tile, self.segments, strict=True)
            if segment.free
        }
        return [guard for guard in self.nest.guards if not closed & guard.variables]

    def _reduction(self, cells: list[Any], points: list[dict[Any, Expr]]) -> Statements:
        """Return the loops over the reduction axes that have one."""
        looped = self.tiling.looped(self.nest)
        bounding: dict[Axis, list[Guard]] = {axis: [] for axis in looped}
        tested: list[Guard] = []
        for guard in self._open_guards():
            axis = clamped_by(guard, self.nest, looped)
            (tested if axis is None or self._varies(guard) else bounding[axis]).append(guard)
        step = self.tiling.step if looped else 1
        steps = [
            self._updates(cells, points, looped[-1].var if looped else None, n, tested)
            for n in range(step)
        ]
        body = _merge_tests([pair for pairs in steps for pair in pairs])
        for axis in reversed(looped):
            loop_step = step if axis is looped[-1] else 1
            low, high = self._bounds(axis, bounding[axis])
            if loop_step > 1:
                count = const(axis.extent // loop_step, axis.var)
                outer = Axis.like(f"{axis.var.name}_s", axis.extent // loop_step, axis.var)
                whole = {axis.var: outer.var * const(loop_step, axis.var)}
                body = [_loop(outer.var, low, count, substitute(_sequence(body), whole))]
            else:
                body = [_loop(axis.var, low, high - low, _sequence(body))]
        return body

    def _varies(self, guard: Guard) -> bool:
        """Return whether `guard` differs between the points of the tile."""
        sizes = zip(self.tiling.tile, self.segments, strict=True)
        return any(axis.var in guard.variables and s.size > 1 for (axis, _), s in sizes)

    def _updates(
        self,
        cells: list[Any],
        points: list[dict[Any, Expr]],
        inner: Any,
        step: int,
        tested: list[Guard],
    ) -> list[tuple[list[Expr], Any]]:
        """Return (conditions, update) for each point and unrolled value, in order."""
        nest, unrolled = self.nest, self.tiling.unrolled
        result: list[tuple[list[Expr], Any]] = []
        for values in product(*(range(axis.extent) for axis in unrolled)):
            at = {a.var: const(v, a.var) for a, v in zip(unrolled, values, strict=True)}
            if inner is not None and step:
                at[inner] = _plus(inner, step)
            for cell, point in zip(cells, points, strict=True):
                here = {**point, **at}
                conditions = [_decide(guard, here) for guard in tested]
                if any(condition is False for condition in conditions):
                    continue
                value = substitute(nest.update, {**here, nest.acc: tirx.BufferLoad(*cell)})
                result.append(([c for c in conditions if c is not True], _store(cell, value)))
        return result

    def _bounds(self, axis: Axis, guards: list[Guard]) -> tuple[Expr, Expr]:
        """Return the range of `axis` in which `guards` hold, for this tile."""
        low, high = const(0, axis.var), const(axis.extent, axis.var)
        for guard in guards:
            slope, rest = guard.affine.coefs[axis.var], guard.affine.without(axis.var)
            value = const(rest.const, axis.var)
            for var, coef in rest.coefs.items():
                value = value + self.place[var] * const(coef, axis.var)
            if slope > 0:  # slope * v + value >= 0
                low = tirx.max(low, _quotient(const(slope - 1, axis.var) - value, slope))
            else:
                high = tirx.min(high, _quotient(value, -slope) + const(1, axis.var))
        return low, high


def _decide(guard: Guard, at: dict[Any, Expr]) -> Expr | bool:
    """Return whether `guard` holds at a point, or the condition if that depends on loops."""
    form = guard.form
    if form is not None and all(isinstance(at.get(v), tirx.IntImm) for v in form.coefs):
        return form.const + sum(c * int(at[v].value) for v, c in form.coefs.items()) >= 0
    return substitute(guard.condition, at)


def _merge_tests(pairs: list[tuple[list[Expr], Any]]) -> Statements:
    """Return the updates, those with the same conditions in a row under one test."""
    import tvm_ffi

    result: Statements = []
    position = 0
    while position < len(pairs):
        conditions = pairs[position][0]
        group: Statements = []
        while position < len(pairs) and tvm_ffi.structural_equal(pairs[position][0], conditions):
            group.append(pairs[position][1])
            position += 1
        body = _sequence(group)
        if conditions:
            body = tirx.IfThenElse(tirx.all(*conditions), body, None)
        result.append(body)
    return result


def _quotient(value: Expr, divisor: int) -> Expr:
    return value if divisor == 1 else tirx.floordiv(value, const(divisor, value))


def _plus(base: Expr, step: int) -> Expr:
    if isinstance(base, tirx.IntImm):
        return const(int(base.value) + step, base)
    return base + const(step, base) if step else base


def _store(cell: Any, value: Expr) -> Any:
    buffer, indices = cell
    return tirx.BufferStore(buffer, value, indices)


def _loop(var: Any, low: Expr, extent: Expr, body: Any) -> Any:
    return tirx.For(var, low, extent, tirx.ForKind.SERIAL, body)


def _sequence(statements: Statements) -> Any:
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(statements)
