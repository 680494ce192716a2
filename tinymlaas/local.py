"""Composition root of a laptop: scheduler and workers in one process, a folder for a bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from broker.in_process import run_all
from scheduler.candidates import Candidate, job_for, list_candidates, reasons_against
from scheduler.choice import conclude
from storage import keys
from storage.directory import DirectoryStore
from storage.port import ObjectDamaged, ObjectNotFound
from tinymlaas.boards import catalog
from tinymlaas.contract.base import Model
from tinymlaas.contract.compiler import CompilerDescription
from tinymlaas.contract.device import CapabilityClass
from tinymlaas.contract.digest import digest_of, sha256
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.jobs import CandidateJob, Inspection, Outcome
from tinymlaas.contract.progress import Progress, Silent
from tinymlaas.contract.report import CandidateReport, CompileResult, Objective
from tinymlaas.delivery import check_directory, deliver
from tinymlaas.inputs import read_input, symbol_prefix
from tinymlaas.keys import notice, own_key
from tinymlaas.settings import Settings, from_environment
from workers import child, guardian
from workers.build import Workbench, build, module_of
from workers.compilers.registry import Registry, discover
from workers.models.limits import DEFAULT_LIMITS
from workers.sources import service_digest

_INSPECT_SECONDS = 120.0
_THREADS = 2

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Wish:
    """What is wanted of a compile besides model and board.

    `compiler` is ``auto``, a name, or a name with kernels (``cmsis-nn/portable``).
    """

    compiler: str = "auto"
    objective: Objective = Objective.LATENCY
    shapes: Shapes = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What one compile gave: the result, and remarks for the person."""

    result: CompileResult
    notices: tuple[str, ...]


class CompilerEntry(Model):
    """One compiler and where it was found."""

    description: CompilerDescription
    origin: str


class CompilerList(Model):
    """What `tinymlaas compilers --json` prints; `unavailable` gives the reason by name."""

    compilers: tuple[CompilerEntry, ...]
    unavailable: dict[str, str]


def open_service(progress: Progress | None = None) -> LocalService:
    """Return the service as the environment describes it (`tinymlaas.settings`)."""
    return LocalService(from_environment(), progress or Silent())


