"""The main job from the command line, on a small model."""

import shutil
import stat
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from tests.integration.cli.models import small_onnx, write
from tests.integration.cli.runner import Cli
from tinymlaas.boards import catalog
from tinymlaas.contract.report import CompileResult

TVM = ("--compiler", "tvm")  # where the choice is no matter: the race has tests of its own
PLUGIN = Path(__file__).parents[3] / "examples" / "plugin"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path, "Small-1.onnx", small_onnx().SerializeToString())


def compile_for(cli: Cli, model: Path, board: str, out: Path, **environment: str) -> dict:
    ran = cli("compile", model, *TVM, "--board", board, "-o", out, "--json", **environment)
    assert ran.status == 0, ran.err
    jsonschema.validate(ran.json, CompileResult.model_json_schema())
    return dict(ran.json)


def chosen_of(result: dict) -> dict:
    return dict(result["candidates"][result["chosen"]])


@pytest.mark.parametrize(
    ("board", "machine"),
    [
        ("nucleo-l4r5zi", "mps2-an386"),
        pytest.param("rpi-pico", None, marks=pytest.mark.slow),
        pytest.param("mps2-an385", "mps2-an385", marks=pytest.mark.slow),
        pytest.param("mps2-an500", "mps2-an500", marks=pytest.mark.slow),
        pytest.param("mps2-an505", "mps2-an505", marks=pytest.mark.slow),
        pytest.param("mps3-an547", "mps3-an547", marks=pytest.mark.slow),
        pytest.param("hifive1-revb", None, marks=pytest.mark.slow),
        ("arduino-mega2560", None),
        pytest.param("host", "host", marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_core_is_verified(
    cli: Cli, model: Path, tmp_path: Path, board: str, machine: str | None
) -> None:
    result = compile_for(cli, model, board, tmp_path / "out")
    chosen = result["candidates"][result["chosen"]]
    assert chosen["status"] == "verified"
    assert chosen["level"] == ("measured" if board == "host" else "simulated")
    assert chosen["size_level"] == "linked"
    assert chosen["max_rel_error"] <= 1e-4
    assert chosen["flash_bytes"] > 16 * 4 * 4
    assert chosen["ram_bytes"] >= (16 + 4) * 4
    assert machine in (None, chosen["machine"])


def test_msp430_is_built_and_says_that_it_was_not_run(
    cli: Cli, model: Path, tmp_path: Path
) -> None:
    result = compile_for(cli, model, "msp-exp430fr5994", tmp_path / "out")
    chosen = result["candidates"][result["chosen"]]
    levels = (chosen["level"], chosen["size_level"])
    assert (chosen["status"], levels) == ("built", ("estimated", "estimated"))
    assert chosen["instructions"] is None
    assert "cannot be linked" in chosen["reasons"][0]


def test_the_same_command_twice_gives_the_same_bytes_and_compiles_once(
    cli: Cli, model: Path, tmp_path: Path
) -> None:
    first = compile_for(cli, model, "nucleo-l4r5zi", tmp_path / "one")
    # Whatever were built again would fail: no tool is within reach.
    again = compile_for(cli, model, "nucleo-l4r5zi", tmp_path / "two", PATH=str(tmp_path))
    assert not chosen_of(first)["cached"]
    assert chosen_of(again)["cached"]
    shutil.rmtree(cli.home / "store")
    anew = compile_for(cli, model, "nucleo-l4r5zi", tmp_path / "three")
    assert not chosen_of(anew)["cached"]
    for name in ("small_1-nucleo-l4r5zi.zip", "small_1-nucleo-l4r5zi.zip.intoto.jsonl"):
        one, two, three = (tmp_path / d / name for d in ("one", "two", "three"))
        assert one.read_bytes() == two.read_bytes() == three.read_bytes()
    assert first["action_digest"] == again["action_digest"] == anew["action_digest"]


def test_verify_and_rerun_from_the_archive_alone(cli: Cli, model: Path, tmp_path: Path) -> None:
    result = compile_for(cli, model, "nucleo-l4r5zi", tmp_path / "out")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    module = Path(result["module"])
    for path in (module, module.with_name(module.name + ".intoto.jsonl")):
        shutil.copy(path, elsewhere)
    public = cli.home / ".config" / "tinymlaas" / "development.pub"
    shutil.rmtree(cli.home / "store")
    ran = cli("verify", elsewhere / module.name, "--key", public, "--rerun", "--json")
    assert ran.status == 0, ran.err
    found = ran.json["verification"]
    assert found["instructions"] == chosen_of(result)["instructions"]
    assert found["level"] == "simulated"


def test_the_development_key_is_announced_once_and_private(
    cli: Cli, model: Path, tmp_path: Path
) -> None:
    first = cli("compile", model, *TVM, "--board", "host", "-o", tmp_path)
    again = cli("compile", model, *TVM, "--board", "host", "-o", tmp_path)
    assert "development signing key" in first.err
    assert "development signing key" not in again.err
    key = cli.home / ".config" / "tinymlaas" / "development.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert cli("keys", "show").out == key.with_suffix(".pub").read_text()


@pytest.mark.slow
def test_forged_modules_are_refused_with_the_reason(cli: Cli, model: Path, tmp_path: Path) -> None:
    result = compile_for(cli, model, "host", tmp_path / "out")
    module = Path(result["module"])
    envelope = module.with_name(module.name + ".intoto.jsonl")
    other = Cli(tmp_path / "other", tmp_path)
    other.home.mkdir()
    unknown = other("verify", module)  # nobody there yet whose key could be trusted
    assert (unknown.status, list(other.home.iterdir())) == (2, [])
    assert "--key" in unknown.lines[0]
    assert "development signing key" in other("keys", "show").err
    stranger = other.home / ".config" / "tinymlaas" / "development.pub"
    ran = cli("verify", module, "--key", stranger)
    assert ran.status == 2
    assert "key" in ran.lines[0]
    good = envelope.read_bytes()
    for content, reason in ((good[:-9], "malformed"), (b"", "missing or empty")):
        envelope.write_bytes(content)
        ran = cli("verify", module)
        assert ran.status == 2
        assert reason in ran.lines[0]
    envelope.write_bytes(good)
    data = bytearray(module.read_bytes())
    data[len(data) // 2] ^= 1
    module.write_bytes(data)
    ran = cli("verify", module)
    assert ran.status == 2
    assert "chang" in ran.lines[0] or "differs" in ran.lines[0]


def test_run_on_samples_of_ones_own(cli: Cli, model: Path, tmp_path: Path) -> None:
    result = compile_for(cli, model, "nucleo-l4r5zi", tmp_path / "out")
    x = np.random.default_rng(3).standard_normal((5, 1, 16)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, labels=np.zeros(5, np.int64))
    ran = cli("run", result["module"], tmp_path / "data.npz", "--limit", "4", "--json")
    assert ran.status == 0, ran.err
    assert ran.json["samples"] == 4
    assert len(ran.json["outputs"][0][0]) == 4
    labels = [max(range(4), key=lambda i, o=o: o[0][i]) for o in ran.json["outputs"]]
    assert ran.json["accuracy"] == labels.count(0) / 4


def test_text_output_has_what_a_person_wants(cli: Cli, model: Path, tmp_path: Path) -> None:
    ran = cli("compile", model, "--board", "nucleo-l4r5zi", "-o", tmp_path)
    assert ran.status == 0
    for word in ("verified", "simulated", "flash", "mps2-an386", "small_1-nucleo-l4r5zi.zip"):
        assert word in ran.out
    assert "compiling" in ran.err


def test_inspect(cli: Cli, model: Path) -> None:
    ran = cli("inspect", model, "--json")
    assert ran.json["macs"] == 64
    assert ran.json["weight_bytes"] == 256
    text = cli("inspect", model)
    assert "MatMul" in text.out
    assert "estimated" in text.out


def test_compilers_lists_ours_and_those_from_outside(cli: Cli) -> None:
    ran = cli("compilers", "--json", TINYMLAAS_COMPILERS=str(PLUGIN))
    names = [entry["description"]["name"] for entry in ran.json["compilers"]]
    assert names == ["cmsis-nn", "elementwise", "tflm", "tvm"]
    assert "elementwise" in cli("compilers", TINYMLAAS_COMPILERS=str(PLUGIN)).out


def test_boards(cli: Cli, tmp_path: Path) -> None:
    assert "nucleo-l4r5zi" in cli("boards").out
    shown = cli("boards", "show", "nucleo-l4r5zi")
    assert "cortex-m4" in shown.out
    listed = cli("boards", "--json").json["boards"]
    assert "nucleo-l4r5zi" in [board["name"] for board in listed]
    bad = tmp_path / "bad.toml"
    bad.write_text('name = "bad"\ncore = "cortex-m99"\nclock_hz = 0\n')
    checked = cli("boards", "check", bad)
    assert checked.status == 2
    assert f"{bad}:2:" in checked.err
    assert f"{bad}:3:" in checked.err


def test_a_warning_is_shown_but_is_no_mistake(cli: Cli, tmp_path: Path) -> None:
    profile = Path(catalog.__file__).parent / "profiles" / "microbit.toml"
    renamed = tmp_path / "other.toml"
    shutil.copy(profile, renamed)
    checked = cli("boards", "check", renamed)
    assert (checked.status, checked.out) == (0, f"ok: {renamed}\n")
    assert "warning" in checked.err


@pytest.mark.parametrize(
    "what",
    [
        "actions",
        "blobs",
        *(pytest.param(each, marks=pytest.mark.slow) for each in ("modules", "models")),
    ],
)
def test_a_damaged_store_heals_itself(cli: Cli, model: Path, tmp_path: Path, what: str) -> None:
    first = compile_for(cli, model, "host", tmp_path)
    whole = Path(first["module"]).read_bytes()
    for path in (cli.home / "store" / what).rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(path.read_bytes()[:-1])
    again = compile_for(cli, model, "host", tmp_path)
    assert Path(again["module"]).read_bytes() == whole
