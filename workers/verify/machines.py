"""The simulated machines: memory map, clock, and which core's code each one runs."""

from __future__ import annotations

from dataclasses import dataclass

from tinymlaas.contract.device import CapabilityClass, Core, MemoryKind, MemoryRegion
from tinymlaas.contract.errors import ToolchainError
from workers.toolchains.linker import Placement
from workers.verify.chips import Chip, chips_for
from workers.verify.clocks import Clock


class CannotSimulate(ToolchainError):
    """No simulated machine runs this target's code, or none has room for this module."""


@dataclass(frozen=True)
class Machine:
    """One machine of one emulator. `arguments` follow the emulator's name; `weights` is where
    constants go if not to `flash`. The stack has `stack_bytes`, or what is left if that is less.
    """

    name: str
    emulator: str
    package: str
    arguments: tuple[str, ...]
    clock: Clock
    flash: MemoryRegion
    ram: MemoryRegion
    weights: MemoryRegion | None = None
    stack_bytes: int = 64 * 1024

    def placement(self) -> Placement:
        """Return where the linker puts an image that this machine runs."""
        weights = self.weights or self.flash
        return Placement(code=self.flash, weights=weights, data=self.ram, arena=self.ram)


def _flash(origin: int, length: int, name: str = "flash") -> MemoryRegion:
    return MemoryRegion(name=name, kind=MemoryKind.FLASH, origin=origin, length=length)


def _ram(origin: int, length: int) -> MemoryRegion:
    return MemoryRegion(name="ram", kind=MemoryKind.RAM, origin=origin, length=length)


_KIB = 1 << 10
_MIB = 1 << 20


def _arm(
    name: str,
    clock: Clock,
    flash: MemoryRegion,
    ram: MemoryRegion,
    weights: MemoryRegion | None = None,
) -> Machine:
    return Machine(
        name, "qemu-system-arm", "qemu-system-arm", ("-M", name), clock, flash, ram, weights
    )


def _cmsdk(base: int, hertz: int) -> Clock:
    """CMSDK dual timer (Arm DDI 0479): two 32-bit down-counters, the second divided by 256."""
    return Clock("ticks_cmsdk.c", hertz, 256, defines=(f"TIMER_BASE={base:#x}",))


# Arm MPS2 with the images of AN385, AN386 and AN500: ZBT SSRAM at 0, PSRAM for data.
_MPS2_CLOCK = _cmsdk(0x40002000, 25_000_000)
_AN385 = _arm("mps2-an385", _MPS2_CLOCK, _flash(0, 4 * _MIB), _ram(0x21000000, 16 * _MIB))
_AN386 = _arm("mps2-an386", _MPS2_CLOCK, _flash(0, 4 * _MIB), _ram(0x21000000, 16 * _MIB))
_AN500 = _arm("mps2-an500", _MPS2_CLOCK, _flash(0, 4 * _MIB), _ram(0x60000000, 16 * _MIB))
# AN505 and AN547 start in the secure state: memory and timers at their secure aliases.
_AN505 = _arm(
    "mps2-an505",
    _cmsdk(0x50002000, 20_000_000),
    _flash(0x10000000, 4 * _MIB),
    _ram(0x38000000, 4 * _MIB),
)
_AN547 = _arm(
    "mps3-an547",
    Clock("ticks_sse300.c", 32_000_000, None),
    _flash(0x10000000, 512 * _KIB),
    _ram(0x31000000, 4 * _MIB),
    _flash(0x70000000, 16 * _MIB, "ddr"),
)
# nRF51822 with 16 KiB of RAM, as on the micro:bit.
_MICROBIT = _arm(
    "microbit",
    Clock("ticks_nrf51.c", 16_000_000, 256),
    _flash(0, 256 * _KIB),
    _ram(0x20000000, 16 * _KIB),
)
# The F and D extensions are off, so that code for a core without them cannot use them unseen.
# minstret counts in nanoseconds of virtual time, hence one a nanosecond (shift 0).
_VIRT = Machine(
    name="virt",
    emulator="qemu-system-riscv32",
    package="qemu-system-misc",
    arguments=("-M", "virt", "-cpu", "rv32,f=off,d=off", "-bios", "none", "-m", "128M"),
    clock=Clock("ticks_instret.c", 1_000_000_000, None, shift=0),
    flash=_flash(0x80000000, 32 * _MIB),
    ram=_ram(0x82000000, 64 * _MIB),
)


# ARMv6-M code runs unchanged on an M3, which has room for what the micro:bit has not.
_MACHINES: dict[Core, tuple[Machine, ...]] = {
    Core.CORTEX_M0: (_MICROBIT, _AN385),
    Core.CORTEX_M0PLUS: (_MICROBIT, _AN385),
    Core.CORTEX_M3: (_AN385,),
    Core.CORTEX_M4: (_AN386,),
    Core.CORTEX_M7: (_AN500,),
    Core.CORTEX_M33: (_AN505,),
    Core.CORTEX_M55: (_AN547,),
    Core.RV32IMAC: (_VIRT,),
    Core.RV32IMC: (_VIRT,),
}


def qemu_machines(target: CapabilityClass) -> tuple[Machine, ...]:
    """Return the machines of QEMU that run code for `target`, the nearest first."""
    return _MACHINES.get(target.core, ())


def machines_for(target: CapabilityClass) -> tuple[Machine | Chip, ...]:
    """Return the simulated machines that run code for `target`, the nearest first; none for the
    host.

    Raises:
        ToolchainError: for an AVR: simavr or avr-gcc, which know the chips, is not installed.
    """
    return chips_for(target.cpu) if target.core is Core.AVR else qemu_machines(target)
