"""Who waits, as a client is told."""

from __future__ import annotations

import json

import jsonschema

from scheduler.intake import Intake
from scheduler.overview import overview
from scheduler.ports import Delivery, Token
from tests.unit.messages.test_asyncapi import payload
from tests.unit.scheduler.world import World, request
from tinymlaas.contract.messages import JobState
from tinymlaas.contract.queue_messages import QueueAsked, QueueQuestion, QueueTold


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
