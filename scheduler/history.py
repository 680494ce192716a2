"""Which candidates to try first: those that did well with like models on the same kind of core."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import log, log1p, sqrt

from tinymlaas.contract.history import Raced, RaceRecord
from tinymlaas.contract.jobs import CandidateJob
from tinymlaas.contract.model import ModelSummary
from tinymlaas.contract.report import CandidateReport, CandidateStatus, Objective

_NUMBER = {
    Objective.LATENCY: "instructions",
    Objective.FLASH: "flash_bytes",
    Objective.RAM: "ram_bytes",
}
_USELESS = log(10)  # the cost, over the best, that counts for what came to nothing
_UNKNOWN = log(1.5)  # and for what was never tried with anything alike
_OTHER_DTYPE = 0.25


def record_of(summary: ModelSummary, reports: Iterable[CandidateReport]) -> RaceRecord:
    """Return what to remember of a race; candidates that were not tried are left out."""
    entries = tuple(
        Raced(
            compiler=report.compiler,
            kernels=report.kernels,
            options=report.options,
            quantised=report.quantised,
            status=report.status,
            instructions=report.instructions,
            flash_bytes=report.flash_bytes,
            ram_bytes=report.ram_bytes,
        )
        for report in reports
        if report.action_digest is not None and report.status is not CandidateStatus.SKIPPED
    )
    return RaceRecord(
        model_digest=summary.digest,
        format=summary.format,
        dtype=summary.dtype,
        macs=summary.macs,
        operators=_operators(summary),
        entries=entries,
    )


def promise(
    jobs: Sequence[CandidateJob],
    records: Sequence[RaceRecord],
    weights: Mapping[Objective, float],
) -> list[int]:
    """Return the jobs' indices, the most promising first; without history as they are.

    What is expected of a candidate is the mean of its costs in past races over the best there, in
    logarithms, each race weighted by how like its model is.
    """
    scores = [_score(job, records, weights) for job in jobs]
    return sorted(range(len(jobs)), key=lambda index: (scores[index], index))


def _score(
    job: CandidateJob, records: Sequence[RaceRecord], weights: Mapping[Objective, float]
) -> float:
    total = weight = 0.0
    for record in records:
        like = likeness(job.task.summary, record)
        for entry, cost in _costs(record, weights):
            if _same(entry, job):
                total += like * cost
                weight += like
    return total / weight if weight else _UNKNOWN


def _same(entry: Raced, job: CandidateJob) -> bool:
    task = job.task
    ours = (job.compiler, task.kernels, task.options)
    return (entry.compiler, entry.kernels, entry.options) == ours


def _costs(record: RaceRecord, weights: Mapping[Objective, float]) -> list[tuple[Raced, float]]:
    """Return how much more than the best each candidate of a race cost."""
    raw = {index: _cost(entry, weights) for index, entry in enumerate(record.entries)}
    least = min((cost for cost in raw.values() if cost is not None), default=0.0)
    return [
        (record.entries[index], _USELESS if cost is None else min(cost - least, _USELESS))
        for index, cost in raw.items()
    ]


def _cost(entry: Raced, weights: Mapping[Objective, float]) -> float | None:
    if entry.status is not CandidateStatus.VERIFIED:
        return None
    numbers = {each: getattr(entry, _NUMBER[each]) for each in weights}
    if any(number is None for number in numbers.values()):
        return None
    return sum(weight * log(max(numbers[each], 1)) for each, weight in weights.items())


def likeness(summary: ModelSummary, record: RaceRecord) -> float:
    """Return how like two models are, 0 to 1: by operators, work and element type."""
    same = 1.0 if (summary.format, summary.dtype) == (record.format, record.dtype) else _OTHER_DTYPE
    ratio = abs(log(max(summary.macs, 1) / max(record.macs, 1)))
    return same * _cosine(_operators(summary), record.operators) / (1 + ratio)


def _operators(summary: ModelSummary) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for use in summary.operators:
        counts[use.name] += len(use.indices)
    return dict(counts)


def _cosine(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    dot = sum(log1p(one[name]) * log1p(other[name]) for name in one.keys() & other.keys())
    lengths = [sqrt(sum(log1p(n) ** 2 for n in each.values())) for each in (one, other)]
    return dot / (lengths[0] * lengths[1]) if all(lengths) else 0.0
