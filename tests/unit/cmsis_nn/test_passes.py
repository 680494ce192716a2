"""Every optimisation pass: it does what it says, and the result is still TFLM's, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.cmsis_nn.running import ALL_OFF, Oracle, assert_equal, compiled
from tests.unit.cmsis_nn.schema import Model, Op, T
from workers.compilers.cmsis_nn.build import Built
from workers.compilers.cmsis_nn.layers import (
    AddLayer,
    ConvLayer,
    DepthwiseLayer,
    ElementwiseLayer,
    LutLayer,
    MoveLayer,
)
from workers.compilers.cmsis_nn.options import (
    AddOptions,
    ConcatenationOptions,
    Conv2DOptions,
    DepthwiseConv2DOptions,
    FullyConnectedOptions,
    MulOptions,
    Pool2DOptions,
    SplitOptions,
)
from workers.compilers.cmsis_nn.switches import parse

KIND = ("int8", 0.05, -7)
_RUNS = 6


def _int32(model: Model, values: object) -> int:
    data = np.array(values, np.int32)
    return model.add(T(data.shape, "int32", data=data))


def _filter(model: Model, data: np.ndarray, axis: int, bias: np.ndarray | None = None) -> list[int]:
    channels = data.shape[axis]
    scales = np.linspace(0.002, 0.004, channels, dtype=np.float32)
    numbers = [model.add(T(data.shape, "int8", list(scales), 0, data, axis))]
    values = np.arange(channels) * 37 - 90 if bias is None else bias
    product = (np.float32(KIND[1]) * scales).astype(np.float32)
    numbers.append(model.add(T((channels,), "int32", list(product), 0, values)))
    return numbers


def _weights(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


def conv(model: Model, source: int, data: np.ndarray, shape: tuple[int, ...], **more) -> int:
    bias = more.pop("bias", None)
    stride, padding, act = more.get("stride", 1), more.get("padding", 0), more.get("act", 0)
    options = Conv2DOptions(padding, stride, stride, 1, 1, act)
    numbers = (source, *_filter(model, data, 0, bias))
    return model.op("CONV_2D", numbers, T(shape, *KIND), options)


def depthwise(model: Model, source: int, data: np.ndarray, shape: tuple[int, ...], **more) -> int:
    bias, multiplier = more.pop("bias", None), more.get("multiplier", 1)
    stride, padding = more.get("stride", 1), more.get("padding", 0)
    options = DepthwiseConv2DOptions(padding, stride, stride, multiplier, 1, 1, 0)
    numbers = (source, *_filter(model, data, 3, bias))
    return model.op("DEPTHWISE_CONV_2D", numbers, T(shape, *KIND), options)


def both(model: Model, folder: Path, switch: str) -> tuple[Built, Built]:
    """Compare all passes, none, and all but `switch` with the oracle; return with and without."""
    data = model.to_bytes()
    oracle = Oracle(data)
    choices = {"with": {}, "without": {switch: "off"}, "none": ALL_OFF}
    modules = {name: compiled(data, folder / name, chosen) for name, chosen in choices.items()}
    rng = np.random.default_rng(5)
    for _ in range(_RUNS):
        inputs = [
            rng.integers(-128, 128, model.tensors[n].shape).astype(np.int8) for n in model.inputs
        ]
        want = oracle.run(inputs, len(model.outputs))
        for name, module in modules.items():
            assert_equal(module.run(inputs), want, name)
    return modules["with"].built, modules["without"].built


def kinds(built: Built) -> list[type]:
    """The layers that have code."""
    steps = enumerate(built.program.steps)
    return [type(step.layer) for i, step in steps if i not in built.layout.elided]


def test_padding_goes_into_the_convolution(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 6, 7, 3), *KIND))
    amounts = _int32(model, [[0, 0], [2, 1], [1, 2], [0, 0]])
    padded = model.op("PAD", (source, amounts), T((1, 9, 10, 3), *KIND))
    one = conv(model, padded, _weights((4, 3, 3, 3)), (1, 7, 8, 4), padding=1)
    two = depthwise(model, padded, _weights((1, 2, 2, 3)), (1, 5, 5, 3), padding=0, stride=2)
    model.outputs += [one, two]
    with_, without = both(model, tmp_path, "pad-fusion")
    assert MoveLayer not in kinds(with_)
    assert MoveLayer in kinds(without)
    assert with_.layout.size < without.layout.size


def test_padding_with_another_value_stays(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    amounts = _int32(model, [[0, 0], [1, 1], [1, 1], [0, 0]])
    value = model.add(T((1,), *KIND, data=np.array([5], np.int8)))
    padded = model.op("PADV2", (source, amounts, value), T((1, 6, 6, 2), *KIND))
    model.outputs.append(conv(model, padded, _weights((3, 3, 3, 2)), (1, 4, 4, 3), padding=1))
    assert MoveLayer in kinds(both(model, tmp_path, "pad-fusion")[0])


def test_padding_of_channels_stays(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    amounts = _int32(model, [[0, 0], [1, 1], [1, 1], [1, 0]])
    padded = model.op("PAD", (source, amounts), T((1, 6, 6, 3), *KIND))
    model.outputs.append(conv(model, padded, _weights((3, 3, 3, 3)), (1, 4, 4, 3), padding=1))
    assert MoveLayer in kinds(both(model, tmp_path, "pad-fusion")[0])


@pytest.mark.parametrize("activation", ["RELU", "RELU6"])
def test_clamps_go_into_their_layer(activation: str, tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 5, 5, 3), *KIND))
    hidden = conv(model, source, _weights((4, 3, 3, 3)), (1, 5, 5, 4))
    clamped = model.op(activation, (hidden,), T((1, 5, 5, 4), *KIND))
    total = model.op("ADD", (clamped, clamped), T((1, 5, 5, 4), *KIND), AddOptions(0, False))
    model.outputs.append(model.op(activation, (total,), T((1, 5, 5, 4), *KIND)))
    with_, without = both(model, tmp_path, "activation-fusion")
    assert kinds(with_) == [ConvLayer, AddLayer]
    assert kinds(without).count(LutLayer) == 2


def test_a_clamp_of_a_value_that_others_read_stays(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 5, 5, 3), *KIND))
    hidden = conv(model, source, _weights((4, 3, 3, 3)), (1, 5, 5, 4))
    clamped = model.op("RELU", (hidden,), T((1, 5, 5, 4), *KIND))
    model.outputs += [hidden, clamped]
    assert LutLayer in kinds(both(model, tmp_path, "activation-fusion")[0])


def test_tables_after_tables_become_one(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 300), "int8", 0.05, 3))
    one = model.op("LOGISTIC", (source,), T((1, 300), "int8", 1 / 256, -128))
    two = model.op("QUANTIZE", (one,), T((1, 300), "int8", 0.01, 5))
    model.outputs.append(model.op("HARD_SWISH", (two,), T((1, 300), "int8", 0.02, 0)))
    with_, without = both(model, tmp_path, "activation-fusion")
    assert kinds(with_) == [LutLayer]
    assert len(kinds(without)) == 3


def test_a_table_that_changes_nothing_needs_no_code(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 40), *KIND))
    same = model.op("QUANTIZE", (source,), T((1, 40), *KIND))
    model.outputs.append(model.op("ADD", (same, same), T((1, 40), *KIND), AddOptions(0, False)))
    with_, without = both(model, tmp_path, "activation-fusion")
    assert kinds(with_) == [AddLayer]
    assert LutLayer in kinds(without)


def test_constants_are_folded_up_to_the_weights(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((2, 6), *KIND))
    data = _weights((6, 4))
    stored = model.add(T((6, 4), "int8", 0.01, 0, data))
    turned = model.op("TRANSPOSE", (stored, _int32(model, [1, 0])), T((4, 6), "int8", 0.01))
    options = FullyConnectedOptions(0, 0, False)
    dense = model.op("FULLY_CONNECTED", (source, turned, -1), T((2, 4), *KIND), options)
    one = model.add(T((2, 4), *KIND, data=_weights((2, 4), 2)))
    two = model.add(T((1, 4), *KIND, data=_weights((1, 4), 3)))
    held = model.op("MUL", (one, two), T((2, 4), *KIND), MulOptions(0))
    model.outputs.append(model.op("ADD", (dense, held), T((2, 4), *KIND), AddOptions(0, False)))
    data = model.to_bytes()
    module, oracle = compiled(data, tmp_path), Oracle(data)
    assert len(kinds(module.built)) == 2
    rng = np.random.default_rng(2)
    for _ in range(_RUNS):
        given = [rng.integers(-128, 128, (2, 6)).astype(np.int8)]
        assert_equal(module.run(given), oracle.run(given, 1))


def test_an_output_may_be_a_constant_or_an_input(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((3,), *KIND))
    one = model.add(T((3,), *KIND, data=_weights((3,))))
    total = model.op("ADD", (one, one), T((3,), *KIND), AddOptions(0, False))
    model.outputs += [total, source]
    data = model.to_bytes()
    module = compiled(data, tmp_path)
    given = np.array([1, -2, 3], np.int8)
    got = module.run([given])
    assert_equal(got, [Oracle(data).run([given], 1)[0], given])


def test_operation_with_one_scalar_becomes_a_table(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 20, 20), *KIND))
    two = model.add(T((1,), "int8", 0.01, 4, np.array([90], np.int8)))
    last = source
    for name, options in (("MUL", MulOptions(1)), ("ADD", AddOptions(0, False))):
        last = model.op(name, (last, two), T((1, 20, 20), *KIND), options)
    model.outputs.append(last)
    with_, without = both(model, tmp_path, "constant-folding")
    assert kinds(with_) == [LutLayer]
    assert kinds(without) == [ElementwiseLayer, ElementwiseLayer]


def test_depthwise_of_one_channel_is_a_convolution(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 9, 5, 1), *KIND))
    last = depthwise(model, source, _weights((1, 4, 3, 6)), (1, 9, 5, 6), multiplier=6)
    model.outputs.append(last)
    with_, without = both(model, tmp_path, "special-cases")
    assert kinds(with_) == [ConvLayer]
    assert kinds(without) == [DepthwiseLayer]


def test_convolution_of_single_channel_groups_is_depthwise(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 6, 6, 3), *KIND))
    model.outputs.append(conv(model, source, _weights((6, 3, 3, 1)), (1, 6, 6, 6)))
    with_, without = both(model, tmp_path, "special-cases")
    assert kinds(with_) == [DepthwiseLayer]
    assert kinds(without) == [ConvLayer]


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
    first = _dead(_weights((6, 3, 3, 3)), 0, [0, 2])
    one = conv(model, source, first, (1, 8, 8, 6), bias=_bias(6, c0=0, c2=90_000))
    mid = depthwise(model, one, _dead(_weights((1, 3, 3, 6)), 3, [4]), (1, 8, 8, 6))
    left = conv(model, mid, _dead(_weights((5, 1, 1, 6), 2), 0, [1, 3]), (1, 8, 8, 5))
    right = conv(model, mid, _dead(_weights((5, 1, 1, 6), 3), 0, [0, 1, 3]), (1, 8, 8, 5))
    total = model.op("ADD", (left, right), T((1, 8, 8, 5), *KIND), AddOptions(1, False))
    pooled = model.op(
        "AVERAGE_POOL_2D", (total,), T((1, 2, 2, 5), *KIND), Pool2DOptions(1, 4, 4, 4, 4, 0)
    )
    flat = model.op("RESHAPE", (pooled, _int32(model, [1, 20])), T((1, 20), *KIND))
    numbers = (flat, *_filter(model, _dead(_weights((4, 20), 4), 0, [2]), 0))
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
    one = conv(model, source, _dead(_weights((4, 1, 1, 2)), 0, [1]), (1, 4, 4, 4))
    other = conv(model, source, _dead(_weights((4, 1, 1, 2), 2), 0, [1]), (1, 4, 4, 4))
    total = model.op("ADD", (one, other), T((1, 4, 4, 4), *KIND), AddOptions(0, False))
    model.outputs.append(conv(model, total, _weights((3, 1, 1, 4)), (1, 4, 4, 3)))
    model.outputs.append(model.op("RELU", (one,), T((1, 4, 4, 4), *KIND)))
    with_, _ = both(model, tmp_path, "dead-channels")
    assert with_.program.steps[1].layer.weights.shape[0] == 4


def test_dead_channels_of_an_output_stay(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    model.outputs.append(conv(model, source, _dead(_weights((4, 1, 1, 2)), 0, [1]), (1, 4, 4, 4)))
    assert both(model, tmp_path, "dead-channels")[0].program.steps[0].layer.weights.shape[0] == 4


def test_a_network_of_nothing_but_dead_channels_still_runs(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    one = conv(model, source, np.zeros((4, 1, 1, 2), np.int8), (1, 4, 4, 4))
    model.outputs.append(conv(model, one, _weights((3, 1, 1, 4)), (1, 4, 4, 3)))
    with_, _ = both(model, tmp_path, "dead-channels")
    assert with_.program.steps[0].layer.weights.shape[0] == 1


def test_dead_channels_with_a_multiplier_go_by_whole_groups(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 6, 6, 2), *KIND))
    one = conv(
        model, source, _dead(_weights((3, 1, 1, 2)), 0, [1]), (1, 6, 6, 3), bias=_bias(3, c1=0)
    )
    data = _dead(_weights((1, 3, 3, 6)), 3, [0])
    mid = depthwise(model, one, data, (1, 6, 6, 6), multiplier=2)
    model.outputs.append(conv(model, mid, _weights((2, 1, 1, 6)), (1, 6, 6, 2)))
    with_, _ = both(model, tmp_path, "dead-channels")
    assert with_.program.steps[1].layer.weights.shape[3] == 4


def test_concatenation_is_made_in_place(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    parts = [conv(model, source, _weights((3, 1, 1, 2), seed), (1, 4, 4, 3)) for seed in (1, 2)]
    options = ConcatenationOptions(1, 0)
    whole = model.op("CONCATENATION", parts, T((1, 8, 4, 3), *KIND), options)
    model.outputs.append(conv(model, whole, _weights((2, 3, 3, 3)), (1, 8, 4, 2)))
    with_, without = both(model, tmp_path, "placement")
    assert MoveLayer not in kinds(with_)
    assert MoveLayer in kinds(without)


def test_interleaved_concatenation_is_copied(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    parts = [conv(model, source, _weights((3, 1, 1, 2), seed), (1, 4, 4, 3)) for seed in (1, 2)]
    options = ConcatenationOptions(3, 0)
    model.outputs.append(model.op("CONCATENATION", parts, T((1, 4, 4, 6), *KIND), options))
    assert MoveLayer in kinds(both(model, tmp_path, "placement")[0])


def test_split_parts_stay_where_they_are(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 16), *KIND))
    axis = model.add(T((), "int32", data=np.array(1, np.int32)))
    parts = [model.add(T((1, 8), *KIND)) for _ in range(2)]
    model.operators.append(Op("SPLIT", (axis, source), tuple(parts), SplitOptions(2)))
    model.outputs.append(model.op("ADD", parts, T((1, 8), *KIND), AddOptions(0, False)))
    with_, without = both(model, tmp_path, "placement")
    assert kinds(with_) == [AddLayer]
    assert MoveLayer in kinds(without)
    assert with_.layout.size == 16  # the sum lies on the first half


@pytest.mark.parametrize("switch", ["in-place", "reshape-removal"])
def test_values_share_a_buffer(switch: str, tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 100), *KIND))
    one = model.op("LOGISTIC", (source,), T((1, 100), "int8", 1 / 256, -128))
    two = model.op("RESHAPE", (one, _int32(model, [10, 10])), T((10, 10), "int8", 1 / 256, -128))
    model.outputs.append(model.op("TANH", (two,), T((10, 10), "int8", 1 / 128, 0)))
    with_, without = both(model, tmp_path, switch)
    assert with_.layout.size == 100
    assert without.layout.size == 200


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
    return model.op("PAD", (last, _int32(model, amounts)), T(target, *KIND))


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


def test_every_pass_has_a_switch_that_is_on() -> None:
    assert all(getattr(parse({}), name.replace("-", "_")) for name in ALL_OFF)
    assert not any(getattr(parse(ALL_OFF), name.replace("-", "_")) for name in ALL_OFF)
