"""Pools, softmax, element-wise arithmetic and reductions against TFLM, at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.unit.cmsis_nn.draws import clamps, out_size, paddings, scales, seeds, zero_points
from tests.unit.cmsis_nn.random_cases import Case, amounts, check
from tests.unit.cmsis_nn.running import Oracle, assert_equal, compiled
from tests.unit.cmsis_nn.schema import Model, T
from workers.compilers.cmsis_nn.options import (
    AddOptions,
    MulOptions,
    Pool2DOptions,
    ReducerOptions,
    SoftmaxOptions,
    SubOptions,
)


def _pool(draw: st.DrawFn, model: Model, name: str) -> None:
    window = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size = tuple(draw(st.integers(w, w + 5)) for w in window)
    batch, depth, padding = draw(st.integers(1, 2)), draw(st.integers(1, 9)), draw(paddings)
    scale, zero = draw(scales), draw(zero_points)
    source = model.input(T((batch, *size, depth), "int8", scale, zero))
    shape = [out_size(s, w, t, 1, padding) for s, w, t in zip(size, window, stride, strict=True)]
    options = Pool2DOptions(padding, stride[1], stride[0], window[1], window[0], draw(clamps))
    target = T((batch, *shape, depth), "int8", scale, zero)
    model.outputs.append(model.op(name, (source,), target, options))


def average_pool(draw: st.DrawFn, model: Model) -> None:
    _pool(draw, model, "AVERAGE_POOL_2D")


def max_pool(draw: st.DrawFn, model: Model) -> None:
    _pool(draw, model, "MAX_POOL_2D")


def softmax(draw: st.DrawFn, model: Model) -> None:
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    shape = (*shape[:-1], draw(st.integers(1, 60)))
    scale = draw(st.floats(-14, 2).map(lambda e: float(np.float32(2.0**e))))
    source = model.input(T(shape, "int8", scale, draw(zero_points)))
    target = T(shape, "int8", 1 / 256, -128)
    beta = draw(st.sampled_from([1.0, 1.0, 0.5, 2.0]))
    model.outputs.append(model.op("SOFTMAX", (source,), target, SoftmaxOptions(beta)))


def _shapes(draw: st.DrawFn) -> tuple[tuple[int, ...], ...]:
    """Two shapes that broadcast, and the result's."""
    rank = draw(st.integers(1, 4))
    target = tuple(draw(st.integers(1, 5)) for _ in range(rank))
    parts = []
    for _ in range(2):
        kept = tuple(n if draw(st.integers(0, 3)) else 1 for n in target)
        parts.append(kept[draw(st.integers(0, rank - 1)) :] if draw(st.booleans()) else kept)
    if draw(st.booleans()):
        parts = [target, target]
    shape = np.broadcast_shapes(*parts)
    return parts[0], parts[1], tuple(shape)


def _operands(
    draw: st.DrawFn, model: Model, quantisation: list[tuple[float, int]]
) -> tuple[list[int], tuple[int, ...]]:
    first, second, shape = _shapes(draw)
    rng = np.random.default_rng(draw(seeds))
    constant = draw(st.sampled_from([-1, -1, 0, 1]))
    numbers = []
    for position, part in enumerate((first, second)):
        data = rng.integers(-128, 128, part).astype(np.int8) if position == constant else None
        tensor = T(part, "int8", *quantisation[position], data)
        numbers.append(model.add(tensor) if position == constant else model.input(tensor))
    return numbers, shape


def _sum(draw: st.DrawFn, model: Model, name: str) -> None:
    one, two = draw(scales), draw(scales)
    # TFLM refuses results 2^19 times finer than the inputs
    out = max(one, two) * 2.0 ** draw(st.floats(-6, 4))
    quantisation = [(one, draw(zero_points)), (two, draw(zero_points))]
    numbers, shape = _operands(draw, model, quantisation)
    kind = AddOptions if name == "ADD" else SubOptions
    target = T(shape, "int8", out, draw(zero_points))
    model.outputs.append(model.op(name, numbers, target, kind(draw(clamps), False)))


