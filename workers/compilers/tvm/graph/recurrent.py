"""Rewrites of recurrent layers: unrolled over their (static) sequence length.

Every step adds the same operators on the same shapes, so all steps share their kernels. The
products with the inputs are made for all steps at once. Formulas and gate orders are those of
the ONNX operator documentation (RNN, GRU, LSTM).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinymlaas.contract.errors import UnsupportedModel
from workers.compilers.tvm.graph.build import real, reshape, split, stack, unstack
from workers.compilers.tvm.graph.nodes import attributes, optional

if TYPE_CHECKING:
    import onnx

    from workers.compilers.tvm.graph.walk import Walk

_LSTM_GATES = 4  # the cell that has peepholes

# One step of a cell: the gates' input products and the states to the new states.
_Step = Callable[["_Layer", str, list[str]], list[str]]


def rnn(node: onnx.NodeProto, walk: Walk) -> bool:
    """Unroll an RNN: H = f(X·Wᵀ + H·Rᵀ + Wb + Rb)."""
    return _unroll(node, walk, _rnn_step, gates=1, states=1, default=("Tanh",))


def gru(node: onnx.NodeProto, walk: Walk) -> bool:
    """Unroll a GRU, gates in the order z, r, h."""
    return _unroll(node, walk, _gru_step, gates=3, states=1, default=("Sigmoid", "Tanh"))


def lstm(node: onnx.NodeProto, walk: Walk) -> bool:
    """Unroll an LSTM, gates in the order i, o, f, c."""
    return _unroll(node, walk, _lstm_step, gates=4, states=2, default=("Sigmoid", "Tanh", "Tanh"))


class _Layer:
    """One direction of a recurrent layer: its weights and activations."""

    def __init__(
        self, node: onnx.NodeProto, walk: Walk, direction: int, gates: int, default: tuple[str, ...]
    ) -> None:
        self.walk = walk
        self.attrs = attributes(node)
        self.hidden = walk.shape(node.input[2])[-1]
        self._gates = gates

        def mine(index: int) -> str:
            name = optional(node, index)
            return unstack(walk, name, 0)[direction] if name else ""

        self.weights = walk.op("Transpose", mine(1), perm=[1, 0])
        self.recurrent = walk.op("Transpose", mine(2), perm=[1, 0])
        biases = mine(3)
        width = gates * self.hidden
        self.bias, self.recurrent_bias = split(walk, biases, [width] * 2, 0) if biases else ("", "")
        peepholes = mine(7) if gates == _LSTM_GATES else ""
        self.peepholes = split(walk, peepholes, [self.hidden] * 3, 0) if peepholes else None
        self.activations = self._activations(direction, default)

    def _activations(self, direction: int, default: tuple[str, ...]) -> list[Callable[[str], str]]:
        """Return this direction's activation functions."""
        names = self.attrs.get("activations") or [*default, *default]
        alphas = list(self.attrs.get("activation_alpha") or [])
        betas = list(self.attrs.get("activation_beta") or [])
        functions = []
        for number, name in enumerate(names):
            # Values are given in order for those functions only that take them.
            alpha = alphas.pop(0) if alphas and name in _TAKES_ALPHA else None
            beta = betas.pop(0) if betas and name in _TAKES_BETA else None
            if number // len(default) == direction:
                functions.append(self._activation(name, alpha, beta))
        return functions

    def _activation(
        self, name: str, alpha: float | None, beta: float | None
    ) -> Callable[[str], str]:
        walk = self.walk
        if name in ("Affine", "ScaledTanh"):
            if alpha is None or beta is None:
                raise UnsupportedModel(f"activation {name} of a recurrent layer needs alpha, beta")
            inner, outer = (beta, alpha) if name == "ScaledTanh" else (None, None)

            def affine(x: str) -> str:
                if inner is None or outer is None:
                    return self.add(walk.op("Mul", x, real(walk, alpha)), real(walk, beta))
                tanh = walk.op("Tanh", walk.op("Mul", x, real(walk, inner)))
                return walk.op("Mul", tanh, real(walk, outer))

            return affine
        if name not in _PLAIN and name not in _TAKES_ALPHA:
            raise UnsupportedModel(f"activation {name} of a recurrent layer is not supported")
        given = {"alpha": alpha, "beta": beta}
        attrs: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
        return lambda x: walk.op(name, x, **attrs)

    def add(self, *terms: str) -> str:
        """Add terms, leaving out the empty ones."""
        first, *rest = [term for term in terms if term]
        for term in rest:
            first = self.walk.op("Add", first, term)
        return first

    def clip(self, x: str) -> str:
        """Limit the input of an activation if the layer says so."""
        limit = self.attrs.get("clip")
        if not limit:
            return x
        return self.walk.op("Clip", x, real(self.walk, -limit), real(self.walk, limit))

    def gates(self, x: str) -> list[str]:
        """Cut [batch, gates × hidden] into the gates."""
        return split(self.walk, x, [self.hidden] * self._gates, 1)

    def project(self, h: str) -> str:
        """Return h·Rᵀ."""
        return self.walk.op("MatMul", h, self.recurrent)


