"""Small tools on TIR expressions: substitution, what they read, affine forms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad, Var
from tvm.sym import Analyzer

Expr = Any
"""A TIR expression (TVM ships no types for these)."""


@dataclass(frozen=True, eq=False)
class Axis:
    """One loop of an iteration space: `var` runs over 0 … `extent` - 1. Equal only to itself."""

    var: Any
    extent: int

    @staticmethod
    def like(name: str, extent: int, model: Any) -> Axis:
        """Return a new axis whose variable has the type of the variable `model`."""
        return Axis(tirx.Var(name, str(model.ty.dtype)), extent)


def const(value: int, model: Expr) -> Expr:
    """Return the integer `value` in the type of the expression `model`."""
    return tirx.IntImm(str(model.ty.dtype), value)


def substitute(node: Any, mapping: Mapping[Any, Expr]) -> Any:
    """Return `node` with the variables in `mapping` replaced."""
    return tvm_ffi.structural_map(node, (Var, lambda var: mapping.get(var, var)))


def loads(expr: Expr) -> list[Any]:
    """Return every buffer load in `expr`, those inside indices included."""
    found: list[Any] = []
    tvm_ffi.structural_walk(expr, (TensorLoad, found.append))
    return found


def variables(expr: Expr) -> set[Any]:
    """Return the scalar variables of `expr`."""
    found: set[Any] = set()

    def visit(var: Any) -> None:
        if not tirx.is_buffer_var(var):
            found.add(var)

    tvm_ffi.structural_walk(expr, (Var, visit))
    return found


def is_conditional(expr: Expr) -> bool:
    """Return whether `expr` is ``condition ? a : b`` evaluating only one arm."""
    return getattr(getattr(expr, "op", None), "name", "").endswith(".if_then_else")


def conjuncts(condition: Expr) -> list[Expr]:
    """Return the conditions of which `condition` is the conjunction."""
    if isinstance(condition, tirx.And):
        return [*conjuncts(condition.a), *conjuncts(condition.b)]
    return [condition]


def analyzer(axes: Iterable[Axis]) -> Analyzer:
    """Return an analyzer that knows the ranges of `axes`."""
    from tvm.ir import Range

    result = Analyzer()
    for axis in axes:
        zero, extent = const(0, axis.var), const(axis.extent, axis.var)
        result.bind(axis.var, Range.from_min_extent(zero, extent))
    return result


@dataclass(frozen=True)
class Linear:
    """The affine form Σ coefs[v] · v + const over integer variables; no coefficient is 0."""

    coefs: Mapping[Any, int]
    const: int

    def plus(self, other: Linear, factor: int = 1) -> Linear:
        """Return self + factor · other."""
        coefs = dict(self.coefs)
        for var, coef in other.coefs.items():
            coefs[var] = coefs.get(var, 0) + factor * coef
        kept = {var: coef for var, coef in coefs.items() if coef}
        return Linear(kept, self.const + factor * other.const)

    def least(self, extents: Mapping[Any, int]) -> int:
        """Return the least value over the box 0 ≤ v < extents[v]."""
        return self.const + sum(min(0, c * (extents[v] - 1)) for v, c in self.coefs.items())

    def without(self, var: Any) -> Linear:
        """Return the form with `var` set to 0."""
        return Linear({v: c for v, c in self.coefs.items() if not v.same_as(var)}, self.const)


def linear(expr: Expr) -> Linear | None:
    """Return the affine form of `expr`, or None if it is not (visibly) affine."""
    if isinstance(expr, tirx.IntImm):
        return Linear({}, int(expr.value))
    if isinstance(expr, tirx.Var):
        return Linear({expr: 1}, 0)
    if isinstance(expr, tirx.Add | tirx.Sub | tirx.Mul):
        a, b = linear(expr.a), linear(expr.b)
        if a is None or b is None:
            return None
        if isinstance(expr, tirx.Mul):
            return _product(a, b)
        return a.plus(b, 1 if isinstance(expr, tirx.Add) else -1)
    return None


def _product(a: Linear, b: Linear) -> Linear | None:
    if a.coefs and b.coefs:
        return None
    if a.coefs:
        a, b = b, a
    return Linear({}, 0).plus(b, a.const)


def offset(buffer: Any, indices: Iterable[Expr], simplify: Any) -> Linear | None:
    """Return the affine form of an access's element offset in a row-major buffer.

    `simplify` is an analyzer's, which knows the ranges: quotients and remainders that merging
    axes has put into `indices` cancel out in the offset.
    """
    total: Expr = None
    for dim, index in zip(buffer.ty.shape, indices, strict=True):
        total = index if total is None else total * const(int(dim.value), index) + index
    if total is None:
        return Linear({}, 0)
    form = linear(total)
    return linear(simplify(total)) if form is None else form


def at_least_zero(condition: Expr) -> Linear | None:
    """Return the form f with `condition` ⇔ f ≥ 0, or None if it is no affine inequality."""
    if not isinstance(condition, tirx.LT | tirx.LE | tirx.GT | tirx.GE):
        return None
    a, b = linear(condition.a), linear(condition.b)
    if a is None or b is None:
        return None
    if isinstance(condition, tirx.LT | tirx.LE):
        a, b = b, a
    strict = isinstance(condition, tirx.LT | tirx.GT)
    return a.plus(b, -1).plus(Linear({}, -1 if strict else 0))
