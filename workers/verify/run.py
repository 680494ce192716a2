"""Run a module where its code can run, on any number of samples, and say what came out."""

from __future__ import annotations

import functools
import re
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tinymlaas.contract.compiler import ArenaTensor
from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.errors import ToolchainError
from tinymlaas.contract.manifest import Level
from tinymlaas.contract.tensors import TensorSpec
from workers.toolchains import image, linker, process
from workers.toolchains.firmware import (
    FIRMWARE,
    LinkOverflow,
    ModuleFiles,
    compile_parts,
    compile_table,
    link_image,
    startup_sources,
)
from workers.toolchains.toolchain import cannot_link, toolchain_for
from workers.verify import streams
from workers.verify.clocks import Clock
from workers.verify.machines import UART, CannotSimulate, Machine, machines_for
from workers.verify.streams import Answer, Array, Sample

HARNESS_DIR = Path(__file__).parent / "harness"
HOST = "host"
INPUTS = "inputs.bin"
OUTPUTS = "outputs.bin"
_DEFAULT_TIMEOUT = 300.0

_SEMIHOSTING = ("-serial", "none", "-semihosting-config", "enable=on,target=native")
_UART = ("-chardev", "stdio,id=uart,signal=off", "-serial", "chardev:uart")
# Where nothing but a UART leads out, the last line of the output says how the run ended.
_END = b"TINYMLAAS-END:"
_LONGEST_END = 200
_FAULT = re.compile(r"(?:HardFault|trap): [^=]*= (0x[0-9a-f]+)")


class RunFailed(ToolchainError):
    """The module was started and did not end well: a fault, a crash, or no end at all."""


@dataclass(frozen=True)
class RunResult:
    """What a run has shown.

    `outputs` has one array per sample and output. `instructions` is the largest count of all
    samples (`instructions_by_sample`), without the cost of counting; None where they cannot be
    counted. `stack_bytes` is the deepest watermark of init and all samples. `level` is simulated
    on a simulated machine, measured on the host itself.
    """

    outputs: tuple[tuple[Array, ...], ...]
    instructions: int | None
    instructions_by_sample: tuple[int, ...]
    stack_bytes: int | None
    machine: str
    simulator: str
    level: Level


@dataclass(frozen=True)
class _Job:
    module: ModuleFiles
    name: str
    target: CapabilityClass
    outputs: Sequence[TensorSpec]
    samples: Sequence[Sample]
    cache: Path | None
    timeout: float
    work_dir: Path

    def link(
        self,
        target: CapabilityClass,
        sources: Sequence[str],
        defines: Sequence[str] = (),
        script: str | None = None,
        extra: Sequence[str] = (),
    ) -> Path:
        paths = [*startup_sources(target.core), *(HARNESS_DIR / name for name in sources)]
        parts = compile_parts(paths, target, self.work_dir, defines=defines, cache=self.cache)
        objects = [*parts, compile_table(self.module, self.name, target, self.work_dir)]
        return link_image(objects, self.module, target, self.work_dir, script=script, extra=extra)

    def answer(self) -> Answer:
        path = self.work_dir / OUTPUTS
        stream = path.read_bytes() if path.exists() else b""
        try:
            return streams.decode(stream, len(self.samples), self.outputs)
        except streams.BrokenStream as error:
            raise RunFailed(f"the harness ended early, after {error} of its answer") from None


class Boundary(Protocol):
    """The tensors at a module's boundary, as `Compiled` and `ModuleManifest` have them."""

    @property
    def inputs(self) -> tuple[ArenaTensor, ...]:
        """The module's inputs, in order."""

    @property
    def outputs(self) -> tuple[ArenaTensor, ...]:
        """The module's outputs, in order."""


def run_module(
    module: ModuleFiles,
    name: str,
    target: CapabilityClass,
    boundary: Boundary,
    samples: Sequence[Sample],
    *,
    cache: Path | None = None,
    timeout: float = _DEFAULT_TIMEOUT,
) -> RunResult:
    """Run ``lib<name>.a`` on `samples`, each one array per input, with `target`'s core.

    `timeout` (seconds) bounds the run of all samples; `cache` keeps harness objects between calls.
    Nothing is left behind, no process and no file.

    Raises:
        CannotSimulate: nothing here runs code for the target, or no machine has room.
        RunFailed: the module faulted, crashed, reported an error or did not end in time.
        ToolchainError: a toolchain or simulator is missing or failed.
        ValueError: a sample does not have the shapes and dtypes of the inputs.
    """
    reason = cannot_link(target.core)
    if reason is not None:
        raise CannotSimulate(reason)
    inputs = [tensor.spec for tensor in boundary.inputs]
    outputs = [tensor.spec for tensor in boundary.outputs]
    stream = streams.encode(samples, inputs, outputs)
    with tempfile.TemporaryDirectory(prefix="tinymlaas-run-") as folder:
        job = _Job(module, name, target, outputs, samples, cache, timeout, Path(folder))
        (job.work_dir / INPUTS).write_bytes(stream)
        if target.core is Core.HOST:
            return _run_on_host(job)
        return _run_simulated(job)


