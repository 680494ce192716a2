"""Which candidates to try first: those that did well with like models on the same kind of core.

A core has a table of 256 places for races; a model's digest says which is its own. So what is kept
is bounded, and a newer race takes the place of an older one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import log, log1p, sqrt

from pydantic import ValidationError

from tinymlaas.contract.device import CapabilityClass
from tinymlaas.contract.digest import digest_of
from tinymlaas.contract.history import Raced, RacedForm, RaceRecord
from tinymlaas.contract.jobs import CandidateJob
from tinymlaas.contract.model import ModelSummary
from tinymlaas.contract.race import number_of
from tinymlaas.contract.report import CandidateReport, CandidateStatus, Objective

_USELESS = log(10)  # the cost, over the best, that counts for what came to nothing
_UNKNOWN = log(1.5)  # and for what was never tried with anything alike
_OTHER_DTYPE = 0.25


def core_of(target: CapabilityClass) -> str:
    """Return the digest of what compilers see of a board but for its memory."""
    return digest_of(target.model_dump(mode="json", exclude={"memory"}))


def record_of(results: Sequence[tuple[ModelSummary, CandidateReport]]) -> RaceRecord | None:
    """Return what to remember of a race: its candidates, each with the form it is made of.

    None where nothing was compared, or not all was tried: whoever was first because others were
    not tried is no better than they are. What failed is left out, as that may be our own fault: a
    full disk tells nothing of a compiler. None, too, where a number cannot be one, as of a module
    that has overwritten what counts its instructions.
    """
    if any(report.status is CandidateStatus.SKIPPED for _, report in results):
        return None
    forms: dict[str, tuple[ModelSummary, list[CandidateReport]]] = {}
    for summary, report in results:
        known = report.action_digest is not None  # else it was turned away by facts alone
        if known and report.status is not CandidateStatus.FAILED:
            forms.setdefault(summary.digest, (summary, []))[1].append(report)
    if sum(len(reports) for _, reports in forms.values()) < 2:
        return None
    try:
        return RaceRecord(
            model_digest=next(iter(forms)),
            forms=tuple(_form(summary, reports) for summary, reports in forms.values()),
        )
    except ValidationError:
        return None


def _form(summary: ModelSummary, reports: Iterable[CandidateReport]) -> RacedForm:
    entries = (
        Raced(
            compiler=report.compiler,
            kernels=report.kernels,
            options=report.options,
            status=report.status,
            instructions=report.instructions,
            flash_bytes=report.flash_bytes,
            ram_bytes=report.ram_bytes,
        )
        for report in reports
    )
    return RacedForm(
        format=summary.format,
        dtype=summary.dtype,
        macs=summary.macs,
        operators=_operators(summary),
        entries=tuple(sorted(entries, key=_name)),
    )


def _name(entry: Raced) -> tuple[str, str, list[tuple[str, str]]]:
    return entry.compiler, entry.kernels, sorted(entry.options.items())


def merged(old: RaceRecord, new: RaceRecord) -> RaceRecord:
    """Return `new` with what `old` knows besides, if they are of one model in the same forms."""
    if (old.model_digest, len(old.forms)) != (new.model_digest, len(new.forms)):
        return new
    forms = []
    for before, now in zip(old.forms, new.forms, strict=True):
        names = [_name(entry) for entry in now.entries]
        left = [entry for entry in before.entries if _name(entry) not in names]
        entries = tuple(sorted([*now.entries, *left], key=_name))
        forms.append(now.model_copy(update={"entries": entries}))
    return new.model_copy(update={"forms": tuple(forms)})


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
        for form, costs in _costs(record, weights):
            like = likeness(job.task.summary, form)
            for entry, cost in zip(form.entries, costs, strict=True):
                if _same(entry, job):
                    total += like * cost
                    weight += like
    return total / weight if weight else _UNKNOWN


def _same(entry: Raced, job: CandidateJob) -> bool:
    task = job.task
    ours = (job.compiler, task.kernels, task.options)
    return (entry.compiler, entry.kernels, entry.options) == ours


def _costs(
    record: RaceRecord, weights: Mapping[Objective, float]
) -> list[tuple[RacedForm, list[float]]]:
    """Return how much more than the best of all forms each candidate of a race cost."""
    raw = [[_cost(entry, weights) for entry in form.entries] for form in record.forms]
    least = min((cost for form in raw for cost in form if cost is not None), default=0.0)
    return [
        (form, [_USELESS if cost is None else min(cost - least, _USELESS) for cost in costs])
        for form, costs in zip(record.forms, raw, strict=True)
    ]


def _cost(entry: Raced, weights: Mapping[Objective, float]) -> float | None:
    if entry.status is not CandidateStatus.VERIFIED:
        return None
    cost = 0.0
    for objective, weight in weights.items():
        number = number_of(entry, objective)
        if number is None:
            return None
        cost += weight * log(max(number, 1))
    return cost


def likeness(summary: ModelSummary, form: RacedForm) -> float:
    """Return how like two models are, 0 to 1: by operators, work and element type."""
    same = 1.0 if (summary.format, summary.dtype) == (form.format, form.dtype) else _OTHER_DTYPE
    ratio = abs(log(max(summary.macs, 1) / max(form.macs, 1)))
    return same * _cosine(_operators(summary), form.operators) / (1 + ratio)


def _operators(summary: ModelSummary) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for use in summary.operators:
        counts[use.name] += len(use.indices)
    return dict(counts)


def _cosine(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    dot = sum(log1p(one[name]) * log1p(other[name]) for name in one.keys() & other.keys())
    lengths = [sqrt(sum(log1p(n) ** 2 for n in each.values())) for each in (one, other)]
    return dot / (lengths[0] * lengths[1]) if all(lengths) else 0.0
