"""From model bytes to C: read, lower, optimise, choose kernels, lay out, emit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tinymlaas.contract.compiler import Tap
from tinymlaas.contract.device import CapabilityClass, Core, MemoryKind
from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.cmsis_nn import arm, taps
from workers.compilers.cmsis_nn.arena import Layout, Sharing, lay_out
from workers.compilers.cmsis_nn.arm_tree import ArmTree
from workers.compilers.cmsis_nn.choose import Chooser
from workers.compilers.cmsis_nn.emit import Module, emit
from workers.compilers.cmsis_nn.generic import generic
from workers.compilers.cmsis_nn.library import portable
from workers.compilers.cmsis_nn.lower import lower
from workers.compilers.cmsis_nn.passes import optimise
from workers.compilers.cmsis_nn.program import Program
from workers.compilers.cmsis_nn.reader import read_model
from workers.compilers.cmsis_nn.switches import Switches

_AVR_BYTES = 32_767  # the largest object of 16-bit C; no AVR has more RAM inside


@dataclass(frozen=True, eq=False)
class Built:
    """A module's C and what the service must know of it; `arena_bytes` are those of the layout,
    and of the copies that a tapped one keeps.
    """

    source: str
    program: Program
    layout: Layout
    weight_bytes: int
    arena_bytes: int
    init: str | None = None
    arm_functions: tuple[str, ...] = ()
    taps: tuple[Tap, ...] = ()


def build(
    data: bytes,
    entry: str,
    target: CapabilityClass,
    switches: Switches,
    tree: ArmTree | None = None,
    *,
    tapped: bool = False,
) -> Built:
    """Compile the TFLite file `data` with the portable kernels, or with those of `tree`.

    `tapped` has every tensor of the model that is left copied to behind all else.

    Raises:
        InvalidModel: the file is damaged.
        UnsupportedModel: operators or options that are not supported, one reason each.
    """
    model = read_model(data)
    lowered = lower(model, fold=switches.constant_folding)
    program = optimise(lowered, switches)
    sharing = Sharing(switches.in_place, switches.reshape_removal, switches.placement)
    if tree is None:
        codes = Chooser(program, target, sharing, switches).choose(entry)
    else:
        plain = [generic(step.layer, f"{entry}_l{i}") for i, step in enumerate(program.steps)]
        codes = arm.with_scratch(plain, target, tree)
    layout = lay_out(program, codes, sharing)
    init = f"{entry.removesuffix('_run')}_setup" if layout.persistent else None
    kept: tuple[taps.Kept, ...] = ()
    size = layout.size
    if tapped:
        kept, size = taps.place(program, layout, model.main, lowered.values)
    module = Module(entry, init, program, codes, layout, kept=kept)
    live = [code for _, _, code in module.live()]
    if tree is None:
        library, headers = portable(name for code in live for name in code.library)
    else:
        library, headers = portable(arm.own_files(live))
        library = arm.HEADER + library
    module = replace(module, library=library, headers=headers)
    weight_bytes = sum(array.data.nbytes for array in module.constants())
    _check_room(target, weight_bytes, size)
    return Built(
        emit(module),
        program,
        layout,
        weight_bytes,
        size,
        init,
        arm.functions(live),
        tuple(taps.taps(kept, program, model.main)),
    )


def _check_room(target: CapabilityClass, constants: int, arena: int) -> None:
    """Refuse what would end in an error of the C compiler."""
    if target.core is Core.AVR and constants + arena > _AVR_BYTES:
        ram = target.capacity(MemoryKind.RAM)
        known = ram is not None and ram <= _AVR_BYTES
        most = f"the board has {ram:,} B" if known else f"no AVR has more than {_AVR_BYTES:,} B"
        raise UnsupportedModel(
            f"needs {constants:,} B for constants, which an AVR keeps in RAM, and {arena:,} B of "
            f"arena: {most}"
        )
