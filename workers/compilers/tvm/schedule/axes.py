"""Brings the axes of a nest into the form that tiles best, without changing what is computed.

Group convolutions index with ``f // 4``: such axes are split, so that every offset is affine.
Neighbouring axes that every access walks as one (rows and columns of an unpadded convolution)
are merged: longer loops, and tiles that need no remainder.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad

from workers.compilers.tvm.schedule.nest import Nest
from workers.compilers.tvm.schedule.terms import (
    Axis,
    Expr,
    Linear,
    analyzer,
    const,
    loads,
    offset,
    variables,
)

_MAX_SPLITS = 4


def arrange(nest: Nest) -> Nest:
    """Return `nest` with axes split where an index divides them, then merged where they may."""
    for _ in range(_MAX_SPLITS):
        divided = _divided_axis(nest)
        if divided is None:
            break
        nest = _split(nest, *divided)
    return _merge_all(_merge_all(nest, "spatial"), "reduce")


def accesses(nest: Nest) -> list[Linear | None]:
    """Return the element offset of each load and of the store; None where it is not affine."""
    simplify = analyzer((*nest.spatial, *nest.reduce)).simplify
    found = [(x.source, x.indices) for e in (nest.update, nest.result) for x in loads(e)]
    return [offset(*access, simplify) for access in (*found, (nest.out, nest.indices))]


def _expressions(nest: Nest) -> list[Expr]:
    conditions = [guard.condition for guard in nest.guards]
    return [nest.init, nest.update, nest.result, *nest.indices, *conditions]


def _divided_axis(nest: Nest) -> tuple[Axis, int] | None:
    """Return an axis of which some index takes the quotient or remainder, and the divisor."""
    by_var = {axis.var: axis for axis in (*nest.spatial, *nest.reduce)}
    found: list[tuple[Axis, int]] = []

    def visit(node: Any) -> None:
        axis = by_var.get(node.a) if isinstance(node.a, tirx.Var) else None
        if axis is None or not isinstance(node.b, tirx.IntImm):
            return
        divisor = int(node.b.value)
        if 1 < divisor < axis.extent and axis.extent % divisor == 0:
            found.append((axis, divisor))

    for expr in _expressions(nest):
        tvm_ffi.structural_walk(expr, ((tirx.FloorDiv, tirx.FloorMod), visit))
    return found[0] if found else None


def _split(nest: Nest, axis: Axis, inner_extent: int) -> Nest:
    """Replace `axis` by two, the inner of `inner_extent`."""
    outer = Axis.like(f"{axis.var.name}_o", axis.extent // inner_extent, axis.var)
    inner = Axis.like(f"{axis.var.name}_i", inner_extent, axis.var)
    value = outer.var * const(inner_extent, axis.var) + inner.var

    def replaced(axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
        return tuple(new for old in axes for new in ((outer, inner) if old is axis else (old,)))

    widened = replace(nest, spatial=replaced(nest.spatial), reduce=replaced(nest.reduce))
    return widened.rewrite({axis.var: value})


def _merge_all(nest: Nest, kind: str) -> Nest:
    position = 0
    while position + 1 < len(getattr(nest, kind)):
        merged = _merge(nest, kind, position)
        if merged is None:
            position += 1
        else:
            nest = merged
    return nest


def _merge(nest: Nest, kind: str, position: int) -> Nest | None:
    """Return `nest` with the axes at `position` and after it as one, or None if they differ."""
    axes: tuple[Axis, ...] = getattr(nest, kind)
    outer, inner = axes[position : position + 2]
    if not _walked_as_one(nest, outer, inner):
        return None
    whole = Axis.like(f"{outer.var.name}{inner.var.name}", outer.extent * inner.extent, inner.var)
    extent = const(inner.extent, inner.var)
    parts = {
        outer.var: tirx.floordiv(whole.var, extent),
        inner.var: tirx.floormod(whole.var, extent),
    }
    changes: dict[str, Any] = {kind: (*axes[:position], whole, *axes[position + 2 :])}
    joined = replace(nest, **changes)
    return joined.rewrite(parts)


def _walked_as_one(nest: Nest, outer: Axis, inner: Axis) -> bool:
    for form in accesses(nest):
        if form is None:
            return False
        if form.coefs.get(outer.var, 0) != form.coefs.get(inner.var, 0) * inner.extent:
            return False
    both = {outer.var, inner.var}
    if any(both & guard.variables for guard in nest.guards):
        return False
    return not any(both & _used_as_value(e) for e in (nest.init, nest.update, nest.result))


def _used_as_value(expr: Expr) -> set[Any]:
    """Return the variables of `expr` that are not only part of an index."""
    flat = tvm_ffi.structural_map(
        expr, (TensorLoad, lambda load: tirx.BufferLoad(load.source, _zeros(load)))
    )
    return variables(flat)


def _zeros(load: Any) -> list[Expr]:
    return [const(0, index) for index in load.indices]
