"""Greedy placement: sound, aligned, and optimal where nothing competes."""

from hypothesis import given
from hypothesis import strategies as st

from workers.compilers.tvm.plan import Lifetime, place

LIFETIMES = st.builds(
    lambda nbytes, first, length: Lifetime(nbytes, first, first + length),
    st.integers(0, 500),
    st.integers(-1, 15),
    st.integers(0, 6),
)


@given(st.lists(LIFETIMES, max_size=15), st.sampled_from([1, 8, 16]))
def test_live_buffers_never_overlap(buffers, alignment):
    plan = place(buffers, alignment)
    assert plan.size % alignment == 0
    for i, one in enumerate(buffers):
        assert plan.offsets[i] % alignment == 0
        assert plan.offsets[i] + one.nbytes <= plan.size
        for j, other in enumerate(buffers[:i]):
            if one.overlaps(other) and one.nbytes and other.nbytes:
                low, high = sorted([(plan.offsets[i], one.nbytes), (plan.offsets[j], other.nbytes)])
                assert low[0] + low[1] <= high[0]


@given(st.lists(LIFETIMES, max_size=15))
def test_never_below_what_lives_at_once(buffers):
    steps = range(-1, 25)
    live = max(sum(b.nbytes for b in buffers if b.first <= t <= b.last) for t in steps)
    assert place(buffers, 1).size >= live


def test_a_chain_needs_its_two_largest_neighbours():
    sizes = [100, 400, 300, 50]
    chain = [Lifetime(size, step, step + 1) for step, size in enumerate(sizes)]
    assert place(chain, 1).size == 700


def test_nothing_needs_nothing():
    assert place([], 16).size == 0
    assert place([Lifetime(0, 0, 9)], 16).size == 0
