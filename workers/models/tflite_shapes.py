"""Static shapes for TFLite models: resize the inputs and write down what follows.

A TFLite tensor has two shapes: ``shape`` is what the interpreter allocates, ``shape_signature``
has -1 where that may be changed. Converters store a dynamic dimension as 1.
"""

from __future__ import annotations

from typing import Any

from tinymlaas.contract.errors import UnsupportedModel
from workers.models.onnx_checks import one_line
from workers.models.quiet import quiet
from workers.models.shapes import DeclaredInput, Shapes, resolve
from workers.models.tflite_model import TfliteModel, TfliteTensor, read_tflite
from workers.models.tflite_schema import IDENTIFIER


def fix_tflite_shapes(data: bytes, shapes: Shapes) -> bytes:
    """Return the model with static inputs and outputs; see `shapes.fix_shapes`.

    A dynamic batch (the first dimension, stored as 1) is taken as the 1 it is stored as, unless
    `shapes` says otherwise; every other dynamic dimension must be fixed.
    """
    model = read_tflite(data)
    graph = model.graphs[0]
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
    found = [
        tuple(int(dim) for dim in details.get(index, tensor.shape))
        for index, tensor in enumerate(graph.tensors)
    ]
    for operator in graph.operators:
        for index in operator.outputs:
            if len(found[index]) != len(graph.tensors[index].shape):
                raise UnsupportedModel(
                    f"{operator.name} has an output whose shape is known only at run time"
                )
    return found


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
