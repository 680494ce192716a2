"""Composition root of ``python -m workers``: one worker of one pool on RabbitMQ and S3.

SIGTERM drains it: it takes nothing more, ends its task and leaves. A second one, or the end of
--drain-seconds, kills it with its task, which the broker then gives to another worker.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from broker.consumer import Consumer, Delivery
from broker.dramatiq_broker import QuorumBroker, finish, make_actor, make_worker
from broker.farm import FarmPublisher, kills_of
from broker.publisher import Publisher
from broker.topology import Names, of_worker
from storage import keys
from storage.observed import ObservedStore
from storage.remote_signer import RemoteSigner
from tinymlaas.contract.compiler import CompilerDescription
from tinymlaas.contract.errors import RetryableFailure, StoreError, TinymlaasError, UsageError
from tinymlaas.contract.pool_messages import PREPARE_POOL, TaskEnd
from tinymlaas.contract.wire import MalformedMessage
from tinymlaas.farm import spans
from tinymlaas.farm.bench import Place
from tinymlaas.farm.environment import Environment, from_environment, parse_pools
from tinymlaas.farm.first import leave_the_first_process
from tinymlaas.farm.outbox import BrokerOutbox
from tinymlaas.farm.patience import Patience
from tinymlaas.farm.process import Stop, die, guarded
from tinymlaas.farm.services import Interrupted, Redeclaring, open_services
from tinymlaas.farm.spans import open_tracing
from tinymlaas.farm.task_trail import TaskTrail
from tinymlaas.farm.web import Health, Pages, serve
from tinymlaas.logs import WORKER_SERVICE, configure, get_logger, identify
from tinymlaas.sandboxing import UNSAFE_NOTICE, UNSAFE_VARIABLE
from tinymlaas.signer.starting import OwnSigner
from tinymlaas.telemetry import WorkerMetrics
from workers import child, sandbox
from workers.compilers import registry
from workers.notes import STAGES, Note, What
from workers.pool import Identity, Limits, PoolWorker
from workers.sources import service_digest
from workers.task_process import Opener

_HELLO_SECONDS = 5.0
_TURN_SECONDS = 1.0
_READY_SECONDS = 15.0
_STALE_SECONDS = 30.0
_PRELOADED = ("workers.task_process", "workers.stages", "tinymlaas.farm.bench")
_log = get_logger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker until SIGTERM; return the process's status."""
    leave_the_first_process()
    parser = argparse.ArgumentParser(prog="python -m workers", description="one worker of a pool")
    parser.add_argument(
        "--pool", required=True, metavar="NAME", help="a compiler, or prepare (inspects, quantises)"
    )
    parser.add_argument("--http-port", type=int, metavar="PORT", help="metrics (0: any free)")
    parser.add_argument(
        "--drain-seconds", type=float, metavar="S", help="what a task may still take after SIGTERM"
    )
    parser.add_argument(
        "--unsafe-no-sandbox", action="store_true", help="run compilers with all our rights"
    )
    asked = parser.parse_args(arguments)
    if asked.unsafe_no_sandbox:
        os.environ[UNSAFE_VARIABLE] = "1"

    def run() -> None:
        environment = from_environment()
        changes = {"http_port": asked.http_port, "drain_seconds": asked.drain_seconds}
        given = {name: value for name, value in changes.items() if value is not None}
        environment = replace(environment, **given)
        pools = parse_pools(asked.pool)
        if len(pools) != 1:
            raise UsageError("--pool: name one pool; every worker is of one")
        process = {"process": f"worker {pools[0]}", "pool": pools[0]}
        configure(environment.log, {"service": WORKER_SERVICE, **process})
        worker: list[_Worker] = []
        stop = Stop(lambda: worker[0].give_up() if worker else die())
        try:
            worker.append(_Worker(environment, pools[0], stop))
            worker[0].run()
        except Interrupted:
            _log.info("stopped before it had begun")

    return guarded(run)


def worker_name(pool: str) -> str:
    """Return a name that no other worker has: pool, host, process, and some chance."""
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:40]
    return f"{pool}@{host}-{os.getpid()}-{secrets.token_hex(4)}"


