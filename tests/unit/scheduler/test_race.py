"""The race: weights, limits, near ties, Pareto-optimal candidates, and why the others lost."""

import itertools
from math import inf, prod

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.choice import conclude, pareto, rank
from scheduler.ends import conclusion
from scheduler.jobs import Place, Plan
from scheduler.limits import of_form
from tests.unit.scheduler.facts import quantisation, summary
from tests.unit.scheduler.test_choice import BUILT, FAILED, REJECTED, VERIFIED, report
from tinymlaas.contract.messages import CompileOrder, JobState, Payload
from tinymlaas.contract.race import NEAR, Limits, Race
from tinymlaas.contract.report import (
    CandidateReport,
    CandidateStatus,
    Objective,
    ResultStatus,
    total_error,
)

LATENCY, FLASH, RAM = Objective.LATENCY, Objective.FLASH, Objective.RAM


def test_weights_trade_one_number_for_another() -> None:
    fast, small = report(VERIFIED, 100, 50, 40), report(VERIFIED, 150, 50, 20)
    both = [fast, small]
    assert rank(both, LATENCY).chosen == 0
    assert rank(both, RAM).chosen == 1
    # 1.5 times the instructions for half the RAM: 1.5² > 2, 1.5 < 2.
    assert rank(both, LATENCY, Race(weights={LATENCY: 2, RAM: 1})).chosen == 0
    assert rank(both, LATENCY, Race(weights={LATENCY: 1, RAM: 1})).chosen == 1
    found = rank(both, LATENCY, Race(weights={LATENCY: 2, RAM: 1}))
    assert found.lost[1] == (
        "1.5 times the chosen one's instructions, 0.5 times the chosen one's bytes of RAM: "
        "1.04 times its cost (by weights: instructions 2, bytes of RAM 1)"
    )
    assert found.won == "the least cost (by weights: instructions 2, bytes of RAM 1) of 2"


def test_the_chosen_one_is_told_why() -> None:
    fast, small = report(VERIFIED, 10_000, 500, 400), report(VERIFIED, 10_100, 50, 40)
    slow = report(VERIFIED, 20_000, 1, 1)
    assert rank([fast], LATENCY).won == "no other may win"
    assert rank([fast, slow], LATENCY).won == "the fewest instructions (10,000) of 2"
    assert rank([fast, slow, small], LATENCY).won == (
        "the smallest (90 bytes of flash and RAM together) of 2 within 2% of the fewest "
        "instructions (10,000)"
    )
    assert rank([report(), report()], FLASH).won == "bytes of flash are known of none"
    told = conclude([slow, small], LATENCY).candidates
    assert [bool(each.won) for each in told] == [False, True]


@pytest.mark.parametrize(
    ("objective", "other", "chosen"),
    [
        (LATENCY, (102_000, 9, 90), 1),
        (LATENCY, (102_100, 9, 90), 0),
        (LATENCY, (102_000, 101, 98), 1),
        (LATENCY, (102_000, 100, 101), 0),
        (LATENCY, (100_001, 100, 100), 0),
        (LATENCY, (99_999, 150, 50), 1),
        (FLASH, (9, 102, 97), 1),
        (FLASH, (9, 103, 9), 0),
        (FLASH, (9, 102, 99), 0),
        (FLASH, (9, 101, 99), 0),
        (FLASH, (9, 100, 100), 1),
        (RAM, (9, 97, 102), 1),
        (RAM, (9, 9, 103), 0),
        (RAM, (9, 99, 102), 0),
    ],
)
def test_near_ties_go_to_the_smaller_then_to_the_better_then_to_the_faster(
    objective: Objective, other: tuple[int, int, int], chosen: int
) -> None:
    assert (
        rank([report(VERIFIED, 100_000, 100, 100), report(VERIFIED, *other)], objective).chosen
        == chosen
    )


def test_a_few_bytes_of_ram_are_not_worth_four_times_the_instructions() -> None:
    """ad_int8 on nucleo-l4r5zi: under flash a near tie once went to 48 B less of RAM."""
    fast, slow = (
        report(VERIFIED, 375_000, 272_952, 8_048),
        report(VERIFIED, 1_630_000, 273_112, 8_000),
    )
    assert rank([slow, fast], FLASH).chosen == 1


def test_a_form_is_held_against_its_own_reference_alone() -> None:
    """A quantised candidate that is exact is no nearer the model given than a float one."""
    plain = report(VERIFIED, 10, 10, 10).model_copy(
        update={"max_rel_error": 2e-4, "bit_exact": False}
    )
    exact = report(VERIFIED, 30, 30, 30).model_copy(update={"bit_exact": True})
    whole = exact.model_copy(update={"quantised": True, "quantisation_error": 0.05})
    assert rank([plain, whole], LATENCY).chosen == 0
    assert rank([plain, exact], LATENCY).chosen == 1
    assert rank([plain, exact, whole], LATENCY).lost[0].endswith("another's are equal")


