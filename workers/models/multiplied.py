"""Bytes of weights that no compiler can do without: what a board cannot hold is no use compiling.

Counted are constants that a convolution or matrix product multiplies with what depends on an input,
if the outputs depend on it in turn, by way of operators that use all of what they read. Not so
constants that nothing reads, that are folded with others, or that are the same again (transposed,
say): two with the same bytes in any order count once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# What uses every element it reads, so that nothing before it can be left out. A sum of two or a
# pool keeps its operands alive; a slice, a gather or a shape may not.
_USING = frozenset(
    (
        *("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "AVERAGE_POOL_2D"),
        *("MAX_POOL_2D", "RELU", "RELU6", "RESHAPE", "SOFTMAX", "LOGISTIC", "TANH"),
        *("Conv", "Gemm", "MatMul", "Add", "AveragePool", "MaxPool", "GlobalAveragePool"),
        *("Relu", "Clip", "Reshape", "Flatten", "Softmax", "BatchNormalization", "Sigmoid"),
        *("Tanh", "Identity"),
    )
)
# The places of an operator's weights among what it reads.
_WEIGHTS = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "Conv"), (1,)),
    **dict.fromkeys(("Gemm", "MatMul"), (0, 1)),
}


@dataclass(frozen=True)
class Use:
    """One operator: its name, and the names of what it reads, in its order, and writes."""

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


def multiplied_bytes(
    uses: Sequence[Use], inputs: Iterable[str], outputs: Iterable[str], data: Mapping[str, bytes]
) -> int:
    """Return the bytes of the constants `data` that the model must multiply with; see above.

    `uses` are the operators of the main graph in executable order.
    """
    given = set(inputs)
    for use in uses:
        if given.intersection(use.reads):
            given.update(use.writes)
    needed = set(outputs)
    found: dict[tuple[int, bytes], int] = {}
    for use in reversed(uses):
        if use.name not in _USING or not needed.intersection(use.writes):
            continue
        needed.update(use.reads)
        for place in _WEIGHTS.get(use.name, ()):
            others = [name for at, name in enumerate(use.reads) if at != place]
            if place < len(use.reads) and given.intersection(others[:1]):
                content = data.get(use.reads[place], b"")
                found[_whatever_order(content)] = len(content)
    return sum(found.values())


def _whatever_order(content: bytes) -> tuple[int, bytes]:
    """Return what two arrays of the same bytes share, in whatever order these are."""
    counts = np.bincount(np.frombuffer(content, np.uint8), minlength=256)
    return len(content), counts.tobytes()
