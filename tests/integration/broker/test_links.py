"""Topology, publisher and consumer on a real RabbitMQ."""

from __future__ import annotations

import dataclasses
import datetime
import queue
import threading
import time

import pika
import pytest

from broker.connecting import connect
from broker.consumer import Consumer, Delivery, Subscription
from broker.declaring import declare
from broker.errors import BrokerError, BrokerUnavailable, NotRouted
from broker.farm import FarmPublisher, SchedulerSource, events_of, kills_of
from broker.publisher import Message, Publisher
from broker.topology import REQUEST_DELIVERIES, TASK_DELIVERIES, Names, Queue, topology
from tests.integration.broker.helpers import Received, count, opened, to, until
from tinymlaas.services.rabbitmq import RabbitMQ


def test_declaring_twice_is_harmless_and_a_difference_is_named(amqp_url: str, names: Names) -> None:
    whole = topology(["p"], names)
    with connect(amqp_url, "test") as connection:
        declare(connection, whole)
        other = Queue(names.pool("p"), "other", {"x-queue-type": "classic"})
        with pytest.raises(BrokerError, match=names.pool("p")) as caught:
            declare(connection, dataclasses.replace(whole, queues=(other,)))
        assert not caught.value.retryable
        declare(connection, whole)  # the connection is still good


def test_wrong_credentials_and_urls_are_permanent(amqp_url: str) -> None:
    secret = pika.URLParameters(amqp_url).credentials.password
    with pytest.raises(BrokerError, match="does not let us in") as caught:
        connect(amqp_url.replace(secret, "wrong"), "test")
    assert not caught.value.retryable
    with pytest.raises(BrokerError, match="no AMQP URL"):
        connect("http://[", "test")


def test_a_broker_that_is_away_is_worth_another_try() -> None:
    with pytest.raises(BrokerUnavailable) as caught:
        connect("amqp://127.0.0.1:1/", "test")
    assert caught.value.retryable


def test_what_is_confirmed_is_in_the_queue(amqp_url: str, names: Names) -> None:
    with opened(amqp_url) as publisher, Received(amqp_url, names.pool("p")) as received:
        publisher.publish_and_wait(Message("", names.pool("p"), b"x", reply_to="me"), 30)
        delivery = received.get()
        assert (delivery.body, delivery.reply_to, delivery.earlier) == (b"x", "me", 0)
        with pytest.raises(NotRouted):
            publisher.publish_and_wait(to("no-such-queue", b"x"), 30)
        with pytest.raises(NotRouted):
            publisher.publish_and_wait(Message(names.requests, "unknown", b"x"), 30)
        publisher.publish_and_wait(to(names.pool("p"), b"y"), 30)
        assert received.get().body == b"y"


def test_many_threads_may_publish(amqp_url: str, names: Names) -> None:
    with opened(amqp_url) as publisher, Received(amqp_url, names.pool("p")) as received:

        def publish(thread: int) -> None:
            for number in range(50):
                publisher.publish_and_wait(to(names.pool("p"), b"%d %d" % (thread, number)), 60)

        threads = [threading.Thread(target=publish, args=[n]) for n in range(4)]
        for thread in threads:
            thread.start()
        bodies = {received.get().body for _ in range(200)}
        for thread in threads:
            thread.join()
        assert len(bodies) == 200


def test_heartbeats_go_on_while_a_message_is_worked_on(amqp_url: str, names: Names) -> None:
    """The broker would end a connection that is silent for two intervals, here of one second."""
    done = threading.Event()
    consumer = Consumer(amqp_url, "test", [Subscription(names.pool("p"), 1)])
    consumer._parameters.heartbeat = 1

    def work(_: object) -> None:
        time.sleep(4)
        done.set()

    consumer.start(work)
    with opened(amqp_url) as publisher:
        publisher.publish_and_wait(to(names.pool("p"), b"x"), 30)
    assert done.wait(60)
    assert consumer.epoch == 1, "the connection was lost"
    consumer.close()


def test_what_is_not_acknowledged_comes_again_and_is_counted(amqp_url: str, names: Names) -> None:
    with opened(amqp_url) as publisher:
        publisher.publish_and_wait(to(names.pool("p"), b"x"), 30)
    for earlier in range(TASK_DELIVERIES):
        with Received(amqp_url, names.pool("p"), ack=False) as received:
            assert received.get().earlier == earlier
    with Received(amqp_url, names.pool_dead("p")) as dead:
        assert dead.get().body == b"x"
    assert count(amqp_url, names.pool("p")) == 0


