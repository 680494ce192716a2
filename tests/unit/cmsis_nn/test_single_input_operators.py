"""Activations, conversions, resizes, data movement and transposed convolution against TFLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.unit.cmsis_nn.draws import (
    clamps,
    paddings,
    scales,
    seeds,
    weighted,
    weights,
    zero_points,
)
from tests.unit.cmsis_nn.random_cases import Case, amounts, check
from tests.unit.cmsis_nn.schema import Model, Op, T
from workers.compilers.cmsis_nn.options import (
    ConcatenationOptions,
    LeakyReluOptions,
    PackOptions,
    ResizeBilinearOptions,
    ResizeNearestNeighborOptions,
    SplitOptions,
    StridedSliceOptions,
    TransposeConvOptions,
    UnpackOptions,
)

_WIDE = ("int16", "int32", "float32")


def _shape(draw: st.DrawFn, low: int = 1, high: int = 4) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.integers(1, 6), min_size=low, max_size=high)))


def _ints(model: Model, values: object) -> int:
    data = np.array(values, np.int32)
    return model.add(T(data.shape, "int32", data=data))


def _activation(draw, model, name, target, options=None, scale=None):
    one = draw(scales) if scale is None else scale
    # a long row, so that every int8 value occurs
    shape = draw(st.sampled_from([(256,), (2, 150), (1, 5, 5, 12)]))
    source = model.input(T(shape, "int8", one, draw(zero_points)))
    output = T(shape, "int8", *target(one, model.tensors[source].zero))
    model.outputs.append(model.op(name, (source,), output, options))


def _any_target(draw):
    return lambda one, zero: (one * 2.0 ** draw(st.floats(-3, 3)), draw(zero_points))


def relu(draw: st.DrawFn, model: Model) -> None:
    _activation(draw, model, "RELU", _any_target(draw))


def relu6(draw: st.DrawFn, model: Model) -> None:
    _activation(draw, model, "RELU6", lambda one, zero: (one, zero))


def leaky_relu(draw: st.DrawFn, model: Model) -> None:
    alpha = draw(st.floats(-0.5, 2, width=32))
    _activation(draw, model, "LEAKY_RELU", _any_target(draw), LeakyReluOptions(alpha))


def logistic(draw: st.DrawFn, model: Model) -> None:
    _activation(draw, model, "LOGISTIC", lambda one, zero: (1 / 256, -128))


def tanh(draw: st.DrawFn, model: Model) -> None:
    _activation(draw, model, "TANH", lambda one, zero: (1 / 128, 0))


def hard_swish(draw: st.DrawFn, model: Model) -> None:
    _activation(draw, model, "HARD_SWISH", _any_target(draw))


def requantize(draw: st.DrawFn, model: Model) -> None:
    _activation(draw, model, "QUANTIZE", _any_target(draw))


def quantize(draw: st.DrawFn, model: Model) -> None:
    shape, kind = _shape(draw), draw(st.sampled_from(["int8", "int16"]))
    zero = draw(zero_points) if kind == "int8" else 0
    source = model.input(T(shape, "float32"))
    model.outputs.append(model.op("QUANTIZE", (source,), T(shape, kind, draw(scales), zero)))


def dequantize(draw: st.DrawFn, model: Model) -> None:
    shape, kind = _shape(draw), draw(st.sampled_from(["int8", "int16"]))
    zero = draw(zero_points) if kind == "int8" else 0
    source = model.input(T(shape, kind, draw(scales), zero))
    model.outputs.append(model.op("DEQUANTIZE", (source,), T(shape, "float32")))


def _kind(draw: st.DrawFn, *others: str) -> tuple:
    """A tensor's type and quantisation: mostly int8, else one of `others`."""
    dtype = draw(st.sampled_from(["int8", "int8", *others]))
    if dtype == "int8":
        return dtype, draw(scales), draw(zero_points)
    return (dtype, draw(scales), 0) if dtype == "int16" else (dtype,)


def _moved(
    draw: st.DrawFn, low: int = 1, high: int = 4, others: Sequence[str] = ()
) -> tuple[tuple[int, ...], tuple]:
    return _shape(draw, low, high), _kind(draw, *others)


def _constant(rng: np.random.Generator, shape: tuple[int, ...], kind: tuple) -> T:
    return T(shape, *kind, data=rng.integers(-128, 128, shape).astype(kind[0]))


def reshape(draw: st.DrawFn, model: Model) -> None:
    shape, kind = _moved(draw, others=_WIDE)
    source = model.input(T(shape, *kind))
    total = int(np.prod(shape))
    target = draw(st.sampled_from([(total,), (1, total), (total, 1, 1)]))
    numbers = (source, _ints(model, target))
    model.outputs.append(model.op("RESHAPE", numbers, T(target, *kind)))


