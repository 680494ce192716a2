"""From an image's sections and a memory map to a `Footprint`, and what to say if it is too big."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinymlaas.contract.device import CapabilityClass, MemoryKind, MemoryRegion
from tinymlaas.contract.errors import DoesNotFit
from tinymlaas.contract.manifest import Footprint, Level, RegionUse, SectionUse
from workers.toolchains.image import ModuleShare, Section
from workers.toolchains.linker import Placement

ARENA = ".arena"
_UNLIMITED = "memory"  # the region's name where memory is not limited


@dataclass(frozen=True)
class Linked:
    """The sizes of an image: its sections, the arena's bytes, and the module's own part."""

    sections: tuple[Section, ...]
    arena_bytes: int
    share: ModuleShare


class ModuleDoesNotFit(DoesNotFit):
    """The module needs more than the board has; `footprint` has the tables that show it."""

    def __init__(self, footprint: Footprint, *reasons: str) -> None:
        """Keep the linked footprint beside the reasons."""
        super().__init__(*reasons)
        self.footprint = footprint


def footprint_of(linked: Linked, placement: Placement | None, target: CapabilityClass) -> Footprint:
    """Return the footprint of what was linked, its sections given to regions by `placement`.

    Without a placement memory is not limited. The stack is not known yet. A region's use is the
    sum of its sections, which our linker scripts pad so that there are no gaps between them.
    """
    uses = tuple(_uses(linked, placement))
    static = sum(section.size for section in linked.sections if section.writable)
    static -= linked.arena_bytes
    return Footprint(
        level=Level.LINKED,
        flash_bytes=sum(section.size for section in linked.sections if section.stored),
        ram_bytes=linked.arena_bytes + static,
        code_bytes=linked.share.code,
        weight_bytes=linked.share.weights,
        arena_bytes=linked.arena_bytes,
        static_bytes=static,
        stack_bytes=None,
        sections=uses,
        regions=region_uses(uses, target),
    )


def _uses(linked: Linked, placement: Placement | None) -> Iterator[SectionUse]:
    """Give each section to a region. The arena is one of its own even where it lies in .bss;
    initialised data counts in RAM and, as the copy start-up code reads, in flash.
    """
    own = any(section.name == ARENA for section in linked.sections)
    for section in linked.sections:
        region = _UNLIMITED if placement is None else placement.region_of(section)
        size = section.size
        if section.name == ".bss" and not own:
            size -= linked.arena_bytes
            yield SectionUse(section=ARENA, region=region, bytes=linked.arena_bytes)
        if size:
            yield SectionUse(section=section.name, region=region, bytes=size)
        if size and section.stored and section.writable and placement is not None:
            where = placement.code.name
            yield SectionUse(section=f"{section.name} (initial values)", region=where, bytes=size)


def region_uses(uses: Sequence[SectionUse], target: CapabilityClass) -> tuple[RegionUse, ...]:
    """Return the bytes used of every region of the board, in the board's order."""
    return tuple(
        RegionUse.of(
            region.name,
            sum(use.bytes for use in uses if use.region == region.name),
            region.length,
        )
        for region in target.memory
    )


def reasons_against(footprint: Footprint, target: CapabilityClass) -> tuple[str, ...]:
    """Return why `footprint` does not fit `target`, a line for flash and one for RAM."""
    if not target.memory:
        return ()
    reasons = []
    flash = {
        "rodata": _bytes_of(footprint, MemoryKind.FLASH, target, (".weights", ".rodata")),
        "data": _bytes_of(footprint, MemoryKind.FLASH, target, (".data", ".tdata")),
    }
    flash["text"] = footprint.flash_bytes - flash["rodata"] - flash["data"]
    ram = {
        "arena": footprint.arena_bytes,
        "static": footprint.static_bytes,
        "stack": footprint.stack_bytes or 0,
    }
    for kind, parts, total in (
        (MemoryKind.FLASH, flash, footprint.flash_bytes),
        (MemoryKind.RAM, ram, footprint.ram_bytes),
    ):
        reason = _reason(kind, parts, total, footprint, target)
        if reason is not None:
            reasons.append(reason)
    return tuple(reasons)


def _bytes_of(
    footprint: Footprint, kind: MemoryKind, target: CapabilityClass, prefixes: tuple[str, ...]
) -> int:
    names = {region.name for region in target.memory if region.kind is kind}
    return sum(
        use.bytes
        for use in footprint.sections
        if use.region in names and use.section.startswith(prefixes)
    )


def _reason(
    kind: MemoryKind,
    parts: dict[str, int],
    total: int,
    footprint: Footprint,
    target: CapabilityClass,
) -> str | None:
    regions = [region for region in target.memory if region.kind is kind]
    over = {use.region for use in footprint.regions if use.used > use.length}
    if not over.intersection(region.name for region in regions):
        return None
    capacity = sum(region.length for region in regions)
    what = "flash" if kind is MemoryKind.FLASH else "RAM"
    largest = ", ".join(
        f"{name} {kilobytes(size)}"
        for name, size in sorted(parts.items(), key=lambda part: -part[1])
        if size
    )
    if total > capacity:
        return (
            f"needs {kilobytes(total)} {what} of {kilobytes(capacity)} ({largest}), "
            f"{total - capacity:,} bytes too many"
        )
    return (
        f"needs {kilobytes(total)} {what} ({largest}), which the board's {len(regions)} regions "
        f"cannot hold in pieces: {', '.join(_named(region) for region in regions)}"
    )


def _named(region: MemoryRegion) -> str:
    return f"{region.name} {kilobytes(region.length)}"


def kilobytes(size: int) -> str:
    """Return `size` bytes in kB of 1024 bytes, rounded up; small sizes in bytes."""
    if size < 10 * 1024:
        return f"{size:,} bytes"
    return f"{-(-size // 1024):,} kB"


def with_stack(footprint: Footprint, stack_bytes: int, target: CapabilityClass) -> Footprint:
    """Return `footprint` with the stack a run has measured, judged again.

    The stack goes to the RAM region with the most room left.

    Raises:
        ModuleDoesNotFit: no RAM region has that much room left.
    """
    ram = {region.name for region in target.memory if region.kind is MemoryKind.RAM}
    room = [use for use in footprint.regions if use.region in ram]
    region = max(room, key=lambda use: use.length - use.used).region if room else _UNLIMITED
    others = tuple(use for use in footprint.sections if use.section != "stack")
    uses = (*others, SectionUse(section="stack", region=region, bytes=stack_bytes))
    judged = footprint.model_copy(
        update={
            "stack_bytes": stack_bytes,
            "ram_bytes": footprint.arena_bytes + footprint.static_bytes + stack_bytes,
            "sections": uses,
            "regions": region_uses(uses, target),
        }
    )
    reasons = reasons_against(judged, target)
    if reasons:
        raise ModuleDoesNotFit(judged, *reasons)
    return judged
