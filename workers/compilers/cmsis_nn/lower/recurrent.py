"""SVDF and UNIDIRECTIONAL_SEQUENCE_LSTM: int8 layers that remember."""

from __future__ import annotations

from math import frexp

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.tensors import DType
from workers.compilers.cmsis_nn.arithmetic import quantize_multiplier
from workers.compilers.cmsis_nn.graph import Affine
from workers.compilers.cmsis_nn.layers import LstmGate, LstmLayer, SvdfLayer
from workers.compilers.cmsis_nn.lower.context import Context, Refusal, affine
from workers.compilers.cmsis_nn.lower.state import state
from workers.compilers.cmsis_nn.options import (
    Activation,
    SVDFOptions,
    UnidirectionalSequenceLSTMOptions,
)
from workers.compilers.cmsis_nn.quantise import dense_scale

_GATES = ("input", "forget", "cell", "output")
_GATE_SCALE = np.float32(2.0**-12)  # what a gate's sum is scaled to before its activation
_UNIT = 2.0**-15  # scale of an activation's result
_LSTM_INPUTS = 24
_HIDDEN, _CELL = 18, 19
_LOWEST_CELL_POWER = -12
_HIGHEST_CELL_POWER = 2  # 2^15 × 3 × 2^(12 + power), the argument of the tanh, must fit int32


def svdf(context: Context) -> None:
    """Lower SVDF with int8 or int16 state."""
    context.arity(5)
    options = context.options(SVDFOptions)
    source, target = affine(context.input(), DType.INT8), affine(context.output(), DType.INT8)
    features = context.constant(1, "feature weights", DType.INT8)
    times = context.constant(2, "time weights", DType.INT8, DType.INT16)
    memory = affine(context.input(4), DType.INT8, DType.INT16)
    if features.ndim != 2 or times.ndim != 2 or not context.input().shape:
        raise Refusal(f"weights of shape {features.shape} and {times.shape}")
    filters, depth = features.shape
    batch = context.input().shape[0]
    units, rest = divmod(filters, max(options.rank, 1))
    expected = (batch, depth), (batch, units), (batch, filters * times.shape[1])
    found = context.input().shape, context.output().shape, context.input(4).shape
    if rest or found != expected or len(times) != filters:
        raise Refusal(f"shapes {found} for {filters} filters of rank {options.rank}")
    if context.input(2).dtype != context.input(4).dtype:
        raise Refusal("time weights and state of different types")
    if options.fused_activation_function not in (Activation.NONE, Activation.RELU):
        raise Refusal("a fused activation other than RELU")
    if options.fused_activation_function == Activation.RELU and target.zero_point != -128:
        raise Refusal("RELU with an output zero point other than -128")
    bias = np.zeros(units, np.int32)
    if context.has_input(3):
        bias = context.constant(3, "bias", DType.INT32).reshape(-1)
    if len(bias) != units:
        raise Refusal(f"{len(bias)} biases for {units} units")
    layer = SvdfLayer(
        batch,
        options.rank,
        np.ascontiguousarray(features),
        np.ascontiguousarray(times),
        bias,
        (source.zero_point, memory.zero_point, target.zero_point),
        _svdf_factor(source, _weights(context, 1), memory),
        _svdf_factor(memory, _weights(context, 2), target),
    )
    kinds = (DType.INT8, DType.INT16)
    outputs = [context.operator.outputs[0], state(context, 4, *kinds)]
    context.add(layer, context.operator.inputs[:1], outputs)


def _weights(context: Context, position: int) -> Affine:
    found = context.input(position).affine
    if found is None or len(found.scales) != 1 or found.zero_point != 0:
        raise Refusal(f"weights {context.input(position).name!a} are not symmetric per tensor")
    return found


def _svdf_factor(source: Affine, weights: Affine, target: Affine) -> tuple[int, int]:
    # products in float64, unlike FULLY_CONNECTED's
    return quantize_multiplier(float(source.scale) * float(weights.scale) / float(target.scale))


