"""Puts an operator in terms of others by the definition that ONNX itself ships for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.tvm.graph.nodes import attributes, used_outputs

if TYPE_CHECKING:
    import onnx

    from workers.compilers.tvm.graph.walk import Walk

_QK_OUTPUT = 3
_DISPUTED_MODES = (1, 2)


def by_definition(node: onnx.NodeProto, walk: Walk) -> bool:
    """Add the nodes of the ONNX function that defines `node`'s operator. A rewrite.

    Raises:
        UnsupportedModel: ONNX defines no function for it at this operator set version.
    """
    body = _inlined(node, walk)
    if any(inner.op_type == node.op_type for inner in body):
        raise UnsupportedModel(
            f"{node.op_type}: opset {walk.opset} gives no definition to compile it by"
        )
    names: dict[str, str] = {name: name for name in (*node.input, *node.output)}
    for inner in body:
        for name in (*inner.input, *inner.output):
            if name and name not in names:
                names[name] = walk.fresh()
        rename(inner, names)
        walk.add(inner)
    return True


def attention(node: onnx.NodeProto, walk: Walk) -> bool:
    """Attention by its definition; TVM's converter of this name is com.microsoft's operator.

    ONNX and onnxruntime disagree on what the fourth output holds after mask and soft cap.
    """
    mode = attributes(node).get("qk_matmul_output_mode", 0)
    if used_outputs(node) > _QK_OUTPUT and mode in _DISPUTED_MODES:
        raise UnsupportedModel(
            f"Attention: ONNX and onnxruntime disagree on qk_matmul_output in mode {mode},"
            " so it cannot be verified"
        )
    return by_definition(node, walk)


def _inlined(node: onnx.NodeProto, walk: Walk) -> list[onnx.NodeProto]:
    """Return the nodes that ONNX's inliner makes of a model of this one node."""
    import onnx
    from onnx.helper import make_graph, make_model, make_value_info
    from onnx.inliner import inline_selected_functions

    inputs = [make_value_info(name, walk.types[name]) for name in dict.fromkeys(node.input) if name]
    outputs = [make_value_info(name, onnx.TypeProto()) for name in node.output if name]
    graph = make_graph([node], "one", inputs, outputs)
    model = make_model(graph, opset_imports=walk.opsets)
    try:
        result = inline_selected_functions(
            model, [(node.domain, node.op_type)], inline_schema_functions=True
        )
    except RuntimeError as error:  # some optional inputs left out
        raise UnsupportedModel(
            f"{node.op_type}: ONNX cannot expand its definition for these inputs"
        ) from error
    return list(result.graph.node)


def rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Rename values in `node`, and those its subgraphs take from outside."""
    for field in (node.input, node.output):
        for i, name in enumerate(field):
            field[i] = names.get(name, name)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            rename(inner, names)
