"""What can be worked out of a layer's arithmetic before it runs.

The accumulator of TFLite is Σ w × (x − zx) + b. Here it is Σ w × x + b', with
b' = b − zx × Σ w: a padded input then counts as zx.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.compilers.cmsis_nn.special.layers import Requantisation

Int32 = NDArray[np.int32]
_HALF = 1 << 30  # a multiplier of one half


@dataclass(frozen=True, eq=False)
class Folded:
    """Weights as [channel, tap], with everything per channel beside them.

    `right` is the right shift (TFLite's shift negated), `narrow` says that in every channel
    0 < right < 32 and twice the accumulator fits 32 bits: then the doubling of the high multiply
    may be done before it.
    """

    weights: NDArray[np.int8]
    bias: Int32
    multipliers: Int32
    right: Int32
    narrow: bool
    input_zero: int
    output_zero: int
    low: int
    high: int

    @property
    def saturates(self) -> bool:
        """True if the activation bounds are those of int8 itself."""
        return (self.low, self.high) == (-128, 127)

    @property
    def uniform(self) -> bool:
        """True if one multiplier and shift serve all channels."""
        return bool(np.all(self.multipliers == self.multipliers[0])) and bool(
            np.all(self.right == self.right[0])
        )

    @property
    def packable(self) -> bool:
        """True if `packed_params` can hold the biases (24 bits)."""
        return self.narrow and bool(np.all(np.abs(self.bias.astype(np.int64)) < 1 << 23))

    def packed_params(self) -> Int32:
        """Return [channel, 2] of packable layers: bias × 256 + right shift − 1, multiplier."""
        return np.stack([self.bias * 256 + self.right - 1, self.multipliers], axis=1)

    def params(self) -> Int32:
        """Return [channel, 3]: bias, multiplier, right shift less one (narrow layers), or
        TFLite's shift (others).
        """
        shift = (self.right - 1 if self.narrow else -self.right).astype(np.int32)
        return np.stack([self.bias, self.multipliers, shift], axis=1)


def fold(weights: NDArray[np.int8], bias: Int32, quant: Requantisation) -> Folded:
    """Fold a layer with `weights` [channel, tap]."""
    channels = weights.shape[0]
    wide = weights.astype(np.int64)
    folded = _wrap(bias.astype(np.int64) - quant.input_zero_point * wide.sum(axis=1))
    multipliers = np.broadcast_to(quant.multipliers, channels).astype(np.int64).copy()
    shifts = np.broadcast_to(quant.shifts, channels).astype(np.int64).copy()
    constant = ~weights.any(axis=1) | (multipliers == 0)
    value = np.clip(
        requantise(folded, multipliers, shifts) + quant.output_zero_point,
        quant.activation_min,
        quant.activation_max,
    )
    # A channel that does not depend on its input gets numbers that suit the fast path.
    live = np.where(constant[:, None], 0, weights).astype(np.int8)
    folded = np.where(constant, (value - quant.output_zero_point) * 4, folded)
    multipliers = np.where(constant, _HALF, multipliers)
    shifts = np.where(constant, -1, shifts)
    reach = np.abs(folded) + 128 * np.abs(live.astype(np.int64)).sum(axis=1)
    narrow = bool(np.all(reach < _HALF) and np.all(shifts < 0) and np.all(shifts > -32))
    return Folded(
        weights=live,
        bias=folded.astype(np.int32),
        multipliers=multipliers.astype(np.int32),
        right=(-shifts).astype(np.int32),
        narrow=narrow,
        input_zero=quant.input_zero_point,
        output_zero=quant.output_zero_point,
        low=quant.activation_min,
        high=quant.activation_max,
    )


def _wrap(value: NDArray[np.int64]) -> NDArray[np.int64]:
    """Reduce to int32 as the device's arithmetic does."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


def requantise(
    acc: NDArray[np.int64], multiplier: NDArray[np.int64], shift: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return TFLM's MultiplyByQuantizedMultiplier: two roundings, the second half away from 0."""
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    high = (_wrap(acc << left) * multiplier + _HALF) >> 31
    half = (np.int64(1) << right) >> 1
    return np.where(right > 0, (high + half - (high < 0)) >> right, high)
