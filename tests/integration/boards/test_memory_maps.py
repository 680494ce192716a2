"""Memory maps against what implements them: QEMU for the simulated machines, avr-libc for AVR."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tinymlaas.boards import catalog
from tinymlaas.contract.device import Core, DeviceProfile, MemoryKind

SIMULATED = ["mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547", "microbit"]
AVR = [board.name for board in catalog.all_boards() if board.core is Core.AVR]

# Writes a word to each address of a list and reads them all back when all are written, so that
# two addresses of one memory show. Then exits by semihosting: 0 if all were there.
PROBE = """\
    .syntax unified
    .thumb
    .section .vectors, "a"
    .word {stack}
    .word start + 1
    .word fault + 1
    .word fault + 1
    .text
    .thumb_func
start:
    ldr r0, =places
    ldr r1, =end
1:  ldr r2, [r0]
    str r0, [r2]
    adds r0, #4
    cmp r0, r1
    bne 1b
    ldr r0, =places
2:  ldr r2, [r0]
    ldr r3, [r2]
    cmp r3, r0
    bne fault
    adds r0, #4
    cmp r0, r1
    bne 2b
    ldr r1, =0x20026            @ ADP_Stopped_ApplicationExit
    b 3f
    .thumb_func
fault:
    ldr r1, =0x20023            @ ADP_Stopped_RunTimeErrorUnknown
3:  movs r0, #0x18              @ SYS_EXIT
    bkpt 0xab
    b 3b
    .align 2
places:
    .word {places}
end:
"""


def run(board: DeviceProfile, places: list[int], folder: Path) -> int:
    """Run the probe from the board's first flash region; return QEMU's exit status."""
    flash = next(region for region in board.memory if region.kind is MemoryKind.FLASH)
    stack = next(region for region in board.memory if region.kind is MemoryKind.RAM)
    source, image = folder / "probe.S", folder / "probe.elf"
    listed = ", ".join(f"{place:#x}" for place in places)
    source.write_text(PROBE.format(stack=hex(stack.origin + stack.length), places=listed))
    core = f"-mcpu={board.core}"
    place = [
        f"-Wl,--section-start=.vectors={flash.origin:#x}",
        f"-Wl,-Ttext={flash.origin + 64:#x}",
    ]
    gcc = ["arm-none-eabi-gcc", core, "-mthumb", "-nostdlib", "-Wl,-e,start", *place]
    subprocess.run([*gcc, str(source), "-o", str(image)], check=True)
    quiet = ["-display", "none", "-serial", "none", "-monitor", "none"]
    qemu = ["qemu-system-arm", "-M", board.name, *quiet, "-semihosting", "-kernel", str(image)]
    return subprocess.run(qemu, timeout=30, check=False, stderr=subprocess.DEVNULL).returncode


def ends(board: DeviceProfile, kinds: set[MemoryKind]) -> list[int]:
    """First and last word of every region, but for the first word of the one the probe is in."""
    regions = [region for region in board.memory if region.kind in kinds]
    first = [region.origin for region in regions if region is not board.memory[0]]
    return first + [region.origin + region.length - 4 for region in regions]


@pytest.mark.parametrize("name", SIMULATED)
def test_every_region_of_a_simulated_machine_is_there(name: str, tmp_path: Path) -> None:
    board = catalog.get(name)
    # The machines' "flash" is RAM that QEMU fills, but for the micro:bit's.
    kinds = {MemoryKind.RAM} if name == "microbit" else set(MemoryKind)
    assert run(board, ends(board, kinds), tmp_path) == 0


@pytest.mark.parametrize("name", ["mps2-an386", "mps3-an547", "microbit"])
def test_the_probe_sees_what_is_not_there(name: str, tmp_path: Path) -> None:
    board = catalog.get(name)
    assert run(board, [0x7FFF_FFF0 if name == "microbit" else 0xF000_0000], tmp_path) != 0


@pytest.mark.parametrize("name", AVR)
def test_avr_memory_is_what_avr_libc_says(name: str) -> None:
    board = catalog.get(name)
    flash, ram = board.memory
    assert flash.origin == 0
    claims = f"""\
        #include <avr/io.h>
        _Static_assert(FLASHEND + 1L == {flash.length}, "flash");
        _Static_assert(RAMSTART == {ram.origin}, "start of RAM");
        _Static_assert(RAMEND + 1 == {ram.origin + ram.length}, "end of RAM");
    """
    command = ["avr-gcc", f"-mmcu={board.cpu}", "-fsyntax-only", "-x", "c", "-"]
    done = subprocess.run(command, input=claims, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
