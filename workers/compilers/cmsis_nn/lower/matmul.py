"""Layers with weights: convolutions of all kinds and FULLY_CONNECTED (int8, per channel)."""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn import quantise
from workers.compilers.cmsis_nn.graph import Affine, Tensor
from workers.compilers.cmsis_nn.layers import (
    ConvLayer,
    DenseLayer,
    DepthwiseLayer,
    Requantisation,
    TransposeConvLayer,
)
from workers.compilers.cmsis_nn.lower.context import Context, Refusal, affine, shape4
from workers.compilers.cmsis_nn.lower.windows import Window
from workers.compilers.cmsis_nn.options import (
    Conv2DOptions,
    DepthwiseConv2DOptions,
    FullyConnectedOptions,
    TransposeConvOptions,
)


def conv(context: Context) -> None:
    """Lower CONV_2D: int8 weights OHWI, grouped where the weights' I divides the input's C."""
    context.arity((2, 3))
    options = context.options(Conv2DOptions)
    source, target = shape4(context.input()), shape4(context.output())
    weights = _weights(context, 4)
    channels, _, _, depth = weights.shape
    groups = source[3] // max(depth, 1)
    if groups * depth != source[3] or channels % max(groups, 1) or target[3] != channels:
        raise Refusal(f"weights {weights.shape} for {source[3]} → {target[3]} channels")
    _windowed(context, ConvLayer, options, weights, axis=0)


def depthwise(context: Context) -> None:
    """Lower DEPTHWISE_CONV_2D: int8 weights [1, H, W, C × M]."""
    context.arity((2, 3))
    options = context.options(DepthwiseConv2DOptions)
    source, target = shape4(context.input()), shape4(context.output())
    weights = _weights(context, 4)
    one, _, _, channels = weights.shape
    if one != 1 or channels != target[3] or channels != source[3] * options.depth_multiplier:
        raise Refusal(
            f"weights {weights.shape} with depth multiplier {options.depth_multiplier} "
            f"for {source[3]} → {target[3]} channels"
        )
    _windowed(context, DepthwiseLayer, options, weights, axis=3)


def _windowed(
    context: Context,
    kind: type[ConvLayer] | type[DepthwiseLayer],
    options: Conv2DOptions | DepthwiseConv2DOptions,
    weights: NDArray[np.int8],
    axis: int,
) -> None:
    """Add a layer whose `weights` have rows and columns in the middle, channels along `axis`."""
    source, target = shape4(context.input()), shape4(context.output())
    _same_batch(source, target)
    stride = (options.stride_h, options.stride_w)
    dilation = (options.dilation_h_factor, options.dilation_w_factor)
    window = Window((weights.shape[1], weights.shape[2]), stride, options.padding, dilation)
    padding, channels = window.padding(source, target), weights.shape[axis]
    quant = _requantisation(context, options.fused_activation_function, channels, axis)
    bias = _bias(context, channels)
    layer = kind(source, target, weights, bias, quant, stride, dilation, padding)
    context.add(layer, context.operator.inputs[:1], context.operator.outputs)


def dense(context: Context) -> None:
    """Lower FULLY_CONNECTED: weights [O, I], per tensor or per output channel."""
    context.arity((2, 3))
    options = context.options(FullyConnectedOptions)
    if options.weights_format != 0:
        raise Refusal(f"weights in format {options.weights_format}")
    weights = _weights(context, 2)
    channels, depth = weights.shape
    total = prod(context.input().shape)
    if not depth or total % depth or prod(context.output().shape) != total // depth * channels:
        raise Refusal(
            f"weights {weights.shape} for {context.input().shape} → {context.output().shape}"
        )
    activation = options.fused_activation_function
    quant = _requantisation(context, activation, channels, axis=0, whole=True)
    layer = DenseLayer(total // depth, weights, _bias(context, channels), quant)
    context.add(layer, context.operator.inputs[:1], context.operator.outputs)


def transpose_conv(context: Context) -> None:
    """Lower TRANSPOSE_CONV: inputs are output shape, weights OHWI, data, bias."""
    context.arity((3, 4))
    options = context.options(TransposeConvOptions)
    source, target = shape4(context.input(2)), shape4(context.output())
    weights = _weights(context, 4)
    channels, height, width, depth = weights.shape
    if (depth, channels) != (source[3], target[3]):
        raise Refusal(f"weights {weights.shape} for {source[3]} → {target[3]} channels")
    _same_batch(source, target)
    stride = (options.stride_h, options.stride_w)
    # seen from the output it is a convolution that gives the input
    window = Window((height, width), stride, options.padding)
    top, left, _, _ = window.padding(target, source)
    quant = _requantisation(context, options.fused_activation_function, channels, 0, data=2)
    bias = _bias(context, channels, 3)
    layer = TransposeConvLayer(source, target, weights, bias, quant, stride, (top, left))
    context.add(layer, context.operator.inputs[2:3], context.operator.outputs)


def _same_batch(source: tuple[int, ...], target: tuple[int, ...]) -> None:
    if source[0] != target[0]:
        raise Refusal(f"batch {source[0]} becomes {target[0]}")


def _weights(context: Context, rank: int) -> NDArray[np.int8]:
    weights = context.constant(1, "weights", DType.INT8)
    if weights.ndim != rank or not weights.size:
        raise Refusal(f"weights of shape {weights.shape}")
    return np.ascontiguousarray(weights, np.int8)


def _bias(context: Context, channels: int, position: int = 2) -> NDArray[np.int32]:
    if not context.has_input(position):
        return np.zeros(channels, np.int32)
    bias = context.constant(position, "bias", DType.INT32)
    if bias.size != channels:
        raise Refusal(f"{bias.size} biases for {channels} channels")
    return np.asarray(bias, np.int32).reshape(-1)


def _requantisation(
    context: Context,
    activation: int,
    channels: int,
    axis: int,
    *,
    whole: bool = False,
    data: int = 0,
) -> Requantisation:
    source = affine(context.input(data), DType.INT8)
    target = affine(context.output(), DType.INT8)
    weights = _weight_affine(context.input(1), channels, axis)
    if whole and len(weights.scales) == 1:
        reals = [quantise.dense_scale(source, weights, target)]
    else:
        reals = quantise.conv_scales(source, weights, target, channels)
    multipliers, shifts = quantise.multipliers(reals)
    low, high = clamp_of(activation, context.output(), target)
    return Requantisation(source.zero_point, target.zero_point, multipliers, shifts, low, high)


def clamp_of(activation: int, tensor: Tensor, target: Affine) -> tuple[int, int]:
    """Return the output clamp of a fused activation, or refuse it."""
    assert tensor.dtype is not None  # noqa: S101 - for the type checker
    try:
        return quantise.activation_range(activation, target, tensor.dtype)
    except ValueError as error:
        raise Refusal(str(error)) from None


def _weight_affine(tensor: Tensor, channels: int, axis: int) -> Affine:
    found = tensor.affine
    if found is None:
        raise Refusal("weights without quantisation")
    if len(found.scales) != 1 and (len(found.scales) != channels or found.axis != axis):
        raise Refusal(f"{len(found.scales)} weight scales along axis {found.axis}")
    if not np.all(np.isfinite(found.scales)) or np.any(found.scales < 0):
        raise Refusal("weight scales that are negative or not finite")
    if np.any(found.zero_points):
        raise Refusal("weights with a zero point other than 0")
    return found
