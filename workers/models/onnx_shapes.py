"""Static shapes for ONNX models: set the inputs' dimensions and infer all others."""

from __future__ import annotations

import re
from typing import Any

from tinymlaas.contract.errors import InvalidModel, UnsupportedModel
from workers.models.onnx_checks import default_opset, parse_onnx, walk
from workers.models.onnx_fold import fold_shapes
from workers.models.shapes import DeclaredInput, Shapes, resolve
from workers.models.wording import one_line

# Operators whose output shape follows from the values of these inputs (None: of any input); from
# the "shape" prose of the operator documents. All are fine where that input is a constant.
_SHAPED_BY_VALUES: dict[str, tuple[int, ...] | None] = {
    **{"NonZero": None, "Unique": None, "NonMaxSuppression": None, "Compress": (1,)},
    **{"Reshape": (1,), "Expand": (1,), "ConstantOfShape": (0,), "Tile": (1,), "Pad": (1,)},
    **{"Resize": (2, 3), "Upsample": (1,), "Slice": (1, 2, 3, 4), "TopK": (1,), "OneHot": (1,)},
    **{"Range": (0, 1, 2), "Squeeze": (1,), "Unsqueeze": (1,), "Split": (1,), "DFT": (1, 2)},
    **{"CenterCropPad": (1,), "AffineGrid": (1,), "Loop": None, "SequenceAt": (1,)},
    **{"BlackmanWindow": (0,), "HannWindow": (0,), "HammingWindow": (0,), "STFT": (1, 3)},
    **{"MelWeightMatrix": (0, 1), "StringSplit": None, "Col2Im": (1, 2), "MaxUnpool": (2,)},
    **{f"Reduce{name}": (1,) for name in ("Max", "Mean", "Min", "Prod", "Sum", "SumSquare")},
    **{f"Reduce{name}": (1,) for name in ("L1", "L2", "LogSum", "LogSumExp")},
}

_FOLDING_PASSES = 32
"""Each pass computes one more chain of shape arithmetic; models have a few in a row."""
_LONGEST_ROW = 1 << 20


def fix_onnx_shapes(data: bytes, shapes: Shapes) -> bytes:
    """Return the model with static inputs and outputs; see `shapes.fix_shapes`."""
    model = parse_onnx(data)
    declared = [_declared(value) for value in real_inputs(model.graph)]
    resolved = resolve(declared, shapes)
    inputs_were_static = all(each.static for each in declared)
    if not inputs_were_static:
        for value in real_inputs(model.graph):
            _set_dims(value, resolved[value.name])
    inferred = infer(model, forget=True)
    outputs = {value.name: _static_dims(value) for value in inferred.graph.output}
    for value in model.graph.output:
        _settle(value, outputs[value.name], inferred, trust=inputs_were_static)
    changed = not inputs_were_static or model.graph.output != parse_onnx(data).graph.output
    if not changed:
        return data
    del model.graph.value_info[:]  # may still name the dimensions that are fixed now
    return bytes(model.SerializeToString(deterministic=True))


def real_inputs(graph: Any) -> list[Any]:
    """Return the inputs a caller must give; before IR 4 initializers are listed as inputs too."""
    constants = {each.name for each in graph.initializer}
    constants |= {each.values.name for each in graph.sparse_initializer}
    return [value for value in graph.input if value.name not in constants]


def infer(model: Any, *, forget: bool) -> Any:
    """Return a copy of `model` with the types and shapes of all values, as far as known.

    With `forget`, what the model says of inner values and of output shapes is dropped first, so
    that every shape follows from the inputs alone.

    Raises:
        InvalidModel: operators, types and shapes contradict one another.
    """
    copy = _copy(model)
    if forget:
        del copy.graph.value_info[:]
        for value in copy.graph.output:
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.ClearField("shape")
    row = _long_row(_infer(copy, propagate=False).graph)
    inferred, settled = _settled(copy, propagate=row is None)
    if row is not None and not settled:
        raise UnsupportedModel(
            f"{row!r} has more than {_LONGEST_ROW} elements in one dimension, which is too much "
            "where other shapes have to be computed from values"
        )
    inferred.graph.ClearField("node")
    inferred.graph.node.extend(model.graph.node)
    inferred.graph.ClearField("initializer")
    inferred.graph.initializer.extend(model.graph.initializer)
    return inferred


def _settled(copy: Any, *, propagate: bool) -> tuple[Any, bool]:
    """Infer, and compute shapes that follow from shapes, until nothing more follows.

    Returns the model and whether all shapes of its main graph are known; `copy` is folded.
    """
    inferred = _infer(copy, propagate)
    opset = default_opset(copy)
    for _ in range(_FOLDING_PASSES):
        shapes = static_shapes(inferred.graph)
        if all(name in shapes for node in copy.graph.node for name in node.output if name):
            return inferred, True
        if opset is None or not fold_shapes(copy.graph, shapes, opset):
            break
        inferred = _infer(copy, propagate)
    return inferred, False


def _long_row(graph: Any) -> str | None:
    """Return a value of one dimension for which onnx's data propagation has no memory, if any.

    It keeps an object for each element of whatever has one dimension, be it the largest activation.
    """
    shapes = static_shapes(graph).items()
    long = (name for name, shape in shapes if len(shape) == 1 and shape[0] > _LONGEST_ROW)
    return next(long, None)


