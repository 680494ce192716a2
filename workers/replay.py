"""Run a module again from its archive alone: the library, the header and the manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from storage.archive import Archive
from tinymlaas.contract.errors import VerificationError
from tinymlaas.contract.manifest import Level, Verification
from workers import guardian
from workers.golden import decode_golden, samples_of
from workers.pack import header_path, library_path, unpack
from workers.toolchains.firmware import Prebuilt
from workers.verify.numerics import compare, tolerances, within
from workers.verify.run import RunResult, run_module

Array = NDArray[Any]


def run_archive(archive: Archive, samples: Sequence[Sequence[Array]], cache: Path) -> RunResult:
    """Link the archive's library with the harness and run it on `samples`.

    Raises:
        CannotSimulate: nothing here runs code for the module's core.
        RunFailed: the module faulted or did not end.
        ToolchainError: a toolchain or simulator is missing or failed.
    """
    manifest = archive.manifest
    with guardian.scratch("replay") as folder:
        root = folder / "module"
        unpack(archive, root)
        module = Prebuilt(root / library_path(manifest.name), root / header_path(manifest.name))
        return run_module(module, manifest.name, manifest.target, manifest, samples, cache=cache)


def replay_golden(archive: Archive, cache: Path) -> Verification:
    """Run the golden inputs again; return the verification as it is found now.

    Raises:
        VerificationError: the module was never run, or its outputs are not within the tolerance.
    """
    before = archive.manifest.verification
    if before is None:
        raise VerificationError("the module was built but never run: there is nothing to repeat")
    if before.level is Level.HOST:
        raise VerificationError(
            f"the module itself was never run (its numbers are those of {before.simulator}): "
            "there is nothing to repeat"
        )
    golden = decode_golden(archive.members)
    ran = run_archive(archive, samples_of(golden.inputs, golden.samples), cache)
    expected = samples_of(golden.outputs, golden.samples)
    specs = [tensor.spec for tensor in archive.manifest.outputs]
    numerics = compare(expected, ran.outputs, tolerances(specs, expected))
    if not within(numerics):
        raise VerificationError(
            f"run again on {ran.machine} the module is off by {numerics.max_rel_error:.2g} of the "
            f"output's range, more than the {numerics.tolerance:g} allowed"
        )
    return Verification(
        level=ran.level,
        machine=ran.machine,
        simulator=ran.simulator,
        reference=before.reference,
        samples=golden.samples,
        instructions=ran.instructions,
        stack_bytes=ran.stack_bytes,
        numerics=numerics,
    )
