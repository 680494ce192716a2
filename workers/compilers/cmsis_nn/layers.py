"""The layers a lowered model is made of: all constants known, nothing of TFLite left.

Those that have specialised kernels are defined by `special.layers`; the others are here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.compilers.cmsis_nn.special.layers import (
    AddLayer,
    ConvLayer,
    DenseLayer,
    DepthwiseLayer,
    PoolLayer,
    Requantisation,
)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class SoftmaxLayer:
    """SOFTMAX over rows of `size` elements: int8 in, int8 or int16 out, output scale 1/256.

    Differences to the row's maximum below `diff_min` count as exp(−∞).
    """

    rows: int
    size: int
    multiplier: int
    shift: int
    diff_min: int
    wide_output: bool = False


@dataclass(frozen=True, eq=False)
class LutLayer:
    """Any int8 → int8 function of one element; `table[q + 128]` is its value at q."""

    size: int
    table: NDArray[np.int8]


@dataclass(frozen=True)
class ReshapeLayer:
    """The same bytes under another shape."""

    nbytes: int


@dataclass(frozen=True)
class Region:
    """One strided copy: element (i, j, …) of `counts` from input `source` to the output.

    Element strides; `source_offset` and `target_offset` are where (0, 0, …) lies.
    """

    source: int
    counts: Shape
    source_strides: Shape
    target_strides: Shape
    source_offset: int = 0
    target_offset: int = 0


@dataclass(frozen=True)
class MoveLayer:
    """Data movement: fill the output of `size` elements with `fill` (if any), then copy regions.

    Stands for concat, split, slice, strided slice, transpose, pad, pack, unpack and broadcast.
    `fill` is the element's bit pattern as an unsigned number.
    """

    size: int
    itemsize: int
    regions: tuple[Region, ...]
    fill: int | None = None


AnyLayer = (
    ConvLayer
    | DepthwiseLayer
    | DenseLayer
    | PoolLayer
    | AddLayer
    | SoftmaxLayer
    | LutLayer
    | ReshapeLayer
    | MoveLayer
)

__all__ = [
    "AddLayer",
    "AnyLayer",
    "ConvLayer",
    "DenseLayer",
    "DepthwiseLayer",
    "LutLayer",
    "MoveLayer",
    "PoolLayer",
    "Region",
    "Requantisation",
    "ReshapeLayer",
    "SoftmaxLayer",
]