_PLAIN = ("Tanh", "Sigmoid", "Relu", "Softsign", "Softplus")
_TAKES_ALPHA = ("LeakyRelu", "ThresholdedRelu", "HardSigmoid", "Elu", "Affine", "ScaledTanh")
_TAKES_BETA = ("HardSigmoid", "Affine", "ScaledTanh")


def _rnn_step(layer: _Layer, x: str, states: list[str]) -> list[str]:
    total = layer.add(x, layer.project(states[0]), layer.recurrent_bias)
    return [layer.activations[0](layer.clip(total))]


def _gru_step(layer: _Layer, x: str, states: list[str]) -> list[str]:
    (h,), walk, width = states, layer.walk, layer.hidden
    f, g = layer.activations
    xz, xr, xh = layer.gates(x)
    both, last = split(walk, layer.recurrent, [2 * width, width], 1)
    bias, last_bias = "", ""
    if layer.recurrent_bias:
        bias, last_bias = split(walk, layer.recurrent_bias, [2 * width, width], 0)
    hz, hr = split(walk, layer.add(walk.op("MatMul", h, both), bias), [width, width], 1)
    z = f(layer.clip(layer.add(xz, hz)))
    r = f(layer.clip(layer.add(xr, hr)))
    if layer.attrs.get("linear_before_reset", 0):
        inner = walk.op("Mul", r, layer.add(walk.op("MatMul", h, last), last_bias))
    else:
        inner = layer.add(walk.op("MatMul", walk.op("Mul", r, h), last), last_bias)
    candidate = g(layer.clip(layer.add(xh, inner)))
    rest = walk.op("Sub", real(walk, 1.0), z)
    return [layer.add(walk.op("Mul", rest, candidate), walk.op("Mul", z, h))]


def _lstm_step(layer: _Layer, x: str, states: list[str]) -> list[str]:
    (h, c), walk = states, layer.walk
    f, g, output = layer.activations
    total = layer.add(x, layer.project(h), layer.recurrent_bias)
    gate_i, gate_o, gate_f, gate_c = layer.gates(total)

    def peep(gate: str, number: int, state: str) -> str:
        if layer.peepholes is None:
            return gate
        return layer.add(gate, walk.op("Mul", layer.peepholes[number], state))

    i = f(layer.clip(peep(gate_i, 0, c)))
    if layer.attrs.get("input_forget", 0):
        forget = walk.op("Sub", real(walk, 1.0), i)
    else:
        forget = f(layer.clip(peep(gate_f, 2, c)))
    candidate = g(layer.clip(gate_c))
    cell = layer.add(walk.op("Mul", forget, c), walk.op("Mul", i, candidate))
    o = f(layer.clip(peep(gate_o, 1, cell)))
    return [walk.op("Mul", o, output(cell)), cell]


