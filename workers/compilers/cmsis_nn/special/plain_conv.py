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
from workers.compilers.cmsis_nn.special.plain_gather import gather
from workers.compilers.cmsis_nn.special.plain_gemm import Product
from workers.compilers.cmsis_nn.special.tiles import Tiling, points, windows


def dense(layer: DenseLayer, isa: Isa, function: str, options: Options) -> KernelCode:
    """Return the kernel: a pointwise convolution over the rows of the batch."""
    del options
    channels, taps = layer.weights.shape
    folded = fold(layer.weights, layer.bias, layer.quant)
    rows = Geometry.rows(layer.batch, taps, channels)
    return _points(folded, rows, isa, function)


def conv(layer: ConvLayer, isa: Isa, function: str, options: Options) -> KernelCode | None:
    """Return the kernel of one image, or None if it would need more scratch than it may have."""
    g = geometry_of(layer)
    folded = fold(layer.weights.reshape(g.out_channels, -1), layer.bias, layer.quant)
    if g.pointwise:
        return _points(folded, g, isa, function)
    for pixels in (_pixels(isa, g.pixels), 1):
        kernel = _windows(folded, g, isa, function, pixels)
        if options.max_scratch is None or kernel.scratch_bytes <= options.max_scratch:
            return kernel
    return None


def _pixels(isa: Isa, available: int) -> int:
    return 2 if isa.registers >= 12 and available >= 2 else 1


def _points(folded: Folded, g: Geometry, isa: Isa, function: str) -> KernelCode:
    tiling = Tiling(function, g, _pixels(isa, g.pixels))
    product = Product(isa, tiling.pixels, g.channels, g.out_channels, column=False)
    call = plain_gemm.call(product, folded, function, "in", str(g.channels))
    return _finish(product, folded, function, points(tiling, call), ())


def _windows(folded: Folded, g: Geometry, isa: Isa, function: str, pixels: int) -> KernelCode:
    taps = folded.weights.shape[1]
    product = Product(isa, pixels, taps, g.out_channels, column=True)
    column = round_up(taps, 4)
    text, needed = gather(function, g, folded.input_zero, product.unsigned_input)
    call = plain_gemm.call(
        product, folded, function, f"(const {product.x_type} *)scratch", str(column)
    )
    source = text + windows(Tiling(function, g, pixels), call, column)
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
