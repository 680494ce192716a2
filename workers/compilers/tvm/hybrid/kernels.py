"""The arithmetic of TFLite's hybrid kernels: quantise the input as it is, multiply in integers.

Sources: TensorFlow Lite's documentation of dynamic-range quantisation and the behaviour of its
reference kernels, which the tests compare bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import s_tir, te, tirx, topi

KEEP = "tinymlaas.keep"
_INT8_MAX = 127
_INT8_MIN = -128
_INT8_STEPS = 255
_STEPS = (4, 2, 1)
_OPAQUE = 8


def convolution(
    data: Any, weights: Any, stride: Sequence[int], dilation: Sequence[int], pad: Sequence[int]
) -> Any:
    """Return int32 sums of a convolution.

    `data` is NHWC, `weights` OHWI, `pad` in the order top, left, bottom, right.
    """
    padded = _padded(data, pad)
    _, height, width, channels = (int(n) for n in weights.shape)
    ry, rx, rc = _axes(height=height, width=width, channel=channels)

    def element(n: Any, y: Any, x: Any, f: Any) -> Any:
        at = (n, y * stride[0] + ry * dilation[0], x * stride[1] + rx * dilation[1], rc)
        return te.sum(_int32(padded(*at)) * _int32(weights(f, ry, rx, rc)), axis=[ry, rx, rc])

    rows, columns = _output_size(padded, (height, width), stride, dilation)
    shape = (int(data.shape[0]), rows, columns, int(weights.shape[0]))
    return te.compute(shape, element, name="hybrid_conv2d")


def depthwise(
    data: Any, weights: Any, stride: Sequence[int], dilation: Sequence[int], pad: Sequence[int]
) -> Any:
    """Return int32 sums of a depthwise convolution: `data` NHWC, `weights` 1HWO."""
    padded = _padded(data, pad)
    _, height, width, channels = (int(n) for n in weights.shape)
    multiplier = channels // int(data.shape[3])
    ry, rx = _axes(height=height, width=width)

    def element(n: Any, y: Any, x: Any, f: Any) -> Any:
        row, column = y * stride[0] + ry * dilation[0], x * stride[1] + rx * dilation[1]
        value = padded(n, row, column, tirx.floordiv(f, multiplier))
        return te.sum(_int32(value) * _int32(weights(0, ry, rx, f)), axis=[ry, rx])

    rows, columns = _output_size(padded, (height, width), stride, dilation)
    shape = (int(data.shape[0]), rows, columns, channels)
    return te.compute(shape, element, name="hybrid_depthwise")


def dense(data: Any, weights: Any) -> Any:
    """Return int32 sums of ``data (rows, k) · weights (units, k)ᵀ``."""
    (k,) = _axes(k=int(weights.shape[1]))

    def element(row: Any, unit: Any) -> Any:
        return te.sum(_int32(data(row, k)) * _int32(weights(unit, k)), axis=[k])

    return te.compute((int(data.shape[0]), int(weights.shape[0])), element, name="hybrid_dense")


def _padded(data: Any, pad: Sequence[int]) -> Any:
    top, left, bottom, right = pad
    if not any(pad):
        return data
    return topi.nn.pad(data, (0, top, left, 0), (0, bottom, right, 0), 0, name="pad_temp")


def _axes(**extents: int) -> list[Any]:
    return [te.reduce_axis((0, extent), name=f"r{name}") for name, extent in extents.items()]


def _int32(value: Any) -> Any:
    return value.astype("int32")


def _output_size(
    padded: Any, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    return [
        (int(padded.shape[1 + i]) - (kernel[i] - 1) * dilation[i] - 1) // stride[i] + 1
        for i in range(2)
    ]


class _Loops:
    """Builds the loops over rows and elements of the quantisers."""

    def __init__(self, rows: int, size: int) -> None:
        self.x = tirx.decl_buffer((rows, size), "float32", name="x")
        self.q = tirx.decl_buffer((rows, size), "int16", name="q")
        self.scale = tirx.decl_buffer((rows,), "float32", name="scale")
        self.rows, self.size = rows, size
        self.row = tirx.Var("row", "int32")

    def local(self, name: str, dtype: str = "float32") -> Any:
        return tirx.decl_buffer((1,), dtype, name=name, scope="local")

    def each(self, name: str, body: Any) -> Any:
        """Return a loop over the elements of a row; `body` gets the index."""
        steps = next(n for n in _STEPS if self.size % n == 0)
        var = tirx.Var(name, "int32")
        bodies = [body(var * steps + n) for n in range(steps)]
        return _loop(var, self.size // steps, bodies[0] if steps == 1 else tirx.SeqStmt(bodies))

    def function(self, inputs: list[Any], statements: list[Any]) -> Any:
        body = _loop(self.row, self.rows, tirx.SeqStmt(statements))
        root = s_tir.SBlockRealize([], True, s_tir.SBlock([], [], [], "root", body))
        func = tirx.PrimFunc([self.x, *inputs, self.q, self.scale], root)
        func = func.with_attr("s_tir", True).with_attr("tirx.noalias", True)
        return func.with_attr("op_pattern", _OPAQUE).with_attr(KEEP, True)


def symmetric_quantizer(rows: int, size: int) -> Any:
    """Return a function (x, factor) -> (q, scale) over `rows` rows of `size` floats.

    Per row: range = max |x|; scale = range / 127 · factor; q = round(x · (127 / range)), halves
    away from zero, as int16. A row of zeros has q = 0 and scale = factor. No q exceeds ±127, for
    |x| · (127 / range) rounds to less than 127.5.
    """
    loops = _Loops(rows, size)
    x, row = loops.x, loops.row
    factor = tirx.decl_buffer((1,), "float32", name="factor")
    peak, inverse = loops.local("peak"), loops.local("inverse")
    largest = _get(peak)
    full = tirx.FloatImm("float32", _INT8_MAX)

    def scaled(j: Any) -> Any:
        return _rounded(_at(x, row, j) * _get(inverse))

    statements = [
        tirx.AllocBuffer(peak),
        tirx.AllocBuffer(inverse),
        _set(peak, tirx.FloatImm("float32", 0.0)),
        loops.each("i", lambda i: _set(peak, tirx.max(largest, tirx.abs(_at(x, row, i))))),
        tirx.IfThenElse(
            largest > tirx.FloatImm("float32", 0.0),
            tirx.SeqStmt(
                [
                    _set(inverse, full / largest),
                    _store(loops.scale, largest / full * _get(factor), row),
                ]
            ),
            tirx.SeqStmt(
                [
                    _set(inverse, tirx.FloatImm("float32", 0.0)),
                    _store(loops.scale, _get(factor), row),
                ]
            ),
        ),
        loops.each("j", lambda j: _store(loops.q, scaled(j).astype("int16"), row, j)),
    ]
    return loops.function([factor], statements)


def _rounded(value: Any) -> Any:
    """Return `value` as int32, halves rounded away from zero.

    With t = trunc(2 · value), which is exact, that is (t + 1) >> 1 for t ≥ 0 and t >> 1 below:
    integer arithmetic, and no comparison of floats.
    """
    doubled = (value * tirx.FloatImm("float32", 2.0)).astype("int32")
    one, sign = tirx.IntImm("int32", 1), tirx.IntImm("int32", 31)
    return tirx.shift_right(doubled + one + tirx.shift_right(doubled, sign), one)


def asymmetric_quantizer(rows: int, size: int) -> Any:
    """Return a function (x) -> (q, scale) over `rows` rows of `size` floats.

    Per row: the range of x and 0 maps to -128 … 127 with a rounded zero point; q =
    clamp(round(x · (1 / scale)) + zero) - zero as int16, so that 0 stands for 0. A row without a
    range has q = 0 and scale = 1.

    The reference computes the zero point in double precision, here it is single: on cores without
    doubles these cost 2.6 kB (Cortex-M4) to 6.8 kB (M0+) of flash, and AVR has none. Of exact ties
    9% get the other neighbour, of rows with random ranges 2 in a million (measured against the
    same in double): then the one end of the range is clamped a step sooner, the other a step later.
    """
    loops = _Loops(rows, size)
    x, row = loops.x, loops.row
    low, high = loops.local("low"), loops.local("high")
    inverse, zero = loops.local("inverse"), loops.local("zero", "int32")
    none = tirx.FloatImm("float32", 0.0)
    one = tirx.FloatImm("float32", 1.0)
    scale, full = _at(loops.scale, row), tirx.FloatImm("float32", _INT8_STEPS)

    def spread(i: Any) -> Any:
        value = _at(x, row, i)
        return tirx.SeqStmt(
            [_set(low, tirx.min(_get(low), value)), _set(high, tirx.max(_get(high), value))]
        )

    statements = [
        *map(tirx.AllocBuffer, (low, high, inverse, zero)),
        _set(low, none),
        _set(high, none),
        loops.each("i", spread),
        tirx.IfThenElse(
            _get(low) < _get(high),
            tirx.SeqStmt(
                [
                    _store(loops.scale, (_get(high) - _get(low)) / full, row),
                    _set(zero, _zero_point(_get(low), _get(high), scale)),
                    _set(inverse, one / scale),
                ]
            ),
            tirx.SeqStmt(
                [
                    _set(zero, tirx.IntImm("int32", 0)),
                    _set(inverse, none),
                    _store(loops.scale, one, row),
                ]
            ),
        ),
        loops.each("j", lambda j: _centred(loops, j, _get(zero), _get(inverse))),
    ]
    return loops.function([], statements)


def _zero_point(smallest: Any, largest: Any, scale: Any) -> Any:
    """Return the zero point: that of the end of the range at which it errs less."""
    qmin, qmax = (tirx.FloatImm("float32", v) for v in (_INT8_MIN, _INT8_MAX))
    low_error = -qmin + tirx.abs(smallest / scale)
    high_error = qmax + tirx.abs(largest / scale)
    exact = tirx.Select(low_error < high_error, qmin - smallest / scale, qmax - largest / scale)
    return _rounded(tirx.max(qmin, tirx.min(qmax, exact)))


def _centred(loops: _Loops, j: Any, zero: Any, inverse: Any) -> Any:
    low, high = (tirx.IntImm("int32", v) for v in (_INT8_MIN, _INT8_MAX))
    value = _rounded(_at(loops.x, loops.row, j) * inverse) + zero
    centred = tirx.max(low, tirx.min(high, value)) - zero
    return _store(loops.q, centred.astype("int16"), loops.row, j)


def _get(buffer: Any) -> Any:
    return _at(buffer, tirx.IntImm("int32", 0))


def _set(buffer: Any, value: Any) -> Any:
    return _store(buffer, value, tirx.IntImm("int32", 0))


def _at(buffer: Any, *indices: Any) -> Any:
    return tirx.BufferLoad(buffer, list(indices))


def _store(buffer: Any, value: Any, *indices: Any) -> Any:
    return tirx.BufferStore(buffer, value, list(indices))


def _loop(var: Any, extent: int, body: Any) -> Any:
    zero, end = tirx.IntImm("int32", 0), tirx.IntImm("int32", extent)
    return tirx.For(var, zero, end, tirx.ForKind.SERIAL, body)
