"""Where every value lies: liveness, shared buffers, then `plan`.

Values share a buffer where no byte need move: a reshape and its input, an element-wise result and
the operand that dies there, the parts of a concatenation or split that lie together in the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workers.compilers.cmsis_nn.code import Code
from workers.compilers.cmsis_nn.generic.moves import merged
from workers.compilers.cmsis_nn.layers import MoveLayer, Region, ReshapeLayer
from workers.compilers.cmsis_nn.plan import Buffer, plan
from workers.compilers.cmsis_nn.program import Program, Step

_SCRATCH_ALIGNMENT = 16
_TENSOR_ALIGNMENT = 4


@dataclass(frozen=True)
class Sharing:
    """Which ways of sharing a buffer are allowed."""

    in_place: bool = True
    reshape: bool = True
    placement: bool = True


@dataclass(frozen=True)
class Layout:
    """Arena offsets in bytes of values and of each step's scratch; `size` of the arena.

    `elided` are the numbers of steps that have nothing left to do.
    """

    values: Mapping[int, int]
    scratch: Mapping[int, int]
    size: int
    elided: frozenset[int]
    persistent: Mapping[int, int]


class _Groups:
    """Values that share a buffer: each has a root and an offset in the root's bytes."""

    def __init__(self, program: Program, codes: Sequence[Code]) -> None:
        self.program = program
        self.first: dict[int, int] = {}
        self.last: dict[int, int] = {}
        self.align: dict[int, int] = {}
        self.parent: dict[int, tuple[int, int]] = {}
        for number, value in program.values.items():
            if value.data is None and not value.persistent:
                self.align[number] = max(_TENSOR_ALIGNMENT, value.dtype.itemsize)
        end = len(program.steps)
        for number in program.inputs:
            self._touch(number, -1)
        for index, (step, code) in enumerate(zip(program.steps, codes, strict=True)):
            for number in (*step.inputs, *step.outputs):
                self._touch(number, index)
                if number in self.align:
                    self.align[number] = max(self.align[number], code.kernel.alignment)
        for number in program.outputs:
            self._touch(number, end)

    def _touch(self, number: int, moment: int) -> None:
        if number in self.align:
            self.first[number] = min(self.first.get(number, moment), moment)
            self.last[number] = max(self.last.get(number, moment), moment)

    def root(self, number: int) -> tuple[int, int]:
        """Return the root of `number` and its offset there."""
        offset = 0
        while number in self.parent:
            number, step = self.parent[number]
            offset += step
        return number, offset

    def planned(self, number: int) -> bool:
        """Return whether `number` lies in the planned part of the arena."""
        return number in self.first

    def join(self, inner: int, outer: int, offset: int) -> None:
        """Place root `inner` at `offset` bytes of root `outer`."""
        self.parent[inner] = (outer, offset)
        self.first[outer] = min(self.first[outer], self.first[inner])
        self.last[outer] = max(self.last[outer], self.last[inner])
        self.align[outer] = max(self.align[outer], self.align[inner])

    def size(self, number: int) -> int:
        """Return the bytes of value `number`."""
        return self.program.values[number].nbytes


def lay_out(program: Program, codes: Sequence[Code], sharing: Sharing) -> Layout:
    """Return the layout of `program`, whose steps' C is `codes`."""
    groups, elided = _share(program, codes, sharing)
    return _solve(groups, codes, elided)


def occupancy(program: Program, codes: Sequence[Code], sharing: Sharing) -> list[int]:
    """Return the bytes of the values that live during each step, without scratch."""
    groups, _ = _share(program, codes, sharing)
    roots = [n for n in groups.first if n not in groups.parent]
    return [
        sum(groups.size(n) for n in roots if groups.first[n] <= index <= groups.last[n])
        for index in range(len(program.steps))
    ]


def _share(
    program: Program, codes: Sequence[Code], sharing: Sharing
) -> tuple[_Groups, frozenset[int]]:
    groups = _Groups(program, codes)
    elided: set[int] = set()
    for index, (step, code) in enumerate(zip(program.steps, codes, strict=True)):
        if isinstance(step.layer, ReshapeLayer):
            if sharing.reshape and _share_reshape(groups, step):
                elided.add(index)
        elif isinstance(step.layer, MoveLayer):
            if sharing.placement and _share_parts(groups, step, index):
                elided.add(index)
        elif sharing.in_place and code.kernel.in_place:
            _share_operand(groups, step, index)
    return groups, frozenset(elided)


def _share_reshape(groups: _Groups, step: Step) -> bool:
    source, target = step.inputs[0], step.outputs[0]
    if not (groups.planned(source) and groups.planned(target)):
        return False
    outer, offset = groups.root(source)
    if groups.root(target)[0] != target:
        return False
    if offset % groups.align[target]:
        return False
    groups.join(target, outer, offset)
    return True


