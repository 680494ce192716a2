"""The stages of one build, in order: compile, library, link, reference, run, compare, pack.

What reads a model, or what was made of it, runs in jobs of the sandbox: bytes in, bytes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from storage.port import ObjectStore
from storage.sbom import SBOM_PATH
from tinymlaas.contract.compiler import Compiled, CompilerDescription, Estimate
from tinymlaas.contract.errors import (
    CompilerCrashed,
    Failure,
    Rejection,
    TinymlaasError,
    UnsupportedModel,
)
from tinymlaas.contract.jobs import CandidateJob
from tinymlaas.contract.manifest import (
    CompilerUsed,
    Footprint,
    Layers,
    Level,
    ModuleManifest,
    Verification,
)
from tinymlaas.contract.model import ModelSummary
from tinymlaas.contract.progress import Progress
from tinymlaas.contract.report import candidate_name
from workers import sandbox
from workers.bill import bill_of
from workers.compilers.plugin import Compiler, Output
from workers.estimating import check_room, hint
from workers.golden import Golden, encode_golden, samples_of
from workers.pack import header_path, library_path, pack
from workers.probing import CannotProbe, Probe, can_probe
from workers.references import Reference, reference_of, stored_reference
from workers.sandbox import Step
from workers.toolchains.fit import link, object_footprint
from workers.toolchains.footprint import with_stack
from workers.toolchains.library import Library, build_library
from workers.toolchains.toolchain import cannot_link
from workers.verify import tflm_host
from workers.verify.layers import said
from workers.verify.machines import CannotSimulate
from workers.verify.numerics import FLOAT32_TOLERANCE, compare, tolerances, within
from workers.verify.run import RunResult, run_module

Array = NDArray[Any]


@dataclass(frozen=True)
class Proof:
    """What is known of a module: its footprint, and as much of the rest as could be shown."""

    footprint: Footprint
    verification: Verification | None = None
    reference: Reference | None = None
    remark: str = ""


@dataclass(frozen=True)
class Product:
    """A finished module. `remark` says what could not be proven, and is empty if all was."""

    manifest: ModuleManifest
    archive: bytes
    remark: str = ""


class Stages:
    """Takes one job through the stages."""

    def __init__(
        self,
        job: CandidateJob,
        compiler: Compiler,
        store: ObjectStore,
        cache: Path,
        progress: Progress,
        pool: str,
    ) -> None:
        """Prepare; `store` keeps what the reference said to `pool`, `cache` toolchain objects."""
        self._job = job
        self._task = job.task
        self._compiler = compiler
        self._store = store
        self._cache = cache
        self._progress = progress
        self._pool = pool
        self.estimate: Estimate | None = None

    def run(self, data: bytes) -> Product:
        """Build the module of the static model `data`.

        `estimate` is set as soon as it is known, also where the build ends badly afterwards.

        Raises:
            UnsupportedModel: the compiler or the reference cannot take the model.
            DoesNotFit: the estimate, the link for the board, or the stack measured, says so.
            Failure: a compiler or tool broke, or the module computes wrong numbers.
        """
        task = self._task
        self._say("compiling")
        output = self._compile(data)
        compiled = output.compiled
        self._say("building the library")
        library = build_library(output.files, compiled, task.name, task.target, cache=self._cache)
        unlinkable = cannot_link(task.target.core)
        if compiled.unlinked:
            return self._product(compiled, library, self._on_host(data, compiled, library))
        if unlinkable:
            footprint = object_footprint(library, compiled, task.target)
            return self._product(compiled, library, Proof(footprint, remark=unlinkable))
        self._say("linking for the board")
        footprint = link(library, task.name, task.target, cache=self._cache)
        reference = self._reference(data)
        proof = self._prove(data, compiled, library, footprint, reference)
        return self._product(compiled, library, proof)

    def _on_host(self, data: bytes, compiled: Compiled, library: Library) -> Proof:
        """Judge a module that stays source by the interpreter that it is written for."""
        unlinked = compiled.unlinked
        assert unlinked is not None  # noqa: S101 - for the type checker
        reference = self._reference(data)
        self._say("running on the host")
        golden = reference.golden
        samples = samples_of(golden.inputs, golden.samples)
        arguments = (data, samples, len(self._task.summary.outputs), unlinked.arena)
        outputs = sandbox.call(
            "workers.verify.tflm_host:run_samples",
            *arguments,
            returns=list[list[Array]],
            step=Step.REFERENCE,
            what=unlinked.interpreter,
        )
        ran = RunResult(
            outputs=tuple(tuple(sample) for sample in outputs),
            instructions=None,
            instructions_by_sample=(),
            stack_bytes=None,
            machine="host",
            simulator=tflm_host.name(),
            level=Level.HOST,
        )
        footprint = object_footprint(library, compiled, self._task.target)
        return Proof(footprint, self._judge(ran, reference), reference, unlinked.reason)

    def _prove(
        self,
        data: bytes,
        compiled: Compiled,
        library: Library,
        footprint: Footprint,
        reference: Reference,
    ) -> Proof:
        """Run the module where that can be done, and judge its numbers and its stack."""
        try:
            verification = self._verify(data, compiled, library, reference)
        except CannotSimulate as error:
            return Proof(footprint, None, reference, f"linked but not run: {error}")
        if verification.stack_bytes is not None:
            footprint = with_stack(footprint, verification.stack_bytes, self._task.target)
        return Proof(footprint, verification, reference)

    def _product(self, compiled: Compiled, library: Library, proof: Proof) -> Product:
        """Pack what there is, with golden vectors wherever a reference was run."""
        self._say("packing")
        manifest = self._manifest(compiled, library, proof)
        members = _members(library, self._task.name)
        if proof.reference is not None:
            summary = self._task.summary
            members |= encode_golden(proof.reference.golden, summary.inputs, summary.outputs)
        members[SBOM_PATH] = bill_of(manifest, self._task.summary.format)
        return Product(manifest, pack(manifest, members), proof.remark)

    def _say(self, what: str) -> None:
        name = candidate_name(self._job.compiler, self._task.kernels, self._task.options)
        self._progress.stage(name, what)

    def _compile(self, data: bytes) -> Output:
        task = self._task
        support = self._compiler.supports(task, data)
        if not support.ok:
            raise UnsupportedModel(*support.reasons)
        self.estimate = hint(task, data, self._compiler)
        if self.estimate is not None:
            check_room(self.estimate, task.target)
        output = self._compiler.compile(task, data)
        _check_boundary(output.compiled, self._job)
        return output

    def _reference(self, data: bytes) -> Reference:
        self._say("running the reference")
        return stored_reference(
            self._job, self._pool, self._store, lambda: reference_of(data, self._job)
        )

    def _verify(
        self, data: bytes, compiled: Compiled, library: Library, reference: Reference
    ) -> Verification:
        self._say("running in the simulator")
        task, golden = self._task, reference.golden
        ran = run_module(
            library,
            task.name,
            task.target,
            compiled,
            samples_of(golden.inputs, golden.samples),
            cache=self._cache,
        )
        return self._judge(ran, reference, data)

    def _judge(self, ran: RunResult, reference: Reference, data: bytes = b"") -> Verification:
        """Compare what `ran` has shown with the reference; too far off is our failure.

        What differs by more than rounding is looked at layer by layer, given the model's `data`.
        """
        self._say("comparing with the reference")
        task, golden = self._task, reference.golden
        expected = samples_of(golden.outputs, golden.samples)
        bounds = tolerances(task.summary.outputs, expected)
        exact = reference.exact and promises_exactness(self._compiler.describe(), task.summary)
        if exact:
            bounds = [0.0] * len(bounds)
        numerics = compare(expected, ran.outputs, bounds)
        layers, finding = None, ""
        if data and not numerics.bit_exact and numerics.max_rel_error > FLOAT32_TOLERANCE:
            layers, finding = self._layers(
                data, ran, golden, exact=exact, failed=not within(numerics)
            )
        if not within(numerics):
            raise Failure(
                f"{self._job.compiler} computes other numbers than {reference.name}: off by "
                f"{numerics.max_rel_error:.2g} of the range on {ran.machine}, allowed "
                f"{numerics.tolerance:.2g}",
                *([finding] if finding else []),
            )
        return Verification(
            level=ran.level,
            machine=ran.machine,
            simulator=ran.simulator,
            reference=reference.name,
            samples=golden.samples,
            instructions=ran.instructions,
            stack_bytes=ran.stack_bytes,
            numerics=numerics,
            layers=layers,
        )

    def _layers(
        self, data: bytes, ran: RunResult, golden: Golden, *, exact: bool, failed: bool
    ) -> tuple[Layers | None, str]:
        """Say where the numbers part from the reference's, or why that cannot be said.

        What a crash, a time limit or a kill leaves out would make another archive of the same
        inputs: only a candidate that has `failed` already, and so is not stored, goes on from that.
        """
        if not can_probe(self._compiler):
            return None, ""
        self._say("comparing layer by layer")
        probe = Probe(self._job, self._compiler, data, exact, self._cache)
        try:
            found = probe.look(golden, ran.outputs).layers
        except TinymlaasError as error:
            if not failed and not isinstance(error, Rejection | CannotProbe | CannotSimulate):
                raise
            return None, f"its layers could not be compared: {error}"
        return found, said(found)

    def _manifest(self, compiled: Compiled, library: Library, proof: Proof) -> ModuleManifest:
        description = self._compiler.describe()
        return ModuleManifest(
            name=self._task.name,
            action_digest=self._job.action_digest,
            model_digest=self._job.source_digest,
            target=self._task.target,
            inputs=compiled.inputs,
            outputs=compiled.outputs,
            arena=compiled.arena,
            compiler=CompilerUsed(
                name=description.name,
                version=description.version,
                build=description.build,
                kernels=self._task.kernels,
                options=compiled.options,
                toolchain=library.toolchain,
                cflags=library.cflags,
            ),
            footprint=proof.footprint,
            verification=proof.verification,
            files=(),
        )


def promises_exactness(compiler: CompilerDescription, summary: ModelSummary) -> bool:
    """Return whether `compiler` promises the reference's bits for every operator of the model."""
    exact = {
        (support.dtype, operator)
        for support in compiler.operators
        if support.exact and support.format == summary.format
        for operator in support.operators
    }
    return all((use.dtype, use.name) in exact for use in summary.operators)


def _check_boundary(compiled: Compiled, job: CandidateJob) -> None:
    """Refuse a module whose inputs and outputs are not the model's, down to their quantisation."""
    summary = job.task.summary
    for side, tensors, specs in (
        ("inputs", compiled.inputs, summary.inputs),
        ("outputs", compiled.outputs, summary.outputs),
    ):
        if [tensor.spec for tensor in tensors] != list(specs):
            raise CompilerCrashed(f"{job.compiler}: its {side} are not those of the model")


def _members(library: Library, name: str) -> dict[str, bytes]:
    members = {f"src/{path}": content for path, content in library.sources.items()}
    members[header_path(name)] = library.header
    members[library_path(name)] = library.library
    return members
