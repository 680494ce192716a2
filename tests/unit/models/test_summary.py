"""What `inspect` says: operators, types, MACs by hand-worked formulas, memory estimates."""

import contextlib
import random

import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from tests.unit.models.builders import (
    INT8,
    TfliteBuilder,
    cnn,
    onnx_model,
    tflite_builder,
    tiny_onnx,
    tiny_tflite,
)
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import Rejection, UnsupportedModel, UsageError
from tinymlaas.contract.model import ModelFormat, ModelSummary
from tinymlaas.contract.tensors import DType, Quantization
from workers.models.limits import ModelLimits
from workers.models.memory import STACK_BYTES, Step, estimated_flash, estimated_ram, fused_ram
from workers.models.summary import inspect

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def operators(summary: ModelSummary) -> dict[str, int]:
    return {f"{use.name} {use.dtype}": len(use.indices) for use in summary.operators}


def of(model: onnx.ModelProto) -> ModelSummary:
    return inspect(model.SerializeToString(), "m").summary


def macs(operator: str, output, *inputs, **attributes) -> int:
    """MACs of one node on inputs of these shapes."""
    domain = attributes.pop("domain", "")
    names = [f"i{index}" for index in range(len(inputs))]
    node = helper.make_node(operator, names, ["y"], domain=domain, **attributes)
    values = {name: (shape, FLOAT) for name, shape in zip(names, inputs, strict=True)}
    return of(onnx_model([node], values, {"y": (output, FLOAT)}, opset=14)).macs


# ------------------------------------------------------------------------------------- ONNX


def test_onnx_summary():
    found = inspect(tiny_onnx("N"), "m", {"x": (1, 3, 8, 8)})
    summary = found.summary
    assert found.format is summary.format is ModelFormat.ONNX
    assert summary.digest == sha256(found.model)
    assert summary.opset == 13
    assert [(spec.name, spec.shape) for spec in summary.inputs] == [("x", (1, 3, 8, 8))]
    assert [(spec.name, spec.shape) for spec in summary.outputs] == [("y", (1, 5))]
    assert operators(summary) == {
        **{"Conv float32": 1, "Relu float32": 1, "Flatten float32": 1, "Gemm float32": 1}
    }
    assert summary.dtype is DType.FLOAT32
    assert summary.macs == 8 * 8 * 4 * 3 * 3 * 3 + 256 * 5
    assert summary.parameters == 4 * 27 + 4 + 5 * 256
    assert summary.weight_bytes == 4 * summary.parameters
    assert summary.estimated_ram_bytes == 4 * (192 + 256) + STACK_BYTES  # x beside c; c, r, f one
    assert summary.estimated_flash_bytes > summary.weight_bytes


@pytest.mark.parametrize(
    ("expected", "operator", "output", "inputs", "attributes"),
    [
        (2 * 6 * 4 * 27, "Conv", (1, 4, 2, 6), [(1, 3, 4, 8), (4, 3, 3, 3)], {}),
        (24 * 8 * 3, "Conv", (1, 6, 4, 8), [(1, 6, 6, 8), (6, 1, 3, 1)], {"group": 6}),
        (5 * 2 * 3, "Conv", (1, 2, 5), [(1, 1, 7), (2, 1, 3)], {}),
        (3 * 16 * 2 * 4, "ConvTranspose", (1, 2, 5, 5), [(1, 3, 4, 4), (3, 2, 2, 2)], {}),
        (7 * 2 * 3 * 5, "MatMul", (7, 2, 5), [(7, 2, 3), (3, 5)], {}),
        (3, "MatMul", (), [(3,), (3,)], {}),
        (4 * 6 * 5, "Gemm", (4, 6), [(5, 4), (5, 6)], {"transA": 1}),
        (
            2 * 3 * 4 * 5,
            "Einsum",
            (2, 3, 5),
            [(2, 3, 4), (2, 4, 5)],
            {"equation": b"bij, bjk->bik"},
        ),
        (0, "Einsum", (3, 2), [(2, 3)], {"equation": b"ij->ji"}),
        (0, "Add", (3, 3), [(3, 3), (3, 3)], {}),
        (0, "Relu", (3, 3), [(3, 3)], {}),
        (0, "MatMul", (2, 2), [(2, 2), (2, 2)], {"domain": "com.microsoft"}),
    ],
)
def test_onnx_macs(expected, operator, output, inputs, attributes):
    if attributes.get("domain"):
        node = helper.make_node(operator, ["a", "b"], ["y"], domain=attributes["domain"])
        io = ((2, 2), FLOAT)
        model = onnx_model([node], {"a": io, "b": io}, {"y": io}, domains=[attributes["domain"]])
        assert of(model).macs == expected
        return
    assert macs(operator, output, *inputs, **attributes) == expected


