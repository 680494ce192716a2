"""Hostile models on the way that every model takes: refused with a reason, and the next is taken.

What each parser makes of damaged files is for tests/unit/models and tests/fuzz.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from storage.memory import MemoryStore
from tests.security.hostile import NEEDLE
from tests.services.stub_compiler import model
from tests.unit.models.builders import TfliteBuilder
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import Rejection
from tinymlaas.contract.progress import Silent
from workers import sandbox
from workers.inspecting import ModelSource, inspect_stored
from workers.sandbox.limits import parse


@pytest.fixture(scope="module", autouse=True)
def small_limits() -> Iterator[None]:
    settings = sandbox.settings()
    sandbox.configure(sandbox.Settings(limits=parse("inspect.memory=768MiB,inspect.seconds=20")))
    yield
    sandbox.configure(settings)


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("planted") / "weights"
    path.write_text(NEEDLE * 100)
    return path


def onnx_of(*nodes: onnx.NodeProto, initializers: tuple[TensorProto, ...] = ()) -> bytes:
    graph = helper.make_graph(
        list(nodes),
        "hostile",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4))],
        list(initializers),
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def elsewhere(location: str) -> bytes:
    """Weights that lie in another file, as ONNX allows."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return onnx_of(helper.make_node("Add", ["x", "w"], ["y"]), initializers=(tensor,))


def numbers(name: str, *values: int) -> TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)


def filled(*shape: int) -> bytes:
    """A constant that is small to say and large to compute."""
    fill = helper.make_node("ConstantOfShape", ["s"], ["c"])
    most = helper.make_node("ReduceMax", ["c"], ["r"], keepdims=0)
    add = helper.make_node("Add", ["x", "r"], ["y"])
    return onnx_of(fill, most, add, initializers=(numbers("s", *shape),))


def doubled(times: int) -> bytes:
    """A constant doubled over and over: each step is sound by itself."""
    nodes = [
        helper.make_node("Concat", [f"c{n}", f"c{n}"], [f"c{n + 1}"], axis=0) for n in range(times)
    ]
    nodes.append(helper.make_node("ReduceSum", [f"c{times}"], ["r"], keepdims=0))
    nodes.append(helper.make_node("Add", ["x", "r"], ["y"]))
    first = helper.make_tensor("c0", TensorProto.FLOAT, [1024], [1.0] * 1024)
    return onnx_of(*nodes, initializers=(first,))


def repeated() -> bytes:
    """Constant work: a tensor multiplied with itself, again and again, over a huge axis."""
    nodes = [helper.make_node("Expand", ["c", "s"], ["e0"])]
    nodes += [helper.make_node("MatMul", [f"e{n}", f"e{n}"], [f"e{n + 1}"]) for n in range(200)]
    nodes += [helper.make_node("ReduceMax", ["e200"], ["r"], keepdims=0)]
    nodes += [helper.make_node("Add", ["x", "r"], ["y"])]
    one = helper.make_tensor("c", TensorProto.FLOAT, [1], [1.0])
    return onnx_of(*nodes, initializers=(one, numbers("s", 4000, 4000)))


def tflite(changed: Callable[[bytearray], None]) -> bytes:
    builder = TfliteBuilder()
    x, y = builder.tensor("x", (1, 4)), builder.tensor("y", (1, 4))
    builder.operator("RELU", [x], [y])
    data = bytearray(builder.bytes([x], [y]))
    changed(data)
    return bytes(data)


def root_outside(data: bytearray) -> None:
    data[0:4] = struct.pack("<I", 0x7FFFFFF0)


def vector_of_four_billion(data: bytearray) -> None:
    """The longest vector that a length can say, wherever a small one stands."""
    for place in range(len(data) - 64, 64, -4):
        if data[place : place + 4] == b"\x02\0\0\0":
            data[place : place + 4] = b"\xff\xff\xff\xff"


def table_of_itself(data: bytearray) -> None:
    """Offsets of nothing: a table whose fields lead back to it."""
    for place in range(64, len(data) - 4, 4):
        data[place : place + 4] = bytes(4)


HOSTILE: dict[str, tuple[str, Callable[[Path], bytes], str]] = {
    "external data by its full path": ("m.onnx", lambda secret: elsewhere(str(secret)), "external"),
    "external data further up": ("m.onnx", lambda _: elsewhere("../../../etc/passwd"), "external"),
    "a name that ends before its end": ("m.onnx", lambda s: elsewhere(f"{s}\0.bin"), "a NUL"),
    "a constant of a tebibyte": ("m.onnx", lambda _: filled(1 << 20, 1 << 18), "activations"),
    "a size that overflows": ("m.onnx", lambda _: filled(1 << 33, 1 << 33), "activations"),
    "a constant that doubles": ("m.onnx", lambda _: doubled(34), ""),
    "large constants, again and again": ("m.onnx", lambda _: repeated(), "activations"),
    "a TFLite whose root is outside": ("m.tflite", lambda _: tflite(root_outside), "outside"),
    "endless vectors": ("m.tflite", lambda _: tflite(vector_of_four_billion), "outside the file"),
    "tables without an end": ("m.tflite", lambda _: tflite(table_of_itself), "offset is zero"),
    "a pickle": ("m.onnx", lambda _: pickle.dumps(print), "pickle"),
    "a zip bomb": ("m.onnx", lambda _: bomb(), "ZIP"),
}


def bomb() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", bytes(64 << 20))
    return sink.getvalue()


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_model_is_refused_and_the_next_is_taken(case: str, secret: Path) -> None:
    name, made, words = HOSTILE[case]
    data, store = made(secret), MemoryStore()
    with pytest.raises(Rejection) as refused:
        inspect_stored(ModelSource(sha256(data), name, lambda: data), {}, "s", store, Silent())
    reason = "; ".join(refused.value.reasons)
    assert words in reason
    assert reason.isprintable()
    assert NEEDLE not in reason
    good = ModelSource(sha256(model()), "relu.onnx", model)
    assert inspect_stored(good, {}, "s", store, Silent()).summary.operators
