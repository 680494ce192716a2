"""Multiply-accumulates of ONNX operators.

The conventions are those of `tflite_macs`: multiplications without accumulation count none, padding
is not subtracted. Where the shape of a weight is not known the operator counts 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Shapes:
    """The shapes of one node's inputs and outputs, in its order, and its attributes."""

    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    attributes: Mapping[str, Any]


def macs(node: Any, shapes: Mapping[str, Shape]) -> int:
    """Return the multiply-accumulates of one run of the ``NodeProto`` `node`.

    Bodies of If, Loop and Scan are not looked into; domains but the default count none.
    """
    formula = _FORMULAS.get(node.op_type)
    if formula is None or node.domain not in ("", "ai.onnx"):
        return 0
    from onnx import helper

    known = Shapes(
        inputs=tuple(shapes.get(name, ()) for name in node.input),
        outputs=tuple(shapes.get(name, ()) for name in node.output if name),
        attributes={each.name: helper.get_attribute_value(each) for each in node.attribute},
    )
    try:
        return formula(known)
    except (IndexError, ValueError, KeyError):  # a shape is not known
        return 0


def _conv(weight: int) -> Callable[[Shapes], int]:
    """Output elements × input channels a group × kernel volume (weight OI…)."""
    return lambda node: prod(node.outputs[0]) * _volume(node.inputs[weight])


def _conv_transpose(node: Shapes) -> int:
    """Input elements × output channels a group × kernel volume (weight IO…)."""
    return prod(node.inputs[0]) * _volume(node.inputs[1])


def _volume(weight: Shape) -> int:
    if len(weight) < 3:
        raise ValueError("not a convolution's weight")
    return prod(weight[1:])


def _matmul(node: Shapes) -> int:
    """Output elements × the contracted dimension, the last of the left operand."""
    return prod(node.outputs[0]) * node.inputs[0][-1]


def _gemm(node: Shapes) -> int:
    """Output elements × the contracted dimension, the first of A where it is transposed."""
    return prod(node.outputs[0]) * node.inputs[0][0 if node.attributes.get("transA") else 1]


def _recurrent(node: Shapes) -> int:
    """Time steps × batch × elements of W [directions, gates·hidden, input] and R."""
    steps_and_batch = prod(node.inputs[0][:2])
    if len(node.inputs[1]) != 3 or len(node.inputs[2]) != 3:
        raise ValueError("W or R is not known")
    return steps_and_batch * (prod(node.inputs[1]) + prod(node.inputs[2]))


def _einsum(node: Shapes) -> int:
    """Product of the extents of all labels, if there are at least two operands."""
    equation = node.attributes["equation"].decode().replace(" ", "")
    terms = equation.split("->")[0].split(",")
    if len(terms) < 2 or "." in equation:
        raise ValueError("nothing to accumulate, or an ellipsis")
    extents: dict[str, int] = {}
    for term, shape in zip(terms, node.inputs, strict=True):
        extents.update(zip(term, shape, strict=True))
    return prod(extents.values())


_FORMULAS: dict[str, Callable[[Shapes], int]] = {
    "Conv": _conv(1),
    "ConvInteger": _conv(1),
    "QLinearConv": _conv(3),
    "ConvTranspose": _conv_transpose,
    "DeformConv": _conv(1),
    "MatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "RNN": _recurrent,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "Einsum": _einsum,
}
