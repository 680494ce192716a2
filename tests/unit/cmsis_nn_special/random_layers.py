"""Random layers of every kind, with the corners of their arithmetic over-represented."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from workers.compilers.cmsis_nn.special.layers import (
    AddLayer,
    ConvLayer,
    DenseLayer,
    DepthwiseLayer,
    Layer,
    PoolLayer,
    Requantisation,
)

_CHANNELS = (1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 20, 31, 33)
Random = np.random.Generator


def _zero_point(rng: Random) -> int:
    return int(rng.choice([-128, 127, 0, int(rng.integers(-128, 128))]))


def _activation(rng: Random) -> tuple[int, int]:
    if rng.random() < 0.6:
        return -128, 127
    low, high = sorted(int(v) for v in rng.integers(-128, 128, 2))
    return low, high


def _multipliers(rng: Random, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mostly what converters make; sometimes the ends of the range, or left shifts."""
    multipliers = rng.integers(1 << 30, 1 << 31, count)
    shifts = rng.integers(-11, -3, count)
    style = rng.random()
    if style < 0.3:
        multipliers = rng.choice([1 << 30, (1 << 31) - 1, (1 << 30) + 1, 3 << 29], count)
    if style < 0.15:
        shifts = rng.choice([-1, -2, -8, -30, -31], count)
    elif style > 0.85:
        shifts = rng.integers(-9, 4, count)
    if style > 0.95:
        multipliers = np.where(rng.random(count) < 0.5, 0, multipliers)
    return multipliers.astype(np.int32), shifts.astype(np.int32)


def _weights(rng: Random, shape: tuple[int, ...], channel_axis: int) -> np.ndarray:
    span = int(rng.choice([127, 127, 20, 2]))
    weights = rng.integers(-span, span + 1, shape).astype(np.int8)
    if rng.random() < 0.3:
        dead = rng.random(shape[channel_axis]) < 0.3
        index = [slice(None)] * len(shape)
        index[channel_axis] = np.nonzero(dead)[0]  # type: ignore[call-overload]
        weights[tuple(index)] = 0
    if rng.random() < 0.1:
        weights[:] = -127 if rng.random() < 0.5 else 127
    return weights


def _bias(rng: Random, count: int) -> np.ndarray:
    span = int(rng.choice([0, 300, 40_000, 1 << 22]))
    if rng.random() < 0.15:
        span = (1 << 30) + (1 << 28)
    return rng.integers(-span, span + 1, count).astype(np.int32)


def _quant(rng: Random, count: int, uniform: bool) -> Requantisation:
    multipliers, shifts = _multipliers(rng, 1 if uniform else count)
    zero_in, zero_out = _zero_point(rng), _zero_point(rng)
    return Requantisation(zero_in, zero_out, multipliers, shifts, *_activation(rng))


