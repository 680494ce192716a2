"""The MLPerf Tiny reference models, compiled for the board that benchmark names."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.runner import Cli
from tinymlaas.contract.compiler import ESTIMATE_ERROR

MODELS = Path(__file__).parents[4] / "shared" / "models" / "mlperf-tiny"
BOARD = "nucleo-l4r5zi"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(
        not MODELS.is_dir(), reason="the reference models are not beside the project"
    ),
]

# Instructions per inference on Cortex-M4, and arena + stack in bytes, that must not be exceeded
# (what emx-onnx-cgen 1.4.0 needs at -O2; the memory is the project's own goal).
GOALS = {
    "kws": (26_400_000, 72_000),
    "ad": (1_350_000, None),
    "ic": (None, None),
    "vww": (None, None),
}


# The two larger ones take minutes and show the same at each change; they are for `make test-all`.
_NAMES = [pytest.param(name, marks=pytest.mark.slow if name != "kws" else ()) for name in GOALS]


def estimates_hold(candidates: list[dict[str, Any]]) -> int:
    """Check what was said before compiling against what was linked; return for how many."""
    linked = [c for c in candidates if c["size_level"] == "linked" and c["flash_bytes"]]
    for candidate in linked:
        for what in ("flash_bytes", "ram_bytes"):
            error = candidate[f"estimated_{what}"] / candidate[what] - 1
            assert abs(error) <= ESTIMATE_ERROR, (candidate["compiler"], what, error)
    return len(linked)


@pytest.mark.parametrize("name", _NAMES)
def test_float_models_are_right_fit_and_are_fast(cli: Cli, tmp_path: Path, name: str) -> None:
    model = MODELS / f"{name}_fp32.tflite"
    ran = cli("compile", model, "--board", BOARD, "--compiler", "tvm", "-o", tmp_path, "--json")
    assert ran.status == 0, ran.err
    (chosen,) = ran.json["candidates"]
    assert estimates_hold(ran.json["candidates"]) == 1
    assert (chosen["status"], chosen["level"]) == ("verified", "simulated")
    assert chosen["machine"] == "mps2-an386"
    assert chosen["max_rel_error"] <= 1e-4
    instructions, memory = GOALS[name]
    assert instructions is None or chosen["instructions"] <= instructions
    assert memory is None or chosen["arena_bytes"] + chosen["stack_bytes"] <= memory


@pytest.mark.parametrize("name", _NAMES)
def test_int8_models_go_through_float_within_the_bound_for_that(
    cli: Cli, tmp_path: Path, name: str
) -> None:
    model = MODELS / f"{name}_int8.tflite"
    ran = cli("compile", model, "--board", BOARD, "--compiler", "tvm", "-o", tmp_path, "--json")
    assert ran.status == 0, ran.err
    chosen = ran.json["candidates"][ran.json["chosen"]]
    assert chosen["status"] == "verified"
    assert chosen["max_rel_error"] <= 0.1  # see `tolerances`: float rounds elsewhere


def test_too_large_for_a_small_board(cli: Cli, tmp_path: Path) -> None:
    ran = cli(
        "compile", MODELS / "vww_fp32.tflite", "--board", "microbit", "-o", tmp_path, "--json"
    )
    assert ran.status == 2
    assert "flash" in ran.json["reasons"][0]
    assert not list(tmp_path.glob("*.zip"))
