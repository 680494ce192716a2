"""Rearranges loop functions for a scalar in-order core: sums in registers, no padded copies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinymlaas.contract.device import CapabilityClass

if TYPE_CHECKING:
    import tvm


def schedule(mod: tvm.IRModule, target: CapabilityClass, options: dict[str, str]) -> tvm.IRModule:
    """Return `mod` with every loop function rearranged for `target`.

    `mod` is what Relax fusion leaves: functions over blocks and a ``main`` that calls them. What
    a function computes, its parameters and its name stay; only the order of floating-point sums
    over unrolled axes may change. A function whose form is not understood stays as it is. The
    option ``objective`` = ``flash`` asks for small code.
    """
    from workers.compilers.tvm.schedule.functions import reschedule
    from workers.compilers.tvm.schedule.machine import machine_for

    return reschedule(mod, machine_for(target, small=options.get("objective") == "flash"))
