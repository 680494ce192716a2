"""The loop over tiles of output pixels, the same for all families.

Tiles of `pixels` outputs follow one another in row-major order. Where there is a window, a last
tile that would be short begins earlier instead and computes some pixels twice; pointwise layers
work in place, so theirs ends in single pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.compilers.cmsis_nn.special.geometry import Geometry

_TILE = """\
    const int8_t *const from = in + i * {channels};
    int8_t *const to = out + i * {out_channels};
{body}"""

_FORWARD = """
static void {function}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
  int32_t i = 0;
  for (; i < {whole}; i += {pixels}) {{
{tile}  }}
{rest}}}
"""

_FORWARD_REST = """\
  for (; i < {count}; i++) {{
{tile}  }}
"""

_BACKWARD = """
static void {function}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
  int32_t i = {count};
{rest}  while (i > 0) {{
    i -= {pixels};
{tile}  }}
}}
"""

_BACKWARD_REST = """\
  while (i > {whole}) {{
    i--;
{tile}  }}
"""

_WINDOWS = """
static void {function}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
{open}  int32_t y = {y0}, x = {x0};
  for (int32_t tile = 0; tile < {tiles}; tile++) {{
{last}    for (int32_t pixel = 0; pixel < {pixels}; pixel++) {{
      {function}_gather(in, {column}, y, x{more});
      x += {step_x};
      if (x == {x_end}) {{
        x = {x0};
        y += {step_y};
      }}
    }}
    {call}
    out += {out_step};
  }}
}}
"""

_WINDOWS_LAST = """\
    if (tile == {index}) {{
      y = {y};
      x = {x};
      out -= {out_back};
    }}
"""


@dataclass(frozen=True)
class Tiling:
    """A layer's outputs in tiles of `pixels`, at most as many as there are."""

    function: str
    geometry: Geometry
    pixels: int

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return -(-self.geometry.pixels // self.pixels)

    @property
    def short(self) -> int:
        """Pixels by which the last tile is moved back."""
        return self.tiles * self.pixels - self.geometry.pixels


def points(tiling: Tiling, tile: str, single: str) -> str:
    """Return the function of a pointwise layer, whose output may lie on its input.

    `tile` is the C that takes the pixels at ``from`` into ``to``, `single` that for one pixel. A
    tile must have read all it needs before it writes. Outputs that are wider than inputs are
    computed from the end, so that no input is overwritten too early.
    """
    g = tiling.geometry
    whole = g.pixels - g.pixels % tiling.pixels
    forward = g.out_channels <= g.channels
    sizes = {"channels": g.channels, "out_channels": g.out_channels}
    numbers = {
        "function": tiling.function,
        "count": g.pixels,
        "whole": whole,
        "pixels": tiling.pixels,
    }
    rest = ""
    if whole != g.pixels:
        shape = _FORWARD_REST if forward else _BACKWARD_REST
        rest = shape.format(**numbers, tile=_TILE.format(**sizes, body=single))
    text = _FORWARD if forward else _BACKWARD
    return text.format(**numbers, rest=rest, tile=_TILE.format(**sizes, body=tile))


def windows(
    tiling: Tiling,
    call: str,
    column_bytes: int = 0,
    *,
    opening: str = "",
    column: str = "",
    more: str = "",
) -> str:
    """Return the function of a layer with a window: gathers `pixels` columns, then does `call`.

    Column i is at `scratch` + i × `column_bytes`, or where the expression `column` of ``pixel``
    says; `more` are further arguments of the gather.
    """
    g = tiling.geometry
    first = g.pixels - tiling.pixels
    last = _WINDOWS_LAST.format(
        index=tiling.tiles - 1,
        y=first // g.out_width * g.step_y - g.top,
        x=first % g.out_width * g.step_x - g.left,
        out_back=tiling.short * g.out_channels,
    )
    return _WINDOWS.format(
        function=tiling.function,
        open=opening,
        y0=-g.top,
        x0=-g.left,
        tiles=tiling.tiles,
        last=last if tiling.short else "",
        pixels=tiling.pixels,
        column=column or f"scratch + pixel * {column_bytes}",
        more=more,
        step_x=g.step_x,
        step_y=g.step_y,
        x_end=g.out_width * g.step_x - g.left,
        call=call,
        out_step=tiling.pixels * g.out_channels,
    )
