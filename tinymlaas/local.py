"""Composition root of a laptop: scheduler and workers in one process, a folder for a bucket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from broker.in_process import run_all
from scheduler.candidates import (
    Candidate,
    Making,
    job_for,
    jobs_of,
    list_candidates,
    reasons_against,
)
from scheduler.choice import conclude
from scheduler.fitting import Estimated
from scheduler.forms import lacking
from scheduler.planning import AUTO, wanted
from storage import keys
from storage.directory import DirectoryStore
from tinymlaas.boards import catalog
from tinymlaas.contract.base import Model
from tinymlaas.contract.compiler import CompilerDescription
from tinymlaas.contract.device import CapabilityClass
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import (
    Failure,
    Rejection,
    StoreError,
    TinymlaasError,
    UsageError,
)
from tinymlaas.contract.jobs import CandidateJob, Inspection, Outcome
from tinymlaas.contract.progress import Progress, Silent
from tinymlaas.contract.race import Race
from tinymlaas.contract.report import CompileResult, Objective
from tinymlaas.delivery import check_directory, deliver
from tinymlaas.inputs import Form, read_input, symbol_prefix
from tinymlaas.keys import notice
from tinymlaas.racing import Labelled, Rules, Step, remember, run
from tinymlaas.sandboxing import contain
from tinymlaas.settings import Settings, from_environment
from tinymlaas.signer.starting import OwnersSigner
from workers.build import Workbench, module_of
from workers.compilers.registry import Registry, discover
from workers.inspecting import ModelSource, inspect_stored
from workers.models.limits import DEFAULT_LIMITS
from workers.sources import service_digest

_THREADS = 2

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Wish:
    """What is wanted of a compile besides model and board.

    `compiler` is ``auto``, a name, or a name with kernels (``cmsis-nn/portable``); `data` is an
    npz file of labelled samples that verified candidates are judged by. After `budget` seconds of
    building no further candidate is tried; with `first` the first that may win is taken.
    """

    compiler: str = AUTO
    objective: Objective = Objective.LATENCY
    shapes: Shapes = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    race: Race = field(default_factory=Race)
    data: Path | None = None
    budget: float | None = None
    first: bool = False


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
    contain()
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
        """Inspect a model file in the sandbox, or take the result from the store.

        Raises:
            UsageError: there is no such file.
            Rejection: the model is not accepted; see `workers.models.summary.inspect`.
        """
        data = read_input(path, "model", DEFAULT_LIMITS.file_bytes)
        model = ModelSource(sha256(data), path.name, lambda: data)
        return inspect_stored(model, shapes, self._service, self._store, self._progress)

    def estimates(self, path: Path, target: CapabilityClass, wish: Wish) -> list[Estimated]:
        """Return what every candidate will take on a core like `target`'s, however much it has.

        Raises:
            Rejection: the model is not accepted.
        """
        from workers.estimating import estimate

        registry = discover(self._settings.compilers)
        inspection = self.inspect(path, wish.shapes)
        data = self._store.get(keys.blob(inspection.static_digest))
        target = target.model_copy(update={"memory": ()})
        listed = list_candidates(_wanted(registry, wish.compiler), options=wish.options, race=True)

        def ask(candidate: Candidate) -> Estimated:
            reasons = reasons_against(candidate, inspection.summary, target)
            if reasons:
                return Estimated(candidate, reasons=tuple(reasons))
            job = self._job(candidate, inspection, path, target, wish)
            try:
                compiler = registry.get(candidate.compiler.name)
                return Estimated(candidate, estimate(job.task, data, compiler))
            except Rejection as error:
                return Estimated(candidate, reasons=error.reasons)
            except TinymlaasError:  # what breaks here and now is nothing against the board
                return Estimated(candidate)

        return run_all(listed, ask, _THREADS)

    def compile(self, path: Path, board: str, wish: Wish, directory: Path) -> Answer:
        """Compile `path` for `board`, choose the best candidate and write it into `directory`.

        Raises:
            Rejection: model, board, compiler or shapes are not acceptable.
            Failure: a step of ours broke.
        """
        return self.compile_forms([Form(path)], board, wish, directory)

    def compile_forms(
        self, forms: Sequence[Form], board: str, wish: Wish, directory: Path
    ) -> Answer:
        """Do as `compile` with several forms of one model, which race against one another.

        Raises:
            TinymlaasError: see `compile`.
        """
        device = catalog.get(board)
        registry = discover(self._settings.compilers)
        described = _wanted(registry, wish.compiler)
        module = directory / f"{symbol_prefix(forms[0].path)}-{device.name}.zip"
        check_directory(directory)
        labelled = _labelled(wish)
        making = Making(
            device.capability_class(),
            symbol_prefix(forms[0].path),
            wish.objective,
            wish.options,
            wish.shapes,
            race=wish.compiler == AUTO,
        )
        plan = [
            step for form in forms for step in self._steps(form, described, making, forms, labelled)
        ]
        signer = OwnersSigner(self._settings)
        signer.public_key  # noqa: B018 - a key that cannot be used is told now, not in the end
        cache = self._settings.toolchain_cache
        bench = Workbench(registry, self._store, signer, cache, self._progress)
        rules = Rules(wish.objective, wish.race, labelled, wish.budget, wish.first)
        outcomes = run(plan, rules, bench, self._service)
        result = conclude([outcome.report for outcome in outcomes], wish.objective, wish.race)
        if result.chosen is not None:
            step = plan[result.chosen]
            assert isinstance(step.work, CandidateJob)  # noqa: S101 - for the type checker
            archive, envelope = module_of(outcomes[result.chosen], step.work, bench)
            deliver(archive, envelope, module)
            result = result.model_copy(update={"module": str(module)})
        quantised = next((form.quantisation for form in forms if form.quantisation), None)
        result = result.model_copy(update={"quantisation": quantised})
        forgotten = self._remember(plan, outcomes)
        return Answer(result, (*_missing_notice(registry, wish), *notice(signer.made), *forgotten))

    def _remember(self, plan: Sequence[Step], outcomes: Sequence[Outcome]) -> tuple[str, ...]:
        """Keep what came of a race; a race is none the worse where that cannot be kept."""
        try:
            remember(plan, outcomes, self._store)
        except StoreError as error:
            return (f"this race is not remembered: {error}",)
        return ()

    def _steps(
        self,
        form: Form,
        described: Sequence[CompilerDescription],
        making: Making,
        forms: Sequence[Form],
        labelled: Labelled | None,
    ) -> list[Step]:
        """Return all candidates of one of the `forms`; one step alone for one that is lacking.

        Raises:
            UsageError: `labelled` samples do not go with the form.
        """
        if form.lacking is not None:
            return [Step(form, form.lacking)]
        try:
            inspection = self.inspect(form.path, making.shapes)
        except (Rejection, Failure) as error:
            if form.quantisation is None or len(forms) == 1 or isinstance(error, StoreError):
                raise
            report = lacking(isinstance(error, Rejection), error.reasons)
            return [Step(Form(form.path), report)]
        if labelled is not None:  # now, not once something has been built
            from workers.accuracy import labelled_samples

            facts = inspection.summary
            labelled_samples(labelled.data, labelled.name, facts.inputs, facts.outputs[0])
        works = jobs_of(inspection, described, making, lambda compiler: self._service)
        return [Step(form, work) for work in works]

    def _job(
        self,
        candidate: Candidate,
        inspection: Inspection,
        path: Path,
        target: CapabilityClass,
        wish: Wish,
    ) -> CandidateJob:
        return job_for(
            candidate,
            inspection,
            name=symbol_prefix(path),
            target=target,
            shapes=dict(wish.shapes),
            service=self._service,
        )


def _labelled(wish: Wish) -> Labelled | None:
    """Return the labelled samples wished for.

    Raises:
        UsageError: they cannot be read, or an accuracy is wanted without any.
    """
    if wish.data is None:
        if wish.race.limits.accuracy is not None:
            raise UsageError("--min-accuracy needs labelled samples: give --data FILE.npz")
        return None
    from workers.samples import MAX_SAMPLES_BYTES

    return Labelled(wish.data.name, read_input(wish.data, "data", MAX_SAMPLES_BYTES))


def _wanted(registry: Registry, compiler: str) -> list[CompilerDescription]:
    """Return the compilers to try: all, or the one named, perhaps with one of its kernels."""
    names = registry.compilers if compiler == AUTO else [compiler.partition("/")[0]]
    described = [registry.get(name).describe() for name in names]
    if not described:
        raise UsageError("no compiler can be used; 'tinymlaas compilers' says why")
    return wanted(compiler, described)


def _missing_notice(registry: Registry, wish: Wish) -> tuple[str, ...]:
    """Say which compilers were left out of an automatic choice, and why."""
    if wish.compiler != AUTO:
        return ()
    missing = sorted(registry.unavailable.items())
    return tuple(f"compiler {name} was not tried: {reason}" for name, reason in missing)
