"""TVM's TFLite converter with average pooling of integers as TFLite rounds it."""

from __future__ import annotations

from typing import Any

from tflite.Pool2DOptions import Pool2DOptions
from tvm import relax
from tvm.relax.frontend.tflite.tflite_frontend import OperatorConverter, TensorWrapper


class PoolingConverter(OperatorConverter):  # type: ignore[misc]
    """Converts quantised AVERAGE_POOL_2D itself: TVM divides integers, dropping the fraction.

    TVM is made to convert it as the pooling of floats that it would be without quantisation; the
    sums of up to 2^16 8-bit integers are exact so. TFLite rounds the quotient half away from zero
    (reference_integer_ops::AveragePool).
    """

    _as_float = False

    def convert_pool2d(self, op: Any, pool_type: str) -> Any:
        """Convert AVERAGE_POOL_2D, MAX_POOL_2D or L2_POOL_2D."""
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
        options = Pool2DOptions()
        options.Init(op.BuiltinOptions().Bytes, op.BuiltinOptions().Pos)
        return self.convert_qnn_fused_activation_function(
            expr=relax.op.astype(rounded, dtype),
            fused_activation_fn=options.FusedActivationFunction(),
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
