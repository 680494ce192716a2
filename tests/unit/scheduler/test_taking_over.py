"""A scheduler that was active, is not, and is again; and what the one before has left running."""

from __future__ import annotations

from scheduler import effects as do
from scheduler.ports import Token
from tests.unit.scheduler.world import World, request
from tinymlaas.contract.messages import JobName, JobState


def cancel(world: World, name: str) -> None:
    world.core.cancel(JobName(tenant="a", job_id=name), Token("control", world.epoch, -1))


def test_who_is_active_again_does_nothing_of_what_another_has_ended() -> None:
    world = World(seconds_of=lambda task: 5.0)
    for number in range(3):
        world.submit(request("a", f"{number}", name=f"n{number}"))
    world.run(until=1)
    first = world.core
    world.change_schedulers()
    for number in range(3):
        cancel(world, f"{number}")
    world.settle()
    told = len(world.events)
    world.now = 100.0
    world.change_schedulers()
    assert world.core is first
    world.beats(60)
    world.unfinished = lambda: True  # type: ignore[method-assign]
    world.run(until=160)
    assert len(world.started) == 1, "only what ran before; the other scheduler cancelled the rest"
    assert len(world.events) == told, "an end is told once"
    assert len(first) == 0
    assert len(first.actions) == 0
    assert first._turns.idle()
    assert first._admission._jobs.total() == first._admission._bytes == 0


def test_an_end_that_is_on_its_way_while_all_begins_anew_is_the_end() -> None:
    world = World()
    world.submit(request("a", "1"))
    world.settle()
    cancel(world, "1")
    (finish,) = [e for e in world.core.drain() if isinstance(e, do.Finish)]
    world.change_schedulers()
    world.change_schedulers()
    world._do(finish)  # by the first, which is active again and has the job anew
    world.run()
    assert {event.data.state for event in world.events} == {JobState.CANCELLED}
    assert len({event.id for event in world.events}) == 1
    assert not world.unacked
    assert len(world.core) == 0


def test_an_answer_to_what_was_asked_before_all_began_anew_harms_nothing() -> None:
    world = World(pools={"cc": 1, "dd": 1})
    world.submit(request("a", "1"))
    world.run()
    world.submit(request("a", "2", compiler="cc"))
    while not isinstance((ask := world.core.drain()[0]), do.LookUp):
        world._do(ask)
    world.core.found(ask.key, {**world.outcomes, "another": next(iter(world.outcomes.values()))})
    world.run()
    assert [event.data.state for event in world.events] == [JobState.DONE, JobState.DONE]
    assert world.compiled.total() == 2


def test_what_runs_for_a_job_that_was_cancelled_before_it_was_planned_again_is_killed() -> None:
    world = World(seconds_of=lambda task: 1e9)
    world.submit(request("a", "x"))
    world.run(until=1)
    assert world.workers[0].task is not None
    world.kill_scheduler()
    cancel(world, "x")
    world.settle()
    assert [event.data.state for event in world.events] == [JobState.CANCELLED]
    for _ in range(2):
        world.now += 1.0
        world.core.tick()
        world.settle()
    assert world.workers[0].task is None, "a cancel frees the worker within 2 s"


def test_what_runs_for_a_job_that_is_still_being_planned_goes_on() -> None:
    world = World(inspected=False, seconds_of=lambda task: 1.0 if task.pool == "prepare" else 9.0)
    world.submit(request("a", "x"))
    world.run(until=2)
    assert [task.pool for _, _, task in world.started] == ["prepare", "cc"]
    world.kill_scheduler()
    world.seconds_of = lambda task: 5.0
    world.beats(30, every=1)
    world.run()
    assert [event.data.state for event in world.events] == [JobState.DONE]
    assert [task.pool for _, _, task in world.started] == ["prepare", "cc", "prepare"]


def test_what_nobody_wants_does_not_go_on_for_as_long_as_some_job_cannot_be_planned() -> None:
    world = World(pools={"cc": 1, "late": 0}, seconds_of=lambda task: 1e9)
    world.submit(request("a", "x", compiler="cc"))
    world.submit(request("a", "waits", name="w", compiler="late"))
    world.run(until=1)
    world.kill_scheduler()
    cancel(world, "x")
    world.beats(60)
    world.run(until=25)
    assert world.workers[0].task is not None, "the job that waits might want it"
    world.run(until=40)
    assert world.workers[0].task is None


def test_a_kill_that_was_lost_is_sent_again() -> None:
    world = World(seconds_of=lambda task: 1e9)
    world.submit(request("a", "x"))
    world.run(until=1)
    world.kill_scheduler()
    cancel(world, "x")
    world.settle()
    world.now += 2.0
    world.core.tick()
    lost = [effect for effect in world.core.drain() if isinstance(effect, do.Kill)]
    assert len(lost) == 1
    world.core.tick()
    assert not world.core.drain(), "once with each word of the worker"
    world.beat()
    world.settle()
    assert world.workers[0].task is None
