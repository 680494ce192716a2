"""What a device is (`DeviceProfile`) and what a compiler may see of it (`CapabilityClass`)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from tinymlaas.contract.base import Model


class Core(StrEnum):
    """Processor cores tinymlaas knows; the names are gcc's -mcpu names where gcc has one."""

    CORTEX_M0 = "cortex-m0"
    CORTEX_M0PLUS = "cortex-m0plus"
    CORTEX_M3 = "cortex-m3"
    CORTEX_M4 = "cortex-m4"
    CORTEX_M7 = "cortex-m7"
    CORTEX_M33 = "cortex-m33"
    CORTEX_M55 = "cortex-m55"
    RV32IMAC = "rv32imac"
    RV32IMC = "rv32imc"
    AVR = "avr"
    MSP430 = "msp430"
    HOST = "host"


class Fpu(StrEnum):
    """Floating-point hardware: none, single precision, or double precision."""

    NONE = "none"
    SINGLE = "single"
    DOUBLE = "double"


class Mve(StrEnum):
    """M-profile vector extension (Helium)."""

    NONE = "none"
    INTEGER = "integer"
    FLOAT = "float"


class FloatAbi(StrEnum):
    """How floating-point arguments are passed (gcc's -mfloat-abi)."""

    SOFT = "soft"
    SOFTFP = "softfp"
    HARD = "hard"


class MemoryKind(StrEnum):
    """What a region is for: read-only code and weights, or read-write data."""

    FLASH = "flash"
    RAM = "ram"


# Profiles come in requests too, and whoever reckons with their numbers must be able to.
_SPACE = 1 << 64
_FASTEST_HZ = 10**12


class MemoryRegion(Model):
    """One contiguous region of a device's memory map. `origin` and `length` are bytes."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    kind: MemoryKind
    origin: Annotated[int, Field(ge=0, le=_SPACE)]
    length: Annotated[int, Field(gt=0, le=_SPACE)]


class CapabilityClass(Model):
    """All that a compiler, linker or simulator may see of a device, and nothing else.

    Boards with equal capability classes share one compile: the class, not the board's name, goes
    into the action digest. `cpu` is the gcc -mmcu name where the core alone does not say enough
    (AVR, MSP430). An empty `memory` means memory is not limited (the host).
    """

    core: Core
    cpu: str = ""
    fpu: Fpu = Fpu.NONE
    dsp: bool = False
    mve: Mve = Mve.NONE
    float_abi: FloatAbi = FloatAbi.SOFT
    memory: tuple[MemoryRegion, ...] = ()

    def capacity(self, kind: MemoryKind) -> int | None:
        """Return the bytes of all regions of `kind`, or None if memory is not limited."""
        if not self.memory:
            return None
        return sum(region.length for region in self.memory if region.kind == kind)


def _https(url: str) -> str:
    if not url.startswith("https://"):
        raise ValueError("must be an https:// address")
    return url


class DeviceProfile(Model):
    """A board: what it is, where that is written (`datasheet`), and how it can be simulated.

    `clock_hz` is the core's maximum clock on this board, None for the host. `simulator` is a QEMU
    machine that runs this core's code, if there is one; the run's memory map is then the machine's,
    the fit verdict the board's own.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    vendor: str
    mcu: str
    datasheet: Annotated[str, AfterValidator(_https)]
    core: Core
    cpu: str = ""
    fpu: Fpu = Fpu.NONE
    dsp: bool = False
    mve: Mve = Mve.NONE
    float_abi: FloatAbi = FloatAbi.SOFT
    clock_hz: Annotated[int, Field(gt=0, le=_FASTEST_HZ)] | None = None
    memory: tuple[MemoryRegion, ...] = ()
    peripherals: tuple[str, ...] = ()
    rtoses: tuple[str, ...] = ()
    simulator: str | None = None

    def capability_class(self) -> CapabilityClass:
        """Return what a compiler may see of this board."""
        return CapabilityClass(
            core=self.core,
            cpu=self.cpu,
            fpu=self.fpu,
            dsp=self.dsp,
            mve=self.mve,
            float_abi=self.float_abi,
            memory=self.memory,
        )
