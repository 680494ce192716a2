"""What is rewritten before TVM sees it, and odd graphs, against onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from tests.integration.tvm import harness
from tests.integration.tvm.onnx_models import build, reference
from tinymlaas.contract.device import CapabilityClass, Core
from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.model import ModelFormat
from workers.compilers.tvm.generate import generate

HOST = CapabilityClass(core=Core.HOST)
RNG = np.random.default_rng(0)
node = helper.make_node


def f32(*shape: int):
    return RNG.normal(0, 1, shape).astype(np.float32)


def i64(*values: int):
    return np.array(values, dtype=np.int64)


def check(model: bytes, inputs, tmp_path, atol=1e-5):
    made = generate(model, ModelFormat.ONNX, HOST)
    expected = reference(model, inputs)
    for got, wanted in zip(harness.run(made, inputs, tmp_path), expected, strict=True):
        assert got.dtype == wanted.dtype
        np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=1e-4, atol=atol)
    return made


STEPS, BATCH, WIDTH, HIDDEN = 4, 2, 3, 5
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
ACTIVATIONS = {
    "RNN": ["Relu"],
    "GRU": ["HardSigmoid", "Softsign"],
    "LSTM": ["Sigmoid", "Relu", "Tanh"],
}


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("variant", ["plain", "lengths", "states", "activations"])
def test_recurrent_layers(cell, direction, variant, tmp_path):
    ways = 2 if direction == "bidirectional" else 1
    gates = GATES[cell]
    constants = {
        "w": f32(ways, gates * HIDDEN, WIDTH),
        "r": f32(ways, gates * HIDDEN, HIDDEN),
        "b": f32(ways, 2 * gates * HIDDEN),
    }
    inputs = {"x": (STEPS, BATCH, WIDTH)}
    names, attrs = ["x", "w", "r", "b"], {"direction": direction, "hidden_size": HIDDEN}
    if variant == "lengths":
        constants["lengths"] = np.array([4, 2], dtype=np.int32)
        names.append("lengths")
    if variant == "states":
        names += ["", "h"]
        inputs["h"] = (ways, BATCH, HIDDEN)
        if cell == "LSTM":
            names.append("c")
            inputs["c"] = (ways, BATCH, HIDDEN)
            constants["p"] = f32(ways, 3 * HIDDEN)
            names.append("p")
        attrs["clip"] = 0.7
    if variant == "activations":
        attrs["activations"] = ACTIVATIONS[cell] * ways
        if cell == "GRU":
            attrs["linear_before_reset"] = 1
    outputs = ["y", "yh", "yc"] if cell == "LSTM" else ["y", "yh"]
    model = build([node(cell, names, outputs, **attrs)], inputs, outputs, constants)
    check(model, [f32(*shape) for shape in inputs.values()], tmp_path)


def test_recurrent_steps_share_their_kernels():
    constants = {"w": f32(1, 20, 3), "r": f32(1, 20, 5)}
    sizes = []
    for steps in (4, 12):
        model = build(
            [node("LSTM", ["x", "w", "r"], ["y"], hidden_size=5)],
            {"x": (steps, 1, 3)},
            ["y"],
            constants,
        )
        made = generate(model, ModelFormat.ONNX, HOST)
        sizes.append(made.source.count("static void k"))
    assert sizes[0] == sizes[1]


def test_loop_and_scan_are_unrolled(tmp_path):
    body = helper.make_graph(
        [
            node("Mul", ["carry", "two"], ["next"]),
            node("Identity", ["going"], ["still"]),
            node("Identity", ["next"], ["seen"]),
        ],
        "body",
        [helper.make_empty_tensor_value_info(n) for n in ("i", "going", "carry")],
        [helper.make_empty_tensor_value_info(n) for n in ("still", "next", "seen")],
    )
    loop = node("Loop", ["count", "", "x"], ["last", "all"], body=body)
    constants = {"count": np.array(3, dtype=np.int64), "two": np.float32([2.0])}
    made = generate(build([loop], {"x": (2,)}, ["last", "all"], constants), ModelFormat.ONNX, HOST)
    last, everything = harness.run(made, [np.float32([1, 3])], tmp_path)
    assert last.tolist() == [8, 24]
    assert everything.tolist() == [2, 6, 4, 12, 8, 24]


def test_constant_condition_takes_one_branch(tmp_path):
    def branch(op):
        nodes = [node(op, ["x"], [f"{op}_y"])]
        return helper.make_graph(nodes, op, [], [helper.make_empty_tensor_value_info(f"{op}_y")])

    choice = node("If", ["c"], ["y"], then_branch=branch("Neg"), else_branch=branch("Abs"))
    for value, expected in ((True, [1.0]), (False, [1.0])):
        model = build([choice], {"x": (1,)}, ["y"], {"c": np.array(value)})
        made = generate(model, ModelFormat.ONNX, HOST)
        (got,) = harness.run(made, [np.float32([-1 if value else 1])], tmp_path)
        assert got.tolist() == expected


def test_shapes_computed_from_shapes_cost_nothing(tmp_path):
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["batch"]),
        node("Unsqueeze", ["batch", "axis"], ["wide"]),
        node("Concat", ["wide", "rest"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["y"]),
    ]
    constants = {"zero": np.array(0, np.int64), "axis": i64(0), "rest": i64(-1)}
    made = check(build(nodes, {"x": (2, 3, 4)}, ["y"], constants), [f32(2, 3, 4)], tmp_path)
    assert not made.program.calls
    assert not made.weight_bytes


def test_outputs_that_are_inputs_constants_or_each_other(tmp_path):
    nodes = [
        node("Identity", ["x"], ["same"]),
        node("Relu", ["x"], ["a"]),
        node("Identity", ["a"], ["b"]),
        node("Reshape", ["a", "flat"], ["c"]),
        node("Identity", ["k"], ["constant"]),
    ]
    outputs = ["same", "a", "b", "c", "constant"]
    model = build(nodes, {"x": (2, 3)}, outputs, {"flat": i64(6), "k": np.float32([1.5, np.inf])})
    made = check(model, [f32(2, 3)], tmp_path)
    places = [made.layout.buffers[number] for number in made.program.outputs]
    assert len(set(places)) == len(outputs)


def test_constants_that_are_no_numbers(tmp_path):
    constants = {"k": np.float32([np.nan, np.inf, -np.inf, -0.0, 1e-42, 3.4e38])}
    model = build([node("Add", ["x", "k"], ["y"])], {"x": (6,)}, ["y"], constants)
    check(model, [np.zeros(6, np.float32)], tmp_path)


def test_equal_constants_are_stored_once():
    constants = {"a": np.ones((8, 8), np.float32), "b": np.ones((8, 8), np.float32)}
    nodes = [node("MatMul", ["x", "a"], ["t"]), node("MatMul", ["t", "b"], ["y"])]
    made = generate(build(nodes, {"x": (1, 8)}, ["y"], constants), ModelFormat.ONNX, HOST)
    assert made.weight_bytes == 256


def test_odd_names_become_identifiers(tmp_path):
    nodes = [node("Relu", ["if/0:x é"], ["1 y"]), node("Exp", ["1 y"], ["return"])]
    check(build(nodes, {"if/0:x é": (3,)}, ["return"]), [f32(3)], tmp_path)


@pytest.mark.parametrize("bounds", [(0, 6), (-1, None), (None, 0.5), (np.nan, 1), (1, -1)])
def test_clip(bounds, tmp_path):
    given = {n: np.float32(b) for n, b in zip("lh", bounds, strict=True) if b is not None}
    names = ["x", *(n if n in given else "" for n in "lh")]
    check(build([node("Clip", names, ["y"])], {"x": (20,)}, ["y"], given), [f32(20)], tmp_path)


def test_extrema_and_sums_of_many(tmp_path):
    names = ["a", "b", "c"]
    nodes = [node(op, names, [op]) for op in ("Max", "Min", "Sum", "Mean")]
    shapes = {"a": (2, 3), "b": (3,), "c": (2, 1)}
    model = build(nodes, shapes, ["Max", "Min", "Sum", "Mean"])
    check(model, [f32(*shape) for shape in shapes.values()], tmp_path)


def test_scalars_and_many_dimensions(tmp_path):
    nodes = [node("ReduceSum", ["x"], ["s"], keepdims=0), node("Mul", ["x", "s"], ["y"])]
    shape = (1, 2, 1, 3, 1, 2, 2)
    check(build(nodes, {"x": shape}, ["s", "y"]), [f32(*shape)], tmp_path, atol=1e-4)


def test_quantised_layers(tmp_path):
    constants = {
        "s": np.float32(0.05),
        "z": np.int8(3),
        "w": RNG.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
        "ws": np.float32([0.01, 0.02, 0.015, 0.005]),
        "wz": np.zeros(4, np.int8),
        "b": RNG.integers(-200, 200, 4).astype(np.int32),
        "ys": np.float32(0.2),
        "yz": np.int8(-7),
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("QLinearConv", ["q", "s", "z", "w", "ws", "wz", "ys", "yz", "b"], ["c"], pads=[1] * 4),
        node("DequantizeLinear", ["c", "ys", "yz"], ["y"]),
    ]
    model = build(nodes, {"x": (1, 3, 6, 6)}, ["y"], constants)
    check(model, [f32(1, 3, 6, 6)], tmp_path, atol=0.2001)  # one step


@pytest.mark.parametrize(
    ("nodes", "constants", "reason"),
    [
        ([node("NonZero", ["x"], ["y"])], {}, "NonZero: the shape of its output depends"),
        ([node("Det", ["x"], ["y"])], {}, "Det"),
        (
            [node("MaxPool", ["im"], ["y", "i"], kernel_shape=[2, 2])],
            {"im": np.ones((1, 1, 4, 4), np.float32)},
            None,  # all constant: computed beforehand
        ),
        ([node("Cast", ["x"], ["y"], to=10)], {}, "Cast: computes in float16"),
        ([node("RandomUniformLike", ["x"], ["y"])], {}, "RandomUniformLike: random"),
        ([node("Relu", ["x"], ["t"]), node("TopK", ["t", "k"], ["y", "i"])], {"k": i64(1)}, "TopK"),
        ([node("Relu", ["x", "x"], ["y"])], {}, "Relu"),
    ],
)
def test_refusals_name_the_operator(nodes, constants, reason):
    model = build(nodes, {"x": (3, 3)}, ["y"], constants)
    if reason is None:
        assert not generate(model, ModelFormat.ONNX, HOST).program.calls
        return
    with pytest.raises(UnsupportedModel) as caught:
        generate(model, ModelFormat.ONNX, HOST)
    assert caught.value.reasons[0].startswith(reason)
    assert "\n" not in caught.value.reasons[0]


def test_what_is_no_model_is_refused():
    with pytest.raises(UnsupportedModel, match="cannot be read"):
        generate(b"\x08\x07nonsense", ModelFormat.ONNX, HOST)
