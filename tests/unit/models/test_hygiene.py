"""Bad files are refused with a reason that says what to do; nothing else ever escapes."""

import itertools
import random
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.unit.models.builders import cnn, onnx_model, tiny_onnx, tiny_tflite
from tinymlaas.contract.errors import InvalidModel
from tinymlaas.contract.model import ModelFormat
from workers.models import onnx_checks
from workers.models.hygiene import sniff
from workers.models.limits import ModelLimits
from workers.models.onnx_wire import check_onnx_wire

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
    monkeypatch.setattr(onnx_checks, "parse_onnx", lambda _: pytest.fail("parsed"))
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


def test_operators_of_unknown_domains_are_refused_and_told():
    io = ((2,), FLOAT)
    node = helper.make_node("Frobnicate", ["x"], ["y"], domain="org.example")
    model = onnx_model([node], {"x": io}, {"y": io}, domains=["org.example"])
    assert "operator set 'org.example' is unknown" in reason(model.SerializeToString())
    del model.opset_import[1]
    told = reason(model.SerializeToString())
    assert "operator 'Frobnicate' of domain 'org.example' is unknown" in told
    model = relu()
    inner = helper.make_graph([node], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=inner))
    assert "'Frobnicate'" in reason(model.SerializeToString())


def test_the_runtime_s_own_domain_is_left_to_the_compilers():
    io = ((2,), FLOAT)
    node = helper.make_node("FastGelu", ["x"], ["y"], domain="com.microsoft")
    model = onnx_model([node], {"x": io}, {"y": io}, domains=["com.microsoft"])
    assert sniff(model.SerializeToString(), "m") is ModelFormat.ONNX


def test_an_operator_set_imported_twice():
    model = relu()
    model.opset_import.add(domain="ai.onnx", version=14)
    assert "imported twice" in reason(model.SerializeToString())


def function(name: str, *nodes: onnx.NodeProto, domain: str = "mine") -> onnx.FunctionProto:
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("mine", 1)]
    return helper.make_function(domain, name, ["a"], ["b"], list(nodes), imports)


def call(name: str, x: str = "a", y: str = "b") -> onnx.NodeProto:
    return helper.make_node(name, [x], [y], domain="mine")


def with_functions(*functions: onnx.FunctionProto) -> bytes:
    model = relu()
    model.graph.node[0].CopyFrom(call("F", "x", "y"))
    model.opset_import.add(domain="mine", version=1)
    model.functions.extend(functions)
    return model.SerializeToString()


def test_functions_of_the_model_s_own_pass():
    data = with_functions(
        function("F", call("G")), function("G", helper.make_node("Relu", ["a"], ["b"]))
    )
    assert sniff(data, "m") is ModelFormat.ONNX


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        ([function("F", call("F"))], "calls itself"),
        ([function("F", call("G")), function("G", call("F"))], "calls itself"),
        ([function("F", call("H"))], "operator 'H' of domain 'mine' is unknown"),
        ([function("F", helper.make_node("Mine", ["a"], ["b"], domain="odd"))], "'odd' is unknown"),
        ([function("F", helper.make_node("Relu", ["a"], ["b"]))] * 2, "defined twice"),
        ([function("Relu", call("F"), domain="ai.onnx")], "not the model's own"),
        ([function("Relu", call("F"), domain="")], "not the model's own"),
    ],
)
def test_functions_that_nobody_may_expand(functions, words):
    assert words in reason(with_functions(*functions))


def test_functions_that_multiply():
    """Twenty functions that call the next one twice are a million nodes."""
    names = ["F", *(f"F{i}" for i in range(1, 20))]
    many = [
        function(name, call(after, "a", "t"), call(after, "t", "b"))
        for name, after in itertools.pairwise(names)
    ]
    last = function(names[-1], helper.make_node("Relu", ["a"], ["b"]))
    assert "with its functions the model has more than" in reason(with_functions(*many, last))


def test_an_attribute_twice():
    model = cnn()
    model.graph.node[0].attribute.append(model.graph.node[0].attribute[0])
    assert "has an attribute twice" in reason(model.SerializeToString())


