"""Pools that are away: who waits for them, how long, and what is said."""

from __future__ import annotations

from scheduler.admission import Policy
from tests.unit.scheduler.facts import compiler
from tests.unit.scheduler.world import SERVICE, World, request
from tinymlaas.contract.messages import JobName, JobState
from tinymlaas.contract.pool_messages import PREPARE_POOL, PoolDescription, WorkerStanding


class Away(World):
    """A farm that expects a pool ``late`` of which nobody has heard."""

    def kill_scheduler(self) -> None:
        pools, self.pools = self.pools, {**self.pools, "late": 0}
        super().kill_scheduler()
        self.pools = pools


def standing(world: World, job: str):
    world.core.status(JobName(tenant="a", job_id=job, reply="reply.me"))
    world.settle()
    return world.replies[-1][1].data


def test_a_named_compiler_needs_no_other_pool() -> None:
    world = Away()
    world.submit(request("a", "named", compiler="cc"))
    world.submit(request("a", "all"))
    world.run(until=5)
    assert {event.data.job_id for event in world.events} == {"named"}
    told = standing(world, "all")
    assert told.state is JobState.PLANNING
    assert told.waits_for[0].startswith("pool late")


def test_all_compilers_are_waited_for_and_then_it_is_said_who_was_away() -> None:
    world = Away(policy=Policy(pool_seconds=30))
    world.submit(request("a", "1"))
    world.beats(60)
    world.run(until=29)
    assert not world.events
    world.run()
    (event,) = world.events
    assert event.data.state is JobState.DONE
    assert event.data.result is not None
    away = event.data.result.candidates[-1]
    assert away.compiler == "late"
    assert away.reasons[0].startswith("pool late was away and is not known yet")
    world.submit(request("a", "2", name="second"))
    before = world.now
    world.run()
    assert len(world.events) == 2
    assert world.now - before < 5, "it is waited for once, not by every job"


def test_a_job_whose_pool_alone_might_have_served_it_has_failed_not_been_refused() -> None:
    world = Away(pools={}, policy=Policy(pool_seconds=3))
    world.submit(request("a", "1"))
    world.beats(20)
    world.run()
    (event,) = world.events
    assert event.data.state is JobState.FAILED
    assert event.data.reasons[0].startswith("pool late was away")


def test_a_pool_that_is_named_is_waited_for_until_it_comes() -> None:
    world = Away()
    world.submit(request("a", "1", compiler="late"))
    world.beats(300)
    world.run(until=200)
    assert not world.events
    hello(world)
    world.run(until=201)
    ((task, _),) = world.queues["late"]
    assert task.pool == "late"


def hello(world: World) -> None:
    world.core.heard(
        WorkerStanding(pool="late", worker="late-0", service=SERVICE, description=compiler("late"))
    )


def test_a_pool_that_was_known_once_is_planned_for_while_it_has_no_worker() -> None:
    world = Away()
    hello(world)
    world.settle()
    assert world.told["late"].description == compiler("late")
    world.kill_scheduler()
    world.submit(request("a", "1"))
    world.run(until=1)
    assert world.core.census.states() == {JobState.COMPILING: 1}
    assert [task.pool for task, _ in world.queues["late"]] == ["late"]


def test_pools_that_are_expected_no_more_are_not_recalled() -> None:
    world = World()
    world.core.recalled([PoolDescription(pool="gone", service="s", description=compiler("gone"))])
    world.submit(request("a", "1"))
    world.run()
    (event,) = world.events
    assert event.data.result is not None
    assert [each.compiler for each in event.data.result.candidates] == ["cc"]


def test_pools_are_counted_for_who_asks() -> None:
    world = Away(pools={"cc": 2})
    for number in range(5):
        world.submit(request("a", f"{number}", name=f"n{number}", compiler="cc"))
    world.settle()
    world.beat()
    now = world.core.pools_now()
    assert now["cc"] == (2, 2, 3, 2, 0.0)
    assert now["late"] == (0, 0, 0, 0, 0.0)
    assert now[PREPARE_POOL].workers == 1
    world.now += 7.0
    assert world.core.pools_now()["cc"].oldest == 7.0, "three have not been begun"
    ((key, jobs),) = world.core.census.now().items()
    assert key == ("a", JobState.COMPILING)
    assert (jobs.number, jobs.oldest) == (5, world.now)
