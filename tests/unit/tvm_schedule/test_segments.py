"""Segments cover an axis once; free ones hold no point at which a guard can fail."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("tvm")


def _points(segments: list[Any]) -> list[int]:
    return [
        segment.start + tile * segment.stride + i
        for segment in segments
        for tile in range(segment.count)
        for i in range(segment.size)
    ]


@given(
    extent=st.integers(1, 40),
    size=st.integers(1, 12),
    bounds=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    fixed=st.booleans(),
)
def test_every_point_once_and_free_means_free(
    extent: int, size: int, bounds: tuple[int, int], fixed: bool
) -> None:
    from workers.compilers.tvm.schedule.segments import cut

    low, high = sorted(min(b, extent) for b in bounds)
    free = range(low, high) if low < high else range(0)
    segments = cut(extent, size, free, fixed_borders=fixed)
    assert sorted(_points(segments)) == list(range(extent))
    for segment in segments:
        if segment.free:
            assert set(_points([segment])) <= set(free)
        else:
            assert segment.count == 1 or segment.size == 1


@settings(deadline=None)
@given(
    extent=st.integers(1, 20),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    pad=st.integers(0, 6),
    size=st.integers(1, 20),
)
def test_free_range_is_where_no_tap_is_outside(
    extent: int, kernel: int, stride: int, dilation: int, pad: int, size: int
) -> None:
    from tvm import tirx

    from workers.compilers.tvm.schedule.nest import make_guards
    from workers.compilers.tvm.schedule.segments import free_range

    x, r = tirx.Var("x", "int32"), tirx.Var("r", "int32")
    place = x * stride + r * dilation
    extents = {x: extent, r: kernel}
    guards = make_guards([tirx.all(place >= pad, place < pad + size)], extents)
    free = free_range(x, extent, guards, extents)

    def inside(at: int) -> bool:
        return all(0 <= at * stride + k * dilation - pad < size for k in range(kernel))

    assert list(free) == [at for at in range(extent) if inside(at)]


def test_affine_forms_agree_with_evaluation() -> None:
    from tvm import tirx

    from workers.compilers.tvm.schedule.terms import linear

    a, b = tirx.Var("a", "int64"), tirx.Var("b", "int64")
    one = tirx.IntImm("int64", 1)
    form = linear((a * 3 - b) * 2 + (b + one) * 5 - a)
    assert form is not None
    for va, vb in product(range(4), range(4)):
        value = form.const + form.coefs.get(a, 0) * va + form.coefs.get(b, 0) * vb
        assert value == (va * 3 - vb) * 2 + (vb + 1) * 5 - va
    assert linear(a * b) is None
    assert linear(tirx.floordiv(a, tirx.IntImm("int64", 2))) is None
