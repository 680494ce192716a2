"""Metrics: what happens becomes the right numbers, under names and labels that are safe."""

from __future__ import annotations

import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.unit.scaffold.project import ROOT
from tinymlaas import telemetry
from tinymlaas.contract.jobs import Outcome
from tinymlaas.contract.messages import JobState
from tinymlaas.contract.pool_messages import TaskEnd, TaskStatus
from tinymlaas.contract.report import CandidateReport, CandidateStatus
from tinymlaas.telemetry import SchedulerMetrics, WorkerMetrics

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
    metrics.look({("acme", JobState.QUEUED): 3, ("a", JobState.QUEUED): 4}, {})
    metrics.look({("b", JobState.QUEUED): 2, ("c", JobState.QUEUED): 2}, {})
    found = values(metrics)
    assert found["tinymlaas_jobs", "queued", "gold"] == 0
    assert found["tinymlaas_jobs", "queued", "standard"] == 4


def test_pools() -> None:
    metrics = scheduler()
    metrics.look({}, {"tvm": (3, 2, 40, 2)})
    found = values(metrics)
    assert found["tinymlaas_pool_workers", "tvm", "busy"] == 2
    assert found["tinymlaas_pool_workers", "tvm", "idle"] == 1
    assert found["tinymlaas_pool_tasks", "tvm", "waiting"] == 40
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
    metrics.task_ended(end(seconds=3.0, outcome=outcome(CandidateStatus.VERIFIED)))
    metrics.task_ended(end(seconds=1.0, outcome=outcome(CandidateStatus.REJECTED)))
    metrics.task_ended(end(TaskStatus.FAILED, seconds=2.0))
    metrics.task_ended(end(cached=True, outcome=outcome(CandidateStatus.VERIFIED)))
    metrics.task_ended(end(pool="prepare", seconds=0.5))
    metrics.task_ended(end(pool="prepare", refused=True))
    metrics.task_ended(end(TaskStatus.RETRY))
    metrics.task_ended(end(TaskStatus.QUARANTINED))
    metrics.hit()
    metrics.merged("a")
    found = values(metrics)
    assert found["tinymlaas_compile_seconds_sum", "tvm", "verified"] == 3
    assert found["tinymlaas_compile_seconds_count", "tvm", "verified"] == 1
    assert found["tinymlaas_compile_seconds_count", "tvm", "rejected"] == 1
    assert found["tinymlaas_compile_seconds_count", "tvm", "failed"] == 1
    assert found["tinymlaas_prepare_seconds_sum", "done"] == 0.5
    assert found["tinymlaas_prepare_seconds_count", "refused"] == 1
    assert found["tinymlaas_cache_hits_total", "worker"] == 1
    assert found["tinymlaas_cache_hits_total", "scheduler"] == 1
    assert found["tinymlaas_retries_total", "tvm"] == 1
    assert found["tinymlaas_quarantines_total", "tvm"] == 1
    assert found["tinymlaas_merges_total",] == 1


def test_busy_seconds_count_while_a_task_runs_and_never_fall() -> None:
    metrics = WorkerMetrics("f" * 64, "tvm")
    name = ("tinymlaas_worker_busy_seconds_total",)
    assert values(metrics)[name] == 0
    with metrics.working():
        time.sleep(0.01)
        first = values(metrics)[name]
        assert first >= 0.01
        assert values(metrics)["tinymlaas_worker_busy",] == 1
    after = values(metrics)[name]
    assert after >= first
    time.sleep(0.01)
    assert values(metrics)[name] == after
    assert values(metrics)["tinymlaas_worker_busy",] == 0


def test_a_worker_counts_its_tasks_and_modules() -> None:
    metrics = WorkerMetrics("f" * 64, "tvm")
    metrics.task_ended(end(outcome=outcome(CandidateStatus.BUILT)))
    metrics.task_ended(end(cached=True))
    metrics.module(3000)
    found = values(metrics)
    assert found["tinymlaas_worker_tasks_total", "built"] == 1
    assert found["tinymlaas_worker_tasks_total", "cached"] == 1
    assert found["tinymlaas_module_bytes_sum",] == 3000
    assert found["tinymlaas_module_bytes_bucket", "1024.0"] == 0
    assert found["tinymlaas_module_bytes_bucket", "4096.0"] == 1


def test_who_asks_for_open_metrics_gets_it() -> None:
    kind, body = scheduler().page("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


def test_every_metric_is_in_the_document() -> None:
    page = (ROOT / "docs/farm.md").read_text()
    names = [v for k, v in vars(telemetry).items() if k.isupper() and isinstance(v, str)]
    assert len(names) > 10
    assert [name for name in names if name.startswith("tinymlaas_") and name not in page] == []


def test_names_are_written_nowhere_else() -> None:
    sources = [p for folder in ("tinymlaas", "scheduler", "workers", "broker", "storage")
               for p in (ROOT / folder).rglob("*.py")]  # fmt: skip
    holders = [p for p in sources if '"tinymlaas_job' in p.read_text()]
    assert holders == [ROOT / Path("tinymlaas/telemetry.py")]
