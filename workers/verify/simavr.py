"""Runs of AVR code in simavr. QEMU's AVR is no alternative: it hangs on a skipped RET (7.2,
target/avr/translate.c), which libgcc's 16-bit multiplication has.

Instructions are not counted: simavr counts cycles, and those are never called instructions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from workers.toolchains import process
from workers.toolchains.compiling import compile_source
from workers.toolchains.firmware import LinkOverflow
from workers.toolchains.toolchain import toolchain_for
from workers.verify.chips import Chip, simulator
from workers.verify.job import HARNESS_DIR, Bench, Job, Part, Ran, RunFailed
from workers.verify.machines import CannotSimulate
from workers.verify.streams import Sample

SOURCES = ("harness_streams.c", "measure.c", "port_simavr.c", "ticks_none.c")
_FREQUENCY = "16000000"
_LEAST_STACK = 128  # bytes kept free by the linker; the watermark tells if it was enough
_CRASHED = "avr_gdb_init"  # after a crash it says so, and waits for a debugger for ever
_LINE = re.compile(r"O:([DE])([^\x1b\n]*)")


def run_in_simavr(job: Job) -> Ran:
    """Run `job` on its own chip or on one with the same instruction set and more memory.

    Called inside.

    Raises:
        CannotSimulate: no chip has room.
        RunFailed: the module crashed, reported an error or did not end in time.
    """
    chips = [place.where for place in job.places if isinstance(place.where, Chip)]
    for number, chip in enumerate(chips):
        try:
            return Ran(number, tuple(_parts(Bench.of(job, number), chip, job.samples)))
        except LinkOverflow:
            continue
    raise CannotSimulate(f"the module is too large for {' and '.join(c.cpu for c in chips)}")


def _parts(bench: Bench, chip: Chip, samples: Sequence[Sample]) -> list[Part]:
    """Run the samples, which lie in flash beside the program, in as many runs as that takes."""
    try:
        program = _link(bench, chip, samples)
    except LinkOverflow:
        half = len(samples) // 2
        if half == 0:
            raise
        halves = (samples[:half], samples[half:])
        return [part for each in halves for part in _parts(bench, chip, each)]
    return [Part(len(samples), _run(bench, chip, program))]


def _link(bench: Bench, chip: Chip, samples: Sequence[Sample]) -> Path:
    bench.write_inputs(samples)
    target = bench.module.target
    toolchain = toolchain_for(target.core)
    inputs, source = "inputs.o", HARNESS_DIR / "inputs_avr.S"
    flags = (*toolchain.cflags(target), "-Wa,-I.")
    compile_source(toolchain, flags, str(source), inputs, bench.folder)
    extra = (
        "-Wl,--undefined=_mmcu,--section-start=.mmcu=0x910000",
        "-Wl,--defsym=tinymlaas_stack_limit=__heap_start",
        f"-Wl,--defsym=__TEXT_REGION_LENGTH__={chip.flash}",
        f"-Wl,--defsym=__DATA_REGION_LENGTH__={chip.ram - _LEAST_STACK}",
    )
    return bench.link(extra=extra, objects=[inputs])


def _run(bench: Bench, chip: Chip, program: Path) -> bytes:
    printed = bench.folder / "simavr.txt"

    def crashed() -> bool:
        return _CRASHED in printed.read_text(encoding="utf-8", errors="replace")

    # Without stdbuf its messages would stay in a buffer as long as it waits.
    stdbuf = process.require("stdbuf", "coreutils")
    command = [stdbuf, "-oL", simulator(), "-m", chip.cpu, "-f", _FREQUENCY, program.name]
    bench.start(command, chip.name, output=printed, until=crashed)
    text = printed.read_text(encoding="utf-8", errors="replace")
    lines = _LINE.findall(text)
    if not lines or lines[-1][0] != "E":
        raise RunFailed(
            f"the module crashed on {chip.name}: a jump out of the program or an unknown "
            "instruction"
        )
    why = lines[-1][1].strip()
    if why:
        raise RunFailed(f"the module failed on {chip.name}: {why}")
    return bytes.fromhex("".join(line for kind, line in lines if kind == "D"))
