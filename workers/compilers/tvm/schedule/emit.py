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
    clamps,
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
        """Yield where each axis stands, for each point of the tile.

        The longer side is the outer loop: the operand that varies along it streams through one
        register, and the fewer values of the other one stay.
        """
        sides = zip(self.tiling.tile, self.segments, strict=True)
        axes = sorted(((axis, s.size) for (axis, _), s in sides), key=lambda side: -side[1])
        for steps in product(*(range(size) for _, size in axes)):
            point = dict(self.place)
            for (axis, _), step in zip(axes, steps, strict=True):
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
        levels: dict[Axis | None, list[Guard]] = {axis: [] for axis in (None, *looped)}
        tested: list[Guard] = []
        for guard in self._open_guards():
            level = tested if self._varies(guard) else levels[_deepest(guard, looped)]
            level.append(guard)
        step = self.tiling.step if looped else 1
        pairs = [
            pair
            for n in range(step)
            for pair in self._updates(cells, points, looped[-1].var if looped else None, n, tested)
        ]
        if not pairs:
            return []  # the tile lies in the padding altogether
        body = _merge_tests(pairs)
        for axis in reversed(looped):
            body = [self._loop(axis, step if axis is looped[-1] else 1, levels[axis], body)]
        return _under([substitute(g.condition, self.place) for g in levels[None]], body)

    def _loop(self, axis: Axis, step: int, guards: list[Guard], body: Statements) -> Any:
        """Return the loop over `axis`, its bounds those in which `guards` hold if they tell."""
        bounding = [guard for guard in guards if clamps(guard, axis, self.nest)]
        others = [guard for guard in guards if guard not in bounding]
        body = _under([substitute(guard.condition, self.place) for guard in others], body)
        low, high = self._bounds(axis, bounding)
        # a variable of its own for each loop: TVM's analyser knows one range a variable
        fresh = Axis.like(axis.var.name, axis.extent, axis.var)
        whole, count = fresh.var, high - low
        if step > 1:
            whole = fresh.var * const(step, axis.var)
            count = const(axis.extent // step, axis.var)
        return _loop(fresh.var, low, count, substitute(_sequence(body), {axis.var: whole}))

    def _varies(self, guard: Guard) -> bool:
        """Return whether `guard` differs between the updates of the innermost body."""
        if any(axis.var in guard.variables for axis in self.tiling.unrolled):
            return True
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
        """Return the range of `axis` in which `guards`, all of slope ±1, hold for this tile."""
        low, high = const(0, axis.var), const(axis.extent, axis.var)
        for guard in guards:
            slope, rest = guard.affine.coefs[axis.var], guard.affine.without(axis.var)
            value = const(0, axis.var)  # of the rest if the slope is -1, less the rest if it is 1
            for var, coef in rest.coefs.items():
                value = value + self.place[var] * const(-slope * coef, axis.var)
            value = value + const(-slope * rest.const, axis.var)
            if slope > 0:
                low = tirx.max(low, value)
            else:
                high = tirx.min(high, value + const(1, axis.var))
        return low, high


def _deepest(guard: Guard, looped: tuple[Axis, ...]) -> Axis | None:
    """Return the innermost of the `looped` axes that `guard` depends on."""
    mine = [axis for axis in looped if axis.var in guard.variables]
    return mine[-1] if mine else None


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
        result += _under(conditions, group)
    return result


def _under(conditions: list[Expr], body: Statements) -> Statements:
    """Return `body` to be run if all `conditions` hold."""
    if not conditions:
        return body
    return [tirx.IfThenElse(tirx.all(*conditions), _sequence(body), None)]


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
