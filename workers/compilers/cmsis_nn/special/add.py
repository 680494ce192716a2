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


def usual(layer: AddLayer) -> bool:
    """Return True for what TFLite's converter makes.

    Then each term is at most 2^28, whatever the multipliers, and all doubling is safe.
    """
    inputs = all(
        m >= 0 and -32 < s <= 0 for m, s in zip(layer.multipliers, layer.shifts[:2], strict=False)
    )
    return inputs and -32 < layer.shifts[2] < 0 and layer.left_shift <= 20


def add(layer: AddLayer, isa: Isa, function: str, options: Options) -> KernelCode | None:
    """Return the kernel; None for multipliers that TFLite's converter does not make."""
    del options
    if not usual(layer):
        return None
    terms = [_term(name, layer, i) for i, name in enumerate(("first", "second"))]
    right = -layer.shifts[2]
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


def _term(name: str, layer: AddLayer, i: int) -> str:
    multiplier, right = layer.multipliers[i], -layer.shifts[i]
    if right == 0 and multiplier == _HALF and layer.left_shift > 0:
        return f"{name} / 2"  # exact: the input was shifted left
    if right == 0:
        return f"tk_high({name} * 2, {multiplier})"
    return f"tk_scale({name}, {multiplier}, {right - 1}, 1)"
