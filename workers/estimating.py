"""Does a module fit by its compiler's estimate? Only what is certainly too large is turned away."""

from __future__ import annotations

from tinymlaas.contract.compiler import CompileTask, Estimate
from tinymlaas.contract.device import CapabilityClass, MemoryKind
from tinymlaas.contract.errors import DoesNotFit, Failure, UnsupportedModel
from workers.compilers.plugin import Compiler
from workers.toolchains.footprint import kilobytes


def check_room(estimate: Estimate, target: CapabilityClass) -> None:
    """Refuse what needs more than `target` has, however wrong the estimate is.

    Raises:
        DoesNotFit: flash or RAM or both; says how much of how much.
    """
    reasons = []
    for kind, what, needed, certain in (
        (MemoryKind.FLASH, "flash", estimate.flash_bytes, estimate.flash_at_least),
        (MemoryKind.RAM, "RAM", estimate.ram_bytes, estimate.ram_at_least),
    ):
        capacity = target.capacity(kind)
        if capacity is not None and certain > capacity:
            said = kilobytes(max(needed, certain))
            reasons.append(f"needs {said} {what} of {kilobytes(capacity)} (estimated)")
    if reasons:
        raise DoesNotFit(*reasons)


def hint(task: CompileTask, model: bytes, compiler: Compiler) -> Estimate | None:
    """Return the estimate for `task` on the static `model`; None if there is none.

    An estimate that breaks, or takes too long on a busy machine, is none: compiling may go well.

    Raises:
        UnsupportedModel: the compiler has found that it cannot take the task.
    """
    try:
        return compiler.estimate(task, model)
    except Failure:
        return None


def estimate(task: CompileTask, model: bytes, compiler: Compiler) -> Estimate | None:
    """Return what the module of `task` on the static `model` will take; None if nobody can say.

    Raises:
        UnsupportedModel: the compiler does not take the task.
        CompilerCrashed: it does not say whether it takes the task.
    """
    support = compiler.supports(task, model)
    if not support.ok:
        raise UnsupportedModel(*support.reasons)
    return hint(task, model, compiler)
