"""The pages themselves: promtool finds nothing to say about names, help and types."""

from __future__ import annotations

import subprocess

import pytest

from scheduler.meter import JobsNow, PoolNow
from tinymlaas.contract.messages import JobState
from tinymlaas.telemetry import SchedulerMetrics, WorkerMetrics
from workers import sandbox
from workers.notes import STAGES


class Link:
    standing = (True, 1)


def scheduler() -> SchedulerMetrics:
    metrics = SchedulerMetrics("f" * 64, lambda tenant: "standard")
    metrics.expect(["tvm", "prepare"], ["standard", "gold"])
    metrics.look({("a", JobState.QUEUED): JobsNow(1, 2.0)}, {"tvm": PoolNow(1, 1, 1, 1, 1.0)})
    metrics.ended("a", JobState.DONE, 2.0)
    return metrics


def worker() -> WorkerMetrics:
    metrics = WorkerMetrics("f" * 64, "tvm")
    metrics.expect(STAGES, sandbox.Step, sandbox.REASONS, signs=True)
    return metrics


@pytest.mark.parametrize("make", [scheduler, worker])
def test_promtool_has_nothing_to_say(make) -> None:
    metrics = make()
    metrics.link("publisher", Link())
    _, body = metrics.page("text/plain")
    ran = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, check=False, timeout=60
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


def test_a_page_is_small() -> None:
    """In series: a farm of a hundred workers is to be no burden for a Prometheus."""
    for metrics in (scheduler(), worker()):
        _, body = metrics.page("text/plain")
        series = [line for line in body.splitlines() if line and not line.startswith(b"#")]
        assert len(series) < 700
