"""From model bytes to C: read, lower, optimise, choose kernels, lay out, emit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

from tinymlaas.contract.device import CapabilityClass
from workers.compilers.cmsis_nn.arena import Layout, Sharing, lay_out
from workers.compilers.cmsis_nn.code import Code
from workers.compilers.cmsis_nn.emit import Module, emit
from workers.compilers.cmsis_nn.generic import generic
from workers.compilers.cmsis_nn.library import portable
from workers.compilers.cmsis_nn.lower import lower
from workers.compilers.cmsis_nn.passes import optimise
from workers.compilers.cmsis_nn.program import Program, Step
from workers.compilers.cmsis_nn.reader import read_model
from workers.compilers.cmsis_nn.special import specialise
from workers.compilers.cmsis_nn.special.layers import Layer, Options
from workers.compilers.cmsis_nn.switches import Switches


@dataclass(frozen=True, eq=False)
class Built:
    """A module's C and what the service must know of it."""

    source: str
    program: Program
    layout: Layout
    weight_bytes: int
    init: str | None = None


def build(data: bytes, entry: str, target: CapabilityClass, switches: Switches) -> Built:
    """Compile the TFLite file `data` with the portable kernels.

    Raises:
        InvalidModel: the file is damaged.
        UnsupportedModel: operators or options that are not supported, one reason each.
    """
    program = optimise(lower(read_model(data)), switches)
    codes = [
        _code(step, f"{entry}_l{index}", target, switches)
        for index, step in enumerate(program.steps)
    ]
    sharing = Sharing(switches.in_place, switches.reshape_removal, switches.placement)
    layout = lay_out(program, codes, sharing)
    module = Module(entry, program, codes, layout)
    files = [name for _, _, code in module.live() for name in code.library]
    library, headers = portable(files)
    module = replace(module, library=library, headers=headers)
    weight_bytes = sum(array.data.nbytes for array in module.constants())
    return Built(emit(module), program, layout, weight_bytes)


def _code(step: Step, prefix: str, target: CapabilityClass, switches: Switches) -> Code:
    if switches.specialise and isinstance(step.layer, get_args(Layer)):
        kernel = specialise(step.layer, target, prefix, Options(switches.objective))
        if kernel is not None:
            return Code(kernel)
    return generic(step.layer, prefix)
