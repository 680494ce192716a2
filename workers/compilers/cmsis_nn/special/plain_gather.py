"""C that copies one pixel's receptive field, byte for byte, into a column."""

from __future__ import annotations

from workers.compilers.cmsis_nn.special.geometry import Geometry
from workers.compilers.cmsis_nn.special.layers import Snippet

_COPY = """
/* Copies count int8; with flip = 0x80 as x + 128. */
static inline void tk_copy(const int8_t *from, uint8_t *to, int32_t count, uint32_t flip) {
  for (const uint8_t *const end = to + count; to < end;) {
    *to++ = (uint8_t)((uint32_t)(uint8_t)*from++ ^ flip);
  }
}
static inline void tk_fill(uint8_t *to, int32_t count, uint32_t value) {
  for (const uint8_t *const end = to + count; to < end;) {
    *to++ = (uint8_t)value;
  }
}
"""

_COPY_WORDS = """
/* The same for whole aligned words. */
static inline void tk_copy_words(const int8_t *from, uint8_t *to, int32_t count, uint32_t flip) {
  from = __builtin_assume_aligned(from, 4);
  to = __builtin_assume_aligned(to, 4);
  for (const uint8_t *const end = to + count; to < end; to += 4, from += 4) {
    uint32_t word;
    __builtin_memcpy(&word, from, 4);
    word ^= flip * 0x01010101u;
    __builtin_memcpy(to, &word, 4);
  }
}
static inline void tk_fill_words(uint8_t *to, int32_t count, uint32_t value) {
  to = __builtin_assume_aligned(to, 4);
  value *= 0x01010101u;
  for (const uint8_t *const end = to + count; to < end; to += 4) {
    __builtin_memcpy(to, &value, 4);
  }
}
"""

_GATHER = """
static void {function}_gather(const int8_t *in, uint8_t *to, int32_t y, int32_t x) {{
{span}  const int8_t *from = in + (y * {width} + x + before) * {channels};
  for (int32_t row = 0; row < {rows}; row++, y += {dilation}, from += {row_step}) {{
    if ({outside}) {{
      tk_fill{words}(to, {run}, {zero}u);
      to += {run};
      continue;
    }}
{copy}  }}
}}
"""

_SPAN = """\
  const int32_t before = x < 0 ? (x < -{taps} ? {taps} : -x) : 0;
  const int32_t until = {width} - x < {taps} ? {width} - x : {taps};
  const int32_t inside = until > before ? until - before : 0;
  const int32_t behind = {taps} - before - inside;
"""

_COPY_SPAN = """\
    tk_fill{words}(to, before * {channels}, {zero}u);
    to += before * {channels};
    tk_copy{words}(from, to, inside * {channels}, {flip}u);
    to += inside * {channels};
    tk_fill{words}(to, behind * {channels}, {zero}u);
    to += behind * {channels};
"""

_COPY_TAPS = """\
    for (int32_t tap = 0, c = x; tap < {taps}; tap++, c += {dilation_x}, to += {channels}) {{
      if (c < 0 || c >= {width}) {{
        tk_fill{words}(to, {channels}, {zero}u);
      }} else {{
        tk_copy{words}(from + tap * {dilation_x} * {channels}, to, {channels}, {flip}u);
      }}
    }}
"""

_COPY_ROW = """\
    tk_copy{words}(from, to, {run}, {flip}u);
    to += {run};
"""


def gather(function: str, g: Geometry, zero: int, flip: bool, suffix: str) -> str:
    """Return ``<function>_gather(in, to, y, x)`` for the window with its corner at (y, x).

    It calls ``tk_copy<suffix>`` and ``tk_fill<suffix>``; `flip` makes bytes x + 128.
    """
    dilated = g.dilation_x != 1
    copy = _COPY_SPAN if g.padded else _COPY_ROW
    copy = _COPY_TAPS if dilated else copy
    numbers = {
        "function": function,
        "words": suffix,
        "width": g.width,
        "channels": g.channels,
        "rows": g.window_height,
        "taps": g.window_width,
        "dilation": g.dilation_y,
        "dilation_x": g.dilation_x,
        "row_step": g.dilation_y * g.width * g.channels,
        "run": g.window_width * g.channels,
        "flip": 0x80 if flip else 0,
        "zero": (zero & 0xFF) ^ (0x80 if flip else 0),
    }
    span = _SPAN if g.padded and not dilated else "  enum { before = 0 };\n"
    return _GATHER.format(
        **numbers,
        span=span.format(**numbers) if "{taps}" in span else span,
        outside=f"y < 0 || y >= {g.height}" if g.padded else "0",
        copy=copy.format(**numbers),
    )


def copy_suffix(run: int) -> str:
    """Return the suffix of the functions that copy multiples of `run` bytes, aligned to it."""
    return "_words" if run % 4 == 0 else ""


def copy_snippet(suffix: str) -> Snippet:
    """Return ``tk_copy<suffix>`` and ``tk_fill<suffix>``."""
    return Snippet(f"tk_copy{suffix}", _COPY_WORDS if suffix else _COPY)
