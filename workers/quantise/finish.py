"""Give a converter's TFLite file the source model's names, and make sure that it is all integer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.tensors import TensorSpec
from workers.quantise.source import Boundary

_IDENTIFIER = b"TFL3"


def finish(data: bytes, boundary: Boundary) -> bytes:
    """Return the TFLite file `data` with the names of `boundary`, without converter metadata.

    Metadata name the converter and its environment, which would make equal models differ.

    Raises:
        UnsupportedModel: operators are left that compute on floats, one reason each; or inputs or
            outputs are not those of `boundary`.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    floats = _float_operators(model, schema)
    if floats:
        raise UnsupportedModel(*floats)
    graph = model.subgraphs[0]
    for kind, indices, specs in (
        ("input", graph.inputs, boundary.inputs),
        ("output", graph.outputs, boundary.outputs),
    ):
        _rename(graph.tensors, indices, specs, kind)
    model.description = None
    model.metadata = None
    model.metadataBuffer = None
    model.signatureDefs = None
    return _packed(model)


def _packed(model: Any) -> bytes:
    import flatbuffers  # type: ignore[import-untyped]

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _float_operators(model: Any, schema: Any) -> list[str]:
    """Return one reason for each operator that reads or writes a float tensor."""
    floats = (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16, schema.TensorType.FLOAT64)
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    reasons = []
    for graph in model.subgraphs:
        for number, operator in enumerate(graph.operators):
            used = [i for i in (*operator.inputs, *operator.outputs) if i >= 0]
            if any(graph.tensors[i].type in floats for i in used):
                code = model.operatorCodes[operator.opcodeIndex]
                builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
                name = names.get(builtin, str(builtin))
                reasons.append(f"operator {number}, {name}, has no integer form and stays float")
    return reasons


def _rename(tensors: Any, indices: Any, specs: Sequence[TensorSpec], kind: str) -> None:
    shapes = [tuple(int(d) for d in _shape(tensors[i])) for i in indices]
    if shapes != [spec.shape for spec in specs]:
        raise UnsupportedModel(
            f"the quantised model's {kind}s have shapes {shapes}, the model's "
            f"{[spec.shape for spec in specs]}"
        )
    for index, spec in zip(indices, specs, strict=True):
        tensors[index].name = spec.name.encode()


def _shape(tensor: Any) -> Any:
    return () if tensor.shape is None else tensor.shape
