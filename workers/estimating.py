"""Does a module fit by its compiler's estimate? Only what is far too large is turned away."""

from __future__ import annotations

from tinymlaas.contract.compiler import ESTIMATE_ERROR, Estimate
from tinymlaas.contract.device import CapabilityClass, MemoryKind
from tinymlaas.contract.errors import DoesNotFit
from workers.toolchains.footprint import kilobytes


def check_room(estimate: Estimate, target: CapabilityClass) -> None:
    """Refuse what needs more than `target` has even if the estimate is as wrong as it may be.

    Raises:
        DoesNotFit: flash or RAM or both; says how much of how much.
    """
    reasons = []
    for kind, what, needed in (
        (MemoryKind.FLASH, "flash", estimate.flash_bytes),
        (MemoryKind.RAM, "RAM", estimate.ram_bytes),
    ):
        capacity = target.capacity(kind)
        if capacity is not None and needed * (1 - ESTIMATE_ERROR) > capacity:
            reasons.append(f"needs {kilobytes(needed)} {what} of {kilobytes(capacity)} (estimated)")
    if reasons:
        raise DoesNotFit(*reasons)
