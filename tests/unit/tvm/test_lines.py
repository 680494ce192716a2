"""What follows from what the lines of a kernel read and write."""

from workers.compilers.tvm.lines import Access, Line, live, may_share


def line(store=None, loads=(), times=1, target=None):
    written = None if store is None else Access(*store)
    return Line(
        "…\n",
        target or (written.buffer if written else None),
        written,
        frozenset(Access(*load) for load in loads),
        times,
    )


def test_dead_scratch_goes_with_what_it_alone_needed():
    lines = [
        line(("a", "i"), [("x", "i")]),
        line(("b", "i"), [("a", "i")]),
        line(("y", "i"), [("x", "i")]),
    ]
    assert live(lines, {"x", "y"}) == lines[2:]


def test_same_element_read_then_written_may_share():
    assert may_share([line(("y", "i"), [("x", "i"), ("w", "0")], times=8)], "x", "y", 8)


def test_two_loops_that_make_up_the_whole_may_share():
    lines = [line(("y", "i"), [("x", "i")], times=n) for n in (3, 5)]
    assert may_share(lines, "x", "y", 8)


def test_another_element_may_not():
    assert not may_share([line(("y", "i"), [("x", "i + 1")], times=8)], "x", "y", 8)


def test_read_into_scratch_may_not():
    lines = [line(("t", "0"), [("x", "i")], 8), line(("y", "i"), [("t", "0")], 8)]
    assert not may_share(lines, "x", "y", 8)


def test_result_that_is_read_may_not():
    lines = [line(("y", "i"), [], 8), line(("y", "i"), [("y", "i"), ("x", "i")], 8)]
    assert not may_share(lines, "x", "y", 8)


def test_element_stored_twice_may_not():
    assert not may_share([line(("y", "i / 2"), [("x", "i / 2")], times=16)], "x", "y", 8)


def test_unknown_number_of_times_may_not():
    assert not may_share([line(("y", "i"), [("x", "i")], times=None)], "x", "y", 8)
