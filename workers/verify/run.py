"""Run a module where its code can run, on any number of samples, and say what came out."""

from __future__ import annotations

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
from workers.toolchains import linker, process
from workers.toolchains.firmware import (
    LinkOverflow,
    ModuleFiles,
    compile_parts,
    compile_table,
    link_image,
    startup_sources,
)
from workers.toolchains.toolchain import cannot_link, toolchain_for
from workers.verify import streams
from workers.verify.machines import CannotSimulate, Machine, machines_for
from workers.verify.streams import Answer, Array, Sample

HARNESS_DIR = Path(__file__).parent / "harness"
HOST = "host"
_DEFAULT_TIMEOUT = 300.0


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

    def link(self, sources: Sequence[str], defines: Sequence[str], script: str | None) -> Path:
        paths = [*startup_sources(self.target.core), *(HARNESS_DIR / name for name in sources)]
        parts = compile_parts(paths, self.target, self.work_dir, defines=defines, cache=self.cache)
        objects = [*parts, compile_table(self.module, self.name, self.target, self.work_dir)]
        return link_image(objects, self.module, self.target, self.work_dir, script=script)

    def answer(self) -> Answer:
        path = self.work_dir / "outputs.bin"
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
        (job.work_dir / "inputs.bin").write_bytes(stream)
        if target.core is Core.HOST:
            return _run_on_host(job)
        return _run_simulated(job)


def _run_on_host(job: _Job) -> RunResult:
    program = job.link(["run_main.c", "host.c"], [], None)
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
        sources = ["run_main.c", "measure.c", "semihost.c", machine.clock.source]
        script = linker.script(machine.placement(), job.name, stack_bytes=machine.stack_bytes)
        try:
            program = job.link(sources, machine.clock.defines, script)
        except LinkOverflow:
            continue
        return _run_on(job, machine, program)
    raise CannotSimulate(
        f"the module is too large for {' and '.join(machine.name for machine in machines)}"
    )


def _run_on(job: _Job, machine: Machine, program: Path) -> RunResult:
    emulator = process.require(machine.emulator, machine.package)
    command = [
        emulator,
        *machine.arguments,
        *("-nodefaults", "-display", "none", "-serial", "none", "-monitor", "none"),
        *("-semihosting-config", "enable=on,target=native"),
        *("-icount", f"shift={machine.clock.shift}", "-kernel", program.name),
    ]
    _run(job, command, machine.name)
    answer = job.answer()
    counts = _instructions(answer, machine)
    return RunResult(
        outputs=answer.outputs,
        instructions=max(counts, default=None),
        instructions_by_sample=counts,
        stack_bytes=_deepest(answer),
        machine=machine.name,
        simulator=_simulator_version(emulator, job.work_dir),
        level=Level.SIMULATED,
    )


def _run(job: _Job, command: Sequence[str], where: str) -> None:
    try:
        done = process.run(command, job.work_dir, job.timeout)
    except process.TimedOut:
        raise RunFailed(
            f"the module did not end on {where} within {job.timeout:g} s "
            f"({len(job.samples)} samples)"
        ) from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise RunFailed(f"the module crashed on {where}: {name}")
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise RunFailed(f"the module failed on {where}: {lines[0] if lines else 'no message'}")


def _instructions(answer: Answer, machine: Machine) -> tuple[int, ...]:
    clock = machine.clock
    empty = clock.ticks(answer.empty.fine, answer.empty.coarse)
    return tuple(
        clock.instructions(clock.ticks(sample.fine, sample.coarse) - empty)
        for sample in answer.samples
    )


def _deepest(answer: Answer) -> int | None:
    depths = [answer.init.stack, *(sample.stack for sample in answer.samples)]
    return None if streams.STACK_UNKNOWN in depths else max(depths)


def _simulator_version(emulator: str, work_dir: Path) -> str:
    said = process.run([emulator, "--version"], work_dir, 30.0)
    return said.stdout.splitlines()[0] if said.stdout else Path(emulator).name