@pytest.mark.parametrize(("operator", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrent_macs(operator, gates):
    steps, batch, features, hidden = 7, 2, 3, 5
    shapes = [(steps, batch, features), (1, gates * hidden, features), (1, gates * hidden, hidden)]
    found = macs(operator, (steps, 1, batch, hidden), *shapes, hidden_size=hidden)
    assert found == steps * batch * gates * (features * hidden + hidden * hidden)


def test_weights_behind_a_dequantizelinear_count_in_macs():
    model = onnx_model(
        [
            helper.make_node("DequantizeLinear", ["q", "s"], ["w"]),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        {"x": ((1, 6), FLOAT)},
        {"y": ((1, 4), FLOAT)},
        {"q": np.ones((6, 4), "i1"), "s": np.float32(0.1)},
    )
    summary = of(model)
    assert summary.macs == 24
    assert summary.weight_bytes == 24 + 4
    assert operators(summary) == {"DequantizeLinear float32": 1, "MatMul float32": 1}


def test_constant_nodes_are_weights_and_domains_are_written():
    value = numpy_helper.from_array(np.ones((2, 3), "f4"))
    model = onnx_model(
        [
            helper.make_node("Constant", [], ["c"], value=value),
            helper.make_node("Mine", ["x", "c"], ["t"], domain="com.microsoft"),
            helper.make_node("Relu", ["t"], ["y"]),
        ],
        {"x": ((2, 3), FLOAT)},
        {"y": ((2, 3), FLOAT)},
        domains=["com.microsoft"],
    )
    summary = of(model)
    assert summary.weight_bytes == 24
    assert operators(summary) == {
        **{"Constant float32": 1, "Relu float32": 1, "com.microsoft.Mine float32": 1}
    }


def test_dtype_is_of_the_activation_not_of_a_constant_index():
    model = onnx_model(
        [
            helper.make_node("Gather", ["table", "ids"], ["e"]),
            helper.make_node("Relu", ["e"], ["y"]),
        ],
        {"ids": ((4,), INT64)},
        {"y": ((4, 8), FLOAT)},
        {"table": np.ones((10, 8), "f4")},
    )
    summary = of(model)
    assert operators(summary) == {"Gather int64": 1, "Relu float32": 1}
    assert summary.dtype is DType.FLOAT32
    assert summary.inputs[0].dtype is DType.INT64


def test_shape_arithmetic_does_not_hide_macs():
    model = onnx_model(
        [
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("Gather", ["s", "zero"], ["n"]),
            helper.make_node("Concat", ["n", "rest"], ["to"], axis=0),
            helper.make_node("Reshape", ["x", "to"], ["f"]),
            helper.make_node("MatMul", ["f", "w"], ["y"]),
        ],
        {"x": ((2, 3, 4), FLOAT)},
        {"y": ((2, 5), FLOAT)},
        {"zero": np.array([0]), "rest": np.array([-1]), "w": np.ones((12, 5), "f4")},
    )
    assert of(model).macs == 2 * 12 * 5


@pytest.mark.parametrize(
    ("kind", "named"), [(TensorProto.DOUBLE, "float64"), (TensorProto.STRING, "string")]
)
def test_element_types_no_module_has(kind, named):
    io = ((2,), kind)
    model = onnx_model([helper.make_node("Identity", ["x"], ["y"])], {"x": io}, {"y": io})
    with pytest.raises(UnsupportedModel, match=f"tensor 'x' is {named}"):
        of(model)


def test_a_dynamic_shape_is_the_users_to_fix():
    with pytest.raises(UsageError, match="--shape x=1,3,8,8"):
        inspect(tiny_onnx("N"), "m")


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (ModelLimits(activation_bytes=2000), "bytes of activations; up to 2000"),
        (ModelLimits(macs=100), "multiply-accumulates; up to 100"),
        (ModelLimits(summary_bytes=100), "up to 100 are taken: give its inputs.* shorter names"),
    ],
)
def test_unreasonable_models(limits, words):
    with pytest.raises(UnsupportedModel, match=words):
        inspect(tiny_onnx(), "m", limits=limits)


# ----------------------------------------------------------------------------------- TFLite


def test_tflite_summary():
    summary = inspect(tiny_tflite(), "m").summary
    assert operators(summary) == {
        **{"CONV_2D float32": 1, "FULLY_CONNECTED float32": 1, "RESHAPE float32": 1}
    }
    assert summary.macs == 4 * 4 * 2 * 9 + 32 * 3
    assert summary.parameters == 18 + 2 + 2 + 96 + 3
    assert summary.weight_bytes == 4 * summary.parameters
    assert summary.estimated_ram_bytes == 4 * (36 + 32) + STACK_BYTES
    assert summary.opset is None


def test_a_buffer_shared_by_two_tensors_counts_once():
    build, inputs, outputs = tflite_builder()
    build.tensors[7].buffer = build.tensors[2].buffer  # both biases, of 2 and 3 elements …
    build.tensors[7].shape, build.tensors[6].shape = [2], [2, 32]
    build.buffers[build.tensors[6].buffer].data = np.zeros(2 * 32 * 4, np.uint8)
    build.tensors[8].shape = [1, 2]
    summary = inspect(build.bytes(inputs, outputs), "m").summary
    assert summary.weight_bytes == 4 * (18 + 2 + 2 + 64)


def quantized(scale: float, zero_point: int):
    parameters = schema.QuantizationParametersT()
    parameters.scale, parameters.zeroPoint = [scale], [zero_point]
    return parameters


def test_quantization_of_the_boundary_is_reported():
    build = TfliteBuilder()
    x = build.tensor("x", (2,), INT8, quantization=quantized(0.5, -3))
    y = build.tensor("y", (2,), INT8, quantization=quantized(0.25, 7))
    build.operator("RELU", [x], [y])
    summary = inspect(build.bytes([x], [y]), "m").summary
    assert summary.inputs[0].quantization == Quantization(scale=0.5, zero_point=-3)
    assert summary.outputs[0].quantization == Quantization(scale=0.25, zero_point=7)
    assert summary.dtype is DType.INT8


@pytest.mark.parametrize(
    ("name", "inputs", "output", "expected"),
    [
        ("CONV_2D", [(1, 5, 5, 4), (6, 3, 3, 4)], (1, 3, 3, 6), 54 * 36),
        ("CONV_2D", [(1, 5, 5, 4), (6, 3, 3, 2)], (1, 3, 3, 6), 54 * 18),
        ("DEPTHWISE_CONV_2D", [(1, 5, 5, 4), (1, 3, 2, 8)], (1, 3, 4, 8), 96 * 6),
        ("TRANSPOSE_CONV", [(4,), (6, 2, 2, 3), (1, 4, 4, 3)], (1, 8, 8, 6), 48 * 24),
        ("FULLY_CONNECTED", [(2, 7), (5, 7)], (2, 5), 70),
        ("BATCH_MATMUL", [(3, 2, 7), (3, 7, 5)], (3, 2, 5), 210),
        ("BATCH_MATMUL", [(3, 7, 2), (3, 7, 5)], (3, 2, 5), 210),
        ("CONV_3D", [(1, 4, 4, 4, 2), (3, 3, 3, 2, 5)], (1, 2, 2, 2, 5), 40 * 54),
        ("SVDF", [(1, 8), (6, 8), (6, 10)], (1, 3), 6 * 18),
        ("RNN", [(2, 8), (6, 8), (6, 6)], (2, 6), 2 * 6 * 14),
        (
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            [(1, 9, 4), *[(5, 4)] * 4, *[(5, 5)] * 4, *[(5,)] * 7],
            (1, 9, 5),
            9 * 4 * (20 + 25),
        ),
        ("MUL", [(2, 2), (2, 2)], (2, 2), 0),
        ("FULLY_CONNECTED", [(2, 7)], (2, 5), 0),
    ],
)
def test_tflite_macs(name, inputs, output, expected):
    build = TfliteBuilder()
    activation = 2 if name == "TRANSPOSE_CONV" else 0
    ids = [
        build.tensor(f"i{at}", shape, data=None if at == activation else np.zeros(shape, "f4"))
        for at, shape in enumerate(inputs)
    ]
    y = build.tensor("y", output)
    build.operator(name, ids, [y])
    assert inspect(build.bytes([ids[activation]], [y]), "m").summary.macs == expected


def test_tflite_element_types_no_module_has():
    build = TfliteBuilder()
    x = build.tensor("x", (2,), schema.TensorType.FLOAT64)
    y = build.tensor("y", (2,), schema.TensorType.FLOAT64)
    build.operator("NEG", [x], [y])
    with pytest.raises(UnsupportedModel, match="tensor 'x' is float64"):
        inspect(build.bytes([x], [y]), "m")


@pytest.mark.parametrize("data", [tiny_onnx(), tiny_tflite()], ids=["onnx", "tflite"])
def test_damaged_models_are_summarised_or_refused(data):
    """400 mutations: nothing but a Rejection ever escapes."""
    dice = random.Random(9)
    found = 0
    for _ in range(400):
        mutant = bytearray(data)
        for _ in range(dice.choice((1, 1, 2, 4))):
            mutant[dice.randrange(len(mutant))] = dice.choice((0, 127, 255, dice.randrange(256)))
        with contextlib.suppress(Rejection):
            inspect(bytes(mutant), "mutant", {"x": (1, 6, 6, 1)} if len(data) < 2000 else None)
            found += 1
    assert found > 20


def test_element_type_that_does_not_exist():
    model = onnx_model(
        [helper.make_node("Mine", ["x"], ["y"], domain="com.microsoft")],
        {"x": ((2,), 99)},
        {"y": ((2,), FLOAT)},
        domains=["com.microsoft"],
    )
    with pytest.raises(UnsupportedModel, match="type 99"):
        of(model)


# ----------------------------------------------------------------------------------- memory


def ram(steps, inputs, outputs, **nbytes) -> int:
    return estimated_ram(steps, inputs, outputs, nbytes) - STACK_BYTES


def test_ram_is_the_peak_of_what_lives_together():
    chain = [Step(("x",), ("a",)), Step(("a",), ("b",)), Step(("b",), ("y",))]
    assert ram(chain, ["x"], ["y"], x=10, a=30, b=5, y=1) == 40
    assert ram(chain, ["x"], ["y"], x=10, a=3, b=50, y=7) == 57


def test_a_residual_keeps_its_tensor_alive():
    steps = [Step(("x",), ("a",)), Step(("a",), ("b",)), Step(("x", "b"), ("y",))]
    assert ram(steps, ["x"], ["y"], x=10, a=10, b=10, y=10) == 30


def test_all_inputs_and_outputs_live_from_start_and_to_the_end():
    steps = [Step(("p",), ("y1",)), Step(("q",), ("y2",))]
    assert ram(steps, ["p", "q"], ["y1", "y2"], p=1, q=2, y1=4, y2=8) == 14


def test_renaming_takes_no_memory_and_keeps_the_source_alive():
    steps = [Step(("x",), ("r",), renames=True), Step(("r",), ("y",)), Step(("r", "y"), ("z",))]
    assert ram(steps, ["x"], ["z"], x=10, r=10, y=3, z=1) == 14


def relu(source: str, result: str) -> Step:
    return Step((source,), (result,), elementwise=True)


def test_a_fused_activation_takes_no_memory():
    steps = [Step(("x",), ("a",)), relu("a", "r"), Step(("r",), ("y",))]
    assert ram(steps, ["x"], ["y"], x=1, a=10, r=10, y=3) == 13


def test_an_activation_whose_source_is_needed_later_takes_its_own():
    steps = [Step(("x",), ("a",)), relu("a", "r"), Step(("r", "a"), ("y",))]
    assert ram(steps, ["x"], ["y"], x=1, a=10, r=10, y=3) == 23


def test_inputs_and_outputs_are_not_overwritten():
    assert ram([relu("x", "y")], ["x"], ["y"], x=10, y=10) == 20
    steps = [Step(("x",), ("a",)), relu("a", "y")]
    assert ram(steps, ["x"], ["a", "y"], x=1, a=10, y=10) == 20


def test_constants_and_unknown_sizes_count_nothing():
    assert ram([Step(("x", "w"), ("y",))], ["x"], ["y"], x=1, y=1) == 2


def test_flash_grows_with_weights_and_operators():
    base = estimated_flash(0, 0)
    assert estimated_flash(1000, 0) == base + 1000
    assert estimated_flash(0, 2) - base == 2 * (estimated_flash(0, 1) - base) > 0


def test_model_with_an_output_that_is_its_input():
    model = cnn()
    model.graph.output.append(model.graph.input[0])
    assert [spec.name for spec in of(model).outputs] == ["y", "x"]


def fused(steps, inputs, outputs, **nbytes) -> int:
    return fused_ram(steps, inputs, outputs, nbytes) - STACK_BYTES


def residual(**last: bool) -> list[Step]:
    """x → a → b → c, y = a + c, then out."""
    return [
        Step(("x",), ("a",)),
        Step(("a",), ("b",)),
        Step(("b",), ("c",)),
        Step(("a", "c"), ("y",), joins=True),
        Step(("y", *(("a",) if last.get("again") else ())), ("z",)),
    ]


def test_a_residual_sum_overwrites_what_dies_in_it():
    sizes = {"x": 1, "a": 100, "b": 100, "c": 100, "y": 100, "z": 2}
    assert ram(residual(), ["x"], ["z"], **sizes) == 300
    assert fused(residual(), ["x"], ["z"], **sizes) == 200  # c and y are where a was
    assert fused(residual(again=True), ["x"], ["z"], **sizes) == 300  # a is read once more
    assert fused(residual(), ["x"], ["z"], **{**sizes, "y": 50}) == 300  # of another size
    kept = residual()[1:4]
    assert fused(kept, ["a"], ["y"], **sizes) == 300  # inputs and outputs stay


def test_a_sum_with_a_constant_is_fused_as_an_activation_is():
    chain = [Step(("x",), ("a",)), Step(("a", "w"), ("b",), joins=True), Step(("b",), ("y",))]
    assert fused(chain, ["x"], ["y"], x=1, a=50, b=50, y=1) == 51
    both = [*chain, Step(("a", "y"), ("z",))]
    assert fused(both, ["x"], ["z"], x=1, a=50, b=50, y=1, z=1) == 101


def test_fused_ram_is_never_more_than_without_fusing():
    rng = random.Random(5)
    for _ in range(300):
        names = ["x"]
        steps = []
        for number in range(rng.randrange(1, 12)):
            operands = tuple(rng.choice(names) for _ in range(rng.randrange(1, 3)))
            kind = rng.choice(("joins", "elementwise", "renames", "plain"))
            steps.append(
                Step(operands, (f"v{number}",), **({kind: True} if kind != "plain" else {}))
            )
            names.append(f"v{number}")
        sizes = dict.fromkeys(names, 8)
        facts = (steps, ["x"], [names[-1]], sizes)
        assert fused_ram(*facts) <= estimated_ram(*facts)
