"""Which of the three families of kernels a target runs, and what its scalar unit can do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tinymlaas.contract.device import CapabilityClass, Core, Mve


class Family(StrEnum):
    """PLAIN: C that any core runs. DSP: Arm's 16-bit dual MAC. MVE: Helium vectors."""

    PLAIN = "plain"
    DSP = "dsp"
    MVE = "mve"


@dataclass(frozen=True)
class Isa:
    """`long_multiply`: a 32 × 32 → 64 bit multiply is one or two instructions. `registers`: how
    many values an inner loop may hold. `signed_loads`: a signed byte loads in one instruction
    whatever the offset. `unaligned`: a word loads from any address.
    """

    family: Family
    long_multiply: bool
    registers: int
    signed_loads: bool
    unaligned: bool


_DSP = Isa(Family.DSP, long_multiply=True, registers=12, signed_loads=True, unaligned=True)
_MVE = Isa(Family.MVE, long_multiply=True, registers=12, signed_loads=True, unaligned=True)
_THUMB1 = Isa(Family.PLAIN, long_multiply=False, registers=8, signed_loads=False, unaligned=False)
_THUMB2 = Isa(Family.PLAIN, long_multiply=True, registers=12, signed_loads=True, unaligned=True)
_RISCV = Isa(Family.PLAIN, long_multiply=True, registers=24, signed_loads=True, unaligned=False)
_SMALL = Isa(Family.PLAIN, long_multiply=False, registers=4, signed_loads=True, unaligned=False)
_HOST = Isa(Family.PLAIN, long_multiply=True, registers=12, signed_loads=True, unaligned=False)

_PLAIN = {
    Core.CORTEX_M0: _THUMB1,
    Core.CORTEX_M0PLUS: _THUMB1,
    Core.RV32IMAC: _RISCV,
    Core.RV32IMC: _RISCV,
    Core.AVR: _SMALL,
    Core.MSP430: _SMALL,
    Core.HOST: _HOST,
}


def isa_of(target: CapabilityClass) -> Isa:
    """Return what the kernels for `target` may use."""
    if target.mve is not Mve.NONE:
        return _MVE
    if target.dsp:
        return _DSP
    return _PLAIN.get(target.core, _THUMB2)
