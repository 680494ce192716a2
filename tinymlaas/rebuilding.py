"""Build a module again from its provenance and say whether it is the same, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from scheduler.candidates import Candidate, job_for
from storage import keys
from storage.archive import Archive, read_archive
from storage.directory import DirectoryStore
from storage.memory import MemoryStore
from storage.port import ObjectNotFound
from storage.provenance import ExternalParameters
from tinymlaas.contract.base import Model
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import Failure, Rejection, UsageError
from tinymlaas.contract.jobs import CandidateJob
from tinymlaas.contract.progress import Progress, Silent
from tinymlaas.contract.rebuild import Difference, RebuildReport
from tinymlaas.contract.report import CandidateStatus
from tinymlaas.inputs import read_input
from tinymlaas.sandboxing import contain
from tinymlaas.settings import Settings, from_environment
from tinymlaas.signer.starting import OwnersSigner
from workers.build import Workbench, build
from workers.compilers.registry import discover
from workers.inspecting import ModelSource, inspect_stored
from workers.models.limits import DEFAULT_LIMITS
from workers.sources import service_digest

_LISTED = 20
_LONGEST = 160
# What a manifest says besides its compiler, its action and its files.
_FACTS = (
    *("name", "model_digest", "target", "inputs", "outputs", "arena", "footprint"),
    "verification",
)
_SILENT = Silent()


def rebuild(
    archive: Archive,
    asked: ExternalParameters,
    model: Path | None = None,
    progress: Progress = _SILENT,
) -> RebuildReport:
    """Build again what `archive` holds, with nothing taken from the store but the model.

    `asked` are the parameters its provenance names; `model` is the model file, where the store
    does not have it any more.

    Raises:
        UsageError: the model is not at hand, is another one, or the compiler is not.
        Rejection: the model or candidate is refused today; says why.
        Failure: a step of ours broke.
    """
    contain()
    settings = from_environment()
    registry = discover(settings.compilers)
    scratch = MemoryStore()
    cache = settings.toolchain_cache
    bench = Workbench(registry, scratch, OwnersSigner(settings), cache, progress)
    job = job_again(archive, asked, model, bench)
    outcome = build(job, bench)
    if outcome.archive_digest is None:
        failed = outcome.report.status is CandidateStatus.FAILED
        raise (Failure if failed else Rejection)(*outcome.report.reasons)
    again = read_archive(scratch.get(keys.module_archive(outcome.archive_digest)))
    return RebuildReport(
        identical=again.digest == archive.digest,
        before=archive.digest,
        now=again.digest,
        differences=tuple(differences(archive, again)),
    )


def job_again(
    archive: Archive, asked: ExternalParameters, model: Path | None, bench: Workbench
) -> CandidateJob:
    """Return the job that builds `archive` again; the model is inspected into the bench's store.

    Raises:
        UsageError: the model is not at hand, is another one, or the compiler is not.
        Rejection: the model is refused today; says why.
    """
    used = archive.manifest.compiler
    described = bench.compilers.get(used.name).describe()
    data = _model(archive.manifest.model_digest, model, from_environment())
    service = service_digest()
    source = ModelSource(sha256(data), model.name if model else "model", lambda: data)
    inspection = inspect_stored(source, asked.shapes, service, bench.store, bench.progress)
    return job_for(
        Candidate(described, used.kernels, dict(asked.options)),
        inspection,
        name=asked.name,
        target=asked.target,
        shapes=dict(asked.shapes),
        service=service,
    )


def _model(digest: str, path: Path | None, settings: Settings) -> bytes:
    if path is not None:
        data = read_input(path, "model", DEFAULT_LIMITS.file_bytes)
        if sha256(data) != digest:
            raise UsageError(f"{path} is another model than the module was built from")
        return data
    try:
        return DirectoryStore(settings.store).get(keys.blob(digest))
    except ObjectNotFound:
        raise UsageError(
            f"the store does not have the model {digest[:12]}… any more: give --model FILE"
        ) from None


def differences(before: Archive, now: Archive) -> list[Difference]:
    """Return what differs, causes first: compiler and flags, our version, facts, then the bytes."""
    paths = sorted({*before.members, *now.members})
    changed = [path for path in paths if before.members.get(path) != now.members.get(path)]
    found = list(_parts("compiler", before.manifest.compiler, now.manifest.compiler))
    if not found and before.manifest.action_digest != now.manifest.action_digest:
        files = "" if changed else "; all files are the same"
        found += _parts(
            f"the action, so tinymlaas itself is another version{files}",
            before.manifest.action_digest,
            now.manifest.action_digest,
        )
    for fact in _FACTS:
        found += _parts(fact, getattr(before.manifest, fact), getattr(now.manifest, fact))
    for path in changed[:_LISTED]:
        found.append(Difference(what=path, before=_seen(before, path), now=_seen(now, path)))
    if len(changed) > _LISTED:
        rest = str(len(changed) - _LISTED)
        found.append(Difference(what="further files", before=rest, now=rest))
    if not found and before.digest != now.digest:
        found += _parts("manifest.json", before.manifest_digest, now.manifest_digest)
    return found


def _parts(what: str, before: object, now: object) -> Iterator[Difference]:
    """Yield the parts of a fact that differ, each by the names that lead to it."""
    if isinstance(before, Model) and type(before) is type(now):
        for name in type(before).model_fields:
            yield from _parts(f"{what} {name}", getattr(before, name), getattr(now, name))
    elif before != now:
        yield Difference(what=what, before=_text(before), now=_text(now))


def _text(value: object) -> str:
    text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _seen(archive: Archive, path: str) -> str:
    data = archive.members.get(path)
    return "absent" if data is None else f"{len(data):,} B, SHA-256 {sha256(data)[:16]}…"
