"""Messages of pools and clients, other than requests, to the core's methods."""

from __future__ import annotations

from scheduler.core import Core
from scheduler.overview import answer
from scheduler.ports import Delivery
from tinymlaas.contract.messages import CancelRequested, StatusAsked
from tinymlaas.contract.pool_messages import TaskEnded, TaskProgressed, WorkerSeen
from tinymlaas.contract.queue_messages import QueueAsked
from tinymlaas.contract.wire import MAX_BYTES, MAX_TRUSTED_BYTES, MalformedMessage, loads, parse


class Intake:
    """Parses and hands on; what is malformed is kept aside with its reason."""

    def __init__(self, core: Core) -> None:
        """Hand messages to `core`."""
        self._core = core

    def pool_event(self, delivery: Delivery) -> None:
        """Take what a worker says; its outcome is in the store, so it is acknowledged at once."""
        body, core = delivery.body, self._core
        try:
            kind = _kind(body, MAX_TRUSTED_BYTES)
            if kind == TaskEnded.TYPE:
                core.task_ended(parse(body, TaskEnded, MAX_TRUSTED_BYTES).data)
            elif kind == TaskProgressed.TYPE:
                core.progressed(parse(body, TaskProgressed, MAX_TRUSTED_BYTES).data)
            else:
                core.heard(parse(body, WorkerSeen, MAX_TRUSTED_BYTES).data)
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
                self._core.cancel(name, delivery.token)
                return
            if kind == QueueAsked.TYPE:
                self._core.answer(*answer(self._core, parse(delivery.body, QueueAsked)))
            else:
                self._core.status(parse(delivery.body, StatusAsked).data)
            self._core.acknowledge(delivery.token)
        except MalformedMessage as error:
            self._core.set_aside(delivery.token, error.reasons)


def _kind(body: bytes, limit: int) -> object:
    value = loads(body, limit)
    return value.get("type") if isinstance(value, dict) else None
