"""What must hold on a farm of real processes, RabbitMQ and S3; chaos has tests of its own."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.topology import CANCEL_KEY, COMPILE_KEY, sent_by
from tests.integration.farm.desk import Desk, count, kept_alive, waiting_queues
from tests.services.stub_compiler import Stub
from tests.unit.messages.malformed import kinds
from tinymlaas.contract.messages import JobState
from tinymlaas.contract.report import CandidateStatus

WORKERS = 2


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def begun(stub: Stub, name: str) -> bool:
    return name in stub.begun()


def test_a_hundred_identical_requests_compile_once(desk: Desk, stub: Stub) -> None:
    tenants = "abc"
    orders = [stub.order(tenants[n % 3], "merged", milliseconds="300") for n in range(100)]
    ends = desk.all_ended(desk.submit_all(orders))
    assert {end.state for end in ends} == {JobState.DONE}
    modules = {end.result.module for end in ends if end.result and end.result.module}
    assert {path.split("/")[1] for path in modules} == set(tenants), "each has a place of its own"
    assert len({path.split("/")[3] for path in modules}) == 1
    assert stub.begun().count("merged") == 1


@pytest.mark.slow
def test_a_crowd_delays_a_single_job_by_one_job_for_each_worker_at_most(
    desk: Desk, stub: Stub
) -> None:
    crowd = desk.submit_all(
        [stub.order("crowd", f"c{n}", milliseconds="200", priority=9) for n in range(1000)]
    )
    desk.until(lambda: begun(stub, "c0") and begun(stub, "c1"))
    asked = time.time()
    single = desk.submit(stub.order("single", "lonely", priority=0))
    assert desk.end(single).state is JobState.DONE
    planned = next(at for at, told in desk.changes[single] if told.state is JobState.COMPILING)
    entries = [entry for entry in stub.journal() if entry.event == "begin"]
    start = next(entry.time for entry in entries if entry.name == "lonely")
    between = [e.name for e in entries if e.name[0] == "c" and planned < e.time < start]
    print(f"\nsingle: planned {planned - asked:.3f} s, begun {start - asked:.3f} s after asking")
    assert len(between) <= WORKERS
    # Planning is fair too: what began while it was asked and planned is no share of a thousand.
    since = [e.name for e in entries if e.name[0] == "c" and asked < e.time < start]
    assert len(since) <= 10 * WORKERS
    _cancel_all(desk, stub, crowd)


def _cancel_all(desk: Desk, stub: Stub, crowd: list[str]) -> None:
    """A tenant has a limit of unfinished jobs, and can cancel what waits."""
    more = desk.submit_all([stub.order("crowd", f"m{n}", milliseconds="0") for n in range(200)])
    desk.until(lambda: sum(job in desk.ends for job in more) >= 50)
    refused = [desk.ends[job] for job in more if job in desk.ends]
    assert all("unfinished jobs, the limit" in end.reasons[0] for end in refused)
    assert {end.state for end in refused} == {JobState.REJECTED}
    for job in [*crowd, *more]:
        if job not in desk.ends:
            desk.cancel("crowd", job)
    states = {end.state for end in desk.all_ended([*crowd, *more])}
    assert states <= {JobState.DONE, JobState.CANCELLED, JobState.REJECTED}


def test_priority_decides_among_a_tenants_own_jobs(desk: Desk, stub: Stub) -> None:
    busy = [desk.submit(stub.order("a", f"busy{n}", milliseconds="600000")) for n in range(WORKERS)]
    desk.until(lambda: all(begun(stub, f"busy{n}") for n in range(WORKERS)))
    order = [1, 9, 5, 3, 7, 0, 8]
    jobs = desk.submit_all(
        [stub.order("a", f"prio{n}", milliseconds="100", priority=n) for n in order]
    )
    desk.all_wait_for_workers(jobs)
    for job in busy:
        desk.cancel("a", job)
    desk.all_ended([*busy, *jobs])
    names = [name for name in stub.begun() if name.startswith("prio")]
    # Two workers take two at a time, so neighbours may have changed places.
    ranks = [sorted(order, reverse=True).index(int(name[4:])) for name in names]
    assert all(abs(rank - place) <= 1 for place, rank in enumerate(ranks)), names


def test_a_cancel_frees_the_worker_and_leaves_no_process(desk: Desk, stub: Stub) -> None:
    jobs = [
        desk.submit(stub.order("a", f"long{n}", does="fork", milliseconds="600000"))
        for n in range(WORKERS)
    ]
    desk.until(lambda: all(begun(stub, f"long{n}") for n in range(WORKERS)))
    desk.until(lambda: len(stub.children()) == 3 * WORKERS)
    next_one = desk.submit(stub.order("b", "next"))
    time.sleep(0.3)
    assert not begun(stub, "next")
    asked = time.time()
    for job in jobs:
        desk.cancel("a", job)
    ends = desk.all_ended([*jobs, next_one])
    assert [end.state for end in ends] == [JobState.CANCELLED] * WORKERS + [JobState.DONE]
    start = next(e.time for e in stub.journal() if (e.event, e.name) == ("begin", "next"))
    print(f"\nthe worker is free {start - asked:.3f} s after the cancel")
    compilers = [e.pid for e in stub.journal() if e.name.startswith("long")]
    desk.until(lambda: not any(alive(pid) for pid in [*compilers, *stub.children()]))


def test_a_deadline_ends_a_running_compile(desk: Desk, stub: Stub) -> None:
    deadline = datetime.now(UTC) + timedelta(seconds=5)
    order = stub.order("a", "late", milliseconds="600000", deadline=deadline)
    end = desk.end(desk.submit(order))
    assert (end.state, end.reasons) == (
        JobState.FAILED,
        ("its deadline passed while it was compiling",),
    )
    (entry,) = [e for e in stub.journal() if e.name == "late"]
    desk.until(lambda: not alive(entry.pid))


def test_memory_is_limited_and_the_worker_lives_on(desk: Desk, stub: Stub) -> None:
    end = desk.end(desk.submit(stub.order("a", "hungry", does="memory")))
    assert end.state is JobState.FAILED
    assert "MemoryError" in end.reasons[0]
    assert b"MemoryError" in desk.log(end)
    assert desk.end(desk.submit(stub.order("a", "modest"))).state is JobState.DONE


def test_what_a_compiler_says_is_watched_and_kept(desk: Desk, stub: Stub) -> None:
    job = desk.submit(stub.order("a", "talks", does="print", milliseconds="3000"))
    assert desk.end(job).state is JobState.DONE
    lines = [told.line for _, told in desk.changes[job] if told.line]
    assert any(line.startswith("line ") for line in lines), "live progress"


def test_a_job_that_kills_its_worker_is_quarantined_and_its_neighbours_finish(
    desk: Desk, stub: Stub
) -> None:
    workers = desk.farm.workers["stub"]
    with kept_alive(workers) as died:
        poison = desk.submit(stub.order("a", "poison", does="kill", milliseconds="2000"))
        good = desk.submit_all([stub.order("b", f"good{n}", milliseconds="100") for n in range(10)])
        end = desk.end(poison)
        assert {each.state for each in desk.all_ended(good)} == {JobState.DONE}
    assert end.state is JobState.QUARANTINED
    assert stub.begun().count("poison") == 2
    assert len(died) == 2
    assert end.reasons[0].startswith("it killed its worker 2 times: stub@")
    assert "while compiling" in end.reasons[0]
    assert desk.log(end).count(b"about to kill the worker") == 2
    assert end.result is not None
    assert end.result.candidates[0].status is CandidateStatus.FAILED
    stub.mend()
    assert end.order is not None
    assert desk.end(desk.submit(end.order)).state is JobState.DONE, "replayed after the fix"


def test_a_thousand_malformed_messages_are_answered_or_kept(desk: Desk, stub: Stub) -> None:
    malformed = kinds()
    assert len(malformed) >= 1000
    before = desk.count(desk.farm.names.dead_letters)
    asked = [number % 2 for number in range(len(malformed))]
    for (_, body), replies in zip(malformed, asked, strict=True):
        desk.publish(sent_by("a", COMPILE_KEY), body, desk.reply if replies else None)
    desk.publish(sent_by("a", CANCEL_KEY), b"no cancel")
    # Who publishes to that has its connection ended by RabbitMQ, and would try for ever.
    desk.publish(sent_by("a", COMPILE_KEY), b"{}", "amq.rabbitmq.reply-to.A.B")
    told: list[object] = []

    def settled() -> bool:
        told.extend(desk.take_replies())
        dead = desk.count(desk.farm.names.dead_letters) - before
        return len(told) + dead >= len(malformed) + 2

    desk.until(settled)
    assert len(told) >= sum(asked)
    assert all(event.data.state is JobState.REJECTED and event.data.reasons for event in told)
    reasons = desk.dead_letters()
    assert len(reasons) >= len(malformed) + 2 - len(told)
    assert all(reason and reason.isprintable() for reason in reasons)
    assert desk.farm.schedulers[0].running
    assert desk.end(desk.submit(stub.order("a", "after"))).state is JobState.DONE
    unknown = desk.end(desk.submit(stub.order("nobody", "stranger")))
    assert unknown.reasons == ("tenant nobody is not known here",)


def test_a_scheduler_that_is_ended_leaves_its_jobs_to_the_next(desk: Desk, stub: Stub) -> None:
    scheduler = desk.farm.schedulers[0]
    jobs = desk.submit_all([stub.order("c", f"left{n}", milliseconds="300") for n in range(20)])
    desk.until(lambda: begun(stub, "left3"))
    scheduler.terminate()
    assert scheduler.await_end(120) == 0
    scheduler.start()
    assert {end.state for end in desk.all_ended(jobs)} == {JobState.DONE}
    names = [name for name in stub.begun() if name.startswith("left")]
    assert sorted(names) == sorted({*names}), "compiled twice"
    assert all(len(desk.event_ids[job]) == 1 for job in jobs)


def test_nothing_is_left_in_the_end(desk: Desk) -> None:
    names, url = desk.farm.names, desk.farm.amqp_url
    desk.until(
        lambda: (
            not any(
                count(url, queue)
                for queue in waiting_queues(names, ["stub", "prepare"])
                if queue != names.dead_letters
            )
        )
    )
    assert all(len(ids) == 1 for ids in desk.event_ids.values())
