"""What a well-formed TFLite flatbuffer must satisfy besides, before a library may run it."""

from __future__ import annotations

import math

from tinymlaas.contract.errors import InvalidModel
from workers.models.limits import ModelLimits
from workers.models.tflite_model import (
    TfliteGraph,
    TfliteModel,
    TfliteOperator,
    TfliteTensor,
    read_tflite,
)
from workers.models.tflite_schema import options_of
from workers.models.tflite_sparsity import check_sparsity

_VERSION = 3
_LEFT_OUT = -1
# Options that name subgraphs and whose operators no interpreter or compiler for devices has.
_CALLS_OTHERWISE = frozenset(
    (
        *("StablehloReduceOptions", "StablehloScatterOptions", "StablehloReduceWindowOptions"),
        *("StablehloSortOptions", "StablehloWhileOptions", "StablehloCaseOptions"),
        "StableHLOCompositeOptions",
    )
)
_ZERO_POINTS = {"INT8": (-128, 127), "UINT8": (0, 255), "INT16": (-32768, 32767)}


def check_tflite(data: bytes, limits: ModelLimits) -> TfliteModel:
    """Verify `data` wholly and return it as data.

    Checked beyond the layout: every index, sizes of constants against their shapes, quantisation
    parameters, sparse constants, operators in executable order and with options of their own kind,
    signatures, subgraphs that call one another in circles.

    Raises:
        InvalidModel: with what is wrong and where.
    """
    model = read_tflite(data, limits)
    if model.version != _VERSION:
        raise InvalidModel(f"TFLite schema version {model.version}; only {_VERSION} is known")
    if model.external:
        raise InvalidModel("the model keeps data outside the flatbuffer (external data)")
    if not model.graphs:
        raise _damaged("it holds no subgraph")
    if len(model.graphs) > limits.functions:
        raise InvalidModel(f"the model has more than {limits.functions} subgraphs")
    if model.constants > len(data):
        raise _damaged("its buffers overlap")
    _indices(model)
    _calls(model)
    for graph in model.graphs:
        for index, tensor in enumerate(graph.tensors):
            _tensor(index, tensor, model, limits)
        _order(graph)
    return model


def _damaged(what: str) -> InvalidModel:
    return InvalidModel(f"damaged TFLite model: {what}")


def _indices(model: TfliteModel) -> None:
    if any(buffer >= model.buffers for buffer in model.metadata_buffers):
        raise _damaged("metadata refers to a buffer that does not exist")
    for subgraph, tensor in model.bound:
        if subgraph >= len(model.graphs) or tensor >= len(model.graphs[subgraph].tensors):
            raise _damaged("a signature refers to a tensor that does not exist")
    for number, graph in enumerate(model.graphs):
        count = len(graph.tensors)
        if not all(0 <= index < count for index in graph.inputs + graph.outputs):
            raise _damaged(f"subgraph {number} has an input or output that does not exist")
        if not graph.outputs and number == 0:  # one that fills variables has none
            raise _damaged("it has no outputs")
        names = [graph.tensors[index].name for index in graph.inputs]
        if len(set(names)) != len(names):
            raise InvalidModel(f"two inputs of subgraph {number} have the same name")
        for operator in graph.operators:
            _operator_indices(operator, count, len(model.graphs))


def _operator_indices(operator: TfliteOperator, tensors: int, graphs: int) -> None:
    inputs_exist = all(_LEFT_OUT <= index < tensors for index in operator.inputs)
    if not inputs_exist or not all(0 <= index < tensors for index in operator.outputs):
        raise _damaged(f"{operator.name} refers to a tensor that does not exist")
    if not all(0 < index < graphs for index in operator.subgraphs):
        raise _damaged(f"{operator.name} calls a subgraph that does not exist")
    if foreign := _CALLS_OTHERWISE.intersection(operator.options):
        raise InvalidModel(
            f"{operator.name} computes with a subgraph ({min(foreign)}), which nothing here can: "
            "convert the model to TFLite's own operators"
        )
    wanted = options_of(operator.name)
    if wanted and any(options != wanted for options in operator.options):
        raise _damaged(f"{operator.name} has {operator.options[0][:100]}, not {wanted}")