def _axis(rng: Random, size: int, reach: int, stride: int) -> tuple[int, int, int]:
    """Return leading padding, trailing padding and output size, TFLite's or any other."""
    style = rng.random()
    if style < 0.4 and size >= reach:
        return 0, 0, (size - reach) // stride + 1
    if style < 0.8 or reach < 2:
        out = -(-size // stride)
        total = max(0, (out - 1) * stride + reach - size)
        return total // 2, total - total // 2, out
    lead, trail = (int(v) for v in rng.integers(0, reach, 2))
    if size + lead + trail < reach:
        lead = trail = reach - 1
    return lead, trail, (size + lead + trail - reach) // stride + 1


def _window(rng: Random, largest: int) -> dict[str, tuple[int, ...]]:
    size = tuple(int(v) for v in rng.integers(1, 12, 2))
    kernel = tuple(int(v) for v in rng.choice([1, 1, 2, 3, 3, 4, 5, largest], 2))
    stride = tuple(int(v) for v in rng.choice([1, 1, 2, 3], 2))
    dilation = tuple(int(v) for v in rng.choice([1, 1, 1, 2, 3], 2))
    if rng.random() < 0.3:
        kernel = stride = dilation = (1, 1)
    axes = [_axis(rng, size[i], (kernel[i] - 1) * dilation[i] + 1, stride[i]) for i in range(2)]
    return {
        "size": size,
        "kernel": kernel,
        "stride": stride,
        "dilation": dilation,
        "padding": (axes[0][0], axes[1][0], axes[0][1], axes[1][1]),
        "out": (axes[0][2], axes[1][2]),
    }


def conv(rng: Random) -> ConvLayer:
    """Return a random CONV_2D."""
    w = _window(rng, 6)
    inputs, outputs = (int(v) for v in rng.choice(_CHANNELS, 2))
    batch = int(rng.choice([1, 1, 1, 2]))
    return ConvLayer(
        (batch, *w["size"], inputs),  # type: ignore[arg-type]
        (batch, *w["out"], outputs),  # type: ignore[arg-type]
        _weights(rng, (outputs, *w["kernel"], inputs), 0),
        _bias(rng, outputs),
        _quant(rng, outputs, rng.random() < 0.2),
        w["stride"],  # type: ignore[arg-type]
        w["dilation"],  # type: ignore[arg-type]
        w["padding"],  # type: ignore[arg-type]
    )


def depthwise(rng: Random) -> DepthwiseLayer:
    """Return a random DEPTHWISE_CONV_2D."""
    w = _window(rng, 7)
    inputs, repeat = int(rng.choice(_CHANNELS)), int(rng.choice([1, 1, 1, 2, 3]))
    batch = int(rng.choice([1, 1, 1, 2]))
    outputs = inputs * repeat
    return DepthwiseLayer(
        (batch, *w["size"], inputs),  # type: ignore[arg-type]
        (batch, *w["out"], outputs),  # type: ignore[arg-type]
        _weights(rng, (1, *w["kernel"], outputs), 3),
        _bias(rng, outputs),
        _quant(rng, outputs, rng.random() < 0.2),
        w["stride"],  # type: ignore[arg-type]
        w["dilation"],  # type: ignore[arg-type]
        w["padding"],  # type: ignore[arg-type]
    )


def dense(rng: Random) -> DenseLayer:
    """Return a random FULLY_CONNECTED."""
    inputs = int(rng.choice([*_CHANNELS, 64, 100, 160, 650]))
    outputs = int(rng.choice(_CHANNELS))
    return DenseLayer(
        int(rng.choice([1, 1, 2, 3])),
        _weights(rng, (outputs, inputs), 0),
        _bias(rng, outputs),
        _quant(rng, outputs, rng.random() < 0.7),
    )


def pool(rng: Random) -> PoolLayer:
    """Return a random pool; no window lies wholly in the padding."""
    while True:
        w = _window(rng, 9)
        top, left, bottom, right = w["padding"]
        if max(top, bottom) < w["kernel"][0] and max(left, right) < w["kernel"][1]:
            break
    kernel = w["kernel"]
    axes = [_axis(rng, w["size"][i], kernel[i], w["stride"][i]) for i in range(2)]
    channels, batch = int(rng.choice(_CHANNELS)), int(rng.choice([1, 1, 2]))
    return PoolLayer(
        "average" if rng.random() < 0.6 else "max",
        (batch, *w["size"], channels),  # type: ignore[arg-type]
        (batch, axes[0][2], axes[1][2], channels),
        kernel,  # type: ignore[arg-type]
        w["stride"],  # type: ignore[arg-type]
        (axes[0][0], axes[1][0], axes[0][1], axes[1][1]),
        *_activation(rng),
    )


def add(rng: Random) -> AddLayer:
    """Return a random ADD: one input's multiplier is one half, as TFLite's scheme has it."""
    multipliers = [int(v) for v in rng.integers(1 << 30, 1 << 31, 3)]
    shifts = [int(v) for v in (*rng.integers(-6, 1, 2), rng.integers(-24, -14))]
    if rng.random() < 0.7:
        exact = int(rng.integers(0, 2))
        multipliers[exact], shifts[exact] = 1 << 30, 0
    return AddLayer(
        int(rng.integers(1, 200)),
        (_zero_point(rng), _zero_point(rng)),
        _zero_point(rng),
        tuple(multipliers),  # type: ignore[arg-type]
        tuple(shifts),  # type: ignore[arg-type]
        20,
        *_activation(rng),
    )


MAKERS: dict[str, Callable[[Random], Layer]] = {
    "conv": conv,
    "depthwise": depthwise,
    "dense": dense,
    "pool": pool,
    "add": add,
}


def inputs(rng: Random, layer: Layer) -> tuple[np.ndarray, ...]:
    """Return random inputs, sometimes the extremes only."""
    if isinstance(layer, AddLayer):
        sizes = [(layer.size,), (layer.size,)]
    elif isinstance(layer, DenseLayer):
        sizes = [(layer.batch, layer.weights.shape[1])]
    else:
        sizes = [layer.input_shape]
    if rng.random() < 0.2:
        return tuple(rng.choice(np.array([-128, 127], np.int8), size) for size in sizes)
    return tuple(rng.integers(-128, 128, size).astype(np.int8) for size in sizes)
