"""`Client`: the farm from Python."""

from __future__ import annotations

import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from broker.looking import looking
from broker.topology import CANCEL_KEY, COMPILE_KEY, STATUS_KEY, sent_by
from tinymlaas.client import fetching, replaying
from tinymlaas.client.access import SOURCE, Access
from tinymlaas.client.errors import NoScheduler, NotFinished, Refused
from tinymlaas.client.lines import Key, is_refusal
from tinymlaas.client.orders import Source, Wish, order_of
from tinymlaas.client.tracing import current_traceparent, sound
from tinymlaas.client.watching import Watch
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.job_status import FetchedModule, JobStatus
from tinymlaas.contract.messages import (
    CancelRequested,
    CompileOrder,
    CompileRequested,
    JobEnded,
    JobName,
)
from tinymlaas.contract.queue_messages import (
    QueueAsked,
    QueueOverview,
    QueueQuestion,
    QueueReport,
    QueueTold,
)
from tinymlaas.farm_settings import FarmSettings, checked_tenant, from_environment
from tinymlaas.inputs import read_input
from tinymlaas.settings import from_environment as own_settings
from tinymlaas.trust import MAX_KEY_BYTES, own_trust

PATIENCE_SECONDS = 30.0
_ANSWER_SECONDS = 5.0
_SOON_SECONDS = 0.5
_REMEMBERED = 10_000


@dataclass(frozen=True)
class Job:
    """A job that was submitted; its methods are the client's."""

    id: str
    client: Client = field(repr=False, compare=False)

    def status(self) -> JobStatus:
        """See `Client.status`."""
        return self.client.status(self.id)

    def watch(self, timeout: float | None = None) -> Iterator[JobStatus]:
        """See `Client.watch`."""
        return self.client.watch(self.id, timeout)

    def result(self, timeout: float | None = None) -> JobStatus:
        """See `Client.result`."""
        return self.client.result(self.id, timeout)

    def cancel(self) -> JobStatus:
        """See `Client.cancel`."""
        return self.client.cancel(self.id)

    def fetch(self, directory: Path | str, key: Path | bytes | None = None) -> FetchedModule:
        """See `Client.fetch`."""
        return self.client.fetch(self.id, directory, key)