def _share_operand(groups: _Groups, step: Step, index: int) -> None:
    """Let the output lie on an operand that no one reads afterwards."""
    target = step.outputs[0]
    if not groups.planned(target) or groups.root(target)[0] != target:
        return
    for source in step.inputs:
        if not groups.planned(source) or groups.size(source) < groups.size(target):
            continue
        root, offset = groups.root(source)
        free = groups.last[root] == index and root != target
        others = [n for n in step.inputs if groups.planned(n)]
        clear = all(_same_or_apart(groups, source, n) for n in others)
        if free and clear and offset % groups.align[target] == 0:
            groups.join(target, root, offset)
            return


def _same_or_apart(groups: _Groups, one: int, other: int) -> bool:
    """Return whether writing `one` element by element leaves `other` readable until it is read.

    Two values of one size at one place are read where they are written. A smaller one there is a
    slice that is broadcast: its elements are read again after they were overwritten.
    """
    (root, start), (base, begin) = groups.root(one), groups.root(other)
    if root != base or (start == begin and groups.size(one) == groups.size(other)):
        return True
    return start + groups.size(one) <= begin or begin + groups.size(other) <= start


def _whole(region: Region, nbytes: int, itemsize: int) -> bool:
    """Return whether `region` copies one run of bytes that is all of a value."""
    flat = merged(region)
    if len(flat.counts) > 1 or any(s != 1 for s in (*flat.source_strides, *flat.target_strides)):
        return False
    return (flat.counts[0] if flat.counts else 1) * itemsize == nbytes


def _share_parts(groups: _Groups, step: Step, index: int) -> bool:
    layer = step.layer
    assert isinstance(layer, MoveLayer)  # noqa: S101 - for the type checker
    target = step.outputs[0]
    if not groups.planned(target) or groups.root(target)[0] != target or not layer.regions:
        return False
    if len(layer.regions) == 1 and _share_slice(groups, step, layer):
        return True
    return layer.fill is None and _share_concat(groups, step, layer, index)


def _share_slice(groups: _Groups, step: Step, layer: MoveLayer) -> bool:
    """Let one part of a split or slice be where it already lies in its source."""
    (region,) = layer.regions
    source, target = step.inputs[region.source], step.outputs[0]
    if not groups.planned(source) or not _whole(region, groups.size(target), layer.itemsize):
        return False
    root, offset = groups.root(source)
    offset += region.source_offset * layer.itemsize
    if offset % groups.align[target]:
        return False
    groups.join(target, root, offset)
    return True


def _share_concat(groups: _Groups, step: Step, layer: MoveLayer, index: int) -> bool:
    """Let every input be computed where it belongs in the concatenation, if all of them can."""
    target = step.outputs[0]
    moves: list[tuple[int, int]] = []
    for region in layer.regions:
        source = step.inputs[region.source]
        offset = region.target_offset * layer.itemsize
        fits = groups.planned(source) and _whole(region, groups.size(source), layer.itemsize)
        if not fits or region.source_offset or source in (n for n, _ in moves):
            return False
        root, inside = groups.root(source)
        shared = inside or root != source or groups.size(root) != groups.size(source)
        if shared or groups.first[source] < 0 or offset % groups.align[source]:
            return False
        moves.append((source, offset))
    for source, offset in moves:
        groups.join(source, target, offset)
    return True


def _solve(groups: _Groups, codes: Sequence[Code], elided: frozenset[int]) -> Layout:
    roots = [n for n in groups.first if n not in groups.parent]
    buffers = [
        Buffer(groups.size(n), groups.first[n], groups.last[n], groups.align[n]) for n in roots
    ]
    needy = [
        index
        for index, code in enumerate(codes)
        if code.kernel.scratch_bytes and index not in elided
    ]
    buffers += [Buffer(codes[i].kernel.scratch_bytes, i, i, _SCRATCH_ALIGNMENT) for i in needy]
    found = plan(buffers)
    base = dict(zip(roots, found.offsets, strict=False))
    values = {}
    for number in groups.first:
        root, offset = groups.root(number)
        values[number] = base[root] + offset
    scratch = dict(zip(needy, found.offsets[len(roots) :], strict=True))
    persistent, size = _persistent(groups.program, found.size)
    return Layout(values, scratch, size, elided, persistent)


def _persistent(program: Program, size: int) -> tuple[dict[int, int], int]:
    """Place what outlives a run behind everything that does not."""
    offsets: dict[int, int] = {}
    for number, value in sorted(program.values.items()):
        if value.persistent:
            size = -(-size // _SCRATCH_ALIGNMENT) * _SCRATCH_ALIGNMENT
            offsets[number] = size
            size += value.nbytes
    return offsets, size
