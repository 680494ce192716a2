"""TVM's ONNX importer, with own converters where its own make needless work."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tvm import relax
from tvm.ir import GenericConst
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

if TYPE_CHECKING:
    import onnx
    import tvm

# Relax values; those left out are None.
_Inputs = Sequence[Any]


def import_onnx(model: onnx.ModelProto, opset: int) -> tvm.IRModule:
    """Return the Relax module of `model`, initialisers as constants."""
    return _Importer(None, None, keep_params_in_input=False).from_onnx(model.graph, opset)


class _Importer(ONNXGraphImporter):  # type: ignore[misc]
    def _convert_operator(
        self, op_name: str, inputs: Any, attrs: dict[str, Any], opset: int
    ) -> Any:
        """Return one operator in Relax."""
        own = _OWN.get(op_name)
        expr = None if own is None else own(self, inputs)
        if expr is None:
            return super()._convert_operator(op_name, inputs, attrs, opset)
        return self.bb.normalize(expr)

    def pairwise(self, operation: Callable[[Any, Any], Any], inputs: _Inputs) -> Any:
        """Return the operation over all inputs, two at a time; TVM stacks them and reduces."""
        return functools.reduce(lambda a, b: self.bb.normalize(operation(a, b)), inputs)


def _clip(importer: _Importer, inputs: _Inputs) -> Any:
    """Clip by constant bounds; TVM has code made for each bound, on this machine, to fold it."""
    expr, *bounds = inputs
    if not bounds:  # attributes, before opset 11
        return None
    operations = (relax.op.maximum, relax.op.minimum)
    for bound, operation in zip(bounds, operations, strict=False):
        if bound is None:
            continue
        if not isinstance(bound, GenericConst):
            return None
        value = bound.value.numpy()
        if not np.isnan(value).any():  # no bound, says onnxruntime
            scalar = relax.const(value.item(), str(value.dtype))
            expr = importer.bb.normalize(operation(expr, scalar))
    return expr


def _maximum(importer: _Importer, inputs: _Inputs) -> Any:
    return importer.pairwise(relax.op.maximum, inputs)


def _minimum(importer: _Importer, inputs: _Inputs) -> Any:
    return importer.pairwise(relax.op.minimum, inputs)


def _sum(importer: _Importer, inputs: _Inputs) -> Any:
    return importer.pairwise(relax.op.add, inputs)


_OWN: dict[str, Callable[[_Importer, _Inputs], Any]] = {
    "Clip": _clip,
    "Max": _maximum,
    "Min": _minimum,
    "Sum": _sum,
}
