"""The private servers: state survives stop and crash, and nothing is left behind."""

from __future__ import annotations

import os
import queue
import stat
import time
from pathlib import Path

import pika
import pytest

from broker.consumer import Consumer, Delivery, Subscription
from tinymlaas.contract.errors import Failure
from tinymlaas.services.both import private_services
from tinymlaas.services.ports import COMPANION
from tinymlaas.services.rabbitmq import RabbitMQ
from tinymlaas.services.seaweedfs import SeaweedFS

QUORUM = {"x-queue-type": "quorum"}


def processes_in(folder: Path) -> list[str]:
    """Command lines of processes that work in `folder` or name it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = os.readlink(process / "cwd")
        except OSError:
            continue
        if place.startswith(str(folder)) or str(folder) in line:
            found.append(line)
    return found


def sockets(ports: tuple[int, ...]) -> list[Path]:
    """Those of the server with these ports, by kind: one that was killed with its owner may have
    left the socket of another kind at one of them.
    """
    kinds = zip(("master", "volume", "filer", "admin", "s3"), ports, strict=True)
    paths = [Path(f"/tmp/seaweedfs-{kind}-grpc-{port + COMPANION}.sock") for kind, port in kinds]
    return [path for path in paths if path.exists()]


def put_message(url: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True, arguments=QUORUM)
        channel.basic_publish(
            "", "kept", b"hello", pika.BasicProperties(delivery_mode=2), mandatory=True
        )


def take_message(url: str) -> bytes:
    """Take the message with our own consumer: a quorum queue has no leader yet when the server is
    ready, and pika's blocking calls would then wait for ever.
    """
    bodies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    consumer = Consumer(url, "test", [Subscription("kept", 1)])

    def deliver(delivery: Delivery) -> None:
        consumer.ack(delivery.token)
        bodies.put(delivery.body)

    consumer.start(deliver)
    try:
        return bodies.get(timeout=60)
    finally:
        consumer.close()


def test_rabbitmq_keeps_its_messages_through_a_crash(own_rabbitmq: RabbitMQ) -> None:
    url = own_rabbitmq.url
    put_message(url)
    time.sleep(2)  # RabbitMQ keeps the names of new quorum queues in memory for half a second
    own_rabbitmq.kill()
    own_rabbitmq.start()
    assert own_rabbitmq.url == url
    assert take_message(url) == b"hello"


def test_seaweedfs_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "s3"
    with SeaweedFS(folder) as server:
        ports = server._known.ports
        assert sockets(ports)
        server.kill()
        assert not sockets(ports)
        server.start()
        assert sockets(ports), "it is found on the same ports"
        server.kill()
    assert not sockets(ports)
    assert processes_in(tmp_path) == []
    assert stat.S_IMODE((folder / "s3.json").stat().st_mode) == 0o600


def test_both_are_described_by_variables_and_leave_nothing(tmp_path: Path) -> None:
    with private_services(tmp_path, "things") as variables:
        assert len(processes_in(tmp_path)) >= 3  # weed, the Erlang machine, its port mapper
        with pytest.raises(Failure, match="belong to a process"):
            RabbitMQ(tmp_path / "rabbitmq").start()
        assert sorted(variables) == [
            "AWS_ACCESS_KEY_ID",
            "AWS_DEFAULT_REGION",
            "AWS_SECRET_ACCESS_KEY",
            "TINYMLAAS_AMQP_URL",
            "TINYMLAAS_S3_BUCKET",
            "TINYMLAAS_S3_ENDPOINT",
        ]
        assert variables["TINYMLAAS_S3_BUCKET"] == "things"
        pika.BlockingConnection(pika.URLParameters(variables["TINYMLAAS_AMQP_URL"])).close()
    assert stat.S_IMODE((tmp_path / "rabbitmq").stat().st_mode) == 0o700
    with pytest.raises(Failure, match="not started"):
        _ = RabbitMQ(tmp_path / "rabbitmq").url
    assert processes_in(tmp_path) == []


def test_a_server_that_cannot_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinymlaas.services.seaweedfs._program", lambda: "/bin/false")
    with pytest.raises(Failure, match="ended while starting"):
        SeaweedFS(tmp_path).start()
    monkeypatch.undo()
    SeaweedFS(tmp_path)._hold.close()
    assert processes_in(tmp_path) == []
