"""A calibration has the model race as it is given and quantised, in one job."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.ports import Token
from tests.unit.scheduler.world import World, ended, request
from tinymlaas.contract.messages import (
    Calibration,
    CompileRequested,
    JobName,
    JobState,
    Payload,
)
from tinymlaas.contract.pool_messages import PREPARE_POOL, TaskStatus
from tinymlaas.contract.report import CandidateStatus

SAMPLES = Payload.of(b"samples", "a")
UNSUPPORTED = {"refused": True, "unsupported": True, "reasons": ("Einsum has no integer form",)}


def calibrated(job: str, only: bool = False, **changes: Any) -> CompileRequested:
    return request("a", job, calibration={"samples": SAMPLES, "only": only}, **changes)


def kinds(world: World) -> list[str]:
    return [task.work.kind for _, _, task in world.started]


@pytest.mark.parametrize("inspected", [True, False])
def test_both_forms_race_side_by_side(inspected: bool) -> None:
    world = World(pools={"cc": 1, "dd": 1}, inspected=inspected)
    world.submit(calibrated("1"))
    end, candidates = ended(world)
    assert end.state is JobState.DONE
    told = [(each.compiler, each.quantised, each.quantisation_error) for each in candidates]
    plain, whole = (
        [("cc", False, None), ("dd", False, None)],
        [("cc", True, 0.03), ("dd", True, 0.03)],
    )
    assert told == [*plain, *whole]
    assert end.result is not None
    assert end.result.quantisation is not None
    assert end.result.quantisation.model == request("a", "1").data.model.filename
    assert len({each.action_digest for each in candidates}) == 4
    assert kinds(world).count("inspect") == (1 if inspected else 2)


def test_alone_if_it_is_asked_for_alone() -> None:
    world = World()
    world.submit(calibrated("1", only=True))
    _, candidates = ended(world)
    assert [each.quantised for each in candidates] == [True]
    assert kinds(world) == ["quantise", "inspect", "build"]


def test_the_model_as_given_is_inspected_while_it_is_quantised() -> None:
    world = World(pools={"cc": 1, PREPARE_POOL: 2}, inspected=False)
    world.submit(calibrated("1"))
    world.settle()
    assert kinds(world) == ["inspect", "quantise"]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (UNSUPPORTED, CandidateStatus.REJECTED),
        ({"reasons": ("TensorFlow crashed",)}, CandidateStatus.FAILED),
    ],
)
def test_what_cannot_be_quantised_races_as_it_is(
    end: dict[str, Any], status: CandidateStatus
) -> None:
    world = World(quantised=end)
    world.submit(calibrated("1"))
    done, candidates = ended(world)
    assert done.state is JobState.DONE
    assert [each.status for each in candidates] == [CandidateStatus.VERIFIED, status]
    assert (candidates[1].compiler, candidates[1].quantised) == ("quantise", True)
    assert candidates[1].reasons == end["reasons"]
    assert done.result is not None
    assert done.result.quantisation is None


def test_but_not_where_it_is_asked_for_alone() -> None:
    world = World(quantised=UNSUPPORTED)
    world.submit(calibrated("1", only=True))
    end, _ = ended(world)
    assert (end.state, end.reasons) == (JobState.REJECTED, UNSUPPORTED["reasons"])
    assert kinds(world) == ["quantise"]


def test_samples_that_are_of_no_use_are_the_users_to_mend() -> None:
    world = World(quantised={"refused": True, "reasons": ("calibration: holds no samples",)})
    world.submit(calibrated("1"))
    end, _ = ended(world)
    assert (end.state, end.reasons) == (JobState.REJECTED, ("calibration: holds no samples",))


def test_quantising_that_kills_its_workers_does_not_spoil_the_model_as_given() -> None:
    world = World(deadly=lambda task: task.work.kind == "quantise")
    world.submit(calibrated("1"))
    world.submit(calibrated("2", only=True))
    world.beats(60)
    world.run()
    ends = {event.data.job_id: event.data for event in world.events}
    assert {job: end.state for job, end in ends.items()} == {
        "1": JobState.DONE,
        "2": JobState.QUARANTINED,
    }
    assert ends["1"].result is not None
    (_, lost) = ends["1"].result.candidates
    assert lost.reasons[0].startswith("it killed its worker 2 times")


def test_jobs_of_two_tenants_share_what_is_prepared() -> None:
    """The one's task names the other's file; each finds its own form by the model's digest."""
    world = World(inspected=False)
    world.submit(calibrated("1"))
    order = calibrated("2").data
    files = (order.model, SAMPLES)
    model, samples = (Payload.of(file.content(), "b") for file in files)
    theirs = order.model_copy(
        update={"tenant": "b", "model": model, "calibration": Calibration(samples=samples)}
    )
    world.submit(request("b", "2").model_copy(update={"data": theirs}))
    world.run()
    assert {event.data.state for event in world.events} == {JobState.DONE}
    assert sorted(kinds(world)) == ["build", "build", "inspect", "inspect", "quantise"]


def test_a_scheduler_that_takes_over_races_both() -> None:
    world = World(inspected=False, seconds_of=lambda task: 3.0)
    world.submit(calibrated("1"))
    for second in (2, 5, 8, 11):
        world.run(until=second)
        world.kill_scheduler()
    world.beats(60)
    _, candidates = ended(world)
    assert [each.quantised for each in candidates] == [False, True]
    assert not world.recompiled


def test_a_cancel_ends_what_is_prepared() -> None:
    world = World(pools={"cc": 1, PREPARE_POOL: 2}, inspected=False, seconds_of=lambda task: 1e9)
    world.submit(calibrated("1"))
    world.settle()
    assert all(worker.task for worker in world.workers if worker.pool == PREPARE_POOL)
    world.core.cancel(JobName(tenant="a", job_id="1"), Token("control", 1, -1))
    end, _ = ended(world)
    assert end.state is JobState.CANCELLED
    assert not any(worker.task for worker in world.workers)


def test_a_worker_of_another_version_has_both_planned_anew() -> None:
    world = World(pools={"cc": 1, PREPARE_POOL: 2}, inspected=False, seconds_of=lambda task: 1e9)
    world.submit(calibrated("1"))
    world.settle()
    first = next(w for w in world.workers if w.task and w.task.work.kind == "quantise")
    world.seconds_of = lambda task: 1.0
    world.end(first, TaskStatus.STALE)
    _, candidates = ended(world)
    assert [each.quantised for each in candidates] == [False, True]
