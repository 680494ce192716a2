"""What a person reads of the boards and compilers there are."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinymlaas.contract.compiler import CompilerDescription
from tinymlaas.contract.device import DeviceProfile, MemoryKind
from tinymlaas.render import facts_table


def boards(profiles: Iterable[DeviceProfile]) -> Table:
    """Return the table of known boards, in 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0))
    for heading in ("name", "MCU", "core"):
        table.add_column(heading, no_wrap=True)
    for heading in ("MHz", "flash KiB", "RAM KiB"):
        table.add_column(heading, justify="right")
    table.add_column("simulator", no_wrap=True)
    for profile in profiles:
        capability = profile.capability_class()
        sizes = [capability.capacity(kind) for kind in (MemoryKind.FLASH, MemoryKind.RAM)]
        simulator, _, _ = (profile.simulator or "–").partition("-atmega")  # the MCU is named
        table.add_row(
            profile.name,
            profile.mcu,
            str(profile.core),
            "–" if profile.clock_hz is None else f"{profile.clock_hz / 1e6:g}",
            *("–" if size is None else f"{size / 1024:,g}" for size in sizes),
            simulator,
        )
    return table


def board(profile: DeviceProfile) -> Table:
    """Return one board in full."""
    table = facts_table(profile.title)
    table.add_row("name", profile.name)
    table.add_row("MCU", f"{profile.mcu} ({profile.vendor})")
    table.add_row("core", f"{profile.core} {profile.cpu}".strip())
    extensions = f"FPU {profile.fpu}, DSP {'yes' if profile.dsp else 'no'}, MVE {profile.mve}"
    table.add_row("extensions", f"{extensions}, float ABI {profile.float_abi}")
    if profile.clock_hz is not None:
        table.add_row("clock", f"{profile.clock_hz / 1e6:g} MHz")
    for region in profile.memory:
        place = f"{region.origin:#010x} … {region.origin + region.length - 1:#010x}"
        table.add_row(f"{region.kind} {region.name}", f"{place}, {region.length / 1024:g} KiB")
    table.add_row("peripherals", ", ".join(profile.peripherals) or "–")
    table.add_row("RTOSes", ", ".join(profile.rtoses) or "–")
    table.add_row("simulator", profile.simulator or "none: modules are linked, not run")
    table.add_row("datasheet", profile.datasheet)
    return table


def compilers(
    found: Iterable[tuple[CompilerDescription, str]], missing: dict[str, str]
) -> RenderableType:
    """Return what each compiler can do, and why one cannot be used."""
    parts: list[RenderableType] = []
    for description, origin in found:
        facts = facts_table("")
        facts.add_row(description.name, f"{description.version}, {origin}")
        facts.add_row("  kernels", ", ".join(description.kernels))
        facts.add_row("  cores", ", ".join(map(str, description.cores)))
        for format in dict.fromkeys(support.format for support in description.operators):
            counts = (
                f"{len(support.operators)} {support.dtype}"
                for support in description.operators
                if support.format is format
            )
            facts.add_row("  operators", f"{format}: {', '.join(counts)}")
        parts.append(facts)
    for name, reason in sorted(missing.items()):
        parts.append(Text(f"{name}: cannot be used: {reason}", style="dim"))
    return Group(*parts)
