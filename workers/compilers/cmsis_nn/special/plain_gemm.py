"""The matrix product for cores without vectors: blocks of four output channels.

Weights of a block lie tap by tap, four channels side by side. With `pixels` = 2 a weight is loaded
once for two pixels (where a multiply-accumulate or enough registers make that pay). Channels that
do not fill a block follow as rows.

ARMv6-M loads signed bytes in two instructions, unsigned ones in one. There weights are stored as
w + 128, and Σ w × x = Σ (w + 128) × x − 128 × Σ x, where the last sum is taken once a pixel.
Columns are stored as u = x + 128 likewise; that much of the difference is known beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.compilers.cmsis_nn.special import requant
from workers.compilers.cmsis_nn.special.fold import Folded
from workers.compilers.cmsis_nn.special.isa import Isa
from workers.compilers.cmsis_nn.special.layers import Constant, Snippet
from workers.compilers.cmsis_nn.special.pack import Int8

BLOCK = 4

_SHARED = """
static __attribute__((noinline)) void {name}(const {x_type} *in, {step}const {w_type} *weights,
    const int32_t *params,{scale} int32_t taps, int32_t channels, int32_t zero,
    int8_t *out{bounds}) {{
{sum}{blocks}}}
"""

_SUM = """\
  int32_t sum = 0;
  for (const {x_type} *x = in, *const end = in + taps; x < end; x++) {{
    sum += *x;
  }}
  sum *= 128;
"""

_BLOCK = """\
  for (const int8_t *const end = out + ({channels}); out < end; out += {count}) {{
    const {x_type} *x0 = in;
{second}    int32_t {accumulators};
{loops}{stores}    params += {advance};
  }}
"""

_LOOP = """\
    for (const {x_type} *const stop = x0 + ({until}); x0 < stop; x0 += {unroll}{x_more}) {{
{body}      weights += {w_step};
    }}
"""

_THUMB1 = """\
    if (taps >= {unroll}) {{
      const {x_type} *const stop = x0 + ({until});
      int32_t v, t;
      __asm volatile(
  ".syntax unified\\n1:\\n"
{body}  "adds %[x], #{unroll}\\n adds %[w], #{w_step}\\n cmp %[x], %[stop]\\n bne 1b\\n"
  ".syntax divided\\n"
          : {outputs}, [x] "+l"(x0), [w] "+l"(weights), [v] "=&l"(v), [t] "=&l"(t)
          : [stop] "h"(stop)
          : "cc", "memory");
    }}
"""

# With -Os gcc keeps its hands off the high registers.
_EITHER = """\
#ifndef __OPTIMIZE_SIZE__
{assembly}#else
{loop}#endif
"""


@dataclass(frozen=True)
class Product:
    """Which matrix product a layer calls.

    `column`: the input is a column made by a gather, not the tensor itself.
    """

    isa: Isa
    pixels: int
    taps: int
    channels: int
    column: bool

    @property
    def unsigned_weights(self) -> bool:
        """True if weights are stored as w + 128."""
        return not self.isa.signed_loads

    @property
    def unsigned_input(self) -> bool:
        """True if the column must hold x + 128."""
        return self.unsigned_weights and self.column

    @property
    def x_type(self) -> str:
        """Return the C type of an input element."""
        return "uint8_t" if self.unsigned_input else "int8_t"

    @property
    def unroll(self) -> int:
        """Return the taps a turn of the main loop takes."""
        if self.unsigned_weights:
            return 8 if self.taps % 8 == 0 or self.taps >= 32 else 4
        return 4 if self.pixels == 1 else 2


def constants(product: Product, folded: Folded, function: str) -> tuple[Constant, Constant]:
    """Return the weights and the parameters of `folded` as the product wants them."""
    packed = _interleave(folded.weights)
    params = folded.params()
    if product.unsigned_input:
        wide = folded.weights.astype(np.int64).sum(axis=1)
        params[:, 0] = (params[:, 0] - 128 * wide + (1 << 31)) % (1 << 32) - (1 << 31)
    values = params[:, 0] if folded.uniform else params
    if product.unsigned_weights:
        weights = Constant(
            f"{function}_weights", "uint8_t", (packed.astype(np.int16) + 128).astype(np.uint8)
        )
    else:
        weights = Constant(f"{function}_weights", "int8_t", packed)
    return weights, Constant(f"{function}_params", "int32_t", values)


def _interleave(weights: Int8) -> Int8:
    channels, taps = weights.shape
    whole = channels - channels % BLOCK
    blocks = weights[:whole].reshape(-1, BLOCK, taps).transpose(0, 2, 1)
    return np.concatenate([blocks.ravel(), weights[whole:].ravel()])


def call(
    product: Product, folded: Folded, function: str, source: str, step: str = "", to: str = "out"
) -> str:
    """Return the C call for one tile; `step` is the distance of two pixels' inputs."""
    params = folded.params()
    scale = f" {params[0, 1]}, {params[0, 2]}," if folded.uniform else ""
    return (
        f"{snippet(product, folded).name}({source}, {step + ', ' if product.pixels > 1 else ''}"
        f"{function}_weights, {function}_params,{scale} {product.taps}, {product.channels}, "
        f"{requant.zero_argument(folded)}, {to}{requant.bound_arguments(folded)});"
    )


