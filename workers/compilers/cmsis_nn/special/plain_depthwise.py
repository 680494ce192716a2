"""DEPTHWISE_CONV_2D for cores without vectors: one channel's padded byte plane at a time.

Borders need no case of their own there, and a channel's weights are loaded once for the whole
plane. On ARMv6-M, where only unsigned bytes load in one instruction, the plane holds x + 128.
Since a channel is read before it is written, the kernel works in place.
"""

from __future__ import annotations

import numpy as np

from workers.compilers.cmsis_nn.special import requant
from workers.compilers.cmsis_nn.special.fold import Folded, fold
from workers.compilers.cmsis_nn.special.geometry import Geometry, geometry_of
from workers.compilers.cmsis_nn.special.isa import Isa
from workers.compilers.cmsis_nn.special.layers import (
    Constant,
    DepthwiseLayer,
    KernelCode,
    Options,
    Snippet,
)
from workers.compilers.cmsis_nn.special.plane import Plane, copy_unroll, shape_name

_MOST_UNROLLED = 25

_SHARED = """
/* {out_height} x {out_width} outputs a channel from {height} x {width} inputs. */
static __attribute__((noinline)) void {name}(const int8_t *in, int8_t *out, {type} *plane,
    const int8_t *weights, const int32_t *params, int32_t channels, int32_t border,
    int32_t zero{bounds}) {{
  for (int32_t i = 0; i < {plane_size}; i++) {{
    plane[i] = ({type})(border + {offset});
  }}
  for (int32_t channel = 0; channel < channels; channel++, in++) {{
    const int8_t *from = in;
    {type} *to = plane + {origin};
    for (int32_t y = 0; y < {height}; y++, to += {copy_skip}) {{
#pragma GCC unroll {copy_unroll}
      for (int32_t x = 0; x < {width}; x++, from += channels) {{
        *to++ = ({type})(*from + {offset});
      }}
    }}
    for (int32_t copy = 0; copy < {repeat}; copy++) {{
{weights}      const int32_t bias = params[0], multiplier = params[1], right = params[2];
      int8_t *at = out++;
      const {type} *row = plane;
      params += 3;
      for (int32_t y = 0; y < {out_height}; y++, row += {row_skip}) {{
        for (int32_t x = 0; x < {out_width}; x++, row += {step_x}, at += {stride}) {{
          int32_t sum = bias;
{taps}          *at = {result};
        }}
      }}
      weights += {count};
    }}
  }}
}}
"""

_LOOPED = """\
          for (int32_t i = 0; i < {rows}; i++) {{
            for (int32_t j = 0; j < {columns}; j++) {{
              sum += row[i * {row_step} + j * {column_step}] * weights[i * {columns} + j];
            }}
          }}
"""

_LAYER = """
static void {function}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
  {shared}(in, out, ({type} *)scratch, {function}_weights, {function}_params, {channels},
      {border}, {zero}{bounds});
}}
"""


def depthwise(
    layer: DepthwiseLayer, isa: Isa, function: str, options: Options
) -> KernelCode | None:
    """Return the kernel of one image, or None if the plane does not fit the scratch allowed."""
    g = geometry_of(layer)
    plane = Plane(g)
    size = plane.width * plane.height
    if options.max_scratch is not None and size > options.max_scratch:
        return None
    taps = g.window_height * g.window_width
    folded = fold(layer.weights.reshape(taps, g.out_channels).T.copy(), layer.bias, layer.quant)
    flipped = not isa.signed_loads
    shared = _shared(plane, requant.flavour(folded), flipped)
    source = _LAYER.format(
        function=function,
        shared=shared.name,
        type=_type(flipped),
        channels=g.channels,
        border=folded.input_zero,
        zero=requant.zero_argument(folded),
        bounds=requant.bound_arguments(folded),
    )
    return KernelCode(
        function=function,
        source=source,
        constants=(
            Constant(f"{function}_weights", "int8_t", folded.weights),
            Constant(f"{function}_params", "int32_t", _params(folded, flipped)),
        ),
        scratch_bytes=size,
        snippets=(*requant.snippets(folded, isa), shared),
        alignment=1,
        in_place=g.channels == g.out_channels and g.pixels <= g.height * g.width,
    )


def _type(flipped: bool) -> str:
    return "uint8_t" if flipped else "int8_t"


def _params(folded: Folded, flipped: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
    params = folded.params().astype(np.int64)
    if flipped:
        params[:, 0] -= 128 * folded.weights.astype(np.int64).sum(axis=1)
    return ((params + (1 << 31)) % (1 << 32) - (1 << 31)).astype(np.int32)


def _shared(plane: Plane, kind: str, flipped: bool) -> Snippet:
    g = plane.geometry
    repeat = g.out_channels // g.channels
    name = f"tk_plane_{shape_name(g)}{kind}"
    unrolled = g.window_height * g.window_width <= _MOST_UNROLLED
    text = _SHARED.format(
        name=name,
        bounds=requant.bound_parameters(kind),
        type=_type(flipped),
        offset=128 if flipped else 0,
        out_height=g.out_height,
        out_width=g.out_width,
        height=g.height,
        width=g.width,
        plane_size=plane.width * plane.height,
        origin=plane.origin,
        copy_skip=plane.width - g.width,
        copy_unroll=copy_unroll(g.width),
        repeat=repeat,
        weights=_weights(g) if unrolled else "",
        count=g.window_height * g.window_width,
        row_skip=g.step_y * plane.width - g.step_x * g.out_width,
        step_x=g.step_x,
        stride=f"{repeat} * channels" if repeat > 1 else "channels",
        taps=_taps(plane) if unrolled else _loops(plane),
        result=requant.expression(kind, "sum", "multiplier", "right"),
    )
    return Snippet(name, text)


def _weights(g: Geometry) -> str:
    count = g.window_height * g.window_width
    return "".join(f"      const int w{i} = weights[{i}];\n" for i in range(count))


def _taps(plane: Plane) -> str:
    g = plane.geometry
    return "".join(
        f"          sum += row[{y * g.dilation_y * plane.width + x * g.dilation_x}] * "
        f"w{y * g.window_width + x};\n"
        for y in range(g.window_height)
        for x in range(g.window_width)
    )


def _loops(plane: Plane) -> str:
    g = plane.geometry
    return _LOOPED.format(
        rows=g.window_height,
        columns=g.window_width,
        row_step=g.dilation_y * plane.width,
        column_step=g.dilation_x,
    )
