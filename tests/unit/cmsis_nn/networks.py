"""Small networks of one quantisation for the tests of passes, and their comparison with TFLM."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.unit.cmsis_nn.running import ALL_OFF, Oracle, assert_equal, compiled
from tests.unit.cmsis_nn.schema import Model, T
from workers.compilers.cmsis_nn.build import Built
from workers.compilers.cmsis_nn.options import Conv2DOptions, DepthwiseConv2DOptions

KIND = ("int8", 0.05, -7)
RUNS = 6


def int32(model: Model, values: object) -> int:
    """Add a constant of int32."""
    data = np.array(values, np.int32)
    return model.add(T(data.shape, "int32", data=data))


def filter_of(
    model: Model, data: np.ndarray, axis: int, bias: np.ndarray | None = None
) -> list[int]:
    """Add weights, quantised along `axis`, and biases."""
    channels = data.shape[axis]
    scales = np.linspace(0.002, 0.004, channels, dtype=np.float32)
    numbers = [model.add(T(data.shape, "int8", list(scales), 0, data, axis))]
    values = np.arange(channels) * 37 - 90 if bias is None else bias
    product = (np.float32(KIND[1]) * scales).astype(np.float32)
    numbers.append(model.add(T((channels,), "int32", list(product), 0, values)))
    return numbers


def weights_of(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    """Random weights, the same every time."""
    return np.random.default_rng(seed).integers(-127, 128, shape).astype(np.int8)


def conv(model: Model, source: int, data: np.ndarray, shape: tuple[int, ...], **more) -> int:
    bias = more.pop("bias", None)
    stride, padding, act = more.get("stride", 1), more.get("padding", 0), more.get("act", 0)
    options = Conv2DOptions(padding, stride, stride, 1, 1, act)
    numbers = (source, *filter_of(model, data, 0, bias))
    return model.op("CONV_2D", numbers, T(shape, *KIND), options)


def depthwise(model: Model, source: int, data: np.ndarray, shape: tuple[int, ...], **more) -> int:
    bias, multiplier = more.pop("bias", None), more.get("multiplier", 1)
    stride, padding = more.get("stride", 1), more.get("padding", 0)
    options = DepthwiseConv2DOptions(padding, stride, stride, multiplier, 1, 1, 0)
    numbers = (source, *filter_of(model, data, 3, bias))
    return model.op("DEPTHWISE_CONV_2D", numbers, T(shape, *KIND), options)


def both(model: Model, folder: Path, switch: str) -> tuple[Built, Built]:
    """Compare all passes, none, and all but `switch` with the oracle; return with and without."""
    data = model.to_bytes()
    oracle = Oracle(data)
    choices = {"with": {}, "without": {switch: "off"}, "none": ALL_OFF}
    modules = {name: compiled(data, folder / name, chosen) for name, chosen in choices.items()}
    rng = np.random.default_rng(5)
    for _ in range(RUNS):
        inputs = [
            rng.integers(-128, 128, model.tensors[n].shape).astype(np.int8) for n in model.inputs
        ]
        want = oracle.run(inputs, len(model.outputs))
        for name, module in modules.items():
            assert_equal(module.run(inputs), want, name)
    return modules["with"].built, modules["without"].built


def kinds(built: Built) -> list[type]:
    """The layers that have code."""
    steps = enumerate(built.program.steps)
    return [type(step.layer) for i, step in steps if i not in built.layout.elided]
