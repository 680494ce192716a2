"""Rewrites of control flow whose course is known now: branches chosen, loops unrolled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.tvm.graph.build import stack, unstack
from workers.compilers.tvm.graph.functions import rename
from workers.compilers.tvm.graph.nodes import attributes, optional

if TYPE_CHECKING:
    import onnx

    from workers.compilers.tvm.graph.walk import Walk

_SCAN_OPSET = 9


def if_(node: onnx.NodeProto, walk: Walk) -> bool:
    """Take the branch that a constant condition chooses."""
    condition = walk.constant(node.input[0])
    if condition is None:
        raise UnsupportedModel("If: its condition depends on input values")
    branch = attributes(node)["then_branch" if condition.item() else "else_branch"]
    _copy(walk, _inline(walk, branch, []), node.output)
    return True


def loop(node: onnx.NodeProto, walk: Walk) -> bool:
    """Unroll a loop whose trip count and condition are constants."""
    body = attributes(node)["body"]
    count = walk.constant(node.input[0]) if node.input[0] else None
    going = optional(node, 1)
    if node.input[0] and count is None:
        raise UnsupportedModel("Loop: its trip count depends on input values")
    states = list(node.input[2:])
    condition = going or walk.const(np.array(True))
    collected: list[list[str]] = [[] for _ in node.output[len(states) :]]
    step = 0
    while (count is None or step < count.item()) and _decided(walk, condition):
        counter = walk.const(np.array(step, dtype=np.int64))
        condition, *results = _inline(walk, body, [counter, condition, *states])
        states, scanned = results[: len(states)], results[len(states) :]
        for column, value in zip(collected, scanned, strict=True):
            column.append(value)
        step += 1
    if step == 0 and collected:
        raise UnsupportedModel("Loop: it makes no step, so its scan outputs are empty")
    outputs = [*states, *(stack(walk, column, 0) for column in collected)]
    _copy(walk, outputs, node.output)
    return True


def scan(node: onnx.NodeProto, walk: Walk) -> bool:
    """Unroll a scan over axes of known length (ONNX Scan-9)."""
    if walk.opset < _SCAN_OPSET:
        raise UnsupportedModel("Scan: only its form since opset 9 is supported")
    attrs = attributes(node)
    scans = attrs["num_scan_inputs"]
    states = list(node.input[: len(node.input) - scans])
    columns = [
        unstack(walk, name, axis)[:: -1 if reverse else 1]
        for name, axis, reverse in zip(
            node.input[len(states) :],
            attrs.get("scan_input_axes") or [0] * scans,
            attrs.get("scan_input_directions") or [0] * scans,
            strict=True,
        )
    ]
    collected: list[list[str]] = [[] for _ in node.output[len(states) :]]
    for row in zip(*columns, strict=True):
        results = _inline(walk, attrs["body"], [*states, *row])
        states, scanned = results[: len(states)], results[len(states) :]
        for column, value in zip(collected, scanned, strict=True):
            column.append(value)
    axes = attrs.get("scan_output_axes") or [0] * len(collected)
    reverses = attrs.get("scan_output_directions") or [0] * len(collected)
    stacked = [
        stack(walk, column[::-1] if reverse else column, axis)
        for column, axis, reverse in zip(collected, axes, reverses, strict=True)
    ]
    _copy(walk, [*states, *stacked], node.output)
    return True


def _decided(walk: Walk, condition: str) -> bool:
    value = walk.constant(condition)
    if value is None:
        raise UnsupportedModel("Loop: its condition depends on input values")
    return bool(value.item())


def _inline(walk: Walk, body: onnx.GraphProto, arguments: Sequence[str]) -> list[str]:
    """Add the nodes of a subgraph applied to `arguments`; return the names of its outputs."""
    import onnx
    from onnx import numpy_helper

    names: dict[str, str] = {
        value.name: argument for value, argument in zip(body.input, arguments, strict=True)
    }
    for tensor in body.initializer:
        names[tensor.name] = walk.const(numpy_helper.to_array(tensor))
    for node in body.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        names.update({name: walk.fresh() for name in node.output if name})
        rename(copy, names)
        walk.add(copy)
    return [_outer(names, value.name) for value in body.output]


def _outer(names: Mapping[str, str], name: str) -> str:
    return names.get(name, name)


def _copy(walk: Walk, values: Sequence[str], names: Sequence[str]) -> None:
    for value, name in zip(values, names, strict=False):
        if name:
            walk.op("Identity", value, outputs=[name])
