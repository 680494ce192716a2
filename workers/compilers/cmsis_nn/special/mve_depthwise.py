"""DEPTHWISE_CONV_2D for MVE: one channel's padded byte plane, four outputs of a row at a time.

Each tap is one widening load and one multiply-accumulate with the channel's weight in a core
register. Rows shorter than four are cut off by predication; longer ones end in a vector that
overlaps the one before. The kernel works in place, since a channel is read before it is written.
"""

from __future__ import annotations

from workers.compilers.cmsis_nn.special import mve_text
from workers.compilers.cmsis_nn.special.fold import fold
from workers.compilers.cmsis_nn.special.geometry import Geometry, geometry_of
from workers.compilers.cmsis_nn.special.isa import Isa
from workers.compilers.cmsis_nn.special.layers import (
    Constant,
    DepthwiseLayer,
    KernelCode,
    Options,
    Snippet,
)
from workers.compilers.cmsis_nn.special.plane import Plane, shape_name

_MOST_TAPS = 25
_LANES = 4
_WIDEST = 1 << 16  # channels; gathers have 16-bit offsets

_SHARED = """
/* {out_height} x {out_width} outputs a channel from {height} x {width} inputs. */
static __attribute__((noinline)) void {name}(const int8_t *in, int8_t *out, int8_t *plane,
    const int8_t *weights, const int32_t *params, int32_t channels, int32_t border, int32_t zero,
    int32_t low, int32_t high) {{
  const uint16x8_t pixels = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)channels);
  const uint32x4_t lanes = vmulq_n_u32(vidupq_n_u32(0, 1), (uint32_t)({stride}));
{steps}  for (int32_t i = 0; i < {plane_size}; i += 16) {{
    vstrbq_s8(plane + i, vdupq_n_s8((int8_t)border));
  }}
  for (int32_t channel = 0; channel < channels; channel++, in++) {{
    const int8_t *from = in;
    int8_t *to = plane + {origin};
    for (int32_t y = 0; y < {height}; y++, from += {width} * channels, to += {plane_width}) {{
{copy}    }}
    for (int32_t copy = 0; copy < {repeat}; copy++) {{
{weights}      const int32_t bias = params[0], multiplier = params[1], right = params[2];
      int8_t *at = out++;
      const int8_t *row = plane;
      params += 3;
      weights += {count};
      for (int32_t y = 0; y < {out_height}; y++, row += {row_step}, at += {out_width} * {stride}) {{
        for (int32_t x = 0;;) {{
          const int8_t *seen = row + x * {step_x};
          int32x4_t sum = vdupq_n_s32(bias);
{taps}          sum = {result};
          {store}
{next}        }}
      }}
    }}
  }}
}}
"""

_NEXT = """\
          if (x == {last}) {{
            break;
          }}
          x = x + 4 > {last} ? {last} : x + 4;
"""

_LAYER = """
static void {function}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
  {shared}(in, out, (int8_t *)scratch, {function}_weights, {function}_params, {channels}, {border},
      {arguments});
}}
"""


def depthwise(
    layer: DepthwiseLayer, isa: Isa, function: str, options: Options
) -> KernelCode | None:
    """Return the kernel of one image, or None for large windows or short scratch."""
    g = geometry_of(layer)
    plane = Plane(g)
    count = g.window_height * g.window_width
    if count > _MOST_TAPS or g.channels * 8 >= _WIDEST:
        return None
    # The fill is in whole vectors; loads of a short row reach beyond its end.
    size = -(-(plane.width * plane.height + _LANES * g.step_x) // 16) * 16
    if options.max_scratch is not None and size > options.max_scratch:
        return None
    folded = fold(layer.weights.reshape(count, g.out_channels).T.copy(), layer.bias, layer.quant)
    shared = _shared(plane, size, folded.narrow)
    source = _LAYER.format(
        function=function,
        shared=shared.name,
        channels=g.channels,
        border=folded.input_zero,
        arguments=mve_text.arguments(folded),
    )
    return KernelCode(
        function=function,
        source=source,
        constants=(
            Constant(f"{function}_weights", "int8_t", folded.weights),
            Constant(f"{function}_params", "int32_t", folded.params()),
        ),
        scratch_bytes=size,
        includes=mve_text.INCLUDES,
        snippets=(*mve_text.snippets(folded, isa), shared),
        alignment=1,
        in_place=g.channels == g.out_channels and g.pixels <= g.height * g.width,
    )


def _shared(plane: Plane, size: int, narrow: bool) -> Snippet:
    g = plane.geometry
    repeat = g.out_channels // g.channels
    name = f"tk_mve_plane_{shape_name(g)}{'n' if narrow else 'w'}"
    whole = g.out_width >= _LANES
    store = "vstrbq_scatter_offset_s32(at + x * {}, lanes, sum);"
    if not whole:
        store = f"vstrbq_scatter_offset_p_s32(at + x * {{}}, lanes, sum, vctp32q({g.out_width}));"
    stride = f"({repeat} * channels)" if repeat > 1 else "channels"
    steps = f"  const uint32x4_t steps = vidupq_n_u32(0, {g.step_x});\n"
    if g.step_x not in (1, 2, 4, 8):
        steps = f"  const uint32x4_t steps = vmulq_n_u32(vidupq_n_u32(0, 1), {g.step_x});\n"
    text = _SHARED.format(
        name=name,
        out_height=g.out_height,
        out_width=g.out_width,
        height=g.height,
        width=g.width,
        stride=stride,
        steps=steps if g.step_x > 1 else "",
        plane_size=size,
        origin=plane.origin,
        plane_width=plane.width,
        copy=_copy(g.width),
        repeat=repeat,
        weights=_weights(g),
        count=g.window_height * g.window_width,
        row_step=g.step_y * plane.width,
        step_x=g.step_x,
        taps=_taps(plane),
        result=mve_text.per_channel(narrow, "sum", "multiplier", "right"),
        store=store.format(stride),
        next=_NEXT.format(last=g.out_width - _LANES) if whole else "          break;\n",
    )
    return Snippet(name, text)


def _copy(width: int) -> str:
    """Return the copy of a row of a channel, eight pixels a gather."""
    if width < 8:
        return (
            f"      const mve_pred16_t some = vctp16q({width});\n"
            "      vstrbq_p_s16(to, vldrbq_gather_offset_z_s16(from, pixels, some), some);\n"
        )
    starts = [*range(0, width - 7, 8), *([width - 8] if width % 8 else [])]
    gather = "vldrbq_gather_offset_s16(from + {0} * channels, pixels)"
    return "".join(f"      vstrbq_s16(to + {x}, {gather.format(x)});\n" for x in starts)


def _weights(g: Geometry) -> str:
    count = g.window_height * g.window_width
    return "".join(f"      const int32_t w{i} = weights[{i}];\n" for i in range(count))


def _taps(plane: Plane) -> str:
    g = plane.geometry
    lines = []
    for y in range(g.window_height):
        for x in range(g.window_width):
            at = f"seen + {y * g.dilation_y * plane.width + x * g.dilation_x}"
            load = f"vldrbq_s32({at})"
            if g.step_x > 1:
                load = f"vldrbq_gather_offset_s32({at}, steps)"
            lines.append(f"          sum = vmlaq_n_s32(sum, {load}, w{y * g.window_width + x});\n")
    return "".join(lines)
