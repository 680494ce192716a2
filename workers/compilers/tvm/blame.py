"""Which operators of a model are to blame when it cannot be compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.tvm.graph.nodes import operator_name

if TYPE_CHECKING:
    import onnx

_MAX_TRIES = 200


def onnx_operators(
    model: onnx.ModelProto, attempt: Callable[[onnx.ModelProto], object]
) -> list[str]:
    """Return the operators of `model` for which `attempt` raises on a model of that node alone;
    all its operators if it is the combination that cannot be compiled.
    """
    found: dict[str, None] = {}
    for operator, single in _singles(model):
        if operator in found:
            continue
        try:
            attempt(single)
        except UnsupportedModel:
            continue
        except Exception:
            found[operator] = None
    return list(found) or sorted({operator_name(node) for node in model.graph.node})


def _singles(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Yield operator and one-node model of every different node."""
    import onnx
    from onnx.helper import make_graph, make_model, make_value_info

    typed = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    types = {v.name: v.type for v in (*typed.value_info, *typed.input, *typed.output)}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    seen: set[tuple[object, ...]] = set()
    for node in model.graph.node:
        names = [name for name in dict.fromkeys(node.input) if name]
        if any(name not in types and name not in tensors for name in names):
            continue
        inputs = [make_value_info(name, types[name]) for name in names if name not in tensors]
        constants = [tensors[name] for name in names if name in tensors]
        outputs = [make_value_info(n, types.get(n, onnx.TypeProto())) for n in node.output if n]
        key = (
            operator_name(node),
            *(attribute.SerializeToString() for attribute in node.attribute),
            *(value.type.SerializeToString() for value in inputs),
        )
        if key in seen or len(seen) >= _MAX_TRIES:
            continue
        seen.add(key)
        graph = make_graph([node], "one", inputs, outputs, initializer=constants)
        yield (
            operator_name(node),
            make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version),
        )


def tflite_operators(data: bytes) -> list[str]:
    """Return the names of all operators of a TFLite model."""
    import tflite

    names = {code: name for name, code in vars(tflite.BuiltinOperator).items() if name.isupper()}
    model = tflite.Model.GetRootAsModel(data, 0)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    numbers = {max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) for code in codes}
    return sorted(names.get(number, f"operator {number}") for number in numbers)