def squeeze(draw: st.DrawFn, model: Model) -> None:
    shape, kind = _moved(draw, others=_WIDE)
    source = model.input(T(shape, *kind))
    target = tuple(n for n in shape if n > 1)
    model.outputs.append(model.op("SQUEEZE", (source,), T(target, *kind)))


def expand_dims(draw: st.DrawFn, model: Model) -> None:
    shape, kind = _moved(draw, others=("int16", "float32"))  # the types that TFLM has it for
    axis = draw(st.integers(0, len(shape)))
    source = model.input(T(shape, *kind))
    target = (*shape[:axis], 1, *shape[axis:])
    numbers = (source, _ints(model, axis))
    model.outputs.append(model.op("EXPAND_DIMS", numbers, T(target, *kind)))


def transpose(draw: st.DrawFn, model: Model) -> None:
    shape, kind = _moved(draw, 2, others=("int16", "float32"))
    order = draw(st.permutations(range(len(shape))))
    source = model.input(T(shape, *kind))
    target = T(tuple(shape[a] for a in order), *kind)
    model.outputs.append(model.op("TRANSPOSE", (source, _ints(model, order)), target))


def _pad(draw: st.DrawFn, model: Model, name: str) -> None:
    shape, kind = _moved(draw, others=_WIDE)
    amounts_ = [[draw(st.integers(0, 2)), draw(st.integers(0, 2))] for _ in shape]
    source = model.input(T(shape, *kind))
    target = T(tuple(n + sum(a) for n, a in zip(shape, amounts_, strict=True)), *kind)
    numbers = [source, _ints(model, amounts_)]
    if name == "PADV2":
        numbers.append(model.add(_constant(np.random.default_rng(draw(seeds)), (1,), kind)))
    model.outputs.append(model.op(name, numbers, target))


def pad(draw: st.DrawFn, model: Model) -> None:
    _pad(draw, model, "PAD")


def padv2(draw: st.DrawFn, model: Model) -> None:
    _pad(draw, model, "PADV2")


def slice_(draw: st.DrawFn, model: Model) -> None:
    shape, kind = _moved(draw, others=_WIDE)
    begin = [draw(st.integers(0, n - 1)) for n in shape]
    size = [draw(st.integers(1, n - b)) for n, b in zip(shape, begin, strict=True)]
    counts = tuple(size)
    if draw(st.booleans()):
        size = [-1 if s == n - b else s for s, n, b in zip(size, shape, begin, strict=True)]
    source = model.input(T(shape, *kind))
    numbers = (source, _ints(model, begin), _ints(model, size))
    model.outputs.append(model.op("SLICE", numbers, T(counts, *kind)))


def strided_slice(draw: st.DrawFn, model: Model) -> None:
    shape, kind = _moved(draw, others=_WIDE)
    parts, masks = [], [0, 0, 0]
    counts: list[int] = []
    for axis, n in enumerate(shape):
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        start, stop = draw(st.integers(0, n - 1)), draw(st.integers(0, n - 1))
        start, stop = (min(start, stop), max(start, stop) + 1)[:: 1 if step > 0 else -1]
        if step < 0:
            start, stop = start - 1, stop - 1
        chosen = [draw(st.integers(0, 4)) == 0 for _ in range(3)]
        if chosen[2] and len(shape) > 1:
            masks[2] |= 1 << axis
            parts.append((start, start + 1, 1))
            continue
        masks[0] |= chosen[0] << axis
        masks[1] |= chosen[1] << axis
        index = slice(None if chosen[0] else start, None if chosen[1] or stop < 0 else stop, step)
        counts.append(len(range(n)[index]))
        begin = start - n if draw(st.booleans()) else start
        parts.append((begin, stop if stop >= 0 else -n - 1, step))
    source = model.input(T(shape, *kind))
    numbers = [source] + [_ints(model, [part[k] for part in parts]) for k in range(3)]
    options = StridedSliceOptions(masks[0], masks[1], 0, 0, masks[2], False)
    model.outputs.append(model.op("STRIDED_SLICE", numbers, T(tuple(counts), *kind), options))


def concatenation(draw: st.DrawFn, model: Model) -> None:
    shape, kind = _moved(draw, others=_WIDE)
    axis, count = draw(st.integers(0, len(shape) - 1)), draw(st.integers(1, 4))
    sizes = [draw(st.integers(1, 5)) for _ in range(count)]
    rng = np.random.default_rng(draw(seeds))
    numbers = []
    for size in sizes:
        part = (*shape[:axis], size, *shape[axis + 1 :])
        if draw(st.integers(0, 4)) == 0 and numbers:
            numbers.append(model.add(_constant(rng, part, kind)))
        else:
            numbers.append(model.input(T(part, *kind)))
    target = T((*shape[:axis], sum(sizes), *shape[axis + 1 :]), *kind)
    signed = axis - len(shape) if draw(st.booleans()) else axis
    options = ConcatenationOptions(signed, 0)
    model.outputs.append(model.op("CONCATENATION", numbers, target, options))


