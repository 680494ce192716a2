"""Flash and RAM a model will need, estimated before any compiler has seen it.

The figures are for orders of magnitude ("a 3 MB model for a 256 kB board"); whether a module fits
is decided by the link alone.

flash = weights + `RUNTIME_BYTES` + `BYTES_PER_OPERATOR` × operators. The constants are rounded from
modules of generated C as linked for Cortex-M4: 2.7 kB of code for 8 operators of which one is a
softmax, 2.7 kB for 10 dense layers, 4.4 kB for 13 operators of which 9 are convolutions.

RAM = the largest sum of live activations + `STACK_BYTES`. Operators run in the model's order; a
tensor lives from the operator that writes it to the last one that reads it, inputs from the start,
outputs to the end. Operators that only rename their input (reshape) take no memory, nor do
elementwise ones (relu) that are the only reader of theirs: compilers fuse them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RUNTIME_BYTES = 2048
BYTES_PER_OPERATOR = 192
STACK_BYTES = 256


@dataclass(frozen=True)
class Step:
    """One operator as memory sees it: names of the activations it reads and writes.

    `renames` if its result is its first input under another name or shape, `elementwise` if it
    could overwrite its first input.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    renames: bool = False
    elementwise: bool = False


def estimated_flash(weight_bytes: int, operators: int) -> int:
    """Return the estimated flash in bytes; formula in the module's documentation."""
    return weight_bytes + RUNTIME_BYTES + BYTES_PER_OPERATOR * operators


def estimated_ram(
    steps: Sequence[Step], inputs: Sequence[str], outputs: Sequence[str], nbytes: Mapping[str, int]
) -> int:
    """Return the estimated RAM in bytes; formula in the module's documentation.

    Tensors that are not in `nbytes` (constants, or of unknown size) count as nothing.
    """
    root = _roots(steps, (*inputs, *outputs))
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


def _roots(steps: Sequence[Step], kept: Sequence[str]) -> dict[str, str]:
    """Map each result that takes no memory of its own to the tensor whose memory it is.

    `kept` are tensors that must not be overwritten: inputs and outputs of the model.
    """
    readers = Counter(name for step in steps for name in set(step.reads))
    root: dict[str, str] = {}
    for step in steps:
        if not step.reads:
            continue
        source = step.reads[0]
        fused = step.elementwise and readers[source] == 1 and source not in kept
        if step.renames or fused:
            root.update((name, root.get(source, source)) for name in step.writes)
    return root
