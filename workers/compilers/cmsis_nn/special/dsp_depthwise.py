"""DEPTHWISE_CONV_2D for the dual MAC: one channel's plane at a time.

A channel of the NHWC image is copied into a padded int16 plane. There two neighbours are one
word, a multiplicand of the dual MAC, and the borders need no case of their own. The weights of a
channel stay in registers for the whole plane: for each row the pairs that begin at an even tap and
those that begin at an odd one, so that two neighbouring outputs read the same words. Since a
channel is read before it is written, the kernel works in place.
"""

from __future__ import annotations

from workers.compilers.cmsis_nn.special import requant
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
from workers.compilers.cmsis_nn.special.pack import round_up
from workers.compilers.cmsis_nn.special.plane import Plane, copy_unroll, shape_name

_MOST_TAPS = 25

_SHARED = """
/* {out_height} x {out_width} outputs a channel from {height} x {width} inputs. */
static __attribute__((noinline)) void {name}(const int8_t *in, int8_t *out, int16_t *plane,
    const int8_t *weights, const int32_t *params, int32_t channels, int32_t border,
    int32_t zero{bounds}) {{
  for (int32_t i = 0; i < {plane_words}; i++) {{
    ((tk_pair *)plane)[i] = (int32_t)((uint32_t)(uint16_t)border * 0x10001u);
  }}
  for (int32_t channel = 0; channel < channels; channel++, in++) {{
    const int8_t *from = in;
    int16_t *to = plane + {origin};
    for (int32_t y = 0; y < {copy_height}; y++, to += {copy_skip}) {{
#pragma GCC unroll {copy_unroll}
      for (int32_t x = 0; x < {copy_width}; x++, from += channels) {{
        *to++ = *from;
      }}
    }}
{open_multiplier}{weights}    weights += {taps};
    int32_t bias = params[0], multiplier = params[1], right = params[2];
    params += 3;
    int8_t *at = out++;
    const int16_t *row = plane;
    for (int32_t y = 0; y < {out_height}; y++) {{
{pairs}{single}      row += {row_advance};
    }}
{close_multiplier}  }}
}}
"""

_PAIRS = """\
      for (int32_t x = 0; x < {pairs}; x++, row += {pair_step}, at += 2 * {stride}) {{
        const tk_pair *const words = (const tk_pair *)row;
        int32_t a0 = bias, a1 = bias;
{body}        at[0] = {first};
        at[{stride}] = {second};
      }}
"""

_SINGLE = """\
      {{
        const tk_pair *const words = (const tk_pair *)row;
        int32_t a0 = bias;
{body}        at[0] = {first};
        at += {stride};
      }}
"""

_PAIR = "/* Two int16 neighbours. */\ntypedef int32_t __attribute__((may_alias)) tk_pair;\n"

_LAYER = """
static void {function}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
  {shared}(in, out, (int16_t *)scratch, {function}_weights, {function}_params, {channels},
      {border}, {zero}{bounds});
}}
"""


def depthwise(
    layer: DepthwiseLayer, isa: Isa, function: str, options: Options
) -> KernelCode | None:
    """Return the kernel of one image, or None for dilated or large windows or short scratch."""
    g = geometry_of(layer)
    plane = Plane(g, align=2)
    taps = g.window_height * g.window_width
    if (g.dilation_y, g.dilation_x) != (1, 1) or taps > _MOST_TAPS:
        return None
    if options.max_scratch is not None and _words_of(plane) * 4 > options.max_scratch:
        return None
    folded = fold(layer.weights.reshape(taps, g.out_channels).T.copy(), layer.bias, layer.quant)
    shared = _shared(plane, requant.flavour(folded))
    source = _LAYER.format(
        function=function,
        shared=shared.name,
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
            Constant(f"{function}_params", "int32_t", folded.params()),
        ),
        scratch_bytes=_words_of(plane) * 4,
        includes=("<stdint.h>", "<arm_acle.h>"),
        snippets=(*requant.snippets(folded, isa), Snippet("tk_pair", _PAIR), shared),
        in_place=g.channels == g.out_channels and g.pixels <= g.height * g.width,
    )


