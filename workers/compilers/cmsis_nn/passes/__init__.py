"""Exact graph optimisation: each pass a function from program to program, each switchable."""

from __future__ import annotations

from workers.compilers.cmsis_nn.passes.dead_channels import drop_dead_channels
from workers.compilers.cmsis_nn.passes.fusion import (
    drop_identities,
    drop_unread,
    fold_scalars,
    fuse_activations,
    fuse_padding,
)
from workers.compilers.cmsis_nn.passes.special_cases import special_cases
from workers.compilers.cmsis_nn.program import Program
from workers.compilers.cmsis_nn.switches import Switches


def optimise(program: Program, switches: Switches) -> Program:
    """Return `program` after all passes that are switched on."""
    program = drop_unread(program)
    if switches.constant_folding:
        program = fold_scalars(program)
    if switches.pad_fusion:
        program = fuse_padding(program)
    if switches.activation_fusion:
        program = drop_identities(fuse_activations(program))
    if switches.special_cases:
        program = special_cases(program)
    if switches.dead_channels:
        program = drop_dead_channels(program)
    return program
