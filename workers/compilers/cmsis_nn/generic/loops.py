"""C loops over strided tensors."""

from __future__ import annotations

from collections.abc import Sequence


def nest(counts: Sequence[int], inner: Sequence[str], name: str = "i") -> list[str]:
    """Return ``for`` loops over `counts` with variables ``<name>0 …`` around the lines `inner`."""
    depth = len(counts)
    lines = [
        f"{'  ' * d}for (int32_t {name}{d} = 0; {name}{d} < {n}; {name}{d}++) {{"
        for d, n in enumerate(counts)
    ]
    lines += [f"{'  ' * depth}{line}" for line in inner]
    lines += [f"{'  ' * d}}}" for d in reversed(range(depth))]
    return lines


def index(offset: int, strides: Sequence[int], name: str = "i") -> str:
    """Return the element index as a C expression over the loop variables of `nest`."""
    terms = [f"{name}{d} * {s}" if s != 1 else f"{name}{d}" for d, s in enumerate(strides) if s]
    if offset or not terms:
        terms.insert(0, str(offset))
    return " + ".join(terms)
