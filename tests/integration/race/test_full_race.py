"""`auto` picks what is best by a full race in which every candidate was built and run alone."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.integration.build.networks import five_layers
from tests.integration.race.measuring import VARIANTS, Key, Measured, alone, best, explained, key
from tests.integration.race.services import MLPERF
from tinymlaas.contract.manifest import Level
from tinymlaas.contract.report import CandidateReport, CandidateStatus, Objective, ResultStatus
from tinymlaas.local import LocalService, Wish

BOARD = "nucleo-l4r5zi"
BOARDS = (BOARD, "rpi-pico", "mps3-an547", "esp32-c3-devkitm-1")
_SWITCHES = (
    *("constant-folding", "pad-fusion", "activation-fusion", "special-cases", "dead-channels"),
    *("reshape-removal", "in-place", "placement"),
)
# With what `auto` does not try: each pass left out.
EXHAUSTIVE = (
    *VARIANTS,
    *(("cmsis-nn/portable", {"objective": "latency", name: "off"}) for name in _SWITCHES),
)


def raced(
    racing: LocalService,
    model: Path,
    board: str,
    folder: Path,
    variants: tuple[tuple[str, Mapping[str, str]], ...] = VARIANTS,
) -> None:
    """Race by hand, then let `auto` choose for each objective, and compare."""
    by_hand = alone(racing, model, board, folder, variants)
    ran = {key(each.report): each.measured for each in by_hand if each.measured is not None}
    assert ran, "nothing of this is verified on this board"
    for objective in Objective:
        done = racing.compile(model, board, Wish(objective=objective), folder).result
        assert done.status is ResultStatus.DONE
        assert done.chosen is not None
        chosen = done.candidates[done.chosen]
        winner = best(ran.values(), objective)
        assert ran[key(chosen)].shown() == winner.shown(), f"{objective}: {key(chosen)}"
        told = [c for index, c in enumerate(done.candidates) if index != done.chosen]
        assert not [why for c in told if (why := explained(c, chosen, objective))]
        _agree(done.candidates, ran)
        assert {c.compiler for c in done.candidates} == {each.report.compiler for each in by_hand}


def _agree(candidates: tuple[CandidateReport, ...], ran: Mapping[Key, Measured]) -> None:
    """What the race says of a candidate is what it is alone; `simulated` is only what was run."""
    for report in candidates:
        verified = report.status is CandidateStatus.VERIFIED
        assert verified == (key(report) in ran)
        if verified:
            numbers = (report.instructions, report.flash_bytes, report.ram_bytes)
            assert numbers == ran[key(report)].shown()
        else:
            assert report.level is not Level.SIMULATED
            assert report.instructions is None


def test_auto_is_the_best_of_all_measured_one_by_one(
    tmp_path: Path, shared_service: Callable[..., LocalService]
) -> None:
    """What the slow tests show of real models and all cores, of a small one on one."""
    model = tmp_path / "five.tflite"
    model.write_bytes(five_layers())
    raced(shared_service(), model, BOARD, tmp_path)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("kind", ["int8", "fp32"])
@pytest.mark.parametrize("name", ["kws", "ad", "ic", "vww"])
def test_auto_is_the_best_on_every_core(
    tmp_path: Path, shared_service: Callable[..., LocalService], name: str, kind: str, board: str
) -> None:
    raced(shared_service(), MLPERF / f"{name}_{kind}.tflite", board, tmp_path)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(("name", "board"), [("kws", BOARD), ("ad", "rpi-pico")])
def test_no_option_that_auto_leaves_alone_would_have_been_better(
    tmp_path: Path, shared_service: Callable[..., LocalService], name: str, board: str
) -> None:
    raced(shared_service(), MLPERF / f"{name}_int8.tflite", board, tmp_path, EXHAUSTIVE)
