"""Model bytes to a Relax module whose ``main`` takes the model's inputs and nothing else."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from tinymlaas.contract.model import ModelFormat

if TYPE_CHECKING:
    import tvm


def import_model(data: bytes, fmt: ModelFormat) -> tvm.IRModule:
    """Return the Relax module of `data`, weights as constants.

    Raises:
        Exception: whatever TVM's importer raises; the caller makes a reason of it.
    """
    return _from_onnx(data) if fmt == ModelFormat.ONNX else _from_tflite(data)


def _from_onnx(data: bytes) -> tvm.IRModule:
    import onnx
    from tvm.relax.frontend.onnx import from_onnx

    from workers.compilers.tvm.graph.walk import prepare

    model = prepare(onnx.load_from_string(data))
    return from_onnx(model, keep_params_in_input=False)


def _from_tflite(data: bytes) -> tvm.IRModule:
    if find_spec("workers.compilers.tvm.hybrid"):
        from workers.compilers.tvm.hybrid import import_tflite

        return import_tflite(data)
    import tflite
    from tvm.relax.frontend.tflite import from_tflite

    return from_tflite(tflite.Model.GetRootAsModel(data, 0))
