"""CONV_2D for MVE: four output pixels share each load of sixteen weights.

Receptive fields are copied into byte columns first, so that pointwise layers work in place.
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.compilers.cmsis_nn.special import mve_text
from workers.compilers.cmsis_nn.special.fold import Folded, fold
from workers.compilers.cmsis_nn.special.geometry import geometry_of
from workers.compilers.cmsis_nn.special.isa import Isa
from workers.compilers.cmsis_nn.special.layers import (
    Constant,
    ConvLayer,
    KernelCode,
    Options,
    Snippet,
)
from workers.compilers.cmsis_nn.special.pack import round_up
from workers.compilers.cmsis_nn.special.plain_gather import gather
from workers.compilers.cmsis_nn.special.tiles import Tiling, points, windows

PIXELS = 4

_SHARED = """
static __attribute__((noinline)) void {name}(const int8_t *in, int32_t step, const int8_t *weights,
    const int32_t *params, int32_t taps, int32_t channels, int8_t *out, int32_t zero, int32_t low,
    int32_t high{count}) {{
  const uint32x4_t lanes = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)channels);
{predicate}{some}  for (const int8_t *const end = out + channels; out < end; out++, params += 3) {{
    const int8_t *x0 = in, *x1 = x0 + step, *x2 = x1 + step, *x3 = x2 + step;
    int32_t a0 = params[0], a1 = a0, a2 = a0, a3 = a0;
{loop}{tail}    int32x4_t sums = vdupq_n_s32(a0);
    sums = vsetq_lane_s32(a1, sums, 1);
    sums = vsetq_lane_s32(a2, sums, 2);
    sums = vsetq_lane_s32(a3, sums, 3);
    {store};
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

_TILE = """\
    tk_copy_vectors(from, scratch, {bytes}, 0);
    {call}
"""


def conv(layer: ConvLayer, isa: Isa, function: str, options: Options) -> KernelCode | None:
    """Return the kernel of one image; None for fewer than four pixels or too little scratch."""
    g = geometry_of(layer)
    if g.pixels < PIXELS:
        return None
    folded = fold(layer.weights.reshape(g.out_channels, -1), layer.bias, layer.quant)
    tiling = Tiling(function, g, PIXELS)
    column = round_up(folded.weights.shape[1], 4)
    if options.max_scratch is not None and column * PIXELS > options.max_scratch:
        return None
    made = _points(tiling, folded) if g.pointwise else _windows(tiling, folded, column)
    return KernelCode(
        function=function,
        source=made.source,
        constants=(
            Constant(f"{function}_weights", "int8_t", folded.weights),
            Constant(f"{function}_params", "int32_t", folded.params()),
        ),
        scratch_bytes=column * PIXELS,
        includes=mve_text.INCLUDES,
        snippets=(*mve_text.snippets(folded, isa), *made.snippets),
        in_place=g.pointwise,
    )


@dataclass(frozen=True)
class _Made:
    source: str
    snippets: tuple[Snippet, ...]


def _points(tiling: Tiling, folded: Folded) -> _Made:
    taps = folded.weights.shape[1]
    rest = tiling.geometry.pixels % PIXELS
    whole, single = _shared(folded.narrow, taps, False), _shared(folded.narrow, taps, True)
    text = points(
        tiling,
        _TILE.format(bytes=PIXELS * taps, call=_call(whole, tiling, folded, taps, "to")),
        _TILE.format(bytes=taps, call=_call(single, tiling, folded, taps, "to", ", 1")),
    )
    copy = mve_text.copy_snippet()
    return _Made(text, (copy, whole, single) if rest else (copy, whole))


def _windows(tiling: Tiling, folded: Folded, column: int) -> _Made:
    shared = _shared(folded.narrow, folded.weights.shape[1], False)
    text = gather(tiling.function, tiling.geometry, folded.input_zero, False, "_vectors")
    call = _call(shared, tiling, folded, column, "out")
    return _Made(text + windows(tiling, call, column), (mve_text.copy_snippet(), shared))


def _call(
    shared: Snippet, tiling: Tiling, folded: Folded, step: int, to: str, count: str = ""
) -> str:
    return (
        f"{shared.name}((const int8_t *)scratch, {step}, {tiling.function}_weights, "
        f"{tiling.function}_params, {folded.weights.shape[1]}, {tiling.geometry.out_channels}, "
        f"{to}, {mve_text.arguments(folded)}{count});"
    )


def _shared(narrow: bool, taps: int, some: bool) -> Snippet:
    """Return the product of four columns; with `some`, of which only the first `count` exist."""
    full, rest = taps >= 16, taps % 16 > 0
    flags = f"{'l' if full else ''}{'t' if rest else ''}{'s' if some else ''}"
    name = f"tk_mve_conv{'n' if narrow else 'w'}{flags}"
    predicate = "  const mve_pred16_t rest = vctp8q((uint32_t)taps % 16);\n" if rest else ""
    result = mve_text.per_channel(narrow, "sums", "params[1]", "params[2]")
    store = f"vstrbq_scatter_offset_s32(out, lanes, {result})"
    if some:
        store = f"vstrbq_scatter_offset_p_s32(out, lanes, {result}, pixels)"
    text = _SHARED.format(
        name=name,
        predicate=predicate,
        some="  const mve_pred16_t pixels = vctp32q((uint32_t)count);\n" if some else "",
        count=", int32_t count" if some else "",
        loop=_LOOP if full else "",
        tail=_TAIL if rest else "",
        store=store,
    )
    return Snippet(name, text)
