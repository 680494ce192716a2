"""Who watches a job is told which of its candidates is being built, and how many are done."""

from __future__ import annotations

from tests.unit.scheduler.test_forms import calibrated
from tests.unit.scheduler.world import World, request
from tinymlaas.contract.messages import JobChanged, JobName, JobStanding, JobState, Payload

DATA = Payload.of(b"labelled", "a", "data.npz")


def told(world: World) -> list[JobStanding]:
    """Return what those who watch were told of work."""
    found = [event.data for _, event in world.replies if isinstance(event, JobChanged)]
    return [each for each in found if each.stage is not None]


def candidates(world: World) -> list[tuple[str | None, int | None, int | None]]:
    found = [(e.candidate, e.candidates_done, e.candidates_total) for e in told(world)]
    return list(dict.fromkeys(found))


def test_candidates_of_one_compiler_have_names_of_their_own() -> None:
    world = World()
    world.submit(calibrated("1"))
    world.run()
    assert [state.data.state for state in world.events] == [JobState.DONE]
    assert candidates(world) == [(None, None, None), ("cc", 0, 2), ("cc int8", 1, 2)]
    assert list(dict.fromkeys(each.pool for each in told(world))) == ["prepare", "cc"]


def test_a_candidate_is_done_when_it_is_judged() -> None:
    world = World()
    world.submit(request("a", "1", data=DATA))
    world.run()
    assert candidates(world) == [("cc", 0, 1)]
    assert len(told(world)) == 2, "it was built, then judged"


def test_what_the_store_has_is_done() -> None:
    world = World(pools={"cc": 1, "dd": 1}, seconds_of=lambda task: 1e9 * (task.pool == "dd") + 1)
    world.submit(request("a", "0", compiler="cc"))
    world.run(until=10)
    world.submit(request("a", "1"))
    world.run(until=20)
    world.core.status(JobName(tenant="a", job_id="1", reply="reply.me"))
    world.settle()
    assert candidates(world)[-1] == ("dd", 1, 2)
