"""Linker scripts for the cores without one: Cortex-M and RV32, from a memory map."""

from __future__ import annotations

from dataclasses import dataclass

from tinymlaas.contract.device import MemoryRegion
from workers.toolchains.image import Section

_RELAXED = 1 << 28  # bytes; more than any module, less than the distance between memory areas
_ADDRESS_SPACE = 1 << 32


@dataclass(frozen=True)
class Placement:
    """Which region holds what: code (with constants and the image of .data), the module's
    weights, .data with .bss and the stack, and the arena.
    """

    code: MemoryRegion
    weights: MemoryRegion
    data: MemoryRegion
    arena: MemoryRegion

    def regions(self) -> tuple[MemoryRegion, ...]:
        """Return the regions in use, each once."""
        return tuple(dict.fromkeys((self.code, self.weights, self.data, self.arena)))

    def region_of(self, section: Section) -> str:
        """Return the name of the region a section of the linked image lies in."""
        if section.name == ".weights":
            return self.weights.name
        if section.name == ".arena":
            return self.arena.name
        return self.data.name if section.writable else self.code.name


# Every section ends aligned for the next one, so that the sum of their sizes is what they take.
_SCRIPT = """\
ENTRY(reset_handler)
MEMORY
{{
{memory}
}}
SECTIONS
{{
  .text : ALIGN(8)
  {{
    KEEP(*(.vectors))
    *(.text .text.*)
    KEEP(*(.init)) KEEP(*(.fini))
    . = ALIGN(8);
  }} > {code}
  .weights : ALIGN(8)
  {{
    *lib{name}.a:*(.rodata .rodata.* .srodata .srodata.*)
    . = ALIGN(8);
  }} > {weights}
  .rodata : ALIGN(8)
  {{
    *(.rodata .rodata.* .srodata .srodata.* .data.rel.ro .data.rel.ro.*)
    . = ALIGN(4);
    tinymlaas_init_start = .;
    KEEP(*(SORT_BY_INIT_PRIORITY(.init_array.*) .init_array))
    tinymlaas_init_end = .;
    . = ALIGN(8);
  }} > {code}
  .ARM.exidx : {{ *(.ARM.extab* .ARM.exidx*) }} > {code}
  .arena (NOLOAD) :
  {{
    *(.bss.tinymlaas_arena)
    . = ALIGN(8);
  }} > {arena}
  .data : ALIGN(8)
  {{
    tinymlaas_data_start = .;
    tinymlaas_tls_start = .;
    *(.tdata .tdata.*)
    *(.data .data.*)
    . = ALIGN(8);
    __global_pointer$ = . + 0x800;
    *(.sdata .sdata.*)
    . = ALIGN(8);
    tinymlaas_data_end = .;
  }} > {data} AT > {code}
  tinymlaas_data_load = LOADADDR(.data);
  .bss (NOLOAD) : ALIGN(8)
  {{
    tinymlaas_bss_start = .;
    *(.sbss .sbss.*)
    *(.bss .bss.* COMMON)
    . = ALIGN(8);
    tinymlaas_bss_end = .;
  }} > {data}
  tinymlaas_stack_top = (ORIGIN({data}) + LENGTH({data})) & ~15;
  tinymlaas_stack_limit = {limit};
  /DISCARD/ : {{ *(.note .note.* .eh_frame .eh_frame.* .comment) }}
}}
"""


def script(
    placement: Placement, name: str, *, relaxed: bool = False, stack_bytes: int | None = None
) -> str:
    """Return a linker script for the module `name`.

    `relaxed` makes every region long enough for anything, so that a link that overflows can be
    repeated to learn the sizes. The stack grows down from the end of the data region, as far as
    .bss or at most `stack_bytes`.
    """
    limit = "tinymlaas_bss_end"
    if stack_bytes is not None:
        limit = f"MAX(tinymlaas_bss_end, tinymlaas_stack_top - {stack_bytes})"
    return _SCRIPT.format(
        memory="\n".join(_region(region, relaxed) for region in placement.regions()),
        name=name,
        code=placement.code.name,
        weights=placement.weights.name,
        arena=placement.arena.name,
        data=placement.data.name,
        limit=limit,
    )


def _region(region: MemoryRegion, relaxed: bool) -> str:
    length = region.length
    if relaxed:
        length = max(length, min(_RELAXED, _ADDRESS_SPACE - region.origin))
    return f"  {region.name} : ORIGIN = {region.origin:#x}, LENGTH = {length}"
