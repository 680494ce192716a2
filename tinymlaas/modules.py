"""What can be done with a finished module alone: verify it, run it again, run it on new data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from storage import files
from storage.archive import Archive
from storage.bundle import (
    MAX_BUNDLE_BYTES,
    bundle_name,
    check_bundle,
    envelope_in,
    sigstore_bundle,
)
from storage.dsse import MAX_ENVELOPE_BYTES
from storage.provenance import ExternalParameters, envelope_name
from storage.signing import PublicKey
from storage.stored_zip import MAX_ARCHIVE_BYTES
from storage.verify import verify_module
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.manifest import Verification
from tinymlaas.contract.report import RunReport
from tinymlaas.delivery import check_directory
from tinymlaas.inputs import read_input
from tinymlaas.sandboxing import contain
from tinymlaas.settings import from_environment
from tinymlaas.trust import Trust, key_trust, keyring_trust, own_trust
from workers import replay
from workers.pack import write_new
from workers.reading import read_samples
from workers.samples import MAX_SAMPLES_BYTES, accuracy
from workers.verify.board.export import Port, exported


@dataclass(frozen=True)
class Checked:
    """A module whose signatures and content are sound, and the SHA-256 of the first signer's key.

    `asked` is what its provenance says was decided by who had it built, `builder` who that was.
    `signed` maps each distinct key that counts to its envelope, `remarks` are for the user.
    """

    archive: Archive
    signer: str
    asked: ExternalParameters
    builder: str = ""
    signed: tuple[tuple[PublicKey, bytes], ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Demands:
    """What a user asks of a module's signatures; by default what their own keys or keyring say.

    `key` and `keyring` are files, and so is `bundle`, which is then read in place of the envelopes
    beside the module. `root` is the fingerprint that the keyring's root must have, `builders` whom
    `key` may speak for.
    """

    key: Path | None = None
    keyring: Path | None = None
    root: str | None = None
    builders: tuple[str, ...] = ()
    threshold: int | None = None
    require_sandbox: bool = False
    bundle: Path | None = None


def verify(path: Path, key: Path | None = None, demands: Demands | None = None) -> Checked:
    """Verify the archive at `path` against the envelopes beside it, as `demands` (or `key`) say.

    Raises:
        UsageError: a file is not there, there is no own key to trust, or the demands disagree.
        VerificationError: the module is not what they demand; says what was changed.
    """
    demands = demands or Demands(key=key)
    archive = read_input(path, "module", MAX_ARCHIVE_BYTES)
    bundle = None
    if demands.bundle is not None:
        bundle = read_input(demands.bundle, "bundle", MAX_BUNDLE_BYTES)
    envelope = _beside(path) if bundle is None else envelope_in(bundle)
    trust = _trust(demands)
    verified = verify_module(
        archive,
        envelope,
        trust.trusted,
        threshold=trust.threshold,
        require_sandbox=demands.require_sandbox,
    )
    if bundle is not None:
        check_bundle(bundle, verified.envelopes[0], verified.key)
    provenance = verified.statement.predicate
    return Checked(
        verified.archive,
        verified.key.fingerprint,
        provenance.build_definition.external_parameters,
        provenance.run_details.builder.id,
        tuple(zip(verified.keys, verified.envelopes, strict=True)),
        (*trust.remarks, *verified.remarks),
    )


def _beside(path: Path) -> bytes | None:
    """Return the envelopes beside the archive at `path`; None if there is no such file."""
    beside = path.with_name(envelope_name(path.name))
    if not beside.exists():
        return None
    return read_input(beside, "signature envelope", MAX_ENVELOPE_BYTES)


def _trust(demands: Demands) -> Trust:
    """Return whom to trust; a threshold may be raised above the keyring's, not lowered."""
    settings = from_environment()
    if demands.key is not None and demands.keyring is not None:
        raise UsageError("give --key or --keyring, not both")
    if demands.builders and demands.key is None:
        raise UsageError("--builder goes with --key: a keyring names the builders itself")
    if demands.root is not None and demands.keyring is None:
        raise UsageError("--root goes with --keyring")
    if demands.key is not None:
        trust = key_trust(demands.key, demands.builders)
    elif demands.keyring is not None:
        trust = keyring_trust(settings, demands.keyring, root=demands.root)
    else:
        trust = own_trust(settings)
    threshold = demands.threshold
    if threshold is None:
        return trust
    if threshold < trust.threshold:
        raise UsageError(f"--threshold {threshold}: the keyring asks for {trust.threshold}")
    return replace(trust, threshold=threshold)


def write_bundles(checked: Checked, path: Path, output: Path | None) -> list[Path]:
    """Write a Sigstore bundle for each key that signed the module at `path`; return their paths.

    One goes to `output` or beside the module; of several each has its key's fingerprint in its
    name, as a bundle holds one signature.

    Raises:
        UsageError: `output` is given for several, or cannot be written.
    """
    if output is not None and len(checked.signed) != 1:
        raise UsageError(f"--output: {len(checked.signed)} keys have signed, each gets its bundle")
    written = []
    for key, envelope in checked.signed:
        single = len(checked.signed) == 1
        beside = path.with_name(bundle_name(path.name, None if single else key.fingerprint))
        target = output or beside
        check_directory(target.parent)
        try:
            files.replace(target, sigstore_bundle(envelope, key), target.parent)
            target.chmod(0o644)
        except OSError as error:
            raise UsageError(f"cannot write {target}: {error.strerror or error}") from None
        written.append(target)
    return written


def rerun(checked: Checked) -> Verification:
    """Run the golden inputs of a verified module again and compare with its golden outputs.

    Raises:
        VerificationError: the outputs are not within the tolerance, or the module was never run.
        ToolchainError: a toolchain or simulator is missing or failed.
    """
    contain()
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
    contain()
    specs = [tensor.spec for tensor in archive.manifest.inputs]
    loaded = read_samples(read_input(data, "data", MAX_SAMPLES_BYTES), data.name, specs, limit)
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
