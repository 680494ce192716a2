"""Layers as calls of the CMSIS-NN API, or as loops of our own where it has no function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workers.compilers.cmsis_nn.code import Code
from workers.compilers.cmsis_nn.generic import arithmetic, calls, matmul, moves, recurrent
from workers.compilers.cmsis_nn.layers import (
    AddLayer,
    AnyLayer,
    BilinearLayer,
    ConvLayer,
    DenseLayer,
    DepthwiseLayer,
    DequantizeLayer,
    ElementwiseLayer,
    LstmLayer,
    LutLayer,
    MoveLayer,
    NearestLayer,
    PoolLayer,
    QuantizeLayer,
    ReduceLayer,
    RequantizeLayer,
    ReshapeLayer,
    SoftmaxLayer,
    SvdfLayer,
    TransposeConvLayer,
)

_EMITTERS: dict[type, Callable[[Any, str], Code]] = {
    AddLayer: calls.add,
    BilinearLayer: arithmetic.bilinear,
    ConvLayer: matmul.conv,
    DenseLayer: matmul.dense,
    DepthwiseLayer: matmul.depthwise,
    DequantizeLayer: arithmetic.dequantize,
    ElementwiseLayer: arithmetic.elementwise,
    LstmLayer: recurrent.lstm,
    LutLayer: calls.lut,
    MoveLayer: moves.move,
    NearestLayer: moves.nearest,
    PoolLayer: calls.pool,
    QuantizeLayer: arithmetic.quantize,
    ReduceLayer: arithmetic.reduce,
    RequantizeLayer: arithmetic.requantize,
    ReshapeLayer: calls.reshape,
    SoftmaxLayer: calls.softmax,
    SvdfLayer: recurrent.svdf,
    TransposeConvLayer: matmul.transpose_conv,
}


def generic(layer: AnyLayer, prefix: str) -> Code:
    """Return the C of `layer`, its names beginning with `prefix`."""
    return _EMITTERS[type(layer)](layer, prefix)
