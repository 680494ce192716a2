"""One walk over an ONNX graph: infer, fold, rewrite, keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.tvm.graph.evaluate import NOT_FOLDED, Array, evaluate
from workers.compilers.tvm.graph.nodes import operator_name

if TYPE_CHECKING:
    import onnx

# Values that shape inference may need are small; weights are not handed to it.
_SHAPE_VALUES = 1024
# What a constant computed here may take; larger ones are left for the device to compute.
_FOLD_BYTES = 1 << 22
MAX_NODES = 20_000
"""Unrolled loops may not grow a graph beyond this."""


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model with the same inputs, outputs and results, in operators TVM gets right.

    Raises:
        UnsupportedModel: an operator that cannot be compiled, named.
    """
    from onnx.inliner import inline_local_functions

    if model.functions:
        model = inline_local_functions(model)
    walk = Walk(model)
    for node in model.graph.node:
        walk.add(node)
    return walk.finish()


class Walk:
    """The graph so far: nodes kept, constants, and the type of every value."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Start with the inputs and initialisers of `model`."""
        from onnx import numpy_helper

        self._model = model
        self.opsets = list(model.opset_import)
        self.opset = max((o.version for o in self.opsets if o.domain in ("", "ai.onnx")), default=1)
        self._nodes: list[onnx.NodeProto] = []
        self._tensors = {t.name: t for t in model.graph.initializer}
        self._arrays: dict[str, Array] = {}
        self.types: dict[str, onnx.TypeProto] = {v.name: v.type for v in model.graph.input}
        self._fresh = 0
        for tensor in model.graph.sparse_initializer:
            raise UnsupportedModel(f"sparse weights ({tensor.values.name}) are not supported")
        for value in model.graph.input:
            if 0 in (static_shape(value.type) or ()):
                raise UnsupportedModel(f"input {value.name} has no elements")
        for name, tensor in self._tensors.items():
            self._arrays[name] = numpy_helper.to_array(tensor)
            self.types[name] = _tensor_type(tensor.data_type, tensor.dims)

    # What rewrites ask.

    def constant(self, name: str) -> Array | None:
        """Return the value of `name` if it is known now."""
        return self._arrays.get(name)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the static shape of `name`.

        Raises:
            UnsupportedModel: it is not known.
        """
        shape = static_shape(self.types.get(name))
        if shape is None:
            raise UnsupportedModel(f"the shape of {name!r} is only known at run time")
        return shape

    def infer_shape(self, node: onnx.NodeProto, output: str = "") -> tuple[int, ...]:
        """Return the static shape of an output of `node`, the first by default.

        Raises:
            UnsupportedModel: it depends on input values.
        """
        shape = static_shape(self._infer(node).get(output or node.output[0]))
        if shape is None:
            raise UnsupportedModel(
                f"{node.op_type}: the shape of its output depends on input values"
            )
        return shape

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the element type of `name`."""
        from onnx.helper import tensor_dtype_to_np_dtype

        return np.dtype(tensor_dtype_to_np_dtype(self.types[name].tensor_type.elem_type))

    # What rewrites do.

    def const(self, value: Array) -> str:
        """Add a constant and return its name."""
        name = self.fresh()
        self._set_constant(name, value)
        return name

    def op(self, op_type: str, *inputs: str, outputs: Iterable[str] = (), **attrs: Any) -> str:
        """Add a node of the default domain; return the name of its first output."""
        from onnx.helper import make_node

        names = list(outputs) or [self.fresh()]
        self.add(make_node(op_type, list(inputs), names, **attrs))
        return names[0]

    def add(self, node: onnx.NodeProto) -> None:
        """Take one node whose inputs are all known: fold it, rewrite it or keep it.

        Raises:
            UnsupportedModel: it cannot be compiled.
        """
        from workers.compilers.tvm.graph.rewrites import REWRITES

        name = operator_name(node)
        if len(self._nodes) > MAX_NODES:
            raise UnsupportedModel(f"{name}: unrolled, the graph exceeds {MAX_NODES} nodes")
        try:
            if self._fold(node):
                return
            rewrite = REWRITES.get(name)
            if rewrite is None or not rewrite(node, self):
                self.keep(node)
        except UnsupportedModel:
            raise
        except Exception as error:
            text = " ".join(str(error).split())[:200]
            raise UnsupportedModel(f"{name}: {type(error).__name__}: {text}") from error

    def keep(self, node: onnx.NodeProto, like: onnx.NodeProto | None = None) -> None:
        """Add `node` as it is, its results being of the types of those of `like` if given.

        Raises:
            UnsupportedModel: its results have no static shape.
        """
        types = self._infer(like or node)
        self.types.update(types)
        for name in node.output:
            kind = types.get(name)
            if kind is not None and kind.HasField("tensor_type") and static_shape(kind) is None:
                raise UnsupportedModel(
                    f"{node.op_type}: the shape of its output depends on input values"
                )
        self._nodes.append(node)

    def empty(self, name: str, node: onnx.NodeProto) -> None:
        """Make output `name` of `node`, which has no elements, a constant."""
        kind = self._infer(node)[name]
        self._set_constant(name, _no_elements(kind))

    def fresh(self) -> str:
        """Return a name no value has yet."""
        self._fresh += 1
        return f"tinymlaas_{self._fresh}"

    def _set_constant(self, name: str, value: Array) -> None:
        from onnx.helper import np_dtype_to_tensor_dtype

        self._arrays[name] = value
        self.types[name] = _tensor_type(np_dtype_to_tensor_dtype(value.dtype), value.shape)

    def _fold(self, node: onnx.NodeProto) -> bool:
        """Compute `node` now if shapes and constants alone decide it."""
        if operator_name(node) in ("Shape", "Size"):
            shape = static_shape(self.types.get(node.input[0]))
            if shape is None:
                return False
            # The reference reads the shape from an array: one that takes no memory will do.
            inputs: list[Array | None] = [np.broadcast_to(np.float32(0), shape)]
        elif node.op_type in NOT_FOLDED or any(i and i not in self._arrays for i in node.input):
            return False
        else:
            inputs = [self._arrays.get(name) for name in node.input]
        results = evaluate(node, inputs, self.opsets)
        if results is None or sum(r.nbytes for r in results) > _FOLD_BYTES:
            return False
        for name, value in zip(filter(None, node.output), results, strict=True):
            self._set_constant(name, value)
        return True

    def _infer(self, node: onnx.NodeProto) -> Mapping[str, onnx.TypeProto]:
        """Return the types of the outputs of `node`, as far as ONNX can tell."""
        from onnx import defs, numpy_helper
        from onnx.shape_inference import infer_node_outputs

        try:
            schema = defs.get_schema(node.op_type, self.opset, node.domain)
        except defs.SchemaError:
            return {}
        known = {name: self.types[name] for name in node.input if name in self.types}
        if len(known) < len({name for name in node.input if name}):
            return {}
        small = {
            name: numpy_helper.from_array(self._arrays[name], name)
            for name in node.input
            if name in self._arrays and self._arrays[name].size <= _SHAPE_VALUES
        }
        try:
            return dict(infer_node_outputs(schema, node, known, small, opset_imports=self.opsets))
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
            raise UnsupportedModel(f"{node.op_type}: {reason}") from error

    def finish(self) -> onnx.ModelProto:
        """Return the model of all that was kept, with the constants it still needs."""
        import onnx
        from onnx import numpy_helper

        old = self._model.graph
        needed = {name for node in self._nodes for name in node.input}
        needed |= {name for node in self._nodes for name in _captured(node)}
        needed |= {value.name for value in old.output}
        tensors = [
            self._tensors.get(name) or numpy_helper.from_array(array, name)
            for name, array in self._arrays.items()
            if name in needed
        ]
        inputs = [value for value in old.input if value.name not in self._tensors]
        graph = onnx.helper.make_graph(
            self._nodes, old.name or "graph", inputs, old.output, initializer=tensors
        )
        return onnx.helper.make_model(
            graph, opset_imports=self.opsets, ir_version=self._model.ir_version
        )


def static_shape(kind: onnx.TypeProto | None) -> tuple[int, ...] | None:
    """Return the shape of a tensor type if every dimension is a number."""
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    if not all(dim.HasField("dim_value") for dim in dims):
        return None
    return tuple(dim.dim_value for dim in dims)


def _no_elements(kind: onnx.TypeProto) -> Array:
    """Return the array of a type that has no elements."""
    from onnx.helper import tensor_dtype_to_np_dtype

    dtype = tensor_dtype_to_np_dtype(kind.tensor_type.elem_type)
    return np.zeros(static_shape(kind) or (0,), dtype=dtype)


def _tensor_type(elem_type: int, shape: Iterable[int]) -> onnx.TypeProto:
    from onnx.helper import make_tensor_type_proto

    return make_tensor_type_proto(elem_type, list(shape))


def _captured(node: onnx.NodeProto) -> Iterable[str]:
    """Yield the names that the subgraphs of `node` may take from outside."""
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from inner.input
            yield from _captured(inner)
