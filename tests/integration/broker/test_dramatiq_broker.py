"""dramatiq on quorum queues, on a real RabbitMQ, with worker processes that are killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dramatiq
import pika.exceptions
import pytest

from broker.connecting import connect
from broker.dramatiq_broker import QuorumBroker, make_worker, task_message, text_of
from broker.errors import BrokerError
from broker.topology import Names, topology
from tests.integration.broker.helpers import count, opened, to, until
from tests.unit.scaffold.project import ROOT
from tinymlaas.services.rabbitmq import RabbitMQ


@contextlib.contextmanager
def worker(url: str, queue: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.broker.pool_worker", url, queue, str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=(folder / "stderr").open("ab"),
    )
    try:
        until(lambda: (folder / f"up.{process.pid}").exists() or process.poll() is not None)
        yield process
    finally:
        process.kill()
        process.wait()


def send(url: str, names: Names, *words: str) -> None:
    with opened(url) as publisher:
        for word in words:
            queue, body = task_message("p", word.encode(), names)
            publisher.publish_and_wait(to(queue, body), 60)


def given(folder: Path, word: str) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{word}.*"))


def dead(url: str, names: Names) -> list[str]:
    found = []
    with connect(url, "test") as connection:
        channel = connection.channel()
        while (body := channel.basic_get(names.pool_dead("p"), auto_ack=True)[2]) is not None:
            found.append(text_of(body))
    return found


def test_it_declares_the_queues_that_the_topology_says(amqp_url: str, names: Names) -> None:
    """Else RabbitMQ refuses the second of two declarations."""
    assert {queue.name for queue in topology(["p"], names).queues} >= {
        names.pool("p"),
        names.pool_delayed("p"),
        names.pool_dead("p"),
    }
    broker = QuorumBroker(amqp_url, "test")
    broker.declare_queue(names.pool("p"), ensure=True)
    broker.close()


def test_the_version_is_the_one_that_is_overridden() -> None:
    assert dramatiq.__version__ == "2.2.1"


def test_a_worker_fetches_one_task_and_publishes_with_confirms(amqp_url: str) -> None:
    broker = QuorumBroker(amqp_url, "test")
    made = make_worker(broker, "q")
    assert (made.queue_prefetch, made.worker_threads, broker.confirm_delivery) == (1, 1, True)
    assert made.delay_prefetch < 100
    broker.close()


def test_tasks_are_done_once_and_a_draining_worker_ends_its_task(
    amqp_url: str, names: Names, tmp_path: Path
) -> None:
    queue = names.pool("p")
    with worker(amqp_url, queue, tmp_path) as process:
        send(amqp_url, names, *(f"ok {n}" for n in range(20)), "sleep", "ok later")
        until(lambda: bool(given(tmp_path, "sleep")))
        process.terminate()
        assert process.wait(60) == 0
    assert len(list(tmp_path.glob("ok_*"))) == 20
    assert [name for name in given(tmp_path, "sleep") if name.endswith(".done")]
    assert not given(tmp_path, "ok_later")
    assert count(amqp_url, queue) == 1


def test_a_task_that_kills_its_worker_is_told_so_and_its_neighbour_is_done(
    amqp_url: str, names: Names, tmp_path: Path
) -> None:
    queue = names.pool("p")
    send(amqp_url, names, "die", "ok")
    for _ in range(2):
        with worker(amqp_url, queue, tmp_path) as process:
            process.wait(60)
    with worker(amqp_url, queue, tmp_path):
        until(lambda: bool(given(tmp_path, "ok")))
        until(lambda: len(given(tmp_path, "die")) == 3)
        until(lambda: count(amqp_url, queue) == 0)
    assert [name.split(".")[1] for name in given(tmp_path, "die")] == ["0", "1", "2"]
    assert [name.split(".")[1] for name in given(tmp_path, "ok")] == ["0"]


def test_a_task_that_fails_is_tried_again_and_then_kept(
    amqp_url: str, names: Names, tmp_path: Path
) -> None:
    with worker(amqp_url, names.pool("p"), tmp_path):
        send(amqp_url, names, "raise")
        until(lambda: count(amqp_url, names.pool_dead("p")) == 1)
    assert len(given(tmp_path, "raise")) == 3
    assert dead(amqp_url, names) == ["raise"]


def test_what_is_no_task_is_kept_too(amqp_url: str, names: Names, tmp_path: Path) -> None:
    with worker(amqp_url, names.pool("p"), tmp_path), opened(amqp_url) as publisher:
        publisher.publish_and_wait(to(names.pool("p"), b"\xff not a task"), 30)
        until(lambda: count(amqp_url, names.pool_dead("p")) == 1)
        send(amqp_url, names, "ok")
        until(lambda: bool(given(tmp_path, "ok")))
    with pytest.raises(BrokerError, match="no dramatiq message"):
        text_of(b"\xff not a task")


def test_a_worker_survives_a_restart_of_the_broker(
    own_rabbitmq: RabbitMQ, names: Names, tmp_path: Path
) -> None:
    url, queue = own_rabbitmq.url, names.pool("p")
    with worker(url, queue, tmp_path) as process:
        send(url, names, "ok before")
        until(lambda: bool(given(tmp_path, "ok_before")))
        own_rabbitmq.restart()
        send(url, names, "ok after")
        until(lambda: bool(given(tmp_path, "ok_after")))
        assert process.poll() is None
    until(lambda: count(url, queue) == 0)
    hands_dead_letters_over(url, names)


def hands_dead_letters_over(url: str, names: Names) -> None:
    """Wait until every queue of a broker that has just started does that.

    RabbitMQ 3.10 goes round in circles, and hears nobody, if a queue is deleted before.
    """
    queues = [
        each.name
        for each in topology(["p"], names).queues
        if each.arguments.get("x-dead-letter-strategy") == "at-least-once"
    ]
    assert queues
    kept = (names.pool_dead("p"), names.dead_letters)
    before = sum(count(url, name) for name in kept)
    with connect(url, "test") as connection:
        channel = connection.channel()
        for queue in queues:
            channel.basic_publish("", queue, b"given up")
            give_up(channel, queue)
    until(lambda: sum(count(url, name) for name in kept) >= before + len(queues))


def give_up(channel: Any, queue: str) -> None:
    method, _, _ = next(channel.consume(queue, inactivity_timeout=60))
    channel.basic_nack(method.delivery_tag, requeue=False)
    channel.cancel()


def test_a_worker_whose_queue_is_gone_declares_it_anew(
    amqp_url: str, names: Names, tmp_path: Path
) -> None:
    """A broker that is killed right after a declaration may come back without the queue."""
    with worker(amqp_url, names.pool("p"), tmp_path):
        send(amqp_url, names, "ok before")
        until(lambda: bool(given(tmp_path, "ok_before")))
        with connect(amqp_url, "test") as connection:
            connection.channel().queue_delete(names.pool("p"))
        until(lambda: exists(amqp_url, names.pool("p")))
        send(amqp_url, names, "ok after")
        until(lambda: bool(given(tmp_path, "ok_after")))


def exists(url: str, queue: str) -> bool:
    try:
        count(url, queue)
    except pika.exceptions.ChannelClosedByBroker:
        return False
    return True


@pytest.mark.slow
def test_a_broker_that_is_killed_under_a_running_task_costs_no_task(
    own_rabbitmq: RabbitMQ, names: Names, tmp_path: Path
) -> None:
    url, queue = own_rabbitmq.url, names.pool("p")
    with worker(url, queue, tmp_path) as process:
        for turn in range(2):
            send(url, names, f"sleep {turn}")
            until(lambda turn=turn: bool(given(tmp_path, f"sleep_{turn}")))
            own_rabbitmq.kill()
            own_rabbitmq.start()
            until(lambda turn=turn: bool(list(tmp_path.glob(f"sleep_{turn}.*.done"))))
            send(url, names, f"ok {turn}")
            until(lambda turn=turn: bool(given(tmp_path, f"ok_{turn}")))
        until(lambda: count(url, queue) == 0)
        assert process.poll() is None
    assert count(url, names.pool_dead("p")) == count(url, names.pool_delayed("p")) == 0
