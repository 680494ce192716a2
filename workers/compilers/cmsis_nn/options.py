"""Options of TFLite operators, one dataclass a schema table.

Class and field names are those of the schema, which is how the reader finds them: the field
``stride_h`` of ``Conv2DOptions`` is read by ``tflite.Conv2DOptions().StrideH()``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Activation(IntEnum):
    """Fused activation functions of the schema."""

    NONE = 0
    RELU = 1
    RELU_N1_TO_1 = 2
    RELU6 = 3
    TANH = 4
    SIGN_BIT = 5


class Padding(IntEnum):
    """Padding schemes of the schema."""

    SAME = 0
    VALID = 1


@dataclass(frozen=True)
class Conv2DOptions:
    """Of CONV_2D."""

    padding: int
    stride_w: int
    stride_h: int
    dilation_w_factor: int
    dilation_h_factor: int
    fused_activation_function: int


@dataclass(frozen=True)
class DepthwiseConv2DOptions:
    """Of DEPTHWISE_CONV_2D."""

    padding: int
    stride_w: int
    stride_h: int
    depth_multiplier: int
    dilation_w_factor: int
    dilation_h_factor: int
    fused_activation_function: int


@dataclass(frozen=True)
class TransposeConvOptions:
    """Of TRANSPOSE_CONV."""

    padding: int
    stride_w: int
    stride_h: int
    fused_activation_function: int


@dataclass(frozen=True)
class FullyConnectedOptions:
    """Of FULLY_CONNECTED."""

    fused_activation_function: int
    weights_format: int
    keep_num_dims: bool


@dataclass(frozen=True)
class Pool2DOptions:
    """Of AVERAGE_POOL_2D and MAX_POOL_2D."""

    padding: int
    stride_w: int
    stride_h: int
    filter_width: int
    filter_height: int
    fused_activation_function: int


@dataclass(frozen=True)
class SoftmaxOptions:
    """Of SOFTMAX."""

    beta: float


@dataclass(frozen=True)
class AddOptions:
    """Of ADD."""

    fused_activation_function: int
    pot_scale_int16: bool


@dataclass(frozen=True)
class SubOptions:
    """Of SUB."""

    fused_activation_function: int
    pot_scale_int16: bool


@dataclass(frozen=True)
class MulOptions:
    """Of MUL."""

    fused_activation_function: int


@dataclass(frozen=True)
class ConcatenationOptions:
    """Of CONCATENATION."""

    axis: int
    fused_activation_function: int


@dataclass(frozen=True)
class ReducerOptions:
    """Of MEAN."""

    keep_dims: bool


@dataclass(frozen=True)
class SplitOptions:
    """Of SPLIT."""

    num_splits: int


@dataclass(frozen=True)
class StridedSliceOptions:
    """Of STRIDED_SLICE."""

    begin_mask: int
    end_mask: int
    ellipsis_mask: int
    new_axis_mask: int
    shrink_axis_mask: int
    offset: bool


@dataclass(frozen=True)
class LeakyReluOptions:
    """Of LEAKY_RELU."""

    alpha: float


@dataclass(frozen=True)
class ResizeBilinearOptions:
    """Of RESIZE_BILINEAR."""

    align_corners: bool
    half_pixel_centers: bool


@dataclass(frozen=True)
class ResizeNearestNeighborOptions:
    """Of RESIZE_NEAREST_NEIGHBOR."""

    align_corners: bool
    half_pixel_centers: bool


@dataclass(frozen=True)
class PackOptions:
    """Of PACK."""

    values_count: int
    axis: int


@dataclass(frozen=True)
class UnpackOptions:
    """Of UNPACK."""

    num: int
    axis: int


@dataclass(frozen=True)
class SVDFOptions:
    """Of SVDF."""

    rank: int
    fused_activation_function: int


@dataclass(frozen=True)
class UnidirectionalSequenceLSTMOptions:
    """Of UNIDIRECTIONAL_SEQUENCE_LSTM."""

    fused_activation_function: int
    cell_clip: float
    proj_clip: float
    time_major: bool


@dataclass(frozen=True)
class CallOnceOptions:
    """Of CALL_ONCE."""

    init_subgraph_index: int


@dataclass(frozen=True)
class VarHandleOptions:
    """Of VAR_HANDLE."""

    container: str
    shared_name: str


Options = (
    Conv2DOptions
    | DepthwiseConv2DOptions
    | TransposeConvOptions
    | FullyConnectedOptions
    | Pool2DOptions
    | SoftmaxOptions
    | AddOptions
    | SubOptions
    | MulOptions
    | ConcatenationOptions
    | ReducerOptions
    | SplitOptions
    | StridedSliceOptions
    | LeakyReluOptions
    | ResizeBilinearOptions
    | ResizeNearestNeighborOptions
    | PackOptions
    | UnpackOptions
    | SVDFOptions
    | UnidirectionalSequenceLSTMOptions
    | CallOnceOptions
    | VarHandleOptions
)

TABLES: dict[str, type[Options]] = {
    "CONV_2D": Conv2DOptions,
    "DEPTHWISE_CONV_2D": DepthwiseConv2DOptions,
    "TRANSPOSE_CONV": TransposeConvOptions,
    "FULLY_CONNECTED": FullyConnectedOptions,
    "AVERAGE_POOL_2D": Pool2DOptions,
    "MAX_POOL_2D": Pool2DOptions,
    "SOFTMAX": SoftmaxOptions,
    "ADD": AddOptions,
    "SUB": SubOptions,
    "MUL": MulOptions,
    "CONCATENATION": ConcatenationOptions,
    "MEAN": ReducerOptions,
    "SUM": ReducerOptions,
    "SPLIT": SplitOptions,
    "STRIDED_SLICE": StridedSliceOptions,
    "LEAKY_RELU": LeakyReluOptions,
    "RESIZE_BILINEAR": ResizeBilinearOptions,
    "RESIZE_NEAREST_NEIGHBOR": ResizeNearestNeighborOptions,
    "PACK": PackOptions,
    "UNPACK": UnpackOptions,
    "SVDF": SVDFOptions,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": UnidirectionalSequenceLSTMOptions,
    "CALL_ONCE": CallOnceOptions,
    "VAR_HANDLE": VarHandleOptions,
}