def _words_of(plane: Plane) -> int:
    """Return the plane's size in words, with what the last pair reads beyond its end."""
    slack = round_up(plane.geometry.window_width, 2) // 2
    return plane.width * plane.height // 2 + slack


def _shared(plane: Plane, kind: str) -> Snippet:
    g = plane.geometry
    repeat = g.out_channels // g.channels
    stride = "channels" if repeat == 1 else f"{repeat} * channels"
    name = f"tk_depthwise_{shape_name(g)}{kind}"
    pairs, odd = divmod(g.out_width, 2)
    first, second = (requant.expression(kind, f"a{i}", "multiplier", "right") for i in range(2))
    text = _SHARED.format(
        name=name,
        bounds=requant.bound_parameters(kind),
        out_height=g.out_height,
        out_width=g.out_width,
        height=g.height,
        width=g.width,
        plane_words=_words_of(plane),
        origin=plane.origin,
        copy_height=g.height,
        copy_width=g.width,
        copy_skip=plane.width - g.width,
        copy_unroll=copy_unroll(g.width),
        open_multiplier=f"    for (int32_t copy = 0; copy < {repeat}; copy++) {{\n"
        if repeat > 1
        else "",
        close_multiplier="    }\n" if repeat > 1 else "",
        weights=_weights(g, pairs > 0),
        taps=g.window_height * g.window_width,
        pairs=_PAIRS.format(
            pairs=pairs,
            pair_step=2 * g.step_x,
            stride=stride,
            body=_words(plane, 2) + _taps(plane, 0, True) + _taps(plane, 1, True),
            first=first,
            second=second,
        )
        if pairs
        else "",
        single=_SINGLE.format(
            body=_words(plane, 1) + _taps(plane, 0, pairs > 0), first=first, stride=stride
        )
        if odd
        else "",
        row_advance=g.step_y * plane.width - 2 * g.step_x * pairs,
    )
    return Snippet(name, text)


def _holders(g: Geometry, both: bool) -> dict[int, bool]:
    """Return the taps at which a packed pair of weights begins; False: the tap stands alone."""
    taps = g.window_width
    odd = both and g.step_x % 2 == 1
    held = {tap: True for tap in range(taps - 1) if tap % 2 == 0 or odd}
    if not any(tap in held for tap in (taps - 1, taps - 2)):
        held[taps - 1] = False
    return held


def _weights(g: Geometry, both: bool) -> str:
    """Return declarations of the packed weights of a channel: w<row>_<first tap>."""
    lines = []
    for row in range(g.window_height):
        for tap, pair in _holders(g, both).items():
            at = row * g.window_width + tap
            high = f" | (uint32_t)weights[{at + 1}] << 16" if pair else ""
            lines.append(
                f"    const int32_t w{row}_{tap} = (int32_t)((uint16_t)weights[{at}]{high});\n"
            )
    return "".join(lines)


def _words(plane: Plane, outputs: int) -> str:
    """Return the loads of all words that `outputs` neighbours see: x<row>_<word>."""
    g = plane.geometry
    last = (outputs - 1) * g.step_x + g.window_width - 1
    return "".join(
        f"        const int32_t x{row}_{word} = words[{row * plane.width // 2 + word}];\n"
        for row in range(g.window_height)
        for word in range(last // 2 + 1)
    )


def _taps(plane: Plane, output: int, both: bool) -> str:
    """Return the multiply-accumulates of output 0 or 1 of a pair."""
    g = plane.geometry
    held = _holders(g, both)
    lines = []
    for row in range(g.window_height):
        tap = 0
        while tap < g.window_width:
            position = output * g.step_x + tap
            word = f"x{row}_{position // 2}"
            if position % 2 == 0 and tap + 1 < g.window_width:
                lines.append(f"__smlad({word}, w{row}_{tap}, a{output})")
                tap += 2
                continue
            half = "t" if position % 2 else "b"
            start, side = (tap, "b") if tap in held else (tap - 1, "t")
            lines.append(f"__smla{half}{side}({word}, w{row}_{start}, a{output})")
            tap += 1
    return "".join(f"        a{output} = {line};\n" for line in lines)
