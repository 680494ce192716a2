"""The loop with its ports in memory: real threads, and a scheduler that is replaced."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from broker.errors import BrokerUnavailable
from scheduler.admission import Policy
from scheduler.budget import Budget
from scheduler.builds import Builds
from scheduler.core import Core
from scheduler.ending import Ending
from scheduler.in_memory import (
    MemoryPublisher,
    SystemClock,
)
from scheduler.planner import Planner
from scheduler.planning import inspection_facts
from scheduler.ports import Confirmed
from scheduler.service import Service
from scheduler.turns import Turns
from storage import keys
from storage.keys import Key
from tests.unit.messages.malformed import kinds
from tests.unit.scheduler.farm import Farm, scheduler
from tests.unit.scheduler.world import MODEL, SERVICE, board, request
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.messages import (
    CancelRequested,
    JobName,
    JobState,
    Payload,
    StatusAsked,
)
from tinymlaas.contract.pool_messages import (
    PREPARE_POOL,
    TaskKilled,
)


def test_jobs_go_through_and_nothing_is_left() -> None:
    farm = Farm()
    with scheduler(farm):
        farm.hello()
        for number in range(20):
            farm.requests.put(request("a", f"{number}", name=f"n{number % 4}").encoded())
        farm.until(lambda: len(farm.ends()) == 20 and not len(farm.requests))
    assert set(farm.ends().values()) == {JobState.DONE}
    assert len(farm.built) == 4
    assert len(farm.pool) == len(farm.control) == 0
    key = keys.tenant_blob("a", sha256(b"m"))
    assert farm.store.get(key) == b"m", "what came inline is in the store"


def test_another_scheduler_takes_over_and_ends_what_was_begun() -> None:
    farm = Farm()
    with scheduler(farm):
        farm.hello()
        for number in range(10):
            farm.requests.put(request("a", f"{number}", name=f"n{number}").encoded())
        farm.until(lambda: len(farm.ends()) >= 3)
    before = len(farm.built)
    # One may have been published and not acknowledged any more; never the reverse.
    assert 10 - len(farm.ends()) <= len(farm.requests) <= 7
    with scheduler(farm):
        farm.hello()
        farm.until(lambda: len(farm.ends()) == 10 and not len(farm.requests))
    assert set(farm.ends().values()) == {JobState.DONE}
    assert before <= len(farm.built) == len({*farm.built})


@pytest.mark.parametrize("again", ["n0", "other"])
def test_an_id_used_again_gets_the_record_and_nothing_is_built(again: str) -> None:
    farm = Farm()
    with scheduler(farm):
        farm.hello()
        farm.requests.put(request("a", "1", name="n0").encoded())
        farm.until(lambda: len(farm.ends()) == 1 and not len(farm.requests))
    with scheduler(farm):
        farm.hello()
        farm.requests.put(request("a", "1", name=again).encoded())
        farm.until(lambda: not len(farm.requests))
    bodies = [body for _, body in farm.events.published if b"job.result.v1" in body]
    assert len(bodies) == (2 if again == "n0" else 1)
    assert {*bodies} == {farm.store.get(keys.job_result("a", "1"))}
    assert [reason for _, reason in farm.requests.dead] == (
        [] if again == "n0" else ["job 1 was another order, which has ended"]
    )
    assert len(farm.built) == 1


def test_an_ended_job_that_is_delivered_again_is_not_judged_again() -> None:
    """The scheduler was killed between the record and the request's acknowledgement."""
    farm = Farm()
    model = request("a", "1", data=Payload.of(b"labelled", "a", "data.npz"))
    facts = {"source_digest": sha256(b"m"), "static_digest": sha256(b"static")}
    found = MODEL.model_copy(update=facts)
    known = keys.model_summary(found.source_digest, inspection_facts(model.data, SERVICE)[:40])
    assert farm.store.put_if_absent(known, found.model_dump_json().encode())
    farm.store.put(keys.blob_of(b"static"), b"static")
    for _ in range(2):
        with scheduler(farm):
            farm.hello()
            farm.requests.put(model.encoded())
            farm.until(lambda: not len(farm.requests))
    assert farm.ends() == {"1": JobState.DONE}
    assert (len(farm.built), len(farm.judged)) == (1, 1)