class _Worker:
    """All parts of one worker, put together."""

    def __init__(self, environment: Environment, pool: str, stop: Stop) -> None:
        self._environment = environment
        self._stop = stop
        self._turn = time.monotonic()
        self._watch = Patience()
        self._worker: PoolWorker | None = None
        self._idle = True
        version = service_digest()
        self._metrics = WorkerMetrics(version, pool)
        self._metrics.expect(STAGES, sandbox.Step, sandbox.REASONS, signs=pool != PREPARE_POOL)
        self._metrics.loop(self._loop_age)
        url = serve(
            Pages(self._metrics.page, self._alive, self._ready),
            environment.http_host,
            environment.http_port,
        )
        _log.info("serves metrics", url=f"{url}/metrics")
        _contain(environment.contained)
        described = _description(pool, environment)
        self._signer = _own_signer(pool, environment)
        socket = self._signer.ensure() if self._signer else environment.own.signer
        farm = environment.farm
        services = open_services(farm, of_worker(pool, Names(farm.prefix)), stop)
        self._turn = time.monotonic()  # it may have waited for long
        name = worker_name(pool)
        identify(worker=name)
        self._store = ObservedStore(services.store, self._metrics.stored)
        self._publisher = Publisher(farm.amqp_url, name)
        facts = {spans.POOL: pool, "service.instance.id": name}
        self._tracing = open_tracing(environment.traces, WORKER_SERVICE, facts, follow_links=True)
        names = services.names
        self._trail = TaskTrail(self._tracing, names.pool(pool), names.workers)
        self._worker = PoolWorker(
            Identity(pool, name, version, described),
            _opener(pool, environment, socket),
            self._store,
            BrokerOutbox(
                FarmPublisher(self._publisher, services.names, pool, self._metrics.published)
            ),
            Limits(heartbeat_seconds=_HELLO_SECONDS),
            # Asked each time: a signer that was started again may have another key.
            (lambda: RemoteSigner(socket).public_key.fingerprint) if socket else None,
            self._note,
            self._trail,
        )
        child.preload(*_PRELOADED)
        child.warm_up()
        self._kills = Consumer(farm.amqp_url, f"{name} kills", [kills_of(pool, services.names)])
        self._metrics.link("publisher", self._publisher)
        self._metrics.link("kills", self._kills)
        self._broker = QuorumBroker(farm.amqp_url, name, limited=True)
        queue = services.names.pool(pool)
        make_actor(self._broker, queue, self._work)
        self._pool = make_worker(self._broker, queue)
        self._redeclaring = Redeclaring(
            farm.amqp_url, services.wanted, self._publisher, self._kills
        )

    def run(self) -> None:
        """Work until told to stop, then drain."""
        assert self._worker is not None  # noqa: S101 - made by __init__
        self._publisher.open()
        self._kills.start(self._kill)
        self._publisher.await_ready(_READY_SECONDS)
        self._worker.hello()
        self._pool.start()
        _log.info("takes tasks")
        said = time.monotonic()
        while not self._stop.wait(_TURN_SECONDS):
            self._turn = time.monotonic()
            self._redeclaring.look()
            self._keep_signer()
            if self._turn - said >= _HELLO_SECONDS:
                said = self._turn
                self._worker.hello()
            if self._idle and (reason := self._useless(self._worker)):
                self._worker.leave()
                self._publisher.close()
                raise RetryableFailure(f"{reason}; to be started again")
        self._drain(self._worker)

    def _useless(self, worker: PoolWorker) -> str | None:
        """Say why only another start would help, if so."""
        if worker.outdated:
            return "the compiler was changed since this worker began"
        if self._watch.stuck(time.monotonic(), self._publisher.is_ready, self._broker.last_turn()):
            return "RabbitMQ leaves the question for tasks unanswered"
        return None

    def _drain(self, worker: PoolWorker) -> None:
        busy = not self._idle
        _log.info("draining", busy=busy)
        if self._environment.drain_seconds is not None:
            timer = threading.Timer(self._environment.drain_seconds, self.give_up)
            timer.daemon = True
            timer.start()
        worker.leave()
        finish(self._pool, self._meanwhile, _HELLO_SECONDS)
        worker.leave()
        self._kills.close()
        self._publisher.close()
        self._broker.close()
        self._tracing.close()
        if self._signer is not None:
            self._signer.close()
        _log.info("drained")

    def _meanwhile(self) -> None:
        """Go on with what is done every few seconds, while the last task ends."""
        assert self._worker is not None  # noqa: S101 - made by __init__
        self._worker.hello()
        self._keep_signer()

    def _keep_signer(self) -> None:
        """Start the signer again if it was killed; tasks wait for it some seconds."""
        if self._signer is None or self._signer.pid is not None:
            return
        _log.warning("the signer has ended; starting it again")
        try:
            self._signer.ensure()
        except TinymlaasError as error:
            _log.warning("the signer does not start", reasons=error.reasons)

    def give_up(self) -> None:
        """End at once. Having said so, for who falls silent with a task is thought to have died
        of it; the broker gives the task to another.
        """
        if self._worker is not None:
            _log.warning("ending now; another worker gets the task")
            self._worker.give_up()
            self._publisher.close()
        die()

    def _work(self, body: str, earlier: int) -> None:
        """Do one task; called by dramatiq's thread, the message is acknowledged when we return."""
        assert self._worker is not None  # noqa: S101 - made by __init__
        self._idle = False
        try:
            with self._metrics.working():
                end = self._worker.handle(body.encode(), earlier + 1)
        finally:
            self._idle = True
        self._count(end)

    def _count(self, end: TaskEnd) -> None:
        self._metrics.task_ended(end)
        digest = end.outcome.archive_digest if end.outcome and not end.cached else None
        if digest is not None:
            with contextlib.suppress(StoreError):  # it is told already; this is only a number
                info = self._store.head(keys.module_archive(digest))
                self._metrics.module(info.size if info else 0)

    def _note(self, note: Note) -> None:
        """Count what a task's own process tells."""
        self._trail.note(note)
        match note.what:
            case What.STAGE:
                self._metrics.staged(note.name, note.seconds)
            case What.STORE:
                self._metrics.stored(note.name, note.detail or None, note.seconds)
            case What.SIGNATURE:
                self._metrics.signed(note.name == "made")
            case What.STOP:
                self._metrics.stopped(note.name, note.detail)

    def _kill(self, delivery: Delivery) -> None:
        assert self._worker is not None  # noqa: S101 - made by __init__
        try:
            self._worker.kill(delivery.body)
        except MalformedMessage as error:
            _log.warning("a message that kills nothing", reasons=error.reasons)
        self._kills.ack(delivery.token)

    def _alive(self) -> Health:
        """Stale if the loop is stuck; that a service we need is away is no reason to restart us."""
        if self._worker is None or self._stop.asked:
            return Health(True, "starting or draining")
        turn = self._loop_age()
        if self._watch.is_stuck:
            return Health(False, "RabbitMQ leaves the question for tasks unanswered")
        return Health(turn < _STALE_SECONDS, f"the loop's last turn was {turn:.1f} s ago")

    def _loop_age(self) -> float:
        """Return the seconds since the last turn of the loop; 0 where it need not turn."""
        turns = self._worker is not None and not self._stop.asked
        return time.monotonic() - self._turn if turns else 0.0

    def _ready(self) -> Health:
        if self._worker is None:
            return Health(False, "waiting for RabbitMQ and the store")
        if self._stop.asked:
            return Health(False, "draining")
        if not (self._publisher.is_ready and self._kills.is_ready):
            return Health(False, "no connection to RabbitMQ")
        return Health(True, "idle" if self._idle else "busy")


