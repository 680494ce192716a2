"""The metrics of the farm: every name in this one place, base units, no label a job could fill.

A process makes one of the classes here and tells it what happens; `page` is what is scraped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Info
from prometheus_client.exposition import choose_encoder

from tinymlaas import __version__


class _Page:
    def __init__(self, version: str, process: str) -> None:
        self._registry = CollectorRegistry()
        build = Info("tinymlaas_build", "What runs here.", registry=self._registry)
        build.info({"version": __version__, "service": version[:16], "process": process})

    def page(self, accept: str) -> tuple[str, bytes]:
        encode, kind = choose_encoder(accept)
        return kind, encode(self._registry)


class SchedulerMetrics(_Page):
    def __init__(self, version: str, class_of: object) -> None:
        super().__init__(version, "scheduler")


class WorkerMetrics(_Page):
    def __init__(self, version: str, pool: str) -> None:
        super().__init__(version, f"worker {pool}")

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        yield

    def task_ended(self, end: object) -> None:
        pass
