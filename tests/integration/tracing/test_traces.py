"""A job on a real farm, as spans at an OTLP receiver and as lines of JSON: they tell the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.topology import COMPILE_KEY, sent_by
from storage import keys
from tests.integration.farm.desk import Desk
from tests.services.collector import Collector, Received
from tests.services.farm import FarmProcess, farm
from tests.services.stub_compiler import Stub, install
from tinymlaas.contract.messages import CompileOrder, CompileRequested, JobEnded, JobState
from tinymlaas.contract.wire import parse

SENDER = f"00-{'a' * 32}-{'b' * 16}-01"
SCHEDULER, WORKER = "tinymlaas-scheduler", "tinymlaas-worker"
CONSUMER, PRODUCER = 5, 4


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Stub:
    return install(tmp_path_factory.mktemp("stub") / "stub")


@pytest.fixture(scope="module")
def desk(
    stub: Stub, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    folder: Path = tmp_path_factory.mktemp("farm")
    with farm(
        folder,
        ["stub"],
        compilers=[stub.folder],
        TINYMLAAS_LOG_FORMAT="json",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test",
        OTEL_BSP_SCHEDULE_DELAY="100",
    ) as running:
        made = Desk(running)
        try:
            yield made
        finally:
            made.close()


def submit(desk: Desk, order: CompileOrder, job: str) -> str:
    event = CompileRequested(id=job, source="test", data=order, traceparent=SENDER)
    desk.publish(sent_by(order.tenant, COMPILE_KEY), event.encoded())
    return job


def events(process: FarmProcess) -> list[dict[str, Any]]:
    """Return all that a process has logged: every line is an event."""
    return [json.loads(line) for line in process.log.read_text().splitlines()]


def of_job(spans: list[Received], job: str) -> list[Received]:
    """Return the scheduler's spans of a job, and those of the workers' traces they link to."""
    own = [span for span in spans if span.facts.get("tinymlaas.job_id") == job]
    traces = {trace for span in own for trace, _ in span.links}
    return own + [span for span in spans if span.trace in traces]


def whole(job: str, tasks: int) -> Any:
    """Return what tells whether the spans of a job, and of as many tasks, are all there."""

    def there(spans: list[Received]) -> bool:
        names = [span.name for span in of_job(spans, job)]
        return names.count("request") == 1 and names.count("task") == tasks

    return there


def test_a_jobs_spans_are_all_there_and_linked(
    desk: Desk, collector: Collector, stub: Stub
) -> None:
    job = submit(desk, stub.order("acme", "traced", board="host"), "job-traced")
    assert desk.end(job).state is JobState.DONE
    spans = of_job(collector.until(whole(job, 2)), job)
    ours = {span.name: span for span in spans if span.service == SCHEDULER}
    request = ours["request"]

    assert set(ours) == {"request", "wait", "plan", "prepare", "candidate", "publish"}
    assert request.links == (("a" * 32, "b" * 16),), "the sender's trace is linked"
    assert (request.parent, request.kind) == ("", CONSUMER)
    assert request.facts["tinymlaas.tenant"] == "acme"
    assert request.facts["tinymlaas.state"] == "done"
    assert ours["publish"].kind == PRODUCER
    candidate = ours["candidate"]
    assert candidate.facts["tinymlaas.compiler"] == "stub"
    assert (candidate.facts["tinymlaas.outcome"], candidate.facts["tinymlaas.cached"]) == (
        "verified",
        False,
    )

    tasks = {span.resource["tinymlaas.pool"]: span for span in spans if span.name == "task"}
    assert set(tasks) == {"prepare", "stub"}
    for pool, before in (("prepare", ours["prepare"]), ("stub", candidate)):
        task = tasks[pool]
        assert (task.trace, task.id) != (before.trace, before.id)
        assert task.links == ((before.trace, before.id),), "a task links to what it was sent for"
        told = next(s for s in spans if s.trace == task.trace and s.name == "publish")
        assert before.links == ((told.trace, told.id),), "and what came of it links to the task"
        assert before.start < task.start < task.end
        assert "sent" in before.events
    stages = [span for span in spans if span.parent == tasks["stub"].id]
    assert {"start", "fetch", "compile", "library", "link", "reference", "simulate", "verify",
            "pack", "sign", "store", "publish"} <= {span.name for span in stages}  # fmt: skip
    for stage in stages:
        assert tasks["stub"].start <= stage.start <= stage.end <= tasks["stub"].end

    assert request.resource["deployment.environment"] == "test"
    record = desk.farm.store.get(keys.job_result("acme", job))
    told_in = parse(record, JobEnded, 1 << 22).traceparent
    assert told_in == f"00-{request.trace}-{request.id}-01", "whoever hears the end can link to it"


def test_no_span_has_a_parent_across_the_queue(desk: Desk, collector: Collector) -> None:
    spans = {(span.trace, span.id): span for span in collector.spans}
    services: dict[str, set[str]] = {}
    for span in spans.values():
        services.setdefault(span.trace, set()).add(
            f"{span.service} {span.resource.get('tinymlaas.pool')}"
        )
        assert not span.parent or (span.trace, span.parent) in spans
    assert len(services) >= 3
    assert all(len(each) == 1 for each in services.values()), services


def test_the_logs_tell_the_same_ids(desk: Desk, collector: Collector) -> None:
    spans = collector.until(whole("job-traced", 2))
    (scheduler,) = desk.farm.schedulers
    request = next(span for span in of_job(spans, "job-traced") if span.name == "request")
    lines = [event for event in events(scheduler) if event.get("job_id") == "job-traced"]
    said = [event["event"] for event in lines]
    assert said == [
        "job begun",
        "task sent",
        "task ended",
        "task sent",
        "task ended",
        "job ended",
    ]
    assert {(event["trace_id"], event["span_id"]) for event in lines} == {
        (request.trace, request.id)
    }
    assert lines[0]["sender_trace_id"] == "a" * 32

    (worker,) = desk.farm.workers["stub"]
    ours = [event for event in events(worker) if "task_id" in event]
    assert [event["event"] for event in ours] == ["task begun", "task ended"]
    task = next(
        span for span in spans if span.name == "task" and span.resource["tinymlaas.pool"] == "stub"
    )
    for event in ours:
        assert (event["trace_id"], event["span_id"]) == (task.trace, task.id)
        assert event["job_trace_id"] == request.trace
        assert event["task_id"] == task.facts["tinymlaas.task_id"]
        assert event["service"] == WORKER
        assert event["worker"] == task.resource["service.instance.id"]
    url = desk.farm.amqp_url
    for process in desk.farm.processes():
        text = process.log.read_text()
        assert url not in text
        assert desk.farm.environment["AWS_SECRET_ACCESS_KEY"] not in text
        assert {event["process"] for event in events(process)} <= {
            "scheduler", "worker stub", "worker prepare"
        }  # fmt: skip


def test_a_task_links_to_all_jobs_that_want_it(
    desk: Desk, collector: Collector, stub: Stub
) -> None:
    submit(desk, stub.order("acme", "blocker", milliseconds="600000"), "blocker")
    desk.until(lambda: "blocker" in stub.begun())
    for job in ("merged-1", "merged-2"):
        submit(desk, stub.order("acme", "merged"), job)
    desk.all_wait_for_workers(["merged-1", "merged-2"])
    desk.cancel("acme", "blocker")
    desk.all_ended(["merged-1", "merged-2"])
    spans = collector.until(
        lambda found: whole("merged-1", 1)(found) and whole("merged-2", 1)(found)
    )
    for_both = [of_job(spans, job) for job in ("merged-1", "merged-2")]
    waiting = [span for found in for_both for span in found if span.name == "candidate"]
    first, second = (next(s for s in found if s.name == "task") for found in for_both)
    assert first is second, "it was done once"
    assert set(first.links) == {(span.trace, span.id) for span in waiting}
    assert len(first.links) == 2


def test_what_failed_is_an_error_and_what_was_stored_is_cached(
    desk: Desk, collector: Collector, stub: Stub
) -> None:
    for job, does in (("failing", "crash"), ("again", "work")):
        name = "failing" if does == "crash" else "traced"
        board = {"board": "host"} if does == "work" else {}
        submit(desk, stub.order("acme", name, does=does, **board), job)
    desk.all_ended(["failing", "again"])
    spans = collector.until(lambda found: whole("failing", 1)(found) and whole("again", 0)(found))
    failed = {span.name: span for span in of_job(spans, "failing") if span.error}
    assert set(failed) == {"request", "candidate", "task"}
    assert "ended with status -11" in failed["task"].error
    again = {span.name: span for span in of_job(spans, "again")}
    assert set(again) == {"request", "wait", "plan", "candidate", "publish"}
    assert again["candidate"].facts["tinymlaas.cached"] is True


def test_a_collector_that_is_away_costs_nothing_but_spans(
    desk: Desk, collector: Collector, stub: Stub
) -> None:
    collector.close()
    for number in range(3):
        job = submit(desk, stub.order("acme", f"untraced{number}"), f"untraced-{number}")
        assert desk.end(job).state is JobState.DONE
    (scheduler,) = desk.farm.schedulers

    def said() -> list[dict[str, Any]]:
        return [each for each in events(scheduler) if each["event"] == "spans are not exported"]

    desk.until(lambda: bool(said()))
    assert len(said()) == 1, "now and then, not for each job"
    assert "Traceback" not in scheduler.log.read_text()
    for process in desk.farm.processes():
        process.terminate()
    for process in desk.farm.processes():
        assert process.await_end(120) == 0, "it ends in order, whatever is left to export"
