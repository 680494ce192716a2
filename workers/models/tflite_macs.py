"""Multiply-accumulates of TFLite operators.

Operators that multiply without accumulating (MUL, activations, scaling) count none, as usual.
Padding is not subtracted: a kernel position outside the input counts like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from workers.models.tflite_model import TfliteGraph, TfliteOperator

_Shape = tuple[int, ...]
# Each formula takes the shapes of the operator's inputs and of its first output.
_Formula = Callable[[list[_Shape], _Shape], int]


def macs(operator: TfliteOperator, graph: TfliteGraph) -> int:
    """Return the multiply-accumulates of one inference of `operator`; 0 where none are known."""
    formula = _FORMULAS.get(operator.name)
    if formula is None or not operator.outputs:
        return 0
    inputs = [graph.tensors[index].shape if index >= 0 else () for index in operator.inputs]
    try:
        return formula(inputs, graph.tensors[operator.outputs[0]].shape)
    except IndexError:  # too few inputs, or of too low a rank: compilers will refuse it
        return 0


def _conv(inputs: list[_Shape], output: _Shape) -> int:
    """Output elements × kernel height × width × input channels a group (filter OHWI)."""
    return prod(output) * prod(inputs[1][1:])


def _conv_3d(inputs: list[_Shape], output: _Shape) -> int:
    """Output elements × kernel volume × input channels (filter DHWIO)."""
    return prod(output) * prod(inputs[1][:4])


def _depthwise(inputs: list[_Shape], output: _Shape) -> int:
    """Output elements × kernel height × width (filter 1HWO)."""
    return prod(output) * inputs[1][1] * inputs[1][2]


def _transpose_conv(inputs: list[_Shape], output: _Shape) -> int:
    """Input elements × kernel height × width × output channels (filter OHWI is input 1)."""
    return prod(inputs[2]) * prod(inputs[1][:3])


def _fully_connected(inputs: list[_Shape], output: _Shape) -> int:
    """Output elements × input features (weights OI)."""
    return prod(output) * inputs[1][1]


def _batch_matmul(inputs: list[_Shape], output: _Shape) -> int:
    """Output elements × the contracted dimension: what of the left matrix are not output rows.

    So it holds whether the left operand is stored transposed or not.
    """
    return prod(output) * prod(inputs[0][-2:]) // max(output[-2], 1)


def _lstm(inputs: list[_Shape], output: _Shape) -> int:
    """Time steps × batch × elements of the gates' matrices and the projection.

    Inputs 1 to 4 are input-to-gate, 5 to 8 recurrent-to-gate matrices, 16 the projection.
    """
    matrices = [*inputs[1:9], *inputs[16:17]]
    return prod(inputs[0][:-1]) * sum(prod(shape) for shape in matrices if len(shape) == 2)


def _rnn(inputs: list[_Shape], output: _Shape) -> int:
    """Time steps × batch × elements of the input and the recurrent matrix."""
    return prod(inputs[0][:-1]) * (prod(inputs[1]) + prod(inputs[2]))


def _svdf(inputs: list[_Shape], output: _Shape) -> int:
    """Batch × (feature filters + time filters) elements."""
    return inputs[0][0] * (prod(inputs[1]) + prod(inputs[2]))


_FORMULAS: dict[str, _Formula] = {
    "CONV_2D": _conv,
    "CONV_3D": _conv_3d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transpose_conv,
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _lstm,
    "LSTM": _lstm,
    "UNIDIRECTIONAL_SEQUENCE_RNN": _rnn,
    "RNN": _rnn,
    "SVDF": _svdf,
}
