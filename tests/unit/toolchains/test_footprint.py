import pytest

from tests.unit.toolchains.handmade import memory, region
from tinymlaas.contract.device import CapabilityClass, Core, MemoryKind
from tinymlaas.contract.manifest import Level
from workers.toolchains.footprint import (
    Linked,
    ModuleDoesNotFit,
    footprint_of,
    kilobytes,
    reasons_against,
    with_stack,
)
from workers.toolchains.image import ModuleShare, Section
from workers.toolchains.linker import Placement


def section(name, size, writable=False, stored=True):
    return Section(name, 0, 0, size, writable, stored, executable=name == ".text")


def linked(text=1000, weights=2000, data=100, bss=50, arena=4000):
    sections = (
        section(".text", text),
        section(".weights", weights),
        section(".data", data, writable=True),
        section(".bss", bss, writable=True, stored=False),
        section(".arena", arena, writable=True, stored=False),
    )
    return Linked(sections, arena, ModuleShare(code=700, weights=weights))


def target(flash_kib=16, ram_kib=8):
    return CapabilityClass(core=Core.CORTEX_M4, memory=memory(flash_kib, ram_kib))


def place(board):
    flash, ram = board.memory[0], board.memory[-1]
    return Placement(code=flash, weights=flash, data=ram, arena=ram)


def test_sums_and_regions():
    board = target()
    footprint = footprint_of(linked(), place(board), board)
    assert footprint.level is Level.LINKED
    assert footprint.flash_bytes == 1000 + 2000 + 100
    assert footprint.ram_bytes == 4000 + 100 + 50
    assert (footprint.arena_bytes, footprint.static_bytes) == (4000, 150)
    assert (footprint.code_bytes, footprint.weight_bytes) == (700, 2000)
    assert footprint.stack_bytes is None
    used = {use.region: (use.used, use.length) for use in footprint.regions}
    assert used == {"flash": (3100, 16384), "ram": (4150, 8192)}
    assert reasons_against(footprint, board) == ()


def test_an_arena_inside_bss_is_shown_apart():
    board = target()
    sections = (section(".text", 100), section(".bss", 4050, writable=True, stored=False))
    footprint = footprint_of(Linked(sections, 4000, ModuleShare(0, 0)), place(board), board)
    rows = {use.section: use.bytes for use in footprint.sections}
    assert rows == {".text": 100, ".arena": 4000, ".bss": 50}


def test_without_a_map_nothing_is_limited():
    board = CapabilityClass(core=Core.HOST)
    footprint = footprint_of(linked(), None, board)
    assert footprint.regions == ()
    assert with_stack(footprint, 10**9, board).ram_bytes == 4150 + 10**9


def test_flash_reason_has_the_numbers_largest_first():
    board = target(flash_kib=256, ram_kib=64)
    footprint = footprint_of(linked(text=55_000, weights=3_123_000), place(board), board)
    assert reasons_against(footprint, board) == (
        "needs 3,104 kB flash of 256 kB (rodata 3,050 kB, text 54 kB, data 100 bytes), "
        "2,915,956 bytes too many",
    )


def test_stack_decides_ram():
    board = target(ram_kib=8)
    footprint = footprint_of(linked(), place(board), board)
    fits = with_stack(footprint, 8192 - 4150, board)
    assert fits.ram_bytes == 8192
    assert fits.sections[-1].section == "stack"
    with pytest.raises(ModuleDoesNotFit, match=r"needs 8,193 bytes RAM of 8,192") as caught:
        with_stack(fits, 8192 - 4150 + 1, board)
    assert caught.value.footprint.ram_bytes == 8193
    assert [use.section for use in caught.value.footprint.sections].count("stack") == 1
    (ram,) = (use for use in caught.value.footprint.regions if use.length == 8192)
    assert (ram.used, ram.free, ram.free_percent) == (8193, -1, -0.0)
    assert [use.free_percent for use in fits.regions if use.length == 8192] == [0.0]


def test_stack_goes_where_there_is_room():
    board = CapabilityClass(
        core=Core.CORTEX_M4,
        memory=(
            region("flash", MemoryKind.FLASH, 0, 1 << 20),
            region("sram", MemoryKind.RAM, 0x20000000, 4200),
            region("ccm", MemoryKind.RAM, 0x10000000, 4096),
        ),
    )
    flash, sram, _ccm = board.memory
    placement = Placement(code=flash, weights=flash, data=sram, arena=sram)
    judged = with_stack(footprint_of(linked(), placement, board), 4000, board)
    assert judged.sections[-1].region == "ccm"
    with pytest.raises(ModuleDoesNotFit, match="cannot hold in pieces: sram 4,200 bytes, ccm"):
        with_stack(footprint_of(linked(), placement, board), 4100, board)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (10239, "10,239 bytes"), (10240, "10 kB"), (10241, "11 kB")],
)
def test_sizes_are_never_rounded_down(size, text):
    assert kilobytes(size) == text
