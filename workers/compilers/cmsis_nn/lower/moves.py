"""Operators that move data without changing a value: RESHAPE and its like."""

from __future__ import annotations

from math import prod

from workers.compilers.cmsis_nn.layers import ReshapeLayer
from workers.compilers.cmsis_nn.lower.context import Context, Refusal


def reshape(context: Context) -> None:
    """Lower RESHAPE, SQUEEZE and EXPAND_DIMS: the output's static shape says it all."""
    context.arity((1, 2))
    source, target = context.input(), context.output()
    if source.dtype is None or source.dtype != target.dtype:
        raise Refusal(f"{source.type_name} becomes {target.type_name}")
    if prod(source.shape) != prod(target.shape):
        raise Refusal(f"{source.shape} becomes {target.shape}")
    layer = ReshapeLayer(prod(source.shape) * source.dtype.itemsize)
    context.add(layer, context.operator.inputs[:1], context.operator.outputs)
