"""What a client writes into a message's properties does not break the connection that gets it."""

from __future__ import annotations

import struct

import pika.frame
import pytest

from broker.connecting import parameters

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


def test_headers_that_can_be_decoded_are_read() -> None:
    for _ in range(2):
        parameters("amqp://localhost", "test")
    data = header_frame(_HEADERS | _REPLY_TO, table(b"I\0\0\0\7") + b"\x08reply.me")
    _, frame = pika.frame.decode_frame(data)
    assert frame.properties.headers == {"x": 7}
    assert frame.properties.reply_to == "reply.me"
