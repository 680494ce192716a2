"""Who waits, as a client is told."""

from __future__ import annotations

import json

import jsonschema

from scheduler.admission import Policy
from scheduler.effects import Announce
from scheduler.intake import Intake
from scheduler.overview import answer, overview
from scheduler.ports import Delivery, Token
from tests.unit.messages.test_asyncapi import payload
from tests.unit.scheduler.world import World, request
from tinymlaas.contract.messages import JobName, JobStanding, JobState
from tinymlaas.contract.queue_messages import FarmView, QueueAsked, QueueQuestion, QueueTold


def asked(world: World) -> QueueTold:
    question = QueueAsked(id="q", source="t", data=QueueQuestion(reply="reply.t"))
    Intake(world.core).control(Delivery(Token("control", 0, 1), question.encoded(), None))
    world.settle()
    ((reply, body),) = world.answers
    assert reply == "reply.t"
    jsonschema.validate(json.loads(body), payload("queue-state"))
    return QueueTold.model_validate_json(body)


def test_jobs_are_counted_by_tenant_and_state_and_pools_by_work() -> None:
    world = World(pools={"cc": 1})
    for number in range(3):
        world.submit(request("b", f"b{number}", model=f"b{number}"))
    world.submit(request("a", "a0", model="a0"))
    world.run(until=0.5)
    told = asked(world)
    assert told.id == "q"
    assert [each.tenant for each in told.data.tenants] == ["a", "b"]
    unfinished = {each.tenant: sum(each.jobs.values()) for each in told.data.tenants}
    assert unfinished == {"a": 1, "b": 3}
    (pool,) = [each for each in told.data.pools if each.pool == "cc"]
    assert (pool.workers, pool.sent, pool.waiting) == (1, 1, 3)
    assert pool.seconds is None, "nothing has been built yet"
    assert told.data.tenants[0].jobs.keys() <= {JobState.COMPILING}


def test_an_idle_farm_has_nobody_waiting() -> None:
    world = World()
    world.submit(request("a", "1"))
    world.run()
    found = overview(world.core)
    assert found.tenants == ()
    assert [(pool.sent, pool.waiting) for pool in found.pools if pool.pool == "cc"] == [(0, 0)]


def asked_for(world: World, most: int, tenant: str | None = None) -> FarmView:
    question = QueueQuestion(reply="reply.t", jobs=most, tenant=tenant)
    event = QueueAsked(id="q", source="t", data=question)
    return QueueTold.model_validate_json(answer(world.core, event, None, "s")[1]).data


def test_the_first_jobs_are_those_at_work_and_the_last_ends_come_first() -> None:
    world = World(pools={"cc": 1})
    for number in range(4):
        tenant = "b" if number else "a"
        world.submit(request(tenant, f"j{number}", model=f"m{number}", name=f"n{number}"))
    world.run(until=1.5)
    found = asked_for(world, 10)
    assert found.scheduler == "s"
    (ended,) = found.ended
    assert (ended.job_id, ended.state, ended.name) == ("j0", JobState.DONE, "n0")
    assert ended.seconds > 0
    assert [each.job_id for each in found.jobs] == ["j1", "j2", "j3"]
    assert {each.board for each in found.jobs} == {"board"}
    assert all(each.waits_for == "pool cc" for each in found.jobs)
    (pool,) = [each for each in found.pools if each.pool == "cc"]
    assert pool.oldest_seconds is not None
    assert [each.job_id for each in asked_for(world, 1).jobs] == ["j1"]
    assert asked_for(world, 0).jobs == ()
    assert asked_for(world, 9, "a").jobs == ()
    world.run()
    ends = [each.job_id for each in asked_for(world, 3).ended]
    assert ends == ["j3", "j2", "j1"]
    first = asked_for(world, 9, "a").ended
    assert [each.job_id for each in first] == ["j0"]
    world.submit(request("a", "j0", model="m0", name="n0"))
    world.run()
    assert len(world.events) == 5, "whoever asks again is told again"
    assert asked_for(world, 9, "a").ended == first


def test_jobs_that_are_not_planned_are_listed_too_and_counted_once_a_second() -> None:
    policy = Policy(lookahead=2)
    world = World(policy=policy, pools={"cc": 1})
    for number in range(30):
        world.submit(request("a", f"j{number:02}", model=f"m{number}", name="kws"))
    world.run(until=0.5)
    found = asked_for(world, 6)
    assert [each.state for each in found.jobs].count(JobState.QUEUED) == 4
    assert {each.name for each in found.jobs} == {"kws"}
    assert sum(found.tenants[0].jobs.values()) == 30
    counted = world.core.census.lately()
    assert world.core.census.lately() is counted
    assert [each.job_id for each in asked_for(world, 5, "a").jobs][-1] == "j04"


def test_the_details_of_a_job_are_for_who_asks_for_them() -> None:
    world = World(pools={"cc": 1})
    world.submit(request("a", "1", name="kws"))
    world.run(until=0.5)

    def told(details: bool) -> JobStanding:
        world.core.status(JobName(tenant="a", job_id="1", reply="reply.me", details=details))
        (told,) = (each for each in world.core.drain() if isinstance(each, Announce))
        assert told.reply == "reply.me"
        return told.event.data

    assert told(False).details is None
    details = told(True).details
    assert details is not None
    assert (details.order.name, details.order.reply) == ("kws", None)
    assert details.tail == "begun\nat work"
    (candidate,) = details.candidates
    assert (candidate.status, candidate.running) == (None, True)
