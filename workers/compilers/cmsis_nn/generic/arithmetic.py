"""Element-wise arithmetic, reductions and conversions as loops over constants."""

from __future__ import annotations

from workers.compilers.cmsis_nn.code import Code, constant, function
from workers.compilers.cmsis_nn.generic.loops import index, nest
from workers.compilers.cmsis_nn.layers import (
    BilinearLayer,
    DequantizeLayer,
    ElementwiseLayer,
    QuantizeLayer,
    ReduceLayer,
    RequantizeLayer,
)
from workers.compilers.cmsis_nn.quantise import RANGES
from workers.compilers.cmsis_nn.special.layers import KernelCode
from workers.compilers.cmsis_nn.strides import contiguous, merge

_SUPPORT = ("nn_support.h",)


def elementwise(layer: ElementwiseLayer, prefix: str) -> Code:
    """Return a two-input operation."""
    target = contiguous(layer.shape)
    counts, (first, second, out) = merge(layer.shape, *layer.strides, target)
    z1, z2 = layer.input_zero_points
    lines = [
        f"const int32_t a = in[{index(0, first)}]{_minus(z1)};",
        f"const int32_t b = in2[{index(0, second)}]{_minus(z2)};",
        f"out[{index(0, out)}] = (int8_t){_value(layer)};",
    ]
    source = function(prefix, nest(counts, lines) or lines, 2, used=("in", "in2", "out"))
    kernel = KernelCode(function=prefix, source=source, alignment=1, in_place=True)
    return Code(kernel, _SUPPORT)


def _value(layer: ElementwiseLayer) -> str:
    pairs = list(zip(layer.multipliers, layer.shifts, strict=True))
    match layer.kind:
        case "minimum":
            return "(a < b ? a : b)"
        case "maximum":
            return "(a > b ? a : b)"
        case "mul":
            value = _requantize("a * b", *pairs[0])
        case "prelu":
            positive, negative = _requantize("a", *pairs[0]), _requantize("a * b", *pairs[1])
            value = f"(a >= 0 ? {positive} : {negative})"
        case "add" | "sub":
            sign = "+" if layer.kind == "add" else "-"
            unit = f"(INT32_C(1) << {layer.left_shift})"
            one, two = (_requantize(f"{v} * {unit}", *p) for v, p in zip("ab", pairs, strict=False))
            value = _requantize(f"{one} {sign} {two}", *pairs[2])
    low, high = layer.activation_min, layer.activation_max
    return f"nn_clamp(nn_add({value}, {layer.output_zero_point}), {low}, {high})"


def _minus(zero_point: int) -> str:
    return f" - ({zero_point})" if zero_point else ""


def _requantize(value: str, multiplier: int, shift: int) -> str:
    return f"nn_requantize({value}, {multiplier}, {shift})"


def reduce(layer: ReduceLayer, prefix: str) -> Code:
    """Return a mean or sum; each output is summed on its own, so no scratch is needed."""
    kept = merge([n for n, _ in layer.kept], [s for _, s in layer.kept])
    reduced = merge([n for n, _ in layer.reduced], [s for _, s in layer.reduced])
    count = 1
    for size, _ in layer.reduced:
        count *= size
    place = f"{index(0, kept[1][0])} + {index(0, reduced[1][0], 'j')}"
    value = _requantize("sum", layer.multiplier, layer.shift)
    lines = [
        f"int32_t sum = {-layer.input_zero_point * count};",
        *nest(reduced[0], [f"sum += in[{place}];"], "j"),
        f"*out++ = (int8_t)nn_clamp(nn_add({value}, {layer.output_zero_point}), -128, 127);",
    ]
    source = function(prefix, nest(kept[0], lines) or lines, used=("in", "out"))
    return Code(KernelCode(function=prefix, source=source, alignment=1), _SUPPORT)


def quantize(layer: QuantizeLayer, prefix: str) -> Code:
    """Return float32 to integers."""
    low, high = RANGES[layer.target]
    kind = f"{layer.target.value}_t"
    lines = [
        f"const float steps = roundf(((const float *)in)[i0] / {_hex(layer.scale)});",
        f"const float q = steps + ({layer.zero_point});",
        f"(({kind} *)out)[i0] = ({kind})(q <= {low} ? {low} : q >= {high} ? {high} : (int32_t)q);",
    ]
    source = function(prefix, nest((layer.size,), lines), used=("in", "out"))
    includes = ("<math.h>", "<stdint.h>")
    return Code(KernelCode(function=prefix, source=source, includes=includes))


def dequantize(layer: DequantizeLayer, prefix: str) -> Code:
    """Return integers to float32."""
    value = f"((const {layer.source.value}_t *)in)[i0]{_minus(layer.zero_point)}"
    line = f"((float *)out)[i0] = {_hex(layer.scale)} * (float)({value});"
    source = function(prefix, nest((layer.size,), [line]), used=("in", "out"))
    return Code(KernelCode(function=prefix, source=source))


def requantize(layer: RequantizeLayer, prefix: str) -> Code:
    """Return integers to integers of another scale."""
    low, high = RANGES[layer.target]
    value = f"((const {layer.source.value}_t *)in)[i0]{_minus(layer.input_zero_point)}"
    scaled = _requantize(value, layer.multiplier, layer.shift)
    kind = f"{layer.target.value}_t"
    clamped = f"nn_clamp(nn_add({scaled}, {layer.output_zero_point}), {low}, {high})"
    line = f"(({kind} *)out)[i0] = ({kind}){clamped};"
    source = function(prefix, nest((layer.size,), [line]), used=("in", "out"))
    same = layer.source.itemsize == layer.target.itemsize
    return Code(KernelCode(function=prefix, source=source, in_place=same), _SUPPORT)


def _hex(value: float) -> str:
    return f"{value.hex()}f"


def bilinear(layer: BilinearLayer, prefix: str) -> Code:
    """Return a bilinear resize with 10 fraction bits in each direction."""
    batch, height, width, depth = layer.input_shape
    row = width * depth
    corners = [
        f"(int64_t)in[i0 * {height * row} + y[{a}] * {row} + x[{b}] * {depth} + i3] * "
        f"{'y[2]' if a else '(1024 - y[2])'} * {'x[2]' if b else '(1024 - x[2])'}"
        for a in (0, 1)
        for b in (0, 1)
    ]
    lines = [
        f"const int16_t *y = {prefix}_y + 3 * i1, *x = {prefix}_x + 3 * i2;",
        f"const int64_t sum = {' + '.join(corners)};",
        "const int32_t half = sum > 0 ? INT32_C(524288) : -INT32_C(524288);",
        "*out++ = (int8_t)((sum + half) / INT32_C(1048576));",
    ]
    counts = (batch, len(layer.rows), len(layer.columns), depth)
    constants = (constant(f"{prefix}_y", layer.rows), constant(f"{prefix}_x", layer.columns))
    source = function(prefix, nest(counts, lines), used=("in", "out"))
    return Code(KernelCode(function=prefix, source=source, constants=constants, alignment=1))
