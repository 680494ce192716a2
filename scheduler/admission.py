"""Who may have how much waiting, and what becomes of messages that are no requests."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tinymlaas.contract.errors import Rejection
from tinymlaas.contract.messages import (
    JobEnd,
    JobEnded,
    JobId,
    JobState,
    ReplyQueue,
    TenantName,
)
from tinymlaas.contract.wire import MalformedMessage, loads

_UNKNOWN = "unknown"


class NotAdmitted(Rejection):
    """A sound request for which there is no room or leave."""


@dataclass(frozen=True)
class Policy:
    """Limits and shares.

    `tenants` are those served, None for all. `waiting` jobs may wait per tenant, `total` in all
    (fewer than the broker gives us at once, or the rest could not be refused), their orders taking
    up to `order_bytes` each and `total_bytes` together. Up to `planning` jobs are planned at a
    time; a tenant has up to `lookahead` planned jobs of one priority and all have `planned`
    together (twice that if each tenant has but one). Those that wait for pools without workers are
    counted apart, up to `planned` too. A pool holds `per_worker` tasks for each worker. A worker
    is gone after `worker_seconds` without a word; a task that no idle worker has seen for
    `unseen_seconds` is sent again. A task gets `build_seconds` (RabbitMQ's own limit is 1800),
    with `retries`. Pools that were never heard of are waited for `pool_seconds` (see
    `PoolsKnown`). A scheduler that becomes active sends nothing for `settle_seconds`, in which
    workers say what they do.
    """

    tenants: frozenset[str] | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    waiting: int = 20_000
    total: int = 50_000
    order_bytes: int = 16 * 1024
    total_bytes: int = 256 * 1024 * 1024
    planning: int = 32
    lookahead: int = 64
    planned: int = 4096
    per_worker: int = 1
    worker_seconds: float = 15.0
    unseen_seconds: float = 20.0
    build_seconds: float = 1500.0
    retries: int = 5
    replans: int = 10
    pool_seconds: float = 30.0
    settle_seconds: float = 1.0

    def weight(self, tenant: str) -> float:
        """Return the tenant's share; 1 unless said otherwise."""
        return self.weights.get(tenant, 1.0)


class Admission:
    """Counts what waits and refuses what is too much."""

    def __init__(self, policy: Policy) -> None:
        """Begin with nothing waiting."""
        self._policy = policy
        self._jobs: Counter[str] = Counter()
        self._total = 0
        self._bytes = 0

    def admit(self, tenant: str, order: bytes) -> None:
        """Count one more job in.

        Raises:
            NotAdmitted: the reason says which limit it breaks.
        """
        policy = self._policy
        if policy.tenants is not None and tenant not in policy.tenants:
            raise NotAdmitted(f"tenant {tenant} is not known here")
        if len(order) > policy.order_bytes:
            raise NotAdmitted(
                f"the order has {len(order):,} bytes without its files; "
                f"up to {policy.order_bytes:,} are taken"
            )
        if self._jobs[tenant] >= policy.waiting:
            raise NotAdmitted(
                f"tenant {tenant} has {self._jobs[tenant]:,} unfinished jobs, the limit: "
                "send it as a new job when some have ended"
            )
        full = self._total >= policy.total or self._bytes + len(order) > policy.total_bytes
        if full:
            raise NotAdmitted(
                "the farm has as many unfinished jobs as it takes: send it as a new job later"
            )
        self._jobs[tenant] += 1
        self._total += 1
        self._bytes += len(order)

    def release(self, tenant: str, order: bytes) -> None:
        """Count one job out."""
        self._bytes -= len(order)
        self._jobs[tenant] -= 1
        self._total -= 1
        if not self._jobs[tenant]:
            del self._jobs[tenant]


_REPLY: TypeAdapter[str] = TypeAdapter(ReplyQueue)
_TENANT: TypeAdapter[str] = TypeAdapter(TenantName)
_JOB: TypeAdapter[str] = TypeAdapter(JobId)


def refusal(
    body: bytes, reply_to: str | None, reasons: tuple[str, ...]
) -> tuple[str, JobEnded] | None:
    """Return where to send the refusal of a malformed message, and it; None if it names nobody.

    What can still be read of it is used, and believed only where it has the form it should.
    """
    try:
        value = loads(body)
    except MalformedMessage:
        value = None
    whole: dict[str, Any] = value if isinstance(value, dict) else {}
    inner = whole.get("data")
    data: dict[str, Any] = inner if isinstance(inner, dict) else {}
    reply = reply_queue(reply_to) or reply_queue(data.get("reply"))
    if reply is None:
        return None
    end = JobEnd(
        tenant=_either(_TENANT, data.get("tenant")) or _UNKNOWN,
        job_id=_either(_JOB, whole.get("id")) or _UNKNOWN,
        state=JobState.REJECTED,
        reasons=reasons,
    )
    return reply, JobEnded(id=f"refusal-{end.job_id}", source="tinymlaas/scheduler", data=end)


def reply_queue(name: object) -> str | None:
    """Return `name` if a client may be answered there."""
    return _either(_REPLY, name)


def _either(kind: TypeAdapter[str], value: object) -> str | None:
    try:
        return kind.validate_json(json.dumps(value)) if isinstance(value, str) else None
    except ValidationError:
        return None
