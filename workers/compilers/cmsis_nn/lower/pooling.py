"""AVERAGE_POOL_2D, MAX_POOL_2D and SOFTMAX."""

from __future__ import annotations

from math import prod
from typing import Literal

from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn import quantise
from workers.compilers.cmsis_nn.layers import PoolLayer, SoftmaxLayer
from workers.compilers.cmsis_nn.lower.context import Context, Refusal, affine, shape4
from workers.compilers.cmsis_nn.lower.matmul import clamp_of
from workers.compilers.cmsis_nn.lower.windows import Window
from workers.compilers.cmsis_nn.options import Pool2DOptions, SoftmaxOptions

_MOST_CLASSES = 4095


def average_pool(context: Context) -> None:
    """Lower AVERAGE_POOL_2D."""
    _pool(context, "average")


def max_pool(context: Context) -> None:
    """Lower MAX_POOL_2D."""
    _pool(context, "max")


def _pool(context: Context, kind: Literal["average", "max"]) -> None:
    context.arity(1)
    options = context.options(Pool2DOptions)
    source, target = shape4(context.input()), shape4(context.output())
    if (source[0], source[3]) != (target[0], target[3]):
        raise Refusal(f"{source} becomes {target}")
    affine(context.input(), DType.INT8)
    size = (options.filter_height, options.filter_width)
    window = Window(size, (options.stride_h, options.stride_w), options.padding)
    padding = window.padding(source, target)
    output = affine(context.output(), DType.INT8)
    low, high = clamp_of(options.fused_activation_function, context.output(), output)
    layer = PoolLayer(kind, source, target, size, window.stride, padding, low, high)
    context.add(layer, context.operator.inputs, context.operator.outputs)


def softmax(context: Context) -> None:
    """Lower SOFTMAX: int8 in, int8 out with scale 1/256 and zero point −128."""
    context.arity(1)
    options = context.options(SoftmaxOptions)
    source, target = context.input(), context.output()
    scale = float(affine(source, DType.INT8).scale)
    output = affine(target, DType.INT8)
    if output.zero_point != -128 or float(output.scale) != 1 / 256:
        raise Refusal(f"output scale {output.scale}, zero point {output.zero_point}")
    if source.shape != target.shape or not source.shape:
        raise Refusal(f"{source.shape} becomes {target.shape}")
    if not options.beta * scale * (1 << 26) > 1:  # not so for NaN either
        raise Refusal(f"input scale {scale:g} with beta {options.beta:g} is too small")
    size = source.shape[-1]
    if not 1 <= size <= _MOST_CLASSES:
        raise Refusal(f"rows of {size} elements: the sum has 12 integer bits")
    layer = SoftmaxLayer(
        prod(source.shape) // size, size, *quantise.softmax_parameters(options.beta, scale)
    )
    context.add(layer, context.operator.inputs, context.operator.outputs)
