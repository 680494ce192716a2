import functools
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from storage.memory import MemoryStore
from tests.integration.quantise.models import DIGITS, ROOT, npz, quantised, rgb_model, train
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.model import ModelFormat
from tinymlaas.contract.quantisation import Activations, FloatFormat
from tinymlaas.contract.tensors import DType
from workers.models.summary import inspect

pytest.importorskip("tensorflow", reason="TensorFlow (extra 'quantize') is not installed")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(tmp_path_factory.mktemp("trained"))


def digits():
    return (DIGITS / "digits.onnx").read_bytes(), (DIGITS / "test_digits.npz").read_bytes()


once = functools.cache(quantised)
"""The same question is answered once; every answer takes TensorFlow some seconds."""


def test_the_digits_model_keeps_its_accuracy_its_names_and_its_layout():
    model, calibration = digits()
    made, outcome = once(model, calibration)
    report = outcome.report
    assert report.source is FloatFormat.ONNX
    assert report.samples == 360
    assert report.float_accuracy == pytest.approx(359 / 360)
    assert report.quantised_accuracy >= report.float_accuracy - 0.01
    assert report.errors[0].sqnr_db > 30
    found = inspect(made, "m.tflite")
    assert found.format is ModelFormat.TFLITE
    assert [(s.name, s.shape, s.dtype) for s in found.summary.inputs] == [
        ("x", (1, 1, 8, 8), DType.INT8)
    ]
    assert [(s.name, s.shape, s.dtype) for s in found.summary.outputs] == [
        ("probabilities", (1, 10), DType.INT8)
    ]
    assert {use.dtype for use in found.summary.operators} <= {DType.INT8, DType.INT32}


def test_the_same_request_gives_the_same_bytes_and_is_answered_from_the_store():
    model, calibration = digits()
    store = MemoryStore()
    first, outcome = quantised(model, calibration, store=store)
    again, cached = quantised(model, calibration, store=store)
    fresh, anew = once(model, calibration)
    assert first == again == fresh
    assert (outcome.report.cached, cached.report.cached, anew.report.cached) == (False, True, False)
    assert cached.report.model_copy(update={"cached": False}) == outcome.report == anew.report


def scales(model):
    """Number of scales of each constant weight tensor, by tensor name."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    return [
        (detail["dtype"], len(detail["quantization_parameters"]["scales"]), detail["shape"])
        for detail in interpreter.get_tensor_details()
    ]


@pytest.mark.parametrize("activations", list(Activations))
def test_a_keras_cnn_is_quantised_with_one_scale_a_channel(trained, activations):
    keras, _, calibration = trained
    made, outcome = once(keras.read_bytes(), calibration.read_bytes(), activations)
    report = outcome.report
    wanted = DType.INT8 if activations is Activations.INT8 else DType.INT16
    assert report.source is FloatFormat.KERAS
    assert report.inputs[0].name == "image"
    assert (report.inputs[0].dtype, report.outputs[0].dtype) == (wanted, wanted)
    assert report.float_accuracy > 0.8
    assert report.quantised_accuracy >= report.float_accuracy - 0.03
    kernels = [n for dtype, n, shape in scales(made) if dtype is np.int8 and len(shape) == 4]
    assert 8 in kernels


def test_sixteen_bit_activations_are_nearer_to_the_float_model(trained):
    keras, _, calibration = trained
    errors = [
        once(keras.read_bytes(), calibration.read_bytes(), kind)[1].report.errors[0]
        for kind in (Activations.INT8, Activations.INT16X8)
    ]
    assert errors[1].rms_error < errors[0].rms_error


def test_a_float_tflite_model_is_quantised_as_its_keras_source_is(trained):
    keras, tflite, calibration = trained
    direct, _ = once(keras.read_bytes(), calibration.read_bytes(), Activations.INT8)
    _, outcome = quantised(tflite.read_bytes(), calibration.read_bytes())
    assert outcome.report.source is FloatFormat.TFLITE
    assert outcome.report.quantised_accuracy >= outcome.report.float_accuracy - 0.03
    assert abs(outcome.report.quantised_bytes - len(direct)) < 1000


def test_what_is_quantised_already_is_refused():
    model, calibration = digits()
    made, _ = once(model, calibration)
    with pytest.raises(UsageError, match="quantised already"):
        quantised(made, calibration)


def test_one_sample_is_a_warning_in_the_report():
    model, _ = digits()
    images = np.load(DIGITS / "test_digits.npz")["x"]
    report = quantised(model, npz(x=images[:1]))[1].report
    assert report.samples == 1
    assert any("1 sample" in warning for warning in report.warnings)
    assert report.float_accuracy is None


@pytest.mark.slow
def test_channels_stay_where_the_onnx_model_has_them():
    images = np.random.default_rng(1).random((4, 1, 3, 10, 12), np.float32)
    report = quantised(rgb_model(), npz(a=images))[1].report
    assert report.inputs[0].shape == (1, 3, 10, 12)
    assert report.outputs[0].shape == (1, 4, 10, 12)
    assert report.errors[0].sqnr_db > 25


_OFFLINE = """
import sys
from pathlib import Path
from workers.quantise.stage import Request, quantise

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    model, samples = (folder / name for name in ("m.onnx", "c.npz"))
    quantise(Request(model.read_bytes(), "m", samples.read_bytes(), "c"), folder)
"""


@pytest.mark.slow
def test_nothing_is_downloaded(tmp_path, monkeypatch):
    """An image model, for which onnx2tf would fetch sample images: a proxy counts connections."""
    (tmp_path / "m.onnx").write_bytes(rgb_model())
    images = np.random.default_rng(1).random((2, 1, 3, 10, 12), np.float32)
    (tmp_path / "c.npz").write_bytes(npz(a=images))
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                seen.append(connection.recv(200))
                connection.close()

        threading.Thread(target=listen, daemon=True).start()
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        monkeypatch.delenv("no_proxy", raising=False)
        command = [sys.executable, "-c", _OFFLINE, str(tmp_path)]
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=300)
        probe = "import requests; requests.get('https://example.invalid', timeout=5)"
        subprocess.run([sys.executable, "-c", probe], check=False, capture_output=True, timeout=60)
        server.shutdown(socket.SHUT_RDWR)
    assert len(seen) == 1, "only the probe, which shows that the proxy would have seen a download"
