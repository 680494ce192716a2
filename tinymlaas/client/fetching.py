"""A finished job's module onto the disk, if and only if it is what a trusted key signed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage import dsse, keys
from storage.port import ObjectNotFound, ObjectStore
from storage.provenance import LOCAL_BUILDER, envelope_name, pool_builder
from storage.verify import TrustedKey, trusted_key, verify_module
from tinymlaas.client.errors import NoModule
from tinymlaas.contract.errors import VerificationError
from tinymlaas.contract.job_status import FetchedModule, JobStatus
from tinymlaas.contract.messages import JobState
from tinymlaas.delivery import check_directory, deliver
from tinymlaas.trust import Trust

_ARCHIVE = re.compile(r"tenants/[a-z0-9-]+/modules/([0-9a-f]{64})/module\.zip")
_BOARD = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


@dataclass(frozen=True)
class Module:
    """A verified module: archive and envelope as signed, and the file name it goes by."""

    archive: bytes
    envelope: bytes
    filename: str
    signer: str


def trust_in(pem: bytes, job: JobStatus) -> Trust:
    """Return the trust in one public key, for the builder that the job says has built its module.

    Raises:
        VerificationError: `pem` is no P-256 public key.
    """
    named = job.chosen is not None and job.chosen < len(job.candidates)
    builders = [pool_builder(job.candidates[job.chosen or 0].compiler)] if named else []
    return Trust((trusted_key(pem, *builders, LOCAL_BUILDER),))


def load(store: ObjectStore, job: JobStatus, trust: Trust) -> Module:
    """Return the module of `job`, proven to be signed by those whom `trust` names.

    Raises:
        NoModule: the job has none; says why.
        VerificationError: the module is not what they signed.
        ObjectDamaged: the store's bytes are not those the record names.
    """
    digest = _digest(job)
    envelope = _envelopes(store, job.tenant, digest, trust.trusted)
    try:
        archive = store.get(keys.given(job.tenant, keys.module_archive(digest)))
    except ObjectNotFound:
        raise NoModule(
            f"the module of job {job.job_id} is no longer in the store: submit it again"
        ) from None
    verified = verify_module(archive, envelope, trust.trusted, threshold=trust.threshold)
    filename = _filename(job, verified.manifest.name)
    return Module(archive, envelope, filename, verified.key.fingerprint)


def fetch(store: ObjectStore, job: JobStatus, trust: Trust, directory: Path) -> FetchedModule:
    """Write the module of `job` and its provenance into `directory`; see `load`.

    Raises:
        UsageError: nothing can be written there.
        Failure: it could not be written after all.
    """
    check_directory(directory)
    module = load(store, job, trust)
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


def _envelopes(
    store: ObjectStore, tenant: str, digest: str, trusted: Sequence[TrustedKey]
) -> bytes:
    """Return the envelopes by trusted keys; how many of them are needed the verifier knows."""
    found = []
    for entry in trusted:
        key = keys.given(tenant, keys.module_envelope(digest, entry.key.fingerprint))
        with contextlib.suppress(ObjectNotFound):
            found.append(store.get(key))
    if found:
        return dsse.join(found)
    wanted = ", ".join(entry.key.fingerprint[:16] for entry in trusted)
    raise VerificationError(
        f"the module is not signed by a trusted key ({wanted}): give the farm's keyring by "
        "TINYMLAAS_KEYRING or its public key with --key"
    )


def _filename(job: JobStatus, name: str) -> str:
    """Return the file's name; a record is not to be believed to hold but a board's name."""
    board = job.board if job.board and _BOARD.fullmatch(job.board) else None
    return f"{name}-{board}.zip" if board else f"{name}.zip"
