"""Seeds: small sound files of every kind, and what fuzzing has found so far.

``python -m tests.fuzz.seeds_`` writes those that are made here anew; ``seeds/found/<target>`` keeps
mutants that once broke something, and ``seeds/messages`` what a farm has said (see `record`).
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent / "seeds"


@functools.cache
def read(*kinds: str) -> tuple[bytes, ...]:
    """Return all seeds of these folders, sorted by name."""
    paths = sorted(path for kind in kinds for path in (FOLDER / kind).glob("*") if path.is_file())
    return tuple(path.read_bytes() for path in paths)


def _onnx() -> dict[str, bytes]:
    from onnx import TensorProto, helper, numpy_helper

    from tests.unit.models.builders import onnx_model, tiny_onnx

    io_ = ((2, 3), TensorProto.FLOAT)
    branch = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, [2, 3])],
    )
    condition = onnx_model(
        [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)],
        {"x": io_},
        {"y": io_},
        {"c": np.array(True)},
    )
    function = onnx_model([helper.make_node("F", ["x"], ["y"], domain="m")], {"x": io_}, {"y": io_})
    imports = [helper.make_opsetid("", 13)]
    body = [helper.make_node("Tanh", ["a"], ["b"])]
    function.functions.append(helper.make_function("m", "F", ["a"], ["b"], body, imports))
    function.opset_import.add(domain="m", version=1)
    shapes = onnx_model(
        [
            helper.make_node("Shape", ["x"], ["s"]),
            helper.make_node("Constant", [], ["k"], value_ints=[1, 2]),
            helper.make_node("Mul", ["s", "k"], ["t"]),
            helper.make_node("Expand", ["v", "t"], ["y"]),
        ],
        {"x": io_},
        {"y": ((2, 6), TensorProto.FLOAT)},
        {"v": np.ones(1, "f4")},
    )
    sparse = onnx_model([helper.make_node("Add", ["x", "w"], ["y"])], {"x": io_}, {"y": io_})
    added = sparse.graph.sparse_initializer.add()
    added.dims.extend([2, 3])
    added.values.CopyFrom(numpy_helper.from_array(np.ones(2, "f4"), "w"))
    added.indices.CopyFrom(numpy_helper.from_array(np.array([1, 5]), "w_at"))
    models = {"if": condition, "function": function, "shapes": shapes, "sparse": sparse}
    made = {f"{name}.onnx": model.SerializeToString() for name, model in models.items()}
    return {**made, "cnn.onnx": tiny_onnx(), "batch.onnx": tiny_onnx("N")}


def _tflite() -> dict[str, bytes]:
    from ai_edge_litert import schema_py_generated as schema

    from tests.unit.models.builders import pack, tflite_builder, tiny_tflite
    from tests.unit.models.test_tflite_checks import sparse

    build, inputs, outputs = tflite_builder(False)
    tree = build.tree(inputs, outputs)
    signature = schema.SignatureDefT()
    signature.signatureKey = "serving_default"
    for name, tensors in (("inputs", inputs), ("outputs", outputs)):
        entries = [schema.TensorMapT() for _ in tensors]
        for entry, tensor in zip(entries, tensors, strict=True):
            entry.name, entry.tensorIndex = name, tensor
        setattr(signature, name, entries)
    tree.signatureDefs = [signature]
    metadata = schema.MetadataT()
    metadata.name, metadata.buffer = "min_runtime_version", 0
    tree.metadata = [metadata]
    for tensor in tree.subgraphs[0].tensors:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [0.5], [0]
    return {"cnn.tflite": tiny_tflite(), "signed.tflite": pack(tree), "sparse.tflite": sparse()}


def _npz() -> dict[str, bytes]:
    images = np.arange(24, dtype=np.float32).reshape(3, 2, 4)
    files = {}
    for name, write in (("stored", np.savez), ("packed", np.savez_compressed)):
        file = io.BytesIO()
        write(file, x=images, labels=np.arange(3))
        files[f"{name}.npz"] = file.getvalue()
    file = io.BytesIO()
    pixels = np.asfortranarray(images.astype(np.uint8))
    np.savez_compressed(file, image=pixels, labels=np.arange(3, dtype=np.uint8), other=["a", "b"])
    return {**files, "bytes.npz": file.getvalue()}


MADE: dict[str, Callable[[], dict[str, bytes]]] = {"onnx": _onnx, "tflite": _tflite, "npz": _npz}


def main() -> None:
    """Write all seeds that are made here."""
    for kind, make in MADE.items():
        folder = FOLDER / kind
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in make().items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
