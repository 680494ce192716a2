"""Relax to Relax: one scheduled loop function for each group of fused operators."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tvm


def fuse(mod: tvm.IRModule) -> tvm.IRModule:
    """Return `mod` with a ``main`` that only calls loop functions (``call_tir``) and reshapes.

    Constants are folded before fusion, so that what depends on weights alone costs nothing on
    the device. Pure reshapes are taken out before fusion: they become aliases in the arena.
    """
    import tvm
    from tvm.relax import transform

    passes = tvm.transform.Sequential(
        [
            transform.DecomposeOpsForInference(),
            transform.LegalizeOps(),
            transform.AnnotateTIROpPattern(),
            transform.FoldConstant(),
            transform.CanonicalizeBindings(),
            transform.RewriteDataflowReshape(),
            transform.FuseOps(),
            transform.FuseTIR(),
            transform.DeadCodeElimination(["main"]),
        ]
    )
    return passes(mod)
