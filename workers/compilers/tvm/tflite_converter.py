"""TVM's TFLite converter, corrected where TFLite's reference kernels give other results."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from tflite.GeluOptions import GeluOptions
from tflite.Pool2DOptions import Pool2DOptions
from tflite.ResizeNearestNeighborOptions import ResizeNearestNeighborOptions
from tflite.SoftmaxOptions import SoftmaxOptions
from tvm import relax
from tvm.error import OpNotImplemented
from tvm.relax.frontend.tflite.tflite_frontend import OperatorConverter, TensorWrapper

from workers.compilers.tvm.operators import TFLITE_MOVES

_Convert = Callable[..., Any]


class Converter(OperatorConverter):  # type: ignore[misc]
    """Converts quantised AVERAGE_POOL_2D, quantised moves of data, GELU, SOFTMAX with a beta,
    changes of shape and RESIZE_NEAREST_NEIGHBOR itself; sees to the element types of all results.
    """

    _SUPPORTED_QUANTIZED_OPS = OperatorConverter._SUPPORTED_QUANTIZED_OPS | TFLITE_MOVES
    _as_float = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Wrap all of TVM's converters."""
        super().__init__(*args, **kwargs)
        own: dict[str, _Convert] = {
            "EXPAND_DIMS": self._reshape,
            "GELU": self._gelu,
            "RESHAPE": self._reshape,
            "SHAPE": self._shape,
            "SQUEEZE": self._reshape,
            "RESIZE_NEAREST_NEIGHBOR": self._resize_nearest,
        }
        table: dict[str, _Convert] = vars(self)["convert_map"]
        self.convert_map = {
            name: functools.partial(self._checked, name, own.get(name, convert))
            for name, convert in table.items()
        }

    def _checked(self, name: str, convert: _Convert, op: Any) -> Any:
        """Convert `op` and cast its result to the element type that TFLite declares."""
        if name in TFLITE_MOVES:
            self._check_same_quantisation(name, op)
        expr = convert(op=op)
        outputs = self.get_output_tensors(op)
        if expr is None or len(outputs) != 1:
            return expr
        expr = self.bb.normalize(expr)
        dtype = self.get_tensor_type_str(outputs[0].tensor.Type())
        made = getattr(expr.ty, "dtype", None)
        return expr if made is None or str(made) == dtype else relax.op.astype(expr, dtype)

    def _check_same_quantisation(self, name: str, op: Any) -> None:
        """Refuse to move integers from one scale to another as if they were numbers."""
        tensors = [t for t in self.get_input_tensors(op) if t.qnn_params]
        for other in self.get_output_tensors(op):
            for tensor in tensors:
                if not other.qnn_params or not self.has_same_qnn_params(tensor, other):
                    raise OpNotImplemented(f"{name} that changes the quantisation")

    def convert_softmax(self, op: Any) -> Any:
        """Convert SOFTMAX, whose beta TVM takes for 1."""
        options = _options(op, SoftmaxOptions)
        if options is None or options.Beta() == 1.0:
            return super().convert_softmax(op)
        source, result = self.get_input_tensors(op)[0], self.get_output_tensors(op)[0]
        expr = self.get_expr(source.tensor_idx)
        if source.qnn_params:
            expr = self.dequantize(expr, source)
        scaled = relax.op.multiply(expr, relax.const(options.Beta(), "float32"))
        expr = relax.op.nn.softmax(scaled, axis=-1)
        return self.quantize(expr, result) if result.qnn_params else expr

    def _gelu(self, op: Any) -> Any:
        """Convert GELU, whose approximation by tanh TVM ignores."""
        options = _options(op, GeluOptions)
        if options is None or not options.Approximate():
            return super().convert_gelu(op)
        if self.is_quantized(op):
            raise OpNotImplemented("quantised GELU")
        return relax.op.nn.gelu_tanh(self.get_expr(self.get_input_tensors(op)[0].tensor_idx))

    def _reshape(self, op: Any) -> Any:
        """Convert EXPAND_DIMS, RESHAPE and SQUEEZE by the shape of their result, which is known:
        TVM 0.27 fails at the first and takes no computed shape for the second.
        """
        shape = [int(n) for n in self.get_output_tensors(op)[0].tensor.ShapeAsNumpy()]
        return relax.op.reshape(self.get_tensor_expr(self.get_input_tensors(op)[0]), shape)

    def _shape(self, op: Any) -> Any:
        """Convert SHAPE to a constant."""
        shape = self.get_input_tensors(op)[0].tensor.ShapeAsNumpy()
        return relax.const(np.asarray(shape, dtype=np.int32))

    def _resize_nearest(self, op: Any) -> Any:
        """Convert RESIZE_NEAREST_NEIGHBOR (TFLite reference_ops: GetNearestNeighbor)."""
        source, size = self.get_input_tensors(op)
        options = _options(op, ResizeNearestNeighborOptions)
        align = options is not None and options.AlignCorners()
        half = options is not None and options.HalfPixelCenters()
        expr = self.get_tensor_expr(source)
        shape = source.tensor.ShapeAsNumpy()
        for axis, after in zip((1, 2), self.get_tensor_value(size), strict=True):
            rows = _nearest(int(shape[axis]), int(after), align=align, half=half)
            expr = relax.op.take(expr, relax.const(rows, "int32"), axis=axis)
        return expr

    def convert_pool2d(self, op: Any, pool_type: str) -> Any:
        """Convert AVERAGE_POOL_2D, MAX_POOL_2D or L2_POOL_2D.

        TVM divides the sums of quantised averages as integers, dropping the fraction. Here TVM
        converts them as if they were floats, which hold the sums of up to 2^16 8-bit integers;
        TFLite rounds half away from zero (reference_integer_ops::AveragePool).
        """
        result = self.get_output_tensors(op)[0]
        if pool_type != "average" or not result.qnn_params:
            return super().convert_pool2d(op, pool_type)
        self._as_float = True
        try:
            mean = super().convert_pool2d(op, pool_type)
        finally:
            self._as_float = False
        half = relax.const(0.5, "float32")
        up, down = relax.op.floor(mean + half), relax.op.ceil(mean - half)
        rounded = relax.op.where(relax.op.less(mean, relax.const(0.0, "float32")), down, up)
        dtype = self.get_tensor_type_str(result.tensor.Type())
        options = _options(op, Pool2DOptions)
        return self.convert_qnn_fused_activation_function(
            expr=relax.op.astype(rounded, dtype),
            fused_activation_fn=0 if options is None else options.FusedActivationFunction(),
            scale=float(result.qnn_params["scale"].value.numpy()),
            zero_point=int(result.qnn_params["zero_point"].value.numpy()),
            dtype=dtype,
        )

    def get_input_tensors(self, op: Any) -> list[Any]:
        """Return the inputs of `op`, without their quantisation while it is taken for float."""
        return self._plain(super().get_input_tensors(op))

    def get_output_tensors(self, op: Any) -> list[Any]:
        """Return the outputs of `op`, without their quantisation while it is taken for float."""
        return self._plain(super().get_output_tensors(op))

    def _plain(self, tensors: list[Any]) -> list[Any]:
        if not self._as_float:
            return tensors
        return [TensorWrapper(t.tensor_idx, t.tensor, t.buffer, None) for t in tensors]

    def get_expr(self, input_tensor_idx: int) -> Any:
        """Return the value of a tensor, as float while the operator is taken for float."""
        expr = super().get_expr(input_tensor_idx)
        return relax.op.astype(expr, "float32") if self._as_float else expr

    def convert_fused_activation_function(self, in_expr: Any, fused_activation_fn: int) -> Any:
        """Return the activation of `in_expr`; nothing while the operator is taken for float."""
        if self._as_float:
            return in_expr
        return super().convert_fused_activation_function(in_expr, fused_activation_fn)


def _options(op: Any, table: type) -> Any:
    """Return the options of `op`, a `table` of the schema, or None if it has none."""
    found = op.BuiltinOptions()
    if found is None:
        return None
    options = table()
    options.Init(found.Bytes, found.Pos)
    return options


def _nearest(before: int, after: int, *, align: bool, half: bool) -> np.ndarray[Any, Any]:
    """Return the source element of each of `after` elements."""
    single = np.float32
    scale = single(before) / single(after)
    if align and after > 1:
        scale = single(before - 1) / single(after - 1)
    at = (np.arange(after, dtype=single) + single(0.5 if half else 0.0)) * scale
    chosen = np.floor(at + single(0.5)) if align else np.floor(at)
    return np.asarray(np.clip(chosen, 0, before - 1), dtype=np.int32)
