"""Candidates of one job on a laptop: in the order of their promise, until that is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from broker.in_process import run_until
from scheduler.history import promise, record_of
from scheduler.limits import broken, of_form
from storage import keys
from storage.port import ObjectDamaged, ObjectNotFound, ObjectStore
from tinymlaas.contract.device import CapabilityClass
from tinymlaas.contract.digest import digest_of, sha256
from tinymlaas.contract.history import RaceRecord
from tinymlaas.contract.jobs import CandidateJob, Outcome
from tinymlaas.contract.race import Race
from tinymlaas.contract.report import CandidateReport, CandidateStatus, Objective
from tinymlaas.inputs import Form
from workers import guardian
from workers.build import Workbench, build

_THREADS = 2
_REMEMBERED = 64  # races that are looked at


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

    def enough(self, outcome: Outcome) -> bool:
        """Return whether the race is over with this outcome."""
        proven = outcome.report.status is CandidateStatus.VERIFIED
        return self.first and proven and not broken(outcome.report, self.race.limits)


def run(steps: Sequence[Step], rules: Rules, bench: Workbench, service: str) -> list[Outcome]:
    """Return the outcome of every step, in their order; what was not tried is `skipped`."""
    outcomes: dict[int, Outcome] = {
        index: Outcome(report=of_form(step.work, step.form.quantisation))
        for index, step in enumerate(steps)
        if isinstance(step.work, CandidateReport)
    }
    jobs = {i: step.work for i, step in enumerate(steps) if isinstance(step.work, CandidateJob)}
    order = _ordered(jobs, rules, bench.store)
    begun: set[int] = set()

    def handle(index: int) -> Outcome:
        begun.add(index)
        return _outcome(jobs[index], steps[index].form, rules, bench, service)

    results = run_until(
        order,
        handle,
        _THREADS,
        enough=rules.enough,
        seconds=rules.budget,
        stop=guardian.kill_all,
    )
    for index, result in zip(order, results, strict=True):
        form = steps[index].form
        outcomes[index] = result or _skipped(jobs[index], form, rules, index in begun)
    done = [outcomes[index] for index in range(len(steps))]
    _remember(steps, done, bench.store)
    return done


def _outcome(
    job: CandidateJob, form: Form, rules: Rules, bench: Workbench, service: str
) -> Outcome:
    """Build what is to be built and judge it by labelled samples, where there are any."""
    outcome = build(job, bench)
    report = of_form(outcome.report, form.quantisation)
    proven = report.status is CandidateStatus.VERIFIED
    if rules.labelled is not None and proven and outcome.archive_digest is not None:
        from workers.accuracy import accuracy_of

        data = (rules.labelled.data, rules.labelled.name)
        found = accuracy_of(
            outcome.archive_digest, *data, bench.store, bench.toolchain_cache, service
        )
        report = report.model_copy(update={"accuracy": found.accuracy})
    return outcome.model_copy(update={"report": report})


def _skipped(job: CandidateJob, form: Form, rules: Rules, begun: bool) -> Outcome:
    what = "not finished" if begun else "not tried"
    limit = f"within the budget of {rules.budget:g} s" if rules.budget is not None else ""
    why = "as another was verified first" if rules.first else limit
    report = CandidateReport(
        compiler=job.compiler,
        kernels=job.task.kernels,
        options=job.task.options,
        status=CandidateStatus.SKIPPED,
        reasons=(f"{what} {why}",),
        action_digest=job.action_digest,
    )
    return Outcome(report=of_form(report, form.quantisation))


def _ordered(jobs: dict[int, CandidateJob], rules: Rules, store: ObjectStore) -> list[int]:
    """Return the jobs' indices; the most promising first where not all of them may be tried."""
    indices = list(jobs)
    if not indices or (rules.budget is None and not rules.first):
        return indices
    core = _core(next(iter(jobs.values())).task.target)
    weights = rules.race.of(rules.objective)
    return [indices[i] for i in promise(list(jobs.values()), _records(core, store), weights)]


def _core(target: CapabilityClass) -> str:
    """Return the digest of what compilers see of a board but for its memory."""
    return digest_of(target.model_dump(mode="json", exclude={"memory"}))


def _records(core: str, store: ObjectStore) -> list[RaceRecord]:
    found = []
    for number, info in enumerate(store.list(keys.races(core))):
        if number == _REMEMBERED:
            break
        try:
            found.append(RaceRecord.model_validate_json(store.get(info.key)))
        except (ObjectNotFound, ObjectDamaged, ValidationError):
            continue
    return found


def _remember(steps: Sequence[Step], outcomes: Sequence[Outcome], store: ObjectStore) -> None:
    """Keep what came of each form of the model, for races to come."""
    by_form: dict[Form, list[tuple[CandidateJob, CandidateReport]]] = {}
    for step, outcome in zip(steps, outcomes, strict=True):
        if isinstance(step.work, CandidateJob):
            by_form.setdefault(step.form, []).append((step.work, outcome.report))
    for raced in by_form.values():
        job = raced[0][0]
        record = record_of(job.task.summary, [report for _, report in raced])
        if len(record.entries) < 2:  # nothing was compared
            continue
        data = record.model_dump_json().encode()
        store.put_if_absent(keys.race(_core(job.task.target), sha256(data)), data)
