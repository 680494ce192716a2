"""The padded plane of one channel, on which every depthwise kernel works."""

from __future__ import annotations

from dataclasses import dataclass

from workers.compilers.cmsis_nn.special.geometry import Geometry
from workers.compilers.cmsis_nn.special.pack import round_up


@dataclass(frozen=True)
class Plane:
    """`width` is a multiple of `align`; sizes in elements."""

    geometry: Geometry
    align: int = 1

    @property
    def width(self) -> int:
        """Elements from one row to the next."""
        g = self.geometry
        return round_up(max(g.reach_x, g.left + g.width), self.align)

    @property
    def height(self) -> int:
        """Rows."""
        g = self.geometry
        return max(g.reach_y, g.top + g.height)

    @property
    def origin(self) -> int:
        """Index of the image's first element."""
        return self.geometry.top * self.width + self.geometry.left


def shape_name(g: Geometry) -> str:
    """Return what tells kernels of different geometry apart; the channel count is not in it."""
    numbers = (
        *(g.height, g.width, g.out_height, g.out_width, g.window_height, g.window_width),
        *(g.step_y, g.step_x, g.dilation_y, g.dilation_x, g.top, g.left),
        g.out_channels // g.channels,
    )
    return "_".join(str(number) for number in numbers)


def copy_unroll(width: int) -> int:
    """Return how many elements of a row the copying loop takes at a time."""
    return max(n for n in range(1, 13) if width % n == 0)
