"""One candidate from task to stored module: compile, link, run, compare, pack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from storage import keys
from storage.port import ObjectDamaged, ObjectNotFound, ObjectStore
from storage.provenance import LOCAL_BUILDER, Builder, ExternalParameters, sign_module
from storage.signing import Signer
from tinymlaas.contract.compiler import Estimate
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import DoesNotFit, Failure, Rejection
from tinymlaas.contract.jobs import CandidateJob, Outcome
from tinymlaas.contract.manifest import Footprint, Level
from tinymlaas.contract.progress import Progress
from tinymlaas.contract.report import CandidateReport, CandidateStatus
from workers import sandbox
from workers.compilers.registry import Registry

if TYPE_CHECKING:  # the stages and all they need are loaded when something is built, not before
    from workers.stages import Product

LOCAL_POOL = "local"


@dataclass(frozen=True)
class Workbench:
    """What a worker is given: compilers, the store, the signer, a folder for built objects.

    `builder` is who the provenance says has built. With `sign_first` no outcome is stored before
    its module is signed: whoever finds the one finds the other, whenever we are killed.
    `pool` is below whose name references and accuracies are kept; a laptop has one for all.
    """

    compilers: Registry
    store: ObjectStore
    signer: Signer
    toolchain_cache: Path
    progress: Progress
    builder: str = LOCAL_BUILDER
    pool: str = LOCAL_POOL
    sign_first: bool = False


class OtherCompiler(Failure):
    """The compiler is not the one that the action names: it was changed since that was planned."""


def build(job: CandidateJob, bench: Workbench, expected: tuple[str, str] | None = None) -> Outcome:
    """Build `job` and store its outcome; one that is stored already is returned instead.

    A candidate that cannot work is an outcome too (`rejected`) and is stored: asked again, it is
    answered at once. What failed by our fault is returned but not stored, so it is tried again.

    Raises:
        OtherCompiler: version and build of the compiler are not the `expected`.
        Failure: the module is to be signed first, and that failed.
    """
    key = keys.action_outcome(job.compiler, job.action_digest)
    stored = _stored(key, bench)
    if stored is not None:
        report = stored.report.model_copy(update={"cached": True})
        return stored.model_copy(update={"report": report})
    try:
        outcome = _built(job, bench, expected)
    except OtherCompiler:
        raise
    except Rejection as error:
        outcome = Outcome(report=_plain(job, CandidateStatus.REJECTED, error.reasons))
    except Failure as error:
        return Outcome(report=_plain(job, CandidateStatus.FAILED, error.reasons))
    except OSError as error:  # a full disk, say
        where = f"{error.filename}: " if error.filename else ""
        reason = f"{where}{error.strerror or error}"
        return Outcome(report=_plain(job, CandidateStatus.FAILED, (reason,)))
    if bench.sign_first and outcome.archive_digest is not None:
        module_of(outcome, job, bench)
    bench.store.put_if_absent(key, outcome.model_dump_json().encode())
    return outcome


def module_of(outcome: Outcome, job: CandidateJob, bench: Workbench) -> tuple[bytes, bytes]:
    """Return archive and envelope of a built candidate, signed by the bench's signer.

    The envelope is kept by signer: after a change of key the same module is signed anew, not
    compiled anew.

    Raises:
        StoreError: the store lost the archive or holds a damaged one.
    """
    digest = outcome.archive_digest
    if digest is None:
        raise Failure(f"{job.compiler} left no module")
    archive = bench.store.get(keys.module_archive(digest))
    return archive, bench.store.get(_signed(archive, outcome, job, bench))


def _stored(key: keys.Key, bench: Workbench) -> Outcome | None:
    """Return the stored outcome if it and its archive are whole; what is damaged is dropped.

    What was made without a sandbox is dropped where there is one, and what was signed about it.
    """
    store = bench.store
    if store.head(key) is None:
        return None
    try:
        outcome = Outcome.model_validate_json(store.get(key))
        if outcome.archive_digest is not None:
            store.get(keys.module_archive(outcome.archive_digest))
    except (ValidationError, ObjectNotFound, ObjectDamaged):
        store.delete(key)
        return None
    if outcome.report.sandbox != sandbox.NONE or sandbox.settings().unsafe:
        return outcome
    store.delete(key)
    if outcome.archive_digest is not None:
        signer = bench.signer.public_key.fingerprint
        store.delete(keys.module_envelope(outcome.archive_digest, signer))
    return None


def _signed(archive: bytes, outcome: Outcome, job: CandidateJob, bench: Workbench) -> keys.Key:
    """Return the key of the envelope by the bench's signer, made if there is none."""
    key = keys.module_envelope(sha256(archive), bench.signer.public_key.fingerprint)
    if bench.store.head(key) is None:
        bench.store.put_if_absent(key, _sign(archive, outcome.report.sandbox, job, bench))
    return key


