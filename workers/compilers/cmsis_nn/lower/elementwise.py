"""ADD of two int8 tensors."""

from __future__ import annotations

from math import prod

from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn.arithmetic import quantize_multiplier
from workers.compilers.cmsis_nn.layers import AddLayer
from workers.compilers.cmsis_nn.lower.context import Context, Refusal, affine
from workers.compilers.cmsis_nn.lower.matmul import clamp_of
from workers.compilers.cmsis_nn.options import AddOptions

_LEFT_SHIFT = 20


def add(context: Context) -> None:
    """Lower ADD of tensors of one shape."""
    context.arity(2)
    options = context.options(AddOptions)
    one, two, out = context.input(0), context.input(1), context.output()
    first, second, target = (affine(tensor, DType.INT8) for tensor in (one, two, out))
    if one.shape != two.shape:
        raise Refusal("inputs of different shapes")
    twice = 2 * max(float(first.scale), float(second.scale))
    reals = (
        float(first.scale) / twice,
        float(second.scale) / twice,
        twice / ((1 << _LEFT_SHIFT) * float(target.scale)),
    )
    if reals[2] >= 1:
        raise Refusal("the output scale is too small for the inputs' scales")
    pairs = [quantize_multiplier(real) for real in reals]
    low, high = clamp_of(options.fused_activation_function, out, target)
    layer = AddLayer(
        prod(out.shape),
        (first.zero_point, second.zero_point),
        target.zero_point,
        (pairs[0][0], pairs[1][0], pairs[2][0]),
        (pairs[0][1], pairs[1][1], pairs[2][1]),
        _LEFT_SHIFT,
        low,
        high,
    )
    context.add(layer, context.operator.inputs, context.operator.outputs)
