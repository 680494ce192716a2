import pytest

from scheduler.choice import choose, conclude
from tinymlaas.contract.report import (
    CandidateReport,
    CandidateStatus,
    Objective,
    ResultStatus,
)

VERIFIED, BUILT = CandidateStatus.VERIFIED, CandidateStatus.BUILT
REJECTED, FAILED = CandidateStatus.REJECTED, CandidateStatus.FAILED


def report(
    status: CandidateStatus = VERIFIED,
    instructions: int | None = None,
    flash: int | None = None,
    ram: int | None = None,
    compiler: str = "cc",
    reasons: tuple[str, ...] = (),
) -> CandidateReport:
    return CandidateReport(
        compiler=compiler,
        kernels="generated",
        status=status,
        reasons=reasons,
        action_digest="a" * 64,
        instructions=instructions,
        flash_bytes=flash,
        ram_bytes=ram,
    )


@pytest.mark.parametrize(
    ("objective", "best"), [(Objective.LATENCY, 0), (Objective.FLASH, 1), (Objective.RAM, 2)]
)
def test_the_objective_decides(objective: Objective, best: int) -> None:
    candidates = [report(VERIFIED, 1, 9, 9), report(VERIFIED, 9, 1, 8), report(VERIFIED, 8, 8, 1)]
    assert choose(candidates, objective) == best


@pytest.mark.parametrize("objective", Objective)
def test_proven_comes_before_better_and_known_before_unknown(objective: Objective) -> None:
    assert choose([report(BUILT, 1, 1, 1), report(VERIFIED, 9, 9, 9)], objective) == 1
    assert choose([report(VERIFIED), report(VERIFIED, 9, 9, 9)], objective) == 1
    assert choose([report(FAILED, 1, 1, 1), report(REJECTED, 1, 1, 1)], objective) is None
    assert choose([], objective) is None


def test_right_to_the_bit_or_to_rounding_comes_before_fast_but_off() -> None:
    off = report(VERIFIED, 1).model_copy(update={"max_rel_error": 0.07, "bit_exact": False})
    rounded = report(VERIFIED, 9).model_copy(update={"max_rel_error": 4e-7, "bit_exact": False})
    exact = report(VERIFIED, 10).model_copy(update={"max_rel_error": 0.0, "bit_exact": True})
    assert choose([off, exact], Objective.LATENCY) == 1
    assert choose([off, exact, rounded], Objective.LATENCY) == 2
    assert choose([off], Objective.LATENCY) == 0


def test_ties_are_broken_by_the_rest_and_at_last_by_name() -> None:
    assert choose([report(VERIFIED, 5, 9, 1), report(VERIFIED, 5, 8, 1)], Objective.LATENCY) == 1
    assert choose([report(compiler="b"), report(compiler="a")], Objective.LATENCY) == 1
    assert choose([report(), report()], Objective.LATENCY) == 0


def test_done_with_the_chosen_one_whatever_became_of_others() -> None:
    result = conclude([report(FAILED, reasons=("broke",)), report()], Objective.LATENCY)
    assert (result.status, result.chosen, result.reasons) == (ResultStatus.DONE, 1, ())
    assert result.action_digest == "a" * 64


def test_failed_if_one_might_have_worked_else_rejected() -> None:
    no, broke = report(REJECTED, reasons=("no",)), report(FAILED, reasons=("broke",))
    failed = conclude([no, broke], Objective.LATENCY)
    assert (failed.status, failed.reasons, failed.chosen) == (ResultStatus.FAILED, ("broke",), None)
    rejected = conclude([no, no], Objective.LATENCY)
    assert (rejected.status, rejected.reasons) == (ResultStatus.REJECTED, ("no",))


def test_reasons_name_the_compiler_where_there_are_several() -> None:
    candidates = [
        report(REJECTED, compiler="a", reasons=("x",)),
        report(REJECTED, compiler="b", reasons=("y", "z")),
    ]
    assert conclude(candidates, Objective.RAM).reasons == ("a: x", "b: y", "b: z")


def test_the_reasons_of_what_came_nearest_to_working_come_first() -> None:
    facts = report(REJECTED, compiler="a", reasons=("does not read it",))
    facts = facts.model_copy(update={"action_digest": None})
    tried = report(REJECTED, compiler="b", reasons=("refused in compiling",))
    large = report(REJECTED, flash=9, compiler="c", reasons=("does not fit",))
    found = conclude([facts, tried, large], Objective.LATENCY).reasons
    assert found == ("c: does not fit", "b: refused in compiling", "a: does not read it")
