"""RabbitMQ and S3 of a private farm, as things that are kept running."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from tinymlaas.services.rabbitmq import RabbitMQ
from tinymlaas.services.seaweedfs import SeaweedFS

# A user's own that would be taken for those of the private server.
_FOREIGN = ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")

DIRECT = ("no_proxy", "NO_PROXY")


@dataclass
class Server:
    """One of the two, as `keeping.Kept`."""

    name: str
    inner: RabbitMQ | SeaweedFS

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.inner.pid is not None

    def start(self) -> None:
        """Start it on the ports it had, and wait until it serves."""
        self.inner.start()

    def how_it_ended(self) -> str:
        """Say that it ended."""
        return "has ended"


@dataclass
class Private:
    """Both servers, and the variables that point at them."""

    servers: tuple[Server, ...]
    variables: dict[str, str]

    def kill(self) -> None:
        """Kill both at once; what they hold is found again at the next start."""
        for server in self.servers:
            server.inner.kill()


@contextlib.contextmanager
def private_servers(state: Path) -> Iterator[Private]:
    """Run both below `state`.

    Raises:
        Failure: one of them cannot be started.
    """
    with SeaweedFS(state / "s3") as store, RabbitMQ(state / "rabbitmq") as broker:
        servers = (Server("S3", store), Server("RabbitMQ", broker))
        yield Private(servers, {**broker.environment, **store.environment})


def isolate(environment: MutableMapping[str, str] = os.environ) -> None:
    """Take out of our environment what would lead us, or those we start, elsewhere: profiles and
    endpoints of the user's own, a session's token, a proxy for what is on this machine.
    """
    for name in _FOREIGN:
        environment.pop(name, None)
    environment["AWS_SESSION_TOKEN"] = ""
    reached = next((environment[name] for name in DIRECT if environment.get(name)), "")
    for name in DIRECT:
        environment[name] = ",".join(filter(None, (reached, "127.0.0.1")))