def test_limits_are_told_with_the_digits_that_break_them() -> None:
    candidate = report(VERIFIED, 1, 1, 1).model_copy(
        update={"max_rel_error": 0.010004, "accuracy": 0.94996}
    )
    race = Race(limits=Limits(error=0.01, accuracy=0.95))
    assert rank([candidate], LATENCY, race).lost[0] == (
        "its error is 0.010004 of the output's range, up to 0.01 is allowed; "
        "its accuracy is 94.996%, at least 95% is wanted"
    )


def test_what_broke_a_limit_is_told_though_others_were_not_tried() -> None:
    large = report(VERIFIED, 1, 900, 900)
    late = report(CandidateStatus.SKIPPED, reasons=("not tried within the budget of 1 s",))
    result = conclude([late, large], LATENCY, Race(limits=Limits(flash_bytes=899)))
    assert result.status is ResultStatus.FAILED
    assert result.reasons == (
        "900 bytes of flash, more than the 899 allowed",
        "not tried within the budget of 1 s",
    )


def test_of_what_was_never_run_nothing_is_said_to_be_as_good() -> None:
    one, other = report(BUILT, None, 300, 100), report(BUILT, None, 200, 100)
    lost = rank([one, other], LATENCY).lost[0]
    assert lost == (
        "instructions are known of neither but larger: 400 bytes of flash and RAM together, not 300"
    )


def test_every_loser_is_told_why() -> None:
    candidates = [
        report(VERIFIED, 1_000, 100, 100),
        report(VERIFIED, 1_000, 100, 100),
        report(VERIFIED, 1_010, 200, 100),
        report(VERIFIED, 3_000, 50, 50),
        report(BUILT, None, 10, 10),
        report(VERIFIED, 10, 10, 10).model_copy(update={"max_rel_error": 0.07, "bit_exact": False}),
        report(REJECTED, reasons=("no",)),
        report(FAILED, 1, 1, 1, reasons=("wrong numbers",)),
    ]
    exact = [
        r.model_copy(update={"bit_exact": True}) if r.bit_exact is None else r for r in candidates
    ]
    result = conclude(exact, LATENCY)
    assert result.chosen == 0
    assert [each.lost for each in result.candidates] == [
        "",
        "the same numbers as the chosen one",
        "as good within 2% but larger: 300 bytes of flash and RAM together, not 200",
        "3,000 instructions, 3 times the chosen one's 1,000",
        "it was not run, the chosen one was",
        "its outputs are near the reference's (0.07 of the range), another's are equal",
        "",
        "",
    ]


def test_what_breaks_a_limit_cannot_win_however_good() -> None:
    candidates = [report(VERIFIED, 1, 900, 900), report(VERIFIED, 5_000, 800, 800)]
    limits = Limits(flash_bytes=899)
    result = conclude(candidates, LATENCY, Race(limits=limits))
    assert result.chosen == 1
    assert result.candidates[0].lost == "900 bytes of flash, more than the 899 allowed"
    assert conclude(candidates, LATENCY, Race(limits=Limits(flash_bytes=900))).chosen == 0


def test_if_all_break_limits_the_job_is_rejected_with_each_reason() -> None:
    candidates = [
        report(VERIFIED, 7, 900, 900, "a"),
        report(BUILT, None, 90, 90, "b"),
        report(REJECTED, compiler="c", reasons=("does not read tflite models",)),
    ]
    result = conclude(candidates, FLASH, Race(limits=Limits(ram_bytes=500, instructions=8)))
    assert (result.status, result.chosen) == (ResultStatus.REJECTED, None)
    assert result.reasons == (
        "a: 900 bytes of RAM, more than the 500 allowed",
        "b: its instructions are not known, and up to 8 are allowed",
    )


def off(error: float | None, quantisation: float | None = None, accuracy: float | None = None):
    changes = {"max_rel_error": error, "bit_exact": error == 0.0, "accuracy": accuracy}
    more = {"quantised": quantisation is not None, "quantisation_error": quantisation}
    return report(VERIFIED, 1, 1, 1).model_copy(update=changes | more)


def test_the_error_of_a_quantised_candidate_counts_from_the_float_model() -> None:
    assert total_error(off(0.001, 0.03)) == pytest.approx(0.031)
    assert total_error(off(0.001)) == 0.001
    assert total_error(off(None)) is None
    unknown = off(0.0).model_copy(update={"quantised": True})
    assert total_error(unknown) is None
    race = Race(limits=Limits(error=0.01))
    candidates = [off(0.0, 0.03), off(1e-6), unknown]
    found = rank(candidates, LATENCY, race)
    assert found.chosen == 1
    assert found.lost[0] == "its error is 0.03 of the output's range, up to 0.01 is allowed"
    assert found.lost[2] == "its error is not known, up to 0.01 is allowed"


