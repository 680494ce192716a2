"""Convolution, depthwise and fully connected layers as CMSIS-NN calls."""

from __future__ import annotations

from workers.compilers.cmsis_nn.code import Code, braces, constant, function
from workers.compilers.cmsis_nn.layers import (
    ConvLayer,
    DenseLayer,
    DepthwiseLayer,
    TransposeConvLayer,
)
from workers.compilers.cmsis_nn.special.layers import Constant, KernelCode, Requantisation

_CHANNEL_CALL = (
    "{call}({contexts}&params, &quant, &input, in, &filter, {prefix}_w, &bias, {prefix}_b, "
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
    """Return `layer` as a call of ``arm_transpose_conv_wrapper_s8``."""
    params = [braces(*reversed(layer.stride)), braces(*reversed(layer.padding)), "{0, 0}", "{1, 1}"]
    head = [-layer.quant.input_zero_point, layer.quant.output_zero_point]
    call = "arm_transpose_conv_wrapper_s8"
    return _windowed(layer, prefix, call, "transpose_conv", [*head, *params])


def _windowed(
    layer: ConvLayer | DepthwiseLayer | TransposeConvLayer,
    prefix: str,
    call: str,
    kind: str,
    params: list[object],
) -> Code:
    channels = layer.output_shape[3]
    params.append(_clamp(layer.quant))
    contexts = "&ctx, &ctx, " if isinstance(layer, TransposeConvLayer) else "&ctx, "
    body = [
        "const cmsis_nn_context ctx = {scratch, 0};",
        f"static const cmsis_nn_{kind}_params params = {braces(*params)};",
        "static const cmsis_nn_per_channel_quant_params quant = "
        f"{{(int32_t *){prefix}_m, (int32_t *){prefix}_s}};",
        f"static const cmsis_nn_dims input = {dims(layer.input_shape)};",
        f"static const cmsis_nn_dims filter = {dims(layer.weights.shape)};",
        f"static const cmsis_nn_dims bias = {dims((1, 1, 1, channels))};",
        f"static const cmsis_nn_dims output = {dims(layer.output_shape)};",
        _CHANNEL_CALL.format(call=call, prefix=prefix, contexts=contexts),
    ]
    return _code(layer, prefix, body, call, channels)


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
    body = [
        "const cmsis_nn_context ctx = {scratch, 0};",
        f"static const cmsis_nn_fc_params params = {braces(*params)};",
        f"static const cmsis_nn_per_{kind}_quant_params quant = {braces(*values)};",
        f"static const cmsis_nn_dims input = {dims((layer.batch, 1, 1, depth))};",
        f"static const cmsis_nn_dims filter = {dims((depth, 1, 1, channels))};",
        f"static const cmsis_nn_dims bias = {dims((1, 1, 1, channels))};",
        f"static const cmsis_nn_dims output = {dims((layer.batch, 1, 1, channels))};",
        _CHANNEL_CALL.format(call=call, prefix=prefix, contexts="&ctx, "),
    ]
    return _code(layer, prefix, body, call, channels if per_channel else 0)


def _clamp(quant: Requantisation) -> str:
    return braces(quant.activation_min, quant.activation_max)


def _code(
    layer: ConvLayer | DepthwiseLayer | DenseLayer | TransposeConvLayer,
    prefix: str,
    body: list[str],
    call: str,
    entries: int,
) -> Code:
    constants = (
        constant(f"{prefix}_w", layer.weights),
        constant(f"{prefix}_b", layer.bias),
        *_spread(layer.quant, prefix, entries),
    )
    source = function(prefix, body, used=("in", "out", "scratch"))
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
