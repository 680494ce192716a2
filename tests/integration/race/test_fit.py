"""The inverse question: which boards can run this model."""

from pathlib import Path

from tests.integration.cli.runner import Cli
from tests.integration.race.services import DIGITS


def test_boards_by_estimate_the_cheapest_verified(cli: Cli) -> None:
    ran = cli("fit", DIGITS / "digits.onnx", "--verify", "2", "--json")
    assert ran.status == 0, ran.err
    by_name = {board["board"]: board for board in ran.json["boards"]}
    first, *others = ran.json["boards"]
    assert (first["board"], first["level"]) == ("msp-exp430f5529lp", "estimated")
    assert "cannot be linked" in first["reasons"][0]  # so what was estimated stands
    tried = [board for board in others if board["module_digest"]]
    assert len(tried) == 2
    assert all((board["verdict"], board["level"]) == ("fits", "simulated") for board in tried)
    assert tried == others[:2]
    assert "host" not in by_name
    assert by_name["nucleo-l4r5zi"]["verdict"] == "fits"
    assert by_name["msp-exp430g2et"]["verdict"] == "unlikely"
    assert "RAM of 512 B (estimated)" in by_name["msp-exp430g2et"]["reasons"][-1]
    able = [board for board in ran.json["boards"] if board["verdict"] == "fits"]
    sizes = [(board["flash_capacity"], board["ram_capacity"]) for board in able]
    assert sizes == sorted(sizes)
    shown = cli("fit", DIGITS / "digits.onnx")
    assert "nucleo-l4r5zi" in shown.out
    assert "msp-exp430g2et: unlikely: needs" in shown.out


def test_a_model_nobody_takes_is_refused(cli: Cli, tmp_path: Path) -> None:
    bad = tmp_path / "m.onnx"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    ran = cli("fit", bad, "--json")
    assert ran.status == 2
    assert "PNG" in ran.json["reasons"][0]
