"""Where every buffer and workspace of a program lies in the arena."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workers.compilers.tvm.kernel import Kernel, Parameter
from workers.compilers.tvm.plan import Lifetime, place
from workers.compilers.tvm.program import Program


@dataclass(frozen=True)
class Layout:
    """Byte offsets: `buffers` by number (constants absent), `workspaces` by call."""

    buffers: Mapping[int, int]
    workspaces: tuple[tuple[int, ...], ...]
    size: int
    alignment: int


def lay_out(program: Program, kernels: Mapping[str, Kernel], alignment: int) -> Layout:
    """Return the layout of `program`: inputs live from before the first call to their last use,
    outputs to the end, workspaces during their call.
    """
    spans = _spans(program)
    numbers = sorted(spans)
    lifetimes = [Lifetime(program.buffers[n].nbytes, *spans[n]) for n in numbers]
    scratch = [
        (step, p.nbytes)
        for step, call in enumerate(program.calls)
        for p in _workspaces(kernels[call.kernel])
    ]
    lifetimes += [Lifetime(nbytes, step, step) for step, nbytes in scratch]
    plan = place(lifetimes, alignment)
    offsets = dict(zip(numbers, plan.offsets, strict=False))
    workspaces: list[list[int]] = [[] for _ in program.calls]
    for (step, _), offset in zip(scratch, plan.offsets[len(numbers) :], strict=True):
        workspaces[step].append(offset)
    return Layout(offsets, tuple(tuple(w) for w in workspaces), plan.size, alignment)


def _workspaces(kernel: Kernel) -> tuple[Parameter, ...]:
    return kernel.parameters[len(kernel.parameters) - kernel.workspaces :]


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
