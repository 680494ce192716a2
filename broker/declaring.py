"""Make the topology so, or take it away."""

from __future__ import annotations

from typing import Any

from broker.errors import BrokerError, BrokerUnavailable, errors
from broker.topology import Topology


def declare(connection: Any, wanted: Topology) -> None:
    """Create what is missing of `wanted` on a `pika.BlockingConnection`; repeating it is harmless.

    Raises:
        BrokerError: something exists with other arguments; the message names it.
        BrokerUnavailable: the connection is gone.
    """
    for exchange in wanted.exchanges:
        with errors(f"declare the exchange {exchange.name}"), connection.channel() as channel:
            channel.exchange_declare(exchange.name, exchange.kind, durable=True)
    for queue in wanted.queues:
        with errors(f"declare the queue {queue.name}"), connection.channel() as channel:
            channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
    for binding in wanted.bindings:
        with errors(f"bind the queue {binding.queue}"), connection.channel() as channel:
            channel.queue_bind(binding.queue, binding.exchange, binding.key)


def find(connection: Any, wanted: Topology) -> None:
    """Return if all exchanges and queues of `wanted` are there, which everybody may ask.

    Raises:
        BrokerUnavailable: one is not there, or the connection is gone.
    """
    for kind, each in (
        *(("exchange", each.name) for each in wanted.exchanges),
        *(("queue", each.name) for each in wanted.queues),
    ):
        try:
            with errors(f"find the {kind} {each}"), connection.channel() as channel:
                getattr(channel, f"{kind}_declare")(each, passive=True)
        except BrokerUnavailable:
            raise
        except BrokerError as error:
            raise BrokerUnavailable(
                f"RabbitMQ has no {kind} {each} yet, and we may not make it: a scheduler does, or "
                "an operator by 'tinymlaas farm declare'"
            ) from error


def remove(connection: Any, unwanted: Topology) -> None:
    """Delete all queues and exchanges of `unwanted`, with the messages in them.

    Raises:
        BrokerUnavailable: the connection is gone.
    """
    with errors("remove the topology"), connection.channel() as channel:
        for queue in unwanted.queues:
            channel.queue_delete(queue.name)
        for exchange in unwanted.exchanges:
            channel.exchange_delete(exchange.name)
