"""Static shapes for TFLite models: resize the inputs and write down what follows.

A TFLite tensor has two shapes: ``shape`` is what the interpreter allocates, ``shape_signature``
has -1 where that may be changed. Converters store a dynamic dimension as 1.
"""

from __future__ import annotations

from typing import Any

from tinymlaas.contract.errors import UnsupportedModel
from workers.models.quiet import quiet
from workers.models.shapes import DeclaredInput, Shapes, resolve
from workers.models.tflite_model import TfliteGraph, TfliteModel, TfliteTensor, read_tflite
from workers.models.tflite_schema import IDENTIFIER
from workers.models.wording import one_line

_LEFT_OUT = -1
# Inputs whose values shape the output (TFLite operator documentation); fine where constant.
_SHAPED_BY_VALUES: dict[str, tuple[int, ...]] = {
    **{"RESHAPE": (1,), "TILE": (1,), "FILL": (0,), "BROADCAST_TO": (1,), "RANGE": (0, 1, 2)},
    **{"PAD": (1,), "PADV2": (1,), "MIRROR_PAD": (1,), "SLICE": (1, 2), "EXPAND_DIMS": (1,)},
    **{"STRIDED_SLICE": (1, 2, 3), "RESIZE_BILINEAR": (1,), "RESIZE_NEAREST_NEIGHBOR": (1,)},
    **{"TRANSPOSE_CONV": (0,), "TOPK_V2": (1,), "ONE_HOT": (1,), "SPLIT_V": (1,), "WHERE": (0,)},
    **{"UNIQUE": (0,), "TRANSPOSE": (1,), "SPARSE_TO_DENSE": (1,), "SCATTER_ND": (2,)},
    **{"SPACE_TO_BATCH_ND": (1, 2), "BATCH_TO_SPACE_ND": (1, 2), "CONV_3D_TRANSPOSE": (0,)},
    **dict.fromkeys(("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"), (1,)),
    **dict.fromkeys(("REDUCE_ANY", "REDUCE_ALL", "ARG_MAX", "ARG_MIN"), (1,)),
}


def fix_tflite_shapes(data: bytes, shapes: Shapes) -> bytes:
    """Return the model with static inputs and outputs; see `shapes.fix_shapes`.

    A dynamic batch (the first dimension, stored as 1) is taken as the 1 it is stored as, unless
    `shapes` says otherwise; every other dynamic dimension must be fixed.
    """
    model = read_tflite(data)
    graph = model.graphs[0]
    _refuse_data_dependence(graph)
    inputs = [graph.tensors[index] for index in graph.inputs]
    resolved = resolve([_declared(tensor, shapes) for tensor in inputs], shapes)
    if all(resolved[tensor.name] == tensor.shape for tensor in inputs):
        return data
    if len(model.graphs) > 1:
        raise UnsupportedModel("a TFLite model with several subgraphs cannot be resized")
    return _rewrite(data, model, _propagate(data, model, resolved))


def _declared(tensor: TfliteTensor, shapes: Shapes) -> DeclaredInput:
    dims: list[int | str] = list(tensor.shape)
    for place, dim in enumerate(tensor.signature):
        batch_of_one = place == 0 and tensor.shape[0] == 1 and tensor.name not in shapes
        if dim == -1 and not batch_of_one:
            dims[place] = "?"
    return DeclaredInput(tensor.name, tuple(dims))


def _propagate(
    data: bytes, model: TfliteModel, resolved: dict[str, tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """Return the shape of every tensor of the first subgraph after resizing its inputs."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    graph = model.graphs[0]
    try:
        with quiet():
            interpreter = Interpreter(
                model_content=data,
                experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
                num_threads=1,
            )
            for index in graph.inputs:
                interpreter.resize_tensor_input(index, resolved[graph.tensors[index].name])
            interpreter.allocate_tensors()
            details = {each["index"]: each["shape"] for each in interpreter.get_tensor_details()}
    except (RuntimeError, ValueError) as error:
        raise UnsupportedModel(f"the model cannot take these shapes: {one_line(error)}") from error
    return [tuple(int(dim) for dim in details[index]) for index in range(len(graph.tensors))]


def _refuse_data_dependence(graph: TfliteGraph) -> None:
    """Refuse operators whose result is shaped by values that are known only at run time."""
    known = {index for index, tensor in enumerate(graph.tensors) if tensor.data_bytes is not None}
    known.add(_LEFT_OUT)
    for operator in graph.operators:
        # With static inputs SHAPE and all that is computed from it are constants in effect.
        if operator.name in ("SHAPE", "RANK") or known.issuperset(operator.inputs):
            known.update(operator.outputs)
        places = _SHAPED_BY_VALUES.get(operator.name, ())
        if any(operator.inputs[at] not in known for at in places if at < len(operator.inputs)):
            names = [graph.tensors[index].name for index in operator.outputs[:1]]
            what = f"output {names[0]!r} of {operator.name}" if names else operator.name
            raise UnsupportedModel(f"{what} has a shape that depends on the input data")


def _rewrite(data: bytes, model: TfliteModel, found: list[tuple[int, ...]]) -> bytes:
    import flatbuffers  # type: ignore[import-untyped]
    from ai_edge_litert import schema_py_generated as schema

    tree: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data))
    for tensor, shape, before in zip(
        tree.subgraphs[0].tensors, found, model.graphs[0].tensors, strict=True
    ):
        if before.data_bytes is None:
            tensor.shape = list(shape)
        tensor.shapeSignature = None
    builder = flatbuffers.Builder(len(data) + 1024)
    builder.Finish(tree.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())
