"""Fair shares as such: no core, only the queue."""

from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from scheduler.fair import FairQueue

TENANTS = st.sampled_from("abcd")
PUSH = st.tuples(TENANTS, st.integers(0, 9), st.integers(1, 4))


@given(st.lists(PUSH, max_size=60))
def test_what_goes_in_comes_out_once_by_priority_then_arrival(pushes: list) -> None:
    queue: FairQueue[tuple] = FairQueue()
    for number, (tenant, priority, cost) in enumerate(pushes):
        queue.push(tenant, priority, (tenant, -priority, number), cost)
    assert len(queue) == len(pushes)
    for tenant in "abcd":
        assert list(queue.waiting(tenant)) == sorted(queue.waiting(tenant))
    popped = [queue.pop() for _ in pushes]
    assert len({*popped}) == len(pushes)
    assert queue.pop() is None
    assert len(queue) == 0
    for tenant in "abcd":
        own = [key for key in popped if key[0] == tenant]
        assert own == sorted(own)


@given(
    st.dictionaries(TENANTS, st.sampled_from([0.5, 1.0, 2.0, 4.0]), min_size=2),
    st.integers(20, 60),
    st.integers(1, 5),
)
def test_backlogged_tenants_share_by_weight_within_one_job(
    weights: dict[str, float], rounds: int, largest: int
) -> None:
    queue: FairQueue[tuple[str, int]] = FairQueue(lambda tenant: weights[tenant])
    costs = {}
    for tenant in weights:
        for number in range(rounds * 4):
            costs[tenant, number] = 1 + number % largest
            queue.push(tenant, 4, (tenant, number), costs[tenant, number])
    served = Counter(dict.fromkeys(weights, 0.0))
    for _ in range(rounds):
        key = queue.pop()
        assert key is not None
        served[key[0]] += costs[key] / weights[key[0]]
        # Start-time fair queueing: no two differ by more than one largest job of each.
        for (a, ours), (b, theirs) in itertools.combinations(weights.items(), 2):
            bound = largest / ours + largest / theirs
            assert abs(served[a] - served[b]) <= bound + 1e-9


@given(st.integers(0, 30))
def test_who_comes_to_a_backlog_is_next(before: int) -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(1000):
        queue.push("crowd", 9, f"crowd-{number}")
    for _ in range(before):
        queue.pop()
    queue.push("single", 0, "single-0")
    assert "single-0" in [queue.pop(), queue.pop()]


def test_coming_and_going_is_no_way_to_get_more() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(100):
        queue.push("crowd", 4, f"crowd-{number}")
    served: Counter[str] = Counter()
    for number in range(40):
        queue.push("sly", 4, f"sly-{number}") if not list(queue.waiting("sly")) else None
        served[str(queue.pop()).split("-")[0]] += 1
    assert abs(served["sly"] - served["crowd"]) <= 1


def test_who_may_not_go_is_passed_over_and_does_not_catch_up() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(20):
        queue.push("a", 4, f"a-{number}")
        queue.push("b", 4, f"b-{number}")
    assert {queue.pop(lambda tenant, priority: tenant == "b") for _ in range(10)} == {
        f"b-{number}" for number in range(10)
    }
    assert queue.pop(lambda tenant, priority: False) is None
    then = [str(queue.pop())[0] for _ in range(8)]
    assert then.count("a") <= 5


def test_removed_keys_do_not_come() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.push("a", 4, "x")
    queue.push("a", 4, "x")
    assert len(queue) == 1
    assert queue.discard("a", 4, "x")
    assert not queue.discard("a", 4, "x")
    assert not queue.discard("b", 4, "x")
    assert queue.pop() is None
    assert queue.tenants() == 0


def test_idle_tenants_are_forgotten() -> None:
    queue: FairQueue[str] = FairQueue()
    for number in range(10_000):
        queue.push(f"tenant-{number}", 4, "x")
        assert queue.pop() == "x"
    assert len(queue._past) < 200
