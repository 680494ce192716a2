"""Operators on one tensor, element by element: tables for int8, loops where a type changes."""

from __future__ import annotations

from math import isfinite, prod

from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn import luts
from workers.compilers.cmsis_nn.arithmetic import quantize_multiplier
from workers.compilers.cmsis_nn.layers import (
    DequantizeLayer,
    LutLayer,
    QuantizeLayer,
    RequantizeLayer,
)
from workers.compilers.cmsis_nn.lower.context import Context, Refusal, affine, require_type
from workers.compilers.cmsis_nn.options import LeakyReluOptions

_INTEGERS = (DType.INT8, DType.INT16)


def _size(context: Context) -> int:
    context.arity(1)
    source, target = context.input(), context.output()
    if source.shape != target.shape:
        raise Refusal(f"{source.shape} becomes {target.shape}")
    return prod(source.shape)


def _table(context: Context, size: int, table: luts.Table) -> None:
    context.add(LutLayer(size, table), context.operator.inputs, context.operator.outputs)


def relu(context: Context) -> None:
    """Lower RELU."""
    size = _size(context)
    source, target = affine(context.input(), DType.INT8), affine(context.output(), DType.INT8)
    _table(context, size, luts.relu(source, target))


def relu6(context: Context) -> None:
    """Lower RELU6."""
    size = _size(context)
    source, target = affine(context.input(), DType.INT8), affine(context.output(), DType.INT8)
    if (source.scale, source.zero_point) != (target.scale, target.zero_point):
        raise Refusal("input and output of different quantisation")
    _table(context, size, luts.relu6(source))


def leaky_relu(context: Context) -> None:
    """Lower LEAKY_RELU."""
    size = _size(context)
    alpha = context.options(LeakyReluOptions).alpha
    if not isfinite(alpha):
        raise Refusal(f"alpha {alpha}")
    source, target = affine(context.input(), DType.INT8), affine(context.output(), DType.INT8)
    _table(context, size, luts.leaky_relu(source, target, alpha))


def logistic(context: Context) -> None:
    """Lower LOGISTIC."""
    size = _size(context)
    source, target = affine(context.input(), DType.INT8), affine(context.output(), DType.INT8)
    if target.zero_point != -128:
        raise Refusal(f"output zero point {target.zero_point}")
    _check_fixed_point(float(source.scale))
    _table(context, size, luts.logistic(source))


def tanh(context: Context) -> None:
    """Lower TANH."""
    size = _size(context)
    source, target = affine(context.input(), DType.INT8), affine(context.output(), DType.INT8)
    if target.zero_point != 0:
        raise Refusal(f"output zero point {target.zero_point}")
    _check_fixed_point(float(source.scale))
    _table(context, size, luts.tanh(source))


def _check_fixed_point(scale: float) -> None:
    if not 2.0**-27 <= scale < 16:
        raise Refusal(f"input scale {scale:g}")


def hard_swish(context: Context) -> None:
    """Lower HARD_SWISH."""
    size = _size(context)
    source, target = affine(context.input(), DType.INT8), affine(context.output(), DType.INT8)
    try:
        _table(context, size, luts.hard_swish(source, target))
    except ValueError as error:
        raise Refusal(str(error)) from None


def quantize(context: Context) -> None:
    """Lower QUANTIZE from float32, or from integers of another scale."""
    size = _size(context)
    given = context.input()
    target = affine(context.output(), *_INTEGERS)
    kind = context.output().dtype
    assert kind is not None  # noqa: S101 - for the type checker
    inputs, outputs = context.operator.inputs, context.operator.outputs
    if given.dtype is DType.FLOAT32:
        layer = QuantizeLayer(size, float(target.scale), target.zero_point, kind)
        context.add(layer, inputs, outputs)
        return
    source = affine(given, DType.INT8, DType.INT16, DType.INT32)
    if given.dtype is kind is DType.INT8:
        _table(context, size, luts.requantisation(source, target))
        return
    factor = quantize_multiplier(float(source.scale) / float(target.scale))
    assert given.dtype is not None  # noqa: S101 - for the type checker
    context.add(
        RequantizeLayer(size, given.dtype, kind, source.zero_point, target.zero_point, *factor),
        inputs,
        outputs,
    )


def dequantize(context: Context) -> None:
    """Lower DEQUANTIZE to float32."""
    size = _size(context)
    source = affine(context.input(), *_INTEGERS)
    require_type(context.output(), DType.FLOAT32)
    kind = context.input().dtype
    assert kind is not None  # noqa: S101 - for the type checker
    layer = DequantizeLayer(size, float(source.scale), source.zero_point, kind)
    context.add(layer, context.operator.inputs, context.operator.outputs)
