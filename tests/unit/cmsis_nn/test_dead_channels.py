"""Channels that are constant leave the network, and networks drawn at random stay TFLM's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.cmsis_nn.networks import KIND, both, conv, depthwise, filter_of, int32, weights_of
from tests.unit.cmsis_nn.schema import Model, T
from workers.compilers.cmsis_nn.options import (
    AddOptions,
    ConcatenationOptions,
    FullyConnectedOptions,
    Pool2DOptions,
)


def _dead(data: np.ndarray, axis: int, channels: list[int]) -> np.ndarray:
    data = data.copy()
    np.moveaxis(data, axis, 0)[channels] = 0
    return data


def _bias(count: int, **held: int) -> np.ndarray:
    bias = np.arange(count) * 53 - 100
    for channel, value in held.items():
        bias[int(channel[1:])] = value
    return bias


def test_dead_channels_vanish_through_a_whole_network(tmp_path: Path) -> None:
    """Conv → depthwise → two branches → add → pool → reshape → dense, dead channels in each."""
    model = Model()
    source = model.input(T((1, 8, 8, 3), *KIND))
    # channel 0 is the zero point everywhere, 2 is not: the padded depthwise layer needs it
    first = _dead(weights_of((6, 3, 3, 3)), 0, [0, 2])
    one = conv(model, source, first, (1, 8, 8, 6), bias=_bias(6, c0=0, c2=90_000))
    mid = depthwise(model, one, _dead(weights_of((1, 3, 3, 6)), 3, [4]), (1, 8, 8, 6))
    left = conv(model, mid, _dead(weights_of((5, 1, 1, 6), 2), 0, [1, 3]), (1, 8, 8, 5))
    right = conv(model, mid, _dead(weights_of((5, 1, 1, 6), 3), 0, [0, 1, 3]), (1, 8, 8, 5))
    total = model.op("ADD", (left, right), T((1, 8, 8, 5), *KIND), AddOptions(1, False))
    pooled = model.op(
        "AVERAGE_POOL_2D", (total,), T((1, 2, 2, 5), *KIND), Pool2DOptions(1, 4, 4, 4, 4, 0)
    )
    flat = model.op("RESHAPE", (pooled, int32(model, [1, 20])), T((1, 20), *KIND))
    numbers = (flat, *filter_of(model, _dead(weights_of((4, 20), 4), 0, [2]), 0))
    dense = model.op(
        "FULLY_CONNECTED", numbers, T((1, 4), *KIND), FullyConnectedOptions(0, 0, False)
    )
    model.outputs.append(dense)
    with_, without = both(model, tmp_path, "dead-channels")
    shapes = [s.layer.weights.shape for s in with_.program.steps if hasattr(s.layer, "weights")]
    # 0 goes, 2 stays because of the padding; the depthwise layer's own dead channel 4 goes too
    assert shapes[0][0] == shapes[1][3] == 4
    assert [shape[0] for shape in shapes[2:4]] == [3, 3]
    assert shapes[4] == (4, 12)
    assert with_.weight_bytes < without.weight_bytes
    assert with_.layout.size < without.layout.size


def test_a_channel_that_one_of_two_readers_needs_stays_for_both(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    one = conv(model, source, _dead(weights_of((4, 1, 1, 2)), 0, [1]), (1, 4, 4, 4))
    other = conv(model, source, _dead(weights_of((4, 1, 1, 2), 2), 0, [1]), (1, 4, 4, 4))
    total = model.op("ADD", (one, other), T((1, 4, 4, 4), *KIND), AddOptions(0, False))
    model.outputs.append(conv(model, total, weights_of((3, 1, 1, 4)), (1, 4, 4, 3)))
    model.outputs.append(model.op("RELU", (one,), T((1, 4, 4, 4), *KIND)))
    with_, _ = both(model, tmp_path, "dead-channels")
    assert with_.program.steps[1].layer.weights.shape[0] == 4


def test_dead_channels_of_an_output_stay(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    model.outputs.append(conv(model, source, _dead(weights_of((4, 1, 1, 2)), 0, [1]), (1, 4, 4, 4)))
    assert both(model, tmp_path, "dead-channels")[0].program.steps[0].layer.weights.shape[0] == 4


def test_a_network_of_nothing_but_dead_channels_still_runs(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    one = conv(model, source, np.zeros((4, 1, 1, 2), np.int8), (1, 4, 4, 4))
    model.outputs.append(conv(model, one, weights_of((3, 1, 1, 4)), (1, 4, 4, 3)))
    with_, _ = both(model, tmp_path, "dead-channels")
    assert with_.program.steps[0].layer.weights.shape[0] == 1


def test_dead_channels_with_a_multiplier_go_by_whole_groups(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 6, 6, 2), *KIND))
    one = conv(
        model, source, _dead(weights_of((3, 1, 1, 2)), 0, [1]), (1, 6, 6, 3), bias=_bias(3, c1=0)
    )
    data = _dead(weights_of((1, 3, 3, 6)), 3, [0])
    mid = depthwise(model, one, data, (1, 6, 6, 6), multiplier=2)
    model.outputs.append(conv(model, mid, weights_of((2, 1, 1, 6)), (1, 6, 6, 2)))
    with_, _ = both(model, tmp_path, "dead-channels")
    assert with_.program.steps[1].layer.weights.shape[3] == 4


@pytest.mark.parametrize("seed", range(12))
def test_random_networks(seed: int, tmp_path: Path) -> None:
    """Chains with branches of everything the passes look at."""
    rng = np.random.default_rng(seed)
    model = Model()
    last = model.input(T((1, 9, 8, 3), *KIND))
    makers: list[Callable[[Model, int, np.random.Generator], int]] = [
        _random_pad,
        _random_conv,
        _random_depthwise,
        _random_unary,
        _random_branch,
        _random_concat,
    ]
    for _ in range(9):
        last = makers[rng.integers(len(makers))](model, last, rng)
    model.outputs.append(last)
    both(model, tmp_path, "dead-channels")


def _sparse(rng: np.random.Generator, shape: tuple[int, ...], axis: int) -> np.ndarray:
    data = rng.integers(-127, 128, shape).astype(np.int8)
    return _dead(data, axis, list(np.flatnonzero(rng.random(shape[axis]) < 0.4)))


def _random_pad(model: Model, last: int, rng: np.random.Generator) -> int:
    shape = model.tensors[last].shape
    amounts = [[0, 0], list(rng.integers(0, 2, 2)), list(rng.integers(0, 2, 2)), [0, 0]]
    target = tuple(int(n + sum(a)) for n, a in zip(shape, amounts, strict=True))
    return model.op("PAD", (last, int32(model, amounts)), T(target, *KIND))


def _random_conv(model: Model, last: int, rng: np.random.Generator) -> int:
    shape = model.tensors[last].shape
    window, channels = int(rng.choice([1, 1, 3])), int(rng.integers(2, 8))
    data = _sparse(rng, (channels, window, window, shape[3]), 0)
    bias = rng.choice([0, 500, -700, 40_000], channels)
    return conv(model, last, data, (*shape[:3], channels), bias=bias, act=int(rng.integers(4)))


def _random_depthwise(model: Model, last: int, rng: np.random.Generator) -> int:
    shape = model.tensors[last].shape
    data = _sparse(rng, (1, 3, 3, shape[3]), 3)
    bias = rng.choice([0, 500, -700, 40_000], shape[3])
    return depthwise(model, last, data, shape, bias=bias)


def _random_unary(model: Model, last: int, rng: np.random.Generator) -> int:
    shape = model.tensors[last].shape
    name = str(rng.choice(["RELU", "RELU6", "QUANTIZE", "HARD_SWISH"]))
    return model.op(name, (last,), T(shape, *KIND))


def _random_branch(model: Model, last: int, rng: np.random.Generator) -> int:
    shape = model.tensors[last].shape
    sides = [
        conv(model, last, _sparse(rng, (shape[3], 1, 1, shape[3]), 0), shape) for _ in range(2)
    ]
    sides[1] = sides[1] if rng.random() < 0.5 else last
    return model.op("ADD", sides, T(shape, *KIND), AddOptions(int(rng.integers(4)), False))


def _random_concat(model: Model, last: int, rng: np.random.Generator) -> int:
    shape = model.tensors[last].shape
    other = conv(model, last, _sparse(rng, (shape[3], 1, 1, shape[3]), 0), shape)
    axis = int(rng.choice([1, 3]))
    target = (*shape[:axis], shape[axis] * 2, *shape[axis + 1 :])
    if np.prod(target) > 5000:
        return other
    sides = (last, other) if rng.random() < 0.5 else (other, last)
    return model.op("CONCATENATION", sides, T(target, *KIND), ConcatenationOptions(axis, 0))
