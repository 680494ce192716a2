"""FULLY_CONNECTED for the dual MAC: four output channels share each expansion of the input.

There is one column only, so nothing is gained by expanding it beforehand, and no scratch is
needed. The weights of four channels lie side by side, four taps each, for one load-multiple.
"""

from __future__ import annotations

import numpy as np

from workers.compilers.cmsis_nn.special import requant
from workers.compilers.cmsis_nn.special.fold import Folded, fold
from workers.compilers.cmsis_nn.special.isa import Isa
from workers.compilers.cmsis_nn.special.layers import (
    Constant,
    DenseLayer,
    KernelCode,
    Options,
    Snippet,
)
from workers.compilers.cmsis_nn.special.pack import Int8, pad_taps

# Fixed registers, for load-multiple wants ascending ones: r4 and r5 weights, r9 spare, r10 and r11
# the even and odd inputs.
_INPUT = """\
  "ldr r10, [%[x]], #4\\n sxtb16 r11, r10, ror #8\\n sxtb16 r10, r10\\n"
"""
_PAIR = """\
  "ldmia %[w]!, {r4, r5}\\n"
  "sxtb16 r9, r4\\n smlad %[a$i], r9, r10, %[a$i]\\n"
  "sxtb16 r4, r4, ror #8\\n smlad %[a$i], r4, r11, %[a$i]\\n"
  "sxtb16 r9, r5\\n smlad %[a$j], r9, r10, %[a$j]\\n"
  "sxtb16 r5, r5, ror #8\\n smlad %[a$j], r5, r11, %[a$j]\\n"
"""
_FOUR = (
    _INPUT
    + _PAIR.replace("$i", "0").replace("$j", "1")
    + _PAIR.replace("$i", "2").replace("$j", "3")
)
_ONE = (
    _INPUT
    + """\
  "ldr r9, [%[w]], #4\\n"
  "sxtb16 r4, r9\\n smlad %[a0], r4, r10, %[a0]\\n"
  "sxtb16 r9, r9, ror #8\\n smlad %[a0], r9, r11, %[a0]\\n"
"""
)

_BLOCK = """
  for (const int8_t *const end = out + ({channels}); out < end; out += {count}) {{
    register const int8_t *stop __asm("r8") = in + {turn_bytes} * turns;
    register const int8_t *x __asm("r12") = in;
    register const int8_t *w __asm("lr") = weights;
{accumulators}    __asm volatile(
  "1:\\n"
{body}  "cmp %[x], %[stop]\\n bne 1b\\n"
        : {outputs}, [x] "+r"(x), [w] "+r"(w)
        : [stop] "r"(stop)
        : "r4", "r5", "r9", "r10", "r11", "cc", "memory");
    /* Away from registers that a call may overwrite. */
    const int32_t {sums};
    weights = w;
{stores}    params += {advance};
  }}
"""

_SHARED = """
static __attribute__((noinline)) void {name}(const int8_t *in, const int8_t *weights,
    const int32_t *params,{scale} int32_t turns, int32_t channels, int32_t zero,
    int8_t *out{bounds}) {{
{blocks}}}
"""

_LAYER = """
static void {function}(const int8_t *in, int8_t *out, uint8_t *scratch) {{
  (void)scratch;
{open}  {shared}({source}, {function}_weights, {function}_params,{scale} {turns}, {channels},
      {zero}, out{bounds});
{close}}}
"""

_COPY = """\
  int8_t *const row = (int8_t *)scratch;
  for (int32_t i = 0; i < {padded}; i++) {{
    row[i] = i < {taps} ? in[i] : 0;
  }}
"""


