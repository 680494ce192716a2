"""ADD for MVE: four elements at a time, all of TFLite's arithmetic as constants."""

from __future__ import annotations

from workers.compilers.cmsis_nn.special import add, mve_text
from workers.compilers.cmsis_nn.special.layers import AddLayer, KernelCode, Options, Snippet

_ADD = """
static void {function}(const int8_t *in, const int8_t *in2, int8_t *out, uint8_t *scratch) {{
  const int32_t zero = {zero}, low = {low}, high = {high};
  (void)scratch;
  for (int32_t left = {size}; left > 0; left -= 4, in += 4, in2 += 4, out += 4) {{
    const mve_pred16_t some = vctp32q((uint32_t)left);
    int32x4_t first = vshlq_n_s32(vsubq_n_s32(vldrbq_z_s32(in, some), {zero0}), {left_shift});
    int32x4_t second = vshlq_n_s32(vsubq_n_s32(vldrbq_z_s32(in2, some), {zero1}), {left_shift});
    first = {first};
    second = {second};
    vstrbq_p_s32(out, {result}, some);
  }}
}}
"""


def kernel(layer: AddLayer, function: str, options: Options) -> KernelCode | None:
    """Return the kernel; None for multipliers that TFLite's converter does not make."""
    del options
    if not add.usual(layer):
        return None
    terms = [_term(name, layer, i) for i, name in enumerate(("first", "second"))]
    total = "vaddq_s32(first, second)"
    right = str(-layer.shifts[2] - 1)
    source = _ADD.format(
        function=function,
        size=layer.size,
        zero=layer.output_zero_point,
        low=layer.activation_min,
        high=layer.activation_max,
        zero0=layer.input_zero_points[0],
        zero1=layer.input_zero_points[1],
        left_shift=layer.left_shift,
        first=terms[0],
        second=terms[1],
        result=mve_text.per_channel(True, total, str(layer.multipliers[2]), right),
    )
    return KernelCode(
        function=function,
        source=source,
        includes=mve_text.INCLUDES,
        snippets=(
            Snippet("tk_scale4", mve_text.SCALE),
            Snippet("tk_finish4", mve_text.FINISH),
        ),
        in_place=True,
        alignment=1,
    )


def _term(name: str, layer: AddLayer, i: int) -> str:
    multiplier, right = layer.multipliers[i], -layer.shifts[i]
    if right == 0:
        return f"vqrdmulhq_n_s32({name}, {multiplier})"
    return f"tk_scale4({name}, {multiplier}, {right - 1})"
