"""Runs in QEMU: deterministic, with data by semihosting and instructions by a timer."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from tinymlaas.contract.manifest import Level
from workers.toolchains import image, linker, process
from workers.toolchains.firmware import FIRMWARE, LinkOverflow
from workers.verify.clocks import Clock
from workers.verify.job import Job, RunFailed, RunResult, deepest
from workers.verify.machines import CannotSimulate, Machine, qemu_machines
from workers.verify.streams import Answer

_FAULT = re.compile(r"(?:HardFault|trap): [^=]*= (0x[0-9a-f]+)")
_NO_STACK = "the stack is deeper than there is room for"  # as harness/measure.c says it


class StackTooDeep(RunFailed):
    """The module needs more stack than its data has left on this machine."""


def run_in_qemu(job: Job) -> RunResult:
    """Run `job` on the nearest machine that has room for it.

    Raises:
        CannotSimulate: no machine runs code for the target, or none has room.
        RunFailed: the module faulted, reported an error or did not end in time.
        StackTooDeep: it needs more stack than the largest machine has.
    """
    machines = qemu_machines(job.target)
    if not machines:
        raise CannotSimulate(f"no simulated machine runs code for {job.target.core.value}")
    job.write_inputs()
    for machine in machines:
        try:
            return _run_on(job, machine, _link_for(job, machine))
        except LinkOverflow:
            continue
        except StackTooDeep:
            # how deep it goes is known only now; a larger machine may have the room
            if machine is machines[-1]:
                raise
    raise CannotSimulate(
        f"the module is too large for {' and '.join(machine.name for machine in machines)}"
    )


def _link_for(job: Job, machine: Machine) -> Path:
    sources = [
        "harness_streams.c",
        "measure.c",
        "port_semihost.c",
        "faults.c",
        machine.clock.source,
    ]
    script = linker.script(machine.placement(), job.name, stack_bytes=machine.stack_bytes)
    return job.link(job.target, sources, machine.clock.defines, script)


def _run_on(job: Job, machine: Machine, program: Path) -> RunResult:
    emulator = process.require(machine.emulator, machine.package)
    command = [
        emulator,
        *machine.arguments,
        *("-nodefaults", "-display", "none", "-serial", "none", "-monitor", "none"),
        *("-semihosting-config", "enable=on,target=native"),
        *("-icount", f"shift={machine.clock.shift}", "-kernel", program.name),
    ]
    done = job.start(command, machine.name)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line and "warning:" not in line]
        line = lines[0] if lines else f"exit status {done.returncode}, no message"
        error = StackTooDeep if line.startswith(_NO_STACK) else RunFailed
        raise error(f"the module failed on {machine.name}: {line}{_culprit(line, job)}")
    answer = job.answer()
    counts = _instructions(answer, machine.clock)
    return RunResult(
        outputs=answer.outputs,
        instructions=max(counts, default=None),
        instructions_by_sample=counts,
        stack_bytes=deepest([answer]),
        machine=machine.name,
        simulator=_version(emulator),
        level=Level.SIMULATED,
    )


def _culprit(line: str, job: Job) -> str:
    """Name the function in which a fault happened; the harness reports the pc first."""
    fault = _FAULT.match(line)
    if fault is None:
        return ""
    name = image.function_at(job.work_dir / FIRMWARE, int(fault.group(1), 16))
    return f" (in {name})" if name else " (at an address with no code)"


def _instructions(answer: Answer, clock: Clock) -> tuple[int, ...]:
    empty = clock.instructions(answer.empty.fine, answer.empty.coarse)
    return tuple(clock.instructions(m.fine, m.coarse) - empty for m in answer.samples)


@functools.cache
def _version(emulator: str) -> str:
    said = process.run([emulator, "--version"], Path(emulator).parent, 30.0)
    return said.stdout.splitlines()[0] if said.stdout else Path(emulator).name
