"""Does the module fit? The link for the board's own memory map decides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinymlaas.contract.compiler import Compiled
from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.errors import CompilerCrashed
from tinymlaas.contract.manifest import Footprint, Level
from workers import sandbox
from workers.sandbox import Step
from workers.toolchains import image
from workers.toolchains.firmware import (
    FIRMWARE_DIR,
    Linkable,
    ModuleFiles,
    firmware_parts,
    startup_sources,
)
from workers.toolchains.fitting import Fitted, first_placement
from workers.toolchains.footprint import (
    ARENA,
    Linked,
    ModuleDoesNotFit,
    footprint_of,
    reasons_against,
    with_stack,
)

__all__ = ["ModuleDoesNotFit", "link", "object_footprint", "with_stack"]


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
    sources = [*startup_sources(target.core), FIRMWARE_DIR / "fit_main.c"]
    parts = firmware_parts(sources, target, cache=cache)
    fitted: Fitted = sandbox.call(
        "workers.toolchains.fitting:fit",
        Linkable(name, target, module.library, module.header, parts),
        returns=Fitted,
        step=Step.LINK,
        what="linking for the board",
    )
    _check(fitted, target)
    footprint = footprint_of(fitted.linked, fitted.placement, target)
    # Without a reason the sizes fit by sum, but not with the gaps that alignment needs.
    reasons = reasons_against(footprint, target) or fitted.overflow
    if reasons:
        raise ModuleDoesNotFit(footprint, *reasons)
    return footprint


def object_footprint(module: ModuleFiles, compiled: Compiled, target: CapabilityClass) -> Footprint:
    """Return what a library takes at least, where it cannot be linked: its objects and its arena.

    The level is `estimated`: start-up code and what the C library adds are not in it.

    Raises:
        ModuleDoesNotFit: that alone is more than the board has.
        CompilerCrashed: an object is damaged.
    """
    found: tuple[image.Section, ...] = sandbox.call(
        "workers.toolchains.image:object_sections",
        module.library,
        returns=tuple[image.Section, ...],
        step=Step.LINK,
        what="reading the module's objects",
    )
    _check_sections(found)
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
    linked = Linked(sections, arena, image.ModuleShare(code, constant))
    footprint = footprint_of(linked, first_placement(target), target)
    reasons = reasons_against(footprint, target)
    footprint = footprint.model_copy(update={"level": Level.ESTIMATED})
    if reasons:
        raise ModuleDoesNotFit(footprint, *reasons)
    return footprint


def _check(fitted: Fitted, target: CapabilityClass) -> None:
    """Refuse an answer that no link can give: sizes below nothing, memory that is not there."""
    linked, placement = fitted.linked, fitted.placement
    ours = sum(s.size for s in linked.sections if s.writable) - linked.arena_bytes
    _check_sections(linked.sections, ours, linked.arena_bytes, *vars(linked.share).values())
    regions = placement.regions() if placement is not None else ()
    if not set(regions) <= set(target.memory) or (placement is None) != (target.core is Core.HOST):
        raise CompilerCrashed("linking for the board gave memory that the board does not have")


def _check_sections(sections: Sequence[image.Section], *more: int) -> None:
    if any(size < 0 for size in (*more, *(section.size for section in sections))):
        raise CompilerCrashed("the module has sections of sizes that cannot be")
    odd = [section.name for section in sections if not section.name.isprintable()]
    if odd:
        raise CompilerCrashed(f"the module has a section with an odd name: {odd[0][:100]!a}")
