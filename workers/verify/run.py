"""Run a module where its code can run, on any number of samples, and say what came out.

Linking and running is one job of the sandbox, whatever machines have to be tried for room. Of its
answer only the harness's streams are taken, and which of our places it was; all else is known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from tinymlaas.contract.compiler import ArenaTensor
from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.manifest import Level
from workers import sandbox
from workers.sandbox import Step
from workers.toolchains.firmware import ModuleFiles, firmware_parts, startup_sources
from workers.toolchains.toolchain import cannot_link, toolchain_for
from workers.verify import host, qemu, simavr, streams
from workers.verify.chips import SIMAVR, Chip
from workers.verify.job import HARNESS_DIR, Job, Place, Ran, RunFailed, RunResult
from workers.verify.machines import CannotSimulate, Machine, machines_for
from workers.verify.streams import Answer, Sample

__all__ = ["CannotSimulate", "RunFailed", "RunResult", "run_module"]

_DEFAULT_TIMEOUT = 300.0


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

    `timeout` (seconds) bounds one run of the program, the sandbox's limits bound all of it; `cache`
    keeps harness objects between calls.
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
    inputs = tuple(tensor.spec for tensor in boundary.inputs)
    outputs = tuple(tensor.spec for tensor in boundary.outputs)
    for sample in samples:
        streams.raw(sample, inputs)
    places = tuple(_places(target, cache))
    library, header = module.library, module.header
    job = Job(name, target, library, header, inputs, outputs, samples, places, timeout)
    ran: Ran = sandbox.call(
        "workers.verify.run:run_here",
        job,
        returns=Ran,
        step=Step.SIMULATE,
        what="running the module",
    )
    return _result(ran, job)


def run_here(job: Job) -> Ran:
    """Link and run `job`; called inside."""
    if job.target.core is Core.HOST:
        return host.run_on_host(job)
    if job.target.core is Core.AVR:
        return simavr.run_in_simavr(job)
    return qemu.run_in_qemu(job)


def _places(target: CapabilityClass, cache: Path | None) -> Iterator[Place]:
    """Yield the places that run code for `target`, the nearest first.

    Raises:
        CannotSimulate: there are none.
    """
    if target.core is Core.HOST:
        yield Place(None, target, _parts(target, host.SOURCES, (), cache))
        return
    machines = machines_for(target)
    if not machines:
        raise CannotSimulate(
            f"no simulated machine runs code for {target.cpu or target.core.value}"
        )
    for machine in machines:
        if isinstance(machine, Chip):
            own = target.model_copy(update={"cpu": machine.cpu})
            yield Place(machine, own, _parts(own, simavr.SOURCES, (), cache))
        else:
            defines = machine.clock.defines
            yield Place(machine, target, _parts(target, qemu.sources(machine), defines, cache))


def _parts(
    target: CapabilityClass, sources: Sequence[str], defines: Sequence[str], cache: Path | None
) -> dict[str, bytes]:
    paths = [*startup_sources(target.core), *(HARNESS_DIR / name for name in sources)]
    return firmware_parts(paths, target, defines=defines, cache=cache)


def _result(ran: Ran, job: Job) -> RunResult:
    """Return what `ran` shows, if it can be.

    Raises:
        RunFailed: a stream is not whole, or says what cannot be.
    """
    if not 0 <= ran.place < len(job.places):
        raise RunFailed("the module was run nowhere we know")
    if sum(part.samples for part in ran.parts) != len(job.samples):
        raise RunFailed("the module was run on other samples than it was given")
    answers = [_decoded(part.stream, part.samples, job) for part in ran.parts]
    where = job.places[ran.place].where
    counts: tuple[int, ...] = ()
    if isinstance(where, Machine):
        counts = tuple(n for each in answers for n in qemu.instructions(each, where.clock))
    if min(counts, default=0) < 0:
        raise RunFailed("the harness has counted fewer instructions than an empty call takes")
    machine, simulator = _names(where, job.target)
    return RunResult(
        outputs=tuple(outputs for answer in answers for outputs in answer.outputs),
        instructions=max(counts, default=None),
        instructions_by_sample=counts,
        stack_bytes=_deepest(answers),
        machine=machine,
        simulator=simulator,
        level=Level.MEASURED if where is None else Level.SIMULATED,
    )


def _names(where: Machine | Chip | None, target: CapabilityClass) -> tuple[str, str]:
    """Return what a place and its simulator are called."""
    if where is None:
        return host.HOST, toolchain_for(target.core).version()
    return where.name, SIMAVR if isinstance(where, Chip) else qemu.version(where)


def _decoded(stream: bytes, samples: int, job: Job) -> Answer:
    if samples < 0:
        raise RunFailed("the module was run on other samples than it was given")
    try:
        return streams.decode(stream, samples, job.outputs)
    except streams.BrokenStream as error:
        raise RunFailed(f"the harness ended early, after {error} of its answer") from None


def _deepest(answers: Sequence[Answer]) -> int | None:
    """Return the deepest stack of all calls, or None if one went deeper than was painted."""
    depths = [m.stack for answer in answers for m in (answer.init, *answer.samples)]
    return None if streams.STACK_UNKNOWN in depths else max(depths, default=None)
