"""Workers that are silent for a while, or for good because they have left, have died of nothing."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.unit.scheduler.world import SERVICE, World, request
from tinymlaas.contract.messages import JobState
from tinymlaas.contract.pool_messages import (
    PoolTask,
    TaskEnd,
    TaskStanding,
    TaskStatus,
    WorkerStanding,
)

JUDGED_BY = 200.0


class Rack:
    """Workers of one pool, of which the test says what each does."""

    def __init__(self, names: str) -> None:
        self.world = World(pools={"cc": 0})
        self.world.dispatch = lambda: None  # type: ignore[method-assign]
        self.hello(names)
        self.world.submit(request("a", "job", compiler="cc"))
        self.world.settle()

    def hello(self, names: Iterable[str], leaving: bool = False) -> None:
        for name in names:
            standing = WorkerStanding(
                pool="cc",
                worker=name,
                service=SERVICE,
                description=self.world.described("cc"),
                leaving=leaving,
            )
            self.world.core.heard(standing)

    def sent(self) -> PoolTask:
        task, _ = self.world.queues["cc"].popleft()
        return task

    def begins(self, name: str, task: PoolTask) -> None:
        self.world.core.progressed(
            TaskStanding(
                task_id=task.task_id,
                action=task.action,
                pool="cc",
                worker=name,
                attempt=1,
                stage="compiling",
            )
        )

    def gives_back(self, name: str, task: PoolTask) -> None:
        end = TaskEnd(
            task_id=task.task_id,
            action=task.action,
            pool="cc",
            worker=name,
            status=TaskStatus.SUSPECT,
        )
        self.world.core.task_ended(end)
        self.world.settle()

    def pass_time(self, seconds: int, alive: str) -> None:
        for _ in range(seconds):
            self.world.now += 1.0
            self.hello(alive)
            self.world.beat()
            self.world.settle()

    def judged(self, alive: str) -> list[JobState]:
        """Let time pass until the task is sent again or its job has ended; return the ends."""
        while not self.world.queues["cc"] and not self.world.events:
            assert self.world.now < JUDGED_BY
            self.pass_time(1, alive)
        return [event.data.state for event in self.world.events]

    def both_lose_it(self, alive: str) -> None:
        """Have A begin it, then B, then C give it back."""
        task = self.sent()
        for name in "AB":
            self.begins(name, task)
            self.pass_time(1, alive)
        self.gives_back("C", task)


def test_workers_that_only_lost_connections_and_then_leave_have_not_died() -> None:
    rack = Rack("ABC")
    rack.both_lose_it("ABC")
    rack.pass_time(2, "ABC")
    rack.hello("AB", leaving=True)
    assert rack.judged("C") == []


def test_workers_that_leave_while_a_task_is_judged_have_not_died() -> None:
    rack = Rack("ABC")
    rack.both_lose_it("C")
    rack.hello("AB", leaving=True)
    assert rack.judged("C") == []


def test_workers_that_were_heard_of_again_and_die_of_something_else_later() -> None:
    rack = Rack("ABC")
    rack.both_lose_it("C")
    rack.pass_time(5, "ABC")
    assert rack.judged("C") == []


def test_a_word_that_comes_late_is_no_sign_of_life() -> None:
    rack = Rack("ABC")
    rack.both_lose_it("C")
    rack.world.now += 0.5
    rack.hello("AB")
    assert rack.judged("C") == [JobState.QUARANTINED]


@pytest.mark.parametrize("leaving", [False, True])
def test_deaths_are_taken_back_when_the_dead_are_heard_of_again(leaving: bool) -> None:
    """A rack's network goes and comes: D on it, which was idle, proves that others die too."""
    rack = Rack("ABCDE")
    rack.both_lose_it("CE")
    assert rack.judged("CE") == []
    again = rack.sent()
    assert again.suspect
    rack.hello("ABD", leaving)
    rack.begins("E", again)
    rack.gives_back("C", again)
    assert rack.judged("CE" if leaving else "ABCDE") == []
    third = rack.sent()
    assert not third.suspect
    for _ in range(6):  # that is all there is against it: it was given back too often
        rack.gives_back("C", third)
        if rack.judged("ABCDE"):
            break
        third = rack.sent()
    (event,) = rack.world.events
    assert event.data.reasons == ("it was delivered 15 times and never came to an end",)


def test_a_worker_that_goes_on_with_what_it_has_lost_has_not_died() -> None:
    rack = Rack("ABC")
    task = rack.sent()
    for name in "AB":
        rack.begins(name, task)
    rack.gives_back("C", task)
    while not rack.world.queues["cc"] and not rack.world.events:
        rack.pass_time(1, "ABC")
        rack.begins("A", task)
        rack.begins("B", task)
    assert not rack.world.events
