"""The farm as a whole, in simulated time: nothing lost, nothing twice, fair, small."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.admission import Policy
from scheduler.ports import Delivery, Token
from tests.unit.scheduler.world import World, request
from tinymlaas.contract.messages import JobName, JobState, Payload
from tinymlaas.contract.pool_messages import PoolTask


def varied(seed: int, longest: float = 3.0):
    """Run times by action, from the seed alone."""

    def seconds(task: PoolTask) -> float:
        return random.Random(f"{seed}{task.action}").uniform(0.05, longest)

    return seconds


def changes(kind: str, tenant: str) -> dict[str, object]:
    """What an order has besides."""
    samples = Payload.of(b"samples", tenant)
    return {
        "": {},
        "first": {"first": True},
        "budget": {"budget": 2.0},
        "calibrated": {"calibration": {"samples": samples}, "first": True},
    }[kind]


MISHAP = st.tuples(
    st.floats(0, 30),
    st.sampled_from(["scheduler", "standby", "worker", "cancel", "again"]),
    st.integers(0, 99),
)


@settings(max_examples=100, deadline=None)
@given(
    jobs=st.lists(
        st.tuples(
            st.floats(0, 20),
            st.sampled_from("abcd"),
            st.integers(0, 9),
            st.integers(0, 9),
            st.sampled_from(["", "", "first", "budget", "calibrated"]),
        ),
        min_size=1,
        max_size=40,
    ),
    mishaps=st.lists(MISHAP, max_size=25),
    seed=st.integers(0, 9),
    inspected=st.booleans(),
)
def test_nothing_is_lost_and_nothing_ends_twice(jobs, mishaps, seed, inspected) -> None:
    policy = Policy(lookahead=3, planned=8, planning=4)
    world = World(
        policy=policy, pools={"cc": 2, "dd": 1}, seconds_of=varied(seed), inspected=inspected
    )
    messages = []
    for number, (when, tenant, priority, what, more) in enumerate(jobs):
        message = request(
            tenant, f"job-{number}", name=f"n{what}", priority=priority, **changes(more, tenant)
        )
        messages.append(message)
        world.at(when, lambda m=message: world.submit(m))
    for when, kind, which in mishaps:
        world.at(when, lambda k=kind, w=which: _mishap(world, messages, k, w))
    world.beats(250)
    world.unfinished = lambda: True  # type: ignore[method-assign]
    world.run(until=250)
    assert len(world.records) == len(jobs), "a job has no end"
    for key, record in world.records.items():
        told = {event.id for event in world.events if event.data.job_id == key[1]}
        assert told == {record.id}, "none, or two different final events"
        assert record.data.state in (
            JobState.DONE,
            JobState.CANCELLED,
            JobState.QUARANTINED,
            *([JobState.FAILED] if record.data.order and record.data.order.budget else []),
        )
    assert not world.recompiled
    assert not world.unacked
    assert not any(world.queues.values())
    assert not any(worker.task for worker in world.workers)
    assert len(world.core) == 0
    assert len(world.core.actions) == 0
    assert world.core._turns.idle()
    assert all(not pool.out for pool in world.core.actions.pools.values())
    assert all(not pool.groups for pool in world.core.actions.pools.values())


def _mishap(world: World, messages, kind: str, which: int) -> None:
    message = messages[which % len(messages)]
    if kind == "scheduler":
        world.kill_scheduler()
    elif kind == "standby":
        world.change_schedulers()
    elif kind == "worker":
        world.kill_worker(world.workers[which % len(world.workers)])
    elif kind == "again":  # a client that did not get its confirm
        if (message.data.tenant, message.id) in world.records or any(
            message.encoded() == d.body for d in world.unacked.values()
        ):
            world.submit(message)
    elif (message.data.tenant, message.id) in world.core._jobs:
        name = JobName(tenant=message.data.tenant, job_id=message.id)
        world.core.cancel(name, Token("control", world.epoch, -1))


@settings(max_examples=8, deadline=None)
@given(workers=st.integers(1, 4), arrival=st.floats(0.1, 40), seed=st.integers(0, 99))
def test_a_crowd_delays_a_single_job_by_at_most_one_job_for_each_worker(
    workers: int, arrival: float, seed: int
) -> None:
    world = World(pools={"cc": workers}, seconds_of=varied(seed))
    for number in range(1000):
        world.submit(request("crowd", f"c{number}", name=f"c{number}", priority=9))
    world.at(arrival, lambda: world.submit(request("single", "s", name="single", priority=0)))
    world.run(until=arrival + 5)
    (start,) = [when for when, _, task in world.started if task.work.job.task.name == "single"]
    between = [when for when, _, _ in world.started if arrival < when < start]
    assert not between, "a job of the crowd went first though a worker was free"
    assert start - arrival <= 3.0, "longer than the longest job"


def test_many_tenants_get_equal_shares_whatever_they_queue() -> None:
    world = World(pools={"cc": 2})
    for tenant, count in (("a", 400), ("b", 100), ("c", 25)):
        for number in range(count):
            world.submit(request(tenant, f"{tenant}{number}", name=f"{tenant}{number}"))
    world.run(until=35.5)
    started = [task.work.job.task.name[0] for _, _, task in world.started]
    assert len(started) == 72
    assert {started.count(tenant) for tenant in "abc"} <= {23, 24, 25}


def test_weights_say_how_much_more() -> None:
    world = World(policy=Policy(weights={"a": 3.0}), pools={"cc": 1})
    for tenant in "ab":
        for number in range(100):
            world.submit(request(tenant, f"{tenant}{number}", name=f"{tenant}{number}"))
    world.run(until=79.5)
    started = [task.work.job.task.name[0] for _, _, task in world.started]
    assert 58 <= started.count("a") <= 62


def test_priority_counts_among_a_tenants_own_jobs() -> None:
    world = World(pools={"cc": 1}, policy=Policy(lookahead=4))
    for number in range(50):
        world.submit(request("a", f"{number}", name=f"n{number}", priority=2))
    world.at(5.5, lambda: world.submit(request("a", "now", name="now", priority=8)))
    world.run(until=10)
    names = [task.work.job.task.name for _, _, task in world.started]
    assert names.index("now") == 6


@pytest.mark.parametrize("jobs", [4_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_waiting_jobs_take_little_memory(jobs: int) -> None:
    """At most 2 kB a job and 10 MB for what is planned: 110 MB for 50,000."""
    world = World(policy=Policy(waiting=50_000), pools={"cc": 2})
    bodies = [
        request(f"tenant-{n % 20}", f"job-{n}", model=f"model-{n}", name=f"n{n % 50}").encoded()
        for n in range(jobs)
    ]
    tracemalloc.start()
    try:
        for tag, body in enumerate(bodies):
            world.core.request(Delivery(Token("requests", 1, tag), body))
            if tag % 100 == 0:
                world.settle()
                world.replies.clear()  # what was told is no memory of the scheduler's
        world.settle()
        used, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(world.core) == jobs
    print(f"\n{jobs:,} waiting jobs: {used / 1e6:.1f} MB now, {peak / 1e6:.1f} MB at most")
    assert peak < 10e6 + jobs * 2e3
