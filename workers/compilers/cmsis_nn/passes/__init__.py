"""Exact graph optimisation: each pass a function from program to program, each switchable."""

from __future__ import annotations

from workers.compilers.cmsis_nn.passes.dead_channels import drop_dead_channels
from workers.compilers.cmsis_nn.program import Program
from workers.compilers.cmsis_nn.switches import Switches


def optimise(program: Program, switches: Switches) -> Program:
    """Return `program` after all passes that are switched on."""
    if switches.dead_channels:
        program = drop_dead_channels(program)
    return program
