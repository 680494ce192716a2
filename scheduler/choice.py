"""Choose among finished candidates by measurement, and say of every other one why it lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, inf, log

from scheduler.candidates import unread
from scheduler.limits import broken
from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.race import NEAR, Race, number_of
from tinymlaas.contract.report import (
    CandidateReport,
    CandidateStatus,
    CompileResult,
    Objective,
    ResultStatus,
)

_NAMES = {
    Objective.LATENCY: "instructions",
    Objective.FLASH: "bytes of flash",
    Objective.RAM: "bytes of RAM",
}
_LEAST = {
    Objective.LATENCY: "fewest instructions",
    Objective.FLASH: "least flash",
    Objective.RAM: "least RAM",
}
# An error, as a share of the output's range, that is rounding in float32 and no more.
_ROUNDING = 1e-4
_AS_GOOD = f"as good within {NEAR:.0%}"
_MIGHT_HAVE = (CandidateStatus.FAILED, CandidateStatus.SKIPPED)
_UNREAD = {unread(format) for format in ModelFormat}
_PLAIN = Race()


@dataclass(frozen=True)
class Ranking:
    """Who won, if anybody, and why; why each other usable candidate did not, by index."""

    chosen: int | None
    lost: Mapping[int, str]
    won: str = ""


def choose(
    candidates: Sequence[CandidateReport], objective: Objective, race: Race = _PLAIN
) -> int | None:
    """Return the index of the best candidate, or None if none is usable; see `rank`."""
    return rank(candidates, objective, race).chosen


def rank(
    candidates: Sequence[CandidateReport], objective: Objective, race: Race = _PLAIN
) -> Ranking:
    """Choose by the race's weights among the candidates that keep its limits.

    A verified candidate always beats one that was only built, and one that computes the numbers of
    its reference (to the bit, or to rounding in float32) one of the same form of the model that is
    only within tolerance: how far quantising took a form from the model as given is for the limit
    on the error. Then the cost decides (`contract.race.Race`); of all within 2% of the least, the
    one with the least flash and RAM together is taken. An unknown number counts as worst.
    """
    usable = [
        index
        for index, report in enumerate(candidates)
        if report.status in (CandidateStatus.VERIFIED, CandidateStatus.BUILT)
    ]
    lost = {index: "; ".join(broken(candidates[index], race.limits)) for index in usable}
    left = [index for index in usable if not lost[index]]
    if any(_proven(candidates[index]) for index in left):
        unrun = [index for index in left if not _proven(candidates[index])]
        lost |= dict.fromkeys(unrun, "it was not run, the chosen one was")
        left = [index for index in left if _proven(candidates[index])]
    exact = {candidates[index].quantised for index in left if _accurate(candidates[index])}
    off = [i for i in left if candidates[i].quantised in exact and not _accurate(candidates[i])]
    lost |= {index: _off(candidates[index]) for index in off}
    left = [index for index in left if index not in off]
    if not left:
        return Ranking(None, lost)
    weights = race.of(objective)
    costs = _costs({index: candidates[index] for index in left}, weights)
    least = min(costs.values())
    near = [index for index in left if costs[index] <= least + log(1 + NEAR)]
    chosen = min(near, key=lambda index: (*_preferred(candidates[index], costs[index]), index))
    said = race.weights or weights  # as they were given, not scaled
    for index in left:
        above = 0.0 if index in near else costs[index] - costs[chosen]
        lost[index] = _compared(candidates[index], candidates[chosen], said, above)
    won = _won(candidates, chosen, left, near, said)
    return Ranking(chosen, lost | {chosen: ""}, won)


def _proven(report: CandidateReport) -> bool:
    return report.status is CandidateStatus.VERIFIED


def _accurate(report: CandidateReport) -> bool:
    error = report.max_rel_error
    return bool(report.bit_exact) or (error is not None and error <= _ROUNDING)


def _off(report: CandidateReport) -> str:
    how = "" if report.max_rel_error is None else f" ({report.max_rel_error:.2g} of the range)"
    return f"its outputs are near the reference's{how}, another's are equal"


def _costs(
    reports: Mapping[int, CandidateReport], weights: Mapping[Objective, float]
) -> dict[int, float]:
    """Return the logarithm of each candidate's cost.

    What is not known of a candidate makes it cost infinitely much, unless it is known of none.
    """
    costs = dict.fromkeys(reports, 0.0)
    for objective, weight in weights.items():
        known = [n for r in reports.values() if (n := number_of(r, objective)) is not None]
        for index, report in reports.items():
            number = number_of(report, objective)
            if number is not None:
                costs[index] += weight * log(max(number, 1) / max(min(known), 1))
            elif known:
                costs[index] = inf
    return costs


def _size(report: CandidateReport) -> int | None:
    """Return the bytes of flash and RAM together."""
    if report.flash_bytes is None or report.ram_bytes is None:
        return None
    return report.flash_bytes + report.ram_bytes


def _preferred(report: CandidateReport, cost: float) -> tuple[float, float, float, str]:
    """Return what decides among those that are as good: size, then cost, at last speed."""
    size, speed = _size(report), report.instructions
    return (
        inf if size is None else size,
        cost,
        inf if speed is None else speed,
        report.compiler,
    )


def _compared(
    report: CandidateReport,
    chosen: CandidateReport,
    weights: Mapping[Objective, float],
    above: float,
) -> str:
    """Say why `report` lost to `chosen` by its numbers; `above` is how far its cost's log is up."""
    numbers = {each: (number_of(report, each), number_of(chosen, each)) for each in Objective}
    if all(own == other for own, other in numbers.values()):
        return "the same numbers as the chosen one"
    for each in weights:
        if numbers[each][0] is None and numbers[each][1] is not None:
            return f"its {_NAMES[each]} are not known"
    if above <= 0:
        unknown = [_NAMES[each] for each in weights if numbers[each] == (None, None)]
        alike = f"{' and '.join(unknown)} are known of neither" if unknown else _AS_GOOD
        size, least = _size(report), _size(chosen)
        if size is None or least is None or size <= least:
            return alike
        return f"{alike} but larger: {size:,} bytes of flash and RAM together, not {least:,}"
    known = {each: (own or 0, other or 0) for each, (own, other) in numbers.items()}
    if len(weights) > 1:
        parts = (
            f"{own / max(other, 1):.3g} times the chosen one's {_NAMES[each]}"
            for each, (own, other) in known.items()
            if each in weights
        )
        return f"{', '.join(parts)}: {exp(above):.3g} times its cost ({_weighted(weights)})"
    (only,) = weights
    own, other = known[only]
    return f"{own:,} {_NAMES[only]}, {own / max(other, 1):.3g} times the chosen one's {other:,}"


