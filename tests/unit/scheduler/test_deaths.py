"""Who is to blame when workers die: the task, the connection, or the times."""

from __future__ import annotations

import pytest

from scheduler.deaths import DEATHS
from scheduler.ports import Token
from tests.unit.scheduler.world import World, request
from tinymlaas.contract.messages import JobName, JobState
from tinymlaas.contract.pool_messages import (
    PoolTask,
    TaskEnd,
    TaskStatus,
)


def running(world: World, name: str) -> None:
    """Have one job begin."""
    world.submit(request("a", name, name=name))
    world.settle()
    assert [task.work.job.task.name for _, _, task in world.started][-1] == name


def test_a_worker_that_only_lost_its_connection_is_no_death() -> None:
    """The broker delivers its task again and again, but it lives and says so."""
    world = World(seconds_of=lambda task: 1e9)
    running(world, "slow")
    worker = world.workers[0]
    for _ in range(3):
        world.end(worker, TaskStatus.SUSPECT)
        world.beats(30)
        world.run(until=world.now + 30)
        assert worker.task is not None, "sent again, as its worker was heard of"
        assert not worker.task.suspect
    world.seconds_of = lambda task: 1.0
    world._start(worker)
    world.run()
    assert [event.data.state for event in world.events] == [JobState.DONE]


def test_what_is_given_back_for_ever_is_quarantined_without_any_death() -> None:
    world = World(seconds_of=lambda task: 1e9)
    running(world, "slow")
    worker = world.workers[0]
    for _ in range(8):
        assert worker.task is not None
        world.end(worker, TaskStatus.SUSPECT)
        world.beats(30)
        world.run(until=world.now + 30)
    (event,) = world.events
    assert event.data.state is JobState.QUARANTINED
    assert event.data.reasons == ("it was delivered 16 times and never came to an end",)


def test_where_many_die_of_other_things_two_deaths_prove_nothing() -> None:
    world = World(
        pools={"cc": 5},
        seconds_of=lambda task: 2.0 if task.work.job.task.name == "unlucky" else 3.0,
    )
    killed = {f"other{n}" for n in range(4)}
    world.deadly = lambda task: (
        task.work.job.task.name in killed and killed.discard(task.work.job.task.name) is None
    )
    for name in sorted(killed):
        world.submit(request("a", name, name=name))
    world.settle()
    world.beats(600)
    world.run(until=30)
    assert not killed
    world.deadly = lambda task: task.work.job.task.name == "unlucky"
    world.submit(request("a", "unlucky", name="unlucky"))
    world.run(until=90)
    begun = [task for _, _, task in world.started if task.work.job.task.name == "unlucky"]
    assert len(begun) > DEATHS
    assert begun[-1].suspect
    world.run()
    ended = {event.data.job_id: event.data for event in world.events}
    assert ended["unlucky"].state is JobState.QUARANTINED
    assert f"killed its worker {DEATHS + 4} times" in ended["unlucky"].reasons[0]
    assert "workers died at 4 other things too" in ended["unlucky"].reasons[0]
    assert {ended[f"other{n}"].state for n in range(4)} == {JobState.DONE}


def test_a_task_that_has_not_begun_has_killed_nobody() -> None:
    """Workers are killed while they start it, as by chance; then it is done."""
    world = World(deadly=lambda task: True, stage="starting")
    running(world, "unlucky")
    world.beats(300)
    world.run(until=60)
    assert len(world.started) > DEATHS
    assert not world.events
    world.deadly, world.stage = lambda task: False, "compiling"
    world.run()
    assert [event.data.state for event in world.events] == [JobState.DONE]


def test_a_worker_that_leaves_with_its_task_has_not_died_of_it() -> None:
    world = World(seconds_of=lambda task: 1e9)
    running(world, "slow")
    for _ in range(2):
        world._hello(world.workers[0], leaving=True)
        world.kill_worker(world.workers[0])
        world.settle()
    world.beats(60)
    world.run(until=60)
    assert not world.events
    task = world.workers[0].task
    assert task is not None
    assert not task.suspect, "it was sent once more, under no suspicion"


def test_nobody_is_judged_for_a_job_that_was_cancelled_meanwhile() -> None:
    world = World(deadly=lambda task: True)
    running(world, "bad")
    world.run(until=2.5)
    world.core.cancel(JobName(tenant="a", job_id="bad"), Token("control", 1, 1))
    world.beats(60)
    world.unfinished = lambda: True  # type: ignore[method-assign]
    world.run(until=60)
    assert [event.data.state for event in world.events] == [JobState.CANCELLED]
    assert len(world.core.actions) == 0


def test_nobody_is_judged_while_nobody_is_heard_of() -> None:
    """Our own connection may be away; a judgement would be kept in the store for good."""
    world = World(deadly=lambda task: True)
    running(world, "bad")
    world.run(until=3)
    world.now = 1000.0
    world.core.tick()
    world.settle()
    assert not world.events
    world.beat()
    world.beat()
    world.settle()
    assert not world.events, "others are to be heard of first"
    for world.now in (1010.0, 1020.0, 1031.0):
        world.beat()
        world.settle()
    assert [event.data.state for event in world.events] == [JobState.QUARANTINED]


def test_a_scheduler_that_takes_over_counts_anew() -> None:
    world = World(deadly=lambda task: "bad" in task.work.job.task.name)
    running(world, "bad")
    world.run(until=1.5)
    world.kill_scheduler()
    world.beats(200)
    world.run()
    assert [event.data.state for event in world.events] == [JobState.QUARANTINED]
    assert len(world.started) <= 2 * DEATHS + 1


def test_what_a_task_was_named_for_is_what_it_is_done_with() -> None:
    """A worker that comes with another version of ours must not answer under the old name."""
    world = World(seconds_of=lambda task: 1e9)
    world.dispatch = lambda: None  # type: ignore[method-assign]
    world.submit(request("a", "1"))
    world.submit(request("a", "2", name="other"))
    world.settle()
    ((first, _),) = world.queues["cc"]
    world.core.task_ended(_ended(first, TaskStatus.FAILED))
    told = world.core.known._told["cc"]
    world.core.known._told["cc"] = told.model_copy(update={"service": "service-2"})
    world.settle()
    second = world.queues["cc"][-1][0]
    assert (first.service, second.service) == ("service-1", "service-1")


@pytest.mark.parametrize("status", [TaskStatus.KILLED, TaskStatus.RETRY, TaskStatus.SUSPECT])
def test_how_an_older_sending_was_given_up_is_of_no_account(status: TaskStatus) -> None:
    world = World(seconds_of=lambda task: 1e9)
    world.dispatch = lambda: None  # type: ignore[method-assign]
    world.submit(request("a", "1"))
    world.settle()
    ((older, _),) = world.queues["cc"]
    world.now = 30.0  # nobody has begun it, though one is idle: it is sent again
    world.beat()
    world.settle()
    world.core.task_ended(_ended(older, status))
    world.settle()
    world.now = 46.0
    world.beat()
    world.settle()
    assert len(world.queues["cc"]) == 2, "sent a third time beside the second"
    world.core.task_ended(_ended(world.queues["cc"][1][0], TaskStatus.FAILED))
    world.settle()
    assert [event.data.state for event in world.events] == [JobState.FAILED]
    assert not world.core.actions.pool("cc").out


def _ended(task: PoolTask, status: TaskStatus) -> TaskEnd:
    return TaskEnd(
        task_id=task.task_id,
        action=task.action,
        pool=task.pool,
        worker="cc-0",
        status=status,
    )