def test_the_job_knows_what_quantising_did() -> None:
    plain = report(VERIFIED, 1, 1, 1)
    assert of_form(plain, None) == plain
    told = of_form(plain, quantisation(0.01, 0.03))
    assert (told.quantised, told.quantisation_error) == (True, 0.03)
    assert of_form(plain, quantisation()).quantisation_error is None


def test_a_farms_limit_on_the_error_counts_from_the_float_model() -> None:
    order = CompileOrder(
        tenant="a",
        model=Payload.of(b"m", "a"),
        board="b",
        race=Race(limits=Limits(error=0.02)),
    )
    exact = report(VERIFIED, 1, 1, 1).model_copy(update={"max_rel_error": 0.0, "bit_exact": True})
    given, quantised = Place(summary()), Place(summary(), quantisation(0.03))
    for place in (given, quantised):
        place.take(exact)
    state, result = conclusion(Plan(order, table=[quantised, given]))
    assert (state, result.chosen) == (JobState.DONE, 1)
    reason = "its error is 0.03 of the output's range, up to 0.02 is allowed"
    assert result.candidates[0].lost == reason
    state, result = conclusion(Plan(order, table=[quantised]))
    assert (state, result.reasons) == (JobState.REJECTED, (reason,))


def test_accuracy_is_a_limit_that_only_labelled_data_can_keep() -> None:
    race = Race(limits=Limits(accuracy=0.9))
    found = rank([off(0.0, accuracy=0.89), off(0.0), off(0.0, accuracy=0.9)], LATENCY, race)
    assert found.chosen == 2
    assert found.lost[0] == "its accuracy is 89%, at least 90% is wanted"
    assert "not known" in found.lost[1]


def test_pareto_optimal_are_those_nobody_beats_everywhere() -> None:
    candidates = [
        report(VERIFIED, 1, 9, 9),
        report(VERIFIED, 9, 1, 9),
        report(VERIFIED, 9, 9, 9),
        report(VERIFIED, 1, 9, 9),
        report(VERIFIED, None, 1, 1),
        report(BUILT, 1, 1, 1),
    ]
    assert pareto(candidates) == {0, 1, 3}
    assert [r.pareto for r in conclude(candidates, RAM).candidates] == [1, 1, 0, 1, 0, 0]


numbers = st.integers(1, 400)
candidates_ = st.lists(
    st.builds(
        report, st.sampled_from([VERIFIED, BUILT, REJECTED, FAILED]), numbers, numbers, numbers
    ),
    max_size=8,
)


@given(candidates_, st.dictionaries(st.sampled_from(Objective), st.integers(1, 5), min_size=1))
def test_the_winner_is_within_two_percent_of_the_best_and_no_smaller_one_is(
    candidates: list[CandidateReport], weights: dict[Objective, float]
) -> None:
    """Against a cost worked out another way, over all pairs."""
    fields = {LATENCY: "instructions", FLASH: "flash_bytes", RAM: "ram_bytes"}

    def ratio(one: CandidateReport, other: CandidateReport) -> float:
        total = sum(weights.values())
        parts = (
            (getattr(one, fields[o]) / getattr(other, fields[o])) ** (w / total)
            for o, w in weights.items()
        )
        return prod(parts)

    found = rank(candidates, LATENCY, Race(weights=weights))
    verified = [r for r in candidates if r.status is VERIFIED]
    pool = verified or [r for r in candidates if r.status is BUILT]
    if not pool:
        assert found.chosen is None
        return
    winner = candidates[found.chosen]
    assert winner in pool
    worst = max((ratio(winner, other) for other in pool), default=inf)
    assert worst <= (1 + NEAR) * (1 + 1e-9)
    for other in pool:
        as_good = all(ratio(other, each) <= (1 + NEAR) * (1 - 1e-9) for each in pool)
        smaller = other.flash_bytes < winner.flash_bytes and other.ram_bytes < winner.ram_bytes
        assert not (as_good and smaller)


@given(st.permutations(range(4)))
def test_the_choice_does_not_depend_on_the_order(order: list[int]) -> None:
    names = "abcd"
    made = [report(VERIFIED, 100 + i, 50 - i, 10, names[i]) for i in range(4)]
    shuffled = [made[i] for i in order]
    for objective in itertools.chain(Objective):
        assert shuffled[rank(shuffled, objective).chosen] == made[rank(made, objective).chosen]
