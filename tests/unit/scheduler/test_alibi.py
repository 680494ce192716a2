"""Where workers die of other things too, a task that loses its own is innocent, or judged late."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from scheduler.deaths import DEATHS, Death, DeathToll, guilty
from tests.unit.scheduler.world import Worker, World, request
from tinymlaas.contract.messages import JobState
from tinymlaas.contract.pool_messages import PoolTask

POOLS = {"tvm": 2, "cc": 2}


def named(task: PoolTask) -> str:
    """Return the name of what is built."""
    return task.work.job.task.name if task.work.kind == "build" else ""


def compiles(name: str) -> Callable[[PoolTask], float]:
    return lambda task: 12.0 if named(task) == name else 0.3


def ends(world: World) -> dict[str, JobState]:
    return {event.data.job_id: event.data.state for event in world.events}


def submit(world: World, name: str, compiler: str = "tvm") -> None:
    world.submit(request("a", name, name=name, compiler=compiler))


def at_it(world: World, name: str) -> Worker | None:
    return next((w for w in world.workers if w.task is not None and named(w.task) == name), None)


def test_two_deaths_right_after_a_takeover_while_others_die_too_are_no_proof() -> None:
    """As chaos with seed 984425 had it: every 3 s a worker is killed, the scheduler at first."""
    world = World(pools=POOLS, seconds_of=compiles("unlucky"))
    world.beats(300)
    world.kill_scheduler()  # it forgets whoever has died before
    submit(world, "unlucky")
    world.settle()

    def strike(number: int) -> None:
        victim = at_it(world, "unlucky") if number in (0, 2) else None
        idle = [worker for worker in world.workers if worker.task is None]
        world.kill_worker(victim or idle[number % len(idle)])

    for number in range(8):
        world.at(3.0 * number + 0.5, lambda number=number: strike(number))  # type: ignore[misc]
    world.run()
    assert sum(named(task) == "unlucky" for _, _, task in world.started) == DEATHS + 1
    assert ends(world) == {"unlucky": JobState.DONE}


@pytest.mark.parametrize("seed", range(20))
def test_workers_killed_at_random_cost_no_innocent_job(seed: int) -> None:
    """Two minutes of it, one every 3 s, each second time one that works; a scheduler too."""
    draw = random.Random(seed)
    world = World(pools=POOLS, seconds_of=lambda task: 8.0 if task.pool == "tvm" else 0.4)
    world.beats(1500)

    def strike() -> None:
        busy = [worker for worker in world.workers if worker.task is not None]
        world.kill_worker(draw.choice(busy if busy and draw.random() < 0.5 else world.workers))

    for number in range(40):
        world.at(3.0 * number, strike)
    for _ in range(2):
        world.at(draw.uniform(5, 100), world.kill_scheduler)
    for number in range(60):
        compiler = "tvm" if number % 6 == 0 else "cc"
        at = draw.uniform(0, 66)
        world.at(at, lambda n=number, c=compiler: submit(world, f"j{n}", c))  # type: ignore[misc]
    world.unfinished = lambda: world.now < 1400  # type: ignore[method-assign]
    world.run(until=1500)
    assert Counter(ends(world).values()) == {JobState.DONE: 60}
    assert not world.recompiled


def test_a_poison_job_costs_two_workers_where_nobody_else_dies() -> None:
    world = World(pools=POOLS, deadly=lambda task: named(task) == "bad")
    submit(world, "bad")
    submit(world, "good")
    world.beats(300)
    world.run()
    assert ends(world) == {"bad": JobState.QUARANTINED, "good": JobState.DONE}
    assert sum(named(task) == "bad" for _, _, task in world.started) == DEATHS
    reason = next(e.data.reasons[0] for e in world.events if e.data.job_id == "bad")
    assert reason.endswith("; workers died at nothing else in these times")


def test_several_poison_jobs_are_no_alibi_for_each_other() -> None:
    world = World(pools={"tvm": 4}, deadly=lambda task: named(task).startswith("bad"))
    for number in range(8):
        submit(world, f"bad{number}")
    world.beats(2000)
    world.run()
    assert {*ends(world).values()} == {JobState.QUARANTINED}
    begun = Counter(named(task) for _, _, task in world.started)
    assert set(begun.values()) <= {DEATHS, DEATHS + 1}, begun


def test_a_poison_job_is_found_out_while_others_die_too() -> None:
    """Later, and it costs more workers; not for ever."""
    world = World(pools=POOLS, deadly=lambda task: named(task) == "bad")
    submit(world, "bad")
    world.beats(4000)

    def strike() -> None:
        world.kill_worker(next(worker for worker in world.workers if worker.task is None))

    for number in range(1300):
        world.at(3.0 * number, strike)
    world.run()
    assert ends(world) == {"bad": JobState.QUARANTINED}
    assert sum(named(task) == "bad" for _, _, task in world.started) == 9
    assert 1200 < world.now < 3000


def test_after_bad_times_two_deaths_are_proof_again() -> None:
    world = World(pools=POOLS, deadly=lambda task: named(task) == "bad")
    world.beats(1000)
    for number in range(10):
        world.at(3.0 * number, lambda: world.kill_worker(world.workers[0]))
    world.at(400.0, lambda: submit(world, "bad"))
    world.unfinished = lambda: world.now < 500  # type: ignore[method-assign]
    world.run(until=500)
    assert ends(world) == {"bad": JobState.QUARANTINED}
    assert len(world.started) == DEATHS


def test_a_worker_that_was_out_of_reach_is_no_alibi() -> None:
    toll = DeathToll()
    for number in range(3):
        toll.add(Death(f"idle{number}", None, 10.0))
    assert toll.others("bad", (), 20.0) == 3
    toll.lives("idle1")
    assert toll.others("bad", (), 20.0) == 2


def test_what_counts_as_another_thing() -> None:
    toll = DeathToll()
    toll.add(Death("w0", "mine", 1000.0))
    toll.add(Death("w1", "mine", 1010.0))
    toll.add(Death("w2", "long before", 1000.0 - 301.0))
    toll.add(Death("w3", "suspect", 1005.0))
    toll.add(Death("w4", "poison", 1005.0))
    toll.add(Death("w5", "other", 1005.0))
    toll.add(Death("w6", "other", 1006.0))
    toll.add(Death("w7", None, 5000.0))
    toll.explained("poison")
    assert toll.others("mine", {"suspect", "mine"}, 6000.0) == 2  # "other" once, and w7
    assert guilty(DEATHS + 2, 1, 2)
    assert not guilty(DEATHS + 1, 1, 2)
    assert guilty(0, 8, 100), "it has been tried often enough"
