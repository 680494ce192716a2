"""Where the scheduler itself is at fault: whose request it stumbled over is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scheduler import planning
from scheduler.actions import Actions
from scheduler.builds import Builds
from scheduler.ending import Ending
from scheduler.planner import Planner
from scheduler.ports import Token
from tests.unit.scheduler.world import World, request
from tinymlaas.contract.messages import JobName
from tinymlaas.contract.pool_messages import TaskStatus


def broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError


def cancelled(world: World) -> None:
    world.core.cancel(JobName(tenant="a", job_id="poison"), Token("control", 1, 7))


@pytest.mark.parametrize(
    ("owner", "name", "what"),
    [
        (Planner, "_ask", World.settle),
        (Planner, "looked", World.settle),
        (Builds, "found", World.settle),
        (planning, "building", World.settle),
        (Actions, "_send", World.settle),
        (Ending, "conclude", World.run),
        (Ending, "end", cancelled),
        (Ending, "finished", World.run),
    ],
)
def test_a_fault_names_the_job_it_came_by(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, what: Callable[[World], None]
) -> None:
    world = World()
    world.submit(request("a", "neighbour", name="n"))
    world.run()
    monkeypatch.setattr(owner, name, broken)
    world.submit(request("a", "poison", reply="reply.me"))
    assert not world.core.at_fault
    with pytest.raises(ZeroDivisionError):
        what(world)
    assert world.core.at_fault == (("a", "poison"),)
    assert Token("requests", 1, 2) in world.core.tokens_of(("a", "poison"))
    assert world.core.replies_of(("a", "poison")) == ("reply.me",)


def test_so_does_a_fault_of_the_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(seconds_of=lambda task: 1e9)
    world.submit(request("a", "poison"))
    world.settle()
    world.end(world.workers[0], TaskStatus.SUSPECT)
    world.now = 20.0
    monkeypatch.setattr(Actions, "_judged", broken)
    with pytest.raises(ZeroDivisionError):
        world.beat()
    assert world.core.at_fault == (("a", "poison"),)


def test_all_who_want_what_cannot_be_sent_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    for number in range(3):
        world.submit(request("a", f"{number}"))
    monkeypatch.setattr(Actions, "_send", broken)
    with pytest.raises(ZeroDivisionError):
        world.settle()
    assert world.core.at_fault[0] == ("a", "0")


def test_a_worker_is_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    world.submit(request("a", "innocent"))
    world.settle()
    monkeypatch.setattr(Actions, "heard", broken)
    with pytest.raises(ZeroDivisionError):
        world.beat()
    assert not world.core.at_fault
    assert not world.core.tokens_of(("a", "nobody"))
    assert not world.core.replies_of(("a", "nobody"))