def _contain(contained: sandbox.Settings) -> None:
    """Have all that touches a model run in the sandbox, or end here if there is none.

    Raises:
        Failure: there is none, and nobody has allowed us to do without.
    """
    sandbox.configure(contained)
    if contained.unsafe:
        _log.warning(UNSAFE_NOTICE)
    sandbox.check()


def _description(pool: str, environment: Environment) -> CompilerDescription | None:
    """Return what the pool's compiler says of itself; None for the pool that has none.

    Raises:
        UsageError: there is no such compiler.
        CompilerCrashed: it cannot say.
    """
    if pool == PREPARE_POOL:
        return None
    compiler = registry.one(pool, environment.own.compilers)
    compiler.warm_up()
    return compiler.describe()


def _own_signer(pool: str, environment: Environment) -> OwnSigner | None:
    """Return a signer for the pool; None where one runs elsewhere, or nothing is signed."""
    if pool == PREPARE_POOL or environment.own.signer is not None:
        return None
    return OwnSigner(environment.own.keys, pool)


def _opener(pool: str, environment: Environment, signer: Path | None) -> Opener:
    compiler = None if pool == PREPARE_POOL else pool
    farm = environment.farm
    place = Place(compiler, farm.bucket, farm.endpoint, environment.own, signer)
    return Opener("tinymlaas.farm.bench:open_bench", place)
