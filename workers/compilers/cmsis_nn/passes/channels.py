"""What is known of a value's channels (its last dimension): which hold one constant everywhere.

A channel is constant where every weight that reads something unknown is zero. At padded borders
a convolution sees the zero point instead of the constant, so a constant other than the zero
point spreads only where the result is the same at every position.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.compilers.cmsis_nn.arithmetic import clamp, requantize, wrap32
from workers.compilers.cmsis_nn.layers import (
    AddLayer,
    ConvLayer,
    DenseLayer,
    DepthwiseLayer,
    LutLayer,
    PoolLayer,
    Requantisation,
    ReshapeLayer,
)
from workers.compilers.cmsis_nn.program import Program, Step

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Channels:
    """`known` marks constant channels, `value` is what they hold (0 where unknown)."""

    known: Mask
    value: Ints

    @staticmethod
    def unknown(count: int) -> Channels:
        """Return `count` channels of which nothing is known."""
        return Channels(np.zeros(count, np.bool_), np.zeros(count, np.int64))


def requantise(sums: Ints, quant: Requantisation) -> Ints:
    """Return the int8 output of accumulators `sums`, whose last dimension is the channel."""
    channels = sums.shape[-1]
    multipliers = np.broadcast_to(quant.multipliers, channels)
    shifts = np.broadcast_to(quant.shifts, channels)
    flat = sums.reshape(-1, channels)
    out = np.empty_like(flat)
    for row in range(flat.shape[0]):
        for c in range(channels):
            scaled = requantize(wrap32(int(flat[row, c])), int(multipliers[c]), int(shifts[c]))
            value = scaled + quant.output_zero_point
            out[row, c] = clamp(value, quant.activation_min, quant.activation_max)
    return out.reshape(sums.shape)


def foldable(source: Channels, quant: Requantisation, *, padded: bool) -> Mask:
    """Return which input channels contribute the same to every output position."""
    if not padded:
        return source.known
    mask: Mask = source.known & (source.value == quant.input_zero_point)
    return mask


def contribution(
    weights: NDArray[np.int8], source: Channels, which: Mask, quant: Requantisation
) -> Ints:
    """Return what input channels `which` add to each output channel's accumulator.

    `weights` are [O, …, I].
    """
    steps = np.where(which, source.value - quant.input_zero_point, 0)
    total: Ints = (weights.astype(np.int64) * steps).reshape(len(weights), -1).sum(axis=1)
    return total


def grouped(layer: ConvLayer) -> bool:
    """Return whether the convolution's outputs read only a part of its input channels."""
    return layer.weights.shape[3] != layer.input_shape[3]


def border_sums(layer: DepthwiseLayer) -> Ints:
    """Return the sum of the weights inside the image, for each output position and channel."""
    _, height, width, channels = layer.weights.shape
    out_h, out_w = layer.output_shape[1:3]
    sums = np.zeros((out_h, out_w, channels), np.int64)
    for ky in range(height):
        y = np.arange(out_h) * layer.stride[0] - layer.padding[0] + ky * layer.dilation[0]
        inside_y = (y >= 0) & (y < layer.input_shape[1])
        for kx in range(width):
            x = np.arange(out_w) * layer.stride[1] - layer.padding[1] + kx * layer.dilation[1]
            inside = inside_y[:, None] & ((x >= 0) & (x < layer.input_shape[2]))[None, :]
            sums += inside[..., None] * layer.weights[0, ky, kx].astype(np.int64)
    return sums


def analyse(program: Program) -> dict[int, Channels]:
    """Return what is known of the channels of every value that a step writes."""
    found: dict[int, Channels] = {}
    for step in program.steps:
        sources = [_of(program, found, number) for number in step.inputs]
        known = _forward(step, sources, program)
        for number in step.outputs:
            found[number] = known or Channels.unknown(_count(program, number))
    return found


def _count(program: Program, number: int) -> int:
    return program.values[number].shape[-1] if program.values[number].shape else 1


def _of(program: Program, found: dict[int, Channels], number: int) -> Channels:
    return found.get(number) or Channels.unknown(_count(program, number))


def _forward(  # noqa: PLR0911 - one case a layer
    step: Step, sources: list[Channels], program: Program
) -> Channels | None:
    layer = step.layer
    match layer:
        case ConvLayer() if not grouped(layer):
            return _matmul(layer, sources[0], padded=any(layer.padding))
        case DenseLayer() if layer.weights.shape[1] == len(sources[0].known):
            return _matmul(layer, sources[0], padded=False)
        case DepthwiseLayer():
            return _depthwise(layer, sources[0])
        case AddLayer():
            return _add(layer, sources)
        case PoolLayer():
            held = np.clip(sources[0].value, layer.activation_min, layer.activation_max)
            return Channels(sources[0].known, np.where(sources[0].known, held, 0))
        case LutLayer():
            held = layer.table[sources[0].value + 128].astype(np.int64)
            return Channels(sources[0].known, np.where(sources[0].known, held, 0))
        case ReshapeLayer():
            count = _count(program, step.outputs[0])
            tiles = tiling(program, step)
            if tiles:
                known, held = sources[0].known, sources[0].value
                return Channels(np.tile(known, tiles), np.tile(held, tiles))
            return Channels.unknown(count)
        case _:
            return None


def tiling(program: Program, step: Step) -> int:
    """Return how often a reshape repeats the input's channels in its last dimension, or 0."""
    source = program.values[step.inputs[0]].shape or (1,)
    target = program.values[step.outputs[0]].shape or (1,)
    repeats, rest = divmod(target[-1], source[-1])
    return 0 if rest else repeats


def _matmul(layer: ConvLayer | DenseLayer, source: Channels, *, padded: bool) -> Channels:
    fold = foldable(source, layer.quant, padded=padded)
    channels = len(layer.weights)
    live = (np.where(fold, 0, layer.weights) != 0).reshape(channels, -1).any(axis=1)
    sums = layer.bias.astype(np.int64) + contribution(layer.weights, source, fold, layer.quant)
    return Channels(~live, np.where(live, 0, requantise(sums, layer.quant)))


def _depthwise(layer: DepthwiseLayer, source: Channels) -> Channels:
    multiplier = layer.output_shape[3] // layer.input_shape[3]
    known = np.repeat(source.known, multiplier) | ~layer.weights.any(axis=(0, 1, 2))
    steps = np.repeat(source.value, multiplier) - layer.quant.input_zero_point
    sums = border_sums(layer)
    candidates = np.unique(sums.reshape(-1, sums.shape[-1]), axis=0)
    held = requantise(layer.bias + candidates * np.where(known, steps, 0), layer.quant)
    same = (held == held[0]).all(axis=0) & known
    return Channels(same, np.where(same, held[0], 0))


def _add(layer: AddLayer, sources: list[Channels]) -> Channels:
    known = sources[0].known & sources[1].known
    held = np.zeros(len(known), np.int64)
    for c in np.flatnonzero(known):
        parts = [
            requantize(
                (int(source.value[c]) - zero) << layer.left_shift,
                layer.multipliers[i],
                layer.shifts[i],
            )
            for i, (source, zero) in enumerate(zip(sources, layer.input_zero_points, strict=True))
        ]
        value = requantize(sum(parts), layer.multipliers[2], layer.shifts[2])
        held[c] = clamp(value + layer.output_zero_point, layer.activation_min, layer.activation_max)
    return Channels(known, held)
