"""A link outlives whatever its connection does, and waits for the one beside which it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import pika
import pytest

from broker.consumer import Consumer, Subscription
from broker.link import Link, Step
from broker.listener import Listener


class Plain(Link):
    def _steps(self) -> Sequence[Step]:
        return []


def test_a_connection_that_cannot_be_begun_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries, enough = [0], threading.Event()

    def none(*_: object, **__: object) -> None:
        tries[0] += 1
        if tries[0] == 3:
            enough.set()
        raise OSError("too many open files")

    monkeypatch.setattr(pika, "SelectConnection", none)
    link = Plain("amqp://localhost", "test")
    link.open()
    assert enough.wait(60)
    assert link._thread.is_alive()
    link.close()
    assert not link._thread.is_alive()
    assert "too many open files" in caplog.text


def test_a_consumer_beside_another_link_connects_only_while_that_is_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun = threading.Event()

    def none(*_: object, **__: object) -> None:
        begun.set()
        raise OSError("enough is seen")

    monkeypatch.setattr(pika, "SelectConnection", none)
    other = Plain("amqp://localhost", "test")
    link = Consumer("amqp://localhost", "test", [Subscription("q", 1)], beside=other)
    link.start(lambda _: None)
    assert not begun.wait(0.5)
    other._ready.set()
    assert begun.wait(60)
    link.close()


def test_what_is_given_up_before_it_is_bound_is_unbound_once_it_is() -> None:
    listener = Listener("amqp://localhost", "test", "x", lambda body, answer: None)
    bound: list[Callable[[object], None]] = []
    unbound: list[str] = []
    listener._channel = SimpleNamespace(
        is_open=True,
        queue_bind=lambda queue, exchange, topic, callback: bound.append(callback),
        queue_unbind=lambda queue, exchange, topic: unbound.append(topic),
    )
    listener._ready.set()
    assert not listener.listen("t", 0.0)
    listener._bind("t")
    listener.unlisten("t")
    listener._unbind("t")
    assert unbound == []
    bound[0](None)
    assert unbound == ["t"]
    assert not listener.listen("t", 0.0)
    listener._bind("t")
    bound[1](None)
    assert listener.listen("t", 0.0)
    assert unbound == ["t"]


def test_what_is_to_be_done_is_done_in_order_and_wakes_the_link_once() -> None:
    link, woken, done = Plain("amqp://localhost", "test"), list[Callable[[], None]](), list[int]()
    assert not link.call(lambda: done.append(0)), "there is no connection"
    link._connection = SimpleNamespace(ioloop=SimpleNamespace(add_callback_threadsafe=woken.append))
    for number in (1, 2, 3):
        assert link.call(lambda number=number: done.append(number))  # type: ignore[misc]
    assert len(woken) == 1
    woken.pop()()
    assert done == [1, 2, 3]
    assert link.call(lambda: done.append(4))
    link._forget()  # the connection is lost, and what was on its way over it
    link._connection = SimpleNamespace(ioloop=SimpleNamespace(add_callback_threadsafe=woken.append))
    assert link.call(lambda: done.append(5))
    woken.pop()()
    assert done == [1, 2, 3, 5]
