"""Layers as calls of the CMSIS-NN API (or of loops of our own where it has none)."""

from __future__ import annotations

from workers.compilers.cmsis_nn.code import Code
from workers.compilers.cmsis_nn.generic import calls, matmul
from workers.compilers.cmsis_nn.generic.moves import move
from workers.compilers.cmsis_nn.layers import (
    AddLayer,
    AnyLayer,
    ConvLayer,
    DenseLayer,
    DepthwiseLayer,
    LutLayer,
    MoveLayer,
    PoolLayer,
    ReshapeLayer,
    SoftmaxLayer,
)


def generic(layer: AnyLayer, prefix: str) -> Code:  # noqa: PLR0911 - a table with types
    """Return the C of `layer`, its names beginning with `prefix`."""
    match layer:
        case ConvLayer():
            return matmul.conv(layer, prefix)
        case DepthwiseLayer():
            return matmul.depthwise(layer, prefix)
        case DenseLayer():
            return matmul.dense(layer, prefix)
        case PoolLayer():
            return calls.pool(layer, prefix)
        case AddLayer():
            return calls.add(layer, prefix)
        case SoftmaxLayer():
            return calls.softmax(layer, prefix)
        case LutLayer():
            return calls.lut(layer, prefix)
        case MoveLayer():
            return move(layer, prefix)
        case ReshapeLayer():
            return calls.copy(layer.nbytes, prefix)
