"""What random cases are drawn from: shapes, scales, zero points, weights, activations."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tests.unit.cmsis_nn.schema import Model, T
from workers.compilers.cmsis_nn.options import Activation

zero_points = st.one_of(st.sampled_from([-128, -127, 0, 1, 127]), st.integers(-128, 127))
clamps = st.sampled_from(
    [Activation.NONE, Activation.RELU, Activation.RELU6, Activation.RELU_N1_TO_1]
)
seeds = st.integers(0, 2**32 - 1)
paddings = st.sampled_from([0, 1])
scales = st.floats(-12, 1).map(lambda e: float(np.float32(2.0**e)))


def out_size(size: int, window: int, stride: int, dilation: int, padding: int) -> int:
    """TFLite's output size of one dimension."""
    reach = (window - 1) * dilation + 1
    return -(-size // stride) if padding == 0 else (size - reach) // stride + 1


def weights(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Random int8 weights; some all at the ends of the range, some sparse, some with dead rows."""
    kind = rng.integers(4)
    data = rng.integers(-127, 128, shape)
    if kind == 1:
        data = rng.choice([-128, -127, 127], shape)
    elif kind == 2:
        data = np.where(rng.random(shape) < 0.7, 0, data)
    elif kind == 3:
        data[..., rng.random(shape[-1]) < 0.5] = 0
        data[rng.random(shape[0]) < 0.5] = 0
    return data.astype(np.int8)


def effective_scales(rng: np.random.Generator, depth: int, count: int) -> np.ndarray:
    """Accumulator-to-output scales: around the natural one, and far to both sides.

    Now and then from what is too small for a multiplier to what shifts to the left.
    """
    if rng.random() < 0.2:
        return 2.0 ** rng.uniform(-40, 6, count)
    natural = -12 - 0.5 * np.log2(depth)
    return 2.0 ** (natural + rng.uniform(-4, 9) + rng.uniform(-2, 2, count))


def weighted(
    model: Model,
    rng: np.random.Generator,
    data: np.ndarray,
    in_scale: float,
    out_scale: float,
    axis: int,
    depth: int,
    *,
    per_channel: bool,
    bias: bool,
) -> list[int]:
    """Add constant weights and bias; return their tensor numbers."""
    count = data.shape[axis] if per_channel else 1
    wanted = effective_scales(rng, depth, count)
    scale = (wanted * out_scale / in_scale).astype(np.float32)
    numbers = [model.add(T(data.shape, "int8", list(scale), 0, data, axis))]
    if bias:
        channels = data.shape[axis]
        # biases of the size of an output range, in accumulator steps
        most = np.minimum(2.0**28, 200 / np.broadcast_to(wanted, channels))
        values = np.rint(rng.uniform(-1, 1, channels) * most).astype(np.int32)
        product = (np.float32(in_scale) * scale).astype(np.float32)
        numbers.append(model.add(T((channels,), "int32", list(product), 0, values)))
    return numbers
