"""Bad files are refused with a reason that says what to do; nothing else ever escapes."""

import random

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.unit.models.builders import cnn, onnx_model, tiny_onnx, tiny_tflite
from tinymlaas.contract.errors import InvalidModel
from tinymlaas.contract.model import ModelFormat
from workers.models.hygiene import sniff
from workers.models.limits import ModelLimits

FLOAT = TensorProto.FLOAT


def reason(data: bytes, name: str = "m.onnx", **more) -> str:
    with pytest.raises(InvalidModel) as caught:
        sniff(data, name, **more)
    (only,) = caught.value.reasons
    assert only.startswith(f"{name}: ")
    assert "\n" not in only
    return only


def test_sound_models_are_recognised_by_contents_not_by_name():
    assert sniff(tiny_onnx(), "model.bin") is ModelFormat.ONNX
    assert sniff(tiny_tflite(), "model.onnx") is ModelFormat.TFLITE


def test_empty_file():
    assert reason(b"") == "m.onnx: the file is empty"


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"\x89PNG\r\n\x1a\n", "PNG image"),
        (b"\xff\xd8\xff\xe0", "JPEG image"),
        (b"PK\x03\x04", "ZIP archive"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x80\x02}q", "pickle"),
        (b"\x7fELF\x02", "ELF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b'{"a": 1}', "JSON"),
        (b"hello, this is text\n", "text file"),
    ],
)
@pytest.mark.parametrize("name", ["m.onnx", "m.tflite", "m"])
def test_other_formats_are_named(start, what, name):
    assert what in reason(start + bytes(64), name) or what in reason(start * 20, name)


def test_file_too_large():
    assert "up to 100" in reason(tiny_onnx(), limits=ModelLimits(file_bytes=100))


def test_too_many_nodes():
    assert "more than 2" in reason(tiny_onnx(), limits=ModelLimits(nodes=2))
    assert "more than 2" in reason(tiny_tflite(), limits=ModelLimits(nodes=2))


@pytest.mark.parametrize("data", [tiny_onnx(), tiny_tflite()], ids=["onnx", "tflite"])
def test_every_truncation_is_refused(data):
    for length in range(0, len(data), max(1, len(data) // 600)):
        reason(data[:length], "m.tflite" if data[4:8] == b"TFL3" else "m.onnx")


@pytest.mark.parametrize(
    ("data", "seed"),
    [(tiny_tflite(), 1), (tiny_onnx(), 2)],
    ids=["tflite", "onnx"],
)
def test_random_damage_is_refused_or_harmless(data, seed):
    """2,000 mutations: each is either a sound model still, or InvalidModel and nothing else."""
    dice = random.Random(seed)
    refused = 0
    for _ in range(2000):
        mutant = bytearray(data)
        for _ in range(dice.choice((1, 1, 2, 4, 16))):
            mutant[dice.randrange(len(mutant))] = dice.choice(
                (0, 127, 128, 255, dice.randrange(256))
            )
        try:
            sniff(bytes(mutant), "mutant")
        except InvalidModel:
            refused += 1
    assert refused > 200


def test_random_bytes_are_refused():
    dice = random.Random(5)
    for length in range(1, 400):
        reason(dice.randbytes(length))
        reason(bytes(4) + b"TFL3" + dice.randbytes(length))


# ---------------------------------------------------------------------------- ONNX in particular


def external(name: str = "w") -> TensorProto:
    tensor = TensorProto(name=name, data_type=FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def relu() -> onnx.ModelProto:
    io = ((2,), FLOAT)
    return onnx_model([helper.make_node("Relu", ["x"], ["y"])], {"x": io}, {"y": io})


def in_initializer(model):
    model.graph.initializer.append(external())


def in_sparse_initializer(model):
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(external())


def in_attribute(model):
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=external()))


def in_attribute_list(model):
    attribute = model.graph.node[0].attribute.add()
    attribute.name, attribute.type = "many", onnx.AttributeProto.TENSORS
    attribute.tensors.append(external())


def in_sparse_attribute(model):
    attribute = model.graph.node[0].attribute.add()
    attribute.sparse_tensor.indices.CopyFrom(external())


def in_subgraph(model):
    inner = helper.make_graph([], "inner", [], [], [external()])
    model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=inner))


def in_function(model):
    function = model.functions.add()
    function.node.append(helper.make_node("Constant", [], ["c"], value=external()))


def in_training(model):
    model.training_info.add().initialization.initializer.append(external())


@pytest.mark.parametrize(
    "place",
    [
        *(in_initializer, in_sparse_initializer, in_attribute, in_attribute_list),
        *(in_sparse_attribute, in_subgraph, in_function, in_training),
    ],
)
def test_external_data_is_refused_wherever_it_is(place, monkeypatch):
    """... and before anything that could resolve it is called."""
    model = relu()
    place(model)
    monkeypatch.setattr(onnx.checker, "check_model", lambda *_, **__: pytest.fail("checked"))
    monkeypatch.setattr(numpy_helper, "to_array", lambda *_: pytest.fail("resolved"))
    assert "external data" in reason(model.SerializeToString())


def test_external_data_without_the_location_flag_is_refused_too():
    model = relu()
    tensor = external()
    tensor.ClearField("data_location")
    model.graph.initializer.append(tensor)
    assert "external data" in reason(model.SerializeToString())


@pytest.mark.parametrize(("opset", "words"), [(12, "older than 13"), (99, "not known yet")])
def test_opset_out_of_range(opset, words):
    assert words in reason(tiny_onnx(opset=opset))


def test_no_graph():
    model = onnx.ModelProto(ir_version=8)
    model.opset_import.add(version=13)
    assert "holds no graph" in reason(model.SerializeToString())


def test_wrong_initializer_size():
    model = cnn()
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    assert "tensor 'k'" in reason(model.SerializeToString())


def test_huge_declared_tensor():
    model = relu()
    model.graph.initializer.add(name="w", data_type=FLOAT, dims=[1 << 40])
    assert "elements" in reason(model.SerializeToString())


def test_use_before_definition():
    model = relu()
    model.graph.node[0].input[0] = "nowhere"
    assert "nowhere" in reason(model.SerializeToString())


def test_unknown_operator_of_the_default_domain():
    model = relu()
    model.graph.node[0].op_type = "Frobnicate"
    assert "Frobnicate" in reason(model.SerializeToString())


def test_custom_domains_are_left_to_the_compilers():
    io = ((2,), FLOAT)
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="org.example")
    model = onnx_model([node], {"x": io}, {"y": io}, domains=["org.example"])
    assert sniff(model.SerializeToString(), "m") is ModelFormat.ONNX


def test_ml_domain_alone_needs_no_default_opset():
    io = ((2,), FLOAT)
    node = helper.make_node("Binarizer", ["x"], ["y"], domain="ai.onnx.ml")
    model = onnx_model([node], {"x": io}, {"y": io}, domains=["ai.onnx.ml"])
    del model.opset_import[0]
    assert sniff(model.SerializeToString(), "m") is ModelFormat.ONNX


def test_string_tensors_are_no_damage():
    model = relu()
    model.graph.initializer.append(numpy_helper.from_array(np.array(["a", "b"]), "s"))
    assert sniff(model.SerializeToString(), "m") is ModelFormat.ONNX
