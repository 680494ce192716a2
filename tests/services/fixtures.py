"""Fixtures over `running`; a conftest.py imports the ones its tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storage.s3 import S3Store
from tests.services import running
from tinymlaas.services.rabbitmq import RabbitMQ
from tinymlaas.services.seaweedfs import SeaweedFS


@pytest.fixture
def amqp_url() -> str:
    """URL of a RabbitMQ that other tests use too: give queues names of your own."""
    return running.amqp_url()


@pytest.fixture
def own_rabbitmq() -> Iterator[RabbitMQ]:
    """The private RabbitMQ, to be killed and restarted; it runs again afterwards."""
    server = running.rabbitmq()
    yield server
    if server.pid is None:
        server.start()


@pytest.fixture
def own_seaweedfs() -> Iterator[SeaweedFS]:
    """The private S3 server, to be killed and restarted; it runs again afterwards."""
    server = running.seaweedfs()
    yield server
    if server.pid is None:
        server.start()


@pytest.fixture
def s3_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    """A store that is empty; the environment points at its server."""
    for name, value in running.s3_variables().items():
        monkeypatch.setenv(name, value)
    store = running.s3_store()
    yield store
    running.empty(store)
