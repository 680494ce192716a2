"""Builds one firmware from many kernels, runs it where the core runs, says what came out."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinymlaas.contract.device import CapabilityClass, Core, Mve
from workers.compilers.cmsis_nn.special.layers import Constant, KernelCode

_HERE = Path(__file__).parent
OPTIMISE = "-O2"
BASE_FLAGS = (
    "-std=c11", "-ffunction-sections", "-fdata-sections", "-Wall", "-Wextra", "-Werror",
    "-nostdlib", "-ffreestanding",
)  # fmt: skip


@dataclass(frozen=True)
class Board:
    """A core under test, the gcc flags of its code, and the machine that runs it.

    `clock` is the SysTick's hertz (0: the counter counts instructions); `most` cases go into one
    firmware, so that they fit its memories.
    """

    target: CapabilityClass
    gcc: str
    flags: tuple[str, ...]
    command: tuple[str, ...] = ()
    rom: int = 0
    ram: int = 0x21000000
    clock: int = 25_000_000
    rom_kib: int = 2048
    ram_kib: int = 16384
    blob: str = "rom"
    most: int = 200


def _arm(core: Core, cpu: str, machine: str = "mps2-an386", **more: object) -> Board:
    dsp = core in (Core.CORTEX_M4, Core.CORTEX_M7, Core.CORTEX_M33, Core.CORTEX_M55)
    mve = Mve.INTEGER if core is Core.CORTEX_M55 else Mve.NONE
    return Board(
        target=CapabilityClass(core=core, dsp=dsp, mve=mve),
        gcc="arm-none-eabi-gcc",
        flags=("-mthumb", *cpu.split()),
        command=("qemu-system-arm", "-M", machine),
        **more,  # type: ignore[arg-type]
    )


# The microbit's M0 refuses what an M4 runs all the same: ARMv7-M instructions, unaligned words.
BOARDS = {
    "m0plus": _arm(
        Core.CORTEX_M0PLUS, "-mcpu=cortex-m0plus", "microbit",
        ram=0x20000000, rom_kib=256, ram_kib=16, clock=16_000_000, most=60,
    ),
    "m3": _arm(Core.CORTEX_M3, "-mcpu=cortex-m3", "mps2-an385"),
    "m4": _arm(Core.CORTEX_M4, "-mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16"),
    "m7": _arm(
        Core.CORTEX_M7, "-mcpu=cortex-m7 -mfloat-abi=soft", "mps2-an500", ram=0x60000000
    ),
    "m33": _arm(
        Core.CORTEX_M33, "-mcpu=cortex-m33+nofp -mfloat-abi=soft", "mps2-an505",
        rom=0x10000000, ram=0x80000000, rom_kib=4096, clock=20_000_000,
    ),
    "m55": _arm(
        Core.CORTEX_M55, "-march=armv8.1-m.main+dsp+mve -mfloat-abi=hard", "mps3-an547",
        rom=0x10000000, ram=0x70000000, clock=32_000_000, rom_kib=512, blob="ram",
    ),
    "rv32": Board(
        target=CapabilityClass(core=Core.RV32IMAC),
        gcc="riscv64-unknown-elf-gcc",
        flags=("-march=rv32imac_zicsr", "-mabi=ilp32"),
        command=("qemu-system-riscv32", "-M", "virt", "-bios", "none"),
        rom=0x80000000,
        ram=0x80800000,
        clock=0,
    ),
    "host": Board(
        target=CapabilityClass(core=Core.HOST),
        gcc="gcc",
        flags=("-DHOST", "-fsanitize=undefined,address", "-fno-sanitize-recover=all"),
    ),
}  # fmt: skip

_SCRIPT = """
ENTRY(reset_handler)
MEMORY {{ rom : ORIGIN = {rom:#x}, LENGTH = {size}K
  ram : ORIGIN = {ram:#x}, LENGTH = {ram_kib}K }}
SECTIONS {{
  .text : {{ KEEP(*(.vectors)) *(.text*) }} > rom
  .rodata : {{ *(.rodata* .srodata*) }} > rom
  .blob : {{ *(.blob) }} > {blob}
  .bss (NOLOAD) : {{ *(.bss* .sbss* COMMON) }} > ram
  .data : {{ *(.data* .sdata*) }} > ram
  stack_top = ORIGIN(ram) + LENGTH(ram);
  /DISCARD/ : {{ *(.ARM.exidx* .comment .note*) }}
}}
ASSERT(SIZEOF(.data) == 0, "kernels must not need initialised data")
"""


@dataclass(frozen=True, eq=False)
class Case:
    """A kernel, what goes in (all inputs, same size) and what must come out."""

    kernel: KernelCode
    inputs: tuple[np.ndarray, ...]
    expected: np.ndarray
    in_place: bool = False


@dataclass(frozen=True)
class Ran:
    """One case's answer: bytes that differ, guard bytes overwritten, instructions (about)."""

    wrong: int
    guards: int
    instructions: int


def declare(constant: Constant) -> str:
    """Return the C definition of a constant."""
    values = ",".join(str(int(value)) for value in constant.data.ravel())
    return (
        f"static const {constant.ctype} {constant.name}[{constant.data.size}] "
        f"__attribute__((aligned(4))) = {{{values}}};\n"
    )


def module_source(kernels: Sequence[KernelCode]) -> str:
    """Return all kernels as one translation unit, each shared snippet once."""
    includes = dict.fromkeys(name for kernel in kernels for name in kernel.includes)
    snippets = {snippet.name: snippet.text for kernel in kernels for snippet in kernel.snippets}
    parts = [f"#include {name}\n" for name in includes] + list(snippets.values())
    for kernel in kernels:
        parts += [declare(constant) for constant in kernel.constants]
        parts.append(kernel.source)
    return "\n".join(parts)


def _held(case: Case) -> int:
    """Return the bytes that the output's buffer must hold."""
    return max(case.expected.size, case.inputs[0].size if case.in_place else 0)


def _table(cases: Sequence[Case]) -> str:
    rows, blob = [], 0
    for case in cases:
        size, out = case.inputs[0].size, case.expected.size
        name = case.kernel.function
        calls = f"0, {name}" if len(case.inputs) == 2 else f"{name}, 0"
        rows.append(
            f"{{{calls}, {blob}, {size}, {len(case.inputs)}, {out}, "
            f"{case.kernel.scratch_bytes}, {int(case.in_place)}}},"
        )
        blob += size * len(case.inputs) + out
    return "\n".join(
        [
            "struct special_case { void (*run)(const int8_t *, int8_t *, uint8_t *);",
            "  void (*run2)(const int8_t *, const int8_t *, int8_t *, uint8_t *);",
            "  uint32_t blob, in_bytes, inputs, out_bytes, scratch, in_place; };",
            f"enum {{ CASE_COUNT = {len(cases)},",
            f"  CASE_IN_MAX = {max(case.inputs[0].size for case in cases)},",
            f"  CASE_IN2_MAX = {max([0, *(c.inputs[1].size for c in cases if c.inputs[1:])])},",
            f"  CASE_OUT_MAX = {max(_held(case) for case in cases)},",
            f"  CASE_SCRATCH_MAX = {max(case.kernel.scratch_bytes for case in cases)} }};",
            "static const struct special_case special_cases[] = {",
            *rows,
            "};",
        ]
    )


def build(cases: Sequence[Case], board: Board, folder: Path, optimise: str = OPTIMISE) -> Path:
    """Compile and link; returns the program."""
    blob = b"".join(
        np.concatenate([*(i.ravel() for i in case.inputs), case.expected.ravel()]).tobytes()
        for case in cases
    )
    (folder / "blob.bin").write_bytes(blob)
    (folder / "blob.S").write_text(
        '.section .blob,"a"\n.globl case_blob\n.balign 4\ncase_blob:\n.incbin "blob.bin"\n'
        '#ifdef __linux__\n.section .note.GNU-stack,"",%progbits\n#endif\n'
    )
    text = "#include <stdint.h>\n" + module_source([case.kernel for case in cases])
    mask = "0xFFFFFFu" if board.clock else "0xFFFFFFFFu"
    text += f"\n#define TICK_MASK {mask}\n" + _table(cases)
    (folder / "cases.h").write_text(text)
    flags = list(BASE_FLAGS)
    if board.target.core is Core.HOST:
        flags = [flag for flag in flags if flag not in ("-nostdlib", "-ffreestanding")]
    else:
        (folder / "link.ld").write_text(
            _SCRIPT.format(
                rom=board.rom,
                ram=board.ram,
                blob=board.blob,
                size=board.rom_kib,
                ram_kib=board.ram_kib,
            )
        )
        flags += ["-T", "link.ld", "-Wl,--gc-sections", "-Wl,--no-warn-rwx-segments"]
    command = [
        board.gcc,
        optimise,
        *flags,
        *board.flags,
        f"-I{folder}",
        str(_HERE / "firmware.c"),
        "blob.S",
    ]
    libraries = [] if board.target.core is Core.HOST else ["-lgcc"]
    done = subprocess.run(
        [*command, *libraries, "-o", "program.elf"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:3000]
    return folder / "program.elf"


def run(
    cases: Sequence[Case],
    board: Board,
    folder: Path,
    optimise: str = OPTIMISE,
    timeout: float = 300,
) -> list[Ran]:
    """Build and run, in as many firmwares as needed; one answer a case, in order."""
    answers = []
    for start in range(0, len(cases), board.most):
        part = cases[start : start + board.most]
        answers += _run(part, board, build(part, board, folder, optimise), timeout)
    return answers


def _run(cases: Sequence[Case], board: Board, program: Path, timeout: float) -> list[Ran]:
    command = [str(program)]
    if board.command:
        command = [
            *board.command, "-display", "none", "-serial", "none", "-monitor", "none",
            "-semihosting-config", "enable=on,target=native", "-icount", "shift=0",
            "-kernel", str(program),
        ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    lines = (done.stdout + done.stderr).split("\n")
    rows = [line.split() for line in lines if line.startswith(" ")]
    assert "end" in lines, f"case {len(rows)} of {len(cases)} did not end: {lines[-4:]}"
    scale = 1_000_000_000 // board.clock if board.clock else 1
    return [Ran(int(w), int(g), int(t) * scale) for w, g, t in rows]
