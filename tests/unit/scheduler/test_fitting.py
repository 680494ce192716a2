import pytest

from scheduler.candidates import Candidate
from scheduler.fitting import Estimated, cheapest_first, fit, verified
from tests.unit.scheduler.facts import BOARD, compiler
from tests.unit.scheduler.test_choice import BUILT, REJECTED, VERIFIED, report
from tinymlaas.contract.compiler import Estimate
from tinymlaas.contract.device import DeviceProfile
from tinymlaas.contract.fit import Verdict
from tinymlaas.contract.manifest import Level
from tinymlaas.contract.report import CandidateReport, CompileResult, ResultStatus

PROFILE = DeviceProfile(
    name="board",
    title="t",
    vendor="v",
    mcu="m",
    datasheet="https://x",
    core=BOARD.core,
    memory=BOARD.memory,
)


def said(flash: int, ram: int, name: str = "cc") -> Estimated:
    estimate = Estimate(
        flash_bytes=flash,
        ram_bytes=ram,
        flash_at_least=flash // 2,
        ram_at_least=ram // 2,
    )
    return Estimated(Candidate(compiler(name), "generated", {"o": name}), estimate)


@pytest.mark.parametrize(
    ("flash", "ram", "verdict"),
    [
        (850, 1, Verdict.FITS),
        (1, 850, Verdict.FITS),
        (851, 1, Verdict.TIGHT),
        (1000, 1, Verdict.TIGHT),
        (1150, 1150, Verdict.TIGHT),
        (1151, 1, Verdict.UNLIKELY),
        (1, 2001, Verdict.UNLIKELY),
        (2002, 1, Verdict.NO),
        (1, 2002, Verdict.NO),
    ],
)
def test_the_error_an_estimate_may_have_is_allowed_for(
    flash: int, ram: int, verdict: Verdict
) -> None:
    found = fit(PROFILE, [said(flash, ram)])
    assert (found.verdict, found.level) == (verdict, Level.ESTIMATED)
    assert (found.flash_capacity, found.ram_capacity) == (1000, 1000)
    assert len(found.reasons) == (flash > 1000) + (ram > 1000)


def test_what_is_not_certain_is_unlikely_however_much_it_is() -> None:
    guess = Estimate(flash_bytes=9000, ram_bytes=9000, ram_at_least=1000)
    found = fit(PROFILE, [Estimated(Candidate(compiler(), "generated"), guess)])
    assert found.verdict is Verdict.UNLIKELY


def test_a_board_is_refused_only_if_every_candidate_is() -> None:
    small_and_sure = Estimate(flash_bytes=1010, ram_bytes=1, flash_at_least=1001)
    larger_but_not_sure = Estimate(flash_bytes=1020, ram_bytes=1, flash_at_least=900)
    both = [
        Estimated(Candidate(compiler(name), "generated"), said)
        for name, said in (("a", small_and_sure), ("b", larger_but_not_sure))
    ]
    assert fit(PROFILE, both[:1]).verdict is Verdict.NO
    assert (fit(PROFILE, both).verdict, fit(PROFILE, both).compiler) == (Verdict.TIGHT, "b")
    silent = Estimated(Candidate(compiler("y"), "generated"))
    assert fit(PROFILE, [both[0], silent]).verdict is Verdict.UNLIKELY


def test_where_nothing_fits_what_needs_least_speaks() -> None:
    unsure = Estimated(
        Candidate(compiler("tvm"), "generated"), Estimate(flash_bytes=9000, ram_bytes=3000)
    )
    silent = Estimated(Candidate(compiler("y"), "generated"))

    def sure(ram: int) -> Estimated:
        said = Estimate(flash_bytes=10, ram_bytes=ram, ram_at_least=ram)
        return Estimated(Candidate(compiler("cc"), "generated"), said)

    for others in ([unsure], [silent], [unsure, silent]):
        near, far = (fit(PROFILE, [sure(ram), *others]) for ram in (1100, 1200))
        assert (near.verdict, near.compiler, near.ram_bytes) == (Verdict.UNLIKELY, "cc", 1100)
        assert (far.verdict, far.compiler, far.ram_bytes) == (Verdict.NO, "cc", 1200)
    assert fit(PROFILE, [unsure, sure(9500)]).verdict is Verdict.UNLIKELY


def test_the_variant_that_the_objective_asks_for_speaks_for_its_compiler() -> None:
    def variant(objective: str, flash: int, name: str = "cc") -> Estimated:
        options = {"objective": objective}
        estimate = Estimate(flash_bytes=flash, ram_bytes=1)
        return Estimated(Candidate(compiler(name), "generated", options), estimate)

    fast, small = variant("latency", 600), variant("flash", 500)
    other = variant("latency", 550, "other")
    assert fit(PROFILE, [other, fast, small]).flash_bytes == 600
    assert fit(PROFILE, [other, variant("latency", 900), small]).flash_bytes == 500


