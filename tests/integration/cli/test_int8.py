"""Int8 models on the command line: exact, small, fast, or rejected with every reason."""

from pathlib import Path

import pytest

from tests.integration.cli.models import small_onnx, write
from tests.integration.cli.runner import Cli
from tests.integration.cli.test_reference_models import (
    BOARD,
    MODELS,
    estimates_hold,
    pytestmark,
)
from tests.unit.cmsis_nn.test_arm import network, tree

__all__ = ["pytestmark", "tree"]

DIGITS = Path(__file__).parents[3] / "examples" / "digits"
# Softmax's powers of e lie among the constants of a model that has one: 28 B and their padding.
_TABLES = 32
# Per model on Cortex-M4, not to be exceeded: instructions, code, constants and arena in bytes.
# Direct calls of CMSIS-NN 99f736a at -O2 (gcc 12.2) need the last three, and, but for vww's
# constants and instructions (dead channels), the first.
GOALS = {
    "ad": (580_000, 6_000, 270_880, 768),
    "kws": (7_700_000, 18_800, 28_976, 16_000),
    "ic": (29_900_000, 19_800, 81_432, 49_728),
    "vww": (14_000_000, 22_300, 60_000, 64_512),
}


def test_the_exact_compiler_is_chosen(cli: Cli, tmp_path: Path) -> None:
    ran = cli("compile", MODELS / "ad_int8.tflite", "--board", BOARD, "-o", tmp_path, "--json")
    assert ran.status == 0, ran.err
    chosen = ran.json["candidates"][ran.json["chosen"]]
    assert (chosen["compiler"], chosen["kernels"]) == ("cmsis-nn", "portable")
    assert (chosen["status"], chosen["bit_exact"]) == ("verified", True)
    assert estimates_hold(ran.json["candidates"]) == 5
    others = {c["compiler"]: c for c in ran.json["candidates"] if c["kernels"] != "arm"}
    assert (others["tflm"]["status"], others["tflm"]["level"]) == ("built", "host")
    assert others["tflm"]["bit_exact"]


@pytest.mark.parametrize("name", GOALS)
def test_modules_are_exact_and_meet_the_goals(cli: Cli, tmp_path: Path, name: str) -> None:
    arguments = ("--board", BOARD, "--compiler", "cmsis-nn/portable", "-o", tmp_path, "--json")
    ran = cli("compile", MODELS / f"{name}_int8.tflite", *arguments)
    assert ran.status == 0, ran.err
    (report,) = ran.json["candidates"]
    assert (report["status"], report["bit_exact"]) == ("verified", True)
    assert estimates_hold(ran.json["candidates"]) == 1
    sizes = {use["section"]: use["bytes"] for use in report["sections"]}
    found = (
        report["instructions"],
        sizes[".text"],
        sizes[".weights"] - _TABLES,
        report["arena_bytes"],
    )
    assert all(one <= goal for one, goal in zip(found, GOALS[name], strict=True)), found
    again = cli("verify", ran.json["module"], "--rerun", "--json")
    assert again.json["verification"]["numerics"]["bit_exact"]
    assert again.json["verification"]["instructions"] == report["instructions"]


# Million instructions on a Cortex-M0+ and an M55: 0.8 and 1.25 times those of direct calls of
# CMSIS-NN, for vww 0.6 times.
_CORES = {
    "rpi-pico": {"ad": 1.408, "kws": 23.2, "ic": 78.0, "vww": 52.1},
    "mps3-an547": {"ad": 0.184, "kws": 2.26, "ic": 6.13, "vww": 3.93},
}


@pytest.mark.slow
@pytest.mark.parametrize("board", _CORES)
@pytest.mark.parametrize("name", GOALS)
def test_goals_of_other_cores(cli: Cli, tmp_path: Path, board: str, name: str) -> None:
    model = MODELS / f"{name}_int8.tflite"
    arguments = ("--board", board, "--compiler", "cmsis-nn/portable", "-o", tmp_path, "--json")
    ran = cli("compile", model, *arguments)
    assert ran.status == 0, ran.err
    (candidate,) = ran.json["candidates"]
    assert candidate["bit_exact"]
    assert candidate["instructions"] <= _CORES[board][name] * 1e6


