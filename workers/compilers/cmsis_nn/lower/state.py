"""Operators with memory: VAR_HANDLE, READ_VARIABLE, ASSIGN_VARIABLE, CALL_ONCE.

A variable is a value that outlives a run. What CALL_ONCE assigns is its initial content.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np

from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn.graph import Array, Graph, Operator, Tensor, TfliteModel
from workers.compilers.cmsis_nn.layers import ReshapeLayer
from workers.compilers.cmsis_nn.lower.context import Context, Refusal
from workers.compilers.cmsis_nn.options import CallOnceOptions, VarHandleOptions
from workers.compilers.cmsis_nn.program import Value

Key = tuple[str, str]
_HANDLE, _ASSIGN, _CALL = "VAR_HANDLE", "ASSIGN_VARIABLE", "CALL_ONCE"


@dataclass
class Variables:
    """The variables of a model by their handle's names; numbers follow those of tensors."""

    numbers: dict[Key, int] = field(default_factory=dict)
    values: dict[int, Value] = field(default_factory=dict)

    @staticmethod
    def of(model: TfliteModel) -> Variables:
        """Return all variables that some operator assigns."""
        found = Variables()
        first = max((n for graph in model.graphs for n in graph.tensors), default=0) + 1
        for graph in model.graphs:
            for operator in graph.operators:
                assigns = operator.name == _ASSIGN and len(operator.inputs) == 2
                key = handle(graph, operator) if assigns else None
                if key is not None and key not in found.numbers:
                    found._add(key, first + len(found.numbers), graph, operator)
        return found

    def _add(self, key: Key, number: int, graph: Graph, operator: Operator) -> None:
        tensor = graph.tensors.get(operator.inputs[1])
        if tensor is None or tensor.dtype is None:
            return
        initial = _cleared(tensor)
        self.numbers[key] = number
        self.values[number] = Value(f"variable {key[1]}", tensor.shape, tensor.dtype, None, initial)

    def number(self, graph: Graph, operator: Operator) -> int:
        """Return the value number of the variable that `operator`'s first input names."""
        key = handle(graph, operator)
        if key is None or key not in self.numbers:
            raise Refusal("a variable that no operator assigns")
        return self.numbers[key]

    def start_with(self, number: int, data: Array) -> None:
        """Set what the variable holds before the first run."""
        value = self.values[number]
        flat = data.reshape(-1)
        if flat.dtype != value.dtype.value or flat.size != prod(value.shape):
            raise Refusal(f"{flat.size} {flat.dtype} elements for a variable of {value.shape}")
        self.values[number] = Value(value.name, value.shape, value.dtype, None, flat)


def handle(graph: Graph, operator: Operator) -> Key | None:
    """Return the names of the variable whose handle is the operator's first input."""
    if not operator.inputs:
        return None
    made = (op for op in graph.operators if operator.inputs[0] in op.outputs)
    maker = next(made, None)
    if maker is None or not isinstance(maker.options, VarHandleOptions):
        return None
    return maker.options.container, maker.options.shared_name


def var_handle(context: Context) -> None:
    """Lower VAR_HANDLE: it names a variable and does nothing."""
    context.options(VarHandleOptions)


def read_variable(context: Context) -> None:
    """Lower READ_VARIABLE: a copy, for the variable may change before the copy is read."""
    context.arity(1)
    number = context.variables.number(context.graph, context.operator)
    value, target = context.variables.values[number], context.output()
    if prod(value.shape) != prod(target.shape) or value.dtype != target.dtype:
        raise Refusal(f"a variable of {value.shape} is read as {target.shape}")
    context.add(ReshapeLayer(value.nbytes), [number], context.operator.outputs)


def assign_variable(context: Context) -> None:
    """Lower ASSIGN_VARIABLE: a copy."""
    context.arity(2, 0)
    number = context.variables.number(context.graph, context.operator)
    value, source = context.variables.values[number], context.input(1)
    if prod(value.shape) != prod(source.shape) or value.dtype != source.dtype:
        raise Refusal(f"{source.shape} is assigned to a variable of {value.shape}")
    context.add(ReshapeLayer(value.nbytes), context.operator.inputs[1:], [number])


def call_once(context: Context) -> None:
    """Lower CALL_ONCE of a subgraph that assigns constants: these are the initial contents."""
    options = context.options(CallOnceOptions)
    if not 0 < options.init_subgraph_index < len(context.model.graphs):
        raise Refusal(f"subgraph {options.init_subgraph_index} is not there")
    before = context.graph.operators[: context.operator.index]
    if any(op.name in (_ASSIGN, "READ_VARIABLE") for op in before):
        raise Refusal("variables are used before it")
    graph = context.model.graphs[options.init_subgraph_index]
    for operator in graph.operators:
        if operator.name == _HANDLE:
            continue
        data = graph.tensors[operator.inputs[1]].data if operator.name == _ASSIGN else None
        if data is None:
            raise Refusal(f"its {operator.name} {operator.index} does not assign a constant")
        context.variables.start_with(context.variables.number(graph, operator), data)


def state(context: Context, position: int, *dtypes: DType) -> int:
    """Return the number of a variable tensor among the inputs, made to last between runs."""
    tensor = context.input(position)
    if tensor.dtype not in dtypes or not tensor.variable:
        raise Refusal(f"state tensor {tensor.name!a}")
    number = context.operator.inputs[position]
    content = _cleared(tensor)
    value = Value(tensor.name, tensor.shape, tensor.dtype, None, content)
    context.variables.values[number] = value
    return number


def _cleared(tensor: Tensor) -> Array:
    """Return what a variable holds at first: zero, which for int8 is its zero point."""
    assert tensor.dtype is not None  # noqa: S101 - for the type checker
    zero = tensor.affine.zero_point if tensor.affine and tensor.dtype is DType.INT8 else 0
    return np.full(prod(tensor.shape), zero, tensor.dtype.value)