def test_what_fits_only_in_two_memories_is_not_sure_to() -> None:
    (flash, ram) = PROFILE.memory
    half = ram.model_copy(update={"length": ram.length // 2})
    other = half.model_copy(update={"name": "ram2", "origin": ram.origin + half.length})
    split = PROFILE.model_copy(update={"memory": (flash, half, other)})
    assert fit(PROFILE, [said(1, 600)]).verdict is Verdict.FITS
    found = fit(split, [said(1, 600)])
    assert (found.verdict, found.ram_capacity) == (Verdict.TIGHT, ram.length)
    assert fit(split, [said(1, 400)]).verdict is Verdict.FITS


def test_the_candidate_that_leaves_most_room_speaks_for_the_board() -> None:
    refused = Estimated(Candidate(compiler("z"), "generated"), reasons=("no Foo",))
    found = fit(PROFILE, [said(900, 10, "a"), refused, said(500, 600, "b"), said(10, 700, "c")])
    assert (found.compiler, found.options) == ("b", {"o": "b"})
    assert (found.flash_bytes, found.ram_bytes) == (500, 600)
    nobody = fit(PROFILE, [refused, refused])
    assert (nobody.verdict, nobody.reasons, nobody.level) == (Verdict.NO, ("z: no Foo",), None)
    silent = Estimated(Candidate(compiler("y"), "generated"))  # it may work, it does not say
    assert fit(PROFILE, [refused, silent]).verdict is Verdict.TIGHT


def test_the_smallest_board_that_fits_comes_first() -> None:
    def board(name: str, flash: int, verdict: Verdict):
        found = fit(PROFILE, [said(1, 1)])
        return found.model_copy(update={"board": name, "flash_capacity": flash, "verdict": verdict})

    boards = [
        board("large", 900, Verdict.FITS),
        board("none", 1, Verdict.NO),
        board("tight", 10, Verdict.TIGHT),
        board("small", 90, Verdict.FITS),
    ]
    assert [b.board for b in cheapest_first(boards)] == ["small", "large", "tight", "none"]


def ended(status: ResultStatus, *candidates: CandidateReport, chosen: int | None = None):
    return CompileResult(status=status, reasons=("why",), candidates=candidates, chosen=chosen)


def test_what_was_tried_is_said_as_it_is_known() -> None:
    estimated = fit(PROFILE, [said(1000, 1)])
    linked = report(VERIFIED, 7, 90, 80, "other").model_copy(
        update={"level": Level.SIMULATED, "size_level": Level.LINKED, "module_digest": "a" * 64}
    )
    proven = verified(estimated, ended(ResultStatus.DONE, linked, chosen=0))
    assert (proven.verdict, proven.level, proven.compiler) == (
        Verdict.FITS,
        Level.SIMULATED,
        "other",
    )
    assert (proven.flash_bytes, proven.ram_bytes, proven.instructions) == (90, 80, 7)
    unlinked = report(BUILT, None, 9, 9, reasons=("no gcc",)).model_copy(
        update={"size_level": Level.ESTIMATED}
    )
    standing = verified(estimated, ended(ResultStatus.DONE, unlinked, chosen=0))
    assert (standing.verdict, standing.flash_bytes) == (Verdict.TIGHT, 1000)
    assert standing.reasons == ("no gcc",)


def test_only_a_link_is_called_linked() -> None:
    estimated = fit(PROFILE, [said(1000, 1)])
    refused = report(REJECTED, None, None, None)
    by_estimate = verified(estimated, ended(ResultStatus.REJECTED, refused))
    assert (by_estimate.verdict, by_estimate.level) == (Verdict.NO, Level.ESTIMATED)
    assert (by_estimate.reasons, by_estimate.flash_bytes) == (("why",), 1000)
    too_large = [
        report(REJECTED, None, 1200, 20, name).model_copy(update={"size_level": Level.LINKED})
        for name in ("a", "b")
    ]
    nearer = too_large[1].model_copy(update={"flash_bytes": 1100, "level": Level.LINKED})
    by_link = verified(estimated, ended(ResultStatus.REJECTED, too_large[0], refused, nearer))
    assert (by_link.verdict, by_link.level) == (Verdict.NO, Level.LINKED)
    assert (by_link.compiler, by_link.flash_bytes, by_link.ram_bytes) == ("b", 1100, 20)
    broken = verified(estimated, ended(ResultStatus.FAILED, refused))
    assert (broken.verdict, broken.level, broken.flash_bytes) == (
        Verdict.TIGHT,
        Level.ESTIMATED,
        1000,
    )
    assert broken.reasons[-1] == "why"
