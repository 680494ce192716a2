"""Free TCP ports for servers that must be told theirs."""

from __future__ import annotations

import contextlib
import random
import socket

from tinymlaas.contract.errors import RetryableFailure

COMPANION = 10_000  # SeaweedFS listens for gRPC that much above each of its ports
# Below where Linux takes the ports of outgoing connections from, and the companions are so too.
_RANGE = range(11_000, 21_000)
_TRIES = 500
_HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Return whether a server could listen on `port` of 127.0.0.1."""
    with contextlib.closing(socket.socket()) as probe:
        # As servers do: connections of a server that has just ended do not keep its port busy.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True


def are_free(ports: tuple[int, ...], *, companions: bool = False) -> bool:
    """Return whether all `ports` are free, and with `companions` those 10,000 above them too."""
    above = tuple(port + COMPANION for port in ports) if companions else ()
    return all(map(is_free, (*ports, *above)))


def free_ports(count: int, *, companions: bool = False) -> tuple[int, ...]:
    """Return `count` different ports, by chance, that are free now.

    Whoever starts the server must be ready to ask again: another process may be faster.

    Raises:
        RetryableFailure: there are none.
    """
    source = random.SystemRandom()
    for _ in range(_TRIES):
        ports = tuple(source.sample(_RANGE, count))
        if are_free(ports, companions=companions):
            return ports
    raise RetryableFailure(f"no {count} free ports were found between 11000 and 21000")
