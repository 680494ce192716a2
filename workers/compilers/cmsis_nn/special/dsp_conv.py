"""CONV_2D for the dual MAC: receptive fields become columns, columns meet the matrix product.

Tiles of 4 output pixels (2 where scratch is short) go through all channels before the next. A
last tile that would be short begins earlier instead and computes some pixels twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.compilers.cmsis_nn.special import dsp_gemm, requant
from workers.compilers.cmsis_nn.special.dsp_gather import gather
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
from workers.compilers.cmsis_nn.special.pack import pad_taps, round_up
from workers.compilers.cmsis_nn.special.tiles import Tiling, points, windows

_OPEN = "  uint32_t *const columns = (uint32_t *)scratch;\n"

_EXPAND = """\
    for (int32_t pixel = 0; pixel < {pixels}; pixel++) {{
      const int8_t *const from = in + pixel * {channels};
      uint32_t *const to = columns + 2 * pixel;
      tk_expand{pixels}(from, to, {full});
{tail}    }}
"""

_TAIL = """
/* Expands the 1 to 3 int8 that are left, without reading beyond them. */
static inline void tk_expand_rest(const int8_t *from, uint32_t *to, int32_t rest) {
  uint32_t word = 0;
  for (int32_t i = 0; i < rest; i++) {
    word |= (uint32_t)(uint8_t)from[i] << 8 * i;
  }
  to[0] = (uint32_t)__sxtb16(word);
  to[1] = (uint32_t)__sxtb16((word >> 8) | (word << 24));
}
"""


@dataclass(frozen=True, eq=False)
class _Plan:
    tiling: Tiling
    folded: Folded

    @property
    def groups(self) -> int:
        return round_up(self.folded.weights.shape[1], 4) // 4

    def call(self, gemm: str, unroll: int) -> str:
        function, folded = self.tiling.function, self.folded
        return (
            f"{gemm}(columns, {function}_weights, {function}_params, "
            f"{self.groups // unroll}, {self.tiling.geometry.out_channels}, "
            f"{requant.zero_argument(folded)}, out{requant.bound_arguments(folded)});"
        )


@dataclass(frozen=True)
class _Feed:
    """How columns are filled: the layer's function, scratch beside the columns, snippets."""

    source: str
    buffer: int
    snippets: tuple[Snippet, ...]


def conv(layer: ConvLayer, isa: Isa, function: str, options: Options) -> KernelCode | None:
    """Return the kernel of one image, or None if it would need more scratch than it may have."""
    g = geometry_of(layer)
    folded = fold(layer.weights.reshape(g.out_channels, -1), layer.bias, layer.quant)
    for pixels in (4, 2, 1):
        plan = _Plan(Tiling(function, g, pixels), folded)
        if pixels <= g.pixels:
            kernel = _kernel(plan, isa)
            if options.max_scratch is None or kernel.scratch_bytes <= options.max_scratch:
                return kernel
    return None


def _kernel(plan: _Plan, isa: Isa) -> KernelCode:
    tiling, folded = plan.tiling, plan.folded
    unroll = dsp_gemm.unroll_of(plan.groups)
    gemm = dsp_gemm.gemm_snippet(tiling.pixels, unroll, requant.flavour(folded))
    call = plan.call(gemm.name, unroll)
    column_bytes = tiling.pixels * plan.groups * 8
    feed = _points if tiling.geometry.pointwise else _windows
    fed = feed(plan, call, column_bytes)
    return KernelCode(
        function=tiling.function,
        source=fed.source,
        constants=(
            Constant(f"{tiling.function}_weights", "int8_t", pad_taps(folded.weights, 4)),
            Constant(f"{tiling.function}_params", "int32_t", folded.params()),
        ),
        scratch_bytes=column_bytes + fed.buffer,
        includes=("<stdint.h>", "<arm_acle.h>"),
        snippets=(*fed.snippets, *requant.snippets(folded, isa), gemm),
    )


def _points(plan: _Plan, call: str, column_bytes: int) -> _Feed:
    del column_bytes
    tiling = plan.tiling
    pixels = tiling.pixels
    full, rest = divmod(tiling.geometry.channels, 4)
    snippets: tuple[Snippet, ...] = (
        dsp_gemm.load_snippet(),
        dsp_gemm.expand_snippet(pixels),
    )
    tail = ""
    if rest:
        snippets = (*snippets, Snippet("tk_expand_rest", _TAIL))
        tail = f"      tk_expand_rest(from + {4 * full}, to + {full * 2 * pixels}, {rest});\n"
    body = _EXPAND.format(pixels=pixels, channels=tiling.geometry.channels, full=full, tail=tail)
    return _Feed(points(tiling, call, _OPEN, body), 0, snippets)


def _windows(plan: _Plan, call: str, column_bytes: int) -> _Feed:
    tiling = plan.tiling
    fill = gather(tiling.function, tiling.geometry, plan.folded.input_zero, tiling.pixels)
    text = windows(
        tiling,
        call,
        opening=_OPEN,
        column="columns + 2 * pixel",
        more=f", (int8_t *)scratch + {column_bytes}" if fill.byte_buffer else "",
    )
    return _Feed(fill.source + text, fill.byte_buffer, fill.snippets)
