"""ONNX and TFLite models that conversions stumble over: quantised rightly, or refused with why."""

import subprocess
import sys

import numpy as np
import pytest
from onnx import helper

from tests.integration.quantise.models import npz, onnx_model, quantised
from tests.unit.cmsis_nn.schema import Model, T
from tinymlaas.contract.errors import InvalidModel, UnsupportedModel, UsageError
from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn.options import FullyConnectedOptions

pytest.importorskip("tensorflow", reason="TensorFlow (extra 'quantize') is not installed")

node = helper.make_node


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def refusal(model, samples, kind=UnsupportedModel):
    with pytest.raises(kind) as error:
        quantised(model, samples)
    (reason,) = error.value.reasons
    assert len(reason) < 400
    return reason


def test_names_layouts_and_the_order_of_inputs_are_kept():
    """Two inputs, one square (channels could lie anywhere), whose first sample tells nothing.

    ``kernel_shape`` is left out and names are such as TensorFlow does not take.
    """
    image, scale, out = "in:0/é x", "in_0/e x", "out/π:1"
    nodes = [
        node("ConvTranspose", [image, "w"], ["c"], strides=[2, 2]),
        node("Relu", ["c"], ["r"]),
        node("Mul", ["r", scale], [out]),
    ]
    model = onnx_model(
        nodes,
        [(scale, (1, 3, 1, 1)), (image, (1, 4, 4, 4))],
        [(out, (1, 3, 9, 9)), ("r", (1, 3, 9, 9))],
        w=normal(4, 3, 3, 3),
    )
    images = normal(8, 1, 4, 4, 4)
    images[0] = 0
    given = {image: images, scale: normal(8, 1, 3, 1, 1, seed=1)}
    report = quantised(model, npz(**given))[1].report
    assert [(t.name, t.shape) for t in report.inputs] == [
        (scale, (1, 3, 1, 1)),
        (image, (1, 4, 4, 4)),
    ]
    assert [(t.name, t.dtype) for t in report.outputs] == [(out, DType.INT8), ("r", DType.INT8)]
    assert [error.name for error in report.errors] == [out, "r"]
    assert all(error.sqnr_db > 25 for error in report.errors)


@pytest.mark.parametrize(
    ("operator", "reason"),
    [
        ("Erf", "no integer form of tf.Erf"),
        pytest.param("Sin", "SIN, of the converted model has no", marks=pytest.mark.slow),
        pytest.param("Identity", "nothing to quantise", marks=pytest.mark.slow),
    ],
)
def test_an_operator_without_integer_form_is_refused_by_name(operator, reason):
    model = onnx_model([node(operator, ["a"], ["y"])], [("a", (1, 8))], [("y", (1, 8))])
    assert reason in refusal(model, npz(a=normal(4, 8)))


def test_what_onnx2tf_cannot_convert_is_refused_with_its_place():
    nodes = [
        node("Relu", ["a"], ["b"]),
        node("GRU", ["b", "w", "r"], ["y"], name="memory", hidden_size=5),
    ]
    shapes = [("a", (7, 1, 3))], [("y", (7, 1, 1, 5))]
    model = onnx_model(nodes, *shapes, w=normal(1, 15, 3), r=normal(1, 15, 5))
    reason = refusal(model, npz(a=normal(4, 7, 1, 3)))
    assert reason.startswith("operator 1, GRU 'memory', cannot be quantised: onnx2tf cannot")


def test_samples_without_an_answer_are_refused():
    model = onnx_model([node("Log", ["a"], ["y"])], [("a", (1, 8))], [("y", (1, 8))])
    reason = refusal(model, npz(a=-np.ones((2, 8))), UsageError)
    assert reason.startswith("c.npz: for sample 0 the float model's output 'y' is NaN or infinite")


@pytest.mark.slow
def test_a_model_of_quantise_nodes_is_quantised_already():
    nodes = [node("QuantizeLinear", ["a", "s"], ["q"]), node("DequantizeLinear", ["q", "s"], ["y"])]
    model = onnx_model(nodes, [("a", (1, 8))], [("y", (1, 8))], s=np.float32(0.1))
    assert "quantised already" in refusal(model, npz(a=normal(4, 8)), UsageError)


def test_what_is_no_model_is_refused():
    refusal(b"PK\x05\x06" + bytes(18), npz(a=normal(4, 8)), InvalidModel)


def hybrid():
    """A fully connected layer on floats with int8 weights."""
    model = Model()
    source = model.input(T((1, 16), "float32"))
    stored = np.random.default_rng(2).integers(-127, 128, (4, 16)).astype(np.int8)
    weights = model.add(T((4, 16), "int8", 0.01, 0, data=stored))
    bias = model.add(T((4,), "float32", data=normal(4)))
    options = FullyConnectedOptions(0, 0, False)
    model.outputs.append(
        model.op("FULLY_CONNECTED", (source, weights, bias), T((1, 4), "float32"), options)
    )
    return model.to_bytes()


def test_a_hybrid_model_stands_for_the_float_one_of_its_weights():
    made, outcome = quantised(hybrid(), npz(x=normal(20, 1, 16)))
    report = outcome.report
    assert report.errors[0].sqnr_db > 30
    assert any("1 weight tensors were int8 already" in warning for warning in report.warnings)
    assert len(made) < 4000


_KERAS = """
import sys
import keras

layers = keras.layers
a, b = layers.Input((6,), name="a"), layers.Input((4,), name="b")
both = layers.Concatenate()([layers.Dense(5, activation="relu")(a), layers.Dense(3)(b)])
named = keras.Model({"b": b, "a": a}, {"p": layers.Dense(2)(both)})
named.save(sys.argv[1] + "/named.keras")
recurrent = keras.Sequential([layers.Input((7, 3)), layers.LSTM(5), layers.Dense(2)])
recurrent.save(sys.argv[1] + "/lstm.keras")
"""


@pytest.fixture(scope="module")
def keras_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    command = [sys.executable, "-c", _KERAS, str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder


@pytest.mark.slow
def test_keras_inputs_may_be_named(keras_models):
    samples = npz(a=normal(9, 6), b=normal(9, 4))
    report = quantised((keras_models / "named.keras").read_bytes(), samples)[1].report
    assert [(t.name, t.shape) for t in report.inputs] == [("a", (1, 6)), ("b", (1, 4))]
    assert report.errors[0].sqnr_db > 30


@pytest.mark.slow
def test_a_loop_is_refused_before_it_crashes_the_converter(keras_models):
    model = (keras_models / "lstm.keras").read_bytes()
    assert "unroll=True" in refusal(model, npz(x=normal(9, 7, 3)))
