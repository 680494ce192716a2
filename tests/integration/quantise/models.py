"""Float models to quantise, made on the spot, and how the stage is called."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from storage.memory import MemoryStore
from tinymlaas.contract.quantisation import Activations, QuantisationOutcome
from workers.quantise.stage import Request, quantise_stored

ROOT = Path(__file__).parents[3]
DIGITS = ROOT / "examples" / "digits"

_KERAS = """
import sys
import keras
import numpy as np

keras.utils.set_random_seed(1)
data = np.load(sys.argv[1])
x = data["x"].reshape(-1, 8, 8, 1).astype("float32") / 16
layers = keras.layers
model = keras.Sequential([
    layers.Input((8, 8, 1), name="image"),
    layers.Conv2D(8, 3, activation="relu", padding="same"),
    layers.MaxPooling2D(2),
    layers.DepthwiseConv2D(3, padding="same", activation="relu"),
    layers.Flatten(),
    layers.Dense(10, activation="softmax"),
])
model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
model.fit(x[:180], data["labels"][:180], epochs=12, verbose=0)
model.save(sys.argv[2])
np.savez(sys.argv[3], image=x[180:], labels=data["labels"][180:])
if len(sys.argv) > 4:
    import tensorflow as tf

    call = tf.function(lambda image: model(image, training=False))
    concrete = call.get_concrete_function(tf.TensorSpec((1, 8, 8, 1), tf.float32, name="image"))
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2 as freeze,
    )

    converter = tf.lite.TFLiteConverter.from_concrete_functions([freeze(concrete)])
    open(sys.argv[4], "wb").write(converter.convert())
"""


def train(folder: Path) -> tuple[Path, Path, Path]:
    """Train a small CNN on half of the digits; return .keras, .tflite and calibration files.

    In a process of its own: the stage forks from ours, and TensorFlow must not have started there.
    """
    paths = folder / "d.keras", folder / "d.tflite", folder / "d.npz"
    command = [sys.executable, "-c", _KERAS, str(DIGITS / "test_digits.npz")]
    command += [str(paths[0]), str(paths[2]), str(paths[1])]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return paths


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def quantised(
    model: bytes,
    calibration: bytes,
    activations: Activations = Activations.INT8,
    store: MemoryStore | None = None,
) -> tuple[bytes, QuantisationOutcome]:
    """Run the stage as a worker does; return the model and the outcome."""
    from storage import keys

    kept = store or MemoryStore()
    outcome = quantise_stored(Request(model, "m", calibration, "c.npz", activations), kept)
    return kept.get(keys.blob(outcome.model_digest)), outcome


Tensor = tuple[str, Sequence[int]]


def onnx_model(
    nodes: Sequence[object],
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
    **weights: np.ndarray,
) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    def infos(tensors):
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in tensors]

    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", infos(inputs), infos(outputs), constants)
    opset = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def rgb_model() -> bytes:
    from onnx import helper

    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    node = helper.make_node("Conv", ["a", "w"], ["y"], pads=[1, 1, 1, 1])
    return onnx_model([node], [("a", (1, 3, 10, 12))], [("y", (1, 4, 10, 12))], w=weights)