class LocalService:
    """The scheduler's decisions and the workers' stages, called one after the other."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        """Open the store that `settings` name; nothing is compiled yet."""
        self._settings = settings
        self._progress = progress
        self._store = DirectoryStore(settings.store)
        self._service = service_digest()

    def compilers(self) -> CompilerList:
        """Return all compilers found."""
        registry = discover(self._settings.compilers)
        found = sorted(registry.compilers.items())
        entries = (CompilerEntry(description=c.describe(), origin=c.origin) for _, c in found)
        return CompilerList(compilers=tuple(entries), unavailable=registry.unavailable)

    def inspect(self, path: Path, shapes: Shapes) -> Inspection:
        """Inspect a model file in a child process, or take the result from the store.

        Raises:
            UsageError: there is no such file.
            Rejection: the model is not accepted; see `workers.models.summary.inspect`.
        """
        data = read_input(path, "model", DEFAULT_LIMITS.file_bytes)
        digest = sha256(data)
        facts = {"shapes": {k: list(v) for k, v in shapes.items()}, "service": self._service}
        key = keys.model_summary(digest, digest_of(facts)[:40])
        stored = self._stored_inspection(key)
        if stored is not None:
            return stored
        self._progress.stage("model", "inspecting")
        with guardian.scratch("inspect") as scratch:
            found = child.call(
                "workers.models.summary:inspect",
                data,
                path.name,
                dict(shapes),
                seconds=_INSPECT_SECONDS,
                log=scratch / "log",
                what="inspecting the model",
            )
        self._store.put(keys.blob_of(found.model), found.model)
        inspection = Inspection(
            source_digest=digest, static_digest=sha256(found.model), summary=found.summary
        )
        self._store.put_if_absent(key, inspection.model_dump_json().encode())
        return inspection

    def _stored_inspection(self, key: keys.Key) -> Inspection | None:
        """Return a stored inspection if it and its model are whole; what is damaged is dropped."""
        if self._store.head(key) is None:
            return None
        try:
            found = Inspection.model_validate_json(self._store.get(key))
            self._store.get(keys.blob(found.static_digest))
        except (ValidationError, ObjectNotFound, ObjectDamaged):
            self._store.delete(key)
            return None
        return found

    def compile(self, path: Path, board: str, wish: Wish, directory: Path) -> Answer:
        """Compile `path` for `board`, choose the best candidate and write it into `directory`.

        Raises:
            Rejection: model, board, compiler or shapes are not acceptable.
            Failure: a step of ours broke.
        """
        device = catalog.get(board)
        registry = discover(self._settings.compilers)
        described = _wanted(registry, wish.compiler)
        module = directory / f"{symbol_prefix(path)}-{device.name}.zip"
        check_directory(directory)
        inspection = self.inspect(path, wish.shapes)
        target = device.capability_class()
        plan = [
            self._plan(candidate, inspection, symbol_prefix(path), target, wish.shapes)
            for candidate in list_candidates(
                described, inspection.summary.format, wish.objective, wish.options
            )
        ]
        developer = own_key(self._settings)
        bench = Workbench(
            registry, self._store, developer.signer, self._settings.toolchain_cache, self._progress
        )
        outcomes = run_all(plan, lambda step: _outcome(step, bench), _THREADS)
        result = conclude([outcome.report for outcome in outcomes], wish.objective)
        if result.chosen is not None:
            jobs = {i: step for i, step in enumerate(plan) if isinstance(step, CandidateJob)}
            archive, envelope = module_of(outcomes[result.chosen], jobs[result.chosen], bench)
            deliver(archive, envelope, module)
            result = result.model_copy(update={"module": str(module)})
        return Answer(result, (*_missing_notice(registry, wish), *notice(developer)))

    def _plan(
        self,
        candidate: Candidate,
        inspection: Inspection,
        name: str,
        target: CapabilityClass,
        shapes: Shapes,
    ) -> CandidateJob | CandidateReport:
        """Return the job that builds `candidate`, or its rejection from facts alone."""
        reasons = reasons_against(candidate, inspection.summary, target)
        if reasons:
            return candidate.rejected(reasons)
        return job_for(
            candidate,
            inspection,
            name=name,
            target=target,
            shapes=dict(shapes),
            service=self._service,
        )


def _outcome(step: CandidateJob | CandidateReport, bench: Workbench) -> Outcome:
    """Build what is to be built; a candidate rejected by the scheduler stays as it is."""
    return Outcome(report=step) if isinstance(step, CandidateReport) else build(step, bench)


def _wanted(registry: Registry, compiler: str) -> list[CompilerDescription]:
    """Return the compilers to try: all, or the one named, perhaps with one of its kernels."""
    name, slash, kernels = compiler.partition("/")
    names = sorted(registry.compilers) if compiler == "auto" else [name]
    described = [registry.get(name).describe() for name in names]
    if not described:
        raise UsageError("no compiler can be used; 'tinymlaas compilers' says why")
    if not slash:
        return described
    if kernels not in described[0].kernels:
        known = ", ".join(described[0].kernels)
        raise UsageError(f"{name} has no kernels called '{kernels}'; there are: {known}")
    return [described[0].model_copy(update={"kernels": (kernels,)})]


def _missing_notice(registry: Registry, wish: Wish) -> tuple[str, ...]:
    """Say which compilers were left out of an automatic choice, and why."""
    if wish.compiler != "auto":
        return ()
    missing = sorted(registry.unavailable.items())
    return tuple(f"compiler {name} was not tried: {reason}" for name, reason in missing)
