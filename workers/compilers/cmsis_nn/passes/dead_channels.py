"""Drop channels that need not be computed: constant ones, and those that no one reads.

A constant channel goes into the bias of the layer that reads it, exactly. Where a reader cannot
take it (padding sees the zero point instead, softmax, an output of the model) it stays.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workers.compilers.cmsis_nn.arithmetic import wrap32
from workers.compilers.cmsis_nn.layers import (
    AddLayer,
    AnyLayer,
    ConvLayer,
    DenseLayer,
    DepthwiseLayer,
    LutLayer,
    PoolLayer,
    Requantisation,
    ReshapeLayer,
)
from workers.compilers.cmsis_nn.passes.channels import (
    Channels,
    Mask,
    analyse,
    contribution,
    foldable,
    grouped,
    tiling,
)
from workers.compilers.cmsis_nn.program import Program, Step, Value


def drop_dead_channels(program: Program) -> Program:
    """Return the same computation without the channels that are not needed."""
    known = analyse(program)
    keep = _needed(program, known)
    if all(mask.all() for mask in keep.values()):
        return program
    values = {n: _slice_value(v, keep.get(n)) for n, v in program.values.items()}
    steps = tuple(replace(step, layer=_slice(step, program, known, keep)) for step in program.steps)
    return replace(program, values=values, steps=steps)


def _needed(program: Program, known: dict[int, Channels]) -> dict[int, Mask]:
    """Return for each value which channels must exist."""
    need: dict[int, Mask] = {}
    for number, value in program.values.items():
        fixed = number in program.inputs or number in program.outputs or value.persistent
        need[number] = np.full(value.shape[-1] if value.shape else 1, fixed)
    before = -1
    while (now := sum(int(mask.sum()) for mask in need.values())) != before:
        before = now
        for step in reversed(program.steps):
            for number in step.outputs:
                if not need[number].any():
                    need[number][0] = True  # no tensor without elements
            _read(step, program, known, need)
    return need


def _read(step: Step, program: Program, known: dict[int, Channels], need: dict[int, Mask]) -> None:
    """Mark what `step` needs of its inputs, given what is needed of its output.

    Layers that work channel by channel need the same of both, so marks spread both ways.
    """
    layer, keep = step.layer, need[step.outputs[0]]
    match layer:
        case ConvLayer() | DenseLayer() if _sliceable(layer, len(need[step.inputs[0]])):
            number = step.inputs[0]
            fold = _folded(layer, known.get(number), len(need[number]))
            weights = layer.weights[keep].reshape(-1, len(fold))
            need[number] |= (np.where(fold, 0, weights) != 0).any(axis=0)
        case DepthwiseLayer():
            multiplier = layer.output_shape[3] // layer.input_shape[3]
            groups = need[step.inputs[0]]
            groups |= keep.reshape(-1, multiplier).any(axis=1)
            keep[:] = np.repeat(groups, multiplier)
        case AddLayer() | PoolLayer() | LutLayer():
            for number in step.inputs:
                keep |= need[number]
            for number in step.inputs:
                need[number] |= keep
        case ReshapeLayer() if tiling(program, step):
            # a channel is one place in every tile: all of them stay or none
            tiles = tiling(program, step)
            merged = need[step.inputs[0]]
            merged |= keep.reshape(tiles, -1).any(axis=0)
            keep[:] = np.tile(merged, tiles)
        case _:
            for number in (*step.inputs, *step.outputs):
                need[number][:] = True


def _sliceable(layer: ConvLayer | DenseLayer, channels: int) -> bool:
    if isinstance(layer, ConvLayer):
        return not grouped(layer)
    return layer.weights.shape[1] == channels


def _folded(layer: ConvLayer | DenseLayer, source: Channels | None, channels: int) -> Mask:
    padded = isinstance(layer, ConvLayer) and any(layer.padding)
    return foldable(source or Channels.unknown(channels), layer.quant, padded=padded)


def _slice_value(value: Value, keep: Mask | None) -> Value:
    if keep is None or keep.all():
        return value
    data = None if value.data is None else np.ascontiguousarray(value.data[..., keep])
    shape, left = (*value.shape[:-1], int(keep.sum())), tuple(np.flatnonzero(keep).tolist())
    return replace(value, shape=shape, data=data, channels=left)


def _slice(  # noqa: PLR0911 - one case a layer
    step: Step, program: Program, known: dict[int, Channels], keep: dict[int, Mask]
) -> AnyLayer:
    layer, out = step.layer, keep[step.outputs[0]]
    source = keep[step.inputs[0]] if step.inputs else out
    if out.all() and source.all():
        return layer
    count = int(out.sum())
    match layer:
        case ConvLayer():
            bias = _bias(layer, known.get(step.inputs[0]), source)[out]
            return replace(
                layer,
                input_shape=(*layer.input_shape[:3], int(source.sum())),
                output_shape=(*layer.output_shape[:3], count),
                weights=np.ascontiguousarray(layer.weights[out][..., source]),
                bias=bias,
                quant=_quant(layer.quant, out),
            )
        case DenseLayer():
            bias = _bias(layer, known.get(step.inputs[0]), source)[out]
            weights = np.ascontiguousarray(layer.weights[out][:, source])
            return replace(layer, weights=weights, bias=bias, quant=_quant(layer.quant, out))
        case DepthwiseLayer():
            return replace(
                layer,
                input_shape=(*layer.input_shape[:3], int(source.sum())),
                output_shape=(*layer.output_shape[:3], count),
                weights=np.ascontiguousarray(layer.weights[..., out]),
                bias=layer.bias[out],
                quant=_quant(layer.quant, out),
            )
        case PoolLayer():
            return replace(
                layer,
                input_shape=(*layer.input_shape[:3], count),
                output_shape=(*layer.output_shape[:3], count),
            )
        case AddLayer() | LutLayer():
            return replace(layer, size=layer.size // len(out) * count)
        case ReshapeLayer():
            return replace(layer, nbytes=layer.nbytes // len(out) * count)
        case _:
            return layer


def _bias(layer: ConvLayer | DenseLayer, source: Channels | None, keep: Mask) -> NDArray[np.int32]:
    """Return the bias with the dropped input channels' constant contribution added."""
    found = source or Channels.unknown(len(keep))
    sums = layer.bias + contribution(layer.weights, found, found.known & ~keep, layer.quant)
    return np.array([wrap32(int(s)) for s in sums], np.int32)


def _quant(quant: Requantisation, keep: Mask) -> Requantisation:
    if len(quant.multipliers) == 1:
        return quant
    return replace(quant, multipliers=quant.multipliers[keep], shifts=quant.shifts[keep])
