"""A finished job's module onto the disk, if and only if it is what a trusted key signed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from storage import keys
from storage.port import ObjectNotFound, ObjectStore
from storage.provenance import envelope_name
from storage.signing import load_public_key
from storage.verify import trusted_key, verify_module
from tinymlaas.client.errors import NoModule
from tinymlaas.contract.errors import VerificationError
from tinymlaas.contract.job_status import FetchedModule, JobStatus
from tinymlaas.contract.messages import JobState
from tinymlaas.delivery import check_directory, deliver

_ARCHIVE = re.compile(r"modules/([0-9a-f]{64})/module\.zip")
_BOARD = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class Module:
    """A verified module: archive and envelope as signed, and the file name it goes by."""

    archive: bytes
    envelope: bytes
    filename: str
    signer: str


def load(store: ObjectStore, job: JobStatus, pem: bytes) -> Module:
    """Return the module of `job`, proven to be what the key `pem` has signed.

    Raises:
        NoModule: the job has none; says why.
        VerificationError: `pem` is no key, or the module is not what that key signed.
        ObjectDamaged: the store's bytes are not those the record names.
    """
    digest = _digest(job)
    key = load_public_key(pem)
    envelope = _envelope(store, digest, key.fingerprint)
    try:
        archive = store.get(keys.module_archive(digest))
    except ObjectNotFound:
        raise NoModule(
            f"the module of job {job.job_id} is no longer in the store: submit it again"
        ) from None
    verified = verify_module(archive, envelope, [trusted_key(pem)])
    return Module(archive, envelope, _filename(job, verified.manifest.name), key.fingerprint)


def fetch(store: ObjectStore, job: JobStatus, pem: bytes, directory: Path) -> FetchedModule:
    """Write the module of `job` and its provenance into `directory`; see `load`.

    Raises:
        UsageError: nothing can be written there.
        Failure: it could not be written after all.
    """
    check_directory(directory)
    module = load(store, job, pem)
    path = directory / module.filename
    deliver(module.archive, module.envelope, path)
    return FetchedModule(
        job_id=job.job_id,
        tenant=job.tenant,
        module=str(path),
        provenance=str(path.with_name(envelope_name(path.name))),
        signer=module.signer,
    )


def _digest(job: JobStatus) -> str:
    if not job.final:
        raise NoModule(
            f"job {job.job_id} is {job.status}: 'tinymlaas watch {job.job_id}' waits for its end"
        )
    if job.status is not JobState.DONE:
        raise NoModule(f"job {job.job_id} was {job.status}: there is no module", *job.reasons)
    found = _ARCHIVE.fullmatch(job.module or "")
    if found is None:
        raise NoModule(f"the record of job {job.job_id} names no module")
    return found.group(1)


def _envelope(store: ObjectStore, digest: str, fingerprint: str) -> bytes:
    try:
        return store.get(keys.module_envelope(digest, fingerprint))
    except ObjectNotFound:
        names = (info.key.path for info in store.list(f"modules/{digest}/provenance/"))
        signers = [name.rpartition("/")[2].partition(".")[0][:16] for name in names]
        by = f"by {', '.join(signers)}" if signers else "by nobody"
        raise VerificationError(
            f"the module is not signed by the trusted key {fingerprint[:16]} but {by}: "
            "give the farm's public key with --key"
        ) from None


def _filename(job: JobStatus, name: str) -> str:
    """Return the file's name; a record is not to be believed to hold but a board's name."""
    board = job.board if job.board and _BOARD.fullmatch(job.board) else None
    return f"{name}-{board}.zip" if board else f"{name}.zip"
