"""Weights rearranged before they are emitted, and kernels wrapped after."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workers.compilers.cmsis_nn.special.layers import KernelCode

Int8 = NDArray[np.int8]

_BATCH = """
static void {outer}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
  for (int32_t image = 0; image < {batch}; image++) {{
    {inner}(in + image * {in_size}, out + image * {out_size}, scratch);
  }}
}}
"""


def round_up(value: int, step: int) -> int:
    """Return the least multiple of `step` that is not below `value`."""
    return -(-value // step) * step


def pad_taps(weights: Int8, step: int) -> Int8:
    """Return [channel, tap] with zeros up to a multiple of `step` taps."""
    taps = weights.shape[1]
    return np.pad(weights, ((0, 0), (0, round_up(taps, step) - taps)))


def per_image(
    kernel: KernelCode, outer: str, batch: int, in_size: int, out_size: int
) -> KernelCode:
    """Return `kernel`, which computes one image, as a kernel called `outer` for `batch` images."""
    text = _BATCH.format(
        outer=outer, inner=kernel.function, batch=batch, in_size=in_size, out_size=out_size
    )
    return replace(kernel, function=outer, source=kernel.source + text)
