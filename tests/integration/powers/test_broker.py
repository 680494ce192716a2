"""What each role's user can do on a real RabbitMQ."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pika
import pytest

from broker.errors import BrokerUnavailable, NotAllowed
from broker.publisher import Message, Publisher
from broker.topology import CANCEL_KEY, COMPILE_KEY, OUTCOME_KEY, SEEN_KEY, STATUS_KEY, sent_by
from tests.integration.powers.conftest import Broker

ROLES = ("tenant-acme", "worker-cc", "worker-prepare")
SCHEDULER = "scheduler"


def may(broker: Broker, role: str, do: Callable[[Any], Any]) -> bool:
    """Return whether RabbitMQ lets `role` do it, on a channel with confirms."""
    with broker.connection(role) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        try:
            do(channel)
            channel.queue_declare(broker.names.seen, passive=True)  # what is refused is told late
        except pika.exceptions.ChannelClosedByBroker as error:
            if error.reply_code != 403:
                raise
            return False
        except pika.exceptions.UnroutableError:
            return True
    return True


def publishing(exchange: str, key: str) -> Callable[[Any], Any]:
    return lambda channel: channel.basic_publish(exchange, key, b"not a message", mandatory=True)


def test_who_may_publish_what(broker: Broker) -> None:
    names = broker.names
    own_of_acme = {sent_by("acme", verb) for verb in (COMPILE_KEY, CANCEL_KEY, STATUS_KEY)}
    for key in (*own_of_acme, "compile.rival", "cancel.rival", "status", "compile", "compile.#",
                "compile.acme.more"):  # fmt: skip
        publish = publishing(names.requests, key)
        assert may(broker, "tenant-acme", publish) == (key in own_of_acme), key
    for key in (*(sent_by("cc", verb) for verb in (OUTCOME_KEY, SEEN_KEY)),
                "outcome.tvm", "seen.tvm", "outcome", "outcome.cc.x"):  # fmt: skip
        publish = publishing(names.workers, key)
        assert may(broker, "worker-cc", publish) == key.endswith(".cc"), key


def test_who_publishes_for_another_is_told_why_it_does_not_go(broker: Broker) -> None:
    publisher = Publisher(broker.server.url_of("tenant-acme"), "test")
    message = Message(broker.names.requests, "compile.rival", b"")

    def until_refused() -> None:
        for _ in range(60):
            with contextlib.suppress(BrokerUnavailable):  # it has not been heard of yet
                publisher.publish_and_wait(message, 1)

    publisher.open()
    try:
        assert publisher.await_ready(60)
        with pytest.raises(NotAllowed, match=r"topic 'compile.rival'.*check TINYMLAAS_TENANT"):
            until_refused()
    finally:
        publisher.close()


@pytest.mark.parametrize("role", ROLES)
def test_nobody_but_the_scheduler_tells_results_or_writes_into_queues(
    broker: Broker, role: str
) -> None:
    names = broker.names
    for exchange, key in (
        (names.results, "acme.job.done"),
        (names.kills, "cc"),
        (names.dead, "x"),
        ("", names.pool("cc")),
        ("", names.outcomes),
        ("", names.compile_requests),
        ("", "reply.of-somebody"),
    ):
        assert not may(broker, role, publishing(exchange, key)), (exchange, key)
    assert may(broker, SCHEDULER, publishing(names.results, "acme.job.done"))


@pytest.mark.parametrize("role", ROLES)
def test_each_takes_from_its_own_queue_alone(broker: Broker, role: str) -> None:
    names = broker.names
    queues = {names.compile_requests, names.control, names.outcomes, names.seen}
    queues |= {names.dead_letters, names.pool("cc"), names.pool("tvm"), names.pool("prepare")}
    queues |= {names.pool_dead("cc")}
    taken = {
        queue
        for queue in queues
        if may(broker, role, lambda channel, q=queue: channel.basic_get(q))
    }
    pool = role.removeprefix("worker-")
    assert taken == ({names.pool(pool)} if pool != role else set())


@pytest.mark.parametrize("role", ROLES)
def test_nobody_else_makes_or_removes_queues_of_the_farm(broker: Broker, role: str) -> None:
    names = broker.names
    for do in (
        lambda channel: channel.queue_declare(f"{names.prefix}pool.own", durable=True),
        lambda channel: channel.queue_declare(names.lock, exclusive=True),
        lambda channel: channel.queue_delete(names.pool("cc")),
        lambda channel: channel.queue_purge(names.compile_requests),
        lambda channel: channel.exchange_delete(names.results),
        lambda channel: channel.queue_bind(names.outcomes, names.requests, "#"),
    ):
        assert not may(broker, role, do)


def test_a_tenant_hears_its_own_events_alone(broker: Broker) -> None:
    names = broker.names

    def hearing(exchange: str, key: str) -> Callable[[Any], Any]:
        def bind(channel: Any) -> None:
            queue = channel.queue_declare("", exclusive=True).method.queue
            channel.queue_bind(queue, exchange, key)

        return bind

    for key in ("acme.job.*", "acme.#", "acme.*.done"):
        assert may(broker, "tenant-acme", hearing(names.results, key)), key
    for key in ("#", "*.job.done", "*.*.*", "rival.#", "rival.job.*", "acmes.#", ""):
        assert not may(broker, "tenant-acme", hearing(names.results, key)), key
    for exchange in (names.requests, names.workers, names.kills, names.dead):
        assert not may(broker, "tenant-acme", hearing(exchange, "#")), exchange
    for exchange in (names.results, names.requests, names.workers):
        assert not may(broker, "worker-cc", hearing(exchange, "#")), exchange
    assert may(broker, "worker-cc", hearing(names.kills, "cc"))


def test_an_answer_in_a_queue_of_ones_own_is_nobody_elses(broker: Broker) -> None:
    with broker.connection("tenant-acme") as connection:
        connection.channel().queue_declare("reply.acme-secret", exclusive=True)
        with broker.connection("tenant-rival") as other:
            for do in ("basic_get", "queue_declare"):
                channel = other.channel()
                with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
                    getattr(channel, do)("reply.acme-secret")
                assert refused.value.reply_code == 405  # locked by its maker's connection
