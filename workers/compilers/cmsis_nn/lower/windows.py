"""Sliding windows: output size and padding of convolutions and pools, as TFLite computes them."""

from __future__ import annotations

from dataclasses import dataclass

from workers.compilers.cmsis_nn.lower.context import Refusal
from workers.compilers.cmsis_nn.options import Padding

Pair = tuple[int, int]  # vertical, horizontal


@dataclass(frozen=True)
class Window:
    """A window that slides over height and width; `scheme` is the schema's padding."""

    size: Pair
    stride: Pair
    scheme: int
    dilation: Pair = (1, 1)

    def padding(
        self, source: tuple[int, ...], target: tuple[int, ...]
    ) -> tuple[int, int, int, int]:
        """Return the padding (top, left, bottom, right) between two NHWC shapes.

        Raises:
            Refusal: the target's size is not what this window gives.
        """
        top, bottom = self._pad(0, source[1], target[1])
        left, right = self._pad(1, source[2], target[2])
        return top, left, bottom, right

    def _pad(self, axis: int, size: int, output: int) -> Pair:
        window, stride, dilation = self.size[axis], self.stride[axis], self.dilation[axis]
        if min(size, window, stride, dilation) < 1:
            raise Refusal(f"size {size}, window {window}, stride {stride}, dilation {dilation}")
        reach = (window - 1) * dilation + 1
        same = self.scheme == Padding.SAME
        expected = -(-size // stride) if same else -(-(size - reach + 1) // stride)
        if output != expected or output < 1:
            raise Refusal(f"output of {output} where the window gives {expected}")
        if not same:
            return 0, 0
        total = max(0, (output - 1) * stride + reach - size)
        return total // 2, total - total // 2
