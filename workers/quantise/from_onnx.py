"""A float ONNX model as a source: onnx2tf makes a TensorFlow function of it, offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.quantisation import Activations
from workers.models.reference import OnnxReference
from workers.models.shapes import Shapes
from workers.quantise import libraries
from workers.quantise.converter import convert
from workers.quantise.onnx_to_tensorflow import input_name, to_tensorflow
from workers.quantise.source import difference, probe, read_float, refuse_other_numbers

Array = NDArray[Any]
Permutation = tuple[int, ...] | None


class OnnxModel:
    """A float ONNX model, run by onnxruntime, its inputs in the layout the model declares."""

    remarks: tuple[str, ...] = ()

    def __init__(self, data: bytes, name: str, shapes: Shapes, scratch: Path) -> None:
        """Check and load `data`; `scratch` is a folder for the conversion.

        Raises:
            Rejection: see `read_float`.
        """
        self._data, self.boundary = read_float(data, name, shapes)
        self._scratch = scratch
        self._float = OnnxReference(self._data)
        self.reference = self._float.name

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """See `FloatModel.run`."""
        return self._float.run(inputs)

    def quantise(self, samples: Sequence[Sequence[Array]], activations: Activations) -> bytes:
        """See `FloatModel.quantise`."""
        tf = libraries.tensorflow()
        model = to_tensorflow(self._data, self._scratch)
        function = self._same_layout(tf, model, probe(samples))
        return convert(tf, function, self.boundary.inputs, samples, activations)

    def _same_layout(self, tf: Any, model: Any, sample: Sequence[Array]) -> Callable[..., Any]:
        """Return the function that computes on the ONNX model's own layout, in its own order.

        onnx2tf moves channels last wherever it sees fit. Which inputs and outputs it moved is
        found by trying: only the right choice gives onnxruntime's numbers.
        """
        expected = self.run(sample)
        names = [tensor.name for tensor in model.inputs]
        order = [names.index(input_name(i)) for i in range(len(names))]
        shapes = [
            (s.shape, tuple(model.inputs[i].shape))
            for s, i in zip(self.boundary.inputs, order, strict=True)
        ]
        choices = [_moves(ours, theirs) for ours, theirs in shapes]
        best: tuple[float, Any] = (float("inf"), None)
        for moves in product(*choices):
            function = _function(tf, model, order, moves)
            raw = [np.asarray(value) for value in function(*map(tf.constant, sample))]
            back, off = _match(raw, expected)
            if off <= best[0]:
                best = off, _function(tf, model, order, moves, back or None)
        found: Callable[..., Any] = best[1]
        got = [np.asarray(value) for value in found(*map(tf.constant, sample))]
        refuse_other_numbers("TensorFlow by onnx2tf", got, expected, self.reference)
        return found


def _moves(ours: tuple[int, ...], theirs: tuple[int, ...]) -> list[Permutation]:
    """Return the permutations of `ours` that may give `theirs`: none, or channels last."""
    last = (0, *range(2, len(ours)), 1)
    moves: list[Permutation] = [None] if ours == theirs else []
    if len(ours) > 2 and tuple(ours[axis] for axis in last) == theirs:
        moves.insert(0, last)
    return moves or [None]


def _function(
    tf: Any,
    model: Any,
    order: Sequence[int],
    moves: Sequence[Permutation],
    back: Sequence[tuple[int, Permutation]] | None = None,
) -> Callable[..., Any]:
    def run(*values: Any) -> list[Any]:
        moved: list[Any] = [None] * len(values)
        for place, value, move in zip(order, values, moves, strict=True):
            moved[place] = _moved(tf, value, move)
        answers = tf.nest.flatten(model(moved if len(moved) > 1 else moved[0], training=False))
        if back is None:
            return list(answers)
        return [_moved(tf, answers[i], move) for i, move in back]

    return run


def _moved(tf: Any, value: Any, move: Permutation) -> Any:
    """Transpose `value`; if only dimensions of size 1 change places, reshape it, which is free."""
    if move is None:
        return value
    shape = tuple(value.shape)
    kept = [axis for axis in move if shape[axis] != 1]
    if kept == sorted(kept):
        return tf.reshape(value, [shape[axis] for axis in move])
    return tf.transpose(value, move)


def _match(
    raw: Sequence[Array], expected: Sequence[Array]
) -> tuple[list[tuple[int, Permutation]], float]:
    """Return, for each of `expected`, which of `raw` it is and how to move its channels back.

    The second value is the largest difference found, by that output's range.
    """
    found: list[tuple[int, Permutation]] = []
    worst = 0.0
    free = list(range(len(raw)))
    for want in expected:
        options = [(o, i, move) for i in free for move, o in _offs(raw[i], want)]
        if not options:
            return [], float("inf")
        off, index, move = min(options, key=lambda option: option[:2])
        free.remove(index)
        found.append((index, move))
        worst = max(worst, off)
    return found, worst


def _offs(got: Array, want: Array) -> Iterator[tuple[Permutation, float]]:
    first = (0, want.ndim - 1, *range(1, want.ndim - 1)) if want.ndim > 2 else None
    for move in dict.fromkeys((None, first)):
        value = got if move is None else np.transpose(got, move)
        if value.shape == want.shape:
            yield move, difference(value, want)
