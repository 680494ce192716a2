"""The arena search: never a larger plan than greedy, never two live buffers on one byte."""

from hypothesis import given
from hypothesis import strategies as st

from workers.compilers.tvm.arena_search import pack
from workers.compilers.tvm.plan import Lifetime, Plan, place


@st.composite
def lifetimes(draw: st.DrawFn) -> Lifetime:
    first = draw(st.integers(0, 12))
    return Lifetime(draw(st.integers(0, 400)), first, first + draw(st.integers(0, 4)))


def check(buffers: list[Lifetime], plan: Plan, alignment: int) -> None:
    for i, one in enumerate(buffers):
        assert plan.offsets[i] % alignment == 0
        assert plan.offsets[i] + one.nbytes <= plan.size
        for j, other in enumerate(buffers[:i]):
            if one.overlaps(other) and one.nbytes and other.nbytes:
                ends = plan.offsets[i] + one.nbytes, plan.offsets[j] + other.nbytes
                assert ends[0] <= plan.offsets[j] or ends[1] <= plan.offsets[i]


@given(st.lists(lifetimes(), max_size=12), st.sampled_from([1, 4, 16]))
def test_sound_and_no_larger_than_greedy(buffers: list[Lifetime], alignment: int) -> None:
    plan = pack(buffers, alignment)
    check(buffers, plan, alignment)
    assert plan.size <= place(buffers, alignment).size
    assert plan == pack(buffers, alignment)


def test_finds_what_greedy_misses() -> None:
    """Depthwise, quantise, pointwise by turns, as in keyword spotting: a third buffer of half
    size must go where the next large one is not.
    """
    sizes = [(32000, 1, 2), (32000, 2, 3), (16000, 3, 4), (32000, 4, 5), (32000, 5, 6)]
    buffers = [Lifetime(*size) for size in sizes]
    assert place(buffers).size > 64000
    plan = pack(buffers)
    assert plan.size == 64000
    check(buffers, plan, 16)
