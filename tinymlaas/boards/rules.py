"""What must be true of a device profile beyond the types of its fields.

Each rule looks at the values that are well formed and yields the path and the text of every
mistake it finds; a value that is malformed is None here and has been reported already.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from tinymlaas.boards.lines import KeyPath
from tinymlaas.boards.simulators import MACHINES, machines_of
from tinymlaas.contract.device import Core, FloatAbi, Fpu, MemoryKind, MemoryRegion, Mve

Found = Iterator[tuple[KeyPath, str]]

_CORTEX_M = {core for core in Core if core.startswith("cortex-m")}
_NEEDS_CPU = {Core.AVR, Core.MSP430}
_FPUS = {
    Core.CORTEX_M4: {Fpu.NONE, Fpu.SINGLE},
    Core.CORTEX_M7: {Fpu.NONE, Fpu.SINGLE, Fpu.DOUBLE},
    Core.CORTEX_M33: {Fpu.NONE, Fpu.SINGLE},
    Core.CORTEX_M55: {Fpu.NONE, Fpu.DOUBLE},
    Core.HOST: {Fpu.NONE, Fpu.SINGLE, Fpu.DOUBLE},
}
_DSPS = {
    Core.CORTEX_M4: {True},
    Core.CORTEX_M7: {True},
    Core.CORTEX_M33: {False, True},
    Core.CORTEX_M55: {True},
}
# Bytes a pointer reaches. AVR has two spaces: 22 bits of program words, 16 bits of data.
_FLASH_SPACE = {Core.AVR: 1 << 23, Core.MSP430: 1 << 20}
_RAM_SPACE = {Core.AVR: 1 << 16, Core.MSP430: 1 << 20}
_SPACE = 1 << 32


@dataclass(frozen=True)
class Facts:
    """The well-formed values of a profile; None where one is malformed or missing.

    `clock_given` says whether there is a clock at all. `regions` are those well formed, with their
    position in the file; `complete` says whether these are all.
    """

    core: Core | None
    cpu: str | None
    fpu: Fpu | None
    dsp: bool | None
    mve: Mve | None
    float_abi: FloatAbi | None
    clock_given: bool
    simulator: str | None
    regions: tuple[tuple[int, MemoryRegion], ...]
    complete: bool


def broken(facts: Facts) -> Found:
    """Yield every rule broken by `facts`."""
    if facts.core is not None:
        yield from _extensions(facts, facts.core)
        yield from _cpu(facts, facts.core)
        yield from _address_space(facts, facts.core)
        yield from _memory_kinds(facts, facts.core)
        if not facts.clock_given and facts.core is not Core.HOST:
            yield ("clock_hz",), "required key is missing"
    yield from _float_abi(facts)
    yield from _simulator(facts)
    yield from _overlaps(facts)


def _extensions(facts: Facts, core: Core) -> Found:
    fpus = _FPUS.get(core, {Fpu.NONE})
    if facts.fpu is not None and facts.fpu not in fpus:
        choice = " or ".join(f'"{fpu}"' for fpu in Fpu if fpu in fpus)
        yield ("fpu",), f'a {core} has no "{facts.fpu}" FPU; it must be {choice}'
    dsps = _DSPS.get(core, {False})
    if facts.dsp is not None and facts.dsp not in dsps:
        has = "always has" if dsps == {True} else "does not have"
        yield ("dsp",), f"a {core} {has} the DSP extension"
    if facts.mve not in (None, Mve.NONE) and core is not Core.CORTEX_M55:
        yield ("mve",), f"a {core} does not have MVE; of the cores known only cortex-m55 does"
    if facts.mve is Mve.FLOAT and facts.fpu is Fpu.NONE:
        yield ("mve",), "floating-point MVE needs an FPU, and fpu is none"


def _float_abi(facts: Facts) -> Found:
    if facts.float_abi in (None, FloatAbi.SOFT):
        return
    if facts.core is not None and facts.core not in _CORTEX_M | {Core.HOST}:
        yield ("float_abi",), f"code for {facts.core} is built with the soft ABI only"
    elif facts.fpu is Fpu.NONE and facts.mve in (None, Mve.NONE):
        yield ("float_abi",), f"the {facts.float_abi} ABI needs an FPU, and fpu is none"


def _cpu(facts: Facts, core: Core) -> Found:
    if facts.cpu is None:
        return
    if core in _NEEDS_CPU and not facts.cpu:
        yield ("cpu",), f"a board with an {core} core must name gcc's -mmcu name, as in {_EXAMPLE}"
    if core not in _NEEDS_CPU and facts.cpu:
        yield ("cpu",), f"only avr and msp430 boards name a cpu; {core} says enough"


_EXAMPLE = 'cpu = "atmega2560"'


def _address_space(facts: Facts, core: Core) -> Found:
    for place, region in facts.regions:
        spaces = _FLASH_SPACE if region.kind is MemoryKind.FLASH else _RAM_SPACE
        space = spaces.get(core, _SPACE)
        end = region.origin + region.length
        if end > space:
            yield (
                ("memory", place, "length"),
                f"{region.name} ends at {end:#x}, beyond the {space:#x} bytes a {core} addresses",
            )


def _memory_kinds(facts: Facts, core: Core) -> Found:
    if not facts.complete or core is Core.HOST:
        return
    for kind in MemoryKind:
        if all(region.kind is not kind for _, region in facts.regions):
            yield ("memory",), f'no memory region of kind "{kind}"'


def _overlaps(facts: Facts) -> Found:
    for position, (place, region) in enumerate(facts.regions):
        for _, other in facts.regions[:position]:
            if region.name == other.name:
                yield ("memory", place, "name"), f'two regions are called "{region.name}"'
            if _overlap(region, other, facts.core):
                yield (
                    ("memory", place, "origin"),
                    f"{_range(region)} overlaps {_range(other)}",
                )


def _overlap(one: MemoryRegion, other: MemoryRegion, core: Core | None) -> bool:
    if core is Core.AVR and one.kind is not other.kind:
        return False  # program and data have address spaces of their own
    return one.origin < other.origin + other.length and other.origin < one.origin + one.length


def _range(region: MemoryRegion) -> str:
    return f"{region.name} ({region.origin:#x} to {region.origin + region.length - 1:#x})"


def _simulator(facts: Facts) -> Found:
    if facts.simulator is None:
        return
    if facts.simulator not in MACHINES:
        near = difflib.get_close_matches(facts.simulator, MACHINES, n=3)
        known = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(MACHINES)}"
        yield ("simulator",), f'there is no simulated machine "{facts.simulator}"; {known}'
    elif facts.core is not None and facts.core not in MACHINES[facts.simulator]:
        machines = ", ".join(machines_of(facts.core)) or "none; leave the key out"
        yield (
            ("simulator",),
            f"{facts.simulator} does not run {facts.core} code; machines that do: {machines}",
        )
