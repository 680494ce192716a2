"""Model bytes to a Relax module whose ``main`` takes the model's inputs and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import tvm


def prepare_onnx(data: bytes) -> onnx.ModelProto:
    """Return the model in `data` in operators that TVM's importer takes.

    Raises:
        UnsupportedModel: it has an operator that cannot be compiled; names it.
    """
    import onnx

    from workers.compilers.tvm.graph.walk import prepare

    return prepare(onnx.load_from_string(data))


def from_onnx(model: onnx.ModelProto) -> tvm.IRModule:
    """Return the Relax module of a prepared model. Raises whatever TVM's importer raises."""
    import warnings

    from tvm.relax.frontend import onnx as frontend

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of renamed inputs; ours are told apart by position
        return frontend.from_onnx(model, keep_params_in_input=False)


def from_tflite(data: bytes) -> tvm.IRModule:
    """Return the Relax module of a TFLite model. Raises whatever TVM's importer raises."""
    from workers.compilers.tvm.hybrid import import_tflite

    return import_tflite(data)
