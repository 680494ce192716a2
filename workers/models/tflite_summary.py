"""The facts of a TFLite model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod

from tinymlaas.contract.model import ModelFormat, ModelSummary
from tinymlaas.contract.tensors import DType, Quantization, TensorSpec
from workers.models.memory import Step, estimated_flash, estimated_ram, fused_ram
from workers.models.multiplied import Use, multiplied_bytes
from workers.models.summary import dominant_dtype, locate_operators, module_dtype
from workers.models.tflite_macs import macs
from workers.models.tflite_model import (
    TfliteGraph,
    TfliteOperator,
    TfliteTensor,
    constant_bytes,
    read_tflite,
)

_RENAMING = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
_HANDLE = "RESOURCE"  # names a variable, holds nothing
_ELEMENTWISE = ("RELU", "RELU6", "LEAKY_RELU", "LOGISTIC", "TANH", "HARD_SWISH", "GELU", "ELU")
_MOVING = (*_RENAMING, "MAX_POOL_2D", "TRANSPOSE", "PAD", "SLICE", "STRIDED_SLICE", "GATHER")
_JOINING = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE")


def summarise_tflite(model: bytes, digest: str) -> ModelSummary:
    """Summarise a checked, static TFLite model.

    Operators and MACs are those of the first subgraph, constants those of all; a buffer that
    several tensors share counts once.

    Raises:
        UnsupportedModel: a tensor has an element type modules do not compute on.
    """
    parsed = read_tflite(model)
    graph = parsed.graphs[0]
    dtypes = {
        index: _dtype(tensor)
        for index, tensor in enumerate(graph.tensors)
        if tensor.type != _HANDLE
    }
    activations = [
        index
        for index, tensor in enumerate(graph.tensors)
        if tensor.data_bytes is None and tensor.type != _HANDLE
    ]
    elements: Counter[DType] = Counter()
    for index in activations:
        elements[dtypes[index]] += graph.tensors[index].size
    constants = {
        tensor.buffer: tensor
        for each in parsed.graphs
        for tensor in each.tensors
        if tensor.data_bytes is not None
    }
    weight_bytes = sum(tensor.data_bytes or 0 for tensor in constants.values())
    ram, fused = _ram(graph, activations)
    return ModelSummary(
        digest=digest,
        format=ModelFormat.TFLITE,
        opset=None,
        inputs=tuple(_spec(graph.tensors[index]) for index in graph.inputs),
        outputs=tuple(_spec(graph.tensors[index]) for index in graph.outputs),
        operators=locate_operators(
            (operator.name, _operator_dtype(operator, graph, dtypes))
            for operator in graph.operators
        ),
        dtype=dominant_dtype(elements),
        macs=sum(macs(operator, graph) for operator in graph.operators),
        weight_bytes=weight_bytes,
        multiplied_bytes=_multiplied(graph, constant_bytes(model)),
        parameters=sum(tensor.size for tensor in constants.values()),
        estimated_flash_bytes=estimated_flash(weight_bytes, len(graph.operators)),
        estimated_ram_bytes=ram,
        estimated_fused_ram_bytes=fused,
    )


def _multiplied(graph: TfliteGraph, buffers: Sequence[bytes]) -> int:
    def names(indices: Iterable[int]) -> tuple[str, ...]:
        return tuple(map(str, indices))

    return multiplied_bytes(
        [Use(each.name, names(each.inputs), names(each.outputs)) for each in graph.operators],
        names(graph.inputs),
        names(graph.outputs),
        {
            str(index): buffers[tensor.buffer]
            for index, tensor in enumerate(graph.tensors)
            if tensor.data_bytes is not None and not tensor.sparse
        },
    )


def _dtype(tensor: TfliteTensor) -> DType:
    return module_dtype(f"tensor {tensor.name!r}", tensor.type.lower())


def _spec(tensor: TfliteTensor) -> TensorSpec:
    parameters = tensor.quantization
    quantization = None
    if len(parameters.scales) == 1:
        zero_point = parameters.zero_points[0] if parameters.zero_points else 0
        quantization = Quantization(scale=parameters.scales[0], zero_point=zero_point)
    return TensorSpec(
        name=tensor.name, shape=tensor.shape, dtype=_dtype(tensor), quantization=quantization
    )


def _operator_dtype(
    operator: TfliteOperator, graph: TfliteGraph, dtypes: dict[int, DType]
) -> DType:
    for index in operator.inputs:
        if index in dtypes and graph.tensors[index].data_bytes is None:
            return dtypes[index]
    boundary = [index for index in (*operator.outputs, *operator.inputs) if index in dtypes]
    return dtypes[boundary[0]] if boundary else DType.FLOAT32


def _ram(graph: TfliteGraph, activations: list[int]) -> tuple[int, int]:
    """Return the estimated bytes of RAM, and of RAM where all element-wise operators are fused."""
    steps = [
        Step(
            reads=tuple(str(index) for index in operator.inputs),
            writes=tuple(str(index) for index in operator.outputs),
            renames=operator.name in _RENAMING,
            elementwise=operator.name in _ELEMENTWISE,
            joins=operator.name in _JOINING,
        )
        for operator in graph.operators
    ]
    nbytes = {
        str(index): prod(graph.tensors[index].shape) * _dtype(graph.tensors[index]).itemsize
        for index in activations
    }
    inputs = [str(index) for index in graph.inputs]
    outputs = [str(index) for index in graph.outputs]
    facts = (inputs, outputs)
    fused = _as_real_numbers(graph, steps, nbytes)
    return estimated_ram(steps, *facts, nbytes), fused_ram(fused[0], *facts, fused[1])


def _as_real_numbers(
    graph: TfliteGraph, steps: list[Step], nbytes: dict[str, int]
) -> tuple[list[Step], dict[str, int]]:
    """Return steps and sizes where quantised values are kept as float32 between operators.

    Inputs are converted first, one by one. Outputs and what is but moved or compared stay as they
    are.
    """
    moved = {
        str(index)
        for operator in graph.operators
        if operator.name in _MOVING
        for index in operator.inputs
    }
    stay = {*map(str, graph.outputs), *moved}
    real = {
        name: graph.tensors[int(name)].size * DType.FLOAT32.itemsize
        for name in nbytes
        if graph.tensors[int(name)].quantization.scales and name not in stay
    }
    copies = {name: f"{name} converted" for name in map(str, graph.inputs) if name in real}
    sizes = nbytes | {copies.get(name, name): size for name, size in real.items()}
    converting = [Step((name,), (copy,)) for name, copy in copies.items()]
    own = [
        replace(step, reads=tuple(copies.get(name, name) for name in step.reads)) for step in steps
    ]
    return converting + own, sizes
