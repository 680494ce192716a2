"""Wires to a board that flip and lose bytes, and boards that say nothing or nonsense."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator

CHUNK = 64


class Wire:
    """Passes bytes between a new port and `place`; in each direction the bytes counted by
    `flipped` come with all bits turned, those by `lost` not at all.
    """

    def __init__(self, place: str, flipped: tuple[int, ...], lost: tuple[int, ...]) -> None:
        host, _, port = place.removeprefix("tcp://").partition(":")
        self._far = (host, int(port))
        self._flipped, self._lost = set(flipped), set(lost)
        self._near = socket.create_server(("127.0.0.1", 0))
        self.place = f"tcp://127.0.0.1:{self._near.getsockname()[1]}"
        self.harmed = 0
        self._ends: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Wire:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._near, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for end in (self._near, *self._ends):
            end.close()

    def _serve(self) -> None:
        near, _ = self._near.accept()
        far = socket.create_connection(self._far)
        self._ends = [near, far]
        back = threading.Thread(target=self._pass, args=(far, near))
        back.start()
        self._pass(near, far)
        back.join()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        count = 0
        with contextlib.suppress(OSError):
            while data := source.recv(CHUNK):
                sent = bytearray()
                for byte in data:
                    if count in self._flipped:
                        sent.append(byte ^ 0xFF)
                    elif count not in self._lost:
                        sent.append(byte)
                    self.harmed += count in self._flipped or count in self._lost
                    count += 1
                target.sendall(sent)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """Take a connection and say nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def babbling() -> Iterator[str]:
    """Take a connection and send noise for ever, in which answers seem to begin."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            draw = random.Random(1)
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                while True:
                    connection.sendall(draw.randbytes(50) + b"TMLAh")

        thread = threading.Thread(target=babble)
        thread.start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        thread.join()
