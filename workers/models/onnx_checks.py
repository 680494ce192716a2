"""What an ONNX file must satisfy before anything resolves, infers or runs it."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from tinymlaas.contract.errors import InvalidModel
from workers.models.limits import DEFAULT_LIMITS, ModelLimits
from workers.models.wording import one_line

MIN_OPSET = 13
_DEFAULT_DOMAINS = ("", "ai.onnx")


def check_onnx(data: bytes, limits: ModelLimits = DEFAULT_LIMITS) -> Any:
    """Parse and check an ONNX model; return its ``onnx.ModelProto``.

    Nothing outside `data` is ever read: tensors with external data are refused before anything
    could resolve them, wherever they are (initializers, attributes, subgraphs, functions).
    Operators of unknown domains pass; whether one can compile them the compilers say.

    Raises:
        InvalidModel: not ONNX, damaged, too large, external data, or an opset out of range.
    """
    model = parse_onnx(data)
    _external_data(model)
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise InvalidModel("the ONNX model holds no graph (truncated, or not a model at all)")
    _opset(model)
    if sum(1 for message in walk(model) if _named(message, "NodeProto")) > limits.nodes:
        raise InvalidModel(f"the model has more than {limits.nodes} nodes")
    _tensors(model, limits)
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


def default_opset(model: Any) -> int | None:
    """Return the version of the default operator set, None if the model uses none."""
    versions = [each.version for each in model.opset_import if each.domain in _DEFAULT_DOMAINS]
    return max(versions, default=None)


def _named(message: Any, name: str) -> bool:
    return bool(message.DESCRIPTOR.name == name)


def _external_data(model: Any) -> None:
    import onnx

    for message in walk(model):
        if not _named(message, "TensorProto"):
            continue
        if message.data_location == onnx.TensorProto.EXTERNAL or message.external_data:
            raise InvalidModel(
                f"tensor {message.name!r} keeps its data in another file (external data): "
                "save the model as one file"
            )


def _opset(model: Any) -> None:
    import onnx

    version, newest = default_opset(model), onnx.defs.onnx_opset_version()
    if version is None and not model.opset_import:
        raise InvalidModel("the ONNX model names no operator set (truncated?)")
    if version is not None and version < MIN_OPSET:
        raise InvalidModel(
            f"ONNX opset {version} is older than {MIN_OPSET}: "
            "convert the model with onnx.version_converter or export it anew"
        )
    if version is not None and version > newest:
        raise InvalidModel(f"ONNX opset {version} is not known yet (up to {newest}): export lower")


def _tensors(model: Any, limits: ModelLimits) -> None:
    from onnx import TensorProto, numpy_helper

    for message in walk(model):
        if not _named(message, "TensorProto"):
            continue
        where = f"tensor {message.name!r}"
        if any(dim < 0 for dim in message.dims):
            raise InvalidModel(f"damaged ONNX model: {where} has a negative dimension")
        if prod(message.dims) > limits.tensor_bytes:
            raise InvalidModel(f"{where} has more than {limits.tensor_bytes} elements")
        try:
            if message.data_type != TensorProto.STRING:
                numpy_helper.to_array(message)
        except Exception as error:  # whatever the library trips over is the file's fault
            raise InvalidModel(
                f"damaged ONNX model: {where} of shape {tuple(message.dims)}: {one_line(error)}"
            ) from error


def _checker(model: Any) -> None:
    import onnx

    try:
        onnx.checker.check_model(model, full_check=False)
    except Exception as error:  # ValidationError, but also what pybind makes of C++ exceptions
        raise InvalidModel(f"invalid ONNX model: {one_line(error)}") from error