def _sign(archive: bytes, contained: str | None, job: CandidateJob, bench: Workbench) -> bytes:
    asked = ExternalParameters(
        model=job.source_digest,
        name=job.task.name,
        target=job.task.target,
        compiler=job.compiler,
        shapes=job.shapes,
        options=job.task.options,
    )
    builder = Builder(id=bench.builder)
    return sign_module(archive, asked, bench.signer, builder, sandbox=contained)


def _built(job: CandidateJob, bench: Workbench, expected: tuple[str, str] | None) -> Outcome:
    """Run all stages and store what comes out."""
    from workers.stages import Stages

    compiler = bench.compilers.get(job.compiler)
    if expected is not None:  # a folder of a user's may change while a worker runs
        found = compiler.describe()
        if (found.version, found.build) != expected:
            raise OtherCompiler(f"{job.compiler} was changed since this worker began")
    data = bench.store.get(keys.blob(job.static_digest))
    stages = Stages(job, compiler, bench.store, bench.toolchain_cache, bench.progress, bench.pool)
    try:
        product = stages.run(data)
    except DoesNotFit as error:
        return Outcome(report=_too_large(job, error, stages.estimate))
    digest = sha256(product.archive)
    bench.store.put(keys.module_archive(digest), product.archive)
    report = _report(job, product, digest).model_copy(update=_estimated(stages.estimate))
    return Outcome(report=report, archive_digest=digest)


def _plain(job: CandidateJob, status: CandidateStatus, reasons: tuple[str, ...]) -> CandidateReport:
    return CandidateReport(
        compiler=job.compiler,
        kernels=job.task.kernels,
        options=job.task.options,
        status=status,
        reasons=reasons,
        action_digest=job.action_digest,
        sandbox=sandbox.kind(),
    )


def _too_large(job: CandidateJob, error: DoesNotFit, estimate: Estimate | None) -> CandidateReport:
    from workers.toolchains.footprint import ModuleDoesNotFit

    numbers = _numbers(error.footprint) if isinstance(error, ModuleDoesNotFit) else {}
    report = _plain(job, CandidateStatus.REJECTED, error.reasons)
    return report.model_copy(update={**numbers, **_estimated(estimate)})


def _estimated(estimate: Estimate | None) -> dict[str, object]:
    if estimate is None:
        return {}
    return {
        "estimated_flash_bytes": estimate.flash_bytes,
        "estimated_ram_bytes": estimate.ram_bytes,
    }


def _report(job: CandidateJob, product: Product, digest: str) -> CandidateReport:
    found = product.manifest.verification
    reasons = (product.remark,) if product.remark else ()
    on_host = found is not None and found.level is Level.HOST  # not of the module itself
    unproven = found is None or on_host
    status = CandidateStatus.BUILT if unproven else CandidateStatus.VERIFIED
    numbers = {**_numbers(product.manifest.footprint), "module_digest": digest}
    if found is not None:
        numbers |= {
            "instructions": found.instructions,
            "max_abs_error": found.numerics.max_abs_error,
            "max_rel_error": found.numerics.max_rel_error,
            "bit_exact": found.numerics.bit_exact,
            "machine": found.machine,
            "level": found.level,
        }
    if on_host:  # the library that the module runs in is in none of these sizes
        numbers |= {"flash_bytes": None, "ram_bytes": None, "sections": (), "regions": ()}
    return _plain(job, status, reasons).model_copy(update=numbers)


def _numbers(footprint: Footprint) -> dict[str, object]:
    return {
        "flash_bytes": footprint.flash_bytes,
        "ram_bytes": footprint.ram_bytes,
        "stack_bytes": footprint.stack_bytes,
        "arena_bytes": footprint.arena_bytes,
        "sections": footprint.sections,
        "regions": footprint.regions,
        # Only a run tells the stack; of one on the host, which is never too small, see `_report`.
        "level": footprint.level if footprint.stack_bytes is None else Level.SIMULATED,
        "size_level": footprint.level,
    }
