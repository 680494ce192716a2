"""Run a module where its code can run, on any number of samples, and say what came out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tinymlaas.contract.compiler import ArenaTensor
from tinymlaas.contract.device import CapabilityClass, Core
from workers import guardian
from workers.toolchains.firmware import ModuleFiles
from workers.toolchains.toolchain import cannot_link
from workers.verify.host import run_on_host
from workers.verify.job import Job, RunFailed, RunResult
from workers.verify.machines import CannotSimulate
from workers.verify.qemu import run_in_qemu
from workers.verify.simavr import run_in_simavr
from workers.verify.streams import Sample

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
    inputs = tuple(tensor.spec for tensor in boundary.inputs)
    outputs = tuple(tensor.spec for tensor in boundary.outputs)
    with guardian.scratch("run") as work_dir:
        job = Job(module, name, target, inputs, outputs, samples, cache, timeout, work_dir)
        if target.core is Core.HOST:
            return run_on_host(job)
        if target.core is Core.AVR:
            return run_in_simavr(job)
        return run_in_qemu(job)
