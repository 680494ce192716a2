"""CONV_2D for MVE: four output pixels share each load of sixteen weights.

Pointwise layers read the tensor as it lies; others copy receptive fields into byte columns.
"""

from __future__ import annotations

from workers.compilers.cmsis_nn.special import mve_text
from workers.compilers.cmsis_nn.special.fold import Folded, fold
from workers.compilers.cmsis_nn.special.geometry import Geometry, geometry_of
from workers.compilers.cmsis_nn.special.isa import Isa
from workers.compilers.cmsis_nn.special.layers import (
    Constant,
    ConvLayer,
    KernelCode,
    Options,
    Snippet,
)
from workers.compilers.cmsis_nn.special.plain_gather import gather
from workers.compilers.cmsis_nn.special.tiles import Tiling, points, windows

PIXELS = 4

_SHARED = """
static __attribute__((noinline)) void {name}(const int8_t *in, int32_t step, const int8_t *weights,
    const int32_t *params, int32_t taps, int32_t channels, int8_t *out, int32_t zero, int32_t low,
    int32_t high) {{
  const uint32x4_t lanes = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)channels);
{predicate}  for (const int8_t *const end = out + channels; out < end; out++, params += 3) {{
    const int8_t *x0 = in, *x1 = x0 + step, *x2 = x1 + step, *x3 = x2 + step;
    int32_t a0 = params[0], a1 = a0, a2 = a0, a3 = a0;
{loop}{tail}    int32x4_t sums = vdupq_n_s32(a0);
    sums = vsetq_lane_s32(a1, sums, 1);
    sums = vsetq_lane_s32(a2, sums, 2);
    sums = vsetq_lane_s32(a3, sums, 3);
    vstrbq_scatter_offset_s32(out, lanes, {result});
  }}
}}
"""

_LOOP = """\
    for (int32_t n = taps / 16; n > 0; n--) {
      const int8x16_t w = vldrbq_s8(weights);
      a0 = vmladavaq_s8(a0, w, vldrbq_s8(x0));
      a1 = vmladavaq_s8(a1, w, vldrbq_s8(x1));
      a2 = vmladavaq_s8(a2, w, vldrbq_s8(x2));
      a3 = vmladavaq_s8(a3, w, vldrbq_s8(x3));
      weights += 16;
      x0 += 16;
      x1 += 16;
      x2 += 16;
      x3 += 16;
    }
"""

_TAIL = """\
    const int8x16_t w = vldrbq_z_s8(weights, rest);
    a0 = vmladavaq_s8(a0, w, vldrbq_z_s8(x0, rest));
    a1 = vmladavaq_s8(a1, w, vldrbq_z_s8(x1, rest));
    a2 = vmladavaq_s8(a2, w, vldrbq_z_s8(x2, rest));
    a3 = vmladavaq_s8(a3, w, vldrbq_z_s8(x3, rest));
    weights += taps % 16;
"""


def conv(layer: ConvLayer, isa: Isa, function: str, options: Options) -> KernelCode | None:
    """Return the kernel of one image; None for fewer than four pixels or too little scratch."""
    g = geometry_of(layer)
    if g.pixels < PIXELS:
        return None
    folded = fold(layer.weights.reshape(g.out_channels, -1), layer.bias, layer.quant)
    tiling = Tiling(function, g, PIXELS)
    taps = folded.weights.shape[1]
    shared = _shared(folded.narrow, taps)
    call = (
        f"{shared.name}({{source}}, {{step}}, {function}_weights, {function}_params, {taps}, "
        f"{g.out_channels}, out, {mve_text.arguments(folded)});"
    )
    needed: tuple[Snippet, ...] = ()
    scratch = 0
    if g.pointwise:
        source = points(tiling, call.format(source="in", step=taps))
    else:
        source, needed, scratch = _windows(tiling, folded, call)
    if options.max_scratch is not None and scratch > options.max_scratch:
        return None
    return KernelCode(
        function=function,
        source=source,
        constants=(
            Constant(f"{function}_weights", "int8_t", folded.weights),
            Constant(f"{function}_params", "int32_t", folded.params()),
        ),
        scratch_bytes=scratch,
        includes=mve_text.INCLUDES,
        snippets=(*needed, *mve_text.snippets(folded, isa), shared),
        alignment=4 if scratch else 1,
    )


def _windows(tiling: Tiling, folded: Folded, call: str) -> tuple[str, tuple[Snippet, ...], int]:
    g: Geometry = tiling.geometry
    column = -(-folded.weights.shape[1] // 4) * 4
    text, needed = gather(tiling.function, g, folded.input_zero, False)
    line = call.format(source="(const int8_t *)scratch", step=column)
    return text + windows(tiling, line, column), needed, column * PIXELS


def _shared(narrow: bool, taps: int) -> Snippet:
    full, rest = taps >= 16, taps % 16 > 0
    name = f"tk_mve_conv{'n' if narrow else 'w'}{'l' if full else ''}{'t' if rest else ''}"
    predicate = "  const mve_pred16_t rest = vctp8q((uint32_t)taps % 16);\n" if rest else ""
    text = _SHARED.format(
        name=name,
        predicate=predicate,
        loop=_LOOP if full else "",
        tail=_TAIL if rest else "",
        result=mve_text.per_channel(narrow, "sums", "params[1]", "params[2]"),
    )
    return Snippet(name, text)
