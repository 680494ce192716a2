"""A probe: the module compiled once more so that it keeps the tensors between its layers, run where
the module ran and compared with what the reference has there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tinymlaas.contract.compiler import Compiled, Tap
from tinymlaas.contract.errors import CompilerCrashed, Failure
from tinymlaas.contract.jobs import CandidateJob
from tinymlaas.contract.manifest import LayerNumerics, Layers
from workers import sandbox
from workers.compilers.plugin import Compiler, Output
from workers.golden import Golden, samples_of
from workers.sandbox import Step
from workers.toolchains.library import build_library
from workers.verify.layers import compare_layers, rounding, summarise
from workers.verify.numerics import compare
from workers.verify.run import run_module

Array = NDArray[Any]
Outputs = Sequence[Sequence[Array]]


class CannotProbe(Failure):
    """The layers of this module cannot be looked at; says why."""


@dataclass(frozen=True)
class Found:
    """What a probe has shown: every tensor compared, and what the certificate keeps of that."""

    rows: tuple[LayerNumerics, ...]
    layers: Layers


def can_probe(compiler: Compiler) -> bool:
    """Return whether `compiler` says that it can keep the tensors between its layers."""
    return compiler.describe().taps


@dataclass(frozen=True)
class Probe:
    """How the module of `job`, the static model `data`, is compiled and run once more.

    `exact` says that the compiler promises the reference's bits.
    """

    job: CandidateJob
    compiler: Compiler
    data: bytes
    exact: bool
    cache: Path

    def look(self, golden: Golden, outputs: Outputs) -> Found:
        """Compare layer by layer; `outputs` are what the module itself computed of `golden`.

        Raises:
            CannotProbe: no tensor of the model is in the module, or what was to be a mere probe
                computes something else than the module.
            UnsupportedModel: the compiler or the reference cannot do it with the tensors kept.
            Failure: a tool or simulator failed, or no machine has room for the copies.
        """
        task, samples = self.job.task, samples_of(golden.inputs, golden.samples)
        output = self._compile()
        compiled = output.compiled
        kept = tuple(tap.tensor for tap in compiled.taps)
        whole = compiled.model_copy(update={"outputs": (*compiled.outputs, *kept)})
        library = build_library(output.files, whole, task.name, task.target, cache=self.cache)
        ran = run_module(library, task.name, task.target, whole, samples, cache=self.cache).outputs
        count = len(compiled.outputs)
        self._same([list(sample[:count]) for sample in ran], outputs)
        whole_tensors, tensors = self._reference(compiled, samples)
        expected = [_as_kept(compiled.taps, sample) for sample in whole_tensors]
        got = [sample[count:] for sample in ran]
        rows = compare_layers(compiled.taps, expected, got, exact=self.exact)
        return Found(tuple(rows), summarise(rows, tensors))

    def _compile(self) -> Output:
        asked = self.job.task.model_copy(update={"tapped": True})
        output = self.compiler.compile(asked, self.data)
        if not output.compiled.taps:
            raise CannotProbe(f"{self.job.compiler} left no tensor of the model as it was")
        return output

    def _same(self, probe: Outputs, module: Outputs) -> None:
        """Refuse a probe that is another program: what it shows would not be the module's."""
        bounds = [rounding([s[i] for s in module]) for i in range(len(module[0]))]
        kinds = [array.dtype.kind for array in module[0]]
        bounds = [b if k == "f" else 0.0 for b, k in zip(bounds, kinds, strict=True)]
        found = compare(module, probe, bounds)
        if found.max_rel_error > found.tolerance:
            raise CannotProbe("with its tensors kept the module computes something else")

    def _reference(self, compiled: Compiled, samples: Outputs) -> tuple[Outputs, int]:
        places = [(tap.layer, tap.output) for tap in compiled.taps]
        found: tuple[list[list[Array]], int] = sandbox.call(
            "workers.probing:tensors_of",
            self.data,
            self.job,
            samples,
            places,
            returns=tuple[list[list[Array]], int],
            step=Step.REFERENCE,
            what="the reference",
        )
        tensors, count = found
        if count < len(places) or [len(each) for each in tensors] != [len(places)] * len(samples):
            raise CompilerCrashed("the reference gave other tensors than it was asked for")
        return tensors, count


def _as_kept(taps: Sequence[Tap], tensors: Sequence[Array]) -> list[Array]:
    """Return of the reference's tensors what the module has of them.

    Raises:
        CompilerCrashed: a tap names channels that its tensor does not have.
    """
    try:
        return [
            array[..., list(tap.channels)] if tap.channels else array
            for tap, array in zip(taps, tensors, strict=True)
        ]
    except IndexError as error:
        raise CompilerCrashed(f"its taps name channels that are not there: {error}") from None


def tensors_of(
    data: bytes, job: CandidateJob, samples: Outputs, places: Sequence[tuple[int, int]]
) -> tuple[list[list[Array]], int]:
    """Return for each sample the reference's tensors at `places`, and how many the model has."""
    from workers.models.reference import open_reference, tensors_between

    task = job.task
    reference = open_reference(data, task.format, task.summary.dtype, places)
    outputs = len(task.summary.outputs)
    found = [reference.run(sample)[outputs:] for sample in samples]
    return found, tensors_between(data, task.format)