def _won(
    candidates: Sequence[CandidateReport],
    chosen: int,
    left: Sequence[int],
    near: Sequence[int],
    weights: Mapping[Objective, float],
) -> str:
    """Say why `chosen` won of those `left`, `near` being as good by their cost."""
    if len(left) == 1:
        return "no other may win"
    if len(weights) > 1:
        best = f"least cost ({_weighted(weights)})"
    else:
        (only,) = weights
        numbers = [n for i in left if (n := number_of(candidates[i], only)) is not None]
        if not numbers:
            return f"{_NAMES[only]} are known of none"
        best = f"{_LEAST[only]} ({min(numbers):,})"
    if len(near) == 1:
        return f"the {best} of {len(left)}"
    size = _size(candidates[chosen])
    small = "" if size is None else f" ({size:,} bytes of flash and RAM together)"
    return f"the smallest{small} of {len(near)} within {NEAR:.0%} of the {best}"


def _weighted(weights: Mapping[Objective, float]) -> str:
    parts = (f"{_NAMES[each]} {weights[each]:g}" for each in Objective if each in weights)
    return f"by weights: {', '.join(parts)}"


def pareto(candidates: Sequence[CandidateReport]) -> set[int]:
    """Return the verified candidates that no other is as good as in all and better in one.

    Judged by flash, RAM and instructions; of several with the same numbers all are returned.
    """
    points = {
        index: tuple(n for each in Objective if (n := number_of(report, each)) is not None)
        for index, report in enumerate(candidates)
        if report.status is CandidateStatus.VERIFIED
    }
    known = {index: point for index, point in points.items() if len(point) == len(Objective)}
    return {
        index
        for index, point in known.items()
        if not any(_dominates(other, point) for other in known.values())
    }


def _dominates(one: Sequence[int], other: Sequence[int]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other, strict=True))


def conclude(
    candidates: Sequence[CandidateReport], objective: Objective, race: Race = _PLAIN
) -> CompileResult:
    """Return the job's result: done with the chosen candidate, else rejected or failed.

    A job is `failed` if any candidate failed or was skipped (it might have worked), `rejected` if
    all were or break a limit.
    """
    ranking = rank(candidates, objective, race)
    best = pareto(candidates)
    told = tuple(
        report.model_copy(update={"lost": ranking.lost.get(index, ""), "pareto": index in best})
        for index, report in enumerate(candidates)
    )
    if ranking.chosen is not None:
        won = told[ranking.chosen].model_copy(update={"won": ranking.won})
        told = (*told[: ranking.chosen], won, *told[ranking.chosen + 1 :])
        digest = candidates[ranking.chosen].action_digest
        return CompileResult(
            status=ResultStatus.DONE,
            action_digest=digest,
            chosen=ranking.chosen,
            candidates=told,
        )
    failed = any(report.status in _MIGHT_HAVE for report in told)
    return CompileResult(
        status=ResultStatus.FAILED if failed else ResultStatus.REJECTED,
        reasons=_reasons(told, failed),
        candidates=told,
    )


def _reasons(candidates: Sequence[CandidateReport], failed: bool) -> tuple[str, ...]:
    """Return why no candidate can be used, what came nearest first.

    What does not read the format at all is passed over where something does.
    """
    told = sorted((r for r in candidates if _tells(r, failed)), key=_distance)
    reading = [r for r in told if r.lost or not _UNREAD.issuperset(r.reasons)]
    several = len({report.compiler for report in reading or told}) > 1
    reasons = (
        f"{report.compiler}: {reason}" if several else reason
        for report in reading or told
        for reason in _against(report)
    )
    return tuple(dict.fromkeys(reasons))  # kernel libraries of one compiler share most of theirs


def _tells(report: CandidateReport, failed: bool) -> bool:
    if failed and report.status in _MIGHT_HAVE:
        return True
    if failed:
        return bool(report.lost)
    return report.status is CandidateStatus.REJECTED or bool(report.lost)


def _against(report: CandidateReport) -> Iterable[str]:
    return (report.lost,) if report.lost else report.reasons


def _distance(report: CandidateReport) -> tuple[bool, bool, bool, int]:
    """Return how far from working a candidate was: what came nearest is the most worth reading."""
    return (
        not report.lost,
        report.flash_bytes is None,
        report.action_digest is None,
        len(report.reasons),
    )
