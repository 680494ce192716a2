"""`make demo`: the example compiles and compares a float and an int8 module."""

import re
import subprocess
import sys

import numpy as np
import pytest

from tests.integration.quantise.models import DIGITS

pytest.importorskip("tvm", reason="TVM (extra 'tvm') is not installed")
pytest.importorskip("tensorflow", reason="TensorFlow (extra 'quantize') is not installed")
pytest.importorskip("tflite_micro", reason="tflite-micro (extra 'tflm') is not installed")


def row(text, start):
    """The cells of the table's row that starts with `start`."""
    (line,) = (line for line in text.splitlines() if line.strip().startswith(start))
    return re.split(r"\s{2,}", line.strip())[1:]


def test_int8_on_the_simulated_m4_is_int8_on_the_host_for_every_digit(cli, tmp_path):
    command = [sys.executable, str(DIGITS / "demo.py"), "-o", str(tmp_path)]
    done = subprocess.run(
        command, env=cli.environment, check=False, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert "360 held-out digits" in done.stdout
    assert row(done.stdout, "outputs beside it")[1] == "bit-exact on 360 of 360"
    (simulated, host) = (row(done.stdout, f"accuracy on {where}") for where in ("mps2", "this"))
    assert simulated == host
    assert all(int(re.search(r"\((\d+) of 360\)", cell)[1]) >= 356 for cell in simulated)
    cells = row(done.stdout, "flash, linked")
    flash = [int(cell.removesuffix(" B").replace(",", "")) for cell in cells]
    assert flash[1] < flash[0]
    module = tmp_path / "digits_int8-nucleo-l4r5zi.zip"
    shown = cli("run", module, tmp_path / "test_digits_int8.npz", "--json")
    assert shown.status == 0, shown.err
    assert shown.json["accuracy"] >= 0.98


def test_no_digit_is_calibrated_with_and_held_out():
    calibrated, held_out = (
        {image.tobytes() for image in np.load(DIGITS / name)["x"]}
        for name in ("calibration_digits.npz", "test_digits.npz")
    )
    assert len(calibrated) == 200
    assert not calibrated & held_out