def test_a_pass_switched_off_changes_the_module_not_the_numbers(cli: Cli, tmp_path: Path) -> None:
    model = MODELS / "kws_int8.tflite"
    arguments = ("compile", model, "--board", BOARD, "--compiler", "cmsis-nn/portable", "--json")
    on = cli(*arguments, "-o", tmp_path / "on")
    off = cli(*arguments, "--option", "specialise=off", "-o", tmp_path / "off")
    (one,), (other,) = on.json["candidates"], off.json["candidates"]
    assert other["options"] == one["options"] | {"specialise": "off"}
    assert one["instructions"] < other["instructions"]
    assert one["bit_exact"]
    assert other["bit_exact"]


def test_arms_kernels_without_arms_sources(cli: Cli, tmp_path: Path) -> None:
    model = MODELS / "ad_int8.tflite"
    ran = cli("compile", model, "--board", BOARD, "--compiler", "cmsis-nn/arm", "-o", tmp_path)
    assert ran.status == 2
    assert "TINYMLAAS_CMSIS_NN_ROOT" in ran.lines[-1]
    assert not list(tmp_path.glob("*.zip"))


@pytest.mark.slow
def test_arms_kernels_as_soon_as_arms_sources_are_there(
    cli: Cli, tmp_path: Path, tree: Path
) -> None:
    model = write(tmp_path, "net.tflite", network().to_bytes())
    arguments = ("compile", model, "--board", BOARD, "--compiler", "cmsis-nn/arm", "--json")
    arguments = (*arguments, "-o", tmp_path)
    assert cli(*arguments).status == 2
    found = cli(*arguments, TINYMLAAS_CMSIS_NN_ROOT=str(tree))
    assert found.status == 0, found.err
    (first,) = found.json["candidates"]
    assert (first["kernels"], first["bit_exact"], first["cached"]) == ("arm", True, False)
    header = tree / "Include" / "arm_nnfunctions.h"
    header.write_text(header.read_text() + "// another\n")
    (again,) = cli(*arguments, TINYMLAAS_CMSIS_NN_ROOT=str(tree)).json["candidates"]
    assert not again["cached"]
    wrong = cli(*arguments, TINYMLAAS_CMSIS_NN_ROOT=str(tmp_path))
    assert (wrong.status, len(wrong.lines)) == (1, 1)
    assert "is no CMSIS-NN tree" in wrong.lines[0]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--option", "speed=11"), "no compiler has an option speed"),
        (("--option", "in-place=perhaps"), "cmsis-nn: option in-place is on or off"),
        (("--option", "in-place"), "write NAME=VALUE"),
        (("--compiler", "cmsis-nn/fast"), "there are: portable, arm"),
    ],
)
def test_options_that_do_not_exist(
    cli: Cli, tmp_path: Path, arguments: tuple[str, str], reason: str
) -> None:
    ran = cli("compile", MODELS / "ad_int8.tflite", "--board", BOARD, "-o", tmp_path, *arguments)
    assert (ran.status, len(ran.lines)) == (2, 1)
    assert reason in ran.lines[0]


def test_a_compiler_that_does_not_read_the_format(cli: Cli, tmp_path: Path) -> None:
    model = write(tmp_path, "m.onnx", small_onnx().SerializeToString())
    ran = cli("compile", model, "--board", BOARD, "--compiler", "cmsis-nn", "--json")
    assert ran.status == 2
    assert ran.json["reasons"] == ["does not read onnx models"]


@pytest.mark.slow
def test_quantised_on_the_way(cli: Cli, tmp_path: Path) -> None:
    ran = cli(
        *("compile", DIGITS / "digits.onnx", "--int8", "--board", BOARD, "-o", tmp_path, "--json"),
        *("--calibration", DIGITS / "calibration_digits.npz", "--compiler", "cmsis-nn/portable"),
    )
    assert ran.status == 0, ran.err
    (candidate,) = ran.json["candidates"]
    assert candidate["bit_exact"]
    quantised = ran.json["quantisation"]
    assert quantised["model"] == "digits.onnx"
    assert quantised["quantised_accuracy"] >= quantised["float_accuracy"] - 0.01 > 0.9


def test_int8_needs_calibration(cli: Cli, tmp_path: Path) -> None:
    ran = cli("compile", DIGITS / "digits.onnx", "--board", BOARD, "-o", tmp_path, "--int8")
    assert (ran.status, len(ran.lines)) == (2, 1)
    assert "--calibration FILE.npz" in ran.lines[0]
