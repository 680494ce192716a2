"""What can be done with a finished module alone: verify it, run it again, run it on new data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from storage.archive import Archive
from storage.dsse import MAX_ENVELOPE_BYTES
from storage.provenance import ExternalParameters, envelope_name
from storage.stored_zip import MAX_ARCHIVE_BYTES
from storage.verify import trusted_key, verify_module
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.manifest import Verification
from tinymlaas.contract.report import RunReport
from tinymlaas.delivery import check_directory
from tinymlaas.inputs import read_input
from tinymlaas.keys import existing_public_key
from tinymlaas.settings import from_environment
from workers import replay
from workers.pack import write_new
from workers.samples import MAX_SAMPLES_BYTES, accuracy, load_samples
from workers.verify.board.export import Port, exported

_MAX_KEY_BYTES = 1 << 16


@dataclass(frozen=True)
class Checked:
    """A module whose signature and content are sound, and the SHA-256 of the signer's key.

    `asked` is what its provenance says was decided by who had it built.
    """

    archive: Archive
    signer: str
    asked: ExternalParameters


def verify(path: Path, key: Path | None) -> Checked:
    """Verify the archive at `path` against the envelope beside it and the public key at `key`.

    Without a key the user's own development key is the trusted one.

    Raises:
        UsageError: a file is not there, or there is no own key to trust.
        VerificationError: the module is not what that key signed; says what was changed.
    """
    archive = read_input(path, "module", MAX_ARCHIVE_BYTES)
    beside = path.with_name(envelope_name(path.name))
    envelope = None
    if beside.exists():
        envelope = read_input(beside, "signature envelope", MAX_ENVELOPE_BYTES)
    if key is None:
        pem = existing_public_key(from_environment())
    else:
        pem = read_input(key, "public key", _MAX_KEY_BYTES)
    verified = verify_module(archive, envelope, [trusted_key(pem)])
    asked = verified.statement.predicate.build_definition.external_parameters
    return Checked(verified.archive, verified.key.fingerprint, asked)


def rerun(checked: Checked) -> Verification:
    """Run the golden inputs of a verified module again and compare with its golden outputs.

    Raises:
        VerificationError: the outputs are not within the tolerance, or the module was never run.
        ToolchainError: a toolchain or simulator is missing or failed.
    """
    return replay.replay_golden(checked.archive, from_environment().toolchain_cache)


def replay_on_board(checked: Checked, place: str, patience: float) -> Verification:
    """Run the golden inputs of a verified module on the board at `place`; see `workers.replay`."""
    return replay.replay_on_board(checked.archive, place, patience)


def judge_outputs(checked: Checked, path: Path) -> Verification:
    """Compare the file that a board has written by semihosting with the golden outputs.

    Raises:
        UsageError: there is no such file.
        VerificationError: the file is not whole, or the outputs are not within the tolerance.
    """
    data = read_input(path, "outputs", MAX_SAMPLES_BYTES)
    return replay.judge_stream(checked.archive, data, path.name)


def export_harness(checked: Checked, file: str, port: str, folder: Path) -> list[str]:
    """Write what a firmware needs to run the module's golden inputs; return the paths in `folder`.

    `file` is the name of the module's archive.

    Raises:
        UsageError: there is no such port, or not for this module, or `folder` holds something
            already or is none that can be written.
        Failure: the files cannot be written all the same.
    """
    if port not in tuple(Port):
        raise UsageError(f"--port is {' or '.join(Port)}, not {port!r}")
    _check_new(folder)
    files = exported(checked.archive, Port(port), file)
    write_new(files, folder)
    return sorted(files)


def _check_new(folder: Path) -> None:
    check_directory(folder)
    try:
        empty = not folder.exists() or not any(folder.iterdir())
    except OSError as error:
        raise UsageError(f"cannot write into {folder}: {error.strerror or error}") from None
    if not empty:
        raise UsageError(f"cannot write into {folder}: it is not empty; name a new or empty folder")


def run_samples(
    path: Path, data: Path, limit: int | None = None, key: Path | None = None
) -> RunReport:
    """Run the module at `path`, verified as by `verify`, on the samples of an npz file.

    Raises:
        UsageError: the samples do not go with the module; says how.
        VerificationError: the module does not verify.
    """
    archive = verify(path, key).archive
    specs = [tensor.spec for tensor in archive.manifest.inputs]
    loaded = load_samples(read_input(data, "data", MAX_SAMPLES_BYTES), data.name, specs, limit)
    ran = replay.run_archive(archive, loaded.samples, from_environment().toolchain_cache)
    outputs = [[tensor.ravel().tolist() for tensor in sample] for sample in ran.outputs]
    return RunReport(
        samples=len(loaded.samples),
        accuracy=accuracy([sample[0] for sample in ran.outputs], loaded.labels),
        instructions=ran.instructions,
        stack_bytes=ran.stack_bytes,
        machine=ran.machine,
        level=ran.level,
        outputs=tuple(tuple(tuple(values) for values in sample) for sample in outputs),
    )
