"""Give a converter's TFLite file the source model's names, and make sure that it is all integer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.tensors import TensorSpec
from workers.quantise.source import Boundary

_IDENTIFIER = b"TFL3"
_CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")


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
    if any(graph.tensors[i].type in _floats(schema) for i in (*graph.inputs, *graph.outputs)):
        raise UnsupportedModel(
            "the model has nothing to quantise: its inputs or outputs stay float"
        )
    for kind, indices, specs in (
        ("input", graph.inputs, boundary.inputs),
        ("output", graph.outputs, boundary.outputs),
    ):
        _rename(graph.tensors, indices, specs, kind)
    model.description = None
    model.metadata = None
    model.metadataBuffer = None
    model.signatureDefs = None
    return packed(model)


def packed(model: Any) -> bytes:
    """Return the TFLite file of a model in TensorFlow's object form."""
    import flatbuffers  # type: ignore[import-untyped]

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _floats(schema: Any) -> tuple[int, ...]:
    kinds = schema.TensorType
    return kinds.FLOAT32, kinds.FLOAT16, kinds.FLOAT64


def _float_operators(model: Any, schema: Any) -> list[str]:
    """Return one reason for each operator that reads or writes a float tensor."""
    floats = _floats(schema)
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    reasons: dict[str, list[str]] = {}
    for graph in model.subgraphs:
        for number, operator in enumerate(graph.operators):
            used = [i for i in (*operator.inputs, *operator.outputs) if i >= 0]
            if any(graph.tensors[i].type in floats for i in used):
                code = model.operatorCodes[operator.opcodeIndex]
                builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
                name = names.get(builtin, str(builtin))
                reason = f"operator {number}, {name}, of the converted model has no integer form"
                reasons.setdefault(name, []).append(reason)
    # Conversions only stand around the operators that are at fault.
    culprits = [name for name in reasons if name not in _CONVERSIONS] or list(reasons)
    return [reason for name in culprits for reason in reasons[name]]


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
