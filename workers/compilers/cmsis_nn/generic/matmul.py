"""Convolution, depthwise and fully connected layers as CMSIS-NN calls."""

from __future__ import annotations

from dataclasses import replace

from workers.compilers.cmsis_nn.code import CONTEXT, Code, braces, constant, function
from workers.compilers.cmsis_nn.layers import (
    ConvLayer,
    DenseLayer,
    DepthwiseLayer,
    TransposeConvLayer,
)
from workers.compilers.cmsis_nn.special.layers import Constant, KernelCode, Requantisation

_CHANNEL_CALL = (
    "{call}(&ctx, &params, &quant, &input, in, &filter, {prefix}_w, &bias, {prefix}_b, "
    "&output, out);"
)


def dims(shape: tuple[int, ...]) -> str:
    """Return a ``cmsis_nn_dims`` initialiser of an NHWC shape."""
    return braces(*shape)


def conv(layer: ConvLayer, prefix: str) -> Code:
    """Return `layer` as a call of ``arm_convolve_wrapper_s8``."""
    params = [braces(*reversed(layer.stride)), braces(*reversed(layer.padding[:2]))]
    params.append(braces(*reversed(layer.dilation)))
    q = layer.quant
    head = [-q.input_zero_point, q.output_zero_point]
    return _windowed(layer, prefix, "arm_convolve_wrapper_s8", "conv", [*head, *params])


def depthwise(layer: DepthwiseLayer, prefix: str) -> Code:
    """Return `layer` as a call of ``arm_depthwise_conv_wrapper_s8``."""
    params = [braces(*reversed(layer.stride)), braces(*reversed(layer.padding[:2]))]
    params.append(braces(*reversed(layer.dilation)))
    q = layer.quant
    multiplier = layer.output_shape[3] // layer.input_shape[3]
    head = [-q.input_zero_point, q.output_zero_point, multiplier]
    return _windowed(layer, prefix, "arm_depthwise_conv_wrapper_s8", "dw_conv", [*head, *params])


def transpose_conv(layer: TransposeConvLayer, prefix: str) -> Code:
    """Return `layer` as a call of a kernel of our own, which needs no buffers."""
    q = layer.quant
    sizes = (*layer.input_shape, *layer.output_shape[1:], *layer.weights.shape[1:3])
    numbers = (*sizes, *layer.stride, *layer.padding, q.input_zero_point, q.output_zero_point)
    params = braces(*numbers, q.activation_min, q.activation_max)
    call = "nn_transpose_conv_s8"
    names = ", ".join(f"{prefix}_{kind}" for kind in "wbms")
    body = [
        f"static const nn_transpose_conv params = {params};",
        f"{call}(&params, {names}, in, out);",
    ]
    return _code(layer, prefix, body, call, layer.output_shape[3], used=("in", "out"))


def _windowed(
    layer: ConvLayer | DepthwiseLayer,
    prefix: str,
    call: str,
    kind: str,
    params: list[object],
) -> Code:
    channels = layer.output_shape[3]
    params.append(_clamp(layer.quant))
    declarations = [
        f"static const cmsis_nn_{kind}_params params = {braces(*params)};",
        "static const cmsis_nn_per_channel_quant_params quant = "
        f"{{(int32_t *){prefix}_m, (int32_t *){prefix}_s}};",
        f"static const cmsis_nn_dims input = {dims(layer.input_shape)};",
        f"static const cmsis_nn_dims filter = {dims(layer.weights.shape)};",
        f"static const cmsis_nn_dims bias = {dims((1, 1, 1, channels))};",
        f"static const cmsis_nn_dims output = {dims(layer.output_shape)};",
    ]
    body = [CONTEXT, *declarations, _CHANNEL_CALL.format(call=call, prefix=prefix)]
    code = _code(layer, prefix, body, call, channels)
    sizer = f"{call}_get_buffer_size{{core}}(&params, &input, &filter, &output)"
    return replace(code, declarations=_for_size(declarations), sizer=sizer)


def _for_size(declarations: list[str]) -> tuple[str, ...]:
    """Return what a buffer size depends on: the shapes and parameters, not the data."""
    return tuple(line for line in declarations if "_quant_params" not in line)


def dense(layer: DenseLayer, prefix: str) -> Code:
    """Return `layer` as a call of ``arm_fully_connected_s8`` or its per-channel sister."""
    channels, depth = layer.weights.shape
    quant = layer.quant
    per_channel = len(quant.multipliers) > 1
    call = "arm_fully_connected_per_channel_s8" if per_channel else "arm_fully_connected_s8"
    kind, values = "tensor", (quant.multipliers[0], quant.shifts[0])
    if per_channel:
        kind, values = "channel", (f"(int32_t *){prefix}_m", f"(int32_t *){prefix}_s")
    params = [-quant.input_zero_point, 0, quant.output_zero_point, _clamp(quant)]
    declarations = [
        f"static const cmsis_nn_fc_params params = {braces(*params)};",
        f"static const cmsis_nn_per_{kind}_quant_params quant = {braces(*values)};",
        f"static const cmsis_nn_dims input = {dims((layer.batch, 1, 1, depth))};",
        f"static const cmsis_nn_dims filter = {dims((depth, 1, 1, channels))};",
        f"static const cmsis_nn_dims bias = {dims((1, 1, 1, channels))};",
        f"static const cmsis_nn_dims output = {dims((layer.batch, 1, 1, channels))};",
    ]
    body = [CONTEXT, *declarations, _CHANNEL_CALL.format(call=call, prefix=prefix)]
    code = _code(layer, prefix, body, call, channels if per_channel else 0)
    numbers = f"{depth}, {channels}, {prefix}_w, {-quant.input_zero_point}, 0, {prefix}_b"
    return replace(
        code,
        declarations=_for_size(declarations),
        sizer="arm_fully_connected_s8_get_buffer_size{core}(&filter)",
        sums=f"arm_vector_sum_s8((int32_t *)scratch, {numbers});",
    )


def _clamp(quant: Requantisation) -> str:
    return braces(quant.activation_min, quant.activation_max)


def _code(
    layer: ConvLayer | DepthwiseLayer | DenseLayer | TransposeConvLayer,
    prefix: str,
    body: list[str],
    call: str,
    entries: int,
    used: tuple[str, ...] = ("in", "out", "scratch"),
) -> Code:
    constants = (
        constant(f"{prefix}_w", layer.weights),
        constant(f"{prefix}_b", layer.bias),
        *_spread(layer.quant, prefix, entries),
    )
    source = function(prefix, body, used=used)
    kernel = KernelCode(function=prefix, source=source, constants=constants, alignment=1)
    return Code(kernel, (f"{call}.c",))


def _spread(quant: Requantisation, prefix: str, entries: int) -> tuple[Constant, ...]:
    if not entries:
        return ()
    repeat = entries // len(quant.multipliers)
    return (
        constant(f"{prefix}_m", quant.multipliers.repeat(repeat)),
        constant(f"{prefix}_s", quant.shifts.repeat(repeat)),
    )
