"""TVM's TFLite converter, with the hybrid operators added."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from tvm import relax
from tvm.relax.frontend.tflite.tflite_frontend import TensorWrapper, get_pad_value

from workers.compilers.tvm.hybrid import kernels
from workers.compilers.tvm.hybrid.detect import Hybrid, check, hybrid_operators
from workers.compilers.tvm.quantised_pooling import PoolingConverter


@dataclass(frozen=True)
class _Window:
    """Stride, dilation and padding (top, left, bottom, right) of a convolution."""

    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int, int, int]


class HybridConverter(PoolingConverter):
    """Converts hybrid CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED itself, leaves the rest."""

    _checking = False
    _hybrid: dict[int, Hybrid] | None = None

    @property
    def hybrid(self) -> dict[int, Hybrid]:
        """Return the hybrid operators of this graph by position."""
        if self._hybrid is None:
            self._hybrid = hybrid_operators(self.subgraph, self.model)
        return self._hybrid

    def check_unsupported_ops(self) -> None:
        """Check the hybrid operators here and have TVM check the others.

        Raises:
            UnsupportedModel: a hybrid operator is of an unsupported kind.
        """
        for found in self.hybrid.values():
            check(found, self.subgraph.Operators(found.number), self.subgraph, self.model)
        self._checking = True  # TVM refuses operators of which only the weights are quantised
        try:
            super().check_unsupported_ops()
        finally:
            self._checking = False

    def get_input_tensors(self, op: Any) -> list[Any]:
        """Return the inputs of `op`; while checking, those of hybrid operators as plain tensors."""
        tensors: list[Any] = super().get_input_tensors(op)
        if self._checking and op._tab.Pos in self.hybrid:
            return [TensorWrapper(t.tensor_idx, t.tensor, t.buffer, None) for t in tensors]
        return tensors

    def convert_conv(self, op: Any, conv_type: str) -> Any:
        """Convert CONV_2D (`conv_type` conv2d) or DEPTHWISE_CONV_2D (depthwise)."""
        hybrid = self.hybrid.get(op._tab.Pos)
        if hybrid is None:
            return super().convert_conv(op, conv_type)
        options = _conv_options(op, conv_type)
        data, weights = self.get_input_tensors(op)[:2]
        shape = [int(n) for n in self.get_tensor_shape(data)]
        window = _window(options, shape, [int(n) for n in self.get_tensor_shape(weights)])
        centred, scale = self._quantize(hybrid, self.get_tensor_expr(data), shape[0], shape)
        kernel = kernels.depthwise if conv_type == "depthwise" else kernels.convolution
        weight = relax.const(self.get_tensor_value(weights), "int8")
        sums = self.bb.emit_te(kernel, centred, weight, window.stride, window.dilation, window.pad)
        return self._finish(op, hybrid, sums, scale, options.FusedActivationFunction())

    def convert_fully_connected(self, op: Any) -> Any:
        """Convert FULLY_CONNECTED."""
        hybrid = self.hybrid.get(op._tab.Pos)
        if hybrid is None:
            return super().convert_fully_connected(op)
        from tflite.FullyConnectedOptions import FullyConnectedOptions

        options = _options(op, FullyConnectedOptions)
        data, weights = self.get_input_tensors(op)[:2]
        inner = int(self.get_tensor_shape(weights)[1])
        rows = prod(int(n) for n in self.get_tensor_shape(data)) // inner
        expr = self.get_tensor_expr(data)
        centred, scale = self._quantize(hybrid, expr, rows, [rows, inner])
        weight = relax.const(self.get_tensor_value(weights), "int8")
        sums = self.bb.emit_te(kernels.dense, centred, weight)
        out = self._finish(op, hybrid, sums, scale, options.FusedActivationFunction())
        shape = [int(n) for n in self.get_tensor_shape(self.get_output_tensors(op)[0])]
        return relax.op.reshape(out, shape)

    def _quantize(self, hybrid: Hybrid, expr: Any, rows: int, shape: list[int]) -> tuple[Any, Any]:
        """Return `expr` quantised row by row, as int16 of `shape`, and the scale of each row."""
        size = prod(shape) // rows
        args = [self.bb.normalize(relax.op.reshape(expr, (rows, size)))]
        if hybrid.asymmetric:
            func = kernels.asymmetric_quantizer(rows, size)
        else:
            func = kernels.symmetric_quantizer(rows, size)
            factor = hybrid.scales[0] if hybrid.scale_in_quantizer else 1.0
            args.append(relax.const(np.array([factor], "float32")))
        types = [relax.TensorType((rows, size), "int16"), relax.TensorType((rows,), "float32")]
        name = self.bb.add_func(func, "hybrid_quantize")
        both = self.bb.emit(relax.call_tir(name, args, types))
        centred = self.bb.emit(relax.TupleGetItem(both, 0))
        return self.bb.emit(relax.op.reshape(centred, shape)), relax.TupleGetItem(both, 1)

    def _finish(self, op: Any, hybrid: Hybrid, sums: Any, scale: Any, activation: int) -> Any:
        """Return act(scale · sums + bias), scales and sums in the order TFLite multiplies them."""
        rank = len(sums.ty.shape)
        scale = self.bb.emit(relax.op.reshape(scale, (-1, *[1] * (rank - 1))))
        out = relax.op.astype(sums, "float32")
        if not hybrid.scale_in_quantizer:
            weights = relax.const(np.array(hybrid.scales, "float32"))
            if hybrid.name == "CONV_2D":  # (sum · weight scale) · input scale
                out = relax.op.multiply(out, weights)
            else:
                scale = relax.op.multiply(scale, weights)
        out = relax.op.multiply(out, scale)
        tensors = self.get_input_tensors(op)
        if len(tensors) > 2 and tensors[2].tensor_idx >= 0:
            out = relax.op.add(out, self.get_tensor_expr(tensors[2]))
        return self.convert_fused_activation_function(out, activation)


def _options(op: Any, kind: Any) -> Any:
    table, options = op.BuiltinOptions(), kind()
    options.Init(table.Bytes, table.Pos)
    return options


def _conv_options(op: Any, conv_type: str) -> Any:
    from tflite.Conv2DOptions import Conv2DOptions
    from tflite.DepthwiseConv2DOptions import DepthwiseConv2DOptions

    return _options(op, DepthwiseConv2DOptions if conv_type == "depthwise" else Conv2DOptions)


def _window(options: Any, data: list[int], weights: list[int]) -> _Window:
    from tflite.Padding import Padding

    stride = (options.StrideH(), options.StrideW())
    dilation = (options.DilationHFactor(), options.DilationWFactor())
    if options.Padding() != Padding.SAME:
        return _Window(stride, dilation, (0, 0, 0, 0))
    (top, bottom), (left, right) = (
        get_pad_value(data[1 + i], (weights[1 + i] - 1) * dilation[i] + 1, stride[i])
        for i in range(2)
    )
    return _Window(stride, dilation, (top, left, bottom, right))
