"""C that writes one pixel's receptive field into one of the interleaved int16 columns."""

from __future__ import annotations

from dataclasses import dataclass

from workers.compilers.cmsis_nn.special import dsp_gemm
from workers.compilers.cmsis_nn.special.geometry import Geometry
from workers.compilers.cmsis_nn.special.layers import Snippet
from workers.compilers.cmsis_nn.special.pack import round_up


@dataclass(frozen=True)
class Gather:
    """`source` defines ``<function>_gather(in, to, y, x[, bytes])`` for the window whose corner is
    at (y, x); `byte_buffer` is the size of `bytes`, 0 if there is no such parameter.
    """

    source: str
    byte_buffer: int
    snippets: tuple[Snippet, ...]


_OPEN_ROWS = """
static void {function}_gather(const int8_t *in, uint32_t *to, int32_t y, int32_t x) {{
  const int8_t *from = in + (y * {width} + x) * {channels};
  for (int32_t row = 0; row < {rows}; row++, from += {row_step}, to += {to_step}) {{
    tk_expand{pixels}(from, to, {groups});
  }}
}}
"""

_PADDED_ROWS = """
static void {function}_gather(const int8_t *in, uint32_t *to, int32_t y, int32_t x) {{
  const int32_t before = x < 0 ? (x < -{taps} ? {taps} : -x) : 0;
  const int32_t until = {width} - x < {taps} ? {width} - x : {taps};
  const int32_t inside = until > before ? until - before : 0;
  const int32_t behind = {taps} - before - inside;
  const int8_t *from = in + (y * {width} + x + before) * {channels};
  for (int32_t row = 0; row < {rows}; row++, y += {dilation}, from += {row_step}) {{
    if (y < 0 || y >= {height}) {{
      tk_pad{pixels}({pair}u, to, {groups});
      to += {to_step};
      continue;
    }}
    tk_pad{pixels}({pair}u, to, before * {tap_groups});
    to += before * {tap_step};
    tk_expand{pixels}(from, to, inside * {tap_groups});
    to += inside * {tap_step};
    tk_pad{pixels}({pair}u, to, behind * {tap_groups});
    to += behind * {tap_step};
  }}
}}
"""

_BYTES = """
static void {function}_gather(const int8_t *in, uint32_t *to, int32_t y, int32_t x,
                              int8_t *bytes) {{
  int8_t *at = bytes;
{inner}  for (int32_t row = 0; row < {rows}; row++, y += {dilation}) {{
    for (int32_t tap = 0, c = x; tap < {taps}; tap++, c += {dilation_x}) {{
      const int8_t *from = in + (y * {width} + c) * {channels};
      const int32_t inside = y >= 0 && y < {height} && c >= 0 && c < {width};
      for (int32_t i = 0; i < {channels}; i++) {{
        *at++ = inside ? from[i] : {zero};
      }}
    }}
  }}
  tk_expand{pixels}(bytes, to, {groups});
}}
"""

_BYTES_INSIDE = """\
  if ({condition}) {{
    const int8_t *from = in + (y * {width} + x) * {channels};
    for (int32_t row = 0; row < {rows}; row++, from += {row_step}) {{
{copy}    }}
{finish}    return;
  }}
"""


def gather(function: str, g: Geometry, zero: int, pixels: int) -> Gather:
    """Return the gather of `function` with `pixels` interleaved columns; `zero` pads."""
    snippets = (dsp_gemm.load_snippet(), dsp_gemm.expand_snippet(pixels))
    if g.channels % 4 == 0 and g.dilation_x == 1:
        return Gather(_rows(function, g, zero, pixels), 0, snippets)
    return Gather(
        _bytes(function, g, zero, pixels),
        round_up(g.window_height * g.window_width * g.channels, 4),
        snippets,
    )


def _rows(function: str, g: Geometry, zero: int, pixels: int) -> str:
    tap_groups = g.channels // 4
    groups = g.window_width * tap_groups
    pair = (zero & 0xFFFF) * 0x10001
    return (_PADDED_ROWS if g.padded else _OPEN_ROWS).format(
        function=function,
        width=g.width,
        height=g.height,
        channels=g.channels,
        rows=g.window_height,
        taps=g.window_width,
        row_step=g.dilation_y * g.width * g.channels,
        dilation=g.dilation_y,
        groups=groups,
        to_step=groups * 2 * pixels,
        tap_groups=tap_groups,
        tap_step=tap_groups * 2 * pixels,
        pair=pair,
        pixels=pixels,
    )


def _bytes(function: str, g: Geometry, zero: int, pixels: int) -> str:
    taps = g.window_height * g.window_width * g.channels
    return _BYTES.format(
        function=function,
        inner=_inside(g, pixels) if g.dilation_x == 1 else "",
        rows=g.window_height,
        taps=g.window_width,
        dilation=g.dilation_y,
        dilation_x=g.dilation_x,
        width=g.width,
        height=g.height,
        channels=g.channels,
        zero=zero,
        pixels=pixels,
        groups=round_up(taps, 4) // 4,
    )


def _inside(g: Geometry, pixels: int) -> str:
    """Return the fast path of a window that lies inside: whole rows are contiguous."""
    run = g.window_width * g.channels
    bottom = g.height - (g.window_height - 1) * g.dilation_y
    inside = f"y >= 0 && x >= 0 && x <= {g.width - g.window_width} && y < {bottom}"
    if run % 4 == 0:
        step = run // 4 * 2 * pixels
        copy = f"      tk_expand{pixels}(from, to, {run // 4});\n      to += {step};\n"
        finish = ""
    else:
        groups = round_up(run * g.window_height, 4) // 4
        copy = f"      __builtin_memcpy(at, from, {run});\n      at += {run};\n"
        finish = f"    tk_expand{pixels}(bytes, to, {groups});\n"
    return _BYTES_INSIDE.format(
        condition=inside if g.padded else "1",
        width=g.width,
        channels=g.channels,
        rows=g.window_height,
        row_step=g.dilation_y * g.width * g.channels,
        copy=copy,
        finish=finish,
    )
