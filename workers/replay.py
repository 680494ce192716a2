"""Run a module again from its archive alone, in the simulator or on a board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from storage.archive import Archive
from tinymlaas.contract.errors import VerificationError
from tinymlaas.contract.manifest import Level, Verification
from tinymlaas.contract.tensors import TensorSpec
from workers.golden import Golden, decode_golden, samples_of
from workers.pack import header_path, library_path
from workers.verify import streams
from workers.verify.board.export import counts_instructions
from workers.verify.board.links import opened
from workers.verify.board.session import run_on_board
from workers.verify.numerics import compare, tolerances, within
from workers.verify.run import RunResult, run_module

Array = NDArray[Any]


def run_archive(archive: Archive, samples: Sequence[Sequence[Array]], cache: Path) -> RunResult:
    """Link the archive's library with the harness and run it on `samples`.

    Raises:
        CannotSimulate: nothing here runs code for the module's core.
        RunFailed: the module faulted or did not end.
        ToolchainError: a toolchain or simulator is missing or failed.
        VerificationError: the archive holds no library to run.
    """
    manifest = archive.manifest
    module = _Members(_member(archive, library_path), _member(archive, header_path))
    return run_module(module, manifest.name, manifest.target, manifest, samples, cache=cache)


@dataclass(frozen=True)
class _Members:
    """A module whose files were not built here, but taken out of an archive."""

    library: bytes
    header: bytes


def _member(archive: Archive, place: Callable[[str], str]) -> bytes:
    path = place(archive.manifest.name)
    if path not in archive.members:
        raise VerificationError(f"the archive has no {path}: it cannot be run")
    return archive.members[path]


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
    return judge(archive, golden, ran)


def replay_on_board(archive: Archive, place: str, patience: float) -> Verification:
    """Run the golden inputs on the board at `place`, on which the module's harness runs.

    That `place` is a board, and not a simulator that plays one, is what its user says.

    Raises:
        UsageError: `place` is no device and no address.
        Failure: the board is silent for `patience` seconds, or reports a failure.
        VerificationError: it runs another module, or its outputs are not within the tolerance.
    """
    golden = decode_golden(archive.members)
    inputs, outputs = _specs(archive)
    samples = samples_of(golden.inputs, golden.samples)
    with opened(place) as link:
        ran = run_on_board(link, archive.digest, inputs, outputs, samples, patience)
    return judge(archive, golden, ran)


def judge_stream(archive: Archive, stream: bytes, name: str) -> Verification:
    """Compare what a board has written into a file called `name` by semihosting.

    Raises:
        VerificationError: the file is not whole, or the outputs are not within the tolerance.
    """
    golden = decode_golden(archive.members)
    try:
        answer = streams.decode(stream, golden.samples, _specs(archive)[1])
    except streams.BrokenStream as error:
        raise VerificationError(
            f"{name} is not what the harness of this module writes: {error}; did it run to its end?"
        ) from None
    counts = [m.count - answer.empty.count for m in answer.samples]
    counted = counts_instructions(archive.manifest.target.core) and min(counts, default=0) > 0
    ran = RunResult(
        outputs=answer.outputs,
        instructions=max(counts) if counted else None,
        instructions_by_sample=tuple(counts) if counted else (),
        stack_bytes=None,
        machine=f"the board that wrote {name}",
        simulator="",
        level=Level.MEASURED,
    )
    return judge(archive, golden, ran)


def judge(archive: Archive, golden: Golden, ran: RunResult) -> Verification:
    """Return the verification that `ran` is, its outputs compared with the golden ones.

    The tolerance is that of the archive's certificate: a module that was exact has to be so again.

    Raises:
        VerificationError: they are not within the tolerance.
    """
    before = archive.manifest.verification
    expected = samples_of(golden.outputs, golden.samples)
    numerics = compare(expected, ran.outputs, _bounds(archive, expected))
    if not within(numerics):
        raise VerificationError(
            f"run again on {ran.machine} the module is off by {numerics.max_rel_error:.2g} of the "
            f"output's range, more than the {numerics.tolerance:g} allowed"
        )
    return Verification(
        level=ran.level,
        machine=ran.machine,
        simulator=ran.simulator,
        reference=before.reference if before else "the archive's golden outputs",
        samples=golden.samples,
        instructions=ran.instructions,
        stack_bytes=ran.stack_bytes,
        numerics=numerics,
    )


def _bounds(archive: Archive, expected: Sequence[Sequence[Array]]) -> list[float]:
    outputs = _specs(archive)[1]
    before = archive.manifest.verification
    # Of several outputs the certificate has one tolerance only; it is 0 if all are (see `compare`).
    if before is not None and (len(outputs) == 1 or before.numerics.tolerance == 0):
        return [before.numerics.tolerance] * len(outputs)
    return tolerances(outputs, expected)


def _specs(archive: Archive) -> tuple[list[TensorSpec], list[TensorSpec]]:
    manifest = archive.manifest
    return [t.spec for t in manifest.inputs], [t.spec for t in manifest.outputs]
