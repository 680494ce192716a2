"""Broker and object store together, as a farm needs them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tinymlaas.services.rabbitmq import RabbitMQ
from tinymlaas.services.seaweedfs import SeaweedFS


@contextlib.contextmanager
def private_services(folder: Path, bucket: str = "tinymlaas") -> Iterator[dict[str, str]]:
    """Run both below `folder`; yields the environment variables that point clients at them.

    Raises:
        Failure: one of them cannot be started.
    """
    with (
        SeaweedFS(folder / "s3", bucket) as store,
        RabbitMQ(folder / "rabbitmq") as broker,
    ):
        yield {**broker.environment, **store.environment}