def _several(model: Model, name: str, inputs, shapes, kind, options=None) -> None:
    outputs = tuple(model.add(T(tuple(shape), *kind)) for shape in shapes)
    model.operators.append(Op(name, tuple(inputs), outputs, options))
    model.outputs += outputs


def split(draw: st.DrawFn, model: Model) -> None:
    shape, kind = _moved(draw, others=_WIDE)
    axis, count = draw(st.integers(0, len(shape) - 1)), draw(st.integers(1, 4))
    whole = (*shape[:axis], shape[axis] * count, *shape[axis + 1 :])
    source = model.input(T(whole, *kind))
    which = model.add(T((), "int32", data=np.array(axis, np.int32)))
    _several(model, "SPLIT", (which, source), [shape] * count, kind, SplitOptions(count))


def split_v(draw: st.DrawFn, model: Model) -> None:
    shape, kind = _moved(draw, others=_WIDE)
    axis = draw(st.integers(0, len(shape) - 1))
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    parts = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
    source = model.input(T((*shape[:axis], sum(sizes), *shape[axis + 1 :]), *kind))
    which = model.add(T((), "int32", data=np.array(axis, np.int32)))
    _several(model, "SPLIT_V", (source, _ints(model, sizes), which), parts, kind)


def pack(draw: st.DrawFn, model: Model) -> None:
    shape, kind = _moved(draw, 1, 3, _WIDE)
    axis, count = draw(st.integers(0, len(shape))), draw(st.integers(1, 4))
    numbers = [model.input(T(shape, *kind)) for _ in range(count)]
    target = T((*shape[:axis], count, *shape[axis:]), *kind)
    model.outputs.append(model.op("PACK", numbers, target, PackOptions(count, axis)))


def unpack(draw: st.DrawFn, model: Model) -> None:
    shape, kind = _moved(draw, 2, others=_WIDE)
    axis = draw(st.integers(0, len(shape) - 1))
    part = shape[:axis] + shape[axis + 1 :]
    source = model.input(T(shape, *kind))
    _several(
        model, "UNPACK", (source,), [part] * shape[axis], kind, UnpackOptions(shape[axis], axis)
    )


def _resize(draw: st.DrawFn, model: Model, name: str, kind: type) -> None:
    shape, tensor = _moved(draw, 4)
    size = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    aligned, centred = draw(st.sampled_from([(0, 0), (0, 1), (1, 0)]))
    source = model.input(T(shape, *tensor))
    target = T((shape[0], *size, shape[3]), *tensor)
    numbers = (source, _ints(model, size))
    model.outputs.append(model.op(name, numbers, target, kind(bool(aligned), bool(centred))))


def resize_nearest(draw: st.DrawFn, model: Model) -> None:
    _resize(draw, model, "RESIZE_NEAREST_NEIGHBOR", ResizeNearestNeighborOptions)


def resize_bilinear(draw: st.DrawFn, model: Model) -> None:
    _resize(draw, model, "RESIZE_BILINEAR", ResizeBilinearOptions)


def transpose_conv(draw: st.DrawFn, model: Model) -> None:
    rng = np.random.default_rng(draw(seeds))
    window = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    depth, channels, padding = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(paddings)
    shape = [
        n * s if padding == 0 else (n - 1) * s + w
        for n, s, w in zip(size, stride, window, strict=True)
    ]
    one, out = draw(scales), draw(scales)
    source = model.input(T((1, *size, depth), "int8", one, draw(zero_points)))
    data = weights(rng, (channels, *window, depth))
    wide, biased = draw(st.booleans()), draw(st.booleans())
    reach = depth * window[0] * window[1]
    numbers = weighted(model, rng, data, one, out, 0, reach, per_channel=wide, bias=biased)
    target = T((1, *shape, channels), "int8", out, draw(zero_points))
    where = _ints(model, target.shape)
    options = TransposeConvOptions(padding, stride[1], stride[0], draw(clamps))
    inputs = (where, numbers[0], source, *numbers[1:])
    model.outputs.append(model.op("TRANSPOSE_CONV", inputs, target, options))


CASES = [
    relu,
    relu6,
    leaky_relu,
    logistic,
    tanh,
    hard_swish,
    requantize,
    quantize,
    dequantize,
    reshape,
    squeeze,
    expand_dims,
    transpose,
    pad,
    padv2,
    slice_,
    strided_slice,
    concatenation,
    split,
    split_v,
    pack,
    unpack,
    resize_nearest,
    resize_bilinear,
    transpose_conv,
]


@amounts
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_random_cases_equal_tflm(case: Case, wanted: int, tmp_path: Path) -> None:
    check(case, tmp_path, wanted)