def test_tokens_of_an_earlier_connection_are_void(amqp_url: str, names: Names) -> None:
    with opened(amqp_url) as publisher:
        publisher.publish_and_wait(to(names.pool("p"), b"x"), 30)
        with Received(amqp_url, names.pool("p"), ack=False) as received:
            first = received.get()
            received.consumer.call(received.consumer._close_connection)
            again = received.get()
            assert again.token.epoch > first.token.epoch
            received.consumer.ack(first.token)
            received.consumer.ack(again.token)
            assert received.nothing()
    assert count(amqp_url, names.pool("p")) == 0


def test_after_stop_nothing_is_delivered_but_acknowledging_works(
    amqp_url: str, names: Names
) -> None:
    with opened(amqp_url) as publisher:
        publisher.publish_and_wait(to(names.pool("p"), b"first"), 30)
        with Received(amqp_url, names.pool("p"), ack=False) as received:
            token = received.get().token
            received.consumer.stop()
            publisher.publish_and_wait(to(names.pool("p"), b"second"), 30)
            assert received.nothing()
            received.consumer.ack(token)
        with Received(amqp_url, names.pool("p")) as rest:
            assert rest.get().body == b"second"
            assert rest.nothing()


def test_of_two_with_a_lock_one_is_active_and_the_other_takes_over(
    amqp_url: str, names: Names
) -> None:
    queues = (names.compile_requests, names.outcomes)
    with opened(amqp_url) as publisher:
        first = Received(amqp_url, *queues, lock=names.lock)
        assert first.consumer.await_ready(30)
        with Received(amqp_url, *queues, lock=names.lock) as second:
            for name in queues:
                publisher.publish_and_wait(to(name, name.encode()), 30)
            assert {first.get().body for _ in queues} == {name.encode() for name in queues}
            assert not second.consumer.is_ready
            first.consumer.close()
            publisher.publish_and_wait(to(queues[0], b"later"), 30)
            assert second.get().body == b"later"


def test_requests_that_wait_keep_no_other_message_waiting_and_go_with_the_lock(
    amqp_url: str, names: Names
) -> None:
    """Their connection is another one; it ends with the lock's, so that one scheduler has both."""
    heard: queue.Queue[str] = queue.Queue()
    room = threading.Event()

    def deliver(delivery: Delivery) -> None:
        if delivery.token.source == names.compile_requests:
            room.wait(120)
        heard.put(delivery.token.source)

    with opened(amqp_url) as publisher:
        first = SchedulerSource(amqp_url, publisher, names)
        first.start(deliver)
        until(lambda: first.is_ready)
        publisher.publish_and_wait(to(names.compile_requests, b"1"), 30)
        until(lambda: count(amqp_url, names.compile_requests) == 0)
        for name in (names.seen, names.outcomes, names.control):
            publisher.publish_and_wait(to(name, b"2"), 30)
        found = {heard.get(timeout=30) for _ in range(3)}
        assert found == {names.seen, names.outcomes, names.control}
        second = SchedulerSource(amqp_url, publisher, names)
        taken: list[Delivery] = []
        second.start(taken.append)
        before = first._words.epoch, first._requests.epoch
        first._words.call(first._words._close_connection)
        until(lambda: first._words.epoch > before[0])
        until(lambda: first.is_ready or second.is_ready)
        if first.is_ready:
            assert first._requests.epoch > before[1]
            assert not second._requests.is_ready
            first.close()
        until(lambda: second.is_ready)
        assert not first._requests.is_ready
        until(lambda: names.compile_requests in {each.token.source for each in taken})
        room.set()
        first.close()
        second.close()


def test_what_is_told_to_workers_before_there_is_a_connection_is_not_lost(
    amqp_url: str, names: Names
) -> None:
    publisher = Publisher(amqp_url, "test")
    with Received(amqp_url) as received:
        received.consumer._subscriptions = (kills_of("p", names),)
        until(lambda: received.consumer.is_ready)
        FarmPublisher(publisher, names).kill("p", b"roll call")
        publisher.open()
        assert received.get().body == b"roll call"
    publisher.close()


def test_bad_requests_are_kept_with_their_reason(amqp_url: str, names: Names) -> None:
    with opened(amqp_url) as publisher:
        source = SchedulerSource(amqp_url, publisher, names)
        source.start(lambda delivery: source.dead_letter(delivery.token, "no JSON"))
        publisher.publish_and_wait(Message(names.requests, "compile.a", b"\xff"), 30)
        until(lambda: count(amqp_url, names.dead_letters) == 1)
        until(lambda: count(amqp_url, names.compile_requests) == 0)
        source.close()
    with connect(amqp_url, "test") as connection:
        _, properties, body = connection.channel().basic_get(names.dead_letters)
    assert body == b"\xff"
    assert properties.headers["x-reason"] == "no JSON"
    assert properties.headers["x-queue"] == names.compile_requests


