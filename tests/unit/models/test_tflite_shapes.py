"""TFLite: the batch may be chosen, other open dimensions must be; the rewritten file runs."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.unit.models.builders import INT32, TfliteBuilder, tflite_builder, tiny_tflite
from tinymlaas.contract.errors import UnsupportedModel, UsageError
from tinymlaas.contract.model import ModelFormat
from workers.models.hygiene import sniff
from workers.models.limits import DEFAULT_LIMITS
from workers.models.reference import open_reference
from workers.models.shapes import fix_shapes
from workers.models.tflite_checks import check_tflite

TFLITE = ModelFormat.TFLITE


def fixed(data: bytes, **shapes: tuple[int, ...]) -> bytes:
    return fix_shapes(data, TFLITE, shapes)


@pytest.mark.parametrize("data", [tiny_tflite(), tiny_tflite(False)], ids=["open", "static"])
def test_batch_of_one_is_the_file_itself(data):
    assert fixed(data) == data
    assert fixed(data, x=(1, 6, 6, 1)) == data


def test_another_batch_computes_the_same_rows():
    data = tiny_tflite()
    batch = fixed(data, x=(3, 6, 6, 1))
    assert sniff(batch, "batch") is TFLITE
    graph = check_tflite(batch, DEFAULT_LIMITS).graphs[0]
    assert [t.shape for t in graph.tensors if t.data_bytes is None] == [
        *((3, 6, 6, 1), (3, 4, 4, 2), (3, 32), (3, 3))
    ]
    assert not any(tensor.signature for tensor in graph.tensors)
    x = np.random.default_rng(1).normal(size=(3, 6, 6, 1)).astype("f4")
    (together,) = open_reference(batch, TFLITE).run([x])
    alone = [open_reference(data, TFLITE).run([row[None]])[0] for row in x]
    assert np.array_equal(together, np.concatenate(alone))


def test_the_same_bytes_every_time():
    assert len({fixed(tiny_tflite(), x=(2, 6, 6, 1)) for _ in range(3)}) == 1


def test_other_open_dimensions_must_be_fixed():
    data = elementwise(signature=[-1, -1, 4], shape=(1, 1, 4))
    with pytest.raises(UsageError) as caught:
        fixed(data)
    assert caught.value.reasons == (
        "input 'x' has dynamic shape (1, ?, 4): fix it with --shape x=1,1,4",
    )
    (y,) = open_reference(fixed(data, x=(1, 5, 4)), TFLITE).run([np.ones((1, 5, 4), "f4")])
    assert y.shape == (1, 5, 4)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 7, 6, 1), "fixes this input to (?, 6, 6, 1)"),
        ((1, 6, 6), "4 dimensions"),
        ((0, 6, 6, 1), "at least 1"),
    ],
)
def test_mistakes_in_the_option(shape, words):
    with pytest.raises(UsageError) as caught:
        fixed(tiny_tflite(), x=shape)
    assert words in str(caught.value)


def test_unknown_name():
    with pytest.raises(UsageError, match="did you mean 'x'"):
        fixed(tiny_tflite(), xx=(1, 6, 6, 1))


def test_static_batch_cannot_be_changed():
    with pytest.raises(UsageError, match=r"fixes this input to \(1, 6, 6, 1\)"):
        fixed(tiny_tflite(False), x=(2, 6, 6, 1))


def test_a_reshape_that_names_the_batch_is_refused_in_words():
    build, inputs, outputs = tflite_builder()
    build.buffers[build.tensors[4].buffer].data = np.frombuffer(
        np.array([1, 32], "i4").tobytes(), np.uint8
    )
    data = build.bytes(inputs, outputs)
    with pytest.raises(UnsupportedModel, match="cannot take these shapes"):
        fixed(data, x=(2, 6, 6, 1))


def test_several_subgraphs_are_not_resized():
    build, inputs, outputs = tflite_builder()
    tree = build.tree(inputs, outputs)
    tree.subgraphs *= 2
    from tests.unit.models.builders import pack

    with pytest.raises(UnsupportedModel, match="several subgraphs"):
        fixed(pack(tree), x=(2, 6, 6, 1))


def reshaped(source: str) -> bytes:
    """Reshape by an input, or by the SHAPE of one."""
    build = TfliteBuilder()
    x = build.tensor("x", (1, 4), signature=[-1, 4])
    to = build.tensor("to", (2,), INT32)
    y = build.tensor("y", (1, 4), signature=[-1, -1])
    if source == "SHAPE":
        build.operator("SHAPE", [x], [to], "ShapeOptions", outType=INT32)
    build.operator("RESHAPE", [x, to], [y])
    return build.bytes([x] if source == "SHAPE" else [x, to], [y])


def test_shapes_that_depend_on_data_are_refused():
    with pytest.raises(UnsupportedModel, match="output 'y' of RESHAPE has a shape that depends"):
        fixed(reshaped("input"))


def test_operators_without_outputs_are_refused_too():
    build = TfliteBuilder()
    x, sizes = build.tensor("x", (1, 4)), build.tensor("sizes", (1,), INT32)
    axis = build.tensor("axis", (), INT32, np.array(1, np.int32))
    build.operator("SPLIT_V", [x, sizes, axis], [])
    with pytest.raises(UnsupportedModel, match=r"^SPLIT_V has a shape that depends on the input"):
        fixed(build.bytes([x, sizes], [x]))


def test_shapes_computed_from_shapes_are_followed():
    data = reshaped("SHAPE")
    assert fixed(data) == data
    (y,) = open_reference(fixed(data, x=(3, 4)), TFLITE).run([np.ones((3, 4), "f4")])
    assert y.shape == (3, 4)


def elementwise(signature: list[int], shape: tuple[int, ...]) -> bytes:
    build = TfliteBuilder()
    x = build.tensor("x", shape, signature=signature)
    y = build.tensor("y", shape, signature=signature)
    build.operator("ADD", [x, x], [y], "AddOptions")
    assert schema.BuiltinOperator.ADD in build.codes
    return build.bytes([x], [y])
