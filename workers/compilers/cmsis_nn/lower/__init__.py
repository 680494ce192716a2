"""TFLite graph to program: every operator becomes layers, or all refusals are told at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tinymlaas.contract.errors import UnsupportedModel
from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn.arithmetic import UnusableScale
from workers.compilers.cmsis_nn.evaluate import evaluate
from workers.compilers.cmsis_nn.graph import Graph, Tensor, TfliteModel
from workers.compilers.cmsis_nn.layers import ReshapeLayer
from workers.compilers.cmsis_nn.lower import (
    activations,
    elementwise,
    matmul,
    moves,
    pooling,
    recurrent,
    resizing,
    state,
)
from workers.compilers.cmsis_nn.lower.context import Context, Refusal
from workers.compilers.cmsis_nn.lower.state import Variables
from workers.compilers.cmsis_nn.program import Program, Step, Value

Lowering = Callable[[Context], None]

LOWERINGS: dict[str, Lowering] = {
    "ADD": elementwise.add,
    "ASSIGN_VARIABLE": state.assign_variable,
    "AVERAGE_POOL_2D": pooling.average_pool,
    "CALL_ONCE": state.call_once,
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
    "READ_VARIABLE": state.read_variable,
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
    "SVDF": recurrent.svdf,
    "TANH": activations.tanh,
    "TRANSPOSE": moves.transpose,
    "TRANSPOSE_CONV": matmul.transpose_conv,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": recurrent.lstm,
    "UNPACK": moves.unpack,
    "VAR_HANDLE": state.var_handle,
}

# What reading an operator that contradicts itself may end in where no check has foreseen it.
_MALFORMED = (ValueError, LookupError, TypeError, ArithmeticError)

_MOVES = tuple(sorted(n for n, how in LOWERINGS.items() if how.__module__ == moves.__name__))
_CONVERSIONS = ("DEQUANTIZE", "QUANTIZE")
_VARIABLES = ("ASSIGN_VARIABLE", "CALL_ONCE", "READ_VARIABLE", "VAR_HANDLE")

# The operators by the element type they compute on. Data moves whatever its type.
OPERATORS: dict[DType, tuple[str, ...]] = {
    **{dtype: _MOVES for dtype in DType if dtype is not DType.FLOAT16},
    DType.INT8: tuple(sorted(LOWERINGS)),
    DType.INT16: tuple(sorted((*_MOVES, *_CONVERSIONS, *_VARIABLES))),
    DType.FLOAT32: tuple(sorted((*_MOVES, *_CONVERSIONS, *_VARIABLES))),
}


def lower(model: TfliteModel, *, fold: bool = True) -> Program:
    """Return the program of `model`'s first subgraph.

    With `fold`, operators on constants are computed now, so that even weights may come from one.

    Raises:
        UnsupportedModel: one reason for each operator that cannot be lowered.
    """
    variables = Variables.of(model)
    steps: list[Step] = []
    reasons: list[str] = []
    tensors = dict(model.main.tensors)
    graph = replace(model.main, tensors=tensors)
    for operator in graph.operators:
        context = Context(model, graph, operator, variables)
        reason = _lower_one(context)
        if reason is not None:
            reasons.append(f"operator {operator.index} ({operator.name}): {reason}")
            continue
        steps += _folded(context.steps, tensors) if fold else context.steps
    if reasons:
        raise UnsupportedModel(*reasons)
    _check_boundary(graph)
    values = _values(graph, steps, variables)
    steps += _constant_outputs(graph, values)
    return Program(values, tuple(steps), graph.inputs, graph.outputs)


def _lower_one(context: Context) -> str | None:
    """Make the steps of one operator; return why that cannot be done, or None."""
    lowering = LOWERINGS.get(context.operator.name)
    if lowering is None:
        return "not supported"
    try:
        context.refuse_empty()
        lowering(context)
    except (Refusal, UnusableScale) as refusal:
        return str(refusal)
    except _MALFORMED as error:
        return f"malformed ({type(error).__name__}: {error})"
    return None


def _check_boundary(graph: Graph) -> None:
    """Refuse variables as the model's inputs or outputs: they lie where they last."""
    numbers = dict.fromkeys((*graph.inputs, *graph.outputs))
    reasons = [
        f"tensor {graph.tensors[n].name!a} is a variable and an input or output of the model"
        for n in numbers
        if graph.tensors[n].variable
    ]
    if reasons:
        raise UnsupportedModel(*reasons)


def _constant_outputs(graph: Graph, values: dict[int, Value]) -> list[Step]:
    """Return steps that copy outputs which are constants into the arena."""
    steps = []
    for number in dict.fromkeys(graph.outputs):
        value = values[number]
        if value.data is not None:
            fresh = max(values) + 1
            values[fresh], values[number] = value, replace(value, data=None)
            steps.append(Step(ReshapeLayer(value.nbytes), (fresh,), (number,), "constant output"))
    return steps


def _folded(steps: list[Step], tensors: dict[int, Tensor]) -> list[Step]:
    """Compute the steps on constants, noting their results in `tensors`; return the others."""
    left: list[Step] = []
    for step in steps:
        data = [tensors[n].data if n in tensors else None for n in step.inputs]
        known = [array for array in data if array is not None]
        lasting = any(n not in tensors for n in step.outputs)
        foldable = len(known) == len(data) and not lasting
        result = evaluate(step.layer, known) if foldable else None
        if result is None:
            left.append(step)
            continue
        (number,) = step.outputs
        tensors[number] = replace(tensors[number], data=result.reshape(tensors[number].shape))
    return left


def _values(graph: Graph, steps: list[Step], variables: Variables) -> dict[int, Value]:
    used = {n for step in steps for n in (*step.inputs, *step.outputs)}
    values: dict[int, Value] = {}
    reasons: list[str] = []
    for number in sorted(used | set(graph.inputs) | set(graph.outputs)):
        if number in variables.values:
            values[number] = variables.values[number]
            continue
        tensor = graph.tensors[number]
        if tensor.dtype is None:
            reasons.append(f"tensor {tensor.name!a} is {tensor.type_name.lower()}")
            continue
        if 0 in tensor.shape:
            reasons.append(f"tensor {tensor.name!a} of shape {tensor.shape} is empty")
            continue
        values[number] = Value(tensor.name, tensor.shape, tensor.dtype, tensor.data)
    if reasons:
        raise UnsupportedModel(*reasons)
    return values
