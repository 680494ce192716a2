"""Every optimisation pass: it does what it says, and the result is still TFLM's, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.cmsis_nn.networks import (
    KIND,
    RUNS,
    both,
    conv,
    depthwise,
    int32,
    kinds,
    weights_of,
)
from tests.unit.cmsis_nn.running import ALL_OFF, Oracle, assert_equal, compiled
from tests.unit.cmsis_nn.schema import Model, Op, T
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
    FullyConnectedOptions,
    MulOptions,
    SplitOptions,
)
from workers.compilers.cmsis_nn.switches import parse


def test_padding_goes_into_the_convolution(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 6, 7, 3), *KIND))
    amounts = int32(model, [[0, 0], [2, 1], [1, 2], [0, 0]])
    padded = model.op("PAD", (source, amounts), T((1, 9, 10, 3), *KIND))
    one = conv(model, padded, weights_of((4, 3, 3, 3)), (1, 7, 8, 4), padding=1)
    two = depthwise(model, padded, weights_of((1, 2, 2, 3)), (1, 5, 5, 3), padding=0, stride=2)
    model.outputs += [one, two]
    with_, without = both(model, tmp_path, "pad-fusion")
    assert MoveLayer not in kinds(with_)
    assert MoveLayer in kinds(without)
    assert with_.layout.size < without.layout.size


def test_padding_with_another_value_stays(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    amounts = int32(model, [[0, 0], [1, 1], [1, 1], [0, 0]])
    value = model.add(T((1,), *KIND, data=np.array([5], np.int8)))
    padded = model.op("PADV2", (source, amounts, value), T((1, 6, 6, 2), *KIND))
    model.outputs.append(conv(model, padded, weights_of((3, 3, 3, 2)), (1, 4, 4, 3), padding=1))
    assert MoveLayer in kinds(both(model, tmp_path, "pad-fusion")[0])


def test_padding_of_channels_stays(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    amounts = int32(model, [[0, 0], [1, 1], [1, 1], [1, 0]])
    padded = model.op("PAD", (source, amounts), T((1, 6, 6, 3), *KIND))
    model.outputs.append(conv(model, padded, weights_of((3, 3, 3, 3)), (1, 4, 4, 3), padding=1))
    assert MoveLayer in kinds(both(model, tmp_path, "pad-fusion")[0])


@pytest.mark.parametrize("activation", ["RELU", "RELU6"])
def test_clamps_go_into_their_layer(activation: str, tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 5, 5, 3), *KIND))
    hidden = conv(model, source, weights_of((4, 3, 3, 3)), (1, 5, 5, 4))
    clamped = model.op(activation, (hidden,), T((1, 5, 5, 4), *KIND))
    total = model.op("ADD", (clamped, clamped), T((1, 5, 5, 4), *KIND), AddOptions(0, False))
    model.outputs.append(model.op(activation, (total,), T((1, 5, 5, 4), *KIND)))
    with_, without = both(model, tmp_path, "activation-fusion")
    assert kinds(with_) == [ConvLayer, AddLayer]
    assert kinds(without).count(LutLayer) == 2


def test_a_clamp_of_a_value_that_others_read_stays(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 5, 5, 3), *KIND))
    hidden = conv(model, source, weights_of((4, 3, 3, 3)), (1, 5, 5, 4))
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
    data = weights_of((6, 4))
    stored = model.add(T((6, 4), "int8", 0.01, 0, data))
    turned = model.op("TRANSPOSE", (stored, int32(model, [1, 0])), T((4, 6), "int8", 0.01))
    options = FullyConnectedOptions(0, 0, False)
    dense = model.op("FULLY_CONNECTED", (source, turned, -1), T((2, 4), *KIND), options)
    one = model.add(T((2, 4), *KIND, data=weights_of((2, 4), 2)))
    two = model.add(T((1, 4), *KIND, data=weights_of((1, 4), 3)))
    held = model.op("MUL", (one, two), T((2, 4), *KIND), MulOptions(0))
    model.outputs.append(model.op("ADD", (dense, held), T((2, 4), *KIND), AddOptions(0, False)))
    data = model.to_bytes()
    module, oracle = compiled(data, tmp_path), Oracle(data)
    assert len(kinds(module.built)) == 2
    rng = np.random.default_rng(2)
    for _ in range(RUNS):
        given = [rng.integers(-128, 128, (2, 6)).astype(np.int8)]
        assert_equal(module.run(given), oracle.run(given, 1))


def test_an_output_may_be_a_constant_or_an_input(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((3,), *KIND))
    one = model.add(T((3,), *KIND, data=weights_of((3,))))
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
    last = depthwise(model, source, weights_of((1, 4, 3, 6)), (1, 9, 5, 6), multiplier=6)
    model.outputs.append(last)
    with_, without = both(model, tmp_path, "special-cases")
    assert kinds(with_) == [ConvLayer]
    assert kinds(without) == [DepthwiseLayer]


def test_convolution_of_single_channel_groups_is_depthwise(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 6, 6, 3), *KIND))
    model.outputs.append(conv(model, source, weights_of((6, 3, 3, 1)), (1, 6, 6, 6)))
    with_, without = both(model, tmp_path, "special-cases")
    assert kinds(with_) == [DepthwiseLayer]
    assert kinds(without) == [ConvLayer]


def test_concatenation_is_made_in_place(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    parts = [conv(model, source, weights_of((3, 1, 1, 2), seed), (1, 4, 4, 3)) for seed in (1, 2)]
    options = ConcatenationOptions(1, 0)
    whole = model.op("CONCATENATION", parts, T((1, 8, 4, 3), *KIND), options)
    model.outputs.append(conv(model, whole, weights_of((2, 3, 3, 3)), (1, 8, 4, 2)))
    with_, without = both(model, tmp_path, "placement")
    assert MoveLayer not in kinds(with_)
    assert MoveLayer in kinds(without)


def test_interleaved_concatenation_is_copied(tmp_path: Path) -> None:
    model = Model()
    source = model.input(T((1, 4, 4, 2), *KIND))
    parts = [conv(model, source, weights_of((3, 1, 1, 2), seed), (1, 4, 4, 3)) for seed in (1, 2)]
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
    two = model.op("RESHAPE", (one, int32(model, [10, 10])), T((10, 10), "int8", 1 / 256, -128))
    model.outputs.append(model.op("TANH", (two,), T((10, 10), "int8", 1 / 128, 0)))
    with_, without = both(model, tmp_path, switch)
    assert with_.layout.size == 100
    assert without.layout.size == 200


def test_every_pass_has_a_switch_that_is_on() -> None:
    assert all(getattr(parse({}), name.replace("-", "_")) for name in ALL_OFF)
    assert not any(getattr(parse(ALL_OFF), name.replace("-", "_")) for name in ALL_OFF)
