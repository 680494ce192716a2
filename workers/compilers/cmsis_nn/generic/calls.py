"""Pools, sums, softmax and look-ups as calls."""

from __future__ import annotations

from dataclasses import replace

from workers.compilers.cmsis_nn.code import CONTEXT, Code, braces, constant, function
from workers.compilers.cmsis_nn.generic.matmul import dims
from workers.compilers.cmsis_nn.layers import (
    AddLayer,
    LutLayer,
    PoolLayer,
    ReshapeLayer,
    SoftmaxLayer,
)
from workers.compilers.cmsis_nn.special.layers import KernelCode


def pool(layer: PoolLayer, prefix: str) -> Code:
    """Return `layer` as a call of ``arm_avgpool_s8`` or ``arm_max_pool_s8``."""
    call = {"average": "arm_avgpool_s8", "max": "arm_max_pool_s8"}[layer.kind]
    clamp = braces(layer.activation_min, layer.activation_max)
    params = braces(braces(*reversed(layer.stride)), braces(*reversed(layer.padding[:2])), clamp)
    body = [
        CONTEXT,
        f"static const cmsis_nn_pool_params params = {params};",
        f"static const cmsis_nn_dims input = {dims(layer.input_shape)};",
        f"static const cmsis_nn_dims filter = {dims((1, *layer.window, 1))};",
        f"static const cmsis_nn_dims output = {dims(layer.output_shape)};",
        f"{call}(&ctx, &params, &input, in, &filter, &output, out);",
    ]
    source = function(prefix, body, used=("in", "out", "scratch"))
    code = Code(KernelCode(function=prefix, source=source, alignment=1), (f"{call}.c",))
    if layer.kind == "max":
        return code
    _, _, width, channels = layer.output_shape
    return replace(code, sizer=f"{call}_get_buffer_size{{core}}({width}, {channels})")


def add(layer: AddLayer, prefix: str) -> Code:
    """Return `layer` as a call of ``arm_elementwise_add_s8``."""
    arguments = [
        -layer.input_zero_points[0],
        layer.multipliers[0],
        layer.shifts[0],
        -layer.input_zero_points[1],
        layer.multipliers[1],
        layer.shifts[1],
        layer.left_shift,
        "out",
        layer.output_zero_point,
        layer.multipliers[2],
        layer.shifts[2],
        layer.activation_min,
        layer.activation_max,
        layer.size,
    ]
    body = [f"arm_elementwise_add_s8(in, in2, {', '.join(map(str, arguments))});"]
    source = function(prefix, body, inputs=2, used=("in", "in2", "out"))
    kernel = KernelCode(function=prefix, source=source, alignment=1, in_place=True)
    return Code(kernel, ("arm_elementwise_add_s8.c",))


def softmax(layer: SoftmaxLayer, prefix: str) -> Code:
    """Return `layer` as a call of ``arm_softmax_s8``."""
    arguments = (layer.rows, layer.size, layer.multiplier, layer.shift, layer.diff_min)
    body = [f"arm_softmax_s8(in, {', '.join(map(str, arguments))}, out);"]
    source = function(prefix, body, used=("in", "out"))
    kernel = KernelCode(function=prefix, source=source, alignment=1, in_place=True)
    return Code(kernel, ("arm_softmax_s8.c",))


def lut(layer: LutLayer, prefix: str) -> Code:
    """Return `layer` as a loop over a table."""
    body = [
        f"for (int32_t i = 0; i < {layer.size}; i++) out[i] = {prefix}_t[in[i] + 128];",
    ]
    source = function(prefix, body, used=("in", "out"))
    table = constant(f"{prefix}_t", layer.table)
    return Code(
        KernelCode(function=prefix, source=source, constants=(table,), alignment=1, in_place=True)
    )


def reshape(layer: ReshapeLayer, prefix: str) -> Code:
    """Return a plain copy."""
    source = function(prefix, [f"memmove(out, in, {layer.nbytes}u);"], used=("in", "out"))
    kernel = KernelCode(
        function=prefix,
        source=source,
        includes=("<stdint.h>", "<string.h>"),
        alignment=1,
        in_place=True,
    )
    return Code(kernel)
