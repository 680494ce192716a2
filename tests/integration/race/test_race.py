"""The race from end to end: measured, explained, and won by nobody whose numbers are wrong."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scheduler.choice import conclude
from tests.integration.cli.runner import Cli
from tests.integration.race.services import DIGITS, PLUGIN, planted, relu
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.manifest import Level
from tinymlaas.contract.race import Limits, Race
from tinymlaas.contract.report import CandidateReport, CandidateStatus, Objective, ResultStatus
from tinymlaas.inputs import Form
from tinymlaas.local import LocalService, Wish

BOARD = "nucleo-l4r5zi"


def test_wrong_numbers_never_win_however_fast_and_small(
    tmp_path: Path, shared_service: Callable[..., LocalService]
) -> None:
    """A compiler whose relu is the identity needs least of all, and is right half the time."""
    cheat = planted(tmp_path, "cheat", "{0}")
    lazy = planted(tmp_path, "lazy", "0.0f")
    racing = shared_service(cheat, lazy, PLUGIN)
    raced = racing.compile(relu(tmp_path), BOARD, Wish(), tmp_path).result
    for objective in Objective:
        done = conclude(raced.candidates, objective)
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
    tmp_path: Path, shared_service: Callable[..., LocalService]
) -> None:
    done = shared_service().compile(relu(tmp_path), BOARD, Wish(), tmp_path).result
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


def test_what_was_not_run_is_not_called_simulated(
    tmp_path: Path, shared_service: Callable[..., LocalService]
) -> None:
    """An MSP430 is linked by no toolchain here."""
    done = shared_service().compile(relu(tmp_path, 4), "msp-exp430fr5994", Wish(), tmp_path).result
    reports = [c for c in done.candidates if c.status is not CandidateStatus.REJECTED]
    assert reports
    for report in reports:
        assert report.status is CandidateStatus.BUILT
        assert report.instructions is None
        assert report.level is not Level.SIMULATED
        assert report.max_rel_error is None


def test_limits_that_nothing_keeps_reject_with_the_numbers(
    tmp_path: Path, shared_service: Callable[..., LocalService]
) -> None:
    racing = shared_service()
    wish = Wish(race=Race(limits=Limits(ram_bytes=100)))
    done = racing.compile(relu(tmp_path), BOARD, wish, tmp_path).result
    assert (done.status, done.module) == (ResultStatus.REJECTED, None)
    assert all("more than the 100 allowed" in reason for reason in done.reasons)
    assert all(c.ram_bytes and c.lost for c in done.candidates if c.compiler == "tvm")
    with pytest.raises(UsageError, match=r"give --data FILE\.npz"):
        racing.compile(
            relu(tmp_path), BOARD, Wish(race=Race(limits=Limits(accuracy=0.5))), tmp_path
        )


def some_labelled(folder: Path, count: int = 40) -> Path:
    with np.load(DIGITS / "test_digits.npz") as data:
        np.savez(folder / "some.npz", **{name: data[name][:count] for name in data.files})
    return folder / "some.npz"


def test_float_and_int8_race_and_labelled_data_judge(
    tmp_path: Path, common: Path, cli: Cli
) -> None:
    stored = {"TINYMLAAS_STORE": str(common / "store")}
    arguments = ("compile", DIGITS / "digits.onnx", "--board", BOARD, "-o", tmp_path, "--json")
    calibration = ("--calibration", DIGITS / "calibration_digits.npz")
    labelled = ("--data", some_labelled(tmp_path), "--min-accuracy", "0.95")
    fixed = ("--option", "objective=latency")  # leaves out half of the variants
    wish = (*labelled, *fixed, "--objective", "latency=2,ram=1")
    ran = cli(*arguments, *calibration, *wish, **stored)
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
    strict = cli(*arguments, *calibration, *fixed, "--max-error", "0.001", **stored)
    chosen = strict.json["candidates"][strict.json["chosen"]]
    assert (chosen["compiler"], chosen["quantised"]) == ("tvm", False)
    assert "up to 0.001 is allowed" in strict.json["candidates"][-1]["lost"]
    limits = ("--max-error", "0.001", "--max-ram", "1k")
    nothing = cli(*arguments, *calibration, *fixed, *limits, **stored)
    assert nothing.status == 2
    assert any("more than the 1,024 allowed" in line for line in nothing.lines)


def test_a_form_of_a_model_names_its_quantisation(
    tmp_path: Path, shared_service: Callable[..., LocalService]
) -> None:
    wish = Wish("tvm")
    done = shared_service().compile_forms([Form(relu(tmp_path))], BOARD, wish, tmp_path).result
    assert done.quantisation is None
    assert not any(c.quantised for c in done.candidates)


def test_a_race_is_drawn_and_what_cannot_be_is_said_before_any_work(
    cli: Cli, common: Path, tmp_path: Path
) -> None:
    arguments = ("compile", relu(tmp_path), "--board", BOARD, "-o", tmp_path / "out", "--plot")
    ran = cli(*arguments, tmp_path / "race.svg")
    assert (ran.status, len(ran.lines)) == (2, 1)
    assert "ends in .png" in ran.lines[0]
    assert not (tmp_path / "out").exists()
    stored = {"TINYMLAAS_STORE": str(common / "store")}
    ran = cli(*arguments, tmp_path / "race.png", **stored)
    assert ran.status == 0, ran.err
    data = (tmp_path / "race.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(data) > 10_000


def test_a_picture_that_cannot_be_written_costs_no_report(
    cli: Cli, common: Path, tmp_path: Path
) -> None:
    """Nobody, not even root, may write a file there, though the folder looks as if one could."""
    arguments = ("compile", relu(tmp_path), "--board", BOARD, "-o", tmp_path, "--json")
    stored = {"TINYMLAAS_STORE": str(common / "store")}
    ran = cli(*arguments, "--compiler", "tvm", "--plot", "/proc/race.png", **stored)
    assert ran.status == 1
    assert ran.json["status"] == "done"
    assert Path(ran.json["module"]).is_file()
    assert ran.lines == ["error: cannot write /proc/race.png: No such file or directory"]