def static_shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    """Return all static shapes a graph states, by name of the value."""
    found = {value.name: _static_dims(value) for value in stated(graph)}
    found |= {each.name: tuple(each.dims) for each in graph.initializer}
    return {name: dims for name, dims in found.items() if dims is not None}


def stated(graph: Any) -> list[Any]:
    """Return all ``ValueInfoProto`` of a graph."""
    return [*graph.input, *graph.value_info, *graph.output]


def _copy(model: Any) -> Any:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _infer(model: Any, propagate: bool) -> Any:
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=propagate
        )
    except Exception as error:  # InferenceError, and what pybind makes of other C++ exceptions
        if not _inside_function(str(error)):
            raise InvalidModel(f"ONNX shape inference fails: {one_line(error)}") from error
    # onnx expands some operators (MeanVarianceNormalization) into bodies its strict mode refuses.
    return onnx.shape_inference.infer_shapes(model, strict_mode=False, data_prop=propagate)


def _inside_function(error: str) -> bool:
    """Return whether inference failed in the body of an operator that onnx itself expands."""
    import onnx

    found = re.search(r"\(op_type:(\w+)", error)
    if found is None or not onnx.defs.has(found[1]):
        return False
    return bool(onnx.defs.get_schema(found[1]).has_function) and error.count("op_type:") > 1


def _declared(value: Any) -> DeclaredInput:
    if not value.type.HasField("tensor_type"):
        raise UnsupportedModel(f"input {value.name!r} is not a tensor but {_kind(value)}")
    if not value.type.tensor_type.HasField("shape"):
        return DeclaredInput(value.name, None)
    dims = value.type.tensor_type.shape.dim
    return DeclaredInput(value.name, tuple(_dim(dim) for dim in dims))


def _kind(value: Any) -> str:
    return str(value.type.WhichOneof("value") or "untyped").removesuffix("_type")


def _dim(dim: Any) -> int | str:
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    return str(dim.dim_param) or "?"


def _static_dims(value: Any) -> tuple[int, ...] | None:
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return None
    dims = [_dim(dim) for dim in value.type.tensor_type.shape.dim]
    static = [dim for dim in dims if isinstance(dim, int)]
    return tuple(static) if len(static) == len(dims) else None


def _set_dims(value: Any, dims: tuple[int, ...]) -> None:
    shape = value.type.tensor_type.shape
    shape.SetInParent()  # a scalar's shape has no dimension, yet is a shape
    del shape.dim[:]
    for dim in dims:
        shape.dim.add().dim_value = dim


def _settle(value: Any, inferred: tuple[int, ...] | None, model: Any, *, trust: bool) -> None:
    """Make the output `value` static, from inference or, if `trust`, from what it declares.

    A declaration is believed only where inference merely does not know; where the shape depends
    on the data no declaration is true for all inputs.
    """
    if not value.type.HasField("tensor_type"):
        raise UnsupportedModel(f"output {value.name!r} is not a tensor but {_kind(value)}")
    declared = _static_dims(value)
    if inferred is not None:
        if trust and declared not in (None, inferred):
            raise InvalidModel(f"output {value.name!r} is declared {declared} but is {inferred}")
        _set_dims(value, inferred)
        return
    culprit = _data_dependent(value.name, model)
    if culprit is not None:
        raise UnsupportedModel(
            f"output {value.name!r} has a shape that depends on the input data, through {culprit}"
        )
    if declared is None or not trust:
        producer = next((n.op_type for n in model.graph.node if value.name in n.output), "no node")
        raise UnsupportedModel(
            f"output {value.name!r} of {producer} has a shape that cannot be inferred"
        )


def _data_dependent(output: str, model: Any) -> str | None:
    """Return the first operator above `output` that shapes its result by run-time values."""
    graph = model.graph
    known = static_shapes(graph)
    constant = {each.name for each in graph.initializer} | {""}
    needed = _ancestors(output, graph)
    for node in graph.node:
        # What a tensor's shape is does not depend on its values: everything here is static but
        # what an operator below, checked before, has shaped by values.
        if node.op_type in ("Shape", "Size") or constant.issuperset(reads(node)):
            constant.update(node.output)
        if node.output and node.output[0] in needed and not known.keys() >= set(node.output):
            shaping = _SHAPED_BY_VALUES.get(node.op_type, ())
            places = range(len(node.input)) if shaping is None else shaping
            read = (node.input[place] for place in places if place < len(node.input))
            if any(name not in constant for name in read):
                return str(node.op_type)
    return None


def reads(node: Any) -> set[str]:
    """Return the names `node` reads, those that bodies of If, Loop and Scan capture included."""
    nodes = [message for message in walk(node) if message.DESCRIPTOR.name == "NodeProto"]
    inside = {name for each in nodes for name in each.output}
    return set(node.input) | {name for each in nodes for name in each.input} - inside


def _ancestors(output: str, graph: Any) -> set[str]:
    needed = {output}
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(reads(node))
            needed.update(node.output)
    return needed
