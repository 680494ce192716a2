"""Small helpers to read ONNX nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of `node` as Python values, strings as str."""
    from onnx.helper import get_attribute_value

    values = {a.name: get_attribute_value(a) for a in node.attribute}
    return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [_text(item) for item in value]
    return value


def operator_name(node: onnx.NodeProto) -> str:
    """Return the operator as `OperatorUse.name` writes it: other domains with a dot before it."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    return f"{domain}.{node.op_type}" if domain else str(node.op_type)


def optional(node: onnx.NodeProto, index: int) -> str:
    """Return the name of input `index`, or an empty string if it is left out."""
    return str(node.input[index]) if index < len(node.input) else ""


def used_outputs(node: onnx.NodeProto) -> int:
    """Return how many outputs a node has up to the last that is named."""
    return max((i + 1 for i, name in enumerate(node.output) if name), default=0)
