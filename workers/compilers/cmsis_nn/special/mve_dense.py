"""FULLY_CONNECTED for MVE: four output channels share each load of sixteen inputs."""

from __future__ import annotations

import numpy as np

from workers.compilers.cmsis_nn.special import mve_text
from workers.compilers.cmsis_nn.special.fold import Folded, fold
from workers.compilers.cmsis_nn.special.isa import Isa
from workers.compilers.cmsis_nn.special.layers import (
    Constant,
    DenseLayer,
    KernelCode,
    Options,
    Snippet,
)

_SHARED = """
static __attribute__((noinline)) void {name}(const int8_t *in, const int8_t *weights,
    const int32_t *params,{scale} int32_t taps, int32_t channels, int8_t *out, int32_t zero,
    int32_t low, int32_t high) {{
{predicate}  for (; channels > 0; channels -= 4, out += 4) {{
    const mve_pred16_t lanes = vctp32q((uint32_t)channels);
    const int8_t *x = in, *w0 = weights;
    const int8_t *w1 = w0 + (channels > 1 ? taps : 0), *w2 = w1 + (channels > 2 ? taps : 0);
    const int8_t *w3 = w2 + (channels > 3 ? taps : 0);
    int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
    weights += 4 * taps;
{loop}{tail}    int32x4_t sums = vdupq_n_s32(a0);
    sums = vsetq_lane_s32(a1, sums, 1);
    sums = vsetq_lane_s32(a2, sums, 2);
    sums = vsetq_lane_s32(a3, sums, 3);
    sums = vaddq_s32(sums, vldrwq_z_s32(params, lanes));
    sums = {result};
    vstrbq_p_s32(out, sums, lanes);
    params += 4;
  }}
}}
"""

_LOOP = """\
    for (int32_t n = taps / 16; n > 0; n--) {
      const int8x16_t v = vldrbq_s8(x);
      a0 = vmladavaq_s8(a0, v, vldrbq_s8(w0));
      a1 = vmladavaq_s8(a1, v, vldrbq_s8(w1));
      a2 = vmladavaq_s8(a2, v, vldrbq_s8(w2));
      a3 = vmladavaq_s8(a3, v, vldrbq_s8(w3));
      x += 16;
      w0 += 16;
      w1 += 16;
      w2 += 16;
      w3 += 16;
    }
"""

_TAIL = """\
    const int8x16_t v = vldrbq_z_s8(x, rest);
    a0 = vmladavaq_s8(a0, v, vldrbq_z_s8(w0, rest));
    a1 = vmladavaq_s8(a1, v, vldrbq_z_s8(w1, rest));
    a2 = vmladavaq_s8(a2, v, vldrbq_z_s8(w2, rest));
    a3 = vmladavaq_s8(a3, v, vldrbq_z_s8(w3, rest));
"""

_LAYER = """
static void {function}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
  (void)scratch;
  for (int32_t row = 0; row < {batch}; row++) {{
    {shared}(in + row * {taps}, {function}_weights, {function}_params,{scale} {taps}, {channels},
        out + row * {channels}, {arguments});
  }}
}}
"""


def dense(layer: DenseLayer, isa: Isa, function: str, options: Options) -> KernelCode:
    """Return the kernel; it needs no scratch."""
    del options
    folded = fold(layer.weights, layer.bias, layer.quant)
    channels, taps = layer.weights.shape
    shared = _shared(folded, taps)
    params = folded.params()
    scale = f" {params[0, 1]}, {params[0, 2]}," if folded.uniform else f" {channels},"
    source = _LAYER.format(
        function=function,
        shared=shared.name,
        batch=layer.batch,
        taps=taps,
        channels=channels,
        scale=scale,
        arguments=mve_text.arguments(folded),
    )
    return KernelCode(
        function=function,
        source=source,
        constants=(
            Constant(f"{function}_weights", "int8_t", folded.weights),
            # All biases, then, unless one serves all, all multipliers and all shifts.
            Constant(
                f"{function}_params",
                "int32_t",
                folded.bias if folded.uniform else np.ascontiguousarray(params.T),
            ),
        ),
        includes=mve_text.INCLUDES,
        snippets=(*mve_text.snippets(folded, isa), shared),
        alignment=1,
    )


def _shared(folded: Folded, taps: int) -> Snippet:
    full, rest, uniform = taps >= 16, taps % 16 > 0, folded.uniform
    name = (
        f"tk_mve_dense{'n' if folded.narrow else 'w'}{'u' if uniform else 'p'}"
        f"{'l' if full else ''}{'t' if rest else ''}"
    )
    predicate = "  const mve_pred16_t rest = vctp8q((uint32_t)taps % 16);\n" if rest else ""
    if uniform:
        result = mve_text.per_channel(folded.narrow, "sums", "multiplier", "right")
    else:
        vectors = ("params + count", "params + 2 * count")
        result = mve_text.per_lane(
            folded.narrow, "sums", *(f"vldrwq_z_s32({at}, lanes)" for at in vectors)
        )
    text = _SHARED.format(
        name=name,
        scale=" int32_t multiplier, int32_t right," if uniform else " int32_t count,",
        predicate=predicate,
        loop=_LOOP if full else "",
        tail=_TAIL if rest else "",
        result=result,
    )
    return Snippet(name, text)
