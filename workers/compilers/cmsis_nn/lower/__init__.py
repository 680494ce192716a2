"""TFLite graph to program: every operator becomes layers, or all refusals are told at once."""

from __future__ import annotations

from collections.abc import Callable

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.cmsis_nn.graph import TfliteModel
from workers.compilers.cmsis_nn.lower import elementwise, matmul, moves, pooling
from workers.compilers.cmsis_nn.lower.context import Context, Refusal
from workers.compilers.cmsis_nn.program import Program, Step, Value

Lowering = Callable[[Context], None]

LOWERINGS: dict[str, Lowering] = {
    "ADD": elementwise.add,
    "AVERAGE_POOL_2D": pooling.average_pool,
    "CONV_2D": matmul.conv,
    "DEPTHWISE_CONV_2D": matmul.depthwise,
    "EXPAND_DIMS": moves.reshape,
    "FULLY_CONNECTED": matmul.dense,
    "MAX_POOL_2D": pooling.max_pool,
    "RESHAPE": moves.reshape,
    "SOFTMAX": pooling.softmax,
    "SQUEEZE": moves.reshape,
}


def lower(model: TfliteModel) -> Program:
    """Return the program of `model`'s first subgraph.

    Raises:
        UnsupportedModel: one reason for each operator that cannot be lowered.
    """
    steps: list[Step] = []
    reasons: list[str] = []
    for operator in model.main.operators:
        context = Context(model, model.main, operator)
        try:
            lowering = LOWERINGS.get(operator.name)
            if lowering is None:
                raise Refusal("not supported")
            lowering(context)
        except Refusal as refusal:
            reasons.append(f"operator {operator.index} ({operator.name}): {refusal}")
        steps += context.steps
    if reasons:
        raise UnsupportedModel(*reasons)
    return Program(_values(model, steps), tuple(steps), model.main.inputs, model.main.outputs)


def _values(model: TfliteModel, steps: list[Step]) -> dict[int, Value]:
    used = {n for step in steps for n in (*step.inputs, *step.outputs)}
    values: dict[int, Value] = {}
    reasons: list[str] = []
    for number in sorted(used | set(model.main.inputs) | set(model.main.outputs)):
        tensor = model.main.tensors[number]
        if tensor.dtype is None:
            reasons.append(f"tensor {tensor.name!a} is {tensor.type_name.lower()}")
            continue
        values[number] = Value(tensor.name, tensor.shape, tensor.dtype, tensor.data)
    if reasons:
        raise UnsupportedModel(*reasons)
    return values
