"""AVERAGE_POOL_2D and MAX_POOL_2D, for every core: C with the window and its count as constants.

The average rounds halves away from zero, as TFLM does: (sum ± count / 2) / count, truncated.
"""

from __future__ import annotations

from workers.compilers.cmsis_nn.special.layers import KernelCode, Options, PoolLayer
from workers.compilers.cmsis_nn.special.pack import per_image

_POOL = """
static void {function}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
  (void)scratch;
  for (int32_t oy = 0; oy < {out_height}; oy++) {{
    for (int32_t ox = 0; ox < {out_width}; ox++) {{
{corners}      for (int32_t channel = 0; channel < {channels}; channel++) {{
        const int8_t *from = corner + channel;
        {open}
        for (int32_t y = 0; y < rows; y++, from += ({width} - columns) * {channels}) {{
          for (int32_t x = 0; x < columns; x++, from += {channels}) {{
            {step}
          }}
        }}
        {close}
        value = value < {low} ? {low} : value;
        *out++ = (int8_t)(value > {high} ? {high} : value);
      }}
    }}
  }}
}}
"""

_INSIDE = """\
      enum {{ rows = {window_height}, columns = {window_width} }};
      const int8_t *corner = in + (oy * {step_y} * {width} + ox * {step_x}) * {channels};
"""

_CLIPPED = """\
      const int32_t top = oy * {step_y} - {top} < 0 ? 0 : oy * {step_y} - {top};
      const int32_t left = ox * {step_x} - {left} < 0 ? 0 : ox * {step_x} - {left};
      const int32_t bottom = oy * {step_y} - {top} + {window_height};
      const int32_t right = ox * {step_x} - {left} + {window_width};
      const int32_t rows = (bottom < {height} ? bottom : {height}) - top;
      const int32_t columns = (right < {width} ? right : {width}) - left;
      const int8_t *corner = in + (top * {width} + left) * {channels};
"""


def pool(layer: PoolLayer, function: str, options: Options) -> KernelCode | None:
    """Return the kernel; None if a window would lie wholly in the padding."""
    del options
    batch, height, width, channels = layer.input_shape
    _, out_height, out_width, _ = layer.output_shape
    top, left = layer.padding[:2]
    reach_y = (out_height - 1) * layer.stride[0] - top
    reach_x = (out_width - 1) * layer.stride[1] - left
    if top >= layer.window[0] or left >= layer.window[1] or reach_y >= height or reach_x >= width:
        return None
    inside = (
        top == left == 0
        and reach_y + layer.window[0] <= height
        and reach_x + layer.window[1] <= width
    )
    numbers = {
        "step_y": layer.stride[0],
        "step_x": layer.stride[1],
        "height": height,
        "width": width,
        "channels": channels,
        "top": top,
        "left": left,
        "window_height": layer.window[0],
        "window_width": layer.window[1],
    }
    opening, step, close = _average() if layer.kind == "average" else _maximum()
    inner = function if batch == 1 else f"{function}_image"
    source = _POOL.format(
        function=inner,
        out_height=out_height,
        out_width=out_width,
        channels=channels,
        width=width,
        corners=(_INSIDE if inside else _CLIPPED).format(**numbers),
        open=opening,
        step=step,
        close=close,
        low=layer.activation_min,
        high=layer.activation_max,
    )
    kernel = KernelCode(function=inner, source=source, alignment=1)
    if batch == 1:
        return kernel
    sizes = height * width * channels, out_height * out_width * channels
    return per_image(kernel, function, batch, *sizes)


def _average() -> tuple[str, str, str]:
    close = (
        "const int32_t count = rows * columns, half = count / 2;\n"
        "        int32_t value = (sum > 0 ? sum + half : sum - half) / count;"
    )
    return "int32_t sum = 0;", "sum += *from;", close


def _maximum() -> tuple[str, str, str]:
    return "int32_t value = -128;", "value = *from > value ? *from : value;", ""
