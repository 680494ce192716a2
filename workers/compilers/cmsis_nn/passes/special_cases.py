"""Layers that are another, cheaper kind of layer in disguise; the sums are the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from workers.compilers.cmsis_nn.layers import AnyLayer, ConvLayer, DepthwiseLayer
from workers.compilers.cmsis_nn.program import Program


def special_cases(program: Program) -> Program:
    """Return `program` with such layers named for what they are."""
    steps = tuple(replace(step, layer=_rewritten(step.layer)) for step in program.steps)
    return replace(program, steps=steps)


def _rewritten(layer: AnyLayer) -> AnyLayer:
    match layer:
        case DepthwiseLayer() if layer.input_shape[3] == 1:
            # one input channel: every output channel reads it, a plain convolution
            weights = np.ascontiguousarray(layer.weights.transpose(3, 1, 2, 0))
            return _swap(layer, ConvLayer, weights)
        case ConvLayer() if layer.weights.shape[3] == 1 and layer.input_shape[3] > 1:
            # as many groups as input channels: depthwise
            weights = np.ascontiguousarray(layer.weights.transpose(3, 1, 2, 0))
            return _swap(layer, DepthwiseLayer, weights)
        case _:
            return layer


def _swap(
    layer: ConvLayer | DepthwiseLayer,
    kind: type[ConvLayer] | type[DepthwiseLayer],
    weights: np.ndarray[tuple[int, ...], np.dtype[np.int8]],
) -> AnyLayer:
    return kind(
        layer.input_shape,
        layer.output_shape,
        weights,
        layer.bias,
        layer.quant,
        layer.stride,
        layer.dilation,
        layer.padding,
    )
