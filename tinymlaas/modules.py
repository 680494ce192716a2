"""What can be done with a finished module alone: verify it, run it again, run it on new data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from storage.archive import Archive
from storage.dsse import MAX_ENVELOPE_BYTES
from storage.provenance import envelope_name
from storage.signing import development_key
from storage.stored_zip import MAX_ARCHIVE_BYTES
from storage.verify import trusted_key, verify_module
from tinymlaas.contract.manifest import Verification
from tinymlaas.contract.report import RunReport
from tinymlaas.inputs import read_input
from tinymlaas.settings import from_environment
from workers import replay
from workers.samples import MAX_SAMPLES_BYTES, accuracy, load_samples

_MAX_KEY_BYTES = 1 << 16


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
    archive = read_input(path, "module", MAX_ARCHIVE_BYTES)
    beside = path.with_name(envelope_name(path.name))
    envelope = None
    if beside.exists():
        envelope = read_input(beside, "signature envelope", MAX_ENVELOPE_BYTES)
    pem = own_public_key() if key is None else read_input(key, "public key", _MAX_KEY_BYTES)
    verified = verify_module(archive, envelope, [trusted_key(pem)])
    return Checked(verified.archive, verified.key.fingerprint)


def own_public_key() -> bytes:
    """Return the development key's public half as PEM, making the key if there is none.

    Raises:
        StoreError: the key cannot be read or made.
    """
    return development_key(from_environment().keys).signer.public_key.pem


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
