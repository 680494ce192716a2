"""Every dimension of an ONNX model becomes static, or the reason says what to do."""

import contextlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.unit.models.builders import cnn, onnx_model, tiny_onnx
from tinymlaas.contract.errors import InvalidModel, Rejection, UnsupportedModel, UsageError
from tinymlaas.contract.model import ModelFormat
from workers.models.onnx_shapes import infer
from workers.models.reference import open_reference
from workers.models.shapes import fix_shapes

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def fixed(data: bytes, shapes=None) -> onnx.ModelProto:
    result = onnx.ModelProto.FromString(fix_shapes(data, ModelFormat.ONNX, shapes or {}))
    onnx.checker.check_model(result, full_check=True)
    return result


def dims(values) -> dict[str, list[int]]:
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


def refused(data: bytes, shapes=None, kind: type[Rejection] = UsageError) -> tuple[str, ...]:
    with pytest.raises(kind) as caught:
        fix_shapes(data, ModelFormat.ONNX, shapes or {})
    return caught.value.reasons


def test_static_model_comes_back_byte_for_byte():
    data = tiny_onnx(1)
    assert fix_shapes(data, ModelFormat.ONNX, {}) == data
    assert fix_shapes(data, ModelFormat.ONNX, {"x": (1, 3, 8, 8)}) == data


@pytest.mark.parametrize("batch", ["N", None, -1])
def test_dynamic_batch_is_fixed_everywhere(batch):
    model = fixed(tiny_onnx(batch), {"x": (2, 3, 8, 8)})
    assert dims(model.graph.input) == {"x": [2, 3, 8, 8]}
    assert dims(model.graph.output) == {"y": [2, 5]}


def test_fixed_model_computes_what_the_dynamic_one_does():
    data = tiny_onnx("N")
    x = np.random.default_rng(1).normal(size=(3, 3, 8, 8)).astype("f4")
    model = fix_shapes(data, ModelFormat.ONNX, {"x": (3, 3, 8, 8)})
    before, after = (open_reference(m, ModelFormat.ONNX).run([x])[0] for m in (data, model))
    assert np.array_equal(before, after)


def test_the_same_bytes_every_time():
    data = tiny_onnx("N")
    assert len({fix_shapes(data, ModelFormat.ONNX, {"x": (1, 3, 8, 8)}) for _ in range(3)}) == 1


def test_reason_for_a_dynamic_input_says_what_to_type():
    (reason,) = refused(tiny_onnx("N"))
    assert reason == ("input 'x' has dynamic shape (N, 3, 8, 8): fix it with --shape x=1,3,8,8")


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"x": (1, 3, 8, 8), "xx": (1,)}, "--shape xx: the model has no such input; did you mean"),
        ({"x": (1, 3, 8, 8), "image": (1,)}, "inputs are x"),
        ({"x": (3, 8, 8)}, "has 4 dimensions (N, 3, 8, 8)"),
        ({"x": (1, 4, 8, 8)}, "the model fixes this input to (N, 3, 8, 8)"),
        ({"x": (0, 3, 8, 8)}, "at least 1"),
        ({"x": (-1, 3, 8, 8)}, "at least 1"),
    ],
)
def test_mistakes_in_the_option(shapes, words):
    assert words in " ".join(refused(tiny_onnx("N"), shapes))


def test_all_mistakes_are_told_at_once():
    io = (("N", 4), FLOAT)
    model = onnx_model([helper.make_node("Add", ["a", "b"], ["y"])], {"a": io, "b": io}, {"y": io})
    assert len(refused(model.SerializeToString(), {"c": (1,)})) == 3


def test_input_of_unknown_rank():
    model = onnx_model(
        [helper.make_node("Relu", ["x"], ["y"])], {"x": (None, FLOAT)}, {"y": (None, FLOAT)}
    )
    data = model.SerializeToString()
    assert "unknown rank" in refused(data)[0]
    assert dims(fixed(data, {"x": (2, 3)}).graph.output) == {"y": [2, 3]}


def test_output_without_shape_is_inferred_for_static_inputs():
    io = ((2, 3), FLOAT)
    node = helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0])
    model = onnx_model([node], {"x": io}, {"y": (None, FLOAT)})
    assert dims(fixed(model.SerializeToString()).graph.output) == {"y": [3, 2]}


