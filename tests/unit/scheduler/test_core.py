"""One job at a time: its states, its ends, and what is merged, cancelled, retried, quarantined."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from broker.farm import REQUESTS_AT_ONCE
from scheduler import effects as do
from scheduler.admission import Policy
from scheduler.ports import Token
from tests.unit.messages.malformed import kinds
from tests.unit.scheduler.world import START, Worker, World, request
from tinymlaas.contract.messages import JobName, JobState
from tinymlaas.contract.pool_messages import PREPARE_POOL, PoolTask, TaskStatus
from tinymlaas.contract.wire import MalformedMessage, parse

CONTROL = Token("control", 1, 7)


def states(world: World) -> dict[str, JobState]:
    assert len({event.id for event in world.events}) == len(world.events), "two final events"
    return {event.data.job_id: event.data.state for event in world.events}


def test_a_job_is_built_and_its_request_acknowledged_at_the_end() -> None:
    world = World()
    world.submit(request("a", "1"))
    world.settle()
    assert world.unacked
    assert world.core.census.states() == {JobState.COMPILING: 1}
    world.run()
    (event,) = world.events
    assert event.data.state is JobState.DONE
    assert event.data.result is not None
    assert event.data.result.module == f"tenants/a/modules/{'e' * 64}/module.zip"
    assert not world.unacked
    assert len(world.core) == 0
    assert len(world.core.actions) == 0


def test_what_is_stored_is_not_built_again() -> None:
    world = World()
    world.submit(request("a", "1"))
    world.run()
    world.submit(request("b", "2"))
    world.settle()
    assert states(world) == {"1": JobState.DONE, "2": JobState.DONE}
    (_, hit) = world.events
    assert hit.data.result is not None
    assert hit.data.result.candidates[0].cached
    assert world.compiled.total() == 1


def test_a_hundred_identical_requests_compile_once() -> None:
    world = World(pools={"cc": 4, "dd": 4})
    for n in range(100):
        world.submit(request(f"t{n % 7}", f"job-{n}"))
    world.run()
    assert states(world) == {f"job-{n}": JobState.DONE for n in range(100)}
    assert sorted(world.compiled.values()) == [1, 1]
    assert world.core.actions.merged > 0


def test_a_model_is_inspected_first_and_once() -> None:
    world = World(inspected=False, pools={"cc": 2})
    for n in range(5):
        world.submit(request("a", f"{n}", objective="flash" if n % 2 else "ram"))
    world.settle()
    assert world.core.census.states() == {JobState.PLANNING: 5}
    world.run()
    assert set(states(world).values()) == {JobState.DONE}
    assert [task.pool for _, _, task in world.started] == [PREPARE_POOL, "cc"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"board": "nonesuch"}, "no board is called 'nonesuch'"),
        ({"compiler": "nonesuch"}, "no compiler is called 'nonesuch'; there are: cc"),
        ({"compiler": "cc/nonesuch"}, "cc has no kernels called 'nonesuch'"),
        ({"options": {"speed": "1"}}, "no compiler has an option speed"),
        ({"deadline": START - timedelta(seconds=1)}, "its deadline passed while it was"),
    ],
)
def test_what_cannot_be_done_is_said(changes: dict[str, object], reason: str) -> None:
    world = World()
    world.submit(request("a", "1", **changes))
    world.core.tick()
    world.settle()
    (event,) = world.events
    assert event.data.state in (JobState.REJECTED, JobState.FAILED)
    assert event.data.reasons[0].startswith(reason)
    assert not world.unacked


def test_malformed_messages_are_refused_where_a_reply_is_named_and_kept_aside_elsewhere() -> None:
    world = World()
    malformed = kinds()
    for number, (_, body) in enumerate(malformed):
        world.submit(body, reply_to="reply.me" if number % 2 else "compile.requests")
    world.settle()
    refused = [event for reply, event in world.replies if reply == "reply.me"]
    assert all(event.data.state is JobState.REJECTED for event in refused)
    assert len(refused) == len(malformed) // 2
    assert len(world.dead) == len(malformed) - len(refused)
    assert all(reason.isprintable() and reason for _, reason in world.dead)
    assert not world.events
    assert not world.unacked
    world.submit(request("a", "1"))
    world.run()
    assert states(world) == {"1": JobState.DONE}


def test_nobody_is_answered_by_direct_reply_to() -> None:
    """RabbitMQ ends the connection of whoever publishes to a forged one."""
    world, forged = World(), "amq.rabbitmq.reply-to.A.B"
    world.submit(request("a", "1").encoded(), reply_to=forged)
    world.submit(b"{}", reply_to=forged)
    world.run()
    assert states(world) == {"1": JobState.DONE}
    assert len(world.dead) == 1
    assert forged not in {reply for reply, _ in world.replies}
    asked = b'{"tenant": "a", "job_id": "1", "reply": "%b"}'
    parse(asked % b"reply.me", JobName)
    with pytest.raises(MalformedMessage, match="reply"):
        parse(asked % forged.encode(), JobName)


def test_the_same_request_twice_is_one_job_and_another_under_its_name_is_refused() -> None:
    world = World()
    for _ in range(2):
        world.submit(request("a", "1"))
    world.submit(request("a", "1", model="other"), reply_to="reply.me")
    world.settle()
    (refusal,) = [event for reply, event in world.replies if reply == "reply.me"]
    assert refusal.data.reasons == ("job 1 is another order, not finished yet",)
    world.run()
    assert states(world) == {"1": JobState.DONE}
    assert not world.unacked


def test_a_finished_job_asked_again_gets_its_first_answer() -> None:
    world = World()
    world.submit(request("a", "1"))
    world.run()
    world.submit(request("a", "1", reply="reply.me"))
    world.settle()
    assert world.events[0] == world.events[1]
    assert [event.data.state for r, event in world.replies if r == "reply.me"] == [JobState.DONE]


def test_limits_are_per_tenant_and_in_all() -> None:
    world = World(policy=Policy(waiting=2, total=3, tenants=frozenset("abc")))
    for number, tenant in enumerate("aaabcd"):
        world.submit(request(tenant, f"{number}"))
    world.settle()
    reasons = {event.data.job_id: event.data.reasons[0] for event in world.events}
    assert reasons["2"].startswith("tenant a has 2 unfinished jobs, the limit")
    assert reasons["4"].startswith("the farm has as many unfinished jobs as it takes")
    assert reasons["5"] == "tenant d is not known here"
    world.run()
    assert list(states(world).values()).count(JobState.DONE) == 3
    world.submit(request("a", "again"))
    world.run()
    assert states(world)["again"] is JobState.DONE


def test_cancelling_kills_what_nobody_else_wants() -> None:
    world = World(pools={"cc": 1})
    world.submit(request("a", "1"))
    world.submit(request("b", "2"))
    world.run(until=0.5)
    world.core.cancel(JobName(tenant="a", job_id="1"), CONTROL)
    world.settle()
    assert states(world) == {"1": JobState.CANCELLED}
    assert world.workers[0].task is not None, "another job wants it"
    world.core.cancel(JobName(tenant="b", job_id="2"), CONTROL)
    world.settle()
    assert world.workers[0].task is None
    assert set(states(world).values()) == {JobState.CANCELLED}
    assert len(world.core.actions) == 0
    world.submit(request("a", "3"))
    world.run()
    assert states(world)["3"] is JobState.DONE


def test_who_comes_while_an_action_is_being_killed_gets_it() -> None:
    world = World()
    world.submit(request("a", "1"))
    world.run(until=0.5)
    world.core.cancel(JobName(tenant="a", job_id="1"), CONTROL)
    world.submit(request("b", "2"))
    world.run()
    assert states(world) == {"1": JobState.CANCELLED, "2": JobState.DONE}


def test_only_the_owner_cancels_and_a_cancel_may_come_first() -> None:
    world = World()
    world.submit(request("a", "1"))
    world.core.cancel(JobName(tenant="b", job_id="1"), CONTROL)
    world.core.cancel(JobName(tenant="a", job_id="2"), CONTROL)
    world.submit(request("a", "2"))
    world.run()
    assert states(world) == {"1": JobState.DONE, "2": JobState.CANCELLED}


def test_a_deadline_ends_the_job_and_its_build() -> None:
    world = World(seconds_of=lambda task: 100.0)
    world.submit(request("a", "1", deadline=START + timedelta(seconds=5)))
    world.run(until=4)
    world.now = 6
    world.core.tick()
    world.settle()
    (event,) = world.events
    assert event.data.reasons == ("its deadline passed while it was compiling",)
    assert world.workers[0].task is None


def test_a_job_that_kills_its_worker_twice_is_quarantined_and_its_neighbours_finish() -> None:
    world = World(deadly=lambda task: "bad" in task.work.job.task.name)
    world.submit(request("a", "1", name="bad"))
    world.submit(request("a", "2", name="good"))
    world.beats(60)
    world.run()
    assert states(world) == {"1": JobState.QUARANTINED, "2": JobState.DONE}
    end = next(event.data for event in world.events if event.data.job_id == "1")
    assert re.fullmatch(
        r"it killed its worker 2 times: cc-\d+ while compiling \(at work\); cc-\d+ while .*",
        end.reasons[0],
    )
    assert world.logs[end.log or ""].count(b"begun\nat work") == 2
    assert end.order is not None, "so that it can be sent again"
    assert [task.work.job.task.name for _, _, task in world.started].count("bad") == 2
    world.deadly = lambda task: False  # replay after a fix
    world.submit(request("a", "3", name="bad"))
    world.run()
    assert states(world)["3"] is JobState.DONE


def test_a_quarantined_candidate_does_not_spoil_the_others() -> None:
    world = World(pools={"cc": 1, "dd": 1}, deadly=lambda task: task.pool == "dd")
    world.submit(request("a", "1"))
    world.beats(60)
    world.run()
    (event,) = world.events
    assert event.data.state is JobState.DONE
    assert event.data.result is not None
    assert event.data.result.candidates[1].reasons[0].startswith("it killed its worker 2 times")


def test_what_may_be_cured_by_another_try_is_tried_again_and_not_for_ever() -> None:
    world = World(policy=Policy(retries=2), seconds_of=lambda task: 1e9)
    world.submit(request("a", "1"))
    for tries in range(1, 4):
        world.settle()
        assert len(world.started) == tries
        world.end(world.workers[0], TaskStatus.RETRY, reasons=("the store is away",))
        world.now += 5
        world.core.tick()
    world.settle()
    (event,) = world.events
    assert (event.data.state, event.data.reasons) == (JobState.FAILED, ("the store is away",))


def test_a_worker_of_another_version_has_the_job_planned_anew() -> None:
    world = World(policy=Policy(replans=2), seconds_of=lambda task: 1e9)
    world.submit(request("a", "1"))
    for _ in range(3):
        world.settle()
        world.end(world.workers[0], TaskStatus.STALE)
    world.settle()
    assert len(world.started) == 3
    (event,) = world.events
    assert event.data.reasons[0].startswith("workers of several versions answer")


def test_a_task_that_no_worker_has_seen_is_sent_again() -> None:
    world = World()
    lost: list[PoolTask] = []
    world.dispatch = lambda: None  # type: ignore[method-assign]
    world.submit(request("a", "1"))
    world.settle()
    lost += [task for task, _ in world.queues["cc"]]
    world.queues["cc"].clear()
    world.now = 61
    for worker in world.workers:
        world._hello(worker)
    world.core.tick()
    world.settle()
    ((again, _),) = world.queues["cc"]
    assert again.action == lost[0].action
    assert again.task_id != lost[0].task_id


def test_a_task_that_no_worker_can_read_is_not_sent_for_ever() -> None:
    world = World()
    sent: list[PoolTask] = []

    def lose() -> None:
        sent.extend(task for task, _ in world.queues["cc"])
        world.queues["cc"].clear()

    world.dispatch = lose  # type: ignore[method-assign]
    world.submit(request("a", "1"))
    world.beats(400)
    world.unfinished = lambda: True  # type: ignore[method-assign]
    world.run(until=400)
    (event,) = world.events
    assert event.data.state is JobState.FAILED
    assert event.data.reasons[0].startswith("it was sent 11 times and idle workers of cc never")
    assert len(sent) == 11
    assert len(world.core.actions) == 0


def test_status_says_what_a_job_waits_for() -> None:
    world = World(policy=Policy(lookahead=2))
    for number in range(4):
        world.submit(request("a", f"{number}", name=f"n{number}"))
    world.settle()
    for number in (*range(4), 9):
        world.core.status(JobName(tenant="a", job_id=f"{number}", reply="reply.me"))
    world.settle()
    told = [event.data for reply, event in world.replies if reply == "reply.me"]
    assert [each.state for each in told] == ["compiling", "compiling", "queued", "queued", None]
    assert [each.position for each in told[1:4]] == [0, 0, 1]
    assert told[0].waits_for == ("pool cc, which is at it",)
    assert told[1].waits_for == ("pool cc, whose worker is busy; it is the tenant's next",)


def test_no_job_is_called_ended_before_its_record_is_kept() -> None:
    """Only the record says how it ended; who is told sooner asks for a result that is not there."""
    world = World()
    world.submit(request("a", "1"))
    world.settle()
    core = world.core
    core.cancel(JobName(tenant="a", job_id="1"), Token("control", 1, 99))
    core.status(JobName(tenant="a", job_id="1", reply="reply.me"))
    effects = core.drain()
    told = [each.event.data for each in effects if isinstance(each, do.Announce) and each.reply]
    assert [each.state for each in told] == [JobState.COMPILING]
    assert told[0].waits_for == ("the store, which is taking its result",)
    (end,) = (each for each in effects if isinstance(each, do.Finish))
    assert end.event.data.state is JobState.CANCELLED


def test_a_pool_without_workers_has_one_task_in_its_queue() -> None:
    """So that whoever starts workers by the length of the queue sees it, and cancels count."""
    world = World()
    world.dispatch = lambda: None  # type: ignore[method-assign]
    world.settle()
    world._hello(world.workers[0], leaving=True)
    for number in range(3):
        world.submit(request("a", f"{number}", name=f"n{number}"))
    world.settle()
    assert len(world.queues["cc"]) == 1
    world.core.status(JobName(tenant="a", job_id="1", reply="reply.me"))
    world.settle()
    assert world.replies[-1][1].data.waits_for == ("pool cc, which has no workers now",)
    del world.dispatch
    world._hello(world.workers[0])
    world.dispatch()
    world.run()
    assert set(states(world).values()) == {JobState.DONE}


def test_a_heartbeat_that_comes_after_its_tasks_end_is_not_believed() -> None:
    world = World(seconds_of=lambda task: 1e9)
    world.submit(request("a", "1"))
    world.settle()
    worker = world.workers[0]
    task = worker.task
    assert task is not None
    world.end(worker, TaskStatus.FAILED)
    worker.task = task
    world._hello(worker)  # late
    worker.task = None
    world.submit(request("a", "2"))
    world.settle()
    assert len(world.started) == 2
    assert world.core.census.states() == {JobState.COMPILING: 1}


def test_a_scheduler_that_takes_over_does_not_send_what_runs() -> None:
    world = World(seconds_of=lambda task: 10.0)
    world.submit(request("a", "1"))
    world.run(until=5)
    world.kill_scheduler()
    world.run()
    assert len(world.started) == 1
    assert states(world) == {"1": JobState.DONE}


def test_jobs_that_wait_for_a_pool_without_workers_keep_no_place_from_others() -> None:
    world = World(pools={"cc": 1, "away": 1}, policy=Policy(lookahead=4, planned=64))
    world.workers = [worker for worker in world.workers if worker.pool != "away"]
    world.core.actions.pool("away").workers.forget_silent(1e9)
    for number in range(12):
        world.submit(request("a", f"away-{number}", name=f"n{number}", compiler="away"))
    world.submit(request("a", "here", compiler="cc"))
    world.run()
    assert states(world) == {"here": JobState.DONE}
    assert len(world.queues["away"]) == 1, "one is sent, so that workers are started for it"
    world.workers.append(Worker("away", "away-1"))
    world.beat()
    world.dispatch()
    world.run()
    assert set(states(world).values()) == {JobState.DONE}
    assert len(states(world)) == 13
    assert world.core._turns.idle()


def test_jobs_that_are_held_keep_no_place_from_others_and_are_bounded() -> None:
    policy = Policy(lookahead=2, planned=32)
    world = World(pools={"cc": 1, "late": 0}, policy=policy)
    for number in range(40):
        world.submit(request("a", f"late-{number}", name=f"n{number}", compiler="late"))
    world.settle()
    assert len(world.core._turns.jobs()) == 32 // 4 + 2
    world = World(pools={"cc": 1, "late": 0}, policy=policy)
    for number in range(6):
        world.submit(request("a", f"late-{number}", name=f"n{number}", compiler="late"))
    world.submit(request("a", "here", compiler="cc"))
    world.run()
    assert states(world) == {"here": JobState.DONE}


def test_however_many_tenants_there_are_plans_are_bounded() -> None:
    world = World(policy=Policy(planned=8), seconds_of=lambda task: 1e9)
    for number in range(40):
        world.submit(request(f"t{number}", "1", name=f"n{number}"))
    world.settle()
    assert len(world.core._turns.jobs()) == 16


def test_more_requests_are_taken_from_the_broker_than_there_is_room_for() -> None:
    """So that whoever comes when all is full is refused, and not left without a word."""
    assert Policy().total < REQUESTS_AT_ONCE < 1 << 16
