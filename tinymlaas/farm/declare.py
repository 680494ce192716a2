"""Composition root of ``tinymlaas farm declare``: the topology made so, or shown."""

from __future__ import annotations

import os
from collections.abc import Sequence

from broker.topology import Argument, Names, Topology, topology
from tinymlaas import farm_settings, settings
from tinymlaas.contract.base import Model
from tinymlaas.contract.pool_messages import PREPARE_POOL
from tinymlaas.farm.environment import POOLS_VARIABLE, parse_pools
from tinymlaas.farm.services import declare_all
from workers.compilers import registry


class ExchangeShown(Model):
    """An exchange as ``--json`` prints it."""

    name: str
    kind: str
    about: str


class QueueShown(Model):
    """A queue as ``--json`` prints it, with the arguments it is declared with."""

    name: str
    about: str
    arguments: dict[str, Argument]


class BindingShown(Model):
    """A binding as ``--json`` prints it."""

    exchange: str
    queue: str
    key: str


class TopologyShown(Model):
    """What `tinymlaas farm declare --json` prints."""

    declared: bool
    exchanges: tuple[ExchangeShown, ...]
    queues: tuple[QueueShown, ...]
    bindings: tuple[BindingShown, ...]


def named(pools: Sequence[str]) -> tuple[Names, tuple[str, ...]]:
    """Return what all is called, and `pools`, or those of the environment, or of what is installed;
    the one that prepares always.

    Raises:
        UsageError: a pool's name or the prefix is malformed.
    """
    given = parse_pools(",".join(pools) or os.environ.get(POOLS_VARIABLE, ""))
    found = given or tuple(registry.names(settings.from_environment().compilers))
    names = Names(farm_settings.prefix_from_environment())
    return names, tuple(dict.fromkeys((*found, PREPARE_POOL)))


def wanted(pools: Sequence[str]) -> Topology:
    """Return the topology for `pools`; see `named`.

    Raises:
        UsageError: a pool's name or the prefix is malformed.
    """
    names, found = named(pools)
    return topology(found, names)


def make(topology: Topology) -> None:
    """Declare it on the farm's broker; repeating it is harmless.

    Raises:
        UsageError: the environment names no broker.
        BrokerError: the broker refuses, or is not reached.
    """
    declare_all(farm_settings.from_environment().amqp_url, topology)


def shown(topology: Topology, *, declared: bool) -> TopologyShown:
    """Return the topology to print."""
    return TopologyShown(
        declared=declared,
        exchanges=tuple(
            ExchangeShown(name=e.name, kind=e.kind, about=e.about) for e in topology.exchanges
        ),
        queues=tuple(
            QueueShown(name=q.name, about=q.about, arguments=q.arguments) for q in topology.queues
        ),
        bindings=tuple(
            BindingShown(exchange=b.exchange, queue=b.queue, key=b.key) for b in topology.bindings
        ),
    )