def _unroll(
    node: onnx.NodeProto,
    walk: Walk,
    step: _Step,
    *,
    gates: int,
    states: int,
    default: tuple[str, ...],
) -> bool:
    attrs = attributes(node)
    batch_first = attrs.get("layout", 0)
    x = node.input[0]
    if batch_first:
        x = walk.op("Transpose", x, perm=[1, 0, 2])
    steps, batch, _ = walk.shape(x)
    lengths = _lengths(node, walk, steps, batch)
    directions = walk.shape(node.input[1])[0]
    rows, lasts = [], []
    for direction in range(directions):
        layer = _Layer(node, walk, direction, gates, default)
        start = _start(node, layer, direction, states, batch, batch_first=batch_first)
        backward = direction == 1 or attrs.get("direction", "forward") == "reverse"
        row, last = _run(layer, step, x, start, lengths, backward=backward)
        rows.append(row)
        lasts.append(last)
    _outputs(node, walk, rows, lasts, batch_first=batch_first)
    return True


def _lengths(node: onnx.NodeProto, walk: Walk, steps: int, batch: int) -> np.ndarray[Any, Any]:
    """Return the length of each sequence of the batch."""
    name = optional(node, 4)
    if not name:
        return np.full(batch, steps)
    value = walk.constant(name)
    if value is None:
        raise UnsupportedModel(f"{node.op_type}: sequence_lens must be a constant")
    return value


def _start(
    node: onnx.NodeProto,
    layer: _Layer,
    direction: int,
    states: int,
    batch: int,
    *,
    batch_first: bool,
) -> list[str]:
    """Return the initial states, [batch, hidden] each."""
    walk = layer.walk
    result = []
    for number in range(states):
        name = optional(node, 5 + number)
        if name:
            result.append(unstack(walk, name, 1 if batch_first else 0)[direction])
        else:
            result.append(walk.const(np.zeros((batch, layer.hidden), dtype=np.float32)))
    return result


def _run(
    layer: _Layer,
    step: _Step,
    x: str,
    states: list[str],
    lengths: np.ndarray[Any, Any],
    *,
    backward: bool,
) -> tuple[list[str], list[str]]:
    """Return H of every step (zero behind a sequence's end) and the last states."""
    walk = layer.walk
    steps, batch, size = walk.shape(x)
    flat = walk.op("MatMul", reshape(walk, x, [steps * batch, size]), layer.weights)
    flat = layer.add(flat, layer.bias)
    products = unstack(walk, reshape(walk, flat, [steps, batch, walk.shape(flat)[1]]), 0)
    row = [""] * steps
    zero = walk.const(np.zeros((batch, layer.hidden), dtype=np.float32))
    for t in reversed(range(steps)) if backward else range(steps):
        new = step(layer, products[t], states)
        row[t] = new[0]
        if (alive := t < lengths).all():
            states = new
        else:
            mask = walk.const(alive.reshape(batch, 1))
            states = [walk.op("Where", mask, a, b) for a, b in zip(new, states, strict=True)]
            row[t] = walk.op("Where", mask, new[0], zero)
    return row, states


def _outputs(
    node: onnx.NodeProto,
    walk: Walk,
    rows: list[list[str]],
    lasts: list[list[str]],
    *,
    batch_first: bool,
) -> None:
    """Name the outputs: Y [steps, directions, batch, hidden], Y_h and Y_c [directions, batch,
    hidden]; with layout 1 the batch comes first.
    """
    names = [*node.output, "", ""]
    if names[0]:
        y = stack(walk, [stack(walk, list(step), 0) for step in zip(*rows, strict=True)], 0)
        order = [2, 0, 1, 3] if batch_first else [0, 1, 2, 3]
        walk.op("Transpose", y, outputs=names[:1], perm=order)
    for number in range(len(lasts[0])):
        if name := names[1 + number]:
            state = stack(walk, [last[number] for last in lasts], 0)
            order = [1, 0, 2] if batch_first else [0, 1, 2]
            walk.op("Transpose", state, outputs=[name], perm=order)
