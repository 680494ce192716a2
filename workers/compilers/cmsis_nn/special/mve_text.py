"""C snippets shared by the MVE (Helium) kernels.

vqrdmulh is TFLM's first rounding as it stands. vrshl rounds halves upwards where TFLM rounds them
away from zero: adding −1 to negative values first makes it exact for right shifts that are not 0.
"""

from __future__ import annotations

from workers.compilers.cmsis_nn.special import requant
from workers.compilers.cmsis_nn.special.fold import Folded
from workers.compilers.cmsis_nn.special.isa import Isa
from workers.compilers.cmsis_nn.special.layers import Snippet

INCLUDES = ("<stdint.h>", "<arm_mve.h>")

SCALE = """
/* Four accumulators of one channel; right: the right shift less one, as in tk_scale. */
static inline int32x4_t tk_scale4(int32x4_t acc, int32_t multiplier, int32_t right) {
  int32x4_t high = vqrdmulhq_n_s32(acc, multiplier);
  high = vaddq_s32(high, vshrq_n_s32(high, 31));
  return vrshlq_n_s32(high, ~right);
}
"""

_SCALE_CHANNELS = """
/* One accumulator of each of four channels. */
static inline int32x4_t tk_scale4v(int32x4_t acc, int32x4_t multiplier, int32x4_t right) {
  int32x4_t high = vqrdmulhq_s32(acc, multiplier);
  high = vaddq_s32(high, vshrq_n_s32(high, 31));
  return vrshlq_s32(high, vmvnq_s32(right));
}
"""

_SCALE_ANY = """
static __attribute__((noinline, unused)) int32x4_t tk_scale4_any(int32x4_t acc,
    int32x4_t multiplier, int32x4_t shift) {
  int32_t a[4], m[4], s[4];
  vst1q_s32(a, acc);
  vst1q_s32(m, multiplier);
  vst1q_s32(s, shift);
  for (int32_t i = 0; i < 4; i++) {
    a[i] = tk_scale_any(a[i], m[i], s[i]);
  }
  return vld1q_s32(a);
}
"""

FINISH = """
static inline int32x4_t tk_finish4(int32x4_t value, int32_t zero, int32_t low, int32_t high) {
  value = vaddq_n_s32(value, zero);
  return vminq_s32(vmaxq_s32(value, vdupq_n_s32(low)), vdupq_n_s32(high));
}
"""

_COPY = """
/* As tk_copy and tk_fill; flip is 0. */
static inline void tk_copy_vectors(const int8_t *from, uint8_t *to, int32_t count, uint32_t flip) {
  (void)flip;
  for (; count >= 16; count -= 16, from += 16, to += 16) {
    vstrbq_s8((int8_t *)to, vldrbq_s8(from));
  }
  if (count > 0) {
    const mve_pred16_t some = vctp8q((uint32_t)count);
    vstrbq_p_s8((int8_t *)to, vldrbq_z_s8(from, some), some);
  }
}
static inline void tk_fill_vectors(uint8_t *to, int32_t count, uint32_t value) {
  for (; count > 0; count -= 16, to += 16) {
    vstrbq_p_u8(to, vdupq_n_u8((uint8_t)value), vctp8q((uint32_t)count));
  }
}
"""


def copy_snippet() -> Snippet:
    """Return ``tk_copy_vectors`` and ``tk_fill_vectors``."""
    return Snippet("tk_copy_vectors", _COPY)


def snippets(folded: Folded, isa: Isa) -> tuple[Snippet, ...]:
    """Return what `per_channel` and `per_lane` need."""
    scale: tuple[Snippet, ...]
    if folded.narrow:
        scale = (
            Snippet("tk_scale4", SCALE),
            Snippet("tk_scale4v", _SCALE_CHANNELS),
        )
    else:
        scale = (*requant.kinds(False, isa), Snippet("tk_scale4_any", _SCALE_ANY))
    return (*scale, Snippet("tk_finish4", FINISH))


def per_channel(narrow: bool, acc: str, multiplier: str, right: str) -> str:
    """Return C for four accumulators that share a channel's scalars; uses zero, low, high."""
    if narrow:
        value = f"tk_scale4({acc}, {multiplier}, {right})"
    else:
        value = f"tk_scale4_any({acc}, vdupq_n_s32({multiplier}), vdupq_n_s32({right}))"
    return f"tk_finish4({value}, zero, low, high)"


def per_lane(narrow: bool, acc: str, multiplier: str, right: str) -> str:
    """Return C for the accumulators of four channels with their vectors of scalars."""
    name = "tk_scale4v" if narrow else "tk_scale4_any"
    return f"tk_finish4({name}({acc}, {multiplier}, {right}), zero, low, high)"


def arguments(folded: Folded) -> str:
    """Return the C arguments for zero, low and high."""
    return f"{folded.output_zero}, {folded.low}, {folded.high}"
