"""Messages of pools and clients, other than requests, to the core's methods."""

from __future__ import annotations

from typing import TypeVar

from scheduler.core import Core
from scheduler.overview import answer
from scheduler.ports import Delivery
from scheduler.requests import of_tenant
from tinymlaas.contract.messages import CancelRequested, StatusAsked
from tinymlaas.contract.pool_messages import (
    TaskEnd,
    TaskEnded,
    TaskProgressed,
    TaskStanding,
    WorkerSeen,
    WorkerStanding,
)
from tinymlaas.contract.queue_messages import QueueAsked
from tinymlaas.contract.wire import MAX_BYTES, MAX_TRUSTED_BYTES, MalformedMessage, loads, parse


class Intake:
    """Parses and hands on; what is malformed is kept aside with its reason."""

    def __init__(self, core: Core, name: str = "") -> None:
        """Hand messages to `core`, which is that of the scheduler called `name`."""
        self._core = core
        self._name = name

    def pool_event(self, delivery: Delivery) -> None:
        """Take what a worker says; its outcome is in the store, so it is acknowledged at once."""
        body, core = delivery.body, self._core
        try:
            kind = _kind(body, MAX_TRUSTED_BYTES)
            if kind == TaskEnded.TYPE:
                ended = parse(body, TaskEnded, MAX_TRUSTED_BYTES)
                core.task_ended(_own(ended.data, delivery), ended.traceparent)
            elif kind == TaskProgressed.TYPE:
                core.progressed(_own(parse(body, TaskProgressed, MAX_TRUSTED_BYTES).data, delivery))
            else:
                core.heard(_own(parse(body, WorkerSeen, MAX_TRUSTED_BYTES).data, delivery))
        except MalformedMessage as error:
            core.set_aside(delivery.token, error.reasons)
        else:
            core.acknowledge(delivery.token)

    def control(self, delivery: Delivery) -> None:
        """Take a cancel or a question of a client."""
        try:
            kind = _kind(delivery.body, MAX_BYTES)
            if kind == CancelRequested.TYPE:
                name = parse(delivery.body, CancelRequested).data
                self._core.cancel(of_tenant(name, delivery, "cancel"), delivery.token)
                return
            if kind == QueueAsked.TYPE:
                asked = parse(delivery.body, QueueAsked)
                self._core.answer(*answer(self._core, asked, delivery.sender or None, self._name))
            else:
                name = parse(delivery.body, StatusAsked).data
                self._core.status(of_tenant(name, delivery, "status"))
            self._core.acknowledge(delivery.token)
        except MalformedMessage as error:
            self._core.set_aside(delivery.token, error.reasons)


T = TypeVar("T", TaskEnd, TaskStanding, WorkerStanding)


def _own(said: T, delivery: Delivery) -> T:
    """Return what a worker says of its own pool.

    Raises:
        MalformedMessage: it speaks for another.
    """
    if not delivery.vouched(said.pool):
        raise MalformedMessage(f"a worker of pool {delivery.sender} speaks for pool {said.pool}")
    return said


def _kind(body: bytes, limit: int) -> object:
    value = loads(body, limit)
    return value.get("type") if isinstance(value, dict) else None
