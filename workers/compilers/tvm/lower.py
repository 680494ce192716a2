"""Scheduled blocks to plain loops over flat buffers, the form `kernel` prints as C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.compilers.tvm.workspaces import LoopFunction, hoist

if TYPE_CHECKING:
    import tvm


def lower(mod: tvm.IRModule) -> dict[str, LoopFunction]:
    """Return every loop function of `mod` by name, lowered: no blocks, one-dimensional buffers,
    32-bit indices where they fit, mathematics by the functions of math.h, workspaces as parameters.
    """
    import tvm

    functions = {
        var: func for var, func in mod.functions.items() if isinstance(func, tvm.tirx.PrimFunc)
    }
    with tvm.transform.PassContext(opt_level=3):
        lowered = _passes()(tvm.IRModule(functions))
    return {var.name_hint: hoist(func) for var, func in lowered.functions.items()}


def _passes() -> tvm.transform.Sequential:
    import tvm
    from tvm.s_tir import transform as blocks
    from tvm.tirx import transform as loops

    return tvm.transform.Sequential(
        [
            blocks.CanonicalizeLoop(),
            blocks.LowerInitBlock(),
            blocks.PlanAndUpdateBufferAllocationLocation(),
            blocks.ConvertBlocksToOpaque(),
            blocks.CompactBufferAllocation(),
            blocks.LowerMatchBuffer(),
            blocks.LowerOpaqueBlock(),
            loops.FlattenBuffer(),
            loops.NarrowDataType(32),
            blocks.LoopPartition(),
            loops.VectorizeLoop(False),
            loops.StorageRewrite(),
            loops.UnrollLoop(),
            loops.StmtSimplify(),
            loops.RemoveNoOp(),
            loops.BindTarget(tvm.target.Target("c")),
            loops.LowerIntrin(),
        ]
    )
