"""Values of an ONNX graph that follow from shapes alone.

Exporters write ``x.view(x.size(0), -1)`` as Shape → Gather → Concat → Reshape. onnx's own data
propagation follows such chains for some operators and versions only, so they are computed here.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_MOST_ELEMENTS = 1024
"""Shapes are short: anything larger is data and not worth computing."""
_FOLDED = frozenset(
    (
        *("Add", "Cast", "Ceil", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Flatten"),
        *("Floor", "Gather", "Greater", "Identity", "Less", "Max", "Min", "Mod", "Mul", "Neg"),
        *("Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Slice"),
        *("Split", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where"),
    )
)
_BROADCAST = frozenset(
    ("Add", "Div", "Equal", "Greater", "Less", "Max", "Min", "Mod", "Mul", "Sub", "Where")
)


def fold_shapes(graph: Any, shapes: dict[str, tuple[int, ...]], opset: int) -> bool:
    """Turn nodes of `graph` whose values follow from `shapes` and constants into initializers.

    `graph` is a ``GraphProto`` changed in place, `shapes` holds all static shapes known; returns
    whether anything was folded. Nodes that cannot be computed are left as they are.
    """
    from onnx import numpy_helper

    known = {
        each.name: numpy_helper.to_array(each)
        for each in graph.initializer
        if prod(each.dims) <= _MOST_ELEMENTS
    }
    kept, folded = [], []
    for node in graph.node:
        values = _values(node, known, shapes, opset)
        if values is None:
            kept.append(node)
            continue
        named = dict(zip(node.output, values, strict=False))
        known.update(named)
        folded += [numpy_helper.from_array(value, name) for name, value in named.items() if name]
    if not folded:
        return False
    del graph.node[:]
    graph.node.extend(kept)
    graph.initializer.extend(folded)
    return True


def _values(
    node: Any, known: dict[str, Array], shapes: dict[str, tuple[int, ...]], opset: int
) -> list[Array] | None:
    """Return the outputs of `node`, None if they do not follow from what is known."""
    if node.domain not in ("", "ai.onnx"):
        return None
    if node.op_type in ("Shape", "Size"):
        shape = shapes.get(node.input[0])
        return None if shape is None else [_of_shape(node, shape)]
    if node.op_type == "Constant":
        return _constant(node)
    if node.op_type not in _FOLDED or not known.keys() >= {name for name in node.input if name}:
        return None
    return _evaluate(node, known, opset)


def _of_shape(node: Any, shape: tuple[int, ...]) -> Array:
    if node.op_type == "Size":
        return np.array(prod(shape), np.int64)
    places = {each.name: each.i for each in node.attribute}
    return np.array(shape[places.get("start", 0) : places.get("end")], np.int64)


def _constant(node: Any) -> list[Array] | None:
    from onnx import numpy_helper

    (attribute,) = node.attribute
    if attribute.name == "value" and prod(attribute.t.dims) <= _MOST_ELEMENTS:
        return [numpy_helper.to_array(attribute.t)]
    if attribute.name == "value_int":
        return [np.array(attribute.i, np.int64)]
    if attribute.name == "value_ints":
        return [np.array(attribute.ints, np.int64)]
    return None


def _evaluate(node: Any, known: dict[str, Array], opset: int) -> list[Array] | None:
    import onnx
    from onnx.reference import ReferenceEvaluator

    graph = onnx.helper.make_graph([node], "node", [], [])
    names = {name for name in node.input if name}
    graph.input.extend(onnx.ValueInfoProto(name=name) for name in sorted(names))
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        if _elements(node, [known[name] for name in node.input if name]) > _MOST_ELEMENTS:
            return None
        values = ReferenceEvaluator(model).run(None, {name: known[name] for name in names})
    except Exception:  # an evaluator in Python: whatever it trips over, the value stays unknown
        return None
    arrays = [np.asarray(value) for value in values]
    small = all(array.size <= _MOST_ELEMENTS and array.dtype != object for array in arrays)
    return arrays if small and len(arrays) == len(node.output) else None


def _elements(node: Any, inputs: list[Array]) -> int:
    """Return how many elements an operator gives that can give more than it reads, else 0.

    To be asked before it is evaluated: three numbers can ask for more than any memory.
    """
    match node.op_type:
        case "ConstantOfShape":
            return int(prod(inputs[0].tolist()))
        case "Expand":
            return prod(np.broadcast_shapes(inputs[0].shape, tuple(inputs[1].tolist())))
        case "Tile":
            return int(inputs[0].size * prod(inputs[1].tolist()))
        case "Range":
            start, limit, delta = (each.item() for each in inputs)
            return max(0, int((limit - start) / delta))
        case operator if operator in _BROADCAST:
            return prod(np.broadcast_shapes(*(each.shape for each in inputs)))
    return 0