def lstm(context: Context) -> None:
    """Lower UNIDIRECTIONAL_SEQUENCE_LSTM: int8 activations, int16 cell, four gates."""
    context.arity(_LSTM_INPUTS)
    options = context.options(UnidirectionalSequenceLSTMOptions)
    extras = [*range(9, 12), 16, 17, *range(20, 24)]
    if any(context.has_input(position) for position in extras):
        raise Refusal("peephole, projection or layer normalisation")
    if options.fused_activation_function != Activation.TANH:
        raise Refusal("a cell activation other than TANH")
    shape = context.input().shape
    if len(shape) != 3:
        raise Refusal(f"input of shape {shape}")
    steps, batch = shape[:2] if options.time_major else (shape[1], shape[0])
    if batch > 1 and not options.time_major:
        raise Refusal("several batches that are not time-major")
    hidden = affine(context.input(_HIDDEN), DType.INT8)
    cell = affine(context.input(_CELL), DType.INT16)
    fraction, power = frexp(float(cell.scale))
    if fraction != 0.5 or not _LOWEST_CELL_POWER <= power - 1 <= _HIGHEST_CELL_POWER:
        raise Refusal(f"cell scale {cell.scale}")
    gates = tuple(_gate(context, number, hidden) for number in range(len(_GATES)))
    size = gates[0].input_weights.shape[0]
    if context.output().shape != (*shape[:2], size):
        raise Refusal(f"{shape} becomes {context.output().shape}")
    sizes = [gate.input_weights.shape[0] for gate in gates]
    states = [context.input(position).shape for position in (_HIDDEN, _CELL)]
    if sizes != [size] * len(gates) or states != [(batch, size)] * 2:
        raise Refusal(f"gates of {sizes} units with states of shape {states[0]} and {states[1]}")
    layer = LstmLayer(
        batch,
        steps,
        gates,
        quantize_multiplier(_UNIT * float(cell.scale) / float(cell.scale)),
        quantize_multiplier(_UNIT * _UNIT / float(cell.scale)),
        quantize_multiplier(_UNIT * _UNIT / float(hidden.scale)),
        hidden.zero_point,
        power - 1,
        _clip(options.cell_clip, cell),
    )
    numbers = [state(context, _HIDDEN, DType.INT8), state(context, _CELL, DType.INT16)]
    outputs = [context.operator.outputs[0], *numbers]
    context.add(layer, context.operator.inputs[:1], outputs)


def _clip(real: float, cell: Affine) -> int:
    return int(min(max(real / float(cell.scale), -32768.0), 32767.0))


def _gate(context: Context, number: int, hidden: Affine) -> LstmGate:
    """Return one gate; input zero points go into the biases."""
    what = f"{_GATES[number]} gate's"
    source = affine(context.input(), DType.INT8)
    kernel = context.constant(1 + number, f"{what} input weights", DType.INT8)
    recurrent = context.constant(5 + number, f"{what} recurrent weights", DType.INT8)
    bias = context.constant(12 + number, f"{what} bias", DType.INT32).reshape(-1)
    size = len(bias)
    if kernel.shape != (size, context.input().shape[2]) or recurrent.shape != (size, size):
        raise Refusal(f"{what} weights of shape {kernel.shape} and {recurrent.shape}")
    gate = Affine(np.array([_GATE_SCALE], np.float32), np.zeros(1, np.int64))
    return LstmGate(
        np.ascontiguousarray(kernel),
        np.ascontiguousarray(recurrent),
        _effective(kernel, source.zero_point, bias),
        _effective(recurrent, hidden.zero_point, np.zeros(size, np.int32)),
        quantize_multiplier(dense_scale(source, _weights(context, 1 + number), gate)),
        quantize_multiplier(dense_scale(hidden, _weights(context, 5 + number), gate)),
    )


def _effective(
    weights: NDArray[np.int8], zero_point: int, bias: NDArray[np.int32]
) -> NDArray[np.int32]:
    sums = weights.astype(np.int64).sum(axis=1) * zero_point
    return np.asarray(bias - sums, np.int32)
