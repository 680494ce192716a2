"""The dual-MAC matrix product: columns of int16 pairs against rows of int8 weights.

A column is one output pixel's receptive field, expanded to int16. Four int8 b0..b3 of memory
become the words (b0, b2) and (b1, b3): sxtb16 makes them in two instructions from one load, for
weights in the inner loop and for inputs once for all output channels. Columns are interleaved:
for every four taps, the two words of each pixel follow one another, so that one load-multiple
feeds two pixels and one pointer runs through all.
"""

from __future__ import annotations

from workers.compilers.cmsis_nn.special.layers import Snippet
from workers.compilers.cmsis_nn.special.requant import bound_parameters, expression

_MAX_UNROLL = 8

_LOAD = """
static inline uint32_t tk_load(const int8_t *from) {
  uint32_t word;
  __builtin_memcpy(&word, from, 4);
  return word;
}
"""

_EXPAND = """
/* Expands 4 * groups int8 into one of $pixels interleaved columns. */
static inline void tk_expand$pixels(const int8_t *from, uint32_t *to, int32_t groups) {
  for (const uint32_t *end = to + groups * $step; to < end; to += $step, from += 4) {
    const uint32_t word = tk_load(from);
    to[0] = (uint32_t)__sxtb16(word);
    to[1] = (uint32_t)__sxtb16((word >> 8) | (word << 24));
  }
}
static inline void tk_pad$pixels(uint32_t pair, uint32_t *to, int32_t groups) {
  for (const uint32_t *end = to + groups * $step; to < end; to += $step) {
    to[0] = pair;
    to[1] = pair;
  }
}
"""

_ONE = """\
  "ldr r9, [%[w]], #4\\n sxtb16 r10, r9, ror #8\\n sxtb16 r9, r9\\n"
  "ldmia %[x]!, {r4, r5}\\n"
  "smlad %[a0], r9, r4, %[a0]\\n smlad %[a0], r10, r5, %[a0]\\n"
"""
_TWO = """\
  "ldr r9, [%[w]], #4\\n sxtb16 r10, r9, ror #8\\n sxtb16 r9, r9\\n"
  "ldmia %[x]!, {r4, r5, r6, r8}\\n"
  "smlad %[a0], r9, r4, %[a0]\\n smlad %[a0], r10, r5, %[a0]\\n"
  "smlad %[a1], r9, r6, %[a1]\\n smlad %[a1], r10, r8, %[a1]\\n"
"""
_FOUR = (
    _TWO
    + """\
  "ldmia %[x]!, {r4, r5, r6, r8}\\n"
  "smlad %[a2], r9, r4, %[a2]\\n smlad %[a2], r10, r5, %[a2]\\n"
  "smlad %[a3], r9, r6, %[a3]\\n smlad %[a3], r10, r8, %[a3]\\n"
"""
)
# Every register is named: left the choice, gcc fails to find one at some optimisation levels. r7
# stays free, for it is the frame pointer where nothing is optimised.
_GROUP = {1: _ONE, 2: _TWO, 4: _FOUR}

_GEMM = """
/* channels rows of weights against {pixels} columns; out: pixel-major. {unroll} groups a turn. */
static __attribute__((noinline)) void {name}(const uint32_t *columns, const int8_t *weights,
    const int32_t *params, int32_t turns, int32_t channels, int32_t zero, int8_t *out{bounds}) {{
  for (const int8_t *const end = out + channels; out < end; out++) {{
    const int32_t bias = {bias};
    register int32_t count __asm("r11") = turns;
    register const uint32_t *x __asm("r12") = columns;
    register const int8_t *w __asm("lr") = weights;
{accumulators}    __asm volatile(
  "1:\\n"
{body}  "subs %[n], %[n], #1\\n bne 1b\\n"
        : {outputs}, [x] "+r"(x),
          [w] "+r"(w), [n] "+r"(count)
        :
        : "r4", "r5", "r6", "r8", "r9", "r10", "cc", "memory");
    /* Away from registers that a call may overwrite. */
    const int32_t {sums};
    weights = w;
    {unpack}
{stores}  }}
}}
"""


_UNPACK_THREE = "const int32_t multiplier = params[1], right = params[2];\n    params += 3;"
_UNPACK_TWO = "const int32_t multiplier = params[1], right = params[0] & 255;\n    params += 2;"


def unroll_of(groups: int) -> int:
    """Return how many groups of four taps one turn of the loop takes; it divides `groups`."""
    if groups % 4 == 0:
        return 4
    return max(n for n in range(1, _MAX_UNROLL + 1) if groups % n == 0)


def load_snippet() -> Snippet:
    """Return `tk_load`: a little-endian word from any address."""
    return Snippet("tk_load", _LOAD)


def expand_snippet(pixels: int) -> Snippet:
    """Return `tk_expand<pixels>` and `tk_pad<pixels>`."""
    text = _EXPAND.replace("$pixels", str(pixels)).replace("$step", str(2 * pixels))
    return Snippet(f"tk_expand{pixels}", text)


def gemm_snippet(pixels: int, unroll: int, kind: str, packed: bool) -> Snippet:
    """Return the product for 1, 2 or 4 pixels at a time in requantisation flavour `kind`.

    With `packed`, its parameters are `Folded.packed_params`, else `Folded.params`.
    """
    name = f"tk_gemm{pixels}_{unroll}{kind}{'k' if packed else ''}"
    stores = "".join(
        f"    out[{_times(i)}] = {expression(kind, f's{i}', 'multiplier', 'right')};\n"
        for i in range(pixels)
    )
    text = _GEMM.format(
        pixels=pixels,
        unroll=unroll,
        name=name,
        bounds=bound_parameters(kind),
        accumulators="".join(
            f'    register int32_t a{i} __asm("r{i}") = bias;\n' for i in range(pixels)
        ),
        sums=", ".join(f"s{i} = a{i}" for i in range(pixels)),
        bias="params[0] >> 8" if packed else "params[0]",
        unpack=_UNPACK_TWO if packed else _UNPACK_THREE,
        body=_GROUP[pixels] * unroll,
        outputs=", ".join(f'[a{i}] "+r"(a{i})' for i in range(pixels)),
        stores=stores,
    )
    return Snippet(name, text)


def _times(pixel: int) -> str:
    return ("0", "channels", "2 * channels", "3 * channels")[pixel]