def add(draw: st.DrawFn, model: Model) -> None:
    _sum(draw, model, "ADD")


def sub(draw: st.DrawFn, model: Model) -> None:
    _sum(draw, model, "SUB")


def mul(draw: st.DrawFn, model: Model) -> None:
    one, two = draw(scales), draw(scales)
    out = one * two * 2.0 ** draw(st.floats(-3, 10))
    quantisation = [(one, draw(zero_points)), (two, draw(zero_points))]
    numbers, shape = _operands(draw, model, quantisation)
    target = T(shape, "int8", out, draw(zero_points))
    model.outputs.append(model.op("MUL", numbers, target, MulOptions(draw(clamps))))


def prelu(draw: st.DrawFn, model: Model) -> None:
    one, two = draw(scales), draw(scales)
    out = one * 2.0 ** draw(st.floats(-3, 3))
    quantisation = [(one, draw(zero_points)), (two, draw(zero_points))]
    numbers, shape = _operands(draw, model, quantisation)
    target = T(shape, "int8", out, draw(zero_points))
    model.outputs.append(model.op("PRELU", numbers, target))


def _compare(draw: st.DrawFn, model: Model, name: str) -> None:
    quantisation = draw(scales), draw(zero_points)
    numbers, shape = _operands(draw, model, [quantisation] * 2)
    model.outputs.append(model.op(name, numbers, T(shape, "int8", *quantisation)))


def minimum(draw: st.DrawFn, model: Model) -> None:
    _compare(draw, model, "MINIMUM")


def maximum(draw: st.DrawFn, model: Model) -> None:
    _compare(draw, model, "MAXIMUM")


def _reduce(draw: st.DrawFn, model: Model, name: str) -> None:
    rank = draw(st.integers(1, 4))
    shape = tuple(draw(st.integers(1, 6)) for _ in range(rank))
    axes = draw(st.lists(st.integers(-rank, rank - 1), min_size=1, max_size=3))
    gone = {axis % rank for axis in axes}
    keep = draw(st.booleans())
    kept = [1 if d in gone else n for d, n in enumerate(shape) if keep or d not in gone]
    one = draw(scales)
    count = np.prod([shape[d] for d in gone]) if name == "SUM" else 1
    out = one * float(count) ** 0.5 * 2.0 ** draw(st.floats(-3, 3))
    source = model.input(T(shape, "int8", one, draw(zero_points)))
    which = model.add(T((len(axes),), "int32", data=np.array(axes)))
    target = T(tuple(kept), "int8", out, draw(zero_points))
    model.outputs.append(model.op(name, (source, which), target, ReducerOptions(keep)))


def mean(draw: st.DrawFn, model: Model) -> None:
    _reduce(draw, model, "MEAN")


def sum_(draw: st.DrawFn, model: Model) -> None:
    _reduce(draw, model, "SUM")


CASES = [
    average_pool,
    max_pool,
    softmax,
    add,
    sub,
    mul,
    prelu,
    minimum,
    maximum,
    mean,
    sum_,
]


@amounts
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_random_cases_equal_tflm(case: Case, wanted: int, tmp_path: Path) -> None:
    check(case, tmp_path, wanted)


@pytest.mark.parametrize("scale", [16.0, 31.0, 32.0, 1e4, 1e20])
def test_softmax_of_a_scale_beyond_its_multiplier_equals_tflm(scale: float, tmp_path: Path) -> None:
    """TFLM limits the multiplier to 2^31 - 1: from then on only the largest elements count."""
    model = Model()
    source = model.input(T((3, 5), "int8", scale, 3))
    target = T((3, 5), "int8", 1 / 256, -128)
    model.outputs.append(model.op("SOFTMAX", (source,), target, SoftmaxOptions(1.0)))
    data = model.to_bytes()
    given = [np.array([[1, 2, 3, 3, 2], [0] * 5, [-128, 127, 126, 125, 127]], np.int8)]
    assert_equal(compiled(data, tmp_path).run(given), Oracle(data).run(given, 1))
