"""Inlines the element-wise blocks of a fused function into their readers.

What is left is reductions, each followed by at most a few element-wise blocks, and no buffer
that only holds a padded, transposed or half-finished copy of something.
"""

from __future__ import annotations

from math import prod
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from workers.compilers.tvm.schedule.terms import is_conditional

_FREE = 0
_CHEAP_OPERATIONS = 2
_DEAR = 100


def inline(func: Any) -> Any:
    """Return `func` with element-wise blocks inlined where that costs no work worth naming."""
    sch = s_tir.Schedule(tvm.IRModule({"main": func}), error_render_level="none")
    pending = list(sch.get_child_blocks(sch.get_sblock("root")))
    for block in pending:
        if _worth_inlining(sch, block):
            try:
                sch.compute_inline(block)
            except s_tir.schedule.ScheduleError:
                continue  # it writes an output, or its indices cannot be inverted: it stays
    return sch.mod["main"]


def _worth_inlining(sch: s_tir.Schedule, rv: Any) -> bool:
    block = sch.get(rv)
    consumers = [sch.get(reader) for reader in sch.get_consumers(rv)]
    if not consumers or not _is_elementwise(block):
        return False
    work = _operations(block.body.value)
    if work == _FREE:
        return True
    readers = [reader for reader in consumers if _points(reader) > _points(block)]
    if readers or len(consumers) > 1:
        repeats = max(_points(reader) for reader in consumers) / max(_points(block), 1)
        return work <= _CHEAP_OPERATIONS and repeats * len(consumers) <= _CHEAP_OPERATIONS
    return True


def _is_elementwise(block: Any) -> bool:
    return (
        block.init is None
        and isinstance(block.body, tirx.BufferStore)
        and all(var.iter_type == tirx.IterVar.DataPar for var in block.iter_vars)
    )


def _points(block: Any) -> int:
    return prod(int(var.dom.extent.value) for var in block.iter_vars)


def _operations(value: Any) -> int:
    """Count arithmetic on values (index arithmetic is free); a call counts as dear."""
    count = 0

    def visit(node: Any) -> Any:
        nonlocal count
        if isinstance(node, tvm.ir.Call):
            count += 0 if is_conditional(node) else _DEAR
        elif _is_arithmetic(node):
            count += 1
        return tvm_ffi.structural.WalkResult.ADVANCE

    def skip(_: Any) -> Any:
        return tvm_ffi.structural.WalkResult.SKIP

    # a load's indices and the conditions of a padding are not work on values
    tvm_ffi.structural_walk(
        value,
        [
            (tvm.ir.TensorLoad, skip),
            ((tirx.And, tirx.LT, tirx.LE, tirx.GT, tirx.GE), skip),
            (tvm_ffi.core.Object, visit),
        ],
        order="pre",
    )
    return count


def _is_arithmetic(node: Any) -> bool:
    kinds = tirx.Add | tirx.Sub | tirx.Mul | tirx.Div | tirx.Max | tirx.Min | tirx.Select
    return isinstance(node, kinds)
