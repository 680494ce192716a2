"""Flash and RAM a model will need, estimated before any compiler has seen it.

The figures are for orders of magnitude ("a 3 MB model for a 256 kB board"); whether a module fits
is decided by the link alone.

flash = weights + `RUNTIME_BYTES` + `BYTES_PER_OPERATOR` × operators, where the code constants are
rounded from modules of generated C for Cortex-M (-O2): start-up and libm's ``expf`` and ``tanhf``
make the first, one loop nest with its fused activation the second.

RAM = the largest sum of live activations + `STACK_BYTES`. Operators run in the model's order; a
tensor lives from the operator that writes it to the last one that reads it, inputs from the start,
outputs to the end; operators that only rename their input (reshape) take no memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RUNTIME_BYTES = 6 * 1024
BYTES_PER_OPERATOR = 512
STACK_BYTES = 1024


@dataclass(frozen=True)
class Step:
    """One operator as memory sees it: names of the activations it reads and writes."""

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    renames: bool = False


def estimated_flash(weight_bytes: int, operators: int) -> int:
    """Return the estimated flash in bytes; formula in the module's documentation."""
    return weight_bytes + RUNTIME_BYTES + BYTES_PER_OPERATOR * operators


def estimated_ram(
    steps: Sequence[Step], inputs: Sequence[str], outputs: Sequence[str], nbytes: Mapping[str, int]
) -> int:
    """Return the estimated RAM in bytes; formula in the module's documentation.

    Tensors that are not in `nbytes` (constants, or of unknown size) count as nothing.
    """
    root = _roots(steps)
    first = {root.get(name, name): 0 for name in inputs}
    last = dict(first)
    for time, step in enumerate(steps):
        for name in (*step.reads, *step.writes):
            own = root.get(name, name)
            first.setdefault(own, time)
            last[own] = time
    for name in outputs:
        own = root.get(name, name)
        first.setdefault(own, 0)
        last[own] = len(steps)
    change = [0] * (len(steps) + 2)
    for name, born in first.items():
        change[born] += nbytes.get(name, 0)
        change[last[name] + 1] -= nbytes.get(name, 0)
    peak = live = 0
    for delta in change:
        live += delta
        peak = max(peak, live)
    return peak + STACK_BYTES


def _roots(steps: Sequence[Step]) -> dict[str, str]:
    """Map the result of every renaming operator to the tensor whose memory it is."""
    root: dict[str, str] = {}
    for step in steps:
        if step.renames and step.reads:
            for name in step.writes:
                root[name] = root.get(step.reads[0], step.reads[0])
    return root
