"""Composition root of ``python -m scheduler``: the core on RabbitMQ and S3."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from broker.consumer import Delivery as BrokerDelivery
from broker.consumer import Token as BrokerToken
from broker.farm import FarmPublisher, SchedulerSource
from broker.publisher import Publisher
from broker.topology import Names, sender, topology
from scheduler.core import Core
from scheduler.in_memory import SystemClock
from scheduler.library import StoreLibrary
from scheduler.ports import Delivery, Token
from scheduler.service import Ports, Role, Service
from storage.observed import ObservedStore
from tinymlaas.boards import catalog
from tinymlaas.contract.errors import RetryableFailure
from tinymlaas.contract.pool_messages import PREPARE_POOL
from tinymlaas.farm.environment import Environment, from_environment
from tinymlaas.farm.first import leave_the_first_process
from tinymlaas.farm.job_trail import JobTrail
from tinymlaas.farm.policy import read_policy
from tinymlaas.farm.process import Stop, guarded
from tinymlaas.farm.services import Interrupted, Redeclaring, open_services
from tinymlaas.farm.spans import open_tracing
from tinymlaas.farm.web import Health, Pages, serve
from tinymlaas.logs import SCHEDULER_SERVICE, configure, get_logger
from tinymlaas.status.access import OFF, Guard
from tinymlaas.status.asking import Line
from tinymlaas.status.records import Records
from tinymlaas.status.site import Site
from tinymlaas.telemetry import SchedulerMetrics
from tinymlaas.trust import signers_of
from workers.compilers import registry
from workers.sources import service_digest

_LOOK_SECONDS = 0.5
_STALE_SECONDS = 30.0
_SWITCH_SECONDS = 0.0002
_log = get_logger(__name__)


class BrokerSource:
    """`scheduler.ports.Source` over the broker's: neither layer knows the other's types."""

    def __init__(self, inner: SchedulerSource) -> None:
        """Wrap `inner`."""
        self._inner = inner

    def start(self, deliver: Callable[[Delivery], None], active: Callable[[], None]) -> None:
        """See `Source.start`."""

        def converted(each: BrokerDelivery) -> None:
            who = sender(each.routing_key)
            deliver(Delivery(Token(*each.token), each.body, each.reply_to, who))

        self._inner.start(converted, active)

    def stop(self) -> None:
        """See `Source.stop`."""
        self._inner.stop()

    def ack(self, token: Token) -> None:
        """See `Source.ack`."""
        self._inner.ack(BrokerToken(*token))

    def dead_letter(self, token: Token, reason: str) -> None:
        """See `Source.dead_letter`."""
        self._inner.dead_letter(BrokerToken(*token), reason)


def roles(names: Names) -> dict[str, Role]:
    """Return what comes from which queue."""
    return {
        names.compile_requests: Role.REQUESTS,
        names.control: Role.CONTROL,
        names.outcomes: Role.WORKERS,
        names.seen: Role.WORKERS,
    }


def default_pools(environment: Environment) -> tuple[str, ...]:
    """Return the pools that are expected: those named, or of the compilers installed here."""
    if environment.pools is not None:
        return environment.pools
    return (*registry.names(environment.own.compilers), PREPARE_POOL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a scheduler until SIGTERM; return the process's status."""
    contained = leave_the_first_process()
    parser = argparse.ArgumentParser(prog="python -m scheduler", description=__doc__)
    parser.add_argument("--http-port", type=int, metavar="PORT", help="metrics (0: any free)")
    asked = parser.parse_args(arguments)

    def run() -> None:
        environment = from_environment()
        if asked.http_port is not None:
            environment = replace(environment, http_port=asked.http_port)
        configure(environment.log, {"service": SCHEDULER_SERVICE, "process": "scheduler"})
        stop = Stop()
        try:
            _Scheduler(environment, stop, _own_name(contained)).run()
        except Interrupted:
            _log.info("stopped before it had begun")

    return guarded(run)


def _own_name(contained: bool) -> str:
    """Return what people are told that this process is called: a pod's name is its host's."""
    host = socket.gethostname()
    return host if contained else f"{host}/{os.getpid()}"


class _MeteredCore(Core):
    """Has what there is now counted each second, by the thread that may look."""

    metrics: SchedulerMetrics

    def tick(self) -> None:
        """See `Core.tick`."""
        super().tick()
        self.metrics.look(self.census.lately(), self.pools_now())


