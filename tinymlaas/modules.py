"""What can be done with a finished module alone: verify it, run it again, run it on new data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from storage.archive import Archive
from storage.provenance import envelope_name
from storage.signing import development_key
from storage.verify import trusted_key, verify_module
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.manifest import Verification
from tinymlaas.contract.report import RunReport
from tinymlaas.settings import from_environment
from workers import replay
from workers.samples import accuracy, load_samples


@dataclass(frozen=True)
class Checked:
    """A module whose signature and content are sound, and the SHA-256 of the signer's key."""

    archive: Archive
    signer: str


def verify(path: Path, key: Path | None) -> Checked:
    """Verify the archive at `path` against the envelope beside it and the public key at `key`.

    Without a key the user's own development key is the trusted one.

    Raises:
        UsageError: a file is not there.
        VerificationError: the module is not what that key signed; says what was changed.
    """
    archive = _read(path, "module")
    beside = path.with_name(envelope_name(path.name))
    envelope = beside.read_bytes() if beside.is_file() else None
    if key is not None:
        pem = _read(key, "public key")
    else:
        pem = development_key(from_environment().keys).signer.public_key.pem
    verified = verify_module(archive, envelope, [trusted_key(pem)])
    return Checked(verified.archive, verified.key.fingerprint)


def rerun(checked: Checked) -> Verification:
    """Run the golden inputs of a verified module again and compare with its golden outputs.

    Raises:
        VerificationError: the outputs are not within the tolerance of the signed manifest, or the
            module was never run.
        ToolchainError: a toolchain or simulator is missing or failed.
    """
    return replay.replay_golden(checked.archive, from_environment().toolchain_cache)


def run_samples(path: Path, data: Path, limit: int | None) -> RunReport:
    """Run the module at `path`, signed by the user's own key, on the samples of an npz file.

    Raises:
        UsageError: the samples do not go with the module; says how.
        VerificationError: the module does not verify.
    """
    archive = verify(path, None).archive
    specs = [tensor.spec for tensor in archive.manifest.inputs]
    loaded = load_samples(_read(data, "data"), data.name, specs, limit)
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


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error.strerror or error}") from None
