"""A network namespace for each pod, and a link for each pair of pods that may speak.

There is no bridge, no route by default and no forwarding: what is not linked cannot be reached.
Besides, each pod is linked with the machine, as a node's kubelet reaches its pods: for probes,
metrics and clients of the farm. Names of services are in /etc/hosts in place of a DNS server.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

_NODE = "203.0.113.1"  # the machine's, of TEST-NET-3 (RFC 5737): nobody's


@dataclass
class Network:
    """The pods' addresses and links."""

    prefix: str = field(default_factory=lambda: f"p{secrets.token_hex(3)}")
    # Of the addresses for benchmarks (RFC 2544); by chance, as another test may have some too.
    subnet: str = field(default_factory=lambda: f"198.18.{secrets.randbelow(256)}")
    addresses: dict[str, str] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _links: Iterator[int] = field(default_factory=itertools.count)

    def namespace(self, pod: str) -> str:
        """Return the name of a pod's network namespace."""
        return f"{self.prefix}-{pod}"

    def add(self, pod: str) -> str:
        """Make a pod's network, linked with the machine only; return its address."""
        namespace = self.namespace(pod)
        address = self.addresses[pod] = f"{self.subnet}.{next(self._numbers)}"
        _ip("netns", "add", namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")
        here, there = self._link("", namespace)
        _ip("addr", "add", f"{_NODE}/32", "dev", here)
        _ip("-n", namespace, "addr", "add", f"{address}/32", "dev", there)
        _ip("route", "add", f"{address}/32", "dev", here, "src", _NODE)
        _ip("-n", namespace, "route", "add", f"{_NODE}/32", "dev", there, "src", address)
        return address

    def link(self, one: str, other: str) -> None:
        """Let two pods speak with each other."""
        spaces = self.namespace(one), self.namespace(other)
        ends = self._link(*spaces)
        here, there = self.addresses[one], self.addresses[other]
        for space, end, own, far in zip(spaces, ends, (here, there), (there, here), strict=True):
            _ip("-n", space, "addr", "add", f"{own}/32", "dev", end)
            _ip("-n", space, "route", "add", f"{far}/32", "dev", end, "src", own)

    def _link(self, one: str, other: str) -> tuple[str, str]:
        number = next(self._links)
        ends = f"{self.prefix}a{number}", f"{self.prefix}b{number}"
        _ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for space, end in zip((one, other), ends, strict=True):
            if space:
                _ip("link", "set", end, "netns", space)
            _ip(*(("-n", space) if space else ()), "link", "set", end, "up")
        return ends

    def remove(self) -> None:
        """Take all away; links end with their namespaces."""
        for pod in list(self.addresses):
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", self.namespace(pod))


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
