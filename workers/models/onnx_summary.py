"""The facts of an ONNX model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from typing import Any

from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.model import ModelFormat, ModelSummary
from tinymlaas.contract.tensors import DType, TensorSpec
from workers.models.memory import Step, estimated_flash, estimated_ram, fused_ram
from workers.models.multiplied import Use, multiplied_bytes
from workers.models.onnx_checks import default_opset, parse_onnx
from workers.models.onnx_macs import Shape, macs
from workers.models.onnx_shapes import infer, reads, real_inputs, stated
from workers.models.summary import dominant_dtype, locate_operators, module_dtype

_RENAMING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout")
_ELEMENTWISE = frozenset(
    (
        *("Relu", "LeakyRelu", "Clip", "Sigmoid", "Tanh", "Elu", "Selu", "Gelu", "HardSwish"),
        *("HardSigmoid", "Softplus", "Softsign", "BatchNormalization", "Exp", "Sqrt", "Neg"),
    )
)
_JOINING = ("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu")


@dataclass(frozen=True)
class _Values:
    """What is known of the values by name: types, static shapes, which are constants."""

    dtypes: dict[str, DType]
    shapes: dict[str, Shape]
    constants: dict[str, int]


def summarise_onnx(model: bytes, digest: str) -> ModelSummary:
    """Summarise a checked, static ONNX model.

    Nodes are counted as they stand, those inside If, Loop and Scan bodies not. Values whose type
    or shape cannot be inferred (operators of unknown domains) are left out of the estimates.

    Raises:
        UnsupportedModel: a value has an element type modules do not compute on, or is no tensor.
    """
    proto = infer(parse_onnx(model), forget=False)
    graph = proto.graph
    values = _values(graph)
    elements: Counter[DType] = Counter()
    for name, dtype in values.dtypes.items():
        if name not in values.constants:
            elements[dtype] += prod(values.shapes.get(name, (0,)))
    weight_bytes = sum(values.constants.values())
    ram, fused = _ram(graph, values)
    return ModelSummary(
        digest=digest,
        format=ModelFormat.ONNX,
        opset=default_opset(proto),
        inputs=tuple(_spec(value, values) for value in real_inputs(graph)),
        outputs=tuple(_spec(value, values) for value in graph.output),
        operators=locate_operators(
            (_qualified(node), _node_dtype(node, values)) for node in graph.node
        ),
        dtype=dominant_dtype(elements),
        macs=sum(macs(node, values.shapes) for node in graph.node),
        weight_bytes=weight_bytes,
        multiplied_bytes=_multiplied(graph),
        parameters=sum(prod(values.shapes[name]) for name in values.constants),
        estimated_flash_bytes=estimated_flash(weight_bytes, len(graph.node)),
        estimated_ram_bytes=ram,
        estimated_fused_ram_bytes=fused,
    )


def _values(graph: Any) -> _Values:
    values = _Values({}, {}, {})
    for value in stated(graph):
        _learn(value, values)
    for tensor in [*graph.initializer, *_constant_nodes(graph)]:
        _constant(tensor.name, tensor.data_type, tuple(tensor.dims), values)
    for sparse in graph.sparse_initializer:
        _constant(sparse.values.name, sparse.values.data_type, tuple(sparse.dims), values)
    return values


def _learn(value: Any, values: _Values) -> None:
    kind = value.type.WhichOneof("value")
    if kind not in (None, "tensor_type"):
        raise UnsupportedModel(
            f"value {value.name!r} is no tensor but {kind.removesuffix('_type')}"
        )
    tensor = value.type.tensor_type
    if tensor.elem_type:
        values.dtypes[value.name] = _dtype(value.name, tensor.elem_type)
    dims = tensor.shape.dim
    if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
        values.shapes[value.name] = tuple(dim.dim_value for dim in dims)


def _constant(name: str, elem_type: int, dims: Shape, values: _Values) -> None:
    values.dtypes[name] = _dtype(name, elem_type)
    values.shapes[name] = dims
    values.constants[name] = prod(dims) * values.dtypes[name].itemsize


def _constant_nodes(graph: Any) -> list[Any]:
    """Return the tensors of Constant nodes, named as the values they give."""
    import onnx

    tensors = []
    for node in graph.node:
        if node.op_type != "Constant" or node.domain not in ("", "ai.onnx"):
            continue
        for attribute in node.attribute:
            if attribute.name == "value":
                tensor = onnx.TensorProto()
                tensor.CopyFrom(attribute.t)
                tensor.name = node.output[0]
                tensors.append(tensor)
    return tensors


def _dtype(name: str, elem_type: int) -> DType:
    import onnx

    known = elem_type in onnx.TensorProto.DataType.values()
    called = onnx.TensorProto.DataType.Name(elem_type).lower() if known else f"type {elem_type}"
    aliases = {"float": "float32", "double": "float64"}
    return module_dtype(f"tensor {name!r}", aliases.get(called, called))


def _spec(value: Any, values: _Values) -> TensorSpec:
    name = value.name
    if name not in values.dtypes or name not in values.shapes:
        raise UnsupportedModel(f"the type and shape of {name!r} cannot be inferred")
    return TensorSpec(name=name, shape=values.shapes[name], dtype=values.dtypes[name])


def _qualified(node: Any) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _node_dtype(node: Any, values: _Values) -> DType:
    """Return the type of the first input that is no constant, or else of anything known."""
    activations = [name for name in node.input if name not in values.constants]
    for name in (*activations, *node.output, *node.input):
        if name in values.dtypes:
            return values.dtypes[name]
    return DType.FLOAT32


def _multiplied(graph: Any) -> int:
    from onnx import numpy_helper

    tensors = [*graph.initializer, *_constant_nodes(graph)]
    return multiplied_bytes(
        [Use(_qualified(node), tuple(node.input), tuple(node.output)) for node in graph.node],
        [value.name for value in real_inputs(graph)],
        [value.name for value in graph.output],
        {tensor.name: numpy_helper.to_array(tensor).tobytes() for tensor in tensors},
    )


def _ram(graph: Any, values: _Values) -> tuple[int, int]:
    """Return the estimated bytes of RAM, and of RAM where all element-wise operators are fused."""
    steps = [
        Step(
            reads=(*node.input, *sorted(reads(node))),
            writes=tuple(name for name in node.output if name),
            renames=node.op_type in _RENAMING,
            elementwise=node.op_type in _ELEMENTWISE,
            joins=node.op_type in _JOINING,
        )
        for node in graph.node
    ]
    nbytes = {
        name: prod(shape) * values.dtypes[name].itemsize
        for name, shape in values.shapes.items()
        if name in values.dtypes and name not in values.constants
    }
    inputs = [value.name for value in real_inputs(graph)]
    facts = (steps, inputs, [value.name for value in graph.output], nbytes)
    return estimated_ram(*facts), fused_ram(*facts)
