"""The layers a lowered model is made of: all constants known, nothing of TFLite left.

Those that have specialised kernels are defined by `special.layers`; the others are here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.tensors import DType
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
    """SOFTMAX over rows of `size` elements: int8 in and out, output scale 1/256.

    Differences to the row's maximum below `diff_min` count as exp(−∞).
    """

    rows: int
    size: int
    multiplier: int
    shift: int
    diff_min: int


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


@dataclass(frozen=True)
class ElementwiseLayer:
    """An int8 operation on two tensors, either of which may be broadcast.

    `strides` are the inputs' element strides over the output's `shape`, 0 where broadcast.
    ``add`` and ``sub`` scale both inputs by 2^`left_shift` and their own multiplier, then the
    result by the third; ``mul`` has one multiplier; ``prelu`` one for positive inputs and one for
    the others; ``minimum`` and ``maximum`` compare as they are.
    """

    kind: Literal["add", "sub", "mul", "minimum", "maximum", "prelu"]
    shape: Shape
    strides: tuple[Shape, Shape]
    input_zero_points: tuple[int, int] = (0, 0)
    output_zero_point: int = 0
    multipliers: tuple[int, ...] = ()
    shifts: tuple[int, ...] = ()
    left_shift: int = 0
    activation_min: int = -128
    activation_max: int = 127


@dataclass(frozen=True)
class ReduceLayer:
    """MEAN and SUM of int8: the sum over `reduced` of (x − input_zero_point), requantised.

    `kept` and `reduced` are (count, input element stride) of each dimension.
    """

    kept: tuple[tuple[int, int], ...]
    reduced: tuple[tuple[int, int], ...]
    input_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int


@dataclass(frozen=True)
class QuantizeLayer:
    """float32 → int8 or int16: round(x / scale) + zero point, saturated."""

    size: int
    scale: float
    zero_point: int
    target: DType


@dataclass(frozen=True)
class DequantizeLayer:
    """int8 or int16 → float32: scale × (q − zero point), rounded once."""

    size: int
    scale: float
    zero_point: int
    source: DType


@dataclass(frozen=True)
class RequantizeLayer:
    """Integers of one type to int8 or int16 of another scale."""

    size: int
    source: DType
    target: DType
    input_zero_point: int
    output_zero_point: int
    multiplier: int
    shift: int


@dataclass(frozen=True, eq=False)
class TransposeConvLayer:
    """TRANSPOSE_CONV: `weights` int8 OHWI; `padding` is (top, left) cut from the full output."""

    input_shape: tuple[int, int, int, int]
    output_shape: tuple[int, int, int, int]
    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    quant: Requantisation
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True, eq=False)
class NearestLayer:
    """RESIZE_NEAREST_NEIGHBOR of int8: output row y is input row `rows[y]`, likewise columns."""

    input_shape: tuple[int, int, int, int]
    rows: NDArray[np.uint16]
    columns: NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class BilinearLayer:
    """RESIZE_BILINEAR of int8 with 10 fraction bits.

    `rows` and `columns` are, for each output place, (lower, upper, weight of upper in 1/1024).
    """

    input_shape: tuple[int, int, int, int]
    rows: NDArray[np.int16]
    columns: NDArray[np.int16]


Factor = tuple[int, int]  # multiplier and shift


@dataclass(frozen=True, eq=False)
class SvdfLayer:
    """SVDF: `features` int8 [filters, inputs], `times` int8 or int16 [filters, memory].

    `zero_points` are of input, state and output. The state is the step's second output.
    """

    batch: int
    rank: int
    features: NDArray[np.int8]
    times: NDArray[np.int8] | NDArray[np.int16]
    bias: NDArray[np.int32]
    zero_points: tuple[int, int, int]
    feature_factor: Factor
    time_factor: Factor


@dataclass(frozen=True, eq=False)
class LstmGate:
    """One gate: weights [size, inputs] and [size, size], biases with the zero points in them."""

    input_weights: NDArray[np.int8]
    recurrent_weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    recurrent_bias: NDArray[np.int32]
    input_factor: Factor
    recurrent_factor: Factor


@dataclass(frozen=True, eq=False)
class LstmLayer:
    """An LSTM of int8 with an int16 cell of scale 2^`cell_power`.

    Inputs are [steps, batch, depth]; the gates are input, forget, cell and output. Hidden state
    and cell are the step's further outputs. `clip` of 0 is none.
    """

    batch: int
    steps: int
    gates: tuple[LstmGate, ...]
    forget_factor: Factor
    update_factor: Factor
    output_factor: Factor
    output_zero_point: int
    cell_power: int
    clip: int


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
    | ElementwiseLayer
    | ReduceLayer
    | QuantizeLayer
    | DequantizeLayer
    | RequantizeLayer
    | TransposeConvLayer
    | NearestLayer
    | BilinearLayer
    | SvdfLayer
    | LstmLayer
)

__all__ = [
    "AddLayer",
    "AnyLayer",
    "BilinearLayer",
    "ConvLayer",
    "DenseLayer",
    "DepthwiseLayer",
    "DequantizeLayer",
    "ElementwiseLayer",
    "Factor",
    "LstmGate",
    "LstmLayer",
    "LutLayer",
    "MoveLayer",
    "NearestLayer",
    "PoolLayer",
    "QuantizeLayer",
    "ReduceLayer",
    "Region",
    "Requantisation",
    "RequantizeLayer",
    "ReshapeLayer",
    "SoftmaxLayer",
    "SvdfLayer",
    "TransposeConvLayer",
]
