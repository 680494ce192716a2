"""Runs in QEMU: deterministic, with data by semihosting and instructions by a timer."""

from __future__ import annotations

import functools
import re
from pathlib import Path

from workers.toolchains import image, linker, process
from workers.toolchains.firmware import FIRMWARE, LinkOverflow
from workers.verify.clocks import Clock
from workers.verify.job import Bench, Job, Ran, RunFailed
from workers.verify.machines import CannotSimulate, Machine
from workers.verify.streams import Answer

_FAULT = re.compile(r"(?:HardFault|trap): [^=]*= (0x[0-9a-f]+)")
_NO_STACK = "the stack is deeper than there is room for"  # as harness/measure.c says it


class StackTooDeep(RunFailed):
    """The module needs more stack than its data has left on this machine."""


def sources(machine: Machine) -> tuple[str, ...]:
    """Return the files of the harness for `machine`."""
    return (
        "harness_streams.c",
        "measure.c",
        "port_semihost.c",
        "faults.c",
        machine.clock.source,
    )


def run_in_qemu(job: Job) -> Ran:
    """Run `job` on the nearest machine that has room for it; called inside.

    Raises:
        CannotSimulate: no machine has room.
        RunFailed: the module faulted, reported an error or did not end in time.
        StackTooDeep: it needs more stack than the largest machine has.
    """
    machines = [p.where for p in job.places if isinstance(p.where, Machine)]
    for number, machine in enumerate(machines):
        bench = Bench.of(job, number)
        bench.write_inputs(job.samples)
        try:
            _run_on(bench, machine, _link_for(bench, machine))
        except LinkOverflow:
            continue
        except StackTooDeep:
            # how deep it goes is known only now; a larger machine may have the room
            if machine is machines[-1]:
                raise
        else:
            return bench.ran(number)
    raise CannotSimulate(
        f"the module is too large for {' and '.join(machine.name for machine in machines)}"
    )


def _link_for(bench: Bench, machine: Machine) -> Path:
    name, stack_bytes = bench.job.name, machine.stack_bytes
    return bench.link(linker.script(machine.placement(), name, stack_bytes=stack_bytes))


def _run_on(bench: Bench, machine: Machine, program: Path) -> None:
    command = [
        process.require(machine.emulator, machine.package),
        *machine.arguments,
        *("-nodefaults", "-display", "none", "-serial", "none", "-monitor", "none"),
        *("-semihosting-config", "enable=on,target=native"),
        *("-icount", f"shift={machine.clock.shift}", "-kernel", program.name),
    ]
    done = bench.start(command, machine.name)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line and "warning:" not in line]
        line = lines[0] if lines else f"exit status {done.returncode}, no message"
        error = StackTooDeep if line.startswith(_NO_STACK) else RunFailed
        raise error(f"the module failed on {machine.name}: {line}{_culprit(line, bench)}")


def _culprit(line: str, bench: Bench) -> str:
    """Name the function in which a fault happened; the harness reports the pc first."""
    fault = _FAULT.match(line)
    if fault is None:
        return ""
    name = image.function_at(bench.folder / FIRMWARE, int(fault.group(1), 16))
    return f" (in {name})" if name else " (at an address with no code)"


def instructions(answer: Answer, clock: Clock) -> tuple[int, ...]:
    """Return the instructions of each sample, without the cost of counting."""
    empty = clock.instructions(answer.empty.fine, answer.empty.coarse)
    return tuple(clock.instructions(m.fine, m.coarse) - empty for m in answer.samples)


@functools.cache
def version(machine: Machine) -> str:
    """Return the version line of the emulator of `machine`."""
    emulator = process.require(machine.emulator, machine.package)
    said = process.run([emulator, "--version"], Path(emulator).parent, 30.0)
    return said.stdout.splitlines()[0] if said.stdout else Path(emulator).name