def test_a_fault_of_the_core_ends_the_scheduler_and_the_next_one_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    farm = Farm()
    farm.requests.put(request("a", "1").encoded())
    core = Core(Policy(), SystemClock(), board, ["cc", PREPARE_POOL], SERVICE)
    service = Service(core, farm.ports(), SERVICE)

    def stumble(*_: object) -> None:
        raise KeyError("half done")

    monkeypatch.setattr(core, "heard", stumble)
    farm.hello()
    service.run()
    assert service.failed
    assert [reason for _, reason in farm.pool.dead] == ["a fault of the scheduler: KeyError"]
    with scheduler(farm):
        farm.hello()
        farm.until(lambda: not len(farm.requests))
    assert farm.ends() == {"1": JobState.DONE}


@pytest.mark.parametrize("where", ["looked", "go_on", "found", "finished"])
def test_a_request_that_the_core_stumbles_over_is_a_dead_letter_and_no_crash_loop(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    farm = Farm()
    farm.requests.put(request("a", "poison", name="poison", reply="reply.me").encoded())
    farm.requests.put(request("b", "good").encoded())
    core = Core(Policy(settle_seconds=0.0), SystemClock(), board, ["cc", PREPARE_POOL], SERVICE)
    service = Service(core, farm.ports(), SERVICE)

    owner, name = {
        "looked": (Planner, "looked"),
        "go_on": (Turns, "asking"),
        "found": (Builds, "found"),
        "finished": (Ending, "finished"),
    }[where]
    real = getattr(owner, name)

    def poisoned(self: object, first: Any, *more: Any) -> Any:
        if (first if isinstance(first, tuple) else first.key) == ("a", "poison"):
            raise OverflowError("planted")
        return real(self, first, *more)

    monkeypatch.setattr(owner, name, poisoned)
    farm.hello()
    running = threading.Thread(target=service.run)
    running.start()
    farm.until(lambda: not running.is_alive())
    assert service.failed
    reason = "a fault of the scheduler: OverflowError"
    assert [(b"poison" in body, said) for body, said in farm.requests.dead] == [(True, reason)]
    with scheduler(farm):
        farm.hello()
        farm.until(lambda: not len(farm.requests))
    assert farm.ends()["good"] is JobState.DONE


class Blips(MemoryPublisher):
    """Takes no answer at first; another client asks for the same meanwhile."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__(("reply.me", "reply.other"))
        self.meanwhile: Callable[[], None] | None = meanwhile

    def reply(self, queue: str, body: bytes, confirmed: Confirmed | None = None) -> None:
        assert confirmed is not None, "an end is sent so that it is known to have come"
        if (meanwhile := self.meanwhile) is None:
            super().reply(queue, body, confirmed)
            return
        self.meanwhile = None
        meanwhile()
        confirmed(BrokerUnavailable("not now"))


def test_the_end_reaches_all_who_wait_for_it_on_queues_of_their_own() -> None:
    farm = Farm()
    again = request("a", "1", reply="reply.other").encoded()
    farm.events = Blips(lambda: farm.requests.put(again))
    with scheduler(farm):
        farm.hello()
        farm.requests.put(request("a", "1", reply="reply.me").encoded())
        farm.requests.put(request("a", "2", name="n2", reply="reply.gone").encoded())
        farm.until(lambda: not len(farm.requests))
    assert farm.ends() == {"1": JobState.DONE, "2": JobState.DONE}
    assert [len(told) for told in farm.events.queues.values()] == [1, 1]


def test_a_store_that_is_away_delays_and_loses_nothing() -> None:
    farm = Farm()
    with scheduler(farm):
        farm.hello()
        farm.store.away = True
        farm.requests.put(request("a", "1", reply="reply.me").encoded())
        time.sleep(0.3)
        assert not farm.ends()
        farm.store.away = False
        farm.until(lambda: not len(farm.requests))
    assert farm.ends() == {"1": JobState.DONE}
    assert len(farm.events.queues["reply.me"]) == 1


def test_files_that_come_faster_than_the_store_takes_them_wait_at_the_broker() -> None:
    farm = Farm()
    clock = SystemClock()
    core = Core(Policy(settle_seconds=0.0), clock, board, ["cc", PREPARE_POOL], SERVICE)
    service = Service(core, farm.ports(), SERVICE)
    service.budget = Budget(1_000_000)
    taking, most, real = threading.Event(), [0], farm.store.put

    def slow(key: Key, data: bytes) -> None:
        taking.wait(20)
        most.append(service.budget.held)
        real(key, data)

    farm.store.put = slow  # type: ignore[method-assign]
    bodies = [request("a", f"{n}", model=f"{n}" * 20_000).encoded() for n in range(10, 90)]
    scheduling = threading.Thread(target=service.run)
    scheduling.start()
    farm.until(lambda: farm.requests._deliver is not None, work=False)
    sending = threading.Thread(target=lambda: [farm.requests.put(body) for body in bodies])
    sending.start()
    time.sleep(1)
    assert sending.is_alive(), "the source is made to wait"
    taking.set()
    farm.hello()
    farm.until(lambda: len(farm.ends()) == len(bodies) and not len(farm.requests))
    service.stop()
    scheduling.join(20)
    sending.join(20)
    assert max(most) < 1_900_000  # of 4 million; for a moment a body and its file count both
    assert service.budget.held == 0


def test_requests_that_wait_for_the_store_keep_no_other_message_waiting() -> None:
    farm = Farm()
    core = Core(Policy(), SystemClock(), board, ["cc", PREPARE_POOL], SERVICE)
    service = Service(core, farm.ports(), SERVICE)
    service.budget = Budget(1_000)
    taking, real = threading.Event(), farm.store.put

    def slow(key: Key, data: bytes) -> None:
        taking.wait(20)
        real(key, data)

    farm.store.put = slow  # type: ignore[method-assign]
    scheduling = threading.Thread(target=service.run)
    scheduling.start()
    farm.until(lambda: farm.control._deliver is not None, work=False)
    bodies = [request("a", f"{n}", model=f"{n}" * 2_000).encoded() for n in range(3)]
    sending = threading.Thread(target=lambda: [farm.requests.put(body) for body in bodies])
    sending.start()
    farm.until(lambda: len(core) == 1, work=False)
    name = JobName(tenant="a", job_id="0", reply="reply.me")

    def say() -> None:
        farm.hello()
        farm.control.put(CancelRequested(id="c", source="c", data=name).encoded())

    saying = threading.Thread(target=say)
    saying.start()
    farm.until(lambda: bool(farm.ends()), work=False)
    assert farm.ends() == {"0": JobState.CANCELLED}
    assert core.pools_now()["cc"].workers == 1
    assert sending.is_alive(), "further requests wait"
    taking.set()
    farm.until(lambda: len(farm.ends()) == 3 and not len(farm.requests))
    service.stop()
    for thread in (scheduling, sending, saying):
        thread.join(20)


def test_missing_models_and_malformed_messages_are_told_or_kept_aside() -> None:
    farm = Farm()
    malformed = kinds()
    where = {"digest": "0" * 64, "reference": f"tenants/a/blobs/{'0' * 64}"}
    with scheduler(farm):
        farm.hello()
        farm.requests.put(
            request("a", "1")
            .model_copy(
                update={
                    "data": request("a", "1", model="x").data.model_copy(
                        update={"model": request("a", "1").data.model.model_validate(where)}
                    )
                }
            )
            .encoded()
        )
        for number, (_, body) in enumerate(malformed):
            farm.requests.put(body, ("reply.me", "reply.gone", None)[number % 3])
        farm.until(lambda: not len(farm.requests))
    assert farm.ends() == {"1": JobState.REJECTED}
    told, dead = len(farm.events.queues["reply.me"]), len(farm.requests.dead)
    assert told + dead == len(malformed)
    assert told >= len(malformed) // 3


def test_cancel_and_status_come_through_the_control_queue() -> None:
    farm = Farm()
    with scheduler(farm) as core:
        farm.hello()
        farm.requests.put(request("a", "1").encoded())
        farm.until(lambda: any(farm.pools.tasks.values()), work=False)
        assert core.census.states() == {JobState.PLANNING: 1}
        name = JobName(tenant="a", job_id="1", reply="reply.me")
        farm.control.put(StatusAsked(id="q", source="c", data=name).encoded())
        farm.control.put(b"{}")
        farm.until(lambda: bool(farm.events.queues["reply.me"]), work=False)
        farm.control.put(CancelRequested(id="c", source="c", data=name).encoded())
        farm.until(lambda: bool(farm.ends()), work=False)
        farm.until(lambda: not len(farm.control), work=False)
    assert farm.ends() == {"1": JobState.CANCELLED}
    assert b'"state":"planning"' in farm.events.queues["reply.me"][0]
    kills = [body for _, body in farm.pools.kills if TaskKilled.TYPE.encode() in body]
    assert len(kills) == 1
    assert len(farm.control.dead) == 1
