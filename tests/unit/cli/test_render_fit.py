"""The table of boards that can run a model."""

from tests.unit.cli.test_render import shown
from tinymlaas.contract.device import Core
from tinymlaas.contract.fit import BoardFit, FitReport, Verdict
from tinymlaas.contract.manifest import Level
from tinymlaas.render_fit import board_fits


def board(name: str, verdict: Verdict, **more: object) -> BoardFit:
    sizes = {"flash_capacity": 131_072, "ram_capacity": 16_384}
    known = {"flash_bytes": 15_942, "ram_bytes": 10_322, "level": Level.ESTIMATED}
    fixed = {
        "board": name,
        "mcu": "m",
        "core": Core.AVR,
        "verdict": verdict,
        "compiler": "cmsis-nn",
    }
    return BoardFit.model_validate(fixed | sizes | known | more)


def test_a_line_a_board_in_80_columns_and_why_not_for_the_others(monkeypatch) -> None:
    ran = {"level": Level.SIMULATED, "instructions": 1_234_567}
    report = FitReport(
        model="m.onnx",
        boards=(
            board("atmega1284p-xplained", Verdict.FITS, **ran),
            board("small", Verdict.TIGHT, reasons=("needs 9 B flash of 8 B (estimated)",)),
            board("smaller", Verdict.UNLIKELY, reasons=("needs 9 B flash of 4 B (estimated)",)),
            board("none", Verdict.NO, reasons=("a: no", "b: no")),
        ),
    )
    lines = [line.rstrip() for line in shown(monkeypatch, *board_fits(report)).splitlines()]
    (first,) = [line.split() for line in lines if "atmega1284p-xplained" in line]
    numbers = ["15,942", "13%", "10,322", "64%", "1.23", "M"]
    assert first == ["atmega1284p-xplained", "fits", "cmsis-nn", "simulated", *numbers]
    assert "small: tight: needs 9 B flash of 8 B (estimated)" in lines
    assert "smaller: unlikely: needs 9 B flash of 4 B (estimated)" in lines
    assert "none: no: a: no; b: no" in lines
    assert any(line.startswith("tight: only the link can tell") for line in lines)
    float_model = shown(monkeypatch, *board_fits(report, quantisable=True))
    assert "as int8 it may fit more boards" in float_model
    nobody = FitReport(model="m.onnx", boards=(board("none", Verdict.NO),))
    assert "no board known is likely to run m.onnx" in shown(monkeypatch, *board_fits(nobody))
