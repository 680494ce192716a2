"""The layers in NumPy, from TFLite's quantisation specification, straightforward and slow.

TFLM requantises with two roundings: a saturating rounding doubling high multiply, then a
rounding (half away from zero) division by a power of two.
"""

from __future__ import annotations

import numpy as np

from workers.compilers.cmsis_nn.special.layers import (
    AddLayer,
    ConvLayer,
    DenseLayer,
    DepthwiseLayer,
    Layer,
    PoolLayer,
    Requantisation,
)


def _wrap(value: np.ndarray) -> np.ndarray:
    return (value.astype(np.int64) & 0xFFFFFFFF).astype(np.uint32).view(np.int32).astype(np.int64)


def requantise(acc: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """MultiplyByQuantizedMultiplier of int32 accumulators."""
    acc, multiplier, shift = (np.asarray(x, np.int64) for x in (acc, multiplier, shift))
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    product = _wrap(_wrap(acc) << left) * multiplier
    nudge = np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    total = product + nudge
    high = np.where(total >= 0, total >> 31, -((-total) >> 31))
    mask = (np.int64(1) << right) - 1
    threshold = (mask >> 1) + (high < 0)
    return (high >> right) + ((high & mask) > threshold)


def _finish(acc: np.ndarray, quant: Requantisation) -> np.ndarray:
    scaled = requantise(acc, quant.multipliers, quant.shifts) + quant.output_zero_point
    return np.clip(scaled, quant.activation_min, quant.activation_max).astype(np.int8)


def _windows(x: np.ndarray, layer: ConvLayer | DepthwiseLayer | PoolLayer, kernel, dilation, fill):
    """Yield (ky, kx, the input each output sees at that tap), padding as `fill`."""
    top, left, bottom, right = layer.padding
    _, height, width, _ = layer.output_shape
    sy, sx = layer.stride
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            y, c = ky * dilation[0], kx * dilation[1]
            yield ky, kx, padded[:, y : y + height * sy : sy, c : c + width * sx : sx, :]


def _conv(layer: ConvLayer, x: np.ndarray) -> np.ndarray:
    zero = layer.quant.input_zero_point
    acc = np.zeros(layer.output_shape, np.int64) + layer.bias
    weights = layer.weights.astype(np.int64)
    for ky, kx, seen in _windows(
        x.astype(np.int64), layer, weights.shape[1:3], layer.dilation, zero
    ):
        acc += np.einsum("nhwi,oi->nhwo", seen - zero, weights[:, ky, kx, :])
    return _finish(acc, layer.quant)


def _depthwise(layer: DepthwiseLayer, x: np.ndarray) -> np.ndarray:
    zero = layer.quant.input_zero_point
    acc = np.zeros(layer.output_shape, np.int64) + layer.bias
    weights = layer.weights[0].astype(np.int64)
    repeat = layer.output_shape[3] // layer.input_shape[3]
    for ky, kx, seen in _windows(
        x.astype(np.int64), layer, weights.shape[:2], layer.dilation, zero
    ):
        acc += np.repeat(seen - zero, repeat, axis=3) * weights[ky, kx]
    return _finish(acc, layer.quant)


def _pool(layer: PoolLayer, x: np.ndarray) -> np.ndarray:
    taps = [
        (seen, inside)
        for (_, _, seen), (_, _, inside) in zip(
            _windows(x.astype(np.int64), layer, layer.window, (1, 1), 0),
            _windows(np.ones(x.shape, np.int64), layer, layer.window, (1, 1), 0),
            strict=True,
        )
    ]
    if layer.kind == "max":
        result = np.full(layer.output_shape, -128, np.int64)
        for seen, inside in taps:
            result = np.where(inside > 0, np.maximum(result, seen), result)
    else:
        total = sum(seen for seen, _ in taps)
        count = sum(inside for _, inside in taps)
        half = count // 2
        result = np.where(total > 0, (total + half) // count, -((half - total) // count))
    return np.clip(result, layer.activation_min, layer.activation_max).astype(np.int8)


def _add(layer: AddLayer, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    m, s = layer.multipliers, layer.shifts
    zeros = layer.input_zero_points
    terms = [
        requantise((v.astype(np.int64) - z) << layer.left_shift, m[i], s[i])
        for i, (v, z) in enumerate(zip((x, y), zeros, strict=True))
    ]
    total = requantise(terms[0] + terms[1], m[2], s[2]) + layer.output_zero_point
    return np.clip(total, layer.activation_min, layer.activation_max).astype(np.int8)


def evaluate(layer: Layer, *inputs: np.ndarray) -> np.ndarray:
    """Return what `layer` computes, shaped as its output."""
    match layer:
        case ConvLayer():
            return _conv(layer, inputs[0].reshape(layer.input_shape))
        case DepthwiseLayer():
            return _depthwise(layer, inputs[0].reshape(layer.input_shape))
        case DenseLayer():
            x = inputs[0].reshape(layer.batch, -1).astype(np.int64)
            acc = (x - layer.quant.input_zero_point) @ layer.weights.T.astype(np.int64)
            return _finish(acc + layer.bias, layer.quant)
        case PoolLayer():
            return _pool(layer, inputs[0].reshape(layer.input_shape))
        case AddLayer():
            return _add(layer, inputs[0], inputs[1])
