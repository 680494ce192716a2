"""What the cost model needs of a nest, gathered once, in plain integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from operator import mul
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, TensorLoad

from workers.compilers.tvm.schedule.machine import Machine
from workers.compilers.tvm.schedule.nest import Nest
from workers.compilers.tvm.schedule.segments import Segment
from workers.compilers.tvm.schedule.terms import Axis, Expr, Linear, analyzer, loads, offset
from workers.compilers.tvm.schedule.tiling import GuardMap

_CALL = 40
_SELECT = 4
_SAMPLED_POINTS = 8


@dataclass(frozen=True)
class Access:
    """A load: `coefs` by axis number (None if its offset is not affine), bytes an element."""

    coefs: tuple[int, ...] | None
    itemsize: int
    on_fpu: bool


@dataclass(frozen=True)
class Profile:
    """Axes are numbered in the order spatial, reduce. `operation` is the instructions of one
    update and `result_work` those of one write-back, without loads.
    """

    nest: Nest
    guards: GuardMap
    axes: tuple[Axis, ...]
    operands: tuple[Access, ...]
    operation: int
    result_loads: tuple[Access, ...]
    result_work: int
    on_fpu: bool
    _shares: dict[tuple[Axis, Segment], float] = field(default_factory=dict)

    def share(self, axis: Axis, segment: Segment) -> float:
        """Return the part of the updates that the guards on `axis` let through in `segment`."""
        if segment.free:
            return 1.0
        key = (axis, segment)
        if key not in self._shares:
            self._shares[key] = _share(self, axis, segment)
        return self._shares[key]


def profile(nest: Nest, guards: GuardMap, machine: Machine) -> Profile:
    """Return the profile of `nest` on `machine`."""
    is_float = str(nest.acc.ty.dtype).startswith("float")
    on_fpu = is_float and machine.float_registers > 0
    axes = (*nest.spatial, *nest.reduce)
    work = _Work(machine, is_float=is_float)
    return Profile(
        nest,
        guards,
        axes,
        operands=_accesses(nest.update, axes, machine),
        operation=work.of(nest.update),
        result_loads=_accesses(nest.result, axes, machine),
        result_work=work.of(nest.result) + 1,
        on_fpu=on_fpu,
    )


def _accesses(expr: Expr, axes: Sequence[Axis], machine: Machine) -> tuple[Access, ...]:
    simplify = analyzer(axes).simplify
    found: list[Access] = []
    for load in loads(expr):
        dtype = str(load.source.ty.dtype)
        size = max(1, int("".join(filter(str.isdigit, dtype)) or 8) // 8)
        form = offset(load.source, load.indices, simplify)
        on_fpu = dtype.startswith("float") and machine.float_registers > 0
        found.append(Access(_numbered(form, axes), size, on_fpu))
    return tuple(found)


def _numbered(form: Linear | None, axes: Sequence[Axis]) -> tuple[int, ...] | None:
    return None if form is None else tuple(form.coefs.get(axis.var, 0) for axis in axes)


class _Work:
    """Counts the instructions of an expression without its loads."""

    def __init__(self, machine: Machine, *, is_float: bool) -> None:
        self._soft = is_float and not machine.float_registers
        self._unit = machine.float_cost if is_float else 1

    def of(self, expr: Expr) -> int:
        """Return the instructions; a product and a sum are one."""
        products = sums = others = 0

        def visit(node: Any) -> None:
            nonlocal products, sums, others
            if isinstance(node, tirx.Mul):
                products += 1
            elif isinstance(node, tirx.Add | tirx.Sub):
                sums += 1
            else:
                others += _CALL if isinstance(node, Call | tirx.Div) else _SELECT

        kinds = (
            tirx.Mul,
            tirx.Add,
            tirx.Sub,
            tirx.Max,
            tirx.Min,
            tirx.Select,
            tirx.Div,
            Call,
        )
        flat = tvm_ffi.structural_map(expr, (TensorLoad, _without_indices))
        tvm_ffi.structural_walk(flat, (kinds, visit))
        others *= self._unit if self._soft else 1
        return max(products, sums) * self._unit + others


def _without_indices(load: Any) -> Any:
    return tirx.BufferLoad(load.source, [tirx.IntImm("int32", 0) for _ in load.indices])


def _share(known: Profile, axis: Axis, segment: Segment) -> float:
    forms = [guard.affine for guard in known.guards.by_axis[axis]]
    others = [a for a in known.nest.reduce if any(a.var in form.coefs for form in forms)]
    points = [
        segment.start + tile * segment.stride + i
        for tile in range(segment.count)
        for i in range(segment.size)
    ]
    passed = total = 0
    scales = [[form.coefs.get(a.var, 0) for a in (axis, *others)] for form in forms]
    for values in product(points[:_SAMPLED_POINTS], *(range(a.extent) for a in others)):
        total += 1
        passed += all(
            form.const + sum(map(mul, scale, values)) >= 0
            for form, scale in zip(forms, scales, strict=True)
        )
    return passed / max(total, 1)
