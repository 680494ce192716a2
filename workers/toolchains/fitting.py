"""Linking for a board's memory map; runs in a job of the sandbox, in the job's folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

from tinymlaas.contract.device import CapabilityClass, Core, MemoryKind, MemoryRegion
from tinymlaas.contract.errors import ToolchainError
from tinymlaas.contract.manifest import Footprint
from workers.toolchains import image, linker
from workers.toolchains.firmware import ARENA_SYMBOL, Linkable, LinkOverflow, lay_out, link_image
from workers.toolchains.footprint import Linked, footprint_of
from workers.toolchains.linker import Placement

# avr-gcc's own linker script takes the lengths of its two regions from symbols.
_AVR_RELAXED = ("-Wl,--defsym=__TEXT_REGION_LENGTH__=8M,--defsym=__DATA_REGION_LENGTH__=8M",)


@dataclass(frozen=True)
class Fitted:
    """Sizes and where they were placed, None where memory is not limited.

    `overflow` is what the linker said where nothing could be placed: the sizes are then those of
    a link that had room.
    """

    linked: Linked
    placement: Placement | None
    overflow: tuple[str, ...] = ()


def fit(module: Linkable) -> Fitted:
    """Link `module` for the memory map of its target.

    Raises:
        CompilerCrashed: the module needs symbols no library for the core has (a heap, say).
        ToolchainError: the toolchain failed, or the board has no flash or no RAM.
    """
    job = _Job(module, lay_out(module, Path()))
    if module.target.core is Core.HOST:
        return Fitted(job.link(None), None)
    first = first_placement(module.target)
    if module.target.core is Core.AVR:
        return Fitted(job.link(None, _AVR_RELAXED), first)
    return _fit_placed(job, first)


@dataclass(frozen=True)
class _Job:
    module: Linkable
    around: list[str]

    def link(self, script: str | None, extra: tuple[str, ...] = ()) -> Linked:
        elf = link_image(self.module, self.around, Path(), script=script, extra=extra)
        linker_map = elf.with_suffix(".map").read_text(encoding="utf-8", errors="replace")
        return Linked(
            sections=image.sections(elf),
            arena_bytes=image.symbol_size(elf, ARENA_SYMBOL),
            share=image.module_share(linker_map, self.module.name),
        )

    def place(self, placement: Placement) -> Fitted:
        return Fitted(self.link(linker.script(placement, self.module.name)), placement)


def _fit_placed(job: _Job, first: Placement) -> Fitted:
    """Link everything into the first flash and the largest RAM; only if that overflows, learn the
    sizes from a link with room and look for another placement that holds them.
    """
    try:
        return job.place(first)
    except LinkOverflow as overflow:
        said = overflow.reasons
    target = job.module.target
    relaxed = linker.script(first, job.module.name, relaxed=True)
    needed = job.link(relaxed, ("-Wl,--no-check-sections",))
    best = first
    for placement in _placements(target, footprint_of(needed, first, target)):
        best = placement
        try:
            return job.place(placement)
        except LinkOverflow as overflow:
            said = overflow.reasons
    return Fitted(needed, best, said)


def _regions(target: CapabilityClass, kind: MemoryKind) -> list[MemoryRegion]:
    regions = [region for region in target.memory if region.kind is kind]
    if not regions:
        raise ToolchainError(f"the board's memory map has no {kind.value} region to link into")
    return regions


def first_placement(target: CapabilityClass) -> Placement:
    """Return where everything goes if it fits there: the first flash, the largest RAM.

    Raises:
        ToolchainError: the board has no flash or no RAM.
    """
    flash = _regions(target, MemoryKind.FLASH)[0]
    ram = max(_regions(target, MemoryKind.RAM), key=lambda region: region.length)
    return Placement(code=flash, weights=flash, data=ram, arena=ram)


def _placements(target: CapabilityClass, needed: Footprint) -> Iterator[Placement]:
    """Yield the placements that hold `needed`, sections being whole, larger regions first.

    Code stays in the first flash region, where the core starts. If one kind of memory cannot hold
    its part at all, its first choice stands in, so that the other kind is still placed well.
    """
    first = first_placement(target)
    by_length = sorted(target.memory, key=lambda region: -region.length)
    flash = [region for region in by_length if region.kind is MemoryKind.FLASH]
    ram = [region for region in by_length if region.kind is MemoryKind.RAM]
    constants = sum(use.bytes for use in needed.sections if use.section == ".weights")
    weights = [
        region
        for region in flash
        if _holds((first.code, needed.flash_bytes - constants), (region, constants))
    ]
    rams = [
        (arena, data)
        for arena, data in product(ram, ram)
        if _holds((arena, needed.arena_bytes), (data, needed.static_bytes))
    ]
    choices = product(weights or [first.weights], rams or [(first.arena, first.data)])
    for where, (arena, data) in choices if weights and rams else islice(choices, 1):
        yield Placement(code=first.code, weights=where, data=data, arena=arena)


def _holds(one: tuple[MemoryRegion, int], other: tuple[MemoryRegion, int]) -> bool:
    (first, first_size), (second, second_size) = one, other
    if first == second:
        return first_size + second_size <= first.length
    return first_size <= first.length and second_size <= second.length
