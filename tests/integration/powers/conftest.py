"""A RabbitMQ with users for all roles, and an S3 server with their credentials."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from broker.connecting import connect
from broker.declaring import declare, remove
from broker.topology import Names, topology
from tests.services import running
from tinymlaas.farm.roles import roles
from tinymlaas.services.rabbitmq import RabbitMQ
from tinymlaas.services.seaweedfs import SeaweedFS
from workers import guardian

POOLS = ("cc", "tvm", "prepare")
TENANTS = ("acme", "rival")


@dataclass
class Broker:
    """The tests' shared broker, with roles on queues of a prefix of its own."""

    server: RabbitMQ
    names: Names

    def connection(self, role: str) -> Any:
        return connect(self.server.url_of(role), role)


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    names = Names(f"p{secrets.token_hex(4)}.")
    server = running.rabbitmq()
    wanted = topology(POOLS, names)
    server.allow({name: role.broker for name, role in roles(POOLS, TENANTS, names).items()})
    found = Broker(server, names)
    with found.connection("scheduler") as connection:
        declare(connection, wanted)  # so the scheduler may
    yield found
    with connect(server.url, "test") as connection:
        remove(connection, wanted)


@pytest.fixture(scope="session")
def store() -> Iterator[SeaweedFS]:
    found = {name: role.bucket for name, role in roles(POOLS, TENANTS, Names()).items()}
    with (
        guardian.scratch("powers") as folder,
        SeaweedFS(Path(folder) / "s3", roles=found) as server,
    ):
        yield server


def client(store: SeaweedFS, role: str) -> Any:
    """Return boto3's client for a role; "" is the operator."""
    import boto3
    from botocore.config import Config

    known = store.environment_of(role) if role else store.environment
    return boto3.client(
        "s3",
        endpoint_url=store.endpoint,
        aws_access_key_id=known["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=known["AWS_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
        config=Config(
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
        ),
    )


@pytest.fixture(scope="session")
def operators(store: SeaweedFS) -> Any:
    return client(store, "")


@pytest.fixture
def bucket(store: SeaweedFS) -> Callable[[str], Any]:
    """Return a maker of boto3 clients, by role."""
    return lambda role: client(store, role)
