"""The race from end to end: measured, explained, and won by nobody whose numbers are wrong."""

import math
from pathlib import Path

import pytest

from tests.integration.cli.runner import Cli
from tests.integration.race.services import DIGITS, MLPERF, PLUGIN, planted, relu, service
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.manifest import Level
from tinymlaas.contract.race import Limits, Race
from tinymlaas.contract.report import CandidateReport, CandidateStatus, Objective, ResultStatus
from tinymlaas.inputs import Form
from tinymlaas.local import Wish

BOARD = "nucleo-l4r5zi"
FIELDS = {
    Objective.LATENCY: "instructions",
    Objective.FLASH: "flash_bytes",
    Objective.RAM: "ram_bytes",
}


def test_wrong_numbers_never_win_however_fast_and_small(tmp_path: Path, cache: Path) -> None:
    """A compiler whose relu is the identity needs least of all, and is right half the time."""
    cheat = planted(tmp_path, "cheat", "{0}")
    lazy = planted(tmp_path, "lazy", "0.0f")
    racing = service(tmp_path, cache, cheat, lazy, PLUGIN)
    for objective in Objective:
        wish = Wish(objective=objective)
        done = racing.compile(relu(tmp_path), BOARD, wish, tmp_path).result
        assert done.status is ResultStatus.DONE
        assert done.chosen is not None
        by_name: dict[str, CandidateReport] = {c.compiler: c for c in done.candidates}
        for name in ("cheat", "lazy"):
            assert by_name[name].status is CandidateStatus.FAILED
            assert "of the range on mps2-an386" in by_name[name].reasons[0]
            assert not by_name[name].pareto
        assert by_name["elementwise"].status is CandidateStatus.VERIFIED
        chosen = done.candidates[done.chosen]
        assert chosen.compiler in ("elementwise", "tvm")
        assert chosen.bit_exact
    alone = racing.compile(relu(tmp_path), BOARD, Wish("cheat"), tmp_path).result
    assert (alone.status, alone.chosen, alone.module) == (ResultStatus.FAILED, None, None)


def test_every_candidate_is_in_the_table_and_every_loser_told_why(
    tmp_path: Path, cache: Path
) -> None:
    done = service(tmp_path, cache).compile(relu(tmp_path), BOARD, Wish(), tmp_path).result
    found = [(c.compiler, c.kernels, c.options.get("objective")) for c in done.candidates]
    assert [name for name in found if name[0] != "tvm"] == [
        ("cmsis-nn", "portable", "latency"),
        ("cmsis-nn", "arm", "latency"),
        ("tflm", "reference", None),
    ]
    assert [name[2] for name in found if name[0] == "tvm"] == ["latency", "flash"]
    for index, report in enumerate(done.candidates):
        told = report.reasons if report.status is CandidateStatus.REJECTED else (report.lost,)
        assert (index == done.chosen) or all(told), report
    assert done.candidates[0].reasons == ("does not read onnx models",)


def test_what_was_not_run_is_not_called_simulated(tmp_path: Path, cache: Path) -> None:
    """An MSP430 is linked by no toolchain here; kernels that stay source are run on the host."""
    done = (
        service(tmp_path, cache)
        .compile(relu(tmp_path, 4), "msp-exp430fr5994", Wish(), tmp_path)
        .result
    )
    reports = [c for c in done.candidates if c.status is not CandidateStatus.REJECTED]
    assert reports
    for report in reports:
        assert report.status is CandidateStatus.BUILT
        assert report.instructions is None
        assert report.level is not Level.SIMULATED
        assert report.max_rel_error is None


def test_limits_that_nothing_keeps_reject_with_the_numbers(tmp_path: Path, cache: Path) -> None:
    racing = service(tmp_path, cache)
    wish = Wish(race=Race(limits=Limits(ram_bytes=100)))
    done = racing.compile(relu(tmp_path), BOARD, wish, tmp_path).result
    assert (done.status, done.module) == (ResultStatus.REJECTED, None)
    assert all("more than the 100 allowed" in reason for reason in done.reasons)
    assert all(c.ram_bytes and c.lost for c in done.candidates if c.compiler == "tvm")
    with pytest.raises(UsageError, match=r"give --data FILE\.npz"):
        racing.compile(
            relu(tmp_path), BOARD, Wish(race=Race(limits=Limits(accuracy=0.5))), tmp_path
        )


def best(candidates: list[CandidateReport], objective: Objective) -> list[CandidateReport]:
    """Work out anew who may be chosen: exact, within 2% of the least, and no smaller one is."""
    right = [c for c in candidates if c.status is CandidateStatus.VERIFIED]
    exact = [c for c in right if c.bit_exact or (c.max_rel_error or 0.0) <= 1e-4] or right
    least = min(getattr(c, FIELDS[objective]) for c in exact)
    near = [c for c in exact if getattr(c, FIELDS[objective]) <= 1.02 * least]
    others = [o for o in (Objective.FLASH, Objective.RAM) if o is not objective]
    smallest = min(getattr(c, FIELDS[others[0]]) for c in near)
    return [c for c in near if getattr(c, FIELDS[others[0]]) == smallest]


