"""Lifetimes, in-place results and workspaces of whole programs."""

import numpy as np

from workers.compilers.tvm.kernel import Kernel, Parameter
from workers.compilers.tvm.layout import lay_out, shared_parameters
from workers.compilers.tvm.program import Buffer, Call, Program


def kernel(inputs=1, outputs=1, workspaces=(), shareable=(), used=True):
    parameters = [Parameter(f"p{i}", "float32", 64) for i in range(inputs)]
    parameters += [Parameter(f"r{i}", "float32", 64, written=True) for i in range(outputs)]
    parameters += [Parameter(f"w{i}", "float32", n, used=used) for i, n in enumerate(workspaces)]
    pairs = frozenset(shareable)
    return Kernel("k", tuple(parameters), len(workspaces), "", frozenset(), pairs)


def program(calls, buffers, inputs, outputs, copies=(), constants=()):
    made = tuple(
        Buffer(64, "float32", np.zeros(16, "float32") if n in constants else None)
        for n in range(buffers)
    )
    return Program(made, tuple(Call("k", *c) for c in calls), inputs, outputs, tuple(copies))


def overlap(layout, a, b):
    return layout.buffers[a] == layout.buffers[b]


CHAIN = program([((0,), (1,)), ((1,), (2,))], 3, (0,), (2,))


def test_memory_of_what_is_used_up_is_used_again():
    layout = lay_out(CHAIN, {"k": kernel()}, 16)
    assert layout.size == 128
    assert not overlap(layout, 0, 1)
    assert not overlap(layout, 1, 2)


def test_in_place_where_elements_allow_it():
    layout = lay_out(CHAIN, {"k": kernel(shareable=[(0, 1)])}, 16)
    assert layout.size == 64
    assert shared_parameters(CHAIN.calls[0], layout) == {0, 1}


def test_not_in_place_while_the_operand_is_needed():
    needed = program([((0,), (1,)), ((0,), (2,))], 3, (0,), (1, 2))
    layout = lay_out(needed, {"k": kernel(shareable=[(0, 1)])}, 16)
    assert not overlap(layout, 0, 1)
    assert not overlap(layout, 1, 2)


def test_not_in_place_over_an_output_or_an_operand_read_twice():
    output = program([((0,), (1,)), ((1,), (2,))], 3, (0,), (1, 2))
    assert not overlap(lay_out(output, {"k": kernel(shareable=[(0, 1)])}, 16), 1, 2)
    twice = program([((0, 0), (1,))], 2, (0,), (1,))
    assert not overlap(lay_out(twice, {"k": kernel(2, shareable=[(0, 2)])}, 16), 0, 1)


def test_constants_have_no_place():
    constant = program([((0, 1), (2,))], 3, (0,), (2,), constants=(1,))
    layout = lay_out(constant, {"k": kernel(2, shareable=[(1, 2)])}, 16)
    assert 1 not in layout.buffers


def test_workspaces_live_during_their_call_only():
    layout = lay_out(CHAIN, {"k": kernel(workspaces=(256, 64))}, 16)
    assert layout.size == 128 + 256 + 64
    unused = lay_out(CHAIN, {"k": kernel(workspaces=(256,), used=False)}, 16)
    assert unused.size == 128


def test_copies_keep_source_and_destination_to_the_end():
    same = program([((0,), (1,))], 3, (0,), (1, 2), copies=[(1, 2)])
    layout = lay_out(same, {"k": kernel()}, 16)
    assert not overlap(layout, 1, 2)
