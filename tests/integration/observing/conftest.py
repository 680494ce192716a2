from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.farm.desk import Desk
from tests.integration.observing.faster import write
from tests.integration.observing.server import Prometheus, Series
from tests.integration.observing.story import POLICY, Story
from tests.services.farm import FarmProcess, RunningFarm, farm
from tests.services.stub_compiler import install


@dataclass(frozen=True)
class Watched:
    """A farm that lived through the story while Prometheus looked, and both still run."""

    story: Story
    farm: RunningFarm
    prometheus: Prometheus
    begin: float
    counted: float  # when all ends of jobs had been scraped
    end: float

    def over(self, expr: str) -> list[Series]:
        """Return what `expr` was while the story was told."""
        return self.prometheus.over(expr, self.begin, self.end)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder: Path = tmp_path_factory.mktemp("farm")
    stub = install(tmp_path_factory.mktemp("stub") / "stub")
    spare = install(tmp_path_factory.mktemp("spare") / "spare", "spare")
    (folder / "policy.toml").write_text(POLICY)
    with farm(
        folder,
        [stub.name, spare.name],
        compilers=[stub.folder, spare.folder],
        schedulers=2,
        TINYMLAAS_POLICY=str(folder / "policy.toml"),
    ) as running:
        running.worker(stub.name)
        running.await_ready()
        made = tmp_path_factory.mktemp("prometheus")
        prometheus = Prometheus(write(made, _targets(running)), made)
        prometheus.start()
        desk = Desk(running)
        try:
            prometheus.await_ready(prometheus.check_ready, 60)
            _await_scrapes(prometheus, len(running.processes()))
            begin = time.time()
            story = Story(desk, stub, spare)
            story.tell()
            counted = _await_counts(prometheus, len(story.jobs))
            time.sleep(3.0)  # so that what is made of the last of it is looked at, too
            yield Watched(story, running, prometheus, begin, counted, time.time())
        finally:
            desk.close()
            prometheus.kill()


def _await_scrapes(prometheus: Prometheus, targets: int) -> None:
    """Wait until all are scraped, and what fired because they had not been is silent."""
    deadline = time.monotonic() + 60
    while True:
        up = sum(sum(each.values) for each in prometheus.now("up", time.time()))
        if up == targets and not prometheus.now("ALERTS", time.time()):
            return
        assert time.monotonic() < deadline, prometheus.get("targets")
        time.sleep(0.2)


def _await_counts(prometheus: Prometheus, jobs: int) -> float:
    """Wait until as many ends of jobs were scraped; return when they were."""
    deadline = time.monotonic() + 60
    while True:
        now = time.time()
        found = prometheus.now("sum(tinymlaas_jobs_ended_total)", now)
        if [each.values for each in found] == [[jobs]]:
            return now
        assert time.monotonic() < deadline, (found, jobs)
        time.sleep(0.2)


def _targets(running: RunningFarm) -> dict[str, list[str]]:
    def of(processes: list[FarmProcess]) -> list[str]:
        return [each.url.removeprefix("http://") for each in processes]

    workers = [each for pool in running.workers.values() for each in pool]
    return {"tinymlaas-scheduler": of(running.schedulers), "tinymlaas-worker": of(workers)}
