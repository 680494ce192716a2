"""Runs of AVR code in simavr. QEMU's AVR is no alternative: it hangs on a skipped RET (7.2,
target/avr/translate.c), which libgcc's 16-bit multiplication has.

Instructions are not counted: simavr counts cycles, and those are never called instructions.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from tinymlaas.contract.manifest import Level
from workers.toolchains import process
from workers.toolchains.firmware import LinkOverflow
from workers.toolchains.library import compile_source
from workers.toolchains.toolchain import toolchain_for
from workers.verify.chips import SIMAVR, Chip, chips_for, simulator
from workers.verify.job import HARNESS_DIR, Job, RunFailed, RunResult, deepest
from workers.verify.machines import CannotSimulate
from workers.verify.streams import Answer

_FREQUENCY = "16000000"
_LEAST_STACK = 128  # bytes kept free by the linker; the watermark tells if it was enough
_CRASHED = "avr_gdb_init"  # after a crash it says so, and waits for a debugger for ever
_LINE = re.compile(r"O:([DE])([^\x1b\n]*)")


def run_in_simavr(job: Job) -> RunResult:
    """Run `job` on its own chip or on one with the same instruction set and more memory.

    Raises:
        CannotSimulate: simavr has no such chip, or none that has room.
        RunFailed: the module crashed, reported an error or did not end in time.
    """
    chips = chips_for(job.target.cpu)
    if not chips:
        raise CannotSimulate(f"no simulated machine runs code for {job.target.cpu}")
    for chip in chips:
        try:
            answers = _answers(job, chip)
        except LinkOverflow:
            continue
        return RunResult(
            outputs=tuple(outputs for answer in answers for outputs in answer.outputs),
            instructions=None,
            instructions_by_sample=(),
            stack_bytes=deepest(answers),
            machine=chip.name,
            simulator=SIMAVR,
            level=Level.SIMULATED,
        )
    raise CannotSimulate(f"the module is too large for {' and '.join(c.cpu for c in chips)}")


def _answers(job: Job, chip: Chip) -> list[Answer]:
    """Run the samples, which lie in flash beside the program, in as many runs as that takes."""
    try:
        program = _link(job, chip)
    except LinkOverflow:
        half = len(job.samples) // 2
        if half == 0:
            raise
        parts = (job.samples[:half], job.samples[half:])
        jobs = [dataclasses.replace(job, samples=part) for part in parts]
        return [answer for part in jobs for answer in _answers(part, chip)]
    return [_run(job, chip, program)]


def _link(job: Job, chip: Chip) -> Path:
    job.write_inputs()
    target = job.target.model_copy(update={"cpu": chip.cpu})
    toolchain = toolchain_for(target.core)
    inputs = job.work_dir / "inputs.o"
    source = HARNESS_DIR / "inputs_avr.S"
    flags = [*toolchain.cflags(target), "-Wa,-I."]
    compile_source(toolchain, flags, str(source), inputs.name, job.work_dir)
    extra = (
        "-Wl,--undefined=_mmcu,--section-start=.mmcu=0x910000",
        "-Wl,--defsym=tinymlaas_stack_limit=__heap_start",
        f"-Wl,--defsym=__TEXT_REGION_LENGTH__={chip.flash}",
        f"-Wl,--defsym=__DATA_REGION_LENGTH__={chip.ram - _LEAST_STACK}",
    )
    sources = ["harness_streams.c", "measure.c", "port_simavr.c", "ticks_none.c"]
    return job.link(target, sources, extra=extra, objects=[inputs])


def _run(job: Job, chip: Chip, program: Path) -> Answer:
    printed = job.work_dir / "simavr.txt"

    def crashed() -> bool:
        return _CRASHED in printed.read_text(encoding="utf-8", errors="replace")

    # Without stdbuf its messages would stay in a buffer as long as it waits.
    stdbuf = process.require("stdbuf", "coreutils")
    command = [stdbuf, "-oL", simulator(), "-m", chip.cpu, "-f", _FREQUENCY, program.name]
    job.start(command, chip.name, output=printed, until=crashed)
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
    return job.decode(bytes.fromhex("".join(line for kind, line in lines if kind == "D")))
