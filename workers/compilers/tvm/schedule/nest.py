"""A reduction as a loop nest that is free to be tiled: axes, guards, update and write-back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, TensorLoad

from workers.compilers.tvm.schedule.stages import Stage
from workers.compilers.tvm.schedule.terms import (
    Axis,
    Expr,
    Linear,
    analyzer,
    at_least_zero,
    conjuncts,
    is_conditional,
    loads,
    substitute,
    variables,
)


@dataclass(frozen=True)
class Guard:
    """A condition without which an update does nothing; `form` ≥ 0 says the same if affine."""

    condition: Expr
    form: Linear | None
    variables: frozenset[Any]

    @property
    def affine(self) -> Linear:
        """Return `form`, which must be there."""
        if self.form is None:
            raise ValueError(f"guard is not affine: {self.condition}")
        return self.form


@dataclass(frozen=True)
class Nest:
    """For all points of `spatial`: acc = `init`; for all points of `reduce`, in order, where the
    `guards` hold: acc = `update`; then ``out[indices] = result``.

    `update` and `result` read the accumulator as the variable `acc`.
    """

    spatial: tuple[Axis, ...]
    reduce: tuple[Axis, ...]
    acc: Any
    init: Expr
    update: Expr
    guards: tuple[Guard, ...]
    out: Any
    indices: tuple[Expr, ...]
    result: Expr

    @property
    def extents(self) -> dict[Any, int]:
        """Return the extent of every axis by its variable."""
        return {axis.var: axis.extent for axis in (*self.spatial, *self.reduce)}

    def rewrite(self, mapping: dict[Any, Expr]) -> Nest:
        """Return the nest with variables replaced and every index simplified."""
        simplify = analyzer((*self.spatial, *self.reduce)).simplify

        def rewritten(expr: Expr) -> Expr:
            return simplify_indices(substitute(expr, mapping), simplify)

        return replace(
            self,
            init=rewritten(self.init),
            update=rewritten(self.update),
            guards=make_guards([rewritten(guard.condition) for guard in self.guards], self.extents),
            indices=tuple(simplify(substitute(index, mapping)) for index in self.indices),
            result=rewritten(self.result),
        )


def simplify_indices(expr: Expr, simplify: Any) -> Expr:
    """Return `expr` with the indices of all its loads and its conditions simplified."""

    def load(node: Any) -> Any:
        return tirx.BufferLoad(node.source, [simplify(index) for index in node.indices])

    conditions = (tirx.LT, tirx.LE, tirx.GT, tirx.GE, tirx.EQ, tirx.NE)
    return tvm_ffi.structural_map(expr, [(TensorLoad, load), (conditions, simplify)])


def make_nest(reduction: Stage, epilogue: Stage | None) -> Nest:
    """Return `reduction`, its result passed through `epilogue` before it is stored."""
    acc = tirx.Var("acc", str(reduction.out.ty.dtype))
    update = _replace_loads(reduction.value, reduction.out, acc)
    nest = Nest(
        spatial=reduction.axes,
        reduce=reduction.reduce,
        acc=acc,
        init=reduction.init,
        update=update,
        guards=(),
        out=reduction.out,
        indices=reduction.indices,
        result=acc,
    )
    if epilogue is not None:
        nest = _with_epilogue(nest, epilogue)
    return _hoist_guards(nest)


def can_follow(epilogue: Stage, reduction: Stage) -> bool:
    """Return whether `epilogue` may consume each sum of `reduction` as soon as it is complete.

    It must read one element of the result for each of its own, all within bounds, and not
    more often than there are sums.
    """
    if epilogue.out is None or epilogue.is_reduction:
        return False
    if prod(a.extent for a in epilogue.axes) > prod(a.extent for a in reduction.axes):
        return False
    own = [load for load in loads(epilogue.value) if load.source.same_as(reduction.out)]
    if not own or any(not tvm_ffi.structural_equal(o.indices, own[0].indices) for o in own):
        return False
    if any(loads(index) for index in own[0].indices):
        return False
    bounds = analyzer(epilogue.axes).const_int_bound
    for dim, index in zip(reduction.out.ty.shape, own[0].indices, strict=True):
        bound = bounds(index)
        if bound.min_value < 0 or bound.max_value >= int(dim.value):
            return False
    return _stored_axis_by_axis(reduction)


def _stored_axis_by_axis(reduction: Stage) -> bool:
    """Return whether each index of the store is an axis of its own or the constant 0."""
    seen: set[Any] = set()
    for index in reduction.indices:
        if isinstance(index, tirx.IntImm) and int(index.value) == 0:
            continue
        if not isinstance(index, tirx.Var) or index in seen:
            return False
        seen.add(index)
    return seen == {axis.var for axis in reduction.axes}


def _with_epilogue(nest: Nest, epilogue: Stage) -> Nest:
    """Loop over the points of `epilogue` and compute for each the sum it reads."""
    source = next(load for load in loads(epilogue.value) if load.source.same_as(nest.out))
    place = {
        var: index
        for var, index in zip(nest.indices, source.indices, strict=True)
        if isinstance(var, tirx.Var)
    }
    merged = replace(
        nest,
        spatial=epilogue.axes,
        out=epilogue.out,
        indices=epilogue.indices,
        result=_replace_loads(epilogue.value, nest.out, nest.acc),
    )
    return merged.rewrite(place)


def _replace_loads(expr: Expr, buffer: Any, by: Expr) -> Expr:
    return tvm_ffi.structural_map(
        expr, (TensorLoad, lambda load: by if load.source.same_as(buffer) else load)
    )


def make_guards(conditions: list[Expr], extents: dict[Any, int]) -> tuple[Guard, ...]:
    """Return the guards of `conditions`, without those that always hold."""
    guards: list[Guard] = []
    for condition in (atom for whole in conditions for atom in conjuncts(whole)):
        form = at_least_zero(condition)
        always = form is not None and form.least(extents) >= 0
        if always or (isinstance(condition, tirx.IntImm) and int(condition.value)):
            continue
        if not any(tvm_ffi.structural_equal(g.condition, condition) for g in guards):
            guards.append(Guard(condition, form, frozenset(variables(condition))))
    return tuple(guards)


def _hoist_guards(nest: Nest) -> Nest:
    """Turn ``acc + (c ? x : 0) * w`` into: where c holds, ``acc + x * w``."""
    conditions: list[Expr] = []

    def open_padding(call: Any) -> Any:
        if not is_conditional(call):
            return call
        condition, inside, outside = call.args
        if not variables(condition) <= set(nest.extents) or loads(condition):
            return call
        if not _is_constant(outside) or not _changes_nothing(nest, call, outside):
            return call
        conditions.append(condition)
        return inside

    update = tvm_ffi.structural_map(nest.update, (Call, open_padding), order="pre")
    return replace(nest, update=update, guards=make_guards(conditions, nest.extents))


def _is_constant(expr: Expr) -> bool:
    return isinstance(expr, tirx.IntImm | tirx.FloatImm)


def _changes_nothing(nest: Nest, call: Expr, outside: Expr) -> bool:
    """Return whether the update leaves the accumulator alone where `call` gives `outside`."""
    update = nest.update
    if isinstance(update, tirx.Max | tirx.Min):
        other = update.b if update.a.same_as(nest.acc) else update.a
        return other.same_as(call) and tvm_ffi.structural_equal(outside, nest.init)
    if isinstance(update, tirx.Add):
        term = update.b if update.a.same_as(nest.acc) else update.a
        if (update.a.same_as(nest.acc)) == (update.b.same_as(nest.acc)):
            return False
        return nest.acc not in variables(term) and _is_zero(term, call, outside)
    return False


def _is_zero(term: Expr, call: Expr, outside: Expr) -> bool:
    """Return whether `term` is 0 where `call` gives the constant `outside`."""
    if term.same_as(call):
        return _is_zero(outside, call, outside)
    if _is_constant(term):
        return bool(float(term.value) == 0.0)
    if isinstance(term, tirx.Cast):
        return _is_zero(term.value, call, outside)
    if isinstance(term, tirx.Mul):
        return _is_zero(term.a, call, outside) or _is_zero(term.b, call, outside)
    if is_conditional(term):
        return all(_is_zero(arm, call, outside) for arm in term.args[1:])
    return False