def dense(layer: DenseLayer, isa: Isa, function: str, options: Options) -> KernelCode | None:
    """Return the kernel, or None if the row must be padded and there is no scratch for it."""
    folded = fold(layer.weights, layer.bias, layer.quant)
    channels, taps = layer.weights.shape
    weights = pad_taps(folded.weights, 4)
    padded = weights.shape[1]
    scratch = padded if padded != taps else 0
    if options.max_scratch is not None and scratch > options.max_scratch:
        return None
    turn = next(n for n in (4, 2, 1) if padded // 4 % n == 0)
    shared = _shared(folded, turn, channels)
    params = folded.bias if folded.uniform else folded.params()
    return KernelCode(
        function=function,
        source=_source(layer, folded, function, shared, turn),
        constants=(
            Constant(f"{function}_weights", "int8_t", _interleave(weights)),
            Constant(f"{function}_params", "int32_t", params),
        ),
        scratch_bytes=scratch,
        snippets=(*requant.snippets(folded, isa), shared),
    )


def _interleave(weights: Int8) -> Int8:
    """Return blocks of four channels as [tap / 4, channel, 4], then the other channels in rows."""
    channels, taps = weights.shape
    whole = channels - channels % 4
    blocks = weights[:whole].reshape(-1, 4, taps // 4, 4).transpose(0, 2, 1, 3)
    return np.concatenate([blocks.ravel(), weights[whole:].ravel()])


def _source(layer: DenseLayer, folded: Folded, function: str, shared: Snippet, turn: int) -> str:
    channels, taps = layer.weights.shape
    padded = -(-taps // 4) * 4
    scale = f" {folded.params()[0, 1]}, {folded.params()[0, 2]}," if folded.uniform else ""
    rows = layer.batch > 1
    advance = f"  in += {taps};\n  out += {channels};\n" if rows else ""
    loop = f"  for (int32_t batch = 0; batch < {layer.batch}; batch++) {{\n" if rows else ""
    copy = _COPY.format(padded=padded, taps=taps) if padded != taps else ""
    return _LAYER.format(
        function=function,
        open=loop + copy,
        shared=shared.name,
        source="row" if copy else "in",
        scale=scale,
        turns=padded // 4 // turn,
        channels=channels,
        zero=requant.zero_argument(folded),
        bounds=requant.bound_arguments(folded),
        close=advance + ("  }\n" if rows else ""),
    )


def _shared(folded: Folded, turn: int, channels: int) -> Snippet:
    kind = requant.flavour(folded)
    uniform = folded.uniform
    blocks = ""
    if channels >= 4:
        blocks += _block(kind, uniform, 4, turn, "channels & ~3" if channels % 4 else "channels")
    if channels % 4:
        blocks += _block(kind, uniform, 1, turn, "channels & 3" if channels > 4 else "channels")
    parts = f"{'b' if channels >= 4 else ''}{'r' if channels % 4 else ''}"
    name = f"tk_dense{turn}{kind}{'u' if uniform else 'p'}{parts}"
    text = _SHARED.format(
        name=name,
        scale=" int32_t multiplier, int32_t right," if uniform else "",
        bounds=requant.bound_parameters(kind),
        blocks=blocks,
    )
    return Snippet(name, text)


def _block(kind: str, uniform: bool, count: int, turn: int, channels: str) -> str:
    """Return the loop over `channels` output channels, `count` at a time."""
    step = 1 if uniform else 3
    stores = ""
    for i in range(count):
        pair = ("multiplier", "right")
        if not uniform:
            pair = (f"params[{3 * i + 1}]", f"params[{3 * i + 2}]")
        stores += f"    out[{i}] = {requant.expression(kind, f's{i}', *pair)};\n"
    return _BLOCK.format(
        channels=channels,
        count=count,
        turn_bytes=4 * turn,
        sums=", ".join(f"s{i} = a{i}" for i in range(count)),
        accumulators="".join(
            f'    register int32_t a{i} __asm("r{i}") = params[{step * i}];\n' for i in range(count)
        ),
        body=(_FOUR if count == 4 else _ONE) * turn,
        outputs=", ".join(f'[a{i}] "+r"(a{i})' for i in range(count)),
        stores=stores,
        advance=step * count,
    )