def raced_exhaustively(model: Path, board: str, folder: Path, cache: Path) -> None:
    """Build every candidate alone, then race: the winner is the best of those built alone."""
    racing = service(folder, cache)
    alone: list[CandidateReport] = []
    for compiler, options in (
        ("cmsis-nn/portable", {"objective": "latency"}),
        ("cmsis-nn/portable", {"objective": "flash"}),
        ("cmsis-nn/portable", {"specialise": "off"}),
        ("tvm", {"objective": "latency"}),
        ("tvm", {"objective": "flash"}),
    ):
        wish = Wish(compiler, options=options)
        alone += racing.compile(model, board, wish, folder).result.candidates
    for objective in Objective:
        done = racing.compile(model, board, Wish(objective=objective), folder).result
        assert done.chosen is not None
        chosen = done.candidates[done.chosen]
        wanted = best(alone, objective)
        numbers = {(c.instructions, c.flash_bytes, c.ram_bytes) for c in wanted}
        assert (chosen.instructions, chosen.flash_bytes, chosen.ram_bytes) in numbers
        for index, report in enumerate(done.candidates):
            assert index == done.chosen or report.lost or report.reasons


@pytest.mark.shared
@pytest.mark.parametrize("name", [pytest.param("kws", marks=pytest.mark.slow), "ad"])
def test_auto_is_the_best_of_all_measured_one_by_one(
    tmp_path: Path, cache: Path, name: str
) -> None:
    raced_exhaustively(MLPERF / f"{name}_int8.tflite", BOARD, tmp_path, cache)


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("board", [BOARD, "rpi-pico", "mps3-an547", "esp32-c3-devkitm-1"])
@pytest.mark.parametrize("kind", ["int8", "fp32"])
@pytest.mark.parametrize("name", ["kws", "ad", "ic", "vww"])
def test_auto_is_the_best_on_every_core(
    tmp_path: Path, cache: Path, name: str, kind: str, board: str
) -> None:
    model = MLPERF / f"{name}_{kind}.tflite"
    done = service(tmp_path, cache).compile(model, board, Wish(), tmp_path).result
    for objective in Objective:
        again = service(tmp_path, cache).compile(model, board, Wish(objective=objective), tmp_path)
        result = again.result
        told = [c for i, c in enumerate(result.candidates) if i != result.chosen]
        assert all(c.lost or c.reasons for c in told)
        verified = [c for c in result.candidates if c.status is CandidateStatus.VERIFIED]
        if not verified:
            assert result.chosen is None or result.candidates[result.chosen].instructions is None
            continue
        assert result.chosen is not None
        chosen = result.candidates[result.chosen]
        assert chosen in best(list(done.candidates), objective) or any(
            (c.instructions, c.flash_bytes, c.ram_bytes)
            == (chosen.instructions, chosen.flash_bytes, chosen.ram_bytes)
            for c in best(list(result.candidates), objective)
        )


def test_float_and_int8_race_and_labelled_data_judge(tmp_path: Path, cache: Path, cli: Cli) -> None:
    arguments = ("compile", DIGITS / "digits.onnx", "--board", BOARD, "-o", tmp_path, "--json")
    calibration = ("--calibration", DIGITS / "calibration_digits.npz")
    labelled = ("--data", DIGITS / "test_digits.npz", "--min-accuracy", "0.95")
    ran = cli(*arguments, *calibration, *labelled, "--objective", "latency=2,ram=1")
    assert ran.status == 0, ran.err
    found = ran.json["candidates"]
    verified = [c for c in found if c["status"] == "verified"]
    assert {(c["compiler"], c["quantised"]) for c in verified} == {
        ("cmsis-nn", True),
        ("tvm", True),
        ("tvm", False),
    }
    assert all(c["accuracy"] > 0.95 for c in verified)
    assert all(c["accuracy"] is None for c in found if c["status"] != "verified")
    chosen = found[ran.json["chosen"]]
    assert chosen["quantised"]
    assert 0 < chosen["quantisation_error"] < 0.1
    cost = {
        i: 2 * math.log(c["instructions"]) + math.log(c["ram_bytes"])
        for i, c in enumerate(found)
        if c["status"] == "verified"
    }
    assert cost[ran.json["chosen"]] <= min(cost.values()) + 3 * math.log(1.02)
    strict = cli(*arguments, *calibration, "--max-error", "0.001")
    chosen = strict.json["candidates"][strict.json["chosen"]]
    assert (chosen["compiler"], chosen["quantised"]) == ("tvm", False)
    assert "up to 0.001 is allowed" in strict.json["candidates"][-1]["lost"]
    nothing = cli(*arguments, *calibration, "--max-error", "0.001", "--max-ram", "1k")
    assert nothing.status == 2
    assert any("more than the 1,024 allowed" in line for line in nothing.lines)


def test_a_form_of_a_model_names_its_quantisation(tmp_path: Path, cache: Path) -> None:
    done = (
        service(tmp_path, cache)
        .compile_forms([Form(relu(tmp_path))], "host", Wish(), tmp_path)
        .result
    )
    assert done.quantisation is None
    assert not any(c.quantised for c in done.candidates)


def test_plot_says_what_it_needs_before_any_work(cli: Cli, tmp_path: Path) -> None:
    arguments = ("compile", relu(tmp_path), "--board", BOARD, "-o", tmp_path / "out", "--plot")
    ran = cli(*arguments, tmp_path / "race.svg")
    assert (ran.status, len(ran.lines)) == (2, 1)
    assert "ends in .png" in ran.lines[0]
    ran = cli(*arguments, tmp_path / "race.png")
    if ran.status == 0:  # matplotlib is installed
        data = (tmp_path / "race.png").read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        assert len(data) > 10_000
    else:
        assert "extra 'plot'" in ran.lines[0]
        assert not (tmp_path / "out").exists()