def test_scalars_are_static():
    io = ((), FLOAT)
    model = onnx_model([helper.make_node("Relu", ["x"], ["y"])], {"x": io}, {"y": io})
    data = model.SerializeToString()
    assert fix_shapes(data, ModelFormat.ONNX, {}) == data


def test_initializers_listed_as_inputs_are_no_inputs():
    model = cnn("N")
    model.graph.input.append(helper.make_tensor_value_info("b", FLOAT, ["M"]))
    assert dims(fixed(model.SerializeToString(), {"x": (1, 3, 8, 8)}).graph.output) == {"y": [1, 5]}


@pytest.mark.parametrize("opset", [13, 17, 23])
@pytest.mark.parametrize("vector", [True, False])
def test_dimensions_computed_from_shapes_are_followed(opset, vector):
    """Exporters write ``x.view(x.size(0), -1)`` so; onnx's own inference knows some of these."""
    index = helper.make_node("Gather", ["s", "zero"], ["n" if vector else "scalar"])
    lift = [] if vector else [helper.make_node("Unsqueeze", ["scalar", "axes"], ["n"])]
    model = onnx_model(
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("Shape", ["r"], ["s"]),
            index,
            *lift,
            helper.make_node("Concat", ["n", "rest"], ["to"], axis=0),
            helper.make_node("Reshape", ["r", "to"], ["f"]),
            helper.make_node("Shape", ["f"], ["s2"]),
            helper.make_node("Reshape", ["f", "s2"], ["y"]),
        ],
        {"x": (("N", 3, 4), FLOAT)},
        {"y": (("N", "M"), FLOAT)},
        {"zero": np.array([0] if vector else 0), "rest": np.array([-1]), "axes": np.array([0])},
        opset=opset,
    )
    result = fixed(model.SerializeToString(), {"x": (2, 3, 4)})
    assert dims(result.graph.output) == {"y": [2, 12]}
    assert list(result.graph.node) == list(model.graph.node)


DATA_DEPENDENT = {
    "NonZero": (helper.make_node("NonZero", ["x"], ["y"]), ((2, 3), INT64)),
    "Unique": (helper.make_node("Unique", ["x"], ["y"]), ((3,), FLOAT)),
}


@pytest.mark.parametrize("operator", DATA_DEPENDENT)
@pytest.mark.parametrize("declared", [True, False])
def test_outputs_shaped_by_data_are_refused_whatever_is_declared(operator, declared):
    node, (shape, kind) = DATA_DEPENDENT[operator]
    model = onnx_model([node], {"x": ((2, 3), FLOAT)}, {"y": (shape if declared else None, kind)})
    (reason,) = refused(model.SerializeToString(), kind=UnsupportedModel)
    assert "output 'y'" in reason
    assert operator in reason


def test_reshape_by_an_input_is_refused():
    model = onnx_model(
        [helper.make_node("Reshape", ["x", "to"], ["y"])],
        {"x": ((2, 3), FLOAT), "to": ((1,), INT64)},
        {"y": ((6,), FLOAT)},
    )
    assert "through Reshape" in refused(model.SerializeToString(), kind=UnsupportedModel)[0]


def test_data_dependence_inside_an_if_body_is_seen():
    """The body captures `to`, an input, by name only."""
    io = ((6,), FLOAT)

    def branch(name):
        node = helper.make_node("Reshape", ["x", "to"], [name])
        return helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info(name, FLOAT, None)]
        )

    node = helper.make_node("If", ["c"], ["z"], then_branch=branch("p"), else_branch=branch("q"))
    tail = helper.make_node("Expand", ["x", "z2"], ["y"])
    cast = helper.make_node("Cast", ["z"], ["z2"], to=INT64)
    model = onnx_model(
        [node, cast, tail],
        {"x": io, "to": ((1,), INT64)},
        {"y": ((6,), FLOAT)},
        {"c": np.array(True)},
    )
    assert "through Expand" in refused(model.SerializeToString(), kind=UnsupportedModel)[0]


def test_unknown_domains_are_believed_what_they_declare():
    io = ((2,), FLOAT)
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="org.example")
    model = onnx_model([node], {"x": io}, {"y": io}, domains=["org.example"])
    data = model.SerializeToString()
    assert fix_shapes(data, ModelFormat.ONNX, {}) == data


