"""CONV_2D for the dual MAC: receptive fields become columns, columns meet the matrix product.

Tiles of 4 output pixels (2 where scratch is short) go through all channels before the next. A
last tile that would be short begins earlier instead and computes some pixels twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.compilers.cmsis_nn.special import dsp_gemm, requant
from workers.compilers.cmsis_nn.special.dsp_gather import gather
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
from workers.compilers.cmsis_nn.special.pack import pad_taps, round_up

_WINDOWS = """
static void {function}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
  uint32_t *const columns = (uint32_t *)scratch;
  int32_t y = {y0}, x = {x0};
  for (int32_t tile = 0; tile < {tiles}; tile++) {{
{last}    for (int32_t pixel = 0; pixel < {pixels}; pixel++) {{
      {function}_gather(in, columns + 2 * pixel, y, x{buffer});
      x += {step_x};
      if (x == {x_end}) {{
        x = {x0};
        y += {step_y};
      }}
    }}
    {call}
    out += {advance};
  }}
}}
"""

_WINDOWS_LAST = """\
    if (tile == {index}) {{
      y = {y};
      x = {x};
      out -= {back};
    }}
"""

_POINTS = """
static void {function}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
  uint32_t *const columns = (uint32_t *)scratch;
  for (int32_t tile = 0; tile < {tiles}; tile++) {{
{last}    for (int32_t pixel = 0; pixel < {pixels}; pixel++, in += {channels}) {{
      tk_expand{pixels}(in, columns + 2 * pixel, {groups});
{tail}    }}
    {call}
    out += {advance};
  }}
}}
"""

_POINTS_LAST = """\
    if (tile == {index}) {{
      in -= {in_back};
      out -= {back};
    }}
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
    function: str
    geometry: Geometry
    folded: Folded
    pixels: int

    @property
    def groups(self) -> int:
        return round_up(self.folded.weights.shape[1], 4) // 4

    @property
    def tiles(self) -> int:
        return -(-self.geometry.pixels // self.pixels)

    @property
    def short(self) -> int:
        """Pixels that the last tile is moved back by."""
        return self.tiles * self.pixels - self.geometry.pixels

    def call(self, gemm: str, unroll: int) -> str:
        folded = self.folded
        return (
            f"{gemm}(columns, {self.function}_weights, {self.function}_params, "
            f"{self.groups // unroll}, {self.geometry.out_channels}, "
            f"{requant.zero_argument(folded)}, out{requant.bound_arguments(folded)});"
        )


def conv(layer: ConvLayer, isa: Isa, function: str, options: Options) -> KernelCode | None:
    """Return the kernel of one image, or None if it would need more scratch than it may have."""
    g = geometry_of(layer)
    folded = fold(layer.weights.reshape(g.out_channels, -1), layer.bias, layer.quant)
    for pixels in (4, 2, 1):
        plan = _Plan(function, g, folded, pixels)
        if pixels <= g.pixels:
            kernel = _kernel(plan, isa)
            if options.max_scratch is None or kernel.scratch_bytes <= options.max_scratch:
                return kernel
    return None


def _kernel(plan: _Plan, isa: Isa) -> KernelCode:
    folded, kind = plan.folded, requant.flavour(plan.folded)
    unroll = dsp_gemm.unroll_of(plan.groups)
    gemm = dsp_gemm.gemm_snippet(plan.pixels, unroll, kind)
    call = plan.call(gemm.name, unroll)
    column_bytes = plan.pixels * plan.groups * 8
    if plan.geometry.pointwise:
        source, buffer, needed = *_points(plan, call), _point_snippets(plan)
    else:
        source, buffer, needed = _windows(plan, call, column_bytes)
    return KernelCode(
        function=plan.function,
        source=source,
        constants=(
            Constant(f"{plan.function}_weights", "int8_t", pad_taps(folded.weights, 4)),
            Constant(f"{plan.function}_params", "int32_t", folded.params()),
        ),
        scratch_bytes=column_bytes + buffer,
        includes=("<stdint.h>", "<arm_acle.h>"),
        snippets=(*needed, *requant.snippets(folded, isa), gemm),
    )


def _point_snippets(plan: _Plan) -> tuple[Snippet, ...]:
    snippets = (dsp_gemm.load_snippet(), dsp_gemm.expand_snippet(plan.pixels))
    if plan.geometry.channels % 4:
        snippets = (*snippets, Snippet("tk_expand_rest", _TAIL))
    return snippets


def _points(plan: _Plan, call: str) -> tuple[str, int]:
    g = plan.geometry
    full, rest = divmod(g.channels, 4)
    tail = f"      tk_expand_rest(in + {4 * full}, columns + 2 * pixel + {full * 2 * plan.pixels}, {rest});\n"
    last = _POINTS_LAST.format(
        index=plan.tiles - 1, in_back=plan.short * g.channels, back=plan.short * g.out_channels
    )
    text = _POINTS.format(
        function=plan.function,
        tiles=plan.tiles,
        last=last if plan.short else "",
        pixels=plan.pixels,
        channels=g.channels,
        groups=full,
        tail=tail if rest else "",
        call=call,
        advance=plan.pixels * g.out_channels,
    )
    return text, 0


def _windows(plan: _Plan, call: str, column_bytes: int) -> tuple[str, int, tuple[Snippet, ...]]:
    g = plan.geometry
    gathered = gather(plan.function, g, plan.folded.input_zero, plan.pixels)
    first = g.pixels - plan.pixels
    last = _WINDOWS_LAST.format(
        index=plan.tiles - 1,
        y=first // g.out_width * g.step_y - g.top,
        x=first % g.out_width * g.step_x - g.left,
        back=plan.short * g.out_channels,
    )
    text = _WINDOWS.format(
        function=plan.function,
        y0=-g.top,
        x0=-g.left,
        tiles=plan.tiles,
        last=last if plan.short else "",
        pixels=plan.pixels,
        buffer=f", (int8_t *)scratch + {column_bytes}" if gathered.byte_buffer else "",
        step_x=g.step_x,
        step_y=g.step_y,
        x_end=g.out_width * g.step_x - g.left,
        call=call,
        advance=plan.pixels * g.out_channels,
    )
    return gathered.source + text, gathered.byte_buffer, gathered.snippets
