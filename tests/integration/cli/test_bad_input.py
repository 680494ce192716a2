"""Bad input: a one-line reason, exit status 2, and nothing left behind."""

from pathlib import Path

import jsonschema
import pytest

from tests.integration.cli.models import BAD, small_onnx, write
from tests.integration.cli.runner import Cli
from tinymlaas.contract.report import CompileResult

BOARD = "microbit"  # 256 KiB of flash, so that large.onnx cannot fit


@pytest.mark.parametrize("name", BAD)
def test_bad_model_is_rejected_in_one_line(cli: Cli, tmp_path: Path, name: str) -> None:
    make, reason = BAD[name]
    model = write(tmp_path, name, make())
    out = tmp_path / "out"
    ran = cli("compile", model, "--board", BOARD, "-o", out, "--json")
    assert ran.status == 2, ran.err
    jsonschema.validate(ran.json, CompileResult.model_json_schema())
    assert ran.json["status"] == "rejected"
    assert len(ran.lines) == 1, ran.err
    assert reason in ran.lines[0]
    assert ran.json["reasons"] == [ran.lines[0].partition(": ")[2]]
    assert not list(out.glob("*")) if out.exists() else True


@pytest.mark.parametrize("name", ["empty.onnx", "truncated.tflite", "external.onnx"])
def test_inspect_rejects_too(cli: Cli, tmp_path: Path, name: str) -> None:
    ran = cli("inspect", write(tmp_path, name, BAD[name][0]()))
    assert (ran.status, ran.out) == (2, "")
    assert len(ran.lines) == 1


def test_missing_file(cli: Cli) -> None:
    ran = cli("compile", "nowhere.onnx", "--board", BOARD, "--json")
    assert ran.status == 2
    assert ran.json["reasons"] == ["there is no file nowhere.onnx"]


def test_unknown_board_suggests_the_nearest(cli: Cli, tmp_path: Path) -> None:
    model = write(tmp_path, "m.onnx", small_onnx().SerializeToString())
    ran = cli("compile", model, "--board", "nucleo-l4r5z")
    assert ran.status == 2
    assert "nucleo-l4r5zi" in ran.lines[0]


def test_unknown_compiler_names_those_there_are(cli: Cli, tmp_path: Path) -> None:
    model = write(tmp_path, "m.onnx", small_onnx().SerializeToString())
    ran = cli("compile", model, "--board", "host", "--compiler", "nonesuch")
    assert ran.status == 2
    assert "tvm" in ran.lines[0]


@pytest.mark.parametrize("shape", ["x", "x=1,a", "x=0,16", "z=1,16"])
def test_wrong_shape_option(cli: Cli, tmp_path: Path, shape: str) -> None:
    model = write(tmp_path, "m.onnx", small_onnx(shape=("N", 16)).SerializeToString())
    ran = cli("compile", model, "--board", "host", "--shape", shape)
    assert ran.status == 2
    assert ran.lines


def test_a_place_that_cannot_be_written(cli: Cli, tmp_path: Path) -> None:
    model = write(tmp_path, "m.onnx", small_onnx().SerializeToString())
    blocked = write(tmp_path, "file", b"")
    ran = cli("compile", model, "--board", "host", "-o", blocked / "below")
    assert ran.status == 2
    assert "cannot write" in ran.lines[0]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["compile", "m.onnx", "--json"], 2),
        (["compile", "m.onnx", "--board", "host", "--objective", "speed", "--json"], 2),
        (["inspect", "nowhere.onnx", "--json"], 2),
        (["inspect", "caf\udce9.onnx", "--json"], 2),
        (["inspect", "/dev/zero", "--json"], 2),
        (["verify", ".", "--json"], 2),
        (["run", "nowhere.zip", "data.npz", "--json"], 2),
        (["boards", "show", "nowhere", "--json"], 2),
        (["compilers", "--frobnicate", "--json"], 2),
    ],
)
def test_json_is_one_object_whatever_is_wrong(cli: Cli, arguments: list[str], status: int) -> None:
    ran = cli(*arguments)
    assert (ran.status, ran.json["status"]) == (status, "rejected")
    assert [line.partition(": ")[2] for line in ran.lines] == ran.json["reasons"]
    assert len(ran.lines) == 1


@pytest.mark.parametrize(
    ("variable", "status"),
    [
        ("TINYMLAAS_STORE", 1),
        ("TINYMLAAS_KEYS", 1),
        ("TINYMLAAS_COMPILERS", 2),
        ("XDG_CACHE_HOME", 1),
    ],
)
def test_a_file_where_a_folder_should_be(
    cli: Cli, tmp_path: Path, variable: str, status: int
) -> None:
    model = write(tmp_path, "m.onnx", small_onnx().SerializeToString())
    blocked = str(write(tmp_path, "file", b""))
    ran = cli(
        "compile", model, "--compiler", "tvm", "--board", "host", "--json", **{variable: blocked}
    )
    assert ran.status == status
    assert blocked in ran.json["reasons"][0]
    assert "internal error" not in ran.err


def test_tools_that_are_missing_are_our_failure(cli: Cli, tmp_path: Path) -> None:
    model = write(tmp_path, "m.onnx", small_onnx().SerializeToString())
    ran = cli("compile", model, "--board", "nucleo-l4r5zi", "--json", PATH=str(tmp_path))
    assert (ran.status, ran.json["status"]) == (1, "failed")
    assert "apt-get install" in ran.json["reasons"][0]


def test_a_terminal_without_our_characters(cli: Cli, tmp_path: Path) -> None:
    model = write(tmp_path, "m.onnx", small_onnx().SerializeToString())
    ran = cli("inspect", model, PYTHONIOENCODING="ascii")
    assert ran.status == 0, ran.err
    assert "1?16 float32" in ran.out


def test_misfit_shows_sections_against_regions(cli: Cli, tmp_path: Path) -> None:
    """So little too large that no estimate could have said so: the link decides."""
    model = write(tmp_path, "m.onnx", small_onnx(shape=(205, 16)).SerializeToString())
    ran = cli("compile", model, "--board", BOARD, "--compiler", "tvm", "--json")
    assert ran.status == 2
    (candidate,) = ran.json["candidates"]
    assert candidate["status"] == "rejected"
    assert candidate["level"] == "linked"
    arena = next(use for use in candidate["sections"] if use["section"] == ".arena")
    assert arena["bytes"] >= 205 * (16 + 4) * 4
    ram = next(use for use in candidate["regions"] if use["region"] == arena["region"])
    assert ram["used"] > ram["length"]
    assert 0.85 < candidate["estimated_ram_bytes"] / candidate["ram_bytes"] < 1.15


def test_far_too_large_is_said_before_anything_is_compiled(cli: Cli, tmp_path: Path) -> None:
    model = write(tmp_path, "m.onnx", small_onnx(shape=(4000, 16)).SerializeToString())
    ran = cli("compile", model, "--board", BOARD, "--json")
    assert ran.status == 2
    told = [c for c in ran.json["candidates"] if c["compiler"] == "tvm"]
    assert all(c["level"] is None for c in told)
    assert ran.json["reasons"] == ["needs 313 kB RAM of 16 kB (estimated)"]
