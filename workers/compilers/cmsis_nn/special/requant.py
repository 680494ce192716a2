"""C snippets that turn an int32 accumulator into an int8, exactly as TFLM does.

TFLM rounds twice: y = round(acc × m / 2^31) with halves upwards, then y / 2^right with halves
away from zero. As halves-upwards shifts that is
``(2 × acc × m + 2^31) >> 32`` and ``(y − (y < 0) + 2^(right−1)) >> right``; with t = y − (y < 0),
``((t >> (right − 1)) + 1) >> 1`` needs no second constant, and the zero point goes in for free:
``((t >> (right − 1)) + 1 + 2 × zero) >> 1``.
"""

from __future__ import annotations

from workers.compilers.cmsis_nn.special.fold import Folded
from workers.compilers.cmsis_nn.special.isa import Family, Isa
from workers.compilers.cmsis_nn.special.layers import Snippet

# 2 × acc × m fits 64 bits only for narrow layers; `high` is the rounded high word.
_HIGH_DSP = """
static inline int32_t tk_high(int32_t twice, int32_t multiplier) {
  int32_t high;
  __asm("smmulr %0, %1, %2" : "=r"(high) : "r"(twice), "r"(multiplier));
  return high;
}
"""

_HIGH_LONG = """
static inline int32_t tk_high(int32_t twice, int32_t multiplier) {
  const int64_t product = (int64_t)twice * multiplier;
  return (int32_t)(product >> 32) + (int32_t)((uint32_t)product >> 31);
}
"""

# Without a long multiply: multiplier = mh × 2^16 + ml and acc = ah × 2^16 + al, al signed, so
# that each of the four products fits 32 bits; |acc| < 2^30 keeps `middle` in range.
_HIGH_SHORT = """
static inline int32_t tk_high(int32_t twice, int32_t multiplier) {
  const int32_t acc = twice >> 1;
  const int32_t al = (int16_t)acc;
  const int32_t ah = (acc - al) >> 16;
  const int32_t mh = multiplier >> 16;
  const int32_t ml = (int32_t)((uint32_t)multiplier & 0xFFFFu);
  const int32_t middle = ah * ml + al * mh + ((al * ml) >> 16) + 0x4000;
  return 2 * (ah * mh) + (middle >> 15);
}
"""

_NARROW = """
/* right: the right shift less one; offset: twice the zero point plus one. */
static inline int32_t tk_scale(int32_t acc, int32_t multiplier, int32_t right, int32_t offset) {
  const int32_t high = tk_high(acc * 2, multiplier);
  return (((high + (high >> 31)) >> right) + offset) >> 1;
}
"""

_NARROW8 = """
/* The same, saturated to int8. */
static inline int32_t tk_scale8(int32_t acc, int32_t multiplier, int32_t right, int32_t offset) {
  const int32_t high = tk_high(acc * 2, multiplier);
  int32_t value = ((high + (high >> 31)) >> right) + offset;
  __asm("ssat %0, #8, %0, asr #1" : "+r"(value));
  return value;
}
"""

_NARROW8_PLAIN = """
static inline int32_t tk_scale8(int32_t acc, int32_t multiplier, int32_t right, int32_t offset) {
  return tk_clamp(tk_scale(acc, multiplier, right, offset), -128, 127);
}
"""

_WIDE = """
/* Any accumulator, any shift of TFLite's. */
static __attribute__((noinline, unused)) int32_t tk_scale_any(int32_t acc, int32_t multiplier,
                                                              int32_t shift) {
  const int32_t left = shift > 0 ? shift : 0;
  const int32_t right = left - shift;
  const int32_t shifted = (int32_t)((uint32_t)acc << left);
  const int64_t product = (int64_t)shifted * multiplier + ((int64_t)1 << 30);
  const int32_t high = (int32_t)(product >> 31);
  const int32_t mask = (int32_t)(((uint32_t)1 << right) - 1);
  return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0));
}
"""

_CLAMP = """
static inline int32_t tk_clamp(int32_t value, int32_t low, int32_t high) {
  value = value < low ? low : value;
  return value > high ? high : value;
}
"""


def snippets(folded: Folded, isa: Isa) -> tuple[Snippet, ...]:
    """Return the text that `expression` needs."""
    return kinds(folded.narrow, isa)


def kinds(narrow: bool, isa: Isa) -> tuple[Snippet, ...]:
    """Return the requantisation snippets for narrow or for arbitrary layers."""
    clamp = Snippet("tk_clamp", _CLAMP)
    if not narrow:
        return (clamp, Snippet("tk_scale_any", _WIDE))
    high = _HIGH_DSP if isa.family is not Family.PLAIN else _HIGH_LONG
    if not isa.long_multiply:
        high = _HIGH_SHORT
    saturate = _NARROW8 if isa.family is not Family.PLAIN else _NARROW8_PLAIN
    return (
        clamp,
        Snippet("tk_high", high),
        Snippet("tk_scale", _NARROW),
        Snippet("tk_scale8", saturate),
    )


def flavour(folded: Folded) -> str:
    """Return a letter that names how `folded` is requantised: shared kernels carry it."""
    return ("n" if folded.narrow else "w") + ("" if folded.saturates else "c")


def expression(kind: str, acc: str, multiplier: str, shift: str) -> str:
    """Return a C expression for the int8 of `acc` in the flavour `kind`.

    It uses the names `zero` (twice the zero point plus one for narrow layers, else the zero
    point) and, where the activation clamps, `low` and `high`.
    """
    if kind == "n":
        return f"(int8_t)tk_scale8({acc}, {multiplier}, {shift}, zero)"
    if kind.startswith("n"):
        value = f"tk_scale({acc}, {multiplier}, {shift}, zero)"
    else:
        # the value may be so large that adding the zero point overflows
        value = f"(int32_t)((uint32_t)tk_scale_any({acc}, {multiplier}, {shift}) + (uint32_t)zero)"
    bounds = "low, high" if kind.endswith("c") else "-128, 127"
    return f"(int8_t)tk_clamp({value}, {bounds})"


def zero_argument(folded: Folded) -> int:
    """Return the number to pass as `zero` of `expression`."""
    return 2 * folded.output_zero + 1 if folded.narrow else folded.output_zero


def bound_parameters(kind: str) -> str:
    """Return the C parameters of a shared kernel for the activation bounds."""
    return ", int32_t low, int32_t high" if kind.endswith("c") else ""


def bound_arguments(folded: Folded) -> str:
    """Return the C arguments for `bound_parameters`."""
    return "" if folded.saturates else f", {folded.low}, {folded.high}"
