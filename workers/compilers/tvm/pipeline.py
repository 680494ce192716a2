"""Relax to Relax: one scheduled loop function for each group of fused operators."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tinymlaas.contract.device import CapabilityClass

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


def apply_schedule(
    mod: tvm.IRModule, target: CapabilityClass, options: Mapping[str, str]
) -> tvm.IRModule:
    """Return `mod` with its loops arranged for `target` (as they are without a schedule)."""
    spec = find_spec("workers.compilers.tvm.schedule")
    if spec is not None and spec.origin is not None:
        from workers.compilers.tvm.schedule import schedule

        return schedule(mod, target, options)
    return mod