def _run_on_host(job: _Job) -> RunResult:
    program = job.link(job.target, ["run_main.c", "port_host.c"])
    _run(job, [str(program)], HOST)
    answer = job.answer()
    return RunResult(
        outputs=answer.outputs,
        instructions=None,
        instructions_by_sample=(),
        stack_bytes=_deepest(answer),
        machine=HOST,
        simulator=toolchain_for(job.target.core).version(),
        level=Level.MEASURED,
    )


def _run_simulated(job: _Job) -> RunResult:
    machines = machines_for(job.target)
    if not machines:
        raise CannotSimulate(f"no simulated machine runs code for {job.target.core.value}")
    for machine in machines:
        try:
            program = _link_for(job, machine)
        except LinkOverflow:
            continue
        return _run_on(job, machine, program)
    raise CannotSimulate(
        f"the module is too large for {' and '.join(machine.name for machine in machines)}"
    )


def _link_for(job: _Job, machine: Machine) -> Path:
    clock = machine.clock
    ticks = clock.source if clock is not None else "ticks_none.c"
    sources = ["run_main.c", "measure.c", machine.port, ticks]
    defines = clock.defines if clock is not None else ()
    if not machine.cpu:
        script = linker.script(machine.placement(), job.name, stack_bytes=machine.stack_bytes)
        return job.link(job.target, sources, defines, script)
    target = job.target.model_copy(update={"cpu": machine.cpu})
    data_bytes = machine.ram.length - machine.stack_bytes
    extra = (
        "-Wl,--defsym=tinymlaas_stack_limit=__heap_start",
        f"-Wl,--defsym=__TEXT_REGION_LENGTH__={machine.flash.length}",
        f"-Wl,--defsym=__DATA_REGION_LENGTH__={data_bytes}",
    )
    return job.link(target, sources, defines, None, extra)


def _run_on(job: _Job, machine: Machine, program: Path) -> RunResult:
    emulator = process.require(machine.emulator, machine.package)
    command = [
        emulator,
        *machine.arguments,
        *("-nodefaults", "-display", "none", "-monitor", "none"),
        *(("-icount", f"shift={machine.clock.shift}") if machine.clock is not None else ()),
        *(_UART if machine.port == UART else _SEMIHOSTING),
        *("-bios" if machine.port == UART else "-kernel", program.name),
    ]
    if machine.port == UART:
        _run_uart(job, command, machine.name)
    else:
        _run(job, command, machine.name)
    answer = job.answer()
    counts = _instructions(answer, machine.clock)
    return RunResult(
        outputs=answer.outputs,
        instructions=max(counts, default=None),
        instructions_by_sample=counts,
        stack_bytes=_deepest(answer),
        machine=machine.name,
        simulator=_simulator_version(emulator),
        level=Level.SIMULATED,
    )


def _run(job: _Job, command: Sequence[str], where: str) -> None:
    try:
        done = process.run(command, job.work_dir, job.timeout)
    except process.TimedOut:
        raise _no_end(job, where) from None
    _check(done, where, job)


def _run_uart(job: _Job, command: Sequence[str], where: str) -> None:
    """Run an emulator whose machine cannot end it: its output's last line says when and how."""
    inputs, outputs = job.work_dir / INPUTS, job.work_dir / OUTPUTS
    try:
        done = process.run(
            command,
            job.work_dir,
            job.timeout,
            stdin=inputs,
            stdout=outputs,
            until=lambda: _END in _tail(outputs),
        )
    except process.TimedOut:
        raise _no_end(job, where) from None
    _check(done, where, job)
    stream, _, why = outputs.read_bytes().rpartition(_END)
    outputs.write_bytes(stream)
    if why.strip():
        raise RunFailed(f"the module failed on {where}: {why.decode(errors='replace')}")


def _no_end(job: _Job, where: str) -> RunFailed:
    return RunFailed(
        f"the module did not end on {where} within {job.timeout:g} s ({len(job.samples)} samples)"
    )


def _check(done: process.Completed, where: str, job: _Job) -> None:
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise RunFailed(f"the module crashed on {where}: {name}")
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        line = lines[0] if lines else f"exit status {done.returncode}, no message"
        raise RunFailed(f"the module failed on {where}: {line}{_culprit(line, job)}")


def _culprit(line: str, job: _Job) -> str:
    """Name the function in which a fault happened; the harness reports the pc first."""
    fault = _FAULT.match(line)
    if fault is None:
        return ""
    name = image.function_at(job.work_dir / FIRMWARE, int(fault.group(1), 16))
    return f" (in {name})" if name else " (at an address with no code)"


def _tail(path: Path) -> bytes:
    """Return the last bytes of the output so far if they end a line, else nothing."""
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - _LONGEST_END, 0))
        tail = file.read()
    return tail if tail.endswith(b"\n") else b""


def _instructions(answer: Answer, clock: Clock | None) -> tuple[int, ...]:
    if clock is None:
        return ()
    empty = clock.instructions(answer.empty.fine, answer.empty.coarse)
    return tuple(clock.instructions(m.fine, m.coarse) - empty for m in answer.samples)


def _deepest(answer: Answer) -> int | None:
    depths = [answer.init.stack, *(sample.stack for sample in answer.samples)]
    return None if streams.STACK_UNKNOWN in depths else max(depths)


@functools.cache
def _simulator_version(emulator: str) -> str:
    said = process.run([emulator, "--version"], Path(emulator).parent, 30.0)
    return said.stdout.splitlines()[0] if said.stdout else Path(emulator).name