def test_unknown_domain_with_a_dynamic_output_is_refused():
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="org.example")
    model = onnx_model(
        [node], {"x": (("N",), FLOAT)}, {"y": (("N",), FLOAT)}, domains=["org.example"]
    )
    reasons = refused(model.SerializeToString(), {"x": (2,)}, UnsupportedModel)
    assert reasons == ("output 'y' of Frobnicate has a shape that cannot be inferred",)


def test_contradicting_declared_output():
    model = onnx_model(
        [helper.make_node("Relu", ["x"], ["y"])], {"x": ((2,), FLOAT)}, {"y": ((3,), FLOAT)}
    )
    assert "declared (3,) but is (2,)" in refused(model.SerializeToString(), kind=InvalidModel)[0]


def test_contradicting_operator():
    model = onnx_model(
        [helper.make_node("MatMul", ["a", "b"], ["y"])],
        {"a": ((2, 3), FLOAT), "b": ((4, 5), FLOAT)},
        {"y": (None, FLOAT)},
    )
    assert "inference fails" in refused(model.SerializeToString(), kind=InvalidModel)[0]


def test_operators_onnx_expands_into_bodies_are_no_contradiction():
    io = ((1, 2, 3, 4), FLOAT)
    node = helper.make_node("MeanVarianceNormalization", ["x"], ["y"])
    model = onnx_model([node], {"x": io}, {"y": io})
    assert infer(model, forget=True).graph.output[0].name == "y"
    data = model.SerializeToString()
    assert fix_shapes(data, ModelFormat.ONNX, {}) == data


@pytest.mark.parametrize("side", ["input", "output"])
def test_sequences_are_no_tensors(side):
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, [2])
    tensor = helper.make_tensor_value_info("t", FLOAT, [2])
    node, ends = (
        (helper.make_node("SequenceAt", ["s", "i"], ["t"]), ([sequence], [tensor]))
        if side == "input"
        else (helper.make_node("SequenceConstruct", ["t"], ["s"]), ([tensor], [sequence]))
    )
    index = onnx.numpy_helper.from_array(np.array(0), "i")
    graph = helper.make_graph([node], "g", *ends, [index])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert (
        f"{side} 's' is not a tensor"
        in refused(model.SerializeToString(), kind=UnsupportedModel)[0]
    )


def rows(length: int, *nodes: onnx.NodeProto, result=None) -> bytes:
    """A model over a constant of one dimension."""
    model = onnx_model(
        [
            helper.make_node("ConstantOfShape", ["s"], ["c"]),
            *nodes,
            helper.make_node("ReduceMax", ["last"], ["m"], keepdims=0),
            helper.make_node("Add", ["x", "m"], ["y"]),
        ],
        {"x": ((2,), FLOAT)},
        {"y": (result or (2,), FLOAT)},
        {"s": np.array([length])},
        domains=["com.microsoft"],
    )
    return model.SerializeToString()


def test_shapes_are_inferred_without_an_object_for_each_element():
    """onnx's data propagation would make as many as the constant has: 64 TB of them."""
    doubled = [
        helper.make_node("Concat", [name, name], [after], axis=0)
        for name, after in (("c", "d"), ("d", "e"), ("e", "last"))
    ]
    data = rows(1 << 40, *doubled)
    assert fix_shapes(data, ModelFormat.ONNX, {}) == data


def test_what_propagation_has_no_memory_for_is_refused():
    unknown = helper.make_node("FastGelu", ["c"], ["last"], domain="com.microsoft")
    reasons = refused(rows(1 << 40, unknown), kind=UnsupportedModel)
    assert reasons[0].startswith("'c' has more than 1048576 elements in one dimension")


def test_constants_asked_for_in_three_numbers_are_not_computed():
    """Nothing that shapes are folded from may become larger than a shape is."""
    for node, given in (
        (helper.make_node("Range", ["a", "b", "d"], ["last"]), (0, 1 << 60, 1)),
        (helper.make_node("Tile", ["a", "b"], ["last"]), ([1], [1 << 40])),
        (helper.make_node("Expand", ["a", "b"], ["last"]), ([1], [1 << 40])),
    ):
        names = dict(zip(("a", "b", "d"), (np.array(value) for value in given), strict=False))
        model = onnx_model([node], {"x": ((2,), FLOAT)}, {"last": (None, INT64)}, names)
        with contextlib.suppress(Rejection):
            fix_shapes(model.SerializeToString(), ModelFormat.ONNX, {})
