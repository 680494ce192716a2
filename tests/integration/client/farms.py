"""What the tests of the client share."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from tests.services.farm import RunningFarm
from tests.services.stub_compiler import FAST, Stub, model
from tinymlaas import Client
from tinymlaas.client import Job
from tinymlaas.farm_settings import FarmSettings, from_environment

SECONDS = 90.0


@dataclass(frozen=True)
class Place:
    running: RunningFarm
    stub: Stub


def submit(client: Client, name: str, milliseconds: int = 0, **more: Any) -> Job:
    """Have the stub compile a module called `name`: each name is another action."""
    options = {"does": "work", "milliseconds": str(milliseconds)}
    wish = {"board": FAST, "compiler": "stub", "options": options, "name": name} | more
    return client.submit(model(), **wish)


def until(holds: Callable[[], bool], seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


class Proxy:
    """Between a client and RabbitMQ: `cut` ends all connections and accepts none until `mend`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 5672)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        credentials = f"{parts.username}:{parts.password}@" if parts.username else ""
        self.url = f"amqp://{credentials}127.0.0.1:{self.port}{parts.path}"
        self.connections = 0
        self._open: list[socket.socket] = []
        self._up = True
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._up = False
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def mend(self) -> None:
        self._up = True

    def close(self) -> None:
        self.cut()
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                if not self._up:
                    near.close()
                    continue
                far = socket.create_connection(self._target)
                self._open += [near, far]
                self.connections += 1
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)


class Losing(Proxy):
    """Loses the first request on its way, and the connection with it."""

    lost = False

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if not self.lost and b"tinymlaas.requests" in data:
                    self.lost = True
                    self.cut()
                    self.mend()
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def through_proxy(kind: type[Proxy] = Proxy) -> Iterator[tuple[FarmSettings, Proxy]]:
    settings = from_environment()
    proxy = kind(settings.amqp_url)
    try:
        yield replace(settings, amqp_url=proxy.url), proxy
    finally:
        proxy.close()