def snippet(product: Product, folded: Folded) -> Snippet:
    """Return the shared function of `product` in the requantisation flavour of `folded`."""
    kind = requant.flavour(folded)
    rest = product.channels % BLOCK
    tail = product.taps % product.unroll != 0
    name = (
        f"tk_product{product.pixels}_{product.unroll}{'t' if tail else ''}{kind}"
        f"{'u' if folded.uniform else 'p'}{'b' if product.channels >= BLOCK else ''}"
        f"{'r' if rest else ''}{'c' if product.unsigned_input else ''}"
    )
    blocks = ""
    if product.channels >= BLOCK:
        count = f"channels & ~{BLOCK - 1}" if rest else "channels"
        blocks += _block(product, folded, BLOCK, count, tail)
    if rest:
        count = f"channels & {BLOCK - 1}" if product.channels > BLOCK else "channels"
        blocks += _block(product, folded, 1, count, tail)
    text = _SHARED.format(
        name=name,
        x_type=product.x_type,
        w_type="uint8_t" if product.unsigned_weights else "int8_t",
        step="int32_t step, " if product.pixels > 1 else "",
        scale=" int32_t multiplier, int32_t right," if folded.uniform else "",
        bounds=requant.bound_parameters(kind),
        sum=_SUM.format(x_type=product.x_type) if product.unsigned_weights else "",
        blocks=blocks,
    )
    return Snippet(name, text)


def _block(product: Product, folded: Folded, count: int, channels: str, tail: bool) -> str:
    pixels, unroll = product.pixels, product.unroll
    step = 1 if folded.uniform else 3
    less = " - sum" if product.unsigned_weights else ""
    names = [(p, c) for p in range(pixels) for c in range(count)]
    until = f"taps - taps % {unroll}" if tail else "taps"
    loops = _loop(product, count, unroll, until)
    if product.unsigned_weights:
        loops = _EITHER.format(assembly=_thumb1(product, count, until), loop=loops)
    if tail:
        loops += _loop(product, count, 1, f"taps % {unroll}")
    stores = ""
    for p, c in names:
        scale = ("multiplier", "right")
        if not folded.uniform:
            scale = (f"params[{3 * c + 1}]", f"params[{3 * c + 2}]")
        value = requant.expression(requant.flavour(folded), f"a{p}{c}", *scale)
        stores += f"    out[{c}{f' + {p} * channels' if p else ''}] = {value};\n"
    return _BLOCK.format(
        channels=channels,
        count=count,
        x_type=product.x_type,
        second=f"    const {product.x_type} *x1 = in + step;\n" if pixels > 1 else "",
        accumulators=", ".join(f"a{p}{c} = params[{step * c}]{less}" for p, c in names),
        loops=loops,
        stores=stores,
        advance=step * count,
    )


def _loop(product: Product, count: int, unroll: int, until: str) -> str:
    body = ""
    for tap in range(unroll):
        for p in range(product.pixels):
            body += f"      const int v{p}{tap} = x{p}[{tap}];\n"
        for c in range(count):
            for p in range(product.pixels):
                body += f"      a{p}{c} += {_product(f'v{p}{tap}', tap * count + c)};\n"
    return _LOOP.format(
        x_type=product.x_type,
        until=until,
        unroll=unroll,
        x_more=f", x1 += {unroll}" if product.pixels > 1 else "",
        body=body,
        w_step=unroll * count,
    )


def _product(value: str, weight: int) -> str:
    return f"{value} * weights[{weight}]"


def _thumb1(product: Product, count: int, until: str) -> str:
    """Return the main loop in assembly: gcc would move the sums between low and high registers."""
    body = ""
    for tap in range(product.unroll):
        extend = "" if product.unsigned_input else " sxtb %[v], %[v]\\n"
        body += f'  "ldrb %[v], [%[x], #{tap}]\\n{extend}"\n'
        for c in range(count):
            body += (
                f'  "ldrb %[t], [%[w], #{tap * count + c}]\\n muls %[t], %[v]\\n'
                f' add %[a{c}], %[t]\\n"\n'
            )
    return _THUMB1.format(
        unroll=product.unroll,
        x_type=product.x_type,
        until=until,
        body=body,
        w_step=product.unroll * count,
        outputs=", ".join(f'[a{c}] "+h"(a0{c})' for c in range(count)),
    )