def test_an_event_that_nobody_hears_is_no_error_but_a_reply_is(amqp_url: str, names: Names) -> None:
    told: list[Exception | None] = []
    with opened(amqp_url) as publisher:
        farm = FarmPublisher(publisher, names)
        farm.publish("t.j.done", b"{}", told.append)
        farm.reply("reply.nobody", b"{}", told.append)
        until(lambda: len(told) == 2)
    assert told[0] is None
    assert isinstance(told[1], NotRouted)


def test_workers_and_clients_hear_what_is_meant_for_them(amqp_url: str, names: Names) -> None:
    heard: queue.Queue[tuple[str, str, bytes]] = queue.Queue()
    consumer = Consumer(amqp_url, "test", [kills_of("p", names), events_of("t.job.*", names)])
    consumer.start(lambda d: heard.put((d.token.source, d.routing_key, d.body)))
    assert consumer.await_ready(30)
    with opened(amqp_url) as publisher:
        assert publisher.await_ready(30)
        farm = FarmPublisher(publisher, names)
        told: list[Exception | None] = []
        farm.kill("other", b"1")
        farm.kill("p", b"2")
        farm.publish("t.other.done", b"3", told.append)
        farm.publish("t.job.done", b"4", told.append)
        found = {heard.get(timeout=30) for _ in range(2)}
        until(lambda: told == [None, None])
    assert found == {("kills", "p", b"2"), ("events", "t.job.done", b"4")}
    consumer.close()
    assert heard.empty()


def test_a_queue_that_was_deleted_is_consumed_again_once_it_is_back(
    amqp_url: str, names: Names
) -> None:
    with Received(amqp_url, names.pool("p")) as received, opened(amqp_url) as publisher:
        assert received.consumer.await_ready(30)
        with connect(amqp_url, "test") as connection:
            connection.channel().queue_delete(names.pool("p"))
            until(lambda: received.consumer.epoch > 1, 30)
            declare(connection, topology(["p"], names))
        publisher.publish_and_wait(to(names.pool("p"), b"x"), 30)
        assert received.get().body == b"x"


def test_nothing_is_lost_when_the_broker_is_restarted(own_rabbitmq: RabbitMQ, names: Names) -> None:
    """Published while it is away too; each arrives, some perhaps twice, and none is unanswered."""
    url = own_rabbitmq.url
    told: list[Exception | None] = []
    with opened(url) as publisher, Received(url, names.pool("p")) as received:
        assert received.consumer.await_ready(60)
        restarting = threading.Thread(target=own_rabbitmq.restart)
        for number in range(300):
            if number == 100:
                restarting.start()
            publisher.publish(to(names.pool("p"), b"%d" % number), told.append)
            time.sleep(0.01)
        restarting.join()
        until(lambda: len(told) == 300, 90)
        assert told == [None] * 300
        seen: set[bytes] = set()
        while len(seen) < 300:
            seen.add(received.get().body)
    until(lambda: count(url, names.pool("p")) == 0)


def test_a_closed_publisher_answers_everybody() -> None:
    told: list[Exception | None] = []
    publisher = Publisher("amqp://127.0.0.1:1/", "test")
    publisher.open()
    publisher.publish(to("x", b""), told.append)
    publisher.close()
    assert len(told) == 1
    assert isinstance(told[0], BrokerUnavailable)
    publisher.publish(to("x", b""), told.append)
    assert len(told) == 2


def test_requests_outlive_many_schedulers() -> None:
    """Each restart counts as a delivery of every waiting request."""
    assert REQUEST_DELIVERIES >= 1000


class FarOff(datetime.datetime):
    """A time that AMQP can say and Python's calendar cannot."""

    def utctimetuple(self) -> time.struct_time:
        """Return a time so many hours from now that its year has more than four digits."""
        now = super().utctimetuple()
        return time.struct_time((*now[:3], 1 << 50, *now[4:]))


@pytest.mark.parametrize(
    "headers",
    [{"sent": FarOff(2026, 1, 1)}, {"x-delivery-count": "many"}, {"x-delivery-count": []}],
)
def test_whatever_a_client_writes_into_headers_the_connection_holds(
    amqp_url: str, names: Names, headers: dict[str, object]
) -> None:
    queue = names.compile_requests
    with opened(amqp_url) as publisher, Received(amqp_url, queue, ack=False) as received:
        until(lambda: received.consumer.is_ready)
        epoch = received.consumer.epoch
        publisher.publish_and_wait(Message("", queue, b"x", headers=headers), 30)
        publisher.publish_and_wait(to(queue, b"y"), 30)
        assert [received.get().body, received.get().body] == [b"x", b"y"]
        assert received.consumer.epoch == epoch
