"""Applies the scheduler to every function of a module."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import tvm
from tvm import s_tir, tirx

from workers.compilers.tvm.schedule.axes import arrange
from workers.compilers.tvm.schedule.emit import emit
from workers.compilers.tvm.schedule.inline import inline
from workers.compilers.tvm.schedule.machine import Machine
from workers.compilers.tvm.schedule.nest import can_follow, make_nest
from workers.compilers.tvm.schedule.search import best_tiling
from workers.compilers.tvm.schedule.stages import Stage, read_stages

_LOG = logging.getLogger(__name__)

KEEP = "tinymlaas.keep"
"""Attribute of functions that are already in their final form."""


def reschedule(mod: tvm.IRModule, machine: Machine) -> tvm.IRModule:
    """Return `mod` with every loop function rearranged for `machine` where that is possible."""
    result = tvm.IRModule(dict(mod.functions.items()), attrs=mod.attrs)
    for var, func in mod.functions.items():
        if isinstance(func, tirx.PrimFunc):
            result.update_func(var, rearrange(func, machine))
    return result


def rearrange(func: Any, machine: Machine, *, strict: bool = False) -> Any:
    """Return `func` rearranged for `machine`; `func` itself if it is in no form known here.

    An exception on the way means such a form too, unless `strict`: a slow kernel is better than
    none.
    """
    if (func.attrs and KEEP in func.attrs) or not _has_root(func):
        return func
    try:
        return _rearranged(func, machine)
    except Exception:
        if strict:
            raise
        _LOG.info("a function keeps its default loops", exc_info=True)
        return func


def _rearranged(func: Any, machine: Machine) -> Any:
    inlined = inline(func)
    root, stages = read_stages(inlined)
    statements = list(_rewrite(stages, set(root.alloc_buffers), machine))
    body = statements[0] if len(statements) == 1 else tirx.SeqStmt(statements)
    block = s_tir.SBlock([], [], [], "root", body, alloc_buffers=list(root.alloc_buffers))
    return inlined.with_body(s_tir.SBlockRealize([], True, block))


def _has_root(func: Any) -> bool:
    body = func.body
    return isinstance(body, s_tir.SBlockRealize) and not body.block.iter_vars


def _rewrite(stages: list[Stage], scratch: set[Any], machine: Machine) -> Iterator[Any]:
    """Yield the statements of `stages`, reductions with the stage that follows them at once."""
    joined: dict[int, Stage] = {}
    for stage in stages:
        if stage.is_reduction and stage.out in scratch:
            follower = _only_reader(stage, stages)
            if follower is not None and can_follow(follower, stage):
                joined[stages.index(follower)] = stage
    consumed = {stages.index(stage) for stage in joined.values()}
    for number, stage in enumerate(stages):
        if number in consumed:
            continue
        if number in joined:
            nest = arrange(make_nest(joined[number], stage))
        elif stage.is_reduction:
            nest = arrange(make_nest(stage, None))
        else:
            yield stage.statement
            continue
        yield emit(nest, best_tiling(nest, machine))


def _only_reader(stage: Stage, stages: list[Stage]) -> Stage | None:
    readers = [s for s in stages if s is not stage and stage.out in s.reads]
    return readers[0] if len(readers) == 1 else None