def _calls(model: TfliteModel) -> None:
    """Refuse subgraphs that call themselves, by way of others too: no stack would hold them."""
    calls = [
        {each for operator in graph.operators for each in operator.subgraphs}
        for graph in model.graphs
    ]
    settled: set[int] = set()
    for _ in calls:  # each round settles one subgraph or more, else they go in a circle
        settled |= {number for number, called in enumerate(calls) if called <= settled}
    if len(settled) < len(calls):
        raise InvalidModel("the model's subgraphs call one another in a circle")


def _tensor(index: int, tensor: TfliteTensor, model: TfliteModel, limits: ModelLimits) -> None:
    where = f"tensor {index} ({tensor.name!r})"
    if tensor.buffer >= model.buffers:
        raise _damaged(f"{where} refers to a buffer that does not exist")
    if any(dim < 0 for dim in tensor.shape):
        raise _damaged(f"{where} has a negative dimension: {tensor.shape}")
    if (tensor.nbytes or tensor.size) > limits.tensor_bytes:
        raise InvalidModel(f"{where} of shape {tensor.shape} is larger than {limits.tensor_bytes}")
    _signature(where, tensor)
    if tensor.data_bytes is not None and tensor.nbytes is None:
        raise InvalidModel(
            f"{where} is a constant of type {tensor.type}, whose bytes say themselves where they "
            "are: only numbers are taken"
        )
    if tensor.data_bytes not in (None, tensor.nbytes) and not tensor.sparse:
        raise _damaged(f"{where} needs {tensor.nbytes} bytes but has {tensor.data_bytes}")
    _quantization(where, tensor)
    if tensor.sparsity is not None:
        check_sparsity(where, tensor, tensor.sparsity)


def _signature(where: str, tensor: TfliteTensor) -> None:
    # Only the rank must agree: converters leave stale sizes in the signatures of inner tensors.
    signature = tensor.signature
    if signature and (len(signature) != len(tensor.shape) or any(dim < -1 for dim in signature)):
        raise _damaged(f"{where} has shape {tensor.shape} but signature {signature}")


def _quantization(where: str, tensor: TfliteTensor) -> None:
    parameters = tensor.quantization
    scales = len(parameters.scales)
    if not all(math.isfinite(scale) for scale in parameters.scales):
        raise _damaged(f"{where} has a scale that is not finite")
    if parameters.zero_points and len(parameters.zero_points) not in (1, scales):
        raise _damaged(f"{where} has {scales} scales and {len(parameters.zero_points)} zero points")
    low, high = _ZERO_POINTS.get(tensor.type, (-math.inf, math.inf))
    outside = [zero for zero in parameters.zero_points if not low <= zero <= high]
    if outside:
        raise _damaged(f"{where} has zero point {outside[0]}, which {tensor.type} cannot hold")
    if scales > 1:
        along = parameters.dimension
        if not 0 <= along < len(tensor.shape) or tensor.shape[along] != scales:
            raise _damaged(f"{where} has {scales} scales along dimension {along}")


def _order(graph: TfliteGraph) -> None:
    """Refuse operators that read what nothing has written yet, or write twice."""
    ready = set(graph.inputs) | {_LEFT_OUT}
    for index, tensor in enumerate(graph.tensors):
        # An empty constant has no bytes, so it cannot be told from an activation by them.
        if tensor.data_bytes is not None or tensor.variable or tensor.size == 0:
            ready.add(index)
    for operator in graph.operators:
        for index in operator.inputs:
            if index not in ready:
                raise _damaged(f"{operator.name} reads tensor {index} before it is written")
        for index in operator.outputs:
            if index in ready and graph.tensors[index].size:
                raise _damaged(f"{operator.name} writes tensor {index}, which has a value already")
            ready.add(index)
    if not ready.issuperset(graph.outputs):
        raise _damaged("an output is never written")
