"""Layers that remember, as calls of kernels of our own; their state is an output."""

from __future__ import annotations

from workers.compilers.cmsis_nn.code import Code, braces, constant, function
from workers.compilers.cmsis_nn.graph import Array
from workers.compilers.cmsis_nn.layers import LstmLayer, SvdfLayer
from workers.compilers.cmsis_nn.special.layers import Constant, KernelCode


def svdf(layer: SvdfLayer, prefix: str) -> Code:
    """Return `layer` as a call of ``nn_svdf_s8`` or ``nn_svdf_state_s16_s8``."""
    filters, depth = layer.features.shape
    wide = layer.times.dtype.itemsize > 1
    call = "nn_svdf_state_s16_s8" if wide else "nn_svdf_s8"
    sizes = (layer.batch, depth, filters // layer.rank, layer.rank, layer.times.shape[1])
    params = braces(*sizes, *layer.zero_points, *layer.feature_factor, *layer.time_factor)
    state = "(int16_t *)out2" if wide else "out2"
    body = [
        f"static const nn_svdf params = {params};",
        f"{call}(&params, {prefix}_f, {prefix}_t, {prefix}_b, in, out, {state});",
    ]
    constants = (
        constant(f"{prefix}_f", layer.features),
        constant(f"{prefix}_t", layer.times),
        constant(f"{prefix}_b", layer.bias),
    )
    source = function(prefix, body, outputs=2, used=("in", "out", "out2"))
    kernel = KernelCode(function=prefix, source=source, constants=constants)
    return Code(kernel, (f"{call}.c",))


def lstm(layer: LstmLayer, prefix: str) -> Code:
    """Return `layer` as a call of ``nn_lstm_s8``."""
    constants: list[Constant] = []
    gates: list[str] = []
    for number, gate in enumerate(layer.gates):
        names = [f"{prefix}_{kind}{number}" for kind in "wrbs"]
        arrays: list[Array] = [gate.input_weights, gate.recurrent_weights]
        arrays += [gate.bias, gate.recurrent_bias]
        constants += [constant(n, a) for n, a in zip(names, arrays, strict=True)]
        gates.append(braces(*names, *gate.input_factor, *gate.recurrent_factor))
    size, depth = layer.gates[0].input_weights.shape
    factors = (*layer.forget_factor, *layer.update_factor, *layer.output_factor)
    shift = 12 + layer.cell_power
    tail = (*factors, layer.output_zero_point, shift, layer.clip)
    params = braces(layer.batch, layer.steps, depth, size, braces(*gates), *tail)
    body = [
        f"static const nn_lstm params = {params};",
        "nn_lstm_s8(&params, in, out, out2, (int16_t *)out3);",
    ]
    source = function(prefix, body, outputs=3, used=("in", "out", "out2", "out3"))
    kernel = KernelCode(function=prefix, source=source, constants=tuple(constants))
    return Code(kernel, ("nn_lstm_s8.c",))
