"""What the scheduler needs to know of a core: registers, and what an operation costs."""

from __future__ import annotations

from dataclasses import dataclass

from tinymlaas.contract.device import CapabilityClass, Core, Fpu


@dataclass(frozen=True)
class Machine:
    """A scalar in-order core, as far as tiling goes.

    `float_registers` and `int_registers` can hold 32-bit values at once, address registers
    included for the latter; without an FPU floats share the integer registers
    (`float_registers` is 0). `float_cost` is the instructions of one multiply-add. Constant
    offsets of loads reach `float_reach` and `int_reach` bytes. One instruction less of code is
    worth `code_price` executed ones.
    """

    float_registers: int
    int_registers: int
    float_cost: int
    code_price: int
    float_reach: int = 1024
    int_reach: int = 4096


_SOFT_FLOAT_COST = 80
_CODE_PRICE = 200
_SMALL_CODE_PRICE = 20_000

# Counted from the instruction sets: Thumb-2 has r0-r12 and lr, Thumb-1 (M0+) computes in r0-r7
# only, RISC-V in x1-x31 less sp, gp and tp; an AVR has 32 and an MSP430 sixteen registers, of
# which a 32-bit value takes four and two. x86-64 stands for every host.
_INT_REGISTERS = {
    Core.CORTEX_M0: 8,
    Core.CORTEX_M0PLUS: 8,
    Core.RV32IMAC: 26,
    Core.RV32IMC: 26,
    Core.AVR: 6,
    Core.MSP430: 5,
    Core.HOST: 14,
}
_THUMB2_INT_REGISTERS = 13
_FPV4_REGISTERS = 30
_HOST_FLOAT_REGISTERS = 15


def machine_for(target: CapabilityClass, *, small: bool = False) -> Machine:
    """Return the machine of `target`; `small` code is wanted rather than fast code."""
    ints = _INT_REGISTERS.get(target.core, _THUMB2_INT_REGISTERS)
    price = _SMALL_CODE_PRICE if small else _CODE_PRICE
    if target.core == Core.HOST:
        reach = 1 << 30
        return Machine(_HOST_FLOAT_REGISTERS, ints, 2, price, float_reach=reach, int_reach=reach)
    if target.fpu == Fpu.NONE:
        return Machine(0, ints, _SOFT_FLOAT_COST, price)
    return Machine(_FPV4_REGISTERS, ints, 1, price)
