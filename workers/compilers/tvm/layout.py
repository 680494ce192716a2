"""Where every buffer and workspace of a program lies in the arena."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from workers.compilers.tvm.arena_search import pack
from workers.compilers.tvm.kernel import Kernel, Parameter
from workers.compilers.tvm.plan import Lifetime
from workers.compilers.tvm.program import Call, Program

# First and last step of each arena buffer.
_Spans = Mapping[int, tuple[int, int]]


@dataclass(frozen=True)
class Layout:
    """Byte offsets: `buffers` by number (constants absent), `workspaces` by call."""

    buffers: Mapping[int, int]
    workspaces: tuple[tuple[int, ...], ...]
    size: int
    alignment: int


def lay_out(program: Program, kernels: Mapping[str, Kernel], alignment: int) -> Layout:
    """Return the smallest layout of `program` that is found.

    Inputs live from before the first call to their last use, outputs to the end, workspaces during
    their call. A kernel that reads each element just before it writes the same element of its
    result may write over its operand; that is done where it makes the arena smaller.
    """
    spans = _spans(program)
    apart = {number: number for number in spans}
    shared = _share(program, kernels, spans)
    layouts = [_place(program, kernels, spans, owner, alignment) for owner in (apart, shared)]
    return min(layouts, key=lambda layout: layout.size)


def _place(
    program: Program,
    kernels: Mapping[str, Kernel],
    spans: _Spans,
    owner: Mapping[int, int],
    alignment: int,
) -> Layout:
    """Place the buffers that own memory, the others with their owner, and the workspaces."""
    joined: dict[int, tuple[int, int]] = {}
    for number, (first, last) in spans.items():
        old_first, old_last = joined.get(owner[number], (first, last))
        joined[owner[number]] = (min(first, old_first), max(last, old_last))
    numbers = sorted(joined)
    lifetimes = [Lifetime(program.buffers[n].nbytes, *joined[n]) for n in numbers]
    scratch = [
        (step, parameter.nbytes)
        for step, call in enumerate(program.calls)
        for parameter in _workspaces(kernels[call.kernel])
    ]
    lifetimes += [Lifetime(nbytes, step, step) for step, nbytes in scratch]
    plan = pack(lifetimes, alignment)
    offsets = dict(zip(numbers, plan.offsets, strict=False))
    workspaces: list[list[int]] = [[] for _ in program.calls]
    for (step, _), offset in zip(scratch, plan.offsets[len(numbers) :], strict=True):
        workspaces[step].append(offset)
    buffers = {number: offsets[owner[number]] for number in spans}
    return Layout(buffers, tuple(tuple(w) for w in workspaces), plan.size, alignment)


def _workspaces(kernel: Kernel) -> Sequence[Parameter]:
    """Return the scratch parameters; those that are not used take no memory."""
    scratch = kernel.parameters[len(kernel.parameters) - kernel.workspaces :]
    return [p if p.used else replace(p, nbytes=0) for p in scratch]


def _spans(program: Program) -> dict[int, tuple[int, int]]:
    """Return first and last step of each buffer in the arena."""
    end = len(program.calls)
    spans = dict.fromkeys(program.inputs, (-1, -1))

    def touch(number: int, step: int) -> None:
        if program.buffers[number].constant is None:
            first, _ = spans.get(number, (step, step))
            spans[number] = (first, step)

    for step, call in enumerate(program.calls):
        for number in (*call.inputs, *call.outputs):
            touch(number, step)
    for source, destination in program.copies:
        touch(source, end)
        touch(destination, end)
    for number in program.outputs:
        touch(number, end)
    return spans


def _share(program: Program, kernels: Mapping[str, Kernel], spans: _Spans) -> dict[int, int]:
    """Return whose memory each buffer uses: its own, or that of an operand used up by then."""
    owner = {number: number for number in spans}
    for step, call in enumerate(program.calls):
        taken: set[int] = set()
        for i, o in sorted(kernels[call.kernel].shareable):
            pair = _operand_and_result(call, i, o)
            if pair is None:
                continue
            operand, result = pair
            free = operand in spans and spans[operand][1] == step and operand not in taken
            if free and owner[result] == result and call.inputs.count(operand) == 1:
                owner[result] = owner[operand]
                taken.add(operand)
    return owner


def _operand_and_result(call: Call, i: int, o: int) -> tuple[int, int] | None:
    """Return the buffers behind two parameters if the first is an input, the second an output."""
    count = len(call.inputs)
    if i >= count or o < count:
        return None
    return call.inputs[i], call.outputs[o - count]


def shared_parameters(call: Call, layout: Layout) -> frozenset[int]:
    """Return the numbers of the parameters that this call gives overlapping memory."""
    places = [layout.buffers.get(number) for number in (*call.inputs, *call.outputs)]
    return frozenset(k for k, p in enumerate(places) if p is not None and places.count(p) > 1)
