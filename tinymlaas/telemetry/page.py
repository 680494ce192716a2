"""What the pages of all processes have: how they are made of the table, broker and store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tinymlaas import __version__
from tinymlaas.telemetry import table
from tinymlaas.telemetry.table import Metric

OPERATIONS = ("put", "put_if_absent", "get", "head", "list", "delete")
STORE_FAULTS = ("unavailable", "refused", "damaged")
PUBLISH_OUTCOMES = ("taken", "returned", "refused")


class Link(Protocol):
    """A connection to RabbitMQ that is made again whenever it is lost."""

    @property
    def standing(self) -> tuple[bool, int]:
        """Whether it is open, and how often it was opened."""
        ...


class Page:
    """Base of the metrics of a process. Methods may be called by any thread."""

    def __init__(self, version: str, process: str, publishes: Iterable[str]) -> None:
        """Begin with nothing counted; `publishes` is what the process publishes."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # twice as many series else
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        build = Info(table.BUILD.name, table.BUILD.about, registry=self.registry)
        build.info({"version": __version__, "service": version[:16], "process": process})
        self._loop_age = self.gauge(table.LOOP_AGE_SECONDS)
        # Every process has a publisher: until it has reached RabbitMQ, that is not connected.
        self._links: dict[str, Link] = {"publisher": _Unopened()}
        self.registry.register(_Links(self._links))
        self._publishes = self.counter(table.BROKER_PUBLISHES)
        self._store = self.histogram(table.STORE_SECONDS)
        self._store_errors = self.counter(table.STORE_ERRORS)
        for to in publishes:
            for outcome in PUBLISH_OUTCOMES:
                self._publishes.labels(to, outcome)
        for operation in OPERATIONS:
            self._store.labels(operation)
            for fault in STORE_FAULTS:
                self._store_errors.labels(operation, fault)

    def page(self, accept: str) -> tuple[str, bytes]:
        """Return content type and body for a scraper that accepts `accept`."""
        encode, kind = choose_encoder(accept)
        return kind, encode(self.registry)

    def loop(self, age: Callable[[], float]) -> None:
        """Have `age` asked for the seconds since the last turn of the process's loop."""
        self._loop_age.set_function(age)

    def link(self, name: str, link: Link) -> None:
        """Have `link` asked how it stands, under the name that operators know it by."""
        self._links[name] = link

    def published(self, to: str, outcome: str) -> None:
        """Note what RabbitMQ says of a message; `outcome` is one of `PUBLISH_OUTCOMES`."""
        self._publishes.labels(to, outcome).inc()

    def stored(self, operation: str, fault: str | None, seconds: float) -> None:
        """Note a request to the store; `fault` is one of `STORE_FAULTS` if it failed."""
        self._store.labels(operation).observe(seconds)
        if fault is not None:
            self._store_errors.labels(operation, fault).inc()

    def counter(self, metric: Metric) -> Counter:
        """Return what counts `metric` on this page."""
        return Counter(metric.name, metric.about, metric.labels, registry=self.registry)

    def gauge(self, metric: Metric) -> Gauge:
        """Return what shows `metric` on this page."""
        return Gauge(metric.name, metric.about, metric.labels, registry=self.registry)

    def histogram(self, metric: Metric) -> Histogram:
        """Return what observes `metric` on this page."""
        return Histogram(
            metric.name,
            metric.about,
            metric.labels,
            registry=self.registry,
            buckets=metric.buckets,
        )


class _Unopened:
    """`Link` before there is one."""

    standing = (False, 0)


class _Links(Collector):
    """Asks the connections how they stand, whenever somebody looks."""

    def __init__(self, links: dict[str, Link]) -> None:
        self._links = links

    def collect(self) -> Iterator[Family]:
        state, opened = table.BROKER_CONNECTED, table.BROKER_CONNECTIONS
        connected = GaugeMetricFamily(state.name, state.about, labels=state.labels)
        connections = CounterMetricFamily(opened.name, opened.about, labels=opened.labels)
        for name, link in list(self._links.items()):  # who starts up adds to them
            now, count = link.standing
            connected.add_metric([name], now)
            if count:  # or a process that begins again and again would seem to lose connections
                connections.add_metric([name], count)
        yield connected
        yield connections
