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
from workers.compilers.cmsis_nn.special.pack import round_up
from workers.compilers.cmsis_nn.special.plain_gather import copy_snippet, copy_suffix, gather
from workers.compilers.cmsis_nn.special.plain_gemm import Product
from workers.compilers.cmsis_nn.special.tiles import Tiling, points, windows

_ROWS = """
static void {function}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
  (void)scratch;
  for (int32_t row = 0; row < {batch}; row++, in += {taps}, out += {channels}) {{
    {call}
  }}
}}
"""

_TILE = """\
    tk_copy{suffix}(from, scratch, {bytes}, {flip}u);
    {call}
"""


def dense(layer: DenseLayer, isa: Isa, function: str, options: Options) -> KernelCode:
    """Return the kernel; it needs no scratch."""
    del options
    channels, taps = layer.weights.shape
    folded = fold(layer.weights, layer.bias, layer.quant)
    product = Product(isa, 1, taps, channels, column=False)
    source = _ROWS.format(
        function=function,
        batch=layer.batch,
        call=plain_gemm.call(product, folded, function, "in"),
        taps=taps,
        channels=channels,
    )
    return _finish([product], folded, function, source, ())


def conv(layer: ConvLayer, isa: Isa, function: str, options: Options) -> KernelCode | None:
    """Return the kernel of one image, or None if it would need more scratch than it may have."""
    g = geometry_of(layer)
    folded = fold(layer.weights.reshape(g.out_channels, -1), layer.bias, layer.quant)
    make = _points if g.pointwise else _windows
    for pixels in (_pixels(isa, g.pixels), 1):
        kernel = make(folded, g, isa, function, pixels)
        if options.max_scratch is None or kernel.scratch_bytes <= options.max_scratch:
            return kernel
    return None


def _pixels(isa: Isa, available: int) -> int:
    return 2 if isa.registers >= 12 and available >= 2 else 1


def _points(folded: Folded, g: Geometry, isa: Isa, function: str, pixels: int) -> KernelCode:
    """Return a pointwise layer: a tile is copied before it is computed, so it works in place."""
    tiling = Tiling(function, g, pixels)
    taps = g.channels
    suffix = copy_suffix(taps)
    tiles, products = [], []
    for count in (pixels, 1):
        product = Product(isa, count, taps, g.out_channels, column=True)
        flip = 0x80 if product.unsigned_input else 0
        source = f"(const {product.x_type} *)scratch"
        call = plain_gemm.call(product, folded, function, source, str(taps), "to")
        tiles.append(_TILE.format(suffix=suffix, bytes=count * taps, flip=flip, call=call))
        products.append(product)
    if g.pixels % pixels == 0:
        products = products[:1]
    return _finish(
        products,
        folded,
        function,
        points(tiling, *tiles),
        (copy_snippet(suffix),),
        scratch=pixels * taps,
        in_place=True,
    )


def _windows(folded: Folded, g: Geometry, isa: Isa, function: str, pixels: int) -> KernelCode:
    taps = folded.weights.shape[1]
    product = Product(isa, pixels, taps, g.out_channels, column=True)
    column = round_up(taps, 4)
    suffix = copy_suffix(g.channels)
    text = gather(function, g, folded.input_zero, product.unsigned_input, suffix)
    call = plain_gemm.call(
        product, folded, function, f"(const {product.x_type} *)scratch", str(column)
    )
    source = text + windows(Tiling(function, g, pixels), call, column)
    return _finish([product], folded, function, source, (copy_snippet(suffix),), column * pixels)


def _finish(
    products: list[Product],
    folded: Folded,
    function: str,
    source: str,
    needed: tuple[Snippet, ...],
    scratch: int = 0,
    *,
    in_place: bool = False,
) -> KernelCode:
    shared = dict.fromkeys(plain_gemm.snippet(product, folded) for product in products)
    return KernelCode(
        function=function,
        source=source,
        constants=plain_gemm.constants(products[0], folded, function),
        scratch_bytes=scratch,
        snippets=(*needed, *requant.snippets(folded, products[0].isa), *shared),
        alignment=4 if scratch else 1,
        in_place=in_place,
    )