def test_strings_that_are_not_as_many_as_the_shape_says():
    model = relu()
    model.graph.initializer.add(name="s", data_type=TensorProto.STRING, dims=[3])
    assert "has 0 strings" in reason(model.SerializeToString())


@pytest.mark.parametrize(
    ("dims", "indices", "words"),
    [
        ([4], [4], "an index outside"),
        ([4], [-1], "an index outside"),
        ([1 << 20, 1 << 20], [1], "elements"),
        ([2, 2], [[1, 1, 1]], "indices of shape"),
    ],
)
def test_sparse_tensors_stay_inside_their_shape(dims, indices, words):
    model = relu()
    sparse = model.graph.sparse_initializer.add()
    sparse.dims.extend(dims)
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, "f4"), "s"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array(indices, "i8"), "i"))
    assert words in reason(model.SerializeToString())


# ----------------------------------------------------------- ... and its bytes, before protobuf


@pytest.fixture
def unparsed(monkeypatch):
    """Protobuf must not see the bytes at all."""
    monkeypatch.setattr(onnx_checks, "parse_onnx", lambda _: pytest.fail("parsed"))


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def nested_subgraphs(depth: int) -> bytes:
    graph = field(2, b"g")
    for _ in range(depth):
        graph = field(1, field(4, b"If") + field(5, field(1, b"then_branch") + field(6, graph)))
    return field(7, graph)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (nested_subgraphs(17), "nested more than 48 deep"),
        (nested_subgraphs(20_000), "nested more than 48 deep"),
        (field(7, field(2, b"g")) * 2, "field graph of ModelProto stands twice"),
        (field(7, field(2, b"g")) + field(99, b"?"), "field 99 of ModelProto at byte 5 is unknown"),
        (field(7, field(9, b"old")), "field 9 of GraphProto at byte 2 is unknown"),
        (b"\x3d1234", "field 7 of ModelProto has wire type 5"),
        (b"\x3b\x3c", "has wire type 3"),
        (field(7, field(2, b"\xff")), "not UTF-8"),
        (field(7, field(2, b"a\0b")), "holds a NUL"),
        (b"\x3a\x7f", "reaches beyond its message"),
        (b"\x3a\x03\x12\x02g", "reaches beyond its message"),
        (b"\x08" + b"\xff" * 11, "cut off or endless"),
        (b"\x08" + b"\xff" * 9 + b"\x7f", "too large"),
        (b"\x08\x80", "cut off or endless"),
        (field(7, field(5, field(5, b"\x01\x80"))), "int32_data of TensorProto is cut off"),
        (field(7, field(5, field(7, b"\x80" * 12 + b"\0"))), "an endless number"),
        (field(7, field(5, field(4, b"123"))), "float_data of TensorProto is cut off"),
        (field(7, field(5, b"\x70\x07")), "data_location of TensorProto is 7"),
        (field(7, field(5, b"\x70" + varint((1 << 32) + 1))), "is 4294967297"),
        (field(7, field(5, field(3, b"\x08\x01"))), "stored in segments"),
        (field(20, b""), "instructions for training"),
    ],
)
def test_bytes_that_protobuf_never_sees(data, words, unparsed):
    assert words in reason(data)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (ModelLimits(fields=20), "more than 20 fields"),
        (ModelLimits(nodes=3), "more than 3 nodes"),
        (ModelLimits(tensors=2), "more than 2 tensors"),
        (ModelLimits(depth=2), "more than 2 deep"),
    ],
)
def test_limits_hold_before_anything_is_built(limits, words, unparsed):
    assert words in reason(tiny_onnx(), limits=limits)


def test_packed_integers_are_bounded_and_raw_data_is_not(unparsed):
    packed = field(7, field(5, field(7, b"\x01" * 1000)))
    assert "save its tensors as raw data" in reason(packed, limits=ModelLimits(packed=999))


def test_the_walk_counts_what_protobuf_builds():
    model = cnn()
    model.graph.node.append(
        helper.make_node("If", ["x"], ["z"], then_branch=helper.make_graph([], "i", [], []))
    )
    found = check_onnx_wire(model.SerializeToString(), ModelLimits()).messages
    assert found == Counter(message.DESCRIPTOR.name for message in onnx_checks.walk(model))


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
