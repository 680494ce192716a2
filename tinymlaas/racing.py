"""Candidates of one job on a laptop: in the order of their promise, until that is enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from broker.in_process import run_all, run_until
from scheduler.history import core_of, promise, record_of
from scheduler.hurry import Hurry
from scheduler.library import StoreLibrary
from scheduler.limits import of_form
from scheduler.past_races import keep_race, past_races
from storage.port import ObjectStore
from tinymlaas.contract.errors import Failure
from tinymlaas.contract.jobs import CandidateJob, Outcome
from tinymlaas.contract.progress import Named
from tinymlaas.contract.race import Race
from tinymlaas.contract.report import (
    CandidateReport,
    CandidateStatus,
    Objective,
    candidate_name,
)
from tinymlaas.inputs import Form
from workers import guardian
from workers.build import Workbench, build

_THREADS = 2


@dataclass(frozen=True)
class Labelled:
    """Labelled samples as they lie in their file."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Step:
    """A candidate of one form of the model: what builds it, or why it cannot work."""

    form: Form
    work: CandidateJob | CandidateReport


@dataclass(frozen=True)
class Rules:
    """When a race is over, and what its candidates are judged by.

    `budget` is in seconds of building; with `first` the first candidate that may win ends it.
    """

    objective: Objective
    race: Race = field(default_factory=Race)
    labelled: Labelled | None = None
    budget: float | None = None
    first: bool = False

    @property
    def hurry(self) -> Hurry:
        """When the race is over."""
        return Hurry(self.first, self.budget, self.race.limits)


def run(steps: Sequence[Step], rules: Rules, bench: Workbench, service: str) -> list[Outcome]:
    """Return the outcome of every step, in their order; what was not tried is `skipped`.

    What the store has is taken first: only what it has not takes any of the budget. Of that, what
    is built and only has to be judged by labelled samples is first.
    """
    outcomes: dict[int, Outcome] = {
        index: Outcome(report=of_form(step.work, step.form.quantisation))
        for index, step in enumerate(steps)
        if isinstance(step.work, CandidateReport)
    }
    jobs = {i: step.work for i, step in enumerate(steps) if isinstance(step.work, CandidateJob)}
    hurry = rules.hurry
    begun: set[int] = set()

    names = {index: _name(job, steps[index].form) for index, job in jobs.items()}
    bench.progress.expect(names.values())
    stopping: list[bool] = []
    scope = guardian.Scope()

    def handle(index: int) -> Outcome:
        begun.add(index)
        own = replace(bench, progress=Named(bench.progress, names[index]))
        with scope.entered():
            outcome = _outcome(jobs[index], steps[index].form, rules, own, service)
        report = outcome.report
        if not stopping:  # else it was killed, and is told below that it was not tried to its end
            stored = ", in the store" if report.cached else ""
            bench.progress.end(names[index], f"{report.status}{stored}")
        return outcome

    def stop() -> None:
        stopping.append(True)
        scope.kill_all()

    known, unjudged = _stored(jobs, rules, bench, service) if hurry.any else ([], [])
    outcomes |= zip(known, run_all(known, handle, _THREADS), strict=True)
    left = {index: job for index, job in jobs.items() if index not in outcomes}
    if not any(hurry.enough(outcomes[index].report) for index in known):
        order = sorted(_ordered(left, rules, bench.store), key=lambda index: index not in unjudged)
        results = run_until(
            order,
            handle,
            _THREADS,
            enough=lambda outcome: hurry.enough(outcome.report),
            seconds=rules.budget,
            stop=stop,
        )
        outcomes |= {i: found for i, found in zip(order, results, strict=True) if found is not None}
    done = [outcome.report for outcome in outcomes.values()]
    for index in left.keys() - outcomes.keys():
        report = hurry.skipped(left[index], index in begun, done)
        bench.progress.end(names[index], report.status)
        outcomes[index] = Outcome(report=of_form(report, steps[index].form.quantisation))
    return [outcomes[index] for index in range(len(steps))]


def _name(job: CandidateJob, form: Form) -> str:
    """Return what the race's report calls the candidate, too."""
    task, quantised = job.task, form.quantisation is not None
    return candidate_name(job.compiler, task.kernels, task.options, quantised=quantised)


def _outcome(
    job: CandidateJob, form: Form, rules: Rules, bench: Workbench, service: str
) -> Outcome:
    """Build what is to be built and judge it by labelled samples, where there are any."""
    outcome = build(job, bench)
    report = of_form(outcome.report, form.quantisation)
    proven = report.status is CandidateStatus.VERIFIED
    if rules.labelled is not None and proven and outcome.archive_digest is not None:
        report = _judged(report, outcome.archive_digest, rules.labelled, bench, service)
    return outcome.model_copy(update={"report": report})


def _judged(
    report: CandidateReport, module: str, labelled: Labelled, bench: Workbench, service: str
) -> CandidateReport:
    """Return `report` with its accuracy; a module that breaks on a sample has failed."""
    from workers.accuracy import accuracy_of

    bench.progress.stage(report.compiler, "running labelled samples")
    try:
        found = accuracy_of(
            module,
            labelled.data,
            labelled.name,
            bench.store,
            bench.toolchain_cache,
            service,
            bench.pool,
        )
    except Failure as error:
        failed = {"status": CandidateStatus.FAILED, "reasons": error.reasons}
        return report.model_copy(update=failed)
    return report.model_copy(update={"accuracy": found.accuracy})


def _stored(
    jobs: Mapping[int, CandidateJob], rules: Rules, bench: Workbench, service: str
) -> tuple[list[int], list[int]]:
    """Return the indices of jobs of which the store knows all, and of those it knows but how often
    they are right.
    """
    actions = {job.action_digest: job.compiler for job in jobs.values()}
    found = StoreLibrary(bench.store).outcomes(actions)
    known, unjudged = list[int](), list[int]()
    for index, job in jobs.items():
        if (outcome := found.get(job.action_digest)) is not None:
            whole = not _to_judge(outcome, rules, bench, service)
            (known if whole else unjudged).append(index)
    return known, unjudged


def _to_judge(outcome: Outcome, rules: Rules, bench: Workbench, service: str) -> bool:
    """Return whether a built candidate is to be run on labelled samples that it never ran on."""
    from workers.accuracy import known_accuracy

    module, verified = outcome.archive_digest, outcome.report.status is CandidateStatus.VERIFIED
    if rules.labelled is None or module is None or not verified:
        return False
    data = rules.labelled.data
    return known_accuracy(module, data, bench.store, service, bench.pool) is None


def _ordered(jobs: Mapping[int, CandidateJob], rules: Rules, store: ObjectStore) -> list[int]:
    """Return the jobs' indices; the most promising first where not all of them may be tried."""
    indices = list(jobs)
    if not indices or not rules.hurry.any:
        return indices
    core = core_of(next(iter(jobs.values())).task.target)
    weights = rules.race.of(rules.objective)
    return [indices[i] for i in promise(list(jobs.values()), past_races(core, store), weights)]


def remember(steps: Sequence[Step], outcomes: Sequence[Outcome], store: ObjectStore) -> None:
    """Keep what came of a race that was run to its end, for races to come.

    Raises:
        StoreError: the store does not take it; nothing but later races' order depends on it.
    """
    raced = [
        (step.work, outcome.report)
        for step, outcome in zip(steps, outcomes, strict=True)
        if isinstance(step.work, CandidateJob)
    ]
    record = record_of([(job.task.summary, report) for job, report in raced])
    if record is not None:
        keep_race(core_of(raced[0][0].task.target), record, store)
