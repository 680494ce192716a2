"""Small float models, converted to TFLite by TensorFlow, one for each operator and its options.

`differences` runs in a process of its own: TensorFlow must not start in the one that forks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from workers.models.reference import TfliteReference
from workers.models.tflite_model import read_tflite
from workers.quantise import libraries
from workers.quantise.from_tflite import rebuild
from workers.quantise.source import difference

Cases = dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]]
IMAGE = (1, 7, 6, 4)
ROW = (2, 5)


def _generator() -> np.random.Generator:
    return np.random.default_rng(5)


def weights(*shape: int) -> np.ndarray:
    return _generator().normal(size=shape).astype(np.float32)


def spatial(tf: Any) -> Cases:
    nn, image = tf.nn, [IMAGE]
    conv, depthwise = weights(3, 2, 4, 5), weights(3, 3, 4, 2)
    bias = weights(5)
    return {
        "conv": (lambda x: nn.relu(nn.conv2d(x, conv, (2, 1), "SAME") + bias), image),
        "conv valid dilated": (lambda x: nn.conv2d(x, conv, 1, "VALID", dilations=(2, 2)), image),
        "conv relu6": (lambda x: nn.relu6(nn.conv2d(x, conv, 1, "SAME")), image),
        "depthwise": (lambda x: nn.depthwise_conv2d(x, depthwise, (1, 2, 2, 1), "SAME"), image),
        "depthwise dilated": (
            lambda x: nn.depthwise_conv2d(x, depthwise, (1,) * 4, "VALID", dilations=(2, 2)),
            image,
        ),
        "transpose conv": (
            lambda x: nn.conv2d_transpose(x, weights(3, 3, 6, 4), (1, 14, 12, 6), (2, 2), "SAME"),
            image,
        ),
        "average pool": (lambda x: nn.avg_pool2d(x, (3, 2), (2, 2), "SAME"), image),
        "max pool": (lambda x: nn.max_pool2d(x, (2, 3), (1, 2), "VALID"), image),
        "bilinear": (lambda x: tf.compat.v1.image.resize_bilinear(x, (9, 11)), image),
        "bilinear corners": (
            lambda x: tf.compat.v1.image.resize_bilinear(x, (9, 11), align_corners=True),
            image,
        ),
        "bilinear centres": (lambda x: tf.image.resize(x, (4, 11)), image),
        "nearest": (lambda x: tf.compat.v1.image.resize_nearest_neighbor(x, (9, 3)), image),
        "nearest centres": (lambda x: tf.image.resize(x, (9, 3), method="nearest"), image),
        "space to depth": (lambda x: nn.space_to_depth(x[:, :6], 2), image),
        "depth to space": (lambda x: nn.depth_to_space(x, 2), image),
        "space to batch": (
            lambda x: tf.space_to_batch_nd(x, [2, 3], [[1, 0], [0, 0]]),
            image,
        ),
        "batch to space": (
            lambda x: tf.batch_to_space(x, [2, 1], [[1, 0], [0, 0]]),
            [(2, 3, 4, 4)],
        ),
        "mirror pad": (lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]], "REFLECT"), image),
        "pad": (lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]]), image),
        "pad value": (
            lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]], constant_values=1.5),
            image,
        ),
    }


def elementwise(tf: Any) -> Cases:
    two = [IMAGE, (1, 1, 6, 4)]
    unary = {
        "relu": tf.nn.relu,
        "relu6": tf.nn.relu6,
        "relu -1 to 1": lambda x: tf.clip_by_value(x, -1.0, 1.0),
        "relu 0 to 1": lambda x: tf.clip_by_value(x, 0.0, 1.0),
        "leaky": lambda x: tf.nn.leaky_relu(x, 0.3),
        "elu": tf.nn.elu,
        "gelu": tf.nn.gelu,
        "gelu tanh": lambda x: tf.nn.gelu(x, approximate=True),
        "hard swish": lambda x: x * tf.nn.relu6(x + 3.0) * (1 / 6),
        "sigmoid": tf.nn.sigmoid,
        "tanh": tf.tanh,
        "exp": tf.exp,
        "log": lambda x: tf.math.log(tf.abs(x) + 0.5),
        "sqrt": lambda x: tf.sqrt(tf.abs(x) + 0.5),
        "rsqrt": lambda x: tf.math.rsqrt(tf.abs(x) + 0.5),
        "square": tf.square,
        "neg": tf.negative,
        "sin cos": lambda x: tf.sin(x) + tf.cos(x),
        "floor ceil round": lambda x: tf.floor(x) + tf.math.ceil(x) * 2 + tf.round(x) * 4,
        "softmax": tf.nn.softmax,
        "log softmax": tf.nn.log_softmax,
        "l2 normalise": lambda x: tf.math.l2_normalize(x, axis=-1),
        "power": lambda x: tf.pow(tf.abs(x) + 0.5, 1.5),
        "prelu": lambda x: tf.nn.relu(x) + -weights(4) * tf.nn.relu(-x),
        "cumulative": lambda x: tf.cumsum(x, axis=2),
        "fill": lambda x: x + tf.zeros_like(x),
    }
    binary = {
        "add": tf.add,
        "sub": tf.subtract,
        "mul": tf.multiply,
        "div": lambda x, y: x / (tf.abs(y) + 0.5),
        "add relu": lambda x, y: tf.nn.relu(x + y),
        "maximum": tf.maximum,
        "minimum": tf.minimum,
        "squared difference": tf.math.squared_difference,
        "select greater": lambda x, y: tf.where(x > y, x, y * 2),
        "select less": lambda x, y: tf.where(x < y, x, y * 2),
        "select greater or equal": lambda x, y: tf.where(x >= y, x, y * 2),
        "select less or equal": lambda x, y: tf.where(x <= y, x, y * 2),
        "select equal": lambda x, y: tf.where(tf.nn.relu(x) == tf.nn.relu(y), x, y * 2),
        "select not equal": lambda x, y: tf.where(tf.nn.relu(x) != tf.nn.relu(y), x, y * 2),
        "compare": lambda x, y: tf.cast(x >= y, tf.float32) * x + tf.cast(x < y, tf.float32),
        "floor div": lambda x, y: tf.math.floordiv(x, tf.abs(y) + 0.5),
    }
    return {name: (function, [IMAGE]) for name, function in unary.items()} | {
        name: (function, two) for name, function in binary.items()
    }


def arranging(tf: Any) -> Cases:
    image, row = [IMAGE], [ROW]
    return {
        "dense": (lambda x: tf.nn.relu(x @ weights(5, 3) + weights(3)), row),
        "dense over 3 dimensions": (
            lambda x: tf.tensordot(x, weights(4, 3), [[3], [0]]),
            image,
        ),
        "matmul": (tf.matmul, [(2, 3, 4), (2, 4, 5)]),
        "matmul adjoint": (lambda x, y: tf.matmul(x, y, transpose_b=True), [(2, 3, 4), (2, 5, 4)]),
        "reshape": (lambda x: tf.reshape(x, (6, 28)), image),
        "squeeze": (lambda x: tf.squeeze(x, 0), image),
        "expand": (lambda x: tf.expand_dims(x, 1), image),
        "transpose": (lambda x: tf.transpose(x, (0, 3, 1, 2)), image),
        "concat": (lambda x, y: tf.concat([x, y, x], -1), [IMAGE, (1, 7, 6, 2)]),
        "split": (lambda x: tf.split(x, 2, axis=-1), image),
        "split sizes": (lambda x: tf.split(x, [1, 4, 2], axis=1), image),
        "slice": (lambda x: tf.slice(x, (0, 2, 1, 0), (1, 3, -1, 2)), image),
        "strided slice": (lambda x: x[:, 1:-1:2, ..., ::-1], image),
        "strided slice shrink": (lambda x: x[:, 3, tf.newaxis], image),
        "pack": (lambda x, y: tf.stack([x, y], 1), [ROW, ROW]),
        "unpack": (lambda x: tf.unstack(x, axis=1), row),
        "gather": (lambda x: tf.gather(x, [2, 0, 4], axis=1), row),
        "gather nd": (lambda x: tf.gather_nd(x, [[0, 1], [1, 4]]), row),
        "tile": (lambda x: tf.tile(x, (1, 3)), row),
        "broadcast": (lambda x: tf.broadcast_to(x, (3, 2, 5)), row),
        "reverse": (lambda x: tf.reverse(x, [1]), row),
        "mean": (lambda x: tf.reduce_mean(x, (1, 2)), image),
        "mean keep": (lambda x: tf.reduce_mean(x, (1, 2), keepdims=True), image),
        "sum": (lambda x: tf.reduce_sum(x, -1), image),
        "max": (lambda x: tf.reduce_max(x, (1,)), image),
        "min": (lambda x: tf.reduce_min(x, (1,)), image),
        "prod": (lambda x: tf.reduce_prod(x, (1,)), image),
        "arg max": (lambda x: tf.argmax(x, 1, output_type=tf.int32), row),
        "arg min": (lambda x: tf.argmin(x, 1), row),
        "cast": (lambda x: tf.cast(tf.cast(x * 10, tf.int32), tf.float32), row),
    }


def converted(tf: Any, function: Callable[..., Any], shapes: list[tuple[int, ...]]) -> bytes:
    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    concrete = tf.function(function).get_concrete_function(*signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    return bytes(converter.convert())


def differences() -> dict[str, tuple[list[str], float | str]]:
    """Return, by case, its operators and the largest difference from LiteRT, or the refusal."""
    tf = libraries.tensorflow()
    found: dict[str, tuple[list[str], float | str]] = {}
    for name, (function, shapes) in (spatial(tf) | elementwise(tf) | arranging(tf)).items():
        data = converted(tf, function, shapes)
        operators = [operator.name for operator in read_tflite(data).graphs[0].operators]
        generator = _generator()
        given = [2 * generator.normal(size=shape).astype(np.float32) for shape in shapes]
        try:
            want = TfliteReference(data).run(given)
            got = [np.asarray(v) for v in rebuild(tf, data)(*map(tf.constant, given))]
        except Exception as error:
            found[name] = operators, f"{type(error).__name__}: {error}"
            continue
        pairs = zip(got, want, strict=True)
        found[name] = operators, max(difference(one, other) for one, other in pairs)
    return found
