"""The roles of a farm, and what each may do on the broker and in the bucket.

There is one for the scheduler, one for the workers of each pool, one for each tenant; whoever
started the farm may do everything. `docs/farm.md` shows them in a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from broker import powers as on_broker
from broker.topology import Names
from storage import powers as in_bucket
from tinymlaas.contract.pool_messages import PREPARE_POOL

SCHEDULER = "scheduler"


@dataclass(frozen=True)
class Role:
    """One user of both services."""

    broker: on_broker.Power
    bucket: in_bucket.Power


def worker_role(pool: str) -> str:
    """Return the name of the role of a pool's workers."""
    return f"worker-{pool}"


def tenant_role(tenant: str) -> str:
    """Return the name of a tenant's role."""
    return f"tenant-{tenant}"


def roles(pools: Iterable[str], tenants: Iterable[str], names: Names) -> dict[str, Role]:
    """Return all roles but the operator's, by name."""
    found = {SCHEDULER: Role(on_broker.scheduler(names), in_bucket.scheduler())}
    for pool in pools:
        prepares = pool == PREPARE_POOL
        bucket = in_bucket.preparer() if prepares else in_bucket.worker(pool)
        found[worker_role(pool)] = Role(on_broker.worker(pool, names), bucket)
    for tenant in tenants:
        bucket = in_bucket.tenant(tenant)
        found[tenant_role(tenant)] = Role(on_broker.tenant(tenant, names), bucket)
    return found


def shown(wanted: Mapping[str, Role], bucket: str) -> dict[str, Any]:
    """Return what `tinymlaas farm roles` prints: the roles in the words of RabbitMQ (definitions,
    users and their secrets left out), of AWS (a policy each) and of SeaweedFS (an identity each,
    credentials left out).
    """
    in_buckets = {name: role.bucket for name, role in wanted.items()}
    return {
        "rabbitmq": on_broker.permissions({name: role.broker for name, role in wanted.items()}),
        "aws": {name: in_bucket.aws_policy(each, bucket) for name, each in in_buckets.items()},
        "seaweedfs": {
            "identities": [
                {"name": name, "actions": in_bucket.seaweedfs_actions(each, bucket)}
                for name, each in in_buckets.items()
            ]
        },
    }