class Client:
    """One tenant's jobs on a farm. Safe to share between threads; reconnects by itself.

    Every method may raise `BrokerUnavailable` or `StoreUnavailable` (`error.retryable`) if RabbitMQ
    or the object store do not answer within `patience` seconds, and `BrokerError` or `StoreError`
    if they refuse us. Use it as a context manager, or `close` it.
    """

    def __init__(
        self,
        settings: FarmSettings | None = None,
        *,
        tenant: str | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        """Use the farm of `settings` (default: the environment's), as `tenant` if given.

        Nothing is connected yet.

        Raises:
            UsageError: variables are missing or malformed; all are named.
            BrokerError: the broker's URL is malformed.
        """
        found = settings or from_environment()
        if tenant is not None:
            found = replace(found, tenant=checked_tenant(tenant, "--tenant"))
        self._access = Access(found, patience)
        self._sent: OrderedDict[str, None] = OrderedDict()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections; jobs go on."""
        self._access.lines.close()

    @property
    def tenant(self) -> str:
        """Whose jobs these are."""
        return self._access.settings.tenant

    def submit(
        self,
        model: Source,
        board: str | None = None,
        *,
        job_id: str | None = None,
        traceparent: str | None = None,
        **wish: Any,
    ) -> Job:
        """Send `model`, a file or its bytes, to be compiled for `board`; return when RabbitMQ has
        the request.

        `wish` are the fields of `Wish`: device, name, compiler, objective, race, first, budget,
        shapes, options, calibration, activations, quantised_only, data, priority, deadline. The
        same order sent again under the same `job_id` is the same job. `traceparent` is W3C trace
        context; by default OpenTelemetry's, where the caller has a span, or a new one.

        Raises:
            UsageError: something of the order is malformed; says what.
        """
        if traceparent is not None and not sound(traceparent):
            raise UsageError("traceparent must be W3C trace context: 00-<32>-<16>-<2> of 0-9a-f")
        order, files = order_of(self.tenant, model, Wish(board=board, **wish))
        for data in files:
            self._access.upload(data)
        return self._send(order, job_id, traceparent)

    def _send(
        self, order: CompileOrder, job_id: str | None = None, traceparent: str | None = None
    ) -> Job:
        key = self._access.key(uuid.uuid4().hex if job_id is None else job_id)
        self._access.lines.forget_refusal(key)
        event = CompileRequested(
            id=key[1],
            source=SOURCE,
            time=datetime.now(UTC),
            traceparent=traceparent or current_traceparent(),
            data=order,
        )
        self._access.lines.send(sent_by(key[0], COMPILE_KEY), event)
        self._sent[key[1]] = None
        while len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)
        return Job(key[1], self)

    def status(self, job_id: str, timeout: float = _ANSWER_SECONDS) -> JobStatus:
        """Return how a job stands, and if it waits, for what.

        Raises:
            UnknownJob: there is no such job of this tenant.
            NoScheduler: the job has not ended, and no scheduler answers within `timeout` seconds.
        """
        return self._access.status(self._access.key(job_id), timeout)

    def watch(self, job_id: str, timeout: float | None = None) -> Iterator[JobStatus]:
        """Yield how a job stands now and whenever that changes, until it has ended.

        Raises:
            UnknownJob: there is no such job of this tenant.
            Refused: the request, sent by this client, was not taken as a job.
            NoScheduler: nobody knows of the job, for no scheduler answers.
            NotFinished: `timeout` seconds have passed.
        """
        accepted = job_id in self._sent
        return Watch(self._access, self._access.key(job_id), accepted, timeout).statuses()

    def result(self, job_id: str, timeout: float | None = None) -> JobStatus:
        """Wait until a job has ended and return how; what may be raised is as of `watch`."""
        key = self._access.key(job_id)
        begun = time.monotonic()
        if job_id in self._sent:  # then the end comes to us, without having been asked for
            soon = _SOON_SECONDS if timeout is None else min(_SOON_SECONDS, timeout)
            end = self._end_within(key, soon)
            if end is not None:
                return self._access.ended(end)
        left = None if timeout is None else timeout - (time.monotonic() - begun)
        for status in self.watch(job_id, left):
            if status.final:
                return status
        raise NotFinished(f"job {job_id} has not ended")  # pragma: no cover - `watch` ends final

    def _end_within(self, key: Key, seconds: float) -> JobEnded | None:
        with self._access.lines.hearing(key, events=False) as ear:
            end = self._access.lines.end_of(key)
            deadline = time.monotonic() + seconds
            while end is None and (heard := ear.get(deadline - time.monotonic())) is not None:
                end = heard.event if isinstance(heard.event, JobEnded) else None
        if end is not None and is_refusal(end):
            raise Refused(*end.data.reasons)
        return end

    def cancel(self, job_id: str, timeout: float = PATIENCE_SECONDS) -> JobStatus:
        """Have a job ended, unless it has ended, and return how it did within `timeout` seconds.

        Raises:
            UnknownJob: there is no such job of this tenant.
            NoScheduler: none answers; the cancellation waits for one.
            NotFinished: it has not ended within `timeout`.
        """
        key = self._access.key(job_id)
        try:
            status = self._access.status(key, _ANSWER_SECONDS)
        except NoScheduler as error:
            self._cancel(key)
            raise NoScheduler(*error.reasons, "the cancellation waits as well") from None
        if status.final:
            return status
        self._cancel(key)
        return self.result(job_id, timeout)

    def _cancel(self, key: Key) -> None:
        name = JobName(tenant=key[0], job_id=key[1])
        event = CancelRequested(id=uuid.uuid4().hex, source=SOURCE, data=name)
        self._access.lines.send(sent_by(key[0], CANCEL_KEY), event, answered=False)

    def fetch(
        self, job_id: str, directory: Path | str, key: Path | bytes | None = None
    ) -> FetchedModule:
        """Write a finished job's module and its provenance into `directory`, verified.

        `key` is the public key to trust, a PEM file or its bytes; default: the keyring that
        TINYMLAAS_KEYRING names, or the user's own keys.

        Raises:
            NoModule: the job has none, or not yet.
            VerificationError: the module is not what those keys have signed.
            UsageError: `directory` cannot be written, or there is no key.
        """
        own = own_trust(own_settings()) if key is None else None
        status = self.status(job_id)
        if own is None:
            assert key is not None  # noqa: S101 - for the type checker
            pem = key if isinstance(key, bytes) else read_input(key, "public key", MAX_KEY_BYTES)
            own = fetching.trust_in(pem, status)
        return fetching.fetch(self._access.store, status, own, Path(directory))

    def replay(self, job_id: str) -> Job:
        """Send an ended job's order again, as a new job; return that.

        It is what its record holds, or a request among the dead letters, which is removed then.

        Raises:
            UnknownJob: there is no such job of this tenant.
            Rejection: the job has not ended, or its order is lost.
        """
        sent: list[Job] = []
        replaying.replay(
            self._access, self._access.key(job_id), lambda order: sent.append(self._send(order))
        )
        return sent[0]

    def queue(self, timeout: float = _ANSWER_SECONDS, *, everybody: bool = False) -> QueueReport:
        """Return what waits of the tenant's jobs, how busy the pools are, and how many messages
        nobody has taken. Of `everybody`'s jobs only an operator is told.
        """
        lines = self._access.lines
        question = QueueAsked(
            id=uuid.uuid4().hex, source=SOURCE, data=QueueQuestion(reply=lines.reply)
        )
        overview: QueueOverview | None = None
        with lines.hearing(("", question.id), events=False) as ear:
            lines.send(STATUS_KEY if everybody else sent_by(self.tenant, STATUS_KEY), question)
            heard = ear.get(timeout)
            if heard is not None and isinstance(heard.event, QueueTold):
                overview = heard.event.data
        names = lines.names
        found = overview or QueueOverview()
        dead = [names.dead_letters, *(names.pool_dead(pool.pool) for pool in found.pools)]
        with looking(self._access.settings.amqp_url, names) as look:
            depths = look.depths([names.compile_requests, *dead])
        requests = depths.get(names.compile_requests)
        return QueueReport(
            tenants=found.tenants,
            pools=found.pools,
            scheduler=overview is not None,
            unread=requests.ready if requests else 0,
            dead={name: depths[name].ready for name in dead if name in depths},
        )
