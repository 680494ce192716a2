"""The simulated machines: memory map, clock, and which core's code each one runs."""

from __future__ import annotations

from dataclasses import dataclass

from tinymlaas.contract.device import CapabilityClass, Core, MemoryKind, MemoryRegion
from tinymlaas.contract.errors import ToolchainError
from workers.toolchains.linker import Placement


class CannotSimulate(ToolchainError):
    """No simulated machine runs this target's code, or none has room for this module."""


@dataclass(frozen=True)
class Clock:
    """A machine's counters, read by `source` of the harness.

    One instruction takes 2**`shift` ns of virtual time (QEMU's -icount). The fine counter has
    `bits` bits and runs at `hertz`, the coarse one at `hertz` / `divider`. A tick must be so much
    shorter than an instruction that rounding gives the exact number whatever the phase.
    """

    source: str
    hertz: int
    divider: int
    bits: int = 32
    shift: int = 8
    defines: tuple[str, ...] = ()

    def ticks(self, fine: int, coarse: int) -> int:
        """Return the elapsed fine ticks from the differences of both counters.

        The coarse difference, accurate to a few coarse ticks, tells how often the fine counter
        has wrapped.
        """
        wrap = 1 << self.bits
        fine %= wrap
        wraps = (coarse % wrap * self.divider - fine + wrap // 2) // wrap
        return fine + max(wraps, 0) * wrap

    def instructions(self, ticks: int) -> int:
        """Return the number of instructions that take `ticks` fine ticks, rounded."""
        numerator = ticks * 1_000_000_000
        denominator = self.hertz << self.shift
        return (2 * numerator + denominator) // (2 * denominator)


@dataclass(frozen=True)
class Machine:
    """One machine of one emulator. `arguments` follow the emulator's name."""

    name: str
    emulator: str
    package: str
    arguments: tuple[str, ...]
    clock: Clock
    flash: MemoryRegion
    ram: MemoryRegion
    stack_bytes: int = 64 * 1024

    def placement(self) -> Placement:
        """Return where the linker puts an image that this machine runs."""
        return Placement(code=self.flash, weights=self.flash, data=self.ram, arena=self.ram)


def _flash(origin: int, length: int) -> MemoryRegion:
    return MemoryRegion(name="flash", kind=MemoryKind.FLASH, origin=origin, length=length)


def _ram(origin: int, length: int) -> MemoryRegion:
    return MemoryRegion(name="ram", kind=MemoryKind.RAM, origin=origin, length=length)


_MIB = 1 << 20


def _mps2(name: str, psram: int) -> Machine:
    """Arm MPS2 with an application-note image (AN385, AN386, AN500): 25 MHz timers, 4 MiB of ZBT
    SSRAM at 0 for code, 16 MiB of PSRAM for data.
    """
    clock = Clock("ticks_cmsdk.c", 25_000_000, 256, defines=("TIMER_BASE=0x40002000",))
    return Machine(
        name=name,
        emulator="qemu-system-arm",
        package="qemu-system-arm",
        arguments=("-M", name),
        clock=clock,
        flash=_flash(0, 4 * _MIB),
        ram=_ram(psram, 16 * _MIB),
    )


_AN385 = _mps2("mps2-an385", 0x21000000)
_AN386 = _mps2("mps2-an386", 0x21000000)
_AN500 = _mps2("mps2-an500", 0x60000000)

_MACHINES: dict[Core, tuple[Machine, ...]] = {
    Core.CORTEX_M3: (_AN385,),
    Core.CORTEX_M4: (_AN386,),
    Core.CORTEX_M7: (_AN500,),
}


def machines_for(target: CapabilityClass) -> tuple[Machine, ...]:
    """Return the machines that run code for `target`, the nearest first; none for the host."""
    return _MACHINES.get(target.core, ())


def nearest_machine(target: CapabilityClass) -> Machine | None:
    """Return the simulated machine nearest to `target`, or None if there is none."""
    machines = machines_for(target)
    return machines[0] if machines else None
