import pytest

from tests.integration.quantise.models import DIGITS

pytest.importorskip("tensorflow", reason="TensorFlow (extra 'quantize') is not installed")
pytest.importorskip("tflite_micro", reason="tflite-micro (extra 'tflm') is not installed")

MODEL, SAMPLES = DIGITS / "digits.onnx", DIGITS / "test_digits.npz"


@pytest.mark.slow
def test_quantize_writes_a_model_that_compiles(cli):
    done = cli("quantize", MODEL, "--calibration", SAMPLES, "-o", "small.tflite", "--json")
    assert done.status == 0, done.err
    assert done.json["model"] == "small.tflite"
    assert done.json["quantised_bytes"] == (cli.home / "small.tflite").stat().st_size
    shown = cli("quantize", MODEL, "--calibration", SAMPLES)
    assert shown.status == 0
    assert "accuracy    99." in shown.out
    assert (cli.home / "digits_int8.tflite").read_bytes() == (
        cli.home / "small.tflite"
    ).read_bytes()
    arguments = ("--board", "nucleo-l4r5zi", "--compiler", "tflm", "--json")
    direct = cli("compile", MODEL, "--int8", "--calibration", SAMPLES, *arguments)
    assert direct.status == 0, direct.err
    (report,) = direct.json["candidates"]
    assert (report["status"], report["level"]) == ("built", "host")
    assert report["max_rel_error"] is not None


def test_what_does_not_go_together_is_said_in_one_line(cli, tmp_path):
    half = cli("compile", MODEL, "--int8", "--board", "nucleo-l4r5zi")
    assert (half.status, len(half.lines)) == (2, 1)
    assert "--calibration" in half.lines[0]
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    bad = cli("quantize", MODEL, "--calibration", tmp_path / "bad.npz")
    assert (bad.status, len(bad.lines)) == (2, 1)
    assert "bad.npz: cannot be read as .npz" in bad.lines[0]
    gone = cli("quantize", tmp_path / "gone.onnx", "--calibration", SAMPLES)
    assert (gone.status, len(gone.lines)) == (2, 1)
