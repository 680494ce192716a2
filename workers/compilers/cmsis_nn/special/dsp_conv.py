"""CONV_2D for the dual MAC: receptive fields become columns, columns meet the matrix product.

Tiles of 4 output pixels (2 where scratch is short) go through all channels before the next.
Pointwise layers work in place, for a tile's columns hold all that it needs.
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

_TILE = """\
    uint32_t *const columns = (uint32_t *)scratch;
    for (int32_t p = 0; p < {pixels}; p++) {{
      const int8_t *const pixel = from + p * {channels};
      uint32_t *const words = columns + 2 * p;
      tk_expand{pixels}(pixel, words, {full});
{tail}    }}
    {call}
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
    smallest: bool

    @property
    def packed(self) -> bool:
        """Rows padded to words would make the data larger: save it again where biases are short."""
        return self.folded.packable and (self.smallest or self.folded.weights.shape[1] % 4 > 0)

    @property
    def groups(self) -> int:
        return round_up(self.folded.weights.shape[1], 4) // 4

    @property
    def column_bytes(self) -> int:
        return self.tiling.pixels * self.groups * 8

    def gemm(self, pixels: int) -> Snippet:
        unroll = dsp_gemm.unroll_of(self.groups)
        return dsp_gemm.gemm_snippet(pixels, unroll, requant.flavour(self.folded), self.packed)

    def call(self, pixels: int, to: str) -> str:
        function, folded = self.tiling.function, self.folded
        turns = self.groups // dsp_gemm.unroll_of(self.groups)
        return (
            f"{self.gemm(pixels).name}(columns, {function}_weights, {function}_params, {turns}, "
            f"{self.tiling.geometry.out_channels}, {requant.zero_argument(folded)}, "
            f"{to}{requant.bound_arguments(folded)});"
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
        plan = _Plan(Tiling(function, g, pixels), folded, options.objective == "flash")
        if pixels <= g.pixels:
            kernel = _kernel(plan, isa)
            if options.max_scratch is None or kernel.scratch_bytes <= options.max_scratch:
                return kernel
    return None


def _kernel(plan: _Plan, isa: Isa) -> KernelCode:
    tiling, folded = plan.tiling, plan.folded
    pointwise = tiling.geometry.pointwise
    params = folded.packed_params() if plan.packed else folded.params()
    fed = _points(plan) if pointwise else _windows(plan)
    return KernelCode(
        function=tiling.function,
        source=fed.source,
        constants=(
            Constant(f"{tiling.function}_weights", "int8_t", pad_taps(folded.weights, 4)),
            Constant(f"{tiling.function}_params", "int32_t", params),
        ),
        scratch_bytes=plan.column_bytes + fed.buffer,
        includes=("<stdint.h>", "<arm_acle.h>"),
        snippets=(dsp_gemm.load_snippet(), *requant.snippets(folded, isa), *fed.snippets),
        in_place=pointwise,
    )


def _points(plan: _Plan) -> _Feed:
    tiling = plan.tiling
    rest = tiling.geometry.channels % 4
    used = (tiling.pixels, *((1,) if tiling.geometry.pixels % tiling.pixels else ()))
    snippets = [Snippet("tk_expand_rest", _TAIL)] if rest else []
    for pixels in dict.fromkeys(used):
        snippets += [dsp_gemm.expand_snippet(pixels), plan.gemm(pixels)]
    text = points(tiling, _tile(plan, tiling.pixels), _tile(plan, 1))
    return _Feed(text, 0, tuple(snippets))


def _tile(plan: _Plan, pixels: int) -> str:
    full, rest = divmod(plan.tiling.geometry.channels, 4)
    at = f"words + {full * 2 * pixels}"
    tail = f"      tk_expand_rest(pixel + {4 * full}, {at}, {rest});\n" if rest else ""
    return _TILE.format(
        pixels=pixels,
        channels=plan.tiling.geometry.channels,
        full=full,
        tail=tail,
        call=plan.call(pixels, "to"),
    )


def _windows(plan: _Plan) -> _Feed:
    tiling = plan.tiling
    fill = gather(tiling.function, tiling.geometry, plan.folded.input_zero, tiling.pixels)
    text = windows(
        tiling,
        plan.call(tiling.pixels, "out"),
        opening="  uint32_t *const columns = (uint32_t *)scratch;\n",
        column="columns + 2 * pixel",
        more=f", (int8_t *)scratch + {plan.column_bytes}" if fill.byte_buffer else "",
    )
    return _Feed(fill.source + text, fill.byte_buffer, (*fill.snippets, plan.gemm(tiling.pixels)))
