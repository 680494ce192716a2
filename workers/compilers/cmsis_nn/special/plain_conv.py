"""CONV_2D and FULLY_CONNECTED for cores without vectors, over the blocked matrix product."""

from __future__ import annotations

from workers.compilers.cmsis_nn.special import plain_gemm, requant
from workers.compilers.cmsis_nn.special.fold import Folded, fold
from workers.compilers.cmsis_nn.special.geometry import Geometry, geometry_of
from workers.compilers.cmsis_nn.special.isa import Isa
from workers.compilers.cmsis_nn.special.layers import (
    ConvLayer,
    DenseLayer,
    KernelCode,
    Options,
    Snippet,
)
from workers.compilers.cmsis_nn.special.plain_gather import gather
from workers.compilers.cmsis_nn.special.plain_gemm import Product

_POINTS = """
static void {function}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
  (void)scratch;
  for (int32_t tile = 0; tile < {tiles}; tile++) {{
{last}    {call}
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
  int32_t y = {y0}, x = {x0};
  for (int32_t tile = 0; tile < {tiles}; tile++) {{
{last}    for (int32_t pixel = 0; pixel < {pixels}; pixel++) {{
      {function}_gather(in, scratch + pixel * {column}, y, x);
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


def dense(layer: DenseLayer, isa: Isa, function: str, options: Options) -> KernelCode:
    """Return the kernel: a pointwise convolution over the rows of the batch."""
    del options
    folded = fold(layer.weights, layer.bias, layer.quant)
    return _points(folded, layer.batch, isa, function)


def conv(layer: ConvLayer, isa: Isa, function: str, options: Options) -> KernelCode | None:
    """Return the kernel of one image, or None if it would need more scratch than it may have."""
    g = geometry_of(layer)
    folded = fold(layer.weights.reshape(g.out_channels, -1), layer.bias, layer.quant)
    if g.pointwise:
        return _points(folded, g.pixels, isa, function)
    for pixels in (_pixels(isa, g.pixels), 1):
        kernel = _windows(folded, g, isa, function, pixels)
        if options.max_scratch is None or kernel.scratch_bytes <= options.max_scratch:
            return kernel
    return None


def _pixels(isa: Isa, available: int) -> int:
    return 2 if isa.registers >= 12 and available >= 2 else 1


def _points(folded: Folded, pixels: int, isa: Isa, function: str) -> KernelCode:
    channels, taps = folded.weights.shape
    product = Product(isa, _pixels(isa, pixels), taps, channels, column=False)
    tiles = -(-pixels // product.pixels)
    short = tiles * product.pixels - pixels
    last = _POINTS_LAST.format(
        index=tiles - 1, in_back=short * taps, out_back=short * channels
    )
    source = _POINTS.format(
        function=function,
        tiles=tiles,
        last=last if short else "",
        call=plain_gemm.call(product, folded, function, "in", str(taps)),
        in_step=product.pixels * taps,
        out_step=product.pixels * channels,
    )
    return _finish(product, folded, function, source, ())


def _windows(folded: Folded, g: Geometry, isa: Isa, function: str, pixels: int) -> KernelCode:
    channels, taps = folded.weights.shape
    product = Product(isa, pixels, taps, channels, column=True)
    column = -(-taps // 4) * 4
    tiles = -(-g.pixels // pixels)
    short = tiles * pixels - g.pixels
    first = g.pixels - pixels
    last = _WINDOWS_LAST.format(
        index=tiles - 1,
        y=first // g.out_width * g.step_y - g.top,
        x=first % g.out_width * g.step_x - g.left,
        out_back=short * channels,
    )
    text, needed = gather(function, g, folded.input_zero, product.unsigned_input)
    source = text + _WINDOWS.format(
        function=function,
        y0=-g.top,
        x0=-g.left,
        tiles=tiles,
        last=last if short else "",
        pixels=pixels,
        column=column,
        step_x=g.step_x,
        step_y=g.step_y,
        x_end=g.out_width * g.step_x - g.left,
        call=plain_gemm.call(
            product, folded, function, f"(const {product.x_type} *)scratch", str(column)
        ),
        out_step=pixels * channels,
    )
    return _finish(product, folded, function, source, needed, column * pixels)


def _finish(
    product: Product,
    folded: Folded,
    function: str,
    source: str,
    needed: tuple[Snippet, ...],
    scratch: int = 0,
) -> KernelCode:
    return KernelCode(
        function=function,
        source=source,
        constants=plain_gemm.constants(product, folded, function),
        scratch_bytes=scratch,
        snippets=(
            *needed,
            *requant.snippets(folded, product.isa),
            plain_gemm.snippet(product, folded),
        ),
        alignment=4 if scratch else 1,
    )
