"""How we connect to RabbitMQ."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from broker.errors import BrokerError, errors

HEARTBEAT_SECONDS = 10  # the broker gives a silent connection up after two of them
_SOCKET_SECONDS = 10.0
_BLOCKED_SECONDS = 30.0


def parameters(url: str, name: str) -> Any:
    """Return pika's connection parameters for an ``amqp://`` URL; `name` is shown to operators.

    Raises:
        BrokerError: the URL is malformed.
    """
    import pika

    _pass_over_unreadable_properties()
    try:
        if not url.startswith(("amqp://", "amqps://")):
            raise ValueError
        found = pika.URLParameters(url)
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        form = "amqp://user:secret@host:port/%2F"
        raise BrokerError(f"TINYMLAAS_AMQP_URL is no AMQP URL; it is like {form}") from error
    found.heartbeat = HEARTBEAT_SECONDS
    found.socket_timeout = found.stack_timeout = _SOCKET_SECONDS
    found.blocked_connection_timeout = _BLOCKED_SECONDS
    found.client_properties = {"connection_name": name}
    return found


def _pass_over_unreadable_properties() -> None:
    """Have pika take a message whose properties it cannot decode as one that has none.

    Anybody who sends a message writes them. Not every value that RabbitMQ lets through can be
    decoded (a time in the year 60,000), and then pika breaks its connection, with each delivery.
    """
    from pika.spec import BasicProperties

    read = BasicProperties.decode
    if getattr(read, "passes_over", False):
        return

    def decode(self: Any, encoded: bytes, offset: int = 0) -> Any:
        try:
            return read(self, encoded, offset)
        except Exception:  # struct, Unicode, overflow, pika's own: there is no end of ways
            self.__init__()
            return self

    decode.passes_over = True  # type: ignore[attr-defined]
    BasicProperties.decode = decode


def connect(url: str, name: str) -> Any:
    """Return a `pika.BlockingConnection`; it is for one thread only.

    Raises:
        BrokerUnavailable: the broker does not answer.
        BrokerError: it does not let us in, or the URL is malformed.
    """
    import pika

    with errors("connect"):
        return pika.BlockingConnection(parameters(url, name))


def pauses(first: float = 0.1, longest: float = 5.0) -> Iterator[float]:
    """Yield seconds to wait between tries, ever longer up to `longest`, each with some chance in
    it so that many do not come back at once.
    """
    pause = first
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        pause = min(pause * 2, longest)
