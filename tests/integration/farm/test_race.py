"""Races on a farm: float beside int8 with the real compilers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.farm.desk import Desk
from tests.services.farm import farm
from tinymlaas.contract.messages import Calibration, CompileOrder, JobState, Payload

DIGITS = Path(__file__).parents[3] / "examples" / "digits"
BOARD = "nucleo-l4r5zi"


def digits(**changes: object) -> CompileOrder:
    """Return an order for the digits model; its files travel inside the message."""
    model, samples = (
        Payload.of((DIGITS / name).read_bytes(), "a", name)
        for name in ("digits.onnx", "calibration_digits.npz")
    )
    calibration = Calibration(samples=samples)
    whole = CompileOrder(
        tenant="a", name="digits", model=model, calibration=calibration, board=BOARD
    )
    return whole.model_copy(update=changes)


@pytest.mark.slow
def test_float_and_int8_race_in_one_job(tmp_path: Path) -> None:
    with farm(tmp_path / "farm", ["cmsis-nn", "tvm"]) as running:
        desk = Desk(running)
        try:
            end = desk.end(desk.submit(digits()), 300)
        finally:
            desk.close()
    assert end.state is JobState.DONE, end.reasons
    assert end.result is not None
    found = end.result.candidates
    verified = [each for each in found if each.status == "verified"]
    assert {(each.compiler, each.quantised) for each in verified} == {
        ("cmsis-nn", True),
        ("tvm", True),
        ("tvm", False),
    }
    assert {each.compiler for each in found if not each.quantised} == {"cmsis-nn", "tvm"}
    assert all(0 < (each.quantisation_error or 0) < 0.1 for each in found if each.quantised)
    assert all(each.quantisation_error is None for each in found if not each.quantised)
    assert end.result.quantisation is not None
    assert end.result.quantisation.model == "digits.onnx"
    chosen = found[end.result.chosen or 0]
    assert (chosen.compiler, chosen.quantised) == ("cmsis-nn", True)
