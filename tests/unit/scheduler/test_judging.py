"""Labelled samples: verified candidates are run on them by the pool that built them."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.ports import Token
from tests.unit.scheduler.world import World, ended, request
from tinymlaas.contract.messages import CompileRequested, JobName, JobState, Payload
from tinymlaas.contract.race import Limits, Race
from tinymlaas.contract.report import CandidateStatus

DATA = Payload.of(b"labelled", "a", "secret.npz")


def wanted(job: str, least: float = 0.9, **changes: Any) -> CompileRequested:
    race = Race(limits=Limits(accuracy=least))
    return request("a", job, data=DATA, race=race, **changes)


def kinds(world: World) -> list[tuple[str, str]]:
    return [(task.pool, task.work.kind) for _, _, task in world.started]


def test_what_is_verified_is_judged_where_it_was_built() -> None:
    world = World(pools={"cc": 1, "dd": 1})
    world.submit(wanted("1"))
    end, candidates = ended(world)
    assert end.state is JobState.DONE
    assert [each.accuracy for each in candidates] == [0.95, 0.95]
    # Both compilers of this world make one module, so the one that is there first is judged.
    assert sorted(kinds(world)) == [("cc", "build"), ("cc", "judge"), ("dd", "build")]
    (judge,) = [task.work for _, _, task in world.started if task.work.kind == "judge"]
    assert judge.samples.filename == "data", "it may be shared with other tenants"


def test_what_is_right_too_seldom_is_not_taken() -> None:
    world = World()
    world.submit(wanted("1", 0.96))
    end, (candidate,) = ended(world)
    assert end.state is JobState.REJECTED
    assert candidate.lost == "its accuracy is 95%, at least 96% is wanted"


def test_what_the_store_has_is_judged_without_being_built_again() -> None:
    world = World()
    world.submit(request("a", "0"))
    world.run()
    world.events.clear()
    world.submit(wanted("1"))
    _, (candidate,) = ended(world)
    assert (candidate.cached, candidate.accuracy) == (True, 0.95)
    assert kinds(world) == [("cc", "build"), ("cc", "judge")]


def test_samples_of_no_use_are_the_users_to_mend() -> None:
    world = World(judged={"refused": True, "reasons": ("data: has no array 'labels'",)})
    world.submit(wanted("1"))
    end, _ = ended(world)
    assert (end.state, end.reasons) == (JobState.REJECTED, ("data: has no array 'labels'",))


@pytest.mark.parametrize("deadly", [False, True])
def test_a_module_that_breaks_on_a_sample_has_failed(deadly: bool) -> None:
    world = World(
        judged={"reasons": ("the module faulted",)},
        deadly=lambda task: deadly and task.work.kind == "judge",
    )
    world.submit(wanted("1"))
    world.beats(80)
    end, _ = ended(world)
    assert end.state is (JobState.QUARANTINED if deadly else JobState.FAILED)
    assert end.result is not None
    assert end.result.candidates[0].status is CandidateStatus.FAILED


def test_the_first_that_is_judged_right_ends_the_job() -> None:
    world = World(pools={"cc": 1, "dd": 1}, seconds_of=lambda task: 50.0 * (task.pool == "dd") + 1)
    world.submit(wanted("1", first=True))
    end, candidates = ended(world)
    assert end.state is JobState.DONE
    assert [each.accuracy for each in candidates] == [0.95, None]
    assert candidates[1].reasons == ("not finished as another was verified first",)
    assert world.now < 10


def test_a_budget_may_end_while_a_module_is_judged() -> None:
    world = World(seconds_of=lambda task: 1e9 if task.work.kind == "judge" else 1.0)
    world.submit(wanted("1", budget=5.0))
    world.beats(30, every=1)
    end, _ = ended(world)
    assert (end.state, end.reasons) == (
        JobState.FAILED,
        ("not finished within the budget of 5 s",),
    )
    assert not any(worker.task for worker in world.workers)


def test_a_scheduler_that_takes_over_has_it_judged_and_built_no_more() -> None:
    world = World(seconds_of=lambda task: 5.0)
    world.submit(wanted("1"))
    world.run(until=7)
    world.kill_scheduler()
    world.beats(30, every=1)
    end, (candidate,) = ended(world)
    assert (end.state, candidate.accuracy) == (JobState.DONE, 0.95)
    assert kinds(world) == [("cc", "build"), ("cc", "judge")]
    assert not world.recompiled


def test_a_cancel_ends_judging() -> None:
    world = World(seconds_of=lambda task: 1e9 if task.work.kind == "judge" else 1.0)
    world.submit(wanted("1"))
    world.run(until=5)
    assert world.workers[0].task is not None
    world.core.cancel(JobName(tenant="a", job_id="1"), Token("control", 1, -1))
    end, _ = ended(world)
    assert end.state is JobState.CANCELLED
    assert world.workers[0].task is None
