"""Jobs that do not wait for all of their candidates: the first that may win, or a budget."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.candidates import Candidate, job_for
from scheduler.history import core_of, record_of
from scheduler.hurry import Hurry
from scheduler.ports import Token
from tests.unit.scheduler.facts import BOARD, compiler, inspection, summary
from tests.unit.scheduler.test_choice import report
from tests.unit.scheduler.world import MODEL, World, request
from tinymlaas.contract.compiler import CompilerDescription
from tinymlaas.contract.messages import JobEnd, JobName, JobState
from tinymlaas.contract.pool_messages import PoolTask, TaskStatus
from tinymlaas.contract.race import Limits, Race
from tinymlaas.contract.report import CandidateReport, CandidateStatus

SKIPPED, VERIFIED = CandidateStatus.SKIPPED, CandidateStatus.VERIFIED
POOLS = {"cc": 1, "dd": 1}


def seconds(**by_pool: float) -> Any:
    return lambda task: by_pool.get(task.pool, 1.0)


def ends(world: World) -> dict[str, JobEnd]:
    return {event.data.job_id: event.data for event in world.events}


def candidates(end: JobEnd) -> dict[str, CandidateReport]:
    assert end.result is not None
    return {each.compiler: each for each in end.result.candidates}


def at_rest(world: World) -> bool:
    working = any(worker.task for worker in world.workers)
    return not (working or world.unacked or len(world.core) or len(world.core.actions))


def test_the_first_verified_ends_the_job_and_what_nobody_else_wants() -> None:
    world = World(pools=POOLS, seconds_of=seconds(dd=1e9))
    world.submit(request("a", "1", first=True))
    world.run(until=10)
    end = ends(world)["1"]
    assert end.state is JobState.DONE
    assert candidates(end)["cc"].status is VERIFIED
    assert candidates(end)["dd"].status is SKIPPED
    assert candidates(end)["dd"].reasons == ("not finished as another was verified first",)
    assert at_rest(world)
    assert world.now < 10


def test_what_another_job_wants_is_not_given_up() -> None:
    world = World(pools=POOLS, seconds_of=seconds(dd=30.0))
    world.submit(request("a", "hasty", first=True))
    world.submit(request("b", "patient"))
    world.run()
    assert {job: end.state for job, end in ends(world).items()} == {
        "hasty": JobState.DONE,
        "patient": JobState.DONE,
    }
    assert candidates(ends(world)["patient"])["dd"].status is VERIFIED
    assert world.compiled.total() == 2
    assert at_rest(world)


def test_what_breaks_a_limit_ends_nothing() -> None:
    world = World(pools=POOLS, seconds_of=seconds(dd=5.0))
    world.submit(request("a", "1", first=True, race=Race(limits=Limits(flash_bytes=4))))
    world.run()
    end = ends(world)["1"]
    assert end.state is JobState.REJECTED
    assert {each.status for each in candidates(end).values()} == {VERIFIED}


@pytest.mark.parametrize("hurry", [{"first": True}, {"first": True, "budget": 1.0}])
def test_what_the_store_has_is_taken_before_anything_is_built(hurry: dict[str, Any]) -> None:
    world = World(pools=POOLS)
    world.submit(request("a", "1", compiler="dd"))
    world.run()
    world.submit(request("a", "2", **hurry))
    world.settle()
    end = ends(world)["2"]
    assert candidates(end)["dd"].cached
    assert candidates(end)["cc"].reasons == ("not tried as another was verified first",)
    assert len(world.started) == 1


def test_a_budget_ends_with_what_is_there() -> None:
    world = World(pools=POOLS, seconds_of=seconds(dd=1e9))
    world.submit(request("a", "1", budget=5.0))
    world.submit(request("a", "2", name="other", compiler="dd", budget=5.0))
    world.beats(60, every=1)
    world.run(until=6.5)
    end = ends(world)["1"]
    assert end.state is JobState.DONE
    assert candidates(end)["dd"].reasons == ("not finished within the budget of 5 s",)
    assert "2" not in ends(world), "its turn came when the other's time was up"
    world.run(until=20)
    late = ends(world)["2"]
    assert (late.state, late.reasons) == (
        JobState.FAILED,
        ("not finished within the budget of 5 s",),
    )
    assert at_rest(world)


def test_a_budget_counts_from_when_its_first_build_is_begun() -> None:
    world = World(seconds_of=lambda task: 50.0 if task.work.job.task.name == "long" else 3.0)
    world.submit(request("a", "before", name="long"))
    world.submit(request("a", "1", budget=5.0))
    world.beats(120, every=1)
    world.run()
    assert {end.state for end in ends(world).values()} == {JobState.DONE}


def test_where_it_was_not_told_that_a_build_was_begun_a_heartbeat_tells() -> None:
    world = World(seconds_of=lambda task: 1e9)
    world.core.progressed = lambda standing: None  # type: ignore[method-assign]
    world.submit(request("a", "1", budget=5.0))
    world.beats(60, every=1)
    world.run(until=30)
    assert ends(world)["1"].reasons == ("not finished within the budget of 5 s",)


def test_a_scheduler_that_takes_over_counts_anew_and_takes_what_is_finished() -> None:
    world = World(pools=POOLS, seconds_of=seconds(dd=1e9))
    world.submit(request("a", "1", budget=10.0))
    world.beats(60, every=1)
    world.run(until=8)
    world.kill_scheduler()
    world.run(until=17)
    assert not ends(world), "nine seconds after the takeover"
    world.run(until=20)
    end = ends(world)["1"]
    assert end.state is JobState.DONE
    assert candidates(end)["cc"].cached
    assert candidates(end)["dd"].status is SKIPPED
    assert len(world.started) == 2
    assert at_rest(world)


def test_a_first_that_was_finished_while_there_was_no_scheduler_ends_the_job() -> None:
    world = World(pools=POOLS, seconds_of=seconds(dd=1e9))
    world.submit(request("a", "1", first=True))
    world.core.task_ended = lambda end: None  # type: ignore[method-assign]
    world.run(until=3)
    assert not ends(world)
    world.kill_scheduler()
    world.beats(30, every=1)
    world.run(until=10)
    assert ends(world)["1"].state is JobState.DONE
    assert at_rest(world)


def test_a_version_that_changes_does_not_give_the_budget_anew() -> None:
    world = World(seconds_of=lambda task: 1e9)
    world.submit(request("a", "1", budget=5.0))
    world.beats(60, every=1)
    world.run(until=3)
    world.end(world.workers[0], TaskStatus.STALE)
    world.run(until=7)
    assert ends(world)["1"].state is JobState.FAILED
    assert at_rest(world)


def test_a_job_in_a_hurry_can_be_cancelled() -> None:
    world = World(pools=POOLS, seconds_of=lambda task: 1e9)
    world.submit(request("a", "1", first=True, budget=5.0))
    world.beats(20, every=1)
    world.run(until=2)
    world.core.cancel(JobName(tenant="a", job_id="1"), Token("control", 1, -1))
    world.unfinished = lambda: True  # type: ignore[method-assign]
    world.run(until=20)
    assert [event.data.state for event in world.events] == [JobState.CANCELLED]
    assert at_rest(world)


def two_kernels(name: str) -> CompilerDescription:
    return compiler(name, kernels=("ample", "brisk"))


@pytest.mark.parametrize(
    ("hurry", "started"), [({"first": True}, ["brisk"]), ({}, ["ample", "brisk"])]
)
def test_what_did_well_before_is_sent_first(hurry: dict[str, Any], started: list[str]) -> None:
    world = World(described=two_kernels)
    facts = MODEL.summary
    past = [
        (facts, report(VERIFIED, number, 1, 1, "cc").model_copy(update={"kernels": kernels}))
        for kernels, number in (("ample", 900), ("brisk", 100))
    ]
    record = record_of(past)
    assert record is not None
    world.races.append((core_of(BOARD), record))
    world.submit(request("a", "1", **hurry))
    world.run()

    def kernels(task: PoolTask) -> str:
        return str(task.work.job.task.kernels)  # type: ignore[union-attr]

    assert [kernels(task) for _, _, task in world.started] == started


def test_a_race_that_was_run_to_its_end_is_remembered() -> None:
    world = World(pools=POOLS)
    world.submit(request("a", "hasty", first=True, name="n"))
    world.submit(request("a", "1"))
    world.run()
    ((core, record),) = world.races
    assert core == core_of(BOARD)
    assert [entry.compiler for form in record.forms for entry in form.entries] == ["cc", "dd"]


def test_what_is_said_of_candidates_left_out() -> None:
    job = job_for(
        Candidate(compiler("cc"), "generated"),
        inspection(summary()),
        name="m",
        target=BOARD,
        shapes={},
        service="s",
    )
    both = Hurry(first=True, budget=1.5, limits=Limits(flash_bytes=4))
    won, large = report(VERIFIED, 9, 4, 9), report(VERIFIED, 9, 5, 9)
    assert both.skipped(job, False, [large, won]).reasons == (
        "not tried as another was verified first",
    )
    assert both.skipped(job, True, [large]).reasons == ("not finished within the budget of 1.5 s",)
    assert not Hurry(budget=1.0).enough(won)
    assert not both.enough(won.model_copy(update={"status": CandidateStatus.BUILT}))
