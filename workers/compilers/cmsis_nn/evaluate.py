"""Compute a layer here and now, for steps all of whose inputs are constants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workers.compilers.cmsis_nn.arithmetic import clamp, requantize, round_half_away
from workers.compilers.cmsis_nn.graph import Array
from workers.compilers.cmsis_nn.layers import (
    AddLayer,
    AnyLayer,
    DequantizeLayer,
    ElementwiseLayer,
    LutLayer,
    MoveLayer,
    QuantizeLayer,
    Region,
    RequantizeLayer,
    ReshapeLayer,
)
from workers.compilers.cmsis_nn.quantise import RANGES
from workers.compilers.cmsis_nn.strides import contiguous


def evaluate(layer: AnyLayer, inputs: Sequence[Array]) -> Array | None:
    """Return the layer's flat output, or None for layers that are not computed here."""
    match layer:
        case ReshapeLayer():
            return inputs[0].reshape(-1)
        case LutLayer():
            result: Array = layer.table[inputs[0].reshape(-1).astype(np.int64) + 128]
            return result
        case MoveLayer():
            return _move(layer, inputs)
        case AddLayer():
            return _elementwise(as_elementwise(layer), inputs)
        case ElementwiseLayer():
            return _elementwise(layer, inputs)
        case _:
            return _convert(layer, inputs)


def _convert(layer: AnyLayer, inputs: Sequence[Array]) -> Array | None:
    match layer:
        case DequantizeLayer():
            steps = inputs[0].reshape(-1).astype(np.float32) - np.float32(layer.zero_point)
            return np.float32(layer.scale) * steps
        case QuantizeLayer():
            low, high = RANGES[layer.target]
            real = inputs[0].reshape(-1) / np.float32(layer.scale)
            rounded = [round_half_away(float(v)) + layer.zero_point for v in real]
            return np.array([clamp(q, low, high) for q in rounded], layer.target.value)
        case RequantizeLayer():
            low, high = RANGES[layer.target]
            scaled = [
                requantize(int(v) - layer.input_zero_point, layer.multiplier, layer.shift)
                for v in inputs[0].reshape(-1)
            ]
            return np.array(
                [clamp(v + layer.output_zero_point, low, high) for v in scaled],
                layer.target.value,
            )
        case _:
            return None


def _places(region: Region, strides: Sequence[int], offset: int) -> Array:
    places = np.array(offset)
    for count, stride in zip(region.counts, strides, strict=True):
        places = places[..., None] + np.arange(count) * stride
    return places


def _move(layer: MoveLayer, inputs: Sequence[Array]) -> Array:
    kind = inputs[0].dtype
    pattern = (layer.fill or 0).to_bytes(layer.itemsize, "little")
    out = np.repeat(np.frombuffer(pattern, kind), layer.size)
    for region in layer.regions:
        source = inputs[region.source].reshape(-1)
        taken = source[_places(region, region.source_strides, region.source_offset)]
        out[_places(region, region.target_strides, region.target_offset)] = taken
    return out


def as_elementwise(layer: AddLayer) -> ElementwiseLayer:
    """Return the same sum as the general layer."""
    flat = ((1,), (1,))
    return ElementwiseLayer(
        "add",
        (layer.size,),
        flat,
        layer.input_zero_points,
        layer.output_zero_point,
        layer.multipliers,
        layer.shifts,
        layer.left_shift,
        layer.activation_min,
        layer.activation_max,
    )


def _elementwise(layer: ElementwiseLayer, inputs: Sequence[Array]) -> Array:
    region = Region(0, layer.shape, contiguous(layer.shape), contiguous(layer.shape))
    one, two = (
        data.reshape(-1)[_places(region, strides, 0)].reshape(-1)
        for data, strides in zip(inputs, layer.strides, strict=True)
    )
    pairs = zip(one.tolist(), two.tolist(), strict=True)
    return np.array([element(layer, a, b) for a, b in pairs], np.int8)


def element(layer: ElementwiseLayer, first: int, second: int) -> int:
    """Return the layer's result for one pair of int8 elements."""
    a, b = first - layer.input_zero_points[0], second - layer.input_zero_points[1]
    factors = list(zip(layer.multipliers, layer.shifts, strict=True))
    match layer.kind:
        case "minimum":
            return min(a, b)
        case "maximum":
            return max(a, b)
        case "mul":
            value = requantize(a * b, *factors[0])
        case "prelu":
            value = requantize(a, *factors[0]) if a >= 0 else requantize(a * b, *factors[1])
        case _:
            sign = 1 if layer.kind == "add" else -1
            one = requantize(a << layer.left_shift, *factors[0])
            two = requantize(b << layer.left_shift, *factors[1])
            value = requantize(one + sign * two, *factors[2])
    low, high = layer.activation_min, layer.activation_max
    return clamp(value + layer.output_zero_point, low, high)
