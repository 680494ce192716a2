"""From the counters the harness has read to instructions. Counted are instructions of virtual
time, never cycles: under QEMU's -icount every instruction takes 2**shift ns of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """A 32-bit counter at `hertz` and one `divider` times slower that tells how often it wrapped;
    or, if `divider` is None, the lower and upper half of one 64-bit counter.

    A tick must be so much shorter than an instruction (2**`shift` ns) that rounding gives the
    exact number whatever the phase: at most a third. `source` is the part of the harness that
    reads the counters, with the macros `defines`.
    """

    source: str
    hertz: int
    divider: int | None
    defines: tuple[str, ...] = ()
    shift: int = 8

    def instructions(self, fine: int, coarse: int) -> int:
        """Return the instructions between two readings, from the differences of both counters."""
        ticks = (self._wraps(fine, coarse) << 32) + fine
        numerator = ticks * 1_000_000_000
        denominator = self.hertz << self.shift
        return (2 * numerator + denominator) // (2 * denominator)

    def _wraps(self, fine: int, coarse: int) -> int:
        if self.divider is None:
            return coarse
        return max(0, (coarse * self.divider - fine + (1 << 31)) >> 32)
