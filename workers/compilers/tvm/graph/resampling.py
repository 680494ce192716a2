"""Weights of one-dimensional resampling, from the formulas of the ONNX operator Resize."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sampling:
    """How Resize samples; the names are those of its attributes."""

    mode: str = "nearest"
    coordinate_transformation_mode: str = "half_pixel"
    nearest_mode: str = "round_prefer_floor"
    cubic_coeff_a: float = -0.75
    exclude_outside: int = 0
    antialias: int = 0


@dataclass(frozen=True)
class Axis:
    """One axis: elements before and after, the scale asked for, and the region of interest."""

    before: int
    after: int
    scale: float
    roi: tuple[float, float] = (0.0, 1.0)


def positions(axis: Axis, transformation: str) -> Array:
    """Return where in the input each output element lies, [after].

    Raises:
        ValueError: the transformation is unknown.
    """
    x = np.arange(axis.after, dtype=np.float64)
    width, scale = axis.scale * axis.before, axis.scale
    half_pixel = (x + 0.5) / scale - 0.5
    if transformation == "half_pixel":
        return half_pixel
    if transformation == "half_pixel_symmetric":
        return axis.before / 2 * (1 - axis.after / width) + half_pixel
    if transformation == "pytorch_half_pixel":
        return half_pixel if width != 1 else np.full_like(x, -0.5)
    if transformation == "asymmetric":
        return x / scale
    if transformation == "align_corners":
        return x * (axis.before - 1) / (width - 1) if width != 1 else np.zeros_like(x)
    if transformation == "tf_crop_and_resize":
        start, end = axis.roi
        span = (end - start) * (axis.before - 1)
        inside = x * span / (width - 1) if width != 1 else np.full_like(x, span / 2)
        return start * (axis.before - 1) + inside
    raise ValueError(f"unknown coordinate_transformation_mode {transformation}")


def weights(axis: Axis, sampling: Sampling) -> Array:
    """Return the matrix [after, before] by which an axis is resampled.

    Raises:
        ValueError: a mode is unknown.
    """
    at = positions(axis, sampling.coordinate_transformation_mode)
    matrix = np.zeros((axis.after, axis.before))
    rows = np.arange(axis.after)
    if sampling.mode == "nearest":
        matrix[rows, _nearest(at, axis, sampling.nearest_mode)] = 1.0
        return matrix
    kernel, support = _kernel(sampling)
    stretch = min(axis.scale, 1.0) if sampling.antialias else 1.0
    reach = int(np.ceil(support / stretch)) + 1
    neighbours = np.floor(at)[:, None] + np.arange(-reach, reach + 1)[None, :]
    values = kernel(np.abs(neighbours - at[:, None]) * stretch)
    if sampling.exclude_outside:
        values[(neighbours < 0) | (neighbours >= axis.before)] = 0.0
    if sampling.exclude_outside or sampling.antialias:
        values /= values.sum(axis=1, keepdims=True)
    columns = np.clip(neighbours, 0, axis.before - 1).astype(int)
    np.add.at(matrix, (rows[:, None], columns), values)
    return matrix


def _nearest(at: Array, axis: Axis, mode: str) -> npt.NDArray[Any]:
    """Return the input element next to each position."""
    rounding: dict[str, Callable[[Array], Array]] = {
        "round_prefer_floor": lambda p: np.ceil(p - 0.5),
        "round_prefer_ceil": lambda p: np.floor(p + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
    if mode not in rounding:
        raise ValueError(f"unknown nearest_mode {mode}")
    return np.clip(rounding[mode](at), 0, axis.before - 1).astype(int)


def _kernel(sampling: Sampling) -> tuple[Callable[[Array], Array], float]:
    """Return the weight by distance, and the distance from which on it is 0."""
    if sampling.mode == "linear":
        return lambda d: np.clip(1 - d, 0, None), 1.0
    if sampling.mode != "cubic":
        raise ValueError(f"unknown mode {sampling.mode}")
    a = sampling.cubic_coeff_a

    def cubic(d: Array) -> Array:
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        return np.where(d < 1, near, np.where(d < 2, far, 0.0))

    return cubic, 2.0
