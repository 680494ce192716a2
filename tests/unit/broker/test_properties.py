"""What a client writes into a message's properties does not break the connection that gets it."""

from __future__ import annotations

import struct
from types import SimpleNamespace

import pika.frame
import pytest

from broker.connecting import parameters
from broker.consumer import Consumer, Subscription
from broker.looking import DeadLetters
from broker.topology import sender

_HEADERS, _REPLY_TO = 1 << 13, 1 << 9


def header_frame(flags: int, properties: bytes) -> bytes:
    """Return the frame that comes before a message's body."""
    content = struct.pack(">HHQH", 60, 0, 5, flags) + properties
    return struct.pack(">BHI", 2, 1, len(content)) + content + b"\xce"


def table(value: bytes) -> bytes:
    return struct.pack(">I", 2 + len(value)) + b"\x01x" + value


@pytest.mark.parametrize(
    "value",
    [
        b"T" + struct.pack(">Q", 1 << 62),
        b"T" + struct.pack(">Q", 1_800_000_000_000),  # milliseconds, taken for seconds
        b"d" + struct.pack(">d", float("inf")),
        b"f" + struct.pack(">f", float("nan")),
        b"?",
    ],
)
def test_headers_that_cannot_be_decoded_are_passed_over(value: bytes) -> None:
    parameters("amqp://localhost", "test")
    data = header_frame(_HEADERS | _REPLY_TO, table(value) + b"\x08reply.me")
    consumed, frame = pika.frame.decode_frame(data)
    assert consumed == len(data)
    assert frame.body_size == 5
    assert not frame.properties.headers


def test_a_routing_key_that_is_no_text_is_read_as_one() -> None:
    link = Consumer("amqp://localhost", "test", [Subscription("q", 1)])
    method = SimpleNamespace(delivery_tag=1, routing_key=b"compile.\xff", redelivered=False)
    link._on_message("q", None, method, SimpleNamespace(headers=None, reply_to=None), b"x")
    delivery = link._inbox.get(timeout=60)
    assert delivery is not None
    assert sender(delivery.routing_key) == "\ufffd", "nobody is called so"


@pytest.mark.parametrize("forged", [5, "x", [], [7], {"queue": "x"}, None])
def test_a_forged_account_of_a_death_is_none(forged: object) -> None:
    channel = SimpleNamespace(
        basic_get=lambda queue: (
            SimpleNamespace(routing_key="q", delivery_tag=1),
            SimpleNamespace(headers={"x-death": forged}),
            b"body",
        )
    )
    letter = next(iter(DeadLetters(channel, "dead")))
    assert (letter.queue, letter.reason) == ("q", "unknown")


def test_headers_that_can_be_decoded_are_read() -> None:
    for _ in range(2):
        parameters("amqp://localhost", "test")
    data = header_frame(_HEADERS | _REPLY_TO, table(b"I\0\0\0\7") + b"\x08reply.me")
    _, frame = pika.frame.decode_frame(data)
    assert frame.properties.headers == {"x": 7}
    assert frame.properties.reply_to == "reply.me"
