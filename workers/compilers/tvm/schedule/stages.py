"""Reads a function as a sequence of stages: reductions, element-wise blocks, and the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import TensorLoad

from workers.compilers.tvm.schedule.terms import Axis, Expr, const, loads, substitute


@dataclass(frozen=True)
class Stage:
    """One top-level nest. `statement` is what it was.

    A stage that stores one value into one buffer has `out`, the `axes` it loops over in order,
    `indices` and `value` over the variables of those axes; for a reduction `init` is the value
    `out` starts from, `reduce` are the reduction axes and `value` reads ``out[indices]``.
    """

    statement: Any
    reads: frozenset[Any]
    out: Any = None
    axes: tuple[Axis, ...] = ()
    reduce: tuple[Axis, ...] = ()
    indices: tuple[Expr, ...] = ()
    value: Expr = None
    init: Expr = None

    @property
    def is_reduction(self) -> bool:
        """True if the stage accumulates."""
        return self.init is not None


def read_stages(func: Any) -> tuple[Any, list[Stage]]:
    """Return the root block of `func` and its stages in order."""
    root = func.body.block
    seq = root.body.seq if isinstance(root.body, tirx.SeqStmt) else [root.body]
    return root, [_read_stage(stmt) for stmt in seq]


def _read_stage(stmt: Any) -> Stage:
    reads = frozenset(_buffers_read(stmt))
    return _parse(stmt, reads) or Stage(stmt, reads)


def _buffers_read(stmt: Any) -> list[Any]:
    found: list[Any] = []
    tvm_ffi.structural_walk(stmt, (TensorLoad, lambda load: found.append(load.source)))
    return found


def _parse(stmt: Any, reads: frozenset[Any]) -> Stage | None:
    """Return `stmt` as a stage with one store, or None if it is anything else."""
    realize = stmt
    loop_vars: set[Any] = set()
    while isinstance(realize, tirx.For):
        if realize.kind != tirx.ForKind.SERIAL or not _is_int(realize.min, 0):
            return None
        loop_vars.add(realize.loop_var)
        realize = realize.body
    if not isinstance(realize, s_tir.SBlockRealize) or not _is_plain(realize, loop_vars):
        return None
    block = realize.block
    zeros = {v.var: const(0, v.var) for v in block.iter_vars if int(v.dom.extent.value) == 1}
    axes = {0: list[Axis](), 2: list[Axis]()}
    for v in block.iter_vars:
        if v.iter_type not in axes:
            return None
        if v.var not in zeros:
            axes[v.iter_type].append(Axis(v.var, int(v.dom.extent.value)))
    store = block.body
    return Stage(
        stmt,
        reads,
        out=store.buffer,
        axes=tuple(axes[0]),
        reduce=tuple(axes[2]),
        indices=tuple(substitute(i, zeros) for i in store.indices),
        value=substitute(store.value, zeros),
        init=None if block.init is None else substitute(block.init.value, zeros),
    )


def _is_plain(realize: Any, loop_vars: set[Any]) -> bool:
    """Return whether the block does one store and each of its axes is a loop of its own."""
    block = realize.block
    if block.match_buffers or block.alloc_buffers or not _is_int(realize.predicate, 1):
        return False
    if not isinstance(block.body, tirx.BufferStore):
        return False
    bound: set[Any] = set()
    for value, var in zip(realize.iter_values, block.iter_vars, strict=True):
        if not _is_int(var.dom.min, 0) or not isinstance(var.dom.extent, tirx.IntImm):
            return False
        if int(var.dom.extent.value) == 1:
            continue
        if value not in loop_vars or value in bound:
            return False
        bound.add(value)
    if block.init is None:
        return block.body.buffer not in {load.source for load in loads(block.body.value)}
    return isinstance(block.init, tirx.BufferStore) and _accumulates(block)


def _accumulates(block: Any) -> bool:
    """Return whether init and body store the same element and the body reads only that one."""
    init, body = block.init, block.body
    same = tvm_ffi.structural_equal
    if not init.buffer.same_as(body.buffer) or not same(init.indices, body.indices):
        return False
    own = [load for load in loads(body.value) if load.source.same_as(body.buffer)]
    return bool(own) and all(same(load.indices, body.indices) for load in own)


def _is_int(expr: Any, value: int) -> bool:
    return isinstance(expr, tirx.IntImm) and int(expr.value) == value
