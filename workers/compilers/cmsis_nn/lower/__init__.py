"""TFLite graph to program: every operator becomes layers, or all refusals are told at once."""

from __future__ import annotations

from collections.abc import Callable

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.cmsis_nn.graph import TfliteModel
from workers.compilers.cmsis_nn.lower import (
    activations,
    elementwise,
    matmul,
    moves,
    pooling,
    resizing,
)
from workers.compilers.cmsis_nn.lower.context import Context, Refusal
from workers.compilers.cmsis_nn.program import Program, Step, Value

Lowering = Callable[[Context], None]

LOWERINGS: dict[str, Lowering] = {
    "ADD": elementwise.add,
    "AVERAGE_POOL_2D": pooling.average_pool,
    "CONCATENATION": moves.concatenation,
    "CONV_2D": matmul.conv,
    "DEPTHWISE_CONV_2D": matmul.depthwise,
    "DEQUANTIZE": activations.dequantize,
    "EXPAND_DIMS": moves.reshape,
    "FULLY_CONNECTED": matmul.dense,
    "HARD_SWISH": activations.hard_swish,
    "LEAKY_RELU": activations.leaky_relu,
    "LOGISTIC": activations.logistic,
    "MAXIMUM": elementwise.maximum,
    "MAX_POOL_2D": pooling.max_pool,
    "MEAN": resizing.mean,
    "MINIMUM": elementwise.minimum,
    "MUL": elementwise.mul,
    "PACK": moves.pack,
    "PAD": moves.pad,
    "PADV2": moves.pad,
    "PRELU": elementwise.prelu,
    "QUANTIZE": activations.quantize,
    "RELU": activations.relu,
    "RELU6": activations.relu6,
    "RESHAPE": moves.reshape,
    "RESIZE_BILINEAR": resizing.bilinear,
    "RESIZE_NEAREST_NEIGHBOR": resizing.nearest,
    "SLICE": moves.slice_,
    "SOFTMAX": pooling.softmax,
    "SPLIT": moves.split,
    "SPLIT_V": moves.split_v,
    "SQUEEZE": moves.reshape,
    "STRIDED_SLICE": moves.strided_slice,
    "SUB": elementwise.sub,
    "SUM": resizing.sum_,
    "TANH": activations.tanh,
    "TRANSPOSE": moves.transpose,
    "TRANSPOSE_CONV": matmul.transpose_conv,
    "UNPACK": moves.unpack,
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
