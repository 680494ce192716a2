"""RabbitMQ and S3 of a private farm, as things that are kept running."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from tinymlaas.farm.roles import Role
from tinymlaas.services.rabbitmq import AMQP_VARIABLE, RabbitMQ
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
    """Both servers, and the variables with which an operator uses them."""

    servers: tuple[Server, ...]
    variables: dict[str, str]
    store: SeaweedFS
    broker: RabbitMQ

    def variables_of(self, role: str) -> dict[str, str]:
        """Return the variables with which one of the roles uses both."""
        return self.store.environment_of(role) | {AMQP_VARIABLE: self.broker.url_of(role)}

    def kill(self) -> None:
        """Kill both at once; what they hold is found again at the next start."""
        for server in self.servers:
            server.inner.kill()


@contextlib.contextmanager
def private_servers(state: Path, roles: Mapping[str, Role]) -> Iterator[Private]:
    """Run both below `state`, with a user for each of the `roles` besides the operator.

    Raises:
        Failure: one of them cannot be started.
    """
    in_bucket = {name: role.bucket for name, role in roles.items()}
    on_broker = {name: role.broker for name, role in roles.items()}
    with (
        SeaweedFS(state / "s3", roles=in_bucket) as store,
        RabbitMQ(state / "rabbitmq", on_broker) as broker,
    ):
        servers = (Server("S3", store), Server("RabbitMQ", broker))
        variables = {**broker.environment, **store.environment}
        yield Private(servers, variables, store, broker)


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
