"""What the two sides of a sandbox say to one another, as bytes on a Unix socket.

Outside → inside: the names of modules that the zygote is to have imported before it forks, then one
`Order`, lengths before them. That may be a pickle, as the inside believes the outside. Inside →
outside: frames of one letter, a length and a payload. Nothing in them is believed, and none is a
pickle.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workers.sandbox.limits import Limits

LOG, ANSWER, REFUSED, END = b"L", b"A", b"R", b"E"
VALUE, ERROR = b"V", b"X"  # what an answer begins with
CHUNK = 1 << 16
_HEAD = struct.Struct("<cI")
_LENGTH = struct.Struct("<Q")


class Broken(Exception):
    """The other side has gone, or says what is no frame."""


@dataclass(frozen=True)
class Order:
    """What one job does: call `function` with the pickled `arguments` within `limits`."""

    function: str
    limits: Limits
    filter: bytes
    arguments: bytes


def send_order(to: socket.socket, order: Order) -> None:
    """Send the job's order. Raises OSError."""
    data = pickle.dumps(order, pickle.HIGHEST_PROTOCOL)
    to.sendall(_LENGTH.pack(len(data)) + data)


def send_modules(to: socket.socket, modules: Sequence[str]) -> None:
    """Send names of modules. Raises OSError."""
    data = " ".join(modules).encode()
    to.sendall(_LENGTH.pack(len(data)) + data)


def receive_modules(connection: socket.socket) -> list[str]:
    """Return names of modules. Raises Broken or TimeoutError."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    if length > CHUNK:
        raise Broken("too many modules")
    return _exactly(connection, length).decode().split()


def receive_order(connection: socket.socket) -> Order:
    """Return the order that comes over `connection`. Raises Broken."""
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    order: Any = pickle.loads(_exactly(connection, length))  # noqa: S301 - from outside, our own
    assert isinstance(order, Order)  # noqa: S101 - for the type checker
    return order


def frame(kind: bytes, payload: bytes) -> bytes:
    """Return one frame; `payload` has `CHUNK` bytes at most."""
    return _HEAD.pack(kind, len(payload)) + payload


def receive(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return kind and payload of the next frame.

    Raises:
        Broken: there is none, or what comes is none.
        TimeoutError: the socket's time limit.
    """
    kind, length = _HEAD.unpack(_exactly(connection, _HEAD.size))
    if length > CHUNK:
        raise Broken("a frame is too long")
    return kind, _exactly(connection, length)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        try:
            part = connection.recv(min(size - len(data), 1 << 20))
        except TimeoutError:
            raise
        except OSError as error:
            raise Broken(str(error)) from None
        if not part:
            raise Broken("the other side has gone")
        data += part
    return bytes(data)
