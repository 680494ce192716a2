"""A module's golden inputs on a board of one's own: over a UART, and by semihosting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from storage import keys
from storage.archive import Archive, read_archive
from storage.provenance import ExternalParameters
from tests.integration.board.boards import UARTS, firmware, on_tcp, on_tty, semihosted
from tests.integration.board.wires import Wire, babbling, silent
from tests.integration.build.networks import build_with, five_layers
from tests.integration.cli.runner import Cli
from tinymlaas import modules
from tinymlaas.contract.errors import Failure, UsageError, VerificationError
from tinymlaas.contract.manifest import Level
from workers import replay
from workers.compilers.in_tree import InTreeCompiler
from workers.golden import decode_golden, samples_of
from workers.verify.board.export import Port, exported
from workers.verify.board.protocol import BoardFailed
from workers.verify.job import RunResult

PATIENCE = 60.0


def module(board: str, cache: Path, seed: int = 3) -> Archive:
    compiler = InTreeCompiler("workers.compilers.cmsis_nn.plugin")
    data = five_layers(seed)
    outcome, store, _ = build_with(compiler, data, "net.tflite", cache, "portable", board)
    assert outcome.archive_digest is not None, outcome.report.reasons
    return read_archive(store.get(keys.module_archive(outcome.archive_digest)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def arm(cache: Path) -> Archive:
    return module("nucleo-l4r5zi", cache)


@pytest.fixture(scope="module")
def other(cache: Path) -> Archive:
    return module("nucleo-l4r5zi", cache, seed=4)


def test_a_cortex_m_on_a_tty_says_the_same_numbers(arm: Archive, tmp_path: Path) -> None:
    image, machine = firmware(arm, Port.UART, UARTS[arm.manifest.target.core], tmp_path)
    with on_tty(image, machine) as place:
        for _ in range(2):  # the harness serves one after the other
            found = replay.replay_on_board(arm, place, PATIENCE)
            assert (found.level, found.simulator) == (Level.MEASURED, "")
            assert place in found.machine
            assert found.numerics.bit_exact
            assert (found.instructions, found.stack_bytes) == (None, None)


@pytest.mark.slow
def test_a_noisy_wire_costs_time_and_no_numbers(arm: Archive, tmp_path: Path) -> None:
    image, machine = firmware(arm, Port.UART, UARTS[arm.manifest.target.core], tmp_path)
    with on_tcp(image, machine) as place, Wire(place, flipped=(100, 300), lost=(200,)) as wire:
        assert replay.replay_on_board(arm, wire.place, PATIENCE).numerics.bit_exact
        assert wire.harmed == 6, wire.harmed


def test_an_rv32_counts_its_instructions(cache: Path, tmp_path: Path) -> None:
    archive = module("hifive1-revb", cache)
    image, machine = firmware(archive, Port.UART, UARTS[archive.manifest.target.core], tmp_path)
    with on_tcp(image, machine) as place:
        found = replay.replay_on_board(archive, place, PATIENCE)
    before = archive.manifest.verification
    assert before is not None
    assert before.instructions is not None
    assert found.numerics.bit_exact
    # the exported harness is other code around the call, of some ten instructions
    assert found.instructions == pytest.approx(before.instructions, abs=20)


def test_a_board_that_computes_something_else_is_told_so(
    arm: Archive, other: Archive, tmp_path: Path
) -> None:
    core = arm.manifest.target.core
    swapped = {p: d for p, d in other.members.items() if p.startswith(("lib/", "include/"))}
    wrong = replace(arm, members={**arm.members, **swapped})
    image, machine = firmware(wrong, Port.UART, UARTS[core], tmp_path / "wrong")
    with on_tcp(image, machine) as place, pytest.raises(VerificationError, match="is off by"):
        replay.replay_on_board(arm, place, PATIENCE)
    image, machine = firmware(other, Port.UART, UARTS[core], tmp_path / "other")
    with on_tcp(image, machine) as place, pytest.raises(VerificationError, match="another module"):
        replay.replay_on_board(arm, place, PATIENCE)


def test_a_module_that_was_exact_has_to_be_so_again(arm: Archive) -> None:
    before = arm.manifest.verification
    assert before is not None
    assert (before.numerics.bit_exact, before.numerics.tolerance) == (True, 0.0)
    golden = decode_golden(arm.members)
    answers = samples_of(golden.outputs, golden.samples)
    ran = RunResult(
        outputs=tuple(tuple(each) for each in answers),
        instructions=None,
        instructions_by_sample=(),
        stack_bytes=None,
        machine="a board",
        simulator="",
        level=Level.MEASURED,
    )
    assert replay.judge(arm, golden, ran).numerics.tolerance == 0.0
    first = answers[0][0].copy()
    first.flat[0] ^= 1  # one step, which is well within what other compilers are allowed
    off = replace(ran, outputs=((first, *answers[0][1:]), *ran.outputs[1:]))
    with pytest.raises(VerificationError, match="more than the 0 allowed"):
        replay.judge(arm, golden, off)


def test_semihosting_leaves_a_file_to_judge(arm: Archive, other: Archive, tmp_path: Path) -> None:
    image, machine = firmware(arm, Port.SEMIHOSTING, "semihosted.c", tmp_path)
    (tmp_path / "inputs.bin").write_bytes((tmp_path / "harness/inputs.bin").read_bytes())
    stream = semihosted(image, machine, tmp_path)
    found = replay.judge_stream(arm, stream, "outputs.bin")
    assert (found.level, found.numerics.bit_exact) == (Level.MEASURED, True)
    with pytest.raises(VerificationError, match="is off by"):
        replay.judge_stream(other, stream, "outputs.bin")
    with pytest.raises(VerificationError, match="did it run to its end"):
        replay.judge_stream(arm, stream[:-1], "outputs.bin")


def test_silence_and_babble_end_in_one_line(arm: Archive, tmp_path: Path) -> None:
    for playing in (silent, babbling):
        with playing() as place, pytest.raises(BoardFailed) as caught:
            replay.replay_on_board(arm, place, 1.5)
        (reason,) = caught.value.reasons
        assert reason.startswith(
            f"no answer from the board at {place} within 1.5 s: is the harness"
        )
    for place, error in (
        ("tcp://127.0.0.1:1", Failure),
        (str(tmp_path / "ttyNONE"), UsageError),
        (str(tmp_path), UsageError),
        ("/dev/null", UsageError),
        ("/dev/ttyS0:12345", UsageError),
        ("tcp://nowhere", UsageError),
    ):
        with pytest.raises(error) as said:
            replay.replay_on_board(arm, place, 1.5)
        assert len(said.value.reasons) == 1


def test_the_same_module_gives_the_same_harness(arm: Archive, cache: Path) -> None:
    ours = (bytes(Path(__file__).parents[3]), bytes(cache))
    for port in Port:
        files = exported(arm, port, "the net.zip")
        assert files == exported(arm, port, "the net.zip")
        assert b"tinymlaas verify 'the net.zip' --" in files["README.md"]
        assert b"MODULE" not in files["README.md"]
        told = b"".join(data for path, data in files.items() if ".a" not in path)
        assert not any(folder in told for folder in ours)


def test_a_harness_is_written_into_a_new_folder_only(arm: Archive, tmp_path: Path) -> None:
    target = arm.manifest.target
    asked = ExternalParameters(model="0" * 64, name="net", target=target, compiler="auto")
    checked = modules.Checked(arm, "a signer", asked)
    folder = tmp_path / "harness"
    assert "README.md" in modules.export_harness(checked, "my-net.zip", "uart", folder)
    assert "verify my-net.zip --serial" in (folder / "README.md").read_text()
    for place, reason in (
        (folder, "it is not empty; name a new or empty folder"),
        (folder / "README.md", "is no folder"),
    ):
        with pytest.raises(UsageError, match=reason):
            modules.export_harness(checked, "my-net.zip", "uart", place)


@pytest.mark.slow
@pytest.mark.parametrize("board", ["nucleo-l4r5zi", "hifive1-revb"])
def test_the_commands_take_the_digits_to_a_board_and_back(
    board: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cli = Cli(tmp_path, tmp_path_factory.getbasetemp() / "cache")
    model = Path(__file__).parents[3] / "examples" / "digits" / "digits.onnx"
    done = cli("compile", model, "--board", board, "--json", "-o", tmp_path)
    assert done.status == 0, done.err
    path = Path(done.json["module"])
    archive = read_archive(path.read_bytes())
    told = cli("harness", path, "-o", tmp_path / "exported")
    assert told.status == 0, told.err
    assert (tmp_path / "exported" / "README.md").exists()
    assert f"verify {path.name} --serial" in (tmp_path / "exported" / "README.md").read_text()
    image, machine = firmware(
        archive, Port.UART, UARTS[archive.manifest.target.core], tmp_path / "f"
    )
    with on_tcp(image, machine) as place:
        ran = cli("verify", path, "--serial", place, "--timeout", "60s")
        assert ran.status == 0, ran.err
        assert f"the board at {place} (as its user says)" in ran.out
        found = cli("verify", path, "--serial", place, "--timeout", "60s", "--json").json
    assert found["verification"]["level"] == "measured"
    assert found["verification"]["numerics"]["max_rel_error"] < 1e-4
    quiet = cli("verify", path, "--serial", "tcp://127.0.0.1:1")
    assert (quiet.status, len(quiet.lines)) == (1, 1)
    assert cli("verify", path, "--rerun", "--serial", "x").status == 2
