"""Operators on two int8 tensors: ADD, SUB, MUL, MINIMUM, MAXIMUM, PRELU, with broadcasting."""

from __future__ import annotations

from math import prod
from typing import Literal

import numpy as np

from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn.arithmetic import quantize_multiplier
from workers.compilers.cmsis_nn.graph import Affine
from workers.compilers.cmsis_nn.layers import AddLayer, ElementwiseLayer
from workers.compilers.cmsis_nn.lower.context import Context, Refusal, affine, require_type
from workers.compilers.cmsis_nn.lower.matmul import clamp_of
from workers.compilers.cmsis_nn.options import AddOptions, MulOptions, SubOptions
from workers.compilers.cmsis_nn.strides import Shape, broadcast

_LEFT_SHIFT = 20


def _strides(context: Context) -> tuple[Shape, Shape]:
    context.arity(2)
    one, other, target = context.input(0).shape, context.input(1).shape, context.output().shape
    try:
        strides = broadcast(one, target), broadcast(other, target)
        size = prod(np.broadcast_shapes(one, other))
    except ValueError as error:
        raise Refusal(str(error)) from None
    if size != prod(target):
        raise Refusal(f"{one} and {other} become {target}")
    return strides


def _affines(context: Context) -> tuple[Affine, Affine, Affine]:
    tensors = (context.input(0), context.input(1), context.output())
    first, second, target = (affine(tensor, DType.INT8) for tensor in tensors)
    return first, second, target


def add(context: Context) -> None:
    """Lower ADD."""
    _sum(context, "add", context.options(AddOptions).fused_activation_function)


def sub(context: Context) -> None:
    """Lower SUB."""
    _sum(context, "sub", context.options(SubOptions).fused_activation_function)


def _sum(context: Context, kind: Literal["add", "sub"], activation: int) -> None:
    strides = _strides(context)
    first, second, target = _affines(context)
    twice = 2 * max(float(first.scale), float(second.scale))
    reals = (
        float(first.scale) / twice,
        float(second.scale) / twice,
        twice / ((1 << _LEFT_SHIFT) * float(target.scale)),
    )
    if reals[2] >= 1:
        raise Refusal("the output scale is too small for the inputs' scales")
    (m1, s1), (m2, s2), (m3, s3) = (quantize_multiplier(real) for real in reals)
    low, high = clamp_of(activation, context.output(), target)
    zeros = (first.zero_point, second.zero_point)
    shape = context.output().shape
    factors = (m1, m2, m3), (s1, s2, s3)
    arithmetic = (zeros, target.zero_point, *factors, _LEFT_SHIFT, low, high)
    layer: AddLayer | ElementwiseLayer = ElementwiseLayer(kind, shape, strides, *arithmetic)
    if kind == "add" and context.input(0).shape == context.input(1).shape:
        layer = AddLayer(prod(shape), *arithmetic)
    context.add(layer, context.operator.inputs, context.operator.outputs)


def mul(context: Context) -> None:
    """Lower MUL."""
    strides = _strides(context)
    options = context.options(MulOptions)
    first, second, target = _affines(context)
    real = float(first.scale) * float(second.scale) / float(target.scale)
    multiplier, shift = quantize_multiplier(real)
    low, high = clamp_of(options.fused_activation_function, context.output(), target)
    layer = ElementwiseLayer(
        "mul",
        context.output().shape,
        strides,
        (first.zero_point, second.zero_point),
        target.zero_point,
        (multiplier,),
        (shift,),
        activation_min=low,
        activation_max=high,
    )
    context.add(layer, context.operator.inputs, context.operator.outputs)


def minimum(context: Context) -> None:
    """Lower MINIMUM."""
    _compare(context, "minimum")


def maximum(context: Context) -> None:
    """Lower MAXIMUM."""
    _compare(context, "maximum")


def _compare(context: Context, kind: Literal["minimum", "maximum"]) -> None:
    strides = _strides(context)
    scales = {(a.scale, a.zero_point) for a in _affines(context)}
    if len(scales) != 1:
        raise Refusal("tensors of different quantisation")
    layer = ElementwiseLayer(kind, context.output().shape, strides)
    context.add(layer, context.operator.inputs, context.operator.outputs)


def prelu(context: Context) -> None:
    """Lower PRELU."""
    strides = _strides(context)
    source, alpha, target = _affines(context)
    require_type(context.input(1), DType.INT8)
    positive = quantize_multiplier(float(source.scale) / float(target.scale))
    negative = quantize_multiplier(float(source.scale) * float(alpha.scale) / float(target.scale))
    layer = ElementwiseLayer(
        "prelu",
        context.output().shape,
        strides,
        (source.zero_point, alpha.zero_point),
        target.zero_point,
        (positive[0], negative[0]),
        (positive[1], negative[1]),
    )
    context.add(layer, context.operator.inputs, context.operator.outputs)
