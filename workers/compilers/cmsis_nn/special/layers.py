"""What a specialised kernel is made from (`ConvLayer` …) and what comes out (`KernelCode`).

Everything here is known when the module is compiled: shapes, weights, requantisation. A kernel
is one C11 function with all of it baked in; `specialise` in this package's ``__init__`` picks
the emitter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Shape4 = tuple[int, int, int, int]  # N, H, W, C
Pair = tuple[int, int]  # vertical, horizontal


@dataclass(frozen=True, eq=False)
class Requantisation:
    """TFLite's affine requantisation of an int32 accumulator to int8.

    `multipliers` (int32, in [2^30, 2^31), or 0) and `shifts` (int32, > 0 is to the left) have one
    entry an output channel, or one for all. The accumulator sums w × (x − input_zero_point).
    """

    input_zero_point: int
    output_zero_point: int
    multipliers: NDArray[np.int32]
    shifts: NDArray[np.int32]
    activation_min: int = -128
    activation_max: int = 127


@dataclass(frozen=True, eq=False)
class ConvLayer:
    """CONV_2D: `weights` int8 OHWI, `bias` int32 [O] (zeros where the model has none).

    `padding` is (top, left, bottom, right), `stride` and `dilation` are (vertical, horizontal).
    """

    input_shape: Shape4
    output_shape: Shape4
    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    quant: Requantisation
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class DepthwiseLayer:
    """DEPTHWISE_CONV_2D: `weights` int8 [1, H, W, C × M]; output channel o reads input o // M."""

    input_shape: Shape4
    output_shape: Shape4
    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    quant: Requantisation
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """FULLY_CONNECTED: `weights` int8 [O, I], `bias` int32 [O]; `batch` rows of I inputs."""

    batch: int
    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    quant: Requantisation


@dataclass(frozen=True)
class PoolLayer:
    """AVERAGE_POOL_2D or MAX_POOL_2D; padding counts in neither (as in TFLite)."""

    kind: Literal["average", "max"]
    input_shape: Shape4
    output_shape: Shape4
    window: Pair
    stride: Pair
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    activation_min: int = -128
    activation_max: int = 127


@dataclass(frozen=True)
class AddLayer:
    """ADD of two int8 tensors of one shape, `size` elements each (TFLite's ArithmeticParams).

    `multipliers` and `shifts` are those of input 1, input 2 and the output; `left_shift` is
    TFLite's 20.
    """

    size: int
    input_zero_points: tuple[int, int]
    output_zero_point: int
    multipliers: tuple[int, int, int]
    shifts: tuple[int, int, int]
    left_shift: int = 20
    activation_min: int = -128
    activation_max: int = 127


Layer = ConvLayer | DepthwiseLayer | DenseLayer | PoolLayer | AddLayer


@dataclass(frozen=True)
class Options:
    """`objective`: what to make small. `max_scratch`: bytes of scratch the layer may use (None:
    no limit); a kernel that cannot keep to it is not made.
    """

    objective: Literal["latency", "flash"] = "latency"
    max_scratch: int | None = None


@dataclass(frozen=True, eq=False)
class Constant:
    """A read-only array: ``static const <ctype> <name>[<data.size>]``, flattened, 4-byte aligned.

    `ctype` is int8_t, uint8_t, int16_t, uint16_t, int32_t or uint32_t and matches `data.dtype`.
    """

    name: str
    ctype: str
    data: NDArray[np.generic]


@dataclass(frozen=True)
class Snippet:
    """Shared C text that kernels of several layers use: emit once a `name`, in order of need."""

    name: str
    text: str


@dataclass(frozen=True, eq=False)
class KernelCode:
    """One layer as C11.

    `source` defines ``static void <function>(const int8_t *in, int8_t *out, uint8_t *scratch)``;
    for an `AddLayer` the parameters are ``(const int8_t *in, const int8_t *in2, int8_t *out,
    uint8_t *scratch)``. It needs, before it: the `includes` (``<stdint.h>`` …), each of the
    `snippets` (once a module, in this order) and the `constants`. All names begin with the
    caller's prefix but the snippets', which begin with ``tk_``.

    `in` and `out` must be aligned to `alignment` bytes and `scratch` to 16. `in_place`: `out` may
    be the very buffer of `in` (for `AddLayer`, of either input); otherwise they must not overlap.
    """

    function: str
    source: str
    constants: tuple[Constant, ...] = ()
    scratch_bytes: int = 0
    includes: tuple[str, ...] = ("<stdint.h>",)
    snippets: tuple[Snippet, ...] = ()
    alignment: int = 4
    in_place: bool = False
