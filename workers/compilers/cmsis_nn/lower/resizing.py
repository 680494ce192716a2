"""RESIZE_NEAREST_NEIGHBOR, RESIZE_BILINEAR and MEAN/SUM."""

from __future__ import annotations

from math import floor, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn.arithmetic import quantize_multiplier, round_half_away
from workers.compilers.cmsis_nn.layers import BilinearLayer, NearestLayer, ReduceLayer
from workers.compilers.cmsis_nn.lower.context import Context, Refusal, affine, axis_of, shape4
from workers.compilers.cmsis_nn.options import (
    ResizeBilinearOptions,
    ResizeNearestNeighborOptions,
)
from workers.compilers.cmsis_nn.strides import contiguous

_FRACTION = 1 << 10


def _shapes(
    context: Context, places: type[np.integer[Any]]
) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    context.arity(2)
    source, target = shape4(context.input()), shape4(context.output())
    if context.integers(1, "size") != target[1:3] or (source[0], source[3]) != (
        target[0],
        target[3],
    ):
        raise Refusal(f"{source} becomes {target}")
    most = int(np.iinfo(places).max)  # of the tables
    if max(*source[1:3], *target[1:3]) > most:
        raise Refusal(f"{source} becomes {target}: more than {most:,} rows or columns")
    affine(context.input(), DType.INT8)
    affine(context.output(), DType.INT8)
    return source, target


def nearest(context: Context) -> None:
    """Lower RESIZE_NEAREST_NEIGHBOR."""
    options = context.options(ResizeNearestNeighborOptions)
    source, target = _shapes(context, np.uint16)
    rows, columns = (_nearest_places(source[axis], target[axis], options) for axis in (1, 2))
    context.add(
        NearestLayer(source, rows, columns),
        context.operator.inputs[:1],
        context.operator.outputs,
    )


def _nearest_places(
    size: int, output: int, options: ResizeNearestNeighborOptions
) -> NDArray[np.uint16]:
    """Return the input place of each output place; the arithmetic is TFLite's, in float32."""
    aligned = options.align_corners and output > 1
    span, steps = (size - 1, output - 1) if aligned else (size, output)
    scale = np.float32(span) / np.float32(steps)
    offset = np.float32(0.5 if options.half_pixel_centers else 0)
    places = []
    for place in range(output):
        real = float(np.float32((np.float32(place) + offset) * scale))
        chosen = round_half_away(real) if options.align_corners else floor(real)
        places.append(max(0, min(chosen, size - 1)))
    return np.array(places, np.uint16)


def bilinear(context: Context) -> None:
    """Lower RESIZE_BILINEAR."""
    options = context.options(ResizeBilinearOptions)
    if options.align_corners and options.half_pixel_centers:
        raise Refusal("aligned corners with half-pixel centres")
    source, target = _shapes(context, np.int16)
    rows, columns = (_bilinear_places(source[axis], target[axis], options) for axis in (1, 2))
    context.add(
        BilinearLayer(source, rows, columns),
        context.operator.inputs[:1],
        context.operator.outputs,
    )


def _bilinear_places(size: int, output: int, options: ResizeBilinearOptions) -> NDArray[np.int16]:
    """Return (lower, upper, weight of upper in 1/1024) of each output place."""
    aligned = options.align_corners and output > 1
    span, steps = (size - 1, output - 1) if aligned else (size, output)
    scale = (_FRACTION * span + steps // 2) // steps
    rows = []
    for place in range(output):
        scaled = place * scale
        if options.half_pixel_centers:
            scaled += scale // 2 - _FRACTION // 2
        lower = max(_truncate(scaled), 0)
        if lower >= size:  # TFLite's rounded steps lead past the end, where it reads what is there
            raise Refusal(f"{size} rows or columns become {output}: too many for 10 fraction bits")
        upper = min(_truncate(scaled + _FRACTION - 1), size - 1)
        rows.append((lower, upper, scaled - _FRACTION * lower))
    return np.array(rows, np.int16)


def _truncate(value: int) -> int:
    """Divide by 1024 as C does, towards zero."""
    return value // _FRACTION if value >= 0 else -(-value // _FRACTION)


def mean(context: Context) -> None:
    """Lower MEAN: the division by the count goes into the multiplier."""
    _reduce(context, mean=True)


def sum_(context: Context) -> None:
    """Lower SUM."""
    _reduce(context, mean=False)


def _reduce(context: Context, *, mean: bool) -> None:
    context.arity(2)
    tensor, output = context.input(), context.output()
    source, target = affine(tensor, DType.INT8), affine(output, DType.INT8)
    axes = {axis_of(axis, len(tensor.shape)) for axis in context.integers(1, "axes")}
    dims = list(zip(tensor.shape, contiguous(tensor.shape), strict=True))
    kept = tuple(d for axis, d in enumerate(dims) if axis not in axes)
    reduced = tuple(d for axis, d in enumerate(dims) if axis in axes)
    if prod(n for n, _ in kept) != prod(output.shape):
        raise Refusal(f"{tensor.shape} becomes {output.shape}")
    multiplier, shift = quantize_multiplier(float(source.scale) / float(target.scale))
    count = prod(n for n, _ in reduced)
    if mean:
        # as many more bits as the count takes away, within what a shift may be
        bits = min(count.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << bits) // count, shift - bits
    layer = ReduceLayer(kept, reduced, source.zero_point, target.zero_point, multiplier, shift)
    context.add(layer, context.operator.inputs[:1], context.operator.outputs)
