"""ADD of two int8 tensors, for every core, with all of TFLite's arithmetic as constants."""

from __future__ import annotations

from workers.compilers.cmsis_nn.special import requant
from workers.compilers.cmsis_nn.special.isa import Isa
from workers.compilers.cmsis_nn.special.layers import AddLayer, KernelCode, Options

_ADD = """
static void {function}(const int8_t *in, const int8_t *in2, int8_t *out, uint8_t *scratch) {{
  (void)scratch;
  for (const int8_t *const end = out + {size}; out < end; out++) {{
    const int32_t first = ((int32_t)*in++ - {zero0}) * {scale};
    const int32_t second = ((int32_t)*in2++ - {zero1}) * {scale};
    const int32_t sum = {first} + {second};
    *out = {result};
  }}
}}
"""

_HALF = 1 << 30


def add(layer: AddLayer, isa: Isa, function: str, options: Options) -> KernelCode | None:
    """Return the kernel; None for multipliers that TFLite's converter does not make."""
    del options
    terms = [_term(name, layer, i) for i, name in enumerate(("first", "second"))]
    right = -layer.shifts[2]
    # At most 2^28 each way, whatever the multipliers: then all doubling is safe.
    if None in terms or not 0 < right < 32 or layer.left_shift > 20:
        return None
    saturates = (layer.activation_min, layer.activation_max) == (-128, 127)
    kind = "n" if saturates else "nc"
    result = requant.expression(kind, "sum", str(layer.multipliers[2]), str(right - 1))
    for name, value in (
        ("zero", 2 * layer.output_zero_point + 1),
        ("low", layer.activation_min),
        ("high", layer.activation_max),
    ):
        result = result.replace(f" {name}", f" {value}")
    source = _ADD.format(
        function=function,
        size=layer.size,
        zero0=layer.input_zero_points[0],
        zero1=layer.input_zero_points[1],
        scale=1 << layer.left_shift,
        first=terms[0],
        second=terms[1],
        result=result,
    )
    return KernelCode(
        function=function,
        source=source,
        snippets=requant.kinds(True, isa),
        in_place=True,
        alignment=1,
    )


def _term(name: str, layer: AddLayer, i: int) -> str | None:
    """Return the scaled input, or None if its shift is to the left."""
    multiplier, right = layer.multipliers[i], -layer.shifts[i]
    if not 0 <= right < 32 or multiplier < 0:
        return None
    if right == 0 and multiplier == _HALF and layer.left_shift > 0:
        return f"{name} / 2"  # exact: the input was shifted left
    if right == 0:
        return f"tk_high({name} * 2, {multiplier})"
    return f"tk_scale({name}, {multiplier}, {right - 1}, 1)"
