import pytest

from tests.unit.toolchains.handmade import (
    DENSE,
    HOST,
    M4F,
    NAME,
    TARGETS,
    body,
    memory,
    region,
)
from tinymlaas.contract.device import MemoryKind
from tinymlaas.contract.errors import CompilerCrashed, ToolchainError
from tinymlaas.contract.manifest import Level
from workers.toolchains.fit import ModuleDoesNotFit, link


def on(memory_map, target=M4F):
    return target.model_copy(update={"memory": tuple(memory_map)})


@pytest.mark.parametrize("core", TARGETS)
def test_footprint_of_every_core(core, tmp_path, cache):
    target = TARGETS[core]
    footprint = link(DENSE.build(target), NAME, target, cache=cache)
    assert footprint.level is Level.LINKED
    assert footprint.arena_bytes == 104
    assert 640 <= footprint.weight_bytes < 720
    assert 100 < footprint.code_bytes < 1000
    assert footprint.flash_bytes > footprint.code_bytes + footprint.weight_bytes
    assert footprint.ram_bytes == footprint.arena_bytes + footprint.static_bytes
    assert footprint.stack_bytes is None
    assert [use.length for use in footprint.regions] == [r.length for r in target.memory]
    in_regions = sum(use.used for use in footprint.regions)
    if target.memory:
        assert in_regions == footprint.flash_bytes + footprint.ram_bytes


def test_constants_of_an_avr_take_flash_and_ram(tmp_path, cache):
    target = TARGETS["avr6"]
    footprint = link(DENSE.build(target), NAME, target, cache=cache)
    assert footprint.static_bytes > 640
    rows = {(use.section, use.region): use.bytes for use in footprint.sections}
    assert rows[".data", "ram"] == rows[".data (initial values)", "flash"] > 640


def _needs(tmp_path, cache, target=M4F):
    return link(DENSE.build(target), NAME, target, cache=cache)


@pytest.mark.parametrize("core", ["m4f", "rv32imac", "avr6"])
def test_too_little_flash_is_said_with_the_true_numbers(core, tmp_path, cache):
    target = TARGETS[core]
    needs = _needs(tmp_path, cache, target)
    flash, ram = target.memory
    exact = on((flash.model_copy(update={"length": needs.flash_bytes}), ram), target)
    library = DENSE.build(target)
    assert link(library, NAME, exact, cache=cache).flash_bytes == needs.flash_bytes
    short = on((flash.model_copy(update={"length": needs.flash_bytes - 1}), ram), target)
    with pytest.raises(ModuleDoesNotFit) as caught:
        link(library, NAME, short, cache=cache)
    assert len(caught.value.reasons) == 1
    said = f"needs {needs.flash_bytes:,} bytes flash of {needs.flash_bytes - 1:,} bytes ("
    assert caught.value.reasons[0].startswith(said)
    assert caught.value.footprint.sections == needs.sections
    assert caught.value.footprint.regions[0].used == needs.flash_bytes


def test_too_little_ram_is_said_with_the_true_numbers(tmp_path, cache):
    needs = _needs(tmp_path, cache)
    flash, ram = M4F.memory
    library = DENSE.build(M4F)
    small = on((flash, ram.model_copy(update={"length": needs.ram_bytes - 8})))
    with pytest.raises(ModuleDoesNotFit) as caught:
        link(library, NAME, small, cache=cache)
    assert caught.value.reasons == (
        f"needs {needs.ram_bytes} bytes RAM of {needs.ram_bytes - 8} bytes "
        f"(arena 104 bytes, static {needs.static_bytes} bytes), 8 bytes too many",
    )


def test_both_are_said_at_once(tmp_path, cache):
    library = DENSE.build(M4F)
    small = on(
        (
            region("flash", MemoryKind.FLASH, 0x08000000, 512),
            region("ram", MemoryKind.RAM, 0x20000000, 64),
        )
    )
    with pytest.raises(ModuleDoesNotFit) as caught:
        link(library, NAME, small, cache=cache)
    assert ["flash" in caught.value.reasons[0], "RAM" in caught.value.reasons[1]] == [True, True]


