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

`fused_ram` is for compilers that fuse element-wise operators of two operands too (a residual sum
into the convolution before it) and write the result over the operand that was there before, if it
dies there.
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
    could overwrite its first input, `joins` if it computes element by element of two operands.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    renames: bool = False
    elementwise: bool = False
    joins: bool = False


def estimated_flash(weight_bytes: int, operators: int) -> int:
    """Return the estimated flash in bytes; formula in the module's documentation."""
    return weight_bytes + RUNTIME_BYTES + BYTES_PER_OPERATOR * operators


def estimated_ram(
    steps: Sequence[Step], inputs: Sequence[str], outputs: Sequence[str], nbytes: Mapping[str, int]
) -> int:
    """Return the estimated RAM in bytes; formula in the module's documentation.

    Tensors that are not in `nbytes` (constants, or of unknown size) count as nothing.
    """
    return _peak(steps, inputs, outputs, nbytes, _roots(steps, (*inputs, *outputs)))


def fused_ram(
    steps: Sequence[Step], inputs: Sequence[str], outputs: Sequence[str], nbytes: Mapping[str, int]
) -> int:
    """Return the estimated RAM in bytes where all element-wise operators are fused.

    `nbytes` are the sizes of values as they are kept between operators.
    """
    shared = _Shared(steps, (*inputs, *outputs), nbytes)
    return _peak(steps, inputs, outputs, nbytes, shared.roots())


def _peak(
    steps: Sequence[Step],
    inputs: Sequence[str],
    outputs: Sequence[str],
    nbytes: Mapping[str, int],
    root: Mapping[str, str],
) -> int:
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


class _Shared:
    """Which values share memory where element-wise operators are computed in the one before."""

    def __init__(
        self, steps: Sequence[Step], kept: Sequence[str], nbytes: Mapping[str, int]
    ) -> None:
        self._kept = frozenset(kept)
        self._nbytes = nbytes
        self._readers = Counter(name for step in steps for name in set(step.reads))
        self._made = {name: time for time, step in enumerate(steps) for name in step.writes}
        self._last = {name: time for time, step in enumerate(steps) for name in step.reads}
        self._parent: dict[str, str] = {}
        for time, step in enumerate(steps):
            operands = [name for name in dict.fromkeys(step.reads) if name in nbytes]
            if operands and step.renames:
                for name in step.writes:
                    self._join(name, operands[0])
            elif operands and (step.elementwise or step.joins) and len(step.writes) == 1:
                self._fuse(step.writes[0], operands, time)

    def roots(self) -> dict[str, str]:
        """Return whose memory each value uses that has none of its own."""
        return {name: self._find(name) for name in self._parent}

    def _fuse(self, result: str, operands: Sequence[str], time: int) -> None:
        """Have `result` share with the operand made last, where nobody else reads that, and with
        one made before, if it dies here.
        """
        late = max(operands, key=lambda name: self._made.get(name, -1))
        for name in sorted(operands, key=lambda name: name != late):
            alone = self._readers[name] == 1 if name == late else self._dies(name, time)
            same = self._nbytes[name] == self._nbytes.get(result)
            if alone and same and name not in self._kept:
                self._join(result, name)

    def _dies(self, name: str, time: int) -> bool:
        return self._last.get(self._find(name), -1) <= time

    def _join(self, name: str, other: str) -> None:
        one, root = self._find(name), self._find(other)
        if one != root:
            self._parent[one] = root
            self._last[root] = max(self._last.get(one, -1), self._last.get(root, -1))

    def _find(self, name: str) -> str:
        while name in self._parent:
            name = self._parent[name]
        return name
