"""Float TFLite operators as TensorFlow functions (TFLite's operator definitions, float32).

Each takes the operator's inputs, its options (TFLite's schema objects) and the static shape of its
first output, and returns one tensor or a list of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Kernel = Callable[[Any, list[Any], Any, tuple[int, ...]], Any]
"""(tensorflow, inputs, options, output shape) → tensor or list of tensors."""

_PADDING = ("SAME", "VALID")
_MIRROR = ("REFLECT", "SYMMETRIC")
_INDEX = {2: "int32", 4: "int64"}  # by the schema's TensorType
_ACTIVATION: dict[int, Callable[[Any, Any], Any]] = {
    0: lambda tf, x: x,
    1: lambda tf, x: tf.nn.relu(x),
    2: lambda tf, x: tf.clip_by_value(x, -1.0, 1.0),
    3: lambda tf, x: tf.nn.relu6(x),
    4: lambda tf, x: tf.nn.tanh(x),
}


def fused(tf: Any, value: Any, options: Any) -> Any:
    """Apply the activation function that `options` name."""
    return _ACTIVATION[getattr(options, "fusedActivationFunction", 0)](tf, value)


def _biased(tf: Any, value: Any, ins: list[Any], options: Any, at: int = 2) -> Any:
    if len(ins) > at and ins[at] is not None:
        value = value + ins[at]
    return fused(tf, value, options)


def _conv(tf: Any, ins: list[Any], o: Any, shape: tuple[int, ...]) -> Any:
    weights = tf.transpose(ins[1], (1, 2, 3, 0))
    strides, dilations = (o.strideH, o.strideW), (o.dilationHFactor, o.dilationWFactor)
    value = tf.nn.conv2d(ins[0], weights, strides, _PADDING[o.padding], dilations=dilations)
    return _biased(tf, value, ins, o)


def _depthwise(tf: Any, ins: list[Any], o: Any, shape: tuple[int, ...]) -> Any:
    _, height, width, out = ins[1].shape
    channels = ins[0].shape[-1]
    weights = tf.reshape(ins[1], (height, width, channels, out // channels))
    dilations = (o.dilationHFactor, o.dilationWFactor)
    value = tf.nn.depthwise_conv2d(
        ins[0], weights, (1, o.strideH, o.strideW, 1), _PADDING[o.padding], dilations=dilations
    )
    return _biased(tf, value, ins, o)


def _transpose_conv(tf: Any, ins: list[Any], o: Any, shape: tuple[int, ...]) -> Any:
    weights = tf.transpose(ins[1], (1, 2, 0, 3))
    strides = (o.strideH, o.strideW)
    value = tf.nn.conv2d_transpose(ins[2], weights, shape, strides, _PADDING[o.padding])
    return _biased(tf, value, ins, o, at=3)


def _fully_connected(tf: Any, ins: list[Any], o: Any, shape: tuple[int, ...]) -> Any:
    flat = tf.reshape(ins[0], (-1, ins[1].shape[-1]))
    value = _biased(tf, tf.matmul(flat, ins[1], transpose_b=True), ins, o)
    return tf.reshape(value, shape)


def _pool(kind: str) -> Kernel:
    def run(tf: Any, ins: list[Any], o: Any, shape: tuple[int, ...]) -> Any:
        window, strides = (o.filterHeight, o.filterWidth), (o.strideH, o.strideW)
        pool = getattr(tf.nn, f"{kind}_pool2d")
        return fused(tf, pool(ins[0], window, strides, _PADDING[o.padding]), o)

    return run


def _elementwise(name: str) -> Kernel:
    def run(tf: Any, ins: list[Any], o: Any, shape: tuple[int, ...]) -> Any:
        return fused(tf, getattr(tf.math, name)(*ins), o)

    return run


def _reduce(name: str) -> Kernel:
    def run(tf: Any, ins: list[Any], o: Any, shape: tuple[int, ...]) -> Any:
        return getattr(tf, f"reduce_{name}")(ins[0], axis=ins[1], keepdims=bool(o.keepDims))

    return run


def _arg(name: str) -> Kernel:
    def run(tf: Any, ins: list[Any], o: Any, shape: tuple[int, ...]) -> Any:
        return getattr(tf, name)(ins[0], axis=int(ins[1]), output_type=_INDEX[o.outputType])

    return run


def _strided_slice(tf: Any, ins: list[Any], o: Any, shape: tuple[int, ...]) -> Any:
    return tf.strided_slice(
        *ins,
        begin_mask=o.beginMask,
        end_mask=o.endMask,
        ellipsis_mask=o.ellipsisMask,
        new_axis_mask=o.newAxisMask,
        shrink_axis_mask=o.shrinkAxisMask,
    )


def _resize(name: str) -> Kernel:
    def run(tf: Any, ins: list[Any], o: Any, shape: tuple[int, ...]) -> Any:
        operation = getattr(tf.raw_ops, name)
        return operation(
            images=ins[0],
            size=ins[1],
            align_corners=bool(o.alignCorners),
            half_pixel_centers=bool(o.halfPixelCenters),
        )

    return run


def _reshape(tf: Any, ins: list[Any], o: Any, shape: tuple[int, ...]) -> Any:
    return tf.reshape(ins[0], shape)


_PLAIN: dict[str, Kernel] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transpose_conv,
    "FULLY_CONNECTED": _fully_connected,
    "AVERAGE_POOL_2D": _pool("avg"),
    "MAX_POOL_2D": _pool("max"),
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "STRIDED_SLICE": _strided_slice,
    "RESIZE_BILINEAR": _resize("ResizeBilinear"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("ResizeNearestNeighbor"),
    "SOFTMAX": lambda tf, i, o, s: tf.nn.softmax(i[0] * o.beta if o.beta != 1.0 else i[0]),
    "RELU": lambda tf, i, o, s: tf.nn.relu(i[0]),
    "RELU6": lambda tf, i, o, s: tf.nn.relu6(i[0]),
    "LOGISTIC": lambda tf, i, o, s: tf.math.sigmoid(i[0]),
    "HARD_SWISH": lambda tf, i, o, s: i[0] * tf.nn.relu6(i[0] + 3.0) * (1.0 / 6.0),
    "LEAKY_RELU": lambda tf, i, o, s: tf.nn.leaky_relu(i[0], alpha=o.alpha),
    "PRELU": lambda tf, i, o, s: tf.nn.relu(i[0]) - i[1] * tf.nn.relu(-i[0]),
    "GELU": lambda tf, i, o, s: tf.nn.gelu(i[0], approximate=bool(o.approximate)),
    "RELU_N1_TO_1": lambda tf, i, o, s: tf.clip_by_value(i[0], -1.0, 1.0),
    "RELU_0_TO_1": lambda tf, i, o, s: tf.clip_by_value(i[0], 0.0, 1.0),
    "LOG_SOFTMAX": lambda tf, i, o, s: tf.nn.log_softmax(i[0]),
    "L2_NORMALIZATION": lambda tf, i, o, s: fused(tf, tf.math.l2_normalize(i[0], axis=-1), o),
    "CONCATENATION": lambda tf, i, o, s: fused(tf, tf.concat(i, o.axis), o),
    "PAD": lambda tf, i, o, s: tf.pad(i[0], i[1]),
    "MIRROR_PAD": lambda tf, i, o, s: tf.pad(i[0], i[1], _MIRROR[o.mode]),
    "PADV2": lambda tf, i, o, s: tf.pad(i[0], i[1], constant_values=i[2]),
    "TRANSPOSE": lambda tf, i, o, s: tf.transpose(i[0], i[1]),
    "SPLIT": lambda tf, i, o, s: tf.split(i[1], o.numSplits, axis=int(i[0])),
    "SPLIT_V": lambda tf, i, o, s: tf.split(i[0], i[1], axis=int(i[2])),
    "SLICE": lambda tf, i, o, s: tf.slice(i[0], i[1], i[2]),
    "SPACE_TO_DEPTH": lambda tf, i, o, s: tf.nn.space_to_depth(i[0], o.blockSize),
    "DEPTH_TO_SPACE": lambda tf, i, o, s: tf.nn.depth_to_space(i[0], o.blockSize),
    "SPACE_TO_BATCH_ND": lambda tf, i, o, s: tf.space_to_batch_nd(*i),
    "BATCH_TO_SPACE_ND": lambda tf, i, o, s: tf.batch_to_space(*i),
    "PACK": lambda tf, i, o, s: tf.stack(i, axis=o.axis),
    "UNPACK": lambda tf, i, o, s: tf.unstack(i[0], axis=o.axis),
    "GATHER": lambda tf, i, o, s: tf.gather(i[0], i[1], axis=o.axis, batch_dims=o.batchDims),
    "CUMSUM": lambda tf, i, o, s: tf.cumsum(
        i[0], axis=int(i[1]), exclusive=bool(o.exclusive), reverse=bool(o.reverse)
    ),
    "GATHER_ND": lambda tf, i, o, s: tf.gather_nd(*i),
    "TILE": lambda tf, i, o, s: tf.tile(*i),
    "BROADCAST_TO": lambda tf, i, o, s: tf.broadcast_to(*i),
    "REVERSE_V2": lambda tf, i, o, s: tf.reverse(*i),
    "SELECT_V2": lambda tf, i, o, s: tf.where(*i),
    "ARG_MAX": _arg("argmax"),
    "ARG_MIN": _arg("argmin"),
    "BATCH_MATMUL": lambda tf, i, o, s: tf.matmul(i[0], i[1], adjoint_a=o.adjX, adjoint_b=o.adjY),
    "DEQUANTIZE": lambda tf, i, o, s: tf.cast(i[0], tf.float32),
}
_SAME_NAME = {
    **dict.fromkeys(("ADD", "SUB", "MAXIMUM", "MINIMUM", "TANH", "EXP", "ABS"), ""),
    **dict.fromkeys(("SQRT", "RSQRT", "SQUARE", "SQUARED_DIFFERENCE", "LOG", "POW"), ""),
    **dict.fromkeys(("EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"), ""),
    **dict.fromkeys(("SIN", "COS"), ""),
    "SUB": "subtract",
    "MUL": "multiply",
    "DIV": "divide",
    "NEG": "negative",
}
KERNELS: dict[str, Kernel] = (
    _PLAIN
    | {name: _elementwise(spelt or name.lower()) for name, spelt in _SAME_NAME.items()}
    | {"MEAN": _reduce("mean"), "SUM": _reduce("sum"), "REDUCE_MAX": _reduce("max")}
    | {"REDUCE_MIN": _reduce("min"), "REDUCE_PROD": _reduce("prod")}
)
"""TFLite's operator name → what computes it."""