def test_a_megabyte_too_much_is_still_measured(tmp_path, cache):
    big = "static const uint8_t big[3000000] = {1, 2, 3};"
    library = body("y[0] = big[x[0]];", big).build(M4F)
    with pytest.raises(ModuleDoesNotFit, match=r"needs 2,93\d kB flash of 256 kB \(rodata 2,930"):
        link(library, NAME, M4F, cache=cache)


WEIGHTS = "static const uint8_t weights[20000] = {1, 2, 3};"


def test_weights_go_to_the_flash_that_holds_them(tmp_path, cache):
    library = body("y[0] = weights[x[0]];", WEIGHTS).build(M4F)
    board = on(
        (
            region("boot", MemoryKind.FLASH, 0x08000000, 16384),
            region("spare", MemoryKind.FLASH, 0x60000000, 4096),
            region("qspi", MemoryKind.FLASH, 0x90000000, 32768),
            region("ram", MemoryKind.RAM, 0x20000000, 65536),
        )
    )
    footprint = link(library, NAME, board, cache=cache)
    rows = {use.section: use.region for use in footprint.sections}
    assert rows[".weights"] == "qspi"
    assert rows[".text"] == "boot"
    assert footprint.regions[2].used == 20000


def test_data_moves_aside_when_the_arena_fills_its_region(tmp_path, cache):
    data = "static int32_t state[64] = {1, 2, 3};"
    library = body("y[0] = state[x[0]]++;", data, arena=4096).build(M4F)
    board = on(
        (
            region("flash", MemoryKind.FLASH, 0x08000000, 65536),
            region("ccm", MemoryKind.RAM, 0x10000000, 1024),
            region("sram", MemoryKind.RAM, 0x20000000, 4100),
        )
    )
    footprint = link(library, NAME, board, cache=cache)
    rows = {use.section: use.region for use in footprint.sections}
    assert (rows[".arena"], rows[".data"]) == ("sram", "ccm")
    none = on((*board.memory[:2], region("sram", MemoryKind.RAM, 0x20000000, 4000)))
    with pytest.raises(ModuleDoesNotFit, match="cannot hold in pieces: ccm 1,024 bytes, sram"):
        link(library, NAME, none, cache=cache)


def test_no_reason_is_given_for_the_memory_that_is_enough(tmp_path, cache):
    """RAM would only do with data moved aside; flash is what is short, and alone is said."""
    data = "static int32_t state[64] = {1, 2, 3};"
    library = body("y[0] = state[x[0]]++;", data, arena=4096).build(M4F)
    board = on(
        (
            region("flash", MemoryKind.FLASH, 0x08000000, 256),
            region("ccm", MemoryKind.RAM, 0x10000000, 1024),
            region("sram", MemoryKind.RAM, 0x20000000, 4100),
        )
    )
    with pytest.raises(ModuleDoesNotFit) as caught:
        link(library, NAME, board, cache=cache)
    assert [reason.split(" of ")[0].split()[-1] for reason in caught.value.reasons] == ["flash"]


def test_a_module_with_a_heap_does_not_link(tmp_path, cache):
    library = body("y[0] = *(int *)malloc(x[0]);", "#include <stdlib.h>").build(M4F)
    with pytest.raises(CompilerCrashed, match="the module needs _sbrk, which no library"):
        link(library, NAME, M4F, cache=cache)


def test_a_missing_function_is_named(tmp_path, cache):
    library = body("y[0] = other(x[0]);", "int other(int);").build(HOST)
    with pytest.raises(CompilerCrashed, match="the module needs other, which no library for host"):
        link(library, NAME, HOST, cache=cache)


def test_a_map_without_flash_cannot_be_linked(tmp_path, cache):
    library = DENSE.build(M4F)
    with pytest.raises(ToolchainError, match="no flash region"):
        link(library, NAME, on(memory(256, 64)[1:]), cache=cache)


def test_firmware_is_compiled_once(tmp_path):
    cache = tmp_path / "cache"
    library = DENSE.build(M4F)
    first = link(library, NAME, M4F, cache=cache)
    kept = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    assert len(kept) == 2
    assert link(library, NAME, M4F, cache=cache) == first
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == kept


def test_nothing_is_left_behind(tmp_path, cache, own_tmp):
    library = DENSE.build(M4F)
    link(library, NAME, M4F, cache=cache)
    with pytest.raises(ModuleDoesNotFit):
        link(library, NAME, on(memory(1, 64)), cache=cache)
    assert list(own_tmp.iterdir()) == []
