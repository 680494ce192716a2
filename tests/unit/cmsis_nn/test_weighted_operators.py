"""Convolution, depthwise and fully connected layers against TFLM, at random."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.unit.cmsis_nn.draws import (
    clamps,
    out_size,
    paddings,
    scales,
    seeds,
    weighted,
    weights,
    zero_points,
)
from tests.unit.cmsis_nn.random_cases import Case, amounts, check
from tests.unit.cmsis_nn.schema import Model, T
from workers.compilers.cmsis_nn.options import (
    Conv2DOptions,
    DepthwiseConv2DOptions,
    FullyConnectedOptions,
)


def _window(draw: st.DrawFn) -> tuple[tuple[int, ...], ...]:
    window = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    dilation = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    reach = tuple((w - 1) * d + 1 for w, d in zip(window, dilation, strict=True))
    size = tuple(draw(st.integers(r, r + 5)) for r in reach)
    return window, stride, dilation, size


def _out_shape(
    size: tuple[int, ...],
    window: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: int,
) -> list[int]:
    parts = zip(size, window, stride, dilation, strict=True)
    return [out_size(s, w, t, d, padding) for s, w, t, d in parts]


def conv(draw: st.DrawFn, model: Model) -> None:
    rng = np.random.default_rng(draw(seeds))
    window, stride, dilation, size = _window(draw)
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    depth, channels = draw(st.integers(1, 9)), groups * draw(st.integers(1, 5))
    padding, batch = draw(paddings), draw(st.integers(1, 2))
    in_scale, out_scale = draw(scales), draw(scales)
    source = model.input(T((batch, *size, depth * groups), "int8", in_scale, draw(zero_points)))
    data = weights(rng, (channels, *window, depth))
    numbers = weighted(
        model,
        rng,
        data,
        in_scale,
        out_scale,
        0,
        depth * window[0] * window[1],
        per_channel=draw(st.booleans()),
        bias=draw(st.booleans()),
    )
    shape = _out_shape(size, window, stride, dilation, padding)
    target = T((batch, *shape, channels), "int8", out_scale, draw(zero_points))
    options = Conv2DOptions(padding, stride[1], stride[0], dilation[1], dilation[0], draw(clamps))
    model.outputs.append(model.op("CONV_2D", (source, *numbers), target, options))


def depthwise(draw: st.DrawFn, model: Model) -> None:
    rng = np.random.default_rng(draw(seeds))
    window, stride, dilation, size = _window(draw)
    depth, multiplier = draw(st.integers(1, 9)), draw(st.sampled_from([1, 1, 2, 3]))
    padding, batch = draw(paddings), draw(st.integers(1, 2))
    in_scale, out_scale = draw(scales), draw(scales)
    source = model.input(T((batch, *size, depth), "int8", in_scale, draw(zero_points)))
    data = weights(rng, (1, *window, depth * multiplier))
    numbers = weighted(
        model,
        rng,
        data,
        in_scale,
        out_scale,
        3,
        window[0] * window[1],
        per_channel=draw(st.booleans()),
        bias=draw(st.booleans()),
    )
    shape = _out_shape(size, window, stride, dilation, padding)
    target = T((batch, *shape, depth * multiplier), "int8", out_scale, draw(zero_points))
    options = DepthwiseConv2DOptions(
        padding, stride[1], stride[0], multiplier, dilation[1], dilation[0], draw(clamps)
    )
    model.outputs.append(model.op("DEPTHWISE_CONV_2D", (source, *numbers), target, options))


def dense(draw: st.DrawFn, model: Model) -> None:
    rng = np.random.default_rng(draw(seeds))
    depth, channels = draw(st.integers(1, 40)), draw(st.integers(1, 12))
    batch = draw(st.integers(1, 3))
    in_scale, out_scale = draw(scales), draw(scales)
    source = model.input(T((batch, depth), "int8", in_scale, draw(zero_points)))
    data = weights(rng, (channels, depth))
    numbers = weighted(
        model,
        rng,
        data,
        in_scale,
        out_scale,
        0,
        depth,
        per_channel=draw(st.booleans()) and channels > 1,
        bias=draw(st.booleans()),
    )
    if len(numbers) == 1:
        numbers.append(-1)
    target = T((batch, channels), "int8", out_scale, draw(zero_points))
    options = FullyConnectedOptions(draw(clamps), 0, False)
    model.outputs.append(model.op("FULLY_CONNECTED", (source, *numbers), target, options))


@amounts
@pytest.mark.parametrize("case", [conv, depthwise, dense], ids=lambda case: case.__name__)
def test_random_cases_equal_tflm(case: Case, wanted: int, tmp_path: Path) -> None:
    check(case, tmp_path, wanted)
