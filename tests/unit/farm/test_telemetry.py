"""Metrics: what happens becomes the right numbers, under names and labels that are safe."""

from __future__ import annotations

import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from scheduler.meter import JobsNow, PoolNow
from tests.unit.scaffold.project import ROOT
from tinymlaas.contract.jobs import Outcome
from tinymlaas.contract.messages import JobState
from tinymlaas.contract.pool_messages import TaskEnd, TaskStatus
from tinymlaas.contract.report import CandidateReport, CandidateStatus
from tinymlaas.telemetry import METRICS, Kind, Process, SchedulerMetrics, WorkerMetrics

ACTION = "0" * 64


def end(status: TaskStatus = TaskStatus.DONE, pool: str = "tvm", **changes: object) -> TaskEnd:
    return TaskEnd(task_id="0" * 32, action=ACTION, pool=pool, worker="w", status=status, **changes)


def outcome(status: CandidateStatus) -> Outcome:
    report = CandidateReport(compiler="tvm", kernels="", status=status, action_digest=ACTION)
    return Outcome(report=report)


def values(page: SchedulerMetrics | WorkerMetrics) -> dict[tuple[str, ...], float]:
    """Sample name and label values to value."""
    _, body = page.page("text/plain")
    return {
        (sample.name, *(sample.labels[key] for key in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def scheduler() -> SchedulerMetrics:
    return SchedulerMetrics("f" * 64, lambda tenant: "gold" if tenant == "acme" else "standard")


def test_tenants_are_told_by_class_only() -> None:
    metrics = scheduler()
    for number in range(100):
        metrics.waited(f"tenant-{number}", 0.5)
        metrics.ended(f"tenant-{number}", JobState.DONE, 2.0)
    metrics.waited("acme", 40.0)
    found = values(metrics)
    assert found["tinymlaas_job_wait_seconds_count", "standard"] == 100
    assert found["tinymlaas_job_wait_seconds_sum", "gold"] == 40
    assert found["tinymlaas_jobs_ended_total", "done", "standard"] == 100
    assert not any("tenant-" in label for labels in found for label in labels)


def test_a_state_that_nobody_is_in_any_more_is_zero() -> None:
    metrics = scheduler()
    queued = JobState.QUEUED
    metrics.look({("acme", queued): JobsNow(3, 9.0), ("a", queued): JobsNow(4, 5.0)}, {})
    metrics.look({("b", queued): JobsNow(2, 7.0), ("c", queued): JobsNow(2, 8.0)}, {})
    found = values(metrics)
    assert found["tinymlaas_jobs", "queued", "gold"] == 0
    assert found["tinymlaas_jobs", "queued", "standard"] == 4
    assert found["tinymlaas_oldest_job_seconds", "queued", "gold"] == 0
    assert found["tinymlaas_oldest_job_seconds", "queued", "standard"] == 8


def test_pools() -> None:
    metrics = scheduler()
    metrics.look({}, {"tvm": PoolNow(3, 2, 40, 2, 17.0)})
    found = values(metrics)
    assert found["tinymlaas_pool_workers", "tvm", "busy"] == 2
    assert found["tinymlaas_pool_workers", "tvm", "idle"] == 1
    assert found["tinymlaas_pool_tasks", "tvm", "waiting"] == 40
    assert found["tinymlaas_oldest_task_seconds", "tvm"] == 17
    assert found["tinymlaas_pool_tasks", "tvm", "running"] == 2


def test_what_may_happen_is_zero_from_the_start() -> None:
    metrics = scheduler()
    metrics.expect(["tvm"], ["gold"])
    metrics.look({}, {})
    found = values(metrics)
    for name in (
        ("tinymlaas_retries_total", "tvm"),
        ("tinymlaas_quarantines_total", "tvm"),
        ("tinymlaas_cache_hits_total", "worker"),
        ("tinymlaas_jobs_ended_total", "quarantined", "gold"),
        ("tinymlaas_jobs", "compiling", "gold"),
    ):
        assert found[name] == 0
    assert ("tinymlaas_jobs_ended_total", "queued", "gold") not in found


def test_ends_of_tasks() -> None:
    metrics = scheduler()
    metrics.task_ended(end(seconds=3.0, outcome=outcome(CandidateStatus.VERIFIED)), "build")
    metrics.task_ended(end(seconds=1.0, outcome=outcome(CandidateStatus.REJECTED)), "build")
    metrics.task_ended(end(TaskStatus.FAILED, seconds=2.0), "build")
    metrics.task_ended(end(cached=True, outcome=outcome(CandidateStatus.VERIFIED)), "build")
    metrics.task_ended(end(seconds=4.0, accuracy=0.5), "judge")
    metrics.task_ended(end(pool="prepare", seconds=0.5), "inspect")
    metrics.task_ended(end(pool="prepare", refused=True), "quantise")
    metrics.task_ended(end(TaskStatus.RETRY), "build")
    metrics.task_ended(end(TaskStatus.QUARANTINED), "build")
    for given_up in (TaskStatus.KILLED, TaskStatus.STALE, TaskStatus.SUSPECT):
        metrics.task_ended(end(given_up), "build")
    metrics.hit()
    metrics.merged("a")
    found = values(metrics)
    assert found["tinymlaas_compile_seconds_sum", "tvm", "verified"] == 3
    assert found["tinymlaas_compile_seconds_count", "tvm", "verified"] == 1
    assert found["tinymlaas_compile_seconds_count", "tvm", "rejected"] == 1
    assert found["tinymlaas_compile_seconds_count", "tvm", "failed"] == 1
    assert found["tinymlaas_judge_seconds_sum", "tvm", "done"] == 4
    assert found["tinymlaas_prepare_seconds_sum", "inspect", "done"] == 0.5
    assert found["tinymlaas_prepare_seconds_count", "quantise", "refused"] == 1
    assert found["tinymlaas_cache_hits_total", "worker"] == 1
    assert found["tinymlaas_cache_hits_total", "scheduler"] == 1
    assert found["tinymlaas_retries_total", "tvm"] == 1
    assert found["tinymlaas_quarantines_total", "tvm"] == 1
    assert found["tinymlaas_merges_total",] == 1
    compiled = {each[2] for each in found if each[0] == "tinymlaas_compile_seconds_count"}
    assert compiled == {"verified", "rejected", "failed"}, "what was given up took no time"


def test_busy_seconds_count_while_a_task_runs_and_never_fall() -> None:
    metrics = WorkerMetrics("f" * 64, "tvm")
    name = ("tinymlaas_worker_busy_seconds_total", "tvm")
    assert values(metrics)[name] == 0
    with metrics.working():
        time.sleep(0.01)
        first = values(metrics)[name]
        assert first >= 0.01
        assert values(metrics)["tinymlaas_worker_busy", "tvm"] == 1
    after = values(metrics)[name]
    assert after >= first
    time.sleep(0.01)
    assert values(metrics)[name] == after
    assert values(metrics)["tinymlaas_worker_busy", "tvm"] == 0


def test_a_worker_counts_its_tasks_and_modules() -> None:
    metrics = worker()
    metrics.task_ended(end(outcome=outcome(CandidateStatus.BUILT)))
    metrics.task_ended(end(cached=True))
    metrics.module(3000)
    found = values(metrics)
    assert found["tinymlaas_worker_tasks_total", "built", "tvm"] == 1
    assert found["tinymlaas_worker_tasks_total", "cached", "tvm"] == 1
    assert found["tinymlaas_module_bytes_sum", "tvm"] == 3000
    assert found["tinymlaas_module_bytes_bucket", "1024.0", "tvm"] == 0
    assert found["tinymlaas_module_bytes_bucket", "4096.0", "tvm"] == 1


def worker() -> WorkerMetrics:
    metrics = WorkerMetrics("f" * 64, "tvm")
    metrics.expect(["compiling"], ["link"], ["memory", "time"], signs=True)
    return metrics


def test_a_worker_counts_stages_signatures_and_stops() -> None:
    metrics = worker()
    before = values(metrics)
    assert before["tinymlaas_signatures_total", "failed", "tvm"] == 0
    assert before["tinymlaas_sandbox_stops_total", "tvm", "time", "link"] == 0
    metrics.staged("compiling", 2.0)
    metrics.staged("a stage that nobody has foreseen", 1.0)
    metrics.signed(True)
    metrics.signed(False)
    metrics.stopped("link", "memory")
    found = values(metrics)
    assert found["tinymlaas_task_stage_seconds_sum", "tvm", "compiling"] == 2
    assert found["tinymlaas_task_stage_seconds_sum", "tvm", "other"] == 1
    assert found["tinymlaas_signatures_total", "made", "tvm"] == 1
    assert found["tinymlaas_signatures_total", "failed", "tvm"] == 1
    assert found["tinymlaas_sandbox_stops_total", "tvm", "memory", "link"] == 1


class Link:
    standing = (True, 3)


def test_broker_store_and_loop_are_on_every_page() -> None:
    for metrics in (scheduler(), worker()):
        found = values(metrics)
        assert found["tinymlaas_broker_connected", "publisher"] == 0
        assert ("tinymlaas_broker_connections_total", "publisher") not in found
        metrics.link("publisher", Link())
        metrics.loop(lambda: 4.5)
        metrics.stored("get", None, 0.5)
        metrics.stored("put", "unavailable", 2.0)
        found = values(metrics)
        assert found["tinymlaas_broker_connected", "publisher"] == 1
        assert found["tinymlaas_broker_connections_total", "publisher"] == 3
        assert found["tinymlaas_loop_age_seconds",] == 4.5
        assert found["tinymlaas_store_seconds_count", "get"] == 1
        assert found["tinymlaas_store_seconds_count", "put"] == 1
        assert found["tinymlaas_store_errors_total", "unavailable", "put"] == 1
        assert found["tinymlaas_store_errors_total", "damaged", "get"] == 0
    metrics.published("outcome", "returned")
    found = values(metrics)
    assert found["tinymlaas_broker_publishes_total", "returned", "outcome"] == 1
    assert found["tinymlaas_broker_publishes_total", "refused", "outcome"] == 0


def test_stages_of_a_job() -> None:
    metrics = scheduler()
    metrics.accepted("acme")
    metrics.refused()
    metrics.staged("planning", 2.0)
    found = values(metrics)
    assert found["tinymlaas_jobs_accepted_total", "gold"] == 1
    assert found["tinymlaas_requests_refused_total",] == 1
    assert found["tinymlaas_job_stage_seconds_sum", "planning"] == 2


def test_who_asks_for_open_metrics_gets_it() -> None:
    kind, body = scheduler().page("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def families(metrics: SchedulerMetrics | WorkerMetrics) -> dict[str, tuple[str, str]]:
    """Name (without suffix) to type and help of what is on a page, but the process's own."""
    _, body = metrics.page("text/plain")
    return {
        family.name: (family.type, family.documentation)
        for family in text_string_to_metric_families(body.decode())
        if not family.name.startswith("process_")
    }


def test_a_page_has_what_the_table_says_and_nothing_else() -> None:
    pages = {Process.SCHEDULER: scheduler(), Process.WORKER: worker()}
    for process, metrics in pages.items():
        metrics.link("publisher", Link())
        wanted = {
            each.exposed if each.kind is Kind.INFO else each.name: (
                "gauge" if each.kind is Kind.INFO else each.kind.value,
                each.about,
            )
            for each in METRICS
            if process in each.of
        }
        assert families(metrics) == wanted


def test_names_say_their_unit_and_are_told_once() -> None:
    names = [each.name for each in METRICS]
    assert len(set(names)) == len(names) > 30
    for each in METRICS:
        assert each.name.startswith("tinymlaas_")
        assert each.about.endswith(".")
        assert (each.kind is Kind.HISTOGRAM) <= bool(each.unit), each.name


def test_names_are_written_nowhere_else() -> None:
    sources = [p for folder in ("tinymlaas", "scheduler", "workers", "broker", "storage")
               for p in (ROOT / folder).rglob("*.py")]  # fmt: skip
    holders = [p for p in sources if '"tinymlaas_job' in p.read_text()]
    assert holders == [ROOT / Path("tinymlaas/telemetry/table.py")]
