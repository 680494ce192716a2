"""The loop over tiles of output pixels, the same for all families.

Tiles of `pixels` outputs follow one another in row-major order; a last tile that would be short
begins earlier instead and computes some pixels twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from workers.compilers.cmsis_nn.special.geometry import Geometry

_POINTS = """
static void {function}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
{open}  for (int32_t tile = 0; tile < {tiles}; tile++) {{
{last}{body}    {call}
    in += {in_step};
    out += {out_step};
  }}
}}
"""

_POINTS_LAST = """\
    if (tile == {index}) {{
      in -= {in_back};
      out -= {out_back};
    }}
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


def points(tiling: Tiling, call: str, opening: str = "  (void)scratch;\n", body: str = "") -> str:
    """Return the function of a pointwise layer: `call` computes the tile at `in` into `out`."""
    g = tiling.geometry
    last = _POINTS_LAST.format(
        index=tiling.tiles - 1,
        in_back=tiling.short * g.channels,
        out_back=tiling.short * g.out_channels,
    )
    return _POINTS.format(
        function=tiling.function,
        open=opening,
        tiles=tiling.tiles,
        last=last if tiling.short else "",
        body=body,
        call=call,
        in_step=tiling.pixels * g.channels,
        out_step=tiling.pixels * g.out_channels,
    )


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
