"""Numbers about a window sliding over an image, shared by convolutions and pools."""

from __future__ import annotations

from dataclasses import dataclass

from workers.compilers.cmsis_nn.special.layers import ConvLayer, DepthwiseLayer


@dataclass(frozen=True)
class Geometry:
    """Sizes of one image (`batch` of them): input, output, window, steps and leading padding.

    `padded` is False if no window reaches beyond the input.
    """

    batch: int
    height: int
    width: int
    channels: int
    out_height: int
    out_width: int
    out_channels: int
    window_height: int
    window_width: int
    step_y: int
    step_x: int
    dilation_y: int
    dilation_x: int
    top: int
    left: int

    @classmethod
    def rows(cls, count: int, channels: int, out_channels: int) -> Geometry:
        """Return `count` rows of a matrix as pixels of an image."""
        return cls(1, 1, count, channels, 1, count, out_channels, 1, 1, 1, 1, 1, 1, 0, 0)

    @property
    def pixels(self) -> int:
        """Output pixels of one image."""
        return self.out_height * self.out_width

    @property
    def reach_y(self) -> int:
        """Rows of padded input that the outputs need."""
        return (self.out_height - 1) * self.step_y + (self.window_height - 1) * self.dilation_y + 1

    @property
    def reach_x(self) -> int:
        """Columns of padded input that the outputs need."""
        return (self.out_width - 1) * self.step_x + (self.window_width - 1) * self.dilation_x + 1

    @property
    def padded(self) -> bool:
        """True if a window reaches beyond the input."""
        return (
            self.top > 0 or self.left > 0 or self.reach_y > self.height or self.reach_x > self.width
        )

    @property
    def pointwise(self) -> bool:
        """True if output pixel i sees input pixel i and nothing else."""
        window = (self.window_height, self.window_width, self.step_y, self.step_x)
        same = (self.height, self.width) == (self.out_height, self.out_width)
        return window == (1, 1, 1, 1) and same and not self.padded

    @property
    def whole(self) -> bool:
        """True if the one window sees the whole input, so that the layer is a matrix product."""
        return (
            self.pixels == 1
            and not self.padded
            and (self.window_height, self.window_width) == (self.height, self.width)
        )


def geometry_of(layer: ConvLayer | DepthwiseLayer) -> Geometry:
    """Return the geometry of a convolution (weights' second and third axis are the window)."""
    batch, height, width, channels = layer.input_shape
    _, out_height, out_width, out_channels = layer.output_shape
    return Geometry(
        batch=batch,
        height=height,
        width=width,
        channels=channels,
        out_height=out_height,
        out_width=out_width,
        out_channels=out_channels,
        window_height=layer.weights.shape[1],
        window_width=layer.weights.shape[2],
        step_y=layer.stride[0],
        step_x=layer.stride[1],
        dilation_y=layer.dilation[0],
        dilation_x=layer.dilation[1],
        top=layer.padding[0],
        left=layer.padding[1],
    )
