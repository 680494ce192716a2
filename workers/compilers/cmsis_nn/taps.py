"""Tapped modules: which tensors of the model are left after all passes, and where copies lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tinymlaas.contract.compiler import ArenaTensor, Tap
from tinymlaas.contract.tensors import TensorSpec
from workers.compilers.cmsis_nn.arena import Layout
from workers.compilers.cmsis_nn.graph import Graph
from workers.compilers.cmsis_nn.program import Program, Value

_ALIGNMENT = 16


@dataclass(frozen=True)
class Kept:
    """After step `step` value `value` is copied to `offset` of the arena."""

    step: int
    value: int
    offset: int


def place(
    program: Program, layout: Layout, graph: Graph, lowered: Mapping[int, Value]
) -> tuple[tuple[Kept, ...], int]:
    """Return the copies to make of the model's own tensors, and the arena's size with them.

    A value that has another shape than when it was `lowered`, and not for channels that were
    dropped, is no longer the model's tensor. Nothing of the layout changes: copies lie behind it.
    """
    known = _writers(graph)
    size = layout.size
    kept = []
    for index, step in enumerate(program.steps):
        for number in step.outputs:
            value = program.values[number]
            own = number in known and (value.channels or value.shape == lowered[number].shape)
            if own and number in layout.values and not value.persistent:
                offset = -(-size // _ALIGNMENT) * _ALIGNMENT
                kept.append(Kept(index, number, offset))
                size = offset + value.nbytes
    return tuple(kept), size


def taps(kept: tuple[Kept, ...], program: Program, graph: Graph) -> Iterator[Tap]:
    """Yield how the interface tells of `kept`."""
    known = _writers(graph)
    for each in kept:
        layer, output = known[each.value]
        value = program.values[each.value]
        spec = TensorSpec(name=value.name, shape=value.shape, dtype=value.dtype)
        name = graph.operators[layer].name
        origin, _, index = program.steps[each.step].origin.rpartition(" ")
        yield Tap(
            layer=layer,
            output=output,
            operator=name if index == str(layer) else f"{origin}+{name}",
            tensor=ArenaTensor(spec=spec, offset=each.offset),
            channels=value.channels,
        )


def _writers(graph: Graph) -> dict[int, tuple[int, int]]:
    """Return which operator writes each tensor, and as which of its outputs."""
    return {
        number: (operator.index, position)
        for operator in graph.operators
        for position, number in enumerate(operator.outputs)
    }
