"""Whom a URL leads to, and what is said when that is no RabbitMQ."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from broker import connecting
from broker.connecting import connect, parameters
from broker.errors import BrokerError, BrokerUnavailable


@pytest.mark.parametrize("url", ["http://x", "foo", "amqp://:port/x", ""])
def test_what_is_no_amqp_url_is_refused_with_its_form(url: str) -> None:
    with pytest.raises(BrokerError, match="is like amqp://user:secret@host:port/%2F"):
        parameters(url, "test")


@pytest.fixture
def mute() -> Iterator[int]:
    """Port of a server that lets one connect and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    kept.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    for each in kept:
        each.close()


def test_what_does_not_speak_amqp_is_said(mute: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "_SOCKET_SECONDS", 0.3)
    with pytest.raises(BrokerUnavailable, match="does not speak AMQP"):
        connect(f"amqp://127.0.0.1:{mute}", "test")
