"""Does the module fit? The link for the board's own memory map decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

from tinymlaas.contract.compiler import Compiled
from tinymlaas.contract.device import CapabilityClass, Core, MemoryKind, MemoryRegion
from tinymlaas.contract.errors import ToolchainError
from tinymlaas.contract.manifest import Footprint, Level
from workers import guardian
from workers.toolchains import image, linker
from workers.toolchains.firmware import (
    ARENA_SYMBOL,
    FIRMWARE_DIR,
    LinkOverflow,
    ModuleFiles,
    compile_parts,
    compile_table,
    link_image,
    startup_sources,
)
from workers.toolchains.footprint import (
    ARENA,
    Linked,
    ModuleDoesNotFit,
    footprint_of,
    reasons_against,
    with_stack,
)
from workers.toolchains.linker import Placement

__all__ = ["ModuleDoesNotFit", "link", "object_footprint", "with_stack"]

# avr-gcc's own linker script takes the lengths of its two regions from symbols.
_AVR_RELAXED = ("-Wl,--defsym=__TEXT_REGION_LENGTH__=8M,--defsym=__DATA_REGION_LENGTH__=8M",)


def link(
    module: ModuleFiles, name: str, target: CapabilityClass, *, cache: Path | None = None
) -> Footprint:
    """Link ``lib<name>.a`` with a minimal firmware for the memory map of `target`.

    The footprint's `stack_bytes` is None and its `ram_bytes` without stack, until a run has
    measured it (`with_stack`). `cache` keeps firmware objects between calls.

    Raises:
        ModuleDoesNotFit: with the sizes of a link that had room, as tables and as reasons.
        CompilerCrashed: the module needs symbols no library for the core has (a heap, say).
        ToolchainError: the toolchain is missing or failed, or the board has no flash or no RAM.
    """
    with guardian.scratch("fit") as work_dir:
        job = _Job(module, name, target, work_dir, _prepare(module, name, target, work_dir, cache))
        if target.core is Core.HOST:
            return footprint_of(job.link(None), None, target)
        if target.core is Core.AVR:
            linked = job.link(None, _AVR_RELAXED)
            return _judged(footprint_of(linked, _first_placement(target), target), target)
        return _fit_placed(job)


def object_footprint(module: ModuleFiles, compiled: Compiled, target: CapabilityClass) -> Footprint:
    """Return what a library takes at least, where it cannot be linked: its objects and its arena.

    The level is `estimated`: start-up code and what the C library adds are not in it.

    Raises:
        ModuleDoesNotFit: that alone is more than the board has.
    """
    found = image.object_sections(module.path)
    code = sum(section.size for section in found if section.executable)
    constant = sum(s.size for s in found if not s.executable and not s.writable)
    initial = sum(s.size for s in found if s.writable and s.stored)
    zero = sum(s.size for s in found if s.writable and not s.stored)
    arena = compiled.arena.size
    sections = (
        image.Section(".text", 0, 0, code, writable=False, stored=True, executable=True),
        image.Section(".weights", 0, 0, constant, writable=False, stored=True, executable=False),
        image.Section(".data", 0, 0, initial, writable=True, stored=True, executable=False),
        image.Section(".bss", 0, 0, zero, writable=True, stored=False, executable=False),
        image.Section(ARENA, 0, 0, arena, writable=True, stored=False, executable=False),
    )
    share = image.ModuleShare(code, constant)
    linked = Linked(sections, arena, share)
    footprint = footprint_of(linked, _first_placement(target), target)
    return _judged(footprint.model_copy(update={"level": Level.ESTIMATED}), target)


@dataclass(frozen=True)
class _Job:
    module: ModuleFiles
    name: str
    target: CapabilityClass
    work_dir: Path
    objects: list[Path]

    def link(self, script: str | None, extra: tuple[str, ...] = ()) -> Linked:
        elf = link_image(
            self.objects, self.module, self.target, self.work_dir, script=script, extra=extra
        )
        linker_map = elf.with_suffix(".map").read_text(encoding="utf-8", errors="replace")
        return Linked(
            sections=image.sections(elf),
            arena_bytes=image.symbol_size(elf, ARENA_SYMBOL),
            share=image.module_share(linker_map, self.name),
        )

    def place(self, placement: Placement) -> Footprint:
        linked = self.link(linker.script(placement, self.name))
        return footprint_of(linked, placement, self.target)


def _prepare(
    module: ModuleFiles, name: str, target: CapabilityClass, work_dir: Path, cache: Path | None
) -> list[Path]:
    sources = [*startup_sources(target.core), FIRMWARE_DIR / "fit_main.c"]
    parts = compile_parts(sources, target, work_dir, cache=cache)
    return [*parts, compile_table(module, name, target, work_dir)]


def _fit_placed(job: _Job) -> Footprint:
    """Link everything into the first flash and the largest RAM; only if that overflows, learn the
    sizes from a link with room and look for another placement that holds them.
    """
    first = _first_placement(job.target)
    try:
        return job.place(first)
    except LinkOverflow as overflow:
        said = overflow.reasons
    relaxed = linker.script(first, job.name, relaxed=True)
    needed = job.link(relaxed, ("-Wl,--no-check-sections",))
    best = first
    for placement in _placements(job.target, footprint_of(needed, first, job.target)):
        best = placement
        try:
            return job.place(placement)
        except LinkOverflow as overflow:
            said = overflow.reasons
    footprint = footprint_of(needed, best, job.target)
    # Without a reason the sizes fit by sum, but not with the gaps that alignment needs.
    raise ModuleDoesNotFit(footprint, *(reasons_against(footprint, job.target) or said))


def _judged(needed: Footprint, target: CapabilityClass) -> Footprint:
    reasons = reasons_against(needed, target)
    if reasons:
        raise ModuleDoesNotFit(needed, *reasons)
    return needed


def _regions(target: CapabilityClass, kind: MemoryKind) -> list[MemoryRegion]:
    regions = [region for region in target.memory if region.kind is kind]
    if not regions:
        raise ToolchainError(f"the board's memory map has no {kind.value} region to link into")
    return regions


def _first_placement(target: CapabilityClass) -> Placement:
    flash = _regions(target, MemoryKind.FLASH)[0]
    ram = max(_regions(target, MemoryKind.RAM), key=lambda region: region.length)
    return Placement(code=flash, weights=flash, data=ram, arena=ram)


def _placements(target: CapabilityClass, needed: Footprint) -> Iterator[Placement]:
    """Yield the placements that hold `needed`, sections being whole, larger regions first.

    Code stays in the first flash region, where the core starts. If one kind of memory cannot hold
    its part at all, its first choice stands in, so that the other kind is still placed well.
    """
    first = _first_placement(target)
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
