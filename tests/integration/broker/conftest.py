from __future__ import annotations

import secrets
from collections.abc import Iterator

import pika
import pytest

from broker.declaring import declare, remove
from broker.topology import Names, topology
from tests.services.fixtures import amqp_url, own_rabbitmq  # noqa: F401


@pytest.fixture
def names(amqp_url: str) -> Iterator[Names]:  # noqa: F811
    """Names of a topology of our own with the pool ``p``, which is there until the test's end."""
    own = Names(f"test-{secrets.token_hex(4)}.")
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        declare(connection, topology(["p"], own))
    yield own
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        remove(connection, topology(["p"], own))
