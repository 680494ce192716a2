"""What an ONNX file must satisfy before anything resolves, infers or runs it."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from tinymlaas.contract.errors import InvalidModel
from workers.models.limits import DEFAULT_LIMITS, ModelLimits
from workers.models.onnx_domains import check_domains, default_opset
from workers.models.onnx_wire import check_onnx_wire
from workers.models.wording import one_line

__all__ = ["check_onnx", "default_opset", "parse_onnx", "walk"]


def check_onnx(data: bytes, limits: ModelLimits = DEFAULT_LIMITS) -> Any:
    """Parse and check an ONNX model; return its ``onnx.ModelProto``.

    First its bytes (`onnx_wire`), then what they say, and only what has passed both is shown to
    onnx's own checker, which is C++. Nothing outside `data` is ever read.

    Raises:
        InvalidModel: not ONNX, damaged, too large, external data, or operators nobody knows.
    """
    check_onnx_wire(data, limits)
    model = parse_onnx(data)
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise InvalidModel("the ONNX model holds no graph (truncated, or not a model at all)")
    check_domains(model, limits)
    for message in walk(model):
        match message.DESCRIPTOR.name:
            case "TensorProto":
                _tensor(message, limits)
            case "SparseTensorProto":
                _sparse(message, limits)
            case "NodeProto":
                _attributes(message)
            case "TensorShapeProto" if len(message.dim) > limits.rank:
                raise InvalidModel(f"a value has {len(message.dim)} dimensions, not {limits.rank}")
    _checker(model)
    return model


def parse_onnx(data: bytes) -> Any:
    """Parse `data` without touching external data.

    Raises:
        InvalidModel: `data` is not a serialised ``ModelProto``.
    """
    import onnx

    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as error:  # protobuf's DecodeError; its module varies by implementation
        raise InvalidModel("damaged or truncated ONNX model: it cannot be parsed") from error
    return model


def walk(message: Any) -> Iterator[Any]:
    """Yield `message` and every message below it, wherever the schema allows one."""
    stack = [message]
    while stack:
        current = stack.pop()
        yield current
        for field, value in current.ListFields():
            if field.message_type is None:
                continue
            stack.extend([value] if hasattr(value, "ListFields") else value)


def _tensor(tensor: Any, limits: ModelLimits) -> None:
    from onnx import TensorProto, numpy_helper

    where = f"tensor {tensor.name!r}"
    _dims(where, tensor.dims, limits)
    if tensor.data_type == TensorProto.STRING:
        if len(tensor.string_data) != prod(tensor.dims):
            raise InvalidModel(
                f"damaged ONNX model: {where} of shape {tuple(tensor.dims)} has "
                f"{len(tensor.string_data)} strings"
            )
        return
    try:
        numpy_helper.to_array(tensor)
    except Exception as error:  # whatever the library trips over is the file's fault
        raise InvalidModel(
            f"damaged ONNX model: {where} of shape {tuple(tensor.dims)}: {one_line(error)}"
        ) from error


def _dims(where: str, dims: Any, limits: ModelLimits) -> None:
    if len(dims) > limits.rank:
        raise InvalidModel(f"{where} has {len(dims)} dimensions; up to {limits.rank} are taken")
    if any(dim < 0 for dim in dims):
        raise InvalidModel(f"damaged ONNX model: {where} has a negative dimension")
    if prod(dims) > limits.tensor_bytes:
        raise InvalidModel(f"{where} has more than {limits.tensor_bytes} elements")


def _sparse(sparse: Any, limits: ModelLimits) -> None:
    """Check what a library writes to when it makes the tensor dense; its parts are checked too."""
    import numpy as np
    from onnx import TensorProto, numpy_helper

    where = f"sparse tensor {sparse.values.name!r}"
    _dims(where, sparse.dims, limits)
    _tensor(sparse.indices, limits)
    _tensor(sparse.values, limits)
    stored, rank = tuple(sparse.values.dims), len(sparse.dims)
    if sparse.indices.data_type != TensorProto.INT64 or len(stored) != 1:
        raise InvalidModel(f"damaged ONNX model: {where} has no list of values and int64 indices")
    indices = numpy_helper.to_array(sparse.indices)
    if indices.shape == stored:
        ends = np.array(prod(sparse.dims))
    elif indices.shape == (*stored, rank):
        ends = np.array(sparse.dims)
    else:
        raise InvalidModel(f"damaged ONNX model: {where} has indices of shape {indices.shape}")
    if ((indices < 0) | (indices >= ends)).any():
        raise InvalidModel(f"damaged ONNX model: {where} has an index outside its shape")


def _attributes(node: Any) -> None:
    names = [each.name for each in node.attribute]
    if len(set(names)) != len(names):
        raise InvalidModel(
            f"damaged ONNX model: node {node.name!r} ({node.op_type}) has an attribute twice"
        )


def _checker(model: Any) -> None:
    import onnx

    try:
        onnx.checker.check_model(model, full_check=False)
    except Exception as error:  # ValidationError, but also what pybind makes of C++ exceptions
        raise InvalidModel(f"invalid ONNX model: {one_line(error)}") from error
