"""onnx2tf, run offline and told what it would otherwise miss; its failures name the operator."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinymlaas.contract.errors import UnsupportedModel
from workers.models.onnx_checks import parse_onnx, walk
from workers.models.wording import one_line

# onnx2tf compares itself with ONNX on images that it downloads, unless this file lies in the
# working directory.
_IMAGES = "calibration_image_sample_data_20x128x128x3_float32.npy"
_NODE = "node_"
_LONGEST = 200


def input_name(index: int) -> str:
    """Return what input `index` of the ONNX model is called in what `to_tensorflow` returns."""
    return f"input_{index}"


def to_tensorflow(data: bytes, scratch: Path) -> Any:
    """Return the Keras 2 model that onnx2tf makes of the ONNX model `data`.

    Raises:
        UnsupportedModel: onnx2tf cannot convert it; with index and name of the operator.
    """
    model = parse_onnx(data)
    known = [(node.op_type, node.name) for node in model.graph.node]
    _spell_out(model)
    path = scratch / "model.onnx"
    path.write_bytes(model.SerializeToString())
    generator = np.random.Generator(np.random.Philox(0))
    np.save(scratch / _IMAGES, generator.random((20, 128, 128, 3), np.float32))
    with _working_in(scratch):
        import onnx2tf

        try:
            return onnx2tf.convert(
                input_onnx_file_path=str(path),
                output_folder_path=str(scratch / "tensorflow"),
                not_use_onnxsim=True,
                disable_model_save=True,
                non_verbose=True,
                verbosity="error",
            )
        except (Exception, SystemExit) as error:  # it ends the process for what it does not know
            raise UnsupportedModel(_reason(error, known)) from error


def _spell_out(model: Any) -> None:
    """Write down what ONNX leaves to be inferred, and give everything names that TensorFlow takes.

    onnx2tf takes the weights' rank from ``kernel_shape``, which the standard calls optional.
    """
    from onnx import helper

    _rename(model)
    shapes = {each.name: list(each.dims) for each in model.graph.initializer}
    for index, node in enumerate(model.graph.node):
        node.name = f"{_NODE}{index}"
        if node.op_type in ("Conv", "ConvTranspose"):
            weights = shapes.get(node.input[1], [])
            if weights and all(each.name != "kernel_shape" for each in node.attribute):
                node.attribute.append(helper.make_attribute("kernel_shape", weights[2:]))


def _rename(model: Any) -> None:
    """Name tensors by numbers: ONNX allows any name, TensorFlow does not."""
    held = {each.name for each in model.graph.initializer}
    inputs = [each.name for each in model.graph.input if each.name not in held]
    names = {name: input_name(index) for index, name in enumerate(inputs)} | {"": ""}

    def plain(name: str) -> str:
        return names.setdefault(name, f"tensor_{len(names)}")

    for message in walk(model.graph):
        kind = message.DESCRIPTOR.name
        if kind in ("ValueInfoProto", "TensorProto"):
            message.name = plain(message.name)
        elif kind == "NodeProto":
            message.input[:] = map(plain, message.input)
            message.output[:] = map(plain, message.output)


def _reason(error: BaseException, known: list[tuple[str, str]]) -> str:
    if isinstance(error, ModuleNotFoundError):
        why = "onnx2tf does not know it"
    elif isinstance(error, SystemExit):
        why = "onnx2tf does not take its attributes or inputs"
    else:
        why = f"onnx2tf cannot convert it ({one_line(error)[:_LONGEST]})"
    index = _node(error)
    if index is None:
        return f"onnx2tf cannot convert the model to TensorFlow: {why}"
    operator, name = known[index]
    called = f" '{name}'" if name else ""
    return f"operator {index}, {operator}{called}, cannot be quantised: {why}"


def _node(error: BaseException) -> int | None:
    """Return the index of the node that onnx2tf was at when `error` was raised, if at any."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        node = frame.f_locals.get("graph_node")
        if node is not None and node.name.startswith(_NODE):
            return int(node.name.removeprefix(_NODE))
    return None


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