class _Scheduler:
    """All parts of one scheduler, put together."""

    def __init__(self, environment: Environment, stop: Stop, own_name: str) -> None:
        policy, classes = read_policy(environment.policy)
        pools = default_pools(environment)
        version = service_digest()
        self._stop = stop
        self._metrics = SchedulerMetrics(version, classes.of)
        self._metrics.expect(pools, classes.all())
        self._metrics.loop(self._loop_age)
        self._open = False
        self._service: Service | None = None
        self._records: Records | None = None
        access = environment.status
        if access:  # the thread that decides waits for no page for longer than this
            sys.setswitchinterval(_SWITCH_SECONDS)
        site = Site(Guard(access), own_name, lambda: self._records) if access else None
        pages = Pages(
            self._metrics.page,
            self._alive,
            self._ready,
            site.answer if site else None,
            OFF,
            self._metrics.page_answered,
        )
        url = serve(pages, environment.http_host, environment.http_port)
        _log.info("serves metrics", url=f"{url}/metrics", pools=pools)
        _log.info(f"status page at {url}/" if site else OFF)
        wanted = topology(pools, Names(environment.farm.prefix))
        services = open_services(environment.farm, wanted, stop)
        amqp = environment.farm.amqp_url
        self._publisher = Publisher(amqp, "scheduler")
        told = self._metrics.published
        self._source = SchedulerSource(
            amqp, self._publisher, services.names, pools=pools, observe=told
        )
        sender = FarmPublisher(self._publisher, services.names, observe=told)
        for name, link in {"publisher": self._publisher, **self._source.links}.items():
            self._metrics.link(name, link)
        clock = SystemClock()
        self._tracing = open_tracing(environment.traces, SCHEDULER_SERVICE, {})
        names = services.names
        self._trail = JobTrail(self._tracing, names.compile_requests, names.results)
        core = _MeteredCore(policy, clock, catalog.get, pools, version, self._metrics, self._trail)
        core.metrics = self._metrics
        store = ObservedStore(services.store, self._metrics.stored)
        library = StoreLibrary(store, signers=signers_of(environment.own))
        ports = Ports(
            BrokerSource(self._source),
            roles(services.names),
            sender,
            sender,
            library,
            clock,
            library.remembered(),
        )
        self._clock = clock
        self._service = Service(core, ports, version, name=own_name)
        self._line: Line | None = None
        if site is not None:
            publisher = self._publisher
            self._line = Line(amqp, names, publisher.publish, lambda: publisher.is_ready)
            self._records = Records(services.store)
            site.asks(self._line.asking)
        self._redeclaring = Redeclaring(amqp, services.wanted, self._publisher, self._source)

    def run(self) -> None:
        """Schedule until told to stop; what is unfinished then stays in the broker."""
        assert self._service is not None  # noqa: S101 - made by __init__
        self._publisher.open()
        # A daemon: it schedules no longer than there is somebody to end it.
        loop = threading.Thread(target=self._service.run, name="scheduler", daemon=True)
        loop.start()
        self._open = True
        state = ""
        while not self._stop.wait(_LOOK_SECONDS) and loop.is_alive():
            self._redeclaring.look()
            self._metrics.active(self._source.is_ready)
            now = self._ready().said
            if now != state:
                _log.info("state changed", state=now)
                state = now
        broke = not self._stop.asked
        self._service.stop()
        loop.join()
        if self._line is not None:
            self._line.close()
        self._source.close()
        self._publisher.close()
        self._trail.forgotten()  # what is unfinished is another's from here on
        self._tracing.close()
        if broke:
            raise RetryableFailure("the scheduler's loop broke; see the log for where")
        _log.info("stopped; unfinished requests stay in the broker for the next scheduler")

    def _alive(self) -> Health:
        """Stale only if the loop is stuck: that a service is away is no reason to restart us."""
        if self._service is None or not self._open:
            return Health(True, "starting")
        age = self._loop_age()
        return Health(age < _STALE_SECONDS, f"the loop's last turn was {age:.1f} s ago")

    def _loop_age(self) -> float:
        """Return the seconds since the last turn of the loop; 0 before there is one."""
        if self._service is None or not self._open:
            return 0.0
        return self._clock.seconds() - self._service.last_turn

    def _ready(self) -> Health:
        if self._service is None:
            return Health(False, "waiting for RabbitMQ and the store")
        if not self._publisher.is_ready:
            return Health(False, "no connection to RabbitMQ")
        if not self._source.is_ready:
            return Health(True, "standby: takes over when no other scheduler is active")
        return Health(True, "active")
